//! Which SQL is work on single rows: one stream, SELECT, WHERE, WITH and subqueries in FROM. All else is refused by the name
//! of its clause. Clauses that the parser learns later are refused too where they are fields of what is checked here.

use crate::error::SHAPE;
use crate::graph::{Outline, StepKind};
use crate::nesting::{CALLS_DEPTH_MAX, DEPTH_MAX};
use crate::script::SELECTS_MAX;
use crate::{Error, Result};
use datafusion_sql::sqlparser::ast::{
    BinaryOperator, Expr, Function, GroupByExpr, Ident, Insert, ObjectName, Query, Select, SelectItem, SetExpr,
    Statement, TableAlias, TableFactor, TableObject, TableWithJoins, Visit, VisitMut, Visitor, VisitorMut,
};
use std::collections::HashSet;
use std::ops::ControlFlow;

/// The longest name that a column without one gets.
const COLUMN_NAME_BYTES_MAX: usize = 200;
/// Functions that look at several rows, to say so rather than "unknown".
const AGGREGATES: [&str; 20] = [
    "count",
    "sum",
    "avg",
    "mean",
    "min",
    "max",
    "median",
    "stddev",
    "var",
    "array_agg",
    "string_agg",
    "bool_and",
    "bool_or",
    "first_value",
    "last_value",
    "row_number",
    "rank",
    "dense_rank",
    "lag",
    "lead",
];

/// What is known of a statement without its stream.
pub(crate) struct Checked {
    pub(crate) stream: String,
    pub(crate) outline: Vec<Outline>,
}

/// The rows of a query: where they come from and what is done with them.
#[derive(Clone)]
struct Chain {
    stream: String,
    outline: Vec<Outline>,
}

pub(crate) fn unsupported(clause: &str) -> Error {
    Error::Unsupported { clause: clause.to_owned(), instead: SHAPE.to_owned() }
}

fn refuse(clauses: &[(bool, &str)]) -> Result<()> {
    match clauses.iter().find(|(present, _)| *present) {
        Some((_, clause)) => Err(unsupported(clause)),
        None => Ok(()),
    }
}

/// What kind of statement it is.
pub(crate) fn first_word(statement: &Statement) -> String {
    let text = statement.to_string();
    text.split_whitespace().next().unwrap_or("the statement").to_owned()
}

/// The sink and the query of an INSERT.
pub(crate) fn insert(insert: Insert) -> Result<(Option<String>, Box<Query>)> {
    refuse(&[
        (!insert.into, "INSERT without INTO"),
        (insert.or.is_some() || insert.ignore || insert.replace_into || insert.overwrite, "INSERT OR"),
        (insert.table_alias.is_some() || insert.insert_alias.is_some(), "an alias of the sink"),
        (!insert.columns.is_empty() || !insert.after_columns.is_empty(), "a list of columns after the sink"),
        (!insert.assignments.is_empty(), "INSERT .. SET"),
        (insert.partitioned.is_some(), "PARTITION"),
        (insert.on.is_some(), "ON CONFLICT"),
        (insert.returning.is_some() || insert.output.is_some(), "RETURNING"),
        (insert.settings.is_some() || insert.format_clause.is_some(), "FORMAT"),
    ])?;
    let TableObject::TableName(name) = &insert.table else {
        return Err(unsupported("a function as sink"));
    };
    let sink = single_name(name)?;
    let source = insert.source.ok_or_else(|| unsupported("INSERT without SELECT"))?;
    Ok((Some(sink), source))
}

/// The statement's stream and steps.
pub(crate) fn check(query: &Query) -> Result<Checked> {
    let mut checker = Checker::default();
    let chain = checker.query(query)?;
    if checker.selects > SELECTS_MAX {
        return Err(Error::TooManySelects { count: checker.selects });
    }
    if let Some(second) = checker.streams.iter().find(|name| **name != chain.stream) {
        return Err(Error::SeveralStreams { first: chain.stream, second: second.clone() });
    }
    Ok(Checked { stream: chain.stream, outline: chain.outline })
}

