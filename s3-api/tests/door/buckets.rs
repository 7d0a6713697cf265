//! Buckets: made, listed, looked at, deleted.

use crate::house::{Call, house, house_with, house_with_bucket};
use crate::sign::unsigned_chunks;
use cistern_s3_api::S3Config;

#[tokio::test]
async fn a_bucket_is_made_listed_looked_at_and_deleted() {
    let house = house();
    let made = house.send(&Call::put("/photos")).await.expect(200);
    assert_eq!(made.header("location"), "/photos");
    house.send(&Call::put("/logs")).await.expect(200);
    let list = house.send(&Call::get("/")).await.expect(200);
    assert_eq!(list.elements("Name"), ["logs", "photos"]);
    assert_eq!((list.element("DisplayName").as_str(), list.element("ID").len()), ("root", 64));
    let head = house.send(&Call::head("/photos")).await.expect(200);
    assert_eq!(head.header("x-amz-bucket-region"), "auto");
    house.send(&Call::put("/photos")).await.expect(200);
    house.send(&Call::delete("/photos")).await.expect(204);
    house.send(&Call::head("/photos")).await.expect(404);
}

#[tokio::test]
async fn a_bucket_remembers_its_location_whatever_it_is() {
    let house = house();
    let create = "<CreateBucketConfiguration xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">\
                  <LocationConstraint>eu-west-7</LocationConstraint></CreateBucketConfiguration>";
    house.send(&Call::put("/photos").body(create)).await.expect(200);
    let answer = house.send(&Call::get("/photos?location")).await.expect(200);
    assert!(answer.text().contains("eu-west-7"), "{}", answer.text());
    let head = house.send(&Call::head("/photos")).await.expect(200);
    assert_eq!(head.header("x-amz-bucket-region"), "eu-west-7");
    let long = create.replace("eu-west-7", &"x".repeat(65));
    house.check_refused(&Call::put("/other").body(long), "InvalidLocationConstraint", 400).await;
}

#[tokio::test]
async fn a_bucket_with_objects_stays() {
    let house = house_with_bucket().await;
    house.put("/photos/cat", "x").await;
    house.check_refused(&Call::delete("/photos"), "BucketNotEmpty", 409).await;
    house.send(&Call::delete("/photos/cat")).await.expect(204);
    house.send(&Call::delete("/photos")).await.expect(204);
}

#[tokio::test]
async fn a_fresh_bucket_answers_for_what_it_does_not_have() {
    let house = house_with_bucket().await;
    let versioning = house.send(&Call::get("/photos?versioning")).await.expect(200);
    assert!(versioning.text().contains("VersioningConfiguration") && versioning.element("Status").is_empty());
    let acl = house.send(&Call::get("/photos?acl")).await.expect(200);
    assert_eq!(
        (acl.elements("Permission"), acl.elements("DisplayName")),
        (vec!["FULL_CONTROL".into()], vec!["root".to_owned(); 2])
    );
}

#[tokio::test]
async fn lists_of_buckets_come_in_pages() {
    let house = house();
    for name in ["aa1", "aa2", "bb1", "bb2", "bb3"] {
        house.send(&Call::put(&format!("/{name}"))).await.expect(200);
    }
    let (mut names, mut token) = (Vec::new(), String::new());
    loop {
        let mut call = Call::get("/?max-buckets=2&prefix=bb");
        if !token.is_empty() {
            call = call.query("continuation-token", &token);
        }
        let page = house.send(&call).await.expect(200);
        names.extend(page.elements("Name"));
        token = page.element("ContinuationToken");
        if token.is_empty() {
            break;
        }
    }
    assert_eq!(names, ["bb1", "bb2", "bb3"]);
    house.check_refused(&Call::get("/?max-buckets=-1"), "InvalidArgument", 400).await;
    house.check_refused(&Call::get("/?continuation-token=x"), "InvalidArgument", 400).await;
}

#[tokio::test]
async fn a_host_name_can_name_the_bucket() {
    let config = S3Config { domain: Some("test".into()), ..S3Config::default() };
    let house = house_with(config);
    // The signer's host is s3.test: with the domain `test`, that is the bucket `s3`, which is too short a name.
    house.check_refused(&Call::get("/"), "InvalidBucketName", 400).await;
    let config = S3Config { domain: Some("s3.test".into()), ..S3Config::default() };
    let house = house_with(config);
    house.send(&Call::put("/photos")).await.expect(200);
    assert_eq!(house.send(&Call::get("/")).await.expect(200).elements("Name"), ["photos"]);
    let trailer = ("x-amz-checksum-crc32", "jNwWgw==");
    for path in ["//", "//a"] {
        let call = |method| Call::new(method, path).host("photos.s3.test:9000");
        let put = call("PUT").header("x-amz-decoded-content-length", "1").header("x-amz-trailer", trailer.0);
        let put = put.payload("STREAMING-UNSIGNED-PAYLOAD-TRAILER");
        house.send_chunked(&put, |_, _, _| unsigned_chunks(&[b"x"], Some(trailer))).await.expect(200);
        assert_eq!(house.send(&call("GET")).await.expect(200).text(), "x");
    }
    assert_eq!(house.send(&Call::get("/photos")).await.expect(200).elements("Key"), ["/", "/a"]);
}

#[tokio::test]
async fn a_bucket_is_made_with_its_tags() {
    let house = house();
    let create = "<CreateBucketConfiguration xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">\
                  <LocationConstraint>eu-west-7</LocationConstraint><Tags><Tag><Key>b</Key><Value>2</Value></Tag>\
                  <Tag><Key>a</Key><Value>1</Value></Tag></Tags></CreateBucketConfiguration>";
    let respelled = create.replace(">1<", "><![CDATA[1]]><");
    for body in [create, create, &respelled] {
        house.send(&Call::put("/photos").body(body.to_owned())).await.expect(200);
        let tags = house.send(&Call::get("/photos?tagging")).await.expect(200);
        assert_eq!(
            (tags.elements("Key"), tags.elements("Value")),
            (vec!["a".into(), "b".into()], vec!["1".into(), "2".into()])
        );
    }
    house.check_refused(&Call::put("/photos").body(create.replace(">1<", ">3<")), "BucketAlreadyExists", 409).await;
    house.send(&Call::put("/photos")).await.expect(200);
    for (part, other, code) in
        [("<Key>b</Key>", "<Key>aws:b</Key>", "InvalidTag"), ("<Key>b</Key>", "", "MalformedXML")]
    {
        house.check_refused(&Call::put("/other").body(create.replace(part, other)), code, 400).await;
    }
    house.send(&Call::put("/other").body(create.replace("<Tag>", "<!--").replace("</Tag>", "-->"))).await.expect(200);
    house.check_refused(&Call::get("/other?tagging"), "NoSuchTagSet", 404).await;
}

#[tokio::test]
async fn a_domain_that_is_none_is_refused() {
    let objects = house().objects;
    let config = S3Config { domain: Some("http://x".into()), ..S3Config::default() };
    let door = cistern_s3_api::S3Door::new(objects, house().access, config, cistern_s3_api::S3Metrics::default());
    assert!(door.unwrap_err().to_string().contains("http://x"));
}
