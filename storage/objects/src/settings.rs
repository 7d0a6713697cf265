//! What a bucket was told about itself: versioning, object lock, and the texts of the protocol's other configurations.

use crate::attributes::{Attributes, Retention, RetentionMode};
use crate::bucket::BucketRecord;
use crate::retry::Tries;
use crate::rows::{BUCKETS, CONFIGURATIONS, ConfigurationRow};
use crate::{Error, Objects, Result};
use cistern_types::{Acl, BucketName, Owner, Timestamp};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::time::Duration;

const DAY: Duration = Duration::from_hours(24);
const DAYS_PER_YEAR: u32 = 365;

/// The longest default retention in days: a hundred years, as S3 has it.
pub const RETENTION_DAYS_MAX: u32 = 36_500;

/// Whether a bucket keeps versions. Once it does, it can only be suspended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Versioning {
    /// It never did.
    #[default]
    Unversioned,
    /// Every write makes a version.
    Enabled,
    /// Writes replace the null version, the others stay.
    Suspended,
}

/// How long a default retention lasts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum RetentionPeriod {
    /// So many days.
    Days(u32),
    /// So many years of 365 days.
    Years(u32),
}

impl RetentionPeriod {
    fn days(self) -> u32 {
        match self {
            Self::Days(days) => days,
            Self::Years(years) => years.saturating_mul(DAYS_PER_YEAR),
        }
    }
}

/// The retention of new objects that name none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct DefaultRetention {
    /// Who may shorten it.
    pub mode: RetentionMode,
    /// How long it lasts.
    pub period: RetentionPeriod,
}

impl DefaultRetention {
    fn from(self, now: Timestamp) -> Retention {
        Retention { mode: self.mode, until: now.plus(DAY * self.period.days()) }
    }

    fn check(self) -> Result<()> {
        if (1..=RETENTION_DAYS_MAX).contains(&self.period.days()) {
            return Ok(());
        }
        let reason = format!("a default retention lasts from 1 to {RETENTION_DAYS_MAX} days");
        Err(Error::InvalidRetentionPeriod { reason })
    }
}

/// That a bucket keeps locks, and what it locks by itself.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObjectLock {
    /// The retention of new objects that name none.
    pub default_retention: Option<DefaultRetention>,
}

/// What of a bucket's access lists and policy must not make it public; the default blocks nothing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[expect(clippy::struct_excessive_bools, reason = "they are S3's four")]
pub struct PublicAccessBlock {
    /// New lists with grants to groups are refused.
    pub block_public_acls: bool,
    /// Grants to groups are passed over.
    pub ignore_public_acls: bool,
    /// New policies that are public are refused.
    pub block_public_policy: bool,
    /// A policy that is public allows nothing to others.
    pub restrict_public_buckets: bool,
}

/// Whose the objects are that others than the bucket's owner write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ObjectOwnership {
    /// The bucket owner's; there are no access lists.
    BucketOwnerEnforced,
    /// The bucket owner's when the writer says `bucket-owner-full-control`, otherwise the writer's.
    BucketOwnerPreferred,
    /// The writer's.
    ObjectWriter,
}

/// A configuration of a bucket whose text a door understands and the object store only keeps. Stored by its number: new
/// ones go to the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[repr(u8)]
pub enum ConfigurationKind {
    /// `?tagging`
    Tagging,
    /// `?cors`
    Cors,
    /// `?policy`
    Policy,
    /// `?lifecycle`
    Lifecycle,
    /// `?notification`
    Notification,
    /// `?logging`
    Logging,
    /// `?website`
    Website,
}

/// The longest text of a configuration, in bytes.
pub const CONFIGURATION_BYTES_MAX: usize = 64 << 10;

/// What a bucket was told about itself; the default is nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Vec<Setting>", into = "Vec<Setting>")]
pub struct BucketSettings {
    /// Whether it keeps versions.
    pub versioning: Versioning,
    /// Whether it keeps locks.
    pub object_lock: Option<ObjectLock>,
    /// Who may do what with it; without one only its owner may.
    pub acl: Option<Acl>,
    /// What of its access lists and policy must not make it public.
    pub public_access_block: Option<PublicAccessBlock>,
    /// Whose the objects are that others write.
    pub object_ownership: Option<ObjectOwnership>,
    /// Whether objects are encrypted with a key of the store's own when their writer does not ask for anything.
    pub encrypted_by_default: bool,
    /// Which configurations it has, in order.
    pub configured: Vec<ConfigurationKind>,
}

