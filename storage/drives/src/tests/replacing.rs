//! Another drive takes a place while the log is open: an empty one, the one that was there, and those that may not.

use super::scrubbing::{LateClock, expect_protected, fill_large};
use super::world::{
    Model, Step, World, a_blob, a_clock, a_put, blob_id, commit, compact, expect_error, expect_model, medium,
    run_passes, small, wait,
};
use crate::{Disk, DriveLog, DriveLogConfig, DriveState, Effort, Error, Result, SimDisk};
use cistern_runtime::Clock;
use std::sync::Arc;

fn replace(log: &DriveLog, drive: usize, disk: &Arc<SimDisk>) -> Result<()> {
    wait(log.replace_drive(drive, Arc::clone(disk) as Arc<dyn Disk>, a_clock().now()))
}

#[track_caller]
fn expect_refused(log: &DriveLog, drive: usize, disk: &Arc<SimDisk>, words: &str) {
    let before = (disk.contents(), log.status());
    let error = replace(log, drive, disk).expect_err("this drive may not take the place");
    assert!(matches!(error, Error::NotReplaceable { .. }) && error.to_string().contains(words), "{error}");
    assert_eq!(disk.contents().keys().collect::<Vec<_>>(), before.0.keys().collect::<Vec<_>>());
    assert_eq!(log.status().drives, before.1.drives, "a refusal changes nothing");
}

#[track_caller]
fn expect_whole(log: &DriveLog) {
    assert!(!log.status().degraded, "{:?} after {:?}", log.status().drives, log.passes());
}

#[test]
fn an_empty_folder_found_at_open_takes_its_place_and_is_filled() {
    let mut world = World::new(medium(4, 2));
    let mut model = Model::default();
    let log = world.open().unwrap();
    fill_large(&log, &mut model, 0..40);
    drop(log);
    world.disks[2].wipe();
    let log = world.open().unwrap();
    assert!(matches!(log.status().drives[2].state, DriveState::Missing { .. }));
    replace(&log, 2, &world.disks[2]).unwrap();
    let status = log.status();
    assert!(status.drives[2].state == DriveState::Live && status.drives[2].stale && status.degraded, "{status:?}");
    fill_large(&log, &mut model, 40..60);
    run_passes(&log).unwrap();
    expect_whole(&log);
    assert_eq!(log.passes().last_heal.unwrap().from_segment, 0);
    expect_model(&log, &model, "filled");
    drop(log);
    expect_protected(&world, &model);

    // once more with another drive in the place of one that fails, and again while that one is filled
    let log = world.open().unwrap();
    for label in ["first", "second"] {
        world.disks[5].fail_sync(0);
        fill_large(&log, &mut model, 60..70);
        assert!(matches!(log.status().drives[5].state, DriveState::Out { .. }));
        world.disks[5] = SimDisk::new(label, &world.power);
        replace(&log, 5, &world.disks[5]).unwrap();
        assert_eq!(log.status().drives[5].label, label);
        wait(log.scrubber(Arc::new(a_clock())).step()).unwrap();
        fill_large(&log, &mut model, 70..75);
    }
    run_passes(&log).unwrap();
    expect_whole(&log);
    drop(log);
    expect_protected(&world, &model);
}

#[test]
fn a_drive_in_use_can_be_exchanged_for_an_empty_one() {
    let mut world = World::new(medium(4, 2));
    let mut model = Model::default();
    let log = world.open().unwrap();
    fill_large(&log, &mut model, 0..30);
    let former = std::mem::replace(&mut world.disks[0], SimDisk::new("new", &world.power));
    replace(&log, 0, &world.disks[0]).unwrap();
    former.vanish();
    fill_large(&log, &mut model, 30..40);
    run_passes(&log).unwrap();
    expect_whole(&log);
    drop(log);
    expect_protected(&world, &model);
}

