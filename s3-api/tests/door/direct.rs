//! What is answered without s3s is answered as with it: each call is sent as it is, and once more with a header that means nothing but has
//! it go through s3s.

use crate::house::{Answer, Call, House, house_with_bucket};
use crate::sign::Keys;
use cistern_access::{KeySpec, Permission};
use http::HeaderMap;

const PAST: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
const FUTURE: &str = "Fri, 06 Nov 2139 08:49:37 GMT";

/// An answer without what differs from request to request.
fn comparable(answer: &Answer) -> (u16, HeaderMap, String) {
    let (id, extended) = (answer.header("x-amz-request-id"), answer.header("x-amz-id-2"));
    let text = answer.text().replace(id, "ID").replace(extended, "EXTENDED");
    let mut headers = answer.headers.clone();
    for name in ["x-amz-request-id", "x-amz-id-2", "date"] {
        headers.remove(name);
    }
    (answer.status.as_u16(), headers, text)
}

async fn both(house: &House, call: &Call) -> Answer {
    let direct = house.send(call).await;
    let through = house.send(&call.clone().unsigned_header("x-amz-request-payer", "requester")).await;
    assert_eq!(comparable(&direct), comparable(&through), "{call:?}");
    direct
}

/// Objects of every kind that answers tell apart.
async fn furnished() -> (House, String) {
    let house = house_with_bucket().await;
    let plain = Call::put("/photos/plain").body("0123456789");
    let tag = house.send(&plain).await.expect(200).header("etag").to_owned();
    let rich = Call::put("/photos/a b/rich=ä")
        .header("content-type", "text/plain; charset=utf-8")
        .header("content-encoding", "gzip")
        .header("content-disposition", "attachment; filename=\"x\"")
        .header("cache-control", "no-cache")
        .header("expires", PAST)
        .header("x-amz-meta-a", "1")
        .header("x-amz-meta-b", "=?UTF-8?B?w6Q=?=")
        .header("x-amz-storage-class", "STANDARD_IA")
        .header("x-amz-tagging", "k=v&l=w")
        .header("x-amz-checksum-crc32", "y/Q5Jg==")
        .body("123456789");
    house.send(&rich).await.expect(200);
    house
        .send(&Call::put("/photos/secret").header("x-amz-server-side-encryption", "AES256").body("x"))
        .await
        .expect(200);
    house.send(&Call::put("/photos/empty")).await.expect(200);
    (house, tag)
}

#[tokio::test]
async fn reads_are_answered_alike() {
    let (house, tag) = furnished().await;
    let conditions: Vec<Vec<(&str, &str)>> = vec![
        vec![],
        vec![("range", "bytes=2-4")],
        vec![("range", "bytes=-3")],
        vec![("range", "bytes=99-")],
        vec![("range", "bytes=5-4")],
        vec![("range", "bytes=0-1,3-4")],
        vec![("if-match", &tag)],
        vec![("if-match", "\"other\"")],
        vec![("if-none-match", &tag)],
        vec![("if-none-match", "a, b")],
        vec![("if-modified-since", PAST)],
        vec![("if-modified-since", FUTURE)],
        vec![("if-unmodified-since", PAST)],
        vec![("if-unmodified-since", "yesterday")],
        vec![("if-range", &tag), ("range", "bytes=0-0")],
        vec![("x-amz-checksum-mode", "ENABLED")],
        vec![("x-amz-checksum-mode", "enabled")],
        vec![("x-amz-checksum-mode", "ENABLED"), ("range", "bytes=0-0")],
        vec![("origin", "https://a.example")],
        vec![("accept-encoding", "identity"), ("user-agent", "a  b"), ("x-amz-user-agent", "c")],
        vec![("x-amz-mfa", "1")],
    ];
    let keys = ["plain", "a b/rich=ä", "secret", "empty", "missing", "a//b", "..", "a+b", "%41"];
    for headers in &conditions {
        for key in keys {
            for method in ["GET", "HEAD"] {
                let mut call = Call::new(method, &format!("/photos/{key}"));
                for (name, value) in headers {
                    call = call.header(name, value);
                }
                both(&house, &call).await;
                both(&house, &call.query("x-id", if method == "GET" { "GetObject" } else { "HeadObject" })).await;
            }
        }
    }
    let rich =
        both(&house, &Call::get("/photos/a b/rich=ä").header("x-amz-checksum-mode", "ENABLED")).await.expect(200);
    for (name, value) in [
        ("x-amz-meta-b", "=?UTF-8?B?w6Q=?="),
        ("x-amz-storage-class", "STANDARD_IA"),
        ("x-amz-tagging-count", "2"),
        ("x-amz-checksum-crc32", "y/Q5Jg=="),
        ("x-amz-checksum-type", "FULL_OBJECT"),
        ("content-length", "9"),
    ] {
        assert_eq!(rich.header(name), value, "{name}");
    }
}