/// One of [`BucketSettings`] as rows store it. New variants go to the end.
#[derive(Debug, Clone, Serialize, Deserialize)]
enum Setting {
    Versioning(Versioning),
    ObjectLock(ObjectLock),
    Configured(Vec<ConfigurationKind>),
    Acl(Acl),
    PublicAccessBlock(PublicAccessBlock),
    ObjectOwnership(ObjectOwnership),
    EncryptedByDefault,
}

impl From<Vec<Setting>> for BucketSettings {
    fn from(stored: Vec<Setting>) -> Self {
        let mut settings = Self::default();
        for setting in stored {
            match setting {
                Setting::Versioning(versioning) => settings.versioning = versioning,
                Setting::ObjectLock(lock) => settings.object_lock = Some(lock),
                Setting::Configured(kinds) => settings.configured = kinds,
                Setting::Acl(acl) => settings.acl = Some(acl),
                Setting::PublicAccessBlock(block) => settings.public_access_block = Some(block),
                Setting::ObjectOwnership(ownership) => settings.object_ownership = Some(ownership),
                Setting::EncryptedByDefault => settings.encrypted_by_default = true,
            }
        }
        settings
    }
}

impl From<BucketSettings> for Vec<Setting> {
    fn from(settings: BucketSettings) -> Self {
        let BucketSettings {
            versioning,
            object_lock,
            acl,
            public_access_block,
            object_ownership,
            encrypted_by_default,
            configured,
        } = settings;
        let versioning = Some(versioning).filter(|versioning| *versioning != Versioning::Unversioned);
        let configured = Some(configured).filter(|kinds| !kinds.is_empty());
        [
            versioning.map(Setting::Versioning),
            object_lock.map(Setting::ObjectLock),
            configured.map(Setting::Configured),
            acl.map(Setting::Acl),
            public_access_block.map(Setting::PublicAccessBlock),
            object_ownership.map(Setting::ObjectOwnership),
            encrypted_by_default.then_some(Setting::EncryptedByDefault),
        ]
        .into_iter()
        .flatten()
        .collect()
    }
}

impl BucketRecord {
    /// Whether objects have version ids that clients are told.
    pub fn keeps_versions(&self) -> bool {
        self.settings.versioning != Versioning::Unversioned
    }

    /// Whose it is, with the name that people see.
    pub fn owned_by(&self) -> Owner {
        Owner { id: self.owner, name: self.owner_name.clone() }
    }

    /// Whether it has that configuration.
    pub fn has(&self, kind: ConfigurationKind) -> bool {
        self.settings.configured.contains(&kind)
    }

    /// Whether everything in it is its owner's, so that there are no access lists.
    pub fn enforces_owner(&self) -> bool {
        self.settings.object_ownership == Some(ObjectOwnership::BucketOwnerEnforced)
    }

    /// Refuses what takes a bucket that keeps locks.
    pub(crate) fn needs_lock(&self) -> Result<()> {
        if self.settings.object_lock.is_some() {
            return Ok(());
        }
        Err(Error::InvalidRequest { reason: "the bucket is missing an object lock configuration".into() })
    }

    /// Refuses locks where none are kept, and a retention that is over: it would stand in the default's place.
    pub(crate) fn check_locks(&self, attributes: &Attributes, now: Timestamp) -> Result<()> {
        if attributes.locks() {
            self.needs_lock()?;
        }
        if attributes.retention.is_some_and(|retention| retention.until <= now) {
            return Err(Error::RetentionOver);
        }
        Ok(())
    }

    /// What a new object carries: what was asked for, and the bucket's default retention if none was.
    pub(crate) fn attributes_of_new(&self, asked: &Attributes, now: Timestamp) -> Result<Attributes> {
        if asked.locks() {
            self.needs_lock()?;
        }
        let default = self.settings.object_lock.and_then(|lock| lock.default_retention);
        let retention = asked.retention.or_else(|| default.map(|default| default.from(now)));
        Ok(Attributes { retention, ..asked.clone() })
    }
}

