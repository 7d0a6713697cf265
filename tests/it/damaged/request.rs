//! A request as a template: bytes with `<<NAMES>>` for what differs from server to server and from second to second (keys, times,
//! signatures, ids), so that it can be kept in a file and sent to another server with signatures that are right again.
//!
//! What is signed and what is sent are kept apart: damage done to the bytes on the wire does not change the signature.

use super::house::Values;
use cistern_tests::Signer;
use cistern_tests::sigv4::amz_date;
use cistern_tests::wait::unix_seconds;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use std::fmt::Write as _;

/// Which listener it is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Door {
    S3,
    Management,
    Ingest,
}

/// Who signs it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum By {
    /// The key that owns the buckets of damaged requests.
    Owner,
    /// A temporary key below it, with a session token.
    Session,
}

/// What the signature is of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Signed {
    /// Nothing is signed.
    Nothing,
    /// A canonical request.
    Request(Lines),
    /// The policy of a form, in base64.
    Form(String),
}

/// How the bytes go out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Pace {
    /// At once.
    Whole,
    /// In small pieces with pauses.
    Slow,
    /// So many bytes of a thousand, then the connection is closed.
    Cut(usize),
}

/// One request, ready to be filled in and sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Request {
    /// What it was before the damage, and the damage.
    pub(crate) what: String,
    pub(crate) door: Door,
    pub(crate) by: By,
    pub(crate) signed: Signed,
    /// SHA-256 of the data of each signed chunk, in hex: `<<CHUNK0>>` and so on are their signatures.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) chunks: Vec<String>,
    /// SHA-256 of the signed trailer: `<<TRAILER>>` is its signature.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) trailer: Option<String>,
    pub(crate) pace: Pace,
    /// The body whose length `<<LENGTH>>` is, where it has names in it.
    #[serde(default, skip_serializing_if = "Lines::is_empty")]
    pub(crate) declared: Lines,
    pub(crate) wire: Lines,
}

/// Bytes, in files as lines of text with `\xNN` for what is not printable.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "Vec<String>", from = "Vec<String>")]
pub(crate) struct Lines(pub(crate) Vec<u8>);

