//! Damage is found and mended, and only what was read again counts as mended.

use super::world::{Model, Step, World, commit, compact, expect_model, medium, run_passes, small, wait};
use crate::{DriveLog, DriveLogConfig, DriveState, Effort, Pass, PassKind};
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use std::sync::Arc;

fn config() -> DriveLogConfig {
    DriveLogConfig { segment_bytes: 128 << 10, group_bytes_max: 96 << 10, ..small(4, 2) }
}

fn fill(log: &DriveLog, model: &mut Model, blobs: std::ops::Range<u64>) {
    for blob in blobs {
        let step = Step::Put { blob, bytes: usize::try_from(blob * 997 % 20_000).unwrap() };
        step.apply(model, commit(log, step.append()).unwrap().stamp);
    }
}

/// Chunks that are cut over all data lanes, so that a drive that is away lacks something.
pub(super) fn fill_large(log: &DriveLog, model: &mut Model, blobs: std::ops::Range<u64>) {
    for blob in blobs {
        let step = Step::Put { blob, bytes: 200_000 };
        step.apply(model, commit(log, step.append()).unwrap().stamp);
    }
}

fn scrub(log: &DriveLog) -> Pass {
    log.request_pass(PassKind::Scrub);
    run_passes(log).unwrap();
    log.passes().last_scrub.unwrap()
}

/// The model is there with the view lost and every pair of drives gone.
pub(super) fn expect_protected(world: &World, model: &Model) {
    for first in 0..6 {
        for second in first + 1..6 {
            let world = world.fork();
            world.disks[first].vanish();
            world.disks[second].vanish();
            expect_model(&world.open().unwrap(), model, &format!("without {first} and {second}"));
        }
    }
}

#[test]
fn a_scrub_mends_what_was_flipped_on_any_two_drives() {
    let world = World::new(config());
    let log = world.open().unwrap();
    let mut model = Model::default();
    fill(&log, &mut model, 0..60);
    let clean = scrub(&log);
    assert!(clean.is_clean() && clean.bad_lanes == 0 && clean.verified_bytes > 600_000, "{clean:?}");
    let mut random = SmallRng::seed_from_u64(5);
    for drive in [1, 4] {
        for (name, bytes) in world.disks[drive].contents() {
            if name.starts_with("segment-") {
                for _ in 0..40 {
                    world.disks[drive].flip(&name, random.random_range(0..bytes.len()), random.random_range(0..8));
                }
            }
        }
    }
    let mended = scrub(&log);
    assert!(mended.is_clean() && mended.bad_lanes > 20 && mended.healed_lanes == mended.bad_lanes, "{mended:?}");
    assert_eq!(scrub(&log).bad_lanes, 0, "a second scrub finds nothing");
    drop(log);
    expect_protected(&world, &model);
}

#[test]
fn what_cannot_be_rebuilt_is_counted_and_the_rest_is_mended() {
    let world = World::new(config());
    let log = world.open().unwrap();
    let mut model = Model::default();
    fill(&log, &mut model, 0..40);
    let name = "segment-0000000000000001";
    for drive in 0..3 {
        for offset in 8192..8192 + 4096 {
            world.disks[drive].flip(name, offset, 3);
        }
    }
    world.disks[3].flip(name, 100_000, 3);
    let pass = scrub(&log);
    assert!(pass.lost_stripes >= 1 && !pass.is_clean(), "{pass:?}");
    let again = scrub(&log);
    assert_eq!(again.lost_stripes, pass.lost_stripes);
    assert!(again.bad_lanes < pass.bad_lanes || pass.bad_lanes <= 3, "{again:?} after {pass:?}");
}

