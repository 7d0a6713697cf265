//! The log every event goes through before it is acknowledged: [`EventLog::append`] answers when it is durable.
//!
//! ```text
//! append, append, … (all pipelines) ─▶ queue ─▶ Flusher: one blob, the events of a pipeline and shard together
//!                                                        + one transaction: run, head and producer rows, the blob's claim
//! ```
//! There is no artificial delay: what arrives while a flush is on its way goes into the next one. A crash before the
//! commit leaves a blob that nobody claims; after it nothing is lost. Trimming is the workers' business (`reader`).

use crate::claim::{Claim, Producer, Verdict};
use crate::live::Live;
use crate::metrics::Metrics;
use crate::reader::LoggedEvents;
use crate::recent_runs::RecentRuns;
use crate::registry::Tries;
use crate::rows::{HEADS, HeadRow, PipelineId, ProducerRow, RUNS, RunRow, SHARED, SharedRow};
use crate::validate::ValidEvents;
use crate::{Error, PipelinesConfig, Result};
use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use cistern_blobs::Blob;
use cistern_metadata::Transaction;
use cistern_objects::Objects;
use cistern_runtime::{Clock, Work, Worker, WorkerError};
use cistern_types::{ByteSize, StorageClass, Timestamp};
use futures::FutureExt as _;
use std::collections::btree_map::Entry as MapEntry;
use std::collections::{BTreeMap, BTreeSet};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::time::{Instant, sleep_until};

/// How many bodies may wait for a flush.
const QUEUE_BODIES_MAX: usize = 4096;

/// How many pipelines one flush serves at most, so that its transaction stays far below its limit.
const PIPELINES_PER_FLUSH: usize = 1000;

/// How many bodies one flush takes at most: each may have a row of its producer in the transaction.
const ENTRIES_PER_FLUSH: usize = 2000;

/// How long a body waits for room before its producer is told to come back.
const ROOM_WAIT: Duration = Duration::from_secs(1);

/// How long events that turned out larger than they came wait for the difference.
const FIT_WAIT: Duration = Duration::from_secs(10);

/// Stands for the offset of a batch that is about to be logged.
const NOT_YET: u64 = u64::MAX;

/// While a crowd sends at once, a flush begins so long after the one before at the earliest: more events share its syncs.
/// A few who wait for each answer never wait for this.
const FLUSH_EVERY: Duration = Duration::from_millis(1);

/// So many bodies in one flush are a crowd.
const CROWD_MIN: usize = 8;

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

    /// Splits off what `bytes` take, as far as there is so much.
    pub(crate) fn split(&mut self, bytes: usize) -> Option<Self> {
        self.0.split(bytes.min(self.0.num_permits())).map(Self)
    }

    /// How much it is.
    fn bytes(&self) -> usize {
        self.0.num_permits()
    }

    /// Makes it `bytes`, however much it was; waits a moment when it grows.
    pub(crate) async fn fit(&mut self, log: &EventLog, bytes: usize) -> Result<()> {
        let more = bytes.saturating_sub(self.bytes());
        if more > 0 {
            self.join(log.room_within(more, FIT_WAIT).await?);
        }
        self.shrink(bytes);
        Ok(())
    }

    /// Gives back what is more than `bytes`.
    fn shrink(&mut self, bytes: usize) {
        let surplus = self.0.num_permits().saturating_sub(bytes);
        drop(self.0.split(surplus));
    }
}

/// Events to be logged, all or none.
#[derive(Debug)]
pub(crate) struct Append {
    pub(crate) events: ValidEvents,
    /// The Kafka partition they came to; 0 for those that came otherwise.
    pub(crate) shard: u8,
    /// What the producer says about them, so that a retry is recognised.
    pub(crate) claim: Option<Claim>,
}

impl From<ValidEvents> for Append {
    fn from(events: ValidEvents) -> Self {
        Self { events, shard: 0, claim: None }
    }
}

/// Events on their way into the log.
#[derive(Debug)]
pub(crate) struct Pending(oneshot::Receiver<Result<Appended>>);

impl Pending {
    /// What failed already.
    pub(crate) fn failed(error: Error) -> Self {
        let (answer, answered) = oneshot::channel();
        drop(answer.send(Err(error)));
        Self(answered)
    }
}

