//! Parts of expressions without columns: one that fails would fail for every row, so it is refused before any row comes.

use crate::graph::described;
use crate::{Error, Result, plan, refusal};
use arrow_array::{RecordBatch, RecordBatchOptions};
use arrow_schema::Schema;
use datafusion_common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion_common::{DFSchema, DataFusionError};
use datafusion_expr::{Expr, Volatility};
use std::sync::Arc;

/// Refuses an expression with a constant part that fails.
pub(crate) fn check(expr: &Expr, _schema: &DFSchema) -> Result<()> {
    let mut result = Ok(());
    let walked = expr.apply(|part| {
        let leaf = matches!(part, Expr::Literal(..) | Expr::Column(_) | Expr::Alias(_) | Expr::Unnest(_));
        if leaf || !constant(part) {
            return Ok(TreeNodeRecursion::Continue);
        }
        match evaluate(part) {
            Ok(()) => Ok(TreeNodeRecursion::Jump),
            Err(error) => {
                result = Err(error);
                Ok(TreeNodeRecursion::Stop)
            }
        }
    });
    debug_assert!(walked.is_ok(), "nothing fails in it");
    result
}

/// Whether it is the same for every row of every batch; of `now()` that is known later.
fn constant(expr: &Expr) -> bool {
    let varies = expr.exists(|part| {
        Ok(match part {
            Expr::Column(_) | Expr::Unnest(_) => true,
            Expr::ScalarFunction(call) => call.func.signature().volatility != Volatility::Immutable,
            _ => false,
        })
    });
    !varies.unwrap_or(true)
}

fn evaluate(expr: &Expr) -> Result<()> {
    let physical = plan::physical(expr, &DFSchema::empty())?;
    let options = RecordBatchOptions::new().with_row_count(Some(1));
    let row = RecordBatch::try_new_with_options(Arc::new(Schema::empty()), vec![], &options);
    let row = row.map_err(|error| Error::Evaluation { message: error.to_string() })?;
    match physical.evaluate(&row) {
        // What the planner still rewrites, such as `nvl`, cannot be evaluated yet.
        Ok(_) | Err(DataFusionError::Internal(_)) => Ok(()),
        Err(error) => {
            let reason = refusal::reason(&error);
            Err(Error::AlwaysFails { expression: described(&expr.to_string()), reason })
        }
    }
}
