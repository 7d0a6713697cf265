//! Who may do what: every kind of asker, every operation, under access lists, policies and blocks.

use crate::house::{Call, House, house_with_bucket};
use crate::sign::Keys;
use cistern_access::Permission;
use std::fmt::Write as _;

const OTHER: &str = "ada";

/// One letter for each operation on bucket `photos` with the object `cat`.
fn operation(letter: char) -> Call {
    let tagging = "<Tagging><TagSet/></Tagging>";
    match letter {
        'g' => Call::get("/photos/cat"),
        'h' => Call::head("/photos/cat"),
        'p' => Call::put("/photos/new").body("x"),
        'o' => Call::put("/photos/cat").body("x"),
        'd' => Call::delete("/photos/cat"),
        'D' => Call::post("/photos?delete").body("<Delete><Object><Key>cat</Key></Object></Delete>"),
        'l' => Call::get("/photos?list-type=2"),
        'v' => Call::get("/photos?versions"),
        'u' => Call::post("/photos/film?uploads"),
        'a' => Call::get("/photos/cat?acl"),
        'A' => Call::put("/photos/cat?acl").header("x-amz-acl", "private"),
        't' => Call::get("/photos/cat?tagging"),
        'T' => Call::put("/photos/cat?tagging").body(tagging),
        'b' => Call::get("/photos?acl"),
        'B' => Call::put("/photos?acl").header("x-amz-acl", "private"),
        'q' => Call::get("/photos?policy"),
        'Q' => Call::put("/photos?policy").body(policy("Allow", "*", "s3:GetObject")),
        's' => Call::put("/photos?tagging").body(tagging),
        'x' => Call::delete("/photos"),
        _ => panic!("no operation {letter}"),
    }
}

const ALL: &str = "ghpodDlvuaAtTbBqQsx";
/// What takes no admin key.
const DATA: &str = "ghpodDlvuaAtTbq";
/// What takes a key that reads.
const READS: &str = "ghlvatbq";

fn policy(effect: &str, principal: &str, action: &str) -> String {
    format!(
        r#"{{"Version":"2012-10-17","Statement":[{{"Effect":"{effect}","Principal":{principal},"Action":"{action}",
            "Resource":["arn:aws:s3:::photos","arn:aws:s3:::photos/*"]}}]}}"#
    )
    .replace(r#""Principal":*"#, r#""Principal":"*""#)
}

struct Askers {
    admin: Keys,
    writer: Keys,
    reader: Keys,
    other: Keys,
}

async fn askers(house: &House) -> Askers {
    Askers {
        admin: house.root.clone(),
        writer: house.key(None, None, Permission::ReadWrite).await,
        reader: house.key(None, None, Permission::Read).await,
        other: house.key(Some(OTHER), None, Permission::Admin).await,
    }
}

/// Which operations are not denied, each tried in a house of its own that `prepare` has set up.
async fn allowed(prepare: &[Call], asker: fn(&Askers) -> Option<&Keys>) -> String {
    let mut letters = String::new();
    for letter in ALL.chars() {
        let house = house_with_bucket().await;
        house.put("/photos/cat", "meow").await;
        for call in prepare {
            let status = house.send(call).await.status;
            assert!(status.is_success(), "{} {:?}: {status}", call.path, call.query);
        }
        let askers = askers(&house).await;
        let call = match asker(&askers) {
            Some(keys) => operation(letter).by(keys),
            None => operation(letter).anonymous(),
        };
        let answer = house.send(&call).await;
        if answer.status != 403 && answer.element("Code") != "AccessDenied" {
            letters.push(letter);
        }
    }
    letters
}

