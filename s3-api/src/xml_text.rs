//! XML text in spellings that `s3s` does not read: sections of character data (`<![CDATA[..]]>`), which it drops, and references to
//! characters above U+FFFF, which it refuses. And text as the answers carry it that s3s does not write.

use memchr::memmem;
use std::fmt::Write as _;

const SECTION: &[u8] = b"<![CDATA[";
const SECTION_END: &[u8] = b"]]>";
const COMMENT: &[u8] = b"<!--";
const COMMENT_END: &[u8] = b"-->";
/// The longest reference: `&#x10FFFF;` with a few zeros.
const REFERENCE_BYTES_MAX: usize = 16;

/// The same document in spellings that s3s reads; `None` when it is that already.
pub(crate) fn respell(xml: &[u8]) -> Option<Vec<u8>> {
    let (mut respelled, mut copied, mut at) = (Vec::new(), 0, 0);
    while let Some(found) = memchr::memchr2(b'<', b'&', &xml[at..]) {
        at += found;
        if xml[at..].starts_with(COMMENT) {
            let Some(end) = memmem::find(&xml[at..], COMMENT_END) else { break };
            at += end + COMMENT_END.len();
            continue;
        }
        let Some((length, text)) = section(&xml[at..]).or_else(|| reference(&xml[at..])) else {
            at += 1;
            continue;
        };
        respelled.extend_from_slice(&xml[copied..at]);
        respelled.extend_from_slice(&text);
        at += length;
        copied = at;
    }
    if copied == 0 {
        return None;
    }
    respelled.extend_from_slice(&xml[copied..]);
    Some(respelled)
}

/// A section at the beginning of `xml`: its length, and its text escaped.
fn section(xml: &[u8]) -> Option<(usize, Vec<u8>)> {
    let inner = xml.strip_prefix(SECTION)?;
    let inner = &inner[..memmem::find(inner, SECTION_END)?];
    let mut text = Vec::with_capacity(inner.len());
    for &byte in inner {
        match byte {
            b'&' => text.extend_from_slice(b"&amp;"),
            b'<' => text.extend_from_slice(b"&lt;"),
            b'>' => text.extend_from_slice(b"&gt;"),
            _ => text.push(byte),
        }
    }
    Some((SECTION.len() + inner.len() + SECTION_END.len(), text))
}

/// A reference to a character above U+FFFF at the beginning of `xml`: its length, and the character.
fn reference(xml: &[u8]) -> Option<(usize, Vec<u8>)> {
    let inner = xml.strip_prefix(b"&#")?;
    let inner = &inner[..memchr::memchr(b';', &inner[..inner.len().min(REFERENCE_BYTES_MAX)])?];
    let digits = std::str::from_utf8(inner).ok()?;
    let number = match digits.strip_prefix(['x', 'X']) {
        Some(hex) => u32::from_str_radix(hex, 16).ok()?,
        None => digits.parse().ok()?,
    };
    let letter = char::from_u32(number).filter(|letter| *letter > '\u{FFFF}')?;
    Some((b"&#;".len() + inner.len(), letter.to_string().into_bytes()))
}

/// `text` as XML carries it.
pub(crate) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '&' => escaped.push_str("&amp;"),
            '"' => escaped.push_str("&quot;"),
            _ if letter.is_control() => {
                write!(escaped, "&#x{:X};", u32::from(letter)).expect("writing to a string cannot fail");
            }
            _ => escaped.push(letter),
        }
    }
    escaped
}

/// The same document with references for its raw carriage returns, which s3s writes as they are; `None` when there are none.
pub(crate) fn refer_to_carriage_returns(xml: &[u8]) -> Option<Vec<u8>> {
    let mut referring = Vec::new();
    let mut copied = 0;
    for found in memchr::memchr_iter(b'\r', xml) {
        referring.extend_from_slice(&xml[copied..found]);
        referring.extend_from_slice(b"&#13;");
        copied = found + 1;
    }
    (copied > 0).then(|| {
        referring.extend_from_slice(&xml[copied..]);
        referring
    })
}

