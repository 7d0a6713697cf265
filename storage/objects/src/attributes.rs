//! What an object carries beside its bytes and headers: tags, retention, a legal hold, an owner and access list of its own, a
//! wrapped key.
//!
//! Stored as a list of those that are there, so that an object with none pays one byte and later kinds need no new row version.

use crate::{Error, Result, Sealing};
use cistern_types::{Acl, Owner, Timestamp};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::fmt::{self, Write as _};

/// The most tags of an object, as S3 has it.
pub const OBJECT_TAGS_MAX: usize = 10;
/// The most tags of a bucket, as S3 has it.
pub const BUCKET_TAGS_MAX: usize = 50;

const TAG_KEY_CHARS_MAX: usize = 128;
const TAG_VALUE_CHARS_MAX: usize = 256;

/// What keys of tags that nobody may set begin with.
const RESERVED_TAGS: &str = "aws:";

/// Tags: names with values, in the order of the names, no name twice.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tags(Vec<(String, String)>);

impl Tags {
    /// Checked tags: at most `count_max`, names of 1 to 128 characters, values of at most 256, of the characters that S3 has for them,
    /// no name reserved, none twice; `InvalidTag` says which is not.
    pub fn new(mut pairs: Vec<(String, String)>, count_max: usize) -> Result<Self> {
        let invalid = |reason: String| Err(Error::InvalidTag { reason });
        if pairs.len() > count_max {
            return invalid(format!("there are {} tags, at most {count_max} are allowed", pairs.len()));
        }
        let mut seen = BTreeSet::new();
        for (name, value) in &pairs {
            if name.is_empty() || name.chars().count() > TAG_KEY_CHARS_MAX {
                return invalid(format!("a tag key has 1 to {TAG_KEY_CHARS_MAX} characters"));
            }
            if value.chars().count() > TAG_VALUE_CHARS_MAX {
                return invalid(format!("a tag value has at most {TAG_VALUE_CHARS_MAX} characters"));
            }
            if name.starts_with(RESERVED_TAGS) {
                return invalid(format!("tag keys that begin with {RESERVED_TAGS} are reserved"));
            }
            if !name.chars().chain(value.chars()).all(fits_tag) {
                return invalid(
                    "tags have letters, digits, spaces and _ . : / = + - @, and no other characters".into(),
                );
            }
            if !seen.insert(name) {
                return invalid("a tag key is there twice".into());
            }
        }
        pairs.sort_unstable();
        Ok(Self(pairs))
    }

    /// Tags as they were stored, not checked again: once there were no rules for characters.
    pub fn of_stored(pairs: Vec<(String, String)>) -> Self {
        Self(pairs)
    }

    /// The pairs, in order.
    pub fn pairs(&self) -> &[(String, String)] {
        &self.0
    }

    /// As a query string, which is how headers carry them.
    pub fn to_query(&self) -> String {
        let escape = |text: &str| {
            text.bytes().fold(String::new(), |mut escaped, byte| {
                match byte {
                    b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' => escaped.push(byte.into()),
                    _ => write!(escaped, "%{byte:02X}").expect("writing to a string cannot fail"),
                }
                escaped
            })
        };
        let pairs = self.0.iter().map(|(name, value)| format!("{}={}", escape(name), escape(value)));
        pairs.collect::<Vec<_>>().join("&")
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }
}

fn fits_tag(letter: char) -> bool {
    let is_space = letter.is_whitespace() && !letter.is_control();
    letter.is_alphanumeric() || is_space || "_.:/=+-@".contains(letter)
}

/// Who may shorten a retention.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum RetentionMode {
    /// Whoever may bypass governance.
    Governance,
    /// Nobody.
    Compliance,
}

impl fmt::Display for RetentionMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Governance => "GOVERNANCE",
            Self::Compliance => "COMPLIANCE",
        })
    }
}

/// Until when a version cannot be deleted or written over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Retention {
    /// Who may shorten it.
    pub mode: RetentionMode,
    /// When it ends.
    pub until: Timestamp,
}