/// What the owner's admin, read-write and read key, another owner's admin key and nobody known may do.
async fn check(prepare: &[Call], expected: [&str; 5]) {
    let askers: [fn(&Askers) -> Option<&Keys>; 5] = [
        |askers| Some(&askers.admin),
        |askers| Some(&askers.writer),
        |askers| Some(&askers.reader),
        |askers| Some(&askers.other),
        |_| None,
    ];
    for ((asker, expected), who) in askers.into_iter().zip(expected).zip(["admin", "writer", "reader", "other", "-"]) {
        assert_eq!(allowed(prepare, asker).await, expected, "{who} after {prepare:?}");
    }
}

fn acl(path: &str, name: &str) -> Call {
    Call::put(&format!("{path}?acl")).header("x-amz-acl", name)
}

fn put_policy(text: String) -> Call {
    Call::put("/photos?policy").body(text)
}

#[tokio::test]
async fn a_private_bucket_is_its_owners() {
    check(&[], [ALL, DATA, READS, "", ""]).await;
}

#[tokio::test]
async fn access_lists_open_what_they_grant() {
    check(&[acl("/photos", "public-read")], [ALL, DATA, READS, "lv", "lv"]).await;
    check(&[acl("/photos", "public-read-write")], [ALL, DATA, READS, "podDlvu", "podDlv"]).await;
    check(&[acl("/photos", "authenticated-read")], [ALL, DATA, READS, "lv", ""]).await;
    check(&[acl("/photos/cat", "public-read")], [ALL, DATA, READS, "gh", "gh"]).await;
}

#[tokio::test]
async fn a_policy_opens_what_it_allows() {
    let everybody = put_policy(policy("Allow", "*", "s3:GetObject"));
    check(&[everybody], [ALL, DATA, READS, "gh", "gh"]).await;
    let house = house_with_bucket().await;
    let other = house.key(Some(OTHER), None, Permission::Admin).await;
    let list = house.send(&Call::get("/").by(&other)).await.expect(200);
    let principal = format!(r#"{{"AWS":"{}"}}"#, list.element("ID"));
    check(&[put_policy(policy("Allow", &principal, "s3:PutObject"))], [ALL, DATA, READS, "pou", ""]).await;
}

#[tokio::test]
async fn a_policy_closes_what_it_denies_for_the_owner_too() {
    let no_deletes = put_policy(policy("Deny", "*", "s3:DeleteObject"));
    let without = |letters: &str| letters.replace(['d', 'D'], "");
    check(&[no_deletes], [&without(ALL), &without(DATA), READS, "", ""]).await;
    // whoever denies everything can still mend it
    let nothing = put_policy(policy("Deny", "*", "s3:*"));
    check(&[acl("/photos", "public-read-write"), nothing], ["qQ", "q", "q", "", ""]).await;
}

#[tokio::test]
async fn a_block_keeps_public_grants_and_policies_out() {
    let block = |name: &str| {
        let xml = format!("<PublicAccessBlockConfiguration><{name}>true</{name}></PublicAccessBlockConfiguration>");
        Call::put("/photos?publicAccessBlock").body(xml)
    };
    let public = [acl("/photos", "public-read-write"), acl("/photos/cat", "public-read")];
    let ignored = [&public[..], &[block("IgnorePublicAcls")]].concat();
    check(&ignored, [ALL, DATA, READS, "", ""]).await;
    let everybody = put_policy(policy("Allow", "*", "s3:GetObject"));
    check(&[everybody.clone(), block("RestrictPublicBuckets")], [ALL, DATA, READS, "", ""]).await;
    let house = house_with_bucket().await;
    house.put("/photos/cat", "x").await;
    house.send(&block("BlockPublicAcls")).await.expect(200);
    for call in public {
        house.check_refused(&call, "AccessDenied", 403).await;
    }
    house
        .check_refused(&Call::put("/photos/new").header("x-amz-acl", "public-read").body("x"), "AccessDenied", 403)
        .await;
    house.send(&everybody).await.expect(204);
    house.send(&block("BlockPublicPolicy")).await.expect(200);
    house.check_refused(&everybody, "AccessDenied", 403).await;
    house.send(&Call::get("/photos?publicAccessBlock")).await.expect(200);
    house.send(&Call::delete("/photos?publicAccessBlock")).await.expect(204);
    house.check_refused(&Call::get("/photos?publicAccessBlock"), "NoSuchPublicAccessBlockConfiguration", 404).await;
}

#[tokio::test]
async fn only_who_may_list_learns_that_a_key_is_missing() {
    let house = house_with_bucket().await;
    house.check_refused(&Call::get("/photos/none").anonymous(), "AccessDenied", 403).await;
    house.check_refused(&Call::get("/nowhere/none").anonymous(), "NoSuchBucket", 404).await;
    house.send(&acl("/photos", "public-read")).await.expect(200);
    house.check_refused(&Call::get("/photos/none").anonymous(), "NoSuchKey", 404).await;
    house.send(&acl("/photos", "private")).await.expect(200);
    let prefix = r#"{"Statement":{"Effect":"Allow","Principal":"*","Action":"s3:ListBucket",
        "Resource":"arn:aws:s3:::photos","Condition":{"StringLike":{"s3:prefix":"public/*"}}}}"#;
    house.send(&put_policy(prefix.into())).await.expect(204);
    house.check_refused(&Call::get("/photos/public/none").anonymous(), "NoSuchKey", 404).await;
    house.check_refused(&Call::get("/photos/private/none").anonymous(), "AccessDenied", 403).await;
}

