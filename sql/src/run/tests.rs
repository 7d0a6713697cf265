//! Batches through transforms: values, failing rows and their numbers, counts; and models that are right by looking at them.

use super::*;
use crate::fixture::{everything, numbers, plan, run, texts, unstructured};
use crate::{StepKind, UNNEST_ELEMENTS_MAX};
use arrow_array::builder::{Int64Builder, ListBuilder};
use arrow_array::{Array, Int64Array, StringArray};
use arrow_schema::{DataType, TimeUnit};
use proptest::prelude::*;

fn failed_rows(done: &Transformed) -> Vec<usize> {
    done.failed.iter().map(|failed| failed.row).collect()
}

#[test]
fn rows_pass_a_filter_and_a_projection() {
    let batch =
        numbers(&[("a", vec![Some(1), Some(2), Some(3), None]), ("b", vec![Some(10), None, Some(30), Some(40)])]);
    for (sql, expected) in [
        ("SELECT * FROM s", vec!["1|10", "2|NULL", "3|30", "NULL|40"]),
        ("SELECT b AS x, a FROM s WHERE a > 1", vec!["NULL|2", "30|3"]),
        ("SELECT a + b AS x FROM s", vec!["11", "NULL", "33", "NULL"]),
        ("SELECT 1 AS one FROM s WHERE a = 1", vec!["1"]),
        ("SELECT a FROM s WHERE false", vec![]),
        ("SELECT a FROM s WHERE NULL", vec![]),
        ("SELECT a FROM s WHERE a IS NULL OR b IS NULL", vec!["2", "NULL"]),
        ("WITH q AS (SELECT a * 2 AS d, b FROM s WHERE b > 5) SELECT d + 1 AS x FROM q WHERE d < 5", vec!["3"]),
        ("SELECT x FROM (SELECT a AS x FROM s WHERE a > 1) AS q WHERE x < 3", vec!["2"]),
        ("SELECT e.a FROM s AS e WHERE e.b = 30", vec!["3"]),
    ] {
        assert_eq!(texts(&run(sql, &batch).batch), expected, "{sql}");
    }
}

#[test]
fn what_fails_for_a_row_of_nulls_is_refused() {
    let schema = everything().schema();
    let check = |sql: &str| {
        let script = crate::Script::parse(sql).unwrap();
        Transform::check(&script.statements()[0], &schema, crate::fixture::STARTED)
    };
    for (sql, refused) in [
        ("SELECT date_trunc('month', ts) AS x FROM s", false),
        ("SELECT date_trunc('mnth', ts) AS x FROM s", true),
        ("SELECT date_part('nope', ts) AS x FROM s", true),
        ("SELECT encode(merchantId, 'hex') AS x FROM s", false),
        ("SELECT encode(merchantId, 'nope') AS x FROM s", true),
        ("SELECT CAST(merchantId AS BIGINT) AS x FROM s WHERE CAST(merchantId AS BIGINT) > 1", false),
        ("SELECT 1 / length(merchantId) AS x FROM s", false),
        ("SELECT CASE WHEN merchantId IS NULL THEN 'none' ELSE upper(merchantId) END AS x FROM s", false),
    ] {
        match check(sql) {
            Err(Error::FailsForNulls { reason }) => assert!(refused && !reason.is_empty(), "{sql}: {reason}"),
            other => assert!(!refused && other.is_ok(), "{sql}: {other:?}"),
        }
    }
}

#[test]
fn expressions_that_are_not_planned_are_named_and_not_shown_as_the_parser_has_them() {
    let script = crate::Script::parse("SELECT merchantId COLLATE \"de\" AS x FROM s").unwrap();
    let refused = Transform::check(&script.statements()[0], &everything().schema(), 0).unwrap_err().to_string();
    assert_eq!(refused, "COLLATE is not possible: columns, literals, operators and functions stand in expressions");
}

#[test]
fn names_of_streams_and_columns_are_as_written() {
    let batch = everything();
    let done =
        run("SELECT merchantId, customer.firstName AS name FROM myStream WHERE myStream.merchantId = 'm-1'", &batch);
    assert_eq!(texts(&done.batch), ["m-1|Ada"]);
}

