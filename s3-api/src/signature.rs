//! Signatures in the `Authorization` header, for requests that are answered without `s3s` (see `direct.rs`).
//!
//! Says that a signature is right, or that it cannot tell: then s3s judges the request, and words the refusal if there is one. So only the
//! plain way to sign is known here: every signed header once, in text, and a path as clients escape it.
//!
//! The key that signs is derived from the secret for a day and a region. It is kept, so that a request costs two hashes and not five.

use cistern_access::Identity;
use cistern_types::AccessKeyId;
use hmac::digest::KeyInit;
use hmac::{Hmac, Mac};
use http::HeaderName;
use http::header::AUTHORIZATION;
use http::request::Parts;
use sha2::{Digest as _, Sha256};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// The name of signature version 4.
pub(crate) const ALGORITHM: &str = "AWS4-HMAC-SHA256";
/// The last word of a credential.
pub(crate) const SCOPE_END: &str = "aws4_request";
const SERVICE: &str = "s3";

/// When a request was signed.
pub(crate) static AMZ_DATE: HeaderName = HeaderName::from_static("x-amz-date");
/// The hash of the body in hex, or what stands for it.
pub(crate) static CONTENT_SHA256: HeaderName = HeaderName::from_static("x-amz-content-sha256");

/// Signing keys that are kept; at the bound all are dropped and derived again.
const KEYS_MAX: usize = 1024;

/// Room for the canonical form of a usual request, in bytes.
const CANONICAL_BYTES: usize = 512;

/// What a request says of its signature.
#[derive(Debug)]
pub(crate) struct Signed<'a> {
    pub(crate) access_key_id: &'a str,
    /// `20260501/auto/s3/aws4_request`
    scope: &'a str,
    date: &'a str,
    region: &'a str,
    /// `20260501T120000Z`
    amz_date: &'a str,
    /// The names of signed headers, as they came.
    names: &'a str,
    /// The claimed hash of the body, or what stands for it.
    pub(crate) payload: &'a str,
    signature: [u8; 32],
}

impl<'a> Signed<'a> {
    /// Reads the headers; `None` when they are not as the usual clients write them.
    pub(crate) fn of(head: &'a Parts) -> Option<Self> {
        let text = |name: &HeaderName| head.headers.get(name)?.to_str().ok();
        let fields = text(&AUTHORIZATION)?.strip_prefix(ALGORITHM)?.strip_prefix(' ')?;
        let mut fields = fields.split(',').map(str::trim_ascii_start);
        let credential = fields.next()?.strip_prefix("Credential=")?;
        let names = fields.next()?.strip_prefix("SignedHeaders=")?;
        let claimed = fields.next()?.strip_prefix("Signature=")?;
        if fields.next().is_some() {
            return None;
        }
        let mut signature = [0; 32];
        hex::decode_to_slice(claimed, &mut signature).ok()?;
        let (access_key_id, scope) = credential.split_once('/')?;
        let (date, region) = scope.strip_suffix(SCOPE_END)?.strip_suffix("/s3/")?.split_once('/')?;
        let amz_date = text(&AMZ_DATE)?;
        let is_word = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        let plain = !region.is_empty() && region.bytes().all(is_word) && date.len() == 8 && amz_date.starts_with(date);
        let payload = text(&CONTENT_SHA256)?;
        plain.then_some(Self { access_key_id, scope, date, region, amz_date, names, payload, signature })
    }

    /// Whether `identity` signed the request; `false` also when it cannot be told.
    pub(crate) fn is_by(&self, identity: &Arc<Identity>, head: &Parts, keys: &SigningKeys) -> bool {
        let Some(canonical) = self.canonical(head) else { return false };
        let mut mac = keys.get(identity, self.date, self.region);
        for piece in [ALGORITHM, "\n", self.amz_date, "\n", self.scope, "\n"] {
            mac.update(piece.as_bytes());
        }
        let mut digest = [0; 64];
        if hex::encode_to_slice(Sha256::digest(&canonical), &mut digest).is_err() {
            return false;
        }
        mac.update(&digest);
        mac.verify_slice(&self.signature).is_ok()
    }

    /// The request in the form that is signed.
    fn canonical(&self, head: &Parts) -> Option<Vec<u8>> {
        let (path, query) = (head.uri.path(), head.uri.query().unwrap_or_default());
        if !is_escaped_once(path) || !is_one_plain_pair(query) {
            return None;
        }
        let mut canonical = Vec::with_capacity(CANONICAL_BYTES);
        let mut line = |pieces: &[&str]| {
            for piece in pieces {
                canonical.extend_from_slice(piece.as_bytes());
            }
            canonical.push(b'\n');
        };
        line(&[head.method.as_str()]);
        line(&[path]);
        line(&[query]);
        for name in self.names.split(';') {
            let mut values = head.headers.get_all(name).iter();
            let value = values.next()?.to_str().ok()?.trim_ascii();
            if values.next().is_some() || value.contains("  ") {
                return None;
            }
            line(&[name, ":", value]);
        }
        line(&[]);
        line(&[self.names]);
        canonical.extend_from_slice(self.payload.as_bytes());
        Some(canonical)
    }
}

fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~')
}

/// Whether a path is escaped as in the canonical form: what needs it, in upper-case digits, and nothing else.
fn is_escaped_once(path: &str) -> bool {
    let mut bytes = path.bytes();
    while let Some(byte) = bytes.next() {
        if byte == b'%' {
            let mut digits = || bytes.next().filter(|digit| matches!(digit, b'0'..=b'9' | b'A'..=b'F'));
            let (Some(high), Some(low)) = (digits(), digits()) else { return false };
            let mut escaped = [0];
            if hex::decode_to_slice([high, low], &mut escaped).is_err()
                || is_unreserved(escaped[0])
                || escaped[0] == b'/'
            {
                return false;
            }
        } else if !is_unreserved(byte) && byte != b'/' {
            return false;
        }
    }
    true
}

/// Whether a query is its own canonical form whatever its order: there is none, or one pair of plain words.
fn is_one_plain_pair(query: &str) -> bool {
    let plain = |word: &str| !word.is_empty() && word.bytes().all(is_unreserved);
    query.is_empty() || query.split_once('=').is_some_and(|(name, value)| plain(name) && plain(value))
}

/// The keys that sign, by who they are of.
#[derive(Debug, Default)]
pub(crate) struct SigningKeys(Mutex<HashMap<AccessKeyId, SigningKey>>);

/// A key as it was derived last.
struct SigningKey {
    /// Another one under the same id has another secret.
    identity: Arc<Identity>,
    date: String,
    region: String,
    mac: Hmac<Sha256>,
}

impl std::fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SigningKey").field("date", &self.date).field("region", &self.region).finish_non_exhaustive()
    }
}

impl SigningKeys {
    fn get(&self, identity: &Arc<Identity>, date: &str, region: &str) -> Hmac<Sha256> {
        let id = &identity.key.access_key_id;
        let mut keys = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(key) = keys.get(id)
            && Arc::ptr_eq(&key.identity, identity)
            && key.date == date
            && key.region == region
        {
            return key.mac.clone();
        }
        let mac = derived(identity.secret.expose(), [date, region, SERVICE]);
        if keys.len() >= KEYS_MAX {
            keys.clear();
        }
        let (date, region) = (date.to_owned(), region.to_owned());
        keys.insert(id.clone(), SigningKey { identity: Arc::clone(identity), date, region, mac: mac.clone() });
        mac
    }
}

/// The key that `secret` signs with on a day, in a region and for a service.
pub(crate) fn derived(secret: &str, [date, region, service]: [&str; 3]) -> Hmac<Sha256> {
    [date, region, service, SCOPE_END].iter().fold(keyed(format!("AWS4{secret}").as_bytes()), |mut mac, word| {
        mac.update(word.as_bytes());
        keyed(&mac.finalize().into_bytes())
    })
}

pub(crate) fn keyed<M: KeyInit>(key: &[u8]) -> M {
    M::new_from_slice(key).expect("HMAC takes keys of any length")
}

/// Signs a request for tests as `identity`, with its `host` and all `x-amz-*` headers.
#[cfg(test)]
pub(crate) fn sign(head: &mut Parts, identity: &Identity) {
    let names: std::collections::BTreeSet<_> = head.headers.keys().map(|name| name.as_str().to_owned()).collect();
    let names = names.into_iter().collect::<Vec<_>>().join(";");
    let date = head.headers["x-amz-date"].to_str().unwrap()[..8].to_owned();
    let (id, scope) = (&identity.key.access_key_id, format!("{date}/auto/s3/aws4_request"));
    let authorization = |signature: &str| {
        let text = format!("{ALGORITHM} Credential={id}/{scope}, SignedHeaders={names}, Signature={signature}");
        http::HeaderValue::try_from(text).unwrap()
    };
    head.headers.insert(AUTHORIZATION, authorization(&"0".repeat(64)));
    let signed = Signed::of(head).unwrap();
    let digest = hex::encode(Sha256::digest(signed.canonical(head).unwrap()));
    let text = format!("{ALGORITHM}\n{}\n{scope}\n{digest}", signed.amz_date);
    let mac = derived(identity.secret.expose(), [&date, "auto", SERVICE]).chain_update(text).finalize();
    head.headers.insert(AUTHORIZATION, authorization(&hex::encode(mac.into_bytes())));
}

