//! Tags of objects and of buckets.

use super::{Answer, Operations, judged, place, shown, version_of};
use crate::error_map::Refusal;
use crate::headers::tags_of;
use crate::notes::Notes;
use crate::query::Query;
use cistern_objects::{BUCKET_TAGS_MAX, ConfigurationKind, OBJECT_TAGS_MAX, Objects, Tags};
use cistern_types::BucketName;
use s3s::dto::{
    DeleteBucketTaggingInput, DeleteBucketTaggingOutput, DeleteObjectTaggingInput, DeleteObjectTaggingOutput,
    GetBucketTaggingInput, GetBucketTaggingOutput, GetObjectTaggingInput, GetObjectTaggingOutput,
    PutBucketTaggingInput, PutBucketTaggingOutput, PutObjectTaggingInput, PutObjectTaggingOutput, Tag,
};
use s3s::{S3Request, S3Response};

fn tag_set(tags: &Tags) -> Vec<Tag> {
    let tag = |(key, value): &(String, String)| Tag { key: Some(key.clone()), value: Some(value.clone()) };
    tags.pairs().iter().map(tag).collect()
}

pub(super) async fn get_object_tagging(
    Operations { objects, .. }: &Operations,
    notes: &Notes,
    request: S3Request<GetObjectTaggingInput>,
) -> Answer<GetObjectTaggingOutput> {
    let input = request.input;
    let (bucket, key) = judged(notes, &input.key)?;
    let record = objects.head_in(bucket, &key, version_of(input.version_id.as_deref())?).await?;
    let (tag_set, version_id) = (tag_set(&record.attributes.tags), shown(record.shown_version));
    Ok(S3Response::new(GetObjectTaggingOutput { tag_set, version_id }))
}

pub(super) async fn put_object_tagging(
    Operations { objects, .. }: &Operations,
    _notes: &Notes,
    request: S3Request<PutObjectTaggingInput>,
) -> Answer<PutObjectTaggingOutput> {
    let input = request.input;
    let (bucket, key) = place(&input.bucket, &input.key)?;
    let version = version_of(input.version_id.as_deref())?;
    let tags = tags_of(input.tagging, OBJECT_TAGS_MAX)?;
    let record = objects.set_tags(&bucket, &key, version, tags).await?;
    Ok(S3Response::new(PutObjectTaggingOutput { version_id: shown(record.shown_version) }))
}

pub(super) async fn delete_object_tagging(
    Operations { objects, .. }: &Operations,
    _notes: &Notes,
    request: S3Request<DeleteObjectTaggingInput>,
) -> Answer<DeleteObjectTaggingOutput> {
    let input = request.input;
    let (bucket, key) = place(&input.bucket, &input.key)?;
    let version = version_of(input.version_id.as_deref())?;
    let record = objects.set_tags(&bucket, &key, version, Tags::default()).await?;
    Ok(S3Response::new(DeleteObjectTaggingOutput { version_id: shown(record.shown_version) }))
}

/// The tags of a bucket, if it has some.
pub(super) async fn stored_tags(objects: &Objects, bucket: &BucketName) -> Result<Option<Tags>, Refusal> {
    let text = objects.configuration(bucket, ConfigurationKind::Tagging).await?;
    Ok(text.map(|text| Tags::of_stored(Query::parse(&text).into_pairs())))
}

pub(super) async fn get_bucket_tagging(
    Operations { objects, .. }: &Operations,
    _notes: &Notes,
    request: S3Request<GetBucketTaggingInput>,
) -> Answer<GetBucketTaggingOutput> {
    let bucket = request.input.bucket.parse()?;
    let tags = stored_tags(objects, &bucket).await?;
    let tags = tags.ok_or_else(|| Refusal::new(("NoSuchTagSet", 404), "The TagSet does not exist"))?;
    Ok(S3Response::new(GetBucketTaggingOutput { tag_set: tag_set(&tags) }))
}

pub(super) async fn put_bucket_tagging(
    Operations { objects, .. }: &Operations,
    _notes: &Notes,
    request: S3Request<PutBucketTaggingInput>,
) -> Answer<PutBucketTaggingOutput> {
    let bucket = request.input.bucket.parse()?;
    let tags = tags_of(request.input.tagging, BUCKET_TAGS_MAX)?;
    let text = Some(tags.to_query()).filter(|_| !tags.is_empty());
    objects.set_configuration(&bucket, ConfigurationKind::Tagging, text).await?;
    Ok(S3Response::new(PutBucketTaggingOutput::default()))
}

pub(super) async fn delete_bucket_tagging(
    Operations { objects, .. }: &Operations,
    _notes: &Notes,
    request: S3Request<DeleteBucketTaggingInput>,
) -> Answer<DeleteBucketTaggingOutput> {
    let bucket = request.input.bucket.parse()?;
    objects.set_configuration(&bucket, ConfigurationKind::Tagging, None).await?;
    Ok(S3Response::new(DeleteBucketTaggingOutput::default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bucket_tags_come_back_as_they_went() {
        // of earlier versions too, which took any characters
        let pairs = vec![("a b/&=+%".to_owned(), "ä\u{1}".to_owned()), ("empty".to_owned(), String::new())];
        let tags = Tags::of_stored(pairs);
        assert_eq!(Tags::of_stored(Query::parse(&tags.to_query()).into_pairs()), tags);
    }
}
