//! The batches of one pipeline that are still growing, and those that wait for delivery. Pure: no clock, no I/O.
//!
//! A batch closes at its size, its rows, its age, or, when memory runs short, because it is the largest. Closed batches
//! are delivered in the order they closed, which for one key value is the order of its events.

use crate::BatchSpec;
use crate::batch::Batch;
use crate::partition::NO_KEY;
use bytes::Bytes;
use cistern_types::Timestamp;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::ops::Range;
use std::sync::Arc;

/// Open and closed batches.
#[derive(Debug, Default)]
pub(crate) struct Batcher {
    open: HashMap<Arc<[u8]>, Batch>,
    /// The open batches by their first offset, which is the order they were opened in.
    by_first: BTreeMap<u64, Arc<[u8]>>,
    closed: VecDeque<Batch>,
    memory_bytes: usize,
    /// What time it is, as it was told last. Events may say that they were logged later, when a clock was ahead: they wait from now on.
    now: Option<Timestamp>,
}

impl Batcher {
    /// Adds events of one key value, which stand at their places in `run`, and closes each batch that is full.
    pub(crate) fn push(
        &mut self,
        spec: &BatchSpec,
        partition: &[u8],
        at: Timestamp,
        run: &Bytes,
        events: impl Iterator<Item = (u64, Range<usize>)>,
    ) {
        let mut events = events.peekable();
        while let Some((first, line)) = events.peek().cloned() {
            let batch = self.open(partition, first, at);
            let before = batch.memory_bytes();
            let mut lines = line.start..line.start;
            let mut full = false;
            while !full && let Some((offset, line)) = events.next_if(|(_, line)| line.start == lines.end) {
                batch.count(offset, line.len());
                lines.end = line.end;
                full = batch.bytes() as u64 >= spec.size.as_u64() || batch.rows() >= spec.rows;
            }
            batch.extend(run, lines);
            let (first, grown) = (batch.first_offset(), batch.memory_bytes() - before);
            self.memory_bytes += grown;
            if full {
                self.close(first);
            }
        }
    }

    /// Adds the `events` of a run, from the one at `first` on, none of which has a key value, if that fills no batch: it is told
    /// without a look at each.
    pub(crate) fn push_whole(&mut self, spec: &BatchSpec, first: u64, events: u32, at: Timestamp, run: &Bytes) -> bool {
        let (bytes, rows) = self.open.get(NO_KEY).map_or((0, 0), |batch| (batch.bytes(), batch.rows()));
        let fills = (bytes + run.len()) as u64 >= spec.size.as_u64() || rows + u64::from(events) >= spec.rows;
        if fills {
            return false;
        }
        let batch = self.open(NO_KEY, first, at);
        let before = batch.memory_bytes();
        batch.count_many(first, u64::from(events), run.len());
        batch.extend(run, 0..run.len());
        let grown = batch.memory_bytes() - before;
        self.memory_bytes += grown;
        true
    }

    /// The open batch of a key value; when there is none, a new one that begins with the event at `first`.
    fn open(&mut self, partition: &[u8], first: u64, at: Timestamp) -> &mut Batch {
        if !self.open.contains_key(partition) {
            let partition: Arc<[u8]> = partition.into();
            let waits_since = self.now.map_or(at, |now| at.min(now));
            let batch = Batch::new(Arc::clone(&partition), first, at).waiting_since(waits_since);
            self.memory_bytes += batch.memory_bytes();
            self.by_first.insert(first, Arc::clone(&partition));
            self.open.insert(partition, batch);
        }
        self.open.get_mut(partition).expect("it was put there if it was missing")
    }

    fn close(&mut self, first: u64) {
        let partition = self.by_first.remove(&first).expect("every open batch stands under its first offset");
        self.closed.push_back(self.open.remove(&partition).expect("both maps hold the same batches"));
    }

    /// Closes the batches that are as old at `now` as batches may become.
    pub(crate) fn close_due(&mut self, spec: &BatchSpec, now: Timestamp) {
        self.now = Some(now);
        // Log times never step back, so the first opened is the first due.
        while let Some(first) = self.first_open().filter(|batch| batch.waits_since().plus(spec.timeout) <= now) {
            let first = first.first_offset();
            self.close(first);
        }
    }

