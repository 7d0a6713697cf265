//! A planned transform and its run over a batch. Each step takes rows and the numbers they had in the input, and hands on
//! what is left: so a failing row can be named by the number that the caller knows.
//!
//! ```text
//! batch ─▶ source ─▶ filter ─▶ unnest ─▶ projection ─▶ sink ─▶ batch
//!                      └──────── failed rows ───────────┘
//! ```

use crate::bounded::slice_bytes;
use crate::evaluate::{Failure, Rows};
use crate::plan::{self, Step};
use crate::storable::Storable;
use crate::unnest::Unnest;
use crate::{Error, Result, Statement, stack};
use arrow_array::{ArrayRef, RecordBatch, RecordBatchOptions, new_null_array};
use arrow_schema::{ArrowError, Schema, SchemaRef};
use datafusion_physical_expr::PhysicalExpr;
use std::ops::AddAssign;
use std::sync::Arc;
use std::time::Instant;

/// The most bytes of a result; beyond it the caller runs smaller batches.
pub const OUTPUT_BYTES_MAX: u64 = 256 << 20;

type Expr = Arc<dyn PhysicalExpr>;

/// What a step does with rows.
#[derive(Debug)]
pub(crate) enum Operation {
    /// Takes these columns of the input, or all.
    Source { columns: Option<Vec<usize>> },
    /// The condition, and its parts that were joined by AND.
    Filter { whole: Expr, each: Vec<Expr> },
    /// An expression a column.
    Projection { columns: Vec<Expr>, schema: SchemaRef },
    /// A row an element.
    Unnest(Unnest),
    /// The types that files hold.
    Sink(Storable),
}

/// A statement planned against the columns of its stream. It holds no state: threads may share it.
#[derive(Debug)]
pub struct Transform {
    input: SchemaRef,
    output: SchemaRef,
    steps: Vec<Step>,
    operations: Vec<Operation>,
    literal_bytes: u64,
}

/// What became of a batch.
#[derive(Debug, Clone)]
pub struct Transformed {
    /// The rows that are left, in the order of the input.
    pub batch: RecordBatch,
    /// Rows of the input of which nothing is in `batch`, because an expression failed; in their order.
    pub failed: Vec<FailedRow>,
    /// What each step did, in the order of [`Transform::steps`].
    pub steps: Vec<StepCounts>,
}

/// A row that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailedRow {
    /// Its number in the input batch, from 0.
    pub row: usize,
    /// Why, in at most 500 bytes. It may quote values of the row.
    pub reason: String,
}

/// What one step did with one batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct StepCounts {
    /// Rows that came.
    pub rows_in: u64,
    /// Rows that went on.
    pub rows_out: u64,
    /// Rows of the input that failed here.
    pub errors: u64,
    /// How long it took.
    pub nanos: u64,
}

impl AddAssign for StepCounts {
    fn add_assign(&mut self, other: Self) {
        self.rows_in += other.rows_in;
        self.rows_out += other.rows_out;
        self.errors += other.errors;
        self.nanos += other.nanos;
    }
}

impl Transform {
    /// Plans a statement against a stream's columns; `started` is what `now()` is, in milliseconds since 1970.
    /// Errors say which column, function or type does not fit.
    pub fn plan(statement: &Statement, input: &SchemaRef, started: i64) -> Result<Self> {
        stack::deep(|| plan::plan(statement, input, started))
    }

    /// Whether a statement can be planned, and could succeed for some row; the columns of what comes out. A row of NULLs is passed through to see that: nearly
    /// everything of NULL is NULL, unless a word is one that no function knows, as in `date_trunc('mnth', t)`.
    pub fn check(statement: &Statement, input: &SchemaRef, started: i64) -> Result<SchemaRef> {
        let output = Self::plan(statement, input, started)?.output;
        let fields = input.fields().iter().map(|field| field.as_ref().clone().with_nullable(true));
        let nullable: SchemaRef = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        let Ok(transform) = Self::plan(statement, &nullable, started) else { return Ok(output) };
        let nulls = nullable.fields().iter().map(|field| new_null_array(field.data_type(), 1));
        let row = batch_of(Arc::clone(&nullable), nulls.collect(), 1)
            .map_err(|error| Error::Evaluation { message: error.to_string() })?;
        match transform.run(&row)?.failed.into_iter().next() {
            Some(FailedRow { reason, .. }) => Err(Error::FailsForNulls { reason }),
            None => Ok(output),
        }
    }

    pub(crate) fn new(input: SchemaRef, steps: Vec<Step>, operations: Vec<Operation>, literal_bytes: u64) -> Self {
        let output = match operations.last() {
            Some(Operation::Sink(storable)) => Arc::clone(storable.schema()),
            _ => Arc::clone(&input),
        };
        Self { input, output, steps, operations, literal_bytes }
    }

    /// The columns of what comes out. Names are unique, types are ones that Parquet holds.
    pub fn schema(&self) -> &SchemaRef {
        &self.output
    }

