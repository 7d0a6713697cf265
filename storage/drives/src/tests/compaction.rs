//! Space comes back, and nothing else changes: what is shown, what survives lost drives and a lost view, what a full set still takes.

use super::world::{
    Model, Step, World, a_blob, a_put, a_row, blob_id, commit, compact, dump, expect_model, small, wait,
};
use crate::{Append, DriveLog, DriveLogConfig, Effort, Error, ErrorKind, ViewKind};
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use std::sync::Arc;

/// Groups large enough that moved chunks pack well.
fn config() -> DriveLogConfig {
    DriveLogConfig { segment_bytes: 128 << 10, group_bytes_max: 96 << 10, ..small(4, 2) }
}

fn step(log: &DriveLog, model: &mut Model, step: &Step) {
    step.apply(model, commit(log, step.append()).unwrap().stamp);
}

/// Bytes of all files of a drive, holes not counted.
fn space(world: &World) -> u64 {
    let of_drive = |disk: &Arc<crate::SimDisk>| disk.taken_bytes();
    world.disks.iter().map(of_drive).sum()
}

/// Reopens with the view lost and any two drives gone.
fn expect_everywhere(world: &World, model: &Model, context: &str) {
    for gone in [[0, 1], [2, 5], [3, 4]] {
        let world = world.fork();
        for drive in gone {
            world.disks[drive].vanish();
        }
        let log = world.open().unwrap_or_else(|error| panic!("{context}, without {gone:?}: {error}"));
        expect_model(&log, model, &format!("{context}, without {gone:?}"));
    }
}

#[test]
fn forgotten_blobs_give_their_space_back() {
    let world = World::new(config());
    let log = world.open().unwrap();
    let mut model = Model::default();
    for blob in 0..400 {
        step(&log, &mut model, &Step::Put { blob, bytes: 3000 });
    }
    let full = space(&world);
    for blob in 0..400 {
        if blob % 10 != 0 {
            step(&log, &mut model, &Step::Forget { blob });
        }
    }
    compact(&log).unwrap();
    expect_model(&log, &model, "compacted");
    let counters = log.status().counters;
    assert!(counters.segments_retired > 10 && counters.moved_bytes > 0, "{counters:?}");
    assert!(space(&world) < full / 3, "{} of {full} bytes are left", space(&world));
    drop(log);
    expect_everywhere(&world, &model, "a tenth is left");
    let log = world.open().unwrap();
    expect_model(&log, &model, "opened again");
    step(&log, &mut model, &Step::Put { blob: 1000, bytes: 3000 });
    compact(&log).unwrap();
    drop(log);
    expect_everywhere(&world, &model, "compacted twice");
}

#[test]
fn a_row_that_was_deleted_does_not_come_back_when_the_record_of_its_deletion_goes() {
    let world = World::new(config());
    let log = world.open().unwrap();
    let mut model = Model::default();
    for round in 0..30_u8 {
        for key in 0..4 {
            step(&log, &mut model, &Step::Row { key, value: 90 + round % 9 });
        }
        step(&log, &mut model, &Step::Put { blob: round.into(), bytes: 9000 });
    }
    for key in 0..4 {
        step(&log, &mut model, &Step::Delete { key });
    }
    compact(&log).unwrap();
    drop(log);
    expect_everywhere(&world, &model, "deleted");
    // blobs of the first segments stay, so that the old values of the rows are still on the drives
    let log = world.open().unwrap();
    assert!(log.status().segments > 2);
    expect_model(&log, &model, "rebuilt");
}

/// Writes over and over, with the compactor at its usual effort beside: the space stays below twice what is needed, and four segments.
fn steady_state(seed: u64, rounds: usize, write: impl Fn(&mut SmallRng, usize) -> Vec<Step>) {
    let world = World::new(config());
    let log = world.open().unwrap();
    let mut random = SmallRng::seed_from_u64(seed);
    let mut model = Model::default();
    let mut compactor = log.compactor(Arc::new(super::world::a_clock()));
    for round in 0..rounds {
        for one in write(&mut random, round) {
            step(&log, &mut model, &one);
        }
        let mut steps = 0;
        while wait(compactor.step(Effort::Usual)).unwrap() {
            steps += 1;
            assert!(steps < 10_000, "compaction comes to an end");
        }
        if round > rounds / 2 {
            let bodies: usize = model.chunks.values().map(|(bytes, _)| bytes.len()).sum();
            let rows: usize = model.rows.iter().map(|(key, value)| key.len() + value.len()).sum();
            let needed = (bodies + rows) as u64 * 6 / 4;
            let slack = 4 * 6 * world.config.segment_bytes;
            let taken = space(&world);
            assert!(taken <= 2 * needed + slack, "round {round}: {taken} bytes for {needed} that are needed");
        }
    }
    expect_model(&log, &model, "in the end");
    drop(log);
    expect_everywhere(&world, &model, "in the end");
}

