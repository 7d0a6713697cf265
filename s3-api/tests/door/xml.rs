//! XML bodies in spellings that are rare, but right.

use crate::house::{Call, house_with, house_with_bucket};
use crate::sign::{sha256, unsigned_chunks};
use cistern_s3_api::S3Config;

fn deleting(key: &str) -> Call {
    Call::post("/photos?delete").body(format!("<Delete><Object><Key>{key}</Key></Object></Delete>"))
}

#[tokio::test]
async fn text_in_sections_and_high_references_is_read_and_signed_as_it_came() {
    let house = house_with_bucket().await;
    for key in ["a", "ab", "\u{1F600}", "<&>"] {
        house.put(&format!("/photos/{key}"), "x").await;
    }
    for (spelled, key) in
        [("a<![CDATA[b]]>", "ab"), ("&#x1F600;", "\u{1F600}"), ("<![CDATA[<&>]]>", "<&>"), ("<![CDATA[a]]>", "a")]
    {
        let answer = house.send(&deleting(spelled)).await.expect(200);
        let deleted =
            answer.elements("Key").pop().unwrap().replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&");
        assert_eq!(deleted, key);
        house.send(&Call::head(&format!("/photos/{key}"))).await.expect(404);
    }
    let tags = "<Tagging><TagSet><Tag><Key>k</Key><Value>a<![CDATA[:]]>b</Value></Tag></TagSet></Tagging>";
    house.send(&Call::put("/photos?tagging").body(tags)).await.expect(200);
    assert_eq!(house.send(&Call::get("/photos?tagging")).await.element("Value"), "a:b");
}

#[tokio::test]
async fn a_respelled_body_must_be_the_one_that_was_signed_by_whoever_may() {
    let house = house_with_bucket().await;
    house.put("/photos/ab", "x").await;
    let call = deleting("a<![CDATA[b]]>");
    house.check_refused(&call.clone().payload(&sha256(b"another body")), "XAmzContentSHA256Mismatch", 400).await;
    house.check_refused(&call.clone().header("content-md5", "AAAAAAAAAAAAAAAAAAAAAA=="), "BadDigest", 400).await;
    house.check_refused(&call.clone().anonymous(), "AccessDenied", 403).await;
    let reader = house.key(None, None, cistern_access::Permission::Read).await;
    house.check_refused(&call.clone().by(&reader), "AccessDenied", 403).await;
    house
        .check_refused(&Call::put("/photos?tagging").body("<Tagging><![CDATA[x]]></Tagging>"), "MalformedXML", 400)
        .await;
    house.send(&call.presigned("60")).await.expect(200);
    house.send(&Call::head("/photos/ab")).await.expect(404);
}

#[tokio::test]
async fn a_plus_in_a_copy_source_is_a_space() {
    let house = house_with_bucket().await;
    house.put("/photos/a b", "spaced").await;
    house.put("/photos/a+b", "plus").await;
    for (source, expected) in [("photos/a+b", "spaced"), ("/photos/a%2Bb", "plus"), ("photos/a%20b", "spaced")] {
        let copy = Call::put("/photos/copy").header("x-amz-copy-source", source);
        house.send(&copy).await.expect(200);
        assert_eq!(house.send(&Call::get("/photos/copy")).await.text(), expected, "{source}");
    }
}

#[tokio::test]
async fn a_policy_is_no_xml_and_is_kept_as_it_came() {
    let house = house_with_bucket().await;
    let policy = r#"{"Statement":{"Effect":"Deny","Principal":"*","Action":"s3:GetObject",
        "Resource":"arn:aws:s3:::photos/&#128512;<![CDATA[x]]>"}}"#;
    house.send(&Call::put("/photos?policy").body(policy)).await.expect(204);
    assert_eq!(house.send(&Call::get("/photos?policy")).await.text(), policy);
}

#[tokio::test]
async fn a_respelled_request_stays_with_the_bucket_that_its_host_names() {
    let house = house_with(S3Config { domain: Some("s3.test".into()), ..S3Config::default() });
    for bucket in ["photos", "other"] {
        house.send(&Call::put(&format!("/{bucket}")).host("s3.test")).await.expect(200);
    }
    let tags = "<Tagging><TagSet><Tag><Key>k</Key><Value><![CDATA[v]]></Value></Tag></TagSet></Tagging>";
    house.send(&Call::put("/other").host("photos.s3.test").body("x")).await.expect(200);
    let call = Call::put("/other?tagging").host("photos.s3.test").body(tags);
    house.send_by_authority(&call).await.expect(200);
    assert_eq!(house.send(&Call::get("/other?tagging").host("photos.s3.test")).await.element("Value"), "v");
    house.check_refused(&Call::get("/other?tagging").host("s3.test"), "NoSuchTagSet", 404).await;
}

