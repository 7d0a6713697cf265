//! Frames and record batches made by hand, and a connection that sends them.

use super::{API_VERSIONS, PRODUCE};
use cistern_tests::Server;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

pub(super) const ANSWER_LIMIT: Duration = Duration::from_secs(20);

/// A short string: its length in two bytes, then itself.
pub(super) fn string(text: &str) -> Vec<u8> {
    [&i16::try_from(text.len()).unwrap().to_be_bytes()[..], text.as_bytes()].concat()
}

/// A request without its length, with the header of versions that are not flexible.
pub(super) fn request(key: i16, version: i16, correlation: i32, body: &[u8]) -> Vec<u8> {
    let numbers = [&key.to_be_bytes()[..], &version.to_be_bytes(), &correlation.to_be_bytes()].concat();
    [numbers, string("by hand"), body.to_vec()].concat()
}

/// The same with the header of flexible versions, which ends with a count of tagged fields.
pub(super) fn flexible(key: i16, version: i16, correlation: i32, body: &[u8]) -> Vec<u8> {
    request(key, version, correlation, &[&[0], body].concat())
}

pub(super) fn framed(bytes: &[u8]) -> Vec<u8> {
    [&i32::try_from(bytes.len()).unwrap().to_be_bytes()[..], bytes].concat()
}

/// CRC-32C, a bit at a time.
pub(super) fn crc32c(bytes: &[u8]) -> u32 {
    const POLYNOMIAL: u32 = 0x82f6_3b78;
    let step = |crc: u32| (crc >> 1) ^ if crc & 1 == 1 { POLYNOMIAL } else { 0 };
    !bytes.iter().fold(!0, |crc, byte| (0..8).fold(crc ^ u32::from(*byte), |crc, _| step(crc)))
}

pub(super) fn varint(number: i32, out: &mut Vec<u8>) {
    let mut left = (number.cast_unsigned() << 1) ^ (number >> 31).cast_unsigned();
    while left >= 0x80 {
        out.push((left & 0x7f) as u8 | 0x80);
        left >>= 7;
    }
    out.push((left & 0x7f) as u8);
}

/// Who a batch is of.
#[derive(Debug, Clone, Copy)]
pub(super) struct Of {
    pub(super) producer: i64,
    pub(super) epoch: i16,
    pub(super) first: i32,
}

pub(super) const NOBODY: Of = Of { producer: -1, epoch: -1, first: -1 };

/// A record batch of format 2, not packed; `count` is what its header says, whatever is in it.
pub(super) fn batch_saying(values: &[&str], of: Of, count: i32) -> Vec<u8> {
    let mut records = Vec::new();
    for (number, value) in values.iter().enumerate() {
        let mut record = vec![0, 0]; // attributes, timestamp delta
        varint(i32::try_from(number).unwrap(), &mut record);
        varint(-1, &mut record); // no key
        varint(i32::try_from(value.len()).unwrap(), &mut record);
        record.extend_from_slice(value.as_bytes());
        varint(0, &mut record); // no headers
        varint(i32::try_from(record.len()).unwrap(), &mut records);
        records.extend_from_slice(&record);
    }
    let mut checked = vec![0, 0]; // attributes
    checked.extend_from_slice(&(count - 1).to_be_bytes());
    checked.extend_from_slice(&[0; 16]); // first and last timestamp
    checked.extend_from_slice(&of.producer.to_be_bytes());
    checked.extend_from_slice(&of.epoch.to_be_bytes());
    checked.extend_from_slice(&of.first.to_be_bytes());
    checked.extend_from_slice(&count.to_be_bytes());
    checked.extend_from_slice(&records);
    let length = i32::try_from(checked.len() + 9).unwrap();
    let mut batch = [&0_i64.to_be_bytes()[..], &length.to_be_bytes(), &(-1_i32).to_be_bytes(), &[2]].concat();
    batch.extend_from_slice(&crc32c(&checked).to_be_bytes());
    batch.extend_from_slice(&checked);
    batch
}

pub(super) fn batch(values: &[&str], of: Of) -> Vec<u8> {
    batch_saying(values, of, i32::try_from(values.len()).unwrap())
}

