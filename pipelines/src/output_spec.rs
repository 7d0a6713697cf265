//! How the events of a stream become objects: `OutputSpec` and the ranges of its settings.

use crate::spec::{refuse, words};
use crate::{DeclaredSchema, Error, JsonPath, Result};
use cistern_types::{BucketName, ByteSize, StorageClass, Timestamp, format_duration};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;
use std::time::Duration;
use time::format_description::parse_strftime_borrowed;

const BATCH_SIZE_MIN: ByteSize = ByteSize::bytes(1_000);
const BATCH_SIZE_MAX: ByteSize = ByteSize::bytes(1_000_000_000);
const BATCH_TIMEOUT_MIN: Duration = Duration::from_secs(1);
const BATCH_TIMEOUT_MAX: Duration = Duration::from_hours(1);
const BATCH_ROWS_MAX: u64 = 10_000_000;

/// The longest prefix, in bytes.
const PREFIX_BYTES_MAX: usize = 256;

/// The longest that a file's prefix or suffix may be, in bytes.
const FILE_PART_BYTES_MAX: usize = 64;

/// The longest that the folders made of a time may be, in bytes.
const TIME_PATH_BYTES_MAX: usize = 200;

/// A time in September, when every name is at its longest: a Wednesday, 2026-09-23, 22:40:00.
const TIME_TRIED: u64 = 1_790_203_200_000;

const ROW_GROUP_SIZE_MIN: ByteSize = ByteSize::bytes(64_000);
const ROW_GROUP_SIZE_MAX: ByteSize = ByteSize::bytes(1 << 30);
const ROW_GROUP_ROWS_MIN: u64 = 1_000;
const PAGE_SIZE_MIN: ByteSize = ByteSize::bytes(4_000);
const PAGE_SIZE_MAX: ByteSize = ByteSize::bytes(16 << 20);

/// The most columns that files are sorted by, or have bloom filters of.
const COLUMNS_NAMED_MAX: usize = 16;

/// The longest name of such a column, in bytes.
const COLUMN_BYTES_MAX: usize = 512;

/// Where the events of a stream go, and as what.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutputSpec {
    /// The bucket its objects go to.
    pub bucket: BucketName,
    /// What the keys of its objects begin with, without a slash at either end; empty for nothing.
    pub prefix: String,
    /// How its objects are named.
    pub naming: ObjectNaming,
    /// When a batch ends.
    pub batch: BatchSpec,
    /// What a batch is written as.
    pub format: OutputFormat,
    /// The class of its objects.
    pub class: StorageClass,
    /// The fields its events shall have; none means that the columns follow from the events.
    pub schema: Option<DeclaredSchema>,
    /// What becomes of values that are of another type than their column, where columns follow from the events.
    pub mixed_types: MixedTypes,
    /// What is made of the events before they are written: `SELECT .. FROM .. WHERE ..`. Without a schema there is one
    /// column to select from, `value`, which holds an event's JSON.
    pub sql: Option<String>,
}

impl OutputSpec {
    /// An output with the default settings.
    pub fn new(bucket: BucketName) -> Self {
        Self {
            bucket,
            prefix: String::new(),
            naming: ObjectNaming::default(),
            batch: BatchSpec::default(),
            format: OutputFormat::default(),
            class: StorageClass::default(),
            schema: None,
            mixed_types: MixedTypes::default(),
            sql: None,
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
        self.naming.check()?;
        if self.mixed_types == MixedTypes::Json && (self.schema.is_some() || self.sql.is_some()) {
            let rule = "leave it out: the types of the columns are given";
            return Err(refuse("mixed types", &self.mixed_types.to_string(), rule));
        }
        if let OutputFormat::Parquet(parquet) = &self.format {
            parquet.check()?;
        }
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

/// What becomes of an event with a value of another type than the column that followed from the events before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub enum MixedTypes {
    /// The event is a dead letter.
    #[default]
    DeadLetters,
    /// From then on the column holds JSON.
    Json,
}

/// How objects are named below the prefix.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ObjectNaming {
    /// The folders made of the time of a batch; none means `PIPELINE/[KEY=VALUE/]event_date=YYYY-MM-DD/hr=HH`.
    pub time_path: Option<TimePath>,
    /// What file names begin with, before a hyphen; empty for nothing.
    pub file_prefix: String,
    /// What file names end in, after a dot; empty for the extension that the format has.
    pub file_suffix: String,
}

impl ObjectNaming {
    fn check(&self) -> Result<()> {
        for (field, text) in [("file prefix", &self.file_prefix), ("file suffix", &self.file_suffix)] {
            let good = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
            if text.len() > FILE_PART_BYTES_MAX || !text.bytes().all(good) {
                return Err(refuse(field, text, "use at most 64 letters, digits, hyphens, underscores and dots"));
            }
        }
        Ok(())
    }
}

/// Folders made of a time, in UTC: a pattern of strftime, such as `year=%Y/month=%m/day=%d`; empty for no folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TimePath(String);

impl TimePath {
    /// The folders for a time.
    pub(crate) fn format(&self, at: Timestamp) -> String {
        self.try_format(at).unwrap_or_default() // it was tried when it was made
    }

