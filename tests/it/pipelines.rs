//! Events over HTTP become Parquet objects that other people's readers find whole: the same rows, the same sums.

use crate::sandbox::{Sandbox, server_with_bucket};
use cistern_tests::flights::{self, Sums};
use cistern_tests::http::Connection;
use cistern_tests::{Pipeline, Server, python};
use flate2::Compression;
use flate2::write::GzEncoder;
use std::io::Write as _;
use std::time::Duration;

const WRITTEN_LIMIT: Duration = Duration::from_mins(1);

fn gzip(text: &str) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(text.as_bytes()).unwrap();
    encoder.finish().unwrap()
}

/// All objects of a bucket whose name ends so, as text.
fn texts(server: &Server, bucket: &str, ending: &str) -> Vec<(String, String)> {
    let mut s3 = server.s3().unwrap();
    let keys = s3.keys(bucket, "").unwrap().into_iter().filter(|key| key.ends_with(ending));
    keys.collect::<Vec<_>>()
        .into_iter()
        .map(|key| {
            let body = s3.get(bucket, &key).unwrap().unwrap();
            (key, String::from_utf8(body).unwrap())
        })
        .collect()
}

#[test]
fn the_command_of_the_announcement_works_word_for_word() {
    let (_sandbox, server, _s3) = server_with_bucket("prod-cs-data");
    let flags = [
        "--batch-size=1MB",
        "--batch-timeout-secs=120",
        "--batch-on-json-key=.merchantId",
        "--destination-bucket=prod-cs-data",
    ];
    let pipeline = Pipeline::create(&server, "clickstream-ingest-prod", &flags).unwrap();
    let lines: Vec<&str> = pipeline.printed.lines().collect();
    assert_eq!(lines[0], "✅ Successfully created new pipeline \"clickstream-ingest-prod\"");
    assert_eq!(lines[1], "📥 Created endpoints:");
    assert_eq!(lines[2], format!("➡ HTTPS: http://{}/clickstream-ingest-prod", server.ingest_host()));
    assert!(pipeline.token.is_some(), "no send token in\n{}", pipeline.printed);
    let listed: serde_json::Value =
        serde_json::from_str(&server.cli_ok(&["pipelines", "list", "--json"]).unwrap()).unwrap();
    assert!(listed.to_string().contains("clickstream-ingest-prod"), "{listed}");
    assert!(!listed.to_string().contains(pipeline.token.as_ref().unwrap()), "the token is shown a second time");
}

#[test]
fn the_flights_are_read_back_whole_by_duckdb_pyarrow_and_polars() {
    let (_sandbox, server, mut s3) = server_with_bucket("flights");
    let flags = ["--batch-on-json-key=.carrier", "--batch-timeout-secs=3", "--destination-bucket=flights"];
    let pipeline = Pipeline::create(&server, "flights-2013", &flags).unwrap();
    let events = flights::ndjson().unwrap();
    let sent = flights::sums(&events).unwrap();
    let mut connection = Connection::open(server.ingest_host()).unwrap();
    let headers = [("content-type", "application/x-ndjson"), ("content-encoding", "gzip")];
    for body in flights::bodies(&events, 4_000_000) {
        let answer = pipeline.post(&mut connection, &headers, &gzip(body)).unwrap().ok().unwrap().json().unwrap();
        assert_eq!(answer["result"]["committed"], body.lines().count(), "{answer}");
    }
    pipeline.wait_written(&server, WRITTEN_LIMIT).unwrap();
    for engine in ["duckdb", "pyarrow", "polars"] {
        let read = python::parquet_sums(&server, engine, "flights", "").unwrap();
        assert_eq!(read, sent, "{engine} reads something else");
    }
    let names = s3.keys("flights", "").unwrap();
    for (carrier, count) in &sent.carriers {
        let mark = format!("carrier={carrier}/");
        assert!(names.iter().any(|name| name.contains(&mark)), "no object of {carrier} in {names:#?}");
        if *count < 100 {
            check_only(&server, &names, carrier, *count);
        }
    }
}

/// The objects named after a carrier hold that carrier's events and no others.
#[track_caller]
fn check_only(server: &Server, names: &[String], carrier: &String, count: u64) {
    let mark = format!("carrier={carrier}/");
    let name = names.iter().find(|name| name.contains(&mark)).unwrap();
    let prefix = &name[..name.find(&mark).unwrap() + mark.len()];
    let sums = python::parquet_sums(server, "duckdb", "flights", prefix).unwrap();
    assert_eq!((sums.rows, sums.carriers.keys().collect::<Vec<_>>()), (count, vec![carrier]));
}

