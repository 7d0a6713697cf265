//! Objects: written, read whole and in ranges, copied, deleted one by one and many at once.

use super::{BUCKET, Store, refusal, refused};
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{Delete, MetadataDirective, ObjectIdentifier};
use cistern_tests::Content;
use cistern_tests::http::{Slash, percent_encode};

#[tokio::test]
async fn an_object_keeps_its_body_headers_and_metadata() {
    let store = Store::with_bucket().await;
    let put = store.client.put_object().bucket(BUCKET).key("a.txt").body(ByteStream::from_static(b"alpha"));
    let put = put.content_type("text/plain; charset=utf-8").cache_control("max-age=60").content_language("de");
    let put = put.content_disposition("attachment; filename=\"ä.txt\"").content_encoding("identity");
    let put = put.metadata("plain", "value").metadata("greeting", "你好，世界").send().await.unwrap();
    assert_eq!(put.e_tag(), Some("\"2c1743a391305fbf367df8e4f069f9f9\""), "its MD5");

    let head = store.client.head_object().bucket(BUCKET).key("a.txt").send().await.unwrap();
    assert_eq!(head.content_length(), Some(5));
    assert_eq!(head.e_tag(), put.e_tag());
    assert_eq!(head.content_type(), Some("text/plain; charset=utf-8"));
    assert_eq!(head.cache_control(), Some("max-age=60"));
    assert_eq!(head.content_language(), Some("de"));
    assert_eq!(head.content_encoding(), Some("identity"));
    let metadata = head.metadata().unwrap();
    assert_eq!(metadata["plain"], "value");
    assert_eq!(metadata["greeting"], "=?UTF-8?B?5L2g5aW977yM5LiW55WM?=", "S3 tells other scripts as encoded words");
    assert_eq!(metadata.len(), 2);

    let got = store.client.get_object().bucket(BUCKET).key("a.txt").send().await.unwrap();
    assert_eq!(got.metadata(), head.metadata());
    assert_eq!(got.last_modified(), head.last_modified());
    assert_eq!(got.body.collect().await.unwrap().to_vec(), b"alpha");
}

#[tokio::test]
async fn ranges_are_those_of_the_object() {
    let store = Store::with_bucket().await;
    let body = Content { seed: 1, length: 3_000_000 }.bytes();
    store.put("large", &body).await;
    assert!(store.get("large").await == body);
    for (range, expected) in [
        ("bytes=0-9", &body[..10]),
        ("bytes=1048570-1048590", &body[1_048_570..=1_048_590]),
        ("bytes=2999990-9999999", &body[2_999_990..]),
        ("bytes=-5", &body[2_999_995..]),
    ] {
        let got = store.client.get_object().bucket(BUCKET).key("large").range(range).send().await.unwrap();
        assert!(got.content_range().unwrap().ends_with("/3000000"), "{range}");
        assert!(got.body.collect().await.unwrap().to_vec() == expected, "{range}");
    }
    let beyond = store.client.get_object().bucket(BUCKET).key("large").range("bytes=3000000-").send().await;
    assert_eq!(refused(beyond), refusal(416, "InvalidRange"));
}

#[tokio::test]
async fn a_large_body_is_read_piece_by_piece() {
    let store = Store::with_bucket().await;
    let content = Content { seed: 2, length: 20_000_000 }.bytes();
    store.put("large", &content).await;
    let mut body = store.client.get_object().bucket(BUCKET).key("large").send().await.unwrap().body;
    let (mut read, mut pieces) = (Vec::new(), 0);
    while let Some(piece) = body.try_next().await.unwrap() {
        read.extend_from_slice(&piece);
        pieces += 1;
    }
    assert!(read == content && pieces > 1, "{pieces} pieces");
}

#[tokio::test]
async fn a_copy_carries_bytes_and_metadata_or_new_metadata() {
    let store = Store::with_bucket().await;
    const KEY: &str = "dir/ü +%41?&.txt";
    let put = store.client.put_object().bucket(BUCKET).key(KEY).metadata("word", "old");
    put.body(ByteStream::from_static(b"copied")).send().await.unwrap();
    let source = format!("{BUCKET}/{}", percent_encode(KEY, Slash::Keep));
    let copy = || store.client.copy_object().bucket(BUCKET).copy_source(&source);
    let copied = copy().key("same").send().await.unwrap();
    assert!(copied.copy_object_result().unwrap().e_tag().is_some());
    let replaced = copy().key("new").metadata_directive(MetadataDirective::Replace).metadata("word", "new");
    replaced.send().await.unwrap();
    for (key, word) in [("same", "old"), ("new", "new")] {
        assert_eq!(store.get(key).await, b"copied");
        let head = store.client.head_object().bucket(BUCKET).key(key).send().await.unwrap();
        assert_eq!(head.metadata().unwrap()["word"], word);
    }
    let missing = store.client.copy_object().bucket(BUCKET).key("x").copy_source(format!("{BUCKET}/missing"));
    assert_eq!(refused(missing.send().await), refusal(404, "NoSuchKey"));
    let itself = store.client.copy_object().bucket(BUCKET).key("same").copy_source(format!("{BUCKET}/same"));
    assert_eq!(refused(itself.send().await), refusal(400, "InvalidRequest"), "a copy onto itself changes nothing");
}

#[tokio::test]
async fn what_is_not_there_is_not_found_and_is_deleted_without_a_word() {
    let store = Store::with_bucket().await;
    let got = store.client.get_object().bucket(BUCKET).key("missing").send().await.unwrap_err();
    assert!(got.into_service_error().is_no_such_key());
    let head = store.client.head_object().bucket(BUCKET).key("missing").send().await.unwrap_err();
    assert!(head.into_service_error().is_not_found());
    store.client.delete_object().bucket(BUCKET).key("missing").send().await.unwrap();
}

#[tokio::test]
async fn many_are_deleted_at_once() {
    let store = Store::with_bucket().await;
    let keys = ["a", "b c", "ü/日本", "<&>\"'", "kept"];
    for key in keys {
        store.put(key, key.as_bytes()).await;
    }
    let named = |key: &str| ObjectIdentifier::builder().key(key).build().unwrap();
    let list = keys[..4].iter().copied().chain(["missing"]).map(named).collect();
    let list = Delete::builder().set_objects(Some(list)).build().unwrap();
    let deleted = store.client.delete_objects().bucket(BUCKET).delete(list).send().await.unwrap();
    assert!(deleted.errors().is_empty(), "{:?}", deleted.errors());
    let mut said: Vec<&str> = deleted.deleted().iter().map(|object| object.key().unwrap()).collect();
    said.sort_unstable();
    assert_eq!(said, ["<&>\"'", "a", "b c", "missing", "ü/日本"]);
    assert_eq!(store.keys().await, ["kept"]);
}
