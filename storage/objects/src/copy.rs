//! COPY: the bytes of one object, read and written again inside the server, become another object.

use crate::attributes::{Attributes, Tags};
use crate::body::{BodyChecks, ExpectedChecksum};
use crate::changes::ChangeCause;
use crate::conditions::Conditions;
use crate::encryption::{Encryption, EncryptionKind, NewSealing, Sealing};
use crate::put::PutOutcome;
use crate::record::{ChecksumKind, ObjectHeaders, ObjectRecord, VersionRef};
use crate::{CustomerKey, Error, Objects, Result};
use cistern_types::{BucketName, ChecksumAlgorithm, ObjectKey, StorageClass};

/// Which headers the copy gets.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum MetadataDirective {
    /// Those of its source.
    #[default]
    Copy,
    /// These.
    Replace(ObjectHeaders),
    /// Those of its source, with these laid on top.
    Merge(ObjectHeaders),
}

/// A copy to be made.
#[derive(Debug, Clone)]
pub struct CopyRequest {
    /// The source's bucket.
    pub source_bucket: BucketName,
    /// The source's key.
    pub source_key: ObjectKey,
    /// Which version of it; `None` for the current object.
    pub source_version: Option<VersionRef>,
    /// What must be so of the source when it is read.
    pub source_conditions: Conditions,
    /// The customer key that the source is encrypted with, if it is with one.
    pub source_customer_key: Option<CustomerKey>,
    /// The copy's bucket.
    pub target_bucket: BucketName,
    /// The copy's key.
    pub target_key: ObjectKey,
    /// What must be so of the target when the copy becomes visible.
    pub target_conditions: Conditions,
    /// Which headers it gets.
    pub metadata: MetadataDirective,
    /// Which tags it gets; `None` takes those of its source.
    pub tags: Option<Tags>,
    /// What else it carries: nothing of that is copied. Its tags are passed over.
    pub attributes: Attributes,
    /// How it shall be encrypted: that is not copied either.
    pub encryption: Encryption,
    /// Its class; `None` takes the target bucket's.
    pub class: Option<StorageClass>,
    /// Which checksum it gets; `None` takes the algorithm of its source.
    pub checksum: Option<ChecksumAlgorithm>,
}

impl CopyRequest {
    /// A plain copy.
    pub fn new(source: (BucketName, ObjectKey), target: (BucketName, ObjectKey)) -> Self {
        Self {
            source_bucket: source.0,
            source_key: source.1,
            source_version: None,
            source_conditions: Conditions::default(),
            source_customer_key: None,
            target_bucket: target.0,
            target_key: target.1,
            target_conditions: Conditions::default(),
            metadata: MetadataDirective::Copy,
            tags: None,
            attributes: Attributes::default(),
            encryption: Encryption::None,
            class: None,
            checksum: None,
        }
    }

    /// A copy of an older version onto its key brings that back, so it is not onto itself.
    fn is_onto_itself(&self) -> bool {
        self.source_version.is_none() && self.source_bucket == self.target_bucket && self.source_key == self.target_key
    }
}

/// A copy that has been made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CopyOutcome {
    /// The new object. Its tag is the MD5 of its bytes, also when the source was made of parts.
    pub target: PutOutcome,
    /// Which version of the source was copied, as clients name it; `None` when its bucket never kept versions.
    pub source_version: Option<VersionRef>,
}

impl Objects {
    /// Copies an object. Copying it onto itself without a change is refused, as S3 does; so is a source larger than one
    /// request may write, which takes an upload of copied parts.
    pub async fn copy(&self, request: CopyRequest) -> Result<CopyOutcome> {
        let txn = self.store().read().await?;
        let source_bucket = self.peek_bucket(&txn, &request.source_bucket).await?;
        let source = self.record_in(&txn, &source_bucket, &request.source_key, request.source_version).await?;
        source.check_customer_key(request.source_customer_key.as_ref())?;
        request.source_conditions.check_source(&source)?;
        let target = self.peek_bucket(&txn, &request.target_bucket).await?;
        let class = request.class.unwrap_or(target.class);
        let (sealing, data_key) =
            NewSealing::split(self.new_sealing(&request.encryption, &target, &request.target_key).await?);
        self.check_copy(&request, &source, class, sealing.as_ref().map(Sealing::kind))?;
        let headers = match request.metadata {
            MetadataDirective::Copy => source.headers.clone(),
            MetadataDirective::Replace(headers) => headers,
            MetadataDirective::Merge(headers) => source.headers.clone().merged(headers),
        };
        headers.check(self.limits())?;
        let tags = request.tags.unwrap_or_else(|| source.attributes.tags.clone());
        let attributes = Attributes { tags, sealing, ..request.attributes };
        target.check_locks(&attributes, self.now())?;
        let checks = BodyChecks {
            length: Some(source.size),
            checksum: expected_checksum(&source, request.checksum),
            ..BodyChecks::default()
        };
        let source_version = source.shown_version;
        let body = self.open(&txn, source, None, request.source_customer_key.as_ref()).await?.body;
        drop(txn);
        let staged = self.stage_body(class, checks, data_key.as_ref(), body).await?;
        let new = staged.into_object(headers, attributes, class, ChangeCause::Copy, data_key.as_ref());
        let target = self.commit_new(&target, &request.target_key, &new, &request.target_conditions).await?;
        Ok(CopyOutcome { target: PutOutcome::from(&target), source_version })
    }

    fn check_copy(
        &self,
        request: &CopyRequest,
        source: &ObjectRecord,
        class: StorageClass,
        encryption: Option<EncryptionKind>,
    ) -> Result<()> {
        let unchanged = request.metadata == MetadataDirective::Copy
            && request.tags.is_none()
            && class == source.class
            && matches!(request.encryption, Encryption::None)
            && (encryption.is_none() || encryption == source.encryption())
            && request.checksum.is_none_or(|algorithm| has_full_checksum(source, algorithm));
        if request.is_onto_itself() && unchanged {
            let reason =
                "an object cannot be copied onto itself without changing its metadata, class, checksum or encryption";
            return Err(Error::InvalidRequest { reason: reason.into() });
        }
        let limit = self.limits().put_bytes_max;
        if source.size > limit {
            let reason = format!("the copy source is larger than {limit} bytes, copy it as parts of an upload");
            return Err(Error::InvalidRequest { reason });
        }
        Ok(())
    }
}

fn has_full_checksum(source: &ObjectRecord, algorithm: ChecksumAlgorithm) -> bool {
    let full = source.checksum.as_ref().filter(|stored| stored.kind == ChecksumKind::FullObject);
    full.is_some_and(|stored| stored.checksum.algorithm() == algorithm)
}

/// A full checksum of the source is held against what was read, so that a copy never launders damage.
fn expected_checksum(source: &ObjectRecord, asked: Option<ChecksumAlgorithm>) -> ExpectedChecksum {
    match (&source.checksum, asked) {
        (Some(stored), _) if has_full_checksum(source, asked.unwrap_or(stored.checksum.algorithm())) => {
            ExpectedChecksum::Value(stored.checksum.clone())
        }
        (_, Some(algorithm)) => ExpectedChecksum::Compute(algorithm),
        (Some(stored), None) => ExpectedChecksum::Compute(stored.checksum.algorithm()),
        (None, None) => ExpectedChecksum::None,
    }
}

#[cfg(test)]
mod tests;
