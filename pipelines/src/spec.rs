//! What is asked of a pipeline: `PipelineSpec` and the ranges of its settings.

use crate::{DeclaredSchema, Error, JsonPath, Result};
use cistern_types::{BucketName, ByteSize, Invalid, PipelineName, StorageClass, format_duration};
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

/// The most shards.
pub(crate) const SHARDS_MAX: u8 = 16;

/// The most origins a pipeline may name.
const ORIGINS_MAX: usize = 32;

/// What a pipeline shall do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PipelineSpec {
    /// Its name, which is also the path of its endpoint.
    pub name: PipelineName,
    /// The bucket its objects go to.
    pub bucket: BucketName,
    /// What the keys of its objects begin with, without a slash at either end; empty for nothing.
    pub prefix: String,
    /// When a batch ends.
    pub batch: BatchSpec,
    /// What a batch is written as.
    pub format: OutputFormat,
    /// Who may send.
    pub auth: IngestAuth,
    /// From which web pages browsers may send; none means from no page.
    pub cors_origins: Vec<Origin>,
    /// The class of its objects.
    pub class: StorageClass,
    /// Its shards, which are the partitions that Kafka's producers see; each has an order of its own.
    pub shards: u8,
    /// The fields its events shall have; none means that the columns follow from the events.
    pub schema: Option<DeclaredSchema>,
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

/// Who may send events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub enum IngestAuth {
    /// Whoever has the pipeline's send token.
    #[default]
    Token,
    /// Everybody.
    None,
}

/// A web origin that may send from a browser: `*`, or `https://host` with an optional port, as browsers write it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Origin(String);

impl Origin {
    /// Whether a browser's `Origin` header is covered by it.
    pub(crate) fn covers(&self, origin: &str) -> bool {
        self.0 == "*" || self.0 == origin
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Origin {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let host = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
        let fits = |host: &str| {
            let good =
                |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'.' | b'-' | b':' | b'[' | b']');
            (1..=255).contains(&host.len()) && host.bytes().all(good)
        };
        if text == "*" || host.is_some_and(fits) {
            return Ok(Self(text.to_owned()));
        }
        let rule = "use * or an origin such as https://shop.example, in lower case, without path or trailing slash";
        Err(refuse("cors origin", text, rule))
    }
}

impl From<Origin> for String {
    fn from(origin: Origin) -> Self {
        origin.0
    }
}

impl TryFrom<String> for Origin {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

impl PipelineSpec {
    /// A pipeline with the default settings.
    pub fn new(name: PipelineName, bucket: BucketName) -> Self {
        Self {
            name,
            bucket,
            prefix: String::new(),
            batch: BatchSpec::default(),
            format: OutputFormat::default(),
            auth: IngestAuth::default(),
            cors_origins: Vec::new(),
            class: StorageClass::default(),
            shards: 1,
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
        if !(1..=SHARDS_MAX).contains(&self.shards) {
            return Err(refuse("shards", &self.shards.to_string(), "use 1 to 16"));
        }
        if self.cors_origins.len() > ORIGINS_MAX {
            return Err(refuse("cors origins", &self.cors_origins.len().to_string(), "use at most 32, or *"));
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

fn refuse(field: &'static str, given: &str, rule: &'static str) -> Error {
    Error::InvalidSetting { field, given: given.chars().take(128).collect(), rule }
}

macro_rules! words {
    ($name:ident, $what:literal, $rule:literal, $($word:literal => $variant:ident),+) => {
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(match self {
                    $(Self::$variant => $word,)+
                })
            }
        }

        impl FromStr for $name {
            type Err = Error;

            fn from_str(text: &str) -> Result<Self> {
                match text {
                    $($word => Ok(Self::$variant),)+
                    _ => Err(refuse($what, text, $rule)),
                }
            }
        }
    };
}
words!(ParquetCompression, "compression", "use zstd, snappy, lz4, gzip or none for parquet",
    "zstd" => Zstd, "snappy" => Snappy, "lz4" => Lz4, "gzip" => Gzip, "none" => None);
words!(JsonCompression, "compression", "use gzip or none for json", "gzip" => Gzip, "none" => None);
words!(IngestAuth, "auth", "use token or none", "token" => Token, "none" => None);

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

impl From<Invalid> for Error {
    fn from(invalid: Invalid) -> Self {
        Self::InvalidSetting { field: invalid.what, given: invalid.given, rule: invalid.rule }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec() -> PipelineSpec {
        PipelineSpec::new("clicks".parse().unwrap(), "events".parse().unwrap())
    }

    #[track_caller]
    fn check(change: impl FnOnce(&mut PipelineSpec), refused: Option<&str>) {
        let mut changed = spec();
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
        for (shards, refused) in [(0, Some("shards")), (1, None), (16, None), (17, Some("shards"))] {
            check(|spec| spec.shards = shards, refused);
        }
        check(|spec| spec.cors_origins = vec!["*".parse().unwrap(); 33], Some("cors origins"));
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
    fn origins_are_written_as_browsers_do() {
        for good in ["*", "https://shop.example", "http://localhost:3000", "http://[::1]:80"] {
            assert!(good.parse::<Origin>().is_ok(), "{good}");
        }
        for bad in [
            "",
            "shop.example",
            "https://",
            "https://shop.example/",
            "https://Shop.example",
            "ftp://a",
            "https://*.a/b",
        ] {
            assert!(bad.parse::<Origin>().is_err(), "{bad}");
        }
        let origin: Origin = "https://a.b".parse().unwrap();
        assert!(origin.covers("https://a.b") && !origin.covers("https://a.bc") && !origin.covers("http://a.b"));
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
