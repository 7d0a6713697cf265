//! The rules of opening: when drives are formatted, which drives make a set, and what is refused in which words.

use super::world::{Model, Step, World, a_row, commit, expect_error, expect_model, open, run_passes, small, wait};
use crate::segment::segment_name;
use crate::{DriveLogConfig, DriveState, Error, Membership, SimDisk, SimPower};
use cistern_types::Timestamp;

fn a_used_set(data: usize, parity: usize) -> (World, Model) {
    let world = World::new(small(data, parity));
    let log = world.open().unwrap();
    let mut model = Model::default();
    for blob in 0..4 {
        let step = Step::Put { blob, bytes: 900 };
        step.apply(&mut model, commit(&log, step.append()).unwrap().stamp);
    }
    (world, model)
}

#[test]
fn empty_drives_are_formatted_and_missing_folders_made() {
    let world = World::new(small(2, 1));
    drop(world.open().unwrap());
    for disk in &world.disks {
        assert!(disk.contents().contains_key("drive.json"));
    }
}

#[test]
fn a_format_that_was_cut_off_is_finished() {
    let world = World::new(small(4, 2));
    world.power.cut_at(3);
    assert!(world.open().is_err());
    world.restart(1);
    let log = world.open().unwrap();
    assert!(!log.status().degraded);
}

#[test]
fn an_emptied_drive_is_missing_and_never_formatted_beside_a_used_one() {
    let (world, model) = a_used_set(4, 2);
    world.disks[3].wipe();
    let log = world.open().unwrap();
    assert!(world.disks[3].contents().is_empty(), "it was left alone");
    assert!(matches!(&log.status().drives[3].state, DriveState::Missing { reason } if reason == "empty"));
    expect_model(&log, &model, "with an emptied drive");
    drop(log);
    world.disks[4].wipe();
    world.disks[5].wipe();
    let three = |error: &Error| matches!(error, Error::DrivesMissing { parity: 2, .. });
    expect_error(world.open(), three, &["3 of the set's drives", "sim3: empty", "sim4", "sim5", "at most 2"]);
}

#[test]
fn drives_of_another_set_are_refused() {
    let (world, _) = a_used_set(2, 1);
    let (other, _) = a_used_set(2, 1);
    let mut disks = SimDisk::as_disks(&world.disks);
    disks[2] = SimDisk::as_disks(&other.disks).remove(2);
    expect_error(
        open(&world.config, disks),
        |error| matches!(error, Error::OtherSet { .. }),
        &["sim2", "one set only"],
    );
}

#[test]
fn a_newer_format_is_refused_in_words() {
    let (world, _) = a_used_set(2, 1);
    let text = String::from_utf8(world.disks[1].contents()["drive.json"].clone()).unwrap();
    let newer = text.replace("\"format_version\": 2", "\"format_version\": 3");
    let body = &newer[..newer.rfind("\"checksum\"").unwrap()];
    let newer = format!("{body}\"checksum\": \"{:016x}\"\n}}\n", crate::frame::crc64(body.as_bytes()));
    world.disks[1].put("drive.json", newer.into_bytes());
    let fits = |error: &Error| matches!(error, Error::NewerFormat { found: 3, supported: 2, .. });
    expect_error(world.open(), fits, &["sim1", "newer program"]);
}

#[test]
fn the_same_drive_twice_is_refused() {
    let (world, _) = a_used_set(2, 1);
    let copy = world.disks[0].contents();
    world.disks[1].wipe();
    for (name, bytes) in copy {
        world.disks[1].put(&name, bytes);
    }
    expect_error(world.open(), |error| matches!(error, Error::DuplicateDrive { index: 0, .. }), &["sim0", "sim1"]);
}

#[test]
fn drives_in_another_order_find_their_places() {
    let (world, model) = a_used_set(4, 2);
    let mut disks = SimDisk::as_disks(&world.disks);
    disks.reverse();
    disks.swap(1, 3);
    let log = open(&world.config, disks).unwrap();
    expect_model(&log, &model, "in another order");
    assert_eq!(log.status().drives[0].label, "sim0");
    assert!(!log.status().degraded);
}

