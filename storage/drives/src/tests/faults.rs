//! Drives that fail while the log runs: failed and short writes, failed syncs, full drives, drives that were away.

use super::world::{Model, Step, World, a_put, a_row, commit, dump, expect_model, small, submit, wait};
use crate::segment::segment_name;
use crate::{Append, DriveState, Error, ErrorKind};
use cistern_types::Receipt;
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

fn steps(count: u64) -> Vec<Step> {
    (0..count).map(|blob| Step::Put { blob, bytes: 2000 }).collect()
}

fn commit_all(log: &crate::DriveLog, steps: &[Step], model: &mut Model) {
    for step in steps {
        step.apply(model, commit(log, step.append()).unwrap().stamp);
    }
}

#[test]
fn a_failed_sync_takes_the_drive_out_and_loses_nothing() {
    check_one_failure(|disk| disk.fail_sync(3));
}

#[test]
fn a_failed_write_takes_the_drive_out_and_loses_nothing() {
    check_one_failure(|disk| disk.fail_write(3));
}

#[test]
fn a_short_write_takes_the_drive_out_and_loses_nothing() {
    check_one_failure(|disk| disk.short_write(3));
}

#[track_caller]
fn check_one_failure(fail: impl Fn(&crate::SimDisk)) {
    let world = World::new(small(4, 2));
    let log = world.open().unwrap();
    let mut model = Model::default();
    commit_all(&log, &steps(3), &mut model);
    fail(&world.disks[1]);
    let more: Vec<Step> = (3..20).map(|blob| Step::Put { blob, bytes: 4000 }).collect();
    commit_all(&log, &more, &mut model);
    let status = log.status();
    assert!(matches!(status.drives[1].state, DriveState::Out { .. }), "{:?}", status.drives[1]);
    assert!(status.writable && status.degraded);
    expect_model(&log, &model, "with the drive out");
    world.power.cut();
    drop(log);
    world.restart(7);
    for gone in [0, 2, 3, 4, 5] {
        let fewer = world.fork();
        fewer.disks[gone].vanish();
        fewer.disks[1].vanish();
        expect_model(&fewer.open().unwrap(), &model, "after a power cut, without the failed drive and one more");
    }
    expect_model(&world.open().unwrap(), &model, "after a power cut");
}

#[test]
fn more_failures_than_parity_refuse_the_write_and_all_behind_it() {
    let world = World::new(small(4, 2));
    let log = world.open().unwrap();
    let mut model = Model::default();
    commit_all(&log, &steps(3), &mut model);
    let receipt = submit(&log, a_row("before", "x")).unwrap();
    let old_era = receipt.receipt();
    receipt.wait().unwrap();
    Step::Delete { key: 0 }.apply(&mut model, 0);
    model.rows.insert(b"before".to_vec(), b"x".to_vec());

    world.disks.iter().for_each(|disk| disk.fail_sync(0));
    let large = Step::Put { blob: 50, bytes: 20_000 };
    let first = submit(&log, large.append()).unwrap();
    let behind = submit(&log, a_put(51, 20_000)).unwrap();
    let stamp = behind.stamp();
    let error = first.wait().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    let error = behind.wait().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    wait(log.wait_applied(stamp)).unwrap();

    let refused = wait(log.reserve(10)).unwrap_err();
    assert!(matches!(refused, Error::ReadOnly { .. }), "{refused}");
    assert!(refused.to_string().contains("3 of 6 drives are live, 5 are needed"), "{refused}");
    assert_ne!(old_era, Receipt::DURABLE);
    expect_model(&log, &model, "reads go on without the failed write");
    drop(log);
    world.disks.iter().for_each(|disk| disk.no_more_failures());

    let log = world.open().unwrap();
    let found = dump(&log).unwrap();
    let mut with = model.clone();
    large.apply(&mut with, 0);
    assert!(found == model || found == with, "old or new");
    let again = Append { requires: vec![], ..a_row("after", "y") };
    commit(&log, again).unwrap();
    assert_eq!(log.snapshot().get(b"after").unwrap().unwrap(), "y");
}