#[test]
fn a_row_that_fails_fails_alone_and_has_the_number_of_the_input() {
    let batch = numbers(&[
        ("a", vec![Some(1), Some(2), Some(3), Some(i64::MAX), Some(5)]),
        ("b", vec![Some(1), Some(0), Some(3), Some(1), Some(0)]),
    ]);
    for (sql, rows, failed, reason) in [
        ("SELECT a / b AS x FROM s", vec!["1", "1", "9223372036854775807"], vec![1, 4], "Divide by zero"),
        ("SELECT a / b AS x FROM s WHERE a > 1", vec!["1", "9223372036854775807"], vec![1, 4], "Divide by zero"),
        ("SELECT a + b AS x FROM s WHERE b > 0", vec!["2", "6"], vec![3], "verflow"),
        ("SELECT a * 2 AS x FROM s WHERE a > 3", vec!["10"], vec![3], "verflow"),
        ("SELECT a FROM s WHERE 6 / b > 1", vec!["1", "3", "9223372036854775807"], vec![1, 4], "Divide by zero"),
        ("SELECT a FROM s WHERE b <> 0 AND a / b >= 1", vec!["1", "3", "9223372036854775807"], vec![], ""),
        ("SELECT CAST(a AS INT) AS x FROM s", vec!["1", "2", "3", "5"], vec![3], "cast"),
        ("SELECT CASE WHEN b = 0 THEN 0 ELSE a / b END AS x FROM s WHERE a < 9", vec!["1", "0", "1", "0"], vec![], ""),
        ("SELECT a / b AS x, a + 1 AS y FROM s", vec!["1|2", "1|4"], vec![1, 3, 4], ""),
        ("SELECT x / y AS z FROM (SELECT a AS x, b AS y FROM s WHERE a < 9)", vec!["1", "1"], vec![1, 4], "Divide"),
    ] {
        let done = run(sql, &batch);
        assert_eq!(texts(&done.batch), rows, "{sql}");
        assert_eq!(failed_rows(&done), failed, "{sql}");
        assert!(done.failed.iter().all(|failed| failed.reason.contains(reason)), "{sql}: {:?}", done.failed);
    }
}

#[test]
fn the_least_number_has_no_negative() {
    let done = run("SELECT -a AS x FROM s", &numbers(&[("a", vec![Some(i64::MIN), Some(1), None])]));
    assert_eq!((texts(&done.batch), failed_rows(&done)), (vec!["-1".to_owned(), "NULL".to_owned()], vec![0]));
}

