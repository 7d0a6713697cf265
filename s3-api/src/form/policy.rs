//! The policy of a form: until when, and with which fields, its signer lets anyone upload.
//!
//! Pure: text, fields and the time come in, a refusal comes out. Whether it was signed is `form/signature.rs`'s to say.
//! What cannot be understood is refused, never skipped: a condition that was meant and not judged lets in too much.

use super::Fields;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use cistern_types::{ChecksumAlgorithm, Timestamp};
use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::Value;
use std::fmt;
use std::ops::RangeInclusive;
use time::PrimitiveDateTime;
use time::format_description::BorrowedFormatItem;
use time::macros::format_description;

/// The most bytes of a policy, as the base64 that the form carries.
const POLICY_BYTES_MAX: usize = super::FORM_BYTES_MAX;
/// The most conditions of a policy.
const CONDITIONS_MAX: usize = 500;

/// `2007-12-01T12:00:00Z`
const SECONDS: &[BorrowedFormatItem<'_>] = format_description!("[year]-[month]-[day]T[hour]:[minute]:[second]Z");
/// `2007-12-01T12:00:00.000Z`
const FRACTION: &[BorrowedFormatItem<'_>] =
    format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond]Z");

/// Fields that need no condition: the signature itself and what it is over.
const UNCONDITIONAL_FIELDS: [&str; 5] = ["awsaccesskeyid", "signature", "x-amz-signature", "policy", "file"];

/// Why a policy cannot be used, or does not allow the form. The texts are answers to clients.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum PolicyError {
    /// It is not base64 of text, or longer than a form may be.
    #[error("Invalid Policy: it must be the base64 of UTF-8 text, at most {POLICY_BYTES_MAX} bytes.")]
    NotBase64,
    /// It is not the JSON that a policy is.
    #[error("Invalid Policy: Invalid JSON: {reason}.")]
    InvalidJson {
        /// What is wrong with it, cut to 200 characters.
        reason: String,
    },
    /// There is no `expiration`.
    #[error("Invalid Policy: Policy missing expiration.")]
    MissingExpiration,
    /// `expiration` is no time.
    #[error("Invalid Policy: Invalid 'expiration' value: use a time in UTC such as 2007-12-01T12:00:00.000Z.")]
    InvalidExpiration,
    /// There are no `conditions`.
    #[error("Invalid Policy: Policy missing conditions.")]
    MissingConditions,
    /// More conditions than are judged.
    #[error("Invalid Policy: it may have {CONDITIONS_MAX} conditions.")]
    TooManyConditions,
    /// A condition has a wrong shape.
    #[error("Invalid Policy: Invalid Condition: {rule}.")]
    InvalidCondition {
        /// What would be right.
        rule: &'static str,
    },
    /// A condition begins with another word than the three that there are.
    #[error("Invalid Policy: Unknown operation '{operator}': use eq, starts-with or content-length-range.")]
    UnknownOperator {
        /// The word, cut to 64 characters.
        operator: String,
    },
    /// It was valid until an earlier time.
    #[error("Invalid according to Policy: Policy expired.")]
    Expired,
    /// A condition does not hold.
    #[error("Invalid according to Policy: Policy Condition failed: {condition}")]
    ConditionFailed {
        /// As JSON.
        condition: String,
    },
    /// A field, or the bucket, that no condition speaks of.
    #[error("Invalid according to Policy: Extra input fields: {field}")]
    ExtraField {
        /// Lower-case.
        field: String,
    },
}

/// What a condition asks of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operator {
    Eq,
    StartsWith,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Condition {
    operator: Operator,
    /// Lower-case, without the `$`.
    field: String,
    value: String,
}

/// A policy that was understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PostPolicy {
    expiration: Timestamp,
    conditions: Vec<Condition>,
    length: Option<RangeInclusive<u64>>,
}

