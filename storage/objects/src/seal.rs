//! Sealed bodies: what lies in a blob when its object is encrypted at rest.
//!
//! ```text
//! plain   |-------- 64 KiB --------|-------- 64 KiB --------|- the rest -|
//! sealed  |-- AES-256-GCM --| tag ||-- AES-256-GCM --| tag ||- .. | tag |     no header: 16 bytes a frame, no more
//! ```
//! Each blob has a key of its own, made with HKDF-SHA256 from the data key of its object or upload and a random
//! [`BlobSalt`]. The salt is no secret. It lies in the row that names the blob, not in the blob: a range is one read, and
//! a blob put in the place of another one of the same object does not open.
//!
//! A frame's nonce is its number; what is authenticated beside it says the format and whether the frame is the last. So
//! frames that were changed, moved, exchanged or cut off are found, and no byte of a frame is passed on before all of it
//! has been checked. A range is read and opened by whole frames.
//!
//! Everything here is synchronous CPU work, about 2 GB/s a core: callers offload large pieces.

mod keys;

pub(crate) use keys::DataKey;
pub use keys::{
    CustomerKey, CustomerKeyError, CustomerKeyVerifier, KeyError, KeyPlace, MasterKeyId, MasterKeys, SealedKey,
    WrappedKey,
};

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use bytes::{Buf as _, Bytes, BytesMut};
use keys::KEY_BYTES;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::ops::Range;

/// Plain bytes in a frame; the last frame of a blob has 1 to this many.
const FRAME_BYTES: usize = 64 << 10;
/// What AES-GCM adds to a frame.
const TAG_BYTES: usize = 16;
const SEALED_FRAME_BYTES: usize = FRAME_BYTES + TAG_BYTES;
/// The most plain bytes of one blob: far above S3's largest object, far below what one AES-GCM key may seal.
const PLAIN_BYTES_MAX: u64 = 1 << 46;
/// The first of the authenticated bytes beside a frame.
const FORMAT: u8 = 1;
/// What a blob's key is derived for.
const BLOB_PURPOSE: &str = "cistern sealed blob v1";

/// Why a blob could not be sealed or opened. Holds no key and no byte of the body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// A frame is not what was sealed under this key and salt at this place.
    #[error(
        "frame {frame} of a sealed blob is damaged, or was sealed with another key, under another salt or in another place"
    )]
    Damaged {
        /// The frame's number, from 0.
        frame: u64,
    },
    /// The sealed bytes ended early.
    #[error("a sealed blob ended inside frame {frame}, {missing_bytes} bytes more of the range were to come")]
    Truncated {
        /// The frame that is not whole.
        frame: u64,
        /// How many sealed bytes are missing.
        missing_bytes: u64,
    },
    /// More sealed bytes came than the range has.
    #[error("{surplus_bytes} bytes came after the end of the sealed range")]
    Surplus {
        /// How many.
        surplus_bytes: u64,
    },
    /// The range asked for is not one of the blob.
    #[error("range {start}..{end} does not lie inside the {plain_bytes} plain bytes of the blob")]
    OutOfRange {
        /// Its start.
        start: u64,
        /// Its end.
        end: u64,
        /// How many plain bytes the blob has.
        plain_bytes: u64,
    },
    /// An empty body has no blob.
    #[error("there is nothing to seal: an empty body has no blob")]
    Empty,
    /// The body is too long for one blob.
    #[error("a sealed blob may have {PLAIN_BYTES_MAX} plain bytes, this one has more")]
    TooLong,
    /// The cipher did not seal a frame; nothing that a body can have makes it do so.
    #[error("AES-256-GCM did not seal frame {frame}")]
    NotSealed {
        /// The frame's number, from 0.
        frame: u64,
    },
    /// An earlier call failed.
    #[error("sealing or opening went on after it had failed: begin again")]
    Failed,
}

/// What makes the key of one blob differ from all others of the same data key. Random, new for every blob, no secret;
/// 16 bytes in the row that names the blob.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct BlobSalt([u8; 16]);

impl BlobSalt {
    /// A new one.
    pub fn random() -> Self {
        Self(rand::random())
    }
}

impl fmt::Debug for BlobSalt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BlobSalt({})", hex::encode(self.0))
    }
}

/// How many bytes a blob of `plain` plain bytes has when it is sealed.
pub(crate) fn sealed_bytes(plain: u64) -> u64 {
    plain.saturating_add(plain.div_ceil(FRAME_BYTES as u64) * TAG_BYTES as u64)
}

/// Which bytes of a sealed blob hold the plain bytes `range` of its `plain_bytes`: whole frames. What of the range lies
/// outside the blob is left out; an empty range needs none.
pub(crate) fn sealed_range(range: &Range<u64>, plain_bytes: u64) -> Range<u64> {
    let end = range.end.min(plain_bytes);
    if range.start >= end {
        return 0..0;
    }
    let start = range.start / FRAME_BYTES as u64 * SEALED_FRAME_BYTES as u64;
    let frames = end.div_ceil(FRAME_BYTES as u64);
    start..frames.saturating_mul(SEALED_FRAME_BYTES as u64).min(sealed_bytes(plain_bytes))
}

