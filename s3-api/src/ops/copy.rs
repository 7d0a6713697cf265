//! CopyObject: inside the server, under conditions on the source.

use super::{Answer, check_version, place};
use crate::access_check::AccessCheck;
use crate::checksum::{Fields, kind_of, named};
use crate::error_map::Refusal;
use crate::headers::{conditions, etag_of, storage_class, stored_headers, time_of, write_conditions};
use crate::notes::Notes;
use cistern_objects::{CopyRequest, MetadataDirective, Objects};
use cistern_types::{BucketName, ObjectKey};
use s3s::dto::{CopyObjectInput, CopyObjectOutput, CopyObjectResult, CopySource};
use s3s::{S3Request, S3Response};

/// Where the conditions on a copy's source stand.
pub(super) const SOURCE_PREFIX: &str = "x-amz-copy-source-";

/// The source of a copy, which the signer may read.
pub(super) async fn source_of(
    objects: &Objects,
    notes: &Notes,
    source: &CopySource,
) -> Result<(BucketName, ObjectKey), Refusal> {
    let CopySource::Bucket { bucket, key, version_id } = source else {
        return Err(Refusal::not_implemented());
    };
    let (bucket, key) = place(bucket, key)?;
    check_version(version_id.as_deref())?;
    AccessCheck::check_source(objects, notes.identity()?, &bucket).await?;
    Ok((bucket, key))
}

pub(super) async fn copy_object(
    objects: &Objects,
    notes: &Notes,
    request: S3Request<CopyObjectInput>,
) -> Answer<CopyObjectOutput> {
    let S3Request { input, headers, .. } = request;
    let target = place(&input.bucket, &input.key)?;
    let source = source_of(objects, notes, &input.copy_source).await?;
    let directive = input.metadata_directive.as_ref().map_or("COPY", |directive| directive.as_str());
    let metadata = match directive {
        "COPY" => MetadataDirective::Copy,
        "REPLACE" => MetadataDirective::Replace(stored_headers(&headers, input.metadata)?),
        "MERGE" => MetadataDirective::Merge(stored_headers(&headers, input.metadata)?),
        _ => return Err(Refusal::invalid_argument("Unknown metadata directive: use COPY, REPLACE or MERGE.")),
    };
    let copy = CopyRequest {
        source_conditions: conditions(&headers, SOURCE_PREFIX),
        target_conditions: write_conditions(&headers),
        metadata,
        class: storage_class(&headers)?,
        checksum: named(&headers, "x-amz-checksum-algorithm")?,
        ..CopyRequest::new(source, target)
    };
    let made = objects.copy(copy).await?.target;
    let sums = Fields::stored(made.checksum.as_ref());
    Ok(S3Response::new(CopyObjectOutput {
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
        ..CopyObjectOutput::default()
    }))
}
