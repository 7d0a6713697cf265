//! How a form is signed: the base64 text of its policy, under the secret of a key (version 2) or a key derived from it
//! (version 4). Version 2 is taken here and nowhere else: what it signs is the whole policy, and never a header.
//!
//! Secrets are the caller's to find, and so is whether the key may write.

use super::Fields;
use crate::signature::{ALGORITHM, SCOPE_END, derived, keyed};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, Mac};
use sha1::Sha1;

/// Why a form is neither signed nor unsigned.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SignatureError {
    /// A field that goes with the others is not there.
    #[error(
        "Bucket POST must contain a field named '{name}'.  If it is specified, please check the order of the fields."
    )]
    MissingField {
        /// As S3 spells it.
        name: &'static str,
    },
    /// Fields of both versions.
    #[error("Only one auth mechanism allowed; only the fields of one signature version should be specified.")]
    TwoSignatures,
    /// A field of version 4 has a value that cannot be.
    #[error("The field '{name}' is not valid: {rule}.")]
    InvalidField {
        /// As S3 spells it.
        name: &'static str,
        /// What would be right.
        rule: &'static str,
    },
}

/// What a form is signed with. A security token is reported, not judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FormSignature<'a> {
    /// Nothing: the form is anonymous and has no policy.
    None,
    /// Version 2: HMAC-SHA1, base64.
    V2 {
        /// The id of the key.
        access_key: &'a str,
        /// As it came.
        signature: &'a str,
        /// As it came; what is signed.
        policy: &'a str,
        /// `x-amz-security-token`
        security_token: Option<&'a str>,
    },
    /// Version 4: HMAC-SHA256, hex.
    V4 {
        /// The id of the key.
        access_key: &'a str,
        /// `20260501`
        date: &'a str,
        /// Any region; whether it is ours is the caller's to say.
        region: &'a str,
        /// `s3`
        service: &'a str,
        /// `20260501T120000Z`, on `date`.
        amz_date: &'a str,
        /// As it came.
        signature: &'a str,
        /// As it came; what is signed.
        policy: &'a str,
        /// `x-amz-security-token`
        security_token: Option<&'a str>,
    },
}

impl<'a> FormSignature<'a> {
    /// Finds the signature among the fields. One field of a version asks for all the others of it, and a policy for a
    /// signature.
    pub(crate) fn of(fields: &'a Fields) -> Result<Self, SignatureError> {
        let has = |names: &[&str]| names.iter().any(|name| fields.get(name).is_some());
        let v2 = has(&["awsaccesskeyid", "signature"]);
        let v4 = has(&["x-amz-algorithm", "x-amz-credential", "x-amz-signature"]);
        match (v2, v4) {
            (true, true) => Err(SignatureError::TwoSignatures),
            (true, false) => Self::v2(fields),
            (false, true) => Self::v4(fields),
            (false, false) if has(&["policy"]) => Err(SignatureError::MissingField { name: "AWSAccessKeyId" }),
            (false, false) => Ok(Self::None),
        }
    }

    fn v2(fields: &'a Fields) -> Result<Self, SignatureError> {
        Ok(Self::V2 {
            access_key: required(fields, "AWSAccessKeyId")?,
            signature: required(fields, "signature")?,
            policy: required(fields, "policy")?,
            security_token: fields.get("x-amz-security-token"),
        })
    }

    fn v4(fields: &'a Fields) -> Result<Self, SignatureError> {
        let invalid = |name, rule| Err(SignatureError::InvalidField { name, rule });
        if required(fields, "X-Amz-Algorithm")? != ALGORITHM {
            return invalid("X-Amz-Algorithm", "use AWS4-HMAC-SHA256");
        }
        let credential = required(fields, "X-Amz-Credential")?;
        let amz_date = required(fields, "X-Amz-Date")?;
        let signature = required(fields, "X-Amz-Signature")?;
        let policy = required(fields, "policy")?;
        let mut words = credential.rsplitn(5, '/');
        let mut word = || words.next().unwrap_or_default();
        let (end, service, region, date, access_key) = (word(), word(), word(), word(), word());
        let is_date = date.len() == 8 && date.bytes().all(|byte| byte.is_ascii_digit());
        if end != SCOPE_END || service != "s3" || region.is_empty() || !is_date || access_key.is_empty() {
            return invalid("X-Amz-Credential", "use <key id>/<yyyyMMdd>/<region>/s3/aws4_request");
        }
        let time = amz_date.strip_prefix(date).and_then(|rest| rest.strip_prefix('T')?.strip_suffix('Z'));
        if !time.is_some_and(|time| time.len() == 6 && time.bytes().all(|byte| byte.is_ascii_digit())) {
            return invalid("X-Amz-Date", "use yyyyMMdd'T'HHmmss'Z', on the date of the credential");
        }
        let security_token = fields.get("x-amz-security-token");
        Ok(Self::V4 { access_key, date, region, service, amz_date, signature, policy, security_token })
    }

