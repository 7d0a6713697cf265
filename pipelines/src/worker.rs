//! One worker an output: it reads the log, gathers batches, encodes and delivers them, and trims what is delivered.
//!
//! What it knows it can lose: a worker that starts (again) reads where the last commit left off. A batch that cannot be
//! delivered stays in memory, encoded, and is tried again; meanwhile events stay in the log, nothing is dropped.

use crate::batch::Batch;
use crate::batcher::Batcher;
use crate::encode::{EncodedBatch, Encoding, encode};
use crate::live::{Live, Output};
use crate::metrics::Delivered;
use crate::object_name::Named;
use crate::partition::{key_id, partition_of};
use crate::pipelines::Parts;
use crate::reader::{LogReader, LoggedEvents, ToTrim, trim_some};
use crate::registry::{Removal, Tries};
use crate::rows::{OutputRecord, StreamRecord};
use crate::rows::{PROGRESS, ProgressRow, SCHEMAS};
use crate::schema::EventSchema;
use crate::sink::{Delivery, DoneKeys, SinkTarget, deliver, settle};
use crate::{Error, OutputSpec, PipelinesConfig, Result, claim, funeral, registry, transform};
use async_trait::async_trait;
use cistern_runtime::{Work, Worker, WorkerError, offload};
use cistern_sql::Transform;
use cistern_types::Timestamp;
use std::sync::Arc;
use std::time::Duration;

/// How many batches one sink commit delivers at most: twice as many objects, whose change-log row must stay in its limit.
const GROUP_BATCHES_MAX: usize = 32;

/// A group is not added to once it has this many bytes.
const GROUP_BYTES: usize = 32 << 20;

/// How often a missing destination bucket is asked for.
const BUCKET_RETRY: Duration = Duration::from_secs(1);

/// Runs up to this size are split into batches in place: it takes less than the hop to another thread.
const INLINE_BYTES_MAX: usize = 32 << 10;

/// The worker of one output.
#[derive(Debug)]
pub(crate) struct PipelineWorker {
    parts: Arc<Parts>,
    live: Arc<Live>,
    output: Arc<Output>,
    /// `None` until it has read where to go on, and again after a failure that leaves that open.
    run: Option<Box<Run>>,
    /// When to try again what cannot be done now.
    retry: Option<Duration>,
}

/// What a worker holds between two pieces of work.
#[derive(Debug)]
struct Run {
    epoch: u64,
    reader: LogReader,
    batcher: Batcher,
    done: DoneKeys,
    schema: EventSchema,
    /// `None` until a batch was encoded as is asked now.
    planned: Option<Planned>,
    /// Encoded and not delivered.
    pending: Vec<EncodedBatch>,
    progress: ProgressRow,
    /// Below this the log has been trimmed.
    trimmed: u64,
    /// When delivered runs next become as old as they are kept.
    trim_at: Timestamp,
    /// When to look for producers to forget.
    forget_at: Timestamp,
}

/// The transform of an output, if it has one.
#[derive(Debug)]
struct Planned(Option<Transform>);

impl PipelineWorker {
    pub(crate) fn new(parts: Arc<Parts>, live: Arc<Live>, output: Arc<Output>) -> Self {
        Self { parts, live, output, run: None, retry: None }
    }

    /// Takes the output over and reads where to go on; `None` when it is gone.
    async fn load(&self) -> Result<Option<Run>> {
        let id = self.output.id();
        let mut tries = Tries::new();
        loop {
            let mut txn = self.parts.objects.store().begin().await?;
            let Some(stored) = PROGRESS.get(&mut txn, &id).await? else {
                return Ok(None);
            };
            let progress = ProgressRow { epoch: stored.epoch + 1, ..stored };
            let done = DoneKeys::load(&txn, id).await?;
            let schema = SCHEMAS.peek(&txn, &id).await?.unwrap_or_default();
            PROGRESS.put(&mut txn, &id, &progress)?;
            if tries.commit(txn).await? {
                self.output.set_progress(progress);
                return Ok(Some(Run {
                    epoch: progress.epoch,
                    reader: LogReader::new(self.live.id(), self.live.name(), progress.watermark),
                    batcher: Batcher::default(),
                    done,
                    schema,
                    planned: None,
                    pending: Vec::new(),
                    progress,
                    trimmed: 0,
                    trim_at: Timestamp::default(),
                    forget_at: Timestamp::default(),
                }));
            }
        }
    }

