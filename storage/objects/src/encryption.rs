//! Encryption at rest: which key an object's bytes are sealed with, and what its row keeps to open them again.
//!
//! Every object or upload that is encrypted has a data key of its own. What it is wrapped with is the difference between
//! the two kinds: a master key of the store (SSE-S3), or the key that the client sends with each request (SSE-C) and that
//! is never kept. How bytes are sealed is `seal.rs`; digests, checksums, lengths and ranges are always those of the plain
//! bytes.
//!
//! A wrapped key is bound to the object's key, not to its bucket or version: an upload or a staged object is wrapped
//! before it has a version, and its bucket may be made again meanwhile.

use crate::objects::Ring;
use crate::record::Extent;
use crate::retry::Tries;
use crate::rows::{MASTER_KEYS, Marker};
use crate::seal::{
    CustomerKey, CustomerKeyVerifier, DataKey, KeyError, MasterKeyId, SealedKey, Sealer, WrappedKey, sealed_bytes,
};
use crate::{BlobSalt, BucketRecord, Error, ObjectRecord, Objects, Result};
use bytes::Bytes;
use cistern_metadata::Scan;
use cistern_runtime::offload;
use cistern_types::ObjectKey;
use serde::{Deserialize, Serialize};

/// Below this, sealing or opening costs less than the hop to another thread would.
pub(crate) const SEAL_INLINE_BYTES: usize = 64 << 10;

/// How a write asks for its bytes to be encrypted at rest.
#[derive(Debug, Clone, Default)]
pub enum Encryption {
    /// As the bucket does by default.
    #[default]
    None,
    /// With a key of the store's own: SSE-S3.
    Managed,
    /// With this key of the client's: SSE-C. Whoever reads the object must bring it again.
    Customer(CustomerKey),
}

/// How an object is encrypted at rest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum EncryptionKind {
    /// With a key of the store's own: SSE-S3.
    Managed,
    /// With a key of the client's: SSE-C.
    Customer,
}

/// The data key of an object or upload as its row keeps it: wrapped. New variants go to the end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Sealing {
    /// With a master key of the store.
    Master(WrappedKey),
    /// With a key of the client's.
    Customer {
        /// The data key.
        key: SealedKey,
        /// What recognises the client's key again.
        verifier: CustomerKeyVerifier,
    },
}

impl Sealing {
    /// Which of the two kinds it is.
    pub fn kind(&self) -> EncryptionKind {
        match self {
            Self::Master(_) => EncryptionKind::Managed,
            Self::Customer { .. } => EncryptionKind::Customer,
        }
    }
}

/// A data key, and what the row keeps of it.
pub(crate) struct NewSealing {
    pub(crate) sealing: Sealing,
    pub(crate) data_key: DataKey,
}

impl NewSealing {
    /// Takes it apart; nothing for what is not encrypted.
    pub(crate) fn split(sealing: Option<Self>) -> (Option<Sealing>, Option<DataKey>) {
        sealing.map_or((None, None), |Self { sealing, data_key }| (Some(sealing), Some(data_key)))
    }
}

/// Refuses a request that brings another customer key than the object or upload was begun with, or one where none is
/// needed.
pub(crate) fn check_customer_key(sealing: Option<&Sealing>, given: Option<&CustomerKey>) -> Result<()> {
    match (sealing, given) {
        (Some(Sealing::Customer { .. }), None) => Err(Error::NoCustomerKey),
        (Some(Sealing::Customer { verifier, .. }), Some(given)) if !given.matches(verifier) => {
            Err(Error::OtherCustomerKey)
        }
        (Some(Sealing::Customer { .. }), Some(_)) | (_, None) => Ok(()),
        (_, Some(_)) => Err(Error::NeedlessCustomerKey),
    }
}

impl ObjectRecord {
    /// How it is encrypted at rest.
    pub fn encryption(&self) -> Option<EncryptionKind> {
        self.attributes.sealing.as_ref().map(Sealing::kind)
    }

    /// Whether a request with this customer key, or without one, may learn what this record says. Reading the bytes asks
    /// by itself.
    pub fn check_customer_key(&self, given: Option<&CustomerKey>) -> Result<()> {
        check_customer_key(self.attributes.sealing.as_ref(), given)
    }
}

impl Extent {
    /// How many bytes its blob has: sealed ones are more than the object's.
    pub(crate) fn stored_bytes(&self) -> u64 {
        stored_bytes(self.length, self.salt.is_some())
    }
}

/// How many bytes a blob of `plain` plain bytes has.
pub(crate) fn stored_bytes(plain: u64, sealed: bool) -> u64 {
    if sealed { sealed_bytes(plain) } else { plain }
}

