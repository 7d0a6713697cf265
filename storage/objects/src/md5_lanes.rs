//! [`Md5Lanes`]: the MD5s of bodies that come at the same time, computed side by side.
//!
//! One MD5 is a chain of dependent steps: 0.7 GB/s whatever the CPU can do besides. Eight independent ones in the lanes of its vector unit
//! take hardly longer than one, so pieces of different bodies that are there at the same time are hashed together: whoever comes when nobody
//! hashes becomes the leader, goes on until nothing is left, and lets in between two steps who came meanwhile.

use bytes::{Buf as _, Bytes};
use cistern_runtime::offload;
use futures::future::{Either, select};
use md5_many::{Md5Many, Md5State};
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::available_parallelism;
use tokio::sync::oneshot;

/// Pieces that are hashed together at most. From so many on that wait, another leader helps.
const TOGETHER_MAX: usize = 16;
/// So much of each piece is hashed before the next are let in: a tenth of a millisecond for a piece that is alone.
const STEP_BYTES: usize = 64 << 10;
/// Lanes are filled up to a multiple of this with copies: the engine is many times slower with five lanes than with eight.
const FILLED_LANES: usize = 8;
/// What is left of a piece is hashed alone when it is shorter than this.
const TOGETHER_BYTES_MIN: usize = 4096;
/// MD5 takes its bytes in blocks of this size.
const BLOCK_BYTES: usize = 64;

/// Hashes pieces of bodies, together where several wait.
#[derive(Debug)]
pub(crate) struct Md5Lanes {
    engine: Md5Many,
    /// Lanes that are filled up; 1 when this CPU's lanes cannot be used.
    lanes: usize,
    leaders_max: usize,
    queue: Mutex<Queue>,
}

#[derive(Debug, Default)]
struct Queue {
    waiting: Vec<Job>,
    leaders: usize,
}

#[derive(Debug)]
struct Job {
    state: Md5State,
    piece: Bytes,
    done: oneshot::Sender<Md5State>,
}

impl Md5Lanes {
    pub(crate) fn new() -> Arc<Self> {
        let engine = Md5Many::new();
        let mut lanes = engine.lanes().clamp(1, FILLED_LANES);
        if !agrees_with_one(engine, lanes) {
            tracing::error!("the lanes of this CPU come to other MD5s than one at a time: each is computed alone");
            lanes = 1;
        }
        let leaders_max = available_parallelism().map_or(1, usize::from);
        Arc::new(Self { engine, lanes, leaders_max, queue: Mutex::default() })
    }

    /// The state after `piece`, which other threads hash. Dropping the future leaves nothing behind.
    pub(crate) async fn update(self: &Arc<Self>, state: Md5State, piece: Bytes) -> Md5State {
        const ANSWERED: &str = "a leader answers every job, unless hashing has panicked";
        let (done, hashed) = oneshot::channel();
        let Some(leader) = self.enqueue(Job { state, piece, done }) else {
            return hashed.await.expect(ANSWERED);
        };
        // a leader may go on for others long after this piece
        match select(hashed, pin!(offload(move || leader.run()))).await {
            Either::Left((hashed, _)) => hashed.expect(ANSWERED),
            Either::Right(((), hashed)) => hashed.await.expect(ANSWERED),
        }
    }

    fn enqueue(self: &Arc<Self>, job: Job) -> Option<Leader> {
        let mut queue = self.queue();
        queue.waiting.push(job);
        let wanted = queue.leaders == 0 || queue.waiting.len() >= TOGETHER_MAX;
        (wanted && queue.leaders < self.leaders_max).then(|| {
            queue.leaders += 1;
            Leader { lanes: Arc::clone(self), leads: true }
        })
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hashes the next bytes of each piece, of short ones all.
    fn step(&self, jobs: &mut [Job]) {
        let (mut long, short): (Vec<&mut Job>, Vec<&mut Job>) =
            jobs.iter_mut().partition(|job| job.piece.len() >= TOGETHER_BYTES_MIN);
        if self.lanes > 1 && long.len() > 1 {
            self.step_together(&mut long);
        } else {
            for job in long {
                job.step_alone(STEP_BYTES);
            }
        }
        for job in short {
            job.step_alone(usize::MAX);
        }
    }

    /// Hashes as many bytes of each piece as the shortest has.
    fn step_together(&self, jobs: &mut [&mut Job]) {
        let shortest = jobs.iter().map(|job| job.piece.len()).min().unwrap_or(0).min(STEP_BYTES);
        let taken = shortest - shortest % BLOCK_BYTES;
        let filled = jobs.len().next_multiple_of(self.lanes);
        let mut states: Vec<Md5State> = jobs.iter().map(|job| job.state).collect();
        let mut inputs: Vec<&[u8]> = jobs.iter().map(|job| &job.piece[..taken]).collect();
        states.resize(filled, states[0]);
        inputs.resize(filled, inputs[0]);
        self.engine.update_many(&mut states, &inputs);
        for (job, state) in jobs.iter_mut().zip(states) {
            job.state = state;
            job.piece.advance(taken);
        }
    }
}

impl Job {
    fn step_alone(&mut self, bytes_max: usize) {
        let taken = self.piece.split_to(self.piece.len().min(bytes_max));
        self.state.update(&taken);
    }
}

/// Whether lanes, in every number that is used, come to the same as one message at a time.
fn agrees_with_one(engine: Md5Many, lanes: usize) -> bool {
    (lanes..=TOGETHER_MAX).step_by(lanes).all(|count| {
        let messages: Vec<Vec<u8>> = (0..=u8::MAX).take(count).map(|byte| vec![byte; 4 * BLOCK_BYTES]).collect();
        let mut states = vec![Md5State::new(); count];
        engine.update_many(&mut states, &messages.iter().map(Vec::as_slice).collect::<Vec<_>>());
        states.iter().zip(&messages).all(|(state, message)| state.finalize() == md5_many::md5(message))
    })
}

/// One of those who hash, until nothing waits.
struct Leader {
    lanes: Arc<Md5Lanes>,
    leads: bool,
}

impl Leader {
    fn run(mut self) {
        let mut jobs = Vec::new();
        while self.let_in(&mut jobs) {
            self.lanes.step(&mut jobs);
            for Job { state, done, .. } in jobs.extract_if(.., |job| job.piece.is_empty()) {
                let _ = done.send(state); // its request may be gone
            }
        }
    }

