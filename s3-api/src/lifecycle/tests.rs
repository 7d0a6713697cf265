//! What is refused, what comes back, what expires when.

use super::*;
use proptest::prelude::*;
use s3s::dto;
use s3s::xml::{Deserializer, Serializer};
use time::OffsetDateTime;
use time::macros::datetime;

fn parse(rules: &str) -> Result<LifecycleConfiguration, LifecycleError> {
    let xml = format!("<LifecycleConfiguration>{rules}</LifecycleConfiguration>");
    let asked = s3s::xml::Deserialize::deserialize(&mut Deserializer::new(xml.as_bytes())).unwrap();
    let configuration = LifecycleConfiguration::from_xml(asked, || "made".into())?;
    configuration.check().map(|()| configuration)
}

/// A rule about everything, with these actions.
fn rule(actions: &str) -> String {
    format!("<Rule><ID>r</ID><Filter/><Status>Enabled</Status>{actions}</Rule>")
}

const EXPIRE: &str = "<Expiration><Days>1</Days></Expiration>";

/// A rule that expires what this filter means.
fn filtered(filter: &str) -> String {
    format!("<Rule><ID>r</ID>{filter}<Status>Enabled</Status>{EXPIRE}</Rule>")
}

fn at(time: OffsetDateTime) -> Timestamp {
    Timestamp::from_millis(u64::try_from(time.unix_timestamp_nanos() / 1_000_000).unwrap())
}

#[test]
fn what_is_accepted_comes_back_as_it_was_put() {
    let day = "2030-01-01T00:00:00.000Z";
    let noncurrent = "<NoncurrentVersionExpiration><NewerNoncurrentVersions>5</NewerNoncurrentVersions>\
                      <NoncurrentDays>2</NoncurrentDays></NoncurrentVersionExpiration>\
                      <NoncurrentVersionTransition><NoncurrentDays>1</NoncurrentDays>\
                      <StorageClass>STANDARD_IA</StorageClass></NoncurrentVersionTransition>";
    let tag = |key: &str| format!("<Tag><Key>{key}</Key><Value>v</Value></Tag>");
    // In the order in which s3s writes, so that the texts can be compared.
    let tail = |id: &str| format!("<ID>{id}</ID><Status>Enabled</Status>");
    let rules = [
        format!("<Rule>{EXPIRE}<ID>old</ID><Prefix>b/</Prefix><Status>Disabled</Status></Rule>"),
        format!("<Rule>{EXPIRE}<ID>old all</ID><Prefix></Prefix><Status>Enabled</Status></Rule>"),
        format!(
            "<Rule><Expiration><Date>{day}</Date></Expiration><Filter></Filter><ID>date</ID><Status>Enabled</Status>\
             <Transition><Days>0</Days><StorageClass>STANDARD_IA</StorageClass></Transition></Rule>"
        ),
        format!(
            "<Rule><AbortIncompleteMultipartUpload><DaysAfterInitiation>7</DaysAfterInitiation>\
             </AbortIncompleteMultipartUpload><Expiration><ExpiredObjectDeleteMarker>true</ExpiredObjectDeleteMarker>\
             </Expiration><Filter><Prefix>a</Prefix></Filter>{}</Rule>",
            tail("marker")
        ),
        format!(
            "<Rule>{EXPIRE}<Filter><And><ObjectSizeGreaterThan>1</ObjectSizeGreaterThan>\
             <ObjectSizeLessThan>9</ObjectSizeLessThan><Prefix>a</Prefix>{}{}</And><ObjectSizeGreaterThan>0</ObjectSizeGreaterThan>\
             <Prefix>ab</Prefix>{}</Filter>{}</Rule>",
            tag("z"),
            tag("a"),
            tag("m"),
            tail("all at once")
        ),
        format!(
            "<Rule><Filter></Filter><ID>versions</ID>{noncurrent}<Status>Enabled</Status><Transition>\
             <Date>{day}</Date><StorageClass>STANDARD_IA</StorageClass></Transition></Rule>"
        ),
    ];
    let configuration = parse(&rules.concat()).unwrap();
    let text = serde_json::to_string(&configuration).unwrap();
    let stored: LifecycleConfiguration = serde_json::from_str(&text).unwrap();
    assert_eq!(stored, configuration, "{text}");
    let output = dto::GetBucketLifecycleConfigurationOutput { rules: Some(stored.into_xml()), ..Default::default() };
    let mut written = Vec::new();
    s3s::xml::Serialize::serialize(&output, &mut Serializer::new(&mut written)).unwrap();
    let written = String::from_utf8(written).unwrap();
    assert!(written.contains(&rules.concat()), "{written}\n{}", rules.concat());
}

