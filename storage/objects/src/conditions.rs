//! Conditional requests: which present state of an object a reader or writer asks for.
//!
//! Pure: the caller hands over the object's row. For writes the caller is `commit.rs`, inside the transaction that
//! decides, so that of any number of racing creators one wins.

use crate::error::Condition;
use crate::{ByteRange, Error, ObjectRecord, Result};
use cistern_types::{BucketName, ETag, ObjectKey, Timestamp};

/// The value of `If-Match` or `If-None-Match`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TagList {
    /// `*`: any object at all.
    Any,
    /// One of these.
    OneOf(Vec<ETag>),
}

impl TagList {
    /// Reads a header's value: `*` or tags between commas, weak ones and ones without quotes too. What is no tag of
    /// ours matches nothing, so it is left out.
    pub fn parse(value: &str) -> Self {
        if value.trim() == "*" {
            return Self::Any;
        }
        let tags = value.split(',').map(|tag| tag.trim().trim_start_matches("W/"));
        Self::OneOf(tags.filter_map(|tag| tag.parse().ok()).collect())
    }

    fn matches(&self, tag: &ETag) -> bool {
        match self {
            Self::Any => true,
            Self::OneOf(tags) => tags.contains(tag),
        }
    }
}

/// The value of `If-Range`: the state of which the reader has the rest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IfRange {
    /// The one with this tag; `None` when it is weak or no tag, which is no state.
    Tag(Option<ETag>),
    /// The one written at this time, to the second.
    Modified(Timestamp),
}

/// The conditions of a request; the default has none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Conditions {
    /// The object must be one of these.
    pub if_match: Option<TagList>,
    /// The object must not be one of these.
    pub if_none_match: Option<TagList>,
    /// The object must have changed after this time.
    pub if_modified_since: Option<Timestamp>,
    /// The object must not have changed after this time.
    pub if_unmodified_since: Option<Timestamp>,
    /// For a range of anything but this state the whole object is read.
    pub if_range: Option<IfRange>,
    /// Whether a write under `if_match` over nothing answers `PreconditionFailed`; S3 answers `NoSuchKey`, R2 this for copies.
    pub missing_fails: bool,
}

impl Conditions {
    /// Only when there is no object of that key: `If-None-Match: *`.
    pub fn create_only() -> Self {
        Self { if_none_match: Some(TagList::Any), ..Self::default() }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Judges a read of `record` in the order RFC 9110 asks for: `PreconditionFailed`, `NotModified` or fine.
    pub fn check_read(&self, record: &ObjectRecord) -> Result<()> {
        match self.failing(&record.etag, record.modified) {
            None => Ok(()),
            Some(Condition::IfNoneMatch | Condition::IfModifiedSince) => Err(Error::NotModified),
            Some(condition) => Err(Error::PreconditionFailed { condition }),
        }
    }

    /// The range that is read: the one asked for, or everything when that would be one of another state than the reader has.
    pub fn range_of(&self, record: &ObjectRecord, asked: Option<ByteRange>) -> Option<ByteRange> {
        let same = match &self.if_range {
            None => true,
            Some(IfRange::Tag(tag)) => *tag == Some(record.etag),
            Some(IfRange::Modified(time)) => record.modified.as_seconds() == time.as_seconds(),
        };
        asked.filter(|asked| same || matches!(asked, ByteRange::Part(_)))
    }

    /// Judges the source of a copy: like a read, but there is no `NotModified`.
    pub(crate) fn check_source(&self, record: &ObjectRecord) -> Result<()> {
        self.failing(&record.etag, record.modified)
            .map_or(Ok(()), |condition| Err(Error::PreconditionFailed { condition }))
    }

    /// Judges a write over `present`, or over nothing.
    ///
    /// Over nothing, `If-Match` answers `NoSuchKey` as S3 does, unless [`Conditions::missing_fails`], and `If-None-Match` holds; the times
    /// say nothing.
    pub(crate) fn check_write(
        &self,
        present: Option<(ETag, Timestamp)>,
        bucket: &BucketName,
        key: &ObjectKey,
    ) -> Result<()> {
        match present {
            Some((etag, modified)) => {
                self.failing(&etag, modified).map_or(Ok(()), |condition| Err(Error::PreconditionFailed { condition }))
            }
            None if self.if_match.is_some() && self.missing_fails => {
                Err(Error::PreconditionFailed { condition: Condition::IfMatch })
            }
            None if self.if_match.is_some() => {
                Err(Error::NoSuchKey { bucket: bucket.clone(), key: key.clone(), marker: None })
            }
            None => Ok(()),
        }
    }

    /// The first condition that does not hold. HTTP dates have whole seconds, so times are compared in seconds; a tag
    /// condition silences the time condition of its kind.
    fn failing(&self, etag: &ETag, modified: Timestamp) -> Option<Condition> {
        match (&self.if_match, self.if_unmodified_since) {
            (Some(tags), _) if !tags.matches(etag) => return Some(Condition::IfMatch),
            (None, Some(time)) if modified.as_seconds() > time.as_seconds() => {
                return Some(Condition::IfUnmodifiedSince);
            }
            _ => {}
        }
        match (&self.if_none_match, self.if_modified_since) {
            (Some(tags), _) if tags.matches(etag) => Some(Condition::IfNoneMatch),
            (None, Some(time)) if modified.as_seconds() <= time.as_seconds() => Some(Condition::IfModifiedSince),
            _ => None,
        }
    }
}

/// What must be so of an object for it to be deleted; the default is nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DeleteConditions {
    /// It must be one of these.
    pub if_match: Option<TagList>,
    /// It must have been written at this time, to the second.
    pub modified: Option<Timestamp>,
    /// It must have this size in bytes.
    pub size: Option<u64>,
}

