//! Wrong S3 requests: each is refused with the code S3 gives it and a message, and changes nothing.

use crate::sandbox::server_with_bucket;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use cistern_tests::http::Response;
use cistern_tests::wait::unix_seconds;
use cistern_tests::{Call, Keys, Payload, S3, Server};
use md5::{Digest as _, Md5};

const BUCKET: &str = "wary";
const BODY: &[u8] = b"what was there before";
const MINUTES_20: i64 = 20 * 60;

/// A server whose bucket has the one object `k`; a request is refused when afterwards that is still all there is.
struct Wary {
    server: Server,
    s3: S3,
    _sandbox: crate::sandbox::Sandbox,
}

impl Wary {
    fn new() -> Self {
        let (sandbox, server, mut s3) = server_with_bucket(BUCKET);
        s3.put(BUCKET, "k", BODY).unwrap();
        Self { server, s3, _sandbox: sandbox }
    }

    #[track_caller]
    fn check(&mut self, what: &str, call: &Call<'_>, status: u16, code: &str) {
        let mut s3 = self.server.s3().unwrap();
        let answer = s3.send(call).unwrap();
        self.check_answer(what, &answer, status, code);
    }

    #[track_caller]
    fn check_answer(&mut self, what: &str, answer: &Response, status: u16, code: &str) {
        assert_eq!((answer.status, answer.xml("Code").as_str()), (status, code), "{what}: {}", answer.text());
        assert!(!answer.xml("Message").is_empty(), "{what}: no message in {}", answer.text());
        let id = answer.header("x-amz-request-id").unwrap_or_else(|| panic!("{what}: no request id"));
        assert_eq!(answer.xml("RequestId"), id, "{what}");
        self.check_unchanged(what);
    }

    #[track_caller]
    fn check_unchanged(&mut self, what: &str) {
        assert_eq!(self.s3.keys(BUCKET, "").unwrap(), ["k"], "{what} changed the listing");
        assert_eq!(self.s3.get(BUCKET, "k").unwrap().as_deref(), Some(BODY), "{what} changed the object");
        let buckets = self.s3.send(&Call::new("GET", "/")).unwrap().ok().unwrap().xml_all("Name");
        assert_eq!(buckets, [BUCKET], "{what} changed the buckets");
    }
}

fn put() -> Call<'static> {
    Call::new("PUT", "/wary/k").body(b"another body")
}

#[test]
fn wrong_identities_and_times() {
    let mut wary = Wary::new();
    let right = wary.server.root_keys().clone();
    let unknown = Keys { access_key_id: "CKNOBODY".into(), ..right.clone() };
    let wrong = Keys { secret_access_key: "not the secret".into(), ..right };
    let host = wary.server.s3_host().to_owned();
    let as_unknown = S3::connect(&host, &unknown).unwrap().send(&put()).unwrap();
    wary.check_answer("an unknown key", &as_unknown, 403, "InvalidAccessKeyId");
    let as_wrong = S3::connect(&host, &wrong).unwrap().send(&put()).unwrap();
    wary.check_answer("a wrong secret", &as_wrong, 403, "SignatureDoesNotMatch");
    for skew in [-MINUTES_20, MINUTES_20] {
        wary.check("a clock that is off", &put().at(unix_seconds() + skew), 403, "RequestTimeTooSkewed");
    }
    let mut s3 = wary.server.s3().unwrap();
    let unsigned = s3.connection().send("PUT", "/wary/k", &[], b"x").unwrap();
    wary.check_answer("no signature", &unsigned, 403, "AccessDenied");
    let version_2 = [("authorization".to_owned(), "AWS CKSOMEBODY:c2lnbmF0dXJl".to_owned())];
    let answer = s3.connection().send("PUT", "/wary/k", &version_2, b"x").unwrap();
    assert!(matches!(answer.status, 400 | 403), "{}", answer.text());
    wary.check_unchanged("a signature of version 2");
}

