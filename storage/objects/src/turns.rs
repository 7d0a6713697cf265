//! Writers of one key take turns before they commit. Without that of many only the luckiest get through: each commit overtakes all others,
//! which begin again.
//!
//! Only what this process does: writers elsewhere, and changes of many keys at once, are still told apart by the transaction.

use cistern_types::{BucketName, ObjectKey};
use std::hash::{BuildHasher, RandomState};
use tokio::sync::{Mutex, MutexGuard};

/// Places to wait at. Two keys share one now and then, which costs the second a moment.
const PLACES: usize = 4096;

/// Who writes which key now.
#[derive(Debug)]
pub(crate) struct Turns {
    hasher: RandomState,
    places: Vec<Mutex<()>>,
}

impl Turns {
    /// Nobody writes.
    pub(crate) fn new() -> Self {
        Self { hasher: RandomState::new(), places: (0..PLACES).map(|_| Mutex::new(())).collect() }
    }

    /// Waits until all who came before have written the key. Nobody may wait for a second turn while holding one.
    pub(crate) async fn take(&self, bucket: &BucketName, key: &ObjectKey) -> MutexGuard<'_, ()> {
        let hash = self.hasher.hash_one((bucket.as_str(), key.as_str()));
        let place = usize::try_from(hash % PLACES as u64).expect("below the number of places");
        self.places[place].lock().await
    }
}
