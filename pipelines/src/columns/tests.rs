//! The decoder held against arrow-json, and events that must leave no trace.

use super::*;
use crate::schema::{COLUMNS_MAX, Kind, SchemaField};
use arrow_json::ReaderBuilder;
use proptest::prelude::*;
use serde_json::{Map, Value};

/// Decodes the events; those that do not fit come back with their reasons.
fn decode<E: AsRef<str>>(schema: &EventSchema, events: &[E]) -> (Finished, Vec<(usize, String)>) {
    let mut columns = Columns::new(schema);
    let mut refused = Vec::new();
    for (number, event) in events.iter().enumerate() {
        if let Err(Unfit { reason, .. }) = columns.push(event.as_ref().as_bytes()) {
            refused.push((number, reason));
        }
    }
    (columns.finish().unwrap(), refused)
}

/// What arrow-json makes of the same events under the same schema.
fn reference(schema: &EventSchema, events: &[&str]) -> RecordBatch {
    let text = events.join("\n") + "\n";
    let mut decoder = ReaderBuilder::new(schema.arrow()).with_batch_size(events.len()).build_decoder().unwrap();
    assert_eq!(decoder.decode(text.as_bytes()).unwrap(), text.len());
    decoder.flush().unwrap().unwrap()
}

fn kinds(schema: &EventSchema) -> Vec<(&str, &Kind)> {
    schema.fields.iter().map(|field| (field.name.as_str(), &field.kind)).collect()
}

#[track_caller]
fn check_kind(events: &[&str], expected: Option<&Kind>) {
    let (finished, refused) = decode(&EventSchema::default(), events);
    assert_eq!(refused, [], "{events:?}");
    assert_eq!(finished.schema.fields.first().map(|field| &field.kind), expected, "{events:?}");
}

fn list(kind: Kind) -> Kind {
    Kind::List(Box::new(kind))
}

fn object(name: &str, kind: Kind) -> Kind {
    Kind::Struct(vec![SchemaField { name: name.to_owned(), kind }])
}

