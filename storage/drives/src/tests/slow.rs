//! Drives that do not answer: reads go around them, writes give them up, and nobody waits for ever.

use super::world::{Model, Step, a_row, dump, expect_model, wait};
use crate::{Claim, Disk, DiskFile, DriveLog, DriveLogConfig, DriveState, LocalDisk, Threads};
use cistern_runtime::SystemClock;
use parking_lot::{Condvar, Mutex};
use std::io;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// Where operations wait while it is closed.
#[derive(Debug, Default)]
struct Gate {
    state: Mutex<GateState>,
    opened: Condvar,
}

#[derive(Debug, Default)]
struct GateState {
    closed: bool,
    waiting: usize,
}

impl Gate {
    fn close(&self) {
        self.state.lock().closed = true;
    }

    fn open(&self) {
        self.state.lock().closed = false;
        self.opened.notify_all();
    }

    fn pass(&self) {
        let mut state = self.state.lock();
        state.waiting += 1;
        while state.closed {
            self.opened.wait(&mut state);
        }
        state.waiting -= 1;
    }

    fn is_closed(&self) -> bool {
        self.state.lock().closed
    }

    fn waiting(&self) -> usize {
        self.state.lock().waiting
    }
}

/// A drive whose reads and syncs pass gates.
#[derive(Debug)]
struct GatedDisk {
    disk: LocalDisk,
    reads: Arc<Gate>,
    syncs: Arc<Gate>,
}

#[derive(Debug)]
struct GatedFile {
    file: Arc<dyn DiskFile>,
    reads: Arc<Gate>,
    syncs: Arc<Gate>,
}

impl GatedDisk {
    fn new(folder: &Path) -> Self {
        Self { disk: LocalDisk::new(folder), reads: Arc::default(), syncs: Arc::default() }
    }

    fn gated(&self, file: Arc<dyn DiskFile>) -> Arc<dyn DiskFile> {
        Arc::new(GatedFile { file, reads: Arc::clone(&self.reads), syncs: Arc::clone(&self.syncs) })
    }
}

impl Disk for GatedDisk {
    fn label(&self) -> String {
        self.disk.label()
    }

    fn make(&self) -> io::Result<()> {
        self.disk.make()
    }

    fn claim(&self) -> io::Result<Box<dyn Claim>> {
        self.disk.claim()
    }

    fn create(&self, name: &str, bytes: u64) -> io::Result<Arc<dyn DiskFile>> {
        self.disk.create(name, bytes).map(|file| self.gated(file))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        self.disk.open(name).map(|file| self.gated(file))
    }

    fn list(&self) -> io::Result<Vec<String>> {
        self.disk.list()
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.disk.remove(name)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.disk.rename(from, to)
    }

    fn read_file(&self, name: &str) -> io::Result<Vec<u8>> {
        self.disk.read_file(name)
    }

    fn write_file(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        self.disk.write_file(name, bytes)
    }

    fn free_bytes(&self) -> io::Result<u64> {
        self.disk.free_bytes()
    }
}

impl DiskFile for GatedFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.reads.pass();
        self.file.read_at(buffer, offset)
    }

    fn try_read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<bool> {
        if self.reads.is_closed() { Ok(false) } else { self.file.try_read_at(buffer, offset) }
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.file.write_at(bytes, offset)
    }

    fn sync(&self) -> io::Result<()> {
        self.syncs.pass();
        self.file.sync()
    }

    fn length(&self) -> io::Result<u64> {
        self.file.length()
    }

    fn set_length(&self, bytes: u64) -> io::Result<()> {
        self.file.set_length(bytes)
    }

    fn punch(&self, range: Range<u64>) -> io::Result<bool> {
        self.file.punch(range)
    }

    fn forget_cached(&self, range: Range<u64>) {
        self.file.forget_cached(range);
    }

    fn allocated_bytes(&self) -> io::Result<u64> {
        self.file.allocated_bytes()
    }
}

/// Six drives, with threads.
struct Server {
    folder: tempfile::TempDir,
    disks: Vec<Arc<GatedDisk>>,
    log: DriveLog,
}

