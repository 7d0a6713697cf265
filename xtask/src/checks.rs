//! Which steps `ci`, `test`, `soak` and `bench` are made of.
//!
//! The server under test is always built alone (`cargo build -p cistern`): a build of the whole workspace would switch the
//! `testing` features of its crates on as well. That is also why the end-to-end tests run in a step of their own. What it shares
//! with the unit tests are other people's crates: its feature `shared-dependencies` saves compiling most of them twice.

use crate::steps::{Steps, cargo};
use crate::{run, setup, tidy};
use anyhow::Result;
use std::process::{Command, Stdio};

/// The server that is tested.
pub(crate) const BUILD_SERVER: [&str; 5] = ["build", "-p", "cistern", "--features", "shared-dependencies"];
/// Rounds of kill -9 in a normal test run; `soak` asks for more.
const CRASH_ROUNDS_ENV: &str = "CISTERN_CRASH_ROUNDS";
/// Kills while a million events come over each protocol, and over all at once.
const INGEST_KILLS_ENV: &str = "CISTERN_INGEST_KILLS";
/// 50 in each of those four runs with 500 kills.
const KILLS_PER_INGEST_KILL: u32 = 10;
/// How many times what memory holds comes at once.
const BURST_TIMES_ENV: &str = "CISTERN_BURST_TIMES";
const BURST_TIMES: u32 = 10;
/// Rounds of failing drives.
const DRIVE_ROUNDS_ENV: &str = "CISTERN_DRIVE_ROUNDS";
/// Power cuts at operations of new scripts on simulated drives.
const CRASH_POINTS_ENV: &str = "CISTERN_CRASH_POINTS";
/// Rounds of clients that race one another.
const RACE_ROUNDS_ENV: &str = "CISTERN_RACE_ROUNDS";
/// How long damaged requests are sent.
const DAMAGED_SECONDS_ENV: &str = "CISTERN_DAMAGED_SECONDS";
/// A round of failing drives, with its heals, takes about as long as so many kills.
const KILLS_PER_DRIVE_ROUND: u32 = 10;
/// 100,000 power cuts with 500 kills.
const CRASH_POINTS_PER_KILL: u32 = 200;
/// 1,000 rounds of races with 500 kills.
const RACES_PER_KILL: u32 = 2;

/// The rails: everything that needs no running server.
pub(crate) fn ci() -> Result<()> {
    rails(Steps::default()).run()
}

/// Set-up, the rails, the binary, the end-to-end tests.
pub(crate) fn test() -> Result<()> {
    let steps = Steps::default().then("set up", setup::run);
    rails(steps).cargo("build the server", &BUILD_SERVER).then("end-to-end tests", || run(&mut end_to_end())).run()
}

/// What finds rare things by doing much: kill -9 under load, drives that fail, races and damaged requests on the release binary, power cuts
/// of scripts nobody has seen before on simulated drives.
pub(crate) fn soak(kills: u32, damaged_seconds: u32) -> Result<()> {
    // not a step: the others must not go on with a server of another commit
    build_release()?;
    let binary = target_folder()?.join("release/cistern");
    let end_to_end = move |test: &str, name: &str, rounds: u32| {
        let mut command = cargo(&["test", "-p", "cistern-tests", "--test", "it", "--", "--nocapture", test]);
        run(command.env(name, rounds.to_string()).env("CISTERN_BIN", &binary))
    };
    let (of_drives, of_races, of_requests) = (end_to_end.clone(), end_to_end.clone(), end_to_end.clone());
    let (of_events, of_bursts) = (end_to_end.clone(), end_to_end.clone());
    Steps::default()
        .then("kill -9 under load", move || end_to_end("crash::", CRASH_ROUNDS_ENV, kills))
        .then("kill -9 while events come", move || {
            of_events("ingest_kills::", INGEST_KILLS_ENV, kills / KILLS_PER_INGEST_KILL)
        })
        .then("a burst of events", move || of_bursts("bursts::a_burst", BURST_TIMES_ENV, BURST_TIMES))
        .then("drives that fail under load", move || {
            of_drives("bad_drives::drives_vanish", DRIVE_ROUNDS_ENV, kills / KILLS_PER_DRIVE_ROUND)
        })
        .then("races", move || of_races("races::", RACE_ROUNDS_ENV, kills * RACES_PER_KILL))
        .then("damaged requests", move || of_requests("damaged::", DAMAGED_SECONDS_ENV, damaged_seconds))
        .then("power cuts", move || {
            let test = ["test", "-p", "cistern-drives", "--lib", "--", "--nocapture", "power_cuts_of_new_scripts"];
            run(cargo(&test).env(CRASH_POINTS_ENV, (kills * CRASH_POINTS_PER_KILL).to_string()))
        })
        .run()
}

/// The bench program on the release binary.
pub(crate) fn bench<'a>(arguments: impl Iterator<Item = &'a str>) -> Result<()> {
    build_release()?;
    run(&mut cargo(&["build", "--release", "-p", "cistern-bench"]))?;
    let target = target_folder()?;
    run(Command::new(target.join("release/cistern-bench"))
        .args(arguments)
        .arg("--json")
        .arg(target.join("bench.json"))
        .current_dir(cistern_tests::workspace_root()))
}

/// The release binary, and what the clients of tests and loads need.
fn build_release() -> Result<()> {
    setup::python()?;
    run(&mut cargo(&["build", "--release", "-p", "cistern"]))
}

/// The folder cargo builds into.
pub(crate) fn target_folder() -> Result<std::path::PathBuf> {
    let output = cargo(&["metadata", "--format-version", "1", "--no-deps"]).stderr(Stdio::inherit()).output()?;
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout)?;
    let folder = metadata["target_directory"].as_str();
    Ok(folder.ok_or_else(|| anyhow::anyhow!("cargo metadata names no target directory"))?.into())
}

fn rails(steps: Steps<'_>) -> Steps<'_> {
    let mut doc = cargo(&["doc", "--workspace", "--no-deps"]);
    doc.env("RUSTDOCFLAGS", "-Dwarnings");
    let unit_tests: &[&str] = if has_nextest() {
        &["nextest", "run", "--workspace", "--exclude", "cistern-tests"]
    } else {
        &["test", "--workspace", "--exclude", "cistern-tests", "--lib", "--bins", "--tests"]
    };
    steps
        .cargo("format", &["fmt", "--all", "--check"])
        .then("house rules", tidy::run)
        .cargo("clippy", &["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"])
        .then("documentation", move || run(&mut doc))
        .cargo("unit tests", unit_tests)
        .cargo("harness tests", &["test", "-p", "cistern-tests", "--lib"])
        .cargo("examples in documentation", &["test", "--doc", "--workspace"])
}

/// With nextest, tests that measure time run alone (`tests/nextest.toml`); without it all run one after another.
fn end_to_end() -> Command {
    if has_nextest() {
        cargo(&[
            "nextest",
            "run",
            "-p",
            "cistern-tests",
            "--test",
            "it",
            "--no-fail-fast",
            "--config-file",
            "tests/nextest.toml",
        ])
    } else {
        cargo(&["test", "-p", "cistern-tests", "--test", "it", "--no-fail-fast", "--", "--test-threads=1"])
    }
}

fn has_nextest() -> bool {
    let version = cargo(&["nextest", "--version"]).stdout(Stdio::null()).stderr(Stdio::null()).status();
    version.is_ok_and(|status| status.success())
}
