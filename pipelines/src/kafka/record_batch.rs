//! Kafka record batches (message format 2), as producers send them: a bounded reader that copies nothing.
//!
//! ```text
//! records field   batch [batch ..]
//! batch           header of 61 bytes, then record_count records, which are compressed together or not at all
//! record          length, attributes, timestamp delta, offset delta, key, value, headers
//! ```
//!
//! [`batches`] checks each header and its CRC-32C before it hands the batch out; [`RecordBatch::records`] unpacks within a limit and
//! checks every record, so that reading them afterwards cannot fail. No number from the wire decides how much memory is taken.
//! What a broker refuses is refused here too: control batches, empty batches, offset deltas other than 0, 1, 2 and so on.

mod codec;
#[cfg(any(test, feature = "testing"))]
pub(crate) mod fuzz;
#[cfg(test)]
mod tests;
mod write;

pub(crate) use write::write_batch;

use bytes::{Buf, Bytes};
use std::fmt;
use std::iter::FusedIterator;

/// The bytes of a batch before its records.
pub(crate) const HEADER_BYTES: usize = 61;
/// The header's bytes that `batch_length` does not count: the base offset and `batch_length` itself.
const UNCOUNTED_BYTES: usize = 12;
/// The least `batch_length` there is: a header without records.
const BATCH_LENGTH_MIN: usize = HEADER_BYTES - UNCOUNTED_BYTES;
/// Where the message format's number stands, in every format.
const MAGIC_AT: usize = 16;
/// The message format read and written here.
const MAGIC: i8 = 2;
/// Where the bytes that the checksum covers begin; they end with the batch.
const CHECKED_AT: usize = 21;
/// The least bytes of a record: seven numbers of one byte each.
const RECORD_BYTES_MIN: usize = 7;
/// The least bytes of a record's header: the lengths of its key and its value.
const RECORD_HEADER_BYTES_MIN: usize = 2;
/// The most bytes of a 32-bit number in a record.
const VARINT_BYTES_MAX: usize = 5;
/// The most bytes of a 64-bit number in a record.
const VARLONG_BYTES_MAX: usize = 10;

const CODEC_BITS: i16 = 0b111;
const LOG_APPEND_TIME_BIT: i16 = 1 << 3;
const TRANSACTIONAL_BIT: i16 = 1 << 4;
const CONTROL_BIT: i16 = 1 << 5;

/// Why a records field is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RecordBatchError {
    /// There are fewer bytes than a header has.
    #[error("the last batch has {left} bytes: its header alone has {HEADER_BYTES}")]
    Cut {
        /// The bytes there are.
        left: usize,
    },
    /// A message set from before Kafka 0.11.
    #[error("message format {magic} is not taken: send format 2, record batches")]
    OldMagic {
        /// The format, 0 or 1.
        magic: i8,
    },
    /// A format that does not exist.
    #[error("message format {magic} is unknown: send format 2, record batches")]
    UnknownMagic {
        /// What stands for the format.
        magic: i8,
    },
    /// `batch_length` is no length of a batch, or of more than there is.
    #[error("batch_length is {length}: it may be {BATCH_LENGTH_MIN} to {left}, the bytes that follow it")]
    BatchLength {
        /// What is stated.
        length: i32,
        /// The bytes that follow.
        left: usize,
    },
    /// The checksum is another one than the bytes have.
    #[error("the batch states CRC-32C {stated:08x}, its bytes have {actual:08x}")]
    Crc {
        /// What the header says.
        stated: u32,
        /// What the bytes have.
        actual: u32,
    },
    /// A batch of transaction markers, which brokers alone write.
    #[error("the batch is a control batch: producers send data only")]
    ControlBatch,
    /// A codec that does not exist.
    #[error("codec {codec} is unknown: it may be 0 (none), 1 (gzip), 2 (snappy), 3 (lz4) or 4 (zstd)")]
    UnknownCodec {
        /// The number in the attributes.
        codec: i16,
    },
    /// There is no record, or there are more than the bytes can hold.
    #[error("record_count is {count}: it may be 1 to {max}, as many as the batch has bytes for")]
    RecordCount {
        /// What is stated.
        count: i32,
        /// As many as there can be.
        max: usize,
    },
    /// The last offset does not fit the number of records.
    #[error("last_offset_delta is {delta}: it must be one less than record_count, {count}")]
    LastOffsetDelta {
        /// What is stated.
        delta: i32,
        /// The number of records.
        count: i32,
    },
    /// The records are larger than they may be.
    #[error("the batch has more than {limit} bytes when it is unpacked: send smaller batches")]
    TooLarge {
        /// The bytes it may have.
        limit: usize,
    },
    /// The compressed bytes are no such bytes.
    #[error("the batch's {codec} data is broken: {reason}")]
    Compression {
        /// What the batch is said to be packed with.
        codec: Codec,
        /// What the decoder says.
        reason: String,
    },
    /// A record is malformed.
    #[error("record {index} of the batch: {fault}")]
    Record {
        /// Which one, from 0.
        index: usize,
        /// What is wrong with it.
        fault: RecordFault,
    },
    /// There are bytes after the last record.
    #[error("{bytes} bytes follow the last record: there may be none")]
    TrailingBytes {
        /// So many.
        bytes: usize,
    },
}