impl Lines {
    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// A run of one byte that is longer is written as its length.
const RUN_MIN: usize = 64;

impl From<Lines> for Vec<String> {
    fn from(Lines(bytes): Lines) -> Self {
        let mut lines = Vec::new();
        let mut line = String::new();
        let mut at = 0;
        while at < bytes.len() {
            let byte = bytes[at];
            let run = bytes[at..].iter().take_while(|other| **other == byte).count();
            let shown = match byte {
                b'\\' => "\\\\".to_owned(),
                b' '..=b'~' => char::from(byte).to_string(),
                _ => format!("\\x{byte:02x}"),
            };
            if run >= RUN_MIN {
                let _ = write!(line, "\\{{{run}}}{shown}");
                at += run;
            } else {
                line.push_str(&shown);
                at += 1;
            }
            if byte == b'\n' {
                lines.push(std::mem::take(&mut line));
            }
        }
        if !line.is_empty() {
            lines.push(line);
        }
        lines
    }
}

impl From<Vec<String>> for Lines {
    fn from(lines: Vec<String>) -> Self {
        let mut bytes = Vec::new();
        for line in lines {
            let mut rest = line.as_bytes();
            let mut times = 1;
            while let Some((byte, mut after)) = rest.split_first() {
                let mut byte = *byte;
                if byte == b'\\' && after.first() == Some(&b'{') {
                    let end = after.iter().position(|byte| *byte == b'}').unwrap();
                    times = std::str::from_utf8(&after[1..end]).unwrap().parse().unwrap();
                    rest = &after[end + 1..];
                    continue;
                } else if byte == b'\\' && after.first() == Some(&b'x') {
                    byte = hex::decode(&after[1..3]).unwrap()[0];
                    after = &after[3..];
                } else if byte == b'\\' {
                    byte = after[0];
                    after = &after[1..];
                }
                bytes.resize(bytes.len() + times, byte);
                (times, rest) = (1, after);
            }
        }
        Self(bytes)
    }
}

impl Request {
    /// The bytes to send to this server now.
    pub(crate) fn bytes(&self, values: &Values) -> Vec<u8> {
        let mut values = values.clone();
        let keys = match self.by {
            By::Owner => &values.owner,
            By::Session => &values.session,
        };
        let mut signer = Signer::new(keys.clone());
        let stamp = amz_date(unix_seconds());
        values.set("KEY", &keys.access_key_id.clone());
        values.set("STAMP", &stamp);
        values.set("DAY", &stamp[..8]);
        let scope = signer.scope(&stamp);
        let signature = match &self.signed {
            Signed::Nothing => String::new(),
            Signed::Form(policy) => signer.sign_text(&stamp, policy),
            Signed::Request(Lines(canonical)) => {
                let hash = hex::encode(Sha256::digest(values.fill(canonical)));
                signer.sign_text(&stamp, &format!("AWS4-HMAC-SHA256\n{stamp}\n{scope}\n{hash}"))
            }
        };
        values.set("SIGNATURE", &signature);
        let mut before = signature;
        let empty = hex::encode(Sha256::digest(b""));
        for (hash, number) in self.chunks.iter().zip(0..) {
            let text = format!("AWS4-HMAC-SHA256-PAYLOAD\n{stamp}\n{scope}\n{before}\n{empty}\n{hash}");
            before = signer.sign_text(&stamp, &text);
            values.set(&format!("CHUNK{number}"), &before);
        }
        if let Some(hash) = &self.trailer {
            let text = format!("AWS4-HMAC-SHA256-TRAILER\n{stamp}\n{scope}\n{before}\n{hash}");
            values.set("TRAILER", &signer.sign_text(&stamp, &text));
        }
        values.set("LENGTH", &values.fill(&self.declared.0).len().to_string());
        values.fill(&self.wire.0)
    }

    /// Its file.
    pub(crate) fn to_json(&self) -> String {
        serde_json::to_string_pretty(self).unwrap() + "\n"
    }
}

/// Percent-encodes all but unreserved characters, names in `<<>>` and, where asked, slashes.
pub(crate) fn encode(raw: &[u8], keep: &[u8]) -> Vec<u8> {
    let mut encoded = Vec::new();
    let mut at = 0;
    while at < raw.len() {
        if let Some(length) = name_length(&raw[at..]) {
            encoded.extend_from_slice(&raw[at..at + length]);
            at += length;
            continue;
        }
        let byte = raw[at];
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) || keep.contains(&byte) {
            encoded.push(byte);
        } else {
            encoded.extend_from_slice(format!("%{byte:02X}").as_bytes());
        }
        at += 1;
    }
    encoded
}

/// The length of the `<<NAME>>` that these bytes begin with.
pub(crate) fn name_length(bytes: &[u8]) -> Option<usize> {
    let rest = bytes.strip_prefix(b"<<")?;
    let end = rest.iter().position(|byte| !byte.is_ascii_uppercase() && !byte.is_ascii_digit())?;
    (end > 0 && rest[end..].starts_with(b">>")).then_some(end + 4)
}

#[test]
fn a_request_is_read_back_from_its_file_as_it_was() {
    let bytes = [b"GET /\\x \xff\x00\r\n\r\n".as_slice(), &[b'a'; 100], &[0; 70], b"<<KEY>>\\{3}"].concat();
    let lines: Vec<String> = Lines(bytes.clone()).into();
    assert_eq!(lines.len(), 3, "{lines:?}");
    assert_eq!(Lines::from(lines), Lines(bytes));
    assert_eq!(encode(b"a b/<<UPLOAD>><<x", b"/"), b"a%20b/<<UPLOAD>>%3C%3Cx");
}
