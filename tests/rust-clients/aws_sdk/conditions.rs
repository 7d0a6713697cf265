//! Conditions of writes and reads: one of many wins, and the others are told with 412 or 304.

use super::{BUCKET, Store, refusal, refused};
use aws_sdk_s3::primitives::ByteStream;

#[tokio::test]
async fn of_many_that_create_a_key_one_wins() {
    let store = Store::with_bucket().await;
    let mut writers = tokio::task::JoinSet::new();
    for n in 0..16 {
        let put = store.client.put_object().bucket(BUCKET).key("lock").if_none_match("*");
        writers.spawn(put.body(ByteStream::from(vec![n])).send());
    }
    let mut won = 0;
    for result in writers.join_all().await {
        match result {
            Ok(_) => won += 1,
            lost => assert_eq!(refused(lost), refusal(412, "PreconditionFailed")),
        }
    }
    assert_eq!(won, 1);
}

#[tokio::test]
async fn a_write_replaces_only_the_version_it_has_seen() {
    let store = Store::with_bucket().await;
    let first = store.put("a", b"first").await;
    let put = |tag: &str| store.client.put_object().bucket(BUCKET).key("a").if_match(tag);
    put(&first).body(ByteStream::from_static(b"second")).send().await.unwrap();
    assert_eq!(refused(put(&first).send().await), refusal(412, "PreconditionFailed"));
    assert_eq!(store.get("a").await, b"second");
    let missing = store.client.put_object().bucket(BUCKET).key("missing").if_match(&first).send().await;
    assert_eq!(refused(missing), refusal(404, "NoSuchKey"));
    let deleted = store.client.delete_object().bucket(BUCKET).key("a").if_match(&first).send().await;
    assert_eq!(refused(deleted), refusal(412, "PreconditionFailed"));
    assert_eq!(store.get("a").await, b"second");
}

#[tokio::test]
async fn reads_and_copies_are_told_that_nothing_or_something_has_changed() {
    let store = Store::with_bucket().await;
    let tag = store.put("a", b"body").await;
    let get = || store.client.get_object().bucket(BUCKET).key("a");
    get().if_match(&tag).send().await.unwrap();
    assert_eq!(refused(get().if_match("\"other\"").send().await), refusal(412, "PreconditionFailed"));
    assert_eq!(refused(get().if_none_match(&tag).send().await).0, 304);
    let changed = get().send().await.unwrap().last_modified().copied().unwrap();
    assert_eq!(refused(get().if_modified_since(changed).send().await).0, 304);
    let copy = || store.client.copy_object().bucket(BUCKET).key("b").copy_source(format!("{BUCKET}/a"));
    assert_eq!(refused(copy().copy_source_if_none_match(&tag).send().await), refusal(412, "PreconditionFailed"));
    copy().copy_source_if_match(&tag).send().await.unwrap();
    assert_eq!(store.get("b").await, b"body");
}
