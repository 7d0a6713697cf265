//! Every setting there is: its key, its default, whether it is a secret, and what it means to a person.
//!
//! The environment name follows from the key: `s3.listen` is `CISTERN_S3__LISTEN`. What is not in this table is unknown.

/// The longest distance at which a known name is offered for an unknown one, as a similarity of 0 to 1.
const NEAREST_SIMILARITY_MIN: f64 = 0.7;

/// What all environment names begin with.
pub(super) const ENVIRONMENT_PREFIX: &str = "CISTERN_";

/// One setting.
#[derive(Debug)]
pub(super) struct Setting {
    /// Its TOML path.
    pub(super) key: &'static str,
    /// Its default as text; `None` when it is made or worked out.
    pub(super) default: Option<&'static str>,
    /// What it means.
    pub(super) meaning: &'static str,
    /// Whether its value may be shown, and whether it does anything yet.
    pub(super) kind: Kind,
}

/// What is special about a setting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Nothing.
    Plain,
    /// Its value is masked.
    Secret,
    /// It takes a list.
    List,
    /// It is true or false.
    Flag,
    /// It is known and accepted, so that one file fits every version, but this version has nothing that uses it.
    WithoutEffect,
}

const fn setting(key: &'static str, default: Option<&'static str>, kind: Kind, meaning: &'static str) -> Setting {
    Setting { key, default, meaning, kind }
}

const CERTIFICATE: &str =
    "PEM file with the certificate of this listener and those that lead to its root; none: no TLS";
const KEY: &str = "PEM file with the private key of that certificate";

