//! Uploads: every way to fail, every way to race, and the largest one.

use super::*;
use crate::body::{BodyChecks, ExpectedChecksum};
use crate::fixture::{DAY, House, body, bytes, key, named};
use crate::{ByteRange, ChangeCause, Conditions, PutOutcome, PutRequest, TagList};
use cistern_types::{Checksum, ETag};

fn complete_with(parts: Vec<CompletedPart>) -> CompleteUpload {
    CompleteUpload { parts, ..CompleteUpload::default() }
}

async fn complete(house: &House, at: &UploadRef, parts: Vec<CompletedPart>) -> Result<PutOutcome> {
    house.objects.complete_upload(at, complete_with(parts)).await
}

#[tokio::test]
async fn parts_in_any_order_and_with_gaps_become_one_object() {
    let house = House::new().await;
    house.put("k", b"before").await;
    let at = house.begin_upload("k").await;
    let contents = [bytes(300_000, 1), bytes(5, 2), bytes(1 << 20, 3)];
    let third = house.put_part(&at, 9, &contents[2]).await;
    let first = house.put_part(&at, 2, &contents[0]).await;
    house.put_part(&at, 4, b"replaced").await;
    let second = house.put_part(&at, 4, &contents[1]).await;
    house.put_part(&at, 5, b"unnamed").await;
    assert_eq!(house.read("k").await.unwrap(), b"before");
    let outcome = complete(&house, &at, vec![first, second, third]).await.unwrap();
    let whole = contents.concat();
    assert!(matches!(outcome.etag, ETag::Multipart { parts: 3, .. }));
    assert_eq!(outcome.size, whole.len() as u64);
    assert_eq!(house.read("k").await.unwrap(), whole);
    for (number, content) in (1..).zip(&contents) {
        assert_eq!(&house.read_range("k", Some(ByteRange::Part(number))).await.unwrap(), content);
    }
    let record = house.objects.head(&house.bucket, &key("k")).await.unwrap();
    assert_eq!(house.objects.object_part(&record, 2).await.unwrap().range, 300_000..300_005);
    assert!(matches!(house.objects.object_part(&record, 4).await, Err(Error::NoSuchPart { number: 4, parts: 3 })));
    assert_eq!(
        house.read_range("k", Some(ByteRange::FromTo(299_999, Some(300_005)))).await.unwrap(),
        whole[299_999..300_006]
    );
    assert_eq!(house.read_range("k", Some(ByteRange::Suffix(3))).await.unwrap(), whole[whole.len() - 3..]);
    let bucket = house.objects.bucket(&house.bucket).await.unwrap().id;
    let log = house.objects.changes(bucket, None, 10).await.unwrap();
    assert_eq!(log.last().unwrap().changes[0].cause, ChangeCause::CompleteMultipartUpload);
    house.clock.advance(2 * DAY);
    house.sweep().await;
    assert_eq!(house.blobs().await.len(), 3, "replaced and unnamed parts and the object before are freed");
    assert_eq!(house.bookkeeping().await, [0, 3, 0, 0, 0]);
    assert_eq!(house.read("k").await.unwrap(), whole);
}

