//! Bad input: the right code, the right status, and nothing changed.

use crate::house::{Call, House, PART_BYTES_MIN, house, house_with_bucket};
use crate::sign::{Keys, UNSIGNED};
use time::Duration;

/// A house with a bucket, an object and an upload with two parts, so that there is something to damage.
async fn furnished() -> (House, String) {
    let house = house_with_bucket().await;
    house.put("/photos/cat", "a cat").await;
    let upload = house.send(&Call::post("/photos/film?uploads")).await.expect(200).element("UploadId");
    for number in 1..=2 {
        let part = Call::put(&format!("/photos/film?partNumber={number}&uploadId={upload}")).body("12345678");
        house.send(&part).await.expect(200);
    }
    (house, upload)
}

#[tokio::test]
async fn a_wrong_key_or_signature_is_refused() {
    let (house, _) = furnished().await;
    let stranger = Keys { id: "CKSTRANGER".into(), secret: "whatever".into() };
    let wrong = Keys { id: house.root.id.clone(), secret: "not the secret".into() };
    let odd = Keys { id: "?!".into(), secret: "x".into() };
    for call in [
        Call::get("/photos/cat"),
        Call::put("/photos/cat").body("other"),
        Call::delete("/photos/cat"),
        Call::post("/photos?delete").body("<Delete><Object><Key>cat</Key></Object></Delete>"),
        Call::delete("/photos"),
        Call::put("/new"),
    ] {
        house.check_refused(&call.clone().by(&stranger), "InvalidAccessKeyId", 403).await;
        house.check_refused(&call.clone().by(&odd), "InvalidAccessKeyId", 403).await;
        house.check_refused(&call.clone().by(&wrong), "SignatureDoesNotMatch", 403).await;
        house.check_refused(&call.clone().by(&wrong).presigned("60"), "SignatureDoesNotMatch", 403).await;
        house.check_refused(&call.anonymous(), "AccessDenied", 403).await;
    }
}

#[tokio::test]
async fn a_request_changed_after_it_was_signed_is_refused() {
    let (house, _) = furnished().await;
    let signed = Call::delete("/photos/cat?versionId=null").sign(&house.root, |_, _, _| Vec::new());
    for (from, to) in [("/photos/cat", "/photos/dog"), ("versionId=null", "versionId=nulk")] {
        let mut changed = signed.clone().map(cistern_s3_api::Body::from);
        *changed.uri_mut() = signed.uri().to_string().replace(from, to).parse().unwrap();
        house.send_request(changed).await.expect_error("SignatureDoesNotMatch", 403);
    }
    house.send(&Call::head("/photos/cat")).await.expect(200);
}

#[tokio::test]
async fn a_skewed_clock_is_refused() {
    let (house, _) = furnished().await;
    for minutes in [-16, 16, 1000] {
        let call = Call::put("/photos/cat").body("other").ahead(Duration::minutes(minutes));
        house.check_refused(&call, "RequestTimeTooSkewed", 403).await;
    }
    house.send(&Call::get("/photos/cat").ahead(Duration::minutes(14))).await.expect(200);
    house.send(&Call::get("/photos/cat").ahead(Duration::minutes(-14))).await.expect(200);
}

#[tokio::test]
async fn an_expired_or_endless_presigned_url_is_refused() {
    let (house, _) = furnished().await;
    let put = || Call::put("/photos/cat").body("other");
    house.check_refused(&put().presigned("60").ahead(Duration::seconds(-62)), "AccessDenied", 403).await;
    for seconds in ["0", "-1", "604801", "soon"] {
        house.check_refused(&put().presigned(seconds), "AccessDenied", 403).await;
    }
    house.check_refused(&put().presigned("60").ahead(Duration::minutes(20)), "RequestTimeTooSkewed", 403).await;
    house.send(&Call::get("/photos/cat").presigned("604800").ahead(Duration::days(-6))).await.expect(200);
}

#[tokio::test]
async fn headers_added_to_a_presigned_url_are_refused() {
    let (house, _) = furnished().await;
    let call = Call::put("/photos/copy").presigned("60").unsigned_header("x-amz-copy-source", "photos/cat");
    house.check_refused(&call, "AccessDenied", 403).await;
    let call = Call::put("/photos/copy").presigned("60").header("x-amz-copy-source", "photos/cat");
    house.send(&call).await.expect(200);
}

