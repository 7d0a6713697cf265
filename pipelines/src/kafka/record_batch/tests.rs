//! The reader against hand-made batches and against the kafka-protocol crate.

use super::fuzz::{batch_around, make_good, survive};
use super::*;
use bytes::BytesMut;
use kafka_protocol::protocol::StrBytes;
use kafka_protocol::records as kafka;
use proptest::prelude::*;

const LIMIT: usize = 1 << 20;
/// A batch of an idempotent producer; made by another program.
const GOLDEN: &str = "00000000000000000000004effffffff0207a222130000000000010000018bcfe568000000018bcfe5692c00000000000012670003\
    000000280000000228000000026b0e7b2261223a317d040268027600010e00d80402010100";

fn golden() -> Bytes {
    hex::decode(GOLDEN).unwrap().into()
}

/// Reads a field of one batch.
fn read(field: Bytes) -> Result<(BatchHeader, Records), RecordBatchError> {
    let mut batches = batches(field);
    let batch = batches.next().expect("a field that is not empty has a batch")?;
    assert!(batches.next().is_none());
    Ok((*batch.header(), batch.records(LIMIT)?))
}

/// The bytes of a record that states `length` where that is given.
fn record(length: Option<i32>, fields: &[u8]) -> Vec<u8> {
    let length = length.unwrap_or(i32::try_from(fields.len()).unwrap());
    let number = (length << 1 ^ length >> 31).cast_unsigned();
    let bytes = (0..5).map(|index| (number >> (7 * index) & 0x7f) as u8 | 0x80).collect::<Vec<_>>();
    let mut bytes = bytes[..(1..5).find(|bytes| number >> (7 * bytes) == 0).unwrap_or(5)].to_vec();
    *bytes.last_mut().unwrap() &= 0x7f;
    [&bytes, fields].concat()
}

/// A good record: no key, this value, no headers.
fn good(offset_delta: u8, value: &[u8]) -> Vec<u8> {
    let length = u8::try_from(value.len() * 2).unwrap();
    record(None, &[&[0, 0, offset_delta * 2, 1, length], value, &[0]].concat())
}

#[test]
fn a_golden_batch_is_read_without_a_copy() {
    let field = golden();
    let (header, records) = read(field.clone()).unwrap();
    let expected = BatchHeader {
        base_offset: 0,
        partition_leader_epoch: -1,
        codec: Codec::None,
        timestamp_type: TimestampType::CreateTime,
        transactional: false,
        base_timestamp: 1_700_000_000_000,
        max_timestamp: 1_700_000_000_300,
        producer_id: 4711,
        producer_epoch: 3,
        base_sequence: 40,
        record_count: 2,
    };
    assert_eq!(header, expected);
    let expected = [
        Record { offset_delta: 0, timestamp_delta: 0, key: Some(b"k"), value: Some(b"{\"a\":1}") },
        Record { offset_delta: 1, timestamp_delta: 300, key: None, value: None },
    ];
    assert_eq!(records.iter().collect::<Vec<_>>(), expected);
    assert_eq!(records.iter().len(), records.count());
    let value = records.iter().next().unwrap().value.unwrap();
    assert!(field.as_ptr_range().contains(&value.as_ptr()));
}

#[test]
fn batches_follow_each_other_and_end_after_an_error() {
    let mut field = BytesMut::from(&*golden());
    field.extend_from_slice(&golden());
    field.extend_from_slice(&golden()[..30]);
    field.extend_from_slice(&golden());
    let found: Vec<_> = batches(field.freeze()).map(|batch| batch.map(|batch| batch.header().record_count)).collect();
    assert_eq!(found[..2], [Ok(2), Ok(2)]);
    assert!(found[2].is_err() && found.len() == 3, "{found:?}");
    assert_eq!(batches(Bytes::new()).count(), 0);
}

#[test]
fn attributes_are_read() {
    let attributes = LOG_APPEND_TIME_BIT | TRANSACTIONAL_BIT | 1 << 6;
    let (header, _) = read(batch_around(attributes, 1, &good(0, b"a"))).unwrap();
    assert_eq!((header.timestamp_type, header.transactional), (TimestampType::LogAppendTime, true));
}

/// Puts `bytes` at a place of the golden batch, and makes the rest good if told.
fn changed(at: usize, bytes: &[u8], good: bool) -> Bytes {
    let mut batch = BytesMut::from(&*golden());
    batch[at..at + bytes.len()].copy_from_slice(bytes);
    if good {
        make_good(&mut batch);
    }
    batch.freeze()
}

