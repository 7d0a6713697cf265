//! Versions, locks, tags and attributes as clients see them.

use crate::house::{Call, House, house_with_bucket};

const ENABLED: &str = "<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>";
const SUSPENDED: &str = "<VersioningConfiguration><Status>Suspended</Status></VersioningConfiguration>";
const HOLD: &str = "<LegalHold><Status>ON</Status></LegalHold>";

async fn versioned_house() -> House {
    let house = house_with_bucket().await;
    house.send(&Call::put("/photos?versioning").body(ENABLED)).await.expect(200);
    house
}

async fn put(house: &House, path: &str, body: &'static str) -> String {
    house.send(&Call::put(path).body(body)).await.expect(200).header("x-amz-version-id").to_owned()
}

#[tokio::test]
async fn versioning_is_said_as_it_was_asked() {
    let house = house_with_bucket().await;
    let status = async || house.send(&Call::get("/photos?versioning")).await.expect(200).elements("Status");
    assert!(status().await.is_empty());
    assert_eq!(put(&house, "/photos/k", "x").await, "");
    for (xml, said) in [(ENABLED, "Enabled"), (SUSPENDED, "Suspended"), (ENABLED, "Enabled")] {
        house.send(&Call::put("/photos?versioning").body(xml)).await.expect(200);
        assert_eq!(status().await, [said]);
    }
    for bad in ["<VersioningConfiguration/>", "<VersioningConfiguration><Status>On</Status></VersioningConfiguration>"]
    {
        house.check_refused(&Call::put("/photos?versioning").body(bad), "MalformedXML", 400).await;
    }
}

#[tokio::test]
async fn a_write_names_no_version() {
    let house = house_with_bucket().await;
    let version = "0".repeat(32);
    house.check_refused(&Call::put(&format!("/photos/k?versionId={version}")).body("x"), "InvalidArgument", 400).await;
    house.send(&Call::head("/photos/k")).await.expect(404);
}

#[tokio::test]
async fn every_version_is_read_by_its_id_and_a_marker_hides_them() {
    let house = house_with_bucket().await;
    house.put("/photos/k", "zero").await;
    house.send(&Call::put("/photos?versioning").body(ENABLED)).await.expect(200);
    let first = put(&house, "/photos/k", "one").await;
    let second = put(&house, "/photos/k", "two").await;
    for (version, content) in [("null", "zero"), (first.as_str(), "one"), (second.as_str(), "two")] {
        let answer = house.send(&Call::get("/photos/k").query("versionId", version)).await.expect(200);
        assert_eq!((answer.text().as_str(), answer.header("x-amz-version-id")), (content, version));
    }
    let deleted = house.send(&Call::delete("/photos/k")).await.expect(204);
    assert_eq!(deleted.header("x-amz-delete-marker"), "true");
    let marker = deleted.header("x-amz-version-id").to_owned();
    house.check_refused(&Call::get("/photos/k"), "NoSuchKey", 404).await;
    let head = house.send(&Call::head("/photos/k")).await.expect(404);
    assert_eq!((head.header("x-amz-delete-marker"), head.header("x-amz-version-id")), ("true", marker.as_str()));
    let by_id = Call::get("/photos/k").query("versionId", &marker);
    house.check_refused(&by_id, "MethodNotAllowed", 405).await;
    assert_eq!(house.send(&by_id).await.header("x-amz-delete-marker"), "true");
    house.check_refused(&Call::get("/photos/k").query("versionId", &"0".repeat(32)), "NoSuchVersion", 404).await;
    house.check_refused(&Call::get("/photos/k").query("versionId", "abc"), "InvalidArgument", 400).await;
    let copy = Call::put("/photos/copy").header("x-amz-copy-source", &format!("photos/k?versionId={first}"));
    let copied = house.send(&copy).await.expect(200);
    assert_eq!(copied.header("x-amz-copy-source-version-id"), first);
    assert_eq!(house.send(&Call::get("/photos/copy")).await.text(), "one");
    let of_marker = Call::put("/photos/copy").header("x-amz-copy-source", &format!("photos/k?versionId={marker}"));
    house.check_refused(&of_marker, "InvalidRequest", 400).await;
    house.send(&Call::delete("/photos/k").query("versionId", &marker)).await.expect(204);
    assert_eq!(house.send(&Call::get("/photos/k")).await.text(), "two");
}

