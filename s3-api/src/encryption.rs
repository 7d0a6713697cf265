//! Encryption at rest in headers: what a write asks for, whose key a request brings, and what answers say of it.
//!
//! `x-amz-server-side-encryption` is for keys of the store's own (SSE-S3, `AES256` only), `..-customer-*` for the client's
//! (SSE-C). Keys of a KMS there are none. A customer's key goes from here to the object store and nowhere else: only its
//! MD5 is told, to the client that sent it.

use crate::auth::SECURITY_TOKEN;
use crate::error_map::Refusal;
use cistern_objects::{CustomerKey, Encryption, EncryptionKind};
use http::{HeaderMap, HeaderName, HeaderValue};

/// The one algorithm there is.
pub(crate) const ALGORITHM: &str = "AES256";

const MANAGED: HeaderName = HeaderName::from_static("x-amz-server-side-encryption");
const CUSTOMER_ALGORITHM: HeaderName = HeaderName::from_static("x-amz-server-side-encryption-customer-algorithm");
const CUSTOMER_KEY_MD5: HeaderName = HeaderName::from_static("x-amz-server-side-encryption-customer-key-md5");
/// Where the customer key of a request stands: algorithm, key, MD5.
const OWN: [HeaderName; 3] =
    [CUSTOMER_ALGORITHM, HeaderName::from_static("x-amz-server-side-encryption-customer-key"), CUSTOMER_KEY_MD5];
/// Where the customer key of a copy's source stands.
const OF_SOURCE: [HeaderName; 3] = [
    HeaderName::from_static("x-amz-copy-source-server-side-encryption-customer-algorithm"),
    HeaderName::from_static("x-amz-copy-source-server-side-encryption-customer-key"),
    HeaderName::from_static("x-amz-copy-source-server-side-encryption-customer-key-md5"),
];
/// What only means something with keys of a KMS.
const KMS_HEADERS: [&str; 2] = ["x-amz-server-side-encryption-aws-kms-key-id", "x-amz-server-side-encryption-context"];

/// How the request wants the object to be encrypted.
pub(crate) fn asked(headers: &HeaderMap) -> Result<Encryption, Refusal> {
    let customer_key = customer_key(headers)?;
    let managed = headers.get(MANAGED).map(HeaderValue::as_bytes);
    if let Some(algorithm) = managed {
        check_algorithm(algorithm)?;
    }
    if KMS_HEADERS.iter().any(|name| headers.contains_key(*name)) {
        return Err(Refusal::invalid_argument(
            "Server Side Encryption with AWS KMS managed key requires HTTP header x-amz-server-side-encryption : aws:kms",
        ));
    }
    match (managed, customer_key) {
        (None, None) => Ok(Encryption::None),
        (Some(_), None) => Ok(Encryption::Managed),
        (None, Some(customer_key)) => Ok(Encryption::Customer(customer_key)),
        (Some(_), Some(_)) => Err(Refusal::invalid_argument(
            "Server Side Encryption with Customer provided key is incompatible with the encryption method specified",
        )),
    }
}

/// Refuses every algorithm but the one: those of a KMS as something that there is not here, all others as a mistake.
pub(crate) fn check_algorithm(algorithm: &[u8]) -> Result<(), Refusal> {
    match algorithm {
        _ if algorithm == ALGORITHM.as_bytes() => Ok(()),
        b"aws:kms" | b"aws:kms:dsse" => Err(Refusal::not_implemented()),
        _ => Err(Refusal::invalid_argument("The encryption method specified is not supported: use AES256.")),
    }
}

/// The customer key of a request that does not begin an object: such a request cannot ask for encryption.
pub(crate) fn key_of_request(headers: &HeaderMap) -> Result<Option<CustomerKey>, Refusal> {
    if headers.contains_key(MANAGED) {
        return Err(Refusal::invalid_argument(
            "x-amz-server-side-encryption header is not supported for this operation.",
        ));
    }
    customer_key(headers)
}

/// The customer key that a copy's source is encrypted with.
pub(crate) fn key_of_source(headers: &HeaderMap) -> Result<Option<CustomerKey>, Refusal> {
    customer_key_at(headers, &OF_SOURCE)
}

/// The customer key of a request that may also repeat what its upload was begun with: clients do when they complete it.
pub(crate) fn customer_key(headers: &HeaderMap) -> Result<Option<CustomerKey>, Refusal> {
    customer_key_at(headers, &OWN)
}

fn customer_key_at(headers: &HeaderMap, names: &[HeaderName; 3]) -> Result<Option<CustomerKey>, Refusal> {
    // what is no text is no key either
    let [algorithm, key, md5] = names.each_ref().map(|name| headers.get(name).map(|v| v.to_str().unwrap_or_default()));
    Ok(CustomerKey::from_headers(algorithm, key, md5)?)
}

