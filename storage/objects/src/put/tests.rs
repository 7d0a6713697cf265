//! Bodies that keep their promises become objects; bodies that break any of them change nothing.

use super::*;
use crate::body::ExpectedChecksum;
use crate::fixture::{House, body, bytes, key};
use crate::{Error, Limits, TagList};
use cistern_types::{Checksum, ChecksumAlgorithm};
use futures::{StreamExt, stream};
use md5::{Digest as _, Md5};
use sha2::Sha256;

/// Small, over the packed size, over several batches.
const SIZES: [usize; 5] = [5, 20_000, 200_000, 1 << 20, (3 << 20) + 1];

fn md5_of(content: &[u8]) -> [u8; 16] {
    Md5::digest(content).into()
}

fn sha256_of(content: &[u8]) -> [u8; 32] {
    Sha256::digest(content).into()
}

fn crc32_of(content: &[u8]) -> Checksum {
    let crc = crc_fast::checksum(crc_fast::CrcAlgorithm::Crc32IsoHdlc, content);
    Checksum::new(ChecksumAlgorithm::Crc32, &crc.to_be_bytes()[4..])
}

fn true_checks(content: &[u8]) -> BodyChecks {
    BodyChecks {
        length: Some(content.len() as u64),
        content_md5: Some(md5_of(content)),
        sha256: Some(sha256_of(content)),
        checksum: ExpectedChecksum::Value(crc32_of(content)),
        trailer: None,
    }
}

#[tokio::test]
async fn a_body_that_keeps_its_promises_is_read_back_with_its_headers() {
    let house = House::new().await;
    for (seed, size) in SIZES.into_iter().enumerate() {
        let content = bytes(size, u8::try_from(seed).unwrap());
        let headers = ObjectHeaders {
            content_type: Some("text/plain".into()),
            user: [("color".to_owned(), "grün".to_owned())].into(),
            ..ObjectHeaders::default()
        };
        let request = PutRequest { headers: headers.clone(), checks: true_checks(&content), ..house.put_request("k") };
        let outcome = house.objects.put(request, body(&content)).await.unwrap();
        assert_eq!((outcome.etag, outcome.size), (ETag::Md5(md5_of(&content)), size as u64));
        assert_eq!(outcome.checksum.as_ref().map(|stored| &stored.checksum), Some(&crc32_of(&content)));
        let record = house.objects.head(&house.bucket, &key("k")).await.unwrap();
        assert_eq!((record.headers, record.version, record.checksum), (headers, outcome.version, outcome.checksum));
        assert_eq!(house.read("k").await.unwrap(), content);
    }
}

#[tokio::test]
async fn an_empty_body_is_an_object_without_a_blob() {
    let house = House::new().await;
    let outcome = house.put("empty", b"").await;
    assert_eq!((outcome.etag.to_string().as_str(), outcome.size), ("d41d8cd98f00b204e9800998ecf8427e", 0));
    assert_eq!(house.read("empty").await.unwrap(), b"");
    assert!(house.blobs().await.is_empty());
}

/// Puts a body over an object; it must fail as expected, and rows and blobs must be what they were.
async fn check_refused(checks: BodyChecks, content: &[u8], expected: fn(&Error) -> bool) {
    let house = House::new().await;
    house.put("k", b"before").await;
    let (rows, blobs) = (house.rows().await, house.blobs().await);
    let described = format!("{checks:?} of {} bytes", content.len());
    let request = PutRequest { checks, ..house.put_request("k") };
    let error = house.objects.put(request, body(content)).await.unwrap_err();
    assert!(expected(&error), "{described}: {error:?}");
    assert_eq!(house.rows().await, rows, "{described}: {error}");
    assert_eq!(house.blobs().await, blobs, "{described}: {error}");
}

#[tokio::test]
async fn a_body_that_breaks_any_promise_changes_nothing() {
    for size in SIZES {
        let content = bytes(size, 7);
        let good = || true_checks(&content);
        let length = content.len() as u64;
        let wrong = crc32_of(b"other");
        let incomplete = |error: &Error| matches!(error, Error::IncompleteBody { .. });
        check_refused(BodyChecks { length: Some(length + 1), ..good() }, &content, incomplete).await;
        check_refused(BodyChecks { length: Some(length - 1), ..good() }, &content, incomplete).await;
        check_refused(BodyChecks { content_md5: Some([0; 16]), ..good() }, &content, |error| {
            matches!(error, Error::BadDigest { .. })
        })
        .await;
        check_refused(BodyChecks { sha256: Some([0; 32]), ..good() }, &content, |error| {
            matches!(error, Error::Sha256Mismatch { .. })
        })
        .await;
        let mismatch =
            |error: &Error| matches!(error, Error::ChecksumMismatch { algorithm: ChecksumAlgorithm::Crc32, .. });
        let checksum = ExpectedChecksum::Value(wrong.clone());
        check_refused(BodyChecks { checksum, ..good() }, &content, mismatch).await;
        let late = |trailer: TrailerAnswer| BodyChecks {
            checksum: ExpectedChecksum::Compute(ChecksumAlgorithm::Crc32),
            trailer: Some(Box::new(trailer)),
            ..good()
        };
        let of_trailer = wrong.clone();
        check_refused(late(Box::new(move || Ok(Some(of_trailer)))), &content, mismatch).await;
        let unannounced = Checksum::new(ChecksumAlgorithm::Sha1, &[0; 20]);
        check_refused(late(Box::new(move || Ok(Some(unannounced)))), &content, |error| {
            matches!(error, Error::Body(BodyError::BadTrailer { .. }))
        })
        .await;
        check_refused(late(Box::new(|| Err(BodyError::BadSignature))), &content, |error| {
            matches!(error, Error::Body(BodyError::BadSignature))
        })
        .await;
    }
}