impl PostPolicy {
    /// Reads the policy as the field `policy` carries it.
    pub(crate) fn parse(base64: &str) -> Result<Self, PolicyError> {
        if base64.len() > POLICY_BYTES_MAX {
            return Err(PolicyError::NotBase64);
        }
        let json = STANDARD.decode(base64).map_err(|_| PolicyError::NotBase64)?;
        let json = String::from_utf8(json).map_err(|_| PolicyError::NotBase64)?;
        let document: Document = serde_json::from_str(&as_json(&json))
            .map_err(|error| PolicyError::InvalidJson { reason: error.to_string().chars().take(200).collect() })?;
        let expiration = document.expiration.ok_or(PolicyError::MissingExpiration)?;
        let expiration = expiration.as_str().and_then(parse_time).ok_or(PolicyError::InvalidExpiration)?;
        let raw = document.conditions.ok_or(PolicyError::MissingConditions)?;
        if raw.len() > CONDITIONS_MAX {
            return Err(PolicyError::TooManyConditions);
        }
        let mut policy = Self { expiration, conditions: Vec::with_capacity(raw.len()), length: None };
        for condition in raw {
            policy.push(condition)?;
        }
        Ok(policy)
    }

    /// Whether the form may be uploaded to `bucket` now: the policy has not expired, every condition holds, and every
    /// field has one.
    ///
    /// The bucket is the one the request is for; a field `bucket` is not asked. It needs a condition like a field, or
    /// the form would be good for every bucket of its signer. Of the length see [`Self::length_range`].
    pub(crate) fn check(&self, now: Timestamp, bucket: &str, fields: &Fields) -> Result<(), PolicyError> {
        if now > self.expiration {
            return Err(PolicyError::Expired);
        }
        let value = |field: &str| if field == "bucket" { Some(bucket) } else { fields.get(field) };
        if let Some(failed) = self.conditions.iter().find(|condition| !condition.holds(value(&condition.field))) {
            return Err(PolicyError::ConditionFailed { condition: failed.to_string() });
        }
        let covers = |field: &str| self.conditions.iter().any(|condition| condition.field == field);
        let mut named = std::iter::once("bucket").chain(fields.iter().map(|(name, _)| name));
        match named.find(|field| !is_unconditional(field) && !covers(field)) {
            None => Ok(()),
            Some(field) => Err(PolicyError::ExtraField { field: field.to_owned() }),
        }
    }

    /// How many bytes the file may have; `None` when the policy does not say. Empty (start above end) when two
    /// conditions contradict each other.
    pub(crate) fn length_range(&self) -> Option<RangeInclusive<u64>> {
        self.length.clone()
    }

    fn push(&mut self, raw: RawCondition) -> Result<(), PolicyError> {
        let invalid = |rule| Err(PolicyError::InvalidCondition { rule });
        match raw {
            RawCondition::Object(mut pairs) => match (pairs.pop(), pairs.is_empty()) {
                (Some((field, Value::String(value))), true) => {
                    let field = field.to_ascii_lowercase();
                    self.conditions.push(Condition { operator: Operator::Eq, field, value });
                    Ok(())
                }
                (Some(_), true) => invalid("the value of a simple condition must be a string"),
                _ => invalid("simple conditions must have exactly one property specified"),
            },
            RawCondition::Array(items) => {
                let Some(operator) = items.first().and_then(Value::as_str) else {
                    return invalid("a condition must begin with eq, starts-with or content-length-range");
                };
                match (operator.to_ascii_lowercase().as_str(), &items[1..]) {
                    ("eq", operands) => self.push_match(Operator::Eq, operands),
                    ("starts-with", operands) => self.push_match(Operator::StartsWith, operands),
                    ("content-length-range", operands) => self.push_length(operands),
                    _ => Err(PolicyError::UnknownOperator { operator: operator.chars().take(64).collect() }),
                }
            }
            RawCondition::Other => invalid("a condition must be an object or an array"),
        }
    }