#[test]
fn presigned_addresses_that_are_over_or_changed() {
    let mut wary = Wary::new();
    let mut s3 = wary.server.s3().unwrap();
    let good = s3.presign("GET", "/wary/k", unix_seconds(), 60);
    let answer = s3.connection().send("GET", &good, &[], b"").unwrap();
    assert_eq!((answer.status, answer.body.as_slice()), (200, BODY));
    let over = s3.presign("PUT", "/wary/k", unix_seconds() - 120, 60);
    let answer = s3.connection().send("PUT", &over, &[], b"x").unwrap();
    wary.check_answer("an address that has expired", &answer, 403, "AccessDenied");
    assert!(answer.xml("Message").to_lowercase().contains("expired"), "{}", answer.text());
    let for_get = s3.presign("GET", "/wary/k", unix_seconds(), 60);
    let answer = s3.connection().send("PUT", &for_get, &[], b"x").unwrap();
    wary.check_answer("an address for another method", &answer, 403, "SignatureDoesNotMatch");
    let too_long = s3.presign("GET", "/wary/k", unix_seconds(), 604_801);
    let answer = s3.connection().send("GET", &too_long, &[], b"").unwrap();
    assert!(matches!(answer.status, 400 | 403), "more than a week: {}", answer.text());
}

#[test]
fn bodies_that_are_not_what_they_are_said_to_be() {
    let mut wary = Wary::new();
    let md5 = BASE64.encode(Md5::digest(b"something else"));
    let sha256 = BASE64.encode(sha2::Sha256::digest(b"something else"));
    let zeros = "0".repeat(64);
    wary.check("a wrong Content-MD5", &put().header("content-md5", &md5), 400, "BadDigest");
    wary.check("no Content-MD5 at all", &put().header("content-md5", "nonsense"), 400, "InvalidDigest");
    wary.check("a wrong payload hash", &put().payload(Payload::Literal(&zeros)), 400, "XAmzContentSHA256Mismatch");
    wary.check("a wrong SHA-256 checksum", &put().header("x-amz-checksum-sha256", &sha256), 400, "BadDigest");
    wary.check("a wrong CRC-32", &put().header("x-amz-checksum-crc32", "AAAAAA=="), 400, "BadDigest");
    wary.check("a wrong CRC-32C", &put().header("x-amz-checksum-crc32c", "AAAAAA=="), 400, "BadDigest");
    wary.check("a wrong CRC-64", &put().header("x-amz-checksum-crc64nvme", "AAAAAAAAAAA="), 400, "BadDigest");
    for (what, promised) in [("a small body cut short", 100), ("a large body cut short", 3_000_000)] {
        let mut s3 = wary.server.s3().unwrap();
        let call = Call::new("PUT", "/wary/k").payload(Payload::Unsigned).header("content-length", &promised);
        let (target, headers) = s3.prepare(&call);
        let host = wary.server.s3_host();
        let headers = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect::<Vec<_>>().concat();
        let head = format!("PUT {target} HTTP/1.1\r\nhost: {host}\r\n{headers}\r\n");
        s3.connection().send_raw(head.as_bytes()).unwrap();
        s3.connection().send_raw(&vec![b'x'; promised / 2]).unwrap();
        s3.connection().finish_sending().unwrap();
        if let Ok(answer) = s3.connection().read_response("PUT") {
            assert_eq!(answer.status, 400, "{what}: {}", answer.text());
        }
        wary.check_unchanged(what);
    }
}

#[test]
fn names_and_metadata_that_are_too_long_or_not_allowed() {
    let mut wary = Wary::new();
    let long_key = format!("/wary/{}", "k".repeat(1025));
    wary.check("a key of 1,025 bytes", &Call::new("PUT", &long_key).body(b"x"), 400, "KeyTooLongError");
    let metadata = "m".repeat(9000);
    wary.check("too much metadata", &put().header("x-amz-meta-a", &metadata), 400, "MetadataTooLarge");
    for name in ["UPPER", "ab", "a_b", "-ab", "ab-", "a..b", "192.168.0.1", &"a".repeat(64)] {
        let call = Call::new("PUT", &format!("/{name}"));
        wary.check(&format!("a bucket named {name}"), &call, 400, "InvalidBucketName");
    }
}

