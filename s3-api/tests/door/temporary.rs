//! Temporary credentials: what they reach, and when they end.

use crate::house::{Call, House, house_with_bucket};
use crate::sign::Keys;
use cistern_access::{Access, KeyScope, Permission, TemporarySpec};
use cistern_runtime::TestClock;
use cistern_types::Timestamp;
use std::sync::Arc;
use std::time::Duration;

/// A pair and its session token.
pub(crate) struct Session {
    pub(crate) keys: Keys,
    pub(crate) token: String,
}

impl Session {
    fn signs(&self, call: Call) -> Call {
        call.by(&self.keys).header("x-amz-security-token", &self.token)
    }
}

pub(crate) async fn session(access: &Access, permission: Permission, scope: Option<KeyScope>) -> Session {
    session_under(access, access.root().key.access_key_id.as_str(), permission, scope).await
}

/// The same under another key than root's.
pub(crate) async fn session_under(
    access: &Access,
    parent: &str,
    permission: Permission,
    scope: Option<KeyScope>,
) -> Session {
    let spec = TemporarySpec {
        parent: parent.parse().unwrap(),
        bucket: Some("photos".parse().unwrap()),
        permission,
        scope,
        life: Duration::from_mins(15),
    };
    let made = access.create_temporary(spec).await.unwrap();
    let keys = Keys { id: made.access_key_id.to_string(), secret: made.secret.expose().into() };
    Session { keys, token: made.session_token.expose().into() }
}

async fn with_objects() -> House {
    let house = house_with_bucket().await;
    house.send(&Call::put("/other")).await.expect(200);
    for path in ["/photos/logs/1", "/photos/cat", "/photos/dog", "/other/cat"] {
        house.put(path, "x").await;
    }
    house
}

#[tokio::test]
async fn they_read_and_write_the_bucket_they_are_for() {
    let house = with_objects().await;
    let session = session(&house.access, Permission::ReadWrite, None).await;
    house.send(&session.signs(Call::get("/photos/cat"))).await.expect(200);
    house.send(&session.signs(Call::put("/photos/new").body("y"))).await.expect(200);
    let presigned = Call::get("/photos/new").by(&session.keys).query("X-Amz-Security-Token", &session.token);
    house.send(&presigned.presigned("60")).await.expect(200);
    assert_eq!(house.send(&session.signs(Call::get("/"))).await.expect(200).elements("Name"), ["photos"]);
    for call in [Call::get("/other/cat"), Call::put("/third"), Call::delete("/photos")] {
        house.check_refused(&session.signs(call), "AccessDenied", 403).await;
    }
    let copy = Call::put("/photos/stolen").header("x-amz-copy-source", "other/cat");
    house.check_refused(&session.signs(copy), "AccessDenied", 403).await;
}

