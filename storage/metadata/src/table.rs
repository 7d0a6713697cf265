//! `Table`: typed rows over a transaction.
//!
//! ```text
//! key    [table id, 1 byte][RowKey encoding]
//! value  [RowValue::VERSION, 1 byte][postcard]
//! ```

use crate::limits::hex;
use crate::row_key::{RowKey, encode_text_prefix};
use crate::{Error, KeyRange, Result, Scan, Transaction};
use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt;
use std::marker::PhantomData;

/// A value of a table.
pub trait RowValue: Serialize + DeserializeOwned {
    /// The version of its shape, stored in front of it. A row of another version is not decoded.
    const VERSION: u8;
}

/// A table: a key type, a value type and the byte its keys begin with.
///
/// Made as a constant, one for each kind of row. Ids are given out once: 0x10 to 0x2f objects, 0x30 to 0x37 access, 0x40
/// to 0x5f pipelines, from 0x60 the server.
pub struct Table<K, V> {
    name: &'static str,
    id: u8,
    rows: PhantomData<fn() -> (K, V)>,
}

impl<K, V> Clone for Table<K, V> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<K, V> Copy for Table<K, V> {}

impl<K, V> fmt::Debug for Table<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Table({} {:#04x})", self.name, self.id)
    }
}

impl<K: RowKey, V: RowValue> Table<K, V> {
    /// The table `name` (for error texts), whose keys begin with `id`.
    pub const fn new(name: &'static str, id: u8) -> Self {
        Self { name, id, rows: PhantomData }
    }

    /// The byte its keys begin with.
    pub(crate) fn id(&self) -> u8 {
        self.id
    }

    /// Its name, for messages.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// The bytes of a row's key.
    pub fn key_bytes(&self, key: &K) -> Bytes {
        self.prefix_bytes(key).into()
    }

    /// All its rows.
    pub fn range(&self) -> KeyRange {
        KeyRange::prefix(&[self.id])
    }

    /// The rows whose key begins with `prefix`: the first members of a tuple key.
    pub fn prefix_range<P: RowKey>(&self, prefix: &P) -> KeyRange {
        KeyRange::prefix(&self.prefix_bytes(prefix))
    }

    /// The rows whose key begins with `prefix` and then has a text that begins with `text`.
    pub fn text_range<P: RowKey>(&self, prefix: &P, text: &str) -> KeyRange {
        let mut bytes = self.prefix_bytes(prefix);
        encode_text_prefix(text, &mut bytes);
        KeyRange::prefix(&bytes)
    }

    /// One row. The commit is lost if another commit changes it meanwhile.
    pub async fn get(&self, txn: &mut Transaction, key: &K) -> Result<Option<V>> {
        let key = self.key_bytes(key);
        txn.get_raw(&key).await?.map(|value| self.decode_value(&key, &value)).transpose()
    }

    /// One row; whether another commit changes it does not matter to the transaction.
    pub async fn peek(&self, txn: &Transaction, key: &K) -> Result<Option<V>> {
        let key = self.key_bytes(key);
        txn.peek_raw(&key).await?.map(|value| self.decode_value(&key, &value)).transpose()
    }

    /// Sets a row.
    pub fn put(&self, txn: &mut Transaction, key: &K, value: &V) -> Result<()> {
        txn.put_raw(self.key_bytes(key), self.encode_value(value)?);
        Ok(())
    }

    /// Removes a row, present or not.
    pub fn delete(&self, txn: &mut Transaction, key: &K) {
        txn.delete_raw(self.key_bytes(key));
    }

    /// Rows in order. The range is one of this table's, cut with [`KeyRange::after`] and the like. The commit is lost if
    /// another commit changes, removes or adds a row of the part that was looked at.
    pub async fn scan(&self, txn: &mut Transaction, scan: &Scan) -> Result<Vec<(K, V)>> {
        self.assert_own(scan);
        let rows = txn.scan_raw(scan).await?;
        rows.iter().map(|(key, value)| self.decode_row(key, value)).collect()
    }