#[test]
fn names_that_do_not_exist() {
    let mut wary = Wary::new();
    wary.check("an unknown key", &Call::new("GET", "/wary/nothing"), 404, "NoSuchKey");
    wary.check("an unknown bucket read", &Call::new("GET", "/nowhere/k"), 404, "NoSuchBucket");
    wary.check("an unknown bucket written", &Call::new("PUT", "/nowhere/k").body(b"x"), 404, "NoSuchBucket");
    wary.check("an unknown bucket listed", &Call::new("GET", "/nowhere").query("list-type", &2), 404, "NoSuchBucket");
    wary.check("an unknown bucket deleted", &Call::new("DELETE", "/nowhere"), 404, "NoSuchBucket");
    wary.check("a bucket that is not empty", &Call::new("DELETE", "/wary"), 409, "BucketNotEmpty");
    let beyond = Call::new("GET", "/wary/k").header("range", "bytes=1000-");
    wary.check("a range beyond the end", &beyond, 416, "InvalidRange");
    let part = Call::new("PUT", "/wary/k").query("partNumber", &1).query("uploadId", "none-of-ours").body(b"x");
    wary.check("an unknown upload", &part, 404, "NoSuchUpload");
}

#[test]
fn parts_out_of_order_missing_too_small_or_wrong() {
    let mut wary = Wary::new();
    let start = wary.s3.send(&Call::new("POST", "/wary/k").query("uploads", "")).unwrap().ok().unwrap();
    let upload = start.xml("UploadId");
    let mut tags = Vec::new();
    for number in 1..=2 {
        let part = Call::new("PUT", "/wary/k").query("partNumber", &number).query("uploadId", &upload).body(b"small");
        let answer = wary.s3.send(&part).unwrap().ok().unwrap();
        tags.push(answer.header("etag").unwrap().to_owned());
    }
    let list = |parts: &[(u32, &str)]| {
        let part =
            |(number, tag): &(u32, &str)| format!("<Part><PartNumber>{number}</PartNumber><ETag>{tag}</ETag></Part>");
        let parts: String = parts.iter().map(part).collect();
        format!("<CompleteMultipartUpload>{parts}</CompleteMultipartUpload>")
    };
    for (what, body, code) in [
        ("parts out of order", list(&[(2, &tags[1]), (1, &tags[0])]), "InvalidPartOrder"),
        ("a part that was never sent", list(&[(1, &tags[0]), (7, &tags[1])]), "InvalidPart"),
        ("a part with another tag", list(&[(1, "\"00000000000000000000000000000000\"")]), "InvalidPart"),
        ("a first part that is too small", list(&[(1, &tags[0]), (2, &tags[1])]), "EntityTooSmall"),
        ("no parts", list(&[]), "MalformedXML"),
        ("a list that is not XML", "<Complete".to_owned(), "MalformedXML"),
    ] {
        let call = Call::new("POST", "/wary/k").query("uploadId", &upload).body(body.as_bytes());
        wary.check(what, &call, 400, code);
    }
    for number in [0, 10_001] {
        let part = Call::new("PUT", "/wary/k").query("partNumber", &number).query("uploadId", &upload).body(b"x");
        wary.check("a part number out of range", &part, 400, "InvalidArgument");
    }
}

#[test]
fn documents_that_are_not_what_was_asked_for() {
    let mut wary = Wary::new();
    let md5 = |body: &[u8]| BASE64.encode(Md5::digest(body));
    for body in [&b"<Delete><Object>"[..], b"not XML", b"<Other/>"] {
        let call = Call::new("POST", "/wary").query("delete", "").header("content-md5", &md5(body)).body(body);
        wary.check("a malformed list to delete", &call, 400, "MalformedXML");
    }
    let without_length = [("transfer-encoding".to_owned(), "chunked".to_owned())];
    let mut s3 = wary.server.s3().unwrap();
    let (target, mut headers) = s3.prepare(&Call::new("PUT", "/wary/k").payload(Payload::Unsigned));
    headers.extend(without_length);
    let answer = s3.connection().send("PUT", &target, &headers, b"1\r\nx\r\n0\r\n\r\n").unwrap();
    if answer.status == 200 {
        // a chunked body without a length is a service some stores do; then it must be whole
        assert_eq!(wary.s3.get(BUCKET, "k").unwrap().as_deref(), Some(&b"x"[..]));
    } else {
        wary.check_answer("a body of unknown length", &answer, 411, "MissingContentLength");
    }
}
