//! `JsonPath`: which value of an event, as jq writes it: `.a.b`, `.a[0]`, `."odd key"`, `.["odd key"]`.

use crate::scan::Scanner;
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// The longest path, in bytes.
const PATH_BYTES_MAX: usize = 256;

/// The most steps of a path.
const STEPS_MAX: usize = 16;

/// A path to one value of an event. `Display` writes it as it was given.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct JsonPath {
    text: String,
    steps: Vec<Step>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Step {
    Field(String),
    Index(usize),
}

impl JsonPath {
    /// The raw JSON of the value, or `None` when the event has none there. The event must be valid JSON.
    pub(crate) fn find<'a>(&self, event: &'a [u8]) -> Option<&'a [u8]> {
        let mut scanner = Scanner::new(event);
        for step in &self.steps {
            let found = match step {
                Step::Field(name) => scanner.enter_field(name.as_bytes()),
                Step::Index(index) => scanner.enter_item(*index),
            };
            if !found {
                return None;
            }
        }
        scanner.skip_space();
        let start = scanner.at();
        scanner.skip_value()?;
        Some(&event[start..scanner.at()])
    }

    /// A name for what it points at: its steps joined by dots.
    pub(crate) fn name(&self) -> String {
        let steps: Vec<String> = self
            .steps
            .iter()
            .map(|step| match step {
                Step::Field(name) => name.clone(),
                Step::Index(index) => index.to_string(),
            })
            .collect();
        steps.join(".")
    }
}

impl fmt::Display for JsonPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl From<JsonPath> for String {
    fn from(path: JsonPath) -> Self {
        path.text
    }
}

impl TryFrom<String> for JsonPath {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

impl FromStr for JsonPath {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let mut parser = Parser { text, at: 0 };
        if text.len() > PATH_BYTES_MAX {
            return Err(parser.refuse("use at most 256 bytes"));
        }
        let mut steps = Vec::new();
        if !text.starts_with('.') {
            return Err(parser.refuse("begin with a dot, as in .merchantId"));
        }
        while parser.at < text.len() {
            if steps.len() == STEPS_MAX {
                return Err(parser.refuse("use at most 16 steps"));
            }
            steps.push(parser.step(steps.is_empty())?);
        }
        Ok(Self { text: text.to_owned(), steps })
    }
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Parser<'a> {
    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn refuse(&self, rule: &'static str) -> Error {
        let at = self.text[..self.at].chars().count() + 1;
        Error::InvalidPath { given: self.text.chars().take(128).collect(), at, rule }
    }

    fn step(&mut self, first: bool) -> Result<Step> {
        let dot = self.rest().starts_with('.');
        if dot {
            self.at += 1;
        }
        match self.rest().chars().next() {
            Some('[') if !dot || first => self.bracket(),
            Some('"') if dot => self.quoted().map(Step::Field),
            Some(c) if dot && is_bare(c) => {
                let end = self.rest().find(|c| !is_bare(c)).unwrap_or(self.rest().len());
                let name = self.rest()[..end].to_owned();
                self.at += end;
                Ok(Step::Field(name))
            }
            _ if dot => {
                Err(self.refuse("put a field name after the dot; write odd names in quotes, as in .\"odd key\""))
            }
            _ => Err(self.refuse("go on with .name, [0] or [\"name\"], or end here")),
        }
    }

    fn bracket(&mut self) -> Result<Step> {
        self.at += 1;
        let step = if self.rest().starts_with('"') {
            Step::Field(self.quoted()?)
        } else {
            let end = self.rest().find(|c: char| !c.is_ascii_digit()).unwrap_or(self.rest().len());
            let rule = "put a number from 0 to 999999 or a name in quotes into the brackets";
            if end == 0 || end > 6 {
                return Err(self.refuse(rule));
            }
            let index = self.rest()[..end].parse().map_err(|_| self.refuse(rule))?;
            self.at += end;
            Step::Index(index)
        };
        if !self.rest().starts_with(']') {
            return Err(self.refuse("close the bracket"));
        }
        self.at += 1;
        Ok(step)
    }