#[derive(Default)]
struct Checker {
    /// Names of WITH that can be seen, the nearest last.
    named: Vec<(String, Chain)>,
    streams: Vec<String>,
    selects: usize,
    depth: usize,
    calls: usize,
}

impl Checker {
    fn query(&mut self, query: &Query) -> Result<Chain> {
        refuse(&[
            (query.order_by.is_some(), "ORDER BY"),
            (query.limit_clause.is_some(), "LIMIT"),
            (query.fetch.is_some(), "FETCH"),
            (!query.locks.is_empty() || query.for_clause.is_some(), "FOR"),
            (query.settings.is_some() || query.format_clause.is_some(), "FORMAT"),
            (!query.pipe_operators.is_empty(), "|>"),
        ])?;
        let visible = self.named.len();
        if let Some(with) = &query.with {
            refuse(&[(with.recursive, "WITH RECURSIVE")])?;
            for named in &with.cte_tables {
                let chain = self.query(&named.query)?;
                self.named.push((named.alias.name.value.clone(), chain));
            }
        }
        let chain = match query.body.as_ref() {
            SetExpr::Select(select) => self.select(select),
            SetExpr::Query(inner) => self.query(inner),
            SetExpr::SetOperation { op, .. } => Err(unsupported(&op.to_string())),
            SetExpr::Values(_) => Err(unsupported("VALUES")),
            SetExpr::Table(_) => Err(unsupported("TABLE")),
            SetExpr::Insert(_) | SetExpr::Update(_) | SetExpr::Delete(_) | SetExpr::Merge(_) => {
                Err(unsupported("a statement that writes within another"))
            }
        };
        self.named.truncate(visible);
        chain
    }

    fn select(&mut self, select: &Select) -> Result<Chain> {
        self.selects += 1;
        refuse_clauses(select)?;
        let [from] = select.from.as_slice() else {
            let clause = if select.from.is_empty() { "SELECT without FROM" } else { "a join" };
            return Err(unsupported(clause));
        };
        let mut chain = self.from(from)?;
        let mut found = Expressions::default();
        if let Some(condition) = &select.selection {
            found.visit(condition)?;
            if found.unnests > 0 {
                return Err(not_here(
                    "UNNEST in WHERE",
                    "put it in a subquery: WHERE sees its rows in the SELECT around",
                ));
            }
            chain.outline.push(Outline::new(StepKind::Filter, &condition.to_string()));
        }
        let mut names = HashSet::new();
        for item in &select.projection {
            match item {
                SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } => found.visit(expr)?,
                SelectItem::Wildcard(_) | SelectItem::QualifiedWildcard(..) => {}
                SelectItem::ExprWithAliases { .. } => return Err(unsupported("several names of one column")),
            }
            if let Some(name) = name_of(item)
                && let Some(column) = names.replace(name)
            {
                return Err(Error::DuplicateColumn { column });
            }
        }
        if found.unnests > 1 {
            return Err(not_here("a second UNNEST in one SELECT", "put the first one in a subquery"));
        }
        if found.unnests == 1 {
            chain.outline.push(Outline::new(StepKind::Unnest, "one row for each element of a list"));
        }
        self.depth += found.depth_max;
        self.calls += found.calls_max;
        if self.depth > DEPTH_MAX || self.calls > CALLS_DEPTH_MAX {
            return Err(Error::TooDeep);
        }
        let columns: Vec<String> = select.projection.iter().map(ToString::to_string).collect();
        chain.outline.push(Outline::new(StepKind::Projection, &columns.join(", ")));
        Ok(chain)
    }

    fn from(&mut self, from: &TableWithJoins) -> Result<Chain> {
        refuse(&[(!from.joins.is_empty(), "JOIN")])?;
        match &from.relation {
            TableFactor::Table {
                name,
                alias,
                args,
                with_hints,
                version,
                with_ordinality,
                partitions,
                json_path,
                sample,
                index_hints,
            } => {
                refuse(&[
                    (args.is_some(), "a table function"),
                    (!with_hints.is_empty() || !index_hints.is_empty(), "a hint"),
                    (version.is_some(), "AS OF"),
                    (*with_ordinality, "WITH ORDINALITY"),
                    (!partitions.is_empty() || json_path.is_some(), "a part of a stream"),
                    (sample.is_some(), "TABLESAMPLE"),
                ])?;
                plain_alias(alias.as_ref())?;
                let name = single_name(name)?;
                if let Some((_, chain)) = self.named.iter().rev().find(|(named, _)| *named == name) {
                    return Ok(chain.clone());
                }
                self.streams.push(name.clone());
                Ok(Chain { outline: vec![Outline::new(StepKind::Source, &name)], stream: name })
            }
            TableFactor::Derived { lateral, subquery, alias, sample } => {
                refuse(&[(*lateral, "LATERAL"), (sample.is_some(), "TABLESAMPLE")])?;
                plain_alias(alias.as_ref())?;
                self.query(subquery)
            }
            TableFactor::UNNEST { .. } => Err(not_here("UNNEST in FROM", "write SELECT UNNEST(list) FROM stream")),
            TableFactor::NestedJoin { .. } => Err(unsupported("JOIN")),
            _ => Err(unsupported("a table function")),
        }
    }
}

