//! Lists of versions against the definition.

use super::*;
use crate::DeleteItem;
use crate::fixture::{House, key};
use proptest::prelude::*;

fn request(house: &House, limit: usize) -> ListVersions {
    ListVersions {
        bucket: house.bucket.clone(),
        prefix: String::new(),
        delimiter: None,
        key_marker: None,
        version_marker: None,
        limit,
    }
}

fn shown(page: &VersionPage) -> Vec<String> {
    let version = |entry: &ListedVersion| match entry {
        ListedVersion::Object { object, version, latest } => (object.key.to_string(), format!("{version} {latest}")),
        ListedVersion::DeleteMarker { key, version, latest, .. } => {
            (key.to_string(), format!("{version} {latest} marker"))
        }
    };
    let mut entries: Vec<(String, usize, String)> =
        page.versions.iter().map(version).enumerate().map(|(at, (key, text))| (key, at, text)).collect();
    entries.extend(page.prefixes.iter().map(|prefix| (prefix.clone(), 0, "prefix".into())));
    entries.sort();
    entries.into_iter().map(|(key, _, text)| format!("{key} {text}")).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    /// What is rolled up, cut by prefixes and paged is the whole list, rolled up by the definition.
    #[test]
    fn pages_of_any_size_join_to_the_whole(
        writes in prop::collection::vec((prop::sample::select(vec!["a", "a/", "a/b", "a/c", "b", "b/é"]), 0u8..3), 0..25),
        prefix in prop::sample::select(vec!["", "a", "a/", "b", "c"]),
        delimiter in prop::option::of(Just("/")),
        limit in 1usize..5,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let house = House::new().await;
            house.put("a/b", b"null").await;
            house.objects.set_versioning(&house.bucket, true).await.unwrap();
            for (name, what) in &writes {
                if *what == 0 {
                    house.objects.delete(&house.bucket, &key(name)).await.unwrap();
                } else {
                    house.put(name, b"1").await;
                }
            }
            let whole = shown(&house.objects.versions(request(&house, 1000)).await.unwrap());
            let mut expected: Vec<String> = Vec::new();
            for entry in whole.iter().filter(|entry| entry.starts_with(prefix)) {
                let key = entry.split(' ').next().unwrap();
                let rolled = delimiter.and_then(|delimiter| {
                    let (inner, _) = key.strip_prefix(prefix)?.split_once(delimiter)?;
                    Some(format!("{prefix}{inner}{delimiter} prefix"))
                });
                let entry = rolled.unwrap_or_else(|| entry.clone());
                if expected.last() != Some(&entry) || !entry.ends_with("prefix") {
                    expected.push(entry);
                }
            }
            let mut listed = Vec::new();
            let mut next = ListVersions {
                prefix: prefix.into(), delimiter: delimiter.map(Into::into), ..request(&house, limit)
            };
            loop {
                let page = house.objects.versions(next.clone()).await.unwrap();
                let entries = shown(&page);
                assert!(entries.len() <= limit);
                listed.extend(entries);
                let Some((key, version)) = page.next else { break };
                next = ListVersions { key_marker: Some(key), version_marker: version, ..next };
            }
            assert_eq!(listed, expected);
        });
    }
}

#[tokio::test]
async fn a_page_goes_on_where_it_ended_when_that_version_was_removed() {
    for first_page in 1..=2 {
        let house = House::new().await;
        house.put("k", b"0").await;
        house.objects.set_versioning(&house.bucket, true).await.unwrap();
        for content in [b"1", b"2"] {
            house.put("k", content).await;
        }
        let whole = shown(&house.objects.versions(request(&house, 1000)).await.unwrap());
        let page = house.objects.versions(request(&house, first_page)).await.unwrap();
        let (key_marker, version_marker) = page.next.unwrap();
        let item = DeleteItem { version: version_marker, ..key("k").into() };
        house.objects.delete_one(&house.bucket, item).await.unwrap();
        let next = ListVersions { key_marker: Some(key_marker), version_marker, ..request(&house, 1000) };
        let rest = shown(&house.objects.versions(next).await.unwrap());
        let older = rest.iter().map(|entry| entry.split(' ').nth(1));
        assert!(older.eq(whole[first_page..].iter().map(|entry| entry.split(' ').nth(1))), "{rest:?} of {whole:?}");
    }
}

#[tokio::test]
async fn the_null_version_is_a_marker_like_any_other() {
    let house = House::new().await;
    house.put("k", b"0").await;
    house.objects.set_versioning(&house.bucket, true).await.unwrap();
    house.put("k", b"1").await;
    house.objects.set_versioning(&house.bucket, false).await.unwrap();
    let after_null =
        ListVersions { key_marker: Some("k".into()), version_marker: Some(VersionRef::Null), ..request(&house, 1000) };
    assert_eq!(shown(&house.objects.versions(after_null.clone()).await.unwrap()).len(), 0, "it is the oldest");
    house.put("k", b"2").await;
    let rest = shown(&house.objects.versions(after_null.clone()).await.unwrap());
    assert_eq!(rest.len(), 1, "now it is the newest: {rest:?}");
    let item = DeleteItem { version: Some(VersionRef::Null), ..key("k").into() };
    house.objects.delete_one(&house.bucket, item).await.unwrap();
    let rest = shown(&house.objects.versions(after_null).await.unwrap());
    assert_eq!(rest.len(), 1, "it is gone, so nothing is left out: {rest:?}");
}