#[test]
fn another_shape_than_the_drives_have_is_refused() {
    let (world, _) = a_used_set(2, 1);
    let shape = |data, parity, count| {
        let config = DriveLogConfig { data, parity, ..world.config.clone() };
        let mut disks = SimDisk::as_disks(&world.disks);
        let power = SimPower::new();
        while disks.len() < count {
            disks.push(SimDisk::new("more", &power));
        }
        open(&config, disks)
    };
    let fits = |error: &Error| matches!(error, Error::OtherShape { data: 2, parity: 1, .. });
    expect_error(shape(1, 2, 3), fits, &["1 data + 2 parity", "2 + 1"]);
    expect_error(shape(3, 1, 4), fits, &["3 data + 1 parity", "2 + 1"]);
    let fits = |error: &Error| matches!(error, Error::InvalidConfig { .. });
    expect_error(shape(3, 1, 3), fits, &["3 drives given", "exactly 4"]);
    expect_error(shape(0, 1, 3), fits, &["at least 1 data drive"]);
}

#[test]
fn a_set_in_use_is_refused_and_its_user_not_disturbed() {
    let (world, _) = a_used_set(2, 1);
    let log = world.open().unwrap();
    for _ in 0..2 {
        expect_error(world.open(), |error| matches!(error, Error::InUse { .. }), &["sim0", "in use"]);
    }
    commit(&log, a_row("still", "writes")).unwrap();
    drop(log);
    drop(world.open().unwrap());
}

#[test]
fn a_damaged_identity_makes_a_drive_missing() {
    let (world, model) = a_used_set(2, 1);
    world.disks[0].put("drive.json", b"{}".to_vec());
    let log = world.open().unwrap();
    assert!(matches!(&log.status().drives[0].state, DriveState::Missing { reason } if reason.contains("damaged")));
    expect_model(&log, &model, "with a damaged identity");
}

#[test]
fn segments_without_an_identity_are_not_taken_for_an_empty_drive() {
    let (world, _) = a_used_set(2, 1);
    for disk in &world.disks {
        disk.lose("drive.json");
    }
    let before = world.contents();
    expect_error(
        world.open(),
        |error| matches!(error, Error::DrivesMissing { .. }),
        &["holds segment-0000000000000001 but no drive.json"],
    );
    assert!(world.contents() == before, "a refused open changed the drives");
}

#[test]
fn one_drive_alone_works_unprotected() {
    let (world, model) = a_used_set(1, 0);
    let log = world.open().unwrap();
    expect_model(&log, &model, "one drive");
    assert!(!log.status().degraded && log.status().writable);
}

#[test]
fn a_left_over_segment_becomes_a_spare_and_its_old_frames_are_not_taken_for_new_ones() {
    let (world, mut model) = a_used_set(2, 1);
    for disk in &world.disks {
        // whole frames of this very set, at places where the next segment will have stripes
        let old = disk.contents()[&segment_name(1)].clone();
        disk.put(&segment_name(0x99), old);
    }
    let log = world.open().unwrap();
    for disk in &world.disks {
        let names: Vec<String> = disk.contents().into_keys().collect();
        assert_eq!(names, ["drive.json", &segment_name(1), "spare-0000000000000099"]);
    }
    let step = Step::Put { blob: 9, bytes: 100 };
    step.apply(&mut model, commit(&log, step.append()).unwrap().stamp);
    drop(log);
    for disk in &world.disks {
        let names: Vec<String> = disk.contents().into_keys().collect();
        assert_eq!(names, ["drive.json", &segment_name(1), &segment_name(0x9a)]);
    }
    expect_model(&world.open().unwrap(), &model, "written into a spare");
}

#[test]
fn idle_opens_write_nothing_and_runs_without_stripes_leave_no_segments() {
    let (world, model) = a_used_set(2, 1);
    let before = world.contents();
    for _ in 0..3 {
        drop(world.open().unwrap());
    }
    assert!(world.contents() == before, "an open without an append changed the drives");
    for round in 0..5 {
        // the power goes after the segment was begun and before a stripe is in it
        world.power.cut_at(world.power.operations() + 3 + 3 + 3 + 3);
        let log = world.open().unwrap();
        assert!(commit(&log, a_row("x", "y")).is_err());
        drop(log);
        world.restart(round);
    }
    let log = world.open().unwrap();
    commit(&log, a_row("last", "one")).unwrap();
    let segments = log.status().segments;
    assert!(segments <= 4, "{segments} segments after runs that wrote nothing");
    let mut model = model;
    model.rows.insert(b"last".to_vec(), b"one".to_vec());
    drop(log);
    let log = world.open().unwrap();
    let mut found = super::world::dump(&log).unwrap();
    found.rows.remove(&b"x"[..]);
    assert!(found == model);
}

fn a_further_set(number: u8, home: &str) -> World {
    let membership = Membership::Further { number, home: home.into() };
    let world = World::new(DriveLogConfig { membership, ..small(2, 1) });
    drop(world.open().unwrap());
    world
}

