//! The operations there are: what each does, what a bucket policy calls it, and which grant of an access list allows it to others
//! than the bucket's owner.

use cistern_access::{Action, Permission};
use http::HeaderMap;

/// What of an access list allows an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Grants {
    /// Nothing: it is the bucket owner's.
    Nothing,
    /// `READ` on the bucket.
    ReadBucket,
    /// `WRITE` on the bucket.
    WriteBucket,
    /// `READ_ACP` on the bucket.
    ReadBucketAcp,
    /// `WRITE_ACP` on the bucket.
    WriteBucketAcp,
    /// `READ` on the object.
    ReadObject,
    /// `READ_ACP` on the object.
    ReadObjectAcp,
    /// `WRITE_ACP` on the object.
    WriteObjectAcp,
}

/// An operation.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Operation {
    /// Its name in s3s.
    pub(crate) name: &'static str,
    /// What a key needs for it.
    pub(crate) action: Action,
    /// Whether it is the plain one of its method and path, which must not carry a sub-resource.
    pub(crate) plain: bool,
    /// What policies call it.
    pub(crate) policy: &'static str,
    /// What policies call it on a version.
    pub(crate) policy_of_version: &'static str,
    /// What allows it by access list.
    pub(crate) grants: Grants,
}

const fn op(name: &'static str, action: Action, policy: &'static str, grants: Grants) -> Operation {
    Operation { name, action, plain: false, policy, policy_of_version: policy, grants }
}

const fn plain(operation: Operation) -> Operation {
    Operation { plain: true, ..operation }
}

const fn versioned(operation: Operation, policy_of_version: &'static str) -> Operation {
    Operation { policy_of_version, ..operation }
}

use Action::{ConfigureBucket, ReadBucket, ReadObject, WriteObject};

