//! The words of the policy language that come from a fixed list: the actions of S3 and the condition keys.

use super::pattern::Pattern;

/// The actions that exist on buckets and objects, and those on the account that bucket policies name by habit.
const ACTIONS: &str = "
    AbortMultipartUpload BypassGovernanceRetention CreateBucket CreateBucketMetadataTableConfiguration DeleteBucket
    DeleteBucketMetadataTableConfiguration DeleteBucketOwnershipControls DeleteBucketPolicy
    DeleteBucketPublicAccessBlock DeleteBucketWebsite DeleteObject DeleteObjectAnnotation DeleteObjectTagging DeleteObjectVersion
    DeleteObjectVersionTagging GetAccelerateConfiguration GetAnalyticsConfiguration GetBucketAbac GetBucketAcl
    GetBucketCORS GetBucketLocation GetBucketLogging GetBucketMetadataTableConfiguration GetBucketNotification
    GetBucketObjectLockConfiguration GetBucketOwnershipControls GetBucketPolicy GetBucketPolicyStatus
    GetBucketPublicAccessBlock GetBucketRequestPayment GetBucketTagging GetBucketVersioning GetBucketWebsite
    GetEncryptionConfiguration GetIntelligentTieringConfiguration GetInventoryConfiguration GetLifecycleConfiguration
    GetMetricsConfiguration GetObject GetObjectAcl GetObjectAnnotation GetObjectAttributes GetObjectLegalHold
    GetObjectRetention GetObjectTagging GetObjectTorrent GetObjectVersion GetObjectVersionAcl
    GetObjectVersionAttributes GetObjectVersionForReplication GetObjectVersionTagging GetObjectVersionTorrent
    GetReplicationConfiguration InitiateReplication ListAllMyBuckets ListBucket ListBucketMultipartUploads
    ListBucketVersions ListMultipartUploadParts ListObjectAnnotations ListTagsForResource
    ObjectOwnerOverrideToBucketOwner PauseReplication PutAccelerateConfiguration PutAnalyticsConfiguration PutBucketAbac
    PutBucketAcl PutBucketCORS PutBucketLogging PutBucketNotification PutBucketObjectLockConfiguration
    PutBucketOwnershipControls PutBucketPolicy PutBucketPublicAccessBlock PutBucketRequestPayment PutBucketTagging
    PutBucketVersioning PutBucketWebsite PutEncryptionConfiguration PutIntelligentTieringConfiguration
    PutInventoryConfiguration PutLifecycleConfiguration PutMetricsConfiguration PutObject PutObjectAcl
    PutObjectAnnotation PutObjectLegalHold PutObjectRetention PutObjectTagging PutObjectVersionAcl
    PutObjectVersionTagging PutReplicationConfiguration RenameObject ReplicateDelete ReplicateObject ReplicateTags
    RestoreObject TagResource UntagResource UpdateBucketMetadataAnnotationTableConfiguration
    UpdateBucketMetadataInventoryTableConfiguration UpdateBucketMetadataJournalTableConfiguration
    UpdateObjectEncryption
";

/// Condition keys of S3, without `s3:`: those that requests here can have a value under. A policy that asks for another would be
/// without effect, or deny everything.
const S3_KEYS: &str = "
    authtype delimiter if-match if-none-match max-keys object-lock-legal-hold object-lock-mode objectcreationoperation
    object-lock-remaining-retention-days object-lock-retain-until-date prefix requestobjecttagkeys signatureage
    signatureversion versionid x-amz-acl x-amz-content-sha256 x-amz-copy-source x-amz-grant-full-control
    x-amz-grant-read x-amz-grant-read-acp x-amz-grant-write x-amz-grant-write-acp x-amz-metadata-directive
    x-amz-object-ownership x-amz-server-side-encryption x-amz-server-side-encryption-aws-kms-key-id
    x-amz-server-side-encryption-customer-algorithm x-amz-storage-class x-amz-website-redirect-location
";

/// Condition keys of all services, without `aws:`, on the same terms.
const AWS_KEYS: &str = "
    currenttime epochtime principalaccount principalarn principaltype referer securetransport sourceip useragent userid
    username
";

/// Condition keys that end in `/` and the key of a tag.
const TAG_KEYS: [&str; 2] = ["s3:existingobjecttag", "s3:requestobjecttag"];

/// Condition keys a policy can name who is trusted by: with fixed values under one of them a grant to everybody is not
/// public. `aws:sourceip` is judged apart, by the width of its networks.
const TRUST_KEYS: [&str; 3] = ["aws:principalaccount", "aws:principalarn", "aws:userid"];

/// Whether there is an action that the pattern means; it is lower-case and begins with `s3:` or is `*`.
pub(super) fn means_an_action(pattern: &Pattern) -> bool {
    ACTIONS.split_ascii_whitespace().any(|name| pattern.could_be(&format!("s3:{}", name.to_ascii_lowercase())))
}

/// The condition key in the spelling the engine uses: lower-case, but what follows the first `/` as it is, since the
/// keys of tags are case-sensitive. `None` when there is no such key.
pub(super) fn condition_key(text: &str) -> Option<String> {
    if let Some((name, tag)) = text.split_once('/') {
        let name = name.to_ascii_lowercase();
        return (TAG_KEYS.contains(&name.as_str()) && !tag.is_empty()).then(|| format!("{name}/{tag}"));
    }
    let key = text.to_ascii_lowercase();
    let (service, name) = key.split_once(':')?;
    let known = match service {
        "aws" => AWS_KEYS,
        "s3" => S3_KEYS,
        _ => return None,
    };
    known.split_ascii_whitespace().any(|own| own == name).then_some(key)
}

/// Whether a condition on this key says who is trusted.
pub(super) fn says_who(key: &str) -> bool {
    TRUST_KEYS.contains(&key)
}

/// Whether the value of this key is a tag of the object that the request is about.
pub(super) fn is_existing_tag(key: &str) -> bool {
    key.starts_with("s3:existingobjecttag/")
}