#[test]
fn a_drive_that_was_away_is_stale_until_a_heal_has_brought_it_everything() {
    let world = World::new(medium(4, 2));
    let log = world.open().unwrap();
    let mut model = Model::default();
    fill_large(&log, &mut model, 0..20);
    drop(log);
    world.disks[2].vanish();
    let log = world.open().unwrap();
    fill_large(&log, &mut model, 20..120);
    drop(log);
    world.disks[2].come_back();
    let log = world.open().unwrap();
    let status = log.status();
    assert!(status.degraded && status.drives[2].stale && status.drives[2].state == DriveState::Live, "{status:?}");
    fill_large(&log, &mut model, 120..130);
    drop(log);
    // not forgotten by a restart
    let log = world.open().unwrap();
    assert!(log.status().degraded);
    run_passes(&log).unwrap();
    let heal = log.passes().last_heal.unwrap();
    assert!(heal.is_clean() && heal.healed_lanes > 0, "{heal:?}");
    assert!(!log.status().degraded, "{:?}", log.status());
    drop(log);
    expect_protected(&world, &model);
    let log = world.open().unwrap();
    assert!(!log.status().degraded);
    assert_eq!(scrub(&log).bad_lanes, 0);
}

#[test]
fn a_drive_whose_sync_failed_is_healed_after_the_next_start() {
    let world = World::new(config());
    let log = world.open().unwrap();
    let mut model = Model::default();
    fill(&log, &mut model, 0..10);
    world.disks[4].fail_sync(1);
    fill(&log, &mut model, 10..40);
    assert!(matches!(log.status().drives[4].state, DriveState::Out { .. }));
    drop(log);
    let log = world.open().unwrap();
    assert!(log.status().drives[4].stale);
    run_passes(&log).unwrap();
    assert!(!log.status().degraded, "{:?}", log.passes());
    drop(log);
    expect_protected(&world, &model);
}

#[test]
fn damage_that_a_reader_meets_is_healed_without_being_asked() {
    let world = World::new(config());
    let log = world.open().unwrap();
    let mut model = Model::default();
    fill(&log, &mut model, 1..20);
    for (name, bytes) in world.disks[0].contents() {
        if name.starts_with("segment-") {
            for offset in (4096..bytes.len()).step_by(64) {
                world.disks[0].flip(&name, offset, 1);
            }
        }
    }
    expect_model(&log, &model, "read around the damage");
    run_passes(&log).unwrap();
    let heal = log.passes().last_heal.expect("a heal began by itself");
    assert!(heal.is_clean() && heal.healed_lanes > 0, "{heal:?}");
}

#[test]
fn a_compacted_log_is_clean_and_a_pass_goes_on_after_a_restart() {
    let world = World::new(config());
    let log = world.open().unwrap();
    let mut model = Model::default();
    fill(&log, &mut model, 0..120);
    for blob in (0..120).filter(|blob| blob % 7 != 0) {
        let step = Step::Forget { blob };
        step.apply(&mut model, commit(&log, step.append()).unwrap().stamp);
    }
    compact(&log).unwrap();
    let pass = scrub(&log);
    assert!(pass.is_clean() && pass.bad_lanes == 0, "{pass:?}");
    expect_model(&log, &model, "compacted and read");
    drop(log);
    // ended passes are remembered
    let log = world.open().unwrap();
    let mut scrubber = log.scrubber(Arc::new(super::world::a_clock()));
    assert_eq!(wait(scrubber.step()).unwrap(), None);
    assert_eq!(log.passes().last_scrub, Some(pass));
}

#[test]
fn a_pass_of_an_earlier_run_does_not_make_a_drive_whole_that_it_has_not_read() {
    let world = World::new(medium(4, 2));
    let log = world.open().unwrap();
    let mut model = Model::default();
    fill_large(&log, &mut model, 0..150);
    log.request_pass(PassKind::Scrub);
    let mut scrubber = log.scrubber(Arc::new(LateClock));
    assert!(wait(scrubber.step()).unwrap().is_some());
    assert!(log.passes().running.is_some(), "the scrub has just begun");
    drop((scrubber, log));
    world.disks[2].vanish();
    let log = world.open().unwrap();
    assert!(log.passes().running.is_some(), "with all live drives whole it goes on");
    fill_large(&log, &mut model, 150..300);
    drop(log);
    world.disks[2].come_back();
    let log = world.open().unwrap();
    assert!(log.status().degraded);
    run_passes(&log).unwrap();
    assert!(!log.status().degraded);
    assert!(log.passes().last_heal.unwrap().healed_lanes > 0);
    drop(log);
    expect_protected(&world, &model);
}

/// Time that flies, so that every step of a pass is stored.
#[derive(Debug)]
pub(super) struct LateClock;

