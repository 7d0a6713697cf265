//! GetObject and HeadObject: an object's bytes and headers, under conditions and by range or part.

use super::lifecycle::expiration_of;
use super::lock::add_locks;
use super::{Answer, EXPIRATION, Operations, VERSION_ID, judged, shown, version_of};
use crate::body_stream::AnswerBody;
use crate::checksum::add_checksum;
use crate::encryption::{answer_headers, key_of_request};
use crate::error_map::Refusal;
use crate::headers::{add_metadata, content_headers, not_modified_headers, set};
use crate::notes::Notes;
use crate::query::Query;
use cistern_objects::http_headers::{content_range, http_date_text, range, read_conditions};
use cistern_objects::{BucketRecord, ByteRange, CustomerKey, Error, ObjectRecord, Objects, VersionRef};
use cistern_types::{Checksum, ObjectKey, StorageClass};
use http::header::{
    ACCEPT_RANGES, CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_LENGTH,
    CONTENT_RANGE, CONTENT_TYPE, ETAG, EXPIRES, LAST_MODIFIED,
};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri};
use s3s::dto::{ChecksumMode, GetObjectInput, GetObjectOutput, HeadObjectInput, HeadObjectOutput, StreamingBlob};
use s3s::{S3Request, S3Response};

/// What `Range` or `partNumber` asks for.
fn byte_range(headers: &HeaderMap, part: Option<i32>) -> Result<Option<ByteRange>, Refusal> {
    match (range(headers), part) {
        (Some(_), Some(_)) => {
            Err(Refusal::invalid_request("Cannot specify both Range header and partNumber query parameter"))
        }
        (Some(range), None) => Ok(Some(range)),
        (None, Some(part)) => {
            let number = u32::try_from(part).ok().filter(|number| (1..=10_000).contains(number));
            let number = number.ok_or_else(|| {
                Refusal::invalid_argument("Part number must be an integer between 1 and 10000, inclusive")
            })?;
            Ok(Some(ByteRange::Part(number)))
        }
        (None, None) => Ok(None),
    }
}

/// A 304 tells which state the client has, so the record is read again for it.
async fn refused(
    objects: &Objects,
    bucket: &BucketRecord,
    key: &ObjectKey,
    version: Option<VersionRef>,
    error: Error,
) -> Refusal {
    if !matches!(error, Error::NotModified) {
        return error.into();
    }
    match objects.head_in(bucket, key, version).await {
        Ok(record) => Refusal::from(error).with_headers(not_modified_headers(&record)),
        Err(error) => error.into(),
    }
}

/// What a read asks for.
pub(crate) struct Read<'a> {
    pub(crate) key: &'a str,
    pub(crate) version: Option<VersionRef>,
    pub(crate) part: Option<i32>,
    /// Range, conditions and the rest stand there.
    pub(crate) headers: &'a HeaderMap,
}

/// What an operation on an object answers.
pub(crate) struct ObjectAnswer {
    /// Of a read 200, or 206 for some of the bytes.
    pub(crate) status: StatusCode,
    /// All that say something about the object.
    pub(crate) headers: HeaderMap,
    /// What only GET has.
    pub(crate) body: Option<StreamingBlob>,
}

/// Reads an object's bytes.
pub(crate) async fn get(objects: &Objects, notes: &Notes, asked: &Read<'_>) -> Result<ObjectAnswer, Refusal> {
    let Read { version, headers, .. } = *asked;
    let (bucket, key) = judged(notes, asked.key)?;
    let range = byte_range(headers, asked.part)?;
    let customer_key = key_of_request(headers)?;
    let conditions = read_conditions(headers);
    let read = objects.get_in(bucket, &key, version, range, &conditions, customer_key.as_ref()).await;
    let read = match read {
        Ok(read) => read,
        Err(error) => return Err(refused(objects, bucket, &key, version, error).await),
    };
    let (record, range) = (read.record, read.asked);
    let length = read.range.end - read.range.start;
    let shown = Shown {
        record: &record,
        length,
        part_checksum: read.part_checksum.as_ref(),
        whole: read.range == (0..record.size),
        content_range: range.and_then(|_| content_range(&read.range, record.size)),
        parts: parts_count(&record, range),
        expiration: expiration_of(objects, notes, &record, version.is_some()).await?,
        customer_key: customer_key.as_ref(),
    };
    Ok(ObjectAnswer { body: Some(AnswerBody::blob(read.body, length)), ..shown.answer(headers) })
}

