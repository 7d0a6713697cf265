//! What libFuzzer calls (`pipelines/fuzz`, run by `cargo xtask soak`), and the tests that give it the same inputs again.

use crate::kafka::{record_batch, request};
use bytes::Bytes;

/// A target: it reads bytes and must neither panic nor take memory without measure.
pub type Target = fn(&[u8]);

/// All targets by name, which is also the name of the corpus.
pub const TARGETS: [(&str, Target); 2] = [("record_batch", batch), ("kafka_request", frame)];

/// Record batches of a producer.
pub fn batch(bytes: &[u8]) {
    record_batch::fuzz::survive(bytes);
}

/// A frame of a Kafka client.
pub fn frame(bytes: &[u8]) {
    drop(request::decode(Bytes::copy_from_slice(bytes)));
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
