//! Many connections doing one thing, with the server's counters before and after.

use anyhow::{Context, Result, anyhow};
use cistern_tests::{S3, Server, process, wait};
use serde::Serialize;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// What a number of operations cost.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Cost {
    /// Operations done.
    pub(crate) operations: u64,
    /// CPU time of the server, all threads, in microseconds an operation.
    pub(crate) server_cpu_us: f64,
    /// Syncs of segment files, an operation.
    pub(crate) syncs: f64,
    /// Bytes written to drives, an operation.
    pub(crate) device_bytes: f64,
    /// Operations a second of wall time: means little on a shared machine.
    pub(crate) per_second: f64,
    /// Half of the operations took at most this long, as the client saw it.
    pub(crate) latency_us_p50: f64,
    /// All but one in a hundred took at most this long.
    pub(crate) latency_us_p99: f64,
}

/// The server's counters at one moment.
#[derive(Debug, Clone, Copy)]
struct Counters {
    cpu: Duration,
    syncs: f64,
    device_bytes: f64,
}

impl Counters {
    fn of(server: &Server) -> Result<Self> {
        let metrics = server.metrics()?;
        let metric = |name: &str| metrics.get(name).copied().with_context(|| format!("no metric {name} in /metrics"));
        Ok(Self {
            cpu: process::cpu_time(server.pid())?,
            syncs: metric("cistern_drives_syncs_total")?,
            device_bytes: metric("cistern_drives_device_bytes_total")?,
        })
    }
}

/// Runs `work` and answers what it cost the server, spread over the operations it says it did.
pub(crate) fn measure(server: &Server, work: impl FnOnce() -> Result<Vec<Duration>>) -> Result<Cost> {
    let before = Counters::of(server)?;
    let start = wait::now();
    let mut latencies = work()?;
    let elapsed = start.elapsed();
    let after = Counters::of(server)?;
    latencies.sort_unstable();
    let operations = latencies.len().max(1);
    let share = |total: f64| total / operations as f64;
    let percentile = |percent: usize| latencies.get(operations * percent / 100).map_or(0.0, |took| micros(*took));
    Ok(Cost {
        operations: operations as u64,
        server_cpu_us: share(micros(after.cpu.saturating_sub(before.cpu))),
        syncs: share(after.syncs - before.syncs),
        device_bytes: share(after.device_bytes - before.device_bytes),
        per_second: operations as f64 / elapsed.as_secs_f64(),
        latency_us_p50: percentile(50),
        latency_us_p99: percentile(99),
    })
}

/// `operations` calls of `operation`, shared out among `clients` connections; answers how long each took.
pub(crate) fn shared_out(
    server: &Server,
    clients: usize,
    operations: u64,
    operation: impl Fn(&mut S3, u64) -> Result<()> + Sync,
) -> Result<Vec<Duration>> {
    let next = AtomicU64::new(0);
    let client = || -> Result<Vec<Duration>> {
        let mut s3 = server.s3()?;
        let mut latencies = Vec::new();
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= operations {
                return Ok(latencies);
            }
            let start = wait::now();
            operation(&mut s3, number)?;
            latencies.push(start.elapsed());
        }
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..clients).map(|_| scope.spawn(client)).collect();
        let mut all = Vec::new();
        for thread in threads {
            all.extend(thread.join().map_err(|_| anyhow!("a client panicked"))??);
        }
        Ok(all)
    })
}

fn micros(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e6
}
