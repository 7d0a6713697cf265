//! [`Md5Lanes`]: the MD5s of bodies that come at the same time, computed side by side.
//!
//! One MD5 is a chain of dependent steps: 0.7 GB/s whatever the CPU can do besides. Eight independent ones in the lanes of its vector unit
//! take hardly longer than one, so pieces of different bodies that wait at the same time are hashed together, like the writes of a group
//! commit: whoever comes when nobody hashes becomes the leader, takes what waits, and goes on until nothing does.

use bytes::Bytes;
use cistern_runtime::offload;
use futures::future::{Either, select};
use md5_many::{Md5Many, Md5State};
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::available_parallelism;
use tokio::sync::oneshot;

/// Pieces that are hashed together at most. From so many on that wait, another leader helps.
const TOGETHER_MAX: usize = 16;
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

    /// Hashes each piece on top of its state.
    fn advance(&self, states: &mut [Md5State], pieces: &mut [&[u8]]) {
        while self.lanes > 1 && self.advance_together(states, pieces) {}
        for (state, piece) in states.iter_mut().zip(pieces) {
            state.update(piece);
        }
    }

    /// Hashes as much as all pieces have that are worth it, and answers whether at least two were.
    fn advance_together(&self, states: &mut [Md5State], pieces: &mut [&[u8]]) -> bool {
        let is_long = |at: &usize| pieces[*at].len() >= TOGETHER_BYTES_MIN;
        let together: Vec<usize> = (0..pieces.len()).filter(is_long).collect();
        if together.len() < 2 {
            return false;
        }
        let shortest = together.iter().map(|at| pieces[*at].len()).min().unwrap_or(0);
        let taken = shortest - shortest % BLOCK_BYTES;
        let filled = together.len().next_multiple_of(self.lanes);
        let mut lanes: Vec<Md5State> = together.iter().map(|at| states[*at]).collect();
        let mut inputs: Vec<&[u8]> = together.iter().map(|at| &pieces[*at][..taken]).collect();
        lanes.resize(filled, lanes[0]);
        inputs.resize(filled, inputs[0]);
        self.engine.update_many(&mut lanes, &inputs);
        for (at, state) in together.into_iter().zip(lanes) {
            states[at] = state;
            pieces[at] = &pieces[at][taken..];
        }
        true
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
        while let Some(jobs) = self.next_jobs() {
            let mut states: Vec<Md5State> = jobs.iter().map(|job| job.state).collect();
            let mut pieces: Vec<&[u8]> = jobs.iter().map(|job| job.piece.as_ref()).collect();
            self.lanes.advance(&mut states, &mut pieces);
            for (job, state) in jobs.into_iter().zip(states) {
                let _ = job.done.send(state); // its request may be gone
            }
        }
    }

    fn next_jobs(&mut self) -> Option<Vec<Job>> {
        let mut queue = self.lanes.queue();
        if queue.waiting.is_empty() {
            // in the same turn, so that whoever comes next knows that he leads
            queue.leaders -= 1;
            self.leads = false;
            return None;
        }
        let count = queue.waiting.len().min(TOGETHER_MAX);
        Some(queue.waiting.drain(..count).collect())
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
            lengths in prop::collection::vec((0_usize..200, prop_oneof![0_usize..300, 4000_usize..4200, 0_usize..100_000]), 1..=TOGETHER_MAX),
            aligned in any::<bool>(),
        ) {
            let before = |before: usize| if aligned { before * BLOCK_BYTES } else { before };
            let bodies: Vec<(usize, Vec<u8>)> =
                lengths.iter().enumerate().map(|(i, (b, l))| (before(*b), message(before(*b) + l, i))).collect();
            let mut states: Vec<Md5State> = bodies.iter().map(|(before, body)| {
                let mut state = Md5State::new();
                state.update(&body[..*before]);
                state
            }).collect();
            let mut pieces: Vec<&[u8]> = bodies.iter().map(|(before, body)| &body[*before..]).collect();
            Md5Lanes::new().advance(&mut states, &mut pieces);
            for (state, (_, body)) in states.iter().zip(&bodies) {
                prop_assert_eq!(state.finalize(), expected(body));
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
