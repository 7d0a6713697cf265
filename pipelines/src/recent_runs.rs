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
    /// By stream and first offset, with the number each was put in with.
    by_place: BTreeMap<(PipelineId, u64), (u64, LoggedEvents)>,
    /// Where they stand by that number: the oldest first.
    order: BTreeMap<u64, (PipelineId, u64)>,
    /// How many have ever been put in.
    count: u64,
    bytes: usize,
}

impl Held {
    fn remove(&mut self, place: (PipelineId, u64)) -> Option<LoggedEvents> {
        let (number, events) = self.by_place.remove(&place)?;
        self.order.remove(&number);
        self.bytes -= events.lines.len();
        Some(events)
    }
}

impl RecentRuns {
    /// Room for so many bytes of events.
    pub(crate) fn new(bytes_max: usize) -> Self {
        Self { held: Mutex::default(), bytes_max }
    }

    /// Keeps a run that is in the log, and forgets the oldest when there is no room.
    pub(crate) fn put(&self, stream: PipelineId, events: LoggedEvents) {
        let mut held = self.held.lock();
        let (place, number) = ((stream, events.first), held.count);
        held.count += 1;
        held.bytes += events.lines.len();
        held.order.insert(number, place);
        held.by_place.insert(place, (number, events));
        while held.bytes > self.bytes_max
            && let Some(oldest) = held.order.values().next().copied()
        {
            held.remove(oldest);
        }
    }

    /// The run of a stream that begins at `first`. It is forgotten when its `last` reader takes it.
    pub(crate) fn take(&self, stream: PipelineId, first: u64, last: bool) -> Option<LoggedEvents> {
        let mut held = self.held.lock();
        let place = (stream, first);
        if last { held.remove(place) } else { held.by_place.get(&place).map(|(_, events)| events.clone()) }
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
    fn the_oldest_runs_are_forgotten_and_the_last_reader_takes_its_own() {
        let (recent, stream, other) = (RecentRuns::new(100), PipelineId::random(), PipelineId::random());
        recent.put(stream, run(0, 40));
        recent.put(other, run(0, 40));
        assert_eq!(recent.take(stream, 0, false).map(|run| run.lines.len()), Some(40));
        assert_eq!(recent.take(stream, 0, true).map(|run| run.lines.len()), Some(40));
        assert!(recent.take(stream, 0, true).is_none() && recent.take(other, 1, true).is_none());
        recent.put(stream, run(1, 50));
        recent.put(stream, run(2, 50));
        assert!(recent.take(other, 0, true).is_none(), "it was the oldest");
        assert!(recent.take(stream, 1, true).is_some() && recent.take(stream, 2, true).is_some());
        let held = recent.held.lock();
        assert_eq!((held.bytes, held.by_place.len(), held.order.len()), (0, 0, 0));
    }

    #[test]
    fn runs_that_are_taken_leave_nothing_behind_while_another_stays() {
        let (recent, stays, taken) = (RecentRuns::new(100), PipelineId::random(), PipelineId::random());
        recent.put(stays, run(0, 40));
        for first in 0..1000 {
            recent.put(taken, run(first, 40));
            assert!(recent.take(taken, first, true).is_some());
        }
        let held = recent.held.lock();
        assert_eq!((held.bytes, held.by_place.len(), held.order.len()), (40, 1, 1));
    }

    #[test]
    fn a_run_that_is_larger_than_all_room_is_not_kept() {
        let (recent, stream) = (RecentRuns::new(100), PipelineId::random());
        recent.put(stream, run(0, 101));
        assert!(recent.take(stream, 0, true).is_none());
        assert_eq!(recent.held.lock().bytes, 0);
    }
}
