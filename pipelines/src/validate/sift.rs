//! Events judged one by one: the good ones are taken, each bad one is named, and becomes a dead letter where that was asked for.

use super::{BodyShape, Checker, ValidEvents};
use crate::rejected;
use crate::scan::Scanner;
use crate::{Error, Result};
use std::ops::Range;

/// What became of an event that is none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Rejection {
    /// Its number among those that came together, counted from 0.
    pub(crate) event: u32,
    /// What is wrong with it.
    pub(crate) reason: &'static str,
}

/// Events that came together, sifted.
#[derive(Debug, Default)]
pub(crate) struct Sifted {
    lines: Vec<u8>,
    events: u32,
    rejected: u32,
    /// The first of them.
    rejections: Vec<Rejection>,
}

/// How many of those that are no events are named.
const REJECTIONS_MAX: usize = 100;

/// How much larger than what came may be what it becomes in the log: what is no event is escaped there, with its reason.
const GROWTH_MAX: usize = 4;

/// So much more it may be.
const GROWTH_BYTES: usize = 4 << 10;

impl Sifted {
    /// How many events there were, good and bad.
    pub(crate) fn events(&self) -> u32 {
        self.events
    }

    /// How many bad ones.
    pub(crate) fn rejected(&self) -> u32 {
        self.rejected
    }

    /// The first 100 of the bad ones; leaves none.
    pub(crate) fn take_rejections(&mut self) -> Vec<Rejection> {
        std::mem::take(&mut self.rejections)
    }

    /// The lines for the log: an event each, or what was rejected.
    pub(crate) fn into_lines(self) -> ValidEvents {
        ValidEvents { lines: self.lines.into(), events: self.events }
    }
}

/// Judges events that lie at places of one buffer.
pub(crate) struct Sifter<'a> {
    checker: Checker<'a>,
    event_bytes_max: usize,
    sifted: Sifted,
}

impl<'a> Sifter<'a> {
    pub(crate) fn new(bytes: &'a [u8], event_bytes_max: usize) -> Self {
        let checker = Checker { bytes, at: 0, broken: false, names: 0, known: Vec::new() };
        Self { checker, event_bytes_max, sifted: Sifted::default() }
    }

    /// Takes the event at `place`, or notes what is wrong with it. One that is too large is refused: it may be larger than
    /// anything that is taken.
    pub(crate) fn take(&mut self, place: Range<usize>) -> Result<()> {
        if place.len() > self.event_bytes_max {
            let (event, bytes, limit_bytes) = (self.sifted.events as usize, place.len(), self.event_bytes_max);
            return Err(Error::EventTooLarge { event, bytes, limit_bytes });
        }
        match self.check(place.clone()) {
            Ok(event) => {
                let lines = &mut self.sifted.lines;
                let start = lines.len();
                lines.extend_from_slice(&self.checker.bytes[event]);
                if self.checker.broken {
                    super::mend_line_ends(&mut lines[start..]);
                }
                lines.push(b'\n');
                self.sifted.events += 1;
            }
            Err(reason) => self.reject(reason, &self.checker.bytes[place])?,
        }
        Ok(())
    }

    /// Notes something that is no event. Refused when too much is none.
    pub(crate) fn reject(&mut self, reason: &'static str, value: &[u8]) -> Result<()> {
        let sifted = &mut self.sifted;
        if sifted.lines.len() + value.len() > self.checker.bytes.len() * GROWTH_MAX + GROWTH_BYTES {
            return Err(Error::TooManyRejected { reason });
        }
        rejected::write_line(reason, value, &mut sifted.lines);
        if sifted.rejections.len() < REJECTIONS_MAX {
            sifted.rejections.push(Rejection { event: sifted.events, reason });
        }
        sifted.rejected += 1;
        sifted.events += 1;
        Ok(())
    }

    pub(crate) fn finish(self) -> Sifted {
        self.sifted
    }

    /// Where the object that begins at `start` ends, if one does.
    fn object_end(&mut self, start: usize) -> Option<usize> {
        let checker = &mut self.checker;
        (checker.at, checker.broken, checker.names) = (start, false, 0);
        let whole = checker.peek() == Some(b'{') && checker.object().is_ok();
        whole.then_some(checker.at)
    }

