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

/// So much more it may be: room for the reasons of twenty thousand values of one character, twice what producers batch by themselves.
const GROWTH_BYTES: usize = 1 << 20;

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
    /// How many events there were before the body that is sifted, and what lines and rejections may come to with it.
    before: u32,
    lines_max: usize,
    rejections_max: usize,
}

impl<'a> Sifter<'a> {
    pub(crate) fn new(bytes: &'a [u8], event_bytes_max: usize) -> Self {
        let checker = Checker { bytes, at: 0, broken: false, names: 0, known: Vec::new() };
        let sifted = Sifted { lines: Vec::with_capacity(bytes.len() + 1), ..Sifted::default() };
        let mut new = Self { checker, event_bytes_max, sifted, before: 0, lines_max: 0, rejections_max: 0 };
        new.begin(bytes.len());
        new
    }

    /// From here on comes a body of so many bytes.
    fn begin(&mut self, bytes: usize) {
        self.before = self.sifted.events;
        self.lines_max = self.sifted.lines.len() + bytes * GROWTH_MAX + GROWTH_BYTES;
        self.rejections_max = self.sifted.rejections.len() + REJECTIONS_MAX;
    }

    /// Takes the events of the body at `place`. Refused as a whole, and nothing of it taken, when it cannot be told where one
    /// ends, or one is too large.
    pub(crate) fn body(&mut self, mut place: Range<usize>, shape: BodyShape) -> Result<()> {
        self.begin(place.len());
        let (lines, rejected, rejections) =
            (self.sifted.lines.len(), self.sifted.rejected, self.sifted.rejections.len());
        if self.checker.bytes[place.clone()].starts_with(b"\xef\xbb\xbf") {
            place.start += 3;
        }
        let first = self.checker.bytes[place.clone()].iter().find(|byte| !is_space(**byte));
        let outcome = match (first, shape) {
            (Some(b'['), BodyShape::Any) => self.items(place),
            _ => self.lines(place),
        };
        let none = self.sifted.events == self.before;
        let outcome = outcome.and_then(|()| if none { Err(Error::NoEvents) } else { Ok(()) });
        if outcome.is_err() {
            self.sifted.lines.truncate(lines);
            self.sifted.rejections.truncate(rejections);
            (self.sifted.events, self.sifted.rejected) = (self.before, rejected);
        }
        outcome
    }

    /// How many events there were so far, good and bad.
    pub(crate) fn events(&self) -> u32 {
        self.sifted.events
    }

    /// How many of the bad ones are named so far.
    pub(crate) fn named(&self) -> usize {
        self.sifted.rejections.len()
    }

    /// Takes the event at `place`, or notes what is wrong with it. One that is too large is refused: it may be larger than
    /// anything that is taken.
    pub(crate) fn take(&mut self, place: Range<usize>) -> Result<()> {
        self.fits(&place)?;
        match self.check(place.clone()) {
            Ok(event) => {
                self.keep(event);
                Ok(())
            }
            Err(reason) => self.reject(reason, &self.checker.bytes[place]),
        }
    }

    fn fits(&self, place: &Range<usize>) -> Result<()> {
        if place.len() > self.event_bytes_max {
            let event = (self.sifted.events - self.before) as usize;
            let (bytes, limit_bytes) = (place.len(), self.event_bytes_max);
            return Err(Error::EventTooLarge { event, bytes, limit_bytes });
        }
        Ok(())
    }

    /// Keeps an event that the checker has just passed.
    fn keep(&mut self, event: Range<usize>) {
        let lines = &mut self.sifted.lines;
        let start = lines.len();
        lines.extend_from_slice(&self.checker.bytes[event]);
        if self.checker.broken {
            super::mend_line_ends(&mut lines[start..]);
        }
        lines.push(b'\n');
        self.sifted.events += 1;
    }

