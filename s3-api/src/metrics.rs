//! The metrics of the S3 door, all names in one place.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;
use std::time::Duration;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    operation: &'static str,
    status: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OperationLabels {
    operation: &'static str,
}

/// Counters of requests. Clones share them.
#[derive(Debug, Clone)]
pub struct S3Metrics {
    requests: Family<RequestLabels, Counter>,
    head_seconds: Family<OperationLabels, Histogram, fn() -> Histogram>,
}

impl Default for S3Metrics {
    fn default() -> Self {
        Self { requests: Family::default(), head_seconds: Family::new_with_constructor(head_histogram) }
    }
}

/// 0.1 ms to 26 s.
fn head_histogram() -> Histogram {
    Histogram::new(exponential_buckets(0.0001, 4.0, 10))
}

impl S3Metrics {
    /// Metrics that `registry` shows.
    pub fn new(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        registry.register(
            "cistern_s3_api_requests",
            "Requests answered, by operation and HTTP status",
            metrics.requests.clone(),
        );
        registry.register(
            "cistern_s3_api_answer_head_seconds",
            "Time from the head of a request to the head of its answer, by operation",
            metrics.head_seconds.clone(),
        );
        metrics
    }

    pub(crate) fn answered(&self, operation: Option<&'static str>, status: http::StatusCode, after: Duration) {
        let operation = operation.unwrap_or("none");
        self.requests.get_or_create(&RequestLabels { operation, status: status.as_u16() }).inc();
        self.head_seconds.get_or_create(&OperationLabels { operation }).observe(after.as_secs_f64());
    }
}
