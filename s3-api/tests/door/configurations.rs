//! Configurations of buckets that are stored and given back, and those that no bucket has.

use crate::house::{Call, House, house_with_bucket};

fn lifecycle(rules: &str) -> Call {
    Call::put("/photos?lifecycle").body(format!("<LifecycleConfiguration>{rules}</LifecycleConfiguration>"))
}

/// A rule in the old form.
fn rule(id: &str, prefix: &str, action: &str) -> String {
    format!("<Rule>{action}<ID>{id}</ID><Prefix>{prefix}</Prefix><Status>Enabled</Status></Rule>")
}

fn days(days: i32) -> String {
    format!("<Expiration><Days>{days}</Days></Expiration>")
}

async fn expiration_on_head(house: &House, path: &str) -> String {
    house.send(&Call::head(path)).await.expect(200).header("x-amz-expiration").to_owned()
}

#[tokio::test]
async fn lifecycle_rules_come_back_as_they_were_put_and_are_removed() {
    let house = house_with_bucket().await;
    let none = Call::get("/photos?lifecycle");
    house.check_refused(&none, "NoSuchLifecycleConfiguration", 404).await;
    house.send(&Call::delete("/photos?lifecycle")).await.expect(204);
    let rules = [rule("test1/", "test1/", &days(31)), rule("test2/", "", &days(120))];
    house.send(&lifecycle(&rules.concat())).await.expect(200);
    let shown = house.send(&Call::get("/photos?lifecycle")).await.expect(200);
    assert!(shown.text().contains(&rules.concat()), "{}", shown.text());
    house.send(&Call::delete("/photos?lifecycle")).await.expect(204);
    house.check_refused(&none, "NoSuchLifecycleConfiguration", 404).await;
    house.check_refused(&Call::get("/nowhere?lifecycle"), "NoSuchBucket", 404).await;
}

#[tokio::test]
async fn lifecycle_rules_without_an_id_get_ids_of_their_own() {
    let house = house_with_bucket().await;
    let nameless = rule("", "a", &days(1)).replace("<ID></ID>", "");
    house.send(&lifecycle(&nameless.repeat(2))).await.expect(200);
    let ids = house.send(&Call::get("/photos?lifecycle")).await.expect(200).elements("ID");
    assert_eq!(ids.iter().map(String::len).collect::<Vec<_>>(), [48, 48]);
    assert_ne!(ids[0], ids[1]);
}

#[tokio::test]
async fn lifecycle_rules_that_cannot_be_are_refused_and_leave_the_old_ones() {
    let house = house_with_bucket().await;
    house.send(&lifecycle(&rule("kept", "a", &days(1)))).await.expect(200);
    let date = |date: &str| format!("<Expiration><Date>{date}</Date></Expiration>");
    let transition =
        |class: &str| format!("<Transition><Days>1</Days><StorageClass>{class}</StorageClass></Transition>");
    let many = |count: usize, id: &str| (0..count).map(|i| rule(&format!("{id}{i}"), "", &days(1))).collect::<String>();
    for (rules, code) in [
        (String::new(), "MalformedXML"),
        (rule("a", "a", &days(0)), "InvalidArgument"),
        (rule(&"a".repeat(256), "a", &days(1)), "InvalidArgument"),
        (rule("a", "a", &days(1)).repeat(2), "InvalidArgument"),
        (rule("a", "a", &days(1)).replace("Enabled", "enabled"), "MalformedXML"),
        (rule("a", "a", &days(1)).replace("<Prefix>a</Prefix>", ""), "MalformedXML"),
        (
            rule("a", "a", "<Expiration><ExpiredObjectAllVersions>true</ExpiredObjectAllVersions></Expiration>"),
            "MalformedXML",
        ),
        (rule("a", "a", ""), "InvalidRequest"),
        (rule("a", "a", &date("1970-08-22T19:08:21Z")), "InvalidArgument"),
        (rule("a", "a", &date("20200101")), "MalformedXML"),
        (rule("a", "a", &transition("STANDARD")), "MalformedXML"),
        (rule("a", "a", &transition("GLACIER")), "InvalidArgument"),
        (many(1001, ""), "InvalidRequest"),
        (many(400, &"long".repeat(50)), "MaxMessageLengthExceeded"),
    ] {
        house.check_refused(&lifecycle(&rules), code, 400).await;
    }
    house.check_refused(&Call::put("/photos?lifecycle"), "MalformedXML", 400).await;
    assert_eq!(house.send(&Call::get("/photos?lifecycle")).await.expect(200).element("ID"), "kept");
    house.send(&lifecycle(&rule("a", "a", &transition("STANDARD_IA")))).await.expect(200);
}

