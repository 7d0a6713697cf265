//! Which drives answer slowly: [`ReadTimes`]. A read that takes much longer than reads usually do is made once more around the drive
//! it waits for (hedged); such a drive is then left out of reads for a while, so that no more threads wait for it than one now and then.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;
use tokio::time::Instant;

/// A read that takes this many times as long as reads usually do is hedged ...
const HEDGE_FACTOR: u64 = 8;
/// ... but not before this ...
const HEDGE_MIN: Duration = Duration::from_millis(20);
/// ... and at the latest after this.
const HEDGE_MAX: Duration = Duration::from_millis(500);
/// How long a slow drive is left out of reads after the first time; each further time in a row twice as long.
const PENALTY_MIN: Duration = Duration::from_secs(1);
/// ... up to 64 times.
const PENALTY_DOUBLINGS_MAX: u32 = 6;
/// A new reading counts for one part in so many of the mean.
const MEAN_WEIGHT: u64 = 16;

/// How long reads of the drives take.
#[derive(Debug)]
pub(crate) struct ReadTimes {
    began: Instant,
    mean_micros: AtomicU64,
    drives: Vec<Penalty>,
}

#[derive(Debug, Default)]
struct Penalty {
    /// In microseconds since `began`.
    until: AtomicU64,
    times: AtomicU32,
}

impl ReadTimes {
    /// Of a set whose drives are not known for anything.
    pub(crate) fn new(drives: usize) -> Self {
        let drives = (0..drives).map(|_| Penalty::default()).collect();
        Self { began: Instant::now(), mean_micros: AtomicU64::new(0), drives }
    }

    /// How long to wait for a read before it is made around its drive.
    pub(crate) fn patience(&self) -> Duration {
        let usual = Duration::from_micros(self.mean_micros.load(Ordering::Relaxed) * HEDGE_FACTOR);
        usual.clamp(HEDGE_MIN, HEDGE_MAX)
    }

    /// Notes how long a read took that came back by itself.
    pub(crate) fn took(&self, time: Duration) {
        let micros = u64::try_from(time.min(HEDGE_MAX).as_micros()).expect("below a second");
        let mean = self.mean_micros.load(Ordering::Relaxed);
        // two at once lose one of them, which does not matter to a mean
        self.mean_micros.store((mean * (MEAN_WEIGHT - 1) + micros) / MEAN_WEIGHT, Ordering::Relaxed);
    }

    /// Notes that a drive has kept a read waiting.
    pub(crate) fn was_slow(&self, drive: usize) {
        let penalty = &self.drives[drive];
        let times = penalty.times.fetch_add(1, Ordering::Relaxed).min(PENALTY_DOUBLINGS_MAX);
        penalty.until.store(self.now() + micros(PENALTY_MIN) * (1 << times), Ordering::Relaxed);
    }

    /// Notes that a drive has answered in time.
    pub(crate) fn was_quick(&self, drive: usize) {
        if self.drives[drive].times.load(Ordering::Relaxed) > 0 {
            self.drives[drive].times.store(0, Ordering::Relaxed);
        }
    }

    /// Whether a drive is left out of reads for now. Asked once more after a penalty, it says no once, so that one read finds out.
    pub(crate) fn is_left_out(&self, drive: usize) -> bool {
        let penalty = &self.drives[drive];
        let until = penalty.until.load(Ordering::Relaxed);
        if until == 0 {
            return false;
        }
        let now = self.now();
        if now < until {
            return true;
        }
        let again = now + micros(PENALTY_MIN);
        let mine = if penalty.times.load(Ordering::Relaxed) == 0 { 0 } else { again };
        penalty.until.compare_exchange(until, mine, Ordering::Relaxed, Ordering::Relaxed).is_err()
    }

    fn now(&self) -> u64 {
        micros(self.began.elapsed())
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).expect("a process does not run for 500,000 years")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_slow_drive_is_left_out_longer_each_time_and_tried_by_one_read() {
        let times = ReadTimes::new(2);
        assert!(!times.is_left_out(0));
        for seconds in [1, 2, 4] {
            times.was_slow(0);
            tokio::time::advance(Duration::from_millis(seconds * 1000 - 1)).await;
            assert!(times.is_left_out(0) && !times.is_left_out(1));
            tokio::time::advance(Duration::from_millis(2)).await;
            assert!(!times.is_left_out(0), "one may try");
            assert!(times.is_left_out(0), "and no other meanwhile");
        }
        times.was_quick(0);
        tokio::time::advance(Duration::from_secs(2)).await;
        assert!(!times.is_left_out(0) && !times.is_left_out(0), "it has made good");
        times.was_slow(0);
        tokio::time::advance(Duration::from_millis(1001)).await;
        assert!(!times.is_left_out(0), "from the beginning");
    }

    #[tokio::test(start_paused = true)]
    async fn patience_follows_what_reads_usually_take() {
        let times = ReadTimes::new(1);
        assert_eq!(times.patience(), HEDGE_MIN);
        for _ in 0..200 {
            times.took(Duration::from_millis(10));
        }
        assert!((75..=80).contains(&times.patience().as_millis()), "{:?}", times.patience());
        for _ in 0..200 {
            times.took(Duration::from_secs(9));
        }
        assert_eq!(times.patience(), HEDGE_MAX);
    }
}
