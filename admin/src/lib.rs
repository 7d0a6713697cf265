//! The operators' door: a REST API in the shape of Cloudflare's v4, health and readiness, metrics, and a dashboard.
//!
//! Everything under `/client/v4` needs the API token and answers in one envelope, errors too. What it does is done by
//! `cistern-objects`, `cistern-access` and `cistern-pipelines`; this crate translates and stores nothing. It serves
//! no events and no S3, and opens no socket: the binary does.
//!
//! ```text
//! router.rs ─┬─ auth.rs token, account ─┬─ account.rs   /user, /accounts, /memberships
//!            │                          ├─ bucket.rs    /r2/buckets
//!            │                          ├─ object.rs    /r2/buckets/{b}/objects, bytes streamed
//!            │                          ├─ pipeline.rs  /pipelines        (pipeline/body.rs: the JSON shape)
//!            │                          ├─ v1.rs        /pipelines/v1     streams, sinks, SQL pipelines
//!            │                          ├─ key.rs       /cistern/keys
//!            │                          └─ status.rs    /cistern/status
//!            ├─ health.rs    /healthz, /readyz
//!            ├─ metrics.rs   /metrics
//!            └─ dashboard.rs /
//! envelope.rs the shape of answers · error.rs every error as code and status · request.rs bodies, paths, queries
//! ```

mod account;
mod auth;
mod bucket;
mod dashboard;
mod envelope;
mod error;
mod health;
mod key;
mod metrics;
mod object;
mod pipeline;
mod request;
mod router;
mod state;
mod status;
#[cfg(test)]
mod tests;
mod v1;

pub use metrics::register_process_metrics;
pub use router::router;
pub use state::{AbsentSet, Admin, Storage, StorageStatus};
