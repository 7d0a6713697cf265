//! Gives up a body whose next bytes do not come, so that a client that stalls does not hold a connection for ever.

use http_body::{Body, Frame, SizeHint};
use std::error::Error;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::{Instant, Sleep, sleep};

/// Why a body failed: nothing came for this long.
#[derive(Debug, thiserror::Error)]
#[error("nothing of the body came for {} seconds", limit.as_secs())]
pub struct BodyIdle {
    limit: Duration,
}

/// A body that fails with [`BodyIdle`] when it pauses for longer than a limit.
#[derive(Debug)]
pub struct IdleLimited<B> {
    body: B,
    limit: Duration,
    timer: Pin<Box<Sleep>>,
}

impl<B> IdleLimited<B> {
    /// `body` with a limit that begins to count now. Must be called inside a tokio runtime.
    pub fn new(body: B, limit: Duration) -> Self {
        Self { body, limit, timer: Box::pin(sleep(limit)) }
    }
}

impl<B: Body<Error: Into<Box<dyn Error + Send + Sync>>> + Unpin> Body for IdleLimited<B> {
    type Data = B::Data;
    type Error = Box<dyn Error + Send + Sync>;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<B::Data>, Self::Error>>> {
        let this = &mut *self;
        if let Poll::Ready(frame) = Pin::new(&mut this.body).poll_frame(cx) {
            this.timer.as_mut().reset(Instant::now() + this.limit);
            return Poll::Ready(frame.map(|frame| frame.map_err(Into::into)));
        }
        let limit = this.limit;
        this.timer.as_mut().poll(cx).map(|()| Some(Err(BodyIdle { limit }.into())))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
