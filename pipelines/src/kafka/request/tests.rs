//! Frames of every request in every version: as the message crate writes them, and as the table of shapes says they are.

use super::api::SERVED;
use super::fixture::{Sample, samples};
use super::shape::{Kind, Structure, shape};
use super::walk::{ELEMENTS_MAX, STRING_BYTES_MAX, TAGGED_FIELDS_MAX, Walk};
use super::*;
use bytes::{BufMut, BytesMut};
use proptest::prelude::*;

/// A value that no count, length, or varint may have.
const HUGE: i32 = i32::MAX;
/// The same as a varint of four bytes and one.
const HUGE_VARINT: [u8; 5] = [0xff, 0xff, 0xff, 0xff, 0x07];

fn flaw(frame: impl Into<Bytes>) -> Option<Flaw> {
    match decode(frame.into()) {
        Ok(_) => None,
        Err(RequestError::Malformed { what, .. }) => Some(what),
        Err(other) => panic!("{other}"),
    }
}

/// The header of a request in a version, with tagged fields where it has them.
fn header(api: ApiKey, version: i16) -> BytesMut {
    let mut frame = BytesMut::new();
    frame.put_i16(api.number());
    frame.put_i16(version);
    frame.put_i32(1);
    frame.put_i16(-1);
    if version >= shape(api).flexible_from {
        frame.put_u8(0);
    }
    frame
}

fn frame(api: ApiKey, version: i16, body: &[u8]) -> Bytes {
    let mut frame = header(api, version);
    frame.put_slice(body);
    frame.freeze()
}

fn varint(mut value: u32, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value.to_le_bytes()[0] | 0x80);
        value >>= 7;
    }
    out.push(value.to_le_bytes()[0]);
}

/// Writes frames by the table of shapes, each choice drawn from `choices`.
struct Writer<'a> {
    version: i16,
    flexible: bool,
    choices: &'a mut dyn Iterator<Item = u8>,
    out: Vec<u8>,
    /// Where counts and lengths stand, and how many bytes they take.
    lengths: Vec<(usize, usize, Kind)>,
}

impl Writer<'_> {
    fn choose(&mut self, below: u8) -> u8 {
        self.choices.next().unwrap_or(0) % below
    }

    fn length(&mut self, length: Option<u32>, kind: Kind) {
        let start = self.out.len();
        let signed = length.map_or(-1, |length| i32::try_from(length).unwrap());
        match kind {
            _ if self.flexible => varint(length.map_or(0, |length| length + 1), &mut self.out),
            Kind::String => self.out.put_i16(i16::try_from(signed).unwrap()),
            _ => self.out.put_i32(signed),
        }
        self.lengths.push((start, self.out.len() - start, kind));
    }

    fn value(&mut self, kind: Kind, may_be_null: bool) {
        if may_be_null && self.choose(4) == 0 {
            self.length(None, kind);
            return;
        }
        match kind {
            Kind::Fixed(bytes) => {
                for _ in 0..bytes {
                    let byte = self.choose(255);
                    self.out.push(byte);
                }
            }
            Kind::String | Kind::Bytes => {
                let length = self.choose(5);
                self.length(Some(length.into()), kind);
                self.out.extend(std::iter::repeat_n(b'x', length.into()));
            }
            Kind::Array(element) => {
                let count = self.choose(4);
                self.length(Some(count.into()), kind);
                for _ in 0..count {
                    self.value(*element, false);
                }
            }
            Kind::Structure(structure) => self.structure(structure),
        }
    }

    fn structure(&mut self, structure: &Structure) {
        for field in structure.fields {
            if let Some(kind) = field.kind(self.version) {
                self.value(kind, field.may_be_null(self.version));
            }
        }
        if !self.flexible {
            return;
        }
        let known: Vec<_> = structure.tagged.iter().filter(|(_, field)| field.kind(self.version).is_some()).collect();
        let (known, unknown) = (&known[..usize::from(self.choose(3)).min(known.len())], self.choose(2));
        varint(u32::try_from(known.len()).unwrap() + u32::from(unknown), &mut self.out);
        for (tag, field) in known {
            let outer = std::mem::take(&mut self.out);
            let lengths = self.lengths.len();
            self.value(field.kind(self.version).unwrap(), field.may_be_null(self.version));
            // lengths inside are left out: they move
            self.lengths.truncate(lengths);
            let inner = std::mem::replace(&mut self.out, outer);
            varint(*tag, &mut self.out);
            varint(u32::try_from(inner.len()).unwrap(), &mut self.out);
            self.out.extend(inner);
        }
        if unknown == 1 {
            self.out.extend([99, 3, 1, 2, 3]);
        }
    }
}

