//! What S3 passes over: headers that are malformed or odd, signed, in a presigned address and by nobody.

use crate::house::{Call, House, house_with_bucket};
use crate::sign::{Keys, UNSIGNED};
use cistern_access::Permission;

const PAST: &str = "Sun, 06 Nov 1994 08:49:37 GMT";

/// A house with an object that everybody may read, and its tag.
async fn furnished() -> (House, String) {
    let house = house_with_bucket().await;
    let put = Call::put("/photos/cat").header("x-amz-acl", "public-read").body("0123456789");
    let tag = house.send(&put).await.expect(200).header("etag").to_owned();
    (house, tag)
}

/// The same read, signed, presigned and by nobody.
fn ways(call: &Call) -> [Call; 3] {
    [call.clone(), call.clone().presigned("60"), call.clone().anonymous()]
}

#[tokio::test]
async fn a_range_that_is_none_reads_the_whole() {
    let (house, _) = furnished().await;
    for range in ["bytes=0-1,3-4", "bytes=5-4", "bytes=a-b", "lines=1-2", "bytes", "bytes=-", "0-1"] {
        for call in ways(&Call::get("/photos/cat").header("range", range)) {
            let answer = house.send(&call).await.expect(200);
            assert_eq!((answer.text().as_str(), answer.header("content-range")), ("0123456789", ""), "{range}");
        }
        let head = house.send(&Call::head("/photos/cat").header("range", range)).await.expect(200);
        assert_eq!((head.header("content-length"), head.header("content-range")), ("10", ""), "{range}");
    }
    for call in ways(&Call::get("/photos/cat").header("range", "bytes=8-99999999999999999999")) {
        let answer = house.send(&call).await.expect(206);
        assert_eq!((answer.text().as_str(), answer.header("content-range")), ("89", "bytes 8-9/10"));
    }
}

#[tokio::test]
async fn a_range_of_a_head_is_told_as_of_a_get() {
    let (house, _) = furnished().await;
    for (range, length, content_range) in
        [("bytes=2-4", "3", "bytes 2-4/10"), ("bytes=-3", "3", "bytes 7-9/10"), ("bytes=0-", "10", "bytes 0-9/10")]
    {
        let head = house.send(&Call::head("/photos/cat").header("range", range)).await.expect(206);
        assert_eq!((head.header("content-length"), head.header("content-range")), (length, content_range), "{range}");
    }
    let beyond = house.send(&Call::head("/photos/cat").header("range", "bytes=10-")).await.expect(416);
    assert!(beyond.body.is_empty());
    let both = house.send(&Call::head("/photos/cat?partNumber=1").header("range", "bytes=0-1")).await;
    both.expect(400);
}

#[tokio::test]
async fn dates_are_taken_in_every_form_of_http_and_passed_over_otherwise() {
    let (house, _) = furnished().await;
    for (date, status) in [
        ("Sunday, 06-Nov-94 08:49:37 GMT", 412),
        ("Sun Nov  6 08:49:37 1994", 412),
        (PAST, 412),
        ("Sun, 06 Nov 1994 08:49:37 +0000", 200),
        ("yesterday", 200),
        ("0", 200),
    ] {
        for call in ways(&Call::get("/photos/cat").header("if-unmodified-since", date)) {
            house.send(&call).await.expect(status);
        }
        house.send(&Call::head("/photos/cat").header("if-unmodified-since", date)).await.expect(status);
    }
    for (date, status) in [("Thursday, 31-Dec-65 08:49:37 GMT", 304), ("tomorrow", 200)] {
        house.send(&Call::get("/photos/cat").header("if-modified-since", date)).await.expect(status);
    }
    let copy = |name: &str, date: &str| {
        Call::put("/photos/copy")
            .header("x-amz-copy-source", "photos/cat")
            .header(&format!("x-amz-copy-source-{name}"), date)
    };
    house.check_refused(&copy("if-unmodified-since", "Sun Nov  6 08:49:37 1994"), "PreconditionFailed", 412).await;
    house.send(&copy("if-unmodified-since", "yesterday")).await.expect(200);
    house.send(&copy("if-modified-since", "Sun, 06 Nov 1994 08:49:37 +0000")).await.expect(200);
}

