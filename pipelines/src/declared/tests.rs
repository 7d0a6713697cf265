//! What fits a declared schema and what does not, what the columns are then, and that nothing is lost on the way.

mod fitting;

use super::decode::Columns;
use super::*;
use crate::ParquetSpec;
use crate::batch::Batch;
use crate::fixture::parquet_to_json;
use crate::parquet::{FileFacts, write};
use crate::rows::{OUTPUTS, OutputRecord};
use ::parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use arrow_array::RecordBatch;
use bytes::Bytes;
use cistern_metadata::{MemoryEngine, Store};
use cistern_types::Timestamp;
use fitting::{Dice, any_schema, fitting_event};
use proptest::prelude::*;
use serde_json::{Value, json};

fn schema(fields: &Value) -> DeclaredSchema {
    serde_json::from_value(json!({ "fields": fields })).unwrap()
}

/// A schema of one field, `f`.
fn only(kind: &Value, required: bool) -> DeclaredSchema {
    let mut field = if kind.is_string() { json!({ "type": kind }) } else { kind.clone() };
    field["name"] = "f".into();
    field["required"] = required.into();
    schema(&json!([field]))
}

/// Decodes the events; those that do not fit come back with their reasons.
fn decode<E: AsRef<str>>(schema: &DeclaredSchema, events: &[E]) -> (RecordBatch, Vec<(usize, String)>) {
    let mut columns = Columns::new(schema);
    let mut refused = Vec::new();
    for (number, event) in events.iter().enumerate() {
        if let Err(reason) = columns.push(event.as_ref().as_bytes()) {
            refused.push((number, reason));
        }
    }
    (columns.finish(schema).unwrap(), refused)
}

fn file(batch: &RecordBatch) -> Bytes {
    let facts = FileFacts { pipeline: "clicks", first_offset: 0, last_offset: 0 };
    write(batch, &ParquetSpec::default(), facts).unwrap().into()
}

/// The rows as they come back from a Parquet file, nulls left out of objects.
fn back(batch: &RecordBatch) -> Vec<Value> {
    let lines = parquet_to_json(file(batch));
    let lines = lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    lines.map(|line| serde_json::from_slice(line).unwrap()).collect()
}

/// A value of a field of the type comes back as `expected`.
#[track_caller]
fn fits(kind: &Value, value: &str, expected: &Value) {
    for required in [false, true] {
        let (batch, refused) = decode(&only(kind, required), &[format!("{{\"f\":{value}}}")]);
        assert_eq!(refused, [], "{kind} {value}");
        assert_eq!(back(&batch), [json!({ "f": expected })], "{kind} {value}");
    }
}

/// It is refused for a reason that begins with `reason`, and leaves no trace.
#[track_caller]
fn refused(kind: &Value, value: &str, reason: &str) {
    let (batch, refused) = decode(&only(kind, false), &[format!("{{\"x\":1,\"f\":{value}}}")]);
    assert_eq!(batch.num_rows(), 0);
    let found = &refused.first().unwrap_or_else(|| panic!("{kind} took {value}")).1;
    assert!(found.starts_with(reason), "{kind} {value}: {found}");
}

