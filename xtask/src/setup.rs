//! What the end-to-end tests and the demo need beyond Rust: Python 3 with the packages of `tests/requirements.txt` in
//! `.venv`. Done once; done again when the list changes. Says what it does.

use crate::say;
use anyhow::{Context, Result, bail};
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

/// Makes `.venv` unless it is there and up to date.
pub(crate) fn run() -> Result<()> {
    let root = cistern_tests::workspace_root();
    let requirements = root.join("tests/requirements.txt");
    let wanted = fs::read_to_string(&requirements).with_context(|| format!("read {}", requirements.display()))?;
    let folder = root.join(".venv");
    let installed = folder.join("installed.txt");
    if fs::read_to_string(&installed).is_ok_and(|list| list == wanted) {
        say("set-up: .venv is up to date");
        return Ok(());
    }
    say("set-up: makes .venv and installs the packages of tests/requirements.txt from PyPI (about 600 MB on disk)");
    make_environment(&folder)?;
    crate::run(
        Command::new(folder.join("bin/python"))
            .args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--requirement"])
            .arg(&requirements),
    )?;
    fs::write(&installed, wanted).with_context(|| format!("write {}", installed.display()))
}

fn make_environment(folder: &Path) -> Result<()> {
    let make = || crate::run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(folder));
    if works("python3", &["-c", "import ensurepip, venv"]) && make().is_ok() {
        return Ok(());
    }
    if !works("apt-get", &["--version"]) {
        bail!("needs Python 3.10 or newer with the venv module: install it and try again");
    }
    say("set-up: this Python cannot make environments: installs python3 and python3-venv with apt-get");
    let apt = |arguments: &[&str]| crate::run(Command::new("apt-get").args(arguments).stdin(Stdio::null()));
    apt(&["update"])?;
    apt(&["install", "--yes", "--no-install-recommends", "python3", "python3-venv"])?;
    make()
}

fn works(program: &str, arguments: &[&str]) -> bool {
    let mut command = Command::new(program);
    let status = command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
    status.is_ok_and(|status| status.success())
}
