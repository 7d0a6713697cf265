//! The sample: 120,000 real flight events (`tests/data/flights-2013.ndjson.gz`) and the sums every reader must find again.

use anyhow::{Context, Result};
use flate2::read::GzDecoder;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io::Read as _;
use std::ops::AddAssign;
use std::path::PathBuf;

/// How many events the sample has.
pub const EVENTS: u64 = 120_000;

/// What is compared between the events sent and the Parquet read back.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sums {
    /// Events.
    pub rows: u64,
    /// Sum of `distance`.
    pub distance: i64,
    /// Sum of `dep_delay`, nulls left out.
    pub dep_delay: i64,
    /// Events without a `dep_delay`.
    pub dep_delay_nulls: u64,
    /// Events of each carrier.
    pub carriers: BTreeMap<String, u64>,
}

#[derive(Deserialize)]
struct Flight {
    carrier: String,
    distance: i64,
    dep_delay: Option<i64>,
}

impl AddAssign<Flight> for Sums {
    fn add_assign(&mut self, flight: Flight) {
        self.rows += 1;
        self.distance += flight.distance;
        self.dep_delay += flight.dep_delay.unwrap_or(0);
        self.dep_delay_nulls += u64::from(flight.dep_delay.is_none());
        *self.carriers.entry(flight.carrier).or_default() += 1;
    }
}

impl AddAssign for Sums {
    fn add_assign(&mut self, other: Self) {
        self.rows += other.rows;
        self.distance += other.distance;
        self.dep_delay += other.dep_delay;
        self.dep_delay_nulls += other.dep_delay_nulls;
        for (carrier, count) in other.carriers {
            *self.carriers.entry(carrier).or_default() += count;
        }
    }
}

/// The sample's file.
pub fn path() -> PathBuf {
    crate::workspace_root().join("tests/data/flights-2013.ndjson.gz")
}

/// The sample unpacked: one JSON object a line.
pub fn ndjson() -> Result<String> {
    let packed = std::fs::File::open(path()).context("open the sample of flights")?;
    let mut text = String::new();
    GzDecoder::new(packed).read_to_string(&mut text).context("unpack the sample of flights")?;
    Ok(text)
}

/// The sums of events in NDJSON.
pub fn sums(ndjson: &str) -> Result<Sums> {
    let mut sums = Sums::default();
    for line in ndjson.lines() {
        sums += serde_json::from_str::<Flight>(line)?;
    }
    Ok(sums)
}

/// Cuts NDJSON between lines into bodies of at most `body_bytes_max` bytes.
pub fn bodies(ndjson: &str, body_bytes_max: usize) -> Vec<&str> {
    let mut bodies = Vec::new();
    let mut rest = ndjson;
    while rest.len() > body_bytes_max {
        let end = rest[..body_bytes_max].rfind('\n').map_or(rest.len(), |newline| newline + 1);
        let (body, after) = rest.split_at(end);
        bodies.push(body);
        rest = after;
    }
    if !rest.is_empty() {
        bodies.push(rest);
    }
    bodies
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_are_cut_between_lines_and_lose_nothing() {
        let lines = "one\ntwo\nthree\n";
        assert_eq!(bodies(lines, 8), ["one\ntwo\n", "three\n"]);
        assert_eq!(bodies(lines, 100), [lines]);
    }

    #[test]
    fn the_sample_is_the_one_its_note_describes() {
        let sums = sums(&ndjson().unwrap()).unwrap();
        assert_eq!((sums.rows, sums.carriers.len()), (EVENTS, 16));
    }
}
