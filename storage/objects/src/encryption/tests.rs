//! Encryption: what lies in the blobs, every range of it, whose key opens it, and damage.

use super::*;
use crate::fixture::{House, body, bytes, customer_key, key, read_all};
use crate::seal::{MasterKeys, SealError};
use crate::{
    BodyChecks, ByteRange, ChecksumKind, CompleteUpload, Conditions, CopyRequest, CreateUpload, ErrorKind, Limits,
    ObjectRead, PartCopy, PutOutcome, PutRequest, StageSpec, TransitionOutcome, UploadRef,
};
use cistern_types::{ChecksumAlgorithm, StorageClass};
use futures::TryStreamExt as _;

async fn put(house: &House, name: &str, content: &[u8], encryption: Encryption) -> PutOutcome {
    let request = PutRequest { encryption, ..house.put_request(name) };
    house.objects.put(request, body(content)).await.unwrap()
}

async fn get(
    house: &House,
    name: &str,
    range: Option<ByteRange>,
    customer: Option<&CustomerKey>,
) -> Result<ObjectRead> {
    house.objects.get_if(&house.bucket, &key(name), None, range, &Conditions::default(), customer).await
}

async fn read(house: &House, name: &str, customer: Option<&CustomerKey>) -> Vec<u8> {
    read_all(get(house, name, None, customer).await.unwrap()).await.unwrap()
}

async fn stored(house: &House, extent: &Extent) -> Vec<u8> {
    let blob = house.objects.blobs().read(extent.blob, 0..extent.stored_bytes()).await.unwrap();
    blob.try_collect::<Vec<_>>().await.unwrap().concat()
}

async fn extents(house: &House, name: &str) -> Vec<Extent> {
    let record = house.objects.head(&house.bucket, &key(name)).await.unwrap();
    let txn = house.objects.store().read().await.unwrap();
    crate::rows::extents(&txn, record.version, &record.layout).await.unwrap()
}

fn kind_of(encryption: &Encryption) -> Option<EncryptionKind> {
    match encryption {
        Encryption::None => None,
        Encryption::Managed => Some(EncryptionKind::Managed),
        Encryption::Customer(_) => Some(EncryptionKind::Customer),
    }
}

fn customer_of(encryption: &Encryption) -> Option<&CustomerKey> {
    match encryption {
        Encryption::Customer(customer) => Some(customer),
        Encryption::None | Encryption::Managed => None,
    }
}

fn all_kinds() -> [Encryption; 3] {
    [Encryption::None, Encryption::Managed, Encryption::Customer(customer_key(1))]
}

#[tokio::test]
async fn sealed_bytes_lie_in_the_blob_and_everything_else_is_of_the_plain_ones() {
    let house = House::new().await;
    // around a frame, the largest small body, a batch
    for size in [0, 1, 65_535, 65_536, 65_537, 131_040, 131_072, 1 << 20, (3 << 20) + 7] {
        let content = bytes(size, 7);
        let plain = put(&house, "plain", &content, Encryption::None).await;
        for encryption in &all_kinds()[1..] {
            let made = put(&house, "k", &content, encryption.clone()).await;
            assert_eq!(made.size, size as u64);
            let hides_md5 = matches!(encryption, Encryption::Customer(_));
            assert_eq!(made.etag != plain.etag, hides_md5, "a tag is shown without the customer's key");
            assert_eq!(made.encryption, kind_of(encryption));
            assert_eq!(read(&house, "k", customer_of(encryption)).await, content);
            for extent in extents(&house, "k").await {
                let sealed = stored(&house, &extent).await;
                assert_eq!((sealed.len() as u64, extent.length), (sealed_bytes(size as u64), size as u64));
                assert!(size < 16 || sealed[..16] != content[..16]);
            }
        }
    }
}