impl Objects {
    /// Refuses to go on without a master key that wrapped data keys before: a store whose master keys were lost says so at its
    /// start, and not object by object.
    pub async fn check_master_keys(&self) -> Result<()> {
        let given: Vec<_> = self.ring().iter().flat_map(|ring| ring.keys.ids()).map(MasterKeyId::as_bytes).collect();
        let mut txn = self.store().begin().await?;
        let used = MASTER_KEYS.scan(&mut txn, &Scan::first(MASTER_KEYS.range(), usize::MAX)).await?;
        match used.into_iter().find(|(id, _)| !given.contains(id)) {
            Some((id, _)) => Err(Error::Key(KeyError::NoSuchMasterKey { id: MasterKeyId::from_bytes(id) })),
            None => Ok(()),
        }
    }

    /// Remembers the current master key as one that is used, durably and before anything is wrapped with it.
    async fn note_master_key(&self, ring: &Ring) -> Result<()> {
        let note = async || {
            let id = ring.keys.current().as_bytes();
            let mut tries = Tries::new();
            loop {
                let mut txn = self.store().begin().await?;
                if MASTER_KEYS.get(&mut txn, &id).await?.is_some() {
                    return Ok(());
                }
                MASTER_KEYS.put(&mut txn, &id, &Marker)?;
                if tries.commit(txn).await? {
                    return Ok(());
                }
            }
        };
        ring.noted.get_or_try_init(note).await.copied()
    }

    /// A new data key for an object or upload of this key, if it is to be encrypted.
    pub(crate) async fn new_sealing(
        &self,
        asked: &Encryption,
        bucket: &BucketRecord,
        key: &ObjectKey,
    ) -> Result<Option<NewSealing>> {
        if matches!(asked, Encryption::None) && !bucket.settings.encrypted_by_default {
            return Ok(None);
        }
        let data_key = DataKey::random();
        let sealing = match asked {
            Encryption::None | Encryption::Managed => {
                let ring = self.ring().ok_or(Error::NoMasterKeys)?;
                self.note_master_key(ring).await?;
                Sealing::Master(ring.keys.wrap(&data_key, context(key)).map_err(Error::Key)?)
            }
            Encryption::Customer(customer) => Sealing::Customer {
                key: customer.wrap(&data_key, context(key)).map_err(Error::Key)?,
                verifier: customer.verifier(),
            },
        };
        Ok(Some(NewSealing { sealing, data_key }))
    }

    /// The data key of an object or upload of this key, if it is encrypted. `given` is the request's customer key.
    pub(crate) fn data_key(
        &self,
        sealing: Option<&Sealing>,
        key: &ObjectKey,
        given: Option<&CustomerKey>,
    ) -> Result<Option<DataKey>> {
        check_customer_key(sealing, given)?;
        let data_key = match (sealing, given) {
            (None, _) => return Ok(None),
            (Some(Sealing::Master(wrapped)), _) => match self.ring() {
                Some(ring) => ring.keys.unwrap(wrapped, context(key)),
                None => Err(KeyError::NoSuchMasterKey { id: wrapped.master }),
            },
            (Some(Sealing::Customer { .. }), None) => return Err(Error::NoCustomerKey),
            (Some(Sealing::Customer { key: sealed, .. }), Some(given)) => given.unwrap(sealed, context(key)),
        };
        data_key.map(Some).map_err(Error::Key)
    }
}

/// What a data key is bound to beside the key that wraps it.
fn context(key: &ObjectKey) -> &[u8] {
    key.as_str().as_bytes()
}

/// What makes stored bytes of the plain bytes of one blob: seals them, or passes them on.
pub(crate) struct BlobSealer(Option<(Sealer, BlobSalt)>);

impl BlobSealer {
    pub(crate) fn new(data_key: Option<&DataKey>) -> Self {
        Self(data_key.map(|data_key| {
            let salt = BlobSalt::random();
            (Sealer::new(data_key, &salt), salt)
        }))
    }

    /// What the row that names the blob must keep.
    pub(crate) fn salt(&self) -> Option<BlobSalt> {
        self.0.as_ref().map(|(_, salt)| *salt)
    }

    /// Takes the next plain bytes, and answers the stored bytes that are ready.
    pub(crate) async fn push(self, plain: Bytes) -> Result<(Self, Bytes)> {
        let Some((mut sealer, salt)) = self.0 else { return Ok((Self(None), plain)) };
        let (sealer, pieces) = if plain.len() < SEAL_INLINE_BYTES {
            let pieces = sealer.push(&plain);
            (sealer, pieces)
        } else {
            offload(move || {
                let pieces = sealer.push(&plain);
                (sealer, pieces)
            })
            .await
        };
        Ok((Self(Some((sealer, salt))), pieces.map_err(Error::Seal)?))
    }

    /// The last stored bytes, which may be none.
    pub(crate) fn finish(self) -> Result<Bytes> {
        self.0.map_or(Ok(Bytes::new()), |(sealer, _)| sealer.finish().map_err(Error::Seal))
    }
}

#[cfg(test)]
mod tests;
