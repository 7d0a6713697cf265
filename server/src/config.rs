//! Configuration: what is written in four places becomes one checked [`Config`].
//!
//! Precedence: flag > `CISTERN_*` environment > TOML file > default. [`RawConfig`] holds the settings as somebody wrote
//! them, each with its [`Origin`], so that an error names the place to change; [`Config`] has no option left open. This
//! folder is the only place that reads the environment.
//!
//! ```text
//! settings.rs     every setting: key, default, what it means
//! raw.rs          RawConfig: TOML tables, environment and flags as key -> text, unknown keys refused
//! environment.rs  the process's environment and the places of the file
//! drive_range.rs  /mnt/d{1...6}
//! show.rs         `cistern config show`, secrets masked
//! ```

mod drive_range;
mod environment;
mod raw;
mod settings;
mod show;

pub(crate) use environment::Surroundings;
pub(crate) use raw::{Origin, RawConfig, Value};
pub(crate) use show::{shown, to_toml};

use cistern_blobs::Compression;
use cistern_drives::{LANES_MAX, PARITY_MAX, ViewKind};
use cistern_types::{AccountId, ByteSize, PipelineName, parse_duration};
use std::fmt::{self, Display};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

const MIB: u64 = 1 << 20;
/// Fewest and most bytes of a segment: the largest group of writes must fit.
const SEGMENT_BYTES_MIN: u64 = 8 * MIB;
const SEGMENT_BYTES_MAX: u64 = 1 << 30;
/// Fewest and most bytes of the view's cache.
/// A few bodies and what they unpack to.
const INGEST_MEMORY_BYTES_MIN: u64 = 32 * MIB;
/// A semaphore counts the bytes in 32 bits.
const INGEST_MEMORY_BYTES_MAX: u64 = 3 << 30;
const VIEW_CACHE_BYTES_MIN: u64 = MIB;
const VIEW_CACHE_BYTES_MAX: u64 = 64 << 30;
/// The most bytes of user metadata: with tags, access list and the other headers of its object it must fit into a row of 100 kB, and
/// encoded into a request's head.
const METADATA_BYTES_MAX: u64 = 32 << 10;
/// The highest part number there can be, as S3 has it.
const PARTS_MAX: u16 = 10_000;
/// Sets of a class at most.
const SETS_MAX: usize = 16;
const _: () = assert!(SETS_MAX * 2 == cistern_types::BlobId::SETS as usize);
/// The default drives: folders of the data directory.
const DEFAULT_DRIVES: usize = 6;

/// The result of reading configuration.
pub(crate) type Result<T, E = Error> = std::result::Result<T, E>;

/// What is wrong with the configuration, in a line that says what would be right.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Error {
    /// A file that was named cannot be read.
    #[error("read the configuration file {path}: {reason}")]
    Read {
        /// The file.
        path: String,
        /// Why not.
        reason: String,
    },
    /// A file is not TOML.
    #[error("{path} is not TOML: {reason}")]
    Syntax {
        /// The file.
        path: String,
        /// Where and what.
        reason: String,
    },
    /// A key that does not exist.
    #[error("unknown setting {given} in {place}{}", nearest_text(nearest.as_deref()))]
    UnknownKey {
        /// The key or environment name.
        given: String,
        /// Where it stands.
        place: String,
        /// The known one that looks most like it.
        nearest: Option<String>,
    },
    /// A value that does not fit its key.
    #[error("{key} ({origin}): {reason}")]
    Value {
        /// The setting.
        key: &'static str,
        /// Who set it.
        origin: Origin,
        /// What is wrong and what would be right.
        reason: String,
    },
}

fn nearest_text(nearest: Option<&str>) -> String {
    nearest.map_or_else(|| "; see `cistern config show`".into(), |nearest| format!("; did you mean {nearest}?"))
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LogFormat {
    /// For people.
    Human,
    /// One JSON object a line.
    Json,
}

impl FromStr for LogFormat {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "human" => Ok(Self::Human),
            "json" => Ok(Self::Json),
            _ => Err("use human or json"),
        }
    }
}

