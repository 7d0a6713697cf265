//! Trying a transaction again when another one was faster.

use crate::{Error, Result};
use cistern_metadata::{Commit, Transaction};
use cistern_runtime::Backoff;
use std::time::Duration;

/// How often a transaction is tried before the caller is told to come back later.
const TRIES_MAX: u32 = 64;

/// This many tries follow one another at once: a lost commit means that another has won, so there is progress.
const TRIES_AT_ONCE: u32 = 4;

/// Counts the tries of one transaction and paces them.
pub(crate) struct Tries {
    made: u32,
    backoff: Backoff,
}

impl Tries {
    pub(crate) fn new() -> Self {
        Self { made: 0, backoff: Backoff::new(Duration::from_millis(1), Duration::from_millis(50)) }
    }

    /// Commits. `false`: it was overtaken, build it again from a new snapshot.
    pub(crate) async fn commit(&mut self, txn: Transaction) -> Result<bool> {
        match txn.commit().await? {
            Commit::Committed { .. } => Ok(true),
            Commit::Lost => {
                self.made += 1;
                if self.made == TRIES_MAX {
                    return Err(Error::TooMuchContention { tries: self.made });
                }
                if self.made >= TRIES_AT_ONCE {
                    self.backoff.pause().await;
                }
                Ok(false)
            }
        }
    }
}