/// Ready when they are durable. On an error of kind `Unavailable` it is open whether they were logged.
impl Future for Pending {
    type Output = Result<Appended>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.poll_unpin(cx).map(|answered| answered.unwrap_or(Err(Error::Stopping)))
    }
}

/// How events were logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Appended {
    /// The offset of the first one; those of one append follow one another.
    pub(crate) first: u64,
    /// Whether they had been logged before, by an append with the same claim.
    pub(crate) seen: bool,
}

#[derive(Debug)]
struct Entry {
    live: Arc<Live>,
    id: PipelineId,
    append: Append,
    answer: oneshot::Sender<Result<Appended>>,
    /// Held until the entry is flushed.
    _room: Room,
}

impl EventLog {
    /// A log and the worker that writes it, and keeps what it wrote in `recent`.
    pub(crate) fn new(
        objects: Objects,
        clock: Arc<dyn Clock>,
        config: &PipelinesConfig,
        metrics: Metrics,
        recent: Arc<RecentRuns>,
    ) -> (Self, Flusher) {
        let (sender, receiver) = mpsc::channel(QUEUE_BODIES_MAX);
        let room_bytes = config.buffered_bytes_max.min(u32::MAX as usize);
        let room = Arc::new(Semaphore::new(room_bytes));
        let flush_bytes_max = config.flush_bytes_max;
        let (queue, next, ended, gathered_at) = (receiver, None, false, None);
        let flusher = Flusher { objects, clock, metrics, recent, queue, next, ended, flush_bytes_max, gathered_at };
        (Self { queue: sender, room, room_bytes, closed: AtomicBool::new(false) }, flusher)
    }

    /// Room for a body of at most `bytes`; waits a moment for it.
    pub(crate) async fn room(&self, bytes: usize) -> Result<Room> {
        self.room_within(bytes, ROOM_WAIT).await
    }

    /// Room for at most `bytes`; waits as long as it takes, but not longer than `wait`.
    pub(crate) async fn room_within(&self, bytes: usize, wait: Duration) -> Result<Room> {
        let full = Error::TooMuchBuffered { buffered_bytes_max: self.room_bytes };
        if self.closed.load(Ordering::Acquire) {
            return Err(Error::Stopping);
        }
        let Some(permits) = u32::try_from(bytes).ok().filter(|_| bytes <= self.room_bytes) else {
            return Err(full);
        };
        match tokio::time::timeout(wait, Arc::clone(&self.room).acquire_many_owned(permits)).await {
            Ok(Ok(permit)) => Ok(Room(permit)),
            Ok(Err(_)) => Err(Error::Stopping),
            Err(_) => Err(full),
        }
    }

    /// Appends events, all or none. On an error of kind `Unavailable` it is open whether they were.
    pub(crate) async fn append(&self, live: Arc<Live>, append: Append, room: Room) -> Result<Appended> {
        self.queue_entry(live, append, room, |entry| {
            self.queue.try_send(entry).map_err(|error| match error {
                mpsc::error::TrySendError::Full(_) => Error::TooMuchBuffered { buffered_bytes_max: self.room_bytes },
                mpsc::error::TrySendError::Closed(_) => Error::Stopping,
            })
        })?
        .await
    }

    /// Queues events to be appended, behind those queued before; waits while the queue is full.
    pub(crate) async fn queue(&self, live: Arc<Live>, append: Append, room: Room) -> Result<Pending> {
        let place = self.queue.reserve().await.map_err(|_| Error::Stopping)?;
        self.queue_entry(live, append, room, |entry| {
            place.send(entry);
            Ok(())
        })
    }

