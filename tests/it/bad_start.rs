//! Starts that must not happen: the last line of stderr says what is wrong, the exit code is not 0, and nothing changed:
//! after the cause is put right everything is there.

use crate::sandbox::Sandbox;
use cistern_tests::server::text;
use cistern_tests::{Call, Content, Server, ServerSpec};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

const KEPT: Content = Content { seed: 5, length: 200_000 };

/// A stopped server with one object.
fn stopped() -> (Sandbox, ServerSpec) {
    let sandbox = Sandbox::new();
    let server = sandbox.start();
    let mut s3 = server.s3().unwrap();
    s3.create_bucket("kept").unwrap();
    s3.put("kept", "k", &KEPT.bytes()).unwrap();
    (sandbox, server.stop().unwrap())
}

#[track_caller]
fn check_refused(what: &str, spec: &ServerSpec, words: &[&str]) {
    let output = spec.start_refused().unwrap();
    let said = text(&output.stderr);
    assert!(matches!(output.status.code(), Some(1 | 2)), "{what}: ended with {}: {said}", output.status);
    let last = said.lines().last().unwrap_or_default().to_lowercase();
    for word in words {
        assert!(last.contains(&word.to_lowercase()), "{what}: {word:?} is not in the last line of\n{said}");
    }
    assert!(!text(&output.stdout).contains("ready"), "{what}: it said ready");
}

#[track_caller]
fn check_kept(server: &Server, what: &str) {
    let found = server.s3().unwrap().get("kept", "k").unwrap();
    assert!(found == Some(KEPT.bytes()), "{what}: the object is lost or another");
}

fn drive(spec: &ServerSpec, number: usize) -> PathBuf {
    spec.data_dir.join(format!("drives/d{number}"))
}

#[test]
fn settings_that_do_not_exist_or_make_no_sense() {
    let sandbox = Sandbox::new();
    let file = sandbox.path().join("wrong.toml");
    let in_file = |content: &str| {
        fs::write(&file, content).unwrap();
        let mut spec = sandbox.spec();
        spec.arguments = vec!["--config".into(), file.display().to_string()];
        spec
    };
    check_refused("an unknown key", &in_file("[s3]\nlissten = \"127.0.0.1:0\""), &["s3.lissten", "s3.listen"]);
    check_refused("broken TOML", &in_file("[s3\n"), &["wrong.toml", "line 1"]);
    check_refused("an unknown view", &in_file("[storage]\nview = \"rocks\""), &["storage.view", "fjall", "sled"]);
    check_refused("a key of the wrong type", &in_file("data_dir = true"), &["data_dir"]);
    let missing = in_file("");
    fs::remove_file(&file).unwrap();
    check_refused("a missing file", &missing, &["wrong.toml"]);
    let unknown = sandbox.spec().setting("S3__LISSTEN", "127.0.0.1:0");
    check_refused("an unknown name in the environment", &unknown, &["CISTERN_S3__LISSTEN", "CISTERN_S3__LISTEN"]);
    check_refused("no address", &sandbox.spec().setting("S3__LISTEN", "nowhere"), &["s3.listen"]);
    check_refused("more parity than drives", &sandbox.spec().setting("STORAGE__PARITY", &9), &["parity"]);
    assert!(!sandbox.data_dir().try_exists().unwrap(), "a refused start made a data folder");
}

#[test]
fn master_keys_that_are_gone_damaged_or_for_everybody() {
    let (_sandbox, spec) = stopped();
    let sealed = Call::new("PUT", "/kept/sealed").header("x-amz-server-side-encryption", "AES256");
    let server = spec.start().unwrap();
    assert_eq!(server.s3().unwrap().send(&sealed.body(&KEPT.bytes())).unwrap().status, 200);
    let spec = server.stop().unwrap();
    let path = spec.data_dir.join("master-keys.toml");
    let kept = fs::read_to_string(&path).unwrap();
    fs::write(&path, "current = \"short\"").unwrap();
    check_refused("a damaged file", &spec, &["master-keys.toml", "base64 of 32 bytes"]);
    fs::write(&path, &kept).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    check_refused("a file for everybody", &spec, &["master-keys.toml", "chmod 600"]);
    fs::remove_file(&path).unwrap();
    for again in 0..2 {
        check_refused("a lost file", &spec, &["master-keys.toml", "is missing", "from your copy"]);
        assert!(!path.try_exists().unwrap(), "another file was made in its place ({again})");
    }
    let (former, rest) = kept.split_once("current = ").unwrap();
    let rotated = format!("{former}current = \"{}=\"\nolder = [{}]\n", "A".repeat(43), rest.lines().next().unwrap());
    fs::write(&path, rotated).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    let server = spec.start().unwrap();
    check_kept(&server, "the key is among the older ones");
    assert!(server.s3().unwrap().get("kept", "sealed").unwrap() == Some(KEPT.bytes()), "the older key opens");
}

