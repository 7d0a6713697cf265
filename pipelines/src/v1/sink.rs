//! Sinks: where SQL pipelines write, and how. They are never changed.

use super::{SqlPart, sql};
use crate::registry::{Tries, require_bucket};
use crate::rows::{SINKS, SQL_PIPELINES, SinkRow};
use crate::spec::{refuse, words};
use crate::{BatchSpec, Error, ObjectNaming, OutputFormat, OutputSpec, PipelineId, Result, TimePath};
use cistern_metadata::Scan;
use cistern_objects::Objects;
use cistern_types::{BucketName, ByteSize, PipelineName, Timestamp};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// The most sinks there can be.
const SINKS_MAX: usize = 1_000;

/// The size at which a file is closed when none is given: the largest there is.
const FILE_SIZE_DEFAULT: ByteSize = ByteSize::bytes(1_000_000_000);

/// Where events go, and as what.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SinkSpec {
    /// The bucket.
    pub bucket: BucketName,
    /// What keys begin with, without a slash at either end; empty for nothing.
    pub path: String,
    /// What files are written as.
    pub format: OutputFormat,
    /// The folders made of the time of a file.
    pub time_path: TimePath,
    /// A file ends when its first event is this old.
    pub interval: Duration,
    /// A file ends at this many bytes of JSON; none means at the largest there is.
    pub file_size: Option<ByteSize>,
    /// What file names begin with, before a hyphen; empty for nothing.
    pub file_prefix: String,
    /// What file names end in, after a dot; empty for the extension that the format has.
    pub file_suffix: String,
    /// What was asked to make file names unique. Kept and shown: names are made of pipeline and offsets in any case.
    pub strategy: Option<FileStrategy>,
}

/// What makes file names unique elsewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum FileStrategy {
    /// A number.
    Serial,
    /// A random UUID.
    Uuid,
    /// A UUID that begins with the time.
    UuidV7,
    /// A ULID.
    Ulid,
}

words!(FileStrategy, "file naming strategy", "use serial, uuid, uuid_v7 or ulid",
    "serial" => Serial, "uuid" => Uuid, "uuid_v7" => UuidV7, "ulid" => Ulid);

/// A sink.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sink {
    /// The id of this life of it.
    pub id: PipelineId,
    /// Its name.
    pub name: PipelineName,
    /// What it is.
    pub spec: SinkSpec,
    /// When it was made.
    pub created: Timestamp,
}

impl Sink {
    fn of(name: PipelineName, row: SinkRow) -> Self {
        Self { id: row.id, name, spec: row.spec, created: row.created }
    }
}

impl SinkSpec {
    /// A sink into this bucket with the default settings: Parquet, five minutes, folders by day.
    pub fn new(bucket: BucketName) -> Result<Self> {
        Ok(Self {
            bucket,
            path: String::new(),
            format: OutputFormat::default(),
            time_path: "year=%Y/month=%m/day=%d".parse()?,
            interval: Duration::from_mins(5),
            file_size: None,
            file_prefix: String::new(),
            file_suffix: String::new(),
            strategy: None,
        })
    }

    /// The output that writes here.
    pub(super) fn output(&self) -> OutputSpec {
        OutputSpec {
            prefix: self.path.clone(),
            naming: ObjectNaming {
                time_path: Some(self.time_path.clone()),
                file_prefix: self.file_prefix.clone(),
                file_suffix: self.file_suffix.clone(),
            },
            batch: BatchSpec {
                size: self.file_size.unwrap_or(FILE_SIZE_DEFAULT),
                timeout: self.interval,
                ..BatchSpec::default()
            },
            format: self.format.clone(),
            ..OutputSpec::new(self.bucket.clone())
        }
    }

    /// Refuses settings out of range, and takes the slashes off the path's ends.
    fn checked(mut self) -> Result<Self> {
        self.path = self.output().checked()?.prefix;
        Ok(self)
    }
}

pub(super) async fn create(objects: &Objects, name: PipelineName, spec: SinkSpec) -> Result<Sink> {
    let spec = spec.checked()?;
    let row = SinkRow { id: PipelineId::random(), spec, created: objects.clock().now() };
    let mut tries = Tries::new();
    loop {
        let mut txn = objects.store().begin().await?;
        if SINKS.get(&mut txn, &name).await?.is_some() {
            return Err(Error::NameTaken { what: "sink", name });
        }
        if SINKS.scan_unchecked(&txn, &Scan::first(SINKS.range(), SINKS_MAX)).await?.len() == SINKS_MAX {
            return Err(refuse("name", name.as_str(), "there are 1000 sinks already: delete one first"));
        }
        require_bucket(objects, &row.spec.bucket).await?;
        SINKS.put(&mut txn, &name, &row)?;
        if tries.commit(txn).await? {
            return Ok(Sink::of(name, row));
        }
    }
}

pub(super) async fn all(objects: &Objects) -> Result<Vec<Sink>> {
    let txn = objects.store().read().await?;
    let rows = SINKS.scan_unchecked(&txn, &Scan::first(SINKS.range(), SINKS_MAX)).await?;
    Ok(rows.into_iter().map(|(name, row)| Sink::of(name, row)).collect())
}

pub(super) async fn find(objects: &Objects, id_or_name: &str) -> Result<Sink> {
    if let Ok(name) = id_or_name.parse::<PipelineName>() {
        let txn = objects.store().read().await?;
        if let Some(row) = SINKS.peek(&txn, &name).await? {
            return Ok(Sink::of(name, row));
        }
    }
    let missing = || Error::NoSuchSink { name: id_or_name.to_owned() };
    let id = PipelineId::parse(id_or_name).ok_or_else(missing)?;
    all(objects).await?.into_iter().find(|sink| sink.id == id).ok_or_else(missing)
}

/// Removes a sink; by `force` with the pipelines that write to it, whose parts are answered.
pub(super) async fn remove(objects: &Objects, sink: &Sink, force: bool) -> Result<Vec<SqlPart>> {
    let mut tries = Tries::new();
    loop {
        let mut txn = objects.store().begin().await?;
        if SINKS.get(&mut txn, &sink.name).await?.is_none_or(|row| row.id != sink.id) {
            return Err(Error::NoSuchSink { name: sink.name.to_string() });
        }
        let mut gone = Vec::new();
        let all = Scan::first(SQL_PIPELINES.range(), sql::PIPELINES_MAX);
        for (name, row) in SQL_PIPELINES.scan(&mut txn, &all).await? {
            if !row.parts.iter().any(|part| part.sink == sink.id) {
                continue;
            }
            if !force {
                return Err(Error::SinkInUse { name: sink.name.clone(), pipeline: name });
            }
            if gone.len() >= sql::PARTS_AT_ONCE_MAX {
                let rule = "too many pipelines write to it to delete them at once: delete some of them first";
                return Err(refuse("sink", sink.name.as_str(), rule));
            }
            sql::remove_rows(&mut txn, &name, &row.parts)?;
            gone.extend(row.parts);
        }
        SINKS.delete(&mut txn, &sink.name);
        if tries.commit(txn).await? {
            return Ok(gone);
        }
    }
}
