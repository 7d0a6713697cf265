//! A graceful stop: acknowledged work is there afterwards, running work ends well or not at all, nothing is left behind.

use crate::sandbox::Sandbox;
use cistern_tests::server::STOP_LIMIT;
use cistern_tests::{Call, Content, Pipeline, S3, wait};
use std::sync::mpsc;
use std::time::Duration;

#[test]
fn everything_is_there_after_a_stop_and_a_start() {
    let sandbox = Sandbox::new();
    let server = sandbox.start();
    let mut s3 = server.s3().unwrap();
    s3.create_bucket("kept").unwrap();
    let lengths = [0, 1, 4096, 131_072, 131_073, 3_000_000];
    let contents: Vec<Content> = (0..).zip(lengths).map(|(seed, length)| Content { seed, length }).collect();
    for content in &contents {
        s3.put("kept", &format!("k{}", content.seed), &content.bytes()).unwrap();
    }
    let keys = server.root_keys().clone();
    drop(s3);
    let spec = server.stop().unwrap();
    assert!(
        !sandbox.data_dir().join("endpoints.json").try_exists().unwrap(),
        "endpoints.json stays after a clean stop"
    );

    let server = spec.start().unwrap();
    assert_eq!(server.root_keys().access_key_id, keys.access_key_id, "the root key changed");
    let mut s3 = server.s3().unwrap();
    for content in &contents {
        let found = s3.get("kept", &format!("k{}", content.seed)).unwrap();
        assert!(found == Some(content.bytes()), "object of {} bytes differs", content.length);
    }
}

#[test]
fn a_stop_under_load_loses_no_acknowledged_object_and_ends_in_time() {
    const WRITERS: u64 = 8;
    const ACKNOWLEDGED_BEFORE_STOP: usize = 300;
    let sandbox = Sandbox::new();
    let mut server = sandbox.start();
    server.s3().unwrap().create_bucket("busy").unwrap();
    let (acknowledge, acknowledged) = mpsc::sync_channel(64);
    let writers: Vec<_> = (0..WRITERS)
        .map(|writer| {
            let mut s3 = server.s3().unwrap();
            let acknowledge = acknowledge.clone();
            std::thread::spawn(move || write_until_refused(&mut s3, writer, &acknowledge))
        })
        .collect();
    drop(acknowledge);
    for _ in 0..ACKNOWLEDGED_BEFORE_STOP {
        acknowledged.recv().unwrap();
    }
    server.terminate().unwrap();
    let rest = acknowledged.iter().count();
    let start = wait::now();
    let status = server.wait(STOP_LIMIT).unwrap();
    assert!(status.success(), "ended with {status}\n{}", server.log());
    println!("stopped {:?} after the last answer, {rest} more acknowledged meanwhile", start.elapsed());
    let written: Vec<Vec<Content>> = writers.into_iter().map(|writer| writer.join().unwrap()).collect();

    let server = sandbox.start();
    let mut s3 = server.s3().unwrap();
    for (writer, contents) in written.iter().enumerate() {
        for content in contents {
            let found = s3.get("busy", &format!("{writer}/{}", content.seed)).unwrap();
            assert!(found == Some(content.bytes()), "lost {writer}/{}", content.seed);
        }
    }
}

#[test]
fn a_closed_terminal_stops_in_order() {
    let sandbox = Sandbox::new();
    let mut server = sandbox.start();
    server.hang_up().unwrap();
    assert!(server.wait(STOP_LIMIT).unwrap().success(), "{}", server.log());
    assert!(!sandbox.data_dir().join("endpoints.json").try_exists().unwrap());
}

fn write_until_refused(s3: &mut S3, writer: u64, acknowledge: &mpsc::SyncSender<()>) -> Vec<Content> {
    let mut written = Vec::new();
    let lengths = (0..7).map(|size| 1000 + size * 30_000).cycle();
    for (seed, length) in (0..).zip(lengths) {
        let content = Content { seed, length };
        let body = content.bytes();
        let answer = s3.send(&Call::new("PUT", &format!("/busy/{writer}/{seed}")).body(&body));
        if !answer.is_ok_and(|answer| answer.status == 200) {
            break;
        }
        written.push(content);
        let _ = acknowledge.send(());
    }
    written
}

#[test]
fn accepted_events_survive_a_stop_and_reach_parquet_once() {
    const EVENTS: usize = 1000;
    let sandbox = Sandbox::new();
    let server = sandbox.start();
    server.s3().unwrap().create_bucket("events").unwrap();
    let flags = ["--destination-bucket=events", "--batch-timeout-secs=2"];
    let pipeline = Pipeline::create(&server, "stopped", &flags).unwrap();
    let body = (0..EVENTS).map(|id| format!("{{\"id\":\"{id}\"}}\n")).collect::<Vec<_>>().concat();
    pipeline.send_all(&server, &body).unwrap();
    let server = server.stop().unwrap().start().unwrap();
    pipeline.wait_written(&server, Duration::from_mins(1)).unwrap();
    let ids = cistern_tests::python::script(&server, "event_ids.py", &["events", ""]).unwrap();
    let mut ids: Vec<usize> = ids.lines().map(|id| id.parse().unwrap()).collect();
    ids.sort_unstable();
    assert_eq!(ids, (0..EVENTS).collect::<Vec<_>>());
}
