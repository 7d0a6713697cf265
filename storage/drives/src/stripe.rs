//! From appends to the frames of one stripe: cut chunks into pieces, pack records into data lanes, compute parity, write headers.
//!
//! Pure apart from its reused buffers: bodies are copied once, into their lane. Small groups are packed into as few lanes as
//! do not make the stripe longer, so that a lone small write touches one data lane and the parity lanes only.

use crate::append::Append;
use crate::erasure::Erasure;
use crate::frame::{FRAME_HEADER_BYTES, FrameHeader, StripeHeader, crc64, stripe_bytes};
use crate::record::{HEAD_BYTES, Head, Kind, PieceOf, encode_forget, scan_bytes};
use crate::{LANES_MAX, NewPiece};
use aligned_vec::{AVec, ConstAlign};
use bytes::Bytes;

/// Chunks up to this lie whole in one lane: read back with one read of one drive.
const WHOLE_PIECE_BYTES_MAX: usize = 128 << 10;
/// Longer chunks are cut into pieces of at most this.
const PIECE_BYTES_MAX: usize = 256 << 10;
/// ... and their pieces' lengths are multiples of this.
const PIECE_ALIGN_BYTES: usize = 4096;

/// One record of a group, not yet placed.
#[derive(Debug)]
pub(crate) struct Record {
    kind: Kind,
    stamp: u64,
    piece: Option<PieceOf>,
    body: Bytes,
}

impl Record {
    /// A record that is no piece.
    pub(crate) fn new(kind: Kind, stamp: u64, body: Vec<u8>) -> Self {
        Self { kind, stamp, piece: None, body: body.into() }
    }

    /// Bytes of its body.
    pub(crate) fn bytes(&self) -> usize {
        self.body.len()
    }
}

/// Bytes of each piece of a chunk but the last.
fn piece_bytes(chunk_bytes: usize, data_lanes: usize) -> usize {
    if chunk_bytes <= WHOLE_PIECE_BYTES_MAX {
        return chunk_bytes.max(1);
    }
    chunk_bytes.div_ceil(data_lanes).next_multiple_of(PIECE_ALIGN_BYTES).min(PIECE_BYTES_MAX)
}

/// How long the append's records will be in the lanes, heads included.
pub(crate) fn encoded_bytes(append: &Append, data_lanes: usize) -> usize {
    let count = |piece: &NewPiece| piece.bytes.len().div_ceil(piece_bytes(piece.bytes.len(), data_lanes)).max(1);
    let pieces: usize = append.pieces.iter().map(count).sum();
    let records = pieces + usize::from(append.rows.is_some()) + usize::from(!append.forget.is_empty());
    append.bytes() + records * HEAD_BYTES
}

/// The records of an append, in the order they take effect.
pub(crate) fn records(append: Append, stamp: u64, data_lanes: usize, records: &mut Vec<Record>) {
    if let Some(rows) = append.rows {
        records.push(Record::new(Kind::Rows, stamp, rows.encoded));
    }
    if !append.forget.is_empty() {
        records.push(Record::new(Kind::Forget, stamp, encode_forget(&append.forget)));
    }
    for new in &append.pieces {
        push_chunk(new, false, stamp, data_lanes, records);
    }
}

/// The records of a chunk, which may have lain elsewhere before.
pub(crate) fn push_chunk(new: &NewPiece, moved: bool, stamp: u64, data_lanes: usize, records: &mut Vec<Record>) {
    let length = new.bytes.len();
    let step = piece_bytes(length, data_lanes);
    let count = length.div_ceil(step).max(1);
    for index in 0..count {
        let start = index * step;
        let piece = PieceOf {
            blob: new.blob,
            chunk: new.chunk,
            chunk_bytes: length.try_into().expect("a chunk is at most 1 MiB"),
            last: new.last,
            moved,
            index: index.try_into().expect("a chunk has at most 20 pieces"),
            count: count.try_into().expect("a chunk has at most 20 pieces"),
            chunk_offset: start.try_into().expect("within a chunk"),
        };
        let body = new.bytes.slice(start..(start + step).min(length));
        records.push(Record { kind: Kind::Piece, stamp, piece: Some(piece), body });
    }
}

