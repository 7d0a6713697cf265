//! Whether a request may go on, decided before anything of its body is read: the operation is one that there is, it asks for
//! nothing that is not, and `judge.rs` allows it to whoever signed it, or to anybody.
//!
//! Operations and headers that this store does not have are refused as not implemented: `s3s` lets a request with an
//! unknown sub-resource fall through to the plain operation, so that `DELETE /bucket?logging` would delete the bucket.

use crate::error_map::Refusal;
use crate::facts::Facts;
use crate::judge::{Judge, Subject, within_key};
use crate::lenient::AsSent;
use crate::notes::Notes;
use crate::operations::{DELETE_OBJECTS, Operation, besides};
use crate::query::Query;
use crate::r2::makes_bucket;
use async_trait::async_trait;
use cistern_access::{Action, Identity, Reach, allow};
use cistern_net::Peer;
use cistern_objects::{
    BucketRecord, BucketSpec, ConfigurationKind, EncryptionKind, Error, Objects, UploadRef, VersionRef,
};
use cistern_types::{BucketName, OwnerId, StorageClass};
use http::header::AsHeaderName;
use http::{HeaderMap, HeaderName, Uri};
use s3s::S3Result;
use s3s::access::{S3Access, S3AccessContext};
use s3s::path::S3Path;
use std::sync::Arc;

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
const FOREIGN_HEADERS: [&str; 3] = ["x-amz-mfa", "x-amz-website-redirect-location", "x-amz-write-offset-bytes"];

/// Asks the judge, with the bucket from `cistern-objects`.
#[derive(Debug, Clone)]
pub(crate) struct AccessCheck {
    pub(crate) judge: Judge,
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
    async fn decide(&self, notes: &Notes, cx: &mut S3AccessContext<'_>) -> Result<(), Refusal> {
        let sent = AsSent::of(cx.extensions_mut());
        let signer = match &sent {
            Some(sent) => sent.signer.as_deref(),
            None => cx.credentials().map(|signer| signer.access_key.as_str()),
        };
        let asker = match signer {
            None => None,
            Some(_) if let Some(identity) = notes.session() => Some(Arc::clone(identity)),
            Some(signer) => {
                let id = signer.parse().map_err(|_| Refusal::access_denied())?;
                Some(self.judge.access.identity(&id).await?.ok_or_else(Refusal::access_denied)?)
            }
        };
        let operation = Operation::named(cx.s3_op().name()).ok_or_else(Refusal::not_implemented)?;
        let peer = cx.extensions_mut().get::<Peer>().copied();
        let (headers, uri) = match &sent {
            Some(sent) => (&sent.headers, &sent.uri),
            None => (cx.headers(), cx.uri()),
        };
        let place = match cx.s3_path() {
            S3Path::Root => None,
            S3Path::Bucket { bucket } => Some((&**bucket, None)),
            S3Path::Object { bucket, key } => Some((&**bucket, Some(&**key))),
        };
        self.decide_about(notes, asker, operation, place, (headers, uri, peer)).await
    }

    /// Decides about an operation on a bucket, or on a key of it, and notes what `ops/` go by. `asker` is who signed.
    pub(crate) async fn decide_about(
        &self,
        notes: &Notes,
        asker: Option<Arc<Identity>>,
        operation: &Operation,
        place: Option<(&str, Option<&str>)>,
        (headers, uri, peer): (&HeaderMap, &Uri, Option<Peer>),
    ) -> Result<(), Refusal> {
        notes.set_operation(operation.name);
        if operation.plain && has_sub_resource(uri.query(), operation.name) {
            return Err(Refusal::not_implemented());
        }
        check_headers(headers)?;
        if operation.writes_object() && uri.query().is_some_and(|query| Query::parse(query).has("versionId")) {
            return Err(Refusal::invalid_argument("This operation does not accept a version-id."));
        }
        let facts = Facts::new(headers, uri, notes.received, peer).of_operation(operation);
        let head = Head { headers, uri, facts: &facts };
        match place {
            None => check_without_bucket(asker.as_ref(), operation, None)?,
            Some((bucket, _)) if operation.action == Action::CreateBucket => {
                check_without_bucket(asker.as_ref(), operation, Some(&bucket.parse()?))?;
            }
            Some(place) => self.check_bucket(notes, asker.as_ref(), operation, place, head).await?,
        }
        if let Some(asker) = asker {
            notes.set_asker(asker);
        }
        Ok(())
    }

    async fn check_bucket(
        &self,
        notes: &Notes,
        asker: Option<&Arc<Identity>>,
        operation: &Operation,
        (bucket, key): (&str, Option<&str>),
        Head { headers, uri, facts }: Head<'_>,
    ) -> Result<(), Refusal> {
        let asker = asker.map(|identity| &**identity);
        let name = bucket.parse::<BucketName>()?;
        let make = makes_bucket(operation, headers)?;
        let bucket = match self.judge.bucket(asker, operation, (&name, key), facts).await {
            Err(missing) if make && missing.is("NoSuchBucket") => self.make_bucket(asker, &name, headers).await?,
            bucket => bucket?,
        };
        let of_upload;
        let facts = match key.filter(|_| operation.adds_to_upload() && bucket.has(ConfigurationKind::Policy)) {
            Some(key) => {
                of_upload = facts.clone().of_upload(self.encryption_of(&bucket, key, uri.query()).await?);
                &of_upload
            }
            None => facts,
        };
        let subject = Subject { bucket: &bucket, key, version: version_of(uri.query()) };
        let judged_by_key = operation.name == DELETE_OBJECTS && bucket.has(ConfigurationKind::Policy);
        match asker {
            Some(identity) if judged_by_key => within_key(identity, operation, (&bucket.name, key), facts)?,
            None if judged_by_key => {}
            _ => self.judge.check(asker, operation, subject, facts).await?,
        }
        if let Some(besides) = operation.needs_besides(headers) {
            self.judge.check(asker, &besides, subject, facts).await?;
        }
        if operation.writes_object() {
            for besides in besides(headers) {
                self.judge.check(asker, &besides, subject, facts).await?;
            }
        }
        check_expected_owner(headers, &EXPECTED_OWNER, bucket.owner)?;
        notes.set_bucket(bucket);
        Ok(())
    }

