//! Judges the head of a request before `s3s` sees it, where S3 is stricter than `s3s`.
//!
//! Refused here: signature version 2 (always on in s3s, and compared in variable time), two signatures at once, stale or far-reaching signatures, and `x-amz-*` headers and R2's own that the signature does not
//! cover: whoever holds a presigned PUT could otherwise add `x-amz-copy-source` and read what its signer may read.
//! What a presigned URL says in its query instead of headers, as some SDKs write it, becomes those headers.
//! Pure: the head and the time come in, a refusal comes out. Whether a signature is right is s3s's to say.

use crate::error_map::refusal;
use crate::query::Query;
use crate::r2;
use crate::signature::{ALGORITHM, AMZ_DATE, CONTENT_SHA256};
use cistern_types::Timestamp;
use http::header::{AUTHORIZATION, CONTENT_TYPE, DATE};
use http::{HeaderMap, HeaderName, HeaderValue, Uri};
use s3s::S3Error;
use std::ops::Range;
use std::time::Duration;
use time::format_description::BorrowedFormatItem;
use time::format_description::well_known::Rfc2822;
use time::macros::format_description;
use time::{Date, Month, OffsetDateTime, PrimitiveDateTime, Time, UtcOffset};

/// The longest life of a presigned URL: seven days.
const PRESIGNED_SECONDS_MAX: u64 = 604_800;

/// `20130524T000000Z`
const AMZ_DATE_FORM: &[BorrowedFormatItem<'_>] = format_description!("[year][month][day]T[hour][minute][second]Z");

/// `x-amz-*` headers that need not be signed: the payload's hash checks itself or is in the signature anyway, the other
/// two mean nothing here.
const UNSIGNED_HEADERS: [&str; 3] = ["x-amz-content-sha256", "x-amz-user-agent", "x-amz-request-payer"];

/// Headers that a presigned URL may have in its query. Not those that S3 does not read there: tags, the source of a copy, and checksums, which
/// SDKs compute of the empty body that they sign.
const HEADERS_IN_QUERY: [&str; 14] = [
    "x-amz-acl",
    "x-amz-checksum-mode",
    "x-amz-expected-bucket-owner",
    "x-amz-grant-full-control",
    "x-amz-grant-read",
    "x-amz-grant-read-acp",
    "x-amz-grant-write",
    "x-amz-grant-write-acp",
    "x-amz-object-lock-legal-hold",
    "x-amz-object-lock-mode",
    "x-amz-object-lock-retain-until-date",
    "x-amz-server-side-encryption",
    "x-amz-storage-class",
    "x-amz-website-redirect-location",
];

/// Where a request says who signed it; whether that is right is another question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Signature {
    Missing,
    InHeader,
    InQuery,
}

/// What is judged by.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Screen {
    pub(crate) now: Timestamp,
    pub(crate) clock_skew_max: Duration,
}

impl Screen {
    /// Refuses what s3s must not see; of anything else, where its signature is.
    ///
    /// A request that is dated by a signed `Date` alone gets the `x-amz-date` that s3s asks for: the signature covers only what it names.
    pub(crate) fn check(&self, uri: &Uri, headers: &mut HeaderMap) -> Result<Signature, S3Error> {
        let query = uri.query().map(Query::parse).unwrap_or_default();
        let by_date = date_by_date(headers);
        let signature = self.check_signatures(&query, headers, by_date.as_ref())?;
        if let Some(date) = by_date {
            headers.insert(&AMZ_DATE, date);
        }
        if signature == Signature::InQuery {
            add_headers_of_query(query, headers)?;
        }
        Ok(signature)
    }

    fn check_signatures(
        &self,
        query: &Query,
        headers: &HeaderMap,
        by_date: Option<&HeaderValue>,
    ) -> Result<Signature, S3Error> {
        let mut authorizations = headers.get_all(AUTHORIZATION).iter();
        let authorization = authorizations.next().map(|value| value.as_bytes().trim_ascii()).filter(|v| !v.is_empty());
        if query.has("Signature")
            || query.has("AWSAccessKeyId")
            || authorization.is_some_and(|v| v.starts_with(b"AWS "))
        {
            return Err(refusal(
                ("InvalidRequest", 400),
                "The authorization mechanism you have provided is not supported. Please use AWS4-HMAC-SHA256.",
            ));
        }
        let presigned = query.has("X-Amz-Signature");
        match (authorization, presigned) {
            (None, false) => Ok(Signature::Missing), // anonymous: refused by the access check
            (None, true) => self.check_presigned(query, headers).map(|()| Signature::InQuery),
            (Some(value), false) if authorizations.next().is_none() => {
                self.check_signed(value, headers, by_date).map(|()| Signature::InHeader)
            }
            (Some(_), _) => Err(refusal(
                ("InvalidArgument", 400),
                "Only one auth mechanism allowed; only the X-Amz-Algorithm query parameter, Signature query string \
                 parameter or the Authorization header should be specified",
            )),
        }
    }

