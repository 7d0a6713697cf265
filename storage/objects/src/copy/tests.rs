//! Copies.

use super::*;
use crate::fixture::{House, body, bytes, key};
use crate::{Limits, PutRequest, TagList};
use cistern_types::ETag;

fn headers(content_type: &str, user: &[(&str, &str)]) -> ObjectHeaders {
    let user = user.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
    ObjectHeaders { content_type: Some(content_type.into()), user, ..ObjectHeaders::default() }
}

async fn house_with_source() -> House {
    let house = House::new().await;
    let request = PutRequest { headers: headers("text/a", &[("x", "1"), ("y", "2")]), ..house.put_request("a") };
    house.objects.put(request, body(&bytes(400_000, 1))).await.unwrap();
    house
}

fn request(house: &House, source: &str, target: &str) -> CopyRequest {
    CopyRequest::new((house.bucket.clone(), key(source)), (house.bucket.clone(), key(target)))
}

#[tokio::test]
async fn a_copy_has_bytes_of_its_own_and_the_headers_asked_for() {
    let house = house_with_source().await;
    let source = house.objects.head(&house.bucket, &key("a")).await.unwrap();
    for (metadata, expected) in [
        (MetadataDirective::Copy, headers("text/a", &[("x", "1"), ("y", "2")])),
        (MetadataDirective::Replace(headers("text/b", &[("z", "3")])), headers("text/b", &[("z", "3")])),
        (MetadataDirective::Merge(headers("text/b", &[("y", "3")])), headers("text/b", &[("x", "1"), ("y", "3")])),
    ] {
        let outcome = house.objects.copy(CopyRequest { metadata, ..request(&house, "a", "b") }).await.unwrap();
        assert_eq!((outcome.target.etag, outcome.source_version), (source.etag, None));
        let copy = house.objects.head(&house.bucket, &key("b")).await.unwrap();
        assert_eq!((copy.headers, copy.version), (expected, outcome.target.version));
    }
    house.objects.delete(&house.bucket, &key("a")).await.unwrap();
    house.clock.advance(crate::fixture::DAY);
    house.sweep().await;
    assert_eq!(house.read("b").await.unwrap(), bytes(400_000, 1));
}

#[tokio::test]
async fn onto_itself_a_copy_must_change_something() {
    let house = house_with_source().await;
    let error = house.objects.copy(request(&house, "a", "a")).await.unwrap_err();
    assert!(matches!(error, Error::InvalidRequest { .. }), "{error:?}");
    let same_class = CopyRequest { class: Some(StorageClass::Standard), ..request(&house, "a", "a") };
    assert!(house.objects.copy(same_class).await.is_err());
    let metadata = MetadataDirective::Replace(headers("text/c", &[]));
    house.objects.copy(CopyRequest { metadata, ..request(&house, "a", "a") }).await.unwrap();
    let class = Some(StorageClass::InfrequentAccess);
    house.objects.copy(CopyRequest { class, ..request(&house, "a", "a") }).await.unwrap();
    let record = house.objects.head(&house.bucket, &key("a")).await.unwrap();
    assert_eq!((record.class, record.headers), (StorageClass::InfrequentAccess, headers("text/c", &[])));
    assert_eq!(house.read("a").await.unwrap(), bytes(400_000, 1));
}

#[tokio::test]
async fn conditions_hold_for_the_source_and_for_the_target() {
    let house = house_with_source().await;
    house.put("b", b"there").await;
    let other = Conditions { if_match: Some(TagList::OneOf(vec![ETag::Md5([0; 16])])), ..Conditions::default() };
    let rows = house.rows().await;
    for refused in [
        CopyRequest { source_conditions: other, ..request(&house, "a", "b") },
        CopyRequest { source_conditions: Conditions::create_only(), ..request(&house, "a", "b") },
        CopyRequest { target_conditions: Conditions::create_only(), ..request(&house, "a", "b") },
    ] {
        let error = house.objects.copy(refused).await.unwrap_err();
        assert!(matches!(error, Error::PreconditionFailed { .. }), "{error:?}");
    }
    assert!(matches!(house.objects.copy(request(&house, "nothing", "b")).await, Err(Error::NoSuchKey { .. })));
    assert_eq!(house.rows().await, rows);
}

#[tokio::test]
async fn a_copy_of_parts_is_one_body_with_an_md5_of_its_own_and_large_ones_are_refused() {
    let house = House::with_limits(Limits { part_bytes_min: 4, put_bytes_max: 10, ..Limits::default() }).await;
    for (name, second) in [("small", &b"67890"[..]), ("large", b"678901")] {
        let upload = house.begin_upload(name).await;
        let parts = vec![house.put_part(&upload, 1, b"12345").await, house.put_part(&upload, 2, second).await];
        let complete = crate::CompleteUpload { parts, ..crate::CompleteUpload::default() };
        house.objects.complete_upload(&upload, complete).await.unwrap();
    }
    let outcome = house.objects.copy(request(&house, "small", "copy")).await.unwrap();
    assert_eq!(outcome.target.etag, house.put("same", b"1234567890").await.etag);
    assert_eq!(house.read("copy").await.unwrap(), b"1234567890");
    let error = house.objects.copy(request(&house, "large", "copy")).await.unwrap_err();
    assert!(matches!(error, Error::InvalidRequest { .. }), "{error:?}");
}

#[tokio::test]
async fn a_copy_keeps_the_algorithm_of_its_source_or_takes_the_one_asked_for() {
    let house = House::new().await;
    let checks = BodyChecks { checksum: ExpectedChecksum::Compute(ChecksumAlgorithm::Crc32C), ..BodyChecks::default() };
    let put = PutRequest { checks, ..house.put_request("a") };
    let source = house.objects.put(put, body(b"content")).await.unwrap();
    let same = house.objects.copy(request(&house, "a", "b")).await.unwrap().target;
    assert_eq!(same.checksum, source.checksum);
    let asked = CopyRequest { checksum: Some(ChecksumAlgorithm::Sha1), ..request(&house, "a", "b") };
    let other = house.objects.copy(asked).await.unwrap().target.checksum.unwrap();
    assert_eq!(other.checksum.algorithm(), ChecksumAlgorithm::Sha1);
}
