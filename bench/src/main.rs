//! Whole-server loads: what an operation costs the server in CPU, syncs and bytes on the drives, beside the goals.
//!
//! Starts the release binary on drive folders in a temporary folder, loads it from this process and reads the server's
//! CPU from `/proc` and its syncs from `/metrics`. CPU per operation is the figure that carries over to other
//! machines; rates on a machine shared with the load do not. Bounded: a full run takes about two minutes.
//!
//! ```text
//! load.rs     clients in threads, each with its own connection and a share of the operations
//! meter.rs    what the server used between two moments
//! requests.rs a client that costs little: prepared requests over many connections of one thread
//! loads.rs    the loads themselves; ingest.rs: those of events, which events.rs makes; websocket.rs: a fast client
//! connections.rs  memory under many connections, slow ones among them
//! engine.rs   the storage engine alone, in this process, beside files.rs: a folder an object on the same drives
//! scale.rs    a store of very many objects: starts, index, memory
//! memory.rs   free memory at hand before a load of events
//! report.rs   one line a load, as a table and as JSON, with the goals
//! ```

mod connections;
mod engine;
mod events;
mod files;
mod ingest;
mod load;
mod loads;
mod memory;
mod meter;
mod report;
mod requests;
mod scale;
mod websocket;

use anyhow::{Context, Result};
use cistern_tests::{Server, ServerSpec, wait};
use clap::{Args, Parser};
use report::Report;
use std::path::PathBuf;

// as in the server
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Measures a server under load.
#[derive(Parser)]
struct Arguments {
    /// A tenth of the operations
    #[arg(long)]
    quick: bool,
    /// Only the loads of events
    #[arg(long, conflicts_with_all = ["scale", "engine", "connections"])]
    ingest: bool,
    #[command(flatten)]
    instead: Instead,
    /// Where the figures go as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// The folder for the server's data; its file system is what is measured [default: a temporary folder]
    #[arg(long, value_name = "FOLDER")]
    folder: Option<PathBuf>,
}

/// What is measured instead of the usual loads.
#[derive(Args)]
struct Instead {
    /// Instead: a store with so many small objects, its starts, its index, its lists and its memory
    #[arg(long, value_name = "OBJECTS", conflicts_with_all = ["quick", "engine", "connections"])]
    scale: Option<usize>,
    /// Instead: the storage engine alone, in this process, beside a folder an object on the same drives
    #[arg(long, conflicts_with = "connections")]
    engine: bool,
    /// Instead: the server's memory under a thousand idle connections and 256 busy ones
    #[arg(long, conflicts_with = "quick")]
    connections: bool,
    /// Instead: touches memory, for another one of these
    #[arg(long = memory::TOUCH, hide = true)]
    touch_memory: bool,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    if arguments.instead.touch_memory {
        memory::touch();
        return Ok(());
    }
    let mut folder = tempfile::Builder::new();
    let folder = folder.prefix("cistern-bench-");
    let folder = match &arguments.folder {
        Some(above) => folder.tempdir_in(above),
        None => folder.tempdir(),
    };
    let folder = folder.context("make a folder for the server's data")?;
    let spec = ServerSpec::new(&folder.path().join("data"))?;
    let divisor = if arguments.quick { 10 } else { 1 };
    let json = match arguments.instead.scale {
        Some(objects) => scale::measure(&spec, objects)?,
        None if arguments.instead.engine => engine::measure(folder.path(), divisor)?,
        None if arguments.instead.connections => connections::measure(&spec)?,
        None => costs(&spec, divisor, arguments.ingest)?,
    };
    if let Some(path) = arguments.json {
        std::fs::write(&path, json).with_context(|| format!("write {}", path.display()))?;
    }
    Ok(())
}

/// What each operation costs, printed, and as JSON.
fn costs(spec: &ServerSpec, divisor: usize, only_ingest: bool) -> Result<String> {
    let start = wait::now();
    let server = spec.start()?;
    let report = measure(&server, divisor, only_ingest)?;
    server.stop()?;
    report.print(start.elapsed())?;
    report.json()
}

/// Runs all loads with their operations divided by `divisor`.
fn measure(server: &Server, divisor: usize, only_ingest: bool) -> Result<Report> {
    let mut report = Report::default();
    loads::floor(server, divisor, &mut report)?;
    server.s3()?.create_bucket(loads::BUCKET)?;
    if !only_ingest {
        loads::objects(server, divisor, &mut report)?;
        loads::listing(server, divisor, &mut report)?;
        loads::deletes(server, divisor, &mut report)?;
    }
    ingest::events(server, divisor, &mut report)?;
    Ok(report)
}
