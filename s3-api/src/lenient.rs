//! What S3 passes over and `s3s` refuses: a `Range` that is none, HTTP's older dates, lists of tags, odd metadata.
//!
//! `s3s` reads headers right after it has checked the signature over them and lets nobody change them between. So a request with such a
//! header goes through it twice:
//!
//! ```text
//! front ─▶ s3s: signature over all that came ─▶ Lenient, a route of s3s ─▶ s3s once more, without the signature and the odd headers
//!                                               ─▶ access check ─▶ parse ─▶ operation, with the headers as they came
//! ```
//!
//! [`AsSent`] tells the second pass who signed. Nobody comes to the second pass but through the first: from here, or from the front when
//! the first has read an XML body that s3s would misread.
//! Operations read ranges, dates, tags, `Expires` and metadata from the headers themselves, never from what s3s made of them. Of dates, only
//! `x-amz-if-match-last-modified-time` of a deletion is s3s's.

use crate::error_map::Refusal;
use crate::query::Query;
use async_trait::async_trait;
use http::header::AUTHORIZATION;
use http::{Extensions, HeaderMap, HeaderName, HeaderValue, Method, Request, Uri};
use s3s::dto::{ETagCondition, Range, Timestamp, TimestampFormat};
use s3s::route::S3Route;
use s3s::service::S3Service;
use s3s::{Body, S3Request, S3Response, S3Result, TrailingHeaders};
use std::sync::Arc;

/// A request as it came, in the extensions of its second pass.
#[derive(Debug, Clone)]
pub(crate) struct AsSent {
    /// All its headers.
    pub(crate) headers: HeaderMap,
    /// Its address with the whole query.
    pub(crate) uri: Uri,
    /// The access key id whose signature was right; `None` when nobody signed.
    pub(crate) signer: Option<String>,
    pub(crate) trailers: Option<TrailingHeaders>,
}

impl AsSent {
    /// What the first pass left, on the second.
    pub(crate) fn of(extensions: &Extensions) -> Option<Arc<Self>> {
        extensions.get::<Arc<Self>>().cloned()
    }

    /// The request of an operation with everything that it came with.
    pub(crate) fn restore<T>(mut request: S3Request<T>) -> S3Request<T> {
        if let Some(sent) = request.extensions.remove::<Arc<Self>>() {
            let sent = Arc::unwrap_or_clone(sent);
            (request.headers, request.uri, request.trailing_headers) = (sent.headers, sent.uri, sent.trailers);
        }
        request
    }
}

/// The way to the second pass.
#[derive(Debug)]
pub(crate) struct Lenient {
    /// The same service without this route.
    pub(crate) again: S3Service,
}

#[async_trait]
impl S3Route for Lenient {
    fn is_match(&self, _method: &Method, _uri: &Uri, headers: &HeaderMap, _extensions: &mut Extensions) -> bool {
        odd_names(headers).next().is_some()
    }

    /// Access is for the second pass to judge.
    async fn check_access(&self, _request: &mut S3Request<Body>) -> S3Result<()> {
        Ok(())
    }

    async fn call(&self, request: S3Request<Body>) -> S3Result<S3Response<Body>> {
        let S3Request { input: body, method, uri, headers, extensions, credentials, trailing_headers, .. } = request;
        let signer = credentials.map(|credentials| credentials.access_key);
        let sent = AsSent { headers, uri, signer, trailers: trailing_headers };
        let again = second_pass(method, sent, extensions, body).map_err(Refusal::into_s3)?;
        // Boxed: s3s's future is large.
        let answer = Box::pin(self.again.call(again)).await.map_err(|error| {
            let error: s3s::StdError = error.into();
            Refusal::internal(std::io::Error::other(error)).into_s3()
        })?;
        let (parts, body) = answer.into_parts();
        let mut answer = S3Response::with_status(body, parts.status);
        (answer.headers, answer.extensions) = (parts.headers, parts.extensions);
        Ok(answer)
    }
}

/// The request for its second pass: without the signature, which has been checked, and the odd headers.
pub(crate) fn second_pass(
    method: Method,
    sent: AsSent,
    extensions: Extensions,
    body: Body,
) -> Result<Request<Body>, Refusal> {
    let mut again = Request::new(body);
    *again.method_mut() = method;
    *again.uri_mut() = without_signature(&sent.uri).map_err(Refusal::internal)?;
    *again.headers_mut() = without_odd(&sent.headers);
    *again.extensions_mut() = extensions;
    again.extensions_mut().insert(Arc::new(sent));
    Ok(again)
}

/// The headers that s3s can read; the signature has been checked.
fn without_odd(headers: &HeaderMap) -> HeaderMap {
    let mut kept = headers.clone();
    kept.remove(AUTHORIZATION);
    for name in odd_names(headers) {
        kept.remove(name);
    }
    kept
}

/// The address without the parameter that has s3s look for a signature.
fn without_signature(uri: &Uri) -> Result<Uri, http::uri::InvalidUri> {
    let Some(query) = uri.query() else { return Ok(uri.clone()) };
    let kept: Vec<_> = query.split('&').filter(|pair| !Query::parse(pair).has("X-Amz-Signature")).collect();
    if kept.is_empty() { uri.path().parse() } else { format!("{}?{}", uri.path(), kept.join("&")).parse() }
}