    /// Closes the largest batches until the open ones take at most `memory_bytes`.
    pub(crate) fn relieve(&mut self, memory_bytes: usize) {
        let mut sizes: Vec<(usize, u64)> =
            self.open.values().map(|batch| (batch.memory_bytes(), batch.first_offset())).collect();
        sizes.sort_unstable_by(|a, b| b.cmp(a));
        let mut open_bytes: usize = sizes.iter().map(|(bytes, _)| bytes).sum();
        for (bytes, first) in sizes {
            if open_bytes <= memory_bytes {
                break;
            }
            self.close(first);
            open_bytes -= bytes;
        }
    }

    /// Closes every batch.
    pub(crate) fn close_all(&mut self) {
        while let Some((first, _)) = self.by_first.first_key_value() {
            let first = *first;
            self.close(first);
        }
    }

    fn first_open(&self) -> Option<&Batch> {
        let (_, partition) = self.by_first.first_key_value()?;
        self.open.get(partition)
    }

    /// When the next batch becomes due.
    pub(crate) fn next_due(&self, spec: &BatchSpec) -> Option<Timestamp> {
        self.first_open().map(|batch| batch.waits_since().plus(spec.timeout))
    }

    /// Takes closed batches, the first closed first: at most `count`, and no more once they have `bytes`.
    pub(crate) fn take_closed(&mut self, count: usize, bytes: usize) -> Vec<Batch> {
        let mut taken: Vec<Batch> = Vec::new();
        let mut taken_bytes = 0;
        while taken.len() < count
            && taken_bytes < bytes
            && let Some(batch) = self.closed.pop_front()
        {
            taken_bytes += batch.bytes();
            self.memory_bytes -= batch.memory_bytes();
            taken.push(batch);
        }
        taken
    }

    pub(crate) fn has_closed(&self) -> bool {
        !self.closed.is_empty()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.open.is_empty() && self.closed.is_empty()
    }

    /// The batch with the first offset of all it holds, which is the oldest too: log times never step back.
    pub(crate) fn first(&self) -> Option<&Batch> {
        self.first_open().into_iter().chain(&self.closed).min_by_key(|batch| batch.first_offset())
    }

