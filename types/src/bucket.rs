//! `BucketName`: the name of a bucket, by the rules of S3 general-purpose buckets.

use crate::{Invalid, text_word};
use std::sync::Arc;

/// The name of a bucket: 3 to 63 of lower-case letters, digits, `-` and `.`; begins and ends with a letter or digit;
/// no `..`, `.-`, `-.`; not shaped like an IPv4 address; not `xn--…`, `…-s3alias`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BucketName(Arc<str>);

text_word!(BucketName);

const RULE: &str = "use 3 to 63 lower-case letters, digits, hyphens and dots, beginning and ending with a letter or digit; no address, no dot beside a dot or \
     hyphen, no name that begins with xn-- or ends with -s3alias";

impl BucketName {
    fn check(text: &str) -> Result<(), Invalid> {
        let refuse = || Err(Invalid::new("bucket name", text, RULE));
        let edge = |b: Option<&u8>| b.is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
        let bytes = text.as_bytes();
        if !(3..=63).contains(&bytes.len()) || !edge(bytes.first()) || !edge(bytes.last()) {
            return refuse();
        }
        if !bytes.iter().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'.')) {
            return refuse();
        }
        if ["..", ".-", "-."].iter().any(|pair| text.contains(pair)) {
            return refuse();
        }
        if text.parse::<std::net::Ipv4Addr>().is_ok() || text.starts_with("xn--") || text.ends_with("-s3alias") {
            return refuse();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, valid: bool) {
        assert_eq!(text.parse::<BucketName>().is_ok(), valid, "{text}");
    }

    #[test]
    fn names_follow_the_rules_of_s3() {
        for good in ["abc", "a.b-c", "prod-cs-data", "0a0", &"a".repeat(63)] {
            check(good, true);
        }
        for bad in ["ab", "", "Abc", "a_b", "-ab", "ab-", "a..b", "a.-b", "10.0.0.1", "xn--ab", "x-s3alias", "ä-b-c"] {
            check(bad, false);
        }
        check(&"a".repeat(64), false);
    }
}
