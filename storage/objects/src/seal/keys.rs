//! The keys above a sealed blob: the data key of each object, and what it is wrapped with.
//!
//! ```text
//! SSE-S3  MasterKeys (a file, current and older) ─wrap─▶ WrappedKey { master, sealed } ─┐
//!                                                                                     ├─▶ in the object's or upload's row
//! SSE-C   CustomerKey (of the request, never kept) ─wrap─▶ SealedKey + its verifier ────┘
//! ```
//! A data key is wrapped with AES-256-GCM under a key that HKDF-SHA256 makes from the wrapping key and a random salt, so
//! that there is no number of objects after which a nonce could come twice. The context, which is the
//! key of the object, is authenticated beside it: a wrapped key copied into another object's row does not open.
//!
//! No `Debug` and no error of this file shows a key, or the text that a key was read from. Keys are wiped when dropped.

use super::{TAG_BYTES, aes_256_gcm, nonce};
use aws_lc_rs::aead::Aad;
use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::{hkdf, hmac};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use md5::{Digest as _, Md5};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;
use zeroize::Zeroizing;

/// The length of every key.
pub(super) const KEY_BYTES: usize = 32;
/// The length of a key in base64.
const KEY_TEXT_BYTES: usize = 44;
/// The length of the random salt that a wrapped key or a verifier is made with.
const SALT_BYTES: usize = 16;
/// The most older keys of a ring.
const OLDER_KEYS_MAX: usize = 64;
/// The longest file of master keys.
const KEY_FILE_BYTES_MAX: usize = 16 << 10;

const WRAP_PURPOSE: &str = "cistern wrapped data key v1";
const TAG_PURPOSE: &str = "cistern hidden tag v1";
const VERIFIER_PURPOSE: &str = "cistern customer key verifier v1";
const MASTER_ID_PURPOSE: &str = "cistern master key id v1";

/// The one algorithm of SSE-S3 and SSE-C, as headers name it.
const ALGORITHM: &str = "AES256";

type Key = Zeroizing<[u8; KEY_BYTES]>;

/// A key for one purpose, made from another key and a salt: HKDF-SHA256.
pub(super) fn derive(key: &[u8; KEY_BYTES], salt: &[u8; SALT_BYTES], purpose: &str) -> Key {
    let mut derived = Key::default();
    let extracted = hkdf::Salt::new(hkdf::HKDF_SHA256, salt).extract(key);
    let filled =
        extracted.expand(&[purpose.as_bytes()], hkdf::HKDF_SHA256).and_then(|bytes| bytes.fill(derived.as_mut()));
    filled.expect("HKDF-SHA256 fills 32 bytes");
    derived
}

/// Why a data key could not be had. Holds no key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// The ring lacks the key that the data key was wrapped with.
    #[error("master key {id} is missing: add it to the older keys in the file of master keys, from your copy")]
    NoSuchMasterKey {
        /// The missing key.
        id: MasterKeyId,
    },
    /// What was wrapped is not what is unwrapped.
    #[error("a wrapped data key is damaged, or was wrapped with another key or for another object")]
    NotUnwrapped,
    /// The cipher did not wrap; nothing that a key or context can be makes it do so.
    #[error("AES-256-GCM did not wrap a data key")]
    NotWrapped,
    /// The file of master keys is too long.
    #[error("the file of master keys may have {KEY_FILE_BYTES_MAX} bytes, it has {bytes}")]
    FileTooLong {
        /// How long it is.
        bytes: usize,
    },
    /// The file of master keys is no TOML, or other TOML.
    #[error(
        "line {line} of the file of master keys: it should hold `current = \"..\"` and may hold `older = [\"..\", ..]`"
    )]
    BadFile {
        /// The line, from 1.
        line: usize,
    },
    /// A master key cannot be read.
    #[error("{place} of the file of master keys is not the base64 of 32 bytes")]
    BadMasterKey {
        /// Which one.
        place: KeyPlace,
    },
    /// A master key stands in the file twice.
    #[error("{place} of the file of master keys stands in it twice")]
    DoubleMasterKey {
        /// Its second place.
        place: KeyPlace,
    },
    /// There are too many master keys.
    #[error("a ring may have {OLDER_KEYS_MAX} older master keys")]
    TooManyMasterKeys,
}

/// Where in the file of master keys a key stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyPlace {
    /// It is the current one.
    Current,
    /// It is this one of the older ones, from 1.
    Older(usize),
}

