//! Percent coding: query strings as pairs, and text as S3's `encoding-type=url` writes it.

use std::fmt::Write as _;

/// The decoded names and values of a query string, in order.
#[derive(Debug, Default)]
pub(crate) struct Query(Vec<(String, String)>);

impl Query {
    pub(crate) fn parse(query: &str) -> Self {
        let pairs = query.split('&').filter(|pair| !pair.is_empty());
        Self(
            pairs
                .map(|pair| {
                    let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
                    (decode(name), decode(value))
                })
                .collect(),
        )
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.0.iter().any(|(own, _)| own == name)
    }

    /// The value of the only parameter with that name.
    pub(crate) fn only(&self, name: &str) -> Option<&str> {
        let mut found = self.0.iter().filter(|(own, _)| own == name);
        let (_, value) = found.next()?;
        found.next().is_none().then_some(value)
    }

    /// All of them, in order.
    pub(crate) fn into_pairs(self) -> Vec<(String, String)> {
        self.0
    }

    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(name, _)| name.as_str())
    }
}

/// Text without its escapes; a `+` in it is a space.
pub(crate) fn decode(text: &str) -> String {
    unescape(text, true)
}

/// A path without its escapes; a `+` in it is one.
pub(crate) fn decode_path(path: &str) -> String {
    unescape(path, false)
}

fn unescape(text: &str, plus_is_space: bool) -> String {
    let bytes = text.as_bytes();
    if memchr::memchr2(b'%', b'+', bytes).is_none() {
        return text.to_owned();
    }
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let mut byte = [0];
        let escaped = bytes.get(at + 1..at + 3).filter(|_| bytes[at] == b'%');
        if escaped.is_some_and(|digits| hex::decode_to_slice(digits, &mut byte).is_ok()) {
            decoded.extend(byte);
            at += 3;
        } else {
            decoded.push(if plus_is_space && bytes[at] == b'+' { b' ' } else { bytes[at] });
            at += 1;
        }
    }
    String::from_utf8(decoded).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}

/// What URLs keep as it is, besides letters and digits.
const UNRESERVED: &[u8] = b"-._~";

/// `text` as a part of a URL's path or query: all but letters, digits and `-._~` escaped.
pub(crate) fn encode_part(text: &str) -> String {
    percent_encode(text, |byte| UNRESERVED.contains(&byte))
}

/// `text` as the path of a URL: the same, but for the slashes in it.
pub(crate) fn encode_path(text: &str) -> String {
    percent_encode(text, |byte| byte == b'/' || UNRESERVED.contains(&byte))
}

/// `text` as lists with `encoding-type=url` carry it: all but letters, digits and `-_./*` escaped.
pub(crate) fn encode_for_list(text: &str) -> String {
    percent_encode(text, |byte| b"-_./*".contains(&byte))
}

/// `text` with all but letters, digits and what is `kept` escaped.
fn percent_encode(text: &str, kept: impl Fn(u8) -> bool) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || kept(byte) {
            encoded.push(byte.into());
        } else {
            write!(encoded, "%{byte:02X}").expect("writing to a string cannot fail");
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_values_are_decoded() {
        assert_eq!((decode("%+f%a"), decode_path("a+b%2Fc")), ("% f%a".into(), "a+b/c".into()));
        let query = Query::parse("a=1&%53ignature=x%2By&b&c=+%zz&a=2&&");
        assert!(query.has("Signature") && query.has("b") && !query.has("signature"));
        assert_eq!((query.only("Signature"), query.only("c"), query.only("b")), (Some("x+y"), Some(" %zz"), Some("")));
        assert_eq!(query.only("a"), None, "twice is not once");
        assert_eq!(query.names().count(), 5);
    }

    #[test]
    fn lists_escape_what_sdks_unescape() {
        assert_eq!(encode_for_list("a/b c+ä\u{1}~*"), "a/b%20c%2B%C3%A4%01%7E*");
    }
}
