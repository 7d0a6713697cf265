//! The operations of S3 that there are: `s3s` hands over parsed input, each file answers one group of them.
//!
//! Nothing here logs: whatever an operation fails with passes through `Refusal::logged`.

mod bucket;
mod copy;
mod delete;
mod get;
mod list;
mod multipart;
mod put;

use crate::error_map::Refusal;
use crate::notes::Notes;
use async_trait::async_trait;
use cistern_objects::Objects;
use cistern_types::{BucketName, ObjectKey};
use s3s::dto::{
    AbortMultipartUploadInput, AbortMultipartUploadOutput, CompleteMultipartUploadInput, CompleteMultipartUploadOutput,
    CopyObjectInput, CopyObjectOutput, CreateBucketInput, CreateBucketOutput, CreateMultipartUploadInput,
    CreateMultipartUploadOutput, DeleteBucketInput, DeleteBucketOutput, DeleteObjectInput, DeleteObjectOutput,
    DeleteObjectsInput, DeleteObjectsOutput, GetBucketAclInput, GetBucketAclOutput, GetBucketLocationInput,
    GetBucketLocationOutput, GetBucketVersioningInput, GetBucketVersioningOutput, GetObjectAclInput,
    GetObjectAclOutput, GetObjectInput, GetObjectOutput, HeadBucketInput, HeadBucketOutput, HeadObjectInput,
    HeadObjectOutput, ListBucketsInput, ListBucketsOutput, ListMultipartUploadsInput, ListMultipartUploadsOutput,
    ListObjectVersionsInput, ListObjectVersionsOutput, ListObjectsInput, ListObjectsOutput, ListObjectsV2Input,
    ListObjectsV2Output, ListPartsInput, ListPartsOutput, PutObjectInput, PutObjectOutput, UploadPartCopyInput,
    UploadPartCopyOutput, UploadPartInput, UploadPartOutput,
};
use s3s::{S3, S3Request, S3Response, S3Result};

/// The version of every object as long as buckets keep only one.
const NULL_VERSION: &str = "null";

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

/// Only the null version exists; every other id names nothing.
fn check_version(version: Option<&str>) -> Result<(), Refusal> {
    match version {
        None | Some(NULL_VERSION) => Ok(()),
        Some(_) => Err(Refusal::new(("NoSuchVersion", 404), "The specified version does not exist.")),
    }
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
    get_bucket_versioning in bucket: GetBucketVersioningInput => GetBucketVersioningOutput;
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
    list_object_versions in list: ListObjectVersionsInput => ListObjectVersionsOutput;
    create_multipart_upload in multipart: CreateMultipartUploadInput => CreateMultipartUploadOutput;
    upload_part in multipart: UploadPartInput => UploadPartOutput;
    upload_part_copy in multipart: UploadPartCopyInput => UploadPartCopyOutput;
    list_parts in multipart: ListPartsInput => ListPartsOutput;
    list_multipart_uploads in multipart: ListMultipartUploadsInput => ListMultipartUploadsOutput;
    complete_multipart_upload in multipart: CompleteMultipartUploadInput => CompleteMultipartUploadOutput;
    abort_multipart_upload in multipart: AbortMultipartUploadInput => AbortMultipartUploadOutput;
}
