//! A stream's log as people look at it: from some event on to the last, and on as more come.
//!
//! ```text
//! {"offset":7,"at":"2026-11-26T18:00:00.000Z","event":{…}}
//! {"offset":8,"at":"…","reason":"an event must be a JSON object","event":"oops"}     one that will be a dead letter
//! {"skipped":12}                                                                     these were in the log and are no more
//! ```
//! Events are in the log until they are in objects and as old as the pipeline's retention says.

use crate::live::Live;
use crate::reader::{page_from, read_lines};
use crate::rejected::{is_rejected, read_line};
use crate::rows::RunRow;
use crate::{ErrorKind, Result};
use bytes::Bytes;
use cistern_objects::Objects;
use cistern_runtime::Shutdown;
use std::collections::VecDeque;
use std::sync::Arc;

/// Where to begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TailFrom {
    /// With the oldest event that is in the log.
    Oldest,
    /// With the next event that comes.
    Newest,
    /// With the event at this offset.
    Offset(u64),
}

/// A walk along the log of a stream.
#[derive(Debug)]
pub struct Tail {
    objects: Objects,
    live: Arc<Live>,
    shutdown: Shutdown,
    next: u64,
    /// Whether what is missing before the first event is told.
    tell_skipped: bool,
    follow: bool,
    page: VecDeque<(u64, RunRow)>,
}

impl Tail {
    pub(crate) fn new(objects: Objects, live: Arc<Live>, shutdown: Shutdown, from: TailFrom, follow: bool) -> Self {
        let next = match from {
            TailFrom::Oldest => 0,
            TailFrom::Newest => live.head_next(),
            TailFrom::Offset(offset) => offset,
        };
        let tell_skipped = from != TailFrom::Oldest;
        Self { objects, live, shutdown, next, tell_skipped, follow, page: VecDeque::new() }
    }

    /// Lines of the next events, some at once; `None` at the end of the log, or when the stream or the server ends.
    pub async fn next(&mut self) -> Result<Option<Bytes>> {
        loop {
            let Some((first, run)) = self.next_run().await? else { return Ok(None) };
            let lines = match read_lines(&self.objects, &run).await {
                Ok(lines) => lines,
                // It was delivered and trimmed while the events before were on their way to whoever is looking.
                Err(error) if error.kind() == ErrorKind::Corrupt && self.is_gone(first).await? => {
                    self.page.clear();
                    continue;
                }
                Err(error) => return Err(error),
            };
            let mut shown = Vec::with_capacity(lines.len() * 2);
            if first > self.next && self.tell_skipped {
                shown.extend_from_slice(format!("{{\"skipped\":{}}}\n", first - self.next).as_bytes());
            }
            let at = run.at.to_string();
            let fresh = (first..).zip(lines.split(|byte| *byte == b'\n')).filter(|(_, line)| !line.is_empty());
            for (offset, line) in fresh.filter(|(offset, _)| *offset >= self.next) {
                show(offset, &at, line, &mut shown);
            }
            self.next = first + u64::from(run.events);
            self.tell_skipped = true;
            return Ok(Some(shown.into()));
        }
    }

    async fn next_run(&mut self) -> Result<Option<(u64, RunRow)>> {
        let mut heads = self.live.heads();
        loop {
            if let Some(run) = self.page.pop_front() {
                return Ok(Some(run));
            }
            self.page = page_from(&self.objects, self.live.id(), self.next).await?;
            if !self.page.is_empty() {
                continue;
            }
            if !self.follow || self.live.is_removed() {
                return Ok(None);
            }
            tokio::select! {
                grown = heads.changed() => if grown.is_err() { return Ok(None) },
                () = self.shutdown.begun() => return Ok(None),
            }
        }
    }

    async fn is_gone(&self, first: u64) -> Result<bool> {
        let page = page_from(&self.objects, self.live.id(), first).await?;
        Ok(page.front().is_none_or(|(found, _)| *found != first))
    }
}

fn show(offset: u64, at: &str, line: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(format!("{{\"offset\":{offset},\"at\":\"{at}\",").as_bytes());
    if let Some((reason, value)) = read_line(line).filter(|_| is_rejected(line)) {
        let reason = serde_json::Value::from(reason);
        out.extend_from_slice(format!("\"reason\":{reason},\"event\":").as_bytes());
        out.extend_from_slice(value.get().as_bytes());
    } else {
        out.extend_from_slice(b"\"event\":");
        out.extend_from_slice(line);
    }
    out.extend_from_slice(b"}\n");
}
