//! Power cuts at every operation of many short scripts. What was acknowledged is there and identical; what was not is there
//! whole or not at all; forgotten blobs stay forgotten; with any m drives gone, and with the view gone, it is the same.

use super::world::{Model, Step, World, a_clock, compact, dump, expect_model, medium, run_passes, small, submit, wait};
use crate::{Append, Disk, DriveLog, DriveLogConfig, DriveState, Error, ErrorKind, PassKind, Result, ViewKind};
use cistern_runtime::Clock;
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A part of a script.
#[derive(Debug)]
enum Act {
    /// Steps that are queued together.
    Group(Vec<Step>),
    /// A checkpoint, then everything that gives space back.
    Compact,
    /// Everything is verified.
    Scrub,
    /// An empty drive takes the place of this one, which is gone for good, and is filled.
    Exchange(usize),
    /// This one is gone for as long as a group takes, then it comes back and is filled.
    Away(usize, Vec<Step>),
    /// The drives have room for so many bytes more, for as long as these steps and a compaction among them take.
    Full(u64, Vec<Step>),
}

/// What a script is made of.
#[derive(Debug, Clone, Copy)]
struct Plan {
    groups: usize,
    /// How many steps are queued together at most.
    queued: u32,
    bytes_max: usize,
    /// Of how many groups one is followed by a compaction; 0 for none.
    compact_every: u32,
    /// Of how many groups one is followed by a scrub or a drive's going; 0 for none.
    trouble_every: u32,
    /// Of how many groups one is followed by a time on full drives; 0 for none.
    full_every: u32,
}

fn script(seed: u64, config: &DriveLogConfig, plan: Plan) -> Vec<Act> {
    let mut random = SmallRng::seed_from_u64(seed);
    let mut next_blob = 0;
    let mut acts = Vec::new();
    for _ in 0..plan.groups {
        let steps = random.random_range(1..=plan.queued);
        let group = (0..steps).map(|_| Step::random(&mut random, &mut next_blob, plan.bytes_max));
        acts.push(Act::Group(group.collect()));
        if plan.compact_every > 0 && random.random_range(0..plan.compact_every) == 0 {
            acts.push(Act::Compact);
        }
        if plan.full_every > 0 && random.random_range(0..plan.full_every) == 0 {
            let room_bytes = config.free_bytes_reserve + random.random_range(0..2) * config.segment_bytes;
            let steps = random.random_range(20..40);
            let steps = (0..steps).map(|_| Step::random(&mut random, &mut next_blob, plan.bytes_max));
            acts.push(Act::Full(room_bytes, steps.collect()));
        }
        if plan.trouble_every > 0 && random.random_range(0..plan.trouble_every) == 0 {
            let drive = random.random_range(0..config.lanes());
            acts.push(match random.random_range(0..3) {
                _ if config.parity == 0 => Act::Scrub,
                0 => Act::Scrub,
                // with one parity lane no write is taken while a drive is away
                1 => Act::Exchange(drive),
                _ if config.parity == 1 => Act::Exchange(drive),
                _ => Act::Away(drive, vec![Step::random(&mut random, &mut next_blob, plan.bytes_max)]),
            });
        }
    }
    acts
}

/// What may be there after the crash: the first model, or any of the later ones (groups whose fate nobody was told).
struct Outcome {
    models: Vec<Model>,
    /// Steps that were refused for want of room.
    refused: usize,
}

/// Runs the script until it ends or the power goes.
fn run(world: &World, log: &DriveLog, model: &mut Model, script: &[Act]) -> Outcome {
    let mut refused = 0;
    for act in script {
        let done = match act {
            Act::Group(steps) => match run_group(log, model, steps) {
                Ok(()) => Ok(()),
                Err(outcome) => return outcome,
            },
            Act::Compact => compact(log),
            Act::Scrub => {
                log.request_pass(PassKind::Scrub);
                run_passes(log)
            }
            Act::Exchange(drive) => {
                world.disks[*drive].wipe();
                fill(world, log, *drive)
            }
            Act::Away(drive, steps) => {
                world.disks[*drive].vanish();
                let outcome = run_group(log, model, steps);
                world.disks[*drive].come_back();
                match outcome {
                    Ok(()) => fill(world, log, *drive),
                    Err(outcome) => return outcome,
                }
            }
            Act::Full(room_bytes, steps) => {
                world.fill_up(Some(*room_bytes));
                match run_on_full_drives(log, model, steps) {
                    Ok(some) => refused += some,
                    Err(outcome) => return outcome,
                }
                world.fill_up(None);
                Ok(())
            }
        };
        if done.is_err() {
            break;
        }
    }
    Outcome { models: vec![model.clone()], refused }
}

