//! Requests with something wrong in them, by the thousand: each is answered or its connection closed, none with an internal error, nothing
//! panics, nothing is logged as an error, correct requests beside them go on, and memory stays what it was.
//!
//! Requests come from a seed, which is printed, and a number: `CISTERN_DAMAGED_SEED` names the seed, `CISTERN_DAMAGED_REQUEST` one number
//! to send alone, `CISTERN_DAMAGED_SECONDS` how long it goes on (10 in a test run with a fixed seed, 600 in `cargo xtask soak`). What broke
//! a promise is written to `target/damaged`; once it is understood its file belongs in `tests/data/requests`, whose requests are sent in
//! every test run.
//!
//! ```text
//! valid.rs     correct requests of all kinds      request.rs   templates of requests, filled in and in files
//! damage.rs    what can be wrong                  sign.rs      signatures, presigned addresses, chunks
//! exchange.rs  one request on one connection      house.rs     the server, its buckets, what nothing may change
//! judge.rs     whether an answer may be           stalls.rs    clients that stop half way
//! ```

mod damage;
mod exchange;
mod house;
mod judge;
mod request;
mod sign;
mod stalls;
mod valid;

use cistern_tests::{S3, process, wait};
use exchange::{End, exchange};
use house::{House, Values};
use judge::{code_of, judge, kind_of};
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use request::{Door, Lines, Request};
use std::collections::{BTreeMap, VecDeque};
use std::fs;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, RwLock};
use std::time::Duration;

const SECONDS: u64 = 10;
const SEED: u64 = 20_261_126;
const WORKERS: usize = 6;
/// So much more memory may be resident at the end than after the warm-up.
const GROWTH_BYTES_MAX: u64 = 64 << 20;
/// The share of the time that counts as warm-up.
const WARM_UP_SHARE: u64 = 4;
const SETTLING_LIMIT: Duration = Duration::from_secs(15);
/// So many requests back an error in the log may come from.
const RECENT: usize = 4096;
/// So many are sent again to find the one that ended a server.
const SUSPECTS: usize = 64;
/// So often the buckets are put in order and the canaries looked at, in correct requests.
const TENDING: u64 = 40;
fn setting(name: &str) -> Option<u64> {
    std::env::var_os(name).map(|text| text.to_str().unwrap().parse().unwrap())
}

fn request_of(seed: u64, number: u64) -> Request {
    const STRIDE: u64 = 0x9e37_79b9_7f4a_7c15;
    damage::damaged(&mut StdRng::seed_from_u64(seed.wrapping_add(number.wrapping_mul(STRIDE))))
}

/// The first request of a kind of fault, and how many there were.
#[derive(Debug)]
struct Fault {
    times: u32,
    number: u64,
    detail: String,
}

/// What all threads of a run share.
struct Run {
    seed: u64,
    house: House,
    values: RwLock<Values>,
    next: AtomicU64,
    over: AtomicBool,
    correct: AtomicU64,
    recent: Mutex<VecDeque<(String, u64)>>,
    answered: Mutex<BTreeMap<(Door, u16), u64>>,
    faults: Mutex<BTreeMap<String, Fault>>,
}

impl Run {
    fn fault(&self, kind: String, number: u64, detail: String) {
        let mut faults = self.faults.lock().unwrap();
        faults.entry(kind).or_insert(Fault { times: 0, number, detail }).times += 1;
    }

    /// Sends one damaged request after another.
    fn damage(&self) {
        while !self.over.load(Ordering::Relaxed) {
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            let request = request_of(self.seed, number);
            let sent = request.bytes(&self.values.read().unwrap());
            self.remember(String::new(), number);
            let end = exchange(self.house.host(request.door), &sent, request.pace);
            let mut status = 0;
            if let End::Answered(answer) = &end {
                status = answer.status;
                self.remember(answer.header("x-amz-request-id").unwrap_or_default().to_owned(), number);
            }
            *self.answered.lock().unwrap().entry((request.door, status)).or_default() += 1;
            if let Err(what) = judge(&request, &sent, &end) {
                self.fault(format!("{what}: {}", kind_of(&request, &sent, &end)), number, request.what.clone());
            }
            if matches!(end, End::NoServer) {
                self.over.store(true, Ordering::Relaxed);
            }
        }
    }

