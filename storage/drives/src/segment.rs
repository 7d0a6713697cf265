//! Segment files: their names, how one is begun, which one is written now.
//!
//! A segment has the same number, size and content plan on every drive: a stripe takes the same bytes of it everywhere. A
//! new one is begun at the first append after an open, when the last is full, and after every failed group, so that the
//! header of the new one says for good where the old one ended.

use crate::disk::{Disk, DiskFile};
use crate::drives::Drives;
use crate::error::{Error, Result};
use crate::frame::{Predecessor, SEGMENT_HEADER_BYTES, SegmentHeader};
use crate::lanes::{LaneWriters, ZEROS_MAX};
use crate::status::{Counters, count};
use std::io;
use std::sync::Arc;

pub(crate) const SEGMENT_PREFIX: &str = "segment-";
/// Files of removed segments kept for the next: their blocks are written already, which makes syncs cheaper.
pub(crate) const SPARE_PREFIX: &str = "spare-";
/// Spares kept on each drive.
pub(crate) const SPARES_MAX: usize = 2;
/// Small frames are written into zeros made this far ahead: a sync need not record that blocks came into use. Few enough that the group
/// that waits for them hardly notices.
const ZERO_AHEAD_BYTES: u64 = ZEROS_MAX as u64;
/// Frames from this size on do not profit from zeros ahead: with a limit of 32 KiB more bytes are written, the journal of a file system counted,
/// and syncs take longer.
const SMALL_FRAME_BYTES: u64 = 16 << 10;

pub(crate) fn segment_name(segment: u64) -> String {
    let mut digits = [0; 16];
    hex::encode_to_slice(segment.to_be_bytes(), &mut digits).expect("eight bytes are sixteen digits");
    [SEGMENT_PREFIX, std::str::from_utf8(&digits).expect("digits are text")].concat()
}

pub(crate) fn numbered(name: &str, prefix: &str) -> Option<u64> {
    let digits = name.strip_prefix(prefix).filter(|digits| digits.len() == 16)?;
    u64::from_str_radix(digits, 16).ok()
}

/// Where the log ends and how it goes on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tail {
    /// The last segment, 0 when there is none.
    pub(crate) segment: u64,
    pub(crate) end_offset: u64,
    pub(crate) next_sequence: u64,
    pub(crate) last_stamp: u64,
    /// Larger than the number of any segment seen on any drive.
    pub(crate) next_segment: u64,
    /// What the next segment names as its predecessor: the last segment, or the one before it when that is empty.
    pub(crate) predecessor: Predecessor,
    /// The segment in which the last whole checkpoint begins; 0 when there is none.
    pub(crate) checkpoint: u64,
}

/// The segment that is being written.
#[derive(Debug)]
pub(crate) struct ActiveSegment {
    pub(crate) id: u64,
    pub(crate) generation: u64,
    /// Of every live drive.
    pub(crate) files: Vec<Option<Arc<dyn DiskFile>>>,
    /// Where the next stripe begins.
    pub(crate) head: u64,
    /// Offset and sequence of the first stripe that lacks a lane.
    pub(crate) lacking: Option<(u64, u64)>,
    bytes: u64,
    zeroed_to: Vec<u64>,
}

impl ActiveSegment {
    pub(crate) fn has_room(&self, stripe_bytes: u64) -> bool {
        self.head + stripe_bytes <= self.bytes
    }

    /// The range to write zeros to behind a frame that ends at `frame_end` on `drive`.
    pub(crate) fn zero_ahead(
        &mut self,
        drive: usize,
        frame_bytes: u64,
        frame_end: u64,
    ) -> Option<std::ops::Range<u64>> {
        let zeroed_to = &mut self.zeroed_to[drive];
        if frame_end <= *zeroed_to {
            return None;
        }
        *zeroed_to = frame_end;
        if frame_bytes >= SMALL_FRAME_BYTES {
            return None;
        }
        *zeroed_to = (frame_end + ZERO_AHEAD_BYTES.min(self.bytes / 4)).min(self.bytes);
        (frame_end < *zeroed_to).then_some(frame_end..*zeroed_to)
    }
}

