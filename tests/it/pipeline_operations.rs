//! What their owners do with pipelines that run: change them while events come, look into them, replay, transform, compact.

use crate::sandbox::server_with_bucket;
use cistern_tests::flights::{self, Sums};
use cistern_tests::{Call, Pipeline, S3, Server, python};
use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader};
use std::process::Stdio;
use std::time::Duration;

const WRITTEN_LIMIT: Duration = Duration::from_mins(1);

/// The lines that a command of the pipelines prints.
fn lines(server: &Server, arguments: &[&str]) -> Vec<String> {
    let arguments: Vec<&str> = std::iter::once("pipelines").chain(arguments.iter().copied()).collect();
    server.cli_ok(&arguments).unwrap().lines().map(ToOwned::to_owned).collect()
}

/// Why a command of the pipelines is refused.
fn refused(server: &Server, arguments: &[&str]) -> String {
    let arguments: Vec<&str> = std::iter::once("pipelines").chain(arguments.iter().copied()).collect();
    let output = server.cli(&arguments).unwrap();
    assert!(!output.status.success(), "{arguments:?} should be refused");
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn a_pipeline_that_is_changed_while_events_come_loses_and_doubles_none() {
    let (_sandbox, server, mut s3) = server_with_bucket("before");
    s3.create_bucket("after").unwrap();
    let flags =
        ["--batch-on-json-key=.carrier", "--batch-rows=900", "--batch-timeout-secs=2", "--destination-bucket=before"];
    let pipeline = Pipeline::create(&server, "changing", &flags).unwrap();
    let events = flights::ndjson().unwrap();
    let events: Vec<&str> = events.split_inclusive('\n').take(30_000).collect();
    let changes: [&[&str]; 5] = [
        &["--batch-on-json-key=.origin"],
        &["--batch-on-json-key=", "--sort-by=carrier", "--sort-by=distance", "--row-group-rows=1000"],
        &["--batch-rows=5000", "--prefix=second"],
        &["--destination-bucket=after", "--time-path=%Y/%m", "--bloom-filter=carrier"],
        &["--batch-on-json-key=.dest", "--retention=1m"],
    ];
    for (part, change) in events.chunks(5_000).zip(changes.iter().chain([&changes[0]])) {
        pipeline.send_all(&server, &part.concat()).unwrap();
        let arguments: Vec<&str> = ["update", "changing"].iter().chain(change.iter()).copied().collect();
        assert_eq!(lines(&server, &arguments), ["Changed pipeline \"changing\""]);
    }
    pipeline.wait_written(&server, WRITTEN_LIMIT).unwrap();
    let sent = flights::sums(&events.concat()).unwrap();
    let (mut read, after): (Sums, Sums) = (
        python::parquet_sums(&server, "duckdb", "before", "").unwrap(),
        python::parquet_sums(&server, "duckdb", "after", "").unwrap(),
    );
    assert!(read.rows > 0 && after.rows > 0);
    read += after;
    assert_eq!(read, sent);
    let shown = lines(&server, &["get", "changing"]).join("\n");
    assert!(shown.contains("after") && shown.contains("60s"), "{shown}");
    for (change, reason) in [
        (&["--shard-count=17"][..], "shards 17: use 1 to 16"),
        (&["--destination-bucket=nowhere"], "destination bucket nowhere does not exist"),
        (&["--sql=SELECT carrier FROM elsewhere"], "select FROM stream, or from the pipeline's name"),
        (&["--time-path=%"], "time path %"),
        (&[], "name what shall change"),
    ] {
        let arguments: Vec<&str> = ["update", "changing"].iter().chain(change).copied().collect();
        let said = refused(&server, &arguments);
        assert!(said.contains(reason), "{said}");
    }
    assert_eq!(
        lines(&server, &["get", "changing"]).join("\n").replace(char::is_numeric, ""),
        shown.replace(char::is_numeric, "")
    );
}

#[test]
fn sql_filters_and_shapes_events_and_what_fails_is_replayed_once_it_is_mended() {
    let (_sandbox, server, mut s3) = server_with_bucket("shaped");
    let sql = "SELECT value->>'carrier' AS carrier, (value->>'distance')::BIGINT AS distance, \
               (value->>'dep_delay')::BIGINT AS dep_delay FROM stream WHERE value->>'distance' > 1000";
    let flags = ["--batch-timeout-secs=1", "--destination-bucket=shaped", "--retention=10m", "--sql", sql];
    let pipeline = Pipeline::create(&server, "shaped", &flags).unwrap();
    let events = flights::ndjson().unwrap();
    let events: Vec<&str> = events.split_inclusive('\n').take(20_000).collect();
    pipeline.send_all(&server, &events.concat()).unwrap();
    pipeline.wait_written(&server, WRITTEN_LIMIT).unwrap();
    let far =
        |event: &&&str| serde_json::from_str::<serde_json::Value>(event).unwrap()["distance"].as_i64() > Some(1000);
    let far: String = events.iter().filter(far).copied().collect();
    let mut expected = flights::sums(&far).unwrap();
    assert!(expected.rows > 1_000);
    assert_eq!(python::parquet_sums(&server, "duckdb", "shaped", "").unwrap(), expected);

    // A distance that is no whole number fails alone; mended SQL takes it in a replay.
    let odd = r#"{"carrier":"XX","distance":1500.75,"dep_delay":1}"#;
    let good = r#"{"carrier":"YY","distance":2000,"dep_delay":null}"#;
    pipeline.send_all(&server, &format!("{odd}\n{good}\n")).unwrap();
    pipeline.wait_written(&server, WRITTEN_LIMIT).unwrap();
    let letters: Vec<String> = s3.keys("shaped", "shaped/dead-letters/").unwrap();
    assert_eq!(letters.len(), 1, "{letters:?}");
    let letter = String::from_utf8(s3.get("shaped", &letters[0]).unwrap().unwrap()).unwrap();
    assert!(letter.contains(&format!("\"event\":{odd}")) && letter.contains("\"reason\":\"sql: "), "{letter}");
    let mended = sql.replace("(value->>'distance')::BIGINT", "round((value->>'distance')::DOUBLE)::BIGINT");
    lines(&server, &["update", "shaped", "--sql", &mended]);
    let said = lines(&server, &["replay", "shaped", "--dead-letters", &letters[0]]);
    assert_eq!(said, ["Took 1 events into pipeline \"shaped\" once more"]);
    let said = lines(&server, &["replay", "shaped", "--dead-letters", &letters[0]]);
    assert_eq!(said, ["Took 0 events into pipeline \"shaped\" once more; 1 had been by the same replay"]);
    pipeline.wait_written(&server, WRITTEN_LIMIT).unwrap();
    expected += flights::sums("{\"carrier\":\"XX\",\"distance\":1501,\"dep_delay\":1}").unwrap();
    expected += flights::sums(good).unwrap();
    assert_eq!(python::parquet_sums(&server, "duckdb", "shaped", "").unwrap(), expected);

    let tail = lines(&server, &["tail", "shaped", "--from=20000", "--no-follow"]);
    assert_eq!(tail, [odd, good, odd], "the log is kept for a while");
    let tail = lines(&server, &["tail", "shaped", "--from=oldest", "--limit=3", "--json"]);
    assert!(tail.len() == 3 && tail[0].starts_with("{\"offset\":0,\"at\":\"20"), "{tail:?}");
    let said = refused(&server, &["replay", "shaped", "--from-offset=5", "--to-offset=90000"]);
    assert!(said.contains("is no range of offsets in the log"), "{said}");
    let said = refused(&server, &["replay", "shaped", "--dead-letters", "nope"]);
    assert!(said.contains("no object nope in bucket shaped"), "{said}");

    let metrics = server.metrics().unwrap();
    let errors = metrics.iter().filter(|(name, _)| {
        name.starts_with("cistern_pipelines_step_errors_total{") && name.contains("pipeline=\"shaped\"")
    });
    assert!(errors.map(|(_, count)| count).sum::<f64>() > 0.5, "the step that failed counts it");
}

/// Sends so many events of twenty keys, some with a field of their own, and waits until they are in files of 25 rows.
fn write_small_files(server: &Server, pipeline: &Pipeline, events: std::ops::Range<u64>) {
    let event = |id: u64| {
        let more = if id.is_multiple_of(7) { format!(",\"more\":{{\"note\":\"n{id}\"}}") } else { String::new() };
        let price = if id.is_multiple_of(5) { "0.5" } else { "3" };
        format!("{{\"id\":{id},\"k\":\"key {}\",\"price\":{price}{more}}}\n", id % 20)
    };
    pipeline.send_all(server, &events.map(event).collect::<String>()).unwrap();
    pipeline.wait_written(server, WRITTEN_LIMIT).unwrap();
}

const SMALL_FILES: [&str; 4] =
    ["--batch-on-json-key=.k", "--batch-rows=25", "--batch-timeout-secs=1", "--destination-bucket=lake"];

/// How many folders with files there are.
fn folders(s3: &mut S3) -> usize {
    let keys = s3.keys("lake", "").unwrap();
    keys.iter().filter_map(|key| key.rsplit_once('/')).map(|(folder, _)| folder).collect::<BTreeSet<_>>().len()
}

#[test]
fn small_files_are_compacted_and_hold_the_same_rows() {
    let (_sandbox, server, mut s3) = server_with_bucket("lake");
    let encrypted = "<ServerSideEncryptionConfiguration><Rule><ApplyServerSideEncryptionByDefault><SSEAlgorithm>AES256\
        </SSEAlgorithm></ApplyServerSideEncryptionByDefault></Rule></ServerSideEncryptionConfiguration>";
    s3.send(&Call::new("PUT", "/lake").query("encryption", "").body(encrypted.as_bytes())).unwrap().ok().unwrap();
    let pipeline = Pipeline::create(&server, "small", &SMALL_FILES).unwrap();
    write_small_files(&server, &pipeline, 0..6_000);
    let rows = || python::script(&server, "read_rows.py", &["lake", ""]).unwrap();
    let (before, files, folders) = (rows(), s3.keys("lake", "").unwrap().len(), folders(&mut s3));
    assert!(before.lines().count() == 6_000 && files >= 240, "{files} files");

    let said = lines(&server, &["compact", "small", "--dry-run", "--prefix", "small/k=key%207/"]);
    assert!(said.last().unwrap().starts_with("Would merge 12 files of pipeline \"small\" into 1: "), "{said:?}");
    let said = lines(&server, &["compact", "small", "--prefix", "small/k=key%207/", "--json"]).concat();
    let said: serde_json::Value = serde_json::from_str(&said).unwrap();
    assert_eq!((&said["merged"][0]["rows"], said["merged"][0]["sources"].as_array().unwrap().len()), (&300.into(), 12));
    let said = lines(&server, &["compact", "small"]);
    let summary = format!("Merged {} files of pipeline \"small\" into {}: ", files - 12, folders - 1);
    assert!(said.len() == folders && said[folders - 1].starts_with(&summary), "{said:?}");
    assert!(
        said[0].starts_with("small/k=key%200/") && said[0].contains(".parquet: 12 files, 300 rows, "),
        "{}",
        said[0]
    );
    assert_eq!((s3.keys("lake", "").unwrap().len(), rows() == before), (folders, true));
    assert_eq!(lines(&server, &["compact", "small"]), ["Nothing to merge in pipeline \"small\""]);
    let key = &s3.keys("lake", "").unwrap()[0];
    let head = s3.send(&Call::new("HEAD", &format!("/lake/{key}"))).unwrap().ok().unwrap();
    assert_eq!(head.header("x-amz-server-side-encryption"), Some("AES256"));

    for (arguments, reason) in [
        (&["nobody"][..], "no pipeline nobody (code 1000)"),
        (&["small", "--target-size=1KB"], "target size 1KB: use 1MB to 1GB (code 1001)"),
        (&["small", "--target-size=2GB"], "target size 2GB: use 1MB to 1GB (code 1001)"),
    ] {
        let arguments: Vec<&str> = ["compact"].iter().chain(arguments).copied().collect();
        let said = refused(&server, &arguments);
        assert!(said.contains(reason), "{said}");
    }
    let refused = server.api("POST", "/pipelines/small/compact", br#"{"target":1}"#).unwrap();
    assert!(refused.status == 400 && refused.text().contains("unknown field `target`"), "{}", refused.text());
}

#[test]
fn kill_dash_nine_during_a_compaction_leaves_every_row_in_one_file() {
    let (_sandbox, mut server, _) = server_with_bucket("lake");
    let pipeline = Pipeline::create(&server, "small", &SMALL_FILES).unwrap();
    write_small_files(&server, &pipeline, 0..6_000);
    let rows = |server: &Server| python::script(server, "read_rows.py", &["lake", ""]).unwrap();
    let before = rows(&server);
    assert_eq!(before.lines().count(), 6_000);
    for groups in [1, 2, 5] {
        let files = server.s3().unwrap().keys("lake", "").unwrap().len();
        let mut compact = server.cli_command(&["pipelines", "compact", "small"]);
        let mut compact = compact.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let said = BufReader::new(compact.stdout.take().unwrap()).lines().take(groups);
        let said: Vec<String> = said.map(Result::unwrap).collect();
        assert_eq!(said.len(), groups, "{said:?}");
        server = server.kill().unwrap().start().unwrap(); // in the middle of the next group
        assert!(!compact.wait().unwrap().success(), "the command says that it has not ended");
        let left = server.s3().unwrap().keys("lake", "").unwrap().len();
        assert!(left <= files - groups, "{files} files before, {left} now: what was said is done");
        assert!(rows(&server) == before);
    }
    lines(&server, &["compact", "small"]);
    assert_eq!(server.s3().unwrap().keys("lake", "").unwrap().len(), folders(&mut server.s3().unwrap()));
    assert!(rows(&server) == before);
    write_small_files(&server, &pipeline, 6_000..6_100);
    assert_eq!(rows(&server).lines().count(), 6_100, "ingestion goes on");
}
