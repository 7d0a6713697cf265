//! object_store, through which DataFusion, delta-rs and many others read and write: the integration tests it has for stores of
//! others, all that its own tests run on S3, each on a server of its own; then what those tests keep to themselves: tags,
//! presigned addresses, checksums, encryption.

mod presigned;

use crate::sandbox::Sandbox;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use cistern_tests::{Call, Content, S3, Server};
use object_store::aws::{AmazonS3, AmazonS3Builder, AmazonS3ConfigKey, Checksum, S3ConditionalPut, S3CopyIfNotExists};
use object_store::integration as suite;
use object_store::multipart::MultipartStore as _;
use object_store::path::Path;
use object_store::{Error, ObjectStore as _, ObjectStoreExt as _, PutPayload, TagSet};

const BUCKET: &str = "test-bucket";

/// A server with a bucket.
struct Place {
    s3: S3,
    server: Server,
    _sandbox: Sandbox,
}

impl Place {
    fn new() -> Self {
        let (_sandbox, server, s3) = crate::sandbox::server_with_bucket(BUCKET);
        Self { s3, server, _sandbox }
    }

    /// How a store on the bucket is made, as its documentation says for S3.
    fn builder(&self) -> AmazonS3Builder {
        let keys = self.server.root_keys();
        AmazonS3Builder::new()
            .with_endpoint(self.server.s3_url())
            .with_allow_http(true)
            .with_region("auto")
            .with_access_key_id(&keys.access_key_id)
            .with_secret_access_key(&keys.secret_access_key)
            .with_bucket_name(BUCKET)
            .with_conditional_put(S3ConditionalPut::ETagMatch)
            .with_copy_if_not_exists(S3CopyIfNotExists::Multipart)
    }

    fn store(&self) -> AmazonS3 {
        self.builder().build().unwrap()
    }
}

#[tokio::test]
async fn put_get_delete_list() {
    let place = Place::new();
    suite::put_get_delete_list(&place.store()).await;
}

#[tokio::test]
async fn put_get_delete_list_with_unsigned_payloads() {
    let place = Place::new();
    suite::put_get_delete_list(&place.builder().with_unsigned_payload(true).build().unwrap()).await;
}

#[tokio::test]
async fn put_get_delete_list_with_checksums() {
    let place = Place::new();
    for checksum in [Checksum::SHA256, Checksum::CRC64NVME] {
        suite::put_get_delete_list(&place.builder().with_checksum_algorithm(checksum).build().unwrap()).await;
    }
}

#[tokio::test]
async fn list_uses_directories_correctly() {
    suite::list_uses_directories_correctly(&Place::new().store()).await;
}

#[tokio::test]
async fn list_with_delimiter() {
    let place = Place::new();
    suite::list_with_delimiter(&place.store()).await;
}

#[tokio::test]
async fn list_with_offset_exclusivity() {
    let place = Place::new();
    suite::list_with_offset_exclusivity(&place.store()).await;
}

#[tokio::test]
async fn list_paginated() {
    let place = Place::new();
    let store = place.store();
    suite::list_paginated(&store, &store).await;
}

#[tokio::test]
async fn get_opts() {
    let place = Place::new();
    suite::get_opts(&place.store()).await;
}

#[tokio::test]
async fn stream_get() {
    let place = Place::new();
    suite::stream_get(&place.store()).await;
}

#[tokio::test]
async fn get_nonexistent_object() {
    let place = Place::new();
    let missing = suite::get_nonexistent_object(&place.store(), Some(Path::from("nonexistentname"))).await;
    assert!(matches!(missing, Err(Error::NotFound { .. })), "{missing:?}");
}

#[tokio::test]
async fn put_get_attributes() {
    let place = Place::new();
    suite::put_get_attributes(&place.store()).await;
}

#[tokio::test]
async fn put_opts_with_conditions_on_the_entity_tag() {
    let place = Place::new();
    suite::put_opts(&place.store(), true).await;
}

#[tokio::test]
async fn rename_and_copy() {
    let place = Place::new();
    suite::rename_and_copy(&place.store()).await;
}

#[tokio::test]
async fn copy_if_not_exists() {
    let place = Place::new();
    suite::copy_if_not_exists(&place.store()).await;
}

#[tokio::test]
async fn copy_rename_nonexistent_object() {
    let place = Place::new();
    suite::copy_rename_nonexistent_object(&place.store()).await;
}

#[tokio::test]
async fn multipart() {
    let place = Place::new();
    let store = place.store();
    suite::multipart(&store, &store).await;
}

#[tokio::test]
async fn multipart_with_opts() {
    let place = Place::new();
    let store = place.store();
    suite::multipart_with_opts(&store, &store).await;
}

#[tokio::test]
async fn multipart_put_part_out_of_order() {
    let place = Place::new();
    let store = place.store();
    suite::multipart_put_part_out_of_order(&store, &store).await;
}

#[tokio::test]
async fn multipart_out_of_order() {
    let place = Place::new();
    suite::multipart_out_of_order(&place.store()).await;
}

#[tokio::test]
async fn multipart_race_condition() {
    let place = Place::new();
    suite::multipart_race_condition(&place.store(), true).await;
}

#[tokio::test]
async fn response_extensions() {
    let place = Place::new();
    let store = place.builder().with_http_connector(suite::MarkerHttpConnector::default()).build().unwrap();
    suite::response_extensions(&store, true).await;
}

#[tokio::test]
async fn a_bucket_there_is_not_is_not_found() {
    let place = Place::new();
    let store = place.builder().with_bucket_name("nonexistentname").build().unwrap();
    let path = Path::from("any");
    let told = [
        store.get(&path).await.map(drop),
        store.put(&path, PutPayload::from_static(b"any")).await.map(drop),
        store.delete(&path).await,
    ];
    for told in told {
        assert!(matches!(told, Err(Error::NotFound { .. })), "{told:?}");
    }
    place.store().delete(&path).await.unwrap();
}