#[tokio::test]
async fn a_completion_with_wrong_parts_changes_nothing() {
    let house = House::new().await;
    let at = house.begin_upload("k").await;
    let one = house.put_part(&at, 1, b"11111").await;
    let two = house.put_part(&at, 2, b"222").await;
    let three = house.put_part(&at, 3, b"33333").await;
    let rows = house.rows().await;
    let other_tag = CompletedPart { etag: ETag::Md5([9; 16]), ..one.clone() };
    let other_sum = CompletedPart { checksum: Some(Checksum::new(ChecksumAlgorithm::Crc32, &[0; 4])), ..one.clone() };
    let missing = CompletedPart { number: 4, ..one.clone() };
    let numbered = |number| CompletedPart { number, ..one.clone() };
    let check = async |parts: Vec<CompletedPart>, expected: fn(&Error) -> bool| {
        let error = complete(&house, &at, parts.clone()).await.unwrap_err();
        assert!(expected(&error), "{parts:?}: {error:?}");
        assert_eq!(house.rows().await, rows, "{error}");
    };
    check(vec![], |error| matches!(error, Error::InvalidRequest { .. })).await;
    check(vec![three.clone(), one.clone()], |error| matches!(error, Error::InvalidPartOrder { number: 1 })).await;
    check(vec![one.clone(), one.clone()], |error| matches!(error, Error::InvalidPartOrder { number: 1 })).await;
    check(vec![other_tag], |error| matches!(error, Error::InvalidPart { number: 1 })).await;
    check(vec![other_sum], |error| matches!(error, Error::InvalidPart { number: 1 })).await;
    check(vec![one.clone(), missing], |error| matches!(error, Error::InvalidPart { number: 4 })).await;
    check(vec![numbered(0)], |error| matches!(error, Error::InvalidPart { number: 0 })).await;
    check(vec![numbered(10_001)], |error| matches!(error, Error::InvalidPart { number: 10_001 })).await;
    check(vec![one.clone(), two.clone(), three.clone()], |error| {
        matches!(error, Error::EntityTooSmall { number: 2, size_bytes: 3, limit_bytes: 4 })
    })
    .await;
    let promise = |request: CompleteUpload| CompleteUpload { parts: vec![one.clone(), three.clone()], ..request };
    for broken in [
        promise(CompleteUpload { size: Some(11), ..CompleteUpload::default() }),
        promise(CompleteUpload {
            checksum: Some(Checksum::new(ChecksumAlgorithm::Crc32, &[0; 4])),
            ..CompleteUpload::default()
        }),
    ] {
        let error = house.objects.complete_upload(&at, broken).await.unwrap_err();
        assert!(matches!(error, Error::InvalidRequest { .. }), "{error:?}");
    }
    assert_eq!(house.rows().await, rows);
    complete(&house, &at, vec![one, two]).await.unwrap();
    assert_eq!(house.read("k").await.unwrap(), b"11111222");
}

#[tokio::test]
async fn an_upload_that_is_not_there_is_said_so_by_everything() {
    let house = House::new().await;
    let at = house.begin_upload("k").await;
    let part = house.put_part(&at, 1, b"1").await;
    let of_other_key = UploadRef { key: key("other"), ..at.clone() };
    house.objects.abort_upload(&at).await.unwrap();
    for at in [&at, &of_other_key] {
        let put = house.objects.put_part(at, 1, None, BodyChecks::default(), body(b"1")).await.map(|_| ());
        let copied = PartCopy {
            source_version: None,
            source_bucket: house.bucket.clone(),
            source_key: key("k"),
            source_conditions: Conditions::default(),
            range: None,
            source_customer_key: None,
            customer_key: None,
        };
        for answer in [
            put,
            house.objects.copy_part(at, 1, copied).await.map(|_| ()),
            house.objects.parts(at, 0, 1).await.map(|_| ()),
            house.objects.abort_upload(at).await,
            complete(&house, at, vec![part.clone()]).await.map(|_| ()),
        ] {
            assert!(matches!(answer, Err(Error::NoSuchUpload { .. })), "{answer:?}");
        }
    }
    house.sweep().await;
    assert!(house.blobs().await.is_empty());
    assert_eq!(house.bookkeeping().await, [0; 5]);
}

#[tokio::test]
async fn a_repeated_completion_is_answered_like_the_first_for_a_day() {
    let house = House::new().await;
    let at = house.begin_upload("k").await;
    let parts = vec![house.put_part(&at, 1, b"12345").await, house.put_part(&at, 2, b"6").await];
    let first = complete(&house, &at, parts.clone()).await.unwrap();
    house.put("k", b"newer").await;
    assert_eq!(complete(&house, &at, parts.clone()).await.unwrap(), first);
    assert_eq!(house.read("k").await.unwrap(), b"newer", "a repetition does not bring the object back");
    let others = complete(&house, &at, parts[..1].to_vec()).await;
    assert!(matches!(others, Err(Error::NoSuchUpload { .. })), "{others:?}");
    house.clock.advance(DAY + DAY);
    house.sweep().await;
    let late = complete(&house, &at, parts).await;
    assert!(matches!(late, Err(Error::NoSuchUpload { .. })), "{late:?}");
    assert_eq!(house.bookkeeping().await, [0, 1, 0, 0, 0]);
}

#[tokio::test]
async fn a_condition_that_fails_leaves_the_upload_open() {
    let house = House::new().await;
    let at = house.begin_upload("k").await;
    let parts = vec![house.put_part(&at, 1, b"1").await];
    house.put("k", b"there").await;
    let conditions = |conditions| CompleteUpload { conditions, ..complete_with(parts.clone()) };
    let error = house.objects.complete_upload(&at, conditions(Conditions::create_only())).await.unwrap_err();
    assert!(matches!(error, Error::PreconditionFailed { .. }), "{error:?}");
    assert_eq!(house.read("k").await.unwrap(), b"there");
    let if_match = Conditions { if_match: Some(TagList::Any), ..Conditions::default() };
    house.objects.complete_upload(&at, conditions(if_match)).await.unwrap();
    assert_eq!(house.read("k").await.unwrap(), b"1");
}