#[tokio::test]
async fn tags_come_as_lists_weak_and_bare() {
    let (house, tag) = furnished().await;
    let bare = tag.trim_matches('"');
    for list in [
        format!("W/{tag}"),
        format!("\"aa\", {tag}"),
        format!("aa, {bare}"),
        bare.to_owned(),
        format!("aa,W/{tag} , bb"),
    ] {
        for call in ways(&Call::get("/photos/cat").header("if-none-match", &list)) {
            house.send(&call).await.expect(304);
        }
        for call in ways(&Call::get("/photos/cat").header("if-match", &list)) {
            house.send(&call).await.expect(200);
        }
        let write = Call::put("/photos/cat").header("if-none-match", &list).body("0123456789");
        house.check_refused(&write, "PreconditionFailed", 412).await;
        let write = Call::put("/photos/cat").header("if-match", &list).header("x-amz-acl", "public-read");
        house.send(&write.body("0123456789")).await.expect(200);
        let copy = Call::put("/photos/copy").header("x-amz-copy-source", "photos/cat");
        house.send(&copy.clone().header("x-amz-copy-source-if-match", &list)).await.expect(200);
        house.check_refused(&copy.header("x-amz-copy-source-if-none-match", &list), "PreconditionFailed", 412).await;
    }
    for call in ways(&Call::get("/photos/cat").header("if-match", "aa, bb")) {
        house.send(&call).await.expect(412);
    }
}

#[tokio::test]
async fn an_odd_expires_or_content_header_is_stored_as_it_is() {
    let (house, _) = furnished().await;
    let expires = "in a while";
    let put = |call: Call| call.header("expires", expires).header("content-disposition", "attachment; filename=ä");
    house.send(&put(Call::put("/photos/k").body("x"))).await.expect(200);
    house.send(&put(Call::put("/photos/presigned").body("x").presigned("60"))).await.expect(200);
    let copy = put(Call::put("/photos/copy").header("x-amz-copy-source", "photos/k"));
    house.send(&copy.header("x-amz-metadata-directive", "REPLACE")).await.expect(200);
    for key in ["k", "presigned", "copy"] {
        let answer = house.send(&Call::get(&format!("/photos/{key}"))).await.expect(200);
        assert_eq!(answer.header("expires"), expires, "{key}");
        assert_eq!(answer.headers["content-disposition"], "attachment; filename=ä".as_bytes(), "{key}");
    }
}

#[tokio::test]
async fn a_chunked_body_is_read_under_odd_headers_too() {
    let (house, _) = furnished().await;
    let call = Call::put("/photos/chunks")
        .header("expires", "never")
        .header("x-amz-decoded-content-length", "10")
        .header("x-amz-trailer", "x-amz-checksum-crc32")
        .payload("STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER");
    let sum = {
        use s3s::crypto::Checksum as _;
        base64::Engine::encode(&base64::engine::general_purpose::STANDARD, s3s::crypto::Crc32::checksum(b"0123456789"))
    };
    for (sum, status) in [(sum.as_str(), 200), ("AAAAAA==", 400)] {
        let trailer = Some(("x-amz-checksum-crc32", sum));
        let answer = house
            .send_chunked(&call, |moment, keys, seed| moment.chunked(keys, seed, &[b"01234", b"56789"], trailer))
            .await
            .expect(status);
        assert_eq!(answer.header("x-amz-checksum-crc32"), if status == 200 { sum } else { "" });
    }
    let answer = house.send(&Call::get("/photos/chunks")).await.expect(200);
    assert_eq!((answer.text().as_str(), answer.header("expires")), ("0123456789", "never"));
    let other = crate::sign::sha256(b"another");
    let wrong = Call::put("/photos/chunks").header("expires", "never").body("x");
    house.check_refused(&wrong.clone().payload(&other), "XAmzContentSHA256Mismatch", 400).await;
    house.check_refused(&wrong.payload(UNSIGNED).length("2"), "IncompleteBody", 400).await;
}

#[tokio::test]
async fn a_completion_is_read_under_odd_headers_too() {
    let (house, _) = furnished().await;
    let upload = house.send(&Call::post("/photos/film?uploads")).await.expect(200).element("UploadId");
    let part = Call::put(&format!("/photos/film?partNumber=1&uploadId={upload}")).body("12345678");
    let tag = house.send(&part).await.expect(200).header("etag").to_owned();
    let xml = format!(
        "<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>{}</ETag></Part></CompleteMultipartUpload>",
        tag.replace('"', "&quot;")
    );
    let complete = |body: String| {
        Call::post(&format!("/photos/film?uploadId={upload}")).header("if-none-match", "aa, bb").body(body)
    };
    house.check_refused(&complete("<Complete".into()), "MalformedXML", 400).await;
    let other = crate::sign::sha256(b"another");
    house.check_refused(&complete(xml.clone()).payload(&other), "XAmzContentSHA256Mismatch", 400).await;
    house.send(&complete(xml)).await.expect(200);
}

