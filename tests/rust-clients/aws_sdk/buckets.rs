//! Buckets: made, listed in pages, looked at, deleted; what is refused comes as the SDK's typed errors.

use super::{BUCKET, Store, refusal, refused};
use aws_sdk_s3::types::BucketCannedAcl;

#[tokio::test]
async fn buckets_are_made_listed_in_pages_and_deleted() {
    let store = Store::new().await;
    let names: Vec<String> = (0..5).map(|n| format!("bucket-{n}")).collect();
    for name in &names {
        let made = store.client.create_bucket().bucket(name).send().await.unwrap();
        assert_eq!(made.location(), Some(format!("/{name}").as_str()));
        store.client.head_bucket().bucket(name).send().await.unwrap();
    }
    let mut pages = store.client.list_buckets().into_paginator().page_size(2).send();
    let (mut listed, mut count) = (Vec::new(), 0);
    while let Some(page) = pages.try_next().await.unwrap() {
        assert!(page.buckets().len() <= 2);
        listed.extend(page.buckets().iter().map(|bucket| bucket.name().unwrap().to_owned()));
        count += 1;
    }
    assert_eq!((listed, count), (names.clone(), 3));
    let prefixed = store.client.list_buckets().prefix("bucket-3").send().await.unwrap();
    assert_eq!(prefixed.buckets().len(), 1);
    for name in &names {
        store.client.delete_bucket().bucket(name).send().await.unwrap();
    }
    assert!(store.client.list_buckets().send().await.unwrap().buckets().is_empty());
}

#[tokio::test]
async fn a_bucket_there_is_not_is_said_by_its_error() {
    let store = Store::new().await;
    let client = &store.client;
    let listed = client.list_objects_v2().bucket("nowhere").send().await.unwrap_err();
    assert!(listed.into_service_error().is_no_such_bucket());
    let looked_at = client.head_bucket().bucket("nowhere").send().await.unwrap_err();
    assert!(looked_at.into_service_error().is_not_found());
    let put = client.put_object().bucket("nowhere").key("a").send().await;
    assert_eq!(refused(put), refusal(404, "NoSuchBucket"));
    let deleted = client.delete_bucket().bucket("nowhere").send().await;
    assert_eq!(refused(deleted), refusal(404, "NoSuchBucket"));
}

#[tokio::test]
async fn a_bucket_made_twice_is_one_and_one_that_would_differ_is_refused() {
    let store = Store::with_bucket().await;
    store.put("a", b"kept").await;
    store.client.create_bucket().bucket(BUCKET).send().await.unwrap();
    let open = store.client.create_bucket().bucket(BUCKET).acl(BucketCannedAcl::PublicRead).send().await;
    assert!(open.unwrap_err().into_service_error().is_bucket_already_exists());
    assert_eq!(store.get("a").await, b"kept");
}

#[tokio::test]
async fn a_bucket_with_an_object_stays_and_a_bad_name_is_none() {
    let store = Store::with_bucket().await;
    store.put("a", b"").await;
    assert_eq!(refused(store.client.delete_bucket().bucket(BUCKET).send().await), refusal(409, "BucketNotEmpty"));
    assert_eq!(
        refused(store.client.create_bucket().bucket("No_Bucket").send().await),
        refusal(400, "InvalidBucketName")
    );
}
