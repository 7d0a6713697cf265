//! Kafka's protocol byte by byte: what real clients send and rely on, each found with one of them, and frames that are wrong on
//! purpose. Frames are made by hand, so that they are what was meant whatever a library thinks.

mod frames;

use crate::kafka_clients::drained_as;
use crate::sandbox::{Sandbox, server_with_bucket};
use cistern_tests::{Pipeline, Server, wait};
use frames::{ANSWER_LIMIT, NOBODY, Of, Wire, batch, batch_saying, flexible, framed, produce, request, string};
use std::io::Write as _;
use std::time::Duration;

const PRODUCE: i16 = 0;
const FETCH: i16 = 1;
const METADATA: i16 = 3;
const FIND_COORDINATOR: i16 = 10;
const JOIN_GROUP: i16 = 11;
const SASL_HANDSHAKE: i16 = 17;
const API_VERSIONS: i16 = 18;
const INIT_PRODUCER_ID: i16 = 22;
const NO_SUCH_KEY: i16 = 9999;

const CORRUPT_MESSAGE: i16 = 2;
const UNKNOWN_TOPIC: i16 = 3;
const NOT_AUTHORIZED: i16 = 29;
const UNSUPPORTED_VERSION: i16 = 35;
const OUT_OF_ORDER: i16 = 45;
const INVALID_PRODUCER_EPOCH: i16 = 47;
const TRANSACTIONS_NOT_AUTHORIZED: i16 = 53;
const INVALID_RECORD: i16 = 87;

const KEPT: [&str; 3] = ["--batch-timeout-secs=3600", "--destination-bucket=lake", "--auth=none"];

fn started() -> (Sandbox, Server) {
    let (sandbox, server, _s3) = server_with_bucket("lake");
    Pipeline::create(&server, "open", &KEPT).unwrap();
    (sandbox, server)
}

#[test]
fn after_acks_0_comes_nothing_and_an_error_ends_the_connection() {
    let (_sandbox, server) = started();
    let mut wire = Wire::open(&server);
    for number in 0..10 {
        let event = format!("{{\"n\":{number}}}");
        wire.send(&request(PRODUCE, 7, number, &produce(None, 0, "open", 0, &batch(&[&event], NOBODY))));
    }
    wire.must_be_alive(); // its answer is the first one there is
    assert_eq!(wire.produce("open", &batch(&["{\"n\":10}"], NOBODY)), (0, 10));
    wire.send(&request(PRODUCE, 7, 11, &produce(None, 0, "none", 0, &batch(&["{}"], NOBODY))));
    wire.must_be_closed("an event that could not be taken");
    let sent: Vec<String> = (0..11).map(|number| format!("{{\"n\":{number}}}")).collect();
    drained_as(&server, "open", sent.iter().map(String::as_str), &[]);
}

#[test]
fn a_version_of_api_versions_from_the_future_is_answered_in_version_0() {
    let (_sandbox, server) = started();
    let mut wire = Wire::open(&server);
    // what a flexible client sends: name and version of its software
    wire.send(&flexible(API_VERSIONS, 99, 7, b"\x05soft\x041.0\x00"));
    let (code, listed) = wire.answer(7).versions();
    assert_eq!(code, UNSUPPORTED_VERSION);
    assert!(listed.iter().any(|(key, _, last)| *key == API_VERSIONS && *last >= 3), "{listed:?}");
    wire.send(&flexible(API_VERSIONS, 3, 8, b"\x05soft\x041.0\x00"));
    let mut answer = wire.answer(8); // its header has no tagged fields, although the body has
    assert_eq!(answer.int16(), 0);
    assert_eq!(usize::from(answer.take::<1>()[0]), listed.len() + 1, "requests, as a compact array");
    wire.must_be_alive();
}

/// Without these librdkafka falls back to formats of before 2017, packs nothing, or gives idempotence up.
#[test]
fn the_versions_offered_are_those_that_clients_need() {
    let (_sandbox, server) = started();
    let mut wire = Wire::open(&server);
    wire.send(&request(API_VERSIONS, 0, 1, &[]));
    let (code, listed) = wire.answer(1).versions();
    assert_eq!(code, 0);
    let of = |key: i16| *listed.iter().find(|(listed, ..)| *listed == key).unwrap_or(&(key, -1, -1));
    let (_, first, last) = of(PRODUCE);
    assert!(first == 0 && (9..=11).contains(&last), "Produce: {first} to {last}");
    let (_, first, last) = of(FETCH);
    assert!((0..=4).contains(&first) && last >= 10, "Fetch: {first} to {last}");
    let (_, first, last) = of(METADATA);
    assert!(first == 0 && last >= 12, "Metadata: {first} to {last}");
    for key in [FIND_COORDINATOR, SASL_HANDSHAKE, INIT_PRODUCER_ID, 36] {
        assert_ne!(of(key).1, -1, "request {key} is not offered");
    }
    assert_eq!(of(JOIN_GROUP).1, -1, "groups are offered");
}

