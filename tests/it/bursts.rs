//! More events than there is room for: senders are put off, not one acknowledged event is lost, and memory stays in its bounds.

use crate::bad_drives::House;
use crate::sandbox::{Sandbox, asked};
use cistern_tests::http::Connection;
use cistern_tests::{Pipeline, Server, flights, process, python, wait};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

const BUCKET: &str = "lake";
const SENDERS: usize = 16;
/// A little less than a body may have.
const BODY_BYTES: usize = 4_900_000;
const LIMIT: Duration = Duration::from_mins(5);
/// How long a sender who was put off waits: less than it was told to, so that more come at once.
const AGAIN_AFTER: Duration = Duration::from_millis(20);

/// The bounds that are set, each the smallest there may be.
const BOUND: &str = "32MiB";
const BOUND_BYTES: u64 = 32 << 20;
/// How many times what both bounds hold is sent (`CISTERN_BURST_TIMES`; 10 times in `cargo xtask soak`).
const TIMES: u64 = 3;
/// What a server takes besides: programs, caches, a group of batches that are being written in their several forms; huge pages count as a whole.
const OTHER_BYTES: u64 = 384 << 20;

/// What the senders of a burst were told.
#[derive(Debug, Default)]
struct Told {
    acknowledged: AtomicU64,
    put_off: AtomicU64,
}

/// Says that it is enough when it is dropped, so that the senders end with a test that fails.
struct EnoughAtLast<'a>(&'a AtomicBool);

impl Drop for EnoughAtLast<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// Sends bodies as long as `next` gives some; each until it is taken, or until `enough`.
fn send<'a>(
    server: &Server,
    pipeline: &Pipeline,
    next: impl Fn() -> Option<&'a str>,
    enough: &AtomicBool,
    told: &Told,
) {
    let mut connection = Connection::open(server.ingest_host()).unwrap();
    while let Some(body) = next() {
        loop {
            let headers = [("content-type", "application/x-ndjson")];
            let answer = pipeline.post(&mut connection, &headers, body.as_bytes()).unwrap();
            match answer.status {
                200 => {
                    let committed = answer.json().unwrap()["result"]["committed"].as_u64().unwrap();
                    assert_eq!(committed, body.lines().count() as u64);
                    told.acknowledged.fetch_add(committed, Ordering::SeqCst);
                    break;
                }
                429 | 503 => {
                    assert!(answer.header("retry-after").is_some(), "{}", answer.text());
                    told.put_off.fetch_add(1, Ordering::SeqCst);
                }
                _ => panic!("answered {}: {}", answer.status, answer.text()),
            }
            if enough.load(Ordering::SeqCst) {
                return;
            }
            wait::let_pass(AGAIN_AFTER);
            if answer.header("connection") == Some("close") {
                connection = Connection::open(server.ingest_host()).unwrap();
            }
        }
    }
}

