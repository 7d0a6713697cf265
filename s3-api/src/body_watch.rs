//! Watches the bodies that s3s gathers and parses itself: XML, at most a few MiB.
//!
//! s3s checks their signed SHA-256 but answers a mismatch as an internal error, and it does not look at `Content-MD5` and
//! `x-amz-checksum-*`. The watcher checks those and notes how the body ended, from which `front.rs` words the answer.

use crate::checksum::ClaimedDigests;
use crate::notes::{BodyEnd, Notes};
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
}

/// Why a watched body fails: its bytes are not the promised ones.
#[derive(Debug, thiserror::Error)]
#[error("digest of the body is not the promised one")]
struct DigestMismatch;

/// `body`, held against `digests`, with its end noted.
pub(crate) fn watch(body: Body, notes: Arc<Notes>, digests: ClaimedDigests) -> Body {
    let watched: DynByteStream = Box::pin(WatchedBody { body, notes, digests: Some(digests) });
    Body::from(watched)
}

impl Stream for WatchedBody {
    type Item = Result<Bytes, StdError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let piece = ready!(Pin::new(&mut self.body).poll_next(cx));
        match &piece {
            Some(Ok(bytes)) => {
                if let Some(digests) = &mut self.digests {
                    digests.update(bytes);
                }
            }
            Some(Err(_)) => self.notes.set_body_end(BodyEnd::Broken),
            None => {
                if self.digests.take().is_some_and(|digests| !digests.hold()) {
                    self.notes.set_body_end(BodyEnd::BadDigest);
                    return Poll::Ready(Some(Err(DigestMismatch.into())));
                }
                self.notes.set_body_end(BodyEnd::Whole);
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
