//! Lists against a naive model, and the work they do.

use super::*;
use crate::fixture::{House, body, bucket_spec, key};
use crate::{ListUploads, PutRequest};
use cistern_metadata::{Commit, CommitRequest, Engine, EngineSnapshot, MemoryEngine, Result as MetadataResult, Store};
use cistern_runtime::TestClock;
use proptest::prelude::*;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// What a list should answer, from the definition: entries in order, keys and prefixes.
fn naive(keys: &BTreeSet<String>, prefix: &str, delimiter: Option<&str>, after: Option<&str>) -> Vec<String> {
    let rolled = |key: &str| {
        let delimiter = delimiter.filter(|delimiter| !delimiter.is_empty())?;
        let rest = key.strip_prefix(prefix)?;
        Some(format!("{prefix}{}{delimiter}", rest.split_once(delimiter)?.0))
    };
    let mut entries: Vec<String> = Vec::new();
    for key in keys.iter().filter(|key| key.starts_with(prefix)) {
        if let Some(after) = after {
            let in_listed_prefix = rolled(after).as_deref() == Some(after) && key.starts_with(after);
            if &key[..] <= after || in_listed_prefix {
                continue;
            }
        }
        let entry = rolled(key).map_or(format!("key {key}"), |prefix| format!("prefix {prefix}"));
        if entries.last() != Some(&entry) {
            entries.push(entry);
        }
    }
    entries
}

fn entries(page: &ListPage) -> Vec<String> {
    let keys = page.objects.iter().map(|object| (object.key.to_string(), format!("key {}", object.key)));
    let prefixes = page.prefixes.iter().map(|prefix| (prefix.clone(), format!("prefix {prefix}")));
    let mut both: Vec<_> = keys.chain(prefixes).collect();
    both.sort();
    both.into_iter().map(|(_, entry)| entry).collect()
}

fn text(longest: usize) -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec!["a", "b", "/", "//", "é", "\0", "\u{1}", "\u{10ffff}", "ab"]);
    prop::collection::vec(piece, 0..=longest).prop_map(|pieces| pieces.concat())
}

fn house_with(keys: &BTreeSet<String>) -> (tokio::runtime::Runtime, House) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let house = runtime.block_on(async {
        let house = House::new().await;
        for name in keys {
            house.put(name, b"").await;
        }
        house
    });
    (runtime, house)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn pages_of_any_size_join_to_what_the_definition_says(
        keys in prop::collection::btree_set(text(5).prop_filter("a key is not empty", |key| !key.is_empty()), 0..40),
        prefix in text(2),
        delimiter in prop::option::of(prop::sample::select(vec!["/", "//", "b", "é", ""])),
        after in prop::option::of(text(4)),
        limit in 1usize..7,
    ) {
        let (runtime, house) = house_with(&keys);
        let expected = naive(&keys, &prefix, delimiter, after.as_deref());
        let mut request = ListRequest {
            prefix, delimiter: delimiter.map(Into::into), after, limit, ..ListRequest::all(house.bucket.clone())
        };
        let mut listed = Vec::new();
        loop {
            let page = runtime.block_on(house.objects.list(request.clone())).unwrap();
            let entries = entries(&page);
            prop_assert!(entries.len() <= limit);
            prop_assert_eq!(page.truncated(), listed.len() + entries.len() < expected.len());
            listed.extend(entries);
            match page.next {
                Some(next) => request.after = Some(next),
                None => break,
            }
        }
        prop_assert_eq!(listed, expected);
    }
}

fn nothing() -> ListPage {
    ListPage { objects: Vec::new(), prefixes: Vec::new(), next: None }
}

#[tokio::test]
async fn nothing_and_too_much_are_bounded() {
    let house = House::new().await;
    for i in 0..1001 {
        house.put(&format!("{i:04}"), b"").await;
    }
    let all = ListRequest::all(house.bucket.clone());
    let none = house.objects.list(ListRequest { limit: 0, ..all.clone() }).await.unwrap();
    assert_eq!(none, nothing());
    let page = house.objects.list(ListRequest { limit: 5000, ..all.clone() }).await.unwrap();
    assert_eq!((page.objects.len(), page.next.as_deref()), (1000, Some("0999")));
    let long = "k".repeat(5000);
    let after = ListRequest { after: Some(long.clone()), ..all.clone() };
    assert_eq!(house.objects.list(after).await.unwrap(), nothing());
    let first = ListRequest { after: Some(format!("0{long}")), limit: 1, ..all.clone() };
    assert_eq!(house.objects.list(first).await.unwrap().objects[0].key, key("1000"));
    let prefix = ListRequest { prefix: long, ..all.clone() };
    assert_eq!(house.objects.list(prefix).await.unwrap(), nothing());
    let nowhere = house.objects.list(ListRequest::all("nowhere".parse().unwrap())).await;
    assert!(matches!(nowhere, Err(crate::Error::NoSuchBucket { .. })));
}

