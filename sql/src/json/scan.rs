//! Finds values in JSON text without reading what lies beside them. Text is taken to be valid; where it is not, nothing is
//! found, or what looks like a value. Where a name comes twice the first counts. Nothing here calls itself.

use memchr::memchr2;
use std::borrow::Cow;

/// One step into a document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step<'a> {
    Name(&'a str),
    /// From 0. Less than 0 is nowhere.
    Index(i64),
}

/// The raw value behind one step.
pub(super) fn enter<'a>(text: &'a str, step: Step<'_>) -> Option<&'a str> {
    let at = match step {
        Step::Name(name) => Members::new(text)?.find(|member| member.is_called(name))?.value,
        Step::Index(index) => Items::new(text)?.nth(usize::try_from(index).ok()?)?,
    };
    // Up to the end of the text: the end of the value is looked for where it matters.
    text.get(at..)
}

/// The raw value that the text begins with, without what follows.
pub(super) fn value(text: &str) -> Option<&str> {
    let start = skip_space(text.as_bytes(), 0);
    text.get(start..skip_value(text.as_bytes(), start)?)
}

/// The raw values of an array or an object, in order; `None` of anything else.
pub(super) fn values(text: &str) -> Option<Box<dyn Iterator<Item = &str> + '_>> {
    let at = skip_space(text.as_bytes(), 0);
    match text.as_bytes().get(at)? {
        b'[' => Some(Box::new(Items::new(text)?.filter_map(|start| value(text.get(start..)?)))),
        b'{' => Some(Box::new(Members::new(text)?.filter_map(|member| value(text.get(member.value..)?)))),
        _ => None,
    }
}

/// What a raw string says; `None` of anything else.
pub(super) fn string(raw: &str) -> Option<Cow<'_, str>> {
    let inner = raw.strip_prefix('"')?.strip_suffix('"')?;
    if inner.contains('\\') {
        return serde_json::from_str(raw).ok().map(Cow::Owned);
    }
    Some(Cow::Borrowed(inner))
}

/// A member of an object.
struct Member<'a> {
    /// With its quotes.
    name: &'a str,
    /// Where the value begins.
    value: usize,
}

impl Member<'_> {
    fn is_called(&self, name: &str) -> bool {
        let inner = self.name.get(1..self.name.len() - 1).unwrap_or_default();
        if inner.contains('\\') { string(self.name).is_some_and(|own| own == name) } else { inner == name }
    }
}

/// Names and values of an object. A value is passed over when the next member is asked for, not before.
struct Members<'a> {
    text: &'a str,
    at: At,
}

/// Where the values of an array begin; they are passed over in the same way.
struct Items<'a> {
    text: &'a str,
    at: At,
}

#[derive(Clone, Copy)]
enum At {
    /// Before the first thing in the brackets, or the closing one.
    First(usize),
    /// Where the last value begins.
    Value(usize),
}

impl<'a> Members<'a> {
    fn new(text: &'a str) -> Option<Self> {
        Some(Self { text, at: At::First(first(text.as_bytes(), b'{')?) })
    }
}

impl<'a> Iterator for Members<'a> {
    type Item = Member<'a>;

    fn next(&mut self) -> Option<Member<'a>> {
        let bytes = self.text.as_bytes();
        let start = next(bytes, self.at)?;
        if bytes.get(start) != Some(&b'"') {
            return None;
        }
        let end = skip_string(bytes, start)?;
        let colon = skip_space(bytes, end);
        if bytes.get(colon) != Some(&b':') {
            return None;
        }
        let value = skip_space(bytes, colon + 1);
        self.at = At::Value(value);
        Some(Member { name: self.text.get(start..end)?, value })
    }
}

impl<'a> Items<'a> {
    fn new(text: &'a str) -> Option<Self> {
        Some(Self { text, at: At::First(first(text.as_bytes(), b'[')?) })
    }
}

impl Iterator for Items<'_> {
    type Item = usize;

    fn next(&mut self) -> Option<usize> {
        let bytes = self.text.as_bytes();
        let start = next(bytes, self.at)?;
        if matches!(bytes.get(start), None | Some(b']')) {
            return None;
        }
        self.at = At::Value(start);
        Some(start)
    }
}

fn first(bytes: &[u8], bracket: u8) -> Option<usize> {
    let at = skip_space(bytes, 0);
    (bytes.get(at) == Some(&bracket)).then(|| skip_space(bytes, at + 1))
}