impl Objects {
    /// Has a bucket keep versions, or keep no new ones. A bucket with object lock must keep them.
    pub async fn set_versioning(&self, name: &BucketName, enabled: bool) -> Result<()> {
        let versioning = if enabled { Versioning::Enabled } else { Versioning::Suspended };
        self.change_settings(name, |settings| {
            if !enabled && settings.object_lock.is_some() {
                let reason = "an object lock configuration is present, so versioning cannot be suspended".into();
                return Err(Error::InvalidBucketState { reason });
            }
            settings.versioning = versioning;
            Ok(())
        })
        .await
    }

    /// Has a bucket that keeps versions keep locks, with or without a default retention. There is no way back.
    pub async fn set_object_lock(&self, name: &BucketName, lock: ObjectLock) -> Result<()> {
        lock.default_retention.map_or(Ok(()), DefaultRetention::check)?;
        self.change_settings(name, |settings| {
            if settings.versioning != Versioning::Enabled {
                let reason = "versioning must be enabled on the bucket to keep object locks".into();
                return Err(Error::InvalidBucketState { reason });
            }
            settings.object_lock = Some(lock);
            Ok(())
        })
        .await
    }

    /// Sets who may do what with a bucket.
    pub async fn set_bucket_acl(&self, name: &BucketName, acl: Acl) -> Result<()> {
        let change = |settings: &mut BucketSettings| {
            settings.acl = Some(acl.clone());
            Ok(())
        };
        self.change_settings(name, change).await
    }

    /// Sets what must not make a bucket public, or says nothing about it any more.
    pub async fn set_public_access_block(&self, name: &BucketName, block: Option<PublicAccessBlock>) -> Result<()> {
        let change = |settings: &mut BucketSettings| {
            settings.public_access_block = block;
            Ok(())
        };
        self.change_settings(name, change).await
    }

    /// Sets whose the objects are that others write, or says nothing about it any more.
    pub async fn set_object_ownership(&self, name: &BucketName, ownership: Option<ObjectOwnership>) -> Result<()> {
        let change = |settings: &mut BucketSettings| {
            settings.object_ownership = ownership;
            Ok(())
        };
        self.change_settings(name, change).await
    }

    /// Has objects of a bucket encrypted with a key of the store's own, or not, when their writer does not ask for anything. Those that
    /// are there stay as they are.
    pub async fn set_default_encryption(&self, name: &BucketName, encrypted: bool) -> Result<()> {
        if encrypted && self.ring().is_none() {
            return Err(Error::NoMasterKeys);
        }
        let change = |settings: &mut BucketSettings| {
            settings.encrypted_by_default = encrypted;
            Ok(())
        };
        self.change_settings(name, change).await
    }

    async fn change_settings(
        &self,
        name: &BucketName,
        change: impl Fn(&mut BucketSettings) -> Result<()> + Send + Sync,
    ) -> Result<()> {
        let mut tries = Tries::new();
        loop {
            let mut txn = self.store().begin().await?;
            let mut record = Arc::unwrap_or_clone(self.bucket_in(&mut txn, name).await?);
            change(&mut record.settings)?;
            BUCKETS.put(&mut txn, name, &record)?;
            if tries.commit(txn).await? {
                return Ok(());
            }
        }
    }

    /// The text of a configuration, `None` when the bucket has none of that kind.
    pub async fn configuration(&self, name: &BucketName, kind: ConfigurationKind) -> Result<Option<String>> {
        let txn = self.store().read().await?;
        let bucket = self.peek_bucket(&txn, name).await?;
        if !bucket.has(kind) {
            return Ok(None);
        }
        Ok(CONFIGURATIONS.peek(&txn, &(bucket.id, kind as u8)).await?.map(|row| row.text))
    }

    /// Sets the text of a configuration, or removes it.
    pub async fn set_configuration(
        &self,
        name: &BucketName,
        kind: ConfigurationKind,
        text: Option<String>,
    ) -> Result<()> {
        check_configuration(text.as_deref())?;
        let mut tries = Tries::new();
        loop {
            let mut txn = self.store().begin().await?;
            let mut record = Arc::unwrap_or_clone(self.bucket_in(&mut txn, name).await?);
            let key = (record.id, kind as u8);
            record.settings.configured.retain(|present| *present != kind);
            match &text {
                Some(text) => {
                    record.settings.configured.push(kind);
                    record.settings.configured.sort_unstable();
                    CONFIGURATIONS.put(&mut txn, &key, &ConfigurationRow { text: text.clone() })?;
                }
                None => CONFIGURATIONS.delete(&mut txn, &key),
            }
            BUCKETS.put(&mut txn, name, &record)?;
            if tries.commit(txn).await? {
                return Ok(());
            }
        }
    }
}