    fn remember(&self, id: String, number: u64) {
        let mut recent = self.recent.lock().unwrap();
        recent.truncate(RECENT - 1);
        recent.push_front((id, number));
    }

    /// Sends correct requests, puts the buckets in order, looks at the canaries.
    fn be_correct(&self) {
        let mut s3 = self.house.server.s3().unwrap();
        let mut number = 0;
        while !self.over.load(Ordering::Relaxed) {
            let mut done = self.house.correct_requests(&mut s3, number);
            if number % TENDING == 0 {
                done = done.and_then(|()| self.house.check_canaries(&mut s3)).and_then(|()| {
                    let mut values = self.values.read().unwrap().clone();
                    let mut owner = S3::connect(self.house.server.s3_host(), &values.owner)?;
                    house::tend(&mut values, &mut owner)?;
                    *self.values.write().unwrap() = values;
                    Ok(())
                });
            }
            if let Err(error) = done {
                self.fault(
                    "a correct request failed".to_owned(),
                    self.next.load(Ordering::Relaxed),
                    format!("{error:#}"),
                );
                let Ok(again) = self.house.server.s3() else { return };
                s3 = again;
            }
            number += 1;
            self.correct.store(number, Ordering::Relaxed);
            wait::let_pass(Duration::from_millis(20));
        }
    }

    /// Looks for errors in what was logged since `from`; answers how far it has read.
    fn read_log(&self, from: u64) -> u64 {
        let mut log = fs::File::open(self.house.server.spec().data_dir.with_extension("log")).unwrap();
        let mut new = Vec::new();
        log.seek(SeekFrom::Start(from)).unwrap();
        log.read_to_end(&mut new).unwrap();
        let whole = new.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        for line in String::from_utf8_lossy(&new[..whole]).lines() {
            let (_, said) = line.split_once(' ').unwrap_or_default();
            if said.trim_start().starts_with("ERROR") || line.contains("panicked at") {
                let id = said.split_once("request_id=\"").and_then(|(_, rest)| rest.split('"').next());
                let recent = self.recent.lock().unwrap();
                let number = recent.iter().find(|(own, _)| id.is_some_and(|id| id == own)).or(recent.front());
                let number = number.map_or(0, |(_, number)| *number);
                drop(recent);
                let kind = said.replace(id.unwrap_or("none"), "");
                self.fault(format!("logged {kind}"), number, line.to_owned());
            }
        }
        from + whole as u64
    }
}

#[test]
fn damaged_requests_are_answered_or_closed_and_harm_nothing() {
    let seconds = setting("CISTERN_DAMAGED_SECONDS");
    let fresh = if seconds.is_some() { rand::random() } else { SEED };
    let seed = setting("CISTERN_DAMAGED_SEED").unwrap_or(fresh);
    if let Some(number) = setting("CISTERN_DAMAGED_REQUEST") {
        return send_alone(seed, number);
    }
    let seconds = seconds.unwrap_or(SECONDS);
    println!("damaged: seed {seed}, {seconds} s");
    let house = House::new();
    let run = Run {
        seed,
        values: RwLock::new(house.values.clone()),
        house,
        next: AtomicU64::new(0),
        over: AtomicBool::new(false),
        correct: AtomicU64::new(0),
        recent: Mutex::new(VecDeque::new()),
        answered: Mutex::new(BTreeMap::new()),
        faults: Mutex::new(BTreeMap::new()),
    };
    let (warm, pid) = (drive(&run, seconds), run.house.server.pid());
    let growth = || process::resident_bytes(pid).map(|now| now.saturating_sub(warm));
    let settled =
        wait::until("memory is given back", SETTLING_LIMIT, || Ok((growth()? <= GROWTH_BYTES_MAX).then_some(())));
    let grown = growth().unwrap_or(0);
    if settled.is_err() {
        run.fault(
            format!("resident memory grew by more than {} MiB", GROWTH_BYTES_MAX >> 20),
            0,
            format!("{warm} + {grown} bytes"),
        );
    }
    let (sent, correct) = (run.next.load(Ordering::Relaxed), run.correct.load(Ordering::Relaxed));
    println!(
        "damaged: {sent} requests, {correct} rounds of correct ones, {} MiB resident when warm, {} KiB more at the end",
        warm >> 20,
        grown >> 10
    );
    println!("damaged: answers {:?}", run.answered.lock().unwrap());
    report(&run);
    assert!(correct > seconds, "hardly any correct request was sent");
    run.house.check_canaries(&mut run.house.server.s3().unwrap()).unwrap();
    run.house.server.stop().unwrap();
}