#[tokio::test]
async fn they_reach_no_key_outside_their_scope() {
    let house = with_objects().await;
    let scope = KeyScope { prefixes: vec!["logs/".into()], objects: vec!["cat".into()] };
    let session = session(&house.access, Permission::Admin, Some(scope)).await;
    for call in [
        Call::get("/photos/logs/1"),
        Call::get("/photos/logs/none"),
        Call::head("/photos/cat"),
        Call::put("/photos/logs/2").body("y"),
        Call::get("/photos?list-type=2&prefix=logs/"),
        Call::get("/photos?versions&prefix=logs/2"),
        Call::get("/photos?uploads&prefix=logs/"),
        Call::head("/photos"),
        Call::put("/photos/logs/3").header("x-amz-copy-source", "photos/cat"),
    ] {
        let status = house.send(&session.signs(call.clone())).await.status;
        assert!(status == 200 || (status == 404 && call.path.ends_with("none")), "{call:?}: {status}");
    }
    for call in [
        Call::get("/photos/dog"),
        Call::get("/photos/nothing"),
        Call::put("/photos/dog").body("y"),
        Call::delete("/photos/dog"),
        Call::get("/photos"),
        Call::get("/photos?list-type=2&prefix=log"),
        Call::get("/photos?list-type=2&prefix=logs/&prefix=dog"),
        Call::get("/photos?versions"),
        Call::get("/photos?uploads&prefix=cat"),
        Call::post("/photos/dog?uploads"),
        Call::get("/photos?acl"),
        Call::get("/photos?versioning"),
        Call::put("/photos/logs/3").header("x-amz-copy-source", "photos/dog"),
        Call::put("/photos?versioning")
            .body("<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>"),
    ] {
        house.check_refused(&session.signs(call), "AccessDenied", 403).await;
    }
    let many = "<Delete><Object><Key>logs/2</Key></Object><Object><Key>dog</Key></Object></Delete>";
    let answer = house.send(&session.signs(Call::post("/photos?delete").body(many))).await;
    let answer = answer.expect(200);
    assert_eq!(
        (answer.elements("Code"), answer.elements("Key")),
        (vec!["AccessDenied".into()], vec!["logs/2".into(), "dog".into()])
    );
    house.send(&Call::head("/photos/dog")).await.expect(200);
    house.send(&Call::head("/photos/logs/2")).await.expect(404);
}

#[tokio::test]
async fn a_pair_without_its_token_or_with_another_is_unknown() {
    let house = with_objects().await;
    let (first, second) = (
        session(&house.access, Permission::Read, None).await,
        session(&house.access, Permission::ReadWrite, None).await,
    );
    house.check_refused(&Call::get("/photos/cat").by(&first.keys), "InvalidAccessKeyId", 403).await;
    let mixed = Call::get("/photos/cat").by(&first.keys).header("x-amz-security-token", &second.token);
    house.check_refused(&mixed, "InvalidToken", 400).await;
    let with_own = Call::get("/photos/cat").header("x-amz-security-token", &first.token);
    house.check_refused(&with_own, "InvalidToken", 400).await;
    for token in ["", "nonsense", &first.token[1..], &format!("{}x", first.token)] {
        let call = Call::get("/photos/cat").by(&first.keys).header("x-amz-security-token", token);
        house.check_refused(&call, "InvalidToken", 400).await;
    }
    let forged = Keys { secret: "another".into(), ..first.keys.clone() };
    let call = Call::get("/photos/cat").by(&forged).header("x-amz-security-token", &first.token);
    house.check_refused(&call, "SignatureDoesNotMatch", 403).await;
    let unsigned = Call::get("/photos/cat").by(&first.keys).unsigned_header("x-amz-security-token", &first.token);
    house.check_refused(&unsigned, "AccessDenied", 403).await;
}

#[tokio::test]
async fn they_end_with_their_time_and_with_their_parent() {
    let house = with_objects().await;
    // of the same root key, but long ago
    let past = Access::in_memory(Arc::new(TestClock::at(Timestamp::from_millis(1_000))));
    let over = session(&past, Permission::Read, None).await;
    house.check_refused(&over.signs(Call::get("/photos/cat")), "ExpiredToken", 400).await;

    let parent = house.key(None, None, Permission::ReadWrite).await;
    let spec = TemporarySpec {
        parent: parent.id.parse().unwrap(),
        bucket: None,
        permission: Permission::Read,
        scope: None,
        life: Duration::from_mins(15),
    };
    let made = house.access.create_temporary(spec).await.unwrap();
    let keys = Keys { id: made.access_key_id.to_string(), secret: made.secret.expose().into() };
    let session = Session { keys, token: made.session_token.expose().into() };
    house.send(&session.signs(Call::get("/other/cat"))).await.expect(200);
    house.check_refused(&session.signs(Call::put("/other/cat").body("y")), "AccessDenied", 403).await;
    house.access.revoke(&parent.id).await.unwrap();
    house.check_refused(&session.signs(Call::get("/other/cat")), "InvalidToken", 400).await;
}
