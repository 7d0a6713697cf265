//! Watches the bodies that s3s gathers and parses itself: XML, at most a few MiB.
//!
//! s3s bounds them and checks their signed SHA-256, but answers a fault of either as an internal error, and it does not
//! look at `Content-MD5` and `x-amz-checksum-*`. The watcher checks those and notes what it saw, from which `front.rs`
//! words the answer.

use crate::checksum::ClaimedDigests;
use crate::notes::{BodySeen, Notes};
use bytes::Bytes;
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
}

/// Why a watched body fails.
#[derive(Debug, thiserror::Error)]
enum WatchError {
    #[error("digest of the body is not the promised one")]
    BadDigest,
    #[error("body is too large")]
    TooLarge,
}

/// `body`, held against `digests` and `bytes_max`, with what is seen noted.
pub(crate) fn watch(body: Body, notes: Arc<Notes>, digests: ClaimedDigests, bytes_max: usize) -> Body {
    let watched: DynByteStream = Box::pin(WatchedBody { body, notes, digests: Some(digests), bytes_left: bytes_max });
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
            }
            Some(Err(_)) => self.notes.set_body_seen(BodySeen::Broken),
            None => {
                if self.digests.take().is_some_and(|digests| !digests.hold()) {
                    self.notes.set_body_seen(BodySeen::BadDigest);
                    return Poll::Ready(Some(Err(WatchError::BadDigest.into())));
                }
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
