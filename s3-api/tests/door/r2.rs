//! What R2 adds to S3: buckets made by writes, metadata in other scripts, conditions on a copy's target, lists of buckets in pages.

use crate::house::{Call, House, house, house_with_bucket};
use cistern_access::Permission;

const MAKE: &str = "cf-create-bucket-if-missing";

/// A write that makes its bucket.
fn making(call: Call) -> Call {
    call.header(MAKE, "true")
}

async fn buckets(house: &House) -> Vec<String> {
    house.send(&Call::get("/")).await.expect(200).elements("Name")
}

#[tokio::test]
async fn a_write_makes_its_bucket_when_it_is_asked_to() {
    let house = house();
    house.send(&making(Call::put("/photos/cat").body("meow"))).await.expect(200);
    house.send(&making(Call::put("/photos/dog").body("woof"))).await.expect(200);
    assert_eq!(house.send(&Call::get("/photos/cat")).await.expect(200).text(), "meow");
    assert_eq!(house.send(&Call::head("/photos")).await.expect(200).header("x-amz-bucket-region"), "auto");
    let upload = house.send(&making(Call::post("/films/one?uploads"))).await.expect(200).element("UploadId");
    house.send(&Call::delete(&format!("/films/one?uploadId={upload}"))).await.expect(204);
    house.send(&making(Call::put("/links/k").body("x").presigned("60"))).await.expect(200);
    assert_eq!(buckets(&house).await, ["films", "links", "photos"]);
}

#[tokio::test]
async fn a_bucket_is_made_only_by_who_may_and_asks() {
    let house = house_with_bucket().await;
    let put = || Call::put("/new/k").body("x");
    let writer = house.key(None, None, Permission::ReadWrite).await;
    let elsewhere = house.key(None, Some("photos"), Permission::Admin).await;
    house.check_refused(&making(put()).by(&writer), "AccessDenied", 403).await;
    house.check_refused(&making(put()).by(&elsewhere), "AccessDenied", 403).await;
    house.check_refused(&making(put()).anonymous(), "AccessDenied", 403).await;
    house.check_refused(&put().header(MAKE, "false"), "NoSuchBucket", 404).await;
    house.check_refused(&put(), "NoSuchBucket", 404).await;
    for value in ["yes", "TRUE", ""] {
        house.check_refused(&put().header(MAKE, value), "InvalidArgument", 400).await;
        house.check_refused(&Call::put("/photos/k").header(MAKE, value).body("x"), "InvalidArgument", 400).await;
    }
    house.check_refused(&making(put()).header("x-amz-expected-bucket-owner", "somebody"), "AccessDenied", 403).await;
    // whoever holds a presigned write must not make buckets with it
    let added = put().presigned("60").unsigned_header(MAKE, "true");
    house.check_refused(&added, "AccessDenied", 403).await;
    for call in
        [Call::get("/new/k"), Call::put("/new/k").header("x-amz-copy-source", "photos/k"), Call::delete("/new/k")]
    {
        house.check_refused(&making(call), "NoSuchBucket", 404).await;
    }
    let other = house.key(Some("ada"), None, Permission::Admin).await;
    house.check_refused(&making(Call::put("/photos/k").body("x")).by(&other), "AccessDenied", 403).await;
    let bound = house.key(None, Some("new"), Permission::Admin).await;
    house.send(&making(put()).by(&bound)).await.expect(200);
    house.send(&making(Call::put("/hers/k").body("x")).by(&other)).await.expect(200);
    assert_eq!(buckets(&house).await, ["new", "photos"], "the other owner's bucket is hers");
}

#[tokio::test]
async fn racing_makers_of_a_bucket_all_write() {
    let house = house();
    let calls: Vec<_> = (0..8).map(|at| making(Call::put(&format!("/photos/{at}")).body("x"))).collect();
    let answers = futures::future::join_all(calls.iter().map(|call| house.send(call))).await;
    for answer in answers {
        answer.expect(200);
    }
    assert_eq!(house.send(&Call::get("/photos")).await.expect(200).elements("Key").len(), 8);
}

