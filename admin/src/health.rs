//! `/healthz`: the process answers. `/readyz`: it takes reads and writes, or why not.
//!
//! Not ready (503) is what a load balancer should turn away from: stopping, storage that takes no writes, or, where a limit
//! was set, pipelines that are late. What an operator should look at although requests are served (a drive out, a pipeline
//! that waits for its bucket or falls behind) stands in `notes`.

use crate::state::{Admin, StorageStatus};
use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use cistern_drives::DriveState;
use cistern_pipelines::{PipelineHealth, PipelineState};
use cistern_types::format_duration;
use http::StatusCode;
use serde_json::json;
use std::time::Duration;

/// Pipelines that are less late than this are busy.
const LATE_NOTED: Duration = Duration::from_secs(10);

/// Whether the server is ready, and what there is to say.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Health {
    /// Whether it takes requests.
    pub(crate) ready: bool,
    /// Why not.
    pub(crate) reasons: Vec<String>,
    /// What to look at all the same.
    pub(crate) notes: Vec<String>,
}

pub(crate) async fn healthz() -> &'static str {
    "ok\n"
}

pub(crate) async fn readyz(State(admin): State<Admin>) -> Response {
    let health = health(&admin, &admin.storage_status().await);
    let status = if health.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let body = json!({ "ready": health.ready, "reasons": health.reasons, "notes": health.notes });
    (status, Json(body)).into_response()
}

/// How the server is, its storage being as `storage` says.
pub(crate) fn health(admin: &Admin, storage: &StorageStatus) -> Health {
    let mut reasons = Vec::new();
    if admin.stopping.has_begun() {
        reasons.push("the server is stopping".to_owned());
    }
    if let Some(why) = storage.read_only_reason() {
        reasons.push(format!("the storage is read-only: {why}"));
    }
    let lost: u64 = storage.last_scrubs().map(|pass| pass.lost_stripes).sum();
    let lost = (lost > 0).then(|| format!("the last scrub found {lost} stripes that cannot be rebuilt"));
    let sets = storage.sets.iter().skip(1).filter_map(|set| {
        let why = set.read_only_reason.as_ref().filter(|_| !set.writable)?;
        Some(format!("set {} takes no new objects: {why}", set.number))
    });
    let full = storage.sets.iter().filter(|set| set.full);
    let full = full.map(|set| format!("set {} is full: it takes no bodies until something is deleted", set.number));
    let drives = storage.drives.iter().filter_map(|drive| match &drive.state {
        DriveState::Live if drive.stale => {
            Some(format!("drive {} lacks what was written while it was away; it is being healed", drive.label))
        }
        DriveState::Live => None,
        DriveState::Out { reason } => Some(format!("drive {} is out: {reason}", drive.label)),
        DriveState::Missing { reason } => Some(format!("drive {} is missing: {reason}", drive.label)),
    });
    let mut pipelines = Vec::new();
    for pipeline in admin.pipelines.health() {
        if let Some(late) = late(&pipeline) {
            let too_late = admin.late_max.is_some_and(|limit| pipeline.late > limit);
            if too_late { &mut reasons } else { &mut pipelines }.push(late);
        }
        if let PipelineState::Waiting { reason } | PipelineState::Draining { waiting: Some(reason) } = pipeline.state {
            pipelines.push(format!("pipeline {} waits: {reason}", pipeline.name));
        }
    }
    let absent = storage.absent.iter().map(|set| format!("set {} cannot be read: {}", set.number, set.reason));
    Health {
        ready: reasons.is_empty(),
        reasons,
        notes: drives.chain(absent).chain(sets).chain(full).chain(lost).chain(pipelines).collect(),
    }
}

/// What there is to say of a pipeline whose events should be in objects by now.
fn late(pipeline: &PipelineHealth) -> Option<String> {
    let PipelineHealth { name, late, lag_events, .. } = pipeline;
    let whole = Duration::from_secs(late.as_secs());
    (*late >= LATE_NOTED).then(|| {
        format!(
            "pipeline {name} is behind: {lag_events} events wait, the oldest for {} too long",
            format_duration(whole)
        )
    })
}
