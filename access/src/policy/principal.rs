//! `Who`: an entry of `Principal` or `NotPrincipal`, and whether a request comes from it.

use super::{Flaw, Principal, shown};

/// Whom an entry means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Who {
    /// Everybody, without a signature too.
    Everybody,
    /// The owner with this id. What is no canonical id, such as the 12 digits of an AWS account, is nobody here.
    Id(String),
    /// The owner with this name or id. An account that is a canonical id must be the owner's too.
    User {
        /// The account part of the ARN.
        account: String,
        /// The last part of its path.
        name: String,
    },
    /// A service of AWS: nobody here.
    Service,
}

impl Who {
    /// Reads an entry under `AWS`: `*`, a canonical id, an account number, the ARN of an account's root or of a user.
    pub(super) fn aws(text: &str) -> Result<Self, Flaw> {
        let flaw = || Flaw::Principal { given: shown(text) };
        if text == "*" {
            return Ok(Self::Everybody);
        }
        if is_canonical_id(text) || is_account_number(text) {
            return Ok(Self::Id(text.to_ascii_lowercase()));
        }
        let (account, resource) =
            text.strip_prefix("arn:aws:iam::").and_then(|rest| rest.split_once(':')).ok_or_else(flaw)?;
        let letters = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'$');
        if !account.bytes().all(letters) {
            return Err(flaw());
        }
        let account = if is_canonical_id(account) { account.to_ascii_lowercase() } else { account.to_owned() };
        if resource == "root" && !account.is_empty() {
            return Ok(Self::Id(account));
        }
        let path = resource.strip_prefix("user/").ok_or_else(flaw)?;
        let name = path.rsplit('/').next().unwrap_or(path);
        if name.is_empty() || path.contains(['*', '?']) {
            return Err(flaw());
        }
        Ok(Self::User { account, name: name.to_owned() })
    }

    /// Reads an entry under `CanonicalUser`.
    pub(super) fn canonical(text: &str) -> Result<Self, Flaw> {
        if is_canonical_id(text) {
            return Ok(Self::Id(text.to_ascii_lowercase()));
        }
        Err(Flaw::Principal { given: shown(text) })
    }

    /// Reads an entry under `Service`, such as `logging.s3.amazonaws.com`.
    pub(super) fn service(text: &str) -> Result<Self, Flaw> {
        let letters = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'.');
        let name = text.strip_suffix(".amazonaws.com").unwrap_or_default();
        if name.is_empty() || !name.bytes().all(letters) {
            return Err(Flaw::Principal { given: shown(text) });
        }
        Ok(Self::Service)
    }

    /// Whether it means this principal.
    pub(super) fn is(&self, principal: Principal<'_>) -> bool {
        let Principal::Owner { id, name } = principal else { return *self == Self::Everybody };
        match self {
            Self::Everybody => true,
            Self::Id(own) => own == id,
            Self::User { account, name: own } => {
                (own == name || own == id) && (account == id || !is_canonical_id(account))
            }
            Self::Service => false,
        }
    }
}

fn is_canonical_id(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn is_account_number(text: &str) -> bool {
    text.len() == 12 && text.bytes().all(|byte| byte.is_ascii_digit())
}