fn not_here(clause: &str, instead: &str) -> Error {
    Error::Unsupported { clause: clause.to_owned(), instead: instead.to_owned() }
}

fn refuse_clauses(select: &Select) -> Result<()> {
    let grouped = match &select.group_by {
        GroupByExpr::All(_) => true,
        GroupByExpr::Expressions(by, modifiers) => !by.is_empty() || !modifiers.is_empty(),
    };
    refuse(&[
        (select.distinct.is_some(), "DISTINCT"),
        (select.top.is_some(), "TOP"),
        (select.into.is_some(), "SELECT INTO"),
        (!select.lateral_views.is_empty(), "LATERAL VIEW"),
        (select.prewhere.is_some(), "PREWHERE"),
        (!select.connect_by.is_empty(), "CONNECT BY"),
        (grouped, "GROUP BY"),
        (!select.cluster_by.is_empty(), "CLUSTER BY"),
        (!select.distribute_by.is_empty(), "DISTRIBUTE BY"),
        (!select.sort_by.is_empty(), "SORT BY"),
        (select.having.is_some(), "HAVING"),
        (!select.named_window.is_empty(), "WINDOW"),
        (select.qualify.is_some(), "QUALIFY"),
        (select.value_table_mode.is_some() || select.select_modifiers.is_some(), "a modifier of SELECT"),
        (select.exclude.is_some(), "EXCLUDE behind the columns"),
        (select.projection.is_empty(), "SELECT without columns"),
    ])
}

fn plain_alias(alias: Option<&TableAlias>) -> Result<()> {
    refuse(&[(alias.is_some_and(|alias| !alias.columns.is_empty()), "a list of columns behind an alias")])
}

fn single_name(name: &ObjectName) -> Result<String> {
    match name.0.as_slice() {
        [part] => part.as_ident().map(|ident| ident.value.clone()).ok_or_else(|| unsupported("a function as name")),
        _ => Err(not_here(&format!("the name {name}"), "streams and sinks have names of one part")),
    }
}

/// What stands in the expressions of one SELECT.
#[derive(Default)]
struct Expressions {
    unnests: usize,
    depth: usize,
    depth_max: usize,
    calls: usize,
    calls_max: usize,
}

impl Expressions {
    fn visit(&mut self, expr: &Expr) -> Result<()> {
        match Visit::visit(expr, self) {
            ControlFlow::Continue(()) => Ok(()),
            ControlFlow::Break(error) => Err(error),
        }
    }

