//! Records: the heads in front of a lane's payload, the bodies behind them, and the rows inside a `Rows` body.
//!
//! A lane's payload is the table of 64-byte heads, then the bodies in the order of the heads. Pieces come last, so that the
//! scan region (heads and metadata) is one run at the start. Pure functions over bytes.

use crate::append::{ROW_DELETE, ROW_PUT, ROW_PUT_STAMPED};
use crate::frame::{crc64, u32_at, u64_at};
use crate::view::Space;
use cistern_types::BlobId;
use std::borrow::Cow;

/// Bytes of a record head.
pub(crate) const HEAD_BYTES: usize = 64;

/// What a record is. The order is the order inside a lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// Metadata rows of one commit.
    Rows,
    /// Blobs that are no longer needed.
    Forget,
    /// What the view holds for some keys at this place of the log: a part of a checkpoint.
    State,
    /// Segments that are no longer part of the log.
    Retire,
    /// A piece of a chunk.
    Piece,
}

impl Kind {
    fn code(self) -> u8 {
        match self {
            Self::Rows => 1,
            Self::Forget => 2,
            Self::Piece => 3,
            Self::State => 4,
            Self::Retire => 5,
        }
    }

    fn of_code(code: u8) -> Option<Self> {
        [Self::Rows, Self::Forget, Self::Piece, Self::State, Self::Retire].into_iter().find(|kind| kind.code() == code)
    }
}

/// Which part of which blob a piece is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PieceOf {
    pub(crate) blob: BlobId,
    pub(crate) chunk: u32,
    pub(crate) chunk_bytes: u32,
    pub(crate) last: bool,
    pub(crate) index: u8,
    pub(crate) count: u8,
    /// Where the piece begins in its chunk.
    pub(crate) chunk_offset: u32,
    /// Whether the chunk lay in another stripe before.
    pub(crate) moved: bool,
}

const FLAG_LAST: u8 = 1;
const FLAG_MOVED: u8 = 2;

/// A record head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) kind: Kind,
    pub(crate) stamp: u64,
    /// Where the body begins in the payload.
    pub(crate) body_offset: u32,
    pub(crate) body_bytes: u32,
    pub(crate) body_crc: u64,
    /// Only for pieces.
    pub(crate) piece: Option<PieceOf>,
}

impl Head {
    pub(crate) fn encode(&self) -> [u8; HEAD_BYTES] {
        let mut bytes = [0; HEAD_BYTES];
        bytes[0] = self.kind.code();
        bytes[4..8].copy_from_slice(&self.body_bytes.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.stamp.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.body_crc.to_le_bytes());
        bytes[24..28].copy_from_slice(&self.body_offset.to_le_bytes());
        if let Some(piece) = &self.piece {
            bytes[1] = if piece.last { FLAG_LAST } else { 0 } | if piece.moved { FLAG_MOVED } else { 0 };
            bytes[2] = piece.index;
            bytes[3] = piece.count;
            bytes[28..32].copy_from_slice(&piece.chunk.to_le_bytes());
            bytes[32..48].copy_from_slice(piece.blob.as_bytes());
            bytes[48..52].copy_from_slice(&piece.chunk_bytes.to_le_bytes());
            bytes[52..56].copy_from_slice(&piece.chunk_offset.to_le_bytes());
        }
        bytes
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let kind = Kind::of_code(bytes[0])?;
        let piece = (kind == Kind::Piece).then(|| PieceOf {
            blob: BlobId::from_bytes(bytes[32..48].try_into().expect("16 bytes")),
            chunk: u32_at(bytes, 28),
            chunk_bytes: u32_at(bytes, 48),
            last: bytes[1] & FLAG_LAST != 0,
            moved: bytes[1] & FLAG_MOVED != 0,
            index: bytes[2],
            count: bytes[3],
            chunk_offset: u32_at(bytes, 52),
        });
        Some(Self {
            kind,
            stamp: u64_at(bytes, 8),
            body_offset: u32_at(bytes, 24),
            body_bytes: u32_at(bytes, 4),
            body_crc: u64_at(bytes, 16),
            piece,
        })
    }
}

/// Heads of the `count` records at the start of a lane's payload, or `None` when the table does not hold together.
pub(crate) fn decode_heads(scan: &[u8], count: usize) -> Option<Vec<Head>> {
    let table = scan.get(..count.checked_mul(HEAD_BYTES)?)?;
    let mut heads = Vec::with_capacity(count);
    let mut expected = table.len();
    for bytes in table.chunks_exact(HEAD_BYTES) {
        let head = Head::decode(bytes)?;
        if head.body_offset as usize != expected {
            return None;
        }
        expected += head.body_bytes as usize;
        if head.kind != Kind::Piece && expected > scan.len() {
            return None;
        }
        heads.push(head);
    }
    heads.is_sorted_by_key(|head| head.kind).then_some(heads)
}

