//! `Judge`: whether an asker may do an operation, from what everybody concerned says.
//!
//! ```text
//! the key's own permission ─▶ a ceiling: nothing lifts a key above it
//! the bucket's policy      ─▶ Deny ends it, for the owner too (who may always mend the policy) · Allow ends it, unless restricted
//! the bucket's owner       ─▶ may
//! access lists             ─▶ of the bucket or the object, unless the bucket has none or passes over public grants
//! ```
//! Whoever may not read an object learns that it is missing only if he may list the bucket.

use crate::error_map::Refusal;
use crate::facts::Facts;
use crate::operations::{BYPASS_GOVERNANCE, Grants, LIST_OBJECTS, Operation};
use crate::query::Query;
use cistern_access::{Access, BucketPolicy, Decision, Identity, PolicyRequest, Principal, Reach, allow};
use cistern_objects::{BucketRecord, ConfigurationKind, Error, ObjectRecord, Objects, VersionRef};
use cistern_types::{AclPermission, BucketId, BucketName, ObjectKey, Owner, OwnerId};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// How many parsed policies are kept; at the bound all are dropped and parsed again.
const POLICIES_MAX: usize = 1024;

/// What an operation is about.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Subject<'a> {
    pub(crate) bucket: &'a BucketRecord,
    pub(crate) key: Option<&'a str>,
    pub(crate) version: Option<VersionRef>,
}

/// Decides. Clones share what is remembered.
#[derive(Debug, Clone)]
pub(crate) struct Judge {
    pub(crate) access: Access,
    objects: Objects,
    policies: Arc<Mutex<HashMap<BucketId, Arc<BucketPolicy>>>>,
}

impl Judge {
    pub(crate) fn new(access: Access, objects: Objects) -> Self {
        Self { access, objects, policies: Arc::default() }
    }

    /// The bucket that an operation is about. Whose key does not reach a bucket of that name is not told whether there is one.
    pub(crate) async fn bucket(
        &self,
        asker: Option<&Identity>,
        operation: &Operation,
        place: (&BucketName, Option<&str>),
        facts: &Facts<'_>,
    ) -> Result<Arc<BucketRecord>, Refusal> {
        let found = self.objects.bucket(place.0).await;
        if let (Err(Error::NoSuchBucket { .. }), Some(identity)) = (&found, asker) {
            within_key(identity, operation, place, facts)?;
        }
        Ok(found?)
    }

    /// Refuses what the asker may not do; `None` is somebody who did not sign.
    pub(crate) async fn check(
        &self,
        asker: Option<&Identity>,
        operation: &Operation,
        subject: Subject<'_>,
        facts: &Facts<'_>,
    ) -> Result<(), Refusal> {
        let bucket = subject.bucket;
        if let Some(identity) = asker {
            within_key(identity, operation, (&bucket.name, subject.key), facts)?;
        }
        let id = asker.map(Identity::owner_id);
        let is_owner = id == Some(bucket.owner);
        if operation.repairs_policy() {
            // whatever the policy says, or however it is damaged
            return if is_owner { Ok(()) } else { Err(denied(operation, "not the owner")) };
        }
        if asker.is_none() && operation.is_for_keys() {
            return Err(denied(operation, "no key"));
        }
        match self.policy_says(asker, operation, subject, facts).await? {
            Decision::Deny => Err(denied(operation, "policy")),
            Decision::Allow if is_owner || !operation.reads_object() => Ok(()),
            Decision::Allow => self.check_missing(asker, operation, subject, facts).await,
            Decision::Silent if is_owner => Ok(()),
            Decision::Silent => self.check_acl(asker, operation, subject, facts).await,
        }
    }

    /// Refuses to say that an object is missing to who may not list the bucket.
    async fn check_missing(
        &self,
        asker: Option<&Identity>,
        operation: &Operation,
        subject: Subject<'_>,
        facts: &Facts<'_>,
    ) -> Result<(), Refusal> {
        let Some(key) = subject.key else { return Ok(()) };
        match self.record(subject, key).await? {
            Some(_) => Ok(()),
            None => self.tell_missing(asker, operation, subject, key, facts).await,
        }
    }