#[tokio::test]
async fn what_another_owner_writes_is_his_unless_the_bucket_says_otherwise() {
    let house = house_with_bucket().await;
    house.send(&acl("/photos", "public-read-write")).await.expect(200);
    let other = house.key(Some(OTHER), None, Permission::ReadWrite).await;
    house.send(&Call::put("/photos/his").body("x").by(&other)).await.expect(200);
    house.send(&Call::get("/photos/his").by(&other)).await.expect(200);
    let shown = house.send(&Call::get("/photos/his?acl")).await.expect(200);
    assert_eq!(shown.element("DisplayName"), OTHER);
    let list = house.send(&Call::get("/photos")).await.expect(200);
    assert_eq!(list.element("DisplayName"), OTHER);
    let enforce =
        "<OwnershipControls><Rule><ObjectOwnership>BucketOwnerEnforced</ObjectOwnership></Rule></OwnershipControls>";
    let enforce = Call::put("/photos?ownershipControls").body(enforce);
    house.check_refused(&enforce, "InvalidBucketAclWithObjectOwnership", 400).await;
    house.send(&acl("/photos", "private")).await.expect(200);
    house.send(&enforce).await.expect(200);
    house.check_refused(&acl("/photos", "private"), "AccessControlListNotSupported", 400).await;
    let with_acl = Call::put("/photos/k").header("x-amz-acl", "public-read").body("x");
    house.check_refused(&with_acl, "AccessControlListNotSupported", 400).await;
    house.send(&Call::delete("/photos?ownershipControls")).await.expect(204);
    house.check_refused(&Call::get("/photos?ownershipControls"), "OwnershipControlsNotFoundError", 404).await;
}

#[tokio::test]
async fn who_may_write_may_not_remove_versions_nor_lock_them() {
    let house = house_with_bucket().await;
    let enabled = "<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>";
    house.send(&Call::put("/photos?versioning").body(enabled)).await.expect(200);
    let version = house.send(&Call::put("/photos/k").body("x")).await.expect(200).header("x-amz-version-id").to_owned();
    house.send(&acl("/photos", "public-read-write")).await.expect(200);
    let remove = Call::delete("/photos/k").query("versionId", &version).anonymous();
    house.check_refused(&remove, "AccessDenied", 403).await;
    let many = format!("<Delete><Object><Key>k</Key><VersionId>{version}</VersionId></Object></Delete>");
    let many = house.send(&Call::post("/photos?delete").body(many).anonymous()).await.expect(200);
    assert_eq!(many.elements("Code"), ["AccessDenied"]);
    house.send(&Call::put("/vault").header("x-amz-bucket-object-lock-enabled", "true")).await.expect(200);
    house.send(&Call::put("/vault?acl").header("x-amz-acl", "public-read-write")).await.expect(200);
    let hold = Call::put("/vault/k").header("x-amz-object-lock-legal-hold", "ON").body("x").anonymous();
    house.check_refused(&hold, "AccessDenied", 403).await;
    house.send(&Call::put("/vault/k").body("x").anonymous()).await.expect(200);
}

