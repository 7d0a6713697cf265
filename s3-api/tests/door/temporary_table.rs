//! Temporary credentials of every kind and every operation there is: what they may do inside what they are bound to and outside, by
//! the words of docs/guide/access.md and the permissions of docs/s3-compatibility.md; and pairs whose token is none.

use crate::every_operation::{About, Open, Pass, Place, Row, furnish, place, rows};
use crate::house::{Call, House, house};
use crate::sign::Keys;
use crate::temporary::{session, session_under};
use cistern_access::{Access, KeyScope, Permission};
use cistern_runtime::TestClock;
use cistern_types::Timestamp;
use std::sync::Arc;

/// The words of the management API and what they ask for.
const KINDS: [(&str, Permission); 4] = [
    ("object-read-only", Permission::Read),
    ("admin-read-only", Permission::Read),
    ("object-read-write", Permission::ReadWrite),
    ("admin-read-write", Permission::Admin),
];

/// What credentials are bound to in `photos`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Bound {
    Bucket,
    Prefix,
    Object,
}

const BOUNDS: [Bound; 3] = [Bound::Bucket, Bound::Prefix, Bound::Object];
const PREFIX: &str = "logs/";
const OBJECT: &str = "cat";

impl Bound {
    fn scope(self) -> Option<KeyScope> {
        match self {
            Self::Bucket => None,
            Self::Prefix => Some(KeyScope { prefixes: vec![PREFIX.into()], objects: Vec::new() }),
            Self::Object => Some(KeyScope { prefixes: Vec::new(), objects: vec![OBJECT.into()] }),
        }
    }

    /// A key inside.
    fn key(self) -> &'static str {
        if self == Self::Prefix { "logs/1" } else { OBJECT }
    }

    /// Whether the guide lets credentials bound so reach what the row is about, in their bucket.
    fn reaches(self, row: &Row, key: &str) -> bool {
        match (self, row.about) {
            (Self::Bucket, _) | (_, About::Account | About::Presence) => true,
            (Self::Prefix, About::Object | About::Keys) => key.starts_with(PREFIX),
            (Self::Object, About::Object) => key == OBJECT,
            (Self::Prefix | Self::Object, About::Bucket | About::AllKeys) | (Self::Object, About::Keys) => false,
        }
    }
}

async fn pass(house: &House, permission: Permission, bound: Bound) -> Pass {
    let made = session(&house.access, permission, bound.scope()).await;
    Pass { keys: made.keys, token: Some(made.token), presigned: false }
}

/// A house with `photos`, and the object with that key in it.
async fn one_bucket(open: Open, key: &str) -> (House, Place) {
    let house = house();
    furnish(&house, &house.root, "photos", open).await;
    let at = place(&house, &house.root, "photos", key, open).await;
    (house, at)
}

/// Each row that is allowed is done, in a house of its own.
async fn check_allowed(open: Open, bound: Bound, (word, permission): (&str, Permission)) {
    let (_, like) = one_bucket(open, bound.key()).await;
    for (index, row) in rows(&like).iter().enumerate() {
        if permission >= row.needs && bound.reaches(row, bound.key()) {
            let (house, at) = one_bucket(open, bound.key()).await;
            let row = &rows(&at)[index];
            let call = row.by(&pass(&house, permission, bound).await);
            let answer = house.send(&call).await;
            assert!(row.is_done(&answer), "{word} {bound:?} {open:?} {row:?}: {} {}", answer.status, answer.text());
        }
    }
}