#[tokio::test]
async fn signature_version_2_is_refused() {
    let (house, _) = furnished().await;
    let call = Call::get("/photos/cat").anonymous();
    let by_header = call.clone().unsigned_header("authorization", "AWS CKTESTROOT:c2lnbmF0dXJl");
    house.check_refused(&by_header, "InvalidRequest", 400).await;
    let by_query = call.query("AWSAccessKeyId", "CKTESTROOT").query("Signature", "x").query("Expires", "99999999999");
    house.check_refused(&by_query, "InvalidRequest", 400).await;
}

#[tokio::test]
async fn a_body_that_is_not_what_was_promised_is_refused() {
    let (house, upload) = furnished().await;
    let part = format!("/photos/film?partNumber=1&uploadId={upload}");
    for path in ["/photos/cat", "/photos/new", &part] {
        let put = || Call::put(path).body("12345678");
        let other_hash = crate::sign::sha256(b"another");
        house.check_refused(&put().payload(&other_hash), "XAmzContentSHA256Mismatch", 400).await;
        let md5 = |value: &str| put().header("content-md5", value);
        house.check_refused(&md5("JfnnlDI7RTiF9RgfG2JNCw=="), "BadDigest", 400).await;
        house.check_refused(&md5("not base64"), "InvalidDigest", 400).await;
        house.check_refused(&md5("AAAA"), "InvalidDigest", 400).await;
        let sum = |value: &str| put().header("x-amz-checksum-crc32", value);
        house.check_refused(&sum("AAAAAA=="), "BadDigest", 400).await;
        house.check_refused(&sum("AAAA"), "InvalidRequest", 400).await;
        house.check_refused(&sum("AAAAAA==").header("x-amz-checksum-sha1", "x"), "InvalidRequest", 400).await;
        for length in ["9", "7"] {
            house.check_refused(&put().payload(UNSIGNED).length(length), "IncompleteBody", 400).await;
            house.check_refused(&put().length(length), "IncompleteBody", 400).await;
        }
        house.check_refused(&put().presigned("60").length(""), "MissingContentLength", 411).await;
    }
}

#[tokio::test]
async fn names_and_metadata_over_their_limits_are_refused() {
    let (house, _) = furnished().await;
    let long = "k".repeat(1025);
    for call in [Call::put(&format!("/photos/{long}")).body("x"), Call::get(&format!("/photos/{long}"))] {
        house.check_refused(&call, "KeyTooLongError", 400).await;
    }
    house.send(&Call::put(&format!("/photos/{}", "k".repeat(1024))).body("x")).await.expect(200);
    let value = "v".repeat(2048);
    let with_metadata = |call: Call| call.header("x-amz-meta-a", &value);
    house.check_refused(&with_metadata(Call::put("/photos/new").body("x")), "MetadataTooLarge", 400).await;
    house.check_refused(&with_metadata(Call::post("/photos/new?uploads")), "MetadataTooLarge", 400).await;
    house.send(&Call::put("/photos/new").header("x-amz-meta-a", &value[1..]).body("x")).await.expect(200);
}

#[tokio::test]
async fn invalid_bucket_names_are_refused() {
    let house = house();
    for name in ["ab", "Photos", "a_b", "-ab", "a..b", "192.168.0.1", "xn--ab", "ab-s3alias", &"a".repeat(64)] {
        for call in [Call::put(&format!("/{name}")), Call::get(&format!("/{name}")), Call::get(&format!("/{name}/k"))] {
            house.check_refused(&call, "InvalidBucketName", 400).await;
        }
    }
}