/// A frame by the table, and where its counts and lengths stand.
fn written(api: ApiKey, version: i16, choices: &mut dyn Iterator<Item = u8>) -> (Vec<u8>, Vec<(usize, usize, Kind)>) {
    let shape = shape(api);
    let (flexible, out) = (version >= shape.flexible_from, header(api, version).to_vec());
    let mut writer = Writer { version, flexible, choices, out, lengths: Vec::new() };
    writer.structure(&shape.body);
    (writer.out, writer.lengths)
}

fn versions() -> impl Iterator<Item = (ApiKey, i16)> {
    SERVED.iter().flat_map(|(api, first, last)| (*first..=*last).map(|version| (*api, version)))
}

#[test]
fn every_request_in_every_version_is_read_as_it_was_written() {
    let samples = samples();
    for (api, version) in versions() {
        assert!(
            samples.iter().any(|sample| (sample.key, sample.version) == (api.number(), version)),
            "{api} {version}"
        );
    }
    for Sample { key, version, correlation_id, client_id, frame, body } in samples {
        let api = ApiKey::from_number(key).unwrap();
        let read = decode(frame).unwrap_or_else(|error| panic!("{api} {version}: {error}: {body}"));
        assert_eq!((read.api, read.version, read.correlation_id), (api, version, correlation_id));
        assert_eq!(read.client_id.as_deref(), client_id);
        assert_eq!(format!("{:?}", read.body), format!("{api}({body})"), "{version}");
    }
}

#[test]
fn every_frame_that_is_cut_is_refused_and_what_follows_is_passed_over() {
    for Sample { key, version, frame, .. } in samples() {
        for end in 0..frame.len() {
            assert!(flaw(frame.slice(..end)).is_some(), "{key} {version} cut at {end}");
        }
        let longer = [&frame[..], &[0]].concat();
        assert_eq!(flaw(longer), None, "{key} {version}");
    }
}

/// The table and the crate agree on frames that the crate did not write; a huge count or length anywhere is refused.
#[test]
fn every_count_and_length_is_held_against_the_bytes_left() {
    let mut seed = 7_u32;
    for (api, version) in versions() {
        let mut counts = 0;
        for _ in 0..60 {
            let mut choices = std::iter::repeat_with(|| {
                seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                seed.to_be_bytes()[0]
            });
            let (frame, lengths) = written(api, version, &mut choices);
            assert_eq!(flaw(frame.clone()), None, "{api} {version} {frame:x?}");
            let flexible = version >= shape(api).flexible_from;
            for (start, bytes, kind) in lengths {
                counts += usize::from(matches!(kind, Kind::Array(_)));
                let huge = match kind {
                    _ if flexible => HUGE_VARINT.to_vec(),
                    Kind::String => i16::MAX.to_be_bytes().to_vec(),
                    _ => HUGE.to_be_bytes().to_vec(),
                };
                let damaged = [&frame[..start], &huge, &frame[start + bytes..]].concat();
                let expected = match kind {
                    Kind::Array(_) => Flaw::Count,
                    Kind::String if flexible => Flaw::LongString,
                    _ => Flaw::EndsEarly,
                };
                assert_eq!(flaw(damaged), Some(expected), "{api} {version} at {start}");

                let below = match kind {
                    _ if flexible => [0xff; 5].to_vec(),
                    Kind::String => (-2_i16).to_be_bytes().to_vec(),
                    _ => i32::MIN.to_be_bytes().to_vec(),
                };
                let damaged = [&frame[..start], &below, &frame[start + bytes..]].concat();
                let expected = if flexible { Flaw::Varint } else { Flaw::Negative };
                assert_eq!(flaw(damaged), Some(expected), "{api} {version} at {start}");
            }
        }
        let has_arrays = match api {
            ApiKey::FindCoordinator => version >= 4,
            ApiKey::Produce
            | ApiKey::Fetch
            | ApiKey::ListOffsets
            | ApiKey::Metadata
            | ApiKey::CreateTopics
            | ApiKey::DescribeConfigs => true,
            _ => false,
        };
        assert_eq!(counts > 0, has_arrays, "{api} {version}");
    }
}

