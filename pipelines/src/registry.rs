//! The rows of pipelines come and go here: create, list, close, remove. No memory of its own.

use crate::rows::{
    GRAVES, GraveRow, HEADS, HeadRow, PIPELINES, PROGRESS, PipelineId, PipelineRecord, ProgressRow, TokenRow,
};
use crate::scram::Verifier;
use crate::{Error, IngestAuth, PipelineSpec, Result};
use cistern_metadata::{Commit, Scan, Transaction};
use cistern_objects::Objects;
use cistern_runtime::{Backoff, offload};
use cistern_types::PipelineName;
use sha2::{Digest as _, Sha256};
use std::time::Duration;
use subtle::ConstantTimeEq as _;

/// The most pipelines there can be: each has a worker and a share of the memory.
const PIPELINES_MAX: usize = 1_000;

/// How often a transaction is tried before the caller is told to come back later.
const TRIES_MAX: u32 = 64;

/// Random bytes of a send token.
const TOKEN_BYTES: usize = 24;

/// Counts the tries of one transaction and paces them.
pub(crate) struct Tries {
    made: u32,
    backoff: Backoff,
}

impl Tries {
    pub(crate) fn new() -> Self {
        Self { made: 0, backoff: Backoff::new(Duration::from_millis(1), Duration::from_millis(50)) }
    }

    /// Commits. `false`: it was overtaken, build it again from a new snapshot.
    pub(crate) async fn commit(&mut self, txn: Transaction) -> Result<bool> {
        if let Commit::Committed { .. } = txn.commit().await? {
            return Ok(true);
        }
        self.made += 1;
        if self.made == TRIES_MAX {
            return Err(Error::TooMuchContention { tries: self.made });
        }
        self.backoff.pause().await;
        Ok(false)
    }
}

/// Everything stored about the pipelines of this installation.
#[derive(Debug)]
pub(crate) struct Stored {
    pub(crate) pipelines: Vec<(PipelineRecord, HeadRow, ProgressRow)>,
    pub(crate) graves: Vec<(PipelineId, GraveRow)>,
}

/// Reads all pipelines.
pub(crate) async fn load(objects: &Objects) -> Result<Stored> {
    let txn = objects.store().read().await?;
    let mut pipelines = Vec::new();
    for (name, record) in PIPELINES.scan_unchecked(&txn, &Scan::first(PIPELINES.range(), PIPELINES_MAX)).await? {
        let head = HEADS.peek(&txn, &record.id).await?;
        let progress = PROGRESS.peek(&txn, &record.id).await?;
        let (Some(head), Some(progress)) = (head, progress) else {
            return Err(Error::DamagedLog { name, offset: 0, reason: "rows written together are not all there" });
        };
        pipelines.push((record, head, progress));
    }
    let graves = GRAVES.scan_unchecked(&txn, &Scan::first(GRAVES.range(), PIPELINES_MAX)).await?;
    Ok(Stored { pipelines, graves })
}

/// Makes a pipeline; the token is answered here and never again.
pub(crate) async fn create(objects: &Objects, spec: PipelineSpec) -> Result<(PipelineRecord, Option<String>)> {
    let spec = spec.checked()?;
    let token = match spec.auth {
        IngestAuth::Token => Some(format!("cst_{}", hex::encode(rand::random::<[u8; TOKEN_BYTES]>()))),
        IngestAuth::None => None,
    };
    let token_row = match token.clone() {
        // Deriving what SCRAM needs takes some milliseconds.
        Some(token) => Some(offload(move || TokenRow { sha256: sha256(&token), scram: Verifier::new(&token) }).await),
        None => None,
    };
    let record = PipelineRecord {
        id: PipelineId::random(),
        created: objects.clock().now(),
        draining: false,
        token: token_row,
        spec,
    };
    let mut tries = Tries::new();
    loop {
        let mut txn = objects.store().begin().await?;
        let name = &record.spec.name;
        if PIPELINES.get(&mut txn, name).await?.is_some() {
            return Err(Error::PipelineExists { name: name.clone() });
        }
        let all = PIPELINES.scan_unchecked(&txn, &Scan::first(PIPELINES.range(), PIPELINES_MAX)).await?;
        if all.len() == PIPELINES_MAX {
            let rule = "there are 1000 pipelines already: delete one first";
            return Err(Error::InvalidSetting { field: "pipeline", given: name.to_string(), rule });
        }
        require_bucket(objects, &record.spec).await?;
        PIPELINES.put(&mut txn, name, &record)?;
        HEADS.put(&mut txn, &record.id, &HeadRow::empty(record.created))?;
        PROGRESS.put(&mut txn, &record.id, &ProgressRow::default())?;
        if tries.commit(txn).await? {
            return Ok((record, token));
        }
    }
}

