//! What the server used between two moments: CPU, syncs, bytes written to the drives and to objects of pipelines.

use anyhow::{Context, Result};
use cistern_tests::{Server, process};
use std::time::Duration;

const SYNCS: &str = "cistern_drives_syncs_total";
const DEVICE_BYTES: &str = "cistern_drives_device_bytes_total";
const OBJECT_BYTES: &str = "cistern_pipelines_object_bytes_total";

/// The server's counters at one moment.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Meter {
    cpu: Duration,
    syncs: f64,
    device_bytes: f64,
    object_bytes: f64,
}

/// The difference of two moments.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Used {
    /// CPU time, user and system.
    pub(crate) cpu: Duration,
    /// Syncs of drives.
    pub(crate) syncs: f64,
    /// Bytes written to the drives, parity and padding included.
    pub(crate) device_bytes: f64,
    /// Bytes of objects that pipelines have written.
    pub(crate) object_bytes: f64,
}

impl Meter {
    /// Reads the counters.
    pub(crate) fn read(server: &Server) -> Result<Self> {
        let metrics = server.metrics()?;
        let metric = |name: &str| metrics.get(name).copied().with_context(|| format!("/metrics has no {name}"));
        let of_pipelines = metrics.iter().filter(|(name, _)| name.starts_with(OBJECT_BYTES));
        Ok(Self {
            cpu: process::cpu_time(server.pid())?,
            syncs: metric(SYNCS)?,
            device_bytes: metric(DEVICE_BYTES)?,
            object_bytes: of_pipelines.map(|(_, bytes)| bytes).sum(),
        })
    }

    /// What was used since.
    pub(crate) fn used(&self, server: &Server) -> Result<Used> {
        let now = Self::read(server)?;
        Ok(Used {
            cpu: now.cpu.saturating_sub(self.cpu),
            syncs: now.syncs - self.syncs,
            device_bytes: now.device_bytes - self.device_bytes,
            object_bytes: now.object_bytes - self.object_bytes,
        })
    }
}
