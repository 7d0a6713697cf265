//! Any two of the six drives gone, the view deleted: everything acknowledged is still there.

use crate::sandbox::Sandbox;
use cistern_tests::{Content, Pipeline, Server, ServerSpec};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const DRIVES: usize = 6;
const BUCKET: &str = "kept";
/// Small ones lie whole in one lane, large ones are striped, the largest has several stripes.
const LENGTHS: [usize; 8] = [0, 1, 100, 4096, 131_072, 131_073, 1_048_576, 5_000_000];

/// A store with objects and a pipeline, stopped.
fn filled() -> (Sandbox, ServerSpec, Vec<Content>) {
    let sandbox = Sandbox::new();
    let server = sandbox.start();
    let mut s3 = server.s3().unwrap();
    s3.create_bucket(BUCKET).unwrap();
    let lengths = LENGTHS.into_iter().chain(std::iter::repeat_n(2000, 40));
    let contents: Vec<Content> = lengths.zip(0..).map(|(length, seed)| Content { seed, length }).collect();
    for content in &contents {
        s3.put(BUCKET, &name(content), &content.bytes()).unwrap();
    }
    Pipeline::create(&server, "kept", &["--destination-bucket=kept"]).unwrap();
    (sandbox, server.stop().unwrap(), contents)
}

fn name(content: &Content) -> String {
    format!("k{:03}", content.seed)
}

#[track_caller]
fn check_all_there(server: &Server, contents: &[Content], when: &str) {
    let mut s3 = server.s3().unwrap();
    assert_eq!(s3.keys(BUCKET, "k").unwrap(), contents.iter().map(name).collect::<Vec<_>>(), "{when}");
    for content in contents {
        assert!(s3.get(BUCKET, &name(content)).unwrap() == Some(content.bytes()), "{when}: {content:?} differs");
    }
    assert!(server.cli_ok(&["pipelines", "list"]).unwrap().contains("kept"), "{when}: the pipeline is gone");
}

/// A copy of a stopped store, to be damaged.
fn copy(spec: &ServerSpec, data_dir: &Path) -> ServerSpec {
    let copied = Command::new("cp").args(["-a", "--sparse=always"]).arg(&spec.data_dir).arg(data_dir).status().unwrap();
    assert!(copied.success());
    ServerSpec::new(data_dir).unwrap()
}

fn drive(spec: &ServerSpec, number: usize) -> PathBuf {
    spec.data_dir.join(format!("drives/d{number}"))
}

#[test]
fn any_two_drives_may_be_gone() {
    let (sandbox, spec, contents) = filled();
    for first in 1..=DRIVES {
        for second in first + 1..=DRIVES {
            let damaged = copy(&spec, &sandbox.path().join("damaged"));
            fs::remove_dir_all(drive(&damaged, first)).unwrap();
            fs::remove_dir_all(drive(&damaged, second)).unwrap();
            let server = damaged.start().unwrap_or_else(|error| panic!("without {first} and {second}: {error:#}"));
            check_all_there(&server, &contents, &format!("without drives {first} and {second}"));
            drop(server);
            fs::remove_dir_all(&damaged.data_dir).unwrap();
        }
    }
}

#[test]
fn with_two_drives_and_the_view_gone_all_is_read_and_writes_are_refused() {
    let (_sandbox, spec, contents) = filled();
    fs::remove_dir_all(drive(&spec, 2)).unwrap();
    fs::remove_dir_all(drive(&spec, 5)).unwrap();
    fs::remove_dir_all(spec.data_dir.join("view")).unwrap();
    let server = spec.start().unwrap();
    check_all_there(&server, &contents, "without two drives and the view");
    // k + 1 drives are needed for a write to be safe: with exactly k left nothing is acknowledged
    let mut s3 = server.s3().unwrap();
    let refused = s3.put(BUCKET, "k999", b"more").unwrap_err();
    assert!(refused.to_string().contains("503"), "{refused:#}");
}

#[test]
fn with_one_drive_gone_writing_goes_on_and_is_kept() {
    let (_sandbox, spec, mut contents) = filled();
    fs::remove_dir_all(drive(&spec, 3)).unwrap();
    let server = spec.start().unwrap();
    let mut s3 = server.s3().unwrap();
    let more = Content { seed: 900, length: 300_000 };
    s3.put(BUCKET, &name(&more), &more.bytes()).unwrap();
    contents.push(more);
    let server = server.kill().unwrap().start().unwrap();
    check_all_there(&server, &contents, "written with one drive gone, then killed");
}

#[test]
fn a_deleted_view_is_rebuilt_from_the_drives() {
    let (_sandbox, spec, contents) = filled();
    fs::remove_dir_all(spec.data_dir.join("view")).unwrap();
    let server = spec.start().unwrap();
    check_all_there(&server, &contents, "without the view");
}

#[test]
fn a_view_full_of_rubbish_is_rebuilt_from_the_drives() {
    let (_sandbox, spec, contents) = filled();
    let view = spec.data_dir.join("view");
    for entry in walk(&view) {
        fs::write(&entry, vec![0xA5; 5000]).unwrap();
    }
    let server = spec.start().unwrap();
    check_all_there(&server, &contents, "with rubbish in the view");
}

fn walk(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { walk(&path) } else { vec![path] }).collect()
}

#[test]
fn the_sled_view_serves_the_same_and_the_two_can_be_exchanged() {
    let (_sandbox, spec, contents) = filled();
    for view in ["sled", "fjall"] {
        let server = spec.clone().setting("STORAGE__VIEW", view).start().unwrap();
        check_all_there(&server, &contents, view);
        let mut s3 = server.s3().unwrap();
        s3.put(BUCKET, &format!("by-{view}"), view.as_bytes()).unwrap();
        server.stop().unwrap();
    }
}