    fn queue_entry(
        &self,
        live: Arc<Live>,
        append: Append,
        room: Room,
        send: impl FnOnce(Entry) -> Result<()>,
    ) -> Result<Pending> {
        if self.closed.load(Ordering::Acquire) {
            return Err(Error::Stopping);
        }
        if append.events.events == 0 {
            return Err(Error::NoEvents); // a run without events would have the offset of the next one
        }
        if let Some(bytes_max) = live.record().spec.backlog_max.map(ByteSize::as_u64)
            && live.backlog_bytes() + append.events.lines.len() as u64 > bytes_max
        {
            return Err(Error::Backlog { name: live.name(), bytes_max });
        }
        let (answer, answered) = oneshot::channel();
        send(Entry { id: live.id(), live, append, answer, _room: room })?;
        Ok(Pending(answered))
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
    recent: Arc<RecentRuns>,
    queue: mpsc::Receiver<Entry>,
    next: Option<Entry>,
    ended: bool,
    flush_bytes_max: usize,
    /// When the last flush began, if it was that of a crowd.
    gathered_at: Option<Instant>,
}

/// The events of one pipeline and shard in a flush: one run.
#[derive(Debug)]
struct Group {
    id: PipelineId,
    shard: u8,
    /// Which entries of the flush.
    entries: Vec<usize>,
    position: u64,
    length: u64,
    events: u32,
}

/// What a flush found of one entry.
#[derive(Debug)]
enum Found {
    /// To be logged.
    New,
    Seen(u64),
    Refused(Error),
    /// The pipeline takes no more events.
    Closed,
}

/// What a flush knows while it decides: rows as they are, then as they will be.
#[derive(Debug, Default)]
struct Known {
    heads: BTreeMap<PipelineId, HeadRow>,
    producers: BTreeMap<(PipelineId, Producer), Option<ProducerRow>>,
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
        self.gathered_at = (entries.len() >= CROWD_MIN).then(Instant::now);
        self.flush(entries).await;
        Ok(if self.next.is_some() { Work::More } else { Work::Idle })
    }

    async fn wait_for_work(&mut self) {
        if self.next.is_none() {
            self.next = self.queue.recv().await;
            self.ended = self.next.is_none();
        }
        if let Some(gathered_at) = self.gathered_at {
            sleep_until(gathered_at + FLUSH_EVERY).await;
        }
    }
}

impl Flusher {
    fn gather(&mut self) -> Vec<Entry> {
        let mut entries = Vec::new();
        let mut bytes = 0;
        let (mut pipelines, mut claims) = (BTreeSet::new(), BTreeSet::new());
        while let Some(entry) = self.next.take().or_else(|| self.queue.try_recv().ok()) {
            let full = entries.len() == ENTRIES_PER_FLUSH
                || bytes + entry.append.events.lines.len() > self.flush_bytes_max
                || (pipelines.len() == PIPELINES_PER_FLUSH && !pipelines.contains(&entry.id));
            // A retry of something in this flush waits for the next, which knows how it was logged.
            let again = entry.append.claim.is_some_and(|claim| !claims.insert((entry.id, claim.producer, claim.first)));
            if (full && !entries.is_empty()) || again {
                self.next = Some(entry);
                break;
            }
            bytes += entry.append.events.lines.len();
            pipelines.insert(entry.id);
            entries.push(entry);
        }
        entries
    }

    /// Flushes and answers everybody who waits for it.
    async fn flush(&self, entries: Vec<Entry>) {
        let outcome = match self.write(&entries).await {
            // The drives lost bytes before they were durable: once more, with a new blob.
            Err(Error::Metadata(cistern_metadata::Error::LostPrerequisite)) => self.write(&entries).await,
            outcome => outcome,
        };
        let answers: Vec<Result<Appended>> = match outcome {
            Ok(answers) => answers,
            Err(error) => {
                tracing::warn!(error = %error, bodies = entries.len(), "events could not be written to the log");
                let error = Arc::new(error);
                entries.iter().map(|_| Err(Error::Flush(Arc::clone(&error)))).collect()
            }
        };
        for (entry, answer) in entries.into_iter().zip(answers) {
            if entry.answer.send(answer).is_err() {
                tracing::debug!("a producer hung up before its answer; what was accepted stays accepted");
            }
        }
    }

