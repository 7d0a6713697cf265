//! MD5, SHA-256 and S3's checksums of a body, each computed once, and what multipart completion makes of the parts'.
//!
//! Large batches are hashed on other threads beside the blob write (see `stage.rs`), MD5 together with those of other bodies
//! (see `md5_lanes.rs`): at 0.7 GB/s it is the slowest thing a large PUT does.

use crate::body::{BodyChecks, ExpectedChecksum};
use crate::record::{ChecksumKind, StoredChecksum};
use crate::{BodyError, Error, Result};
use cistern_types::{Checksum, ChecksumAlgorithm, ETag};
use crc_fast::CrcAlgorithm;
use md5_many::Md5State;
use sha1::Sha1;
use sha2::{Digest as _, Sha256};

/// Digests of a body so far.
#[derive(Clone)]
pub(crate) struct BodyDigest {
    pub(crate) md5: Md5State,
    pub(crate) others: OtherDigests,
}

/// All digests but MD5.
#[derive(Clone)]
pub(crate) struct OtherDigests {
    /// Serves both the signed payload hash and the SHA256 checksum.
    sha256: Option<Sha256>,
    checksum: Option<RunningChecksum>,
    length: u64,
}

#[derive(Clone)]
enum RunningChecksum {
    Crc(ChecksumAlgorithm, Box<crc_fast::Digest>),
    Sha1(Sha1),
    /// The `sha256` beside it is the one.
    Sha256,
}

/// Digests of a whole body.
#[derive(Debug)]
pub(crate) struct Digested {
    pub(crate) md5: [u8; 16],
    pub(crate) sha256: Option<[u8; 32]>,
    pub(crate) checksum: Option<Checksum>,
    pub(crate) length: u64,
}

impl BodyDigest {
    /// Digests of all that `checks` asks about.
    pub(crate) fn new(checks: &BodyChecks) -> Self {
        let algorithm = match &checks.checksum {
            ExpectedChecksum::None => None,
            ExpectedChecksum::Value(value) => Some(value.algorithm()),
            ExpectedChecksum::Compute(algorithm) => Some(*algorithm),
        };
        let checksum = algorithm.map(|algorithm| match algorithm {
            ChecksumAlgorithm::Sha1 => RunningChecksum::Sha1(Sha1::new()),
            ChecksumAlgorithm::Sha256 => RunningChecksum::Sha256,
            ChecksumAlgorithm::Crc32 | ChecksumAlgorithm::Crc32C | ChecksumAlgorithm::Crc64Nvme => {
                RunningChecksum::Crc(algorithm, Box::new(crc_fast::Digest::new(crc_of(algorithm))))
            }
        });
        let wants_sha256 = checks.sha256.is_some() || algorithm == Some(ChecksumAlgorithm::Sha256);
        let others = OtherDigests { sha256: wants_sha256.then(Sha256::new), checksum, length: 0 };
        Self { md5: Md5State::new(), others }
    }

    pub(crate) fn update(&mut self, bytes: &[u8]) {
        self.md5.update(bytes);
        self.others.update(bytes);
    }

    pub(crate) fn finish(self) -> Digested {
        let md5 = self.md5.finalize();
        let OtherDigests { sha256, checksum, length } = self.others;
        let sha256: Option<[u8; 32]> = sha256.map(|sha256| sha256.finalize().into());
        let checksum = checksum.map(|checksum| match checksum {
            RunningChecksum::Crc(algorithm, crc) => crc_value(algorithm, crc.finalize()),
            RunningChecksum::Sha1(sha1) => Checksum::new(ChecksumAlgorithm::Sha1, &sha1.finalize()),
            RunningChecksum::Sha256 => {
                let value = sha256.expect("a SHA256 checksum is only asked for together with its digest");
                Checksum::new(ChecksumAlgorithm::Sha256, &value)
            }
        });
        Digested { md5, sha256, checksum, length }
    }
}

