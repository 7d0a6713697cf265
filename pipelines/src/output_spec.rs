//! How the events of a stream become objects: `OutputSpec` and the ranges of its settings.

use crate::spec::{refuse, words};
use crate::{DeclaredSchema, Error, JsonPath, Result};
use cistern_types::{BucketName, ByteSize, StorageClass, format_duration};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

const BATCH_SIZE_MIN: ByteSize = ByteSize::bytes(1_000);
const BATCH_SIZE_MAX: ByteSize = ByteSize::bytes(1_000_000_000);
const BATCH_TIMEOUT_MIN: Duration = Duration::from_secs(1);
const BATCH_TIMEOUT_MAX: Duration = Duration::from_hours(1);
const BATCH_ROWS_MAX: u64 = 10_000_000;

/// The longest prefix, in bytes.
const PREFIX_BYTES_MAX: usize = 256;

/// Where the events of a stream go, and as what.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutputSpec {
    /// The bucket its objects go to.
    pub bucket: BucketName,
    /// What the keys of its objects begin with, without a slash at either end; empty for nothing.
    pub prefix: String,
    /// When a batch ends.
    pub batch: BatchSpec,
    /// What a batch is written as.
    pub format: OutputFormat,
    /// The class of its objects.
    pub class: StorageClass,
    /// The fields its events shall have; none means that the columns follow from the events.
    pub schema: Option<DeclaredSchema>,
}

impl OutputSpec {
    /// An output with the default settings.
    pub fn new(bucket: BucketName) -> Self {
        Self {
            bucket,
            prefix: String::new(),
            batch: BatchSpec::default(),
            format: OutputFormat::default(),
            class: StorageClass::default(),
            schema: None,
        }
    }

    /// Refuses settings out of range, and takes the slashes off the prefix's ends.
    pub(crate) fn checked(mut self) -> Result<Self> {
        let BatchSpec { size, timeout, rows, .. } = &self.batch;
        if !(BATCH_SIZE_MIN..=BATCH_SIZE_MAX).contains(size) {
            return Err(refuse("batch size", &size.to_string(), "use 1KB to 1GB"));
        }
        if !(BATCH_TIMEOUT_MIN..=BATCH_TIMEOUT_MAX).contains(timeout) {
            return Err(refuse("batch timeout", &format_duration(*timeout), "use 1s to 1h"));
        }
        if !(1..=BATCH_ROWS_MAX).contains(rows) {
            return Err(refuse("batch rows", &rows.to_string(), "use 1 to 10000000"));
        }
        self.prefix = check_prefix(&self.prefix)?;
        Ok(self)
    }
}

fn check_prefix(prefix: &str) -> Result<String> {
    let trimmed = prefix.strip_suffix('/').unwrap_or(prefix);
    let odd = |part: &str| part.is_empty() || part == "." || part == "..";
    if trimmed.len() > PREFIX_BYTES_MAX {
        return Err(refuse("prefix", prefix, "use at most 256 bytes"));
    }
    if trimmed.chars().any(char::is_control) || (!prefix.is_empty() && trimmed.split('/').any(odd)) {
        let rule = "use names between single slashes, as in raw/clicks; no control characters, no . or ..";
        return Err(refuse("prefix", prefix, rule));
    }
    Ok(trimmed.to_owned())
}

/// When a batch ends: at whichever limit it reaches first. The limits are hints; under memory pressure batches end early.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BatchSpec {
    /// At this many bytes of JSON.
    pub size: ByteSize,
    /// When its first event is this old.
    pub timeout: Duration,
    /// At this many events.
    pub rows: u64,
    /// Events with different values here go to different batches.
    pub json_key: Option<JsonPath>,
}

impl Default for BatchSpec {
    fn default() -> Self {
        Self {
            size: ByteSize::bytes(100_000_000),
            timeout: Duration::from_mins(5),
            rows: BATCH_ROWS_MAX,
            json_key: None,
        }
    }
}

/// What batches are written as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum OutputFormat {
    /// Apache Parquet, its columns declared or inferred from the events.
    Parquet {
        /// How its pages are compressed.
        compression: ParquetCompression,
    },
    /// The events as they came, one a line.
    JsonLines {
        /// How the file is compressed.
        compression: JsonCompression,
    },
}

impl Default for OutputFormat {
    fn default() -> Self {
        Self::Parquet { compression: ParquetCompression::default() }
    }
}

