//! Retries that recognise themselves: a producer numbers what it sends, and what was logged before is not logged again.
//!
//! One rule for all doors, Kafka's for idempotent producers: numbers count up from batch to batch, each batch may be sent again
//! as long as it is one of the last [`BATCHES_REMEMBERED`], a gap is refused. An `Idempotency-Key` is a producer that sends one
//! batch in its life.
//!
//! What is known of a producer is a row that the flush of the log writes together with the events ([`crate::event_log`]), so a
//! crash keeps both or neither. The rows of a time window lie together: a producer is looked for in the present window and the
//! one before, and whole windows are forgotten.

use crate::live::Live;
use crate::partition::key_id;
use crate::registry::Tries;
use crate::rows::{HEADS, HeadRow, PRODUCERS, PipelineId, ProducerRow, SeenBatch};
use crate::{Error, Result};
use cistern_metadata::{Commit, Scan, Transaction};
use cistern_objects::Objects;
use cistern_types::Timestamp;
use std::collections::VecDeque;
use std::time::Duration;

/// How many batches of a producer are remembered; Kafka's clients have as many under way at most.
pub(crate) const BATCHES_REMEMBERED: usize = 5;

/// How many rows of each kind of producer one transaction forgets.
const FORGOTTEN_PER_TRANSACTION: usize = 1_000;

/// How often producers that have not sent for long are looked for.
const FORGET_INTERVAL: Duration = Duration::from_mins(10);

/// Sequence numbers begin again at 0 after this many, as Kafka's do.
const SEQUENCES: i64 = 1 << 31;

/// Who numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Producer {
    kind: ProducerKind,
    id: [u8; 16],
}

/// What a producer is known by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum ProducerKind {
    /// A producer id that the Kafka endpoint gave out, and a shard: each has numbers of its own.
    Kafka,
    /// A name that a sender over HTTP gave itself.
    Named,
    /// The idempotency key of one request.
    Key,
    /// A name that the client of a WebSocket gave itself.
    Socket,
}

impl ProducerKind {
    pub(crate) const ALL: [Self; 4] = [Self::Kafka, Self::Named, Self::Key, Self::Socket];

    /// As it stands in the key of a row.
    pub(crate) fn tag(self) -> [u8; 1] {
        match self {
            Self::Kafka => [0],
            Self::Named => [1],
            Self::Key => [2],
            Self::Socket => [3],
        }
    }

    /// How long its rows are looked for at least; at most twice as long. There may be a key for every request, so those are
    /// kept for a shorter time.
    fn window(self) -> Duration {
        match self {
            Self::Kafka | Self::Named | Self::Socket => Duration::from_hours(24),
            Self::Key => Duration::from_hours(1),
        }
    }

    /// The number of the window that a time is in.
    pub(crate) fn window_of(self, at: Timestamp) -> u32 {
        u32::try_from(at.as_seconds() / self.window().as_secs()).unwrap_or(u32::MAX)
    }
}

impl Producer {
    pub(crate) fn kafka(producer_id: i64, shard: u8) -> Self {
        let mut id = [0; 16];
        id[..8].copy_from_slice(&producer_id.to_be_bytes());
        id[8] = shard;
        Self { kind: ProducerKind::Kafka, id }
    }

    pub(crate) fn named(name: &str) -> Self {
        Self { kind: ProducerKind::Named, id: key_id(name.as_bytes()) }
    }

    pub(crate) fn socket(name: &str) -> Self {
        Self { kind: ProducerKind::Socket, id: key_id(name.as_bytes()) }
    }

    pub(crate) fn key(key: &str) -> Self {
        Self { kind: ProducerKind::Key, id: key_id(key.as_bytes()) }
    }