/// Which records lie in which data lane.
fn pack(records: &[Record], data_lanes: usize) -> Vec<Vec<usize>> {
    let size = |index: &usize| HEAD_BYTES + records[*index].body.len();
    let mut order: Vec<usize> = (0..records.len()).collect();
    order.sort_by_key(|index| std::cmp::Reverse(size(index)));
    let total: usize = order.iter().map(size).sum();
    let largest = order.first().map_or(0, size);
    // the stripe is at least this long whatever we do: filling lanes up to it costs nothing
    let floor = usize::try_from(stripe_bytes(largest.max(total.div_ceil(data_lanes)))).expect("below 4 GiB")
        - FRAME_HEADER_BYTES;
    let mut lanes = vec![Vec::new(); data_lanes];
    let mut used = vec![0; data_lanes];
    for index in order {
        let size = size(&index);
        let roomy = (0..data_lanes).find(|&lane| used[lane] + size <= floor);
        let lane =
            roomy.unwrap_or_else(|| (0..data_lanes).min_by_key(|&lane| used[lane]).expect("at least one data lane"));
        used[lane] += size;
        lanes[lane].push(index);
    }
    for lane in &mut lanes {
        lane.sort_by_key(|&index| (records[index].kind, index));
    }
    lanes
}

/// Which drive each lane goes to. Lanes move round the drives with the sequence; drives that are out get the lanes that
/// matter least: empty ones, then parity, then data.
fn assign(sequence: u64, live: &[bool], filled: &[bool]) -> [u8; LANES_MAX] {
    let lanes = live.len();
    let turn = usize::try_from(sequence % lanes as u64).expect("below the number of lanes");
    let mut by_worth: Vec<usize> = (0..lanes).collect();
    by_worth.sort_by_key(|&lane| match filled.get(lane) {
        Some(false) => 0,
        None => 1,
        Some(true) => 2,
    });
    let out: Vec<usize> = (0..lanes).filter(|&drive| !live[drive]).collect();
    let lost = &by_worth[..out.len()];
    let kept = (0..lanes).filter(|lane| !lost.contains(lane));
    let writers = (0..lanes).map(|place| (place + turn) % lanes).filter(|&drive| live[drive]);
    let mut drives = [0; LANES_MAX];
    for (&lane, drive) in lost.iter().zip(out).chain(kept.collect::<Vec<_>>().iter().zip(writers)) {
        drives[lane] = u8::try_from(drive).expect("drive numbers are below LANES_MAX");
    }
    drives
}

/// The place a stripe will take in the log.
#[derive(Debug, Clone, Copy)]
pub(crate) struct StripePlace {
    pub(crate) segment: u64,
    pub(crate) generation: u64,
    pub(crate) offset: u64,
    pub(crate) sequence: u64,
}

/// Buffers for the frames of one stripe, used again for the next.
#[derive(Debug)]
pub(crate) struct Lanes {
    data: usize,
    /// Of every lane: header space, payload, and after `finish` padding.
    pub(crate) buffers: Vec<FrameBuffer>,
    heads: Vec<Vec<Head>>,
    coded_bytes: usize,
    stamps: (u64, u64),
}

/// A frame in memory, aligned as drives take it without a copy.
pub(crate) type FrameBuffer = AVec<u8, ConstAlign<FRAME_ALIGN>>;

const FRAME_ALIGN: usize = 4096;

/// A buffer with space for a frame's header in front, and room for `bytes` in all.
pub(crate) fn frame_buffer(bytes: usize) -> FrameBuffer {
    let mut buffer = FrameBuffer::with_capacity(FRAME_ALIGN, bytes.next_multiple_of(FRAME_ALIGN));
    set_length(&mut buffer, FRAME_HEADER_BYTES);
    buffer
}

/// Cuts a buffer, or fills it up with zeros. Its own `resize` writes byte after byte.
fn set_length(buffer: &mut FrameBuffer, bytes: usize) {
    static ZEROS: [u8; 16 << 10] = [0; 16 << 10];
    buffer.truncate(bytes);
    buffer.reserve(bytes - buffer.len());
    while buffer.len() < bytes {
        buffer.extend_from_slice(&ZEROS[..ZEROS.len().min(bytes - buffer.len())]);
    }
}

/// A buffer that grew for a large group is given back when it is larger than this.
const BUFFER_BYTES_KEPT: usize = 2 << 20;

impl Lanes {
    pub(crate) fn new(data: usize, parity: usize) -> Self {
        Self {
            data,
            buffers: (0..data + parity).map(|_| FrameBuffer::new(FRAME_ALIGN)).collect(),
            heads: vec![Vec::new(); data],
            coded_bytes: 0,
            stamps: (0, 0),
        }
    }

