//! Fields of a form as the headers that a PUT of the same object would carry, so that both are stored alike.
//!
//! Only what S3 documents for forms passes. Another header, `x-amz-copy-source` above all, must not come in as a field.

use super::Fields;
use cistern_types::ChecksumAlgorithm;
use http::{HeaderMap, HeaderName, HeaderValue};

/// Fields that are headers of the same name.
const HEADER_FIELDS: [&str; 9] = [
    "cache-control",
    "content-disposition",
    "content-encoding",
    "content-language",
    "content-md5",
    "content-type",
    "expires",
    "x-amz-storage-class",
    "x-amz-website-redirect-location",
];
/// Beginnings of more such fields.
const HEADER_PREFIXES: [&str; 2] = ["x-amz-meta-", "x-amz-server-side-encryption"];

/// A field that would be a header and cannot be one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "The field '{name}' is not valid: a header's name has letters, digits and dashes, its value no control characters."
)]
pub(crate) struct InvalidField {
    /// Lower-case.
    pub(crate) name: String,
}

/// The headers of a PUT that stores what the form says. Empty values are left out. `acl` becomes `x-amz-acl`;
/// `tagging`, which is XML, is left to the caller.
pub(crate) fn put_headers(fields: &Fields) -> Result<HeaderMap, InvalidField> {
    let mut headers = HeaderMap::new();
    for (name, value) in fields.iter().filter(|(_, value)| !value.is_empty()) {
        let header = if name == "acl" { "x-amz-acl" } else { name };
        if name != "acl" && !is_header(name) {
            continue;
        }
        let invalid = || InvalidField { name: name.to_owned() };
        let header = HeaderName::try_from(header).map_err(|_| invalid())?;
        headers.insert(header, HeaderValue::from_bytes(value.as_bytes()).map_err(|_| invalid())?);
    }
    Ok(headers)
}

fn is_header(name: &str) -> bool {
    HEADER_FIELDS.contains(&name)
        || HEADER_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
        || ChecksumAlgorithm::ALL.iter().any(|algorithm| algorithm.header() == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(&str, &str)]) -> Result<Vec<(String, String)>, InvalidField> {
        let headers = put_headers(&Fields::of(pairs))?;
        let text = |value: &HeaderValue| String::from_utf8(value.as_bytes().to_vec()).unwrap();
        Ok(headers.iter().map(|(name, value)| (name.as_str().to_owned(), text(value))).collect())
    }

    #[test]
    fn documented_fields_become_headers() {
        for name in HEADER_FIELDS.into_iter().chain([
            "x-amz-meta-uuid",
            "x-amz-checksum-sha256",
            "x-amz-server-side-encryption",
            "x-amz-server-side-encryption-customer-key-md5",
        ]) {
            assert_eq!(read(&[(name, "v")]), Ok(vec![(name.to_owned(), "v".to_owned())]));
        }
        assert_eq!(read(&[("Content-Type", "text/plain")]).unwrap()[0].0, "content-type");
        assert_eq!(read(&[("acl", "private")]), Ok(vec![("x-amz-acl".into(), "private".into())]));
        assert_eq!(read(&[("x-amz-meta-a", "ä€")]), Ok(vec![("x-amz-meta-a".into(), "ä€".into())]));
    }

    #[test]
    fn nothing_else_does() {
        for name in [
            "key",
            "policy",
            "tagging",
            "bucket",
            "success_action_status",
            "x-amz-acl",
            "x-amz-copy-source",
            "x-amz-date",
            "x-amz-tagging",
            "x-amz-checksum-algorithm",
            "x-ignore-me",
            "authorization",
            "host",
            "content-length",
        ] {
            assert_eq!(read(&[(name, "v")]), Ok(vec![]), "{name}");
        }
        assert_eq!(read(&[("content-type", "")]), Ok(vec![]));
    }

    #[test]
    fn what_cannot_be_a_header_is_refused() {
        for (name, value) in [("x-amz-meta-a", "b\r\nc: d"), ("x-amz-meta-ä", "b"), ("x-amz-meta-a b", "b")] {
            assert_eq!(read(&[(name, value)]), Err(InvalidField { name: name.into() }));
        }
    }
}
