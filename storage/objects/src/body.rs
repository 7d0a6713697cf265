//! A request's body on its way in: what is promised about it, how its stream may fail, and gathering it into batches.

use crate::{Error, Result};
use bytes::{Bytes, BytesMut};
use cistern_types::{Checksum, ChecksumAlgorithm};
use futures::{Stream, StreamExt};
use std::fmt;

/// How much of a body is gathered before it is hashed and written: the blob store's chunk, so that it need not copy.
pub(crate) const BATCH_BYTES: usize = 1 << 20;

/// Why a client's body could not be read to its clean end. Whatever it was part of has not happened.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// The connection ended before the body did.
    #[error("body ended early")]
    Incomplete,
    /// The signature of a chunk or of the trailer is not the one computed from it.
    #[error("signature of a chunk does not match")]
    BadSignature,
    /// The chunked coding is malformed.
    #[error("malformed chunk: {reason}")]
    BadChunk {
        /// What is wrong with it.
        reason: String,
    },
    /// The trailer is malformed, or lacks what the request announced.
    #[error("malformed trailer: {reason}")]
    BadTrailer {
        /// What is wrong with it.
        reason: String,
    },
    /// Reading the connection failed.
    #[error("read the connection")]
    Io(#[source] std::io::Error),
}

/// Which checksum a body shall have.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum ExpectedChecksum {
    /// None is asked for.
    #[default]
    None,
    /// Exactly this one; it is stored.
    Value(Checksum),
    /// This algorithm's: it is computed and stored, and compared with the trailer's if that brings one.
    Compute(ChecksumAlgorithm),
}

/// Answers, once the body has ended, the checksum its trailer brought.
pub type TrailerSource = Box<dyn FnOnce() -> Result<Option<Checksum>, BodyError> + Send>;

/// What a request promises about its body; all of it must hold before anything becomes visible.
#[derive(Default)]
pub struct BodyChecks {
    /// Its length in bytes.
    pub length: Option<u64>,
    /// `Content-MD5`
    pub content_md5: Option<[u8; 16]>,
    /// The SHA-256 that was signed.
    pub sha256: Option<[u8; 32]>,
    /// `x-amz-checksum-*`
    pub checksum: ExpectedChecksum,
    /// Asked after the body has ended.
    pub trailer: Option<TrailerSource>,
}

impl BodyChecks {
    /// Nothing but the length.
    pub fn of_length(length: u64) -> Self {
        Self { length: Some(length), ..Self::default() }
    }
}

impl fmt::Debug for BodyChecks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BodyChecks")
            .field("length", &self.length)
            .field("content_md5", &self.content_md5.map(hex::encode))
            .field("sha256", &self.sha256.map(hex::encode))
            .field("checksum", &self.checksum)
            .field("trailer", &self.trailer.is_some())
            .finish()
    }
}

/// Cuts a stream of pieces of any size into batches of exactly [`BATCH_BYTES`], the last one shorter.
pub(crate) struct Batches<S> {
    stream: S,
    /// What of the last piece did not fit into the batch before.
    rest: Bytes,
    ended: bool,
    received_bytes: u64,
    limit_bytes: u64,
    expected_bytes: Option<u64>,
}