async fn upload_of_parts(house: &House, encryption: &Encryption, parts: &[Vec<u8>]) {
    let create = CreateUpload { encryption: encryption.clone(), ..house.plain_upload("k") };
    let begun = house.objects.create_upload(create).await.unwrap();
    assert_eq!(begun.encryption, kind_of(encryption));
    let at = UploadRef { bucket: house.bucket.clone(), key: key("k"), upload: begun.upload };
    let mut named = Vec::new();
    for (number, part) in (1..).zip(parts) {
        let customer = customer_of(encryption);
        let made = house.objects.put_part(&at, number, customer, BodyChecks::default(), body(part)).await.unwrap();
        assert_eq!(made.encryption, kind_of(encryption));
        named.push(crate::fixture::named(number, &made));
    }
    let customer_key = customer_of(encryption).cloned();
    let complete = CompleteUpload { parts: named, customer_key, ..CompleteUpload::default() };
    assert_eq!(house.objects.complete_upload(&at, complete).await.unwrap().encryption, kind_of(encryption));
}

#[tokio::test]
async fn every_range_over_sealed_parts_is_that_of_the_plain_bytes() {
    let house = House::new().await;
    let parts = [bytes(70_000, 1), bytes(65_536, 2), bytes(5, 3), bytes(200_000, 4)];
    let whole = parts.concat();
    for encryption in all_kinds() {
        upload_of_parts(&house, &encryption, &parts).await;
        let salts: std::collections::HashSet<_> =
            extents(&house, "k").await.iter().filter_map(|extent| extent.salt).collect();
        assert_eq!(salts.len(), if kind_of(&encryption).is_some() { 4 } else { 0 }, "each part has its own");
        let edges = [0, 1, 65_535, 65_536, 69_999, 70_000, 70_001, 135_535, 135_536, 135_541, 201_077, whole.len()];
        for (i, start) in edges.into_iter().enumerate() {
            for end in edges.into_iter().skip(i + 1) {
                let range = ByteRange::FromTo(start as u64, Some(end as u64 - 1));
                let read = get(&house, "k", Some(range), customer_of(&encryption)).await.unwrap();
                assert!(read_all(read).await.unwrap() == whole[start..end], "{start}..{end} {encryption:?}");
            }
        }
        for (number, part) in (1..).zip(&parts) {
            let read = get(&house, "k", Some(ByteRange::Part(number)), customer_of(&encryption)).await.unwrap();
            assert!(read_all(read).await.unwrap() == *part, "part {number}");
        }
    }
}

#[tokio::test]
async fn a_customers_object_opens_for_its_key_only() {
    let house = House::new().await;
    let (mine, other) = (customer_key(1), customer_key(2));
    put(&house, "mine", b"secret", Encryption::Customer(mine.clone())).await;
    put(&house, "managed", b"managed", Encryption::Managed).await;
    put(&house, "plain", b"plain", Encryption::None).await;
    put(&house, "empty", b"", Encryption::Customer(mine.clone())).await;
    for name in ["mine", "empty"] {
        let record = house.objects.head(&house.bucket, &key(name)).await.unwrap();
        for (given, expected) in
            [(None, "Err(NoCustomerKey)"), (Some(&other), "Err(OtherCustomerKey)"), (Some(&mine), "Ok(())")]
        {
            assert_eq!(format!("{:?}", get(&house, name, None, given).await.map(drop)), expected);
            assert_eq!(format!("{:?}", record.check_customer_key(given)), expected);
        }
    }
    for name in ["managed", "plain"] {
        let refused = get(&house, name, None, Some(&mine)).await;
        assert!(matches!(refused, Err(Error::NeedlessCustomerKey)), "{refused:?}");
        assert_eq!(read(&house, name, None).await, name.as_bytes());
    }
    // its tag shows how many parts there are
    let part = get(&house, "mine", Some(ByteRange::Part(2)), None).await;
    assert!(matches!(part, Err(Error::NoSuchPart { .. })), "{part:?}");
}

