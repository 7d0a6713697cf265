//! What was logged last, still in memory: a worker that keeps up need not read from the drives what has just been written there.
//!
//! The log puts runs in once they are durable; readers look here first. What is not here is in the log, so that anything may be
//! forgotten at any time: the oldest is when there is no room, all of it with the process.

use crate::reader::LoggedEvents;
use crate::rows::PipelineId;
use parking_lot::Mutex;
use std::collections::{BTreeMap, VecDeque};

/// The newest runs of all streams, in a bounded number of bytes.
#[derive(Debug)]
pub(crate) struct RecentRuns {
    held: Mutex<Held>,
    bytes_max: usize,
}

#[derive(Debug, Default)]
struct Held {
    by_place: BTreeMap<(PipelineId, u64), LoggedEvents>,
    /// Where they stand, the oldest first; some of them are gone already.
    order: VecDeque<(PipelineId, u64)>,
    bytes: usize,
}

impl Held {
    fn remove(&mut self, place: (PipelineId, u64)) -> Option<LoggedEvents> {
        let events = self.by_place.remove(&place)?;
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
        let place = (stream, events.first);
        held.bytes += events.lines.len();
        held.order.push_back(place);
        held.by_place.insert(place, events);
        while held.bytes > self.bytes_max
            && let Some(oldest) = held.order.pop_front()
        {
            held.remove(oldest);
        }
    }

    /// The run of a stream that begins at `first`. It is forgotten when its `last` reader takes it.
    pub(crate) fn take(&self, stream: PipelineId, first: u64, last: bool) -> Option<LoggedEvents> {
        let mut held = self.held.lock();
        if !last {
            return held.by_place.get(&(stream, first)).cloned();
        }
        let taken = held.remove((stream, first));
        if held.by_place.is_empty() {
            held.order.clear();
        }
        taken
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
    fn a_run_that_is_larger_than_all_room_is_not_kept() {
        let (recent, stream) = (RecentRuns::new(100), PipelineId::random());
        recent.put(stream, run(0, 101));
        assert!(recent.take(stream, 0, true).is_none());
        assert_eq!(recent.held.lock().bytes, 0);
    }
}