    /// The same as [`Self::scan`]; what other commits do to the range does not matter to the transaction.
    pub async fn scan_unchecked(&self, txn: &Transaction, scan: &Scan) -> Result<Vec<(K, V)>> {
        self.assert_own(scan);
        let rows = txn.scan_raw_unchecked(scan).await?;
        rows.iter().map(|(key, value)| self.decode_row(key, value)).collect()
    }

    fn assert_own(&self, scan: &Scan) {
        assert_eq!(scan.range.start.first(), Some(&self.id), "a scan of table {} begins in it", self.name);
    }

    fn prefix_bytes<P: RowKey>(&self, prefix: &P) -> Vec<u8> {
        let mut bytes = vec![self.id];
        prefix.encode(&mut bytes);
        bytes
    }

    fn encode_value(&self, value: &V) -> Result<Bytes> {
        let bytes = postcard::to_extend(value, vec![V::VERSION]);
        bytes.map(Bytes::from).map_err(|source| Error::EncodeRow { table: self.name, source })
    }

    fn decode_row(&self, key: &[u8], value: &[u8]) -> Result<(K, V)> {
        Ok((self.decode_key(key)?, self.decode_value(key, value)?))
    }

    /// The key of a row of a raw scan.
    pub fn decode_key(&self, key: &[u8]) -> Result<K> {
        let (_, own) = key.split_first().ok_or_else(|| self.corrupt(key))?;
        K::decode(own).ok_or_else(|| self.corrupt(key))
    }

    /// The value of a row of a raw scan, whose key is `key`.
    pub fn decode_value(&self, key: &[u8], value: &[u8]) -> Result<V> {
        match postcard::take_from_bytes(self.body(key, value)?) {
            Ok((value, [])) => Ok(value),
            _ => Err(self.corrupt(key)),
        }
    }

    /// The fields that the value of a row of a raw scan begins with, as far as `H` has them. What follows is not looked at.
    pub fn decode_head<H: DeserializeOwned>(&self, key: &[u8], value: &[u8]) -> Result<H> {
        let head = postcard::take_from_bytes(self.body(key, value)?);
        head.map(|(head, _)| head).map_err(|_| self.corrupt(key))
    }

    fn body<'v>(&self, key: &[u8], value: &'v [u8]) -> Result<&'v [u8]> {
        let (version, body) = value.split_first().ok_or_else(|| self.corrupt(key))?;
        if *version == V::VERSION {
            Ok(body)
        } else {
            Err(Error::UnknownRowVersion { table: self.name, version: *version })
        }
    }

    fn corrupt(&self, key: &[u8]) -> Error {
        Error::CorruptRow { table: self.name, key: hex(key) }
    }
}

impl<P: RowKey, V: RowValue> Table<(P, u64), V> {
    /// Sets a row under `prefix` whose number is the commit's stamp, so that the rows of a prefix sort in commit order.
    /// At most one a prefix and transaction; the transaction does not see it.
    pub fn put_stamped(&self, txn: &mut Transaction, prefix: &P, value: &V) -> Result<()> {
        txn.put_stamped(self.prefix_bytes(prefix).into(), self.encode_value(value)?);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Commit, MemoryEngine, Store};
    use cistern_types::ObjectKey;
    use serde::Deserialize;
    use std::sync::Arc;

    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    struct Record {
        size: u64,
        note: String,
    }

    impl RowValue for Record {
        const VERSION: u8 = 3;
    }

    const OBJECTS: Table<(u8, ObjectKey), Record> = Table::new("objects", 0x10);
    const CHANGES: Table<(u8, u64), Record> = Table::new("changes", 0x11);

    fn key(bucket: u8, text: &str) -> (u8, ObjectKey) {
        (bucket, text.parse().unwrap())
    }

    fn record(size: u64) -> Record {
        Record { size, note: "x".repeat(3) }
    }

    async fn filled() -> Store {
        let store = Store::new(Arc::new(MemoryEngine::new()));
        let mut txn = store.begin().await.unwrap();
        for (size, (bucket, text)) in
            [(1, "a"), (1, "a\0"), (1, "a/b"), (1, "b"), (2, "a"), (2, "\u{ff}")].iter().enumerate()
        {
            OBJECTS.put(&mut txn, &key(*bucket, text), &record(size as u64)).unwrap();
        }
        CHANGES.put_stamped(&mut txn, &1, &record(7)).unwrap();
        txn.commit().await.unwrap();
        store
    }