#[tokio::test]
async fn a_policy_that_denies_the_bypass_of_a_key_holds_for_many_deletes_too() {
    let house = house_with_bucket().await;
    house.send(&Call::put("/vault").header("x-amz-bucket-object-lock-enabled", "true")).await.expect(200);
    let retained = Call::put("/vault/k").header("x-amz-object-lock-mode", "GOVERNANCE");
    let retained = retained.header("x-amz-object-lock-retain-until-date", "2140-01-01T00:00:00Z").body("x");
    let version = house.send(&retained).await.expect(200).header("x-amz-version-id").to_owned();
    let deny = r#"{"Statement":{"Effect":"Deny","Principal":"*","Action":"s3:BypassGovernanceRetention","Resource":"arn:aws:s3:::vault/*"}}"#;
    house.send(&Call::put("/vault?policy").body(deny)).await.expect(204);
    let many = format!("<Delete><Object><Key>k</Key><VersionId>{version}</VersionId></Object></Delete>");
    let many = Call::post("/vault?delete").header("x-amz-bypass-governance-retention", "true").body(many);
    assert_eq!(house.send(&many).await.expect(200).elements("Code"), ["AccessDenied"]);
    house.send(&Call::delete("/vault?policy")).await.expect(204);
    assert!(house.send(&many).await.expect(200).elements("Code").is_empty());
    let past = Call::put("/vault/k").header("x-amz-object-lock-mode", "GOVERNANCE");
    let past = past.header("x-amz-object-lock-retain-until-date", "1971-01-01T00:00:00Z").body("x");
    house.check_refused(&past, "InvalidArgument", 400).await;
}

#[tokio::test]
async fn headers_that_do_more_than_write_take_more_than_leave_to_write() {
    let house = house_with_bucket().await;
    let other = house.key(Some(OTHER), None, Permission::Admin).await;
    house.send(&put_policy(policy("Allow", "*", "s3:PutObject"))).await.expect(204);
    house.send(&Call::put("/photos/k").body("x").by(&other)).await.expect(200);
    for (name, value) in [("x-amz-tagging", "a=b"), ("x-amz-acl", "public-read")] {
        house
            .check_refused(&Call::put("/photos/k").header(name, value).body("x").by(&other), "AccessDenied", 403)
            .await;
    }
    house.send(&put_policy(policy("Allow", "*", "s3:*"))).await.expect(204);
    house.send(&Call::put("/photos/k").header("x-amz-tagging", "a=b").body("x").by(&other)).await.expect(200);
    for call in [
        Call::get("/photos?policy").by(&other),
        Call::put("/photos?tagging").body("<Tagging><TagSet/></Tagging>").anonymous(),
    ] {
        house.check_refused(&call, "AccessDenied", 403).await;
    }
}

