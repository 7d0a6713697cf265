//! A drive in memory that forgets what was not synced: the drive of every crash and fault test.
//!
//! [`SimPower`] counts the changing operations of all its drives (write, sync, create, rename, remove, small file) and cuts
//! the power at a chosen one; from then on every operation fails. [`SimDisk::restart`] then keeps, by a seed, any subset of what was
//! written and not synced, each write torn at 512 bytes. Besides: failing writes and syncs, a full drive, short writes, flipped
//! bits, a drive that vanishes and comes back.
//!
//! A failed sync keeps what it should have synced visible but never durable, as Linux does (a later sync succeeds and says nothing).

use super::{Claim, Disk, DiskFile};
use parking_lot::Mutex;
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

const SECTOR_BYTES: usize = 512;

/// The power supply of a set of simulated drives.
#[derive(Debug, Default)]
pub struct SimPower {
    operations: AtomicU64,
    cut_at: AtomicU64,
    off: AtomicBool,
}

impl SimPower {
    /// Power that stays on.
    pub fn new() -> Arc<Self> {
        let power = Self::default();
        power.cut_at.store(u64::MAX, Ordering::SeqCst);
        Arc::new(power)
    }

    /// Cuts the power in the middle of the changing operation of this number (the first ever is 0).
    pub fn cut_at(&self, operation: u64) {
        self.cut_at.store(operation, Ordering::SeqCst);
    }

    /// How many changing operations were begun so far.
    pub fn operations(&self) -> u64 {
        self.operations.load(Ordering::SeqCst)
    }

    /// Whether the power is off.
    pub fn is_off(&self) -> bool {
        self.off.load(Ordering::SeqCst)
    }

    /// Turns the power off now.
    pub fn cut(&self) {
        self.off.store(true, Ordering::SeqCst);
    }

    /// Turns it on again. Every drive must be [restarted](SimDisk::restart) as well.
    pub fn restore(&self) {
        self.cut_at.store(u64::MAX, Ordering::SeqCst);
        self.off.store(false, Ordering::SeqCst);
    }

    fn check(&self) -> io::Result<()> {
        if self.is_off() { Err(io::Error::other("the power is off")) } else { Ok(()) }
    }

    /// Counts a changing operation. `Fate::Interrupted` when the power goes during it.
    fn begin(&self) -> io::Result<Fate> {
        self.check()?;
        let number = self.operations.fetch_add(1, Ordering::SeqCst);
        if number == self.cut_at.load(Ordering::SeqCst) {
            self.cut();
            return Ok(Fate::Interrupted);
        }
        Ok(Fate::Finished)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Finished,
    Interrupted,
}

fn power_went() -> io::Error {
    io::Error::other("the power went during the operation")
}

/// A change of a file that is not durable yet.
enum Unsynced {
    Write { offset: usize, bytes: Vec<u8>, doomed: bool },
    Length(usize),
    Hole(Range<usize>),
}

fn punch(bytes: &mut [u8], range: Range<usize>) {
    if let Some(bytes) = bytes.get_mut(range) {
        bytes.fill(0);
    }
}

#[derive(Default)]
struct Content {
    /// What a reader sees.
    current: Vec<u8>,
    /// What is on the platter for certain.
    durable: Vec<u8>,
    unsynced: Vec<Unsynced>,
    /// Bytes of it that take no space.
    holes: usize,
}

impl Content {
    fn of(bytes: Vec<u8>) -> Self {
        Self { durable: bytes.clone(), current: bytes, unsynced: Vec::new(), holes: 0 }
    }

    fn taken_bytes(&self) -> u64 {
        self.current.len().saturating_sub(self.holes) as u64
    }

    fn write(bytes: &[u8], offset: usize, target: &mut Vec<u8>) {
        let end = offset + bytes.len();
        if target.len() < end {
            target.resize(end, 0);
        }
        target[offset..end].copy_from_slice(bytes);
    }