#[tokio::test]
async fn odd_headers_open_no_door() {
    let (house, _) = furnished().await;
    house.put("/photos/private", "secret").await;
    let wrong = Keys { id: house.root.id.clone(), secret: "not the secret".into() };
    let stranger = Keys { id: "CKSTRANGER".into(), secret: "whatever".into() };
    let other = house.key(Some("ada"), None, Permission::Admin).await;
    let reader = house.key(None, None, Permission::Read).await;
    for call in [
        Call::get("/photos/private").header("range", "junk"),
        Call::put("/photos/private").header("expires", "never").body("x"),
        Call::delete("/photos/private").header("if-match", "a, b"),
        Call::delete("/photos").header("range", "junk"),
    ] {
        house.check_refused(&call.clone().by(&wrong), "SignatureDoesNotMatch", 403).await;
        house.check_refused(&call.clone().by(&wrong).presigned("60"), "SignatureDoesNotMatch", 403).await;
        house.check_refused(&call.clone().by(&stranger), "InvalidAccessKeyId", 403).await;
        house.check_refused(&call.clone().by(&other), "AccessDenied", 403).await;
        house.check_refused(&call.clone().anonymous(), "AccessDenied", 403).await;
        if call.method != "GET" {
            house.check_refused(&call.by(&reader), "AccessDenied", 403).await;
        }
    }
    // what was signed cannot be changed into something odd, nor dropped
    let signed = Call::get("/photos/private").header("range", "bytes=0-1").sign(&house.root, |_, _, _| Vec::new());
    for odd in [Some("junk"), None] {
        let mut changed = signed.clone().map(cistern_s3_api::Body::from);
        changed.headers_mut().remove("range");
        if let Some(odd) = odd {
            changed.headers_mut().insert("range", odd.parse().unwrap());
        }
        house.send_request(changed).await.expect_error("SignatureDoesNotMatch", 403);
    }
    house.send(&Call::get("/photos/private").header("range", "junk").by(&reader)).await.expect(200);
    for query in ["acl", "versioning"] {
        let call = Call::delete(&format!("/photos?{query}")).header("range", "junk");
        house.check_refused(&call, "NotImplemented", 501).await;
    }
}

#[tokio::test]
async fn a_policy_sees_the_request_as_it_came() {
    let (house, _) = furnished().await;
    let policy = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Deny","Principal":"*","Action":"s3:GetObject",
        "Resource":"arn:aws:s3:::photos/*","Condition":{"StringEquals":{"s3:authType":"REST-QUERY-STRING"}}}]}"#;
    house.send(&Call::put("/photos?policy").body(policy)).await.expect(204);
    let call = Call::get("/photos/cat").header("range", "junk");
    house.send(&call).await.expect(200);
    house.check_refused(&call.presigned("60"), "AccessDenied", 403).await;
}

#[tokio::test]
async fn an_empty_md5_is_no_md5() {
    let (house, _) = furnished().await;
    house.check_refused(&Call::put("/photos/k").header("content-md5", "").body("x"), "InvalidDigest", 400).await;
    let delete = Call::post("/photos?delete").body("<Delete><Object><Key>cat</Key></Object></Delete>");
    house.check_refused(&delete.header("content-md5", ""), "InvalidDigest", 400).await;
}

#[tokio::test]
async fn a_range_of_another_state_is_the_whole_object() {
    let house = house_with_bucket().await;
    let old = house.put("/photos/k", "old content").await;
    let tag = house.put("/photos/k", "new content").await;
    let modified = house.send(&Call::head("/photos/k")).await.header("last-modified").to_owned();
    for (state, status) in [
        (tag.as_str(), 206),
        (&modified, 206),
        (&old, 200),
        ("Sun, 06 Nov 1994 08:49:37 GMT", 200),
        (&format!("W/{tag}"), 200),
        ("nonsense", 200),
    ] {
        let ranged = |call: Call| call.header("range", "bytes=4-").header("if-range", state);
        let got = house.send(&ranged(Call::get("/photos/k"))).await.expect(status);
        assert_eq!(got.text(), if status == 206 { "content" } else { "new content" }, "{state}");
        assert_eq!(got.header("content-range").is_empty(), status == 200);
        house.send(&ranged(Call::head("/photos/k"))).await.expect(status);
    }
}

#[tokio::test]
async fn a_condition_that_cannot_be_read_holds_for_nothing_and_several_lines_are_one_list() {
    let house = house_with_bucket().await;
    let tag = house.put("/photos/k", "kept").await;
    house.put("/photos/other", "lost").await;
    let put = || Call::put("/photos/k").body("lost");
    for call in [
        put().unsigned_header("if-match", "\"ä\""),
        Call::delete("/photos/k").unsigned_header("if-match", "\"ä\""),
        put().unsigned_header("if-none-match", "\"x\"").unsigned_header("if-none-match", &format!("\"a\",{tag}")),
        put().unsigned_header("if-none-match", "\"x\"").unsigned_header("if-none-match", &tag),
        Call::put("/photos/k").header("x-amz-copy-source", "photos/other").header("cf-copy-destination-if-match", "ä"),
    ] {
        house.check_refused(&call, "PreconditionFailed", 412).await;
    }
}