#[tokio::test]
async fn tags_go_along_with_a_copy_for_those_only_who_may_read_and_write_tags() {
    let house = house_with_bucket().await;
    let other = house.key(Some(OTHER), None, Permission::Admin).await;
    house.send(&Call::put("/ada").by(&other)).await.expect(200);
    house.send(&Call::put("/photos/tagged").header("x-amz-tagging", "class=secret").body("x")).await.expect(200);
    house.put("/photos/plain", "x").await;
    let copy = |source: &str, target: &str| Call::put(target).header("x-amz-copy-source", source).by(&other);
    let allow = |actions: &str| put_policy(policy("Allow", "*", "ACTIONS").replace("\"ACTIONS\"", actions));
    house.send(&allow(r#"["s3:GetObject","s3:PutObject"]"#)).await.expect(204);
    house.send(&copy("photos/plain", "/ada/k")).await.expect(200);
    for target in ["/ada/k", "/photos/k"] {
        house.check_refused(&copy("photos/tagged", target), "AccessDenied", 403).await;
        let replacing = copy("photos/tagged", target).header("x-amz-tagging-directive", "REPLACE");
        house.send(&replacing).await.expect(200);
    }
    house.send(&allow(r#"["s3:GetObject","s3:PutObject","s3:GetObjectTagging"]"#)).await.expect(204);
    house.send(&copy("photos/tagged", "/ada/k")).await.expect(200);
    house.check_refused(&copy("photos/tagged", "/photos/k"), "AccessDenied", 403).await;
    house.send(&allow(r#"["s3:GetObject*","s3:PutObject*"]"#)).await.expect(204);
    house.send(&copy("photos/tagged", "/photos/k")).await.expect(200);
}

#[tokio::test]
async fn who_may_not_read_is_not_told_what_is_there_by_conditions_on_writes() {
    let house = house_with_bucket().await;
    let other = house.key(Some(OTHER), None, Permission::Admin).await;
    house.put("/photos/cat", "meow").await;
    let may = |actions: &str| put_policy(policy("Allow", "*", "ACTIONS").replace("\"ACTIONS\"", actions));
    house.send(&may(r#"["s3:PutObject","s3:DeleteObject"]"#)).await.expect(204);
    let conditional = |call: Call| call.header("if-match", "\"0\"").by(&other);
    for call in [Call::put("/photos/cat").body("x"), Call::put("/photos/none").body("x"), Call::delete("/photos/cat")] {
        house.check_refused(&conditional(call), "AccessDenied", 403).await;
    }
    let create = Call::put("/photos/cat").header("if-none-match", "*").body("x").by(&other);
    house.check_refused(&create, "PreconditionFailed", 412).await;
    house.send(&may(r#"["s3:PutObject","s3:DeleteObject","s3:GetObject"]"#)).await.expect(204);
    house.check_refused(&conditional(Call::delete("/photos/cat")), "PreconditionFailed", 412).await;
}

#[tokio::test]
async fn a_policy_can_ask_for_conditions_on_what_makes_objects() {
    let house = house_with_bucket().await;
    let deny = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Deny","Principal":"*","Action":"s3:PutObject",
        "Resource":"arn:aws:s3:::photos/*",
        "Condition":{"Null":{"s3:if-none-match":"true"},"Bool":{"s3:ObjectCreationOperation":"true"}}}]}"#;
    house.send(&put_policy(deny.into())).await.expect(204);
    house.check_refused(&Call::put("/photos/k").body("x"), "AccessDenied", 403).await;
    house.send(&Call::put("/photos/k").header("if-none-match", "*").body("x")).await.expect(200);
    let upload = house.send(&Call::post("/photos/film?uploads")).await.expect(200).element("UploadId");
    let part = Call::put(&format!("/photos/film?partNumber=1&uploadId={upload}")).body("x");
    let etag = house.send(&part).await.expect(200).header("etag").to_owned();
    let body = format!(
        "<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>{etag}</ETag></Part></CompleteMultipartUpload>"
    );
    let complete = Call::post(&format!("/photos/film?uploadId={upload}")).body(body);
    house.check_refused(&complete.clone(), "AccessDenied", 403).await;
    house.send(&complete.header("if-none-match", "*")).await.expect(200);
}

#[tokio::test]
async fn an_upload_is_for_who_began_it_and_the_buckets_owner() {
    let house = house_with_bucket().await;
    house.send(&acl("/photos", "public-read-write")).await.expect(200);
    let ada = house.key(Some(OTHER), None, Permission::Admin).await;
    let bob = house.key(Some("bob"), None, Permission::Admin).await;
    let upload = house.send(&Call::post("/photos/film?uploads").by(&ada)).await.expect(200).element("UploadId");
    let part = Call::put(&format!("/photos/film?partNumber=1&uploadId={upload}")).body("x");
    let parts = Call::get(&format!("/photos/film?uploadId={upload}"));
    let abort = Call::delete(&format!("/photos/film?uploadId={upload}"));
    for call in [&part, &parts, &abort] {
        house.check_refused(&call.clone().by(&bob), "AccessDenied", 403).await;
        house.check_refused(&call.clone().anonymous(), "AccessDenied", 403).await;
    }
    house.send(&part.by(&ada)).await.expect(200);
    house.send(&parts.by(&ada)).await.expect(200);
    house.send(&abort).await.expect(204);
}

#[tokio::test]
async fn nobody_known_cannot_make_an_upload_look_like_a_page() {
    let house = house_with_bucket().await;
    house.put("/photos/cat", "<script>").await;
    house.send(&acl("/photos/cat", "public-read")).await.expect(200);
    let dressed = Call::get("/photos/cat?response-content-type=text/html");
    house.check_refused(&dressed.clone().anonymous(), "InvalidRequest", 400).await;
    assert_eq!(house.send(&dressed).await.expect(200).header("content-type"), "text/html");
}

#[tokio::test]
async fn policies_are_checked_kept_and_given_back_as_they_came() {
    let house = house_with_bucket().await;
    house.check_refused(&Call::get("/photos?policy"), "NoSuchBucketPolicy", 404).await;
    for bad in ["{", "{}", &policy("Allow", "*", "s3:NoSuchThing")] {
        house.check_refused(&put_policy(bad.into()), "MalformedPolicy", 400).await;
    }
    let text = policy("Allow", "*", "s3:GetObject");
    house.send(&put_policy(text.clone())).await.expect(204);
    assert_eq!(house.send(&Call::get("/photos?policy")).await.expect(200).text(), text);
    let status = house.send(&Call::get("/photos?policyStatus")).await.expect(200);
    assert_eq!(status.element("IsPublic"), "true");
    house.send(&Call::delete("/photos?policy")).await.expect(204);
    assert_eq!(house.send(&Call::get("/photos?policyStatus")).await.element("IsPublic"), "false");
}

#[tokio::test]
async fn pages_of_other_origins_read_what_the_rules_let_them() {
    let house = house_with_bucket().await;
    house.check_refused(&Call::get("/photos?cors"), "NoSuchCORSConfiguration", 404).await;
    let rules = "<CORSConfiguration><CORSRule><AllowedOrigin>http://*.example</AllowedOrigin><AllowedMethod>GET</AllowedMethod>\
                 <AllowedHeader>x-a</AllowedHeader><ExposeHeader>etag</ExposeHeader><MaxAgeSeconds>60</MaxAgeSeconds></CORSRule>\
                 </CORSConfiguration>";
    house.send(&Call::put("/photos?cors").body(rules)).await.expect(200);
    let shown = house.send(&Call::get("/photos?cors")).await.expect(200);
    assert_eq!(
        (shown.element("AllowedOrigin"), shown.element("MaxAgeSeconds")),
        ("http://*.example".into(), "60".into())
    );
    let preflight = |origin: &str, method: &str| {
        let call = Call::new("OPTIONS", "/photos/cat").anonymous();
        call.header("origin", origin).header("access-control-request-method", method)
    };
    let fine = house.send(&preflight("http://a.example", "GET")).await.expect(200);
    assert_eq!(fine.header("access-control-allow-origin"), "http://a.example");
    for refused in [preflight("http://a.example", "PUT"), preflight("http://other", "GET")] {
        house.send(&refused).await.expect_error("AccessForbidden", 403);
    }
    house.send(&Call::new("OPTIONS", "/photos/cat").anonymous()).await.expect_error("BadRequest", 400);
    for (call, status) in [(Call::get("/photos/none"), 404), (Call::get("/photos/none").anonymous(), 403)] {
        let answer = house.send(&call.header("origin", "http://a.example")).await.expect(status);
        assert_eq!(answer.header("access-control-allow-origin"), "http://a.example");
        assert_eq!(answer.header("access-control-expose-headers"), "etag");
    }
    assert!(house.send(&Call::get("/photos/none")).await.header("vary").contains("Origin"));
    house.send(&Call::delete("/photos?cors")).await.expect(204);
    house.send(&preflight("http://a.example", "GET")).await.expect(403);
}

/// A form with these fields and the file `hello`.
fn form(fields: &[(&str, &str)]) -> Call {
    let mut body = String::new();
    for (name, value) in fields {
        write!(body, "--b\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n").unwrap();
    }
    body += "--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.txt\"\r\n\r\nhello\r\n--b--\r\n";
    let call = Call::post("/photos").anonymous().body(body);
    call.header("content-type", "multipart/form-data; boundary=b")
}

/// The policy of a form, and its signature by version 2.
fn signed(keys: &Keys, conditions: &str) -> (String, String) {
    use base64::Engine as _;
    use hmac::{Hmac, KeyInit as _, Mac as _};
    let coder = base64::engine::general_purpose::STANDARD;
    let text = format!(r#"{{"expiration":"2999-01-01T00:00:00Z","conditions":[{{"bucket":"photos"}}{conditions}]}}"#);
    let policy = coder.encode(text);
    let mut mac = Hmac::<sha1::Sha1>::new_from_slice(keys.secret.as_bytes()).unwrap();
    mac.update(policy.as_bytes());
    (policy, coder.encode(mac.finalize().into_bytes()))
}

#[tokio::test]
async fn a_browsers_form_becomes_an_object_as_its_policy_allows() {
    let house = house_with_bucket().await;
    house.check_refused(&form(&[("key", "k")]), "AccessDenied", 403).await;
    let (policy, signature) =
        signed(&house.root, r#",["starts-with","$key","up/"],{"x-amz-meta-a":"1"},["content-length-range",1,5]"#);
    let fields = |key: &'static str, meta: &'static str, signature: &str| {
        vec![
            ("key", key.to_owned()),
            ("x-amz-meta-a", meta.to_owned()),
            ("AWSAccessKeyId", house.root.id.clone()),
            ("policy", policy.clone()),
            ("signature", signature.to_owned()),
            ("success_action_status", "201".to_owned()),
        ]
    };
    let send = |fields: Vec<(&'static str, String)>| {
        let borrowed: Vec<(&str, &str)> = fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
        form(&borrowed)
    };
    house.check_refused(&send(fields("up/${filename}", "1", &signature)), "AccessDenied", 403).await;
    let (policy, signature) = signed(
        &house.root,
        r#",["starts-with","$key","up/"],{"x-amz-meta-a":"1"},["content-length-range",1,5],["eq","$success_action_status","201"]"#,
    );
    let fields = |key: &'static str, meta: &'static str, signature: &str| {
        vec![
            ("key", key.to_owned()),
            ("x-amz-meta-a", meta.to_owned()),
            ("AWSAccessKeyId", house.root.id.clone()),
            ("policy", policy.clone()),
            ("signature", signature.to_owned()),
            ("success_action_status", "201".to_owned()),
        ]
    };
    for (key, meta, signature, code) in [
        ("elsewhere", "1", signature.as_str(), "AccessDenied"),
        ("up/a", "2", signature.as_str(), "AccessDenied"),
        ("up/a", "1", "AAAA", "SignatureDoesNotMatch"),
    ] {
        house.check_refused(&send(fields(key, meta, signature)), code, 403).await;
    }
    let made = house.send(&send(fields("up/${filename}", "1", &signature))).await.expect(201);
    assert_eq!(made.element("Key"), "up/a.txt");
    let stored = house.send(&Call::get("/photos/up/a.txt")).await.expect(200);
    assert_eq!((stored.text().as_str(), stored.header("x-amz-meta-a")), ("hello", "1"));
}

#[tokio::test]
async fn forms_are_bounded_and_end_as_they_should() {
    let house = house_with_bucket().await;
    house.send(&acl("/photos", "public-read-write")).await.expect(200);
    let whole = form(&[("key", "k")]);
    let mut cut = whole.clone();
    cut.body = cut.body.slice(..cut.body.len() - 10);
    house.check_refused(&cut, "MalformedPOSTRequest", 400).await;
    house.check_refused(&form(&[]), "InvalidArgument", 400).await;
    let wrong = form(&[("key", "k"), ("x-amz-checksum-crc32", "AAAAAA==")]);
    house.check_refused(&wrong, "BadDigest", 400).await;
    let mut elsewhere = whole.clone();
    elsewhere.path = "/photos/key".into();
    house.check_refused(&elsewhere, "MethodNotAllowed", 405).await;
    let kms = form(&[("key", "k"), ("x-amz-server-side-encryption", "aws:kms")]);
    house.check_refused(&kms, "NotImplemented", 501).await;
    let managed = house.send(&form(&[("key", "k"), ("x-amz-server-side-encryption", "AES256")])).await.expect(204);
    assert_eq!(managed.header("x-amz-server-side-encryption"), "AES256");
    house.send(&whole).await.expect(204);
}

/// SDKs write the headers that a presigned URL stands for into its query.
#[tokio::test]
async fn what_a_presigned_url_says_in_its_query_is_as_good_as_headers() {
    let house = house_with_bucket().await;
    let put = Call::put("/photos/k").body("hello").presigned("60");
    let put = put.query("x-amz-meta-Color", "r\u{fc}ck+en").query("x-amz-storage-class", "STANDARD_IA");
    let ignored = put.clone().query("x-amz-checksum-crc32", "AAAAAA==").query("x-amz-sdk-checksum-algorithm", "CRC32");
    house.send(&ignored.query("x-amz-tagging", "a=b")).await.expect(200);
    let stored = house.send(&Call::get("/photos/k")).await.expect(200);
    let meta = stored.headers.get("x-amz-meta-color").unwrap().as_bytes();
    assert!(meta == "r\u{fc}ck+en".as_bytes() || stored.header("x-amz-meta-color").starts_with("=?UTF-8?"), "{meta:?}");
    assert_eq!((stored.header("x-amz-storage-class"), stored.header("x-amz-tagging-count")), ("STANDARD_IA", ""));
    let by_header = put.clone().header("x-amz-storage-class", "STANDARD");
    house.send(&by_header).await.expect(200);
    assert_eq!(
        house.send(&Call::get("/photos/k")).await.expect(200).header("x-amz-storage-class"),
        "",
        "a header counts"
    );
    house.check_refused(&put.clone().query("x-amz-expected-bucket-owner", "111122223333"), "AccessDenied", 403).await;
    house.check_refused(&put.clone().query("x-amz-acl", "everybody"), "InvalidArgument", 400).await;
    house.check_refused(&put.query("x-amz-meta-a", "line\nend"), "InvalidArgument", 400).await;
    let get = Call::get("/photos/k").presigned("60").query("x-amz-expected-bucket-owner", "111122223333");
    house.send(&get).await.expect_error("AccessDenied", 403);
    let signed = Call::put("/photos/k2").body("hello").query("x-amz-meta-a", "1");
    house.send(&signed).await.expect(200);
    assert_eq!(
        house.send(&Call::get("/photos/k2")).await.expect(200).header("x-amz-meta-a"),
        "",
        "it is no presigned URL"
    );
}
