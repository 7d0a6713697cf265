//! What people produce to Kafka with, on pipelines: each by a suite of its own on a server of its own. `tests/clients` says
//! what is checked.

use crate::ingest_kills::passes_over;
use crate::sandbox::{Sandbox, server_with_bucket};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use cistern_tests::{Pipeline, Server, clients, python};
use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::process::{Command, Output, Stdio};
use std::sync::{Arc, Mutex};

/// The longest a client may take for anything it is expected to do or to be told, in seconds, for `timeout` of the coreutils.
const CLIENT_LIMIT_SECONDS: &str = "60";

/// Runs those checks of a suite of `tests/clients` whose name has `word` on a fresh server; all of them must pass.
pub(crate) fn parts_pass(suite: &str, word: &str) {
    let sandbox = Sandbox::new();
    let server = sandbox.start();
    clients::suite_with(&server, suite, word, &[]).unwrap();
}

pub(crate) fn all_pass(suite: &str) {
    parts_pass(suite, "");
}

#[test]
fn confluent_kafka_produces_and_reads() {
    all_pass("kafka_confluent.py");
}

#[test]
fn kafka_python_produces_and_reads() {
    all_pass("kafka_python.py");
}

#[test]
fn aiokafka_produces_and_reads() {
    all_pass("kafka_aiokafka.py");
}

#[test]
fn kafkajs_produces_and_reads() {
    parts_pass("js/kafka.mjs", "kafkajs_");
}

#[test]
fn platformatic_kafka_produces_and_reads() {
    parts_pass("js/kafka.mjs", "platformatic_");
}

#[test]
fn an_idempotent_producer_stays_over_kills_and_loses_and_doubles_nothing() {
    passes_over(&["kafka_confluent_kills.py"], Server::kill);
}

/// Runs kcat with lines on its stdin.
fn kcat(server: &Server, arguments: &[&str], input: &str) -> Output {
    let mut command = Command::new("timeout");
    command.args(["--kill-after=5", CLIENT_LIMIT_SECONDS, "kcat", "-b", server.kafka_host()]).args(arguments);
    command.env("HOME", "/nonexistent").env_remove("KCAT_CONFIG");
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("no timeout, no kcat");
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_owned();
    let writing = std::thread::spawn(move || drop(stdin.write_all(input.as_bytes())));
    let output = child.wait_with_output().unwrap();
    writing.join().unwrap();
    output
}

/// The same where it must succeed; answers its stdout.
#[track_caller]
pub(crate) fn kcat_ok(server: &Server, arguments: &[&str], input: &str) -> String {
    let output = kcat(server, arguments, input);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "kcat {arguments:?} ended with {}:\n{said}", output.status);
    String::from_utf8(output.stdout).unwrap()
}

/// The same where it must fail by itself and say `why`.
#[track_caller]
pub(crate) fn kcat_refused(server: &Server, arguments: &[&str], input: &str, why: &str) {
    let output = kcat(server, arguments, input);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "kcat {arguments:?} said:\n{said}");
    assert!(said.contains(why), "no {why:?} in what kcat {arguments:?} said:\n{said}");
}

/// The arguments of a login.
fn login(user: &str, password: &str, mechanism: &str) -> Vec<String> {
    let settings = [
        "security.protocol=SASL_PLAINTEXT".to_owned(),
        format!("sasl.mechanism={mechanism}"),
        format!("sasl.username={user}"),
        format!("sasl.password={password}"),
    ];
    settings.into_iter().flat_map(|setting| ["-X".to_owned(), setting]).collect()
}

fn key_login(server: &Server) -> Vec<String> {
    let keys = server.root_keys();
    login(&keys.access_key_id, &keys.secret_access_key, "SCRAM-SHA-256")
}

pub(crate) fn with<'a>(arguments: &[&'a str], more: &'a [String]) -> Vec<&'a str> {
    arguments.iter().copied().chain(more.iter().map(String::as_str)).collect()
}

