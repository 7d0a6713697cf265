//! The worker's side of the log: runs in the order of their offsets, and the end of those that are delivered.

use crate::recent_runs::RecentRuns;
use crate::registry::OUTPUTS_MAX;
use crate::rows::{OUTPUTS, PROGRESS, PipelineId, RUNS, RunRow, SHARED, SharedRow};
use crate::{Error, Result};
use bytes::{Bytes, BytesMut};
use cistern_metadata::{Commit, KeyRange, Scan, Transaction};
use cistern_objects::Objects;
use cistern_types::{PipelineName, Timestamp};
use futures::TryStreamExt as _;
use std::collections::VecDeque;
use std::time::Duration;

/// How many run rows are read at once.
const RUNS_PER_PAGE: usize = 64;

/// How many runs one transaction trims.
pub(crate) const RUNS_PER_TRIM: usize = 200;

/// How long the bytes of a trimmed run stay: another worker may just be reading it, to find that it has been superseded.
const TRIMMED_BLOB_KEPT: Duration = Duration::from_mins(1);

/// Events as they stand in the log: one a line.
#[derive(Debug, Clone)]
pub(crate) struct LoggedEvents {
    pub(crate) first: u64,
    pub(crate) events: u32,
    pub(crate) at: Timestamp,
    pub(crate) lines: Bytes,
}

/// Reads the log of one pipeline from some offset on.
#[derive(Debug)]
pub(crate) struct LogReader {
    id: PipelineId,
    name: PipelineName,
    next: u64,
    page: VecDeque<(u64, RunRow)>,
}

impl LogReader {
    /// A reader whose first run is the one that holds `from`, or the one after it.
    pub(crate) fn new(id: PipelineId, name: PipelineName, from: u64) -> Self {
        Self { id, name, next: from, page: VecDeque::new() }
    }

    /// The offset it has read up to.
    pub(crate) fn position(&self) -> u64 {
        self.next
    }

    /// The next run, or `None` at the end of the log: from `recent`, or from the drives.
    pub(crate) async fn next_run(&mut self, objects: &Objects, recent: &RecentRuns) -> Result<Option<LoggedEvents>> {
        if let Some(events) = recent.take(self.id, self.next) {
            self.page.pop_front();
            self.next = events.first + u64::from(events.events);
            return Ok(Some(events));
        }
        if self.page.is_empty() {
            self.page = page_from(objects, self.id, self.next).await?;
        }
        let Some((first, run)) = self.page.front().copied() else {
            return Ok(None);
        };
        if first > self.next {
            return Err(self.damaged("a run is missing"));
        }
        let lines = read_lines(objects, &run).await?;
        if memchr::memchr_iter(b'\n', &lines).count() != run.events as usize || lines.last() != Some(&b'\n') {
            return Err(self.damaged("it does not have as many events as its row says"));
        }
        self.page.pop_front();
        self.next = first + u64::from(run.events);
        Ok(Some(LoggedEvents { first, events: run.events, at: run.at, lines }))
    }

    fn damaged(&self, reason: &'static str) -> Error {
        Error::DamagedLog { name: self.name.clone(), offset: self.next, reason }
    }
}

/// The first runs of a stream from the one on that holds `offset`; if that is not in the log, from the next.
pub(crate) async fn page_from(objects: &Objects, stream: PipelineId, offset: u64) -> Result<VecDeque<(u64, RunRow)>> {
    let txn = objects.store().read().await?;
    let range = runs_from(&txn, stream, offset).await?;
    let rows = RUNS.scan_unchecked(&txn, &Scan::first(range, RUNS_PER_PAGE)).await?;
    // The first of them may end before it, when that one is missing.
    let ahead = rows.into_iter().filter(|((_, first), run)| first + u64::from(run.events) > offset);
    Ok(ahead.map(|((_, first), run)| (first, run)).collect())
}

/// The runs of a stream from the one on that holds `offset`, if there is one.
pub(crate) async fn runs_from(txn: &Transaction, stream: PipelineId, offset: u64) -> Result<KeyRange> {
    let all = RUNS.prefix_range(&stream);
    let up_to = all.clone().before(&RUNS.key_bytes(&(stream, offset.saturating_add(1))));
    let last = RUNS.scan_unchecked(txn, &Scan::last(up_to, 1)).await?;
    let from = last.first().map_or(offset, |((_, first), _)| *first);
    Ok(all.starting_at(&RUNS.key_bytes(&(stream, from))))
}