/// What a new segment needs to know.
#[derive(Debug, Clone, Copy)]
pub(crate) struct NewSegment {
    pub(crate) header: SegmentHeader,
    pub(crate) bytes: u64,
    /// Space to leave alone on every drive.
    pub(crate) left_bytes: u64,
}

/// Begins a segment, for which [`check_room`] has found room: a preallocated file with a synced header on every live drive. A drive
/// without room all the same refuses the segment for all (nothing is lost, it can be tried again); any other failure takes the drive out.
pub(crate) fn begin(
    drives: &Drives,
    writers: &mut LaneWriters,
    new: NewSegment,
    counters: &Counters,
) -> Result<ActiveSegment> {
    let lanes = drives.count();
    let name = segment_name(new.header.segment);
    let mut files: Vec<Option<Arc<dyn DiskFile>>> = vec![None; lanes];
    let mut zeroed_to = vec![0; lanes];
    let work = drives.live().into_iter().filter_map(|drive| {
        let (disk, name) = (drives.disk(drive)?, name.clone());
        Some((drive, move || allocate(disk.as_ref(), &name, new.bytes)))
    });
    let (at, work): (Vec<usize>, Vec<_>) = work.map(|work| (work.0, work)).unzip();
    let mut full_drive = None;
    for (drive, allocated) in at.into_iter().zip(writers.run(drives, work)) {
        match allocated {
            Ok((file, reused)) => {
                zeroed_to[drive] = if reused { new.bytes } else { 0 };
                files[drive] = Some(file);
            }
            Err(error) if is_full(&error) => full_drive = Some(drive),
            Err(error) => drives.take_out(drive, "begin a segment", &error),
        }
    }
    if let Some(drive) = full_drive {
        remove_begun(drives, &name, &files);
        return Err(full(drives, drive, new.bytes + new.left_bytes));
    }
    let mut block = vec![0; usize::try_from(SEGMENT_HEADER_BYTES).expect("4096")];
    let header = new.header.encode();
    block[..header.len()].copy_from_slice(&header);
    on_all(drives, writers, &mut files, "write a segment header", move |file| file.write_at(&block, 0));
    on_all(drives, writers, &mut files, "sync a segment header", |file| file.sync());
    count(&counters.syncs, files.iter().flatten().count() as u64);
    count(&counters.segments_begun, 1);
    count(&counters.device_bytes, SEGMENT_HEADER_BYTES * files.iter().flatten().count() as u64);
    if let Some(reason) = drives.read_only_reason() {
        return Err(Error::ReadOnly { reason });
    }
    Ok(ActiveSegment {
        id: new.header.segment,
        generation: new.header.generation,
        files,
        head: SEGMENT_HEADER_BYTES,
        lacking: None,
        bytes: new.bytes,
        zeroed_to,
    })
}

/// Does something to every file; a drive that fails goes out, its file with it.
fn on_all(
    drives: &Drives,
    writers: &mut LaneWriters,
    files: &mut [Option<Arc<dyn DiskFile>>],
    action: &str,
    work: impl Fn(&dyn DiskFile) -> io::Result<()> + Clone + Send + 'static,
) {
    let there = files.iter().enumerate().filter_map(|(drive, file)| Some((drive, Arc::clone(file.as_ref()?))));
    let there: Vec<(usize, Arc<dyn DiskFile>)> = there.collect();
    let jobs = there.iter().map(|(drive, file)| {
        let (work, file) = (work.clone(), Arc::clone(file));
        (*drive, move || work(file.as_ref()))
    });
    for ((drive, _), done) in there.iter().zip(writers.run(drives, jobs.collect())) {
        if let Err(error) = done {
            drives.take_out(*drive, action, &error);
            files[*drive] = None;
        }
    }
}