#[test]
fn what_is_not_offered_ends_the_connection_and_the_log_says_who_asked_for_what() {
    let (_sandbox, server) = started();
    for (key, version) in [(NO_SUCH_KEY, 3), (JOIN_GROUP, 5), (METADATA, 77), (PRODUCE, 2)] {
        let mut wire = Wire::open(&server);
        wire.send(&flexible(API_VERSIONS, 3, 1, b"\x0codd-library\x064.5.6\x00"));
        wire.answer(1);
        wire.send(&request(key, version, 2, &[]));
        wire.must_be_closed("a request that is not there");
    }
    let line = |key: &str, version: i16| {
        let log = server.log();
        let said = log.lines().any(|line| {
            line.contains("WARN")
                && line.contains("odd-library 4.5.6")
                && line.contains("by hand")
                && line.contains(key)
                && line.contains(&format!("version {version}"))
        });
        Ok(said.then_some(()))
    };
    for (key, version) in [("9999", 3), ("11", 5), ("Metadata", 77), ("Produce", 2)] {
        wait::until(&format!("the log tells of {key}"), ANSWER_LIMIT, || line(key, version)).unwrap();
    }
}

#[test]
fn lengths_that_no_frame_has_end_the_connection() {
    let (_sandbox, server) = started();
    for length in [i32::MAX, -1, i32::MIN, (16 << 20) + 1] {
        let mut wire = Wire::open(&server);
        wire.send_raw(&length.to_be_bytes());
        wire.must_be_closed(&format!("a frame of {length} bytes"));
    }
    for (what, bytes) in [
        ("HTTP", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_vec()),
        ("a TLS client", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec()),
        ("an empty frame", framed(b"")),
        ("half a header", framed(&[0, 3, 0])),
        ("half a body", framed(&request(METADATA, 4, 1, &[0, 0, 0, 9]))),
        ("two billion topics", framed(&request(METADATA, 4, 1, &i32::MAX.to_be_bytes()))),
    ] {
        let mut wire = Wire::open(&server);
        wire.send_raw(&bytes);
        wire.must_be_closed(what);
    }
    Wire::open(&server).must_be_alive();
}

#[test]
fn a_login_without_frames_around_it_is_understood() {
    let (_sandbox, server) = started();
    let pipeline = Pipeline::create(&server, "closed", &KEPT[..2]).unwrap();
    let token = pipeline.token.unwrap();
    let handshake = request(SASL_HANDSHAKE, 0, 1, &string("PLAIN"));
    let mut wire = Wire::open(&server);
    assert_eq!(wire.produce("closed", &batch(&["{}"], NOBODY)).0, NOT_AUTHORIZED);
    wire.send(&handshake);
    assert_eq!(wire.answer(1).int16(), 0);
    wire.send(format!("\0closed\0{token}").as_bytes());
    assert!(wire.frame().is_empty());
    assert_eq!(wire.produce("closed", &batch(&["{\"n\":1}"], NOBODY)), (0, 0));
    let mut wrong = Wire::open(&server);
    wrong.send(&handshake);
    assert_eq!(wrong.answer(1).int16(), 0);
    wrong.send(b"\0closed\0wrong");
    wrong.must_be_closed("a wrong password");
    let mut odd = Wire::open(&server);
    odd.send(&request(SASL_HANDSHAKE, 1, 1, &string("GSSAPI")));
    let mut answer = odd.answer(1);
    assert_eq!((answer.int16(), answer.int32()), (33, 3), "an unknown mechanism, and those there are");
    drained_as(&server, "closed", ["{\"n\":1}"].into_iter(), &[]);
}

#[test]
fn requests_sent_at_once_are_answered_in_their_order() {
    const ROUNDS: i32 = 50;
    let (_sandbox, server) = started();
    let mut wire = Wire::open(&server);
    let mut all = Vec::new();
    let mut sent = Vec::new();
    for round in 0..ROUNDS {
        let event = format!("{{\"n\":{round}}}");
        let records = batch(&[&event], NOBODY);
        all.extend(framed(&request(PRODUCE, 7, round * 3, &produce(None, -1, "open", 0, &records))));
        all.extend(framed(&request(API_VERSIONS, 0, round * 3 + 1, &[])));
        all.extend(framed(&request(METADATA, 4, round * 3 + 2, &[0xff, 0xff, 0xff, 0xff, 0])));
        sent.push(event);
    }
    wire.send_raw(&all);
    for round in 0..ROUNDS {
        assert_eq!(wire.produced(round * 3), (0, i64::from(round)));
        wire.answer(round * 3 + 1);
        wire.answer(round * 3 + 2);
    }
    drained_as(&server, "open", sent.iter().map(String::as_str), &[]);
}

