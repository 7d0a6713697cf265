//! GetObject and HeadObject: an object's bytes and headers, under conditions and by range or part.

use super::lifecycle::expiration_of;
use super::lock::LockFields;
use super::{Answer, Operations, judged, shown, version_of};
use crate::body_stream::AnswerBody;
use crate::checksum::{Fields, kind_of};
use crate::encryption::{answer_headers, key_of_request};
use crate::error_map::Refusal;
use crate::headers::{
    class_of, content_headers, etag_of, metadata_of, not_modified_headers, range, read_conditions, size_of, time_of,
};
use crate::notes::Notes;
use cistern_objects::{BucketRecord, ByteRange, Error, ObjectRecord, Objects, VersionRef};
use cistern_types::{Checksum, ObjectKey};
use http::header::{CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_TYPE, EXPIRES};
use http::{HeaderMap, HeaderValue};
use s3s::dto::{ChecksumMode, ChecksumType, GetObjectInput, GetObjectOutput, HeadObjectInput, HeadObjectOutput};
use s3s::{S3Request, S3Response};
use std::ops::Range;

/// What `Range` or `partNumber` asks for.
fn byte_range(headers: &HeaderMap, part: Option<i32>) -> Result<Option<ByteRange>, Refusal> {
    match (range(headers), part) {
        (Some(_), Some(_)) => {
            Err(Refusal::invalid_request("Cannot specify both Range header and partNumber query parameter"))
        }
        (Some(range), None) => Ok(Some(range)),
        (None, Some(part)) => {
            let number = u32::try_from(part).ok().filter(|number| (1..=10_000).contains(number));
            let number = number.ok_or_else(|| {
                Refusal::invalid_argument("Part number must be an integer between 1 and 10000, inclusive")
            })?;
            Ok(Some(ByteRange::Part(number)))
        }
        (None, None) => Ok(None),
    }
}

/// A 304 tells which state the client has, so the record is read again for it.
async fn refused(
    objects: &Objects,
    bucket: &BucketRecord,
    key: &ObjectKey,
    version: Option<VersionRef>,
    error: Error,
) -> Refusal {
    if !matches!(error, Error::NotModified) {
        return error.into();
    }
    match objects.head_in(bucket, key, version).await {
        Ok(record) => Refusal::from(error).with_headers(not_modified_headers(&record)),
        Err(error) => error.into(),
    }
}

pub(super) async fn get_object(
    Operations { objects, .. }: &Operations,
    notes: &Notes,
    request: S3Request<GetObjectInput>,
) -> Answer<GetObjectOutput> {
    let S3Request { input, headers, .. } = request;
    let (bucket, key) = judged(notes, &input.key)?;
    let version = version_of(input.version_id.as_deref())?;
    let range = byte_range(&headers, input.part_number)?;
    let customer_key = key_of_request(&headers)?;
    let conditions = read_conditions(&headers);
    let read = objects.get_in(bucket, &key, version, range, &conditions, customer_key.as_ref()).await;
    let read = match read {
        Ok(read) => read,
        Err(error) => return Err(refused(objects, bucket, &key, version, error).await),
    };
    let (record, range) = (read.record, read.asked);
    let expiration = expiration_of(objects, notes, &record, version.is_some()).await?;
    let whole = read.range == (0..record.size);
    let length = read.range.end - read.range.start;
    let wanted = wants_checksum(input.checksum_mode.as_ref());
    let (sums, kind) = checksum_of(&record, read.part_checksum.as_ref(), whole, wanted);
    let content_range = range.and_then(|_| content_range(&read.range, record.size));
    let locks = LockFields::of(&record.attributes);
    let (metadata, missing_meta) = metadata_of(&record.headers);
    let output = GetObjectOutput {
        accept_ranges: Some("bytes".into()),
        body: Some(AnswerBody::blob(read.body, length)),
        checksum_crc32: sums.crc32,
        checksum_crc32c: sums.crc32c,
        checksum_crc64nvme: sums.crc64nvme,
        checksum_sha1: sums.sha1,
        checksum_sha256: sums.sha256,
        checksum_type: kind,
        content_length: Some(size_of(length)),
        content_range,
        e_tag: Some(etag_of(&record.etag)),
        expiration,
        last_modified: Some(time_of(record.modified)),
        metadata,
        missing_meta,
        object_lock_legal_hold_status: locks.legal_hold_status,
        object_lock_mode: locks.mode,
        object_lock_retain_until_date: locks.retain_until,
        parts_count: parts_count(&record, range),
        storage_class: class_of(record.class),
        tag_count: tag_count(&record),
        version_id: shown(record.shown_version),
        ..GetObjectOutput::default()
    };
    let mut own = content_headers(&record.headers);
    // s3s has put what the request overrides into the answer already; ours would go over it.
    for (overridden, name) in [
        (input.response_cache_control.is_some(), CACHE_CONTROL),
        (input.response_content_disposition.is_some(), CONTENT_DISPOSITION),
        (input.response_content_encoding.is_some(), CONTENT_ENCODING),
        (input.response_content_language.is_some(), CONTENT_LANGUAGE),
        (input.response_content_type.is_some(), CONTENT_TYPE),
        (input.response_expires.is_some(), EXPIRES),
    ] {
        if overridden && notes.asker().is_none() {
            // somebody's upload must not become a page of this origin
            return Err(Refusal::invalid_request(
                "Request specific response headers cannot be used for anonymous GET requests.",
            ));
        }
        if overridden {
            own.remove(name);
        }
    }
    own.extend(answer_headers(record.encryption(), customer_key.as_ref()));
    Ok(S3Response::with_headers(output, own))
}

