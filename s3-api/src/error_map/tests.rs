//! The table as a person reads it: every error of the object store, its code, its status and its words.

use super::*;
use cistern_objects::VersionRef;
use cistern_types::{ChecksumAlgorithm, Timestamp};
use std::fmt::Write as _;
use std::io;

/// One of every variant. A variant that is missing here is still mapped: the table has no `_` arm.
fn every_error() -> Vec<ObjectsError> {
    let bucket = || "photos".parse().unwrap();
    let key = || "a/b".parse().unwrap();
    let hash = || BodyError::Io(io::Error::new(io::ErrorKind::InvalidData, PayloadHashMismatch));
    let (expected, computed) = (|| "aa".to_owned(), || "bb".to_owned());
    vec![
        ObjectsError::NoSuchBucket { bucket: bucket() },
        ObjectsError::NoSuchKey { bucket: bucket(), key: key(), marker: None },
        ObjectsError::NoSuchVersion { bucket: bucket(), key: key(), version: VersionRef::Null },
        ObjectsError::IsDeleteMarker { version: VersionRef::Null, modified: Timestamp::default() },
        ObjectsError::ObjectLocked,
        ObjectsError::InvalidBucketState { reason: "it keeps locks".into() },
        ObjectsError::RetentionOver,
        ObjectsError::InvalidTag { reason: "there are 11 tags".into() },
        ObjectsError::InvalidRetentionPeriod { reason: "from 1 day on".into() },
        ObjectsError::NoSuchUpload { bucket: bucket(), key: key(), upload: "00".repeat(16).parse().unwrap() },
        ObjectsError::BucketAlreadyExists { bucket: bucket() },
        ObjectsError::BucketAlreadyOwnedByYou { bucket: bucket() },
        ObjectsError::BucketNotEmpty { bucket: bucket() },
        ObjectsError::PreconditionFailed { condition: Condition::IfMatch },
        ObjectsError::NotModified,
        ObjectsError::InvalidRange { size_bytes: 5 },
        ObjectsError::NoSuchPart { number: 9, parts: 2 },
        ObjectsError::EntityTooLarge { size_bytes: 9, limit_bytes: 5 },
        ObjectsError::EntityTooSmall { number: 1, size_bytes: 1, limit_bytes: 5 },
        ObjectsError::InvalidPart { number: 3 },
        ObjectsError::InvalidPartOrder { number: 2 },
        ObjectsError::MetadataTooLarge { size_bytes: 3000, limit_bytes: 2048 },
        ObjectsError::BadDigest { expected: expected(), computed: computed() },
        ObjectsError::InvalidDigest { header: "Content-MD5".into() },
        ObjectsError::IncompleteBody { expected_bytes: 9, received_bytes: 5 },
        ObjectsError::Sha256Mismatch { expected: expected(), computed: computed() },
        ObjectsError::ChecksumMismatch {
            algorithm: ChecksumAlgorithm::Crc32,
            expected: expected(),
            computed: computed(),
        },
        ObjectsError::InvalidRequest { reason: "this cannot be".into() },
        ObjectsError::Body(BodyError::Incomplete),
        ObjectsError::Body(BodyError::BadSignature),
        ObjectsError::Body(BodyError::BadChunk { reason: "no length".into() }),
        ObjectsError::Body(BodyError::BadTrailer { reason: "no value".into() }),
        ObjectsError::Body(BodyError::Io(io::Error::other("secret path"))),
        ObjectsError::Body(BodyError::Io(io::Error::new(io::ErrorKind::TimedOut, "idle"))),
        ObjectsError::Body(hash()),
        ObjectsError::UploadTooSlow { limit_seconds: 5 },
        ObjectsError::TooMuchContention { tries: 64 },
        ObjectsError::Metadata(cistern_metadata::Error::LostPrerequisite),
        ObjectsError::Metadata(cistern_metadata::Error::StampedTwice { prefix: "secret".into() }),
    ]
}

/// The variant's name, from its debug text.
fn variant(error: &ObjectsError) -> String {
    let text = format!("{error:?}");
    let nested = text.starts_with("Body(") || text.starts_with("Metadata(");
    let end = text.find([' ', '{']).unwrap_or(text.len());
    let end = if nested { end } else { text.find([' ', '(']).unwrap_or(end) };
    text[..end].trim_end_matches(')').trim_end_matches("(Custom").replace('(', "::")
}

#[test]
fn every_error_has_its_code_its_status_and_its_words() {
    let mut table = String::new();
    for error in every_error() {
        let name = variant(&error);
        let answer = Refusal::from(error).into_s3();
        let status = answer.status_code().unwrap().as_u16();
        writeln!(table, "{name} -> {} {status}: {}", answer.code().as_str(), answer.message().unwrap()).unwrap();
    }
    insta::assert_snapshot!(table);
}

#[test]
fn the_cause_of_our_own_faults_is_for_the_log_only() {
    let error = cistern_metadata::Error::StampedTwice { prefix: "secret".into() };
    let answer = Refusal::from(ObjectsError::Metadata(error)).into_s3();
    assert!(!answer.message().unwrap().contains("secret"));
    assert!(answer.source().is_some());
    let xml = answer.to_http_response().unwrap().into_body().bytes().unwrap();
    assert!(!String::from_utf8_lossy(&xml).contains("secret"));
}

#[test]
fn words_that_break_their_rule_get_the_code_of_their_word() {
    for (invalid, code) in [
        ("A".parse::<cistern_types::BucketName>().unwrap_err(), "InvalidBucketName"),
        ("".parse::<cistern_types::ObjectKey>().unwrap_err(), "UserKeyMustBeSpecified"),
        ("k".repeat(1025).parse::<cistern_types::ObjectKey>().unwrap_err(), "KeyTooLongError"),
        ("x".parse::<cistern_types::UploadId>().unwrap_err(), "NoSuchUpload"),
        ("GLACIER".parse::<cistern_types::StorageClass>().unwrap_err(), "InvalidStorageClass"),
        ("x".parse::<cistern_types::AccessKeyId>().unwrap_err(), "InvalidArgument"),
    ] {
        assert_eq!(Refusal::from(invalid.clone()).into_s3().code().as_str(), code, "{invalid}");
    }
}
