//! Writing a record batch, as consumers fetch it: uncompressed, of no producer, with values, or without, and nothing else.

use super::{CHECKED_AT, HEADER_BYTES, MAGIC, UNCOUNTED_BYTES, crc32c};
use bytes::{BufMut, BytesMut};

/// The most bytes that follow `batch_length`, which is a signed number of 32 bits; the same bounds a record.
const BATCH_LENGTH_MAX: usize = i32::MAX as usize;
/// Where `batch_length` stands.
const LENGTH_AT: usize = 8;
/// Where the checksum stands.
const CRC_AT: usize = 17;
/// Where `last_offset_delta` stands.
const LAST_OFFSET_DELTA_AT: usize = 23;
/// Where `record_count` stands.
const RECORD_COUNT_AT: usize = 57;

/// Why a batch cannot be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum WriteError {
    /// There is no record.
    #[error("a batch must have a record at least")]
    Empty,
    /// An offset is not above the one before, or below the base, or too far from it for 32 bits.
    #[error("offset {offset} cannot follow in a batch from {base_offset}: offsets ascend, by less than 2^31 in all")]
    Offset {
        /// The first offset that the batch may have.
        base_offset: i64,
        /// The one given.
        offset: i64,
    },
    /// The batch would be larger than its length can say.
    #[error("the batch would have more than {BATCH_LENGTH_MAX} bytes")]
    TooLarge,
}

/// Appends one batch of the records, given as offset and value, if any, with ascending offsets, to `out`; answers how many there are. All have
/// the timestamp `timestamp`, in milliseconds since 1970, no key and no headers. Gaps between offsets, and before the first one, are
/// kept. After an error `out` is as before.
pub(crate) fn write_batch<'a, V: Into<Option<&'a [u8]>>>(
    out: &mut BytesMut,
    base_offset: i64,
    timestamp: i64,
    records: impl IntoIterator<Item = (i64, V)>,
) -> Result<usize, WriteError> {
    let start = out.len();
    let written = append_batch(out, base_offset, timestamp, records);
    if written.is_err() {
        out.truncate(start);
    }
    written
}

fn append_batch<'a, V: Into<Option<&'a [u8]>>>(
    out: &mut BytesMut,
    base_offset: i64,
    timestamp: i64,
    records: impl IntoIterator<Item = (i64, V)>,
) -> Result<usize, WriteError> {
    let start = out.len();
    put_header(out, base_offset, timestamp);
    let (mut count, mut last_delta) = (0, -1);
    for (offset, value) in records {
        let delta = offset.checked_sub(base_offset).and_then(|delta| i32::try_from(delta).ok());
        let delta = delta.filter(|delta| *delta > last_delta).ok_or(WriteError::Offset { base_offset, offset })?;
        put_record(out, delta, value.into(), BATCH_LENGTH_MAX - (out.len() - start - UNCOUNTED_BYTES))?;
        (count, last_delta) = (count + 1, delta);
    }
    if count == 0 {
        return Err(WriteError::Empty);
    }
    let batch = &mut out[start..];
    let length = i32::try_from(batch.len() - UNCOUNTED_BYTES).map_err(|_| WriteError::TooLarge)?;
    let record_count = i32::try_from(count).map_err(|_| WriteError::TooLarge)?;
    put_at(batch, LENGTH_AT, length.to_be_bytes());
    put_at(batch, LAST_OFFSET_DELTA_AT, last_delta.to_be_bytes());
    put_at(batch, RECORD_COUNT_AT, record_count.to_be_bytes());
    let crc = crc32c(&batch[CHECKED_AT..]);
    put_at(batch, CRC_AT, crc.to_be_bytes());
    Ok(count)
}

/// The header, with zeros for what is known when the records are written.
fn put_header(out: &mut BytesMut, base_offset: i64, timestamp: i64) {
    out.reserve(HEADER_BYTES);
    out.put_i64(base_offset);
    out.put_i32(0); // batch_length
    out.put_i32(0); // partition_leader_epoch
    out.put_i8(MAGIC);
    out.put_u32(0); // crc
    out.put_i16(0); // attributes: uncompressed, CreateTime
    out.put_i32(0); // last_offset_delta
    out.put_i64(timestamp); // base_timestamp
    out.put_i64(timestamp); // max_timestamp
    out.put_i64(-1); // producer_id
    out.put_i16(-1); // producer_epoch
    out.put_i32(-1); // base_sequence
    out.put_i32(0); // record_count
}

/// One record, which may have `room` bytes.
fn put_record(out: &mut BytesMut, offset_delta: i32, value: Option<&[u8]>, room: usize) -> Result<(), WriteError> {
    let value_length = value.map_or(Ok(-1), |value| i32::try_from(value.len())).map_err(|_| WriteError::TooLarge)?;
    let value = value.unwrap_or_default();
    let fixed_bytes = 4; // attributes, timestamp delta, key length, number of headers
    let length = fixed_bytes + varint_bytes(offset_delta) + varint_bytes(value_length) + value.len();
    let stated = i32::try_from(length).map_err(|_| WriteError::TooLarge)?;
    if varint_bytes(stated) + length > room {
        return Err(WriteError::TooLarge);
    }
    out.reserve(varint_bytes(stated) + length);
    put_varint(out, stated);
    out.put_i8(0); // attributes
    put_varint(out, 0); // timestamp delta
    put_varint(out, offset_delta);
    put_varint(out, -1); // key
    put_varint(out, value_length);
    out.put_slice(value);
    put_varint(out, 0); // headers
    Ok(())
}

