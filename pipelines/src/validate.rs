//! A body becomes events, or one clear reason why not: all of it or nothing, in one pass before anything is stored.
//!
//! The shape is decided by the body itself: an array of objects, one object, or one object a line (whatever their white
//! space). What passes here is what every later step relies on: UTF-8, valid JSON, numbers that fit, bounded depth.

mod sift;

use crate::scan::{digits_stop, hex4, same, string_stop};
use crate::{Error, Result};
use bytes::Bytes;
use std::ops::Range;

pub(crate) use sift::{Rejection, Sifted, Sifter, sift};

/// How deep objects and arrays of an event may lie in one another; the checker keeps one bit for each level.
pub(crate) const EVENT_DEPTH_MAX: u32 = 64;

/// Digits that fit a signed 64-bit integer whatever they are.
const INTEGER_DIGITS_SAFE: usize = 18;

/// Characters of a number without an exponent that cannot overflow a double.
const FLOAT_BYTES_SAFE: usize = 300;

/// Field names that are remembered at most, of the events before.
const NAMES_KNOWN_MAX: usize = 256;

const MALFORMED_NUMBER: &str = "malformed number";

/// Events that have passed: one a line, each with its newline, none inside an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ValidEvents {
    pub(crate) lines: Bytes,
    pub(crate) events: u32,
}

/// Which shapes a body may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BodyShape {
    /// Whatever the body looks like.
    Any,
    /// Objects one after the other, as the content type promised.
    Lines,
}

/// Checks a whole body. One that is one event a line already is not copied.
pub(crate) fn validate(body: &Bytes, shape: BodyShape, event_bytes_max: usize) -> Result<ValidEvents> {
    let text = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
    if let Err(error) = std::str::from_utf8(text) {
        return Err(Error::NotUtf8 { byte: error.valid_up_to() });
    }
    let mut checker = Checker { bytes: text, at: 0, broken: false, names: 0, known: Vec::new() };
    let mut gather = Gather { body: text, lines: 0, copy: Vec::new(), events: 0, event_bytes_max };
    checker.space();
    let outcome = match (checker.peek(), shape) {
        (None, _) => return Err(Error::NoEvents),
        (Some(b'['), BodyShape::Any) => checker.array_of_events(&mut gather),
        _ => checker.sequence_of_events(&mut gather),
    };
    let Gather { lines, copy, events, .. } = gather;
    match outcome {
        Ok(()) if events == 0 => Err(Error::NoEvents),
        Ok(()) => {
            let events = u32::try_from(events).expect("an event has two bytes at least and a body a few million");
            let lines = if copy.is_empty() { body.slice_ref(&text[..lines]) } else { copy.into() };
            debug_assert_eq!(memchr::memchr_iter(b'\n', &lines).count(), events as usize, "one event a line");
            Ok(ValidEvents { lines, events })
        }
        Err(Stop::Fault(reason)) => Err(Error::Malformed { event: events, byte: checker.at, reason }),
        Err(Stop::Refused(error)) => Err(error),
    }
}

/// The events that have passed: the beginning of the body as long as it is one event a line, else a copy.
struct Gather<'a> {
    body: &'a [u8],
    /// So far the body is one event a line, until there is a copy.
    lines: usize,
    copy: Vec<u8>,
    events: usize,
    event_bytes_max: usize,
}

enum Stop {
    Fault(&'static str),
    Refused(Error),
}

impl From<&'static str> for Stop {
    fn from(reason: &'static str) -> Self {
        Self::Fault(reason)
    }
}

impl Gather<'_> {
    /// Takes the event that stands at `place`; `broken` says that there are line ends in it.
    fn take(&mut self, place: Range<usize>, broken: bool) -> Result<(), Stop> {
        if place.len() > self.event_bytes_max {
            let (bytes, limit_bytes) = (place.len(), self.event_bytes_max);
            return Err(Stop::Refused(Error::EventTooLarge { event: self.events, bytes, limit_bytes }));
        }
        self.events += 1;
        if self.copy.is_empty() {
            if place.start == self.lines && !broken && self.body.get(place.end) == Some(&b'\n') {
                self.lines = place.end + 1;
                return Ok(());
            }
            self.copy.reserve(self.body.len() + 1);
            self.copy.extend_from_slice(&self.body[..self.lines]);
        }
        let start = self.copy.len();
        self.copy.extend_from_slice(&self.body[place]);
        if broken {
            mend_line_ends(&mut self.copy[start..]);
        }
        self.copy.push(b'\n');
        Ok(())
    }
}

/// Puts an event into one line. Only white space between tokens can hold line ends: strings have them escaped.
fn mend_line_ends(event: &mut [u8]) {
    for byte in event {
        if matches!(byte, b'\n' | b'\r') {
            *byte = b' ';
        }
    }
}