/// What is wrong with a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RecordFault {
    /// It ends before all of its fields are there.
    #[error("it ends within a field")]
    Cut,
    /// A number is longer than its kind.
    #[error("a number has more than 32 bits, or 64 where it is a timestamp")]
    Number,
    /// Its length is negative or more than there is.
    #[error("its length is {length}: {left} bytes are left")]
    Length {
        /// What is stated.
        length: i32,
        /// The bytes there are.
        left: usize,
    },
    /// The length of a key or value is below -1 or more than there is.
    #[error("the length of a field is {length}: it may be -1, which is null, to {left}, the bytes left")]
    FieldLength {
        /// What is stated.
        length: i32,
        /// The bytes there are.
        left: usize,
    },
    /// A header without a key.
    #[error("a header's key is null: it may be empty")]
    NullHeaderKey,
    /// The number of headers is negative or more than there are bytes for.
    #[error("the number of headers is {count}: it may be 0 to {max}, as many as the record has bytes for")]
    HeaderCount {
        /// What is stated.
        count: i32,
        /// As many as there can be.
        max: usize,
    },
    /// The offsets are not in order or have gaps.
    #[error("its offset delta is {found}: it must be its place in the batch")]
    OffsetDelta {
        /// What is stated.
        found: i32,
    },
    /// It is longer than its fields.
    #[error("{bytes} bytes follow its last field: there may be none")]
    TrailingBytes {
        /// So many.
        bytes: usize,
    },
}

/// What the records of a batch are packed with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Codec {
    /// Nothing.
    None,
    /// gzip, one or several members.
    Gzip,
    /// Snappy: one raw block, or the framing of snappy-java.
    Snappy,
    /// LZ4, one frame.
    Lz4,
    /// Zstandard, one frame.
    Zstd,
}

impl Codec {
    fn of(attributes: i16) -> Result<Self, RecordBatchError> {
        Ok(match attributes & CODEC_BITS {
            0 => Self::None,
            1 => Self::Gzip,
            2 => Self::Snappy,
            3 => Self::Lz4,
            4 => Self::Zstd,
            codec => return Err(RecordBatchError::UnknownCodec { codec }),
        })
    }
}

impl fmt::Display for Codec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "uncompressed",
            Self::Gzip => "gzip",
            Self::Snappy => "snappy",
            Self::Lz4 => "lz4",
            Self::Zstd => "zstd",
        })
    }
}

/// What the timestamps of a batch mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum TimestampType {
    /// When the producer made each record.
    CreateTime,
    /// When a broker took the batch: `max_timestamp`, for all of its records.
    LogAppendTime,
}

