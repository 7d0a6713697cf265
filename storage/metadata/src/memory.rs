//! `MemoryEngine`: rows in memory, gone with the process. For tests, and the reference the other engines are held to.
//!
//! Keeps the versions of a row that a living snapshot may still ask for, so that a snapshot costs nothing to take.

use crate::{Commit, CommitRequest, Engine, EngineSnapshot, Error, Result, Scan, ScanOrder, Write};
use async_trait::async_trait;
use bytes::Bytes;
use cistern_types::Receipt;
use parking_lot::Mutex;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

/// One row through time: commit stamp and value (`None`: removed), oldest first.
type Versions = Vec<(u64, Option<Bytes>)>;

/// Rows in memory. Cheap to clone; clones share the rows.
#[derive(Debug, Clone, Default)]
pub struct MemoryEngine {
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    rows: BTreeMap<Bytes, Versions>,
    /// The newest commit.
    stamp: u64,
    /// The newest commit of each table.
    written: BTreeMap<u8, u64>,
    /// Living snapshots: how many at each stamp.
    living: BTreeMap<u64, usize>,
    /// Writes that may have left an older version or a removed row behind, in commit order.
    stale: VecDeque<(u64, Bytes)>,
    /// Versions up to here may be gone: a commit that read earlier is lost.
    floor: u64,
    /// How often bytes of blobs were lost; receipts of earlier eras are worthless.
    lost_eras: u64,
}

impl MemoryEngine {
    /// No rows.
    pub fn new() -> Self {
        Self::default()
    }

    /// A receipt of the present era, as a blob store hands out for bytes that are not durable yet.
    pub fn receipt(&self) -> Receipt {
        Receipt::era(self.state.lock().lost_eras + 1)
    }

    /// Makes all receipts handed out so far worthless, as a failed write of the drive log does.
    pub fn lose_receipts(&self) {
        self.state.lock().lost_eras += 1;
    }
}

impl State {
    fn changed(&self, request: &CommitRequest) -> bool {
        let since = request.reads.stamp;
        let newer = |versions: &Versions| versions.last().is_some_and(|(stamp, _)| *stamp > since);
        since < self.floor
            || request.reads.keys.iter().any(|key| self.rows.get(key).is_some_and(newer))
            || request
                .reads
                .ranges
                .iter()
                .filter(|range| !range.is_empty())
                .any(|range| self.rows.range::<[u8], _>(range.bounds()).any(|(_, versions)| newer(versions)))
    }

    fn write(&mut self, key: Bytes, value: Option<Bytes>) {
        self.written.extend(key.first().map(|table| (*table, self.stamp)));
        let versions = self.rows.entry(key.clone()).or_default();
        versions.push((self.stamp, value));
        self.stale.push_back((self.stamp, key));
    }

    /// Forgets versions that no living snapshot can ask for.
    fn prune(&mut self) {
        let oldest = self.living.keys().next().copied().unwrap_or(self.stamp);
        while let Some((_, key)) = self.stale.pop_front_if(|(stamp, _)| *stamp <= oldest) {
            self.floor = oldest;
            if let Some(versions) = self.rows.get_mut(&key) {
                let needed = versions.iter().rposition(|(stamp, _)| *stamp <= oldest).unwrap_or(0);
                versions.drain(..needed);
                if matches!(versions[..], [(stamp, None)] if stamp <= oldest) {
                    self.rows.remove(&key);
                }
            }
        }
    }
}

#[async_trait]
impl Engine for MemoryEngine {
    async fn snapshot(&self) -> Result<Box<dyn EngineSnapshot>> {
        let mut state = self.state.lock();
        let stamp = state.stamp;
        *state.living.entry(stamp).or_default() += 1;
        Ok(Box::new(MemorySnapshot { stamp, state: Arc::clone(&self.state) }))
    }

