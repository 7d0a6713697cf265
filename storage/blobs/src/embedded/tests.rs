//! The embedded store on real and simulated drives, under every view, and what only it does.

use super::*;
use crate::conformance;
use cistern_drives::{Disk, DriveLogConfig, LocalDisk, Membership, Rows, SimDisk, SimPower, Threads, ViewKind};
use cistern_runtime::SystemClock;
use cistern_types::Receipt;
use futures::TryStreamExt;
use tempfile::TempDir;

const DATA: usize = 4;
const PARITY: usize = 2;

/// A set of drives and a folder for the view; they outlive the log.
struct Drives {
    folder: TempDir,
    disks: Vec<Arc<dyn Disk>>,
    simulated: Vec<Arc<SimDisk>>,
    power: Arc<SimPower>,
}

impl Drives {
    fn simulated() -> Self {
        let (power, simulated) = SimDisk::set(DATA + PARITY);
        Self { folder: TempDir::new().unwrap(), disks: SimDisk::as_disks(&simulated), simulated, power }
    }

    fn local() -> Self {
        let folder = TempDir::new().unwrap();
        let disk = |number| Arc::new(LocalDisk::new(folder.path().join(format!("d{number}")))) as Arc<dyn Disk>;
        Self { disks: (0..DATA + PARITY).map(disk).collect(), folder, simulated: Vec::new(), power: SimPower::new() }
    }

    fn open(&self, view: ViewKind, threads: Threads) -> (DriveLog, EmbeddedBlobs) {
        let config = DriveLogConfig {
            view,
            segment_bytes: 16 << 20,
            free_bytes_reserve: 0,
            ..DriveLogConfig::new(DATA, PARITY, self.folder.path().join("view"))
        };
        let log = DriveLog::open_blocking(config, self.disks.clone(), &SystemClock, threads).unwrap();
        (log.clone(), EmbeddedBlobs::new([log], Compression::Zstd, Arc::new(SystemClock)))
    }
}

/// A commit of one row that presents a receipt, as the rows' engine does it.
async fn commit(log: &DriveLog, receipt: Receipt) -> cistern_drives::Result<()> {
    let mut rows = Rows::new();
    rows.put(b"names the blob", b"1");
    let append = Append { rows: Some(rows), requires: vec![receipt], ..Append::default() };
    let room = log.reserve(append.bytes()).await?;
    let pending = log.submit(room, append)?;
    pending.await.map(|_| ())
}

