//! The sink commit: in ONE transaction a group of batches becomes visible objects and counts as delivered.
//!
//! Above: `worker`, with batches that are encoded. Below: one `metadata::Transaction` with the objects' rows (through
//! `Objects::commit_staged_many`), the done rows, the progress and the schema. A crash before it leaves staged bytes that
//! the sweeper frees, and the log to read again; after it nothing of the group is ever written again. A worker that has
//! been superseded, or whose pipeline is gone, loses here.

use crate::encode::EncodedBatch;
use crate::registry::Tries;
use crate::rows::{DONE, DoneRow, KeyId, PROGRESS, PipelineId, ProgressRow, SCHEMAS};
use crate::schema::EventSchema;
use crate::{Error, Result};
use cistern_metadata::{Scan, Transaction};
use cistern_objects::{ObjectHeaders, Objects, StageSpec, StagedCommit, StagedObject};
use cistern_types::{BucketName, StorageClass};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use std::collections::{BTreeSet, HashMap};

/// How many objects are staged at the same time.
const STAGED_AT_ONCE: usize = 4;

/// How many done rows that the watermark has passed one commit removes.
const DONE_REMOVED_PER_COMMIT: usize = 1_000;

/// How many done rows are read at once.
const DONE_PER_PAGE: usize = 10_000;

/// How far the events of each key value are delivered beyond the watermark.
#[derive(Debug, Default)]
pub(crate) struct DoneKeys {
    by_key: HashMap<KeyId, u64>,
    by_through: BTreeSet<(u64, KeyId)>,
}

impl DoneKeys {
    /// Reads those of a pipeline.
    pub(crate) async fn load(txn: &Transaction, id: PipelineId) -> Result<Self> {
        let mut keys = Self::default();
        let mut range = DONE.prefix_range(&id);
        loop {
            let rows = DONE.scan_unchecked(txn, &Scan::first(range.clone(), DONE_PER_PAGE)).await?;
            for ((_, key), row) in &rows {
                keys.put(*key, row.through);
            }
            match rows.last().filter(|_| rows.len() == DONE_PER_PAGE) {
                Some((last, _)) => range = range.after(&DONE.key_bytes(last)),
                None => return Ok(keys),
            }
        }
    }

    /// Whether there is none, so that no event needs a look.
    pub(crate) fn is_empty(&self) -> bool {
        self.by_key.is_empty()
    }

    /// Whether no key value is delivered beyond `offset`.
    pub(crate) fn ends_at(&self, offset: u64) -> bool {
        self.by_through.last().is_none_or(|(through, _)| *through <= offset)
    }

    /// Whether the event at `offset`, whose key value is `key`, is in an object already.
    pub(crate) fn covers(&self, key: &KeyId, offset: u64) -> bool {
        self.by_key.get(key).is_some_and(|through| offset < *through)
    }

    fn put(&mut self, key: KeyId, through: u64) {
        self.remove(&key);
        self.by_key.insert(key, through);
        self.by_through.insert((through, key));
    }

    fn remove(&mut self, key: &KeyId) {
        if let Some(through) = self.by_key.remove(key) {
            self.by_through.remove(&(through, *key));
        }
    }

    fn apply(&mut self, changes: &DoneChanges) {
        changes.removed.iter().for_each(|key| self.remove(key));
        changes.put.iter().for_each(|(key, through)| self.put(*key, *through));
    }

    /// What a commit of `batches` that moves the watermark changes here.
    fn changes(&self, batches: &[EncodedBatch], watermark: u64) -> DoneChanges {
        let mut put: HashMap<KeyId, u64> = HashMap::new();
        let mut removed: BTreeSet<KeyId> = BTreeSet::new();
        for batch in batches {
            let through = batch.last + 1;
            if through > watermark {
                put.insert(batch.key, through);
            } else if self.by_key.contains_key(&batch.key) {
                removed.insert(batch.key);
            }
        }
        let passed = self.by_through.iter().take_while(|(through, _)| *through <= watermark);
        removed.extend(passed.take(DONE_REMOVED_PER_COMMIT).map(|(_, key)| *key));
        removed.retain(|key| !put.contains_key(key));
        DoneChanges { put, removed }
    }
}

#[derive(Debug)]
struct DoneChanges {
    put: HashMap<KeyId, u64>,
    removed: BTreeSet<KeyId>,
}

/// Whose batches are committed.
#[derive(Debug, Clone)]
pub(crate) struct SinkTarget {
    pub(crate) id: PipelineId,
    pub(crate) epoch: u64,
    pub(crate) bucket: BucketName,
    pub(crate) class: StorageClass,
}

/// How a commit was decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Delivery {
    /// The batches are objects, and this is the progress now.
    Done(ProgressRow),
    /// The pipeline is gone.
    Gone,
    /// Another worker has taken over.
    Superseded,
}