/// The header of a batch, without what has been checked already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BatchHeader {
    /// The offset of the first record; producers send 0.
    pub(crate) base_offset: i64,
    /// The leader's epoch; producers send anything.
    pub(crate) partition_leader_epoch: i32,
    /// What the records are packed with.
    pub(crate) codec: Codec,
    /// What the timestamps mean.
    pub(crate) timestamp_type: TimestampType,
    /// Whether the batch is part of a transaction.
    pub(crate) transactional: bool,
    /// What the records' timestamps count from, in milliseconds since 1970; -1 is none.
    pub(crate) base_timestamp: i64,
    /// The largest timestamp of the records, in milliseconds since 1970, as the producer says; -1 is none.
    pub(crate) max_timestamp: i64,
    /// The idempotent producer's id; -1 is none.
    pub(crate) producer_id: i64,
    /// The idempotent producer's epoch; -1 is none.
    pub(crate) producer_epoch: i16,
    /// The sequence number of the first record; -1 is none.
    pub(crate) base_sequence: i32,
    /// The number of records, 1 or more. Whether there are so many, [`RecordBatch::records`] checks.
    pub(crate) record_count: i32,
}

/// One batch whose header and checksum are good.
#[derive(Debug, Clone)]
pub(crate) struct RecordBatch {
    header: BatchHeader,
    body: Bytes,
}

/// Iterates over the batches in a records field; each batch's header and CRC-32C are checked before it is handed out. Ends after the
/// first error. An empty field has no batches.
pub(crate) fn batches(records: Bytes) -> Batches {
    Batches { rest: records }
}

/// See [`batches`].
#[derive(Debug, Clone)]
pub(crate) struct Batches {
    rest: Bytes,
}

impl Iterator for Batches {
    type Item = Result<RecordBatch, RecordBatchError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let batch = RecordBatch::split_from(&mut self.rest);
        if batch.is_err() {
            self.rest.clear();
        }
        Some(batch)
    }
}

impl FusedIterator for Batches {}

impl RecordBatch {
    /// Takes the first batch off `records`.
    fn split_from(records: &mut Bytes) -> Result<Self, RecordBatchError> {
        let left = records.len();
        match records.get(MAGIC_AT).map(|byte| byte.cast_signed()) {
            Some(MAGIC) | None => {}
            Some(magic @ (0 | 1)) => return Err(RecordBatchError::OldMagic { magic }),
            Some(magic) => return Err(RecordBatchError::UnknownMagic { magic }),
        }
        let Some(header) = records.first_chunk::<HEADER_BYTES>().copied() else {
            return Err(RecordBatchError::Cut { left });
        };
        // The getters below take HEADER_BYTES together, so that none can fail.
        let mut fields = &header[..];
        let base_offset = fields.get_i64();
        let length = fields.get_i32();
        let left = left - UNCOUNTED_BYTES;
        let counted = usize::try_from(length).ok().filter(|counted| (BATCH_LENGTH_MIN..=left).contains(counted));
        let Some(counted) = counted else { return Err(RecordBatchError::BatchLength { length, left }) };

        let mut body = records.split_to(UNCOUNTED_BYTES + counted);
        let partition_leader_epoch = fields.get_i32();
        fields.advance(1);
        let (stated, actual) = (fields.get_u32(), crc32c(&body[CHECKED_AT..]));
        if stated != actual {
            return Err(RecordBatchError::Crc { stated, actual });
        }

        let attributes = fields.get_i16();
        let last_offset_delta = fields.get_i32();
        let header = BatchHeader {
            base_offset,
            partition_leader_epoch,
            codec: Codec::of(attributes)?,
            timestamp_type: match attributes & LOG_APPEND_TIME_BIT {
                0 => TimestampType::CreateTime,
                _ => TimestampType::LogAppendTime,
            },
            transactional: attributes & TRANSACTIONAL_BIT != 0,
            base_timestamp: fields.get_i64(),
            max_timestamp: fields.get_i64(),
            producer_id: fields.get_i64(),
            producer_epoch: fields.get_i16(),
            base_sequence: fields.get_i32(),
            record_count: fields.get_i32(),
        };
        body.advance(HEADER_BYTES);
        if attributes & CONTROL_BIT != 0 {
            return Err(RecordBatchError::ControlBatch);
        }
        let count = header.record_count;
        if count < 1 {
            return Err(RecordBatchError::RecordCount { count, max: body.len() / RECORD_BYTES_MIN });
        }
        if last_offset_delta != count - 1 {
            return Err(RecordBatchError::LastOffsetDelta { delta: last_offset_delta, count });
        }
        Ok(Self { header, body })
    }

