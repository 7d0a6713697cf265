//! What the process knows of its streams and outputs between the rows: who is awake, how far each is, why one waits.
//!
//! The edge asks [`Directory`] by name; the log holds the [`Live`] stream, a worker its stream and its [`Output`].

use crate::rows::{HeadRow, OutputRecord, PipelineRecord, ProgressRow, StreamRecord};
use crate::{Error, PipelineId, PipelineSpec, Result};
use cistern_types::{BucketName, PipelineName, Timestamp};
use parking_lot::{Mutex, RwLock};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
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
    /// How long ago the oldest of them was acknowledged, as far as it has been read; zero when there is none.
    pub lag: Duration,
    /// How much longer than the batch timeout that is.
    pub late: Duration,
}

/// One stream of this process.
#[derive(Debug)]
pub(crate) struct Live {
    record: RwLock<Arc<StreamRecord>>,
    known: Mutex<Known>,
    outputs: RwLock<Vec<Arc<Output>>>,
    /// Shows where the log ends to whoever waits for events.
    heads: watch::Sender<u64>,
    /// Wakes the keeper, where there is one.
    keeper: Notify,
}

#[derive(Debug)]
struct Known {
    head: HeadRow,
    removed: bool,
}

impl Live {
    pub(crate) fn new(record: StreamRecord, head: HeadRow, outputs: Vec<Arc<Output>>) -> Self {
        let heads = watch::Sender::new(head.next);
        let known = Mutex::new(Known { head, removed: false });
        let (record, outputs) = (RwLock::new(Arc::new(record)), RwLock::new(outputs));
        Self { record, known, outputs, heads, keeper: Notify::new() }
    }

    pub(crate) fn record(&self) -> Arc<StreamRecord> {
        Arc::clone(&self.record.read())
    }

    pub(crate) fn name(&self) -> PipelineName {
        self.record.read().name.clone()
    }

    pub(crate) fn id(&self) -> PipelineId {
        self.record.read().id
    }

    pub(crate) fn outputs(&self) -> Vec<Arc<Output>> {
        self.outputs.read().clone()
    }

    /// How many outputs read its log.
    pub(crate) fn readers(&self) -> usize {
        self.outputs.read().len()
    }

    /// The output that makes it a pipeline.
    pub(crate) fn own_output(&self) -> Option<Arc<Output>> {
        let id = self.id();
        self.outputs.read().iter().find(|output| output.id() == id).map(Arc::clone)
    }

    /// The pipeline it is the stream of.
    pub(crate) fn pipeline(&self) -> Option<PipelineRecord> {
        let output = self.own_output()?.record().asked().clone();
        let StreamRecord { id, name, spec: stream, created, modified, version, draining, .. } =
            StreamRecord::clone(&self.record());
        Some(PipelineRecord { id, spec: PipelineSpec { name, stream, output }, created, modified, version, draining })
    }

    /// The buckets its events go to.
    pub(crate) fn buckets(&self) -> Vec<BucketName> {
        self.outputs.read().iter().map(|output| output.record().asked().bucket.clone()).collect()
    }

    /// Takes note of a changed record and wakes the workers.
    pub(crate) fn set_record(&self, record: StreamRecord) {
        *self.record.write() = Arc::new(record);
        self.wake_all();
    }

    /// Takes one more output.
    pub(crate) fn add_output(&self, output: &Arc<Output>) {
        self.outputs.write().push(Arc::clone(output));
    }

    /// Forgets an output that is gone, wakes its worker to bury it, and the keeper: others may have waited for it to
    /// deliver what they had.
    pub(crate) fn forget_output(&self, id: PipelineId) {
        let mut outputs = self.outputs.write();
        if let Some(at) = outputs.iter().position(|output| output.id() == id) {
            outputs.remove(at).set_removed();
        }
        drop(outputs);
        self.keeper.notify_one();
    }

    /// Waits until the keeper of a stream without an output of its own has something to do.
    pub(crate) async fn keeper_wanted(&self) {
        self.keeper.notified().await;
    }

    /// Takes note that the log has grown and wakes the workers.
    pub(crate) fn set_head(&self, head: HeadRow) {
        self.known.lock().head = head;
        self.heads.send_replace(head.next);
        self.wake_all();
    }

    fn wake_all(&self) {
        self.outputs.read().iter().for_each(|output| output.wake.notify_one());
    }