/// The process dies between write and sync, and the machine stays up: what the next run reads is in the page cache only.
#[test]
fn a_stripe_that_was_read_but_never_synced_is_made_durable_before_anything_is_built_on_it() {
    for seed in 0..40 {
        let world = World::new(small(2, 1));
        let log = world.open().unwrap();
        commit(&log, a_row("a", "1")).unwrap();
        world.disks.iter().for_each(|disk| disk.fail_sync(0));
        commit(&log, a_row("b", "1")).unwrap_err();
        world.disks.iter().for_each(|disk| disk.no_more_failures());
        drop(log);

        let log = world.open().unwrap();
        let seen = log.snapshot().get(b"b").unwrap();
        commit(&log, a_row("c", "acknowledged")).unwrap();
        drop(log);
        world.power.cut();
        world.restart(seed);

        let log = world.open().unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        assert_eq!(log.snapshot().get(b"b").unwrap(), seen, "seed {seed}: what was shown stays");
        assert_eq!(log.snapshot().get(b"c").unwrap().unwrap(), "acknowledged", "seed {seed}");
    }
}

#[test]
fn a_write_is_acknowledged_only_if_one_more_drive_may_go() {
    let mut refused = 0;
    for first in 0..6 {
        for second in first + 1..6 {
            let world = World::new(small(4, 2));
            let log = world.open().unwrap();
            commit(&log, a_row("before", "x")).unwrap();
            world.disks[first].fail_sync(0);
            world.disks[second].fail_sync(0);
            // one data lane and two of parity: with two of the three lost, the bytes are on one drive only
            let outcome = commit(&log, a_row("lone", "x"));
            let out = log.status().drives.iter().filter(|drive| drive.state != DriveState::Live).count();
            assert_eq!(outcome.is_ok(), out < 2, "{out} of its drives failed");
            refused += usize::from(outcome.is_err());
        }
    }
    assert_eq!(refused, 3, "the pairs of the three drives that the write went to");
}

#[test]
fn a_full_drive_refuses_writes_and_takes_them_again_when_there_is_room() {
    let world = World::new(small(2, 1));
    let log = world.open().unwrap();
    let mut model = Model::default();
    commit_all(&log, &steps(2), &mut model);
    world.disks[1].limit_bytes(Some(100 << 10));
    let staged = submit(&log, a_row("staged", "x")).unwrap();
    let receipt = staged.receipt();
    staged.wait().unwrap();
    model.rows.insert(b"staged".to_vec(), b"x".to_vec());
    let mut blob = 2;
    let error = loop {
        let step = Step::Put { blob, bytes: 10_000 };
        match commit(&log, step.append()) {
            Ok(committed) => step.apply(&mut model, committed.stamp),
            Err(error) => break error,
        }
        blob += 1;
        assert!(blob < 100, "the drive should have been full long ago");
    };
    assert_eq!(error.kind(), ErrorKind::Full, "{error}");
    assert!(error.to_string().contains("sim1"), "{error}");
    let failed = log.status().counters.groups_failed;
    assert_eq!(commit(&log, a_put(99, 10)).unwrap_err().kind(), ErrorKind::Full);
    assert_eq!(log.status().counters.groups_failed, failed, "known to be full without trying");
    expect_model(&log, &model, "while full");
    assert!(log.status().writable && !log.status().degraded, "a full drive is not a failed one");

    world.disks[1].limit_bytes(None);
    let lost = Append { requires: vec![receipt], ..a_row("needs", "staged") };
    let refused = submit(&log, lost).unwrap_err();
    assert!(matches!(refused, Error::LostPrerequisite { required: 1, current: 2 }), "{refused}");
    commit_all(&log, &[Step::Put { blob: 500, bytes: 10_000 }], &mut model);
    expect_model(&log, &model, "after there was room again");
    drop(log);
    expect_model(&world.open().unwrap(), &model, "reopened");
}

#[test]
fn a_drive_that_was_away_comes_back_without_doing_harm() {
    for parity in [1, 2] {
        let world = World::new(small(3, parity));
        drop(world.open().unwrap());
        let mut model = Model::default();
        let mut random = SmallRng::seed_from_u64(11);
        let mut next_blob = 0;
        for round in 0..40 {
            let away = random.random_range(0..world.disks.len());
            // with one parity drive, writes need all the others: it may only be away for reads
            let cut = random.random();
            if parity > 1 {
                world.disks[away].vanish();
            }
            let log = world.open().unwrap();
            for _ in 0..3 {
                let step = Step::random(&mut random, &mut next_blob, 5000);
                step.apply(&mut model, commit(&log, step.append()).unwrap().stamp);
            }
            if cut {
                world.power.cut();
            }
            drop(log);
            world.disks[away].come_back();
            if cut {
                world.restart(round);
            }
            let log = world.open().unwrap();
            expect_model(&log, &model, &format!("round {round}, drive {away} back"));
        }
    }
}