/// Events of ten sites as lines, which begin with their key when they are `keyed`.
fn lines(word: &str, count: usize, keyed: bool) -> Vec<String> {
    let key = |n: usize| if keyed { format!("site {}\t", n % 10) } else { String::new() };
    let event = |n: usize| format!(r#"{{"id":"{word}-{n}","n":{n},"site":"site {}","text":"ünï \" 😀"}}"#, n % 10);
    (0..count).map(|n| key(n) + &event(n)).collect()
}

/// Drains the pipeline into the bucket `lake`; its events and dead letters must be these, in any order.
#[track_caller]
pub(crate) fn drained_as<'a>(server: &Server, pipeline: &str, events: impl Iterator<Item = &'a str>, letters: &[&str]) {
    drained_with(server, &[], pipeline, events, letters);
}

/// The same with more environment for the script that reads.
#[track_caller]
pub(crate) fn drained_with<'a>(
    server: &Server,
    environment: &[(&str, &str)],
    pipeline: &str,
    events: impl Iterator<Item = &'a str>,
    letters: &[&str],
) {
    let mut command = python::script_command(server, "kafka_stored.py").unwrap();
    let output = command.args(["lake", pipeline]).envs(environment.iter().copied()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let said: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let mut differ = BTreeMap::<String, i64>::new();
    for event in events {
        let event: serde_json::Value = serde_json::from_str(event).unwrap();
        *differ.entry(event.to_string()).or_default() -= 1;
    }
    for event in said["events"].as_array().unwrap() {
        *differ.entry(event.to_string()).or_default() += 1;
    }
    differ.retain(|_, count| *count != 0);
    assert!(differ.is_empty(), "lost (below 0), doubled or changed: {:?}", differ.iter().take(5).collect::<Vec<_>>());
    let decoded = said["letters"].as_array().unwrap().iter().map(|letter| {
        let bytes = STANDARD.decode(letter.as_str().unwrap()).unwrap();
        String::from_utf8(bytes).unwrap()
    });
    let mut found: Vec<String> = decoded.collect();
    found.sort_unstable();
    let mut letters = letters.to_vec();
    letters.sort_unstable();
    assert_eq!(found, letters, "other dead letters");
}

const KEPT: [&str; 3] = ["--batch-timeout-secs=3600", "--destination-bucket=lake", "--auth=none"];

#[test]
fn kcat_sends_with_every_codec_and_acks() {
    let (_sandbox, server, _s3) = server_with_bucket("lake");
    Pipeline::create(&server, "plain", &KEPT).unwrap();
    let mut sent = Vec::new();
    for codec in ["none", "gzip", "snappy", "lz4", "zstd"] {
        for settings in ["acks=1,linger.ms=5", "acks=all,linger.ms=5", "enable.idempotence=true"] {
            let batch = lines(&format!("{codec}-{settings}"), 500, false);
            let settings = settings.split(',').map(|setting| format!("-X{setting}")).collect::<Vec<_>>();
            kcat_ok(&server, &with(&["-P", "-t", "plain", "-z", codec], &settings), &(batch.join("\n") + "\n"));
            sent.extend(batch);
        }
    }
    drained_as(&server, "plain", sent.iter().map(String::as_str), &[]);
}

/// Passes connections on, and keeps what the clients said on each.
struct Relay {
    address: String,
    said: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl Relay {
    fn before(listener: TcpListener, upstream: String) -> Self {
        let address = listener.local_addr().unwrap().to_string();
        let said = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&said);
        // it ends with the test
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let Ok(server) = TcpStream::connect(&upstream) else { return };
                let number = kept.lock().unwrap().len();
                kept.lock().unwrap().push(Vec::new());
                let (mut back, mut to_client) = (server.try_clone().unwrap(), client.try_clone().unwrap());
                std::thread::spawn(move || {
                    drop(std::io::copy(&mut back, &mut to_client));
                    drop(to_client.shutdown(Shutdown::Both));
                });
                let kept = Arc::clone(&kept);
                std::thread::spawn(move || pass_on(client, server, |bytes| kept.lock().unwrap()[number].extend(bytes)));
            }
        });
        Self { address, said }
    }

    /// Magic and codec of every record batch of Produce requests, which must be older than version 9.
    fn batches(&self) -> Vec<(u8, u8)> {
        const TRANSACTION_TO_TOPIC: usize = 2 + 2 + 4 + 4; // id, acks, timeout, topics
        const TOPIC_TO_RECORDS: usize = 4 + 4 + 4; // partitions, partition, length
        let mut found = Vec::new();
        for said in self.said.lock().unwrap().iter() {
            let mut rest = &said[..];
            while let Some((length, after)) = rest.split_first_chunk() {
                let frame;
                (frame, rest) = after.split_at(u32::from_be_bytes(*length) as usize);
                if frame[..2] != [0, 0] {
                    continue;
                }
                assert!((3..9).contains(&frame[3]), "Produce in version {}", frame[3]);
                let string_end = |at: usize| at + 2 + usize::from(u16::from_be_bytes([frame[at], frame[at + 1]]));
                let topic = string_end(8) + TRANSACTION_TO_TOPIC;
                let batch = &frame[string_end(topic) + TOPIC_TO_RECORDS..];
                found.push((batch[16], batch[22] & 7));
            }
        }
        found
    }
}

