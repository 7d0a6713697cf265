//! The endpoint as producers see it: every kind of answer, and that refused bodies change nothing.

use crate::fixture::{House, Running};
use crate::{DeleteMode, IngestAuth, PipelinesConfig};
use axum::body::Body;
use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use std::io::Write as _;
use tower::ServiceExt as _;

struct Answered {
    status: u16,
    headers: HeaderMap,
    body: Value,
}

async fn send(running: &Running, request: Request<Body>) -> Answered {
    let response = running.pipelines.ingest_router().oneshot(request).await.unwrap();
    let (status, headers) = (response.status(), response.headers().clone());
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    let body = if status == StatusCode::NO_CONTENT { Value::Null } else { serde_json::from_slice(&bytes).unwrap() };
    Answered { status: status.as_u16(), headers, body }
}

fn post(path: &str, headers: &[(&str, &str)], body: impl Into<Bytes>) -> Request<Body> {
    let body = body.into();
    let mut request = Request::post(path).header("content-length", body.len());
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(Body::from(body)).unwrap()
}

/// Sends a body to the pipeline `clicks`, which everybody may use, and compares status, code and a part of the message.
#[track_caller]
fn check(headers: &[(&str, &str)], body: impl Into<Bytes>, status: u16, code: u64, part: &str) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    let request = post("/clicks", headers, body);
    let answer = runtime.block_on(async {
        let house = House::new().await;
        let config = PipelinesConfig { event_bytes_max: 1000, body_bytes_max: 5000, ..PipelinesConfig::default() };
        let running = house.open_with(config).await;
        running.create(house.spec("clicks")).await;
        let answer = send(&running, request).await;
        if answer.status != 200 {
            assert_eq!(running.pipelines.health()[0].events_accepted, 0, "a refused body changes nothing");
        }
        answer
    });
    assert_eq!(answer.status, status, "{}", answer.body);
    if status == 200 {
        assert_eq!(answer.body, json!({"success": true, "errors": [], "messages": [], "result": {"committed": code}}));
        return;
    }
    assert_eq!((&answer.body["success"], &answer.body["result"]), (&json!(false), &Value::Null));
    assert_eq!(answer.body["errors"][0]["code"], code, "{}", answer.body);
    let message = answer.body["errors"][0]["message"].as_str().unwrap();
    assert!(message.contains(part), "{message}");
}

