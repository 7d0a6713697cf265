//! The border to the drives: [`Disk`] and [`DiskFile`]. Everything the log reads or writes passes through here.
//!
//! Synchronous and blocking: callers are the committer's drive threads, recovery, and reads that were moved off the
//! runtime. Two implementations: [`LocalDisk`](crate::LocalDisk), and `SimDisk` (feature `testing`), which loses what was not synced.

pub(crate) mod local;
#[cfg(any(test, feature = "testing"))]
pub(crate) mod sim;

use std::fmt::Debug;
use std::io;
use std::ops::Range;
use std::sync::Arc;

/// One drive: a flat folder of files.
///
/// `create`, `rename` and `write_file` have made the name durable when they return; a `remove` may come back after a
/// power cut.
pub trait Disk: Send + Sync + Debug {
    /// What people call the drive, for messages: its path.
    fn label(&self) -> String;

    /// Makes the folder when it is not there.
    fn make(&self) -> io::Result<()>;

    /// Takes the drive for this log until the claim is dropped. Fails with `NotFound` when the folder is not there and
    /// with `WouldBlock` when another log or process has it.
    fn claim(&self) -> io::Result<Box<dyn Claim>>;

    /// Makes a file of `bytes` zeros whose space is set aside, replacing one of that name. Fails with `StorageFull` when
    /// there is no room.
    fn create(&self, name: &str, bytes: u64) -> io::Result<Arc<dyn DiskFile>>;

    /// Opens a file that exists.
    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>>;

    /// The names of everything that lies in the folder, but for what the drive itself keeps there for a claim or a replacement.
    fn list(&self) -> io::Result<Vec<String>>;

    /// Removes a file.
    fn remove(&self, name: &str) -> io::Result<()>;

    /// Renames a file, replacing one that has the new name.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Reads a small file whole.
    fn read_file(&self, name: &str) -> io::Result<Vec<u8>>;

    /// Replaces a small file: after a crash it is the old one or the new one, never a mix.
    fn write_file(&self, name: &str, bytes: &[u8]) -> io::Result<()>;

    /// Bytes that can still be set aside.
    fn free_bytes(&self) -> io::Result<u64>;
}

/// The right to use a [`Disk`]; dropping it gives the drive back.
pub trait Claim: Send + Sync + Debug {}

/// An open file of a [`Disk`]. Positions are bytes from its start.
pub trait DiskFile: Send + Sync + Debug {
    /// Fills `buffer` from `offset`; `UnexpectedEof` when the file ends before.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()>;

    /// Fills `buffer` if that needs no waiting for the device; `false` when it would (the buffer's content is then undefined).
    fn try_read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<bool>;

    /// Writes all of `bytes` at `offset`. When the process is killed meanwhile, the beginning of them (what lies in their first
    /// page) is not there without the rest; a loss of power may leave any part.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;

    /// Makes every finished write survive a power cut. After an error what is on the device is unknown, also after a later success.
    fn sync(&self) -> io::Result<()>;

    /// Its length in bytes.
    fn length(&self) -> io::Result<u64>;

    /// Cuts it to `bytes` and gives the space behind back.
    fn set_length(&self, bytes: u64) -> io::Result<()>;

    /// Gives back the space of a range, which then reads as zeros; `false` when the file system cannot. The file stays as long.
    fn punch(&self, range: Range<u64>) -> io::Result<bool>;

    /// Has what is read of a range next come from the device, if that is possible and the range is synced.
    fn forget_cached(&self, range: Range<u64>);

    /// Bytes of the device that it takes.
    fn allocated_bytes(&self) -> io::Result<u64>;
}