#[test]
fn overwriting_small_objects_takes_less_than_twice_their_space() {
    steady_state(1, 60, |random, _| {
        let write = |random: &mut SmallRng| {
            let blob = random.random_range(0..250);
            [Step::Forget { blob }, Step::Put { blob, bytes: 4096 }]
        };
        (0..50).flat_map(|_| write(random)).collect()
    });
}

#[test]
fn rows_written_and_deleted_at_once_leave_nothing() {
    steady_state(2, 60, |random, round| {
        let value = random.random_range(50..100);
        let key = u8::try_from(round % 200).unwrap();
        [Step::Row { key, value }, Step::Delete { key }, Step::Row { key: 255, value }].repeat(20)
    });
}

#[test]
fn a_full_set_refuses_bodies_takes_deletions_and_has_room_after_compaction() {
    let config = DriveLogConfig { free_bytes_reserve: 3 * (128 << 10), ..config() };
    let world = World::new(config);
    for disk in &world.disks {
        disk.limit_bytes(Some(2 << 20));
    }
    let log = world.open().unwrap();
    let mut model = Model::default();
    let mut blob = 0;
    let error = loop {
        blob += 1;
        let put = Step::Put { blob, bytes: 9000 };
        match commit(&log, put.append()) {
            Ok(committed) => put.apply(&mut model, committed.stamp),
            Err(error) => break error,
        }
        assert!(blob < 10_000, "the set fills up");
    };
    assert!(matches!(error, Error::Full { .. }), "{error}");
    assert_eq!(commit(&log, a_put(0, 9000)).unwrap_err().kind(), ErrorKind::Full);
    // deletions and what makes room go on side by side, in what the reserve holds
    let mut compactor = log.compactor(Arc::new(super::world::a_clock()));
    for gone in 1..blob {
        if gone % 4 != 0 {
            step(&log, &mut model, &Step::Forget { blob: gone });
            while wait(compactor.step(Effort::Thorough)).unwrap() {}
        }
    }
    expect_model(&log, &model, "compacted");
    for _ in 0..20 {
        blob += 1;
        step(&log, &mut model, &Step::Put { blob, bytes: 9000 });
    }
    drop(log);
    expect_everywhere(&world, &model, "filled again");
}

#[test]
fn a_view_from_before_the_checkpoint_is_rebuilt() {
    let folder = tempfile::tempdir().unwrap();
    let view = folder.path().join("view");
    let config =
        DriveLogConfig { view: ViewKind::Sled, view_path: view.clone(), view_cache_bytes: 1 << 20, ..config() };
    let world = World::new(config);
    let log = world.open().unwrap();
    let mut model = Model::default();
    for blob in 0..30 {
        step(&log, &mut model, &Step::Put { blob, bytes: 3000 });
    }
    log.close_blocking().unwrap();
    drop(log);
    let kept = folder.path().join("kept");
    std::fs::rename(&view, &kept).unwrap();
    let log = world.open().unwrap();
    for blob in 0..20 {
        step(&log, &mut model, &Step::Forget { blob });
    }
    compact(&log).unwrap();
    log.close_blocking().unwrap();
    drop(log);
    std::fs::remove_dir_all(&view).unwrap();
    std::fs::rename(&kept, &view).unwrap();
    let log = world.open().unwrap();
    expect_model(&log, &model, "with the old view");
}

#[test]
fn a_rebuild_that_is_interrupted_goes_on_without_losing_what_the_checkpoint_states() {
    let folder = tempfile::tempdir().unwrap();
    let view = folder.path().join("view");
    let memory = config();
    let world = World::new(memory.clone());
    let log = world.open().unwrap();
    let mut model = Model::default();
    // enough that the checkpoint has several parts
    for blob in 0..700 {
        step(&log, &mut model, &Step::Put { blob, bytes: 40 });
    }
    compact(&log).unwrap();
    for blob in 700..720 {
        step(&log, &mut model, &Step::Put { blob, bytes: 3000 });
    }
    drop(log);
    // a stripe behind the checkpoint's first cannot be read at first: the rebuild stops there
    let config = DriveLogConfig { view: ViewKind::Fjall, view_path: view.clone(), view_cache_bytes: 1 << 20, ..memory };
    let names: Vec<String> =
        world.disks[0].contents().into_keys().filter(|name| name.starts_with("segment-")).collect();
    let mut stops = 0;
    for name in &names {
        let length = world.disks.iter().map(|disk| disk.contents()[name].len()).min().unwrap();
        for offset in (4096..40_960).step_by(4096).filter(|offset| *offset < length) {
            let world = World { config: config.clone(), ..world.fork() };
            let flip = |world: &World| world.disks.iter().for_each(|disk| disk.flip(name, offset, 1));
            flip(&world);
            let stopped = world.open().map(drop);
            stops += u32::from(stopped.is_err());
            flip(&world);
            let log = world.open().unwrap_or_else(|error| panic!("{name} at {offset}, after {stopped:?}: {error}"));
            expect_model(&log, &model, &format!("{name} at {offset}, after {stopped:?}"));
            drop(log);
            std::fs::remove_dir_all(&view).unwrap();
        }
    }
    assert!(stops > 2, "only {stops} rebuilds were stopped");
}

