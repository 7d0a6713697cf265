//! Lifecycle rules: which objects a bucket expires, moves to another class or gives up, and when.
//!
//! Pure: rules come in as a request brought them (`lifecycle/xml.rs`), are checked, stored as JSON and given back exactly
//! as they were put. All conditions of a rule must hold, wherever in its filter they stand.

mod xml;

use crate::query::encode_for_list;
use cistern_objects::http_headers::http_date_text;
use cistern_objects::{CONFIGURATION_BYTES_MAX, OBJECT_TAGS_MAX, Tags};
use cistern_types::{StorageClass, Timestamp};
use serde::{Deserialize, Serialize};
use std::collections::HashSet;
use std::time::Duration;

/// The most rules of a bucket.
pub(crate) const RULES_MAX: usize = 1000;
/// The longest id of a rule.
const ID_CHARS_MAX: usize = 255;
/// The longest prefix: that of a key.
const PREFIX_BYTES_MAX: usize = 1024;
/// The most noncurrent versions that a rule can spare.
const NEWER_VERSIONS_MAX: u32 = 100;
const DAY: Duration = Duration::from_hours(24);
const DAY_MILLIS: u64 = 24 * 60 * 60 * 1000;

/// The rules of a bucket.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LifecycleConfiguration {
    /// As they were put.
    pub(crate) rules: Vec<LifecycleRule>,
}

/// One rule: what is done with the objects it is about.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct LifecycleRule {
    /// Its name, at most 255 characters, unique in the bucket.
    pub(crate) id: String,
    /// Whether it does nothing for now.
    #[serde(skip_serializing_if = "is_default")]
    pub(crate) disabled: bool,
    /// What keys begin with, where the rule is written the old way, without a filter.
    #[serde(skip_serializing_if = "is_default")]
    pub(crate) prefix: Option<String>,
    /// Which objects it is about; an empty one means all.
    #[serde(skip_serializing_if = "is_default")]
    pub(crate) filter: Option<Filter>,
    /// When objects, or delete markers with nothing behind them, are deleted.
    #[serde(skip_serializing_if = "is_default")]
    pub(crate) expiration: Option<Expiration>,
    /// When objects move to another class; at most one, as there is one other class.
    #[serde(skip_serializing_if = "is_default")]
    pub(crate) transitions: Vec<Transition>,
    /// When versions that are not current are deleted.
    #[serde(skip_serializing_if = "is_default")]
    pub(crate) noncurrent_expiration: Option<Noncurrent>,
    /// When versions that are not current move to another class; at most one.
    #[serde(skip_serializing_if = "is_default")]
    pub(crate) noncurrent_transitions: Vec<NoncurrentTransition>,
    /// After how many days uploads that were not completed are aborted.
    #[serde(skip_serializing_if = "is_default")]
    pub(crate) abort_days: Option<u32>,
}

/// Which objects a rule is about. S3 has either one condition or `And`; here both may stand together, and all count.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Filter {
    /// The conditions outside `And`: at most one tag.
    #[serde(flatten)]
    pub(crate) single: Criteria,
    /// Those in `And`.
    #[serde(skip_serializing_if = "is_default")]
    pub(crate) and: Option<Criteria>,
}

/// Conditions that must all hold; none hold for every object.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Criteria {
    /// What the key begins with.
    #[serde(skip_serializing_if = "is_default")]
    pub(crate) prefix: Option<String>,
    /// Tags the object has, among others.
    #[serde(skip_serializing_if = "is_default")]
    pub(crate) tags: Vec<(String, String)>,
    /// The object has more bytes.
    #[serde(skip_serializing_if = "is_default")]
    pub(crate) larger_than: Option<u64>,
    /// The object has fewer bytes.
    #[serde(skip_serializing_if = "is_default")]
    pub(crate) smaller_than: Option<u64>,
}

/// When something is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Due {
    /// So many days after the object was written, at the next midnight UTC.
    Days(u32),
    /// At that midnight UTC, and for later objects at once.
    Date(Timestamp),
}

/// What expires.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Expiration {
    /// Delete markers that are the last version of their key, if it says so.
    DeleteMarkers(bool),
    /// Objects.
    #[serde(untagged)]
    Objects(Due),
}

/// A move to another class.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Transition {
    /// When.
    #[serde(flatten)]
    pub(crate) due: Due,
    /// Where to.
    pub(crate) class: StorageClass,
}

/// Which versions that are not current are meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Noncurrent {
    /// Those that have not been current for so many days.
    pub(crate) days: u32,
    /// But not the newest so many, 1 to 100.
    #[serde(default, skip_serializing_if = "is_default")]
    pub(crate) newer_versions: Option<u32>,
}