/// Data and parity drives of a set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Code {
    /// Drives with data (k).
    pub(crate) data: usize,
    /// Drives with parity (m): how many of the set may be lost.
    pub(crate) parity: usize,
}

impl Code {
    /// All drives of a set.
    pub(crate) fn drives(self) -> usize {
        self.data + self.parity
    }

    /// How this many drives make one set: 6 are 4 + 2, 3 are 2 + 1, 11 are 8 + 3; one drive is unprotected.
    fn default_of(drives: usize) -> Self {
        let parity = match drives {
            0 | 1 => 0,
            2..=4 => 1,
            5..=8 => 2,
            _ => 3,
        };
        Self { data: drives - parity, parity }
    }
}

impl FromStr for Code {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let numbers = text.split_once('+').map(|(data, parity)| (data.trim().parse(), parity.trim().parse()));
        let Some((Ok(data), Ok(parity))) = numbers else {
            return Err(format!("{text:?} is not a code; use data + parity drives, such as 4+2"));
        };
        let code = Self { data, parity };
        if data == 0 || parity > PARITY_MAX.min(data) || data > LANES_MAX - parity {
            return Err(format!(
                "a set of {code} drives cannot be; use at least as many data as parity drives, at most {PARITY_MAX} with parity, {LANES_MAX} in all"
            ));
        }
        Ok(code)
    }
}

impl Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}+{}", self.data, self.parity)
    }
}

/// Where the bytes lie.
#[derive(Debug, Clone)]
pub(crate) struct StorageConfig {
    /// One directory a drive: whole sets one after another.
    pub(crate) drives: Vec<PathBuf>,
    /// How many of them make a set.
    pub(crate) code: Code,
    /// The engine of the rebuildable view.
    pub(crate) view: ViewKind,
    /// Memory for its cache.
    pub(crate) view_cache: ByteSize,
    /// Size of a segment file.
    pub(crate) segment_size: ByteSize,
    /// How long replaced and deleted bytes stay readable.
    pub(crate) garbage_grace: Duration,
    /// Whether a last write that may have been acknowledged is dropped when it cannot be read.
    pub(crate) accept_loss: bool,
    /// What is different for objects that are read rarely.
    pub(crate) infrequent_access: InfrequentAccessConfig,
}

/// How objects of the class Infrequent Access lie on the drives.
#[derive(Debug, Clone)]
pub(crate) struct InfrequentAccessConfig {
    /// How many drives make a set.
    pub(crate) code: Code,
    /// Size of a segment file.
    pub(crate) segment_size: ByteSize,
    /// Whether bodies are compressed.
    pub(crate) compression: Compression,
}

/// How one listener is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ListenOn {
    /// Its address.
    pub(crate) address: SocketAddr,
    /// Its certificate, when it speaks TLS.
    pub(crate) tls: Option<TlsFiles>,
}

/// The files of a certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TlsFiles {
    /// The certificate and those that lead to its root, in PEM.
    pub(crate) certificate: PathBuf,
    /// Its private key, in PEM.
    pub(crate) key: PathBuf,
}

/// The listeners.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Listen {
    /// S3.
    pub(crate) s3: ListenOn,
    /// Management API, health, metrics, dashboard.
    pub(crate) management: ListenOn,
    /// HTTP and WebSocket ingest.
    pub(crate) ingest: ListenOn,
    /// Kafka.
    pub(crate) kafka: ListenOn,
}

/// How the Kafka endpoint presents itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct KafkaSettings {
    /// Host and port that clients are told to connect to.
    pub(crate) advertised: Option<(String, u16)>,
    /// The pipeline whose settings new topics get.
    pub(crate) topic_template: Option<PipelineName>,
}