#[test]
fn ports_that_are_taken() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    for (name, setting) in [("S3", "s3.listen"), ("MANAGEMENT", "management.listen"), ("INGEST", "ingest.listen")] {
        let sandbox = Sandbox::new();
        let spec = sandbox.spec().setting(&format!("{name}__LISTEN"), &address);
        check_refused(name, &spec, &[&address, setting, "in use"]);
        assert!(!sandbox.data_dir().join("endpoints.json").try_exists().unwrap());
    }
}

#[test]
fn a_data_folder_that_another_server_uses() {
    let (_sandbox, spec) = stopped();
    let server = spec.start().unwrap();
    check_refused("a folder in use", &spec, &[&server.pid().to_string()]);
    check_kept(&server, "the first server goes on");
}

#[test]
fn a_data_folder_of_a_newer_program() {
    let (_sandbox, spec) = stopped();
    let file = spec.data_dir.join("instance.toml");
    let right = fs::read_to_string(&file).unwrap();
    let version = right.lines().find(|line| line.contains("version")).unwrap();
    let name = version.split('=').next().unwrap();
    fs::write(&file, right.replace(version, &format!("{name}= 99"))).unwrap();
    check_refused("a newer format", &spec, &["99", "newer"]);
    fs::write(&file, right).unwrap();
    check_kept(&spec.start().unwrap(), "after the version was put right");
}

#[test]
fn credentials_that_others_may_read() {
    let (_sandbox, spec) = stopped();
    let file = spec.data_dir.join("credentials.toml");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    check_refused("credentials readable by all", &spec, &["credentials.toml", "600"]);
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    check_kept(&spec.start().unwrap(), "after the mode was put right");
}

#[test]
fn more_drives_missing_than_there_is_parity() {
    let (sandbox, spec) = stopped();
    let aside = sandbox.path().join("aside");
    fs::create_dir(&aside).unwrap();
    for number in 1..=3 {
        fs::rename(drive(&spec, number), aside.join(format!("d{number}"))).unwrap();
    }
    check_refused("three drives missing", &spec, &["d1", "d2", "d3"]);
    for number in 1..=3 {
        drop(fs::remove_dir_all(drive(&spec, number)));
        fs::rename(aside.join(format!("d{number}")), drive(&spec, number)).unwrap();
    }
    check_kept(&spec.start().unwrap(), "after the drives were brought back");
}

#[test]
fn a_drive_of_another_set_and_a_copy_of_a_drive() {
    let (_sandbox, spec) = stopped();
    let (_other_sandbox, other) = stopped();
    let own = drive(&spec, 4).with_extension("own");
    fs::rename(drive(&spec, 4), &own).unwrap();
    let put = |source: &PathBuf| {
        let copied =
            std::process::Command::new("cp").args(["-a", "--sparse=always"]).arg(source).arg(drive(&spec, 4)).status();
        assert!(copied.unwrap().success());
    };
    put(&drive(&other, 4));
    check_refused("a drive of another set", &spec, &["d4", "set"]);
    fs::remove_dir_all(drive(&spec, 4)).unwrap();
    put(&drive(&spec, 3));
    check_refused("a copy of drive 3 as drive 4", &spec, &["d3", "d4"]);
    fs::remove_dir_all(drive(&spec, 4)).unwrap();
    fs::rename(&own, drive(&spec, 4)).unwrap();
    check_kept(&spec.start().unwrap(), "after the drives were put right");
}

#[test]
fn swapped_drives_are_known_by_what_they_say() {
    let (_sandbox, spec) = stopped();
    let between = spec.data_dir.join("between");
    fs::rename(drive(&spec, 1), &between).unwrap();
    fs::rename(drive(&spec, 6), drive(&spec, 1)).unwrap();
    fs::rename(&between, drive(&spec, 6)).unwrap();
    check_kept(&spec.start().unwrap(), "drives 1 and 6 swapped");
}

#[test]
fn another_parity_than_the_drives_were_made_with() {
    let (_sandbox, spec) = stopped();
    check_refused("another parity", &spec.clone().setting("STORAGE__PARITY", &1), &["2", "1", "parity"]);
    check_kept(&spec.start().unwrap(), "with the parity it was made with");
}

#[test]
fn commands_that_are_misused_end_with_2_and_failures_with_1() {
    let sandbox = Sandbox::new();
    let server = sandbox.start();
    for (arguments, code, word) in [
        (&["bucket", "create"][..], 2, "name"),
        (&["bucket", "create", "No Bucket"], 2, "bucket name"),
        (&["no-such-noun"], 2, "no-such-noun"),
        (&["bucket", "info", "nowhere"], 1, "nowhere"),
        (&["bucket", "list", "--api-url", "http://127.0.0.1:9"], 1, "127.0.0.1:9"),
        (&["bucket", "list", "--api-token", "wrong"], 1, "token"),
    ] {
        let output = server.cli(arguments).unwrap();
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {said}");
        assert!(said.to_lowercase().contains(word), "{arguments:?}: {word:?} is not in {said}");
        assert!(code == 2 || said.trim_end().lines().count() == 1, "{arguments:?}: more than a line: {said}");
    }
}
