//! Policies as people write them, and what they come to.

use super::*;
use proptest::prelude::*;

const BUCKET: &str = "logs";
const ADA: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
const BOB: &str = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";

fn bucket() -> BucketName {
    BUCKET.parse().unwrap()
}

fn ada() -> Principal<'static> {
    Principal::Owner { id: ADA, name: "ada" }
}

fn bob() -> Principal<'static> {
    Principal::Owner { id: BOB, name: "bob" }
}

#[track_caller]
fn policy(text: &str) -> BucketPolicy {
    BucketPolicy::parse(text, &bucket()).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

/// A policy of these statements.
fn document(statements: &str) -> String {
    format!(r#"{{"Version": "2012-10-17", "Statement": [{statements}]}}"#)
}

/// A policy of one statement that allows; all parts are JSON.
fn allow(principal: &str, action: &str, resource: &str, condition: &str) -> String {
    document(&format!(
        r#"{{"Effect": "Allow", "Principal": {principal}, "Action": {action}, "Resource": {resource},
        "Condition": {condition}}}"#
    ))
}

fn context(values: &[(&str, &[&str])]) -> BTreeMap<String, Vec<String>> {
    let owned = |values: &[&str]| values.iter().map(ToString::to_string).collect();
    values.iter().map(|(key, values)| ((*key).to_owned(), owned(values))).collect()
}

fn ask(policy: &BucketPolicy, who: Principal<'_>, action: &str, key: Option<&str>) -> Decision {
    policy.decide(&PolicyRequest { principal: who, action, bucket: BUCKET, key, context: &() })
}

fn ask_with(policy: &BucketPolicy, who: Principal<'_>, action: &str, key: &str, says: &[(&str, &[&str])]) -> Decision {
    let context = context(says);
    policy.decide(&PolicyRequest { principal: who, action, bucket: BUCKET, key: Some(key), context: &context })
}

use Decision::{Allow, Deny, Silent};

