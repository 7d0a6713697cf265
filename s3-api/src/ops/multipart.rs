//! Multipart uploads: create, parts by body and by copy, lists, complete, abort.

use super::copy::{source_of, source_refusal};
use super::lifecycle::{add_abort, expiration_of_written, rules_in_force};
use super::list::{KeyText, delimiter_of, page_limit, shown_limit};
use super::put::body_checks;
use super::{Answer, EXPIRATION, Operations, facts_of, place, written};
use crate::acl::{of_new_object, owner_of};
use crate::body_stream::RequestBody;
use crate::checksum::{Fields, Trailing, algorithm_of, claimed_of_parts, kind_of, kind_text, named};
use crate::encryption::{answer_headers, asked, customer_key, key_of, key_of_request, key_of_source};
use crate::error_map::Refusal;
use crate::headers::{
    SOURCE_CONDITIONS, attributes, class_of, etag_of, set, size_of, storage_class, stored_headers, time_of,
};
use crate::host::object_url;
use crate::judge::owner_in;
use crate::notes::Notes;
use cistern_access::Identity;
use cistern_objects::http_headers::{conditions, write_conditions};
use cistern_objects::{
    Attributes, ChecksumKind, CompleteUpload, CompletedPart, CreateUpload, ListUploads, ListedPart, ListedUpload,
    Objects, PartCopy, UploadRef,
};
use cistern_types::{ChecksumAlgorithm, StorageClass, UploadId};
use http::HeaderMap;
use s3s::dto::{
    self, AbortMultipartUploadInput, AbortMultipartUploadOutput, CompleteMultipartUploadInput,
    CompleteMultipartUploadOutput, CopyPartResult, CreateMultipartUploadInput, CreateMultipartUploadOutput, Initiator,
    ListMultipartUploadsInput, ListMultipartUploadsOutput, ListPartsInput, ListPartsOutput, MultipartUpload, Owner,
    Part, UploadPartCopyInput, UploadPartCopyOutput, UploadPartInput, UploadPartOutput,
};
use s3s::{S3Request, S3Response};
use std::ops::Range;

/// The highest part number, as S3 has it.
const PART_NUMBER_MAX: u16 = 10_000;

fn upload_of(bucket: &str, key: &str, upload: &str) -> Result<UploadRef, Refusal> {
    let (bucket, key) = place(bucket, key)?;
    Ok(UploadRef { bucket, key, upload: upload.parse()? })
}

fn part_number(number: i32) -> Result<u16, Refusal> {
    let number = u16::try_from(number).ok().filter(|number| (1..=PART_NUMBER_MAX).contains(number));
    number.ok_or_else(|| Refusal::invalid_argument("Part number must be an integer between 1 and 10000, inclusive"))
}

/// Refuses an upload to who neither began it nor owns the bucket.
async fn check_uploader(objects: &Objects, notes: &Notes, at: &UploadRef) -> Result<(), Refusal> {
    let asker = notes.asker().map(Identity::owner_id);
    if asker == Some(notes.bucket()?.owner) || asker == Some(objects.parts(at, 0, 0).await?.initiator.id) {
        return Ok(());
    }
    Err(Refusal::access_denied())
}

/// `x-amz-checksum-type`
fn checksum_kind(headers: &HeaderMap) -> Result<Option<ChecksumKind>, Refusal> {
    match headers.get("x-amz-checksum-type").map(http::HeaderValue::as_bytes) {
        None => Ok(None),
        Some(b"FULL_OBJECT") => Ok(Some(ChecksumKind::FullObject)),
        Some(b"COMPOSITE") => Ok(Some(ChecksumKind::Composite)),
        Some(_) => Err(Refusal::invalid_request("Value for x-amz-checksum-type header is invalid.")),
    }
}