#[test]
fn an_array_an_object_and_lines_are_taken_plain_gzipped_and_as_zstd() {
    let (_sandbox, server, _s3) = server_with_bucket("shapes");
    let flags = ["--format=json", "--compression=none", "--batch-timeout-secs=1", "--destination-bucket=shapes"];
    let pipeline = Pipeline::create(&server, "shapes", &flags).unwrap();
    let mut connection = Connection::open(server.ingest_host()).unwrap();
    let zstd = zstd::encode_all(&br#"[{"n":6}]"#[..], 1).unwrap();
    let gzipped = gzip("{\"n\":7}\n{\"n\":8}\n");
    for (headers, body, committed) in [
        (vec![("content-type", "application/json")], br#"[{"n":1},{"n":2}]"#.to_vec(), 2),
        (vec![("content-type", "application/json")], br#"{"n":3}"#.to_vec(), 1),
        (vec![("content-type", "application/x-ndjson")], b"{\"n\":4}\n{\"n\":5}\n".to_vec(), 2),
        (vec![("content-encoding", "zstd")], zstd, 1),
        (vec![("content-encoding", "gzip")], gzipped, 2),
    ] {
        let answer = pipeline.post(&mut connection, &headers, &body).unwrap().ok().unwrap().json().unwrap();
        assert_eq!((&answer["success"], &answer["result"]["committed"]), (&true.into(), &committed.into()), "{answer}");
    }
    pipeline.wait_written(&server, WRITTEN_LIMIT).unwrap();
    let stored = texts(&server, "shapes", "").into_iter().map(|(_, text)| text).collect::<String>();
    let mut lines: Vec<&str> = stored.lines().collect();
    lines.sort_unstable();
    assert_eq!(lines, (1..=8).map(|n| format!("{{\"n\":{n}}}")).collect::<Vec<_>>());
}

#[test]
fn any_value_of_the_key_makes_a_name_that_is_safe_and_its_own() {
    let (_sandbox, server, mut s3) = server_with_bucket("odd");
    let flags = ["--batch-on-json-key=.a.\"odd key\"", "--batch-timeout-secs=1", "--destination-bucket=odd"];
    let pipeline = Pipeline::create(&server, "odd", &flags).unwrap();
    let long = "x".repeat(2000);
    let values = ["../../etc/passwd", "a/b=c", "", " ", "ü", "tab\\there", "0", long.as_str()];
    let event = |value: &&str| format!("{{\"id\":\"{value}\",\"a\":{{\"odd key\":\"{value}\"}}}}\n");
    let mut body = values.iter().map(event).collect::<Vec<_>>().concat();
    body.push_str("{\"id\":\"missing\"}\n");
    pipeline.send_all(&server, &body).unwrap();
    pipeline.wait_written(&server, WRITTEN_LIMIT).unwrap();
    let names = s3.keys("odd", "").unwrap();
    // an empty value and none at all share a name, as Hive has it
    assert_eq!(names.len(), values.len(), "{names:#?}");
    for name in &names {
        assert!(name.len() <= 1024 && name.chars().all(|letter| letter.is_ascii_graphic()), "{name}");
        assert!(name.split('/').all(|segment| !["", ".", ".."].contains(&segment)), "{name}");
    }
    let ids = python::script(&server, "event_ids.py", &["odd", ""]).unwrap();
    assert_eq!(ids.lines().count(), values.len() + 1, "{ids}");
}

#[test]
fn a_row_that_does_not_fit_goes_to_a_dead_letter_object_with_the_reason() {
    let (_sandbox, server, _s3) = server_with_bucket("letters");
    let flags = ["--batch-timeout-secs=1", "--destination-bucket=letters"];
    let pipeline = Pipeline::create(&server, "letters", &flags).unwrap();
    let body = "{\"id\":\"a\",\"n\":1}\n{\"id\":\"b\",\"n\":{\"not\":\"a number\"}}\n{\"id\":\"c\",\"n\":3}\n";
    pipeline.send_all(&server, body).unwrap();
    pipeline.wait_written(&server, WRITTEN_LIMIT).unwrap();
    let ids = python::script(&server, "event_ids.py", &["letters", ""]).unwrap();
    assert_eq!(ids.lines().collect::<Vec<_>>(), ["a", "c"]);
    let letters = texts(&server, "letters", ".ndjson");
    let [(name, text)] = &letters[..] else { panic!("{letters:#?}") };
    assert!(name.contains("dead-letter"), "{name}");
    let letter: serde_json::Value = serde_json::from_str(text.trim()).unwrap();
    assert_eq!(letter["event"]["id"], "b", "{letter}");
    assert!(letter["reason"].as_str().is_some_and(|reason| reason.contains('n')), "{letter}");
}

#[test]
fn deleting_with_drain_writes_what_was_accepted_and_with_discard_does_not() {
    let (_sandbox, server, _s3) = server_with_bucket("ended");
    for (mode, expected) in [("drain", vec!["kept"]), ("discard", vec![])] {
        let prefix = format!("--prefix={mode}");
        let flags = ["--batch-timeout-secs=300", "--destination-bucket=ended", &prefix];
        let pipeline = Pipeline::create(&server, mode, &flags).unwrap();
        pipeline.send_all(&server, "{\"id\":\"kept\"}\n").unwrap();
        server.cli_ok(&["pipelines", "delete", mode, "--mode", mode]).unwrap();
        let gone = cistern_tests::wait::until("the pipeline is gone", WRITTEN_LIMIT, || {
            let listed = server.cli_ok(&["pipelines", "list", "--json"])?;
            Ok((!listed.contains(&format!("\"{mode}\""))).then_some(()))
        });
        gone.unwrap();
        let ids = python::script(&server, "event_ids.py", &["ended", mode]).unwrap();
        assert_eq!(ids.lines().collect::<Vec<_>>(), expected, "{mode}");
        let mut connection = Connection::open(server.ingest_host()).unwrap();
        let refused = pipeline.post(&mut connection, &[], b"{\"id\":\"late\"}").unwrap();
        assert_eq!(refused.status, 404, "{}", refused.text());
    }
}

#[test]
fn events_wait_while_the_destination_bucket_is_gone_and_arrive_when_it_is_back() {
    let (_sandbox, server, mut s3) = server_with_bucket("coming");
    let flags = ["--batch-timeout-secs=1", "--destination-bucket=coming"];
    let pipeline = Pipeline::create(&server, "waiting", &flags).unwrap();
    server.cli_ok(&["bucket", "delete", "coming"]).unwrap();
    pipeline.send_all(&server, "{\"id\":\"one\"}\n").unwrap();
    let said = cistern_tests::wait::until("readiness says that the pipeline waits", WRITTEN_LIMIT, || {
        let answer = Connection::open(server.management_host())?.send("GET", "/readyz", &[], b"")?;
        let text = answer.text();
        Ok((text.contains("waiting") && text.contains("coming")).then_some(text))
    });
    println!("readyz while the bucket is gone: {}", said.unwrap());
    assert_eq!(pipeline.lag_events(&server).unwrap(), 1, "the event must wait");
    s3.create_bucket("coming").unwrap();
    pipeline.wait_written(&server, WRITTEN_LIMIT).unwrap();
    assert_eq!(python::script(&server, "event_ids.py", &["coming", ""]).unwrap().trim(), "one");
}

#[test]
fn browsers_of_the_origins_named_may_send() {
    let (_sandbox, server, _s3) = server_with_bucket("web");
    let flags = ["--cors-origin=https://shop.example", "--destination-bucket=web"];
    let pipeline = Pipeline::create(&server, "web", &flags).unwrap();
    let mut connection = Connection::open(server.ingest_host()).unwrap();
    let preflight = |connection: &mut Connection, origin: &str| {
        let headers = [("origin", origin), ("access-control-request-method", "POST")];
        let headers = headers.map(|(name, value)| (name.to_owned(), value.to_owned()));
        connection.send("OPTIONS", "/web", &headers, b"").unwrap()
    };
    let allowed = preflight(&mut connection, "https://shop.example");
    assert_eq!(allowed.header("access-control-allow-origin"), Some("https://shop.example"), "{allowed:?}");
    let other = preflight(&mut connection, "https://evil.example");
    assert_eq!(other.header("access-control-allow-origin"), None, "{other:?}");
    let posted = pipeline.post(&mut connection, &[("origin", "https://shop.example")], b"{}").unwrap().ok().unwrap();
    assert_eq!(posted.header("access-control-allow-origin"), Some("https://shop.example"), "{posted:?}");
}

#[test]
fn without_a_key_all_events_go_into_one_object_of_the_size_asked_for() {
    let sandbox = Sandbox::new();
    let server = sandbox.start();
    server.cli_ok(&["bucket", "create", "whole"]).unwrap();
    let flags = ["--batch-rows=500", "--batch-timeout-secs=300", "--destination-bucket=whole", "--prefix=in/here"];
    let pipeline = Pipeline::create(&server, "whole", &flags).unwrap();
    let events = flights::ndjson().unwrap();
    let events: Vec<&str> = events.split_inclusive('\n').take(1000).collect();
    let events = events.concat();
    pipeline.send_all(&server, &events).unwrap();
    pipeline.wait_written(&server, WRITTEN_LIMIT).unwrap();
    let names = server.s3().unwrap().keys("whole", "in/here/").unwrap();
    assert_eq!(names.len(), 2, "{names:#?}");
    let read: Sums = python::parquet_sums(&server, "pyarrow", "whole", "in/here").unwrap();
    assert_eq!(read, flights::sums(&events).unwrap());
}
