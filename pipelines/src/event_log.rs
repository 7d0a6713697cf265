//! The log every event goes through before it is acknowledged: [`EventLog::append`] answers when it is durable.
//!
//! ```text
//! append, append, … (all pipelines) ─▶ queue ─▶ Flusher: one blob, the events of a pipeline together
//!                                                        + one transaction: run and head rows, the blob's claim
//! ```
//! There is no artificial delay: what arrives while a flush is on its way goes into the next one. A crash before the
//! commit leaves a blob that nobody claims; after it nothing is lost. Trimming is the workers' business (`reader`).

use crate::live::Live;
use crate::metrics::Metrics;
use crate::registry::Tries;
use crate::rows::{HEADS, HeadRow, PipelineId, RUNS, RunRow, SHARED, SharedRow};
use crate::validate::ValidEvents;
use crate::{Error, PipelinesConfig, Result};
use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use cistern_blobs::Blob;
use cistern_objects::Objects;
use cistern_runtime::{Clock, Work, Worker, WorkerError};
use cistern_types::StorageClass;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

/// How many bodies may wait for a flush.
const QUEUE_BODIES_MAX: usize = 4096;

/// How many pipelines one flush serves at most, so that its transaction stays far below its limit.
const PIPELINES_PER_FLUSH: usize = 1000;

/// How long a body waits for room before its producer is told to come back.
const ROOM_WAIT: Duration = Duration::from_secs(1);

/// Bodies up to this size are handed to the blob store in one piece.
const PIECE_BYTES: usize = 1 << 20;

/// The producers' side of the log.
#[derive(Debug)]
pub(crate) struct EventLog {
    queue: mpsc::Sender<Entry>,
    room: Arc<Semaphore>,
    room_bytes: usize,
    closed: AtomicBool,
}

/// A share of the memory that bodies on their way to the log may take. Given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Room(OwnedSemaphorePermit);

impl Room {
    /// Adds another share.
    pub(crate) fn join(&mut self, other: Self) {
        self.0.merge(other.0);
    }

    /// Gives back what is more than `bytes`.
    pub(crate) fn shrink(&mut self, bytes: usize) {
        let surplus = self.0.num_permits().saturating_sub(bytes);
        drop(self.0.split(surplus));
    }
}

#[derive(Debug)]
struct Entry {
    live: Arc<Live>,
    id: PipelineId,
    events: ValidEvents,
    answer: oneshot::Sender<Result<()>>,
    /// Held until the entry is flushed.
    _room: Room,
}

impl EventLog {
    /// A log and the worker that writes it.
    pub(crate) fn new(
        objects: Objects,
        clock: Arc<dyn Clock>,
        config: &PipelinesConfig,
        metrics: Metrics,
    ) -> (Self, Flusher) {
        let (sender, receiver) = mpsc::channel(QUEUE_BODIES_MAX);
        let room_bytes = config.buffered_bytes_max.min(u32::MAX as usize);
        let room = Arc::new(Semaphore::new(room_bytes));
        let flush_bytes_max = config.flush_bytes_max;
        let flusher = Flusher { objects, clock, metrics, queue: receiver, next: None, ended: false, flush_bytes_max };
        (Self { queue: sender, room, room_bytes, closed: AtomicBool::new(false) }, flusher)
    }

    /// Room for a body of at most `bytes`; waits a moment for it.
    pub(crate) async fn room(&self, bytes: usize) -> Result<Room> {
        let full = Error::TooMuchBuffered { buffered_bytes_max: self.room_bytes };
        if self.closed.load(Ordering::Acquire) {
            return Err(Error::Stopping);
        }
        let Some(permits) = u32::try_from(bytes).ok().filter(|_| bytes <= self.room_bytes) else {
            return Err(full);
        };
        match tokio::time::timeout(ROOM_WAIT, Arc::clone(&self.room).acquire_many_owned(permits)).await {
            Ok(Ok(permit)) => Ok(Room(permit)),
            Ok(Err(_)) => Err(Error::Stopping),
            Err(_) => Err(full),
        }
    }