    /// What is known of it at `at`, and the key that a row written then has.
    pub(crate) async fn load(
        self,
        txn: &mut Transaction,
        pipeline: PipelineId,
        at: Timestamp,
    ) -> Result<Option<ProducerRow>> {
        let window = self.kind.window_of(at);
        for window in [Some(window), window.checked_sub(1)].into_iter().flatten() {
            if let Some(row) = PRODUCERS.get(txn, &self.row_key(pipeline, window)).await? {
                return Ok(Some(row));
            }
        }
        Ok(None)
    }

    /// Writes what is known of it at `at`.
    pub(crate) fn store(
        self,
        txn: &mut Transaction,
        pipeline: PipelineId,
        at: Timestamp,
        row: &ProducerRow,
    ) -> Result<()> {
        Ok(PRODUCERS.put(txn, &self.row_key(pipeline, self.kind.window_of(at)), row)?)
    }

    fn row_key(self, pipeline: PipelineId, window: u32) -> (PipelineId, [u8; 1], u32, [u8; 16]) {
        (pipeline, self.kind.tag(), window, self.id)
    }
}

/// Takes a producer's name over: whoever used it before stores nothing more under it. The epoch to send with, and the number after the
/// last one that was stored, or 0.
pub(crate) async fn take_over(objects: &Objects, live: &Live, producer: Producer) -> Result<(i32, i32)> {
    let pipeline = live.id();
    let mut tries = Tries::new();
    loop {
        let mut txn = objects.store().begin().await?;
        let Some(head) = HEADS.get(&mut txn, &pipeline).await? else {
            return Err(Error::NoSuchPipeline { name: live.name().to_string() });
        };
        // The log's time moves on too, so that the flush looks for the row in the window where it is.
        let at = objects.clock().now().max(head.at);
        HEADS.put(&mut txn, &pipeline, &HeadRow { at, ..head })?;
        let known = producer.load(&mut txn, pipeline, at).await?.unwrap_or_default();
        let epoch = known.epoch.checked_add(1).unwrap_or(1);
        let next = known.batches.back().map_or(0, |last| after(last.first, last.count));
        producer.store(&mut txn, pipeline, at, &ProducerRow { epoch, ..known })?;
        if tries.commit(txn).await? {
            return Ok((epoch, next));
        }
    }
}

/// Removes rows of producers that nobody looks for any more at `at`, which may be behind the log's time but never ahead of
/// it; when to look again, `None` when there may be more at once.
pub(crate) async fn forget_some(objects: &Objects, stream: PipelineId, at: Timestamp) -> Result<Option<Timestamp>> {
    let mut txn = objects.store().begin().await?;
    let mut removed = 0;
    for kind in ProducerKind::ALL {
        let oldest = kind.window_of(at).saturating_sub(1);
        let all = PRODUCERS.prefix_range(&(stream, kind.tag()));
        let range = all.before(&PRODUCERS.key_bytes(&(stream, kind.tag(), oldest, [0; 16])));
        for (key, _) in PRODUCERS.scan_unchecked(&txn, &Scan::first(range, FORGOTTEN_PER_TRANSACTION)).await? {
            PRODUCERS.delete(&mut txn, &key);
            removed += 1;
        }
    }
    let committed = matches!(txn.commit().await?, Commit::Committed { .. });
    Ok((committed && removed < FORGOTTEN_PER_TRANSACTION).then(|| at.plus(FORGET_INTERVAL)))
}

/// What a producer says about a batch it sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Claim {
    pub(crate) producer: Producer,
    /// Of two producers of the same name the one with the higher epoch is right.
    pub(crate) epoch: i32,
    /// The number of its first item, 0 to 2^31 - 1.
    pub(crate) first: i32,
    /// How many numbers it takes.
    pub(crate) count: u32,
    /// Of what is sent: the same number with other content is a mistake. 0 where nobody looks.
    pub(crate) digest: u64,
}

/// What a claim turns out to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Not seen before.
    New,
    /// It was logged at this offset.
    Seen {
        /// The offset of its first event.
        offset: u64,
    },
}