/// Each row about the place that is not allowed is denied and changes nothing.
async fn check_denied(house: &House, at: &Place, bound: Bound, (word, permission): (&str, Permission)) {
    let pass = pass(house, permission, bound).await;
    let before = house.state().await;
    for row in rows(at) {
        let inside = at.bucket == "photos" && bound.reaches(&row, &at.key);
        if row.about == About::Account {
            assert_eq!(house.send(&row.by(&pass)).await.expect(200).elements("Name"), ["photos"]);
        }
        if row.about == About::Account || (inside && permission >= row.needs) {
            continue;
        }
        for presigned in [false, true] {
            let answer = house.send(&row.by(&Pass { presigned, ..pass.clone() })).await;
            let case = format!("{word} {bound:?} presigned {presigned} {row:?}");
            assert!(row.is_denied(&answer), "{case}: {} {}", answer.status, answer.text());
            assert!(house.state().await == before, "{case} changed something");
        }
    }
}

/// A house with `photos`, `logs` of the same owner and `adas` of another, the object with that key in each, and `dog` in the first.
async fn whole_house(open: Open, key: &str) -> (House, Vec<Place>) {
    let house = house();
    let other = house.key(Some("ada"), None, Permission::Admin).await;
    let mut places = Vec::new();
    for (keys, bucket) in [(&house.root, "photos"), (&house.root, "logs"), (&other, "adas")] {
        furnish(&house, keys, bucket, open).await;
        places.push(place(&house, keys, bucket, key, open).await);
    }
    places.push(place(&house, &house.root, "photos", "dog", open).await);
    (house, places)
}

async fn check_table(open: Open, bound: Bound) {
    let (house, places) = whole_house(open, bound.key()).await;
    for kind in KINDS {
        check_allowed(open, bound, kind).await;
        for at in &places {
            check_denied(&house, at, bound, kind).await;
        }
    }
}

#[tokio::test]
async fn credentials_for_a_bucket_do_there_what_they_may_and_nothing_elsewhere() {
    check_table(Open::Not, Bound::Bucket).await;
}

#[tokio::test]
async fn credentials_for_a_prefix_reach_its_keys_and_nothing_else() {
    check_table(Open::Not, Bound::Prefix).await;
}

#[tokio::test]
async fn credentials_for_an_object_reach_it_and_nothing_else() {
    check_table(Open::Not, Bound::Object).await;
}

#[tokio::test]
async fn what_everybody_may_lifts_no_credentials_for_a_bucket() {
    check_table(Open::Wide, Bound::Bucket).await;
}

#[tokio::test]
async fn what_everybody_may_lifts_no_credentials_for_a_prefix() {
    check_table(Open::Wide, Bound::Prefix).await;
}

#[tokio::test]
async fn what_everybody_may_lifts_no_credentials_for_an_object() {
    check_table(Open::Wide, Bound::Object).await;
}

#[tokio::test]
async fn in_a_bucket_that_is_not_there_they_do_and_make_nothing() {
    let house = house();
    for bound in BOUNDS {
        for (word, permission) in KINDS {
            let pass = pass(&house, permission, bound).await;
            let before = house.state().await;
            for row in rows(&Place::of_nothing("nowhere", bound.key())) {
                let answer = house.send(&row.by(&pass)).await;
                assert_eq!(
                    row.is_denied(&answer),
                    row.about != About::Account,
                    "{word} {bound:?} {row:?}: {}",
                    answer.text()
                );
            }
            assert!(house.state().await == before, "{word} {bound:?}: something was made");
        }
    }
}

#[tokio::test]
async fn no_copy_brings_in_what_they_do_not_reach() {
    for open in [Open::Not, Open::Wide] {
        for bound in BOUNDS {
            let (house, places) = whole_house(open, bound.key()).await;
            let beside = if bound == Bound::Bucket { &[][..] } else { &["photos/dog", "photos/none"] };
            for permission in [Permission::ReadWrite, Permission::Admin] {
                let pass = pass(&house, permission, bound).await;
                let before = house.state().await;
                let key = bound.key();
                let elsewhere =
                    ["logs", "adas", "nowhere"].map(|bucket| [format!("{bucket}/{key}"), format!("{bucket}/none")]);
                for source in elsewhere.concat().iter().map(String::as_str).chain(beside.iter().copied()) {
                    let copies = rows(&places[0]).into_iter().filter_map(|row| row.with_source(source));
                    for row in copies.collect::<Vec<_>>() {
                        let answer = house.send(&row.by(&pass)).await;
                        let case = format!("{permission} {bound:?} {source} {}: {}", row.name, answer.text());
                        assert!(row.is_denied(&answer), "{case}");
                    }
                }
                assert!(house.state().await == before);
            }
        }
    }
}