/// How large and how many things that S3 clients write may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct S3Limits {
    /// The largest object.
    pub(crate) object_size_max: ByteSize,
    /// The largest body of one request, and the largest object that one copy takes; not above the largest object.
    pub(crate) put_size_max: ByteSize,
    /// The smallest part of an upload, its last one excepted; not above the largest body.
    pub(crate) part_size_min: ByteSize,
    /// The highest part number.
    pub(crate) parts_max: u16,
    /// Names and values of an object's user metadata together.
    pub(crate) metadata_size_max: ByteSize,
}

/// Credentials given from outside; what is missing stands in the credentials file.
#[derive(Clone, Default)]
pub(crate) struct GivenCredentials {
    /// The id of this installation in management API paths.
    pub(crate) account_id: Option<AccountId>,
    /// The public half of the root key.
    pub(crate) access_key_id: Option<String>,
    /// Its secret half.
    pub(crate) secret_access_key: Option<String>,
    /// The token of the management API.
    pub(crate) api_token: Option<String>,
}

impl fmt::Debug for GivenCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GivenCredentials").field("account_id", &self.account_id).finish_non_exhaustive()
    }
}

/// The configuration of a server, checked.
#[derive(Debug, Clone)]
pub(crate) struct Config {
    /// Where the view, the credentials and by default the drives lie.
    pub(crate) data_dir: PathBuf,
    /// Where the bytes lie.
    pub(crate) storage: StorageConfig,
    /// The listeners.
    pub(crate) listen: Listen,
    /// What the ingest path may take and how late it may be.
    pub(crate) ingest: IngestSettings,
    /// How the Kafka endpoint presents itself.
    pub(crate) kafka: KafkaSettings,
    /// The domain of virtual-host-style S3 requests.
    pub(crate) s3_domain: Option<String>,
    /// What S3 clients may write.
    pub(crate) s3_limits: S3Limits,
    /// Credentials given from outside.
    pub(crate) credentials: GivenCredentials,
    /// Which log lines appear.
    pub(crate) log: String,
    /// How they look.
    pub(crate) log_format: LogFormat,
    /// Settings somebody wrote that have no effect in this version.
    pub(crate) without_effect: Vec<&'static str>,
}

/// What the ingest path may take and how late it may be.
#[derive(Debug, Clone)]
pub(crate) struct IngestSettings {
    /// Bytes of events on their way to the log.
    pub(crate) buffer: ByteSize,
    /// Bytes of batches that grow.
    pub(crate) batch_memory: ByteSize,
    /// How late events may be before the server is not ready.
    pub(crate) late_max: Option<Duration>,
}

/// Where a client finds the server.
#[derive(Debug, Clone)]
pub(crate) struct ClientConfig {
    /// Address of the management API, when somebody named one.
    pub(crate) api_url: Option<String>,
    /// Certificates to trust besides those of the system.
    pub(crate) api_ca: Option<PathBuf>,
    /// Its token, when somebody named one.
    pub(crate) api_token: Option<String>,
    /// Where a server with this configuration takes requests, for when none says where it does.
    pub(crate) configured_url: String,
    /// Where the credentials file of a local server lies.
    pub(crate) data_dir: PathBuf,
}

impl ClientConfig {
    /// Takes what a client needs.
    pub(crate) fn new(raw: &RawConfig) -> Self {
        Self {
            api_url: raw.text("api_url"),
            api_ca: raw.text("api_ca").map(Into::into),
            api_token: raw.text("api_token"),
            configured_url: configured_url(raw),
            data_dir: data_dir(raw),
        }
    }
}

/// The management API's address as it is configured; one of all interfaces is reached over the loopback one.
fn configured_url(raw: &RawConfig) -> String {
    let scheme = if raw.get("management.tls_certificate").is_some() { "https" } else { "http" };
    let written = raw.text("management.listen").expect("management.listen has a default");
    let reached = listen_address(&written).map(|mut address| {
        match address.ip() {
            IpAddr::V4(Ipv4Addr::UNSPECIFIED) => address.set_ip(Ipv4Addr::LOCALHOST.into()),
            IpAddr::V6(Ipv6Addr::UNSPECIFIED) => address.set_ip(Ipv6Addr::LOCALHOST.into()),
            _ => {}
        }
        address.to_string()
    });
    format!("{scheme}://{}", reached.unwrap_or(written))
}

