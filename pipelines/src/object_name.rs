//! The key of a batch's object, derived from what is in it: written twice, it is the same object.
//!
//! ```text
//! [prefix/]PIPELINE/[KEY=VALUE/]event_date=YYYY-MM-DD/hr=HH/PIPELINE-MARK-FIRST-LAST.parquet | .json.gz | .json.zst | .json
//! [prefix/][KEY=VALUE/][TIME/][FILE_PREFIX-]PIPELINE-MARK-FIRST-LAST.SUFFIX      where a pattern for the time is given
//! [prefix/]PIPELINE/dead-letters/[KEY=VALUE/]event_date=YYYY-MM-DD/hr=HH/[FILE_PREFIX-]PIPELINE-MARK-FIRST-LAST.ndjson
//! ```
//! The time is when the batch's first event was logged, the offsets are those of its first and last event. The mark is of
//! this life of the pipeline: one that is deleted and made again under its name overwrites nothing. Within it the first
//! offset alone makes the name unique, because an event is in one batch only. What several objects are merged to is named from
//! the first offset of the first to the last of the last, which no batch will be.

use crate::batch::Batch;
use crate::{JsonCompression, OutputFormat, OutputSpec, PipelineId};
use cistern_types::{ObjectKey, PipelineName};
use sha2::{Digest as _, Sha256};

/// The longest part made of a key's name or value, in bytes; what is longer ends in a digest of itself.
const PART_BYTES_MAX: usize = 160;

/// Hex digits of that digest: enough that nobody finds two values with the same.
const DIGEST_DIGITS: usize = 32;

/// How many hex digits of the output's id are the mark.
const MARK_DIGITS: usize = 8;

/// How many digits an offset has in a name, so that names sort by it.
const OFFSET_DIGITS: usize = 20;

/// Where dead letters lie below the prefix and the name.
const DEAD_LETTERS: &str = "dead-letters";

/// Whose objects are named.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Named<'a> {
    pub(crate) name: &'a PipelineName,
    /// Of the output.
    pub(crate) id: PipelineId,
}

/// The key of the object with the batch's rows.
pub(crate) fn rows_key(of: Named<'_>, spec: &OutputSpec, batch: &Batch) -> ObjectKey {
    let extension = match spec.format {
        OutputFormat::Parquet(_) => "parquet",
        OutputFormat::JsonLines { compression: JsonCompression::Gzip } => "json.gz",
        OutputFormat::JsonLines { compression: JsonCompression::Zstd } => "json.zst",
        OutputFormat::JsonLines { compression: JsonCompression::None } => "json",
    };
    let naming = &spec.naming;
    let folders = match &naming.time_path {
        None => format!("{}/{}", of.name, default_folders(spec, batch)),
        Some(path) => {
            let time = path.format(batch.opened_at());
            format!("{}{time}{}", partition(spec, batch), if time.is_empty() { "" } else { "/" })
        }
    };
    let file_prefix = file_prefix(spec);
    let suffix = if naming.file_suffix.is_empty() { extension } else { &naming.file_suffix };
    key(spec, &format!("{folders}{file_prefix}{}.{suffix}", file_name(of, batch)))
}

/// The key of the object with the batch's dead letters.
pub(crate) fn dead_letters_key(of: Named<'_>, spec: &OutputSpec, batch: &Batch) -> ObjectKey {
    let folders = default_folders(spec, batch);
    let file = format!("{}{}.ndjson", file_prefix(spec), file_name(of, batch));
    key(spec, &format!("{}/{DEAD_LETTERS}/{folders}{file}", of.name))
}

/// What the keys of all objects with rows begin with that are written as `spec` says.
pub(crate) fn rows_root(of: Named<'_>, spec: &OutputSpec) -> String {
    let slash = if spec.prefix.is_empty() { "" } else { "/" };
    let own = if spec.naming.time_path.is_none() { format!("{}/", of.name) } else { String::new() };
    format!("{}{slash}{own}", spec.prefix)
}

