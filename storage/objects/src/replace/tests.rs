//! One object in the place of others: all of it or nothing, whatever the bucket keeps and whoever comes between.

use super::*;
use crate::fixture::{DAY, House, key};
use crate::{
    Attributes, ChangeCause, ChangeKind, EncryptionKind, Error, ObjectLock, PutRequest, Retention, RetentionMode,
    StageSpec, Tags, VersionRef,
};
use cistern_metadata::Commit;

async fn records(house: &House, names: &[&str]) -> Vec<ObjectRecord> {
    let mut records = Vec::new();
    for name in names {
        records.push(house.objects.head(&house.bucket, &key(name)).await.unwrap());
    }
    records
}

async fn staged(house: &House, name: &str, content: &'static str) -> StagedObject {
    let spec = StageSpec { place: Some((house.bucket.clone(), key(name))), ..StageSpec::default() };
    house.objects.stage_bytes(spec, content.into()).await.unwrap()
}

/// Replaces `sources` by an object; whether that is so now.
async fn replace(house: &House, name: &str, staged: &StagedObject, sources: &[ObjectRecord]) -> Result<bool> {
    let mut txn = house.objects.store().begin().await?;
    let (bucket, key) = (&house.bucket, &key(name));
    let made = house.objects.commit_staged_instead(&mut txn, StagedCommit { bucket, key, staged }, sources).await?;
    Ok(made.is_some() && matches!(txn.commit().await?, Commit::Committed { .. }))
}

async fn house_of(names: &[&str]) -> House {
    let house = House::new().await;
    for name in names {
        house.put(name, name.as_bytes()).await;
    }
    house
}

#[tokio::test]
async fn the_new_object_comes_and_the_others_go_with_one_row_of_changes_and_their_bytes() {
    let house = house_of(&["a", "b", "c"]).await;
    let staged = staged(&house, "a-b", "ab").await;
    let bucket = house.objects.bucket(&house.bucket).await.unwrap().id;
    let before = house.objects.changes(bucket, None, 100).await.unwrap().len();
    assert!(replace(&house, "a-b", &staged, &records(&house, &["a", "b"]).await).await.unwrap());
    assert_eq!(house.keys().await, ["a-b", "c"]);
    assert_eq!(house.read("a-b").await.unwrap(), b"ab");
    let log = house.objects.changes(bucket, None, 100).await.unwrap();
    assert_eq!(log.len(), before + 1);
    let changes: Vec<_> =
        log[before].changes.iter().map(|change| (change.cause.kind(), change.key.to_string())).collect();
    let expected = [(ChangeKind::Created, "a-b"), (ChangeKind::Deleted, "a"), (ChangeKind::Deleted, "b")];
    assert_eq!(changes, expected.map(|(kind, key)| (kind, key.to_owned())));
    house.clock.advance(DAY * 2);
    house.sweep().await;
    assert_eq!(house.blobs().await.len(), 2, "the bytes of a and b are freed");
    assert_eq!(house.read("a-b").await.unwrap(), b"ab");
}

#[tokio::test]
async fn where_versions_are_kept_the_others_get_delete_markers_and_can_be_had_back() {
    let house = house_of(&["old"]).await;
    house.objects.set_versioning(&house.bucket, true).await.unwrap();
    let kept = house.put("new", b"new").await.shown_version;
    let staged = staged(&house, "both", "both").await;
    assert!(replace(&house, "both", &staged, &records(&house, &["old", "new"]).await).await.unwrap());
    assert_eq!(house.keys().await, ["both"]);
    assert_eq!(house.rows_of_versions().await, 5, "two objects, two delete markers, and which is the null version");
    assert_eq!(house.read_version("old", Some(VersionRef::Null)).await.unwrap(), b"old");
    assert_eq!(house.read_version("new", kept).await.unwrap(), b"new");
    let bucket = house.objects.bucket(&house.bucket).await.unwrap().id;
    let log = house.objects.changes(bucket, None, 100).await.unwrap();
    let causes: Vec<_> = log.last().unwrap().changes.iter().map(|change| change.cause).collect();
    assert_eq!(causes, [ChangeCause::Put, ChangeCause::DeleteMarker, ChangeCause::DeleteMarker]);
}

