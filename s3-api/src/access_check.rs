//! Whether the key that signed a request may do what it asks, decided before anything of its body is read.
//!
//! Also refuses, as not implemented, operations and headers that this store does not have: `s3s` lets a request with an
//! unknown sub-resource fall through to the plain operation, so that `DELETE /bucket?acl` would delete the bucket.

use crate::error_map::Refusal;
use crate::notes::Notes;
use crate::query::Query;
use async_trait::async_trait;
use cistern_access::{Access, Action, Identity, allow};
use cistern_objects::Objects;
use cistern_types::BucketName;
use http::HeaderMap;
use s3s::S3Result;
use s3s::access::{S3Access, S3AccessContext};
use s3s::path::S3Path;
use std::sync::Arc;

/// The operations there are: their names in s3s, and what they do. `true`: the plain operation of its method and path,
/// which must not carry a sub-resource.
const OPERATIONS: [(&str, Action, bool); 38] = [
    ("AbortMultipartUpload", Action::WriteObject, false),
    ("CompleteMultipartUpload", Action::WriteObject, false),
    ("CopyObject", Action::WriteObject, true),
    ("CreateBucket", Action::CreateBucket, true),
    ("CreateMultipartUpload", Action::WriteObject, false),
    ("DeleteBucket", Action::DeleteBucket, true),
    ("DeleteBucketTagging", Action::ConfigureBucket, false),
    ("DeleteObject", Action::WriteObject, true),
    ("DeleteObjectTagging", Action::WriteObject, false),
    ("DeleteObjects", Action::WriteObject, false),
    ("GetBucketAcl", Action::ReadBucket, false),
    ("GetBucketLocation", Action::ReadBucket, false),
    ("GetBucketTagging", Action::ReadBucket, false),
    ("GetBucketVersioning", Action::ReadBucket, false),
    ("GetObject", Action::ReadObject, true),
    ("GetObjectAcl", Action::ReadObject, false),
    ("GetObjectAttributes", Action::ReadObject, false),
    ("GetObjectLegalHold", Action::ReadObject, false),
    ("GetObjectLockConfiguration", Action::ReadBucket, false),
    ("GetObjectRetention", Action::ReadObject, false),
    ("GetObjectTagging", Action::ReadObject, false),
    ("HeadBucket", Action::ReadBucket, true),
    ("HeadObject", Action::ReadObject, true),
    ("ListBuckets", Action::ListBuckets, true),
    ("ListMultipartUploads", Action::ReadBucket, false),
    ("ListObjectVersions", Action::ReadBucket, false),
    ("ListObjects", Action::ReadBucket, true),
    ("ListObjectsV2", Action::ReadBucket, true),
    ("ListParts", Action::ReadObject, false),
    ("PutBucketTagging", Action::ConfigureBucket, false),
    ("PutBucketVersioning", Action::ConfigureBucket, false),
    ("PutObject", Action::WriteObject, true),
    ("PutObjectLegalHold", Action::WriteObject, false),
    ("PutObjectLockConfiguration", Action::ConfigureBucket, false),
    ("PutObjectRetention", Action::WriteObject, false),
    ("PutObjectTagging", Action::WriteObject, false),
    ("UploadPart", Action::WriteObject, false),
    ("UploadPartCopy", Action::WriteObject, false),
];

/// Query parameters that name another operation than the plain one.
const SUB_RESOURCES: [&str; 44] = [
    "abac",
    "accelerate",
    "acl",
    "analytics",
    "append",
    "attributes",
    "cors",
    "delete",
    "encryption",
    "events",
    "intelligent-tiering",
    "inventory",
    "legal-hold",
    "lifecycle",
    "location",
    "logging",
    "metadata",
    "metadataAnnotationTable",
    "metadataConfiguration",
    "metadataInventoryTable",
    "metadataJournalTable",
    "metadataTable",
    "metrics",
    "notification",
    "object-lock",
    "ownershipControls",
    "policy",
    "policyStatus",
    "position",
    "publicAccessBlock",
    "renameObject",
    "replication",
    "requestPayment",
    "restore",
    "retention",
    "select",
    "session",
    "tagging",
    "torrent",
    "uploadId",
    "uploads",
    "versioning",
    "versions",
    "website",
];

/// Headers that ask for what is not implemented; ignoring them would break a promise to the client.
const FOREIGN_HEADERS: [&str; 9] = [
    "x-amz-copy-source-server-side-encryption-customer-algorithm",
    "x-amz-grant-full-control",
    "x-amz-grant-read",
    "x-amz-grant-read-acp",
    "x-amz-grant-write",
    "x-amz-grant-write-acp",
    "x-amz-mfa",
    "x-amz-website-redirect-location",
    "x-amz-write-offset-bytes",
];

/// Asks `cistern-access`, with the bucket's owner from `cistern-objects`.
#[derive(Debug)]
pub(crate) struct AccessCheck {
    pub(crate) access: Access,
    pub(crate) objects: Objects,
}

#[async_trait]
impl S3Access for AccessCheck {
    async fn check(&self, cx: &mut S3AccessContext<'_>) -> S3Result<()> {
        let notes = Notes::of(cx.extensions_mut())?;
        self.decide(&notes, cx).await.map_err(|refusal| refusal.logged(&notes))
    }
}