/// How the pages of a Parquet file are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub enum ParquetCompression {
    /// Zstandard, level 1: smaller than level 3 on event data, at two thirds of the time.
    #[default]
    Zstd,
    /// Snappy.
    Snappy,
    /// LZ4, raw blocks.
    Lz4,
    /// Gzip.
    Gzip,
    /// Not at all.
    None,
}

/// How a file of JSON lines is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub enum JsonCompression {
    /// Gzip.
    #[default]
    Gzip,
    /// Not at all.
    None,
}

words!(ParquetCompression, "compression", "use zstd, snappy, lz4, gzip or none for parquet",
    "zstd" => Zstd, "snappy" => Snappy, "lz4" => Lz4, "gzip" => Gzip, "none" => None);
words!(JsonCompression, "compression", "use gzip or none for json", "gzip" => Gzip, "none" => None);
impl OutputFormat {
    /// The format named `parquet` or `json` with the compression named, or the format's own default.
    pub fn from_names(format: &str, compression: Option<&str>) -> Result<Self> {
        match format {
            "parquet" => {
                Ok(Self::Parquet { compression: compression.map(str::parse).transpose()?.unwrap_or_default() })
            }
            "json" => Ok(Self::JsonLines { compression: compression.map(str::parse).transpose()?.unwrap_or_default() }),
            _ => Err(refuse("format", format, "use parquet or json")),
        }
    }

    /// `parquet` or `json`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Parquet { .. } => "parquet",
            Self::JsonLines { .. } => "json",
        }
    }

    /// The name of its compression.
    pub fn compression_name(self) -> String {
        match self {
            Self::Parquet { compression } => compression.to_string(),
            Self::JsonLines { compression } => compression.to_string(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(change: impl FnOnce(&mut OutputSpec), refused: Option<&str>) {
        let mut changed = OutputSpec::new("events".parse().unwrap());
        change(&mut changed);
        let field = match changed.checked() {
            Ok(_) => None,
            Err(Error::InvalidSetting { field, .. }) => Some(field),
            Err(other) => panic!("{other}"),
        };
        assert_eq!(field, refused);
    }

    #[test]
    fn settings_at_the_ends_of_their_ranges_are_fine_and_beyond_are_not() {
        check(|_| (), None);
        for (bytes, refused) in
            [(999, Some("batch size")), (1_000, None), (1_000_000_000, None), (1_000_000_001, Some("batch size"))]
        {
            check(|spec| spec.batch.size = ByteSize::bytes(bytes), refused);
        }
        for (millis, refused) in
            [(999, Some("batch timeout")), (1_000, None), (3_600_000, None), (3_600_001, Some("batch timeout"))]
        {
            check(|spec| spec.batch.timeout = Duration::from_millis(millis), refused);
        }
        for (rows, refused) in
            [(0, Some("batch rows")), (1, None), (10_000_000, None), (10_000_001, Some("batch rows"))]
        {
            check(|spec| spec.batch.rows = rows, refused);
        }
    }

    #[test]
    fn prefixes_are_names_between_slashes() {
        for (prefix, stored) in
            [("", ""), ("raw", "raw"), ("raw/", "raw"), ("raw/clicks", "raw/clicks"), ("ä b", "ä b")]
        {
            assert_eq!(check_prefix(prefix).unwrap(), stored, "{prefix}");
        }
        for prefix in ["/", "/raw", "raw//", "a//b", "a/../b", ".", "a\nb", &"a".repeat(257)] {
            assert!(check_prefix(prefix).is_err(), "{prefix}");
        }
    }

    #[test]
    fn formats_go_by_their_names() {
        let zstd = OutputFormat::Parquet { compression: ParquetCompression::Zstd };
        assert_eq!(OutputFormat::from_names("parquet", None).unwrap(), zstd);
        for (format, compression) in [("parquet", "lz4"), ("parquet", "none"), ("json", "gzip"), ("json", "none")] {
            let parsed = OutputFormat::from_names(format, Some(compression)).unwrap();
            assert_eq!((parsed.name(), parsed.compression_name().as_str()), (format, compression));
        }
        for (format, compression) in [("avro", None), ("parquet", Some("deflate")), ("json", Some("zstd"))] {
            assert!(OutputFormat::from_names(format, compression).is_err());
        }
    }
}
