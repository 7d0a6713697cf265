//! The simulated drive keeps its promises, so that the tests that stand on it mean something.

use super::{SimDisk, SimPower};
use crate::disk::Disk;
use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;

fn a_file(disk: &Arc<SimDisk>) -> Arc<dyn crate::disk::DiskFile> {
    disk.create("file", 4096).unwrap()
}

fn bytes(disk: &SimDisk) -> Vec<u8> {
    disk.contents()["file"].clone()
}

#[test]
fn synced_bytes_survive_every_crash_and_unsynced_ones_any_way() {
    let mut outcomes = BTreeSet::new();
    for seed in 0..200 {
        let disk = SimDisk::new("d", &SimPower::new());
        let file = a_file(&disk);
        file.write_at(&[1; 1024], 0).unwrap();
        file.sync().unwrap();
        file.write_at(&[2; 1024], 512).unwrap();
        assert_eq!(bytes(&disk)[600], 2, "a reader sees what was written");
        disk.restart(seed);
        let after = bytes(&disk);
        assert_eq!(after[..512], [1; 512], "synced and not written again");
        outcomes.insert((after[600], after[1100]));
        assert!(after[512..1024].iter().all(|&byte| byte == after[512]), "torn only between sectors");
    }
    assert_eq!(outcomes, BTreeSet::from([(1, 0), (1, 2), (2, 0), (2, 2)]), "all combinations happen");
}

#[test]
fn the_power_goes_during_the_chosen_operation_and_stays_off() {
    let power = SimPower::new();
    let disk = SimDisk::new("d", &power);
    let file = a_file(&disk);
    power.cut_at(2);
    file.write_at(&[1; 512], 0).unwrap();
    assert!(file.sync().is_err());
    assert!(power.is_off());
    assert!(file.write_at(&[1], 0).is_err() && disk.list().is_err() && file.read_at(&mut [0], 0).is_err());
    power.restore();
    disk.restart(1);
    assert!(disk.open("file").is_ok());
}

#[test]
fn a_failed_sync_never_becomes_durable_by_a_later_one() {
    let lost = (0..50).any(|seed| {
        let disk = SimDisk::new("d", &SimPower::new());
        let file = a_file(&disk);
        file.write_at(&[1; 512], 0).unwrap();
        disk.fail_sync(0);
        assert!(file.sync().is_err());
        file.sync().unwrap();
        assert_eq!(bytes(&disk)[0], 1, "a reader still sees it");
        disk.restart(seed);
        bytes(&disk)[0] == 0
    });
    assert!(lost, "some crash loses it");
}

#[test]
fn names_are_durable_when_the_call_returned_and_undecided_when_the_power_went() {
    let mut outcomes = BTreeSet::new();
    for seed in 0..50 {
        let power = SimPower::new();
        let disk = SimDisk::new("d", &power);
        disk.write_file("kept", b"old").unwrap();
        power.cut_at(1);
        assert!(disk.write_file("kept", b"new").is_err());
        power.restore();
        disk.restart(seed);
        outcomes.insert(disk.read_file("kept").unwrap());
    }
    assert_eq!(outcomes, BTreeSet::from([b"new".to_vec(), b"old".to_vec()]));
}

#[test]
fn a_removed_file_may_come_back_until_the_folder_is_synced() {
    let mut outcomes = BTreeSet::new();
    for seed in 0..50 {
        let disk = SimDisk::new("d", &SimPower::new());
        a_file(&disk);
        disk.remove("file").unwrap();
        if seed % 2 == 0 {
            disk.write_file("other", b"").unwrap();
        }
        disk.restart(seed);
        outcomes.insert((seed % 2, disk.contents().contains_key("file")));
    }
    assert_eq!(outcomes, BTreeSet::from([(0, false), (1, false), (1, true)]));
}

#[test]
fn faults_happen_once_and_on_time() {
    let disk = SimDisk::new("d", &SimPower::new());
    let file = a_file(&disk);
    disk.fail_write(1);
    disk.short_write(2);
    file.write_at(&[1; 8], 0).unwrap();
    assert!(file.write_at(&[2; 8], 0).is_err());
    assert_eq!(bytes(&disk)[0], 1);
    assert_eq!(file.write_at(&[3; 8], 0).unwrap_err().kind(), io::ErrorKind::WriteZero);
    assert_eq!(bytes(&disk)[..8], [3, 3, 3, 3, 1, 1, 1, 1]);
    file.write_at(&[4; 8], 0).unwrap();
    disk.limit_bytes(Some(5000));
    assert_eq!(disk.free_bytes().unwrap(), 5000 - 4096);
    assert_eq!(disk.create("more", 4096).unwrap_err().kind(), io::ErrorKind::StorageFull);
    disk.vanish();
    assert!(file.read_at(&mut [0], 0).is_err());
    assert_eq!(disk.claim().unwrap_err().kind(), io::ErrorKind::NotFound);
    disk.come_back();
    file.read_at(&mut [0], 0).unwrap();
}

#[test]
fn the_same_seed_gives_the_same_crash() {
    let crash = |seed| {
        let disk = SimDisk::new("d", &SimPower::new());
        let file = a_file(&disk);
        file.write_at(&[9; 4096], 0).unwrap();
        disk.restart(seed);
        bytes(&disk)
    };
    assert_eq!(crash(3), crash(3));
    assert!((0..20).any(|seed| crash(seed) != crash(3)));
}