pub(super) async fn head_object(
    Operations { objects, .. }: &Operations,
    notes: &Notes,
    request: S3Request<HeadObjectInput>,
) -> Answer<HeadObjectOutput> {
    let S3Request { input, headers, .. } = request;
    let (bucket, key) = judged(notes, &input.key)?;
    let version = version_of(input.version_id.as_deref())?;
    let customer_key = key_of_request(&headers)?;
    let record = objects.head_in(bucket, &key, version).await?;
    let range = byte_range(&headers, input.part_number)?;
    record.check_part(range)?;
    record.check_customer_key(customer_key.as_ref())?;
    let conditions = read_conditions(&headers);
    if let Err(error) = conditions.check_read(&record) {
        let not_modified = matches!(error, Error::NotModified);
        let refusal = Refusal::from(error);
        return Err(if not_modified { refusal.with_headers(not_modified_headers(&record)) } else { refusal });
    }
    let range = conditions.range_of(&record, range);
    let part = match range {
        Some(ByteRange::Part(number)) => Some(objects.object_part(&record, number).await?),
        _ => None,
    };
    let bytes = range.map(|range| range.of_size(record.size)).transpose()?.flatten();
    let length = bytes.as_ref().map(|bytes| bytes.end - bytes.start).or(part.as_ref().map(|part| part.size));
    let length = length.unwrap_or(record.size);
    let wanted = wants_checksum(input.checksum_mode.as_ref());
    let part_checksum = part.as_ref().and_then(|part| part.checksum.as_ref());
    let (sums, kind) = checksum_of(&record, part_checksum, length == record.size, wanted);
    let locks = LockFields::of(&record.attributes);
    let (metadata, missing_meta) = metadata_of(&record.headers);
    let content_range = bytes.and_then(|bytes| content_range(&bytes, record.size));
    let output = HeadObjectOutput {
        accept_ranges: Some("bytes".into()),
        checksum_crc32: sums.crc32,
        checksum_crc32c: sums.crc32c,
        checksum_crc64nvme: sums.crc64nvme,
        checksum_sha1: sums.sha1,
        checksum_sha256: sums.sha256,
        checksum_type: kind,
        content_length: Some(size_of(length)),
        content_range,
        e_tag: Some(etag_of(&record.etag)),
        expiration: expiration_of(objects, notes, &record, version.is_some()).await?,
        last_modified: Some(time_of(record.modified)),
        metadata,
        missing_meta,
        object_lock_legal_hold_status: locks.legal_hold_status,
        object_lock_mode: locks.mode,
        object_lock_retain_until_date: locks.retain_until,
        parts_count: parts_count(&record, range),
        storage_class: class_of(record.class),
        version_id: shown(record.shown_version),
        ..HeadObjectOutput::default()
    };
    let mut own = content_headers(&record.headers);
    own.extend(answer_headers(record.encryption(), customer_key.as_ref()));
    if let Some(count) = tag_count(&record) {
        own.insert("x-amz-tagging-count", HeaderValue::from(count)); // s3s has no field for it
    }
    Ok(S3Response::with_headers(output, own))
}

/// `Content-Range`; of no bytes there is none.
fn content_range(bytes: &Range<u64>, size: u64) -> Option<String> {
    (!bytes.is_empty()).then(|| format!("bytes {}-{}/{size}", bytes.start, bytes.end - 1))
}

/// The checksum of an answer: that of the part that was asked for, that of the object when all of it was, otherwise none.
fn checksum_of(
    record: &ObjectRecord,
    part: Option<&Checksum>,
    whole: bool,
    wanted: bool,
) -> (Fields, Option<ChecksumType>) {
    let Some(stored) = record.checksum.as_ref().filter(|_| wanted) else { return (Fields::default(), None) };
    match part {
        Some(part) => (Fields::part(Some(part)), Some(kind_of(stored.kind))),
        None if whole => (Fields::stored(Some(stored)), Some(kind_of(stored.kind))),
        None => (Fields::default(), None),
    }
}

/// S3 says how many tags there are when there are any.
fn tag_count(record: &ObjectRecord) -> Option<i32> {
    i32::try_from(record.attributes.tags.len()).ok().filter(|count| *count > 0)
}

fn wants_checksum(mode: Option<&ChecksumMode>) -> bool {
    mode.is_some_and(|mode| mode.as_str() == ChecksumMode::ENABLED)
}

/// S3 tells how many parts there are to those who ask for one.
fn parts_count(record: &ObjectRecord, range: Option<ByteRange>) -> Option<i32> {
    let parts = record.parts.filter(|_| matches!(range, Some(ByteRange::Part(_))))?;
    i32::try_from(parts).ok()
}