    async fn commit(&self, request: CommitRequest) -> Result<Commit> {
        let mut state = self.state.lock();
        if state.changed(&request) {
            return Ok(Commit::Lost);
        }
        if request.requires.iter().filter_map(|receipt| receipt.as_era()).any(|era| era <= state.lost_eras) {
            return Err(Error::LostPrerequisite);
        }
        state.stamp += 1;
        let stamp = state.stamp;
        for write in request.writes {
            match write {
                Write::Put { key, value } => state.write(key, Some(value)),
                Write::Delete { key } => state.write(key, None),
                Write::PutStamped { prefix, value } => {
                    state.write([&prefix[..], &stamp.to_be_bytes()].concat().into(), Some(value));
                }
            }
        }
        state.prune();
        Ok(Commit::Committed { stamp })
    }

    fn written(&self, table: u8) -> u64 {
        self.state.lock().written.get(&table).copied().unwrap_or(0)
    }
}

#[derive(Debug)]
struct MemorySnapshot {
    stamp: u64,
    state: Arc<Mutex<State>>,
}

impl MemorySnapshot {
    fn seen(&self, versions: &Versions) -> Option<Bytes> {
        let (_, value) = versions.iter().rfind(|(stamp, _)| *stamp <= self.stamp)?;
        value.clone()
    }
}

#[async_trait]
impl EngineSnapshot for MemorySnapshot {
    fn stamp(&self) -> u64 {
        self.stamp
    }

    async fn get(&self, key: &[u8]) -> Result<Option<Bytes>> {
        Ok(self.state.lock().rows.get(key).and_then(|versions| self.seen(versions)))
    }

    async fn scan(&self, scan: &Scan) -> Result<Vec<(Bytes, Bytes)>> {
        if scan.range.is_empty() {
            return Ok(Vec::new());
        }
        let state = self.state.lock();
        let rows = state.rows.range::<[u8], _>(scan.range.bounds());
        let seen = |(key, versions): (&Bytes, &Versions)| Some((key.clone(), self.seen(versions)?));
        Ok(match scan.order {
            ScanOrder::Ascending => rows.filter_map(seen).take(scan.limit).collect(),
            ScanOrder::Descending => rows.rev().filter_map(seen).take(scan.limit).collect(),
        })
    }
}

impl Drop for MemorySnapshot {
    fn drop(&mut self) {
        let mut state = self.state.lock();
        if let Some(count) = state.living.get_mut(&self.stamp) {
            *count -= 1;
            if *count == 0 {
                state.living.remove(&self.stamp);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Store, conformance};

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn memory_is_an_engine() {
        conformance::run(Arc::new(MemoryEngine::new())).await;
    }

    #[tokio::test]
    async fn lost_receipts_are_refused() {
        let engine = MemoryEngine::new();
        let lost = engine.receipt();
        engine.lose_receipts();
        let good = engine.receipt();
        conformance::refuses_a_lost_receipt(Arc::new(engine), lost, good).await;
    }

    #[tokio::test]
    async fn versions_nobody_can_ask_for_are_forgotten() {
        let engine = MemoryEngine::new();
        let store = Store::new(Arc::new(engine.clone()));
        let held = store.begin().await.unwrap();
        for round in 0..100 {
            let mut txn = store.begin().await.unwrap();
            txn.put_raw("a".into(), Bytes::from(round.to_string()));
            txn.put_raw(format!("b{round}").into(), "1".into());
            txn.commit().await.unwrap();
            let mut txn = store.begin().await.unwrap();
            txn.delete_raw(format!("b{round}").into());
            txn.commit().await.unwrap();
        }
        assert_eq!(engine.state.lock().rows.values().map(Vec::len).sum::<usize>(), 300);
        drop(held);
        let mut txn = store.begin().await.unwrap();
        txn.put_raw("a".into(), "last".into());
        txn.commit().await.unwrap();
        drop(store.begin().await.unwrap());
        let mut txn = store.begin().await.unwrap();
        txn.put_raw("a".into(), "very last".into());
        txn.commit().await.unwrap();
        let state = engine.state.lock();
        assert_eq!(state.rows.len(), 1, "{:?}", state.rows);
        assert!(state.rows[&b"a"[..]].len() <= 2);
        assert!(state.stale.len() <= 1 && state.living.is_empty());
    }
}
