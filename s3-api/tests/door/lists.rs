//! Lists in all three spellings, their pages and their encoding.

use crate::house::{Answer, Call, House, house_with_bucket};

async fn with_keys(keys: &[&str]) -> House {
    let house = house_with_bucket().await;
    for key in keys {
        house.put(&format!("/photos/{key}"), "x").await;
    }
    house
}

const KEYS: [&str; 7] = ["a", "b/1", "b/2", "b/3/x", "c", "d/1", "e"];

#[tokio::test]
async fn version_2_pages_through_keys_and_prefixes() {
    let house = with_keys(&KEYS).await;
    for limit in 1..=6 {
        let (mut entries, mut token) = (Vec::new(), None::<String>);
        loop {
            let call = Call::get(&format!("/photos?list-type=2&delimiter=/&max-keys={limit}"));
            let page =
                house.send(&token.iter().fold(call, |call, t| call.query("continuation-token", t))).await.expect(200);
            let count: usize = page.element("KeyCount").parse().unwrap();
            let own = page.elements("Key").len() + page.elements("CommonPrefixes").len();
            assert_eq!(count, own);
            assert!(own <= limit);
            entries.extend(page.elements("Key"));
            entries.extend(page.elements("CommonPrefixes"));
            let truncated = page.element("IsTruncated") == "true";
            token = Some(page.element("NextContinuationToken")).filter(|token| !token.is_empty());
            assert_eq!(truncated, token.is_some());
            if token.is_none() {
                break;
            }
        }
        entries.sort();
        let prefix = |prefix: &str| format!("<Prefix>{prefix}</Prefix>");
        assert_eq!(entries, [prefix("b/"), prefix("d/"), "a".into(), "c".into(), "e".into()], "limit {limit}");
    }
}

#[tokio::test]
async fn version_2_knows_prefix_start_owner_and_an_empty_page() {
    let house = with_keys(&KEYS).await;
    let list = async |query: &str| house.send(&Call::get(&format!("/photos?list-type=2&{query}"))).await.expect(200);
    assert_eq!(list("prefix=b/").await.elements("Key"), ["b/1", "b/2", "b/3/x"]);
    assert_eq!(list("prefix=b/&delimiter=/").await.elements("Key"), ["b/1", "b/2"]);
    assert_eq!(list("start-after=c").await.elements("Key"), ["d/1", "e"]);
    assert_eq!(list("start-after=c").await.element("StartAfter"), "c");
    assert!(list("").await.elements("Owner").is_empty());
    assert_eq!(list("fetch-owner=true").await.elements("DisplayName").len(), KEYS.len());
    let none = list("max-keys=0").await;
    assert_eq!((none.element("KeyCount").as_str(), none.element("IsTruncated").as_str()), ("0", "false"));
    assert_eq!(list("max-keys=7").await.element("IsTruncated"), "false", "a page that ends exactly is the last");
    assert_eq!(list("delimiter=").await.elements("Key").len(), KEYS.len());
    assert_eq!(list("max-keys=5000").await.element("MaxKeys"), "1000");
}

#[tokio::test]
async fn version_1_goes_on_after_its_marker() {
    let house = with_keys(&KEYS).await;
    let (mut keys, mut marker) = (Vec::new(), String::new());
    loop {
        let page = house.send(&Call::get("/photos?max-keys=2").query("marker", &marker)).await.expect(200);
        keys.extend(page.elements("Key"));
        assert_eq!(page.element("NextMarker"), "", "only with a delimiter");
        if page.element("IsTruncated") == "false" {
            break;
        }
        marker.clone_from(keys.last().unwrap());
    }
    assert_eq!(keys, KEYS);
    let page = house.send(&Call::get("/photos?max-keys=2&delimiter=/")).await.expect(200);
    assert_eq!((page.element("NextMarker").as_str(), page.elements("DisplayName").len()), ("b/", 1));
    let page = house.send(&Call::get("/photos?delimiter=/&marker=b/")).await.expect(200);
    assert_eq!(page.elements("Key"), ["c", "e"]);
}

#[tokio::test]
async fn versions_are_the_objects_with_the_null_version() {
    let house = with_keys(&KEYS).await;
    let page = house.send(&Call::get("/photos?versions&max-keys=3")).await.expect(200);
    assert_eq!(page.elements("Key"), ["a", "b/1", "b/2"]);
    assert_eq!(page.elements("VersionId"), ["null"; 3]);
    assert_eq!(page.elements("IsLatest"), ["true"; 3]);
    let next = page.element("NextKeyMarker");
    for version in [page.element("NextVersionIdMarker").as_str(), "null"] {
        let call = Call::get("/photos?versions").query("version-id-marker", version).query("key-marker", &next);
        assert_eq!(house.send(&call).await.expect(200).elements("Key"), ["b/3/x", "c", "d/1", "e"]);
    }
}

#[tokio::test]
async fn keys_that_xml_cannot_hold_are_listed_in_url_encoding() {
    let house = with_keys(&["a b", "ä", "x\u{1}y", "p%+&<"]).await;
    let check = |answer: Answer| assert_eq!(answer.elements("Key"), ["a%20b", "p%25%2B%26%3C", "x%01y", "%C3%A4"]);
    for path in
        ["/photos?encoding-type=url", "/photos?list-type=2&encoding-type=url", "/photos?versions&encoding-type=url"]
    {
        check(house.send(&Call::get(path)).await.expect(200));
    }
    house.check_refused(&Call::get("/photos?encoding-type=rot13"), "InvalidArgument", 400).await;
}

#[tokio::test]
async fn bad_list_parameters_are_refused() {
    let house = with_keys(&[]).await;
    for query in [
        "list-type=2&max-keys=-1",
        "list-type=2&max-keys=x",
        "max-keys=",
        "list-type=2&continuation-token=x",
        "uploads&max-uploads=-1",
    ] {
        house.check_refused(&Call::get(&format!("/photos?{query}")), "InvalidArgument", 400).await;
    }
}
