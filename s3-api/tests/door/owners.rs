//! Keys of other owners, and keys that may do less.

use crate::house::{Call, house, house_with_bucket};
use cistern_access::Permission;

#[tokio::test]
async fn another_owner_sees_and_touches_nothing() {
    let house = house_with_bucket().await;
    house.put("/photos/cat", "x").await;
    let other = house.key(Some("ada"), None, Permission::Admin).await;
    assert!(house.send(&Call::get("/").by(&other)).await.expect(200).elements("Name").is_empty());
    for call in [
        Call::get("/photos"),
        Call::get("/photos/cat"),
        Call::put("/photos/cat").body("y"),
        Call::delete("/photos/cat"),
        Call::delete("/photos"),
        Call::post("/photos?delete").body("<Delete><Object><Key>cat</Key></Object></Delete>"),
        Call::post("/photos/cat?uploads"),
    ] {
        house.check_refused(&call.by(&other), "AccessDenied", 403).await;
    }
    house.check_refused(&Call::put("/photos").by(&other), "BucketAlreadyExists", 409).await;
    house.send(&Call::put("/adas").by(&other)).await.expect(200);
    let steal = Call::put("/adas/cat").header("x-amz-copy-source", "photos/cat");
    house.check_refused(&steal.by(&other), "AccessDenied", 403).await;
    assert_eq!(house.send(&Call::get("/").by(&other)).await.elements("Name"), ["adas"]);
    assert_eq!(house.send(&Call::get("/")).await.elements("Name"), ["photos"]);
}

#[tokio::test]
async fn a_key_does_what_its_permission_says() {
    let house = house_with_bucket().await;
    house.put("/photos/cat", "x").await;
    let reader = house.key(None, None, Permission::Read).await;
    let writer = house.key(None, None, Permission::ReadWrite).await;
    for keys in [&reader, &writer] {
        house.send(&Call::get("/photos/cat").by(keys)).await.expect(200);
        house.check_refused(&Call::put("/new").by(keys), "AccessDenied", 403).await;
        house.check_refused(&Call::delete("/photos").by(keys), "AccessDenied", 403).await;
    }
    for call in [
        Call::put("/photos/dog").body("y"),
        Call::delete("/photos/cat"),
        Call::post("/photos/film?uploads"),
        Call::put("/photos/copy").header("x-amz-copy-source", "photos/cat"),
    ] {
        house.check_refused(&call.clone().by(&reader), "AccessDenied", 403).await;
        let status = house.send(&call.by(&writer)).await.status;
        assert!(status.is_success() || status == 404, "{status}");
    }
}

#[tokio::test]
async fn a_key_bound_to_a_bucket_sees_only_that() {
    let house = house();
    for name in ["logs", "photos"] {
        house.send(&Call::put(&format!("/{name}"))).await.expect(200);
    }
    let bound = house.key(None, Some("photos"), Permission::ReadWrite).await;
    assert_eq!(house.send(&Call::get("/").by(&bound)).await.expect(200).elements("Name"), ["photos"]);
    house.send(&Call::put("/photos/k").body("x").by(&bound)).await.expect(200);
    house.check_refused(&Call::put("/logs/k").body("x").by(&bound), "AccessDenied", 403).await;
    house.check_refused(&Call::get("/logs").by(&bound), "AccessDenied", 403).await;
}

#[tokio::test]
async fn a_revoked_key_is_refused_at_once() {
    let house = house_with_bucket().await;
    let keys = house.key(None, None, Permission::Read).await;
    house.send(&Call::get("/photos").by(&keys)).await.expect(200);
    house.access.revoke(&keys.id).await.unwrap();
    house.check_refused(&Call::get("/photos").by(&keys), "InvalidAccessKeyId", 403).await;
}

#[tokio::test]
async fn an_expected_owner_must_be_the_owner() {
    let house = house_with_bucket().await;
    let owner = house.access.root_owner().id.to_string();
    house.send(&Call::get("/photos").header("x-amz-expected-bucket-owner", &owner)).await.expect(200);
    let call = Call::put("/photos/k").header("x-amz-expected-bucket-owner", "123456789012").body("x");
    house.check_refused(&call, "AccessDenied", 403).await;
}
