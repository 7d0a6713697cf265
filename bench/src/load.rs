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

/// Runs `operations` numbered from 0, shared among `clients` threads with one connection each.
pub(crate) fn run(
    server: &Server,
    clients: usize,
    operations: usize,
    operation: impl Fn(&mut S3, usize) -> Result<()> + Sync,
) -> Result<Times> {
    let start = wait::now();
    let one_client = |client: usize| -> Result<Vec<Duration>> {
        let mut s3 = server.s3()?;
        let mine = (client..operations).step_by(clients);
        mine.map(|number| {
            let begun = wait::now();
            operation(&mut s3, number)?;
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