#[tokio::test]
async fn a_write_makes_only_the_bucket_of_credentials_that_may() {
    for (_, permission) in KINDS {
        for bound in BOUNDS {
            let house = house();
            let pass = pass(&house, permission, bound).await;
            let signed =
                |call: Call| call.by(&pass.keys).header("x-amz-security-token", pass.token.as_deref().unwrap());
            let making = |bucket: &str| {
                let call = Call::put(&format!("/{bucket}/{}", bound.key())).body("x");
                signed(call.header("cf-create-bucket-if-missing", "true"))
            };
            house.check_refused(&making("nowhere"), "AccessDenied", 403).await;
            if permission == Permission::Admin && bound == Bound::Bucket {
                house.send(&making("photos")).await.expect(200);
                house.send(&signed(Call::delete(&format!("/photos/{}", bound.key())))).await.expect(204);
                house.send(&signed(Call::delete("/photos"))).await.expect(204);
            } else {
                house.check_refused(&making("photos"), "AccessDenied", 403).await;
            }
        }
    }
}

/// Pairs that open nothing, and what S3 answers.
async fn broken(house: &House) -> Vec<(&'static str, Pass, &'static str, u16)> {
    let with = |keys: &Keys, token: &str| Pass { keys: keys.clone(), token: Some(token.into()), presigned: false };
    let (first, second) =
        (session(&house.access, Permission::Admin, None).await, session(&house.access, Permission::Read, None).await);
    let past = Access::in_memory(Arc::new(TestClock::at(Timestamp::from_millis(1_000))));
    let over = session(&past, Permission::Admin, None).await; // under the same root key, long ago
    let parent = house.key(None, None, Permission::Admin).await;
    let orphan = session_under(&house.access, &parent.id, Permission::Admin, None).await;
    house.access.revoke(&parent.id).await.unwrap();
    let forged = Keys { secret: "another".into(), ..first.keys.clone() };
    vec![
        ("no token", Pass { token: None, ..with(&first.keys, "") }, "InvalidAccessKeyId", 403),
        ("an empty token", with(&first.keys, ""), "InvalidToken", 400),
        ("nonsense", with(&first.keys, "nonsense"), "InvalidToken", 400),
        ("a cut token", with(&first.keys, &first.token[..first.token.len() - 1]), "InvalidToken", 400),
        ("the token of others", with(&first.keys, &second.token), "InvalidToken", 400),
        ("a token with root's key", with(&house.root, &first.token), "InvalidToken", 400),
        ("another secret", with(&forged, &first.token), "SignatureDoesNotMatch", 403),
        ("over", with(&over.keys, &over.token), "ExpiredToken", 400),
        ("the parent is gone", with(&orphan.keys, &orphan.token), "InvalidToken", 400),
    ]
}

#[tokio::test]
async fn a_pair_without_its_token_does_nothing_anywhere() {
    for open in [Open::Not, Open::Wide] {
        let (house, at) = one_bucket(open, OBJECT).await;
        let passes = broken(&house).await;
        let before = house.state().await;
        for (what, pass, code, status) in passes {
            let missing = rows(&Place::of_nothing("nowhere", OBJECT));
            for row in rows(&at).into_iter().chain(missing) {
                for presigned in [false, true] {
                    let answer = house.send(&row.by(&Pass { presigned, ..pass.clone() })).await;
                    let case = format!("{what}, presigned {presigned}: {row:?}: {}", answer.text());
                    assert!(row.is_refused(&answer, code, status), "{case}");
                    assert!(house.state().await == before, "{case}");
                }
            }
        }
    }
}