impl fmt::Display for KeyPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Current => f.write_str("the current key"),
            Self::Older(number) => write!(f, "older key {number}"),
        }
    }
}

/// The key that the blobs of one object or upload are sealed with. Random, kept only wrapped.
#[derive(Clone)]
pub struct DataKey(Key);

impl DataKey {
    /// A new one.
    pub fn random() -> Self {
        Self(Key::new(rand::random()))
    }

    /// Sixteen bytes that say whether two digests are the same, and nothing else to whoever has not the key.
    pub(crate) fn hide(&self, digest: &[u8; 16]) -> [u8; 16] {
        let key = derive(&self.0, &[0; SALT_BYTES], TAG_PURPOSE);
        let mac = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key.as_ref()), digest);
        let mut hidden = [0; 16];
        hidden.copy_from_slice(&mac.as_ref()[..16]);
        hidden
    }

    pub(super) fn as_bytes(&self) -> &[u8; KEY_BYTES] {
        &self.0
    }

    #[cfg(test)]
    pub(super) fn from_bytes(bytes: [u8; KEY_BYTES]) -> Self {
        Self(Key::new(bytes))
    }
}

impl fmt::Debug for DataKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DataKey(***)")
    }
}

/// A wrapped data key; which key unwraps it, what stands beside it says. 64 bytes in a row, no secret.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SealedKey {
    salt: [u8; SALT_BYTES],
    sealed: [u8; KEY_BYTES],
    tag: [u8; TAG_BYTES],
}

impl SealedKey {
    fn wrap(wrapping: &[u8; KEY_BYTES], data_key: &DataKey, context: &[u8]) -> Result<Self, KeyError> {
        let salt = rand::random();
        let mut sealed = data_key.0.clone();
        let cipher = aes_256_gcm(&derive(wrapping, &salt, WRAP_PURPOSE));
        let tag = cipher.seal_in_place_separate_tag(nonce(0), Aad::from(context), sealed.as_mut());
        let tag = tag.ok().and_then(|tag| tag.as_ref().try_into().ok()).ok_or(KeyError::NotWrapped)?;
        Ok(Self { salt, sealed: *sealed, tag })
    }

    fn unwrap(&self, wrapping: &[u8; KEY_BYTES], context: &[u8]) -> Result<DataKey, KeyError> {
        let mut key = Key::new(self.sealed);
        let cipher = aes_256_gcm(&derive(wrapping, &self.salt, WRAP_PURPOSE));
        let opened = cipher.open_in_place_separate_tag(nonce(0), Aad::from(context), &self.tag, key.as_mut());
        opened.map(drop).map_err(|_| KeyError::NotUnwrapped)?;
        Ok(DataKey(key))
    }
}

impl fmt::Debug for SealedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SealedKey({}..)", hex::encode(&self.sealed[..4]))
    }
}

/// Which master key: the first 8 bytes of an HMAC with it. Not secret.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct MasterKeyId([u8; 8]);

impl MasterKeyId {
    pub(crate) fn from_bytes(bytes: [u8; 8]) -> Self {
        Self(bytes)
    }

    pub(crate) fn as_bytes(self) -> [u8; 8] {
        self.0
    }
}

impl fmt::Display for MasterKeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for MasterKeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MasterKeyId({self})")
    }
}

/// A data key wrapped with a master key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WrappedKey {
    /// The master key.
    pub master: MasterKeyId,
    /// The data key.
    pub sealed: SealedKey,
}

#[derive(Clone)]
struct MasterKey {
    id: MasterKeyId,
    key: Key,
}

impl MasterKey {
    fn new(key: Key) -> Self {
        let mac = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key.as_ref()), MASTER_ID_PURPOSE.as_bytes());
        let mut id = [0; 8];
        id.copy_from_slice(&mac.as_ref()[..8]);
        Self { id: MasterKeyId(id), key }
    }

    fn random() -> Self {
        Self::new(Key::new(rand::random()))
    }
}

/// The master keys of a store: new data keys are wrapped with the current one, older ones are there to unwrap.
///
/// As text, a TOML file that only its owner may read:
/// ```toml
/// current = "base64 of 32 bytes"
/// older = ["base64 of 32 bytes"]
/// ```
#[derive(Clone)]
pub struct MasterKeys {
    current: MasterKey,
    older: Vec<MasterKey>,
}