    /// What its batches take of memory, about.
    pub(crate) fn memory_bytes(&self) -> usize {
        self.memory_bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cistern_types::ByteSize;
    use proptest::prelude::*;
    use stats_alloc::{INSTRUMENTED_SYSTEM, Region};
    use std::time::Duration;

    fn spec(bytes: u64, rows: u64) -> BatchSpec {
        BatchSpec { size: ByteSize::bytes(bytes), rows, timeout: Duration::from_secs(10), json_key: None }
    }

    fn push(batcher: &mut Batcher, spec: &BatchSpec, partition: &[u8], offset: u64, at: Timestamp, event: &[u8]) {
        let line = Bytes::from([event, b"\n"].concat());
        batcher.push(spec, partition, at, &line, std::iter::once((offset, 0..line.len())));
    }

    fn at(second: u64) -> Timestamp {
        Timestamp::from_millis(second * 1000)
    }

    /// The batches that have closed: key, first, last, rows.
    fn closed(batcher: &mut Batcher) -> Vec<(String, u64, u64, u64)> {
        let describe = |batch: Batch| {
            let partition = String::from_utf8(batch.partition().to_vec()).unwrap();
            (partition, batch.first_offset(), batch.last_offset(), batch.rows())
        };
        batcher.take_closed(usize::MAX, usize::MAX).into_iter().map(describe).collect()
    }

    fn row(key: &str, first: u64, last: u64, rows: u64) -> (String, u64, u64, u64) {
        (key.to_owned(), first, last, rows)
    }

    #[test]
    fn a_batch_closes_at_its_rows_or_bytes_and_keys_do_not_mix() {
        let mut batcher = Batcher::default();
        for (offset, key) in ["a", "b", "a", "a", "b"].iter().enumerate() {
            push(&mut batcher, &spec(1_000, 2), key.as_bytes(), offset as u64, at(0), b"{}");
        }
        assert_eq!(closed(&mut batcher), [row("a", 0, 2, 2), row("b", 1, 4, 2)]);
        assert_eq!(batcher.first().map(Batch::first_offset), Some(3));
        let mut batcher = Batcher::default();
        push(&mut batcher, &spec(6, 100), b"", 0, at(0), b"{}");
        assert!(!batcher.has_closed());
        push(&mut batcher, &spec(6, 100), b"", 1, at(0), b"{}");
        assert_eq!(closed(&mut batcher), [row("", 0, 1, 2)]);
        assert!(batcher.is_empty());
        assert_eq!(batcher.memory_bytes(), 0);
    }

    #[test]
    fn a_batch_closes_when_its_first_event_is_old_enough() {
        let spec = spec(1_000, 100);
        let mut batcher = Batcher::default();
        push(&mut batcher, &spec, b"a", 0, at(0), b"{}");
        push(&mut batcher, &spec, b"b", 1, at(4), b"{}");
        push(&mut batcher, &spec, b"a", 2, at(9), b"{}");
        assert_eq!(batcher.next_due(&spec), Some(at(10)));
        batcher.close_due(&spec, at(9));
        assert!(!batcher.has_closed());
        batcher.close_due(&spec, at(10));
        assert_eq!(closed(&mut batcher), [row("a", 0, 2, 2)]);
        assert_eq!(batcher.next_due(&spec), Some(at(14)));
        batcher.close_due(&spec, at(14));
        assert_eq!(closed(&mut batcher), [row("b", 1, 1, 1)]);
        assert_eq!(batcher.next_due(&spec), None);
    }

    #[test]
    fn events_of_a_clock_that_was_ahead_wait_from_when_they_are_read() {
        let spec = spec(1_000, 100);
        let mut batcher = Batcher::default();
        batcher.close_due(&spec, at(5));
        push(&mut batcher, &spec, b"a", 0, at(3_600), b"{}");
        batcher.close_due(&spec, at(8));
        push(&mut batcher, &spec, b"a", 1, at(3_600), b"{}");
        assert_eq!(batcher.next_due(&spec), Some(at(15)));
        assert_eq!(batcher.first().unwrap().opened_at(), at(3_600), "its name says what the log says");
        batcher.close_due(&spec, at(15));
        assert_eq!(closed(&mut batcher), [row("a", 0, 1, 2)]);
    }

    #[test]
    fn under_pressure_the_largest_close_first() {
        let spec = spec(1 << 30, 1 << 20);
        let mut batcher = Batcher::default();
        let mut offset = 0;
        for (key, events) in [("small", 1), ("large", 100), ("middle", 10)] {
            for _ in 0..events {
                push(&mut batcher, &spec, key.as_bytes(), offset, at(0), &[b'x'; 99]);
                offset += 1;
            }
        }
        batcher.relieve(3_000);
        assert_eq!(closed(&mut batcher), [row("large", 1, 100, 100)]);
        batcher.relieve(0);
        assert_eq!(closed(&mut batcher), [row("middle", 101, 110, 10), row("small", 0, 0, 1)]);
    }

    #[test]
    fn a_hundred_thousand_keys_fit_into_64_mb() {
        let spec = BatchSpec::default();
        let mut batcher = Batcher::default();
        for offset in 0..100_000 {
            push(&mut batcher, &spec, format!("u_{offset:08}").as_bytes(), offset, at(0), &[b'x'; 200]);
        }
        assert!(batcher.memory_bytes() < 64_000_000, "{}", batcher.memory_bytes());
    }

    proptest! {
        #[test]
        fn events_of_a_run_are_batched_as_one_by_one(
            lengths in prop::collection::vec((0usize..9, any::<bool>()), 1..60), bytes in 1u64..60, rows in 1u64..8
        ) {
            let spec = spec(bytes, rows);
            let text: String = lengths.iter().map(|(length, _)| "x".repeat(*length) + "\n").collect();
            let run = Bytes::from(text);
            let mut end = 0;
            let places = lengths.iter().map(|(length, _)| { end += length + 1; end - length - 1..end });
            let taken: Vec<(u64, Range<usize>)> =
                (0..).zip(places).zip(&lengths).filter(|(_, (_, taken))| *taken).map(|(event, _)| event).collect();
            let (mut together, mut alone) = (Batcher::default(), Batcher::default());
            together.push(&spec, b"", at(0), &run, taken.iter().cloned());
            for (offset, place) in taken {
                push(&mut alone, &spec, b"", offset, at(0), &run[place.start..place.end - 1]);
            }
            prop_assert_eq!(together.memory_bytes(), alone.memory_bytes());
            let events = |batcher: &mut Batcher| {
                batcher.close_all();
                let mut events = Vec::new();
                for (number, mut batch) in batcher.take_closed(usize::MAX, usize::MAX).into_iter().enumerate() {
                    batch.drain(|offset, event| events.push((number, offset, event.to_vec())));
                }
                events
            };
            prop_assert_eq!(events(&mut together), events(&mut alone));
        }

        #[test]
        fn every_event_is_in_exactly_one_batch_in_order(
            keys in prop::collection::vec(0u8..6, 1..200), bytes in 1u64..60, rows in 1u64..8, relief in 0usize..4000
        ) {
            let spec = spec(bytes, rows);
            let mut batcher = Batcher::default();
            let mut delivered: Vec<Batch> = Vec::new();
            for (offset, key) in keys.iter().enumerate() {
                let second = offset as u64 / 3;
                batcher.close_due(&spec, at(second));
                push(&mut batcher, &spec, &[*key], offset as u64, at(second), format!("{{\"k\":{key}}}").as_bytes());
                if offset % 7 == 0 {
                    batcher.relieve(relief);
                }
                if offset % 5 == 0 {
                    delivered.extend(batcher.take_closed(2, usize::MAX));
                    let low = batcher.first().map_or(offset as u64 + 1, Batch::first_offset);
                    for batch in &delivered {
                        prop_assert!(batch.first_offset() != low);
                    }
                }
            }
            batcher.close_all();
            delivered.extend(batcher.take_closed(usize::MAX, usize::MAX));
            prop_assert_eq!(batcher.memory_bytes(), 0);
            let mut seen = vec![None; keys.len()];
            let mut last_of_key: HashMap<u8, u64> = HashMap::new();
            for mut batch in delivered {
                let key = batch.partition()[0];
                prop_assert!(batch.rows() <= rows);
                if let Some(last) = last_of_key.insert(key, batch.last_offset()) {
                    prop_assert!(last < batch.first_offset());
                }
                batch.drain(|offset, _| {
                    let place = &mut seen[usize::try_from(offset).unwrap()];
                    assert_eq!(*place, None);
                    *place = Some(key);
                });
            }
            prop_assert_eq!(seen, keys.into_iter().map(Some).collect::<Vec<_>>());
        }
    }

    /// So many key values at once, so many events, and what the batches may take.
    const KEYS: u64 = 100_000;
    const EVENTS: u64 = 400_000;
    const MEMORY_BYTES: usize = 64 << 20;

    /// The counter is the whole process's: a test that asks it must be alone there, as the test runner has it.
    #[test]
    fn a_hundred_thousand_keys_stay_within_their_memory() {
        let spec = BatchSpec { timeout: Duration::from_hours(1), ..spec(100 << 20, 1_000_000) };
        let line = Bytes::from(vec![b'x'; 203]);
        let memory = Region::new(&INSTRUMENTED_SYSTEM);
        let (mut batcher, mut taken, mut peak, mut keys) = (Batcher::default(), 0, 0, 0);
        for offset in 0..EVENTS {
            let key = (offset % KEYS).to_le_bytes();
            batcher.push(&spec, &key, at(0), &line, std::iter::once((offset, 0..line.len())));
            if offset % 1000 == 0 {
                let change = memory.change();
                peak = peak.max(change.bytes_allocated - change.bytes_deallocated);
                keys = keys.max(batcher.open.len());
            }
            if batcher.memory_bytes() > MEMORY_BYTES {
                batcher.relieve(MEMORY_BYTES / 2);
                while batcher.has_closed() {
                    taken += batcher.take_closed(32, 32 << 20).iter().map(Batch::rows).sum::<u64>();
                }
            }
        }
        batcher.close_all();
        taken += batcher.take_closed(usize::MAX, usize::MAX).iter().map(Batch::rows).sum::<u64>();
        println!("{keys} keys at once, {peak} bytes at most");
        assert_eq!((keys as u64, taken), (KEYS, EVENTS));
        assert!(peak <= MEMORY_BYTES, "{peak} bytes for {KEYS} keys");
    }
}
