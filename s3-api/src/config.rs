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
