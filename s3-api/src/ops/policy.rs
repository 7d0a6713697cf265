//! Bucket policies, and what else says who reaches a bucket: public access block, ownership controls, policy status.

use super::{Answer, Operations};
use crate::error_map::Refusal;
use crate::notes::Notes;
use cistern_access::{BucketPolicy, PolicyError};
use cistern_objects::{ConfigurationKind, ObjectOwnership, PublicAccessBlock};
use cistern_types::Acl;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue};
use s3s::dto::{
    self, DeleteBucketOwnershipControlsInput, DeleteBucketOwnershipControlsOutput, DeleteBucketPolicyInput,
    DeleteBucketPolicyOutput, DeletePublicAccessBlockInput, DeletePublicAccessBlockOutput,
    GetBucketOwnershipControlsInput, GetBucketOwnershipControlsOutput, GetBucketPolicyInput, GetBucketPolicyOutput,
    GetBucketPolicyStatusInput, GetBucketPolicyStatusOutput, GetPublicAccessBlockInput, GetPublicAccessBlockOutput,
    OwnershipControls, OwnershipControlsRule, PolicyStatus, PublicAccessBlockConfiguration,
    PutBucketOwnershipControlsInput, PutBucketOwnershipControlsOutput, PutBucketPolicyInput, PutBucketPolicyOutput,
    PutPublicAccessBlockInput, PutPublicAccessBlockOutput,
};
use s3s::{S3Request, S3Response};

pub(super) async fn get_bucket_policy(
    Operations { objects, .. }: &Operations,
    _notes: &Notes,
    request: S3Request<GetBucketPolicyInput>,
) -> Answer<GetBucketPolicyOutput> {
    let policy = objects.configuration(&request.input.bucket.parse()?, ConfigurationKind::Policy).await?;
    if policy.is_none() {
        return Err(Refusal::new(("NoSuchBucketPolicy", 404), "The bucket policy does not exist"));
    }
    let headers = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static("application/json"))]);
    Ok(S3Response::with_headers(GetBucketPolicyOutput { policy }, headers))
}

pub(super) async fn put_bucket_policy(
    Operations { objects, .. }: &Operations,
    _notes: &Notes,
    request: S3Request<PutBucketPolicyInput>,
) -> Answer<PutBucketPolicyOutput> {
    let bucket = objects.bucket(&request.input.bucket.parse()?).await?;
    let policy = BucketPolicy::parse(&request.input.policy, &bucket.name)
        .map_err(|error| Refusal::new((PolicyError::CODE, 400), error.to_string()))?;
    let blocks = bucket.settings.public_access_block.is_some_and(|block| block.block_public_policy);
    if blocks && policy.is_public() {
        return Err(Refusal::access_denied());
    }
    objects.set_configuration(&bucket.name, ConfigurationKind::Policy, Some(request.input.policy)).await?;
    Ok(S3Response::new(PutBucketPolicyOutput::default()))
}

pub(super) async fn delete_bucket_policy(
    Operations { objects, .. }: &Operations,
    _notes: &Notes,
    request: S3Request<DeleteBucketPolicyInput>,
) -> Answer<DeleteBucketPolicyOutput> {
    objects.set_configuration(&request.input.bucket.parse()?, ConfigurationKind::Policy, None).await?;
    Ok(S3Response::new(DeleteBucketPolicyOutput::default()))
}

pub(super) async fn get_bucket_policy_status(
    Operations { objects, judge, .. }: &Operations,
    _notes: &Notes,
    request: S3Request<GetBucketPolicyStatusInput>,
) -> Answer<GetBucketPolicyStatusOutput> {
    let bucket = objects.bucket(&request.input.bucket.parse()?).await?;
    let by_policy = judge.policy(&bucket).await?.is_some_and(|policy| policy.is_public());
    let by_acl = bucket.settings.acl.as_ref().is_some_and(Acl::is_public);
    let policy_status = Some(PolicyStatus { is_public: Some(by_policy || by_acl) });
    Ok(S3Response::new(GetBucketPolicyStatusOutput { policy_status }))
}

pub(super) async fn get_public_access_block(
    Operations { objects, .. }: &Operations,
    _notes: &Notes,
    request: S3Request<GetPublicAccessBlockInput>,
) -> Answer<GetPublicAccessBlockOutput> {
    let bucket = objects.bucket(&request.input.bucket.parse()?).await?;
    let block = bucket.settings.public_access_block.ok_or_else(|| {
        Refusal::new(
            ("NoSuchPublicAccessBlockConfiguration", 404),
            "The public access block configuration was not found",
        )
    })?;
    let configuration = PublicAccessBlockConfiguration {
        block_public_acls: Some(block.block_public_acls),
        block_public_policy: Some(block.block_public_policy),
        ignore_public_acls: Some(block.ignore_public_acls),
        restrict_public_buckets: Some(block.restrict_public_buckets),
    };
    let public_access_block_configuration = Some(configuration);
    Ok(S3Response::new(GetPublicAccessBlockOutput { public_access_block_configuration }))
}

