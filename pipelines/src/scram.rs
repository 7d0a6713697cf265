//! What a server keeps to let a user in by SCRAM (RFC 5802, RFC 7677): no password, and nothing that a password follows
//! from.
//!
//! ```text
//! salted    = PBKDF2(password, salt, iterations)
//! StoredKey = H(HMAC(salted, "Client Key"))            checks the client's proof
//! ServerKey = HMAC(salted, "Server Key")               signs the answer
//! ```
//! A [`Verifier`] holds both keys for SHA-256 and for SHA-512, over one salt. No `Debug` shows a key. Keys are wiped
//! when dropped. There is no SASLprep: a password that is not ASCII is taken as its UTF-8 bytes.

use hmac::{Hmac, KeyInit as _, Mac as _};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256, Sha512};
use std::fmt;
use subtle::ConstantTimeEq as _;
use zeroize::{Zeroize as _, Zeroizing};

/// How often the password is hashed. 4096 is the least that RFC 7677 and Java's client accept. More would add nothing:
/// the passwords are random and have 192 bits or more, which nobody guesses, and each login by an access key pays for
/// it anew. Rows keep the number they were made with: after a change, users with the old one can be told from decoys.
pub(crate) const ITERATIONS: u32 = 4096;

/// The length of a salt.
pub(crate) const SALT_BYTES: usize = 16;

const SHA256_BYTES: usize = 32;
const SHA512_BYTES: usize = 64;

const CLIENT_KEY: &[u8] = b"Client Key";
const SERVER_KEY: &[u8] = b"Server Key";
const DECOY_PURPOSE: &[u8] = b"cistern scram decoy salt v1";

/// The hash of a SCRAM mechanism.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum ScramHash {
    /// SHA-256.
    Sha256,
    /// SHA-512.
    Sha512,
}

/// Checks the proofs of one user. Whoever has it and hears one login can log in as that user, so it is kept like a
/// secret.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Verifier {
    salt: [u8; SALT_BYTES],
    iterations: u32,
    sha256: Keys<SHA256_BYTES>,
    sha512: Keys<SHA512_BYTES>,
}

impl Verifier {
    /// The one of a new password, with a random salt: for a row. Takes some milliseconds.
    pub(crate) fn new(password: &str) -> Self {
        Self::derive(password, rand::random())
    }

    /// The one of a password with this salt: for a password that is stored itself, with the salt of [`Decoys::salt`],
    /// so that the user gets the same salt each time. Takes some milliseconds.
    pub(crate) fn derive(password: &str, salt: [u8; SALT_BYTES]) -> Self {
        let bytes = password.as_bytes();
        Self {
            salt,
            iterations: ITERATIONS,
            sha256: Keys::derive::<Sha256>(bytes, &salt, ITERATIONS),
            sha512: Keys::derive::<Sha512>(bytes, &salt, ITERATIONS),
        }
    }

    /// The salt, which everybody is told who names the user.
    pub(crate) fn salt(&self) -> &[u8; SALT_BYTES] {
        &self.salt
    }

    /// How often the password was hashed.
    pub(crate) fn iterations(&self) -> u32 {
        self.iterations
    }

    /// The server's signature over `auth_message` if `proof` is the client's, else `None`. How long it takes depends on
    /// the lengths and the outcome only.
    pub(crate) fn check(&self, hash: ScramHash, auth_message: &[u8], proof: &[u8]) -> Option<Vec<u8>> {
        match hash {
            ScramHash::Sha256 => self.sha256.check::<Sha256>(auth_message, proof),
            ScramHash::Sha512 => self.sha512.check::<Sha512>(auth_message, proof),
        }
    }
}

/// Without salt and keys.
impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verifier").field("iterations", &self.iterations).finish_non_exhaustive()
    }
}

/// What users that do not exist are answered with, so that the answer does not tell that.
///
/// A server that starts again, or another of the same cluster, must give a name the same salt: otherwise the names
/// whose salt changes are the ones that do not exist.
pub(crate) struct Decoys(Zeroizing<[u8; SHA256_BYTES]>);

impl Decoys {
    /// Those of a key that is kept beside the users and never leaves the servers.
    pub(crate) fn from_key(key: [u8; SHA256_BYTES]) -> Self {
        Self(Zeroizing::new(key))
    }

    /// Those of a random key, for as long as this lives.
    #[cfg(test)]
    pub(crate) fn random() -> Self {
        Self::from_key(rand::random())
    }

    /// The salt of a user that has no stored one; the same each time.
    pub(crate) fn salt(&self, user: &str) -> [u8; SALT_BYTES] {
        // The purpose has a fixed length, so no two names make the same text.
        let mac = Sha256::mac(&*self.0, &[DECOY_PURPOSE, user.as_bytes()].concat());
        std::array::from_fn(|i| mac.0[i])
    }