/// Lets it run for so long; answers the memory resident after the warm-up.
fn drive(run: &Run, seconds: u64) -> u64 {
    let start = wait::now();
    let (mut warm, mut said) = (0, 0);
    std::thread::scope(|scope| {
        for _ in 0..WORKERS {
            scope.spawn(|| run.damage());
        }
        scope.spawn(|| run.be_correct());
        let mut read = 0;
        while start.elapsed() < Duration::from_secs(seconds) && !run.over.load(Ordering::Relaxed) {
            wait::let_pass(Duration::from_millis(100));
            read = run.read_log(read);
            let tenth = start.elapsed().as_secs() * 10 / seconds.max(1);
            if tenth > said {
                said = tenth;
                let resident = process::resident_bytes(run.house.server.pid()).unwrap_or(0);
                let sent = run.next.load(Ordering::Relaxed);
                println!("damaged: {} s, {sent} requests, {} MiB resident", start.elapsed().as_secs(), resident >> 20);
            }
            if warm == 0 && start.elapsed() > Duration::from_secs(seconds / WARM_UP_SHARE) {
                warm = process::resident_bytes(run.house.server.pid()).unwrap_or(0);
            }
        }
        run.over.store(true, Ordering::Relaxed);
        wait::let_pass(Duration::from_millis(500));
        run.read_log(read);
    });
    warm
}

/// Writes the requests that broke a promise to files, and fails if there are any.
fn report(run: &Run) {
    let mut faults = std::mem::take(&mut *run.faults.lock().unwrap());
    let gone =
        wait::until("", Duration::ZERO, || Ok(cistern_tests::http::Connection::open(run.house.server.s3_host()).ok()));
    if gone.is_err() {
        let recent: Vec<u64> = run.recent.lock().unwrap().iter().take(SUSPECTS).map(|(_, number)| *number).collect();
        let log = run.house.server.log();
        let last = log.lines().rev().take(60).collect::<Vec<_>>().into_iter().rev().collect::<Vec<_>>().join("\n");
        for number in culprits(run.seed, recent) {
            faults.insert(
                format!("the server ended at request {number}"),
                Fault { times: 1, number, detail: String::new() },
            );
        }
        println!("damaged: the server ended, it said:\n{last}");
    }
    for (kind, Fault { times, number, detail }) in &faults {
        let request = request_of(run.seed, *number);
        let file = write(&request, run.seed, *number);
        let lines: Vec<String> = request.wire.clone().into();
        let shown = lines.join("\n");
        let shown = shown.chars().take(1500).collect::<String>();
        println!(
            "damaged: FAULT {kind} ({times} times)\n  {detail}\n  seed {} request {number}: {}, in {}\n{shown}\n",
            run.seed,
            request.what,
            file.display()
        );
    }
    assert!(faults.is_empty(), "{} kinds of faults, seed {}: {:#?}", faults.len(), run.seed, faults.keys());
}

fn write(request: &Request, seed: u64, number: u64) -> PathBuf {
    let folder = cistern_tests::workspace_root().join("target/damaged");
    fs::create_dir_all(&folder).unwrap();
    let file = folder.join(format!("{seed}-{number}.json"));
    fs::write(&file, request.to_json()).unwrap();
    file
}

