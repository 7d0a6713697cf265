//! `/metrics`: the registry as text; and the collectors for what others only know at the moment they are asked: the
//! process, the drive log, the workers. All their names are here.

use crate::state::{Admin, Storage, StorageStatus};
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use cistern_drives::DriveState;
use cistern_runtime::{Supervisor, WorkerState, offload};
use http::StatusCode;
use http::header::CONTENT_TYPE;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, text};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;
use std::fmt;
use std::sync::Arc;

const CONTENT: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
/// Clock ticks a second in `/proc`, the same on every Linux.
const TICKS_PER_SECOND: f64 = 100.0;

pub(crate) async fn metrics(State(admin): State<Admin>) -> Response {
    let encode = move || {
        let mut page = String::new();
        text::encode(&mut page, &admin.registry).map(|()| page)
    };
    // the drives are asked for their room
    match offload(encode).await {
        Ok(page) => ([(CONTENT_TYPE, CONTENT)], page).into_response(),
        Err(error) => {
            tracing::error!(%error, "the metrics could not be written");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

/// Registers memory and CPU time of this process, the drives, and the workers.
pub fn register_process_metrics(registry: &mut Registry, storage: Arc<dyn Storage>, supervisor: Supervisor) {
    registry.register_collector(Box::new(ProcessCollector));
    registry.register_collector(Box::new(DriveCollector(storage)));
    registry.register_collector(Box::new(WorkerCollector(supervisor)));
}

fn write(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    metric: &impl EncodeMetric,
) -> Result<(), fmt::Error> {
    let encoder = encoder.encode_descriptor(name, help, None, metric.metric_type())?;
    metric.encode(encoder)
}

#[derive(Debug)]
struct ProcessCollector;

impl Collector for ProcessCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        if let Some(bytes) = resident_bytes(&std::fs::read_to_string("/proc/self/status").unwrap_or_default()) {
            write(&mut encoder, "cistern_process_resident_bytes", "Memory resident", &ConstGauge::new(bytes))?;
        }
        if let Some(seconds) = cpu_seconds(&std::fs::read_to_string("/proc/self/stat").unwrap_or_default()) {
            let help = "CPU time used, user and system";
            write(&mut encoder, "cistern_process_cpu_seconds", help, &ConstCounter::new(seconds))?;
        }
        Ok(())
    }
}

fn resident_bytes(status: &str) -> Option<i64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix(" kB")?.parse::<i64>().ok()?.checked_mul(1024)
}

fn cpu_seconds(stat: &str) -> Option<f64> {
    let (_, after_name) = stat.rsplit_once(") ")?;
    let mut times = after_name.split(' ').skip(11).map(str::parse::<u32>);
    let (user, system) = (times.next()?.ok()?, times.next()?.ok()?);
    Some((f64::from(user) + f64::from(system)) / TICKS_PER_SECOND)
}

#[derive(Debug)]
struct DriveCollector(Arc<dyn Storage>);

impl Collector for DriveCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let status = self.0.status();
        let flag = |on: bool| ConstGauge::new(i64::from(on));
        write(
            &mut encoder,
            "cistern_drives_writable",
            "1 when writes are taken",
            &flag(status.read_only_reason().is_none()),
        )?;
        write(&mut encoder, "cistern_drives_degraded", "1 when a drive is out or missing", &flag(status.degraded()))?;
        let segments: usize = status.sets.iter().map(|set| set.segments).sum();
        let segments = ConstGauge::new(i64::try_from(segments).unwrap_or(i64::MAX));
        write(&mut encoder, "cistern_drives_segments", "Segments on the drives", &segments)?;
        if let Some(space) = status.space() {
            let gauge = |bytes: u64| ConstGauge::new(i64::try_from(bytes).unwrap_or(i64::MAX));
            let help = "Bytes of blobs that are needed, without parity";
            write(&mut encoder, "cistern_drives_live_bytes", help, &gauge(space.live_bytes))?;
            let help = "Bytes that the segments take on all live drives";
            write(&mut encoder, "cistern_drives_allocated_bytes", help, &gauge(space.allocated_bytes))?;
        }
        encode_drives(&mut encoder, &status)?;
        encode_scrubs(&mut encoder, &status)?;
        let lost: u64 = status.last_scrubs().map(|pass| pass.lost_stripes).sum();
        let lost = ConstGauge::new(i64::try_from(lost).unwrap_or(i64::MAX));
        let help = "Stripes that the last scrubs could not rebuild";
        write(&mut encoder, "cistern_drives_scrub_lost_stripes", help, &lost)?;
        encode_counters(&mut encoder, &status)
    }
}

/// Gauges of one name, each with one label of its own.
fn write_family(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    label: &str,
    samples: impl Iterator<Item = (String, i64)>,
) -> Result<(), fmt::Error> {
    let mut family = encoder.encode_descriptor(name, help, None, ConstGauge::new(0i64).metric_type())?;
    for (value, sample) in samples {
        ConstGauge::new(sample).encode(family.encode_family(&[(label, value)])?)?;
    }
    Ok(())
}

