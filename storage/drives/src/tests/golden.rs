//! The format held still: files of every version ever written are in `tests/golden`, are written again byte for byte by this
//! version, and are opened by recovery.

use super::world::{Model, Step, World, a_clock, compact, expect_model, small, submit};
use crate::{DriveLog, DriveLogConfig, SimDisk, Threads};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

fn golden_config() -> DriveLogConfig {
    DriveLogConfig { segment_bytes: 24 << 10, group_bytes_max: 6 << 10, ..small(2, 1) }
}

/// Every version there ever was; the last is the one that is written.
const VERSIONS: [&str; 2] = ["v1", "v2"];

fn folder(version: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(version)
}

/// Two runs, three groups, an overwritten row, a forgotten blob; from version 2 on a compaction, with every kind of record.
fn golden_world(version: &str) -> (World, Model) {
    let world = World::new(golden_config());
    let mut model = Model::default();
    let runs: [&[&[Step]]; 2] = [
        &[
            &[Step::Put { blob: 1, bytes: 700 }, Step::Row { key: 7, value: 3 }],
            &[Step::Put { blob: 2, bytes: 1500 }, Step::Put { blob: 3, bytes: 0 }, Step::Stamped { value: 9 }],
        ],
        &[&[Step::Forget { blob: 1 }, Step::Row { key: 7, value: 4 }, Step::Delete { key: 8 }]],
    ];
    for (run, groups) in runs.into_iter().enumerate() {
        let mut id = 0x1000_u128 * (run as u128 + 1);
        let ids = move || {
            id += 1;
            id
        };
        let disks = SimDisk::as_disks(&world.disks);
        let log = DriveLog::open_with_ids(world.config.clone(), disks, &a_clock(), Threads::Inline, ids).unwrap();
        for group in groups {
            let pendings: Vec<_> = group.iter().map(|step| (step, submit(&log, step.append()).unwrap())).collect();
            for (step, pending) in pendings {
                step.apply(&mut model, pending.wait().unwrap().stamp);
            }
        }
        if version != "v1" {
            compact(&log).unwrap();
        }
    }
    (world, model)
}

fn read_golden(version: &str) -> Vec<BTreeMap<String, Vec<u8>>> {
    let read = |drive: usize| {
        let folder = folder(version).join(format!("drive{drive}"));
        let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
        files.map(|file| (file.file_name().into_string().unwrap(), std::fs::read(file.path()).unwrap())).collect()
    };
    (0..golden_config().lanes()).map(read).collect()
}

/// When the format gets a new version (into a folder of its own; the old one stays):
/// `CISTERN_WRITE_GOLDEN=1 cargo test -p cistern-drives golden`.
fn write_golden(world: &World) {
    for (drive, files) in world.contents().into_iter().enumerate() {
        let folder = folder(VERSIONS[VERSIONS.len() - 1]).join(format!("drive{drive}"));
        std::fs::create_dir_all(&folder).unwrap();
        for (name, bytes) in files {
            std::fs::write(folder.join(name), bytes).unwrap();
        }
    }
}

#[test]
fn this_version_writes_the_golden_bytes() {
    let version = VERSIONS[VERSIONS.len() - 1];
    let (world, _) = golden_world(version);
    if std::env::var_os("CISTERN_WRITE_GOLDEN").is_some() {
        write_golden(&world);
    }
    let golden = read_golden(version);
    for (drive, (written, golden)) in world.contents().into_iter().zip(golden).enumerate() {
        assert_eq!(written.keys().collect::<Vec<_>>(), golden.keys().collect::<Vec<_>>(), "files of drive {drive}");
        for (name, bytes) in written {
            assert!(bytes == golden[&name], "{name} of drive {drive} differs from the golden file");
        }
    }
}

#[test]
fn the_golden_files_are_opened_from_all_and_from_fewer_drives() {
    for (version, missing) in VERSIONS.into_iter().flat_map(|v| [None, Some(0), Some(1), Some(2)].map(|m| (v, m))) {
        let (_, model) = golden_world(version);
        let world = World::new(golden_config());
        for (drive, files) in read_golden(version).into_iter().enumerate() {
            for (name, bytes) in files {
                world.disks[drive].put(&name, bytes);
            }
        }
        if let Some(drive) = missing {
            world.disks[drive].vanish();
        }
        let log = world.open().unwrap();
        expect_model(&log, &model, &format!("golden files of {version} without {missing:?}"));
    }
}
