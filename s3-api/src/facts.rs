//! What a request says under the condition keys of bucket policies.

use crate::encryption::ALGORITHM;
use crate::headers::tagging;
use crate::operations::Operation;
use crate::query::{Query, decode};
use crate::screen::amz_date;
use cistern_access::PolicyContext;
use cistern_net::Peer;
use cistern_objects::{EncryptionKind, Tags};
use cistern_types::Timestamp;
use http::header::{AUTHORIZATION, REFERER, USER_AGENT};
use http::{HeaderMap, Uri};

/// A request as policies may ask about it.
#[derive(Debug, Clone)]
pub(crate) struct Facts<'a> {
    headers: &'a HeaderMap,
    /// As it came: it is taken apart only when a policy asks.
    query: Option<&'a str>,
    received: Timestamp,
    peer: Option<Peer>,
    /// Stands for `s3:prefix` when the question is whether a key may be listed.
    prefix: Option<&'a str>,
    /// The tags of the object, when the policy asks about them.
    existing_tags: Option<Tags>,
    /// How the upload is encrypted that the request adds to: it was begun with the headers that say so.
    encryption: Option<EncryptionKind>,
    /// Whether it is a browser's form, which is signed inside.
    is_form: bool,
    /// Of what policies call `s3:PutObject`: whether there is an object once it is done.
    creates_object: Option<bool>,
}

impl<'a> Facts<'a> {
    pub(crate) fn new(headers: &'a HeaderMap, uri: &'a Uri, received: Timestamp, peer: Option<Peer>) -> Self {
        let (prefix, existing_tags, encryption, creates_object) = (None, None, None, None);
        let query = uri.query();
        Self { headers, query, received, peer, prefix, existing_tags, encryption, is_form: false, creates_object }
    }

    /// The same facts of a request for this operation.
    pub(crate) fn of_operation(self, operation: &Operation) -> Self {
        Self { creates_object: operation.creates_object(), ..self }
    }

    /// The same facts of a request that adds to an upload.
    pub(crate) fn of_upload(self, encryption: Option<EncryptionKind>) -> Self {
        Self { encryption, ..self }
    }

    /// The same facts of a browser's form.
    pub(crate) fn of_form(self) -> Self {
        Self { is_form: true, creates_object: Some(true), ..self }
    }

    /// The same facts when it is asked whether `key` may be listed.
    pub(crate) fn listing(&self, key: &'a str) -> Self {
        Self { query: None, prefix: Some(key), existing_tags: None, ..self.clone() }
    }

    pub(crate) fn with_existing_tags(&self, tags: Tags) -> Self {
        Self { existing_tags: Some(tags), ..self.clone() }
    }

    pub(crate) fn query(&self) -> Query {
        self.query.map(Query::parse).unwrap_or_default()
    }

    fn header(&self, name: &str) -> Option<String> {
        let value = self.headers.get(name)?;
        Some(String::from_utf8_lossy(value.as_bytes()).into_owned())
    }

    fn signed_how(&self) -> Option<&'static str> {
        if self.is_form {
            return Some("POST");
        }
        if self.headers.contains_key(AUTHORIZATION) {
            return Some("REST-HEADER");
        }
        self.query().has("X-Amz-Signature").then_some("REST-QUERY-STRING")
    }

    fn copy_source(&self) -> Option<String> {
        let source = self.header("x-amz-copy-source")?;
        let (path, _) = source.split_once("?versionId=").unwrap_or((&source, ""));
        Some(decode(path.trim_start_matches('/')))
    }

    fn tag_values(tags: &Tags, name: &str) -> Option<Vec<String>> {
        let found = tags.pairs().iter().find(|(own, _)| own == name);
        found.map(|(_, value)| vec![value.clone()])
    }

    /// How long ago the request was signed, in milliseconds.
    fn signature_age(&self) -> Option<String> {
        let signed = self.query().only("X-Amz-Date").map(ToOwned::to_owned).or_else(|| self.header("x-amz-date"))?;
        Some(self.received.since(amz_date(&signed)?).as_millis().to_string())
    }

    fn remaining_days(&self) -> Option<String> {
        let until = self.header("x-amz-object-lock-retain-until-date")?;
        let parsed = s3s::dto::Timestamp::parse(s3s::dto::TimestampFormat::DateTime, &until).ok()?;
        let until = crate::headers::instant_of(&parsed).ok()?;
        Some(until.since(self.received).as_secs().div_ceil(86_400).to_string())
    }
}

