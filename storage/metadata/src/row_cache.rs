//! `RowCache`: the decoded rows of a table that nearly every request reads and hardly any writes.
//!
//! Rows are kept for as long as nobody writes to their table. [`Engine::written`](crate::Engine::written) says when that was
//! last, commits that are on their way included, so what is answered is what a new snapshot would say.
//!
//! ```text
//! written(table)  17          17          ∞ (a commit is being ordered)   23          23
//! row             read at 20  kept: hit   miss                            read at 25  kept: hit
//! ```

use crate::row_key::RowKey;
use crate::{Result, RowValue, Store, Table, Transaction};
use parking_lot::RwLock;
use std::collections::HashMap;
use std::fmt;
use std::hash::Hash;
use std::sync::Arc;

/// More rows than this are not kept: all are forgotten, and those that are asked for come back.
const ROWS_MAX: usize = 4096;

/// A table with its rows in memory, as far as they were asked for.
pub struct RowCache<K, V> {
    table: Table<K, V>,
    kept: RwLock<Kept<K, V>>,
}

/// What the rows are since the table was last written.
struct Kept<K, V> {
    written: u64,
    rows: HashMap<K, Arc<V>>,
}

impl<K, V> fmt::Debug for RowCache<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RowCache").field("table", &self.table).finish_non_exhaustive()
    }
}

