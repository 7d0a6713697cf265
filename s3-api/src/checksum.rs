//! Digests in headers: what a request claims about its body, and the checksums answers carry.

use crate::error_map::Refusal;
use crate::headers::set;
use crate::rechunk::Trailers;
use cistern_objects::http_headers::content_md5;
use cistern_objects::{BodyError, ChecksumKind, ExpectedChecksum, StoredChecksum, TrailerSource};
use cistern_types::{Checksum, ChecksumAlgorithm};
use http::{Extensions, HeaderMap, HeaderName, HeaderValue};
use s3s::checksum::ChecksumHasher;
use s3s::crypto::{Checksum as _, Crc32, Crc32c, Crc64Nvme, Md5, Sha1, Sha256};
use s3s::{TrailingHeaders, dto};

/// The one `x-amz-checksum-*` header with a value.
pub(crate) fn claimed(headers: &HeaderMap) -> Result<Option<Checksum>, Refusal> {
    claimed_as(headers, |text| text)
}

/// The same on a completion, where a composite value has the number of its parts after it: `value-N`.
pub(crate) fn claimed_of_parts(headers: &HeaderMap) -> Result<Option<Checksum>, Refusal> {
    claimed_as(headers, |text| text.split_once('-').map_or(text, |(value, _)| value))
}

fn claimed_as(headers: &HeaderMap, value_of: fn(&str) -> &str) -> Result<Option<Checksum>, Refusal> {
    check_known(headers)?;
    let mut found = None;
    for algorithm in ChecksumAlgorithm::ALL {
        let Some(value) = headers.get(algorithm.header()) else { continue };
        if found.is_some() {
            return Err(Refusal::invalid_request(
                "Expecting a single x-amz-checksum- header. Multiple checksum types are not allowed.",
            ));
        }
        let text = value.to_str().unwrap_or_default();
        let checksum = Checksum::from_base64(algorithm, value_of(text))
            .map_err(|_| Refusal::invalid_request(format!("Value for {} header is invalid.", algorithm.header())))?;
        found = Some(checksum);
    }
    Ok(found)
}

/// Refuses checksums of algorithms that there are not here: their claims would go unchecked.
fn check_known(headers: &HeaderMap) -> Result<(), Refusal> {
    const PREFIX: &str = "x-amz-checksum-";
    const NO_VALUES: [&str; 3] = ["x-amz-checksum-algorithm", "x-amz-checksum-mode", "x-amz-checksum-type"];
    let mut names = headers.keys().map(HeaderName::as_str).filter(|name| name.starts_with(PREFIX));
    if names.all(|name| is_value(name) || NO_VALUES.contains(&name)) { Ok(()) } else { Err(unsupported()) }
}

/// Whether a header of this name brings a checksum of an algorithm that there is here.
pub(crate) fn is_value(name: &str) -> bool {
    ChecksumAlgorithm::ALL.iter().any(|algorithm| algorithm.header() == name)
}

fn unsupported() -> Refusal {
    Refusal::invalid_request(
        "Checksum algorithm provided is unsupported. Please try again with any of the valid types: [CRC32, CRC32C, CRC64NVME, \
         SHA1, SHA256]",
    )
}

/// The algorithm that the trailer will bring, as `x-amz-trailer` announces it.
fn announced(headers: &HeaderMap) -> Result<Option<ChecksumAlgorithm>, Refusal> {
    let Some(value) = headers.get("x-amz-trailer") else { return Ok(None) };
    let name = value.to_str().unwrap_or_default().trim();
    let found = ChecksumAlgorithm::ALL.into_iter().find(|algorithm| algorithm.header().eq_ignore_ascii_case(name));
    found
        .map(Some)
        .ok_or_else(|| Refusal::invalid_request("The value specified in the x-amz-trailer header is not supported."))
}

/// The algorithm named by a header such as `x-amz-sdk-checksum-algorithm`.
pub(crate) fn named(headers: &HeaderMap, header: &str) -> Result<Option<ChecksumAlgorithm>, Refusal> {
    let Some(value) = headers.get(header) else { return Ok(None) };
    let parsed = value.to_str().ok().and_then(|text| text.parse().ok());
    parsed.map(Some).ok_or_else(unsupported)
}