    fn function(&mut self, function: &Function) -> Result<()> {
        let name = function.name.to_string().to_ascii_lowercase();
        refuse(&[
            (function.over.is_some(), "OVER"),
            (function.filter.is_some(), "FILTER"),
            (!function.within_group.is_empty(), "WITHIN GROUP"),
            (function.null_treatment.is_some(), "IGNORE NULLS"),
        ])?;
        if AGGREGATES.contains(&name.as_str()) {
            return Err(unsupported(&format!("{name}(), which looks at several rows,")));
        }
        self.unnests += usize::from(name == "unnest");
        Ok(())
    }
}

impl Visitor for Expressions {
    type Break = Error;

    fn pre_visit_query(&mut self, _query: &Query) -> ControlFlow<Error> {
        ControlFlow::Break(not_here("a subquery in an expression", "subqueries stand in FROM"))
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<Error> {
        self.depth += 1;
        self.depth_max = self.depth_max.max(self.depth);
        self.calls += usize::from(is_call(expr));
        self.calls_max = self.calls_max.max(self.calls);
        if self.depth > DEPTH_MAX || self.calls > CALLS_DEPTH_MAX {
            return ControlFlow::Break(Error::TooDeep);
        }
        if let Expr::Function(function) = expr
            && let Err(error) = self.function(function)
        {
            return ControlFlow::Break(error);
        }
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expr: &Expr) -> ControlFlow<Error> {
        self.depth -= 1;
        self.calls -= usize::from(is_call(expr));
        ControlFlow::Continue(())
    }
}

/// Whether the planner makes a call of it. A chain of `->` is one call, unless its right side is an expression.
fn is_call(expr: &Expr) -> bool {
    match expr {
        Expr::Function(_)
        | Expr::Trim { .. }
        | Expr::Substring { .. }
        | Expr::Position { .. }
        | Expr::Extract { .. }
        | Expr::Overlay { .. }
        | Expr::Ceil { .. }
        | Expr::Floor { .. }
        | Expr::Array(_)
        | Expr::Struct { .. }
        | Expr::Dictionary(_)
        | Expr::Map(_) => true,
        Expr::BinaryOp {
            op: BinaryOperator::Arrow | BinaryOperator::LongArrow | BinaryOperator::Question,
            right,
            ..
        } => {
            matches!(right.as_ref(), Expr::Nested(_))
        }
        _ => false,
    }
}

/// The column's name where the text tells it.
fn name_of(item: &SelectItem) -> Option<String> {
    match item {
        SelectItem::UnnamedExpr(Expr::Identifier(name)) => Some(name.value.clone()),
        SelectItem::UnnamedExpr(Expr::CompoundIdentifier(names)) => names.last().map(|name| name.value.clone()),
        SelectItem::UnnamedExpr(expr) => Some(shortened(expr.to_string(), COLUMN_NAME_BYTES_MAX)),
        SelectItem::ExprWithAlias { alias, .. } => Some(alias.value.clone()),
        _ => None,
    }
}

/// Columns without a name are called as they are written, and fields of structs by their own name.
pub(crate) fn name_columns(query: &mut Query) {
    let done: ControlFlow<()> = VisitMut::visit(query, &mut Namer);
    debug_assert!(done.is_continue(), "nothing stops it");
}

struct Namer;

impl VisitorMut for Namer {
    type Break = ();

    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<()> {
        for item in &mut select.projection {
            if let (Some(name), SelectItem::UnnamedExpr(expr)) = (name_of(item), &*item)
                && !matches!(expr, Expr::Identifier(_))
            {
                *item = SelectItem::ExprWithAlias { expr: expr.clone(), alias: Ident::with_quote('"', name) };
            }
        }
        ControlFlow::Continue(())
    }
}

/// At most so many bytes of it.
pub(crate) fn shortened(mut text: String, bytes: usize) -> String {
    if text.len() > bytes {
        text.truncate(text.floor_char_boundary(bytes));
    }
    text
}
