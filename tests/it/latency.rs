//! A 4 KiB GET on one connection answers in well under a millisecond. Servers that leave Nagle's algorithm on wait about
//! 44 ms for the client's delayed ACK; the limit here lies between the two with room for a busy machine. And a batch does not
//! wait longer than it was asked to.

use crate::sandbox::server_with_bucket;
use cistern_tests::http::Connection;
use cistern_tests::{Call, Content, Pipeline, wait};
use std::time::Duration;

const REQUESTS: usize = 300;
const MEDIAN_MAX: Duration = Duration::from_millis(5);

#[test]
fn small_reads_on_one_connection_do_not_wait_for_a_delayed_ack() {
    let (_sandbox, _server, mut s3) = server_with_bucket("quick");
    let body = Content { seed: 1, length: 4096 }.bytes();
    s3.put("quick", "k", &body).unwrap();
    let mut times: Vec<Duration> = (0..REQUESTS)
        .map(|_| {
            let start = wait::now();
            let answer = s3.send(&Call::new("GET", "/quick/k")).unwrap();
            assert!(answer.body == body);
            start.elapsed()
        })
        .collect();
    times.sort();
    let median = times[REQUESTS / 2];
    println!("4 KiB GET on one connection: median {median:?}, p99 {:?}", times[REQUESTS * 99 / 100]);
    assert!(median < MEDIAN_MAX, "the median of {REQUESTS} reads is {median:?}");
}

/// Batches of a timeout, and how much longer than that the middle one of them may take to be in an object.
const BATCHES: usize = 7;
const TIMEOUT: Duration = Duration::from_secs(1);
const LATE_MAX: Duration = Duration::from_millis(200);

#[test]
fn an_event_is_in_an_object_when_its_batch_has_waited_as_long_as_was_asked() {
    let (_sandbox, server, _s3) = server_with_bucket("timely");
    let flags = ["--batch-timeout-secs=1", "--destination-bucket=timely"];
    let pipeline = Pipeline::create(&server, "timely", &flags).unwrap();
    let mut connection = Connection::open(server.ingest_host()).unwrap();
    let mut times: Vec<Duration> = (0..BATCHES)
        .map(|_| {
            let start = wait::now();
            pipeline.send(&mut connection, "{\"a\":1}\n").unwrap();
            pipeline.wait_written(&server, TIMEOUT * 60).unwrap();
            start.elapsed()
        })
        .collect();
    times.sort();
    println!("in an object after {times:?}");
    assert!(times[0] >= TIMEOUT, "a batch did not wait for more: {times:?}");
    assert!(times[BATCHES / 2] <= TIMEOUT + LATE_MAX, "{times:?}");
}
