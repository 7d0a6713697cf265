//! CORS: which pages of other origins may read a bucket's answers, and the headers that tell the browser so.
//!
//! Pure: a bucket's rules and a request's headers come in, headers or a refusal come out. The rules bind browsers only:
//! they neither allow nor deny a request, except the preflight, which asks nothing else.

use http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS,
    ACCESS_CONTROL_REQUEST_METHOD, HeaderName, ORIGIN, VARY,
};
use http::{HeaderMap, HeaderValue, Method};
use serde::{Deserialize, Serialize};

/// The most rules of a bucket.
pub(crate) const RULES_MAX: usize = 100;
/// The most bytes of a configuration: its XML, and here the text of all its rules.
pub(crate) const CONFIGURATION_BYTES_MAX: usize = 64 * 1024;
/// The longest id of a rule.
const ID_CHARS_MAX: usize = 255;
/// The most headers a preflight may ask for; one that asks for more is refused.
const REQUESTED_HEADERS_MAX: usize = 100;
/// The methods that a rule may name.
const METHODS: [&str; 5] = ["GET", "PUT", "POST", "DELETE", "HEAD"];
/// What answers of a bucket with rules depend on.
const VARY_ON: HeaderValue =
    HeaderValue::from_static("Origin, Access-Control-Request-Headers, Access-Control-Request-Method");

/// One rule: these origins may send these requests.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct CorsRule {
    /// A name for people, at most 255 characters.
    pub(crate) id: Option<String>,
    /// Origins, each with at most one `*` for any text.
    pub(crate) allowed_origins: Vec<String>,
    /// Of GET, PUT, POST, DELETE and HEAD.
    pub(crate) allowed_methods: Vec<String>,
    /// Request headers that a preflight may ask for, each with at most one `*`; any case.
    pub(crate) allowed_headers: Vec<String>,
    /// Answer headers that the page may read.
    pub(crate) expose_headers: Vec<String>,
    /// How long the browser may remember a preflight.
    pub(crate) max_age_seconds: Option<u32>,
}

/// The rules of a bucket. The first that matches counts.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct CorsConfiguration {
    /// In the order they are tried.
    pub(crate) rules: Vec<CorsRule>,
}

/// Why rules cannot be stored. The texts are answers to clients.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum CorsError {
    /// There is no rule.
    #[error("The CORS configuration has no rule; to have none, delete it.")]
    NoRules,
    /// Too many rules.
    #[error("The number of CORS rules should not exceed allowed limit of {RULES_MAX} rules.")]
    TooManyRules,
    /// Too much text.
    #[error("The CORS configuration is too large: it may have {CONFIGURATION_BYTES_MAX} bytes.")]
    TooLarge,
    /// An id is too long.
    #[error("The ID of a CORS rule is too long: it may have {ID_CHARS_MAX} characters.")]
    IdTooLong,
    /// Two rules have one id.
    #[error("Rule ID must be unique. Found same ID for more than one rule: {id}")]
    IdTwice {
        /// The id.
        id: String,
    },
    /// A list that must not be empty is, or one of its entries.
    #[error("Every CORS rule needs at least one {element}, and none may be empty.")]
    Empty {
        /// As the XML spells it.
        element: &'static str,
    },
    /// A method that rules cannot name.
    #[error("Found unsupported HTTP method in CORS config. Unsupported method is {method}")]
    UnsupportedMethod {
        /// As given.
        method: String,
    },
    /// More than one `*`.
    #[error("{element} \"{value}\" can not have more than one wildcard.")]
    TwoWildcards {
        /// As the XML spells it.
        element: &'static str,
        /// As given.
        value: String,
    },
    /// A URL where an origin should be: no browser would ever send it.
    #[error(
        "AllowedOrigin \"{value}\" can never match: an origin is scheme://host[:port], without a path or a slash \
         at its end."
    )]
    NotAnOrigin {
        /// As given.
        value: String,
    },
    /// `*` among the exposed headers.
    #[error("ExposeHeader \"{value}\" contains wildcard. We currently do not support wildcard for ExposeHeader.")]
    ExposeWildcard {
        /// As given.
        value: String,
    },
    /// An exposed header that is none.
    #[error("ExposeHeader \"{value}\" contains invalid character.")]
    InvalidExposeHeader {
        /// As given.
        value: String,
    },
}

