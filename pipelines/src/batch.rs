//! A batch: events of one pipeline and one key value, gathered until a limit is reached.

use crate::rejected;
use bytes::Bytes;
use cistern_types::Timestamp;
use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

/// Single events are gathered in chunks of this size, so that they can be freed piece by piece while they are encoded.
const CHUNK_BYTES: usize = 256 << 10;

/// What a batch costs besides its events, in bytes: its own fields and its places in the batcher's maps.
const BATCH_OVERHEAD_BYTES: usize = 400;

/// Offsets that follow one another without a gap.
#[derive(Debug, Clone, Copy)]
struct OffsetRun {
    first: u64,
    count: u64,
}

/// Events that will become one object.
#[derive(Debug, Clone)]
pub(crate) struct Batch {
    partition: Arc<[u8]>,
    opened_at: Timestamp,
    waits_since: Timestamp,
    offsets: Vec<OffsetRun>,
    /// One event a line, each chunk ending with a whole line.
    chunks: Vec<Bytes>,
    /// The last chunk as long as it grows.
    growing: Vec<u8>,
    bytes: usize,
    rows: u64,
}

impl Batch {
    /// An empty batch for events from `first` on, the first of which was logged at `opened_at`.
    pub(crate) fn new(partition: Arc<[u8]>, first: u64, opened_at: Timestamp) -> Self {
        let (offsets, chunks, growing) = (vec![OffsetRun { first, count: 0 }], Vec::new(), Vec::new());
        Self { partition, opened_at, waits_since: opened_at, offsets, chunks, growing, bytes: 0, rows: 0 }
    }

    /// The same whose first event waits not as long as the log says, for a clock was ahead when it was written.
    pub(crate) fn waiting_since(self, waits_since: Timestamp) -> Self {
        Self { waits_since, ..self }
    }

    /// Counts an event whose line has `bytes`; the line itself comes with [`Self::extend`].
    #[inline]
    pub(crate) fn count(&mut self, offset: u64, bytes: usize) {
        self.count_many(offset, 1, bytes);
    }

    /// The same for events that follow one another from `offset` on, whose lines have `bytes` together.
    #[inline]
    pub(crate) fn count_many(&mut self, offset: u64, events: u64, bytes: usize) {
        let run = self.offsets.last_mut().expect("there is one from the beginning");
        if run.first + run.count == offset {
            run.count += events;
        } else {
            assert!(offset > run.first + run.count, "offsets only grow");
            self.offsets.push(OffsetRun { first: offset, count: events });
        }
        self.bytes += bytes;
        self.rows += events;
    }

    /// Adds the lines of counted events. Most of a large run is kept as it is, anything else is copied: it would hold on
    /// to more memory than it has bytes.
    pub(crate) fn extend(&mut self, run: &Bytes, lines: Range<usize>) {
        let whole = lines.len() >= CHUNK_BYTES && lines.len() * 2 >= run.len();
        if whole || self.growing.len() + lines.len() > CHUNK_BYTES {
            self.end_chunk();
        }
        if whole {
            self.chunks.push(run.slice(lines));
            return;
        }
        if self.growing.is_empty() && !self.chunks.is_empty() {
            // The first chunk of a small batch grows as it needs; the later ones will be full.
            self.growing.reserve(CHUNK_BYTES);
        }
        self.growing.extend_from_slice(&run[lines]);
    }

    fn end_chunk(&mut self) {
        if !self.growing.is_empty() {
            self.chunks.push(std::mem::take(&mut self.growing).into());
        }
    }

    pub(crate) fn partition(&self) -> &Arc<[u8]> {
        &self.partition
    }

    pub(crate) fn opened_at(&self) -> Timestamp {
        self.opened_at
    }

    pub(crate) fn waits_since(&self) -> Timestamp {
        self.waits_since
    }

    pub(crate) fn first_offset(&self) -> u64 {
        self.offsets[0].first
    }

    pub(crate) fn last_offset(&self) -> u64 {
        let run = self.offsets.last().expect("there is one from the beginning");
        run.first + run.count.saturating_sub(1)
    }

    /// Bytes of its events, newlines counted.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) fn rows(&self) -> u64 {
        self.rows
    }

    /// About what it takes of memory.
    pub(crate) fn memory_bytes(&self) -> usize {
        self.bytes + self.offsets.len() * size_of::<OffsetRun>() + BATCH_OVERHEAD_BYTES + self.partition.len()
    }

    /// Its chunks, one event a line.
    pub(crate) fn into_chunks(mut self) -> Vec<Bytes> {
        self.end_chunk();
        self.chunks
    }

    /// Whether something in it is no event.
    pub(crate) fn has_rejected(&mut self) -> bool {
        self.end_chunk();
        rejected::any_in(&self.chunks)
    }

    /// Its events in batches of so many, the last with what is left. They share the memory of its chunks.
    pub(crate) fn parts(mut self, rows: u64) -> impl Iterator<Item = Self> {
        self.end_chunk();
        let (partition, opened_at, waits_since) = (self.partition, self.opened_at, self.waits_since);
        let (mut offsets, mut chunks) = (VecDeque::from(self.offsets), VecDeque::from(self.chunks));
        let mut left = self.rows;
        std::iter::from_fn(move || {
            let rows = rows.min(left);
            left -= rows;
            let first = offsets.front().filter(|_| rows > 0)?.first;
            let mut part = Self::new(Arc::clone(&partition), first, opened_at).waiting_since(waits_since);
            part.offsets.clear();
            take_runs(&mut offsets, rows, &mut part.offsets);
            while part.rows < rows {
                let chunk = chunks.front_mut().expect("there is an event for every offset");
                let (lines, bytes) = first_lines(chunk, rows - part.rows);
                part.rows += lines;
                part.bytes += bytes;
                part.chunks.push(chunk.split_to(bytes));
                if chunk.is_empty() {
                    chunks.pop_front();
                }
            }
            Some(part)
        })
    }

    /// Hands out its events with their offsets, freeing each chunk once it has been walked.
    pub(crate) fn drain(&mut self, mut each: impl FnMut(u64, &[u8])) {
        self.end_chunk();
        let mut offsets = self.offsets.iter().flat_map(|run| run.first..run.first + run.count);
        for chunk in std::mem::take(&mut self.chunks) {
            let mut start = 0;
            for end in memchr::memchr_iter(b'\n', &chunk) {
                each(offsets.next().expect("there is an offset for every event"), &chunk[start..end]);
                start = end + 1;
            }
        }
        assert!(offsets.next().is_none(), "there is an event for every offset");
    }
}