    /// Makes the bucket that a write found missing and asked for, as CreateBucket without a body would; it stays whatever becomes of
    /// the write. Of several who make it at once each goes on with the one that is there then.
    async fn make_bucket(
        &self,
        asker: Option<&Identity>,
        name: &BucketName,
        headers: &HeaderMap,
    ) -> Result<Arc<BucketRecord>, Refusal> {
        let identity = asker.ok_or_else(Refusal::access_denied)?;
        allow(identity, Action::CreateBucket, Some(name), Reach::Whole).map_err(|_| Refusal::access_denied())?;
        check_expected_owner(headers, &EXPECTED_OWNER, identity.owner_id())?;
        let spec = BucketSpec {
            name: name.clone(),
            owner: identity.owner(),
            class: StorageClass::Standard,
            location: None,
            object_lock: false,
            acl: None,
            object_ownership: None,
            tags: None,
        };
        match self.objects.create_bucket(spec).await {
            Err(Error::BucketAlreadyOwnedByYou { .. } | Error::BucketAlreadyExists { .. }) => {
                Ok(self.objects.bucket(name).await?)
            }
            made => Ok(Arc::new(made?)),
        }
    }

    /// How the upload is encrypted that the query names; one that is not there is for the operation to refuse.
    async fn encryption_of(
        &self,
        bucket: &BucketRecord,
        key: &str,
        query: Option<&str>,
    ) -> Result<Option<EncryptionKind>, Refusal> {
        let query = query.map(Query::parse).unwrap_or_default();
        let upload = query.only("uploadId").and_then(|upload| upload.parse().ok());
        let (Some(upload), Ok(key)) = (upload, key.parse()) else { return Ok(None) };
        match self.objects.parts(&UploadRef { bucket: bucket.name.clone(), key, upload }, 0, 0).await {
            Ok(page) => Ok(page.encryption),
            Err(Error::NoSuchUpload { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

/// The head of a request as it came, and what policies may ask of it.
#[derive(Debug, Clone, Copy)]
struct Head<'a> {
    headers: &'a HeaderMap,
    uri: &'a Uri,
    facts: &'a Facts<'a>,
}

static EXPECTED_OWNER: HeaderName = HeaderName::from_static("x-amz-expected-bucket-owner");

/// Refuses a bucket of another owner than the header of this name says.
pub(crate) fn check_expected_owner(
    headers: &HeaderMap,
    name: impl AsHeaderName,
    owner: OwnerId,
) -> Result<(), Refusal> {
    let expected = headers.get(name);
    let other = expected.is_some_and(|expected| expected.as_bytes() != owner.to_string().as_bytes());
    if other { Err(Refusal::access_denied()) } else { Ok(()) }
}

/// What is about no bucket that is there takes a key, and no more.
fn check_without_bucket(
    asker: Option<&Arc<Identity>>,
    operation: &Operation,
    bucket: Option<&BucketName>,
) -> Result<(), Refusal> {
    let identity = asker.ok_or_else(Refusal::access_denied)?;
    allow(identity, operation.action, bucket, Reach::Whole).map_err(|_| Refusal::access_denied())
}

/// The version that the query names; one that is none is refused by the operation.
fn version_of(query: Option<&str>) -> Option<VersionRef> {
    Query::parse(query?).only("versionId")?.parse().ok()
}

/// Whether a query names another operation than the plain one.
pub(crate) fn names_sub_resource(query: &str) -> bool {
    Query::parse(query).names().any(|name| SUB_RESOURCES.contains(&name))
}

fn has_sub_resource(query: Option<&str>, operation: &str) -> bool {
    let Some(query) = query else { return false };
    let part_of_nothing = |name: &str| name == "partNumber" && !matches!(operation, "GetObject" | "HeadObject");
    Query::parse(query).names().any(|name| SUB_RESOURCES.contains(&name) || part_of_nothing(name))
}

pub(crate) fn check_headers(headers: &HeaderMap) -> Result<(), Refusal> {
    let foreign = headers.keys().any(|name| is_foreign(name.as_str()));
    if foreign { Err(Refusal::not_implemented()) } else { Ok(()) }
}

/// One pass over the few headers that came costs less than looking up the many that may not.
fn is_foreign(name: &str) -> bool {
    name.starts_with("x-amz-") && FOREIGN_HEADERS.contains(&name)
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
        for (name, foreign) in [
            ("x-amz-acl", false),
            ("x-amz-server-side-encryption", false),
            ("x-amz-mfa", true),
            ("x-amz-website-redirect-location", true),
            ("x-amz-meta-anything", false),
        ] {
            assert_eq!(is_foreign(name), foreign, "{name}");
        }
    }
}
