//! Walking JSON bytes that are known to be valid, without building anything.
//!
//! What is not valid ends in `None` or `false`, never in a panic: the log might be damaged.

use wide::u8x16;

/// A position in the bytes of one JSON value.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Scanner<'a> {
    bytes: &'a [u8],
    at: usize,
}

/// A JSON string as it stands between its quotes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RawText<'a> {
    /// Without escapes: these are its bytes.
    Plain(&'a [u8]),
    /// With escapes.
    Escaped(&'a [u8]),
}

/// The position of the first `"`, `\` or control character in a chunk; 16 when there is none.
#[inline]
fn stop_in(chunk: [u8; 16]) -> usize {
    let chunk = u8x16::new(chunk);
    let control = chunk.min(u8x16::splat(0x1f)).simd_eq(chunk);
    let stops = chunk.simd_eq(u8x16::splat(b'"')) | chunk.simd_eq(u8x16::splat(b'\\')) | control;
    (stops.to_bitmask() | 1 << 16).trailing_zeros() as usize
}

/// The position of the first `"`, `\` or control character at or after `at`; the length when there is none.
#[inline]
pub(crate) fn string_stop(bytes: &[u8], mut at: usize) -> usize {
    while let Some(chunk) = bytes.get(at..).and_then(|rest| rest.first_chunk::<16>()) {
        let stop = stop_in(*chunk);
        at += stop;
        if stop < 16 {
            return at;
        }
    }
    while at < bytes.len() && !matches!(bytes[at], b'"' | b'\\' | 0..0x20) {
        at += 1;
    }
    at
}

/// Whether the same `length` bytes stand at two places.
#[inline]
pub(crate) fn same(bytes: &[u8], one: usize, other: usize, length: usize) -> bool {
    let chunk = |at: usize| bytes.get(at..).and_then(|rest| rest.first_chunk::<16>()).copied();
    match (chunk(one), chunk(other)) {
        (Some(one), Some(other)) if length <= 16 => {
            let differ = !u8x16::new(one).simd_eq(u8x16::new(other)).to_bitmask();
            differ.trailing_zeros() as usize >= length
        }
        _ => bytes.get(one..one + length).is_some_and(|one| bytes.get(other..other + length) == Some(one)),
    }
}

/// The position of the first byte at or after `at` that is no digit; the length when there is none.
#[inline]
pub(crate) fn digits_stop(bytes: &[u8], mut at: usize) -> usize {
    while let Some(chunk) = bytes.get(at..).and_then(|rest| rest.first_chunk::<8>()) {
        let count = leading_digits(u64::from_le_bytes(*chunk));
        at += count;
        if count < 8 {
            return at;
        }
    }
    while at < bytes.len() && bytes[at].is_ascii_digit() {
        at += 1;
    }
    at
}

/// How many of the eight characters, the first in the lowest byte, are digits before the first other one.
#[inline]
pub(crate) fn leading_digits(word: u64) -> usize {
    const ALL: u64 = 0x0101_0101_0101_0101;
    // Digits become 0 to 9. A byte's high bit is set where it is more; a carry can set it in bytes above such a one only,
    // so the lowest set bit is always right.
    let values = word ^ (ALL * u64::from(b'0'));
    let others = (values.wrapping_add(ALL * (0x80 - 10)) | values) & (ALL * 0x80);
    others.trailing_zeros() as usize / 8
}

/// The number that the digits of a word write, the first in the lowest byte; a zero byte counts as the digit 0.
#[inline]
fn digits_value(word: u64) -> i64 {
    let ones = word & 0x0f0f_0f0f_0f0f_0f0f;
    let twos = (ones * 10 + (ones >> 8)) & 0x00ff_00ff_00ff_00ff;
    let fours = (twos * 100 + (twos >> 16)) & 0x0000_ffff_0000_ffff;
    ((fours * 10_000 + (fours >> 32)) & 0xffff_ffff).cast_signed()
}

/// A token that is expected somewhere, ready to be compared with what stands there.
#[derive(Debug)]
pub(crate) struct Token {
    bytes: Box<[u8]>,
    /// Its first 16 bytes, zeros where it has fewer.
    head: u128,
    /// Ones where `head` counts.
    mask: u128,
}

impl Token {
    pub(crate) fn new(bytes: Vec<u8>) -> Self {
        let length = bytes.len().min(16);
        let (mut head, mut mask) = ([0; 16], [0; 16]);
        head[..length].copy_from_slice(&bytes[..length]);
        mask[..length].fill(0xff);
        Self { bytes: bytes.into(), head: u128::from_le_bytes(head), mask: u128::from_le_bytes(mask) }
    }

    /// Whether `bytes` begin with it.
    #[inline]
    fn begins(&self, bytes: &[u8]) -> bool {
        match bytes.first_chunk::<16>() {
            Some(chunk) if (u128::from_le_bytes(*chunk) ^ self.head) & self.mask != 0 => false,
            Some(_) if self.bytes.len() <= 16 => true,
            _ => bytes.starts_with(&self.bytes),
        }
    }
}

/// Undoes the escapes of a string that stood between quotes; `None` when one is malformed.
pub(crate) fn unescape(raw: &[u8], out: &mut Vec<u8>) -> Option<()> {
    let mut rest = raw;
    while let Some(slash) = memchr::memchr(b'\\', rest) {
        out.extend_from_slice(&rest[..slash]);
        let escape = *rest.get(slash + 1)?;
        rest = &rest[slash + 2..];
        out.push(match escape {
            b'"' | b'\\' | b'/' => escape,
            b'b' => 8,
            b'f' => 12,
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'u' => {
                let first = hex4(rest)?;
                rest = &rest[4..];
                let code = if (0xd800..0xdc00).contains(&first) {
                    let second = hex4(rest.strip_prefix(b"\\u")?)?;
                    rest = &rest[6..];
                    let low = second.checked_sub(0xdc00).filter(|low| *low < 0x400)?;
                    0x1_0000 + ((first - 0xd800) << 10) + low
                } else {
                    first
                };
                let text = char::from_u32(code)?;
                out.extend_from_slice(text.encode_utf8(&mut [0; 4]).as_bytes());
                continue;
            }
            _ => return None,
        });
    }
    out.extend_from_slice(rest);
    Some(())
}

/// The number four hex digits write.
pub(crate) fn hex4(bytes: &[u8]) -> Option<u32> {
    let digits = bytes.first_chunk::<4>()?;
    digits.iter().try_fold(0, |value, digit| Some(value << 4 | char::from(*digit).to_digit(16)?))
}

impl<'a> Scanner<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    pub(crate) fn at(&self) -> usize {
        self.at
    }

    /// The next byte.
    #[inline]
    pub(crate) fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    /// Passes one byte.
    #[inline]
    pub(crate) fn step(&mut self) {
        self.at += 1;
    }

    #[inline]
    pub(crate) fn skip_space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\n' | b'\r' | b'\t')) {
            self.at += 1;
        }
    }

    /// Passes `token` if it stands here.
    #[inline]
    pub(crate) fn eat(&mut self, token: &Token) -> bool {
        let eaten = self.bytes.get(self.at..).is_some_and(|rest| token.begins(rest));
        if eaten {
            self.at += token.bytes.len();
        }
        eaten
    }

    /// Passes `word` if it stands here.
    #[inline]
    pub(crate) fn eat_word(&mut self, word: &[u8]) -> bool {
        let eaten = self.bytes[self.at..].starts_with(word);
        if eaten {
            self.at += word.len();
        }
        eaten
    }

    /// Passes an integer of one to seven digits; `None`, and nowhere passed, when something else may stand here.
    #[inline]
    pub(crate) fn short_integer(&mut self) -> Option<i64> {
        let negative = self.peek() == Some(b'-');
        let start = self.at + usize::from(negative);
        let word = u64::from_le_bytes(*self.bytes.get(start..)?.first_chunk()?);
        let digits = leading_digits(word);
        let after = *self.bytes.get(start + digits)?;
        if !matches!(digits, 1..8) || matches!(after, b'.' | b'e' | b'E') {
            return None;
        }
        self.at = start + digits;
        let value = digits_value(word << (64 - 8 * digits));
        Some(if negative { -value } else { value })
    }

    /// Passes a string and answers what stands between its quotes.
    #[inline]
    pub(crate) fn text(&mut self) -> Option<RawText<'a>> {
        if self.peek() != Some(b'"') {
            return None;
        }
        let start = self.at + 1;
        let mut stop = string_stop(self.bytes, start);
        if self.bytes.get(stop) == Some(&b'"') {
            self.at = stop + 1;
            return Some(RawText::Plain(&self.bytes[start..stop]));
        }
        loop {
            match self.bytes.get(stop)? {
                b'"' => break,
                b'\\' => stop = string_stop(self.bytes, (stop + 2).min(self.bytes.len())),
                _ => return None,
            }
        }
        self.at = stop + 1;
        Some(RawText::Escaped(&self.bytes[start..stop]))
    }

    /// Passes a string of at most 15 bytes without escapes and answers the bytes after its quote, and how many are its own;
    /// `None`, and nowhere passed, when something else may stand here.
    #[inline]
    pub(crate) fn short_text(&mut self) -> Option<(&'a [u8; 16], usize)> {
        let chunk = self.bytes.get(self.at + 1..)?.first_chunk::<16>()?;
        let length = stop_in(*chunk);
        if chunk.get(length) != Some(&b'"') {
            return None;
        }
        self.at += length + 2;
        Some((chunk, length))
    }

    /// Passes a number, `true`, `false` or `null` and answers its bytes.
    #[inline]
    pub(crate) fn bare(&mut self) -> &'a [u8] {
        let start = self.at;
        while let Some(byte) = self.peek()
            && !matches!(byte, b',' | b'}' | b']' | b' ' | b'\n' | b'\r' | b'\t')
        {
            self.at += 1;
        }
        &self.bytes[start..self.at]
    }

    /// The text of the value that stands here, which it passes.
    pub(crate) fn value(&mut self) -> Option<&'a [u8]> {
        let start = self.at();
        self.skip_value()?;
        self.bytes.get(start..self.at())
    }

    /// Passes a value of any kind.
    pub(crate) fn skip_value(&mut self) -> Option<()> {
        self.skip_space();
        let mut depth = 0_usize;
        loop {
            match self.peek()? {
                b'"' => {
                    self.text()?;
                }
                b'{' | b'[' => {
                    depth += 1;
                    self.at += 1;
                }
                b'}' | b']' => {
                    depth = depth.checked_sub(1)?;
                    self.at += 1;
                }
                b',' | b':' | b' ' | b'\n' | b'\r' | b'\t' if depth > 0 => self.at += 1,
                _ => {
                    if self.bare().is_empty() {
                        return None;
                    }
                }
            }
            if depth == 0 {
                return Some(());
            }
        }
    }

    /// Goes to the value of a field, if an object stands here and has it.
    pub(crate) fn enter_field(&mut self, name: &[u8]) -> bool {
        self.try_enter_field(name).is_some()
    }

    fn try_enter_field(&mut self, name: &[u8]) -> Option<()> {
        self.open(b'{')?;
        loop {
            self.skip_space();
            let same = match self.text()? {
                RawText::Plain(key) => key == name,
                RawText::Escaped(raw) => {
                    let mut key = Vec::new();
                    unescape(raw, &mut key)?;
                    key == name
                }
            };
            self.skip_space();
            self.open(b':')?;
            if same {
                return Some(());
            }
            self.next_member()?;
        }
    }

    /// Goes to an item of an array, if one stands here and has it.
    pub(crate) fn enter_item(&mut self, index: usize) -> bool {
        self.try_enter_item(index).is_some()
    }

    fn try_enter_item(&mut self, index: usize) -> Option<()> {
        self.open(b'[')?;
        self.skip_space();
        for _ in 0..index {
            if self.peek()? == b']' {
                return None;
            }
            self.next_member()?;
            self.skip_space();
        }
        (self.peek()? != b']').then_some(())
    }

    fn open(&mut self, byte: u8) -> Option<()> {
        self.skip_space();
        (self.peek()? == byte).then(|| self.at += 1)
    }

    /// Passes a value and the comma after it.
    fn next_member(&mut self) -> Option<()> {
        self.skip_value()?;
        self.skip_space();
        (self.peek()? == b',').then(|| self.at += 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_string_stops_where_a_slow_search_says(bytes: Vec<u8>, text in "[a-zA-Z0-9 \"\\\\\u{1}é]{0,40}", at in 0usize..4) {
            for bytes in [bytes.as_slice(), text.as_bytes()] {
                let at = at.min(bytes.len());
                let slow = bytes[at..].iter().position(|byte| *byte == b'"' || *byte == b'\\' || *byte < 0x20);
                prop_assert_eq!(string_stop(bytes, at), slow.map_or(bytes.len(), |found| at + found));
            }
        }

        #[test]
        fn digits_stop_where_a_slow_search_says(bytes: Vec<u8>, text in "[0-9]{0,20}[ -~é]?[0-9]{0,9}", at in 0usize..4) {
            for bytes in [bytes.as_slice(), text.as_bytes()] {
                let at = at.min(bytes.len());
                let slow = bytes[at..].iter().position(|byte| !byte.is_ascii_digit());
                prop_assert_eq!(digits_stop(bytes, at), slow.map_or(bytes.len(), |found| at + found));
            }
        }

        #[test]
        fn places_are_the_same_where_a_slow_comparison_says(text in "[ab]{0,60}", one in 0usize..40, other in 0usize..40, length in 1usize..24) {
            let slow = text.get(one..one + length).is_some_and(|one| text.get(other..other + length) == Some(one));
            prop_assert_eq!(same(text.as_bytes(), one, other, length), slow);
        }

        #[test]
        fn a_short_integer_is_the_number_that_stands_there(text in "-?[0-9]{0,9}[,}\\] .eEx]{0,1}[ -~]{0,9}") {
            let mut scanner = Scanner::new(text.as_bytes());
            let slow = Scanner::new(text.as_bytes()).bare();
            match scanner.short_integer() {
                None => prop_assert_eq!(scanner.at(), 0),
                Some(value) => {
                    let end = scanner.at();
                    prop_assert_eq!(Some(value), text[..end].parse().ok());
                    prop_assert!(end == slow.len() || !matches!(text.as_bytes()[end], b'0'..=b'9' | b'.' | b'e' | b'E'));
                }
            }
        }

        #[test]
        fn a_short_text_is_the_text_that_stands_there(text in "\"[a-z\\\\\u{1}é]{0,18}\"?[ -~]{0,18}") {
            let (mut short, mut slow) = (Scanner::new(text.as_bytes()), Scanner::new(text.as_bytes()));
            match short.short_text() {
                None => prop_assert_eq!(short.at(), 0),
                Some((chunk, length)) => {
                    prop_assert_eq!(slow.text(), Some(RawText::Plain(&chunk[..length])));
                    prop_assert_eq!(short.at(), slow.at());
                }
            }
        }

        #[test]
        fn a_token_is_eaten_where_it_stands(token in "[ab]{0,20}", text in "[ab]{0,40}") {
            for text in [text.clone(), format!("{token}{text}")] {
                let mut scanner = Scanner::new(text.as_bytes());
                prop_assert_eq!(scanner.eat(&Token::new(token.clone().into_bytes())), text.starts_with(&token));
                prop_assert_eq!(scanner.at(), if text.starts_with(&token) { token.len() } else { 0 });
            }
        }

        #[test]
        fn unescaping_is_what_serde_does(text: String, escapes in "(\\\\[\"\\\\/bfnrt]|\\\\u[0-9a-fA-F]{4}|\\\\ud83d\\\\ude0[0-9]|x){0,5}") {
            for quoted in [serde_json::to_string(&text).unwrap(), format!("\"{escapes}\"")] {
                let mut out = Vec::new();
                let ours = unescape(&quoted.as_bytes()[1..quoted.len() - 1], &mut out).map(|()| out);
                let theirs = serde_json::from_str::<String>(&quoted).ok().map(String::into_bytes);
                prop_assert_eq!(ours, theirs, "{}", quoted);
            }
        }

        #[test]
        fn any_bytes_are_survived(bytes: Vec<u8>, text in "[\\[\\]{}:,\"\\\\a1 ]{0,30}") {
            for bytes in [bytes.as_slice(), text.as_bytes()] {
                let _ = Scanner::new(bytes).skip_value();
                let _ = Scanner::new(bytes).enter_field(b"a");
                let _ = Scanner::new(bytes).enter_item(1);
            }
        }
    }
}