/// The events of a run, one a line.
pub(crate) async fn read_lines(objects: &Objects, run: &RunRow) -> Result<Bytes> {
    let range = run.position..run.position + run.length;
    let mut stream = objects.blobs().read(run.blob, range).await?;
    let first = stream.try_next().await?.unwrap_or_default();
    if first.len() as u64 == run.length {
        return Ok(first);
    }
    let mut lines = BytesMut::with_capacity(usize::try_from(run.length).unwrap_or(0));
    lines.extend_from_slice(&first);
    while let Some(piece) = stream.try_next().await? {
        lines.extend_from_slice(&piece);
    }
    Ok(lines.freeze())
}

/// Removes runs in the transaction and gives their blobs to the sweeper, each when its last run goes.
pub(crate) async fn remove_runs(
    objects: &Objects,
    txn: &mut Transaction,
    runs: &[((PipelineId, u64), RunRow)],
) -> Result<()> {
    let mut blobs = Vec::new();
    for (key, run) in runs {
        RUNS.delete(txn, key);
        if !run.shared {
            blobs.push(run.blob);
            continue;
        }
        match SHARED.get(txn, &run.blob).await? {
            Some(SharedRow { runs }) if runs > 1 => SHARED.put(txn, &run.blob, &SharedRow { runs: runs - 1 })?,
            Some(_) => {
                SHARED.delete(txn, &run.blob);
                blobs.push(run.blob);
            }
            None => {}
        }
    }
    Ok(objects.release_blobs(txn, &blobs, TRIMMED_BLOB_KEPT)?)
}

/// What is left to trim of a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ToTrim {
    /// Perhaps more at once.
    More,
    /// What is delivered, when it is as old as it is kept.
    At(Timestamp),
    /// Nothing that is delivered.
    Nothing,
}

/// Removes some of the runs that all outputs of a stream have delivered and that are older than they are kept.
pub(crate) async fn trim_some(objects: &Objects, stream: PipelineId, kept: Duration, now: Timestamp) -> Result<ToTrim> {
    let mut txn = objects.store().begin().await?;
    let (runs, next) = delivered_runs(&mut txn, stream, kept, now).await?;
    remove_runs(objects, &mut txn, &runs).await?;
    let committed = matches!(txn.commit().await?, Commit::Committed { .. });
    Ok(match next {
        _ if !committed || runs.len() == RUNS_PER_TRIM => ToTrim::More,
        Some(next) => ToTrim::At(next),
        None => ToTrim::Nothing,
    })
}

/// Runs of a stream that are in the objects of all its outputs and older than they are kept, read so that removing them
/// twice cannot happen; and when the next one will be. None while it has no output: its events wait for one.
async fn delivered_runs(
    txn: &mut Transaction,
    stream: PipelineId,
    kept: Duration,
    now: Timestamp,
) -> Result<(Vec<((PipelineId, u64), RunRow)>, Option<Timestamp>)> {
    let mut below = u64::MAX;
    for ((_, output), _) in OUTPUTS.scan(txn, &Scan::first(OUTPUTS.prefix_range(&stream), OUTPUTS_MAX)).await? {
        let progress = PROGRESS.get(txn, &output).await?;
        below = below.min(progress.map_or(0, |progress| progress.watermark));
    }
    if below == u64::MAX {
        return Ok((Vec::new(), None));
    }
    let range = RUNS.prefix_range(&stream).before(&RUNS.key_bytes(&(stream, below)));
    let mut runs = RUNS.scan(txn, &Scan::first(range, RUNS_PER_TRIM)).await?;
    runs.retain(|((_, first), run)| first + u64::from(run.events) <= below);
    let old = runs.partition_point(|(_, run)| run.at.plus(kept) <= now);
    let next = runs.get(old).map(|(_, run)| run.at.plus(kept));
    runs.truncate(old);
    Ok((runs, next))
}
