//! Real connections: answers without delay, heads without bodies, a stop that loses nothing.

use crate::house::{Call, House, house_with_bucket};
use crate::sign::UNSIGNED;
use cistern_net::{Listener, ServeLimits, Served};
use cistern_runtime::Shutdown;
use prometheus_client::metrics::gauge::Gauge;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::Instant;

struct Served1 {
    address: SocketAddr,
    shutdown: Shutdown,
    ended: JoinHandle<Served>,
}

async fn serving(house: &House, limits: ServeLimits) -> Served1 {
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    let listener = Listener { socket, tls: None, open: Gauge::default() };
    let (door, shutdown) = (house.door.clone(), Shutdown::new());
    let stop = shutdown.clone();
    let ended = tokio::spawn(async move { door.serve(listener, &limits, stop).await });
    Served1 { address, shutdown, ended }
}

/// A signed call as the bytes of an HTTP/1.1 request.
fn wire(house: &House, call: &Call) -> Vec<u8> {
    let request = call.sign(&house.root, |_, _, _| Vec::new());
    let mut bytes = format!("{} {} HTTP/1.1\r\n", request.method(), request.uri()).into_bytes();
    for (name, value) in request.headers() {
        bytes.extend_from_slice(format!("{name}: {}\r\n", value.to_str().unwrap()).as_bytes());
    }
    bytes.extend_from_slice(b"\r\n");
    bytes.extend_from_slice(request.body());
    bytes
}

/// Reads the head of an answer; answers it in lower case, and what came after it.
async fn read_head(stream: &mut TcpStream) -> (String, Vec<u8>) {
    let mut bytes = Vec::new();
    loop {
        if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            let rest = bytes.split_off(end + 4);
            return (String::from_utf8(bytes).unwrap().to_lowercase(), rest);
        }
        assert_ne!(stream.read_buf(&mut bytes).await.unwrap(), 0, "the connection ended in a head");
    }
}

/// Reads one whole answer with a `Content-Length`.
async fn read_answer(stream: &mut TcpStream) -> (String, Vec<u8>) {
    let (head, mut body) = read_head(stream).await;
    let length = head.split("content-length: ").nth(1).and_then(|rest| rest.split("\r\n").next());
    let length: usize = length.map_or(0, |length| length.parse().unwrap());
    while body.len() < length {
        assert_ne!(stream.read_buf(&mut body).await.unwrap(), 0, "the connection ended in a body");
    }
    (head, body)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn small_objects_on_one_connection_do_not_wait_for_delayed_acks() {
    let house = house_with_bucket().await;
    house.put("/photos/k", &"x".repeat(4096)).await;
    let served = serving(&house, ServeLimits::default()).await;
    let mut stream = TcpStream::connect(served.address).await.unwrap();
    stream.set_nodelay(true).unwrap();
    let mut times = Vec::new();
    for _ in 0..50 {
        let request = wire(&house, &Call::get("/photos/k"));
        let began = Instant::now();
        stream.write_all(&request).await.unwrap();
        let (head, body) = read_answer(&mut stream).await;
        times.push(began.elapsed());
        assert!(head.starts_with("http/1.1 200") && body.len() == 4096, "{head}");
    }
    times.sort_unstable();
    println!("4 KiB GET on one connection: median {:?}, worst {:?}", times[25], times[49]);
    assert!(times[25] < Duration::from_millis(10), "{times:?}");
    served.shutdown.begin();
    served.ended.await.unwrap();
}

#[tokio::test]
async fn a_head_has_a_length_and_no_body_and_the_connection_goes_on() {
    let house = house_with_bucket().await;
    house.put("/photos/k", "12345").await;
    let served = serving(&house, ServeLimits::default()).await;
    let mut stream = TcpStream::connect(served.address).await.unwrap();
    for (call, status) in [
        (Call::head("/photos/k"), "200"),
        (Call::head("/photos/none"), "404"),
        (Call::get("/photos/k").header("if-none-match", "*"), "304"),
        (Call::delete("/photos/none"), "204"),
    ] {
        stream.write_all(&wire(&house, &call)).await.unwrap();
        let (head, rest) = read_head(&mut stream).await;
        assert!(head.starts_with(&format!("http/1.1 {status}")), "{head}");
        assert!(head.contains("x-amz-request-id: ") && rest.is_empty(), "{head} {rest:?}");
        assert_eq!(head.contains("content-length: 5"), status == "200", "{head}");
    }
    stream.write_all(&wire(&house, &Call::get("/photos/k"))).await.unwrap();
    assert_eq!(read_answer(&mut stream).await.1, b"12345");
    served.shutdown.begin();
    served.ended.await.unwrap();
}

#[tokio::test]
async fn a_client_that_waits_to_be_asked_for_its_body_is_asked() {
    let house = house_with_bucket().await;
    let served = serving(&house, ServeLimits::default()).await;
    let mut stream = TcpStream::connect(served.address).await.unwrap();
    let request = wire(&house, &Call::put("/photos/k").header("expect", "100-continue").body("12345"));
    let (head, body) = request.split_at(request.len() - 5);
    stream.write_all(head).await.unwrap();
    assert!(read_head(&mut stream).await.0.starts_with("http/1.1 100"));
    stream.write_all(body).await.unwrap();
    assert!(read_answer(&mut stream).await.0.starts_with("http/1.1 200"));
    // Who may not write is told before sending anything.
    let mut stream = TcpStream::connect(served.address).await.unwrap();
    let request = wire(&house, &Call::put("/nothing/k").header("expect", "100-continue").body("12345"));
    stream.write_all(&request[..request.len() - 5]).await.unwrap();
    assert!(read_answer(&mut stream).await.0.starts_with("http/1.1 404"));
    served.shutdown.begin();
    served.ended.await.unwrap();
}

#[tokio::test]
async fn a_client_that_leaves_in_the_middle_of_a_body_changes_nothing() {
    let house = house_with_bucket().await;
    let before = house.state().await;
    let served = serving(&house, ServeLimits::default()).await;
    let mut stream = TcpStream::connect(served.address).await.unwrap();
    let request = wire(&house, &Call::put("/photos/k").body("12345"));
    stream.write_all(&request[..request.len() - 2]).await.unwrap();
    stream.shutdown().await.unwrap();
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).await.unwrap();
    served.shutdown.begin();
    assert_eq!(served.ended.await.unwrap(), Served { cut: 0 });
    assert_eq!(house.state().await, before);
}

