//! Wrong events: the status, a message that says what to do, and nothing of the body is taken.

use crate::sandbox::{Sandbox, server_with_bucket};
use cistern_tests::http::{Connection, Response};
use cistern_tests::{Pipeline, Server};
use flate2::Compression;
use flate2::write::GzEncoder;
use std::io::{Read as _, Write as _};

/// A server with a pipeline that would keep whatever it takes: a batch that stays open for five minutes.
fn wary() -> (Sandbox, Server, Pipeline) {
    let (sandbox, server, _s3) = server_with_bucket("wary");
    let pipeline =
        Pipeline::create(&server, "wary", &["--destination-bucket=wary", "--batch-timeout-secs=300"]).unwrap();
    (sandbox, server, pipeline)
}

#[track_caller]
fn check(what: &str, answer: &Response, status: u16, words: &[&str]) {
    assert_eq!(answer.status, status, "{what}: {}", answer.text());
    let json = answer.json().unwrap();
    assert_eq!(json["success"], false, "{what}: {json}");
    let message = json["errors"][0]["message"].as_str().unwrap_or_default().to_lowercase();
    for word in words {
        assert!(message.contains(&word.to_lowercase()), "{what}: {word:?} is not in {message:?}");
    }
}

#[test]
fn bodies_that_are_no_events_are_refused_whole() {
    let (_sandbox, server, pipeline) = wary();
    let deep = format!("{}1{}", "[".repeat(5000), "]".repeat(5000));
    let large_event = format!("{{\"text\":\"{}\"}}", "x".repeat(1_100_000));
    let good = b"{\"good\":1}\n".to_vec();
    let after_good = |bad: &[u8]| [&good, bad].concat();
    let cases: Vec<(&str, Vec<u8>, u16, &[&str])> = vec![
        ("an unfinished object", after_good(b"{\"a\":"), 400, &[]),
        ("a word that is not JSON", after_good(b"hello"), 400, &[]),
        ("a number as an event", after_good(b"17"), 400, &["object"]),
        ("an empty body", Vec::new(), 400, &[]),
        ("text that is not UTF-8", after_good(b"{\"a\":\"\xFF\xFE\"}"), 400, &["UTF-8"]),
        ("an integer that no column can hold", after_good(b"{\"a\":123456789012345678901234567890}"), 400, &["range"]),
        ("a number that overflows", after_good(b"{\"a\":1e999}"), 400, &["range"]),
        ("an event nested too deep", after_good(format!("{{\"a\":{deep}}}").as_bytes()), 400, &["deep"]),
        ("an event over the limit", after_good(large_event.as_bytes()), 400, &["1"]),
        ("a body over the limit", b"{\"a\":\"xxxxxxxx\"}\n".repeat(400_000), 413, &["5"]),
    ];
    for (what, body, status, words) in cases {
        let mut connection = Connection::open(server.ingest_host()).unwrap();
        let answer = pipeline.post(&mut connection, &[("content-type", "application/x-ndjson")], &body).unwrap();
        check(what, &answer, status, words);
        assert_eq!(pipeline.lag_events(&server).unwrap(), 0, "{what}: a part of the body was taken");
    }
}

#[test]
fn packed_bodies_that_are_broken_or_grow_too_large_are_refused() {
    let (_sandbox, server, pipeline) = wary();
    let before = cistern_tests::process::resident_bytes(server.pid()).unwrap();
    let mut bomb = GzEncoder::new(Vec::new(), Compression::best());
    for _ in 0..512 {
        bomb.write_all(&vec![b' '; 1 << 20]).unwrap();
    }
    let bomb = bomb.finish().unwrap();
    let zstd_bomb = zstd::encode_all(std::io::repeat(b' ').take(512 << 20), 3).unwrap();
    let mut cut = GzEncoder::new(Vec::new(), Compression::fast());
    cut.write_all(b"{\"a\":1}\n{\"a\":2}\n").unwrap();
    let mut cut = cut.finish().unwrap();
    cut.truncate(cut.len() - 6);
    for (what, encoding, body, status) in [
        ("512 MiB in a small gzip body", "gzip", bomb.as_slice(), 413),
        ("512 MiB in a small zstd body", "zstd", zstd_bomb.as_slice(), 413),
        ("a gzip body cut short", "gzip", cut.as_slice(), 400),
        ("a body that is not gzip", "gzip", b"{\"a\":1}", 400),
        ("an unknown encoding", "br", b"{\"a\":1}", 415),
    ] {
        let mut connection = Connection::open(server.ingest_host()).unwrap();
        let answer = pipeline.post(&mut connection, &[("content-encoding", encoding)], body).unwrap();
        check(what, &answer, status, &[]);
        assert_eq!(pipeline.lag_events(&server).unwrap(), 0, "{what}: a part of the body was taken");
    }
    let grown = cistern_tests::process::resident_bytes(server.pid()).unwrap().saturating_sub(before);
    assert!(grown < 64 << 20, "unpacking bombs took {grown} bytes of memory");
}