#[tokio::test]
async fn a_description_in_chunks_is_refused() {
    let house = house_with_bucket().await;
    house.put("/photos/a", "x").await;
    let call = deleting("a<![CDATA[b]]>").payload("STREAMING-UNSIGNED-PAYLOAD-TRAILER").header("expires", "never");
    let answer = house.send_chunked(&call, |_, _, _| unsigned_chunks(&[b"<Delete/>"], None)).await;
    answer.expect_error("InvalidRequest", 400);
    house.send(&Call::head("/photos/a")).await.expect(200);
}

#[tokio::test]
async fn an_object_whose_path_is_escaped_is_no_description() {
    let house = house_with_bucket().await;
    let content = "<![CDATA[x]]>";
    let mut request = Call::put("/photos/big").body(content).anonymous().sign(&house.root, |_, _, _| Vec::new());
    *request.uri_mut() = "/photos%2Fbig".parse().unwrap();
    let policy = r#"{"Statement":{"Effect":"Allow","Principal":"*","Action":"s3:PutObject","Resource":"arn:aws:s3:::photos/*"}}"#;
    house.send(&Call::put("/photos?policy").body(policy)).await.expect(204);
    house.send_request(request.map(Into::into)).await.expect(200);
    assert_eq!(house.send(&Call::get("/photos/big")).await.text(), content);
}

#[tokio::test]
async fn an_error_says_what_it_is_about() {
    let house = house_with_bucket().await;
    house.put("/photos/k", "0123456789").await;
    let id = "0".repeat(32);
    for (call, members) in [
        (Call::get("/photos/a<b"), vec![("Key", "a&lt;b")]),
        (Call::get("/photos/x\u{1}y"), vec![("Code", "NoSuchKey")]),
        (Call::get("/nothing/k"), vec![("BucketName", "nothing")]),
        (Call::delete("/photos"), vec![("BucketName", "photos")]),
        (Call::get("/photos/k").query("versionId", &id), vec![("Key", "k"), ("VersionId", &id)]),
        (Call::get("/photos/k").query("uploadId", &id), vec![("UploadId", &id)]),
        (Call::get("/photos/k").header("range", "bytes=10-"), vec![("ActualObjectSize", "10")]),
        (Call::get("/photos/k").header("if-match", "\"a\""), vec![("Condition", "If-Match")]),
        (Call::put("/photos/k").header("if-none-match", "*"), vec![("Condition", "If-None-Match")]),
    ] {
        let answer = house.send(&call).await;
        for (name, text) in members {
            assert_eq!(answer.elements(name), [text], "{name} in {}", answer.text());
        }
        assert!(!answer.text().contains("&#x"), "{}", answer.text());
    }
}

#[tokio::test]
async fn carriage_returns_in_keys_are_referred_to_and_bodies_stay_as_they_are() {
    let house = house_with_bucket().await;
    house.put("/photos/Icon\r", "<a>\r\n</a>").await;
    let xml = Call::put("/photos/file.xml").header("content-type", "application/xml").body("<a>\r\n</a>");
    house.send(&xml).await.expect(200);
    for list in ["/photos", "/photos?list-type=2", "/photos?versions"] {
        let text = house.send(&Call::get(list)).await.expect(200).text();
        assert!(text.contains("<Key>Icon&#13;</Key>") && !text.contains('\r'), "{list}: {text}");
    }
    house.send(&Call::post("/photos/Icon\r?uploads")).await.expect(200);
    assert!(house.send(&Call::get("/photos?uploads")).await.expect(200).text().contains("<Key>Icon&#13;</Key>"));
    assert_eq!(house.send(&Call::get("/photos/file.xml")).await.expect(200).text(), "<a>\r\n</a>");
    let deleted = house.send(&deleting("Icon&#13;")).await.expect(200).text();
    assert!(deleted.contains("<Key>Icon&#13;</Key>"), "{deleted}");
    house.send(&Call::head("/photos/Icon\r")).await.expect(404);
}
