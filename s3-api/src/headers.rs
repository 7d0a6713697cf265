//! Headers of objects: read from requests, written into answers; and conditions.

use crate::encoded_words::{decode, encode};
use crate::error_map::Refusal;
use crate::query::Query;
use cistern_objects::http_headers::{ConditionNames, conditions, write_conditions};
pub(crate) use cistern_objects::http_headers::{not_modified_headers, set};
use cistern_objects::{Attributes, Conditions, OBJECT_TAGS_MAX, ObjectHeaders, Retention, RetentionMode, Tags};
use cistern_types::{StorageClass, Timestamp};
use http::header::{
    CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_TYPE, EXPIRES, HeaderName,
};
use http::{HeaderMap, HeaderValue};
use s3s::dto;
use std::collections::BTreeMap;

/// What an object is when nobody said.
pub(crate) const DEFAULT_CONTENT_TYPE: &str = "binary/octet-stream";

/// Room for the headers that a usual answer about an object has.
const ANSWER_HEADERS: usize = 12;

/// What the names of user metadata begin with.
const METADATA_PREFIX: &str = "x-amz-meta-";

/// The headers that a write stores. Encoded words in `x-amz-meta-*` become the text they stand for.
pub(crate) fn stored_headers(headers: &HeaderMap) -> Result<ObjectHeaders, Refusal> {
    let text = |name: HeaderName| match headers.get(&name) {
        None => Ok(None),
        Some(value) if value.is_empty() => Ok(None),
        Some(value) => match std::str::from_utf8(value.as_bytes()) {
            Ok(text) => Ok(Some(text.to_owned())),
            Err(_) => Err(Refusal::invalid_argument(format!("Header {name} is not UTF-8."))),
        },
    };
    Ok(ObjectHeaders {
        content_type: text(CONTENT_TYPE)?,
        content_encoding: text(CONTENT_ENCODING)?.and_then(|coding| without_chunked(&coding)),
        content_disposition: text(CONTENT_DISPOSITION)?,
        content_language: text(CONTENT_LANGUAGE)?,
        cache_control: text(CACHE_CONTROL)?,
        expires: text(EXPIRES)?,
        user: metadata(headers),
    })
}

/// `x-amz-meta-*`; a name that comes again adds to its value after a comma.
fn metadata(headers: &HeaderMap) -> BTreeMap<String, String> {
    let mut metadata = BTreeMap::<String, String>::new();
    for (name, value) in headers {
        let Some(name) = name.as_str().strip_prefix(METADATA_PREFIX).filter(|name| !name.is_empty()) else { continue };
        let value = String::from_utf8_lossy(value.as_bytes());
        let value = decode(&value);
        match metadata.get_mut(name) {
            Some(present) => {
                present.push(',');
                present.push_str(&value);
            }
            None => {
                metadata.insert(name.to_owned(), value.into_owned());
            }
        }
    }
    metadata
}

/// `aws-chunked` codes the request's body, not the object.
fn without_chunked(coding: &str) -> Option<String> {
    let kept: Vec<_> =
        coding.split(',').map(str::trim).filter(|one| !one.eq_ignore_ascii_case("aws-chunked")).collect();
    Some(kept.join(", ")).filter(|coding| !coding.is_empty())
}

/// The headers stored with an object, for answers, exactly as they came.
pub(crate) fn content_headers(stored: &ObjectHeaders) -> HeaderMap {
    let fields = [
        (CONTENT_TYPE, Some(stored.content_type.as_deref().unwrap_or(DEFAULT_CONTENT_TYPE))),
        (CONTENT_ENCODING, stored.content_encoding.as_deref()),
        (CONTENT_DISPOSITION, stored.content_disposition.as_deref()),
        (CONTENT_LANGUAGE, stored.content_language.as_deref()),
        (CACHE_CONTROL, stored.cache_control.as_deref()),
        (EXPIRES, stored.expires.as_deref()),
    ];
    let mut headers = HeaderMap::with_capacity(ANSWER_HEADERS);
    for (name, value) in fields {
        // Stored from a header, so it is one; what another door stored may not be.
        set(&mut headers, name, value.map(str::as_bytes));
    }
    headers
}

/// Adds user metadata to an answer, and how much of it no header can carry.
pub(crate) fn add_metadata(stored: &ObjectHeaders, headers: &mut HeaderMap) {
    let mut missing = 0_u32;
    for (name, value) in &stored.user {
        let name = HeaderName::try_from(format!("{METADATA_PREFIX}{name}")).ok();
        let value = encode(value).and_then(|value| HeaderValue::try_from(value.as_ref()).ok());
        match (name, value) {
            (Some(name), Some(value)) => drop(headers.insert(name, value)),
            _ => missing += 1,
        }
    }
    if missing > 0 {
        headers.insert("x-amz-missing-meta", HeaderValue::from(missing));
    }
}

