//! The lifecycle rules of a bucket: set, read, removed; and when an object expires by them or an upload is aborted, for answers about
//! it.

use super::{Answer, Operations};
use crate::error_map::Refusal;
use crate::headers::set;
use crate::lifecycle::{Candidate, LifecycleConfiguration, LifecycleError};
use crate::notes::Notes;
use crate::query::encode_for_list;
use cistern_objects::http_headers::http_date_text;
use cistern_objects::{CONFIGURATION_BYTES_MAX, ConfigurationKind, ObjectRecord, Objects, PutOutcome};
use cistern_types::{BucketName, ObjectKey, Timestamp};
use http::{HeaderMap, HeaderName};
use s3s::dto::{
    DeleteBucketLifecycleInput, DeleteBucketLifecycleOutput, GetBucketLifecycleConfigurationInput,
    GetBucketLifecycleConfigurationOutput, PutBucketLifecycleConfigurationInput, PutBucketLifecycleConfigurationOutput,
};
use s3s::{S3Request, S3Response};

/// How many random bytes an ID has that nobody gave; twice as many hex digits.
const ID_BYTES: usize = 24;

async fn rules_of(objects: &Objects, bucket: &BucketName) -> Result<Option<LifecycleConfiguration>, Refusal> {
    let text = objects.configuration(bucket, ConfigurationKind::Lifecycle).await?;
    text.map(|text| serde_json::from_str(&text).map_err(Refusal::internal)).transpose()
}

/// The rules of the request's bucket; they are read only where there are some.
pub(super) async fn rules_in_force(
    objects: &Objects,
    notes: &Notes,
) -> Result<Option<LifecycleConfiguration>, Refusal> {
    let bucket = notes.bucket()?;
    if bucket.has(ConfigurationKind::Lifecycle) { rules_of(objects, &bucket.name).await } else { Ok(None) }
}

/// `x-amz-expiration` of an object that was read. One that was asked for by version may not be the current one, which is
/// what expires, so it has none.
pub(super) async fn expiration_of(
    objects: &Objects,
    notes: &Notes,
    record: &ObjectRecord,
    by_version: bool,
) -> Result<Option<String>, Refusal> {
    if by_version {
        return Ok(None);
    }
    let rules = rules_in_force(objects, notes).await?;
    Ok(rules.and_then(|rules| rules.expiration_header(&candidate(record))))
}

/// `x-amz-expiration` of the object that was just written at `key`; of one that has been replaced since there is none. `rules` were
/// read before: once the object is there, nothing must turn the answer into an error.
pub(super) async fn expiration_of_written(
    objects: &Objects,
    notes: &Notes,
    rules: Option<LifecycleConfiguration>,
    (key, made): (&ObjectKey, &PutOutcome),
) -> Option<String> {
    let rules = rules?;
    let record = objects.head_in(notes.known_bucket()?, key, None).await.ok()?;
    rules.expiration_header(&candidate(&record)).filter(|_| record.version == made.version)
}

fn candidate(record: &ObjectRecord) -> Candidate<'_> {
    let tags = &record.attributes.tags;
    Candidate { key: record.key.as_str(), size: record.size, tags, modified: record.modified }
}

/// Adds to an answer about an upload when it is aborted, if a rule says so.
pub(super) fn add_abort(
    rules: Option<&LifecycleConfiguration>,
    (key, initiated): (&ObjectKey, Timestamp),
    headers: &mut HeaderMap,
) {
    const DATE: HeaderName = HeaderName::from_static("x-amz-abort-date");
    const RULE: HeaderName = HeaderName::from_static("x-amz-abort-rule-id");
    let Some((due, rule)) = rules.and_then(|rules| rules.abort(key.as_str(), initiated)) else { return };
    set(headers, DATE, Some(http_date_text(due)));
    set(headers, RULE, Some(encode_for_list(&rule.id)));
}

pub(super) async fn get_bucket_lifecycle_configuration(
    Operations { objects, .. }: &Operations,
    _notes: &Notes,
    request: S3Request<GetBucketLifecycleConfigurationInput>,
) -> Answer<GetBucketLifecycleConfigurationOutput> {
    let rules = rules_of(objects, &request.input.bucket.parse()?).await?.ok_or_else(|| {
        Refusal::new(("NoSuchLifecycleConfiguration", 404), "The lifecycle configuration does not exist")
    })?;
    Ok(S3Response::new(GetBucketLifecycleConfigurationOutput {
        rules: Some(rules.into_xml()),
        ..GetBucketLifecycleConfigurationOutput::default()
    }))
}

pub(super) async fn put_bucket_lifecycle_configuration(
    Operations { objects, .. }: &Operations,
    _notes: &Notes,
    request: S3Request<PutBucketLifecycleConfigurationInput>,
) -> Answer<PutBucketLifecycleConfigurationOutput> {
    let asked = request.input.lifecycle_configuration.ok_or_else(Refusal::malformed_xml)?;
    let new_id = || hex::encode(rand::random::<[u8; ID_BYTES]>());
    let configuration = LifecycleConfiguration::from_xml(asked, new_id)?;
    configuration.check()?;
    let text = serde_json::to_string(&configuration).map_err(Refusal::internal)?;
    if text.len() > CONFIGURATION_BYTES_MAX {
        return Err(LifecycleError::TooLarge.into());
    }
    objects.set_configuration(&request.input.bucket.parse()?, ConfigurationKind::Lifecycle, Some(text)).await?;
    Ok(S3Response::new(PutBucketLifecycleConfigurationOutput::default()))
}

pub(super) async fn delete_bucket_lifecycle(
    Operations { objects, .. }: &Operations,
    _notes: &Notes,
    request: S3Request<DeleteBucketLifecycleInput>,
) -> Answer<DeleteBucketLifecycleOutput> {
    objects.set_configuration(&request.input.bucket.parse()?, ConfigurationKind::Lifecycle, None).await?;
    Ok(S3Response::new(DeleteBucketLifecycleOutput::default()))
}
