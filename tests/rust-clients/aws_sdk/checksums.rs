//! Checksums of whole objects: in the header of a body in memory, in the trailer of a stream, told again and checked on the way
//! back.

use super::{BUCKET, Store, refusal, refused};
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{ChecksumAlgorithm, ChecksumMode, ChecksumType, ObjectAttributes};
use cistern_tests::Content;
use std::sync::{Arc, Mutex};

/// Those that the SDK computes.
pub(super) const ALGORITHMS: [ChecksumAlgorithm; 5] = [
    ChecksumAlgorithm::Crc32,
    ChecksumAlgorithm::Crc32C,
    ChecksumAlgorithm::Crc64Nvme,
    ChecksumAlgorithm::Sha1,
    ChecksumAlgorithm::Sha256,
];

/// The checksum of an algorithm that an answer tells.
macro_rules! told {
    ($answer:expr, $algorithm:expr) => {
        match &$algorithm {
            ChecksumAlgorithm::Crc32 => $answer.checksum_crc32(),
            ChecksumAlgorithm::Crc32C => $answer.checksum_crc32_c(),
            ChecksumAlgorithm::Crc64Nvme => $answer.checksum_crc64_nvme(),
            ChecksumAlgorithm::Sha1 => $answer.checksum_sha1(),
            ChecksumAlgorithm::Sha256 => $answer.checksum_sha256(),
            other => panic!("{other} is not asked for"),
        }
    };
}
pub(super) use told;

/// What `printf hello | crc32` and the like say, in base64.
const OF_HELLO: [&str; 5] = [
    "NhCmhg==",
    "mnG7TA==",
    "M3eFcAZSQlc=",
    "qvTGHdzF6KLavt4PO0gs2a6pQ00=",
    "LPJNul+wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ=",
];

#[tokio::test]
async fn a_body_in_memory_is_stored_with_its_checksum() {
    let store = Store::with_bucket().await;
    for (algorithm, expected) in ALGORITHMS.into_iter().zip(OF_HELLO) {
        let put = store.client.put_object().bucket(BUCKET).key("a").body(ByteStream::from_static(b"hello"));
        let put = put.checksum_algorithm(algorithm.clone()).send().await.unwrap();
        assert_eq!(told!(put, algorithm), Some(expected), "{algorithm}");
        assert_eq!(put.checksum_type(), Some(&ChecksumType::FullObject));
        let got = store.client.get_object().bucket(BUCKET).key("a").checksum_mode(ChecksumMode::Enabled);
        let got = got.send().await.unwrap();
        assert_eq!(told!(got, algorithm), Some(expected), "{algorithm}");
        assert_eq!(got.body.collect().await.unwrap().to_vec(), b"hello");
    }
}

#[tokio::test]
async fn a_body_without_a_wish_gets_the_checksum_the_sdk_gives_to_all() {
    let store = Store::with_bucket().await;
    store.put("a", b"hello").await;
    let head = store.client.head_object().bucket(BUCKET).key("a").checksum_mode(ChecksumMode::Enabled);
    assert_eq!(head.send().await.unwrap().checksum_crc32(), Some(OF_HELLO[0]));
}

#[tokio::test]
async fn a_stream_brings_its_checksum_in_a_trailer() {
    let store = Store::with_bucket().await;
    let content = Content { seed: 5, length: 3_000_001 }.bytes();
    let file = store.sandbox.path().join("stream.bin");
    std::fs::write(&file, &content).unwrap();
    for algorithm in ALGORITHMS {
        let sent = Arc::new(Mutex::new(String::new()));
        let seen = Arc::clone(&sent);
        let body = ByteStream::from_path(&file).await.unwrap();
        let put = store.client.put_object().bucket(BUCKET).key("stream").body(body);
        let put = put.checksum_algorithm(algorithm.clone()).customize().mutate_request(move |request| {
            *seen.lock().unwrap() = request.headers().get("x-amz-trailer").unwrap_or_default().to_owned();
        });
        let put = put.send().await.unwrap();
        let name = format!("x-amz-checksum-{}", algorithm.as_str().to_ascii_lowercase());
        assert_eq!(*sent.lock().unwrap(), name, "no trailer was sent");
        let in_memory = store.client.put_object().bucket(BUCKET).key("memory").checksum_algorithm(algorithm.clone());
        let in_memory = in_memory.body(content.clone().into()).send().await.unwrap();
        assert_eq!(told!(put, algorithm), told!(in_memory, algorithm), "{algorithm}");
        assert_eq!(put.e_tag(), in_memory.e_tag());
        assert!(store.get("stream").await == content);
    }
}

#[tokio::test]
async fn a_wrong_checksum_is_refused_and_nothing_is_stored() {
    let store = Store::with_bucket().await;
    let put = || store.client.put_object().bucket(BUCKET).key("a").body(ByteStream::from_static(b"hello"));
    for wrong in [
        put().checksum_crc32("AAAAAA=="),
        put().checksum_crc32_c("AAAAAA=="),
        put().checksum_crc64_nvme("AAAAAAAAAAA="),
        put().checksum_sha1("AAAAAAAAAAAAAAAAAAAAAAAAAAA="),
        put().checksum_sha256("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="),
    ] {
        assert_eq!(refused(wrong.send().await), refusal(400, "BadDigest"));
    }
    for unknown in [
        put().checksum_crc32("short"),
        put().checksum_sha512("AAAA"),
        put().checksum_md5("AAAA"),
        put().checksum_xxhash64("AAAA"),
        put().checksum_xxhash3("AAAA"),
        put().checksum_xxhash128("AAAA"),
    ] {
        assert_eq!(refused(unknown.send().await), refusal(400, "InvalidRequest"), "it was not checked");
    }
    assert!(store.keys().await.is_empty());
}

#[tokio::test]
async fn attributes_tell_size_tag_and_checksum() {
    let store = Store::with_bucket().await;
    let put = store.client.put_object().bucket(BUCKET).key("a").body(ByteStream::from_static(b"hello"));
    let put = put.checksum_algorithm(ChecksumAlgorithm::Sha256).send().await.unwrap();
    let ask = store.client.get_object_attributes().bucket(BUCKET).key("a");
    let ask = ask.object_attributes(ObjectAttributes::Etag).object_attributes(ObjectAttributes::Checksum);
    let ask = ask.object_attributes(ObjectAttributes::ObjectSize).object_attributes(ObjectAttributes::StorageClass);
    let told = ask.send().await.unwrap();
    assert_eq!(told.e_tag(), Some(put.e_tag().unwrap().trim_matches('"')));
    assert_eq!(told.object_size(), Some(5));
    assert_eq!(told.storage_class().map(|class| class.as_str()), Some("STANDARD"));
    assert_eq!(told.checksum().unwrap().checksum_sha256(), Some(OF_HELLO[4]));
    assert!(told.object_parts().is_none());
}
