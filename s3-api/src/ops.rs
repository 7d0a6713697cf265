//! The operations of S3 that there are: `s3s` hands over parsed input, each file answers one group of them.
//!
//! Nothing here logs: whatever an operation fails with passes through `Refusal::logged`.

mod acl;
mod attributes;
mod bucket;
mod copy;
pub(crate) mod cors;
pub(crate) mod delete;
mod encryption;
pub(crate) mod get;
mod lifecycle;
mod list;
mod lock;
mod multipart;
mod plain;
mod policy;
pub(crate) mod put;
mod tagging;
mod versioning;

use crate::error_map::Refusal;
use crate::facts::Facts;
use crate::host::BucketHost;
use crate::judge::Judge;
use crate::lenient::AsSent;
use crate::notes::Notes;
use async_trait::async_trait;
use cistern_net::Peer;
use cistern_objects::{BucketRecord, Objects, VersionRef};
use cistern_types::{BucketName, ObjectKey};
use http::{Extensions, HeaderMap, HeaderName, Uri};
use s3s::dto::{
    AbortMultipartUploadInput, AbortMultipartUploadOutput, CompleteMultipartUploadInput, CompleteMultipartUploadOutput,
    CopyObjectInput, CopyObjectOutput, CreateBucketInput, CreateBucketOutput, CreateMultipartUploadInput,
    CreateMultipartUploadOutput, DeleteBucketCorsInput, DeleteBucketCorsOutput, DeleteBucketEncryptionInput,
    DeleteBucketEncryptionOutput, DeleteBucketInput, DeleteBucketLifecycleInput, DeleteBucketLifecycleOutput,
    DeleteBucketOutput, DeleteBucketOwnershipControlsInput, DeleteBucketOwnershipControlsOutput,
    DeleteBucketPolicyInput, DeleteBucketPolicyOutput, DeleteBucketTaggingInput, DeleteBucketTaggingOutput,
    DeleteObjectInput, DeleteObjectOutput, DeleteObjectTaggingInput, DeleteObjectTaggingOutput, DeleteObjectsInput,
    DeleteObjectsOutput, DeletePublicAccessBlockInput, DeletePublicAccessBlockOutput,
    GetBucketAccelerateConfigurationInput, GetBucketAccelerateConfigurationOutput, GetBucketAclInput,
    GetBucketAclOutput, GetBucketCorsInput, GetBucketCorsOutput, GetBucketEncryptionInput, GetBucketEncryptionOutput,
    GetBucketLifecycleConfigurationInput, GetBucketLifecycleConfigurationOutput, GetBucketLocationInput,
    GetBucketLocationOutput, GetBucketLoggingInput, GetBucketLoggingOutput, GetBucketNotificationConfigurationInput,
    GetBucketNotificationConfigurationOutput, GetBucketOwnershipControlsInput, GetBucketOwnershipControlsOutput,
    GetBucketPolicyInput, GetBucketPolicyOutput, GetBucketPolicyStatusInput, GetBucketPolicyStatusOutput,
    GetBucketReplicationInput, GetBucketReplicationOutput, GetBucketRequestPaymentInput, GetBucketRequestPaymentOutput,
    GetBucketTaggingInput, GetBucketTaggingOutput, GetBucketVersioningInput, GetBucketVersioningOutput,
    GetBucketWebsiteInput, GetBucketWebsiteOutput, GetObjectAclInput, GetObjectAclOutput, GetObjectAttributesInput,
    GetObjectAttributesOutput, GetObjectInput, GetObjectLegalHoldInput, GetObjectLegalHoldOutput,
    GetObjectLockConfigurationInput, GetObjectLockConfigurationOutput, GetObjectOutput, GetObjectRetentionInput,
    GetObjectRetentionOutput, GetObjectTaggingInput, GetObjectTaggingOutput, GetPublicAccessBlockInput,
    GetPublicAccessBlockOutput, HeadBucketInput, HeadBucketOutput, HeadObjectInput, HeadObjectOutput, ListBucketsInput,
    ListBucketsOutput, ListMultipartUploadsInput, ListMultipartUploadsOutput, ListObjectVersionsInput,
    ListObjectVersionsOutput, ListObjectsInput, ListObjectsOutput, ListObjectsV2Input, ListObjectsV2Output,
    ListPartsInput, ListPartsOutput, PutBucketAclInput, PutBucketAclOutput, PutBucketCorsInput, PutBucketCorsOutput,
    PutBucketEncryptionInput, PutBucketEncryptionOutput, PutBucketLifecycleConfigurationInput,
    PutBucketLifecycleConfigurationOutput, PutBucketNotificationConfigurationInput,
    PutBucketNotificationConfigurationOutput, PutBucketOwnershipControlsInput, PutBucketOwnershipControlsOutput,
    PutBucketPolicyInput, PutBucketPolicyOutput, PutBucketTaggingInput, PutBucketTaggingOutput,
    PutBucketVersioningInput, PutBucketVersioningOutput, PutObjectAclInput, PutObjectAclOutput, PutObjectInput,
    PutObjectLegalHoldInput, PutObjectLegalHoldOutput, PutObjectLockConfigurationInput,
    PutObjectLockConfigurationOutput, PutObjectOutput, PutObjectRetentionInput, PutObjectRetentionOutput,
    PutObjectTaggingInput, PutObjectTaggingOutput, PutPublicAccessBlockInput, PutPublicAccessBlockOutput,
    UploadPartCopyInput, UploadPartCopyOutput, UploadPartInput, UploadPartOutput,
};
use s3s::{S3, S3Request, S3Response, S3Result};