#[test]
fn a_drive_that_went_out_comes_back_without_a_restart() {
    let world = World::new(medium(4, 2));
    let mut model = Model::default();
    let log = world.open().unwrap();
    fill_large(&log, &mut model, 0..40);
    world.disks[1].fail_sync(0);
    fill_large(&log, &mut model, 40..80);
    replace(&log, 1, &world.disks[1]).unwrap();
    assert!(log.status().drives[1].stale);
    run_passes(&log).unwrap();
    expect_whole(&log);
    assert!(log.passes().last_heal.unwrap().from_segment > 1, "only what it lacks is read");
    drop(log);
    expect_protected(&world, &model);
}

#[test]
fn a_set_with_too_few_drives_for_writes_takes_new_ones_and_writes_again() {
    let mut world = World::new(medium(4, 2));
    let mut model = Model::default();
    let log = world.open().unwrap();
    fill_large(&log, &mut model, 0..20);
    drop(log);
    for drive in [3, 4] {
        world.disks[drive] = SimDisk::new(format!("new {drive}"), &world.power);
        world.disks[drive].vanish();
    }
    let log = world.open().unwrap();
    let refused = wait(log.reserve(10)).unwrap_err();
    assert!(matches!(refused, Error::ReadOnly { .. }), "{refused}");
    expect_refused(&log, 3, &world.disks[3], "the folder does not exist");
    for drive in [3, 4] {
        world.disks[drive].come_back();
        replace(&log, drive, &world.disks[drive]).unwrap();
        fill_large(&log, &mut model, 20..25);
    }
    run_passes(&log).unwrap();
    expect_whole(&log);
    drop(log);
    expect_protected(&world, &model);
}

#[test]
fn drives_that_may_not_take_a_place_are_refused_and_stay_as_they_are() {
    let world = World::new(medium(4, 2));
    let other = World::new(medium(4, 2));
    drop(other.open().unwrap());
    let mut model = Model::default();
    let log = world.open().unwrap();
    fill_large(&log, &mut model, 0..10);
    let copy = SimDisk::new("copy", &world.power);
    for (name, bytes) in world.disks[2].contents() {
        copy.put(&name, bytes);
    }
    let empty = SimDisk::new("empty", &world.power);
    expect_refused(&log, 6, &empty, "drives 0 to 5");
    expect_refused(&log, 2, &other.disks[2], "belongs to the set");
    expect_refused(&log, 2, &copy, "copy of the drive");
    let headless = SimDisk::new("headless", &world.power);
    headless.put("segment-0000000000000001", vec![1; 5000]);
    expect_refused(&log, 2, &headless, "holds segment-0000000000000001 but no drive.json");
    let foreign = SimDisk::new("foreign", &world.power);
    for name in ["lost+found", "passes.json", "photo", "report", "thesis"] {
        foreign.put(name, b"somebody's".to_vec());
    }
    expect_refused(&log, 2, &foreign, "holds passes.json, photo, report, ... but no drive.json");
    let busy = replace(&log, 3, &world.disks[2]).unwrap_err();
    assert!(matches!(busy, Error::InUse { .. }), "{busy}");
    // with two drives out, the copy's place is not free for another drive's copy, and no third drive may go
    for drive in [0, 1] {
        world.disks[drive].fail_sync(0);
    }
    let write = Step::Put { blob: 10, bytes: 200_000 };
    commit(&log, write.append()).expect_err("four drives are too few for a write");
    expect_refused(&log, 0, &copy, "drive 2 of this set");
    expect_refused(&log, 3, &empty, "only 3 of the other drives");
    replace(&log, 0, &empty).unwrap();
    expect_refused(&log, 3, &SimDisk::new("another", &world.power), "only 3 of the other drives");
    expect_model(&log, &model, "after all this");
}