    /// Takes the buffer of a lane out, to be put back when the drive is done with it.
    pub(crate) fn take_buffer(&mut self, lane: usize) -> FrameBuffer {
        std::mem::replace(&mut self.buffers[lane], FrameBuffer::new(FRAME_ALIGN))
    }

    pub(crate) fn record_count(&self, lane: usize) -> usize {
        self.heads[lane].len()
    }

    /// Puts the records into the data lanes; answers how much of a segment the stripe will take.
    pub(crate) fn fill(&mut self, records: &[Record]) -> u64 {
        let packed = pack(records, self.data);
        for (lane, members) in packed.iter().enumerate() {
            let (buffer, heads) = (&mut self.buffers[lane], &mut self.heads[lane]);
            heads.clear();
            buffer.clear();
            buffer.shrink_to(BUFFER_BYTES_KEPT);
            if members.is_empty() {
                continue;
            }
            let mut at = members.len() * HEAD_BYTES;
            let bodies: usize = members.iter().map(|&member| records[member].body.len()).sum();
            let frame_bytes = stripe_bytes(at + bodies);
            buffer.reserve(usize::try_from(frame_bytes).expect("a frame is smaller than a segment"));
            set_length(buffer, FRAME_HEADER_BYTES);
            for &member in members {
                let record = &records[member];
                let head = Head {
                    kind: record.kind,
                    stamp: record.stamp,
                    body_offset: at.try_into().expect("below 4 GiB"),
                    body_bytes: record.body.len().try_into().expect("below 4 GiB"),
                    body_crc: crc64(&record.body),
                    piece: record.piece,
                };
                buffer.extend_from_slice(&head.encode());
                heads.push(head);
                at += record.body.len();
            }
            for &member in members {
                buffer.extend_from_slice(&records[member].body);
            }
            assert_eq!(buffer.len(), FRAME_HEADER_BYTES + at, "heads and bodies fill the lane as planned");
        }
        let longest = self.buffers[..self.data].iter().map(FrameBuffer::len).max().expect("at least one data lane");
        assert!(longest > FRAME_HEADER_BYTES, "a group has at least one record");
        self.coded_bytes = longest - FRAME_HEADER_BYTES;
        let stamps = records.iter().map(|record| record.stamp);
        self.stamps = (stamps.clone().min().unwrap_or(0), stamps.max().unwrap_or(0));
        stripe_bytes(self.coded_bytes)
    }

    /// Computes parity and headers; afterwards the buffers of the lanes in use are whole frames.
    pub(crate) fn finish(
        &mut self,
        erasure: &Erasure,
        set: crate::identity::SetId,
        place: StripePlace,
        live: &[bool],
    ) -> StripeHeader {
        let lanes = self.buffers.len();
        let mut used_bytes = [0; LANES_MAX];
        let mut filled = vec![false; self.data];
        for (lane, buffer) in self.buffers.iter_mut().enumerate() {
            let used =
                if lane < self.data { buffer.len().saturating_sub(FRAME_HEADER_BYTES) } else { self.coded_bytes };
            used_bytes[lane] = u32::try_from(used).expect("below 4 GiB");
            if lane < self.data {
                filled[lane] = used > 0;
            }
            set_length(buffer, FRAME_HEADER_BYTES + self.coded_bytes);
        }
        let (data, parity) = self.buffers.split_at_mut(self.data);
        let data: Vec<&[u8]> = data.iter().map(|buffer| &buffer[FRAME_HEADER_BYTES..]).collect();
        let mut parity: Vec<&mut [u8]> = parity.iter_mut().map(|buffer| &mut buffer[FRAME_HEADER_BYTES..]).collect();
        erasure.encode(&data, &mut parity);
        let stripe = StripeHeader {
            set,
            data: self.data,
            parity: lanes - self.data,
            segment: place.segment,
            generation: place.generation,
            sequence: place.sequence,
            offset: place.offset,
            first_stamp: self.stamps.0,
            last_stamp: self.stamps.1,
            coded_bytes: self.coded_bytes,
            drives: assign(place.sequence, live, &filled),
            used_bytes,
        };
        for lane in (0..lanes).filter(|&lane| stripe.used(lane) > 0) {
            let (record_count, scan) = self.heads.get(lane).map_or((0, 0), |heads| (heads.len(), scan_bytes(heads)));
            write_header(&mut self.buffers[lane], &stripe, lane, record_count, scan);
        }
        stripe
    }
}