impl MasterKeys {
    /// A ring with one new random key.
    pub fn generate() -> Self {
        Self { current: MasterKey::random(), older: Vec::new() }
    }

    /// The text of a file that holds this ring; wiped when dropped.
    pub fn to_text(&self) -> Zeroizing<String> {
        // grown once, so that no copy is left behind
        let mut text = Zeroizing::new(String::with_capacity((self.older.len() + 1) * (KEY_TEXT_BYTES + 8) + 32));
        text.push_str("current = ");
        push_quoted(&mut text, &self.current.key);
        text.push_str("\nolder = [");
        for key in &self.older {
            text.push_str("\n    ");
            push_quoted(&mut text, &key.key);
            text.push(',');
        }
        text.push_str(if self.older.is_empty() { "]\n" } else { "\n]\n" });
        text
    }

    /// The current key's id.
    pub fn current(&self) -> MasterKeyId {
        self.current.id
    }

    /// The ids of all keys, the current one first, then the newest of the older ones.
    pub fn ids(&self) -> impl Iterator<Item = MasterKeyId> + '_ {
        self.all().map(|key| key.id)
    }

    /// A ring with a new current key; the one before is the first of the older ones.
    #[cfg(test)]
    pub(crate) fn rotated(&self) -> Self {
        Self { current: MasterKey::random(), older: self.all().cloned().collect() }
    }

    /// Wraps a data key with the current key. The same `context` must be given to unwrap it.
    pub fn wrap(&self, data_key: &DataKey, context: &[u8]) -> Result<WrappedKey, KeyError> {
        let MasterKey { id, key } = &self.current;
        Ok(WrappedKey { master: *id, sealed: SealedKey::wrap(key, data_key, context)? })
    }

    /// The data key again.
    pub fn unwrap(&self, wrapped: &WrappedKey, context: &[u8]) -> Result<DataKey, KeyError> {
        let id = wrapped.master;
        let master = self.all().find(|key| key.id == id).ok_or(KeyError::NoSuchMasterKey { id })?;
        wrapped.sealed.unwrap(&master.key, context)
    }

    fn all(&self) -> impl Iterator<Item = &MasterKey> {
        std::iter::once(&self.current).chain(&self.older)
    }
}

impl FromStr for MasterKeys {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct File {
            current: Zeroizing<String>,
            #[serde(default)]
            older: Vec<Zeroizing<String>>,
        }
        if text.len() > KEY_FILE_BYTES_MAX {
            return Err(KeyError::FileTooLong { bytes: text.len() });
        }
        // The parser's error quotes the line it stumbled on, and that may be a key: only the line's number is kept.
        let file: File = toml::from_str(text).map_err(|error| {
            let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
            KeyError::BadFile { line: before.matches('\n').count() + 1 }
        })?;
        if file.older.len() > OLDER_KEYS_MAX {
            return Err(KeyError::TooManyMasterKeys);
        }
        let read =
            |text: &str, place| key_from_base64(text).map(MasterKey::new).ok_or(KeyError::BadMasterKey { place });
        let mut ring = Self { current: read(&file.current, KeyPlace::Current)?, older: Vec::new() };
        for (number, text) in (1..).zip(&file.older) {
            let place = KeyPlace::Older(number);
            let key = read(text, place)?;
            if ring.ids().any(|id| id == key.id) {
                return Err(KeyError::DoubleMasterKey { place });
            }
            ring.older.push(key);
        }
        Ok(ring)
    }
}

impl fmt::Debug for MasterKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.ids()).finish()
    }
}

fn push_quoted(text: &mut String, key: &Key) {
    let mut letters = Zeroizing::new([0; KEY_TEXT_BYTES]);
    let length = STANDARD.encode_slice(key.as_ref(), letters.as_mut()).expect("32 bytes are 44 letters of base64");
    text.push('"');
    text.extend(letters[..length].iter().map(|letter| char::from(*letter)));
    text.push('"');
}

fn key_from_base64(text: &str) -> Option<Key> {
    if text.len() != KEY_TEXT_BYTES {
        return None;
    }
    let mut bytes = Zeroizing::new([0; KEY_BYTES + 1]); // the decoder asks for room for three bytes in four letters
    let length = STANDARD.decode_slice(text, bytes.as_mut()).ok()?;
    let mut key = Key::default();
    key.copy_from_slice(bytes[..length].get(..KEY_BYTES).filter(|_| length == KEY_BYTES)?);
    Some(key)
}