#[test]
fn bad_headers_are_refused() {
    use RecordBatchError as E;
    let left = golden().len() - UNCOUNTED_BYTES;
    let none = batch_around(0, i32::MAX, b"");
    assert_eq!(none.len(), 61);
    let golden_crc = 0x07a2_2213;
    for (field, expected) in [
        (Bytes::from_static(b"x"), E::Cut { left: 1 }),
        (golden().slice(..60), E::Cut { left: 60 }),
        (changed(16, &[0], false).slice(..26), E::OldMagic { magic: 0 }),
        (changed(16, &[1], false), E::OldMagic { magic: 1 }),
        (changed(16, &[3], false), E::UnknownMagic { magic: 3 }),
        (changed(16, &[0xff], false), E::UnknownMagic { magic: -1 }),
        (changed(8, &[0xff; 4], false), E::BatchLength { length: -1, left }),
        (changed(8, &48_u32.to_be_bytes(), false), E::BatchLength { length: 48, left }),
        (changed(8, &i32::MAX.to_be_bytes(), false), E::BatchLength { length: i32::MAX, left }),
        (golden().slice(..golden().len() - 1), E::BatchLength { length: 78, left: left - 1 }),
        (changed(17, &[0; 4], false), E::Crc { stated: 0, actual: golden_crc }),
        (changed(22, &[1 << 5], true), E::ControlBatch),
        (changed(22, &[5], true), E::UnknownCodec { codec: 5 }),
        (changed(22, &[7], true), E::UnknownCodec { codec: 7 }),
        (changed(23, &[0, 0, 0, 2], true), E::LastOffsetDelta { delta: 2, count: 2 }),
        (changed(23, &[0xff; 4], true), E::LastOffsetDelta { delta: -1, count: 2 }),
        (batch_around(0, 0, b""), E::RecordCount { count: 0, max: 0 }),
        (batch_around(0, i32::MIN, b""), E::RecordCount { count: i32::MIN, max: 0 }),
        (batch_around(0, -1, &good(0, b"a")), E::RecordCount { count: -1, max: 1 }),
        (none, E::RecordCount { count: i32::MAX, max: 0 }),
        (batch_around(0, 2, &good(0, b"abcd")), E::RecordCount { count: 2, max: 1 }),
        (batch_around(0, 1, &[good(0, b""), vec![0]].concat()), E::TrailingBytes { bytes: 1 }),
    ] {
        assert_eq!(read(field).unwrap_err(), expected);
    }
    let changed = (0..golden().len() * 8).map(|bit| changed(bit / 8, &[golden()[bit / 8] ^ 1 << (bit % 8)], false));
    for (bit, field) in changed.enumerate() {
        let unchecked = bit / 8 < 8 || (12..16).contains(&(bit / 8));
        assert_eq!(read(field).is_ok(), unchecked, "bit {bit}");
    }
}

