//! The operations of S3 that there are: `s3s` hands over parsed input, each file answers one group of them.
//!
//! Nothing here logs: whatever an operation fails with passes through `Refusal::logged`.

mod attributes;
mod bucket;
mod copy;
mod delete;
mod get;
mod list;
mod lock;
mod multipart;
mod put;
mod tagging;
mod versioning;

use crate::error_map::Refusal;
use crate::notes::Notes;
use async_trait::async_trait;
use cistern_objects::{Objects, VersionRef};
use cistern_types::{BucketName, ObjectKey};
use s3s::dto::{
    AbortMultipartUploadInput, AbortMultipartUploadOutput, CompleteMultipartUploadInput, CompleteMultipartUploadOutput,
    CopyObjectInput, CopyObjectOutput, CreateBucketInput, CreateBucketOutput, CreateMultipartUploadInput,
    CreateMultipartUploadOutput, DeleteBucketInput, DeleteBucketOutput, DeleteBucketTaggingInput,
    DeleteBucketTaggingOutput, DeleteObjectInput, DeleteObjectOutput, DeleteObjectTaggingInput,
    DeleteObjectTaggingOutput, DeleteObjectsInput, DeleteObjectsOutput, GetBucketAclInput, GetBucketAclOutput,
    GetBucketLocationInput, GetBucketLocationOutput, GetBucketTaggingInput, GetBucketTaggingOutput,
    GetBucketVersioningInput, GetBucketVersioningOutput, GetObjectAclInput, GetObjectAclOutput,
    GetObjectAttributesInput, GetObjectAttributesOutput, GetObjectInput, GetObjectLegalHoldInput,
    GetObjectLegalHoldOutput, GetObjectLockConfigurationInput, GetObjectLockConfigurationOutput, GetObjectOutput,
    GetObjectRetentionInput, GetObjectRetentionOutput, GetObjectTaggingInput, GetObjectTaggingOutput, HeadBucketInput,
    HeadBucketOutput, HeadObjectInput, HeadObjectOutput, ListBucketsInput, ListBucketsOutput,
    ListMultipartUploadsInput, ListMultipartUploadsOutput, ListObjectVersionsInput, ListObjectVersionsOutput,
    ListObjectsInput, ListObjectsOutput, ListObjectsV2Input, ListObjectsV2Output, ListPartsInput, ListPartsOutput,
    PutBucketTaggingInput, PutBucketTaggingOutput, PutBucketVersioningInput, PutBucketVersioningOutput, PutObjectInput,
    PutObjectLegalHoldInput, PutObjectLegalHoldOutput, PutObjectLockConfigurationInput,
    PutObjectLockConfigurationOutput, PutObjectOutput, PutObjectRetentionInput, PutObjectRetentionOutput,
    PutObjectTaggingInput, PutObjectTaggingOutput, UploadPartCopyInput, UploadPartCopyOutput, UploadPartInput,
    UploadPartOutput,
};
use s3s::{S3, S3Request, S3Response, S3Result};

/// All operations, on one object store.
#[derive(Debug)]
pub(crate) struct Operations {
    objects: Objects,
}

impl Operations {
    pub(crate) fn new(objects: Objects) -> Self {
        Self { objects }
    }
}

/// What an operation's function answers.
type Answer<T> = Result<S3Response<T>, Refusal>;

/// The bucket and key of a request.
fn place(bucket: &str, key: &str) -> Result<(BucketName, ObjectKey), Refusal> {
    Ok((bucket.parse()?, key.parse()?))
}

/// The version that a request names.
fn version_of(version: Option<&str>) -> Result<Option<VersionRef>, Refusal> {
    match version {
        None => Ok(None),
        Some("") => Err(Refusal::invalid_argument("Version id cannot be the empty string")),
        Some(version) => Ok(Some(version.parse()?)),
    }
}

/// A version id as answers carry it.
fn shown(version: Option<VersionRef>) -> Option<String> {
    version.map(|version| version.to_string())
}

/// The version id in the answer to a write: S3 does not tell `null` there.
fn written(version: Option<VersionRef>) -> Option<String> {
    shown(version.filter(|version| *version != VersionRef::Null))
}