async fn require_bucket(objects: &Objects, spec: &PipelineSpec) -> Result<()> {
    match objects.bucket(&spec.bucket).await {
        Ok(_) => Ok(()),
        Err(cistern_objects::Error::NoSuchBucket { bucket }) => Err(Error::NoSuchBucket { bucket }),
        Err(error) => Err(error.into()),
    }
}

/// Lets no more events in.
pub(crate) async fn close(objects: &Objects, name: &PipelineName) -> Result<PipelineRecord> {
    let mut tries = Tries::new();
    loop {
        let mut txn = objects.store().begin().await?;
        let mut record = stored(&mut txn, name).await?;
        if record.draining {
            return Ok(record);
        }
        record.draining = true;
        PIPELINES.put(&mut txn, name, &record)?;
        if let Some(head) = HEADS.get(&mut txn, &record.id).await? {
            HEADS.put(&mut txn, &record.id, &HeadRow { closed: true, ..head })?;
        }
        if tries.commit(txn).await? {
            return Ok(record);
        }
    }
}

/// How removing a pipeline whose events should all be delivered went.
#[derive(Debug)]
pub(crate) enum Removal {
    /// It is gone.
    Removed,
    /// It has events that are not delivered yet: this is where its log ends.
    NotDelivered(HeadRow),
}

/// Removes this life of a pipeline, delivered or not. What is left of its log is the funeral's.
pub(crate) async fn remove(objects: &Objects, record: &PipelineRecord) -> Result<()> {
    remove_if(objects, record, |_, _| true).await.map(|_| ())
}

/// Removes this life of a pipeline if all its events are delivered.
pub(crate) async fn remove_delivered(objects: &Objects, record: &PipelineRecord) -> Result<Removal> {
    remove_if(objects, record, |head, progress| head.next == progress.events).await
}

async fn remove_if(
    objects: &Objects,
    record: &PipelineRecord,
    may_go: fn(&HeadRow, &ProgressRow) -> bool,
) -> Result<Removal> {
    let (id, name) = (record.id, &record.spec.name);
    let mut tries = Tries::new();
    loop {
        let mut txn = objects.store().begin().await?;
        if stored(&mut txn, name).await?.id != id {
            return Err(Error::NoSuchPipeline { name: name.to_string() });
        }
        // Reading them makes a flush or a sink commit at this moment lose, or this: never do both happen.
        let head = HEADS.get(&mut txn, &id).await?;
        let progress = PROGRESS.get(&mut txn, &id).await?;
        if let (Some(head), Some(progress)) = (head, progress)
            && !may_go(&head, &progress)
        {
            return Ok(Removal::NotDelivered(head));
        }
        PIPELINES.delete(&mut txn, name);
        HEADS.delete(&mut txn, &id);
        PROGRESS.delete(&mut txn, &id);
        GRAVES.put(&mut txn, &id, &GraveRow { name: name.clone() })?;
        if tries.commit(txn).await? {
            return Ok(Removal::Removed);
        }
    }
}

async fn stored(txn: &mut Transaction, name: &PipelineName) -> Result<PipelineRecord> {
    let record = PIPELINES.get(txn, name).await?;
    record.ok_or_else(|| Error::NoSuchPipeline { name: name.to_string() })
}

/// Whether `token` opens the pipeline, in a time that does not depend on how much of it is right.
pub(crate) fn token_fits(record: &PipelineRecord, token: &str) -> bool {
    record.token.as_ref().is_none_or(|row| bool::from(row.sha256.ct_eq(&sha256(token))))
}

fn sha256(token: &str) -> [u8; 32] {
    Sha256::digest(token.as_bytes()).into()
}