impl OtherDigests {
    /// Whether they take long enough to be worth a thread of their own: CRCs do 10 GB/s and more.
    pub(crate) fn are_slow(&self) -> bool {
        self.sha256.is_some() || matches!(self.checksum, Some(RunningChecksum::Sha1(_)))
    }

    pub(crate) fn update(&mut self, bytes: &[u8]) {
        if let Some(sha256) = &mut self.sha256 {
            sha256.update(bytes);
        }
        match &mut self.checksum {
            Some(RunningChecksum::Crc(_, crc)) => crc.update(bytes),
            Some(RunningChecksum::Sha1(sha1)) => sha1.update(bytes),
            Some(RunningChecksum::Sha256) | None => {}
        }
        self.length += bytes.len() as u64;
    }
}

impl Digested {
    /// Holds the body against everything the request promised about it; the trailer is asked last, as it comes last.
    pub(crate) fn verify(&self, checks: BodyChecks) -> Result<()> {
        if let Some(expected_bytes) = checks.length.filter(|length| *length != self.length) {
            return Err(Error::IncompleteBody { expected_bytes, received_bytes: self.length });
        }
        if let Some(expected) = checks.content_md5.filter(|md5| *md5 != self.md5) {
            return Err(Error::BadDigest { expected: hex::encode(expected), computed: hex::encode(self.md5) });
        }
        if let (Some(expected), Some(computed)) = (checks.sha256, self.sha256)
            && expected != computed
        {
            return Err(Error::Sha256Mismatch { expected: hex::encode(expected), computed: hex::encode(computed) });
        }
        if let ExpectedChecksum::Value(expected) = &checks.checksum {
            self.compare(expected)?;
        }
        match checks.trailer.map(|trailer| trailer()).transpose()?.flatten() {
            Some(expected) => self.compare(&expected),
            None => Ok(()),
        }
    }

    fn compare(&self, expected: &Checksum) -> Result<()> {
        let algorithm = expected.algorithm();
        match &self.checksum {
            Some(computed) if computed == expected => Ok(()),
            Some(computed) if computed.algorithm() == algorithm => Err(Error::ChecksumMismatch {
                algorithm,
                expected: expected.to_base64(),
                computed: computed.to_base64(),
            }),
            _ => {
                let reason = format!("it brings a {algorithm} checksum that the request did not announce");
                Err(Error::Body(BodyError::BadTrailer { reason }))
            }
        }
    }
}

fn crc_of(algorithm: ChecksumAlgorithm) -> CrcAlgorithm {
    match algorithm {
        ChecksumAlgorithm::Crc32 => CrcAlgorithm::Crc32IsoHdlc,
        ChecksumAlgorithm::Crc32C => CrcAlgorithm::Crc32Iscsi,
        ChecksumAlgorithm::Crc64Nvme => CrcAlgorithm::Crc64Nvme,
        ChecksumAlgorithm::Sha1 | ChecksumAlgorithm::Sha256 => unreachable!("{algorithm} is not a CRC"),
    }
}

fn crc_value(algorithm: ChecksumAlgorithm, value: u64) -> Checksum {
    Checksum::new(algorithm, &value.to_be_bytes()[8 - algorithm.bytes()..])
}

fn crc_number(checksum: &Checksum) -> u64 {
    checksum.value().iter().fold(0, |number, byte| number << 8 | u64::from(*byte))
}

/// The tag of an object made of parts with these MD5s, in order.
pub(crate) fn multipart_etag<'a>(parts: impl Iterator<Item = &'a [u8; 16]>) -> ETag {
    let mut md5 = Md5State::new();
    let mut count = 0;
    for part in parts {
        md5.update(part);
        count += 1;
    }
    ETag::Multipart { md5: md5.finalize(), parts: count }
}

