//! More drives than one set has, and a class with a code of its own: blobs are spread, drives may be added and lost, nothing is taken for
//! something else.

use crate::sandbox::Sandbox;
use cistern_tests::s3::Call;
use cistern_tests::{Content, S3, Server, ServerSpec};
use std::fs;
use std::path::{Path, PathBuf};

const BUCKET: &str = "spread";

/// Drives `from` to `to`, in order.
fn drives(sandbox: &Sandbox, numbers: impl IntoIterator<Item = usize>) -> Vec<PathBuf> {
    numbers.into_iter().map(|number| sandbox.path().join(format!("d{number}"))).collect()
}

fn on(sandbox: &Sandbox, drives: &[PathBuf], code: &str) -> ServerSpec {
    let list: Vec<String> = drives.iter().map(|drive| drive.display().to_string()).collect();
    let spec = sandbox.spec().setting("STORAGE__DRIVES", &list.join(",")).setting("STORAGE__CODE", code);
    spec.setting("STORAGE__SEGMENT_SIZE", "8MiB")
}

fn content(seed: u64) -> Content {
    Content { seed, length: [3000, 200_000, 2_500_000][usize::try_from(seed % 3).unwrap()] }
}

fn class(seed: u64) -> &'static str {
    if seed % 4 == 3 { "STANDARD_IA" } else { "STANDARD" }
}

fn put(s3: &mut S3, seed: u64) {
    s3.put_in_class(BUCKET, &format!("k{seed}"), &content(seed).bytes(), class(seed)).unwrap();
}

#[track_caller]
fn check(server: &Server, seeds: impl IntoIterator<Item = u64>, when: &str) {
    let mut s3 = server.s3().unwrap();
    for seed in seeds {
        let found = s3
            .get(BUCKET, &format!("k{seed}"))
            .unwrap_or_else(|error| panic!("{when}, k{seed}: {error:#}\n{}", server.log()));
        assert!(found == Some(content(seed).bytes()), "{when}: k{seed} differs\n{}", server.log());
    }
}

/// Bytes that the segments of some drives take, spares not counted.
fn taken_bytes(drives: &[PathBuf], below: &str) -> u64 {
    use std::os::unix::fs::MetadataExt as _;
    let folders = drives.iter().map(|drive| drive.join(below));
    let files = folders.flat_map(|folder| fs::read_dir(folder).into_iter().flatten().flatten());
    let segments = files.filter(|file| file.file_name().to_string_lossy().starts_with("segment-"));
    segments.map(|file| file.metadata().unwrap().blocks() * 512).sum()
}

fn status(server: &Server) -> serde_json::Value {
    serde_json::from_str(&server.cli_ok(&["--json", "drives", "status"]).unwrap()).unwrap()
}

fn lose(drive: &Path) -> PathBuf {
    let away = drive.with_extension("away");
    fs::rename(drive, &away).unwrap();
    away
}

#[test]
fn what_is_read_rarely_lies_compressed_in_segments_of_its_own_and_is_as_safe() {
    let sandbox = Sandbox::new();
    let server = sandbox.start();
    let mut s3 = server.s3().unwrap();
    s3.create_bucket(BUCKET).unwrap();
    let body = "one line of a log that is much like the next one\n".repeat(400_000);
    s3.put(BUCKET, "warm", body.as_bytes()).unwrap();
    s3.put_in_class(BUCKET, "cold", body.as_bytes(), "STANDARD_IA").unwrap();
    s3.put(BUCKET, "cooling", body.as_bytes()).unwrap();
    s3.move_to_class(BUCKET, "cooling", "STANDARD_IA").unwrap();
    let head = |s3: &mut S3, key: &str| {
        let answer = s3.send(&Call::new("HEAD", &format!("/{BUCKET}/{key}"))).unwrap().ok().unwrap();
        answer.header("x-amz-storage-class").map(str::to_owned)
    };
    assert_eq!(head(&mut s3, "warm"), None);
    assert_eq!(head(&mut s3, "cold").as_deref(), Some("STANDARD_IA"));
    assert_eq!(head(&mut s3, "cooling").as_deref(), Some("STANDARD_IA"));
    let sets = status(&server)["sets"].clone();
    assert_eq!((&sets[1]["class"], &sets[1]["code"]), (&"STANDARD_IA".into(), &"4+2".into()));
    let check = |server: &Server, when: &str| {
        let mut s3 = server.s3().unwrap();
        for key in ["warm", "cold", "cooling"] {
            assert!(s3.get(BUCKET, key).unwrap().as_deref() == Some(body.as_bytes()), "{when}: {key} differs");
            let range = Call::new("GET", &format!("/{BUCKET}/{key}")).header("range", "bytes=5000000-5000099");
            let part = s3.send(&range).unwrap().ok().unwrap().body;
            assert_eq!(part, &body.as_bytes()[5_000_000..5_000_100], "{when}: a range of {key} differs");
        }
    };
    check(&server, "written");
    let written = server.metrics().unwrap()["cistern_drives_payload_bytes_total"];
    let bound = f64::from(u32::try_from(body.len()).unwrap()) * 2.2;
    assert!(written < bound, "{written} bytes for two warm bodies and two that compress well");
    let spec = server.kill().unwrap();
    fs::remove_dir_all(spec.data_dir.join("view-16")).unwrap();
    for drive in ["drives/d2", "drives/d5"] {
        fs::remove_dir_all(spec.data_dir.join(drive)).unwrap();
    }
    check(&spec.start().unwrap(), "after a kill, without two drives and the view");
}