#[test]
fn a_segment_begun_twice_is_told_apart_by_its_generation() {
    for stale in 0..6 {
        let world = World::new(small(4, 2));
        let log = world.open().unwrap();
        let mut model = Model::default();
        commit_all(&log, &steps(2), &mut model);
        drop(log);
        // a run whose stripe reached one drive only: the others lost all of it but the number of the run
        let run = world.fork();
        let log = run.open().unwrap();
        commit_all(&log, &[Step::Put { blob: 66, bytes: 15_000 }], &mut Model::default());
        drop(log);
        for (disk, contents) in world.disks.iter().zip(run.contents()) {
            disk.put("drive.json", contents["drive.json"].clone());
        }
        world.disks[stale].vanish();
        let log = world.open().unwrap();
        commit_all(&log, &[Step::Put { blob: 77, bytes: 15_000 }, Step::Put { blob: 78, bytes: 15_000 }], &mut model);
        drop(log);
        world.disks[stale].come_back();
        world.disks[stale].put(&segment_name(2), run.disks[stale].contents()[&segment_name(2)].clone());
        for gone in 0..6 {
            let fewer = world.fork();
            fewer.disks[gone].vanish();
            expect_model(&fewer.open().unwrap(), &model, &format!("drive {stale} stale, without {gone}"));
        }
        expect_model(&world.open().unwrap(), &model, &format!("drive {stale} stale"));
    }
}

#[test]
fn random_faults_on_up_to_m_drives_lose_nothing() {
    for seed in 0..200 {
        let mut random = SmallRng::seed_from_u64(seed);
        let world = World::new(small(4, 2));
        let mut log = world.open().unwrap();
        let (mut model, mut next_blob) = (Model::default(), 0);
        let failing = [random.random_range(0..6_usize), random.random_range(0..6_usize)];
        for round in 0..3 {
            let drive = &world.disks[failing[round % 2]];
            match random.random_range(0..3) {
                0 => drive.fail_sync(random.random_range(0..10)),
                1 => drive.fail_write(random.random_range(0..10)),
                _ => drive.short_write(random.random_range(0..10)),
            }
            for _ in 0..6 {
                let step = Step::random(&mut random, &mut next_blob, 6000);
                let pending = match submit(&log, step.append()) {
                    Ok(pending) => pending,
                    Err(Error::ReadOnly { .. }) => break,
                    Err(error) => panic!("seed {seed}: {error}"),
                };
                let stamp = pending.stamp();
                match pending.wait() {
                    Ok(_) => step.apply(&mut model, stamp),
                    Err(Error::Unavailable { .. } | Error::ReadOnly { .. }) => {
                        // its fate is open: what the next open shows is the truth from then on
                        let mut with = model.clone();
                        step.apply(&mut with, stamp);
                        drop(log);
                        log = world.open().unwrap();
                        let found = dump(&log).unwrap();
                        assert!(found == model || found == with, "seed {seed}: old or new");
                        model = found;
                        break;
                    }
                    Err(error) => panic!("seed {seed}: {error}"),
                }
            }
            expect_model(&log, &model, &format!("seed {seed}, round {round}"));
        }
        world.power.cut();
        drop(log);
        world.restart(seed);
        expect_model(&world.open().unwrap(), &model, &format!("seed {seed}, after a power cut"));
    }
}

#[test]
fn what_is_over_a_limit_is_refused_and_changes_nothing() {
    let world = World::new(small(2, 1));
    let log = world.open().unwrap();
    let refused = |append: Append| {
        let error = submit(&log, append).expect_err("should be refused");
        assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
    };
    let row = |key: usize, value: usize| {
        let mut rows = crate::Rows::new();
        rows.put(&vec![1; key], &vec![2; value]);
        Append { rows: Some(rows), ..Append::default() }
    };
    refused(row(crate::KEY_BYTES_MAX + 1, 0));
    refused(row(1, crate::VALUE_BYTES_MAX + 1));
    refused(row(0, 1));
    refused(a_put(1, 25 << 10));
    let mut twice = a_put(1, 100);
    twice.pieces.extend(a_put(1, 50).pieces);
    refused(twice);
    let reservation = wait(log.reserve(10)).unwrap();
    let beyond = log.submit(reservation, a_put(1, 100)).unwrap_err();
    assert_eq!(beyond.kind(), ErrorKind::Invalid, "{beyond}");
    commit(&log, row(crate::KEY_BYTES_MAX, 10)).unwrap();
    assert_eq!(dump(&log).unwrap().rows.len(), 1);
}