/// `number` with its sign in the lowest bit.
fn zigzag(number: i32) -> u32 {
    (number << 1 ^ number >> 31).cast_unsigned()
}

fn varint_bytes(number: i32) -> usize {
    match zigzag(number) {
        0..0x80 => 1,
        0x80..0x4000 => 2,
        0x4000..0x20_0000 => 3,
        0x20_0000..0x1000_0000 => 4,
        _ => 5,
    }
}

fn put_varint(out: &mut BytesMut, number: i32) {
    let mut rest = zigzag(number);
    while rest >= 0x80 {
        out.put_u8(rest.to_le_bytes()[0] | 0x80);
        rest >>= 7;
    }
    out.put_u8(rest.to_le_bytes()[0]);
}

/// Overwrites four bytes of the header, which is there.
fn put_at(batch: &mut [u8], at: usize, field: [u8; 4]) {
    batch[at..at + field.len()].copy_from_slice(&field);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kafka::record_batch::{TimestampType, batches};
    use kafka_protocol::records as kafka;
    use proptest::prelude::*;

    /// Three records at offsets 5, 7 and 305 from base 5, up to the last value, which is 70 times `x`; made by another program.
    const GOLDEN: &str = "00000000000000050000009200000000025f37444100000000012c0000018bcfe568000000018bcfe56800ffffffffffffffffffff\
        ffffffff000000031200000001066f6e65000c0000040100009c010000d804018c01";

    fn write(base_offset: i64, records: &[(i64, &[u8])]) -> Result<BytesMut, WriteError> {
        let mut out = BytesMut::new();
        let written = write_batch(&mut out, base_offset, 1_700_000_000_000, records.iter().copied());
        assert_eq!(written.is_err(), out.is_empty());
        assert!(written.is_err() || written == Ok(records.len()));
        written.map(|_| out)
    }

    #[test]
    fn a_batch_is_written_as_golden() {
        let written = write(5, &[(5, b"one"), (7, b""), (305, &[b'x'; 70])]).unwrap();
        assert_eq!(hex::encode(written), format!("{GOLDEN}{}00", "78".repeat(70)));
    }

    #[test]
    fn what_cannot_be_in_a_batch_is_refused_and_leaves_no_trace() {
        let far = i64::from(i32::MAX) + 1;
        let offset = |base_offset, offset| Err(WriteError::Offset { base_offset, offset });
        for (base, offsets, expected) in [
            (5, vec![], Err(WriteError::Empty)),
            (5, vec![4], offset(5, 4)),
            (5, vec![5, 5], offset(5, 5)),
            (5, vec![6, 7, 6], offset(5, 6)),
            (5, vec![5 + far], offset(5, 5 + far)),
            (i64::MIN, vec![i64::MAX], offset(i64::MIN, i64::MAX)),
            (5, vec![5 + far - 1], Ok(())),
            (i64::MAX, vec![i64::MAX], Ok(())),
        ] {
            let records: Vec<(i64, &[u8])> = offsets.into_iter().map(|offset| (offset, b"v".as_slice())).collect();
            let mut out = BytesMut::from(&b"before"[..]);
            let written = write_batch(&mut out, base, 0, records);
            assert_eq!(written.map(|_| ()), expected);
            assert!(out.starts_with(b"before") && (out.len() == 6) == written.is_err());
        }
        assert_eq!(put_record(&mut BytesMut::new(), 0, Some(b"12345"), 11), Err(WriteError::TooLarge));
        assert_eq!(put_record(&mut BytesMut::new(), 0, Some(b"12345"), 12), Ok(()));
    }

    #[test]
    fn batches_may_follow_each_other() {
        let mut out = write(0, &[(0, b"a")]).unwrap();
        write_batch(&mut out, 1, 2, [(1, b"b".as_slice())]).unwrap();
        let found: Vec<_> = batches(out.freeze()).map(|batch| batch.unwrap()).collect();
        assert_eq!(found.iter().map(|batch| batch.header().base_offset).collect::<Vec<_>>(), [0, 1]);
        let header = found[1].header();
        assert_eq!((header.base_timestamp, header.max_timestamp), (2, 2));
        assert_eq!(header.timestamp_type, TimestampType::CreateTime);
        assert_eq!((header.producer_id, header.producer_epoch, header.base_sequence), (-1, -1, -1));
        assert_eq!(header.partition_leader_epoch, 0);
    }

    proptest! {
        #[test]
        fn another_decoder_reads_what_is_written(
            base in 0_i64..1 << 40,
            steps in prop::collection::vec((1_i64..1000, prop::collection::vec(any::<u8>(), 0..300)), 1..40),
        ) {
            let mut next = base - 1;
            let records: Vec<(i64, &[u8])> = steps
                .iter()
                .map(|(step, value)| {
                    next += step;
                    (next, &**value)
                })
                .collect();
            let mut written = write(base, &records).unwrap().freeze();
            let found = kafka::RecordBatchDecoder::decode(&mut written).unwrap();
            prop_assert!(written.is_empty());
            prop_assert_eq!(found.records.len(), records.len());
            for (found, (offset, value)) in found.records.iter().zip(records) {
                prop_assert_eq!((found.offset, found.value.as_deref()), (offset, Some(value)));
                prop_assert_eq!((found.timestamp, found.key.as_ref()), (1_700_000_000_000, None));
                prop_assert_eq!((found.producer_id, found.producer_epoch), (-1, -1));
            }
        }
    }
}