#[tokio::test]
async fn part_numbers_and_bodies_are_checked() {
    let house = House::new().await;
    let at = house.begin_upload("k").await;
    let rows = house.rows().await;
    for number in [0, 10_001] {
        let error = house.objects.put_part(&at, number, None, BodyChecks::default(), body(b"1")).await.unwrap_err();
        assert!(matches!(error, Error::InvalidRequest { .. }), "{error:?}");
    }
    let checks = BodyChecks { content_md5: Some([0; 16]), ..BodyChecks::default() };
    let error = house.objects.put_part(&at, 1, None, checks, body(&bytes(400_000, 1))).await.unwrap_err();
    assert!(matches!(error, Error::BadDigest { .. }), "{error:?}");
    assert_eq!((house.rows().await, house.blobs().await.len()), (rows, 0));
}

fn with_checksum(house: &House, algorithm: ChecksumAlgorithm, kind: ChecksumKind) -> CreateUpload {
    CreateUpload { checksum: Some((algorithm, kind)), ..house.plain_upload("k") }
}

#[tokio::test]
async fn an_upload_with_a_checksum_gives_it_to_its_parts_and_its_object() {
    let contents = [bytes(300_000, 1), bytes(20, 2)];
    for algorithm in ChecksumAlgorithm::ALL {
        for kind in [ChecksumKind::FullObject, ChecksumKind::Composite] {
            let house = House::new().await;
            let request = with_checksum(&house, algorithm, kind);
            if !kind.fits(algorithm) {
                let error = house.objects.create_upload(request).await.unwrap_err();
                assert!(matches!(error, Error::InvalidRequest { .. }), "{error:?}");
                continue;
            }
            let at = house.begin(request).await;
            let other = ChecksumAlgorithm::ALL.into_iter().find(|other| *other != algorithm).unwrap();
            let checks = BodyChecks { checksum: ExpectedChecksum::Compute(other), ..BodyChecks::default() };
            let error = house.objects.put_part(&at, 1, None, checks, body(b"1")).await.unwrap_err();
            assert!(matches!(error, Error::InvalidRequest { .. }), "{error:?}");
            let parts = vec![house.put_part(&at, 1, &contents[0]).await, house.put_part(&at, 2, &contents[1]).await];
            assert!(parts.iter().all(|part| part.checksum.is_some()));
            let wrong = CompleteUpload {
                checksum: Some(Checksum::new(algorithm, &vec![0; algorithm.bytes()])),
                ..complete_with(parts.clone())
            };
            let error = house.objects.complete_upload(&at, wrong).await.unwrap_err();
            assert!(matches!(error, Error::ChecksumMismatch { .. }), "{error:?}");
            let stored = complete(&house, &at, parts).await.unwrap().checksum.unwrap();
            assert_eq!((stored.kind, stored.checksum.algorithm()), (kind, algorithm));
            if kind == ChecksumKind::FullObject {
                let checks = BodyChecks { checksum: ExpectedChecksum::Value(stored.checksum), ..BodyChecks::default() };
                let whole = PutRequest { checks, ..house.put_request("whole") };
                house.objects.put(whole, body(&contents.concat())).await.unwrap();
            } else {
                assert!(stored.to_text().ends_with("-2"));
            }
        }
    }
}

#[tokio::test]
async fn parts_are_copied_from_ranges_of_objects() {
    let house = House::new().await;
    let source = bytes(500_000, 4);
    house.put("source", &source).await;
    let at = house.begin_upload("k").await;
    let from = |range| PartCopy {
        source_version: None,
        source_bucket: house.bucket.clone(),
        source_key: key("source"),
        source_conditions: Conditions::default(),
        range,
        source_customer_key: None,
        customer_key: None,
    };
    for outside in [0..500_001, 500_000..500_001, 5..5] {
        let error = house.objects.copy_part(&at, 1, from(Some(outside))).await.unwrap_err();
        assert!(matches!(error, Error::InvalidRange { size_bytes: 500_000 }), "{error:?}");
    }
    let whole = house.objects.copy_part(&at, 1, from(None)).await.unwrap();
    let some = house.objects.copy_part(&at, 2, from(Some(10..200_010))).await.unwrap();
    complete(&house, &at, vec![named(1, &whole), named(2, &some)]).await.unwrap();
    assert_eq!(house.read("k").await.unwrap(), [&source[..], &source[10..200_010]].concat());
    let refused = PartCopy { source_conditions: Conditions::create_only(), ..from(None) };
    let again = house.begin_upload("k").await;
    let error = house.objects.copy_part(&again, 1, refused).await.unwrap_err();
    assert!(matches!(error, Error::PreconditionFailed { .. }), "{error:?}");
}

