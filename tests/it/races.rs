//! Clients that race one another over the real server: whatever the order, one wins where one may, and nothing acknowledged is lost.
//!
//! `CISTERN_RACE_ROUNDS` says how many rounds (30 in a test run, 1,000 in `cargo xtask soak`). In every other round the clients do not
//! begin at once but within a millisecond or two, which meets other moments.

mod buckets;
pub(crate) mod checksum;
mod counters;
mod uploads;
mod versions;
mod writers;

use crate::sandbox::asked;
use anyhow::Result;
use cistern_tests::http::Response;
use cistern_tests::{S3, Server, wait};
use rand::RngExt as _;
use std::sync::Barrier;
use std::time::Duration;

const ROUNDS: u32 = 30;
/// The longest time by which a client begins later than the others, in microseconds.
const LATE_MICROS_MAX: u64 = 2000;

/// How many rounds are asked for.
pub(crate) fn rounds() -> u32 {
    asked("CISTERN_RACE_ROUNDS").unwrap_or(ROUNDS)
}

/// Connections of their own, one a client.
pub(crate) fn clients(server: &Server, count: usize) -> Vec<S3> {
    (0..count).map(|_| server.s3().unwrap()).collect()
}

/// Every client does its part of the round at once; what each was answered, in the order of the clients.
pub(crate) fn race<T: Send>(
    clients: &mut [S3],
    round: u32,
    part: impl Fn(usize, &mut S3) -> Result<T> + Sync,
) -> Vec<T> {
    let start = Barrier::new(clients.len());
    std::thread::scope(|scope| {
        let (start, part) = (&start, &part);
        let running: Vec<_> = clients
            .iter_mut()
            .enumerate()
            .map(|(number, s3)| {
                scope.spawn(move || {
                    let late = rand::rng().random_range(0..LATE_MICROS_MAX);
                    start.wait();
                    if round % 2 == 1 {
                        wait::let_pass(Duration::from_micros(late));
                    }
                    part(number, s3)
                })
            })
            .collect();
        running.into_iter().map(|client| client.join().unwrap().unwrap()).collect()
    })
}

/// The code of a refusal, also of one that came with status 200; `""` for success.
pub(crate) fn code(answer: &Response) -> String {
    let code = answer.xml("Code");
    if code.is_empty() && !(200..300).contains(&answer.status) { answer.status.to_string() } else { code }
}

/// Refusals of clients that lost a race for a condition.
pub(crate) fn lost(answer: &Response) -> bool {
    let code = code(answer);
    (answer.status == 412 && code == "PreconditionFailed")
        || (answer.status == 409 && code == "ConditionalRequestConflict")
        || (answer.status == 200 && (code == "PreconditionFailed" || code == "ConditionalRequestConflict"))
}