/// A move of versions that are not current to another class.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct NoncurrentTransition {
    /// Which.
    #[serde(flatten)]
    pub(crate) which: Noncurrent,
    /// Where to.
    pub(crate) class: StorageClass,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// Why rules cannot be stored. The texts are answers to clients.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum LifecycleError {
    /// There is no rule.
    #[error("The lifecycle configuration has no rule; to have none, delete it.")]
    NoRules,
    /// Too many rules.
    #[error("The number of lifecycle rules must not exceed the allowed limit of {RULES_MAX} rules")]
    TooManyRules,
    /// Too much text.
    #[error(
        "The lifecycle configuration is too large: its rules may have {CONFIGURATION_BYTES_MAX} bytes as they are \
         stored. Use fewer rules, or shorter IDs and prefixes."
    )]
    TooLarge,
    /// An id is too long.
    #[error("ID length should not exceed allowed limit of {ID_CHARS_MAX}")]
    IdTooLong,
    /// Two rules have one id.
    #[error("Rule ID must be unique. Found same ID for more than one rule")]
    IdTwice,
    /// A status that is none.
    #[error("The Status of a lifecycle rule is Enabled or Disabled.")]
    InvalidStatus,
    /// It is not said, or said twice, what a rule is about.
    #[error("A lifecycle rule needs either a Filter, which may be empty, or in the old form a Prefix, and not both.")]
    NoFilter,
    /// `And` without conditions.
    #[error("And in a Filter needs at least one condition.")]
    EmptyAnd,
    /// A prefix that no key can have.
    #[error("The maximum size of a prefix is {PREFIX_BYTES_MAX}.")]
    PrefixTooLong,
    /// A tag that no object can have.
    #[error("{reason}")]
    InvalidTag {
        /// As the object store says it.
        reason: String,
    },
    /// A size that no object has.
    #[error("'{element}' must be a number of bytes, 0 or more")]
    NegativeSize {
        /// As the XML spells it.
        element: &'static str,
    },
    /// Bounds of the size that no object is between.
    #[error("'ObjectSizeLessThan' must be greater than 'ObjectSizeGreaterThan' by at least 2")]
    NoSizeBetween,
    /// A rule that does nothing.
    #[error("At least one action needs to be specified in a rule")]
    NoAction,
    /// A number of days that is none.
    #[error("'{element}' for {action} action must be a positive integer")]
    NotPositive {
        /// As the XML spells it.
        element: &'static str,
        /// As the XML spells it.
        action: &'static str,
    },
    /// A date with a time.
    #[error("'Date' must be at midnight GMT, and not before 1970")]
    NotMidnight,
    /// An action without its time, or with two.
    #[error("{action} needs exactly one of {elements}.")]
    NotOneOf {
        /// As the XML spells it.
        action: &'static str,
        /// As the XML spells them.
        elements: &'static str,
    },
    /// An action or condition without what it takes.
    #[error("{action} needs {element}.")]
    Missing {
        /// As the XML spells it.
        action: &'static str,
        /// As the XML spells it.
        element: &'static str,
    },
    /// A class that objects cannot be moved to.
    #[error("StorageClass \"{class}\" cannot be the target of a transition; use STANDARD_IA.")]
    NoTarget {
        /// As given, at most 64 characters.
        class: String,
    },
    /// A class that S3 has and this store has not.
    #[error("StorageClass \"{class}\" is not available here; use STANDARD_IA.")]
    NoSuchClass {
        /// As given.
        class: String,
    },
    /// Two moves to one class.
    #[error("'StorageClass' must be different for '{action}' actions in same 'Rule'")]
    ClassTwice {
        /// As the XML spells it.
        action: &'static str,
    },
    /// Too few or too many versions are spared.
    #[error("'NewerNoncurrentVersions' for {action} action must be from 1 to {NEWER_VERSIONS_MAX}")]
    NewerVersions {
        /// As the XML spells it.
        action: &'static str,
    },
    /// An action on what has neither tags nor a size.
    #[error("{action} cannot be specified with Tags or object sizes.")]
    NeedsPlainFilter {
        /// As the XML spells it.
        action: &'static str,
    },
}

/// Actions and elements as the XML spells them.
const EXPIRATION: &str = "Expiration";
const EXPIRED_MARKER: &str = "ExpiredObjectDeleteMarker";
const TRANSITION: &str = "Transition";
const NONCURRENT_EXPIRATION: &str = "NoncurrentVersionExpiration";
const NONCURRENT_TRANSITION: &str = "NoncurrentVersionTransition";
const ABORT: &str = "AbortIncompleteMultipartUpload";
const NONCURRENT_DAYS: &str = "NoncurrentDays";
const ABORT_DAYS: &str = "DaysAfterInitiation";