    /// A verifier that looks like `user`'s and that no proof fits.
    pub(crate) fn verifier(&self, user: &str) -> Verifier {
        Verifier { salt: self.salt(user), iterations: ITERATIONS, sha256: Keys::random(), sha512: Keys::random() }
    }
}

/// Without the key.
impl fmt::Debug for Decoys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Decoys").finish_non_exhaustive()
    }
}

/// A key or another output of a hash, wiped when dropped. In a row it is a text of bytes.
#[derive(Clone, Serialize, Deserialize)]
#[serde(try_from = "Zeroizing<Vec<u8>>", into = "Zeroizing<Vec<u8>>")]
struct Key<const N: usize>(Zeroizing<[u8; N]>);

impl<const N: usize> Key<N> {
    /// Takes `bytes` over and wipes what was copied from.
    fn new(mut bytes: [u8; N]) -> Self {
        let key = Self(Zeroizing::new(bytes));
        bytes.zeroize();
        key
    }
}

impl<const N: usize> PartialEq for Key<N> {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&*other.0).into()
    }
}

impl<const N: usize> Eq for Key<N> {}

impl<const N: usize> From<Key<N>> for Zeroizing<Vec<u8>> {
    fn from(key: Key<N>) -> Self {
        Self::new(key.0.to_vec())
    }
}

impl<const N: usize> TryFrom<Zeroizing<Vec<u8>>> for Key<N> {
    type Error = WrongLength<N>;

    fn try_from(bytes: Zeroizing<Vec<u8>>) -> Result<Self, Self::Error> {
        let bytes = <[u8; N]>::try_from(bytes.as_slice()).map_err(|_| WrongLength { bytes: bytes.len() })?;
        Ok(Self::new(bytes))
    }
}

/// A stored key is too short or too long.
#[derive(Debug, thiserror::Error)]
#[error("a stored SCRAM key has {bytes} bytes, it should have {N}")]
struct WrongLength<const N: usize> {
    bytes: usize,
}

/// What is kept for one hash.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Keys<const N: usize> {
    stored: Key<N>,
    server: Key<N>,
}

impl<const N: usize> Keys<N> {
    fn derive<H: Algorithm<N>>(password: &[u8], salt: &[u8], iterations: u32) -> Self {
        let salted = H::pbkdf2(password, salt, iterations);
        let client = H::mac(&*salted.0, CLIENT_KEY);
        Self { stored: H::hash(&*client.0), server: H::mac(&*salted.0, SERVER_KEY) }
    }

    fn random() -> Self {
        let bytes = || Key::new(rand::random());
        Self { stored: bytes(), server: bytes() }
    }

    /// The proof is the client key, hidden by the signature that only the holder of the stored key can make.
    fn check<H: Algorithm<N>>(&self, auth_message: &[u8], proof: &[u8]) -> Option<Vec<u8>> {
        let mut client = Key::new(<[u8; N]>::try_from(proof).ok()?);
        let signature = H::mac(&*self.stored.0, auth_message);
        for (byte, mask) in client.0.iter_mut().zip(&*signature.0) {
            *byte ^= mask;
        }
        let fits = H::hash(&*client.0) == self.stored;
        fits.then(|| H::mac(&*self.server.0, auth_message).0.to_vec())
    }
}

/// A hash as SCRAM uses it.
trait Algorithm<const N: usize> {
    fn hash(bytes: &[u8]) -> Key<N>;
    fn mac(key: &[u8], bytes: &[u8]) -> Key<N>;
    fn pbkdf2(password: &[u8], salt: &[u8], iterations: u32) -> Key<N>;
}

macro_rules! algorithm {
    ($hash:ty, $bytes:expr) => {
        impl Algorithm<$bytes> for $hash {
            fn hash(bytes: &[u8]) -> Key<$bytes> {
                Key::new(<$hash>::digest(bytes).into())
            }

            fn mac(key: &[u8], bytes: &[u8]) -> Key<$bytes> {
                let mac = Hmac::<$hash>::new_from_slice(key).expect("HMAC takes keys of any length");
                Key::new(mac.chain_update(bytes).finalize().into_bytes().into())
            }

            fn pbkdf2(password: &[u8], salt: &[u8], iterations: u32) -> Key<$bytes> {
                Key::new(pbkdf2::pbkdf2_hmac_array::<$hash, $bytes>(password, salt, iterations))
            }
        }
    };
}

algorithm!(Sha256, SHA256_BYTES);
algorithm!(Sha512, SHA512_BYTES);

#[cfg(test)]
mod tests;