/// What an object carries beside its bytes and headers; the default is nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Vec<Attribute>", into = "Vec<Attribute>")]
pub struct Attributes {
    /// Its tags.
    pub tags: Tags,
    /// Until when it is kept, if that was ever said.
    pub retention: Option<Retention>,
    /// Whether it is on hold, if that was ever said.
    pub legal_hold: Option<bool>,
    /// Whose it is, when it is not the bucket owner's.
    pub owner: Option<Owner>,
    /// Who may do what with it; without one only its owner and the bucket's may.
    pub acl: Option<Acl>,
    /// What opens its bytes, when they are encrypted. Whoever writes it sets it: what a request says here is passed over.
    pub sealing: Option<Sealing>,
}

impl Attributes {
    /// Only these tags.
    pub fn tagged(tags: Tags) -> Self {
        Self { tags, ..Self::default() }
    }

    /// Whether they speak of locks.
    pub(crate) fn locks(&self) -> bool {
        self.retention.is_some() || self.legal_hold.is_some()
    }

    /// Whether a version with them is held, or retained at this moment.
    pub fn is_locked(&self, now: Timestamp) -> bool {
        self.check_deletable(now, false).is_err()
    }

    /// Refuses the end of a version that is held or retained; `bypass` passes over governance.
    pub(crate) fn check_deletable(&self, now: Timestamp, bypass: bool) -> Result<()> {
        let retained = self.retention.is_some_and(|retention| {
            let bypassed = bypass && retention.mode == RetentionMode::Governance;
            retention.until > now && !bypassed
        });
        if retained || self.legal_hold == Some(true) { Err(Error::ObjectLocked) } else { Ok(()) }
    }

    /// Refuses a retention that is not as long as the present one and of its mode; `bypass` allows any under governance.
    pub(crate) fn check_retention(&self, new: Option<Retention>, now: Timestamp, bypass: bool) -> Result<()> {
        let Some(present) = self.retention.filter(|present| present.until > now) else { return Ok(()) };
        let longer = new.is_some_and(|new| new.mode == present.mode && new.until >= present.until);
        let allowed = bypass && present.mode == RetentionMode::Governance;
        if longer || allowed { Ok(()) } else { Err(Error::ObjectLocked) }
    }
}

/// One of [`Attributes`] as rows store it. New variants go to the end.
#[derive(Debug, Clone, Serialize, Deserialize)]
enum Attribute {
    Tags(Tags),
    Retention(Retention),
    LegalHold(bool),
    Owner(Owner),
    Acl(Acl),
    Sealing(Sealing),
}

impl From<Vec<Attribute>> for Attributes {
    fn from(stored: Vec<Attribute>) -> Self {
        let mut attributes = Self::default();
        for attribute in stored {
            match attribute {
                Attribute::Tags(tags) => attributes.tags = tags,
                Attribute::Retention(retention) => attributes.retention = Some(retention),
                Attribute::LegalHold(on) => attributes.legal_hold = Some(on),
                Attribute::Owner(owner) => attributes.owner = Some(owner),
                Attribute::Acl(acl) => attributes.acl = Some(acl),
                Attribute::Sealing(sealing) => attributes.sealing = Some(sealing),
            }
        }
        attributes
    }
}

impl From<Attributes> for Vec<Attribute> {
    fn from(attributes: Attributes) -> Self {
        let Attributes { tags, retention, legal_hold, owner, acl, sealing } = attributes;
        let tags = Some(tags).filter(|tags| !tags.is_empty()).map(Attribute::Tags);
        tags.into_iter()
            .chain(retention.map(Attribute::Retention))
            .chain(legal_hold.map(Attribute::LegalHold))
            .chain(owner.map(Attribute::Owner))
            .chain(acl.map(Attribute::Acl))
            .chain(sealing.map(Attribute::Sealing))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cistern_types::OwnerId;

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_millis(seconds * 1000)
    }

    fn retained(mode: RetentionMode, until: u64) -> Attributes {
        Attributes { retention: Some(Retention { mode, until: at(until) }), ..Attributes::default() }
    }

