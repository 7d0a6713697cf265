//! One suite for every view engine: what it shows, what its snapshots show, what is there after it was opened again.

use super::{Batch, Change, Direction, Space, View, Watermark, destroy, open};
use crate::config::{DriveLogConfig, ViewKind};
use bytes::Bytes;
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

type Map = BTreeMap<(Space, Vec<u8>), Vec<u8>>;

fn config(kind: ViewKind, folder: &tempfile::TempDir) -> DriveLogConfig {
    DriveLogConfig { view: kind, view_cache_bytes: 4 << 20, ..DriveLogConfig::new(1, 0, folder.path()) }
}

fn watermark(stamp: u64) -> Watermark {
    let set = [7; 16];
    Watermark {
        version: super::VIEW_VERSION,
        set,
        segment: 1,
        generation: 1,
        last_offset: 0,
        offset: 4096 * stamp,
        next_sequence: stamp,
        last_stamp: stamp,
        heal_offset: 4096 * stamp,
        heal_sequence: stamp,
    }
}

fn random_key(random: &mut SmallRng) -> Vec<u8> {
    let length = random.random_range(1..4);
    (0..length).map(|_| random.random_range(0..4)).collect()
}

fn random_space(random: &mut SmallRng) -> Space {
    Space::ALL[random.random_range(0..3)]
}

fn apply_random(view: &dyn View, model: &mut Map, random: &mut SmallRng, stamp: u64) {
    let mut changes = BTreeMap::new();
    for _ in 0..random.random_range(1..12) {
        let value = random.random::<bool>().then(|| vec![random.random(); random.random_range(0..50)]);
        changes.insert((random_space(random), random_key(random)), value);
    }
    for (key, value) in &changes {
        match value {
            Some(value) => model.insert(key.clone(), value.clone()),
            None => model.remove(key),
        };
    }
    let changes = changes
        .into_iter()
        .map(|((space, key), value)| Change { space, key: Cow::Owned(key), value: value.map(Cow::Owned) })
        .collect();
    view.apply(&Batch { changes, watermark: watermark(stamp) }).unwrap();
}

fn random_bound(random: &mut SmallRng) -> Bound<Vec<u8>> {
    match random.random_range(0..5) {
        0 => Bound::Unbounded,
        1 | 2 => Bound::Included(random_key(random)),
        _ => Bound::Excluded(random_key(random)),
    }
}

fn expect_view(snapshot: &dyn super::ViewSnapshot, model: &Map, random: &mut SmallRng) {
    for _ in 0..6 {
        let (space, key) = (random_space(random), random_key(random));
        let expected = model.get(&(space, key.clone())).map(|value| Bytes::copy_from_slice(value));
        assert_eq!(snapshot.get(space, &key).unwrap(), expected, "get {space:?} {key:?}");
        let (from, to) = (random_bound(random), random_bound(random));
        let limit = random.random_range(0..20);
        let direction = if random.random() { Direction::Forward } else { Direction::Backward };
        let bounds = (from.as_ref().map(Vec::as_slice), to.as_ref().map(Vec::as_slice));
        let within = |key: &[u8]| {
            let above = match bounds.0 {
                Bound::Unbounded => true,
                Bound::Included(from) => key >= from,
                Bound::Excluded(from) => key > from,
            };
            above
                && match bounds.1 {
                    Bound::Unbounded => true,
                    Bound::Included(to) => key <= to,
                    Bound::Excluded(to) => key < to,
                }
        };
        let mut expected: Vec<(Bytes, Bytes)> = model
            .iter()
            .filter(|((other, key), _)| *other == space && within(key))
            .map(|((_, key), value)| (Bytes::copy_from_slice(key), Bytes::copy_from_slice(value)))
            .collect();
        if direction == Direction::Backward {
            expected.reverse();
        }
        expected.truncate(limit);
        let found = snapshot.range(space, bounds, limit, direction).unwrap();
        assert_eq!(found, expected, "range {space:?} {bounds:?} {limit} {direction:?}");
    }
}

#[track_caller]
fn check(kind: ViewKind) {
    let folder = tempfile::tempdir().unwrap();
    let config = config(kind, &folder);
    let mut view: Arc<dyn View> = open(&config).unwrap();
    assert_eq!(view.watermark().unwrap(), None);
    let mut random = SmallRng::seed_from_u64(1);
    let mut model = Map::new();
    let mut snapshots = Vec::new();
    for stamp in 1..400 {
        apply_random(view.as_ref(), &mut model, &mut random, stamp);
        assert_eq!(view.watermark().unwrap(), Some(watermark(stamp)));
        snapshots.push((view.snapshot(), model.clone()));
        if stamp % 97 == 0 {
            view.merge();
        }
        // old snapshots live on, and go in any order
        if snapshots.len() > 8 {
            let gone = random.random_range(0..snapshots.len());
            snapshots.remove(gone);
        }
        for (snapshot, model) in &snapshots {
            expect_view(snapshot.as_ref(), model, &mut random);
        }
        if stamp % 100 == 0 && kind != ViewKind::Memory {
            snapshots.clear();
            view.flush().unwrap();
            drop(view);
            view = open(&config).unwrap();
            assert_eq!(view.watermark().unwrap(), Some(watermark(stamp)), "after it was opened again");
            expect_view(view.snapshot().as_ref(), &model, &mut random);
        }
    }
    drop((view, snapshots));
    destroy(&config).unwrap();
    assert_eq!(open(&config).unwrap().watermark().unwrap(), None, "a destroyed view is empty");
}

#[test]
fn memory_shows_what_was_applied_and_snapshots_stand_still() {
    check(ViewKind::Memory);
}

#[test]
fn fjall_shows_what_was_applied_and_snapshots_stand_still() {
    check(ViewKind::Fjall);
}

#[test]
fn sled_shows_what_was_applied_and_snapshots_stand_still() {
    check(ViewKind::Sled);
}