impl AccessCheck {
    async fn decide(&self, notes: &Notes, cx: &S3AccessContext<'_>) -> Result<(), Refusal> {
        let signer = cx.credentials().ok_or_else(Refusal::access_denied)?;
        let id = signer.access_key.parse().map_err(|_| Refusal::access_denied())?;
        let identity = self.access.identity(&id).await?.ok_or_else(Refusal::access_denied)?;
        let operation = OPERATIONS.iter().find(|(name, ..)| *name == cx.s3_op().name());
        let Some((name, action, plain)) = operation else { return Err(Refusal::not_implemented()) };
        notes.set_operation(name);
        if *plain && has_sub_resource(cx.uri().query(), name) {
            return Err(Refusal::not_implemented());
        }
        check_headers(cx.headers())?;
        self.check_bucket(&identity, *action, cx.s3_path(), cx.headers()).await?;
        notes.set_identity(identity);
        Ok(())
    }

    async fn check_bucket(
        &self,
        identity: &Identity,
        action: Action,
        path: &S3Path,
        headers: &HeaderMap,
    ) -> Result<(), Refusal> {
        let name = match path {
            S3Path::Root => return permitted(identity, action, None),
            S3Path::Bucket { bucket } | S3Path::Object { bucket, .. } => bucket.parse::<BucketName>()?,
        };
        let owner = match action {
            Action::CreateBucket => identity.owner_id(),
            Action::ListBuckets
            | Action::DeleteBucket
            | Action::ReadBucket
            | Action::ReadObject
            | Action::WriteObject
            | Action::ConfigureBucket
            | Action::BypassGovernance => self.objects.bucket(&name).await?.owner,
        };
        permitted(identity, action, Some((&name, owner)))?;
        if headers
            .get("x-amz-bypass-governance-retention")
            .is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"true"))
        {
            permitted(identity, Action::BypassGovernance, Some((&name, owner)))?;
        }
        let expected = headers.get("x-amz-expected-bucket-owner");
        if expected.is_some_and(|expected| expected.as_bytes() != owner.to_string().as_bytes()) {
            return Err(Refusal::access_denied());
        }
        Ok(())
    }

    /// Whether the signer may read the source of a copy.
    pub(crate) async fn check_source(
        objects: &Objects,
        identity: &Arc<Identity>,
        bucket: &BucketName,
    ) -> Result<(), Refusal> {
        let owner = objects.bucket(bucket).await?.owner;
        permitted(identity, Action::ReadObject, Some((bucket, owner)))
    }
}

fn permitted(
    identity: &Identity,
    action: Action,
    bucket: Option<(&BucketName, cistern_types::OwnerId)>,
) -> Result<(), Refusal> {
    allow(identity, action, bucket).map_err(|denied| {
        tracing::debug!(key = %identity.key.access_key_id, ?action, %denied, "access denied");
        Refusal::access_denied()
    })
}

fn has_sub_resource(query: Option<&str>, operation: &str) -> bool {
    let Some(query) = query else { return false };
    let part_of_nothing = |name: &str| name == "partNumber" && !matches!(operation, "GetObject" | "HeadObject");
    Query::parse(query).names().any(|name| SUB_RESOURCES.contains(&name) || part_of_nothing(name))
}

fn check_headers(headers: &HeaderMap) -> Result<(), Refusal> {
    let foreign = headers.iter().any(|(name, value)| is_foreign(name.as_str(), value.as_bytes()));
    if foreign { Err(Refusal::not_implemented()) } else { Ok(()) }
}

/// One pass over the few headers that came costs less than looking up the many that may not.
fn is_foreign(name: &str, value: &[u8]) -> bool {
    match name {
        _ if !name.starts_with("x-amz-") => false,
        "x-amz-object-ownership" => value != b"BucketOwnerEnforced",
        "x-amz-acl" => value != b"private",
        _ => name.starts_with("x-amz-server-side-encryption") || FOREIGN_HEADERS.contains(&name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sub_resources_are_sorted_and_found_in_any_spelling() {
        assert!(SUB_RESOURCES.is_sorted());
        for (query, operation, expected) in [
            ("acl", "DeleteBucket", true),
            ("%61cl=", "DeleteObject", true),
            ("partNumber=1", "PutObject", true),
            ("partNumber=1", "GetObject", false),
            ("x-id=GetObject&versionId=null", "GetObject", false),
            ("prefix=acl", "ListObjects", false),
        ] {
            assert_eq!(has_sub_resource(Some(query), operation), expected, "{query} {operation}");
        }
    }

    #[test]
    fn headers_that_promise_more_than_there_is_are_refused() {
        for (name, value, fine) in [
            ("x-amz-acl", "private", true),
            ("x-amz-acl", "public-read", false),
            ("x-amz-server-side-encryption", "AES256", false),
            ("x-amz-tagging", "a=b", true),
            ("x-amz-website-redirect-location", "/x", false),
            ("x-amz-object-ownership", "BucketOwnerEnforced", true),
            ("x-amz-object-ownership", "ObjectWriter", false),
            ("x-amz-meta-anything", "x", true),
        ] {
            let headers = [(name.parse().unwrap(), value.parse().unwrap())].into_iter().collect();
            assert_eq!(check_headers(&headers).is_ok(), fine, "{name}: {value}");
        }
    }
}