/// Completes a lane's buffer (header space + coded payload) to its frame: header in front, cut to the used bytes, padded.
pub(crate) fn write_header(
    buffer: &mut FrameBuffer,
    stripe: &StripeHeader,
    lane: usize,
    record_count: usize,
    scan_bytes: usize,
) {
    let payload = &buffer[FRAME_HEADER_BYTES..];
    assert_eq!(payload.len(), stripe.coded_bytes, "the payload crc covers all coded bytes");
    let header = FrameHeader {
        stripe: stripe.clone(),
        lane,
        record_count,
        scan_bytes,
        scan_crc: crc64(&payload[..scan_bytes]),
        payload_crc: crc64(payload),
    };
    buffer[..FRAME_HEADER_BYTES].copy_from_slice(&header.encode());
    buffer.truncate(FRAME_HEADER_BYTES + stripe.used(lane));
    set_length(buffer, stripe.frame_bytes(lane));
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn record(bytes: usize) -> Record {
        Record { kind: Kind::Piece, stamp: 1, piece: None, body: Bytes::from(vec![0; bytes]) }
    }

    fn used(records: &[Record], lanes: &[Vec<usize>]) -> Vec<usize> {
        lanes.iter().map(|lane| lane.iter().map(|&index| HEAD_BYTES + records[index].body.len()).sum()).collect()
    }

    #[test]
    fn a_lone_small_write_uses_one_data_lane() {
        let records = [record(4096), record(600)];
        let lanes = pack(&records, 4);
        assert_eq!(lanes.iter().filter(|lane| !lane.is_empty()).count(), 1);
    }

    #[test]
    fn a_megabyte_is_spread_evenly() {
        let mut append = Append::default();
        let bytes = Bytes::from(vec![0; 1 << 20]);
        append.pieces.push(NewPiece { blob: cistern_types::BlobId::MIN, chunk: 0, last: true, bytes });
        let mut parts = Vec::new();
        records(append, 1, 4, &mut parts);
        let lanes = pack(&parts, 4);
        assert_eq!(used(&parts, &lanes), [(256 << 10) + HEAD_BYTES; 4]);
    }

    proptest! {
        #[test]
        fn packing_places_every_record_once_and_stays_balanced(
            sizes in prop::collection::vec(0usize..20_000, 1..60), data in 1usize..9,
        ) {
            let parts: Vec<Record> = sizes.iter().map(|&size| record(size)).collect();
            let lanes = pack(&parts, data);
            let mut placed: Vec<usize> = lanes.iter().flatten().copied().collect();
            placed.sort_unstable();
            prop_assert_eq!(placed, (0..parts.len()).collect::<Vec<_>>());
            let used = used(&parts, &lanes);
            let total: usize = used.iter().sum();
            let largest = sizes.iter().max().unwrap() + HEAD_BYTES;
            // the best conceivable is total / data; a lane is never longer than that and one record and a page more
            prop_assert!(*used.iter().max().unwrap() <= total.div_ceil(data) + largest + 4096);
        }

        #[test]
        fn lanes_go_to_different_drives_and_the_worst_to_those_that_are_out(
            sequence: u64, filled in prop::collection::vec(any::<bool>(), 1..9), out in prop::collection::vec(0usize..12, 0..3), parity in 0usize..4,
        ) {
            let lanes = filled.len() + parity;
            let live: Vec<bool> = (0..lanes).map(|drive| !out.contains(&drive)).collect();
            let drives = assign(sequence, &live, &filled);
            let mut seen: Vec<u8> = drives[..lanes].to_vec();
            seen.sort_unstable();
            prop_assert_eq!(seen, (0..u8::try_from(lanes).unwrap()).collect::<Vec<_>>());
            let worth = |lane: usize| match filled.get(lane) { Some(false) => 0, None => 1, Some(true) => 2 };
            let is_live = |lane: &usize| live[usize::from(drives[*lane])];
            let lost = (0..lanes).filter(|lane| !is_live(lane)).map(worth).max();
            let kept = (0..lanes).filter(is_live).map(worth).min();
            if let (Some(lost), Some(kept)) = (lost, kept) {
                prop_assert!(lost <= kept);
            }
        }
    }
}
