//! Buckets, objects, multipart uploads and lists: everything S3 means by "an object", on the two borders below.
//!
//! Rows live in `cistern-metadata`, bytes in `cistern-blobs`; this crate says how they hang together and knows neither
//! protocol nor drive. Every request is a method of [`Objects`], each in the file of its name.
//!
//! ```text
//! body ─▶ body.rs gather ─▶ digest.rs MD5, checksums ─▶ stage.rs blob ─┐ nothing visible so far
//!                           encryption.rs, seal.rs: its bytes sealed ───┤
//!                                                                    ▼
//! put · copy · multipart · pipelines ─────────────────────▶ commit.rs: object row + claims of its blobs
//! delete ──────────────────────────────────────────────▶            + change-log row + garbage row of what it replaces
//!                                                                    (versions.rs: what a key keeps of what it was)
//!                                                                    │ one transaction
//! replace: one object in the place of others ──────▶            │ both of these at once
//! transition: the same version on other blobs ──────▶            │
//! get · list ◀──────────────────────── rows.rs ◀──────────────────────┘
//! garbage.rs (sweeper): due garbage rows, orphaned blobs, old change-log rows
//! ```
//!
//! **Claims.** A blob lives as long as a claim row names it. Whoever writes a row that names a blob (also a crate above
//! with rows of its own) calls [`Objects::claim_blob`] in the same transaction, and [`Objects::release_blobs`] in the
//! one that removes it. A blob that is old and unclaimed is an orphan of a failed write, and the sweeper deletes it.

mod attributes;
mod body;
mod bucket;
mod changes;
mod commit;
mod conditions;
mod copy;
mod delete;
mod digest;
mod encryption;
mod error;
#[cfg(test)]
mod fixture;
mod garbage;
mod get;
pub mod http_headers;
mod limits;
mod list;
mod list_versions;
mod lock;
mod md5_lanes;
#[cfg(test)]
mod model;
mod multipart;
mod objects;
#[cfg(test)]
mod on_drives;
mod put;
#[cfg(test)]
mod races;
mod record;
mod replace;
mod retry;
mod rows;
mod seal;
mod settings;
mod stage;
mod transition;
mod turns;
mod versions;

pub use attributes::{Attributes, BUCKET_TAGS_MAX, OBJECT_TAGS_MAX, Retention, RetentionMode, Tags};
pub use body::{BodyChecks, BodyError, ExpectedChecksum, TrailerSource};
pub use bucket::{BucketPage, BucketRecord, BucketSpec, ListBuckets};
pub use changes::{Change, ChangeCause, ChangeKind, StampedChanges};
pub use conditions::{Conditions, DeleteConditions, IfRange, TagList};
pub use copy::{CopyOutcome, CopyRequest, MetadataDirective};
pub use delete::{DeleteItem, DeleteOutcome};
pub use encryption::{Encryption, EncryptionKind, Sealing};
pub use error::{Condition, Error, ErrorKind, Result};
pub use garbage::{SweepSchedule, Sweeper};
pub use get::{ByteRange, ObjectBody, ObjectPart, ObjectRead, PART_PAGE_MAX, PartBytes};
pub use limits::Limits;
pub use list::{ListPage, ListRequest, ListedObject};
pub use list_versions::{ListVersions, ListedVersion, VersionPage};
pub use multipart::{
    CompleteUpload, CompletedPart, CreateUpload, ListUploads, ListedPart, ListedUpload, PartCopy, PartOutcome,
    PartPage, UploadBegun, UploadPage, UploadRef,
};
pub use objects::Objects;
pub use put::{PutOutcome, PutRequest};
pub use record::{ChecksumKind, Extent, ObjectHeaders, ObjectRecord, StoredChecksum, VersionId, VersionRef};
pub use seal::{
    BlobSalt, CustomerKey, CustomerKeyError, CustomerKeyVerifier, KeyError, KeyPlace, MasterKeyId, MasterKeys,
    SealError, SealedKey, WrappedKey,
};
pub use settings::{
    BucketSettings, CONFIGURATION_BYTES_MAX, ConfigurationKind, DefaultRetention, ObjectLock, ObjectOwnership,
    PublicAccessBlock, RETENTION_DAYS_MAX, RetentionPeriod, Versioning,
};
pub use stage::{StageSpec, StagedCommit, StagedObject};
pub use transition::TransitionOutcome;
