//! Ingestion, compaction, changes, deletions by users, crashes and lost answers in any order, against a model: every
//! acknowledged event is in one object, unless a user has deleted it.

use super::*;
use crate::compaction::{CompactStep, Compacted, compact};
use crate::{JsonCompression, MixedTypes};
use std::collections::BTreeSet;

/// Walks along everything once, from a prefix or without; how often something was merged.
async fn walk(process: &Process, prefix: Option<String>) -> Result<u64> {
    let mut step = CompactStep { prefix, ..CompactStep::default() };
    let mut merged = 0;
    loop {
        let output = &process.live.outputs()[0];
        let Compacted { merged: made, cursor, .. } = compact(&process.parts, &process.live, output, &step).await?;
        merged += u64::from(made.is_some());
        match cursor {
            Some(cursor) => step.cursor = Some(cursor),
            None => return Ok(merged),
        }
    }
}

/// The ids of the events in an object.
async fn ids_in(house: &House, key: &str) -> Vec<u64> {
    let dead = key.contains("/dead-letters/");
    let id = |row: &Value| if dead { row["event"]["id"].as_u64() } else { row["id"].as_u64() };
    house.rows(key).await.iter().map(|row| id(row).unwrap()).collect()
}

/// A user deletes an object; the ids that are gone with it.
async fn delete_one(house: &House, dice: &mut Dice) -> Vec<u64> {
    let keys = house.keys().await;
    let Some(at) = dice.below(keys.len().max(1) as u64).try_into().ok().filter(|at: &usize| *at < keys.len()) else {
        return Vec::new();
    };
    let ids = ids_in(house, &keys[at]).await;
    house.objects.delete(&house.bucket, &keys[at].parse().unwrap()).await.unwrap();
    ids
}

fn format(dice: &mut Dice) -> OutputFormat {
    match dice.below(4) {
        0 => OutputFormat::JsonLines { compression: JsonCompression::None },
        _ => OutputFormat::default(),
    }
}

/// What the model says was merged in all, so that a test that never merges is found.
async fn exactly_once_while_compacting(seed: u64, lost_answers: u32) -> u64 {
    let house = House::new().await;
    let mut dice = Dice(seed);
    let mut spec = house.spec("clicks");
    spec.output.batch.json_key = Some(".k".parse().unwrap());
    spec.output.batch.rows = 1 + dice.below(4);
    spec.output.format = format(&mut dice);
    spec.output.mixed_types = [MixedTypes::DeadLetters, MixedTypes::Json][usize::try_from(dice.below(2)).unwrap()];
    registry::create(&house.objects, spec.clone()).await.unwrap();
    let mut process = Process::start(&house).await;
    let mut acknowledged: BTreeMap<u64, bool> = BTreeMap::new();
    let (mut deleted, mut merged, mut next) = (BTreeSet::new(), 0, 0);
    house.engine.lost_answers.store(lost_answers, Ordering::SeqCst);
    for _ in 0..80 {
        let polls = usize::try_from(1 + dice.below(120)).unwrap();
        let crashed = match dice.below(9) {
            0..3 => {
                let ids: Vec<u64> = (next..next + 1 + dice.below(8)).collect();
                next += ids.len() as u64;
                let events: Vec<String> = ids.iter().map(|id| event(&mut dice, *id)).collect();
                let answer = crash_after(polls, process.append(&events.join("\n"))).await;
                acknowledged.extend(ids.into_iter().map(|id| (id, answer == Some(true))));
                answer.is_none()
            }
            3 | 4 => crash_after(polls, process.work()).await.is_none(),
            5 | 6 => {
                let prefix = (dice.below(2) == 0).then(String::new);
                let answer = crash_after(polls * 8, walk(&process, prefix)).await;
                merged += answer.as_ref().map_or(0, |answer| *answer.as_ref().unwrap_or(&0));
                answer.is_none()
            }
            7 => {
                house.engine.lost_answers.store(0, Ordering::SeqCst);
                deleted.extend(delete_one(&house, &mut dice).await);
                house.engine.lost_answers.store(lost_answers, Ordering::SeqCst);
                tokio::time::advance(Duration::from_secs(dice.below(12))).await;
                false
            }
            _ => {
                spec.output.batch.json_key = (dice.below(3) > 0).then(|| ".k".parse().unwrap());
                spec.output.format = format(&mut dice);
                crash_after(polls, process.change(spec.clone())).await.is_none()
            }
        };
        if crashed {
            process = restart(&house, lost_answers).await;
        }
    }
    let mut process = restart(&house, 0).await;
    for _ in 0..60 {
        process.work().await;
        tokio::time::advance(Duration::from_secs(11)).await;
    }
    assert_eq!(process.live.health(Timestamp::default())[0].lag_events, 0, "seed {seed}");
    merged += walk(&process, None).await.unwrap();
    assert_eq!(walk(&process, None).await.unwrap(), 0, "seed {seed}: once is enough for so few");
    let mut found: BTreeMap<u64, u32> = BTreeMap::new();
    for key in house.keys().await {
        for id in ids_in(&house, &key).await {
            *found.entry(id).or_default() += 1;
        }
    }
    for (id, was_acknowledged) in &acknowledged {
        let times = found.remove(id).unwrap_or(0);
        let fine = match (deleted.contains(id), was_acknowledged) {
            (true, _) => times == 0,
            (false, true) => times == 1,
            (false, false) => times <= 1,
        };
        assert!(fine, "seed {seed}: event {id}, acknowledged {was_acknowledged}, is there {times} times");
    }
    assert_eq!(found, BTreeMap::new(), "seed {seed}: events nobody sent");
    check_claims(&house).await;
    merged
}

#[tokio::test(start_paused = true)]
async fn compaction_among_crashes_and_deletions_neither_loses_nor_doubles_an_event() {
    let mut merged = 0;
    for seed in 0..100 {
        merged += exactly_once_while_compacting(seed, 0).await;
    }
    assert!(merged > 100, "only {merged} groups were merged");
}

#[tokio::test(start_paused = true)]
async fn a_merger_whose_answer_is_lost_neither_loses_nor_doubles_an_event() {
    let mut merged = 0;
    for seed in 1000..1080 {
        merged += exactly_once_while_compacting(seed, 3).await;
    }
    assert!(merged > 50, "only {merged} groups were merged");
}
