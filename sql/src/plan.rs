//! From a statement and a stream's columns to operations: DataFusion plans the SELECT, coerces types and folds constants;
//! the plan is then walked from the stream to the sink and every expression becomes a physical one.

use crate::bounded::VALUE_BYTES_MAX;
use crate::context::Context;
use crate::graph::{StepKind, described};
use crate::run::{Operation, Transform};
use crate::storable::Storable;
use crate::unnest::Unnest;
use crate::{Error, Result, Statement, constant, refusal};
use arrow_array::temporal_conversions::timestamp_ms_to_datetime;
use arrow_schema::{DataType, SchemaRef};
use datafusion_common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion_common::{DFSchema, DataFusionError, ScalarValue};
use datafusion_expr::execution_props::ExecutionProps;
use datafusion_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion_expr::utils::split_conjunction;
use datafusion_expr::{Expr, LogicalPlan, Operator};
use datafusion_optimizer::analyzer::type_coercion::TypeCoercion;
use datafusion_optimizer::optimize_projections::OptimizeProjections;
use datafusion_optimizer::simplify_expressions::SimplifyExpressions;
use datafusion_optimizer::{AnalyzerRule, Optimizer, OptimizerContext};
use datafusion_physical_expr::expressions::{BinaryExpr, Literal, NegativeExpr};
use datafusion_physical_expr::{PhysicalExpr, create_physical_expr};
use datafusion_sql::planner::{ParserOptions, SqlToRel};
use datafusion_sql::sqlparser::ast::Statement as Sql;
use std::sync::Arc;

/// The most columns of a result, and of every step on the way to it.
pub const OUTPUT_COLUMNS_MAX: usize = 1_000;
/// Functions whose second argument says how long a value becomes.
const COUNTED: [&str; 5] = ["repeat", "lpad", "rpad", "array_repeat", "array_resize"];

/// A step of a transform, as planned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// What it does.
    pub kind: StepKind,
    /// With what: the stream, the condition, the columns.
    pub description: String,
}

impl Step {
    /// The kind in lower case, for metrics.
    pub fn name(&self) -> &'static str {
        self.kind.name()
    }
}

/// Plans a statement against the columns of its stream.
pub(crate) fn plan(statement: &Statement, input: &SchemaRef, started: i64) -> Result<Transform> {
    let context = Context::new(statement.stream(), input);
    let config = OptimizerContext::new_with_config_options(Arc::clone(&context.options))
        .with_query_execution_start_time(
            timestamp_ms_to_datetime(started).map(|time| time.and_utc()).unwrap_or_default(),
        );
    let refused = |error: DataFusionError| refusal::from(&error);
    let planner = SqlToRel::new_with_options(&context, ParserOptions::from(&context.options.sql_parser));
    let plan = planner.sql_statement_to_plan(Sql::Query(statement.query.clone())).map_err(refused)?;
    let plan = TypeCoercion::new().analyze(plan, &context.options).map_err(refused)?;
    let mut walk = Walk { steps: Vec::new(), operations: Vec::new(), literal_bytes: 0 };
    each_expression(&plan, &mut constant::check)?;
    let rules = Optimizer::with_rules(vec![Arc::new(SimplifyExpressions::new()), Arc::new(OptimizeProjections::new())]);
    let plan = rules.optimize(plan, &config, |_, _| {}).map_err(refused)?;
    each_expression(&plan, &mut |expr, _| {
        walk.literal_bytes += literal_bytes(expr);
        counts(expr)
    })?;
    walk.plan(&plan)?;
    let storable = Storable::new(plan.schema().as_arrow())?;
    walk.push(StepKind::Sink, statement.sink().unwrap_or_default(), Operation::Sink(storable));
    Ok(Transform::new(Arc::clone(input), walk.steps, walk.operations, walk.literal_bytes))
}

/// Calls for every expression of the plan, with the schema that its columns belong to.
fn each_expression(plan: &LogicalPlan, each: &mut dyn FnMut(&Expr, &DFSchema) -> Result<()>) -> Result<()> {
    let mut result = Ok(());
    let empty = DFSchema::empty();
    let walked = plan.apply(|node| {
        let inputs = node.inputs();
        let schema = inputs.first().map_or(&empty, |input| input.schema());
        node.apply_expressions(|expr| {
            if result.is_ok() {
                result = each(expr, schema);
            }
            Ok(if result.is_ok() { TreeNodeRecursion::Continue } else { TreeNodeRecursion::Stop })
        })
    });
    result.and_then(|()| walked.map(|_| ()).map_err(|error| refusal::from(&error)))
}