#[tokio::test]
async fn parts_are_listed_in_pages() {
    let house = House::new().await;
    let at = house.begin_upload("k").await;
    for number in [1u16, 3, 7] {
        house.put_part(&at, number, &bytes(usize::from(number), 0)).await;
    }
    let list = async |after, limit| {
        let page = house.objects.parts(&at, after, limit).await.unwrap();
        (page.parts.iter().map(|part| (part.number, part.size)).collect::<Vec<_>>(), page.next)
    };
    assert_eq!(list(0, 10).await, (vec![(1, 1), (3, 3), (7, 7)], None));
    assert_eq!(list(0, 2).await, (vec![(1, 1), (3, 3)], Some(3)));
    assert_eq!(list(3, 2).await, (vec![(7, 7)], None));
    assert_eq!(list(0, 3).await.1, None, "no cursor when the page ends exactly");
    assert_eq!(list(0, 0).await, (vec![], None));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn parts_that_race_with_the_end_of_their_upload_leave_nothing_behind() {
    for round in 0..20 {
        let house = House::new().await;
        let at = house.begin_upload("k").await;
        let first = house.put_part(&at, 1, b"first").await;
        let racers: Vec<_> = (2..10u16)
            .map(|number| {
                let (objects, at) = (house.objects.clone(), at.clone());
                tokio::spawn(
                    async move { objects.put_part(&at, number, None, BodyChecks::default(), body(b"late")).await },
                )
            })
            .collect();
        let expected_blobs = if round % 2 == 0 {
            complete(&house, &at, vec![first]).await.unwrap();
            1
        } else {
            house.objects.abort_upload(&at).await.unwrap();
            0
        };
        for racer in racers {
            let answer = racer.await.unwrap();
            assert!(matches!(answer, Ok(_) | Err(Error::NoSuchUpload { .. })), "{answer:?}");
        }
        house.clock.advance(2 * DAY);
        house.sweep().await;
        assert_eq!(house.blobs().await.len(), expected_blobs);
        assert_eq!(house.bookkeeping().await, [0, expected_blobs, 0, 0, 0]);
    }
}

#[tokio::test]
async fn ten_thousand_parts_fit_a_transaction_replace_each_other_and_are_freed() {
    let house = House::with_limits(crate::Limits { part_bytes_min: 1, ..crate::Limits::default() }).await;
    let mut whole = Vec::new();
    for round in 0..2u8 {
        // the longest rows there are: with a checksum and a salt for each part
        let longest = with_checksum(&house, ChecksumAlgorithm::Sha256, ChecksumKind::Composite);
        let at = house.begin(CreateUpload { encryption: Encryption::Managed, ..longest }).await;
        let mut parts = Vec::new();
        whole.clear();
        for number in 1..=10_000u16 {
            let content = [number.to_be_bytes()[0], number.to_be_bytes()[1], round];
            parts.push(house.put_part(&at, number, &content).await);
            whole.extend(content);
        }
        let outcome = complete(&house, &at, parts).await.unwrap();
        assert!(matches!(outcome.etag, ETag::Multipart { parts: 10_000, .. }));
        assert_eq!(house.read("k").await.unwrap(), whole);
    }
    assert_eq!(
        house.read_range("k", Some(ByteRange::FromTo(11_399, Some(11_402)))).await.unwrap(),
        whole[11_399..11_403]
    );
    assert_eq!(house.read_range("k", Some(ByteRange::Part(10_000))).await.unwrap(), whole[29_997..]);
    house.clock.advance(2 * DAY);
    house.sweep().await;
    assert_eq!(house.bookkeeping().await, [0, 10_000, 8, 0, 0]);
    assert_eq!(house.read("k").await.unwrap(), whole);
    house.objects.delete(&house.bucket, &key("k")).await.unwrap();
    house.clock.advance(2 * DAY);
    house.sweep().await;
    assert_eq!((house.bookkeeping().await, house.blobs().await.len()), ([0; 5], 0));
}
