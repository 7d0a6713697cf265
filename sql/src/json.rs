//! JSON in SQL: columns of text with a mark, functions that read them, and the operators `->`, `->>` and `?`.

mod decimal;
mod function;
mod path;
mod scan;

use arrow_schema::extension::{EXTENSION_TYPE_METADATA_KEY, EXTENSION_TYPE_NAME_KEY};
use arrow_schema::{DataType, Field, FieldRef};
use datafusion_common::{DFSchema, Result, ScalarValue, plan_err};
use datafusion_expr::expr::ScalarFunction;
use datafusion_expr::planner::{ExprPlanner, PlannerResult, RawBinaryExpr};
use datafusion_expr::{Cast, Expr, ExprSchemable, Operator, ScalarUDF, binary_expr};
use datafusion_sql::sqlparser::ast::BinaryOperator;
use function::{JsonFunction, Kind};
use std::sync::Arc;

/// What says that a column of text holds JSON; in Parquet it becomes the logical type JSON.
const JSON_EXTENSION: &str = "arrow.json";
/// Whole numbers below this are exact as DOUBLE, and no others are read as one of them.
const EXACT_MAX: i128 = 1 << 53;

/// A column of JSON text.
pub(crate) fn field(name: &str) -> FieldRef {
    let marks = [(EXTENSION_TYPE_NAME_KEY, JSON_EXTENSION), (EXTENSION_TYPE_METADATA_KEY, "")];
    let marks = marks.map(|(key, value)| (key.to_owned(), value.to_owned()));
    Arc::new(Field::new(name, DataType::Utf8, true).with_metadata(marks.into()))
}

/// The functions that read JSON.
pub(crate) fn functions() -> Vec<Arc<ScalarUDF>> {
    Kind::PUBLIC.into_iter().map(|kind| Arc::new(JsonFunction::udf(kind))).collect()
}

/// Operators on JSON, and comparisons of what they give with numbers.
#[derive(Debug)]
pub(crate) struct JsonPlanner;

impl ExprPlanner for JsonPlanner {
    fn plan_binary_op(&self, expr: RawBinaryExpr, schema: &DFSchema) -> Result<PlannerResult<RawBinaryExpr>> {
        let kind = match expr.op {
            BinaryOperator::Arrow => Kind::Get,
            BinaryOperator::LongArrow => Kind::Text,
            BinaryOperator::Question => Kind::Contains,
            // Each would be a call within a call, which the planner does not bear.
            BinaryOperator::StringConcat if makes_list(&expr.left) || makes_list(&expr.right) => {
                return plan_err!("a chain of || on lists is not possible: use array_concat(list, list, ..)");
            }
            _ => return comparison(expr, schema),
        };
        let data_type = expr.left.get_type(schema)?;
        if !data_type.is_string() && !data_type.is_null() {
            return plan_err!("{} reads JSON, not {data_type}: its left side is JSON or text", expr.op);
        }
        // `a->>'b'::INT` is read as `a->>('b'::INT)`, which nobody means.
        if let Expr::Cast(Cast { expr: name, field }) = &expr.right
            && let Expr::Literal(ScalarValue::Utf8(_), _) = name.as_ref()
        {
            let read = call(kind, expr.left, name.as_ref().clone());
            return Ok(PlannerResult::Planned(Expr::Cast(Cast::new_from_field(Box::new(read), Arc::clone(field)))));
        }
        Ok(PlannerResult::Planned(call(kind, expr.left, expr.right)))
    }
}

fn makes_list(expr: &Expr) -> bool {
    matches!(expr, Expr::ScalarFunction(call) if ["array_append", "array_prepend", "array_concat"].contains(&call.name()))
}

/// `a -> b -> c` is one call with the path `b, c`.
fn call(kind: Kind, document: Expr, step: Expr) -> Expr {
    let mut args = match document {
        Expr::ScalarFunction(ScalarFunction { func, args }) if kind_of(&func) == Some(Kind::Get) => args,
        other => vec![other],
    };
    args.push(step);
    Expr::ScalarFunction(ScalarFunction::new_udf(Arc::new(JsonFunction::udf(kind)), args))
}

fn kind_of(function: &ScalarUDF) -> Option<Kind> {
    function.inner().downcast_ref::<JsonFunction>().map(JsonFunction::kind)
}

fn operator(op: &BinaryOperator) -> Option<Operator> {
    Some(match op {
        BinaryOperator::Eq => Operator::Eq,
        BinaryOperator::NotEq => Operator::NotEq,
        BinaryOperator::Lt => Operator::Lt,
        BinaryOperator::LtEq => Operator::LtEq,
        BinaryOperator::Gt => Operator::Gt,
        BinaryOperator::GtEq => Operator::GtEq,
        _ => return None,
    })
}

/// What was read from JSON beside a number or a truth is compared as one; text that is none gives NULL.
fn comparison(expr: RawBinaryExpr, schema: &DFSchema) -> Result<PlannerResult<RawBinaryExpr>> {
    let Some(operator) = operator(&expr.op) else {
        return Ok(PlannerResult::Original(expr));
    };
    let (left, right) = (is_json(&expr.left, schema), is_json(&expr.right, schema));
    let planned = match (left, right) {
        (true, false) => compared(&expr.right, schema)?
            .map(|kind| binary_expr(JsonFunction::call(kind, expr.left.clone()), operator, expr.right.clone())),
        (false, true) => compared(&expr.left, schema)?
            .map(|kind| binary_expr(expr.left.clone(), operator, JsonFunction::call(kind, expr.right.clone()))),
        _ => None,
    };
    Ok(planned.map_or(PlannerResult::Original(expr), PlannerResult::Planned))
}

/// As what JSON is read to be compared with the expression.
fn compared(other: &Expr, schema: &DFSchema) -> Result<Option<Kind>> {
    if let Expr::Literal(value, _) = other
        && let Ok(ScalarValue::Decimal128(Some(number), ..)) = value.cast_to(&DataType::Decimal128(38, 0))
        && value.data_type().is_integer()
    {
        return Ok(Some(if number.abs() < EXACT_MAX { Kind::AsDouble } else { Kind::AsDecimal }));
    }
    Ok(match other.get_type(schema)? {
        data_type if data_type.is_floating() => Some(Kind::AsDouble),
        data_type if data_type.is_numeric() => Some(Kind::AsDecimal),
        DataType::Boolean => Some(Kind::AsBoolean),
        _ => None,
    })
}

/// Whether it is text that was read from JSON, or a column of JSON.
fn is_json(expr: &Expr, schema: &DFSchema) -> bool {
    match expr {
        Expr::Alias(alias) => is_json(&alias.expr, schema),
        Expr::ScalarFunction(call) if kind_of(&call.func).is_some_and(Kind::is_text) => true,
        other => other.to_field(schema).is_ok_and(|(_, field)| {
            field.data_type().is_string()
                && field.metadata().get(EXTENSION_TYPE_NAME_KEY).is_some_and(|name| name == JSON_EXTENSION)
        }),
    }
}

#[cfg(test)]
mod tests;
