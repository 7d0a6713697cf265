//! Gives up a body whose next bytes do not come, so that a client that stalls does not hold a connection for ever.

use bytes::Bytes;
use futures::Stream;
use s3s::stream::{ByteStream, DynByteStream, RemainingLength};
use s3s::{Body, StdError};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::{Instant, Sleep, sleep};

/// Why a body failed: nothing came for this long.
#[derive(Debug, thiserror::Error)]
#[error("body idle for {} seconds", limit.as_secs())]
struct BodyIdle {
    limit: Duration,
}

struct IdleBody {
    body: Body,
    limit: Duration,
    timer: Pin<Box<Sleep>>,
}

/// `body`, which fails when it pauses for longer than `limit`.
pub(crate) fn limit_idle(body: Body, limit: Duration) -> Body {
    let body: DynByteStream = Box::pin(IdleBody { body, limit, timer: Box::pin(sleep(limit)) });
    Body::from(body)
}

impl Stream for IdleBody {
    type Item = Result<Bytes, StdError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        if let Poll::Ready(piece) = Pin::new(&mut this.body).poll_next(cx) {
            this.timer.as_mut().reset(Instant::now() + this.limit);
            return Poll::Ready(piece);
        }
        match this.timer.as_mut().poll(cx) {
            Poll::Ready(()) => Poll::Ready(Some(Err(BodyIdle { limit: this.limit }.into()))),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl ByteStream for IdleBody {
    fn remaining_length(&self) -> RemainingLength {
        self.body.remaining_length()
    }
}
