//! The column `_rest`: what an event holds that is not declared, as one JSON object in the order it came.
//!
//! Undeclared fields of a struct stand in an object under the struct's name, those of the items of a list in objects under
//! the items' numbers: `{"user":{"nick":"x"},"items":{"2":{"note":"y"}}}`. Names and values stay byte for byte.

use super::UnknownFields;
use super::column::Pieces;
use super::fault::{Decoded, Family, Fault, shown};
use crate::columns::Nulls;
use crate::scan::unescape;
use std::borrow::Cow;
use std::collections::HashSet;
use std::io::Write as _;

/// The column under construction, or nothing where undeclared fields are dropped.
#[derive(Debug)]
pub(super) struct Rest {
    keep: bool,
    pub(super) pieces: Pieces,
    pub(super) nulls: Nulls,
}

/// Where an object was opened.
#[derive(Debug)]
#[must_use]
pub(super) struct Opened {
    before: usize,
    after: usize,
}

/// The undeclared names of one object so far.
#[derive(Debug, Default)]
pub(super) struct Strangers<'a>(HashSet<Cow<'a, [u8]>>);

impl<'a> Strangers<'a> {
    /// Counts a name, given as it stands between its quotes.
    fn add(&mut self, raw: &'a [u8]) -> Decoded {
        let name = if raw.contains(&b'\\') {
            let mut name = Vec::new();
            unescape(raw, &mut name).ok_or_else(Fault::malformed)?;
            Cow::Owned(name)
        } else {
            Cow::Borrowed(raw)
        };
        if self.0.insert(name) {
            return Ok(());
        }
        let name = String::from_utf8_lossy(raw);
        Err(Fault::new(Family::ParseFailure, "stands twice in the event").inside(&shown(name.as_bytes())))
    }
}

impl Rest {
    pub(super) fn new(unknown: UnknownFields) -> Self {
        Self { keep: unknown == UnknownFields::Keep, pieces: Pieces::default(), nulls: Nulls::default() }
    }

    /// Whether undeclared fields are kept.
    #[inline]
    pub(super) fn keeps(&self) -> bool {
        self.keep
    }

    /// Begins the row of an event.
    #[inline]
    pub(super) fn begin(&mut self) {
        if self.keep {
            self.pieces.bytes.push(b'{');
        }
    }

    /// Ends the row of an event.
    #[inline]
    pub(super) fn end(&mut self, row: usize) -> Decoded {
        if !self.keep {
            return Ok(());
        }
        if self.pieces.bytes.last() == Some(&b'{') {
            self.pieces.bytes.pop();
            self.nulls.append(row..row + 1);
        } else {
            self.pieces.bytes.push(b'}');
        }
        self.pieces.end()
    }

    /// Takes rows back until there are at most `rows`.
    pub(super) fn truncate(&mut self, rows: usize) {
        self.pieces.truncate(rows);
        self.nulls.truncate(rows);
    }

    /// Opens the object of the undeclared fields inside a struct or list; `opening` is its name, a colon and a brace.
    pub(super) fn open(&mut self, opening: &[u8]) -> Opened {
        let before = self.pieces.bytes.len();
        self.comma();
        self.pieces.bytes.extend_from_slice(opening);
        Opened { before, after: self.pieces.bytes.len() }
    }

    /// Opens that of an item of a list.
    pub(super) fn open_item(&mut self, index: usize) -> Opened {
        let before = self.pieces.bytes.len();
        self.comma();
        write!(self.pieces.bytes, "\"{index}\":{{").expect("writing to a Vec");
        Opened { before, after: self.pieces.bytes.len() }
    }

    /// Closes it, or takes it back when there is nothing in it.
    pub(super) fn close(&mut self, opened: &Opened) {
        if self.pieces.bytes.len() == opened.after {
            self.pieces.bytes.truncate(opened.before);
        } else {
            self.pieces.bytes.push(b'}');
        }
    }

    /// Adds a field to the object that is open: its name as it stands between its quotes, and its value as it stands.
    pub(super) fn add<'a>(&mut self, raw_name: &'a [u8], value: &[u8], strangers: &mut Strangers<'a>) -> Decoded {
        if !self.keep {
            return Ok(());
        }
        strangers.add(raw_name)?;
        self.comma();
        let bytes = &mut self.pieces.bytes;
        bytes.push(b'"');
        bytes.extend_from_slice(raw_name);
        bytes.extend_from_slice(b"\":");
        bytes.extend_from_slice(value);
        Ok(())
    }

    fn comma(&mut self) {
        // No value ends with an open brace.
        if self.pieces.bytes.last() != Some(&b'{') {
            self.pieces.bytes.push(b',');
        }
    }
}