impl Config {
    /// Checks every setting.
    pub(crate) fn new(raw: &RawConfig) -> Result<Self> {
        let data_dir = data_dir(raw);
        Ok(Self {
            storage: storage(raw, &data_dir)?,
            listen: Listen {
                s3: listen_on(raw, "s3.listen", "s3.tls_certificate", "s3.tls_key")?,
                management: listen_on(raw, "management.listen", "management.tls_certificate", "management.tls_key")?,
                ingest: listen_on(raw, "ingest.listen", "ingest.tls_certificate", "ingest.tls_key")?,
                kafka: listen_on(raw, "kafka.listen", "kafka.tls_certificate", "kafka.tls_key")?,
            },
            ingest: ingest(raw)?,
            kafka: KafkaSettings {
                advertised: raw.parse_optional("kafka.advertised", host_and_port)?,
                topic_template: raw.parse_optional("kafka.topic_template", parsed)?,
            },
            s3_domain: raw.parse_optional("s3.domain", domain)?,
            s3_limits: s3_limits(raw)?,
            credentials: GivenCredentials {
                account_id: raw.parse_optional("account_id", parsed)?,
                access_key_id: raw.text("access_key_id"),
                secret_access_key: raw.text("secret_access_key"),
                api_token: raw.text("api_token"),
            },
            log: raw.parse_with("log", log_filter)?,
            log_format: raw.parse_with("log_format", parsed)?,
            without_effect: raw.without_effect(),
            data_dir,
        })
    }
}

fn data_dir(raw: &RawConfig) -> PathBuf {
    raw.text("data_dir").expect("data_dir has a default").into()
}

fn storage(raw: &RawConfig, data_dir: &std::path::Path) -> Result<StorageConfig> {
    let drives = match raw.get("storage.drives") {
        None => (1..=DEFAULT_DRIVES).map(|number| data_dir.join("drives").join(format!("d{number}"))).collect(),
        Some(written) => {
            let refuse = |reason: String| written.refused("storage.drives", reason);
            drive_range::expand_all(&written.value.to_list()).map_err(refuse)?
        }
    };
    let code = code(raw, drives.len())?;
    let view = raw.parse_with("storage.view", |text| match text {
        "fjall" => Ok(ViewKind::Fjall),
        "sled" => Ok(ViewKind::Sled),
        _ => Err("use fjall or sled"),
    })?;
    let view_cache = size(raw, "storage.view_cache", VIEW_CACHE_BYTES_MIN..=VIEW_CACHE_BYTES_MAX, "use 1MiB to 64GiB")?;
    let segment_size = raw.parse_with("storage.segment_size", segment_size)?;
    let grace = Duration::from_secs(1)..=Duration::from_hours(30 * 24);
    let garbage_grace =
        raw.parse_with("storage.garbage_grace", |text| duration_within(text, &grace, "use 1s to 720h"))?;
    let accept_loss =
        raw.parse_with("storage.accept_loss", |text| text.parse::<bool>().map_err(|_| "use true or false".to_owned()))?;
    let infrequent_access = infrequent_access(raw, code, segment_size, drives.len())?;
    Ok(StorageConfig { drives, code, view, view_cache, segment_size, garbage_grace, accept_loss, infrequent_access })
}

fn ingest(raw: &RawConfig) -> Result<IngestSettings> {
    let memory = |key| size(raw, key, INGEST_MEMORY_BYTES_MIN..=INGEST_MEMORY_BYTES_MAX, "use 32MiB to 3GiB");
    let late = Duration::from_secs(10)..=Duration::from_hours(7 * 24);
    Ok(IngestSettings {
        buffer: memory("ingest.buffer")?,
        batch_memory: memory("ingest.batch_memory")?,
        late_max: raw.parse_optional("ingest.late_max", |text| duration_within(text, &late, "use 10s to 168h"))?,
    })
}

