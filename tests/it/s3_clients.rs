//! What people use S3 with: the aws command and boto3.

use crate::sandbox::{Sandbox, server_with_bucket};
use cistern_tests::{Call, Content, python};
use std::fs;

const LARGE_BYTES: usize = 200_000_000;

#[test]
fn aws_makes_copies_syncs_lists_presigns_and_removes() {
    let sandbox = Sandbox::new();
    let server = sandbox.start();
    let aws = |arguments: &[&str]| python::aws(&server, arguments).unwrap();
    let folder = sandbox.path().join("tree");
    fs::create_dir_all(folder.join("deep/er")).unwrap();
    for (name, body) in [("a.txt", "alpha"), ("deep/b c.txt", "beta"), ("deep/er/ü.txt", "gamma")] {
        fs::write(folder.join(name), body).unwrap();
    }
    let tree = folder.to_str().unwrap();

    aws(&["s3", "mb", "s3://shelf"]);
    assert!(aws(&["s3", "ls"]).contains("shelf"));
    aws(&["s3", "cp", &format!("{tree}/a.txt"), "s3://shelf/copied.txt"]);
    aws(&["s3", "sync", tree, "s3://shelf/tree"]);
    assert_eq!(aws(&["s3", "sync", tree, "s3://shelf/tree"]), "", "a second sync finds nothing to do");
    let listing = aws(&["s3", "ls", "--recursive", "s3://shelf"]);
    for key in ["copied.txt", "tree/a.txt", "tree/deep/b c.txt", "tree/deep/er/ü.txt"] {
        assert!(listing.contains(key), "{key} is missing in\n{listing}");
    }
    let back = sandbox.path().join("back");
    aws(&["s3", "sync", "s3://shelf/tree", back.to_str().unwrap()]);
    assert_eq!(fs::read_to_string(back.join("deep/er/ü.txt")).unwrap(), "gamma");

    let address = aws(&["s3", "presign", "s3://shelf/tree/deep/b c.txt", "--expires-in", "60"]);
    assert_eq!(fetch(address.trim()), "beta");

    aws(&["s3", "rm", "s3://shelf/copied.txt"]);
    assert!(python::aws(&server, &["s3", "rb", "s3://shelf"]).is_err(), "a bucket with objects is not removed");
    aws(&["s3", "rm", "--recursive", "s3://shelf"]);
    aws(&["s3", "rb", "s3://shelf"]);
    assert!(!aws(&["s3", "ls"]).contains("shelf"));
}

#[test]
fn two_hundred_megabytes_in_parts_read_back_whole_and_in_ranges() {
    let (sandbox, server, mut s3) = server_with_bucket("large");
    let content = Content { seed: 200, length: LARGE_BYTES }.bytes();
    let (file, back) = (sandbox.path().join("large.bin"), sandbox.path().join("back.bin"));
    fs::write(&file, &content).unwrap();
    python::aws(&server, &["s3", "cp", "--no-progress", file.to_str().unwrap(), "s3://large/large.bin"]).unwrap();
    let head = s3.send(&Call::new("HEAD", "/large/large.bin")).unwrap();
    assert_eq!(head.header("content-length"), Some("200000000"));
    assert!(head.header("etag").unwrap().ends_with("-24\""), "{:?}", head.header("etag"));
    for start in [0, 8_388_607, 99_999_999, 199_999_000] {
        let end = (start + 2_000_000).min(LARGE_BYTES) - 1;
        let call = Call::new("GET", "/large/large.bin").header("range", &format!("bytes={start}-{end}"));
        let part = s3.send(&call).unwrap();
        assert_eq!(part.status, 206);
        assert!(part.body == content[start..=end], "range {start}-{end} differs");
    }
    python::aws(&server, &["s3", "cp", "--no-progress", "s3://large/large.bin", back.to_str().unwrap()]).unwrap();
    assert!(fs::read(&back).unwrap() == content, "the copy that came back differs");
}

#[test]
fn boto3_does_what_applications_do() {
    let sandbox = Sandbox::new();
    let server = sandbox.start();
    let said = python::script(&server, "boto3_suite.py", &[]).unwrap();
    assert!(said.trim_end().ends_with(" passed, 0 failed"), "{said}");
}

/// Fetches an address with a client that knows nothing of us.
fn fetch(address: &str) -> String {
    let host = address.split('/').nth(2).unwrap();
    let target = &address[address.find(host).unwrap() + host.len()..];
    let mut connection = cistern_tests::http::Connection::open(host).unwrap();
    connection.send("GET", target, &[], b"").unwrap().ok().unwrap().text()
}