    /// The commit point of the log: an answer for each entry, whose events are durable if it says so.
    async fn write(&self, entries: &[Entry]) -> Result<Vec<Result<Appended>>> {
        let mut tries = Tries::new();
        let mut written: Option<(Vec<usize>, Vec<Group>, Bytes, Blob)> = None;
        loop {
            let mut txn = self.objects.store().begin().await?;
            let now = self.clock.now();
            let mut known = Known::default();
            let found = known.decide(&mut txn, entries, now).await?;
            let new: Vec<usize> = (0..entries.len()).filter(|number| matches!(found[*number], Found::New)).collect();
            if new.is_empty() {
                return Ok(answers(entries, found, &BTreeMap::new()));
            }
            // The same blob serves the next try, unless the producers' rows have changed meanwhile.
            let before = written.take().filter(|(before, ..)| *before == new);
            let (groups, body, blob) = if let Some((_, groups, body, blob)) = before {
                (groups, body, blob)
            } else {
                let (groups, body) = lay_out(entries, &new);
                let blob = self.write_blob(body.clone()).await?;
                (groups, body, blob)
            };
            let offsets = known.log(&mut txn, entries, &groups, &blob, now)?;
            known.store_producers(&mut txn, entries, &new, &offsets)?;
            if groups.len() > 1 {
                let runs = u32::try_from(groups.len()).expect("a flush has a few thousand runs at most");
                SHARED.put(&mut txn, &blob.id, &SharedRow { runs })?;
            }
            self.objects.claim_blob(&mut txn, blob.id, blob.receipt)?;
            if tries.commit(txn).await? {
                self.remember(entries, &groups, &body, &known, &offsets);
                self.tell(entries, &groups, &known);
                return Ok(answers(entries, found, &offsets));
            }
            written = Some((new, groups, body, blob));
        }
    }

    /// Keeps the runs at hand for the workers.
    fn remember(
        &self,
        entries: &[Entry],
        groups: &[Group],
        body: &Bytes,
        known: &Known,
        offsets: &BTreeMap<usize, u64>,
    ) {
        let place = |bytes: u64| usize::try_from(bytes).expect("a flush is in memory");
        for group in groups {
            let lines = body.slice(place(group.position)..place(group.position + group.length));
            // a slice holds on to the whole of it
            let lines = if lines.len() * 2 >= body.len() { lines } else { Bytes::copy_from_slice(&lines) };
            let (first, at) = (offsets[&group.entries[0]], known.heads[&group.id].at);
            let readers = entries[group.entries[0]].live.readers();
            self.recent.put(group.id, LoggedEvents { first, events: group.events, at, lines }, readers);
        }
    }

