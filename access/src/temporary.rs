//! Temporary credentials: a key pair with a session token, which ends by itself and reaches no further than its parent key.
//!
//! ```text
//! key = HMAC(parent's secret, purpose)
//! session token = base64(claims) . base64(HMAC(key, "token", claims))
//! access key id = CT + letters of HMAC(key, "id", token)      secret = base64(HMAC(key, "secret", token))
//! ```
//! Nothing of them is stored: the token says what they allow, the rest follows from it and the parent's secret. So they end
//! with their time or with their parent, whichever comes first, and no crash can leave any behind.

use crate::secret::key_id_of;
use crate::{Error, Identity, KeyRecord, Permission, Result, Secret};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use cistern_types::{AccessKeyId, BucketName, Timestamp};
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use std::time::Duration;
use subtle::ConstantTimeEq as _;

/// The longest life of temporary credentials.
pub const TEMPORARY_LIFE_MAX: Duration = Duration::from_hours(7 * 24);

/// The longest session token, in bytes: it travels in a header of every request.
const TOKEN_BYTES_MAX: usize = 4096;
/// The form of the claims.
const VERSION: u8 = 1;
/// What the access key ids of temporary credentials begin with.
const ID_PREFIX: &str = "CT";

const PURPOSE: &[u8] = b"cistern temporary credentials v1";

/// What temporary credentials shall be.
#[derive(Debug, Clone)]
pub struct TemporarySpec {
    /// The key they reach no further than.
    pub parent: AccessKeyId,
    /// The only bucket they may touch; `None` leaves it to the parent.
    pub bucket: Option<BucketName>,
    /// What they allow: no more than the parent.
    pub permission: Permission,
    /// The keys they reach; `None` means all.
    pub scope: Option<KeyScope>,
    /// How long they live: 1 second to [`TEMPORARY_LIFE_MAX`].
    pub life: Duration,
}

/// Temporary credentials just made. They are not shown again.
#[derive(Debug, Clone)]
pub struct TemporaryCredentials {
    /// The public half of the pair.
    pub access_key_id: AccessKeyId,
    /// The secret half.
    pub secret: Secret,
    /// What every request signed with the pair must carry, in `x-amz-security-token`.
    pub session_token: Secret,
    /// When they end.
    pub expires: Timestamp,
}

/// A part of a bucket's keys.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyScope {
    /// Keys that begin with one of these.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub prefixes: Vec<String>,
    /// These keys.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub objects: Vec<String>,
}

impl KeyScope {
    /// Whether `key` is among them.
    pub fn holds(&self, key: &str) -> bool {
        self.objects.iter().any(|own| own == key) || self.covers(key)
    }

    /// Whether all keys that begin with `prefix` are among them.
    pub fn covers(&self, prefix: &str) -> bool {
        self.prefixes.iter().any(|own| prefix.starts_with(own))
    }
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Claims {
    v: u8,
    parent: AccessKeyId,
    #[serde(skip_serializing_if = "Option::is_none")]
    bucket: Option<BucketName>,
    permission: Permission,
    #[serde(skip_serializing_if = "Option::is_none")]
    scope: Option<KeyScope>,
    expires: Timestamp,
}

/// Makes credentials under `parent`.
pub(crate) fn make(parent: &Identity, spec: TemporarySpec, now: Timestamp) -> Result<TemporaryCredentials> {
    check(parent, &spec)?;
    let TemporarySpec { parent: id, bucket, permission, scope, life } = spec;
    let expires = now.plus(life);
    let claims = Claims { v: VERSION, parent: id, bucket, permission, scope, expires };
    let json = serde_json::to_string(&claims).expect("claims are plain fields");
    let payload = URL_SAFE_NO_PAD.encode(json);
    let keys = Keys::under(&parent.secret);
    let token = format!("{payload}.{}", URL_SAFE_NO_PAD.encode(keys.mac(b"token", &payload)));
    if token.len() > TOKEN_BYTES_MAX {
        return Err(Error::Unfit { what: "scope", rule: "name fewer or shorter prefixes and objects" });
    }
    let access_key_id = keys.id(&token)?;
    Ok(TemporaryCredentials { access_key_id, secret: keys.secret(&token), session_token: Secret::new(token), expires })
}

fn check(parent: &Identity, spec: &TemporarySpec) -> Result<()> {
    let unfit = |what, rule| Err(Error::Unfit { what, rule });
    if spec.permission > parent.key.permission {
        return unfit("permission", "it must be no more than the parent key's");
    }
    if parent.key.bucket.is_some() && spec.bucket.is_some() && parent.key.bucket != spec.bucket {
        return unfit("bucket", "it must be the one that the parent key is bound to");
    }
    if spec.life < Duration::from_secs(1) || spec.life > TEMPORARY_LIFE_MAX {
        return unfit("time to live", "use 1 to 604800 seconds");
    }
    match &spec.scope {
        Some(scope) if scope.prefixes.is_empty() && scope.objects.is_empty() => {
            unfit("scope", "name at least one prefix or object, or leave both away")
        }
        _ => Ok(()),
    }
}

/// A session token that was read. Nothing is proven by that.
pub(crate) struct Token<'a> {
    text: &'a str,
    payload: &'a str,
    claims: Claims,
    mac: Vec<u8>,
}