#[tokio::test]
async fn every_request_with_bytes_for_a_customers_upload_brings_the_key() {
    let house = House::new().await;
    let (mine, other) = (customer_key(1), customer_key(2));
    put(&house, "source", b"source", Encryption::Customer(other.clone())).await;
    let at =
        house.begin(CreateUpload { encryption: Encryption::Customer(mine.clone()), ..house.plain_upload("k") }).await;
    let copy = |customer_key: Option<&CustomerKey>, source_customer_key: Option<&CustomerKey>| PartCopy {
        source_bucket: house.bucket.clone(),
        source_key: key("source"),
        source_version: None,
        source_conditions: Conditions::default(),
        range: Some(1..5),
        customer_key: customer_key.cloned(),
        source_customer_key: source_customer_key.cloned(),
    };
    for given in [None, Some(&other)] {
        let part = house.objects.put_part(&at, 1, given, BodyChecks::default(), body(b"part")).await;
        assert!(matches!(part, Err(Error::NoCustomerKey | Error::OtherCustomerKey)), "{part:?}");
        let copied = house.objects.copy_part(&at, 1, copy(given, Some(&other))).await;
        assert!(matches!(copied, Err(Error::NoCustomerKey | Error::OtherCustomerKey)), "{copied:?}");
    }
    let copied = house.objects.copy_part(&at, 1, copy(Some(&mine), None)).await;
    assert!(matches!(copied, Err(Error::NoCustomerKey)), "{copied:?}");
    let first = house.objects.copy_part(&at, 1, copy(Some(&mine), Some(&other))).await.unwrap();
    let second = house.objects.put_part(&at, 2, Some(&mine), BodyChecks::default(), body(b"part")).await.unwrap();
    let again = house.objects.put_part(&at, 2, Some(&mine), BodyChecks::default(), body(b"part")).await.unwrap();
    assert_eq!(again.etag, second.etag, "a part that is sent again is the same part");
    let parts = vec![crate::fixture::named(1, &first), crate::fixture::named(2, &second)];
    let complete = |customer_key| CompleteUpload { parts: parts.clone(), customer_key, ..CompleteUpload::default() };
    let refused = house.objects.complete_upload(&at, complete(Some(other))).await;
    assert!(matches!(refused, Err(Error::OtherCustomerKey)), "{refused:?}");
    house.objects.complete_upload(&at, complete(None)).await.unwrap();
    assert_eq!(read(&house, "k", Some(&mine)).await, b"ourcpart");
}

#[tokio::test]
async fn completing_a_customers_upload_brings_the_key_where_the_object_gets_a_checksum() {
    let house = House::new().await;
    let mine = customer_key(1);
    let checksum = Some((ChecksumAlgorithm::Crc32, ChecksumKind::Composite));
    let create = CreateUpload { encryption: Encryption::Customer(mine.clone()), checksum, ..house.plain_upload("k") };
    let at = house.begin(create).await;
    let part = house.objects.put_part(&at, 1, Some(&mine), BodyChecks::default(), body(b"part")).await.unwrap();
    let parts = vec![crate::fixture::named(1, &part)];
    let complete = |customer_key| CompleteUpload { parts: parts.clone(), customer_key, ..CompleteUpload::default() };
    for given in [None, Some(customer_key(2))] {
        let refused = house.objects.complete_upload(&at, complete(given)).await;
        assert!(matches!(refused, Err(Error::NoCustomerKey | Error::OtherCustomerKey)), "{refused:?}");
    }
    house.objects.complete_upload(&at, complete(Some(mine.clone()))).await.unwrap();
    assert_eq!(read(&house, "k", Some(&mine)).await, b"part");
}

#[tokio::test]
async fn copies_open_their_source_and_seal_their_target() {
    let house = House::new().await;
    let content = bytes(200_000, 5);
    let other = Encryption::Customer(customer_key(2));
    for source in all_kinds() {
        put(&house, "source", &content, source.clone()).await;
        for target in all_kinds().into_iter().chain([other.clone()]) {
            for name in ["target", "source"] {
                let place = |name| (house.bucket.clone(), key(name));
                let request = CopyRequest {
                    encryption: target.clone(),
                    source_customer_key: customer_of(&source).cloned(),
                    ..CopyRequest::new(place("source"), place(name))
                };
                let answer = house.objects.copy(request).await;
                if name == "source" && kind_of(&target).is_none() {
                    assert!(matches!(answer, Err(Error::InvalidRequest { .. })), "{answer:?}");
                    continue;
                }
                assert_eq!(answer.unwrap().target.encryption, kind_of(&target));
                assert!(read(&house, name, customer_of(&target)).await == content);
            }
            put(&house, "source", &content, source.clone()).await;
        }
    }
}

