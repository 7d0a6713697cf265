//! The bounds of the ingest path, each with its reason, and what it is told from outside. Tests shrink them.

use crate::TokenDigest;

/// Bounds of ingestion, for all pipelines of the process together unless a field says otherwise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PipelinesConfig {
    /// The largest event, in bytes of JSON.
    pub event_bytes_max: usize,
    /// The largest body, before and after decompression, in bytes.
    pub body_bytes_max: usize,
    /// What one flush of the log takes at most, in bytes; at least one body.
    pub flush_bytes_max: usize,
    /// What may be on its way from sockets to the log, in bytes; beyond it producers are told to come back (429).
    pub buffered_bytes_max: usize,
    /// What the open batches may hold, in bytes. Pipelines share it evenly; at its share a pipeline closes its largest
    /// batches early, and what it cannot deliver waits in the log.
    pub batch_memory_bytes_max: usize,
    /// The token of the management API, which opens every stream: clients of that API know no other.
    pub api_token: Option<TokenDigest>,
}

impl PipelinesConfig {
    /// What is kept in memory of the events that were logged last, for the workers, in bytes: as much as may be on its way to
    /// the log, besides that. A worker writes a batch of 64 MB while about as much comes; what it finds here it need not read.
    pub(crate) fn recent_bytes_max(&self) -> usize {
        self.buffered_bytes_max
    }

    /// The least share of `batch_memory_bytes_max` a pipeline gets, however many there are, in bytes.
    pub const PIPELINE_MEMORY_BYTES_MIN: usize = 8 << 20;
}

impl Default for PipelinesConfig {
    fn default() -> Self {
        Self {
            event_bytes_max: 1_000_000,
            body_bytes_max: 5_000_000,
            flush_bytes_max: 8 << 20,
            buffered_bytes_max: 64 << 20,
            batch_memory_bytes_max: 256 << 20,
            api_token: None,
        }
    }
}
