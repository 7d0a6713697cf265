//! Encryption at rest as clients see it: who asks, who must bring a key, what answers say.

use crate::house::{Answer, Call, House, house_with_bucket};

const MANAGED: &str = "x-amz-server-side-encryption";
const CUSTOMER: &str = "x-amz-server-side-encryption-customer-";
const SOURCE: &str = "x-amz-copy-source-server-side-encryption-customer-";

/// Keys with their MD5s.
const MINE: (&str, &str) = ("pO3upElrwuEXSoFwCfnZPdSsmt/xWeFa0N9KgDijwVs=", "DWygnHRtgiJ77HCm+1rvHw==");
const OTHER: (&str, &str) = ("6b+WOZ1T3cqZMxgThRcXAQBrS5mXKdDUphvpxptl9/4=", "arxBvwY2V4SiOne6yppVPQ==");

type Key = (&'static str, &'static str);

fn managed(call: Call) -> Call {
    call.header(MANAGED, "AES256")
}

fn with_key_at(call: Call, prefix: &str, (key, md5): Key) -> Call {
    let call = call.header(&format!("{prefix}algorithm"), "AES256");
    call.header(&format!("{prefix}key"), key).header(&format!("{prefix}key-md5"), md5)
}

fn keyed(call: Call, key: Key) -> Call {
    with_key_at(call, CUSTOMER, key)
}

/// What an answer says: the algorithm of a managed key, and of a customer's key and its MD5.
fn said(answer: &Answer) -> (&str, &str, &str) {
    let customer = |name: &str| answer.header(&format!("{CUSTOMER}{name}"));
    (answer.header(MANAGED), customer("algorithm"), customer("key-md5"))
}

const SAYS_MANAGED: (&str, &str, &str) = ("AES256", "", "");
const SAYS_MINE: (&str, &str, &str) = ("", "AES256", MINE.1);
const SAYS_OTHER: (&str, &str, &str) = ("", "AES256", OTHER.1);
const SAYS_NOTHING: (&str, &str, &str) = ("", "", "");

async fn ok(house: &House, call: Call) -> Answer {
    let answer = house.send(&call).await;
    assert!(answer.status.is_success(), "{} {} {:?} {}", call.method, call.path, call.headers, answer.text());
    answer
}

fn completion(tags: &[&str]) -> String {
    let parts = (1..).zip(tags);
    let parts = parts.map(|(n, tag)| format!("<Part><PartNumber>{n}</PartNumber><ETag>{tag}</ETag></Part>"));
    format!("<CompleteMultipartUpload>{}</CompleteMultipartUpload>", parts.collect::<String>())
}

#[tokio::test]
async fn objects_under_the_stores_keys_say_so_and_read_as_others() {
    let house = house_with_bucket().await;
    let plain = house.put("/photos/plain", "hello").await;
    let put = ok(&house, managed(Call::put("/photos/k")).body("hello")).await;
    assert_eq!((said(&put), put.header("etag")), (SAYS_MANAGED, plain.as_str()));
    for call in [Call::get("/photos/k"), Call::head("/photos/k"), Call::get("/photos/k").header("range", "bytes=1-3")] {
        let answer = ok(&house, call).await;
        assert_eq!(said(&answer), SAYS_MANAGED);
    }
    assert_eq!(ok(&house, Call::get("/photos/k").header("range", "bytes=1-3")).await.text(), "ell");
    assert_eq!(said(&ok(&house, Call::get("/photos/plain")).await), SAYS_NOTHING);
    // asking is for writes, a customer's key for objects that need it
    for path in ["/photos/k", "/photos/plain"] {
        house.check_refused(&managed(Call::get(path)), "InvalidArgument", 400).await;
        house.check_refused(&keyed(Call::get(path), MINE), "InvalidRequest", 400).await;
        house.send(&managed(Call::head(path))).await.expect(400);
    }
}