#[tokio::test]
async fn a_made_bucket_stays_when_the_write_fails() {
    let house = house();
    let broken = making(Call::put("/photos/cat").body("meow")).header("content-md5", "JfnnlDI7RTiF9RgfG2JNCw==");
    house.send(&broken).await.expect_error("BadDigest", 400);
    assert_eq!(buckets(&house).await, ["photos"]);
    assert!(house.send(&Call::get("/photos")).await.expect(200).elements("Key").is_empty());
}

#[tokio::test]
async fn metadata_comes_back_in_encoded_words_however_it_came() {
    let house = house_with_bucket().await;
    let long = "ä€😀".repeat(20);
    let raw_long = format!("=?UTF-8?B?{}?=", base64::Engine::encode(&base64::engine::general_purpose::STANDARD, &long));
    for (sent, stored) in [
        ("ä", "ä"),
        ("=?UTF-8?B?w6TDpA==?=", "ää"),
        ("=?utf-8?Q?=C3=A4_b?=", "ä b"),
        ("=?UTF-8?B?w6Q=?= =?UTF-8?B?w7Y=?=", "äö"),
        ("=?ISO-8859-1?Q?caf=E9?=", "café"),
        ("a =?UTF-8?Q?=C3=A4?= b", "a ä b"),
        ("=?UTF-8?Q?plain?=", "plain"),
        ("=?UTF-8?B?!!!?=", "=?UTF-8?B?!!!?="),
        ("=?KOI8-R?Q?=C4?=", "=?KOI8-R?Q?=C4?="),
        ("plain", "plain"),
        (&long, &long),
        (&raw_long, &long),
    ] {
        let put = Call::put("/photos/k").header("x-amz-meta-name", sent).header("x-amz-meta-plain", "b").body("x");
        house.send(&put).await.expect(200);
        let (bucket, key) = ("photos".parse().unwrap(), "k".parse().unwrap());
        let record = house.objects.head(&bucket, &key).await.unwrap();
        assert_eq!(record.headers.user["name"], stored, "{sent}");
        let upload = house.send(&Call::post("/photos/film?uploads").header("x-amz-meta-name", sent)).await.expect(200);
        assert!(!upload.element("UploadId").is_empty());
        for call in [Call::get("/photos/k"), Call::head("/photos/k")] {
            let answer = house.send(&call).await.expect(200);
            let value = answer.header("x-amz-meta-name");
            assert!(value.is_ascii(), "{value}");
            assert!(value.split(' ').all(|word| word.len() <= 75), "{value}");
            assert_eq!((answer.header("x-amz-meta-plain"), answer.header("x-amz-missing-meta")), ("b", ""));
            // what an answer says can be sent again
            let again = Call::put("/photos/again").header("x-amz-meta-name", value).body("x");
            house.send(&again).await.expect(200);
            let again = house.objects.head(&bucket, &"again".parse().unwrap()).await.unwrap();
            assert_eq!(again.headers.user["name"], stored, "{value}");
        }
    }
}

#[tokio::test]
async fn words_of_control_characters_come_back_as_they_came() {
    let house = house_with_bucket().await;
    let (control, zero) = ("=?UTF-8?Q?a=0Ab?=", "=?UTF-8?B?AA==?=");
    let put = Call::put("/photos/k").header("x-amz-meta-control", control).header("x-amz-meta-zero", zero);
    house.send(&put.body("x")).await.expect(200);
    for call in [Call::get("/photos/k"), Call::head("/photos/k")] {
        let answer = house.send(&call).await.expect(200);
        assert_eq!((answer.header("x-amz-meta-control"), answer.header("x-amz-meta-zero")), (control, zero));
        assert_eq!(answer.header("x-amz-missing-meta"), "");
    }
}

#[tokio::test]
async fn the_limit_of_metadata_counts_what_it_says_and_not_how() {
    let house = house_with_bucket().await;
    let encoded = |letters: usize| format!("=?UTF-8?Q?{}?=", "=C3=A4".repeat(letters));
    let put = |letters: usize| Call::put("/photos/k").header("x-amz-meta-a", &encoded(letters)).body("x");
    house.send(&put(1023)).await.expect(200); // 1 + 2 x 1023 bytes of 2048, in 6 x 1023 letters
    house.check_refused(&put(1024), "MetadataTooLarge", 400).await;
}