/// The checksum an upload's object gets: `x-amz-checksum-algorithm` and `x-amz-checksum-type`.
fn upload_checksum(headers: &HeaderMap) -> Result<Option<(ChecksumAlgorithm, ChecksumKind)>, Refusal> {
    match (named(headers, "x-amz-checksum-algorithm")?, checksum_kind(headers)?) {
        (None, None) => Ok(None),
        (None, Some(_)) => Err(Refusal::invalid_request(
            "The x-amz-checksum-type header can only be used with the x-amz-checksum-algorithm header.",
        )),
        (Some(algorithm), kind) => {
            let kind = kind.unwrap_or_else(|| ChecksumKind::default_for(algorithm));
            if !kind.fits(algorithm) {
                let kind = kind_text(kind);
                return Err(Refusal::invalid_request(format!(
                    "The {kind} checksum type cannot be used with the {algorithm} checksum algorithm."
                )));
            }
            Ok(Some((algorithm, kind)))
        }
    }
}

pub(super) async fn create_multipart_upload(
    Operations { objects, .. }: &Operations,
    notes: &Notes,
    request: S3Request<CreateMultipartUploadInput>,
) -> Answer<CreateMultipartUploadOutput> {
    let S3Request { input, headers, .. } = request;
    let (bucket, key) = place(&input.bucket, &input.key)?;
    let checksum = upload_checksum(&headers)?;
    let (owner, acl) = of_new_object(notes, &headers)?;
    let bucket_owner = notes.bucket()?.owned_by();
    let encryption = asked(&headers)?;
    let customer_key = key_of(&encryption).cloned();
    let create = CreateUpload {
        bucket,
        key,
        headers: stored_headers(&headers)?,
        attributes: Attributes { owner, acl, ..attributes(&headers)? },
        encryption,
        class: storage_class(&headers)?,
        checksum,
        initiator: notes.asker().map_or_else(|| bucket_owner.clone(), Identity::owner),
    };
    let (key, rules) = (create.key.clone(), rules_in_force(objects, notes).await?);
    let begun = objects.create_upload(create).await?;
    let mut own = answer_headers(begun.encryption, customer_key.as_ref());
    add_abort(rules.as_ref(), (&key, begun.initiated), &mut own);
    let output = CreateMultipartUploadOutput {
        bucket: Some(input.bucket),
        checksum_algorithm: checksum.map(|(algorithm, _)| algorithm_of(algorithm)),
        checksum_type: checksum.map(|(_, kind)| kind_of(kind)),
        key: Some(input.key),
        upload_id: Some(begun.upload.to_string()),
        ..CreateMultipartUploadOutput::default()
    };
    Ok(S3Response::with_headers(output, own))
}

pub(super) async fn upload_part(
    Operations { objects, .. }: &Operations,
    notes: &Notes,
    request: S3Request<UploadPartInput>,
) -> Answer<UploadPartOutput> {
    let S3Request { input, headers, trailing_headers, extensions, .. } = request;
    let at = upload_of(&input.bucket, &input.key, &input.upload_id)?;
    let number = part_number(input.part_number)?;
    check_uploader(objects, notes, &at).await?;
    let checks = body_checks(&headers, Trailing::of(trailing_headers, &extensions))?;
    let customer_key = key_of_request(&headers)?;
    let body = RequestBody::new(input.body);
    let part = objects.put_part(&at, number, customer_key.as_ref(), checks, body).await?;
    let sums = Fields::part(part.checksum.as_ref());
    let output = UploadPartOutput {
        checksum_crc32: sums.crc32,
        checksum_crc32c: sums.crc32c,
        checksum_crc64nvme: sums.crc64nvme,
        checksum_sha1: sums.sha1,
        checksum_sha256: sums.sha256,
        e_tag: Some(etag_of(&part.etag)),
        ..UploadPartOutput::default()
    };
    Ok(S3Response::with_headers(output, answer_headers(part.encryption, customer_key.as_ref())))
}