    async fn tell_missing(
        &self,
        asker: Option<&Identity>,
        operation: &Operation,
        subject: Subject<'_>,
        key: &str,
        facts: &Facts<'_>,
    ) -> Result<(), Refusal> {
        let may = self.may_list(asker, subject, key, facts).await?;
        if may { Ok(()) } else { Err(denied(operation, "missing")) }
    }

    /// Whether governance may be passed over: it was asked for, and the asker may.
    pub(crate) async fn may_bypass(
        &self,
        asker: Option<&Identity>,
        wanted: Option<bool>,
        subject: Subject<'_>,
        facts: &Facts<'_>,
    ) -> bool {
        wanted == Some(true) && self.check(asker, &BYPASS_GOVERNANCE, subject, facts).await.is_ok()
    }

    async fn policy_says(
        &self,
        asker: Option<&Identity>,
        operation: &Operation,
        subject: Subject<'_>,
        facts: &Facts<'_>,
    ) -> Result<Decision, Refusal> {
        let Some(policy) = self.policy(subject.bucket).await? else { return Ok(Decision::Silent) };
        let action = operation.policy_action(subject.version.is_some());
        let tagged = match subject.key.filter(|_| policy.reads_object_tags(action)) {
            None => None,
            Some(key) => {
                let tags = self.record(subject, key).await?.map(|record| record.attributes.tags);
                tags.map(|tags| facts.with_existing_tags(tags))
            }
        };
        let id = asker.map(|identity| identity.owner_id().to_string());
        let principal = match (asker, &id) {
            (Some(identity), Some(id)) => Principal::Owner { id, name: identity.owner_name() },
            _ => Principal::Anonymous,
        };
        let request = PolicyRequest {
            principal,
            action,
            bucket: subject.bucket.name.as_str(),
            key: subject.key,
            context: tagged.as_ref().unwrap_or(facts),
        };
        let decision = policy.decide(&request);
        let restricted = subject.bucket.settings.public_access_block.is_some_and(|block| block.restrict_public_buckets);
        let by_owner = asker.map(Identity::owner_id) == Some(subject.bucket.owner);
        let withheld = decision == Decision::Allow && restricted && !by_owner && policy.is_public();
        Ok(if withheld { Decision::Silent } else { decision })
    }

    /// The bucket's policy, parsed.
    pub(crate) async fn policy(&self, bucket: &BucketRecord) -> Result<Option<Arc<BucketPolicy>>, Refusal> {
        if !bucket.has(ConfigurationKind::Policy) {
            return Ok(None);
        }
        let text = self.objects.configuration(&bucket.name, ConfigurationKind::Policy).await?;
        let Some(text) = text else { return Ok(None) };
        if let Some(known) = self.policies.lock().unwrap_or_else(PoisonError::into_inner).get(&bucket.id)
            && known.text() == text
        {
            return Ok(Some(Arc::clone(known)));
        }
        // It was checked when it was put: one that does not parse any more allows nothing to anybody.
        let parsed = Arc::new(BucketPolicy::parse(&text, &bucket.name).map_err(Refusal::internal)?);
        let mut policies = self.policies.lock().unwrap_or_else(PoisonError::into_inner);
        if policies.len() >= POLICIES_MAX {
            policies.clear();
        }
        policies.insert(bucket.id, Arc::clone(&parsed));
        Ok(Some(parsed))
    }

