//! Buckets: create, look up, list, delete.

use crate::attributes::Tags;
use crate::garbage::release_upload;
use crate::retry::Tries;
use crate::rows::{BUCKETS, CONFIGURATIONS, ConfigurationRow, Marker, OBJECTS, OWNED_BUCKETS, UPLOADS, VERSIONS};
use crate::settings::{
    BucketSettings, ConfigurationKind, ObjectLock, ObjectOwnership, Versioning, check_configuration,
};
use crate::{Error, Objects, Result};
use cistern_metadata::{Scan, Transaction};
use cistern_types::{Acl, BucketId, BucketName, Owner, OwnerId, StorageClass, Timestamp};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// How many open uploads one transaction aborts when their bucket is deleted.
const ABORTS_PER_TRANSACTION: usize = 500;

/// A bucket to be made.
#[derive(Debug, Clone)]
pub struct BucketSpec {
    /// Its name.
    pub name: BucketName,
    /// Whose it will be.
    pub owner: Owner,
    /// The class of objects that name none.
    pub class: StorageClass,
    /// The location its maker asked for.
    pub location: Option<String>,
    /// Whether it keeps locks, and versions with them, from the beginning.
    pub object_lock: bool,
    /// Who may do what with it; `None` for its owner only.
    pub acl: Option<Acl>,
    /// Whose the objects are that others write, if that is said.
    pub object_ownership: Option<ObjectOwnership>,
    /// Its tags, if it has some.
    pub tags: Option<Tags>,
}

/// A bucket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BucketRecord {
    /// The id of this life of the bucket.
    pub id: BucketId,
    /// Its name.
    pub name: BucketName,
    /// Whose it is.
    pub owner: OwnerId,
    /// The name of that owner.
    pub owner_name: String,
    /// When it was made.
    pub created: Timestamp,
    /// The class of objects that name none.
    pub class: StorageClass,
    /// The location its maker asked for.
    pub location: Option<String>,
    /// What it was told about itself.
    pub settings: BucketSettings,
}

/// Which buckets to list.
#[derive(Debug, Clone)]
pub struct ListBuckets {
    /// Whose; `None` for everybody's.
    pub owner: Option<OwnerId>,
    /// What their names begin with.
    pub prefix: String,
    /// Only names after this.
    pub after: Option<String>,
    /// At most this many.
    pub limit: usize,
}

/// A page of buckets in the order of their names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BucketPage {
    /// The buckets.
    pub buckets: Vec<BucketRecord>,
    /// What to list `after` for the next page; `None` when this is the last.
    pub next: Option<String>,
}

impl Objects {
    /// Makes a bucket. `BucketAlreadyOwnedByYou` and `BucketAlreadyExists` when the name is taken.
    pub async fn create_bucket(&self, spec: BucketSpec) -> Result<BucketRecord> {
        let tags = spec.tags.as_ref().map(Tags::to_query);
        check_configuration(tags.as_deref())?;
        let mut tries = Tries::new();
        loop {
            let mut txn = self.store().begin().await?;
            if let Some(present) = BUCKETS.get(&mut txn, &spec.name).await? {
                let bucket = spec.name;
                return Err(if present.owner == spec.owner.id {
                    Error::BucketAlreadyOwnedByYou { bucket }
                } else {
                    Error::BucketAlreadyExists { bucket }
                });
            }
            let record = BucketRecord {
                id: BucketId::random(),
                name: spec.name.clone(),
                owner: spec.owner.id,
                owner_name: spec.owner.name.clone(),
                created: self.now(),
                class: spec.class,
                location: spec.location.clone(),
                settings: first_settings(&spec),
            };
            BUCKETS.put(&mut txn, &record.name, &record)?;
            OWNED_BUCKETS.put(&mut txn, &(record.owner, record.name.clone()), &Marker)?;
            if let Some(text) = &tags {
                let row = ConfigurationRow { text: text.clone() };
                CONFIGURATIONS.put(&mut txn, &(record.id, ConfigurationKind::Tagging as u8), &row)?;
            }
            if tries.commit(txn).await? {
                return Ok(record);
            }
        }
    }

    /// The bucket of this name, or `NoSuchBucket`.
    pub async fn bucket(&self, name: &BucketName) -> Result<Arc<BucketRecord>> {
        let found = self.bucket_rows().read(self.store(), name).await?;
        found.ok_or_else(|| Error::NoSuchBucket { bucket: name.clone() })
    }

    /// The bucket as the transaction sees it, on which the transaction then depends.
    pub(crate) async fn bucket_in(&self, txn: &mut Transaction, name: &BucketName) -> Result<Arc<BucketRecord>> {
        let found = self.bucket_rows().get(txn, name).await?;
        found.ok_or_else(|| Error::NoSuchBucket { bucket: name.clone() })
    }

