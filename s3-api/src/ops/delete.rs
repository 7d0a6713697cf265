//! DeleteObject and DeleteObjects. Deleting what is not there succeeds.

use super::{Answer, check_version, place};
use crate::error_map::Refusal;
use crate::notes::Notes;
use cistern_objects::Objects;
use cistern_types::{BucketName, ObjectKey};
use s3s::dto::{
    DeleteObjectInput, DeleteObjectOutput, DeleteObjectsInput, DeleteObjectsOutput, DeletedObject, Error,
    ObjectIdentifier,
};
use s3s::{S3Request, S3Response};

/// The most keys of one request, as S3 has it.
const KEYS_MAX: usize = 1000;

pub(super) async fn delete_object(
    objects: &Objects,
    _notes: &Notes,
    request: S3Request<DeleteObjectInput>,
) -> Answer<DeleteObjectOutput> {
    let input = request.input;
    let (bucket, key) = place(&input.bucket, &input.key)?;
    if input.if_match.is_some() || input.if_match_last_modified_time.is_some() || input.if_match_size.is_some() {
        return Err(Refusal::not_implemented());
    }
    check_version(input.version_id.as_deref())?;
    objects.delete(&bucket, &key).await?;
    let output = DeleteObjectOutput { version_id: input.version_id, ..DeleteObjectOutput::default() };
    Ok(S3Response::with_status(output, http::StatusCode::NO_CONTENT))
}

pub(super) async fn delete_objects(
    objects: &Objects,
    _notes: &Notes,
    request: S3Request<DeleteObjectsInput>,
) -> Answer<DeleteObjectsOutput> {
    let input = request.input;
    let bucket: BucketName = input.bucket.parse()?;
    let named = input.delete.objects;
    if named.is_empty() || named.len() > KEYS_MAX {
        return Err(Refusal::malformed_xml());
    }
    let mut errors = Vec::new();
    let (mut keys, mut versions) = (Vec::with_capacity(named.len()), Vec::with_capacity(named.len()));
    for object in named {
        match deletable(&object) {
            Ok(key) => {
                keys.push(key);
                versions.push(object.version_id);
            }
            Err(refusal) => errors.push(error_of(object.key, object.version_id, refusal)),
        }
    }
    let quiet = input.delete.quiet.unwrap_or(false);
    let mut deleted = Vec::new();
    let answers = objects.delete_many(&bucket, keys).await?;
    for ((key, answer), version_id) in answers.into_iter().zip(versions) {
        match answer {
            Ok(_) if quiet => {}
            Ok(_) => {
                deleted.push(DeletedObject { key: Some(key.to_string()), version_id, ..DeletedObject::default() });
            }
            Err(error) => errors.push(error_of(key.to_string(), version_id, error.into())),
        }
    }
    Ok(S3Response::new(DeleteObjectsOutput {
        deleted: Some(deleted).filter(|deleted| !deleted.is_empty()),
        errors: Some(errors).filter(|errors| !errors.is_empty()),
        request_charged: None,
    }))
}

/// The key of an object that may be deleted.
fn deletable(object: &ObjectIdentifier) -> Result<ObjectKey, Refusal> {
    if object.e_tag.is_some() || object.last_modified_time.is_some() || object.size.is_some() {
        return Err(Refusal::not_implemented());
    }
    check_version(object.version_id.as_deref())?;
    Ok(object.key.parse()?)
}

fn error_of(key: String, version_id: Option<String>, refusal: Refusal) -> Error {
    let error = refusal.into_s3();
    Error {
        code: Some(error.code().as_str().to_owned()),
        key: Some(key),
        message: error.message().map(ToOwned::to_owned),
        version_id,
    }
}