/// What texts in the statement take, once a row at most.
fn literal_bytes(expr: &Expr) -> u64 {
    let mut bytes = 0;
    let walked = expr.apply(|part| {
        if let Expr::Literal(value, _) = part {
            bytes += value.try_as_str().flatten().map_or_else(|| value.size(), str::len) as u64;
        }
        Ok(TreeNodeRecursion::Continue)
    });
    debug_assert!(walked.is_ok(), "nothing stops it");
    bytes
}

/// Refuses a call that asks for too long values, whatever the row holds.
fn counts(expr: &Expr) -> Result<()> {
    let mut result = Ok(());
    let walked = expr.apply(|part| {
        if let Expr::ScalarFunction(call) = part
            && COUNTED.contains(&call.name())
            && let Some(Expr::Literal(count, _)) = call.args.get(1)
            && let Ok(ScalarValue::UInt64(Some(bytes))) = count.cast_to(&DataType::UInt64)
            && bytes > VALUE_BYTES_MAX
        {
            result = Err(Error::ValueTooLong { expression: described(&part.to_string()), bytes });
            return Ok(TreeNodeRecursion::Stop);
        }
        Ok(TreeNodeRecursion::Continue)
    });
    debug_assert!(walked.is_ok(), "nothing fails in it");
    result
}

struct Walk {
    steps: Vec<Step>,
    operations: Vec<Operation>,
    literal_bytes: u64,
}

impl Walk {
    fn push(&mut self, kind: StepKind, description: &str, operation: Operation) {
        self.steps.push(Step { kind, description: described(description) });
        self.operations.push(operation);
    }

    /// Appends what the plan does, from the stream upwards.
    fn plan(&mut self, plan: &LogicalPlan) -> Result<()> {
        let columns = plan.schema().fields().len();
        if columns > OUTPUT_COLUMNS_MAX {
            return Err(Error::TooManyColumns { count: columns });
        }
        match plan {
            LogicalPlan::TableScan(scan) => {
                let operation = Operation::Source { columns: scan.projection.clone() };
                self.push(StepKind::Source, scan.table_name.table(), operation);
            }
            LogicalPlan::SubqueryAlias(alias) => self.plan(&alias.input)?,
            LogicalPlan::Filter(filter) => {
                self.plan(&filter.input)?;
                let schema = filter.input.schema();
                let each = split_conjunction(&filter.predicate);
                let each = each.into_iter().map(|part| physical(part, schema)).collect::<Result<_>>()?;
                let operation = Operation::Filter { whole: physical(&filter.predicate, schema)?, each };
                self.push(StepKind::Filter, &filter.predicate.to_string(), operation);
            }
            LogicalPlan::Projection(projection) => {
                self.plan(&projection.input)?;
                let schema = projection.input.schema();
                let columns = projection.expr.iter().map(|expr| physical(expr, schema)).collect::<Result<_>>()?;
                let names: Vec<&str> = projection.schema.fields().iter().map(|field| field.name().as_str()).collect();
                let output = Arc::clone(projection.schema.inner());
                self.push(StepKind::Projection, &names.join(", "), Operation::Projection { columns, schema: output });
            }
            LogicalPlan::Unnest(unnest) => {
                self.plan(&unnest.input)?;
                let operation = Unnest::new(unnest)?;
                let name = operation.list_name().to_owned();
                self.push(StepKind::Unnest, &name, Operation::Unnest(operation));
            }
            other => return Err(crate::grammar::unsupported(&other.display().to_string())),
        }
        Ok(())
    }
}

/// The expression as it is evaluated: sums, differences and products that overflow fail instead of wrapping.
pub(crate) fn physical(expr: &Expr, schema: &DFSchema) -> Result<Arc<dyn PhysicalExpr>> {
    let refused = |error: DataFusionError| refusal::from(&error);
    let planned = create_physical_expr(expr, schema, &ExecutionProps::new(), &PhysicalPlanningContext::default());
    let arrow = schema.as_arrow();
    let checked = planned.map_err(refused)?.transform_up(|part| {
        if let Some(binary) = part.downcast_ref::<BinaryExpr>() {
            return Ok(Transformed::yes(Arc::new(binary.clone().with_fail_on_overflow(true))));
        }
        if let Some(negative) = part.downcast_ref::<NegativeExpr>() {
            let data_type = negative.arg().data_type(arrow)?;
            if data_type.is_integer() {
                let zero = Arc::new(Literal::new(ScalarValue::new_zero(&data_type)?));
                let difference = BinaryExpr::new(zero, Operator::Minus, Arc::clone(negative.arg()));
                return Ok(Transformed::yes(Arc::new(difference.with_fail_on_overflow(true))));
            }
        }
        Ok(Transformed::no(part))
    });
    Ok(checked.map_err(refused)?.data)
}