    fn push_match(&mut self, operator: Operator, operands: &[Value]) -> Result<(), PolicyError> {
        const RULE: &str = "eq and starts-with take the name of a field with a $ in front, and a string";
        let invalid = PolicyError::InvalidCondition { rule: RULE };
        let [Value::String(field), Value::String(value)] = operands else { return Err(invalid) };
        let field = field.strip_prefix('$').filter(|field| !field.is_empty()).ok_or(invalid)?.to_ascii_lowercase();
        self.conditions.push(Condition { operator, field, value: value.clone() });
        Ok(())
    }

    fn push_length(&mut self, operands: &[Value]) -> Result<(), PolicyError> {
        const RULE: &str = "content-length-range takes two whole numbers, the smaller first";
        let invalid = PolicyError::InvalidCondition { rule: RULE };
        let [start, end] = operands else { return Err(invalid) };
        let (Some(start), Some(end)) = (bytes_of(start), bytes_of(end)) else { return Err(invalid) };
        if start > end {
            return Err(invalid);
        }
        let known = self.length.take().unwrap_or(0..=u64::MAX);
        self.length = Some(start.max(*known.start())..=end.min(*known.end()));
        Ok(())
    }
}

impl Condition {
    /// Whether `value` is as it should be. A field that did not come is like none of the values that `eq` may name, and
    /// like any that `starts-with` nothing.
    fn holds(&self, value: Option<&str>) -> bool {
        match self.operator {
            Operator::Eq => value == Some(self.value.as_str()),
            Operator::StartsWith => {
                let value = value.unwrap_or_default();
                // Several types between commas: each of them.
                let lists = self.field == "content-type" && value.contains(',');
                let starts = |one: &str| one.starts_with(&self.value);
                if lists { value.split(',').all(|one| starts(one.trim_start())) } else { starts(value) }
            }
        }
    }
}

/// As a JSON array.
impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let operator = match self.operator {
            Operator::Eq => "eq",
            Operator::StartsWith => "starts-with",
        };
        write!(f, "{}", serde_json::json!([operator, format!("${}", self.field), self.value]))
    }
}

/// Fields that need no condition. A checksum only says what the file must turn out to be, so it cannot let in more.
fn is_unconditional(field: &str) -> bool {
    UNCONDITIONAL_FIELDS.contains(&field)
        || field.starts_with("x-ignore-")
        || ChecksumAlgorithm::ALL.iter().any(|algorithm| algorithm.header() == field)
}

/// A whole number, as such or as a string.
fn bytes_of(value: &Value) -> Option<u64> {
    match value {
        Value::Number(number) => number.as_u64(),
        Value::String(text) if text.bytes().all(|byte| byte.is_ascii_digit()) => text.parse().ok(),
        _ => None,
    }
}

fn parse_time(text: &str) -> Option<Timestamp> {
    let time = PrimitiveDateTime::parse(text, SECONDS).or_else(|_| PrimitiveDateTime::parse(text, FRACTION)).ok()?;
    let millis = time.assume_utc().unix_timestamp_nanos() / 1_000_000;
    Some(Timestamp::from_millis(u64::try_from(millis).unwrap_or(0))) // before 1970 is long past
}

/// Policies know two escapes that JSON does not: `\$` for a dollar sign and `\v` for a vertical tab.
fn as_json(text: &str) -> String {
    let mut json = String::with_capacity(text.len());
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        if letter != '\\' {
            json.push(letter);
            continue;
        }
        match letters.next() {
            Some('$') => json.push('$'),
            Some('v') => json.push_str("\\u000b"),
            escaped => json.extend(std::iter::once('\\').chain(escaped)),
        }
    }
    json
}

/// The policy as JSON. Its names have one spelling; another one is no policy.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    expiration: Option<Value>,
    conditions: Option<Vec<RawCondition>>,
}

