//! A drive that is a folder of a file system: the one file that opens, writes and syncs real files.
//!
//! Names are made durable by syncing the folder; small files are replaced by write, sync, rename, sync. Open handles are kept, up to
//! a bound, because every read asks for its segment by name.

use super::{Claim, Disk, DiskFile};
use parking_lot::Mutex;
use rustix::fs::{Advice, FallocateFlags, OFlags, fadvise, fallocate, statvfs};
use rustix::io::{Errno, ReadWriteFlags, preadv2};
use std::collections::HashMap;
use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, IoSliceMut, Write};
use std::num::NonZeroU64;
use std::ops::Range;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

/// File handles kept open for each drive.
const HANDLES_MAX: usize = 128;
const LOCK_FILE: &str = "drive.lock";
const TEMPORARY_SUFFIX: &str = ".new";
/// Bodies and keys are nobody's business but the server's.
const FILE_MODE: u32 = 0o600;
const FOLDER_MODE: u32 = 0o700;
/// The unit in which the system counts the blocks of a file, whatever the file system's own is.
const STAT_BLOCK_BYTES: u64 = 512;

/// How files are opened that may be made.
fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.mode(FILE_MODE);
    options
}

/// A folder as a drive; in production one per device.
#[derive(Debug)]
pub struct LocalDisk {
    folder: PathBuf,
    handles: Mutex<HashMap<String, Arc<LocalFile>>>,
    /// Device and inode of the lock file that was claimed.
    claimed: Mutex<Option<(u64, u64)>>,
}

impl LocalDisk {
    /// The drive in `folder`. Touches nothing yet.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into(), handles: Mutex::default(), claimed: Mutex::default() }
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Refuses when the folder is not the one that was claimed: after a file system was unmounted, the path leads to what lies below it,
    /// and new files would go there.
    fn check_folder(&self) -> io::Result<()> {
        let Some(claimed) = *self.claimed.lock() else { return Ok(()) };
        let found = std::fs::metadata(self.path(LOCK_FILE)).map(|found| (found.dev(), found.ino()));
        if found.is_ok_and(|found| found == claimed) {
            return Ok(());
        }
        Err(io::Error::new(io::ErrorKind::NotFound, "the folder is not the one that was opened: the drive is gone"))
    }

    fn sync_folder(&self) -> io::Result<()> {
        File::open(&self.folder)?.sync_all()
    }

    fn keep(&self, name: &str, file: File) -> Arc<LocalFile> {
        let file = Arc::new(LocalFile::new(file));
        let mut handles = self.handles.lock();
        // which one goes does not matter much: the ones in use stay open through their own reference
        if handles.len() >= HANDLES_MAX
            && let Some(evicted) = handles.keys().next().cloned()
        {
            handles.remove(&evicted);
        }
        handles.insert(name.to_owned(), Arc::clone(&file));
        file
    }
}

impl Disk for LocalDisk {
    fn label(&self) -> String {
        self.folder.display().to_string()
    }