    async fn step(&mut self) -> Result<Work> {
        self.retry = None;
        if self.output.is_removed() {
            let more = funeral::bury_some(&self.parts.objects, self.output.id()).await?;
            return Ok(if more { Work::More } else { Work::Finished });
        }
        let Some(mut run) = self.run.take() else {
            let Some(run) = self.load().await? else {
                return Ok(self.leave());
            };
            self.run = Some(Box::new(run));
            return Ok(Work::More);
        };
        let (stream, output) = (self.live.record(), self.output.record());
        let spec = &output.spec;
        if !run.pending.is_empty() {
            return self.deliver(run, &output).await;
        }
        let at_head = run.reader.position() >= self.live.head_next();
        if at_head {
            run.batcher.close_due(&spec.batch, self.parts.clock.now());
        }
        if run.batcher.memory_bytes() > self.memory_share() {
            run.batcher.relieve(self.memory_share() / 2);
        }
        if output.next.is_some() || (stream.draining && at_head) {
            run.batcher.close_all();
        }
        if run.batcher.has_closed() {
            let batches = run.batcher.take_closed(GROUP_BATCHES_MAX, GROUP_BYTES);
            let schema = std::mem::take(&mut run.schema);
            let planned = run.planned.take();
            let started = self.parts.clock.now();
            (run.pending, run.schema, run.planned) = encode_all(batches, &output, planned, started, schema).await?;
            self.run = Some(run);
            return Ok(Work::More);
        }
        if output.next.is_some() && run.done.ends_at(run.reader.position()) {
            return self.begin_next(run).await;
        }
        if !at_head {
            let (objects, recent) = (&self.parts.objects, &self.parts.recent);
            if let Some(events) = run.reader.next_run(objects, recent).await? {
                self.output.set_waiting(None);
                run.gather(events, self.parts.clock.now(), &output).await;
                self.output.set_oldest(run.oldest());
            }
            self.run = Some(run);
            return Ok(Work::More);
        }
        let tidied = self.tidy(&mut run, &stream).await?;
        if !tidied && stream.draining && run.batcher.is_empty() {
            return self.end_draining(run, &stream).await;
        }
        self.run = Some(run);
        Ok(if tidied { Work::More } else { Work::Idle })
    }

    /// Removes some of what is of no more use; whether there was any.
    async fn tidy(&self, run: &mut Run, stream: &StreamRecord) -> Result<bool> {
        let (objects, now) = (&self.parts.objects, self.parts.clock.now());
        if run.trimmed < run.progress.watermark && run.trim_at <= now {
            match trim_some(objects, stream.id, stream.spec.retention, now).await? {
                ToTrim::More => return Ok(true),
                ToTrim::At(at) => run.trim_at = at,
                ToTrim::Nothing => run.trimmed = run.progress.watermark,
            }
        }
        if run.forget_at <= now {
            let next = claim::forget_some(objects, stream.id, now).await?;
            run.forget_at = next.unwrap_or(run.forget_at);
            return Ok(next.is_none());
        }
        Ok(false)
    }

    /// Delivers what is pending, or says why the output waits.
    async fn deliver(&mut self, mut run: Box<Run>, output: &OutputRecord) -> Result<Work> {
        let spec = &output.spec;
        let watermark = run.batcher.first().map_or(run.reader.position(), Batch::first_offset);
        let Run { pending, done, schema, epoch, .. } = &mut *run;
        let mut target =
            SinkTarget { id: self.output.id(), epoch: *epoch, bucket: spec.bucket.clone(), class: spec.class };
        let mut outcome = deliver(&self.parts.objects, &target, pending, watermark, done, schema).await;
        if let Err(Error::Objects(cistern_objects::Error::NoSuchBucket { .. })) = outcome
            && let Some(next) = output.next.as_ref().filter(|next| next.bucket != target.bucket)
        {
            // It has been sent elsewhere meanwhile.
            target.bucket = next.bucket.clone();
            outcome = deliver(&self.parts.objects, &target, pending, watermark, done, schema).await;
        }
        match outcome {
            Ok(Delivery::Done(progress)) => {
                self.delivered(&run);
                run.pending.clear();
                self.output.set_oldest(run.oldest());
                Ok(self.go_on(run, progress))
            }
            Ok(other) => Ok(self.end(other)),
            Err(Error::Objects(cistern_objects::Error::NoSuchBucket { bucket })) => {
                self.output.set_waiting(Some(format!("destination bucket {bucket} does not exist: create it again")));
                self.retry = Some(BUCKET_RETRY);
                self.run = Some(run);
                Ok(Work::Idle)
            }
            Err(error) => {
                self.run = Some(run);
                Err(error)
            }
        }
    }

