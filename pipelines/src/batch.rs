//! A batch: events of one pipeline and one key value, gathered until a limit is reached.

use cistern_types::Timestamp;
use std::sync::Arc;

/// Events are gathered in chunks of this size, so that they can be freed piece by piece while they are encoded.
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
    chunks: Vec<Vec<u8>>,
    bytes: usize,
    rows: u64,
}

impl Batch {
    /// An empty batch for events from `first` on, the first of which was logged at `opened_at`.
    pub(crate) fn new(partition: Arc<[u8]>, first: u64, opened_at: Timestamp) -> Self {
        let offsets = vec![OffsetRun { first, count: 0 }];
        Self { partition, opened_at, offsets, chunks: Vec::new(), bytes: 0, rows: 0 }
    }

    /// Adds an event, without its newline.
    #[inline]
    pub(crate) fn push(&mut self, offset: u64, event: &[u8]) {
        let run = self.offsets.last_mut().expect("there is one from the beginning");
        if run.first + run.count == offset {
            run.count += 1;
        } else {
            assert!(offset > run.first + run.count, "offsets only grow");
            self.offsets.push(OffsetRun { first: offset, count: 1 });
        }
        let needed = event.len() + 1;
        match self.chunks.last_mut() {
            Some(chunk) if chunk.len() + needed <= CHUNK_BYTES => extend(chunk, event),
            _ => {
                // The first chunk of a small batch grows as it needs; the later ones will be full.
                let capacity = if self.chunks.is_empty() { needed } else { CHUNK_BYTES.max(needed) };
                let mut chunk = Vec::with_capacity(capacity);
                extend(&mut chunk, event);
                self.chunks.push(chunk);
            }
        }
        self.bytes += needed;
        self.rows += 1;
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
    pub(crate) fn into_chunks(self) -> Vec<Vec<u8>> {
        self.chunks
    }

    /// Hands out its events with their offsets, freeing each chunk once it has been walked.
    pub(crate) fn drain(&mut self, mut each: impl FnMut(u64, &[u8])) {
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

#[inline]
fn extend(chunk: &mut Vec<u8>, event: &[u8]) {
    chunk.extend_from_slice(event);
    chunk.push(b'\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_come_out_with_their_offsets() {
        let mut batch = Batch::new(Arc::from(b"k".as_slice()), 3, Timestamp::default());
        let long = "x".repeat(CHUNK_BYTES * 2);
        let events = [(3, "{}"), (4, "{\"a\":1}"), (9, long.as_str()), (10, "{}")];
        for (offset, event) in events {
            batch.push(offset, event.as_bytes());
        }
        assert_eq!((batch.first_offset(), batch.last_offset(), batch.rows()), (3, 10, 4));
        assert_eq!(batch.bytes(), events.iter().map(|(_, event)| event.len() + 1).sum::<usize>());
        let mut drained = Vec::new();
        batch.drain(|offset, event| drained.push((offset, String::from_utf8(event.to_vec()).unwrap())));
        let expected: Vec<(u64, String)> = events.map(|(offset, event)| (offset, event.to_owned())).to_vec();
        assert_eq!(drained, expected);
    }
}