    /// The bucket as the transaction sees it.
    pub(crate) async fn peek_bucket(&self, txn: &Transaction, name: &BucketName) -> Result<Arc<BucketRecord>> {
        let found = self.bucket_rows().peek(txn, name).await?;
        found.ok_or_else(|| Error::NoSuchBucket { bucket: name.clone() })
    }

    /// Lists buckets in the order of their names.
    pub async fn buckets(&self, request: ListBuckets) -> Result<BucketPage> {
        let txn = self.store().read().await?;
        let ListBuckets { owner, prefix, after, limit } = request;
        let one_more = limit.saturating_add(1);
        let mut buckets = match owner {
            None => {
                let mut range = BUCKETS.text_range(&(), &prefix);
                if let Some(after) = after {
                    range = range.after(&BUCKETS.prefix_range(&after).start);
                }
                let rows = BUCKETS.scan_unchecked(&txn, &Scan::first(range, one_more)).await?;
                rows.into_iter().map(|(_, record)| record).collect()
            }
            Some(owner) => {
                let mut range = OWNED_BUCKETS.text_range(&owner, &prefix);
                if let Some(after) = after {
                    range = range.after(&OWNED_BUCKETS.prefix_range(&(owner, after)).start);
                }
                let mut records = Vec::new();
                for ((_, name), _) in OWNED_BUCKETS.scan_unchecked(&txn, &Scan::first(range, one_more)).await? {
                    records.push(Arc::unwrap_or_clone(self.peek_bucket(&txn, &name).await?));
                }
                records
            }
        };
        let more = buckets.len() > limit;
        buckets.truncate(limit);
        let next = buckets.last().filter(|_| more).map(|last: &BucketRecord| last.name.to_string());
        Ok(BucketPage { buckets, next })
    }

    /// Changes the class of objects that name none. Objects that are there keep theirs.
    pub async fn set_bucket_class(&self, name: &BucketName, class: StorageClass) -> Result<BucketRecord> {
        let mut tries = Tries::new();
        loop {
            let mut txn = self.store().begin().await?;
            let record = BucketRecord { class, ..Arc::unwrap_or_clone(self.bucket_in(&mut txn, name).await?) };
            BUCKETS.put(&mut txn, name, &record)?;
            if tries.commit(txn).await? {
                return Ok(record);
            }
        }
    }

    /// Deletes an empty bucket, or answers `BucketNotEmpty`: versions and delete markers count. Uploads that are still open are aborted.
    pub async fn delete_bucket(&self, name: &BucketName) -> Result<()> {
        let mut tries = Tries::new();
        loop {
            let mut txn = self.store().begin().await?;
            let bucket = self.bucket_in(&mut txn, name).await?;
            let objects = Scan::first(OBJECTS.prefix_range(&bucket.id), 1);
            let versions = Scan::first(VERSIONS.prefix_range(&bucket.id), 1);
            if !OBJECTS.scan(&mut txn, &objects).await?.is_empty()
                || !VERSIONS.scan(&mut txn, &versions).await?.is_empty()
            {
                return Err(Error::BucketNotEmpty { bucket: name.clone() });
            }
            let uploads = Scan::first(UPLOADS.prefix_range(&bucket.id), ABORTS_PER_TRANSACTION);
            let uploads = UPLOADS.scan(&mut txn, &uploads).await?;
            for (key, _) in &uploads {
                UPLOADS.delete(&mut txn, key);
                release_upload(&mut txn, self.now(), key.2)?;
            }
            let last = uploads.len() < ABORTS_PER_TRANSACTION;
            if last {
                BUCKETS.delete(&mut txn, name);
                OWNED_BUCKETS.delete(&mut txn, &(bucket.owner, name.clone()));
                for kind in &bucket.settings.configured {
                    CONFIGURATIONS.delete(&mut txn, &(bucket.id, *kind as u8));
                }
            }
            if tries.commit(txn).await? && last {
                return Ok(());
            }
        }
    }
}

fn first_settings(spec: &BucketSpec) -> BucketSettings {
    BucketSettings {
        versioning: if spec.object_lock { Versioning::Enabled } else { Versioning::Unversioned },
        object_lock: spec.object_lock.then(ObjectLock::default),
        acl: spec.acl.clone(),
        object_ownership: spec.object_ownership,
        configured: spec.tags.iter().map(|_| ConfigurationKind::Tagging).collect(),
        ..BucketSettings::default()
    }
}

#[cfg(test)]
mod tests;
