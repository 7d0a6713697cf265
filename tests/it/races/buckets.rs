//! Clients that make and delete the same bucket.

use super::{clients, code, race, rounds};
use crate::sandbox::Sandbox;
use cistern_tests::http::Response;
use cistern_tests::{Call, Keys, S3, Server};
use rand::RngExt as _;

const CLIENTS: usize = 12;
/// What each client does in a mixed round.
const STEPS: usize = 6;

fn of_other_owner(server: &Server) -> Keys {
    let wanted = br#"{"name":"other","owner":"other","permission":"admin"}"#;
    let made = server.api("POST", "/cistern/keys", wanted).unwrap().ok().unwrap().json().unwrap();
    serde_json::from_value(made["result"].clone()).unwrap()
}

fn create(s3: &mut S3) -> anyhow::Result<Response> {
    s3.send(&Call::new("PUT", "/raced"))
}

fn delete(s3: &mut S3) -> anyhow::Result<Response> {
    s3.send(&Call::new("DELETE", "/raced"))
}

/// Everyone makes it, of two owners: it is one owner's, to whom a repeated request is answered like the first. Everyone deletes it, and
/// it goes once.
fn all_create_then_all_delete(racing: &mut [S3], round: u32) {
    let created = race(racing, round, |_, s3| create(s3));
    let winner = (0..CLIENTS).find(|client| created[*client].status == 200).expect("nobody made it");
    for (client, answer) in created.iter().enumerate() {
        let expected = if client % 2 == winner % 2 { "" } else { "BucketAlreadyExists" };
        assert_eq!(code(answer), expected, "round {round}: client {client}, winner {winner}");
    }
    let deleted = race(racing, round, |_, s3| delete(s3));
    assert_eq!(deleted.iter().filter(|answer| answer.status == 204).count(), 1, "round {round}: it went once");
    for answer in deleted.iter().filter(|answer| answer.status != 204) {
        let code = code(answer);
        assert!(code == "NoSuchBucket" || code == "AccessDenied", "{} {}", answer.status, answer.text());
    }
}

/// Some write while others delete: if the bucket is gone, nothing was acknowledged.
fn write_while_deleting(racing: &mut [S3], root: &mut S3, round: u32) {
    create(root).unwrap().ok().unwrap();
    let answers = race(racing, round, |client, s3| match client % 4 {
        0 => s3.send(&Call::new("PUT", &format!("/raced/{client}")).body(b"kept")),
        2 => delete(s3),
        _ => s3.send(&Call::new("GET", "/raced").query("list-type", &2)),
    });
    let of = |kind: usize| answers.iter().enumerate().filter(move |(client, _)| client % 4 == kind);
    for (client, answer) in answers.iter().enumerate() {
        let allowed = ["", "NoSuchBucket", "BucketNotEmpty", "AccessDenied"];
        assert!(allowed.contains(&code(answer).as_str()), "client {client}: {} {}", answer.status, answer.text());
    }
    let deleted = of(2).filter(|(_, answer)| answer.status == 204).count();
    let written: Vec<usize> = of(0).filter(|(_, answer)| answer.status == 200).map(|(client, _)| client).collect();
    if deleted > 0 {
        assert_eq!((deleted, written.len()), (1, 0), "round {round}: deleted with acknowledged objects in it");
        assert_eq!(code(&root.send(&Call::new("GET", "/raced")).unwrap()), "NoSuchBucket");
        return;
    }
    for client in written {
        assert_eq!(root.get("raced", &client.to_string()).unwrap().as_deref(), Some(&b"kept"[..]), "round {round}");
        root.delete("raced", &client.to_string()).unwrap();
    }
    delete(root).unwrap().ok().unwrap();
}

/// Those of one owner make and delete in any order: no more are deleted than were made, and what is left is listed or not, as it is there
/// or not.
fn mix(racing: &mut [S3], root: &mut S3, round: u32) {
    let done = race(racing, round, |client, s3| {
        let mut done = [0, 0];
        for _ in 0..STEPS {
            if client % 2 == 1 {
                continue; // one owner: a bucket of another cannot be deleted
            }
            let making = rand::rng().random_bool(0.5);
            let answer = if making { create(s3)? } else { delete(s3)? };
            match (code(&answer).as_str(), making) {
                ("", _) => done[usize::from(!making)] += 1,
                ("NoSuchBucket", false) => {}
                // S3's answer where a change of the bucket is under way
                ("OperationAborted", _) if answer.status == 409 => {}
                _ => anyhow::bail!("round {round}: making {making}: {} {}", answer.status, answer.text()),
            }
        }
        Ok(done)
    });
    let made: u32 = done.iter().map(|[made, _]| made).sum();
    let deleted: u32 = done.iter().map(|[_, deleted]| deleted).sum();
    let there = root.send(&Call::new("HEAD", "/raced")).unwrap().status == 200;
    assert!(deleted <= made, "round {round}: {deleted} deleted, {made} made");
    assert!(there == (made > deleted) || made > deleted + 1, "round {round}: {made} made, {deleted} deleted, {there}");
    let listed = root.send(&Call::new("GET", "/")).unwrap().ok().unwrap().xml_all("Name");
    assert_eq!(listed.contains(&"raced".to_owned()), there, "round {round}");
    if there {
        delete(root).unwrap().ok().unwrap();
    }
}

#[test]
fn a_bucket_that_is_made_and_deleted_at_once_is_there_or_not_and_loses_nothing() {
    let sandbox = Sandbox::new();
    let server = sandbox.start();
    let other = of_other_owner(&server);
    let mut root = server.s3().unwrap();
    // every second client is of another owner
    let mut racing: Vec<S3> = clients(&server, CLIENTS);
    for s3 in racing.iter_mut().skip(1).step_by(2) {
        *s3 = S3::connect(server.s3_host(), &other).unwrap();
    }
    let rounds = rounds();
    for round in 0..rounds {
        all_create_then_all_delete(&mut racing, round);
        write_while_deleting(&mut racing, &mut root, round);
        mix(&mut racing, &mut root, round);
    }
    println!("races: {rounds} rounds of {CLIENTS} clients that make, fill and delete one bucket");
}
