//! What was logged last, still in memory: a worker need not read from the drives what has just been written there.
//!
//! The log puts runs in once they are durable; readers look here first. What is not here is in the log, so that anything may be
//! forgotten at any time: what does not fit, all of it with the process.
//!
//! A worker that is behind needs the oldest of its runs next, so that when there is no room it is the newest that go, of the stream that
//! has most. Before those go such as one of several readers has taken already.

use crate::reader::LoggedEvents;
use crate::rows::PipelineId;
use parking_lot::Mutex;
use std::collections::BTreeMap;

/// Runs of all streams, in a bounded number of bytes.
#[derive(Debug)]
pub(crate) struct RecentRuns {
    held: Mutex<Held>,
    bytes_max: usize,
}

/// The stream and the offset of its first event.
type Place = (PipelineId, u64);

#[derive(Debug, Default)]
struct Held {
    by_place: BTreeMap<Place, Run>,
    /// Those that a reader has taken and left here for others, by the number of the taking.
    read: BTreeMap<u64, Place>,
    /// How many have been.
    takings: u64,
    bytes: usize,
    bytes_of: BTreeMap<PipelineId, usize>,
}

#[derive(Debug)]
struct Run {
    events: LoggedEvents,
    /// Its number in [`Held::read`].
    read: Option<u64>,
}

impl Held {
    fn insert(&mut self, stream: PipelineId, events: LoggedEvents) {
        let bytes = events.lines.len();
        self.bytes += bytes;
        *self.bytes_of.entry(stream).or_default() += bytes;
        self.by_place.insert((stream, events.first), Run { events, read: None });
    }

    fn remove(&mut self, place: Place) -> Option<LoggedEvents> {
        let Run { events, read } = self.by_place.remove(&place)?;
        if let Some(number) = read {
            self.read.remove(&number);
        }
        self.bytes -= events.lines.len();
        let left = self.bytes_of.get(&place.0).map_or(0, |bytes| bytes - events.lines.len());
        if left > 0 {
            self.bytes_of.insert(place.0, left);
        } else {
            self.bytes_of.remove(&place.0);
        }
        Some(events)
    }

    /// Removes what a stream has before a place.
    fn remove_before(&mut self, place: Place) {
        while let Some((passed, _)) = self.by_place.range((place.0, 0)..place).next() {
            self.remove(*passed);
        }
    }

    /// A copy of a run that other readers want too.
    fn read(&mut self, place: Place) -> Option<LoggedEvents> {
        let run = self.by_place.get_mut(&place)?;
        if run.read.is_none() {
            run.read = Some(self.takings);
            self.read.insert(self.takings, place);
            self.takings += 1;
        }
        Some(run.events.clone())
    }

    /// What can best be done without.
    fn least_wanted(&self) -> Option<Place> {
        if let Some(place) = self.read.values().next() {
            return Some(*place);
        }
        let (stream, _) = self.bytes_of.iter().max_by_key(|(_, bytes)| **bytes)?;
        self.by_place.range((*stream, 0)..=(*stream, u64::MAX)).next_back().map(|(place, _)| *place)
    }
}

impl RecentRuns {
    /// Room for so many bytes of events.
    pub(crate) fn new(bytes_max: usize) -> Self {
        Self { held: Mutex::default(), bytes_max }
    }

    /// Keeps a run that is in the log, as far as there is room.
    pub(crate) fn put(&self, stream: PipelineId, events: LoggedEvents) {
        let mut held = self.held.lock();
        held.insert(stream, events);
        while held.bytes > self.bytes_max
            && let Some(place) = held.least_wanted()
        {
            held.remove(place);
        }
    }

    /// The run of a stream that begins at `first`. It is forgotten when its `last` reader takes it, with those before it.
    pub(crate) fn take(&self, stream: PipelineId, first: u64, last: bool) -> Option<LoggedEvents> {
        let mut held = self.held.lock();
        if last {
            held.remove_before((stream, first));
            held.remove((stream, first))
        } else {
            held.read((stream, first))
        }
    }