/// Why the headers of a request name no customer key. Each is a 400; holds nothing of the key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CustomerKeyError {
    /// A key or its MD5 came without the algorithm. S3: `InvalidArgument`.
    #[error("a customer key needs its algorithm: {ALGORITHM}")]
    NoAlgorithm,
    /// The algorithm is another one. S3: `InvalidEncryptionAlgorithmError`.
    #[error("the algorithm of a customer key is {ALGORITHM} and no other")]
    OtherAlgorithm,
    /// The key is missing. S3: `InvalidArgument`.
    #[error("the algorithm of a customer key came without the key")]
    NoKey,
    /// The key is no key. S3: `InvalidArgument`.
    #[error("a customer key is the base64 of 32 bytes")]
    BadKey,
    /// The MD5 is missing. S3: `InvalidArgument`.
    #[error("a customer key needs its MD5 in base64 beside it")]
    NoMd5,
    /// The MD5 is not that of the key, or is no MD5. S3: `InvalidArgument`.
    #[error("the MD5 beside a customer key is not that of the key")]
    OtherMd5,
}

/// A key that a client sent with its request (SSE-C). It lives as long as the request.
#[derive(Clone)]
pub struct CustomerKey(Key);

impl CustomerKey {
    /// Reads the three `x-amz-server-side-encryption-customer-*` headers, or those of a copy's source. Without any of
    /// them there is no customer key.
    pub fn from_headers(
        algorithm: Option<&str>,
        key: Option<&str>,
        key_md5: Option<&str>,
    ) -> Result<Option<Self>, CustomerKeyError> {
        match (algorithm, key, key_md5) {
            (None, None, None) => return Ok(None),
            (None, _, _) => return Err(CustomerKeyError::NoAlgorithm),
            (Some(ALGORITHM), _, _) => {}
            (Some(_), _, _) => return Err(CustomerKeyError::OtherAlgorithm),
        }
        let key = Self(key_from_base64(key.ok_or(CustomerKeyError::NoKey)?).ok_or(CustomerKeyError::BadKey)?);
        let given = key_md5.ok_or(CustomerKeyError::NoMd5)?;
        if verify_slices_are_equal(given.as_bytes(), key.md5_base64().as_bytes()).is_err() {
            return Err(CustomerKeyError::OtherMd5);
        }
        Ok(Some(key))
    }

    /// Its MD5 in base64, as answers repeat it to the client that sent the key.
    pub fn md5_base64(&self) -> String {
        STANDARD.encode(Md5::digest(self.0.as_ref()))
    }

    /// What is kept to recognise the key again, without the key.
    pub fn verifier(&self) -> CustomerKeyVerifier {
        let salt = rand::random();
        CustomerKeyVerifier { salt, mac: *derive(&self.0, &salt, VERIFIER_PURPOSE) }
    }

    /// Whether this is the key that the verifier was made of, in a time that does not depend on either.
    pub fn matches(&self, verifier: &CustomerKeyVerifier) -> bool {
        let mac = derive(&self.0, &verifier.salt, VERIFIER_PURPOSE);
        verify_slices_are_equal(mac.as_ref(), &verifier.mac).is_ok()
    }

    /// Wraps a data key with this key. The same `context` must be given to unwrap it.
    pub fn wrap(&self, data_key: &DataKey, context: &[u8]) -> Result<SealedKey, KeyError> {
        SealedKey::wrap(&self.0, data_key, context)
    }

    /// The data key again. Ask [`CustomerKey::matches`] first: a wrong key is the client's mistake, all else is damage.
    pub fn unwrap(&self, sealed: &SealedKey, context: &[u8]) -> Result<DataKey, KeyError> {
        sealed.unwrap(&self.0, context)
    }
}

impl fmt::Debug for CustomerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CustomerKey(***)")
    }
}

/// What is kept of a customer key: a salted HMAC-SHA256 (by HKDF), which tells the key from all others but does not give
/// it away. 48 bytes in a row.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CustomerKeyVerifier {
    salt: [u8; SALT_BYTES],
    mac: [u8; KEY_BYTES],
}

impl fmt::Debug for CustomerKeyVerifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CustomerKeyVerifier(..)")
    }
}

#[cfg(test)]
mod tests;
