//! The queue of the log: appends and upkeep in the order of their stamps, and which of them are the next group.

use crate::append::Append;
use crate::config::DriveLogConfig;
use crate::error::Result;
use crate::stripe::encoded_bytes;
use crate::upkeep::Upkeep;
use std::collections::VecDeque;
use tokio::sync::{OwnedSemaphorePermit, oneshot};

/// Appends in one group at most.
const GROUP_APPENDS_MAX: usize = 4096;
/// From this part of the largest group on, a group is coded while another is written.
const LARGE_GROUP_SHARE: usize = 16;

/// What is in the queue.
#[derive(Debug)]
pub(crate) enum Work {
    Append(Append),
    /// A group of its own.
    Upkeep(Upkeep),
}

/// An entry of the queue.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) stamp: u64,
    pub(crate) work: Work,
    pub(crate) reply: oneshot::Sender<Result<()>>,
    /// Its room in the queue, given back when it is answered.
    pub(crate) permit: OwnedSemaphorePermit,
}

/// What waits to be written, and what decides whether more may.
#[derive(Debug)]
pub(crate) struct Queue {
    pub(crate) entries: VecDeque<Entry>,
    /// Somebody waits for an entry: without that they stay for the next group that is written anyway.
    pub(crate) urgent: bool,
    /// The committer waits for so many entries before it is woken for another; 0 while it waits for any.
    pub(crate) awaited: usize,
    pub(crate) next_stamp: u64,
    /// Goes up when a group fails.
    pub(crate) era: u64,
    pub(crate) closed: bool,
    /// Why no write is taken until the next open, if so.
    pub(crate) read_only: Option<String>,
    /// The last group found no room for a segment.
    pub(crate) full: bool,
}

impl Queue {
    /// An open queue whose first entry has the stamp `next_stamp`.
    pub(crate) fn new(next_stamp: u64) -> Self {
        Self {
            entries: VecDeque::new(),
            urgent: false,
            awaited: 0,
            next_stamp,
            era: 1,
            closed: false,
            read_only: None,
            full: false,
        }
    }

    /// Takes the entries of the next group: as many as fit, at least one when any waits.
    pub(crate) fn take_group(&mut self, config: &DriveLogConfig) -> Vec<Entry> {
        let (mut bytes, mut taken) = (0, 0);
        for entry in self.entries.iter().take(GROUP_APPENDS_MAX) {
            let Work::Append(append) = &entry.work else {
                taken = taken.max(1);
                break;
            };
            bytes += encoded_bytes(append, config.data);
            if taken > 0 && bytes > config.group_bytes_max {
                break;
            }
            taken += 1;
        }
        let group = self.entries.drain(..taken).collect();
        self.urgent &= !self.entries.is_empty();
        group
    }

    /// Whether what waits makes a group that is worth coding by itself.
    pub(crate) fn large_group_waits(&self, config: &DriveLogConfig) -> bool {
        let appends = self.entries.iter().map_while(|entry| match &entry.work {
            Work::Append(append) => Some(encoded_bytes(append, config.data)),
            Work::Upkeep(_) => None,
        });
        let sums = appends.scan(0, |sum, bytes| {
            *sum += bytes;
            Some(*sum)
        });
        self.urgent && sums.take(GROUP_APPENDS_MAX).any(|sum| sum >= config.group_bytes_max / LARGE_GROUP_SHARE)
    }
}
