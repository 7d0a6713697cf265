//! R2's own headers: which there are, and what those that stand for themselves say.
//!
//! None of them begins with `x-amz-`. They do something all the same, so `screen.rs` wants them under the signature.

use crate::error_map::Refusal;
use crate::operations::Operation;
use crate::query::Query;
use http::HeaderMap;

/// Makes the bucket of a write when it is missing: `true` or `false`.
pub(crate) const CREATE_BUCKET: &str = "cf-create-bucket-if-missing";

/// Where the conditions on a copy's target stand.
const DESTINATION_PREFIX: &str = "cf-copy-destination-";

/// Whether there are more buckets than a list has.
pub(crate) const IS_TRUNCATED: &str = "cf-is-truncated";

/// With which token the list goes on.
pub(crate) const NEXT_TOKEN: &str = "cf-next-continuation-token";

/// What a list of buckets is asked for, each with `cf-` before it as a header and without as a query parameter.
const BUCKET_LIST: [&str; 4] = ["cf-continuation-token", "cf-max-keys", "cf-prefix", "cf-start-after"];

/// Whether a request header of this name does something here. Proxies add others that begin with `cf-`.
pub(crate) fn is_own(name: &str) -> bool {
    name == CREATE_BUCKET || name.starts_with(DESTINATION_PREFIX) || BUCKET_LIST.contains(&name)
}

/// Whether the operation shall make its bucket when that is missing.
pub(crate) fn makes_bucket(operation: &Operation, headers: &HeaderMap) -> Result<bool, Refusal> {
    if !operation.may_make_bucket() {
        return Ok(false);
    }
    match headers.get(CREATE_BUCKET).map(http::HeaderValue::as_bytes) {
        None | Some(b"false") => Ok(false),
        Some(b"true") => Ok(true),
        Some(_) => Err(Refusal::invalid_argument(format!("The header '{CREATE_BUCKET}' must be true or false."))),
    }
}

/// What a list of buckets is asked for beside what S3 knows.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct BucketListing {
    /// What names begin with.
    pub(crate) prefix: Option<String>,
    /// After which name it begins.
    pub(crate) start_after: Option<String>,
    /// Where a list before it ended; goes over `start_after`.
    pub(crate) token: Option<String>,
    /// How many there may be.
    pub(crate) limit: Option<i32>,
}

impl BucketListing {
    /// Reads headers and query parameters; a header goes over the parameter of its name. What is empty is not there.
    pub(crate) fn asked(query: Option<&str>, headers: &HeaderMap) -> Result<Self, Refusal> {
        let query = query.map(Query::parse).unwrap_or_default();
        let text = |name: &str| -> Result<Option<String>, Refusal> {
            let header = format!("cf-{name}");
            let found = match headers.get(&header) {
                None => query.only(name),
                Some(value) => Some(
                    std::str::from_utf8(value.as_bytes())
                        .map_err(|_| Refusal::invalid_argument(format!("The header '{header}' is not UTF-8.")))?,
                ),
            };
            Ok(found.map(ToOwned::to_owned).filter(|text| !text.is_empty()))
        };
        let limit = text("max-keys")?.map(|text| text.parse());
        Ok(Self {
            prefix: text("prefix")?,
            start_after: text("start-after")?,
            token: text("continuation-token")?,
            limit: limit.transpose().map_err(|_| {
                Refusal::invalid_argument("Argument max-keys must be an integer between 0 and 2147483647")
            })?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| ((*name).parse().unwrap(), value.parse().unwrap())).collect()
    }

    #[test]
    fn only_writes_of_new_objects_make_buckets() {
        for (operation, value, expected) in [
            ("PutObject", "true", Some(true)),
            ("CreateMultipartUpload", "true", Some(true)),
            ("PutObject", "false", Some(false)),
            ("PutObject", "yes", None),
            ("PutObject", "True", None),
            ("CopyObject", "true", Some(false)),
            ("UploadPart", "yes", Some(false)),
        ] {
            let made = makes_bucket(Operation::named(operation).unwrap(), &headers(&[(CREATE_BUCKET, value)]));
            assert_eq!(made.ok(), expected, "{operation} {value}");
        }
        assert!(!makes_bucket(Operation::named("PutObject").unwrap(), &headers(&[])).unwrap());
    }

    #[test]
    fn a_header_goes_over_the_query_parameter_of_its_name() {
        let query = Some("prefix=a&start-after=b&continuation-token=&max-keys=3");
        let asked = BucketListing::asked(query, &headers(&[("cf-prefix", "x"), ("cf-max-keys", "5")])).unwrap();
        let expected =
            BucketListing { prefix: Some("x".into()), start_after: Some("b".into()), token: None, limit: Some(5) };
        assert_eq!(asked, expected);
        assert!(BucketListing::asked(Some("max-keys=many"), &headers(&[])).is_err());
        assert_eq!(BucketListing::asked(None, &headers(&[])).unwrap(), BucketListing::default());
    }

    #[test]
    fn headers_of_proxies_are_not_ours() {
        for (name, own) in [
            ("cf-create-bucket-if-missing", true),
            ("cf-copy-destination-if-match", true),
            ("cf-prefix", true),
            ("cf-ray", false),
            ("cf-connecting-ip", false),
        ] {
            assert_eq!(is_own(name), own, "{name}");
        }
    }
}