/// All of them, in the order of their names.
const OPERATIONS: &[Operation] = &[
    op("AbortMultipartUpload", WriteObject, "s3:AbortMultipartUpload", Grants::WriteBucket),
    op("CompleteMultipartUpload", WriteObject, "s3:PutObject", Grants::WriteBucket),
    plain(op("CopyObject", WriteObject, "s3:PutObject", Grants::WriteBucket)),
    plain(op("CreateBucket", Action::CreateBucket, "s3:CreateBucket", Grants::Nothing)),
    op("CreateMultipartUpload", WriteObject, "s3:PutObject", Grants::WriteBucket),
    plain(op("DeleteBucket", Action::DeleteBucket, "s3:DeleteBucket", Grants::Nothing)),
    op("DeleteBucketCors", ConfigureBucket, "s3:PutBucketCORS", Grants::Nothing),
    op("DeleteBucketEncryption", ConfigureBucket, "s3:PutEncryptionConfiguration", Grants::Nothing),
    op("DeleteBucketLifecycle", ConfigureBucket, "s3:PutLifecycleConfiguration", Grants::Nothing),
    op("DeleteBucketOwnershipControls", ConfigureBucket, "s3:PutBucketOwnershipControls", Grants::Nothing),
    op("DeleteBucketPolicy", ConfigureBucket, "s3:DeleteBucketPolicy", Grants::Nothing),
    op("DeleteBucketTagging", ConfigureBucket, "s3:PutBucketTagging", Grants::Nothing),
    plain(DELETE_OBJECT),
    versioned(
        op("DeleteObjectTagging", WriteObject, "s3:DeleteObjectTagging", Grants::Nothing),
        "s3:DeleteObjectVersionTagging",
    ),
    op(DELETE_OBJECTS, WriteObject, "s3:DeleteObject", Grants::WriteBucket),
    op("DeletePublicAccessBlock", ConfigureBucket, "s3:PutBucketPublicAccessBlock", Grants::Nothing),
    op("GetBucketAccelerateConfiguration", ReadBucket, "s3:GetAccelerateConfiguration", Grants::Nothing),
    op("GetBucketAcl", ReadBucket, "s3:GetBucketAcl", Grants::ReadBucketAcp),
    op("GetBucketCors", ReadBucket, "s3:GetBucketCORS", Grants::Nothing),
    op("GetBucketEncryption", ReadBucket, "s3:GetEncryptionConfiguration", Grants::Nothing),
    op("GetBucketLifecycleConfiguration", ReadBucket, "s3:GetLifecycleConfiguration", Grants::Nothing),
    op("GetBucketLocation", ReadBucket, "s3:GetBucketLocation", Grants::Nothing),
    op("GetBucketLogging", ReadBucket, "s3:GetBucketLogging", Grants::Nothing),
    op("GetBucketNotificationConfiguration", ReadBucket, "s3:GetBucketNotification", Grants::Nothing),
    op("GetBucketOwnershipControls", ReadBucket, "s3:GetBucketOwnershipControls", Grants::Nothing),
    op("GetBucketPolicy", ReadBucket, "s3:GetBucketPolicy", Grants::Nothing),
    op("GetBucketPolicyStatus", ReadBucket, "s3:GetBucketPolicyStatus", Grants::Nothing),
    op("GetBucketReplication", ReadBucket, "s3:GetReplicationConfiguration", Grants::Nothing),
    op("GetBucketRequestPayment", ReadBucket, "s3:GetBucketRequestPayment", Grants::Nothing),
    op("GetBucketTagging", ReadBucket, "s3:GetBucketTagging", Grants::Nothing),
    op("GetBucketVersioning", ReadBucket, "s3:GetBucketVersioning", Grants::Nothing),
    op("GetBucketWebsite", ReadBucket, "s3:GetBucketWebsite", Grants::Nothing),
    plain(READ_OBJECT),
    versioned(op("GetObjectAcl", ReadObject, "s3:GetObjectAcl", Grants::ReadObjectAcp), "s3:GetObjectVersionAcl"),
    versioned(
        op("GetObjectAttributes", ReadObject, "s3:GetObjectAttributes", Grants::ReadObject),
        "s3:GetObjectVersionAttributes",
    ),
    op("GetObjectLegalHold", ReadObject, "s3:GetObjectLegalHold", Grants::Nothing),
    op("GetObjectLockConfiguration", ReadBucket, "s3:GetBucketObjectLockConfiguration", Grants::Nothing),
    op("GetObjectRetention", ReadObject, "s3:GetObjectRetention", Grants::Nothing),
    versioned(op("GetObjectTagging", ReadObject, "s3:GetObjectTagging", Grants::Nothing), "s3:GetObjectVersionTagging"),
    op("GetPublicAccessBlock", ReadBucket, "s3:GetBucketPublicAccessBlock", Grants::Nothing),
    plain(op("HeadBucket", ReadBucket, "s3:ListBucket", Grants::ReadBucket)),
    plain(HEAD_OBJECT),
    plain(op("ListBuckets", Action::ListBuckets, "s3:ListAllMyBuckets", Grants::Nothing)),
    op("ListMultipartUploads", ReadBucket, "s3:ListBucketMultipartUploads", Grants::ReadBucket),
    op("ListObjectVersions", ReadBucket, "s3:ListBucketVersions", Grants::ReadBucket),
    plain(LIST_OBJECTS),
    plain(op("ListObjectsV2", ReadBucket, "s3:ListBucket", Grants::ReadBucket)),
    op("ListParts", ReadObject, "s3:ListMultipartUploadParts", Grants::WriteBucket),
    op("PutBucketAcl", ConfigureBucket, "s3:PutBucketAcl", Grants::WriteBucketAcp),
    op("PutBucketCors", ConfigureBucket, "s3:PutBucketCORS", Grants::Nothing),
    op("PutBucketEncryption", ConfigureBucket, "s3:PutEncryptionConfiguration", Grants::Nothing),
    op("PutBucketLifecycleConfiguration", ConfigureBucket, "s3:PutLifecycleConfiguration", Grants::Nothing),
    op("PutBucketNotificationConfiguration", ConfigureBucket, "s3:PutBucketNotification", Grants::Nothing),
    op("PutBucketOwnershipControls", ConfigureBucket, "s3:PutBucketOwnershipControls", Grants::Nothing),
    op("PutBucketPolicy", ConfigureBucket, "s3:PutBucketPolicy", Grants::Nothing),
    op("PutBucketTagging", ConfigureBucket, "s3:PutBucketTagging", Grants::Nothing),
    op("PutBucketVersioning", ConfigureBucket, "s3:PutBucketVersioning", Grants::Nothing),
    plain(PUT_OBJECT),
    versioned(op("PutObjectAcl", WriteObject, "s3:PutObjectAcl", Grants::WriteObjectAcp), "s3:PutObjectVersionAcl"),
    op("PutObjectLegalHold", WriteObject, "s3:PutObjectLegalHold", Grants::Nothing),
    op("PutObjectLockConfiguration", ConfigureBucket, "s3:PutBucketObjectLockConfiguration", Grants::Nothing),
    op("PutObjectRetention", WriteObject, "s3:PutObjectRetention", Grants::Nothing),
    versioned(
        op("PutObjectTagging", WriteObject, "s3:PutObjectTagging", Grants::Nothing),
        "s3:PutObjectVersionTagging",
    ),
    op("PutPublicAccessBlock", ConfigureBucket, "s3:PutBucketPublicAccessBlock", Grants::Nothing),
    op("UploadPart", WriteObject, "s3:PutObject", Grants::WriteBucket),
    op("UploadPartCopy", WriteObject, "s3:PutObject", Grants::WriteBucket),
];