/// Moves so many offsets from the front of `runs`.
fn take_runs(runs: &mut VecDeque<OffsetRun>, mut count: u64, out: &mut Vec<OffsetRun>) {
    while count > 0 {
        let run = runs.front_mut().expect("there is an offset for every event");
        let taken = run.count.min(count);
        out.push(OffsetRun { first: run.first, count: taken });
        *run = OffsetRun { first: run.first + taken, count: run.count - taken };
        count -= taken;
        if run.count == 0 {
            runs.pop_front();
        }
    }
}

/// How many lines of a chunk are among its first `most`, and their bytes.
fn first_lines(chunk: &[u8], most: u64) -> (u64, usize) {
    memchr::memchr_iter(b'\n', chunk).zip(1..=most).last().map_or((0, 0), |(end, lines)| (lines, end + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Batch {
        /// Adds an event, without its newline.
        pub(crate) fn push(&mut self, offset: u64, event: &str) {
            let line = Bytes::from(format!("{event}\n"));
            self.count(offset, line.len());
            self.extend(&line, 0..line.len());
        }
    }

    #[test]
    fn events_come_out_with_their_offsets() {
        let mut batch = Batch::new(Arc::from(b"k".as_slice()), 3, Timestamp::default());
        let long = "x".repeat(CHUNK_BYTES * 2);
        let events = [(3, "{}"), (4, "{\"a\":1}"), (9, long.as_str()), (10, "{}")];
        for (offset, event) in events {
            batch.push(offset, event);
        }
        assert_eq!((batch.first_offset(), batch.last_offset(), batch.rows()), (3, 10, 4));
        assert_eq!(batch.bytes(), events.iter().map(|(_, event)| event.len() + 1).sum::<usize>());
        let expected: Vec<(u64, String)> = events.map(|(offset, event)| (offset, event.to_owned())).to_vec();
        assert_eq!(drained(&mut batch), expected);
    }

    fn drained(batch: &mut Batch) -> Vec<(u64, String)> {
        let mut events = Vec::new();
        batch.drain(|offset, event| events.push((offset, String::from_utf8(event.to_vec()).unwrap())));
        events
    }

    #[test]
    fn parts_are_the_events_in_their_order() {
        let mut batch = Batch::new(Arc::from(b"k".as_slice()), 5, Timestamp::default());
        let event = |n: u64| format!("{{\"n\":{n},\"text\":\"{}\"}}", "x".repeat(usize::try_from(n % 97).unwrap()));
        for n in 0..20_000 {
            batch.push(5 + n + n / 1_000, &event(n)); // a gap after each thousand
        }
        let whole = drained(&mut batch.clone());
        let mut parts: Vec<Batch> = batch.clone().parts(3_000).collect();
        let rows: Vec<u64> = parts.iter().map(Batch::rows).collect();
        assert_eq!(rows, [3_000, 3_000, 3_000, 3_000, 3_000, 3_000, 2_000]);
        assert_eq!(parts.iter().map(Batch::bytes).sum::<usize>(), batch.bytes());
        assert_eq!((parts[1].first_offset(), parts[1].last_offset()), (3_008, 6_009));
        assert_eq!(parts.iter_mut().flat_map(drained).collect::<Vec<_>>(), whole);
        let empty = Batch::new(Arc::from(b"k".as_slice()), 5, Timestamp::default());
        assert_eq!(empty.parts(10).count(), 0);
    }

    #[test]
    fn most_of_a_large_run_is_kept_and_the_rest_is_copied() {
        let line = "x".repeat(99) + "\n";
        let run = Bytes::from(line.repeat(CHUNK_BYTES / 20));
        let mut batch = Batch::new(Arc::from(b"k".as_slice()), 0, Timestamp::default());
        for offset in 0..run.len() / line.len() {
            batch.count(offset as u64, line.len());
        }
        let (small, large) = (10 * line.len(), 20 * line.len());
        batch.extend(&run, 0..small);
        batch.extend(&run, small..large);
        batch.extend(&run, large..run.len());
        let chunks = batch.into_chunks();
        assert_eq!(chunks.concat(), run);
        let kept: Vec<bool> = chunks.iter().map(|chunk| run.as_ptr_range().contains(&chunk.as_ptr())).collect();
        assert_eq!(kept, [false, true]);
    }
}