#[test]
fn a_set_is_never_taken_for_another_of_its_store_or_for_one_of_another_store() {
    let world = a_further_set(3, "one store");
    let given_for = |number, home: Option<&str>| {
        let further = |home: &str| Membership::Further { number, home: home.to_owned() };
        let membership = home.map_or(Membership::Home, further);
        open(&DriveLogConfig { membership, ..world.config.clone() }, SimDisk::as_disks(&world.disks))
    };
    let number = |error: &Error| matches!(error, Error::OtherNumber { found: 3, .. });
    expect_error(given_for(0, None), number, &["sim0", "set number 3", "for number 0", "in the order"]);
    expect_error(given_for(2, Some("one store")), number, &["for number 2"]);
    let store = |error: &Error| matches!(error, Error::OtherStore { .. });
    expect_error(given_for(3, Some("another")), store, &["sim0", "one store", "another", "one store only"]);
    drop(given_for(3, Some("one store")).unwrap());
    let invalid = |error: &Error| matches!(error, Error::InvalidConfig { .. });
    expect_error(given_for(32, Some("one store")), invalid, &["1 to 31"]);
    expect_error(given_for(0, Some("one store")), invalid, &["1 to 31"]);
}

#[test]
fn an_exchanged_drive_belongs_to_its_set_too() {
    let world = a_further_set(3, "one store");
    let log = world.open().unwrap();
    commit(&log, a_row("a", "row")).unwrap();
    world.disks[1].wipe();
    let disk = SimDisk::as_disks(&world.disks).remove(1);
    wait(log.replace_drive(1, disk, Timestamp::from_millis(1))).unwrap();
    drop(log);
    let log = world.open().unwrap();
    assert_eq!(log.number(), 3);
    assert_eq!(log.status().drives[1].state, DriveState::Live);
    drop(log);
    let text = String::from_utf8(world.disks[1].contents()["drive.json"].clone()).unwrap();
    assert!(text.contains("\"set_number\": 3") && text.contains("\"home_set\": \"one store\""), "{text}");
}

#[test]
fn what_is_known_of_further_sets_survives_restarts_and_exchanged_drives() {
    let world = World::new(small(2, 1));
    let log = world.open().unwrap();
    assert!(log.further_sets().is_empty());
    log.add_further_set(1, "one".into());
    log.add_further_set(16, "cold".into());
    commit(&log, a_row("a", "row")).unwrap();
    world.disks[2].wipe();
    wait(log.replace_drive(2, SimDisk::as_disks(&world.disks).remove(2), Timestamp::from_millis(1))).unwrap();
    run_passes(&log).unwrap();
    drop(log);
    world.disks[0].vanish();
    let known = world.open().unwrap().further_sets();
    assert_eq!(known, [(1, "one".to_owned()), (16, "cold".to_owned())].into());
}

#[test]
fn a_replacement_can_be_checked_without_being_made() {
    let (world, model) = a_used_set(2, 1);
    let (other, _) = a_used_set(2, 1);
    let log = world.open().unwrap();
    let before = world.contents();
    let foreign = &SimDisk::as_disks(&other.disks)[1];
    let refused = log.check_replacement(1, Some(foreign.as_ref())).unwrap_err();
    assert!(refused.to_string().contains("belongs to the set"), "{refused}");
    let empty = SimDisk::as_disks(&[SimDisk::new("empty", &world.power)]).remove(0);
    log.check_replacement(1, Some(empty.as_ref())).unwrap();
    log.check_replacement(1, None).unwrap();
    let in_use = log.check_replacement(1, Some(SimDisk::as_disks(&world.disks)[1].as_ref())).unwrap_err();
    assert!(matches!(in_use, Error::InUse { .. }), "{in_use}");
    assert_eq!(world.contents(), before);
    world.disks.iter().for_each(|disk| disk.fail_sync(0));
    commit(&log, a_row("noticed", "now")).unwrap_err();
    let out = log.status().drives.iter().position(|drive| drive.state != DriveState::Live).unwrap();
    let other = (out + 1) % 3;
    let refused = log.check_replacement(other, None).unwrap_err();
    assert!(matches!(refused, Error::NotReplaceable { .. }), "the others could not make up for it: {refused}");
    let keeps = log.check_replacement(other, Some(SimDisk::as_disks(&world.disks)[other].as_ref())).unwrap_err();
    assert!(matches!(keeps, Error::InUse { .. }), "it has its place and loses nothing: {keeps}");
    expect_model(&log, &model, "nothing was changed");
}