/// What follows a body in chunks, for who reads the body to its end: s3s took the coding off, or we did.
pub(crate) enum Trailing {
    Below(TrailingHeaders),
    Here(Trailers),
}

impl Trailing {
    /// What a request has of it.
    pub(crate) fn of(below: Option<TrailingHeaders>, extensions: &Extensions) -> Option<Self> {
        below.map(Self::Below).or_else(|| extensions.get::<Trailers>().cloned().map(Self::Here))
    }

    fn get(&self, name: &str) -> Option<HeaderValue> {
        match self {
            Self::Below(trailers) => trailers.read(|headers| headers.get(name).cloned()).flatten(),
            Self::Here(trailers) => trailers.get(name),
        }
    }
}

/// What the body of a PUT must turn out to have: by header, or by a trailer that is read once the body has ended.
pub(crate) fn expected(
    headers: &HeaderMap,
    trailers: Option<Trailing>,
) -> Result<(ExpectedChecksum, Option<TrailerSource>), Refusal> {
    let (claimed, announced) = (claimed(headers)?, announced(headers)?);
    let named = named(headers, "x-amz-sdk-checksum-algorithm")?;
    let used = claimed.as_ref().map(Checksum::algorithm).or(announced);
    match (named, used) {
        (Some(named), Some(used)) if named != used => {
            return Err(Refusal::invalid_request("Value for x-amz-sdk-checksum-algorithm header is invalid."));
        }
        (Some(_), None) => {
            return Err(Refusal::invalid_request(
                "x-amz-sdk-checksum-algorithm specified, but no corresponding x-amz-checksum-* or x-amz-trailer headers \
                 were found.",
            ));
        }
        _ => {}
    }
    match (claimed, announced, trailers) {
        (Some(_), Some(_), _) => Err(Refusal::invalid_request(
            "Expecting a single x-amz-checksum- header or an x-amz-trailer that brings it, not both.",
        )),
        (Some(checksum), None, _) => Ok((ExpectedChecksum::Value(checksum), None)),
        (None, Some(algorithm), Some(trailers)) => {
            let source: TrailerSource = Box::new(move || from_trailer(algorithm, &trailers));
            Ok((ExpectedChecksum::Compute(algorithm), Some(source)))
        }
        (None, Some(_), None) => Err(Refusal::invalid_request(
            "x-amz-trailer takes an aws-chunked body: set x-amz-content-sha256 accordingly.",
        )),
        (None, None, _) => Ok((ExpectedChecksum::None, None)),
    }
}

fn from_trailer(algorithm: ChecksumAlgorithm, trailers: &Trailing) -> Result<Option<Checksum>, BodyError> {
    let value = trailers.get(algorithm.header());
    let bad = |reason: &str| BodyError::BadTrailer { reason: format!("{} {reason}", algorithm.header()) };
    let value = value.ok_or_else(|| bad("was announced but did not come"))?;
    let text = value.to_str().map_err(|_| bad("is no text"))?;
    Checksum::from_base64(algorithm, text).map(Some).map_err(|_| bad("is not the base64 of such a checksum"))
}

/// What a request claims about a small body that is hashed as it passes.
pub(crate) struct ClaimedDigests {
    md5: Option<([u8; 16], Md5)>,
    checksum: Option<(Checksum, ChecksumHasher)>,
}

impl ClaimedDigests {
    /// `Content-MD5`, and when `with_checksum` also `x-amz-checksum-*`, which on some requests speaks of another body.
    pub(crate) fn new(headers: &HeaderMap, with_checksum: bool) -> Result<Self, Refusal> {
        let md5 = content_md5(headers)?.map(|md5| (md5, Md5::new()));
        let checksum = if with_checksum { claimed(headers)? } else { None };
        Ok(Self { md5, checksum: checksum.map(|checksum| (checksum.clone(), hasher(checksum.algorithm()))) })
    }

    pub(crate) fn update(&mut self, bytes: &[u8]) {
        if let Some((_, md5)) = &mut self.md5 {
            md5.update(bytes);
        }
        if let Some((_, hasher)) = &mut self.checksum {
            hasher.update(bytes);
        }
    }

    /// Whether all claims hold for what was seen.
    pub(crate) fn hold(self) -> bool {
        let md5 = self.md5.is_none_or(|(claimed, md5)| md5.finalize() == claimed);
        md5 && self.checksum.is_none_or(|(claimed, hasher)| {
            let computed = Fields::from(hasher.finalize());
            computed.get(claimed.algorithm()) == Some(&claimed.to_base64())
        })
    }
}

