//! Clients that stop half way and keep their connection: each is let go after a while, or they would hold every connection there is.

use super::house::House;
use super::request::Door;
use cistern_tests::http::Connection;
use cistern_tests::wait;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

/// The server's own limit is a minute.
const LIMIT: Duration = Duration::from_secs(90);
const READ_LIMIT: Duration = Duration::from_secs(1);

/// What is sent before the client stops, filled in by `Values`.
const STALLS: [(Door, &str, &str); 12] = [
    (Door::S3, "nothing", ""),
    (Door::S3, "half a head", "GET / HTTP/1.1\r\nhost: x\r\n"),
    (
        Door::S3,
        "half a form",
        "POST /fuzz HTTP/1.1\r\nhost: x\r\ncontent-type: multipart/form-data; boundary=b\r\ncontent-length: 100\r\n\r\n--b",
    ),
    (Door::S3, "a request, then nothing", "GET / HTTP/1.1\r\nhost: x\r\n\r\n"),
    (Door::Management, "nothing", ""),
    (Door::Management, "half a head", "GET / HTTP/1.1\r\nhost: x\r\n"),
    (
        Door::Management,
        "half a body",
        "POST /client/v4/accounts/<<ACCOUNT>>/r2/buckets HTTP/1.1\r\nhost: x\r\nauthorization: Bearer <<TOKEN>>\r\ncontent-length: 100\r\n\r\n{",
    ),
    (Door::Management, "a request, then nothing", "GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n"),
    (Door::Ingest, "nothing", ""),
    (Door::Ingest, "half a head", "POST /clicks HTTP/1.1\r\nhost: x\r\n"),
    (
        Door::Ingest,
        "half a body",
        "POST /clicks HTTP/1.1\r\nhost: x\r\nauthorization: Bearer <<SEND>>\r\ncontent-length: 100\r\n\r\n{",
    ),
    (Door::Ingest, "a request, then nothing", "GET / HTTP/1.1\r\nhost: x\r\n\r\n"),
];

/// Whether the server closes the connection within the limit.
fn is_let_go(host: &str, sent: &[u8]) -> bool {
    let mut stream = TcpStream::connect(host).unwrap();
    stream.set_read_timeout(Some(READ_LIMIT)).unwrap();
    stream.write_all(sent).unwrap();
    let start = wait::now();
    let mut piece = [0; 4096];
    while start.elapsed() < LIMIT {
        match stream.read(&mut piece) {
            Ok(0) => return true,
            Err(error) if !matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => return true,
            _ => {}
        }
    }
    false
}

#[test]
fn clients_that_stop_half_way_are_let_go() {
    if super::setting("CISTERN_DAMAGED_SECONDS").is_none() {
        println!("damaged: clients that stop half way take more than a minute: in `cargo xtask soak` only");
        return;
    }
    let house = House::new();
    let held: Vec<String> = std::thread::scope(|scope| {
        let waiting = STALLS.map(|(door, what, sent)| {
            let (host, sent) = (house.host(door), house.values.fill(sent.as_bytes()));
            (door, what, scope.spawn(move || is_let_go(host, &sent)))
        });
        let waited = waiting.into_iter().map(|(door, what, thread)| (door, what, thread.join().unwrap()));
        waited.filter(|(.., let_go)| !let_go).map(|(door, what, _)| format!("{door:?}: {what}")).collect()
    });
    assert!(held.is_empty(), "connections held open for {} s after {held:#?}", LIMIT.as_secs());
}

/// Lengths of bodies that together are more than the ingest listener has room for; the small ones take what the large ones leave.
const LENGTHS: [usize; 7] = [5_000_000, 500_000, 50_000, 5000, 500, 50, 5];
const STALLS_PER_LENGTH: usize = 20;

#[test]
fn bodies_that_stop_half_way_keep_events_of_others_out_for_a_while_at_most() {
    if super::setting("CISTERN_DAMAGED_SECONDS").is_none() {
        println!("damaged: room that stalled bodies take is free again after a minute: in `cargo xtask soak` only");
        return;
    }
    let house = House::new();
    let head = "POST /clicks HTTP/1.1\r\nhost: x\r\nauthorization: Bearer <<SEND>>\r\ncontent-length: ";
    let mut stalled = Vec::new();
    for length in LENGTHS {
        for _ in 0..STALLS_PER_LENGTH {
            let mut stream = TcpStream::connect(house.host(Door::Ingest)).unwrap();
            stream.write_all(&house.values.fill(format!("{head}{length}\r\n\r\n[").as_bytes())).unwrap();
            stalled.push(stream);
        }
        // those that find no room are refused by then
        wait::let_pass(2 * READ_LIMIT);
    }
    let token = String::from_utf8(house.values.fill(b"Bearer <<SEND>>")).unwrap();
    let mut last = String::new();
    let waited = wait::until("events of others are taken", LIMIT, || {
        let headers = [("authorization".to_owned(), token.clone())];
        let answer = Connection::open(house.host(Door::Ingest))?.send("POST", "/clicks", &headers, br#"[{"a":1}]"#)?;
        last = format!("{} {}", answer.status, answer.text());
        Ok((answer.status == 200).then_some(()))
    });
    assert!(waited.is_ok(), "{} bodies that stopped half way keep all others out: {last}", stalled.len());
}
