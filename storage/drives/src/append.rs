//! What callers hand to the log: [`Append`], its [`Rows`] and [`NewPiece`]s, and what they get back: [`Pending`].
//!
//! An append is atomic: all of it is in one stripe, and after a crash all of it is there or none. Nothing here touches a
//! drive; `log.rs` queues appends, `committer.rs` writes them.

use crate::error::{Error, Result};
use crate::log::{Urgency, Writer};
use crate::{CHUNK_BYTES, FORGET_IDS_MAX, KEY_BYTES_MAX, ROWS_BYTES_MAX, VALUE_BYTES_MAX};
use bytes::Bytes;
use cistern_types::{BlobId, Receipt};
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::sync::{OwnedSemaphorePermit, oneshot};

/// One chunk of a blob. The last has [`NewPiece::last`] set (an empty blob is one empty last chunk). What a chunk holds of the blob is the
/// caller's business: chunks of exactly [`CHUNK_BYTES`] but for the last say by their number where in the blob they lie.
#[derive(Debug, Clone)]
pub struct NewPiece {
    /// The blob.
    pub blob: BlobId,
    /// Which chunk of it, from 0.
    pub chunk: u32,
    /// Whether it is the blob's last chunk.
    pub last: bool,
    /// Its bytes, at most [`CHUNK_BYTES`].
    pub bytes: Bytes,
}

/// The metadata rows of one commit, encoded as they will lie in the log.
///
/// Limits: keys 1 to [`KEY_BYTES_MAX`] bytes (a stamped key counts its 8 bytes), values [`VALUE_BYTES_MAX`], all together
/// [`ROWS_BYTES_MAX`]. A row over a limit is remembered and refused by `submit`. Later rows win over earlier ones.
#[derive(Debug, Clone, Default)]
pub struct Rows {
    pub(crate) encoded: Vec<u8>,
    refused: Option<Refused>,
}

/// The first row over a limit; it and those after it are not kept.
#[derive(Debug, Clone, Copy)]
enum Refused {
    TooLarge { what: &'static str, given: usize, max: usize },
    EmptyKey,
}

pub(crate) const ROW_PUT: u8 = 1;
pub(crate) const ROW_DELETE: u8 = 2;
pub(crate) const ROW_PUT_STAMPED: u8 = 3;
const STAMP_BYTES: usize = 8;

impl Rows {
    /// No rows yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets `key` to `value`.
    pub fn put(&mut self, key: &[u8], value: &[u8]) {
        self.check(key.len(), value.len());
        self.push(ROW_PUT, key, Some(value));
    }

    /// Removes `key`; nothing happens when it is not there.
    pub fn delete(&mut self, key: &[u8]) {
        self.check(key.len(), 0);
        self.push(ROW_DELETE, key, None);
    }

    /// Sets the key `prefix` followed by the append's stamp (8 bytes, big-endian) to `value`: rows that sort in commit order.
    pub fn put_stamped(&mut self, prefix: &[u8], value: &[u8]) {
        self.check(prefix.len() + STAMP_BYTES, value.len());
        self.push(ROW_PUT_STAMPED, prefix, Some(value));
    }

    /// Bytes of the rows as they will lie in the log.
    pub fn encoded_len(&self) -> usize {
        self.encoded.len()
    }

    /// Whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.encoded.is_empty()
    }

    fn check(&mut self, key_bytes: usize, value_bytes: usize) {
        let too_large = |what, given, max| (given > max).then_some(Refused::TooLarge { what, given, max });
        let refused = too_large("key", key_bytes, KEY_BYTES_MAX)
            .or_else(|| too_large("value", value_bytes, VALUE_BYTES_MAX))
            .or_else(|| (key_bytes == 0).then_some(Refused::EmptyKey));
        self.refused = self.refused.or(refused);
    }

    fn push(&mut self, op: u8, key: &[u8], value: Option<&[u8]>) {
        if self.refused.is_some() {
            return;
        }
        self.encoded.push(op);
        self.encoded.extend_from_slice(&u16::try_from(key.len()).expect("checked against its limit").to_le_bytes());
        if let Some(value) = value {
            let length = u32::try_from(value.len()).expect("checked against its limit");
            self.encoded.extend_from_slice(&length.to_le_bytes());
        }
        self.encoded.extend_from_slice(key);
        self.encoded.extend_from_slice(value.unwrap_or_default());
    }