    fn try_format(&self, at: Timestamp) -> Option<String> {
        if self.0.is_empty() {
            return Some(String::new());
        }
        let items = parse_strftime_borrowed(&self.0).ok()?;
        at.to_utc().format(items.as_slice()).ok()
    }
}

impl fmt::Display for TimePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for TimePath {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let path = Self(text.trim_matches('/').to_owned());
        let made = path.try_format(Timestamp::from_millis(TIME_TRIED)).filter(|made| {
            let odd = |part: &str| part.is_empty() || part == "." || part == "..";
            made.is_empty()
                || (made.len() <= TIME_PATH_BYTES_MAX
                    && !made.chars().any(char::is_control)
                    && !made.split('/').any(odd))
        });
        made.map(|_| path).ok_or_else(|| {
            refuse("time path", text, "use names and fields of strftime between single slashes, as in %Y/%m/%d")
        })
    }
}

impl From<TimePath> for String {
    fn from(path: TimePath) -> Self {
        path.0
    }
}

impl TryFrom<String> for TimePath {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

/// What batches are written as.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum OutputFormat {
    /// Apache Parquet, its columns declared or inferred from the events.
    Parquet(ParquetSpec),
    /// The events as they came, one a line.
    JsonLines {
        /// How the file is compressed.
        compression: JsonCompression,
    },
}

impl Default for OutputFormat {
    fn default() -> Self {
        Self::Parquet(ParquetSpec::default())
    }
}

/// How Parquet files are written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ParquetSpec {
    /// How pages are compressed.
    pub compression: ParquetCompression,
    /// A row group ends at about this many encoded bytes.
    pub row_group_size: ByteSize,
    /// A row group ends at this many rows.
    pub row_group_rows: u64,
    /// A page ends at about this many encoded bytes.
    pub page_size: ByteSize,
    /// The columns that the rows of a file are sorted by, the first before the others; fields of structs with a dot. Nulls
    /// come last, rows that are alike stay in the order of their events. A column that a file does not have is passed over.
    pub sort_by: Vec<String>,
    /// The columns that have a bloom filter in each row group.
    pub bloom_filters: Vec<String>,
}

impl Default for ParquetSpec {
    fn default() -> Self {
        Self {
            compression: ParquetCompression::default(),
            row_group_size: ByteSize::bytes(128 << 20),
            row_group_rows: 1_000_000,
            page_size: ByteSize::bytes(1 << 20),
            sort_by: Vec::new(),
            bloom_filters: Vec::new(),
        }
    }
}

