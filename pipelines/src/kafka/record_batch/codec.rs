//! Unpacking the records of a batch, never further than they may be large.
//!
//! What the packed bytes claim about their size is believed only as far as so many bytes can unfold. The checksums within LZ4 frames
//! are not looked at: the CRC-32C of the batch has covered the same bytes.

use super::{Codec, RecordBatchError};
use bytes::{Buf, Bytes};
use lz4_flex::block::{DecompressError, decompress_into, decompress_into_with_dict};
use std::io::Read;

/// The largest window a zstd frame may ask for, as a power of two: 8 MiB, what encoders use up to level 19.
const ZSTD_WINDOW_LOG_MAX: u32 = 23;
/// What a zstd frame begins with. Frames from before version 0.8 begin otherwise; their decoders bound no window.
const ZSTD_MAGIC: &[u8] = &[0x28, 0xb5, 0x2f, 0xfd];

/// What the framing of snappy-java begins with; two version numbers of four bytes follow.
const XERIAL_MAGIC: &[u8] = b"\x82SNAPPY\0";
const XERIAL_VERSIONS_BYTES: usize = 8;
/// The most bytes that a byte of Snappy unfolds to: three say "repeat 64".
const SNAPPY_RATIO_MAX: usize = 22;

/// What an LZ4 frame begins with, as a number in little endian.
const LZ4_MAGIC: u32 = 0x184d_2204;
const LZ4_VERSION_BITS: u8 = 0b1100_0000;
const LZ4_VERSION: u8 = 0b0100_0000;
const LZ4_INDEPENDENT_BIT: u8 = 1 << 5;
const LZ4_BLOCK_CHECKSUM_BIT: u8 = 1 << 4;
const LZ4_CONTENT_SIZE_BIT: u8 = 1 << 3;
const LZ4_CONTENT_CHECKSUM_BIT: u8 = 1 << 2;
const LZ4_DICTIONARY_BIT: u8 = 1;
/// The bit in a block's length that says the block is not compressed.
const LZ4_STORED_BIT: u32 = 1 << 31;
const LZ4_CHECKSUM_BYTES: usize = 4;
/// How far back a block may refer to the ones before it.
const LZ4_WINDOW_BYTES: usize = 64 << 10;
/// The most bytes that a byte of LZ4 unfolds to.
const LZ4_RATIO_MAX: usize = 255;

/// How much more than the packed bytes are reserved at first.
const FIRST_RATIO: usize = 4;
/// The least that is reserved at first, in bytes.
const FIRST_BYTES_MIN: usize = 4 << 10;

/// Unpacks to `limit` bytes at most. The memory for them grows to `limit`, and there is twice as much for the moment in which it moves;
/// zstd takes a window of 8 MiB at most besides. Bytes that are not packed are not copied.
pub(super) fn unpack(codec: Codec, packed: &Bytes, limit: usize) -> Result<Bytes, RecordBatchError> {
    match codec {
        Codec::None if packed.len() > limit => Err(RecordBatchError::TooLarge { limit }),
        Codec::None => Ok(packed.clone()),
        codec => Ok(decompress(codec, packed, limit)?.into()),
    }
}

fn decompress(codec: Codec, packed: &[u8], limit: usize) -> Result<Vec<u8>, RecordBatchError> {
    let mut out = Unpacked { codec, bytes: Vec::new(), limit };
    match codec {
        Codec::None => out.store(packed)?,
        Codec::Gzip => out.read_all(flate2::bufread::MultiGzDecoder::new(packed), packed.len())?,
        Codec::Snappy => out.snappy(packed)?,
        Codec::Lz4 => out.lz4(packed)?,
        Codec::Zstd => out.zstd(packed)?,
    }
    Ok(out.bytes)
}

/// What has been unpacked so far.
struct Unpacked {
    codec: Codec,
    bytes: Vec<u8>,
    limit: usize,
}

impl Unpacked {
    fn broken(&self, reason: &impl ToString) -> RecordBatchError {
        RecordBatchError::Compression { codec: self.codec, reason: reason.to_string() }
    }

    fn too_large(&self) -> RecordBatchError {
        RecordBatchError::TooLarge { limit: self.limit }
    }

    /// The bytes that may still come.
    fn room(&self) -> usize {
        self.limit.saturating_sub(self.bytes.len())
    }

