//! `Condition`: one operator on one condition key of a statement, and whether a request fulfils it.
//!
//! ```text
//! "ForAnyValue:StringNotLikeIfExists": { "s3:RequestObjectTagKeys": ["a*", "b"] }
//!  quantifier  test, negated  if_exists   key                        test's values
//! ```
//!
//! Of several values in the policy one must fit, with a negated operator none. A key that the request lacks fails an
//! operator and fulfils a negated one.

use super::Scene;
use super::names::{condition_key, is_existing_tag, says_who};
use super::pattern::{Pattern, Signs};
use super::{Flaw, shown};
use std::net::IpAddr;
use time::format_description::well_known::Rfc3339;
use time::{Date, Month, OffsetDateTime};

/// Parts of an ARN: `arn:partition:service:region:account:resource`. The last may hold colons.
const ARN_PARTS: usize = 6;
/// The widest networks that `aws:SourceIp` may name so that a grant to everybody counts as narrowed: the shortest
/// prefixes, in bits.
const NARROW_PREFIX_V4: u8 = 8;
/// The same for IPv6.
const NARROW_PREFIX_V6: u8 = 32;

/// The longest value of a request that is judged, in bytes.
const VALUE_BYTES_MAX: usize = 4096;

/// One operator on one key.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Condition {
    key: String,
    quantifier: Option<Quantifier>,
    test: Test,
    negated: bool,
    if_exists: bool,
}

/// How many of the request's values must fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Quantifier {
    /// All of them, of none too.
    All,
    /// At least one.
    Any,
}

/// What a value is compared with.
#[derive(Debug, Clone, PartialEq)]
enum Test {
    Text {
        values: Vec<Pattern>,
        any_case: bool,
    },
    Arn(Vec<Vec<Pattern>>),
    Number(Order, Vec<f64>),
    Date(Order, Vec<OffsetDateTime>),
    Bool(Vec<bool>),
    Network(Vec<Network>),
    /// Whether the key must be absent.
    Null(bool),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Order {
    Equals,
    LessThan,
    LessThanEquals,
    GreaterThan,
    GreaterThanEquals,
}

/// An address with the number of leading bits that count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Network {
    address: IpAddr,
    prefix: u8,
}

/// The operators without prefix and suffix.
#[derive(Debug, Clone, Copy)]
enum Kind {
    Text { wildcards: bool, any_case: bool },
    Arn,
    Number(Order),
    Date(Order),
    Bool,
    Network,
    Null,
}

impl Condition {
    /// Reads an operator and a key with its values; `variables` as in [`Signs`].
    pub(super) fn parse(operator: &str, key: &str, values: &[String], variables: bool) -> Result<Self, Flaw> {
        let unknown = || Flaw::Operator { given: shown(operator) };
        let (quantifier, name) = match operator.split_once(':') {
            None => (None, operator),
            Some(("ForAllValues", name)) => (Some(Quantifier::All), name),
            Some(("ForAnyValue", name)) => (Some(Quantifier::Any), name),
            Some(_) => return Err(unknown()),
        };
        let (name, if_exists) = name.strip_suffix("IfExists").map_or((name, false), |name| (name, true));
        let (kind, negated) = kind(name).ok_or_else(unknown)?;
        if matches!(kind, Kind::Null) && (if_exists || quantifier.is_some()) {
            return Err(unknown());
        }
        let key = condition_key(key).ok_or_else(|| Flaw::ConditionKey { given: shown(key) })?;
        let test = Test::parse(kind, values, variables)?;
        Ok(Self { key, quantifier, test, negated, if_exists })
    }

    /// Whether the request fulfils it; `None` when it says something too long to be judged.
    pub(super) fn holds(&self, scene: &Scene<'_>) -> Option<bool> {
        let values = scene.values(&self.key).filter(|values| !values.is_empty());
        if let Test::Null(absent) = self.test {
            return Some(values.is_none() == absent);
        }
        match values {
            Some(values) if values.iter().any(|value| value.len() > VALUE_BYTES_MAX) => None,
            values => Some(self.judge(values.as_deref(), scene)),
        }
    }

    fn judge(&self, values: Option<&[String]>, scene: &Scene<'_>) -> bool {
        let Some(values) = values else {
            return match self.quantifier {
                _ if self.if_exists => true,
                Some(Quantifier::All) => true,
                Some(Quantifier::Any) => false,
                None => self.negated,
            };
        };
        let fits = |value: &String| self.test.fits(value, scene) != self.negated;
        match self.quantifier {
            Some(Quantifier::All) => values.iter().all(fits),
            None if self.negated => values.iter().all(fits),
            Some(Quantifier::Any) | None => values.iter().any(fits),
        }
    }