#[test]
fn drives_that_are_added_take_new_objects_and_what_was_there_stays_where_it_is() {
    let sandbox = Sandbox::new();
    let (six, twelve) = (drives(&sandbox, 0..6), drives(&sandbox, 0..12));
    let server = on(&sandbox, &six, "4+2").start().unwrap();
    let mut s3 = server.s3().unwrap();
    s3.create_bucket(BUCKET).unwrap();
    (0..20).for_each(|seed| put(&mut s3, seed));
    server.stop().unwrap();

    let server = on(&sandbox, &twelve, "4+2").start().unwrap();
    assert_eq!(status(&server)["sets"].as_array().unwrap().len(), 4);
    check(&server, 0..20, "after six drives were added");
    let mut s3 = server.s3().unwrap();
    (20..80).for_each(|seed| put(&mut s3, seed));
    for below in ["", "infrequent-access"] {
        let new = taken_bytes(&twelve[6..], below);
        assert!(new > 8 << 20, "the new drives took only {new} bytes in {below:?}");
    }
    let spec = server.kill().unwrap();
    let server = spec.start().unwrap();
    check(&server, 0..80, "after a kill");
    let scrub = server.cli_ok(&["drives", "scrub"]).unwrap();
    assert!(scrub.contains("0 lanes bad"), "{scrub}");
    let spec = server.stop().unwrap();

    // two of each set
    let away: Vec<(PathBuf, PathBuf)> = [1, 4, 6, 11].map(|at| (twelve[at].clone(), lose(&twelve[at]))).into();
    let server = spec.start().unwrap();
    check(&server, 0..80, "without two drives of each set");
    drop(server);
    for (drive, away) in &away {
        fs::rename(away, drive).unwrap();
    }

    // a set in another's place, or a drive in another set's, is refused before anything is written
    let swapped: Vec<PathBuf> = twelve[6..].iter().chain(&twelve[..6]).cloned().collect();
    let mut mixed = twelve.clone();
    mixed.swap(2, 8);
    for (drives, words) in
        [(swapped, "belongs to set number 1"), (mixed, "belongs to set"), (six, "the store has a set 1")]
    {
        let refused = on(&sandbox, &drives, "4+2").start_refused().unwrap();
        let text = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(text.contains(words), "{text}");
    }
    // also where the data directory does not know them, nor are new drives made a set that is missing or comes later
    fs::remove_file(sandbox.data_dir().join("instance.toml")).unwrap();
    let swapped: Vec<PathBuf> = twelve[6..].iter().chain(&twelve[..6]).cloned().collect();
    let new = drives(&sandbox, 20..26);
    let first_gone = new.iter().chain(&twelve[6..]).cloned().collect();
    let not_in_order = new.iter().chain(&twelve[..6]).chain(&twelve[6..]).cloned().collect();
    for (drives, words) in [
        (swapped, "belongs to set number 1"),
        (first_gone, "are empty or not there, while"),
        (not_in_order, "belongs to set number 0"),
    ] {
        let refused = on(&sandbox, &drives, "4+2").start_refused().unwrap();
        let text = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(text.contains(words), "{text}");
        assert!(!new.iter().any(|drive| drive.try_exists().unwrap()), "nothing was made");
        drop(fs::remove_file(sandbox.data_dir().join("instance.toml")));
    }
    check(&on(&sandbox, &twelve, "4+2").start().unwrap(), 0..80, "in the end");
}