    /// Reserves for `wanted` bytes more, of which there is room, and for as many again as there are, so that few moves are needed.
    fn reserve(&mut self, wanted: usize) {
        if wanted > self.bytes.capacity() - self.bytes.len() {
            self.bytes.reserve_exact(wanted.max(self.bytes.len()).min(self.room()));
        }
    }

    /// Appends all that `reader` gives. `packed_bytes` says how much that may be about.
    fn read_all(&mut self, mut reader: impl Read, packed_bytes: usize) -> Result<(), RecordBatchError> {
        let mut step = packed_bytes.saturating_mul(FIRST_RATIO).max(FIRST_BYTES_MIN);
        loop {
            step = step.min(self.room());
            if step == 0 {
                let more = reader.read(&mut [0]).map_err(|error| self.broken(&error))?;
                return if more == 0 { Ok(()) } else { Err(self.too_large()) };
            }
            self.reserve(step);
            let read = reader.by_ref().take(step as u64).read_to_end(&mut self.bytes);
            if read.map_err(|error| self.broken(&error))? < step {
                return Ok(());
            }
            step = self.bytes.len();
        }
    }

    /// One frame, which nothing follows.
    fn zstd(&mut self, packed: &[u8]) -> Result<(), RecordBatchError> {
        if !packed.starts_with(ZSTD_MAGIC) {
            return Err(self.broken(&"it does not begin like a frame"));
        }
        let mut rest = packed;
        let decoder = zstd::stream::read::Decoder::with_buffer(&mut rest);
        let mut decoder = decoder.map_err(|error| self.broken(&error))?.single_frame();
        decoder.window_log_max(ZSTD_WINDOW_LOG_MAX).map_err(|error| self.broken(&error))?;
        self.read_all(decoder, packed.len())?;
        if rest.is_empty() { Ok(()) } else { Err(self.broken(&"bytes follow the frame")) }
    }

    /// One raw block, or those of snappy-java: each a length in four bytes and a raw block.
    fn snappy(&mut self, mut packed: &[u8]) -> Result<(), RecordBatchError> {
        if !packed.starts_with(XERIAL_MAGIC) {
            return self.snappy_block(packed);
        }
        let versions_end = XERIAL_MAGIC.len() + XERIAL_VERSIONS_BYTES;
        packed = packed.get(versions_end..).ok_or_else(|| self.broken(&"its header is cut"))?;
        while !packed.is_empty() {
            let length = packed.try_get_u32().map_err(|_| self.broken(&"a block's length is cut"))?;
            let within = usize::try_from(length).ok().and_then(|length| packed.split_at_checked(length));
            let (block, behind) = within.ok_or_else(|| self.broken(&"a block is cut"))?;
            self.snappy_block(block)?;
            packed = behind;
        }
        Ok(())
    }

    fn snappy_block(&mut self, block: &[u8]) -> Result<(), RecordBatchError> {
        let unfolded = snap::raw::decompress_len(block).map_err(|error| self.broken(&error))?;
        if unfolded > block.len().saturating_mul(SNAPPY_RATIO_MAX) {
            return Err(self.broken(&"a block states more bytes than it can have"));
        }
        if unfolded > self.room() {
            return Err(self.too_large());
        }
        self.append(unfolded, |_, to| snap::raw::Decoder::new().decompress(block, to))
            .map_err(|error| self.broken(&error))
    }

    /// One frame, which nothing follows. The `frame` module of lz4_flex is not used for it: that takes 4 MiB to 12 MiB for every
    /// frame that allows large blocks, however small it is, and takes a frame that is cut between blocks for whole.
    fn lz4(&mut self, mut packed: &[u8]) -> Result<(), RecordBatchError> {
        let frame = Lz4Frame::split_from(&mut packed).map_err(|reason| self.broken(&reason))?;
        loop {
            let length = packed.try_get_u32_le().map_err(|_| self.broken(&"the end mark is missing"))?;
            if length == 0 {
                break;
            }
            let stored = length & LZ4_STORED_BIT != 0;
            let length = usize::try_from(length & !LZ4_STORED_BIT).unwrap_or(usize::MAX);
            if length > frame.block_bytes_max {
                return Err(self.broken(&"a block is larger than the frame allows"));
            }
            let (block, behind) = packed.split_at_checked(length).ok_or_else(|| self.broken(&"a block is cut"))?;
            packed = behind.get(frame.block_checksum_bytes..).ok_or_else(|| self.broken(&"a checksum is cut"))?;
            if stored {
                self.store(block)?;
            } else {
                self.lz4_block(block, &frame)?;
            }
        }
        if packed.len() == frame.content_checksum_bytes {
            Ok(())
        } else {
            Err(self.broken(&"the frame does not end with the batch"))
        }
    }

