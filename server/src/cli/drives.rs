//! `cistern drives`: how the drives are.

use super::Format;
use super::answer::{say, say_json, say_table};
use crate::client::Client;
use clap::Subcommand;
use serde::Deserialize;

#[derive(Debug, Subcommand)]
pub(super) enum DrivesCommand {
    /// Show every drive and whether writes are taken
    Status,
}

#[derive(Debug, Deserialize)]
struct Storage {
    writable: bool,
    degraded: bool,
    read_only_reason: Option<String>,
    drives: Vec<Drive>,
}

#[derive(Debug, Deserialize)]
struct Drive {
    index: usize,
    path: String,
    state: String,
    reason: Option<String>,
    free_bytes: Option<u64>,
}

impl DrivesCommand {
    pub(super) async fn run(self, client: &Client, format: Format) -> anyhow::Result<()> {
        let Self::Status = self;
        let mut status = client.account().await?.get("/cistern/status", &[]).await?.result;
        let storage = status["storage"].take();
        if format == Format::Json {
            return say_json(&storage);
        }
        let storage: Storage = serde_json::from_value(storage)?;
        let rows: Vec<[String; 5]> = storage
            .drives
            .into_iter()
            .map(|drive| {
                let free = drive.free_bytes.map_or_else(|| "-".into(), |bytes| bytes.to_string());
                [drive.index.to_string(), drive.state, free, drive.path, drive.reason.unwrap_or_default()]
            })
            .collect();
        say_table(["DRIVE", "STATE", "FREE BYTES", "PATH", "REASON"], &rows)?;
        match (storage.writable, storage.degraded) {
            (true, false) => say("all drives live; reads and writes are taken"),
            (true, true) => say("degraded: reads and writes are taken, with less protection"),
            (false, _) => {
                say(&format!("read-only: {}", storage.read_only_reason.as_deref().unwrap_or("no reason given")))
            }
        }
    }
}