#[tokio::test]
async fn a_stop_lets_the_request_under_way_end_and_accepts_no_other() {
    let house = house_with_bucket().await;
    let served = serving(&house, ServeLimits::default()).await;
    let mut stream = TcpStream::connect(served.address).await.unwrap();
    let request = wire(&house, &Call::put("/photos/k").header("expect", "100-continue").body("12345"));
    let (head, body) = request.split_at(request.len() - 5);
    stream.write_all(head).await.unwrap();
    read_head(&mut stream).await;
    served.shutdown.begin();
    stream.write_all(body).await.unwrap();
    assert!(read_answer(&mut stream).await.0.starts_with("http/1.1 200"));
    assert_eq!(served.ended.await.unwrap(), Served { cut: 0 });
    assert!(TcpStream::connect(served.address).await.is_err());
    house.send(&Call::head("/photos/k")).await.expect(200);
}

#[tokio::test(start_paused = true)]
async fn a_stop_does_not_wait_for_ever() {
    let house = house_with_bucket().await;
    let served = serving(&house, ServeLimits { stop_timeout: Duration::from_secs(5), ..ServeLimits::default() }).await;
    let mut stream = TcpStream::connect(served.address).await.unwrap();
    let request = wire(&house, &Call::put("/photos/k").header("expect", "100-continue").body("12345"));
    stream.write_all(&request[..request.len() - 5]).await.unwrap();
    read_head(&mut stream).await;
    served.shutdown.begin();
    assert_eq!(served.ended.await.unwrap(), Served { cut: 1 });
}

#[tokio::test(start_paused = true)]
async fn a_body_that_stops_coming_is_given_up() {
    let house = house_with_bucket().await;
    let before = house.state().await;
    let served = serving(&house, ServeLimits::default()).await;
    let call = Call::put("/photos/k").body("12345");
    for call in [call.clone(), call.payload(UNSIGNED)] {
        let mut stream = TcpStream::connect(served.address).await.unwrap();
        let request = wire(&house, &call);
        stream.write_all(&request[..request.len() - 2]).await.unwrap();
        let (head, body) = read_answer(&mut stream).await;
        assert!(head.starts_with("http/1.1 400"), "{head}");
        assert!(String::from_utf8(body).unwrap().contains("<Code>RequestTimeout</Code>"));
    }
    served.shutdown.begin();
    served.ended.await.unwrap();
    assert_eq!(house.state().await, before);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_says_nothing_is_let_go() {
    let house = house_with_bucket().await;
    let served = serving(&house, ServeLimits::default()).await;
    for said in [b"".as_slice(), b"P", b"GET / HT"] {
        let mut stream = TcpStream::connect(served.address).await.unwrap();
        stream.write_all(said).await.unwrap();
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).await.unwrap();
    }
    served.shutdown.begin();
    served.ended.await.unwrap();
}

#[tokio::test]
async fn a_head_that_is_too_large_is_refused() {
    let house = house_with_bucket().await;
    let served = serving(&house, ServeLimits { header_bytes_max: 16 << 10, ..ServeLimits::default() }).await;
    let mut stream = TcpStream::connect(served.address).await.unwrap();
    let call = Call::get("/photos").header("x-amz-meta-a", &"v".repeat(20 << 10));
    stream.write_all(&wire(&house, &call)).await.unwrap();
    assert!(read_head(&mut stream).await.0.starts_with("http/1.1 431"));
    served.shutdown.begin();
    served.ended.await.unwrap();
}
