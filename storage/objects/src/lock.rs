//! Changing what an object carries without writing it again: tags, retention, legal hold, access list.

use crate::attributes::{Attributes, Retention, Tags};
use crate::bucket::BucketRecord;
use crate::record::VersionRef;
use crate::retry::Tries;
use crate::versions::put_back;
use crate::{ObjectRecord, Objects, Result};
use cistern_types::{Acl, BucketName, ObjectKey, Timestamp};

impl Objects {
    /// Sets the tags of an object or of one of its versions; answers it as it is then.
    pub async fn set_tags(
        &self,
        bucket: &BucketName,
        key: &ObjectKey,
        version: Option<VersionRef>,
        tags: Tags,
    ) -> Result<ObjectRecord> {
        let change = |_: &BucketRecord, attributes: &mut Attributes, _| {
            attributes.tags = tags.clone();
            Ok(())
        };
        self.change_attributes(bucket, key, version, change).await
    }

    /// Sets the retention of a version, or takes it away. It can always be made longer; to weaken it takes `bypass_governance`,
    /// which the caller has checked that the asker may, and under compliance nothing helps.
    pub async fn set_retention(
        &self,
        bucket: &BucketName,
        key: &ObjectKey,
        version: Option<VersionRef>,
        retention: Option<Retention>,
        bypass_governance: bool,
    ) -> Result<ObjectRecord> {
        let change = |bucket: &BucketRecord, attributes: &mut Attributes, now| {
            bucket.needs_lock()?;
            attributes.check_retention(retention, now, bypass_governance)?;
            attributes.retention = retention;
            Ok(())
        };
        self.change_attributes(bucket, key, version, change).await
    }

    /// Puts a version on hold, or lets it go.
    pub async fn set_legal_hold(
        &self,
        bucket: &BucketName,
        key: &ObjectKey,
        version: Option<VersionRef>,
        on: bool,
    ) -> Result<ObjectRecord> {
        let change = |bucket: &BucketRecord, attributes: &mut Attributes, _| {
            bucket.needs_lock()?;
            attributes.legal_hold = Some(on);
            Ok(())
        };
        self.change_attributes(bucket, key, version, change).await
    }

    /// Sets who may do what with an object or one of its versions.
    pub async fn set_acl(
        &self,
        bucket: &BucketName,
        key: &ObjectKey,
        version: Option<VersionRef>,
        acl: Acl,
    ) -> Result<ObjectRecord> {
        let change = |_: &BucketRecord, attributes: &mut Attributes, _| {
            attributes.acl = Some(acl.clone());
            Ok(())
        };
        self.change_attributes(bucket, key, version, change).await
    }

    async fn change_attributes(
        &self,
        bucket: &BucketName,
        key: &ObjectKey,
        version: Option<VersionRef>,
        change: impl Fn(&BucketRecord, &mut Attributes, Timestamp) -> Result<()> + Send + Sync,
    ) -> Result<ObjectRecord> {
        let _turn = self.turns().take(bucket, key).await;
        let mut tries = Tries::new();
        loop {
            let mut txn = self.store().begin().await?;
            let bucket = self.bucket_in(&mut txn, bucket).await?;
            let mut row = self.find_row(&txn, &bucket, key, version).await?;
            change(&bucket, &mut row.attributes, self.now())?;
            if !put_back(&mut txn, bucket.id, key, row.clone()).await? {
                continue; // the snapshot is one moment, so this does not happen; the next try finds out
            }
            if tries.commit(txn).await? {
                return Ok(row.into_record(key.clone(), &bucket));
            }
        }
    }
}

#[cfg(test)]
mod tests;
