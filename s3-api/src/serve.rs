//! Connections: accepted, bounded, served, and let go when the server stops.

use crate::facts::Peer;
use crate::{S3Door, ServeLimits};
use cistern_runtime::{Backoff, Shutdown};
use http::Request;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use s3s::Body;
use std::convert::Infallible;
use std::net::IpAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

/// How serving ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Served {
    /// Connections whose requests did not end in time and were cut.
    pub cut: usize,
}

/// Serves `door` on `listener` until `shutdown` begins; then accepts nothing more, lets requests under way end within
/// [`ServeLimits::stop_timeout`], and cuts what remains.
///
/// `TCP_NODELAY` is set on every connection: without it a small answer waits some 40 ms for the client's delayed ACK.
pub async fn serve(listener: TcpListener, door: S3Door, limits: ServeLimits, shutdown: Shutdown) -> Served {
    let builder = Arc::new(connection_builder(&limits));
    let room = Arc::new(Semaphore::new(limits.connections_max));
    let mut connections = JoinSet::new();
    let mut backoff = Backoff::new(Duration::from_millis(5), Duration::from_secs(1));
    loop {
        let stream = tokio::select! {
            () = shutdown.begun() => break,
            Some(_) = connections.join_next() => {
                door.metrics().connections(connections.len());
                continue;
            }
            accepted = accept(&listener, &room) => accepted,
        };
        match stream {
            Ok((stream, peer, permit)) => {
                backoff.reset();
                let (builder, limits) = (Arc::clone(&builder), limits.clone());
                let (door, shutdown) = (door.clone(), shutdown.clone());
                connections.spawn(async move {
                    serve_connection(&builder, &limits, stream, Peer(peer), door, shutdown).await;
                    drop(permit);
                });
            }
            Err(error) => {
                // Out of file descriptors, or a client that left while it waited: neither ends the server.
                tracing::warn!(%error, "a connection could not be accepted");
                backoff.pause().await;
            }
        }
        door.metrics().connections(connections.len());
    }
    drop(listener);
    let all = async { while connections.join_next().await.is_some() {} };
    let cut = match tokio::time::timeout(limits.stop_timeout, all).await {
        Ok(()) => 0,
        Err(_) => connections.len(),
    };
    connections.shutdown().await;
    door.metrics().connections(0);
    Served { cut }
}

type Accepted = (TcpStream, IpAddr, tokio::sync::OwnedSemaphorePermit);

/// Waits for room first, so that connections beyond the bound stay in the kernel's queue.
async fn accept(listener: &TcpListener, room: &Arc<Semaphore>) -> std::io::Result<Accepted> {
    let permit = Arc::clone(room).acquire_owned().await.map_err(std::io::Error::other)?;
    let (stream, peer) = listener.accept().await?;
    stream.set_nodelay(true)?;
    Ok((stream, peer.ip(), permit))
}

fn connection_builder(limits: &ServeLimits) -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.header_read_timeout)
        .max_buf_size(limits.header_bytes_max);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(limits.streams_max)
        .max_header_list_size(u32::try_from(limits.header_bytes_max).unwrap_or(u32::MAX))
        .keep_alive_interval(limits.header_read_timeout);
    builder
}

/// Ends when a connection has not made a request in time. hyper begins to count only once it knows which HTTP it is.
async fn silent(spoken: &AtomicBool, limit: Duration) {
    tokio::time::sleep(limit).await;
    if spoken.load(Ordering::Relaxed) {
        std::future::pending::<()>().await;
    }
}

/// Serves one connection, plain or wrapped in TLS, to its end.
async fn serve_connection(
    builder: &Builder<TokioExecutor>,
    limits: &ServeLimits,
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    peer: Peer,
    door: S3Door,
    shutdown: Shutdown,
) {
    let spoken = Arc::new(AtomicBool::new(false));
    let heard = Arc::clone(&spoken);
    let service = service_fn(move |mut request: Request<Incoming>| {
        heard.store(true, Ordering::Relaxed);
        let door = door.clone();
        request.extensions_mut().insert(peer);
        async move { Ok::<_, Infallible>(door.handle(request.map(Body::from)).await) }
    });
    let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), service));
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = silent(&spoken, limits.header_read_timeout) => return,
        () = shutdown.begun() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection ended with an error");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn accepted_connections_send_small_answers_at_once() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let room = Arc::new(Semaphore::new(1));
        let _client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (stream, _, _permit) = accept(&listener, &room).await.unwrap();
        assert!(stream.nodelay().unwrap());
        assert_eq!(room.available_permits(), 0, "a connection takes room until it ends");
    }
}
