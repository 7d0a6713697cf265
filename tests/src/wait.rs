//! The clock of the harness, and waiting for a condition of another process with a limit.
//!
//! Another process cannot wake us, so a condition of it is asked for again and again; nothing here is ever a fixed
//! "long enough".

use anyhow::{Result, bail};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

const POLL_PAUSE: Duration = Duration::from_millis(20);

/// A point in time to measure from.
#[expect(clippy::disallowed_methods, reason = "the harness measures another process by real time")]
pub fn now() -> Instant {
    Instant::now()
}

/// Seconds since 1970, for signatures.
#[expect(clippy::disallowed_methods, reason = "signatures carry the real time")]
pub fn unix_seconds() -> i64 {
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since_1970.as_secs()).unwrap_or(i64::MAX)
}

/// Lets time pass: for measuring over a window, never for "it will have happened by then".
#[expect(clippy::disallowed_methods, reason = "a window of real time over another process is what is measured")]
pub fn let_pass(window: Duration) {
    std::thread::sleep(window);
}

/// Asks `condition` until it answers a value, at most for `limit`; `what` is named when it never does.
pub fn until<T>(what: &str, limit: Duration, mut condition: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let start = now();
    loop {
        if let Some(value) = condition()? {
            return Ok(value);
        }
        if start.elapsed() > limit {
            bail!("waited {} s in vain: {what}", limit.as_secs());
        }
        let_pass(POLL_PAUSE);
    }
}