fn pass_on(mut from: TcpStream, mut to: TcpStream, mut keep: impl FnMut(&[u8])) {
    let mut bytes = [0; 8 << 10];
    while let Ok(count @ 1..) = from.read(&mut bytes) {
        keep(&bytes[..count]);
        if to.write_all(&bytes[..count]).is_err() {
            break;
        }
    }
    drop(to.shutdown(Shutdown::Both));
}

/// When the versions offered are not those it likes, librdkafka falls back to old formats or packs nothing, and says nothing.
#[test]
fn kcat_packs_as_it_is_told_and_goes_where_the_server_is_advertised() {
    let sandbox = Sandbox::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let advertised = listener.local_addr().unwrap();
    let server = sandbox.spec().setting("KAFKA__ADVERTISED", &advertised).start().unwrap();
    server.s3().unwrap().create_bucket("lake").unwrap();
    Pipeline::create(&server, "packed", &KEPT).unwrap();
    let relay = Relay::before(listener, server.kafka_host().to_owned());
    assert!(kcat_ok(&server, &["-L"], "").contains(&format!("broker 1 at {}", relay.address)));
    let mut sent = Vec::new();
    for (number, codec) in ["none", "gzip", "snappy", "lz4", "zstd"].into_iter().enumerate() {
        let batch = lines(codec, 500, false);
        let settings = ["-P", "-t", "packed", "-z", codec, "-Xlinger.ms=100"];
        let before = relay.batches().len();
        kcat_ok(&server, &settings, &(batch.join("\n") + "\n"));
        let (codec_number, batches) = (u8::try_from(number).unwrap(), relay.batches());
        assert!(batches.len() > before, "{codec} does not come by where the server is advertised");
        assert!(batches[before..].iter().all(|batch| *batch == (2, codec_number)), "{codec}: {:?}", &batches[before..]);
        sent.extend(batch);
    }
    drained_as(&server, "packed", sent.iter().map(String::as_str), &[]);
}

#[test]
fn kcat_sends_keys_no_events_and_nulls_and_reads_by_offset_and_time() {
    let (_sandbox, server, _s3) = server_with_bucket("lake");
    let flags = [&KEPT[..], &["--shard-count=3", "--batch-on-json-key=.site"]].concat();
    Pipeline::create(&server, "keyed", &flags).unwrap();
    let sent = lines("keyed", 3000, true);
    kcat_ok(&server, &["-P", "-t", "keyed", "-K", "\t", "-z", "lz4"], &(sent.join("\n") + "\n"));
    let key = key_login(&server);
    let every = ["-C", "-q", "-t", "keyed", "-o", "beginning", "-c", "3000", "-f", "%p %s\n"];
    let read = kcat_ok(&server, &with(&every, &key), "");
    let mut partitions = BTreeMap::<String, Vec<(char, u64)>>::new();
    for line in read.lines() {
        let event: serde_json::Value = serde_json::from_str(&line[2..]).unwrap();
        let site = event["site"].as_str().unwrap().to_owned();
        partitions.entry(site).or_default().push((line.chars().next().unwrap(), event["n"].as_u64().unwrap()));
    }
    for (site, found) in &partitions {
        assert_eq!(found.len(), 300, "{site}");
        assert!(
            found.is_sorted_by(|a, b| a.0 == b.0 && a.1 < b.1),
            "{site} is out of order or in two partitions: {found:?}"
        );
    }
    kcat_ok(&server, &["-P", "-t", "keyed", "-K", "\t", "-Z"], "k\tno json\nk\t\nk\t{\"cut\":\n");
    let listed = kcat_ok(&server, &["-L"], "");
    assert!(listed.contains("topic \"keyed\" with 3 partitions:"), "{listed}");
    for (time, offset) in [("0", "offset 0"), ("33333333333333", "offset -1")] {
        let told = kcat_ok(&server, &with(&["-Q", "-t", &format!("keyed:0:{time}")], &key), "");
        let told = told.trim_end();
        assert!(told.starts_with("keyed [0] offset ") && (time == "0" || told.ends_with(offset)), "{time}: {told}");
    }
    let events = sent.iter().map(|line| line.split_once('\t').unwrap().1);
    drained_as(&server, "keyed", events, &["no json", "", "{\"cut\":"]);
}

