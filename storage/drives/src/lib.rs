//! The erasure-coded log on local drives: the only copy of people's bytes and rows.
//!
//! ```text
//!   Append (chunks, rows, forgets)                                       reads
//!      |  reserve + submit                                                 |
//!   log.rs       queue, stamps, eras, status                             read.rs   one lane, or any k lanes
//!      |  a group                                                          |
//!   committer.rs -> stripe.rs  pack records into k data lanes + m parity   |
//!      |            (record.rs, frame.rs: the bytes; erasure.rs: the code) |
//!   lanes.rs     one writer thread per drive: write, sync                  |
//!      |                                                                   |
//!   disk.rs      Disk, DiskFile: LocalDisk | SimDisk  <--------------------+
//!      .
//!   apply.rs     records -> one atomic batch of the view.rs (fjall | sled | memory)
//!
//!   compaction.rs -> upkeep.rs  checkpoints, moved chunks, retired segments: groups like all others; occupancy.rs says what pays
//!
//!   scrub.rs     reads every lane, writes back what is missing or damaged; passes.rs says what it found; names.rs what is needed
//!   drives.rs    which drives are live, stale, out, and how another takes a place; slow.rs which ones reads go around
//!
//!   open: identity.rs who is who -> recovery.rs replays what the view lacks, drops a torn tail, heals what is bad in it
//! ```
//!
//! A write: `reserve` waits for room, `submit` gives the append its stamp, the committer takes what waits as one group,
//! codes it as one stripe, writes a frame per lane, syncs all, applies it to the view, then resolves the [`Pending`]s.
//! Nothing is acknowledged before; everything after can be redone from the log. The view is never the truth.

mod append;
mod apply;
mod committer;
mod compaction;
mod config;
mod disk;
mod drives;
mod erasure;
mod error;
mod frame;
#[cfg(any(test, feature = "testing"))]
pub mod fuzz;
mod identity;
mod lanes;
mod log;
mod names;
mod occupancy;
mod passes;
mod queue;
mod read;
mod read_buffers;
mod record;
mod recovery;
mod scrub;
mod segment;
mod slow;
mod status;
mod stripe;
#[cfg(test)]
mod tests;
mod upkeep;
mod view;

pub use append::{Append, Committed, NewPiece, Pending, Reservation, Rows};
pub use compaction::{Compactor, Effort};
pub use config::{Compaction, DriveLogConfig, LANES_MAX, Membership, PARITY_MAX, Threads, ViewKind};
pub use disk::local::LocalDisk;
#[cfg(any(test, feature = "testing"))]
pub use disk::sim::{SimDisk, SimPower};
pub use disk::{Claim, Disk, DiskFile};
pub use error::{Error, ErrorKind, Result};
pub use identity::{FoundSet, find_set};
pub use log::DriveLog;
pub use passes::{Pass, PassKind, Passes};
pub use read::{Chunk, FoundChunk};
pub use scrub::Scrubber;
pub use status::{DriveState, DriveStatus, LogStatus, SpaceUsage, Stats};
pub use view::{Direction, Snapshot};

/// Bytes of every chunk of a blob but its last.
pub const CHUNK_BYTES: usize = 1 << 20;
/// Bytes of a row's key at most.
pub const KEY_BYTES_MAX: usize = 4096;
/// Bytes of a row's value at most.
pub const VALUE_BYTES_MAX: usize = 100_000;
/// Bytes of all rows of an append at most.
pub const ROWS_BYTES_MAX: usize = 1_000_000;
/// Blobs that one append forgets at most.
pub const FORGET_IDS_MAX: usize = 1000;