    /// Adds what waits to `jobs`, as many as can be hashed together; when there are none, this leader leads no more.
    fn let_in(&mut self, jobs: &mut Vec<Job>) -> bool {
        let mut queue = self.lanes.queue();
        let count = queue.waiting.len().min(TOGETHER_MAX - jobs.len());
        jobs.extend(queue.waiting.drain(..count));
        if jobs.is_empty() {
            // in the same turn, so that whoever comes next knows that he leads
            queue.leaders -= 1;
            self.leads = false;
        }
        !jobs.is_empty()
    }
}

impl Drop for Leader {
    /// After a panic, or without a runtime that would run it, it leaves nobody waiting.
    fn drop(&mut self) {
        if self.leads {
            let mut queue = self.lanes.queue();
            queue.leaders -= 1;
            if queue.leaders == 0 {
                queue.waiting.clear();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use md5::{Digest as _, Md5};
    use proptest::prelude::*;

    fn expected(bytes: &[u8]) -> [u8; 16] {
        Md5::digest(bytes).into()
    }

    fn message(length: usize, seed: usize) -> Vec<u8> {
        (0..length).map(|at| (at * 31 + seed * 17 + at / 251).to_le_bytes()[0]).collect()
    }

    #[test]
    fn lanes_of_this_cpu_compute_what_one_at_a_time_does() {
        assert!(Md5Lanes::new().lanes > 1 || Md5Many::new().lanes() == 1);
    }

    proptest! {
        /// Any number of bodies, of any lengths, each behind some bytes that were hashed before.
        #[test]
        fn pieces_hashed_together_are_hashed_rightly(
            lengths in prop::collection::vec((0_usize..200, prop_oneof![0_usize..300, 4000_usize..4200, 0_usize..200_000]), 1..TOGETHER_MAX),
            aligned in any::<bool>(),
        ) {
            let before = |before: usize| if aligned { before * BLOCK_BYTES } else { before };
            let bodies: Vec<(usize, Vec<u8>)> =
                lengths.iter().enumerate().map(|(i, (b, l))| (before(*b), message(before(*b) + l, i))).collect();
            let lanes = Md5Lanes::new();
            let (mut leader, mut sums) = (None, Vec::new());
            for (before, body) in &bodies {
                let mut state = Md5State::new();
                state.update(&body[..*before]);
                let (done, hashed) = oneshot::channel();
                leader = leader.or(lanes.enqueue(Job { state, piece: Bytes::copy_from_slice(&body[*before..]), done }));
                sums.push(hashed);
            }
            leader.expect("the first leads").run();
            for (mut sum, (_, body)) in sums.into_iter().zip(&bodies) {
                prop_assert_eq!(sum.try_recv().expect("it was hashed").finalize(), expected(body));
            }
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn many_bodies_at_the_same_time_get_their_own_sums() {
        let lanes = Md5Lanes::new();
        let bodies = (0..100).map(|i| {
            let lanes = Arc::clone(&lanes);
            async move {
                let mut state = Md5State::new();
                let body = message(20_000 + i * 977, i);
                for piece in body.chunks(16_384) {
                    state = lanes.update(state, Bytes::copy_from_slice(piece)).await;
                }
                assert_eq!(state.finalize(), expected(&body), "body {i}");
            }
        });
        futures::future::join_all(bodies).await;
        assert_eq!(lanes.queue().waiting.len(), 0);
    }

    #[tokio::test]
    async fn a_leader_who_never_ran_leaves_nobody_waiting() {
        let lanes = Md5Lanes::new();
        let (done, hashed) = oneshot::channel();
        let leader = lanes.enqueue(Job { state: Md5State::new(), piece: Bytes::new(), done });
        drop(leader.expect("the first leads"));
        assert!(hashed.await.is_err());
        let state = lanes.update(Md5State::new(), Bytes::from_static(b"abc")).await;
        assert_eq!(state.finalize(), expected(b"abc"));
    }
}
