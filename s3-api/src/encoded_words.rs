//! Metadata in other scripts: `x-amz-meta-*` values as encoded words (RFC 2047), both ways.
//!
//! Pure. What is stored is the text itself; headers carry it plain where it is printable ASCII, and otherwise as
//! `=?UTF-8?B?...?=`, several of them with spaces between when it is long. What [`encode`] makes, [`decode`] takes back.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use std::borrow::Cow;

const BEGIN: &str = "=?";
const END: &str = "?=";

/// How many bytes of text one word carries: 60 letters of base64, with which a word has 72 letters of the 75 it may have.
const WORD_BYTES_MAX: usize = 45;

/// The text of a header's value. One that holds a malformed word, or one in a charset other than UTF-8, ISO-8859-1 and US-ASCII,
/// is taken as it stands.
pub(crate) fn decode(value: &str) -> Cow<'_, str> {
    let value = value.trim_matches(is_space);
    if !value.contains(BEGIN) {
        return value.into();
    }
    // what no header could bring back is taken as it stands, too
    decode_words(value).filter(|text| !has_control(text)).map_or(value.into(), Cow::Owned)
}

/// The same when there is anything to decode.
fn decode_words(value: &str) -> Option<String> {
    let mut text = String::with_capacity(value.len());
    let (mut rest, mut after_word) = (value, false);
    while !rest.is_empty() {
        let (gap, after_gap) = rest.split_at(rest.find(|letter| !is_space(letter)).unwrap_or(rest.len()));
        let (token, after_token) = after_gap.split_at(after_gap.find(is_space).unwrap_or(after_gap.len()));
        let is_word = token.starts_with(BEGIN) && token.ends_with(END);
        // space between two words only keeps them apart
        if !(is_word && after_word) {
            text.push_str(gap);
        }
        if is_word {
            text.push_str(&decode_word(token)?);
        } else {
            text.push_str(token);
        }
        (rest, after_word) = (after_token, is_word);
    }
    Some(text)
}

/// `=?CHARSET?B?BASE64?=` or `=?CHARSET?Q?TEXT?=`; what follows a `*` in the charset is a language.
fn decode_word(word: &str) -> Option<String> {
    let inner = word.strip_prefix(BEGIN)?.strip_suffix(END)?;
    let (charset, rest) = inner.split_once('?')?;
    let (coding, text) = rest.split_once('?')?;
    let bytes = match coding {
        "B" | "b" => STANDARD.decode(text).ok()?,
        "Q" | "q" => unquote(text)?,
        _ => return None,
    };
    let charset = charset.split('*').next().unwrap_or_default().to_ascii_lowercase();
    match charset.as_str() {
        "utf-8" | "utf8" => String::from_utf8(bytes).ok(),
        "us-ascii" => String::from_utf8(bytes).ok().filter(|text| text.is_ascii()),
        "iso-8859-1" | "latin1" => Some(bytes.into_iter().map(char::from).collect()),
        _ => None,
    }
}

/// The bytes of a `Q` coded text: `_` is a space, `=XX` a byte.
fn unquote(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut letters = text.bytes();
    while let Some(letter) = letters.next() {
        bytes.push(match letter {
            b'=' => {
                let digits = [letters.next()?, letters.next()?];
                let mut byte = [0];
                hex::decode_to_slice(digits, &mut byte).ok()?;
                byte[0]
            }
            b'_' => b' ',
            b'!'..=b'~' if letter != b'?' => letter,
            _ => return None,
        });
    }
    Some(bytes)
}

/// A text as a header's value; `None` when it has control characters, which no header may bring. A tab is none of them.
pub(crate) fn encode(text: &str) -> Option<Cow<'_, str>> {
    if has_control(text) {
        return None;
    }
    let printable = text.bytes().all(|byte| (b' '..=b'~').contains(&byte));
    if printable && decode(text) == text {
        return Some(text.into());
    }
    let mut words = String::with_capacity(text.len() * 2);
    let mut rest = text;
    while !rest.is_empty() {
        let (now, later) = rest.split_at(rest.floor_char_boundary(WORD_BYTES_MAX));
        if !words.is_empty() {
            words.push(' ');
        }
        words.push_str("=?UTF-8?B?");
        STANDARD.encode_string(now, &mut words);
        words.push_str(END);
        rest = later;
    }
    Some(words.into())
}