impl<'a> Token<'a> {
    pub(crate) fn read(text: &'a str) -> Result<Self> {
        if text.len() > TOKEN_BYTES_MAX {
            return Err(Error::InvalidToken);
        }
        let (payload, mac) = text.split_once('.').ok_or(Error::InvalidToken)?;
        let decode = |text: &str| URL_SAFE_NO_PAD.decode(text).map_err(|_| Error::InvalidToken);
        let claims: Claims = serde_json::from_slice(&decode(payload)?).map_err(|_| Error::InvalidToken)?;
        if claims.v != VERSION {
            return Err(Error::InvalidToken);
        }
        Ok(Self { text, payload, claims, mac: decode(mac)? })
    }

    /// The key that it says it comes from.
    pub(crate) fn parent(&self) -> &AccessKeyId {
        &self.claims.parent
    }

    /// Who signs with its credentials, if it was made under `parent`.
    pub(crate) fn open(self, parent: &Identity, id: &AccessKeyId, now: Timestamp) -> Result<Identity> {
        let Self { text, payload, claims, mac } = self;
        let keys = Keys::under(&parent.secret);
        let is_ours = bool::from(keys.mac(b"token", payload).ct_eq(&mac));
        if !is_ours || keys.id(text)? != *id {
            return Err(Error::InvalidToken);
        }
        if claims.expires <= now {
            return Err(Error::ExpiredToken);
        }
        let key = KeyRecord {
            access_key_id: id.clone(),
            bucket: claims.bucket.or_else(|| parent.key.bucket.clone()),
            permission: claims.permission.min(parent.key.permission),
            ..parent.key.clone()
        };
        Ok(Identity { key, secret: keys.secret(text), scope: claims.scope })
    }
}

/// What follows from a parent's secret.
struct Keys(Hmac<Sha256>);

impl Keys {
    fn under(secret: &Secret) -> Self {
        let key = keyed(secret.expose().as_bytes()).chain_update(PURPOSE).finalize().into_bytes();
        Self(keyed(&key))
    }

    fn mac(&self, use_of: &[u8], text: &str) -> [u8; 32] {
        let mac = self.0.clone().chain_update(use_of).chain_update(b"\0").chain_update(text);
        mac.finalize().into_bytes().into()
    }

    fn id(&self, token: &str) -> Result<AccessKeyId> {
        let mac = self.mac(b"id", token);
        let letters = *mac.first_chunk().expect("32 bytes are more than 18");
        let id = key_id_of(ID_PREFIX, letters).parse();
        id.map_err(|_| Error::Unfit { what: "access key id", rule: "letters must fit" })
    }

    fn secret(&self, token: &str) -> Secret {
        Secret::new(URL_SAFE_NO_PAD.encode(self.mac(b"secret", token)))
    }
}

