//! `{a...b}`: one text for a row of drives. `/mnt/d{1...6}` is six folders, `/mnt/d{01...12}` keeps its zeros.

use std::path::PathBuf;

/// Drives of all sets at most.
const DRIVES_MAX: usize = super::SETS_MAX * cistern_drives::LANES_MAX;

/// All folders that `patterns` stand for, in order, none twice.
pub(super) fn expand_all(patterns: &[String]) -> Result<Vec<PathBuf>, String> {
    if patterns.is_empty() {
        return Err("the list is empty; name at least one folder".into());
    }
    let mut drives: Vec<PathBuf> = Vec::new();
    for pattern in patterns {
        for drive in expand(pattern)? {
            let drive = PathBuf::from(drive);
            if drives.contains(&drive) {
                return Err(format!("{} is named twice; name each drive once", drive.display()));
            }
            drives.push(drive);
            if drives.len() > DRIVES_MAX {
                return Err(format!("more than {DRIVES_MAX} drives; use at most {DRIVES_MAX}"));
            }
        }
    }
    Ok(drives)
}

fn expand(pattern: &str) -> Result<Vec<String>, String> {
    let refuse =
        || format!("{pattern:?} is not a drive; use a folder such as /mnt/d1, or a range such as /mnt/d{{1...6}}");
    let Some((before, rest)) = pattern.split_once('{') else {
        return if pattern.is_empty() || pattern.contains('}') { Err(refuse()) } else { Ok(vec![pattern.into()]) };
    };
    let (range, after) = rest.split_once('}').ok_or_else(refuse)?;
    let (first, last) = range.split_once("...").ok_or_else(refuse)?;
    let number = |text: &str| {
        let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        if digits { text.parse::<u32>().map_err(|_| refuse()) } else { Err(refuse()) }
    };
    let (from, to) = (number(first)?, number(last)?);
    if from > to || (to - from) as usize >= DRIVES_MAX {
        return Err(format!("{{{range}}} is not a range; count upwards, at most {DRIVES_MAX} drives"));
    }
    let width = if first.starts_with('0') { first.len() } else { 1 };
    let mut expanded = Vec::new();
    for tail in expand_tail(after)? {
        expanded.extend((from..=to).map(|number| (number, format!("{before}{number:0width$}{tail}"))));
    }
    expanded.sort_by_key(|(number, _)| *number); // stable: the first range counts slowest
    Ok(expanded.into_iter().map(|(_, drive)| drive).collect())
}

fn expand_tail(after: &str) -> Result<Vec<String>, String> {
    if after.is_empty() { Ok(vec![String::new()]) } else { expand(after) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(patterns: &[&str], expected: Result<&[&str], &str>) {
        let patterns: Vec<String> = patterns.iter().map(ToString::to_string).collect();
        let expanded = expand_all(&patterns);
        match (expanded, expected) {
            (Ok(drives), Ok(expected)) => assert_eq!(drives, expected.iter().map(PathBuf::from).collect::<Vec<_>>()),
            (Err(error), Err(expected)) => assert!(error.contains(expected), "{error:?} lacks {expected:?}"),
            (expanded, expected) => panic!("{expanded:?} instead of {expected:?}"),
        }
    }

    #[test]
    fn a_range_is_every_number_from_first_to_last() {
        check(&["/mnt/d{1...3}"], Ok(&["/mnt/d1", "/mnt/d2", "/mnt/d3"]));
        check(&["/mnt/d{09...11}/x"], Ok(&["/mnt/d09/x", "/mnt/d10/x", "/mnt/d11/x"]));
        check(&["/a", "/b{2...2}"], Ok(&["/a", "/b2"]));
    }

    #[test]
    fn two_ranges_are_every_pair() {
        check(&["/r{1...2}/d{1...2}"], Ok(&["/r1/d1", "/r1/d2", "/r2/d1", "/r2/d2"]));
    }

    #[test]
    fn what_is_no_range_says_what_would_be_one() {
        for bad in ["", "/d{1..3}", "/d{1...", "/d1}", "/d{a...c}", "/d{+1...3}", "/d{1...99999999999}"] {
            check(&[bad], Err("or a range such as /mnt/d{1...6}"));
        }
        check(&["/d{3...1}"], Err("count upwards"));
        check(&["/d{1...321}"], Err("at most 320 drives"));
        check(&["/a{1...300}", "/b{1...21}"], Err("more than 320 drives"));
        check(&["/a", "/a"], Err("/a is named twice"));
        check(&[], Err("name at least one folder"));
    }
}