/// The key of an object with rows, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RowsName {
    /// Everything before the offsets: folders, the file's prefix, whose it is.
    head: String,
    pub(crate) first: u64,
    pub(crate) last: u64,
    /// Everything after them, with the dot.
    tail: String,
}

impl RowsName {
    /// Takes a key apart, if this output may have written rows under it.
    pub(crate) fn parse(of: Named<'_>, key: &ObjectKey) -> Option<Self> {
        let (folders, file) = key.as_str().split_at(key.as_str().rfind('/').map_or(0, |slash| slash + 1));
        let dead = format!("{}/{DEAD_LETTERS}/", of.name);
        if folders.starts_with(&dead) || folders.contains(&format!("/{dead}")) {
            return None;
        }
        let stem = stem(of);
        let before = file.find(&stem)?;
        let (head, rest) = file.split_at(before + stem.len());
        let (first, rest) = rest.split_at_checked(OFFSET_DIGITS)?;
        let (last, tail) = rest.strip_prefix('-')?.split_at_checked(OFFSET_DIGITS)?;
        let whole = (before == 0 || file[..before].ends_with('-')) && tail.len() > 1 && tail.starts_with('.');
        let (first, last) = (offset(first)?, offset(last)?);
        let name = Self { head: format!("{folders}{head}"), first, last, tail: tail.to_owned() };
        (whole && first <= last).then_some(name)
    }

    /// Whether it is of the same folder and kind as `before`, and its events come after those.
    pub(crate) fn follows(&self, before: &Self) -> bool {
        self.head == before.head && self.tail == before.tail && before.last < self.first
    }

    /// Whether another key is of an object in the same folder and of the same name but for the offsets.
    pub(crate) fn is_beside(&self, key: &ObjectKey) -> bool {
        key.as_str().starts_with(&self.head)
    }

    /// The key of the object with all events from here to those of `last`.
    pub(crate) fn through(&self, last: &Self) -> ObjectKey {
        let text = format!("{}{:020}-{:020}{}", self.head, self.first, last.last, self.tail);
        text.parse().expect("it is as long as the key that it was taken from")
    }
}

fn offset(digits: &str) -> Option<u64> {
    digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok())?
}

fn file_prefix(spec: &OutputSpec) -> String {
    let prefix = &spec.naming.file_prefix;
    if prefix.is_empty() { String::new() } else { format!("{prefix}-") }
}

fn key(spec: &OutputSpec, path: &str) -> ObjectKey {
    let slash = if spec.prefix.is_empty() { "" } else { "/" };
    let text = format!("{}{slash}{path}", spec.prefix);
    text.parse().expect("prefix, name and parts are bounded so that they fit a key together")
}

fn default_folders(spec: &OutputSpec, batch: &Batch) -> String {
    let at = batch.opened_at().to_utc();
    format!("{}event_date={}/hr={:02}/", partition(spec, batch), at.date(), at.hour())
}

fn partition(spec: &OutputSpec, batch: &Batch) -> String {
    let path = spec.batch.json_key.as_ref();
    path.map(|path| format!("{}={}/", safe(path.name().as_bytes()), safe(batch.partition()))).unwrap_or_default()
}

fn file_name(of: Named<'_>, batch: &Batch) -> String {
    format!("{}{:020}-{:020}", stem(of), batch.first_offset(), batch.last_offset())
}

fn stem(of: Named<'_>) -> String {
    format!("{}-{}-", of.name, &of.id.to_string()[..MARK_DIGITS])
}

