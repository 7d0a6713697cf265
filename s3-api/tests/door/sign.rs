//! Signature version 4, from its specification: header, presigned, and aws-chunked bodies.

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::{Digest as _, Sha256};
use std::fmt::Write as _;
use time::OffsetDateTime;
use time::macros::format_description;

pub(crate) const HOST: &str = "s3.test:9000";
pub(crate) const REGION: &str = "auto";
pub(crate) const UNSIGNED: &str = "UNSIGNED-PAYLOAD";

/// A key pair.
#[derive(Debug, Clone)]
pub(crate) struct Keys {
    pub(crate) id: String,
    pub(crate) secret: String,
}

/// What a signature is made over, besides the request.
#[derive(Debug, Clone)]
pub(crate) struct Moment {
    /// `20130524T000000Z`
    pub(crate) date: String,
}

impl Moment {
    pub(crate) fn at(time: OffsetDateTime) -> Self {
        let format = format_description!("[year][month][day]T[hour][minute][second]Z");
        Self { date: time.format(format).unwrap() }
    }

    pub(crate) fn scope(&self) -> String {
        format!("{}/{REGION}/s3/aws4_request", &self.date[..8])
    }

    pub(crate) fn sign(&self, keys: &Keys, string_to_sign: &str) -> String {
        let mut key = format!("AWS4{}", keys.secret).into_bytes();
        for part in [&self.date[..8], REGION, "s3", "aws4_request"] {
            key = mac(&key, part.as_bytes());
        }
        hex(&mac(&key, string_to_sign.as_bytes()))
    }

    /// The signature of a request; `headers` are the signed ones.
    pub(crate) fn sign_request(
        &self,
        keys: &Keys,
        (method, path, query): (&str, &str, &str),
        headers: &[(String, String)],
        payload: &str,
    ) -> String {
        let mut canonical = format!("{method}\n{path}\n{query}\n");
        for (name, value) in headers {
            let words: Vec<_> = value.split(' ').filter(|word| !word.is_empty()).collect();
            writeln!(canonical, "{name}:{}", words.join(" ")).unwrap();
        }
        write!(canonical, "\n{}\n{payload}", names(headers)).unwrap();
        let text = format!("AWS4-HMAC-SHA256\n{}\n{}\n{}", self.date, self.scope(), sha256(canonical.as_bytes()));
        self.sign(keys, &text)
    }

    /// A body in signed chunks, with a signed trailer if there is one.
    pub(crate) fn chunked(&self, keys: &Keys, seed: &str, chunks: &[&[u8]], trailer: Option<(&str, &str)>) -> Vec<u8> {
        let (mut body, mut previous) = (Vec::new(), seed.to_owned());
        for chunk in chunks.iter().chain([&b"".as_slice()]) {
            let text = format!(
                "AWS4-HMAC-SHA256-PAYLOAD\n{}\n{}\n{previous}\n{}\n{}",
                self.date,
                self.scope(),
                sha256(b""),
                sha256(chunk)
            );
            previous = self.sign(keys, &text);
            body.extend_from_slice(format!("{:x};chunk-signature={previous}\r\n", chunk.len()).as_bytes());
            if !chunk.is_empty() {
                body.extend_from_slice(chunk);
                body.extend_from_slice(b"\r\n");
            }
        }
        if let Some((name, value)) = trailer {
            let text = format!(
                "AWS4-HMAC-SHA256-TRAILER\n{}\n{}\n{previous}\n{}",
                self.date,
                self.scope(),
                sha256(format!("{name}:{value}\n").as_bytes())
            );
            let signature = self.sign(keys, &text);
            body.extend_from_slice(format!("{name}:{value}\r\nx-amz-trailer-signature:{signature}\r\n").as_bytes());
        }
        body.extend_from_slice(b"\r\n");
        body
    }
}

/// A body in unsigned chunks with a trailer.
pub(crate) fn unsigned_chunks(chunks: &[&[u8]], trailer: Option<(&str, &str)>) -> Vec<u8> {
    let mut body = Vec::new();
    for chunk in chunks {
        body.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
        body.extend_from_slice(chunk);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(b"0\r\n");
    if let Some((name, value)) = trailer {
        body.extend_from_slice(format!("{name}:{value}\r\n").as_bytes());
    }
    body.extend_from_slice(b"\r\n");
    body
}

/// The names of headers as `SignedHeaders` lists them.
pub(crate) fn names(headers: &[(String, String)]) -> String {
    headers.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(";")
}

/// A query in canonical form: escaped and sorted.
pub(crate) fn canonical_query(pairs: &[(String, String)]) -> String {
    let mut escaped: Vec<_> = pairs.iter().map(|(name, value)| (escape(name, ""), escape(value, ""))).collect();
    escaped.sort();
    escaped.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("&")
}

/// Percent-escapes all but unreserved letters and those in `kept`.
pub(crate) fn escape(text: &str, kept: &str) -> String {
    let mut escaped = String::new();
    for byte in text.bytes() {
        let letter = char::from(byte);
        if letter.is_ascii_alphanumeric() || "-_.~".contains(letter) || kept.contains(letter) {
            escaped.push(letter);
        } else {
            write!(escaped, "%{byte:02X}").unwrap();
        }
    }
    escaped
}

pub(crate) fn sha256(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

fn mac(key: &[u8], bytes: &[u8]) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
    mac.update(bytes);
    mac.finalize().into_bytes().to_vec()
}

fn hex(bytes: &[u8]) -> String {
    hex::encode(bytes)
}