/// An object as filters see it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Candidate<'a> {
    /// Its key.
    pub(crate) key: &'a str,
    /// Its size in bytes.
    pub(crate) size: u64,
    /// Its tags.
    pub(crate) tags: &'a Tags,
    /// When it was written.
    pub(crate) modified: Timestamp,
}

impl LifecycleConfiguration {
    /// Refuses what S3 refuses to store, but for a filter with several conditions outside `And`, for moves within the first
    /// 30 days, and for moves that come too late: an object that expires first is never moved.
    pub(crate) fn check(&self) -> Result<(), LifecycleError> {
        if self.rules.is_empty() {
            return Err(LifecycleError::NoRules);
        }
        if self.rules.len() > RULES_MAX {
            return Err(LifecycleError::TooManyRules);
        }
        let mut ids = HashSet::with_capacity(self.rules.len());
        for rule in &self.rules {
            rule.check()?;
            if !ids.insert(rule.id.as_str()) {
                return Err(LifecycleError::IdTwice);
            }
        }
        Ok(())
    }

    /// When the current version `object` expires, and by which rule: the earliest, and of equal ones the first.
    pub(crate) fn expiry(&self, object: &Candidate<'_>) -> Option<(Timestamp, &LifecycleRule)> {
        let due = self.rules.iter().filter_map(|rule| Some((rule.expiry(object)?, rule)));
        due.min_by_key(|(due, _)| *due)
    }

