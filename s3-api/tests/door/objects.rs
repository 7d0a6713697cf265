//! Objects: put, read whole and in part, under conditions, copied, deleted.

use crate::house::{Call, house_with_bucket};

/// MD5 of "hello world", quoted.
const HELLO_ETAG: &str = "\"5eb63bbbe01eeed093cb22bb8f5acdc3\"";

#[tokio::test]
async fn an_object_comes_back_with_its_headers() {
    let house = house_with_bucket().await;
    let put = Call::put("/photos/a b/ä+?~")
        .body("hello world")
        .header("content-type", "text/plain")
        .header("cache-control", "no-cache")
        .header("content-disposition", "attachment; filename=\"x\"")
        .header("content-language", "de")
        .header("expires", "Thu, 01 Dec 2033 16:00:00 GMT")
        .header("x-amz-meta-color", "red")
        .header("x-amz-storage-class", "STANDARD_IA");
    assert_eq!(house.send(&put).await.expect(200).header("etag"), HELLO_ETAG);
    for call in [Call::get("/photos/a b/ä+?~"), Call::head("/photos/a b/ä+?~")] {
        let answer = house.send(&call).await.expect(200);
        for (name, value) in &put.headers {
            assert_eq!(answer.header(name), value, "{name}");
        }
        assert_eq!((answer.header("etag"), answer.header("content-length")), (HELLO_ETAG, "11"));
        assert_eq!(answer.header("accept-ranges"), "bytes");
        assert!(answer.header("last-modified").ends_with("GMT"));
        assert_eq!(answer.text(), if call.method == "GET" { "hello world" } else { "" });
    }
}

#[tokio::test]
async fn an_object_without_a_type_is_a_stream_of_bytes() {
    let house = house_with_bucket().await;
    house.put("/photos/k", "x").await;
    let answer = house.send(&Call::get("/photos/k")).await.expect(200);
    assert_eq!((answer.header("content-type"), answer.header("x-amz-storage-class")), ("binary/octet-stream", ""));
}

#[tokio::test]
async fn a_read_says_which_headers_its_answer_has() {
    let house = house_with_bucket().await;
    house.send(&Call::put("/photos/k").header("content-language", "de").body("x")).await.expect(200);
    let policy = r#"{"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Principal": "*",
        "Action": "s3:GetObject", "Resource": "arn:aws:s3:::photos/*"}}"#;
    house.send(&Call::put("/photos?policy").body(policy)).await.expect(204);
    let overridden = [
        ("content-type", "text/x"),
        ("content-disposition", "attachment; filename=\"x\""),
        ("content-encoding", "gzip"),
        ("content-language", "fr"),
        ("cache-control", "no-store"),
        ("expires", "Thu, 01 Dec 2033 16:00:00 GMT"),
    ];
    for call in [Call::get("/photos/k"), Call::head("/photos/k")] {
        let ask = |call: Call, (name, value): &(&str, &str)| call.query(&format!("response-{name}"), value);
        let answer = house.send(&overridden.iter().fold(call.clone(), ask)).await.expect(200);
        for (name, value) in overridden {
            assert_eq!(answer.header(name), value, "{name} of {}", call.method);
        }
        house.send(&call.clone().anonymous()).await.expect(200);
        house.send(&ask(call.clone().anonymous(), &overridden[0])).await.expect(400);
        house.send(&ask(call, &("content-type", "a\nb"))).await.expect(400);
    }
}

#[tokio::test]
async fn metadata_in_other_scripts_round_trips() {
    let house = house_with_bucket().await;
    house.send(&Call::put("/photos/k").header("x-amz-meta-name", "=?UTF-8?B?w6TDpA==?=").body("x")).await.expect(200);
    let answer = house.send(&Call::head("/photos/k")).await.expect(200);
    assert_eq!(answer.header("x-amz-meta-name"), "=?UTF-8?B?w6TDpA==?=");
}