#[tokio::test]
async fn uploads_and_copies_carry_a_checksum_of_either_kind() {
    let mut place = Place::new();
    place
        .s3
        .send(&Call::new("PUT", "/locked").header("x-amz-bucket-object-lock-enabled", "true"))
        .unwrap()
        .ok()
        .unwrap();
    let body = Content { seed: 7, length: 15_000_000 }.bytes();
    let (path, copied) = (Path::from("parts.bin"), Path::from("copied.bin"));
    for bucket in [BUCKET, "locked"] {
        let with =
            |checksum| place.builder().with_bucket_name(bucket).with_checksum_algorithm(checksum).build().unwrap();
        for (checksum, other) in [(Checksum::SHA256, Checksum::CRC64NVME), (Checksum::CRC64NVME, Checksum::SHA256)] {
            let store = with(checksum);
            let mut upload = store.put_multipart(&path).await.unwrap();
            for part in body.chunks(10_000_000) {
                upload.put_part(PutPayload::from(part.to_vec())).await.unwrap();
            }
            assert!(upload.complete().await.unwrap().e_tag.is_some());
            with(other).copy_if_not_exists(&path, &copied).await.unwrap();
            for path in [&path, &copied] {
                assert!(store.get(path).await.unwrap().bytes().await.unwrap() == body, "{path} in {bucket}");
                store.delete(path).await.unwrap();
            }
        }
    }
}

#[tokio::test]
async fn tags_come_with_a_write_and_with_an_upload() {
    let mut place = Place::new();
    let store = place.store();
    let mut tags = TagSet::default();
    tags.push("foo.com=bar/s", "bananas/foo.com-_");
    tags.push("namespace/key.foo", "value with a space");
    store.put_opts(&Path::from("put"), "test".into(), tags.clone().into()).await.unwrap();
    let mut upload = store.put_multipart_opts(&Path::from("parts"), tags.into()).await.unwrap();
    upload.put_part("test".into()).await.unwrap();
    upload.complete().await.unwrap();
    for key in ["put", "parts"] {
        let told =
            place.s3.send(&Call::new("GET", &format!("/{BUCKET}/{key}")).query("tagging", "")).unwrap().ok().unwrap();
        assert_eq!(told.xml_all("Key"), ["foo.com=bar/s", "namespace/key.foo"]);
        assert_eq!(told.xml_all("Value"), ["bananas/foo.com-_", "value with a space"]);
    }
}

/// Puts, copies and uploads objects; each must come back whole. A request for its headers that sends these must be told those.
async fn is_encrypted(place: &mut Place, store: &AmazonS3, sent: &[(&str, &str)], told: &[(&str, &str)]) {
    let body = Content { seed: 8, length: 1024 }.bytes();
    let paths = ["put", "copied", "parts"].map(Path::from);
    store.put(&paths[0], body.clone().into()).await.unwrap();
    store.copy(&paths[0], &paths[1]).await.unwrap();
    let mut upload = store.put_multipart(&paths[2]).await.unwrap();
    upload.put_part(body.clone().into()).await.unwrap();
    upload.complete().await.unwrap();
    for path in &paths {
        assert!(store.get(path).await.unwrap().bytes().await.unwrap() == body, "{path}");
        let call = Call::new("HEAD", &format!("/{BUCKET}/{path}"));
        let call = sent.iter().fold(call, |call, (name, value)| call.header(name, *value));
        let head = place.s3.send(&call).unwrap().ok().unwrap();
        for (name, value) in told {
            assert_eq!(head.header(name), Some(*value), "{path}: {name}");
        }
    }
}

#[tokio::test]
async fn the_stores_keys_encrypt_what_is_put_copied_and_uploaded() {
    let mut place = Place::new();
    let name: AmazonS3ConfigKey = "aws_server_side_encryption".parse().unwrap();
    let store = place.builder().with_config(name, "AES256").build().unwrap();
    is_encrypted(&mut place, &store, &[], &[("x-amz-server-side-encryption", "AES256")]).await;
}

#[tokio::test]
async fn a_clients_key_encrypts_what_is_put_copied_and_uploaded() {
    let mut place = Place::new();
    let key = STANDARD.encode("1234567890abcdef1234567890abcdef");
    let store = place.builder().with_ssec_encryption(&key).build().unwrap();
    let algorithm = ("x-amz-server-side-encryption-customer-algorithm", "AES256");
    let md5 = ("x-amz-server-side-encryption-customer-key-md5", "JMwgiexXqwuPqIPjYFmIZQ==");
    let key = ("x-amz-server-side-encryption-customer-key", key.as_str());
    is_encrypted(&mut place, &store, &[algorithm, key, md5], &[algorithm, md5]).await;
    let without = place.store().get(&Path::from("put")).await;
    assert!(without.is_err(), "it is read without its key");
}

#[tokio::test]
async fn an_upload_that_is_given_up_leaves_nothing() {
    let mut place = Place::new();
    let store = place.store();
    let path = Path::from("given up");
    let id = store.create_multipart(&path).await.unwrap();
    store.put_part(&path, &id, 0, "part".into()).await.unwrap();
    store.abort_multipart(&path, &id).await.unwrap();
    let listed = place.s3.send(&Call::new("GET", &format!("/{BUCKET}")).query("uploads", "")).unwrap().ok().unwrap();
    assert!(listed.xml_all("UploadId").is_empty());
    assert!(matches!(store.head(&path).await, Err(Error::NotFound { .. })));
}
