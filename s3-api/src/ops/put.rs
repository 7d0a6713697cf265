//! PutObject: the request's headers become promises about its body, the object store holds it to them.

use super::lifecycle::rules_in_force;
use super::{Answer, EXPIRATION, Operations, VERSION_ID, judged, written};
use crate::acl::of_new_object;
use crate::body_stream::RequestBody;
use crate::checksum::{Trailing, add_checksum, expected};
use crate::encryption::{answer_headers, asked, key_of};
use crate::error_map::Refusal;
use crate::headers::{attributes, set, storage_class, stored_headers};
use crate::lifecycle::Candidate;
use crate::notes::Notes;
use cistern_objects::http_headers::{content_md5, write_conditions};
use cistern_objects::{Attributes, BodyChecks, Objects, PutRequest};
use http::HeaderMap;
use http::header::ETAG;
use s3s::dto::{PutObjectInput, PutObjectOutput, StreamingBlob};
use s3s::{S3Request, S3Response};

/// What the headers promise about the body. The signed SHA-256 of what comes through s3s is checked there, as the body passes.
pub(super) fn body_checks(headers: &HeaderMap, trailers: Option<Trailing>) -> Result<BodyChecks, Refusal> {
    let (checksum, trailer) = expected(headers, trailers)?;
    let length = body_length(headers)?;
    Ok(BodyChecks { length: Some(length), content_md5: content_md5(headers)?, sha256: None, checksum, trailer })
}

/// The length of the object in the body: of an aws-chunked body it stands in a header of its own.
fn body_length(headers: &HeaderMap) -> Result<u64, Refusal> {
    let decoded = headers.get("x-amz-decoded-content-length");
    let value = decoded.or_else(|| headers.get(http::header::CONTENT_LENGTH));
    let value = value.ok_or_else(|| {
        Refusal::new(("MissingContentLength", 411), "You must provide the Content-Length HTTP header.")
    })?;
    let parsed = value.to_str().ok().and_then(|text| text.parse().ok());
    parsed.ok_or_else(|| Refusal::invalid_argument("The length of the body is not a number."))
}

/// What a write asks for.
pub(crate) struct Write<'a> {
    pub(crate) key: &'a str,
    /// What the object shall be, and what its body has to be.
    pub(crate) headers: &'a HeaderMap,
    pub(crate) body: Option<StreamingBlob>,
    pub(crate) trailers: Option<Trailing>,
    /// What the body has to hash to, if nobody else checks what was signed.
    pub(crate) sha256: Option<[u8; 32]>,
}

/// Writes an object; the headers of the answer.
pub(crate) async fn put(objects: &Objects, notes: &Notes, asks: Write<'_>) -> Result<HeaderMap, Refusal> {
    let Write { key, headers, body, trailers, sha256 } = asks;
    let (bucket, object_key) = judged(notes, key)?;
    let (owner, acl) = of_new_object(notes, headers)?;
    let encryption = asked(headers)?;
    let customer_key = key_of(&encryption).cloned();
    let put = PutRequest {
        bucket: bucket.name.clone(),
        key: object_key,
        headers: stored_headers(headers)?,
        attributes: Attributes { owner, acl, ..attributes(headers)? },
        encryption,
        class: storage_class(headers)?,
        checks: BodyChecks { sha256, ..body_checks(headers, trailers)? },
        conditions: write_conditions(headers),
    };
    // Read first: once the object is there, nothing must turn the answer into an error.
    let rules = rules_in_force(objects, notes).await?.map(|rules| (rules, put.attributes.tags.clone()));
    let made = objects.put_in(bucket, put, RequestBody::new(body)).await?;
    let expiration = rules.and_then(|(rules, tags)| {
        let (size, modified) = (made.size, made.modified);
        rules.expiration_header(&Candidate { key, size, tags: &tags, modified })
    });
    let mut answer = answer_headers(made.encryption, customer_key.as_ref());
    set(&mut answer, ETAG, Some(made.etag.quoted()));
    set(&mut answer, EXPIRATION, expiration);
    set(&mut answer, VERSION_ID, written(made.shown_version));
    if let Some(stored) = &made.checksum {
        add_checksum(&mut answer, stored.checksum.algorithm(), stored.to_text(), stored.kind);
    }
    Ok(answer)
}

pub(super) async fn put_object(
    Operations { objects, .. }: &Operations,
    notes: &Notes,
    request: S3Request<PutObjectInput>,
) -> Answer<PutObjectOutput> {
    let S3Request { input, headers, trailing_headers, extensions, .. } = request;
    let trailers = Trailing::of(trailing_headers, &extensions);
    let asks = Write { key: &input.key, headers: &headers, body: input.body, trailers, sha256: None };
    Ok(S3Response::with_headers(PutObjectOutput::default(), put(objects, notes, asks).await?))
}