/// Delivers a group of batches, after which everything below `watermark` is in objects.
///
/// May be repeated with the same group when it is not known whether it happened: the second time finds it done.
pub(crate) async fn deliver(
    objects: &Objects,
    target: &SinkTarget,
    batches: &[EncodedBatch],
    watermark: u64,
    done: &mut DoneKeys,
    schema: &EventSchema,
) -> Result<Delivery> {
    // Asked first, so that nothing is staged for a bucket that is not there.
    objects.bucket(&target.bucket).await?;
    let staged = stage(objects, target, batches).await?;
    let commits = batches.iter().flat_map(|batch| &batch.objects).zip(&staged);
    let bucket = &target.bucket;
    let commits: Vec<_> = commits.map(|(object, staged)| StagedCommit { bucket, key: &object.key, staged }).collect();
    let changes = done.changes(batches, watermark);
    let mut tries = Tries::new();
    loop {
        let mut txn = objects.store().begin().await?;
        let Some(progress) = PROGRESS.get(&mut txn, &target.id).await? else {
            return Ok(Delivery::Gone);
        };
        if progress.epoch != target.epoch {
            return Ok(Delivery::Superseded);
        }
        if already_delivered(&mut txn, target.id, &progress, batches).await? {
            done.apply(&changes);
            return Ok(Delivery::Done(progress));
        }
        assert!(watermark >= progress.watermark, "the watermark never steps back");
        objects.commit_staged_many(&mut txn, &commits).await?;
        for (key, through) in &changes.put {
            DONE.put(&mut txn, &(target.id, *key), &DoneRow { through: *through })?;
        }
        changes.removed.iter().for_each(|key| DONE.delete(&mut txn, &(target.id, *key)));
        let progress = ProgressRow {
            epoch: target.epoch,
            watermark,
            events: progress.events + batches.iter().map(|batch| batch.events).sum::<u64>(),
            bytes: progress.bytes + batches.iter().map(|batch| batch.log_bytes).sum::<u64>(),
            dead_letters: progress.dead_letters + batches.iter().map(|batch| batch.dead_letters).sum::<u64>(),
            objects: progress.objects + commits.len() as u64,
            ..progress
        };
        PROGRESS.put(&mut txn, &target.id, &progress)?;
        if SCHEMAS.peek(&txn, &target.id).await?.as_ref() != Some(schema) {
            SCHEMAS.put(&mut txn, &target.id, schema)?;
        }
        if tries.commit(txn).await? {
            done.apply(&changes);
            return Ok(Delivery::Done(progress));
        }
    }
}

/// Moves the watermark to where everything below is in objects, and forgets some of what single key values have done:
/// `done` is empty when all of that is behind.
pub(crate) async fn settle(
    objects: &Objects,
    id: PipelineId,
    epoch: u64,
    watermark: u64,
    done: &mut DoneKeys,
) -> Result<Delivery> {
    let passed: Vec<KeyId> = done.by_through.iter().take(DONE_REMOVED_PER_COMMIT).map(|(_, key)| *key).collect();
    let mut tries = Tries::new();
    loop {
        let mut txn = objects.store().begin().await?;
        let Some(progress) = PROGRESS.get(&mut txn, &id).await? else {
            return Ok(Delivery::Gone);
        };
        if progress.epoch != epoch {
            return Ok(Delivery::Superseded);
        }
        assert!(watermark >= progress.watermark, "the watermark never steps back");
        for key in &passed {
            DONE.delete(&mut txn, &(id, *key));
        }
        let progress = ProgressRow { watermark, ..progress };
        PROGRESS.put(&mut txn, &id, &progress)?;
        if tries.commit(txn).await? {
            for key in &passed {
                done.remove(key);
            }
            return Ok(Delivery::Done(progress));
        }
    }
}

/// Whether a try whose answer was lost has committed the group: it goes as a whole, so its first batch tells.
async fn already_delivered(
    txn: &mut Transaction,
    id: PipelineId,
    progress: &ProgressRow,
    batches: &[EncodedBatch],
) -> Result<bool> {
    let Some(first) = batches.first() else {
        return Ok(true);
    };
    if progress.watermark > first.first {
        return Ok(true);
    }
    let row = DONE.get(txn, &(id, first.key)).await?;
    Ok(row.is_some_and(|row| row.through > first.first))
}

async fn stage(objects: &Objects, target: &SinkTarget, batches: &[EncodedBatch]) -> Result<Vec<StagedObject>> {
    let mut staging = Vec::new();
    for object in batches.iter().flat_map(|batch| &batch.objects) {
        let headers = ObjectHeaders { content_type: Some(object.content_type.to_owned()), ..ObjectHeaders::default() };
        let place = Some((target.bucket.clone(), object.key.clone()));
        let spec = StageSpec { headers, class: Some(target.class), place };
        let (objects, body) = (objects.clone(), object.body.clone());
        staging.push(async move { objects.stage_bytes(spec, body).await.map_err(Error::from) });
    }
    stream::iter(staging).buffered(STAGED_AT_ONCE).try_collect().await
}
