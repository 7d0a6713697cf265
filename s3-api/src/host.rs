//! Which bucket a host name means: `bucket.domain` names one, everything else leaves it to the path. And where a client finds an
//! object, given how its request came.

use crate::query::encode_path;
use crate::{Error, Result};
use cistern_net::Peer;
use http::header::HOST;
use http::{Extensions, HeaderMap};
use s3s::S3Result;
use s3s::host::{S3Host, VirtualHost};

/// Buckets as subdomains of one domain.
#[derive(Debug, Clone)]
pub(crate) struct BucketHost {
    domain: String,
}

impl BucketHost {
    pub(crate) fn new(domain: &str) -> Result<Self> {
        let label = |label: &str| !label.is_empty() && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        if domain.len() > 253 || !domain.split('.').all(label) {
            return Err(Error::InvalidDomain { domain: domain.into() });
        }
        Ok(Self { domain: domain.to_ascii_lowercase() })
    }

    /// The bucket that `host` names.
    pub(crate) fn bucket<'a>(&self, host: &'a str) -> Option<&'a str> {
        let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
        let (bucket, domain) = name.split_at_checked(name.len().checked_sub(self.domain.len())?)?;
        let bucket = bucket.strip_suffix('.')?;
        (domain.eq_ignore_ascii_case(&self.domain) && !bucket.is_empty()).then_some(bucket)
    }
}

/// The URL of an object in the words of the request with these headers and extensions: its scheme, its host, and the bucket where
/// the request has it.
pub(crate) fn object_url(
    hosts: Option<&BucketHost>,
    headers: &HeaderMap,
    extensions: &Extensions,
    (bucket, key): (&str, &str),
) -> String {
    let scheme = if extensions.get::<Peer>().is_some_and(|peer| peer.secure) { "https" } else { "http" };
    let host = headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let by_host = hosts.is_some_and(|hosts| hosts.bucket(host).is_some());
    let (slash, bucket) = if by_host { ("", "") } else { ("/", bucket) };
    format!("{scheme}://{host}{slash}{bucket}/{}", encode_path(key))
}

impl S3Host for BucketHost {
    fn parse_host_header<'a>(&'a self, host: &'a str) -> S3Result<VirtualHost<'a>> {
        let found = VirtualHost::new(self.domain.as_str());
        Ok(match self.bucket(host) {
            Some(bucket) => found.with_bucket(bucket.to_ascii_lowercase()),
            None => found,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subdomain_is_a_bucket_and_anything_else_is_not() {
        let hosts = BucketHost::new("s3.example.com").unwrap();
        for (host, bucket) in [
            ("photos.s3.example.com", Some("photos")),
            ("a.b.S3.Example.COM:9000", Some("a.b")),
            ("s3.example.com", None),
            ("localhost:9000", None),
            ("xs3.example.com", None),
            (".s3.example.com", None),
            ("ä.com", None),
        ] {
            assert_eq!(hosts.bucket(host), bucket, "{host}");
        }
    }

    #[test]
    fn an_object_is_where_the_request_went() {
        let hosts = BucketHost::new("s3.test").unwrap();
        for (host, secure, url) in [
            ("s3.test:9000", None, "http://s3.test:9000/photos/a%20b/%C3%A4%26%2B~"),
            ("s3.test:9000", Some(false), "http://s3.test:9000/photos/a%20b/%C3%A4%26%2B~"),
            ("127.0.0.1", Some(true), "https://127.0.0.1/photos/a%20b/%C3%A4%26%2B~"),
            ("photos.s3.test:9000", Some(false), "http://photos.s3.test:9000/a%20b/%C3%A4%26%2B~"),
            ("photos.s3.test", Some(true), "https://photos.s3.test/a%20b/%C3%A4%26%2B~"),
        ] {
            let headers = [(HOST, host.parse().unwrap())].into_iter().collect();
            let mut extensions = Extensions::new();
            secure.map(|secure| extensions.insert(Peer { ip: [127, 0, 0, 1].into(), secure }));
            assert_eq!(object_url(Some(&hosts), &headers, &extensions, ("photos", "a b/ä&+~")), url);
        }
    }

    #[test]
    fn what_is_no_domain_is_refused() {
        for bad in ["", "http://x", "a..b", "x:9000", "a/b"] {
            assert!(BucketHost::new(bad).is_err(), "{bad}");
        }
    }
}
