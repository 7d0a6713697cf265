//! Access lists of buckets and objects.

use super::{Answer, Operations, judged, place, shown, version_of};
use crate::acl::{asked, check_public, from_xml, grants_of, no_acls, owner_of};
use crate::error_map::Refusal;
use crate::judge::owner_in;
use crate::notes::Notes;
use cistern_objects::BucketRecord;
use cistern_types::{Acl, Owner};
use http::HeaderMap;
use s3s::dto::{
    AccessControlPolicy, GetBucketAclInput, GetBucketAclOutput, GetObjectAclInput, GetObjectAclOutput,
    PutBucketAclInput, PutBucketAclOutput, PutObjectAclInput, PutObjectAclOutput,
};
use s3s::{S3Request, S3Response};

/// The list that a request sets, by headers or by XML and not by both.
fn list_from(
    bucket: &BucketRecord,
    owner: &Owner,
    headers: &HeaderMap,
    xml: Option<AccessControlPolicy>,
) -> Result<Acl, Refusal> {
    if bucket.enforces_owner() {
        return Err(no_acls());
    }
    let acl = match (asked(headers, owner, &bucket.owned_by())?, xml) {
        (Some(_), Some(_)) => {
            return Err(Refusal::new(("UnexpectedContent", 400), "This request does not support content"));
        }
        (Some(acl), None) => acl,
        (None, Some(xml)) => from_xml(xml, owner)?,
        (None, None) => {
            return Err(Refusal::new(
                ("MissingSecurityHeader", 400),
                "Your request was missing a required header: name a canned ACL or grants, or send a list.",
            ));
        }
    };
    check_public(bucket, Some(&acl))?;
    Ok(acl)
}

pub(super) async fn get_bucket_acl(
    Operations { objects, .. }: &Operations,
    _notes: &Notes,
    request: S3Request<GetBucketAclInput>,
) -> Answer<GetBucketAclOutput> {
    let bucket = objects.bucket(&request.input.bucket.parse()?).await?;
    let owner = bucket.owned_by();
    let grants = grants_of(bucket.settings.acl.as_ref(), &owner);
    Ok(S3Response::new(GetBucketAclOutput { grants: Some(grants), owner: Some(owner_of(&owner)) }))
}

pub(super) async fn put_bucket_acl(
    Operations { objects, .. }: &Operations,
    _notes: &Notes,
    request: S3Request<PutBucketAclInput>,
) -> Answer<PutBucketAclOutput> {
    let bucket = objects.bucket(&request.input.bucket.parse()?).await?;
    let owner = bucket.owned_by();
    let acl = list_from(&bucket, &owner, &request.headers, request.input.access_control_policy)?;
    objects.set_bucket_acl(&bucket.name, acl).await?;
    Ok(S3Response::new(PutBucketAclOutput::default()))
}

pub(super) async fn get_object_acl(
    Operations { objects, .. }: &Operations,
    notes: &Notes,
    request: S3Request<GetObjectAclInput>,
) -> Answer<GetObjectAclOutput> {
    let (bucket, key) = judged(notes, &request.input.key)?;
    let version = version_of(request.input.version_id.as_deref())?;
    let record = objects.head_in(bucket, &key, version).await?;
    let owner = owner_in(bucket, record.attributes.owner);
    let acl = record.attributes.acl.as_ref().filter(|_| !bucket.enforces_owner());
    let output = GetObjectAclOutput {
        grants: Some(grants_of(acl, &owner)),
        owner: Some(owner_of(&owner)),
        request_charged: None,
    };
    let mut headers = HeaderMap::new();
    if let Some(value) = shown(record.shown_version).and_then(|version| version.parse().ok()) {
        headers.insert("x-amz-version-id", value);
    }
    Ok(S3Response::with_headers(output, headers))
}

pub(super) async fn put_object_acl(
    Operations { objects, .. }: &Operations,
    _notes: &Notes,
    request: S3Request<PutObjectAclInput>,
) -> Answer<PutObjectAclOutput> {
    let S3Request { input, headers, .. } = request;
    let (bucket, key) = place(&input.bucket, &input.key)?;
    let version = version_of(input.version_id.as_deref())?;
    let bucket = objects.bucket(&bucket).await?;
    let record = objects.head_in(&bucket, &key, version).await?;
    let owner = owner_in(&bucket, record.attributes.owner);
    let acl = list_from(&bucket, &owner, &headers, input.access_control_policy)?;
    objects.set_acl(&bucket.name, &key, version, acl).await?;
    Ok(S3Response::new(PutObjectAclOutput::default()))
}
