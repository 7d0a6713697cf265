//! GetObjectAttributes: what is known about an object, without its bytes.

use super::{Answer, Operations, judged, shown, version_of};
use crate::checksum::{Fields, kind_of};
use crate::encryption::{answer_headers, key_of_request};
use crate::error_map::Refusal;
use crate::headers::{etag_of, size_of, time_of};
use crate::notes::Notes;
use cistern_objects::{ObjectPart, ObjectRecord, Objects, PART_PAGE_MAX};
use s3s::dto::{
    self, Checksum, GetObjectAttributesInput, GetObjectAttributesOutput, GetObjectAttributesParts, StorageClass,
};
use s3s::{S3Request, S3Response};

/// The names that `x-amz-object-attributes` may have.
const NAMES: [&str; 5] = ["ETag", "Checksum", "ObjectParts", "StorageClass", "ObjectSize"];

pub(super) async fn get_object_attributes(
    Operations { objects, .. }: &Operations,
    notes: &Notes,
    request: S3Request<GetObjectAttributesInput>,
) -> Answer<GetObjectAttributesOutput> {
    let S3Request { input, headers, .. } = request;
    let (bucket, key) = judged(notes, &input.key)?;
    // s3s hands over each header line whole
    let asked: Vec<&str> =
        input.object_attributes.iter().flat_map(|line| line.as_str().split(',')).map(str::trim).collect();
    if asked.is_empty() || asked.iter().any(|name| !NAMES.contains(name)) {
        return Err(Refusal::invalid_argument("Invalid attribute name specified."));
    }
    let wants = |name: &str| asked.contains(&name);
    let (version, customer_key) = (version_of(input.version_id.as_deref())?, key_of_request(&headers)?);
    let record = objects.head_in(bucket, &key, version).await?;
    record.check_customer_key(customer_key.as_ref())?;
    let object_parts = match record.parts.filter(|_| wants("ObjectParts")) {
        None => None,
        Some(parts) => {
            let after = u32::try_from(input.part_number_marker.unwrap_or(0).max(0)).unwrap_or(u32::MAX);
            let limit = input.max_parts.map_or(Ok(PART_PAGE_MAX), |max| {
                usize::try_from(max).map_err(|_| Refusal::invalid_argument("x-amz-max-parts cannot be negative"))
            })?;
            Some(parts_of(objects, &record, parts, after, limit).await?)
        }
    };
    let stored = record.checksum.as_ref().filter(|_| wants("Checksum"));
    let checksum = stored.map(|stored| {
        let sums = Fields::stored(Some(stored));
        Checksum {
            checksum_crc32: sums.crc32,
            checksum_crc32c: sums.crc32c,
            checksum_crc64nvme: sums.crc64nvme,
            checksum_sha1: sums.sha1,
            checksum_sha256: sums.sha256,
            checksum_type: Some(kind_of(stored.kind)),
        }
    });
    let output = GetObjectAttributesOutput {
        checksum,
        e_tag: wants("ETag").then(|| etag_of(&record.etag)),
        last_modified: Some(time_of(record.modified)),
        object_parts,
        object_size: wants("ObjectSize").then(|| size_of(record.size)),
        storage_class: wants("StorageClass").then(|| StorageClass::from_static(record.class.s3_name())),
        version_id: shown(record.shown_version),
        ..GetObjectAttributesOutput::default()
    };
    Ok(S3Response::with_headers(output, answer_headers(record.encryption(), customer_key.as_ref())))
}

async fn parts_of(
    objects: &Objects,
    record: &ObjectRecord,
    count: u32,
    after: u32,
    limit: usize,
) -> Result<GetObjectAttributesParts, Refusal> {
    let page = objects.object_parts(record, after, limit).await?;
    let number = |number: u32| i32::try_from(number).unwrap_or(i32::MAX);
    let last = page.last().map_or(after, |part| part.number);
    let truncated = !page.is_empty() && last < count;
    Ok(GetObjectAttributesParts {
        is_truncated: Some(truncated),
        max_parts: i32::try_from(limit.min(PART_PAGE_MAX)).ok(),
        next_part_number_marker: Some(number(last)),
        part_number_marker: Some(number(after)),
        parts: Some(page.iter().map(part_of).collect()),
        total_parts_count: Some(number(count)),
    })
}

fn part_of(part: &ObjectPart) -> dto::ObjectPart {
    let sums = Fields::part(part.checksum.as_ref());
    dto::ObjectPart {
        checksum_crc32: sums.crc32,
        checksum_crc32c: sums.crc32c,
        checksum_crc64nvme: sums.crc64nvme,
        checksum_sha1: sums.sha1,
        checksum_sha256: sums.sha256,
        part_number: i32::try_from(part.number).ok(),
        size: Some(size_of(part.size)),
    }
}