#[test]
fn a_wide_code_for_what_is_read_rarely_spans_the_sets() {
    let sandbox = Sandbox::new();
    let twelve = drives(&sandbox, 0..12);
    let spec = on(&sandbox, &twelve, "4+2").setting("STORAGE__INFREQUENT_ACCESS__CODE", "9+3");
    let server = spec.start().unwrap();
    let sets = status(&server)["sets"].clone();
    let codes: Vec<&str> = sets.as_array().unwrap().iter().map(|set| set["code"].as_str().unwrap()).collect();
    assert_eq!(codes, ["4+2", "4+2", "9+3"]);
    let mut s3 = server.s3().unwrap();
    s3.create_bucket(BUCKET).unwrap();
    (0..40).for_each(|seed| put(&mut s3, seed));
    let spec = server.kill().unwrap();
    for at in [0, 7, 9] {
        lose(&twelve[at]);
    }
    let server = spec.start().unwrap();
    check(&server, 0..40, "without one drive of a set and two of the other, three of the wide one");
    put(&mut server.s3().unwrap(), 40);
    check(&server, [40], "written meanwhile");
}

#[test]
fn a_set_without_its_drives_leaves_the_rest_served_and_comes_back() {
    let sandbox = Sandbox::new();
    let twelve = drives(&sandbox, 0..12);
    let server = on(&sandbox, &twelve, "4+2").start().unwrap();
    let mut s3 = server.s3().unwrap();
    s3.create_bucket(BUCKET).unwrap();
    (0..40).for_each(|seed| put(&mut s3, seed));
    let spec = server.stop().unwrap();
    // all of them, and the data directory that would know them: nothing is made in their place
    let away: Vec<(PathBuf, PathBuf)> = (6..12).map(|at| (twelve[at].clone(), lose(&twelve[at]))).collect();
    fs::remove_dir_all(&spec.data_dir).unwrap();
    let server = on(&sandbox, &twelve, "4+2").start().unwrap();
    let shown = server.cli_ok(&["drives", "status"]).unwrap();
    assert!(
        shown.contains("set 17 cannot be read until a start with its drives: its drives are empty or not there"),
        "{shown}"
    );
    assert!(!twelve[6].try_exists().unwrap(), "nothing was made there");
    let spec = server.stop().unwrap();
    for (drive, away) in &away[3..] {
        fs::rename(away, drive).unwrap();
    }
    let away = &away[..3];
    let server = spec.start().unwrap();
    let shown = server.cli_ok(&["drives", "status"]).unwrap();
    assert!(
        shown.contains("set 1 cannot be read until a start with its drives: 3 of the set's drives are missing"),
        "{shown}"
    );
    assert_eq!(shown.lines().filter(|line| line.contains("missing  ")).count(), 6, "{shown}");
    let ready = cistern_tests::http::Connection::open(server.management_host())
        .unwrap()
        .send("GET", "/readyz", &[], b"")
        .unwrap();
    assert!(ready.status == 200 && ready.text().contains("set 17 cannot be read"), "{}", ready.text());
    let mut s3 = server.s3().unwrap();
    let (mut there, mut not) = (0, 0);
    for seed in 0..40 {
        match s3.get(BUCKET, &format!("k{seed}")) {
            Ok(found) => {
                there += 1;
                assert!(found == Some(content(seed).bytes()));
            }
            Err(error) => {
                not += 1;
                assert!(error.to_string().starts_with("answered 503"), "{error:#}");
            }
        }
    }
    assert!(there > 10 && not > 3, "{there} there, {not} not");
    (40..80).for_each(|seed| put(&mut s3, seed));
    check(&server, 40..80, "written meanwhile");
    // what is deleted meanwhile is gone for good
    s3.delete(BUCKET, "k79").unwrap();
    let spec = server.kill().unwrap();
    for (drive, away) in away {
        fs::rename(away, drive).unwrap();
    }
    let server = spec.start().unwrap();
    check(&server, 0..79, "with its drives again");
    assert_eq!(server.s3().unwrap().get(BUCKET, "k79").unwrap(), None);
}
