//! Staging: a body becomes a blob that nobody sees yet. What commits it is `commit.rs`.
//!
//! ```text
//! gather batch n+1 ─┐
//! hash batch n ─────┼─ joined, so that network, CPU and drives work at the same time
//! write batch n ────┘    sealed before, when it is to be encrypted
//! ```
//! A body of at most [`SMALL_BYTES`] is hashed and judged first and handed over whole, so that its bytes and the commit
//! that names them share one synced group. A staged blob that is never committed is deleted here when that is known, and
//! by the sweeper's orphan pass otherwise.

use crate::attributes::Attributes;
use crate::body::{Batches, BodyChecks, BodyError};
use crate::changes::ChangeCause;
use crate::commit::{CommitItem, NewObject, commit_objects};
use crate::conditions::Conditions;
use crate::digest::{BodyDigest, Digested, OtherDigests};
use crate::encryption::{BlobSealer, Encryption, NewSealing, Sealing, stored_bytes};
use crate::md5_lanes::Md5Lanes;
use crate::record::{Extent, ObjectHeaders, StoredChecksum};
use crate::seal::DataKey;
use crate::{BlobSalt, Error, ObjectRecord, Objects, Result};
use bytes::{Bytes, BytesMut};
use cistern_blobs::{BlobWriter, SMALL_BYTES};
use cistern_metadata::Transaction;
use cistern_runtime::offload;
use cistern_types::{BlobId, BucketName, ETag, ObjectKey, Receipt, StorageClass};
use futures::{Stream, stream};
use std::sync::Arc;

/// Below this, hashing costs less than the hop to another thread would.
const HASH_INLINE_BYTES: usize = 16 << 10;

/// What an object made of staged bytes shall carry.
#[derive(Debug, Clone, Default)]
pub struct StageSpec {
    /// The headers stored with it.
    pub headers: ObjectHeaders,
    /// Its class; `None` takes the default class.
    pub class: Option<StorageClass>,
    /// Where it will be committed, and nowhere else: it is encrypted if the bucket encrypts by default. `None` is not.
    pub place: Option<(BucketName, ObjectKey)>,
}

/// The bytes of an object to be, written but not visible. Commit it with [`Objects::commit_staged`] within
/// [`Limits::staged_age_max`](crate::Limits::staged_age_max); never committed, it is swept.
#[derive(Debug, Clone)]
pub struct StagedObject {
    pub(crate) new: NewObject,
    /// The key that its data key is bound to, when it is encrypted.
    sealed_for: Option<ObjectKey>,
}

impl StagedObject {
    /// Its size in bytes.
    pub fn size(&self) -> u64 {
        self.new.size
    }

    /// The tag it will have.
    pub fn etag(&self) -> ETag {
        self.new.etag
    }
}

/// One object that a caller's transaction makes visible.
#[derive(Debug, Clone, Copy)]
pub struct StagedCommit<'a> {
    /// The bucket.
    pub bucket: &'a BucketName,
    /// The key.
    pub key: &'a ObjectKey,
    /// What was staged for it.
    pub staged: &'a StagedObject,
}

impl StagedCommit<'_> {
    /// Refuses another key than that which the data key is bound to.
    pub(crate) fn check_key(&self) -> Result<()> {
        if self.staged.sealed_for.as_ref().is_some_and(|key| key != self.key) {
            let reason = "a staged object that is encrypted is committed under the key that it was staged for";
            return Err(Error::InvalidRequest { reason: reason.into() });
        }
        Ok(())
    }
}

/// A body that lies in a blob and kept all its promises.
#[derive(Debug)]
pub(crate) struct StagedBody {
    /// `None` for an empty body.
    pub(crate) blob: Option<BlobId>,
    /// What its bytes are sealed with beside the data key.
    pub(crate) salt: Option<BlobSalt>,
    pub(crate) receipt: Receipt,
    pub(crate) digested: Digested,
}

impl StagedBody {
    /// What its tag says: the MD5 of its bytes. Under a customer's key it says nothing to whoever has not the key, since tags are shown
    /// without; the same bytes under the same data key have the same tag, so that a part may be sent again.
    pub(crate) fn tag(&self, sealing: Option<&Sealing>, data_key: Option<&DataKey>) -> [u8; 16] {
        match (sealing, data_key) {
            (Some(Sealing::Customer { .. }), Some(data_key)) => data_key.hide(&self.digested.md5),
            _ => self.digested.md5,
        }
    }

