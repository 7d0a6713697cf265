//! Lists: pages, delimiters and keys that are easily garbled on the way.

use super::{BUCKET, Store};
use aws_sdk_s3::operation::list_objects_v2::builders::ListObjectsV2FluentBuilder;

/// In the order of their bytes, as lists have them.
const KEYS: [&str; 20] = [
    " leading space",
    "#hash?query=1&x",
    "/",
    "/leading slash",
    "a b",
    "a+b",
    "a/",
    "a//b",
    "a/b/c",
    "a/b/d",
    "back\\slash",
    "dir/",
    "dir/line\nend",
    "dir/ü 日本/😀",
    "percent%41",
    "quote\"'<>&",
    "trailing space ",
    "~tilde",
    "ünï+ cödé",
    "日本",
];

async fn filled() -> Store {
    let store = Store::with_bucket().await;
    for key in KEYS {
        store.put(key, key.as_bytes()).await;
    }
    store
}

/// Keys and common prefixes of all pages.
async fn listed(asked: ListObjectsV2FluentBuilder, page_size: i32) -> (Vec<String>, Vec<String>) {
    let mut pages = asked.into_paginator().page_size(page_size).send();
    let (mut keys, mut prefixes) = (Vec::new(), Vec::new());
    while let Some(page) = pages.try_next().await.unwrap() {
        assert!(page.contents().len() + page.common_prefixes().len() <= usize::try_from(page_size).unwrap());
        keys.extend(page.contents().iter().map(|object| object.key().unwrap().to_owned()));
        prefixes.extend(page.common_prefixes().iter().map(|prefix| prefix.prefix().unwrap().to_owned()));
    }
    (keys, prefixes)
}

#[tokio::test]
async fn odd_keys_are_read_back_and_listed_in_order_in_pages_of_any_size() {
    let store = filled().await;
    assert!(KEYS.is_sorted());
    for key in KEYS {
        assert_eq!(store.get(key).await, key.as_bytes(), "{key:?}");
    }
    for page_size in [1, 3, 7, 1000] {
        let (keys, prefixes) = listed(store.client.list_objects_v2().bucket(BUCKET), page_size).await;
        assert_eq!(keys, KEYS, "pages of {page_size}");
        assert!(prefixes.is_empty());
    }
}

#[tokio::test]
async fn a_delimiter_groups_what_is_below_it() {
    let store = filled().await;
    for page_size in [1, 4, 1000] {
        let ask = || store.client.list_objects_v2().bucket(BUCKET).delimiter("/");
        let (keys, prefixes) = listed(ask(), page_size).await;
        assert_eq!(prefixes, ["/", "a/", "dir/"]);
        let top: Vec<&str> = KEYS.into_iter().filter(|key| !key.contains('/')).collect();
        assert_eq!(keys, top);
        let (keys, prefixes) = listed(ask().prefix("a/"), page_size).await;
        assert_eq!((keys, prefixes), (vec!["a/".to_owned()], vec!["a//".to_owned(), "a/b/".to_owned()]));
        let (keys, prefixes) = listed(ask().prefix("dir/ü 日本/"), page_size).await;
        assert_eq!((keys, prefixes), (vec!["dir/ü 日本/😀".to_owned()], vec![]));
        let (keys, prefixes) = listed(ask().prefix("a").delimiter("b"), page_size).await;
        assert_eq!(keys, ["a/"]);
        assert_eq!(prefixes, ["a b", "a+b", "a//b", "a/b"]);
    }
}

#[tokio::test]
async fn a_list_begins_behind_a_key_and_in_a_prefix() {
    let store = filled().await;
    let behind = store.client.list_objects_v2().bucket(BUCKET).start_after("percent%41");
    assert_eq!(listed(behind, 2).await.0, KEYS[15..]);
    let behind = store.client.list_objects_v2().bucket(BUCKET).prefix("dir/").start_after("dir/");
    assert_eq!(listed(behind, 1).await.0, ["dir/line\nend", "dir/ü 日本/😀"]);
    let nothing = store.client.list_objects_v2().bucket(BUCKET).prefix("nothing");
    assert!(listed(nothing, 1000).await.0.is_empty());
}