/// The checksum of an object made of parts with these checksums and lengths, in order, all of one algorithm.
///
/// # Panics
/// When `kind` does not fit the algorithm; `create_upload` has refused that.
pub(crate) fn multipart_checksum(
    algorithm: ChecksumAlgorithm,
    kind: ChecksumKind,
    parts: &[(&Checksum, u64)],
) -> StoredChecksum {
    assert!(kind.fits(algorithm), "no {kind:?} checksum of {algorithm}");
    assert!(parts.iter().all(|(part, _)| part.algorithm() == algorithm), "parts have the checksum of their upload");
    match kind {
        ChecksumKind::FullObject => {
            let crc = crc_of(algorithm);
            let empty = crc_fast::checksum(crc, b"");
            let combine = |whole, (part, length): &(&Checksum, u64)| {
                crc_fast::checksum_combine(crc, whole, crc_number(part), *length)
            };
            StoredChecksum::full(crc_value(algorithm, parts.iter().fold(empty, combine)))
        }
        ChecksumKind::Composite => {
            let checks = BodyChecks { checksum: ExpectedChecksum::Compute(algorithm), ..BodyChecks::default() };
            let mut digest = BodyDigest::new(&checks);
            for (part, _) in parts {
                digest.update(part.value());
            }
            let checksum = digest.finish().checksum.expect("the algorithm was asked for");
            let count = u32::try_from(parts.len()).expect("an upload has at most 10,000 parts");
            StoredChecksum { checksum, kind, parts: Some(count) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn checksum_of(algorithm: ChecksumAlgorithm, bytes: &[u8]) -> Checksum {
        let checks = BodyChecks { checksum: ExpectedChecksum::Compute(algorithm), ..BodyChecks::default() };
        let mut digest = BodyDigest::new(&checks);
        digest.update(bytes);
        digest.finish().checksum.unwrap()
    }

    /// The check values of the CRC catalogue and FIPS 180 for "123456789" and "abc".
    #[test]
    fn values_are_those_of_the_standards() {
        let of = |algorithm, text: &str| hex::encode(checksum_of(algorithm, text.as_bytes()).value());
        assert_eq!(of(ChecksumAlgorithm::Crc32, "123456789"), "cbf43926");
        assert_eq!(of(ChecksumAlgorithm::Crc32C, "123456789"), "e3069283");
        assert_eq!(of(ChecksumAlgorithm::Crc64Nvme, "123456789"), "ae8b14860a799888");
        assert_eq!(of(ChecksumAlgorithm::Sha1, "abc"), "a9993e364706816aba3e25717850c26c9cd0d89d");
        let sha256 = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(of(ChecksumAlgorithm::Sha256, "abc"), sha256);
        assert_eq!(
            hex::encode(BodyDigest::new(&BodyChecks::default()).finish().md5),
            "d41d8cd98f00b204e9800998ecf8427e"
        );
    }

    #[test]
    fn a_multipart_tag_is_the_md5_of_md5s() {
        let parts = [md5_many::md5(b"a"), md5_many::md5(b"b")];
        assert_eq!(multipart_etag(parts.iter()).to_string(), "96e024ba2074fe77e8e965ba43a704be-2");
    }

    proptest! {
        #[test]
        fn crcs_of_parts_combine_to_the_crc_of_the_whole(parts in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..200), 0..6)) {
            let whole = parts.concat();
            for algorithm in [ChecksumAlgorithm::Crc32, ChecksumAlgorithm::Crc32C, ChecksumAlgorithm::Crc64Nvme] {
                let checksums: Vec<_> = parts.iter().map(|part| (checksum_of(algorithm, part), part.len() as u64)).collect();
                let refs: Vec<_> = checksums.iter().map(|(checksum, length)| (checksum, *length)).collect();
                let combined = multipart_checksum(algorithm, ChecksumKind::FullObject, &refs);
                prop_assert_eq!(combined.checksum, checksum_of(algorithm, &whole));
            }
        }
    }
}
