//! `cargo xtask rust-clients`: the server with the clients that Rust programs use (`tests/rust-clients`), a workspace of its own
//! that is built into `target/rust-clients`. Nothing is downloaded once the set-up is done.

use crate::checks::{BUILD_SERVER, target_folder};
use crate::steps::{Steps, cargo};
use crate::{run, say, setup};
use anyhow::Result;
use std::path::PathBuf;
use std::process::Command;

/// Where the package is, below the root.
const FOLDER: &str = "tests/rust-clients";

/// Set-up, the rails of the package, the server, the tests.
pub(crate) fn test() -> Result<()> {
    let (package, server) = (target_folder()?.join("rust-clients"), target_folder()?.join("debug/cistern"));
    let in_package = |arguments: &[&str]| {
        let mut command = cargo(arguments);
        command.current_dir(folder()).env("CARGO_TARGET_DIR", &package);
        command
    };
    let mut format = in_package(&["fmt", "--check"]);
    let mut clippy = in_package(&["clippy", "--frozen", "--all-targets", "--", "-D", "warnings"]);
    // s3s-e2e is a program and no library: it is named to be built
    let packages = ["-p", "cistern-rust-clients", "-p", "s3s-e2e"];
    let targets = ["--test", "rust-clients", "--bin", "s3s-e2e"];
    let mut build = in_package(&[&["build", "--frozen"][..], &packages, &targets].concat());
    let mut tests = in_package(&["test", "--frozen", "--test", "rust-clients", "--no-fail-fast"]);
    tests.env("CISTERN_BIN", server);
    Steps::default()
        .then("set up", set_up)
        .then("format", || run(&mut format))
        .cargo("build the server", &BUILD_SERVER)
        .then("build the clients", || run(&mut build))
        .then("clippy", || run(&mut clippy))
        .then("tests", || run(&mut tests))
        .run()
}

fn folder() -> PathBuf {
    cistern_tests::workspace_root().join(FOLDER)
}

fn set_up() -> Result<()> {
    setup::python()?;
    setup::c_compiler_and_openssl()?;
    say("set-up: fetches the crates of tests/rust-clients that are not here yet (about 60 MB when none is)");
    run(Command::new("cargo").args(["fetch", "--locked"]).current_dir(folder()))
}
