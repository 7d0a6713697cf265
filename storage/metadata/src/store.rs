//! `Store` and `Transaction`: what every higher crate holds.
//!
//! A transaction reads one unchanging moment, gathers its writes in memory, sees them itself, and is decided as a whole
//! by [`Transaction::commit`]: of two that read what the other writes, one wins and the other begins again.

use crate::{Commit, CommitRequest, Engine, EngineSnapshot, ReadSet, Result, Scan, ScanOrder, Write};
use bytes::Bytes;
use cistern_types::Receipt;
use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

/// All rows. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Store {
    engine: Arc<dyn Engine>,
}

impl Store {
    /// The rows that `engine` holds.
    pub fn new(engine: Arc<dyn Engine>) -> Self {
        Self { engine }
    }

    /// Begins a transaction on the rows as they are now.
    pub async fn begin(&self) -> Result<Transaction> {
        let snapshot = self.engine.snapshot().await?;
        let reads = ReadSet { stamp: snapshot.stamp(), ..ReadSet::default() };
        Ok(Transaction {
            engine: Arc::clone(&self.engine),
            snapshot,
            reads,
            writes: BTreeMap::new(),
            stamped: Vec::new(),
            requires: Vec::new(),
        })
    }

    /// Begins a transaction that only reads. The same as [`Store::begin`], and never committed.
    pub async fn read(&self) -> Result<Transaction> {
        self.begin().await
    }

    /// [`Engine::written`] of a table.
    pub(crate) fn written(&self, table: u8) -> u64 {
        self.engine.written(table)
    }
}

/// One unit of reading and writing. Dropping it changes nothing.
#[derive(Debug)]
pub struct Transaction {
    engine: Arc<dyn Engine>,
    /// Held until the commit is decided: the engine remembers for its sake.
    snapshot: Box<dyn EngineSnapshot>,
    reads: ReadSet,
    /// What it sets (`Some`) and removes (`None`).
    writes: BTreeMap<Bytes, Option<Bytes>>,
    /// Prefix and value of rows whose key the commit completes.
    stamped: Vec<(Bytes, Bytes)>,
    requires: Vec<Receipt>,
}

impl Transaction {
    /// The value of one row, own writes included. The commit is lost if another commit changes it meanwhile.
    pub async fn get_raw(&mut self, key: &[u8]) -> Result<Option<Bytes>> {
        if let Some(own) = self.writes.get(key) {
            return Ok(own.clone());
        }
        let value = self.snapshot.get(key).await?;
        self.reads.keys.push(Bytes::copy_from_slice(key));
        Ok(value)
    }

    /// The same as [`Self::get_raw`], but whether another commit changes the row does not matter to this transaction.
    pub async fn peek_raw(&self, key: &[u8]) -> Result<Option<Bytes>> {
        match self.writes.get(key) {
            Some(own) => Ok(own.clone()),
            None => self.snapshot.get(key).await,
        }
    }

    /// Makes the commit be lost if another commit changes the row meanwhile.
    pub(crate) fn depend_on(&mut self, key: Bytes) {
        self.reads.keys.push(key);
    }

    /// [`Engine::written`] of a table; what this transaction writes itself is not part of it.
    pub(crate) fn written(&self, table: u8) -> u64 {
        self.engine.written(table)
    }

    /// Whether it has written a row of a table.
    pub(crate) fn writes_to(&self, table: u8) -> bool {
        let after = |bytes: &[u8]| bytes.first().is_some_and(|first| *first == table);
        let own = self.writes.range::<[u8], _>((Bound::Included(&[table][..]), Bound::Unbounded)).next();
        own.is_some_and(|(key, _)| after(key)) || self.stamped.iter().any(|(prefix, _)| after(prefix))
    }

    /// Rows of a range in order, merged with own writes (stamped ones, whose keys are not known yet, left out). The
    /// commit is lost if another commit changes, removes or adds a row of the part of the range that was looked at.
    pub async fn scan_raw(&mut self, scan: &Scan) -> Result<Vec<(Bytes, Bytes)>> {
        let rows = self.scan_raw_unchecked(scan).await?;
        let last = rows.last().map(|(key, _)| &key[..]);
        self.reads.ranges.extend(scan.seen(rows.len(), last).filter(|range| !range.is_empty()));
        Ok(rows)
    }

    /// The same as [`Self::scan_raw`], but what other commits do to the range does not matter to this transaction.
    pub async fn scan_raw_unchecked(&self, scan: &Scan) -> Result<Vec<(Bytes, Bytes)>> {
        if scan.range.is_empty() || scan.limit == 0 {
            return Ok(Vec::new());
        }
        let own: Vec<_> = self.writes.range::<[u8], _>(scan.range.bounds()).collect();
        if own.is_empty() {
            return self.snapshot.scan(scan).await;
        }
        // Own writes hide at most this many stored rows, so this many more are enough to fill the limit.
        let stored = self.snapshot.scan(&Scan { limit: scan.limit.saturating_add(own.len()), ..scan.clone() }).await?;
        let mut merged: BTreeMap<Bytes, Bytes> = stored.into_iter().collect();
        for (key, value) in own {
            match value {
                Some(value) => merged.insert(key.clone(), value.clone()),
                None => merged.remove(key),
            };
        }
        Ok(match scan.order {
            ScanOrder::Ascending => merged.into_iter().take(scan.limit).collect(),
            ScanOrder::Descending => merged.into_iter().rev().take(scan.limit).collect(),
        })
    }

    /// Sets a row. Limits are checked by [`Self::commit`].
    pub fn put_raw(&mut self, key: Bytes, value: Bytes) {
        self.writes.insert(key, Some(value));
    }

    /// Removes a row, present or not.
    pub fn delete_raw(&mut self, key: Bytes) {
        self.writes.insert(key, None);
    }

    /// Sets a row whose key is `prefix` and the commit's stamp, so that such rows sort in commit order. At most one a
    /// prefix; this transaction does not see it.
    pub fn put_stamped(&mut self, prefix: Bytes, value: Bytes) {
        self.stamped.push((prefix, value));
    }

    /// Says that the rows name a blob: they are not acknowledged without its bytes.
    pub fn require(&mut self, receipt: Receipt) {
        if receipt != Receipt::DURABLE {
            self.requires.push(receipt);
        }
    }

    /// The stamp of the moment it reads.
    pub fn stamp(&self) -> u64 {
        self.reads.stamp
    }

    /// Whether it has written nothing.
    pub fn is_empty(&self) -> bool {
        self.writes.is_empty() && self.stamped.is_empty()
    }

    /// Decides the transaction: all of it becomes durable and visible, or none.
    ///
    /// Without writes it answers the stamp it read at, without I/O. [`Commit::Lost`] means: begin again. An error of
    /// kind [`crate::ErrorKind::Unavailable`] leaves it open whether it happened; any other means it did not.
    pub async fn commit(self) -> Result<Commit> {
        if self.is_empty() {
            return Ok(Commit::Committed { stamp: self.reads.stamp });
        }
        let Self { engine, snapshot, reads, writes, stamped, requires } = self;
        let rows = writes.into_iter().map(|(key, value)| match value {
            Some(value) => Write::Put { key, value },
            None => Write::Delete { key },
        });
        let stamped = stamped.into_iter().map(|(prefix, value)| Write::PutStamped { prefix, value });
        let request = CommitRequest { reads, writes: rows.chain(stamped).collect(), requires };
        request.check_limits()?;
        let decided = engine.commit(request).await;
        drop(snapshot);
        decided
    }
}

#[cfg(test)]
mod tests;
