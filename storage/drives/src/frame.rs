//! The bytes of a lane frame's header and of a segment's header. Pure functions over byte arrays; docs/formats/drive-log.md draws them.
//!
//! A frame is a 256-byte header, then the lane's payload, padded to 4 KiB. A segment begins with its own header, which says
//! where the segment before it ended: that is what ends a segment, not what lies behind its last frame.

use crate::LANES_MAX;
use crate::identity::SetId;

/// Frames begin at multiples of this.
pub(crate) const FRAME_ALIGN_BYTES: u64 = 4096;
/// The header in front of every lane's payload.
pub(crate) const FRAME_HEADER_BYTES: usize = 256;
/// The header in front of every segment.
pub(crate) const SEGMENT_HEADER_BYTES: u64 = 4096;
/// The version of everything in this file.
pub(crate) const FORMAT_VERSION: u16 = 1;

/// No lane is longer: segments are not.
const CODED_BYTES_MAX: usize = 1 << 30;

const FRAME_MAGIC: &[u8; 8] = b"CISTFRAM";
const SEGMENT_MAGIC: &[u8; 8] = b"CISTSEGM";
const CRC_OFFSET: usize = FRAME_HEADER_BYTES - 8;
const DRIVES_OFFSET: usize = 104;
const LENGTHS_OFFSET: usize = DRIVES_OFFSET + LANES_MAX;
const _: () = assert!(LENGTHS_OFFSET + LANES_MAX * 4 <= CRC_OFFSET);
const _: () = assert!(SEGMENT_HEADER_BYTES.is_multiple_of(FRAME_ALIGN_BYTES));

/// The bytes a stripe whose lanes are coded over `payload_bytes` occupies in the segment of every drive.
pub(crate) const fn stripe_bytes(payload_bytes: usize) -> u64 {
    (FRAME_HEADER_BYTES as u64 + payload_bytes as u64).next_multiple_of(FRAME_ALIGN_BYTES)
}

pub(crate) fn crc64(bytes: &[u8]) -> u64 {
    crc_fast::checksum(crc_fast::CrcAlgorithm::Crc64Nvme, bytes)
}

/// What all frames of one stripe say alike: where it lies, how it is cut, which drive holds which lane.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StripeHeader {
    pub(crate) set: SetId,
    pub(crate) data: usize,
    pub(crate) parity: usize,
    pub(crate) segment: u64,
    /// The generation of the segment: the run of the program that began it.
    pub(crate) generation: u64,
    pub(crate) sequence: u64,
    /// Where the stripe begins in the segment.
    pub(crate) offset: u64,
    pub(crate) first_stamp: u64,
    pub(crate) last_stamp: u64,
    /// Bytes of every lane that went into the code (P); shorter lanes count as filled up with zeros.
    pub(crate) coded_bytes: usize,
    /// The drive of each lane.
    pub(crate) drives: [u8; LANES_MAX],
    /// Bytes used of each lane; 0 for a data lane that was not written.
    pub(crate) used_bytes: [u32; LANES_MAX],
}

impl StripeHeader {
    pub(crate) fn lanes(&self) -> usize {
        self.data + self.parity
    }

    pub(crate) fn used(&self, lane: usize) -> usize {
        self.used_bytes[lane] as usize
    }

    pub(crate) fn drive(&self, lane: usize) -> usize {
        usize::from(self.drives[lane])
    }

    /// Data lanes that hold something.
    pub(crate) fn filled_data_lanes(&self) -> usize {
        (0..self.data).filter(|&lane| self.used(lane) > 0).count()
    }

    pub(crate) fn stripe_bytes(&self) -> u64 {
        stripe_bytes(self.coded_bytes)
    }

    pub(crate) fn end(&self) -> u64 {
        self.offset + self.stripe_bytes()
    }

    /// Bytes of the lane's frame on its drive, padding included.
    pub(crate) fn frame_bytes(&self, lane: usize) -> usize {
        usize::try_from(stripe_bytes(self.used(lane))).expect("a frame is smaller than a segment, which is below 4 GiB")
    }
}