#[test]
fn metadata_is_answered_in_every_version_that_clients_use() {
    let (_sandbox, server) = started();
    let mut wire = Wire::open(&server);
    for version in 0..=8_i16 {
        let mut body = [&1_i32.to_be_bytes()[..], &string("open")].concat();
        body.extend_from_slice(match version {
            0..=3 => &[],
            4..=7 => &[0],
            _ => &[0, 0, 0],
        });
        wire.send(&request(METADATA, version, i32::from(version), &body));
        let answer = wire.answer(i32::from(version));
        assert!(answer.0.windows(4).any(|bytes| bytes == b"open"), "version {version} does not name the topic");
    }
    for version in 9..=12_i16 {
        let operations: &[u8] = if version < 11 { &[0, 0] } else { &[0] };
        let body = [&[0, 0][..], operations, &[0]].concat(); // all topics; make none
        wire.send(&flexible(METADATA, version, i32::from(version), &body));
        let answer = wire.answer(i32::from(version));
        assert!(answer.0.windows(4).any(|bytes| bytes == b"open"), "version {version} does not name the topic");
    }
}

/// librdkafka 2.16 asks for all topics in four bytes where one is meant: `list_topics()` of confluent-kafka is that request.
/// Kafka's brokers read the first and pass over what is left behind the last field.
#[test]
fn bytes_behind_the_last_field_are_passed_over() {
    let (_sandbox, server) = started();
    let mut wire = Wire::open(&server);
    wire.send(&flexible(METADATA, 12, 1, &[0, 0, 0, 0, 0, 0, 0]));
    let answer = wire.answer(1);
    assert!(answer.0.windows(4).any(|bytes| bytes == b"open"), "the topic is not named");
    wire.must_be_alive();
}

#[test]
fn sequence_numbers_are_kept_over_a_kill_and_told_apart() {
    let (_sandbox, server) = started();
    let spec = server.spec_on_its_ports();
    let mut wire = Wire::open(&server);
    wire.send(&request(INIT_PRODUCER_ID, 0, 1, &[0xff, 0xff, 0, 0, 0, 0]));
    let mut answer = wire.answer(1);
    let (_, code, producer, epoch) = (answer.int32(), answer.int16(), answer.int64(), answer.int16());
    assert_eq!((code, epoch), (0, 0));
    let of = |epoch: i16, first: i32| Of { producer, epoch, first };
    let one = batch(&["{\"n\":0}", "{\"n\":1}"], of(0, 0));
    let two = batch(&["{\"n\":2}"], of(0, 2));
    assert_eq!(wire.produce("open", &one), (0, 0));
    assert_eq!(wire.produce("open", &two), (0, 2));
    assert_eq!(wire.produce("open", &one), (0, 0), "sent a second time");
    server.kill().unwrap();
    let server = spec.start().unwrap();
    let mut wire = Wire::open(&server);
    assert_eq!(wire.produce("open", &one), (0, 0), "sent a second time, after a kill");
    assert_eq!(wire.produce("open", &two), (0, 2), "sent a second time, after a kill");
    assert_eq!(wire.produce("open", &batch(&["{\"n\":9}"], of(0, 5))).0, OUT_OF_ORDER);
    assert_eq!(wire.produce("open", &batch(&["{\"n\":3}"], of(0, 3))), (0, 3));
    // Java's clients raise the epoch by themselves after a refusal, and count from nothing again
    assert_eq!(wire.produce("open", &batch(&["{\"n\":4}"], of(1, 0))), (0, 4));
    assert_eq!(wire.produce("open", &batch(&["{\"n\":9}"], of(0, 4))).0, INVALID_PRODUCER_EPOCH);
    let sent: Vec<String> = (0..5).map(|number| format!("{{\"n\":{number}}}")).collect();
    drained_as(&server, "open", sent.iter().map(String::as_str), &[]);
}

#[test]
fn what_acks_1_was_answered_for_survives_a_kill() {
    let (_sandbox, server) = started();
    let spec = server.spec_on_its_ports();
    let mut wire = Wire::open(&server);
    wire.send(&request(PRODUCE, 7, 1, &produce(None, 1, "open", 0, &batch(&["{\"n\":1}"], NOBODY))));
    assert_eq!(wire.produced(1), (0, 0));
    server.kill().unwrap();
    let server = spec.start().unwrap();
    drained_as(&server, "open", ["{\"n\":1}"].into_iter(), &[]);
}