#[tokio::test]
async fn what_asks_for_encryption_wrongly_is_refused() {
    let house = house_with_bucket().await;
    let algorithm = &format!("{CUSTOMER}algorithm");
    let (key, md5) = (&format!("{CUSTOMER}key"), &format!("{CUSTOMER}key-md5"));
    let put = || Call::put("/photos/k").body("x");
    for (call, code, status) in [
        (put().header(MANAGED, "AES192"), "InvalidArgument", 400),
        (put().header(MANAGED, "aws:kms"), "NotImplemented", 501),
        (put().header("x-amz-server-side-encryption-aws-kms-key-id", "k"), "InvalidArgument", 400),
        (managed(keyed(put(), MINE)), "InvalidArgument", 400),
        (put().header(algorithm, "AES192"), "InvalidEncryptionAlgorithmError", 400),
        (put().header(algorithm, "AES256"), "InvalidArgument", 400),
        (put().header(algorithm, "AES256").header(key, MINE.0), "InvalidArgument", 400),
        (put().header(key, MINE.0).header(md5, MINE.1), "InvalidArgument", 400),
        (keyed(put(), (MINE.0, OTHER.1)), "InvalidArgument", 400),
        (keyed(put(), ("c2hvcnQ=", MINE.1)), "InvalidArgument", 400),
    ] {
        house.check_refused(&call, code, status).await;
        let plain = Call::post("/photos/k?uploads");
        let begin = call.headers.iter().fold(plain, |begin, (name, value)| begin.header(name, value));
        house.check_refused(&begin, code, status).await;
    }
}

#[tokio::test]
async fn a_customers_object_is_told_and_read_to_its_key_only() {
    let house = house_with_bucket().await;
    let put = ok(&house, keyed(Call::put("/photos/k"), MINE).body("hello")).await;
    assert_eq!(said(&put), SAYS_MINE);
    for call in [
        Call::get("/photos/k"),
        Call::get("/photos/k").header("range", "bytes=1-3"),
        Call::get("/photos/k?attributes").header("x-amz-object-attributes", "ETag"),
    ] {
        house.check_refused(&call, "InvalidRequest", 400).await;
        house.check_refused(&keyed(call.clone(), OTHER), "InvalidRequest", 400).await;
        assert_eq!(said(&ok(&house, keyed(call, MINE)).await), SAYS_MINE);
    }
    assert_eq!(ok(&house, keyed(Call::get("/photos/k"), MINE)).await.text(), "hello");
    house.send(&Call::head("/photos/k")).await.expect(400);
    house.send(&keyed(Call::head("/photos/k"), OTHER)).await.expect(400);
    let head = ok(&house, keyed(Call::head("/photos/k"), MINE)).await;
    assert_eq!((said(&head), head.header("content-length")), (SAYS_MINE, "5"));
    // nothing is told without the key, not even whether a condition holds
    for call in [
        Call::get("/photos/k").header("if-none-match", "*"),
        Call::get("/photos/k").header("if-match", "\"other\""),
        Call::get("/photos/k").header("range", "bytes=9-"),
        Call::get("/photos/k?partNumber=1"),
    ] {
        house.check_refused(&call, "InvalidRequest", 400).await;
        let head = Call::head(&call.path);
        let head = call.headers.iter().fold(head, |head, (name, value)| head.header(name, value));
        house.send(&head).await.expect(400);
    }
    let copy = Call::put("/photos/copy").header("x-amz-copy-source", "/photos/k");
    house.check_refused(&copy.header("x-amz-copy-source-if-match", "\"other\""), "InvalidRequest", 400).await;
    house.check_refused(&Call::get("/photos/none"), "NoSuchKey", 404).await;
    let plain = house.put("/photos/plain", "hello").await;
    assert_ne!(put.header("etag"), plain, "a tag that everybody may see says nothing of the content");
    ok(&house, Call::delete("/photos/plain")).await;
    // neither deleting nor listing needs it
    assert_eq!(ok(&house, Call::get("/photos")).await.elements("Size"), ["5"]);
    ok(&house, Call::delete("/photos/k")).await;
}

#[tokio::test]
async fn every_request_with_bytes_for_a_customers_upload_brings_the_key() {
    let house = house_with_bucket().await;
    ok(&house, keyed(Call::put("/photos/source"), OTHER).body("from the source")).await;
    let begun = ok(&house, keyed(Call::post("/photos/k?uploads"), MINE)).await;
    assert_eq!(said(&begun), SAYS_MINE);
    let upload = begun.element("UploadId");
    let part = |number: u32| Call::put(&format!("/photos/k?partNumber={number}&uploadId={upload}"));
    let copied = part(1).header("x-amz-copy-source", "/photos/source");
    let sourced = with_key_at(copied.clone(), SOURCE, OTHER);
    for (call, code) in [
        (part(2).body("x"), "InvalidRequest"),
        (keyed(part(2), OTHER).body("x"), "InvalidRequest"),
        (keyed(part(2), (MINE.0, OTHER.1)).body("x"), "InvalidArgument"),
        (managed(part(2)).body("x"), "InvalidArgument"),
        (sourced.clone(), "InvalidRequest"),
        (keyed(sourced.clone(), OTHER), "InvalidRequest"),
        (keyed(copied, MINE), "InvalidRequest"),
    ] {
        house.check_refused(&call, code, 400).await;
    }
    let first = ok(&house, keyed(sourced, MINE)).await;
    let second = ok(&house, keyed(part(2), MINE).body(" and a part")).await;
    assert_eq!((said(&first), said(&second)), (SAYS_MINE, SAYS_MINE));
    let tags = [first.element("ETag").replace("&quot;", "\""), second.header("etag").to_owned()];
    let complete = Call::post(&format!("/photos/k?uploadId={upload}")).body(completion(&[&tags[0], &tags[1]]));
    house.check_refused(&keyed(complete.clone(), OTHER), "InvalidRequest", 400).await;
    ok(&house, complete.clone()).await;
    assert_eq!(said(&ok(&house, keyed(complete, MINE)).await), SAYS_MINE, "repeated with the key");
    let get = |path: &str| keyed(Call::get(path), MINE);
    assert_eq!(ok(&house, get("/photos/k")).await.text(), "from the source and a part");
    assert_eq!(ok(&house, get("/photos/k?partNumber=2")).await.text(), " and a part");
    assert_eq!(ok(&house, get("/photos/k").header("range", "bytes=12-19")).await.text(), "rce and ");
}