impl PolicyContext for Facts<'_> {
    fn values(&self, key: &str) -> Option<Vec<String>> {
        if let Some(name) = key.strip_prefix("s3:existingobjecttag/") {
            return Self::tag_values(self.existing_tags.as_ref()?, name);
        }
        if let Some(name) = key.strip_prefix("s3:requestobjecttag/") {
            return Self::tag_values(&tagging(self.headers).ok()?, name);
        }
        let one = match key {
            "aws:sourceip" => self.peer.map(|peer| peer.ip.to_canonical().to_string()),
            "aws:securetransport" => Some(self.peer.is_some_and(|peer| peer.secure).to_string()),
            "aws:currenttime" => Some(self.received.to_string()),
            "aws:epochtime" => Some(self.received.as_seconds().to_string()),
            "aws:referer" => self.header(REFERER.as_str()),
            "aws:useragent" => self.header(USER_AGENT.as_str()),
            "s3:prefix" => self.prefix.map(ToOwned::to_owned).or_else(|| self.query().only("prefix").map(Into::into)),
            "s3:delimiter" | "s3:max-keys" => self.query().only(&key["s3:".len()..]).map(Into::into),
            "s3:versionid" => self.query().only("versionId").map(Into::into),
            "s3:authtype" => self.signed_how().map(Into::into),
            "s3:signatureage" => self.signature_age(),
            "s3:if-match" | "s3:if-none-match" => self.header(&key["s3:".len()..]),
            "s3:objectcreationoperation" => self.creates_object.map(|creates| creates.to_string()),
            "s3:signatureversion" => self.signed_how().map(|_| "AWS4-HMAC-SHA256".into()),
            "s3:object-lock-mode" | "s3:object-lock-retain-until-date" | "s3:object-lock-legal-hold" => {
                self.header(&format!("x-amz-{}", &key["s3:".len()..]))
            }
            "s3:object-lock-remaining-retention-days" => self.remaining_days(),
            "s3:x-amz-copy-source" => self.copy_source(),
            "s3:x-amz-server-side-encryption" if self.encryption == Some(EncryptionKind::Managed) => {
                Some(ALGORITHM.into())
            }
            "s3:x-amz-server-side-encryption-customer-algorithm"
                if self.encryption == Some(EncryptionKind::Customer) =>
            {
                Some(ALGORITHM.into())
            }
            "s3:requestobjecttagkeys" => {
                let tags = tagging(self.headers).ok().filter(|tags| !tags.is_empty())?;
                return Some(tags.pairs().iter().map(|(name, _)| name.clone()).collect());
            }
            _ => key.strip_prefix("s3:").filter(|name| name.starts_with("x-amz-")).and_then(|name| self.header(name)),
        };
        one.map(|value| vec![value])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_find_what_the_request_says() {
        let headers: HeaderMap = [
            ("x-amz-acl", "public-read"),
            ("x-amz-copy-source", "/photos/a%20b?versionId=x"),
            ("x-amz-tagging", "team=blue&x=1"),
            ("referer", "http://a/"),
            ("if-none-match", "*"),
            ("x-amz-date", "19700101T000001Z"),
            ("authorization", "AWS4-HMAC-SHA256 x"),
        ]
        .map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()))
        .into_iter()
        .collect();
        let uri: Uri = "/photos?prefix=a%2F&max-keys=3".parse().unwrap();
        let peer = Some(Peer { ip: "::ffff:10.0.0.7".parse().unwrap(), secure: true });
        let facts = Facts::new(&headers, &uri, Timestamp::from_millis(5_000), peer);
        let facts = facts.with_existing_tags(Tags::new(vec![("Team".into(), "red".into())], 10).unwrap());
        for (key, expected) in [
            ("s3:x-amz-acl", Some("public-read")),
            ("s3:x-amz-copy-source", Some("photos/a b")),
            ("s3:requestobjecttag/team", Some("blue")),
            ("s3:requestobjecttagkeys", Some("team,x")),
            ("s3:existingobjecttag/Team", Some("red")),
            ("s3:existingobjecttag/team", None),
            ("aws:referer", Some("http://a/")),
            ("aws:sourceip", Some("10.0.0.7")),
            ("aws:securetransport", Some("true")),
            ("aws:epochtime", Some("5")),
            ("s3:prefix", Some("a/")),
            ("s3:max-keys", Some("3")),
            ("s3:delimiter", None),
            ("s3:authtype", Some("REST-HEADER")),
            ("s3:x-amz-server-side-encryption", None),
            ("s3:anything", None),
            ("s3:if-none-match", Some("*")),
            ("s3:signatureage", Some("4000")),
        ] {
            assert_eq!(facts.values(key).map(|values| values.join(",")).as_deref(), expected, "{key}");
        }
        let listing = facts.listing("secret/key");
        assert_eq!(listing.values("s3:prefix"), Some(vec!["secret/key".into()]));
        assert_eq!(listing.values("s3:max-keys"), None);
    }
}
