//! Bounds of connections.

use std::time::Duration;

/// How connections of a listener are served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServeLimits {
    /// Connections at the same time; further ones wait to be accepted.
    pub connections_max: usize,
    /// How long a client may take for the TLS handshake and for its first request; over HTTP also to send the head of each
    /// request, and to stay idle between two.
    pub silence_max: Duration,
    /// The most bytes of an HTTP request's head, and of a read from the socket.
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
            silence_max: Duration::from_mins(1),
            header_bytes_max: 128 << 10,
            streams_max: 128,
            stop_timeout: Duration::from_secs(20),
        }
    }
}