    /// Forgets a stream.
    pub(crate) fn forget(&self, stream: PipelineId) {
        self.held.lock().remove_before((stream, u64::MAX));
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

    fn has(recent: &RecentRuns, stream: PipelineId, first: u64) -> bool {
        recent.held.lock().by_place.contains_key(&(stream, first))
    }

    #[test]
    fn a_reader_that_is_behind_finds_what_it_needs_next() {
        let (recent, stream, other) = (RecentRuns::new(100), PipelineId::random(), PipelineId::random());
        for first in 0..4 {
            recent.put(stream, run(first, 40));
        }
        assert_eq!([0, 1, 2, 3].map(|first| has(&recent, stream, first)), [true, true, false, false]);
        recent.put(other, run(0, 40));
        assert!(has(&recent, stream, 0) && !has(&recent, stream, 1), "the stream with most makes room");
        assert_eq!(recent.take(stream, 0, true).map(|run| run.lines.len()), Some(40));
        assert!(recent.take(stream, 0, true).is_none());
        recent.put(stream, run(4, 60));
        assert!(recent.take(stream, 4, true).is_some() && recent.take(other, 0, true).is_some());
        assert_nothing_is_left(&recent);
    }

    #[test]
    fn what_one_of_several_readers_has_taken_goes_first() {
        let (recent, stream, other) = (RecentRuns::new(100), PipelineId::random(), PipelineId::random());
        recent.put(stream, run(0, 10));
        recent.put(stream, run(1, 10));
        recent.put(other, run(0, 60));
        for first in [1, 0, 1] {
            assert!(recent.take(stream, first, false).is_some());
        }
        recent.put(other, run(1, 30));
        assert_eq!([0, 1].map(|first| has(&recent, stream, first)), [true, false]);
        recent.put(other, run(2, 30));
        assert_eq!([0, 1, 2].map(|first| has(&recent, other, first)), [true, true, false]);
        assert!(!has(&recent, stream, 0));
        assert!(recent.take(other, 0, true).is_some() && recent.take(other, 1, true).is_some());
        assert_nothing_is_left(&recent);
    }

    #[track_caller]
    fn assert_nothing_is_left(recent: &RecentRuns) {
        let held = recent.held.lock();
        assert_eq!((held.bytes, held.by_place.len(), held.read.len(), held.bytes_of.len()), (0, 0, 0, 0));
    }

    #[test]
    fn runs_that_are_taken_leave_nothing_behind_while_another_stays() {
        let (recent, stays, taken) = (RecentRuns::new(100), PipelineId::random(), PipelineId::random());
        recent.put(stays, run(0, 40));
        for first in 0..1000 {
            recent.put(taken, run(first, 40));
            assert!(recent.take(taken, first, first % 2 == 0).is_some());
            recent.take(taken, first, true);
        }
        assert!(recent.take(stays, 0, true).is_some());
        assert_nothing_is_left(&recent);
    }

    #[test]
    fn what_is_passed_or_of_a_stream_that_is_gone_is_forgotten() {
        let (recent, stream, other) = (RecentRuns::new(100), PipelineId::random(), PipelineId::random());
        recent.put(other, run(0, 10));
        for first in 0..4 {
            recent.put(stream, run(first, 10));
        }
        assert!(recent.take(stream, 2, true).is_some());
        assert_eq!([0, 1, 3].map(|first| has(&recent, stream, first)), [false, false, true]);
        recent.forget(stream);
        assert!(!has(&recent, stream, 3) && has(&recent, other, 0));
        recent.forget(other);
        assert_nothing_is_left(&recent);
    }

    #[test]
    fn a_run_that_is_larger_than_all_room_is_not_kept() {
        let (recent, stream) = (RecentRuns::new(100), PipelineId::random());
        recent.put(stream, run(0, 101));
        assert!(recent.take(stream, 0, true).is_none());
        assert_nothing_is_left(&recent);
    }
}