    fn sync(&mut self) {
        let mut kept = Vec::new();
        for change in self.unsynced.drain(..) {
            match change {
                Unsynced::Write { offset, bytes, doomed: false } => Self::write(&bytes, offset, &mut self.durable),
                doomed @ Unsynced::Write { .. } => kept.push(doomed),
                Unsynced::Length(length) => self.durable.resize(length, 0),
                Unsynced::Hole(range) => punch(&mut self.durable, range),
            }
        }
        self.unsynced = kept;
    }

    fn crash(&mut self, random: &mut SmallRng) {
        for change in std::mem::take(&mut self.unsynced) {
            match change {
                Unsynced::Write { offset, bytes, .. } => match random.random_range(0..4) {
                    0 => {}
                    1 => Self::write(&bytes, offset, &mut self.durable),
                    _ => {
                        for (sector, piece) in bytes.chunks(SECTOR_BYTES).enumerate() {
                            if random.random() {
                                Self::write(piece, offset + sector * SECTOR_BYTES, &mut self.durable);
                            }
                        }
                    }
                },
                Unsynced::Length(length) => {
                    if random.random() {
                        self.durable.resize(length, 0);
                    }
                }
                Unsynced::Hole(range) => {
                    if random.random() {
                        punch(&mut self.durable, range);
                    }
                }
            }
        }
        self.current.clone_from(&self.durable);
    }
}

#[derive(Default)]
struct State {
    files: BTreeMap<String, Arc<Mutex<Content>>>,
    /// Names that may go or come back at a crash: the file before the change, `None` when there was none.
    undecided: Vec<(String, Option<Arc<Mutex<Content>>>)>,
    /// The number of the claim that holds the drive.
    claimed: Option<u64>,
    claims: u64,
    exists: bool,
    vanished: bool,
    full_at_bytes: Option<u64>,
    writes: u64,
    syncs: u64,
    fail_writes: BTreeSet<u64>,
    fail_syncs: BTreeSet<u64>,
    short_writes: BTreeSet<u64>,
}

/// A simulated drive. Clones of the `Arc` share it; it outlives the log, so that a test can open it again.
pub struct SimDisk {
    label: String,
    power: Arc<SimPower>,
    state: Arc<Mutex<State>>,
}

impl SimDisk {
    /// An empty drive (its folder exists).
    pub fn new(label: impl Into<String>, power: &Arc<SimPower>) -> Arc<Self> {
        let state = State { exists: true, ..State::default() };
        Arc::new(Self { label: label.into(), power: Arc::clone(power), state: Arc::new(Mutex::new(state)) })
    }

    /// As many empty drives on one power supply.
    pub fn set(count: usize) -> (Arc<SimPower>, Vec<Arc<Self>>) {
        let power = SimPower::new();
        let disks = (0..count).map(|number| Self::new(format!("sim{number}"), &power)).collect();
        (power, disks)
    }

    /// The same drives as the log takes them.
    pub fn as_disks(disks: &[Arc<Self>]) -> Vec<Arc<dyn Disk>> {
        disks.iter().map(|disk| Arc::clone(disk) as Arc<dyn Disk>).collect()
    }

    /// The drive after a power cut: what was not synced is there, gone or torn, as the seed says.
    pub fn restart(&self, seed: u64) {
        let mut random = SmallRng::seed_from_u64(seed);
        let mut state = self.state.lock();
        state.claimed = None;
        for (name, before) in std::mem::take(&mut state.undecided).into_iter().rev() {
            if random.random() {
                match before {
                    Some(file) => state.files.insert(name, file),
                    None => state.files.remove(&name),
                };
            }
        }
        for file in state.files.values() {
            file.lock().crash(&mut random);
        }
    }

    /// A drive of its own with the same durable and undurable content.
    pub fn fork(&self, power: &Arc<SimPower>) -> Arc<Self> {
        let state = self.state.lock();
        let files = state.files.iter().map(|(name, file)| {
            let file = file.lock();
            (name.clone(), Arc::new(Mutex::new(Content::of(file.current.clone()))))
        });
        let copy = State { files: files.collect(), exists: state.exists, ..State::default() };
        Arc::new(Self { label: self.label.clone(), power: Arc::clone(power), state: Arc::new(Mutex::new(copy)) })
    }