type TrailerAnswer = Box<dyn FnOnce() -> Result<Option<Checksum>, BodyError> + Send>;

#[tokio::test]
async fn a_trailer_with_the_right_checksum_is_taken() {
    let house = House::new().await;
    let content = bytes(300_000, 1);
    let sum = crc32_of(&content);
    let checks = BodyChecks {
        checksum: ExpectedChecksum::Compute(ChecksumAlgorithm::Crc32),
        trailer: Some(Box::new({
            let sum = sum.clone();
            move || Ok(Some(sum))
        })),
        ..BodyChecks::default()
    };
    let request = PutRequest { checks, ..house.put_request("k") };
    let outcome = house.objects.put(request, body(&content)).await.unwrap();
    assert_eq!(outcome.checksum.unwrap().checksum, sum);
}

#[tokio::test]
async fn a_stream_that_breaks_off_changes_nothing() {
    for size in SIZES {
        let house = House::new().await;
        house.put("k", b"before").await;
        let (rows, blobs) = (house.rows().await, house.blobs().await);
        let broken = body(&bytes(size, 3)).chain(stream::iter([Err(BodyError::Incomplete)]));
        let error = house.objects.put(house.put_request("k"), broken).await.unwrap_err();
        assert!(matches!(error, Error::Body(BodyError::Incomplete)), "{error:?}");
        assert_eq!((house.rows().await, house.blobs().await), (rows, blobs));
        assert_eq!(house.read("k").await.unwrap(), b"before");
    }
}

#[tokio::test]
async fn limits_hold_for_announced_and_for_unannounced_lengths() {
    let house = House::with_limits(Limits { put_bytes_max: 300_000, ..Limits::default() }).await;
    for length in [Some(300_001), None] {
        let checks = BodyChecks { length, ..BodyChecks::default() };
        let request = PutRequest { checks, ..house.put_request("k") };
        let error = house.objects.put(request, body(&bytes(300_001, 0))).await.unwrap_err();
        assert!(matches!(error, Error::EntityTooLarge { size_bytes: 300_001, limit_bytes: 300_000 }), "{error:?}");
    }
    house.put("k", &bytes(300_000, 0)).await;
    let headers = ObjectHeaders { user: [("a".into(), "b".repeat(3000))].into(), ..ObjectHeaders::default() };
    let request = PutRequest { headers, ..house.put_request("k") };
    let error = house.objects.put(request, body(b"x")).await.unwrap_err();
    assert!(matches!(error, Error::MetadataTooLarge { size_bytes: 3001, limit_bytes: 2048 }), "{error:?}");
}

#[tokio::test]
async fn an_unknown_bucket_is_refused_before_the_body_is_read() {
    let house = House::new().await;
    let request = PutRequest::new("nowhere".parse().unwrap(), key("k"));
    let never = stream::poll_fn(|_| panic!("the body was read"));
    let error = house.objects.put(request, never).await.unwrap_err();
    assert!(matches!(error, Error::NoSuchBucket { .. }), "{error:?}");
}

#[tokio::test]
async fn conditions_are_judged_against_the_object_that_is_there() {
    let house = House::new().await;
    let first = house.put("k", b"1").await;
    let put = async |conditions: Conditions| {
        let request = PutRequest { conditions, ..house.put_request("k") };
        house.objects.put(request, body(b"2")).await
    };
    assert!(matches!(put(Conditions::create_only()).await, Err(Error::PreconditionFailed { .. })));
    let if_match = |tag: ETag| Conditions { if_match: Some(TagList::OneOf(vec![tag])), ..Conditions::default() };
    assert!(matches!(put(if_match(ETag::Md5([0; 16]))).await, Err(Error::PreconditionFailed { .. })));
    assert_eq!(house.read("k").await.unwrap(), b"1");
    assert_eq!(house.blobs().await.len(), 1, "refused bodies are thrown away");
    put(if_match(first.etag)).await.unwrap();
    assert_eq!(house.read("k").await.unwrap(), b"2");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_many_racing_creators_exactly_one_wins() {
    let house = House::new().await;
    let racers: Vec<_> = (0..64u8)
        .map(|racer| {
            let objects = house.objects.clone();
            let request = PutRequest { conditions: Conditions::create_only(), ..house.put_request("k") };
            tokio::spawn(async move { objects.put(request, body(&[racer])).await.map(|_| racer) })
        })
        .collect();
    let mut winners = Vec::new();
    for racer in racers {
        match racer.await.unwrap() {
            Ok(winner) => winners.push(winner),
            Err(error) => assert!(matches!(error, Error::PreconditionFailed { .. }), "{error:?}"),
        }
    }
    assert_eq!(winners.len(), 1);
    assert_eq!(house.read("k").await.unwrap(), winners);
    assert_eq!(house.blobs().await.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_racing_writers_all_succeed_and_one_body_stays() {
    let house = House::new().await;
    let writers: Vec<_> = (0..32u8)
        .map(|writer| {
            let objects = house.objects.clone();
            let request = house.put_request("k");
            tokio::spawn(async move { objects.put(request, body(&[writer; 100])).await })
        })
        .collect();
    for writer in writers {
        writer.await.unwrap().unwrap();
    }
    let content = house.read("k").await.unwrap();
    assert!(content.iter().all(|byte| *byte == content[0]) && content.len() == 100);
    let bucket = house.objects.bucket(&house.bucket).await.unwrap().id;
    assert_eq!(house.objects.changes(bucket, None, 100).await.unwrap().len(), 32, "each write is in the change log");
}
