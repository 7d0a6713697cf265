//! Locks and tags on objects and versions.

use crate::fixture::{DAY, House, body, key};
use crate::{
    Attributes, CompleteUpload, CopyRequest, CreateUpload, DefaultRetention, DeleteItem, Error, ObjectLock, PutRequest,
    Retention, RetentionMode, RetentionPeriod, Tags, VersionRef,
};
use cistern_types::Timestamp;
use std::time::Duration;

async fn locked_house() -> House {
    let house = House::new().await;
    house.objects.set_versioning(&house.bucket, true).await.unwrap();
    house.objects.set_object_lock(&house.bucket, ObjectLock::default()).await.unwrap();
    house
}

fn until(house: &House, days: u32) -> Timestamp {
    house.objects.clock().now().plus(DAY * days)
}

async fn remove(house: &House, version: Option<VersionRef>, bypass: bool) -> Result<(), Error> {
    let item = DeleteItem { version, bypass_governance: bypass, ..key("k").into() };
    house.objects.delete_one(&house.bucket, item).await.map(drop)
}

#[track_caller]
fn check_locked(answer: &Result<(), Error>) {
    assert!(matches!(answer, Err(Error::ObjectLocked)), "{answer:?}");
}

fn tags(pairs: &[(&str, &str)]) -> Tags {
    Tags::new(pairs.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect(), 10).unwrap()
}

#[tokio::test]
async fn a_retained_version_outlives_everybody_until_its_time() {
    let house = locked_house().await;
    let retention = Some(Retention { mode: RetentionMode::Compliance, until: until(&house, 10) });
    let attributes = Attributes { retention, ..Attributes::default() };
    let request = PutRequest { attributes, ..house.put_request("k") };
    let version = house.objects.put(request, body(b"kept")).await.unwrap().shown_version;
    house.put("k", b"over it").await;
    house.objects.delete(&house.bucket, &key("k")).await.unwrap();
    check_locked(&remove(&house, version, true).await);
    let many = vec![DeleteItem { version, bypass_governance: true, ..key("k").into() }, key("other").into()];
    let answers = house.objects.delete_many(&house.bucket, many).await.unwrap();
    assert!(matches!(answers[0].1, Err(Error::ObjectLocked)) && answers[1].1.is_ok(), "{answers:?}");
    house.clock.advance(DAY * 9 + Duration::from_millis(24 * 3_600_000 - 1));
    house.sweep().await;
    check_locked(&remove(&house, version, true).await);
    assert_eq!(house.read_version("k", version).await.unwrap(), b"kept");
    house.clock.advance(Duration::from_millis(1));
    remove(&house, version, false).await.unwrap();
}

#[tokio::test]
async fn the_default_retention_is_for_whoever_names_none() {
    let house = locked_house().await;
    let default = DefaultRetention { mode: RetentionMode::Governance, period: RetentionPeriod::Days(2) };
    let lock = ObjectLock { default_retention: Some(default) };
    house.objects.set_object_lock(&house.bucket, lock).await.unwrap();
    let expected = Some(Retention { mode: RetentionMode::Governance, until: until(&house, 2) });
    let put = house.put("k", b"1").await;
    let read = async |version| {
        house.objects.head_version(&house.bucket, &key("k"), version).await.unwrap().attributes.retention
    };
    assert_eq!(read(put.shown_version).await, expected);
    let own = Some(Retention { mode: RetentionMode::Compliance, until: until(&house, 1) });
    let attributes = Attributes { retention: own, ..Attributes::default() };
    let upload = CreateUpload { attributes, ..house.plain_upload("k") };
    let at = house.begin(upload).await;
    let part = house.put_part(&at, 1, b"parts").await;
    let complete = CompleteUpload { parts: vec![part], ..CompleteUpload::default() };
    let completed = house.objects.complete_upload(&at, complete).await.unwrap();
    assert_eq!(read(completed.shown_version).await, own);
    // the locks of a source are its own
    let place = (house.bucket.clone(), key("k"));
    let copy = CopyRequest { source_version: completed.shown_version, ..CopyRequest::new(place.clone(), place) };
    let copied = house.objects.copy(copy).await.unwrap().target;
    assert_eq!(read(copied.shown_version).await, expected);
    check_locked(&remove(&house, copied.shown_version, false).await);
    remove(&house, copied.shown_version, true).await.unwrap();
}

