//! Producer ids: each is given out once, whatever crashes.

use crate::Result;
use crate::registry::Tries;
use crate::rows::{PRODUCER_IDS, ProducerIdsRow};
use cistern_objects::Objects;
use std::ops::Range;
use tokio::sync::Mutex;

/// How many ids are taken from the row at once; those that are not given out before the process ends are lost.
const BLOCK: i64 = 1_000;

/// The ids of this process.
#[derive(Debug, Default)]
pub(crate) struct ProducerIds(Mutex<Range<i64>>);

impl ProducerIds {
    /// The next id.
    pub(crate) async fn next(&self, objects: &Objects) -> Result<i64> {
        let mut block = self.0.lock().await;
        if block.is_empty() {
            *block = take_block(objects).await?;
        }
        let id = block.start;
        block.start += 1;
        Ok(id)
    }
}

async fn take_block(objects: &Objects) -> Result<Range<i64>> {
    let mut tries = Tries::new();
    loop {
        let mut txn = objects.store().begin().await?;
        let start = PRODUCER_IDS.get(&mut txn, &()).await?.map_or(1, |row| row.next);
        PRODUCER_IDS.put(&mut txn, &(), &ProducerIdsRow { next: start + BLOCK })?;
        if tries.commit(txn).await? {
            return Ok(start..start + BLOCK);
        }
    }
}
