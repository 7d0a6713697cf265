//! CopyObject: inside the server, under conditions on the source and on what it replaces.

use super::lifecycle::{expiration_of_written, rules_in_force};
use super::{Answer, EXPIRATION, Operations, facts_of, judged, place, shown, version_of, written};
use crate::access_check::check_expected_owner;
use crate::acl::of_new_object;
use crate::checksum::{Fields, kind_of, named};
use crate::encryption::{answer_headers, asked, key_of, key_of_source};
use crate::error_map::Refusal;
use crate::facts::Facts;
use crate::headers::{
    SOURCE_CONDITIONS, etag_of, locks, set, storage_class, stored_headers, tagging, target_conditions, time_of,
};
use crate::judge::Subject;
use crate::notes::Notes;
use crate::operations::{PUT_TAGS, READ_OBJECT, READ_TAGS};
use crate::query::decode;
use cistern_objects::http_headers::conditions;
use cistern_objects::{Attributes, CopyOutcome, CopyRequest, Error, MetadataDirective, Tags, VersionRef};
use cistern_types::{BucketName, ObjectKey};
use http::{HeaderMap, HeaderValue};
use s3s::dto::{CopyObjectInput, CopyObjectOutput, CopyObjectResult, CopySource};
use s3s::{S3Request, S3Response};
use std::borrow::Cow;

/// The source of a copy, which the signer may read, and which version of it.
pub(super) async fn source_of(
    Operations { judge, .. }: &Operations,
    notes: &Notes,
    facts: &Facts<'_>,
    headers: &HeaderMap,
    source: &CopySource,
) -> Result<(BucketName, ObjectKey, Option<VersionRef>), Refusal> {
    let CopySource::Bucket { bucket, key, version_id } = source else {
        return Err(Refusal::not_implemented());
    };
    if key.is_empty() {
        return Err(Refusal::invalid_argument("Invalid copy source object key"));
    }
    let (bucket, key) = place(bucket, &with_spaces(headers, key))?;
    let version = version_of(version_id.as_deref())?;
    let record = judge.bucket(notes.asker(), &READ_OBJECT, (&bucket, Some(key.as_str())), facts).await?;
    let subject = Subject { bucket: &record, key: Some(key.as_str()), version };
    judge.check(notes.asker(), &READ_OBJECT, subject, facts).await?;
    check_expected_owner(headers, "x-amz-source-expected-bucket-owner", record.owner)?;
    Ok((bucket, key, version))
}

/// The key of a copy's source, where a `+` is a space: s3s takes it for one of the key.
fn with_spaces<'a>(headers: &HeaderMap, key: &'a str) -> Cow<'a, str> {
    let source = headers.get("x-amz-copy-source").and_then(|source| source.to_str().ok());
    let Some(source) = source.filter(|source| source.contains('+')) else { return key.into() };
    let (path, _) = source.split_once("?versionId=").unwrap_or((source, ""));
    match decode(path.trim_start_matches('/')).split_once('/') {
        Some((_, key)) => key.to_owned().into(),
        None => key.into(),
    }
}

/// A delete marker that is named as a source is a mistake of the request, not something missing.
pub(super) fn source_refusal(error: Error) -> Refusal {
    match error {
        Error::IsDeleteMarker { .. } => Refusal::invalid_request(
            "The source of a copy request may not specifically refer to a delete marker by version id.",
        ),
        error => error.into(),
    }
}

/// The tags of a copy: those of its source, or with `REPLACE` those of the request.
fn tags_of(headers: &HeaderMap) -> Result<Option<Tags>, Refusal> {
    match headers.get("x-amz-tagging-directive").map_or(b"COPY".as_slice(), HeaderValue::as_bytes) {
        b"COPY" => Ok(None),
        b"REPLACE" => Ok(Some(tagging(headers)?)),
        _ => Err(Refusal::invalid_argument("Unknown tagging directive: use COPY or REPLACE.")),
    }
}