#[tokio::test]
async fn ranges_answer_their_bytes_or_416() {
    let house = house_with_bucket().await;
    house.put("/photos/k", "0123456789").await;
    for (range, body, content_range) in [
        ("bytes=0-0", "0", "bytes 0-0/10"),
        ("bytes=2-4", "234", "bytes 2-4/10"),
        ("bytes=7-", "789", "bytes 7-9/10"),
        ("bytes=7-99", "789", "bytes 7-9/10"),
        ("bytes=-3", "789", "bytes 7-9/10"),
        ("bytes=-99", "0123456789", "bytes 0-9/10"),
    ] {
        let answer = house.send(&Call::get("/photos/k").header("range", range)).await.expect(206);
        assert_eq!((answer.text().as_str(), answer.header("content-range")), (body, content_range), "{range}");
        assert_eq!(answer.header("content-length"), body.len().to_string(), "{range}");
    }
    for range in ["bytes=10-", "bytes=10-11", "bytes=-0"] {
        house.check_refused(&Call::get("/photos/k").header("range", range), "InvalidRange", 416).await;
    }
}

#[tokio::test]
async fn conditional_reads_answer_304_and_412() {
    let house = house_with_bucket().await;
    house.put("/photos/k", "hello world").await;
    let (past, future) = ("Sun, 06 Nov 1994 08:49:37 GMT", "Fri, 31 Dec 2100 00:00:00 GMT");
    for make in [Call::get, Call::head] {
        for (name, value, status) in [
            ("if-match", HELLO_ETAG, 200),
            ("if-match", "*", 200),
            ("if-match", "\"aa\"", 412),
            ("if-none-match", "\"aa\"", 200),
            ("if-none-match", HELLO_ETAG, 304),
            ("if-none-match", "\"aa\", \"5eb63bbbe01eeed093cb22bb8f5acdc3\"", 304),
            ("if-modified-since", past, 200),
            ("if-modified-since", future, 304),
            ("if-unmodified-since", past, 412),
            ("if-unmodified-since", future, 200),
        ] {
            let answer = house.send(&make("/photos/k").header(name, value)).await.expect(status);
            if status == 304 {
                assert_eq!((answer.header("etag"), answer.body.len()), (HELLO_ETAG, 0));
                assert!(!answer.header("last-modified").is_empty());
                assert!(answer.headers.get("content-length").is_none());
            }
        }
    }
}

#[tokio::test]
async fn conditional_writes_have_one_winner() {
    let house = house_with_bucket().await;
    let create = |body: &'static str| Call::put("/photos/k").header("if-none-match", "*").body(body);
    let (a, b) = (create("first"), create("second"));
    let (first, second) = tokio::join!(house.send(&a), house.send(&b));
    let mut statuses = [first.status.as_u16(), second.status.as_u16()];
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 412]);
    house.check_refused(&create("third"), "PreconditionFailed", 412).await;
    let tag = house.send(&Call::head("/photos/k")).await.header("etag").to_owned();
    house
        .check_refused(&Call::put("/photos/k").header("if-match", HELLO_ETAG).body("x"), "PreconditionFailed", 412)
        .await;
    house.check_refused(&Call::put("/photos/none").header("if-match", &tag).body("x"), "NoSuchKey", 404).await;
    house.send(&Call::put("/photos/k").header("if-match", &tag).body("x")).await.expect(200);
}

#[tokio::test]
async fn deleting_succeeds_also_when_there_is_nothing() {
    let house = house_with_bucket().await;
    house.put("/photos/k", "x").await;
    for _ in 0..2 {
        house.send(&Call::delete("/photos/k")).await.expect(204);
    }
    house.check_refused(&Call::get("/photos/k"), "NoSuchKey", 404).await;
}