async fn check(drives: &Drives, view: ViewKind, threads: Threads) {
    let (log, blobs) = drives.open(view, threads);
    let committing = log.clone();
    let commit: conformance::Commit = Arc::new(move |receipt| {
        let log = committing.clone();
        Box::pin(async move { commit(&log, receipt).await.unwrap() })
    });
    conformance::run(Arc::new(blobs), commit).await;
    log.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn folders_with_a_fjall_view_are_a_blob_store() {
    check(&Drives::local(), ViewKind::Fjall, Threads::PerDrive).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn folders_with_a_sled_view_are_a_blob_store() {
    check(&Drives::local(), ViewKind::Sled, Threads::PerDrive).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn simulated_drives_are_a_blob_store() {
    check(&Drives::simulated(), ViewKind::Memory, Threads::PerDrive).await;
    check(&Drives::simulated(), ViewKind::Memory, Threads::Inline).await;
}

/// Two Standard sets and one for Infrequent Access, on drives under one power.
struct Store {
    power: Arc<SimPower>,
    disks: Vec<Arc<SimDisk>>,
}

const NUMBERS: [u8; 3] = [0, 1, 16];

impl Store {
    fn new() -> Self {
        let (power, disks) = SimDisk::set(3 * NUMBERS.len());
        Self { power, disks }
    }

    fn open(&self, compression: Compression) -> (Vec<DriveLog>, EmbeddedBlobs) {
        self.open_with(compression, Threads::Inline)
    }

    fn open_with(&self, compression: Compression, threads: Threads) -> (Vec<DriveLog>, EmbeddedBlobs) {
        let open = |(at, number): (usize, u8)| {
            let membership = match number {
                0 => Membership::Home,
                number => Membership::Further { number, home: "home".into() },
            };
            let config = DriveLogConfig {
                membership,
                view: ViewKind::Memory,
                segment_bytes: 16 << 20,
                free_bytes_reserve: 0,
                ..DriveLogConfig::new(2, 1, "no folder: the view is in memory")
            };
            let disks = SimDisk::as_disks(&self.disks[at * 3..at * 3 + 3]);
            DriveLog::open_blocking(config, disks, &SystemClock, threads).unwrap()
        };
        let logs: Vec<DriveLog> = NUMBERS.into_iter().enumerate().map(open).collect();
        (logs.clone(), EmbeddedBlobs::new(logs, compression, Arc::new(SystemClock)))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn several_sets_are_a_blob_store() {
    for compression in [Compression::None, Compression::Zstd] {
        let (logs, blobs) = Store::new().open_with(compression, Threads::PerDrive);
        let home = logs[0].clone();
        let present: conformance::Commit = Arc::new(move |receipt| {
            let home = home.clone();
            Box::pin(async move { commit(&home, receipt).await.unwrap() })
        });
        conformance::run(Arc::new(blobs), present).await;
        let used: Vec<bool> = logs.iter().map(|log| log.status().counters.appends > 50).collect();
        assert_eq!(used, [true; 3], "blobs went to every set");
    }
}

#[tokio::test]
async fn what_lies_in_another_set_is_durable_before_its_receipt_is_given() {
    let store = Store::new();
    let (_logs, blobs) = store.open(Compression::Zstd);
    let bodies: Vec<Bytes> =
        [1, 100, 200_000, 3 << 20].into_iter().map(|bytes| Bytes::from(b"abcdefg".repeat(bytes / 7 + 1))).collect();
    let mut written = Vec::new();
    for (round, body) in bodies.iter().enumerate() {
        let blob = blobs.put(StorageClass::InfrequentAccess, body.clone()).await.unwrap();
        assert_eq!((blob.id.set(), blob.receipt), (16, Receipt::DURABLE));
        written.push((blob.id, body.clone()));
        let mut writer = blobs.writer(StorageClass::InfrequentAccess).await.unwrap();
        for piece in body.chunks(100_000 + round) {
            writer.write(Bytes::copy_from_slice(piece)).await.unwrap();
        }
        let blob = writer.finish().await.unwrap();
        assert_eq!((blob.id.set(), blob.receipt), (16, Receipt::DURABLE));
        written.push((blob.id, body.clone()));
    }
    store.power.cut();
    store.power.restore();
    store.disks.iter().zip(0..).for_each(|(disk, seed)| disk.restart(seed));
    let (logs, blobs) = store.open(Compression::None);
    for (id, body) in &written {
        assert_eq!(read(&blobs, *id, 0..body.len() as u64).await.unwrap(), *body);
    }
    assert_eq!(blobs.list(None, 100).await.unwrap().len(), written.len());
    let ids: Vec<BlobId> = written.iter().map(|(id, _)| *id).collect();
    blobs.delete(&ids).await.unwrap();
    assert_eq!(blobs.list(None, 100).await.unwrap(), []);
    let payload = logs[2].status().counters.payload_bytes;
    assert!(payload < 10_000, "deleting wrote {payload} bytes");
}

#[tokio::test]
async fn compressible_bodies_take_less_and_are_read_in_any_range() {
    let store = Store::new();
    let (logs, blobs) = store.open(Compression::Zstd);
    let line = b"{\"time\":1700000000,\"user\":42,\"path\":\"/index.html\"}\n";
    let body = Bytes::from(line.repeat(100_000));
    let blob = blobs.put(StorageClass::InfrequentAccess, body.clone()).await.unwrap();
    let stored = logs[2].status().counters.payload_bytes;
    assert!(stored * 20 < body.len() as u64, "{stored} bytes for {}", body.len());
    let chunk = CHUNK_BYTES as u64 - 1;
    let end = body.len() as u64;
    for range in
        [0..end, 0..0, end..end, chunk - 1..chunk + 1, chunk..chunk, 2 * chunk..end, end - 1..end, 7..3 * chunk]
    {
        let expected = &body[usize::try_from(range.start).unwrap()..usize::try_from(range.end).unwrap()];
        assert!(read(&blobs, blob.id, range.clone()).await.unwrap() == expected, "{range:?}");
    }
    for range in [0..end + 1, end + 1..end + 1] {
        let refused = read(&blobs, blob.id, range).await;
        assert!(matches!(refused, Err(Error::OutsideBlob { length, .. }) if length == end), "{refused:?}");
    }
}

#[tokio::test]
async fn a_blob_of_a_set_that_is_not_open_is_an_error_and_stays() {
    let store = Store::new();
    let (logs, blobs) = store.open(Compression::Zstd);
    let blob = blobs.put(StorageClass::InfrequentAccess, Bytes::from_static(b"cold")).await.unwrap();
    let without = EmbeddedBlobs::new(logs[..2].to_vec(), Compression::Zstd, Arc::new(SystemClock));
    let refused = read(&without, blob.id, 0..4).await;
    assert!(matches!(refused, Err(Error::NoSuchSet { set: 16, .. })), "{refused:?}");
    without.delete(&[blob.id]).await.unwrap();
    assert_eq!(blobs.list(None, 10).await.unwrap(), [blob.id], "it is deleted as an orphan when its set is back");
    assert_eq!(read(&blobs, blob.id, 0..4).await.unwrap(), b"cold");
    let standard = without.put(StorageClass::InfrequentAccess, Bytes::from_static(b"cold")).await.unwrap();
    assert!(standard.id.set() < 2, "without a set of its own the class lies in those of Standard");
}

#[tokio::test(start_paused = true)]
async fn a_set_in_trouble_keeps_nobody_elses_garbage_and_takes_no_new_blobs() {
    let store = Store::new();
    let (logs, blobs) = store.open(Compression::Zstd);
    let body = Bytes::from(vec![5; 1000]);
    let cold = blobs.put(StorageClass::InfrequentAccess, body.clone()).await.unwrap();
    let warm = blobs.put(StorageClass::Standard, body.clone()).await.unwrap();
    commit(&logs[0], warm.receipt).await.unwrap();
    store.disks[6..9].iter().for_each(|disk| disk.fail_sync(0)); // a small stripe does not touch all
    drop(blobs.put(StorageClass::InfrequentAccess, body.clone()).await);
    assert!(logs[2].check_writable().is_err());
    let left = blobs.delete(&[cold.id, warm.id]).await.unwrap();
    assert_eq!((blobs.list(None, 10).await.unwrap(), left), (vec![cold.id], vec![cold.id]));
    tokio::time::advance(std::time::Duration::from_secs(2)).await; // what is known of its room is old
    drop(blobs.put(StorageClass::InfrequentAccess, body.clone()).await);
    let elsewhere = blobs.put(StorageClass::InfrequentAccess, body.clone()).await.unwrap();
    assert!(elsewhere.id.set() < 2, "in a set that takes it");
    // without the rows nothing is taken anywhere
    store.disks[..3].iter().for_each(|disk| disk.fail_sync(0));
    commit(&logs[0], Receipt::DURABLE).await.unwrap_err();
    let appends = logs[1].status().counters.appends;
    for class in [StorageClass::Standard, StorageClass::InfrequentAccess] {
        let refused = blobs.put(class, Bytes::from(vec![6; 500_000])).await;
        assert!(matches!(refused, Err(Error::Drives(cistern_drives::Error::ReadOnly { .. }))), "{refused:?}");
    }
    assert_eq!(logs[1].status().counters.appends, appends);
}

async fn read(blobs: &EmbeddedBlobs, id: BlobId, range: Range<u64>) -> Result<Vec<u8>> {
    let pieces: Vec<Bytes> = blobs.read(id, range).await?.try_collect().await?;
    Ok(pieces.concat())
}

#[tokio::test]
async fn a_small_blob_and_its_row_share_one_group() {
    let drives = Drives::simulated();
    let (log, blobs) = drives.open(ViewKind::Memory, Threads::Inline);
    commit(&log, Receipt::DURABLE).await.unwrap();
    let before = log.status().counters.groups;
    let small = blobs.put(StorageClass::Standard, Bytes::from(vec![7; 4096])).await.unwrap();
    let mut writer = blobs.writer(StorageClass::Standard).await.unwrap();
    writer.write(Bytes::from(vec![8; 4096])).await.unwrap();
    let written = writer.finish().await.unwrap();
    assert!(read(&blobs, small.id, 0..1).await.is_err(), "nothing is written before the commit");
    commit(&log, written.receipt).await.unwrap();
    assert_eq!(log.status().counters.groups, before + 1);
    assert_eq!(read(&blobs, small.id, 0..4096).await.unwrap(), [7; 4096]);
    assert_eq!(read(&blobs, written.id, 0..4096).await.unwrap(), [8; 4096]);
}

#[tokio::test]
async fn a_blob_that_lost_a_chunk_on_the_way_is_refused() {
    let drives = Drives::simulated();
    let (log, blobs) = drives.open(ViewKind::Memory, Threads::Inline);
    let chunk = Bytes::from(vec![1; CHUNK_BYTES]);
    let mut writer = blobs.writer(StorageClass::Standard).await.unwrap();
    let id = writer.id();
    writer.write(chunk.clone()).await.unwrap();
    writer.write(chunk.clone()).await.unwrap(); // the first chunk is on its way
    drives.simulated[0].limit_bytes(Some(0));
    commit(&log, Receipt::DURABLE).await.unwrap_err(); // and fails with the group it is in
    drives.simulated[0].limit_bytes(None);
    let refused = writer.write(chunk.clone()).await;
    assert!(matches!(refused, Err(Error::LostBytes { id: lost }) if lost == id), "{refused:?}");
    let refused = writer.finish().await;
    assert!(matches!(refused, Err(Error::LostBytes { id: lost }) if lost == id), "{refused:?}");
    commit(&log, Receipt::DURABLE).await.unwrap();
    assert!(matches!(read(&blobs, id, 0..1).await, Err(Error::NoSuchBlob { .. })));
}

#[tokio::test]
async fn a_blob_that_lost_its_last_chunk_cannot_be_named() {
    let drives = Drives::simulated();
    let (log, blobs) = drives.open(ViewKind::Memory, Threads::Inline);
    drives.simulated[0].limit_bytes(Some(0));
    let blob = blobs.put(StorageClass::Standard, Bytes::from_static(b"lost")).await.unwrap();
    commit(&log, blob.receipt).await.unwrap_err();
    drives.simulated[0].limit_bytes(None);
    let refused = commit(&log, blob.receipt).await;
    assert!(matches!(refused, Err(cistern_drives::Error::LostPrerequisite { .. })), "{refused:?}");
    assert!(matches!(read(&blobs, blob.id, 0..1).await, Err(Error::NoSuchBlob { .. })));
}

#[tokio::test]
async fn a_write_given_up_half_way_spoils_the_blob() {
    let drives = Drives::simulated();
    let (_log, blobs) = drives.open(ViewKind::Memory, Threads::Inline);
    let mut writer = blobs.begin(StorageClass::Standard, None).await.unwrap();
    writer.broken = true; // as a write future that was dropped while it waited leaves it
    let refused = writer.write(Bytes::from_static(b"more")).await;
    assert!(matches!(refused, Err(Error::LostBytes { .. })), "{refused:?}");
    let refused = Box::new(writer).finish().await;
    assert!(matches!(refused, Err(Error::LostBytes { .. })), "{refused:?}");
}

#[tokio::test]
async fn a_blob_deleted_while_it_is_read_ends_the_reader() {
    let drives = Drives::simulated();
    let (log, blobs) = drives.open(ViewKind::Memory, Threads::Inline);
    let blob = blobs.put(StorageClass::Standard, Bytes::from(vec![3; 4 * CHUNK_BYTES])).await.unwrap();
    commit(&log, blob.receipt).await.unwrap();
    let mut reader = blobs.read(blob.id, 0..blob.length).await.unwrap();
    assert_eq!(reader.try_next().await.unwrap().unwrap().len(), CHUNK_BYTES);
    blobs.delete(&[blob.id]).await.unwrap();
    let rest: Result<Vec<Bytes>> = reader.try_collect().await;
    assert!(matches!(rest, Err(Error::NoSuchBlob { .. })), "{rest:?}");
}

#[tokio::test]
async fn committed_blobs_survive_a_power_cut_and_deleted_ones_stay_away() {
    let drives = Drives::simulated();
    let (mut kept, mut deleted): (Vec<(Blob, u8)>, Vec<BlobId>) = (Vec::new(), Vec::new());
    for round in 0..5_u8 {
        let (log, blobs) = drives.open(ViewKind::Memory, Threads::Inline);
        for (blob, byte) in &kept {
            let bytes = read(&blobs, blob.id, 0..blob.length).await.unwrap();
            assert!(bytes.iter().all(|found| found == byte), "round {round}");
        }
        for id in &deleted {
            assert!(matches!(read(&blobs, *id, 0..0).await, Err(Error::NoSuchBlob { .. })), "round {round}");
        }
        for bytes in [100, CHUNK_BYTES + 1] {
            let body = Bytes::from(vec![round; bytes]);
            let blob = blobs.put(StorageClass::Standard, body.clone()).await.unwrap();
            let doomed = blobs.put(StorageClass::Standard, body).await.unwrap();
            commit(&log, blob.receipt).await.unwrap();
            blobs.delete(&[doomed.id]).await.unwrap();
            kept.push((blob, round));
            deleted.push(doomed.id);
        }
        drives.power.cut();
        drop((log, blobs));
        drives.power.restore();
        drives.simulated.iter().zip(u64::from(round)..).for_each(|(disk, seed)| disk.restart(seed));
    }
}

#[track_caller]
fn check_parts(range: Range<u64>, expected: &[(u32, u32, u32)]) {
    let found: Vec<_> = parts(range.clone(), CHUNK_BYTES).map(|part| (part.chunk, part.from, part.to)).collect();
    assert_eq!(found, expected, "{range:?}");
}

#[test]
fn a_range_is_cut_at_the_borders_of_chunks() {
    let mib = 1 << 20;
    check_parts(0..0, &[]);
    check_parts(u64::from(mib)..u64::from(mib), &[]);
    check_parts(0..1, &[(0, 0, 1)]);
    check_parts(5..u64::from(mib), &[(0, 5, mib)]);
    check_parts(5..u64::from(mib) + 1, &[(0, 5, mib), (1, 0, 1)]);
    check_parts(u64::from(mib)..u64::from(3 * mib), &[(1, 0, mib), (2, 0, mib)]);
    check_parts(u64::from(mib) - 1..u64::from(2 * mib) + 7, &[(0, mib - 1, mib), (1, 0, mib), (2, 0, 7)]);
}