/// A condition of any shape. Unlike a [`Value`] it keeps both of two properties with the same name.
enum RawCondition {
    Object(Vec<(String, Value)>),
    Array(Vec<Value>),
    Other,
}

impl<'de> Deserialize<'de> for RawCondition {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(RawConditionVisitor)
    }
}

struct RawConditionVisitor;

impl<'de> Visitor<'de> for RawConditionVisitor {
    type Value = RawCondition;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a condition")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<RawCondition, A::Error> {
        let mut pairs = Vec::new();
        while let Some(pair) = map.next_entry()? {
            pairs.push(pair);
        }
        Ok(RawCondition::Object(pairs))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<RawCondition, A::Error> {
        let mut values = Vec::new();
        while let Some(value) = items.next_element()? {
            values.push(value);
        }
        Ok(RawCondition::Array(values))
    }

    fn visit_str<E>(self, _: &str) -> Result<RawCondition, E> {
        Ok(RawCondition::Other)
    }

    fn visit_bool<E>(self, _: bool) -> Result<RawCondition, E> {
        Ok(RawCondition::Other)
    }

    fn visit_i64<E>(self, _: i64) -> Result<RawCondition, E> {
        Ok(RawCondition::Other)
    }

    fn visit_u64<E>(self, _: u64) -> Result<RawCondition, E> {
        Ok(RawCondition::Other)
    }

    fn visit_f64<E>(self, _: f64) -> Result<RawCondition, E> {
        Ok(RawCondition::Other)
    }