fn gzip(body: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(body).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn every_shape_and_encoding_is_committed() {
    check(&[], r#"[{"a":1},{"a":2}]"#, 200, 2, "");
    check(&[("content-type", "application/json")], r#"{"a":1}"#, 200, 1, "");
    check(&[("content-type", "application/x-ndjson")], "{\"a\":1}\n{\"a\":2}\n", 200, 2, "");
    check(&[("content-encoding", "gzip")], gzip(b"[{},{},{}]"), 200, 3, "");
    check(&[("content-encoding", "zstd")], zstd::stream::encode_all(&b"{}\n{}"[..], 1).unwrap(), 200, 2, "");
}

#[test]
fn bad_bodies_are_refused_with_a_message_that_says_what_to_do() {
    check(&[], "", 400, 1003, "send a JSON array of objects");
    check(&[], "[]", 400, 1003, "no event");
    check(&[], "[{\"a\":1},{\"a\":]", 400, 1003, "event 1, byte 14 of the body: expected a value");
    check(&[], "[1]", 400, 1003, "an event must be a JSON object");
    check(&[], "{\"a\":1e999}", 400, 1003, "out of range");
    check(&[], b"{\"a\":\"\xff\"}".to_vec(), 400, 1003, "not UTF-8 at byte 6");
    check(&[("content-encoding", "gzip")], "{}", 400, 1003, "not gzip");
    check(&[("content-encoding", "br")], "{}", 415, 1020, "use gzip, zstd or none");
}

#[test]
fn what_is_too_large_is_refused_before_and_after_unpacking() {
    let event = format!("{{\"a\":\"{}\"}}", "x".repeat(992));
    check(&[], event.clone(), 200, 1, "");
    check(&[], format!("[{{}},{event} , {{\"a\":\"{}\"}}]", "x".repeat(993)), 400, 1018, "event 2 has 1001 bytes");
    let body = format!("[{}{{}}]", "{},".repeat(1665));
    assert_eq!(body.len(), 4999);
    check(&[], format!("{body} "), 200, 1666, "");
    check(&[], format!("{body}  "), 413, 1019, "must not exceed 5000 bytes");
    check(
        &[("content-encoding", "gzip")],
        gzip(format!("{body}  ").as_bytes()),
        413,
        1019,
        "must not exceed 5000 bytes",
    );
    check(&[("content-encoding", "gzip")], gzip(&vec![b' '; 2_000_000]), 413, 1019, "must not exceed");
}

#[tokio::test(start_paused = true)]
async fn a_body_that_says_it_is_too_large_is_not_read() {
    let house = House::new().await;
    let running = house.open().await;
    running.create(house.spec("clicks")).await;
    let never = Body::from_stream(futures::stream::pending::<Result<Bytes, std::io::Error>>());
    let request = Request::post("/clicks").header("content-length", 5_000_001).body(never).unwrap();
    assert_eq!(send(&running, request).await.status, 413);
}

#[tokio::test(start_paused = true)]
async fn a_body_without_a_length_is_cut_off_at_the_limit_or_when_it_breaks() {
    let house = House::new().await;
    let running = house.open().await;
    running.create(house.spec("clicks")).await;
    let chunk = Bytes::from(vec![b' '; 1 << 20]);
    let endless = futures::stream::repeat_with(move || Ok::<_, std::io::Error>(chunk.clone()));
    let request = Request::post("/clicks").body(Body::from_stream(endless)).unwrap();
    assert_eq!(send(&running, request).await.status, 413);
    let broken: [Result<&str, _>; 2] = [Ok("{\"a\":1}\n"), Err(std::io::Error::other("gone"))];
    let request = Request::post("/clicks").body(Body::from_stream(futures::stream::iter(broken))).unwrap();
    assert_eq!(send(&running, request).await.status, 400);
    let pieces: [Result<&str, std::io::Error>; 3] = [Ok("[{\"a\""), Ok(":1}"), Ok("]")];
    let request = Request::post("/clicks").body(Body::from_stream(futures::stream::iter(pieces))).unwrap();
    assert_eq!(send(&running, request).await.status, 200);
    assert_eq!(running.pipelines.health()[0].events_accepted, 1);
}

#[tokio::test(start_paused = true)]
async fn only_the_send_token_opens_a_pipeline() {
    let house = House::new().await;
    let running = house.open().await;
    let mut spec = house.spec("clicks");
    spec.stream.auth = IngestAuth::Token;
    let token = running.create(spec).await.send_token.unwrap();
    let answer = send(&running, post("/clicks", &[], "{}")).await;
    assert_eq!((answer.status, answer.headers["www-authenticate"].to_str().unwrap()), (401, "Bearer"));
    for wrong in ["Bearer x", "Bearer ", &format!("Basic {token}"), &format!("Bearer {token}x"), &token] {
        assert_eq!(send(&running, post("/clicks", &[("authorization", wrong)], "{}")).await.status, 401, "{wrong}");
    }
    assert_eq!(send(&running, post("/clicks?token=wrong", &[], "{}")).await.status, 401);
    let bearer = format!("bearer {token}");
    assert_eq!(send(&running, post("/clicks", &[("authorization", &bearer)], "{}")).await.status, 200);
    assert_eq!(send(&running, post(&format!("/clicks?x=1&token={token}"), &[], "{}")).await.status, 200);
    assert_eq!(running.pipelines.health()[0].events_accepted, 2);
    assert!(!format!("{:?}", running.pipelines).contains(&token), "the token shows nowhere");
}

#[tokio::test(start_paused = true)]
async fn unknown_pipelines_paths_and_methods_are_told_apart() {
    let house = House::new().await;
    let running = house.open().await;
    running.create(house.spec("clicks")).await;
    let status = async |method: &str, path: &str| {
        let request = Request::builder().method(method).uri(path).body(Body::empty()).unwrap();
        let answer = send(&running, request).await;
        (answer.status, answer.body["errors"][0]["code"].as_u64().unwrap())
    };
    assert_eq!(status("POST", "/other").await, (404, 1000));
    assert_eq!(status("POST", "/not%20a%20name").await, (404, 1000));
    assert_eq!(status("GET", "/other").await, (404, 1000));
    assert_eq!(status("GET", "/").await, (404, 7003));
    assert_eq!(status("POST", "/clicks/more").await, (404, 7003));
    assert_eq!(status("GET", "/clicks").await, (405, 10405));
    assert_eq!(status("PUT", "/clicks").await, (405, 10405));
}

#[tokio::test(start_paused = true)]
async fn browsers_of_the_named_origins_may_send() {
    let house = House::new().await;
    let running = house.open().await;
    let mut spec = house.spec("clicks");
    spec.stream.cors_origins = vec!["https://shop.example".parse().unwrap()];
    running.create(spec).await;
    running.create(house.spec("closed")).await;
    let preflight = async |path: &str, origin: &str| {
        let request = Request::options(path).header("origin", origin).header("access-control-request-method", "POST");
        send(&running, request.body(Body::empty()).unwrap()).await
    };
    let answer = preflight("/clicks", "https://shop.example").await;
    assert_eq!(
        (answer.status, answer.headers["access-control-allow-origin"].to_str().unwrap()),
        (204, "https://shop.example")
    );
    assert!(answer.headers["access-control-allow-headers"].to_str().unwrap().contains("content-type"));
    assert_eq!(answer.headers["vary"], "origin");
    for (path, origin) in [("/clicks", "https://evil.example"), ("/closed", "https://shop.example")] {
        let answer = preflight(path, origin).await;
        assert_eq!((answer.status, answer.headers.get("access-control-allow-origin")), (403, None));
    }
    let from_shop = [("origin", "https://shop.example")];
    for (body, status) in [("{}", 200), ("oops", 400)] {
        let answer = send(&running, post("/clicks", &from_shop, body)).await;
        assert_eq!(
            (answer.status, answer.headers["access-control-allow-origin"].to_str().unwrap()),
            (status, "https://shop.example")
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_producer_that_is_too_fast_is_told_to_come_back() {
    let house = House::new().await;
    let running = house.open_with(PipelinesConfig { buffered_bytes_max: 1000, ..PipelinesConfig::default() }).await;
    running.create(house.spec("clicks")).await;
    let slow = stalled(&" ".repeat(900));
    let router = running.pipelines.ingest_router();
    let answer = tokio::select! {
        biased; // the slow one takes its room first
        _ = router.oneshot(slow) => panic!("it never ends"),
        answer = send(&running, post("/clicks", &[], " ".repeat(200))) => answer,
    };
    assert_eq!((answer.status, answer.headers["retry-after"].to_str().unwrap()), (429, "1"));
    assert_eq!(send(&running, post("/clicks", &[], "{\"a\":1}")).await.status, 200, "the slow one's room came back");
}

/// A body of which nothing comes after `sent`.
fn stalled(sent: &str) -> Request<Body> {
    let sent = Ok::<_, std::io::Error>(Bytes::copy_from_slice(sent.as_bytes()));
    let body = futures::StreamExt::chain(futures::stream::iter([sent]), futures::stream::pending());
    Request::post("/clicks").header("content-length", 990).body(Body::from_stream(body)).unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_body_that_stalls_takes_no_room_from_others_and_is_given_up() {
    let house = House::new().await;
    let running = house.open_with(PipelinesConfig { buffered_bytes_max: 1000, ..PipelinesConfig::default() }).await;
    running.create(house.spec("clicks")).await;
    let slow = send(&running, stalled("["));
    let others = async {
        for _ in 0..3 {
            assert_eq!(
                send(&running, post("/clicks", &[], format!("{{\"a\":\"{}\"}}", "x".repeat(900)))).await.status,
                200
            );
        }
    };
    let (answer, ()) = tokio::join!(slow, others);
    assert_eq!(answer.status, 400, "it is answered once it is given up");
}

#[tokio::test(start_paused = true)]
async fn a_stopped_or_draining_pipeline_takes_no_more() {
    let house = House::new().await;
    let running = house.open().await;
    running.create(house.spec("clicks")).await;
    running.create(house.spec("other")).await;
    assert_eq!(send(&running, post("/clicks", &[], "{\"a\":1}")).await.status, 200);
    running.pipelines.delete(&"clicks".parse().unwrap(), DeleteMode::Drain).await.unwrap();
    assert_eq!(send(&running, post("/clicks", &[], "{\"a\":1}")).await.status, 410);
    running.pipelines.stop().await;
    let answer = send(&running, post("/other", &[], "{\"a\":1}")).await;
    assert_eq!((answer.status, answer.body["errors"][0]["code"].as_u64().unwrap()), (503, 10503));
}

#[tokio::test(start_paused = true)]
async fn many_producers_share_flushes_and_each_event_counts_once() {
    let house = House::new().await;
    let running = house.open().await;
    for name in ["a", "b", "c"] {
        running.create(house.spec(name)).await;
    }
    let posts = (0..300).map(|n| {
        let (path, body) = (format!("/{}", ["a", "b", "c"][n % 3]), format!("[{{\"n\":{n}}},{{\"n\":{n}}}]"));
        let running = &running;
        async move { send(running, post(&path, &[], body)).await.status }
    });
    assert_eq!(futures::future::join_all(posts).await, vec![200; 300]);
    for health in running.pipelines.health() {
        assert_eq!(health.events_accepted, 200);
    }
    let mut registry = prometheus_client::registry::Registry::default();
    running.pipelines.register_metrics(&mut registry);
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
    let flushes = text.lines().find_map(|line| line.strip_prefix("cistern_pipelines_log_flushes_total ")).unwrap();
    assert!(flushes.parse::<u32>().unwrap() < 100, "{flushes} flushes for 300 bodies");
    assert!(text.contains("cistern_pipelines_accepted_events_total{pipeline=\"a\"} 200"), "{text}");
    assert!(text.contains("cistern_pipelines_lag_events{pipeline=\"c\"} 200"), "{text}");
    assert!(text.contains("cistern_pipelines_answers_total{status=\"200\"} 300"), "{text}");
}
