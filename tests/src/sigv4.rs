//! AWS Signature Version 4, in headers and presigned: small, separate from the server's own code, so that both must agree
//! with AWS and not only with each other. The test vector is from AWS's documentation of S3 signatures.

use crate::http::{Headers, Slash, percent_encode};
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};
use std::fmt::Write as _;
use time::OffsetDateTime;

/// An access key and its secret.
#[derive(Debug, Clone, serde::Deserialize)]
pub struct Keys {
    /// The public half.
    pub access_key_id: String,
    /// The secret half.
    pub secret_access_key: String,
}

/// What the signature says of the body.
#[derive(Debug, Clone, Copy)]
pub enum Payload<'a> {
    /// Its SHA-256.
    Signed(&'a [u8]),
    /// Nothing (`UNSIGNED-PAYLOAD`).
    Unsigned,
    /// The text given, right or wrong.
    Literal(&'a str),
}

/// One request as the signature sees it.
#[derive(Debug, Clone, Copy)]
pub struct Unsigned<'a> {
    /// The method.
    pub method: &'a str,
    /// The host as the `Host` header says it.
    pub host: &'a str,
    /// The path, already percent-encoded.
    pub path: &'a str,
    /// The query's names and values, as they are.
    pub query: &'a [(String, String)],
    /// Seconds since 1970.
    pub at: i64,
}

/// Signs with one key, region `auto`.
#[derive(Debug, Clone)]
pub struct Signer {
    keys: Keys,
    region: String,
    day_key: Option<(String, Vec<u8>)>,
}

impl Signer {
    /// A signer for region `auto`.
    pub fn new(keys: Keys) -> Self {
        Self::in_region(keys, "auto")
    }

    /// A signer for another region.
    pub fn in_region(keys: Keys, region: &str) -> Self {
        Self { keys, region: region.to_owned(), day_key: None }
    }

    /// The headers of a signed request: those given, `x-amz-date`, `x-amz-content-sha256`, `authorization`.
    pub fn sign(&mut self, request: Unsigned<'_>, extra: &[(String, String)], payload: Payload<'_>) -> Headers {
        let stamp = amz_date(request.at);
        let hash = match payload {
            Payload::Signed(body) => hex::encode(Sha256::digest(body)),
            Payload::Unsigned => "UNSIGNED-PAYLOAD".to_owned(),
            Payload::Literal(text) => text.to_owned(),
        };
        let mut headers = extra.to_vec();
        headers.push(("x-amz-content-sha256".into(), hash.clone()));
        headers.push(("x-amz-date".into(), stamp.clone()));
        let mut signed: Headers =
            headers.iter().map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned())).collect();
        signed.push(("host".into(), request.host.to_owned()));
        signed.sort();
        let names = signed.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(";");
        let canonical = canonical_request(request, &canonical_query(request.query), &signed, &names, &hash);
        let signature = self.signature(&stamp, &canonical);
        let authorization = format!(
            "AWS4-HMAC-SHA256 Credential={}/{},SignedHeaders={names},Signature={signature}",
            self.keys.access_key_id,
            self.scope(&stamp)
        );
        headers.push(("authorization".into(), authorization));
        headers
    }

    /// The query string of a presigned request that is valid for `expires_seconds`.
    pub fn presign(&mut self, request: Unsigned<'_>, expires_seconds: u64) -> String {
        let stamp = amz_date(request.at);
        let mut query = request.query.to_vec();
        for (name, value) in [
            ("X-Amz-Algorithm", "AWS4-HMAC-SHA256".to_owned()),
            ("X-Amz-Credential", format!("{}/{}", self.keys.access_key_id, self.scope(&stamp))),
            ("X-Amz-Date", stamp.clone()),
            ("X-Amz-Expires", expires_seconds.to_string()),
            ("X-Amz-SignedHeaders", "host".to_owned()),
        ] {
            query.push((name.into(), value));
        }
        let query = canonical_query(&query);
        let host = vec![("host".to_owned(), request.host.to_owned())];
        let canonical = canonical_request(request, &query, &host, "host", "UNSIGNED-PAYLOAD");
        format!("{query}&X-Amz-Signature={}", self.signature(&stamp, &canonical))
    }

    /// What a signature of that time is good for: `20260501/auto/s3/aws4_request`.
    pub fn scope(&self, stamp: &str) -> String {
        format!("{}/{}/s3/aws4_request", &stamp[..8], self.region)
    }

    fn signature(&mut self, stamp: &str, canonical: &str) -> String {
        let hash = hex::encode(Sha256::digest(canonical));
        let to_sign = format!("AWS4-HMAC-SHA256\n{stamp}\n{}\n{hash}", self.scope(stamp));
        self.sign_text(stamp, &to_sign)
    }

    /// The signature of a text under the key of the day of `stamp` (`20260501T120000Z`): of what stands for a request or a chunk, or of
    /// the policy of a form.
    pub fn sign_text(&mut self, stamp: &str, to_sign: &str) -> String {
        let day = &stamp[..8];
        if self.day_key.as_ref().is_none_or(|(made_for, _)| made_for != day) {
            let key = hmac(format!("AWS4{}", self.keys.secret_access_key).as_bytes(), day);
            let key = [&self.region, "s3", "aws4_request"].iter().fold(key, |key, part| hmac(&key, part));
            self.day_key = Some((day.to_owned(), key));
        }
        self.day_key.as_ref().map(|(_, key)| hex::encode(hmac(key, to_sign))).unwrap_or_default()
    }
}

