//! Running steps one after another: all of them, even when one fails, so that one run shows everything that is wrong.

use crate::say;
use anyhow::{Result, bail};
use std::process::Command;
use std::time::Duration;

/// What a step does when it is its turn.
type Work<'a> = Box<dyn FnOnce() -> Result<()> + 'a>;

struct Done {
    name: String,
    took: Duration,
    failure: Option<String>,
}

/// Named steps in order.
#[derive(Default)]
pub(crate) struct Steps<'a> {
    planned: Vec<(String, Work<'a>)>,
}

impl<'a> Steps<'a> {
    /// With one more step at the end.
    pub(crate) fn then(mut self, name: &str, work: impl FnOnce() -> Result<()> + 'a) -> Self {
        self.planned.push((name.to_owned(), Box::new(work)));
        self
    }

    /// With a cargo command as the next step.
    pub(crate) fn cargo(self, name: &str, arguments: &[&str]) -> Self {
        let mut command = cargo(arguments);
        self.then(name, move || crate::run(&mut command))
    }

    /// Runs all steps, prints a summary whose last line is `steps: N passed, N failed`; an error when one failed.
    pub(crate) fn run(self) -> Result<()> {
        let done: Vec<Done> = self.planned.into_iter().map(|(name, work)| run_one(name, work)).collect();
        let failed = done.iter().filter(|step| step.failure.is_some()).count();
        say("\n== summary");
        for Done { name, took, failure } in &done {
            let verdict = failure.as_ref().map_or_else(|| "passed".to_owned(), |error| format!("FAILED: {error}"));
            say(&format!("{name:<28} {:>6.1} s  {verdict}", took.as_secs_f64()));
        }
        say(&format!("steps: {} passed, {failed} failed", done.len() - failed));
        if failed > 0 {
            bail!("{failed} of {} steps failed", done.len());
        }
        Ok(())
    }
}

fn run_one(name: String, work: Work<'_>) -> Done {
    say(&format!("\n== {name}"));
    let start = cistern_tests::wait::now();
    let failure = work().err().map(|error| format!("{error:#}"));
    if let Some(error) = &failure {
        say(&format!("FAILED: {error}"));
    }
    Done { name, took: start.elapsed(), failure }
}

/// The cargo command that runs us, with arguments, at the root of the workspace.
pub(crate) fn cargo(arguments: &[&str]) -> Command {
    let mut command = Command::new("cargo");
    command.args(arguments).current_dir(cistern_tests::workspace_root());
    command
}

/// A command as one would type it.
pub(crate) fn shown(command: &Command) -> String {
    let environment = command.get_envs().filter_map(|(name, value)| Some((name, value?)));
    let environment =
        environment.map(|(name, value)| format!("{}={} ", name.to_string_lossy(), value.to_string_lossy()));
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let words: Vec<_> = words.map(|word| word.to_string_lossy().into_owned()).collect();
    format!("{}{}", environment.collect::<String>(), words.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failing_step_does_not_stop_the_others_but_fails_the_whole() {
        let mut ran = Vec::new();
        let ran_by_steps = std::cell::RefCell::new(&mut ran);
        let result = Steps::default()
            .then("one", || {
                ran_by_steps.borrow_mut().push(1);
                bail!("no luck")
            })
            .then("two", || {
                ran_by_steps.borrow_mut().push(2);
                Ok(())
            })
            .run();
        assert_eq!(result.unwrap_err().to_string(), "1 of 2 steps failed");
        assert_eq!(ran, [1, 2]);
    }

    #[test]
    fn a_command_is_shown_with_its_environment() {
        let mut command = Command::new("cargo");
        command.arg("doc").env("RUSTDOCFLAGS", "-Dwarnings");
        assert_eq!(shown(&command), "RUSTDOCFLAGS=-Dwarnings cargo doc");
    }
}