#[test]
fn transactions_are_refused_wherever_they_are_asked_for() {
    let (_sandbox, server) = started();
    let mut wire = Wire::open(&server);
    wire.send(&request(INIT_PRODUCER_ID, 0, 1, &[&string("t")[..], &[0, 0, 0, 0]].concat()));
    let mut answer = wire.answer(1);
    assert_eq!((answer.int32(), answer.int16()), (0, TRANSACTIONS_NOT_AUTHORIZED));
    wire.send(&request(PRODUCE, 7, 2, &produce(Some("t"), -1, "open", 0, &batch(&["{}"], NOBODY))));
    assert_eq!(wire.produced(2).0, TRANSACTIONS_NOT_AUTHORIZED);
    wire.send(&request(FIND_COORDINATOR, 1, 3, &[&string("t")[..], &[1]].concat()));
    let mut answer = wire.answer(3);
    assert_eq!((answer.int32(), answer.int16()), (0, TRANSACTIONS_NOT_AUTHORIZED));
    wire.must_be_alive();
    drained_as(&server, "open", std::iter::empty(), &[]);
}

#[test]
fn batches_that_are_none_are_refused_each_with_its_code() {
    let (_sandbox, server) = started();
    let mut wire = Wire::open(&server);
    let good = batch(&["{\"n\":1}"], NOBODY);
    let flipped = |at: usize| {
        let mut batch = good.clone();
        batch[at] ^= 1;
        batch
    };
    let two = [good.clone(), good.clone()].concat();
    for (what, records, codes) in [
        ("a byte of the value is another", flipped(good.len() - 3), vec![CORRUPT_MESSAGE]),
        ("cut off", good[..good.len() - 1].to_vec(), vec![CORRUPT_MESSAGE, INVALID_RECORD]),
        ("an old format", flipped(16), vec![43, INVALID_RECORD]),
        ("two billion records in 61 bytes", batch_saying(&[], NOBODY, i32::MAX), vec![INVALID_RECORD, CORRUPT_MESSAGE]),
        ("no record", batch_saying(&[], NOBODY, 0), vec![INVALID_RECORD, CORRUPT_MESSAGE]),
        ("fewer records than it says", batch_saying(&["{}"], NOBODY, 2), vec![INVALID_RECORD, CORRUPT_MESSAGE]),
        ("two batches", two, vec![INVALID_RECORD]),
        ("none", Vec::new(), vec![INVALID_RECORD]),
    ] {
        let (code, offset) = wire.produce("open", &records);
        assert!(codes.contains(&code) && offset == -1, "{what}: {code} at {offset}");
    }
    assert_eq!(wire.produce("none", &good).0, UNKNOWN_TOPIC);
    wire.send(&request(PRODUCE, 7, 1, &produce(None, -1, "open", 1, &good)));
    let mut answer = wire.answer(1);
    answer.int32();
    answer.string();
    assert_eq!(
        (answer.int32(), answer.int32(), answer.int16()),
        (1, 1, UNKNOWN_TOPIC),
        "a partition that is not there"
    );
    assert_eq!(wire.produce("open", &good), (0, 0));
    drained_as(&server, "open", ["{\"n\":1}"].into_iter(), &[]);
}

#[test]
fn one_record_that_is_no_event_leaves_the_answer_a_success() {
    let (_sandbox, server) = started();
    let mut wire = Wire::open(&server);
    let records = batch(&["{\"n\":1}", "no json", "{\"n\":2}"], NOBODY);
    assert_eq!(wire.produce("open", &records), (0, 0));
    assert_eq!(wire.produce("open", &batch(&["{\"n\":3}"], NOBODY)), (0, 3));
    let events = ["{\"n\":1}", "{\"n\":2}", "{\"n\":3}"];
    drained_as(&server, "open", events.into_iter(), &["no json"]);
}

/// Frames of people who have not logged in, almost whole, must not take the room of everybody else.
#[test]
fn half_frames_of_strangers_leave_room_for_others() {
    const STRANGERS: usize = 8;
    const FRAME_BYTES: i32 = 8 << 20;
    const WRITE_LIMIT: Duration = Duration::from_secs(2);
    let (_sandbox, server) = started();
    let strangers: Vec<_> = (0..STRANGERS)
        .map(|_| {
            let mut wire = Wire::open(&server);
            std::thread::spawn(move || {
                wire.0.set_write_timeout(Some(WRITE_LIMIT)).unwrap();
                wire.send_raw(&FRAME_BYTES.to_be_bytes());
                // the server may stop reading whenever it likes
                drop(wire.0.write_all(&vec![0; usize::try_from(FRAME_BYTES).unwrap() - 1]));
                wire
            })
        })
        .collect();
    let strangers: Vec<Wire> = strangers.into_iter().map(|stranger| stranger.join().unwrap()).collect();
    let mut wire = Wire::open(&server);
    wire.must_be_alive();
    assert_eq!(wire.produce("open", &batch(&["{\"n\":1}"], NOBODY)), (0, 0));
    drop(strangers);
}
