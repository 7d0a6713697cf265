//! What every engine must do, as one suite: [`run`] it against each implementation.
//!
//! It asks through [`Store`] and [`Transaction`] only, and each case keeps to its own keys, so the engine may hold rows
//! already. What concerns lost receipts depends on how an engine loses bytes: [`refuses_a_lost_receipt`] is called by
//! those that can.

use crate::{
    Commit, Engine, Error, KEY_BYTES_MAX, KeyRange, RowCache, RowValue, Scan, Store, TRANSACTION_BYTES_MAX, Table,
    Transaction, VALUE_BYTES_MAX,
};
use bytes::Bytes;
use cistern_types::Receipt;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::task::JoinSet;

/// How many transactions race in the cases about races.
const RACERS: u64 = 64;
/// How often a racer begins again before the case fails.
const TRIES_MAX: u64 = 10_000;

/// Runs every case. Needs a tokio runtime, better one with several threads.
///
/// # Panics
/// When the engine does not do as it must.
pub async fn run(engine: Arc<dyn Engine>) {
    let store = Store::new(engine);
    rows_are_what_was_last_committed(&store).await;
    a_transaction_sees_its_own_writes(&store).await;
    scans_merge_own_writes(&store).await;
    a_snapshot_never_changes(&store).await;
    a_changed_row_loses_the_commit(&store).await;
    a_changed_range_loses_the_commit(&store).await;
    what_was_not_looked_at_does_not_matter(&store).await;
    write_skew_is_refused(&store).await;
    blind_writes_never_lose(&store).await;
    stamped_rows_sort_in_commit_order(&store).await;
    stamped_rows_count_as_changes(&store).await;
    limits_are_kept(&store).await;
    an_empty_commit_does_nothing(&store).await;
    a_dropped_transaction_changes_nothing(&store).await;
    one_of_many_creators_wins(&store).await;
    racing_counters_lose_no_step(&store).await;
    racing_stamps_are_unique(&store).await;
    kept_rows_are_never_stale(&store).await;
}

/// A transaction that names a blob whose bytes were lost is refused and changes nothing; one with a receipt that still
/// holds commits.
///
/// # Panics
/// When the engine does not do as it must.
pub async fn refuses_a_lost_receipt(engine: Arc<dyn Engine>, lost: Receipt, good: Receipt) {
    let store = Store::new(engine);
    let mut txn = begin(&store).await;
    put(&mut txn, "receipt/lost", "1");
    txn.require(good);
    txn.require(lost);
    let refused = txn.commit().await;
    assert!(matches!(refused, Err(Error::LostPrerequisite)), "{refused:?}");
    let mut txn = begin(&store).await;
    assert_eq!(get(&mut txn, "receipt/lost").await, None);
    put(&mut txn, "receipt/good", "1");
    txn.require(good);
    txn.require(Receipt::DURABLE);
    win(txn).await;
    assert_eq!(read(&store, "receipt/good").await.as_deref(), Some("1"));
}

async fn begin(store: &Store) -> Transaction {
    store.begin().await.expect("a transaction can begin")
}

fn put(txn: &mut Transaction, key: &str, value: &str) {
    txn.put_raw(Bytes::copy_from_slice(key.as_bytes()), Bytes::copy_from_slice(value.as_bytes()));
}

