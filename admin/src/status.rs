//! `/cistern/status`: version, drives, workers, listeners, for the command line and the dashboard. `/cistern/drives`: scrubs, heals and
//! replacements.

use crate::envelope::Success;
use crate::error::{Error, Result};
use crate::health::{Health, health};
use crate::request::read_json;
use crate::state::{AbsentSet, Admin, StorageStatus};
use axum::body::Body;
use axum::extract::State;
use cistern_drives::{DriveState, DriveStatus, LogStatus, Pass, PassKind};
use cistern_runtime::{WorkerState, WorkerStatus};
use cistern_types::StorageClass;
use http::HeaderMap;
use serde::Deserialize;
use serde_json::{Value, json};
use std::path::PathBuf;

pub(crate) async fn status(State(admin): State<Admin>, headers: HeaderMap) -> Success {
    let storage = admin.storage_status().await;
    let Health { ready, reasons, notes } = health(&admin, &storage);
    Success::new(json!({
        "version": env!("CARGO_PKG_VERSION"),
        "ready": ready,
        "reasons": reasons,
        "notes": notes,
        "endpoints": { "s3": admin.s3_url(&headers), "ingest": admin.ingest_url(&headers), "kafka": admin.kafka_address(&headers) },
        "storage": storage_body(&storage),
        "workers": admin.supervisor.workers().iter().map(worker).collect::<Vec<_>>(),
    }))
}

/// Begins to read and verify everything, after the pass that runs; answers at once.
pub(crate) async fn scrub(State(admin): State<Admin>) -> Success {
    admin.storage.request_pass(PassKind::Scrub);
    Success::new(json!({ "requested": PassKind::Scrub }))
}

/// Begins to bring back what drives lack, after the pass that runs; answers at once.
pub(crate) async fn heal(State(admin): State<Admin>) -> Success {
    admin.storage.request_pass(PassKind::Heal);
    Success::new(json!({ "requested": PassKind::Heal }))
}

/// What `cistern drives replace` sends.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Replacement {
    /// The number of the place.
    drive: usize,
    /// Where the drive is that takes it, on the server; where the one before was, if not said.
    folder: Option<PathBuf>,
}

/// Has another drive take a place; it is filled from then on.
pub(crate) async fn replace(State(admin): State<Admin>, body: Body) -> Result<Success> {
    let Replacement { drive, folder } = read_json(body).await?;
    let status = admin.storage_status().await;
    let Some(place) = status.drives.get(drive) else {
        let reason = format!("drive: there is no drive {drive}, they are 0 to {}", status.drives.len() - 1);
        return Err(Error::Malformed { reason });
    };
    let folder = folder.unwrap_or_else(|| place.label.clone().into());
    if !folder.is_absolute() && folder.as_os_str() != place.label.as_str() {
        return Err(Error::Malformed { reason: "folder: give an absolute path".into() });
    }
    let sets = admin.storage.replace_drive(drive, &folder).await?;
    Ok(Success::new(json!({ "drive": drive, "path": folder, "sets": sets })))
}

fn pass(pass: Option<Pass>) -> Value {
    let Some(pass) = pass else { return Value::Null };
    json!({
        "kind": pass.kind,
        "started": pass.started.to_string(),
        "ended": pass.ended.map(|ended| ended.to_string()),
        "verified_bytes": pass.verified_bytes,
        "total_bytes": pass.total_bytes,
        "bad_lanes": pass.bad_lanes,
        "healed_lanes": pass.healed_lanes,
        "lost_stripes": pass.lost_stripes,
        "unread_segment": pass.unread_segment,
        "clean": pass.is_clean(),
    })
}

fn storage_body(storage: &StorageStatus) -> Value {
    let space = storage.space();
    let read_only_reason = storage.read_only_reason();
    json!({
        "writable": read_only_reason.is_none(),
        "degraded": storage.degraded(),
        "full": storage.is_full(),
        "read_only_reason": read_only_reason,
        "live_bytes": space.map(|space| space.live_bytes),
        "allocated_bytes": space.map(|space| space.allocated_bytes),
        "sets": storage.sets.iter().map(set).collect::<Vec<_>>(),
        "absent_sets": storage.absent.iter().map(absent_set).collect::<Vec<_>>(),
        "drives": storage.drives.iter().map(drive).collect::<Vec<_>>(),
    })
}

fn absent_set(set: &AbsentSet) -> Value {
    json!({ "number": set.number, "reason": set.reason })
}

fn set(set: &LogStatus) -> Value {
    json!({
        "number": set.number,
        "class": StorageClass::of_set(set.number).to_string(),
        "code": format!("{}+{}", set.data, set.parity),
        "writable": set.writable,
        "degraded": set.degraded,
        "full": set.full,
        "read_only_reason": set.read_only_reason,
        "running_pass": pass(set.passes.running),
        "last_scrub": pass(set.passes.last_scrub),
        "last_heal": pass(set.passes.last_heal),
        "segments": set.segments,
        "live_bytes": set.space.map(|space| space.live_bytes),
        "allocated_bytes": set.space.map(|space| space.allocated_bytes),
    })
}

fn drive(drive: &DriveStatus) -> Value {
    let (state, reason) = match &drive.state {
        DriveState::Live if drive.stale => ("stale", None),
        DriveState::Live => ("live", None),
        DriveState::Out { reason } => ("out", Some(reason)),
        DriveState::Missing { reason } => ("missing", Some(reason)),
    };
    json!({
        "index": drive.index, "path": drive.label, "state": state, "reason": reason, "free_bytes": drive.free_bytes,
    })
}

fn worker(worker: &WorkerStatus) -> Value {
    let state = match worker.state {
        WorkerState::Busy => "busy",
        WorkerState::Idle => "idle",
        WorkerState::Failing => "failing",
        WorkerState::Ended => "ended",
    };
    json!({ "name": worker.name, "state": state, "failures": worker.failures, "last_error": worker.last_error })
}