/// The query string with names and values encoded and in the order the signature wants.
pub fn canonical_query(query: &[(String, String)]) -> String {
    let encode = |text: &str| percent_encode(text, Slash::Encode);
    let mut pairs: Vec<_> = query.iter().map(|(name, value)| (encode(name), encode(value))).collect();
    pairs.sort();
    pairs.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("&")
}

fn canonical_request(
    request: Unsigned<'_>,
    query: &str,
    signed: &[(String, String)],
    names: &str,
    payload_hash: &str,
) -> String {
    let mut canonical = format!("{}\n{}\n{query}\n", request.method, request.path);
    for (name, value) in signed {
        let _ = writeln!(canonical, "{name}:{value}");
    }
    let _ = write!(canonical, "\n{names}\n{payload_hash}");
    canonical
}

fn hmac(key: &[u8], text: &str) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
    mac.update(text.as_bytes());
    mac.finalize().into_bytes().to_vec()
}

/// A time in seconds since 1970 as signatures write it: `20260501T120000Z`.
pub fn amz_date(at: i64) -> String {
    let at = OffsetDateTime::from_unix_timestamp(at).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    let (hour, minute, second) = at.to_hms();
    format!("{:04}{:02}{:02}T{hour:02}{minute:02}{second:02}Z", at.year(), u8::from(at.month()), at.day())
}

#[cfg(test)]
mod tests {
    use super::*;

    const FRIDAY_2013_05_24: i64 = 1_369_353_600;

    fn aws_example() -> Signer {
        let keys = Keys {
            access_key_id: "AKIAIOSFODNN7EXAMPLE".into(),
            secret_access_key: "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY".into(),
        };
        Signer::in_region(keys, "us-east-1")
    }

    #[test]
    fn the_example_of_the_aws_documentation_gives_its_signature() {
        let request = Unsigned {
            method: "GET",
            host: "examplebucket.s3.amazonaws.com",
            path: "/test.txt",
            query: &[],
            at: FRIDAY_2013_05_24,
        };
        let headers = aws_example().sign(request, &[("range".into(), "bytes=0-9".into())], Payload::Signed(b""));
        let authorization = &headers.last().unwrap().1;
        assert!(
            authorization.ends_with("f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"),
            "{authorization}"
        );
    }

    #[test]
    fn the_presigned_example_of_the_aws_documentation_gives_its_signature() {
        let request = Unsigned {
            method: "GET",
            host: "examplebucket.s3.amazonaws.com",
            path: "/test.txt",
            query: &[],
            at: FRIDAY_2013_05_24,
        };
        let query = aws_example().presign(request, 86_400);
        assert!(query.ends_with("aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404"), "{query}");
    }
}
