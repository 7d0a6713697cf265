//! The loop every listener runs.

use crate::{ServeLimits, Stream, Tls};
use cistern_runtime::{Backoff, Shutdown};
use prometheus_client::metrics::gauge::Gauge;
use std::fmt::{self, Display};
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;

/// A bound socket and how connections through it are made.
#[derive(Debug)]
pub struct Listener {
    /// The socket.
    pub socket: TcpListener,
    /// With which certificate; `None` speaks in clear.
    pub tls: Option<Tls>,
    /// Shows how many connections are open.
    pub open: Gauge,
}

/// Where a listener is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Endpoint {
    /// Its address.
    pub address: SocketAddr,
    /// Whether it speaks TLS.
    pub tls: bool,
}

impl Endpoint {
    /// `scheme`, with an `s` for TLS, and an address such as `127.0.0.1:9000` as a URL.
    pub fn url(self, scheme: &str, address: impl Display) -> String {
        let secure = if self.tls { "s" } else { "" };
        format!("{scheme}{secure}://{address}")
    }
}

/// As `http` or `https`.
impl Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.url("http", self.address))
    }
}

impl Listener {
    /// Where it is.
    pub fn endpoint(&self) -> std::io::Result<Endpoint> {
        Ok(Endpoint { address: self.socket.local_addr()?, tls: self.tls.is_some() })
    }
}

/// A connection to be served.
#[derive(Debug)]
pub struct Connection {
    /// Its bytes.
    pub stream: Stream,
    /// Who is at the other end.
    pub peer: SocketAddr,
    /// The address the client reached us at.
    pub local: SocketAddr,
    /// Begins when the server stops: no new requests then.
    pub shutdown: Shutdown,
}

/// How serving ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Served {
    /// Connections whose requests did not end in time and were cut.
    pub cut: usize,
}

/// Serves connections with `handle`, each in a task of its own, until `shutdown` begins; then accepts nothing more, lets
/// those under way end within [`ServeLimits::stop_timeout`], and cuts what remains.
///
/// `TCP_NODELAY` is set on every connection: without it a small answer waits some 40 ms for the client's delayed ACK.
pub async fn serve<H, F>(listener: Listener, limits: &ServeLimits, shutdown: Shutdown, handle: H) -> Served
where
    H: Fn(Connection) -> F + Clone + Send + 'static,
    F: Future<Output = ()> + Send + 'static,
{
    let Listener { socket, tls, open } = listener;
    let room = Arc::new(Semaphore::new(limits.connections_max));
    let mut connections = JoinSet::new();
    let mut backoff = Backoff::new(Duration::from_millis(5), Duration::from_secs(1));
    let show = |count: usize| {
        open.set(i64::try_from(count).unwrap_or(i64::MAX));
    };
    loop {
        let accepted = tokio::select! {
            () = shutdown.begun() => break,
            Some(_) = connections.join_next() => {
                show(connections.len());
                continue;
            }
            accepted = accept(&socket, &room) => accepted,
        };
        match accepted {
            Ok(accepted) => {
                backoff.reset();
                let (tls, handle, shutdown) = (tls.clone(), handle.clone(), shutdown.clone());
                connections.spawn(enter(accepted, tls, limits.silence_max, shutdown, handle));
            }
            Err(error) => {
                // Out of file descriptors, or a client that left while it waited: neither ends the server.
                tracing::warn!(%error, "a connection could not be accepted");
                backoff.pause().await;
            }
        }
        show(connections.len());
    }
    drop(socket);
    let all = async { while connections.join_next().await.is_some() {} };
    let cut = match tokio::time::timeout(limits.stop_timeout, all).await {
        Ok(()) => 0,
        Err(_) => connections.len(),
    };
    connections.shutdown().await;
    show(0);
    Served { cut }
}

struct Accepted {
    stream: TcpStream,
    peer: SocketAddr,
    local: SocketAddr,
    permit: OwnedSemaphorePermit,
}

/// Waits for room first, so that connections beyond the bound stay in the kernel's queue.
async fn accept(socket: &TcpListener, room: &Arc<Semaphore>) -> std::io::Result<Accepted> {
    let permit = Arc::clone(room).acquire_owned().await.map_err(std::io::Error::other)?;
    let (stream, peer) = socket.accept().await?;
    stream.set_nodelay(true)?;
    let local = stream.local_addr()?;
    Ok(Accepted { stream, peer, local, permit })
}

/// Serves one connection to its end, after the handshake where there is one.
async fn enter<H, F>(accepted: Accepted, tls: Option<Tls>, silence_max: Duration, shutdown: Shutdown, handle: H)
where
    H: Fn(Connection) -> F,
    F: Future<Output = ()>,
{
    let Accepted { stream, peer, local, permit } = accepted;
    let stream = match tls {
        None => Stream::Plain(stream),
        Some(tls) => {
            let shaken = tokio::select! {
                () = shutdown.begun() => return,
                shaken = tokio::time::timeout(silence_max, tls.accept(stream)) => shaken,
            };
            match shaken {
                Ok(Ok(stream)) => Stream::Tls(Box::new(stream)),
                Ok(Err(error)) => return tracing::debug!(%peer, %error, "a TLS handshake failed"),
                Err(_) => return tracing::debug!(%peer, "a TLS handshake took too long"),
            }
        }
    };
    handle(Connection { stream, peer, local, shutdown }).await;
    drop(permit);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn accepted_connections_send_small_answers_at_once() {
        let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let room = Arc::new(Semaphore::new(1));
        let client = TcpStream::connect(socket.local_addr().unwrap()).await.unwrap();
        let accepted = accept(&socket, &room).await.unwrap();
        assert!(accepted.stream.nodelay().unwrap());
        assert_eq!((accepted.peer, accepted.local), (client.local_addr().unwrap(), client.peer_addr().unwrap()));
        assert_eq!(room.available_permits(), 0, "a connection takes room until it ends");
    }

    #[tokio::test]
    async fn connections_beyond_the_bound_wait_until_one_ends() {
        let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, open, shutdown) = (socket.local_addr().unwrap(), Gauge::default(), Shutdown::new());
        let listener = Listener { socket, tls: None, open: open.clone() };
        let (entered, mut seen) = tokio::sync::mpsc::channel(2);
        let limits = ServeLimits { connections_max: 1, ..ServeLimits::default() };
        let handle = move |connection: Connection| {
            let entered = entered.clone();
            async move {
                entered.send(connection.peer).await.unwrap();
                connection.shutdown.begun().await;
                drop(connection.stream);
            }
        };
        let stop = shutdown.child();
        let serving = tokio::spawn(async move { serve(listener, &limits, stop, handle).await });
        let first = TcpStream::connect(address).await.unwrap();
        assert_eq!(seen.recv().await, Some(first.local_addr().unwrap()));
        let _second = TcpStream::connect(address).await.unwrap();
        tokio::task::yield_now().await;
        assert!(seen.try_recv().is_err(), "the second waits");
        assert_eq!(open.get(), 1);
        shutdown.begin();
        assert_eq!(serving.await.unwrap(), Served { cut: 0 });
        assert_eq!(open.get(), 0);
    }
}
