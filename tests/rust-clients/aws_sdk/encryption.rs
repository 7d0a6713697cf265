//! Encryption at rest: with the store's keys (SSE-S3) and with the client's (SSE-C).

use super::{BUCKET, Store, refusal, refused};
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{
    CompletedMultipartUpload, CompletedPart, ServerSideEncryption, ServerSideEncryptionByDefault,
    ServerSideEncryptionConfiguration, ServerSideEncryptionRule,
};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use cistern_tests::Content;
use md5::{Digest as _, Md5};

const ALGORITHM: &str = "AES256";

/// A client's key as requests carry it: the key and its MD5.
fn key(seed: u64) -> (String, String) {
    let key = Content { seed, length: 32 }.bytes();
    (STANDARD.encode(&key), STANDARD.encode(Md5::digest(&key)))
}

#[tokio::test]
async fn the_store_encrypts_what_asks_for_it_and_all_of_a_bucket_that_says_so() {
    let store = Store::with_bucket().await;
    let put = |key| store.client.put_object().bucket(BUCKET).key(key).body(ByteStream::from_static(b"secret"));
    put("plain").send().await.unwrap();
    let asked = put("asked").server_side_encryption(ServerSideEncryption::Aes256).send().await.unwrap();
    assert_eq!(asked.server_side_encryption(), Some(&ServerSideEncryption::Aes256));
    let default = ServerSideEncryptionByDefault::builder().sse_algorithm(ServerSideEncryption::Aes256).build();
    let rule = ServerSideEncryptionRule::builder().apply_server_side_encryption_by_default(default.unwrap()).build();
    let rules = ServerSideEncryptionConfiguration::builder().rules(rule).build().unwrap();
    let set = store.client.put_bucket_encryption().bucket(BUCKET).server_side_encryption_configuration(rules);
    set.send().await.unwrap();
    put("by default").send().await.unwrap();
    for key in ["asked", "by default"] {
        let head = store.client.head_object().bucket(BUCKET).key(key).send().await.unwrap();
        assert_eq!(head.server_side_encryption(), Some(&ServerSideEncryption::Aes256), "{key}");
        assert_eq!(store.get(key).await, b"secret");
    }
    assert_eq!(store.get("plain").await, b"secret");
    let kms = put("kms").server_side_encryption(ServerSideEncryption::AwsKms).send().await;
    assert_eq!(refused(kms), refusal(501, "NotImplemented"));
}

#[tokio::test]
async fn an_object_of_a_clients_key_is_read_with_that_key_only() {
    let store = Store::with_bucket().await;
    let body = Content { seed: 3, length: 2_500_000 }.bytes();
    let (own, own_md5) = key(1);
    let put = store.client.put_object().bucket(BUCKET).key("a").body(ByteStream::from(body.clone()));
    let put = put.sse_customer_algorithm(ALGORITHM).sse_customer_key(&own).sse_customer_key_md5(&own_md5);
    let put = put.send().await.unwrap();
    assert_eq!(put.sse_customer_key_md5(), Some(own_md5.as_str()));
    let with = |(key, md5): (String, String)| {
        let get = store.client.get_object().bucket(BUCKET).key("a");
        get.sse_customer_algorithm(ALGORITHM).sse_customer_key(key).sse_customer_key_md5(md5)
    };
    let got = with(key(1)).send().await.unwrap().body.collect().await.unwrap().to_vec();
    assert!(got == body);
    let range = with(key(1)).range("bytes=1048570-1048590").send().await.unwrap().body.collect().await.unwrap();
    assert_eq!(range.to_vec(), &body[1_048_570..=1_048_590]);
    assert_eq!(refused(with(key(2)).send().await), refusal(400, "InvalidRequest"), "another key");
    let without = store.client.get_object().bucket(BUCKET).key("a").send().await;
    assert_eq!(refused(without), refusal(400, "InvalidRequest"), "no key");

    let (new, new_md5) = key(3);
    let copy = store.client.copy_object().bucket(BUCKET).key("b").copy_source(format!("{BUCKET}/a"));
    let copy = copy.copy_source_sse_customer_algorithm(ALGORITHM).copy_source_sse_customer_key(&own);
    let copy = copy.copy_source_sse_customer_key_md5(&own_md5).sse_customer_algorithm(ALGORITHM);
    copy.sse_customer_key(&new).sse_customer_key_md5(&new_md5).send().await.unwrap();
    let get = store.client.get_object().bucket(BUCKET).key("b").sse_customer_algorithm(ALGORITHM);
    let got = get.sse_customer_key(&new).sse_customer_key_md5(&new_md5).send().await.unwrap();
    assert!(got.body.collect().await.unwrap().to_vec() == body);
}

#[tokio::test]
async fn parts_are_encrypted_with_the_clients_key_of_their_upload() {
    let store = Store::with_bucket().await;
    let body = Content { seed: 4, length: (5 << 20) + 1000 }.bytes();
    let (own, own_md5) = key(1);
    let create = store.client.create_multipart_upload().bucket(BUCKET).key("a").sse_customer_algorithm(ALGORITHM);
    let upload = create.sse_customer_key(&own).sse_customer_key_md5(&own_md5).send().await.unwrap().upload_id.unwrap();
    let mut parts = Vec::new();
    for (part, number) in body.chunks(5 << 20).zip(1..) {
        let put = store.client.upload_part().bucket(BUCKET).key("a").upload_id(&upload).part_number(number);
        let put = put.sse_customer_algorithm(ALGORITHM).sse_customer_key(&own).sse_customer_key_md5(&own_md5);
        let put = put.body(ByteStream::from(part.to_vec())).send().await.unwrap();
        let done = CompletedPart::builder().part_number(number).set_e_tag(put.e_tag);
        parts.push(done.set_checksum_crc32(put.checksum_crc32).build());
    }
    let parts = CompletedMultipartUpload::builder().set_parts(Some(parts)).build();
    let complete = store.client.complete_multipart_upload().bucket(BUCKET).key("a").upload_id(&upload);
    // without the key: S3 asks for it only where the object gets a checksum
    complete.multipart_upload(parts).send().await.unwrap();
    let get = store.client.get_object().bucket(BUCKET).key("a").sse_customer_algorithm(ALGORITHM);
    let got = get.sse_customer_key(&own).sse_customer_key_md5(&own_md5).send().await.unwrap();
    assert!(got.body.collect().await.unwrap().to_vec() == body);
    assert_eq!(
        refused(store.client.head_object().bucket(BUCKET).key("a").send().await).0,
        400,
        "nor are its headers told without it"
    );
}
