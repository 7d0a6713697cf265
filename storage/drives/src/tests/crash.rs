//! Power cuts at every operation of many short scripts. What was acknowledged is there and identical; what was not is there
//! whole or not at all; forgotten blobs stay forgotten; with any m drives gone, and with the view gone, it is the same.

use super::world::{Model, Step, World, compact, dump, expect_model, medium, run_passes, small, submit};
use crate::{Append, DriveLog, DriveLogConfig, ViewKind};
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

/// A part of a script.
#[derive(Debug)]
enum Act {
    /// Steps that are queued together.
    Group(Vec<Step>),
    /// A checkpoint, then everything that gives space back.
    Compact,
}

/// What a script is made of.
#[derive(Debug, Clone, Copy)]
struct Plan {
    groups: usize,
    bytes_max: usize,
    /// Of how many groups one is followed by a compaction; 0 for none.
    compact_every: u32,
}

fn script(seed: u64, plan: Plan) -> Vec<Act> {
    let mut random = SmallRng::seed_from_u64(seed);
    let mut next_blob = 0;
    let mut acts = Vec::new();
    for _ in 0..plan.groups {
        let steps = random.random_range(1..4);
        let group = (0..steps).map(|_| Step::random(&mut random, &mut next_blob, plan.bytes_max));
        acts.push(Act::Group(group.collect()));
        if plan.compact_every > 0 && random.random_range(0..plan.compact_every) == 0 {
            acts.push(Act::Compact);
        }
    }
    acts
}

/// What may be there after the crash: the first model, or any of the later ones (groups whose fate nobody was told).
struct Outcome {
    models: Vec<Model>,
}

/// Runs the script until it ends or the power goes.
fn run(log: &DriveLog, model: &mut Model, script: &[Act]) -> Outcome {
    for act in script {
        let Act::Group(group) = act else {
            if compact(log).is_err() {
                break;
            }
            continue;
        };
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
fn operations(config: &DriveLogConfig, script: &[Act]) -> u64 {
    let world = World::new(config.clone());
    let log = world.open().unwrap();
    let mut model = Model::default();
    let outcome = run(&log, &mut model, script);
    assert_eq!(outcome.models.len(), 1, "a script without a crash is acknowledged whole");
    expect_model(&log, &model, "without a crash");
    world.power.operations()
}

/// One crash: cut at `operation`, restart, look, go on, and look again from fewer drives.
fn crash_at(config: &DriveLogConfig, seed: u64, script: &[Act], operation: u64) {
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

    // healed, it bears the loss of any other m drives
    run_passes(&log).unwrap_or_else(|error| panic!("{context}, heal: {error}"));
    let status = log.status();
    assert!(!status.degraded, "{context}: {:?} after {:?}", status.drives, log.passes());
    drop(log);
    for _ in 0..config.parity {
        world.disks[random.random_range(0..config.lanes())].vanish();
    }
    let log = world.open().unwrap_or_else(|error| panic!("{context}, healed and others gone: {error}"));
    expect_model(&log, &model, &format!("{context}, healed and others gone"));
}

/// Cuts the power at every operation of scripts made from `seeds`; answers at how many.
fn crash_everywhere(config: &DriveLogConfig, seeds: std::ops::Range<u64>, plan: Plan) -> usize {
    let mut points = 0;
    for seed in seeds {
        let script = script(seed, plan);
        for operation in 0..operations(config, &script) {
            crash_at(config, seed, &script, operation);
            points += 1;
        }
    }
    points
}

#[test]
fn ten_thousand_power_cuts_lose_nothing_that_was_acknowledged() {
    const SMALL: Plan = Plan { groups: 8, bytes_max: 6000, compact_every: 0 };
    const COMPACTED: Plan = Plan { compact_every: 3, ..SMALL };
    const LARGE: Plan = Plan { groups: 4, bytes_max: 300_000, compact_every: 2 };
    let shapes = [
        (small(4, 2), 0..16, SMALL),
        (small(2, 1), 100..130, SMALL),
        (small(1, 0), 300..315, SMALL),
        (small(3, 2), 400..410, SMALL),
        (small(4, 2), 600..610, COMPACTED),
        (small(2, 1), 700..716, COMPACTED),
        (small(1, 1), 800..816, COMPACTED),
        (small(1, 0), 900..910, COMPACTED),
        (medium(4, 2), 500..502, LARGE),
    ];
    let points: usize = std::thread::scope(|scope| {
        let runs = shapes.map(|(config, seeds, plan)| scope.spawn(move || crash_everywhere(&config, seeds, plan)));
        runs.into_iter().map(|run| run.join().unwrap()).sum()
    });
    assert!(points >= 10_000, "only {points} crash points");
}

#[test]
fn a_view_that_outlives_the_crash_is_continued_from_its_watermark() {
    let memory = small(4, 2);
    let mut random = SmallRng::seed_from_u64(77);
    for seed in 1000..1060 {
        let script = script(seed, Plan { groups: 5, bytes_max: 6000, compact_every: 3 });
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