    /// Whether it narrows a grant to everybody down to fixed, trusted values.
    pub(super) fn names_the_trusted(&self) -> bool {
        if self.negated || self.if_exists || self.quantifier == Some(Quantifier::All) {
            return false;
        }
        match &self.test {
            Test::Text { values, .. } => says_who(&self.key) && values.iter().all(Pattern::is_fixed),
            Test::Arn(values) => says_who(&self.key) && values.iter().flatten().all(Pattern::is_fixed),
            Test::Network(networks) => self.key == "aws:sourceip" && networks.iter().all(Network::is_narrow),
            Test::Number(..) | Test::Date(..) | Test::Bool(_) | Test::Null(_) => false,
        }
    }

    /// Whether a tag of the object must be known to judge it.
    pub(super) fn asks_existing_tag(&self) -> bool {
        is_existing_tag(&self.key)
            || match &self.test {
                Test::Text { values, .. } => values.iter().any(Pattern::asks_existing_tag),
                Test::Arn(values) => values.iter().flatten().any(Pattern::asks_existing_tag),
                Test::Number(..) | Test::Date(..) | Test::Bool(_) | Test::Network(_) | Test::Null(_) => false,
            }
    }
}

impl Test {
    fn parse(kind: Kind, values: &[String], variables: bool) -> Result<Self, Flaw> {
        let pattern = |text: &str, wildcards| {
            Pattern::parse(text, Signs { wildcards, variables }).map_err(|problem| Flaw::Variable { problem })
        };
        Ok(match kind {
            Kind::Text { wildcards, any_case } => {
                let values = values.iter().map(|text| pattern(text, wildcards)).collect::<Result<_, _>>()?;
                Self::Text { values, any_case }
            }
            Kind::Arn => {
                let arn = |text: &String| {
                    let parts = pattern(text, true)?.split_colons(ARN_PARTS);
                    parts.ok_or_else(|| value_flaw(text, "an ARN of six parts between colons"))
                };
                Self::Arn(values.iter().map(arn).collect::<Result<_, _>>()?)
            }
            Kind::Number(order) => Self::Number(order, parse_all(values, number, "a decimal number")?),
            Kind::Date(order) => {
                Self::Date(order, parse_all(values, date, "a date like 2026-01-31T12:00:00Z or seconds since 1970")?)
            }
            Kind::Bool => Self::Bool(parse_all(values, boolean, "true or false")?),
            Kind::Network => {
                Self::Network(parse_all(values, Network::parse, "an address or a network like 10.0.0.0/8")?)
            }
            Kind::Null => match parse_all(values, boolean, "true or false")?.as_slice() {
                [absent] => Self::Null(*absent),
                _ => return Err(value_flaw("", "one value, true or false")),
            },
        })
    }

    /// Whether `value` is one of the policy's values, or stands to one of them as the operator says.
    fn fits(&self, value: &str, scene: &Scene<'_>) -> bool {
        match self {
            Self::Text { values, any_case: false } => values.iter().any(|own| own.matches(value, scene)),
            Self::Text { values, any_case: true } => values.iter().any(|own| own.matches_any_case(value, scene)),
            Self::Arn(values) => {
                let parts: Vec<&str> = value.splitn(ARN_PARTS, ':').collect();
                let same = |own: &Vec<Pattern>| own.iter().zip(&parts).all(|(own, part)| own.matches(part, scene));
                parts.len() == ARN_PARTS && values.iter().any(same)
            }
            Self::Number(order, values) => number(value).is_some_and(|value| order.any(value, values)),
            Self::Date(order, values) => date(value).is_some_and(|value| order.any(value, values)),
            Self::Bool(values) => boolean(value).is_some_and(|value| values.contains(&value)),
            Self::Network(values) => {
                let address = value.parse::<IpAddr>().map(|address| address.to_canonical());
                address.is_ok_and(|address| values.iter().any(|network| network.contains(address)))
            }
            // Decided before there are values.
            Self::Null(_) => false,
        }
    }
}

impl Order {
    fn any<T: PartialOrd + Copy>(self, value: T, values: &[T]) -> bool {
        values.iter().any(|own| match self {
            Self::Equals => value == *own,
            Self::LessThan => value < *own,
            Self::LessThanEquals => value <= *own,
            Self::GreaterThan => value > *own,
            Self::GreaterThanEquals => value >= *own,
        })
    }
}

impl Network {
    /// Reads `10.0.0.0/8`, `2001:db8::/32` or a single address.
    fn parse(text: &str) -> Option<Self> {
        let (address, prefix) = text.split_once('/').map_or((text, None), |(address, prefix)| (address, Some(prefix)));
        let address: IpAddr = address.parse().ok()?;
        let bits = if address.is_ipv4() { 32 } else { 128 };
        let prefix = match prefix {
            None => bits,
            Some(digits) if digits.bytes().all(|digit| digit.is_ascii_digit()) => digits.parse().ok()?,
            Some(_) => return None,
        };
        (prefix <= bits).then_some(Self { address, prefix })
    }

