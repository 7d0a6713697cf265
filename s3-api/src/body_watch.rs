//! Watches the bodies that s3s gathers and parses itself: XML, at most a few MiB.
//!
//! s3s bounds them and checks their signed SHA-256, but answers a fault of either as an internal error, and it does not
//! look at `Content-MD5` and `x-amz-checksum-*`. The watcher checks those and notes what it saw, from which `front.rs`
//! words the answer. A body that s3s would misread ends with an error, and `front.rs` asks again with the body respelled.

use crate::checksum::ClaimedDigests;
use crate::notes::{BodySeen, Notes, Respelled};
use crate::xml_text::respell;
use bytes::{Bytes, BytesMut};
use futures::Stream;
use s3s::stream::{ByteStream, DynByteStream, RemainingLength};
use s3s::{Body, StdError};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

struct WatchedBody {
    body: Body,
    notes: Arc<Notes>,
    digests: Option<ClaimedDigests>,
    bytes_left: usize,
    /// What came so far, when it is XML.
    gathered: Option<BytesMut>,
    bytes_max: usize,
}

/// Why a watched body fails.
#[derive(Debug, thiserror::Error)]
enum WatchError {
    #[error("digest of the body is not the promised one")]
    BadDigest,
    #[error("body is too large")]
    TooLarge,
    #[error("body has to be respelled")]
    Misspelled,
}

/// `body`, held against `digests` and `bytes_max`, with what is seen noted.
pub(crate) fn watch(body: Body, notes: Arc<Notes>, digests: ClaimedDigests, bytes_max: usize, is_xml: bool) -> Body {
    let (digests, gathered) = (Some(digests), is_xml.then(BytesMut::new));
    let watched: DynByteStream =
        Box::pin(WatchedBody { body, notes, digests, bytes_left: bytes_max, gathered, bytes_max });
    Body::from(watched)
}

impl Stream for WatchedBody {
    type Item = Result<Bytes, StdError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let piece = ready!(Pin::new(&mut self.body).poll_next(cx));
        match &piece {
            Some(Ok(bytes)) => {
                let Some(left) = self.bytes_left.checked_sub(bytes.len()) else {
                    self.notes.set_body_seen(BodySeen::TooLarge);
                    return Poll::Ready(Some(Err(WatchError::TooLarge.into())));
                };
                self.bytes_left = left;
                self.notes.set_body_seen(BodySeen::Sound);
                if let Some(digests) = &mut self.digests {
                    digests.update(bytes);
                }
                if let Some(gathered) = &mut self.gathered {
                    gathered.extend_from_slice(bytes);
                }
            }
            Some(Err(_)) => self.notes.set_body_seen(BodySeen::Broken),
            None => {
                if self.digests.take().is_some_and(|digests| !digests.hold()) {
                    self.notes.set_body_seen(BodySeen::BadDigest);
                    return Poll::Ready(Some(Err(WatchError::BadDigest.into())));
                }
                let original = self.gathered.take().unwrap_or_default().freeze();
                if let Some(body) = respell(&original) {
                    if body.len() > self.bytes_max {
                        self.notes.set_body_seen(BodySeen::TooLarge);
                        return Poll::Ready(Some(Err(WatchError::TooLarge.into())));
                    }
                    self.notes.set_respelled(Respelled { original, body: body.into() });
                    self.notes.set_body_seen(BodySeen::Misspelled);
                    return Poll::Ready(Some(Err(WatchError::Misspelled.into())));
                }
                self.notes.set_xml(original);
            }
        }
        Poll::Ready(piece)
    }
}

impl ByteStream for WatchedBody {
    fn remaining_length(&self) -> RemainingLength {
        self.body.remaining_length()
    }
}