#[test]
fn a_burst_of_much_more_than_memory_holds_arrives_whole() {
    let sandbox = Sandbox::new();
    let spec = sandbox.spec().setting("INGEST__BUFFER", BOUND).setting("INGEST__BATCH_MEMORY", BOUND);
    let server = spec.start().unwrap();
    server.s3().unwrap().create_bucket(BUCKET).unwrap();
    let flags = ["--batch-timeout-secs=2", "--destination-bucket=lake", "--auth=none"];
    let pipeline = Pipeline::create(&server, "burst", &flags).unwrap();
    let ndjson = flights::ndjson().unwrap();
    let bodies = flights::bodies(&ndjson, BODY_BYTES);
    let times = asked("CISTERN_BURST_TIMES").unwrap_or(TIMES);
    let copies = (times * 2 * BOUND_BYTES).div_ceil(ndjson.len() as u64);
    let (sent, told, enough) = (AtomicU64::new(0), Told::default(), AtomicBool::new(false));
    let next = || {
        let number = sent.fetch_add(1, Ordering::SeqCst);
        let of_all = bodies.len() as u64;
        (number < copies * of_all).then(|| bodies[usize::try_from(number % of_all).unwrap()])
    };
    let mut most = 0;
    thread::scope(|scope| {
        let senders: Vec<_> =
            (0..SENDERS).map(|_| scope.spawn(|| send(&server, &pipeline, next, &enough, &told))).collect();
        wait::until("all is sent", LIMIT, || {
            most = most.max(process::resident_bytes(server.pid())?);
            Ok(senders.iter().all(thread::ScopedJoinHandle::is_finished).then_some(()))
        })
        .unwrap();
    });
    wait::until("all is in objects", LIMIT, || {
        most = most.max(process::resident_bytes(server.pid())?);
        Ok((pipeline.lag_events(&server)? == 0).then_some(()))
    })
    .unwrap();
    println!(
        "{} MB in {} events, {} answers to come back, {} MiB resident at most",
        copies * ndjson.len() as u64 / 1_000_000,
        told.acknowledged.load(Ordering::SeqCst),
        told.put_off.load(Ordering::SeqCst),
        most >> 20
    );
    let mut expected = flights::Sums::default();
    (0..copies).for_each(|_| expected += flights::sums(&ndjson).unwrap());
    assert_eq!(told.acknowledged.load(Ordering::SeqCst), expected.rows);
    assert_eq!(python::parquet_sums(&server, "duckdb", BUCKET, "burst/").unwrap(), expected);
    assert!(most <= 2 * BOUND_BYTES + OTHER_BYTES, "{} MiB resident", most >> 20);
}

#[test]
fn events_that_come_to_full_drives_are_put_off_and_those_taken_are_all_there() {
    const SMALL: u64 = 48 << 20;
    const LARGE: u64 = 512 << 20;
    let house = House::new(SMALL);
    let server = house.spec().start().unwrap();
    server.s3().unwrap().create_bucket(BUCKET).unwrap();
    // as JSON without compression, so that they fill the drives
    let flags = ["--batch-timeout-secs=1", "--destination-bucket=lake", "--auth=none", "--format=json"];
    let flags = [&flags[..], &["--compression=none"]].concat();
    let pipeline = Pipeline::create(&server, "filling", &flags).unwrap();
    let ndjson = flights::ndjson().unwrap();
    let bodies = flights::bodies(&ndjson, BODY_BYTES);
    let (sent, told, enough) = (AtomicU64::new(0), Told::default(), AtomicBool::new(false));
    let next = || {
        let number = usize::try_from(sent.fetch_add(1, Ordering::SeqCst)).unwrap();
        (!enough.load(Ordering::SeqCst)).then(|| bodies[number % bodies.len()])
    };
    let mut full_at = 0;
    thread::scope(|scope| {
        let _at_last = EnoughAtLast(&enough);
        scope.spawn(|| send(&server, &pipeline, next, &enough, &told));
        wait::until("the drives are full", LIMIT, || {
            let before = told.acknowledged.load(Ordering::SeqCst);
            wait::let_pass(Duration::from_secs(3));
            full_at = told.acknowledged.load(Ordering::SeqCst);
            Ok((full_at > 0 && full_at == before && told.put_off.load(Ordering::SeqCst) > 0).then_some(()))
        })
        .unwrap();
        house.resize(LARGE);
        wait::until("events are taken again", LIMIT, || {
            Ok((told.acknowledged.load(Ordering::SeqCst) > full_at + 40_000).then_some(()))
        })
        .unwrap();
    });
    let acknowledged = told.acknowledged.load(Ordering::SeqCst);
    pipeline.wait_written(&server, LIMIT).unwrap();
    let mut s3 = server.s3().unwrap();
    let keys = s3.keys(BUCKET, "filling/").unwrap();
    let lines = |key: &String| String::from_utf8(s3.get(BUCKET, key).unwrap().unwrap()).unwrap().lines().count();
    let stored: usize = keys.iter().map(lines).sum();
    println!("{full_at} events on full drives, {acknowledged} in the end, {:?}", told.put_off);
    assert_eq!(stored as u64, acknowledged);
}