#[test]
fn a_rule_is_stored_in_few_words() {
    let configuration = parse(&filtered("<Filter><Prefix>a</Prefix></Filter>")).unwrap();
    let text = serde_json::to_string(&configuration).unwrap();
    assert_eq!(text, r#"{"rules":[{"id":"r","filter":{"prefix":"a"},"expiration":{"days":1}}]}"#);
}

#[test]
fn rules_without_an_id_get_one() {
    for id in ["", "<ID></ID>"] {
        let rules = format!("<Rule>{id}<Prefix>a</Prefix><Status>Enabled</Status>{EXPIRE}</Rule>");
        assert_eq!(parse(&rules).unwrap().rules[0].id, "made");
    }
}

#[test]
fn what_says_nothing_or_the_impossible_is_refused() {
    use LifecycleError as E;
    let id = |id: &str| format!("<Rule><ID>{id}</ID><Prefix/><Status>Enabled</Status>{EXPIRE}</Rule>");
    let many = |count: usize| (0..count).map(|i| id(&i.to_string())).collect::<String>();
    let tags = |count: usize| {
        let tag = |i: usize| format!("<Tag><Key>{i}</Key><Value/></Tag>");
        format!("<Filter><And>{}</And></Filter>", (0..count).map(tag).collect::<String>())
    };
    let long = format!("<Prefix>{}</Prefix>", "p".repeat(1025));
    let prefix_and_filter = format!("<Prefix>a</Prefix><Filter>{}</Filter>", "<Prefix>a</Prefix>");
    for (rules, expected) in [
        (id(&"ä".repeat(255)), Ok(())),
        (id(&"a".repeat(256)), Err(E::IdTooLong)),
        (id("a") + &id("a"), Err(E::IdTwice)),
        (many(1000), Ok(())),
        (many(1001), Err(E::TooManyRules)),
        (filtered(""), Err(E::NoFilter)),
        (filtered(&prefix_and_filter), Err(E::NoFilter)),
        (filtered(&long), Err(E::PrefixTooLong)),
        (filtered(&format!("<Filter>{long}</Filter>")), Err(E::PrefixTooLong)),
        (filtered("<Filter><And/></Filter>"), Err(E::EmptyAnd)),
        (filtered(&tags(10)), Ok(())),
        (filtered("<Filter><Tag><Key>a</Key></Tag></Filter>"), Err(E::Missing { action: "Tag", element: "Value" })),
        (
            filtered("<Filter><ObjectSizeLessThan>-1</ObjectSizeLessThan></Filter>"),
            Err(E::NegativeSize { element: "ObjectSizeLessThan" }),
        ),
        (filtered("<Filter><ObjectSizeLessThan>0</ObjectSizeLessThan></Filter>"), Err(E::NoSizeBetween)),
        (
            filtered(
                "<Filter><And><ObjectSizeGreaterThan>5</ObjectSizeGreaterThan><ObjectSizeLessThan>6</ObjectSizeLessThan>\
                 </And></Filter>",
            ),
            Err(E::NoSizeBetween),
        ),
        (rule("").replace("Enabled", "enabled"), Err(E::InvalidStatus)),
        (rule(""), Err(E::NoAction)),
    ] {
        assert_eq!(parse(&rules).map(|_| ()), expected, "{}", &rules[..rules.len().min(500)]);
    }
    assert!(matches!(parse(&filtered(&tags(11))), Err(E::InvalidTag { .. })));
    let twice = "<Filter><And><Tag><Key>a</Key><Value/></Tag><Tag><Key>a</Key><Value/></Tag></And></Filter>";
    assert!(matches!(parse(&filtered(twice)), Err(E::InvalidTag { .. })));
    assert_eq!(LifecycleConfiguration::default().check(), Err(E::NoRules));
}

#[test]
fn an_action_has_one_time_and_a_target_that_there_is() {
    use LifecycleError as E;
    let expiration = |text: &str| rule(&format!("<Expiration>{text}</Expiration>"));
    let transition =
        |due: &str, class: &str| rule(&format!("<Transition>{due}<StorageClass>{class}</StorageClass></Transition>"));
    let noncurrent = |text: &str| rule(&format!("<NoncurrentVersionExpiration>{text}</NoncurrentVersionExpiration>"));
    let abort = |text: &str| rule(&format!("<AbortIncompleteMultipartUpload>{text}</AbortIncompleteMultipartUpload>"));
    let positive = |element, action| E::NotPositive { element, action };
    let one_of = E::NotOneOf { action: "Expiration", elements: "Date, Days and ExpiredObjectDeleteMarker" };
    let class = |class: &str| class.to_owned();
    let date = "<Date>2020-01-01T00:00:00Z</Date>";
    let days = "<Days>1</Days>";
    let on_tag = |actions: &str| rule(actions).replace("<Filter/>", "<Filter><Tag><Key>a</Key><Value/></Tag></Filter>");
    for (rules, expected) in [
        (expiration("<Days>0</Days>"), positive("Days", "Expiration")),
        (expiration("<Days>-1</Days>"), positive("Days", "Expiration")),
        (expiration(""), one_of.clone()),
        (expiration(&format!("{date}{days}")), one_of.clone()),
        (expiration(&format!("{days}<ExpiredObjectDeleteMarker>true</ExpiredObjectDeleteMarker>")), one_of),
        (expiration("<Date>1970-08-22T19:08:21Z</Date>"), E::NotMidnight),
        (expiration("<Date>2020-01-01T00:00:00.000000001Z</Date>"), E::NotMidnight),
        (expiration("<Date>2020-01-01T00:00:00+01:00</Date>"), E::NotMidnight),
        (expiration("<Date>1969-12-31T00:00:00Z</Date>"), E::NotMidnight),
        (transition(days, "STANDARD"), E::NoTarget { class: class("STANDARD") }),
        (transition(days, "COLD"), E::NoTarget { class: class("COLD") }),
        (transition(days, "GLACIER"), E::NoSuchClass { class: class("GLACIER") }),
        (transition("", "STANDARD_IA"), E::NotOneOf { action: "Transition", elements: "Date and Days" }),
        (transition("<Days>-1</Days>", "STANDARD_IA"), positive("Days", "Transition")),
        (transition("<Date>2020-01-01T01:00:00Z</Date>", "STANDARD_IA"), E::NotMidnight),
        (
            rule(&format!("<Transition>{days}</Transition>")),
            E::Missing { action: "Transition", element: "StorageClass" },
        ),
        (
            rule(&"<Transition><Days>1</Days><StorageClass>STANDARD_IA</StorageClass></Transition>".repeat(2)),
            E::ClassTwice { action: "Transition" },
        ),
        (noncurrent("<NoncurrentDays>0</NoncurrentDays>"), positive("NoncurrentDays", "NoncurrentVersionExpiration")),
        (
            noncurrent("<NewerNoncurrentVersions>5</NewerNoncurrentVersions>"),
            E::Missing { action: "NoncurrentVersionExpiration", element: "NoncurrentDays" },
        ),
        (
            noncurrent("<NewerNoncurrentVersions>101</NewerNoncurrentVersions><NoncurrentDays>1</NoncurrentDays>"),
            E::NewerVersions { action: "NoncurrentVersionExpiration" },
        ),
        (
            noncurrent("<NewerNoncurrentVersions>0</NewerNoncurrentVersions><NoncurrentDays>1</NoncurrentDays>"),
            E::NewerVersions { action: "NoncurrentVersionExpiration" },
        ),
        (abort("<DaysAfterInitiation>0</DaysAfterInitiation>"), positive("DaysAfterInitiation", ABORT)),
        (abort(""), E::Missing { action: ABORT, element: "DaysAfterInitiation" }),
        (on_tag(EXPIRED), E::NeedsPlainFilter { action: "ExpiredObjectDeleteMarker" }),
        (on_tag(ABORT_XML), E::NeedsPlainFilter { action: ABORT }),
    ] {
        assert_eq!(parse(&rules), Err(expected), "{rules}");
    }
    parse(&expiration("<Date>2020-01-01T01:00:00+01:00</Date>")).unwrap();
    parse(&expiration("<Date>2015-01-01T00:00:00Z</Date>")).unwrap();
}

const EXPIRED: &str = "<Expiration><ExpiredObjectDeleteMarker>true</ExpiredObjectDeleteMarker></Expiration>";
const ABORT_XML: &str = "<AbortIncompleteMultipartUpload><DaysAfterInitiation>1</DaysAfterInitiation>\
                         </AbortIncompleteMultipartUpload>";

#[test]
fn an_upload_is_aborted_by_the_rule_that_comes_first() {
    let rule = |id: &str, prefix: &str, days: u32, disabled| LifecycleRule {
        id: id.into(),
        disabled,
        prefix: Some(prefix.into()),
        abort_days: Some(days),
        ..LifecycleRule::default()
    };
    let expires = LifecycleRule { expiration: Some(Expiration::Objects(Due::Days(1))), ..LifecycleRule::default() };
    let rules = vec![
        expires,
        rule("off", "", 1, true),
        rule("late", "a", 3, false),
        rule("a", "a", 2, false),
        rule("b", "ab", 2, false),
    ];
    let rules = LifecycleConfiguration { rules };
    let day = |days: u64| Timestamp::from_millis(days * DAY_MILLIS);
    let found = |key| rules.abort(key, day(7)).map(|(due, rule)| (due, rule.id.as_str()));
    assert_eq!(found("abc"), Some((day(9), "a")));
    assert_eq!(found("b"), None);
}

#[test]
fn a_filter_means_what_all_its_parts_mean() {
    let tags = Tags::new(vec![("a".into(), "1".into()), ("b".into(), "2".into())], 10).unwrap();
    let candidate = Candidate { key: "logs/x", size: 100, tags: &tags, modified: Timestamp::default() };
    let tag = |key: &str, value: &str| format!("<Tag><Key>{key}</Key><Value>{value}</Value></Tag>");
    let larger = |bytes: u64| format!("<ObjectSizeGreaterThan>{bytes}</ObjectSizeGreaterThan>");
    let smaller = |bytes: u64| format!("<ObjectSizeLessThan>{bytes}</ObjectSizeLessThan>");
    for (filter, expected) in [
        ("<Prefix>logs/</Prefix>".to_owned(), true),
        ("<Prefix>Logs/</Prefix>".to_owned(), false),
        ("<Prefix/>".to_owned(), true),
        ("<Filter/>".to_owned(), true),
        ("<Filter><Prefix>logs/x</Prefix></Filter>".to_owned(), true),
        ("<Filter><Prefix>logs/x/</Prefix></Filter>".to_owned(), false),
        (format!("<Filter>{}</Filter>", tag("a", "1")), true),
        (format!("<Filter>{}</Filter>", tag("a", "2")), false),
        (format!("<Filter><And>{}{}</And></Filter>", tag("a", "1"), tag("b", "2")), true),
        (format!("<Filter><And>{}{}</And></Filter>", tag("a", "1"), tag("b", "3")), false),
        (format!("<Filter>{}<And>{}</And></Filter>", tag("a", "1"), tag("c", "1")), false),
        (format!("<Filter><Prefix>other</Prefix><And>{}</And></Filter>", tag("a", "1")), false),
        (format!("<Filter>{}</Filter>", larger(99)), true),
        (format!("<Filter>{}</Filter>", larger(100)), false),
        (format!("<Filter>{}</Filter>", smaller(101)), true),
        (format!("<Filter><Prefix/>{}</Filter>", smaller(100)), false),
    ] {
        let rules = parse(&filtered(&filter)).unwrap();
        assert_eq!(rules.rules[0].matches(&candidate), expected, "{filter}");
        assert_eq!(rules.expiry(&candidate).is_some(), expected, "{filter}");
    }
}

#[test]
fn the_header_tells_the_earliest_expiry_and_its_rule() {
    let named = |id: &str, status: &str, action: &str| {
        format!("<Rule><ID>{id}</ID><Prefix/><Status>{status}</Status><Expiration>{action}</Expiration></Rule>")
    };
    let days = |id: &str, days: u32| named(id, "Enabled", &format!("<Days>{days}</Days>"));
    let date = |id: &str, date: &str| named(id, "Enabled", &format!("<Date>{date}T00:00:00Z</Date>"));
    let morning = at(datetime!(2026-11-26 10:30 UTC));
    let header = |modified, rules: &str| {
        let tags = Tags::default();
        parse(rules).unwrap().expiration_header(&Candidate { key: "k", size: 1, tags: &tags, modified })
    };
    let says = |date: &str, id: &str| Some(format!(r#"expiry-date="{date} 00:00:00 GMT", rule-id="{id}""#));
    for (modified, rules, expected) in [
        (morning, days("rule1", 1), says("Sat, 28 Nov 2026", "rule1")),
        (at(datetime!(2026-11-26 00:00 UTC)), days("rule1", 1), says("Fri, 27 Nov 2026", "rule1")),
        (at(datetime!(2026-11-26 00:00:00.001 UTC)), days("rule1", 1), says("Sat, 28 Nov 2026", "rule1")),
        (morning, days("late", 9) + &days("soon", 2), says("Sun, 29 Nov 2026", "soon")),
        (morning, days("first", 2) + &days("second", 2), says("Sun, 29 Nov 2026", "first")),
        (morning, days("days", 9) + &date("date", "2026-12-01"), says("Tue, 01 Dec 2026", "date")),
        (morning, date("past", "2015-01-01"), says("Thu, 01 Jan 2015", "past")),
        (morning, days("ä \"q\"/1", 1), says("Sat, 28 Nov 2026", "%C3%A4%20%22q%22/1")),
        (morning, named("off", "Disabled", "<Days>1</Days>"), None),
        (morning, rule(EXPIRED), None),
        (morning, rule(ABORT_XML), None),
    ] {
        assert_eq!(header(modified, &rules), expected, "{rules}");
    }
}

proptest! {
    /// Whatever is stored and however late: no panic, a midnight, not before the object is as old as it must be.
    #[test]
    fn days_end_at_a_midnight(modified in 0..253_402_300_799_000_u64, days in 1..=u32::MAX) {
        let modified = Timestamp::from_millis(modified);
        let due = Due::Days(days).after(modified);
        prop_assert_eq!(due.as_millis() % DAY_MILLIS, 0);
        let age = due.since(modified);
        prop_assert!(age >= DAY * days && age < DAY * days + DAY);
        prop_assert!(!http_date_text(due).is_empty());
    }
}
