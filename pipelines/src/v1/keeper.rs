//! The worker of a stream that may have no output: it removes what outputs that are gone had kept from being trimmed,
//! forgets producers that have not sent for long, and buries the stream.

use crate::live::Live;
use crate::pipelines::Parts;
use crate::reader::{ToTrim, trim_some};
use crate::{Result, claim, funeral};
use async_trait::async_trait;
use cistern_runtime::{Work, Worker, WorkerError};
use cistern_types::Timestamp;
use std::sync::Arc;
use std::time::Duration;

/// The keeper of one stream.
#[derive(Debug)]
pub(crate) struct Keeper {
    parts: Arc<Parts>,
    live: Arc<Live>,
    /// When there is something to trim that an output which is gone had kept.
    trim_at: Option<Timestamp>,
    /// When to look for producers to forget.
    forget_at: Timestamp,
}

impl Keeper {
    pub(crate) fn new(parts: Arc<Parts>, live: Arc<Live>) -> Self {
        Self { parts, live, trim_at: None, forget_at: Timestamp::default() }
    }

    async fn step(&mut self) -> Result<Work> {
        let (objects, id, now) = (&self.parts.objects, self.live.id(), self.parts.clock.now());
        if self.live.is_removed() {
            return Ok(if funeral::bury_some(objects, id).await? { Work::More } else { Work::Finished });
        }
        if self.trim_at.is_some_and(|at| at <= now) {
            match trim_some(objects, id, self.live.record().spec.retention, now).await? {
                ToTrim::More => {}
                ToTrim::At(at) => self.trim_at = Some(at),
                ToTrim::Nothing => self.trim_at = None,
            }
            return Ok(Work::More);
        }
        if self.forget_at <= now {
            self.forget_at = claim::forget_some(objects, id, now).await?.unwrap_or(self.forget_at);
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
        let next = self.trim_at.unwrap_or(self.forget_at).min(self.forget_at);
        let pause = next.since(self.parts.clock.now()).max(Duration::from_millis(1));
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = self.live.keeper_wanted() => self.trim_at = Some(Timestamp::default()),
        }
    }
}
