//! Keys as they are asked for, stored, listed and used: `KeySpec`, `KeyRecord`, `NewKey`, `Identity`.

use crate::{Error, KeyScope, Result, Secret};
use cistern_types::{AccessKeyId, BucketName, Invalid, Owner, OwnerId, Timestamp};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use std::fmt;
use std::str::FromStr;

/// The name of the root key and of its owner.
pub const ROOT_NAME: &str = "root";

/// The longest name of a key or owner, in bytes.
const NAME_BYTES_MAX: usize = 64;

/// What a key allows, each step including the one before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Permission {
    /// List buckets and objects, read objects.
    Read,
    /// Also write and delete objects.
    ReadWrite,
    /// Also create, configure and delete buckets, and bypass governance retention.
    Admin,
}

impl Permission {
    /// All of them, least first.
    pub const ALL: [Self; 3] = [Self::Read, Self::ReadWrite, Self::Admin];

    /// Its name in commands and answers: `read`, `read-write`, `admin`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::ReadWrite => "read-write",
            Self::Admin => "admin",
        }
    }
}

impl fmt::Display for Permission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Permission {
    type Err = Invalid;

    fn from_str(text: &str) -> std::result::Result<Self, Invalid> {
        Self::ALL.into_iter().find(|permission| permission.as_str() == text).ok_or_else(|| Invalid {
            what: "permission",
            given: text.chars().take(NAME_BYTES_MAX).collect(),
            rule: "use read, read-write or admin",
        })
    }
}

/// What a new key shall be.
#[derive(Debug, Clone)]
pub struct KeySpec {
    /// Its name, for people: 1 to 64 bytes, no control characters, not taken.
    pub name: String,
    /// Whose buckets it works on; `None` means the root owner's. Owners exist by being named.
    pub owner: Option<String>,
    /// The only bucket it may touch.
    pub bucket: Option<BucketName>,
    /// What it allows.
    pub permission: Permission,
}

impl KeySpec {
    pub(crate) fn check(&self) -> Result<()> {
        check_name("key name", &self.name)?;
        self.owner.as_deref().map_or(Ok(()), |owner| check_name("owner name", owner))
    }
}

fn check_name(what: &'static str, name: &str) -> Result<()> {
    let fits = (1..=NAME_BYTES_MAX).contains(&name.len()) && name.trim() == name && !name.chars().any(char::is_control);
    // Those two cannot stand in a URL.
    if fits && !matches!(name, "." | "..") {
        return Ok(());
    }
    let rule = "use 1 to 64 bytes of text without control characters or spaces at its ends, and not . or ..";
    Err(Error::Unfit { what, rule })
}

/// A key as listings show it, without its secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyRecord {
    /// Its name, for people.
    pub name: String,
    /// The public half of the pair.
    pub access_key_id: AccessKeyId,
    /// The canonical id of its owner: SHA-256 of the owner's name.
    pub owner_id: OwnerId,
    /// The name of its owner.
    pub owner_name: String,
    /// The only bucket it may touch.
    pub bucket: Option<BucketName>,
    /// What it allows.
    pub permission: Permission,
    /// When it was made; for the root key, when this process started.
    pub created: Timestamp,
}

/// A key just made. The secret is not shown again.
#[derive(Debug, Clone)]
pub struct NewKey {
    /// What listings will show.
    pub record: KeyRecord,
    /// The secret half of the pair.
    pub secret: Secret,
}

/// Who a request is signed by.
#[derive(Debug, Clone)]
pub struct Identity {
    /// The key.
    pub key: KeyRecord,
    /// The secret half of the pair, which signatures are checked with.
    pub secret: Secret,
    /// The keys of objects it reaches, when it is temporary and bound to some.
    pub scope: Option<KeyScope>,
}

impl Identity {
    /// Whose buckets it works on.
    pub fn owner_id(&self) -> OwnerId {
        self.key.owner_id
    }

    /// Whose buckets it works on, with the name that people see.
    pub fn owner(&self) -> Owner {
        Owner { id: self.key.owner_id, name: self.key.owner_name.clone() }
    }

    /// The owner's name.
    pub fn owner_name(&self) -> &str {
        &self.key.owner_name
    }
}

/// The canonical id of the owner with this name.
pub(crate) fn owner_id(name: &str) -> OwnerId {
    OwnerId::from_bytes(Sha256::digest(name.as_bytes()).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn permissions_round_trip_as_text() {
        for permission in Permission::ALL {
            assert_eq!(permission.to_string().parse::<Permission>().unwrap(), permission);
        }
        assert!("write".parse::<Permission>().is_err());
    }

    #[test]
    fn an_owner_id_is_the_sha256_of_the_name() {
        let known = "4813494d137e1631bba301d5acab6e7bb7aa74ce1185d456565ef51d737677b2";
        assert_eq!(owner_id("root").to_string(), known);
    }

    #[test]
    fn names_are_bounded_and_printable() {
        for bad in ["", " a", "a ", "a\nb", ".", "..", &"a".repeat(65)] {
            assert!(check_name("key name", bad).is_err(), "{bad:?}");
        }
        assert!(check_name("key name", "Ada's laptop").is_ok());
    }
}
