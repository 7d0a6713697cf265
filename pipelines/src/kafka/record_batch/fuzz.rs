//! What a fuzzer runs: the reader of record batches, which takes any bytes without a panic.
//!
//! The checksum keeps nearly all changed bytes away from the reader, so [`survive`] makes lengths and checksums good first.

use super::{CHECKED_AT, HEADER_BYTES, MAGIC, MAGIC_AT, Records, UNCOUNTED_BYTES, batches, crc32c, write_batch};
use bytes::{BufMut, Bytes, BytesMut};

/// How far batches are unpacked.
const LIMIT: usize = 1 << 20;

/// Reads the bytes as they are, as one batch whose length, format and checksum are made good, and as the body of a batch: then the
/// first byte is the attributes and the second the number of records.
pub(crate) fn survive(bytes: &[u8]) {
    read(Bytes::copy_from_slice(bytes));
    let mut batch = BytesMut::from(bytes);
    make_good(&mut batch);
    read(batch.freeze());
    if let [attributes, count, body @ ..] = bytes {
        read(batch_around(i16::from(*attributes), i32::from(*count), body));
    }
}

/// A batch of these records, packed or not, with a header that fits them.
pub(super) fn batch_around(attributes: i16, count: i32, body: &[u8]) -> Bytes {
    let mut batch = BytesMut::zeroed(CHECKED_AT);
    batch.put_i16(attributes);
    batch.put_i32(count.wrapping_sub(1)); // last_offset_delta
    batch.put_i64(1_700_000_000_000); // base_timestamp
    batch.put_i64(1_700_000_000_000); // max_timestamp
    batch.put_i64(-1); // producer_id
    batch.put_i16(-1); // producer_epoch
    batch.put_i32(-1); // base_sequence
    batch.put_i32(count);
    batch.put_slice(body);
    make_good(&mut batch);
    batch.freeze()
}

/// Makes the length, the format and the checksum of a batch good, where there is a header.
pub(crate) fn make_good(batch: &mut [u8]) {
    if batch.len() < HEADER_BYTES {
        return;
    }
    let length = u32::try_from(batch.len() - UNCOUNTED_BYTES).unwrap_or(u32::MAX);
    batch[8..UNCOUNTED_BYTES].copy_from_slice(&length.to_be_bytes());
    batch[MAGIC_AT] = MAGIC.cast_unsigned();
    let crc = crc32c(&batch[CHECKED_AT..]);
    batch[MAGIC_AT + 1..CHECKED_AT].copy_from_slice(&crc.to_be_bytes());
}

/// Reads all there is and checks what the reader promises.
fn read(bytes: Bytes) {
    for batch in batches(bytes).flatten() {
        let Ok(records) = batch.records(LIMIT) else { continue };
        assert!(records.bytes().len() <= LIMIT);
        assert_eq!(records.iter().count(), records.count());
        for (record, index) in records.iter().zip(0..) {
            assert_eq!(record.offset_delta, index);
            for field in [record.key, record.value].into_iter().flatten() {
                assert_eq!(records.bytes().slice_ref(field), field);
            }
        }
        write_again(&records);
    }
}

/// What is written of the values that were read is read as the same.
fn write_again(records: &Records) {
    let values: Vec<&[u8]> = records.iter().map(|record| record.value.unwrap_or_default()).collect();
    let mut out = BytesMut::new();
    let written = write_batch(&mut out, 7, 8, (7..).zip(values.iter().copied()));
    assert_eq!(written, Ok(values.len()));
    let batch = batches(out.freeze()).next().and_then(Result::ok);
    let again = batch.and_then(|batch| batch.records(usize::MAX).ok());
    assert!(again.is_some_and(|again| again.iter().map(|record| record.value).eq(values.into_iter().map(Some))));
}