    /// `x-amz-expiration` of the current version `object`; the id in it is escaped, as S3 does it.
    pub(crate) fn expiration_header(&self, object: &Candidate<'_>) -> Option<String> {
        let (due, rule) = self.expiry(object)?;
        let (due, id) = (http_date_text(due), encode_for_list(&rule.id));
        Some(format!(r#"expiry-date="{due}", rule-id="{id}""#))
    }

    /// When an upload to `key` is aborted if it is not completed, and by which rule: the earliest, and of equal ones the first.
    pub(crate) fn abort(&self, key: &str, initiated: Timestamp) -> Option<(Timestamp, &LifecycleRule)> {
        // such rules ask for nothing but prefixes
        let upload = Candidate { key, size: 0, tags: &Tags::default(), modified: initiated };
        let due = self.rules.iter().filter_map(|rule| Some((rule.abort(&upload)?, rule)));
        due.min_by_key(|(due, _)| *due)
    }
}

impl LifecycleRule {
    fn check(&self) -> Result<(), LifecycleError> {
        if self.id.chars().count() > ID_CHARS_MAX {
            return Err(LifecycleError::IdTooLong);
        }
        match (&self.prefix, &self.filter) {
            (Some(prefix), None) => check_prefix(prefix)?,
            (None, Some(filter)) => filter.check()?,
            (None, None) | (Some(_), Some(_)) => return Err(LifecycleError::NoFilter),
        }
        self.check_actions()?;
        let plain = self.filter.as_ref().is_none_or(Filter::is_plain);
        for (action, present) in [
            (EXPIRED_MARKER, self.expiration == Some(Expiration::DeleteMarkers(true))),
            (ABORT, self.abort_days.is_some()),
        ] {
            if present && !plain {
                return Err(LifecycleError::NeedsPlainFilter { action });
            }
        }
        Ok(())
    }

    fn check_actions(&self) -> Result<(), LifecycleError> {
        let (moves, noncurrent_moves) = (&self.transitions, &self.noncurrent_transitions);
        if self.expiration.is_none()
            && self.noncurrent_expiration.is_none()
            && self.abort_days.is_none()
            && moves.is_empty()
            && noncurrent_moves.is_empty()
        {
            return Err(LifecycleError::NoAction);
        }
        if let Some(Expiration::Objects(due)) = self.expiration {
            due.check()?;
            if due == Due::Days(0) {
                return Err(LifecycleError::NotPositive { element: "Days", action: EXPIRATION });
            }
        }
        if self.abort_days == Some(0) {
            return Err(LifecycleError::NotPositive { element: ABORT_DAYS, action: ABORT });
        }
        self.noncurrent_expiration.map_or(Ok(()), |which| which.check(NONCURRENT_EXPIRATION))?;
        for (action, count) in [(TRANSITION, moves.len()), (NONCURRENT_TRANSITION, noncurrent_moves.len())] {
            if count > 1 {
                return Err(LifecycleError::ClassTwice { action });
            }
        }
        for transition in moves {
            transition.due.check()?;
            check_target(transition.class)?;
        }
        for transition in noncurrent_moves {
            transition.which.check(NONCURRENT_TRANSITION)?;
            check_target(transition.class)?;
        }
        Ok(())
    }

    /// Whether it is about that object.
    pub(crate) fn matches(&self, object: &Candidate<'_>) -> bool {
        let prefix = self.prefix.as_ref().is_none_or(|prefix| object.key.starts_with(prefix));
        prefix && self.filter.as_ref().is_none_or(|filter| filter.criteria().all(|criteria| criteria.hold(object)))
    }

    fn expiry(&self, object: &Candidate<'_>) -> Option<Timestamp> {
        match self.expiration? {
            Expiration::Objects(due) if !self.disabled && self.matches(object) => Some(due.after(object.modified)),
            Expiration::Objects(_) | Expiration::DeleteMarkers(_) => None,
        }
    }

    fn abort(&self, upload: &Candidate<'_>) -> Option<Timestamp> {
        let days = self.abort_days.filter(|_| !self.disabled && self.matches(upload))?;
        Some(Due::Days(days).after(upload.modified))
    }
}

impl Filter {
    fn criteria(&self) -> impl Iterator<Item = &Criteria> {
        [&self.single].into_iter().chain(&self.and)
    }

    fn check(&self) -> Result<(), LifecycleError> {
        if self.and.as_ref().is_some_and(is_default) {
            return Err(LifecycleError::EmptyAnd);
        }
        self.criteria().try_for_each(Criteria::check)
    }

    /// Whether it asks for nothing but prefixes.
    fn is_plain(&self) -> bool {
        self.criteria().all(|one| one.tags.is_empty() && one.larger_than.is_none() && one.smaller_than.is_none())
    }
}

impl Criteria {
    fn check(&self) -> Result<(), LifecycleError> {
        self.prefix.as_deref().map_or(Ok(()), check_prefix)?;
        Tags::new(self.tags.clone(), OBJECT_TAGS_MAX)
            .map_err(|error| LifecycleError::InvalidTag { reason: error.to_string() })?;
        match (self.larger_than, self.smaller_than) {
            (larger, Some(smaller)) if smaller <= larger.map_or(0, |larger| larger.saturating_add(1)) => {
                Err(LifecycleError::NoSizeBetween)
            }
            _ => Ok(()),
        }
    }

    fn hold(&self, object: &Candidate<'_>) -> bool {
        self.prefix.as_ref().is_none_or(|prefix| object.key.starts_with(prefix))
            && self.tags.iter().all(|tag| object.tags.pairs().contains(tag))
            && self.larger_than.is_none_or(|bytes| object.size > bytes)
            && self.smaller_than.is_none_or(|bytes| object.size < bytes)
    }
}

impl Due {
    fn check(self) -> Result<(), LifecycleError> {
        match self {
            Self::Date(date) if !date.as_millis().is_multiple_of(DAY_MILLIS) => Err(LifecycleError::NotMidnight),
            Self::Date(_) | Self::Days(_) => Ok(()),
        }
    }

    /// When it is due for what was written at `modified`: always a midnight UTC.
    pub(crate) fn after(self, modified: Timestamp) -> Timestamp {
        match self {
            Self::Date(date) => date,
            Self::Days(days) => {
                let millis = modified.plus(DAY * days).as_millis();
                Timestamp::from_millis(millis.div_ceil(DAY_MILLIS).saturating_mul(DAY_MILLIS))
            }
        }
    }
}

impl Noncurrent {
    fn check(self, action: &'static str) -> Result<(), LifecycleError> {
        // A move may come at once, as that of current versions may.
        if self.days == 0 && action == NONCURRENT_EXPIRATION {
            return Err(LifecycleError::NotPositive { element: NONCURRENT_DAYS, action });
        }
        if self.newer_versions.is_some_and(|count| !(1..=NEWER_VERSIONS_MAX).contains(&count)) {
            return Err(LifecycleError::NewerVersions { action });
        }
        Ok(())
    }
}

fn check_prefix(prefix: &str) -> Result<(), LifecycleError> {
    if prefix.len() > PREFIX_BYTES_MAX { Err(LifecycleError::PrefixTooLong) } else { Ok(()) }
}

fn check_target(class: StorageClass) -> Result<(), LifecycleError> {
    match class {
        StorageClass::InfrequentAccess => Ok(()),
        StorageClass::Standard => Err(LifecycleError::NoTarget { class: class.to_string() }),
    }
}

#[cfg(test)]
mod tests;