#[test]
fn kcat_reads_to_the_end_of_every_partition_and_exits() {
    let (_sandbox, server, _s3) = server_with_bucket("lake");
    Pipeline::create(&server, "ended", &[&KEPT[..], &["--shard-count=3"]].concat()).unwrap();
    kcat_ok(&server, &["-P", "-t", "ended", "-p", "0"], "{\"n\":1}\n{\"n\":2}\n");
    kcat_ok(&server, &["-P", "-t", "ended", "-p", "1"], "{\"n\":3}\nno json\n");
    let arguments = ["-C", "-e", "-q", "-t", "ended", "-o", "beginning", "-f", "%p %s\n"];
    let key = key_login(&server);
    let read = kcat_ok(&server, &with(&arguments, &key), "");
    let mut read: Vec<&str> = read.lines().collect();
    read.sort_unstable();
    assert_eq!(
        read,
        ["0 {\"n\":1}", "0 {\"n\":2}", "1 ", "1 {\"n\":3}"],
        "what was no event is a record without a value"
    );
}

#[test]
fn kcat_is_told_in_time_what_is_refused() {
    let (_sandbox, server, _s3) = server_with_bucket("lake");
    Pipeline::create(&server, "open", &KEPT).unwrap();
    let closed = Pipeline::create(&server, "closed", &KEPT[..2]).unwrap();
    let token = closed.token.unwrap();
    let key = key_login(&server);
    let mut sent = Vec::new();
    for mechanism in ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] {
        let batch = lines(mechanism, 10, false);
        let producing = ["-P", "-t", "closed"];
        kcat_ok(&server, &with(&producing, &login("closed", &token, mechanism)), &(batch.join("\n") + "\n"));
        kcat_refused(
            &server,
            &with(&producing, &login("closed", "wrong", mechanism)),
            "{}\n",
            "user or password is wrong",
        );
        kcat_refused(
            &server,
            &with(&producing, &login("nobody", &token, mechanism)),
            "{}\n",
            "user or password is wrong",
        );
        sent.extend(batch);
    }
    let large = format!("{{\"a\":\"{}\"}}\n", "x".repeat(1_000_000));
    for (arguments, input, why) in [
        (vec!["-P", "-t", "closed"], "{}\n", "Topic authorization failed"),
        (vec!["-P", "-t", "none", "-Xtopic.metadata.propagation.max.ms=500"], "{}\n", "Unknown topic"),
        (vec!["-P", "-t", "open", "-Xmessage.max.bytes=8000000"], large.as_str(), "Message size too large"),
        (vec!["-P", "-t", "open", "-Xtransactional.id=t"], "{}\n", "Transactional Id authorization failed"),
        (vec!["-C", "-t", "open", "-o", "beginning"], "", "Topic authorization failed"),
        (with(&["-G", "group", "open"], &key), "", "consumer groups are not supported"),
    ] {
        kcat_refused(&server, &arguments, input, why);
    }
    drained_as(&server, "closed", sent.iter().map(String::as_str), &[]);
    drained_as(&server, "open", std::iter::empty(), &[]);
}
