//! How a chunk's bytes lie in the log: as they are, or, where space counts more than time, compressed one by one.
//!
//! A tagged chunk begins with a byte that says what follows, so that what was written under one setting is read under any other, and what
//! does not get smaller is stored as it is. It holds one byte less of the blob than a plain one: with its tag it is never longer than a chunk
//! may be.

use bytes::{BufMut as _, Bytes, BytesMut};
use cistern_drives::CHUNK_BYTES;
use cistern_runtime::offload;

/// What follows is the blob's bytes.
const RAW: u8 = 0;
/// What follows is one zstd frame of them.
const ZSTD: u8 = 1;
/// The level at which compressing still keeps up with a drive.
const ZSTD_LEVEL: i32 = 3;
/// A chunk that compressing makes less than this much smaller is not worth expanding again, in percent.
const GAIN_PERCENT_MIN: usize = 5;
/// Below this, compressing costs less than the hop to another thread.
const INLINE_BYTES: usize = 16 << 10;

/// Whether bodies of infrequently read objects are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// They are stored as they are.
    None,
    /// With zstd, chunk by chunk; a chunk that hardly gets smaller is stored as it is.
    Zstd,
}

/// How chunks lie in a set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Coding {
    /// As they are.
    Plain,
    /// Behind a tag.
    Tagged(Compression),
}

impl Coding {
    /// How many bytes of a blob each chunk of it holds, but the last.
    pub(crate) fn chunk_bytes(self) -> usize {
        match self {
            Self::Plain => CHUNK_BYTES,
            Self::Tagged(_) => CHUNK_BYTES - 1,
        }
    }

    /// A chunk as it is to be stored.
    pub(crate) async fn encode(self, bytes: Bytes) -> Bytes {
        match self {
            Self::Plain => bytes,
            Self::Tagged(compression) if bytes.len() < INLINE_BYTES => tagged(&bytes, compression),
            Self::Tagged(compression) => offload(move || tagged(&bytes, compression)).await,
        }
    }

    /// A chunk as it was written; `Err` says what is wrong with what is stored.
    pub(crate) async fn decode(self, stored: Bytes) -> Result<Bytes, &'static str> {
        match (self, stored.first()) {
            (Self::Plain, _) => Ok(stored),
            (Self::Tagged(_), Some(&RAW)) => Ok(stored.slice(1..)),
            (Self::Tagged(_), Some(&ZSTD)) => {
                offload(move || {
                    let bytes = zstd::bulk::decompress(&stored[1..], CHUNK_BYTES);
                    bytes.map(Bytes::from).map_err(|_| "it is not a zstd frame of at most 1 MiB")
                })
                .await
            }
            (Self::Tagged(_), Some(_)) => Err("its tag is unknown"),
            (Self::Tagged(_), None) => Err("it has no tag"),
        }
    }
}

fn tagged(bytes: &Bytes, compression: Compression) -> Bytes {
    let compressed = match compression {
        Compression::Zstd => zstd::bulk::compress(bytes, ZSTD_LEVEL).ok(),
        Compression::None => None,
    };
    let worth_it = |compressed: &Vec<u8>| compressed.len() * 100 <= bytes.len() * (100 - GAIN_PERCENT_MIN);
    let (tag, content) = match compressed.as_ref().filter(|compressed| worth_it(compressed)) {
        Some(compressed) => (ZSTD, &compressed[..]),
        None => (RAW, &bytes[..]),
    };
    let mut stored = BytesMut::with_capacity(content.len() + 1);
    stored.put_u8(tag);
    stored.extend_from_slice(content);
    stored.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::executor::block_on;

    fn noise(bytes: usize) -> Bytes {
        let mut state = 1u64;
        let next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            state.to_be_bytes()[0]
        };
        std::iter::repeat_with(next).take(bytes).collect()
    }

    #[tokio::test]
    async fn chunks_come_back_under_any_setting_and_never_grow_beyond_their_bound() {
        let full = CHUNK_BYTES - 1;
        for bytes in [Bytes::new(), noise(1), noise(full), Bytes::from(vec![7; full]), noise(INLINE_BYTES)] {
            for compression in [Compression::None, Compression::Zstd] {
                let stored = Coding::Tagged(compression).encode(bytes.clone()).await;
                assert!(stored.len() <= bytes.len() + 1);
                for read_under in [Compression::None, Compression::Zstd] {
                    assert_eq!(Coding::Tagged(read_under).decode(stored.clone()).await.unwrap(), bytes);
                }
            }
        }
        assert!(Coding::Tagged(Compression::Zstd).encode(Bytes::from(vec![7; full])).await.len() < 1000);
    }

    #[test]
    fn plain_chunks_are_passed_on_and_bad_ones_refused() {
        let bytes = noise(10);
        assert_eq!(block_on(Coding::Plain.encode(bytes.clone())), bytes);
        let tagged = Coding::Tagged(Compression::Zstd);
        assert_eq!(block_on(tagged.decode(Bytes::new())), Err("it has no tag"));
        assert_eq!(block_on(tagged.decode(Bytes::from_static(&[9, 1]))), Err("its tag is unknown"));
    }

    #[tokio::test]
    async fn a_frame_that_claims_more_than_a_chunk_is_refused() {
        let bomb = zstd::bulk::compress(&vec![0; 64 << 20], 3).unwrap();
        let stored = [&[ZSTD], &bomb[..]].concat();
        let refused = Coding::Tagged(Compression::Zstd).decode(stored.into()).await;
        assert_eq!(refused, Err("it is not a zstd frame of at most 1 MiB"));
    }
}