fn hasher(algorithm: ChecksumAlgorithm) -> ChecksumHasher {
    let mut hasher = ChecksumHasher::default();
    match algorithm {
        ChecksumAlgorithm::Crc32 => hasher.crc32 = Some(Crc32::new()),
        ChecksumAlgorithm::Crc32C => hasher.crc32c = Some(Crc32c::new()),
        ChecksumAlgorithm::Crc64Nvme => hasher.crc64nvme = Some(Crc64Nvme::new()),
        ChecksumAlgorithm::Sha1 => hasher.sha1 = Some(Sha1::new()),
        ChecksumAlgorithm::Sha256 => hasher.sha256 = Some(Sha256::new()),
    }
    hasher
}

/// The checksum fields that so many of S3's shapes have.
#[derive(Debug, Default, Clone)]
pub(crate) struct Fields {
    pub(crate) crc32: Option<String>,
    pub(crate) crc32c: Option<String>,
    pub(crate) crc64nvme: Option<String>,
    pub(crate) sha1: Option<String>,
    pub(crate) sha256: Option<String>,
}

impl Fields {
    /// The fields of an answer about an object or part with this checksum.
    pub(crate) fn of(algorithm: ChecksumAlgorithm, text: String) -> Self {
        let mut fields = Self::default();
        *fields.slot(algorithm) = Some(text);
        fields
    }

    /// Those of a stored checksum; none when there is none.
    pub(crate) fn stored(checksum: Option<&StoredChecksum>) -> Self {
        checksum.map(|stored| Self::of(stored.checksum.algorithm(), stored.to_text())).unwrap_or_default()
    }

    /// Those of a part's checksum.
    pub(crate) fn part(checksum: Option<&Checksum>) -> Self {
        checksum.map(|checksum| Self::of(checksum.algorithm(), checksum.to_base64())).unwrap_or_default()
    }

    /// The one value among them, or a refusal when there are several or it is none of its algorithm.
    pub(crate) fn only(self) -> Result<Option<Checksum>, Refusal> {
        let mut found = None;
        for algorithm in ChecksumAlgorithm::ALL {
            let Some(text) = self.get(algorithm) else { continue };
            if found.is_some() {
                return Err(Refusal::malformed_xml());
            }
            let checksum = Checksum::from_base64(algorithm, text);
            found = Some(checksum.map_err(|_| Refusal::invalid_request(format!("Checksum{algorithm} is invalid.")))?);
        }
        Ok(found)
    }

    fn get(&self, algorithm: ChecksumAlgorithm) -> Option<&String> {
        match algorithm {
            ChecksumAlgorithm::Crc32 => self.crc32.as_ref(),
            ChecksumAlgorithm::Crc32C => self.crc32c.as_ref(),
            ChecksumAlgorithm::Crc64Nvme => self.crc64nvme.as_ref(),
            ChecksumAlgorithm::Sha1 => self.sha1.as_ref(),
            ChecksumAlgorithm::Sha256 => self.sha256.as_ref(),
        }
    }

    fn slot(&mut self, algorithm: ChecksumAlgorithm) -> &mut Option<String> {
        match algorithm {
            ChecksumAlgorithm::Crc32 => &mut self.crc32,
            ChecksumAlgorithm::Crc32C => &mut self.crc32c,
            ChecksumAlgorithm::Crc64Nvme => &mut self.crc64nvme,
            ChecksumAlgorithm::Sha1 => &mut self.sha1,
            ChecksumAlgorithm::Sha256 => &mut self.sha256,
        }
    }
}

impl From<dto::Checksum> for Fields {
    fn from(sums: dto::Checksum) -> Self {
        Self {
            crc32: sums.checksum_crc32,
            crc32c: sums.checksum_crc32c,
            crc64nvme: sums.checksum_crc64nvme,
            sha1: sums.checksum_sha1,
            sha256: sums.checksum_sha256,
        }
    }
}

