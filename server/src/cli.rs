//! The command line: what people type, one file a noun, and how a command ends.
//!
//! stdout is the answer, stderr the talk. Whatever goes wrong is one line that says what would be right.

mod answer;
mod bucket;
mod completions;
mod config_commands;
mod drives;
mod keys;
mod object;
mod pipelines;
mod progress;
mod serve;
mod target;

use crate::client::Client;
use crate::config::{self, ClientConfig, Origin, RawConfig, Surroundings, Value};
use anyhow::Context as _;
use clap::{CommandFactory as _, FromArgMatches as _, Parser, Subcommand};
use std::ffi::OsString;
use std::future::Future;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

/// The exit code of a command that failed.
const EXIT_FAILURE: u8 = 1;
/// The exit code of a command that was wrong.
const EXIT_MISUSE: u8 = 2;

/// A self-hosted, S3-compatible object store with streaming ingestion.
#[derive(Debug, Parser)]
#[command(name = "cistern", version, arg_required_else_help = true, max_term_width = 120)]
pub(crate) struct Cli {
    #[command(flatten)]
    global: GlobalArgs,
    #[command(subcommand)]
    command: Command,
}

/// What every command takes.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Options of every command")]
struct GlobalArgs {
    /// Configuration file [default: ./cistern.toml, else /etc/cistern/cistern.toml]
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Address of the server's management API [default: http://127.0.0.1:9001]
    #[arg(long, global = true, value_name = "URL")]
    api_url: Option<String>,
    /// PEM file with certificates to trust besides those of the system, for https:// addresses
    #[arg(long, global = true, value_name = "FILE")]
    api_ca: Option<String>,
    /// Token of the management API [default: the one in the local credentials.toml]
    #[arg(long, global = true, value_name = "TOKEN")]
    api_token: Option<String>,
    /// Answer in JSON
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the server
    Serve(serve::ServeArgs),
    /// Make, list, show and delete buckets
    #[command(subcommand, arg_required_else_help = true)]
    Bucket(bucket::BucketCommand),
    /// Store, read, list and delete objects
    #[command(subcommand, arg_required_else_help = true)]
    Object(object::ObjectCommand),
    /// Make, list, show, change and delete pipelines, look into them
    #[command(subcommand, arg_required_else_help = true)]
    Pipelines(pipelines::PipelinesCommand),
    /// Make, list and revoke S3 access keys
    #[command(subcommand, arg_required_else_help = true)]
    Keys(keys::KeysCommand),
    /// Show how the drives are, have them read and mended
    #[command(subcommand, arg_required_else_help = true)]
    Drives(drives::DrivesCommand),
    /// Check or show the configuration
    #[command(subcommand, arg_required_else_help = true)]
    Config(config_commands::ConfigCommand),
    /// Print completions for a shell
    Completions(completions::CompletionsArgs),
}

/// The command was wrong, not its execution: exit 2.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Misuse(String);

/// How a list is to be answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    /// Tables and sentences.
    Human,
    /// JSON.
    Json,
}

/// Parses `arguments`, runs the command and says how it ended.
pub(crate) fn run(arguments: impl Iterator<Item = OsString>, surroundings: &Surroundings) -> ExitCode {
    let parsed = Cli::command().try_get_matches_from(arguments).and_then(|matches| Cli::from_arg_matches(&matches));
    let cli = match parsed {
        Ok(cli) => cli,
        Err(error) if error.use_stderr() && !is_help(&error) => {
            complain(&one_line(&error.render().to_string()));
            return ExitCode::from(EXIT_MISUSE);
        }
        Err(error) => {
            let code = if error.use_stderr() { EXIT_MISUSE } else { 0 };
            drop(error.print()); // a closed stdout is no failure of ours
            return ExitCode::from(code);
        }
    };
    match cli.execute(surroundings) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&format!("error: {}", one_line(&format!("{error:#}"))));
            let misuse = error.is::<Misuse>() || error.is::<config::Error>();
            ExitCode::from(if misuse { EXIT_MISUSE } else { EXIT_FAILURE })
        }
    }
}

fn is_help(error: &clap::Error) -> bool {
    matches!(error.kind(), clap::error::ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand)
}

/// Several lines as one: what is empty or says how to get help is left out.
fn one_line(text: &str) -> String {
    let lines = text.lines().map(str::trim);
    let telling = lines.filter(|line| !line.is_empty() && !line.starts_with("For more information"));
    let mut joined = String::new();
    for line in telling {
        let separator = match joined.chars().last() {
            None => "",
            Some(':' | ',') => " ",
            Some(_) => "; ",
        };
        joined.push_str(separator);
        joined.push_str(line);
    }
    joined
}

fn complain(line: &str) {
    drop(writeln!(std::io::stderr(), "{line}")); // nobody left to tell
}

impl Cli {
    fn execute(self, surroundings: &Surroundings) -> anyhow::Result<()> {
        let Self { global, command } = self;
        let format = if global.json { Format::Json } else { Format::Human };
        match command {
            Command::Serve(arguments) => {
                let raw = global.layers(surroundings, arguments.to_raw())?;
                serve::run(&raw)
            }
            Command::Config(command) => command.run(&|flags| global.layers(surroundings, flags), format),
            Command::Completions(arguments) => arguments.run(),
            Command::Bucket(command) => {
                global.with_client(surroundings, async |client| command.run(&client, format).await)
            }
            Command::Object(command) => {
                global.with_client(surroundings, async |client| command.run(&client, format).await)
            }
            Command::Pipelines(command) => {
                global.with_client(surroundings, async |client| command.run(&client, format).await)
            }
            Command::Keys(command) => {
                global.with_client(surroundings, async |client| command.run(&client, format).await)
            }
            Command::Drives(command) => {
                global.with_client(surroundings, async |client| command.run(&client, format).await)
            }
        }
    }
}

impl GlobalArgs {
    fn layers(&self, surroundings: &Surroundings, mut flags: RawConfig) -> config::Result<RawConfig> {
        for (key, flag, value) in [
            ("api_url", "--api-url", &self.api_url),
            ("api_ca", "--api-ca", &self.api_ca),
            ("api_token", "--api-token", &self.api_token),
        ] {
            if let Some(value) = value {
                flags.set(key, Value::Text(value.clone()), Origin::Flag(flag));
            }
        }
        surroundings.layers(self.config.as_deref(), flags)
    }

    fn with_client<F: Future<Output = anyhow::Result<()>>>(
        &self,
        surroundings: &Surroundings,
        command: impl FnOnce(Client) -> F,
    ) -> anyhow::Result<()> {
        let config = ClientConfig::new(&self.layers(surroundings, RawConfig::default())?);
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build().context("start the runtime")?;
        runtime.block_on(async { command(Client::new(&config)?).await })
    }
}

#[cfg(test)]
mod tests;
