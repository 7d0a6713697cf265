//! What one operation costs the server: CPU time, syncs and device bytes, measured on the real binary.
//!
//! Wall times on a shared machine mean little, so the figures are counts and the server's own CPU time (from `/proc`, exact to
//! 10 ms, hence thousands of operations a row). The clients run in this process and are not counted.
//!
//! ```text
//! load.rs       many connections doing one thing, the server's counters before and after
//! scenarios.rs  what is measured: PUT, GET, LIST, ingest
//! report.rs     the table, the goals, the JSON
//! ```

#[expect(clippy::cast_precision_loss, reason = "counts of operations are far below 2^52")]
mod load;
mod report;
#[expect(clippy::cast_precision_loss, reason = "counts of operations are far below 2^52")]
mod scenarios;

use anyhow::{Context, Result};
use cistern_tests::ServerSpec;
use clap::Parser;
use std::io::Write as _;
use std::path::PathBuf;

/// Measures what one operation costs the server.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// The binary to measure; build it with `cargo build --release -p cistern`.
    #[arg(long)]
    binary: PathBuf,
    /// A tenth of the operations: to see that it works, not for figures.
    #[arg(long)]
    quick: bool,
    /// Answer one JSON document instead of the table.
    #[arg(long)]
    json: bool,
    /// Where the server keeps its data; a temporary folder otherwise.
    #[arg(long)]
    data_dir: Option<PathBuf>,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let scratch = tempfile::tempdir().context("make a temporary folder")?;
    let data_dir = arguments.data_dir.clone().unwrap_or_else(|| scratch.path().join("data"));
    let server = ServerSpec::of_binary(arguments.binary.clone(), &data_dir).start()?;
    let scale = if arguments.quick { scenarios::Scale::Tenth } else { scenarios::Scale::Full };
    let rows = scenarios::run_all(&server, scale)?;
    server.stop()?;
    let text = if arguments.json { serde_json::to_string_pretty(&rows)? } else { report::table(&rows) };
    writeln!(std::io::stdout(), "{text}")?;
    Ok(())
}