#[tokio::test]
async fn writes_and_deletions_are_answered_alike() {
    let (house, tag) = furnished().await;
    let put = || Call::put("/photos/new").body("123456789");
    for call in [
        put(),
        put().payload("UNSIGNED-PAYLOAD"),
        put().payload(&"0".repeat(64)),
        put().header("x-amz-meta-a", "1").header("content-type", "text/plain").header("expires", "never"),
        put().header("x-amz-checksum-crc32", "y/Q5Jg=="),
        put().header("x-amz-checksum-crc32", "AAAAAA=="),
        put().header("x-amz-checksum-crc32", "AAAA"),
        put().header("x-amz-sdk-checksum-algorithm", "CRC32"),
        put().header("content-md5", "JfnnlDI7RTiF9RgfG2JNCw=="),
        put().header("content-md5", "AAAAAAAAAAAAAAAAAAAAAA=="),
        put().header("content-md5", "x"),
        put().header("x-amz-storage-class", "GLACIER"),
        put().header("x-amz-storage-class", "STANDARD_IA"),
        put().header("if-none-match", "*"),
        put().header("if-match", &tag),
        put().header("x-amz-acl", "public-read"),
        put().length("4"),
        put().length("99"),
        put().length("x"),
        put().length(""),
        put().query("x-id", "PutObject"),
        put().query("x-id", "GetObject"),
        Call::put("/photos/empty"),
        Call::put(&format!("/photos/{}", "k".repeat(1025))).body("x"),
        Call::put("/nowhere/new").body("x"),
        Call::delete("/photos/missing"),
        Call::delete("/photos/plain").header("if-match", "\"other\""),
        Call::delete("/photos/plain").header("if-match", &tag),
        Call::delete("/nowhere/plain"),
    ] {
        both(&house, &call).await;
    }
    let versioned = "<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>";
    house.send(&Call::put("/photos?versioning").body(versioned)).await.expect(200);
    // Each version has an id of its own.
    for call in [put(), Call::delete("/photos/new"), Call::get("/photos/new"), Call::head("/photos/new")] {
        let direct = house.send(&call).await;
        let through = house.send(&call.clone().unsigned_header("x-amz-request-payer", "requester")).await;
        let names = |answer: &Answer| {
            let mut names: Vec<String> = answer.headers.keys().map(ToString::to_string).collect();
            names.sort();
            (answer.status, names)
        };
        assert_eq!(names(&direct), names(&through), "{call:?}");
        assert!(!direct.header("x-amz-version-id").is_empty(), "{call:?}");
    }
}

#[tokio::test]
async fn who_may_not_and_who_did_not_sign_is_told_the_same() {
    let (house, _) = furnished().await;
    let key = |name: &str, owner: Option<&str>, permission| KeySpec {
        name: name.into(),
        owner: owner.map(Into::into),
        bucket: None,
        permission,
    };
    let mut askers = vec![
        house.root.clone(),
        Keys { id: house.root.id.clone(), secret: "wrong".into() },
        Keys { id: "CKAAAAAAAAAAAAAAAAAAAA".into(), secret: house.root.secret.clone() },
        Keys { id: "?".into(), secret: house.root.secret.clone() },
    ];
    for spec in [key("reader", None, Permission::Read), key("other", Some("somebody"), Permission::Admin)] {
        let made = house.access.create_key(spec).await.unwrap();
        askers.push(Keys { id: made.record.access_key_id.to_string(), secret: made.secret.expose().to_owned() });
    }
    for asker in &askers {
        for path in ["/photos/plain", "/photos/missing", "/nowhere/plain", "/Photos/plain"] {
            for call in [
                Call::get(path),
                Call::head(path),
                Call::put(path).body("0123456789"),
                Call::get(path).ahead(time::Duration::hours(1)),
                Call::get(path).unsigned_header("x-amz-checksum-mode", "ENABLED"),
                Call::get(path).unsigned_header("range", "bytes=0-1"),
            ] {
                both(&house, &call.by(asker)).await;
            }
            if path != "/photos/plain" {
                both(&house, &Call::delete(path).by(asker)).await;
            }
        }
    }
}

#[tokio::test]
async fn a_key_that_is_gone_reads_nothing_more() {
    let (house, _) = furnished().await;
    let spec = KeySpec { name: "k".into(), owner: None, bucket: None, permission: Permission::Read };
    let made = house.access.create_key(spec).await.unwrap();
    let keys = Keys { id: made.record.access_key_id.to_string(), secret: made.secret.expose().to_owned() };
    let call = Call::get("/photos/plain").by(&keys);
    both(&house, &call).await.expect(200);
    house.access.revoke("k").await.unwrap();
    both(&house, &call).await.expect_error("InvalidAccessKeyId", 403);
}
