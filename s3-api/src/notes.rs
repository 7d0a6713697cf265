//! `Notes`: what one request's stations tell each other beside the request itself, carried in its extensions.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use cistern_access::Identity;
use cistern_objects::BucketRecord;
use cistern_types::Timestamp;
use http::Extensions;
use s3s::{S3Error, S3ErrorCode};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

/// What the watcher in front of the parser has seen of an XML body.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum BodySeen {
    /// Nobody has read it.
    #[default]
    Unread,
    /// Sound as far as it was read.
    Sound,
    /// It is longer than an XML body may be.
    TooLarge,
    /// It did not come to its end.
    Broken,
    /// Its MD5 or checksum is not the one the request promised.
    BadDigest,
    /// It is sound, but spelled so that s3s would misread it.
    Misspelled,
}

/// The notes of one request. Shared by cloning the `Arc`.
#[derive(Debug)]
pub(crate) struct Notes {
    /// `x-amz-request-id`: 16 upper-case hex digits.
    pub(crate) request_id: String,
    /// `x-amz-id-2`: what a support desk would ask for; here random bytes of the same request.
    pub(crate) extended_id: String,
    /// When the request came.
    pub(crate) received: Timestamp,
    operation: OnceLock<&'static str>,
    session: OnceLock<Arc<Identity>>,
    asker: OnceLock<Arc<Identity>>,
    bucket: OnceLock<Arc<BucketRecord>>,
    body_seen: Mutex<BodySeen>,
    respelled: OnceLock<Respelled>,
    xml: OnceLock<Bytes>,
    about: OnceLock<Vec<(&'static str, String)>>,
    reached: AtomicBool,
}

/// An XML body that s3s would misread.
#[derive(Debug)]
pub(crate) struct Respelled {
    /// As it came.
    pub(crate) original: Bytes,
    /// The same in a spelling that s3s reads.
    pub(crate) body: Bytes,
}

impl Notes {
    pub(crate) fn new(received: Timestamp) -> Arc<Self> {
        let random: [u8; 32] = rand::random();
        let (request_id, extended_id) = random.split_at(8);
        Arc::new(Self {
            request_id: hex::encode_upper(request_id),
            extended_id: STANDARD.encode(extended_id),
            received,
            operation: OnceLock::new(),
            session: OnceLock::new(),
            asker: OnceLock::new(),
            bucket: OnceLock::new(),
            body_seen: Mutex::default(),
            respelled: OnceLock::new(),
            xml: OnceLock::new(),
            about: OnceLock::new(),
            reached: AtomicBool::new(false),
        })
    }

    /// The notes that the front put into a request's extensions.
    pub(crate) fn of(extensions: &Extensions) -> Result<Arc<Self>, S3Error> {
        // Only a request that did not come through the front lacks them.
        extensions.get::<Arc<Self>>().cloned().ok_or_else(|| S3Error::new(S3ErrorCode::InternalError))
    }

    /// The operation's name, once the access check knows it.
    pub(crate) fn operation(&self) -> Option<&'static str> {
        self.operation.get().copied()
    }

    pub(crate) fn set_operation(&self, name: &'static str) {
        self.operation.get_or_init(|| name);
    }

    /// Whose session token the request carries. Whether he signed it is s3s's to say.
    pub(crate) fn session(&self) -> Option<&Arc<Identity>> {
        self.session.get()
    }

    pub(crate) fn set_session(&self, identity: Arc<Identity>) {
        self.session.get_or_init(|| identity);
    }

    /// Who signed the request, once it is allowed; `None` when nobody did.
    pub(crate) fn asker(&self) -> Option<&Identity> {
        self.asker.get().map(Arc::as_ref)
    }

    /// Who signed a request that nobody may send unsigned.
    pub(crate) fn identity(&self) -> Result<&Arc<Identity>, S3Error> {
        self.asker.get().ok_or_else(|| S3Error::new(S3ErrorCode::AccessDenied))
    }

    pub(crate) fn set_asker(&self, identity: Arc<Identity>) {
        self.asker.get_or_init(|| identity);
    }

    /// The bucket that the request is about, as it was when the request was allowed.
    pub(crate) fn bucket(&self) -> Result<&BucketRecord, S3Error> {
        self.known_bucket().ok_or_else(|| S3Error::new(S3ErrorCode::InternalError))
    }

    /// The same, when there is one that got so far.
    pub(crate) fn known_bucket(&self) -> Option<&BucketRecord> {
        self.bucket.get().map(Arc::as_ref)
    }

    pub(crate) fn set_bucket(&self, bucket: Arc<BucketRecord>) {
        self.bucket.get_or_init(|| bucket);
    }

    /// What was seen of the XML body.
    pub(crate) fn body_seen(&self) -> BodySeen {
        *self.body_seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn set_body_seen(&self, seen: BodySeen) {
        *self.body_seen.lock().unwrap_or_else(PoisonError::into_inner) = seen;
    }

    /// The XML body, when it had to be respelled: who sent it, and that he may, is known by then.
    pub(crate) fn respelled(&self) -> Option<&Respelled> {
        self.respelled.get()
    }

    pub(crate) fn set_respelled(&self, body: Respelled) {
        self.respelled.get_or_init(|| body);
    }

    /// The XML body in a spelling that s3s reads, once it has been read; for what s3s does not take out of it.
    pub(crate) fn xml(&self) -> Option<&Bytes> {
        self.respelled().map(|respelled| &respelled.body).or(self.xml.get())
    }

    pub(crate) fn set_xml(&self, body: Bytes) {
        self.xml.get_or_init(|| body);
    }

    /// What the error that the request ends with is about: names and texts of XML elements.
    pub(crate) fn about(&self) -> &[(&'static str, String)] {
        self.about.get().map_or(&[], Vec::as_slice)
    }

    pub(crate) fn set_about(&self, members: Vec<(&'static str, String)>) {
        self.about.get_or_init(|| members);
    }

    /// Whether the request got as far as its operation.
    pub(crate) fn reached(&self) -> bool {
        self.reached.load(Ordering::Relaxed)
    }

    pub(crate) fn set_reached(&self) {
        self.reached.store(true, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_request_has_ids_of_its_own() {
        let ids: std::collections::BTreeSet<_> =
            (0..1000).map(|_| Notes::new(Timestamp::default()).request_id.clone()).collect();
        assert_eq!(ids.len(), 1000);
        assert!(ids.iter().all(|id| id.len() == 16 && id.bytes().all(|b| b"0123456789ABCDEF".contains(&b))));
    }
}