/// Why a preflight is refused. The texts are answers to clients.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum PreflightError {
    /// It does not say for which origin.
    #[error("Insufficient information. Origin request header needed.")]
    MissingOrigin,
    /// It does not say for which method, or for one that S3 has not.
    #[error("Invalid Access-Control-Request-Method: {method}")]
    InvalidMethod {
        /// As given, `null` when it was not.
        method: String,
    },
    /// The bucket has no rules.
    #[error("CORSResponse: CORS is not enabled for this bucket.")]
    NotEnabled,
    /// No rule matches.
    #[error(
        "CORSResponse: This CORS request is not allowed. This is usually because the evalution of Origin, request \
         method / Access-Control-Request-Method or Access-Control-Request-Headers are not whitelisted by the \
         resource's CORS spec."
    )]
    NotAllowed,
}

impl CorsConfiguration {
    /// Refuses what S3 refuses to store, and with R2 an origin that has a path.
    pub(crate) fn check(&self) -> Result<(), CorsError> {
        if self.rules.is_empty() {
            return Err(CorsError::NoRules);
        }
        if self.rules.len() > RULES_MAX {
            return Err(CorsError::TooManyRules);
        }
        if self.rules.iter().map(CorsRule::bytes).sum::<usize>() > CONFIGURATION_BYTES_MAX {
            return Err(CorsError::TooLarge);
        }
        for (at, rule) in self.rules.iter().enumerate() {
            rule.check()?;
            let id = rule.id.as_ref().filter(|id| self.rules[..at].iter().any(|other| other.id.as_ref() == Some(*id)));
            if let Some(id) = id {
                return Err(CorsError::IdTwice { id: id.clone() });
            }
        }
        Ok(())
    }

    /// The first rule that lets `origin` send a `method` request with these headers.
    pub(crate) fn matching<'a>(
        &'a self,
        origin: &'a str,
        method: &str,
        requested_headers: &'a [&'a str],
    ) -> Option<Match<'a>> {
        self.rules.iter().find_map(|rule| {
            let pattern = rule.allowed_origins.iter().find(|pattern| fits(pattern, origin, <[u8]>::eq))?;
            let allows = |header: &&str| {
                rule.allowed_headers.iter().any(|pattern| fits(pattern, header, <[u8]>::eq_ignore_ascii_case))
            };
            if !rule.allowed_methods.iter().any(|own| own == method) || !requested_headers.iter().all(allows) {
                return None;
            }
            let origin = if pattern == "*" { "*" } else { origin };
            Some(Match { rule, origin, requested_headers })
        })
    }

    /// The headers to add to the answer of any other request than a preflight, whether it succeeds or not.
    ///
    /// `Vary` is always among them, or a cache would hand the answer for one origin, or for none, to another.
    /// Where the request has `Access-Control-Request-Method`, that is the method asked about, as in S3.
    pub(crate) fn actual_headers(&self, method: &Method, headers: &HeaderMap) -> HeaderMap {
        let method = text(headers, &ACCESS_CONTROL_REQUEST_METHOD).unwrap_or(method.as_str());
        let found = text(headers, &ORIGIN).and_then(|origin| self.matching(origin, method, &[]));
        found.map_or_else(|| HeaderMap::from_iter([(VARY, VARY_ON)]), |found| found.actual_headers())
    }
}

