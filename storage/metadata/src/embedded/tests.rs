//! The embedded engine on real and simulated drives, under every view.

use super::*;
use crate::{Store, conformance};
use cistern_drives::{Disk, DriveLogConfig, LocalDisk, NewPiece, SimDisk, SimPower, Threads, ViewKind};
use cistern_runtime::SystemClock;
use cistern_types::{BlobId, Receipt, Timestamp};
use tempfile::TempDir;

const DATA: usize = 2;
const PARITY: usize = 1;
const LANES: usize = DATA + PARITY;

/// A set of drives and a folder for the view; they outlive the log.
pub(crate) struct Drives {
    folder: TempDir,
    disks: Vec<Arc<dyn Disk>>,
    simulated: Vec<Arc<SimDisk>>,
    power: Arc<SimPower>,
}

impl Drives {
    pub(crate) fn simulated() -> Self {
        let (power, simulated) = SimDisk::set(LANES);
        Self { folder: TempDir::new().unwrap(), disks: SimDisk::as_disks(&simulated), simulated, power }
    }

    fn local() -> Self {
        let folder = TempDir::new().unwrap();
        let disk = |number| Arc::new(LocalDisk::new(folder.path().join(format!("d{number}")))) as Arc<dyn Disk>;
        Self { disks: (0..LANES).map(disk).collect(), folder, simulated: Vec::new(), power: SimPower::new() }
    }
}

pub(crate) fn open(drives: &Drives, view: ViewKind, threads: Threads) -> DriveLog {
    let config = DriveLogConfig {
        view,
        segment_bytes: 16 << 20,
        free_bytes_reserve: 0,
        ..DriveLogConfig::new(DATA, PARITY, drives.folder.path().join("view"))
    };
    DriveLog::open_blocking(config, drives.disks.clone(), &SystemClock, threads).unwrap()
}

async fn check(drives: &Drives, view: ViewKind, threads: Threads) {
    let log = open(drives, view, threads);
    conformance::run(Arc::new(EmbeddedEngine::new(log.clone()))).await;
    log.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn folders_with_a_fjall_view_are_an_engine() {
    check(&Drives::local(), ViewKind::Fjall, Threads::PerDrive).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn folders_with_a_sled_view_are_an_engine() {
    check(&Drives::local(), ViewKind::Sled, Threads::PerDrive).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn folders_with_a_memory_view_are_an_engine() {
    check(&Drives::local(), ViewKind::Memory, Threads::PerDrive).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn simulated_drives_are_an_engine_under_every_view() {
    for view in [ViewKind::Fjall, ViewKind::Sled, ViewKind::Memory] {
        check(&Drives::simulated(), view, Threads::PerDrive).await;
        check(&Drives::simulated(), view, Threads::Inline).await;
    }
}

async fn put(store: &Store, key: &str, value: &str) -> Result<Commit> {
    let mut txn = store.begin().await.unwrap();
    txn.put_raw(key.to_owned().into(), value.to_owned().into());
    txn.commit().await
}

async fn stamp_of(commit: impl Future<Output = Result<Commit>>) -> u64 {
    match commit.await.unwrap() {
        Commit::Committed { stamp } => stamp,
        Commit::Lost => unreachable!("a blind write does not lose"),
    }
}

#[tokio::test]
async fn what_was_committed_survives_a_power_cut_and_stamps_go_on() {
    let drives = Drives::simulated();
    let mut newest = 0;
    for round in 0..4_u64 {
        let store = Store::new(Arc::new(EmbeddedEngine::new(open(&drives, ViewKind::Memory, Threads::Inline))));
        for earlier in 0..round {
            let found = store.begin().await.unwrap().get_raw(format!("round{earlier}").as_bytes()).await.unwrap();
            assert_eq!(found.as_deref(), Some(&b"1"[..]), "round {earlier} after {round} cuts");
        }
        let stamp = stamp_of(put(&store, &format!("round{round}"), "1")).await;
        assert!(stamp > newest, "{stamp} {newest}");
        newest = stamp;
        drives.power.cut();
        drop(store);
        drives.power.restore();
        drives.simulated.iter().zip(round..).for_each(|(disk, seed)| disk.restart(seed));
    }
}

async fn receipt(log: &DriveLog) -> Receipt {
    let bytes = Bytes::from_static(b"bytes of a blob");
    let piece = NewPiece { blob: BlobId::new(Timestamp::from_millis(1)), chunk: 0, last: true, bytes };
    let append = Append { pieces: vec![piece], ..Append::default() };
    let room = log.reserve(append.bytes()).await.unwrap();
    log.submit(room, append).unwrap().receipt()
}

#[tokio::test]
async fn bytes_lost_with_a_failed_write_cannot_be_named() {
    let drives = Drives::simulated();
    let log = open(&drives, ViewKind::Memory, Threads::Inline);
    let store = Store::new(Arc::new(EmbeddedEngine::new(log.clone())));
    drives.simulated[0].limit_bytes(Some(0));
    let lost = receipt(&log).await;
    let failed = put(&store, "a", "1").await;
    assert_eq!(failed.as_ref().map_err(crate::Error::kind), Err(crate::ErrorKind::Full), "{failed:?}");
    assert_eq!(store.begin().await.unwrap().get_raw(b"a").await.unwrap(), None);
    drives.simulated[0].limit_bytes(None);
    let good = receipt(&log).await;
    conformance::refuses_a_lost_receipt(Arc::new(EmbeddedEngine::new(log)), lost, good).await;
}

#[tokio::test]
async fn a_commit_that_failed_stands_in_nobodys_way() {
    let drives = Drives::simulated();
    let log = open(&drives, ViewKind::Memory, Threads::Inline);
    let store = Store::new(Arc::new(EmbeddedEngine::new(log)));
    let mut before = store.begin().await.unwrap();
    before.get_raw(b"a").await.unwrap();
    before.put_raw("b".into(), "1".into());
    drives.simulated[0].limit_bytes(Some(0));
    put(&store, "a", "never").await.unwrap_err();
    drives.simulated[0].limit_bytes(None);
    assert_eq!(before.commit().await.unwrap(), Commit::Lost, "whether the other would win was open");
    let mut again = store.begin().await.unwrap();
    assert_eq!(again.get_raw(b"a").await.unwrap(), None);
    again.put_raw("b".into(), "1".into());
    assert!(matches!(again.commit().await.unwrap(), Commit::Committed { .. }));
}

#[tokio::test]
async fn nothing_is_remembered_when_nobody_reads() {
    let drives = Drives::simulated();
    let engine = EmbeddedEngine::new(open(&drives, ViewKind::Memory, Threads::Inline));
    let engine = Arc::new(engine);
    let store = Store::new(Arc::clone(&engine) as Arc<dyn Engine>);
    let remembered = || format!("{:?}", engine.recent.lock());
    let held = store.begin().await.unwrap();
    for number in 0..20 {
        stamp_of(put(&store, &number.to_string(), "1")).await;
    }
    assert!(remembered().contains("b\"7\""), "a living snapshot may need it");
    drop(held);
    stamp_of(put(&store, "last", "1")).await;
    stamp_of(put(&store, "very last", "1")).await;
    assert!(!remembered().contains("b\"7\""));
}