/// An engine that counts the rows its scans answer.
#[derive(Debug)]
struct Counting {
    inner: MemoryEngine,
    rows: Arc<AtomicUsize>,
}

#[derive(Debug)]
struct CountingSnapshot {
    inner: Box<dyn EngineSnapshot>,
    rows: Arc<AtomicUsize>,
}

#[async_trait::async_trait]
impl Engine for Counting {
    async fn snapshot(&self) -> MetadataResult<Box<dyn EngineSnapshot>> {
        let (inner, rows) = (self.inner.snapshot().await?, Arc::clone(&self.rows));
        Ok(Box::new(CountingSnapshot { inner, rows }))
    }

    async fn commit(&self, request: CommitRequest) -> MetadataResult<Commit> {
        self.inner.commit(request).await
    }

    fn written(&self, table: u8) -> u64 {
        self.inner.written(table)
    }
}

#[async_trait::async_trait]
impl EngineSnapshot for CountingSnapshot {
    fn stamp(&self) -> u64 {
        self.inner.stamp()
    }

    async fn get(&self, key: &[u8]) -> MetadataResult<Option<Bytes>> {
        self.inner.get(key).await
    }

    async fn scan(&self, scan: &Scan) -> MetadataResult<Vec<(Bytes, Bytes)>> {
        let rows = self.inner.scan(scan).await?;
        self.rows.fetch_add(rows.len(), Ordering::SeqCst);
        Ok(rows)
    }
}

#[tokio::test]
async fn a_common_prefix_is_stepped_over_and_not_walked() {
    let rows = Arc::new(AtomicUsize::new(0));
    let engine = Counting { inner: MemoryEngine::new(), rows: Arc::clone(&rows) };
    let clock = Arc::new(TestClock::at(Timestamp::from_millis(1_700_000_000_000)));
    let blobs = Arc::new(cistern_blobs::MemoryBlobs::new(Arc::<TestClock>::clone(&clock)));
    let store = Store::new(Arc::new(engine));
    let objects = Objects::new(store, blobs, Arc::<TestClock>::clone(&clock), crate::Limits::default());
    let bucket = objects.create_bucket(bucket_spec("house")).await.unwrap().name;
    for folder in 0..20 {
        for file in 0..200 {
            let name = key(&format!("{folder:02}/{file}"));
            objects.put(PutRequest::new(bucket.clone(), name), body(b"")).await.unwrap();
        }
    }
    rows.store(0, Ordering::SeqCst);
    let request = ListRequest { delimiter: Some("/".into()), ..ListRequest::all(bucket) };
    let page = objects.list(request).await.unwrap();
    assert_eq!((page.prefixes.len(), page.objects.len(), page.next), (20, 0, None));
    let read = rows.load(Ordering::SeqCst);
    assert!(read <= 20 * SCAN_ROWS_MIN * SCAN_GROWTH, "{read} rows of 4000 were read");
}

#[tokio::test]
async fn open_uploads_are_listed_in_pages_by_key_and_the_order_they_were_begun() {
    let house = House::new().await;
    let mut expected = Vec::new();
    for name in ["a/1", "a/2", "b", "b", "b", "b", "b", "c"] {
        let upload = house.begin_upload(name).await;
        expected.push((name.to_owned(), upload.upload));
        house.clock.advance(Duration::from_millis(1));
    }
    let request = |key_marker: Option<String>, upload_marker, limit| ListUploads {
        key_marker,
        upload_marker,
        limit,
        ..house.all_uploads()
    };
    for limit in 1..=7 {
        let (mut listed, mut marker) = (Vec::new(), (None, None));
        loop {
            let page = house.objects.uploads(request(marker.0, marker.1, limit)).await.unwrap();
            assert!(page.uploads.len() <= limit);
            listed.extend(page.uploads.into_iter().map(|upload| (upload.key.to_string(), upload.upload)));
            let Some((key, upload)) = page.next else { break };
            marker = (Some(key), upload);
        }
        assert_eq!(listed, expected);
    }
    let after_b = house.objects.uploads(request(Some("b".into()), None, 9)).await.unwrap();
    assert_eq!(after_b.uploads.iter().map(|upload| upload.key.as_str()).collect::<Vec<_>>(), ["c"]);
    let rolled = ListUploads { delimiter: Some("/".into()), ..request(None, None, 1) };
    let page = house.objects.uploads(rolled).await.unwrap();
    assert_eq!((page.prefixes, page.next), (vec!["a/".to_owned()], Some(("a/".into(), None))));
}