#[test]
fn a_drive_that_slept_through_a_compaction_brings_nothing_back() {
    let world = World::new(config());
    let log = world.open().unwrap();
    let mut model = Model::default();
    for blob in 0..60 {
        step(&log, &mut model, &Step::Put { blob, bytes: 3000 });
    }
    drop(log);
    world.disks[1].vanish();
    let log = world.open().unwrap();
    for blob in 0..50 {
        step(&log, &mut model, &Step::Forget { blob });
    }
    compact(&log).unwrap();
    expect_model(&log, &model, "without the drive");
    drop(log);
    world.disks[1].come_back();
    let log = world.open().unwrap();
    expect_model(&log, &model, "with the drive");
    let names: Vec<String> =
        world.disks[1].contents().into_keys().filter(|name| name.starts_with("segment-")).collect();
    let others: Vec<String> = world.disks[0].contents().into_keys().collect();
    assert!(names.iter().all(|name| others.contains(name)), "{names:?} are not all in {others:?}");
}

#[test]
fn a_chunk_found_before_it_was_moved_is_read_all_the_same() {
    let world = World::new(config());
    let log = world.open().unwrap();
    for blob in 0..40 {
        commit(&log, a_put(blob, 3000)).unwrap();
    }
    let found = log.find_chunk(blob_id(7), 0).unwrap().unwrap();
    let gone = log.find_chunk(blob_id(8), 0).unwrap().unwrap();
    for blob in (0..40).filter(|blob| *blob != 7) {
        commit(&log, Append { forget: vec![blob_id(blob)], ..Append::default() }).unwrap();
    }
    compact(&log).unwrap();
    // the spares get new content, so that the old places hold something else
    for blob in 100..140 {
        commit(&log, a_put(blob, 3000)).unwrap();
    }
    assert_eq!(wait(log.read_found(found, 0..3000)).unwrap().unwrap(), a_blob(7, 3000).bytes);
    assert_eq!(wait(log.read_found(gone, 0..3000)).unwrap(), None);
}

#[test]
fn a_segment_that_cannot_be_read_is_left_alone_and_the_others_are_compacted() {
    let world = World::new(small(2, 1));
    let log = world.open().unwrap();
    let mut model = Model::default();
    for blob in 0..60 {
        step(&log, &mut model, &Step::Put { blob, bytes: 3000 });
    }
    for disk in &world.disks[..2] {
        for offset in (4096..60_000).step_by(200) {
            disk.flip("segment-0000000000000002", offset, 1);
        }
    }
    for blob in 0..55 {
        if blob % 3 != 0 {
            step(&log, &mut model, &Step::Forget { blob });
        }
    }
    compact(&log).unwrap();
    let counters = log.status().counters;
    assert!(counters.segments_retired > 0, "{counters:?}");
    assert!(world.disks[0].contents().contains_key("segment-0000000000000002"), "what cannot be read is kept");
    let lost = dump(&log).map(drop);
    assert!(matches!(lost, Err(Error::BlobCorrupt { segment: 2, .. })), "{lost:?}");
}

#[test]
fn upkeep_that_fails_changes_nothing_and_can_be_repeated() {
    let world = World::new(config());
    let log = world.open().unwrap();
    let mut model = Model::default();
    for blob in 0..60 {
        step(&log, &mut model, &Step::Put { blob, bytes: 3000 });
    }
    for blob in 0..50 {
        step(&log, &mut model, &Step::Forget { blob });
    }
    for disk in &world.disks[..2] {
        disk.fail_sync(0);
    }
    // two drives fail in the same group: four synced lanes are too few
    assert!(compact(&log).is_err());
    expect_model(&log, &model, "after the failure");
    drop(log);
    let log = world.open().unwrap();
    expect_model(&log, &model, "opened again");
    compact(&log).unwrap();
    drop(log);
    expect_everywhere(&world, &model, "repeated");
    let nothing = World::new(config());
    compact(&nothing.open().unwrap()).unwrap();
    commit(&nothing.open().unwrap(), a_row("a", "1")).unwrap();
}
