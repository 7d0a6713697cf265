//! PutObject: the request's headers become promises about its body, the object store holds it to them.

use super::lifecycle::rules_in_force;
use super::{Answer, Operations, judged, written};
use crate::acl::of_new_object;
use crate::body_stream::RequestBody;
use crate::checksum::{Fields, content_md5, expected, kind_of};
use crate::encryption::{answer_headers, asked, key_of};
use crate::error_map::Refusal;
use crate::headers::{attributes, etag_of, storage_class, stored_headers, write_conditions};
use crate::lifecycle::Candidate;
use crate::notes::Notes;
use cistern_objects::{Attributes, BodyChecks, PutRequest};
use http::HeaderMap;
use s3s::dto::{PutObjectInput, PutObjectOutput};
use s3s::{S3Request, S3Response, TrailingHeaders};

/// What the headers promise about the body. The signed SHA-256 is checked by s3s as the body passes.
pub(super) fn body_checks(headers: &HeaderMap, trailers: Option<TrailingHeaders>) -> Result<BodyChecks, Refusal> {
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

pub(super) async fn put_object(
    Operations { objects, .. }: &Operations,
    notes: &Notes,
    request: S3Request<PutObjectInput>,
) -> Answer<PutObjectOutput> {
    let S3Request { input, headers, trailing_headers, .. } = request;
    let (bucket, key) = judged(notes, &input.key)?;
    let (owner, acl) = of_new_object(notes, &headers)?;
    let encryption = asked(&headers)?;
    let customer_key = key_of(&encryption).cloned();
    let put = PutRequest {
        bucket: bucket.name.clone(),
        key,
        headers: stored_headers(&headers)?,
        attributes: Attributes { owner, acl, ..attributes(&headers)? },
        encryption,
        class: storage_class(&headers)?,
        checks: body_checks(&headers, trailing_headers)?,
        conditions: write_conditions(&headers),
    };
    // Read first: once the object is there, nothing must turn the answer into an error.
    let rules = rules_in_force(objects, notes).await?.map(|rules| (rules, put.attributes.tags.clone()));
    let made = objects.put_in(bucket, put, RequestBody::new(input.body)).await?;
    let expiration = rules.and_then(|(rules, tags)| {
        let (size, modified) = (made.size, made.modified);
        rules.expiration_header(&Candidate { key: &input.key, size, tags: &tags, modified })
    });
    let sums = Fields::stored(made.checksum.as_ref());
    let output = PutObjectOutput {
        checksum_crc32: sums.crc32,
        checksum_crc32c: sums.crc32c,
        checksum_crc64nvme: sums.crc64nvme,
        checksum_sha1: sums.sha1,
        checksum_sha256: sums.sha256,
        checksum_type: made.checksum.as_ref().map(|stored| kind_of(stored.kind)),
        e_tag: Some(etag_of(&made.etag)),
        expiration,
        version_id: written(made.shown_version),
        ..PutObjectOutput::default()
    };
    Ok(S3Response::with_headers(output, answer_headers(made.encryption, customer_key.as_ref())))
}