/// Those on a copy's source.
pub(crate) static SOURCE_CONDITIONS: ConditionNames = ConditionNames {
    matches: HeaderName::from_static("x-amz-copy-source-if-match"),
    none_match: HeaderName::from_static("x-amz-copy-source-if-none-match"),
    modified_since: HeaderName::from_static("x-amz-copy-source-if-modified-since"),
    unmodified_since: HeaderName::from_static("x-amz-copy-source-if-unmodified-since"),
};

/// R2's on a copy's target.
static TARGET_CONDITIONS: ConditionNames = ConditionNames {
    matches: HeaderName::from_static("cf-copy-destination-if-match"),
    none_match: HeaderName::from_static("cf-copy-destination-if-none-match"),
    modified_since: HeaderName::from_static("cf-copy-destination-if-modified-since"),
    unmodified_since: HeaderName::from_static("cf-copy-destination-if-unmodified-since"),
};

/// The conditions on a copy's target: those of any write, and R2's, which go over them and know dates too.
pub(crate) fn target_conditions(headers: &HeaderMap) -> Conditions {
    let (own, plain) = (conditions(headers, &TARGET_CONDITIONS), write_conditions(headers));
    Conditions {
        missing_fails: own.if_match.is_some(),
        if_match: own.if_match.or(plain.if_match),
        if_none_match: own.if_none_match.or(plain.if_none_match),
        ..own
    }
}

/// `x-amz-storage-class`
pub(crate) fn storage_class(headers: &HeaderMap) -> Result<Option<StorageClass>, Refusal> {
    let Some(value) = headers.get("x-amz-storage-class") else { return Ok(None) };
    Ok(Some(value.to_str().unwrap_or_default().parse()?))
}

/// What a write asks the object to carry: `x-amz-tagging` and `x-amz-object-lock-*`.
pub(crate) fn attributes(headers: &HeaderMap) -> Result<Attributes, Refusal> {
    let (retention, legal_hold) = locks(headers)?;
    Ok(Attributes { tags: tagging(headers)?, retention, legal_hold, ..Attributes::default() })
}

/// `x-amz-tagging`: a query string.
pub(crate) fn tagging(headers: &HeaderMap) -> Result<Tags, Refusal> {
    let Some(value) = headers.get("x-amz-tagging") else { return Ok(Tags::default()) };
    let text =
        value.to_str().map_err(|_| Refusal::invalid_argument("The header 'x-amz-tagging' is not ASCII text."))?;
    Ok(Tags::new(Query::parse(text).into_pairs(), OBJECT_TAGS_MAX)?)
}

/// The tags of an XML document, as a form brings them.
pub(crate) fn tags_from_xml(xml: &str) -> Result<Tags, Refusal> {
    let mut reader = s3s::xml::Deserializer::new(xml.as_bytes());
    let tagging = <dto::Tagging as s3s::xml::Deserialize>::deserialize(&mut reader);
    let tagging = tagging.and_then(|tagging| reader.expect_eof().map(|()| tagging));
    tags_of(tagging.map_err(|_| Refusal::malformed_xml())?, OBJECT_TAGS_MAX)
}

/// The tags of a request's XML.
pub(crate) fn tags_of(tagging: dto::Tagging, count_max: usize) -> Result<Tags, Refusal> {
    let pair = |tag: dto::Tag| tag.key.zip(tag.value).ok_or_else(Refusal::malformed_xml);
    let pairs = tagging.tag_set.into_iter().map(pair).collect::<Result<_, _>>()?;
    Ok(Tags::new(pairs, count_max)?)
}

/// `x-amz-object-lock-mode`, `-retain-until-date` and `-legal-hold`.
pub(crate) fn locks(headers: &HeaderMap) -> Result<(Option<Retention>, Option<bool>), Refusal> {
    let text = |name: &str| headers.get(name).map(|value| value.to_str().unwrap_or_default());
    let mode = text("x-amz-object-lock-mode");
    let until = text("x-amz-object-lock-retain-until-date");
    let retention = match (mode, until) {
        (None, None) => None,
        (Some(mode), Some(until)) => {
            let mode = mode_from(mode).ok_or_else(|| Refusal::invalid_argument("Unknown wormMode directive."))?;
            let parsed = dto::Timestamp::parse(dto::TimestampFormat::DateTime, until);
            let until = parsed
                .map_err(|_| Refusal::invalid_argument("The retain until date must be provided in ISO 8601 format."))?;
            Some(Retention { mode, until: instant_of(&until)? })
        }
        _ => {
            return Err(Refusal::invalid_argument(
                "x-amz-object-lock-retain-until-date and x-amz-object-lock-mode must both be supplied",
            ));
        }
    };
    let legal_hold = text("x-amz-object-lock-legal-hold").map(|text| match text {
        "ON" => Ok(true),
        "OFF" => Ok(false),
        _ => Err(Refusal::invalid_argument("Legal Hold must be either of 'ON' or 'OFF'")),
    });
    Ok((retention, legal_hold.transpose()?))
}