/// Steps one by one, with a compaction in the middle; how many were refused because the drives are full: those have changed nothing.
fn run_on_full_drives(log: &DriveLog, model: &mut Model, steps: &[Step]) -> Result<usize, Outcome> {
    let mut refused = 0;
    for (number, step) in steps.iter().enumerate() {
        if number == steps.len() / 2 {
            match compact(log) {
                Err(error) if error.kind() != ErrorKind::Full => {
                    return Err(Outcome { models: vec![model.clone()], refused });
                }
                _ => {}
            }
        }
        let written = submit(log, step.append()).map(|pending| (pending.stamp(), pending.wait()));
        match written {
            Ok((stamp, Ok(_))) => step.apply(model, stamp),
            Err(error) | Ok((_, Err(error))) if error.kind() == ErrorKind::Full => refused += 1,
            Ok((stamp, Err(_))) => {
                let mut with = model.clone();
                step.apply(&mut with, stamp);
                return Err(Outcome { models: vec![model.clone(), with], refused });
            }
            Err(_) => return Err(Outcome { models: vec![model.clone()], refused }),
        }
    }
    Ok(refused)
}

/// Puts a drive into its place, unless nobody has missed it, and brings it what it lacks.
fn fill(world: &World, log: &DriveLog, drive: usize) -> Result<()> {
    let disk = Arc::clone(&world.disks[drive]) as Arc<dyn Disk>;
    match wait(log.replace_drive(drive, disk, a_clock().now())) {
        Err(Error::InUse { .. }) => {}
        seated => seated?,
    }
    run_passes(log)
}

/// `Err` when a step failed: what may be there then.
fn run_group(log: &DriveLog, model: &mut Model, steps: &[Step]) -> Result<(), Outcome> {
    let pendings: Vec<_> = steps.iter().map(|step| (step, submit(log, step.append()))).collect();
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
    if failed { Err(Outcome { models, refused: 0 }) } else { Ok(()) }
}

/// How many operations the script takes when nothing happens.
fn operations(config: &DriveLogConfig, script: &[Act]) -> u64 {
    let world = World::new(config.clone());
    let log = world.open().unwrap();
    let mut model = Model::default();
    let outcome = run(&world, &log, &mut model, script);
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
        Ok(log) => run(&world, &log, &mut model, script),
        Err(_) => Outcome { models: vec![Model::default()], refused: 0 },
    };
    assert!(world.power.is_off(), "{context}: the power did not go");
    for disk in &world.disks {
        disk.come_back();
    }
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
    world.fill_up(None);
    // a drive that was just being exchanged or away is filled before others may go
    for drive in log.status().drives {
        if drive.state != DriveState::Live {
            let disk = Arc::clone(&world.disks[drive.index]) as Arc<dyn Disk>;
            let seated = wait(log.replace_drive(drive.index, disk, a_clock().now()));
            seated.unwrap_or_else(|error| panic!("{context}, exchange again: {error}"));
        }
    }
    run_passes(&log).unwrap_or_else(|error| panic!("{context}, first heal: {error}"));
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
        let script = script(seed, config, plan);
        for operation in 0..operations(config, &script) {
            crash_at(config, seed, &script, operation);
            points += 1;
        }
    }
    points
}

const SMALL: Plan = Plan { groups: 8, queued: 3, bytes_max: 6000, compact_every: 0, trouble_every: 0, full_every: 0 };
const COMPACTED: Plan = Plan { compact_every: 3, ..SMALL };
const TROUBLED: Plan = Plan { trouble_every: 2, compact_every: 4, ..SMALL };
const LARGE: Plan =
    Plan { groups: 4, queued: 3, bytes_max: 300_000, compact_every: 2, trouble_every: 4, full_every: 0 };
const FILLED: Plan = Plan { groups: 3, trouble_every: 3, compact_every: 4, full_every: 2, ..SMALL };

const QUEUED: Plan = Plan { groups: 4, queued: 24, bytes_max: 5500, compact_every: 4, trouble_every: 4, ..SMALL };

/// With groups that a few steps fill, so that some are coded while others are written.
fn narrow(data: usize, parity: usize) -> DriveLogConfig {
    DriveLogConfig { group_bytes_max: 6 << 10, ..small(data, parity) }
}

/// With the room left alone that deletions and compaction need.
fn reserved(data: usize, parity: usize) -> DriveLogConfig {
    let config = small(data, parity);
    DriveLogConfig { free_bytes_reserve: 3 * config.segment_bytes, ..config }
}

