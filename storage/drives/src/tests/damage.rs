//! Bytes that rot and drives that go: every byte of a small store flipped in turn, every set of m drives removed, and what is
//! beyond repair refused with nothing changed.

use super::world::{Model, Step, World, commit, dump, expect_error, expect_model, medium, small, submit};
use crate::segment::segment_name;
use crate::{DriveLog, DriveLogConfig, Error};
use rand::SeedableRng;
use rand::rngs::SmallRng;

/// A store with some groups in it, its model, and the log that wrote it.
fn a_store(config: DriveLogConfig, seed: u64, groups: usize, bytes_max: usize) -> (World, Model, DriveLog) {
    let world = World::new(config);
    let log = world.open().unwrap();
    let mut random = SmallRng::seed_from_u64(seed);
    let (mut model, mut next_blob) = (Model::default(), 0);
    for _ in 0..groups {
        let steps: Vec<Step> = (0..2).map(|_| Step::random(&mut random, &mut next_blob, bytes_max)).collect();
        let pendings: Vec<_> = steps.iter().map(|step| (step, submit(&log, step.append()).unwrap())).collect();
        for (step, pending) in pendings {
            step.apply(&mut model, pending.wait().unwrap().stamp);
        }
    }
    (world, model, log)
}

fn compact() -> DriveLogConfig {
    DriveLogConfig { segment_bytes: 24 << 10, group_bytes_max: 6 << 10, ..small(2, 1) }
}

#[test]
fn every_byte_flipped_in_turn_is_made_up_for_at_open() {
    let (world, model, log) = a_store(compact(), 1, 4, 1000);
    drop(log);
    let mut flips = 0;
    for (drive, files) in world.contents().iter().enumerate() {
        for (name, bytes) in files {
            for offset in 0..bytes.len() {
                let damaged = world.fork();
                damaged.disks[drive].flip(name, offset, u8::try_from(offset % 8).unwrap());
                let log =
                    damaged.open().unwrap_or_else(|error| panic!("{name} of drive {drive}, byte {offset}: {error}"));
                expect_model(&log, &model, &format!("{name} of drive {drive}, byte {offset}"));
                flips += 1;
            }
        }
    }
    assert!(flips > 3 * (24 << 10), "only {flips} bytes flipped");
}

#[test]
fn every_byte_flipped_in_turn_is_made_up_for_by_reads() {
    let (world, mut model, log) = a_store(compact(), 2, 3, 1000);
    let step = Step::Put { blob: 99, bytes: 1000 };
    step.apply(&mut model, commit(&log, step.append()).unwrap().stamp);
    for (drive, files) in world.contents().iter().enumerate() {
        for (name, bytes) in files.iter().filter(|(name, _)| name.starts_with("segment-")) {
            for offset in 0..bytes.len() {
                let bit = u8::try_from(offset % 8).unwrap();
                world.disks[drive].flip(name, offset, bit);
                expect_model(&log, &model, &format!("{name} of drive {drive}, byte {offset}"));
                world.disks[drive].flip(name, offset, bit);
            }
        }
    }
    assert!(log.status().counters.degraded_reads > 100, "flips in bodies are read around");
    assert!(log.status().counters.corrupt_frames > 100, "and counted");
}

/// Every set of `count` drives out of `drives`.
fn combinations(drives: usize, count: usize) -> Vec<Vec<usize>> {
    (0..1_u32 << drives)
        .filter(|mask| mask.count_ones() as usize == count)
        .map(|mask| (0..drives).filter(|drive| mask >> drive & 1 == 1).collect())
        .collect()
}

#[test]
fn any_two_of_six_drives_may_go_while_the_log_is_open_or_before() {
    for (config, bytes_max) in [(small(4, 2), 6000), (medium(4, 2), 600_000)] {
        let (world, model, log) = a_store(config, 3, 12, bytes_max);
        let gone = combinations(6, 2);
        assert_eq!(gone.len(), 15);
        for gone in &gone {
            for &drive in gone {
                world.disks[drive].vanish();
            }
            expect_model(&log, &model, &format!("open, without {gone:?}"));
            for &drive in gone {
                world.disks[drive].come_back();
            }
        }
        drop(log);
        for gone in gone {
            let fewer = world.fork();
            for &drive in &gone {
                fewer.disks[drive].vanish();
            }
            let log = fewer.open().unwrap();
            expect_model(&log, &model, &format!("opened without {gone:?}"));
            assert!(log.status().degraded && !log.status().writable);
            let refused = commit(&log, Step::Row { key: 1, value: 1 }.append());
            assert!(matches!(refused, Err(Error::ReadOnly { .. })), "{refused:?}");
        }
    }
}