/// A mode as S3 spells it.
pub(crate) fn mode_from(text: &str) -> Option<RetentionMode> {
    [RetentionMode::Governance, RetentionMode::Compliance].into_iter().find(|mode| mode.to_string() == text)
}

/// An instant of a request, to the millisecond, rounded so that what an answer said comes back as the same.
pub(crate) fn instant_of(time: &dto::Timestamp) -> Result<Timestamp, Refusal> {
    let nanoseconds = time::OffsetDateTime::from(time.clone()).unix_timestamp_nanos();
    let millis = u64::try_from((nanoseconds + 500_000).div_euclid(1_000_000));
    millis.map(Timestamp::from_millis).map_err(|_| Refusal::invalid_argument("A date before 1970 cannot be."))
}

/// The class as answers to reads carry it: `STANDARD` is not said.
pub(crate) fn class_of(class: StorageClass) -> Option<dto::StorageClass> {
    (class != StorageClass::Standard).then(|| dto::StorageClass::from_static(class.s3_name()))
}

/// A time as shapes carry it.
pub(crate) fn time_of(time: Timestamp) -> dto::Timestamp {
    dto::Timestamp::from(time.to_utc())
}

/// A tag as shapes carry it.
pub(crate) fn etag_of(tag: &cistern_types::ETag) -> dto::ETag {
    dto::ETag::Strong(tag.to_string())
}

/// A size or count as shapes carry it.
pub(crate) fn size_of(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use cistern_objects::TagList;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| ((*name).parse().unwrap(), value.parse().unwrap())).collect()
    }

    #[test]
    fn the_chunked_coding_of_the_request_is_not_the_objects() {
        for (given, kept) in [
            ("aws-chunked", None),
            ("aws-chunked,gzip", Some("gzip")),
            ("gzip, aws-chunked , br", Some("gzip, br")),
            ("deflate, gzip", Some("deflate, gzip")),
            ("gzip", Some("gzip")),
        ] {
            let stored = stored_headers(&headers(&[("content-encoding", given)])).unwrap();
            assert_eq!(stored.content_encoding.as_deref(), kept, "{given}");
        }
    }

    #[test]
    fn stored_headers_come_back_as_they_went() {
        let given = headers(&[
            ("content-type", "text/plain; charset=x"),
            ("cache-control", "no-cache"),
            ("expires", "Thu, 01 Dec 2033 16:00:00 GMT"),
            ("content-language", "de"),
            ("content-disposition", "attachment"),
        ]);
        assert_eq!(content_headers(&stored_headers(&given).unwrap()), given);
        let nothing = stored_headers(&HeaderMap::new()).unwrap();
        assert_eq!(content_headers(&nothing), headers(&[("content-type", DEFAULT_CONTENT_TYPE)]));
    }

    #[test]
    fn metadata_that_no_header_can_carry_is_counted() {
        let user = [("ä", "x"), ("a", "ä"), ("b", "plain"), ("c", "two\nlines")];
        let user = user.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        let mut answer = HeaderMap::new();
        add_metadata(&ObjectHeaders { user, ..ObjectHeaders::default() }, &mut answer);
        let expected = [("x-amz-meta-a", "=?UTF-8?B?w6Q=?="), ("x-amz-meta-b", "plain"), ("x-amz-missing-meta", "2")];
        assert_eq!(answer, headers(&expected));
        let mut answer = HeaderMap::new();
        add_metadata(&ObjectHeaders::default(), &mut answer);
        assert!(answer.is_empty());
    }

    #[test]
    fn metadata_named_twice_is_one_list() {
        let mut given = headers(&[("x-amz-meta-a", "1"), ("x-amz-meta-", "none")]);
        given.append("x-amz-meta-a", HeaderValue::from_static("=?UTF-8?Q?=C3=A4?="));
        let stored = stored_headers(&given).unwrap().user;
        assert_eq!(stored, [("a".to_owned(), "1,ä".to_owned())].into());
    }

    #[test]
    fn conditions_on_a_source_have_names_of_their_own() {
        let copy = headers(&[("x-amz-copy-source-if-match", "*")]);
        assert_eq!(conditions(&copy, &SOURCE_CONDITIONS).if_match, Some(TagList::Any));
        assert!(write_conditions(&copy).is_empty());
    }

    #[test]
    fn conditions_on_a_target_are_those_of_r2_over_those_of_a_write() {
        let (date, time) = ("Sun, 06 Nov 1994 08:49:37 GMT", Timestamp::from_millis(784_111_777_000));
        let given = headers(&[
            ("if-match", "*"),
            ("if-unmodified-since", date),
            ("cf-copy-destination-if-none-match", "*"),
            ("cf-copy-destination-if-modified-since", date),
        ]);
        let expected = Conditions {
            if_match: Some(TagList::Any),
            if_none_match: Some(TagList::Any),
            if_modified_since: Some(time),
            ..Conditions::default()
        };
        assert_eq!(target_conditions(&given), expected);
        assert!(target_conditions(&headers(&[("cf-copy-destination-if-match", "*")])).missing_fails);
    }
}
