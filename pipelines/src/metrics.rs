//! What this crate counts, every name with its meaning. Text and shape are the registry's business.

use crate::PipelineHealth;
use cistern_sql::{Step, StepCounts, StepKind};
use cistern_types::PipelineName;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric as _};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;
use std::fmt;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfPipeline {
    pipeline: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfStep {
    pipeline: String,
    /// Its number in the transform, from 0, and its kind, such as `1-filter`.
    step: String,
}

impl OfStep {
    fn new(name: &PipelineName, number: usize, kind: &str) -> Self {
        Self { pipeline: name.to_string(), step: format!("{number}-{kind}") }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfStatus {
    status: u16,
}

/// The counters. Clones share them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Metrics {
    accepted_events: Family<OfPipeline, Counter>,
    accepted_bytes: Family<OfPipeline, Counter>,
    delivered_events: Family<OfPipeline, Counter>,
    dead_letters: Family<OfPipeline, Counter>,
    objects: Family<OfPipeline, Counter>,
    object_bytes: Family<OfPipeline, Counter>,
    step_rows_in: Family<OfStep, Counter>,
    step_rows_out: Family<OfStep, Counter>,
    step_errors: Family<OfStep, Counter>,
    step_seconds: Family<OfStep, Counter<f64, AtomicU64>>,
    answers: Family<OfStatus, Counter>,
    flushes: Counter,
    flushed_bytes: Counter,
}

/// What one sink commit delivered.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Delivered {
    pub(crate) events: u64,
    pub(crate) dead_letters: u64,
    pub(crate) objects: u64,
    pub(crate) object_bytes: u64,
}

fn of(name: &PipelineName) -> OfPipeline {
    OfPipeline { pipeline: name.to_string() }
}

impl Metrics {
    pub(crate) fn accepted(&self, name: &PipelineName, events: u64, bytes: u64) {
        self.accepted_events.get_or_create(&of(name)).inc_by(events);
        self.accepted_bytes.get_or_create(&of(name)).inc_by(bytes);
    }

    pub(crate) fn delivered(&self, name: &PipelineName, delivered: &Delivered) {
        self.delivered_events.get_or_create(&of(name)).inc_by(delivered.events);
        self.dead_letters.get_or_create(&of(name)).inc_by(delivered.dead_letters);
        self.objects.get_or_create(&of(name)).inc_by(delivered.objects);
        self.object_bytes.get_or_create(&of(name)).inc_by(delivered.object_bytes);
    }

    /// What the steps of a transform did with a batch.
    pub(crate) fn transformed(&self, name: &PipelineName, steps: &[Step], counts: &[StepCounts]) {
        for (number, (step, counts)) in steps.iter().zip(counts).enumerate() {
            let of = OfStep::new(name, number, step.name());
            self.step_rows_in.get_or_create(&of).inc_by(counts.rows_in);
            self.step_rows_out.get_or_create(&of).inc_by(counts.rows_out);
            self.step_errors.get_or_create(&of).inc_by(counts.errors);
            self.step_seconds.get_or_create(&of).inc_by(Duration::from_nanos(counts.nanos).as_secs_f64());
        }
    }

    pub(crate) fn answered(&self, status: u16) {
        self.answers.get_or_create(&OfStatus { status }).inc();
    }

    pub(crate) fn flushed(&self, bytes: u64) {
        self.flushes.inc();
        self.flushed_bytes.inc_by(bytes);
    }

    /// Drops the lines of a pipeline that is gone.
    pub(crate) fn forget(&self, name: &PipelineName) {
        let families = [
            &self.accepted_events,
            &self.accepted_bytes,
            &self.delivered_events,
            &self.dead_letters,
            &self.objects,
            &self.object_bytes,
        ];
        for family in families {
            family.remove(&of(name));
        }
        let steps = [&self.step_rows_in, &self.step_rows_out, &self.step_errors];
        for number in 0.. {
            let of = StepKind::ALL.map(|kind| OfStep::new(name, number, kind.name()));
            let known: Vec<&OfStep> = of.iter().filter(|of| self.step_seconds.remove(of)).collect();
            if known.is_empty() {
                break;
            }
            for of in known {
                for family in steps {
                    family.remove(of);
                }
            }
        }
    }

    pub(crate) fn register(&self, registry: &mut Registry) {
        let families = [
            ("accepted_events", "Events acknowledged", &self.accepted_events),
            ("accepted_bytes", "Bytes of the events acknowledged", &self.accepted_bytes),
            ("delivered_events", "Events written to objects, dead letters among them", &self.delivered_events),
            ("dead_letter_events", "Events written to dead-letter objects", &self.dead_letters),
            ("objects", "Objects written", &self.objects),
            ("object_bytes", "Bytes of the objects written", &self.object_bytes),
        ];
        for (name, help, family) in families {
            registry.register(format!("cistern_pipelines_{name}"), help, family.clone());
        }
        let steps = [
            ("step_rows_in", "Rows that came to a step of a transform", &self.step_rows_in),
            ("step_rows_out", "Rows that a step of a transform handed on", &self.step_rows_out),
            ("step_errors", "Rows that failed in a step of a transform", &self.step_errors),
        ];
        for (name, help, family) in steps {
            registry.register(format!("cistern_pipelines_{name}"), help, family.clone());
        }
        let help = "Time that a step of a transform took";
        registry.register("cistern_pipelines_step_seconds", help, self.step_seconds.clone());
        registry.register("cistern_pipelines_answers", "Answers of the HTTP endpoint by status", self.answers.clone());
        registry.register("cistern_pipelines_log_flushes", "Groups of events made durable", self.flushes.clone());
        registry.register("cistern_pipelines_log_bytes", "Bytes of events made durable", self.flushed_bytes.clone());
    }
}

/// Adds gauges that ask for the pipelines' health whenever they are read.
pub(crate) fn register_lag(registry: &mut Registry, health: impl Fn() -> Vec<PipelineHealth> + Send + Sync + 'static) {
    registry.register_collector(Box::new(Lag(Box::new(health))));
}

struct Lag(Box<dyn Fn() -> Vec<PipelineHealth> + Send + Sync>);

impl fmt::Debug for Lag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lag").finish_non_exhaustive()
    }
}

impl Collector for Lag {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        type Read = fn(&PipelineHealth) -> u64;
        let gauges: [(&str, &str, Read); 3] = [
            ("cistern_pipelines_lag_events", "Events acknowledged and not yet in objects", |health| health.lag_events),
            ("cistern_pipelines_lag_bytes", "Bytes acknowledged and not yet in objects", |health| health.lag_bytes),
            ("cistern_pipelines_lag_seconds", "Age of the oldest event not yet in an object", |health| {
                health.lag.as_secs()
            }),
        ];
        let all = (self.0)();
        for (name, help, read) in gauges {
            let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            for health in &all {
                ConstGauge::new(read(health)).encode(family.encode_family(&of(&health.name))?)?;
            }
        }
        Ok(())
    }
}