impl ParquetSpec {
    fn check(&self) -> Result<()> {
        if !(ROW_GROUP_SIZE_MIN..=ROW_GROUP_SIZE_MAX).contains(&self.row_group_size) {
            return Err(refuse("row group size", &self.row_group_size.to_string(), "use 64KB to 1GB"));
        }
        if !(ROW_GROUP_ROWS_MIN..=BATCH_ROWS_MAX).contains(&self.row_group_rows) {
            return Err(refuse("row group rows", &self.row_group_rows.to_string(), "use 1000 to 10000000"));
        }
        if !(PAGE_SIZE_MIN..=PAGE_SIZE_MAX).contains(&self.page_size) {
            return Err(refuse("page size", &self.page_size.to_string(), "use 4KB to 16MB"));
        }
        for (field, columns) in [("sort by", &self.sort_by), ("bloom filter", &self.bloom_filters)] {
            if columns.len() > COLUMNS_NAMED_MAX {
                return Err(refuse(field, &columns.len().to_string(), "name at most 16 columns"));
            }
            if let Some(odd) = columns.iter().find(|name| name.is_empty() || name.len() > COLUMN_BYTES_MAX) {
                return Err(refuse(field, odd, "use the name of a column, at most 512 bytes"));
            }
        }
        Ok(())
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
    /// Zstandard, level 3.
    Zstd,
}

words!(ParquetCompression, "compression", "use zstd, snappy, lz4, gzip or none for parquet",
    "zstd" => Zstd, "snappy" => Snappy, "lz4" => Lz4, "gzip" => Gzip, "none" => None);
words!(MixedTypes, "mixed types", "use dead-letters or json", "dead-letters" => DeadLetters, "json" => Json);
words!(JsonCompression, "compression", "use gzip, zstd or none for json", "gzip" => Gzip, "none" => None, "zstd" => Zstd);
impl OutputFormat {
    /// The format named `parquet` or `json` with the compression named, or the format's own default.
    pub fn from_names(format: &str, compression: Option<&str>) -> Result<Self> {
        match format {
            "parquet" => {
                let compression = compression.map(str::parse).transpose()?.unwrap_or_default();
                Ok(Self::Parquet(ParquetSpec { compression, ..ParquetSpec::default() }))
            }
            "json" => Ok(Self::JsonLines { compression: compression.map(str::parse).transpose()?.unwrap_or_default() }),
            _ => Err(refuse("format", format, "use parquet or json")),
        }
    }

    /// `parquet` or `json`.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Parquet { .. } => "parquet",
            Self::JsonLines { .. } => "json",
        }
    }

    /// The name of its compression.
    pub fn compression_name(&self) -> String {
        match self {
            Self::Parquet(parquet) => parquet.compression.to_string(),
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
        assert_eq!(OutputFormat::from_names("parquet", None).unwrap(), OutputFormat::default());
        for (format, compression) in
            [("parquet", "lz4"), ("parquet", "none"), ("json", "gzip"), ("json", "zstd"), ("json", "none")]
        {
            let parsed = OutputFormat::from_names(format, Some(compression)).unwrap();
            assert_eq!((parsed.name(), parsed.compression_name().as_str()), (format, compression));
        }
        for (format, compression) in [("avro", None), ("parquet", Some("deflate")), ("json", Some("lz4"))] {
            assert!(OutputFormat::from_names(format, compression).is_err());
        }
    }

    #[test]
    fn objects_are_named_by_safe_parts_and_patterns_of_strftime() {
        for (pattern, made) in [
            ("year=%Y/month=%m/day=%d", "year=2026/month=09/day=23"),
            ("/%Y/%m/", "2026/09"),
            ("", ""),
            ("fixed", "fixed"),
            ("%A-%B", "Wednesday-September"),
        ] {
            let path: TimePath = pattern.parse().unwrap();
            assert_eq!(path.format(Timestamp::from_millis(TIME_TRIED)), made, "{pattern}");
        }
        for pattern in ["%", "%Y//%m", "../%Y", "%!", "a\nb", &"%Y".repeat(60)] {
            assert!(pattern.parse::<TimePath>().is_err(), "{pattern}");
        }
        check(|spec| spec.naming.file_prefix = "a/b".into(), Some("file prefix"));
        check(|spec| spec.naming.file_suffix = "s".repeat(65), Some("file suffix"));
        check(|spec| spec.naming.file_suffix = "v1.parquet".into(), None);
    }

    #[test]
    fn settings_of_parquet_have_their_ranges() {
        let parquet = |change: fn(&mut ParquetSpec), refused| {
            let mut asked = ParquetSpec::default();
            change(&mut asked);
            check(|spec| spec.format = OutputFormat::Parquet(asked), refused);
        };
        parquet(|asked| asked.row_group_size = ByteSize::bytes(63_999), Some("row group size"));
        parquet(|asked| asked.row_group_size = ByteSize::bytes(1 << 30), None);
        parquet(|asked| asked.row_group_rows = 999, Some("row group rows"));
        parquet(|asked| asked.page_size = ByteSize::bytes(3_999), Some("page size"));
        parquet(|asked| asked.sort_by = vec!["a".into(); 17], Some("sort by"));
        parquet(|asked| asked.bloom_filters = vec![String::new()], Some("bloom filter"));
        parquet(|asked| asked.bloom_filters = vec!["a.b".into(); 16], None);
    }
}
