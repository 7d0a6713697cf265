//! `/r2/buckets/{bucket}/objects`: list, and raw bytes in and out, streamed.

use crate::bucket::BucketPath;
use crate::envelope::Success;
use crate::error::{Error, Result};
use crate::request::{UrlPath, UrlQuery};
use crate::state::Admin;
use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use cistern_objects::http_headers::{
    content_md5, content_range, http_date_text, not_modified_headers, range, read_conditions, set, write_conditions,
};
use cistern_objects::{
    BodyChecks, BodyError, DeleteConditions, DeleteItem, EncryptionKind, ListRequest, ObjectHeaders, ObjectRecord,
    PutRequest,
};
use cistern_types::{BucketName, ObjectKey};
use futures::TryStreamExt as _;
use http::header::{
    ACCEPT_RANGES, CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_LENGTH,
    CONTENT_RANGE, CONTENT_TYPE, ETAG, EXPIRES, LAST_MODIFIED,
};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// Keys of a page at most, and when the client does not say.
const PAGE_KEYS: usize = 1000;
/// The class of an object in a request or an answer.
pub(crate) const CLASS_HEADER: HeaderName = HeaderName::from_static("cf-r2-storage-class");
/// What the names of custom metadata begin with.
const METADATA_PREFIX: &str = "x-amz-meta-";

/// The object in a path.
#[derive(Debug, Deserialize)]
pub(crate) struct ObjectPath {
    bucket: String,
    key: String,
}

impl ObjectPath {
    fn names(&self) -> Result<(BucketName, ObjectKey)> {
        Ok((self.bucket.parse()?, self.key.parse()?))
    }
}

#[derive(Debug, Deserialize)]
pub(crate) struct ListQuery {
    #[serde(default)]
    prefix: String,
    delimiter: Option<String>,
    start_after: Option<String>,
    cursor: Option<String>,
    per_page: Option<usize>,
}

pub(crate) async fn list(
    State(admin): State<Admin>,
    UrlPath(path): UrlPath<BucketPath>,
    UrlQuery(query): UrlQuery<ListQuery>,
) -> Result<Success> {
    let limit = query.per_page.unwrap_or(PAGE_KEYS).clamp(1, PAGE_KEYS);
    let request = ListRequest {
        bucket: path.name()?,
        prefix: query.prefix,
        delimiter: query.delimiter.filter(|text| !text.is_empty()),
        after: query.cursor.filter(|cursor| !cursor.is_empty()).or(query.start_after),
        limit,
    };
    let page = admin.objects.list_records(request).await?;
    let info = json!({
        "is_truncated": page.truncated(),
        "cursor": page.next.unwrap_or_default(),
        "per_page": limit,
        "delimited": page.prefixes,
    });
    let objects: Vec<Value> = page.objects.iter().map(listed).collect();
    Ok(Success::new(objects).info(info))
}

pub(crate) async fn put(
    State(admin): State<Admin>,
    UrlPath(path): UrlPath<ObjectPath>,
    headers: HeaderMap,
    body: Body,
) -> Result<Success> {
    let (bucket, key) = path.names()?;
    let mut request = PutRequest::new(bucket, key);
    request.class = text(&headers, &CLASS_HEADER)?.map(|class| class.parse()).transpose()?;
    request.conditions = write_conditions(&headers);
    request.headers = ObjectHeaders {
        content_type: text(&headers, &CONTENT_TYPE)?,
        content_encoding: text(&headers, &CONTENT_ENCODING)?,
        content_disposition: text(&headers, &CONTENT_DISPOSITION)?,
        content_language: text(&headers, &CONTENT_LANGUAGE)?,
        cache_control: text(&headers, &CACHE_CONTROL)?,
        expires: text(&headers, &EXPIRES)?,
        user: custom_metadata(&headers)?,
    };
    let length = text(&headers, &CONTENT_LENGTH)?.map(|length| length.parse()).transpose();
    let length = length.map_err(|_| Error::Malformed { reason: "content-length is no number".into() })?;
    request.checks = BodyChecks { length, content_md5: content_md5(&headers)?, ..BodyChecks::default() };
    let key = request.key.clone();
    let bytes = body.into_data_stream().map_err(|error| BodyError::Io(std::io::Error::other(error)));
    let stored = admin.objects.put(request, bytes).await?;
    Ok(Success::new(json!({
        "key": key,
        "version": stored.version.to_string(),
        "size": stored.size.to_string(),
        "etag": stored.etag.to_string(),
        "uploaded": stored.modified.to_string(),
        "storage_class": stored.class.api_name(),
    })))
}

