//! Lifecycle rules between XML, as s3s has parsed it, and the shape they are stored in. Both ways keep everything, so
//! that rules come back exactly as they were put.

use super::{
    ABORT, ABORT_DAYS, Criteria, Due, EXPIRATION, Expiration, Filter, LifecycleConfiguration, LifecycleError,
    LifecycleRule, NONCURRENT_DAYS, NONCURRENT_EXPIRATION, NONCURRENT_TRANSITION, Noncurrent, NoncurrentTransition,
    TRANSITION, Transition,
};
use crate::headers::{size_of, time_of};
use cistern_types::{StorageClass, Timestamp};
use s3s::dto;
use time::OffsetDateTime;

/// Classes of S3 that objects could be moved to there.
const FOREIGN_CLASSES: [&str; 5] = ["DEEP_ARCHIVE", "GLACIER", "GLACIER_IR", "INTELLIGENT_TIERING", "ONEZONE_IA"];
/// How much of a class that is none an answer repeats.
const ECHO_CHARS_MAX: usize = 64;

impl LifecycleConfiguration {
    /// The rules of a request, not yet checked; those without an ID get one of `new_id`.
    pub(crate) fn from_xml(
        asked: dto::BucketLifecycleConfiguration,
        new_id: impl Fn() -> String,
    ) -> Result<Self, LifecycleError> {
        let rules = asked.rules.into_iter().map(|rule| LifecycleRule::from_xml(rule, &new_id));
        Ok(Self { rules: rules.collect::<Result<_, _>>()? })
    }

    /// The rules for an answer.
    pub(crate) fn into_xml(self) -> Vec<dto::LifecycleRule> {
        self.rules.into_iter().map(LifecycleRule::into_xml).collect()
    }
}

impl LifecycleRule {
    fn from_xml(rule: dto::LifecycleRule, new_id: impl Fn() -> String) -> Result<Self, LifecycleError> {
        let disabled = match rule.status.as_str() {
            dto::ExpirationStatus::ENABLED => false,
            dto::ExpirationStatus::DISABLED => true,
            _ => return Err(LifecycleError::InvalidStatus),
        };
        let noncurrent = |asked: dto::NoncurrentVersionExpiration| {
            noncurrent_from(asked.noncurrent_days, asked.newer_noncurrent_versions, NONCURRENT_EXPIRATION)
        };
        let transitions = rule.transitions.unwrap_or_default().into_iter().map(transition_from);
        let noncurrent_transitions = rule.noncurrent_version_transitions.unwrap_or_default().into_iter();
        Ok(Self {
            id: rule.id.filter(|id| !id.is_empty()).unwrap_or_else(new_id),
            disabled,
            prefix: rule.prefix,
            filter: rule.filter.map(filter_from).transpose()?,
            expiration: rule.expiration.map(expiration_from).transpose()?,
            transitions: transitions.collect::<Result<_, _>>()?,
            noncurrent_expiration: rule.noncurrent_version_expiration.map(noncurrent).transpose()?,
            noncurrent_transitions: noncurrent_transitions.map(noncurrent_transition_from).collect::<Result<_, _>>()?,
            abort_days: rule.abort_incomplete_multipart_upload.as_ref().map(abort_from).transpose()?,
        })
    }

    fn into_xml(self) -> dto::LifecycleRule {
        let status = if self.disabled { dto::ExpirationStatus::DISABLED } else { dto::ExpirationStatus::ENABLED };
        let transitions: Vec<_> = self.transitions.iter().map(transition_of).collect();
        let noncurrent_transitions: Vec<_> = self.noncurrent_transitions.iter().map(noncurrent_transition_of).collect();
        dto::LifecycleRule {
            abort_incomplete_multipart_upload: self
                .abort_days
                .map(|days| dto::AbortIncompleteMultipartUpload { days_after_initiation: Some(number(days)) }),
            expiration: self.expiration.map(expiration_of),
            filter: self.filter.map(filter_of),
            id: Some(self.id),
            noncurrent_version_expiration: self.noncurrent_expiration.map(|which| dto::NoncurrentVersionExpiration {
                newer_noncurrent_versions: which.newer_versions.map(number),
                noncurrent_days: Some(number(which.days)),
            }),
            noncurrent_version_transitions: some(noncurrent_transitions),
            prefix: self.prefix,
            status: dto::ExpirationStatus::from_static(status),
            transitions: some(transitions),
        }
    }
}

