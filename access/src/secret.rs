//! `Secret`: a text that does not show itself, and how new ones are made.

use rand::RngExt as _;
use rand::distr::Alphanumeric;
use sha2::{Digest as _, Sha256};
use std::fmt;
use subtle::ConstantTimeEq as _;

const BASE32: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

/// A secret access key or token. `Debug` masks it; [`Secret::expose`] is the only way to its text.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Box<str>);

impl Secret {
    /// The secret with this text.
    pub fn new(text: impl Into<Box<str>>) -> Self {
        Self(text.into())
    }

    /// A new random one of `letters` letters and digits, almost 6 bits each.
    pub(crate) fn random(letters: usize) -> Self {
        let text: String = rand::rng().sample_iter(Alphanumeric).take(letters).map(char::from).collect();
        Self(text.into())
    }

    /// The text itself; for the owner's eyes, signatures and files of mode 0600 only.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Whether `given` is this secret, in a time that depends on neither text's content.
    pub fn matches(&self, given: &str) -> bool {
        // Hashing first makes both sides equally long, so that the length does not show either.
        Sha256::digest(self.0.as_bytes()).ct_eq(&Sha256::digest(given.as_bytes())).into()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// A new random access key id: `CK` and 18 base32 letters.
pub(crate) fn random_key_id() -> String {
    key_id_of("CK", rand::random())
}

/// An access key id of a prefix and 18 base32 letters.
pub(crate) fn key_id_of(prefix: &str, bytes: [u8; 18]) -> String {
    let letters = bytes.map(|byte| char::from(BASE32[usize::from(byte & 31)]));
    format!("{prefix}{}", String::from_iter(letters))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_matches_only_itself_and_never_shows() {
        let secret = Secret::new("s3cret");
        assert!(secret.matches("s3cret"));
        for other in ["", "s3cre", "s3crett", "S3cret"] {
            assert!(!secret.matches(other), "{other}");
        }
        assert_eq!(format!("{secret:?}"), "***");
    }

    #[test]
    fn random_ones_have_their_shape_and_differ() {
        let (id, secret) = (random_key_id(), Secret::random(40));
        assert!(id.len() == 20 && id.starts_with("CK"), "{id}");
        assert!(id.bytes().all(|b| b.is_ascii_uppercase() || (b'2'..=b'7').contains(&b)), "{id}");
        assert!(secret.expose().len() == 40 && secret.expose().bytes().all(|b| b.is_ascii_alphanumeric()));
        assert_ne!(id, random_key_id());
        assert_ne!(secret, Secret::random(40));
    }
}