#[tokio::test]
async fn what_is_not_there_is_said_to_be_missing() {
    let (house, upload) = furnished().await;
    let complete = "<CompleteMultipartUpload><Part><ETag>\"00000000000000000000000000000000\"</ETag>\
                    <PartNumber>1</PartNumber></Part></CompleteMultipartUpload>";
    for call in [
        Call::get("/nothing"),
        Call::get("/nothing?list-type=2"),
        Call::get("/nothing?versions"),
        Call::get("/nothing?uploads"),
        Call::get("/nothing?location"),
        Call::get("/nothing?acl"),
        Call::get("/nothing?versioning"),
        Call::get("/nothing/k"),
        Call::put("/nothing/k").body("x"),
        Call::delete("/nothing/k"),
        Call::delete("/nothing"),
        Call::post("/nothing/k?uploads"),
        Call::post("/nothing?delete").body("<Delete><Object><Key>k</Key></Object></Delete>"),
        Call::put("/photos/copy").header("x-amz-copy-source", "nothing/k"),
    ] {
        house.check_refused(&call, "NoSuchBucket", 404).await;
    }
    for call in [
        Call::get("/photos/nothing"),
        Call::get("/photos/nothing?acl"),
        Call::put("/photos/copy").header("x-amz-copy-source", "photos/nothing"),
        Call::put(&format!("/photos/film?partNumber=1&uploadId={upload}")).header("x-amz-copy-source", "photos/no"),
    ] {
        house.check_refused(&call, "NoSuchKey", 404).await;
    }
    for id in ["00000000000000000000000000000000", "nonsense", ""] {
        for call in [
            Call::put(&format!("/photos/film?partNumber=1&uploadId={id}")).body("x"),
            Call::get(&format!("/photos/film?uploadId={id}")),
            Call::delete(&format!("/photos/film?uploadId={id}")),
            Call::post(&format!("/photos/film?uploadId={id}")).body(complete),
        ] {
            house.check_refused(&call, "NoSuchUpload", 404).await;
        }
    }
    house.check_refused(&Call::get(&format!("/photos/other?uploadId={upload}")), "NoSuchUpload", 404).await;
    let version = "0".repeat(32);
    house.check_refused(&Call::get("/photos/cat").query("versionId", &version), "NoSuchVersion", 404).await;
    house.check_refused(&Call::get("/photos/cat?versionId=abc"), "InvalidArgument", 400).await;
    house.check_refused(&Call::delete("/photos/cat?versionId=abc"), "InvalidArgument", 400).await;
    let head = house.send(&Call::head("/photos/nothing")).await.expect(404);
    assert!(head.body.is_empty());
}

/// The XML that completes an upload.
fn completion(parts: &[(&str, &str)]) -> String {
    let parts = parts
        .iter()
        .map(|(number, etag)| format!("<Part><PartNumber>{number}</PartNumber><ETag>&quot;{etag}&quot;</ETag></Part>"));
    format!("<CompleteMultipartUpload>{}</CompleteMultipartUpload>", parts.collect::<String>())
}

#[tokio::test]
async fn parts_out_of_order_missing_or_too_small_are_refused() {
    let (house, upload) = furnished().await;
    let path = format!("/photos/film?uploadId={upload}");
    let tag = house.send(&Call::get(&path)).await.expect(200).element("ETag").replace("&quot;", "");
    let tag = tag.trim_matches('"').to_owned();
    let small = Call::put(&format!("/photos/film?partNumber=3&uploadId={upload}")).body("x");
    let small_tag = house.send(&small).await.expect(200).header("etag").trim_matches('"').to_owned();
    const { assert!(PART_BYTES_MIN > 1) };
    let call = |parts: &[(&str, &str)]| Call::post(&path).body(completion(parts));
    house.check_refused(&call(&[("2", &tag), ("1", &tag)]), "InvalidPartOrder", 400).await;
    house.check_refused(&call(&[("1", &tag), ("1", &tag)]), "InvalidPartOrder", 400).await;
    house.check_refused(&call(&[("1", &tag), ("9", &tag)]), "InvalidPart", 400).await;
    house.check_refused(&call(&[("1", &small_tag)]), "InvalidPart", 400).await;
    house.check_refused(&call(&[("1", "nonsense")]), "InvalidPart", 400).await;
    let after_small = Call::put(&format!("/photos/film?partNumber=4&uploadId={upload}")).body("12345678");
    house.send(&after_small).await.expect(200);
    house.check_refused(&call(&[("1", &tag), ("3", &small_tag), ("4", &tag)]), "EntityTooSmall", 400).await;
    for number in ["0", "10001", "-1"] {
        let part = Call::put(&format!("/photos/film?partNumber={number}&uploadId={upload}")).body("x");
        house.check_refused(&part, "InvalidArgument", 400).await;
        house.check_refused(&call(&[(number, &tag)]), "InvalidArgument", 400).await;
    }
    let whole = call(&[("1", &tag), ("2", &tag), ("3", &small_tag)]);
    house.check_refused(&whole.clone().header("x-amz-mp-object-size", "5"), "InvalidRequest", 400).await;
    house.check_refused(&whole.clone().header("if-match", "\"aa\""), "NoSuchKey", 404).await;
    house.send(&whole.header("x-amz-mp-object-size", "17")).await.expect(200);
}