impl From<&dto::CompletedPart> for Fields {
    fn from(part: &dto::CompletedPart) -> Self {
        Self {
            crc32: part.checksum_crc32.clone(),
            crc32c: part.checksum_crc32c.clone(),
            crc64nvme: part.checksum_crc64nvme.clone(),
            sha1: part.checksum_sha1.clone(),
            sha256: part.checksum_sha256.clone(),
        }
    }
}

/// `FULL_OBJECT` or `COMPOSITE`.
pub(crate) fn kind_text(kind: ChecksumKind) -> &'static str {
    match kind {
        ChecksumKind::FullObject => dto::ChecksumType::FULL_OBJECT,
        ChecksumKind::Composite => dto::ChecksumType::COMPOSITE,
    }
}

/// Adds a checksum and its kind to an answer.
pub(crate) fn add_checksum(headers: &mut HeaderMap, algorithm: ChecksumAlgorithm, text: String, kind: ChecksumKind) {
    const TYPE: HeaderName = HeaderName::from_static("x-amz-checksum-type");
    set(headers, HeaderName::from_static(algorithm.header()), Some(text));
    headers.insert(TYPE, HeaderValue::from_static(kind_text(kind)));
}

/// The kind as shapes carry it.
pub(crate) fn kind_of(kind: ChecksumKind) -> dto::ChecksumType {
    dto::ChecksumType::from_static(kind_text(kind))
}

/// The algorithm as shapes carry it.
pub(crate) fn algorithm_of(algorithm: ChecksumAlgorithm) -> dto::ChecksumAlgorithm {
    dto::ChecksumAlgorithm::from(algorithm.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| ((*name).parse().unwrap(), value.parse().unwrap())).collect()
    }

    #[track_caller]
    fn check(pairs: &[(&'static str, &str)], expected_code: Option<&str>) {
        let answer = expected(&headers(pairs), None).err().map(|refusal| refusal.into_s3().code().as_str().to_owned());
        assert_eq!(answer.as_deref(), expected_code, "{pairs:?}");
    }

    #[test]
    fn contradicting_checksum_headers_are_refused() {
        check(&[], None);
        check(&[("x-amz-checksum-crc32", "AAAAAA==")], None);
        check(&[("x-amz-checksum-crc32", "AAAAAA=="), ("x-amz-sdk-checksum-algorithm", "CRC32")], None);
        let refused = Some("InvalidRequest");
        check(&[("x-amz-checksum-crc32", "AAAA")], refused);
        check(&[("x-amz-checksum-crc32", "AAAAAA=="), ("x-amz-checksum-crc32c", "AAAAAA==")], refused);
        check(&[("x-amz-checksum-crc32", "AAAAAA=="), ("x-amz-sdk-checksum-algorithm", "SHA1")], refused);
        check(&[("x-amz-sdk-checksum-algorithm", "CRC32")], refused);
        check(&[("x-amz-sdk-checksum-algorithm", "MD6")], refused);
        check(&[("x-amz-trailer", "x-amz-checksum-crc32")], refused);
        check(&[("x-amz-trailer", "x-else")], refused);
        check(&[("x-amz-checksum-crc32", "AAAAAA=="), ("x-amz-trailer", "x-amz-checksum-crc32")], refused);
        check(&[("x-amz-checksum-xxhash64", "AAAAAAAAAAA=")], refused);
        check(&[("x-amz-checksum-crc32", "AAAAAA=="), ("x-amz-checksum-sha512", "AAAA")], refused);
        check(&[("x-amz-checksum-crc32", "AAAAAA=="), ("x-amz-checksum-type", "FULL_OBJECT")], None);
    }

    #[test]
    fn claims_are_held_against_what_passes() {
        // Of "123456789": the check values that the algorithms are published with.
        for (header, good) in [
            ("content-md5", "JfnnlDI7RTiF9RgfG2JNCw=="),
            ("x-amz-checksum-crc32", "y/Q5Jg=="),
            ("x-amz-checksum-crc32c", "4waSgw=="),
            ("x-amz-checksum-crc64nvme", "rosUhgp5mIg="),
        ] {
            for (body, holds) in [("123456789", true), ("12345678", false)] {
                let mut digests = ClaimedDigests::new(&headers(&[(header, good)]), true).unwrap();
                digests.update(&body.as_bytes()[..4]);
                digests.update(&body.as_bytes()[4..]);
                assert_eq!(digests.hold(), holds, "{header} of {body}");
            }
        }
    }
}