pub(super) async fn upload_part_copy(
    operations: &Operations,
    notes: &Notes,
    request: S3Request<UploadPartCopyInput>,
) -> Answer<UploadPartCopyOutput> {
    let S3Request { input, headers, uri, extensions, .. } = request;
    let at = upload_of(&input.bucket, &input.key, &input.upload_id)?;
    let number = part_number(input.part_number)?;
    check_uploader(&operations.objects, notes, &at).await?;
    let request_facts = facts_of(&headers, &uri, &extensions, notes);
    let (source_bucket, source_key, source_version) =
        source_of(operations, notes, &request_facts, &headers, &input.copy_source).await?;
    let customer_key = key_of_request(&headers)?;
    let source = PartCopy {
        source_bucket,
        source_key,
        source_version,
        source_conditions: conditions(&headers, &SOURCE_CONDITIONS),
        range: input.copy_source_range.as_deref().map(source_range).transpose()?,
        source_customer_key: key_of_source(&headers)?,
        customer_key: customer_key.clone(),
    };
    let part = operations.objects.copy_part(&at, number, source).await.map_err(source_refusal)?;
    let sums = Fields::part(part.checksum.as_ref());
    let output = UploadPartCopyOutput {
        copy_part_result: Some(CopyPartResult {
            checksum_crc32: sums.crc32,
            checksum_crc32c: sums.crc32c,
            checksum_crc64nvme: sums.crc64nvme,
            checksum_sha1: sums.sha1,
            checksum_sha256: sums.sha256,
            e_tag: Some(etag_of(&part.etag)),
            last_modified: Some(time_of(part.modified)),
        }),
        ..UploadPartCopyOutput::default()
    };
    Ok(S3Response::with_headers(output, answer_headers(part.encryption, customer_key.as_ref())))
}

/// `bytes=first-last`: unlike in a GET, both are needed.
fn source_range(text: &str) -> Result<Range<u64>, Refusal> {
    let parsed = text.strip_prefix("bytes=").and_then(|range| range.split_once('-')).and_then(|(first, last)| {
        let (first, last): (u64, u64) = (first.parse().ok()?, last.parse().ok()?);
        Some(first..last.checked_add(1)?).filter(|range| !range.is_empty())
    });
    parsed.ok_or_else(|| {
        Refusal::invalid_argument(
            "The x-amz-copy-source-range value must be of the form bytes=first-last where first and last are the \
             zero-based offsets of the first and last bytes to copy",
        )
    })
}

pub(super) async fn list_parts(
    Operations { objects, .. }: &Operations,
    notes: &Notes,
    request: S3Request<ListPartsInput>,
) -> Answer<ListPartsOutput> {
    let input = request.input;
    let at = upload_of(&input.bucket, &input.key, &input.upload_id)?;
    check_uploader(objects, notes, &at).await?;
    let limit = page_limit(input.max_parts)?;
    let marker = input.part_number_marker.unwrap_or(0);
    let after = u16::try_from(marker.max(0)).unwrap_or(u16::MAX);
    let page = objects.parts(&at, after, limit).await?;
    let owner = owner_of(&owner_in(notes.bucket()?, Some(page.initiator.clone())));
    let last = page.parts.last().map(|part| i32::from(part.number));
    let mut own = HeaderMap::new();
    add_abort(rules_in_force(objects, notes).await?.as_ref(), (&at.key, page.initiated), &mut own);
    let output = ListPartsOutput {
        bucket: Some(input.bucket),
        checksum_algorithm: page.checksum.map(|(algorithm, _)| algorithm_of(algorithm)),
        checksum_type: page.checksum.map(|(_, kind)| kind_of(kind)),
        initiator: Some(initiator_of(&owner_of(&page.initiator))),
        is_truncated: Some(page.next.is_some()),
        key: Some(input.key),
        max_parts: Some(shown_limit(limit)),
        next_part_number_marker: last,
        owner: Some(owner),
        part_number_marker: Some(marker),
        parts: Some(page.parts.iter().map(part_of).collect()),
        storage_class: Some(dto::StorageClass::from_static(page.class.s3_name())),
        upload_id: Some(input.upload_id),
        ..ListPartsOutput::default()
    };
    Ok(S3Response::with_headers(output, own))
}

fn part_of(part: &ListedPart) -> Part {
    let sums = Fields::part(part.checksum.as_ref());
    Part {
        checksum_crc32: sums.crc32,
        checksum_crc32c: sums.crc32c,
        checksum_crc64nvme: sums.crc64nvme,
        checksum_sha1: sums.sha1,
        checksum_sha256: sums.sha256,
        e_tag: Some(etag_of(&part.etag)),
        last_modified: Some(time_of(part.modified)),
        part_number: Some(i32::from(part.number)),
        size: Some(size_of(part.size)),
    }
}

