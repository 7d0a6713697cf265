//! JSON beside numbers, and the ways it is asked for.

use crate::fixture::{run, texts, unstructured};

const EVENTS: [&str; 6] = [
    r#"{"n":10,"id":1152921504606846977,"ok":true}"#,
    r#"{"n":"7","id":1152921504606846976,"ok":"true"}"#,
    r#"{"n":5.5,"id":null,"ok":false}"#,
    r#"{"n":"many"}"#,
    r#"{"n":{"deep":[1,2,{"er":"x"}]}}"#,
    "[1]",
];

#[track_caller]
fn check(condition: &str, expected: &[usize]) {
    let done = run(&format!("SELECT value FROM s WHERE {condition}"), &unstructured(&EVENTS));
    let expected: Vec<&str> = expected.iter().map(|row| EVENTS[*row]).collect();
    assert_eq!(texts(&done.batch), expected, "{condition}");
    assert!(done.failed.is_empty(), "{condition}: {:?}", done.failed);
}

#[test]
fn json_beside_a_number_is_compared_as_a_number() {
    check("value->>'n' > 6", &[0, 1]);
    check("6 < value->>'n'", &[0, 1]);
    check("value->'n' > 6", &[0, 1]);
    check("value->>'n' = 5.5", &[2]);
    check("json_get_str(value, 'n') = 7", &[1]);
    check("value->>'n' <> 10", &[1, 2]);
    check("value->>'id' = 1152921504606846976", &[1]);
    check("value->>'id' >= 1152921504606846976", &[0, 1]);
    check("value->>'ok' = true", &[0, 1]);
    check("value->>'n' = 'many'", &[3]);
    check("(value->>'n')::VARCHAR > '6'", &[1, 3, 4]);
}

#[test]
fn numbers_of_every_size_are_compared() {
    let events = [
        "0",
        "1e30",
        "1e-20",
        "123456789012345678901234567890.5",
        "-1e300",
        "0.5",
        "\"7\"",
        "-1",
        "1.0E+2",
        "9007199254740993",
    ];
    let batch = unstructured(&events.map(|n| format!("{{\"n\":{n}}}")).each_ref().map(String::as_str));
    let check = |condition: &str, expected: &[&str]| {
        let done = run(&format!("SELECT value->'n' AS n FROM s WHERE {condition}"), &batch);
        assert_eq!(texts(&done.batch), expected, "{condition}");
    };
    let positive = ["1e30", "1e-20", "123456789012345678901234567890.5", "0.5", "\"7\"", "1.0E+2", "9007199254740993"];
    check("value->>'n' > 0", &positive);
    check("value->>'n' > json_length(value) - 1", &positive);
    check("value->>'n' > 9007199254740992", &["1e30", "123456789012345678901234567890.5", "9007199254740993"]);
    check("value->>'n' > 9007199254740993", &["1e30", "123456789012345678901234567890.5"]);
    check("value->>'n' = 9007199254740993", &["9007199254740993"]);
    check("value->>'n' < 18446744073709551615 AND value->>'n' > 50", &["1.0E+2", "9007199254740993"]);
}

#[test]
fn json_is_asked_for_what_it_holds() {
    check("value ? 'ok'", &[0, 1, 2]);
    check("value->'n' ? 'deep'", &[4]);
    check("value->'n'->'deep'->2->>'er' = 'x'", &[4]);
    check("value->0 = 1", &[5]);
    check("json_length(value) = 3", &[0, 1, 2]);
    check("json_get_int(value, 'n') = 10", &[0]);
    check("json_get_bool(value, 'ok')", &[0]);
    check("value->>'id' IS NULL", &[2, 3, 4, 5]);
}

#[test]
fn names_and_indexes_may_come_from_columns() {
    let batch = unstructured(&[r#"{"key":"a","at":1,"a":[7,8],"b":9}"#, r#"{"key":"b","a":[7,8],"b":9}"#]);
    let done = run("SELECT value->(value->>'key') AS x, value->'a'->json_get_int(value, 'at') AS y FROM s", &batch);
    assert_eq!(texts(&done.batch), ["[7,8]|8", "9|NULL"]);
    let done = run("SELECT extract_json(value, concat('$.', value->>'key')) AS x FROM s", &batch);
    assert_eq!(texts(&done.batch), ["[[7,8]]", "[9]"]);
    let done = run("SELECT unnest(extract_json(value, '$.a[*]')) AS x, value->>'key' AS k FROM s", &batch);
    assert_eq!(texts(&done.batch), ["7|a", "8|a", "7|b", "8|b"]);
}

#[test]
fn what_is_no_json_gives_null() {
    let batch = unstructured(&["", "{", "nonsense", "{\"a\":", "\"a", "\u{0}"]);
    let done = run("SELECT value->'a' AS x, value->>0 AS y, json_length(value) AS z FROM s", &batch);
    assert!(texts(&done.batch).iter().all(|row| row == "NULL|NULL|NULL"), "{:?}", texts(&done.batch));
    assert!(done.failed.is_empty());
}