fn some<T>(list: Vec<T>) -> Option<Vec<T>> {
    Some(list).filter(|list| !list.is_empty())
}

/// They come from numbers of that type.
fn number(number: u32) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}

fn days_from(days: i32, element: &'static str, action: &'static str) -> Result<u32, LifecycleError> {
    u32::try_from(days).map_err(|_| LifecycleError::NotPositive { element, action })
}

fn date_from(date: dto::Timestamp) -> Result<Timestamp, LifecycleError> {
    let nanos = OffsetDateTime::from(date).unix_timestamp_nanos();
    let whole = Some(nanos).filter(|nanos| nanos % 1_000_000 == 0);
    let millis = whole.and_then(|nanos| u64::try_from(nanos / 1_000_000).ok());
    millis.map(Timestamp::from_millis).ok_or(LifecycleError::NotMidnight)
}

fn due_from(
    days: Option<i32>,
    date: Option<dto::Timestamp>,
    action: &'static str,
) -> Result<Option<Due>, LifecycleError> {
    match (days, date) {
        (Some(days), None) => days_from(days, "Days", action).map(|days| Some(Due::Days(days))),
        (None, Some(date)) => date_from(date).map(|date| Some(Due::Date(date))),
        (None, None) | (Some(_), Some(_)) => Ok(None),
    }
}

fn due_of(due: Due) -> (Option<i32>, Option<dto::Timestamp>) {
    match due {
        Due::Days(days) => (Some(number(days)), None),
        Due::Date(date) => (None, Some(time_of(date))),
    }
}

fn expiration_from(asked: dto::LifecycleExpiration) -> Result<Expiration, LifecycleError> {
    let wrong = LifecycleError::NotOneOf { action: EXPIRATION, elements: "Date, Days and ExpiredObjectDeleteMarker" };
    let (none, marker) = (asked.days.is_none() && asked.date.is_none(), asked.expired_object_delete_marker);
    match marker {
        Some(marker) if none => Ok(Expiration::DeleteMarkers(marker)),
        Some(_) => Err(wrong),
        None => due_from(asked.days, asked.date, EXPIRATION)?.map(Expiration::Objects).ok_or(wrong),
    }
}

fn expiration_of(expiration: Expiration) -> dto::LifecycleExpiration {
    match expiration {
        Expiration::DeleteMarkers(marker) => {
            dto::LifecycleExpiration { date: None, days: None, expired_object_delete_marker: Some(marker) }
        }
        Expiration::Objects(due) => {
            let (days, date) = due_of(due);
            dto::LifecycleExpiration { date, days, expired_object_delete_marker: None }
        }
    }
}

fn class_from(
    class: Option<dto::TransitionStorageClass>,
    action: &'static str,
) -> Result<StorageClass, LifecycleError> {
    let class = class.ok_or(LifecycleError::Missing { action, element: "StorageClass" })?;
    match class.as_str() {
        dto::TransitionStorageClass::STANDARD_IA => Ok(StorageClass::InfrequentAccess),
        foreign if FOREIGN_CLASSES.contains(&foreign) => Err(LifecycleError::NoSuchClass { class: foreign.into() }),
        other => Err(LifecycleError::NoTarget { class: other.chars().take(ECHO_CHARS_MAX).collect() }),
    }
}

fn class_of(class: StorageClass) -> dto::TransitionStorageClass {
    dto::TransitionStorageClass::from(class.to_string())
}

fn transition_from(asked: dto::Transition) -> Result<Transition, LifecycleError> {
    let due = due_from(asked.days, asked.date, TRANSITION)?;
    let due = due.ok_or(LifecycleError::NotOneOf { action: TRANSITION, elements: "Date and Days" })?;
    Ok(Transition { due, class: class_from(asked.storage_class, TRANSITION)? })
}