/// The headers of the answer to a preflight of a bucket with this configuration, whose status is 200.
pub(crate) fn preflight_headers(
    configuration: Option<&CorsConfiguration>,
    headers: &HeaderMap,
) -> Result<HeaderMap, PreflightError> {
    let origin = text(headers, &ORIGIN).ok_or(PreflightError::MissingOrigin)?;
    let method = text(headers, &ACCESS_CONTROL_REQUEST_METHOD).unwrap_or("null");
    if !METHODS.contains(&method) {
        return Err(PreflightError::InvalidMethod { method: method.chars().take(64).collect() });
    }
    let configuration = configuration.ok_or(PreflightError::NotEnabled)?;
    let mut requested = Vec::new();
    for value in headers.get_all(ACCESS_CONTROL_REQUEST_HEADERS) {
        let value = value.to_str().map_err(|_| PreflightError::NotAllowed)?;
        requested
            .extend(value.split(',').map(str::trim).filter(|name| !name.is_empty()).take(REQUESTED_HEADERS_MAX + 1));
        if requested.len() > REQUESTED_HEADERS_MAX {
            return Err(PreflightError::NotAllowed);
        }
    }
    let found = configuration.matching(origin, method, &requested).ok_or(PreflightError::NotAllowed)?;
    Ok(found.preflight_headers())
}

/// A rule that matched a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Match<'a> {
    /// The rule.
    pub(crate) rule: &'a CorsRule,
    /// `*` where the rule lets any origin, else the request's.
    origin: &'a str,
    requested_headers: &'a [&'a str],
}

impl Match<'_> {
    /// For a request that is not a preflight. Credentials are allowed to origins the rule names, never to `*`.
    pub(crate) fn actual_headers(&self) -> HeaderMap {
        let mut headers = HeaderMap::new();
        let mut insert = |name: HeaderName, value: &str| {
            // Everything comes from headers or was checked; what is none all the same is not sent.
            HeaderValue::from_str(value).ok().and_then(|value| headers.insert(name, value));
        };
        insert(ACCESS_CONTROL_ALLOW_ORIGIN, self.origin);
        insert(ACCESS_CONTROL_ALLOW_METHODS, &self.rule.allowed_methods.join(", "));
        if !self.rule.expose_headers.is_empty() {
            insert(ACCESS_CONTROL_EXPOSE_HEADERS, &self.rule.expose_headers.join(", "));
        }
        if self.origin != "*" {
            insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, "true");
        }
        headers.insert(VARY, VARY_ON);
        headers
    }

    /// For a preflight: also the headers it asked for, and how long it may be remembered.
    pub(crate) fn preflight_headers(&self) -> HeaderMap {
        let mut headers = self.actual_headers();
        if !self.requested_headers.is_empty() {
            let allowed = self.requested_headers.join(", ").to_ascii_lowercase();
            let allowed = HeaderValue::try_from(allowed).ok();
            allowed.and_then(|allowed| headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, allowed));
        }
        if let Some(seconds) = self.rule.max_age_seconds {
            headers.insert(ACCESS_CONTROL_MAX_AGE, seconds.into());
        }
        headers
    }
}

impl CorsRule {
    fn check(&self) -> Result<(), CorsError> {
        if self.id.as_ref().is_some_and(|id| id.chars().count() > ID_CHARS_MAX) {
            return Err(CorsError::IdTooLong);
        }
        for (element, list, may_lack) in [
            ("AllowedOrigin", &self.allowed_origins, false),
            ("AllowedMethod", &self.allowed_methods, false),
            ("AllowedHeader", &self.allowed_headers, true),
            ("ExposeHeader", &self.expose_headers, true),
        ] {
            if (list.is_empty() && !may_lack) || list.iter().any(String::is_empty) {
                return Err(CorsError::Empty { element });
            }
        }
        if let Some(method) = self.allowed_methods.iter().find(|method| !METHODS.contains(&method.as_str())) {
            return Err(CorsError::UnsupportedMethod { method: method.clone() });
        }
        for (element, list) in [("AllowedOrigin", &self.allowed_origins), ("AllowedHeader", &self.allowed_headers)] {
            if let Some(value) = list.iter().find(|value| value.matches('*').count() > 1) {
                return Err(CorsError::TwoWildcards { element, value: value.clone() });
            }
        }
        let has_path =
            |origin: &&String| origin.split_once("://").is_some_and(|(_, host)| host.contains(['/', '?', '#', '@']));
        if let Some(value) = self.allowed_origins.iter().find(has_path) {
            return Err(CorsError::NotAnOrigin { value: value.clone() });
        }
        for value in &self.expose_headers {
            if value.contains('*') {
                return Err(CorsError::ExposeWildcard { value: value.clone() });
            }
            if HeaderName::try_from(value).is_err() {
                return Err(CorsError::InvalidExposeHeader { value: value.clone() });
            }
        }
        Ok(())
    }