    pub(crate) fn into_object(
        self,
        headers: ObjectHeaders,
        attributes: Attributes,
        class: StorageClass,
        cause: ChangeCause,
        data_key: Option<&DataKey>,
    ) -> NewObject {
        let size = self.digested.length;
        NewObject {
            headers,
            etag: ETag::Md5(self.tag(attributes.sealing.as_ref(), data_key)),
            attributes,
            class,
            size,
            checksum: self.digested.checksum.map(StoredChecksum::full),
            extents: self.blob.map(|blob| Extent::new(blob, size, self.salt)).into_iter().collect(),
            parts: None,
            fresh: self.blob.map(|blob| (blob, self.receipt)).into_iter().collect(),
            cause,
        }
    }
}

impl Objects {
    /// Writes a body without making it visible, for a caller that commits it in a transaction of its own.
    pub async fn stage(
        &self,
        spec: StageSpec,
        checks: BodyChecks,
        body: impl Stream<Item = Result<Bytes, BodyError>> + Send + Unpin,
    ) -> Result<StagedObject> {
        spec.headers.check(self.limits())?;
        let class = spec.class.unwrap_or_default();
        let (mut sealing, mut data_key) = (None, None);
        if let Some((bucket, key)) = &spec.place {
            let asked = self.new_sealing(&Encryption::None, &*self.bucket(bucket).await?, key).await?;
            (sealing, data_key) = NewSealing::split(asked);
        }
        let staged = self.stage_body(class, checks, data_key.as_ref(), body).await?;
        let sealed_for = spec.place.filter(|_| sealing.is_some()).map(|(_, key)| key);
        let attributes = Attributes { sealing, ..Attributes::default() };
        let new = staged.into_object(spec.headers, attributes, class, ChangeCause::Put, data_key.as_ref());
        Ok(StagedObject { new, sealed_for })
    }

    /// [`Objects::stage`] for bytes that are all there.
    pub async fn stage_bytes(&self, spec: StageSpec, body: Bytes) -> Result<StagedObject> {
        let checks = BodyChecks::of_length(body.len() as u64);
        self.stage(spec, checks, stream::iter([Ok(body)])).await
    }

    /// Makes a staged object part of the caller's transaction: visible when, and only when, that commits. After
    /// [`Commit::Lost`](cistern_metadata::Commit::Lost) call it again in the next try.
    ///
    /// At most one call for a bucket and transaction: several objects go through [`Objects::commit_staged_many`].
    pub async fn commit_staged(
        &self,
        txn: &mut Transaction,
        bucket: &BucketName,
        key: &ObjectKey,
        staged: &StagedObject,
    ) -> Result<ObjectRecord> {
        let mut records = self.commit_staged_many(txn, &[StagedCommit { bucket, key, staged }]).await?;
        Ok(records.pop().expect("one record for each staged object"))
    }