impl Claim {
    /// Compares it with what is known of the producer.
    pub(crate) fn judge(&self, known: Option<&ProducerRow>) -> Result<Verdict> {
        let Some(known) = known else {
            // Forgotten or unheard of. Where several may be on their way at once, one that comes first need not be the first.
            return match self.producer.kind {
                ProducerKind::Kafka if self.first != 0 => Err(Error::UnknownProducer { sequence: self.first }),
                ProducerKind::Socket if self.first != 0 => Err(self.gap(0)),
                _ => Ok(Verdict::New),
            };
        };
        if self.epoch < known.epoch {
            return Err(Error::FencedProducer { epoch: known.epoch });
        }
        if self.epoch > known.epoch {
            return if self.first == 0 { Ok(Verdict::New) } else { Err(self.gap(0)) };
        }
        if let Some(seen) = known.batches.iter().find(|seen| (seen.first, seen.count) == (self.first, self.count)) {
            if seen.digest != self.digest {
                return Err(match self.producer.kind {
                    ProducerKind::Key => Error::ReusedKey,
                    _ => Error::ReusedSequence { sequence: self.first },
                });
            }
            return Ok(Verdict::Seen { offset: seen.offset });
        }
        let Some(last) = known.batches.back() else {
            return if self.first == 0 { Ok(Verdict::New) } else { Err(self.gap(0)) };
        };
        let next = after(last.first, last.count);
        if self.first == next {
            return Ok(Verdict::New);
        }
        // They go round: half of all numbers lie behind, half ahead. As long as they have not just done so, each larger one is ahead.
        let ahead = (i64::from(self.first) - i64::from(next)).rem_euclid(SEQUENCES);
        let came_round = known.batches.iter().any(|seen| seen.first > next);
        if ahead < SEQUENCES / 2 || (self.first > next && !came_round) {
            Err(self.gap(next))
        } else {
            Err(Error::OldSequence { sequence: self.first })
        }
    }

    fn gap(&self, expected: i32) -> Error {
        Error::SequenceGap { expected, given: self.first }
    }

    /// What is known of the producer once the batch is logged at `offset`.
    pub(crate) fn record(&self, known: Option<ProducerRow>, offset: u64) -> ProducerRow {
        let same = known.filter(|known| known.epoch == self.epoch);
        let mut batches = same.map_or_else(VecDeque::new, |known| known.batches);
        if batches.len() == BATCHES_REMEMBERED {
            batches.pop_front();
        }
        batches.push_back(SeenBatch { first: self.first, count: self.count, offset, digest: self.digest });
        ProducerRow { epoch: self.epoch, batches }
    }
}