/// Whether XML has all characters of `text`, by reference or not.
pub(crate) fn fits(text: &str) -> bool {
    text.chars().all(|letter| matches!(letter, '\t' | '\n' | '\r' | ' '..='\u{FFFD}' | '\u{10000}'..))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn sections_and_high_references_become_plain_text() {
        for (given, expected) in [
            ("<Key>a<![CDATA[b]]></Key>", "<Key>ab</Key>"),
            ("<Key><![CDATA[<a>&amp;]]]></Key>", "<Key>&lt;a&gt;&amp;amp;]</Key>"),
            ("<Key><![CDATA[]]>x<![CDATA[&#128512;]]></Key>", "<Key>x&amp;#128512;</Key>"),
            ("<Key>&#128512;&#x1F600;&#X0001f600;</Key>", "<Key>\u{1F600}\u{1F600}\u{1F600}</Key>"),
            (
                "<!-- <![CDATA[ --><Key><![CDATA[a]]></Key><!-- ]]> &#x1F600; -->",
                "<!-- <![CDATA[ --><Key>a</Key><!-- ]]> &#x1F600; -->",
            ),
            ("<Key>&#26085;&#x1F600;</Key>", "<Key>&#26085;\u{1F600}</Key>"),
        ] {
            assert_eq!(respell(given.as_bytes()).map(|xml| String::from_utf8(xml).unwrap()).as_deref(), Some(expected));
        }
    }

    #[test]
    fn carriage_returns_are_referred_to() {
        assert_eq!(refer_to_carriage_returns(b"<Key>Icon\r</Key>\r").unwrap(), b"<Key>Icon&#13;</Key>&#13;");
        assert_eq!(refer_to_carriage_returns(b"<Key>a\n</Key>"), None);
    }

    #[test]
    fn everything_else_stays_as_it_is() {
        for given in [
            "",
            "<Key>a &amp; b &#26085; &#xD800; &#x110000; &#; &#99999999999; &#x1F600</Key>",
            "<Key><![CDATA[never ended</Key>",
            "<!-- never ended <![CDATA[a]]>",
            "<!-- a < b & c --><Key>\u{1F600}</Key>",
        ] {
            assert_eq!(respell(given.as_bytes()), None, "{given}");
        }
    }

    /// Pieces of sound documents, each with what becomes of it.
    const PIECES: [(&str, &str); 8] = [
        ("<![CDATA[]]>", ""),
        ("<![CDATA[a&#128512;<b>]]>", "a&amp;#128512;&lt;b&gt;"),
        ("<![CDATA[]]]]><![CDATA[>]]>", "]]&gt;"),
        ("&#128512;", "\u{1F600}"),
        ("&#x41;&amp;", "&#x41;&amp;"),
        ("<!-- <![CDATA[ &#128512; -->", "<!-- <![CDATA[ &#128512; -->"),
        ("<Key a=\"1\">", "<Key a=\"1\">"),
        ("x", "x"),
    ];

    proptest! {
        #[test]
        fn every_piece_is_respelled_by_itself(pieces in prop::collection::vec(prop::sample::select(PIECES.to_vec()), 0..12)) {
            let xml: String = pieces.iter().map(|(given, _)| *given).collect();
            let expected: String = pieces.iter().map(|(_, becomes)| *becomes).collect();
            let respelled = respell(xml.as_bytes()).map(|xml| String::from_utf8(xml).unwrap());
            prop_assert_eq!(respelled.unwrap_or(xml), expected);
        }

        #[test]
        fn no_bytes_make_it_panic(xml in prop::collection::vec(prop::sample::select(b"<![CDATA>-&#x1;".to_vec()), 0..60)) {
            drop(respell(&xml));
        }
    }
}