/// How many records a lane's payload holds and how long its scan region is: what its header said, when only the payload
/// was rebuilt. The first body begins right behind the table, which gives the count.
pub(crate) fn measure(payload: &[u8]) -> Option<(usize, usize)> {
    let first = Head::decode(payload.get(..HEAD_BYTES)?)?;
    let table_bytes = first.body_offset as usize;
    let count = table_bytes / HEAD_BYTES;
    if count == 0 || !table_bytes.is_multiple_of(HEAD_BYTES) {
        return None;
    }
    let heads = decode_heads(payload, count)?;
    Some((count, scan_bytes(&heads)))
}

/// Bytes of the scan region: the table and the bodies that are not pieces.
pub(crate) fn scan_bytes(heads: &[Head]) -> usize {
    let bodies = heads.iter().filter(|head| head.kind != Kind::Piece).map(|head| head.body_bytes as usize);
    heads.len() * HEAD_BYTES + bodies.sum::<usize>()
}

/// The body of a record, checked, out of its lane's bytes.
pub(crate) fn body<'a>(lane: &'a [u8], head: &Head) -> Option<&'a [u8]> {
    let start = head.body_offset as usize;
    let body = lane.get(start..start + head.body_bytes as usize)?;
    (crc64(body) == head.body_crc).then_some(body)
}

/// One row of a `Rows` body: the full key, and its value unless it is deleted.
pub(crate) type Row<'a> = (Cow<'a, [u8]>, Option<&'a [u8]>);

/// The rows of a body, or `None` when it does not hold together.
pub(crate) fn decode_rows(mut body: &[u8], stamp: u64) -> Option<Vec<Row<'_>>> {
    let mut rows = Vec::new();
    while let Some((op, rest)) = body.split_first() {
        let (key_bytes, rest) = rest.split_first_chunk::<2>()?;
        let key_bytes = usize::from(u16::from_le_bytes(*key_bytes));
        let (value_bytes, rest) = match *op {
            ROW_DELETE => (None, rest),
            ROW_PUT | ROW_PUT_STAMPED => {
                let (value_bytes, rest) = rest.split_first_chunk::<4>()?;
                (Some(u32::from_le_bytes(*value_bytes) as usize), rest)
            }
            _ => return None,
        };
        let (key, rest) = rest.split_at_checked(key_bytes)?;
        let key =
            if *op == ROW_PUT_STAMPED { Cow::Owned([key, &stamp.to_be_bytes()].concat()) } else { Cow::Borrowed(key) };
        let (value, rest) = rest.split_at_checked(value_bytes.unwrap_or(0))?;
        rows.push((key, value_bytes.map(|_| value)));
        body = rest;
    }
    Some(rows)
}

/// The ids of a `Forget` body.
pub(crate) fn decode_forget(body: &[u8]) -> Option<Vec<BlobId>> {
    let (ids, rest) = body.as_chunks::<16>();
    rest.is_empty().then(|| ids.iter().map(|id| BlobId::from_bytes(*id)).collect())
}

/// A key of the view and what it holds.
pub(crate) type StateEntry<'a> = (Space, &'a [u8], &'a [u8]);

/// Adds an entry to a `State` body.
pub(crate) fn encode_state(entry: StateEntry<'_>, body: &mut Vec<u8>) {
    let (space, key, value) = entry;
    body.push(space.code());
    body.extend_from_slice(&u16::try_from(key.len()).expect("keys of the view are at most 4 KiB").to_le_bytes());
    body.extend_from_slice(&u32::try_from(value.len()).expect("values of the view are at most 100 KB").to_le_bytes());
    body.extend_from_slice(key);
    body.extend_from_slice(value);
}

/// The entries of a `State` body, or `None` when it does not hold together.
pub(crate) fn decode_state(mut body: &[u8]) -> Option<Vec<StateEntry<'_>>> {
    let mut entries = Vec::new();
    while let Some((code, rest)) = body.split_first() {
        let space = Space::of_code(*code)?;
        let (key_bytes, rest) = rest.split_first_chunk::<2>()?;
        let (value_bytes, rest) = rest.split_first_chunk::<4>()?;
        let (key, rest) = rest.split_at_checked(usize::from(u16::from_le_bytes(*key_bytes)))?;
        let (value, rest) = rest.split_at_checked(u32::from_le_bytes(*value_bytes) as usize)?;
        entries.push((space, key, value));
        body = rest;
    }
    Some(entries)
}

