//! Lists of objects in S3's two spellings: ListObjects and ListObjectsV2.

use super::{Answer, Operations};
use crate::acl::owner_of;
use crate::checksum::{algorithm_of, kind_of};
use crate::error_map::Refusal;
use crate::headers::{etag_of, size_of, time_of};
use crate::judge::owner_in;
use crate::notes::Notes;
use crate::query::encode_for_list;
use crate::xml_text::fits;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use cistern_objects::{BucketRecord, ListPage, ListRequest, ListedObject, Objects};
use s3s::dto::{
    CommonPrefix, EncodingType, ListObjectsInput, ListObjectsOutput, ListObjectsV2Input, ListObjectsV2Output, Object,
    ObjectStorageClass,
};
use s3s::{S3Request, S3Response};

/// The most entries of a page, and how many there are when nobody says.
const PAGE_ENTRIES_MAX: usize = 1000;

/// How many entries a page may have, of what a client asks for.
pub(super) fn page_limit(asked: Option<i32>) -> Result<usize, Refusal> {
    let Some(asked) = asked else { return Ok(PAGE_ENTRIES_MAX) };
    let limit = usize::try_from(asked);
    let limit = limit.map_err(|_| Refusal::invalid_argument("A page's limit must be a number from 0 to 2147483647"))?;
    Ok(limit.min(PAGE_ENTRIES_MAX))
}

/// A page's limit as answers repeat it.
pub(super) fn shown_limit(limit: usize) -> i32 {
    i32::try_from(limit).unwrap_or(i32::MAX)
}

/// A continuation token: opaque to clients, so that it may become something else one day.
pub(super) fn encode_token(marker: &str) -> String {
    format!("1.{}", URL_SAFE_NO_PAD.encode(marker))
}

/// What a token stands for.
pub(super) fn decode_token(token: &str) -> Result<String, Refusal> {
    let bytes = token.strip_prefix("1.").and_then(|text| URL_SAFE_NO_PAD.decode(text).ok());
    let marker = bytes.and_then(|bytes| String::from_utf8(bytes).ok());
    marker.ok_or_else(|| Refusal::invalid_argument("The continuation token provided is incorrect"))
}

/// How keys are written into an answer.
#[derive(Debug, Clone, Copy)]
pub(super) enum KeyText {
    Plain,
    Url,
}

impl KeyText {
    pub(super) fn asked(encoding: Option<&EncodingType>) -> Result<Self, Refusal> {
        match encoding.map(EncodingType::as_str) {
            None => Ok(Self::Plain),
            Some(EncodingType::URL) => Ok(Self::Url),
            Some(_) => Err(Refusal::invalid_argument("Invalid Encoding Method specified in Request")),
        }
    }

    pub(super) fn write(self, text: &str) -> String {
        match self {
            Self::Plain => text.to_owned(),
            Self::Url => encode_for_list(text),
        }
    }

    /// The prefix of a ListObjects: S3 repeats it as it came, and its SDKs take it so; only what XML cannot hold is escaped.
    fn write_prefix(self, prefix: &str) -> String {
        if fits(prefix) { prefix.to_owned() } else { self.write(prefix) }
    }

    pub(super) fn prefixes(self, prefixes: &[String]) -> Option<Vec<CommonPrefix>> {
        let written = prefixes.iter().map(|prefix| CommonPrefix { prefix: Some(self.write(prefix)) });
        Some(written.collect::<Vec<_>>()).filter(|prefixes| !prefixes.is_empty())
    }
}

/// A delimiter that is one: an empty one means none.
pub(super) fn delimiter_of(delimiter: Option<String>) -> Option<String> {
    delimiter.filter(|delimiter| !delimiter.is_empty())
}

async fn page(
    objects: &Objects,
    bucket: &str,
    prefix: Option<&str>,
    delimiter: Option<&str>,
    after: Option<String>,
    limit: usize,
) -> Result<ListPage, Refusal> {
    let request = ListRequest {
        bucket: bucket.parse()?,
        prefix: prefix.unwrap_or_default().to_owned(),
        delimiter: delimiter.map(ToOwned::to_owned),
        after,
        limit,
    };
    Ok(objects.list(request).await?)
}