    /// Tells workers and counters what has been logged.
    fn tell(&self, entries: &[Entry], groups: &[Group], known: &Known) {
        self.metrics.flushed(groups.iter().map(|group| group.length).sum());
        for group in groups {
            let live = &entries[group.entries[0]].live;
            if let Some(head) = known.heads.get(&group.id) {
                live.set_head(*head);
            }
            self.metrics.accepted(&live.name(), u64::from(group.events), group.length);
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

impl Known {
    /// Decides about each entry in the order they came.
    async fn decide(&mut self, txn: &mut Transaction, entries: &[Entry], now: Timestamp) -> Result<Vec<Found>> {
        let mut found = Vec::with_capacity(entries.len());
        for entry in entries {
            if let MapEntry::Vacant(place) = self.heads.entry(entry.id)
                && let Some(head) = HEADS.get(txn, &entry.id).await?
            {
                place.insert(head);
            }
            let head = self.heads.get(&entry.id).filter(|head| !head.closed).copied();
            found.push(match (head, &entry.append.claim) {
                (None, _) => Found::Closed,
                (Some(_), None) => Found::New,
                (Some(head), Some(claim)) => self.judge(txn, entry.id, claim, now.max(head.at)).await?,
            });
        }
        Ok(found)
    }

    async fn judge(&mut self, txn: &mut Transaction, id: PipelineId, claim: &Claim, at: Timestamp) -> Result<Found> {
        let key = (id, claim.producer);
        if let MapEntry::Vacant(place) = self.producers.entry(key) {
            place.insert(claim.producer.load(txn, id, at).await?);
        }
        let known = self.producers.get_mut(&key).expect("it was put there");
        Ok(match claim.judge(known.as_ref()) {
            Ok(Verdict::New) => {
                *known = Some(claim.record(known.take(), NOT_YET));
                Found::New
            }
            Ok(Verdict::Seen { offset }) => Found::Seen(offset),
            Err(error) => Found::Refused(error),
        })
    }

    /// Puts the runs behind the heads; the offset of the first event of each entry that is in one.
    fn log(
        &mut self,
        txn: &mut Transaction,
        entries: &[Entry],
        groups: &[Group],
        blob: &Blob,
        now: Timestamp,
    ) -> Result<BTreeMap<usize, u64>> {
        let mut offsets = BTreeMap::new();
        for group in groups {
            let head = self.heads.get_mut(&group.id).expect("only entries of open pipelines are laid out");
            let run = RunRow {
                blob: blob.id,
                position: group.position,
                length: group.length,
                events: group.events,
                at: now.max(head.at),
                shard: group.shard,
                shared: groups.len() > 1,
            };
            RUNS.put(txn, &(group.id, head.next), &run)?;
            let mut next = head.next;
            for number in &group.entries {
                offsets.insert(*number, next);
                next += u64::from(entries[*number].append.events.events);
            }
            let mut shard_ends = head.shard_ends;
            shard_ends[usize::from(group.shard)] = next;
            *head = HeadRow { next, bytes: head.bytes + group.length, at: run.at, shard_ends, ..*head };
        }
        let heads: BTreeSet<PipelineId> = groups.iter().map(|group| group.id).collect();
        for id in heads {
            HEADS.put(txn, &id, &self.heads[&id])?;
        }
        Ok(offsets)
    }

    /// Writes what is known of the producers now.
    fn store_producers(
        &mut self,
        txn: &mut Transaction,
        entries: &[Entry],
        new: &[usize],
        offsets: &BTreeMap<usize, u64>,
    ) -> Result<()> {
        let mut changed = BTreeSet::new();
        for number in new {
            let Some(claim) = entries[*number].append.claim else { continue };
            let key = (entries[*number].id, claim.producer);
            let row = self.producers.get_mut(&key).and_then(Option::as_mut);
            let batches = row.into_iter().flat_map(|row| row.batches.iter_mut());
            // More of them may be in this flush than are remembered.
            if let Some(batch) = batches.rev().find(|batch| batch.first == claim.first) {
                batch.offset = offsets[number];
            }
            changed.insert(key);
        }
        for key @ (id, producer) in changed {
            if let Some(row) = &self.producers[&key] {
                producer.store(txn, id, self.heads[&id].at, row)?;
            }
        }
        Ok(())
    }
}

fn answers(entries: &[Entry], found: Vec<Found>, offsets: &BTreeMap<usize, u64>) -> Vec<Result<Appended>> {
    let answer = |(number, (entry, found)): (usize, (&Entry, Found))| match found {
        Found::New => Ok(Appended { first: offsets[&number], seen: false }),
        Found::Seen(first) => Ok(Appended { first, seen: true }),
        Found::Refused(error) => Err(error),
        Found::Closed => Err(gone(&entry.live)),
    };
    entries.iter().zip(found).enumerate().map(answer).collect()
}

fn gone(live: &Live) -> Error {
    let name = live.name();
    if live.is_removed() { Error::NoSuchPipeline { name: name.to_string() } } else { Error::Draining { name } }
}

/// Puts the events of each pipeline and shard together, in the order they came.
fn lay_out(entries: &[Entry], new: &[usize]) -> (Vec<Group>, Bytes) {
    let mut runs: BTreeMap<(PipelineId, u8), Vec<usize>> = BTreeMap::new();
    for number in new {
        let entry = &entries[*number];
        runs.entry((entry.id, entry.append.shard)).or_default().push(*number);
    }
    let events_of = |number: &usize| &entries[*number].append.events;
    let body = if let [only] = new {
        events_of(only).lines.clone()
    } else {
        let mut body = BytesMut::with_capacity(new.iter().map(|number| events_of(number).lines.len()).sum());
        runs.values().flatten().for_each(|number| body.extend_from_slice(&events_of(number).lines));
        body.freeze()
    };
    let mut groups = Vec::with_capacity(runs.len());
    let mut position = 0;
    for ((id, shard), numbers) in runs {
        let length = numbers.iter().map(|number| events_of(number).lines.len() as u64).sum();
        let events = numbers.iter().map(|number| events_of(number).events).sum();
        groups.push(Group { id, shard, entries: numbers, position, length, events });
        position += length;
    }
    (groups, body)
}