#[tokio::test]
async fn answers_about_an_object_tell_when_it_expires() {
    let house = house_with_bucket().await;
    assert_eq!(house.send(&Call::put("/photos/days1/foo").body("x")).await.expect(200).header("x-amz-expiration"), "");
    house.send(&lifecycle(&rule("rule1", "days1/", &days(1)))).await.expect(200);
    let put = house.send(&Call::put("/photos/days1/foo").body("x")).await.expect(200);
    let said = put.header("x-amz-expiration").to_owned();
    assert!(said.starts_with("expiry-date=\"") && said.ends_with(" 00:00:00 GMT\", rule-id=\"rule1\""), "{said}");
    for call in [Call::get("/photos/days1/foo"), Call::head("/photos/days1/foo")] {
        assert_eq!(house.send(&call).await.expect(200).header("x-amz-expiration"), said);
    }
    let other = house.send(&Call::put("/photos/other").body("x")).await.expect(200);
    assert_eq!(other.header("x-amz-expiration"), "");
    assert_eq!(expiration_on_head(&house, "/photos/other").await, "");
    let by_version = Call::head("/photos/days1/foo").query("versionId", "null");
    assert_eq!(house.send(&by_version).await.expect(200).header("x-amz-expiration"), "");
}

#[tokio::test]
async fn an_expiry_by_tags_follows_the_tags_and_the_rules() {
    let house = house_with_bucket().await;
    let tag = |value: &str| format!("<Tag><Key>k</Key><Value>{value}</Value></Tag>");
    let rules = |value: &str| {
        let filter = format!("<Filter>{}</Filter>", tag(value));
        lifecycle(&format!("<Rule><ID>r</ID>{filter}<Status>Enabled</Status>{}</Rule>", days(1)))
    };
    house.send(&rules("1")).await.expect(200);
    let put = Call::put("/photos/a").header("x-amz-tagging", "k=1").body("x");
    assert!(!house.send(&put).await.expect(200).header("x-amz-expiration").is_empty());
    house.put("/photos/b", "x").await;
    assert_eq!(expiration_on_head(&house, "/photos/b").await, "");
    let tagging = format!("<Tagging><TagSet>{}</TagSet></Tagging>", tag("1"));
    house.send(&Call::put("/photos/b?tagging").body(tagging)).await.expect(200);
    assert!(!expiration_on_head(&house, "/photos/b").await.is_empty());
    house.send(&rules("2")).await.expect(200);
    assert_eq!(expiration_on_head(&house, "/photos/b").await, "");
}

#[tokio::test]
async fn notifications_are_empty_and_take_no_destination() {
    let house = house_with_bucket().await;
    let put = |inner: &str| {
        Call::put("/photos?notification")
            .body(format!("<NotificationConfiguration>{inner}</NotificationConfiguration>"))
    };
    let queue = |event: &str| {
        format!(
            "<QueueConfiguration><Id>q</Id><Queue>arn:aws:sqs:us-east-1:1:q</Queue><Event>{event}</Event>\
             </QueueConfiguration>"
        )
    };
    house.send(&put("")).await.expect(200);
    for inner in [
        queue("s3:ObjectCreated:*"),
        queue("s3:ObjectCreated:*").replace("Queue", "Topic"),
        queue("s3:Nothing"),
        queue("s3:ObjectRemoved:*").repeat(2),
        "<EventBridgeConfiguration/>".into(),
    ] {
        house.check_refused(&put(&inner), "InvalidArgument", 400).await;
    }
    let refused = house.send(&put(&queue("s3:ObjectRemoved:Delete"))).await;
    assert_eq!(refused.element("Message"), "Unable to validate the following destination configurations");
    let shown = house.send(&Call::get("/photos?notification")).await.expect(200);
    assert!(shown.text().contains("NotificationConfiguration") && !shown.text().contains("Queue"), "{}", shown.text());
}