    /// Where the event at `place` begins and ends. The checker may look beyond the place, so where it ends decides.
    fn check(&mut self, place: Range<usize>) -> Result<Range<usize>, &'static str> {
        const CUT: &str = "the event is not complete";
        let checker = &mut self.checker;
        let bytes = &checker.bytes[place.clone()];
        if std::str::from_utf8(bytes).is_err() {
            return Err("the event is not UTF-8");
        }
        let space = |byte: &u8| matches!(byte, b' ' | b'\n' | b'\r' | b'\t');
        let Some(ahead) = bytes.iter().position(|byte| !space(byte)) else {
            return Err("there is no event");
        };
        let start = place.start + ahead;
        if checker.bytes[start] != b'{' {
            return Err("an event must be a JSON object");
        }
        (checker.at, checker.broken, checker.names) = (start, false, 0);
        let outcome = checker.object();
        if checker.at > place.end || (checker.at == place.end && outcome.is_err()) {
            // A name that was passed there is no name of an event.
            checker.known.retain(|(at, length)| at + length <= place.end);
            return Err(CUT);
        }
        outcome?;
        if !checker.bytes[checker.at..place.end].iter().all(space) {
            return Err("nothing may follow the object");
        }
        Ok(start..checker.at)
    }
}

/// Judges the events of a body one by one. Refused as a whole when it cannot be told where one ends, or one is too large.
pub(crate) fn sift(body: &[u8], shape: BodyShape, event_bytes_max: usize) -> Result<Sifted> {
    let text = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
    let mut sifter = Sifter::new(text, event_bytes_max);
    let first = text.iter().find(|byte| !matches!(byte, b' ' | b'\n' | b'\r' | b'\t'));
    match (first, shape) {
        (None, _) => return Err(Error::NoEvents),
        (Some(b'['), BodyShape::Any) => items(text, &mut sifter)?,
        _ => lines(text, &mut sifter)?,
    }
    if sifter.sifted.events == 0 {
        return Err(Error::NoEvents);
    }
    Ok(sifter.finish())
}

/// The items of an array.
fn items(text: &[u8], sifter: &mut Sifter<'_>) -> Result<()> {
    let mut scanner = Scanner::new(text);
    let mut broken = false;
    scanner.skip_space();
    scanner.step();
    scanner.skip_space();
    if scanner.peek() == Some(b']') {
        scanner.step();
    } else {
        loop {
            scanner.skip_space();
            let start = scanner.at();
            if scanner.skip_value().is_none() {
                broken = true;
                break;
            }
            sifter.take(start..scanner.at())?;
            scanner.skip_space();
            let next = scanner.peek();
            if !matches!(next, Some(b',' | b']')) {
                broken = true;
                break;
            }
            scanner.step();
            if next == Some(b']') {
                break;
            }
        }
    }
    scanner.skip_space();
    if broken || scanner.peek().is_some() {
        let event = sifter.sifted.events as usize;
        let reason = "expected a comma or the end of the array after an event, and nothing after the array";
        return Err(Error::Malformed { event, byte: scanner.at(), reason });
    }
    Ok(())
}