#[test]
fn records_and_names_are_slices_of_the_frame() {
    for Sample { frame, .. } in samples() {
        let Request::Produce(request) = decode(frame.clone()).unwrap().body else { continue };
        let within = frame.as_ptr_range();
        for topic in &request.topic_data {
            assert!(topic.name.is_empty() || within.contains(&topic.name.as_ptr()));
            for records in topic.partition_data.iter().filter_map(|partition| partition.records.as_ref()) {
                assert!(records.is_empty() || within.contains(&records.as_ptr()));
            }
        }
    }
}

#[test]
fn null_is_refused_where_the_protocol_has_none() {
    let (metadata, produce) = (ApiKey::Metadata, ApiKey::Produce);
    for (api, version, body, expected) in [
        // all topics: an empty list in version 0, null later
        (metadata, 0, b"\xff\xff\xff\xff".as_slice(), Some(Flaw::Null)),
        (metadata, 1, b"\xff\xff\xff\xff", None),
        (metadata, 9, b"\x00\x00\x00\x00\x00", None),
        // a topic without a name: by its id from version 10
        (metadata, 3, b"\x00\x00\x00\x01\xff\xff", Some(Flaw::Null)),
        (metadata, 9, b"\x02\x00\x00\x00\x00\x00\x00", Some(Flaw::Null)),
        (metadata, 10, b"\x020123456789abcdef\x00\x00\x00\x00\x00\x00", None),
        (produce, 3, b"\xff\xff\x00\x01\x00\x00\x00\x01\xff\xff\xff\xff", Some(Flaw::Null)),
        (produce, 9, b"\x00\x00\x01\x00\x00\x00\x01\x00\x00", Some(Flaw::Null)),
        (produce, 9, b"\x00\x00\x01\x00\x00\x00\x01\x01\x00", None),
        (ApiKey::SaslHandshake, 1, b"\xff\xff", Some(Flaw::Null)),
        (ApiKey::SaslAuthenticate, 2, b"\x00\x00", Some(Flaw::Null)),
        (ApiKey::FindCoordinator, 4, b"\x00\x02\x00\x00", Some(Flaw::Null)),
    ] {
        assert_eq!(flaw(frame(api, version, body)), expected, "{api} {version} {body:x?}");
    }
}