    fn go_on(&mut self, mut run: Box<Run>, progress: ProgressRow) -> Work {
        run.progress = progress;
        self.output.set_progress(progress);
        self.output.set_waiting(None);
        self.run = Some(run);
        Work::More
    }

    /// Ends, because somebody else has decided so.
    fn end(&self, delivery: Delivery) -> Work {
        if delivery == Delivery::Superseded {
            self.output.set_waiting(Some("another worker has taken over".to_owned()));
            return Work::Finished;
        }
        self.leave()
    }

    /// Goes over to what was asked of the output last, now that everything read so far is in objects.
    async fn begin_next(&mut self, mut run: Box<Run>) -> Result<Work> {
        let (objects, id, position) = (&self.parts.objects, self.output.id(), run.reader.position());
        if !run.done.is_empty() || run.progress.watermark < position {
            return Ok(match settle(objects, id, run.epoch, position, &mut run.done).await? {
                Delivery::Done(progress) => self.go_on(run, progress),
                other => self.end(other),
            });
        }
        match registry::begin_next(objects, self.live.id(), id, run.epoch).await {
            Ok(Some(record)) => {
                tracing::info!(pipeline = %record.name, offset = position, "writes as it was asked to last");
                self.output.set_record(record);
                run.planned = None;
                self.run = Some(run);
                Ok(Work::More)
            }
            Ok(None) => Ok(self.leave()),
            Err(Error::Superseded { .. }) => Ok(self.end(Delivery::Superseded)),
            Err(error) => Err(error),
        }
    }

    /// Counts what a run has just delivered.
    fn delivered(&self, run: &Run) {
        let batches = &run.pending;
        let objects = batches.iter().flat_map(|batch| &batch.objects);
        let delivered = Delivered {
            events: batches.iter().map(|batch| batch.events).sum(),
            dead_letters: batches.iter().map(|batch| batch.dead_letters).sum(),
            objects: objects.clone().count() as u64,
            object_bytes: objects.map(|object| object.body.len() as u64).sum(),
        };
        let transform = run.planned.as_ref().and_then(|planned| planned.0.as_ref());
        if let Some(transform) = transform {
            for batch in batches {
                self.parts.metrics.transformed(self.output.name(), transform.steps(), &batch.steps);
            }
        }
        self.parts.metrics.delivered(self.output.name(), &delivered);
        tracing::debug!(pipeline = %self.output.name(), ?delivered, "delivered");
        if delivered.dead_letters > 0 {
            tracing::warn!(pipeline = %self.output.name(), events = delivered.dead_letters, "events became dead letters");
        }
    }

    /// Removes a pipeline whose last event is delivered.
    async fn end_draining(&mut self, run: Box<Run>, stream: &StreamRecord) -> Result<Work> {
        match registry::remove_delivered(&self.parts.objects, stream).await? {
            Removal::Removed => Ok(self.leave()),
            Removal::NotDelivered(head) => {
                // A flush was committed and had not said so yet.
                self.live.set_head(head);
                self.run = Some(run);
                Ok(Work::More)
            }
        }
    }

    /// Forgets an output that is gone, with its stream if that is gone too, and goes on with its funeral.
    fn leave(&self) -> Work {
        if self.output.id() == self.live.id() {
            self.parts.directory.remove(&self.live);
            self.live.set_removed();
        } else {
            self.live.forget_output(self.output.id());
        }
        self.output.set_removed();
        Work::More
    }

    /// What its batches may take of memory.
    fn memory_share(&self) -> usize {
        let share = self.parts.config.batch_memory_bytes_max / self.parts.directory.outputs().max(1);
        share.max(PipelinesConfig::PIPELINE_MEMORY_BYTES_MIN)
    }

    /// How long there is nothing to do if nothing happens.
    fn pause(&self) -> Option<Duration> {
        let run = self.run.as_ref()?;
        let due = run.batcher.next_due(&self.output.record().spec.batch);
        let trim = (run.trimmed < run.progress.watermark).then_some(run.trim_at);
        let next = due.into_iter().chain(trim).min();
        let pause = next.map(|next: Timestamp| next.since(self.parts.clock.now()).max(Duration::from_millis(1)));
        self.retry.or(pause)
    }
}

