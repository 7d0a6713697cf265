//! The four operations that most requests are, answered without `s3s`: GetObject, HeadObject, PutObject and DeleteObject of a signed
//! request with headers that are all understood here.
//!
//! `s3s` costs such a request more than all that is done for it: it derives the signing key, parses every header that the operation could
//! have into a shape, and writes the answer from another. Here the same operations (`ops/`) get the headers as they came.
//!
//! ```text
//! front ─▶ direct: plain, and the signature right? ──yes──▶ access_check.rs ─▶ ops/ ─▶ answer
//!             └──no, or it cannot be told──▶ s3s, as if this file were not there
//! ```
//! So nothing is refused here but by the access check and the operations, which s3s asks too.

use crate::access_check::AccessCheck;
use crate::checksum::is_value;
use crate::error_map::Refusal;
use crate::notes::Notes;
use crate::operations::{DELETE_OBJECT, HEAD_OBJECT, Operation, PUT_OBJECT, READ_OBJECT};
use crate::ops::delete::delete;
use crate::ops::get::{ObjectAnswer, Read, get, head};
use crate::ops::put::{Write, put};
use crate::r2;
use crate::signature::{Signed, SigningKeys};
use cistern_access::Identity;
use cistern_net::Peer;
use cistern_objects::{DeleteConditions, DeleteItem, Objects};
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH};
use http::request::Parts;
use http::{HeaderMap, HeaderName, Method, Request, Response, StatusCode};
use s3s::Body;
use s3s::dto::StreamingBlob;
use std::sync::Arc;

/// The way around s3s.
#[derive(Debug)]
pub(crate) struct Direct {
    objects: Objects,
    access_check: AccessCheck,
    keys: SigningKeys,
}

/// A request that is one of the four, signed by who it says.
struct Plain<'a> {
    operation: &'static Operation,
    /// The bucket's name and the key, not checked yet.
    place: (&'a str, &'a str),
    signer: Arc<Identity>,
    /// What the body has to hash to, if that was signed.
    sha256: Option<[u8; 32]>,
}

impl Direct {
    pub(crate) fn new(objects: Objects, access_check: AccessCheck) -> Self {
        Self { objects, access_check, keys: SigningKeys::default() }
    }

    /// The answer to a request that the screen has let pass and that is for `place`, a bucket and a key; or the request, for s3s.
    pub(crate) async fn answer(
        &self,
        request: Request<Body>,
        place: (&str, &str),
        notes: &Notes,
    ) -> Result<Result<Response<Body>, Refusal>, Request<Body>> {
        let (parts, body) = request.into_parts();
        match self.recognise(&parts, &body, place).await {
            Some(plain) => Ok(self.perform(plain, &parts, body, notes).await),
            None => Err(Request::from_parts(parts, body)),
        }
    }

    async fn recognise<'a>(&self, parts: &Parts, body: &Body, place: (&'a str, &'a str)) -> Option<Plain<'a>> {
        let operation = match parts.method {
            Method::GET => &READ_OBJECT,
            Method::HEAD => &HEAD_OBJECT,
            Method::PUT => &PUT_OBJECT,
            Method::DELETE => &DELETE_OBJECT,
            _ => return None,
        };
        let is_put = parts.method == Method::PUT;
        let says_nothing = |query: &str| query.strip_prefix("x-id=") == Some(operation.name);
        let by_path = !parts.uri.path().starts_with("//") && parts.uri.query().is_none_or(says_nothing);
        // A path that is no text would have been replaced by what is.
        let is_text = !place.1.contains(char::REPLACEMENT_CHARACTER);
        if !by_path || !is_text || !parts.headers.keys().all(|name| is_understood(name, operation)) {
            return None;
        }
        let body_fits = if is_put { has_plain_body(&parts.headers) } else { http_body::Body::is_end_stream(body) };
        if !body_fits {
            return None;
        }
        let signature = Signed::of(parts)?;
        let sha256 = match signature.payload {
            "UNSIGNED-PAYLOAD" => None,
            _ if !is_put => None, // there is none
            hash => {
                let mut sha256 = [0; 32];
                hex::decode_to_slice(hash, &mut sha256).ok()?;
                Some(sha256)
            }
        };
        let signer = self.access_check.judge.access.identity(&signature.access_key_id.parse().ok()?).await.ok()??;
        signature.is_by(&signer, parts, &self.keys).then_some(Plain { operation, place, signer, sha256 })
    }

