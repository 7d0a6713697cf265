//! Generated events: clicks of a shop, ten fields and about 200 bytes each, the same ones in every run.

use rand::rngs::SmallRng;
use rand::{RngExt as _, SeedableRng as _};
use std::fmt::Write as _;

/// The fields as a pipeline's `--schema` takes them.
pub(crate) const SCHEMA: &str = r#"{"fields":[
    {"name":"ts","type":"timestamp","unit":"millisecond"},{"name":"merchantId","type":"string"},
    {"name":"userId","type":"string"},{"name":"event","type":"string"},{"name":"url","type":"string"},
    {"name":"price","type":"float64"},{"name":"qty","type":"int64"},{"name":"sessionId","type":"string"},
    {"name":"country","type":"string"},{"name":"ok","type":"bool"}]}"#;

const KINDS: [&str; 6] = ["page_view", "search", "add_to_cart", "login", "checkout", "purchase"];
const SOURCES: [&str; 4] = ["mail", "organic", "ads", "push"];
const COUNTRIES: [&str; 8] = ["DE", "US", "FR", "GB", "NL", "PL", "JP", "BR"];

/// So many events, one a line.
pub(crate) fn generate(events: usize) -> String {
    let mut random = SmallRng::seed_from_u64(7);
    let mut text = String::with_capacity(events * 210);
    let mut millis = 0_u64;
    for _ in 0..events {
        millis += random.random_range(0..3);
        let (hour, minute) = (millis / 3_600_000 % 24, millis / 60_000 % 60);
        let (second, fraction) = (millis / 1000 % 60, millis % 1000);
        let (kind, country) = (pick(&KINDS, low(&mut random, 6)), pick(&COUNTRIES, low(&mut random, 8)));
        let (merchant, user, item) = (low(&mut random, 2000), low(&mut random, 5_000_000), low(&mut random, 100_000));
        let (source, price, cents) =
            (pick(&SOURCES, random.random_range(0..4)), low(&mut random, 900) + 1, random.random_range(0..100));
        let (quantity, session, ok) =
            (random.random_range(0..9) + 1, random.random::<u64>(), random.random_range(0..20) != 0);
        writeln!(
            text,
            r#"{{"ts":"2026-08-15T{hour:02}:{minute:02}:{second:02}.{fraction:03}Z","merchantId":"m_{merchant:05}","userId":"u_{user:08}","event":"{kind}","url":"/p/{item}?ref={source}","price":{price}.{cents:02},"qty":{quantity},"sessionId":"{session:016x}","country":"{country}","ok":{ok}}}"#
        )
        .expect("writing to a string does not fail");
    }
    text
}

fn pick<'a>(from: &[&'a str], number: u64) -> &'a str {
    from[usize::try_from(number).expect("an index")]
}

/// A number below `limit`, low ones more often, as few users make most of the clicks.
fn low(random: &mut SmallRng, limit: u64) -> u64 {
    let part = |random: &mut SmallRng| random.random_range(0..1_u64 << 20);
    let product = u128::from(part(random)) * u128::from(part(random)) * u128::from(part(random));
    u64::try_from((product * u128::from(limit)) >> 60).expect("it is below the limit")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_as_large_as_they_are_said_to_be_and_always_the_same() {
        let events = generate(1000);
        assert_eq!(events, generate(1000));
        assert!((190..215).contains(&(events.len() / 1000)), "{} bytes", events.len());
        for line in events.lines() {
            let event: serde_json::Value = serde_json::from_str(line).unwrap();
            assert_eq!(event.as_object().unwrap().len(), 10);
        }
    }
}
