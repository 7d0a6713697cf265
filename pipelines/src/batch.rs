//! A batch: events of one pipeline and one key value, gathered until a limit is reached.

use crate::rejected;
use bytes::Bytes;
use cistern_types::Timestamp;
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
        let offsets = vec![OffsetRun { first, count: 0 }];
        Self { partition, opened_at, offsets, chunks: Vec::new(), growing: Vec::new(), bytes: 0, rows: 0 }
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
        let mut drained = Vec::new();
        batch.drain(|offset, event| drained.push((offset, String::from_utf8(event.to_vec()).unwrap())));
        let expected: Vec<(u64, String)> = events.map(|(offset, event)| (offset, event.to_owned())).to_vec();
        assert_eq!(drained, expected);
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
