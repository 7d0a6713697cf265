//! The binary `cistern`: `cistern serve` is the server, every other subcommand is a client of its management API.
//!
//! ```text
//! main.rs ─▶ cli.rs ─┬─▶ cli/serve.rs ─▶ config.rs ─▶ wiring.rs: disks ─▶ log ─▶ objects ─▶ access ─▶ pipelines ─▶ doors
//!                    └─▶ cli/<noun>.rs ─▶ client.rs ─▶ HTTP
//! ```
//!
//! Errors are one line on stderr; exit 2 says that the command was wrong, exit 1 that it failed. stdout is the answer.

mod cli;
mod client;
mod config;
mod instance;
mod listen;
mod logs;
mod stop;
mod storage;
mod wiring;

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    cli::run(std::env::args_os(), &config::Surroundings::of_process())
}