#[test]
fn values_at_the_bounds_of_their_types_fit() {
    let kinds: &[(&str, &[&str])] = &[
        ("bool", &["true", "false"]),
        ("int32", &["0", "-2147483648", "2147483647", "1234567"]),
        ("int64", &["-9223372036854775808", "9223372036854775807", "12345678"]),
        ("uint32", &["0", "4294967295"]),
        ("uint64", &["0", "18446744073709551615"]),
        ("string", &["\"\"", "\"a\"", "\"sixteen bytes and\"", "\"\u{e4}\\u00e4\\n\""]),
    ];
    for (kind, values) in kinds {
        for value in *values {
            fits(&json!(kind), value, &serde_json::from_str(value).unwrap());
        }
    }
    fits(&json!("uint32"), "-0", &json!(0));
    for (value, expected) in [("1", 1.0), ("1.0", 1.0), ("1e2", 100.0), ("-0.25", -0.25), ("16777217", 16_777_216.0)] {
        fits(&json!("float32"), value, &json!(expected));
    }
    for (value, expected) in
        [("1", 1.0), ("1.5", 1.5), ("1e300", 1e300), ("9007199254740993", 9_007_199_254_740_992.0), ("1e-400", 0.0)]
    {
        fits(&json!("float64"), value, &json!(expected));
    }
    for kind in ["float32", "float64"] {
        let (batch, _) = decode(&only(&json!(kind), true), &["{\"f\":-0}"]);
        assert_eq!(back(&batch)[0]["f"].to_string(), "-0.0", "{kind}");
    }
    for value in ["1", "1.50", "\"x\\u0041\"", "{\"b\": [null, {}],\"a\":1.0}", "[ ]", "true"] {
        fits(&json!("json"), value, &json!(value));
    }
    for (value, expected) in
        [("\"\"", ""), ("\"AAH/\"", "0001ff"), ("\"AA==\"", "00"), ("\"AA\"", "00"), ("\"AAH\\/\"", "0001ff")]
    {
        fits(&json!("bytes"), value, &json!(expected));
        fits(&json!("binary"), value, &json!(expected));
    }
    let list = json!({ "type": "list", "items": { "type": "list", "items": { "type": "int32" } } });
    fits(&list, "[]", &json!([]));
    fits(&list, "[ [1 , 2],null,[], [null]]", &json!([[1, 2], null, [], [null]]));
    let object = json!({ "type": "struct", "fields": [{ "name": "a", "type": "bool" }] });
    fits(&object, "{}", &json!({}));
    fits(&object, "{ \"a\" : true }", &json!({ "a": true }));
}

#[test]
fn decimals_are_exact() {
    use arrow_array::cast::AsArray as _;
    let nines = format!("-{}", "9".repeat(38));
    let cases = [
        (5, 2, "1.5", "1.50"),
        (5, 2, "\"-999.99\"", "-999.99"),
        (5, 2, "1e2", "100.00"),
        (5, 2, "0", "0.00"),
        (38, 0, &format!("\"{nines}\""), &nines),
        (38, 0, "18446744073709551615", "18446744073709551615"),
        (38, 37, "\"1.2345678901234567890123456789012345678\"", "1.2345678901234567890123456789012345678"),
    ];
    for (precision, scale, value, expected) in cases {
        let kind = json!({ "type": "decimal128", "precision": precision, "scale": scale });
        let (batch, refused) = decode(&only(&kind, true), &[format!("{{\"f\":{value}}}")]);
        assert_eq!(refused, []);
        let column = batch.column(0).as_primitive::<arrow_array::types::Decimal128Type>();
        assert_eq!(column.value_as_string(0), expected);
    }
}

#[test]
fn timestamps_are_texts_or_numbers_as_the_format_says() {
    let field = |unit: &str| json!({ "type": "timestamp", "unit": unit });
    let cases = [
        ("second", "\"2026-05-01T15:00:00+02:00\"", "2026-05-01T13:00:00Z"),
        ("second", "1777640400", "2026-05-01T13:00:00Z"),
        ("second", "-1", "1969-12-31T23:59:59Z"),
        ("millisecond", "1777640400250", "2026-05-01T13:00:00.250Z"),
        ("microsecond", "\"2026-05-01T13:00:00.250001Z\"", "2026-05-01T13:00:00.250001Z"),
        ("nanosecond", "1777640400000000001", "2026-05-01T13:00:00.000000001Z"),
    ];
    for (unit, value, expected) in cases {
        fits(&field(unit), value, &json!(expected));
    }
    let cases = [
        (
            "second",
            "\"2026-05-01T13:00:00.5Z\"",
            "parse_failure: field f: \"2026-05-01T13:00:00.5Z\" is finer than the second",
        ),
        ("second", "1777640400250", "parse_failure: field f: 1777640400250 is out of range of a timestamp in seconds"),
        ("nanosecond", "\"2300-01-01T00:00:00Z\"", "parse_failure: field f: \"2300-01-01T00:00:00Z\" is out of range"),
        ("millisecond", "\"soon\"", "parse_failure: field f: \"soon\" is no RFC 3339 time such as"),
        ("millisecond", "1.5", "type_mismatch: field f: 1.5, a number with a fraction"),
        ("millisecond", "true", "type_mismatch: field f: a boolean, but timestamp is declared"),
    ];
    for (unit, value, reason) in cases {
        refused(&field(unit), value, reason);
    }
    let events = ["{\"f\":\"2026-05-01T13:00:00Z\"}", "{\"f\":1777640400000}"];
    let given = only(&field("microsecond"), false);
    let (batch, dead) = decode(&given.clone().with_timestamps(TimestampFormat::Rfc3339), &events);
    assert_eq!(back(&batch), [json!({ "f": "2026-05-01T13:00:00Z" })]);
    assert_eq!(dead, [(1, "type_mismatch: field f: a number, but timestamp as RFC 3339 text is declared".to_owned())]);
    let (batch, dead) = decode(&given.with_timestamps(TimestampFormat::UnixMillis), &events);
    assert_eq!(back(&batch), [json!({ "f": "2026-05-01T13:00:00Z" })]);
    assert_eq!(dead, [(0, "type_mismatch: field f: a string, but timestamp in milliseconds is declared".to_owned())]);
}