#[tokio::test]
async fn completing_a_customers_upload_brings_the_key_where_the_object_gets_a_checksum() {
    let house = house_with_bucket().await;
    let begin = Call::post("/photos/k?uploads").header("x-amz-checksum-algorithm", "CRC32");
    let upload = ok(&house, keyed(begin, MINE)).await.element("UploadId");
    let part = keyed(Call::put(&format!("/photos/k?partNumber=1&uploadId={upload}")), MINE).body("hello");
    let part = ok(&house, part).await;
    let complete = Call::post(&format!("/photos/k?uploadId={upload}")).body(completion(&[part.header("etag")]));
    house.check_refused(&complete, "InvalidRequest", 400).await;
    house.check_refused(&keyed(complete.clone(), OTHER), "InvalidRequest", 400).await;
    assert_eq!(said(&ok(&house, keyed(complete, MINE)).await), SAYS_MINE);
}

#[tokio::test]
async fn an_upload_under_the_stores_keys_says_so_at_every_step() {
    let house = house_with_bucket().await;
    let begun = ok(&house, managed(Call::post("/photos/k?uploads"))).await;
    let upload = begun.element("UploadId");
    let call = Call::put(&format!("/photos/k?partNumber=1&uploadId={upload}")).body("hello");
    house.check_refused(&keyed(call.clone(), MINE), "InvalidRequest", 400).await;
    let part = ok(&house, call).await;
    let complete = Call::post(&format!("/photos/k?uploadId={upload}")).body(completion(&[part.header("etag")]));
    for call in [complete.clone(), managed(complete)] {
        assert_eq!(said(&ok(&house, call).await), SAYS_MANAGED, "also when it is repeated, and says so once more");
    }
    assert_eq!((said(&begun), said(&part)), (SAYS_MANAGED, SAYS_MANAGED));
    assert_eq!(ok(&house, Call::get("/photos/k")).await.text(), "hello");
}

#[tokio::test]
async fn copies_open_their_source_and_are_encrypted_as_they_ask() {
    let house = house_with_bucket().await;
    ok(&house, keyed(Call::put("/photos/mine"), MINE).body("hello")).await;
    let copy = |target: &str| Call::put(target).header("x-amz-copy-source", "/photos/mine");
    house.check_refused(&copy("/photos/k"), "InvalidRequest", 400).await;
    house.check_refused(&with_key_at(copy("/photos/k"), SOURCE, OTHER), "InvalidRequest", 400).await;
    house.check_refused(&with_key_at(copy("/photos/k"), SOURCE, (MINE.0, "x")), "InvalidArgument", 400).await;
    let opened = |target: &str| with_key_at(copy(target), SOURCE, MINE);
    for (call, says, read) in [
        (opened("/photos/k"), SAYS_NOTHING, Call::get("/photos/k")),
        (managed(opened("/photos/k")), SAYS_MANAGED, Call::get("/photos/k")),
        (keyed(opened("/photos/k"), OTHER), SAYS_OTHER, keyed(Call::get("/photos/k"), OTHER)),
        // onto itself only its encryption changes
        (keyed(opened("/photos/mine"), MINE), SAYS_MINE, keyed(Call::get("/photos/mine"), MINE)),
        (managed(opened("/photos/mine")), SAYS_MANAGED, Call::get("/photos/mine")),
    ] {
        assert_eq!(said(&ok(&house, call).await), says);
        let read = ok(&house, read).await;
        assert_eq!((said(&read), read.text().as_str()), (says, "hello"));
    }
}