#[test]
fn text_that_is_no_number_or_time_or_pattern_fails_its_row() {
    let batch = unstructured(&[r#"{"x":"1"}"#, r#"{"x":"("}"#, r#"{"x":"3"}"#]);
    for expression in ["(value->>'x')::INT", "regexp_replace('a', value->>'x', 'b')", "CAST(value->>'x' AS DOUBLE)"] {
        let done = run(&format!("SELECT {expression} AS x FROM s"), &batch);
        assert_eq!((failed_rows(&done), done.batch.num_rows()), (vec![1], 2), "{expression}");
        assert!(!done.failed[0].reason.is_empty());
    }
    assert_eq!(failed_rows(&run("SELECT to_timestamp(value->>'x') AS x FROM s", &batch)), [0, 1, 2]);
}

#[test]
fn what_fails_for_every_row_is_refused() {
    let schema = everything().schema();
    for expression in
        ["1 / 0", "a + 1 / 0", "CAST('x' AS INT)", "9223372036854775807 + 1", "t ~ '('", "to_timestamp('x')"]
    {
        let error = plan(&format!("SELECT {expression} AS x FROM s"), &schema).map(|_| ()).unwrap_err();
        assert!(matches!(error, Error::AlwaysFails { .. } | Error::Invalid { .. }), "{expression}: {error:?}");
    }
}

#[test]
fn types_that_do_not_fit_are_refused() {
    let schema = everything().schema();
    for (sql, part) in [
        ("SELECT a + ok AS x FROM s", "Int64"),
        ("SELECT a FROM s WHERE t", "oolean"),
        ("SELECT sqrt(words) AS x FROM s", "sqrt"),
        ("SELECT a->'x' AS x FROM s", "reads JSON"),
        ("SELECT unnest(a) AS x FROM s", "nnest"),
        ("SELECT extract_json(json, 'x') AS x FROM s", "no path"),
        ("SELECT INTERVAL '1 day' AS x FROM s", "cannot be stored"),
        ("SELECT a::UUID AS x FROM s", "UUID"),
    ] {
        let error = plan(sql, &schema).map(|_| ()).unwrap_err().to_string();
        assert!(error.contains(part), "{sql}: {error}");
    }
}

#[test]
fn columns_come_out_as_files_hold_them() {
    let batch = everything();
    let utc = |unit| DataType::Timestamp(unit, Some("UTC".into()));
    for (expression, expected) in [
        ("NULL", DataType::Utf8),
        ("to_timestamp_seconds(1)", utc(TimeUnit::Millisecond)),
        ("to_timestamp_micros(1)", utc(TimeUnit::Microsecond)),
        ("CAST('2026-01-01' AS TIMESTAMP)", utc(TimeUnit::Nanosecond)),
        ("arrow_cast(t, 'Utf8View')", DataType::Utf8),
        ("arrow_cast(t, 'Dictionary(Int32, Utf8)')", DataType::Utf8),
        ("arrow_cast(raw, 'LargeBinary')", DataType::Binary),
        ("upper(t)", DataType::Utf8),
    ] {
        let done = run(&format!("SELECT {expression} AS x FROM s"), &batch);
        assert_eq!(done.batch.schema().field(0).data_type(), &expected, "{expression}");
        assert!(done.failed.is_empty());
    }
}

#[test]
fn json_stays_json_where_it_is_a_column() {
    let batch = everything();
    let marked = |sql: &str| {
        let done = run(sql, &batch);
        let schema = done.batch.schema();
        schema.field(0).metadata().get("ARROW:extension:name").cloned()
    };
    for (sql, json) in [
        ("SELECT json FROM s", true),
        ("SELECT json AS other FROM s WHERE a > 1", true),
        ("SELECT json->'l' AS x FROM s", true),
        ("SELECT t::JSON AS x FROM s", true),
        ("SELECT x FROM (SELECT json->'l' AS x FROM s)", true),
        ("SELECT json->>'s' AS x FROM s", false),
        ("SELECT t AS x FROM s", false),
        ("SELECT unnest(extract_json(json, '$.l[*]'))::JSON AS x FROM s", true),
    ] {
        assert_eq!(marked(sql).as_deref(), json.then_some("arrow.json"), "{sql}");
    }
}

#[test]
fn lists_become_rows() {
    let mut lists = ListBuilder::new(Int64Builder::new());
    lists.append_value([Some(1), None]);
    lists.append_null();
    lists.append_value([]);
    lists.append_value([Some(0), Some(4)]);
    let ids: ArrayRef = Arc::new(Int64Array::from(vec![10, 11, 12, 13]));
    let batch = RecordBatch::try_from_iter([("id", ids), ("l", Arc::new(lists.finish()) as ArrayRef)]).unwrap();
    for (sql, expected, failed) in [
        ("SELECT id, unnest(l) AS x FROM s", vec!["10|1", "10|NULL", "13|0", "13|4"], vec![]),
        ("SELECT unnest(l) AS x, l FROM s WHERE id > 10", vec!["0|[0, 4]", "4|[0, 4]"], vec![]),
        ("SELECT unnest(l) + id AS x FROM s", vec!["11", "NULL", "13", "17"], vec![]),
        ("SELECT id FROM (SELECT id, unnest(l) AS x FROM s) WHERE x > 0", vec!["10", "13"], vec![]),
        // One element of the last row cannot be divided by: the row is not stored by halves.
        ("SELECT id, 4 / unnest(l) AS x FROM s", vec!["10|4", "10|NULL"], vec![3]),
        ("SELECT id / (id - 10) AS y, unnest(l) AS x FROM s", vec!["4|0", "4|4"], vec![0]),
    ] {
        let done = run(sql, &batch);
        assert_eq!(
            (texts(&done.batch), failed_rows(&done)),
            (expected.iter().map(ToString::to_string).collect(), failed),
            "{sql}"
        );
    }
}

#[test]
fn unnest_has_bounds() {
    let batch = numbers(&[("n", vec![Some(2), Some(i64::try_from(UNNEST_ELEMENTS_MAX).unwrap() + 1)])]);
    let done = run("SELECT unnest(range(0, n)) AS x FROM s", &batch);
    assert_eq!((done.batch.num_rows(), failed_rows(&done)), (2, vec![1]));
    let done = run("SELECT repeat('a', n) AS t, unnest(range(0, n - 1)) AS x FROM s", &batch);
    assert_eq!((done.batch.num_rows(), failed_rows(&done)), (1, vec![1]));
}

#[test]
fn a_batch_that_grows_too_large_is_to_be_made_smaller() {
    let batch = numbers(&[("n", vec![Some(15_000_000); 20])]);
    let transform = plan("SELECT repeat('a', n) AS x FROM s", &batch.schema()).unwrap();
    assert_eq!(transform.run(&batch).unwrap_err(), Error::OutputTooLarge);
    assert_eq!(transform.run(&batch.slice(0, 2)).unwrap().batch.num_rows(), 2);
    let literal = format!("SELECT '{}' AS x FROM s", "x".repeat(60_000));
    let many = numbers(&[("n", vec![Some(1); 10_000])]);
    let transform = plan(&literal, &many.schema()).unwrap();
    assert_eq!(transform.run(&many).unwrap_err(), Error::OutputTooLarge);
    let doubled = (0..30)
        .fold("SELECT repeat('a', n) AS x FROM s".to_owned(), |inner, _| format!("SELECT x || x AS x FROM ({inner})"));
    assert!(crate::Script::parse(&doubled).is_err());
}

#[test]
fn steps_are_counted() {
    let batch = numbers(&[("a", vec![Some(1), Some(2), Some(3)]), ("b", vec![Some(1), Some(0), Some(1)])]);
    let transform = plan("INSERT INTO x SELECT a / b AS c FROM s WHERE a > 1", &batch.schema()).unwrap();
    let kinds: Vec<StepKind> = transform.steps().iter().map(|step| step.kind).collect();
    assert_eq!(kinds, [StepKind::Source, StepKind::Filter, StepKind::Projection, StepKind::Sink]);
    let done = transform.run(&batch).unwrap();
    let counts: Vec<(u64, u64, u64)> =
        done.steps.iter().map(|step| (step.rows_in, step.rows_out, step.errors)).collect();
    assert_eq!(counts, [(3, 3, 0), (3, 2, 0), (2, 1, 1), (1, 1, 0)]);
}

#[test]
fn batches_with_other_columns_are_refused_and_empty_ones_pass() {
    let batch = numbers(&[("a", vec![Some(1)])]);
    let transform = plan("SELECT a FROM s", &batch.schema()).unwrap();
    let other = RecordBatch::try_from_iter([("a", Arc::new(StringArray::from(vec!["x"])) as ArrayRef)]).unwrap();
    assert_eq!(transform.run(&other).unwrap_err(), Error::OtherSchema);
    let done = transform.run(&batch.slice(0, 0)).unwrap();
    assert_eq!((done.batch.num_rows(), done.failed.len()), (0, 0));
}

#[test]
fn threads_may_share_a_transform() {
    fn shared<T: Send + Sync>() {}
    shared::<Transform>();
    shared::<crate::Script>();
}

#[test]
fn a_result_may_have_so_many_columns() {
    let batch = numbers(&[("a", vec![Some(1)])]);
    let columns = |count| (0..count).map(|index| format!("a AS c{index}")).collect::<Vec<_>>().join(",");
    assert!(plan(&format!("SELECT {} FROM s", columns(1_000)), &batch.schema()).is_ok());
    let error = plan(&format!("SELECT {} FROM s", columns(1_001)), &batch.schema()).map(|_| ()).unwrap_err();
    assert_eq!(error, Error::TooManyColumns { count: 1_001 });
}

/// An integer expression, and what it is worth for a row: `Err` where it fails.
#[derive(Debug, Clone)]
enum Model {
    A,
    B,
    Number(i64),
    Of(char, Box<Model>, Box<Model>),
}

impl Model {
    fn sql(&self) -> String {
        match self {
            Self::A => "a".to_owned(),
            Self::B => "b".to_owned(),
            Self::Number(number) => format!("({number})"),
            Self::Of(operator, left, right) => format!("({} {operator} {})", left.sql(), right.sql()),
        }
    }

    fn value(&self, a: Option<i64>, b: Option<i64>) -> Result<Option<i64>, ()> {
        let (operator, left, right) = match self {
            Self::A => return Ok(a),
            Self::B => return Ok(b),
            Self::Number(number) => return Ok(Some(*number)),
            Self::Of(operator, left, right) => (operator, left.value(a, b)?, right.value(a, b)?),
        };
        let (Some(left), Some(right)) = (left, right) else { return Ok(None) };
        let value = match operator {
            '+' => left.checked_add(right),
            '-' => left.checked_sub(right),
            '*' => left.checked_mul(right),
            _ => left.checked_div(right),
        };
        value.map(Some).ok_or(())
    }

    /// Without columns it would be refused or folded.
    fn has_column(&self) -> bool {
        match self {
            Self::A | Self::B => true,
            Self::Number(_) => false,
            Self::Of(_, left, right) => left.has_column() && right.has_column(),
        }
    }
}

fn model() -> impl Strategy<Value = Model> {
    let number = prop_oneof![-3..4_i64, Just(i64::MAX / 2)];
    let leaf = prop_oneof![3 => Just(Model::A), 3 => Just(Model::B), 1 => number.prop_map(Model::Number)];
    leaf.prop_recursive(3, 12, 2, |inner| {
        (prop::sample::select(vec!['+', '-', '*', '/']), inner.clone(), inner)
            .prop_map(|(operator, left, right)| Model::Of(operator, Box::new(left), Box::new(right)))
    })
}

fn value() -> impl Strategy<Value = Option<i64>> {
    prop_oneof![6 => (-3..4_i64).prop_map(Some), 1 => Just(None), 1 => prop::sample::select(vec![i64::MIN, i64::MAX]).prop_map(Some)]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn rows_are_those_of_a_model(
        columns in prop::collection::vec((value(), value()), 0..40),
        shown in model(),
        limit in -3..4_i64,
    ) {
        prop_assume!(shown.has_column());
        let (a, b): (Vec<_>, Vec<_>) = columns.iter().copied().unzip();
        let batch = numbers(&[("a", a), ("b", b)]);
        let sql = format!("SELECT {} AS x FROM s WHERE a > {limit}", shown.sql());
        let done = run(&sql, &batch);
        let (mut rows, mut failed) = (Vec::new(), Vec::new());
        for (row, (a, b)) in columns.iter().enumerate().filter(|(_, (a, _))| a.is_some_and(|a| a > limit)) {
            match shown.value(*a, *b) {
                Ok(value) => rows.push(value),
                Err(()) => failed.push(row),
            }
        }
        let found: Vec<Option<i64>> = done.batch.column(0).as_any().downcast_ref::<Int64Array>().unwrap().iter().collect();
        prop_assert_eq!(found, rows, "{}", sql);
        prop_assert_eq!(failed_rows(&done), failed, "{}", sql);
    }

    #[test]
    fn unnested_rows_are_those_of_a_model(
        lists in prop::collection::vec(prop::option::of(prop::collection::vec(prop::option::of(-2..3_i64), 0..4)), 0..20),
    ) {
        let mut builder = ListBuilder::new(Int64Builder::new());
        for list in &lists {
            builder.append_option(list.clone());
        }
        let ids: ArrayRef = Arc::new(Int64Array::from_iter_values((0..).take(lists.len())));
        let batch = RecordBatch::try_from_iter([("id", ids), ("l", Arc::new(builder.finish()) as ArrayRef)]).unwrap();
        let done = run("SELECT id, 6 / unnest(l) AS x FROM s", &batch);
        let (mut rows, mut failed) = (Vec::new(), Vec::new());
        for (id, list) in lists.iter().enumerate() {
            let list = list.clone().unwrap_or_default();
            if list.contains(&Some(0)) {
                failed.push(id);
                continue;
            }
            rows.extend(list.iter().map(|x| x.map_or_else(|| format!("{id}|NULL"), |x| format!("{id}|{}", 6 / x))));
        }
        prop_assert_eq!(texts(&done.batch), rows);
        prop_assert_eq!(failed_rows(&done), failed);
    }
}