    async fn perform(
        &self,
        Plain { operation, place, signer, sha256 }: Plain<'_>,
        Parts { method, uri, headers, extensions, .. }: &Parts,
        body: Body,
        notes: &Notes,
    ) -> Result<Response<Body>, Refusal> {
        let peer = extensions.get::<Peer>().copied();
        let (bucket, key) = place;
        self.access_check
            .decide_about(notes, Some(signer), operation, Some((bucket, Some(key))), (headers, uri, peer))
            .await?;
        notes.set_reached();
        let read = Read { key, version: None, part: None, headers };
        let ObjectAnswer { status, headers, body } = match *method {
            Method::GET => get(&self.objects, notes, &read).await?,
            Method::HEAD => head(&self.objects, notes, &read).await?,
            Method::PUT => {
                let body = Some(StreamingBlob::from(body));
                let asks = Write { key, headers, body, trailers: None, sha256 };
                // Boxed, as the next: much larger than a read, which would be moved around with the room for it.
                let headers = Box::pin(put(&self.objects, notes, asks)).await?;
                ObjectAnswer { status: StatusCode::OK, headers, body: None }
            }
            _ => {
                let (key, conditions) = (key.parse()?, DeleteConditions::default());
                let item = DeleteItem { key, version: None, conditions, bypass_governance: false };
                let headers = Box::pin(delete(&self.objects, &notes.bucket()?.name, item)).await?;
                ObjectAnswer { status: StatusCode::NO_CONTENT, headers, body: None }
            }
        };
        let mut answer = Response::new(body.map_or_else(Body::empty, Body::from));
        *answer.status_mut() = status;
        *answer.headers_mut() = headers;
        Ok(answer)
    }
}

/// Whether a header says nothing to an operation but what it reads from the headers itself.
fn is_understood(name: &HeaderName, operation: &Operation) -> bool {
    let name = name.as_str();
    let (reads, writes) = (operation.reads_object(), operation.writes_object());
    if let Some(own) = name.strip_prefix("x-amz-") {
        return match own {
            "date" | "content-sha256" | "user-agent" => true,
            "checksum-mode" => reads,
            "storage-class" | "sdk-checksum-algorithm" => writes,
            _ => writes && (own.starts_with("meta-") || is_value(name)),
        };
    }
    // a deletion has conditions that s3s reads
    !r2::is_own(name) && (reads || writes || !name.starts_with("if-"))
}