#[test]
fn three_of_six_drives_gone_are_named() {
    let (world, _, log) = a_store(small(4, 2), 4, 3, 1000);
    drop(log);
    for gone in combinations(6, 3) {
        let fewer = world.fork();
        for &drive in &gone {
            fewer.disks[drive].vanish();
        }
        let names: Vec<String> = gone.iter().map(|drive| format!("sim{drive}")).collect();
        let words: Vec<&str> = names.iter().map(String::as_str).collect();
        expect_error(fewer.open(), |error| matches!(error, Error::DrivesMissing { parity: 2, .. }), &words);
    }
}

#[test]
fn a_stripe_beyond_repair_in_the_middle_is_refused_and_nothing_changed() {
    let (world, _, log) = a_store(small(2, 1), 5, 6, 3000);
    drop(log);
    let first_stripe = 4096;
    for (a, b) in [(0, 1), (0, 2), (1, 2)] {
        for inside in [20, 300] {
            let damaged = world.fork();
            damaged.disks[a].flip(&segment_name(1), first_stripe + inside, 0);
            damaged.disks[b].flip(&segment_name(1), first_stripe + inside, 0);
            let before = damaged.contents();
            match damaged.open() {
                // one of the two held no lane of that stripe
                Ok(log) => drop(dump(&log).unwrap()),
                Err(Error::Corrupt { segment: 1, offset: 4096, .. }) => {
                    assert!(damaged.contents() == before, "a refused open changed the drives");
                }
                Err(other) => panic!("{other}"),
            }
        }
    }
    let damaged = world.fork();
    damaged.disks.iter().for_each(|disk| disk.flip(&segment_name(1), first_stripe + 20, 0));
    let before = damaged.contents();
    expect_error(
        damaged.open(),
        |error| matches!(error, Error::Corrupt { segment: 1, offset: 4096, .. }),
        &["bring back"],
    );
    assert!(damaged.contents() == before, "a refused open changed the drives");
}

#[test]
fn a_lost_segment_header_is_refused_and_not_cleared_away() {
    let (world, _, log) = a_store(small(1, 0), 6, 4, 1000);
    drop(log);
    world.disks[0].flip(&segment_name(1), 20, 1);
    let before = world.contents();
    expect_error(world.open(), |error| matches!(error, Error::Corrupt { segment: 1, .. }), &["header"]);
    assert!(world.contents() == before, "a refused open changed the drives");
}

#[test]
fn a_read_beyond_repair_says_which_blob_and_the_others_are_read() {
    let (world, model, log) = a_store(small(2, 1), 7, 1, 4000);
    let Some(((blob, chunk), _)) = model.chunks.iter().find(|(_, (bytes, _))| bytes.len() > 100) else {
        panic!("choose a seed whose first group has a blob")
    };
    for disk in &world.disks {
        for offset in 4096 + 256..4096 + 8192 {
            disk.flip(&segment_name(1), offset, 3);
        }
    }
    let error = super::world::wait(log.read_chunk(*blob, *chunk)).unwrap_err();
    assert!(matches!(&error, Error::BlobCorrupt { blob: named, segment: 1, .. } if named == blob), "{error}");
    assert_eq!(error.kind(), crate::ErrorKind::Corrupt);
}