    /// Notes something that is no event. Refused when too much is none.
    pub(crate) fn reject(&mut self, reason: &'static str, value: &[u8]) -> Result<()> {
        let sifted = &mut self.sifted;
        if sifted.lines.len() + value.len() > self.lines_max {
            return Err(Error::TooManyRejected { reason });
        }
        rejected::write_line(reason, value, &mut sifted.lines);
        if sifted.rejections.len() < self.rejections_max {
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
        let Some(ahead) = bytes.iter().position(|byte| !is_space(*byte)) else {
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
        if !checker.bytes[checker.at..place.end].iter().all(|byte| is_space(*byte)) {
            return Err("nothing may follow the object");
        }
        Ok(start..checker.at)
    }

    /// The items of an array.
    fn items(&mut self, place: Range<usize>) -> Result<()> {
        let mut scanner = Scanner::new(&self.checker.bytes[place.clone()]);
        let mut broken = false;
        scanner.skip_space();
        scanner.step();
        scanner.skip_space();
        if scanner.peek() == Some(b']') {
            scanner.step();
        } else {
            loop {
                scanner.skip_space();
                let start = place.start + scanner.at();
                if scanner.skip_value().is_none() {
                    broken = true;
                    break;
                }
                self.take(start..place.start + scanner.at())?;
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
            let event = (self.sifted.events - self.before) as usize;
            let reason = "expected a comma or the end of the array after an event, and nothing after the array";
            return Err(Error::Malformed { event, byte: scanner.at(), reason });
        }
        Ok(())
    }

    /// Objects, each of which may go over several lines; what is none ends with its line.
    fn lines(&mut self, place: Range<usize>) -> Result<()> {
        let text = &self.checker.bytes[..place.end];
        let line_end = |at: usize| memchr::memchr(b'\n', &text[at..]).map_or(text.len(), |length| at + length);
        let alone = |end: usize| text[end..line_end(end)].trim_ascii().is_empty();
        let mut at = place.start;
        while let Some(ahead) = text[at..].iter().position(|byte| !byte.is_ascii_whitespace()) {
            let start = at + ahead;
            let whole = self.object_end(start).filter(|end| *end <= place.end && alone(*end));
            at = whole.unwrap_or_else(|| line_end(start));
            if whole.is_some() && std::str::from_utf8(&text[start..at]).is_ok() {
                self.fits(&(start..at))?;
                self.keep(start..at);
            } else {
                self.take(start..at)?;
            }
        }
        Ok(())
    }
}

fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\n' | b'\r' | b'\t')
}

/// Judges the events of a body one by one. Refused as a whole when it cannot be told where one ends, or one is too large.
pub(crate) fn sift(body: &[u8], shape: BodyShape, event_bytes_max: usize) -> Result<Sifted> {
    let mut sifter = Sifter::new(body, event_bytes_max);
    sifter.body(0..body.len(), shape)?;
    Ok(sifter.finish())
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
        let usual = "1\n".repeat(10_000) + "{}\n";
        assert_eq!(sift(usual.as_bytes(), BodyShape::Any, 100).unwrap().rejected(), 10_000);
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

        /// Bodies that lie in one buffer are sifted as if each were alone, also what is refused.
        #[test]
        fn bodies_side_by_side_do_not_touch_each_other(
            bodies in prop::collection::vec(
                "(\\[)?(\\{(\"a\":(1|\"x\"|\\[\\]|\\{\\}))?\\}|[\\[\\]{}\",:a1\\n ]{0,6}){0,3}\\]?", 1..6
            ),
        ) {
            let bytes = bodies.concat();
            let mut sifter = Sifter::new(bytes.as_bytes(), 100);
            let (mut at, mut lines, mut rejections) = (0, Vec::new(), Vec::new());
            for body in &bodies {
                let before = sifter.events();
                let outcome = sifter.body(at..at + body.len(), BodyShape::Any);
                at += body.len();
                match sift(body.as_bytes(), BodyShape::Any, 100) {
                    Ok(mut alone) => {
                        prop_assert!(outcome.is_ok(), "{body}");
                        prop_assert_eq!(sifter.events() - before, alone.events());
                        let named = alone.take_rejections().into_iter();
                        rejections.extend(named.map(|named| Rejection { event: named.event + before, ..named }));
                        lines.extend_from_slice(&alone.into_lines().lines);
                    }
                    Err(error) => {
                        prop_assert_eq!(outcome.unwrap_err().to_string(), error.to_string());
                        prop_assert_eq!(sifter.events(), before);
                    }
                }
            }
            prop_assert_eq!(sifter.named(), rejections.len());
            let mut sifted = sifter.finish();
            prop_assert_eq!(sifted.rejected() as usize, rejections.len());
            prop_assert_eq!(sifted.take_rejections(), rejections);
            prop_assert_eq!(sifted.into_lines().lines, lines);
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