#[tokio::test]
async fn a_hold_is_put_and_let_go_on_any_version() {
    let house = locked_house().await;
    let k = key("k");
    let old = house.put("k", b"old").await.shown_version;
    house.put("k", b"new").await;
    let hold = |version, on| house.objects.set_legal_hold(&house.bucket, &k, version, on);
    hold(old, true).await.unwrap();
    check_locked(&remove(&house, old, true).await);
    let record = hold(old, false).await.unwrap();
    assert_eq!(record.attributes.legal_hold, Some(false));
    remove(&house, old, false).await.unwrap();
    hold(None, true).await.unwrap();
    let current = house.objects.head(&house.bucket, &key("k")).await.unwrap();
    check_locked(&remove(&house, current.shown_version, true).await);
    let gone = hold(old, true).await;
    assert!(matches!(gone, Err(Error::NoSuchVersion { .. })), "{gone:?}");
}

#[tokio::test]
async fn a_retention_is_only_weakened_by_whom_may() {
    let house = locked_house().await;
    let k = key("k");
    house.put("k", b"1").await;
    let set = |mode, days, bypass| {
        let retention = Some(Retention { mode, until: until(&house, days) });
        house.objects.set_retention(&house.bucket, &k, None, retention, bypass)
    };
    set(RetentionMode::Governance, 5, false).await.unwrap();
    assert!(matches!(set(RetentionMode::Governance, 4, false).await, Err(Error::ObjectLocked)));
    set(RetentionMode::Governance, 4, true).await.unwrap();
    set(RetentionMode::Compliance, 4, true).await.unwrap();
    assert!(matches!(set(RetentionMode::Governance, 9, true).await, Err(Error::ObjectLocked)));
    set(RetentionMode::Compliance, 9, false).await.unwrap();
}

#[tokio::test]
async fn a_retention_that_is_over_does_not_stand_in_for_the_default() {
    let house = locked_house().await;
    let retention = Some(Retention { mode: RetentionMode::Governance, until: until(&house, 0) });
    let attributes = Attributes { retention, ..Attributes::default() };
    let request = PutRequest { attributes, ..house.put_request("k") };
    let answer = house.objects.put(request, body(b"1")).await;
    assert!(matches!(answer, Err(Error::RetentionOver)), "{answer:?}");
}

#[tokio::test]
async fn locks_are_refused_where_none_are_kept() {
    let house = House::new().await;
    house.put("k", b"1").await;
    let attributes = Attributes { legal_hold: Some(true), ..Attributes::default() };
    let request = PutRequest { attributes: attributes.clone(), ..house.put_request("new") };
    house.objects.put(request, body(b"1")).await.unwrap_err();
    house.objects.create_upload(CreateUpload { attributes, ..house.plain_upload("new") }).await.unwrap_err();
    house.objects.set_legal_hold(&house.bucket, &key("k"), None, true).await.unwrap_err();
    house.objects.set_retention(&house.bucket, &key("k"), None, None, true).await.unwrap_err();
    assert_eq!(house.keys().await, ["k"]);
}

#[tokio::test]
async fn tags_change_without_a_new_version_and_go_with_copies() {
    let house = House::new().await;
    let before = house.put("k", b"1").await;
    let after = house.objects.set_tags(&house.bucket, &key("k"), None, tags(&[("b", "2"), ("a", "1")])).await.unwrap();
    assert_eq!((after.etag, after.modified, after.version), (before.etag, before.modified, before.version));
    assert_eq!(house.objects.head(&house.bucket, &key("k")).await.unwrap(), after);
    let copy = |tags| {
        let copy = CopyRequest::new((house.bucket.clone(), key("k")), (house.bucket.clone(), key("copy")));
        house.objects.copy(CopyRequest { tags, ..copy })
    };
    for (asked, expected) in [(None, tags(&[("a", "1"), ("b", "2")])), (Some(tags(&[("c", "")])), tags(&[("c", "")]))] {
        copy(asked).await.unwrap();
        let copied = house.objects.head(&house.bucket, &key("copy")).await.unwrap();
        assert_eq!(copied.attributes.tags, expected);
    }
    let missing = house.objects.set_tags(&house.bucket, &key("none"), None, Tags::default()).await;
    assert!(matches!(missing, Err(Error::NoSuchKey { .. })), "{missing:?}");
}
