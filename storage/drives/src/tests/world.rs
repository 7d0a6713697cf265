//! The bench: simulated drives, a log over them without threads, and the model it is compared with.

use crate::apply::split_chunk_key;
use crate::view::Space;
use crate::{
    Append, Committed, Direction, Disk, DriveLog, DriveLogConfig, Effort, Error, NewPiece, Pending, Result, Rows,
    SimDisk, SimPower, Threads, ViewKind,
};
use bytes::Bytes;
use cistern_runtime::TestClock;
use cistern_types::{BlobId, Timestamp};
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

/// A shape small enough to be opened ten thousand times.
pub(super) fn small(data: usize, parity: usize) -> DriveLogConfig {
    DriveLogConfig {
        segment_bytes: 64 << 10,
        group_bytes_max: 24 << 10,
        queue_bytes_max: 1 << 20,
        view: ViewKind::Memory,
        free_bytes_reserve: 0,
        ..DriveLogConfig::new(data, parity, "view")
    }
}

/// A shape in which large chunks are cut into pieces.
pub(super) fn medium(data: usize, parity: usize) -> DriveLogConfig {
    DriveLogConfig {
        segment_bytes: 2 << 20,
        group_bytes_max: 1200 << 10,
        queue_bytes_max: 4 << 20,
        ..small(data, parity)
    }
}

/// Drives that outlive the log.
pub(super) struct World {
    pub(super) power: Arc<SimPower>,
    pub(super) disks: Vec<Arc<SimDisk>>,
    pub(super) config: DriveLogConfig,
}

impl World {
    pub(super) fn new(config: DriveLogConfig) -> Self {
        let (power, disks) = SimDisk::set(config.lanes());
        Self { power, disks, config }
    }

    pub(super) fn open(&self) -> Result<DriveLog> {
        open(&self.config, SimDisk::as_disks(&self.disks))
    }

    /// After a power cut: every drive keeps what the seed says.
    /// Lets every drive take so many bytes more than it holds; `None`: as many as it likes.
    pub(super) fn fill_up(&self, room_bytes: Option<u64>) {
        for disk in &self.disks {
            let held: usize = disk.contents().values().map(Vec::len).sum();
            disk.limit_bytes(room_bytes.map(|room| held as u64 + room));
        }
    }

    pub(super) fn restart(&self, seed: u64) {
        self.power.restore();
        for (disk, seed) in self.disks.iter().zip(seed..) {
            disk.restart(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        }
    }

    /// The same drives in another world, which can be broken without breaking this one.
    pub(super) fn fork(&self) -> Self {
        let power = SimPower::new();
        let disks = self.disks.iter().map(|disk| disk.fork(&power)).collect();
        Self { power, disks, config: self.config.clone() }
    }

    /// Names and contents of all files of all drives.
    pub(super) fn contents(&self) -> Vec<BTreeMap<String, Vec<u8>>> {
        self.disks.iter().map(|disk| disk.contents()).collect()
    }
}

pub(super) fn open(config: &DriveLogConfig, disks: Vec<Arc<dyn Disk>>) -> Result<DriveLog> {
    DriveLog::open_blocking(config.clone(), disks, &a_clock(), Threads::Inline)
}

pub(super) fn a_clock() -> TestClock {
    TestClock::at(Timestamp::from_millis(1_700_000_000_000))
}

/// Runs a future to its end.
pub(super) fn wait<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

pub(super) fn submit(log: &DriveLog, append: Append) -> Result<Pending> {
    let reservation = wait(log.reserve(append.bytes()))?;
    log.submit(reservation, append)
}

pub(super) fn commit(log: &DriveLog, append: Append) -> Result<Committed> {
    submit(log, append)?.wait()
}

/// Every pass that is wanted, to its end.
pub(super) fn run_passes(log: &DriveLog) -> Result<()> {
    wait(async {
        let mut scrubber = log.scrubber(Arc::new(a_clock()));
        let mut steps = 0;
        while scrubber.step().await?.is_some() {
            steps += 1;
            assert!(steps < 10_000, "a pass comes to an end");
        }
        Ok(())
    })
}

/// A checkpoint, then everything that gives space back.
pub(super) fn compact(log: &DriveLog) -> Result<()> {
    wait(async {
        let mut compactor = log.compactor(Arc::new(a_clock()));
        compactor.begin_checkpoint().await?;
        let mut steps = 0;
        while compactor.step(Effort::Thorough).await? {
            steps += 1;
            assert!(steps < 10_000, "compaction comes to an end");
        }
        Ok(())
    })
}

pub(super) fn blob_id(number: u64) -> BlobId {
    let mut bytes = [0; 16];
    bytes[8..].copy_from_slice(&number.to_be_bytes());
    BlobId::from_bytes(bytes)
}

pub(super) fn a_blob(number: u64, length: usize) -> NewPiece {
    let mut random = SmallRng::seed_from_u64(number.wrapping_mul(31) + length as u64);
    let mut bytes = vec![0; length];
    random.fill(&mut bytes[..]);
    NewPiece { blob: blob_id(number), chunk: 0, last: true, bytes: Bytes::from(bytes) }
}

pub(super) fn a_row(key: &str, value: &str) -> Append {
    let mut rows = Rows::new();
    rows.put(key.as_bytes(), value.as_bytes());
    Append { rows: Some(rows), ..Append::default() }
}

pub(super) fn a_put(number: u64, length: usize) -> Append {
    let mut append = a_row(&format!("object/{number}"), &format!("blob {number} of {length}"));
    append.pieces.push(a_blob(number, length));
    append
}

/// What the log should show.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Model {
    pub(super) rows: BTreeMap<Vec<u8>, Vec<u8>>,
    pub(super) chunks: BTreeMap<(BlobId, u32), (Bytes, bool)>,
}