#[test]
fn the_text_is_kept_byte_for_byte() {
    let text = format!(" \n{}\t", allow(r#""*""#, r#""*""#, r#""arn:aws:s3:::logs""#, "{}"));
    assert_eq!(policy(&text).text(), text);
}

#[test]
fn the_published_suite_gets_what_it_expects() {
    let both = r#"["arn:aws:s3:::logs", "arn:aws:s3:::logs/*"]"#;
    let everyone = r#"{"AWS": "*"}"#;

    // test_bucketv2_policy, test_get_publicpolicy_acl_bucket_policy_status
    let list = policy(&allow(everyone, r#""s3:ListBucket""#, both, "{}"));
    assert_eq!(ask(&list, bob(), "s3:ListBucket", None), Allow);
    assert_eq!(ask(&list, bob(), "s3:GetObject", Some("k")), Silent);
    assert!(list.is_public());

    // test_bucketv2_policy_another_bucket
    let any = r#"["arn:aws:s3:::*", "arn:aws:s3:::*/*"]"#;
    assert_eq!(ask(&policy(&allow(everyone, r#""s3:ListBucket""#, any, "{}")), bob(), "s3:ListBucket", None), Allow);

    // test_bucketv2_policy_acl
    let denied = policy(&allow(everyone, r#""s3:ListBucket""#, both, "{}").replace("Allow", "Deny"));
    assert_eq!(ask(&denied, bob(), "s3:ListBucket", None), Deny);
    assert!(!denied.is_public());

    // test_bucket_policy_multipart: on the bucket's ARN the action is accepted and says nothing about keys
    let on_bucket = policy(&allow(everyone, r#""s3:PutObject""#, r#""arn:aws:s3:::logs""#, "{}"));
    assert_eq!(ask(&on_bucket, bob(), "s3:PutObject", Some("mpobj")), Silent);
    let on_key = policy(&allow(everyone, r#""s3:PutObject""#, r#""arn:aws:s3:::logs/mpobj""#, "{}"));
    assert_eq!(ask(&on_key, bob(), "s3:PutObject", Some("mpobj")), Allow);

    // test_bucket_policy_set_condition_operator_end_with_IfExists
    let referer = policy(&allow(
        r#""*""#,
        r#""s3:GetObject""#,
        r#""arn:aws:s3:::logs/*""#,
        r#"{"StringLikeIfExists": {"aws:Referer": "http://www.example.com/*"}}"#,
    ));
    for (from, expected) in [
        ("http://www.example.com/", Allow),
        ("http://www.example.com/index.html", Allow),
        ("http://example.com", Silent),
    ] {
        assert_eq!(ask_with(&referer, bob(), "s3:GetObject", "foo", &[("aws:referer", &[from])]), expected, "{from}");
    }
    assert_eq!(ask(&referer, bob(), "s3:GetObject", Some("foo")), Allow);

    // test_bucket_policy_get_obj_existing_tag and its siblings
    let tagged = policy(&allow(
        everyone,
        r#"["s3:GetObject", "s3:GetObjectAcl", "s3:PutObjectTagging"]"#,
        r#""arn:aws:s3:::logs/*""#,
        r#"{"StringEquals": {"s3:ExistingObjectTag/security": "public"}}"#,
    ));
    for action in ["s3:GetObject", "s3:GetObjectAcl", "s3:PutObjectTagging"] {
        let with = |says: &[(&str, &[&str])]| ask_with(&tagged, bob(), action, "k", says);
        assert_eq!(with(&[("s3:existingobjecttag/security", &["public"])]), Allow);
        assert_eq!(with(&[("s3:existingobjecttag/security", &["private"])]), Silent);
        assert_eq!(with(&[("s3:existingobjecttag/security1", &["public"])]), Silent);
        assert!(tagged.reads_object_tags(action));
    }
    assert!(!tagged.reads_object_tags("s3:PutObject"));

    // test_bucket_policy_put_obj_copy_source
    let copies = policy(&allow(
        everyone,
        r#""s3:PutObject""#,
        r#""arn:aws:s3:::logs/*""#,
        r#"{"StringLike": {"s3:x-amz-copy-source": "src/public/*"}}"#,
    ));
    for (source, expected) in [("src/public/foo", Allow), ("src/private/foo", Silent)] {
        let says: &[(&str, &[&str])] = &[("s3:x-amz-copy-source", &[source])];
        assert_eq!(ask_with(&copies, bob(), "s3:PutObject", "new", says), expected);
    }

    // test_bucket_policy_put_obj_acl
    let acl = policy(&document(
        r#"{"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": "s3:PutObject", "Resource": "arn:aws:s3:::logs/*"},
        {"Effect": "Deny", "Principal": {"AWS": "*"}, "Action": "s3:PutObject", "Resource": "arn:aws:s3:::logs/*",
         "Condition": {"StringLike": {"s3:x-amz-acl": "public*"}}}"#,
    ));
    assert_eq!(ask(&acl, bob(), "s3:PutObject", Some("k")), Allow);
    assert_eq!(ask_with(&acl, bob(), "s3:PutObject", "k", &[("s3:x-amz-acl", &["public-read"])]), Deny);

    // test_bucket_policy_put_obj_request_obj_tag
    let request_tag = policy(&allow(
        everyone,
        r#""s3:PutObject""#,
        r#""arn:aws:s3:::logs/*""#,
        r#"{"StringEquals": {"s3:RequestObjectTag/security": "public"}}"#,
    ));
    assert_eq!(ask(&request_tag, bob(), "s3:PutObject", Some("k")), Silent);
    let says: &[(&str, &[&str])] = &[("s3:requestobjecttag/security", &["public"])];
    assert_eq!(ask_with(&request_tag, bob(), "s3:PutObject", "k", says), Allow);
    assert!(!request_tag.reads_object_tags("s3:PutObject"));

    // test_head_object_404_with_policy_prefix
    let prefix = policy(&allow(
        everyone,
        r#""s3:ListBucket""#,
        r#""arn:aws:s3:::logs""#,
        r#"{"StringLike": {"s3:prefix": "public/*"}}"#,
    ));
    for (key, expected) in [("public/object", Allow), ("private/object", Silent)] {
        let context = context(&[("s3:prefix", &[key])]);
        let (principal, action) = (bob(), "s3:ListBucket");
        let request = PolicyRequest { principal, action, bucket: BUCKET, key: None, context: &context };
        assert_eq!(prefix.decide(&request), expected, "{key}");
    }

    // test_multipart_upload_on_a_bucket_with_policy, test_put_bucket_ownership_bucket_owner_enforced
    let open = policy(&allow(r#""*""#, r#""*""#, both, "{}"));
    assert_eq!(ask(&open, Principal::Anonymous, "s3:ListMultipartUploadParts", Some("k")), Allow);
    assert_eq!(ask(&open, Principal::Anonymous, "s3:ListBucket", None), Allow);
}

#[test]
fn encryption_can_be_enforced_by_what_is_missing() {
    let deny = |condition| {
        policy(
            &allow(r#"{"AWS": "*"}"#, r#""s3:PutObject""#, r#""arn:aws:s3:::logs/*""#, condition)
                .replace("Allow", "Deny"),
        )
    };
    let header = "s3:x-amz-server-side-encryption";
    let key_header = "s3:x-amz-server-side-encryption-customer-algorithm";
    for (condition, says, value, expected) in [
        // test_bucket_policy_put_obj_s3_noenc
        (r#"{"Null": {"s3:x-amz-server-side-encryption": "true"}}"#, header, None, Deny),
        (r#"{"Null": {"s3:x-amz-server-side-encryption": true}}"#, header, Some("AES256"), Silent),
        // test_bucket_policy_put_obj_s3_incorrect_algo_sse_s3
        (r#"{"StringNotEquals": {"s3:x-amz-server-side-encryption": "AES256"}}"#, header, Some("AES192"), Deny),
        (r#"{"StringNotEquals": {"s3:x-amz-server-side-encryption": "AES256"}}"#, header, Some("AES256"), Silent),
        (r#"{"StringNotEquals": {"s3:x-amz-server-side-encryption": "AES256"}}"#, header, None, Deny),
        // test_encryption_sse_c_enforced_with_bucket_policy, test_encryption_sse_c_deny_algo_with_bucket_policy
        (r#"{"Null": {"s3:x-amz-server-side-encryption-customer-algorithm": "true"}}"#, key_header, None, Deny),
        (
            r#"{"StringNotEquals": {"s3:x-amz-server-side-encryption-customer-algorithm": "AES256"}}"#,
            key_header,
            Some("AES192"),
            Deny,
        ),
    ] {
        let policy = deny(condition);
        let answer = match value {
            None => ask(&policy, ada(), "s3:PutObject", Some("k")),
            Some(value) => ask_with(&policy, ada(), "s3:PutObject", "k", &[(says, &[value])]),
        };
        assert_eq!(answer, expected, "{condition} {value:?}");
    }
}

#[test]
fn principals_are_found_however_they_are_written() {
    let upper = ADA.to_uppercase();
    for (principal, ada_is, bob_is, anonymous_is) in [
        (r#""*""#.to_owned(), true, true, true),
        (r#"{"AWS": "*"}"#.to_owned(), true, true, true),
        (format!(r#"{{"AWS": "{ADA}"}}"#), true, false, false),
        (format!(r#"{{"AWS": ["{BOB}", "{upper}"]}}"#), true, true, false),
        (format!(r#"{{"CanonicalUser": "{ADA}"}}"#), true, false, false),
        (format!(r#"{{"CanonicalUser": ["{BOB}"], "AWS": "{ADA}"}}"#), true, true, false),
        (format!(r#"{{"AWS": "arn:aws:iam::{ADA}:root"}}"#), true, false, false),
        (r#"{"AWS": "arn:aws:iam::123456789012:user/ada"}"#.to_owned(), true, false, false),
        (r#"{"AWS": "arn:aws:iam:::user/ada"}"#.to_owned(), true, false, false),
        (r#"{"AWS": "arn:aws:iam::s3tenant1:user/division/bob"}"#.to_owned(), false, true, false),
        (format!(r#"{{"AWS": "arn:aws:iam::tenant:user/{BOB}"}}"#), false, true, false),
        (format!(r#"{{"AWS": "arn:aws:iam::{ADA}:user/ada"}}"#), true, false, false),
        (format!(r#"{{"AWS": "arn:aws:iam::{BOB}:user/ada"}}"#), false, false, false),
        (r#"{"AWS": "arn:aws:iam::s3tenant1:root"}"#.to_owned(), false, false, false),
        (r#"{"AWS": "123456789012"}"#.to_owned(), false, false, false),
        (r#"{"Service": "logging.s3.amazonaws.com"}"#.to_owned(), false, false, false),
    ] {
        let policy = policy(&allow(&principal, r#""s3:GetObject""#, r#""arn:aws:s3:::logs/*""#, "{}"));
        for (who, is) in [(ada(), ada_is), (bob(), bob_is), (Principal::Anonymous, anonymous_is)] {
            let expected = if is { Allow } else { Silent };
            assert_eq!(ask(&policy, who, "s3:GetObject", Some("k")), expected, "{principal} {who:?}");
        }
    }
    let root = Principal::Owner { id: BOB, name: "root" };
    let of_ada =
        policy(&allow(&format!(r#"{{"AWS": "arn:aws:iam::{ADA}:root"}}"#), r#""*""#, r#""arn:aws:s3:::logs/*""#, "{}"));
    assert_eq!(ask(&of_ada, root, "s3:GetObject", Some("k")), Silent, "an account's root is not the owner named root");
}

#[test]
fn a_negated_field_means_all_others() {
    let text = |fields: &str| document(&format!(r#"{{"Effect": "Deny", {fields}}}"#));
    let not_ada = policy(&text(&format!(
        r#""NotPrincipal": {{"AWS": "{ADA}"}}, "Action": "s3:*", "Resource": "arn:aws:s3:::logs/*""#
    )));
    assert_eq!(ask(&not_ada, ada(), "s3:GetObject", Some("k")), Silent);
    assert_eq!(ask(&not_ada, bob(), "s3:GetObject", Some("k")), Deny);
    assert_eq!(ask(&not_ada, Principal::Anonymous, "s3:GetObject", Some("k")), Deny);

    let not_get = policy(&text(r#""Principal": "*", "NotAction": "s3:Get*", "Resource": "arn:aws:s3:::logs/*""#));
    assert_eq!(ask(&not_get, bob(), "s3:GetObject", Some("k")), Silent);
    assert_eq!(ask(&not_get, bob(), "s3:PutObject", Some("k")), Deny);

    let not_public = policy(&text(r#""Principal": "*", "Action": "*", "NotResource": "arn:aws:s3:::logs/public/*""#));
    assert_eq!(ask(&not_public, bob(), "s3:GetObject", Some("public/k")), Silent);
    assert_eq!(ask(&not_public, bob(), "s3:GetObject", Some("k")), Deny);
    assert_eq!(ask(&not_public, bob(), "s3:ListBucket", None), Deny);
}

#[test]
fn actions_and_resources_have_wildcards() {
    for (action, resource, asked, key, expected) in [
        ("s3:GetObject", "logs/*", "s3:GetObject", Some("a/b"), Allow),
        ("S3:getOBJECT", "logs/*", "s3:GetObject", Some("a"), Allow),
        ("s3:Get*", "logs/*", "s3:GetObjectAcl", Some("a"), Allow),
        ("s3:GetObject", "logs/*", "s3:GetObjectAcl", Some("a"), Silent),
        ("s3:?etObject", "logs/*", "s3:GetObject", Some("a"), Allow),
        ("s3:*", "logs", "s3:ListBucket", None, Allow),
        ("s3:*", "logs/*", "s3:ListBucket", None, Silent),
        ("s3:*", "logs*", "s3:GetObject", Some("a"), Allow),
        ("s3:*", "l?gs/a?c/*.txt", "s3:GetObject", Some("abc/x/y.txt"), Allow),
        ("s3:*", "logs/a?c", "s3:GetObject", Some("ac"), Silent),
        ("s3:*", "logs/Photo", "s3:GetObject", Some("photo"), Silent),
        ("s3:*", "logs/ä?", "s3:GetObject", Some("äö"), Allow),
        ("s3:*", "logs/${*}", "s3:GetObject", Some("*"), Allow),
        ("s3:*", "logs/${*}", "s3:GetObject", Some("x"), Silent),
        ("s3:*", "logs/*", "s3:GetObject", Some("${aws:username}"), Allow),
        ("s3:*", "logs/home/${aws:username}/*", "s3:GetObject", Some("home/bob/x"), Allow),
        ("s3:*", "logs/home/${aws:username}/*", "s3:GetObject", Some("home/ada/x"), Silent),
        ("s3:*", "logs/${s3:prefix, 'none'}", "s3:GetObject", Some("none"), Allow),
        ("s3:*", "logs/${s3:prefix}", "s3:GetObject", Some(""), Silent),
    ] {
        let text = allow(r#""*""#, &format!("\"{action}\""), &format!("\"arn:aws:s3:::{resource}\""), "{}");
        assert_eq!(ask(&policy(&text), bob(), asked, key), expected, "{action} {resource} {asked} {key:?}");
    }
}

#[test]
fn what_a_request_says_is_no_pattern() {
    let home = policy(&allow(r#""*""#, r#""*""#, r#""arn:aws:s3:::logs/${aws:username}/*""#, "{}"));
    let star = Principal::Owner { id: BOB, name: "*" };
    assert_eq!(ask(&home, star, "s3:GetObject", Some("ada/secret")), Silent);
    assert_eq!(ask(&home, star, "s3:GetObject", Some("*/own")), Allow);
    assert_eq!(ask(&home, Principal::Anonymous, "s3:GetObject", Some("ada/secret")), Silent);
}

#[test]
fn the_older_version_has_no_variables() {
    let new = allow(r#""*""#, r#""*""#, r#""arn:aws:s3:::logs/${aws:username}""#, "{}");
    let older = [new.replace("2012-10-17", "2008-10-17"), new.replace(r#""Version": "2012-10-17", "#, "")];
    for text in older {
        assert_eq!(ask(&policy(&text), bob(), "s3:GetObject", Some("bob")), Silent);
        assert_eq!(ask(&policy(&text), bob(), "s3:GetObject", Some("${aws:username}")), Allow);
    }
}

/// Whether a request with `values` under `key` fulfils `{operator: {key: wanted}}`.
fn holds(operator: &str, key: &str, wanted: &str, values: Option<&[&str]>) -> bool {
    let condition = format!(r#"{{"{operator}": {{"{key}": {wanted}}}}}"#);
    let policy = policy(&allow(r#""*""#, r#""s3:GetObject""#, r#""arn:aws:s3:::logs/*""#, &condition));
    let key = names::condition_key(key).unwrap();
    let says: Vec<(&str, &[&str])> = values.into_iter().map(|values| (key.as_str(), values)).collect();
    ask_with(&policy, bob(), "s3:GetObject", "k", &says) == Allow
}

#[test]
fn every_operator_compares_as_it_says() {
    for (operator, key, wanted, value, expected) in [
        ("StringEquals", "s3:prefix", r#""a""#, "a", true),
        ("StringEquals", "s3:prefix", r#""a""#, "A", false),
        ("StringEquals", "s3:prefix", r#"["x", "a"]"#, "a", true),
        ("StringEquals", "s3:prefix", r#""a*""#, "ab", false),
        ("StringEquals", "s3:prefix", r#""${aws:username}/""#, "bob/", true),
        ("StringEquals", "S3:PREFIX", r#""""#, "", true),
        ("StringNotEquals", "s3:prefix", r#"["x", "a"]"#, "a", false),
        ("StringNotEquals", "s3:prefix", r#"["x", "a"]"#, "b", true),
        ("StringEqualsIgnoreCase", "s3:prefix", r#""Straße/Ä""#, "STRAßE/ä", true),
        ("StringEqualsIgnoreCase", "s3:prefix", r#""${aws:username}""#, "BOB", true),
        ("StringNotEqualsIgnoreCase", "s3:prefix", r#""A""#, "a", false),
        ("StringLike", "s3:prefix", r#""a*c?""#, "abccd", true),
        ("StringLike", "s3:prefix", r#""a*c?""#, "abc", false),
        ("StringNotLike", "s3:prefix", r#""a*""#, "b", true),
        ("NumericEquals", "s3:max-keys", "10", "10", true),
        ("NumericEquals", "s3:max-keys", r#""10.0""#, "10", true),
        ("NumericEquals", "s3:max-keys", "10", "ten", false),
        ("NumericNotEquals", "s3:max-keys", "10", "11", true),
        ("NumericLessThan", "s3:max-keys", "10", "9", true),
        ("NumericLessThan", "s3:max-keys", "10", "10", false),
        ("NumericLessThanEquals", "s3:max-keys", "10", "10", true),
        ("NumericGreaterThan", "s3:max-keys", "-1.5", "-1.4", true),
        ("NumericGreaterThanEquals", "s3:max-keys", "10", "9", false),
        ("DateEquals", "aws:CurrentTime", r#""2026-01-31T12:00:00Z""#, "2026-01-31T14:00:00+02:00", true),
        ("DateNotEquals", "aws:CurrentTime", r#""2026-01-31""#, "2026-01-31T00:00:00Z", false),
        ("DateLessThan", "aws:CurrentTime", r#""2026-02""#, "2026-01-31T23:59:59.5Z", true),
        ("DateLessThanEquals", "aws:CurrentTime", r#""2026-01-31T12:00Z""#, "2026-01-31T12:00:00Z", true),
        ("DateGreaterThan", "aws:EpochTime", "1700000000", "1700000001", true),
        ("DateGreaterThanEquals", "aws:EpochTime", r#""2023-11-14T22:13:20Z""#, "1700000000", true),
        ("Bool", "aws:SecureTransport", r#""true""#, "true", true),
        ("Bool", "aws:SecureTransport", "false", "true", false),
        ("IpAddress", "aws:SourceIp", r#""10.0.0.0/8""#, "10.255.0.1", true),
        ("IpAddress", "aws:SourceIp", r#""10.0.0.0/8""#, "11.0.0.1", false),
        ("IpAddress", "aws:SourceIp", r#""10.0.0.7/8""#, "10.1.2.3", true),
        ("IpAddress", "aws:SourceIp", r#""0.0.0.0/0""#, "192.0.2.1", true),
        ("IpAddress", "aws:SourceIp", r#""192.0.2.1""#, "192.0.2.1", true),
        ("IpAddress", "aws:SourceIp", r#""192.0.2.0/24""#, "::ffff:192.0.2.9", true),
        ("IpAddress", "aws:SourceIp", r#"["10.0.0.0/8", "2001:db8::/33"]"#, "2001:db8:7fff::1", true),
        ("IpAddress", "aws:SourceIp", r#""2001:db8::/33""#, "2001:db8:8000::1", false),
        ("IpAddress", "aws:SourceIp", r#""::/0""#, "192.0.2.1", false),
        ("IpAddress", "aws:SourceIp", r#""10.0.0.0/8""#, "nonsense", false),
        ("NotIpAddress", "aws:SourceIp", r#"["10.0.0.0/8", "192.0.2.0/24"]"#, "192.0.2.1", false),
        ("NotIpAddress", "aws:SourceIp", r#"["10.0.0.0/8", "192.0.2.0/24"]"#, "192.0.3.1", true),
        (
            "ArnLike",
            "s3:x-amz-server-side-encryption-aws-kms-key-id",
            r#""arn:aws:s3:::log-*""#,
            "arn:aws:s3:::log-a",
            true,
        ),
        ("ArnEquals", "s3:x-amz-server-side-encryption-aws-kms-key-id", r#""arn:aws:*:::a""#, "arn:aws:s3:::a", true),
        (
            "ArnEquals",
            "s3:x-amz-server-side-encryption-aws-kms-key-id",
            r#""arn:aws:*:a""#.replace(":a", ":::a").as_str(),
            "arn:aws:s3:x:y:a",
            false,
        ),
        (
            "ArnLike",
            "s3:x-amz-server-side-encryption-aws-kms-key-id",
            r#""arn:aws:sns:*:*:a:*""#,
            "arn:aws:sns:r:1:a:b:c",
            true,
        ),
        ("ArnLike", "s3:x-amz-server-side-encryption-aws-kms-key-id", r#""arn:aws:s3:::a""#, "a", false),
        ("ArnNotLike", "s3:x-amz-server-side-encryption-aws-kms-key-id", r#""arn:aws:s3:::a""#, "arn:aws:s3:::b", true),
        (
            "ArnNotEquals",
            "s3:x-amz-server-side-encryption-aws-kms-key-id",
            r#""arn:aws:s3:::a""#,
            "arn:aws:s3:::a",
            false,
        ),
        ("Null", "s3:prefix", r#""true""#, "x", false),
        ("Null", "s3:prefix", r#""false""#, "x", true),
    ] {
        assert_eq!(holds(operator, key, wanted, Some(&[value])), expected, "{operator} {key} {wanted} {value}");
    }
}

#[test]
fn a_missing_key_fails_an_operator_and_fulfils_a_negated_one() {
    for (operator, wanted, expected) in [
        ("StringEquals", r#""a""#, false),
        ("StringNotEquals", r#""a""#, true),
        ("StringLike", r#""*""#, false),
        ("StringNotLike", r#""*""#, true),
        ("NumericLessThan", "1", false),
        ("NumericNotEquals", "1", true),
        ("DateNotEquals", "1", true),
        ("Bool", "false", false),
        ("NotIpAddress", r#""10.0.0.0/8""#, true),
        ("ArnNotLike", r#""arn:aws:s3:::a""#, true),
        ("Null", "true", true),
        ("Null", "false", false),
        ("StringEqualsIfExists", r#""a""#, true),
        ("BoolIfExists", "true", true),
        ("NumericLessThanIfExists", "1", true),
        ("ForAnyValue:StringEquals", r#""a""#, false),
        ("ForAnyValue:StringNotEquals", r#""a""#, false),
        ("ForAllValues:StringEquals", r#""a""#, true),
        ("ForAnyValue:StringEqualsIfExists", r#""a""#, true),
    ] {
        for values in [None, Some([].as_slice())] {
            assert_eq!(holds(operator, "s3:RequestObjectTagKeys", wanted, values), expected, "{operator} {wanted}");
        }
    }
}

#[test]
fn several_values_are_counted_as_the_prefix_says() {
    for (operator, values, expected) in [
        ("ForAllValues:StringLike", ["a1", "b"].as_slice(), true),
        ("ForAllValues:StringLike", &["a1", "c"], false),
        ("ForAnyValue:StringLike", &["c", "b"], true),
        ("ForAnyValue:StringLike", &["c", "d"], false),
        ("ForAllValues:StringNotLike", &["c", "d"], true),
        ("ForAllValues:StringNotLike", &["c", "b"], false),
        ("ForAnyValue:StringNotLike", &["c", "b"], true),
        ("ForAnyValue:StringNotLike", &["a", "b"], false),
        ("StringLike", &["c", "b"], true),
        ("StringNotLike", &["c", "b"], false),
        ("ForAllValues:StringLikeIfExists", &["c"], false),
    ] {
        let answer = holds(operator, "s3:RequestObjectTagKeys", r#"["a*", "b"]"#, Some(values));
        assert_eq!(answer, expected, "{operator} {values:?}");
    }
}

#[test]
fn all_conditions_must_hold() {
    let policy = policy(&allow(
        r#""*""#,
        r#""s3:GetObject""#,
        r#""arn:aws:s3:::logs/*""#,
        r#"{"Bool": {"aws:SecureTransport": true}, "StringLike": {"aws:UserAgent": "curl/*", "aws:Referer": "*"}}"#,
    ));
    let all: [(&str, &[&str]); 3] =
        [("aws:securetransport", &["true"]), ("aws:useragent", &["curl/8"]), ("aws:referer", &["x"])];
    assert_eq!(ask_with(&policy, bob(), "s3:GetObject", "k", &all), Allow);
    for missing in 0..all.len() {
        let mut some = all.to_vec();
        some.remove(missing);
        assert_eq!(ask_with(&policy, bob(), "s3:GetObject", "k", &some), Silent);
    }
}

#[test]
fn what_follows_from_the_principal_is_not_asked_for() {
    for (key, wanted, ada_is, anonymous_is) in [
        ("aws:username", "ada", true, false),
        ("aws:userid", ADA, true, false),
        ("aws:userid", "anonymous", false, true),
        ("aws:PrincipalType", "Anonymous", false, true),
        ("aws:PrincipalAccount", ADA, true, false),
        ("aws:PrincipalArn", &format!("arn:aws:iam::{ADA}:user/ada"), true, false),
    ] {
        let condition = format!(r#"{{"StringEquals": {{"{key}": "{wanted}"}}}}"#);
        let policy = policy(&allow(r#""*""#, r#""*""#, r#""arn:aws:s3:::logs/*""#, &condition));
        let forged: &[(&str, &[&str])] = &[("aws:username", &["ada"]), ("aws:userid", &[ADA])];
        for (who, is) in [(ada(), ada_is), (Principal::Anonymous, anonymous_is)] {
            let answer = ask_with(&policy, who, "s3:GetObject", "k", forged);
            assert_eq!(answer, if is { Allow } else { Silent }, "{key} {who:?}");
        }
    }
}

#[test]
fn public_is_what_everybody_may_without_a_trusted_fixed_value() {
    let everyone = r#""*""#;
    for (principal, condition, expected) in [
        (everyone, "{}", true),
        (r#"{"AWS": "*"}"#, "{}", true),
        (r#"{"AWS": ["123456789012", "*"]}"#, "{}", true),
        (r#"{"AWS": "arn:aws:iam::s3tenant1:root"}"#, "{}", false),
        (r#"{"Service": "logging.s3.amazonaws.com"}"#, "{}", false),
        (everyone, r#"{"IpAddress": {"aws:SourceIp": "10.0.0.0/32"}}"#, false),
        (everyone, r#"{"IpAddress": {"aws:SourceIp": ["10.0.0.0/8", "2001:db8::/32"]}}"#, false),
        (everyone, r#"{"IpAddress": {"aws:SourceIp": ["10.0.0.0/8", "0.0.0.0/1"]}}"#, true),
        (everyone, r#"{"IpAddress": {"aws:SourceIp": "2001::/16"}}"#, true),
        (everyone, r#"{"IpAddressIfExists": {"aws:SourceIp": "10.0.0.0/8"}}"#, true),
        (everyone, r#"{"NotIpAddress": {"aws:SourceIp": "10.0.0.0/8"}}"#, true),
        (everyone, r#"{"StringEquals": {"aws:UserId": "vpc-91237329"}}"#, false),
        (everyone, r#"{"StringLike": {"aws:UserId": "vpc-*"}}"#, true),
        (everyone, r#"{"StringLike": {"aws:UserId": ["vpc-1", "vpc-2"]}}"#, false),
        (everyone, r#"{"StringNotEquals": {"aws:UserId": "vpc-1"}}"#, true),
        (everyone, r#"{"ForAllValues:StringEquals": {"aws:PrincipalAccount": "o-1"}}"#, true),
        (everyone, r#"{"StringEquals": {"aws:PrincipalAccount": "o-1"}}"#, false),
        (everyone, r#"{"StringEquals": {"aws:userid": "${aws:username}"}}"#, true),
        (everyone, r#"{"ArnLike": {"aws:PrincipalArn": "arn:aws:s3:::logs"}}"#, false),
        (everyone, r#"{"ArnLike": {"aws:PrincipalArn": "arn:aws:s3:::*"}}"#, true),
        (everyone, r#"{"StringLike": {"aws:Referer": "http://www.example.com/"}}"#, true),
        (everyone, r#"{"Bool": {"aws:SecureTransport": true}}"#, true),
        (everyone, r#"{"Null": {"aws:UserId": false}}"#, true),
    ] {
        let text = allow(principal, r#""s3:GetObject""#, r#""arn:aws:s3:::logs/*""#, condition);
        assert_eq!(policy(&text).is_public(), expected, "{principal} {condition}");
        assert!(!policy(&text.replace("Allow", "Deny")).is_public(), "what is denied is not public");
    }
    let closed = allow(r#"{"AWS": "123456789012"}"#, r#""*""#, r#""arn:aws:s3:::logs""#, "{}");
    let open = closed.replace(
        "}]}",
        r#"}, {"Effect": "Allow", "Principal": "*", "Action": "*", "Resource": "arn:aws:s3:::logs"}]}"#,
    );
    assert!(!policy(&closed).is_public());
    assert!(policy(&open).is_public(), "one public statement is enough");
}

#[test]
fn tags_are_asked_for_only_where_a_statement_needs_them() {
    let text = document(
        r#"{"Effect": "Allow", "Principal": "*", "Action": "s3:Get*", "Resource": "arn:aws:s3:::logs/*",
            "Condition": {"StringEquals": {"s3:prefix": "${s3:ExistingObjectTag/Team}"}}},
        {"Effect": "Deny", "Principal": "*", "NotAction": "s3:Put*",
            "Resource": "arn:aws:s3:::logs/${s3:ExistingObjectTag/Team}/*"},
        {"Effect": "Allow", "Principal": "*", "Action": "*", "Resource": "arn:aws:s3:::logs/*",
            "Condition": {"StringEquals": {"s3:RequestObjectTag/Team": "a"}}}"#,
    );
    let policy = policy(&text);
    for (action, expected) in [("s3:GetObject", true), ("s3:DeleteObject", true), ("s3:PutObject", false)] {
        assert_eq!(policy.reads_object_tags(action), expected, "{action}");
    }
}

#[test]
fn what_is_no_policy_is_refused_with_what_and_where() {
    let statement =
        r#"{"Effect": "Allow", "Principal": "*", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::logs/*"}"#;
    let good = document(statement);
    policy(&good);
    let (get, all) = (r#""s3:GetObject""#, r#""arn:aws:s3:::logs/*""#);
    let conditions = |condition: &str| allow(r#""*""#, get, all, condition);
    for (text, expected) in [
        (String::new(), "line 1"),
        ("{}".into(), "missing field `Statement`"),
        ("[]".into(), "expected a value, not a list"),
        (format!(r#"["2012-10-17", null, {statement}]"#), "expected a value, not a list"),
        (format!("{good} x"), "trailing characters"),
        (good.replace("2012-10-17", "2012-10-18"), "the version \"2012-10-18\""),
        (document(""), "0 statements"),
        (document("[]"), "expected a value, not a list"),
        (document("1"), "expected a statement"),
        (good.replace("\"Version\"", "\"Statements\": [], \"Version\""), "unknown field `Statements`"),
        (good.replace("\"Effect\"", "\"effect\": \"Deny\", \"Effect\""), "unknown field `effect`"),
        (good.replace("\"Effect\"", "\"Effect\": \"Deny\", \"Effect\""), "duplicate field `Effect`"),
        (good.replace("\"Version\"", "\"Version\": \"2008-10-17\", \"Version\""), "duplicate field `Version`"),
        (good.replace("Allow", "allow"), "Invalid effect \"allow\": use Allow or Deny (statement 1, Effect)"),
        (good.replace("\"Principal\"", "\"NotPrincipal\""), "Policy has Allow with NotPrincipal"),
        (
            good.replace(r#""Principal": "*","#, ""),
            "Give exactly one of Principal and NotPrincipal (statement 1, Principal)",
        ),
        (good.replace("\"Action\"", "\"NotAction\": \"s3:*\", \"Action\""), "exactly one of Action and NotAction"),
        (document(&format!("{statement}, {}", statement.replace("Object", "Objekt"))), "(statement 2, Action)"),
        (good.replace("s3:GetObject", "sqs:*"), "Policy has invalid action: \"sqs:*\""),
        (good.replace("s3:GetObject", "GetObject"), "Policy has invalid action"),
        (good.replace("s3:GetObject", "s3:Gex*"), "Policy has invalid action"),
        (good.replace(get, "[]"), "The list has 0 entries"),
        (good.replace(get, "[[\"s3:GetObject\"]]"), "expected a value, not a list"),
        (good.replace(get, "7"), "invalid type: integer `7`, expected a string"),
        (good.replace("s3:::logs/*", "s3:::logs2/*"), "Policy has invalid resource: \"arn:aws:s3:::logs2/*\""),
        (good.replace("s3:::logs/*", "s3:::log"), "use arn:aws:s3:::logs or arn:aws:s3:::logs/KEY"),
        (good.replace("arn:aws:s3:::logs/*", "*"), "Policy has invalid resource"),
        (good.replace("arn:aws:s3:::logs/*", "logs/*"), "Policy has invalid resource"),
        (good.replace("logs/*", "logs/${aws:nobody}"), "Policy has an invalid variable"),
        (good.replace(r#""Principal": "*""#, r#""Principal": "ada""#), "Invalid principal in policy: \"ada\""),
        (good.replace(r#""Principal": "*""#, r#""Principal": ["*"]"#), "an object like"),
        (good.replace(r#""Principal": "*""#, r#""Principal": {}"#), "The list has 0 entries"),
        (good.replace(r#""Principal": "*""#, r#""Principal": {"AWS": []}"#), "The list has 0 entries"),
        (good.replace(r#""Principal": "*""#, r#""Principal": {"aws": "*"}"#), "Invalid principal in policy: \"aws\""),
        (good.replace(r#""Principal": "*""#, r#""Principal": {"AWS": "*", "AWS": "*"}"#), "duplicate field \"AWS\""),
        (good.replace(r#""Principal": "*""#, r#""Principal": {"CanonicalUser": "*"}"#), "Invalid principal"),
        (good.replace(r#""Principal": "*""#, r#""Principal": {"AWS": "arn:aws:iam::1:user/*"}"#), "Invalid principal"),
        (good.replace(r#""Principal": "*""#, r#""Principal": {"AWS": "arn:aws:iam::1:role/x"}"#), "Invalid principal"),
        (good.replace(r#""Principal": "*""#, r#""Principal": {"AWS": "arn:aws:iam::*:root"}"#), "Invalid principal"),
        (good.replace(r#""Principal": "*""#, r#""Principal": {"Service": "example.com"}"#), "Invalid principal"),
        (conditions(r#"{"StringEqual": {"s3:prefix": "a"}}"#), "Invalid condition operator \"StringEqual\""),
        (conditions(r#"{"NullIfExists": {"s3:prefix": "true"}}"#), "Invalid condition operator"),
        (conditions(r#"{"ForSomeValues:StringLike": {"s3:prefix": "a"}}"#), "Invalid condition operator"),
        (conditions(r#"{"IfExists": {"s3:prefix": "a"}}"#), "Invalid condition operator"),
        (conditions(r#"{"StringLike": {"s3:perfix": "a"}}"#), "Policy has an invalid condition key: \"s3:perfix\""),
        (conditions(r#"{"StringLike": {"s3:ExistingObjectTag/": "a"}}"#), "invalid condition key"),
        (conditions(r#"{"StringLike": {"s3:prefix": {}}}"#), "expected a string, a number or a boolean"),
        (conditions(r#"{"StringLike": {"s3:prefix": null}}"#), "expected a value or a list of values"),
        (conditions(r#"{"StringLike": {"s3:prefix": []}}"#), "The list has 0 entries"),
        (conditions(r#"{"StringLike": {}}"#), "The list has 0 entries"),
        (conditions(r#"{"StringLike": {"s3:prefix": "a", "s3:prefix": "b"}}"#), "duplicate field \"s3:prefix\""),
        (conditions(r#"{"Bool": {"s3:prefix": "yes"}}"#), "Invalid condition value \"yes\": use true or false"),
        (conditions(r#"{"Null": {"s3:prefix": ["true", "false"]}}"#), "use one value"),
        (conditions(r#"{"NumericEquals": {"s3:max-keys": "1e3"}}"#), "use a decimal number"),
        (conditions(r#"{"DateLessThan": {"aws:CurrentTime": "2026-13-01"}}"#), "use a date"),
        (conditions(r#"{"IpAddress": {"aws:SourceIp": "10.0.0.0/33"}}"#), "use an address or a network"),
        (conditions(r#"{"IpAddress": {"aws:SourceIp": "10.0.0.0/+8"}}"#), "use an address or a network"),
        (
            conditions(r#"{"ArnLike": {"s3:x-amz-server-side-encryption-aws-kms-key-id": "logs"}}"#),
            "use an ARN of six parts",
        ),
        (conditions(r#"{"StringLike": {"s3:prefix": "${"}}"#), "not closed"),
    ] {
        let answer = BucketPolicy::parse(&text, &bucket()).map(drop).unwrap_err().to_string();
        assert!(answer.contains(expected), "{text}\nexpected: {expected}\nanswer:   {answer}");
    }
}

#[test]
fn everything_is_bounded() {
    let shortest = r#"{"Effect":"Deny","Principal":"*","Action":"*","Resource":"arn:aws:s3:::*"}"#;
    let of = |count: usize| format!(r#"{{"Statement":[{}]}}"#, vec![shortest; count].join(","));
    assert!(BucketPolicy::parse(&of(BucketPolicy::STATEMENTS_MAX), &bucket()).is_ok());
    let many = BucketPolicy::parse(&of(BucketPolicy::STATEMENTS_MAX + 1), &bucket());
    assert_eq!(many, Err(PolicyError::Statements { count: BucketPolicy::STATEMENTS_MAX + 1 }));

    let actions =
        |count: usize| of(1).replace(r#""Action":"*""#, &format!(r#""Action":[{}]"#, vec!["\"*\""; count].join(",")));
    assert!(BucketPolicy::parse(&actions(BucketPolicy::LIST_MAX), &bucket()).is_ok());
    assert!(BucketPolicy::parse(&actions(BucketPolicy::LIST_MAX + 1), &bucket()).is_err());

    let padded = |bytes: usize| format!("{}{}", of(1), " ".repeat(bytes - of(1).len()));
    assert!(BucketPolicy::parse(&padded(BucketPolicy::BYTES_MAX), &bucket()).is_ok());
    let long = BucketPolicy::parse(&padded(BucketPolicy::BYTES_MAX + 1), &bucket());
    assert_eq!(long, Err(PolicyError::TooLong { bytes: BucketPolicy::BYTES_MAX + 1 }));

    for deep in ["[".repeat(20_000), "{\"Statement\":".repeat(1_500), format!("{{\"Id\":{}", "[".repeat(20_000))] {
        assert!(BucketPolicy::parse(&deep, &bucket()).is_err());
    }
}

#[test]
fn the_costliest_patterns_are_judged_in_moments() {
    let resource = format!("arn:aws:s3:::logs/{}", "*a".repeat(8_000));
    let policy = policy(&allow(r#""*""#, r#""*""#, &format!("\"{resource}\""), "{}"));
    let key = format!("{}b", "a".repeat(1_023));
    for _ in 0..100 {
        assert_eq!(ask(&policy, bob(), "s3:GetObject", Some(&key)), Silent);
    }
}

#[test]
fn a_value_too_long_to_be_judged_never_helps_who_sends_it() {
    let condition = r#"{"StringNotLike": {"aws:UserAgent": "*bot*"}}"#;
    let allows = policy(&allow(r#""*""#, r#""*""#, r#""arn:aws:s3:::logs/*""#, condition));
    let denies = policy(&allow(r#""*""#, r#""*""#, r#""arn:aws:s3:::logs/*""#, condition).replace("Allow", "Deny"));
    for (bytes, allowed, denied) in [(4096, Allow, Deny), (4097, Silent, Deny)] {
        let agent = "x".repeat(bytes);
        let says: &[(&str, &[&str])] = &[("aws:useragent", &[&agent])];
        assert_eq!(ask_with(&allows, bob(), "s3:GetObject", "k", says), allowed);
        assert_eq!(ask_with(&denies, bob(), "s3:GetObject", "k", says), denied);
    }
}

#[test]
fn a_long_value_named_often_is_not_copied_often() {
    let resource = format!("arn:aws:s3:::logs/{}", "${aws:UserAgent}".repeat(1_000));
    let policy = policy(&allow(r#""*""#, r#""*""#, &format!("\"{resource}\""), "{}"));
    let agent = "x".repeat(1 << 20);
    assert_eq!(ask_with(&policy, bob(), "s3:GetObject", "x", &[("aws:useragent", &[&agent])]), Silent);
    assert_eq!(ask_with(&policy, bob(), "s3:GetObject", &"x".repeat(1_000), &[("aws:useragent", &["x"])]), Allow);
}

/// A statement over a small world, and whether it is about `s3:GetObject` on `a/b` by Bob.
fn statements() -> impl Strategy<Value = (bool, String, bool)> {
    let principals = [(r#""*""#.to_owned(), true), (format!(r#"{{"AWS": "{ADA}"}}"#), false)];
    let actions = [("s3:Get*", true), ("s3:PutObject", false), ("*", true)];
    let resources = [("logs/a/*", true), ("logs/b", false), ("logs", false), ("*", true)];
    let pick = proptest::sample::select::<bool>;
    (
        pick(vec![true, false]),
        proptest::sample::select(principals.to_vec()),
        proptest::sample::select(actions.to_vec()),
        proptest::sample::select(resources.to_vec()),
    )
        .prop_map(|(allows, (principal, by), (action, of), (resource, on))| {
            let effect = if allows { "Allow" } else { "Deny" };
            let text = format!(
                r#"{{"Effect": "{effect}", "Principal": {principal}, "Action": "{action}",
                "Resource": "arn:aws:s3:::{resource}"}}"#
            );
            (allows, text, by && of && on)
        })
}

proptest! {
    #[test]
    fn a_deny_wins_whatever_the_order(statements in prop::collection::vec(statements(), 1..8)) {
        let about = |allows: bool| statements.iter().any(|(own, _, applies)| *applies && *own == allows);
        let expected = if about(false) { Deny } else if about(true) { Allow } else { Silent };
        let texts: Vec<&str> = statements.iter().map(|(_, text, _)| text.as_str()).collect();
        prop_assert_eq!(ask(&policy(&document(&texts.join(","))), bob(), "s3:GetObject", Some("a/b")), expected);
    }

    #[test]
    fn no_text_makes_it_panic(at in 0_usize..700, cut in 0_usize..20, put in "[\\[\\]{}\":,*$?a0-9ä\\\\]{0,6}") {
        let text = allow(
            &format!(r#"{{"AWS": ["arn:aws:iam::{ADA}:user/ada", "{BOB}"]}}"#),
            r#"["s3:Get*", "s3:PutObject"]"#,
            r#"["arn:aws:s3:::logs", "arn:aws:s3:::logs/${aws:username}/*"]"#,
            r#"{"StringLike": {"s3:prefix": ["${aws:userid}*", "x"]}, "IpAddress": {"aws:SourceIp": "10.0.0.0/8"},
                "DateLessThan": {"aws:CurrentTime": "2026-01-31T12:00:00Z"}, "NumericLessThan": {"s3:max-keys": 10},
                "ArnLike": {"s3:x-amz-server-side-encryption-aws-kms-key-id": "arn:aws:s3:::*"}, "Null": {"s3:delimiter": true}}"#,
        );
        let letters: Vec<char> = text.chars().collect();
        let at = at.min(letters.len());
        let end = (at + cut).min(letters.len());
        let changed: String = letters[..at].iter().copied().chain(put.chars()).chain(letters[end..].iter().copied()).collect();
        if let Ok(policy) = BucketPolicy::parse(&changed, &bucket()) {
            let says: &[(&str, &[&str])] = &[("s3:prefix", &["a", "b"]), ("aws:sourceip", &["10.0.0.1"]),
                ("aws:currenttime", &["2026-01-01T00:00:00Z"]), ("s3:max-keys", &["5"])];
            ask_with(&policy, ada(), "s3:GetObject", "ada/k", says);
            policy.is_public();
        }
    }

    #[test]
    fn no_value_of_a_request_makes_it_panic(value in ".{0,12}") {
        for (operator, wanted) in [
            ("StringLike", r#""a*?""#),
            ("StringEqualsIgnoreCase", r#""İ""#),
            ("NumericLessThan", "1"),
            ("DateLessThan", "1"),
            ("Bool", "true"),
            ("IpAddress", r#""10.0.0.0/8""#),
            ("ArnLike", r#""arn:aws:s3:::*""#),
        ] {
            holds(operator, "s3:prefix", wanted, Some(&[&value]));
        }
    }
}