    #[test]
    fn an_object_without_attributes_pays_one_byte_and_all_come_back() {
        assert_eq!(postcard::to_stdvec(&Attributes::default()).unwrap(), [0]);
        let tags = Tags::new(vec![("b".into(), "1".into()), ("a".into(), String::new())], 10).unwrap();
        let owner = Owner { id: OwnerId::from_bytes([1; 32]), name: "ada".into() };
        let acl = Acl::canned("public-read", &owner, &owner);
        let (legal_hold, owner) = (Some(false), Some(owner));
        let wrapped = crate::MasterKeys::generate().wrap(&crate::seal::DataKey::random(), b"k").unwrap();
        let sealing = Some(Sealing::Master(wrapped));
        let all = Attributes { tags, legal_hold, owner, acl, sealing, ..retained(RetentionMode::Compliance, 9) };
        let bytes = postcard::to_stdvec(&all).unwrap();
        assert_eq!(postcard::from_bytes::<Attributes>(&bytes).unwrap(), all);
    }

    #[test]
    fn tags_are_bounded_and_told_apart() {
        let tag = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let long = "ä".repeat(TAG_KEY_CHARS_MAX);
        assert!(Tags::new(vec![tag(&long, &"ä".repeat(256)), tag("b", "")], 2).is_ok());
        assert!(Tags::new(vec![tag("aA1٣日 _.:/=+-@", "\u{a0}aws:"), tag("awsome", ""), tag("AWS", "")], 3).is_ok());
        for (bad, count_max) in [
            (vec![tag("a", ""), tag("b", "")], 1),
            (vec![tag("a", "1"), tag("a", "2")], 10),
            (vec![tag("", "")], 10),
            (vec![tag(&format!("{long}x"), "")], 10),
            (vec![tag("a", &"v".repeat(257))], 10),
            (vec![tag("a&b", "")], 10),
            (vec![tag("a", "tab\tand line\n")], 10),
            (vec![tag("a", "\u{200b}")], 10),
            (vec![tag("aws:a", "")], 10),
        ] {
            assert!(matches!(Tags::new(bad, count_max), Err(Error::InvalidTag { .. })));
        }
    }

    #[test]
    fn what_is_held_or_retained_is_not_deleted() {
        use RetentionMode::{Compliance, Governance};
        let held = |on| Attributes { legal_hold: Some(on), ..Attributes::default() };
        for (attributes, bypass, deletable) in [
            (Attributes::default(), false, true),
            (held(true), true, false),
            (held(false), false, true),
            (retained(Governance, 101), false, false),
            (retained(Governance, 101), true, true),
            (retained(Compliance, 101), true, false),
            (retained(Compliance, 100), false, true),
        ] {
            let answer = attributes.check_deletable(at(100), bypass);
            assert_eq!(answer.is_ok(), deletable, "{attributes:?} {bypass}");
        }
    }

    #[test]
    fn a_retention_is_only_weakened_under_governance_by_whom_may() {
        use RetentionMode::{Compliance, Governance};
        let new = |mode, until| Some(Retention { mode, until: at(until) });
        for (present, new, plain, bypassing) in [
            (retained(Governance, 200), new(Governance, 300), true, true),
            (retained(Governance, 200), new(Compliance, 200), false, true),
            (retained(Governance, 200), new(Governance, 150), false, true),
            (retained(Governance, 200), None, false, true),
            (retained(Governance, 99), None, true, true),
            (retained(Compliance, 200), new(Compliance, 300), true, true),
            (retained(Compliance, 200), new(Compliance, 199), false, false),
            (retained(Compliance, 200), new(Governance, 300), false, false),
            (retained(Compliance, 200), None, false, false),
            (Attributes::default(), new(Compliance, 300), true, true),
        ] {
            let check = |bypass| present.check_retention(new, at(100), bypass).is_ok();
            assert_eq!((check(false), check(true)), (plain, bypassing), "{present:?} {new:?}");
        }
    }
}
