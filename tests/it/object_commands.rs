//! `cistern object`: what goes in comes out, whatever the key, and a list says when there is more.

use crate::sandbox::server_with_bucket;
use cistern_tests::Server;
use cistern_tests::server::text;
use serde_json::Value;
use std::io::Write as _;
use std::process::Stdio;

fn json(server: &Server, arguments: &[&str]) -> Value {
    let all = [&["object"], arguments, &["--json"]].concat();
    serde_json::from_str(&server.cli_ok(&all).unwrap()).unwrap()
}

#[test]
fn an_object_goes_in_from_a_file_or_a_pipe_and_comes_out_the_same() {
    let (sandbox, server, mut s3) = server_with_bucket("lake");
    let body: Vec<u8> = (0..3_000_000_u32).flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
    let (source, copy) = (sandbox.path().join("source.bin"), sandbox.path().join("copy.bin"));
    std::fs::write(&source, &body).unwrap();
    let source = source.to_str().unwrap();
    let put =
        ["object", "put", "lake/a b/../ü%", "--file", source, "--content-type=image/x", "--cache-control=no-store"];
    assert_eq!(server.cli_ok(&put).unwrap().trim_end(), "Stored lake/a b/../ü%");
    assert!(s3.get("lake", "a b/../ü%").unwrap().as_deref() == Some(&body), "S3 reads something else");
    let get = ["object", "get", "lake/a b/../ü%", "--file", copy.to_str().unwrap()];
    assert!(server.cli_ok(&get).unwrap().starts_with("Wrote "));
    assert!(std::fs::read(&copy).unwrap() == body, "the file is something else");
    let head = json(&server, &["head", "lake/a b/../ü%"]);
    assert_eq!(
        [&head["content-length"], &head["content-type"], &head["cache-control"]],
        ["12000000", "image/x", "no-store"]
    );
    let mut piped = server
        .cli_command(&["object", "put", "lake/piped"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    piped.stdin.take().unwrap().write_all(b"out of a pipe").unwrap();
    assert!(piped.wait().unwrap().success());
    assert_eq!(server.cli_ok(&["object", "get", "lake/piped"]).unwrap(), "out of a pipe");
    server.cli_ok(&["object", "delete", "lake/piped"]).unwrap();
    assert!(s3.get("lake", "piped").unwrap().is_none());
    let gone = server.cli(&["object", "get", "lake/piped"]).unwrap();
    assert_eq!((gone.status.code(), text(&gone.stdout)), (Some(1), String::new()));
    let complaint = text(&gone.stderr);
    assert!(complaint.contains("no object piped in bucket lake") && complaint.lines().count() == 1, "{complaint}");
}

#[test]
fn a_list_says_when_there_is_more() {
    let (_sandbox, server, mut s3) = server_with_bucket("lake");
    for key in ["a/1", "a/2", "b", "c"] {
        s3.put("lake", key, b"x").unwrap();
    }
    let keys = |listed: &Value| -> Vec<String> {
        listed["objects"].as_array().unwrap().iter().map(|object| object["key"].as_str().unwrap().into()).collect()
    };
    let all = json(&server, &["list", "lake"]);
    assert_eq!(
        (keys(&all), &all["truncated"]),
        (vec!["a/1".into(), "a/2".into(), "b".into(), "c".into()], &false.into())
    );
    let some = json(&server, &["list", "lake", "--limit=3"]);
    assert_eq!((keys(&some), &some["truncated"]), (vec!["a/1".into(), "a/2".into(), "b".into()], &true.into()));
    let folded = json(&server, &["list", "lake", "--delimiter=/", "--limit=3"]);
    assert_eq!((keys(&folded), &folded["truncated"]), (vec!["b".into(), "c".into()], &false.into()));
    assert_eq!(folded["prefixes"], serde_json::json!(["a/"]));
    for (limit, talk) in [("2", "there is more: these are the first 2\n"), ("4", "")] {
        let shown = server.cli(&["object", "list", "lake", "--limit", limit]).unwrap();
        assert!(shown.status.success() && text(&shown.stdout).starts_with("KEY "), "{shown:?}");
        assert_eq!(text(&shown.stderr), talk);
    }
}
