//! `Timestamp` and durations as text.

use crate::Invalid;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::time::Duration;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// A wall-clock time: milliseconds since 1970-01-01T00:00:00Z.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct Timestamp(u64);

impl Timestamp {
    /// This many milliseconds after 1970.
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis)
    }

    /// Milliseconds since 1970.
    pub const fn as_millis(self) -> u64 {
        self.0
    }

    /// Whole seconds since 1970, the fraction cut off.
    pub const fn as_seconds(self) -> u64 {
        self.0 / 1000
    }

    /// The time `duration` later; stays at the end of time when it would pass it.
    #[must_use]
    pub fn plus(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)))
    }

    /// The time `duration` earlier, not before 1970.
    #[must_use]
    pub fn minus(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)))
    }

    /// How long after `earlier` this is; zero when it is not after.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }

    /// As calendar date and time in UTC; times past the year 9999 become its last second.
    pub fn to_utc(self) -> OffsetDateTime {
        const LAST_SECOND: i64 = 253_402_300_799;
        let seconds = i64::try_from(self.0 / 1000).unwrap_or(LAST_SECOND).min(LAST_SECOND);
        let whole =
            OffsetDateTime::from_unix_timestamp(seconds).expect("seconds of the years 1970 to 9999 are in range");
        whole + Duration::from_millis(self.0 % 1000)
    }
}

/// RFC 3339 in UTC, as in `2026-11-23T19:20:00.5Z`.
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_utc().format(&Rfc3339).map_err(|_| fmt::Error)?)
    }
}

/// Reads `250ms`, `120s`, `5m`, `24h`, `7d` or a bare number of seconds.
pub fn parse_duration(text: &str) -> Result<Duration, Invalid> {
    let invalid = || Invalid::new("duration", text, "use a number and a unit, such as 250ms, 120s, 5m, 24h or 7d");
    let trimmed = text.trim();
    let digits = trimmed.find(|c: char| !c.is_ascii_digit()).unwrap_or(trimmed.len());
    let (number, unit) = trimmed.split_at(digits);
    let number: u64 = number.parse().map_err(|_| invalid())?;
    let millis = match unit {
        "ms" => 1,
        "" | "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return Err(invalid()),
    };
    number.checked_mul(millis).map(Duration::from_millis).ok_or_else(invalid)
}

/// Writes a duration so that [`parse_duration`] reads it again, in the largest unit that fits.
pub fn format_duration(duration: Duration) -> String {
    let millis = duration.as_millis();
    for (unit, factor) in [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000)] {
        if millis != 0 && millis.is_multiple_of(factor) {
            return format!("{}{unit}", millis / factor);
        }
    }
    format!("{millis}ms")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_round_trip() {
        for text in ["250ms", "119s", "5m", "24h", "7d"] {
            let duration = parse_duration(text).unwrap();
            assert_eq!(parse_duration(&format_duration(duration)).unwrap(), duration, "{text}");
        }
        assert_eq!(parse_duration("15").unwrap(), Duration::from_secs(15));
        assert!(parse_duration("1y").is_err());
        assert!(parse_duration("").is_err());
    }

    #[test]
    fn times_print_in_utc_and_never_panic() {
        assert_eq!(Timestamp::from_millis(1_700_000_000_500).to_string(), "2023-11-14T22:13:20.5Z");
        assert_eq!(Timestamp::from_millis(u64::MAX).to_string().get(..4), Some("9999"));
    }
}