#[tokio::test]
async fn versions_are_listed_with_their_markers_page_by_page() {
    let house = versioned_house().await;
    for key in ["a", "b/1", "b/2"] {
        put(&house, &format!("/photos/{key}"), "1").await;
        put(&house, &format!("/photos/{key}"), "22").await;
    }
    house.send(&Call::delete("/photos/a")).await.expect(204);
    let page = house.send(&Call::get("/photos?versions&max-keys=2")).await.expect(200);
    assert_eq!((page.elements("Version").len(), page.elements("DeleteMarker").len()), (1, 1));
    assert_eq!(page.element("IsTruncated"), "true");
    let next = Call::get("/photos?versions&delimiter=/").query("key-marker", &page.element("NextKeyMarker"));
    let next = next.query("version-id-marker", &page.element("NextVersionIdMarker"));
    let page = house.send(&next).await.expect(200);
    assert_eq!(page.elements("Version").len(), 1, "{}", page.text());
    assert!(page.element("CommonPrefixes").contains("b/"), "{}", page.text());
    let lonely = Call::get("/photos?versions&version-id-marker=null");
    house.check_refused(&lonely, "InvalidArgument", 400).await;
    let many = "<Delete><Object><Key>a</Key></Object><Object><Key>b/1</Key></Object></Delete>";
    let answer = house.send(&Call::post("/photos?delete").body(many)).await.expect(200);
    assert_eq!(answer.elements("DeleteMarker"), ["true", "true"]);
    assert_eq!(answer.elements("DeleteMarkerVersionId").len(), 2);
    house.check_refused(&Call::delete("/photos"), "BucketNotEmpty", 409).await;
}

#[tokio::test]
async fn a_delete_with_conditions_deletes_only_what_it_means() {
    let house = house_with_bucket().await;
    let tag = house.send(&Call::put("/photos/k").body("x")).await.expect(200).header("etag").to_owned();
    house.check_refused(&Call::delete("/photos/k").header("if-match", "badetag"), "PreconditionFailed", 412).await;
    house.check_refused(&Call::delete("/photos/k").header("x-amz-if-match-size", "2"), "PreconditionFailed", 412).await;
    let many = "<Delete><Object><Key>k</Key><ETag>badetag</ETag></Object></Delete>";
    let answer = house.send(&Call::post("/photos?delete").body(many)).await.expect(200);
    assert_eq!(answer.elements("Code"), ["PreconditionFailed"]);
    house.send(&Call::delete("/photos/k").header("if-match", &tag)).await.expect(204);
    house.send(&Call::delete("/photos/k").header("if-match", "badetag")).await.expect(204);
}

#[tokio::test]
async fn a_locked_version_cannot_be_deleted_and_says_so() {
    let house = house_with_bucket().await;
    let locked = Call::put("/vault").header("x-amz-bucket-object-lock-enabled", "true");
    house.send(&locked).await.expect(200);
    let rule = |mode: &str, period: &str| {
        format!(
            "<ObjectLockConfiguration><ObjectLockEnabled>Enabled</ObjectLockEnabled><Rule><DefaultRetention>\
             <Mode>{mode}</Mode>{period}</DefaultRetention></Rule></ObjectLockConfiguration>"
        )
    };
    let configure = |xml: String| Call::put("/vault?object-lock").body(xml);
    house.send(&configure(rule("GOVERNANCE", "<Days>1</Days>"))).await.expect(200);
    let shown = house.send(&Call::get("/vault?object-lock")).await.expect(200);
    assert_eq!((shown.element("Mode"), shown.element("Days")), ("GOVERNANCE".into(), "1".into()));
    for (mode, period, code) in [
        ("GOVERNANCE", "<Days>0</Days>", "InvalidRetentionPeriod"),
        ("GOVERNANCE", "<Days>1</Days><Years>1</Years>", "MalformedXML"),
        ("governance", "<Days>1</Days>", "MalformedXML"),
    ] {
        house.check_refused(&configure(rule(mode, period)), code, 400).await;
    }
    house.check_refused(&Call::put("/vault?versioning").body(SUSPENDED), "InvalidBucketState", 409).await;
    let version = put(&house, "/vault/k", "kept").await;
    let head = house.send(&Call::head("/vault/k")).await.expect(200);
    assert_eq!(head.header("x-amz-object-lock-mode"), "GOVERNANCE");
    let delete = Call::delete("/vault/k").query("versionId", &version);
    house.check_refused(&delete, "AccessDenied", 403).await;
    house.send(&Call::put("/vault/k?legal-hold").body(HOLD)).await.expect(200);
    assert_eq!(house.send(&Call::get("/vault/k?legal-hold")).await.element("Status"), "ON");
    let bypass = delete.clone().header("x-amz-bypass-governance-retention", "true");
    house.check_refused(&bypass, "AccessDenied", 403).await;
    let free = HOLD.replace("ON", "OFF");
    house.send(&Call::put("/vault/k?legal-hold").body(free)).await.expect(200);
    house.send(&bypass).await.expect(204);
    house
        .check_refused(&Call::put("/photos/k").header("x-amz-object-lock-legal-hold", "ON"), "InvalidRequest", 400)
        .await;
    house
        .check_refused(&Call::put("/vault/k").header("x-amz-object-lock-mode", "GOVERNANCE"), "InvalidArgument", 400)
        .await;
}

