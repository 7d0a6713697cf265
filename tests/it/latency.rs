//! A 4 KiB GET on one connection answers in well under a millisecond. Servers that leave Nagle's algorithm on wait about
//! 44 ms for the client's delayed ACK; the limit here lies between the two with room for a busy machine.

use crate::sandbox::server_with_bucket;
use cistern_tests::{Call, Content, wait};
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
