//! HTTP's own headers about objects, which every door reads and writes alike: conditions, ranges, dates and `Content-MD5`.

use crate::{ByteRange, Conditions, Error, IfRange, ObjectRecord, Result, TagList};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use cistern_types::Timestamp;
use http::header::{
    AsHeaderName, ETAG, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, IF_UNMODIFIED_SINCE, LAST_MODIFIED, RANGE,
};
use http::{HeaderMap, HeaderName, HeaderValue};
use std::ops::Range;
use std::time::{Duration, SystemTime};
use time::PrimitiveDateTime;
use time::format_description::BorrowedFormatItem;
use time::macros::format_description;

/// `Sun, 06 Nov 1994 08:49:37 GMT`
const HTTP_DATE: &[BorrowedFormatItem<'_>] =
    format_description!("[weekday repr:short], [day] [month repr:short] [year] [hour]:[minute]:[second] GMT");

/// `Sun Nov  6 08:49:37 1994`
const ASCTIME: &[BorrowedFormatItem<'_>] =
    format_description!("[weekday repr:short] [month repr:short] [day padding:space] [hour]:[minute]:[second] [year]");

/// `06-Nov-1994 08:49:37 GMT`: what RFC 850 has behind the weekday, with all of the year.
const RFC850_REST: &[BorrowedFormatItem<'_>] =
    format_description!("[day]-[month repr:short]-[year] [hour]:[minute]:[second] GMT");

/// The headers that conditions are in.
#[derive(Debug)]
pub struct ConditionNames {
    /// As `If-Match`.
    pub matches: HeaderName,
    /// As `If-None-Match`.
    pub none_match: HeaderName,
    /// As `If-Modified-Since`.
    pub modified_since: HeaderName,
    /// As `If-Unmodified-Since`.
    pub unmodified_since: HeaderName,
}

/// HTTP's own.
static PLAIN_CONDITIONS: ConditionNames = ConditionNames {
    matches: IF_MATCH,
    none_match: IF_NONE_MATCH,
    modified_since: IF_MODIFIED_SINCE,
    unmodified_since: IF_UNMODIFIED_SINCE,
};

/// The conditions of a request. Dates that are none are ignored, as HTTP asks.
pub fn conditions(headers: &HeaderMap, names: &ConditionNames) -> Conditions {
    let date = |name: &HeaderName| all_of(headers, name).and_then(|text| http_date(&text));
    let tags = |name: &HeaderName| all_of(headers, name).map(|text| TagList::parse(&text));
    Conditions {
        if_match: tags(&names.matches),
        if_none_match: tags(&names.none_match),
        if_modified_since: date(&names.modified_since),
        if_unmodified_since: date(&names.unmodified_since),
        ..Conditions::default()
    }
}

/// A header that came in several lines is one list. What is no text matches nothing, but is there.
pub fn all_of(headers: &HeaderMap, name: impl AsHeaderName) -> Option<String> {
    let mut lines = headers.get_all(name).iter().map(|value| String::from_utf8_lossy(value.as_bytes()));
    let first = lines.next()?.into_owned();
    Some(lines.fold(first, |all, line| all + "," + &line))
}

/// The conditions of a read: those and `If-Range`.
pub fn read_conditions(headers: &HeaderMap) -> Conditions {
    // One pass over the few headers that came costs less than five look-ups.
    if !headers.keys().any(|name| name.as_str().starts_with("if-")) {
        return Conditions::default();
    }
    Conditions { if_range: if_range(headers), ..conditions(headers, &PLAIN_CONDITIONS) }
}

/// `If-Range`: a tag, or a date.
fn if_range(headers: &HeaderMap) -> Option<IfRange> {
    let text = headers.get(IF_RANGE)?.to_str().unwrap_or_default().trim();
    match http_date(text) {
        Some(time) => Some(IfRange::Modified(time)),
        None => Some(IfRange::Tag(text.starts_with('"').then(|| text.parse().ok()).flatten())),
    }
}

/// The conditions of a write: S3 knows the tag conditions only.
pub fn write_conditions(headers: &HeaderMap) -> Conditions {
    Conditions { if_modified_since: None, if_unmodified_since: None, ..conditions(headers, &PLAIN_CONDITIONS) }
}

/// The bytes that `Range` asks for. Several ranges, other units and what is malformed ask for nothing, as in S3.
pub fn range(headers: &HeaderMap) -> Option<ByteRange> {
    let (unit, range) = headers.get(RANGE)?.to_str().ok()?.split_once('=')?;
    if !unit.trim().eq_ignore_ascii_case("bytes") {
        return None;
    }
    match range.trim().split_once('-')? {
        ("", bytes) => position(bytes).map(ByteRange::Suffix),
        (first, "") => Some(ByteRange::FromTo(position(first)?, None)),
        (first, last) => {
            let (first, last) = (position(first)?, position(last)?);
            (first <= last).then_some(ByteRange::FromTo(first, Some(last)))
        }
    }
}

/// A number of bytes; one that is too large is as large as can be.
fn position(digits: &str) -> Option<u64> {
    let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| digits.parse().unwrap_or(u64::MAX))
}

/// A time as HTTP headers carry it; their years end with 9999.
pub fn http_date_text(time: Timestamp) -> String {
    const LAST_SECOND: u64 = 253_402_300_799;
    httpdate::fmt_http_date(SystemTime::UNIX_EPOCH + Duration::from_secs(time.as_seconds().min(LAST_SECOND)))
}

/// A date in any of HTTP's three forms.
fn http_date(text: &str) -> Option<Timestamp> {
    let text = text.trim();
    let date = PrimitiveDateTime::parse(text, HTTP_DATE).or_else(|_| PrimitiveDateTime::parse(text, ASCTIME));
    let seconds = date.ok().or_else(|| rfc850_date(text))?.assume_utc().unix_timestamp();
    u64::try_from(seconds).ok()?.checked_mul(1000).map(Timestamp::from_millis)
}

/// `Sunday, 06-Nov-94 08:49:37 GMT`; years from 70 on are of the last century.
fn rfc850_date(text: &str) -> Option<PrimitiveDateTime> {
    let (weekday, rest) = text.split_once(", ")?;
    let (day_and_month, year, time) = (rest.get(..7)?, rest.get(7..9)?, rest.get(9..)?);
    let century = if year >= "70" { "19" } else { "20" };
    let whole = format!("{day_and_month}{century}{year}{time}");
    let named = weekday.ends_with("day");
    PrimitiveDateTime::parse(&whole, RFC850_REST).ok().filter(|_| named)
}

/// Sets a header of an answer, if there is a value. What no header can carry is left out.
pub fn set<V>(headers: &mut HeaderMap, name: HeaderName, value: Option<V>)
where
    HeaderValue: TryFrom<V>,
{
    if let Some(value) = value.and_then(|value| HeaderValue::try_from(value).ok()) {
        headers.insert(name, value);
    }
}

/// The headers of a 304 answer: what says which state the client has.
pub fn not_modified_headers(record: &ObjectRecord) -> HeaderMap {
    let mut headers = HeaderMap::new();
    set(&mut headers, ETAG, Some(record.etag.quoted()));
    set(&mut headers, LAST_MODIFIED, Some(http_date_text(record.modified)));
    headers
}

/// `Content-Range`: where in an object of so many bytes these are; `None` when they are none.
pub fn content_range(range: &Range<u64>, size_bytes: u64) -> Option<String> {
    (!range.is_empty()).then(|| format!("bytes {}-{}/{size_bytes}", range.start, range.end - 1))
}

/// `Content-MD5`, if there is one; `InvalidDigest` when it is not the base64 of 16 bytes.
pub fn content_md5(headers: &HeaderMap) -> Result<Option<[u8; 16]>> {
    let Some(value) = headers.get("content-md5") else { return Ok(None) };
    let decoded = STANDARD.decode(value.as_bytes()).ok().and_then(|bytes| bytes.try_into().ok());
    decoded.map(Some).ok_or_else(|| Error::InvalidDigest { header: "Content-MD5".into() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let pair = |(name, value): &(&'static str, &str)| {
            (HeaderName::from_static(name), HeaderValue::from_bytes(value.as_bytes()).unwrap())
        };
        pairs.iter().map(pair).collect()
    }

    #[test]
    fn dates_are_written_as_they_are_read() {
        for (millis, text) in [
            (784_111_777_999, "Sun, 06 Nov 1994 08:49:37 GMT"),
            (0, "Thu, 01 Jan 1970 00:00:00 GMT"),
            (u64::MAX, "Fri, 31 Dec 9999 23:59:59 GMT"),
        ] {
            assert_eq!(http_date_text(Timestamp::from_millis(millis)), text);
        }
        assert_eq!(http_date("Sun, 06 Nov 1994 08:49:37 GMT"), Some(Timestamp::from_millis(784_111_777_000)));
    }

    #[test]
    fn ranges_are_one_run_of_bytes_or_nothing() {
        use ByteRange::{FromTo, Suffix};
        for (text, expected) in [
            ("bytes=0-1", Some(FromTo(0, Some(1)))),
            ("Bytes = 5-", Some(FromTo(5, None))),
            ("bytes=-7", Some(Suffix(7))),
            ("bytes=0-99999999999999999999999", Some(FromTo(0, Some(u64::MAX)))),
            ("bytes=5-4", None),
            ("bytes=0-1,3-4", None),
            ("bytes=-", None),
            ("bytes=", None),
            ("bytes=+1-2", None),
            ("bytes=a-b", None),
            ("lines=0-1", None),
            ("0-1", None),
        ] {
            assert_eq!(range(&headers(&[("range", text)])), expected, "{text}");
        }
        assert_eq!(range(&HeaderMap::new()), None);
    }

    #[test]
    fn dates_that_are_none_are_no_conditions() {
        let read =
            |date: &str| conditions(&headers(&[("if-modified-since", date)]), &PLAIN_CONDITIONS).if_modified_since;
        for date in [
            "Sun, 06 Nov 1994 08:49:37 GMT",
            " Sun, 06 Nov 1994 08:49:37 GMT",
            "Sunday, 06-Nov-94 08:49:37 GMT",
            "Sun Nov  6 08:49:37 1994",
        ] {
            assert_eq!(read(date), Some(Timestamp::from_millis(784_111_777_000)), "{date}");
        }
        assert_eq!(read("Thursday, 01-Jan-26 00:00:00 GMT"), Some(Timestamp::from_millis(1_767_225_600_000)));
        for none in [
            "yesterday",
            "Sun, 06 Nov 1994 08:49:37 +0100",
            "Sunday, 06-Nov-94",
            "Sunday, 06-Növ-94 08:49:37 GMT",
            ", ",
        ] {
            assert_eq!(read(none), None, "{none}");
        }
    }
}