impl DeleteConditions {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Judges the deletion of a delete marker: it is something, but has neither tag nor size.
    pub(crate) fn check_marker(&self) -> Result<()> {
        let any = self.if_match.as_ref().is_none_or(|tags| *tags == TagList::Any);
        let holds = any && self.modified.is_none() && self.size.is_none();
        if holds { Ok(()) } else { Err(Error::PreconditionFailed { condition: Condition::IfMatch }) }
    }

    /// Judges the deletion of an object.
    pub(crate) fn check(&self, (etag, modified, size): (ETag, Timestamp, u64)) -> Result<()> {
        let same_second = |time: Timestamp| time.as_seconds() == modified.as_seconds();
        let holds = self.if_match.as_ref().is_none_or(|tags| tags.matches(&etag))
            && self.modified.is_none_or(same_second)
            && self.size.is_none_or(|expected| expected == size);
        if holds { Ok(()) } else { Err(Error::PreconditionFailed { condition: Condition::IfMatch }) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "\"0cc175b9c0f1b6a831c399e269772661\"";
    const B: &str = "\"92eb5ffee6ae2fec3ad71c777531578f\"";

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_millis(seconds * 1000)
    }

    fn tags(text: &str) -> TagList {
        TagList::parse(text)
    }

    /// The object judged has tag `A` and was modified at 100.5 s.
    #[track_caller]
    fn check(conditions: &Conditions, expected: Option<Condition>) {
        let failing = conditions.failing(&A.parse().unwrap(), Timestamp::from_millis(100_500));
        assert_eq!(failing, expected, "{conditions:?}");
    }

    fn none() -> Conditions {
        Conditions::default()
    }

    #[test]
    fn tags_come_as_lists_weak_bare_or_star() {
        for header in ["*", A, &A.replace('"', ""), &format!("{B}, W/{A}"), &format!("\"junk\",{A}")] {
            check(&Conditions { if_match: Some(tags(header)), ..none() }, None);
            check(&Conditions { if_none_match: Some(tags(header)), ..none() }, Some(Condition::IfNoneMatch));
        }
        for header in [B, "junk", ""] {
            check(&Conditions { if_match: Some(tags(header)), ..none() }, Some(Condition::IfMatch));
            check(&Conditions { if_none_match: Some(tags(header)), ..none() }, None);
        }
    }

    #[test]
    fn times_are_compared_in_whole_seconds() {
        check(&Conditions { if_modified_since: Some(at(100)), ..none() }, Some(Condition::IfModifiedSince));
        check(&Conditions { if_modified_since: Some(at(99)), ..none() }, None);
        check(&Conditions { if_unmodified_since: Some(at(100)), ..none() }, None);
        check(&Conditions { if_unmodified_since: Some(at(99)), ..none() }, Some(Condition::IfUnmodifiedSince));
    }

    #[test]
    fn a_tag_condition_silences_the_time_condition_of_its_kind() {
        check(&Conditions { if_match: Some(tags(A)), if_unmodified_since: Some(at(1)), ..none() }, None);
        check(&Conditions { if_none_match: Some(tags(B)), if_modified_since: Some(at(200)), ..none() }, None);
    }

    #[test]
    fn over_nothing_only_if_match_fails() {
        let (bucket, key) = ("abc".parse().unwrap(), "k".parse().unwrap());
        let write = |conditions: Conditions| conditions.check_write(None, &bucket, &key);
        assert!(matches!(write(Conditions { if_match: Some(tags("*")), ..none() }), Err(Error::NoSuchKey { .. })));
        let strict = Conditions { if_match: Some(tags("*")), missing_fails: true, ..none() };
        assert!(matches!(write(strict), Err(Error::PreconditionFailed { condition: Condition::IfMatch })));
        assert!(write(Conditions::create_only()).is_ok());
        assert!(
            write(Conditions { if_unmodified_since: Some(at(1)), if_modified_since: Some(at(1)), ..none() }).is_ok()
        );
    }
}
