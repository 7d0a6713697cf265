//! Versions: what is replaced or deleted comes back.

use super::{BUCKET, Store, refusal, refused};
use aws_sdk_s3::types::{BucketVersioningStatus, VersioningConfiguration};

async fn versioned() -> Store {
    let store = Store::with_bucket().await;
    let enabled = VersioningConfiguration::builder().status(BucketVersioningStatus::Enabled).build();
    store.client.put_bucket_versioning().bucket(BUCKET).versioning_configuration(enabled).send().await.unwrap();
    let kept = store.client.get_bucket_versioning().bucket(BUCKET).send().await.unwrap();
    assert_eq!(kept.status(), Some(&BucketVersioningStatus::Enabled));
    store
}

async fn body_of(store: &Store, version: &str) -> Vec<u8> {
    let got = store.client.get_object().bucket(BUCKET).key("a").version_id(version).send().await.unwrap();
    assert_eq!(got.version_id(), Some(version));
    got.body.collect().await.unwrap().to_vec()
}

#[tokio::test]
async fn every_version_is_read_and_a_delete_marker_hides_them_until_it_is_removed() {
    let store = versioned().await;
    let mut versions = Vec::new();
    for body in ["one", "two", "three"] {
        let put = store.client.put_object().bucket(BUCKET).key("a").body(body.as_bytes().to_vec().into());
        versions.push(put.send().await.unwrap().version_id.unwrap());
    }
    for (version, body) in versions.iter().zip(["one", "two", "three"]) {
        assert_eq!(body_of(&store, version).await, body.as_bytes());
    }
    let deleted = store.client.delete_object().bucket(BUCKET).key("a").send().await.unwrap();
    assert_eq!(deleted.delete_marker(), Some(true));
    let marker = deleted.version_id.unwrap();
    let hidden = store.client.get_object().bucket(BUCKET).key("a").send().await.unwrap_err();
    assert_eq!(hidden.raw_response().unwrap().headers().get("x-amz-delete-marker"), Some("true"));
    assert!(hidden.into_service_error().is_no_such_key());
    let read = store.client.get_object().bucket(BUCKET).key("a").version_id(&marker).send().await;
    assert_eq!(refused(read), refusal(405, "MethodNotAllowed"));

    let listed = store.client.list_object_versions().bucket(BUCKET).prefix("a").send().await.unwrap();
    let told: Vec<&str> = listed.versions().iter().map(|version| version.version_id().unwrap()).collect();
    assert_eq!(told, [&versions[2], &versions[1], &versions[0]]);
    assert!(listed.versions().iter().all(|version| version.is_latest() == Some(false)));
    let markers = listed.delete_markers();
    assert_eq!(
        (markers.len(), markers[0].version_id(), markers[0].is_latest()),
        (1, Some(marker.as_str()), Some(true))
    );

    store.client.delete_object().bucket(BUCKET).key("a").version_id(&marker).send().await.unwrap();
    assert_eq!(store.get("a").await, b"three");
    store.client.delete_object().bucket(BUCKET).key("a").version_id(&versions[2]).send().await.unwrap();
    assert_eq!(store.get("a").await, b"two", "the version before becomes the current one");
    let gone = store.client.get_object().bucket(BUCKET).key("a").version_id(&versions[2]).send().await;
    assert_eq!(refused(gone), refusal(404, "NoSuchVersion"));
}

#[tokio::test]
async fn versions_are_listed_in_pages() {
    let store = versioned().await;
    for n in 0..7 {
        store.put(&format!("key-{}", n % 3), &[n]).await;
    }
    store.client.delete_object().bucket(BUCKET).key("key-1").send().await.unwrap();
    let (mut versions, mut markers, mut pages) = (0, 0, 0);
    let (mut key, mut version) = (None, None);
    loop {
        let ask = store.client.list_object_versions().bucket(BUCKET).max_keys(3);
        let page = ask.set_key_marker(key).set_version_id_marker(version).send().await.unwrap();
        versions += page.versions().len();
        markers += page.delete_markers().len();
        pages += 1;
        if page.is_truncated() != Some(true) {
            break;
        }
        (key, version) = (page.next_key_marker, page.next_version_id_marker);
    }
    assert_eq!((versions, markers, pages), (7, 1, 3));
}