#[test]
fn filling_a_drive_goes_on_after_a_restart_unless_it_was_away() {
    for away in [false, true] {
        let world = World::new(medium(4, 2));
        let mut model = Model::default();
        let log = world.open().unwrap();
        fill_large(&log, &mut model, 0..150);
        drop(log);
        world.disks[2].wipe();
        let log = world.open().unwrap();
        replace(&log, 2, &world.disks[2]).unwrap();
        let mut scrubber = log.scrubber(Arc::new(LateClock));
        for _ in 0..4 {
            assert!(wait(scrubber.step()).unwrap().is_some());
        }
        let begun = log.passes().running.unwrap();
        assert!(begun.healed_lanes > 0 && begun.next_segment > 1, "{begun:?}");
        drop((scrubber, log));
        if away {
            world.disks[2].vanish();
            let log = world.open().unwrap();
            fill_large(&log, &mut model, 150..300);
            drop(log);
            world.disks[2].come_back();
        }
        let log = world.open().unwrap();
        assert!(log.status().degraded);
        run_passes(&log).unwrap();
        expect_whole(&log);
        let ended = log.passes().last_heal.unwrap();
        assert_eq!(ended.started == begun.started, !away, "{ended:?} after {begun:?}");
        drop(log);
        expect_protected(&world, &model);
    }
}

#[test]
fn a_drive_put_back_from_an_old_copy_is_stale_from_where_the_copy_ends() {
    let mut world = World::new(medium(4, 2));
    let mut model = Model::default();
    drop(world.open().unwrap());
    for run in 0..3 {
        let log = world.open().unwrap();
        fill_large(&log, &mut model, run * 40..(run + 1) * 40);
        drop(log);
        if run == 1 {
            let copy = world.disks[4].fork(&world.power);
            let log = world.open().unwrap();
            fill_large(&log, &mut model, 200..240);
            drop(log);
            world.disks[4] = copy;
            let log = world.open().unwrap();
            assert!(log.status().drives[4].stale, "{:?}", log.status().drives);
            run_passes(&log).unwrap();
            expect_whole(&log);
            assert!(log.passes().last_heal.unwrap().healed_lanes > 0);
            drop(log);
            expect_protected(&world, &model);
        }
    }
}

#[test]
fn a_drive_put_back_from_a_copy_of_the_same_run_is_stale_from_the_first_segment_it_lacks() {
    let mut world = World::new(medium(4, 2));
    let mut model = Model::default();
    let log = world.open().unwrap();
    fill_large(&log, &mut model, 0..20);
    let copy = world.disks[4].fork(&world.power);
    fill_large(&log, &mut model, 20..150);
    let segments = log.status().segments;
    drop(log);
    world.disks[4] = copy;
    let log = world.open().unwrap();
    assert!(segments > 1 && log.status().drives[4].stale, "{segments}: {:?}", log.status().drives);
    run_passes(&log).unwrap();
    expect_whole(&log);
    drop(log);
    expect_protected(&world, &model);
}

#[test]
fn a_power_cut_at_any_time_while_a_drive_is_replaced_loses_nothing() {
    let mut points = 0;
    for cut in 0.. {
        let world = World::new(medium(2, 1));
        let mut model = Model::default();
        let log = world.open().unwrap();
        fill_large(&log, &mut model, 0..12);
        drop(log);
        world.disks[1].wipe();
        let log = world.open().unwrap();
        world.power.cut_at(world.power.operations() + cut);
        drop(replace(&log, 1, &world.disks[1]));
        let step = Step::Put { blob: 500, bytes: 200_000 };
        let written = commit(&log, step.append()).is_ok();
        drop(run_passes(&log));
        drop(log);
        if !world.power.is_off() {
            assert!(written);
            break;
        }
        points += 1;
        world.restart(cut ^ 0x51ee9);
        let context = format!("cut at operation {cut}");
        let log = world.open().unwrap_or_else(|error| panic!("{context}: {error}"));
        if log.status().drives[1].state != DriveState::Live {
            replace(&log, 1, &world.disks[1]).unwrap_or_else(|error| panic!("{context}, once more: {error}"));
        }
        run_passes(&log).unwrap_or_else(|error| panic!("{context}, heal: {error}"));
        expect_whole(&log);
        step.apply(&mut model, commit(&log, step.append()).unwrap().stamp);
        drop(log);
        for gone in 0..3 {
            let world = world.fork();
            world.disks[gone].vanish();
            expect_model(&world.open().unwrap(), &model, &format!("{context}, without {gone}"));
        }
    }
    assert!(points > 40, "only {points} cuts");
}

