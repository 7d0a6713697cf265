//! Versions: whether a bucket keeps them, and the list of them.

use super::list::{KeyText, delimiter_of, object_of, page_limit, shown_limit};
use super::{Answer, Operations, version_of};
use crate::acl::owner_of;
use crate::error_map::Refusal;
use crate::headers::time_of;
use crate::notes::Notes;
use cistern_objects::{BucketRecord, ListVersions, ListedVersion, Versioning};
use s3s::dto::{
    BucketVersioningStatus, DeleteMarkerEntry, GetBucketVersioningInput, GetBucketVersioningOutput,
    ListObjectVersionsInput, ListObjectVersionsOutput, ObjectVersion, ObjectVersionStorageClass,
    PutBucketVersioningInput, PutBucketVersioningOutput,
};
use s3s::{S3Request, S3Response};

pub(super) async fn get_bucket_versioning(
    Operations { objects, .. }: &Operations,
    _notes: &Notes,
    request: S3Request<GetBucketVersioningInput>,
) -> Answer<GetBucketVersioningOutput> {
    let bucket = objects.bucket(&request.input.bucket.parse()?).await?;
    let status = match bucket.settings.versioning {
        Versioning::Unversioned => None,
        Versioning::Enabled => Some(BucketVersioningStatus::ENABLED),
        Versioning::Suspended => Some(BucketVersioningStatus::SUSPENDED),
    };
    let status = status.map(BucketVersioningStatus::from_static);
    Ok(S3Response::new(GetBucketVersioningOutput { status, ..GetBucketVersioningOutput::default() }))
}

pub(super) async fn put_bucket_versioning(
    Operations { objects, .. }: &Operations,
    _notes: &Notes,
    request: S3Request<PutBucketVersioningInput>,
) -> Answer<PutBucketVersioningOutput> {
    let bucket = request.input.bucket.parse()?;
    let asked = request.input.versioning_configuration;
    if asked.mfa_delete.is_some_and(|mfa| mfa.as_str() != "Disabled") {
        return Err(Refusal::not_implemented());
    }
    let enabled = match asked.status.as_ref().map(BucketVersioningStatus::as_str) {
        Some(BucketVersioningStatus::ENABLED) => true,
        Some(BucketVersioningStatus::SUSPENDED) => false,
        _ => return Err(Refusal::malformed_xml()),
    };
    objects.set_versioning(&bucket, enabled).await?;
    Ok(S3Response::new(PutBucketVersioningOutput::default()))
}

pub(super) async fn list_object_versions(
    Operations { objects, .. }: &Operations,
    notes: &Notes,
    request: S3Request<ListObjectVersionsInput>,
) -> Answer<ListObjectVersionsOutput> {
    let input = request.input;
    let (text, limit) = (KeyText::asked(input.encoding_type.as_ref())?, page_limit(input.max_keys)?);
    let delimiter = delimiter_of(input.delimiter);
    let key_marker = input.key_marker.clone().filter(|marker| !marker.is_empty());
    let version_marker = input.version_id_marker.as_deref().filter(|marker| !marker.is_empty());
    if version_marker.is_some() && key_marker.is_none() {
        return Err(Refusal::invalid_argument("A version-id marker cannot be specified without a key marker."));
    }
    let list = ListVersions {
        bucket: input.bucket.parse()?,
        prefix: input.prefix.clone().unwrap_or_default(),
        delimiter: delimiter.clone(),
        key_marker,
        version_marker: version_of(version_marker)?,
        limit,
    };
    let page = objects.versions(list).await?;
    let bucket = notes.bucket()?;
    let (mut versions, mut markers) = (Vec::new(), Vec::new());
    for listed in page.versions {
        match listed {
            ListedVersion::Object { .. } => versions.extend(version_entry(&listed, text, bucket)),
            ListedVersion::DeleteMarker { key, version, modified, latest } => markers.push(DeleteMarkerEntry {
                is_latest: Some(latest),
                key: Some(text.write(key.as_str())),
                last_modified: Some(time_of(modified)),
                owner: Some(owner_of(&bucket.owned_by())),
                version_id: Some(version.to_string()),
            }),
        }
    }
    let truncated = page.next.is_some();
    // Clients hand both markers back together; after a common prefix there is no version, and an empty marker names none.
    let (next_key, next_version) = page.next.map_or((None, None), |(key, version)| {
        (Some(text.write(&key)), Some(version.map_or_else(String::new, |version| version.to_string())))
    });
    Ok(S3Response::new(ListObjectVersionsOutput {
        common_prefixes: text.prefixes(&page.prefixes),
        delete_markers: Some(markers).filter(|markers| !markers.is_empty()),
        delimiter: delimiter.map(|delimiter| text.write(&delimiter)),
        encoding_type: input.encoding_type,
        is_truncated: Some(truncated),
        key_marker: Some(text.write(&input.key_marker.unwrap_or_default())),
        max_keys: Some(shown_limit(limit)),
        name: Some(input.bucket),
        next_key_marker: next_key,
        next_version_id_marker: next_version,
        prefix: Some(text.write(&input.prefix.unwrap_or_default())),
        request_charged: None,
        version_id_marker: Some(input.version_id_marker.unwrap_or_default()),
        versions: Some(versions).filter(|versions| !versions.is_empty()),
    }))
}

fn version_entry(listed: &ListedVersion, text: KeyText, bucket: &BucketRecord) -> Option<ObjectVersion> {
    let ListedVersion::Object { object: listed, version, latest } = listed else { return None };
    let object = object_of(listed, text, Some(bucket));
    Some(ObjectVersion {
        checksum_algorithm: object.checksum_algorithm,
        checksum_type: object.checksum_type,
        e_tag: object.e_tag,
        is_latest: Some(*latest),
        key: object.key,
        last_modified: object.last_modified,
        owner: object.owner,
        restore_status: None,
        size: object.size,
        storage_class: Some(ObjectVersionStorageClass::from_static(listed.class.s3_name())),
        version_id: Some(version.to_string()),
    })
}
