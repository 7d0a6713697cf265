//! A client that writes, overwrites and deletes objects under keys of its own, and its journal of them.

use super::{BUCKET, Beats, Broken};
use anyhow::Result;
use cistern_tests::{Content, Keys, S3};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use std::collections::BTreeMap;

const KEYS: u32 = 24;
const PART_BYTES: usize = 5 << 20;

const CLASSES: [&str; 2] = ["STANDARD", "STANDARD_IA"];

/// The class an object is written in, and the one it is moved to after that.
#[derive(Debug, Clone, Copy)]
struct Classes {
    first: &'static str,
    then: Option<&'static str>,
}

/// What the journal knows of one key: the states it may be in, a content or nothing each. One when the server has
/// answered, two while the last write has no answer.
type Possible = Vec<Option<Content>>;

#[derive(Debug)]
pub(crate) struct Writer {
    number: usize,
    random: StdRng,
    journal: BTreeMap<String, Possible>,
    pub(crate) acknowledged: u64,
    /// A 503 is no broken promise: drives are missing.
    may_be_refused: bool,
}

impl Writer {
    pub(crate) fn new(number: usize, seed: u64) -> Self {
        Self {
            number,
            random: StdRng::seed_from_u64(seed),
            journal: BTreeMap::new(),
            acknowledged: 0,
            may_be_refused: false,
        }
    }

    /// One that goes on after a 503.
    pub(crate) fn may_be_refused(self) -> Self {
        Self { may_be_refused: true, ..self }
    }

    /// One write in three is of the class that is read rarely, one in eight then moves to the other class.
    fn next_classes(&mut self) -> Classes {
        let first = CLASSES[usize::from(self.random.random_ratio(1, 3))];
        let then = self.random.random_ratio(1, 8).then(|| CLASSES[usize::from(first == CLASSES[0])]);
        Classes { first, then }
    }

    /// Writes until the server is gone; answers what a living server refused, which it had no reason to.
    pub(crate) fn work(&mut self, host: &str, keys: &Keys, beat: &Beats) -> Broken {
        let Ok(mut s3) = S3::connect(host, keys) else { return Broken::new() };
        loop {
            let key = format!("{}/{}", self.number, self.random.random_range(0..KEYS));
            let next = self.next_content();
            let classes = self.next_classes();
            let possible = self.journal.entry(key.clone()).or_insert_with(|| vec![None]);
            possible.push(next);
            let _ = beat.send(());
            if let Err(error) = write(&mut s3, &key, next, classes) {
                let text = error.to_string();
                if self.may_be_refused && text.starts_with("answered 503") {
                    let _ = beat.send(());
                    continue;
                }
                let refused = text.starts_with("answered");
                return if refused { vec![format!("{key}: {error:#}")] } else { Broken::new() };
            }
            *possible = vec![next];
            self.acknowledged += 1;
            let _ = beat.send(());
        }
    }

    /// Mostly small objects, some of several stripes, now and then one in parts; one write in eight deletes.
    fn next_content(&mut self) -> Option<Content> {
        let seed = self.random.random();
        let length = match self.random.random_range(0..64) {
            0..8 => return None,
            8 => PART_BYTES + self.random.random_range(1..100_000),
            9..16 => self.random.random_range(131_072..600_000),
            16 => 0,
            _ => self.random.random_range(1..20_000),
        };
        Some(Content { seed, length })
    }

    /// Reads every key: the state acknowledged, or the one asked for last. Answers what is wrong and which keys exist.
    pub(crate) fn check(&mut self, s3: &mut S3) -> (Broken, Vec<String>) {
        let mut broken = Broken::new();
        let mut existing = Vec::new();
        for (key, possible) in &mut self.journal {
            let found = match s3.get(BUCKET, key) {
                Ok(found) => found,
                Err(error) => {
                    broken.push(format!("{key}: {error:#}"));
                    continue;
                }
            };
            if let Some(state) = possible.iter().find(|state| state.map(Content::bytes) == found) {
                *possible = vec![*state];
            } else {
                let length = found.as_ref().map(Vec::len);
                broken.push(format!("{key}: found {length:?} bytes, may be {possible:?}"));
            }
            if found.is_some() {
                existing.push(key.clone());
            }
        }
        (broken, existing)
    }
}

fn write(s3: &mut S3, key: &str, next: Option<Content>, classes: Classes) -> Result<()> {
    let Some(content) = next else { return s3.delete(BUCKET, key) };
    if content.length > PART_BYTES {
        s3.put_in_parts(BUCKET, key, &content.bytes(), PART_BYTES)?;
    } else {
        s3.put_in_class(BUCKET, key, &content.bytes(), classes.first)?;
    }
    match classes.then {
        Some(class) if content.length <= PART_BYTES => s3.move_to_class(BUCKET, key, class),
        _ => Ok(()),
    }
}