    /// From the source to the sink. Steps that could be joined are one.
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// Passes a batch through. A row of which an expression fails is reported and the others go on.
    ///
    /// [`Error::OutputTooLarge`] asks for smaller batches; a batch of one row never gets it. Other errors are about the
    /// batch as a whole: other columns than planned for, or a fault in the evaluation.
    pub fn run(&self, batch: &RecordBatch) -> Result<Transformed> {
        if !same_types(batch, &self.input) {
            return Err(Error::OtherSchema);
        }
        if batch.num_rows() > 1 && self.literal_bytes.saturating_mul(batch.num_rows() as u64) > OUTPUT_BYTES_MAX {
            return Err(Error::OutputTooLarge);
        }
        let mut rows = Rows::new(batch.clone());
        let mut failed = Vec::new();
        let mut steps = Vec::with_capacity(self.operations.len());
        for operation in &self.operations {
            let begun = now();
            let rows_in = rows.len() as u64;
            let before = failed.len();
            rows = step(operation, rows, &mut failed)?;
            steps.push(StepCounts {
                rows_in,
                rows_out: rows.len() as u64,
                errors: (failed.len() - before) as u64,
                nanos: u64::try_from(begun.elapsed().as_nanos()).unwrap_or(u64::MAX),
            });
        }
        failed.sort_by_key(|failure: &FailedRow| failure.row);
        Ok(Transformed { batch: rows.into_batch(), failed, steps })
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "how long a step takes is counted; nothing waits for it or depends on it"
)]
fn now() -> Instant {
    Instant::now()
}

fn same_types(batch: &RecordBatch, schema: &SchemaRef) -> bool {
    let (own, planned) = (batch.schema_ref(), schema);
    Arc::ptr_eq(own, planned)
        || own.fields().len() == planned.fields().len()
            && own
                .fields()
                .iter()
                .zip(planned.fields())
                .all(|(own, planned)| own.name() == planned.name() && own.data_type() == planned.data_type())
}

fn step(operation: &Operation, rows: Rows, failed: &mut Vec<FailedRow>) -> Result<Rows> {
    match operation {
        // Some functions look at their first row without asking whether there is one.
        Operation::Filter { .. } if rows.len() == 0 => Ok(rows),
        Operation::Projection { schema, .. } if rows.len() == 0 => {
            Ok(Rows::new(RecordBatch::new_empty(Arc::clone(schema))))
        }
        Operation::Source { columns: None } => Ok(rows),
        Operation::Source { columns: Some(columns) } => rows.project(columns),
        Operation::Filter { whole, each } => filter(rows, whole, each, failed),
        Operation::Projection { columns, schema } => {
            let (rows, arrays) = rows.evaluate(columns, failed)?;
            bound(&arrays)?;
            rows.with_columns(schema, arrays)
        }
        Operation::Unnest(unnest) => rows.unnest(unnest, failed),
        Operation::Sink(storable) if storable.is_plain() => {
            bound(rows.batch().columns())?;
            let columns = rows.batch().columns().to_vec();
            rows.with_columns(storable.schema(), columns)
        }
        Operation::Sink(storable) => {
            let rows = rows.each_batch(&|batch| Ok(storable.store(batch)?), failed)?;
            bound(rows.batch().columns())?;
            Ok(rows)
        }
    }
}

/// The whole condition at once where it can be evaluated for all rows. If not, its parts one after another, each for the rows
/// that the ones before it left: `b <> 0 AND a / b > 1` fails for no row.
fn filter(rows: Rows, whole: &Expr, each: &[Expr], failed: &mut Vec<FailedRow>) -> Result<Rows> {
    match rows.mask(whole) {
        Ok(mask) => return rows.keep(&mask),
        Err(Failure::Batch(error)) => return Err(error),
        Err(Failure::Rows) => {}
    }
    let mut rows = rows;
    for part in each {
        let (left, mut masks) = rows.evaluate(std::slice::from_ref(part), failed)?;
        let Some(mask) = masks.pop().filter(|_| left.len() > 0) else {
            return Ok(left);
        };
        rows = left.keep(crate::evaluate::boolean(&mask)?)?;
    }
    Ok(rows)
}

fn bound(columns: &[ArrayRef]) -> Result<()> {
    let bytes = columns.iter().map(slice_bytes).fold(0, u64::saturating_add);
    let rows = columns.first().map_or(0, |column| column.len());
    if bytes > OUTPUT_BYTES_MAX && rows > 1 { Err(Error::OutputTooLarge) } else { Ok(()) }
}

/// A batch that may have no columns, but has rows.
pub(crate) fn batch_of(schema: SchemaRef, columns: Vec<ArrayRef>, rows: usize) -> Result<RecordBatch, ArrowError> {
    RecordBatch::try_new_with_options(schema, columns, &RecordBatchOptions::new().with_row_count(Some(rows)))
}

#[cfg(test)]
mod tests;