fn duration_within(text: &str, bounds: &RangeInclusive<Duration>, rule: &str) -> Result<Duration, String> {
    let duration = parse_duration(text).map_err(|error| error.to_string())?;
    if bounds.contains(&duration) { Ok(duration) } else { Err(rule.to_owned()) }
}

/// The code of Standard: as written, or one set with the parity written, or with the usual one.
fn code(raw: &RawConfig, drives: usize) -> Result<Code> {
    let parity = raw.parse_optional("storage.parity", |text| {
        let parity: usize = text.parse().map_err(|_| "use a number of drives, 0 to 4".to_owned())?;
        let parity_max = PARITY_MAX.min(drives / 2);
        if parity > parity_max {
            return Err(format!("{parity} of {drives} drives cannot be parity; use at most {parity_max}"));
        }
        Ok(parity)
    })?;
    let code = raw.parse_optional("storage.code", |text| {
        if parity.is_some() {
            return Err("storage.parity is set too; set one of the two".to_owned());
        }
        code_for(drives, text)
    })?;
    if let Some(code) = code {
        return Ok(code);
    }
    if let Some(written) = raw.get("storage.drives").filter(|_| drives > LANES_MAX) {
        let reason =
            format!("{drives} drives are more than one set may have; set storage.code, such as 8+4, for several sets");
        return Err(written.refused("storage.drives", reason));
    }
    Ok(parity.map_or_else(|| Code::default_of(drives), |parity| Code { data: drives - parity, parity }))
}

/// A code by which this many drives make whole sets.
fn code_for(drives: usize, text: &str) -> Result<Code, String> {
    let code: Code = text.parse()?;
    let each = code.drives();
    if !drives.is_multiple_of(each) {
        let (less, more) = (drives / each * each, drives.next_multiple_of(each));
        let fit = if less == 0 { more.to_string() } else { format!("{less} or {more}") };
        return Err(format!(
            "{drives} drives do not make whole sets of {each}; give {fit} drives, or use another code"
        ));
    }
    if drives / each > SETS_MAX {
        return Err(format!(
            "{drives} drives would be {} sets; use a wider code: at most {SETS_MAX} sets",
            drives / each
        ));
    }
    Ok(code)
}

fn infrequent_access(
    raw: &RawConfig,
    standard: Code,
    standard_segment_size: ByteSize,
    drives: usize,
) -> Result<InfrequentAccessConfig> {
    let code = raw.parse_optional("storage.infrequent_access.code", |text| code_for(drives, text))?;
    let segment_size_key = raw.parse_optional("storage.infrequent_access.segment_size", segment_size)?;
    let twice = (standard_segment_size.as_u64() * 2).min(SEGMENT_BYTES_MAX);
    let compression = raw.parse_with("storage.infrequent_access.compression", |text| match text {
        "zstd" => Ok(Compression::Zstd),
        "none" => Ok(Compression::None),
        _ => Err("use zstd or none"),
    })?;
    Ok(InfrequentAccessConfig {
        code: code.unwrap_or(standard),
        segment_size: segment_size_key.unwrap_or_else(|| ByteSize::bytes(twice)),
        compression,
    })
}

fn s3_limits(raw: &RawConfig) -> Result<S3Limits> {
    let any = |key| size(raw, key, 1..=u64::MAX, "use at least 1B");
    let object_size_max = any("s3.object_size_max")?;
    let put_size_max = any("s3.put_size_max")?;
    let part_size_min = any("s3.part_size_min")?;
    for (key, size, above, bound) in [
        ("s3.put_size_max", put_size_max, "s3.object_size_max", object_size_max),
        ("s3.part_size_min", part_size_min, "s3.put_size_max", put_size_max),
    ] {
        if size > bound {
            return raw
                .parse_with(key, |_| Err(format!("{size} is more than {above}; use at most {bound}, or raise that")));
        }
    }
    let parts_max = raw.parse_with("s3.parts_max", |text| {
        let number = text.parse().ok().filter(|number| (1..=PARTS_MAX).contains(number));
        number.ok_or_else(|| format!("use a number of parts, 1 to {PARTS_MAX}"))
    })?;
    let metadata_size_max = size(raw, "s3.metadata_size_max", 1..=METADATA_BYTES_MAX, "use 1B to 32KiB")?;
    Ok(S3Limits { object_size_max, put_size_max, part_size_min, parts_max, metadata_size_max })
}

