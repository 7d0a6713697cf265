//! How a server is asked to stop: the first SIGTERM or SIGINT begins a graceful stop, the second ends the process.

use anyhow::Context as _;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// The exit code after a second signal.
const EXIT_IMPATIENT: i32 = 1;

/// The signals that stop a server.
#[derive(Debug)]
pub(crate) struct StopSignals {
    terminate: Signal,
    interrupt: Signal,
}

impl StopSignals {
    /// From here on the signals no longer end the process by themselves.
    pub(crate) fn new() -> anyhow::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate()).context("take SIGTERM")?,
            interrupt: signal(SignalKind::interrupt()).context("take SIGINT")?,
        })
    }

    /// Waits for the next signal.
    pub(crate) async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }

    /// Waits for one more signal, then ends the process at once. What was acknowledged is durable all the same.
    pub(crate) async fn end_at_next(mut self) {
        self.next().await;
        tracing::warn!("a second signal: the process ends without finishing its requests");
        std::process::exit(EXIT_IMPATIENT);
    }
}