    fn lz4_block(&mut self, block: &[u8], frame: &Lz4Frame) -> Result<(), RecordBatchError> {
        let most = frame.block_bytes_max.min(block.len().saturating_mul(LZ4_RATIO_MAX));
        let room = self.room().min(most);
        let unfold = |before: &[u8], to: &mut [u8]| {
            if frame.independent {
                return decompress_into(block, to);
            }
            decompress_into_with_dict(block, to, &before[before.len().saturating_sub(LZ4_WINDOW_BYTES)..])
        };
        self.append(room, unfold).map_err(|error| match error {
            DecompressError::OutputTooSmall { .. } if room < most => self.too_large(),
            error => self.broken(&error),
        })
    }

    /// Appends `block` as it is.
    fn store(&mut self, block: &[u8]) -> Result<(), RecordBatchError> {
        if block.len() > self.room() {
            return Err(self.too_large());
        }
        self.reserve(block.len());
        self.bytes.extend_from_slice(block);
        Ok(())
    }

    /// Appends what `unfold` writes, `most` bytes at most, of which there must be room. `unfold` is given what there is already, and
    /// answers how many bytes it has written.
    fn append<E>(&mut self, most: usize, unfold: impl FnOnce(&[u8], &mut [u8]) -> Result<usize, E>) -> Result<(), E> {
        let before = self.bytes.len();
        self.reserve(most);
        self.bytes.resize(before + most, 0);
        let (done, to) = self.bytes.split_at_mut(before);
        let unfolded = unfold(done, to);
        self.bytes.truncate(before + unfolded.as_ref().map_or(0, |bytes| *bytes));
        unfolded.map(|_| ())
    }
}

/// What the header of an LZ4 frame says.
struct Lz4Frame {
    /// Whether no block refers to the ones before it.
    independent: bool,
    block_bytes_max: usize,
    block_checksum_bytes: usize,
    content_checksum_bytes: usize,
}

