//! The workspace's own commands: `cargo xtask tidy | ci | setup | test | rust-clients | demo | bench | soak | fuzz`.
//!
//! ```text
//! tidy.rs    the house rules as checks: layers, headers, names, manifests, links
//! steps.rs   running commands one after another, with a summary and an exit code
//! checks.rs  which steps `ci`, `test` and `soak` are made of
//! fuzz.rs    the fuzz targets of storage/drives, under libFuzzer
//! rust_clients.rs  clients in Rust against the real binary, a package of its own
//! setup.rs   what a clean machine lacks: the clients of the end-to-end tests, in .venv, in .node and from Debian
//! demo.rs    the 120,000 flights from HTTP to Parquet over S3
//! ```
//!
//! It builds and runs the server as a user would and never links its code.

mod checks;
mod demo;
mod fuzz;
mod rust_clients;
mod setup;
mod steps;
mod tidy;

use anyhow::Result;
use clap::{Parser, Subcommand};
use std::io::Write as _;
use std::process::ExitCode;

/// Cistern's own commands.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Check the house rules: layers, file headers and names, manifests, links
    Tidy,
    /// Check everything that needs no running server: fmt, tidy, clippy, doc, unit tests, doc tests
    Ci,
    /// Install the clients of the end-to-end tests: .venv for Python, .node for JavaScript, rclone and restic
    Setup,
    /// Set up what is missing, run `ci`, then the end-to-end tests against the real binary
    Test,
    /// Test the real binary with clients in Rust: the AWS SDK, object_store, s3s-e2e, rdkafka; they take minutes to compile
    RustClients,
    /// Stream 120,000 real events in over HTTP and count them in Parquet over S3
    Demo {
        /// Stop the server at the end instead of leaving it running; exit 1 if a count is wrong
        #[arg(long)]
        once: bool,
    },
    /// Measure the release binary: server CPU, syncs and device bytes per operation, beside the goals
    Bench {
        /// A tenth of the operations
        #[arg(long)]
        quick: bool,
        /// Only the loads of events
        #[arg(long, conflicts_with_all = ["scale", "engine"])]
        ingest: bool,
        /// Instead: the server's memory under a thousand idle connections and 256 busy ones
        #[arg(long, conflicts_with_all = ["quick", "ingest", "scale", "engine"])]
        connections: bool,
        /// Instead: a store with so many small objects, its starts, its index and its memory
        #[arg(long, value_name = "OBJECTS", conflicts_with = "quick")]
        scale: Option<usize>,
        /// Instead: the storage engine alone, beside a folder an object on the same drives
        #[arg(long, conflicts_with = "scale")]
        engine: bool,
    },
    /// Give changed bytes to everything that reads drives, with coverage as the guide; ends with an error when one panics
    Fuzz {
        /// How long for each target, in seconds
        #[arg(long, default_value_t = 60)]
        seconds: u32,
    },
    /// Kill the server under load 500 times, fail its drives, cut the power 100,000 times, race clients 1,000 times, damage requests for
    /// ten minutes; look for what was lost, torn, doubled or not answered
    Soak {
        /// How many kills; the rest in proportion
        #[arg(long, default_value_t = 500)]
        rounds: u32,
        /// How long damaged requests are sent, in seconds
        #[arg(long, default_value_t = 600)]
        damaged_seconds: u32,
    },
}

fn main() -> ExitCode {
    let done = match Arguments::parse().command {
        Command::Tidy => tidy::run(),
        Command::Ci => checks::ci(),
        Command::Setup => setup::run(),
        Command::Test => checks::test(),
        Command::RustClients => rust_clients::test(),
        Command::Demo { once } => demo::run(if once { demo::AtTheEnd::Stop } else { demo::AtTheEnd::KeepRunning }),
        Command::Bench { quick, ingest, connections, scale, engine } => {
            let scale = scale.map(|objects| format!("--scale={objects}"));
            let switches =
                [(quick, "--quick"), (ingest, "--ingest"), (connections, "--connections"), (engine, "--engine")];
            let flags = switches.map(|(is_on, flag)| is_on.then_some(flag)).into_iter().chain([scale.as_deref()]);
            checks::bench(flags.flatten())
        }
        Command::Fuzz { seconds } => fuzz::run_all(seconds),
        Command::Soak { rounds, damaged_seconds } => checks::soak(rounds, damaged_seconds),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&format!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

/// Prints a line. Output that nobody reads any more is no reason to stop.
fn say(line: &str) {
    let mut stdout = std::io::stdout().lock();
    drop(writeln!(stdout, "{line}"));
}

/// Runs a command, shown as it runs, that must succeed.
fn run(command: &mut std::process::Command) -> Result<()> {
    let shown = steps::shown(command);
    say(&format!("$ {shown}"));
    let status = command.status().map_err(|error| anyhow::anyhow!("cannot run `{shown}`: {error}"))?;
    anyhow::ensure!(status.success(), "`{shown}` ended with {status}");
    Ok(())
}