/// The key of one blob.
struct FrameKey(LessSafeKey);

impl FrameKey {
    fn new(data_key: &DataKey, salt: &BlobSalt) -> Self {
        Self(aes_256_gcm(&keys::derive(data_key.as_bytes(), &salt.0, BLOB_PURPOSE)))
    }

    /// Seals a frame in place and answers its tag.
    fn seal(&self, frame: u64, last: bool, plain: &mut [u8]) -> Result<[u8; TAG_BYTES], SealError> {
        let tag = self.0.seal_in_place_separate_tag(nonce(frame), Aad::from([FORMAT, u8::from(last)]), plain);
        tag.ok().and_then(|tag| tag.as_ref().try_into().ok()).ok_or(SealError::NotSealed { frame })
    }

    /// Opens a frame in place. On an error the bytes in it mean nothing.
    fn open(&self, frame: u64, last: bool, tag: &[u8; TAG_BYTES], sealed: &mut [u8]) -> Result<(), SealError> {
        let aad = Aad::from([FORMAT, u8::from(last)]);
        let opened = self.0.open_in_place_separate_tag(nonce(frame), aad, tag, sealed);
        opened.map(drop).map_err(|_| SealError::Damaged { frame })
    }
}

fn aes_256_gcm(key: &[u8; KEY_BYTES]) -> LessSafeKey {
    LessSafeKey::new(UnboundKey::new(&AES_256_GCM, key).expect("AES-256 takes any 32 bytes as its key"))
}

fn nonce(frame: u64) -> Nonce {
    let mut nonce = [0; NONCE_LEN];
    nonce[NONCE_LEN - 8..].copy_from_slice(&frame.to_be_bytes());
    Nonce::assume_unique_for_key(nonce)
}

/// Seals a body that arrives in pieces. Holds at most one frame back; what it makes of a piece is about as long as that.
///
/// A salt must not seal twice under one data key.
pub(crate) struct Sealer {
    key: FrameKey,
    /// The number of the frame that is being filled.
    frame: u64,
    /// Its plain bytes so far; never none once a byte has come, as only the end tells which frame is the last.
    filling: BytesMut,
    failed: bool,
}

impl Sealer {
    /// A sealer for the blob of this salt.
    pub(crate) fn new(data_key: &DataKey, salt: &BlobSalt) -> Self {
        Self { key: FrameKey::new(data_key, salt), frame: 0, filling: BytesMut::new(), failed: false }
    }

    /// Takes the next plain bytes, and answers the sealed bytes that are ready: whole frames, or none.
    pub(crate) fn push(&mut self, plain: &[u8]) -> Result<Bytes, SealError> {
        if self.failed {
            return Err(SealError::Failed);
        }
        let sealed = self.seal_full(plain);
        self.failed = sealed.is_err();
        sealed
    }

    fn seal_full(&mut self, mut plain: &[u8]) -> Result<Bytes, SealError> {
        let length = self.frame * FRAME_BYTES as u64 + self.filling.len() as u64 + plain.len() as u64;
        if length > PLAIN_BYTES_MAX {
            return Err(SealError::TooLong);
        }
        let frames = (self.filling.len() + plain.len()) / FRAME_BYTES;
        self.filling.reserve(plain.len() + (frames + 1) * TAG_BYTES);
        let mut start = 0;
        while !plain.is_empty() {
            if self.filling.len() - start == FRAME_BYTES {
                self.seal_from(start, false)?;
                start = self.filling.len();
            }
            let room = FRAME_BYTES - (self.filling.len() - start);
            let (taken, rest) = plain.split_at(room.min(plain.len()));
            self.filling.extend_from_slice(taken);
            plain = rest;
        }
        Ok(self.filling.split_to(start).freeze())
    }

    /// Seals the frame that `filling` holds from `start` on.
    fn seal_from(&mut self, start: usize, last: bool) -> Result<(), SealError> {
        let tag = self.key.seal(self.frame, last, &mut self.filling[start..])?;
        self.filling.extend_from_slice(&tag);
        self.frame += 1;
        Ok(())
    }

    /// The last frame.
    pub(crate) fn finish(mut self) -> Result<Bytes, SealError> {
        if self.failed {
            return Err(SealError::Failed);
        }
        if self.filling.is_empty() {
            return Err(SealError::Empty);
        }
        self.seal_from(0, true)?;
        Ok(self.filling.freeze())
    }
}

impl fmt::Debug for Sealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sealer").field("frame", &self.frame).finish_non_exhaustive()
    }
}