/// The number that follows `count` numbers from `first` on.
pub(crate) fn after(first: i32, count: u32) -> i32 {
    let next = (i64::from(first) + i64::from(count)).rem_euclid(SEQUENCES);
    i32::try_from(next).expect("it is below 2^31")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn claim(epoch: i32, first: i32, count: u32) -> Claim {
        Claim { producer: Producer::named("p"), epoch, first, count, digest: 7 }
    }

    fn known(claims: &[Claim]) -> Option<ProducerRow> {
        let mut known = None;
        for (number, claim) in claims.iter().enumerate() {
            known = Some(claim.record(known, 100 + number as u64));
        }
        known
    }

    fn said(result: Result<Verdict>) -> String {
        match result {
            Ok(verdict) => format!("{verdict:?}"),
            Err(error) => error.to_string(),
        }
    }

    #[track_caller]
    fn check(before: &[Claim], claim: Claim, expected: &str) {
        let found = said(claim.judge(known(before).as_ref()));
        assert!(found.starts_with(expected), "{found}");
    }

    #[test]
    fn numbers_go_on_retries_are_seen_and_gaps_refused() {
        let sent = [claim(0, 0, 3), claim(0, 3, 2)];
        check(&[], claim(0, 17, 1), "New");
        let kafka = |first| Claim { producer: Producer::kafka(7, 0), ..claim(0, first, 1) };
        check(&[], kafka(0), "New");
        check(&[], kafka(3), "nothing is known of the producer of sequence 3");
        let socket = |first| Claim { producer: Producer::socket("s"), ..claim(1, first, 1) };
        check(&[], socket(0), "New");
        check(&[], socket(3), "sequence 3 leaves a gap: 0 is next");
        let taken_over = ProducerRow { epoch: 1, ..ProducerRow::default() };
        assert!(said(socket(1).judge(Some(&taken_over))).starts_with("sequence 1 leaves a gap: 0 is next"));
        assert_eq!(said(socket(0).judge(Some(&taken_over))), "New");
        check(&sent, claim(0, 5, 1), "New");
        check(&sent, claim(0, 0, 3), "Seen { offset: 100 }");
        check(&sent, claim(0, 3, 2), "Seen { offset: 101 }");
        check(&sent, claim(0, 6, 1), "sequence 6 leaves a gap: 5 is next");
        check(&sent, claim(0, 3, 1), "sequence 3 is behind");
        check(&sent, claim(1, 0, 1), "New");
        check(&sent, claim(1, 5, 1), "sequence 5 leaves a gap: 0 is next");
        check(&[claim(2, 0, 1)], claim(1, 1, 1), "another producer of this name has epoch 2");
        check(&sent, claim(0, i32::MAX, 1), "sequence 2147483647 leaves a gap: 5 is next");
        check(&sent, Claim { digest: 8, ..claim(0, 3, 2) }, "sequence 3 was used before");
        let key = |digest| Claim { producer: Producer::key("k"), digest, ..claim(0, 0, 1) };
        check(&[key(1)], key(2), "this Idempotency-Key was used before");
    }

    #[test]
    fn the_last_five_are_remembered_and_numbers_go_round() {
        let sent: Vec<Claim> = (0..7).map(|number| claim(0, number, 1)).collect();
        check(&sent, sent[1], "sequence 1 is behind");
        check(&sent, sent[2], "Seen { offset: 102 }");
        let end = claim(0, i32::MAX - 1, 2);
        check(&[end], claim(0, 0, 1), "New");
        check(&[end], claim(0, 1, 1), "sequence 1 leaves a gap: 0 is next");
        check(&[end], claim(0, i32::MAX - 2, 1), "sequence 2147483645 is behind");
        check(&[claim(0, i32::MAX, 3)], claim(0, 2, 1), "New");
    }

    #[test]
    fn windows_follow_one_another_in_time_and_keys_have_shorter_ones() {
        let day = Duration::from_hours(24);
        let at = Timestamp::from_millis(1_790_000_000_000);
        for kind in ProducerKind::ALL {
            assert_eq!(kind.window_of(at.plus(kind.window())), kind.window_of(at) + 1);
        }
        assert_eq!(ProducerKind::Key.window_of(at.plus(day)), ProducerKind::Key.window_of(at) + 24);
    }

    proptest! {
        /// A producer that may repeat any of its last five batches, and does, is never refused and never logged twice.
        #[test]
        fn whatever_is_sent_again_is_logged_once(
            start in 0..=i32::MAX,
            counts in prop::collection::vec(1u32..1000, 1..30),
            again in prop::collection::vec(0usize..5, 30),
        ) {
            let (mut known, mut sent, mut first) = (None, Vec::new(), start);
            for (number, count) in counts.into_iter().enumerate() {
                let batch = claim(0, first, count);
                prop_assert_eq!(batch.judge(known.as_ref()).unwrap(), Verdict::New);
                known = Some(batch.record(known, number as u64));
                sent.push(batch);
                first = after(first, count);
                let back = again[number].min(sent.len() - 1);
                let repeated = sent.len() - 1 - back;
                let verdict = sent[repeated].judge(known.as_ref()).unwrap();
                prop_assert_eq!(verdict, Verdict::Seen { offset: repeated as u64 });
            }
        }
    }
}