    /// The header.
    pub(crate) fn header(&self) -> &BatchHeader {
        &self.header
    }

    /// The bytes of the records as they were sent, packed or not.
    pub(crate) fn packed_bytes(&self) -> usize {
        self.body.len()
    }

    /// Unpacks the records, which may then have `limit` bytes together, and checks all of them. Takes no more memory than that and
    /// what [`codec::unpack`] names; uncompressed records are not copied.
    pub(crate) fn records(&self, limit: usize) -> Result<Records, RecordBatchError> {
        let bytes = codec::unpack(self.header.codec, &self.body, limit)?;
        let (count, max) = (self.header.record_count, bytes.len() / RECORD_BYTES_MIN);
        let records = match usize::try_from(count) {
            Ok(count) if count <= max => Records { bytes, count },
            _ => return Err(RecordBatchError::RecordCount { count, max }),
        };
        records.check()?;
        Ok(records)
    }
}

/// The unpacked records of a batch, all of them well formed.
#[derive(Debug, Clone)]
pub(crate) struct Records {
    bytes: Bytes,
    count: usize,
}

/// One record. Its headers have been checked and are left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Record<'a> {
    /// Its place in the batch, from 0: what to add to the base offset and to the base sequence.
    pub(crate) offset_delta: i32,
    /// What to add to the base timestamp, in milliseconds. Any number: the sum may overflow.
    pub(crate) timestamp_delta: i64,
    /// The key.
    pub(crate) key: Option<&'a [u8]>,
    /// The value.
    pub(crate) value: Option<&'a [u8]>,
}

impl Records {
    /// The number of records, 1 or more.
    #[cfg(any(test, feature = "testing"))]
    pub(crate) fn count(&self) -> usize {
        self.count
    }

    /// The unpacked bytes. Keys and values are slices of them, so [`Bytes::slice_ref`] makes owned ones without a copy.
    pub(crate) fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// The records in order.
    pub(crate) fn iter(&self) -> RecordIter<'_> {
        RecordIter { rest: &self.bytes, left: self.count }
    }

    /// Walks all records once, so that [`Records::iter`] meets none that is malformed.
    fn check(&self) -> Result<(), RecordBatchError> {
        let mut rest = &*self.bytes;
        for index in 0..self.count {
            check_record(&mut rest, index).map_err(|fault| RecordBatchError::Record { index, fault })?;
        }
        if rest.is_empty() { Ok(()) } else { Err(RecordBatchError::TrailingBytes { bytes: rest.len() }) }
    }
}

impl<'a> IntoIterator for &'a Records {
    type Item = Record<'a>;
    type IntoIter = RecordIter<'a>;

    fn into_iter(self) -> RecordIter<'a> {
        self.iter()
    }
}

/// See [`Records::iter`].
#[derive(Debug, Clone)]
pub(crate) struct RecordIter<'a> {
    rest: &'a [u8],
    left: usize,
}

impl<'a> Iterator for RecordIter<'a> {
    type Item = Record<'a>;