fn transition_of(transition: &Transition) -> dto::Transition {
    let (days, date) = due_of(transition.due);
    dto::Transition { date, days, storage_class: Some(class_of(transition.class)) }
}

fn noncurrent_from(
    days: Option<i32>,
    newer_versions: Option<i32>,
    action: &'static str,
) -> Result<Noncurrent, LifecycleError> {
    let days = days.ok_or(LifecycleError::Missing { action, element: NONCURRENT_DAYS })?;
    let newer_versions = newer_versions.map(u32::try_from).transpose();
    Ok(Noncurrent {
        days: days_from(days, NONCURRENT_DAYS, action)?,
        newer_versions: newer_versions.map_err(|_| LifecycleError::NewerVersions { action })?,
    })
}

fn noncurrent_transition_from(asked: dto::NoncurrentVersionTransition) -> Result<NoncurrentTransition, LifecycleError> {
    Ok(NoncurrentTransition {
        which: noncurrent_from(asked.noncurrent_days, asked.newer_noncurrent_versions, NONCURRENT_TRANSITION)?,
        class: class_from(asked.storage_class, NONCURRENT_TRANSITION)?,
    })
}

fn noncurrent_transition_of(transition: &NoncurrentTransition) -> dto::NoncurrentVersionTransition {
    dto::NoncurrentVersionTransition {
        newer_noncurrent_versions: transition.which.newer_versions.map(number),
        noncurrent_days: Some(number(transition.which.days)),
        storage_class: Some(class_of(transition.class)),
    }
}

fn abort_from(asked: &dto::AbortIncompleteMultipartUpload) -> Result<u32, LifecycleError> {
    let days = asked.days_after_initiation;
    days_from(days.ok_or(LifecycleError::Missing { action: ABORT, element: ABORT_DAYS })?, ABORT_DAYS, ABORT)
}

fn filter_from(asked: dto::LifecycleRuleFilter) -> Result<Filter, LifecycleError> {
    let and = asked.and.map(|and| {
        Ok(Criteria {
            prefix: and.prefix,
            tags: and.tags.unwrap_or_default().into_iter().map(tag_from).collect::<Result<_, _>>()?,
            larger_than: size_from(and.object_size_greater_than, "ObjectSizeGreaterThan")?,
            smaller_than: size_from(and.object_size_less_than, "ObjectSizeLessThan")?,
        })
    });
    let single = Criteria {
        prefix: asked.prefix,
        tags: asked.tag.into_iter().map(tag_from).collect::<Result<_, _>>()?,
        larger_than: size_from(asked.object_size_greater_than, "ObjectSizeGreaterThan")?,
        smaller_than: size_from(asked.object_size_less_than, "ObjectSizeLessThan")?,
    };
    Ok(Filter { single, and: and.transpose()? })
}

fn filter_of(filter: Filter) -> dto::LifecycleRuleFilter {
    let Filter { single, and } = filter;
    dto::LifecycleRuleFilter {
        and: and.map(|and| dto::LifecycleRuleAndOperator {
            object_size_greater_than: and.larger_than.map(size_of),
            object_size_less_than: and.smaller_than.map(size_of),
            prefix: and.prefix,
            tags: some(and.tags.into_iter().map(tag_of).collect()),
        }),
        object_size_greater_than: single.larger_than.map(size_of),
        object_size_less_than: single.smaller_than.map(size_of),
        prefix: single.prefix,
        tag: single.tags.into_iter().next().map(tag_of),
    }
}

fn tag_from(tag: dto::Tag) -> Result<(String, String), LifecycleError> {
    let missing = |element| LifecycleError::Missing { action: "Tag", element };
    Ok((tag.key.ok_or_else(|| missing("Key"))?, tag.value.ok_or_else(|| missing("Value"))?))
}

fn tag_of((key, value): (String, String)) -> dto::Tag {
    dto::Tag { key: Some(key), value: Some(value) }
}

fn size_from(bytes: Option<i64>, element: &'static str) -> Result<Option<u64>, LifecycleError> {
    bytes.map(u64::try_from).transpose().map_err(|_| LifecycleError::NegativeSize { element })
}