#[async_trait]
impl Worker for PipelineWorker {
    fn name(&self) -> String {
        format!("pipeline-{}", self.output.name())
    }

    async fn work(&mut self) -> Result<Work, WorkerError> {
        Ok(self.step().await.inspect_err(|error| self.output.set_waiting(Some(with_causes(error))))?)
    }

    async fn wait_for_work(&mut self) {
        match self.pause() {
            Some(pause) => {
                tokio::select! {
                    () = tokio::time::sleep(pause) => {}
                    // While it waits for the bucket, more events change nothing.
                    () = self.output.changed(), if self.retry.is_none() => {}
                }
            }
            None => self.output.changed().await,
        }
    }
}

impl Run {
    /// Since when the first event waits that has been read and is not in an object.
    fn oldest(&self) -> Option<Timestamp> {
        let pending = self.pending.iter().map(|batch| batch.waits_since);
        pending.chain(self.batcher.first().map(Batch::waits_since)).min()
    }

    /// Puts the events of a run into their batches, those left out that are in objects already. While it catches up, a batch is as old
    /// as the log was when the run was logged: what had to wait is batched as if it had not. Only a log that is ahead of `now`, because
    /// a clock was, says nothing about age.
    async fn gather(&mut self, events: LoggedEvents, now: Timestamp, output: &Arc<OutputRecord>) {
        let mut batcher = std::mem::take(&mut self.batcher);
        let mut done = std::mem::take(&mut self.done);
        batcher.close_due(&output.spec.batch, events.at.min(now));
        let watermark = self.progress.watermark;
        if events.lines.len() <= INLINE_BYTES_MAX {
            split(&mut batcher, &done, watermark, &events, &output.spec);
        } else {
            let output = Arc::clone(output);
            (batcher, done) = offload(move || {
                split(&mut batcher, &done, watermark, &events, &output.spec);
                (batcher, done)
            })
            .await;
        }
        (self.batcher, self.done) = (batcher, done);
    }
}

/// An error with what lies beneath it, for people.
fn with_causes(error: &Error) -> String {
    let causes = std::iter::successors(std::error::Error::source(error), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

/// Puts events into their batches: those that follow one another with the same key value at once.
fn split(batcher: &mut Batcher, done: &DoneKeys, watermark: u64, events: &LoggedEvents, spec: &OutputSpec) {
    let run = &events.lines;
    if spec.batch.json_key.is_none()
        && done.is_empty()
        && events.first >= watermark
        && batcher.push_whole(&spec.batch, events.first, events.events, events.at, run)
    {
        return;
    }
    let mut start = 0;
    let lines = memchr::memchr_iter(b'\n', run).map(|newline| std::mem::replace(&mut start, newline + 1)..newline + 1);
    let mut fresh = (events.first..)
        .zip(lines)
        .filter(|(offset, _)| *offset >= watermark)
        .map(|(offset, line)| {
            (partition_of(spec.batch.json_key.as_ref(), &run[line.start..line.end - 1]), offset, line)
        })
        .filter(|(partition, offset, _)| done.is_empty() || !done.covers(&key_id(partition), *offset))
        .peekable();
    while let Some((partition, ..)) = fresh.peek() {
        let partition = partition.clone();
        let alike = std::iter::from_fn(|| fresh.next_if(|(other, ..)| *other == partition));
        batcher.push(&spec.batch, &partition, events.at, run, alike.map(|(_, offset, line)| (offset, line)));
    }
}

/// Encodes batches as an output asks for it; `planned` is its transform, where there is one already.
async fn encode_all(
    batches: Vec<Batch>,
    output: &Arc<OutputRecord>,
    planned: Option<Planned>,
    started: Timestamp,
    mut schema: EventSchema,
) -> Result<(Vec<EncodedBatch>, EventSchema, Option<Planned>)> {
    let output = Arc::clone(output);
    offload(move || {
        let OutputRecord { id, name, spec, .. } = &*output;
        let planned = match planned {
            Some(planned) => planned,
            None => Planned(transform::plan(name, spec, started)?),
        };
        let encoding = Encoding { of: Named { name, id: *id }, spec, transform: planned.0.as_ref() };
        let encoded = batches.into_iter().map(|batch| encode(batch, &encoding, &mut schema));
        let encoded: Result<Vec<EncodedBatch>> = encoded.collect();
        Ok((encoded?, schema, Some(planned)))
    })
    .await
}

#[cfg(test)]
mod tests;