    #[track_caller]
    fn check(rows: &[((u8, ObjectKey), Record)], expected: &str) {
        let shown = |((_, key), record): &((u8, ObjectKey), Record)| {
            format!("{}={}", key.as_str().escape_default(), record.size)
        };
        let shown: Vec<_> = rows.iter().map(shown).collect();
        assert_eq!(shown.join(" "), expected);
    }

    #[tokio::test]
    async fn rows_come_back_in_the_order_of_their_keys() {
        let store = filled().await;
        let mut txn = store.begin().await.unwrap();
        assert_eq!(OBJECTS.get(&mut txn, &key(1, "a/b")).await.unwrap(), Some(record(2)));
        assert_eq!(OBJECTS.peek(&txn, &key(3, "a")).await.unwrap(), None);
        let one = OBJECTS.prefix_range(&1_u8);
        check(&OBJECTS.scan(&mut txn, &Scan::first(one.clone(), 9)).await.unwrap(), r"a=0 a\u{0}=1 a/b=2 b=3");
        let page = one.after(&OBJECTS.key_bytes(&key(1, "a")));
        check(&OBJECTS.scan(&mut txn, &Scan::first(page, 2)).await.unwrap(), r"a\u{0}=1 a/b=2");
        let beginning = OBJECTS.text_range(&1_u8, "a");
        check(&OBJECTS.scan_unchecked(&txn, &Scan::last(beginning, 2)).await.unwrap(), r"a/b=2 a\u{0}=1");
        check(&OBJECTS.scan(&mut txn, &Scan::last(OBJECTS.range(), 1)).await.unwrap(), r"\u{ff}=5");
        OBJECTS.delete(&mut txn, &key(2, "a"));
        check(&OBJECTS.scan(&mut txn, &Scan::first(OBJECTS.prefix_range(&2_u8), 9)).await.unwrap(), r"\u{ff}=5");
        assert!(matches!(txn.commit().await.unwrap(), Commit::Committed { stamp: 2 }));
        let mut txn = store.begin().await.unwrap();
        let changes = CHANGES.scan(&mut txn, &Scan::first(CHANGES.prefix_range(&1_u8), 9)).await.unwrap();
        assert_eq!(changes, [((1, 1), record(7))]);
    }

    async fn read_of(value: &[u8]) -> Result<Option<Record>> {
        let store = Store::new(Arc::new(MemoryEngine::new()));
        let mut txn = store.begin().await.unwrap();
        txn.put_raw(OBJECTS.key_bytes(&key(1, "a")), Bytes::copy_from_slice(value));
        OBJECTS.get(&mut txn, &key(1, "a")).await
    }

    #[tokio::test]
    async fn damaged_rows_are_errors_that_name_table_and_key() {
        let good = OBJECTS.encode_value(&record(1)).unwrap();
        assert_eq!(read_of(&good).await.unwrap(), Some(record(1)));
        let mut newer = good.to_vec();
        newer[0] = 4;
        assert!(matches!(read_of(&newer).await, Err(Error::UnknownRowVersion { table: "objects", version: 4 })));
        let mut longer = good.to_vec();
        longer.push(0);
        for bad in [&b""[..], &good[..good.len() - 1], &longer] {
            let error = read_of(bad).await.unwrap_err();
            assert!(matches!(error, Error::CorruptRow { .. }), "{error:?}");
            assert_eq!(error.to_string(), "read row 1001610001 of table objects: its bytes do not decode");
        }
    }

    #[tokio::test]
    async fn a_row_with_a_damaged_key_is_an_error() {
        let store = Store::new(Arc::new(MemoryEngine::new()));
        let mut txn = store.begin().await.unwrap();
        txn.put_raw(vec![0x10, 1].into(), OBJECTS.encode_value(&record(1)).unwrap());
        let rows = OBJECTS.scan(&mut txn, &Scan::first(OBJECTS.range(), 9)).await;
        assert!(matches!(rows, Err(Error::CorruptRow { .. })), "{rows:?}");
    }
}
