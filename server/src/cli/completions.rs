//! `cistern completions`: what a shell needs to complete our commands.

use super::{Cli, answer::say};
use clap::{Args, CommandFactory as _};
use clap_complete::Shell;

#[derive(Debug, Args)]
pub(super) struct CompletionsArgs {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

impl CompletionsArgs {
    pub(super) fn run(self) -> anyhow::Result<()> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut Cli::command(), "cistern", &mut script);
        say(String::from_utf8_lossy(&script).trim_end())
    }
}