/// Keeps customer keys and session tokens out of whatever shows a request.
pub(crate) fn hide_secrets(headers: &mut HeaderMap) {
    for (name, value) in headers.iter_mut() {
        value.set_sensitive([&OWN[1], &OF_SOURCE[1], &SECURITY_TOKEN].contains(&name));
    }
}

/// The customer key that a write brings along.
pub(crate) fn key_of(encryption: &Encryption) -> Option<&CustomerKey> {
    match encryption {
        Encryption::Customer(customer_key) => Some(customer_key),
        Encryption::None | Encryption::Managed => None,
    }
}

/// What an answer says of how its object is encrypted. `customer_key` is the one that the request brought.
pub(crate) fn answer_headers(kind: Option<EncryptionKind>, customer_key: Option<&CustomerKey>) -> HeaderMap {
    let mut headers = HeaderMap::new();
    match (kind, customer_key) {
        (Some(EncryptionKind::Managed), _) => {
            headers.insert(MANAGED, HeaderValue::from_static(ALGORITHM));
        }
        (Some(EncryptionKind::Customer), Some(customer_key)) => {
            headers.insert(CUSTOMER_ALGORITHM, HeaderValue::from_static(ALGORITHM));
            if let Ok(md5) = HeaderValue::try_from(customer_key.md5_base64()) {
                headers.insert(CUSTOMER_KEY_MD5, md5);
            }
        }
        (Some(EncryptionKind::Customer), None) | (None, _) => {}
    }
    headers
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "pO3upElrwuEXSoFwCfnZPdSsmt/xWeFa0N9KgDijwVs=";
    const MD5: &str = "DWygnHRtgiJ77HCm+1rvHw==";

    fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
        let name = |name: &str| format!("x-amz-server-side-encryption{name}").parse::<HeaderName>().unwrap();
        let value = |value: &str| HeaderValue::from_bytes(value.as_bytes()).unwrap();
        pairs.iter().map(|(given, text)| (name(given), value(text))).collect()
    }

    #[test]
    fn a_write_asks_for_one_kind_or_is_refused() {
        let customer = [("-customer-algorithm", "AES256"), ("-customer-key", KEY), ("-customer-key-md5", MD5)];
        let both = [&customer[..], &[("", "AES256")]].concat();
        let cases: [(&[(&str, &str)], &str); 15] = [
            (&[], "None"),
            (&[("", "AES256")], "Managed"),
            (&customer, "Customer(CustomerKey(***))"),
            (&both, "InvalidArgument"),
            (&[("", "aws:kms")], "NotImplemented"),
            (&[("", "aws:kms"), ("-aws-kms-key-id", "k")], "NotImplemented"),
            (&[("-aws-kms-key-id", "k")], "InvalidArgument"),
            (&[("", "AES192")], "InvalidArgument"),
            (&[("", "")], "InvalidArgument"),
            (&customer[..1], "InvalidArgument"),
            (&customer[..2], "InvalidArgument"),
            (&customer[1..], "InvalidArgument"),
            (&[("-customer-algorithm", "AES192")], "InvalidEncryptionAlgorithmError"),
            (&[customer[0], customer[1], ("-customer-key-md5", "AAAAAAAAAAAAAAAAAAAAAA==")], "InvalidArgument"),
            (&[customer[0], ("-customer-key", "ä"), customer[2]], "InvalidArgument"),
        ];
        for (given, expected) in cases {
            let found = match asked(&headers(given)) {
                Ok(asked) => format!("{asked:?}"),
                Err(refusal) => refusal.into_s3().code().as_str().to_owned(),
            };
            assert_eq!(found, expected, "{given:?}");
        }
    }

    #[test]
    fn requests_do_not_show_keys_and_tokens() {
        let mut given = headers(&[("-customer-key", KEY)]);
        for name in ["x-amz-copy-source-server-side-encryption-customer-key", "x-amz-security-token"] {
            given.insert(HeaderName::from_static(name), KEY.parse().unwrap());
        }
        hide_secrets(&mut given);
        assert!(!format!("{given:?}").contains(KEY), "{given:?}");
    }

    #[test]
    fn refusals_do_not_show_the_key() {
        let given = headers(&[("-customer-algorithm", "AES256"), ("-customer-key", KEY), ("-customer-key-md5", "x")]);
        let refusal = format!("{:?}", asked(&given).unwrap_err());
        assert!(!refusal.contains(KEY) && !refusal.contains(MD5), "{refusal}");
    }
}
