//! Transitions keep all but the class, leave nothing behind, and lose to whoever writes meanwhile.

use super::*;
use crate::fixture::{House, body, bytes, key, named};
use crate::{BodyChecks, ByteRange, CompleteUpload, PutRequest};
use StorageClass::{InfrequentAccess, Standard};

async fn record(house: &House, name: &str) -> ObjectRecord {
    house.objects.head(&house.bucket, &key(name)).await.unwrap()
}

async fn transition(house: &House, name: &str, class: StorageClass) -> TransitionOutcome {
    let version = record(house, name).await.version;
    house.objects.transition(&house.bucket, &key(name), version, class).await.unwrap()
}

/// Blobs and claims there are once everything due was swept.
async fn left(house: &House) -> (usize, [usize; 5]) {
    house.clock.advance(std::time::Duration::from_hours(100));
    house.sweep().await;
    (house.blobs().await.len(), house.bookkeeping().await)
}

#[tokio::test]
async fn an_object_of_many_parts_moves_there_and_back_with_all_its_parts() {
    let house = House::new().await;
    let at = house.begin_upload("parts").await;
    let content = |number: u16| bytes(10 + usize::from(number), 1);
    let mut parts = Vec::new();
    for number in 1..=40 {
        let part =
            house.objects.put_part(&at, number, None, BodyChecks::default(), body(&content(number))).await.unwrap();
        parts.push(named(number, &part));
    }
    house.objects.complete_upload(&at, CompleteUpload { parts, ..CompleteUpload::default() }).await.unwrap();
    let before = record(&house, "parts").await;
    let whole: Vec<u8> = (1..=40).flat_map(content).collect();
    for (class, other) in [(InfrequentAccess, Standard), (Standard, InfrequentAccess)] {
        let reading = house.objects.get(&house.bucket, &key("parts"), None).await.unwrap();
        assert_eq!(transition(&house, "parts", class).await, TransitionOutcome::Moved);
        assert_eq!(transition(&house, "parts", class).await, TransitionOutcome::AlreadyThere);
        let after = record(&house, "parts").await;
        assert_eq!(after, ObjectRecord { class, ..before.clone() }, "from {other}");
        assert_eq!(reading.body.try_collect::<Vec<_>>().await.unwrap().concat(), whole, "who reads goes on");
        assert_eq!(house.read("parts").await.unwrap(), whole);
        assert_eq!(house.read_range("parts", Some(ByteRange::Part(17))).await.unwrap(), content(17));
        assert_eq!(left(&house).await, (40, [0, 40, 1, 0, 0]));
    }
    house.objects.delete(&house.bucket, &key("parts")).await.unwrap();
    assert_eq!(left(&house).await, (0, [0; 5]));
}

#[tokio::test]
async fn an_empty_object_moves_too() {
    let house = House::new().await;
    house.put("empty", b"").await;
    assert_eq!(transition(&house, "empty", InfrequentAccess).await, TransitionOutcome::Moved);
    assert_eq!((record(&house, "empty").await.class, left(&house).await), (InfrequentAccess, (0, [0; 5])));
}

#[tokio::test]
async fn what_was_written_or_deleted_since_is_left_alone() {
    let house = House::new().await;
    let seen = house.put("k", b"old").await.version;
    house.put("k", b"new").await;
    let outcome = house.objects.transition(&house.bucket, &key("k"), seen, InfrequentAccess).await.unwrap();
    assert_eq!(outcome, TransitionOutcome::Superseded);
    let nothing = house.objects.transition(&house.bucket, &key("gone"), seen, InfrequentAccess).await.unwrap();
    assert_eq!(nothing, TransitionOutcome::Superseded);
    assert_eq!(record(&house, "k").await.class, Standard);
    assert_eq!(left(&house).await, (1, [0, 1, 0, 0, 0]));
}