impl Server {
    fn new(write_timeout: Duration) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let disk = |number: usize| Arc::new(GatedDisk::new(&folder.path().join(format!("d{number}"))));
        let disks: Vec<_> = (0..6).map(disk).collect();
        let config = DriveLogConfig {
            segment_bytes: 4 << 20,
            group_bytes_max: 2 << 20,
            free_bytes_reserve: 0,
            write_timeout,
            ..DriveLogConfig::new(4, 2, folder.path().join("view"))
        };
        let as_disks = disks.iter().map(|disk| Arc::clone(disk) as Arc<dyn Disk>).collect();
        let log = DriveLog::open_blocking(config, as_disks, &SystemClock, Threads::PerDrive).unwrap();
        Self { folder, disks, log }
    }

    fn commit(&self, model: &mut Model, step: Step) {
        let append = step.append();
        let reservation = wait(self.log.reserve(append.bytes())).unwrap();
        step.apply(model, self.log.submit(reservation, append).unwrap().wait().unwrap().stamp);
    }
}

#[test]
fn reads_go_around_a_drive_that_does_not_answer_and_come_back_to_it() {
    let server = Server::new(Duration::from_secs(30));
    let mut model = Model::default();
    for blob in 0..12 {
        server.commit(&mut model, Step::Put { blob, bytes: 300_000 });
    }
    let gate = Arc::clone(&server.disks[2].reads);
    gate.close();
    // one runtime, which would wait at its end for reads that never return
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let read_all = || {
        for blob in 0..12 {
            let chunk = runtime.block_on(server.log.read_chunk(super::world::blob_id(blob), 0)).unwrap().unwrap();
            assert!(chunk.bytes == model.chunks[&(super::world::blob_id(blob), 0)].0, "blob {blob} differs");
        }
    };
    read_all();
    let hedged = server.log.status().counters.hedged_reads;
    assert!((1..=3).contains(&hedged), "{hedged} reads waited for the drive, the others went around it at once");
    assert!((1..=3).contains(&gate.waiting()), "{} threads wait for it", gate.waiting());
    assert!(server.log.status().drives[2].state == DriveState::Live, "slow is not broken");
    gate.open();
    read_all();
    assert!(server.log.status().counters.corrupt_frames == 0);
}

#[test]
fn a_drive_that_never_syncs_goes_out_and_the_write_is_acknowledged_without_it() {
    let server = Server::new(Duration::from_millis(300));
    let mut model = Model::default();
    server.commit(&mut model, Step::Put { blob: 0, bytes: 300_000 });
    let gate = Arc::clone(&server.disks[4].syncs);
    gate.close();
    for blob in 1..30 {
        server.commit(&mut model, Step::Put { blob, bytes: 300_000 });
    }
    let status = server.log.status();
    let DriveState::Out { reason } = &status.drives[4].state else { panic!("{:?}", status.drives) };
    assert!(reason.contains("did not answer within 0.3 s"), "{reason}");
    assert!(status.drives[4].stale && status.writable);
    expect_model(&server.log, &model, "without the drive");
    let busy = Arc::new(LocalDisk::new(server.folder.path().join("d4")));
    let busy = wait(server.log.replace_drive(4, busy, cistern_types::Timestamp::from_millis(0))).unwrap_err();
    assert!(matches!(busy, crate::Error::InUse { .. }), "a write to it may still be on its way: {busy}");
    gate.open();
    // the same folder, as after a restart of whatever made it hang
    let disk = Arc::new(LocalDisk::new(server.folder.path().join("d4")));
    let now = cistern_types::Timestamp::from_millis(1_700_000_000_000);
    let mut seated = wait(server.log.replace_drive(4, Arc::clone(&disk) as Arc<dyn Disk>, now));
    // the thread that was left to itself has the drive until its sync has ended
    while matches!(seated, Err(crate::Error::InUse { .. })) {
        seated = wait(server.log.replace_drive(4, Arc::clone(&disk) as Arc<dyn Disk>, now));
    }
    seated.unwrap();
    super::world::run_passes(&server.log).unwrap();
    assert!(!server.log.status().degraded, "{:?}", server.log.status());
    expect_model(&server.log, &model, "with it again");
}

#[test]
fn a_segment_is_begun_without_a_drive_that_does_not_answer() {
    let server = Server::new(Duration::from_millis(300));
    server.disks[1].syncs.close();
    let append = a_row("key", "value");
    let reservation = wait(server.log.reserve(append.bytes())).unwrap();
    server.log.submit(reservation, append).unwrap().wait().unwrap();
    assert!(matches!(server.log.status().drives[1].state, DriveState::Out { .. }));
    assert_eq!(dump(&server.log).unwrap().rows.len(), 1);
    server.disks[1].syncs.open();
}