    /// The id of the key it is signed with.
    pub(crate) fn access_key(&self) -> Option<&'a str> {
        match *self {
            Self::None => None,
            Self::V2 { access_key, .. } | Self::V4 { access_key, .. } => Some(access_key),
        }
    }

    /// Whether the signature is that of the policy under `secret`. Compared in constant time. False when there is none.
    pub(crate) fn verify(&self, secret: &str) -> bool {
        match *self {
            Self::None => false,
            Self::V2 { signature, policy, .. } => {
                let mut mac = keyed::<Hmac<Sha1>>(secret.as_bytes());
                mac.update(policy.as_bytes());
                STANDARD.decode(signature).is_ok_and(|claimed| mac.verify_slice(&claimed).is_ok())
            }
            Self::V4 { date, region, service, signature, policy, .. } => {
                let mut mac = derived(secret, [date, region, service]);
                mac.update(policy.as_bytes());
                hex::decode(signature).is_ok_and(|claimed| mac.verify_slice(&claimed).is_ok())
            }
        }
    }
}

fn required<'a>(fields: &'a Fields, name: &'static str) -> Result<&'a str, SignatureError> {
    fields.get(&name.to_ascii_lowercase()).ok_or(SignatureError::MissingField { name })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";

    /// The fields of a published example of version 4.
    fn v4_example() -> Vec<(&'static str, String)> {
        let policy = [
            r#"{ "expiration": "2015-12-30T12:00:00.000Z","#,
            r#"  "conditions": ["#,
            r#"    {"bucket": "sigv4examplebucket"},"#,
            r#"    ["starts-with", "$key", "user/user1/"],"#,
            r#"    {"acl": "public-read"},"#,
            r#"    {"success_action_redirect": "http://sigv4examplebucket.s3.amazonaws.com/successful_upload.html"},"#,
            r#"    ["starts-with", "$Content-Type", "image/"],"#,
            r#"    {"x-amz-meta-uuid": "14365123651274"},"#,
            r#"    {"x-amz-server-side-encryption": "AES256"},"#,
            r#"    ["starts-with", "$x-amz-meta-tag", ""],"#,
            "",
            r#"    {"x-amz-credential": "AKIAIOSFODNN7EXAMPLE/20151229/us-east-1/s3/aws4_request"},"#,
            r#"    {"x-amz-algorithm": "AWS4-HMAC-SHA256"},"#,
            r#"    {"x-amz-date": "20151229T000000Z" }"#,
            "  ]",
            "}",
        ];
        vec![
            ("policy", STANDARD.encode(policy.join("\r\n"))),
            ("X-Amz-Algorithm", ALGORITHM.into()),
            ("X-Amz-Credential", "AKIAIOSFODNN7EXAMPLE/20151229/us-east-1/s3/aws4_request".into()),
            ("X-Amz-Date", "20151229T000000Z".into()),
            ("X-Amz-Signature", "8afdbf4008c03f22c2cd3cdb72e4afbb1f6a588f3255ac628749a66d7f09699e".into()),
        ]
    }

    fn v2_example() -> Vec<(&'static str, String)> {
        vec![
            ("AWSAccessKeyId", "CK".into()),
            ("signature", "4QWH4O9CWtowYUW+X4P2gZ/6fNc=".into()),
            ("policy", STANDARD.encode("{}")),
        ]
    }

    fn fields(pairs: &[(&str, String)]) -> Fields {
        Fields::of(&pairs.iter().map(|(name, value)| (*name, value.as_str())).collect::<Vec<_>>())
    }

    /// `pairs` with the value of one replaced, or without it.
    fn with(mut pairs: Vec<(&'static str, String)>, name: &str, value: Option<&str>) -> Fields {
        pairs.retain_mut(|(own, old)| {
            if *own == name {
                value.inspect(|value| old.replace_range(.., value));
            }
            *own != name || value.is_some()
        });
        fields(&pairs)
    }

    #[test]
    fn both_versions_are_verified_by_the_secret_alone() {
        for example in [v2_example(), v4_example()] {
            let fields = fields(&example);
            let signature = FormSignature::of(&fields).unwrap();
            assert!(signature.verify(SECRET), "{signature:?}");
            for other in ["", "x", &SECRET.to_lowercase(), &format!("{SECRET} ")] {
                assert!(!signature.verify(other), "{other}");
            }
        }
        assert!(!FormSignature::None.verify(SECRET));
    }

    #[test]
    fn another_signature_policy_or_scope_is_not_verified() {
        let v2 = "4QWH4O9CWtowYUW+X4P2gZ/6fNc=";
        let v4 = "8afdbf4008c03f22c2cd3cdb72e4afbb1f6a588f3255ac628749a66d7f09699e";
        for (example, name, value) in [
            (v2_example(), "signature", ""),
            (v2_example(), "signature", "no base64"),
            (v2_example(), "signature", &v2.chars().rev().collect::<String>()),
            (v2_example(), "signature", &STANDARD.encode(&STANDARD.decode(v2).unwrap()[..10])),
            (v2_example(), "policy", "e30"),
            (v4_example(), "X-Amz-Signature", ""),
            (v4_example(), "X-Amz-Signature", "zz"),
            (v4_example(), "X-Amz-Signature", &v4[..62]),
            (v4_example(), "X-Amz-Signature", &v4.replace('a', "b")),
            (v4_example(), "policy", "e30="),
            (v4_example(), "X-Amz-Credential", "AKIAIOSFODNN7EXAMPLE/20151229/us-east-2/s3/aws4_request"),
        ] {
            let fields = with(example, name, Some(value));
            assert!(!FormSignature::of(&fields).unwrap().verify(SECRET), "{name} {value}");
        }
    }

    #[test]
    fn the_parts_of_a_signature_are_told_apart() {
        let mut example = v4_example();
        example.push(("x-amz-security-token", "t".into()));
        example[2].1 = "a/b/20151229/eu/s3/aws4_request".into();
        let all = fields(&example);
        let FormSignature::V4 { access_key, date, region, service, amz_date, security_token, .. } =
            FormSignature::of(&all).unwrap()
        else {
            panic!("not version 4");
        };
        assert_eq!((access_key, date, region, service), ("a/b", "20151229", "eu", "s3"));
        assert_eq!((amz_date, security_token), ("20151229T000000Z", Some("t")));
        assert_eq!(FormSignature::of(&fields(&v2_example())).unwrap().access_key(), Some("CK"));
    }

    #[test]
    fn an_unsigned_form_has_no_field_of_a_signature() {
        assert_eq!(FormSignature::of(&Fields::of(&[("key", "k"), ("x-amz-date", "x")])), Ok(FormSignature::None));
        let missing = |name| Err(SignatureError::MissingField { name });
        assert_eq!(FormSignature::of(&Fields::of(&[("policy", "e30=")])), missing("AWSAccessKeyId"));
        for name in ["AWSAccessKeyId", "signature", "policy"] {
            assert_eq!(FormSignature::of(&with(v2_example(), name, None)), missing(name));
        }
        for name in ["X-Amz-Algorithm", "X-Amz-Credential", "X-Amz-Date", "X-Amz-Signature", "policy"] {
            assert_eq!(FormSignature::of(&with(v4_example(), name, None)), missing(name));
        }
        let both = [v2_example(), v4_example()[1..].to_vec()].concat();
        assert_eq!(FormSignature::of(&fields(&both)), Err(SignatureError::TwoSignatures));
    }

    #[test]
    fn malformed_fields_of_version_4_are_refused() {
        for (name, value) in [
            ("X-Amz-Algorithm", "AWS4-HMAC-SHA1"),
            ("X-Amz-Algorithm", ""),
            ("X-Amz-Credential", ""),
            ("X-Amz-Credential", "20151229/us-east-1/s3/aws4_request"),
            ("X-Amz-Credential", "/20151229/us-east-1/s3/aws4_request"),
            ("X-Amz-Credential", "a/2015122/us-east-1/s3/aws4_request"),
            ("X-Amz-Credential", "a/20151229//s3/aws4_request"),
            ("X-Amz-Credential", "a/20151229/us-east-1/ec2/aws4_request"),
            ("X-Amz-Credential", "a/20151229/us-east-1/s3/aws4"),
            ("X-Amz-Date", ""),
            ("X-Amz-Date", "20151230T000000Z"),
            ("X-Amz-Date", "20151229T00000Z"),
            ("X-Amz-Date", "20151229T000000"),
            ("X-Amz-Date", "20151229"),
        ] {
            let fields = with(v4_example(), name, Some(value));
            let answer = FormSignature::of(&fields);
            let refused = matches!(answer, Err(SignatureError::InvalidField { name: found, .. }) if found == name);
            assert!(refused, "{name} {value}: {answer:?}");
        }
    }
}