    /// Appends the events of one body, all or none. On an error of kind `Unavailable` it is open whether they were.
    pub(crate) async fn append(&self, live: Arc<Live>, events: ValidEvents, room: Room) -> Result<()> {
        if self.closed.load(Ordering::Acquire) {
            return Err(Error::Stopping);
        }
        let (answer, answered) = oneshot::channel();
        let entry = Entry { id: live.id(), live, events, answer, _room: room };
        self.queue.try_send(entry).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => Error::TooMuchBuffered { buffered_bytes_max: self.room_bytes },
            mpsc::error::TrySendError::Closed(_) => Error::Stopping,
        })?;
        answered.await.unwrap_or(Err(Error::Stopping))
    }

    /// Takes no more events and waits until those that have room are flushed.
    pub(crate) async fn close(&self) {
        self.closed.store(true, Ordering::Release);
        let all = u32::try_from(self.room_bytes).expect("the constructor keeps it within 32 bits");
        // Who has all the room has waited for everybody else's.
        if let Ok(permits) = self.room.acquire_many(all).await {
            permits.forget();
        }
        self.room.close();
    }
}

/// The worker that writes the log, one flush at a time.
#[derive(Debug)]
pub(crate) struct Flusher {
    objects: Objects,
    clock: Arc<dyn Clock>,
    metrics: Metrics,
    queue: mpsc::Receiver<Entry>,
    next: Option<Entry>,
    ended: bool,
    flush_bytes_max: usize,
}

/// The events of one pipeline in a flush.
#[derive(Debug)]
struct Group {
    live: Arc<Live>,
    /// Which entries of the flush.
    entries: Vec<usize>,
    position: u64,
    length: u64,
    events: u32,
}

#[async_trait]
impl Worker for Flusher {
    fn name(&self) -> String {
        "pipelines-log".into()
    }

    async fn work(&mut self) -> Result<Work, WorkerError> {
        let entries = self.gather();
        if entries.is_empty() {
            return Ok(if self.ended { Work::Finished } else { Work::Idle });
        }
        self.flush(entries).await;
        Ok(Work::More)
    }

    async fn wait_for_work(&mut self) {
        if self.next.is_none() {
            self.next = self.queue.recv().await;
            self.ended = self.next.is_none();
        }
    }
}

impl Flusher {
    fn gather(&mut self) -> Vec<Entry> {
        let mut entries = Vec::new();
        let mut bytes = 0;
        let mut pipelines = BTreeSet::new();
        while let Some(entry) = self.next.take().or_else(|| self.queue.try_recv().ok()) {
            let full = bytes + entry.events.lines.len() > self.flush_bytes_max
                || (pipelines.len() == PIPELINES_PER_FLUSH && !pipelines.contains(&entry.id));
            if full && !entries.is_empty() {
                self.next = Some(entry);
                break;
            }
            bytes += entry.events.lines.len();
            pipelines.insert(entry.id);
            entries.push(entry);
        }
        entries
    }

    /// Flushes and answers everybody who waits for it.
    async fn flush(&self, entries: Vec<Entry>) {
        let (groups, body) = lay_out(&entries);
        let bytes = body.len() as u64;
        let outcome = match self.write(&groups, body.clone()).await {
            // The drives lost bytes before they were durable: once more, with a new blob.
            Err(Error::Metadata(cistern_metadata::Error::LostPrerequisite)) => self.write(&groups, body).await,
            outcome => outcome,
        };
        let mut answers: Vec<Option<Result<()>>> = entries.iter().map(|_| None).collect();
        match outcome {
            Ok(heads) => {
                self.metrics.flushed(bytes);
                for (group, head) in groups.iter().zip(heads) {
                    let head = head.inspect(|head| {
                        group.live.set_head(*head);
                        self.metrics.accepted(&group.live.name(), u64::from(group.events), group.length);
                    });
                    for entry in &group.entries {
                        answers[*entry] = Some(match &head {
                            Some(_) => Ok(()),
                            None => Err(gone(&group.live)),
                        });
                    }
                }
            }
            Err(error) => {
                tracing::warn!(error = %error, bodies = entries.len(), "events could not be written to the log");
                let error = Arc::new(error);
                for answer in &mut answers {
                    *answer = Some(Err(Error::Flush(Arc::clone(&error))));
                }
            }
        }
        for (entry, answer) in entries.into_iter().zip(answers) {
            let answer = answer.expect("every entry belongs to one group");
            if entry.answer.send(answer).is_err() {
                tracing::debug!("a producer hung up before its answer; what was accepted stays accepted");
            }
        }
    }