#[tokio::test]
async fn copies_are_made_under_conditions_on_their_target() {
    let house = house_with_bucket().await;
    house.put("/photos/source", "new").await;
    let tag = house.put("/photos/target", "old").await;
    let (past, future) = ("Sun, 06 Nov 1994 08:49:37 GMT", "Fri, 31 Dec 2100 00:00:00 GMT");
    let copy = |to: &str, name: &str, value: &str| {
        let name = format!("cf-copy-destination-{name}");
        Call::put(to).header("x-amz-copy-source", "photos/source").header(&name, value)
    };
    for (to, name, value) in [
        ("/photos/target", "if-match", "\"aa\""),
        ("/photos/target", "if-none-match", "*"),
        ("/photos/target", "if-none-match", &tag),
        ("/photos/target", "if-modified-since", future),
        ("/photos/target", "if-unmodified-since", past),
        ("/photos/nothing", "if-match", "*"),
        ("/photos/nothing", "if-match", &tag),
    ] {
        house.check_refused(&copy(to, name, value), "PreconditionFailed", 412).await;
    }
    for (to, name, value) in [
        ("/photos/target", "if-match", tag.as_str()),
        ("/photos/target", "if-match", "*"),
        ("/photos/target", "if-none-match", "\"aa\", W/\"bb\""),
        ("/photos/target", "if-modified-since", past),
        ("/photos/target", "if-unmodified-since", future),
        ("/photos/target", "if-unmodified-since", "yesterday"),
        ("/photos/first", "if-none-match", "*"),
        ("/photos/second", "if-unmodified-since", past),
    ] {
        house.send(&copy(to, name, value)).await.expect(200);
        assert_eq!(house.send(&Call::get(to)).await.expect(200).text(), "new", "{name}: {value}");
        house.send(&Call::put("/photos/target").body("old")).await.expect(200);
    }
    let both = copy("/photos/target", "if-match", "*").header("x-amz-copy-source-if-match", "\"aa\"");
    house.check_refused(&both, "PreconditionFailed", 412).await;
    let (a, b) = (copy("/photos/race", "if-none-match", "*"), copy("/photos/race", "if-none-match", "*"));
    let (a, b) = tokio::join!(house.send(&a), house.send(&b));
    let mut statuses = [a.status.as_u16(), b.status.as_u16()];
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 412]);
}

#[tokio::test]
async fn lists_of_buckets_come_in_pages_of_r2() {
    let house = house();
    for name in ["aa1", "bb1", "bb2", "bb3", "bb4"] {
        house.send(&Call::put(&format!("/{name}"))).await.expect(200);
    }
    // the same by query and by header
    let by_query = |name: &str, value: &str| Call::get("/").query(name, value);
    let by_header = |name: &str, value: &str| Call::get("/").header(&format!("cf-{name}"), value);
    for ask in [&by_query as &dyn Fn(&str, &str) -> Call, &by_header] {
        let names = |call: Call| {
            let house = &house;
            async move { house.send(&call).await.expect(200).elements("Name") }
        };
        assert_eq!(names(ask("prefix", "aa")).await, ["aa1"]);
        assert_eq!(names(ask("start-after", "bb2")).await, ["bb3", "bb4"]);
        let first = house.send(&ask("max-keys", "2")).await.expect(200);
        assert_eq!(
            (first.elements("Name"), first.header("cf-is-truncated")),
            (vec!["aa1".into(), "bb1".into()], "true")
        );
        let token = first.header("cf-next-continuation-token");
        assert_eq!(token, first.element("ContinuationToken"));
        let second = house.send(&ask("continuation-token", token)).await.expect(200);
        assert_eq!(second.elements("Name"), ["bb2", "bb3", "bb4"]);
        assert_eq!((second.header("cf-is-truncated"), second.header("cf-next-continuation-token")), ("false", ""));
        for bad in ["-1", "many"] {
            house.check_refused(&ask("max-keys", bad), "InvalidArgument", 400).await;
        }
        house.check_refused(&ask("continuation-token", "x"), "InvalidArgument", 400).await;
    }
    let header_wins = Call::get("/").query("prefix", "aa").header("cf-prefix", "bb").query("max-keys", "1");
    assert_eq!(house.send(&header_wins).await.expect(200).elements("Name"), ["bb1"]);
    let unsigned = Call::get("/").presigned("60").unsigned_header("cf-prefix", "bb");
    house.check_refused(&unsigned, "AccessDenied", 403).await;
}
