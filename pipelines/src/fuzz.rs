//! What libFuzzer calls (`pipelines/fuzz`, run by `cargo xtask soak`), and the tests that give it the same inputs again.

use crate::columns::Columns;
use crate::dead_letter::DeadLetters;
use crate::kafka::{record_batch, request};
use crate::schema::EventSchema;
use crate::validate::{BodyShape, EVENT_DEPTH_MAX, validate};
use crate::{DeclaredSchema, Error, JsonPath, declared};
use bytes::Bytes;
use serde_json::Value;

/// A target: it reads bytes and must neither panic nor take memory without measure.
pub type Target = fn(&[u8]);

/// All targets by name, which is also the name of the corpus.
pub const TARGETS: [(&str, Target); 4] =
    [("record_batch", batch), ("kafka_request", frame), ("events", events), ("json_path", path)];

/// Record batches of a producer.
pub fn batch(bytes: &[u8]) {
    record_batch::fuzz::survive(bytes);
}

/// A frame of a Kafka client.
pub fn frame(bytes: &[u8]) {
    drop(request::decode(Bytes::copy_from_slice(bytes)));
}

/// A body of events: it must be taken if and only if `serde_json` takes it, and each event must find its place in columns, or
/// none, with every other one.
///
/// # Panics
/// When the two disagree.
pub fn events(bytes: &[u8]) {
    let body = Bytes::copy_from_slice(bytes);
    let valid = match validate(&body, BodyShape::Lines, usize::MAX) {
        Ok(valid) => valid,
        Err(error) => {
            let theirs = serde_json::from_slice::<Value>(bytes).is_ok_and(|value| value.is_object());
            assert!(!theirs || is_our_limit(&error), "refused: {error}");
            return;
        }
    };
    let lines: Vec<&[u8]> = valid.lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).collect();
    assert_eq!(lines.len(), valid.events as usize, "one event a line");
    let mut columns = Columns::new(&EventSchema::default());
    let mut rows = 0;
    for line in &lines {
        let value: Value = serde_json::from_slice(line).expect("what is taken is JSON");
        assert!(value.is_object(), "an event is an object");
        rows += usize::from(columns.push(line).is_ok());
    }
    let finished = columns.finish().expect("columns of rows that were taken");
    assert!(finished.batch.is_none_or(|batch| batch.num_rows() == rows), "a row an event that was taken");
    let mut batch = crate::batch::Batch::new(b"".as_slice().into(), 0, cistern_types::Timestamp::default());
    for (offset, line) in (0..).zip(valid.lines.split_inclusive(|byte| *byte == b'\n')) {
        batch.count(offset, line.len());
    }
    batch.extend(&valid.lines, 0..valid.lines.len());
    if let Ok(schema) = serde_json::from_str::<DeclaredSchema>(SCHEMA) {
        let mut dead = DeadLetters::default();
        let laid_out = declared::numbered_rows(&mut batch, &schema, &mut dead);
        let (columns, offsets) = laid_out.expect("declared columns of rows that fit");
        assert_eq!(columns.num_rows(), offsets.len(), "an offset a row");
        assert_eq!(offsets.len() as u64 + dead.count(), u64::from(valid.events), "none is lost");
    }
}

/// Fields of every type.
const SCHEMA: &str = r#"{"fields":[{"name":"a","type":"int64"},{"name":"b","type":"string"},{"name":"c","type":"json"},
    {"name":"d","type":"decimal128","precision":20,"scale":4},{"name":"t","type":"timestamp","unit":"microsecond"},
    {"name":"l","type":"list","items":{"type":"float64"}},{"name":"s","type":"struct","fields":[{"name":"a","type":"bool"}]},
    {"name":"x","type":"bytes"},{"name":"u","type":"uint64"}]}"#;

/// Numbers that no column holds, depth, and names that a tree forgets the first of.
fn is_our_limit(error: &Error) -> bool {
    match error {
        Error::Malformed { reason, .. } => {
            reason.contains("out of range") || reason.contains(&format!("{EVENT_DEPTH_MAX} levels"))
        }
        _ => false,
    }
}

/// A path in the first line, an event in the rest: what the path finds must be what walking a tree finds.
///
/// # Panics
/// When the two disagree.
pub fn path(bytes: &[u8]) {
    let Some((first, event)) = bytes.iter().position(|byte| *byte == b'\n').map(|end| bytes.split_at(end)) else {
        return;
    };
    let Some(path) = std::str::from_utf8(first).ok().and_then(|text| text.parse::<JsonPath>().ok()) else { return };
    let again: JsonPath = path.to_string().parse().expect("a path that is written can be read");
    assert_eq!(again, path, "a path is written as it is read");
    let Ok(valid) = validate(&Bytes::copy_from_slice(&event[1..]), BodyShape::Lines, usize::MAX) else { return };
    for line in valid.lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        if let Some(found) = path.find(line) {
            serde_json::from_slice::<Value>(found).expect("what a path finds is a value");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    #[test]
    fn what_was_found_is_survived() {
        for (name, target) in TARGETS {
            let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(name);
            let mut inputs = 0;
            for entry in std::fs::read_dir(&corpus).unwrap() {
                target(&std::fs::read(entry.unwrap().path()).unwrap());
                inputs += 1;
            }
            assert!(inputs > 10, "{name} has a corpus");
        }
    }

    /// The corpus of frames is made of the samples: a run with `CISTERN_WRITE_CORPUS=1` writes them again.
    #[test]
    fn the_corpus_of_frames_are_the_samples() {
        let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/kafka_request");
        for (number, sample) in request::fixture::samples().into_iter().enumerate() {
            let path = corpus.join(format!("sample-{number:03}"));
            if std::env::var_os("CISTERN_WRITE_CORPUS").is_some() {
                std::fs::write(&path, &sample.frame).unwrap();
            }
            assert_eq!(std::fs::read(&path).unwrap(), sample.frame, "{}", path.display());
        }
    }
}
