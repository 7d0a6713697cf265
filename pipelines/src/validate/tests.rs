//! Bodies good and bad, by example and held against serde_json.

use super::*;
use proptest::prelude::*;
use serde_json::Value;

fn run(body: &str) -> Result<ValidEvents> {
    validate(&Bytes::copy_from_slice(body.as_bytes()), BodyShape::Any, 1_000_000)
}

#[track_caller]
fn check(body: &str, lines: &str) {
    let events = run(body).unwrap();
    assert_eq!(std::str::from_utf8(&events.lines).unwrap(), lines);
    assert_eq!(events.events as usize, lines.lines().count());
}

#[test]
fn every_shape_becomes_one_event_a_line() {
    check(r#"[{"a":1},{"b":2}]"#, "{\"a\":1}\n{\"b\":2}\n");
    check("{\"a\":1}\n{\"b\":2}\n", "{\"a\":1}\n{\"b\":2}\n");
    check("{\"a\":1}\r\n\r\n{\"b\":2}", "{\"a\":1}\n{\"b\":2}\n");
    check(" {\"a\" : 1} ", "{\"a\" : 1}\n");
    check("{\n  \"a\": [\r\n1]\n}\n{}", "{   \"a\": [  1] }\n{}\n");
    check(" [ {} , {\"a\":[]} ] ", "{}\n{\"a\":[]}\n");
    check("\u{feff}{\"a\":\"é\"}", "{\"a\":\"é\"}\n");
    check("\u{feff}{\"a\":1}\n{\"b\":2}\n", "{\"a\":1}\n{\"b\":2}\n");
    check("\u{feff}[{\"a\":1}]", "{\"a\":1}\n");
    check(r#"{"a":"line\nbreak"}"#, "{\"a\":\"line\\nbreak\"}\n");
}

#[test]
fn a_body_that_is_one_event_a_line_is_not_copied() {
    let body = Bytes::from_static(b"{\"a\":1}\n{\"b\": 2}\n");
    let (place, expected) = (body.as_ptr(), body.clone());
    let events = validate(&body, BodyShape::Any, 100).unwrap();
    assert_eq!((events.lines.as_ptr(), &events.lines[..], events.events), (place, &expected[..], 2));
    check("{\"a\":1}\n{\"b\":2}\n\n", "{\"a\":1}\n{\"b\":2}\n");
    check("{\"a\":1}\n{\"b\":\n2}\n{\"c\":3}\n", "{\"a\":1}\n{\"b\": 2}\n{\"c\":3}\n");
    check("{\"a\":1}\n {\"b\":2}\n", "{\"a\":1}\n{\"b\":2}\n");
    check("\n{\"a\":1}\n", "{\"a\":1}\n");
}

#[track_caller]
fn check_refused(body: &str, event: usize, byte: usize, part: &str) {
    match run(body) {
        Err(Error::Malformed { event: e, byte: b, reason }) => {
            assert_eq!((e, b), (event, byte), "{body}: {reason}");
            assert!(reason.contains(part), "{body}: {reason}");
        }
        other => panic!("{body}: {other:?}"),
    }
}

#[test]
fn a_bad_body_is_refused_with_the_event_the_place_and_what_to_do() {
    check_refused("[1]", 0, 1, "must be a JSON object");
    check_refused("\"text\"", 0, 0, "must be a JSON object");
    check_refused("[{\"a\":1},[]]", 1, 9, "must be a JSON object");
    check_refused("[{\"a\":1}", 1, 8, "not closed");
    check_refused("[{\"a\":1},]", 1, 9, "must be a JSON object");
    check_refused("[{\"a\":1} {\"b\":2}]", 1, 9, "comma");
    check_refused("[{}]x", 1, 4, "nothing may follow");
    check_refused("{} {}", 1, 3, "newline");
    check_refused("{\"a\":1", 0, 6, "not complete");
    check_refused("{\"a\":\"x", 0, 7, "not closed");
    check_refused("{'a':1}", 0, 1, "double quotes");
    check_refused("{a:1}", 0, 1, "double quotes");
    check_refused("{\"a\" 1}", 0, 5, "colon");
    check_refused("{\"a\":1,}", 0, 7, "double quotes");
    check_refused("{\"a\":[1,]}", 0, 8, "expected a value");
    check_refused("{\"a\":[1}", 0, 7, "end of the array");
    check_refused("{\"a\":{\"b\":1]}", 0, 11, "end of the object");
    check_refused("{\"a\":nul}", 0, 5, "expected a value");
    check_refused("{\"a\":01}", 0, 7, "malformed number");
    check_refused("{\"a\":1.}", 0, 7, "malformed number");
    check_refused("{\"a\":-}", 0, 6, "malformed number");
    check_refused("{\"a\":NaN}", 0, 5, "expected a value");
    check_refused("{\"a\":\"\t\"}", 0, 6, "control characters");
    check_refused("{\"a\":\"\\x\"}", 0, 6, "escape");
    check_refused("{\"a\":\"\\ud800\"}", 0, 6, "surrogate");
    check_refused("{\"a\":\"\\ud800\\u0041\"}", 0, 6, "surrogate");
    check_refused("{\"a\":\"\\udc00\"}", 0, 6, "surrogate");
    check_refused("{\"a\":\"\\u12\"}", 0, 6, "four hex digits");
    check_refused("{\"ok\":1}\n{\"a\":1e999}", 1, 14, "out of range");
    check_refused("{\"a\":18446744073709551616}", 0, 5, "out of range");
    check_refused("{\"a\":-9223372036854775809}", 0, 5, "out of range");
    check_refused(&format!("{{\"a\":{}1.5}}", "9".repeat(310)), 0, 5, "out of range");
}

#[test]
fn numbers_at_the_ends_of_their_ranges_pass() {
    for number in ["18446744073709551615", "-9223372036854775808", "1.7976931348623157e308", "1e-999", "-0", "0.1E+2"] {
        let body = format!("{{\"a\":{number}}}");
        check(&body, &format!("{body}\n"));
    }
}

#[test]
fn nothing_is_no_event() {
    for body in ["", " \n ", "[]", " [ ] "] {
        assert!(matches!(run(body), Err(Error::NoEvents)), "{body:?}");
    }
}

#[test]
fn depth_is_bounded() {
    let nested = |levels: usize| format!("{{\"a\":{}{}}}", "[".repeat(levels - 1), "]".repeat(levels - 1));
    assert!(run(&nested(64)).is_ok());
    assert!(matches!(run(&nested(65)), Err(Error::Malformed { reason, .. }) if reason.contains("64 levels")));
    assert!(run(&"[".repeat(5_000_000)).is_err());
    assert!(run(&"{\"a\":".repeat(1_000_000)).is_err());
}

#[test]
fn text_that_is_not_utf8_is_refused_with_its_place() {
    let error = validate(&Bytes::from_static(b"{\"a\":\"\xff\"}"), BodyShape::Any, 100).unwrap_err();
    assert!(matches!(error, Error::NotUtf8 { byte: 6 }), "{error}");
}

#[test]
fn an_event_over_the_limit_is_refused_and_one_at_it_is_not() {
    let body = b"{\"a\":1}\n{\"a\":12}";
    assert!(validate(&Bytes::copy_from_slice(body), BodyShape::Any, 8).is_ok());
    let error = validate(&Bytes::copy_from_slice(body), BodyShape::Any, 7).unwrap_err();
    assert!(matches!(error, Error::EventTooLarge { event: 1, bytes: 8, limit_bytes: 7 }), "{error}");
}

#[test]
fn a_content_type_that_promises_lines_is_held_to_it() {
    assert!(validate(&Bytes::from_static(b"[{}]"), BodyShape::Lines, 100).is_err());
    assert!(validate(&Bytes::from_static(b"{}\n{}"), BodyShape::Lines, 100).is_ok());
}

fn json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 24, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::vec((any::<String>(), inner), 0..5)
                .prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

/// serde_json reads larger numbers as doubles, and knows no depth of ours; otherwise both must say the same.
fn agrees(text: &str) -> Result<(), TestCaseError> {
    agrees_after("", text)
}

/// The same for an event that comes after good ones.
fn agrees_after(before: &str, text: &str) -> Result<(), TestCaseError> {
    let theirs = serde_json::from_str::<Value>(text).is_ok_and(|value| value.is_object());
    let ours = match run(&format!("{before}{text}")) {
        Ok(events) => events.events as usize == before.lines().count() + 1 && !text.trim_start().starts_with('['),
        Err(Error::Malformed { reason, .. }) if reason.contains("out of range") => return Ok(()),
        Err(_) => false,
    };
    prop_assert_eq!(ours, theirs, "{}", text);
    Ok(())
}

fn lines_of(events: &[Value], text: impl Fn(&Value) -> String) -> String {
    events.iter().fold(String::new(), |lines, event| lines + &text(event) + "\n")
}

proptest! {
    #[test]
    fn what_serde_writes_passes_unchanged(values in prop::collection::vec(json(), 1..4)) {
        let events: Vec<Value> = values.into_iter().map(|value| serde_json::json!({"v": value})).collect();
        let lines = lines_of(&events, Value::to_string);
        for body in [Value::from(events.clone()).to_string(), lines.clone()] {
            let valid = run(&body).unwrap();
            prop_assert_eq!(std::str::from_utf8(&valid.lines).unwrap(), &lines);
        }
        let pretty = lines_of(&events, |event| format!("{event:#}"));
        let valid = run(&pretty).unwrap();
        let back: Vec<Value> =
            valid.lines.split(|b| *b == b'\n').filter(|l| !l.is_empty()).map(|l| serde_json::from_slice(l).unwrap()).collect();
        // read back once more: serde_json does not read every double as it wrote it
        let expected: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        prop_assert_eq!(back, expected);
    }

    #[test]
    fn damaged_json_is_judged_as_serde_judges_it(value in json(), at: prop::sample::Index, with in "[\\[\\]{}:,\"\\\\0-9eE.+tnu \n-]?") {
        let good = serde_json::json!({"v": value}).to_string();
        let mut text: Vec<char> = good.chars().collect();
        let at = at.index(text.len());
        match with.chars().next() {
            Some(with) => text[at] = with,
            None => { text.remove(at); }
        }
        let damaged: String = text.into_iter().collect();
        agrees(&damaged)?;
        agrees_after(&format!("{good}\n"), &damaged)?;
    }

    #[test]
    fn json_like_noise_is_judged_as_serde_judges_it(text in "\\{(\"a\"|\"\\\\u[d0-9a]{4}\"|[\\[\\]{}:,]|-?[0-9.eE]{1,4}|true|null| ){0,12}\\}") {
        agrees(&text)?;
    }
}
