//! What was logged last, still in memory: a worker that keeps up need not read from the drives what has just been written there.
//!
//! The log puts runs in once they are durable; readers look here first. What is not here is in the log, so that anything may be
//! forgotten at any time: the oldest is when there is no room, all of it with the process.

use crate::reader::LoggedEvents;
use crate::rows::PipelineId;
use parking_lot::Mutex;
use std::collections::BTreeMap;

/// The newest runs of all streams, in a bounded number of bytes.
#[derive(Debug)]
pub(crate) struct RecentRuns {
    held: Mutex<Held>,
    bytes_max: usize,
}

#[derive(Debug, Default)]
struct Held {
    /// By stream and first offset.
    by_place: BTreeMap<(PipelineId, u64), HeldRun>,
    /// Where they stand by that number: the oldest first.
    order: BTreeMap<u64, (PipelineId, u64)>,
    /// How many have ever been put in.
    count: u64,
    bytes: usize,
}

#[derive(Debug)]
struct HeldRun {
    /// The number it was put in with.
    number: u64,
    events: LoggedEvents,
    /// How many have not taken it yet.
    readers: usize,
}

impl Held {
    fn remove(&mut self, place: (PipelineId, u64)) {
        if let Some(run) = self.by_place.remove(&place) {
            self.order.remove(&run.number);
            self.bytes -= run.events.lines.len();
        }
    }
}

impl RecentRuns {
    /// Room for so many bytes of events.
    pub(crate) fn new(bytes_max: usize) -> Self {
        Self { held: Mutex::default(), bytes_max }
    }

    /// Keeps a run that is in the log for so many readers, and forgets the oldest when there is no room.
    pub(crate) fn put(&self, stream: PipelineId, events: LoggedEvents, readers: usize) {
        if readers == 0 {
            return;
        }
        let mut held = self.held.lock();
        let (place, number) = ((stream, events.first), held.count);
        held.count += 1;
        held.bytes += events.lines.len();
        held.order.insert(number, place);
        held.by_place.insert(place, HeldRun { number, events, readers });
        while held.bytes > self.bytes_max
            && let Some(oldest) = held.order.values().next().copied()
        {
            held.remove(oldest);
        }
    }

    /// The run of a stream that begins at `first`. It is forgotten when as many have taken it as there were readers.
    pub(crate) fn take(&self, stream: PipelineId, first: u64) -> Option<LoggedEvents> {
        let mut held = self.held.lock();
        let run = held.by_place.get_mut(&(stream, first))?;
        run.readers -= 1;
        let (events, taken_by_all) = (run.events.clone(), run.readers == 0);
        if taken_by_all {
            held.remove((stream, first));
        }
        Some(events)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use cistern_types::Timestamp;

    fn run(first: u64, bytes: usize) -> LoggedEvents {
        LoggedEvents { first, events: 1, at: Timestamp::default(), lines: Bytes::from(vec![b'x'; bytes]) }
    }

    #[test]
    fn the_oldest_runs_are_forgotten_and_those_that_all_have_taken() {
        let (recent, stream, other) = (RecentRuns::new(100), PipelineId::random(), PipelineId::random());
        recent.put(stream, run(0, 40), 2);
        recent.put(other, run(0, 40), 1);
        assert_eq!(recent.take(stream, 0).map(|run| run.lines.len()), Some(40));
        assert_eq!(recent.take(stream, 0).map(|run| run.lines.len()), Some(40));
        assert!(recent.take(stream, 0).is_none() && recent.take(other, 1).is_none());
        recent.put(stream, run(1, 50), 1);
        recent.put(stream, run(2, 50), 1);
        assert!(recent.take(other, 0).is_none(), "it was the oldest");
        assert!(recent.take(stream, 1).is_some() && recent.take(stream, 2).is_some());
        let held = recent.held.lock();
        assert_eq!((held.bytes, held.by_place.len(), held.order.len()), (0, 0, 0));
    }

    #[test]
    fn runs_that_are_taken_leave_nothing_behind_while_another_stays() {
        let (recent, stays, taken) = (RecentRuns::new(100), PipelineId::random(), PipelineId::random());
        recent.put(stays, run(0, 40), 1);
        for first in 0..1000 {
            recent.put(taken, run(first, 40), 1);
            assert!(recent.take(taken, first).is_some());
        }
        let held = recent.held.lock();
        assert_eq!((held.bytes, held.by_place.len(), held.order.len()), (40, 1, 1));
    }

    #[test]
    fn a_run_that_is_larger_than_all_room_or_that_nobody_reads_is_not_kept() {
        let (recent, stream) = (RecentRuns::new(100), PipelineId::random());
        recent.put(stream, run(0, 101), 1);
        recent.put(stream, run(1, 10), 0);
        assert!(recent.take(stream, 0).is_none() && recent.take(stream, 1).is_none());
        assert_eq!(recent.held.lock().bytes, 0);
    }
}