/// `owner`: the bucket, when the answer names owners.
pub(super) fn object_of(listed: &ListedObject, text: KeyText, owner: Option<&BucketRecord>) -> Object {
    Object {
        checksum_algorithm: listed.checksum.as_ref().map(|stored| vec![algorithm_of(stored.checksum.algorithm())]),
        checksum_type: listed.checksum.as_ref().map(|stored| kind_of(stored.kind)),
        e_tag: Some(etag_of(&listed.etag)),
        key: Some(text.write(listed.key.as_str())),
        last_modified: Some(time_of(listed.modified)),
        owner: owner.map(|bucket| owner_of(&owner_in(bucket, listed.owner.clone()))),
        restore_status: None,
        size: Some(size_of(listed.size)),
        storage_class: Some(ObjectStorageClass::from_static(listed.class.s3_name())),
    }
}

pub(super) async fn list_objects(
    Operations { objects, .. }: &Operations,
    notes: &Notes,
    request: S3Request<ListObjectsInput>,
) -> Answer<ListObjectsOutput> {
    let input = request.input;
    let (text, limit) = (KeyText::asked(input.encoding_type.as_ref())?, page_limit(input.max_keys)?);
    let (prefix, delimiter) = (input.prefix, delimiter_of(input.delimiter));
    let found =
        page(objects, &input.bucket, prefix.as_deref(), delimiter.as_deref(), input.marker.clone(), limit).await?;
    let bucket = notes.bucket()?;
    Ok(S3Response::new(ListObjectsOutput {
        common_prefixes: text.prefixes(&found.prefixes),
        contents: Some(found.objects.iter().map(|object| object_of(object, text, Some(bucket))).collect()),
        // Only of use with a delimiter, since without one the last key says the same; S3 keeps it to that case.
        next_marker: found.next.as_ref().filter(|_| delimiter.is_some()).map(|next| text.write(next)),
        is_truncated: Some(found.next.is_some()),
        delimiter: delimiter.map(|delimiter| text.write(&delimiter)),
        encoding_type: input.encoding_type,
        marker: Some(text.write(&input.marker.unwrap_or_default())),
        max_keys: Some(shown_limit(limit)),
        name: Some(input.bucket),
        prefix: Some(text.write_prefix(&prefix.unwrap_or_default())),
        request_charged: None,
    }))
}

pub(super) async fn list_objects_v2(
    Operations { objects, .. }: &Operations,
    notes: &Notes,
    request: S3Request<ListObjectsV2Input>,
) -> Answer<ListObjectsV2Output> {
    let input = request.input;
    let (text, limit) = (KeyText::asked(input.encoding_type.as_ref())?, page_limit(input.max_keys)?);
    let (prefix, delimiter) = (input.prefix, delimiter_of(input.delimiter));
    let after = match &input.continuation_token {
        Some(token) => Some(decode_token(token)?),
        None => input.start_after.clone(),
    };
    let found = page(objects, &input.bucket, prefix.as_deref(), delimiter.as_deref(), after, limit).await?;
    let owner = Some(notes.bucket()?).filter(|_| input.fetch_owner.unwrap_or(false));
    let count = found.objects.len() + found.prefixes.len();
    Ok(S3Response::new(ListObjectsV2Output {
        common_prefixes: text.prefixes(&found.prefixes),
        contents: Some(found.objects.iter().map(|object| object_of(object, text, owner)).collect()),
        continuation_token: input.continuation_token,
        delimiter: delimiter.map(|delimiter| text.write(&delimiter)),
        encoding_type: input.encoding_type,
        is_truncated: Some(found.next.is_some()),
        key_count: Some(shown_limit(count)),
        max_keys: Some(shown_limit(limit)),
        name: Some(input.bucket),
        next_continuation_token: found.next.as_deref().map(encode_token),
        prefix: Some(text.write(&prefix.unwrap_or_default())),
        request_charged: None,
        start_after: input.start_after.map(|start| text.write(&start)),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_round_trip_and_others_are_refused() {
        for marker in ["", "a/b", "\u{0}ä\u{10ffff}"] {
            assert_eq!(decode_token(&encode_token(marker)).unwrap(), marker);
        }
        for bad in ["", "1.", "abc", "1.!!", "1.gIA"] {
            let refused = decode_token(bad).is_err();
            assert_eq!(refused, bad != "1.", "{bad}");
        }
    }

    #[test]
    fn page_limits_are_cut_and_negative_ones_refused() {
        assert_eq!(page_limit(None).unwrap(), 1000);
        assert_eq!(page_limit(Some(0)).unwrap(), 0);
        assert_eq!(page_limit(Some(5000)).unwrap(), 1000);
        assert!(page_limit(Some(-1)).is_err());
    }
}
