//! [`Pipelines`]: the one value through which the layers above make, ask and delete pipelines, and take events.

use crate::event_log::{EventLog, Flusher};
use crate::live::{Directory, Live, Output};
use crate::metrics::Metrics;
use crate::recent_runs::RecentRuns;
use crate::registry::StoredStream;
use crate::v1::Keeper;
use crate::worker::PipelineWorker;
use crate::{
    CompactStep, Compacted, Error, PipelineHealth, PipelineRecord, PipelineSpec, PipelinesConfig, Replay, Replayed,
    Result, Tail, TailFrom, compaction, funeral, ingest, registry, replay,
};
use cistern_objects::Objects;
use cistern_runtime::{Clock, Supervisor};
use cistern_types::PipelineName;
use prometheus_client::registry::Registry;
use std::sync::Arc;
use tokio::sync::Mutex;

/// The pipelines of one process: their endpoint, their log and one worker each. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Pipelines(Arc<Parts>);

#[derive(Debug)]
pub(crate) struct Parts {
    pub(crate) objects: Objects,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) config: PipelinesConfig,
    pub(crate) directory: Directory,
    pub(crate) log: EventLog,
    pub(crate) recent: Arc<RecentRuns>,
    pub(crate) metrics: Metrics,
    /// Held while streams and what reads from them are made, changed or deleted: rows and memory change together.
    pub(crate) changes: Mutex<()>,
    /// Held while objects are merged.
    pub(crate) merging: Mutex<()>,
    supervisor: Supervisor,
}

impl Parts {
    /// The parts without any pipeline, and the log's worker, which somebody must run.
    pub(crate) fn new(
        objects: Objects,
        clock: Arc<dyn Clock>,
        supervisor: Supervisor,
        config: PipelinesConfig,
    ) -> (Self, Flusher) {
        let metrics = Metrics::default();
        let recent = Arc::new(RecentRuns::new(config.recent_bytes_max()));
        let (log, flusher) =
            EventLog::new(objects.clone(), Arc::clone(&clock), &config, metrics.clone(), Arc::clone(&recent));
        let directory = Directory::default();
        let (changes, merging) = (Mutex::new(()), Mutex::new(()));
        (Self { objects, clock, config, directory, log, recent, metrics, changes, merging, supervisor }, flusher)
    }

    fn health(&self) -> Vec<PipelineHealth> {
        let now = self.clock.now();
        self.directory.all().iter().flat_map(|live| live.health(now)).collect()
    }
}

/// A pipeline just made or changed.
#[derive(Clone)]
pub struct CreatedPipeline {
    /// The pipeline.
    pub record: PipelineRecord,
    /// The token to send with; only its digest is stored, so it is shown here or never. `None` when none is needed.
    pub send_token: Option<String>,
}

/// Without the token.
impl std::fmt::Debug for CreatedPipeline {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CreatedPipeline").field("record", &self.record).finish_non_exhaustive()
    }
}

/// What becomes of the events a deleted pipeline has not delivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeleteMode {
    /// They are delivered first; until then the pipeline is draining and takes no more.
    Drain,
    /// They are thrown away.
    Discard,
}

impl Pipelines {
    /// Reads what pipelines there are and starts the log and one worker for each.
    pub async fn open(
        objects: Objects,
        clock: Arc<dyn Clock>,
        supervisor: Supervisor,
        config: PipelinesConfig,
    ) -> Result<Self> {
        let stored = registry::load(&objects).await?;
        let (parts, flusher) = Parts::new(objects, clock, supervisor, config);
        parts.supervisor.start(flusher);
        for (id, grave) in stored.graves {
            parts.supervisor.start(funeral::Funeral::new(parts.objects.clone(), id, grave.name));
        }
        let pipelines = Self(Arc::new(parts));
        for stream in stored.streams {
            pipelines.begin(stream);
        }
        Ok(pipelines)
    }

    /// Takes a stream into memory and starts its workers.
    pub(crate) fn begin(&self, stream: StoredStream) -> Arc<Live> {
        let is_free = stream.record.free.is_some();
        let outputs = stream.outputs.into_iter().map(|(record, progress)| Output::new(record, progress)).collect();
        let live = Arc::new(Live::new(stream.record, stream.head, outputs));
        self.0.directory.insert(&live);
        for output in live.outputs() {
            self.start_worker(&live, output);
        }
        if is_free {
            self.0.supervisor.start(Keeper::new(Arc::clone(&self.0), Arc::clone(&live)));
        }
        live
    }

    /// Starts the worker of an output.
    pub(crate) fn start_worker(&self, live: &Arc<Live>, output: Arc<Output>) {
        self.0.supervisor.start(PipelineWorker::new(Arc::clone(&self.0), Arc::clone(live), output));
    }

    /// Makes a pipeline and starts it. The destination bucket must exist.
    pub async fn create(&self, spec: PipelineSpec) -> Result<CreatedPipeline> {
        let name = spec.name.clone();
        let (stored, send_token) = registry::create(&self.0.objects, spec).await?;
        let record = self.begin(stored).pipeline().ok_or_else(|| self.no_pipeline(&name))?;
        Ok(CreatedPipeline { record, send_token })
    }