impl<K, V> RowCache<K, V>
where
    K: RowKey + Clone + Eq + Hash + Send + Sync,
    V: RowValue + Send + Sync,
{
    /// Keeps rows of `table`. All its users ask one store.
    pub fn new(table: Table<K, V>) -> Self {
        Self { table, kept: RwLock::new(Kept { written: 0, rows: HashMap::new() }) }
    }

    /// One row as it is now.
    pub async fn read(&self, store: &Store, key: &K) -> Result<Option<Arc<V>>> {
        match self.find(store.written(self.table.id()), key) {
            Some(row) => Ok(Some(row)),
            None => self.peek(&store.read().await?, key).await,
        }
    }

    /// One row as [`Table::get`] answers it. The commit is lost if another commit changes it meanwhile.
    pub async fn get(&self, txn: &mut Transaction, key: &K) -> Result<Option<Arc<V>>> {
        if let Some(row) = self.find_at(txn, key) {
            txn.depend_on(self.table.key_bytes(key));
            return Ok(Some(row));
        }
        let row = self.table.get(txn, key).await?;
        Ok(row.map(|row| self.keep(txn, key, row)))
    }

    /// One row as [`Table::peek`] answers it: whether another commit changes it does not matter to the transaction.
    pub async fn peek(&self, txn: &Transaction, key: &K) -> Result<Option<Arc<V>>> {
        if let Some(row) = self.find_at(txn, key) {
            return Ok(Some(row));
        }
        let row = self.table.peek(txn, key).await?;
        Ok(row.map(|row| self.keep(txn, key, row)))
    }

    fn find(&self, written: u64, key: &K) -> Option<Arc<V>> {
        let kept = self.kept.read();
        kept.rows.get(key).filter(|_| kept.written == written).cloned()
    }

    /// The row as of the transaction's snapshot: its own writes are not among what is kept.
    fn find_at(&self, txn: &Transaction, key: &K) -> Option<Arc<V>> {
        let written = self.unchanged_since(txn)?;
        self.find(written, key)
    }

    /// When the table was last written, if the transaction sees that and has not written it itself.
    fn unchanged_since(&self, txn: &Transaction) -> Option<u64> {
        let written = txn.written(self.table.id());
        (written <= txn.stamp() && !txn.writes_to(self.table.id())).then_some(written)
    }

    fn keep(&self, txn: &Transaction, key: &K, row: V) -> Arc<V> {
        let row = Arc::new(row);
        if let Some(written) = self.unchanged_since(txn) {
            let mut kept = self.kept.write();
            if kept.written < written || kept.rows.len() == ROWS_MAX {
                *kept = Kept { written: kept.written.max(written), rows: HashMap::new() };
            }
            if kept.written == written {
                kept.rows.insert(key.clone(), Arc::clone(&row));
            }
        }
        row
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Commit, MemoryEngine};
    use serde::{Deserialize, Serialize};

    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    struct Record(u64);

    impl RowValue for Record {
        const VERSION: u8 = 1;
    }

    const TABLE: Table<String, Record> = Table::new("cached", 0x10);
    const OTHER: Table<String, Record> = Table::new("other", 0x11);

    fn house() -> (Store, RowCache<String, Record>) {
        (Store::new(Arc::new(MemoryEngine::new())), RowCache::new(TABLE))
    }

    async fn set(store: &Store, table: Table<String, Record>, key: &str, number: u64) {
        let mut txn = store.begin().await.unwrap();
        table.put(&mut txn, &key.to_owned(), &Record(number)).unwrap();
        assert!(matches!(txn.commit().await.unwrap(), Commit::Committed { .. }));
    }

    async fn read(store: &Store, cache: &RowCache<String, Record>, key: &str) -> Option<u64> {
        cache.read(store, &key.to_owned()).await.unwrap().map(|row| row.0)
    }

    #[tokio::test]
    async fn a_row_is_kept_until_its_table_is_written() {
        let (store, cache) = house();
        set(&store, TABLE, "a", 1).await;
        assert_eq!((read(&store, &cache, "a").await, read(&store, &cache, "b").await), (Some(1), None));
        set(&store, OTHER, "a", 9).await;
        let first = cache.read(&store, &"a".to_owned()).await.unwrap().unwrap();
        let second = cache.read(&store, &"a".to_owned()).await.unwrap().unwrap();
        assert!(Arc::ptr_eq(&first, &second), "another table's rows do not matter");
        set(&store, TABLE, "b", 2).await;
        assert_eq!((read(&store, &cache, "a").await, read(&store, &cache, "b").await), (Some(1), Some(2)));
        set(&store, TABLE, "a", 3).await;
        assert_eq!((read(&store, &cache, "a").await, read(&store, &cache, "b").await), (Some(3), Some(2)));
    }

    #[tokio::test]
    async fn a_transaction_sees_its_moment_and_its_own_writes() {
        let (store, cache) = house();
        let key = "a".to_owned();
        set(&store, TABLE, "a", 1).await;
        let old = store.begin().await.unwrap();
        set(&store, TABLE, "a", 2).await;
        assert_eq!(read(&store, &cache, "a").await, Some(2));
        assert_eq!(*cache.peek(&old, &key).await.unwrap().unwrap(), Record(1));
        assert_eq!(read(&store, &cache, "a").await, Some(2), "what an old snapshot sees is not kept");
        let mut txn = store.begin().await.unwrap();
        assert_eq!(*cache.get(&mut txn, &key).await.unwrap().unwrap(), Record(2));
        TABLE.put(&mut txn, &key, &Record(3)).unwrap();
        assert_eq!(*cache.get(&mut txn, &key).await.unwrap().unwrap(), Record(3));
        assert_eq!(read(&store, &cache, "a").await, Some(2), "what is not committed is not kept");
    }

    #[tokio::test]
    async fn a_commit_depends_on_a_row_that_was_kept() {
        let (store, cache) = house();
        set(&store, TABLE, "a", 1).await;
        assert_eq!(read(&store, &cache, "a").await, Some(1));
        let mut txn = store.begin().await.unwrap();
        assert_eq!(*cache.get(&mut txn, &"a".to_owned()).await.unwrap().unwrap(), Record(1));
        OTHER.put(&mut txn, &"x".to_owned(), &Record(1)).unwrap();
        set(&store, TABLE, "a", 2).await;
        assert_eq!(txn.commit().await.unwrap(), Commit::Lost);
    }

    #[tokio::test]
    async fn what_is_kept_is_bounded() {
        let (store, cache) = house();
        let mut txn = store.begin().await.unwrap();
        for number in 0..=ROWS_MAX as u64 {
            TABLE.put(&mut txn, &number.to_string(), &Record(number)).unwrap();
        }
        txn.commit().await.unwrap();
        for number in 0..=ROWS_MAX as u64 {
            assert_eq!(read(&store, &cache, &number.to_string()).await, Some(number));
        }
        assert_eq!(cache.kept.read().rows.len(), 1);
    }
}
