//! What the process knows of its pipelines between the rows: who is awake, how far each is, why one waits.
//!
//! The edge asks [`Directory`] by name; the log and the worker of a pipeline hold its [`Live`].

use crate::rows::{HeadRow, PipelineRecord, ProgressRow};
use crate::{Error, Result};
use cistern_types::PipelineName;
use parking_lot::{Mutex, RwLock};
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::sync::{Notify, watch};

/// Whether a pipeline delivers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PipelineState {
    /// It delivers, or has nothing to deliver.
    Ready,
    /// It takes events and keeps them, but cannot deliver them now.
    Waiting {
        /// Why.
        reason: String,
    },
    /// It takes no more events and goes once all of them are delivered.
    Draining {
        /// Why it cannot deliver now, if it cannot.
        waiting: Option<String>,
    },
}

/// How a pipeline fares.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PipelineHealth {
    /// Its name.
    pub name: PipelineName,
    /// Whether it delivers.
    pub state: PipelineState,
    /// Events acknowledged since it was made.
    pub events_accepted: u64,
    /// Their bytes.
    pub bytes_accepted: u64,
    /// Events that are in objects, dead letters among them.
    pub events_delivered: u64,
    /// Events that are in dead-letter objects.
    pub dead_letters: u64,
    /// Objects written, dead-letter objects among them.
    pub objects_written: u64,
    /// Events acknowledged and not yet in objects.
    pub lag_events: u64,
    /// Their bytes.
    pub lag_bytes: u64,
}

/// One pipeline of this process.
#[derive(Debug)]
pub(crate) struct Live {
    record: RwLock<Arc<PipelineRecord>>,
    known: Mutex<Known>,
    wake: Notify,
    /// Shows where the log ends to whoever waits for events.
    heads: watch::Sender<u64>,
}

#[derive(Debug)]
struct Known {
    head: HeadRow,
    progress: ProgressRow,
    waiting: Option<String>,
    removed: bool,
}

impl Live {
    pub(crate) fn new(record: PipelineRecord, head: HeadRow, progress: ProgressRow) -> Self {
        let known = Known { head, progress, waiting: None, removed: false };
        let heads = watch::Sender::new(head.next);
        Self { record: RwLock::new(Arc::new(record)), known: Mutex::new(known), wake: Notify::new(), heads }
    }

    pub(crate) fn record(&self) -> Arc<PipelineRecord> {
        Arc::clone(&self.record.read())
    }

    pub(crate) fn name(&self) -> PipelineName {
        self.record.read().spec.name.clone()
    }

    pub(crate) fn id(&self) -> crate::PipelineId {
        self.record.read().id
    }

    /// Takes note of a changed record and wakes the worker.
    pub(crate) fn set_record(&self, record: PipelineRecord) {
        *self.record.write() = Arc::new(record);
        self.wake.notify_one();
    }

    /// Takes note that the log has grown and wakes the worker.
    pub(crate) fn set_head(&self, head: HeadRow) {
        self.known.lock().head = head;
        self.heads.send_replace(head.next);
        self.wake.notify_one();
    }

    pub(crate) fn set_progress(&self, progress: ProgressRow) {
        self.known.lock().progress = progress;
    }

    pub(crate) fn set_waiting(&self, reason: Option<String>) {
        self.known.lock().waiting = reason;
    }

    /// Takes note that the pipeline is gone and wakes the worker to bury it.
    pub(crate) fn set_removed(&self) {
        self.known.lock().removed = true;
        self.wake.notify_one();
    }

    pub(crate) fn is_removed(&self) -> bool {
        self.known.lock().removed
    }

    /// The offset after the last event of a shard.
    pub(crate) fn shard_end(&self, shard: u8) -> u64 {
        self.known.lock().head.shard_ends.get(usize::from(shard)).copied().unwrap_or(0)
    }

    /// The offset the next event will have.
    pub(crate) fn head_next(&self) -> u64 {
        self.known.lock().head.next
    }

    /// Tells each new end of the log.
    pub(crate) fn heads(&self) -> watch::Receiver<u64> {
        self.heads.subscribe()
    }

    /// Waits until something has changed since the last wait.
    pub(crate) async fn changed(&self) {
        self.wake.notified().await;
    }

    pub(crate) fn health(&self) -> PipelineHealth {
        let (name, draining) = {
            let record = self.record.read();
            (record.spec.name.clone(), record.draining)
        };
        let known = self.known.lock();
        let state = match (draining, known.waiting.clone()) {
            (true, waiting) => PipelineState::Draining { waiting },
            (false, Some(reason)) => PipelineState::Waiting { reason },
            (false, None) => PipelineState::Ready,
        };
        PipelineHealth {
            name,
            state,
            events_accepted: known.head.next,
            bytes_accepted: known.head.bytes,
            events_delivered: known.progress.events,
            dead_letters: known.progress.dead_letters,
            objects_written: known.progress.objects,
            lag_events: known.head.next.saturating_sub(known.progress.events),
            lag_bytes: known.head.bytes.saturating_sub(known.progress.bytes),
        }
    }
}

/// The pipelines of this process by name.
#[derive(Debug, Default)]
pub(crate) struct Directory {
    by_name: RwLock<BTreeMap<PipelineName, Arc<Live>>>,
}

impl Directory {
    pub(crate) fn find(&self, name: &PipelineName) -> Result<Arc<Live>> {
        let found = self.by_name.read().get(name).map(Arc::clone);
        found.ok_or_else(|| Error::NoSuchPipeline { name: name.to_string() })
    }

    pub(crate) fn all(&self) -> Vec<Arc<Live>> {
        self.by_name.read().values().map(Arc::clone).collect()
    }

    pub(crate) fn len(&self) -> usize {
        self.by_name.read().len()
    }

    pub(crate) fn insert(&self, live: &Arc<Live>) {
        self.by_name.write().insert(live.name(), Arc::clone(live));
    }

    /// Forgets this life of a pipeline; another of the same name stays.
    pub(crate) fn remove(&self, live: &Arc<Live>) {
        let mut by_name = self.by_name.write();
        let name = live.name();
        if by_name.get(&name).is_some_and(|present| Arc::ptr_eq(present, live)) {
            by_name.remove(&name);
        }
    }
}
