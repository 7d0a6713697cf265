//! Immutable bytes under random names: the second of the two borders of Cistern.
//!
//! A [`BlobStore`] takes a body once, answers ranges of it for as long as it lives, and never changes it. Which object
//! the bytes belong to is known only to the rows above. Implementations: [`EmbeddedBlobs`] on the drive log here,
//! Ceph and object stores later; each passes `conformance`.
//!
//! ```text
//! writer() ─▶ write(bytes)… ─▶ finish() ─▶ Blob { id, length, receipt } ─▶ a row names the id, its commit presents the receipt
//! ```
//! A writer that is dropped, or a blob that no row names, is an orphan: the sweeper above lists and deletes it.

mod coding;
#[cfg(any(test, feature = "testing"))]
pub mod conformance;
mod embedded;
mod error;
#[cfg(any(test, feature = "testing"))]
mod memory;
mod sets;
mod store;

pub use coding::Compression;
pub use embedded::EmbeddedBlobs;
pub use error::{Error, ErrorKind, Result};
#[cfg(any(test, feature = "testing"))]
pub use memory::MemoryBlobs;
pub use sets::SMALL_BYTES;
pub use store::{Blob, BlobReader, BlobStore, BlobWriter};