/// Reads an object's headers.
pub(crate) async fn head(objects: &Objects, notes: &Notes, asked: &Read<'_>) -> Result<ObjectAnswer, Refusal> {
    let Read { version, headers, .. } = *asked;
    let (bucket, key) = judged(notes, asked.key)?;
    let customer_key = key_of_request(headers)?;
    let record = objects.head_in(bucket, &key, version).await?;
    let range = byte_range(headers, asked.part)?;
    record.check_part(range)?;
    record.check_customer_key(customer_key.as_ref())?;
    let conditions = read_conditions(headers);
    if let Err(error) = conditions.check_read(&record) {
        let not_modified = matches!(error, Error::NotModified);
        let refusal = Refusal::from(error);
        return Err(if not_modified { refusal.with_headers(not_modified_headers(&record)) } else { refusal });
    }
    let range = conditions.range_of(&record, range);
    let part = match range {
        Some(ByteRange::Part(number)) => Some(objects.object_part(&record, number).await?),
        _ => None,
    };
    let bytes = range.map(|range| range.of_size(record.size)).transpose()?.flatten();
    let bytes = bytes.or(part.as_ref().map(|part| part.range.clone()));
    let length = bytes.as_ref().map_or(record.size, |bytes| bytes.end - bytes.start);
    let shown = Shown {
        record: &record,
        length,
        part_checksum: part.as_ref().and_then(|part| part.checksum.as_ref()),
        whole: length == record.size,
        content_range: bytes.and_then(|bytes| content_range(&bytes, record.size)),
        parts: parts_count(&record, range),
        expiration: expiration_of(objects, notes, &record, version.is_some()).await?,
        customer_key: customer_key.as_ref(),
    };
    Ok(shown.answer(headers))
}

/// What an answer shows of an object.
struct Shown<'a> {
    record: &'a ObjectRecord,
    /// Of the bytes that were asked for.
    length: u64,
    part_checksum: Option<&'a Checksum>,
    whole: bool,
    content_range: Option<String>,
    parts: Option<u32>,
    expiration: Option<String>,
    customer_key: Option<&'a CustomerKey>,
}

impl Shown<'_> {
    /// The answer without its body; `asked` are the request's headers.
    fn answer(self, asked: &HeaderMap) -> ObjectAnswer {
        let record = self.record;
        let mut headers = content_headers(&record.headers);
        add_metadata(&record.headers, &mut headers);
        headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
        headers.insert(CONTENT_LENGTH, HeaderValue::from(self.length));
        let status = if self.content_range.is_some() { StatusCode::PARTIAL_CONTENT } else { StatusCode::OK };
        set(&mut headers, ETAG, Some(record.etag.quoted()));
        set(&mut headers, LAST_MODIFIED, Some(http_date_text(record.modified)));
        set(&mut headers, CONTENT_RANGE, self.content_range);
        set(&mut headers, EXPIRATION, self.expiration);
        set(&mut headers, VERSION_ID, shown(record.shown_version));
        if wants_checksum(asked)
            && let Some(stored) = &record.checksum
        {
            let text = match self.part_checksum {
                Some(part) => Some((part.algorithm(), part.to_base64())),
                None => self.whole.then(|| (stored.checksum.algorithm(), stored.to_text())),
            };
            if let Some((algorithm, text)) = text {
                add_checksum(&mut headers, algorithm, text, stored.kind);
            }
        }
        if let Some(parts) = self.parts {
            headers.insert(PARTS_COUNT, HeaderValue::from(parts));
        }
        if record.class != StorageClass::Standard {
            headers.insert(STORAGE_CLASS, HeaderValue::from_static(record.class.s3_name()));
        }
        if !record.attributes.tags.is_empty() {
            headers.insert(TAGGING_COUNT, HeaderValue::from(record.attributes.tags.len()));
        }
        add_locks(&record.attributes, &mut headers);
        headers.extend(answer_headers(record.encryption(), self.customer_key));
        ObjectAnswer { status, headers, body: None }
    }
}