/// Opens a range of a sealed blob that arrives in pieces. Holds at most one frame back; what it makes of a piece is about
/// as long as that.
pub(crate) struct Opener {
    key: FrameKey,
    /// The sealed bytes that are to come, of the blob.
    sealed: Range<u64>,
    /// The number of the frame that is being filled.
    frame: u64,
    /// Its sealed bytes so far, without its tag.
    filling: BytesMut,
    /// Its tag so far.
    tag: [u8; TAG_BYTES],
    tag_bytes: usize,
    /// How many bytes of the first frame stand before the range.
    skip: usize,
    /// How many bytes of the range are still to be answered.
    wanted: u64,
    plain_bytes: u64,
    failed: bool,
}

impl Opener {
    /// An opener for the plain bytes `range` of the blob of this salt, which has `plain_bytes` plain bytes.
    pub(crate) fn new(
        data_key: &DataKey,
        salt: &BlobSalt,
        range: &Range<u64>,
        plain_bytes: u64,
    ) -> Result<Self, SealError> {
        let &Range { start, end } = range;
        if start > end || end > plain_bytes {
            return Err(SealError::OutOfRange { start, end, plain_bytes });
        }
        if plain_bytes > PLAIN_BYTES_MAX {
            return Err(SealError::TooLong);
        }
        Ok(Self {
            key: FrameKey::new(data_key, salt),
            sealed: sealed_range(range, plain_bytes),
            frame: start / FRAME_BYTES as u64,
            filling: BytesMut::new(),
            tag: [0; TAG_BYTES],
            tag_bytes: 0,
            skip: within_frame(start),
            wanted: end - start,
            plain_bytes,
            failed: false,
        })
    }

    /// Takes the next bytes of [`sealed_range`], and answers the plain bytes of the range that are ready: those of all
    /// frames that are whole now. When one of them is damaged, none.
    pub(crate) fn push(&mut self, sealed: &[u8]) -> Result<Bytes, SealError> {
        if self.failed {
            return Err(SealError::Failed);
        }
        let plain = self.open_full(sealed);
        self.failed = plain.is_err();
        plain
    }

    fn open_full(&mut self, mut sealed: &[u8]) -> Result<Bytes, SealError> {
        let to_come = self.sealed.end - self.sealed.start;
        if let Some(surplus_bytes) = (sealed.len() as u64).checked_sub(to_come).filter(|bytes| *bytes > 0) {
            return Err(SealError::Surplus { surplus_bytes });
        }
        self.sealed.start += sealed.len() as u64;
        self.filling.reserve(sealed.len());
        let mut start = 0;
        while !sealed.is_empty() {
            let (frame_bytes, last) = self.frame_shape();
            let (body, rest) = sealed.split_at(sealed.len().min(frame_bytes - (self.filling.len() - start)));
            self.filling.extend_from_slice(body);
            let (tag, rest) = rest.split_at(rest.len().min(TAG_BYTES - self.tag_bytes));
            self.tag[self.tag_bytes..][..tag.len()].copy_from_slice(tag);
            self.tag_bytes += tag.len();
            if self.tag_bytes == TAG_BYTES {
                self.key.open(self.frame, last, &self.tag, &mut self.filling[start..])?;
                self.tag_bytes = 0;
                self.frame += 1;
                start = self.filling.len();
            }
            sealed = rest;
        }
        Ok(self.take_opened(start))
    }

    /// The plain length of the frame that is being filled, and whether it is the blob's last.
    fn frame_shape(&self) -> (usize, bool) {
        let rest = self.plain_bytes - self.frame * FRAME_BYTES as u64;
        let full = FRAME_BYTES as u64;
        if rest > full { (FRAME_BYTES, false) } else { (within_frame(rest - 1) + 1, true) }
    }

    /// What of the first `opened` bytes of `filling` belongs to the range.
    fn take_opened(&mut self, opened: usize) -> Bytes {
        let mut plain = self.filling.split_to(opened);
        if opened > 0 {
            plain.advance(std::mem::take(&mut self.skip));
        }
        plain.truncate(usize::try_from(self.wanted).unwrap_or(usize::MAX));
        self.wanted -= plain.len() as u64;
        plain.freeze()
    }

    /// Says whether the whole range has been answered. Whoever reads to the end must ask, or a range that was cut off
    /// looks like one that is complete.
    pub(crate) fn finish(self) -> Result<(), SealError> {
        if self.failed {
            return Err(SealError::Failed);
        }
        match self.sealed.end - self.sealed.start {
            0 => Ok(()),
            missing_bytes => Err(SealError::Truncated { frame: self.frame, missing_bytes }),
        }
    }
}

impl fmt::Debug for Opener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Opener")
            .field("frame", &self.frame)
            .field("sealed", &self.sealed)
            .field("wanted", &self.wanted)
            .finish_non_exhaustive()
    }
}

/// Where in its frame a plain position lies.
fn within_frame(position: u64) -> usize {
    usize::try_from(position % FRAME_BYTES as u64).expect("a frame is 64 KiB")
}

#[cfg(test)]
mod tests;