#[tokio::test]
async fn a_bucket_encrypts_by_default_what_asks_for_nothing() {
    let house = House::new().await;
    let kind = async |name: &str| house.objects.head(&house.bucket, &key(name)).await.unwrap().encryption();
    let mine = customer_key(1);
    for (encrypted, expected) in [(true, Some(EncryptionKind::Managed)), (false, None)] {
        house.objects.set_default_encryption(&house.bucket, encrypted).await.unwrap();
        house.put("k", b"put").await;
        assert_eq!(kind("k").await, expected);
        let place = |name| (house.bucket.clone(), key(name));
        house.objects.copy(CopyRequest::new(place("k"), place("copy"))).await.unwrap();
        assert_eq!(kind("copy").await, expected);
        let at = house.begin_upload("upload").await;
        let parts = vec![house.put_part(&at, 1, b"part").await];
        house.objects.complete_upload(&at, CompleteUpload { parts, ..CompleteUpload::default() }).await.unwrap();
        assert_eq!(kind("upload").await, expected);
        put(&house, "k", b"put", Encryption::Customer(mine.clone())).await;
        assert_eq!(kind("k").await, Some(EncryptionKind::Customer));
    }
}

#[tokio::test]
async fn a_staged_object_is_encrypted_by_default_for_its_place_only() {
    let house = House::new().await;
    house.objects.set_default_encryption(&house.bucket, true).await.unwrap();
    let place = Some((house.bucket.clone(), key("k")));
    let staged = house.objects.stage_bytes(StageSpec { place, ..StageSpec::default() }, "staged".into()).await.unwrap();
    let commit = async |name: &str| {
        let mut txn = house.objects.store().begin().await?;
        house.objects.commit_staged(&mut txn, &house.bucket, &key(name), &staged).await?;
        txn.commit().await.map_err(Error::from)
    };
    let elsewhere = commit("elsewhere").await;
    assert!(matches!(elsewhere, Err(Error::InvalidRequest { .. })), "{elsewhere:?}");
    commit("k").await.unwrap();
    assert_eq!(read(&house, "k", None).await, b"staged");
    let record = house.objects.head(&house.bucket, &key("k")).await.unwrap();
    assert_eq!(record.encryption(), Some(EncryptionKind::Managed));
}

#[tokio::test]
async fn damage_is_found_and_no_other_object_opens() {
    let house = House::new().await;
    let content = bytes(150_000, 6);
    put(&house, "a", &content, Encryption::Managed).await;
    put(&house, "b", &content, Encryption::Managed).await;
    let (a, b) = (extents(&house, "a").await.remove(0), extents(&house, "b").await.remove(0));
    assert_ne!(stored(&house, &a).await, stored(&house, &b).await, "each object has its own key");
    let data_key = |record: &ObjectRecord| {
        house.objects.data_key(record.attributes.sealing.as_ref(), &record.key, None).unwrap().unwrap()
    };
    let record = house.objects.head(&house.bucket, &key("a")).await.unwrap();
    let open = async |extent: &Extent| {
        let body = crate::get::read_extents(
            std::sync::Arc::clone(house.objects.blobs()),
            Some(data_key(&record)),
            vec![(extent.clone(), 0..extent.length)],
        );
        body.try_collect::<Vec<_>>().await.map(|pieces| pieces.concat())
    };
    assert!(open(&a).await.unwrap() == content);
    let exchanged = Extent { blob: b.blob, ..a.clone() };
    let short = Extent { length: a.length - 1, ..a.clone() };
    let resalted = Extent { salt: Some(BlobSalt::random()), ..a.clone() };
    for wrong in [exchanged, short, resalted] {
        let error = open(&wrong).await.unwrap_err();
        assert!(matches!(error, Error::Seal(SealError::Damaged { .. })), "{error:?}");
        assert_eq!(error.kind(), ErrorKind::Corrupt);
    }
    // the key of another object's row
    let foreign = house.objects.data_key(record.attributes.sealing.as_ref(), &key("b"), None).map(drop);
    assert!(matches!(foreign, Err(Error::Key(KeyError::NotUnwrapped))), "{foreign:?}");
}

