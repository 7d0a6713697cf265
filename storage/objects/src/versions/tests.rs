//! What the model of `model.rs` does not reach: conditions and copies on versions.

use crate::fixture::{House, body, key};
use crate::{
    ChangeCause, Conditions, DeleteConditions, DeleteItem, DeleteOutcome, Error, PutRequest, TagList, VersionRef,
    Versioning,
};
use cistern_types::Timestamp;

#[tokio::test]
async fn conditions_judge_the_current_object_and_a_delete_marker_is_none() {
    let house = House::new().await;
    house.objects.set_versioning(&house.bucket, true).await.unwrap();
    let first = house.put("k", b"1").await;
    let create = |house: &House| PutRequest { conditions: Conditions::create_only(), ..house.put_request("k") };
    house.objects.put(create(&house), body(b"2")).await.unwrap_err();
    house.objects.delete(&house.bucket, &key("k")).await.unwrap();
    let matching = Conditions { if_match: Some(TagList::OneOf(vec![first.etag])), ..Conditions::default() };
    let request = PutRequest { conditions: matching, ..house.put_request("k") };
    let answer = house.objects.put(request, body(b"2")).await;
    assert!(matches!(answer, Err(Error::NoSuchKey { .. })), "{answer:?}");
    house.objects.put(create(&house), body(b"2")).await.unwrap();
    let old = house.read_version("k", first.shown_version).await.unwrap();
    assert_eq!(old, b"1");
}

#[tokio::test]
async fn deletes_have_conditions_on_what_they_delete() {
    let house = House::new().await;
    house.objects.set_versioning(&house.bucket, true).await.unwrap();
    let old = house.put("k", b"old").await;
    let now = house.put("k", b"newer").await;
    let tag = |etag| Some(TagList::OneOf(vec![etag]));
    let other_time = Some(Timestamp::from_millis(5_000));
    for (version, conditions, fine) in [
        (None, DeleteConditions { if_match: tag(old.etag), ..DeleteConditions::default() }, false),
        (None, DeleteConditions { size: Some(3), ..DeleteConditions::default() }, false),
        (None, DeleteConditions { modified: other_time, ..DeleteConditions::default() }, false),
        (old.shown_version, DeleteConditions { if_match: tag(now.etag), ..DeleteConditions::default() }, false),
        (old.shown_version, DeleteConditions { if_match: tag(old.etag), ..DeleteConditions::default() }, true),
        (None, DeleteConditions { if_match: tag(now.etag), modified: Some(now.modified), size: Some(5) }, true),
    ] {
        let item = DeleteItem { version, conditions: conditions.clone(), ..key("k").into() };
        let answer = house.objects.delete_one(&house.bucket, item).await;
        assert_eq!(answer.is_ok(), fine, "{conditions:?}: {answer:?}");
        if !fine {
            assert!(matches!(answer, Err(Error::PreconditionFailed { .. })), "{answer:?}");
        }
    }
    let any = DeleteConditions { if_match: Some(TagList::Any), ..DeleteConditions::default() };
    let over_marker = DeleteItem { conditions: any.clone(), ..key("k").into() };
    assert!(house.objects.delete_one(&house.bucket, over_marker).await.unwrap().delete_marker);
    let tagged = DeleteConditions { if_match: tag(now.etag), ..DeleteConditions::default() };
    let over_marker = DeleteItem { conditions: tagged, ..key("k").into() };
    let refused = house.objects.delete_one(&house.bucket, over_marker).await;
    assert!(matches!(refused, Err(Error::PreconditionFailed { .. })), "{refused:?}");
    let over_nothing = DeleteItem { conditions: any, ..key("never there").into() };
    let nothing = house.objects.delete_one(&house.bucket, over_nothing).await.unwrap();
    assert_eq!(nothing, DeleteOutcome::default(), "and no delete marker");
}

#[tokio::test]
async fn the_change_log_tells_a_delete_marker_from_the_end_of_a_version() {
    let house = House::new().await;
    house.objects.set_versioning(&house.bucket, true).await.unwrap();
    let made = house.put("k", b"1").await;
    let deleted = house.objects.delete(&house.bucket, &key("k")).await.unwrap();
    let gone = DeleteItem { version: made.shown_version, ..key("k").into() };
    house.objects.delete_one(&house.bucket, gone).await.unwrap();
    let marker = DeleteItem { version: deleted.shown_version, ..key("k").into() };
    house.objects.delete_one(&house.bucket, marker).await.unwrap();
    let bucket = house.objects.bucket(&house.bucket).await.unwrap().id;
    let log = house.objects.changes(bucket, None, 100).await.unwrap();
    let causes: Vec<_> = log.iter().flat_map(|commit| &commit.changes).map(|change| change.cause).collect();
    assert_eq!(causes, [ChangeCause::Put, ChangeCause::DeleteMarker, ChangeCause::Delete]);
}

#[tokio::test]
async fn unknown_versions_and_hidden_ids_are_not_found() {
    let house = House::new().await;
    let plain = house.put("k", b"1").await;
    assert_eq!(plain.shown_version, None);
    house.objects.set_versioning(&house.bucket, true).await.unwrap();
    assert_eq!(house.objects.bucket(&house.bucket).await.unwrap().settings.versioning, Versioning::Enabled);
    let hidden = Some(VersionRef::Id(plain.version));
    let answer = house.objects.head_version(&house.bucket, &key("k"), hidden).await;
    assert!(matches!(answer, Err(Error::NoSuchVersion { .. })), "it is called null: {answer:?}");
    let item = DeleteItem { version: hidden, ..key("k").into() };
    house.objects.delete_one(&house.bucket, item).await.unwrap();
    assert_eq!(house.read_version("k", Some(VersionRef::Null)).await.unwrap(), b"1");
}

#[tokio::test]
async fn a_bucket_with_versions_or_markers_is_not_empty() {
    let house = House::new().await;
    house.objects.set_versioning(&house.bucket, true).await.unwrap();
    let marker = house.objects.delete(&house.bucket, &key("never there")).await.unwrap();
    assert!(marker.delete_marker && marker.version.is_none());
    let answer = house.objects.delete_bucket(&house.bucket).await;
    assert!(matches!(answer, Err(Error::BucketNotEmpty { .. })), "{answer:?}");
    let item = DeleteItem { version: marker.shown_version, ..key("never there").into() };
    house.objects.delete_one(&house.bucket, item).await.unwrap();
    house.objects.delete_bucket(&house.bucket).await.unwrap();
    assert_eq!(house.rows_of_versions().await, 0);
}