    async fn check_acl(
        &self,
        asker: Option<&Identity>,
        operation: &Operation,
        subject: Subject<'_>,
        facts: &Facts<'_>,
    ) -> Result<(), Refusal> {
        let id = asker.map(Identity::owner_id);
        let wanted = match operation.grants {
            Grants::Nothing => return Err(denied(operation, "owner")),
            Grants::ReadBucket => return by_bucket(subject.bucket, id, AclPermission::Read, operation),
            // what an access list lets others write, it does not let them remove for good
            Grants::WriteBucket if subject.version.is_some() => return Err(denied(operation, "a version")),
            Grants::WriteBucket => return by_bucket(subject.bucket, id, AclPermission::Write, operation),
            Grants::ReadBucketAcp => return by_bucket(subject.bucket, id, AclPermission::ReadAcp, operation),
            Grants::WriteBucketAcp => return by_bucket(subject.bucket, id, AclPermission::WriteAcp, operation),
            Grants::ReadObject => AclPermission::Read,
            Grants::ReadObjectAcp => AclPermission::ReadAcp,
            Grants::WriteObjectAcp => AclPermission::WriteAcp,
        };
        let Some(key) = subject.key else { return Err(denied(operation, "no key")) };
        let Some(record) = self.record(subject, key).await? else {
            return self.tell_missing(asker, operation, subject, key, facts).await;
        };
        let (no_acls, ignore_public) = acl_rules(subject.bucket);
        let is_own = !no_acls && record.attributes.owner.as_ref().is_some_and(|owner| id == Some(owner.id));
        let acl = record.attributes.acl.as_ref().filter(|_| !no_acls);
        if is_own || acl.is_some_and(|acl| acl.allows(id, wanted, ignore_public)) {
            return Ok(());
        }
        Err(denied(operation, "access list"))
    }

    async fn may_list(
        &self,
        asker: Option<&Identity>,
        subject: Subject<'_>,
        key: &str,
        facts: &Facts<'_>,
    ) -> Result<bool, Refusal> {
        let list = Subject { key: None, version: None, ..subject };
        match self.policy_says(asker, &LIST_OBJECTS, list, &facts.listing(key)).await? {
            Decision::Deny => Ok(false),
            Decision::Allow => Ok(true),
            Decision::Silent => {
                Ok(by_bucket(subject.bucket, asker.map(Identity::owner_id), AclPermission::Read, &LIST_OBJECTS).is_ok())
            }
        }
    }

    /// The object in question; `None` when there is none, or none that could be read.
    async fn record(&self, subject: Subject<'_>, key: &str) -> Result<Option<ObjectRecord>, Refusal> {
        let Ok(key) = key.parse::<ObjectKey>() else { return Ok(None) };
        match self.objects.head_in(subject.bucket, &key, subject.version).await {
            Ok(record) => Ok(Some(record)),
            Err(Error::NoSuchKey { .. } | Error::NoSuchVersion { .. } | Error::IsDeleteMarker { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

/// Refuses what the key itself does not reach.
pub(crate) fn within_key(
    identity: &Identity,
    operation: &Operation,
    (bucket, key): (&BucketName, Option<&str>),
    facts: &Facts<'_>,
) -> Result<(), Refusal> {
    let query = if operation.lists_keys() && identity.scope.is_some() { facts.query() } else { Query::default() };
    let reach = match key {
        Some(key) => Reach::Key(key),
        None if operation.lists_keys() => Reach::Listing(query.only("prefix").unwrap_or_default()),
        // policies, rules and tags speak of all keys
        None if operation.reads_configuration() => Reach::Listing(""),
        None => Reach::Whole,
    };
    allow(identity, operation.action, Some(bucket), reach).map_err(|reason| {
        tracing::debug!(key = %identity.key.access_key_id, operation = operation.name, %reason, "access denied");
        Refusal::access_denied()
    })
}

fn denied(operation: &Operation, by: &'static str) -> Refusal {
    tracing::debug!(operation = operation.name, by, "access denied");
    Refusal::access_denied()
}

/// Whose an object is: its writer's, unless the bucket has everything be its owner's.
pub(crate) fn owner_in(bucket: &BucketRecord, written_by: Option<Owner>) -> Owner {
    written_by.filter(|_| !bucket.enforces_owner()).unwrap_or_else(|| bucket.owned_by())
}

/// Whether the bucket has no access lists at all, and whether it passes over public grants.
fn acl_rules(bucket: &BucketRecord) -> (bool, bool) {
    (bucket.enforces_owner(), bucket.settings.public_access_block.is_some_and(|block| block.ignore_public_acls))
}

fn by_bucket(
    bucket: &BucketRecord,
    asker: Option<OwnerId>,
    wanted: AclPermission,
    operation: &Operation,
) -> Result<(), Refusal> {
    let (no_acls, ignore_public) = acl_rules(bucket);
    let acl = bucket.settings.acl.as_ref().filter(|_| !no_acls);
    if acl.is_some_and(|acl| acl.allows(asker, wanted, ignore_public)) { Ok(()) } else { Err(denied(operation, "acl")) }
}
