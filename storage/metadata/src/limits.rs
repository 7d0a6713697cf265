//! The limits of keys, values and transactions, and the one place that holds a commit against them.
//!
//! They are the smallest of all engines, planned ones included, so that what commits on one machine commits on many.

use crate::{CommitRequest, Error, Result, Write};
use std::collections::BTreeSet;
use std::fmt::Write as _;

/// The longest key, in bytes; a stamped row's stamp counts.
pub const KEY_BYTES_MAX: usize = 4096;
/// The longest value, in bytes.
pub const VALUE_BYTES_MAX: usize = 100_000;
/// The most one transaction may write: keys, values and [`ROW_OVERHEAD_BYTES`] for each row.
pub const TRANSACTION_BYTES_MAX: usize = 1_000_000;
/// What a row costs a transaction besides its key and value, in bytes.
pub const ROW_OVERHEAD_BYTES: usize = 16;
/// The most rows and ranges that one transaction may depend on.
pub const TRANSACTION_READS_MAX: usize = 100_000;
/// The length of a stamp at the end of a stamped row's key.
pub const STAMP_BYTES: usize = 8;

impl Write {
    /// The length of the key it sets or removes.
    pub(crate) fn key_bytes(&self) -> usize {
        match self {
            Self::Put { key, .. } | Self::Delete { key } => key.len(),
            Self::PutStamped { prefix, .. } => prefix.len() + STAMP_BYTES,
        }
    }

    fn value_bytes(&self) -> usize {
        match self {
            Self::Put { value, .. } | Self::PutStamped { value, .. } => value.len(),
            Self::Delete { .. } => 0,
        }
    }
}

impl CommitRequest {
    /// What its writes cost against [`TRANSACTION_BYTES_MAX`].
    pub(crate) fn write_bytes(&self) -> usize {
        self.writes.iter().map(|write| write.key_bytes() + write.value_bytes() + ROW_OVERHEAD_BYTES).sum()
    }

    /// Refuses what no engine has to take.
    pub(crate) fn check_limits(&self) -> Result<()> {
        let mut prefixes = BTreeSet::new();
        for write in &self.writes {
            let (key, value) = (write.key_bytes(), write.value_bytes());
            if key > KEY_BYTES_MAX {
                return Err(Error::KeyTooLong { bytes: key, limit: KEY_BYTES_MAX });
            }
            if value > VALUE_BYTES_MAX {
                return Err(Error::ValueTooLarge { bytes: value, limit: VALUE_BYTES_MAX });
            }
            if let Write::PutStamped { prefix, .. } = write
                && !prefixes.insert(prefix)
            {
                return Err(Error::StampedTwice { prefix: hex(prefix) });
            }
        }
        let bytes = self.write_bytes();
        if bytes > TRANSACTION_BYTES_MAX {
            return Err(Error::TransactionTooLarge { bytes, limit: TRANSACTION_BYTES_MAX });
        }
        let reads = self.reads.keys.len() + self.reads.ranges.len();
        if reads > TRANSACTION_READS_MAX {
            return Err(Error::TooManyReads { reads, limit: TRANSACTION_READS_MAX });
        }
        Ok(())
    }
}

/// A key as error texts show it.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        write!(text, "{byte:02x}").expect("writing into a String does not fail");
        text
    })
}
