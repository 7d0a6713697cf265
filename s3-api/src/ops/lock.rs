//! Object lock: a bucket's configuration, and retention and legal hold of versions.

use super::{Answer, Operations, facts_of, place, version_of};
use crate::error_map::Refusal;
use crate::headers::{instant_of, mode_from, set, time_of};
use crate::judge::Subject;
use crate::notes::Notes;
use cistern_objects::{
    Attributes, BucketRecord, DefaultRetention, ObjectLock, Objects, Retention, RetentionMode, RetentionPeriod,
};
use cistern_types::BucketName;
use http::{HeaderMap, HeaderName, HeaderValue};
use s3s::dto::{
    self, GetObjectLegalHoldInput, GetObjectLegalHoldOutput, GetObjectLockConfigurationInput,
    GetObjectLockConfigurationOutput, GetObjectRetentionInput, GetObjectRetentionOutput, ObjectLockConfiguration,
    ObjectLockEnabled, ObjectLockLegalHold, ObjectLockLegalHoldStatus, ObjectLockRetention, ObjectLockRetentionMode,
    ObjectLockRule, PutObjectLegalHoldInput, PutObjectLegalHoldOutput, PutObjectLockConfigurationInput,
    PutObjectLockConfigurationOutput, PutObjectRetentionInput, PutObjectRetentionOutput,
};
use s3s::{S3Request, S3Response};
use std::sync::Arc;

/// A mode as S3 spells it.
fn mode_text(mode: RetentionMode) -> &'static str {
    match mode {
        RetentionMode::Governance => ObjectLockRetentionMode::GOVERNANCE,
        RetentionMode::Compliance => ObjectLockRetentionMode::COMPLIANCE,
    }
}

/// A hold as S3 spells it.
fn hold_status(on: bool) -> &'static str {
    if on { ObjectLockLegalHoldStatus::ON } else { ObjectLockLegalHoldStatus::OFF }
}

/// Adds the locks of a version as answers to reads carry them.
pub(super) fn add_locks(attributes: &Attributes, headers: &mut HeaderMap) {
    const LEGAL_HOLD: HeaderName = HeaderName::from_static("x-amz-object-lock-legal-hold");
    const MODE: HeaderName = HeaderName::from_static("x-amz-object-lock-mode");
    const UNTIL: HeaderName = HeaderName::from_static("x-amz-object-lock-retain-until-date");
    if let Some(on) = attributes.legal_hold {
        headers.insert(LEGAL_HOLD, HeaderValue::from_static(hold_status(on)));
    }
    if let Some(retention) = attributes.retention {
        let mut until = Vec::new();
        headers.insert(MODE, HeaderValue::from_static(mode_text(retention.mode)));
        let formatted = time_of(retention.until).format(dto::TimestampFormat::DateTime, &mut until);
        set(headers, UNTIL, formatted.is_ok().then_some(until));
    }
}

fn invalid_retention_period() -> Refusal {
    Refusal::new(("InvalidRetentionPeriod", 400), "The retention period must be a positive integer value.")
}

/// What a configuration's XML asks for.
fn lock_from(configuration: ObjectLockConfiguration) -> Result<ObjectLock, Refusal> {
    let enabled = configuration.object_lock_enabled.as_ref().map(ObjectLockEnabled::as_str);
    if enabled != Some(ObjectLockEnabled::ENABLED) {
        return Err(Refusal::malformed_xml());
    }
    let Some(rule) = configuration.rule else { return Ok(ObjectLock::default()) };
    let asked = rule.default_retention.ok_or_else(Refusal::malformed_xml)?;
    let mode = asked.mode.as_ref().and_then(|mode| mode_from(mode.as_str())).ok_or_else(Refusal::malformed_xml)?;
    let count = |number: i32| u32::try_from(number).ok().filter(|n| *n > 0).ok_or_else(invalid_retention_period);
    let period = match (asked.days, asked.years) {
        (Some(days), None) => RetentionPeriod::Days(count(days)?),
        (None, Some(years)) => RetentionPeriod::Years(count(years)?),
        _ => return Err(Refusal::malformed_xml()),
    };
    Ok(ObjectLock { default_retention: Some(DefaultRetention { mode, period }) })
}

fn configuration_of(lock: ObjectLock) -> ObjectLockConfiguration {
    let rule = lock.default_retention.map(|default| {
        let days = |number: u32| i32::try_from(number).ok();
        let (days, years) = match default.period {
            RetentionPeriod::Days(number) => (days(number), None),
            RetentionPeriod::Years(number) => (None, days(number)),
        };
        let mode = Some(ObjectLockRetentionMode::from_static(mode_text(default.mode)));
        ObjectLockRule { default_retention: Some(dto::DefaultRetention { days, mode, years }) }
    });
    let object_lock_enabled = Some(ObjectLockEnabled::from_static(ObjectLockEnabled::ENABLED));
    ObjectLockConfiguration { object_lock_enabled, rule }
}

/// The bucket, which must keep locks.
async fn locked_bucket(objects: &Objects, name: &BucketName) -> Result<Arc<BucketRecord>, Refusal> {
    let bucket = objects.bucket(name).await?;
    if bucket.settings.object_lock.is_none() {
        return Err(Refusal::invalid_request("Bucket is missing Object Lock Configuration"));
    }
    Ok(bucket)
}