/// Implements `S3`: each method marks the request as arrived and calls the function of its name.
macro_rules! operations {
    ($($method:ident in $file:ident: $input:ty => $output:ty;)*) => {
        #[async_trait]
        impl S3 for Operations {
            $(async fn $method(&self, request: S3Request<$input>) -> S3Result<S3Response<$output>> {
                let notes = Notes::of(&request.extensions)?;
                notes.set_reached();
                $file::$method(&self.objects, &notes, request).await.map_err(|refusal| refusal.logged(&notes))
            })*
        }
    };
}

operations! {
    list_buckets in bucket: ListBucketsInput => ListBucketsOutput;
    create_bucket in bucket: CreateBucketInput => CreateBucketOutput;
    head_bucket in bucket: HeadBucketInput => HeadBucketOutput;
    delete_bucket in bucket: DeleteBucketInput => DeleteBucketOutput;
    get_bucket_location in bucket: GetBucketLocationInput => GetBucketLocationOutput;
    get_bucket_versioning in versioning: GetBucketVersioningInput => GetBucketVersioningOutput;
    put_bucket_versioning in versioning: PutBucketVersioningInput => PutBucketVersioningOutput;
    get_object_lock_configuration in lock: GetObjectLockConfigurationInput => GetObjectLockConfigurationOutput;
    put_object_lock_configuration in lock: PutObjectLockConfigurationInput => PutObjectLockConfigurationOutput;
    get_object_retention in lock: GetObjectRetentionInput => GetObjectRetentionOutput;
    put_object_retention in lock: PutObjectRetentionInput => PutObjectRetentionOutput;
    get_object_legal_hold in lock: GetObjectLegalHoldInput => GetObjectLegalHoldOutput;
    put_object_legal_hold in lock: PutObjectLegalHoldInput => PutObjectLegalHoldOutput;
    get_object_tagging in tagging: GetObjectTaggingInput => GetObjectTaggingOutput;
    put_object_tagging in tagging: PutObjectTaggingInput => PutObjectTaggingOutput;
    delete_object_tagging in tagging: DeleteObjectTaggingInput => DeleteObjectTaggingOutput;
    get_bucket_tagging in tagging: GetBucketTaggingInput => GetBucketTaggingOutput;
    put_bucket_tagging in tagging: PutBucketTaggingInput => PutBucketTaggingOutput;
    delete_bucket_tagging in tagging: DeleteBucketTaggingInput => DeleteBucketTaggingOutput;
    get_object_attributes in attributes: GetObjectAttributesInput => GetObjectAttributesOutput;
    get_bucket_acl in bucket: GetBucketAclInput => GetBucketAclOutput;
    put_object in put: PutObjectInput => PutObjectOutput;
    get_object in get: GetObjectInput => GetObjectOutput;
    head_object in get: HeadObjectInput => HeadObjectOutput;
    get_object_acl in get: GetObjectAclInput => GetObjectAclOutput;
    delete_object in delete: DeleteObjectInput => DeleteObjectOutput;
    delete_objects in delete: DeleteObjectsInput => DeleteObjectsOutput;
    copy_object in copy: CopyObjectInput => CopyObjectOutput;
    list_objects in list: ListObjectsInput => ListObjectsOutput;
    list_objects_v2 in list: ListObjectsV2Input => ListObjectsV2Output;
    list_object_versions in versioning: ListObjectVersionsInput => ListObjectVersionsOutput;
    create_multipart_upload in multipart: CreateMultipartUploadInput => CreateMultipartUploadOutput;
    upload_part in multipart: UploadPartInput => UploadPartOutput;
    upload_part_copy in multipart: UploadPartCopyInput => UploadPartCopyOutput;
    list_parts in multipart: ListPartsInput => ListPartsOutput;
    list_multipart_uploads in multipart: ListMultipartUploadsInput => ListMultipartUploadsOutput;
    complete_multipart_upload in multipart: CompleteMultipartUploadInput => CompleteMultipartUploadOutput;
    abort_multipart_upload in multipart: AbortMultipartUploadInput => AbortMultipartUploadOutput;
}
