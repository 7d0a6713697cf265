//! Deleting one and many.

use super::*;
use crate::fixture::{House, key};
use crate::{ChangeKind, Error};
use proptest::prelude::*;

#[tokio::test]
async fn deleting_what_is_not_there_succeeds_and_changes_nothing() {
    let house = House::new().await;
    let rows = house.rows().await;
    assert_eq!(house.objects.delete(&house.bucket, &key("k")).await.unwrap(), DeleteOutcome::default());
    assert_eq!(house.rows().await, rows);
    let nowhere = house.objects.delete(&"nowhere".parse().unwrap(), &key("k")).await;
    assert!(matches!(nowhere, Err(Error::NoSuchBucket { .. })));
}

#[tokio::test]
async fn many_are_deleted_in_order_with_long_keys_and_repeated_ones() {
    let house = House::new().await;
    let name = |i: usize| format!("{i:04}{}", "x".repeat(if i.is_multiple_of(3) { 1020 } else { 0 }));
    for i in 0..600 {
        house.put(&name(i), b"1").await;
    }
    let mut keys: Vec<_> = (0..700).map(|i| key(&name(i))).collect();
    keys.push(key(&name(0)));
    let items: Vec<DeleteItem> = keys.iter().cloned().map(DeleteItem::from).collect();
    let answers = house.objects.delete_many(&house.bucket, items).await.unwrap();
    assert_eq!(answers.iter().map(|(item, _)| &item.key).collect::<Vec<_>>(), keys.iter().collect::<Vec<_>>());
    let found = answers.iter().filter(|(_, answer)| answer.as_ref().unwrap().version.is_some()).count();
    assert_eq!((found, house.keys().await.len()), (600, 0));
    let bucket = house.objects.bucket(&house.bucket).await.unwrap().id;
    let log = house.objects.changes(bucket, None, 10_000).await.unwrap();
    let changes = log.iter().flat_map(|commit| &commit.changes);
    let deleted = changes.filter(|change| change.cause.kind() == ChangeKind::Deleted).count();
    assert_eq!(deleted, 600);
    assert!(house.objects.delete_many(&"nowhere".parse().unwrap(), vec![key("k").into()]).await.is_err());
    assert!(house.objects.delete_many(&house.bucket, vec![]).await.unwrap().is_empty());
}

proptest! {
    #[test]
    fn transactions_cover_all_keys_in_order_and_are_bounded(lengths in prop::collection::vec(1usize..1024, 0..900)) {
        let keys: Vec<DeleteItem> = lengths.iter().map(|length| key(&"k".repeat(*length)).into()).collect();
        let mut at = 0;
        for range in transactions_of(&keys) {
            prop_assert_eq!(range.start, at);
            at = range.end;
            prop_assert!(range.len() <= KEYS_PER_TRANSACTION);
            prop_assert!(lengths[range].iter().sum::<usize>() <= KEY_BYTES_PER_TRANSACTION);
        }
        prop_assert_eq!(at, keys.len());
    }
}
