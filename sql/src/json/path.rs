//! The part of JSONPath that `extract_json` knows: `$`, `.name`, `['name']`, `["name"]`, `[n]` from 0, `[*]` and `.*`.

use super::scan::{self, Step};

/// The most steps of a path.
const STEPS_MAX: usize = 16;

/// A path to any number of values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct JsonPath(Vec<PathStep>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum PathStep {
    Name(String),
    Index(i64),
    All,
}

impl JsonPath {
    /// Reads a path; the error says what is possible.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is no path: it is `$` and up to {STEPS_MAX} of .name ['name'] [0] [*]");
        let mut rest = text.trim().strip_prefix('$').ok_or_else(wrong)?;
        let mut steps = Vec::new();
        while !rest.is_empty() {
            let (step, after) = step(rest).ok_or_else(wrong)?;
            steps.push(step);
            rest = after;
        }
        if steps.len() > STEPS_MAX { Err(wrong()) } else { Ok(Self(steps)) }
    }

    /// The raw values, in the order of the document.
    pub(super) fn find<'a>(&self, text: &'a str) -> Vec<&'a str> {
        let mut found: Vec<&str> = scan::value(text).into_iter().collect();
        for step in &self.0 {
            found = match step {
                PathStep::Name(name) => found.into_iter().filter_map(|text| one(text, Step::Name(name))).collect(),
                PathStep::Index(index) => found.into_iter().filter_map(|text| one(text, Step::Index(*index))).collect(),
                PathStep::All => found.into_iter().filter_map(scan::values).flatten().collect(),
            };
        }
        found
    }
}

fn one<'a>(text: &'a str, step: Step<'_>) -> Option<&'a str> {
    scan::enter(text, step).and_then(scan::value)
}

/// The first step, and what follows it.
fn step(text: &str) -> Option<(PathStep, &str)> {
    if let Some(rest) = text.strip_prefix('.') {
        let end = rest.find(['.', '[']).unwrap_or(rest.len());
        let (name, after) = rest.split_at(end);
        return match name {
            "" => None,
            "*" => Some((PathStep::All, after)),
            name => Some((PathStep::Name(name.to_owned()), after)),
        };
    }
    let rest = text.strip_prefix('[')?;
    for quote in ['\'', '"'] {
        if let Some(quoted) = rest.strip_prefix(quote) {
            let (name, after) = quoted.split_once(quote)?;
            return Some((PathStep::Name(name.to_owned()), after.strip_prefix(']')?));
        }
    }
    let (index, after) = rest.split_once(']')?;
    match index {
        "*" => Some((PathStep::All, after)),
        digits if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
            Some((PathStep::Index(digits.parse().ok()?), after))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_find_values_in_order() {
        let text = r#"{"a":{"b c":[1,{"d":2},[3,4]]},"e":"x"}"#;
        for (path, found) in [
            ("$", vec![text]),
            ("$.a['b c'][0]", vec!["1"]),
            ("$.a[\"b c\"][*]", vec!["1", r#"{"d":2}"#, "[3,4]"]),
            ("$.a['b c'][*][*]", vec!["2", "3", "4"]),
            ("$.*", vec![r#"{"b c":[1,{"d":2},[3,4]]}"#, r#""x""#]),
            ("$.missing", vec![]),
            ("$.e[0]", vec![]),
        ] {
            assert_eq!(JsonPath::parse(path).unwrap().find(text), found, "{path}");
        }
    }

    #[test]
    fn what_is_no_path_is_refused() {
        let long = format!("${}", ".a".repeat(17));
        for path in ["", "a", "$a", "$.", "$..a", "$[", "$[x]", "$['a", "$[-1]", "$[0:2]", "$[]", long.as_str()] {
            assert!(JsonPath::parse(path).is_err(), "{path}");
        }
    }
}