/// Deleting one object; also what each key of a DeleteObjects is.
pub(crate) const DELETE_OBJECT: Operation =
    versioned(op("DeleteObject", WriteObject, "s3:DeleteObject", Grants::WriteBucket), "s3:DeleteObjectVersion");

/// Reading an object; also what reading the source of a copy is.
pub(crate) const READ_OBJECT: Operation =
    versioned(op("GetObject", ReadObject, "s3:GetObject", Grants::ReadObject), "s3:GetObjectVersion");

/// Reading an object's headers.
pub(crate) const HEAD_OBJECT: Operation =
    versioned(op("HeadObject", ReadObject, "s3:GetObject", Grants::ReadObject), "s3:GetObjectVersion");

/// Writing an object; also what a form is.
pub(crate) const PUT_OBJECT: Operation = op("PutObject", WriteObject, "s3:PutObject", Grants::WriteBucket);

/// Listing objects; also what it takes to be told that one is not there.
pub(crate) const LIST_OBJECTS: Operation = op("ListObjects", ReadBucket, "s3:ListBucket", Grants::ReadBucket);

/// Passing over governance; not an operation of its own.
pub(crate) const BYPASS_GOVERNANCE: Operation =
    op("BypassGovernanceRetention", Action::BypassGovernance, "s3:BypassGovernanceRetention", Grants::Nothing);

/// Deletes whose keys stand in the body, so that they are judged one by one.
pub(crate) const DELETE_OBJECTS: &str = "DeleteObjects";

/// Beginning an upload: parts belong to who began it, so that takes a key.
const CREATE_UPLOAD: &str = "CreateMultipartUpload";

/// What a write does besides when it carries one of these headers, each judged as the operation of its own. Access lists allow what
/// goes with the object, and no locks.
const BESIDES: [(&str, Operation); 9] = [
    ("x-amz-acl", PUT_ACL),
    ("x-amz-grant-full-control", PUT_ACL),
    ("x-amz-grant-read", PUT_ACL),
    ("x-amz-grant-read-acp", PUT_ACL),
    ("x-amz-grant-write", PUT_ACL),
    ("x-amz-grant-write-acp", PUT_ACL),
    ("x-amz-tagging", PUT_TAGS),
    ("x-amz-object-lock-mode", op("PutObject", WriteObject, "s3:PutObjectRetention", Grants::Nothing)),
    ("x-amz-object-lock-legal-hold", op("PutObject", WriteObject, "s3:PutObjectLegalHold", Grants::Nothing)),
];

/// Headers with which a write happens only over one state of the object.
const ASK_FOR_STATE: [&str; 4] =
    ["if-match", "cf-copy-destination-if-match", "x-amz-if-match-last-modified-time", "x-amz-if-match-size"];

/// Reading tags, which go along with a copy.
pub(crate) const READ_TAGS: Operation =
    versioned(op("CopyObject", ReadObject, "s3:GetObjectTagging", Grants::Nothing), "s3:GetObjectVersionTagging");

/// Writing tags together with an object.
pub(crate) const PUT_TAGS: Operation = op("PutObject", WriteObject, "s3:PutObjectTagging", Grants::WriteBucket);

const PUT_ACL: Operation = op("PutObject", WriteObject, "s3:PutObjectAcl", Grants::WriteBucket);

/// What else a write with these headers does. `private` is what an object is anyway.
pub(crate) fn besides(headers: &HeaderMap) -> impl Iterator<Item = Operation> {
    let asks = |name: &str| headers.get(name).is_some_and(|value| name != "x-amz-acl" || value != "private");
    BESIDES.into_iter().filter(move |(name, _)| asks(name)).map(|(_, operation)| operation)
}

/// What the bucket's owner may do whatever a policy says, so that nobody locks himself out.
const POLICY_REPAIRS: [&str; 3] = ["GetBucketPolicy", "PutBucketPolicy", "DeleteBucketPolicy"];