/// The header of one lane's frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FrameHeader {
    pub(crate) stripe: StripeHeader,
    pub(crate) lane: usize,
    pub(crate) record_count: usize,
    /// Bytes of the scan region at the start of the payload: record heads and the bodies of everything but pieces.
    pub(crate) scan_bytes: usize,
    pub(crate) scan_crc: u64,
    /// Over the coded bytes, the zeros behind the used ones included.
    pub(crate) payload_crc: u64,
}

impl FrameHeader {
    pub(crate) fn encode(&self) -> [u8; FRAME_HEADER_BYTES] {
        let stripe = &self.stripe;
        let mut bytes = [0; FRAME_HEADER_BYTES];
        let mut put = |offset: usize, field: &[u8]| bytes[offset..offset + field.len()].copy_from_slice(field);
        put(0, FRAME_MAGIC);
        put(8, &FORMAT_VERSION.to_le_bytes());
        put(10, &[narrow(stripe.data), narrow(stripe.parity), narrow(self.lane)]);
        put(16, &stripe.set.to_bytes());
        put(32, &stripe.segment.to_le_bytes());
        put(40, &stripe.generation.to_le_bytes());
        put(48, &stripe.sequence.to_le_bytes());
        put(56, &stripe.offset.to_le_bytes());
        put(64, &stripe.first_stamp.to_le_bytes());
        put(72, &stripe.last_stamp.to_le_bytes());
        put(80, &length(stripe.coded_bytes).to_le_bytes());
        put(84, &length(self.record_count).to_le_bytes());
        put(88, &self.scan_crc.to_le_bytes());
        put(96, &self.payload_crc.to_le_bytes());
        put(DRIVES_OFFSET, &stripe.drives);
        for (lane, used) in stripe.used_bytes.iter().enumerate() {
            put(LENGTHS_OFFSET + lane * 4, &used.to_le_bytes());
        }
        put(LENGTHS_OFFSET + LANES_MAX * 4, &length(self.scan_bytes).to_le_bytes());
        let crc = crc64(&bytes[..CRC_OFFSET]);
        bytes[CRC_OFFSET..].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// Whether `bytes` are, or may have been before they were damaged, the header of a frame of this stripe.
    pub(crate) fn is_of(bytes: &[u8; FRAME_HEADER_BYTES], stripe: &StripeHeader) -> bool {
        match Self::decode(bytes) {
            Some(header) => header.stripe == *stripe,
            None => bytes.starts_with(FRAME_MAGIC),
        }
    }

    /// The header in `bytes`, or `None` when they are not one this version wrote whole.
    pub(crate) fn decode(bytes: &[u8; FRAME_HEADER_BYTES]) -> Option<Self> {
        if &bytes[..8] != FRAME_MAGIC || u64_at(bytes, CRC_OFFSET) != crc64(&bytes[..CRC_OFFSET]) {
            return None;
        }
        if u16::from_le_bytes([bytes[8], bytes[9]]) != FORMAT_VERSION {
            return None;
        }
        let mut drives = [0; LANES_MAX];
        drives.copy_from_slice(&bytes[DRIVES_OFFSET..LENGTHS_OFFSET]);
        let mut used_bytes = [0; LANES_MAX];
        for (lane, used) in used_bytes.iter_mut().enumerate() {
            *used = u32_at(bytes, LENGTHS_OFFSET + lane * 4);
        }
        let header = Self {
            stripe: StripeHeader {
                set: SetId::from_bytes(bytes[16..32].try_into().expect("16 bytes")),
                data: bytes[10].into(),
                parity: bytes[11].into(),
                segment: u64_at(bytes, 32),
                generation: u64_at(bytes, 40),
                sequence: u64_at(bytes, 48),
                offset: u64_at(bytes, 56),
                first_stamp: u64_at(bytes, 64),
                last_stamp: u64_at(bytes, 72),
                coded_bytes: u32_at(bytes, 80) as usize,
                drives,
                used_bytes,
            },
            lane: bytes[12].into(),
            record_count: u32_at(bytes, 84) as usize,
            scan_bytes: u32_at(bytes, LENGTHS_OFFSET + LANES_MAX * 4) as usize,
            scan_crc: u64_at(bytes, 88),
            payload_crc: u64_at(bytes, 96),
        };
        header.is_sound().then_some(header)
    }

    fn is_sound(&self) -> bool {
        let stripe = &self.stripe;
        let lanes = stripe.lanes();
        let shape = stripe.data > 0 && lanes <= LANES_MAX && self.lane < lanes;
        let numbers = [stripe.segment, stripe.generation, stripe.sequence, stripe.offset, stripe.last_stamp];
        shape
            && numbers.into_iter().all(is_countable)
            && stripe.first_stamp <= stripe.last_stamp
            && stripe.coded_bytes <= CODED_BYTES_MAX
            && (0..lanes).all(|lane| stripe.drive(lane) < lanes && stripe.used(lane) <= stripe.coded_bytes)
            && self.scan_bytes <= stripe.used(self.lane)
            && stripe.offset.is_multiple_of(FRAME_ALIGN_BYTES)
    }
}

/// Where a segment ended, as its successor says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Predecessor {
    /// 0 when there is none.
    pub(crate) segment: u64,
    pub(crate) end_offset: u64,
    /// The sequence of the first stripe in the successor.
    pub(crate) next_sequence: u64,
}

