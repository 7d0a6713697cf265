//! The worker of a stream that may have no output: it removes what outputs that are gone had kept from being trimmed,
//! forgets producers that have not sent for long, and buries the stream.

use crate::live::Live;
use crate::pipelines::Parts;
use crate::reader::{RUNS_PER_TRIM, delivered_runs, remove_runs};
use crate::{Result, claim, funeral};
use async_trait::async_trait;
use cistern_metadata::Commit;
use cistern_runtime::{Work, Worker, WorkerError};
use cistern_types::Timestamp;
use std::sync::Arc;
use std::time::Duration;

/// How often producers that have not sent for long are forgotten.
const FORGET_INTERVAL: Duration = Duration::from_mins(10);

/// The keeper of one stream.
#[derive(Debug)]
pub(crate) struct Keeper {
    parts: Arc<Parts>,
    live: Arc<Live>,
    /// Whether an output has gone since the log was last looked at.
    trim: bool,
    /// When to look for producers to forget.
    forget_at: Timestamp,
}

impl Keeper {
    pub(crate) fn new(parts: Arc<Parts>, live: Arc<Live>) -> Self {
        Self { parts, live, trim: false, forget_at: Timestamp::default() }
    }

    async fn step(&mut self) -> Result<Work> {
        let (objects, id, now) = (&self.parts.objects, self.live.id(), self.parts.clock.now());
        if self.live.is_removed() {
            return Ok(if funeral::bury_some(objects, id).await? { Work::More } else { Work::Finished });
        }
        if self.trim {
            let mut txn = objects.store().begin().await?;
            let (runs, _) = delivered_runs(&mut txn, id, self.live.record().spec.retention, now).await?;
            remove_runs(objects, &mut txn, &runs).await?;
            let committed = matches!(txn.commit().await?, Commit::Committed { .. });
            self.trim = !committed || runs.len() == RUNS_PER_TRIM;
            return Ok(Work::More);
        }
        if self.forget_at <= now {
            let mut txn = objects.store().begin().await?;
            let more = claim::forget_some(&mut txn, id, now).await?;
            if matches!(txn.commit().await?, Commit::Committed { .. }) && !more {
                self.forget_at = now.plus(FORGET_INTERVAL);
            }
            return Ok(Work::More);
        }
        Ok(Work::Idle)
    }
}

#[async_trait]
impl Worker for Keeper {
    fn name(&self) -> String {
        format!("stream-{}", self.live.name())
    }

    async fn work(&mut self) -> Result<Work, WorkerError> {
        Ok(self.step().await?)
    }

    async fn wait_for_work(&mut self) {
        let pause = self.forget_at.since(self.parts.clock.now()).max(Duration::from_millis(1));
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = self.live.keeper_wanted() => self.trim = true,
        }
    }
}
