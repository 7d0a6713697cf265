//! Every function that Pipelines documents, with an expected result.

use super::*;
use crate::Error;
use crate::fixture::{everything, plan, run, texts};
use arrow_array::Array;

#[track_caller]
fn check(table: &[(&str, &str)]) {
    let batch = everything();
    let mut wrong = Vec::new();
    for (expression, expected) in table {
        let sql = format!("SELECT {expression} AS x FROM s");
        let found = match plan(&sql, &batch.schema()).and_then(|transform| transform.run(&batch)) {
            Ok(done) if done.failed.is_empty() => texts(&done.batch).concat(),
            Ok(done) => format!("failed: {}", done.failed[0].reason),
            Err(error) => format!("refused: {error}"),
        };
        if found != *expected {
            wrong.push(format!("{expression}: {found}, not {expected}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn text() {
    check(&[
        ("ascii(t)", "72"),
        ("bit_length(t)", "88"),
        ("btrim('xxaxx', 'x')", "a"),
        ("trim('  a ')", "a"),
        ("trim(BOTH 'x' FROM 'xax')", "a"),
        ("ltrim('  a')", "a"),
        ("rtrim('a  ')", "a"),
        ("chr(65)", "A"),
        ("concat(t, '!', NULL)", "Hello World!"),
        ("t || '!' || a", "Hello World!7"),
        ("t || NULL", "NULL"),
        ("concat_ws('-', t, 'x')", "Hello World-x"),
        ("ends_with(t, 'World')", "true"),
        ("starts_with(t, 'World')", "false"),
        ("find_in_set('b', 'a,b,c')", "2"),
        ("initcap('hello world')", "Hello World"),
        ("left(t, 2)", "He"),
        ("right(t, 2)", "ld"),
        ("length(t)", "11"),
        ("char_length(t)", "11"),
        ("levenshtein('kitten', 'sitting')", "3"),
        ("lower(t)", "hello world"),
        ("UPPER(t)", "HELLO WORLD"),
        ("lpad('a', 3, '*')", "**a"),
        ("rpad('a', 3, '*')", "a**"),
        ("octet_length('é')", "2"),
        ("overlay('abcdef' PLACING 'XY' FROM 2 FOR 3)", "aXYef"),
        ("repeat('ab', 3)", "ababab"),
        ("replace(t, 'World', 'you')", "Hello you"),
        ("reverse('abc')", "cba"),
        ("split_part('a.b.c', '.', 2)", "b"),
        ("strpos(t, 'World')", "7"),
        ("instr(t, 'World')", "7"),
        ("position('World' IN t)", "7"),
        ("substr(t, 7)", "World"),
        ("substring(t FROM 7 FOR 2)", "Wo"),
        ("substr_index('www.a.org', '.', 1)", "www"),
        ("to_hex(255)", "ff"),
        ("translate('abc', 'ab', 'xy')", "xyc"),
        ("length(uuid())", "36"),
        ("t LIKE 'Hello%'", "true"),
        ("t ILIKE 'hello%'", "true"),
        ("t ~ '^H.*d$'", "true"),
        ("contains(t, 'lo W')", "true"),
    ]);
}

#[test]
fn time() {
    check(&[
        ("date_bin(INTERVAL '15 minutes', ts)", "2026-03-04T05:00:00Z"),
        ("date_trunc('hour', ts)", "2026-03-04T05:00:00Z"),
        ("date_part('year', ts)", "2026"),
        ("extract(month FROM ts)", "3"),
        ("make_date(2026, 2, 1)", "2026-02-01"),
        ("to_char(ts, '%Y/%m/%d')", "2026/03/04"),
        ("to_timestamp('2026-03-04T05:06:07Z')", "2026-03-04T05:06:07Z"),
        ("to_timestamp_seconds(1)", "1970-01-01T00:00:01Z"),
        ("to_timestamp_millis(1)", "1970-01-01T00:00:00.001Z"),
        ("to_timestamp_micros(1)", "1970-01-01T00:00:00.000001Z"),
        ("to_timestamp_nanos(1)", "1970-01-01T00:00:00.000000001Z"),
        ("from_unixtime(1)", "1970-01-01T00:00:01Z"),
        ("to_unixtime(ts)", "1772600767"),
        ("now()", "2026-03-04T05:06:07.089Z"),
        ("current_date()", "2026-03-04"),
        ("ts + INTERVAL '1 day'", "2026-03-05T05:06:07.089Z"),
        ("ts > now() - INTERVAL '1 hour'", "true"),
        ("ts::VARCHAR", "2026-03-04T05:06:07.089Z"),
        ("CAST('2026-03-04 05:06:07' AS TIMESTAMP)", "2026-03-04T05:06:07Z"),
        ("TIMESTAMP '2026-03-04 05:06:07'", "2026-03-04T05:06:07Z"),
    ]);
}

#[test]
fn json() {
    check(&[
        ("json ? 's'", "true"),
        ("json_contains(json, 'l', 1, 'k')", "true"),
        ("json_contains(json, 'l', 9)", "false"),
        ("json_get(json, 'l')", r#"[1,{"k":true}]"#),
        ("json->'s'", r#""x""#),
        ("json->>'s'", "x"),
        ("json->'l'->1->>'k'", "true"),
        ("json->'l'->>1", r#"{"k":true}"#),
        ("json->>'z'", "NULL"),
        ("json->'z'", "null"),
        ("json->>'missing'", "NULL"),
        ("json_get_str(json, 's')", "x"),
        ("json_get_str(json, 'n')", "NULL"),
        ("json_get_int(json, 'l', 0)", "1"),
        ("json_get_float(json, 'n')", "7.5"),
        ("json_get_bool(json, 'l', 1, 'k')", "true"),
        ("json_get_json(json, 'l', 1)", r#"{"k":true}"#),
        ("json_as_text(json, 'n')", "7.5"),
        ("json_length(json)", "4"),
        ("json_length(json, 'l')", "2"),
        ("json_length(json, 'n')", "NULL"),
        ("extract_json(json, '$.l[*]')", r#"[1, {"k":true}]"#),
        ("extract_json_string(json, '$.s')", "x"),
        ("extract_json_string(json, '$.n')", "NULL"),
        ("(json->>'n')::DOUBLE", "7.5"),
        ("json->>'n'::DOUBLE", "7.5"),
        ("CAST(json->>'n' AS DOUBLE) + 1", "8.5"),
        ("t::JSON ->> 'a'", "NULL"),
        ("'{\"a\": 1}'::JSON -> 'a'", "1"),
    ]);
}

#[test]
fn digests_and_bytes() {
    check(&[
        ("md5('a')", "0cc175b9c0f1b6a831c399e269772661"),
        ("encode(sha224('a'), 'hex')", "abd37534c7d9a2efb9465de931cd7055ffdb8879563ae98078d6d6d5"),
        ("encode(sha256('a'), 'hex')", "ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb"),
        ("left(encode(sha384('a'), 'hex'), 8)", "54a59b9f"),
        ("left(encode(sha512('a'), 'hex'), 8)", "1f40fc92"),
        ("encode(digest('a', 'md5'), 'hex')", "0cc175b9c0f1b6a831c399e269772661"),
        ("left(encode(digest('a', 'sha256'), 'hex'), 8)", "ca978112"),
        ("left(encode(digest('a', 'blake2b'), 'hex'), 8)", "333fcb4e"),
        ("left(encode(digest('a', 'blake2s'), 'hex'), 8)", "4a0d1298"),
        ("left(encode(digest('a', 'blake3'), 'hex'), 8)", "17762fdd"),
        ("encode(raw, 'hex')", "01ff"),
        ("encode('a', 'base64')", "YQ"),
        ("decode('01ff', 'hex')", "01ff"),
        ("X'01ff'", "01ff"),
        ("raw = X'01ff'", "true"),
        ("CAST(X'61' AS VARCHAR)", "a"),
    ]);
}

#[test]
fn numbers() {
    check(&[
        ("abs(-3)", "3"),
        ("ceil(d)", "3.0"),
        ("floor(d)", "2.0"),
        ("round(d)", "3.0"),
        ("round(2.345, 2)", "2.35"),
        ("trunc(d)", "2.0"),
        ("sqrt(4)", "2.0"),
        ("power(2, 10)", "1024.0"),
        ("ln(1)", "0.0"),
        ("log10(100)", "2.0"),
        ("exp(0)", "1.0"),
        ("signum(-2.5)", "-1.0"),
        ("gcd(12, 18)", "6"),
        ("a / 2", "3"),
        ("a / 2.0", "3.5"),
        ("a % 4", "3"),
        ("-a", "-7"),
        ("a & 3", "3"),
        ("random() < 1", "true"),
        ("greatest(1, 3, 2)", "3"),
        ("least(1, 3, 2)", "1"),
    ]);
}

#[test]
fn types_lists_structs_and_choices() {
    check(&[
        ("arrow_cast(a, 'Int8')", "7"),
        ("arrow_typeof(a)", "Int64"),
        ("arrow_typeof(CAST(a AS INT))", "Int32"),
        ("arrow_typeof(CAST(a AS INTEGER))", "Int32"),
        ("arrow_typeof(a::BIGINT)", "Int64"),
        ("arrow_typeof(a::FLOAT)", "Float32"),
        ("arrow_typeof(a::REAL)", "Float32"),
        ("arrow_typeof(a::DOUBLE)", "Float64"),
        ("arrow_typeof(a::VARCHAR)", "Utf8"),
        ("arrow_typeof(a::CHAR)", "Utf8"),
        ("arrow_typeof(a::TEXT)", "Utf8"),
        ("arrow_typeof(a::STRING)", "Utf8"),
        ("arrow_typeof(t::BYTEA)", "Binary"),
        ("ok::BOOLEAN", "true"),
        ("arrow_typeof(t::JSON)", "Utf8"),
        ("arrow_typeof(list::INT[])", "List(Int32)"),
        ("list[1]", "10"),
        ("list[4]", "NULL"),
        ("list[-1]", "30"),
        ("list[2:3]", "[20, 30]"),
        ("[1, 2]", "[1, 2]"),
        ("ARRAY[1, 2]", "[1, 2]"),
        ("make_array(1, 2)", "[1, 2]"),
        ("array_length(list)", "3"),
        ("cardinality(list)", "3"),
        ("array_has(list, 20)", "true"),
        ("array_to_string(words, '-')", "x-y"),
        ("string_to_array('a,b', ',')", "[a, b]"),
        ("array_append(list, 40)", "[10, 20, 30, 40]"),
        ("list || 40", "[10, 20, 30, 40]"),
        ("array_sort(list, 'DESC')", "[30, 20, 10]"),
        ("range(0, 3)", "[0, 1, 2]"),
        ("struct(a, t)", "{c0: 7, c1: Hello World}"),
        ("struct(a, t)['c1']", "Hello World"),
        ("named_struct('n', a)", "{n: 7}"),
        ("customer.firstName", "Ada"),
        ("s.customer.age", "36"),
        ("CASE WHEN a > 5 THEN 'big' ELSE 'small' END", "big"),
        ("coalesce(NULL, t)", "Hello World"),
        ("nullif(a, 7)", "NULL"),
        ("nvl(NULL, 1)", "1"),
        ("NULL", "NULL"),
        ("a BETWEEN 5 AND 8", "true"),
        ("a IN (1, 7)", "true"),
        ("t IS NOT NULL", "true"),
    ]);
}

#[test]
fn patterns() {
    check(&[
        ("regexp_like(t, 'W.r')", "true"),
        ("regexp_replace(t, 'o', '0', 'g')", "Hell0 W0rld"),
        ("regexp_replace(t, 'o', '0')", "Hell0 World"),
        ("regexp_match(t, '(W)(o)')", "[W, o]"),
        ("regexp_count(t, 'o')", "2"),
        ("regexp_instr(t, 'o')", "5"),
    ]);
}

#[test]
fn every_growing_function_is_there() {
    let functions = Functions::new(&ConfigOptions::default());
    for (name, _) in GROWING {
        assert!(functions.get(name).is_some_and(|function| function.name() == *name), "{name}");
    }
}

/// Each asks for far more than memory has; the numbers come from a column, so nothing is known before.
#[test]
fn no_row_makes_gigabytes() {
    let batch = crate::fixture::numbers(&[("n", vec![Some(2), Some(2_000_000_000)])]);
    for expression in [
        "repeat('abc', n)",
        "lpad('a', n, 'b')",
        "rpad('a', n, 'b')",
        "array_repeat('abc', n)",
        "array_resize([1], n)",
        "array_resize([1], n, 5)",
        "range(0, n)",
        "generate_series(n)",
        "replace(repeat('a', LEAST(n, 100000)), 'a', repeat('b', LEAST(n, 10000)))",
        "regexp_replace(repeat('a', LEAST(n, 100000)), 'a', repeat('b', LEAST(n, 10000)), 'g')",
        "array_to_string(range(0, LEAST(n, 100000)), repeat('b', LEAST(n, 10000)))",
        "levenshtein(repeat('a', LEAST(n, 100000)), repeat('b', LEAST(n, 10000)))",
        "to_char(to_timestamp(1), repeat('%c', LEAST(n, 1000000)))",
        "encode(repeat('a', LEAST(n, 15000000)), 'hex')",
        "translate(repeat('a', LEAST(n, 15000000)), 'a', 'b')",
        "concat(repeat('a', LEAST(n, 15000000)), repeat('a', LEAST(n, 15000000)))",
        "concat_ws(repeat('a', LEAST(n, 8000000)), 'a', 'b', 'c')",
    ] {
        let done = run(&format!("SELECT {expression} AS x FROM s"), &batch);
        let failed: Vec<usize> = done.failed.iter().map(|failed| failed.row).collect();
        assert_eq!((failed, done.batch.num_rows()), (vec![1], 1), "{expression}");
        assert!(!done.batch.column(0).is_null(0), "{expression}");
    }
}

#[test]
fn lengths_that_are_written_out_are_refused_at_once() {
    let schema = everything().schema();
    for expression in ["repeat(t, 1000000000)", "lpad(t, 1000000000)", "array_repeat(a, 1000000000)"] {
        let error = plan(&format!("SELECT {expression} AS x FROM s"), &schema).unwrap_err();
        assert!(matches!(error, Error::ValueTooLong { bytes: 1_000_000_000, .. }), "{error}");
    }
    let error = plan("SELECT repeat('x', 1000000000) AS x FROM s", &schema).unwrap_err();
    assert!(matches!(error, Error::AlwaysFails { .. }), "{error}");
}

#[test]
fn a_function_that_is_not_there_is_named() {
    let error = plan("SELECT strposs(t, 'a') AS x FROM s", &everything().schema()).unwrap_err().to_string();
    assert!(error.contains("strposs") && error.contains("strpos"), "{error}");
}