fn segment_size(text: &str) -> Result<ByteSize, String> {
    let size: ByteSize = text.parse().map_err(|error: cistern_types::Invalid| error.to_string())?;
    let fits = (SEGMENT_BYTES_MIN..=SEGMENT_BYTES_MAX).contains(&size.as_u64()) && size.as_u64().is_multiple_of(MIB);
    if fits { Ok(size) } else { Err("use 8MiB to 1GiB in whole MiB".to_owned()) }
}

fn size(raw: &RawConfig, key: &'static str, bounds: RangeInclusive<u64>, rule: &str) -> Result<ByteSize> {
    raw.parse_with(key, |text| {
        let size: ByteSize = text.parse().map_err(|error: cistern_types::Invalid| error.to_string())?;
        if bounds.contains(&size.as_u64()) { Ok(size) } else { Err(rule.to_owned()) }
    })
}

fn listen_on(raw: &RawConfig, listen: &'static str, certificate: &'static str, key: &'static str) -> Result<ListenOn> {
    let address = raw.parse_with(listen, listen_address)?;
    let tls = match (raw.get(certificate), raw.get(key)) {
        (None, None) => None,
        (Some(given), None) => return Err(given.refused(certificate, format!("{key} is missing; set both, or none"))),
        (None, Some(given)) => return Err(given.refused(key, format!("{certificate} is missing; set both, or none"))),
        (Some(_), Some(_)) => raw
            .text(certificate)
            .zip(raw.text(key))
            .map(|(certificate, key)| TlsFiles { certificate: certificate.into(), key: key.into() }),
    };
    Ok(ListenOn { address, tls })
}

fn host_and_port(text: &str) -> Result<(String, u16), String> {
    let parts = text.rsplit_once(':').and_then(|(host, port)| Some((host, port.parse().ok()?)));
    let parts = parts.filter(|(host, _)| !host.is_empty() && host.bytes().all(|b| b.is_ascii_graphic() && b != b'/'));
    let (host, port) = parts.ok_or_else(|| format!("{text:?} is not HOST:PORT, such as kafka.example.org:9092"))?;
    Ok((host.trim_start_matches('[').trim_end_matches(']').to_owned(), port))
}

fn parsed<T: FromStr<Err: Display>>(text: &str) -> Result<T, String> {
    text.parse().map_err(|error: T::Err| error.to_string())
}

fn listen_address(text: &str) -> Result<SocketAddr, String> {
    if let Some(port) = text.strip_prefix("localhost:").and_then(|port| port.parse().ok()) {
        return Ok((Ipv4Addr::LOCALHOST, port).into());
    }
    text.parse()
        .map_err(|_| format!("{text:?} is not an address; use HOST:PORT with an IP address, such as 0.0.0.0:9000"))
}

fn domain(text: &str) -> Result<String, String> {
    let label = |label: &str| {
        !label.is_empty() && label.len() <= 63 && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
    };
    if text.len() <= 253 && text.split('.').all(label) {
        return Ok(text.to_ascii_lowercase());
    }
    Err(format!("{text:?} is not a domain; use a host name without port, such as s3.example.com"))
}

fn log_filter(text: &str) -> Result<String, String> {
    match tracing_subscriber::EnvFilter::try_new(text) {
        Ok(_) => Ok(text.into()),
        Err(error) => Err(format!("{error}; use a level such as info, or info,cistern_drives=debug")),
    }
}

#[cfg(test)]
mod tests;