/// Refuses when a live drive has less room than a segment and what is to be left alone. A spare is room.
pub(crate) fn check_room(drives: &Drives, bytes: u64, left_bytes: u64) -> Result<()> {
    for drive in drives.live() {
        let Some(disk) = drives.disk(drive) else { continue };
        let Ok(free) = disk.free_bytes() else { continue };
        if free < bytes + left_bytes && free + spare_bytes(disk.as_ref(), bytes) < bytes + left_bytes {
            return Err(full(drives, drive, bytes + left_bytes));
        }
    }
    Ok(())
}

/// Bytes of the spares that a segment of `bytes` could take over.
fn spare_bytes(disk: &dyn Disk, bytes: u64) -> u64 {
    let fits = |name: &&String| disk.open(name).and_then(|file| file.length()).is_ok_and(|length| length == bytes);
    spares(disk).unwrap_or_default().iter().filter(fits).count() as u64 * bytes
}

/// The names of a drive's spares.
fn spares(disk: &dyn Disk) -> io::Result<Vec<String>> {
    Ok(disk.list()?.into_iter().filter(|name| numbered(name, SPARE_PREFIX).is_some()).collect())
}

fn full(drives: &Drives, drive: usize, needed_bytes: u64) -> Error {
    let free_bytes = drives.disk(drive).and_then(|disk| disk.free_bytes().ok()).unwrap_or(0);
    Error::Full { drive: drives.label(drive), free_bytes, needed_bytes }
}

pub(crate) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// A spare under the new name if there is one of the right size, else a new file; says which.
fn allocate(disk: &dyn Disk, name: &str, bytes: u64) -> io::Result<(Arc<dyn DiskFile>, bool)> {
    let take_over = |spare: &str| {
        if disk.open(spare)?.length()? != bytes {
            return disk.remove(spare).map(|()| None);
        }
        disk.rename(spare, name)?;
        disk.open(name).map(Some)
    };
    for spare in spares(disk)? {
        match take_over(&spare) {
            Ok(Some(file)) => return Ok((file, true)),
            Ok(None) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {} // given up meanwhile
            Err(error) => return Err(error),
        }
    }
    Ok((disk.create(name, bytes)?, false))
}

/// Takes the files of a segment away that is no longer part of the log: as a spare for the next one where that is worth it, else for
/// good. Failures cost only space, until the next open.
pub(crate) fn clear_away(drives: &Drives, drive: usize, segment: u64, segment_bytes: u64) -> io::Result<()> {
    let Some(disk) = drives.disk(drive) else { return Ok(()) };
    let name = segment_name(segment);
    let spares = spares(disk.as_ref())?.len();
    let file = match disk.open(&name) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        opened => opened?,
    };
    // one with holes has lost what makes a spare worth keeping: blocks that were written before
    let whole = file.length()? == segment_bytes && file.allocated_bytes()? >= segment_bytes;
    if whole && spares < SPARES_MAX {
        disk.rename(&name, &format!("{SPARE_PREFIX}{segment:016x}"))
    } else {
        disk.remove(&name)
    }
}

/// Gives the spares of all live drives back to the file system: on drives that are nearly full others need the room too. Failures cost only
/// space.
pub(crate) fn give_up_spares(drives: &Drives) {
    for disk in drives.live().into_iter().filter_map(|drive| drives.disk(drive)) {
        for spare in spares(disk.as_ref()).unwrap_or_default() {
            if let Err(error) = disk.remove(&spare) {
                tracing::warn!(drive = disk.label(), error = %error, "a spare was not removed");
            }
        }
    }
}

fn remove_begun(drives: &Drives, name: &str, files: &[Option<Arc<dyn DiskFile>>]) {
    for (drive, _) in files.iter().enumerate().filter(|(_, file)| file.is_some()) {
        if let Some(Err(error)) = drives.disk(drive).map(|disk| disk.remove(name)) {
            tracing::warn!(drive = drives.label(drive), error = %error, "a segment begun on a full set was not removed");
        }
    }
}