#[test]
fn bad_records_are_refused() {
    use RecordFault as F;
    let huge = [0xfe, 0xff, 0xff, 0xff, 0x0f]; // 2^31 - 1
    for (fields, expected) in [
        (record(Some(-1), &[0; 7]), F::Length { length: -1, left: 7 }),
        (record(Some(8), &[0; 7]), F::Length { length: 8, left: 7 }),
        (record(Some(i32::MAX), &[0; 7]), F::Length { length: i32::MAX, left: 7 }),
        ([[0x80; 5].as_slice(), &[0; 8]].concat(), F::Number),
        ([[0xff, 0xff, 0xff, 0xff, 0x1f].as_slice(), &[0; 8]].concat(), F::Number),
        ([0x80; 4].repeat(2), F::Number),
        (record(None, &[0, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 2, 0, 1, 1, 0]), F::Number),
        (record(None, &[[0].as_slice(), &[0x80; 10], &[0, 0, 1, 1, 0]].concat()), F::Number),
        (record(None, &[0, 0, 0x80, 0x80, 0x80, 0x80, 0x80, 1, 1, 0]), F::Number),
        ([record(None, &[]), vec![0; 7]].concat(), F::Cut),
        ([record(None, &[0, 0]), vec![0; 7]].concat(), F::Cut),
        ([record(None, &[0, 0, 0, 1]), vec![0; 7]].concat(), F::Cut),
        ([record(None, &[0, 0, 0, 1, 1]), vec![0; 7]].concat(), F::Cut),
        (record(None, &[0, 0, 0, 0x80, 0x80, 0x80, 0x80]), F::Cut),
        (record(None, &[0, 0, 2, 1, 1, 0]), F::OffsetDelta { found: 1 }),
        (record(None, &[0, 0, 1, 1, 1, 0]), F::OffsetDelta { found: -1 }),
        (record(None, &[0, 0, 0, 3, 1, 0]), F::FieldLength { length: -2, left: 2 }),
        (record(None, &[0, 0, 0, 6, 1, 0]), F::FieldLength { length: 3, left: 2 }),
        (record(None, &[0, 0, 0, 1, 3, 0]), F::FieldLength { length: -2, left: 1 }),
        (record(None, &[&[0, 0, 0, 1], huge.as_slice(), &[0]].concat()), F::FieldLength { length: i32::MAX, left: 1 }),
        (record(None, &[0, 0, 0, 1, 1, 1]), F::HeaderCount { count: -1, max: 0 }),
        (record(None, &[0, 0, 0, 1, 1, 2, 0]), F::HeaderCount { count: 1, max: 0 }),
        (record(None, &[&[0, 0, 0, 1, 1], huge.as_slice()].concat()), F::HeaderCount { count: i32::MAX, max: 0 }),
        (record(None, &[0, 0, 0, 1, 1, 2, 1, 0]), F::NullHeaderKey),
        (record(None, &[0, 0, 0, 1, 1, 2, 3, 0]), F::FieldLength { length: -2, left: 1 }),
        (record(None, &[0, 0, 0, 1, 1, 2, 0, 3]), F::FieldLength { length: -2, left: 0 }),
        (record(None, &[0, 0, 0, 1, 1, 4, 0, 2, 7, 0]), F::Cut),
        (record(None, &[0, 0, 0, 1, 1, 0, 0]), F::TrailingBytes { bytes: 1 }),
        (record(None, &[0, 0, 0, 1, 1, 2, 0, 1, 0]), F::TrailingBytes { bytes: 1 }),
    ] {
        let field = batch_around(0, 1, &fields);
        let expected = RecordBatchError::Record { index: 0, fault: expected };
        assert_eq!(read(field).unwrap_err(), expected, "{fields:02x?}");
    }
    for order in [[0, 0], [0, 2], [1, 0], [1, 2]] {
        let body = order.map(|delta| good(delta, b"")).concat();
        let error = read(batch_around(0, 2, &body)).unwrap_err();
        assert!(matches!(error, RecordBatchError::Record { fault: RecordFault::OffsetDelta { .. }, .. }), "{error}");
    }
}

#[test]
fn numbers_of_every_length_are_read() {
    for (bytes, expected) in [
        (vec![0], 0),
        (vec![1], -1),
        (vec![0x7f], -64),
        (vec![0x80, 1], 64),
        (vec![0x80, 0], 0),
        (vec![0xff, 0xff, 3], -32768),
        (vec![0xfe, 0xff, 0xff, 0xff, 0x0f], i64::from(i32::MAX)),
        (vec![0xff, 0xff, 0xff, 0xff, 0x0f], i64::from(i32::MIN)),
    ] {
        let (mut one, mut other) = (&*bytes, &*bytes);
        assert_eq!(varint(&mut one).map(i64::from), Ok(expected), "{bytes:02x?}");
        assert_eq!(varlong(&mut other), Ok(expected), "{bytes:02x?}");
        assert!(one.is_empty() && other.is_empty());
    }
    let min = [[0xff; 9].as_slice(), &[1]].concat();
    assert_eq!(varlong(&mut &*min), Ok(i64::MIN));
}

#[test]
fn the_limit_holds_whatever_the_codec() {
    let batch = batches(golden()).next().unwrap().unwrap();
    let bytes = batch.packed_bytes();
    assert!(batch.records(bytes).is_ok());
    assert_eq!(batch.records(bytes - 1).unwrap_err(), RecordBatchError::TooLarge { limit: bytes - 1 });
    assert_eq!(batch.records(0).unwrap_err(), RecordBatchError::TooLarge { limit: 0 });
}

#[test]
fn a_batch_cut_anywhere_or_with_any_byte_changed_is_no_panic() {
    for codec in CODECS {
        let whole = encode(&some_records(20), codec);
        for end in 0..whole.len() {
            survive(&whole[..end]);
            if end > 0 {
                assert!(read(whole.slice(..end)).is_err(), "{codec:?} {end}");
            }
            let mut cut = BytesMut::from(&whole[..end]);
            make_good(&mut cut);
            if end >= HEADER_BYTES {
                assert!(read(cut.freeze()).is_err(), "{codec:?} {end}");
            }
        }
        for at in 0..whole.len() {
            for value in [0, 1, 0x7f, 0x80, 0xff] {
                let mut changed = whole.to_vec();
                changed[at] = value;
                survive(&changed);
            }
        }
    }
}

