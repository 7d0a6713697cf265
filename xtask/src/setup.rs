//! What the end-to-end tests and the demo need beyond Rust: Python 3 with the packages of `tests/requirements.txt` in
//! `.venv`, rclone, restic, kcat and openssl, Node.js with the packages of `tests/clients/js` in `.node` and those of
//! `tests/clients/wrangler` in `.node/wrangler`. Each is done once, and done again when its list changes. Says what it does.

use crate::say;
use anyhow::{Context, Result, bail};
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

/// A program of PATH: its name, how it is asked whether it works, the Debian package that brings it.
type Needed = (&'static str, &'static [&'static str], &'static str);

/// What the end-to-end tests run.
const PROGRAMS: [Needed; 6] = [
    ("rclone", &["version"], "rclone"),
    ("restic", &["version"], "restic"),
    ("kcat", &["-V"], "kcat"),
    ("openssl", &["version"], "openssl"),
    ("node", &["--version"], "nodejs"),
    ("npm", &["--version"], "npm"),
];
/// What librdkafka is built with; it takes OpenSSL for its logins.
const OF_LIBRDKAFKA: [Needed; 5] = [
    ("cc", &["--version"], "gcc"),
    ("c++", &["--version"], "g++"),
    ("make", &["--version"], "make"),
    ("pkg-config", &["--version"], "pkg-config"),
    ("pkg-config", &["--exists", "libssl", "libcrypto"], "libssl-dev"),
];
/// Written into an environment when it is whole: the list it was made of.
const INSTALLED: &str = "installed.txt";

/// Sees to everything the end-to-end tests need.
pub(crate) fn run() -> Result<()> {
    python()?;
    programs(
        &PROGRAMS,
        "rclone, restic, kcat, openssl, node and npm",
        "320 MB on disk when all are missing, most of it npm's",
    )?;
    javascript("tests/clients/js", ".node", "60 MB")?;
    javascript(
        "tests/clients/wrangler",
        ".node/wrangler",
        "470 MB, most of it Node.js and what wrangler runs workers with",
    )
}

/// Makes `.venv` unless it is there and up to date.
pub(crate) fn python() -> Result<()> {
    let root = cistern_tests::workspace_root();
    let requirements = root.join("tests/requirements.txt");
    let wanted = read(&requirements)?;
    let folder = root.join(".venv");
    if is_made_of(&folder, &wanted) {
        say("set-up: .venv is up to date");
        return Ok(());
    }
    say("set-up: makes .venv and installs the packages of tests/requirements.txt from PyPI (about 900 MB on disk)");
    make_environment(&folder)?;
    crate::run(
        Command::new(folder.join("bin/python"))
            .args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--requirement"])
            .arg(&requirements),
    )?;
    write(&folder.join(INSTALLED), &wanted)
}

/// Sees to what librdkafka is built with, for the clients in Rust.
pub(crate) fn c_compiler_and_openssl() -> Result<()> {
    programs(&OF_LIBRDKAFKA, "gcc, g++, make, pkg-config and OpenSSL's headers", "220 MB on disk when all are missing")
}

/// Installs those programs that are not in PATH; `all` and `size` say so to people.
fn programs(needed: &[Needed], all: &str, size: &str) -> Result<()> {
    let missing = needed.iter().filter(|(program, question, _)| !works(program, question));
    let missing: Vec<&str> = missing.map(|(_, _, package)| *package).collect();
    if missing.is_empty() {
        say(&format!("set-up: {all} are there"));
        return Ok(());
    }
    let names = missing.join(", ");
    if !works("apt-get", &["--version"]) {
        bail!("needs {names}: install them and try again");
    }
    say(&format!("set-up: installs {names} with apt-get (about {size})"));
    apt_install(&missing)
}

/// Makes `folder` of the packages listed in `from` unless it is there and up to date.
fn javascript(from: &str, folder: &str, size: &str) -> Result<()> {
    const LISTS: [&str; 2] = ["package.json", "package-lock.json"];
    let root = cistern_tests::workspace_root();
    let lists = LISTS.map(|name| (name, root.join(from).join(name)));
    let wanted = lists.iter().map(|(_, list)| read(list)).collect::<Result<String>>()?;
    let path = root.join(folder);
    if is_made_of(&path, &wanted) {
        say(&format!("set-up: {folder} is up to date"));
        return Ok(());
    }
    say(&format!("set-up: makes {folder} and installs the packages of {from} from npm (about {size} on disk)"));
    fs::create_dir_all(&path).with_context(|| format!("make {}", path.display()))?;
    for (name, list) in &lists {
        fs::copy(list, path.join(name)).with_context(|| format!("copy {}", list.display()))?;
    }
    let install = ["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"];
    crate::run(Command::new("npm").args(install).current_dir(&path).stdin(Stdio::null()))?;
    write(&path.join(INSTALLED), &wanted)
}

fn is_made_of(folder: &Path, wanted: &str) -> bool {
    fs::read_to_string(folder.join(INSTALLED)).is_ok_and(|list| list == wanted)
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
    apt_install(&["python3", "python3-venv"])?;
    make()
}

fn apt_install(packages: &[&str]) -> Result<()> {
    let apt = |arguments: &[&str]| crate::run(Command::new("apt-get").args(arguments).stdin(Stdio::null()));
    apt(&["update"])?;
    apt(&[&["install", "--yes", "--no-install-recommends"][..], packages].concat())
}

fn works(program: &str, arguments: &[&str]) -> bool {
    let mut command = Command::new(program);
    let status = command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
    status.is_ok_and(|status| status.success())
}

fn read(path: &Path) -> Result<String> {
    fs::read_to_string(path).with_context(|| format!("read {}", path.display()))
}

fn write(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text).with_context(|| format!("write {}", path.display()))
}
