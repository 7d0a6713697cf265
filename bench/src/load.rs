//! Clients in threads, each with its own connection and a share of the operations.

use anyhow::Result;
use cistern_tests::{S3, Server, wait};
use std::time::Duration;

/// How long the operations of a load took.
#[derive(Debug)]
pub(crate) struct Times {
    /// The whole load.
    pub(crate) wall: Duration,
    /// Each operation, shortest first.
    pub(crate) sorted: Vec<Duration>,
}

impl Times {
    /// The time that `percent` of the operations did not exceed.
    pub(crate) fn percentile(&self, percent: usize) -> Duration {
        let at = self.sorted.len().saturating_sub(1) * percent / 100;
        self.sorted.get(at).copied().unwrap_or_default()
    }
}

/// Runs `operations` numbered from 0 against S3, shared among `clients` threads with one connection each.
pub(crate) fn run(
    server: &Server,
    clients: usize,
    operations: usize,
    operation: impl Fn(&mut S3, usize) -> Result<()> + Sync,
) -> Result<Times> {
    run_with(clients, operations, || server.s3(), operation)
}

/// The same with connections of another kind.
pub(crate) fn run_with<C>(
    clients: usize,
    operations: usize,
    connect: impl Fn() -> Result<C> + Sync,
    operation: impl Fn(&mut C, usize) -> Result<()> + Sync,
) -> Result<Times> {
    let start = wait::now();
    let one_client = |client: usize| -> Result<Vec<Duration>> {
        let mut connection = connect()?;
        let mine = (client..operations).step_by(clients);
        mine.map(|number| {
            let begun = wait::now();
            operation(&mut connection, number)?;
            Ok(begun.elapsed())
        })
        .collect()
    };
    let times: Result<Vec<Vec<Duration>>> = std::thread::scope(|scope| {
        let one_client = &one_client;
        let threads: Vec<_> = (0..clients).map(|client| scope.spawn(move || one_client(client))).collect();
        threads.into_iter().map(|thread| thread.join().expect("a client thread does not panic")).collect()
    });
    let mut sorted = times?.concat();
    sorted.sort_unstable();
    Ok(Times { wall: start.elapsed(), sorted })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_read_from_the_sorted_times() {
        let sorted = (1..=101).map(Duration::from_millis).collect();
        let times = Times { wall: Duration::ZERO, sorted };
        assert_eq!(
            (times.percentile(50), times.percentile(99)),
            (Duration::from_millis(51), Duration::from_millis(100))
        );
    }
}