const CODECS: [kafka::Compression; 5] = [
    kafka::Compression::None,
    kafka::Compression::Gzip,
    kafka::Compression::Snappy,
    kafka::Compression::Lz4,
    kafka::Compression::Zstd,
];

/// What a producer might send: values of many lengths, some null; keys and headers now and then.
fn some_records(count: i32) -> Vec<kafka::Record> {
    let record = |index: i32| {
        let value =
            format!("{{\"n\":{index},\"text\":\"{}\"}}", "ab".repeat(usize::try_from(index * 37 % 300).unwrap()));
        let header = (StrBytes::from_static_str("trace"), (index % 2 == 0).then(|| Bytes::from_static(b"\x01\x02")));
        kafka::Record {
            transactional: false,
            control: false,
            delete_horizon: false,
            partition_leader_epoch: -1,
            producer_id: 12,
            producer_epoch: 1,
            timestamp_type: kafka::TimestampType::Creation,
            offset: i64::from(index),
            sequence: 100 + index,
            timestamp: 1_700_000_000_000 + i64::from(index * index),
            key: (index % 3 == 0).then(|| Bytes::from(format!("key{index}"))),
            value: (index % 7 != 3).then(|| Bytes::from(value)),
            headers: (index % 5 == 0).then_some(header).into_iter().collect(),
        }
    };
    (0..count).map(record).collect()
}

fn encode(records: &[kafka::Record], compression: kafka::Compression) -> Bytes {
    let mut out = BytesMut::new();
    let options = kafka::RecordEncodeOptions { version: 2, compression };
    kafka::RecordBatchEncoder::encode(&mut out, records, &options).unwrap();
    out.freeze()
}

#[test]
fn what_another_encoder_writes_is_read_with_every_codec() {
    let ours = [Codec::None, Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd];
    for (compression, codec) in CODECS.into_iter().zip(ours) {
        for count in [1, 2, 100, 3000] {
            let sent = some_records(count);
            let (header, records) = read(encode(&sent, compression)).unwrap();
            assert_eq!((header.codec, header.record_count), (codec, count));
            assert_eq!((header.producer_id, header.producer_epoch, header.base_sequence), (12, 1, 100));
            assert_eq!(header.max_timestamp, sent.last().unwrap().timestamp);
            assert_eq!(records.count(), sent.len());
            for (found, sent) in records.iter().zip(&sent) {
                assert_eq!(i64::from(found.offset_delta), sent.offset);
                assert_eq!(header.base_timestamp + found.timestamp_delta, sent.timestamp);
                assert_eq!((found.key, found.value), (sent.key.as_deref(), sent.value.as_deref()));
            }
        }
    }
}

fn any_codec() -> impl Strategy<Value = kafka::Compression> {
    (0..CODECS.len()).prop_map(|index| CODECS[index])
}

proptest! {
    #[test]
    fn any_bytes_are_no_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        survive(&bytes);
    }

    #[test]
    fn changed_batches_with_a_good_checksum_are_no_panic(
        codec in any_codec(),
        count in 1..20,
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        cut in prop::option::of(any::<prop::sample::Index>()),
    ) {
        let mut bytes = encode(&some_records(count), codec).to_vec();
        for (at, value) in changes {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        survive(&bytes);
    }

    #[test]
    fn bodies_of_small_numbers_are_no_panic(
        attributes in 0_u8..16,
        count in 1_u8..5,
        body in prop::collection::vec(prop_oneof![0_u8..16, any::<u8>()], 0..80),
    ) {
        survive(&[&[attributes, count], &*body].concat());
    }

    #[test]
    fn values_are_read_as_they_were_sent(
        codec in any_codec(),
        values in prop::collection::vec(prop::option::of(prop::collection::vec(any::<u8>(), 0..200)), 1..50),
    ) {
        let mut sent = some_records(i32::try_from(values.len()).unwrap());
        for (record, value) in sent.iter_mut().zip(&values) {
            record.value = value.clone().map(Bytes::from);
        }
        let (_, records) = read(encode(&sent, codec)).unwrap();
        prop_assert!(records.iter().map(|record| record.value).eq(values.iter().map(Option::as_deref)));
    }
}