    /// Takes note that the stream is gone with all its outputs, and wakes the workers to bury them.
    pub(crate) fn set_removed(&self) {
        self.known.lock().removed = true;
        self.heads.send_modify(|_| ()); // nothing more will come
        self.outputs.read().iter().for_each(|output| output.set_removed());
        self.keeper.notify_one();
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

    /// The bytes that the output which is furthest behind has not delivered.
    pub(crate) fn backlog_bytes(&self) -> u64 {
        let outputs = self.outputs.read();
        let head = self.known.lock().head;
        outputs.iter().map(|output| output.known.lock().progress.lag_bytes(&head)).max().unwrap_or(head.bytes)
    }

    /// How its outputs fare at `now`.
    pub(crate) fn health(&self, now: Timestamp) -> Vec<PipelineHealth> {
        self.outputs.read().iter().map(|output| self.health_of(output, now)).collect()
    }

    /// How one of its outputs fares at `now`.
    pub(crate) fn health_of(&self, output: &Output, now: Timestamp) -> PipelineHealth {
        let draining = self.record.read().draining;
        let head = self.known.lock().head;
        let timeout = output.record.read().spec.batch.timeout;
        let known = output.known.lock();
        let progress = known.progress;
        let lag_events = progress.lag_events(&head);
        let oldest = known.oldest.filter(|_| lag_events > 0);
        let lag = oldest.map_or(Duration::ZERO, |oldest| now.since(oldest));
        let state = match (draining, known.waiting.clone()) {
            (true, waiting) => PipelineState::Draining { waiting },
            (false, Some(reason)) => PipelineState::Waiting { reason },
            (false, None) => PipelineState::Ready,
        };
        PipelineHealth {
            name: output.name.clone(),
            state,
            events_accepted: head.next - progress.skipped,
            bytes_accepted: head.bytes - progress.skipped_bytes,
            events_delivered: progress.events,
            dead_letters: progress.dead_letters,
            objects_written: progress.objects,
            lag_events,
            lag_bytes: progress.lag_bytes(&head),
            lag,
            late: lag.saturating_sub(timeout),
        }
    }
}

/// One output of a stream.
#[derive(Debug)]
pub(crate) struct Output {
    id: PipelineId,
    name: PipelineName,
    record: RwLock<Arc<OutputRecord>>,
    known: Mutex<OutputKnown>,
    wake: Notify,
}

#[derive(Debug)]
struct OutputKnown {
    progress: ProgressRow,
    /// When the oldest event was logged that has been read and is not in an object.
    oldest: Option<Timestamp>,
    waiting: Option<String>,
    removed: bool,
}

impl Output {
    pub(crate) fn new(record: OutputRecord, progress: ProgressRow) -> Arc<Self> {
        Arc::new(Self {
            id: record.id,
            name: record.name.clone(),
            record: RwLock::new(Arc::new(record)),
            known: Mutex::new(OutputKnown { progress, oldest: None, waiting: None, removed: false }),
            wake: Notify::new(),
        })
    }

    pub(crate) fn id(&self) -> PipelineId {
        self.id
    }

    pub(crate) fn name(&self) -> &PipelineName {
        &self.name
    }

    pub(crate) fn record(&self) -> Arc<OutputRecord> {
        Arc::clone(&self.record.read())
    }

    /// Takes note of a changed record and wakes the worker.
    pub(crate) fn set_record(&self, record: OutputRecord) {
        *self.record.write() = Arc::new(record);
        self.wake.notify_one();
    }

    pub(crate) fn set_progress(&self, progress: ProgressRow) {
        self.known.lock().progress = progress;
    }

    /// Takes note of when the oldest event was logged that has been read and is not in an object.
    pub(crate) fn set_oldest(&self, oldest: Option<Timestamp>) {
        self.known.lock().oldest = oldest;
    }

    pub(crate) fn set_waiting(&self, reason: Option<String>) {
        self.known.lock().waiting = reason;
    }

    /// Takes note that it is gone and wakes the worker to bury it.
    pub(crate) fn set_removed(&self) {
        self.known.lock().removed = true;
        self.wake.notify_one();
    }

    pub(crate) fn is_removed(&self) -> bool {
        self.known.lock().removed
    }

    /// Waits until something has changed since the last wait.
    pub(crate) async fn changed(&self) {
        self.wake.notified().await;
    }
}

/// The streams of this process by name.
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

    /// The output of this name: of the pipeline, or else of a statement of a SQL pipeline.
    pub(crate) fn output(&self, name: &PipelineName) -> Option<(Arc<Live>, Arc<Output>)> {
        let pipeline = self.find(name).ok().and_then(|live| live.own_output().map(|output| (live, output)));
        pipeline.or_else(|| {
            let outputs = self.all().into_iter().flat_map(|live| {
                let outputs = live.outputs();
                outputs.into_iter().map(move |output| (Arc::clone(&live), output))
            });
            outputs.into_iter().find(|(_, output)| output.name() == name)
        })
    }

    /// How many outputs there are.
    pub(crate) fn outputs(&self) -> usize {
        self.by_name.read().values().map(|live| live.outputs.read().len()).sum()
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