#[test]
fn dead_stripes_do_not_hide_those_behind_them_when_all_drives_are_exchanged_in_turn() {
    let world = World::new(DriveLogConfig { segment_bytes: 128 << 10, group_bytes_max: 96 << 10, ..small(4, 2) });
    let mut model = Model::default();
    let log = world.open().unwrap();
    let apply = |log: &DriveLog, model: &mut Model, step: Step| {
        step.apply(model, commit(log, step.append()).unwrap().stamp);
    };
    for blob in 0..300 {
        apply(&log, &mut model, Step::Put { blob, bytes: 3000 });
    }
    for blob in (0..300).filter(|blob| blob % 4 != 0) {
        apply(&log, &mut model, Step::Forget { blob });
    }
    // punched, and not yet moved
    wait(async {
        let mut compactor = log.compactor(Arc::new(a_clock()));
        compactor.begin_checkpoint().await.unwrap();
        while log.status().counters.punched_bytes == 0 {
            assert!(compactor.step(Effort::Thorough).await.unwrap(), "something is punched");
        }
    });
    drop(log);
    for drive in 0..6 {
        world.disks[drive].wipe();
        let log = world.open().unwrap();
        replace(&log, drive, &world.disks[drive]).unwrap();
        run_passes(&log).unwrap();
        expect_whole(&log);
        let heal = log.passes().last_heal.unwrap();
        assert!(heal.is_clean(), "drive {drive}: {heal:?}");
        drop(log);
    }
    expect_protected(&world, &model);
    let log = world.open().unwrap();
    for blob in (0..300).filter(|blob| blob % 8 != 0) {
        apply(&log, &mut model, Step::Forget { blob });
    }
    compact(&log).unwrap();
    expect_model(&log, &model, "compacted");
    assert!(log.status().segments <= 6, "old segments can be read and go: {} are left", log.status().segments);
}

#[test]
fn a_drive_whose_place_another_has_had_is_stale_from_the_beginning() {
    for (online, fails) in [(false, false), (true, true), (true, false)] {
        let mut world = World::new(medium(4, 2));
        let mut model = Model::default();
        let log = world.open().unwrap();
        fill_large(&log, &mut model, 0..30);
        let former = std::mem::replace(&mut world.disks[2], SimDisk::new("new", &world.power));
        replace(&log, 2, &world.disks[2]).unwrap();
        fill_large(&log, &mut model, 30..90);
        run_passes(&log).unwrap();
        expect_whole(&log);
        world.disks[2] = former;
        let log = if online {
            // the new one fails or not, and the old one is put back
            if fails {
                let out = std::io::Error::other("it failed");
                log.core().drives.take_out(2, "test", &out);
            }
            fill_large(&log, &mut model, 90..95);
            replace(&log, 2, &world.disks[2]).unwrap();
            log
        } else {
            // the configuration was not changed: the old one is given again
            drop(log);
            world.open().unwrap()
        };
        assert!(log.status().drives[2].stale, "{:?}", log.status().drives);
        run_passes(&log).unwrap();
        expect_whole(&log);
        assert_eq!(log.passes().last_heal.unwrap().from_segment, 0);
        drop(log);
        assert!(!world.open().unwrap().status().degraded, "and is not taken for old again");
        expect_protected(&world, &model);
    }
}