/// Whether the body is the object's bytes and nothing else, of a length that is known.
fn has_plain_body(headers: &HeaderMap) -> bool {
    let coded = headers.get_all(CONTENT_ENCODING).iter().any(|coding| {
        let coding = coding.as_bytes().to_ascii_lowercase();
        memchr::memmem::find(&coding, b"aws-chunked").is_some()
    });
    let length = headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    length.is_some() && !coded
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::judge::Judge;
    use crate::signature::sign;
    use cistern_access::Access;
    use cistern_objects::Limits;
    use cistern_runtime::SystemClock;

    /// Whether a request with these headers, signed, is answered here.
    async fn is_answered(method: Method, path: &str, headers: &[(&'static str, &str)], signed: bool) -> bool {
        let objects = Objects::in_memory(Arc::new(SystemClock), Limits::default());
        let access = Access::in_memory(Arc::new(SystemClock));
        let judge = Judge::new(access.clone(), objects.clone());
        let direct = Direct::new(objects.clone(), AccessCheck { judge, objects: objects.clone() });
        let mut request = Request::builder().method(method).uri(path).header("host", "h");
        for (name, value) in [("x-amz-date", "20260501T000000Z"), ("x-amz-content-sha256", "UNSIGNED-PAYLOAD")] {
            request = request.header(name, value);
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let (mut parts, body) = request.body(Body::empty()).unwrap().into_parts();
        sign(&mut parts, access.root());
        if !signed {
            parts.headers.insert("host", http::HeaderValue::from_static("other"));
        }
        let notes = Notes::new(objects.clock().now());
        let (bucket, key) = path.trim_start_matches('/').split_once('/').unwrap();
        let key = key.split('?').next().unwrap();
        direct.answer(Request::from_parts(parts, body), (bucket, key), &notes).await.is_ok()
    }

    #[tokio::test]
    async fn plain_signed_requests_are_answered_here_and_others_handed_on() {
        let length = [("content-length", "0")];
        assert!(is_answered(Method::GET, "/b/k", &[("range", "bytes=0-1")], true).await);
        assert!(is_answered(Method::GET, "/b/k?x-id=GetObject", &[], true).await);
        assert!(is_answered(Method::HEAD, "/b/k", &[], true).await);
        assert!(is_answered(Method::PUT, "/b/k", &length, true).await);
        assert!(is_answered(Method::DELETE, "/b/k", &[], true).await);
        assert!(!is_answered(Method::GET, "/b/k", &[], false).await);
        assert!(!is_answered(Method::GET, "/b/k?x-id=PutObject", &[], true).await);
        assert!(!is_answered(Method::GET, "/b/k?versionId=null", &[], true).await);
        assert!(!is_answered(Method::GET, "/b/k", &[("x-amz-security-token", "t")], true).await);
        assert!(!is_answered(Method::PUT, "/b/k", &[], true).await, "a length is missing");
        assert!(!is_answered(Method::PUT, "/b/k", &[length[0], ("x-amz-copy-source", "b/k")], true).await);
        assert!(!is_answered(Method::POST, "/b/k", &length, true).await);
    }

    #[track_caller]
    fn check(operation: &str, understood: &[&'static str], others: &[&'static str]) {
        let operation = Operation::named(operation).unwrap();
        for (names, expected) in [(understood, true), (others, false)] {
            for name in names {
                assert_eq!(is_understood(&HeaderName::from_static(name), operation), expected, "{name}");
            }
        }
    }

    #[test]
    fn what_an_operation_does_not_read_itself_is_for_s3s() {
        let common = ["host", "authorization", "x-amz-date", "x-amz-content-sha256", "user-agent", "cf-ray"];
        let foreign = [
            "x-amz-security-token",
            "x-amz-expected-bucket-owner",
            "x-amz-request-payer",
            "x-amz-server-side-encryption-customer-key",
            "x-amz-copy-source",
            "x-amz-decoded-content-length",
            "x-amz-trailer",
            "x-amz-tagging",
            "x-amz-acl",
            "x-amz-object-lock-mode",
            "x-amz-bypass-governance-retention",
            "cf-create-bucket-if-missing",
        ];
        for operation in ["GetObject", "HeadObject", "PutObject", "DeleteObject"] {
            check(operation, &common, &foreign);
        }
        for operation in ["GetObject", "HeadObject"] {
            check(
                operation,
                &["range", "if-none-match", "x-amz-checksum-mode"],
                &["x-amz-meta-a", "x-amz-checksum-crc32"],
            );
        }
        check(
            "PutObject",
            &["content-type", "content-md5", "expires", "if-match", "x-amz-meta-a", "x-amz-checksum-crc32"],
            &["x-amz-checksum-mode", "x-amz-checksum-xxhash64", "x-amz-checksum-type"],
        );
        check("DeleteObject", &[], &["if-match", "x-amz-if-match-size", "x-amz-meta-a", "x-amz-mfa"]);
    }

    #[test]
    fn a_body_is_plain_when_it_is_the_object() {
        let plain = |pairs: &[(&'static str, &'static str)]| {
            let pairs = pairs.iter().map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap()));
            has_plain_body(&pairs.collect())
        };
        assert!(plain(&[("content-length", "1")]) && plain(&[("content-length", "1"), ("content-encoding", "gzip")]));
        assert!(!plain(&[]) && !plain(&[("content-length", "x")]));
        assert!(!plain(&[("content-length", "1"), ("content-encoding", "gzip, AWS-Chunked")]));
    }
}