fn has_control(text: &str) -> bool {
    text.chars().any(|letter| letter.is_control() && letter != '\t')
}

/// What stands between words.
fn is_space(letter: char) -> bool {
    matches!(letter, ' ' | '\t')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn words_are_decoded_wherever_they_stand() {
        for (value, text) in [
            ("plain text", "plain text"),
            ("", ""),
            (" x\t", "x"),
            ("=?UTF-8?B?w6TDpA==?=", "ää"),
            ("=?utf-8?q?=C3=A4_b?=", "ä b"),
            ("=?utf8?b?w6Q=?=", "ä"),
            ("=?UTF-8*de?B?w6Q=?=", "ä"),
            ("=?ISO-8859-1?Q?caf=E9?=", "café"),
            ("=?iso-8859-1?B?6Q==?=", "é"),
            ("=?US-ASCII?Q?a=42?=", "aB"),
            ("=?UTF-8?B?w6Q=?= =?UTF-8?Q?=C3=B6?=", "äö"),
            ("=?UTF-8?B?w6Q=?=  \t =?ISO-8859-1?Q?=F6?=", "äö"),
            ("a =?UTF-8?B?w6Q=?= b", "a ä b"),
            ("=?UTF-8?Q??=", ""),
            ("raw ä", "raw ä"),
        ] {
            assert_eq!(decode(value), text, "{value}");
        }
    }

    #[test]
    fn malformed_words_stay_as_they_came() {
        for value in [
            "=?UTF-8?B?!!!?=",
            "=?UTF-8?B?YQpi?=",
            "=?UTF-8?B?w6Q?=",
            "=?UTF-8?X?w6Q=?=",
            "=?KOI8-R?B?w6Q=?=",
            "=?UTF-8?B?/w==?=",
            "=?US-ASCII?Q?=C3=A4?=",
            "=?UTF-8?Q?=C3=A?=",
            "=?UTF-8?Q?=ZZ?=",
            "=?UTF-8?=",
            "=?=",
            "=?UTF-8?B?w6Q=?= =?broken?=",
            "=?not closed",
            "what=?",
        ] {
            assert_eq!(decode(value), value);
        }
    }

    #[test]
    fn what_is_no_plain_text_is_encoded_in_short_words() {
        for (text, value) in [
            ("plain text", "plain text"),
            ("", ""),
            ("ää", "=?UTF-8?B?w6TDpA==?="),
            (" x", "=?UTF-8?B?IHg=?="),
            ("a\tb", "=?UTF-8?B?YQli?="),
            ("=?UTF-8?B?w6Q=?=", "=?UTF-8?B?PT9VVEYtOD9CP3c2UT0/PQ==?="),
            ("=?UTF-8?B?!!!?=", "=?UTF-8?B?!!!?="),
        ] {
            assert_eq!(encode(text).unwrap(), value, "{text}");
        }
        for text in ["a\nb", "\u{0}", "\u{7f}", "\u{85}"] {
            assert_eq!(encode(text), None, "{text:?}");
        }
        let long = "ä".repeat(100);
        let words = encode(&long).unwrap();
        assert!(words.split(' ').count() > 4 && words.split(' ').all(|word| word.len() <= 75), "{words}");
    }

    proptest! {
        #[test]
        fn what_is_encoded_is_decoded_to_the_same(text in "(=\\?UTF-8\\?[BQ]\\?|\\?=|[ -~]|\\PC|\t){0,60}") {
            if let Some(value) = encode(&text) {
                prop_assert!(value.bytes().all(|byte| (b' '..=b'~').contains(&byte)));
                prop_assert_eq!(decode(&value).into_owned(), text.clone());
            }
        }

        #[test]
        fn whatever_comes_is_decoded_to_something(value in "(=\\?|UTF-8|\\?[BbQq]\\?|\\?=|[=_ \t]|[A-Za-z0-9]|\\PC){0,40}") {
            prop_assert!(decode(&value).len() <= 2 * value.len());
        }
    }
}
