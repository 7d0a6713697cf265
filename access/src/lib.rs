//! Who may do what: key pairs, their owners and permissions, and the credentials of the first start.
//!
//! The doors ask here: `s3-api` for the secret behind an access key id and whether a request is allowed, `admin` for the
//! API token and to manage keys. This crate knows no protocol and no object; buckets come in as a name and an owner.
//!
//! ```text
//! credentials.toml ─▶ credentials.rs RootCredentials ─┐
//!                                                     ├─▶ access.rs Access ─▶ key.rs Identity ─▶ permission.rs allow
//! rows 0x30, 0x31 ◀── access.rs create, list, revoke ─┘        │ small cache                     (pure)
//! ```
//!
//! policy.rs is the language of bucket policies: parsed once, asked with a request as values. Who asks it, and what access lists
//! say besides, is the door's.
//!
//! temporary.rs makes credentials that end by themselves and are stored nowhere.
//!
//! Secrets are [`Secret`]s: they can be compared in constant time and shown only by asking for them by name.

mod access;
mod credentials;
mod error;
mod key;
mod permission;
mod policy;
mod secret;
mod temporary;

pub use access::{Access, IDENTITY_AGE_MAX, KEYS_MAX};
pub use credentials::{Made, RootCredentials, RootOverrides};
pub use error::{Error, ErrorKind, Result};
pub use key::{Identity, KeyRecord, KeySpec, NewKey, Permission, ROOT_NAME};
pub use permission::{Action, Denied, Reach, allow};
pub use policy::{BucketPolicy, Decision, Flaw, PolicyContext, PolicyError, PolicyRequest, Principal};
pub use secret::Secret;
pub use temporary::{KeyScope, TEMPORARY_LIFE_MAX, TemporaryCredentials, TemporarySpec};