    /// Bits of the own address beyond the prefix do not count.
    fn contains(&self, other: IpAddr) -> bool {
        let prefix = u32::from(self.prefix);
        match (self.address, other) {
            (IpAddr::V4(own), IpAddr::V4(other)) => {
                (own.to_bits() ^ other.to_bits()).checked_shr(32 - prefix).unwrap_or(0) == 0
            }
            (IpAddr::V6(own), IpAddr::V6(other)) => {
                (own.to_bits() ^ other.to_bits()).checked_shr(128 - prefix).unwrap_or(0) == 0
            }
            _ => false,
        }
    }

    fn is_narrow(&self) -> bool {
        self.prefix >= if self.address.is_ipv4() { NARROW_PREFIX_V4 } else { NARROW_PREFIX_V6 }
    }
}

/// What an operator does, and whether its answer is turned round.
fn kind(name: &str) -> Option<(Kind, bool)> {
    let text = |wildcards, any_case| Kind::Text { wildcards, any_case };
    let known = match name {
        "StringEquals" => (text(false, false), false),
        "StringNotEquals" => (text(false, false), true),
        "StringEqualsIgnoreCase" => (text(false, true), false),
        "StringNotEqualsIgnoreCase" => (text(false, true), true),
        "StringLike" => (text(true, false), false),
        "StringNotLike" => (text(true, false), true),
        "ArnEquals" | "ArnLike" => (Kind::Arn, false),
        "ArnNotEquals" | "ArnNotLike" => (Kind::Arn, true),
        "Bool" => (Kind::Bool, false),
        "IpAddress" => (Kind::Network, false),
        "NotIpAddress" => (Kind::Network, true),
        "Null" => (Kind::Null, false),
        _ => {
            let of_numbers = name.strip_prefix("Numeric").map(|order| (Kind::Number as fn(Order) -> Kind, order));
            let (kind, order) =
                of_numbers.or_else(|| name.strip_prefix("Date").map(|order| (Kind::Date as _, order)))?;
            match order {
                "Equals" => (kind(Order::Equals), false),
                "NotEquals" => (kind(Order::Equals), true),
                "LessThan" => (kind(Order::LessThan), false),
                "LessThanEquals" => (kind(Order::LessThanEquals), false),
                "GreaterThan" => (kind(Order::GreaterThan), false),
                "GreaterThanEquals" => (kind(Order::GreaterThanEquals), false),
                _ => return None,
            }
        }
    };
    Some(known)
}

fn parse_all<T>(values: &[String], parse: fn(&str) -> Option<T>, rule: &'static str) -> Result<Vec<T>, Flaw> {
    values.iter().map(|text| parse(text).ok_or_else(|| value_flaw(text, rule))).collect()
}

fn value_flaw(given: &str, rule: &'static str) -> Flaw {
    Flaw::Value { given: shown(given), rule }
}

fn boolean(text: &str) -> Option<bool> {
    match text {
        _ if text.eq_ignore_ascii_case("true") => Some(true),
        _ if text.eq_ignore_ascii_case("false") => Some(false),
        _ => None,
    }
}

/// Digits, perhaps with a sign and a point; no exponent, no infinity.
fn number(text: &str) -> Option<f64> {
    let plain = text.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'.' | b'-' | b'+'));
    plain.then(|| text.parse().ok()).flatten().filter(|number: &f64| number.is_finite())
}

/// `2026-01`, `2026-01-31`, a full RFC 3339 time with or without seconds, or whole seconds since 1970.
fn date(text: &str) -> Option<OffsetDateTime> {
    if text.bytes().all(|byte| byte.is_ascii_digit()) {
        return OffsetDateTime::from_unix_timestamp(text.parse().ok()?).ok();
    }
    let Some((day, time)) = text.split_once('T') else { return Some(midnight(text)?.assume_utc()) };
    // RFC 3339 wants seconds, W3C dates may leave them out: `12:30Z`, `12:30+02:00`.
    let zone = time.find(['Z', '+', '-'])?;
    let (clock, zone) = time.split_at(zone);
    let seconds = if clock.len() == "12:30".len() { ":00" } else { "" };
    OffsetDateTime::parse(&format!("{day}T{clock}{seconds}{zone}"), &Rfc3339).ok()
}

fn midnight(text: &str) -> Option<time::PrimitiveDateTime> {
    let mut parts = text.split('-');
    let year = parts.next().filter(|part| part.len() == 4)?.parse().ok()?;
    let mut two_digits = || match parts.next() {
        None => Some(None),
        Some(part) if part.len() == 2 => part.parse::<u8>().ok().map(Some),
        Some(_) => None,
    };
    let (month, day) = (two_digits()?.unwrap_or(1), two_digits()?.unwrap_or(1));
    let date = Date::from_calendar_date(year, Month::try_from(month).ok()?, day).ok()?;
    parts.next().is_none().then(|| date.midnight())
}