const PARTS_COUNT: HeaderName = HeaderName::from_static("x-amz-mp-parts-count");
const STORAGE_CLASS: HeaderName = HeaderName::from_static("x-amz-storage-class");
const TAGGING_COUNT: HeaderName = HeaderName::from_static("x-amz-tagging-count");

pub(super) async fn get_object(
    Operations { objects, .. }: &Operations,
    notes: &Notes,
    request: S3Request<GetObjectInput>,
) -> Answer<GetObjectOutput> {
    let S3Request { input, headers, uri, .. } = request;
    let version = version_of(input.version_id.as_deref())?;
    let asked = Read { key: &input.key, version, part: input.part_number, headers: &headers };
    let overrides = overrides(notes, &uri)?;
    let ObjectAnswer { headers: mut own, body, .. } = get(objects, notes, &asked).await?;
    own.extend(overrides);
    // By this one s3s knows that the answer is a part.
    let content_range = own.get(CONTENT_RANGE).and_then(|value| value.to_str().ok()).map(ToOwned::to_owned);
    Ok(S3Response::with_headers(GetObjectOutput { body, content_range, ..GetObjectOutput::default() }, own))
}

pub(super) async fn head_object(
    Operations { objects, .. }: &Operations,
    notes: &Notes,
    request: S3Request<HeadObjectInput>,
) -> Answer<HeadObjectOutput> {
    let S3Request { input, headers, uri, .. } = request;
    let version = version_of(input.version_id.as_deref())?;
    let asked = Read { key: &input.key, version, part: input.part_number, headers: &headers };
    let overrides = overrides(notes, &uri)?;
    let mut own = head(objects, notes, &asked).await?.headers;
    own.extend(overrides);
    Ok(S3Response::with_headers(HeadObjectOutput::default(), own))
}

/// The headers that a read asks its answer to have in place of the object's.
fn overrides(notes: &Notes, uri: &Uri) -> Result<HeaderMap, Refusal> {
    let query = uri.query().map(Query::parse).unwrap_or_default();
    let mut overrides = HeaderMap::new();
    for (parameter, name) in [
        ("response-cache-control", CACHE_CONTROL),
        ("response-content-disposition", CONTENT_DISPOSITION),
        ("response-content-encoding", CONTENT_ENCODING),
        ("response-content-language", CONTENT_LANGUAGE),
        ("response-content-type", CONTENT_TYPE),
        ("response-expires", EXPIRES),
    ] {
        let Some(value) = query.only(parameter) else { continue };
        if notes.asker().is_none() {
            // somebody's upload must not become a page of this origin
            return Err(Refusal::invalid_request(
                "Request specific response headers cannot be used for anonymous GET requests.",
            ));
        }
        let value = HeaderValue::try_from(value);
        let value = value.map_err(|_| Refusal::invalid_request(format!("{parameter} cannot be a header's value.")))?;
        overrides.insert(name, value);
    }
    Ok(overrides)
}

fn wants_checksum(headers: &HeaderMap) -> bool {
    headers.get("x-amz-checksum-mode").is_some_and(|mode| mode == ChecksumMode::ENABLED)
}

/// S3 tells how many parts there are to those who ask for one.
fn parts_count(record: &ObjectRecord, range: Option<ByteRange>) -> Option<u32> {
    record.parts.filter(|_| matches!(range, Some(ByteRange::Part(_))))
}