    /// Makes the write that comes after `later` others fail with EIO, once.
    pub fn fail_write(&self, later: u64) {
        let mut state = self.state.lock();
        let number = state.writes + later;
        state.fail_writes.insert(number);
    }

    /// Makes the sync that comes after `later` others fail with EIO, once.
    pub fn fail_sync(&self, later: u64) {
        let mut state = self.state.lock();
        let number = state.syncs + later;
        state.fail_syncs.insert(number);
    }

    /// Makes the write that comes after `later` others write half and then fail, once.
    pub fn short_write(&self, later: u64) {
        let mut state = self.state.lock();
        let number = state.writes + later;
        state.short_writes.insert(number);
    }

    /// Forgets the failures that were to come.
    pub fn no_more_failures(&self) {
        let mut state = self.state.lock();
        state.fail_writes.clear();
        state.fail_syncs.clear();
        state.short_writes.clear();
    }

    /// Lets all files together take `bytes`; `None` lifts the limit.
    pub fn limit_bytes(&self, bytes: Option<u64>) {
        self.state.lock().full_at_bytes = bytes;
    }

    /// Flips one bit of a file, on the platter.
    pub fn flip(&self, name: &str, offset: usize, bit: u8) {
        let state = self.state.lock();
        let mut file = state.files[name].lock();
        file.current[offset] ^= 1 << bit;
        file.durable[offset] ^= 1 << bit;
    }

    /// Takes the drive out of the machine: every operation fails, its folder is not found.
    pub fn vanish(&self) {
        self.state.lock().vanished = true;
    }

    /// Puts it back.
    pub fn come_back(&self) {
        self.state.lock().vanished = false;
    }

    /// Replaces it by an empty folder.
    pub fn wipe(&self) {
        *self.state.lock() = State { exists: true, ..State::default() };
    }

    /// Removes a file behind the log's back.
    pub fn lose(&self, name: &str) {
        self.state.lock().files.remove(name);
    }

    /// The names and contents of all files, as a reader sees them.
    pub fn contents(&self) -> BTreeMap<String, Vec<u8>> {
        let state = self.state.lock();
        state.files.iter().map(|(name, file)| (name.clone(), file.lock().current.clone())).collect()
    }

    /// Bytes that all files take, holes not counted.
    pub fn taken_bytes(&self) -> u64 {
        self.state.lock().files.values().map(|file| file.lock().taken_bytes()).sum()
    }

    /// Puts a file there behind the log's back, durable.
    pub fn put(&self, name: &str, bytes: Vec<u8>) {
        self.state.lock().files.insert(name.to_owned(), Arc::new(Mutex::new(Content::of(bytes))));
    }

    fn here(&self) -> io::Result<()> {
        self.power.check()?;
        let state = self.state.lock();
        if state.vanished || !state.exists { Err(io::ErrorKind::NotFound.into()) } else { Ok(()) }
    }

    fn file(&self, content: Arc<Mutex<Content>>) -> Arc<dyn DiskFile> {
        Arc::new(SimFile { content, power: Arc::clone(&self.power), state: Arc::clone(&self.state) })
    }
}

impl fmt::Debug for SimDisk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SimDisk").field("label", &self.label).finish_non_exhaustive()
    }
}

/// Changes the names of a drive; `None` in `after` removes. Durable, unless the power goes.
fn change_name(state: &mut State, name: &str, after: Option<Arc<Mutex<Content>>>, settled: bool) {
    let before = match after {
        Some(file) => state.files.insert(name.to_owned(), file),
        None => state.files.remove(name),
    };
    if settled {
        // the folder was synced, and with it every change of names before
        state.undecided.clear();
    } else {
        state.undecided.push((name.to_owned(), before));
    }
}

impl Disk for SimDisk {
    fn label(&self) -> String {
        self.label.clone()
    }

    fn make(&self) -> io::Result<()> {
        self.power.check()?;
        let mut state = self.state.lock();
        if state.vanished {
            return Err(io::ErrorKind::NotFound.into());
        }
        state.exists = true;
        Ok(())
    }