impl Operation {
    /// The operation that s3s calls so, if there is one.
    pub(crate) fn named(name: &str) -> Option<&'static Self> {
        let found = OPERATIONS.binary_search_by(|operation| operation.name.cmp(name));
        found.ok().map(|at| &OPERATIONS[at])
    }

    /// Whether it writes a new object, with headers that say what else.
    pub(crate) fn writes_object(&self) -> bool {
        matches!(self.name, "PutObject" | "CopyObject" | CREATE_UPLOAD)
    }

    /// Of the operations that policies call `s3:PutObject`: whether there is an object once it is done, or only an upload or a part.
    pub(crate) fn creates_object(&self) -> Option<bool> {
        match self.name {
            "PutObject" | "CopyObject" | "CompleteMultipartUpload" => Some(true),
            CREATE_UPLOAD | "UploadPart" | "UploadPartCopy" => Some(false),
            _ => None,
        }
    }

    /// Whether it can be told to make its bucket.
    pub(crate) fn may_make_bucket(&self) -> bool {
        matches!(self.name, "PutObject" | CREATE_UPLOAD)
    }

    /// What it takes besides: attributes are part of what an object is, and a write that asks for a state tells whether it is the one.
    pub(crate) fn needs_besides(&self, headers: &HeaderMap) -> Option<Self> {
        let asks = || ASK_FOR_STATE.iter().any(|name| headers.contains_key(*name));
        let tells = match self.name {
            "GetObjectAttributes" => true,
            "PutObject" | "CopyObject" | "CompleteMultipartUpload" | "DeleteObject" => asks(),
            _ => false,
        };
        tells.then_some(READ_OBJECT)
    }

    /// Whether it can mend a policy that denies too much.
    pub(crate) fn repairs_policy(&self) -> bool {
        POLICY_REPAIRS.contains(&self.name)
    }

    /// Whether nobody may do it without a key, whatever a policy says.
    pub(crate) fn is_for_keys(&self) -> bool {
        self.action.needs() == Permission::Admin || self.name == CREATE_UPLOAD
    }

    /// Whether it works on an upload that was begun with headers which say what the object will be.
    pub(crate) fn adds_to_upload(&self) -> bool {
        matches!(self.name, "UploadPart" | "UploadPartCopy" | "CompleteMultipartUpload")
    }

    /// Whether it tells more of a bucket than that it is there.
    pub(crate) fn reads_configuration(&self) -> bool {
        self.action == ReadBucket && !self.lists_keys() && !matches!(self.name, "HeadBucket" | "GetBucketLocation")
    }

    /// Whether it lists the keys of a bucket that begin with a prefix.
    pub(crate) fn lists_keys(&self) -> bool {
        self.action == ReadBucket && self.name.starts_with("List")
    }

    /// Whether it tells what an object holds.
    pub(crate) fn reads_object(&self) -> bool {
        matches!(self.grants, Grants::ReadObject | Grants::ReadObjectAcp)
    }

    /// What policies call it.
    pub(crate) fn policy_action(&self, of_version: bool) -> &'static str {
        if of_version { self.policy_of_version } else { self.policy }
    }

    /// All of them.
    #[cfg(test)]
    pub(crate) fn all() -> &'static [Self] {
        OPERATIONS
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fmt::Write as _;

    #[test]
    fn operations_are_sorted_and_found_by_name() {
        assert!(Operation::all().is_sorted_by(|a, b| a.name < b.name));
        for operation in Operation::all() {
            assert_eq!(Operation::named(operation.name).unwrap().name, operation.name);
        }
        assert!(Operation::named("PutBucketWebsite").is_none());
    }

    /// Operations of S3 that are refused, in the order of their names.
    const REFUSED: &[&str] = &[
        "CreateBucketMetadataTableConfiguration",
        "CreateSession",
        "DeleteBucketAnalyticsConfiguration",
        "DeleteBucketIntelligentTieringConfiguration",
        "DeleteBucketInventoryConfiguration",
        "DeleteBucketMetricsConfiguration",
        "DeleteBucketReplication",
        "DeleteBucketWebsite",
        "GetBucketAnalyticsConfiguration",
        "GetBucketIntelligentTieringConfiguration",
        "GetBucketInventoryConfiguration",
        "GetBucketMetricsConfiguration",
        "GetObjectTorrent",
        "PutBucketAccelerateConfiguration",
        "PutBucketAnalyticsConfiguration",
        "PutBucketIntelligentTieringConfiguration",
        "PutBucketInventoryConfiguration",
        "PutBucketLogging",
        "PutBucketMetricsConfiguration",
        "PutBucketReplication",
        "PutBucketRequestPayment",
        "PutBucketWebsite",
        "RenameObject",
        "RestoreObject",
        "SelectObjectContent",
        "WriteGetObjectResponse",
    ];

    /// What of an operation is not as S3 has it.
    fn limits(name: &str) -> &'static str {
        match name {
            "CompleteMultipartUpload" => "a part number named twice is refused (`InvalidPartOrder`)",
            "CopyObject" => "at most `s3.put_size_max` (5 GiB), larger objects by UploadPartCopy",
            "CreateBucket" => "any location is remembered; the same request again is answered 200",
            "DeleteObjects" => "at most 1,000 keys, judged one by one where the bucket has a policy",
            "GetObject" | "HeadObject" => "one range; several are passed over",
            "ListObjectVersions" => "versions and delete markers stand in two runs, not interleaved",
            "GetBucketAccelerateConfiguration" | "GetBucketLogging" => "always empty",
            "GetBucketReplication" | "GetBucketWebsite" => "there is never one (404)",
            "GetBucketRequestPayment" => "always `BucketOwner`",
            "PutBucketLifecycleConfiguration" => {
                "checked, kept and told in `x-amz-expiration`; nothing expires or moves yet"
            }
            "PutBucketNotificationConfiguration" => "only an empty one; destinations are refused",
            "PutBucketPolicy" => "unknown actions, keys and operators are refused; at most 20 KiB",
            "PutBucketEncryption" => "only `AES256` (SSE-S3)",
            "PutBucketVersioning" => "no MFA delete",
            "PutObject" => "needs a length, also with chunks (411 `MissingContentLength`)",
            _ => "",
        }
    }

    fn page() -> String {
        let mut page = String::from(
            "# S3 operations\n\nMade by the tests of `s3-api` from its table of operations; do not edit. \
             `CISTERN_WRITE_DOCS=1 cargo test -p cistern-s3-api operations` writes it.\n\n\
             ## There are\n\n| operation | key | policy action | by access list | limits |\n| --- | --- | --- | --- | --- |\n",
        );
        for operation in Operation::all() {
            let version = match operation.policy_of_version {
                same if same == operation.policy => String::new(),
                version => format!(", `{version}`"),
            };
            let grants = match operation.grants {
                Grants::Nothing => "",
                Grants::ReadBucket => "bucket `READ`",
                Grants::WriteBucket => "bucket `WRITE`",
                Grants::ReadBucketAcp => "bucket `READ_ACP`",
                Grants::WriteBucketAcp => "bucket `WRITE_ACP`",
                Grants::ReadObject => "object `READ`",
                Grants::ReadObjectAcp => "object `READ_ACP`",
                Grants::WriteObjectAcp => "object `WRITE_ACP`",
            };
            let Operation { name, action, policy, .. } = operation;
            writeln!(page, "| {name} | {} | `{policy}`{version} | {grants} | {} |", action.needs(), limits(name))
                .unwrap();
        }
        page += "| PostObject (browsers' forms) | read-write | `s3:PutObject` | bucket `WRITE` | at most 20 KiB of fields |\n";
        page += "\n## Refused\n\nWith `NotImplemented` (501), and nothing is changed:\n\n";
        for name in REFUSED {
            writeln!(page, "- {name}").unwrap();
        }
        page += "\nSo are KMS keys (`x-amz-server-side-encryption: aws:kms`) and the headers `x-amz-website-redirect-location`, `x-amz-mfa` and \
                 `x-amz-write-offset-bytes`. Signature version 2 is refused everywhere but in forms.\n";
        page
    }

    #[test]
    fn the_page_about_operations_says_what_the_table_says() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/s3-compatibility.md");
        if std::env::var_os("CISTERN_WRITE_DOCS").is_some() {
            std::fs::write(path, page()).unwrap();
        }
        assert!(REFUSED.is_sorted() && REFUSED.iter().all(|name| Operation::named(name).is_none()));
        let written = std::fs::read_to_string(path).unwrap_or_default();
        assert!(written == page(), "docs/s3-compatibility.md is not what the table says: see its first lines");
    }

    #[test]
    fn every_action_is_one_that_policies_know() {
        use cistern_access::BucketPolicy;
        let bucket = "photos".parse().unwrap();
        for operation in Operation::all().iter().chain([&BYPASS_GOVERNANCE]) {
            for action in [operation.policy, operation.policy_of_version] {
                let text = format!(
                    r#"{{"Statement":{{"Effect":"Allow","Principal":"*","Action":"{action}",
                        "Resource":["arn:aws:s3:::photos","arn:aws:s3:::photos/*"]}}}}"#
                );
                BucketPolicy::parse(&text, &bucket).unwrap_or_else(|error| panic!("{action}: {error}"));
            }
        }
    }
}
