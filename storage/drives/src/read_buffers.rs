//! Buffers that large reads fill, used again: a new one would be made zero first, and its memory fetched page by page.

use bytes::Bytes;
use parking_lot::Mutex;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;

/// What every kept buffer has, in bytes: room for the largest chunk.
const BUFFER_BYTES: usize = crate::CHUNK_BYTES;

/// Reads up to this size have a buffer of their own, in bytes: who keeps what was read must not keep much more.
const OWN_BYTES_MAX: usize = BUFFER_BYTES / 4 * 3;

/// How many buffers are kept for later reads.
const KEPT_MAX: usize = 16;

/// The buffers that nobody uses. Clones share them.
#[derive(Debug, Clone, Default)]
pub(crate) struct ReadBuffers(Arc<Mutex<Vec<Box<[u8]>>>>);

/// A buffer in use. It goes back when it, or the last [`Bytes`] of it, is dropped.
#[derive(Debug)]
pub(crate) struct ReadBuffer {
    bytes: Box<[u8]>,
    length: usize,
    home: Option<ReadBuffers>,
}

impl ReadBuffers {
    /// A buffer of `length` bytes, with whatever was in it.
    pub(crate) fn take(&self, length: usize) -> ReadBuffer {
        if length <= OWN_BYTES_MAX || length > BUFFER_BYTES {
            return ReadBuffer { bytes: vec![0; length].into(), length, home: None };
        }
        let kept = self.0.lock().pop();
        let bytes = kept.unwrap_or_else(|| vec![0; BUFFER_BYTES].into());
        ReadBuffer { bytes, length, home: Some(self.clone()) }
    }
}

impl ReadBuffer {
    /// The bytes, shared and not to be changed any more.
    pub(crate) fn freeze(mut self) -> Bytes {
        if self.home.is_none() {
            return Bytes::from(std::mem::take(&mut self.bytes));
        }
        Bytes::from_owner(self)
    }
}

impl Deref for ReadBuffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}

impl DerefMut for ReadBuffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.bytes[..self.length]
    }
}

impl AsRef<[u8]> for ReadBuffer {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl Drop for ReadBuffer {
    fn drop(&mut self) {
        if let Some(home) = self.home.take() {
            let mut kept = home.0.lock();
            if kept.len() < KEPT_MAX {
                kept.push(std::mem::take(&mut self.bytes));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_large_buffer_comes_back_when_the_last_of_its_bytes_is_gone() {
        let buffers = ReadBuffers::default();
        let mut buffer = buffers.take(BUFFER_BYTES - 1);
        buffer.fill(7);
        let place = buffer.as_ptr();
        let bytes = buffer.freeze();
        let part = bytes.slice(5..9);
        drop(bytes);
        assert_eq!((&part[..], buffers.0.lock().len()), (&[7; 4][..], 0));
        drop(part);
        assert_eq!(buffers.0.lock().len(), 1);
        let again = buffers.take(OWN_BYTES_MAX + 1);
        assert_eq!((again.as_ptr(), again.len()), (place, OWN_BYTES_MAX + 1));
    }

    #[test]
    fn so_many_are_kept_and_small_ones_never() {
        let buffers = ReadBuffers::default();
        let taken: Vec<ReadBuffer> = (0..2 * KEPT_MAX).map(|_| buffers.take(BUFFER_BYTES)).collect();
        drop(taken);
        assert_eq!(buffers.0.lock().len(), KEPT_MAX);
        for length in [0, 1, OWN_BYTES_MAX, BUFFER_BYTES + 1] {
            let bytes = buffers.take(length).freeze();
            assert_eq!((bytes.len(), buffers.0.lock().len()), (length, KEPT_MAX));
        }
    }
}