#[tokio::test]
async fn a_retention_is_set_read_and_only_made_longer() {
    let house = house_with_bucket().await;
    house.send(&Call::put("/vault").header("x-amz-bucket-object-lock-enabled", "true")).await.expect(200);
    put(&house, "/vault/k", "x").await;
    house.check_refused(&Call::get("/vault/k?retention"), "NoSuchObjectLockConfiguration", 404).await;
    let retain = |mode: &str, until: &str| {
        let xml = format!("<Retention><Mode>{mode}</Mode><RetainUntilDate>{until}</RetainUntilDate></Retention>");
        Call::put("/vault/k?retention").body(xml)
    };
    house.send(&retain("GOVERNANCE", "2140-01-01T00:00:00.123456Z")).await.expect(200);
    let shown = house.send(&Call::get("/vault/k?retention")).await.expect(200);
    assert_eq!(shown.element("RetainUntilDate"), "2140-01-01T00:00:00.123Z");
    house.check_refused(&retain("GOVERNANCE", "2139-01-01T00:00:00Z"), "AccessDenied", 403).await;
    house.check_refused(&retain("COMPLIANCE", "2141-01-01T00:00:00Z"), "AccessDenied", 403).await;
    house.check_refused(&retain("abc", "2141-01-01T00:00:00Z"), "MalformedXML", 400).await;
    house.check_refused(&retain("GOVERNANCE", "2001-01-01T00:00:00Z"), "InvalidArgument", 400).await;
    house.send(&retain("GOVERNANCE", "2141-01-01T00:00:00Z")).await.expect(200);
    house.check_refused(&Call::get("/photos/k?retention"), "InvalidRequest", 400).await;
}

#[tokio::test]
async fn tags_are_stored_counted_and_removed() {
    let house = house_with_bucket().await;
    house.send(&Call::put("/photos/k").header("x-amz-tagging", "b=2&a=x+y%2B&c").body("x")).await.expect(200);
    let shown = house.send(&Call::get("/photos/k?tagging")).await.expect(200);
    assert_eq!(
        (shown.elements("Key"), shown.elements("Value")),
        (vec!["a".into(), "b".into(), "c".into()], vec!["x y+".into(), "2".into(), String::new()],)
    );
    for call in [Call::get("/photos/k"), Call::head("/photos/k")] {
        assert_eq!(house.send(&call).await.expect(200).header("x-amz-tagging-count"), "3");
    }
    let tags = |count: usize| {
        let tag = |i: usize| format!("<Tag><Key>k{i}</Key><Value>v</Value></Tag>");
        format!("<Tagging><TagSet>{}</TagSet></Tagging>", (0..count).map(tag).collect::<String>())
    };
    house.check_refused(&Call::put("/photos/k?tagging").body(tags(11)), "InvalidTag", 400).await;
    for bad in ["k&amp;0", "k&#x9;0", "aws:k0"] {
        for path in ["/photos/k?tagging", "/photos?tagging"] {
            house.check_refused(&Call::put(path).body(tags(1).replace("k0", bad)), "InvalidTag", 400).await;
        }
    }
    house.check_refused(&Call::put("/photos/l").header("x-amz-tagging", "a=%01").body("x"), "InvalidTag", 400).await;
    house.send(&Call::put("/photos/k?tagging").body(tags(10))).await.expect(200);
    house.send(&Call::delete("/photos/k?tagging")).await.expect(204);
    assert!(house.send(&Call::get("/photos/k?tagging")).await.expect(200).elements("Key").is_empty());
    house.check_refused(&Call::get("/photos?tagging"), "NoSuchTagSet", 404).await;
    house.send(&Call::put("/photos?tagging").body(tags(50))).await.expect(200);
    assert_eq!(house.send(&Call::get("/photos?tagging")).await.expect(200).elements("Key").len(), 50);
    house.send(&Call::delete("/photos?tagging")).await.expect(204);
    house.check_refused(&Call::get("/photos?tagging"), "NoSuchTagSet", 404).await;
}

#[tokio::test]
async fn an_xml_body_of_an_object_is_held_against_its_digests_too() {
    let house = house_with_bucket().await;
    house.put("/photos/k", "x").await;
    let tagging = "<Tagging><TagSet/></Tagging>";
    let wrong = Call::put("/photos/k?tagging").header("x-amz-checksum-crc32", "AAAAAA==").body(tagging);
    house.check_refused(&wrong, "BadDigest", 400).await;
    let unsigned = Call::put("/photos/k?tagging").payload(&"0".repeat(64)).body(tagging);
    house.check_refused(&unsigned, "XAmzContentSHA256Mismatch", 400).await;
}

#[tokio::test]
async fn attributes_tell_what_is_asked_for_and_the_tag_without_quotes() {
    let house = house_with_bucket().await;
    house.put("/photos/k", "hello").await;
    let ask = |path: &str, names: &str| Call::get(path).header("x-amz-object-attributes", names);
    let answer =
        house.send(&ask("/photos/k?attributes", "ETag,ObjectSize, StorageClass,ObjectParts")).await.expect(200);
    assert_eq!(answer.element("ETag"), "5d41402abc4b2a76b9719d911017c592");
    assert_eq!((answer.element("ObjectSize"), answer.element("StorageClass")), ("5".into(), "STANDARD".into()));
    assert!(answer.elements("ObjectParts").is_empty());
    house.check_refused(&ask("/photos/k?attributes", "Everything"), "InvalidArgument", 400).await;
}