/// The body of Produce from version 3 up to 8.
pub(super) fn produce(transaction: Option<&str>, acks: i16, topic: &str, partition: i32, records: &[u8]) -> Vec<u8> {
    let transaction = transaction.map_or_else(|| (-1_i16).to_be_bytes().to_vec(), string);
    let one = 1_i32.to_be_bytes();
    let times = [&acks.to_be_bytes()[..], &10_000_i32.to_be_bytes()].concat();
    [&transaction[..], &times, &one, &string(topic), &one, &partition.to_be_bytes(), &framed(records)].concat()
}

/// A connection that sends what it is given.
pub(super) struct Wire(pub(super) TcpStream);

impl Wire {
    pub(super) fn open(server: &Server) -> Self {
        let stream = TcpStream::connect(server.kafka_host()).unwrap();
        stream.set_read_timeout(Some(ANSWER_LIMIT)).unwrap();
        Self(stream)
    }

    pub(super) fn send_raw(&mut self, bytes: &[u8]) {
        self.0.write_all(bytes).unwrap();
    }

    pub(super) fn send(&mut self, request: &[u8]) {
        self.send_raw(&framed(request));
    }

    /// The next frame without its length.
    pub(super) fn frame(&mut self) -> Vec<u8> {
        let mut length = [0; 4];
        self.0.read_exact(&mut length).expect("no answer");
        let mut frame = vec![0; usize::try_from(i32::from_be_bytes(length)).unwrap()];
        self.0.read_exact(&mut frame).expect("half an answer");
        frame
    }

    /// The answer, without the correlation id that it must have.
    pub(super) fn answer(&mut self, correlation: i32) -> Answer {
        let frame = self.frame();
        assert_eq!(frame[..4], correlation.to_be_bytes(), "another answer: {frame:?}");
        Answer(frame[4..].to_vec())
    }

    /// Sends one batch by Produce version 7 and answers code and offset.
    pub(super) fn produce(&mut self, topic: &str, records: &[u8]) -> (i16, i64) {
        self.send(&request(PRODUCE, 7, 70, &produce(None, -1, topic, 0, records)));
        self.produced(70)
    }

    pub(super) fn produced(&mut self, correlation: i32) -> (i16, i64) {
        let mut answer = self.answer(correlation);
        assert_eq!(answer.int32(), 1, "topics");
        answer.string();
        assert_eq!((answer.int32(), answer.int32()), (1, 0), "partitions, and the partition");
        (answer.int16(), answer.int64())
    }

    /// Must be closed by the server, without an answer.
    #[track_caller]
    pub(super) fn must_be_closed(mut self, what: &str) {
        let read = self.0.read(&mut [0; 64]);
        let closed = match &read {
            Ok(bytes) => *bytes == 0,
            Err(error) => error.kind() == std::io::ErrorKind::ConnectionReset,
        };
        assert!(closed, "{what}: {read:?} instead of the end");
    }

    /// Must still be good for a question.
    #[track_caller]
    pub(super) fn must_be_alive(&mut self) {
        self.send(&request(API_VERSIONS, 0, 4242, &[]));
        assert_eq!(self.answer(4242).int16(), 0);
    }
}

/// An answer that is read from its front.
pub(super) struct Answer(pub(super) Vec<u8>);

impl Answer {
    pub(super) fn take<const N: usize>(&mut self) -> [u8; N] {
        let rest = self.0.split_off(N);
        std::mem::replace(&mut self.0, rest).try_into().unwrap()
    }

    pub(super) fn int16(&mut self) -> i16 {
        i16::from_be_bytes(self.take())
    }

    pub(super) fn int32(&mut self) -> i32 {
        i32::from_be_bytes(self.take())
    }

    pub(super) fn int64(&mut self) -> i64 {
        i64::from_be_bytes(self.take())
    }

    pub(super) fn string(&mut self) -> String {
        let length = usize::try_from(self.int16()).unwrap();
        let rest = self.0.split_off(length);
        String::from_utf8(std::mem::replace(&mut self.0, rest)).unwrap()
    }

    /// The body of ApiVersions in version 0: code, and (key, first, last) of each request.
    pub(super) fn versions(&mut self) -> (i16, Vec<(i16, i16, i16)>) {
        let (code, count) = (self.int16(), self.int32());
        let listed = (0..count).map(|_| (self.int16(), self.int16(), self.int16())).collect();
        assert!(self.0.is_empty(), "{} bytes too many", self.0.len());
        (code, listed)
    }
}