    /// [`Objects::commit_staged`] for several objects; the records are in their order.
    pub async fn commit_staged_many(
        &self,
        txn: &mut Transaction,
        commits: &[StagedCommit<'_>],
    ) -> Result<Vec<ObjectRecord>> {
        commits.iter().try_for_each(StagedCommit::check_key)?;
        let none = Conditions::default();
        let mut records: Vec<Option<ObjectRecord>> = vec![None; commits.len()];
        for (first, commit) in commits.iter().enumerate() {
            if records[first].is_some() {
                continue;
            }
            // One change-log row for each bucket and transaction: objects of one bucket go together.
            let together: Vec<usize> = (first..commits.len()).filter(|i| commits[*i].bucket == commit.bucket).collect();
            let bucket = self.bucket_in(txn, commit.bucket).await?;
            let item = |i: &usize| CommitItem { key: commits[*i].key, new: &commits[*i].staged.new, conditions: &none };
            let items: Vec<CommitItem<'_>> = together.iter().map(item).collect();
            let made = commit_objects(self, txn, &bucket, &items).await?;
            for (i, record) in together.into_iter().zip(made) {
                records[i] = Some(record);
            }
        }
        Ok(records.into_iter().map(|record| record.expect("every object belongs to one bucket's turn")).collect())
    }

    /// Reads a body to its clean end into a blob, sealed if there is a data key, and judges it.
    pub(crate) async fn stage_body<S, E>(
        &self,
        class: StorageClass,
        checks: BodyChecks,
        data_key: Option<&DataKey>,
        body: S,
    ) -> Result<StagedBody>
    where
        S: Stream<Item = Result<Bytes, E>> + Send + Unpin,
        E: Send,
        Error: From<E>,
    {
        let limit_bytes = self.limits().put_bytes_max;
        if let Some(size_bytes) = checks.length.filter(|length| *length > limit_bytes) {
            return Err(Error::EntityTooLarge { size_bytes, limit_bytes });
        }
        let mut batches = Batches::new(body, limit_bytes, checks.length);
        let digest = BodyDigest::new(&checks);
        let sealer = BlobSealer::new(data_key);
        let first = batches.next_batch().await?;
        if batches.ended() && stored_bytes(first.len() as u64, data_key.is_some()) <= SMALL_BYTES as u64 {
            return self.stage_small(class, checks, digest, sealer, first).await;
        }
        let writer = self.blobs().writer(class).await?;
        let blob = writer.id();
        let staged = stream_to_blob(writer, batches, first, (digest, self.md5_lanes()), sealer, checks).await;
        if staged.is_err() {
            self.discard(&[blob]).await;
        }
        staged
    }

    async fn stage_small(
        &self,
        class: StorageClass,
        checks: BodyChecks,
        digest: BodyDigest,
        sealer: BlobSealer,
        body: Bytes,
    ) -> Result<StagedBody> {
        let digested = hash(digest, body.clone(), self.md5_lanes()).await.finish();
        digested.verify(checks)?;
        if body.is_empty() {
            return Ok(StagedBody { blob: None, salt: None, receipt: Receipt::DURABLE, digested });
        }
        let salt = sealer.salt();
        let (sealer, stored) = sealer.push(body).await?;
        let blob = self.blobs().put(class, joined(stored, sealer.finish()?)).await?;
        assert_eq!(
            blob.length,
            stored_bytes(digested.length, salt.is_some()),
            "the blob store keeps what it was given"
        );
        Ok(StagedBody { blob: Some(blob.id), salt, receipt: blob.receipt, digested })
    }

    /// [`Objects::discard`] for blobs that a commit was to claim.
    pub(crate) async fn discard_fresh(&self, fresh: &[(BlobId, Receipt)]) {
        let blobs: Vec<BlobId> = fresh.iter().map(|(blob, _)| *blob).collect();
        self.discard(&blobs).await;
    }

    /// Deletes blobs that certainly no row names. Best effort: what is left is an orphan, which the sweeper finds.
    pub(crate) async fn discard(&self, blobs: &[BlobId]) {
        if let Err(error) = self.blobs().delete(blobs).await {
            tracing::debug!(error = %error, "staged bytes are left to the orphan pass");
        }
    }
}

async fn stream_to_blob<S, E>(
    mut writer: Box<dyn BlobWriter>,
    mut batches: Batches<S>,
    first: Bytes,
    (mut digest, md5_lanes): (BodyDigest, &Arc<Md5Lanes>),
    mut sealer: BlobSealer,
    checks: BodyChecks,
) -> Result<StagedBody>
where
    S: Stream<Item = Result<Bytes, E>> + Send + Unpin,
    E: Send,
    Error: From<E>,
{
    let salt = sealer.salt();
    let mut batch = first;
    while !batch.is_empty() {
        let hashing = async { Ok(hash(digest, batch.clone(), md5_lanes).await) };
        let writing = async {
            let (sealer, stored) = sealer.push(batch.clone()).await?;
            write(&mut *writer, stored).await?;
            Ok(sealer)
        };
        (digest, sealer, batch) = futures::try_join!(hashing, writing, batches.next_batch())?;
    }
    write(&mut *writer, sealer.finish()?).await?;
    let digested = digest.finish();
    digested.verify(checks)?;
    let blob = writer.finish().await.map_err(Error::Blobs)?;
    assert_eq!(blob.length, stored_bytes(digested.length, salt.is_some()), "the blob store keeps what it was given");
    Ok(StagedBody { blob: Some(blob.id), salt, receipt: blob.receipt, digested })
}

async fn write(writer: &mut dyn BlobWriter, stored: Bytes) -> Result<()> {
    if stored.is_empty() {
        return Ok(());
    }
    writer.write(stored).await.map_err(Error::Blobs)
}

/// Two pieces as one; most small bodies are one piece already.
fn joined(first: Bytes, second: Bytes) -> Bytes {
    if first.is_empty() || second.is_empty() {
        return if first.is_empty() { second } else { first };
    }
    let mut whole = BytesMut::with_capacity(first.len() + second.len());
    whole.extend_from_slice(&first);
    whole.extend_from_slice(&second);
    whole.freeze()
}

async fn hash(mut digest: BodyDigest, bytes: Bytes, md5_lanes: &Arc<Md5Lanes>) -> BodyDigest {
    if bytes.len() < HASH_INLINE_BYTES {
        digest.update(&bytes);
        return digest;
    }
    let BodyDigest { md5, others } = digest;
    let (md5, others) = futures::join!(md5_lanes.update(md5, bytes.clone()), hash_others(others, bytes));
    BodyDigest { md5, others }
}

async fn hash_others(mut others: OtherDigests, bytes: Bytes) -> OtherDigests {
    let are_slow = others.are_slow();
    let work = move || {
        others.update(&bytes);
        others
    };
    if are_slow { offload(work).await } else { work() }
}

#[cfg(test)]
mod tests;