#[tokio::test]
async fn a_bucket_encrypts_by_default_once_it_is_told_to() {
    let house = house_with_bucket().await;
    let configuration = |rule: &str| {
        Call::put("/photos?encryption")
            .body(format!("<ServerSideEncryptionConfiguration>{rule}</ServerSideEncryptionConfiguration>"))
    };
    let rule = |algorithm: &str| {
        format!(
            "<Rule><ApplyServerSideEncryptionByDefault><SSEAlgorithm>{algorithm}</SSEAlgorithm>\
             </ApplyServerSideEncryptionByDefault></Rule>"
        )
    };
    let none = "ServerSideEncryptionConfigurationNotFoundError";
    house.check_refused(&Call::get("/photos?encryption"), none, 404).await;
    for (wrong, code, status) in [
        (rule("aws:kms"), "NotImplemented", 501),
        (rule("AES192"), "InvalidArgument", 400),
        (rule("AES256").repeat(2), "MalformedXML", 400),
        ("<Rule/>".into(), "MalformedXML", 400),
        (rule("AES256").replace("<SSE", "<KMSMasterKeyID>k</KMSMasterKeyID><SSE"), "InvalidArgument", 400),
    ] {
        house.check_refused(&configuration(&wrong), code, status).await;
    }
    ok(&house, configuration(&rule("AES256"))).await;
    assert_eq!(ok(&house, Call::get("/photos?encryption")).await.element("SSEAlgorithm"), "AES256");
    assert_eq!(said(&ok(&house, Call::put("/photos/k").body("hello")).await), SAYS_MANAGED);
    assert_eq!(said(&ok(&house, Call::get("/photos/k")).await), SAYS_MANAGED);
    assert_eq!(said(&ok(&house, Call::post("/photos/film?uploads")).await), SAYS_MANAGED);
    let copy = Call::put("/photos/copy").header("x-amz-copy-source", "/photos/k");
    assert_eq!(said(&ok(&house, copy).await), SAYS_MANAGED);
    assert_eq!(said(&ok(&house, keyed(Call::put("/photos/mine"), MINE).body("x")).await), SAYS_MINE);
    for _ in 0..2 {
        house.send(&Call::delete("/photos?encryption")).await.expect(204);
    }
    house.check_refused(&Call::get("/photos?encryption"), none, 404).await;
    assert_eq!(said(&ok(&house, Call::put("/photos/k2").body("hello")).await), SAYS_NOTHING);
    assert_eq!(said(&ok(&house, Call::get("/photos/k")).await), SAYS_MANAGED);
}

#[tokio::test]
async fn a_policy_is_asked_before_the_headers_are_judged() {
    let house = house_with_bucket().await;
    let policy = r#"{"Statement":{"Effect":"Deny","Principal":"*","Action":"s3:PutObject","Resource":
        "arn:aws:s3:::photos/*","Condition":{"StringNotEquals":{"s3:x-amz-server-side-encryption":"AES256"}}}}"#;
    ok(&house, Call::put("/photos?policy").body(policy)).await;
    for algorithm in ["AES192", "aws:kms"] {
        house.check_refused(&Call::put("/photos/k").header(MANAGED, algorithm).body("x"), "AccessDenied", 403).await;
    }
    house.check_refused(&Call::put("/photos/k").body("x"), "AccessDenied", 403).await;
    ok(&house, managed(Call::put("/photos/k")).body("x")).await;
    // an upload says it once
    house.check_refused(&Call::post("/photos/film?uploads"), "AccessDenied", 403).await;
    let upload = ok(&house, managed(Call::post("/photos/film?uploads"))).await.element("UploadId");
    let part = Call::put(&format!("/photos/film?partNumber=1&uploadId={upload}"));
    ok(&house, part.clone().header("x-amz-copy-source", "/photos/k")).await;
    let tag = ok(&house, part.body("x")).await.header("etag").to_owned();
    ok(&house, Call::post(&format!("/photos/film?uploadId={upload}")).body(completion(&[&tag]))).await;
    house.check_refused(&Call::put("/photos/film?partNumber=1&uploadId=none").body("x"), "AccessDenied", 403).await;
}

#[tokio::test]
async fn a_copy_onto_itself_that_asks_for_nothing_takes_no_encryption_away() {
    let house = house_with_bucket().await;
    ok(&house, managed(Call::put("/photos/k")).body("hello")).await;
    let copy = Call::put("/photos/k").header("x-amz-copy-source", "/photos/k");
    house.check_refused(&copy, "InvalidRequest", 400).await;
}