/// Which of these requests end a server that gets them alone.
fn culprits(seed: u64, mut recent: Vec<u64>) -> Vec<u64> {
    recent.dedup();
    let mut found = Vec::new();
    let mut house = House::new();
    for number in recent {
        let request = request_of(seed, number);
        exchange(house.host(request.door), &request.bytes(&house.values), request.pace);
        if house.server.wait(Duration::from_millis(100)).is_ok() {
            found.push(number);
            house = House::new();
        }
    }
    found
}

fn send_alone(seed: u64, number: u64) {
    let house = House::new();
    let request = request_of(seed, number);
    let file = write(&request, seed, number);
    println!("damaged: seed {seed}, request {number}, {}, in {}", request.what, file.display());
    check_alone(&house, &request);
}

/// Sends one request and checks what comes of it.
#[track_caller]
fn check_alone(house: &House, request: &Request) -> End {
    let sent = request.bytes(&house.values);
    let end = exchange(house.host(request.door), &sent, request.pace);
    if setting("CISTERN_DAMAGED_REQUEST").is_some() {
        println!(
            "damaged: sent\n{}\ndamaged: answered {}",
            Vec::<String>::from(Lines(sent.clone())).join("\n"),
            shown(&end)
        );
    }
    if let Err(what) = judge(request, &sent, &end) {
        panic!("{}: {what}\n{}\n{}", request.what, shown(&end), house.server.log());
    }
    house.check_canaries(&mut house.server.s3().unwrap()).unwrap();
    let log = house.server.log();
    let errors: Vec<&str> = log.lines().filter(|line| line.contains(" ERROR ") || line.contains("panicked")).collect();
    assert!(errors.is_empty(), "{}: {errors:#?}", request.what);
    end
}

#[test]
fn every_number_gives_the_same_request_again() {
    for number in 0..300 {
        assert_eq!(request_of(SEED, number), request_of(SEED, number));
    }
}

fn corpus() -> PathBuf {
    cistern_tests::workspace_root().join("tests/data/requests")
}

#[test]
fn requests_that_were_found_to_matter_are_answered_or_closed() {
    let mut files: Vec<PathBuf> = fs::read_dir(corpus()).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "json"));
    files.sort();
    let only = std::env::var_os("CISTERN_DAMAGED_FILE").map(PathBuf::from);
    let house = House::new();
    let mut failed = Vec::new();
    for file in only.map_or(files, |file| vec![file]) {
        let request: Request = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
        let sent = request.bytes(&house.values);
        let end = exchange(house.host(request.door), &sent, request.pace);
        println!("damaged: {}: {}", file.display(), outcome(&end));
        if let Err(what) = judge(&request, &sent, &end) {
            failed.push(format!("{}: {what}", file.display()));
        }
    }
    house.check_canaries(&mut house.server.s3().unwrap()).unwrap();
    let log = house.server.log();
    failed.extend(log.lines().filter(|line| line.contains(" ERROR ") || line.contains("panicked")).map(str::to_owned));
    assert!(failed.is_empty(), "{failed:#?}");
}

fn shown(end: &End) -> String {
    match end {
        End::Answered(answer) => format!("{}\n\n{}", answer.head, answer.text()),
        other => format!("{other:?}"),
    }
}

fn outcome(end: &End) -> String {
    match end {
        End::Answered(answer) => format!("{} {}", answer.status, code_of(answer)),
        other => format!("{other:?}"),
    }
}

#[test]
fn what_is_damaged_was_correct_before() {
    let house = House::new();
    let mut wrong = Vec::new();
    for plain in valid::all() {
        let statuses = plain.statuses.clone();
        let request = sign::template(plain, damage::ChunkDamage::default());
        let sent = request.bytes(&house.values);
        let end = exchange(house.host(request.door), &sent, request.pace);
        let taken = matches!(&end, End::Answered(answer) if statuses.contains(&answer.status));
        if !taken {
            let said = if let End::Answered(answer) = &end { answer.text() } else { String::new() };
            wrong.push(format!("{}: {} instead of {statuses:?}\n{said}", request.what, outcome(&end)));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