/// Refuses the text of a configuration that is over its limit.
pub(crate) fn check_configuration(text: Option<&str>) -> Result<()> {
    let size_bytes = text.map_or(0, str::len);
    if size_bytes > CONFIGURATION_BYTES_MAX {
        let limit_bytes = CONFIGURATION_BYTES_MAX as u64;
        return Err(Error::EntityTooLarge { size_bytes: size_bytes as u64, limit_bytes });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::House;

    #[test]
    fn settings_come_back_and_none_cost_one_byte() {
        assert_eq!(postcard::to_stdvec(&BucketSettings::default()).unwrap(), [0]);
        let all = BucketSettings {
            versioning: Versioning::Suspended,
            object_lock: Some(ObjectLock {
                default_retention: Some(DefaultRetention {
                    mode: RetentionMode::Governance,
                    period: RetentionPeriod::Years(3),
                }),
            }),
            acl: Some(Acl::default()),
            public_access_block: Some(PublicAccessBlock { restrict_public_buckets: true, ..Default::default() }),
            object_ownership: Some(ObjectOwnership::ObjectWriter),
            encrypted_by_default: true,
            configured: vec![ConfigurationKind::Cors, ConfigurationKind::Website],
        };
        let bytes = postcard::to_stdvec(&all).unwrap();
        assert_eq!(postcard::from_bytes::<BucketSettings>(&bytes).unwrap(), all);
    }

    #[tokio::test]
    async fn versioning_is_never_unsaid_and_locks_need_it() {
        let house = House::new().await;
        let (objects, bucket) = (&house.objects, &house.bucket);
        let lock = ObjectLock::default();
        let early = objects.set_object_lock(bucket, lock).await;
        assert!(matches!(early, Err(Error::InvalidBucketState { .. })), "{early:?}");
        objects.set_versioning(bucket, false).await.unwrap();
        assert_eq!(objects.bucket(bucket).await.unwrap().settings.versioning, Versioning::Suspended);
        objects.set_versioning(bucket, true).await.unwrap();
        objects.set_object_lock(bucket, lock).await.unwrap();
        let late = objects.set_versioning(bucket, false).await;
        assert!(matches!(late, Err(Error::InvalidBucketState { .. })), "{late:?}");
        for period in [RetentionPeriod::Days(0), RetentionPeriod::Days(36_501), RetentionPeriod::Years(101)] {
            let lock =
                ObjectLock { default_retention: Some(DefaultRetention { mode: RetentionMode::Compliance, period }) };
            let refused = objects.set_object_lock(bucket, lock).await;
            assert!(matches!(refused, Err(Error::InvalidRetentionPeriod { .. })), "{period:?} {refused:?}");
        }
    }

    #[tokio::test]
    async fn configurations_are_kept_apart_and_end_with_their_bucket() {
        let house = House::new().await;
        let (objects, bucket) = (&house.objects, &house.bucket);
        let before = house.rows().await.len();
        for (kind, text) in [(ConfigurationKind::Cors, "c"), (ConfigurationKind::Policy, "p")] {
            objects.set_configuration(bucket, kind, Some(text.into())).await.unwrap();
        }
        let read = |kind| objects.configuration(bucket, kind);
        assert_eq!(read(ConfigurationKind::Cors).await.unwrap().as_deref(), Some("c"));
        assert_eq!(read(ConfigurationKind::Tagging).await.unwrap(), None);
        objects.set_configuration(bucket, ConfigurationKind::Cors, None).await.unwrap();
        assert_eq!(read(ConfigurationKind::Cors).await.unwrap(), None);
        assert_eq!(objects.bucket(bucket).await.unwrap().settings.configured, [ConfigurationKind::Policy]);
        let large = Some("x".repeat(CONFIGURATION_BYTES_MAX + 1));
        objects.set_configuration(bucket, ConfigurationKind::Cors, large).await.unwrap_err();
        objects.delete_bucket(bucket).await.unwrap();
        assert_eq!(house.rows().await.len(), before - 2, "the bucket and its owner's row");
    }
}