#[tokio::test]
async fn many_are_deleted_at_once_and_each_is_answered() {
    let house = house_with_bucket().await;
    for key in ["a", "b", "c & d"] {
        house.put(&format!("/photos/{key}"), "x").await;
    }
    let long = "k".repeat(1025);
    let body = format!(
        "<Delete><Object><Key>a</Key></Object><Object><Key>c &amp; d</Key><VersionId>null</VersionId></Object>\
         <Object><Key>missing</Key></Object><Object><Key>b</Key><VersionId>abc</VersionId></Object>\
         <Object><Key>{long}</Key></Object><Object><Key></Key></Object></Delete>"
    );
    let answer = house.send(&Call::post("/photos?delete").body(body)).await.expect(200);
    let deleted: Vec<_> = answer.elements("Deleted");
    assert_eq!(deleted.len(), 3, "{}", answer.text());
    assert!(deleted[1].contains("c &amp; d") && deleted[1].contains("null"), "{deleted:?}");
    let codes: Vec<_> = answer.elements("Code");
    assert_eq!(codes, ["InvalidArgument", "KeyTooLongError", "UserKeyMustBeSpecified"]);
    let list = house.send(&Call::get("/photos")).await.expect(200);
    assert_eq!(list.elements("Key"), ["b"]);
    let quiet = "<Delete><Quiet>true</Quiet><Object><Key>b</Key></Object></Delete>";
    let answer = house.send(&Call::post("/photos?delete").body(quiet)).await.expect(200);
    assert!(answer.elements("Deleted").is_empty());
}

#[tokio::test]
async fn an_xml_body_is_held_against_its_digests() {
    let house = house_with_bucket().await;
    house.put("/photos/k", "x").await;
    let body = "<Delete><Object><Key>k</Key></Object></Delete>";
    let sum = {
        use s3s::crypto::Checksum as _;
        base64::Engine::encode(
            &base64::engine::general_purpose::STANDARD,
            s3s::crypto::Crc32::checksum(body.as_bytes()),
        )
    };
    house.send(&Call::post("/photos?delete").header("x-amz-checksum-crc32", &sum).body(body)).await.expect(200);
    house.check_refused(&Call::get("/photos/k"), "NoSuchKey", 404).await;
}

#[tokio::test]
async fn a_copy_takes_or_replaces_the_headers_of_its_source() {
    let house = house_with_bucket().await;
    let put = Call::put("/photos/ä b").header("x-amz-meta-a", "1").header("content-type", "text/x");
    house.send(&put.body("hello world")).await.expect(200);
    let copy = |to: &str| Call::put(to).header("x-amz-copy-source", "/photos/%C3%A4%20b");
    let answer = house.send(&copy("/photos/same")).await.expect(200);
    assert_eq!(answer.element("ETag").replace("&quot;", "\""), HELLO_ETAG);
    let replace = copy("/photos/new").header("x-amz-metadata-directive", "REPLACE").header("x-amz-meta-b", "2");
    house.send(&replace).await.expect(200);
    let merge = copy("/photos/both").header("x-amz-metadata-directive", "MERGE").header("x-amz-meta-b", "2");
    house.send(&merge).await.expect(200);
    for (key, a, b, kind) in
        [("same", "1", "", "text/x"), ("new", "", "2", "binary/octet-stream"), ("both", "1", "2", "text/x")]
    {
        let answer = house.send(&Call::get(&format!("/photos/{key}"))).await.expect(200);
        assert_eq!((answer.header("x-amz-meta-a"), answer.header("x-amz-meta-b")), (a, b), "{key}");
        assert_eq!((answer.header("content-type"), answer.text().as_str()), (kind, "hello world"), "{key}");
    }
    let onto_itself = Call::put("/photos/same").header("x-amz-copy-source", "photos/same");
    house.check_refused(&onto_itself, "InvalidRequest", 400).await;
    let unless = copy("/photos/never").header("x-amz-copy-source-if-none-match", HELLO_ETAG);
    house.check_refused(&unless, "PreconditionFailed", 412).await;
    house.check_refused(&copy("/photos/x").header("x-amz-metadata-directive", "MIX"), "InvalidArgument", 400).await;
    for source in ["nonsense", "photos/", "photos/?versionId=null"] {
        house.check_refused(&Call::put("/photos/x").header("x-amz-copy-source", source), "InvalidArgument", 400).await;
    }
}

#[tokio::test]
async fn an_objects_access_list_says_that_it_is_its_owners() {
    let house = house_with_bucket().await;
    house.put("/photos/k", "x").await;
    let answer = house.send(&Call::get("/photos/k?acl")).await.expect(200);
    assert_eq!(answer.elements("Permission"), ["FULL_CONTROL"]);
}