/// The names of headers that the second pass goes without.
fn odd_names(headers: &HeaderMap) -> impl Iterator<Item = &HeaderName> {
    let odd = headers.iter().filter(|(name, value)| is_odd(name, value) || is_repeated(name, headers));
    odd.map(|(name, _)| name)
}

/// Whether s3s would refuse a request for this header although S3 would not, or would read something else in it.
fn is_odd(name: &HeaderName, value: &HeaderValue) -> bool {
    let text = || value.to_str().ok();
    if value.is_empty() {
        return false;
    }
    match kind_of(name) {
        Kind::Other => false,
        Kind::Text => text().is_none(),
        Kind::Range => text().is_none_or(|text| Range::parse(text).is_err()),
        Kind::Date => text().is_none_or(|text| Timestamp::parse(TimestampFormat::HttpDate, text).is_err()),
        Kind::Tags => ETagCondition::parse_http_header(value.as_bytes()).is_err(),
        // s3s knows no charset but UTF-8 and refuses what is malformed
        Kind::Metadata => value.as_bytes().windows(2).any(|pair| pair == b"=?"),
    }
}

/// Metadata and conditions in several lines are one list, which s3s refuses.
fn is_repeated(name: &HeaderName, headers: &HeaderMap) -> bool {
    matches!(kind_of(name), Kind::Metadata | Kind::Tags) && headers.get_all(name).iter().nth(1).is_some()
}

/// How s3s reads a header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Range,
    Date,
    Tags,
    Metadata,
    Text,
    Other,
}

fn kind_of(name: &HeaderName) -> Kind {
    match name.as_str() {
        "range" => Kind::Range,
        "if-match" | "if-none-match" | "x-amz-copy-source-if-match" | "x-amz-copy-source-if-none-match" => Kind::Tags,
        "expires"
        | "if-modified-since"
        | "if-unmodified-since"
        | "x-amz-copy-source-if-modified-since"
        | "x-amz-copy-source-if-unmodified-since" => Kind::Date,
        "cache-control" | "content-disposition" | "content-encoding" | "content-language" | "content-type" => {
            Kind::Text
        }
        name if name.starts_with("x-amz-meta-") => Kind::Metadata,
        _ => Kind::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_s3s_cannot_read_is_odd() {
        for (name, value, odd) in [
            ("range", "bytes=0-1", false),
            ("range", "bytes=0-1,3-4", true),
            ("range", "lines=1-2", true),
            ("range", "", false),
            ("if-modified-since", "Sun, 06 Nov 1994 08:49:37 GMT", false),
            ("if-modified-since", "Sunday, 06-Nov-94 08:49:37 GMT", true),
            ("x-amz-copy-source-if-unmodified-since", "yesterday", true),
            ("if-match", "\"a\"", false),
            ("if-match", "*", false),
            ("if-none-match", "W/\"a\", \"b\"", false),
            ("if-none-match", "a, b", true),
            ("x-amz-copy-source-if-match", "a,b", true),
            ("expires", "never", true),
            ("x-amz-meta-a", "=?UTF-8?B?w6Q=?=", true),
            ("x-amz-meta-a", "plain", false),
            ("content-disposition", "attachment", false),
            ("x-amz-date", "whatever", false),
        ] {
            let (name, value) = (name.parse().unwrap(), value.parse().unwrap());
            assert_eq!(is_odd(&name, &value), odd, "{name}: {value:?}");
        }
        let raw = HeaderValue::from_bytes("attachment; filename=ä".as_bytes()).unwrap();
        assert!(is_odd(&http::header::CONTENT_DISPOSITION, &raw));
    }

    #[test]
    fn metadata_and_conditions_in_several_lines_are_repeated() {
        let mut headers = HeaderMap::new();
        for name in ["x-amz-meta-a", "if-match", "range", "x-amz-meta-b"] {
            let name = HeaderName::from_static(name);
            for value in if name == "x-amz-meta-b" { &["1"][..] } else { &["1", "2"] } {
                headers.append(&name, HeaderValue::from_static(value));
            }
        }
        let repeated: Vec<_> = headers.keys().filter(|name| is_repeated(name, &headers)).collect();
        assert_eq!(repeated, ["x-amz-meta-a", "if-match"]);
    }

    #[test]
    fn the_second_pass_sees_neither_signature_nor_odd_headers() {
        let pairs = [("authorization", "AWS4-HMAC-SHA256 x"), ("range", "junk"), ("host", "h")];
        let headers = pairs.map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).into_iter().collect();
        let kept = without_odd(&headers);
        assert_eq!(kept.keys().map(HeaderName::as_str).collect::<Vec<_>>(), ["host"]);
        for (uri, expected) in [
            ("/b/k", "/b/k"),
            ("/b/k?versionId=1&X-Amz-Signature=00&X-Amz-Date=d", "/b/k?versionId=1&X-Amz-Date=d"),
            ("/b/k?%58-Amz-Signature=00", "/b/k"),
            ("http://h/b/k?a=%20", "/b/k?a=%20"),
        ] {
            assert_eq!(without_signature(&uri.parse().unwrap()).unwrap().to_string(), expected);
        }
    }
}