#[test]
fn ten_thousand_power_cuts_lose_nothing_that_was_acknowledged() {
    let shapes = [
        (small(4, 2), 0..12, SMALL),
        (small(2, 1), 100..120, SMALL),
        (small(1, 0), 300..310, SMALL),
        (small(3, 2), 400..408, SMALL),
        (small(4, 2), 600..606, COMPACTED),
        (small(2, 1), 700..708, COMPACTED),
        (small(1, 1), 800..808, COMPACTED),
        (small(1, 0), 900..908, COMPACTED),
        (small(4, 2), 1000..1006, TROUBLED),
        (small(2, 1), 1100..1108, TROUBLED),
        (medium(4, 2), 500..502, LARGE),
        (reserved(4, 2), 1200..1204, FILLED),
        (reserved(2, 1), 1300..1304, FILLED),
        (narrow(4, 2), 1500..1504, QUEUED),
        (narrow(2, 1), 1600..1606, QUEUED),
        (narrow(1, 0), 1700..1706, QUEUED),
    ];
    let points: usize = std::thread::scope(|scope| {
        let runs = shapes.map(|(config, seeds, plan)| scope.spawn(move || crash_everywhere(&config, seeds, plan)));
        runs.into_iter().map(|run| run.join().unwrap()).sum()
    });
    assert!(points >= 10_000, "only {points} crash points");
}

#[test]
fn full_drives_refuse_some_steps_and_take_others() {
    let config = reserved(4, 2);
    let mut refused = 0;
    for seed in 1400..1420 {
        let script = script(seed, &config, FILLED);
        let world = World::new(config.clone());
        let log = world.open().unwrap();
        let mut model = Model::default();
        let outcome = run(&world, &log, &mut model, &script);
        assert_eq!(outcome.models.len(), 1, "seed {seed}: full drives say no at once or take it");
        expect_model(&log, &model, &format!("seed {seed}"));
        refused += outcome.refused;
    }
    assert!(refused > 20, "only {refused} steps were refused: the drives were not full");
}

/// Cuts that once lost something.
#[test]
fn power_cuts_that_were_not_survived_once() {
    // the header that names a checkpoint was on the drive only that was lost next
    let config = small(1, 1);
    let seed = 1_095_653_349_412_397;
    crash_at(&config, seed, &script(seed, &config, TROUBLED), 64);
    let config = reserved(4, 2);
    let seed = 1_439_824_618_777_187;
    crash_at(&config, seed, &script(seed, &config, FILLED), 497);
}

/// As many as `CISTERN_CRASH_POINTS` says, of scripts that nobody has seen before; none by default. A failure names the seed.
#[test]
fn power_cuts_of_new_scripts_lose_nothing() {
    let points = std::env::var_os("CISTERN_CRASH_POINTS").map_or(0, |text| text.to_str().unwrap().parse().unwrap());
    let base = u64::from(rand::random::<u32>()) << 20;
    println!("crash points: {points}, seeds from {base}");
    let shapes = [
        (small(4, 2), TROUBLED),
        (small(2, 1), TROUBLED),
        (small(1, 1), TROUBLED),
        (small(3, 2), TROUBLED),
        (small(1, 0), COMPACTED),
        (medium(4, 2), LARGE),
        (reserved(4, 2), FILLED),
        (reserved(2, 1), FILLED),
        (narrow(3, 2), QUEUED),
        (narrow(2, 1), QUEUED),
    ];
    let done = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for (number, (config, plan)) in (0..).zip(&shapes) {
            let done = &done;
            scope.spawn(move || {
                for seed in base + number * 10_000.. {
                    if done.load(Ordering::Relaxed) >= points {
                        return;
                    }
                    done.fetch_add(crash_everywhere(config, seed..seed + 1, *plan), Ordering::Relaxed);
                }
            });
        }
    });
    println!("crash points: {} cuts, nothing acknowledged was lost", done.into_inner());
}

#[test]
fn a_view_that_outlives_the_crash_is_continued_from_its_watermark() {
    let memory = small(4, 2);
    let mut random = SmallRng::seed_from_u64(77);
    for seed in 1000..1060 {
        let script = script(
            seed,
            &memory,
            Plan { groups: 5, queued: 3, bytes_max: 6000, compact_every: 3, trouble_every: 4, full_every: 0 },
        );
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

#[test]
fn an_append_that_comes_to_nothing_may_wait_in_front_of_a_large_one() {
    let config = narrow(2, 1);
    let world = World::new(config.clone());
    let log = world.open().unwrap();
    let largest = config.group_bytes_max - crate::record::HEAD_BYTES;
    let whole = |number| Append { pieces: vec![super::world::a_blob(number, largest)], ..Append::default() };
    let nothing = || Append { rows: Some(crate::Rows::new()), ..Append::default() };
    let pendings = [whole(1), nothing(), whole(2), nothing()].map(|append| submit(&log, append).unwrap());
    for pending in pendings {
        pending.wait().unwrap();
    }
    assert_eq!(dump(&log).unwrap().chunks.len(), 2);
}
