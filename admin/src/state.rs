//! What the door is built from: handed in by the binary, shared by all requests.

use async_trait::async_trait;
use cistern_access::Access;
use cistern_drives::{DriveStatus, LogStatus, Pass, PassKind, SpaceUsage, Stats};
use cistern_net::Endpoint;
use cistern_objects::Objects;
use cistern_pipelines::Pipelines;
use cistern_runtime::{Shutdown, Supervisor, offload};
use http::HeaderMap;
use http::header::HOST;
use prometheus_client::registry::Registry;
use std::fmt;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// How the storage is.
#[derive(Debug, Clone)]
pub struct StorageStatus {
    /// Every drive, by the number people know it by.
    pub drives: Vec<DriveStatus>,
    /// Every set of drives. The first holds the rows: without it nothing is written.
    pub sets: Vec<LogStatus>,
    /// Sets that are not open.
    pub absent: Vec<AbsentSet>,
}

/// A set that could not be opened for lack of drives: what lies in it cannot be read until a start with them.
#[derive(Debug, Clone)]
pub struct AbsentSet {
    /// Its number.
    pub number: u8,
    /// Which drives are missing.
    pub reason: String,
}

impl StorageStatus {
    /// Whether some set takes no bodies because its drives are full.
    pub fn is_full(&self) -> bool {
        self.sets.iter().any(|set| set.full)
    }

    /// Why nothing is written, if so.
    pub fn read_only_reason(&self) -> Option<&str> {
        let home = &self.sets[0];
        (!home.writable).then(|| home.read_only_reason.as_deref().unwrap_or("no reason given"))
    }

    /// Whether a drive is out, missing or stale, or a set not open.
    pub fn degraded(&self) -> bool {
        !self.absent.is_empty() || self.sets.iter().any(|set| set.degraded)
    }

    /// What was done on all sets since they were opened.
    pub fn counters(&self) -> Stats {
        self.sets.iter().map(|set| set.counters).sum()
    }

    /// What the sets take, as far as it is known.
    pub fn space(&self) -> Option<SpaceUsage> {
        self.sets.iter().filter_map(|set| set.space).reduce(|sum, space| SpaceUsage {
            live_bytes: sum.live_bytes + space.live_bytes,
            allocated_bytes: sum.allocated_bytes + space.allocated_bytes,
        })
    }

    /// The last scrub of each set that has had one.
    pub(crate) fn last_scrubs(&self) -> impl Iterator<Item = Pass> {
        self.sets.iter().filter_map(|set| set.passes.last_scrub)
    }
}

/// The storage as operators see it.
#[async_trait]
pub trait Storage: Send + Sync + fmt::Debug {
    /// How it is now. Blocks as long as the slowest drive takes to say how much room it has.
    fn status(&self) -> StorageStatus;

    /// Asks for a scrub or a heal of every set; returns at once.
    fn request_pass(&self, kind: PassKind);

    /// Has the drive in `folder` take the place of drive number `drive`; answers the numbers of the sets that it has a new place in, which are
    /// being healed.
    async fn replace_drive(&self, drive: usize, folder: &Path) -> Result<Vec<u8>, cistern_drives::Error>;
}

/// Everything the door needs.
#[derive(Debug, Clone)]
pub struct Admin {
    /// Buckets and objects.
    pub objects: Objects,
    /// Keys and the API token.
    pub access: Access,
    /// Pipelines.
    pub pipelines: Pipelines,
    /// The background work, for listings.
    pub supervisor: Supervisor,
    /// The drives.
    pub storage: Arc<dyn Storage>,
    /// What `/metrics` shows.
    pub registry: Arc<Registry>,
    /// Begins when the server is told to stop: from then on it is not ready.
    pub stopping: Shutdown,
    /// Where S3 is spoken.
    pub s3: Endpoint,
    /// Where events are taken.
    pub ingest: Endpoint,
    /// Where Kafka's protocol is spoken.
    pub kafka: Endpoint,
    /// The host and port that its clients are told, when they were set.
    pub kafka_advertised: Option<(String, u16)>,
    /// How late a pipeline's events may be in their objects before the server is not ready; `None`: as late as they like.
    pub late_max: Option<Duration>,
}

impl Admin {
    /// How the storage is. Asking means asking every drive, and one may take its time.
    pub(crate) async fn storage_status(&self) -> StorageStatus {
        let storage = Arc::clone(&self.storage);
        offload(move || storage.status()).await
    }

    /// The address under which whoever sent `headers` reaches the ingest listener.
    pub(crate) fn ingest_url(&self, headers: &HeaderMap) -> String {
        self.ingest.url("http", reachable(self.ingest.address, headers))
    }

    /// The same for WebSockets.
    pub(crate) fn websocket_url(&self, headers: &HeaderMap) -> String {
        self.ingest.url("ws", reachable(self.ingest.address, headers))
    }

    /// Host and port under which whoever sent `headers` reaches the Kafka listener.
    pub(crate) fn kafka_address(&self, headers: &HeaderMap) -> String {
        match &self.kafka_advertised {
            Some((host, port)) => format!("{host}:{port}"),
            None => reachable(self.kafka.address, headers),
        }
    }

    /// The address under which whoever sent `headers` reaches the S3 listener.
    pub(crate) fn s3_url(&self, headers: &HeaderMap) -> String {
        self.s3.url("http", reachable(self.s3.address, headers))
    }
}

/// Host and port of a listener. One on all interfaces has no host of its own: it is reached by the one that this request was sent to.
fn reachable(listener: SocketAddr, headers: &HeaderMap) -> String {
    if !listener.ip().is_unspecified() {
        return listener.to_string();
    }
    let sent_to = headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let host = match sent_to.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|b| b.is_ascii_digit()) => host,
        _ => sent_to,
    };
    let host = if host.is_empty() { "127.0.0.1" } else { host };
    format!("{host}:{}", listener.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(listener: &str, host: Option<&str>, expected: &str) {
        let mut headers = HeaderMap::new();
        if let Some(host) = host {
            headers.insert(HOST, host.parse().unwrap());
        }
        assert_eq!(reachable(listener.parse().unwrap(), &headers), expected);
    }

    #[test]
    fn a_listener_on_all_interfaces_is_reached_by_the_host_of_the_request() {
        check("127.0.0.1:8443", Some("store.example:9001"), "127.0.0.1:8443");
        check("0.0.0.0:8443", Some("store.example:9001"), "store.example:8443");
        check("0.0.0.0:8443", Some("store.example"), "store.example:8443");
        check("[::]:8443", Some("[::1]:9001"), "[::1]:8443");
        check("[::]:8443", Some("[::1]"), "[::1]:8443");
        check("0.0.0.0:8443", None, "127.0.0.1:8443");
    }
}