/// Tags go along with a copy: where the source has any, whoever copies must be allowed to read them there and to write them here.
async fn check_copied_tags(
    Operations { objects, judge, .. }: &Operations,
    notes: &Notes,
    facts: &Facts<'_>,
    (bucket, key, version): (&BucketName, &ObjectKey, Option<VersionRef>),
    target_key: &str,
) -> Result<(), Refusal> {
    let bucket = judge.bucket(notes.asker(), &READ_OBJECT, (bucket, Some(key.as_str())), facts).await?;
    // what is not there the copy itself will say
    let Ok(source) = objects.head_in(&bucket, key, version).await else { return Ok(()) };
    if source.attributes.tags.is_empty() {
        return Ok(());
    }
    let subject = Subject { bucket: &bucket, key: Some(key.as_str()), version };
    judge.check(notes.asker(), &READ_TAGS, subject, facts).await?;
    let (target, _) = judged(notes, target_key)?;
    let subject = Subject { bucket: target, key: Some(target_key), version: None };
    judge.check(notes.asker(), &PUT_TAGS, subject, facts).await
}

pub(super) async fn copy_object(
    operations: &Operations,
    notes: &Notes,
    request: S3Request<CopyObjectInput>,
) -> Answer<CopyObjectOutput> {
    let S3Request { input, headers, uri, extensions, .. } = request;
    let target = place(&input.bucket, &input.key)?;
    let facts = facts_of(&headers, &uri, &extensions, notes);
    let (source_bucket, source_key, source_version) =
        source_of(operations, notes, &facts, &headers, &input.copy_source).await?;
    let tags = tags_of(&headers)?;
    if tags.is_none() {
        let source = (&source_bucket, &source_key, source_version);
        check_copied_tags(operations, notes, &facts, source, &input.key).await?;
    }
    let directive = input.metadata_directive.as_ref().map_or("COPY", |directive| directive.as_str());
    let metadata = match directive {
        "COPY" => MetadataDirective::Copy,
        "REPLACE" => MetadataDirective::Replace(stored_headers(&headers)?),
        "MERGE" => MetadataDirective::Merge(stored_headers(&headers)?),
        _ => return Err(Refusal::invalid_argument("Unknown metadata directive: use COPY, REPLACE or MERGE.")),
    };
    let (owner, acl) = of_new_object(notes, &headers)?;
    let (retention, legal_hold) = locks(&headers)?;
    let encryption = asked(&headers)?;
    let customer_key = key_of(&encryption).cloned();
    let copy = CopyRequest {
        source_version,
        source_customer_key: key_of_source(&headers)?,
        encryption,
        tags,
        attributes: Attributes { retention, legal_hold, owner, acl, ..Attributes::default() },
        source_conditions: conditions(&headers, &SOURCE_CONDITIONS),
        target_conditions: target_conditions(&headers),
        metadata,
        class: storage_class(&headers)?,
        checksum: named(&headers, "x-amz-checksum-algorithm")?,
        ..CopyRequest::new((source_bucket, source_key), target)
    };
    let key = copy.target_key.clone();
    let rules = rules_in_force(&operations.objects, notes).await?;
    let CopyOutcome { target: made, source_version } = operations.objects.copy(copy).await.map_err(source_refusal)?;
    let mut own = answer_headers(made.encryption, customer_key.as_ref());
    set(&mut own, EXPIRATION, expiration_of_written(&operations.objects, notes, rules, (&key, &made)).await);
    let sums = Fields::stored(made.checksum.as_ref());
    let output = CopyObjectOutput {
        copy_object_result: Some(CopyObjectResult {
            checksum_crc32: sums.crc32,
            checksum_crc32c: sums.crc32c,
            checksum_crc64nvme: sums.crc64nvme,
            checksum_sha1: sums.sha1,
            checksum_sha256: sums.sha256,
            checksum_type: made.checksum.as_ref().map(|stored| kind_of(stored.kind)),
            e_tag: Some(etag_of(&made.etag)),
            last_modified: Some(time_of(made.modified)),
        }),
        copy_source_version_id: shown(source_version),
        version_id: written(made.shown_version),
        ..CopyObjectOutput::default()
    };
    Ok(S3Response::with_headers(output, own))
}