    fn claim(&self) -> io::Result<Box<dyn Claim>> {
        self.here()?;
        let mut state = self.state.lock();
        if state.claimed.is_some() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        state.claims += 1;
        state.claimed = Some(state.claims);
        Ok(Box::new(SimClaim { number: state.claims, state: Arc::clone(&self.state) }))
    }

    fn create(&self, name: &str, bytes: u64) -> io::Result<Arc<dyn DiskFile>> {
        self.here()?;
        let fate = self.power.begin()?;
        if self.free_of(name)? < bytes {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let length = usize::try_from(bytes).expect("simulated files are small");
        let content = Arc::new(Mutex::new(Content::of(vec![0; length])));
        change_name(&mut self.state.lock(), name, Some(Arc::clone(&content)), fate == Fate::Finished);
        if fate == Fate::Interrupted { Err(power_went()) } else { Ok(self.file(content)) }
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        self.here()?;
        let content = self.state.lock().files.get(name).cloned().ok_or(io::ErrorKind::NotFound)?;
        Ok(self.file(content))
    }

    fn list(&self) -> io::Result<Vec<String>> {
        self.here()?;
        Ok(self.state.lock().files.keys().cloned().collect())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.here()?;
        let fate = self.power.begin()?;
        let mut state = self.state.lock();
        if !state.files.contains_key(name) {
            return Err(io::ErrorKind::NotFound.into());
        }
        change_name(&mut state, name, None, false);
        if fate == Fate::Interrupted { Err(power_went()) } else { Ok(()) }
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.here()?;
        let fate = self.power.begin()?;
        let mut state = self.state.lock();
        let content = state.files.get(from).cloned().ok_or(io::ErrorKind::NotFound)?;
        if fate == Fate::Interrupted {
            // atomic: it has happened or not; which is decided here, for two names cannot be decided apart
            if state.writes.is_multiple_of(2) {
                return Err(power_went());
            }
        }
        state.files.remove(from);
        state.files.insert(to.to_owned(), content);
        state.undecided.clear();
        if fate == Fate::Interrupted { Err(power_went()) } else { Ok(()) }
    }

    fn read_file(&self, name: &str) -> io::Result<Vec<u8>> {
        self.here()?;
        let content = self.state.lock().files.get(name).cloned().ok_or(io::ErrorKind::NotFound)?;
        let bytes = content.lock().current.clone();
        Ok(bytes)
    }

    fn write_file(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        self.here()?;
        let fate = self.power.begin()?;
        let content = Arc::new(Mutex::new(Content::of(bytes.to_vec())));
        change_name(&mut self.state.lock(), name, Some(content), fate == Fate::Finished);
        if fate == Fate::Interrupted { Err(power_went()) } else { Ok(()) }
    }

    fn free_bytes(&self) -> io::Result<u64> {
        self.free_of("")
    }
}

impl SimDisk {
    /// Free bytes once the file `name` is replaced.
    fn free_of(&self, name: &str) -> io::Result<u64> {
        self.here()?;
        let state = self.state.lock();
        let used: u64 =
            state.files.iter().filter(|(other, _)| *other != name).map(|(_, file)| file.lock().taken_bytes()).sum();
        Ok(state.full_at_bytes.map_or(u64::MAX / 2, |limit| limit.saturating_sub(used)))
    }
}

struct SimClaim {
    number: u64,
    state: Arc<Mutex<State>>,
}

impl fmt::Debug for SimClaim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SimClaim").field("number", &self.number).finish_non_exhaustive()
    }
}

impl Claim for SimClaim {}

impl Drop for SimClaim {
    fn drop(&mut self) {
        let mut state = self.state.lock();
        // after a restart the drive may be another's already
        if state.claimed == Some(self.number) {
            state.claimed = None;
        }
    }
}

struct SimFile {
    content: Arc<Mutex<Content>>,
    power: Arc<SimPower>,
    state: Arc<Mutex<State>>,
}

