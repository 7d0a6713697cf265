//! How far a transfer is: a bar on a terminal, silence otherwise.

use bytes::Bytes;
use futures::{Stream, StreamExt as _};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::IsTerminal as _;

/// Drawings a second at most.
const DRAWS_PER_SECOND: u8 = 10;

/// A bar on stderr, hidden when that is no terminal.
#[derive(Debug, Clone)]
pub(super) struct Progress(ProgressBar);

impl Progress {
    /// A bar for `total_bytes`, or a counter when nobody knows.
    pub(super) fn new(verb: &'static str, total_bytes: Option<u64>) -> Self {
        let target = if std::io::stderr().is_terminal() {
            ProgressDrawTarget::stderr_with_hz(DRAWS_PER_SECOND)
        } else {
            ProgressDrawTarget::hidden()
        };
        let template = match total_bytes {
            Some(_) => "{bar:30} {bytes}/{total_bytes} {msg}, {bytes_per_sec}, {eta} left",
            None => "{bytes} {msg}, {bytes_per_sec}",
        };
        let style = ProgressStyle::with_template(template).expect("the templates above are well-formed");
        Self(ProgressBar::with_draw_target(total_bytes, target).with_style(style).with_message(verb))
    }

    /// The same pieces, counted as they pass.
    pub(super) fn count<S, E>(&self, pieces: S) -> impl Stream<Item = Result<Bytes, E>> + Send + Unpin + use<S, E>
    where
        S: Stream<Item = Result<Bytes, E>> + Send + Unpin,
    {
        let bar = self.0.clone();
        pieces.inspect(move |piece| {
            if let Ok(piece) = piece {
                bar.inc(piece.len() as u64);
            }
        })
    }

    /// Whether anybody sees it.
    pub(super) fn is_shown(&self) -> bool {
        !self.0.is_hidden()
    }

    /// So many bytes are done, of as many as are known of by now.
    pub(super) fn set(&self, bytes: u64, total_bytes: u64) {
        self.0.set_length(total_bytes);
        self.0.set_position(bytes);
    }

    /// Takes the bar away.
    pub(super) fn finish(&self) {
        self.0.finish_and_clear();
    }
}