#[test]
fn senders_without_the_token_or_a_pipeline_are_refused() {
    let (_sandbox, server, pipeline) = wary();
    let mut connection = Connection::open(server.ingest_host()).unwrap();
    let mut post = |token: Option<&str>, name: &str, method: &str| {
        let stranger = Pipeline { name: name.into(), token: token.map(Into::into), printed: String::new() };
        match method {
            "POST" => stranger.post(&mut connection, &[], b"{}").unwrap(),
            _ => connection.send(method, &format!("/{name}"), &[], b"").unwrap(),
        }
    };
    let token = pipeline.token.as_deref();
    check("no token", &post(None, "wary", "POST"), 401, &["token"]);
    check("a wrong token", &post(Some("wrong"), "wary", "POST"), 401, &["token"]);
    check("an unknown pipeline", &post(token, "nothing", "POST"), 404, &["nothing"]);
    check("no pipeline", &post(token, "", "POST"), 404, &[]);
    assert_eq!(post(token, "wary", "DELETE").status, 405);
    assert_eq!(pipeline.lag_events(&server).unwrap(), 0);
}

#[test]
fn a_body_that_ends_early_is_not_taken() {
    let (_sandbox, server, pipeline) = wary();
    let token = pipeline.token.clone().unwrap();
    let mut connection = Connection::open(server.ingest_host()).unwrap();
    let head =
        format!("POST /wary HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\ncontent-length: 100\r\n\r\n");
    connection.send_raw(head.as_bytes()).unwrap();
    connection.send_raw(b"{\"a\":1}\n").unwrap();
    connection.finish_sending().unwrap();
    if let Ok(answer) = connection.read_response("POST") {
        assert_eq!(answer.status, 400, "{}", answer.text());
    }
    assert_eq!(pipeline.lag_events(&server).unwrap(), 0);
}

#[test]
fn pipelines_that_cannot_work_are_not_created() {
    let (_sandbox, server, _pipeline) = wary();
    let destination = "--destination-bucket=wary";
    for (flags, exit, word) in [
        (vec!["new", "--destination-bucket=nowhere"], 1, "nowhere"),
        (vec!["wary", destination], 1, "wary"),
        (vec!["new", destination, "--batch-size=1XB"], 2, "batch-size"),
        (vec!["new", destination, "--batch-size=1"], 1, "size"),
        (vec!["new", destination, "--batch-timeout-secs=0"], 1, "timeout"),
        (vec!["new", destination, "--batch-on-json-key=merchantId"], 1, "key"),
        (vec!["new", destination, "--batch-on-json-key=.a["], 1, "key"),
        (vec!["Not A Name", destination], 1, "name"),
        (vec!["new", destination, "--no-such-flag"], 2, "no-such-flag"),
        (vec!["new"], 2, "destination-bucket"),
    ] {
        let output = server.cli(&[&["pipelines", "create"], flags.as_slice()].concat()).unwrap();
        let said = cistern_tests::server::text(&output.stderr);
        let code = output.status.code().unwrap();
        assert!(code == exit || code == 2, "{flags:?} ended with {code}: {said}");
        assert!(code != 0 && said.to_lowercase().contains(word), "{flags:?} said {said:?}, without {word:?}");
    }
    let listed = server.cli_ok(&["pipelines", "list", "--json"]).unwrap();
    assert!(!listed.contains("\"new\""), "{listed}");
}