    fn validate(&self) -> Result<()> {
        match self.refused {
            Some(Refused::TooLarge { what, given, max }) => return Err(Error::TooLarge { what, given, max }),
            Some(Refused::EmptyKey) => {
                return Err(Error::InvalidAppend { rule: "the key of a row has at least one byte" });
            }
            None => {}
        }
        if self.encoded.len() > ROWS_BYTES_MAX {
            return Err(Error::TooLarge { what: "rows of a commit", given: self.encoded.len(), max: ROWS_BYTES_MAX });
        }
        Ok(())
    }
}

/// One atomic write: chunks of blobs, metadata rows, blobs to forget, in any combination.
#[derive(Debug, Clone, Default)]
pub struct Append {
    /// Chunks of blobs.
    pub pieces: Vec<NewPiece>,
    /// Metadata rows.
    pub rows: Option<Rows>,
    /// Blobs whose bytes are no longer needed, at most [`FORGET_IDS_MAX`].
    pub forget: Vec<BlobId>,
    /// Receipts of blobs this append names: it is refused when one of their groups failed.
    pub requires: Vec<Receipt>,
}

impl Append {
    /// How many bytes to [reserve](crate::DriveLog::reserve) for it.
    pub fn bytes(&self) -> usize {
        let pieces: usize = self.pieces.iter().map(|piece| piece.bytes.len()).sum();
        pieces + self.rows.as_ref().map_or(0, Rows::encoded_len) + self.forget.len() * 16
    }

    pub(crate) fn validate(&self) -> Result<()> {
        for piece in &self.pieces {
            let length = piece.bytes.len();
            if length > CHUNK_BYTES {
                return Err(Error::TooLarge { what: "chunk", given: length, max: CHUNK_BYTES });
            }
        }
        // a stripe with the same chunk twice under one stamp could not be replayed
        let mut chunks: Vec<_> = self.pieces.iter().map(|piece| (piece.blob, piece.chunk)).collect();
        chunks.sort_unstable();
        if chunks.windows(2).any(|pair| pair[0] == pair[1]) {
            return Err(Error::InvalidAppend { rule: "a chunk of a blob is in an append once" });
        }
        if self.forget.len() > FORGET_IDS_MAX {
            return Err(Error::TooLarge {
                what: "forget list",
                given: self.forget.len() * 16,
                max: FORGET_IDS_MAX * 16,
            });
        }
        self.rows.as_ref().map_or(Ok(()), Rows::validate)
    }
}

/// Room in the log's queue, got from [`reserve`](crate::DriveLog::reserve) and spent by
/// [`submit`](crate::DriveLog::submit). Dropping it gives the room back.
#[derive(Debug)]
#[must_use = "the room is given back when the reservation is dropped"]
pub struct Reservation {
    pub(crate) bytes: usize,
    pub(crate) permit: OwnedSemaphorePermit,
}

impl Reservation {
    /// The bytes an append made with it may have.
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

/// A durable and visible append.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Committed {
    /// Its stamp: its place in the order of all appends.
    pub stamp: u64,
}

/// An append on its way. Resolves once it is synced on every live lane and visible in the view; dropping it does not
/// cancel the append.
#[derive(Debug)]
#[must_use = "the append is durable only once the pending is resolved"]
pub struct Pending {
    pub(crate) stamp: u64,
    pub(crate) era: u64,
    pub(crate) reply: oneshot::Receiver<Result<()>>,
    pub(crate) urgency: Urgency,
    pub(crate) writer: Writer,
}

impl Pending {
    /// The append's stamp, known before it is durable.
    pub fn stamp(&self) -> u64 {
        self.stamp
    }

    /// What a later append presents in [`Append::requires`] to be refused if this one is lost.
    pub fn receipt(&self) -> Receipt {
        Receipt::era(self.era)
    }

    /// Waits on a thread that may block.
    pub fn wait(mut self) -> Result<Committed> {
        self.hurry();
        finish(self.stamp, self.reply.blocking_recv())
    }

    /// Waiting makes it urgent; one that was from the beginning only needs whoever writes without a thread.
    fn hurry(&mut self) {
        if self.urgency == Urgency::WithNext || self.writer.is_inline() {
            self.writer.hurry();
            self.urgency = Urgency::Now;
        }
    }
}

impl Future for Pending {
    type Output = Result<Committed>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        self.hurry();
        let stamp = self.stamp;
        Pin::new(&mut self.reply).poll(context).map(|reply| finish(stamp, reply))
    }
}

fn finish(stamp: u64, reply: Result<Result<()>, oneshot::error::RecvError>) -> Result<Committed> {
    match reply {
        Ok(outcome) => outcome.map(|()| Committed { stamp }),
        Err(_) => Err(Error::Closed),
    }
}