fn initiator_of(owner: &Owner) -> Initiator {
    Initiator { display_name: owner.display_name.clone(), id: owner.id.clone() }
}

pub(super) async fn list_multipart_uploads(
    Operations { objects, .. }: &Operations,
    _notes: &Notes,
    request: S3Request<ListMultipartUploadsInput>,
) -> Answer<ListMultipartUploadsOutput> {
    let input = request.input;
    let (text, limit) = (KeyText::asked(input.encoding_type.as_ref())?, page_limit(input.max_uploads)?);
    let delimiter = delimiter_of(input.delimiter);
    // Without a key marker S3 ignores the upload marker, whatever it is.
    let marker = input.upload_id_marker.as_deref().filter(|id| input.key_marker.is_some() && !id.is_empty());
    let upload_marker = marker.map(str::parse::<UploadId>).transpose();
    let upload_marker = upload_marker.map_err(|_| Refusal::invalid_argument("Invalid uploadId marker"))?;
    let list = ListUploads {
        bucket: input.bucket.parse()?,
        prefix: input.prefix.clone().unwrap_or_default(),
        delimiter: delimiter.clone(),
        key_marker: input.key_marker.clone(),
        upload_marker,
        limit,
    };
    let page = objects.uploads(list).await?;
    let (next_key, next_upload) = page.next.map_or((None, None), |(key, upload)| (Some(key), upload));
    Ok(S3Response::new(ListMultipartUploadsOutput {
        bucket: Some(input.bucket),
        common_prefixes: text.prefixes(&page.prefixes),
        delimiter: delimiter.map(|delimiter| text.write(&delimiter)),
        encoding_type: input.encoding_type,
        is_truncated: Some(next_key.is_some()),
        key_marker: Some(text.write(&input.key_marker.unwrap_or_default())),
        max_uploads: Some(shown_limit(limit)),
        next_key_marker: next_key.map(|key| text.write(&key)),
        next_upload_id_marker: next_upload.map(|upload| upload.to_string()),
        prefix: Some(text.write(&input.prefix.unwrap_or_default())),
        request_charged: None,
        upload_id_marker: input.upload_id_marker,
        uploads: Some(page.uploads.iter().map(|upload| listed_upload(upload, text)).collect()),
    }))
}

fn listed_upload(upload: &ListedUpload, text: KeyText) -> MultipartUpload {
    let owner = owner_of(&upload.initiator);
    let class =
        class_of(upload.class).unwrap_or_else(|| dto::StorageClass::from_static(StorageClass::Standard.s3_name()));
    MultipartUpload {
        checksum_algorithm: upload.checksum.map(|(algorithm, _)| algorithm_of(algorithm)),
        checksum_type: upload.checksum.map(|(_, kind)| kind_of(kind)),
        initiated: Some(time_of(upload.initiated)),
        initiator: Some(initiator_of(&owner)),
        key: Some(text.write(upload.key.as_str())),
        owner: Some(owner),
        storage_class: Some(class),
        upload_id: Some(upload.upload.to_string()),
    }
}