fn keyed(key: &[u8]) -> Hmac<Sha256> {
    Hmac::new_from_slice(key).expect("HMAC takes a key of any length")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::owner_id;
    use proptest::prelude::*;

    const NOW: Timestamp = Timestamp::from_millis(1_000_000);

    fn parent(permission: Permission, bucket: Option<&str>) -> Identity {
        let key = KeyRecord {
            name: "ci".into(),
            access_key_id: "CKPARENT".parse().unwrap(),
            owner_id: owner_id("ada"),
            owner_name: "ada".into(),
            bucket: bucket.map(|name| name.parse().unwrap()),
            permission,
            created: Timestamp::default(),
        };
        Identity { key, secret: Secret::new("parent's secret"), scope: None }
    }

    fn open(parent: &Identity, id: &AccessKeyId, token: &str, now: Timestamp) -> Result<Identity> {
        Token::read(token)?.open(parent, id, now)
    }

    fn spec() -> TemporarySpec {
        TemporarySpec {
            parent: "CKPARENT".parse().unwrap(),
            bucket: Some("photos".parse().unwrap()),
            permission: Permission::ReadWrite,
            scope: None,
            life: Duration::from_mins(1),
        }
    }

    #[test]
    fn credentials_open_until_their_time_is_over() {
        let parent = parent(Permission::Admin, None);
        let made = make(&parent, spec(), NOW).unwrap();
        let (id, token) = (&made.access_key_id, made.session_token.expose());
        assert!(id.as_str().starts_with("CT") && id.as_str().len() == 20, "{id}");
        assert_eq!(*Token::read(token).unwrap().parent(), parent.key.access_key_id);
        let last = NOW.plus(Duration::from_millis(59_999));
        let opened = open(&parent, id, token, last).unwrap();
        assert_eq!((&opened.key.access_key_id, opened.secret), (id, made.secret));
        assert_eq!((opened.key.permission, opened.key.bucket), (Permission::ReadWrite, spec().bucket));
        assert_eq!((opened.key.owner_id, opened.key.name), (parent.key.owner_id, "ci".to_owned()));
        let over = NOW.plus(Duration::from_mins(1));
        assert!(matches!(open(&parent, id, token, over), Err(Error::ExpiredToken)));
    }

    #[test]
    fn another_parent_id_or_token_opens_nothing() {
        let parent = parent(Permission::Admin, None);
        let other = Identity { secret: Secret::new("another secret"), ..parent.clone() };
        let made = make(&parent, spec(), NOW).unwrap();
        let (id, token) = (&made.access_key_id, made.session_token.expose());
        let longer = make(&parent, TemporarySpec { life: TEMPORARY_LIFE_MAX, ..spec() }, NOW).unwrap();
        let (payload, _) = longer.session_token.expose().split_once('.').unwrap();
        let spliced = format!("{payload}.{}", token.split_once('.').unwrap().1);
        for (parent, id, token) in [
            (&other, id, token),
            (&parent, &longer.access_key_id, token),
            (&parent, id, &spliced),
            (&parent, id, ""),
            (&parent, id, "a.b"),
            (&parent, id, &token[..token.len() - 1]),
        ] {
            assert!(matches!(open(parent, id, token, NOW), Err(Error::InvalidToken)), "{token}");
        }
    }

    #[test]
    fn nobody_gives_more_than_he_has() {
        let check = |parent: &Identity, spec: TemporarySpec, word: &str| {
            let error = make(parent, spec, NOW).unwrap_err().to_string();
            assert!(error.contains(word), "{error}");
        };
        let admin = parent(Permission::Admin, Some("photos"));
        check(&parent(Permission::Read, None), spec(), "permission");
        check(&admin, TemporarySpec { bucket: Some("logs".parse().unwrap()), ..spec() }, "bucket");
        check(&admin, TemporarySpec { scope: Some(KeyScope::default()), ..spec() }, "scope");
        let crowd = KeyScope { prefixes: vec!["x".repeat(1024); 4], objects: Vec::new() };
        check(&admin, TemporarySpec { scope: Some(crowd), ..spec() }, "fewer or shorter");
        for life in [Duration::ZERO, Duration::from_millis(999), TEMPORARY_LIFE_MAX + Duration::from_secs(1)] {
            check(&admin, TemporarySpec { life, ..spec() }, "604800");
        }
        let made = make(&admin, TemporarySpec { bucket: None, ..spec() }, NOW).unwrap();
        let opened = open(&admin, &made.access_key_id, made.session_token.expose(), NOW).unwrap();
        assert_eq!(opened.key.bucket, admin.key.bucket, "bound as the parent is");
    }

    #[test]
    fn a_scope_holds_its_objects_and_what_begins_with_its_prefixes() {
        let scope = KeyScope { prefixes: vec!["logs/".into()], objects: vec!["a".into()] };
        for (key, holds, covers) in [
            ("logs/", true, true),
            ("logs/1", true, true),
            ("log", false, false),
            ("a", true, false),
            ("a/", false, false),
            ("", false, false),
        ] {
            assert_eq!((scope.holds(key), scope.covers(key)), (holds, covers), "{key:?}");
        }
    }

    proptest! {
        #[test]
        fn no_text_is_a_token_by_chance(token in "\\PC{0,80}", mac in prop::array::uniform32(any::<u8>())) {
            let parent = parent(Permission::Admin, None);
            let made = make(&parent, spec(), NOW).unwrap();
            let (claims, _) = made.session_token.expose().split_once('.').unwrap();
            for token in [&token, &format!("{claims}.{}", URL_SAFE_NO_PAD.encode(mac))] {
                prop_assert!(matches!(open(&parent, &made.access_key_id, token, NOW), Err(Error::InvalidToken)));
            }
        }
    }
}