/// A step of a script: an append that the model understands too.
#[derive(Debug, Clone, Copy)]
pub(super) enum Step {
    Put { blob: u64, bytes: usize },
    Row { key: u8, value: u8 },
    Delete { key: u8 },
    Stamped { value: u8 },
    Forget { blob: u64 },
}

impl Step {
    pub(super) fn append(&self) -> Append {
        let mut rows = Rows::new();
        let mut append = Append::default();
        match *self {
            Self::Put { blob, bytes } => return a_put(blob, bytes),
            Self::Row { key, value } => rows.put(&[key], &vec![value; usize::from(value)]),
            Self::Delete { key } => rows.delete(&[key]),
            Self::Stamped { value } => rows.put_stamped(b"log/", &[value]),
            Self::Forget { blob } => {
                append.forget.push(blob_id(blob));
                rows.delete(format!("object/{blob}").as_bytes());
            }
        }
        append.rows = Some(rows);
        append
    }

    pub(super) fn apply(&self, model: &mut Model, stamp: u64) {
        match *self {
            Self::Put { blob, bytes } => {
                let piece = a_blob(blob, bytes);
                model.chunks.insert((piece.blob, 0), (piece.bytes, true));
                model.rows.insert(format!("object/{blob}").into(), format!("blob {blob} of {bytes}").into());
            }
            Self::Row { key, value } => {
                model.rows.insert(vec![key], vec![value; usize::from(value)]);
            }
            Self::Delete { key } => {
                model.rows.remove(&vec![key]);
            }
            Self::Stamped { value } => {
                model.rows.insert([&b"log/"[..], &stamp.to_be_bytes()].concat(), vec![value]);
            }
            Self::Forget { blob } => {
                model.chunks.retain(|(id, _), _| *id != blob_id(blob));
                model.rows.remove(format!("object/{blob}").as_bytes());
            }
        }
    }

    /// A step that makes sense after the steps before it.
    pub(super) fn random(random: &mut SmallRng, next_blob: &mut u64, bytes_max: usize) -> Self {
        match random.random_range(0..10) {
            0..5 => {
                *next_blob += 1;
                // small ones mostly, as in life, and now and then an empty one
                let bytes = match random.random_range(0..8) {
                    0 => 0,
                    1 => random.random_range(0..=bytes_max),
                    _ => random.random_range(0..=bytes_max / 8),
                };
                Self::Put { blob: *next_blob, bytes }
            }
            5..7 => Self::Row { key: random.random_range(0..4), value: random.random_range(0..100) },
            7 => Self::Delete { key: random.random_range(0..4) },
            8 => Self::Stamped { value: random.random() },
            _ => Self::Forget { blob: random.random_range(0..=*next_blob) },
        }
    }
}

/// Everything the log shows, read as users read it.
pub(super) fn dump(log: &DriveLog) -> Result<Model> {
    let rows = log.snapshot().range(Bound::Unbounded, Bound::Unbounded, usize::MAX, Direction::Forward)?;
    let rows = rows.into_iter().map(|(key, value)| (key.to_vec(), value.to_vec())).collect();
    let mut chunks = BTreeMap::new();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let everything = (Bound::Unbounded, Bound::Unbounded);
    let pieces = log.core().current_view().range(Space::Pieces, everything, usize::MAX, Direction::Forward)?;
    for (key, _) in pieces {
        let (blob, number) = split_chunk_key(&key).unwrap();
        if let Some(chunk) = runtime.block_on(log.read_chunk(blob, number))? {
            chunks.insert((blob, number), (chunk.bytes, chunk.last));
        }
    }
    Ok(Model { rows, chunks })
}

#[track_caller]
pub(super) fn expect_model(log: &DriveLog, model: &Model, context: &str) {
    let shown = dump(log).unwrap_or_else(|error| panic!("{context}: {error}"));
    assert!(shown == *model, "{context}: the log shows other rows or bytes than the model");
}

#[track_caller]
pub(super) fn expect_error(result: Result<DriveLog>, fits: impl Fn(&Error) -> bool, words: &[&str]) {
    let error = result.expect_err("the open should be refused");
    assert!(fits(&error), "{error:?}");
    for word in words {
        assert!(error.to_string().contains(word), "{error} should say {word}");
    }
}