pub(crate) async fn get(
    State(admin): State<Admin>,
    UrlPath(path): UrlPath<ObjectPath>,
    asked: HeaderMap,
) -> Result<Response> {
    let (bucket, key) = path.names()?;
    let conditions = read_conditions(&asked);
    let read = match admin.objects.get_if(&bucket, &key, None, range(&asked), &conditions, None).await {
        Err(cistern_objects::Error::NotModified) => {
            let record = admin.objects.head(&bucket, &key).await?;
            return Ok(not_modified(&record));
        }
        read => read?,
    };
    let mut headers = headers_of(&read.record);
    let part = read.asked.and_then(|_| content_range(&read.range, read.record.size));
    let status = if part.is_some() { StatusCode::PARTIAL_CONTENT } else { StatusCode::OK };
    headers.insert(CONTENT_LENGTH, HeaderValue::from(read.range.end - read.range.start));
    set(&mut headers, CONTENT_RANGE, part);
    Ok((status, headers, Body::from_stream(read.body)).into_response())
}

pub(crate) async fn head(
    State(admin): State<Admin>,
    UrlPath(path): UrlPath<ObjectPath>,
    asked: HeaderMap,
) -> Result<Response> {
    let (bucket, key) = path.names()?;
    let record = admin.objects.head(&bucket, &key).await?;
    record.check_customer_key(None)?;
    match read_conditions(&asked).check_read(&record) {
        Err(cistern_objects::Error::NotModified) => Ok(not_modified(&record)),
        Err(error) => Err(error.into()),
        Ok(()) => Ok(headers_of(&record).into_response()),
    }
}

/// Says that the client has the object as it is.
fn not_modified(record: &ObjectRecord) -> Response {
    (StatusCode::NOT_MODIFIED, not_modified_headers(record)).into_response()
}

pub(crate) async fn delete(
    State(admin): State<Admin>,
    UrlPath(path): UrlPath<ObjectPath>,
    asked: HeaderMap,
) -> Result<Success> {
    let (bucket, key) = path.names()?;
    let conditions = DeleteConditions { if_match: write_conditions(&asked).if_match, ..DeleteConditions::default() };
    admin.objects.delete_one(&bucket, DeleteItem { conditions, ..key.clone().into() }).await?;
    Ok(Success::new(json!({ "key": key })))
}

/// `x-amz-meta-*`, as S3 clients send it, but as plain text only.
fn custom_metadata(headers: &HeaderMap) -> Result<BTreeMap<String, String>> {
    let mut stored = BTreeMap::new();
    for name in headers.keys() {
        let Some(own) = name.as_str().strip_prefix(METADATA_PREFIX).filter(|own| !own.is_empty()) else { continue };
        stored.insert(own.to_owned(), text(headers, name)?.unwrap_or_default());
    }
    Ok(stored)
}

/// The text of a header; one that is no text is an error.
fn text(headers: &HeaderMap, name: &HeaderName) -> Result<Option<String>> {
    let Some(value) = headers.get(name) else { return Ok(None) };
    let value =
        value.to_str().map_err(|_| Error::Malformed { reason: format!("header {name} is not printable text") })?;
    Ok(Some(value.into()))
}

/// The headers of an answer. What S3 clients stored and no header can carry is left out.
fn headers_of(record: &ObjectRecord) -> HeaderMap {
    let mut headers = HeaderMap::new();
    let stored = &record.headers;
    let content_type = stored.content_type.as_deref().unwrap_or("application/octet-stream");
    for (name, value) in [
        (CONTENT_TYPE, Some(content_type)),
        (CONTENT_LENGTH, Some(record.size.to_string().as_str())),
        (ETAG, Some(record.etag.quoted().as_str())),
        (LAST_MODIFIED, Some(http_date_text(record.modified).as_str())),
        (ACCEPT_RANGES, Some("bytes")),
        (CLASS_HEADER, Some(record.class.api_name())),
        (CONTENT_ENCODING, stored.content_encoding.as_deref()),
        (CONTENT_DISPOSITION, stored.content_disposition.as_deref()),
        (CONTENT_LANGUAGE, stored.content_language.as_deref()),
        (CACHE_CONTROL, stored.cache_control.as_deref()),
        (EXPIRES, stored.expires.as_deref()),
    ] {
        set(&mut headers, name, value);
    }
    for (name, value) in &stored.user {
        if let Ok(name) = HeaderName::try_from(format!("{METADATA_PREFIX}{name}")) {
            set(&mut headers, name, Some(value.as_str()));
        }
    }
    headers
}

fn listed(object: &ObjectRecord) -> Value {
    let stored = &object.headers;
    let http_metadata = [
        ("contentType", &stored.content_type),
        ("contentEncoding", &stored.content_encoding),
        ("contentDisposition", &stored.content_disposition),
        ("contentLanguage", &stored.content_language),
        ("cacheControl", &stored.cache_control),
        ("cacheExpiry", &stored.expires),
    ];
    let given = |(name, value): (&str, &Option<String>)| Some((name.to_owned(), json!(value.as_ref()?)));
    json!({
        "key": object.key,
        "size": object.size,
        "etag": object.etag.to_string(),
        "last_modified": object.modified.to_string(),
        "http_metadata": http_metadata.into_iter().filter_map(given).collect::<Map<_, _>>(),
        "custom_metadata": stored.user,
        "storage_class": object.class.api_name(),
        "ssec": object.encryption() == Some(EncryptionKind::Customer),
    })
}
