//! Suites of checks with clients of other people: scripts of `tests/clients` that drive the server and end with
//! `N passed, 0 failed`. Those in Python run from `.venv`, those in JavaScript (`.mjs`) with node and the packages in
//! `.node`; the programs they call (s3cmd, s5cmd, rclone, restic, kcat) come from `.venv` and from PATH. `cargo xtask setup`
//! installs all of it.

use crate::python::{program, run, with_account};
use crate::server::Server;
use anyhow::{Result, ensure};
use std::path::PathBuf;
use std::process::Command;

/// Longest run of one suite, in seconds: twenty times what the slowest takes on a machine that does nothing else. `timeout`
/// of the coreutils ends it and all that it started.
const SUITE_LIMIT_SECONDS: &str = "400";

/// Runs a suite as root against the server; an error, with all that it said, when a check failed.
pub fn suite(server: &Server, name: &str) -> Result<()> {
    suite_with(server, name, "", &[])
}

/// Runs those checks of a suite whose name has `word`, of which there must be one, with more environment.
pub fn suite_with(server: &Server, name: &str, word: &str, environment: &[(&str, &str)]) -> Result<()> {
    let script = crate::workspace_root().join("tests/clients").join(name);
    let interpreter = if script.extension().is_some_and(|extension| extension == "mjs") {
        PathBuf::from("node")
    } else {
        program("python")?
    };
    let mut command = with_account(Command::new("timeout"), server);
    command
        .args(["--kill-after=5", SUITE_LIMIT_SECONDS])
        .arg(interpreter)
        .arg(script)
        .arg(word)
        .envs(environment.iter().copied());
    let said = run(command)?;
    ensure!(said.trim_end().ends_with(" passed, 0 failed"), "{name} did not say that all passed:\n{said}");
    Ok(())
}