/// The header at the start of a segment, alike on every drive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SegmentHeader {
    pub(crate) set: SetId,
    pub(crate) segment: u64,
    pub(crate) generation: u64,
    pub(crate) predecessor: Predecessor,
    /// The segment in which the last whole checkpoint begins: replaying from there makes everything. 0 when there is none.
    pub(crate) checkpoint: u64,
}

impl SegmentHeader {
    pub(crate) fn encode(&self) -> [u8; FRAME_HEADER_BYTES] {
        let mut bytes = [0; FRAME_HEADER_BYTES];
        bytes[..8].copy_from_slice(SEGMENT_MAGIC);
        bytes[8..10].copy_from_slice(&FORMAT_VERSION.to_le_bytes());
        bytes[16..32].copy_from_slice(&self.set.to_bytes());
        bytes[32..40].copy_from_slice(&self.segment.to_le_bytes());
        bytes[40..48].copy_from_slice(&self.generation.to_le_bytes());
        bytes[48..56].copy_from_slice(&self.predecessor.segment.to_le_bytes());
        bytes[56..64].copy_from_slice(&self.predecessor.end_offset.to_le_bytes());
        bytes[64..72].copy_from_slice(&self.predecessor.next_sequence.to_le_bytes());
        bytes[72..80].copy_from_slice(&self.checkpoint.to_le_bytes());
        let crc = crc64(&bytes[..CRC_OFFSET]);
        bytes[CRC_OFFSET..].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    pub(crate) fn decode(bytes: &[u8; FRAME_HEADER_BYTES]) -> Option<Self> {
        let sound = &bytes[..8] == SEGMENT_MAGIC
            && u64_at(bytes, CRC_OFFSET) == crc64(&bytes[..CRC_OFFSET])
            && u16::from_le_bytes([bytes[8], bytes[9]]) == FORMAT_VERSION;
        let header = sound.then(|| Self {
            set: SetId::from_bytes(bytes[16..32].try_into().expect("16 bytes")),
            segment: u64_at(bytes, 32),
            generation: u64_at(bytes, 40),
            predecessor: Predecessor {
                segment: u64_at(bytes, 48),
                end_offset: u64_at(bytes, 56),
                next_sequence: u64_at(bytes, 64),
            },
            checkpoint: u64_at(bytes, 72),
        })?;
        let Predecessor { segment, end_offset, next_sequence } = header.predecessor;
        let numbers = [header.segment, header.generation, segment, end_offset, next_sequence, header.checkpoint];
        numbers.into_iter().all(is_countable).then_some(header)
    }
}

/// Whether a number that only ever goes up by ones can be this: what is beyond was never written, and would overflow.
pub(crate) fn is_countable(number: u64) -> bool {
    number < 1 << 62
}

fn narrow(value: usize) -> u8 {
    u8::try_from(value).expect("lane and drive numbers are below LANES_MAX")
}

fn length(value: usize) -> u32 {
    u32::try_from(value).expect("lengths in a stripe are below the segment size, which is below 4 GiB")
}

pub(crate) fn u32_at(bytes: &[u8], offset: usize) -> u32 {
    u32::from_le_bytes(bytes[offset..offset + 4].try_into().expect("4 bytes"))
}

pub(crate) fn u64_at(bytes: &[u8], offset: usize) -> u64 {
    u64::from_le_bytes(bytes[offset..offset + 8].try_into().expect("8 bytes"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn a_header() -> FrameHeader {
        let mut drives = [0; LANES_MAX];
        drives[..6].copy_from_slice(&[3, 4, 5, 0, 1, 2]);
        let mut used_bytes = [0; LANES_MAX];
        used_bytes[..6].copy_from_slice(&[5000, 0, 17, 0, 5000, 5000]);
        FrameHeader {
            stripe: StripeHeader {
                set: SetId::from_bytes([7; 16]),
                data: 4,
                parity: 2,
                segment: 9,
                generation: 3,
                sequence: 1234,
                offset: 8192,
                first_stamp: 77,
                last_stamp: 80,
                coded_bytes: 5000,
                drives,
                used_bytes,
            },
            lane: 2,
            record_count: 1,
            scan_bytes: 17,
            scan_crc: 1,
            payload_crc: 2,
        }
    }

    #[test]
    fn headers_round_trip() {
        let header = a_header();
        assert_eq!(FrameHeader::decode(&header.encode()), Some(header));
        let predecessor = Predecessor { segment: 8, end_offset: 4096 * 7, next_sequence: 99 };
        let segment =
            SegmentHeader { set: SetId::from_bytes([7; 16]), segment: 9, generation: 2, predecessor, checkpoint: 4 };
        assert_eq!(SegmentHeader::decode(&segment.encode()), Some(segment));
    }

    #[test]
    fn numbers_that_were_never_counted_to_are_refused() {
        for change in [
            |stripe: &mut StripeHeader| stripe.sequence = u64::MAX,
            |stripe: &mut StripeHeader| stripe.last_stamp = u64::MAX,
            |stripe: &mut StripeHeader| stripe.first_stamp = stripe.last_stamp + 1,
            |stripe: &mut StripeHeader| stripe.coded_bytes = 1 << 31,
        ] {
            let mut header = a_header();
            change(&mut header.stripe);
            assert_eq!(FrameHeader::decode(&header.encode()), None);
        }
    }

    proptest! {
        #[test]
        fn a_header_with_any_bit_flipped_is_refused(bit in 0..FRAME_HEADER_BYTES * 8) {
            let mut bytes = a_header().encode();
            bytes[bit / 8] ^= 1 << (bit % 8);
            prop_assert_eq!(FrameHeader::decode(&bytes), None);
        }

        #[test]
        fn numbers_survive_the_round_trip(
            segment in 0u64..1 << 62, generation in 0u64..1 << 62, sequence in 0u64..1 << 62, blocks in 0u64..1 << 40,
            stamps in (0u64..1 << 61, 0u64..1 << 61), coded in 5000usize..1 << 30,
        ) {
            let mut header = a_header();
            header.stripe = StripeHeader {
                segment, generation, sequence, offset: blocks * 4096,
                first_stamp: stamps.0, last_stamp: stamps.0 + stamps.1, coded_bytes: coded, ..header.stripe
            };
            prop_assert_eq!(FrameHeader::decode(&header.encode()), Some(header));
        }
    }
}