/// A set that has never had a scrub has no sample.
fn encode_scrubs(encoder: &mut DescriptorEncoder<'_>, status: &StorageStatus) -> Result<(), fmt::Error> {
    let ended = status.sets.iter().filter_map(|set| {
        let ended = set.passes.last_scrub.and_then(|pass| pass.ended)?;
        Some((set.number.to_string(), i64::try_from(ended.as_millis() / 1000).unwrap_or(i64::MAX)))
    });
    let help = "When the last scrub of the set ended, in seconds since 1970";
    write_family(encoder, "cistern_drives_scrub_ended_timestamp_seconds", help, "set", ended)
}

fn encode_drives(encoder: &mut DescriptorEncoder<'_>, status: &StorageStatus) -> Result<(), fmt::Error> {
    let drives = || status.drives.iter();
    let live =
        drives().map(|drive| (drive.index.to_string(), i64::from(drive.state == DriveState::Live && !drive.stale)));
    let help = "1 when the drive is live and lacks nothing";
    write_family(encoder, "cistern_drives_live", help, "drive", live)?;
    let free = drives()
        .filter_map(|drive| Some((drive.index.to_string(), i64::try_from(drive.free_bytes?).unwrap_or(i64::MAX))));
    let help = "Bytes that can still be set aside on the drive";
    write_family(encoder, "cistern_drives_free_bytes", help, "drive", free)
}

fn encode_counters(encoder: &mut DescriptorEncoder<'_>, status: &StorageStatus) -> Result<(), fmt::Error> {
    let c = status.counters();
    for (name, help, value) in [
        ("cistern_drives_groups", "Groups made durable", c.groups),
        ("cistern_drives_groups_failed", "Groups that failed", c.groups_failed),
        ("cistern_drives_appends", "Appends made durable", c.appends),
        ("cistern_drives_syncs", "Syncs of segment files", c.syncs),
        ("cistern_drives_payload_bytes", "Bytes of appends made durable", c.payload_bytes),
        ("cistern_drives_device_bytes", "Bytes written to drives, parity and padding included", c.device_bytes),
        ("cistern_drives_segments_begun", "Segments begun", c.segments_begun),
        ("cistern_drives_direct_reads", "Pieces read from their own lane", c.direct_reads),
        ("cistern_drives_degraded_reads", "Pieces rebuilt from other lanes", c.degraded_reads),
        ("cistern_drives_hedged_reads", "Reads made once more around a slow drive", c.hedged_reads),
        ("cistern_drives_corrupt_frames", "Frames or pieces that did not match their checksum", c.corrupt_frames),
        ("cistern_drives_stripes_replayed", "Stripes replayed into the view at open", c.stripes_replayed),
        ("cistern_drives_lanes_healed", "Lanes written back", c.lanes_healed),
        ("cistern_drives_checkpoints", "Checkpoints ended", c.checkpoints),
        ("cistern_drives_state_bytes", "Bytes of rows and places that checkpoints have stated", c.state_bytes),
        ("cistern_drives_moved_bytes", "Bytes of blobs that compaction has written once more", c.moved_bytes),
        ("cistern_drives_punched_bytes", "Bytes given back inside segments that stay", c.punched_bytes),
        ("cistern_drives_segments_retired", "Segments taken out of the log", c.segments_retired),
    ] {
        write(encoder, name, help, &ConstCounter::new(value))?;
    }
    Ok(())
}

#[derive(Debug)]
struct WorkerCollector(Supervisor);

impl Collector for WorkerCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let workers = self.0.workers();
        let count = |state: WorkerState| workers.iter().filter(|worker| worker.state == state).count();
        let states = [("busy", WorkerState::Busy), ("idle", WorkerState::Idle), ("failing", WorkerState::Failing)];
        let counts =
            states.into_iter().map(|(label, state)| (label.into(), i64::try_from(count(state)).unwrap_or(i64::MAX)));
        write_family(&mut encoder, "cistern_runtime_workers", "Workers by state", "state", counts)?;
        let failures: u64 = workers.iter().map(|worker| worker.failures).sum();
        let help = "Pieces of background work that failed, of the workers that run";
        write(
            &mut encoder,
            "cistern_runtime_worker_failures",
            help,
            &ConstGauge::new(i64::try_from(failures).unwrap_or(i64::MAX)),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_and_cpu_time_are_read_from_what_the_kernel_says() {
        assert_eq!(resident_bytes("Name:\tx\nVmRSS:\t    1234 kB\nThreads:\t1\n"), Some(1234 * 1024));
        assert_eq!(resident_bytes("Name:\tx\n"), None);
        let stat = "42 (a) b) S 1 2 3 4 5 6 7 8 9 10 150 50 13 14";
        assert_eq!(cpu_seconds(stat), Some(2.0));
        assert_eq!(cpu_seconds("nonsense"), None);
    }
}
