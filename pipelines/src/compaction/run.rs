//! Objects that could become one, by what a list shows: names and sizes.

use super::source::Reader;
use crate::Result;
use crate::object_name::{Named, RowsName};
use cistern_objects::{ListRequest, ListedObject};
use cistern_types::ObjectKey;

/// How many objects become one at most, and the bytes of their keys: all go into one change-log row of at most 100 KB.
const SOURCES_MAX: usize = 200;
const KEY_BYTES_MAX: usize = 64 << 10;

/// How many pages of a list one search walks through at most, of how many objects.
const PAGES_MAX: usize = 10;
const PAGE_OBJECTS: usize = 1_000;

/// An object with rows of the output.
#[derive(Debug)]
pub(super) struct Listed {
    pub(super) key: ObjectKey,
    pub(super) name: RowsName,
    pub(super) size: u64,
}

/// Small objects that follow one another; two at least, or none.
#[derive(Debug, Default)]
pub(super) struct Run {
    pub(super) objects: Vec<Listed>,
    /// Whether it ends because one step takes no more, whatever follows.
    pub(super) is_full: bool,
    /// After which key to look further when there is none; `None` when there is nothing more.
    pub(super) next: Option<String>,
}

/// A walk along the objects of one output.
#[derive(Debug, Clone, Copy)]
pub(super) struct Walk<'a> {
    pub(super) of: Named<'a>,
    /// What keys begin with.
    pub(super) prefix: &'a str,
    /// What sources have together at most, in bytes; each has less.
    pub(super) target: u64,
}

/// What has been gathered.
#[derive(Debug, Default)]
struct Gathered {
    run: Vec<Listed>,
    bytes: u64,
    key_bytes: usize,
    /// The key before the first of them, if one was seen.
    before: Option<String>,
}

impl Gathered {
    /// Whether the object goes with the others.
    fn takes(&self, listed: &Listed, target: u64) -> bool {
        self.run.last().is_some_and(|last| listed.name.follows(&last.name))
            && self.bytes + listed.size <= target
            && !self.is_full(listed)
    }

    fn is_full(&self, next: &Listed) -> bool {
        self.run.len() == SOURCES_MAX || self.key_bytes + next.key.as_str().len() > KEY_BYTES_MAX
    }

    fn push(&mut self, listed: Listed) {
        self.bytes += listed.size;
        self.key_bytes += listed.key.as_str().len();
        self.run.push(listed);
    }

    fn is_run(&self) -> bool {
        self.run.len() > 1
    }

    fn into_run(self, is_full: bool) -> Run {
        Run { objects: self.run, is_full, next: None }
    }
}

impl Walk<'_> {
    /// The next run after a key.
    pub(super) async fn next_run(&self, reader: Reader<'_>, mut after: Option<String>) -> Result<Run> {
        let mut gathered = Gathered::default();
        let mut seen = None;
        for _ in 0..PAGES_MAX {
            let request = ListRequest {
                prefix: self.prefix.to_owned(),
                after: after.take(),
                limit: PAGE_OBJECTS,
                ..ListRequest::all(reader.bucket.clone())
            };
            let page = reader.objects.list(request).await?;
            for object in &page.objects {
                let listed = self.listed(object);
                if self.ends(&gathered, &object.key, listed.as_ref()) {
                    let is_full = listed.is_some_and(|listed| gathered.is_full(&listed));
                    return Ok(gathered.into_run(is_full));
                }
                let before = seen.replace(object.key.to_string());
                if let Some(listed) = listed {
                    self.gather(&mut gathered, listed, before);
                }
            }
            after = page.next;
            if after.is_none() {
                return Ok(if gathered.is_run() { gathered.into_run(false) } else { Run::default() });
            }
        }
        if gathered.is_run() {
            return Ok(gathered.into_run(false));
        }
        // The one that waits for its neighbour is met again, unless that would be for ever.
        let waiting = gathered.before.filter(|_| !gathered.run.is_empty());
        Ok(Run { next: waiting.or(seen), ..Run::default() })
    }

    fn listed(&self, object: &ListedObject) -> Option<Listed> {
        let name = RowsName::parse(self.of, &object.key)?;
        Some(Listed { key: object.key.clone(), name, size: object.size })
    }

    /// Whether a run is there which the object of this key does not belong to.
    fn ends(&self, gathered: &Gathered, key: &ObjectKey, listed: Option<&Listed>) -> bool {
        gathered.is_run()
            && match listed {
                Some(listed) => !gathered.takes(listed, self.target),
                None => !gathered.run[0].name.is_beside(key),
            }
    }

    /// Takes an object, with others or as the first; `before` is the key before it.
    fn gather(&self, gathered: &mut Gathered, listed: Listed, before: Option<String>) {
        if !gathered.takes(&listed, self.target) {
            *gathered = Gathered { before, ..Gathered::default() };
            // One that is large enough stays, and parts those before it from those behind.
            if listed.size == 0 || listed.size >= self.target {
                return;
            }
        }
        gathered.push(listed);
    }
}
