//! kill -9 under load, again and again: nothing acknowledged may be lost or torn, no accepted event lost or doubled.
//!
//! Writers and senders work against the real server until it is killed at a random beat (a request begun or answered). Each
//! keeps a journal in this process, outside the server: what was acknowledged, what was under way. After each restart every
//! object is read; after the last restart of a life every event is looked for in the Parquet. `CISTERN_CRASH_ROUNDS` says
//! how many kills (50 in a test run, 500 in `cargo xtask soak`).

mod sender;
pub(crate) mod writer;

use crate::sandbox::{Sandbox, asked};
use cistern_tests::{Pipeline, Server, python, wait};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use sender::Sender;
use std::collections::HashMap;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::time::Duration;
use writer::Writer;

pub(crate) const BUCKET: &str = "crash";
const EVENTS_BUCKET: &str = "events";
const ROUNDS: u32 = 50;
/// A new data folder after so many kills, so that a long soak does not fill the disk.
const ROUNDS_PER_LIFE: u32 = 25;
const WRITERS: usize = 6;
const SENDERS: usize = 2;
/// A kill comes after at most so many beats; a few come before the first.
const BEATS_MAX: u32 = 500;
const BEATS_WAITING_MAX: usize = 256;
const WRITTEN_LIMIT: Duration = Duration::from_mins(2);

/// A request has begun or has been answered: what the moment of the kill is counted in.
pub(crate) type Beats = SyncSender<()>;

/// What the journal says when the server broke a promise.
pub(crate) type Broken = Vec<String>;

/// What one life did, for the closing line.
#[derive(Debug, Default)]
struct Counts {
    kills: u32,
    writes_acknowledged: u64,
    objects_checked: u64,
    events_acknowledged: u64,
    events_unanswered: u64,
    unanswered_events_stored: u64,
}