    fn bytes(&self) -> usize {
        let lists = [&self.allowed_origins, &self.allowed_methods, &self.allowed_headers, &self.expose_headers];
        lists.into_iter().flatten().chain(&self.id).map(String::len).sum()
    }
}

/// Whether `pattern`, in which the first `*` is any text, fits `text`.
fn fits(pattern: &str, text: &str, equal: fn(&[u8], &[u8]) -> bool) -> bool {
    let (pattern, text) = (pattern.as_bytes(), text.as_bytes());
    let Some(star) = pattern.iter().position(|byte| *byte == b'*') else { return equal(pattern, text) };
    let (start, end) = (&pattern[..star], &pattern[star + 1..]);
    text.len() >= start.len() + end.len()
        && equal(start, &text[..start.len()])
        && equal(end, &text[text.len() - end.len()..])
}

fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name)?.to_str().ok().filter(|value| !value.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn strings(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|text| (*text).to_owned()).collect()
    }

    fn rule(origins: &[&str], methods: &[&str]) -> CorsRule {
        CorsRule { allowed_origins: strings(origins), allowed_methods: strings(methods), ..CorsRule::default() }
    }

    fn configuration(rules: &[CorsRule]) -> CorsConfiguration {
        CorsConfiguration { rules: rules.to_vec() }
    }

    fn header_map(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap())).collect()
    }

    /// Headers as `name: value` lines, without `Vary`, which is checked to be there.
    fn lines(headers: &HeaderMap) -> Vec<String> {
        assert_eq!(headers[VARY], VARY_ON);
        let others = headers.iter().filter(|(name, _)| **name != VARY);
        let mut lines: Vec<_> = others.map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())).collect();
        lines.sort();
        lines
    }

    #[test]
    fn patterns_have_one_star_for_any_text() {
        for (pattern, text, expected) in [
            ("*", "", true),
            ("*", "http://a", true),
            ("*suffix", "foo.suffix", true),
            ("*suffix", "foo.suffix.get", false),
            ("*suffix", "suffix", true),
            ("start*end", "startend", true),
            ("start*end", "start12end", true),
            ("start*end", "0start12end", false),
            ("start*tend", "startend", false),
            ("prefix*", "prefix.suffix", true),
            ("prefix*", "bla.prefix", false),
            ("http://a", "http://a", true),
            ("http://a", "http://A", false),
            ("http://a", "http://a.b", false),
            ("ä*", "ä", true),
            ("ä*", "a", false),
        ] {
            assert_eq!(fits(pattern, text, <[u8]>::eq), expected, "{pattern} {text}");
        }
        assert!(fits("X-Amz-*", "x-amz-date", <[u8]>::eq_ignore_ascii_case));
    }

    /// What `change` makes of a sound rule is refused like this, or not.
    #[track_caller]
    fn check_rule(change: impl FnOnce(&mut CorsRule), expected: &Result<(), CorsError>) {
        let mut changed = rule(&["https://a.example"], &["GET"]);
        change(&mut changed);
        assert_eq!(configuration(&[changed.clone()]).check(), *expected, "{changed:?}");
    }

    #[test]
    fn rules_that_s3_takes_are_taken() {
        check_rule(|_| {}, &Ok(()));
        check_rule(|rule| rule.allowed_methods = strings(&METHODS), &Ok(()));
        check_rule(|rule| rule.allowed_origins = strings(&["*", "*.get", "http://*.b:80", "null", "example"]), &Ok(()));
        check_rule(|rule| rule.allowed_headers = strings(&["*", "x-amz-*", "Content-Type"]), &Ok(()));
        check_rule(|rule| rule.expose_headers = strings(&["ETag", "x-amz-meta-a"]), &Ok(()));
        check_rule(|rule| rule.id = Some("ä".repeat(255)), &Ok(()));
        check_rule(|rule| rule.max_age_seconds = Some(0), &Ok(()));
    }

    #[test]
    fn rules_that_s3_refuses_are_refused() {
        let empty = |element| Err(CorsError::Empty { element });
        check_rule(|rule| rule.allowed_origins.clear(), &empty("AllowedOrigin"));
        check_rule(|rule| rule.allowed_origins.push(String::new()), &empty("AllowedOrigin"));
        check_rule(|rule| rule.allowed_methods.clear(), &empty("AllowedMethod"));
        check_rule(|rule| rule.allowed_headers.push(String::new()), &empty("AllowedHeader"));
        check_rule(|rule| rule.expose_headers.push(String::new()), &empty("ExposeHeader"));
        for method in ["OPTIONS", "PATCH", "get", "*", "GET "] {
            let refused = Err(CorsError::UnsupportedMethod { method: method.into() });
            check_rule(|rule| rule.allowed_methods.push(method.into()), &refused);
        }
        let two = |element, value: &str| Err(CorsError::TwoWildcards { element, value: value.into() });
        check_rule(|rule| rule.allowed_origins.push("*a*".into()), &two("AllowedOrigin", "*a*"));
        check_rule(|rule| rule.allowed_headers.push("**".into()), &two("AllowedHeader", "**"));
        for origin in ["https://a/", "https://a/b", "https://*/", "http://a?b", "http://u@a"] {
            let refused = Err(CorsError::NotAnOrigin { value: origin.into() });
            check_rule(|rule| rule.allowed_origins.push(origin.into()), &refused);
        }
        check_rule(|rule| rule.expose_headers.push("*".into()), &Err(CorsError::ExposeWildcard { value: "*".into() }));
        for header in ["a b", "a:b", "ä", "a,b"] {
            let refused = Err(CorsError::InvalidExposeHeader { value: header.into() });
            check_rule(|rule| rule.expose_headers.push(header.into()), &refused);
        }
        check_rule(|rule| rule.id = Some("a".repeat(256)), &Err(CorsError::IdTooLong));
    }

    #[test]
    fn a_configuration_is_bounded_and_its_ids_differ() {
        let named = |id: &str| CorsRule { id: Some(id.into()), ..rule(&["*"], &["GET"]) };
        assert_eq!(CorsConfiguration::default().check(), Err(CorsError::NoRules));
        assert_eq!(configuration(&vec![rule(&["*"], &["GET"]); RULES_MAX]).check(), Ok(()));
        assert_eq!(configuration(&vec![rule(&["*"], &["GET"]); RULES_MAX + 1]).check(), Err(CorsError::TooManyRules));
        let large = rule(&[&"a".repeat(CONFIGURATION_BYTES_MAX - 3)], &["GET"]);
        assert_eq!(configuration(std::slice::from_ref(&large)).check(), Ok(()));
        assert_eq!(configuration(&[large, rule(&["*"], &["GET"])]).check(), Err(CorsError::TooLarge));
        assert_eq!(configuration(&[named("a"), named("b")]).check(), Ok(()));
        assert_eq!(
            configuration(&[named("a"), named("b"), named("a")]).check(),
            Err(CorsError::IdTwice { id: "a".into() })
        );
    }

    #[test]
    fn the_first_rule_that_matches_counts() {
        let first = rule(&["https://a"], &["GET"]);
        let second = rule(&["*"], &["GET", "PUT"]);
        let rules = configuration(&[first.clone(), second.clone()]);
        let found = |origin, method| rules.matching(origin, method, &[]).map(|found| found.rule.clone());
        assert_eq!(found("https://a", "GET"), Some(first));
        assert_eq!(found("https://a", "PUT"), Some(second.clone()));
        assert_eq!(found("https://b", "GET"), Some(second));
        assert_eq!(found("https://b", "DELETE"), None);
    }

    #[test]
    fn every_requested_header_must_be_allowed_in_any_case() {
        let mut allowing = rule(&["*"], &["PUT"]);
        allowing.allowed_headers = strings(&["Content-Type", "x-amz-*"]);
        let rules = configuration(&[allowing]);
        for (requested, matches) in [
            (&[][..], true),
            (&["content-type"], true),
            (&["CONTENT-TYPE", "X-Amz-Date", "x-amz-"], true),
            (&["content-type", "authorization"], false),
            (&["x-am"], false),
        ] {
            assert_eq!(rules.matching("o", "PUT", requested).is_some(), matches, "{requested:?}");
        }
    }

    #[test]
    fn answers_say_what_the_rule_allows() {
        let full = CorsRule {
            allowed_headers: strings(&["*"]),
            expose_headers: strings(&["ETag", "x-amz-meta-a"]),
            max_age_seconds: Some(3000),
            ..rule(&["https://*.a", "*"], &["GET", "PUT"])
        };
        let rules = configuration(&[full]);
        let requested = ["X-Amz-Date", "content-type"];
        let named = rules.matching("https://x.a", "PUT", &requested).unwrap();
        let actual = [
            "access-control-allow-credentials: true",
            "access-control-allow-methods: GET, PUT",
            "access-control-allow-origin: https://x.a",
            "access-control-expose-headers: ETag, x-amz-meta-a",
        ];
        assert_eq!(lines(&named.actual_headers()), actual);
        let mut preflight = lines(&named.preflight_headers());
        preflight.retain(|line| !actual.contains(&line.as_str()));
        assert_eq!(
            preflight,
            ["access-control-allow-headers: x-amz-date, content-type", "access-control-max-age: 3000"]
        );
        let any = rules.matching("https://b", "GET", &[]).unwrap();
        assert_eq!(
            lines(&any.preflight_headers())[..2],
            ["access-control-allow-methods: GET, PUT", "access-control-allow-origin: *"]
        );
    }

    /// Origin and methods that the answer allows.
    fn allowed(headers: &HeaderMap) -> Option<(String, String)> {
        let value = |name| headers.get(name).map(|value| value.to_str().unwrap().to_owned());
        value(ACCESS_CONTROL_ALLOW_ORIGIN).zip(value(ACCESS_CONTROL_ALLOW_METHODS))
    }

    fn suffix_rules() -> CorsConfiguration {
        configuration(&[
            rule(&["*suffix"], &["GET"]),
            rule(&["start*end"], &["GET"]),
            rule(&["prefix*"], &["GET"]),
            rule(&["*.put"], &["PUT"]),
        ])
    }

    /// `expected` are the methods allowed to `origin`.
    #[track_caller]
    fn check_actual(method: &Method, headers: &[(&'static str, &str)], expected: Option<&str>) {
        let answer = suffix_rules().actual_headers(method, &header_map(headers));
        assert_eq!(answer[VARY], VARY_ON);
        let expected = expected.map(|methods| (headers[0].1.to_owned(), methods.to_owned()));
        assert_eq!(allowed(&answer), expected, "{method} {headers:?}");
    }

    #[test]
    fn actual_requests_as_s3_tests_send_them() {
        check_actual(&Method::GET, &[], None);
        for origin in ["foo.suffix", "startend", "start1end", "start12end", "prefix", "prefix.suffix"] {
            check_actual(&Method::GET, &[("origin", origin)], Some("GET"));
        }
        for origin in ["foo.bar", "foo.suffix.get", "0start12end", "bla.prefix", "foo.put"] {
            check_actual(&Method::GET, &[("origin", origin)], None);
        }
        let about = |method| [("origin", "foo.suffix"), ("access-control-request-method", method)];
        check_actual(&Method::PUT, &about("GET"), Some("GET"));
        check_actual(&Method::PUT, &about("PUT"), None);
        check_actual(&Method::PUT, &about("DELETE"), None);
        check_actual(&Method::PUT, &[("origin", "foo.suffix")], None);
        check_actual(&Method::PUT, &[("origin", "foo.put")], Some("PUT"));
        let any = configuration(&[rule(&["*"], &["GET"])]);
        let answer = any.actual_headers(&Method::GET, &header_map(&[("origin", "example.origin")]));
        assert_eq!(allowed(&answer), Some(("*".into(), "GET".into())));
    }

    #[test]
    fn preflights_as_s3_tests_send_them() {
        let rules = suffix_rules();
        let ask = |origin, method| {
            let headers = header_map(&[("origin", origin), ("access-control-request-method", method)]);
            preflight_headers(Some(&rules), &headers).map(|headers| allowed(&headers).unwrap())
        };
        for (origin, method) in [
            ("foo.suffix", "GET"),
            ("startend", "GET"),
            ("start1end", "GET"),
            ("start12end", "GET"),
            ("prefix", "GET"),
            ("prefix.suffix", "GET"),
            ("foo.put", "PUT"),
        ] {
            assert_eq!(ask(origin, method), Ok((origin.to_owned(), method.to_owned())));
        }
        for origin in ["foo.bar", "foo.suffix.get", "0start12end", "bla.prefix", "foo.put"] {
            assert_eq!(ask(origin, "GET"), Err(PreflightError::NotAllowed), "{origin}");
        }
    }

    #[test]
    fn a_preflight_that_does_not_say_enough_is_refused_before_the_rules_are_asked() {
        let null = || Err(PreflightError::InvalidMethod { method: "null".into() });
        for rules in [None, Some(&suffix_rules())] {
            assert_eq!(preflight_headers(rules, &HeaderMap::new()), Err(PreflightError::MissingOrigin));
            let method = [("access-control-request-method", "GET")];
            assert_eq!(preflight_headers(rules, &header_map(&method)), Err(PreflightError::MissingOrigin));
            for origin in ["foo.suffix", "bla"] {
                assert_eq!(preflight_headers(rules, &header_map(&[("origin", origin)])), null());
            }
            let patch = header_map(&[("origin", "foo.suffix"), ("access-control-request-method", "PATCH")]);
            assert_eq!(preflight_headers(rules, &patch), Err(PreflightError::InvalidMethod { method: "PATCH".into() }));
        }
        let whole = header_map(&[("origin", "foo.suffix"), ("access-control-request-method", "GET")]);
        assert_eq!(preflight_headers(None, &whole), Err(PreflightError::NotEnabled));
    }

    #[test]
    fn a_preflight_asks_for_headers_in_one_list_or_several() {
        let mut rules = configuration(&[rule(&["*"], &["GET"])]);
        let ask = |rules: &CorsConfiguration, lists: &[&str]| {
            let mut headers = header_map(&[("origin", "o"), ("access-control-request-method", "GET")]);
            for list in lists {
                headers.append(ACCESS_CONTROL_REQUEST_HEADERS, list.parse().unwrap());
            }
            preflight_headers(Some(rules), &headers).map(|headers| {
                headers.get(ACCESS_CONTROL_ALLOW_HEADERS).map(|value| value.to_str().unwrap().to_owned())
            })
        };
        assert_eq!(ask(&rules, &["x-amz-meta-header2"]), Err(PreflightError::NotAllowed));
        assert_eq!(ask(&rules, &["", " , "]), Ok(None));
        rules.rules[0].allowed_headers = strings(&["*"]);
        assert_eq!(ask(&rules, &["a,B", " c "]), Ok(Some("a, b, c".into())));
        assert_eq!(ask(&rules, &["a", "ä"]), Err(PreflightError::NotAllowed));
        let most = "a,".repeat(REQUESTED_HEADERS_MAX);
        assert!(ask(&rules, &[&most]).is_ok());
        assert_eq!(ask(&rules, &[&most, "a"]), Err(PreflightError::NotAllowed));
    }
}