#[cfg(test)]
mod tests {
    use super::*;
    use cistern_access::{Access, Secret};
    use cistern_runtime::SystemClock;
    use http::{HeaderValue, Request};

    /// The published example of a signed GET: `GET /test.txt` of a range, with the empty body's hash.
    fn example() -> Parts {
        let authorization = "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request,\
                             SignedHeaders=host;range;x-amz-content-sha256;x-amz-date,\
                             Signature=f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41";
        let request = Request::get("/test.txt")
            .header("host", "examplebucket.s3.amazonaws.com")
            .header("range", "bytes=0-9")
            .header("x-amz-content-sha256", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855")
            .header("x-amz-date", "20130524T000000Z")
            .header("authorization", authorization);
        request.body(()).unwrap().into_parts().0
    }

    #[test]
    fn the_published_example_is_in_its_canonical_form() {
        let head = example();
        let signed = Signed::of(&head).unwrap();
        let canonical = signed.canonical(&head).unwrap();
        let digest = hex::encode(Sha256::digest(&canonical));
        assert_eq!(digest, "7344ae5b7ee6c3e7e6b0fe0640412a37625d1fbfff95c48bbb2dc43964946972");
        let mut mac = derived("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", ["20130524", "us-east-1", SERVICE]);
        mac.update(format!("{ALGORITHM}\n20130524T000000Z\n{}\n{digest}", signed.scope).as_bytes());
        assert!(mac.verify_slice(&signed.signature).is_ok());
    }

    #[test]
    fn what_is_written_otherwise_is_left_to_others() {
        let given = |name: &'static str, value: &str| {
            let mut head = example();
            head.headers.insert(name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
            let signed = Signed::of(&head).map(|signed| signed.canonical(&head).is_some());
            signed.unwrap_or_default()
        };
        let authorization = |from: &str, to: &str| {
            let head = example();
            given("authorization", &head.headers["authorization"].to_str().unwrap().replace(from, to))
        };
        assert!(authorization("", "") && given("range", "bytes=0-8"));
        for (from, to) in [
            ("20130524", "20130525"),
            ("us-east-1", ""),
            ("us-east-1", "us/east"),
            ("/s3/", "/sts/"),
            ("host;", "host;x-missing;"),
            ("host;", "HOST;;"),
            ("Signature=f0", "Signature=f"),
            ("Signature=f0", "Signature=xy"),
            ("bdb41", "bdb41,Signature=00"),
            ("AWS4-HMAC-SHA256", "AWS4-ECDSA-P256-SHA256"),
        ] {
            assert!(!authorization(from, to), "{from} {to}");
        }
        assert!(!given("range", "bytes=0-9  x") && !given("range", "bytes=ä"));
        let mut head = example();
        head.headers.append("range", HeaderValue::from_static("bytes=1-2"));
        assert!(Signed::of(&head).unwrap().canonical(&head).is_none());
    }

    #[test]
    fn paths_and_queries_that_are_not_canonical_are_left_to_others() {
        for (path, canonical) in [
            ("/b/a-b_c.d~e/f", true),
            ("/b/a%20b%3Dc%C3%A4", true),
            ("/b/a%2fb", false),
            ("/b/a%2Fb", false),
            ("/b/%41", false),
            ("/b/a+b", false),
            ("/b/a=b", false),
            ("/b/a%2", false),
        ] {
            assert_eq!(is_escaped_once(path), canonical, "{path}");
        }
        for (query, canonical) in [
            ("", true),
            ("x-id=GetObject", true),
            ("acl", false),
            ("a=b&c=d", false),
            ("a=b%20", false),
            ("a=b=c", false),
        ] {
            assert_eq!(is_one_plain_pair(query), canonical, "{query}");
        }
    }

    #[test]
    fn a_key_is_kept_for_its_day_region_and_secret() {
        let identity = Arc::new(Access::in_memory(Arc::new(SystemClock)).root().clone());
        let keys = SigningKeys::default();
        let bytes = |identity: &Arc<Identity>, date, region| {
            keys.get(identity, date, region).chain_update(b"x").finalize().into_bytes().to_vec()
        };
        let first = bytes(&identity, "20130524", "auto");
        assert_eq!(bytes(&identity, "20130524", "auto"), first);
        assert_ne!(bytes(&identity, "20130525", "auto"), first);
        assert_ne!(bytes(&identity, "20130524", "eu"), first);
        let other = Arc::new(Identity { secret: Secret::new("other"), ..Identity::clone(&identity) });
        assert_ne!(bytes(&other, "20130524", "auto"), first);
        assert_eq!(bytes(&identity, "20130524", "auto"), first);
    }
}