#[test]
fn kill_dash_nine_loses_nothing_acknowledged_and_doubles_no_event() {
    let rounds = asked("CISTERN_CRASH_ROUNDS").unwrap_or(ROUNDS);
    let seed: u64 = rand::random();
    println!("crash: {rounds} rounds, seed {seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let mut counts = Counts::default();
    let start = wait::now();
    while counts.kills < rounds {
        let kills = ROUNDS_PER_LIFE.min(rounds - counts.kills);
        live(kills, &mut random, &mut counts);
        println!("crash: {} of {rounds} kills, {:.0} s, {counts:?}", counts.kills, start.elapsed().as_secs_f64());
    }
    println!("crash: 0 acknowledged objects lost or torn, 0 acknowledged events lost or doubled: {counts:?}");
    assert!(counts.writes_acknowledged > u64::from(rounds) * 5, "hardly anything was written: {counts:?}");
    assert!(counts.events_acknowledged > u64::from(rounds) * 5, "hardly anything was ingested: {counts:?}");
}

/// One data folder from its first start to its last, killed `kills` times.
fn live(kills: u32, random: &mut StdRng, counts: &mut Counts) {
    let sandbox = Sandbox::new();
    let mut server = sandbox.start();
    let mut s3 = server.s3().unwrap();
    s3.create_bucket(BUCKET).unwrap();
    s3.create_bucket(EVENTS_BUCKET).unwrap();
    let destination = format!("--destination-bucket={EVENTS_BUCKET}");
    let flags = ["--batch-size=20KB", "--batch-timeout-secs=1", "--batch-on-json-key=.group", &destination];
    let pipeline = Pipeline::create(&server, "crash", &flags).unwrap();
    let mut writers: Vec<Writer> = (0..WRITERS).map(|number| Writer::new(number, random.random())).collect();
    let mut senders: Vec<Sender> = (0..SENDERS).map(|number| Sender::new(number, random.random())).collect();

    for _ in 0..kills {
        let beats = random.random_range(0..BEATS_MAX);
        let spec = load_and_kill(server, &pipeline, &mut writers, &mut senders, beats);
        counts.kills += 1;
        server = spec.start().unwrap_or_else(|error| panic!("no start after kill {}: {error:#}", counts.kills));
        counts.objects_checked += check_objects(&server, &mut writers, counts.kills);
    }
    counts.writes_acknowledged += writers.iter().map(|writer| writer.acknowledged).sum::<u64>();
    pipeline.wait_written(&server, WRITTEN_LIMIT).unwrap();
    check_events(&server, &senders, counts);
}

/// Puts the server under load and kills it after so many beats.
fn load_and_kill(
    server: Server,
    pipeline: &Pipeline,
    writers: &mut [Writer],
    senders: &mut [Sender],
    beats: u32,
) -> cistern_tests::ServerSpec {
    let (beat, heard) = sync_channel(BEATS_WAITING_MAX);
    let (s3_host, ingest_host) = (server.s3_host().to_owned(), server.ingest_host().to_owned());
    let keys = server.root_keys().clone();
    std::thread::scope(|scope| {
        let mut work = Vec::new();
        for writer in writers {
            let beat = beat.clone();
            let (host, keys) = (&s3_host, &keys);
            work.push(scope.spawn(move || writer.work(host, keys, &beat)));
        }
        for sender in senders {
            let beat = beat.clone();
            let host = &ingest_host;
            work.push(scope.spawn(move || sender.work(host, pipeline, &beat)));
        }
        drop(beat);
        let counted = (0..beats).take_while(|_| heard.recv().is_ok()).count();
        let log = server.log();
        let spec = server.kill().unwrap();
        heard.iter().for_each(drop);
        let refused: Broken = work.into_iter().flat_map(|thread| thread.join().unwrap()).collect();
        assert!(refused.is_empty(), "refused while it was alive: {refused:#?}");
        assert_eq!(counted, beats as usize, "the server stopped answering before it was killed:\n{log}");
        spec
    })
}

/// Reads every object the journals know of; answers how many.
fn check_objects(server: &Server, writers: &mut [Writer], kill: u32) -> u64 {
    let mut listed = server.s3().unwrap().keys(BUCKET, "").unwrap();
    let (broken, mut found): (Vec<Broken>, Vec<Vec<String>>) = std::thread::scope(|scope| {
        let checks: Vec<_> =
            writers.iter_mut().map(|writer| scope.spawn(|| writer.check(&mut server.s3().unwrap()))).collect();
        checks.into_iter().map(|check| check.join().unwrap()).unzip()
    });
    let broken = broken.concat();
    assert!(broken.is_empty(), "after kill {kill}: {broken:#?}\n{}", server.log());
    let mut found = found.drain(..).flatten().collect::<Vec<_>>();
    found.sort();
    listed.sort();
    assert_eq!(listed, found, "after kill {kill} the listing and the objects differ");
    found.len() as u64
}

/// Looks for every event in the Parquet: acknowledged ones exactly once, unanswered ones at most once, bodies whole.
fn check_events(server: &Server, senders: &[Sender], counts: &mut Counts) {
    let mut stored: HashMap<String, u32> = HashMap::new();
    for id in python::script(server, "event_ids.py", &[EVENTS_BUCKET, ""]).unwrap().lines() {
        *stored.entry(id.to_owned()).or_default() += 1;
    }
    let mut broken = Broken::new();
    for sender in senders {
        for id in sender.acknowledged.iter().flat_map(|body| sender.ids(body)) {
            counts.events_acknowledged += 1;
            match stored.remove(&id) {
                Some(1) => {}
                times => broken.push(format!("acknowledged event {id} is stored {} times", times.unwrap_or(0))),
            }
        }
        for body in &sender.unanswered {
            let times: Vec<u32> = sender.ids(body).map(|id| stored.remove(&id).unwrap_or(0)).collect();
            counts.events_unanswered += times.len() as u64;
            counts.unanswered_events_stored += times.iter().map(|times| u64::from(*times)).sum::<u64>();
            if times.iter().any(|time| *time > 1 || *time != times[0]) {
                broken
                    .push(format!("unanswered body {body:?} of sender {} is stored in part: {times:?}", sender.number));
            }
        }
    }
    broken.extend(stored.keys().map(|id| format!("event {id} was never sent")));
    assert!(broken.is_empty(), "{broken:#?}\n{}", server.log());
}
