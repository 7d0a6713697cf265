//! How a server is asked to stop: the first SIGTERM, SIGINT or SIGHUP (its terminal was closed) begins a graceful stop, the second ends
//! the process. Whoever starts it with SIGHUP ignored, as `nohup` does, has it go on without its terminal.

use anyhow::Context as _;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// The exit code after a second signal.
const EXIT_IMPATIENT: i32 = 1;

/// The signals that stop a server.
#[derive(Debug)]
pub(crate) struct StopSignals {
    terminate: Signal,
    interrupt: Signal,
    /// `None` where it is ignored.
    hangup: Option<Signal>,
}

impl StopSignals {
    /// From here on the signals no longer end the process by themselves.
    pub(crate) fn new() -> anyhow::Result<Self> {
        let hangup = (!ignores_hangups()).then(|| signal(SignalKind::hangup())).transpose();
        Ok(Self {
            hangup: hangup.context("take SIGHUP")?,
            terminate: signal(SignalKind::terminate()).context("take SIGTERM")?,
            interrupt: signal(SignalKind::interrupt()).context("take SIGINT")?,
        })
    }

    /// Waits for the next signal.
    pub(crate) async fn next(&mut self) {
        let hangup = async {
            match &mut self.hangup {
                Some(hangup) => hangup.recv().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
            _ = hangup => {}
        }
    }

    /// Waits for one more signal, then ends the process at once. What was acknowledged is durable all the same.
    pub(crate) async fn end_at_next(mut self) {
        self.next().await;
        tracing::warn!("a second signal: the process ends without finishing its requests");
        std::process::exit(EXIT_IMPATIENT);
    }
}

/// Whether the process was started with SIGHUP ignored: bit 0 of a mask that Linux tells.
fn ignores_hangups() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).is_some_and(|mask| mask & 1 == 1)
}