#[test]
fn values_that_do_not_fit_are_refused_with_family_field_and_what_was_found() {
    for kind in ["int32", "int64", "uint32", "uint64"] {
        for value in ["1.0", "1e3", "1.5", "-0.0"] {
            refused(&json!(kind), value, &format!("type_mismatch: field f: {value}, a number with a fraction"));
        }
        refused(&json!(kind), "\"1\"", &format!("type_mismatch: field f: a string, but {kind} is declared"));
        refused(&json!(kind), "[1]", "type_mismatch: field f: an array, but");
    }
    for (kind, values) in [
        ("int32", ["-2147483649", "2147483648", "99999999999999999999"]),
        ("int64", ["-9223372036854775809", "9223372036854775808", "18446744073709551616"]),
        ("uint32", ["-1", "4294967296", "-4294967296"]),
        ("uint64", ["-1", "-18446744073709551615", "18446744073709551616"]),
        ("float32", ["1e39", "-3.5e38", "340282366920938463463374607431768211456"]),
        ("float64", ["1e309", "-1e309", "2e308"]),
    ] {
        for value in values {
            refused(&json!(kind), value, &format!("parse_failure: field f: {value} is out of range of {kind}"));
        }
    }
    let cases = [
        ("float32", "\"NaN\"", "type_mismatch: field f: a string, but float32 is declared"),
        ("float64", "true", "type_mismatch: field f: a boolean, but float64 is declared"),
        ("bool", "1", "type_mismatch: field f: a number, but bool is declared"),
        ("bool", "\"true\"", "type_mismatch: field f: a string, but bool is declared"),
        ("string", "1", "type_mismatch: field f: a number, but string is declared"),
        ("string", "{}", "type_mismatch: field f: an object, but string is declared"),
        ("bytes", "\"A\"", "parse_failure: field f: \"A\" is not base64: "),
        ("bytes", "\"_w==\"", "parse_failure: field f: \"_w==\" is not base64: "),
        ("binary", "[0]", "type_mismatch: field f: an array, but binary is declared"),
        ("int64", "1,\"f\":2", "parse_failure: field f: stands twice in the event"),
        ("int64", "1,\"\\u0078\":2", "parse_failure: field \\u0078: stands twice in the event"),
    ];
    for (kind, value, reason) in cases {
        refused(&json!(kind), value, reason);
    }
    let decimal = json!({ "type": "decimal128", "precision": 5, "scale": 2 });
    refused(&decimal, "1000", "parse_failure: field f: 1000 has more digits than decimal128(5, 2) holds");
    refused(&decimal, "0.001", "parse_failure: field f: 0.001 has more digits after the point than decimal128(5, 2)");
    refused(&decimal, "\"one\"", "parse_failure: field f: \"one\" is no decimal number");
    refused(&decimal, "true", "type_mismatch: field f: a boolean, but decimal128 is declared");
    let list = json!({ "type": "list", "items": { "type": "int32", "required": true } });
    refused(&list, "[1,2,\"x\"]", "type_mismatch: field f[2]: a string, but int32 is declared");
    refused(&list, "[1,null]", "null_value: field f[1]: null, but it is required");
    refused(&list, "{\"0\":1}", "type_mismatch: field f: an object, but list is declared");
    let objects = json!({ "type": "list", "items": { "type": "struct", "fields": [
        { "name": "a", "type": "struct", "fields": [{ "name": "b", "type": "int64", "required": true }] },
    ] } });
    refused(&objects, "[{},{\"a\":{\"b\":true}}]", "type_mismatch: field f[1].a.b: a boolean, but int64 is declared");
    refused(&objects, "[{\"a\":{\"c\":1}}]", "missing_field: field f[0].a.b: it is required");
    refused(&objects, "[{\"a\":{\"b\":null}}]", "null_value: field f[0].a.b: null, but it is required");
    refused(&objects, "[{\"a\":{\"b\":1,\"\\u0062\":1}}]", "parse_failure: field f[0].a.b: stands twice in the event");
    refused(&objects, "[{\"a\":{\"b\":1},\"a\":null}]", "parse_failure: field f[0].a: stands twice in the event");
    refused(&objects, "[{\"x\":1,\"\\u0078\":1}]", "parse_failure: field f[0].\\u0078: stands twice in the event");
}

