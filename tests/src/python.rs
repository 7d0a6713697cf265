//! The clients of other people: the aws command and scripts with boto3, DuckDB, PyArrow and Polars, from the virtual
//! environment `.venv` that `cargo xtask test` makes of `tests/requirements.txt`.

use crate::server::{Server, text};
use anyhow::{Context, Result, bail};
use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// A program of `.venv`.
pub(crate) fn program(name: &str) -> Result<PathBuf> {
    let path = crate::workspace_root().join(".venv/bin").join(name);
    if !path.is_file() {
        bail!("no {}: `cargo xtask setup` makes the Python environment", path.display());
    }
    Ok(path)
}

/// The command with root's account in the AWS variables, and with no other of them.
pub fn with_account(mut command: Command, server: &Server) -> Command {
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("AWS_")) {
        command.env_remove(name);
    }
    let keys = server.root_keys();
    command
        .env("AWS_ACCESS_KEY_ID", &keys.access_key_id)
        .env("AWS_SECRET_ACCESS_KEY", &keys.secret_access_key)
        .env("AWS_DEFAULT_REGION", "auto")
        .env("AWS_ENDPOINT_URL_S3", server.s3_url())
        .env("AWS_EC2_METADATA_DISABLED", "true")
        .env("AWS_CONFIG_FILE", "/nonexistent")
        .env("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent")
        .env("AWS_PAGER", "")
        .env("CISTERN_API_URL", server.management_url())
        .env("CISTERN_API_TOKEN", server.api_token())
        .env("KAFKA_BOOTSTRAP", server.kafka_host())
        .env("INGEST_HOST", server.ingest_host())
        .stdin(Stdio::null());
    command
}

/// Runs a command that must succeed; answers its stdout.
pub(crate) fn run(mut command: Command) -> Result<String> {
    let output = command.output().with_context(|| format!("run {command:?}"))?;
    if !output.status.success() {
        let said = format!("{}{}", text(&output.stdout), text(&output.stderr));
        bail!("{:?} ended with {}:\n{said}", command.get_args(), output.status);
    }
    Ok(text(&output.stdout))
}

/// Runs `aws ARGUMENTS` as root against the server; answers its stdout.
pub fn aws(server: &Server, arguments: &[&str]) -> Result<String> {
    let mut command = with_account(Command::new(program("aws")?), server);
    command.args(arguments);
    run(command)
}

/// A script of `tests/clients`, to be run as root against the server.
pub fn script_command(server: &Server, name: &str) -> Result<Command> {
    let mut command = with_account(Command::new(program("python")?), server);
    command.arg(crate::workspace_root().join("tests/clients").join(name));
    Ok(command)
}

/// Runs a script of `tests/clients` as root against the server; answers its stdout.
pub fn script(server: &Server, name: &str, arguments: &[&str]) -> Result<String> {
    let mut command = script_command(server, name)?;
    command.args(arguments);
    run(command)
}

/// The same with `input` on its standard input.
pub fn script_with(server: &Server, name: &str, arguments: &[&str], input: &str) -> Result<String> {
    let mut command = script_command(server, name)?;
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().with_context(|| format!("run {name}"))?;
    let mut stdin = child.stdin.take().context("no stdin")?;
    // A script that ends early is heard by its exit.
    drop(stdin.write_all(input.as_bytes()));
    drop(stdin);
    let output = child.wait_with_output()?;
    if !output.status.success() {
        bail!("{name} ended with {}:\n{}", output.status, text(&output.stderr));
    }
    Ok(text(&output.stdout))
}

/// Reads all Parquet objects below `prefix` with `engine` (`duckdb`, `pyarrow`, `polars`) over S3 and sums them up.
pub fn parquet_sums(server: &Server, engine: &str, bucket: &str, prefix: &str) -> Result<crate::flights::Sums> {
    let answer = script(server, "read_parquet.py", &[engine, bucket, prefix])?;
    serde_json::from_str(&answer).with_context(|| format!("answer of read_parquet.py: {answer}"))
}