#[tokio::test]
async fn a_sealed_object_moves_between_classes_as_it_is() {
    let house = House::new().await;
    let content = bytes(300_000, 8);
    let made = put(&house, "k", &content, Encryption::Managed).await;
    let before = extents(&house, "k").await.remove(0);
    let sealed = stored(&house, &before).await;
    let moved = house.objects.transition(&house.bucket, &key("k"), made.version, StorageClass::InfrequentAccess).await;
    assert_eq!(moved.unwrap(), TransitionOutcome::Moved);
    let after = extents(&house, "k").await.remove(0);
    assert_eq!((after.salt, after.length), (before.salt, before.length));
    assert!(stored(&house, &after).await == sealed && after.blob != before.blob);
    assert!(read(&house, "k", None).await == content);
}

#[tokio::test]
async fn other_master_keys_open_nothing_and_rotated_ones_all() {
    let house = House::new().await;
    let ring = MasterKeys::generate();
    let with = |ring: &MasterKeys| house.objects.clone().with_master_keys(ring.clone());
    let request = PutRequest { encryption: Encryption::Managed, ..house.put_request("k") };
    with(&ring).put(request, body(b"managed")).await.unwrap();
    let error = house.objects.get(&house.bucket, &key("k"), None).await.unwrap_err();
    let missing = ring.current();
    assert!(matches!(error, Error::Key(KeyError::NoSuchMasterKey { id }) if id == missing), "{error:?}");
    assert_eq!(error.kind(), ErrorKind::Internal);
    let rotated = with(&ring.rotated()).get(&house.bucket, &key("k"), None).await.unwrap();
    assert_eq!(read_all(rotated).await.unwrap(), b"managed");
}

#[tokio::test]
async fn a_store_does_not_start_without_the_master_keys_it_has_used() {
    let house = House::new().await;
    let with = |ring: &MasterKeys| house.objects.clone().with_master_keys(ring.clone());
    let wrap = async |ring: &MasterKeys| {
        let request = PutRequest { encryption: Encryption::Managed, ..house.put_request("k") };
        with(ring).put(request, body(b"x")).await.unwrap();
    };
    let first = MasterKeys::generate();
    let second = first.rotated();
    with(&first).check_master_keys().await.unwrap();
    with(&MasterKeys::generate()).check_master_keys().await.expect("none was used yet");
    wrap(&first).await;
    wrap(&first).await;
    with(&first).check_master_keys().await.unwrap();
    wrap(&second).await;
    for lacks_some in [&first, &MasterKeys::generate()] {
        let refused = with(lacks_some).check_master_keys().await;
        assert!(matches!(refused, Err(Error::Key(KeyError::NoSuchMasterKey { .. }))), "{refused:?}");
    }
    assert!(house.objects.clone().check_master_keys().await.is_err(), "other keys than any that was used");
    with(&second).check_master_keys().await.unwrap();
    with(&second.rotated()).check_master_keys().await.unwrap();
}

#[tokio::test]
async fn without_master_keys_only_customers_keys_encrypt() {
    let clock = std::sync::Arc::new(cistern_runtime::TestClock::at(cistern_types::Timestamp::from_millis(1)));
    let objects = Objects::in_memory(std::sync::Arc::<cistern_runtime::TestClock>::clone(&clock), Limits::default());
    let house = House::on(objects, clock).await;
    let request = PutRequest { encryption: Encryption::Managed, ..house.put_request("k") };
    let refused = house.objects.put(request, body(b"x")).await;
    assert!(matches!(refused, Err(Error::NoMasterKeys)), "{refused:?}");
    let upload = CreateUpload { encryption: Encryption::Managed, ..house.plain_upload("k") };
    let refused = house.objects.create_upload(upload).await;
    assert!(matches!(refused, Err(Error::NoMasterKeys)), "{refused:?}");
    let refused = house.objects.set_default_encryption(&house.bucket, true).await;
    assert!(matches!(refused, Err(Error::NoMasterKeys)), "{refused:?}");
    put(&house, "k", b"mine", Encryption::Customer(customer_key(1))).await;
    assert_eq!(read(&house, "k", Some(&customer_key(1))).await, b"mine");
}