#[test]
fn tagged_fields_are_as_long_as_they_say_and_of_their_version() {
    // isolation level, session, no topics, none forgotten, no rack
    let fetch = |version, tagged: &[u8]| {
        let fixed = if version <= 14 { 16 } else { 12 };
        flaw(frame(ApiKey::Fetch, version, &[&vec![0; fixed + 9][..], &[1, 1, 1], tagged].concat()))
    };
    let state = [7; 12];
    for (version, tagged, expected) in [
        (12, b"\x00".as_slice(), None),
        (12, b"\x01\x00\x03\x03ab", None),
        (12, b"\x01\x00\x01\x00", None),
        (12, b"\x01\x00\x04\x03abc", Some(Flaw::TagLength)),
        (12, b"\x01\x00\x02\x03ab", Some(Flaw::EndsEarly)),
        (12, b"\x01\x00\x00", Some(Flaw::EndsEarly)),
        (12, b"\x01\x00\x7f\x03ab", Some(Flaw::EndsEarly)),
        (14, &[b"\x01\x01\x0d", &state[..], b"\x00"].concat(), Some(Flaw::TagOfOtherVersion)),
        (15, &[b"\x01\x01\x0d", &state[..], b"\x00"].concat(), None),
        (15, &[b"\x02\x00\x01\x00\x01\x0d", &state[..], b"\x00"].concat(), None),
        (15, &[b"\x01\x01\x0c", &state[..], b"\x00"].concat(), Some(Flaw::EndsEarly)),
        // passed over, whatever their number
        (12, b"\x02\x02\x01x\xff\xff\xff\xff\x0f\x00", None),
        (12, b"\x01\x02\x02x", Some(Flaw::EndsEarly)),
        (12, b"\x02\x02\x00", Some(Flaw::Count)),
        (12, b"\x80\x80\x80\x80\x10", Some(Flaw::Varint)),
        (12, b"\x80\x80\x80\x80\x80\x00", Some(Flaw::Varint)),
        // padded to five bytes
        (12, b"\x80\x80\x80\x80\x00", None),
    ] {
        assert_eq!(fetch(version, tagged), expected, "{version} {tagged:x?}");
    }
}

#[test]
fn counts_and_strings_have_bounds_of_their_own() {
    let coordinators = |count: usize| {
        let mut body = vec![0];
        varint(u32::try_from(count + 1).unwrap(), &mut body);
        body.extend(std::iter::repeat_n(1, count));
        body.push(0);
        flaw(frame(ApiKey::FindCoordinator, 4, &body))
    };
    assert_eq!(coordinators(ELEMENTS_MAX), None);
    assert_eq!(coordinators(ELEMENTS_MAX + 1), Some(Flaw::TooManyElements));

    let tagged = |count: usize| {
        let mut body = vec![0, 1];
        varint(u32::try_from(count).unwrap(), &mut body);
        body.extend(std::iter::repeat_n([3, 0], count).flatten());
        flaw(frame(ApiKey::DescribeCluster, 1, &body))
    };
    assert_eq!(tagged(TAGGED_FIELDS_MAX), None);
    assert_eq!(tagged(TAGGED_FIELDS_MAX + 1), Some(Flaw::TooManyTagged));

    let named = |bytes: usize| {
        let mut body = Vec::new();
        varint(u32::try_from(bytes + 1).unwrap(), &mut body);
        body.extend(std::iter::repeat_n(b'n', bytes));
        body.extend([1, 0]);
        flaw(frame(ApiKey::ApiVersions, 3, &body))
    };
    assert_eq!(named(STRING_BYTES_MAX), None);
    assert_eq!(named(STRING_BYTES_MAX + 1), Some(Flaw::LongString));
    assert_eq!(flaw(frame(ApiKey::SaslHandshake, 0, b"\x00\x02\xc3\x28")), Some(Flaw::NotUtf8));
}