/// All operations, on one object store.
#[derive(Debug)]
pub(crate) struct Operations {
    objects: Objects,
    judge: Judge,
    hosts: Option<BucketHost>,
}

impl Operations {
    pub(crate) fn new(objects: Objects, judge: Judge, hosts: Option<BucketHost>) -> Self {
        Self { objects, judge, hosts }
    }
}

const EXPIRATION: HeaderName = HeaderName::from_static("x-amz-expiration");
const VERSION_ID: HeaderName = HeaderName::from_static("x-amz-version-id");

/// What an operation's function answers.
type Answer<T> = Result<S3Response<T>, Refusal>;

/// The bucket and key of a request.
fn place(bucket: &str, key: &str) -> Result<(BucketName, ObjectKey), Refusal> {
    Ok((bucket.parse()?, key.parse()?))
}

/// The bucket that a request was judged in, as it was then, and its key.
fn judged<'n>(notes: &'n Notes, key: &str) -> Result<(&'n BucketRecord, ObjectKey), Refusal> {
    Ok((notes.bucket()?, key.parse()?))
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

/// The request as policies see it.
fn facts_of<'a>(headers: &'a HeaderMap, uri: &'a Uri, extensions: &Extensions, notes: &Notes) -> Facts<'a> {
    Facts::new(headers, uri, notes.received, extensions.get::<Peer>().copied())
}

/// Implements `S3`: each method marks the request as arrived and calls the function of its name with what came.
macro_rules! operations {
    ($($method:ident in $file:ident: $input:ty => $output:ty;)*) => {
        #[async_trait]
        impl S3 for Operations {
            $(async fn $method(&self, request: S3Request<$input>) -> S3Result<S3Response<$output>> {
                let notes = Notes::of(&request.extensions)?;
                notes.set_reached();
                let request = AsSent::restore(request);
                $file::$method(self, &notes, request).await.map_err(|refusal| refusal.logged(&notes))
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
    get_bucket_acl in acl: GetBucketAclInput => GetBucketAclOutput;
    put_bucket_acl in acl: PutBucketAclInput => PutBucketAclOutput;
    put_object_acl in acl: PutObjectAclInput => PutObjectAclOutput;
    get_bucket_policy in policy: GetBucketPolicyInput => GetBucketPolicyOutput;
    put_bucket_policy in policy: PutBucketPolicyInput => PutBucketPolicyOutput;
    delete_bucket_policy in policy: DeleteBucketPolicyInput => DeleteBucketPolicyOutput;
    get_bucket_policy_status in policy: GetBucketPolicyStatusInput => GetBucketPolicyStatusOutput;
    get_public_access_block in policy: GetPublicAccessBlockInput => GetPublicAccessBlockOutput;
    put_public_access_block in policy: PutPublicAccessBlockInput => PutPublicAccessBlockOutput;
    delete_public_access_block in policy: DeletePublicAccessBlockInput => DeletePublicAccessBlockOutput;
    get_bucket_ownership_controls in policy: GetBucketOwnershipControlsInput => GetBucketOwnershipControlsOutput;
    put_bucket_ownership_controls in policy: PutBucketOwnershipControlsInput => PutBucketOwnershipControlsOutput;
    delete_bucket_ownership_controls in policy: DeleteBucketOwnershipControlsInput => DeleteBucketOwnershipControlsOutput;
    get_bucket_cors in cors: GetBucketCorsInput => GetBucketCorsOutput;
    put_bucket_cors in cors: PutBucketCorsInput => PutBucketCorsOutput;
    delete_bucket_cors in cors: DeleteBucketCorsInput => DeleteBucketCorsOutput;
    get_bucket_lifecycle_configuration in lifecycle: GetBucketLifecycleConfigurationInput => GetBucketLifecycleConfigurationOutput;
    put_bucket_lifecycle_configuration in lifecycle: PutBucketLifecycleConfigurationInput => PutBucketLifecycleConfigurationOutput;
    delete_bucket_lifecycle in lifecycle: DeleteBucketLifecycleInput => DeleteBucketLifecycleOutput;
    get_bucket_notification_configuration in plain: GetBucketNotificationConfigurationInput => GetBucketNotificationConfigurationOutput;
    put_bucket_notification_configuration in plain: PutBucketNotificationConfigurationInput => PutBucketNotificationConfigurationOutput;
    get_bucket_accelerate_configuration in plain: GetBucketAccelerateConfigurationInput => GetBucketAccelerateConfigurationOutput;
    get_bucket_logging in plain: GetBucketLoggingInput => GetBucketLoggingOutput;
    get_bucket_replication in plain: GetBucketReplicationInput => GetBucketReplicationOutput;
    get_bucket_request_payment in plain: GetBucketRequestPaymentInput => GetBucketRequestPaymentOutput;
    get_bucket_website in plain: GetBucketWebsiteInput => GetBucketWebsiteOutput;
    get_bucket_encryption in encryption: GetBucketEncryptionInput => GetBucketEncryptionOutput;
    put_bucket_encryption in encryption: PutBucketEncryptionInput => PutBucketEncryptionOutput;
    delete_bucket_encryption in encryption: DeleteBucketEncryptionInput => DeleteBucketEncryptionOutput;
    put_object in put: PutObjectInput => PutObjectOutput;
    get_object in get: GetObjectInput => GetObjectOutput;
    head_object in get: HeadObjectInput => HeadObjectOutput;
    get_object_acl in acl: GetObjectAclInput => GetObjectAclOutput;
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
