//! Over real connections: clients that stall are let go, and a connection that leaves HTTP stays part of its listener.

use super::*;
use crate::IdleLimited;
use http::{HeaderValue, StatusCode, header};
use http_body_util::{BodyExt as _, Full};
use hyper::upgrade::OnUpgrade;
use prometheus_client::metrics::gauge::Gauge;
use std::net::SocketAddr;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

struct Serving {
    address: SocketAddr,
    shutdown: Shutdown,
    ended: JoinHandle<Served>,
}

/// Serves `answer` with limits of a minute.
async fn serving<A, F>(answer: A) -> Serving
where
    A: Fn(Request<Incoming>) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Response<Full<Bytes>>> + Send + 'static,
{
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    let listener = Listener { socket, tls: None, open: Gauge::default() };
    let (limits, shutdown) = (ServeLimits::default(), Shutdown::new());
    let stop = shutdown.clone();
    let ended = tokio::spawn(async move { serve_http(listener, &limits, stop, answer).await });
    Serving { address, shutdown, ended }
}

/// Reads the whole body, which may pause for a minute.
async fn read(request: Request<Incoming>) -> Response<Full<Bytes>> {
    let body = IdleLimited::new(request.into_body(), Duration::from_mins(1)).collect().await;
    let (status, text) = match body {
        Ok(body) => (StatusCode::OK, body.to_bytes()),
        Err(error) => (StatusCode::BAD_REQUEST, error.to_string().into()),
    };
    let mut answer = Response::new(Full::new(text));
    *answer.status_mut() = status;
    answer
}

#[tokio::test(start_paused = true)]
async fn clients_that_stop_half_way_are_let_go() {
    let serving = serving(read).await;
    for (said, answered) in [
        ("", ""),
        ("P", ""),
        ("POST / HTTP/1.1\r\nhost: x\r\n", ""),
        ("POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\n\r\n12", "nothing of the body came for 60 seconds"),
        ("POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\n\r\n12345", "12345"),
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", ""),
    ] {
        let mut stream = TcpStream::connect(serving.address).await.unwrap();
        stream.write_all(said.as_bytes()).await.unwrap();
        let mut rest = Vec::new();
        drop(stream.read_to_end(&mut rest).await); // the end, or a reset
        let rest = String::from_utf8_lossy(&rest).into_owned();
        assert!(rest.contains(answered), "{said:?} was answered {rest:?}");
    }
    serving.shutdown.begin();
    assert_eq!(serving.ended.await.unwrap(), Served { cut: 0 });
}

#[tokio::test]
async fn a_connection_that_leaves_http_is_part_of_the_listener_until_it_ends() {
    async fn answer(mut request: Request<Incoming>) -> Response<Full<Bytes>> {
        let after = request.extensions().get::<AfterUpgrade>().unwrap().clone();
        assert!(request.extensions().get::<Peer>().is_some_and(|peer| peer.ip.is_loopback() && !peer.secure));
        let upgrade = request.extensions_mut().remove::<OnUpgrade>().unwrap();
        after.set(async |shutdown: Shutdown| {
            let mut stream = TokioIo::new(upgrade.await.unwrap());
            shutdown.begun().await;
            stream.write_all(b"bye").await.unwrap();
            stream.shutdown().await.unwrap();
        });
        let mut answer = Response::new(Full::default());
        *answer.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        answer.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        answer.headers_mut().insert(header::UPGRADE, HeaderValue::from_static("bye"));
        answer
    }
    let serving = serving(answer).await;
    let mut stream = TcpStream::connect(serving.address).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: bye\r\n\r\n").await.unwrap();
    let mut said = Vec::new();
    while !said.ends_with(b"\r\n\r\n") {
        assert_ne!(stream.read_buf(&mut said).await.unwrap(), 0);
    }
    assert!(said.starts_with(b"HTTP/1.1 101"));
    serving.shutdown.begin();
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).await.unwrap();
    assert_eq!(rest, b"bye");
    assert_eq!(serving.ended.await.unwrap(), Served { cut: 0 });
}