impl<S, E> Batches<S>
where
    S: Stream<Item = Result<Bytes, E>> + Send + Unpin,
    Error: From<E>,
{
    pub(crate) fn new(stream: S, limit_bytes: u64, expected_bytes: Option<u64>) -> Self {
        Self { stream, rest: Bytes::new(), ended: false, received_bytes: 0, limit_bytes, expected_bytes }
    }

    /// Whether the stream has ended cleanly and all of it was handed out.
    pub(crate) fn ended(&self) -> bool {
        self.ended && self.rest.is_empty()
    }

    /// The next batch, empty only at the end. Refuses a body as soon as it is longer than allowed or promised.
    pub(crate) async fn next_batch(&mut self) -> Result<Bytes> {
        let mut batch = BytesMut::new();
        // Most small bodies come in one piece: it is passed on as it is.
        let mut single = self.rest.split_to(self.rest.len().min(BATCH_BYTES));
        while batch.len() + single.len() < BATCH_BYTES && !self.ended {
            let Some(piece) = self.stream.next().await.transpose()? else {
                self.ended = true;
                break;
            };
            self.count(piece.len())?;
            self.rest = piece;
            let room = BATCH_BYTES - batch.len() - single.len();
            let taken = self.rest.split_to(self.rest.len().min(room));
            if batch.is_empty() && single.is_empty() {
                single = taken;
                continue;
            }
            if batch.is_empty() {
                batch.reserve(self.expected_batch_bytes(single.len() + taken.len()));
                batch.extend_from_slice(&single);
                single = Bytes::new();
            }
            batch.extend_from_slice(&taken);
        }
        Ok(if batch.is_empty() { single } else { batch.freeze() })
    }

    fn expected_batch_bytes(&self, at_least: usize) -> usize {
        let expected = self.expected_bytes.and_then(|bytes| usize::try_from(bytes).ok()).unwrap_or(BATCH_BYTES);
        expected.clamp(at_least, BATCH_BYTES)
    }

    fn count(&mut self, piece_bytes: usize) -> Result<()> {
        self.received_bytes += piece_bytes as u64;
        if let Some(expected_bytes) = self.expected_bytes.filter(|expected| self.received_bytes > *expected) {
            return Err(Error::IncompleteBody { expected_bytes, received_bytes: self.received_bytes });
        }
        if self.received_bytes > self.limit_bytes {
            return Err(Error::EntityTooLarge { size_bytes: self.received_bytes, limit_bytes: self.limit_bytes });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::stream;
    use proptest::prelude::*;

    fn batches(pieces: Vec<usize>, expected: Option<u64>) -> Result<Vec<usize>> {
        let mut next = 0u8;
        let bytes: Vec<u8> = std::iter::repeat_with(|| {
            next = next.wrapping_add(1);
            next
        })
        .take(pieces.iter().sum())
        .collect();
        let mut at = 0;
        let items: Vec<Result<Bytes, BodyError>> = pieces
            .into_iter()
            .map(|length| {
                at += length;
                Ok(Bytes::copy_from_slice(&bytes[at - length..at]))
            })
            .collect();
        futures::executor::block_on(async {
            let mut gather = Batches::new(stream::iter(items), 8 << 20, expected);
            let (mut lengths, mut whole) = (Vec::new(), Vec::new());
            while !gather.ended() {
                let batch = gather.next_batch().await?;
                lengths.push(batch.len());
                whole.extend_from_slice(&batch);
            }
            assert_eq!(whole, bytes);
            Ok(lengths)
        })
    }

    #[test]
    fn pieces_of_any_size_become_whole_batches() {
        const B: usize = BATCH_BYTES;
        assert_eq!(batches(vec![], None).unwrap(), [0]);
        assert_eq!(batches(vec![5], None).unwrap(), [5]);
        assert_eq!(batches(vec![5, 0, 7], Some(12)).unwrap(), [12]);
        assert_eq!(batches(vec![B], None).unwrap(), [B, 0]);
        assert_eq!(batches(vec![3 * B + 1], None).unwrap(), [B, B, B, 1]);
        assert_eq!(batches(vec![B - 1, 2, B], None).unwrap(), [B, B, 1]);
    }

    #[test]
    fn more_than_promised_or_allowed_is_refused_at_once() {
        assert!(matches!(batches(vec![5, 5], Some(9)), Err(Error::IncompleteBody { .. })));
        assert!(matches!(batches(vec![4 << 20, 5 << 20], None), Err(Error::EntityTooLarge { .. })));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn every_batch_but_the_last_is_full(pieces in prop::collection::vec(0usize..(700 << 10), 0..8)) {
            let lengths = batches(pieces, None).unwrap();
            let full = lengths.len() - 1;
            prop_assert!(lengths[..full].iter().all(|length| *length == BATCH_BYTES));
        }
    }
}
