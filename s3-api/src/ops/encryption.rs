//! Whether a bucket encrypts by default what asks for nothing.

use super::{Answer, Operations};
use crate::encryption::{ALGORITHM, check_algorithm};
use crate::error_map::Refusal;
use crate::notes::Notes;
use s3s::dto::{
    DeleteBucketEncryptionInput, DeleteBucketEncryptionOutput, GetBucketEncryptionInput, GetBucketEncryptionOutput,
    PutBucketEncryptionInput, PutBucketEncryptionOutput, ServerSideEncryption, ServerSideEncryptionByDefault,
    ServerSideEncryptionConfiguration, ServerSideEncryptionRule,
};
use s3s::{S3Request, S3Response};

pub(super) async fn get_bucket_encryption(
    Operations { objects, .. }: &Operations,
    _notes: &Notes,
    request: S3Request<GetBucketEncryptionInput>,
) -> Answer<GetBucketEncryptionOutput> {
    let bucket = objects.bucket(&request.input.bucket.parse()?).await?;
    if !bucket.settings.encrypted_by_default {
        return Err(Refusal::new(
            ("ServerSideEncryptionConfigurationNotFoundError", 404),
            "The server side encryption configuration was not found",
        ));
    }
    let by_default = ServerSideEncryptionByDefault {
        kms_master_key_id: None,
        sse_algorithm: ServerSideEncryption::from_static(ALGORITHM),
    };
    let rule = ServerSideEncryptionRule {
        apply_server_side_encryption_by_default: Some(by_default),
        bucket_key_enabled: Some(false),
    };
    let configuration = ServerSideEncryptionConfiguration { rules: vec![rule] };
    Ok(S3Response::new(GetBucketEncryptionOutput { server_side_encryption_configuration: Some(configuration) }))
}

pub(super) async fn put_bucket_encryption(
    Operations { objects, .. }: &Operations,
    _notes: &Notes,
    request: S3Request<PutBucketEncryptionInput>,
) -> Answer<PutBucketEncryptionOutput> {
    let bucket = request.input.bucket.parse()?;
    let rules = request.input.server_side_encryption_configuration.rules;
    let [ServerSideEncryptionRule { apply_server_side_encryption_by_default: Some(by_default), .. }] = &rules[..]
    else {
        return Err(Refusal::malformed_xml());
    };
    check_algorithm(by_default.sse_algorithm.as_str().as_bytes())?;
    if by_default.kms_master_key_id.is_some() {
        return Err(Refusal::invalid_argument(
            "a KMSMasterKeyID is not applicable if the default sse algorithm is not aws:kms",
        ));
    }
    objects.set_default_encryption(&bucket, true).await?;
    Ok(S3Response::new(PutBucketEncryptionOutput::default()))
}

pub(super) async fn delete_bucket_encryption(
    Operations { objects, .. }: &Operations,
    _notes: &Notes,
    request: S3Request<DeleteBucketEncryptionInput>,
) -> Answer<DeleteBucketEncryptionOutput> {
    objects.set_default_encryption(&request.input.bucket.parse()?, false).await?;
    Ok(S3Response::new(DeleteBucketEncryptionOutput::default()))
}
