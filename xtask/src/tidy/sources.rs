//! Rules for Rust files: a header, a name that says what the file does, no `allow`, no TODO without a number. Long files
//! and functions are reminders only.

use super::Findings;
use std::path::Path;

const EMPTY_NAMES: [&str; 7] = ["utils", "util", "helpers", "common", "misc", "types", "manager"];
/// Cut in two, so that this file does not find itself.
const ALLOW: [&str; 2] = [concat!("#[all", "ow("), concat!("#![all", "ow(")];
const FILE_LINES: usize = 500;
const FUNCTION_LINES: usize = 70;

pub(super) fn check(path: &Path, text: &str, findings: &mut Findings) {
    if !text.starts_with("//!") {
        findings.broken(path, "begins without a `//!` header");
    }
    let name = path.file_stem().and_then(|name| name.to_str()).unwrap_or_default();
    if EMPTY_NAMES.contains(&name) {
        findings.broken(path, "its name does not say what it does");
    }
    for (line, number) in text.lines().zip(1..) {
        if ALLOW.iter().any(|attribute| line.trim_start().starts_with(attribute)) {
            findings.broken(path, format!("line {number}: `expect` with a reason instead of `allow`"));
        }
        let comment = line.split_once("//").map_or("", |(_, comment)| comment.trim_start_matches(['/', '!', ' ']));
        if comment.strip_prefix("TODO").is_some_and(|after| !after.starts_with("(#")) {
            findings.broken(path, format!("line {number}: a TODO without an issue, as in `TODO(#7)`"));
        }
    }
    let lines = production_lines(text);
    if lines > FILE_LINES {
        findings.remind(path, format!("{lines} lines: is there a second noun in it?"));
    }
    for (function, lines) in long_functions(text) {
        findings.remind(path, format!("fn {function}: {lines} lines"));
    }
}

/// Lines before the tests at the foot of the file.
fn production_lines(text: &str) -> usize {
    let tests = text.find("\n#[cfg(test)]\nmod tests {").unwrap_or(text.len());
    text[..tests].lines().count()
}

/// Functions of more lines than they should have; relies on rustfmt: a body ends at a `}` as far left as its `fn`.
fn long_functions(text: &str) -> Vec<(String, usize)> {
    let lines: Vec<&str> = text.lines().collect();
    let mut long = Vec::new();
    for (start, line) in lines.iter().enumerate() {
        let code = line.trim_start();
        let indent = line.len() - code.len();
        let Some(name) = function_name(code) else { continue };
        let ends = |line: &&str| line.len() == indent + 1 && line.ends_with('}') && line.trim_start() == "}";
        let Some(length) = lines[start..].iter().position(ends) else { continue };
        if length + 1 > FUNCTION_LINES {
            long.push((name.to_owned(), length + 1));
        }
    }
    long
}

fn function_name(code: &str) -> Option<&str> {
    const BEFORE: [&str; 5] = ["pub ", "pub(crate) ", "pub(super) ", "async ", "const "];
    let mut rest = code;
    while let Some(shorter) = BEFORE.iter().find_map(|word| rest.strip_prefix(word)) {
        rest = shorter;
    }
    let name = rest.strip_prefix("fn ")?;
    (!code.ends_with('}')).then(|| name.split(['(', '<']).next().unwrap_or(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(path: &str, text: &str) -> (usize, usize) {
        let mut findings = Findings::default();
        check(Path::new(path), text, &mut findings);
        (findings.broken.len(), findings.reminders.len())
    }

    #[test]
    fn a_file_with_a_header_and_a_telling_name_is_in_order() {
        assert_eq!(found("src/put.rs", "//! Stores objects.\n\nfn put() {}\n"), (0, 0));
    }

    #[test]
    fn each_broken_rule_is_found() {
        assert_eq!(found("src/put.rs", "fn put() {}\n"), (1, 0));
        assert_eq!(found("src/utils.rs", "//! All sorts.\n"), (1, 0));
        assert_eq!(found("src/put.rs", concat!("//! x\n    #[all", "ow(dead_code)]\n")), (1, 0));
        assert_eq!(found("src/put.rs", concat!("//! x\n#![all", "ow(dead_code)]\n")), (1, 0));
        assert_eq!(found("src/put.rs", "//! x\n// TODO: later\n"), (1, 0));
        assert_eq!(found("src/put.rs", "//! x\n// TODO(#7): later\n"), (0, 0));
    }

    #[test]
    fn long_functions_and_files_are_reminders_and_tests_do_not_count() {
        let long_function = format!("//! x\npub async fn long() {{\n{}}}\n", "    step();\n".repeat(70));
        assert_eq!(found("src/put.rs", &long_function), (0, 1));
        let long_file = format!("//! x\n{}", "const A: u8 = 1;\n".repeat(501));
        assert_eq!(found("src/put.rs", &long_file), (0, 1));
        let long_tests = format!("//! x\n\n#[cfg(test)]\nmod tests {{\n{}}}\n", "    const A: u8 = 1;\n".repeat(501));
        assert_eq!(found("src/put.rs", &long_tests), (0, 0));
    }
}
