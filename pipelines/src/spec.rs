//! What is asked of a pipeline: `PipelineSpec`, and how its events come in: `StreamSpec`.

use crate::{Error, OutputSpec, Result};
use cistern_types::{BucketName, ByteSize, Invalid, PipelineName, format_duration};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// The most shards.
pub(crate) const SHARDS_MAX: u8 = 16;

/// The longest that delivered events are kept in the log.
const RETENTION_MAX: Duration = Duration::from_hours(7 * 24);

/// The least that may wait for being delivered: two of the largest bodies.
const BACKLOG_MIN: ByteSize = ByteSize::bytes(10_000_000);

/// The most origins a pipeline may name.
const ORIGINS_MAX: usize = 32;

/// What a pipeline shall do: take events into its stream, and write them to its bucket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PipelineSpec {
    /// Its name, which is also the path of its endpoint and the topic that Kafka's clients see.
    pub name: PipelineName,
    /// How events come in.
    pub stream: StreamSpec,
    /// What becomes of them.
    pub output: OutputSpec,
}

/// How events come in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamSpec {
    /// Who may send.
    pub auth: IngestAuth,
    /// From which web pages browsers may send; none means from no page.
    pub cors_origins: Vec<Origin>,
    /// Its shards, which are the partitions that Kafka's producers see; each has an order of its own.
    pub shards: u8,
    /// How long events stay in the log at least, to be read again; they stay until they are delivered in any case.
    pub retention: Duration,
    /// How much may wait for being delivered; beyond it senders are told to come back. `None` for as much as the drives
    /// take.
    pub backlog_max: Option<ByteSize>,
}

impl Default for StreamSpec {
    fn default() -> Self {
        Self {
            auth: IngestAuth::default(),
            cors_origins: Vec::new(),
            shards: 1,
            retention: Duration::ZERO,
            backlog_max: None,
        }
    }
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
        Self { name, stream: StreamSpec::default(), output: OutputSpec::new(bucket) }
    }

    /// Refuses settings out of range.
    pub(crate) fn checked(self) -> Result<Self> {
        Ok(Self { name: self.name, stream: self.stream.checked()?, output: self.output.checked()? })
    }
}

impl StreamSpec {
    /// Refuses settings out of range.
    pub(crate) fn checked(self) -> Result<Self> {
        if !(1..=SHARDS_MAX).contains(&self.shards) {
            return Err(refuse("shards", &self.shards.to_string(), "use 1 to 16"));
        }
        if self.retention > RETENTION_MAX {
            return Err(refuse("retention", &format_duration(self.retention), "use at most 7d"));
        }
        if let Some(backlog) = self.backlog_max.filter(|backlog| *backlog < BACKLOG_MIN) {
            return Err(refuse("backlog limit", &backlog.to_string(), "use at least 10MB"));
        }
        if self.cors_origins.len() > ORIGINS_MAX {
            return Err(refuse("cors origins", &self.cors_origins.len().to_string(), "use at most 32, or *"));
        }
        Ok(self)
    }
}

/// The refusal of a setting.
pub(crate) fn refuse(field: &'static str, given: &str, rule: &'static str) -> Error {
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
pub(crate) use words;

words!(IngestAuth, "auth", "use token or none", "token" => Token, "none" => None);

impl From<Invalid> for Error {
    fn from(invalid: Invalid) -> Self {
        Self::InvalidSetting { field: invalid.what, given: invalid.given, rule: invalid.rule }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec() -> StreamSpec {
        StreamSpec::default()
    }

    #[track_caller]
    fn check(change: impl FnOnce(&mut StreamSpec), refused: Option<&str>) {
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
        for (shards, refused) in [(0, Some("shards")), (1, None), (16, None), (17, Some("shards"))] {
            check(|spec| spec.shards = shards, refused);
        }
        check(|spec| spec.cors_origins = vec!["*".parse().unwrap(); 33], Some("cors origins"));
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
}