#[tokio::test]
async fn malformed_xml_is_refused() {
    let (house, upload) = furnished().await;
    let many: String = "<Object><Key>k</Key></Object>".repeat(1001);
    for body in ["<Delete", "<Delete></Delete>", "<Else/>", "no xml", &format!("<Delete>{many}</Delete>")] {
        house.check_refused(&Call::post("/photos?delete").body(body.to_owned()), "MalformedXML", 400).await;
    }
    let path = format!("/photos/film?uploadId={upload}");
    let empty = "<CompleteMultipartUpload></CompleteMultipartUpload>";
    for body in ["<Complete", empty, "<CompleteMultipartUpload><Part/></CompleteMultipartUpload>"] {
        house.check_refused(&Call::post(&path).body(body), "MalformedXML", 400).await;
    }
    house.check_refused(&Call::put("/new").body("<Create"), "MalformedXML", 400).await;
}

#[tokio::test]
async fn an_xml_body_that_is_not_what_was_promised_is_refused() {
    let (house, _) = furnished().await;
    let delete = || Call::post("/photos?delete").body("<Delete><Object><Key>cat</Key></Object></Delete>");
    let other_hash = crate::sign::sha256(b"another");
    house.check_refused(&delete().payload(&other_hash), "XAmzContentSHA256Mismatch", 400).await;
    house.check_refused(&delete().header("content-md5", "JfnnlDI7RTiF9RgfG2JNCw=="), "BadDigest", 400).await;
    house.check_refused(&delete().header("content-md5", "x"), "InvalidDigest", 400).await;
    house.check_refused(&delete().header("x-amz-checksum-crc32", "AAAAAA=="), "BadDigest", 400).await;
    let too_large = Call::post("/photos?delete").body(vec![b' '; (8 << 20) + 1]);
    house.check_refused(&too_large, "MaxMessageLengthExceeded", 400).await;
}

#[tokio::test]
async fn what_is_not_implemented_is_said_so_and_never_falls_through() {
    let (house, upload) = furnished().await;
    for call in [
        Call::delete("/photos?acl"),
        Call::delete("/photos?versioning"),
        Call::delete("/photos?logging"),
        Call::put("/new?metadataConfiguration").body("<X/>"),
        Call::put("/photos?website").body("<WebsiteConfiguration/>"),
        Call::get("/photos/cat?torrent"),
        Call::delete("/photos/cat?acl"),
        Call::put("/photos/cat?renameObject"),
        Call::put(&format!("/photos/cat?uploadId={upload}")).body("x"),
        Call::put("/photos/cat?partNumber=1").body("x"),
        Call::post("/photos/cat?restore").body("<RestoreRequest/>"),
        Call::put("/photos/cat").header("x-amz-server-side-encryption", "aws:kms").body("x"),
    ] {
        house.check_refused(&call, "NotImplemented", 501).await;
    }
    house
        .check_refused(
            &Call::put("/photos/cat").header("x-amz-storage-class", "GLACIER").body("x"),
            "InvalidStorageClass",
            400,
        )
        .await;
}

#[tokio::test]
async fn methods_that_mean_nothing_there_are_refused() {
    let house = house_with_bucket().await;
    for call in [
        Call::post("/photos/cat"),
        Call::post("/photos/cat?max-parts=1"),
        Call::post("/"),
        Call::put("/?prefix=photos&max-buckets=2"),
        Call::delete("/"),
        Call::new("PATCH", "/photos/cat"),
        Call::new("PROPFIND", "/photos").anonymous(),
    ] {
        house.check_refused(&call, "MethodNotAllowed", 405).await;
    }
    house.send(&Call::head("/")).await.expect(405);
    house.check_refused(&Call::post("/photos"), "PreconditionFailed", 412).await;
    let other_service = Call::get("/photos").anonymous().unsigned_header(
        "authorization",
        "AWS4-HMAC-SHA256 Credential=CK/20260501/auto/ec2/aws4_request, SignedHeaders=host;x-amz-date, Signature=00",
    );
    house.check_refused(&other_service, "AuthorizationHeaderMalformed", 400).await;
    let empty = Call::put("/photos?tagging").payload(&crate::sign::sha256(b"something"));
    house.check_refused(&empty, "XAmzContentSHA256Mismatch", 400).await;
}