/// Text that is safe as a part of a key, whatever it is: everything but letters, digits, `-`, `_` and dots inside is
/// percent-encoded.
fn safe(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    let only_dots = bytes.iter().all(|byte| *byte == b'.');
    for byte in bytes {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' => text.push(char::from(*byte)),
            b'.' if !only_dots => text.push('.'),
            _ => {
                text.push('%');
                text.push_str(&hex::encode_upper([*byte]));
            }
        }
        if text.len() > PART_BYTES_MAX {
            let digest = hex::encode(Sha256::digest(bytes));
            let mut cut = PART_BYTES_MAX - DIGEST_DIGITS - 1;
            // Never inside an escape.
            while text[..cut].bytes().rev().take(2).any(|byte| byte == b'%') {
                cut -= 1;
            }
            return format!("{}~{}", &text[..cut], &digest[..DIGEST_DIGITS]);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ObjectNaming;
    use cistern_types::Timestamp;
    use proptest::prelude::*;
    use std::collections::HashMap;

    fn named(name: &PipelineName) -> Named<'_> {
        Named { name, id: serde_json::from_value(serde_json::json!(vec![0xab; 16])).unwrap() }
    }

    fn clicks() -> PipelineName {
        "clicks".parse().unwrap()
    }

    fn spec(json_key: Option<&str>, prefix: &str) -> OutputSpec {
        let mut spec = OutputSpec::new("events".parse().unwrap());
        spec.batch.json_key = json_key.map(|key| key.parse().unwrap());
        spec.prefix = prefix.to_owned();
        spec
    }

    fn batch(partition: &str) -> Batch {
        let mut batch = Batch::new(partition.as_bytes().into(), 7, Timestamp::from_millis(1_700_000_000_000));
        batch.push(7, "{}");
        batch.push(12, "{}");
        batch
    }

    #[track_caller]
    fn check(value: &str, expected: &str) {
        let key = rows_key(named(&clicks()), &spec(Some(".merchantId"), ""), &batch(value)).to_string();
        let part = key.strip_prefix("clicks/merchantId=").unwrap().split('/').next().unwrap();
        assert_eq!(part, expected, "{key}");
    }

    #[test]
    fn a_key_says_pipeline_value_time_and_offsets() {
        let file = "clicks-abababab-00000000000000000007-00000000000000000012";
        let time = "event_date=2023-11-14/hr=22";
        let key = rows_key(named(&clicks()), &spec(Some(".merchantId"), "raw/x"), &batch("m_1"));
        assert_eq!(key.as_str(), format!("raw/x/clicks/merchantId=m_1/{time}/{file}.parquet"));
        let key = rows_key(named(&clicks()), &spec(None, ""), &batch(""));
        assert_eq!(key.as_str(), format!("clicks/{time}/{file}.parquet"));
        let key = dead_letters_key(named(&clicks()), &spec(None, "raw"), &batch(""));
        assert_eq!(key.as_str(), format!("raw/clicks/dead-letters/{time}/{file}.ndjson"));
        let mut spec = spec(Some(".merchantId"), "raw");
        spec.naming.time_path = Some("year=%Y/month=%m".parse().unwrap());
        let key = rows_key(named(&clicks()), &spec, &batch("m_1"));
        assert_eq!(key.as_str(), format!("raw/merchantId=m_1/year=2023/month=11/{file}.parquet"));
        spec.batch.json_key = None;
        spec.naming.time_path = Some("".parse().unwrap());
        spec.naming.file_prefix = "eu".into();
        spec.naming.file_suffix = "pq".into();
        assert_eq!(rows_key(named(&clicks()), &spec, &batch("")).as_str(), format!("raw/eu-{file}.pq"));
        let key = dead_letters_key(named(&clicks()), &spec, &batch(""));
        assert_eq!(key.as_str(), format!("raw/clicks/dead-letters/{time}/eu-{file}.ndjson"));
    }

    #[test]
    fn the_key_of_rows_is_taken_apart_and_that_of_anything_else_is_not() {
        let (clicks, batch) = (clicks(), batch("m_1"));
        let of = named(&clicks);
        let mut spec = spec(Some(".merchantId"), "raw");
        let parse = |key: &str| RowsName::parse(of, &key.parse().unwrap());
        for (time_path, file_prefix) in [(None, ""), (Some("%Y/%m"), "eu"), (Some(""), "clicks-abababab")] {
            spec.naming.time_path = time_path.map(|path| path.parse().unwrap());
            spec.naming.file_prefix = file_prefix.into();
            let key = rows_key(of, &spec, &batch);
            assert!(key.as_str().starts_with(&rows_root(of, &spec)), "{key}");
            let name = RowsName::parse(of, &key);
            if file_prefix.starts_with("clicks") {
                assert_eq!(name, None, "a prefix that looks like the name: left alone");
                continue;
            }
            let name = name.unwrap();
            assert_eq!((name.first, name.last, name.through(&name)), (7, 12, key.clone()));
            let next = key.as_str().replace("07-", "13-").replace("12.", "20.");
            let next = parse(&next).unwrap();
            assert!(next.follows(&name) && !name.follows(&next) && !name.follows(&name), "{next:?}");
            assert_eq!(name.through(&next).as_str(), key.as_str().replace("12.", "20."));
            assert_eq!(RowsName::parse(of, &dead_letters_key(of, &spec, &batch)), None);
        }
        let good = "clicks/clicks-abababab-00000000000000000007-00000000000000000012.parquet";
        assert!(parse(good).is_some() && parse(&good.replace("clicks/", "")).is_some());
        for other in [
            good.replace("abababab", "abababac"),
            good.replace("/clicks", "/xclicks"),
            good.replace(".parquet", ""),
            good.replace(".parquet", "."),
            good.replace("0007-", "0013-"),
            good.replace("0007-", "007-"),
            good.replace("0007-", "+007-"),
            good.replace("00000000000000000012", "99999999999999999999"),
            good.replace("parquet", "parquet/x"),
        ] {
            assert_eq!(parse(&other), None, "{other}");
        }
    }

    #[test]
    fn odd_values_cannot_leave_their_part() {
        check("a/b=c", "a%2Fb%3Dc");
        check("..", "%2E%2E");
        check("v1.2", "v1.2");
        check("ä \n~", "%C3%A4%20%0A%7E");
        check("a%2F", "a%252F");
    }

    proptest! {
        #[test]
        fn any_value_gives_one_bounded_part_of_its_own(values in prop::collection::hash_set("[aä/.=%]{0,3}|\\PC{100,300}|[ä%]{90,95}", 1..20)) {
            let mut seen = HashMap::new();
            for value in values {
                let part = safe(value.as_bytes());
                prop_assert!(part.len() <= PART_BYTES_MAX && !part.contains('/') && !part.contains('='), "{}", part);
                prop_assert!(part.is_ascii() && part != "." && part != "..");
                let body = part.split('~').next().unwrap();
                for escape in body.split('%').skip(1) {
                    prop_assert!(escape.len() >= 2 && escape.bytes().take(2).all(|b| b.is_ascii_hexdigit()), "{}", part);
                }
                if let Some(other) = seen.insert(part, value.clone()) {
                    prop_assert!(false, "{:?} and {:?} share a part", other, value);
                }
            }
        }

        #[test]
        fn the_longest_of_everything_still_is_a_key(value in "\\PC{300}") {
            let spec = spec(Some(&format!(".\"{}\"", "ä".repeat(120))), &"p".repeat(256));
            let name: PipelineName = "n".repeat(63).parse().unwrap();
            let mut spec = spec;
            let time_path = Some("%A-%B-".repeat(10).parse().unwrap());
            spec.naming = ObjectNaming { time_path, file_prefix: "p".repeat(64), file_suffix: "s".repeat(64) };
            let batch = batch(&value);
            prop_assert!(rows_key(named(&name), &spec, &batch).as_str().len() <= 1024);
            prop_assert!(dead_letters_key(named(&name), &spec, &batch).as_str().len() <= 1024);
        }
    }
}