    #[inline]
    fn next(&mut self) -> Option<Record<'a>> {
        self.left = self.left.checked_sub(1)?;
        // Never an error: the same bytes have been walked when they were unpacked.
        split_record(&mut self.rest).ok().map(|(record, _)| record)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for RecordIter<'_> {}
impl FusedIterator for RecordIter<'_> {}

/// The CRC-32C of batches.
fn crc32c(bytes: &[u8]) -> u32 {
    crc_fast::crc32_iscsi(bytes)
}

/// Takes the first record off `rest` and checks all of it.
fn check_record(rest: &mut &[u8], index: usize) -> Result<(), RecordFault> {
    let (record, headers) = split_record(rest)?;
    if usize::try_from(record.offset_delta) != Ok(index) {
        return Err(RecordFault::OffsetDelta { found: record.offset_delta });
    }
    check_headers(headers)
}

/// Takes the first record off `rest`; answers it and the bytes of its headers, which are not looked at.
#[inline]
fn split_record<'a>(rest: &mut &'a [u8]) -> Result<(Record<'a>, &'a [u8]), RecordFault> {
    let length = varint(rest)?;
    let within = usize::try_from(length).ok().and_then(|bytes| rest.split_at_checked(bytes));
    let Some((mut fields, behind)) = within else {
        return Err(RecordFault::Length { length, left: rest.len() });
    };
    *rest = behind;
    // The record's attributes: no bit has a meaning.
    fields = fields.get(1..).ok_or(RecordFault::Cut)?;
    let timestamp_delta = varlong(&mut fields)?;
    let offset_delta = varint(&mut fields)?;
    let key = split_field(&mut fields)?;
    let value = split_field(&mut fields)?;
    Ok((Record { offset_delta, timestamp_delta, key, value }, fields))
}

/// Checks the headers of a record, which end with it.
fn check_headers(mut fields: &[u8]) -> Result<(), RecordFault> {
    let count = varint(&mut fields)?;
    let max = fields.len() / RECORD_HEADER_BYTES_MIN;
    if usize::try_from(count).is_ok_and(|count| count <= max) {
        for _ in 0..count {
            split_field(&mut fields)?.ok_or(RecordFault::NullHeaderKey)?;
            split_field(&mut fields)?;
        }
    } else {
        return Err(RecordFault::HeaderCount { count, max });
    }
    if fields.is_empty() { Ok(()) } else { Err(RecordFault::TrailingBytes { bytes: fields.len() }) }
}

/// Takes a length and so many bytes off `fields`; `None` is null.
#[inline]
fn split_field<'a>(fields: &mut &'a [u8]) -> Result<Option<&'a [u8]>, RecordFault> {
    let length = varint(fields)?;
    if length == -1 {
        return Ok(None);
    }
    let within = usize::try_from(length).ok().and_then(|bytes| fields.split_at_checked(bytes));
    let Some((field, behind)) = within else {
        return Err(RecordFault::FieldLength { length, left: fields.len() });
    };
    *fields = behind;
    Ok(Some(field))
}

/// Takes a zigzag number of 32 bits off `bytes`. Nearly all have one byte or two.
#[inline]
fn varint(bytes: &mut &[u8]) -> Result<i32, RecordFault> {
    let number = match **bytes {
        [one @ 0..0x80, ..] => {
            *bytes = &bytes[1..];
            u32::from(one)
        }
        [one, two @ 0..0x80, ..] => {
            *bytes = &bytes[2..];
            u32::from(one & 0x7f) | u32::from(two) << 7
        }
        _ => u32::try_from(long_number(bytes, VARINT_BYTES_MAX)?).map_err(|_| RecordFault::Number)?,
    };
    Ok((number >> 1).cast_signed() ^ -(number & 1).cast_signed())
}

/// Takes a zigzag number of 64 bits off `bytes`.
#[inline]
fn varlong(bytes: &mut &[u8]) -> Result<i64, RecordFault> {
    let number = match **bytes {
        [one @ 0..0x80, ..] => {
            *bytes = &bytes[1..];
            u64::from(one)
        }
        _ => long_number(bytes, VARLONG_BYTES_MAX)?,
    };
    Ok((number >> 1).cast_signed() ^ -(number & 1).cast_signed())
}

/// Takes a number of at most `bytes_max` bytes off `bytes`, seven bits each, the lowest first.
fn long_number(bytes: &mut &[u8], bytes_max: usize) -> Result<u64, RecordFault> {
    let mut number = 0;
    for (index, byte) in bytes.iter().take(bytes_max).enumerate() {
        let (bits, shift) = (u64::from(byte & 0x7f), 7 * index);
        if bits << shift >> shift != bits {
            return Err(RecordFault::Number);
        }
        number |= bits << shift;
        if *byte < 0x80 {
            *bytes = &bytes[index + 1..];
            return Ok(number);
        }
    }
    Err(if bytes.len() < bytes_max { RecordFault::Cut } else { RecordFault::Number })
}
