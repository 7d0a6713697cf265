//! HTTP/1.1 and HTTP/2 over connections of a listener.

use crate::alarm::ConnectionTimer;
use crate::{Connection, Listener, ServeLimits, Served, Stream, accept};
use bytes::Bytes;
use cistern_runtime::Shutdown;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use http::{Request, Response, Version};
use http_body::Body;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use parking_lot::Mutex;
use std::convert::Infallible;
use std::error::Error;
use std::fmt;
use std::future::Future;
use std::net::IpAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Where a request came from, and how; an extension of every request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer {
    /// Who is at the other end.
    pub ip: IpAddr,
    /// Whether it came over TLS.
    pub secure: bool,
}

/// What becomes of a connection that leaves HTTP (101 Switching Protocols); an extension of every HTTP/1.1 request.
///
/// The work runs as part of the connection: it counts among the open ones and ends with them.
#[derive(Clone, Default)]
pub struct AfterUpgrade(Arc<Mutex<Option<Work>>>);

type Work = Box<dyn FnOnce(Shutdown) -> BoxFuture<'static, ()> + Send>;

impl AfterUpgrade {
    /// Sets what is done once the answer is sent. `work` gets the signal that the server stops, and takes the connection
    /// from the request's `hyper::upgrade::OnUpgrade`.
    pub fn set<F: Future<Output = ()> + Send + 'static>(&self, work: impl FnOnce(Shutdown) -> F + Send + 'static) {
        *self.0.lock() = Some(Box::new(|shutdown| work(shutdown).boxed()));
    }

    fn take(&self) -> Option<Work> {
        self.0.lock().take()
    }
}

impl fmt::Debug for AfterUpgrade {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AfterUpgrade").field("set", &self.0.lock().is_some()).finish()
    }
}

/// Serves HTTP with `answer` until `shutdown` begins, as [`crate::serve`] does; then each connection ends after the requests
/// that are under way.
pub async fn serve_http<A, F, B>(listener: Listener, limits: &ServeLimits, shutdown: Shutdown, answer: A) -> Served
where
    A: Fn(Request<Incoming>) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Response<B>> + Send + 'static,
    B: Body<Data = Bytes, Error: Into<Box<dyn Error + Send + Sync>>> + Send + 'static,
{
    let of_each = Arc::new(limits.clone());
    accept::serve(listener, limits, shutdown, move |connection| {
        let (limits, answer) = (Arc::clone(&of_each), answer.clone());
        async move { serve_connection(&limits, connection, answer).await }
    })
    .await
}

/// How one connection is served: its timer is its own.
fn connection_builder(limits: &ServeLimits) -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(ConnectionTimer::default())
        .header_read_timeout(limits.silence_max)
        .max_buf_size(limits.header_bytes_max);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(limits.streams_max)
        .max_header_list_size(u32::try_from(limits.header_bytes_max).unwrap_or(u32::MAX))
        .keep_alive_interval(limits.silence_max);
    builder
}

/// Ends when a connection has not made a request in time. hyper begins to count only once it knows which HTTP it is.
async fn silent(spoken: &AtomicBool, limit: Duration) {
    tokio::time::sleep(limit).await;
    if spoken.load(Ordering::Relaxed) {
        std::future::pending::<()>().await;
    }
}

/// Serves one connection to its end.
async fn serve_connection<A, F, B>(limits: &ServeLimits, connection: Connection, answer: A)
where
    A: Fn(Request<Incoming>) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Response<B>> + Send + 'static,
    B: Body<Data = Bytes, Error: Into<Box<dyn Error + Send + Sync>>> + Send + 'static,
{
    let Connection { stream, peer, shutdown, .. } = connection;
    let peer = Peer { ip: peer.ip(), secure: stream.is_tls() };
    let (spoken, upgrade) = (Arc::new(AtomicBool::new(false)), AfterUpgrade::default());
    let (heard, after) = (Arc::clone(&spoken), upgrade.clone());
    let service = service_fn(move |mut request: Request<Incoming>| {
        heard.store(true, Ordering::Relaxed);
        request.extensions_mut().insert(peer);
        if request.version() == Version::HTTP_11 {
            request.extensions_mut().insert(after.clone());
        }
        answer(request).map(Ok::<_, Infallible>)
    });
    let io: TokioIo<Stream> = TokioIo::new(stream);
    let builder = connection_builder(limits);
    let mut http = pin!(builder.serve_connection_with_upgrades(io, service));
    let ended = tokio::select! {
        ended = http.as_mut() => ended,
        () = silent(&spoken, limits.silence_max) => return,
        () = shutdown.begun() => {
            http.as_mut().graceful_shutdown();
            http.await
        }
    };
    match (ended, upgrade.take()) {
        (Ok(()), Some(work)) => work(shutdown).await,
        (Ok(()), None) => {}
        (Err(error), _) => tracing::debug!(%error, "a connection ended with an error"),
    }
}

#[cfg(test)]
mod tests;