pub(super) async fn complete_multipart_upload(
    Operations { objects, hosts, .. }: &Operations,
    notes: &Notes,
    request: S3Request<CompleteMultipartUploadInput>,
) -> Answer<CompleteMultipartUploadOutput> {
    let S3Request { input, headers, extensions, .. } = request;
    let at = upload_of(&input.bucket, &input.key, &input.upload_id)?;
    let named = input.multipart_upload.and_then(|upload| upload.parts).unwrap_or_default();
    if named.is_empty() || named.len() > usize::from(PART_NUMBER_MAX) {
        return Err(Refusal::malformed_xml());
    }
    check_uploader(objects, notes, &at).await?;
    let size = input.mpu_object_size.map(u64::try_from).transpose();
    let customer_key = customer_key(&headers)?;
    let complete = CompleteUpload {
        parts: named.iter().map(completed_part).collect::<Result<_, _>>()?,
        conditions: write_conditions(&headers),
        checksum: claimed_of_parts(&headers)?,
        checksum_kind: checksum_kind(&headers)?,
        size: size.map_err(|_| Refusal::invalid_request("Value for x-amz-mp-object-size header is invalid."))?,
        customer_key: customer_key.clone(),
    };
    let rules = rules_in_force(objects, notes).await?;
    let made = objects.complete_upload(&at, complete).await?;
    let mut own = answer_headers(made.encryption, customer_key.as_ref());
    set(&mut own, EXPIRATION, expiration_of_written(objects, notes, rules, (&at.key, &made)).await);
    let sums = Fields::stored(made.checksum.as_ref());
    let place = (at.bucket.as_str(), at.key.as_str());
    let output = CompleteMultipartUploadOutput {
        checksum_crc32: sums.crc32,
        checksum_crc32c: sums.crc32c,
        checksum_crc64nvme: sums.crc64nvme,
        checksum_sha1: sums.sha1,
        checksum_sha256: sums.sha256,
        checksum_type: made.checksum.as_ref().map(|stored| kind_of(stored.kind)),
        e_tag: Some(etag_of(&made.etag)),
        location: Some(object_url(hosts.as_ref(), &headers, &extensions, place)),
        bucket: Some(input.bucket),
        key: Some(input.key),
        version_id: written(made.shown_version),
        ..CompleteMultipartUploadOutput::default()
    };
    Ok(S3Response::with_headers(output, own))
}

fn completed_part(part: &dto::CompletedPart) -> Result<CompletedPart, Refusal> {
    let number = part_number(part.part_number.ok_or_else(Refusal::malformed_xml)?)?;
    let tag = part.e_tag.as_ref().ok_or_else(Refusal::malformed_xml)?.value();
    // A tag that is none is the tag of no part.
    let etag = tag.parse().map_err(|_| Refusal::from(cistern_objects::Error::InvalidPart { number }))?;
    Ok(CompletedPart { number, etag, checksum: Fields::from(part).only()? })
}

pub(super) async fn abort_multipart_upload(
    Operations { objects, .. }: &Operations,
    notes: &Notes,
    request: S3Request<AbortMultipartUploadInput>,
) -> Answer<AbortMultipartUploadOutput> {
    let input = request.input;
    let at = upload_of(&input.bucket, &input.key, &input.upload_id)?;
    check_uploader(objects, notes, &at).await?;
    objects.abort_upload(&at).await?;
    Ok(S3Response::with_status(AbortMultipartUploadOutput::default(), http::StatusCode::NO_CONTENT))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_range_needs_both_ends_in_order() {
        assert_eq!(source_range("bytes=0-0").unwrap(), 0..1);
        assert_eq!(source_range("bytes=5-9").unwrap(), 5..10);
        for bad in ["0-1", "bytes=1-0", "bytes=1-", "bytes=-1", "bytes=a-b", "bytes=0-18446744073709551615", ""] {
            assert!(source_range(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn an_upload_takes_the_checksums_that_s3_has() {
        let check = |pairs: &[(&'static str, &str)]| {
            let pairs = pairs.iter().map(|(name, value)| ((*name).parse().unwrap(), value.parse().unwrap()));
            upload_checksum(&pairs.collect()).ok()
        };
        let (algorithm, kind) = ("x-amz-checksum-algorithm", "x-amz-checksum-type");
        assert_eq!(check(&[]), Some(None));
        let crc32 = ChecksumAlgorithm::Crc32;
        assert_eq!(check(&[(algorithm, "CRC32")]), Some(Some((crc32, ChecksumKind::Composite))));
        assert_eq!(
            check(&[(algorithm, "CRC32"), (kind, "FULL_OBJECT")]),
            Some(Some((crc32, ChecksumKind::FullObject)))
        );
        assert_eq!(check(&[(algorithm, "SHA256"), (kind, "FULL_OBJECT")]), None);
        assert_eq!(check(&[(algorithm, "CRC64NVME"), (kind, "COMPOSITE")]), None);
        assert_eq!(check(&[(kind, "COMPOSITE")]), None);
        assert_eq!(check(&[(algorithm, "CRC32"), (kind, "BOTH")]), None);
    }
}