/// Where the next thing begins: behind the last value and a comma.
fn next(bytes: &[u8], at: At) -> Option<usize> {
    match at {
        At::First(start) => Some(start),
        At::Value(value) => {
            let comma = skip_space(bytes, skip_value(bytes, value)?);
            (bytes.get(comma) == Some(&b',')).then(|| skip_space(bytes, comma + 1))
        }
    }
}

fn skip_space(bytes: &[u8], at: usize) -> usize {
    let rest = bytes.get(at..).unwrap_or_default();
    at + rest.iter().take_while(|byte| matches!(byte, b' ' | b'\n' | b'\r' | b'\t')).count()
}

/// The place behind a string that begins at `at`.
fn skip_string(bytes: &[u8], at: usize) -> Option<usize> {
    let mut from = at + 1;
    loop {
        let found = from + memchr2(b'"', b'\\', bytes.get(from..)?)?;
        if bytes[found] == b'"' {
            return Some(found + 1);
        }
        from = found + 2;
    }
}

/// The place behind a value that begins at `at`.
fn skip_value(bytes: &[u8], at: usize) -> Option<usize> {
    match bytes.get(at)? {
        b'"' => skip_string(bytes, at),
        b'{' | b'[' => skip_brackets(bytes, at),
        b'-' | b'0'..=b'9' | b't' | b'f' | b'n' => {
            let end = |byte: &u8| matches!(byte, b',' | b'}' | b']' | b' ' | b'\n' | b'\r' | b'\t');
            let length = bytes[at..].iter().position(end).unwrap_or(bytes.len() - at);
            Some(at + length)
        }
        _ => None,
    }
}

fn skip_brackets(bytes: &[u8], at: usize) -> Option<usize> {
    let (mut open, mut at) = (0_usize, at);
    loop {
        match bytes.get(at)? {
            b'"' => {
                at = skip_string(bytes, at)?;
                continue;
            }
            b'{' | b'[' => open += 1,
            b'}' | b']' => open -= 1,
            _ => {}
        }
        at += 1;
        if open == 0 {
            return Some(at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::Value;

    #[test]
    fn values_are_found_behind_names_and_indexes() {
        let text = r#" { "a" : [ 1, {"b":"x,]}\"y"} , null ] , "c\u0064" : -1.5e3, "a": 2 } "#;
        let find = |steps: &[Step<'_>]| steps.iter().try_fold(text, |text, step| enter(text, *step)).and_then(value);
        for (steps, found) in [
            (vec![Step::Name("a"), Step::Index(0)], Some("1")),
            (vec![Step::Name("a"), Step::Index(1), Step::Name("b")], Some(r#""x,]}\"y""#)),
            (vec![Step::Name("a"), Step::Index(2)], Some("null")),
            (vec![Step::Name("a"), Step::Index(3)], None),
            (vec![Step::Name("a"), Step::Index(-1)], None),
            (vec![Step::Name("a"), Step::Name("b")], None),
            (vec![Step::Name("cd")], Some("-1.5e3")),
            (vec![Step::Index(0)], None),
            (vec![Step::Name("a")], Some(r#"[ 1, {"b":"x,]}\"y"} , null ]"#)),
        ] {
            assert_eq!(find(&steps), found, "{steps:?}");
        }
        assert_eq!(values(text).map(Iterator::count), Some(3));
        assert!(values("1").is_none());
    }

    #[test]
    fn what_is_no_json_is_survived() {
        for text in ["", "{", "[", "{\"a", "{\"a\"", "{\"a\":", "[1,", "{\"a\":[}", "}", "\\", "{\"a\\", "{]", "x"] {
            assert_eq!(enter(text, Step::Name("a")).and_then(value).filter(|found| found.is_empty()), None, "{text}");
            assert_eq!(enter(text, Step::Index(1)), None, "{text}");
        }
    }

    fn json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<String>().prop_map(Value::from),
        ];
        leaf.prop_recursive(3, 20, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::btree_map("[a-c\\\\\"é]{0,2}", inner, 0..4)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn the_scanner_finds_what_a_parser_finds(document in json(), pretty: bool, name in "[a-c\\\\\"é]{0,2}", index in 0..4_usize) {
            let text = if pretty { serde_json::to_string_pretty(&document) } else { serde_json::to_string(&document) };
            let text = text.unwrap();
            let parsed = |raw: &str| serde_json::from_str::<Value>(raw).unwrap();
            let step = i64::try_from(index).unwrap();
            prop_assert_eq!(enter(&text, Step::Name(&name)).and_then(value).map(parsed), document.get(&name).cloned());
            prop_assert_eq!(enter(&text, Step::Index(step)).and_then(value).map(parsed), document.get(index).cloned());
        }
    }
}
