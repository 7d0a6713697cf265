//! What the server used between two moments: CPU, syncs, bytes written to the drives.

use anyhow::{Context, Result};
use cistern_tests::{Server, process};
use std::time::Duration;

const SYNCS: &str = "cistern_drives_syncs_total";
const DEVICE_BYTES: &str = "cistern_drives_device_bytes_total";

/// The server's counters at one moment.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Meter {
    cpu: Duration,
    syncs: f64,
    device_bytes: f64,
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
}

impl Meter {
    /// Reads the counters.
    pub(crate) fn read(server: &Server) -> Result<Self> {
        let metrics = server.metrics()?;
        let metric = |name: &str| metrics.get(name).copied().with_context(|| format!("/metrics has no {name}"));
        Ok(Self { cpu: process::cpu_time(server.pid())?, syncs: metric(SYNCS)?, device_bytes: metric(DEVICE_BYTES)? })
    }

    /// What was used since.
    pub(crate) fn used(&self, server: &Server) -> Result<Used> {
        let now = Self::read(server)?;
        Ok(Used {
            cpu: now.cpu.saturating_sub(self.cpu),
            syncs: now.syncs - self.syncs,
            device_bytes: now.device_bytes - self.device_bytes,
        })
    }
}
