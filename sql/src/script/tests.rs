//! Which texts are statements, and what is said of those that are not.

use super::*;
use crate::fixture::{everything, plan};
use crate::nesting::CALLS_DEPTH_MAX;

#[track_caller]
fn refused(sql: &str) -> Error {
    match Script::parse(sql) {
        Ok(_) => panic!("{sql} is taken"),
        Err(error) => error,
    }
}

#[test]
fn statements_have_streams_and_sinks() {
    for (sql, expected) in [
        ("SELECT * FROM s", vec![(None, "s")]),
        ("SELECT * FROM s;", vec![(None, "s")]),
        ("insert into Sink select a from Events e where e.a > 1", vec![(Some("Sink"), "Events")]),
        ("INSERT INTO a SELECT * FROM s; INSERT INTO b SELECT * FROM t;", vec![(Some("a"), "s"), (Some("b"), "t")]),
        ("WITH q AS (SELECT a FROM s) SELECT a FROM q", vec![(None, "s")]),
        ("INSERT INTO x WITH q AS (SELECT a FROM s), r AS (SELECT a FROM q) SELECT a FROM r", vec![(Some("x"), "s")]),
        ("WITH s AS (SELECT * FROM s) SELECT * FROM s", vec![(None, "s")]),
        ("SELECT a FROM (SELECT a FROM (SELECT * FROM s) AS i) AS o", vec![(None, "s")]),
        ("(SELECT a FROM s)", vec![(None, "s")]),
        (r#"SELECT a FROM "odd name""#, vec![(None, "odd name")]),
        ("-- a comment\nSELECT a /* another */ FROM s", vec![(None, "s")]),
    ] {
        let script = Script::parse(sql).unwrap_or_else(|error| panic!("{sql}: {error}"));
        let found: Vec<_> = script.statements().iter().map(|one| (one.sink(), one.stream())).collect();
        assert_eq!(found, expected, "{sql}");
    }
}

#[test]
fn clauses_that_look_at_several_rows_are_named() {
    for (sql, clause) in [
        ("SELECT a FROM s ORDER BY a", "ORDER BY"),
        ("SELECT a FROM s LIMIT 1", "LIMIT"),
        ("SELECT a FROM s OFFSET 1", "LIMIT"),
        ("SELECT a FROM s FETCH FIRST ROW ONLY", "FETCH"),
        ("SELECT a FROM s FOR UPDATE", "FOR"),
        ("SELECT DISTINCT a FROM s", "DISTINCT"),
        ("SELECT a FROM s GROUP BY a", "GROUP BY"),
        ("SELECT a FROM s HAVING a > 1", "HAVING"),
        ("SELECT count(*) FROM s", "count(), which looks at several rows,"),
        ("SELECT Sum(a) FROM s", "sum(), which looks at several rows,"),
        ("SELECT foo(a) OVER (ORDER BY a) FROM s", "OVER"),
        ("SELECT foo(a) FILTER (WHERE a > 1) FROM s", "FILTER"),
        ("SELECT a FROM s JOIN t ON s.a = t.a", "JOIN"),
        ("SELECT a FROM s, t", "a join"),
        ("SELECT 1", "SELECT without FROM"),
        ("SELECT a FROM s UNION SELECT a FROM s", "UNION"),
        ("SELECT a FROM s INTERSECT SELECT a FROM s", "INTERSECT"),
        ("VALUES (1)", "VALUES"),
        ("WITH RECURSIVE q AS (SELECT a FROM s) SELECT a FROM q", "WITH RECURSIVE"),
        ("SELECT a FROM generate_series(1, 10)", "a table function"),
        ("SELECT a FROM UNNEST(b) AS a", "UNNEST in FROM"),
        ("SELECT a FROM s WHERE unnest(b) = 1", "UNNEST in WHERE"),
        ("SELECT unnest(a), unnest(b) FROM s", "a second UNNEST in one SELECT"),
        ("SELECT unnest(unnest(a)) FROM s", "a second UNNEST in one SELECT"),
        ("SELECT (SELECT a FROM s) FROM s", "a subquery in an expression"),
        ("SELECT a FROM s WHERE a IN (SELECT a FROM s)", "a subquery in an expression"),
        ("SELECT a FROM s WHERE EXISTS (SELECT a FROM s)", "a subquery in an expression"),
        ("SELECT a FROM x.s", "the name x.s"),
        ("SELECT a FROM s AS q(b)", "a list of columns behind an alias"),
        ("SELECT a INTO t FROM s", "SELECT INTO"),
        ("INSERT INTO x (a) SELECT a FROM s", "a list of columns after the sink"),
        ("INSERT INTO x VALUES (1)", "VALUES"),
        ("INSERT INTO x SELECT a FROM s ON CONFLICT DO NOTHING", "ON CONFLICT"),
        ("INSERT INTO x SELECT a FROM s RETURNING a", "RETURNING"),
        ("DROP TABLE s", "DROP"),
        ("CREATE TABLE s (a INT)", "CREATE"),
        ("UPDATE s SET a = 1", "UPDATE"),
        ("DELETE FROM s", "DELETE"),
        ("COPY s TO 'x'", "COPY"),
        ("SET a = 1", "SET"),
        ("EXPLAIN SELECT a FROM s", "EXPLAIN"),
    ] {
        match refused(sql) {
            Error::Unsupported { clause: found, instead } => {
                assert_eq!(found, clause, "{sql}");
                assert!(!instead.is_empty(), "{sql}");
            }
            other => panic!("{sql}: {other}"),
        }
    }
}

#[test]
fn texts_that_are_no_sql_say_where() {
    for (sql, line, column) in [
        ("SELECT a\nFROM s WHERE", 2, 13),
        ("SELECT a b c FROM s", 1, 12),
        ("SELECT a\nFROM s WHERE )", 2, 14),
        ("SELECT 'a", 1, 8),
        ("FOO", 1, 1),
    ] {
        match refused(sql) {
            Error::Syntax { line: l, column: c, message } => {
                assert_eq!((l, c), (line, column), "{sql}: {message}");
                assert!(!message.is_empty());
            }
            other => panic!("{sql}: {other}"),
        }
    }
}

#[test]
fn everything_has_a_bound() {
    let many = "INSERT INTO x SELECT a FROM s;".repeat(STATEMENTS_MAX + 1);
    assert!(matches!(refused(&many), Error::TooManyStatements { count: 21 }));
    let long = format!("SELECT a FROM s WHERE t = '{}'", "x".repeat(TEXT_BYTES_MAX));
    assert!(matches!(refused(&long), Error::TextTooLong { .. }));
    let nested = format!("SELECT a FROM {}s{}", "(SELECT a FROM ".repeat(40), ")".repeat(40));
    let error = refused(&nested);
    assert!(matches!(error, Error::TooManySelects { .. } | Error::TooDeep), "{error}");
    for chain in ["a + ", "a OR ", "NOT ", "-", "a || ", "a->", "("] {
        let deep = format!("SELECT {}a AS x FROM s", chain.repeat(8_000));
        assert!(matches!(refused(&deep), Error::TooDeep | Error::Syntax { .. }), "{chain}");
    }
    for (open, close) in [("abs(", ")"), ("trim(", ")"), ("json->(", ")"), ("[", "]"), ("concat(t, ", ")")] {
        let sql = format!("SELECT {}a{} AS x FROM s", open.repeat(11), close.repeat(11));
        assert!(matches!(refused(&sql), Error::TooDeep), "{open}");
    }
    let shared = (0..6)
        .fold("SELECT a FROM s".to_owned(), |inner, _| format!("SELECT {}a AS a FROM ({inner})", "a + ".repeat(30)));
    assert!(matches!(refused(&shared), Error::TooDeep));
    assert!(matches!(refused(" ; -- nothing"), Error::Empty));
    let two = refused("SELECT a FROM s; INSERT INTO x SELECT a FROM s");
    assert!(matches!(two, Error::SinkMissing), "{two}");
    assert!(matches!(refused("WITH q AS (SELECT a FROM t) SELECT a FROM s"), Error::SeveralStreams { .. }));
}

/// As deep as may be, through planning, on the stack that a test has.
#[test]
fn what_is_allowed_is_not_too_deep_for_the_planner() {
    let schema = everything().schema();
    let functions = format!("{}a{}", "abs(".repeat(CALLS_DEPTH_MAX), ")".repeat(CALLS_DEPTH_MAX));
    for expression in [
        "a + ".repeat(95) + "a",
        "a = 1 OR ".repeat(95) + "a = 2",
        "NOT ".repeat(40) + "ok",
        functions,
        format!("t{}", " || t".repeat(95)),
        format!("{}a{}", "CASE WHEN ok THEN ".repeat(20), " END".repeat(20)),
    ] {
        let planned = plan(&format!("SELECT {expression} AS x FROM s"), &schema);
        assert!(planned.is_ok(), "{expression}: {planned:?}");
    }
}

#[test]
fn columns_without_a_name_are_called_as_they_are_written() {
    let schema = everything().schema();
    for (columns, names) in [
        ("a, merchantId", vec!["a", "merchantId"]),
        ("s.a, customer.firstName", vec!["a", "firstName"]),
        ("a + 1, UPPER(t)", vec!["a + 1", "UPPER(t)"]),
        ("json->>'s', list[1]", vec!["json ->> 's'", "list[1]"]),
        (r#"a AS "b c", t AS Text"#, vec!["b c", "Text"]),
    ] {
        let transform = plan(&format!("SELECT {columns} FROM s"), &schema).unwrap();
        let found: Vec<_> = transform.schema().fields().iter().map(|field| field.name().clone()).collect();
        assert_eq!(found, names, "{columns}");
    }
}

#[test]
fn columns_have_names_of_their_own() {
    let schema = everything().schema();
    for sql in [
        "SELECT a, t AS a FROM s",
        "SELECT a, a FROM s",
        "SELECT *, a FROM s",
        "SELECT *, t AS a FROM s",
        "SELECT x FROM (SELECT a AS x, t AS x FROM s)",
        "SELECT a, s.a FROM s",
    ] {
        let error = plan(sql, &schema).map(|_| ()).unwrap_err();
        let Error::DuplicateColumn { column } = &error else { panic!("{sql}: {error:?}") };
        assert!(column == "a" || column == "x", "{sql}: {column}");
    }
}

#[test]
fn columns_that_are_not_there_are_named_with_similar_ones() {
    let schema = everything().schema();
    let error = plan("SELECT merchantid FROM s", &schema).unwrap_err();
    assert_eq!(error.to_string(), "there is no column merchantid; did you mean merchantId?");
    let error = plan("SELECT a FROM s WHERE zzz = 1", &schema).unwrap_err();
    assert!(matches!(&error, Error::UnknownColumn { nearest, .. } if nearest.is_empty()), "{error}");
    let error = plan("SELECT q.a FROM s", &schema).unwrap_err();
    assert!(matches!(&error, Error::UnknownColumn { .. }), "{error:?}");
}

#[test]
fn statements_know_their_own_text_which_is_the_same_statement() {
    for (sql, texts) in [
        ("SELECT * FROM s", vec!["SELECT * FROM s"]),
        (" ;; SELECT a FROM s ; -- the end; really\n;", vec!["SELECT a FROM s"]),
        (
            "INSERT INTO ä SELECT 'é;' AS \"x;y\" FROM s; /* ; */ INSERT INTO b\nSELECT ';\n;' AS c -- no ;\n FROM t\n ; ",
            vec![
                "INSERT INTO ä SELECT 'é;' AS \"x;y\" FROM s",
                "/* ; */ INSERT INTO b\nSELECT ';\n;' AS c -- no ;\n FROM t",
            ],
        ),
        (
            "INSERT INTO a SELECT a FROM s;\r\nINSERT INTO b SELECT a FROM s -- c",
            vec!["INSERT INTO a SELECT a FROM s", "INSERT INTO b SELECT a FROM s -- c"],
        ),
    ] {
        let script = Script::parse(sql).unwrap_or_else(|error| panic!("{sql}: {error}"));
        let found: Vec<&str> = script.statements().iter().map(Statement::text).collect();
        assert_eq!(found, texts, "{sql}");
        for statement in script.statements() {
            let again = Script::parse(statement.text()).unwrap();
            let again = &again.statements()[0];
            assert_eq!(
                (again.sink(), again.stream(), &again.query),
                (statement.sink(), statement.stream(), &statement.query)
            );
        }
    }
}