    /// A JSON string.
    fn quoted(&mut self) -> Result<String> {
        let bytes = self.rest().as_bytes();
        let mut end = 1;
        while end < bytes.len() && bytes[end] != b'"' {
            end += if bytes[end] == b'\\' { 2 } else { 1 };
        }
        let quoted = self.rest().get(..=end).ok_or_else(|| self.refuse("close the quotes"))?;
        let name = serde_json::from_str(quoted).map_err(|_| self.refuse("write the name as a JSON string"))?;
        self.at += quoted.len();
        Ok(name)
    }
}

fn is_bare(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '_' | '-' | '$' | '@')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(path: &str, event: &str, expected: Option<&str>) {
        let found =
            path.parse::<JsonPath>().unwrap().find(event.as_bytes()).map(|raw| std::str::from_utf8(raw).unwrap());
        assert_eq!(found, expected, "{path} of {event}");
    }

    #[test]
    fn a_path_finds_the_raw_value() {
        check(".a", r#"{"a":1}"#, Some("1"));
        check(".a", r#"{ "b" : {"a":2}, "a" : "x y" }"#, Some(r#""x y""#));
        check(".a.b", r#"{"a":{"c":[{"b":1}],"b":null}}"#, Some("null"));
        check(".a[1]", r#"{"a":[0,[1,2],3]}"#, Some("[1,2]"));
        check(".a[0].b", r#"{"a":[ {"b":true} ]}"#, Some("true"));
        check(r#"."odd key""#, r#"{"odd key":1}"#, Some("1"));
        check(r#".["odd.key"]"#, r#"{"odd.key":1}"#, Some("1"));
        check(r#".a["b"]"#, r#"{"a":{"b":-1.5e3}}"#, Some("-1.5e3"));
        check(".größe", r#"{"größe":7}"#, Some("7"));
        check(".a-b", r#"{"a-b":7}"#, Some("7"));
    }

    #[test]
    fn escaped_names_are_compared_by_what_they_mean() {
        check(".ab", r#"{"\u0061b":1}"#, Some("1"));
        check(r#".["a\"b"]"#, r#"{"a\"b":1}"#, Some("1"));
        check(r#"."\ud83d\ude00""#, r#"{"😀":1}"#, Some("1"));
    }

    #[test]
    fn what_is_not_there_is_none() {
        check(".a", r#"{"b":1}"#, None);
        check(".a.b", r#"{"a":1}"#, None);
        check(".a[2]", r#"{"a":[0,1]}"#, None);
        check(".a[0]", r#"{"a":[]}"#, None);
        check(".a[0]", r#"{"a":{"0":1}}"#, None);
        check(".a", "{}", None);
        check(".a", r#"{"b":"\"a\":1"}"#, None);
    }

    #[track_caller]
    fn check_refused(path: &str, at: usize) {
        match path.parse::<JsonPath>() {
            Err(Error::InvalidPath { at: found, .. }) => assert_eq!(found, at, "{path}"),
            other => panic!("{path}: {other:?}"),
        }
    }

    #[test]
    fn a_bad_path_says_where_it_is_bad() {
        check_refused("", 1);
        check_refused("merchantId", 1);
        check_refused(".", 2);
        check_refused("..a", 2);
        check_refused(".a.", 4);
        check_refused(".a b", 3);
        check_refused(".ä[x]", 4);
        check_refused(".a[", 4);
        check_refused(".a[1", 5);
        check_refused(".a[1234567]", 4);
        check_refused(r#"."open"#, 2);
        check_refused(r#"."bad \x escape""#, 2);
        check_refused(&format!(".{}", "a".repeat(300)), 1);
        check_refused(&".a".repeat(17), 33);
    }

    #[test]
    fn a_path_is_named_by_its_steps() {
        for (path, name) in [(".merchantId", "merchantId"), (".a.b", "a.b"), (".a[0]", "a.0"), (r#".["x y"]"#, "x y")] {
            let parsed: JsonPath = path.parse().unwrap();
            assert_eq!((parsed.name().as_str(), parsed.to_string().as_str()), (name, path));
        }
    }
}
