//! `pipelines compact`: small files become larger ones, step by step until nothing is left to merge.

use crate::cli::Format;
use crate::cli::answer::{say, say_json};
use crate::cli::progress::Progress;
use crate::client::Account;
use cistern_types::{ByteSize, PipelineName};
use clap::Args;
use serde::{Deserialize, Serialize};
use serde_json::json;

#[derive(Debug, Args)]
pub(in crate::cli) struct CompactArgs {
    /// Its name
    name: PipelineName,
    /// Only files whose keys begin with this, such as clicks/site=example.org/ [default: where the pipeline writes now]
    #[arg(long)]
    prefix: Option<String>,
    /// Merge files smaller than this, as many as have so much together
    #[arg(long, value_name = "SIZE", default_value = "128MiB")]
    target_size: ByteSize,
    /// Change nothing and say what would be merged at first; what comes of it may be merged again
    #[arg(long)]
    dry_run: bool,
}

/// What one step did.
#[derive(Debug, Deserialize)]
struct Step {
    merged: Option<Merged>,
    left: Vec<LeftAlone>,
    cursor: Option<String>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Merged {
    key: String,
    sources: Vec<String>,
    rows: Option<u64>,
    bytes_before: u64,
    bytes_after: Option<u64>,
    /// Whether more could be merged with it by another walk.
    full: bool,
}

#[derive(Debug, Serialize, Deserialize)]
struct LeftAlone {
    key: String,
    reason: String,
}

/// What was done so far.
#[derive(Debug, Default, Serialize)]
struct Done {
    merged: Vec<Merged>,
    left: Vec<LeftAlone>,
}

impl CompactArgs {
    /// Walks along the files, and again where there were more of them than one step merges.
    pub(super) async fn run(self, account: &Account<'_>, format: Format) -> anyhow::Result<()> {
        let progress = Progress::new("merged", None);
        let mut done = Done::default();
        loop {
            let merged_before = done.merged.len();
            done.left.clear();
            self.walk(account, format, &progress, &mut done).await?;
            if self.dry_run || !done.merged[merged_before..].iter().any(|merged| merged.full) {
                break;
            }
        }
        progress.finish();
        match format {
            Format::Json => say_json(&done),
            Format::Human => say(&self.summary(&done)),
        }
    }

    async fn walk(
        &self,
        account: &Account<'_>,
        format: Format,
        progress: &Progress,
        done: &mut Done,
    ) -> anyhow::Result<()> {
        let path = format!("/pipelines/{}/compact", self.name);
        let mut cursor = None;
        loop {
            let body = json!({
                "prefix": self.prefix, "target_bytes": self.target_size.as_u64(), "dry_run": self.dry_run, "cursor": cursor,
            });
            let step: Step = serde_json::from_value(account.post(&path, &body).await?.result)?;
            done.left.extend(step.left);
            if let Some(merged) = step.merged {
                if format == Format::Human && (self.dry_run || !progress.is_shown()) {
                    say(&merged.sentence())?;
                }
                done.merged.push(merged);
                let bytes = done.merged.iter().map(|merged| merged.bytes_before).sum();
                progress.set(bytes, bytes);
            }
            cursor = step.cursor;
            if cursor.is_none() {
                return Ok(());
            }
        }
    }

    /// What a person reads at the end.
    fn summary(&self, done: &Done) -> String {
        let Done { merged, left } = done;
        let mut lines: Vec<String> =
            left.iter().map(|LeftAlone { key, reason }| format!("left alone: {key}: {reason}")).collect();
        let (name, files) = (&self.name, merged.len());
        let sources: usize = merged.iter().map(|merged| merged.sources.len()).sum();
        let before: u64 = merged.iter().map(|merged| merged.bytes_before).sum();
        let after: u64 = merged.iter().filter_map(|merged| merged.bytes_after).sum();
        lines.push(if merged.is_empty() {
            format!("Nothing to merge in pipeline \"{name}\"")
        } else if self.dry_run {
            format!("Would merge {sources} files of pipeline \"{name}\" into {files}: {before} bytes")
        } else {
            format!("Merged {sources} files of pipeline \"{name}\" into {files}: {before} bytes became {after}")
        });
        lines.join("\n")
    }
}

impl Merged {
    fn sentence(&self) -> String {
        let rows = self.rows.map(|rows| format!(", {rows} rows")).unwrap_or_default();
        let after = self.bytes_after.map(|bytes| format!(" became {bytes}")).unwrap_or_default();
        format!("{}: {} files{rows}, {} bytes{after}", self.key, self.sources.len(), self.bytes_before)
    }
}