    fn make(&self) -> io::Result<()> {
        DirBuilder::new().recursive(true).mode(FOLDER_MODE).create(&self.folder)?;
        match self.folder.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            Some(parent) => File::open(parent)?.sync_all(),
            None => Ok(()),
        }
    }

    fn claim(&self) -> io::Result<Box<dyn Claim>> {
        let file = private().create(true).truncate(false).write(true).open(self.path(LOCK_FILE))?;
        match file.try_lock() {
            Ok(()) => {
                let found = file.metadata()?;
                *self.claimed.lock() = Some((found.dev(), found.ino()));
                Ok(Box::new(FolderLock { _file: file }))
            }
            Err(TryLockError::WouldBlock) => Err(io::ErrorKind::WouldBlock.into()),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    fn create(&self, name: &str, bytes: u64) -> io::Result<Arc<dyn DiskFile>> {
        self.check_folder()?;
        self.handles.lock().remove(name);
        let file = private().create(true).truncate(true).read(true).write(true).open(self.path(name))?;
        match fallocate(&file, FallocateFlags::empty(), 0, bytes) {
            Ok(()) => {}
            Err(Errno::OPNOTSUPP) => file.set_len(bytes)?,
            Err(error) => {
                drop(file);
                // the first error is the one to report
                drop(std::fs::remove_file(self.path(name)));
                return Err(error.into());
            }
        }
        file.sync_all()?;
        self.sync_folder()?;
        Ok(self.keep(name, file))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        if let Some(file) = self.handles.lock().get(name) {
            return Ok(Arc::clone(file) as Arc<dyn DiskFile>);
        }
        let file = OpenOptions::new().read(true).write(true).open(self.path(name))?;
        Ok(self.keep(name, file))
    }

    fn list(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in std::fs::read_dir(&self.folder)? {
            match entry?.file_name().into_string() {
                Ok(name) if name == LOCK_FILE || name.ends_with(TEMPORARY_SUFFIX) => {}
                Ok(name) => names.push(name),
                Err(name) => names.push(name.to_string_lossy().into_owned()),
            }
        }
        names.sort();
        Ok(names)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let removed = std::fs::remove_file(self.path(name));
        // whoever opened it meanwhile must not keep its space for ever
        self.handles.lock().remove(name);
        removed
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.check_folder()?;
        let renamed = std::fs::rename(self.path(from), self.path(to));
        {
            let mut handles = self.handles.lock();
            handles.remove(from);
            handles.remove(to);
        }
        renamed?;
        self.sync_folder()
    }

    fn read_file(&self, name: &str) -> io::Result<Vec<u8>> {
        std::fs::read(self.path(name))
    }

    fn write_file(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        self.check_folder()?;
        let temporary = format!("{name}{TEMPORARY_SUFFIX}");
        let mut file = private().create(true).truncate(true).write(true).open(self.path(&temporary))?;
        file.write_all(bytes)?;
        file.sync_all()?;
        drop(file);
        self.rename(&temporary, name)
    }

    fn free_bytes(&self) -> io::Result<u64> {
        let stat = statvfs(&self.folder)?;
        Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
    }
}

/// Holds the lock as long as the file is open; the system gives it back when the process ends.
#[derive(Debug)]
struct FolderLock {
    _file: File,
}

impl Claim for FolderLock {}

#[derive(Debug)]
struct LocalFile {
    file: File,
    /// The same file around the page cache, where the file system can; opened when it is first of use.
    direct: OnceLock<Option<File>>,
}

impl LocalFile {
    fn new(file: File) -> Self {
        Self { file, direct: OnceLock::new() }
    }

    fn direct(&self) -> Option<&File> {
        let open = || {
            let path = format!("/proc/self/fd/{}", self.file.as_raw_fd());
            let flags = i32::try_from(OFlags::DIRECT.bits()).expect("a flag of open is a small number");
            OpenOptions::new().write(true).custom_flags(flags).open(path).ok()
        };
        self.direct.get_or_init(open).as_ref()
    }
}

/// Writes from this size on go around the page cache: copying there and writing back takes a multiple of the CPU.
const DIRECT_BYTES_MIN: usize = 128 << 10;
/// Position, length and memory of such a write must be multiples of this: what all devices take.
const DIRECT_ALIGN: usize = 4096;

fn is_direct(bytes: &[u8], offset: u64) -> bool {
    bytes.len() >= DIRECT_BYTES_MIN
        && bytes.len().is_multiple_of(DIRECT_ALIGN)
        && bytes.as_ptr().addr().is_multiple_of(DIRECT_ALIGN)
        && offset.is_multiple_of(DIRECT_ALIGN as u64)
}

/// A page of the page cache: a kill comes between two of them, not inside one.
const PAGE_BYTES: usize = 4096;

/// Writes what lies in the first page last. A process that is killed meanwhile then leaves no beginning of what it did not
/// finish, so that a frame with a header was written whole, unless power was lost: recovery tells by it what was never
/// acknowledged, however many drives are missing. (Direct writes are not cut by a kill.)
fn write_beginning_last(file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
    let into_page = usize::try_from(offset % PAGE_BYTES as u64).expect("less than a page");
    let (beginning, rest) = bytes.split_at(bytes.len().min(PAGE_BYTES - into_page));
    if !rest.is_empty() {
        file.write_all_at(rest, offset + beginning.len() as u64)?;
    }
    file.write_all_at(beginning, offset)
}

impl DiskFile for LocalFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.file.read_exact_at(buffer, offset)
    }

    fn try_read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<bool> {
        let length = buffer.len();
        match preadv2(&self.file, &mut [IoSliceMut::new(buffer)], offset, ReadWriteFlags::NOWAIT) {
            Ok(read) => Ok(read == length),
            Err(Errno::AGAIN | Errno::OPNOTSUPP | Errno::NOSYS | Errno::INTR) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        if is_direct(bytes, offset)
            && let Some(direct) = self.direct()
        {
            match direct.write_all_at(bytes, offset) {
                // a device that wants other multiples
                Err(error) if error.kind() == io::ErrorKind::InvalidInput => {}
                written => return written,
            }
        }
        write_beginning_last(&self.file, bytes, offset)
    }

    fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    fn length(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    fn set_length(&self, bytes: u64) -> io::Result<()> {
        self.file.set_len(bytes)
    }

    fn punch(&self, range: Range<u64>) -> io::Result<bool> {
        let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        match fallocate(&self.file, flags, range.start, range.end - range.start) {
            Ok(()) => Ok(true),
            Err(Errno::OPNOTSUPP | Errno::NOSYS) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    fn forget_cached(&self, range: Range<u64>) {
        let length = NonZeroU64::new(range.end - range.start);
        if let Err(error) = fadvise(&self.file, range.start, length, Advice::DontNeed) {
            tracing::debug!(error = %error, "the page cache was not told to forget");
        }
    }

    fn allocated_bytes(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.blocks() * STAT_BLOCK_BYTES)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn a_disk() -> (tempfile::TempDir, LocalDisk) {
        let folder = tempfile::tempdir().unwrap();
        let disk = LocalDisk::new(folder.path().join("drive"));
        disk.make().unwrap();
        (folder, disk)
    }

    #[test]
    fn what_is_written_is_read_with_and_without_waiting() {
        let (_folder, disk) = a_disk();
        let file = disk.create("segment", 8192).unwrap();
        file.write_at(b"hello", 4000).unwrap();
        file.sync().unwrap();
        for file in [file, disk.open("segment").unwrap()] {
            let mut buffer = [0; 5];
            file.read_at(&mut buffer, 4000).unwrap();
            assert_eq!(&buffer, b"hello");
            let mut again = [0; 5];
            if file.try_read_at(&mut again, 4000).unwrap() {
                assert_eq!(&again, b"hello");
            }
            assert_eq!(file.read_at(&mut buffer, 8190).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
            assert!(!file.try_read_at(&mut buffer, 8190).unwrap());
        }
        assert_eq!(disk.open("segment").unwrap().length().unwrap(), 8192);
    }

    #[test]
    fn a_write_that_does_not_get_to_its_end_has_no_beginning() {
        let (_folder, disk) = a_disk();
        let file = disk.create("segment", 16 << 10).unwrap();
        let bytes: Vec<u8> = (0..9000u32).map(|at| at.to_le_bytes()[0] | 1).collect();
        for offset in [0, 100, 4000, 4096] {
            file.write_at(&bytes, offset).unwrap();
            let mut found = vec![0; bytes.len()];
            file.read_at(&mut found, offset).unwrap();
            assert!(found == bytes, "at {offset}");
        }
        // the largest file that there can be here ends in the middle of the write
        let (mut largest, mut too_large) = (0, i64::MAX as u64);
        while largest + 4096 < too_large {
            let between = (largest / 2 + too_large / 2).next_multiple_of(4096);
            match file.set_length(between) {
                Ok(()) => largest = between,
                Err(_) => too_large = between,
            }
        }
        file.set_length(4096).unwrap();
        file.write_at(&bytes, largest - 4096).unwrap_err();
        assert_eq!(file.length().unwrap(), 4096, "its first page would have fitted");
    }

    #[test]
    fn large_aligned_writes_and_small_ones_meet_in_one_file() {
        let (_folder, disk) = a_disk();
        let file = disk.create("segment", 1 << 20).unwrap();
        let mut frame = crate::stripe::frame_buffer(DIRECT_BYTES_MIN);
        frame.resize(DIRECT_BYTES_MIN, 7);
        assert!(is_direct(&frame, 8192) && !is_direct(&frame, 8000) && !is_direct(&frame[1..], 8192));
        file.write_at(&[1; 8192], 4096).unwrap();
        file.write_at(&frame, 8192).unwrap();
        file.write_at(&[2; 100], 8192 + frame.len() as u64).unwrap();
        file.sync().unwrap();
        let mut found = vec![0; 4096 + frame.len() + 100];
        file.read_at(&mut found, 4096).unwrap();
        assert!(found[..4096] == [1; 4096] && found[4096..4096 + frame.len()] == *frame.as_slice());
        assert_eq!(found[4096 + frame.len()..], [2; 100]);
    }

    #[test]
    fn small_files_are_replaced_and_names_listed() {
        let (_folder, disk) = a_disk();
        disk.write_file("drive.json", b"one").unwrap();
        disk.write_file("drive.json", b"two").unwrap();
        assert_eq!(disk.read_file("drive.json").unwrap(), b"two");
        disk.create("a", 4096).unwrap();
        disk.rename("a", "b").unwrap();
        let _claim = disk.claim().unwrap();
        assert_eq!(disk.list().unwrap(), ["b", "drive.json"]);
        assert_eq!(disk.open("a").unwrap_err().kind(), io::ErrorKind::NotFound);
        disk.remove("b").unwrap();
        assert_eq!(disk.open("b").unwrap_err().kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn nobody_else_may_read_what_lies_on_a_drive() {
        let parent = tempfile::tempdir().unwrap();
        let disk = LocalDisk::new(parent.path().join("mount/drive"));
        disk.make().unwrap();
        let _claim = disk.claim().unwrap();
        disk.create("segment", 4096).unwrap();
        disk.write_file("drive.json", b"one").unwrap();
        let mode = |path: &Path| std::fs::metadata(path).unwrap().mode() & 0o777;
        for folder in [disk.folder(), disk.folder().parent().unwrap()] {
            assert_eq!(mode(folder), FOLDER_MODE);
        }
        for file in std::fs::read_dir(disk.folder()).unwrap() {
            assert_eq!(mode(&file.unwrap().path()), FILE_MODE);
        }
    }

    #[test]
    fn a_claimed_drive_is_refused_to_others_until_it_is_released() {
        let (_folder, disk) = a_disk();
        let other = LocalDisk::new(disk.folder());
        let claim = disk.claim().unwrap();
        for refused in [&disk, &other] {
            assert_eq!(refused.claim().unwrap_err().kind(), io::ErrorKind::WouldBlock);
        }
        drop(claim);
        other.claim().unwrap();
    }

    #[test]
    fn nothing_is_written_to_a_folder_that_came_instead_of_the_claimed_one() {
        let (_folder, disk) = a_disk();
        let _claim = disk.claim().unwrap();
        disk.write_file("drive.json", b"one").unwrap();
        std::fs::rename(disk.folder(), disk.folder().with_extension("unmounted")).unwrap();
        std::fs::create_dir(disk.folder()).unwrap();
        for refused in [
            disk.create("segment", 4096).map(drop),
            disk.write_file("drive.json", b"two"),
            disk.rename("drive.json", "b"),
        ] {
            assert_eq!(refused.unwrap_err().kind(), io::ErrorKind::NotFound);
        }
        assert_eq!(std::fs::read_dir(disk.folder()).unwrap().count(), 0);
    }

    #[test]
    fn a_missing_folder_is_not_found() {
        let disk = LocalDisk::new("/nonexistent/drive");
        assert_eq!(disk.claim().unwrap_err().kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn more_files_than_handles_are_kept_can_be_used() {
        let (_folder, disk) = a_disk();
        for number in 0..HANDLES_MAX + 10 {
            disk.create(&format!("segment-{number}"), 4096).unwrap().write_at(&[number.to_le_bytes()[0]], 0).unwrap();
        }
        for number in 0..HANDLES_MAX + 10 {
            let mut byte = [0];
            disk.open(&format!("segment-{number}")).unwrap().read_at(&mut byte, 0).unwrap();
            assert_eq!(byte[0], number.to_le_bytes()[0]);
        }
        assert!(disk.handles.lock().len() <= HANDLES_MAX);
    }
}
