//! How large and how long things may be. Defaults are those of S3; tests shrink them.

use std::time::Duration;

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
const TIB: u64 = 1 << 40;
const HOUR: Duration = Duration::from_hours(1);

/// Bounds of the object store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// The largest object.
    pub object_bytes_max: u64,
    /// The largest body of one request, and the largest object that one copy request can take.
    pub put_bytes_max: u64,
    /// The smallest part of a multipart upload, its last one excepted.
    pub part_bytes_min: u64,
    /// The highest part number.
    pub parts_max: u16,
    /// Names and values of `x-amz-meta-*` together.
    pub user_metadata_bytes_max: usize,
    /// The content headers of an object together.
    pub content_headers_bytes_max: usize,
    /// How long replaced or deleted bytes stay readable for GETs that have begun: longer than the longest of them.
    pub garbage_grace: Duration,
    /// How old a blob that no row names must be before it is deleted. A body must arrive within this time less
    /// [`Limits::ORPHAN_MARGIN`], or its commit is refused.
    pub orphan_age: Duration,
    /// How long a repeated completion of an upload is answered like the first.
    pub completed_upload_kept: Duration,
    /// How long change-log rows are kept.
    pub changes_kept: Duration,
}

impl Limits {
    /// How much earlier than [`Limits::orphan_age`] a commit refuses a blob, so that clocks of two machines may differ.
    pub const ORPHAN_MARGIN: Duration = HOUR;

    /// How old a blob may be when the first row names it.
    pub fn staged_age_max(&self) -> Duration {
        self.orphan_age.saturating_sub(Self::ORPHAN_MARGIN)
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            object_bytes_max: 5 * TIB,
            put_bytes_max: 5 * GIB,
            part_bytes_min: 5 * MIB,
            parts_max: 10_000,
            user_metadata_bytes_max: 2048,
            content_headers_bytes_max: 8192,
            garbage_grace: HOUR,
            orphan_age: 24 * HOUR,
            completed_upload_kept: 24 * HOUR,
            changes_kept: 7 * 24 * HOUR,
        }
    }
}
