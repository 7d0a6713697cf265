//! `/r2/buckets/{bucket}/objects`: list, and raw bytes in and out, streamed.

use crate::bucket::BucketPath;
use crate::envelope::Success;
use crate::error::{Error, Result};
use crate::request::{UrlPath, UrlQuery};
use crate::state::Admin;
use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use cistern_objects::{BodyChecks, BodyError, ListRequest, ListedObject, ObjectHeaders, ObjectRecord, PutRequest};
use cistern_types::{BucketName, ObjectKey, Timestamp};
use futures::TryStreamExt as _;
use http::header::{
    CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_LENGTH, CONTENT_TYPE, ETAG,
    EXPIRES, LAST_MODIFIED,
};
use http::{HeaderMap, HeaderName, HeaderValue};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use time::format_description::FormatItem;
use time::macros::format_description;

/// Keys of a page at most, and when the client does not say.
const PAGE_KEYS: usize = 1000;
/// The class of an object in a request or an answer.
pub(crate) const CLASS_HEADER: HeaderName = HeaderName::from_static("cf-r2-storage-class");
/// `Last-Modified`, as HTTP writes dates.
const HTTP_DATE: &[FormatItem<'_>] =
    format_description!("[weekday repr:short], [day] [month repr:short] [year] [hour]:[minute]:[second] GMT");

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
    let page = admin.objects.list(request).await?;
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
    request.headers = ObjectHeaders {
        content_type: text(&headers, &CONTENT_TYPE)?,
        content_encoding: text(&headers, &CONTENT_ENCODING)?,
        content_disposition: text(&headers, &CONTENT_DISPOSITION)?,
        content_language: text(&headers, &CONTENT_LANGUAGE)?,
        cache_control: text(&headers, &CACHE_CONTROL)?,
        expires: text(&headers, &EXPIRES)?,
        user: std::collections::BTreeMap::new(),
    };
    if let Some(length) = text(&headers, &CONTENT_LENGTH)? {
        let length = length.parse().map_err(|_| Error::Malformed { reason: "content-length is no number".into() })?;
        request.checks = BodyChecks::of_length(length);
    }
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

pub(crate) async fn get(State(admin): State<Admin>, UrlPath(path): UrlPath<ObjectPath>) -> Result<Response> {
    let (bucket, key) = path.names()?;
    let read = admin.objects.get(&bucket, &key, None).await?;
    let headers = headers_of(&read.record);
    Ok((headers, Body::from_stream(read.body)).into_response())
}

pub(crate) async fn head(State(admin): State<Admin>, UrlPath(path): UrlPath<ObjectPath>) -> Result<Response> {
    let (bucket, key) = path.names()?;
    Ok(headers_of(&admin.objects.head(&bucket, &key).await?).into_response())
}

pub(crate) async fn delete(State(admin): State<Admin>, UrlPath(path): UrlPath<ObjectPath>) -> Result<Success> {
    let (bucket, key) = path.names()?;
    admin.objects.delete(&bucket, &key).await?;
    Ok(Success::new(json!({ "key": key })))
}

/// The text of a header; one that is no text is an error.
fn text(headers: &HeaderMap, name: &HeaderName) -> Result<Option<String>> {
    let Some(value) = headers.get(name) else { return Ok(None) };
    let value =
        value.to_str().map_err(|_| Error::Malformed { reason: format!("header {name} is not printable text") })?;
    Ok(Some(value.into()))
}

fn headers_of(record: &ObjectRecord) -> HeaderMap {
    let mut headers = HeaderMap::new();
    let mut set = |name: HeaderName, value: &str| {
        // What S3 clients store may hold bytes that this door would not have taken; it is left out here.
        if let Ok(value) = HeaderValue::from_str(value) {
            headers.insert(name, value);
        }
    };
    let stored = &record.headers;
    set(CONTENT_TYPE, stored.content_type.as_deref().unwrap_or("application/octet-stream"));
    set(CONTENT_LENGTH, &record.size.to_string());
    set(ETAG, &record.etag.quoted());
    set(LAST_MODIFIED, &http_date(record.modified));
    set(CLASS_HEADER, record.class.api_name());
    let optional = [
        (CONTENT_ENCODING, &stored.content_encoding),
        (CONTENT_DISPOSITION, &stored.content_disposition),
        (CONTENT_LANGUAGE, &stored.content_language),
        (CACHE_CONTROL, &stored.cache_control),
        (EXPIRES, &stored.expires),
    ];
    for (name, value) in optional {
        if let Some(value) = value {
            set(name, value);
        }
    }
    headers
}

fn http_date(time: Timestamp) -> String {
    time.to_utc().format(HTTP_DATE).expect("a date of the years 1970 to 9999 has all these fields")
}

fn listed(object: &ListedObject) -> Value {
    json!({
        "key": object.key,
        "size": object.size,
        "etag": object.etag.to_string(),
        "last_modified": object.modified.to_string(),
        "http_metadata": Map::new(),
        "custom_metadata": Map::new(),
        "storage_class": object.class.api_name(),
        "ssec": false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_written_as_http_wants_them() {
        assert_eq!(http_date(Timestamp::from_millis(784_111_777_999)), "Sun, 06 Nov 1994 08:49:37 GMT");
    }
}