#[tokio::test]
async fn what_no_bucket_has_is_answered_as_for_a_bucket_without_it() {
    let house = house_with_bucket().await;
    for (path, element) in [
        ("/photos?logging", "BucketLoggingStatus"),
        ("/photos?accelerate", "AccelerateConfiguration"),
        ("/photos?requestPayment", "<Payer>BucketOwner</Payer>"),
    ] {
        let answer = house.send(&Call::get(path)).await.expect(200);
        assert!(answer.text().contains(element), "{}", answer.text());
    }
    house.check_refused(&Call::get("/photos?replication"), "ReplicationConfigurationNotFoundError", 404).await;
    house.check_refused(&Call::get("/photos?website"), "NoSuchWebsiteConfiguration", 404).await;
    for name in ["logging", "accelerate", "requestPayment", "replication", "website"] {
        house.check_refused(&Call::put(&format!("/photos?{name}")).body("<X/>"), "NotImplemented", 501).await;
        house.check_refused(&Call::delete(&format!("/photos?{name}")), "NotImplemented", 501).await;
        house.check_refused(&Call::get(&format!("/nowhere?{name}")), "NoSuchBucket", 404).await;
    }
}

#[tokio::test]
async fn every_write_says_when_its_object_expires_and_an_upload_when_it_is_aborted() {
    let house = house_with_bucket().await;
    let abort = "<AbortIncompleteMultipartUpload><DaysAfterInitiation>3</DaysAfterInitiation>\
                 </AbortIncompleteMultipartUpload>";
    let tagged = "<Rule><Expiration><Days>1</Days></Expiration><Filter><Tag><Key>k</Key><Value>v</Value></Tag></Filter>\
                  <ID>tagged</ID><Status>Enabled</Status></Rule>";
    let rules = [rule("seldom", "a", abort), rule("soon", "a", &abort.replace('3', "2")), tagged.to_owned()];
    house.send(&lifecycle(&rules.concat())).await.expect(200);
    house.send(&Call::put("/photos/source").header("x-amz-tagging", "k=v").body("x")).await.expect(200);
    let copy = house.send(&Call::put("/photos/b").header("x-amz-copy-source", "photos/source")).await.expect(200);
    let begun = house.send(&Call::post("/photos/a?uploads").header("x-amz-tagging", "k=v")).await.expect(200);
    let path = format!("/photos/a?uploadId={}", begun.element("UploadId"));
    let listed = house.send(&Call::get(&path)).await.expect(200);
    for answer in [&begun, &listed] {
        assert_eq!(answer.header("x-amz-abort-rule-id"), "soon");
        assert!(answer.header("x-amz-abort-date").ends_with(" 00:00:00 GMT"));
    }
    assert_eq!(begun.header("x-amz-abort-date"), listed.header("x-amz-abort-date"));
    assert_eq!(house.send(&Call::post("/photos/b?uploads")).await.expect(200).header("x-amz-abort-date"), "");
    let part = house.send(&Call::put(&format!("{path}&partNumber=1")).body("x")).await.expect(200);
    let part = format!("<Part><PartNumber>1</PartNumber><ETag>{}</ETag></Part>", part.header("etag"));
    let end = format!("<CompleteMultipartUpload>{part}</CompleteMultipartUpload>");
    let made = house.send(&Call::post(&path).body(end)).await.expect(200);
    for (answer, path) in [(copy, "/photos/b"), (made, "/photos/a")] {
        let expiration = answer.header("x-amz-expiration");
        assert!(expiration.contains(r#"rule-id="tagged""#), "{path} {expiration:?}");
        assert_eq!(expiration, expiration_on_head(&house, path).await);
    }
}