struct Checker<'a> {
    bytes: &'a [u8],
    at: usize,
    /// Whether a line end has been passed in this event.
    broken: bool,
    /// How many field names have been passed in this event.
    names: usize,
    /// Where the field names of the events before stand, by that number, and their lengths with the colon: those of one
    /// producer are mostly the same, and comparing takes less than searching for the end.
    known: Vec<(usize, usize)>,
}

type Checked = Result<(), &'static str>;

impl Checker<'_> {
    #[inline]
    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    #[inline]
    fn space(&mut self) {
        while let Some(space @ (b' ' | b'\n' | b'\r' | b'\t')) = self.peek() {
            self.broken |= matches!(space, b'\n' | b'\r');
            self.at += 1;
        }
    }

    fn array_of_events(&mut self, gather: &mut Gather<'_>) -> Result<(), Stop> {
        self.at += 1;
        self.space();
        if self.peek() == Some(b']') {
            self.at += 1;
        } else {
            loop {
                self.event(gather)?;
                self.space();
                match self.peek() {
                    Some(b',') => self.at += 1,
                    Some(b']') => break,
                    None => return Err("the array is not closed: the body may have been cut off".into()),
                    Some(_) => return Err("expected a comma or the end of the array after an event".into()),
                }
                self.space();
            }
            self.at += 1;
        }
        self.space();
        if self.at < self.bytes.len() {
            return Err("nothing may follow the array".into());
        }
        Ok(())
    }

    fn sequence_of_events(&mut self, gather: &mut Gather<'_>) -> Result<(), Stop> {
        loop {
            self.event(gather)?;
            let end = self.at;
            self.space();
            if self.at == self.bytes.len() {
                return Ok(());
            }
            if !self.bytes[end..self.at].contains(&b'\n') {
                return Err("expected a newline between events; to send several in a line, send an array".into());
            }
        }
    }

    fn event(&mut self, gather: &mut Gather<'_>) -> Result<(), Stop> {
        match self.peek() {
            Some(b'{') => {}
            None => return Err("expected an event, a JSON object: the body may have been cut off".into()),
            Some(_) => return Err("an event must be a JSON object".into()),
        }
        let start = self.at;
        self.broken = false;
        self.names = 0;
        self.object()?;
        gather.take(start..self.at, self.broken)
    }

    /// Passes an object with all that is in it, without recursion: bit `n` of `kinds`, counted from the lowest, is set
    /// when the n-th enclosing level is an object.
    fn object(&mut self) -> Checked {
        let (mut kinds, mut depth) = (0_u64, 0_u32);
        'value: loop {
            self.space();
            match self.peek() {
                Some(open @ (b'{' | b'[')) => {
                    if depth == EVENT_DEPTH_MAX {
                        return Err("an event may be nested 64 levels deep");
                    }
                    depth += 1;
                    kinds = kinds << 1 | u64::from(open == b'{');
                    self.at += 1;
                    self.space();
                    let closed = self.peek() == Some(if open == b'{' { b'}' } else { b']' });
                    if !closed {
                        if open == b'{' {
                            self.key()?;
                        }
                        continue 'value;
                    }
                }
                Some(b'"') => self.string()?,
                Some(b'-' | b'0'..=b'9') => self.number()?,
                Some(b't') => self.word(b"true")?,
                Some(b'f') => self.word(b"false")?,
                Some(b'n') => self.word(b"null")?,
                _ => return Err("expected a value"),
            }
            loop {
                self.space();
                match (kinds & 1, self.peek()) {
                    (1, Some(b',')) => {
                        self.at += 1;
                        self.space();
                        self.key()?;
                        continue 'value;
                    }
                    (0, Some(b',')) => {
                        self.at += 1;
                        continue 'value;
                    }
                    (1, Some(b'}')) | (0, Some(b']')) => {
                        self.at += 1;
                        depth -= 1;
                        kinds >>= 1;
                        if depth == 0 {
                            return Ok(());
                        }
                    }
                    (_, None) => return Err("the event is not complete: the body may have been cut off"),
                    (1, Some(_)) => return Err("expected a comma or the end of the object"),
                    _ => return Err("expected a comma or the end of the array"),
                }
            }
        }
    }

    #[inline]
    fn key(&mut self) -> Checked {
        let number = self.names;
        self.names += 1;
        match self.known.get(number) {
            Some((start, length)) if same(self.bytes, self.at, *start, *length) => {
                self.at += length;
                Ok(())
            }
            _ => self.new_key(number),
        }
    }

    fn new_key(&mut self, number: usize) -> Checked {
        if self.peek() != Some(b'"') {
            return Err("expected a field name in double quotes");
        }
        let start = self.at;
        self.string()?;
        if self.peek() == Some(b':') {
            self.at += 1;
            let name = (start, self.at - start);
            if let Some(known) = self.known.get_mut(number) {
                *known = name;
            } else if number == self.known.len() && number < NAMES_KNOWN_MAX {
                self.known.push(name);
            }
            return Ok(());
        }
        self.space();
        if self.peek() != Some(b':') {
            return Err("expected a colon after the field name");
        }
        self.at += 1;
        Ok(())
    }

    #[inline]
    fn string(&mut self) -> Checked {
        self.at = string_stop(self.bytes, self.at + 1);
        if self.peek() != Some(b'"') {
            self.rest_of_string()?;
        }
        self.at += 1;
        Ok(())
    }

    /// Goes to the closing quote of a string, from the first place in it that needs a look.
    #[cold]
    fn rest_of_string(&mut self) -> Checked {
        loop {
            match self.peek() {
                Some(b'"') => return Ok(()),
                Some(b'\\') => self.escape()?,
                Some(_) => return Err("control characters in a string must be escaped"),
                None => return Err("a string is not closed: the body may have been cut off"),
            }
            self.at = string_stop(self.bytes, self.at);
        }
    }

    fn escape(&mut self) -> Checked {
        match self.bytes.get(self.at + 1) {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => {
                self.at += 2;
                Ok(())
            }
            Some(b'u') => {
                const LONE: &str = "a surrogate escape stands alone, it names no character";
                let first = hex4(&self.bytes[self.at + 2..]).ok_or("four hex digits must follow \\u")?;
                match first {
                    0xd800..0xdc00 => {
                        let second = self.bytes[self.at + 6..].strip_prefix(b"\\u").and_then(hex4).ok_or(LONE)?;
                        if !(0xdc00..0xe000).contains(&second) {
                            return Err(LONE);
                        }
                        self.at += 12;
                    }
                    0xdc00..0xe000 => return Err(LONE),
                    _ => self.at += 6,
                }
                Ok(())
            }
            _ => Err("unknown escape in a string"),
        }
    }

    /// Passes digits and answers how many there were.
    #[inline]
    fn digits(&mut self) -> usize {
        let start = self.at;
        self.at = digits_stop(self.bytes, start);
        self.at - start
    }

    #[inline]
    fn number(&mut self) -> Checked {
        let start = self.at;
        self.at += usize::from(self.peek() == Some(b'-'));
        let first = self.at;
        let whole = self.digits();
        if whole == 0 || (whole > 1 && self.bytes[first] == b'0') {
            return Err(MALFORMED_NUMBER);
        }
        if matches!(self.peek(), Some(b'.' | b'e' | b'E')) {
            return self.rest_of_number(start, whole);
        }
        self.fits(start, whole <= INTEGER_DIGITS_SAFE || integer_fits(&self.bytes[start..self.at]))
    }

    /// Passes the fraction and the exponent of the number from `start` on, which has `whole` digits before them.
    fn rest_of_number(&mut self, start: usize, whole: usize) -> Checked {
        if self.peek() == Some(b'.') {
            self.at += 1;
            if self.digits() == 0 {
                return Err(MALFORMED_NUMBER);
            }
        }
        let exponent = matches!(self.peek(), Some(b'e' | b'E'));
        if exponent {
            self.at += 1;
            self.at += usize::from(matches!(self.peek(), Some(b'+' | b'-')));
            if self.digits() == 0 {
                return Err(MALFORMED_NUMBER);
            }
        }
        self.fits(start, (!exponent && whole <= FLOAT_BYTES_SAFE) || float_fits(&self.bytes[start..self.at]))
    }

    /// Refuses the number from `start` on when it does not fit.
    #[inline]
    fn fits(&mut self, start: usize, fits: bool) -> Checked {
        if fits {
            return Ok(());
        }
        self.at = start;
        Err("the number is out of range: integers go to 64 bits, others to double precision; send it as a string")
    }

    fn word(&mut self, word: &'static [u8]) -> Checked {
        if !self.bytes[self.at..].starts_with(word) {
            return Err("expected a value");
        }
        self.at += word.len();
        Ok(())
    }
}

fn integer_fits(text: &[u8]) -> bool {
    std::str::from_utf8(text).is_ok_and(|text| text.parse::<i64>().is_ok() || text.parse::<u64>().is_ok())
}

fn float_fits(text: &[u8]) -> bool {
    std::str::from_utf8(text).is_ok_and(|text| text.parse::<f64>().is_ok_and(f64::is_finite))
}

#[cfg(test)]
mod tests;
