//! What is known about an object: its headers, size, tags, and where its bytes lie.

use crate::attributes::Attributes;
use crate::{BlobSalt, Error, Limits, Result};
use cistern_metadata::RowKey;
use cistern_types::{BlobId, Checksum, ChecksumAlgorithm, ETag, Invalid, ObjectKey, StorageClass, Timestamp};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

/// The name of one state of an object; each write makes a new one. Of one key the newest sorts first.
///
/// ```text
/// [!(milliseconds << 20, or one more than the newest before), 8 bytes big-endian][random, 8 bytes]
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct VersionId([u8; 16]);

/// How far milliseconds are moved up: so many states of a key may begin in one, or while a clock goes back.
const ORDER_SHIFT: u32 = 20;

impl VersionId {
    /// A new one that sorts before `newest`, the newest of its key.
    pub(crate) fn after(newest: Option<Self>, now: Timestamp) -> Self {
        let clock = now.as_millis() << ORDER_SHIFT;
        let order = newest.map_or(clock, |newest| clock.max(newest.order().saturating_add(1)));
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&(!order).to_be_bytes());
        bytes[8..].copy_from_slice(&rand::random::<[u8; 8]>());
        Self(bytes)
    }

    fn order(self) -> u64 {
        let (order, _) = self.0.split_first_chunk().expect("16 bytes are more than 8");
        !u64::from_be_bytes(*order)
    }

    /// Its bytes.
    pub fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl FromStr for VersionId {
    type Err = Invalid;

    fn from_str(text: &str) -> std::result::Result<Self, Invalid> {
        let mut bytes = [0; 16];
        hex::decode_to_slice(text, &mut bytes).map_err(|_| Invalid {
            what: "version id",
            given: text.chars().take(64).collect(),
            rule: "use null or the id that an answer gave",
        })?;
        Ok(Self(bytes))
    }
}

impl RowKey for VersionId {
    fn encode(&self, out: &mut Vec<u8>) {
        self.0.encode(out);
    }

    fn read(bytes: &mut &[u8]) -> Option<Self> {
        RowKey::read(bytes).map(Self)
    }
}

/// A version as clients name it: by its id, or `null` for the one written while the bucket kept no versions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum VersionRef {
    /// `null`: a key has at most one of them.
    Null,
    /// 32 hex digits.
    Id(VersionId),
}

impl VersionRef {
    /// How clients name a version; `null` says whether it is the null version of its key.
    pub(crate) fn of(version: VersionId, null: bool) -> Self {
        if null { Self::Null } else { Self::Id(version) }
    }
}

impl fmt::Display for VersionRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("null"),
            Self::Id(id) => id.fmt(f),
        }
    }
}

impl FromStr for VersionRef {
    type Err = Invalid;

    fn from_str(text: &str) -> std::result::Result<Self, Invalid> {
        if text == "null" { Ok(Self::Null) } else { text.parse().map(Self::Id) }
    }
}

impl fmt::Display for VersionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for VersionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "VersionId({self})")
    }
}

/// The headers a client stores with an object and gets back with it. An absent one stays absent: defaults are the
/// protocol's business.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObjectHeaders {
    /// `Content-Type`
    pub content_type: Option<String>,
    /// `Content-Encoding`
    pub content_encoding: Option<String>,
    /// `Content-Disposition`
    pub content_disposition: Option<String>,
    /// `Content-Language`
    pub content_language: Option<String>,
    /// `Cache-Control`
    pub cache_control: Option<String>,
    /// `Expires`, as it was given.
    pub expires: Option<String>,
    /// `x-amz-meta-*`, names in lower case and without the prefix.
    pub user: BTreeMap<String, String>,
}

impl ObjectHeaders {
    /// Refuses more than the limits allow.
    pub(crate) fn check(&self, limits: &Limits) -> Result<()> {
        let user = self.user.iter().map(|(name, value)| name.len() + value.len()).sum();
        let content = self.content().into_iter().flatten().map(String::len).sum();
        for (size_bytes, limit_bytes) in
            [(user, limits.user_metadata_bytes_max), (content, limits.content_headers_bytes_max)]
        {
            if size_bytes > limit_bytes {
                return Err(Error::MetadataTooLarge { size_bytes, limit_bytes });
            }
        }
        Ok(())
    }

    /// These headers with those of `over` laid on top; what `over` leaves out stays.
    pub(crate) fn merged(self, over: Self) -> Self {
        let mut user = self.user;
        user.extend(over.user);
        Self {
            content_type: over.content_type.or(self.content_type),
            content_encoding: over.content_encoding.or(self.content_encoding),
            content_disposition: over.content_disposition.or(self.content_disposition),
            content_language: over.content_language.or(self.content_language),
            cache_control: over.cache_control.or(self.cache_control),
            expires: over.expires.or(self.expires),
            user,
        }
    }

    fn content(&self) -> [Option<&String>; 6] {
        [
            self.content_type.as_ref(),
            self.content_encoding.as_ref(),
            self.content_disposition.as_ref(),
            self.content_language.as_ref(),
            self.cache_control.as_ref(),
            self.expires.as_ref(),
        ]
    }
}

/// What a checksum was computed over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ChecksumKind {
    /// All bytes of the object.
    FullObject,
    /// The checksums of its parts.
    Composite,
}