fn nothing_locked() -> Refusal {
    Refusal::new(
        ("NoSuchObjectLockConfiguration", 404),
        "The specified object does not have a ObjectLock configuration",
    )
}

pub(super) async fn get_object_lock_configuration(
    Operations { objects, .. }: &Operations,
    _notes: &Notes,
    request: S3Request<GetObjectLockConfigurationInput>,
) -> Answer<GetObjectLockConfigurationOutput> {
    let bucket = objects.bucket(&request.input.bucket.parse()?).await?;
    let lock = bucket.settings.object_lock.ok_or_else(|| {
        Refusal::new(
            ("ObjectLockConfigurationNotFoundError", 404),
            "Object Lock configuration does not exist for this bucket",
        )
    })?;
    let object_lock_configuration = Some(configuration_of(lock));
    Ok(S3Response::new(GetObjectLockConfigurationOutput { object_lock_configuration }))
}

pub(super) async fn put_object_lock_configuration(
    Operations { objects, .. }: &Operations,
    _notes: &Notes,
    request: S3Request<PutObjectLockConfigurationInput>,
) -> Answer<PutObjectLockConfigurationOutput> {
    let bucket = request.input.bucket.parse()?;
    let asked = request.input.object_lock_configuration.ok_or_else(Refusal::malformed_xml)?;
    objects.set_object_lock(&bucket, lock_from(asked)?).await?;
    Ok(S3Response::new(PutObjectLockConfigurationOutput::default()))
}

pub(super) async fn get_object_retention(
    Operations { objects, .. }: &Operations,
    _notes: &Notes,
    request: S3Request<GetObjectRetentionInput>,
) -> Answer<GetObjectRetentionOutput> {
    let input = request.input;
    let (bucket, key) = place(&input.bucket, &input.key)?;
    locked_bucket(objects, &bucket).await?;
    let record = objects.head_version(&bucket, &key, version_of(input.version_id.as_deref())?).await?;
    let retention = record.attributes.retention.ok_or_else(nothing_locked)?;
    let retention = ObjectLockRetention {
        mode: Some(ObjectLockRetentionMode::from_static(mode_text(retention.mode))),
        retain_until_date: Some(time_of(retention.until)),
    };
    Ok(S3Response::new(GetObjectRetentionOutput { retention: Some(retention) }))
}

pub(super) async fn put_object_retention(
    Operations { objects, judge, .. }: &Operations,
    notes: &Notes,
    request: S3Request<PutObjectRetentionInput>,
) -> Answer<PutObjectRetentionOutput> {
    let S3Request { input, headers, uri, extensions, .. } = request;
    let (bucket, key) = place(&input.bucket, &input.key)?;
    let version = version_of(input.version_id.as_deref())?;
    let wanted = input.retention.ok_or_else(Refusal::malformed_xml)?;
    let retention = match (wanted.mode, wanted.retain_until_date) {
        (None, None) => None,
        (Some(mode), Some(until)) => {
            let mode = mode_from(mode.as_str()).ok_or_else(Refusal::malformed_xml)?;
            Some(Retention { mode, until: instant_of(&until)? })
        }
        _ => return Err(Refusal::malformed_xml()),
    };
    if retention.is_some_and(|retention| retention.until <= notes.received) {
        return Err(Refusal::invalid_argument("The retain until date must be in the future!"));
    }
    let facts = facts_of(&headers, &uri, &extensions, notes);
    let subject = Subject { bucket: notes.bucket()?, key: Some(&input.key), version };
    let asker = notes.asker();
    let bypass = judge.may_bypass(asker, input.bypass_governance_retention, subject, &facts).await;
    objects.set_retention(&bucket, &key, version, retention, bypass).await?;
    Ok(S3Response::new(PutObjectRetentionOutput::default()))
}

pub(super) async fn get_object_legal_hold(
    Operations { objects, .. }: &Operations,
    _notes: &Notes,
    request: S3Request<GetObjectLegalHoldInput>,
) -> Answer<GetObjectLegalHoldOutput> {
    let input = request.input;
    let (bucket, key) = place(&input.bucket, &input.key)?;
    locked_bucket(objects, &bucket).await?;
    let record = objects.head_version(&bucket, &key, version_of(input.version_id.as_deref())?).await?;
    let on = record.attributes.legal_hold.ok_or_else(nothing_locked)?;
    let status = Some(ObjectLockLegalHoldStatus::from_static(hold_status(on)));
    Ok(S3Response::new(GetObjectLegalHoldOutput { legal_hold: Some(ObjectLockLegalHold { status }) }))
}

pub(super) async fn put_object_legal_hold(
    Operations { objects, .. }: &Operations,
    _notes: &Notes,
    request: S3Request<PutObjectLegalHoldInput>,
) -> Answer<PutObjectLegalHoldOutput> {
    let input = request.input;
    let (bucket, key) = place(&input.bucket, &input.key)?;
    let version = version_of(input.version_id.as_deref())?;
    let status = input.legal_hold.and_then(|hold| hold.status);
    let on = match status.as_ref().map(ObjectLockLegalHoldStatus::as_str) {
        Some(ObjectLockLegalHoldStatus::ON) => true,
        Some(ObjectLockLegalHoldStatus::OFF) => false,
        _ => return Err(Refusal::malformed_xml()),
    };
    objects.set_legal_hold(&bucket, &key, version, on).await?;
    Ok(S3Response::new(PutObjectLegalHoldOutput::default()))
}