#[test]
fn a_drive_that_was_pulled_and_plugged_in_again_unnoticed_comes_back() {
    let world = World::new(small(4, 2));
    let log = world.open().unwrap();
    commit(&log, a_put(1, 3000)).unwrap();
    // the same drive in the same folder, which nobody holds: what the log holds is gone
    let again = world.disks[1].fork(&world.power);
    commit(&log, a_put(2, 3000)).unwrap();
    assert_eq!(log.status().drives[1].state, DriveState::Live, "nobody has noticed");
    wait(log.replace_drive(1, SimDisk::as_disks(&[Arc::clone(&again)]).remove(0), a_clock().now())).unwrap();
    run_passes(&log).unwrap();
    assert!(!log.status().degraded);
    commit(&log, a_put(3, 3000)).unwrap();
    for gone in [0, 4] {
        world.disks[gone].vanish();
    }
    for blob in 1..=3 {
        let read = wait(log.read_chunk(blob_id(blob), 0)).unwrap().unwrap();
        assert_eq!(read.bytes, a_blob(blob, 3000).bytes);
    }
}

/// A store, and a copy of it, both used since.
fn two_copies() -> ([World; 2], [Model; 2]) {
    let one = World::new(medium(4, 2));
    let mut models = [Model::default(), Model::default()];
    let log = one.open().unwrap();
    fill_large(&log, &mut models[0], 0..20);
    drop(log);
    let worlds = [one.fork(), one];
    models[1] = models[0].clone();
    for (world, (model, runs)) in worlds.iter().zip(models.iter_mut().zip([1, 3])) {
        for run in 0..runs {
            let log = world.open().unwrap();
            fill_large(&log, model, 100 + run..120 + run);
        }
    }
    (worlds, models)
}

#[test]
fn drives_of_a_copy_that_was_used_apart_are_missing_and_take_no_place() {
    for copies in 1..=2 {
        let ([mut ours, theirs], [model, _]) = two_copies();
        let own: Vec<_> = ours.disks.splice(0..copies, theirs.disks[..copies].iter().cloned()).collect();
        let log = ours.open().unwrap();
        for place in &log.status().drives[..copies] {
            let DriveState::Missing { reason } = &place.state else { panic!("{place:?}") };
            assert!(reason.contains("used apart"), "{reason}");
        }
        expect_model(&log, &model, "with drives of another copy");
        expect_refused(&log, 0, &theirs.disks[0], "used apart");
        for (drive, disk) in own.iter().enumerate() {
            replace(&log, drive, disk).unwrap();
        }
        run_passes(&log).unwrap();
        expect_whole(&log);
        drop(log);
        ours.disks.splice(0..copies, own);
        expect_protected(&ours, &model);
    }
}

#[test]
fn a_drive_that_knows_no_run_hides_no_drive_of_another_copy() {
    let one = World::new(medium(4, 2));
    let mut model = Model::default();
    drop(one.open().unwrap());
    let bare = one.disks[5].fork(&one.power);
    let copy = one.fork();
    for (world, model) in [(&copy, &mut Model::default()), (&one, &mut model)] {
        let log = world.open().unwrap();
        fill_large(&log, model, 0..20);
    }
    let mut world = one;
    world.disks[0] = Arc::clone(&copy.disks[0]);
    world.disks[5] = bare;
    let log = world.open().unwrap();
    let drives = log.status().drives;
    assert!(matches!(drives[0].state, DriveState::Missing { .. }) && drives[5].stale, "{drives:?}");
    expect_model(&log, &model, "with a drive of another copy and one that is old");
}

#[test]
fn drives_of_two_copies_that_were_both_used_are_refused_when_neither_are_enough() {
    let ([mut ours, theirs], _) = two_copies();
    ours.disks.splice(0..3, theirs.disks[..3].iter().cloned());
    let before = ours.contents();
    expect_error(ours.open(), |error| matches!(error, Error::UsedApart { apart } if apart.len() == 3), &["two copies"]);
    assert!(ours.contents() == before, "a refusal changes something");
}