    /// The commit point of the log. Answers each group's new head, or `None` when its pipeline takes no more events.
    async fn write(&self, groups: &[Group], body: Bytes) -> Result<Vec<Option<HeadRow>>> {
        let blob = self.write_blob(body).await?;
        let mut tries = Tries::new();
        loop {
            let mut txn = self.objects.store().begin().await?;
            let mut heads = Vec::with_capacity(groups.len());
            for group in groups {
                let head = HEADS.get(&mut txn, &group.live.id()).await?;
                heads.push(head.filter(|head| !head.closed));
            }
            let runs = heads.iter().flatten().count();
            let now = self.clock.now();
            for (group, head) in groups.iter().zip(&mut heads) {
                let Some(head) = head else { continue };
                let id = group.live.id();
                let at = now.max(head.at);
                let run = RunRow {
                    blob: blob.id,
                    position: group.position,
                    length: group.length,
                    events: group.events,
                    at,
                    shared: runs > 1,
                };
                RUNS.put(&mut txn, &(id, head.next), &run)?;
                let next = head.next + u64::from(group.events);
                *head = HeadRow { next, bytes: head.bytes + group.length, at, closed: false };
                HEADS.put(&mut txn, &id, head)?;
            }
            if runs == 0 {
                return Ok(heads);
            }
            if runs > 1 {
                let runs = u32::try_from(runs).expect("a flush serves a thousand pipelines at most");
                SHARED.put(&mut txn, &blob.id, &SharedRow { runs })?;
            }
            self.objects.claim_blob(&mut txn, blob.id, blob.receipt)?;
            if tries.commit(txn).await? {
                return Ok(heads);
            }
        }
    }

    async fn write_blob(&self, body: Bytes) -> Result<Blob> {
        let blobs = self.objects.blobs();
        let length = body.len() as u64;
        let blob = if body.len() <= PIECE_BYTES {
            blobs.put(StorageClass::Standard, body).await?
        } else {
            let mut writer = blobs.writer(StorageClass::Standard).await?;
            for start in (0..body.len()).step_by(PIECE_BYTES) {
                writer.write(body.slice(start..body.len().min(start + PIECE_BYTES))).await?;
            }
            writer.finish().await?
        };
        assert_eq!(blob.length, length, "the blob store keeps what it was given");
        Ok(blob)
    }
}

fn gone(live: &Live) -> Error {
    let name = live.name();
    if live.is_removed() { Error::NoSuchPipeline { name: name.to_string() } } else { Error::Draining { name } }
}

/// Puts the events of each pipeline together, in the order they came.
fn lay_out(entries: &[Entry]) -> (Vec<Group>, Bytes) {
    let mut by_pipeline: BTreeMap<PipelineId, Vec<usize>> = BTreeMap::new();
    for (number, entry) in entries.iter().enumerate() {
        by_pipeline.entry(entry.id).or_default().push(number);
    }
    if let [only] = entries {
        let events = &only.events;
        let length = events.lines.len() as u64;
        let live = Arc::clone(&only.live);
        return (
            vec![Group { live, entries: vec![0], position: 0, length, events: events.events }],
            events.lines.clone(),
        );
    }
    let mut body = BytesMut::with_capacity(entries.iter().map(|entry| entry.events.lines.len()).sum());
    let mut groups = Vec::with_capacity(by_pipeline.len());
    for numbers in by_pipeline.into_values() {
        let position = body.len() as u64;
        let mut events = 0;
        for number in &numbers {
            body.extend_from_slice(&entries[*number].events.lines);
            events += entries[*number].events.events;
        }
        let live = Arc::clone(&entries[numbers[0]].live);
        groups.push(Group { live, entries: numbers, position, length: body.len() as u64 - position, events });
    }
    (groups, body.freeze())
}