#[test]
fn bad_lanes_of_the_last_segment_are_healed_at_open() {
    let (world, model, log) = a_store(small(4, 2), 8, 5, 3000);
    drop(log);
    let whole = world.contents();
    world.disks[2].lose(&segment_name(1));
    let log = world.open().unwrap();
    assert!(log.status().counters.lanes_healed > 0);
    expect_model(&log, &model, "healed");
    drop(log);
    let bytes = |contents: &[std::collections::BTreeMap<String, Vec<u8>>]| contents[2][&segment_name(1)].clone();
    assert!(bytes(&world.contents()) == bytes(&whole), "the healed segment has the bytes the lost one had");
    for gone in combinations(6, 2).into_iter().filter(|gone| !gone.contains(&2)) {
        let fewer = world.fork();
        for &drive in &gone {
            fewer.disks[drive].vanish();
        }
        expect_model(&fewer.open().unwrap(), &model, &format!("healed, without {gone:?}"));
    }
}

/// A log whose last write lies on all six drives, of which one is damaged there and two are missing.
fn an_undecided_tail() -> (World, Model, Model) {
    let (world, before, second) = two_writes(|_| {});
    let mut model = before.clone();
    SECOND.apply(&mut model, 0);
    let name = segment_name(1);
    assert!(world.disks[0].contents()[&name].len() > second + 10_000);
    world.disks[3].flip(&name, second + 5000, 1);
    for gone in [0, 5] {
        world.disks[gone].vanish();
    }
    (world, before, model)
}

const SECOND: Step = Step::Put { blob: 2, bytes: 200_000 };

/// Two writes of the same length on 4 + 2 drives: what the first has left, and where the second lies in its segment.
fn two_writes(before_the_second: impl FnOnce(&World)) -> (World, Model, usize) {
    let world = World::new(medium(4, 2));
    let log = world.open().unwrap();
    let mut model = Model::default();
    let first = Step::Put { blob: 1, bytes: 200_000 };
    first.apply(&mut model, commit(&log, first.append()).unwrap().stamp);
    before_the_second(&world);
    commit(&log, SECOND.append()).unwrap();
    (world, model, 4096 + 56 * 1024)
}

#[test]
fn a_last_write_that_missing_drives_may_complete_is_not_taken_for_torn() {
    let (mut world, before, model) = an_undecided_tail();
    let contents = world.contents();
    let undecided = |error: &Error| matches!(error, Error::Undecided { segment: 1, .. });
    expect_error(world.open(), undecided, &["sim0", "sim5", "accept_loss"]);
    assert!(world.contents() == contents, "a refusal changes nothing");
    {
        let mut world = world.fork();
        world.config.accept_loss = true;
        for gone in [0, 5] {
            world.disks[gone].vanish();
        }
        expect_model(&world.open().unwrap(), &before, "with the loss accepted");
    }
    world.disks[0].come_back();
    expect_model(&world.open().unwrap(), &model, "with one drive back");
    world.config.accept_loss = true;
    world.disks[5].come_back();
    expect_model(&world.open().unwrap(), &model, "what can be read is never dropped");
}

#[test]
fn a_last_write_that_missing_drives_cannot_complete_is_torn() {
    let (world, before, _) = an_undecided_tail();
    world.disks[2].flip(&segment_name(1), 4096 + 56 * 1024 + 5000, 1);
    expect_model(&world.open().unwrap(), &before, "two of the four drives hold it, six would be needed to have had it");
}

#[test]
fn a_last_write_that_a_drive_never_had_is_torn_whatever_else_is_missing() {
    // as a kill leaves it that comes when some drives have written and others have not begun
    let (world, before, second) = two_writes(|_| {});
    let name = segment_name(1);
    let mut bytes = world.disks[3].contents()[&name].clone();
    bytes[second..].fill(0);
    world.disks[3].put(&name, bytes);
    for gone in [0, 5] {
        world.disks[gone].vanish();
    }
    expect_model(&world.open().unwrap(), &before, "all drives that are there would have had it");
}

#[test]
fn a_last_write_that_a_stale_drive_never_had_may_have_been_acknowledged() {
    let (world, _, _) = two_writes(|world| world.disks[3].fail_write(0));
    for gone in [0, 5] {
        world.disks[gone].vanish();
    }
    let undecided = |error: &Error| matches!(error, Error::Undecided { segment: 1, .. });
    expect_error(world.open(), undecided, &["sim0", "sim5", "accept_loss"]);
}
