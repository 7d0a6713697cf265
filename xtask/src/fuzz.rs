//! Runs the fuzz targets of the crates that have some: libFuzzer on the stable compiler, whose coverage pass needs no switch that only
//! nightly has. What a run finds interesting is kept in `target/fuzz`, merged with the corpus in the repository; with
//! `CISTERN_KEEP_CORPUS=1` the smallest set that covers as much replaces that corpus.

use crate::run;
use crate::steps::cargo;
use anyhow::Result;
use std::fs;
use std::path::Path;
use std::process::Command;

/// The crates and their targets.
const TARGETS: [(&str, &[&str]); 2] = [
    ("storage/drives", &["frame", "record", "view_row", "identity", "store"]),
    ("pipelines", &["record_batch", "kafka_request", "events", "json_path"]),
];
/// Counters at every edge, as libFuzzer reads them.
const COVERAGE: &str = "--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares -Ccodegen-units=1";
/// No input is longer.
const INPUT_BYTES_MAX: u32 = 4096;

/// Every target for so many seconds.
pub(crate) fn run_all(seconds: u32) -> Result<()> {
    for (folder, targets) in TARGETS {
        run_targets(folder, targets, seconds)?;
    }
    Ok(())
}

fn run_targets(folder: &str, targets: &[&str], seconds: u32) -> Result<()> {
    let root = cistern_tests::workspace_root();
    let (fuzz, out) = (root.join(folder).join("fuzz"), root.join("target/fuzz"));
    let mut build = cargo(&["build", "--release", "--target", host()?.as_str()]);
    run(build.current_dir(&fuzz).env("RUSTFLAGS", COVERAGE).env("CARGO_TARGET_DIR", &out))?;
    let binaries = out.join(host()?).join("release");
    for target in targets {
        let (found, corpus) = (out.join("found").join(target), fuzz.join("corpus").join(target));
        fs::create_dir_all(&found)?;
        fs::create_dir_all(&corpus)?;
        let binary = binaries.join(target);
        let limits = [format!("-max_total_time={seconds}"), format!("-max_len={INPUT_BYTES_MAX}")];
        let mut fuzzer = Command::new(&binary);
        run(fuzzer
            .args(limits)
            .args(["-print_final_stats=1", "-verbosity=0"])
            .arg(&found)
            .arg(&corpus)
            .current_dir(&out))?;
        if std::env::var_os("CISTERN_KEEP_CORPUS").is_some() {
            keep(&binary, &found, &corpus)?;
        }
    }
    Ok(())
}

/// Replaces the corpus by the smallest set of inputs that covers as much.
fn keep(binary: &Path, found: &Path, corpus: &Path) -> Result<()> {
    let merged = corpus.with_extension("merged");
    fs::create_dir_all(&merged)?;
    run(Command::new(binary)
        .args(["-set_cover_merge=1", "-use_counters=0", "-verbosity=0"])
        .arg(&merged)
        .arg(corpus)
        .arg(found))?;
    fs::remove_dir_all(corpus)?;
    Ok(fs::rename(&merged, corpus)?)
}

fn host() -> Result<String> {
    let output = Command::new("rustc").args(["--print", "host-tuple"]).output()?;
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}