/// The numbers of a `Retire` body.
pub(crate) fn decode_retire(body: &[u8]) -> Option<Vec<u64>> {
    let (segments, rest) = body.as_chunks::<8>();
    rest.is_empty().then(|| segments.iter().map(|segment| u64::from_le_bytes(*segment)).collect())
}

pub(crate) fn encode_retire(segments: &[u64]) -> Vec<u8> {
    segments.iter().flat_map(|segment| segment.to_le_bytes()).collect()
}

pub(crate) fn encode_forget(ids: &[BlobId]) -> Vec<u8> {
    ids.iter().flat_map(|id| *id.as_bytes()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Rows;
    use proptest::prelude::*;

    #[derive(Debug, Clone)]
    enum Op {
        Put(Vec<u8>, Vec<u8>),
        Delete(Vec<u8>),
        Stamped(Vec<u8>, Vec<u8>),
    }

    fn an_op() -> impl Strategy<Value = Op> {
        let bytes = || prop::collection::vec(any::<u8>(), 1..40);
        prop_oneof![
            (bytes(), bytes()).prop_map(|(key, value)| Op::Put(key, value)),
            bytes().prop_map(Op::Delete),
            (bytes(), bytes()).prop_map(|(key, value)| Op::Stamped(key, value)),
        ]
    }

    proptest! {
        #[test]
        fn rows_round_trip(ops in prop::collection::vec(an_op(), 0..20), stamp: u64) {
            let mut rows = Rows::new();
            let mut expected = Vec::new();
            for op in ops {
                match op {
                    Op::Put(key, value) => { rows.put(&key, &value); expected.push((key, Some(value))); }
                    Op::Delete(key) => { rows.delete(&key); expected.push((key, None)); }
                    Op::Stamped(key, value) => {
                        rows.put_stamped(&key, &value);
                        expected.push(([&key[..], &stamp.to_be_bytes()].concat(), Some(value)));
                    }
                }
            }
            let found = decode_rows(&rows.encoded, stamp).unwrap();
            let found: Vec<_> = found.into_iter().map(|(key, value)| (key.into_owned(), value.map(<[u8]>::to_vec))).collect();
            prop_assert_eq!(found, expected);
        }

        #[test]
        fn state_round_trips(entries in prop::collection::vec((0u8..3, prop::collection::vec(any::<u8>(), 0..40), prop::collection::vec(any::<u8>(), 0..40)), 0..20)) {
            let spaces = [Space::Rows, Space::Pieces, Space::Segments];
            let entries: Vec<_> = entries.iter().map(|(space, key, value)| (spaces[usize::from(*space)], &key[..], &value[..])).collect();
            let mut body = Vec::new();
            for entry in &entries {
                encode_state(*entry, &mut body);
            }
            prop_assert_eq!(decode_state(&body), Some(entries));
        }

        #[test]
        fn any_bytes_decode_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..400), count in 0usize..8) {
            let rows = decode_rows(&bytes, 1);
            let heads = decode_heads(&bytes, count);
            let measured = measure(&bytes);
            let state = decode_state(&bytes);
            prop_assert!(state.is_none_or(|entries| entries.len() <= bytes.len()));
            // reaching this line is the point; the values only need to be used
            prop_assert!(rows.is_none_or(|rows| rows.len() <= bytes.len()));
            prop_assert!(heads.is_none_or(|heads| heads.len() == count));
            prop_assert!(measured.is_none_or(|(count, _)| count > 0));
        }

        #[test]
        fn heads_round_trip(stamp: u64, crc: u64, chunk: u32, last: bool, index: u8, count: u8, id: [u8; 16], body_bytes in 0u32..1000) {
            let piece = PieceOf {
                blob: BlobId::from_bytes(id), chunk, chunk_bytes: 7, last, index, count, chunk_offset: 9, moved: !last,
            };
            let head = Head { kind: Kind::Piece, stamp, body_offset: 64, body_bytes, body_crc: crc, piece: Some(piece) };
            prop_assert_eq!(decode_heads(&head.encode(), 1), Some(vec![head]));
        }
    }

    #[test]
    fn a_table_whose_bodies_overlap_is_refused() {
        let head = Head { kind: Kind::Rows, stamp: 1, body_offset: 0, body_bytes: 4, body_crc: 0, piece: None };
        let mut bytes = head.encode().to_vec();
        bytes.extend([0; 8]);
        assert_eq!(decode_heads(&bytes, 1), None);
    }
}