impl Lz4Frame {
    /// Takes the header off `packed`.
    fn split_from(packed: &mut &[u8]) -> Result<Self, &'static str> {
        const CUT: &str = "its header is cut";
        if packed.try_get_u32_le().map_err(|_| CUT)? != LZ4_MAGIC {
            return Err("it does not begin like a frame");
        }
        let flags = packed.try_get_u8().map_err(|_| CUT)?;
        if flags & LZ4_VERSION_BITS != LZ4_VERSION {
            return Err("the frame's version is not 1");
        }
        if flags & LZ4_DICTIONARY_BIT != 0 {
            return Err("the frame needs a dictionary");
        }
        let block_bytes_max = match packed.try_get_u8().map_err(|_| CUT)? >> 4 & 0b111 {
            4 => 64 << 10,
            5 => 256 << 10,
            6 => 1 << 20,
            7 => 4 << 20,
            _ => return Err("the frame's block size is unknown"),
        };
        if flags & LZ4_CONTENT_SIZE_BIT != 0 {
            packed.try_get_u64_le().map_err(|_| CUT)?;
        }
        // The header's checksum.
        packed.try_get_u8().map_err(|_| CUT)?;
        let checksum_bytes = |bit| if flags & bit == 0 { 0 } else { LZ4_CHECKSUM_BYTES };
        Ok(Self {
            independent: flags & LZ4_INDEPENDENT_BIT != 0,
            block_bytes_max,
            block_checksum_bytes: checksum_bytes(LZ4_BLOCK_CHECKSUM_BIT),
            content_checksum_bytes: checksum_bytes(LZ4_CONTENT_CHECKSUM_BIT),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lz4_flex::frame::{BlockMode, BlockSize, FrameEncoder, FrameInfo};
    use proptest::prelude::*;
    use std::io::Write;

    const PACKED: [Codec; 4] = [Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd];

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn snappy(bytes: &[u8]) -> Vec<u8> {
        snap::raw::Encoder::new().compress_vec(bytes).unwrap()
    }

    fn xerial(bytes: &[u8], block_bytes: usize) -> Vec<u8> {
        let mut packed = [XERIAL_MAGIC, &[0, 0, 0, 1, 0, 0, 0, 1]].concat();
        for block in bytes.chunks(block_bytes) {
            let block = snappy(block);
            packed.extend(u32::try_from(block.len()).unwrap().to_be_bytes());
            packed.extend(block);
        }
        packed
    }

    fn lz4(bytes: &[u8], frame: FrameInfo) -> Vec<u8> {
        let mut encoder = FrameEncoder::with_frame_info(frame, Vec::new());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    /// Frames of every kind.
    fn lz4_frames(size: Option<u64>) -> Vec<FrameInfo> {
        let sizes = [BlockSize::Max64KB, BlockSize::Max256KB, BlockSize::Max1MB, BlockSize::Max4MB];
        let modes = [BlockMode::Independent, BlockMode::Linked];
        let frame = |size, mode| FrameInfo::new().block_size(size).block_mode(mode);
        let frames = sizes.into_iter().flat_map(|size| modes.map(|mode| frame(size, mode)));
        let checked = |frame: FrameInfo| [frame.clone(), frame.block_checksums(true).content_checksum(true)];
        frames.flat_map(checked).flat_map(|frame| [frame.clone(), frame.content_size(size)]).collect()
    }

    fn zstd(bytes: &[u8]) -> Vec<u8> {
        zstd::stream::encode_all(bytes, 3).unwrap()
    }

    fn pack(codec: Codec, bytes: &[u8]) -> Vec<u8> {
        match codec {
            Codec::None => bytes.to_vec(),
            Codec::Gzip => gzip(bytes),
            Codec::Snappy => snappy(bytes),
            Codec::Lz4 => lz4(bytes, FrameInfo::new()),
            Codec::Zstd => zstd(bytes),
        }
    }

    /// Bytes that pack a little: neighbours and far ones repeat.
    fn text(bytes: usize) -> Vec<u8> {
        let word = |number: usize| format!("{{\"n\":{},\"m\":{}}}\n", number, number * 7919 % 1009);
        (0..).map(word).flat_map(String::into_bytes).take(bytes).collect()
    }

    /// Unpacks and checks that no more has been reserved than is allowed.
    fn unpacked(codec: Codec, packed: &[u8], limit: usize) -> Result<Vec<u8>, RecordBatchError> {
        let bytes = decompress(codec, packed, limit)?;
        assert!(bytes.capacity() <= limit.max(8), "{codec}: {} for {limit}", bytes.capacity());
        Ok(bytes)
    }

    #[test]
    fn what_was_packed_comes_back_within_the_limit_and_not_beyond() {
        for codec in PACKED {
            for bytes in [1, 100, 4095, 4096, 4097, 70_000, 300_000] {
                let whole = text(bytes);
                let packed = pack(codec, &whole);
                for limit in [bytes, bytes + 1, bytes * 3, 1 << 30] {
                    assert_eq!(unpacked(codec, &packed, limit).as_ref(), Ok(&whole), "{codec} {bytes} {limit}");
                }
                for limit in [0, bytes / 2, bytes - 1] {
                    let error = unpacked(codec, &packed, limit).unwrap_err();
                    assert_eq!(error, RecordBatchError::TooLarge { limit }, "{codec} {bytes} {limit}");
                }
            }
        }
        let two_members = [gzip(b"one"), gzip(b"two")].concat();
        assert_eq!(unpacked(Codec::Gzip, &two_members, 6).unwrap(), b"onetwo");
    }

    #[test]
    fn snappy_is_read_raw_and_as_java_frames_it() {
        let whole = text(100_000);
        for block_bytes in [1, 1000, 32 << 10, 100_000] {
            let packed = xerial(&whole, block_bytes);
            assert_eq!(unpacked(Codec::Snappy, &packed, 100_000).unwrap(), whole);
            let error = unpacked(Codec::Snappy, &packed, 99_999).unwrap_err();
            assert_eq!(error, RecordBatchError::TooLarge { limit: 99_999 });
        }
        // 22 times is as far as Snappy goes, so the ratio refuses nothing that is good.
        let zeros = vec![0; 1 << 20];
        assert_eq!(unpacked(Codec::Snappy, &snappy(&zeros), 1 << 20).unwrap(), zeros);
        let whole = xerial(b"abc", 10);
        for end in 1..whole.len() {
            // Cut behind its header it holds no block, which is no bytes.
            let answer = unpacked(Codec::Snappy, &whole[..end], 100);
            assert!(if end == 16 { answer.is_ok_and(|bytes| bytes.is_empty()) } else { answer.is_err() }, "{end}");
        }
        // Five bytes that claim four billion.
        let claim = unpacked(Codec::Snappy, &[0xff, 0xff, 0xff, 0xff, 0x0f], usize::MAX);
        assert!(matches!(claim, Err(RecordBatchError::Compression { codec: Codec::Snappy, .. })), "{claim:?}");
    }

    #[test]
    fn lz4_frames_of_every_kind_are_read() {
        for whole in [text(50), text(300_000), vec![7; 300_000], text(3_000_000), Vec::new()] {
            for frame in lz4_frames(Some(whole.len() as u64)) {
                let packed = lz4(&whole, frame.clone());
                assert_eq!(unpacked(Codec::Lz4, &packed, whole.len()).as_ref(), Ok(&whole), "{frame:?}");
                if let Some(limit) = whole.len().checked_sub(1) {
                    let error = unpacked(Codec::Lz4, &packed, limit).unwrap_err();
                    assert_eq!(error, RecordBatchError::TooLarge { limit }, "{frame:?}");
                }
            }
        }
    }

    #[test]
    fn broken_lz4_frames_are_refused() {
        let whole = lz4(&text(1000), FrameInfo::new());
        for end in 0..whole.len() {
            assert!(unpacked(Codec::Lz4, &whole[..end], 1 << 20).is_err(), "{end}");
        }
        let (head, block) = whole.split_at(7);
        let header = |flags: u8, size: u8| [&head[..4], &[flags, size, head[6]]].concat();
        let too_long = [head, &[1, 0, 1, 0x80], &vec![0; 70_000]].concat();
        let legacy = [0x184c_2102_u32.to_le_bytes().as_slice(), &[3, 0, 0, 0, 0x20, b'a', b'b']].concat();
        let skippable = [0x184d_2a50_u32.to_le_bytes().as_slice(), &[0; 4], &whole].concat();
        for (packed, reason) in [
            (legacy, "it does not begin like a frame"),
            (skippable, "it does not begin like a frame"),
            ([&header(0x20, 0x40), block].concat(), "the frame's version is not 1"),
            ([&header(0xa0, 0x40), block].concat(), "the frame's version is not 1"),
            ([&header(0x61, 0x40), block].concat(), "the frame needs a dictionary"),
            ([&header(0x60, 0x30), block].concat(), "the frame's block size is unknown"),
            (too_long, "a block is larger than the frame allows"),
            ([&whole, b"x".as_slice()].concat(), "the frame does not end with the batch"),
            ([whole.clone(), whole.clone()].concat(), "the frame does not end with the batch"),
        ] {
            let expected = RecordBatchError::Compression { codec: Codec::Lz4, reason: reason.into() };
            assert_eq!(unpacked(Codec::Lz4, &packed, 1 << 20), Err(expected));
        }
    }

    #[test]
    fn a_bomb_of_a_gigabyte_is_refused_before_it_fills_memory() {
        let megabytes = 16;
        let zeros = vec![0; megabytes << 20];
        let repeats = 1024 / megabytes;
        let block = snappy(&zeros[..1 << 20]);
        let blocks = [u32::try_from(block.len()).unwrap().to_be_bytes().as_slice(), &block].concat().repeat(1024);
        let lz4_one = lz4(&zeros, FrameInfo::new().block_size(BlockSize::Max4MB));
        let (lz4_head, lz4_blocks) = (&lz4_one[..7], &lz4_one[7..lz4_one.len() - 4]);
        let mut zstd = zstd::stream::Encoder::new(Vec::new(), 1).unwrap();
        (0..repeats).for_each(|_| zstd.write_all(&zeros).unwrap());
        for (codec, bomb) in [
            (Codec::Gzip, gzip(&zeros).repeat(repeats)),
            (Codec::Snappy, [&xerial(b"", 1), blocks.as_slice()].concat()),
            (Codec::Lz4, [lz4_head, &lz4_blocks.repeat(repeats), &[0; 4]].concat()),
            (Codec::Zstd, zstd.finish().unwrap()),
        ] {
            for limit in [1 << 20, 5 << 20] {
                let mut out = Unpacked { codec, bytes: Vec::new(), limit };
                let answer = match codec {
                    Codec::None => unreachable!(),
                    Codec::Gzip => out.read_all(flate2::bufread::MultiGzDecoder::new(&*bomb), bomb.len()),
                    Codec::Snappy => out.snappy(&bomb),
                    Codec::Lz4 => out.lz4(&bomb),
                    Codec::Zstd => out.zstd(&bomb),
                };
                assert_eq!(answer, Err(RecordBatchError::TooLarge { limit }), "{codec}");
                assert!(out.bytes.capacity() <= limit, "{codec}: {}", out.bytes.capacity());
            }
        }
    }

    #[test]
    fn a_zstd_frame_has_a_bounded_window_and_no_old_format() {
        let mut encoder = zstd::stream::Encoder::new(Vec::new(), 3).unwrap();
        encoder.window_log(27).unwrap();
        encoder.long_distance_matching(true).unwrap();
        encoder.write_all(&vec![b'x'; 1 << 20]).unwrap();
        let wide = encoder.finish().unwrap();
        let two_frames = [zstd(b"one"), zstd(b"two")].concat();
        let old = [&[0x27, 0xb5, 0x2f, 0xfd], &zstd(b"one")[4..]].concat();
        let skippable = [&[0x50, 0x2a, 0x4d, 0x18, 0, 0, 0, 0], &*zstd(b"one")].concat();
        for packed in [wide, two_frames, old, skippable] {
            let answer = unpacked(Codec::Zstd, &packed, 5 << 20);
            assert!(matches!(answer, Err(RecordBatchError::Compression { codec: Codec::Zstd, .. })), "{answer:?}");
        }
    }

    #[test]
    fn broken_and_cut_data_is_refused() {
        let whole = text(10_000);
        for codec in PACKED {
            let packed = pack(codec, &whole);
            for broken in [&packed[..packed.len() - 1], &packed[..packed.len() / 2], &packed[..2], &whole, &[]] {
                let answer = unpacked(codec, broken, 1 << 20);
                assert!(matches!(answer, Err(RecordBatchError::Compression { .. })), "{codec} {answer:?}");
            }
        }
    }

    proptest! {
        #[test]
        fn changed_bytes_are_no_panic(
            codec in (0..PACKED.len()).prop_map(|index| PACKED[index]),
            bytes in 0_usize..100_000,
            changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..8),
            limit in 0_usize..200_000,
        ) {
            let mut packed = pack(codec, &text(bytes));
            for (at, value) in changes {
                let at = at.index(packed.len());
                packed[at] = value;
            }
            if let Ok(unpacked) = unpacked(codec, &packed, limit) {
                prop_assert!(unpacked.len() <= limit);
            }
        }

        #[test]
        fn lz4_frames_give_what_the_frame_decoder_gives(
            linked in any::<bool>(),
            words in prop::collection::vec((0_usize..300, 1_usize..2000), 0..200),
            changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..2),
        ) {
            let bytes: Vec<u8> = words.iter().flat_map(|(word, bytes)| text(word + bytes).split_off(*word)).collect();
            let mode = if linked { BlockMode::Linked } else { BlockMode::Independent };
            let mut packed = lz4(&bytes, FrameInfo::new().block_size(BlockSize::Max64KB).block_mode(mode));
            let changed = !changes.is_empty();
            for (at, value) in changes {
                let at = 7 + at.index(packed.len() - 7);
                packed[at] = value;
            }
            let ours = unpacked(Codec::Lz4, &packed, 1 << 20);
            if changed {
                let mut theirs = Vec::new();
                let read = lz4_flex::frame::FrameDecoder::new(&*packed).read_to_end(&mut theirs);
                if let (Ok(ours), Ok(_)) = (ours, read) {
                    prop_assert_eq!(ours, theirs);
                }
            } else {
                prop_assert_eq!(ours, Ok(bytes));
            }
        }
    }
}