#[test]
fn kinds_are_inferred_and_widen_only_where_nothing_is_lost() {
    check_kind(&[r#"{"a":true}"#, r#"{"a":null}"#, "{}"], Some(&Kind::Bool));
    check_kind(&[r#"{"a":1}"#, r#"{"a":-1}"#], Some(&Kind::Int));
    check_kind(&[r#"{"a":1}"#, r#"{"a":1.5}"#, r#"{"a":2}"#], Some(&Kind::Float));
    check_kind(&[r#"{"a":1}"#, r#"{"a":18446744073709551615}"#, r#"{"a":2}"#], Some(&Kind::UInt));
    check_kind(&[r#"{"a":9223372036854775807}"#], Some(&Kind::Int));
    check_kind(&[r#"{"a":1e3}"#], Some(&Kind::Float));
    check_kind(&[r#"{"a":"2026-01-01T00:00:00Z"}"#], Some(&Kind::Text));
    check_kind(&[r#"{"a":{}}"#, r#"{"a":{"b":1}}"#], Some(&object("b", Kind::Int)));
    check_kind(&[r#"{"a":[]}"#, r#"{"a":[null,"x"]}"#], Some(&list(Kind::Text)));
    check_kind(&[r#"{"a":[[1],[2.5]]}"#], Some(&list(list(Kind::Float))));
    check_kind(&[r#"{"a":[{"b":[1]},{}]}"#], Some(&list(object("b", list(Kind::Int)))));
    check_kind(&[r#"{"a":null}"#, r#"{"a":{}}"#, r#"{"a":{"b":[]}}"#], None);
    check_kind(&[r#"{"a":[]}"#, r#"{"a":[null]}"#], None);
}

#[track_caller]
fn check_refused(events: &[&str], expected: &str) {
    let (_, refused) = decode(&EventSchema::default(), events);
    assert_eq!(refused, [(events.len() - 1, expected.to_owned())]);
}

#[test]
fn what_does_not_fit_is_refused_with_field_and_reason() {
    check_refused(&[r#"{"a":1}"#, r#"{"a":"x"}"#], "field a: a string, but the column holds integers");
    check_refused(&[r#"{"a":"x"}"#, r#"{"a":1}"#], "field a: a number, but the column holds strings");
    check_refused(
        &[r#"{"a":{"b":[1]}}"#, r#"{"a":{"b":[true]}}"#],
        "field a.b: a boolean, but the column holds integers",
    );
    check_refused(&[r#"{"a":[1]}"#, r#"{"a":{"b":1}}"#], "field a: an object, but the column holds arrays");
    check_refused(&[r#"{"a":{"b":1}}"#, r#"{"a":[1]}"#], "field a: an array, but the column holds objects");
    check_refused(&[r#"{"a":1,"a":1}"#], "field a: stands twice in the event");
    check_refused(&[r#"{"a":null,"\u0061":1}"#], "field a: stands twice in the event");
    check_refused(&[r#"{"a":[{"b":1,"b":2}]}"#], "field a.b: stands twice in the event");
    let lossy = "field a: integers over 2^53 and fractions cannot share a column without loss";
    check_refused(&[r#"{"a":9007199254740993}"#, r#"{"a":0.5}"#], lossy);
    check_refused(&[r#"{"a":0.5}"#, r#"{"a":9007199254740993}"#], lossy);
    check_refused(&[r#"{"a":18446744073709551615}"#, r#"{"a":0.5}"#], lossy);
    check_refused(
        &[r#"{"a":-1}"#, r#"{"a":18446744073709551615}"#],
        "field a: an integer over 63 bits, but the column holds negative integers",
    );
    check_refused(
        &[r#"{"a":18446744073709551615}"#, r#"{"a":-1}"#],
        "field a: a negative integer, but the column holds unsigned integers",
    );
    check_refused(&[r#"{"a":1"#], "the event is not valid JSON");
}

#[test]
fn columns_are_bounded_and_a_refused_event_does_not_use_them_up() {
    let wide = |from: usize, to: usize| {
        let fields: Vec<String> = (from..to).map(|n| format!("\"f{n}\":1")).collect();
        format!("{{{}}}", fields.join(","))
    };
    let too_many = wide(0, COLUMNS_MAX + 1);
    let just_enough = wide(0, COLUMNS_MAX);
    let one_more = wide(COLUMNS_MAX, COLUMNS_MAX + 1);
    let (finished, refused) =
        decode(&EventSchema::default(), &[too_many.as_str(), &too_many, &just_enough, &one_more, &just_enough]);
    assert_eq!(finished.schema.fields.len(), COLUMNS_MAX);
    assert_eq!(refused.iter().map(|(number, _)| *number).collect::<Vec<_>>(), [0, 1, 3]);
    assert!(refused[0].1.contains("as many columns as it may have"), "{}", refused[0].1);
}

#[test]
fn names_that_need_escapes_are_themselves() {
    let events =
        [r#"{"a\\":1}"#, r#"{"a\":7}":"secret","z":1}"#, r#"{"a\":8,\"b":1}"#, r#"{"a\\":2}"#, r#"{"\u0061\u005c":3}"#];
    let (finished, refused) = decode(&EventSchema::default(), &events);
    assert_eq!(refused, []);
    assert_eq!(finished.batch.unwrap(), reference(&finished.schema, &events));
    check_refused(&[r#"{"a":1} {"a":2}"#], "the event is not valid JSON");
}

#[test]
fn all_fields_of_mixed_types_are_told() {
    let path = |steps: &[(&str, usize)]| -> Vec<PathStep> {
        steps.iter().map(|(name, lists)| PathStep { name: (*name).to_owned(), lists: *lists }).collect()
    };
    let mut columns = Columns::new(&EventSchema::default());
    columns.push(br#"{"a":1,"b":{"c":[[{"d":1,"e":1}]]},"f":0.5}"#).unwrap();
    let unfit =
        columns.push(br#"{"a":"x","b":{"c":[[{"d":1,"e":2},{"e":"x","d":[]}]]},"f":9007199254740993}"#).unwrap_err();
    assert_eq!(unfit.reason, "field a: a string, but the column holds integers");
    let lists = [("b", 0), ("c", 2)];
    let inner = |name: &'static str| path(&[lists[0], lists[1], (name, 0)]);
    assert_eq!(unfit.mixed, [path(&[("a", 0)]), inner("e"), inner("d"), path(&[("f", 0)])]);
    let unfit = columns.push(br#"{"a":"x","f":1,"f":2}"#).unwrap_err();
    assert_eq!((unfit.reason.as_str(), unfit.mixed.len()), ("field f: stands twice in the event", 0));
    let unfit = columns.push(br#"{"new":[1,"x"]}"#).unwrap_err();
    assert_eq!(unfit.mixed, [path(&[("new", 1)])]);
}

#[test]
fn the_order_of_fields_does_not_matter() {
    let events = [r#"{"a":1,"b":"x","c":true}"#, r#"{"c":false,"a":2}"#, r#"{"b":"\u00e4","d":{"e":1},"a":3}"#];
    let (finished, refused) = decode(&EventSchema::default(), &events);
    assert_eq!(refused, []);
    assert_eq!(finished.batch.unwrap(), reference(&finished.schema, &events));
    let names: Vec<&str> = kinds(&finished.schema).into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["a", "b", "c", "d"]);
}

#[test]
fn columns_of_the_schema_stay_even_without_a_value() {
    let (first, _) = decode(&EventSchema::default(), &[r#"{"a":1.5,"b":{"c":["x"]}}"#]);
    let (second, refused) = decode(&first.schema, &[r#"{"z":1,"a":2}"#]);
    assert_eq!(refused, []);
    assert_eq!(second.schema.fields[..2], first.schema.fields);
    assert_eq!(second.schema.fields[2].name, "z");
    assert_eq!(second.batch.unwrap().num_columns(), 3);
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        3 => Just(Value::Null),
        3 => any::<bool>().prop_map(Value::from),
        6 => (-5i64..5).prop_map(Value::from),
        1 => any::<i64>().prop_map(Value::from),
        1 => any::<u64>().prop_map(Value::from),
        4 => (-50i32..50).prop_map(|n| Value::from(f64::from(n) / 4.0)),
        1 => any::<f64>().prop_map(Value::from),
        4 => "[a-c\"\\\\\n\u{e4}\u{1f600}]{0,4}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            fields(inner).prop_map(Value::Object)
        ]
    })
}

fn fields(inner: impl Strategy<Value = Value>) -> impl Strategy<Value = Map<String, Value>> {
    prop::collection::vec(("[abc\"\u{e4}]", inner), 0..4).prop_map(|fields| fields.into_iter().collect())
}

/// A value of the same shape with other leaves: what events of one pipeline mostly are to one another.
fn vary(value: &Value, salt: u64) -> Value {
    match value {
        Value::Number(number) if number.is_f64() => Value::from(f64::from(u8::try_from(salt % 100).unwrap()) / 8.0),
        Value::Number(number) if number.as_i64().is_some_and(|n| n.abs() < 100) => Value::from(salt % 100),
        Value::String(text) => Value::from(format!("{text}{salt}")),
        Value::Array(items) => {
            items.iter().cycle().take(items.len() * (salt % 3) as usize).map(|item| vary(item, salt)).collect()
        }
        Value::Object(fields) => {
            let kept = fields.iter().enumerate().filter(|(n, _)| salt >> n & 1 == 0);
            Value::Object(kept.map(|(_, (name, value))| (name.clone(), vary(value, salt / 2))).collect())
        }
        other => {
            if salt.is_multiple_of(5) {
                Value::Null
            } else {
                other.clone()
            }
        }
    }
}

/// Fields by their names: one of which only null was seen in the first half has no place there.
fn sorted(fields: Vec<SchemaField>) -> Vec<SchemaField> {
    let mut fields: Vec<SchemaField> =
        fields.into_iter().map(|field| SchemaField { kind: sorted_kind(field.kind), ..field }).collect();
    fields.sort_by(|a, b| a.name.cmp(&b.name));
    fields
}

fn sorted_kind(kind: Kind) -> Kind {
    match kind {
        Kind::Struct(fields) => Kind::Struct(sorted(fields)),
        Kind::List(item) => Kind::List(Box::new(sorted_kind(*item))),
        other => other,
    }
}

fn same_as_reference(events: &[String]) -> Result<(), TestCaseError> {
    let (finished, refused) = decode(&EventSchema::default(), events);
    let is_refused = |number: &usize| refused.iter().any(|(refused, _)| refused == number);
    let accepted: Vec<&str> = (0..events.len()).filter(|n| !is_refused(n)).map(|n| events[n].as_str()).collect();
    // Refused events leave no trace.
    let (alone, refused_alone) = decode(&EventSchema::default(), &accepted);
    prop_assert_eq!(refused_alone, vec![]);
    prop_assert_eq!(&alone.schema, &finished.schema);
    prop_assert_eq!(&alone.batch, &finished.batch);
    if let Some(batch) = &finished.batch {
        prop_assert_eq!(batch, &reference(&finished.schema, &accepted));
    }
    // Cut in two, the schema carries over.
    let (first, second) = accepted.split_at(accepted.len() / 2);
    let (first, _) = decode(&EventSchema::default(), first);
    let (second, refused) = decode(&first.schema, second);
    prop_assert_eq!(refused, vec![]);
    if !accepted.is_empty() {
        prop_assert_eq!(sorted(second.schema.fields), sorted(finished.schema.fields));
    }
    Ok(())
}

proptest! {
    #[test]
    fn any_events_decode_as_arrow_json_decodes_them(events in prop::collection::vec(fields(value()), 1..12)) {
        same_as_reference(&events.into_iter().map(|event| Value::Object(event).to_string()).collect::<Vec<_>>())?;
    }

    #[test]
    fn events_of_one_shape_decode_as_arrow_json_decodes_them(event in fields(value()), salts: Vec<u64>) {
        let event = Value::Object(event);
        let events: Vec<String> = salts.into_iter().map(|salt| vary(&event, salt).to_string()).collect();
        same_as_reference(&events)?;
    }

    #[test]
    fn damaged_events_are_refused_and_never_panic(event in fields(value()), at: prop::sample::Index, with: u8) {
        let mut bytes = Value::Object(event).to_string().into_bytes();
        let at = at.index(bytes.len());
        bytes[at] = with;
        let mut columns = Columns::new(&EventSchema::default());
        drop(columns.push(&bytes));
        drop(columns.push(&bytes[..at]));
    }
}
