//! Tags of objects and buckets.

use super::{BUCKET, Store, refusal, refused};
use aws_sdk_s3::types::{Tag, Tagging};

fn tags(pairs: &[(&str, &str)]) -> Tagging {
    let tags = pairs.iter().map(|(key, value)| Tag::builder().key(*key).value(*value).build().unwrap());
    Tagging::builder().set_tag_set(Some(tags.collect())).build().unwrap()
}

/// The tags of an object in the order of their keys.
async fn tags_of(store: &Store, key: &str) -> Vec<(String, String)> {
    let told = store.client.get_object_tagging().bucket(BUCKET).key(key).send().await.unwrap();
    let mut pairs: Vec<_> = told.tag_set().iter().map(|tag| (tag.key().to_owned(), tag.value().to_owned())).collect();
    pairs.sort();
    pairs
}

fn owned(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

#[tokio::test]
async fn tags_come_with_a_write_and_go_with_a_copy() {
    let store = Store::with_bucket().await;
    let put = store.client.put_object().bucket(BUCKET).key("a").tagging("team=red%20%26%20blue&zone=%C3%BC");
    put.send().await.unwrap();
    let written = owned(&[("team", "red & blue"), ("zone", "ü")]);
    assert_eq!(tags_of(&store, "a").await, written);
    let head = store.client.get_object().bucket(BUCKET).key("a").send().await.unwrap();
    assert_eq!(head.tag_count(), Some(2));
    let copy = store.client.copy_object().bucket(BUCKET).key("b").copy_source(format!("{BUCKET}/a"));
    copy.send().await.unwrap();
    assert_eq!(tags_of(&store, "b").await, written);
}

#[tokio::test]
async fn tags_are_replaced_and_removed_and_eleven_are_too_many() {
    let store = Store::with_bucket().await;
    store.put("a", b"").await;
    let put = |tags| store.client.put_object_tagging().bucket(BUCKET).key("a").tagging(tags).send();
    put(tags(&[("a", "1"), ("b", "")])).await.unwrap();
    assert_eq!(tags_of(&store, "a").await, owned(&[("a", "1"), ("b", "")]));
    put(tags(&[("c", "3")])).await.unwrap();
    let many: Vec<String> = (0..11).map(|n| n.to_string()).collect();
    let many: Vec<(&str, &str)> = many.iter().map(|key| (key.as_str(), "")).collect();
    assert_eq!(refused(put(tags(&many)).await), refusal(400, "InvalidTag"));
    assert_eq!(tags_of(&store, "a").await, owned(&[("c", "3")]));
    store.client.delete_object_tagging().bucket(BUCKET).key("a").send().await.unwrap();
    assert!(tags_of(&store, "a").await.is_empty());
    let none = store.client.get_object_tagging().bucket(BUCKET).key("missing").send().await;
    assert_eq!(refused(none), refusal(404, "NoSuchKey"));
}

#[tokio::test]
async fn a_bucket_has_tags_of_its_own() {
    let store = Store::with_bucket().await;
    let get = || store.client.get_bucket_tagging().bucket(BUCKET).send();
    assert_eq!(refused(get().await), refusal(404, "NoSuchTagSet"));
    let put = store.client.put_bucket_tagging().bucket(BUCKET).tagging(tags(&[("cost", "low")]));
    put.send().await.unwrap();
    assert_eq!(get().await.unwrap().tag_set()[0].value(), "low");
    store.client.delete_bucket_tagging().bucket(BUCKET).send().await.unwrap();
    assert_eq!(refused(get().await), refusal(404, "NoSuchTagSet"));
}
