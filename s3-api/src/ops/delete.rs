//! DeleteObject and DeleteObjects. Deleting what is not there succeeds.

use super::{Answer, Operations, VERSION_ID, facts_of, place, shown, version_of};
use crate::error_map::Refusal;
use crate::headers::{instant_of, set};
use crate::judge::Subject;
use crate::notes::Notes;
use crate::operations::DELETE_OBJECT;
use cistern_objects::http_headers::all_of;
use cistern_objects::{DeleteConditions, DeleteItem, DeleteOutcome, Objects, TagList};
use cistern_types::BucketName;
use http::header::IF_MATCH;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use s3s::dto::{
    DeleteObjectInput, DeleteObjectOutput, DeleteObjectsInput, DeleteObjectsOutput, DeletedObject, Error,
    ObjectIdentifier,
};
use s3s::{S3Request, S3Response};

/// The most keys of one request, as S3 has it.
const KEYS_MAX: usize = 1000;

pub(super) async fn delete_object(
    Operations { objects, judge, .. }: &Operations,
    notes: &Notes,
    request: S3Request<DeleteObjectInput>,
) -> Answer<DeleteObjectOutput> {
    let S3Request { input, headers, uri, extensions, .. } = request;
    let (bucket, key) = place(&input.bucket, &input.key)?;
    let mut item = DeleteItem {
        key,
        version: version_of(input.version_id.as_deref())?,
        conditions: DeleteConditions {
            if_match: all_of(&headers, IF_MATCH).map(|tags| TagList::parse(&tags)),
            modified: input.if_match_last_modified_time.as_ref().map(instant_of).transpose()?,
            size: input.if_match_size.map(size_from).transpose()?,
        },
        bypass_governance: false,
    };
    let facts = facts_of(&headers, &uri, &extensions, notes);
    let subject = Subject { bucket: notes.bucket()?, key: Some(&input.key), version: item.version };
    let asker = notes.asker();
    item.bypass_governance = judge.may_bypass(asker, input.bypass_governance_retention, subject, &facts).await;
    let mut answer = S3Response::with_headers(DeleteObjectOutput::default(), delete(objects, &bucket, item).await?);
    answer.status = Some(StatusCode::NO_CONTENT);
    Ok(answer)
}

/// Deletes an object, a version, or lays a marker on it; the headers of the answer.
pub(crate) async fn delete(objects: &Objects, bucket: &BucketName, item: DeleteItem) -> Result<HeaderMap, Refusal> {
    const DELETE_MARKER: HeaderName = HeaderName::from_static("x-amz-delete-marker");
    let outcome = objects.delete_one(bucket, item).await?;
    let mut answer = HeaderMap::new();
    if outcome.delete_marker {
        answer.insert(DELETE_MARKER, HeaderValue::from_static("true"));
    }
    set(&mut answer, VERSION_ID, shown(outcome.shown_version));
    Ok(answer)
}

pub(super) async fn delete_objects(
    Operations { objects, judge, .. }: &Operations,
    notes: &Notes,
    request: S3Request<DeleteObjectsInput>,
) -> Answer<DeleteObjectsOutput> {
    let S3Request { input, headers, uri, extensions, .. } = request;
    let facts = facts_of(&headers, &uri, &extensions, notes);
    let asker = notes.asker();
    let bucket: BucketName = input.bucket.parse()?;
    let named = input.delete.objects;
    if named.is_empty() || named.len() > KEYS_MAX {
        return Err(Refusal::malformed_xml());
    }
    let mut errors = Vec::new();
    let mut items = Vec::with_capacity(named.len());
    for object in named {
        let allowed = match item_of(&object) {
            Ok(mut item) => {
                let subject = Subject { bucket: notes.bucket()?, key: Some(&object.key), version: item.version };
                item.bypass_governance =
                    judge.may_bypass(asker, input.bypass_governance_retention, subject, &facts).await;
                judge.check(asker, &DELETE_OBJECT, subject, &facts).await.map(|()| item)
            }
            Err(refusal) => Err(refusal),
        };
        match allowed {
            Ok(item) => items.push(item),
            Err(refusal) => errors.push(error_of(object.key, object.version_id, refusal)),
        }
    }
    let quiet = input.delete.quiet.unwrap_or(false);
    let mut deleted = Vec::new();
    let answers = objects.delete_many(&bucket, items).await?;
    for (item, answer) in answers {
        match answer {
            Ok(_) if quiet => {}
            Ok(outcome) => deleted.push(deleted_of(&item, outcome)),
            Err(error) => errors.push(error_of(item.key.to_string(), shown(item.version), error.into())),
        }
    }
    Ok(S3Response::new(DeleteObjectsOutput {
        deleted: Some(deleted).filter(|deleted| !deleted.is_empty()),
        errors: Some(errors).filter(|errors| !errors.is_empty()),
        request_charged: None,
    }))
}

/// The delete that an entry asks for.
fn item_of(object: &ObjectIdentifier) -> Result<DeleteItem, Refusal> {
    Ok(DeleteItem {
        key: object.key.parse()?,
        version: version_of(object.version_id.as_deref())?,
        conditions: DeleteConditions {
            if_match: object.e_tag.as_ref().map(|tag| TagList::parse(tag.value())),
            modified: object.last_modified_time.as_ref().map(instant_of).transpose()?,
            size: object.size.map(size_from).transpose()?,
        },
        bypass_governance: false,
    })
}

fn deleted_of(item: &DeleteItem, outcome: DeleteOutcome) -> DeletedObject {
    let marker = outcome.delete_marker;
    DeletedObject {
        delete_marker: marker.then_some(true),
        delete_marker_version_id: shown(outcome.shown_version.filter(|_| marker)),
        key: Some(item.key.to_string()),
        version_id: shown(item.version),
    }
}

fn size_from(size: i64) -> Result<u64, Refusal> {
    u64::try_from(size).map_err(|_| Refusal::invalid_argument("A size cannot be negative."))
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