    fn check_signed(
        &self,
        authorization: &[u8],
        headers: &HeaderMap,
        by_date: Option<&HeaderValue>,
    ) -> Result<(), S3Error> {
        let authorization = std::str::from_utf8(authorization).unwrap_or_default();
        let Some(fields) = authorization.strip_prefix(ALGORITHM) else {
            return Err(refusal(("InvalidArgument", 400), "Unsupported Authorization Type"));
        };
        let field = |name: &str| fields.split(',').find_map(|field| field.trim().strip_prefix(name));
        let malformed = || {
            refusal(("AuthorizationHeaderMalformed", 400), "The authorization header that you provided is not valid.")
        };
        let signed = field("SignedHeaders=").ok_or_else(malformed)?;
        let credential = field("Credential=").filter(|_| field("Signature=").is_some()).ok_or_else(malformed)?;
        check_service(credential).map_err(|text| refusal(("AuthorizationHeaderMalformed", 400), text))?;
        let date = headers.get(&AMZ_DATE).or(by_date).and_then(|value| value.to_str().ok()).and_then(amz_date);
        let date = date.ok_or_else(|| {
            refusal(("AccessDenied", 403), "AWS authentication requires a valid Date or x-amz-date header")
        })?;
        if date.since(self.now) > self.clock_skew_max || self.now.since(date) > self.clock_skew_max {
            return Err(too_skewed());
        }
        check_covered(signed, headers)?;
        check_payload_hash(headers)
    }

    fn check_presigned(&self, query: &Query, headers: &HeaderMap) -> Result<(), S3Error> {
        let field = |name: &str| {
            query.only(name).ok_or_else(|| {
                refusal(
                    ("AuthorizationQueryParametersError", 400),
                    "Query-string authentication version 4 requires the X-Amz-Algorithm, X-Amz-Credential, \
                     X-Amz-Signature, X-Amz-Date, X-Amz-SignedHeaders, and X-Amz-Expires parameters.",
                )
            })
        };
        if field("X-Amz-Algorithm")? != ALGORITHM {
            return Err(refusal(
                ("AuthorizationQueryParametersError", 400),
                "X-Amz-Algorithm only supports \"AWS4-HMAC-SHA256\"",
            ));
        }
        check_service(field("X-Amz-Credential")?)
            .map_err(|text| refusal(("AuthorizationQueryParametersError", 400), text))?;
        field("X-Amz-Signature")?;
        let date = amz_date(field("X-Amz-Date")?).ok_or_else(|| {
            refusal(
                ("AuthorizationQueryParametersError", 400),
                "X-Amz-Date must be in the ISO8601 Long Format \"yyyyMMdd'T'HHmmss'Z'\"",
            )
        })?;
        let expires = field("X-Amz-Expires")?.parse::<u64>().ok().filter(|s| (1..=PRESIGNED_SECONDS_MAX).contains(s));
        let expires = expires.ok_or_else(|| {
            refusal(
                ("AccessDenied", 403),
                "X-Amz-Expires must be a number of seconds from 1 to 604800, which is a week.",
            )
        })?;
        if date.since(self.now) > self.clock_skew_max {
            return Err(too_skewed());
        }
        if self.now.since(date) > Duration::from_secs(expires) {
            return Err(refusal(("AccessDenied", 403), "Request has expired"));
        }
        check_covered(field("X-Amz-SignedHeaders")?, headers)
    }
}

/// Adds the headers that a presigned URL has in its query, which its signature covers; a header that came itself counts.
fn add_headers_of_query(query: Query, headers: &mut HeaderMap) -> Result<(), S3Error> {
    for (name, value) in query.into_pairs() {
        let name = name.to_ascii_lowercase();
        if !name.starts_with("x-amz-meta-") && !HEADERS_IN_QUERY.contains(&name.as_str()) {
            continue;
        }
        let malformed =
            || refusal(("InvalidArgument", 400), format!("{name} in the query is not the value of a header."));
        let name = HeaderName::try_from(&name).map_err(|_| malformed())?;
        let value = HeaderValue::try_from(value).map_err(|_| malformed())?;
        headers.entry(name).or_insert(value);
    }
    Ok(())
}