fn delete(txn: &mut Transaction, key: &str) {
    txn.delete_raw(Bytes::copy_from_slice(key.as_bytes()));
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

async fn get(txn: &mut Transaction, key: &str) -> Option<String> {
    txn.get_raw(key.as_bytes()).await.expect("a row can be read").map(|value| text(&value))
}

async fn read(store: &Store, key: &str) -> Option<String> {
    get(&mut begin(store).await, key).await
}

/// Keys and values of the rows, `key=value`, separated by spaces.
fn shown(rows: &[(Bytes, Bytes)]) -> String {
    rows.iter().map(|(key, value)| format!("{}={}", text(key), text(value))).collect::<Vec<_>>().join(" ")
}

async fn scan(txn: &mut Transaction, scan: &Scan) -> String {
    shown(&txn.scan_raw(scan).await.expect("a range can be scanned"))
}

async fn win(txn: Transaction) -> u64 {
    match txn.commit().await.expect("a commit is decided") {
        Commit::Committed { stamp } => stamp,
        Commit::Lost => unreachable!("nobody else wrote what this transaction had read"),
    }
}

async fn lose(txn: Transaction) {
    assert_eq!(txn.commit().await.expect("a commit is decided"), Commit::Lost);
}

/// Commits puts (`key=value`) and removals (`key`) at once.
async fn write(store: &Store, changes: &[&str]) -> u64 {
    let mut txn = begin(store).await;
    for change in changes {
        match change.split_once('=') {
            Some((key, value)) => put(&mut txn, key, value),
            None => delete(&mut txn, change),
        }
    }
    win(txn).await
}

fn under(prefix: &str) -> KeyRange {
    KeyRange::prefix(prefix.as_bytes())
}

async fn rows_are_what_was_last_committed(store: &Store) {
    assert_eq!(read(store, "last/a").await, None);
    let first = write(store, &["last/a=1", "last/b=2", "last/empty="]).await;
    let second = write(store, &["last/a=3", "last/b"]).await;
    assert!(first < second, "stamps grow: {first} {second}");
    assert_eq!(read(store, "last/a").await.as_deref(), Some("3"));
    assert_eq!(read(store, "last/b").await, None);
    assert_eq!(read(store, "last/empty").await.as_deref(), Some(""));
    let mut txn = begin(store).await;
    assert!(txn.stamp() >= second);
    assert_eq!(scan(&mut txn, &Scan::first(under("last/"), 9)).await, "last/a=3 last/empty=");
    write(store, &["last/b=4"]).await;
    write(store, &["last/not-there"]).await;
    assert_eq!(read(store, "last/b").await.as_deref(), Some("4"));
}

async fn a_transaction_sees_its_own_writes(store: &Store) {
    write(store, &["own/a=1", "own/b=2"]).await;
    let mut txn = begin(store).await;
    put(&mut txn, "own/a", "x");
    delete(&mut txn, "own/b");
    put(&mut txn, "own/c", "y");
    assert_eq!(get(&mut txn, "own/a").await.as_deref(), Some("x"));
    assert_eq!(get(&mut txn, "own/b").await, None);
    assert_eq!(txn.peek_raw(b"own/c").await.expect("a row can be read").as_deref(), Some(&b"y"[..]));
    assert_eq!(read(store, "own/a").await.as_deref(), Some("1"), "nobody else sees them");
    win(txn).await;
    assert_eq!(read(store, "own/a").await.as_deref(), Some("x"));
}

async fn scans_merge_own_writes(store: &Store) {
    write(store, &["merge/a=1", "merge/b=2", "merge/c=3", "merge/d=4", "merge/e=5", "other=0"]).await;
    let mut txn = begin(store).await;
    for change in ["merge/b", "merge/c"] {
        delete(&mut txn, change);
    }
    put(&mut txn, "merge/bb", "x");
    put(&mut txn, "merge/d", "y");
    put(&mut txn, "merge/f", "z");
    let all = ["merge/a=1", "merge/bb=x", "merge/d=y", "merge/e=5", "merge/f=z"];
    for limit in 0..7 {
        let first: Vec<_> = all.into_iter().take(limit).collect();
        assert_eq!(scan(&mut txn, &Scan::first(under("merge/"), limit)).await, first.join(" "), "first {limit}");
        let last: Vec<_> = all.into_iter().rev().take(limit).collect();
        assert_eq!(scan(&mut txn, &Scan::last(under("merge/"), limit)).await, last.join(" "), "last {limit}");
    }
    let cut = under("merge/").after(b"merge/a").before(b"merge/e");
    assert_eq!(scan(&mut txn, &Scan::first(cut.clone(), 9)).await, "merge/bb=x merge/d=y");
    assert_eq!(scan(&mut txn, &Scan::last(cut, 1)).await, "merge/d=y");
    let backwards = KeyRange { start: "merge/e".into(), end: Some("merge/a".into()) };
    assert_eq!(scan(&mut txn, &Scan::first(backwards, 9)).await, "");
    assert_eq!(scan(&mut begin(store).await, &Scan::last(under("merge/"), 2)).await, "merge/e=5 merge/d=4");
}

async fn a_snapshot_never_changes(store: &Store) {
    write(store, &["still/a=1", "still/b=2", "still/c=3"]).await;
    let mut before = begin(store).await;
    for round in 0..20 {
        write(store, &[&format!("still/a={round}"), "still/b", &format!("still/d{round}=4")]).await;
        write(store, &["still/b=again"]).await;
    }
    assert_eq!(get(&mut before, "still/a").await.as_deref(), Some("1"));
    let all = "still/a=1 still/b=2 still/c=3";
    assert_eq!(scan(&mut before, &Scan::first(under("still/"), 99)).await, all);
    assert_eq!(scan(&mut before, &Scan::last(under("still/"), 2)).await, "still/c=3 still/b=2");
    assert_eq!(get(&mut before, "still/d7").await, None);
}

async fn a_changed_row_loses_the_commit(store: &Store) {
    write(store, &["row/a=1", "row/b=1"]).await;
    for (change, read_key) in [("row/a=2", "row/a"), ("row/b", "row/b"), ("row/new=1", "row/new"), ("row/a=2", "row/a")]
    {
        let mut txn = begin(store).await;
        get(&mut txn, read_key).await;
        put(&mut txn, "row/target", "never");
        write(store, &[change]).await;
        lose(txn).await;
        assert_eq!(read(store, "row/target").await, None, "a lost commit writes nothing");
    }
    let mut again = begin(store).await;
    assert_eq!(get(&mut again, "row/a").await.as_deref(), Some("2"), "the winner is visible to who begins again");
    put(&mut again, "row/target", "now");
    win(again).await;
}

async fn a_changed_range_loses_the_commit(store: &Store) {
    for change in ["range/b=2", "range/c", "range/bb=new", "range/a=0"] {
        write(store, &["range/a", "range/b=1", "range/bb", "range/c=1", "range/d=1"]).await;
        let mut txn = begin(store).await;
        scan(&mut txn, &Scan::first(under("range/").before(b"range/d"), 9)).await;
        put(&mut txn, "range-target", "never");
        write(store, &[change]).await;
        lose(txn).await;
    }
    let mut txn = begin(store).await;
    assert_eq!(scan(&mut txn, &Scan::first(under("nothing-here/"), 1)).await, "");
    put(&mut txn, "range-target", "never");
    write(store, &["nothing-here/now=1"]).await;
    lose(txn).await;
    assert_eq!(read(store, "range-target").await, None);
}

async fn what_was_not_looked_at_does_not_matter(store: &Store) {
    write(store, &["apart/a=1", "apart/b=1", "apart/c=1", "apart/d=1"]).await;
    let mut txn = begin(store).await;
    get(&mut txn, "apart/a").await;
    assert_eq!(scan(&mut txn, &Scan::first(under("apart/").after(b"apart/a"), 1)).await, "apart/b=1");
    txn.peek_raw(b"apart/c").await.expect("a row can be read");
    txn.scan_raw_unchecked(&Scan::first(under("apart/"), 9)).await.expect("a range can be scanned");
    put(&mut txn, "apart/d", "own");
    assert_eq!(get(&mut txn, "apart/d").await.as_deref(), Some("own"), "reading an own write depends on nobody");
    write(store, &["apart/aa=2", "apart/bb=2", "apart/c=2", "apart/d=2", "apart/e=2"]).await;
    lose(txn).await; // apart/aa is new in what the scan looked at
    let mut txn = begin(store).await;
    assert_eq!(scan(&mut txn, &Scan::last(under("apart/"), 1)).await, "apart/e=2");
    assert_eq!(scan(&mut txn, &Scan::first(under("apart/"), 1)).await, "apart/a=1");
    put(&mut txn, "apart/d", "own");
    assert_eq!(get(&mut txn, "apart/d").await.as_deref(), Some("own"));
    write(store, &["apart/aa=3", "apart/c=3", "apart/d=3", "apart/dd=3"]).await;
    win(txn).await;
    assert_eq!(read(store, "apart/d").await.as_deref(), Some("own"));
}

async fn write_skew_is_refused(store: &Store) {
    write(store, &["skew/a=on", "skew/b=on"]).await;
    let (mut one, mut two) = (begin(store).await, begin(store).await);
    for txn in [&mut one, &mut two] {
        assert_eq!(scan(txn, &Scan::first(under("skew/"), 9)).await, "skew/a=on skew/b=on");
    }
    put(&mut one, "skew/a", "off");
    put(&mut two, "skew/b", "off");
    win(one).await;
    lose(two).await;
}

async fn blind_writes_never_lose(store: &Store) {
    let (mut one, mut two) = (begin(store).await, begin(store).await);
    put(&mut one, "blind/a", "one");
    put(&mut two, "blind/a", "two");
    let second = win(two).await;
    let third = win(one).await;
    assert!(second < third);
    assert_eq!(read(store, "blind/a").await.as_deref(), Some("one"));
}

async fn stamped(store: &Store, prefix: &str, value: &str) -> u64 {
    let mut txn = begin(store).await;
    txn.put_stamped(Bytes::copy_from_slice(prefix.as_bytes()), Bytes::copy_from_slice(value.as_bytes()));
    win(txn).await
}

async fn stamped_rows_sort_in_commit_order(store: &Store) {
    let mut stamps = Vec::new();
    for value in ["a", "b", "c"] {
        stamps.push(stamped(store, "stamped/", value).await);
    }
    let mut txn = begin(store).await;
    let rows = txn.scan_raw(&Scan::first(under("stamped/"), 9)).await.expect("a range can be scanned");
    let keys: Vec<_> = stamps.iter().map(|stamp| [&b"stamped/"[..], &stamp.to_be_bytes()].concat()).collect();
    assert_eq!(rows.iter().map(|(key, _)| key.to_vec()).collect::<Vec<_>>(), keys);
    assert_eq!(rows.iter().map(|(_, value)| text(value)).collect::<String>(), "abc");
    txn.put_stamped("two/".into(), "x".into());
    txn.put_stamped("two/".into(), "y".into());
    let refused = txn.commit().await;
    assert!(matches!(refused, Err(Error::StampedTwice { .. })), "{refused:?}");
}

async fn stamped_rows_count_as_changes(store: &Store) {
    let mut txn = begin(store).await;
    scan(&mut txn, &Scan::first(under("counted/"), 9)).await;
    put(&mut txn, "counted-target", "never");
    stamped(store, "counted/", "new").await;
    lose(txn).await;
}

async fn limits_are_kept(store: &Store) {
    let fits = Bytes::from(vec![b'v'; VALUE_BYTES_MAX]);
    let refused = |key: Bytes, value: Bytes| async move {
        let mut txn = begin(store).await;
        txn.put_raw(key, value);
        txn.commit().await
    };
    let mut longest = b"limit/".to_vec();
    longest.resize(KEY_BYTES_MAX, b'k');
    assert!(matches!(refused(longest.clone().into(), fits.clone()).await, Ok(Commit::Committed { .. })));
    let found = begin(store).await.get_raw(&longest).await.expect("a row can be read");
    assert_eq!(found.as_ref(), Some(&fits));
    longest.push(b'k');
    assert!(matches!(refused(longest.into(), Bytes::new()).await, Err(Error::KeyTooLong { .. })));
    let too_large = Bytes::from(vec![b'v'; VALUE_BYTES_MAX + 1]);
    assert!(matches!(refused("limit/v".into(), too_large).await, Err(Error::ValueTooLarge { .. })));
    let (mut largest, mut too_large) = (begin(store).await, begin(store).await);
    let rows = TRANSACTION_BYTES_MAX / (VALUE_BYTES_MAX + 100);
    for row in 0..rows {
        largest.put_raw(format!("limit/{row}").into(), fits.clone());
    }
    for row in 0..=rows + 1 {
        too_large.put_raw(format!("limit/more{row}").into(), fits.clone());
    }
    win(largest).await;
    assert!(matches!(too_large.commit().await, Err(Error::TransactionTooLarge { .. })));
    assert_eq!(read(store, "limit/more0").await, None, "what is refused changes nothing");
}

async fn an_empty_commit_does_nothing(store: &Store) {
    write(store, &["empty/a=1"]).await;
    let mut txn = begin(store).await;
    get(&mut txn, "empty/a").await;
    write(store, &["empty/a=2"]).await;
    let stamp = txn.stamp();
    assert!(txn.is_empty());
    assert_eq!(win(txn).await, stamp, "it happened at the moment it read");
}

async fn a_dropped_transaction_changes_nothing(store: &Store) {
    let mut txn = begin(store).await;
    put(&mut txn, "dropped/a", "1");
    drop(txn);
    assert_eq!(read(store, "dropped/a").await, None);
}

/// Runs `racers` of `race`, each on its own task, and answers what they answer.
async fn race<T: Send + 'static, F>(store: &Store, race: impl Fn(Store, u64) -> F) -> Vec<T>
where
    F: Future<Output = T> + Send + 'static,
{
    let mut racers = JoinSet::new();
    for racer in 0..RACERS {
        racers.spawn(race(store.clone(), racer));
    }
    racers.join_all().await
}

async fn one_of_many_creators_wins(store: &Store) {
    let create = |store: Store, racer: u64| async move {
        for _ in 0..TRIES_MAX {
            let mut txn = begin(&store).await;
            if get(&mut txn, "create/a").await.is_some() {
                return false;
            }
            put(&mut txn, "create/a", &racer.to_string());
            if let Commit::Committed { .. } = txn.commit().await.expect("a commit is decided") {
                assert_eq!(read(&store, "create/a").await, Some(racer.to_string()), "the winner sees its row");
                return true;
            }
            assert!(read(&store, "create/a").await.is_some(), "who lost sees who won");
        }
        unreachable!("a retry makes progress")
    };
    let won = race(store, create).await;
    assert_eq!(won.iter().filter(|won| **won).count(), 1);
}

async fn racing_counters_lose_no_step(store: &Store) {
    write(store, &["count/a=0"]).await;
    let step = |store: Store, _| async move {
        for _ in 0..TRIES_MAX {
            let mut txn = begin(&store).await;
            let count: u64 = get(&mut txn, "count/a").await.expect("the row is there").parse().expect("a number");
            put(&mut txn, "count/a", &(count + 1).to_string());
            if let Commit::Committed { stamp } = txn.commit().await.expect("a commit is decided") {
                return (count, stamp);
            }
        }
        unreachable!("a retry makes progress")
    };
    let mut steps = race(store, step).await;
    steps.sort_unstable();
    assert_eq!(steps.iter().map(|(count, _)| *count).collect::<Vec<_>>(), (0..RACERS).collect::<Vec<_>>());
    assert!(steps.is_sorted_by(|(_, a), (_, b)| a < b), "stamps grow in commit order");
    assert_eq!(read(store, "count/a").await, Some(RACERS.to_string()));
}

async fn racing_stamps_are_unique(store: &Store) {
    let append = |store: Store, racer: u64| async move { stamped(&store, "racing/", &racer.to_string()).await };
    let mut stamps = race(store, append).await;
    stamps.sort_unstable();
    let mut txn = begin(store).await;
    let rows = txn.scan_raw(&Scan::first(under("racing/"), 999)).await.expect("a range can be scanned");
    let stored: Vec<_> = rows.iter().map(|(key, _)| key[b"racing/".len()..].to_vec()).collect();
    assert_eq!(stored, stamps.iter().map(|stamp| stamp.to_be_bytes().to_vec()).collect::<Vec<_>>());
    assert_eq!(stored.len() as u64, RACERS);
}

/// A row of the case about kept rows.
#[derive(Debug, Serialize, Deserialize)]
struct Count(u64);

impl RowValue for Count {
    const VERSION: u8 = 1;
}

const COUNTS: Table<u64, Count> = Table::new("counts", b'~');

/// Counters that are read through a [`RowCache`] while they grow: nobody sees one that is smaller than what was acknowledged
/// or seen before he asked.
async fn kept_rows_are_never_stale(store: &Store) {
    let cache = Arc::new(RowCache::new(COUNTS));
    let known = Arc::new(AtomicU64::new(0));
    let step = |store: Store, racer: u64| {
        let (cache, known) = (Arc::clone(&cache), Arc::clone(&known));
        async move {
            if racer.is_multiple_of(8) {
                for _ in 0..STEPS {
                    known.fetch_max(count_one_more(&store, &cache).await, Ordering::SeqCst);
                }
            }
            while known.load(Ordering::SeqCst) < STEPS * RACERS / 8 {
                let before = known.load(Ordering::SeqCst);
                let count = cache.read(&store, &1).await.expect("a row can be read").map_or(0, |row| row.0);
                assert!(count >= before, "{count} was read after {before} was known");
                known.fetch_max(count, Ordering::SeqCst);
                tokio::task::yield_now().await;
            }
        }
    };
    race(store, step).await;
}

/// How often each racer of [`kept_rows_are_never_stale`] counts.
const STEPS: u64 = 20;

async fn count_one_more(store: &Store, cache: &RowCache<u64, Count>) -> u64 {
    for _ in 0..TRIES_MAX {
        let mut txn = begin(store).await;
        let count = cache.get(&mut txn, &1).await.expect("a row can be read").map_or(1, |row| row.0 + 1);
        COUNTS.put(&mut txn, &1, &Count(count)).expect("a row can be written");
        if let Commit::Committed { .. } = txn.commit().await.expect("a commit is decided") {
            return count;
        }
    }
    unreachable!("a retry makes progress")
}
