//! Access keys: what they see and what they may do, and that the root key is nobody's default.

use crate::sandbox::{Sandbox, server_with_bucket};
use cistern_tests::{Call, Keys, S3, Server};
use std::os::unix::fs::PermissionsExt as _;

fn create(server: &Server, arguments: &[&str]) -> Keys {
    let mut all = vec!["keys", "create"];
    all.extend(arguments);
    all.push("--json");
    serde_json::from_str(&server.cli_ok(&all).unwrap()).unwrap()
}

#[track_caller]
fn check(s3: &mut S3, method: &str, path: &str, status: u16) {
    let answer = s3.send(&Call::new(method, path).body(if method == "PUT" { b"new" } else { b"" })).unwrap();
    assert_eq!(answer.status, status, "{method} {path}: {}", answer.text());
    if status == 403 {
        assert!(answer.xml("Code") == "AccessDenied" || method == "HEAD", "{}", answer.text());
    }
}

#[test]
fn the_first_start_makes_secrets_that_only_the_owner_reads_and_no_two_servers_share() {
    let (one, two) = (Sandbox::new(), Sandbox::new());
    let (first, second) = (one.start(), two.start());
    let mode = std::fs::metadata(one.data_dir().join("credentials.toml")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert_ne!(first.root_keys().secret_access_key, second.root_keys().secret_access_key);
    assert_ne!(first.api_token(), second.api_token());
    assert!(first.root_keys().secret_access_key.len() >= 32 && first.api_token().len() >= 32);
    let log = first.log();
    assert!(
        !log.contains(&first.root_keys().secret_access_key) && !log.contains(first.api_token()),
        "secrets in the log"
    );
}

#[test]
fn a_key_that_may_read_one_bucket_may_do_nothing_else() {
    let (_sandbox, server, mut root) = server_with_bucket("mine");
    root.create_bucket("other").unwrap();
    root.put("mine", "a", b"body").unwrap();
    root.put("other", "a", b"body").unwrap();
    let keys = create(&server, &["reader", "--bucket", "mine", "--permission", "read"]);
    let mut s3 = S3::connect(server.s3_host(), &keys).unwrap();
    check(&mut s3, "GET", "/mine/a", 200);
    check(&mut s3, "GET", "/mine", 200);
    check(&mut s3, "PUT", "/mine/a", 403);
    check(&mut s3, "DELETE", "/mine/a", 403);
    check(&mut s3, "GET", "/other/a", 403);
    check(&mut s3, "PUT", "/new-bucket", 403);
    check(&mut s3, "DELETE", "/mine", 403);
    assert_eq!(root.get("mine", "a").unwrap().as_deref(), Some(&b"body"[..]), "a refused request changed something");
}

#[test]
fn a_key_that_may_write_one_bucket_writes_there_only() {
    let (_sandbox, server, mut root) = server_with_bucket("mine");
    root.create_bucket("other").unwrap();
    let keys = create(&server, &["writer", "--bucket", "mine", "--permission", "read-write"]);
    let mut s3 = S3::connect(server.s3_host(), &keys).unwrap();
    check(&mut s3, "PUT", "/mine/a", 200);
    check(&mut s3, "GET", "/mine/a", 200);
    check(&mut s3, "DELETE", "/mine/a", 204);
    check(&mut s3, "PUT", "/other/a", 403);
    assert_eq!(root.get("other", "a").unwrap(), None);
}

#[test]
fn keys_of_different_owners_do_not_see_each_others_buckets() {
    let (_sandbox, server, mut root) = server_with_bucket("of-root");
    root.put("of-root", "a", b"body").unwrap();
    let keys = create(&server, &["guest", "--owner", "guest", "--permission", "admin"]);
    let mut guest = S3::connect(server.s3_host(), &keys).unwrap();
    check(&mut guest, "GET", "/of-root/a", 403);
    check(&mut guest, "DELETE", "/of-root", 403);
    guest.create_bucket("of-guest").unwrap();
    let buckets = |s3: &mut S3| s3.send(&Call::new("GET", "/")).unwrap().ok().unwrap().xml_all("Name");
    assert_eq!(buckets(&mut guest), ["of-guest"]);
    assert_eq!(buckets(&mut root), ["of-root"]);
}

#[test]
fn a_revoked_key_is_refused_at_once_and_stays_so_after_a_restart() {
    let (_sandbox, server, _root) = server_with_bucket("mine");
    let keys = create(&server, &["short-lived"]);
    let mut s3 = S3::connect(server.s3_host(), &keys).unwrap();
    check(&mut s3, "GET", "/mine", 200);
    server.cli_ok(&["keys", "revoke", "short-lived"]).unwrap();
    let refused = s3.send(&Call::new("GET", "/mine")).unwrap();
    assert_eq!((refused.status, refused.xml("Code").as_str()), (403, "InvalidAccessKeyId"));
    let listed = server.cli_ok(&["keys", "list", "--json"]).unwrap();
    assert!(!listed.contains(&keys.access_key_id) && listed.contains(&server.root_keys().access_key_id), "{listed}");
    assert!(!listed.contains(&server.root_keys().secret_access_key), "a listing shows a secret");
    drop(s3);
    let server = server.stop().unwrap().start().unwrap();
    let mut s3 = S3::connect(server.s3_host(), &keys).unwrap();
    assert_eq!(s3.send(&Call::new("GET", "/mine")).unwrap().status, 403);
}

#[test]
fn the_management_api_asks_for_its_token() {
    let sandbox = Sandbox::new();
    let server = sandbox.start();
    let target = format!("/client/v4/accounts/{}/r2/buckets", server.account_id());
    for authorization in [None, Some("Bearer wrong".to_owned()), Some(server.api_token().to_owned())] {
        let headers: Vec<_> = authorization.into_iter().map(|value| ("authorization".to_owned(), value)).collect();
        let mut connection = cistern_tests::http::Connection::open(server.management_host()).unwrap();
        let answer = connection.send("GET", &target, &headers, b"").unwrap();
        assert!(matches!(answer.status, 401 | 403), "{headers:?}: {} {}", answer.status, answer.text());
        assert_eq!(answer.json().unwrap()["success"], false);
    }
    assert_eq!(server.api("GET", "/r2/buckets", b"").unwrap().status, 200);
}
