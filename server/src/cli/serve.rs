//! `cistern serve`: flags become the top layer of the configuration, then `wiring` takes over.

use crate::config::{Config, Origin, RawConfig, Value};
use crate::{logs, wiring};
use anyhow::Context as _;
use clap::Args;
use std::time::Duration;

/// Threads for hashing and for file reads that have to wait.
const BLOCKING_THREADS_MAX: usize = 64;
/// How long such a thread stays when there is nothing to do.
const BLOCKING_THREAD_KEPT: Duration = Duration::from_secs(5);

#[derive(Debug, Default, Args)]
pub(super) struct ServeArgs {
    /// Folder of credentials, index and default drives [default: ./cistern-data]
    #[arg(long, value_name = "FOLDER")]
    data_dir: Option<String>,
    /// Folder of a drive, or a range such as /mnt/d{1...6}; may be given several times
    #[arg(long, value_name = "FOLDER")]
    drives: Vec<String>,
    /// How many drives may be lost [default: 2 of 6]
    #[arg(long, value_name = "N")]
    parity: Option<String>,
    /// Address of the S3 listener [default: 127.0.0.1:9000]
    #[arg(long, value_name = "ADDRESS")]
    s3_listen: Option<String>,
    /// Address of API, health, metrics and dashboard [default: 127.0.0.1:9001]
    #[arg(long, value_name = "ADDRESS")]
    management_listen: Option<String>,
    /// Address of HTTP and WebSocket ingest [default: 127.0.0.1:8443]
    #[arg(long, value_name = "ADDRESS")]
    ingest_listen: Option<String>,
    /// Address of the Kafka listener [default: 127.0.0.1:9092]
    #[arg(long, value_name = "ADDRESS")]
    kafka_listen: Option<String>,
    /// Which log lines appear: error, warn, info, debug, or per crate [default: info]
    #[arg(long, value_name = "FILTER")]
    log: Option<String>,
    /// How log lines look: human or json [default: human]
    #[arg(long, value_name = "FORMAT")]
    log_format: Option<String>,
}

impl ServeArgs {
    /// The flags as a layer of settings.
    pub(super) fn to_raw(&self) -> RawConfig {
        let mut raw = RawConfig::default();
        let texts = [
            ("data_dir", "--data-dir", &self.data_dir),
            ("storage.parity", "--parity", &self.parity),
            ("s3.listen", "--s3-listen", &self.s3_listen),
            ("management.listen", "--management-listen", &self.management_listen),
            ("ingest.listen", "--ingest-listen", &self.ingest_listen),
            ("kafka.listen", "--kafka-listen", &self.kafka_listen),
            ("log", "--log", &self.log),
            ("log_format", "--log-format", &self.log_format),
        ];
        for (key, flag, value) in texts {
            if let Some(value) = value {
                raw.set(key, Value::Text(value.clone()), Origin::Flag(flag));
            }
        }
        if !self.drives.is_empty() {
            raw.set("storage.drives", Value::List(self.drives.clone()), Origin::Flag("--drives"));
        }
        raw
    }
}

/// Runs the server until it is told to stop.
pub(super) fn run(raw: &RawConfig) -> anyhow::Result<()> {
    let config = Config::new(raw)?;
    logs::start(&config.log, config.log_format)?;
    for key in &config.without_effect {
        tracing::warn!("{key} is set, but this version has nothing that uses it");
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .max_blocking_threads(BLOCKING_THREADS_MAX)
        .thread_keep_alive(BLOCKING_THREAD_KEPT)
        .build()
        .context("start the runtime")?;
    let ended = runtime.block_on(wiring::serve(config));
    runtime.shutdown_background(); // whatever still blocks has nothing left to do
    ended
}
