//! Object lock: a version stays until its time has come or until somebody who may says otherwise.

use super::{BUCKET, Store, refusal, refused};
use aws_sdk_s3::primitives::{ByteStream, DateTime};
use aws_sdk_s3::types::{
    DefaultRetention, ObjectLockConfiguration, ObjectLockEnabled, ObjectLockLegalHold, ObjectLockLegalHoldStatus,
    ObjectLockMode, ObjectLockRetention, ObjectLockRetentionMode, ObjectLockRule,
};
use cistern_tests::wait::unix_seconds;

async fn with_locks() -> Store {
    let store = Store::new().await;
    store.client.create_bucket().bucket(BUCKET).object_lock_enabled_for_bucket(true).send().await.unwrap();
    store
}

fn in_hours(hours: i64) -> DateTime {
    DateTime::from_secs(unix_seconds() + hours * 3600)
}

fn until(when: DateTime) -> ObjectLockRetention {
    ObjectLockRetention::builder().mode(ObjectLockRetentionMode::Governance).retain_until_date(when).build()
}

#[tokio::test]
async fn a_retained_version_is_deleted_only_with_the_right_to_bypass() {
    let store = with_locks().await;
    let put = store.client.put_object().bucket(BUCKET).key("a").body(ByteStream::from_static(b"kept"));
    let put = put.object_lock_mode(ObjectLockMode::Governance).object_lock_retain_until_date(in_hours(2));
    let version = put.send().await.unwrap().version_id.unwrap();
    let delete = || store.client.delete_object().bucket(BUCKET).key("a").version_id(&version);
    assert_eq!(refused(delete().send().await), refusal(403, "AccessDenied"));
    let retain = |when| store.client.put_object_retention().bucket(BUCKET).key("a").retention(until(when));
    assert_eq!(refused(retain(in_hours(1)).send().await), refusal(403, "AccessDenied"), "a shorter time");
    retain(in_hours(3)).send().await.unwrap();
    let kept = store.client.get_object_retention().bucket(BUCKET).key("a").send().await.unwrap();
    assert_eq!(kept.retention().unwrap().mode(), Some(&ObjectLockRetentionMode::Governance));
    assert_eq!(store.get("a").await, b"kept");
    delete().bypass_governance_retention(true).send().await.unwrap();
    let gone = store.client.get_object().bucket(BUCKET).key("a").send().await.unwrap_err();
    assert!(gone.into_service_error().is_no_such_key());
}

#[tokio::test]
async fn a_legal_hold_keeps_a_version_until_it_is_taken_off() {
    let store = with_locks().await;
    let put = store.client.put_object().bucket(BUCKET).key("a").send().await.unwrap();
    let version = put.version_id.unwrap();
    let hold = |status| {
        let hold = ObjectLockLegalHold::builder().status(status).build();
        store.client.put_object_legal_hold().bucket(BUCKET).key("a").version_id(&version).legal_hold(hold).send()
    };
    let delete = || store.client.delete_object().bucket(BUCKET).key("a").version_id(&version).send();
    hold(ObjectLockLegalHoldStatus::On).await.unwrap();
    let head = store.client.head_object().bucket(BUCKET).key("a").send().await.unwrap();
    assert_eq!(head.object_lock_legal_hold_status().map(|status| status.as_str()), Some("ON"));
    assert_eq!(refused(delete().await), refusal(403, "AccessDenied"));
    hold(ObjectLockLegalHoldStatus::Off).await.unwrap();
    delete().await.unwrap();
}

#[tokio::test]
async fn what_is_written_gets_the_retention_of_its_bucket() {
    let store = with_locks().await;
    let default = DefaultRetention::builder().mode(ObjectLockRetentionMode::Compliance).days(1).build();
    let configuration = ObjectLockConfiguration::builder()
        .object_lock_enabled(ObjectLockEnabled::Enabled)
        .rule(ObjectLockRule::builder().default_retention(default).build())
        .build();
    let put = store.client.put_object_lock_configuration().bucket(BUCKET);
    put.object_lock_configuration(configuration.clone()).send().await.unwrap();
    let kept = store.client.get_object_lock_configuration().bucket(BUCKET).send().await.unwrap();
    assert_eq!(kept.object_lock_configuration(), Some(&configuration));
    let version = store.client.put_object().bucket(BUCKET).key("a").send().await.unwrap().version_id.unwrap();
    let head = store.client.head_object().bucket(BUCKET).key("a").send().await.unwrap();
    assert_eq!(head.object_lock_mode(), Some(&ObjectLockMode::Compliance));
    let left = head.object_lock_retain_until_date().unwrap().secs() - unix_seconds();
    assert!((86_300..=86_400).contains(&left), "{left} s");
    let delete = store.client.delete_object().bucket(BUCKET).key("a").version_id(version);
    assert_eq!(refused(delete.bypass_governance_retention(true).send().await), refusal(403, "AccessDenied"));
}