pub(super) async fn put_public_access_block(
    Operations { objects, .. }: &Operations,
    _notes: &Notes,
    request: S3Request<PutPublicAccessBlockInput>,
) -> Answer<PutPublicAccessBlockOutput> {
    let asked = request.input.public_access_block_configuration;
    let block = PublicAccessBlock {
        block_public_acls: asked.block_public_acls.unwrap_or(false),
        ignore_public_acls: asked.ignore_public_acls.unwrap_or(false),
        block_public_policy: asked.block_public_policy.unwrap_or(false),
        restrict_public_buckets: asked.restrict_public_buckets.unwrap_or(false),
    };
    objects.set_public_access_block(&request.input.bucket.parse()?, Some(block)).await?;
    Ok(S3Response::new(PutPublicAccessBlockOutput::default()))
}

pub(super) async fn delete_public_access_block(
    Operations { objects, .. }: &Operations,
    _notes: &Notes,
    request: S3Request<DeletePublicAccessBlockInput>,
) -> Answer<DeletePublicAccessBlockOutput> {
    objects.set_public_access_block(&request.input.bucket.parse()?, None).await?;
    Ok(S3Response::new(DeletePublicAccessBlockOutput::default()))
}

/// An ownership as S3 spells it.
const OWNERSHIPS: [(ObjectOwnership, &str); 3] = [
    (ObjectOwnership::BucketOwnerEnforced, dto::ObjectOwnership::BUCKET_OWNER_ENFORCED),
    (ObjectOwnership::BucketOwnerPreferred, dto::ObjectOwnership::BUCKET_OWNER_PREFERRED),
    (ObjectOwnership::ObjectWriter, dto::ObjectOwnership::OBJECT_WRITER),
];

/// The ownership of that spelling.
pub(super) fn ownership_from(text: &str) -> Option<ObjectOwnership> {
    OWNERSHIPS.into_iter().find(|(_, own)| *own == text).map(|(ownership, _)| ownership)
}

/// Refuses that a bucket which is public by its access list has none from now on.
pub(super) fn check_enforced(ownership: Option<ObjectOwnership>, acl: Option<&Acl>) -> Result<(), Refusal> {
    if ownership == Some(ObjectOwnership::BucketOwnerEnforced) && acl.is_some_and(|acl| acl.grants().len() > 1) {
        return Err(Refusal::new(
            ("InvalidBucketAclWithObjectOwnership", 400),
            "Bucket cannot have ACLs set with ObjectOwnership's BucketOwnerEnforced setting",
        ));
    }
    Ok(())
}

pub(super) async fn get_bucket_ownership_controls(
    Operations { objects, .. }: &Operations,
    _notes: &Notes,
    request: S3Request<GetBucketOwnershipControlsInput>,
) -> Answer<GetBucketOwnershipControlsOutput> {
    let bucket = objects.bucket(&request.input.bucket.parse()?).await?;
    let ownership = bucket.settings.object_ownership;
    let text = OWNERSHIPS.into_iter().find(|(own, _)| Some(*own) == ownership).map(|(_, text)| text);
    let text = text.ok_or_else(|| {
        Refusal::new(("OwnershipControlsNotFoundError", 404), "The bucket ownership controls were not found")
    })?;
    let rules = vec![OwnershipControlsRule { object_ownership: dto::ObjectOwnership::from_static(text) }];
    Ok(S3Response::new(GetBucketOwnershipControlsOutput { ownership_controls: Some(OwnershipControls { rules }) }))
}

pub(super) async fn put_bucket_ownership_controls(
    Operations { objects, .. }: &Operations,
    _notes: &Notes,
    request: S3Request<PutBucketOwnershipControlsInput>,
) -> Answer<PutBucketOwnershipControlsOutput> {
    let bucket = objects.bucket(&request.input.bucket.parse()?).await?;
    let [rule] = request.input.ownership_controls.rules.as_slice() else { return Err(Refusal::malformed_xml()) };
    let ownership = ownership_from(rule.object_ownership.as_str()).ok_or_else(Refusal::malformed_xml)?;
    check_enforced(Some(ownership), bucket.settings.acl.as_ref())?;
    objects.set_object_ownership(&bucket.name, Some(ownership)).await?;
    Ok(S3Response::new(PutBucketOwnershipControlsOutput::default()))
}

pub(super) async fn delete_bucket_ownership_controls(
    Operations { objects, .. }: &Operations,
    _notes: &Notes,
    request: S3Request<DeleteBucketOwnershipControlsInput>,
) -> Answer<DeleteBucketOwnershipControlsOutput> {
    objects.set_object_ownership(&request.input.bucket.parse()?, None).await?;
    Ok(S3Response::new(DeleteBucketOwnershipControlsOutput::default()))
}
