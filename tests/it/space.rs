//! Space comes back on the real server, damage is mended, and a kill in the middle of either costs nothing.

use crate::sandbox::Sandbox;
use cistern_tests::{Content, Server, ServerSpec, wait};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use std::fs;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::PathBuf;
use std::time::Duration;

const BUCKET: &str = "churn";
const KEYS: usize = 24;
const OBJECT_BYTES: usize = 1 << 20;
const SETTLED_LIMIT: Duration = Duration::from_mins(2);
/// What is taken beside twice the needed bytes: slack, spares, the segments being written.
const SLACK_BYTES: u64 = 8 * 6 * SEGMENT_BYTES;
const SEGMENT_BYTES: u64 = 8 << 20;

/// A server that gives space back at once.
fn eager(sandbox: &Sandbox) -> ServerSpec {
    sandbox.spec().setting("STORAGE__SEGMENT_SIZE", "8MiB").setting("STORAGE__GARBAGE_GRACE", "1s")
}

fn key(number: usize) -> String {
    format!("k{number:03}")
}

/// Bytes that the files of all drives take of the device.
fn taken_bytes(spec: &ServerSpec) -> u64 {
    segments(spec).iter().filter_map(|path| fs::metadata(path).ok()).map(|found| found.blocks() * 512).sum()
}

/// The segment and spare files of all drives.
fn segments(spec: &ServerSpec) -> Vec<PathBuf> {
    let drives = (1..=6).map(|number| spec.data_dir.join(format!("drives/d{number}")));
    let files = drives.flat_map(|drive| fs::read_dir(drive).unwrap().map(|entry| entry.unwrap().path()));
    let is_segment = |path: &PathBuf| {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        name.starts_with("segment-") || name.starts_with("spare-")
    };
    files.filter(is_segment).collect()
}

#[track_caller]
fn check_all(server: &Server, written: &[Content], when: &str) {
    let mut s3 = server.s3().unwrap();
    for (number, content) in written.iter().enumerate() {
        let found = s3.get(BUCKET, &key(number)).unwrap();
        assert!(found == Some(content.bytes()), "{when}: {} differs\n{}", key(number), server.log());
    }
}

fn overwrite(server: &Server, written: &mut Vec<Content>, seed: u64) {
    let mut s3 = server.s3().unwrap();
    for number in 0..KEYS {
        let content = Content { seed: seed * 1000 + number as u64, length: OBJECT_BYTES };
        s3.put(BUCKET, &key(number), &content.bytes()).unwrap();
        match written.get_mut(number) {
            Some(place) => *place = content,
            None => written.push(content),
        }
    }
}

fn wait_settled(server: &Server, needed: u64) {
    wait::until("the space of overwritten objects is given back", SETTLED_LIMIT, || {
        let taken = taken_bytes(server.spec());
        Ok((taken <= 2 * needed + SLACK_BYTES).then_some(()))
    })
    .unwrap_or_else(|error| {
        panic!(
            "{error:#}: {} bytes taken, {needed} needed\n{:?}\n{}",
            taken_bytes(server.spec()),
            server.metrics(),
            server.log()
        )
    });
}

#[test]
fn overwritten_and_deleted_objects_give_their_space_back_also_through_kills() {
    let sandbox = Sandbox::new();
    let mut server = eager(&sandbox).start().unwrap();
    server.s3().unwrap().create_bucket(BUCKET).unwrap();
    let mut written = Vec::new();
    let mut random = StdRng::seed_from_u64(7);
    for round in 0..20 {
        overwrite(&server, &mut written, round);
        if round % 4 == 3 {
            // somewhere in a sweep, a checkpoint or a move
            wait::let_pass(Duration::from_millis(random.random_range(0..1500)));
            server = server.kill().unwrap().start().unwrap();
            check_all(&server, &written, &format!("after kill {round}"));
        }
    }
    let needed = (KEYS * OBJECT_BYTES) as u64 * 6 / 4;
    wait_settled(&server, needed);
    check_all(&server, &written, "settled");
    // the index is made anew from what is left
    let spec = server.kill().unwrap();
    fs::remove_dir_all(spec.data_dir.join("view")).unwrap();
    let server = spec.start().unwrap();
    check_all(&server, &written, "after the view was lost");
    let mut s3 = server.s3().unwrap();
    for number in 0..KEYS {
        s3.delete(BUCKET, &key(number)).unwrap();
    }
    wait_settled(&server, 0);
    // so little is left to take that it may have settled before the first segment goes
    let retired = || Ok((server.metrics()?["cistern_drives_segments_retired_total"] > 0.0).then_some(()));
    wait::until("segments are retired", SETTLED_LIMIT, retired)
        .unwrap_or_else(|error| panic!("{error:#}: {:?}\n{}", server.metrics(), server.log()));
}

/// Flips bytes all over the segments of a drive.
fn damage(spec: &ServerSpec, drive: usize, random: &mut StdRng) {
    let folder = format!("drives/d{drive}/");
    for path in segments(spec).into_iter().filter(|path| path.starts_with(spec.data_dir.join(&folder))) {
        let file = fs::OpenOptions::new().read(true).write(true).open(&path).unwrap();
        flip_some(&file, 200, random);
    }
}

/// Flips bytes of a file, wherever.
pub(crate) fn flip_some(file: &fs::File, flips: usize, random: &mut StdRng) {
    let length = file.metadata().unwrap().len();
    for _ in 0..flips {
        let offset = random.random_range(0..length.max(1));
        let mut byte = [0];
        if file.read_exact_at(&mut byte, offset).is_ok() {
            file.write_all_at(&[byte[0] ^ 0x55], offset).unwrap();
        }
    }
}

#[test]
fn a_scrub_mends_two_damaged_drives_and_a_heal_brings_back_one_that_was_away() {
    let sandbox = Sandbox::new();
    let server = eager(&sandbox).start().unwrap();
    server.s3().unwrap().create_bucket(BUCKET).unwrap();
    let mut written = Vec::new();
    overwrite(&server, &mut written, 1);
    let mut random = StdRng::seed_from_u64(11);
    for drive in [2, 5] {
        damage(server.spec(), drive, &mut random);
    }
    let found = server.cli_ok(&["drives", "scrub"]).unwrap();
    assert!(found.contains(", 0 stripes lost"), "{found}");
    let again: serde_json::Value =
        serde_json::from_str(&server.cli_ok(&["--json", "drives", "scrub"]).unwrap()).unwrap();
    assert_eq!((&again["bad_lanes"], &again["clean"]), (&0.into(), &true.into()), "{again}");
    check_all(&server, &written, "mended");

    // away for a while, in which everything is written anew
    let spec = server.stop().unwrap();
    let (home, elsewhere) = (spec.data_dir.join("drives/d3"), spec.data_dir.join("away"));
    fs::rename(&home, &elsewhere).unwrap();
    let server = spec.start().unwrap();
    overwrite(&server, &mut written, 2);
    let spec = server.stop().unwrap();
    fs::rename(&elsewhere, &home).unwrap();
    let server = spec.start().unwrap();
    server.cli_ok(&["drives", "heal"]).unwrap();
    let status: serde_json::Value =
        serde_json::from_str(&server.cli_ok(&["--json", "drives", "status"]).unwrap()).unwrap();
    assert_eq!(status["degraded"], false, "{status}");
    let spec = server.stop().unwrap();
    for drive in [1, 6] {
        fs::remove_dir_all(spec.data_dir.join(format!("drives/d{drive}"))).unwrap();
    }
    let server = spec.start().unwrap();
    check_all(&server, &written, "healed, and two others gone");
}