impl fmt::Debug for SimFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SimFile").finish_non_exhaustive()
    }
}

impl SimFile {
    fn here(&self) -> io::Result<()> {
        self.power.check()?;
        if self.state.lock().vanished { Err(io::Error::other("the drive has vanished")) } else { Ok(()) }
    }
}

impl DiskFile for SimFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.here()?;
        let content = self.content.lock();
        let start = usize::try_from(offset).expect("simulated files are small");
        let bytes = content.current.get(start..start + buffer.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
        buffer.copy_from_slice(bytes);
        Ok(())
    }

    fn try_read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<bool> {
        self.read_at(buffer, offset).map(|()| true)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.here()?;
        let fate = self.power.begin()?;
        let (failing, short) = {
            let mut state = self.state.lock();
            let number = state.writes;
            state.writes += 1;
            (state.fail_writes.remove(&number), state.short_writes.remove(&number))
        };
        if failing {
            return Err(io::Error::other("simulated write error"));
        }
        let bytes = if short { &bytes[..bytes.len() / 2] } else { bytes };
        let offset = usize::try_from(offset).expect("simulated files are small");
        let mut content = self.content.lock();
        Content::write(bytes, offset, &mut content.current);
        content.unsynced.push(Unsynced::Write { offset, bytes: bytes.to_vec(), doomed: false });
        if fate == Fate::Interrupted {
            return Err(power_went());
        }
        if short { Err(io::ErrorKind::WriteZero.into()) } else { Ok(()) }
    }

    fn sync(&self) -> io::Result<()> {
        self.here()?;
        let fate = self.power.begin()?;
        let failing = {
            let mut state = self.state.lock();
            let number = state.syncs;
            state.syncs += 1;
            state.fail_syncs.remove(&number)
        };
        let mut content = self.content.lock();
        if failing {
            for change in &mut content.unsynced {
                if let Unsynced::Write { doomed, .. } = change {
                    *doomed = true;
                }
            }
            return Err(io::Error::other("simulated sync error"));
        }
        if fate == Fate::Interrupted {
            return Err(power_went());
        }
        content.sync();
        Ok(())
    }

    fn length(&self) -> io::Result<u64> {
        self.here()?;
        Ok(self.content.lock().current.len() as u64)
    }

    fn set_length(&self, bytes: u64) -> io::Result<()> {
        self.here()?;
        let fate = self.power.begin()?;
        let length = usize::try_from(bytes).expect("simulated files are small");
        let mut content = self.content.lock();
        content.current.resize(length, 0);
        content.unsynced.push(Unsynced::Length(length));
        if fate == Fate::Interrupted { Err(power_went()) } else { Ok(()) }
    }

    fn punch(&self, range: Range<u64>) -> io::Result<bool> {
        self.here()?;
        let fate = self.power.begin()?;
        let place = |offset: u64| usize::try_from(offset).expect("simulated files are small");
        let mut content = self.content.lock();
        let range = place(range.start)..place(range.end).min(content.current.len());
        punch(&mut content.current, range.clone());
        content.holes += range.len();
        content.unsynced.push(Unsynced::Hole(range));
        if fate == Fate::Interrupted { Err(power_went()) } else { Ok(true) }
    }

    fn forget_cached(&self, range: Range<u64>) {
        let mut content = self.content.lock();
        let Content { current, durable, unsynced, .. } = &mut *content;
        unsynced.retain(|change| {
            let Unsynced::Write { offset, bytes, doomed: true } = change else { return true };
            let lost = *offset..*offset + bytes.len();
            let forgotten = range.start <= lost.start as u64 && lost.end as u64 <= range.end;
            if forgotten {
                // pages that a failed sync has marked clean are read from the device again
                durable.resize(durable.len().max(lost.end), 0);
                current[lost.clone()].copy_from_slice(&durable[lost]);
            }
            !forgotten
        });
    }

    fn allocated_bytes(&self) -> io::Result<u64> {
        self.here()?;
        Ok(self.content.lock().taken_bytes())
    }
}

#[cfg(test)]
mod tests;
