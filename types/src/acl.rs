//! Owners, and access control lists in S3's words.

use crate::OwnerId;
use serde::{Deserialize, Serialize};

/// Who something belongs to: the canonical id, and the name that people see.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owner {
    /// The canonical id.
    pub id: OwnerId,
    /// The name.
    pub name: String,
}

/// What a grant allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum AclPermission {
    /// All of the others.
    FullControl,
    /// Of a bucket: list it. Of an object: read it.
    Read,
    /// Of a bucket: write, overwrite and delete objects. Of an object: nothing.
    Write,
    /// Read this list.
    ReadAcp,
    /// Write this list.
    WriteAcp,
}

impl AclPermission {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::FullControl, Self::Read, Self::Write, Self::ReadAcp, Self::WriteAcp];

    /// Its name in XML: `FULL_CONTROL`, `READ` and so on.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::FullControl => "FULL_CONTROL",
            Self::Read => "READ",
            Self::Write => "WRITE",
            Self::ReadAcp => "READ_ACP",
            Self::WriteAcp => "WRITE_ACP",
        }
    }
}

/// Whom a grant is for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Grantee {
    /// One owner.
    Owner {
        /// The canonical id.
        id: OwnerId,
        /// The name, where it is known.
        name: Option<String>,
    },
    /// Everybody, signed or not.
    AllUsers,
    /// Whoever signs with any key.
    AuthenticatedUsers,
}

impl Grantee {
    /// Whether it is a group that anybody can be in.
    pub fn is_public(&self) -> bool {
        !matches!(self, Self::Owner { .. })
    }
}

/// One entry of an access control list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grant {
    /// For whom.
    pub grantee: Grantee,
    /// What.
    pub permission: AclPermission,
}

/// An access control list: grants in the order they are shown.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Acl(Vec<Grant>);

impl Acl {
    /// The most grants of a list, as S3 has it.
    pub const GRANTS_MAX: usize = 100;

    /// A list of these grants; `None` when there are more than [`Acl::GRANTS_MAX`].
    pub fn new(grants: Vec<Grant>) -> Option<Self> {
        (grants.len() <= Self::GRANTS_MAX).then_some(Self(grants))
    }

    /// What the predefined list of that name says for something of `owner` in a bucket of `bucket_owner`; `None` when there is
    /// no such list. Groups stand before owners.
    pub fn canned(name: &str, owner: &Owner, bucket_owner: &Owner) -> Option<Self> {
        use AclPermission::{Read, Write};
        let full = |owner: &Owner| Grant {
            grantee: Grantee::Owner { id: owner.id, name: Some(owner.name.clone()) },
            permission: AclPermission::FullControl,
        };
        let all = |permission| Grant { grantee: Grantee::AllUsers, permission };
        let other = owner.id != bucket_owner.id;
        let mut grants = match name {
            "public-read" => vec![all(Read)],
            "public-read-write" => vec![all(Read), all(Write)],
            "authenticated-read" => vec![Grant { grantee: Grantee::AuthenticatedUsers, permission: Read }],
            "bucket-owner-read" if other => vec![Grant { permission: Read, ..full(bucket_owner) }],
            "bucket-owner-full-control" if other => vec![full(bucket_owner)],
            "private" | "bucket-owner-read" | "bucket-owner-full-control" => vec![],
            _ => return None,
        };
        grants.push(full(owner));
        Some(Self(grants))
    }

    /// The grants in order.
    pub fn grants(&self) -> &[Grant] {
        &self.0
    }

    /// Whether it grants anything to a group that anybody can be in.
    pub fn is_public(&self) -> bool {
        self.0.iter().any(|grant| grant.grantee.is_public())
    }

    /// Whether it allows `wanted` to `asker`, `None` for somebody who did not sign. `ignore_public` passes over grants to groups.
    pub fn allows(&self, asker: Option<OwnerId>, wanted: AclPermission, ignore_public: bool) -> bool {
        self.0.iter().any(|grant| {
            let meant = match &grant.grantee {
                Grantee::Owner { id, .. } => asker == Some(*id),
                Grantee::AllUsers => !ignore_public,
                Grantee::AuthenticatedUsers => !ignore_public && asker.is_some(),
            };
            meant && (grant.permission == wanted || grant.permission == AclPermission::FullControl)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use AclPermission::{FullControl, Read, ReadAcp, Write, WriteAcp};

    fn owner(byte: u8) -> Owner {
        Owner { id: OwnerId::from_bytes([byte; 32]), name: format!("owner {byte}") }
    }

    /// What a predefined list allows to its owner (1), the bucket's owner (2), another one (3) and nobody known.
    #[track_caller]
    fn check(name: &str, expected: [&[AclPermission]; 4]) {
        let acl = Acl::canned(name, &owner(1), &owner(2)).unwrap();
        let askers = [Some(owner(1).id), Some(owner(2).id), Some(owner(3).id), None];
        for (asker, expected) in askers.into_iter().zip(expected) {
            for wanted in AclPermission::ALL {
                let allowed = acl.allows(asker, wanted, false);
                assert_eq!(allowed, expected.contains(&wanted), "{name} {asker:?} {wanted:?}");
            }
        }
    }

    #[test]
    fn predefined_lists_allow_what_s3_says() {
        const ALL: &[AclPermission] = &[FullControl, Read, Write, ReadAcp, WriteAcp];
        check("private", [ALL, &[], &[], &[]]);
        check("public-read", [ALL, &[Read], &[Read], &[Read]]);
        check("public-read-write", [ALL, &[Read, Write], &[Read, Write], &[Read, Write]]);
        check("authenticated-read", [ALL, &[Read], &[Read], &[]]);
        check("bucket-owner-read", [ALL, &[Read], &[], &[]]);
        check("bucket-owner-full-control", [ALL, ALL, &[], &[]]);
        assert_eq!(Acl::canned("public-ready", &owner(1), &owner(1)), None);
    }

    #[test]
    fn grants_to_groups_can_be_passed_over() {
        let acl = Acl::canned("public-read", &owner(1), &owner(1)).unwrap();
        assert!(acl.is_public() && !acl.allows(Some(owner(3).id), Read, true));
        assert!(acl.allows(Some(owner(1).id), Read, true));
        assert!(!Acl::canned("private", &owner(1), &owner(1)).unwrap().is_public());
    }

    #[test]
    fn a_list_is_bounded() {
        let grant = Grant { grantee: Grantee::AllUsers, permission: Read };
        assert!(Acl::new(vec![grant.clone(); 100]).is_some());
        assert!(Acl::new(vec![grant; 101]).is_none());
    }
}