/// The words of a credential's scope are key, date, region, service and `aws4_request`.
fn check_service(credential: &str) -> Result<(), String> {
    match credential.rsplit('/').nth(1) {
        Some(service) if service != "s3" => {
            Err(format!("The credential is malformed; incorrect service {service:?}. This endpoint belongs to \"s3\"."))
        }
        _ => Ok(()),
    }
}

fn too_skewed() -> S3Error {
    refusal(
        ("RequestTimeTooSkewed", 403),
        "The difference between the request time and the server's time is too large.",
    )
}

/// `Host`, every `x-amz-*` header that came and every one of R2's that does something must be among the signed ones.
fn check_covered(signed: &str, headers: &HeaderMap) -> Result<(), S3Error> {
    let covers = |name: &str| signed.split(';').any(|own| own.trim().eq_ignore_ascii_case(name));
    let names = headers.keys().map(HeaderName::as_str);
    let must_be = |name: &&str| (name.starts_with("x-amz-") && !UNSIGNED_HEADERS.contains(name)) || r2::is_own(name);
    let uncovered = names.filter(must_be);
    match std::iter::once("host").chain(uncovered).find(|name| !covers(name)) {
        None => Ok(()),
        Some(name) => Err(refusal(
            ("AccessDenied", 403),
            format!("There were headers present in the request which were not signed: {name}"),
        )),
    }
}

fn check_payload_hash(headers: &HeaderMap) -> Result<(), S3Error> {
    let Some(value) = headers.get(&CONTENT_SHA256) else {
        return Err(refusal(("InvalidRequest", 400), "Missing required header for this request: x-amz-content-sha256"));
    };
    let value = value.as_bytes();
    let is_hash = value.len() == 64 && value.iter().all(u8::is_ascii_hexdigit);
    if is_hash || value == b"UNSIGNED-PAYLOAD" || value.starts_with(b"STREAMING-") {
        return Ok(());
    }
    Err(refusal(
        ("InvalidArgument", 400),
        "x-amz-content-sha256 must be UNSIGNED-PAYLOAD, STREAMING-UNSIGNED-PAYLOAD-TRAILER, \
         STREAMING-AWS4-HMAC-SHA256-PAYLOAD, STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER or a valid sha256 value.",
    ))
}

/// The signed `Date` of a request without `x-amz-date`, in that header's form.
fn date_by_date(headers: &HeaderMap) -> Option<HeaderValue> {
    if headers.contains_key(&AMZ_DATE) {
        return None;
    }
    let authorization = headers.get(AUTHORIZATION)?.to_str().ok()?;
    let signed = authorization.split(',').find_map(|field| field.trim().strip_prefix("SignedHeaders="))?;
    if !signed.split(';').any(|name| name.eq_ignore_ascii_case("date")) {
        return None;
    }
    let date = OffsetDateTime::parse(headers.get(DATE)?.to_str().ok()?, &Rfc2822).ok()?;
    HeaderValue::try_from(date.checked_to_offset(UtcOffset::UTC)?.format(AMZ_DATE_FORM).ok()?).ok()
}

/// A browser's form. At least as broad as what s3s takes for one.
pub(crate) fn is_form(headers: &HeaderMap) -> bool {
    let mut types = headers.get_all(CONTENT_TYPE).iter();
    types.any(|value| {
        let text = String::from_utf8_lossy(value.as_bytes()).to_ascii_lowercase();
        let compact: String = text.chars().filter(|letter| !letter.is_whitespace()).collect();
        compact.starts_with("multipart/form-data")
    })
}