#[tokio::test]
async fn nothing_happens_when_a_source_was_written_deleted_or_tagged_since_or_the_key_is_taken() {
    let house = house_of(&["a", "b", "taken"]).await;
    let sources = records(&house, &["a", "b"]).await;
    let staged_ab = staged(&house, "a-b", "ab").await;
    let refused = async || {
        let rows = house.rows().await;
        assert!(!replace(&house, "a-b", &staged_ab, &sources).await.unwrap());
        assert_eq!(house.rows().await, rows);
    };
    house.put("b", b"b").await; // the same bytes, and another version
    refused().await;
    let sources = records(&house, &["a", "b"]).await;
    house.objects.delete(&house.bucket, &key("a")).await.unwrap();
    assert!(!replace(&house, "a-b", &staged_ab, &sources).await.unwrap());
    house.put("a", b"a").await;
    let sources = records(&house, &["a", "b"]).await;
    let tags = Tags::new(vec![("kept".into(), "yes".into())], 10).unwrap();
    house.objects.set_tags(&house.bucket, &key("b"), None, tags).await.unwrap();
    assert!(!replace(&house, "a-b", &staged_ab, &sources).await.unwrap());
    let sources = records(&house, &["a", "b"]).await;
    let over = staged(&house, "taken", "ab").await;
    assert!(!replace(&house, "taken", &over, &sources).await.unwrap());
    assert!(replace(&house, "a-b", &staged_ab, &sources).await.unwrap(), "as it is now, it can be");
    assert_eq!(house.keys().await, ["a-b", "taken"]);
}

#[tokio::test]
async fn of_a_replacement_and_whoever_writes_meanwhile_one_wins() {
    let house = house_of(&["a", "b"]).await;
    let sources = records(&house, &["a", "b"]).await;
    let (first, second) = (staged(&house, "a-b", "ab").await, staged(&house, "a-b", "AB").await);
    let (bucket, new) = (&house.bucket, &key("a-b"));
    let begin = async |staged| {
        let mut txn = house.objects.store().begin().await.unwrap();
        let commit = StagedCommit { bucket, key: new, staged };
        house.objects.commit_staged_instead(&mut txn, commit, &sources).await.unwrap().unwrap();
        txn
    };
    let (one, other) = (begin(&first).await, begin(&second).await);
    assert!(matches!(one.commit().await.unwrap(), Commit::Committed { .. }));
    assert_eq!(other.commit().await.unwrap(), Commit::Lost);
    assert!(!replace(&house, "a-b", &second, &sources).await.unwrap());
    house.objects.discard_staged(second).await;
    assert_eq!(house.read("a-b").await.unwrap(), b"ab");

    let house = house_of(&["a", "b"]).await;
    let sources = records(&house, &["a", "b"]).await;
    let staged = staged(&house, "a-b", "ab").await;
    let mut txn = house.objects.store().begin().await.unwrap();
    let commit = StagedCommit { bucket: &house.bucket, key: &key("a-b"), staged: &staged };
    house.objects.commit_staged_instead(&mut txn, commit, &sources).await.unwrap().unwrap();
    house.objects.delete(&house.bucket, &key("a")).await.unwrap();
    assert_eq!(txn.commit().await.unwrap(), Commit::Lost);
    assert_eq!(house.keys().await, ["b"]);
    house.objects.discard_staged(staged).await;
    house.clock.advance(DAY * 2);
    house.sweep().await;
    assert_eq!(house.blobs().await.len(), 1, "what was staged is thrown away");
}

#[tokio::test]
async fn what_is_held_or_retained_is_not_replaced() {
    let house = House::new().await;
    house.objects.set_versioning(&house.bucket, true).await.unwrap();
    house.objects.set_object_lock(&house.bucket, ObjectLock::default()).await.unwrap();
    let until = house.objects.clock().now().plus(DAY);
    let retention = Some(Retention { mode: RetentionMode::Governance, until });
    let attributes = Attributes { retention, ..Attributes::default() };
    let request = PutRequest { attributes, ..house.put_request("a") };
    house.objects.put(request, crate::fixture::body(b"a")).await.unwrap();
    house.put("b", b"b").await;
    let staged = staged(&house, "a-b", "ab").await;
    let refused = replace(&house, "a-b", &staged, &records(&house, &["a", "b"]).await).await;
    assert!(matches!(refused, Err(Error::ObjectLocked)), "{refused:?}");
    house.clock.advance(DAY / 2);
    house.objects.set_legal_hold(&house.bucket, &key("b"), None, true).await.unwrap();
    let refused = replace(&house, "a-b", &staged, &records(&house, &["b"]).await).await;
    assert!(matches!(refused, Err(Error::ObjectLocked)), "{refused:?}");
    assert_eq!(house.keys().await, ["a", "b"]);
}

#[tokio::test]
async fn in_a_bucket_that_encrypts_the_new_object_is_encrypted_for_its_key_alone() {
    let house = House::new().await;
    house.objects.set_default_encryption(&house.bucket, true).await.unwrap();
    house.put("a", b"a").await;
    let staged = staged(&house, "a-b", "ab").await;
    let sources = records(&house, &["a"]).await;
    let refused = replace(&house, "elsewhere", &staged, &sources).await;
    assert!(matches!(refused, Err(Error::InvalidRequest { .. })), "{refused:?}");
    assert!(replace(&house, "a-b", &staged, &sources).await.unwrap());
    let record = house.objects.head(&house.bucket, &key("a-b")).await.unwrap();
    assert_eq!(record.encryption(), Some(EncryptionKind::Managed));
    assert_eq!(house.read("a-b").await.unwrap(), b"ab");
}
