//! PutObject: the request's headers become promises about its body, the object store holds it to them.

use super::lifecycle::rules_in_force;
use super::{Answer, CHECKSUM_TYPE, EXPIRATION, Operations, VERSION_ID, judged, written};
use crate::acl::of_new_object;
use crate::body_stream::RequestBody;
use crate::checksum::{content_md5, expected, kind_text};
use crate::encryption::{answer_headers, asked, key_of};
use crate::error_map::Refusal;
use crate::headers::{attributes, storage_class, stored_headers, write_conditions};
use crate::lifecycle::Candidate;
use crate::notes::Notes;
use cistern_objects::{Attributes, BodyChecks, Objects, PutRequest};
use http::header::ETAG;
use http::{HeaderMap, HeaderName, HeaderValue};
use s3s::dto::{PutObjectInput, PutObjectOutput, StreamingBlob};
use s3s::{S3Request, S3Response, TrailingHeaders};

/// What the headers promise about the body. The signed SHA-256 of what comes through s3s is checked there, as the body passes.
pub(crate) fn body_checks(headers: &HeaderMap, trailers: Option<TrailingHeaders>) -> Result<BodyChecks, Refusal> {
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

/// Writes an object as `headers` say, whose body has to pass `checks`; the headers of the answer.
pub(crate) async fn put(
    objects: &Objects,
    notes: &Notes,
    (key, headers): (&str, &HeaderMap),
    body: Option<StreamingBlob>,
    checks: BodyChecks,
) -> Result<HeaderMap, Refusal> {
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
        checks,
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
    let mut add = |name: HeaderName, text: Option<String>| {
        if let Some(value) = text.and_then(|text| HeaderValue::try_from(text).ok()) {
            answer.insert(name, value);
        }
    };
    add(ETAG, Some(made.etag.quoted()));
    add(EXPIRATION, expiration);
    add(VERSION_ID, written(made.shown_version));
    if let Some(stored) = &made.checksum {
        add(HeaderName::from_static(stored.checksum.algorithm().header()), Some(stored.to_text()));
        answer.insert(CHECKSUM_TYPE, HeaderValue::from_static(kind_text(stored.kind)));
    }
    Ok(answer)
}

pub(super) async fn put_object(
    Operations { objects, .. }: &Operations,
    notes: &Notes,
    request: S3Request<PutObjectInput>,
) -> Answer<PutObjectOutput> {
    let S3Request { input, headers, trailing_headers, .. } = request;
    let checks = body_checks(&headers, trailing_headers)?;
    let answer = put(objects, notes, (&input.key, &headers), input.body, checks).await?;
    Ok(S3Response::with_headers(PutObjectOutput::default(), answer))
}