impl cistern_runtime::Clock for LateClock {
    fn now(&self) -> cistern_types::Timestamp {
        static MILLIS: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(1_700_000_000_000);
        cistern_types::Timestamp::from_millis(MILLIS.fetch_add(3_600_000, std::sync::atomic::Ordering::Relaxed))
    }
}

#[test]
fn a_pass_that_could_not_read_what_is_being_written_says_so() {
    let world = World::new(medium(4, 2));
    let mut model = Model::default();
    let log = world.open().unwrap();
    fill_large(&log, &mut model, 0..3);
    let active = log.core().active_segment.load(std::sync::atomic::Ordering::Acquire);
    for disk in &world.disks {
        disk.limit_bytes(Some(0));
    }
    let pass = scrub(&log);
    assert!(pass.unread_segment == Some(active) && !pass.is_clean(), "{pass:?}");
    for disk in &world.disks {
        disk.limit_bytes(None);
    }
    let pass = scrub(&log);
    assert!(pass.unread_segment.is_none() && pass.is_clean() && pass.verified_bytes > 600_000, "{pass:?}");
}

#[test]
fn a_lane_whose_sync_fails_is_not_healed() {
    let world = World::new(config());
    let log = world.open().unwrap();
    let mut model = Model::default();
    fill(&log, &mut model, 1..40);
    for offset in (4096..60_000).step_by(512) {
        world.disks[3].flip("segment-0000000000000001", offset, 2);
    }
    log.request_pass(PassKind::Heal);
    let mut scrubber = log.scrubber(Arc::new(super::world::a_clock()));
    wait(log.begin_segment()).unwrap();
    world.disks[3].fail_sync(0);
    while wait(scrubber.step()).unwrap().is_some() {}
    let pass = log.passes().last_heal.unwrap();
    assert!(pass.bad_lanes > pass.healed_lanes && !pass.is_clean(), "{pass:?}");
    assert!(matches!(log.status().drives[3].state, DriveState::Out { .. }), "{:?}", log.status().drives);
    expect_model(&log, &model, "without the drive");
}

#[test]
fn what_a_failed_sync_left_in_the_page_cache_is_not_believed() {
    let world = World::new(medium(4, 2));
    let log = world.open().unwrap();
    let mut model = Model::default();
    fill_large(&log, &mut model, 0..3);
    world.disks[5].fail_sync(0);
    fill_large(&log, &mut model, 3..120);
    drop(log);
    // the program starts again and the machine does not: its reads still show what the device never got
    let log = world.open().unwrap();
    run_passes(&log).unwrap();
    let heal = log.passes().last_heal.unwrap();
    assert!(heal.is_clean() && heal.healed_lanes > 0 && !log.status().degraded, "{heal:?}");
    drop(log);
    world.power.cut();
    world.restart(3);
    expect_protected(&world, &model);
}

#[test]
fn passes_compaction_and_writers_do_not_disturb_one_another() {
    let world = World::new(config());
    let log = world.open().unwrap();
    let mut model = Model::default();
    fill(&log, &mut model, 0..60);
    let mut compactor = log.compactor(Arc::new(super::world::a_clock()));
    let mut scrubber = log.scrubber(Arc::new(super::world::a_clock()));
    let mut random = SmallRng::seed_from_u64(17);
    for blob in 60..400 {
        fill(&log, &mut model, blob..blob + 1);
        let step = Step::Forget { blob: random.random_range(0..blob) };
        step.apply(&mut model, commit(&log, step.append()).unwrap().stamp);
        if blob % 40 == 0 {
            log.request_pass(PassKind::Scrub);
        }
        if blob % 25 == 0 {
            wait(compactor.begin_checkpoint()).unwrap();
        }
        for _ in 0..random.random_range(0..4) {
            wait(compactor.step(Effort::Thorough)).unwrap();
        }
        if random.random() {
            wait(scrubber.step()).unwrap();
        }
    }
    run_passes(&log).unwrap();
    let pass = log.passes().last_scrub.unwrap();
    assert!(pass.is_clean() && pass.bad_lanes == 0, "{pass:?}");
    assert!(log.status().counters.segments_retired > 0);
    expect_model(&log, &model, "in the end");
    drop(log);
    expect_protected(&world, &model);
}