fn wide() -> DeclaredSchema {
    schema(&json!([
        { "name": "id", "type": "int64", "required": true },
        { "name": "user", "type": "struct", "fields": [
            { "name": "name", "type": "string", "required": true },
            { "name": "tags", "type": "list", "items": { "type": "struct", "fields": [{ "name": "k", "type": "string" }] } },
        ] },
        { "name": "note", "type": "string" },
    ]))
}

#[test]
fn the_order_of_fields_does_not_matter_and_optional_ones_may_be_missing_or_null() {
    let events = [
        r#"{"id":1,"user":{"name":"a","tags":[]},"note":"x"}"#,
        r#"{"note":null,"user":null,"id":2}"#,
        r#" { "user" : { "tags" : [ { } , null ] , "name" : "b" } , "id" : 3 } "#,
        r#"{"id":4}"#,
        r#"{"\u0069d":5,"note":"y"}"#,
    ];
    let (batch, refused) = decode(&wide(), &events);
    assert_eq!(refused, []);
    let expected = [
        json!({ "id": 1, "user": { "name": "a", "tags": [] }, "note": "x" }),
        json!({ "id": 2 }),
        json!({ "id": 3, "user": { "name": "b", "tags": [{}, null] } }),
        json!({ "id": 4 }),
        json!({ "id": 5, "note": "y" }),
    ];
    assert_eq!(back(&batch), expected);
    let (batch, _) = decode::<&str>(&wide(), &[]);
    assert_eq!((batch.num_rows(), batch.num_columns()), (0, 4));
}

