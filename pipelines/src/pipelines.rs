//! [`Pipelines`]: the one value through which the layers above make, ask and delete pipelines, and take events.

use crate::event_log::{EventLog, Flusher};
use crate::live::{Directory, Live};
use crate::metrics::Metrics;
use crate::rows::{HeadRow, ProgressRow};
use crate::worker::PipelineWorker;
use crate::{PipelineHealth, PipelineRecord, PipelineSpec, PipelinesConfig, Result, funeral, ingest, registry};
use cistern_objects::Objects;
use cistern_runtime::{Clock, Supervisor};
use cistern_types::PipelineName;
use prometheus_client::registry::Registry;
use std::sync::Arc;

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
    pub(crate) metrics: Metrics,
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
        let (log, flusher) = EventLog::new(objects.clone(), Arc::clone(&clock), &config, metrics.clone());
        let directory = Directory::default();
        (Self { objects, clock, config, directory, log, metrics, supervisor }, flusher)
    }
}

/// A pipeline just made.
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
        for (record, head, progress) in stored.pipelines {
            pipelines.begin(record, head, progress);
        }
        Ok(pipelines)
    }

    fn begin(&self, record: PipelineRecord, head: HeadRow, progress: ProgressRow) {
        let live = Arc::new(Live::new(record, head, progress));
        self.0.directory.insert(&live);
        self.0.supervisor.start(PipelineWorker::new(Arc::clone(&self.0), live));
    }

    /// Makes a pipeline and starts it. The destination bucket must exist.
    pub async fn create(&self, spec: PipelineSpec) -> Result<CreatedPipeline> {
        let (record, send_token) = registry::create(&self.0.objects, spec).await?;
        let head = HeadRow::empty(record.created);
        self.begin(record.clone(), head, ProgressRow::default());
        Ok(CreatedPipeline { record, send_token })
    }

    /// All pipelines in the order of their names, those that drain among them.
    pub fn list(&self) -> Vec<PipelineRecord> {
        self.0.directory.all().iter().map(|live| PipelineRecord::clone(&live.record())).collect()
    }

    /// The pipeline of this name, or `NoSuchPipeline`.
    pub fn get(&self, name: &PipelineName) -> Result<PipelineRecord> {
        Ok(PipelineRecord::clone(&self.0.directory.find(name)?.record()))
    }

    /// Deletes a pipeline. With [`DeleteMode::Drain`] it is listed until its last event is delivered; one that already
    /// drains may still be deleted with [`DeleteMode::Discard`]. Objects that were written stay.
    pub async fn delete(&self, name: &PipelineName, mode: DeleteMode) -> Result<()> {
        let live = self.0.directory.find(name)?;
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
        self.0.directory.all().iter().map(|live| live.health()).collect()
    }

    /// How one pipeline fares, or `NoSuchPipeline`.
    pub fn health_of(&self, name: &PipelineName) -> Result<PipelineHealth> {
        Ok(self.0.directory.find(name)?.health())
    }

    /// Adds the counters of this crate to a registry.
    pub fn register_metrics(&self, registry: &mut Registry) {
        self.0.metrics.register(registry);
        let parts = Arc::downgrade(&self.0);
        crate::metrics::register_lag(registry, move || {
            parts
                .upgrade()
                .map_or_else(Vec::new, |parts| parts.directory.all().iter().map(|live| live.health()).collect())
        });
    }

    /// Takes no more events and waits until those on their way are in the log and answered. Call it before the
    /// supervisor's shutdown begins. Open batches stay in the log: the next start goes on with them.
    pub async fn stop(&self) {
        self.0.log.close().await;
    }
}