#[tokio::test]
async fn a_write_between_reading_and_committing_wins_and_the_copy_is_thrown_away() {
    for (old, newer) in [(bytes(100_000, 1), &b"newer"[..]), (Vec::new(), b"")] {
        let house = House::new().await;
        let version = house.put("k", &old).await.version;
        let old =
            extents(&house.objects.store().read().await.unwrap(), version, &record(&house, "k").await.layout).await;
        let mut new = Rewritten {
            version,
            shown: VersionRef::Null,
            class: InfrequentAccess,
            old: old.unwrap(),
            fresh: Vec::new(),
        };
        house.objects.rewrite(&mut new).await.unwrap();
        house.put("k", newer).await;
        let outcome = house.objects.commit_moved(&house.bucket, &key("k"), &new).await.unwrap();
        assert_eq!(outcome, TransitionOutcome::Superseded);
        assert_eq!((house.read("k").await.unwrap(), record(&house, "k").await.class), (newer.to_vec(), Standard));
        let blobs = usize::from(!newer.is_empty());
        assert_eq!(left(&house).await, (blobs, [0, blobs, 0, 0, 0]), "what was copied is an orphan");
    }
}

#[tokio::test]
async fn a_transition_that_was_overtaken_by_two_others_changes_nothing() {
    let house = House::new().await;
    let version = house.put("k", &bytes(100_000, 1)).await.version;
    let old = extents(&house.objects.store().read().await.unwrap(), version, &record(&house, "k").await.layout).await;
    let mut new =
        Rewritten { version, shown: VersionRef::Null, class: InfrequentAccess, old: old.unwrap(), fresh: Vec::new() };
    house.objects.rewrite(&mut new).await.unwrap();
    assert_eq!(transition(&house, "k", InfrequentAccess).await, TransitionOutcome::Moved);
    let outcome = house.objects.commit_moved(&house.bucket, &key("k"), &new).await.unwrap();
    assert_eq!(outcome, TransitionOutcome::AlreadyThere);
    assert_eq!(transition(&house, "k", Standard).await, TransitionOutcome::Moved);
    let outcome = house.objects.commit_moved(&house.bucket, &key("k"), &new).await.unwrap();
    assert_eq!(outcome, TransitionOutcome::Superseded);
    assert_eq!(house.read("k").await.unwrap(), bytes(100_000, 1));
    assert_eq!(left(&house).await, (1, [0, 1, 0, 0, 0]));
}

#[tokio::test]
async fn writers_and_transitions_at_once_end_with_what_was_written_last() {
    let house = House::new().await;
    house.put("k", b"0").await;
    for round in 0..20_u8 {
        let version = record(&house, "k").await.version;
        let class = if round % 2 == 0 { InfrequentAccess } else { Standard };
        let content = [round];
        let request = PutRequest { class: Some(Standard), ..house.put_request("k") };
        let name = key("k");
        let moving = house.objects.transition(&house.bucket, &name, version, class);
        let (written, moved) = tokio::join!(house.objects.put(request, body(&content)), moving);
        written.unwrap();
        moved.unwrap();
        assert_eq!(house.read("k").await.unwrap(), content);
    }
    assert_eq!(left(&house).await, (1, [0, 1, 0, 0, 0]));
}

#[tokio::test]
async fn bytes_that_cannot_be_read_leave_the_object_and_nothing_else() {
    let house = House::new().await;
    let at = house.begin_upload("k").await;
    let mut parts = Vec::new();
    for number in 1..=3 {
        parts.push(house.put_part(&at, number, &bytes(50, 2)).await);
    }
    house.objects.complete_upload(&at, CompleteUpload { parts, ..CompleteUpload::default() }).await.unwrap();
    let before = record(&house, "k").await;
    let third =
        extents(&house.objects.store().read().await.unwrap(), before.version, &before.layout).await.unwrap()[2].clone();
    house.objects.blobs().delete(&[third.blob]).await.unwrap();
    let refused = house.objects.transition(&house.bucket, &key("k"), before.version, InfrequentAccess).await;
    assert!(matches!(refused, Err(Error::Blobs(_))), "{refused:?}");
    assert_eq!(record(&house, "k").await, before);
    assert_eq!(house.blobs().await.len(), 2, "the copies of the first two are gone again");
}