#[test]
fn what_is_not_answered_says_who_asked_for_what() {
    // as a client of a later Kafka would write it, with a name and what nobody knows yet
    let asks = |key: i16, version: i16, rest: &[u8]| {
        decode([&key.to_be_bytes()[..], &version.to_be_bytes(), &[0, 0, 0, 9], rest].concat().into()).unwrap_err()
    };
    let (named, name) = (b"\x00\x04kcat??".as_slice(), Some("kcat".to_owned()));
    let unsupported = |api, version, client_id: &Option<String>| {
        let client_id = client_id.clone();
        RequestError::UnsupportedVersion { api, version, correlation_id: 9, client_id }
    };
    assert_eq!(asks(18, 5, named), unsupported(ApiKey::ApiVersions, 5, &name));
    assert_eq!(asks(18, -1, named), unsupported(ApiKey::ApiVersions, -1, &name));
    assert_eq!(asks(18, i16::MAX, b"\x00\xffx"), unsupported(ApiKey::ApiVersions, i16::MAX, &None));
    assert_eq!(asks(0, 2, named), unsupported(ApiKey::Produce, 2, &name));
    assert_eq!(asks(0, 12, named), unsupported(ApiKey::Produce, 12, &name));
    assert_eq!(
        asks(11, 9, named),
        RequestError::UnsupportedKey { key: 11, version: 9, correlation_id: 9, client_id: name }
    );
    for served in
        [b"\x00\x12\x00\x00\x00\x00\x00\x09\x00\x05kcat".as_slice(), b"\x00\x12\x00\x00\x00\x00\x00\x09\xff\xfe"]
    {
        assert!(matches!(decode(Bytes::from_static(served)), Err(RequestError::Malformed { field: "header", .. })));
    }
    let error = asks(11, 9, named).to_string();
    assert_eq!(error, "request 11 in version 9 is not answered; see the answer to ApiVersions for those that are");
    let error = decode(frame(ApiKey::Metadata, 0, b"\x7f\xff\xff\xff")).unwrap_err().to_string();
    assert_eq!(error, "malformed request: topics at byte 14: more elements than the bytes that are left can hold");
}

/// What the walk lets pass the message crate reads, to the last byte.
fn walk_and_crate_agree(frame: impl Into<Bytes>) {
    let frame = frame.into();
    if let Err(RequestError::Malformed { what, field, at }) = decode(frame.clone()) {
        assert_ne!(what, Flaw::Unreadable, "{field} {at} {frame:x?}");
        assert!(at <= frame.len());
    }
}

#[test]
fn four_bytes_or_a_varint_replaced_anywhere_end_in_an_answer() {
    for Sample { frame, .. } in samples() {
        for at in 8..frame.len() {
            for value in [HUGE, -1, i32::MIN, 0x0100_0000, 0x00ff_ffff] {
                let mut damaged = frame.to_vec();
                let end = frame.len().min(at + 4);
                damaged[at..end].copy_from_slice(&value.to_be_bytes()[..end - at]);
                walk_and_crate_agree(damaged);
            }
            for value in [&HUGE_VARINT[..], &[0xff; 5], &[0xff, 0xff, 0xff, 0xff, 0x0f], &[0x80, 0x01], &[]] {
                let after = (at + 1..frame.len()).find(|after| frame[after - 1] < 0x80).unwrap_or(frame.len());
                walk_and_crate_agree([&frame[..at], value, &frame[after..]].concat());
            }
        }
    }
}

#[test]
fn the_walk_ends_at_the_first_byte_when_nothing_is_there() {
    assert_eq!(flaw(Bytes::new()), Some(Flaw::EndsEarly));
    assert_eq!(Walk::new(&[]).at(), 0);
}

proptest! {
    #[test]
    fn any_bytes_end_in_an_answer(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        walk_and_crate_agree(bytes);
    }

    #[test]
    fn any_body_ends_in_an_answer(
        which in any::<proptest::sample::Index>(),
        body in proptest::collection::vec(prop_oneof![0_u8..4, any::<u8>()], 0..120),
    ) {
        let all: Vec<_> = versions().collect();
        let (api, version) = all[which.index(all.len())];
        walk_and_crate_agree(frame(api, version, &body));
    }

    #[test]
    fn frames_by_the_table_are_read_and_damaged_ones_end_in_an_answer(
        which in any::<proptest::sample::Index>(),
        choices in proptest::collection::vec(any::<u8>(), 0..400),
        damage in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let all: Vec<_> = versions().collect();
        let (api, version) = all[which.index(all.len())];
        let (mut frame, _) = written(api, version, &mut choices.into_iter());
        prop_assert_eq!(flaw(frame.clone()), None);
        for (at, byte) in damage {
            let at = at.index(frame.len());
            frame[at] = byte;
        }
        walk_and_crate_agree(frame);
    }
}