#[test]
fn missing_and_null_are_told_apart_where_a_field_is_required() {
    let cases = [
        ("{}", "missing_field: field id: it is required"),
        (r#"{"id":null}"#, "null_value: field id: null, but it is required"),
        (r#"{"id":1,"user":{}}"#, "missing_field: field user.name: it is required"),
        (r#"{"id":1,"user":{"name":null}}"#, "null_value: field user.name: null, but it is required"),
        (r#"{"id":1"#, "parse_failure: the event is not valid JSON"),
        ("[]", "parse_failure: the event is not valid JSON"),
    ];
    for (event, reason) in cases {
        assert_eq!(decode(&wide(), &[event]).1, [(0, reason.to_owned())], "{event}");
    }
}

#[track_caller]
fn check_rest(event: &str, expected: Option<&str>) {
    let (batch, refused) = decode(&wide(), &[event]);
    assert_eq!(refused, []);
    assert_eq!(back(&batch)[0].get(REST).map(|rest| rest.as_str().unwrap()), expected, "{event}");
    let (batch, _) = decode(&wide().with_unknown(UnknownFields::Drop), &[event]);
    assert_eq!((batch.num_columns(), back(&batch)[0].get(REST)), (3, None));
}

#[test]
fn what_is_not_declared_is_kept_byte_for_byte_under_its_path() {
    check_rest(r#"{"id":1}"#, None);
    check_rest(r#"{"id":1,"user":{"name":"a","tags":[{"k":"x"}]}}"#, None);
    check_rest(r#"{"z": [1, 2.0] ,"id":1,"a":null}"#, Some(r#"{"z":[1, 2.0],"a":null}"#));
    check_rest(r#"{"id":1,"user":{"x":{},"name":"a","y":"}"}}"#, Some(r#"{"user":{"x":{},"y":"}"}}"#));
    check_rest(
        r#"{"b":"{","user":{"tags":[{"k":"x"},{"z":1e5,"k":"y","\u0071\"":"\\"},null,{"z":0}],"name":"a","n":1},"id":1}"#,
        Some(r#"{"b":"{","user":{"tags":{"1":{"z":1e5,"\u0071\"":"\\"},"3":{"z":0}},"n":1}}"#),
    );
    check_rest(r#"{"id":1,"_rest":{"x":1}}"#, Some(r#"{"_rest":{"x":1}}"#));
    check_rest(r#"{"id":1,"":0}"#, Some(r#"{"":0}"#));
}

#[test]
fn a_refused_event_leaves_nothing_behind() {
    let good = r#"{"u":1,"id":1,"user":{"name":"a","tags":[{"k":"x","v":1}]},"note":"n"}"#;
    let bad = [
        r#"{"u":2,"id":2,"user":{"name":"b","w":1,"tags":[{"k":"y","v":2},{"k":7}]},"note":"m"}"#,
        r#"{"u":2,"note":"m","user":{"name":"b"}}"#,
        r#"{"u":2,"note":"x\ud800","id":1}"#,
        r#"{"id":2,"note":"m","z":1,"z":1}"#,
    ];
    let alone = decode(&wide(), &[good, good]).0;
    for bad in bad {
        let (batch, refused) = decode(&wide(), &[bad, good, bad, good, bad]);
        assert_eq!(refused.len(), 3, "{bad}");
        assert_eq!(batch, alone, "{bad}");
    }
}

fn batch_of<E: AsRef<str>>(events: &[E]) -> Batch {
    let mut batch = Batch::new(b"".as_slice().into(), 0, Timestamp::default());
    for (offset, event) in events.iter().enumerate() {
        batch.push(offset as u64, event.as_ref());
    }
    batch
}

#[test]
fn lines_that_fit_stay_as_they_came() {
    let event = |n: usize| match n % 3 {
        0 => format!("{{ \"id\": {n}, \"more\": 1.0 }}"),
        1 => format!("{{\"id\":\"{n}\"}}"),
        _ => format!("{{\"note\":\"{}\",\"id\":{n}}}", "x".repeat(200)),
    };
    let events: Vec<String> = (0..5_000).map(event).collect();
    let (chunks, dead) = lines(&mut batch_of(&events), &wide());
    let fitting: Vec<&str> = (0..5_000).filter(|n| n % 3 != 1).map(|n| events[n].as_str()).collect();
    assert_eq!(std::str::from_utf8(&chunks.concat()).unwrap(), fitting.join("\n") + "\n");
    assert_eq!(dead.count(), 1_667);
    assert!(lines(&mut batch_of(&["{}"]), &wide()).0.is_empty());
}

#[test]
fn the_columns_of_the_file_have_the_declared_types() {
    let kinds = json!([
        { "name": "b", "type": "bool", "required": true },
        { "name": "i32", "type": "int32" },
        { "name": "u32", "type": "uint32" },
        { "name": "u64", "type": "uint64" },
        { "name": "f32", "type": "float32" },
        { "name": "d9", "type": "decimal128", "precision": 9, "scale": 2 },
        { "name": "d38", "type": "decimal128", "precision": 38, "scale": 38, "required": true },
        { "name": "s", "type": "timestamp", "unit": "second" },
        { "name": "ms", "type": "timestamp" },
        { "name": "us", "type": "timestamp", "unit": "microsecond" },
        { "name": "ns", "type": "timestamp", "unit": "nanosecond" },
        { "name": "j", "type": "json" },
        { "name": "raw", "type": "binary" },
        { "name": "list", "type": "list", "required": true, "items": { "type": "json", "required": true } },
        { "name": "object", "type": "struct", "fields": [{ "name": "t", "type": "string", "required": true }] },
    ]);
    let reader = ParquetRecordBatchReaderBuilder::try_new(file(&decode::<&str>(&schema(&kinds), &[]).0)).unwrap();
    let mut text = Vec::new();
    ::parquet::schema::printer::print_schema(&mut text, reader.parquet_schema().root_schema());
    let expected = "\
message arrow_schema {
  REQUIRED BOOLEAN b;
  OPTIONAL INT32 i32;
  OPTIONAL INT32 u32 (INTEGER(32,false));
  OPTIONAL INT64 u64 (INTEGER(64,false));
  OPTIONAL FLOAT f32;
  OPTIONAL INT32 d9 (DECIMAL(9,2));
  REQUIRED FIXED_LEN_BYTE_ARRAY (16) d38 (DECIMAL(38,38));
  OPTIONAL INT64 s (TIMESTAMP(MILLIS,true));
  OPTIONAL INT64 ms (TIMESTAMP(MILLIS,true));
  OPTIONAL INT64 us (TIMESTAMP(MICROS,true));
  OPTIONAL INT64 ns (TIMESTAMP(NANOS,true));
  OPTIONAL BYTE_ARRAY j (JSON);
  OPTIONAL BYTE_ARRAY raw;
  REQUIRED group list (LIST) {
    REPEATED group list {
      REQUIRED BYTE_ARRAY item (JSON);
    }
  }
  OPTIONAL group object {
    REQUIRED BYTE_ARRAY t (STRING);
  }
  OPTIONAL BYTE_ARRAY _rest (JSON);
}
";
    assert_eq!(String::from_utf8(text).unwrap(), expected);
}

#[track_caller]
fn no_schema(fields: &Value, expected: &str) {
    let error = serde_json::from_value::<DeclaredSchema>(json!({ "fields": fields })).unwrap_err().to_string();
    assert!(error.starts_with(expected), "{error}");
}

#[test]
fn what_is_no_schema_is_refused_with_the_field() {
    no_schema(&json!([]), "schema field at the top: name at least one field");
    no_schema(&json!([{ "name": "_rest", "type": "json" }]), "schema field _rest: the name is taken");
    no_schema(&json!([{ "type": "bool" }]), "schema field ?: give every field a name");
    no_schema(&json!([{ "name": "", "type": "bool" }]), "schema field at the top: use names of 1 to 255 bytes");
    no_schema(&json!([{ "name": "a\nb", "type": "bool" }]), "schema field a\nb: use names of 1 to 255 bytes");
    no_schema(&json!([{ "name": "a".repeat(256), "type": "bool" }]), "schema field aaa");
    let cases = [
        (json!({ "type": "struct" }), "schema field a: name at least one field"),
        (
            json!({ "type": "struct", "fields": [{ "name": "b", "type": "bool" }, { "name": "b", "type": "bool" }] }),
            "schema field a.b: the name stands twice",
        ),
        (json!({ "type": "list" }), "schema field a: a list needs items"),
        (json!({ "type": "list", "items": { "type": "date" } }), "schema field a[]: the type is not known"),
        (json!({ "type": "decimal128" }), "schema field a: a decimal128 needs a precision"),
        (json!({ "type": "decimal128", "precision": 0 }), "schema field a: use a precision of 1 to 38"),
        (json!({ "type": "decimal128", "precision": 39 }), "schema field a: use a precision of 1 to 38"),
        (json!({ "type": "decimal128", "precision": 5, "scale": 6 }), "schema field a: use a precision of 1 to 38"),
        (json!({ "type": "bool", "unit": "second" }), "schema field a: only a timestamp has a unit"),
        (json!({ "type": "bool", "items": { "type": "bool" } }), "schema field a: only a list has items"),
        (json!({ "type": "bool", "fields": [] }), "schema field a: only a struct has fields"),
        (json!({ "type": "bool", "scale": 1 }), "schema field a: only a decimal128 has precision"),
        (json!({ "type": "timestamp", "unit": "day" }), "unknown variant `day`"),
        (json!({ "type": "bool", "colour": 1 }), "unknown field `colour`"),
    ];
    for (mut field, expected) in cases {
        field["name"] = "a".into();
        no_schema(&json!([field]), expected);
    }
    let many: Vec<Value> = (0..1_001).map(|n| json!({ "name": format!("f{n}"), "type": "bool" })).collect();
    no_schema(&json!(many), "schema field f1000: use at most 1000 fields");
    let long: Vec<Value> = (0..126).map(|n| json!({ "name": format!("{n:0255}"), "type": "bool" })).collect();
    no_schema(&json!(long), "schema field 00");
    let mut deep = json!({ "type": "bool" });
    for _ in 0..16 {
        deep = json!({ "type": "list", "items": deep });
    }
    deep["name"] = "a".into();
    no_schema(&json!([deep]), "schema field a[][][][][][][][][][][][][][][][]: nest structs and lists at most 16");
    let odd = json!({ "fields": [{ "name": "a", "type": "bool" }], "timestamp_format": "iso" });
    let error = serde_json::from_value::<DeclaredSchema>(odd).unwrap_err().to_string();
    assert_eq!(error, "timestamp format iso: use rfc3339 or unix_millis, or leave it out for both");
}

#[tokio::test]
async fn the_largest_schema_allowed_fits_the_row_of_its_output_twice() {
    let name_bytes = check::NAMES_BYTES_MAX / check::FIELDS_MAX;
    let field = |n: usize| DeclaredField {
        name: format!("{n:0name_bytes$}"),
        value: DeclaredValue { kind: DeclaredType::Decimal { precision: 38, scale: 38 }, required: true },
    };
    let fields = (0..check::FIELDS_MAX).map(field).collect();
    let schema = DeclaredSchema::new(fields, UnknownFields::Drop, TimestampFormat::UnixMillis).unwrap();
    let mut spec = crate::OutputSpec::new("events".parse().unwrap());
    spec.schema = Some(schema);
    spec.prefix = "p".repeat(256);
    let next = Some(spec.clone());
    let record =
        OutputRecord { id: crate::PipelineId::random(), name: "clicks".parse().unwrap(), spec, next, pipeline: None };
    let store = Store::new(Arc::new(MemoryEngine::new()));
    let key = (record.id, record.id);
    let mut txn = store.begin().await.unwrap();
    OUTPUTS.put(&mut txn, &key, &record).unwrap();
    txn.commit().await.unwrap();
    let mut txn = store.begin().await.unwrap();
    assert_eq!(OUTPUTS.get(&mut txn, &key).await.unwrap(), Some(record));
}

proptest! {
    #[test]
    fn a_schema_comes_back_from_json_as_it_was(schema in any_schema()) {
        let text = serde_json::to_string(&schema).unwrap();
        prop_assert_eq!(serde_json::from_str::<DeclaredSchema>(&text).unwrap(), schema, "{}", text);
    }

    #[test]
    fn events_that_fit_come_back_from_the_file(schema in any_schema(), seeds in prop::collection::vec(any::<u64>(), 1..8)) {
        let made: Vec<(String, Value)> = seeds.iter().map(|seed| fitting_event(&schema, &mut Dice::new(*seed))).collect();
        let events: Vec<&str> = made.iter().map(|(event, _)| event.as_str()).collect();
        let (batch, refused) = decode(&schema, &events);
        prop_assert_eq!(refused, vec![], "{:?}", events);
        let expected: Vec<Value> = made.iter().map(|(_, row)| row.clone()).collect();
        prop_assert_eq!(back(&batch), expected, "{:?}", events);
    }

    #[test]
    fn every_event_is_a_row_or_a_dead_letter_and_dead_letters_leave_no_trace(
        schema in any_schema(), others in any_schema(), seeds in prop::collection::vec(any::<(bool, u64)>(), 1..12)
    ) {
        let event = |(fits, seed): &(bool, u64)| fitting_event(if *fits { &schema } else { &others }, &mut Dice::new(*seed)).0;
        let events: Vec<String> = seeds.iter().map(event).collect();
        let (batch, refused) = decode(&schema, &events);
        prop_assert_eq!(batch.num_rows() + refused.len(), events.len());
        let families = ["missing_field: ", "type_mismatch: ", "parse_failure: ", "null_value: "];
        for (number, reason) in &refused {
            prop_assert!(!seeds[*number].0 && families.iter().any(|family| reason.starts_with(family)), "{}", reason);
        }
        let is_refused = |number: &usize| refused.iter().any(|(refused, _)| refused == number);
        let accepted: Vec<&str> = (0..events.len()).filter(|n| !is_refused(n)).map(|n| events[n].as_str()).collect();
        let (alone, refused_alone) = decode(&schema, &accepted);
        prop_assert_eq!(refused_alone, vec![]);
        prop_assert_eq!(&alone, &batch);
        prop_assert_eq!(back(&batch).len(), batch.num_rows());
        let (chunks, dead) = lines(&mut batch_of(&events), &schema);
        prop_assert_eq!(memchr::memchr_iter(b'\n', &chunks.concat()).count(), accepted.len());
        prop_assert_eq!(dead.count(), refused.len() as u64);
    }

    #[test]
    fn damaged_events_never_panic(schema in any_schema(), seed: u64, at: prop::sample::Index, with: u8) {
        let mut bytes = fitting_event(&schema, &mut Dice::new(seed)).0.into_bytes();
        let at = at.index(bytes.len());
        bytes[at] = with;
        let mut columns = Columns::new(&schema);
        drop(columns.push(&bytes));
        drop(columns.push(&bytes[..at]));
        let rows = columns.finish(&schema);
        prop_assert!(std::str::from_utf8(&bytes).is_err() || rows.is_ok());
    }
}