/// All settings; keys without a table first, as TOML wants them.
pub(super) const SETTINGS: &[Setting] = &[
    setting("data_dir", Some("./cistern-data"), Kind::Plain, "folder of credentials, view and default drives"),
    setting("account_id", None, Kind::Plain, "id in management API paths, 32 hex digits; made on first start"),
    setting("access_key_id", None, Kind::Plain, "root access key id; made on first start"),
    setting("secret_access_key", None, Kind::Secret, "root secret access key; made on first start"),
    setting("api_token", None, Kind::Secret, "token of the management API; made on first start"),
    setting("api_url", None, Kind::Plain, "where the commands find the server"),
    setting(
        "api_ca",
        None,
        Kind::Plain,
        "PEM file with certificates that the commands trust besides those of the system",
    ),
    setting(
        "log",
        Some("info,fjall=warn,lsm_tree=warn,s3s=off"),
        Kind::Plain,
        "which log lines appear: error, warn, info, debug, or per crate",
    ),
    setting("log_format", Some("human"), Kind::Plain, "how log lines look: human or json"),
    setting("storage.drives", None, Kind::List, "one folder a drive; default d1 to d6 in DATA_DIR/drives"),
    setting("storage.parity", None, Kind::Plain, "how many drives may be lost; default 2 of 6"),
    setting(
        "storage.code",
        None,
        Kind::Plain,
        "data + parity drives of a set, such as 4+2, instead of storage.parity; more drives make further sets",
    ),
    setting("storage.view", Some("fjall"), Kind::Plain, "engine of the rebuildable index: fjall or sled"),
    setting("storage.view_cache", Some("32MiB"), Kind::Plain, "memory for its cache"),
    setting("storage.segment_size", Some("64MiB"), Kind::Plain, "size of the log's files on each drive"),
    setting(
        "storage.garbage_grace",
        Some("1h"),
        Kind::Plain,
        "how long replaced and deleted bytes are kept, for downloads that have begun",
    ),
    setting(
        "storage.accept_loss",
        Some("false"),
        Kind::Flag,
        "start although the last write may be lost with missing drives: true once, when the server asks for it",
    ),
    setting(
        "storage.infrequent_access.code",
        None,
        Kind::Plain,
        "data + parity drives of a set for STANDARD_IA, over the same drives; default as storage.code",
    ),
    setting(
        "storage.infrequent_access.segment_size",
        None,
        Kind::Plain,
        "size of its files on each drive; default twice storage.segment_size",
    ),
    setting(
        "storage.infrequent_access.compression",
        Some("zstd"),
        Kind::Plain,
        "how bodies of STANDARD_IA are compressed: zstd or none",
    ),
    setting("s3.listen", Some("127.0.0.1:9000"), Kind::Plain, "address of the S3 listener"),
    setting("s3.tls_certificate", None, Kind::Plain, CERTIFICATE),
    setting("s3.tls_key", None, Kind::Plain, KEY),
    setting("s3.domain", None, Kind::Plain, "domain of virtual-host-style requests: BUCKET.DOMAIN"),
    setting("s3.object_size_max", Some("5TiB"), Kind::Plain, "the largest object"),
    setting(
        "s3.put_size_max",
        Some("5GiB"),
        Kind::Plain,
        "the largest body of one request or object of a pipeline, and the largest object that one copy takes",
    ),
    setting("s3.part_size_min", Some("5MiB"), Kind::Plain, "the smallest part of an upload, its last one excepted"),
    setting("s3.parts_max", Some("10000"), Kind::Plain, "the highest part number, 1 to 10000"),
    setting(
        "s3.metadata_size_max",
        Some("2KiB"),
        Kind::Plain,
        "the most bytes of names and values of an object's x-amz-meta-*, 1B to 32KiB",
    ),
    setting("management.listen", Some("127.0.0.1:9001"), Kind::Plain, "address of API, health, metrics and dashboard"),
    setting("management.tls_certificate", None, Kind::Plain, CERTIFICATE),
    setting("management.tls_key", None, Kind::Plain, KEY),
    setting("ingest.listen", Some("127.0.0.1:8443"), Kind::Plain, "address of HTTP and WebSocket ingest"),
    setting("ingest.tls_certificate", None, Kind::Plain, CERTIFICATE),
    setting("ingest.tls_key", None, Kind::Plain, KEY),
    setting(
        "ingest.buffer",
        Some("64MiB"),
        Kind::Plain,
        "memory for events that are not in the log yet; beyond it senders are told to come back",
    ),
    setting(
        "ingest.batch_memory",
        Some("256MiB"),
        Kind::Plain,
        "memory for batches that grow, of all pipelines, 8MiB each at least; beyond it the largest are written early",
    ),
    setting(
        "ingest.late_max",
        None,
        Kind::Plain,
        "how long after their batch timeout events may still wait before /readyz answers 503; none: it only says so",
    ),
    setting("kafka.listen", Some("127.0.0.1:9092"), Kind::Plain, "address of the Kafka listener"),
    setting("kafka.tls_certificate", None, Kind::Plain, CERTIFICATE),
    setting("kafka.tls_key", None, Kind::Plain, KEY),
    setting(
        "kafka.advertised",
        None,
        Kind::Plain,
        "HOST:PORT that Kafka clients are told to connect to; default the address they came to",
    ),
    setting(
        "kafka.topic_template",
        None,
        Kind::Plain,
        "pipeline whose settings topics get that Kafka clients make; none: they make none",
    ),
    setting("lifecycle.day_seconds", None, Kind::WithoutEffect, "length of a day for lifecycle rules"),
];

/// The setting with this key.
pub(super) fn find(key: &str) -> Option<&'static Setting> {
    SETTINGS.iter().find(|setting| setting.key == key)
}

impl Setting {
    /// Its environment name.
    pub(super) fn environment_name(&self) -> String {
        format!("{ENVIRONMENT_PREFIX}{}", self.key.replace('.', "__").to_ascii_uppercase())
    }
}

/// The known name that looks most like `given`, if any does.
pub(super) fn nearest(given: &str, known: impl Iterator<Item = String>) -> Option<String> {
    let given = given.to_ascii_lowercase();
    let rated = known.map(|name| (strsim::jaro_winkler(&given, &name.to_ascii_lowercase()), name));
    let best = rated.max_by(|(a, _), (b, _)| a.total_cmp(b))?;
    (best.0 >= NEAREST_SIMILARITY_MIN).then_some(best.1)
}