/// Objects, each of which may go over several lines; what is none ends with its line.
fn lines(text: &[u8], sifter: &mut Sifter<'_>) -> Result<()> {
    let line_end = |at: usize| memchr::memchr(b'\n', &text[at..]).map_or(text.len(), |length| at + length);
    let mut at = 0;
    while let Some(ahead) = text[at..].iter().position(|byte| !byte.is_ascii_whitespace()) {
        let start = at + ahead;
        let end = sifter.object_end(start).filter(|end| text[*end..line_end(*end)].trim_ascii().is_empty());
        let end = end.unwrap_or_else(|| line_end(start));
        sifter.take(start..end)?;
        at = end;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::validate::validate;
    use proptest::prelude::*;

    #[track_caller]
    fn check(body: &str, lines: &str, rejected: &[u32]) {
        let mut sifted = sift(body.as_bytes(), BodyShape::Any, 100).unwrap();
        let numbers: Vec<u32> = sifted.take_rejections().iter().map(|rejection| rejection.event).collect();
        assert_eq!(numbers, rejected, "{body}");
        let valid = sifted.into_lines();
        assert_eq!(std::str::from_utf8(&valid.lines).unwrap(), lines);
        assert_eq!(valid.events as usize, lines.lines().count());
    }

    #[test]
    fn good_events_are_taken_and_bad_ones_named() {
        check(r#"[{"a":1}, 5, {"a":2}]"#, "{\"a\":1}\n[\"an event must be a JSON object\",\"5\"]\n{\"a\":2}\n", &[1]);
        check(
            "{\"a\":1}\n{\"a\":\n{\"a\":2}",
            "{\"a\":1}\n[\"the event is not complete\",\"{\\\"a\\\":\"]\n{\"a\":2}\n",
            &[1],
        );
        check("{\"a\":\n1}", "{\"a\": 1}\n", &[]);
        check(
            "{\"a\":1} {\"b\":2}\n\n{}",
            "[\"nothing may follow the object\",\"{\\\"a\\\":1} {\\\"b\\\":2}\"]\n{}\n",
            &[0],
        );
        check("[{\"a\":[1 2]},{}]", "[\"expected a comma or the end of the array\",\"{\\\"a\\\":[1 2]}\"]\n{}\n", &[0]);
        for refused in ["[{\"a\":1}", "[{\"a\":[}]},{}]", "[{}]x", "[{} {}]", "", "[]", " \n"] {
            assert!(sift(refused.as_bytes(), BodyShape::Any, 100).is_err(), "{refused}");
        }
        let large = format!("{{\"a\":\"{}\"}}", "x".repeat(100));
        assert!(matches!(sift(large.as_bytes(), BodyShape::Any, 100), Err(Error::EventTooLarge { event: 0, .. })));
    }

    #[test]
    fn what_is_no_event_cannot_become_much_larger_than_it_was() {
        let noise = "1\n".repeat(100_000);
        assert!(matches!(sift(noise.as_bytes(), BodyShape::Any, 100), Err(Error::TooManyRejected { .. })));
        let mut some = sift(
            "1\n{\"a\":\"some more text than that, and more, and more\"}\n".repeat(1000).as_bytes(),
            BodyShape::Any,
            100,
        )
        .unwrap();
        assert_eq!((some.events(), some.rejected(), some.take_rejections().len()), (2000, 1000, 100));
    }

    #[test]
    fn an_event_ends_where_its_place_does_whatever_follows() {
        let bytes = b"{\"a\":{}}{\"a\":{}}}\xff";
        for (place, good) in
            [(0..8, true), (0..7, false), (0..16, false), (8..16, true), (8..17, false), (8..18, false)]
        {
            let mut sifter = Sifter::new(bytes, 100);
            sifter.take(place.clone()).unwrap();
            assert_eq!(sifter.finish().rejections.is_empty(), good, "{place:?}");
        }
    }

    proptest! {
        /// What is valid as a whole is taken as it is; nothing is lost or taken that is none.
        #[test]
        fn sifting_agrees_with_validating(
            events in prop::collection::vec("\\{(\"a\":(1|\"x\"|\\[\\]|\\{\\})(,\"b\":null)?)?\\}|[\\[\\]{}\",:a1]{0,6}", 1..6),
            lines: bool,
        ) {
            let body = if lines { events.join("\n") } else { format!("[{}]", events.join(",")) };
            let whole = validate(&body.clone().into(), BodyShape::Any, 100);
            let sifted = sift(body.as_bytes(), BodyShape::Any, 100);
            match (whole, sifted) {
                (Ok(whole), Ok(sifted)) => {
                    prop_assert!(sifted.rejections.is_empty());
                    prop_assert_eq!(sifted.into_lines(), whole);
                }
                (Ok(_), Err(error)) => prop_assert!(false, "{error}"),
                (Err(_), Ok(sifted)) => prop_assert!(!sifted.rejections.is_empty(), "{}", body),
                (Err(_), Err(_)) => {}
            }
        }

        #[test]
        fn any_bytes_are_survived(bytes: Vec<u8>, text in "[\\[\\]{}:,\"\\\\a1\n ]{0,30}") {
            for bytes in [bytes.as_slice(), text.as_bytes()] {
                if let Ok(sifted) = sift(bytes, BodyShape::Any, 100) {
                    let events = sifted.events();
                    let valid = sifted.into_lines();
                    prop_assert_eq!(memchr::memchr_iter(b'\n', &valid.lines).count(), events as usize);
                }
            }
        }
    }
}
