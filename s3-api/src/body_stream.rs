//! Bodies between `s3s` and the object store, in both directions, without copying.

use crate::error_map::PayloadHashMismatch;
use bytes::Bytes;
use cistern_objects::{BodyError, ObjectBody};
use futures::Stream;
use s3s::StdError;
use s3s::dto::StreamingBlob;
use s3s::stream::{ByteStream, RemainingLength};
use std::io;
use std::pin::Pin;
use std::sync::Mutex;
use std::task::{Context, Poll, ready};

/// A request's body as the object store reads it. A missing body is an empty one.
#[derive(Debug)]
pub(crate) struct RequestBody(Option<StreamingBlob>);

impl RequestBody {
    pub(crate) fn new(body: Option<StreamingBlob>) -> Self {
        Self(body)
    }
}

impl Stream for RequestBody {
    type Item = Result<Bytes, BodyError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let Some(body) = &mut self.0 else { return Poll::Ready(None) };
        let piece = ready!(Pin::new(body).poll_next(cx));
        Poll::Ready(piece.map(|piece| piece.map_err(|error| body_error(&error))))
    }
}

/// What s3s says about a body that it checks while it is read. Its error types are private, so their texts decide; the
/// tests send each kind of bad body through the whole door.
pub(crate) fn body_error(error: &StdError) -> BodyError {
    let text = error.to_string();
    let is = |words: &str| text.contains(words);
    if is("Sha256Mismatch") {
        return BodyError::Io(io::Error::new(io::ErrorKind::InvalidData, PayloadHashMismatch));
    }
    if is("SignatureMismatch") {
        return BodyError::BadSignature;
    }
    if is("Trailer") {
        return BodyError::BadTrailer { reason: "it is too large".into() };
    }
    if is("FormatError") || is("ChunkMetaTooLarge") || is("malformed chunk") {
        return BodyError::BadChunk { reason: "the aws-chunked coding of the body is broken".into() };
    }
    if is("chunk too large") {
        return BodyError::BadChunk { reason: text };
    }
    if is("Incomplete") || is("LengthMismatch") || is("ended early") {
        return BodyError::Incomplete;
    }
    if is("body idle") {
        return BodyError::Io(io::Error::new(io::ErrorKind::TimedOut, text));
    }
    BodyError::Io(io::Error::other(text))
}

/// An object's bytes as s3s sends them. Asks for `Sync`, which the stream is not: nobody shares it, the lock is never
/// waited for.
pub(crate) struct AnswerBody {
    body: Mutex<ObjectBody>,
    remaining_bytes: u64,
}

impl AnswerBody {
    /// The body of an answer of `length` bytes.
    pub(crate) fn blob(body: ObjectBody, length: u64) -> StreamingBlob {
        StreamingBlob::new(Self { body: Mutex::new(body), remaining_bytes: length })
    }
}

impl Stream for AnswerBody {
    type Item = Result<Bytes, StdError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let body = match self.body.get_mut() {
            Ok(body) => body,
            Err(poisoned) => poisoned.into_inner(),
        };
        let piece = ready!(body.as_mut().poll_next(cx));
        if let Some(Ok(bytes)) = &piece {
            self.remaining_bytes = self.remaining_bytes.saturating_sub(bytes.len() as u64);
        }
        if let Some(Err(error)) = &piece {
            // The head of the answer is gone: all that is left is to cut the connection, and to say why here.
            let cause = std::error::Error::source(error).map(ToString::to_string);
            tracing::error!(%error, cause, "an answer broke off: the object could not be read to its end");
        }
        Poll::Ready(piece.map(|piece| piece.map_err(StdError::from)))
    }
}

impl ByteStream for AnswerBody {
    fn remaining_length(&self) -> RemainingLength {
        usize::try_from(self.remaining_bytes).map_or_else(|_| RemainingLength::unknown(), RemainingLength::new_exact)
    }
}