    fn visit_unit<E>(self) -> Result<RawCondition, E> {
        Ok(RawCondition::Other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_777_636_800_000; // 2026-05-01T12:00:00Z

    fn parse_json(json: &str) -> Result<PostPolicy, PolicyError> {
        PostPolicy::parse(&STANDARD.encode(json))
    }

    fn with_conditions(conditions: &str) -> Result<PostPolicy, PolicyError> {
        parse_json(&format!(r#"{{"expiration": "2026-05-01T12:00:00.5Z", "conditions": [{conditions}]}}"#))
    }

    /// What a policy about bucket `b`, any key and `conditions` says to a form with key `k` and `fields`.
    #[track_caller]
    fn check(conditions: &str, fields: &[(&str, &str)], expected: &Result<(), PolicyError>) {
        let more = if conditions.is_empty() { String::new() } else { format!(", {conditions}") };
        let policy = with_conditions(&format!(r#"{{"bucket":"b"}}, ["starts-with","$key",""]{more}"#)).unwrap();
        let fields = Fields::of(&[&[("key", "k")], fields].concat());
        let answer = policy.check(Timestamp::from_millis(NOW), "b", &fields);
        assert_eq!(answer, *expected, "{conditions} {fields:?}");
    }

    fn failed(condition: &str) -> Result<(), PolicyError> {
        Err(PolicyError::ConditionFailed { condition: condition.into() })
    }

    fn extra(field: &str) -> Result<(), PolicyError> {
        Err(PolicyError::ExtraField { field: field.into() })
    }

    #[test]
    fn a_policy_is_good_until_its_expiration() {
        let policy = with_conditions(r#"{"bucket":"b"},{"key":"k"}"#).unwrap();
        let fields = Fields::of(&[("key", "k")]);
        for (millis, expected) in [
            (0, Ok(())),
            (NOW, Ok(())),
            (NOW + 500, Ok(())),
            (NOW + 501, Err(PolicyError::Expired)),
            (u64::MAX, Err(PolicyError::Expired)),
        ] {
            assert_eq!(policy.check(Timestamp::from_millis(millis), "b", &fields), expected, "{millis}");
        }
    }

    #[test]
    fn an_expiration_is_a_time_in_utc() {
        let read = |text: &str| {
            let json = serde_json::json!({ "expiration": text, "conditions": [] });
            parse_json(&json.to_string()).map(|policy| policy.expiration.as_millis())
        };
        assert_eq!(read("2026-05-01T12:00:00Z"), Ok(NOW));
        assert_eq!(read("2026-05-01T12:00:00.000Z"), Ok(NOW));
        assert_eq!(read("2026-05-01T12:00:00.123456789Z"), Ok(NOW + 123));
        assert_eq!(read("1969-12-31T23:59:59Z"), Ok(0));
        assert_eq!(read("9999-12-31T23:59:59Z"), Ok(253_402_300_799_000));
        for bad in [
            "",
            "tomorrow",
            "2026-05-01",
            "2026-05-01 12:00:00Z",
            "2026-05-01 12:00:00.123456+00:00",
            "2026-05-01T12:00:00",
            "2026-05-01T12:00:00+02:00",
            "2026-02-30T12:00:00Z",
            "2026-05-01T25:00:00Z",
            "1777636800",
        ] {
            assert_eq!(read(bad), Err(PolicyError::InvalidExpiration), "{bad}");
        }
    }

    #[test]
    fn what_is_no_policy_is_refused() {
        use PolicyError::{InvalidExpiration, MissingConditions, MissingExpiration, NotBase64};
        let time = r#""expiration": "2026-05-01T12:00:00Z""#;
        for (json, expected) in [
            (format!("{{{time}}}"), MissingConditions),
            (format!(r#"{{{time}, "conditions": null}}"#), MissingConditions),
            (r#"{"conditions": []}"#.into(), MissingExpiration),
            ("{}".into(), MissingExpiration),
            (r#"{"expiration": 5, "conditions": []}"#.into(), InvalidExpiration),
        ] {
            assert_eq!(parse_json(&json), Err(expected), "{json}");
        }
        for json in [
            String::new(),
            "[]".into(),
            "null".into(),
            "{".into(),
            format!(r#"{{{time}, "CONDITIONS": []}}"#),
            r#"{"EXPIRATION": "2026-05-01T12:00:00Z", "conditions": []}"#.into(),
            format!(r#"{{{time}, "conditions": [], "more": 1}}"#),
            format!(r#"{{{time}, {time}, "conditions": []}}"#),
            format!(r#"{{{time}, "conditions": {{}}}}"#),
            format!(r#"{{{time}, "conditions": [{}]}}"#, "[".repeat(9000)),
            format!(r#"{{{time}, "conditions": []}} more"#),
        ] {
            assert!(matches!(parse_json(&json), Err(PolicyError::InvalidJson { .. })), "{json:.80}");
        }
        for text in ["&", "e30", "////", &"A".repeat(POLICY_BYTES_MAX + 4)] {
            assert_eq!(PostPolicy::parse(text), Err(NotBase64), "{text:.80}");
        }
        let many = vec![r#"{"a":""}"#; CONDITIONS_MAX + 1].join(",");
        assert_eq!(with_conditions(&many), Err(PolicyError::TooManyConditions));
    }

    #[test]
    fn a_condition_has_one_of_three_shapes() {
        for bad in [
            "{}",
            r#"{"acl":"private","key":"k"}"#,
            r#"{"acl":"private","acl":"public-read"}"#,
            r#"{"success_action_status":201}"#,
            r#"{"acl":null}"#,
            r#"{"acl":["private"]}"#,
            "[]",
            "[[]]",
            r#"["eq"]"#,
            r#"["eq","$acl"]"#,
            r#"["eq","$acl","private","x"]"#,
            r#"["eq","acl","private"]"#,
            r#"["eq","$","private"]"#,
            r#"["eq","$success_action_status",201]"#,
            r#"["starts-with","$key"]"#,
            r#"["starts-with",1,"x"]"#,
            "null",
            "true",
            "-1",
            "1",
            "1.5",
            r#""eq""#,
        ] {
            let answer = with_conditions(bad);
            assert!(matches!(answer, Err(PolicyError::InvalidCondition { .. })), "{bad}: {answer:?}");
        }
        for (bad, operator) in [(r#"["ends-with","$key","x"]"#, "ends-with"), (r#"["","$key","x"]"#, "")] {
            assert_eq!(with_conditions(bad), Err(PolicyError::UnknownOperator { operator: operator.into() }));
        }
    }

    #[test]
    fn a_length_range_is_two_whole_numbers() {
        let read = |operands: &str| {
            with_conditions(&format!(r#"["Content-Length-Range"{operands}]"#)).map(|policy| policy.length_range())
        };
        assert_eq!(with_conditions("").unwrap().length_range(), None);
        assert_eq!(read(", 0, 1024"), Ok(Some(0..=1024)));
        assert_eq!(read(r#", "0", "1024""#), Ok(Some(0..=1024)));
        assert_eq!(read(", 0, 0"), Ok(Some(0..=0)));
        assert_eq!(read(", 7, 18446744073709551615"), Ok(Some(7..=u64::MAX)));
        for bad in [
            "",
            ", 0",
            ", 0, 1, 2",
            ", -1, 0",
            r#", "-1", "0""#,
            r#", "", """#,
            r#", "+1", "2""#,
            ", 0, 1.5",
            ", 0, 18446744073709551616",
            ", null, 1",
            ", 2, 1",
            r#", "a", "b""#,
        ] {
            assert!(matches!(read(bad), Err(PolicyError::InvalidCondition { .. })), "{bad}");
        }
        let both = |second: &str| {
            let conditions = format!(r#"["content-length-range",5,10],["content-length-range",{second}]"#);
            with_conditions(&conditions).unwrap().length_range().unwrap()
        };
        assert_eq!(both("0,7"), 5..=7);
        assert!(both("11,12").is_empty());
    }

    #[test]
    fn eq_asks_for_the_value_and_starts_with_for_its_beginning() {
        let acl = r#"{"acl":"private"}"#;
        check(acl, &[("acl", "private")], &Ok(()));
        check(acl, &[("acl", "Private")], &failed(r#"["eq","$acl","private"]"#));
        check(acl, &[], &failed(r#"["eq","$acl","private"]"#));
        check(r#"["eq","$x-amz-meta-a",""]"#, &[("x-amz-meta-a", "")], &Ok(()));
        check(r#"["eq","$x-amz-meta-a",""]"#, &[], &failed(r#"["eq","$x-amz-meta-a",""]"#));
        check(r#"["eq","$x-amz-meta-a",""]"#, &[("x-amz-meta-a", "b")], &failed(r#"["eq","$x-amz-meta-a",""]"#));
        let meta = r#"["starts-with","$x-amz-meta-a","ba"]"#;
        check(meta, &[("x-amz-meta-a", "bar")], &Ok(()));
        check(meta, &[("x-amz-meta-a", "b")], &failed(meta));
        check(meta, &[], &failed(meta));
        check(r#"["starts-with","$acl",""]"#, &[("acl", "anything")], &Ok(()));
        check(r#"["starts-with","$acl",""]"#, &[], &Ok(()));
    }

    #[test]
    fn all_conditions_on_a_field_must_hold() {
        let both = r#"["starts-with","$acl","p"],["eq","$acl","private"]"#;
        check(both, &[("acl", "private")], &Ok(()));
        check(both, &[("acl", "public-read")], &failed(r#"["eq","$acl","private"]"#));
    }

    #[test]
    fn operators_and_names_have_any_case_values_have_not() {
        check(r#"["StArTs-WiTh","$CoNtEnT-TyPe","text/"]"#, &[("Content-Type", "text/plain")], &Ok(()));
        check(r#"{"AcL":"private"}"#, &[("aCl", "private")], &Ok(()));
        check(r#"["EQ","$ACL","private"]"#, &[("acl", "private")], &Ok(()));
        check(
            r#"["starts-with","$content-type","text/"]"#,
            &[("content-type", "Text/plain")],
            &failed(r#"["starts-with","$content-type","text/"]"#),
        );
    }

    #[test]
    fn of_several_content_types_each_must_begin_so() {
        let images = r#"["starts-with","$content-type","image/"]"#;
        check(images, &[("content-type", "image/png,image/gif, image/jpg")], &Ok(()));
        check(images, &[("content-type", "image/png,text/html")], &failed(images));
        check(images, &[("content-type", "image/png,")], &failed(images));
        check(r#"["starts-with","$x-amz-meta-a","a"]"#, &[("x-amz-meta-a", "a,b")], &Ok(()));
    }

    #[test]
    fn every_field_needs_a_condition_but_the_signature_and_what_cannot_harm() {
        check("", &[("acl", "private")], &extra("acl"));
        check("", &[("Submit", "")], &extra("submit"));
        check("", &[("bucket", "b")], &Ok(()));
        check("", &[("x-amz-date", "20260501T120000Z")], &extra("x-amz-date"));
        check("", &[("x-amz-security-token", "t")], &extra("x-amz-security-token"));
        check("", &[("x-amz-checksum-algorithm", "SHA256")], &extra("x-amz-checksum-algorithm"));
        check("", &[("x-ignored", "")], &extra("x-ignored"));
        for free in [
            "AWSAccessKeyId",
            "signature",
            "policy",
            "x-amz-signature",
            "x-ignore-",
            "x-ignore-me",
            "x-amz-checksum-sha256",
            "x-amz-checksum-crc64nvme",
        ] {
            check("", &[(free, "value")], &Ok(()));
        }
    }

    #[test]
    fn the_bucket_is_that_of_the_request_and_must_be_named() {
        let answer = |conditions: &str, bucket: &str, fields: &[(&str, &str)]| {
            let policy = with_conditions(&format!(r#"["starts-with","$key",""]{conditions}"#)).unwrap();
            policy.check(Timestamp::from_millis(NOW), bucket, &Fields::of(&[&[("key", "k")], fields].concat()))
        };
        assert_eq!(answer(r#",{"bUcKeT":"b"}"#, "b", &[]), Ok(()));
        assert_eq!(answer(r#",["starts-with","$bucket","b"]"#, "bb", &[]), Ok(()));
        assert_eq!(answer(r#",{"bucket":"b"}"#, "other", &[("bucket", "b")]), failed(r#"["eq","$bucket","b"]"#));
        assert_eq!(answer("", "b", &[]), extra("bucket"));
        assert_eq!(answer("", "b", &[("bucket", "b")]), extra("bucket"));
    }

    #[test]
    fn escapes_of_policies_are_those_of_json_and_two_more() {
        for (written, meant) in [
            (r"\$foo", "$foo"),
            (r"\\$foo", r"\$foo"),
            (r"\\\$foo", r"\$foo"),
            (r"a\vb", "a\u{b}b"),
            (r"\\v", r"\v"),
            (r#"\"\u20ac\n"#, "\"€\n"),
        ] {
            check(&format!(r#"{{"x-amz-meta-a":"{written}"}}"#), &[("x-amz-meta-a", meant)], &Ok(()));
        }
        assert!(matches!(with_conditions(r#"{"acl":"\x"}"#), Err(PolicyError::InvalidJson { .. })));
        assert!(matches!(with_conditions("\\"), Err(PolicyError::InvalidJson { .. })));
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_it_panic(text in ".{0,60}", inner in r#"[\[\]{}",:$a-c0-9 \\-]{0,60}"#) {
            for json in [&text, &format!(r#"{{"expiration":"2026-05-01T12:00:00Z","conditions":[{inner}]}}"#)] {
                if let Ok(policy) = parse_json(json) {
                    policy.check(Timestamp::from_millis(NOW), "b", &Fields::default()).ok();
                }
            }
            PostPolicy::parse(&text).ok();
        }
    }
}
