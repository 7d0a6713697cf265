//! What comes in: paths and queries whose errors are envelopes, and JSON bodies, bounded and read by content.
//!
//! Cloudflare's clients send JSON as `text/plain` at times, so the content type is never asked.

use crate::error::{Error, Result};
use axum::body::Body;
use axum::extract::{FromRequestParts, Path, Query};
use serde::de::DeserializeOwned;

/// The largest JSON body, in bytes.
const JSON_BYTES_MAX: usize = 1 << 20;

/// The parameters of the path.
#[derive(Debug, FromRequestParts)]
#[from_request(via(Path), rejection(Error))]
pub(crate) struct UrlPath<T>(pub(crate) T);

/// The parameters of the query. Those nobody here knows are passed over: clients send many.
#[derive(Debug, FromRequestParts)]
#[from_request(via(Query), rejection(Error))]
pub(crate) struct UrlQuery<T>(pub(crate) T);

/// Reads a JSON body.
pub(crate) async fn read_json<T: DeserializeOwned>(body: Body) -> Result<T> {
    let bytes = match axum::body::to_bytes(body, JSON_BYTES_MAX).await {
        Ok(bytes) => bytes,
        Err(error) if is_length_limit(&error) => return Err(Error::BodyTooLarge { limit_bytes: JSON_BYTES_MAX }),
        Err(error) => return Err(Error::Malformed { reason: format!("the body could not be read: {error}") }),
    };
    // Serde would take the fields of a struct from an array too, in their order.
    if bytes.trim_ascii_start().first().is_some_and(|first| *first != b'{') {
        return Err(Error::Malformed { reason: "the body is not as expected: send a JSON object".into() });
    }
    serde_json::from_slice(&bytes)
        .map_err(|error| Error::Malformed { reason: format!("the body is not as expected: {error}") })
}

fn is_length_limit(error: &axum::Error) -> bool {
    std::error::Error::source(error).is_some_and(<dyn std::error::Error>::is::<http_body_util::LengthLimitError>)
}