/// A time as `x-amz-date` has it.
pub(crate) fn amz_date(text: &str) -> Option<Timestamp> {
    let bytes = text.as_bytes();
    let number = |digits: Range<usize>| {
        bytes
            .get(digits)?
            .iter()
            .try_fold(0_u16, |number, digit| digit.is_ascii_digit().then(|| number * 10 + u16::from(digit - b'0')))
    };
    let small = |digits| number(digits).and_then(|number| u8::try_from(number).ok());
    if bytes.len() != 16 || bytes[8] != b'T' || bytes[15] != b'Z' {
        return None;
    }
    let month = Month::try_from(small(4..6)?).ok()?;
    let date = Date::from_calendar_date(number(0..4)?.into(), month, small(6..8)?).ok()?;
    let time = Time::from_hms(small(9..11)?, small(11..13)?, small(13..15)?).ok()?;
    let seconds = PrimitiveDateTime::new(date, time).assume_utc().unix_timestamp();
    u64::try_from(seconds).ok()?.checked_mul(1000).map(Timestamp::from_millis)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DATE: &str = "20260501T120000Z";

    /// Judges at `seconds` after [`DATE`] and answers the code, or `ok`.
    fn judge(seconds: i64, uri: &str, headers: &[(&str, &str)]) -> String {
        let now = amz_date(DATE).unwrap().as_millis().checked_add_signed(seconds * 1000).unwrap();
        let screen = Screen { now: Timestamp::from_millis(now), clock_skew_max: Duration::from_mins(15) };
        let mut headers = headers.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect();
        match screen.check(&uri.parse().unwrap(), &mut headers) {
            Ok(_) => "ok".into(),
            Err(error) => format!("{} {}", error.code().as_str(), error.status_code().unwrap().as_u16()),
        }
    }

    fn authorization(signed: &str) -> String {
        format!("AWS4-HMAC-SHA256 Credential=CK/20260501/auto/s3/aws4_request, SignedHeaders={signed}, Signature=00")
    }

    #[track_caller]
    fn check_header(seconds: i64, signed: &str, more: &[(&str, &str)], expected: &str) {
        let authorization = authorization(signed);
        let mut headers = vec![("authorization", authorization.as_str()), ("x-amz-date", DATE)];
        headers.push(("x-amz-content-sha256", "UNSIGNED-PAYLOAD"));
        headers.retain(|(name, _)| !more.iter().any(|(own, _)| own == name));
        headers.extend(more.iter().filter(|(_, value)| !value.is_empty()));
        assert_eq!(judge(seconds, "/b/k", &headers), expected, "{signed} {more:?}");
    }

    #[test]
    fn a_clock_may_be_a_quarter_of_an_hour_off() {
        for seconds in [-900, 0, 900] {
            check_header(seconds, "host;x-amz-date", &[], "ok");
        }
        for seconds in [-901, 901, 86_400] {
            check_header(seconds, "host;x-amz-date", &[], "RequestTimeTooSkewed 403");
        }
    }

    #[test]
    fn the_signature_must_cover_host_and_every_amz_header() {
        check_header(0, "host;x-amz-copy-source;x-amz-date", &[("x-amz-copy-source", "b/k")], "ok");
        check_header(0, "host;x-amz-date", &[("x-amz-copy-source", "b/k")], "AccessDenied 403");
        check_header(0, "x-amz-date", &[], "AccessDenied 403");
        check_header(0, "host", &[], "AccessDenied 403");
        check_header(0, "host;x-amz-date", &[("x-amz-user-agent", "sdk"), ("range", "bytes=0-1")], "ok");
        check_header(0, "host;x-amz-date", &[("cf-create-bucket-if-missing", "true")], "AccessDenied 403");
        check_header(0, "host;x-amz-date", &[("cf-ray", "8a1b2c")], "ok");
    }

    #[test]
    fn what_a_signed_request_needs_must_be_there_and_well_formed() {
        check_header(0, "host;x-amz-date", &[("x-amz-date", "")], "AccessDenied 403");
        check_header(0, "host;x-amz-date", &[("x-amz-date", "yesterday")], "AccessDenied 403");
        check_header(0, "host;x-amz-date", &[("x-amz-content-sha256", "")], "InvalidRequest 400");
        check_header(0, "host;x-amz-date", &[("x-amz-content-sha256", "abc")], "InvalidArgument 400");
        check_header(0, "host;x-amz-date", &[("authorization", "Basic YTpi")], "InvalidArgument 400");
        check_header(
            0,
            "host;x-amz-date",
            &[("authorization", "AWS4-HMAC-SHA256 x")],
            "AuthorizationHeaderMalformed 400",
        );
    }

    #[test]
    fn dates_are_read_as_the_format_has_them() {
        let formatted = |text: &str| {
            let date: OffsetDateTime = PrimitiveDateTime::parse(text, AMZ_DATE_FORM).ok()?.assume_utc();
            u64::try_from(date.unix_timestamp()).ok().map(|seconds| Timestamp::from_millis(seconds * 1000))
        };
        for text in [
            "20260501T120000Z",
            "20240229T235959Z",
            "20230229T000000Z",
            "20261301T000000Z",
            "20260500T000000Z",
            "20260501T240000Z",
            "20260501T006000Z",
            "19691231T235959Z",
            "99991231T235959Z",
            "20260501t120000Z",
            "20260501T120000",
            "20260501T1200000Z",
            "2026+501T120000Z",
            "2026050äT120000Z",
            "",
        ] {
            assert_eq!(amz_date(text), formatted(text), "{text}");
        }
        assert!(amz_date("20260501T120000Z").is_some());
    }

    #[test]
    fn signature_version_2_is_refused_however_it_is_spelt() {
        let expected = "InvalidRequest 400";
        check_header(0, "host;x-amz-date", &[("authorization", "AWS CK:c2ln")], expected);
        for query in ["AWSAccessKeyId=CK&Signature=x&Expires=1", "%53ignature=x", "Signature"] {
            assert_eq!(judge(0, &format!("/b/k?{query}"), &[]), expected, "{query}");
        }
    }

    #[test]
    fn forms_are_known_however_they_are_spelt() {
        for (kind, expected) in [
            ("multipart/form-data; boundary=x", true),
            ("Multipart/Form-Data;boundary=x", true),
            (" multipart / form-data", true),
            ("multipart/mixed", false),
        ] {
            let headers = [(CONTENT_TYPE, kind.parse().unwrap())].into_iter().collect();
            assert_eq!(is_form(&headers), expected, "{kind}");
        }
    }

    #[test]
    fn a_signed_date_stands_for_an_amz_date() {
        let authorization = authorization("date;host");
        let date = |date: &str| {
            let sent = [
                ("authorization", authorization.as_str()),
                ("date", date),
                ("x-amz-content-sha256", "UNSIGNED-PAYLOAD"),
            ];
            judge(0, "/b/k", &sent)
        };
        assert_eq!(date("Fri, 01 May 2026 12:00:00 -0000"), "ok");
        assert_eq!(date("Fri, 01 May 2026 14:00:00 +0200"), "ok");
        assert_eq!(date("Fri, 01 May 2026 11:00:00 GMT"), "RequestTimeTooSkewed 403");
        for none in ["yesterday", "31 Dec 9999 23:59:59 -0100", "01 Jan 0000 00:00:00 +0100"] {
            assert_eq!(date(none), "AccessDenied 403", "{none}");
        }
    }

    #[test]
    fn two_signatures_at_once_are_refused() {
        let authorization = authorization("host");
        let answer = judge(0, "/b/k?X-Amz-Signature=0", &[("authorization", &authorization)]);
        assert_eq!(answer, "InvalidArgument 400");
        let twice = [("authorization", authorization.as_str()), ("authorization", &authorization)];
        assert_eq!(judge(0, "/b/k", &twice), "InvalidArgument 400");
    }

    #[track_caller]
    fn check_presigned(seconds: i64, change: (&str, &str), headers: &[(&str, &str)], expected: &str) {
        let query = format!(
            "X-Amz-Algorithm={ALGORITHM}&X-Amz-Credential=CK&X-Amz-Date={DATE}&X-Amz-Expires=60&\
             X-Amz-SignedHeaders=host&X-Amz-Signature=00"
        );
        let uri = format!("/b/k?{}", query.replace(change.0, change.1));
        assert_eq!(judge(seconds, &uri, headers), expected, "{uri}");
    }

    #[test]
    fn a_presigned_url_lives_as_long_as_it_says_and_at_most_a_week() {
        check_presigned(0, ("", ""), &[], "ok");
        check_presigned(60, ("", ""), &[], "ok");
        check_presigned(61, ("", ""), &[], "AccessDenied 403");
        check_presigned(-901, ("", ""), &[], "RequestTimeTooSkewed 403");
        check_presigned(0, ("=60", "=604800"), &[], "ok");
        for seconds in ["604801", "0", "-1", "", "x", "99999999999999999999"] {
            check_presigned(0, ("=60", &format!("={seconds}")), &[], "AccessDenied 403");
        }
    }

    #[test]
    fn a_presigned_url_must_be_whole_and_cover_its_headers() {
        let malformed = "AuthorizationQueryParametersError 400";
        for name in ["Algorithm", "Credential", "Date", "Expires", "SignedHeaders"] {
            check_presigned(0, (&format!("X-Amz-{name}"), "x"), &[], malformed);
        }
        check_presigned(0, ("HMAC", "ECDSA"), &[], malformed);
        check_presigned(0, ("20260501T", "2026-05-01T"), &[], malformed);
        check_presigned(0, ("", ""), &[("x-amz-copy-source", "secret/key")], "AccessDenied 403");
        check_presigned(0, ("=host", "=x"), &[], "AccessDenied 403");
    }
}