    /// Changes a pipeline, if its version still is `version` where one is given. How events come in changes at once; what
    /// becomes of them once those before are delivered as they would have been. A send token is answered where there
    /// was none before, or a `new_token` is wanted, after which the old one does not open it any more.
    pub async fn update(&self, spec: PipelineSpec, version: Option<u32>, new_token: bool) -> Result<CreatedPipeline> {
        let name = spec.name.clone();
        let live = self.0.directory.find(&name)?;
        let changed = registry::change(&self.0.objects, spec, version, new_token).await?;
        if let Some(output) = live.own_output().filter(|_| changed.record.id == live.id()) {
            live.set_record(changed.record);
            output.set_record(changed.output);
        }
        let record = live.pipeline().ok_or_else(|| self.no_pipeline(&name))?;
        Ok(CreatedPipeline { record, send_token: changed.token })
    }

    /// All pipelines in the order of their names, those that drain among them.
    pub fn list(&self) -> Vec<PipelineRecord> {
        self.0.directory.all().iter().filter_map(|live| live.pipeline()).collect()
    }

    /// The pipeline of this name, or `NoSuchPipeline`.
    pub fn get(&self, name: &PipelineName) -> Result<PipelineRecord> {
        self.own(name)?.0.pipeline().ok_or_else(|| self.no_pipeline(name))
    }

    /// A pipeline that writes its events itself, with what writes them.
    fn own(&self, name: &PipelineName) -> Result<(Arc<Live>, Arc<Output>)> {
        let live = self.0.directory.find(name).map_err(|_| self.no_pipeline(name))?;
        let output = live.own_output().ok_or_else(|| self.no_pipeline(name))?;
        Ok((live, output))
    }

    /// Why there is no such pipeline: it may be a stream, or read from one.
    fn no_pipeline(&self, name: &PipelineName) -> Error {
        let name_text = name.to_string();
        if self.0.directory.find(name).is_ok() || self.0.directory.output(name).is_some() {
            return Error::OfStreams { name: name_text };
        }
        Error::NoSuchPipeline { name: name_text }
    }

    /// Deletes a pipeline. With [`DeleteMode::Drain`] it is listed until its last event is delivered; one that already
    /// drains may still be deleted with [`DeleteMode::Discard`]. Objects that were written stay.
    pub async fn delete(&self, name: &PipelineName, mode: DeleteMode) -> Result<()> {
        let (live, _) = self.own(name)?;
        match mode {
            DeleteMode::Drain => live.set_record(registry::close(&self.0.objects, name).await?),
            DeleteMode::Discard => {
                registry::remove(&self.0.objects, &live.record()).await?;
                self.0.directory.remove(&live);
                self.0.metrics.forget(name);
                live.set_removed();
            }
        }
        Ok(())
    }

    /// The events of a pipeline as they are in its log, and, to `follow`, as they come.
    pub fn tail(&self, name: &PipelineName, from: TailFrom, follow: bool) -> Result<Tail> {
        let live = self.0.directory.find(name).map_err(|_| self.no_pipeline(name))?;
        Ok(Tail::new(self.0.objects.clone(), live, self.0.supervisor.shutdown().clone(), from, follow))
    }

    /// Takes events into a pipeline once more.
    pub async fn replay(&self, name: &PipelineName, replay: &Replay) -> Result<Replayed> {
        let (live, output) = self.own(name)?;
        replay::replay(&self.0, &live, &output.record().asked().bucket, replay).await
    }

    /// Does one step of a compaction: of the small objects that a pipeline, or a statement of a SQL pipeline, wrote to its
    /// bucket, one group at most becomes one object. Begin without a cursor, and go on until there is none.
    ///
    /// After an error either the objects of the group are there or the merged one. One step is done at a time; it takes the memory
    /// of about four row groups and 64 MiB, and where rows are sorted twice what these have, which is 256 MiB at most.
    pub async fn compact(&self, name: &PipelineName, step: &CompactStep) -> Result<Compacted> {
        let (live, output) = self.0.directory.output(name).ok_or_else(|| self.no_pipeline(name))?;
        compaction::compact(&self.0, &live, &output, step).await
    }

    /// What the endpoints of this crate stand on.
    pub(crate) fn parts(&self) -> &Arc<Parts> {
        &self.0
    }

    /// The HTTP endpoint: `POST /{pipeline}`.
    pub fn ingest_router(&self) -> axum::Router {
        ingest::router(Arc::clone(&self.0))
    }

    /// How all pipelines fare, in the order of their names.
    pub fn health(&self) -> Vec<PipelineHealth> {
        self.0.health()
    }

    /// How one pipeline fares, or `NoSuchPipeline`.
    pub fn health_of(&self, name: &PipelineName) -> Result<PipelineHealth> {
        let (live, output) = self.own(name)?;
        Ok(live.health_of(&output, self.0.clock.now()))
    }

    /// Adds the counters of this crate to a registry.
    pub fn register_metrics(&self, registry: &mut Registry) {
        self.0.metrics.register(registry);
        let parts = Arc::downgrade(&self.0);
        crate::metrics::register_lag(registry, move || parts.upgrade().map_or_else(Vec::new, |parts| parts.health()));
    }

    /// Takes no more events and waits until those on their way are in the log and answered. Call it before the
    /// supervisor's shutdown begins. Open batches stay in the log: the next start goes on with them.
    pub async fn stop(&self) {
        self.0.log.close().await;
    }
}

#[cfg(test)]
mod tests;
