//! The house rules as checks. What fails: a dependency that points up, a manifest that goes its own way, a file without
//! a header or with a name that says nothing, an `allow`, a TODO without a number, a dead link. What is only printed:
//! files and functions that have grown long.

mod manifests;
mod markdown;
mod sources;

use crate::say;
use anyhow::{Context, Result, bail};
use std::path::{Path, PathBuf};
use std::process::Command;

/// What the checks found.
#[derive(Default)]
struct Findings {
    broken: Vec<String>,
    reminders: Vec<String>,
}

impl Findings {
    fn broken(&mut self, path: &Path, what: impl AsRef<str>) {
        self.broken.push(format!("{}: {}", path.display(), what.as_ref()));
    }

    fn remind(&mut self, path: &Path, what: impl AsRef<str>) {
        self.reminders.push(format!("{}: {}", path.display(), what.as_ref()));
    }
}

/// Checks the workspace.
pub(crate) fn run() -> Result<()> {
    let root = cistern_tests::workspace_root();
    let files = files(&root)?;
    let mut findings = Findings::default();
    for file in &files {
        let path = root.join(file);
        let extension = file.extension().and_then(|extension| extension.to_str());
        match extension {
            Some("rs") => sources::check(file, &read(&path)?, &mut findings),
            Some("md") => markdown::check(&root, file, &read(&path)?, &mut findings),
            _ if file.ends_with("Cargo.toml") => manifests::check(file, &read(&path)?, &mut findings)?,
            _ => {}
        }
    }
    for reminder in &findings.reminders {
        say(&format!("reminder: {reminder}"));
    }
    for broken in &findings.broken {
        say(&format!("broken: {broken}"));
    }
    if !findings.broken.is_empty() {
        bail!("{} house rules are broken", findings.broken.len());
    }
    say(&format!("tidy: {} files are in order", files.len()));
    Ok(())
}

fn read(path: &Path) -> Result<String> {
    std::fs::read_to_string(path).with_context(|| format!("read {}", path.display()))
}

/// Every file of the project, relative to its root: what git knows and what it would take.
fn files(root: &Path) -> Result<Vec<PathBuf>> {
    let listing = ["ls-files", "--cached", "--others", "--exclude-standard"];
    let output = Command::new("git").args(listing).current_dir(root).output().context("run git ls-files")?;
    anyhow::ensure!(output.status.success(), "git ls-files: {}", String::from_utf8_lossy(&output.stderr));
    let names = String::from_utf8(output.stdout).context("a file name is not UTF-8")?;
    Ok(names.lines().map(PathBuf::from).filter(|file| root.join(file).is_file()).collect())
}
