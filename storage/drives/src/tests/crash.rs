//! Power cuts at every operation of many short scripts. What was acknowledged is there and identical; what was not is there
//! whole or not at all; forgotten blobs stay forgotten; with any m drives gone, and with the view gone, it is the same.

use super::world::{Model, Step, World, dump, expect_model, medium, small, submit};
use crate::{Append, DriveLog, DriveLogConfig, ViewKind};
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

/// A script: groups of steps that are queued together.
fn script(seed: u64, groups: usize, bytes_max: usize) -> Vec<Vec<Step>> {
    let mut random = SmallRng::seed_from_u64(seed);
    let mut next_blob = 0;
    let mut group = || {
        let steps = random.random_range(1..4);
        (0..steps).map(|_| Step::random(&mut random, &mut next_blob, bytes_max)).collect()
    };
    (0..groups).map(|_| group()).collect()
}

/// What may be there after the crash: the first model, or any of the later ones (groups whose fate nobody was told).
struct Outcome {
    models: Vec<Model>,
}

/// Runs the script until it ends or the power goes.
fn run(log: &DriveLog, model: &mut Model, script: &[Vec<Step>]) -> Outcome {
    for group in script {
        let pendings: Vec<_> = group.iter().map(|step| (step, submit(log, step.append()))).collect();
        let mut models = vec![model.clone()];
        let mut failed = false;
        for (step, pending) in pendings {
            let Ok(pending) = pending else {
                failed = true;
                continue;
            };
            let stamp = pending.stamp();
            let acknowledged = pending.wait().is_ok();
            assert!(!(acknowledged && failed), "an append was acknowledged behind a failed one");
            step.apply(model, stamp);
            if acknowledged {
                models = vec![model.clone()];
            } else {
                failed = true;
                models.push(model.clone());
            }
        }
        if failed {
            return Outcome { models };
        }
    }
    Outcome { models: vec![model.clone()] }
}

/// How many operations the script takes when nothing happens.
fn operations(config: &DriveLogConfig, script: &[Vec<Step>]) -> u64 {
    let world = World::new(config.clone());
    let log = world.open().unwrap();
    let mut model = Model::default();
    let outcome = run(&log, &mut model, script);
    assert_eq!(outcome.models.len(), 1, "a script without a crash is acknowledged whole");
    expect_model(&log, &model, "without a crash");
    world.power.operations()
}

/// One crash: cut at `operation`, restart, look, go on, and look again from fewer drives.
fn crash_at(config: &DriveLogConfig, seed: u64, script: &[Vec<Step>], operation: u64) {
    let context = format!("seed {seed}, cut at operation {operation}");
    let world = World::new(config.clone());
    world.power.cut_at(operation);
    let mut model = Model::default();
    let outcome = match world.open() {
        Ok(log) => run(&log, &mut model, script),
        Err(_) => Outcome { models: vec![Model::default()] },
    };
    assert!(world.power.is_off(), "{context}: the power did not go");
    world.restart(seed ^ operation);

    // the second stop comes in the middle of the recovery, or not at all
    let mut random = SmallRng::seed_from_u64(seed ^ (operation << 20));
    if random.random_range(0..4) == 0 {
        world.power.cut_at(world.power.operations() + random.random_range(0..6));
        drop(world.open());
        world.restart(seed ^ operation ^ 0x5eed);
    }

    let log = world.open().unwrap_or_else(|error| panic!("{context}: {error}"));
    let found = dump(&log).unwrap_or_else(|error| panic!("{context}: {error}"));
    assert!(outcome.models.contains(&found), "{context}: neither the acknowledged state nor a later one");
    drop(log);

    // any m drives may go now: what was shown once stays
    let mut gone: Vec<usize> = Vec::new();
    while gone.len() < config.parity {
        let drive = random.random_range(0..config.lanes());
        if !gone.contains(&drive) {
            gone.push(drive);
        }
    }
    for &drive in &gone {
        world.disks[drive].vanish();
    }
    let log = world.open().unwrap_or_else(|error| panic!("{context}, without {gone:?}: {error}"));
    expect_model(&log, &found, &format!("{context}, without {gone:?}"));
    drop(log);

    // one comes back empty-handed about the next write, then all do
    if let Some(drive) = gone.pop() {
        world.disks[drive].come_back();
    }
    let log = world.open().unwrap_or_else(|error| panic!("{context}, one back: {error}"));
    let mut model = found;
    let step = Step::Put { blob: 1_000_000, bytes: 500 };
    let pending = submit(&log, step.append()).unwrap();
    let stamp = pending.stamp();
    pending.wait().unwrap_or_else(|error| panic!("{context}, write without {gone:?}: {error}"));
    step.apply(&mut model, stamp);
    expect_model(&log, &model, &format!("{context}, after a write without {gone:?}"));
    drop(log);
    for disk in &world.disks {
        disk.come_back();
    }
    let log = world.open().unwrap_or_else(|error| panic!("{context}, all back: {error}"));
    expect_model(&log, &model, &format!("{context}, all back"));
}

/// Cuts the power at every operation of scripts made from `seeds`; answers at how many.
fn crash_everywhere(config: &DriveLogConfig, seeds: std::ops::Range<u64>, groups: usize, bytes_max: usize) -> usize {
    let mut points = 0;
    for seed in seeds {
        let script = script(seed, groups, bytes_max);
        for operation in 0..operations(config, &script) {
            crash_at(config, seed, &script, operation);
            points += 1;
        }
    }
    points
}

#[test]
fn ten_thousand_power_cuts_lose_nothing_that_was_acknowledged() {
    let shapes: [(DriveLogConfig, std::ops::Range<u64>, usize, usize); 6] = [
        (small(4, 2), 0..34, 8, 6000),
        (small(2, 1), 100..160, 8, 6000),
        (small(1, 1), 200..240, 8, 6000),
        (small(1, 0), 300..330, 8, 6000),
        (small(3, 2), 400..420, 8, 6000),
        (medium(4, 2), 500..502, 4, 300_000),
    ];
    let points: usize = std::thread::scope(|scope| {
        let runs = shapes.map(|(config, seeds, groups, bytes_max)| {
            scope.spawn(move || crash_everywhere(&config, seeds, groups, bytes_max))
        });
        runs.into_iter().map(|run| run.join().unwrap()).sum()
    });
    assert!(points >= 10_000, "only {points} crash points");
}

#[test]
fn a_view_that_outlives_the_crash_is_continued_from_its_watermark() {
    let memory = small(4, 2);
    let mut random = SmallRng::seed_from_u64(77);
    for seed in 1000..1060 {
        let script = script(seed, 5, 6000);
        let operation = random.random_range(0..operations(&memory, &script));
        let view = tempfile::tempdir().unwrap();
        let config = DriveLogConfig {
            view: ViewKind::Fjall,
            view_path: view.path().into(),
            view_cache_bytes: 1 << 20,
            ..memory.clone()
        };
        crash_at(&config, seed, &script, operation);
    }
}

#[test]
fn an_append_without_records_waits_for_those_before_it() {
    let world = World::new(small(4, 2));
    let log = world.open().unwrap();
    let before = submit(&log, super::world::a_row("a", "1")).unwrap();
    let empty = submit(&log, Append::default()).unwrap();
    assert_eq!(empty.stamp(), before.stamp() + 1);
    let stamp = empty.stamp();
    empty.wait().unwrap();
    assert_eq!(log.applied(), stamp);
    assert_eq!(log.snapshot().get(b"a").unwrap().unwrap(), "1");
}
