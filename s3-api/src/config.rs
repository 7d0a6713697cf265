//! What the S3 door can be told, and its bounds.

use std::time::Duration;

/// How the door reads requests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct S3Config {
    /// The domain under which `bucket.domain` names a bucket; without one only paths do.
    pub domain: Option<String>,
    /// How far a client's clock may be off.
    pub clock_skew_max: Duration,
    /// How long a body under way may pause.
    pub body_idle_max: Duration,
    /// The largest XML body.
    pub xml_bytes_max: usize,
}

impl Default for S3Config {
    fn default() -> Self {
        Self {
            domain: None,
            clock_skew_max: Duration::from_mins(15),
            body_idle_max: Duration::from_mins(1),
            xml_bytes_max: 8 << 20,
        }
    }
}

/// How connections are served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServeLimits {
    /// Connections at the same time; further ones wait to be accepted.
    pub connections_max: usize,
    /// How long a client may take to send the head of a request, and stay idle between two.
    pub header_read_timeout: Duration,
    /// The most bytes of a request's head, and of a read from the socket.
    pub header_bytes_max: usize,
    /// Requests at the same time on one HTTP/2 connection.
    pub streams_max: u32,
    /// How long requests under way may take to end once the server stops.
    pub stop_timeout: Duration,
}

impl Default for ServeLimits {
    fn default() -> Self {
        Self {
            connections_max: 4096,
            header_read_timeout: Duration::from_mins(1),
            header_bytes_max: 128 << 10,
            streams_max: 128,
            stop_timeout: Duration::from_secs(20),
        }
    }
}