impl ChecksumKind {
    /// The kind a multipart upload gets when it names only the algorithm.
    pub fn default_for(algorithm: ChecksumAlgorithm) -> Self {
        match algorithm {
            ChecksumAlgorithm::Crc64Nvme => Self::FullObject,
            _ => Self::Composite,
        }
    }

    /// Whether S3 knows this kind for the algorithm: a SHA of the whole cannot be put together from parts, and
    /// CRC64NVME is never composite.
    pub fn fits(self, algorithm: ChecksumAlgorithm) -> bool {
        match algorithm {
            ChecksumAlgorithm::Crc32 | ChecksumAlgorithm::Crc32C => true,
            ChecksumAlgorithm::Crc64Nvme => self == Self::FullObject,
            ChecksumAlgorithm::Sha1 | ChecksumAlgorithm::Sha256 => self == Self::Composite,
        }
    }
}

/// A checksum stored with an object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredChecksum {
    /// The value.
    pub checksum: Checksum,
    /// What it was computed over.
    pub kind: ChecksumKind,
    /// Of how many part checksums a composite one is made.
    pub parts: Option<u32>,
}

impl StoredChecksum {
    /// A checksum over all bytes.
    pub(crate) fn full(checksum: Checksum) -> Self {
        Self { checksum, kind: ChecksumKind::FullObject, parts: None }
    }

    /// As headers and XML carry it: base64, and for a composite one `-N`.
    pub fn to_text(&self) -> String {
        match self.parts {
            Some(parts) => format!("{}-{parts}", self.checksum.to_base64()),
            None => self.checksum.to_base64(),
        }
    }
}

/// A run of an object's bytes: one whole blob.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Extent {
    /// The blob.
    pub blob: BlobId,
    /// Its length in bytes, not zero.
    pub length: u64,
    /// The checksum of the part that it is, when its upload asked for one.
    pub checksum: Option<Checksum>,
    /// What its bytes are sealed with beside the object's key, when they are encrypted: the blob is then longer than `length`.
    pub salt: Option<BlobSalt>,
}

impl Extent {
    /// A blob that is no part with a checksum.
    pub(crate) fn new(blob: BlobId, length: u64, salt: Option<BlobSalt>) -> Self {
        Self { blob, length, checksum: None, salt }
    }
}

/// Where an object's bytes lie.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Layout {
    /// In these extents.
    Inline(Vec<Extent>),
    /// In more extents than an object row should carry, or in parts with checksums: they stand in `rows` extent rows under the object's version.
    Rows {
        /// How many extent rows there are.
        rows: u32,
    },
}

/// An object as it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectRecord {
    /// Its key.
    pub key: ObjectKey,
    /// Its size in bytes.
    pub size: u64,
    /// Its tag.
    pub etag: ETag,
    /// When it was written.
    pub modified: Timestamp,
    /// The name of this state of it.
    pub version: VersionId,
    /// The version id that clients are told; `None` in a bucket that never kept versions.
    pub shown_version: Option<VersionRef>,
    /// The headers stored with it.
    pub headers: ObjectHeaders,
    /// Tags, locks and the like.
    pub attributes: Attributes,
    /// Its storage class.
    pub class: StorageClass,
    /// The checksum stored with it.
    pub checksum: Option<StoredChecksum>,
    /// Of how many parts a multipart upload made it.
    pub parts: Option<u32>,
    pub(crate) layout: Layout,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(content_type: Option<&str>, user: &[(&str, &str)]) -> ObjectHeaders {
        let user = user.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
        ObjectHeaders { content_type: content_type.map(Into::into), user, ..ObjectHeaders::default() }
    }

    #[test]
    fn later_versions_sort_first_also_when_the_clock_goes_back() {
        let mut newest = None;
        let mut ids = Vec::new();
        for millis in [1_000, 1_000, 1_001, 900, 900, 5_000] {
            let id = VersionId::after(newest, Timestamp::from_millis(millis));
            newest = Some(id);
            ids.push(id);
        }
        assert!(ids.windows(2).all(|pair| pair[1] < pair[0]), "{ids:?}");
        assert_eq!(ids[0].to_string().parse::<VersionId>().unwrap(), ids[0]);
    }

    #[test]
    fn versions_are_named_null_or_by_id() {
        let id = VersionId::after(None, Timestamp::from_millis(1));
        for named in [VersionRef::Null, VersionRef::Id(id)] {
            assert_eq!(named.to_string().parse::<VersionRef>().unwrap(), named);
        }
        for bad in ["", "Null", "abc", &"0".repeat(33)] {
            assert!(bad.parse::<VersionRef>().is_err(), "{bad}");
        }
    }

    #[test]
    fn metadata_is_bounded_in_bytes_of_names_and_values() {
        let limits = Limits::default();
        assert!(headers(None, &[("n", &"v".repeat(2047))]).check(&limits).is_ok());
        let error = headers(None, &[("n", &"v".repeat(2048))]).check(&limits).unwrap_err();
        assert!(matches!(error, Error::MetadataTooLarge { size_bytes: 2049, limit_bytes: 2048 }));
        assert!(headers(Some(&"t".repeat(8193)), &[]).check(&limits).is_err());
    }

    #[test]
    fn merging_lays_new_over_old_and_keeps_the_rest() {
        let old = headers(Some("text/plain"), &[("a", "1"), ("b", "2")]);
        let merged = old.merged(headers(None, &[("b", "3"), ("c", "4")]));
        assert_eq!(merged, headers(Some("text/plain"), &[("a", "1"), ("b", "3"), ("c", "4")]));
    }
}
