//! What is left of a pipeline that is gone: its log, done rows, producers and schema, removed bit by bit, whoever restarts meanwhile.

use crate::reader::{RUNS_PER_TRIM, remove_runs};
use crate::registry::Tries;
use crate::rows::{DONE, GRAVES, PRODUCERS, PipelineId, RUNS, SCHEMAS};
use crate::{Error, Result};
use async_trait::async_trait;
use cistern_metadata::Scan;
use cistern_objects::Objects;
use cistern_runtime::{Work, Worker, WorkerError};
use cistern_types::PipelineName;

/// How many done rows, and rows of producers, one transaction removes.
const ROWS_PER_TRANSACTION: usize = 5_000;

/// The worker that buries a pipeline.
#[derive(Debug)]
pub(crate) struct Funeral {
    objects: Objects,
    id: PipelineId,
    name: PipelineName,
}

impl Funeral {
    pub(crate) fn new(objects: Objects, id: PipelineId, name: PipelineName) -> Self {
        Self { objects, id, name }
    }
}

#[async_trait]
impl Worker for Funeral {
    fn name(&self) -> String {
        format!("pipeline-{}-removal", self.name)
    }

    async fn work(&mut self) -> Result<Work, WorkerError> {
        Ok(if bury_some(&self.objects, self.id).await? { Work::More } else { Work::Finished })
    }

    async fn wait_for_work(&mut self) {
        // Never idle: it works until it has finished.
    }
}

/// Removes some of what is left; whether there is more.
pub(crate) async fn bury_some(objects: &Objects, id: PipelineId) -> Result<bool, Error> {
    let mut tries = Tries::new();
    loop {
        let mut txn = objects.store().begin().await?;
        let runs = RUNS.scan(&mut txn, &Scan::first(RUNS.prefix_range(&id), RUNS_PER_TRIM)).await?;
        remove_runs(objects, &mut txn, &runs).await?;
        let done = Scan::first(DONE.prefix_range(&id), ROWS_PER_TRANSACTION);
        let done = DONE.scan_unchecked(&txn, &done).await?;
        for (key, _) in &done {
            DONE.delete(&mut txn, key);
        }
        let producers = Scan::first(PRODUCERS.prefix_range(&id), ROWS_PER_TRANSACTION);
        let producers = PRODUCERS.scan_unchecked(&txn, &producers).await?;
        for (key, _) in &producers {
            PRODUCERS.delete(&mut txn, key);
        }
        let more = producers.len() == ROWS_PER_TRANSACTION
            || runs.len() == RUNS_PER_TRIM
            || done.len() == ROWS_PER_TRANSACTION;
        if !more {
            SCHEMAS.delete(&mut txn, &id);
            GRAVES.delete(&mut txn, &id);
        }
        if tries.commit(txn).await? {
            return Ok(more);
        }
    }
}
