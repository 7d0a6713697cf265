//! Ordered rows with snapshot reads and optimistic transactions: the first of the two borders of Cistern.
//!
//! Everything above this crate is written once against [`Store`], [`Transaction`] and [`Table`]; an [`Engine`] is what
//! stands below: [`EmbeddedEngine`] on the drive log here, a PostgreSQL one later. No transaction spans two buckets
//! except configuration, keys are at most 4 KiB, values at most 100 KB, a transaction at most 1 MB.
//!
//! ```text
//! Table<K, V> ── typed rows ──▶ Transaction ── read set + write set ──▶ Engine::commit ──▶ Committed(stamp) | Lost
//!                                   │ reads
//!                                   ▼
//!                             EngineSnapshot (one moment, never changes)
//! ```

#[cfg(any(test, feature = "testing"))]
pub mod conformance;
mod embedded;
mod engine;
mod error;
mod limits;
#[cfg(any(test, feature = "testing"))]
mod memory;
mod recent;
mod row_cache;
mod row_key;
mod store;
mod table;

pub use embedded::EmbeddedEngine;
pub use engine::{Commit, CommitRequest, Engine, EngineSnapshot, KeyRange, ReadSet, Scan, ScanOrder, Write};
pub use error::{Error, ErrorKind, Result};
pub use limits::{
    KEY_BYTES_MAX, ROW_OVERHEAD_BYTES, STAMP_BYTES, TRANSACTION_BYTES_MAX, TRANSACTION_READS_MAX, VALUE_BYTES_MAX,
};
#[cfg(any(test, feature = "testing"))]
pub use memory::MemoryEngine;
pub use row_cache::RowCache;
pub use row_key::RowKey;
pub use store::{Store, Transaction};
pub use table::{RowValue, Table};
