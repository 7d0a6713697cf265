//! `allow`: whether a key reaches so far, decided from values alone. Whose the bucket is, and what its policy and access lists
//! say, is for the door to ask besides: neither lifts a key above its own permission.

use crate::{Identity, Permission};
use cistern_types::BucketName;

/// What a request wants to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Action {
    /// See the names of the owner's buckets; a key bound to a bucket sees that one.
    ListBuckets,
    /// Make a bucket.
    CreateBucket,
    /// Remove a bucket.
    DeleteBucket,
    /// See that a bucket is there, where it is, and what it lists.
    ReadBucket,
    /// Read objects and their headers.
    ReadObject,
    /// Write and delete objects, and everything about multipart uploads.
    WriteObject,
    /// Tell a bucket how to behave: versions, locks, policies.
    ConfigureBucket,
    /// Delete what is retained under governance, or shorten that.
    BypassGovernance,
}

impl Action {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::ListBuckets,
        Self::CreateBucket,
        Self::DeleteBucket,
        Self::ReadBucket,
        Self::ReadObject,
        Self::WriteObject,
        Self::ConfigureBucket,
        Self::BypassGovernance,
    ];

    /// The least permission it takes.
    pub fn needs(self) -> Permission {
        match self {
            Self::ListBuckets | Self::ReadBucket | Self::ReadObject => Permission::Read,
            Self::WriteObject => Permission::ReadWrite,
            Self::CreateBucket | Self::DeleteBucket | Self::ConfigureBucket | Self::BypassGovernance => {
                Permission::Admin
            }
        }
    }
}

/// Why a key may not do something. For logs: an answer to the client says no more than "access denied".
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// The key's permission is too small.
    #[error("the key allows {has}, this needs {needs}")]
    Permission {
        /// What it allows.
        has: Permission,
        /// What it would take.
        needs: Permission,
    },
    /// The key is bound to another bucket.
    #[error("the key is bound to another bucket")]
    OtherBucket,
    /// The credentials are bound to other keys of objects.
    #[error("the credentials are bound to other keys of the bucket")]
    OtherKeys,
}

/// What of a bucket is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach<'a> {
    /// The bucket itself, or objects that will be asked about one by one.
    Whole,
    /// The object with this key.
    Key(&'a str),
    /// The keys that begin with this.
    Listing(&'a str),
}

/// Whether the key of `identity` reaches as far as `action` on `bucket`; `None` where no bucket is meant.
pub fn allow(identity: &Identity, action: Action, bucket: Option<&BucketName>, reach: Reach<'_>) -> Result<(), Denied> {
    let (has, needs) = (identity.key.permission, action.needs());
    if has < needs {
        return Err(Denied::Permission { has, needs });
    }
    let other = bucket.is_some_and(|name| identity.key.bucket.as_ref().is_some_and(|bound| bound != name));
    if other {
        return Err(Denied::OtherBucket);
    }
    let within = identity.scope.as_ref().is_none_or(|scope| match reach {
        Reach::Whole => needs < Permission::Admin,
        Reach::Key(key) => scope.holds(key),
        Reach::Listing(prefix) => scope.covers(prefix),
    });
    if within { Ok(()) } else { Err(Denied::OtherKeys) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::owner_id;
    use crate::{KeyRecord, KeyScope, Secret};
    use cistern_types::Timestamp;

    fn identity(permission: Permission, bucket: Option<&str>) -> Identity {
        Identity {
            key: KeyRecord {
                name: "k".into(),
                access_key_id: "CKAAAA".parse().unwrap(),
                owner_id: owner_id("ada"),
                owner_name: "ada".into(),
                bucket: bucket.map(|name| name.parse().unwrap()),
                permission,
                created: Timestamp::default(),
            },
            secret: Secret::new("s"),
            scope: None,
        }
    }

    /// `allowed` names the actions that a key with `permission` may do on its owner's bucket.
    #[track_caller]
    fn check_permission(permission: Permission, allowed: &[Action]) {
        let bucket: BucketName = "logs".parse().unwrap();
        for action in Action::ALL {
            let answer = allow(&identity(permission, None), action, Some(&bucket), Reach::Whole);
            assert_eq!(answer.is_ok(), allowed.contains(&action), "{permission} {action:?}");
        }
    }

    #[test]
    fn each_permission_allows_its_actions_and_those_of_the_smaller_ones() {
        use Action::{ListBuckets, ReadBucket, ReadObject, WriteObject};
        check_permission(Permission::Read, &[ListBuckets, ReadBucket, ReadObject]);
        check_permission(Permission::ReadWrite, &[ListBuckets, ReadBucket, ReadObject, WriteObject]);
        check_permission(Permission::Admin, &Action::ALL);
    }

    #[test]
    fn a_key_bound_to_a_bucket_touches_no_other_but_may_list() {
        let (own, other): (BucketName, BucketName) = ("logs".parse().unwrap(), "photos".parse().unwrap());
        let bound = identity(Permission::Admin, Some("logs"));
        for action in Action::ALL {
            assert_eq!(allow(&bound, action, Some(&own), Reach::Whole), Ok(()), "{action:?}");
            assert_eq!(allow(&bound, action, Some(&other), Reach::Whole), Err(Denied::OtherBucket), "{action:?}");
        }
        assert_eq!(allow(&bound, Action::ListBuckets, None, Reach::Whole), Ok(()));
    }

    #[test]
    fn credentials_bound_to_keys_reach_those_and_configure_nothing() {
        let scope = Some(KeyScope { prefixes: vec!["logs/".into()], objects: vec!["a".into()] });
        let scoped = Identity { scope, ..identity(Permission::Admin, Some("photos")) };
        let bucket: BucketName = "photos".parse().unwrap();
        for (action, reach, allowed) in [
            (Action::WriteObject, Reach::Key("logs/1"), true),
            (Action::ReadObject, Reach::Key("a"), true),
            (Action::ReadObject, Reach::Key("b"), false),
            (Action::ReadBucket, Reach::Listing("logs/2"), true),
            (Action::ReadBucket, Reach::Listing("log"), false),
            (Action::ReadBucket, Reach::Listing("a"), false),
            (Action::ReadBucket, Reach::Whole, true),
            (Action::BypassGovernance, Reach::Key("a"), true),
            (Action::ConfigureBucket, Reach::Whole, false),
            (Action::DeleteBucket, Reach::Whole, false),
        ] {
            assert_eq!(allow(&scoped, action, Some(&bucket), reach).is_ok(), allowed, "{action:?} {reach:?}");
        }
    }
}
