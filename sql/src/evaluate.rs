//! Rows on their way, and expressions over them. A batch that is good is evaluated once. If it is not, it is halved until the
//! rows that fail stand alone, and the rest is put together again: a few bad rows cost a few evaluations each.

use crate::run::{FailedRow, OUTPUT_BYTES_MAX, batch_of};
use crate::unnest::Unnest;
use crate::{Error, Result, bounded, refusal};
use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, BooleanArray, RecordBatch, UInt32Array};
use arrow_cast::cast;
use arrow_schema::{ArrowError, DataType, SchemaRef};
use arrow_select::concat::concat;
use arrow_select::filter::{FilterBuilder, filter};
use arrow_select::take::take;
use datafusion_common::{DataFusionError, Result as Evaluated, exec_err};
use datafusion_physical_expr::PhysicalExpr;
use std::collections::HashMap;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

type Expr = Arc<dyn PhysicalExpr>;

/// Rows at one point of a transform.
#[derive(Debug)]
pub(crate) struct Rows {
    batch: RecordBatch,
    /// The numbers that the rows had in the input, never falling; `None` while they are still the same.
    origin: Option<UInt32Array>,
}

/// Why a condition could not be evaluated at once.
pub(crate) enum Failure {
    /// Some row fails, or only the rows that a part before it would have dropped.
    Rows,
    /// It has nothing to do with the rows.
    Batch(Error),
}

/// What an evaluation in parts brings: what succeeded, in order, and which rows did not.
struct Parts<T> {
    good: Vec<(Range<usize>, T)>,
    bad: Vec<(usize, String)>,
}

fn fault(error: &ArrowError) -> Error {
    Error::Evaluation { message: error.to_string() }
}

/// The array as the truth of rows.
pub(crate) fn boolean(array: &ArrayRef) -> Result<&BooleanArray> {
    array
        .as_boolean_opt()
        .ok_or_else(|| Error::Evaluation { message: format!("a condition must be BOOLEAN, not {}", array.data_type()) })
}

impl Rows {
    pub(crate) fn new(batch: RecordBatch) -> Self {
        Self { batch, origin: None }
    }

    pub(crate) fn len(&self) -> usize {
        self.batch.num_rows()
    }

    pub(crate) fn batch(&self) -> &RecordBatch {
        &self.batch
    }

    pub(crate) fn into_batch(self) -> RecordBatch {
        self.batch
    }

    pub(crate) fn project(self, columns: &[usize]) -> Result<Self> {
        let batch = self.batch.project(columns).map_err(|error| fault(&error))?;
        Ok(Self { batch, origin: self.origin })
    }

    /// The same rows with other columns. A type that only the names of items in lists or structs tell apart is adjusted.
    pub(crate) fn with_columns(self, schema: &SchemaRef, mut columns: Vec<ArrayRef>) -> Result<Self> {
        for (column, field) in columns.iter_mut().zip(schema.fields()) {
            if column.data_type() != field.data_type() {
                *column = cast(column, field.data_type()).map_err(|error| fault(&error))?;
            }
        }
        let batch = batch_of(Arc::clone(schema), columns, self.len()).map_err(|error| fault(&error))?;
        Ok(Self { batch, origin: self.origin })
    }

    /// The condition for all rows.
    pub(crate) fn mask(&self, condition: &Expr) -> Result<BooleanArray, Failure> {
        let array = array(condition, &self.batch).map_err(|_| Failure::Rows)?;
        boolean(&array).cloned().map_err(Failure::Batch)
    }

    /// The rows for which the mask is true; NULL is not.
    pub(crate) fn keep(self, mask: &BooleanArray) -> Result<Self> {
        let kept = mask.true_count();
        if kept == self.len() {
            return Ok(self);
        }
        let filtering = FilterBuilder::new(mask).optimize().build();
        let columns = self.batch.columns().iter().map(|column| filtering.filter(column)).collect::<Result<_, _>>();
        let batch = columns.and_then(|columns| batch_of(self.batch.schema(), columns, kept));
        let origin = match &self.origin {
            Some(origin) => filtering.filter(origin),
            None => filtering.filter(&UInt32Array::from_iter_values((0..).take(self.len()))),
        };
        Ok(Self {
            batch: batch.map_err(|error| fault(&error))?,
            origin: Some(origin.map_err(|error| fault(&error))?.as_primitive().clone()),
        })
    }

    fn origin(&self, row: usize) -> usize {
        self.origin.as_ref().map_or(row, |origin| origin.value(row) as usize)
    }

    /// Reports the rows and says which stay: a row of the input fails as a whole, whatever became of it.
    fn fail(&self, bad: Vec<(usize, String)>, failed: &mut Vec<FailedRow>) -> BooleanArray {
        let mut reasons: HashMap<usize, String> = HashMap::new();
        for (row, reason) in bad {
            reasons.entry(self.origin(row)).or_insert(reason);
        }
        let mask = (0..self.len()).map(|row| Some(!reasons.contains_key(&self.origin(row)))).collect();
        failed.extend(reasons.into_iter().map(|(row, reason)| FailedRow { row, reason }));
        mask
    }

    /// The expressions for all rows that do not fail; these rows, and the columns.
    pub(crate) fn evaluate(self, columns: &[Expr], failed: &mut Vec<FailedRow>) -> Result<(Self, Vec<ArrayRef>)> {
        let mut bad = Vec::new();
        let mut evaluated = Vec::with_capacity(columns.len());
        for column in columns {
            match array(column, &self.batch) {
                Ok(array) => evaluated.push(array),
                Err(error) => {
                    let parts = in_parts(&self.batch, error, &|batch| array(column, batch));
                    evaluated.push(joined(&parts, self.len())?);
                    bad.extend(parts.bad);
                }
            }
        }
        if bad.is_empty() {
            return Ok((self, evaluated));
        }
        let mask = self.fail(bad, failed);
        let kept = evaluated.iter().map(|array| filter(array, &mask)).collect::<Result<_, _>>();
        Ok((self.keep(&mask)?, kept.map_err(|error| fault(&error))?))
    }

    /// Passes the whole batch through something that changes no numbers of rows.
    pub(crate) fn each_batch(
        self,
        pass: &dyn Fn(&RecordBatch) -> Evaluated<RecordBatch>,
        failed: &mut Vec<FailedRow>,
    ) -> Result<Self> {
        let error = match pass(&self.batch) {
            Ok(batch) => return Ok(Self { batch, origin: self.origin }),
            Err(error) => error,
        };
        let bad = in_parts(&self.batch, error, pass).bad;
        let mask = self.fail(bad, failed);
        let rows = self.keep(&mask)?;
        let batch = pass(&rows.batch).map_err(|error| too_large(&error, rows.len()))?;
        Ok(Self { batch, origin: rows.origin })
    }

    /// A row for each element of a list.
    pub(crate) fn unnest(self, unnest: &Unnest, failed: &mut Vec<FailedRow>) -> Result<Self> {
        let mut rows = self;
        let (batch, parents) = match unnest.run(&rows.batch) {
            Ok(unnested) => unnested,
            Err(error) => {
                let bad = in_parts(&rows.batch, error, &|batch| unnest.run(batch)).bad;
                let mask = rows.fail(bad, failed);
                rows = rows.keep(&mask)?;
                unnest.run(&rows.batch).map_err(|error| too_large(&error, rows.len()))?
            }
        };
        let origin = match &rows.origin {
            None => parents,
            Some(origin) => take(origin, &parents, None).map_err(|error| fault(&error))?.as_primitive().clone(),
        };
        Ok(Self { batch, origin: Some(origin) })
    }
}

/// No row fails by itself, but all together do.
fn too_large(error: &DataFusionError, rows: usize) -> Error {
    if rows > 1 { Error::OutputTooLarge } else { Error::Evaluation { message: refusal::reason(error) } }
}

/// A panic in a function is an error like others: it holds no state that could be broken.
fn array(column: &Expr, batch: &RecordBatch) -> Evaluated<ArrayRef> {
    let evaluated = catch_unwind(AssertUnwindSafe(|| column.evaluate(batch)?.into_array(batch.num_rows())));
    evaluated.unwrap_or_else(|_| exec_err!("{column} does not know what to do with a value"))
}

/// Halves the batch until what fails are single rows. `error` is that of the whole.
fn in_parts<T>(batch: &RecordBatch, error: DataFusionError, pass: &dyn Fn(&RecordBatch) -> Evaluated<T>) -> Parts<T> {
    let mut parts = Parts { good: Vec::new(), bad: Vec::new() };
    let mut open = vec![(0..batch.num_rows(), Some(error))];
    while let Some((range, known)) = open.pop() {
        let error = match known {
            Some(error) => error,
            None => match pass(&batch.slice(range.start, range.len())) {
                Ok(value) => {
                    parts.good.push((range, value));
                    continue;
                }
                Err(error) => error,
            },
        };
        if range.len() <= 1 {
            parts.bad.extend(range.map(|row| (row, refusal::reason(&error))));
            continue;
        }
        let middle = range.start + range.len() / 2;
        open.push((middle..range.end, None));
        open.push((range.start..middle, None));
    }
    parts
}

/// The parts as one column; what stands at rows that failed is dropped with them.
fn joined(parts: &Parts<ArrayRef>, rows: usize) -> Result<ArrayRef> {
    let bytes = parts.good.iter().map(|(_, part)| bounded::slice_bytes(part)).fold(0, u64::saturating_add);
    if bytes > OUTPUT_BYTES_MAX && rows > 1 {
        return Err(Error::OutputTooLarge);
    }
    let Some((_, first)) = parts.good.first() else {
        return Ok(arrow_array::new_null_array(&DataType::Null, rows));
    };
    let arrays: Vec<&dyn Array> = parts.good.iter().map(|(_, part)| part.as_ref()).collect();
    let good = if arrays.len() == 1 { Arc::clone(first) } else { concat(&arrays).map_err(|error| fault(&error))? };
    let mut places = Vec::with_capacity(rows);
    let mut from = 0_u32;
    for (range, _) in &parts.good {
        places.resize(range.start, None);
        places.extend(range.clone().map(|_| {
            from += 1;
            Some(from - 1)
        }));
    }
    places.resize(rows, None);
    take(&good, &UInt32Array::from(places), None).map_err(|error| fault(&error))
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow_array::Int64Array;
    use arrow_schema::{Field, Schema};
    use std::cell::Cell;

    #[test]
    fn few_bad_rows_cost_few_evaluations() {
        let schema = Schema::new(vec![Field::new("n", DataType::Int64, false)]);
        let numbers = Int64Array::from_iter_values(0..1024);
        let batch = RecordBatch::try_new(Arc::new(schema), vec![Arc::new(numbers)]).unwrap();
        let calls = Cell::new(0);
        let pass = |batch: &RecordBatch| {
            calls.set(calls.get() + 1);
            let numbers = batch.column(0).as_primitive::<arrow_array::types::Int64Type>();
            let bad = numbers.values().iter().any(|number| *number == 300 || *number == 1023);
            if bad { Err(DataFusionError::Execution("bad".into())) } else { Ok(Arc::clone(batch.column(0))) }
        };
        let parts = in_parts(&batch, DataFusionError::Execution("bad".into()), &pass);
        assert_eq!(parts.bad, [(300, "bad".to_owned()), (1023, "bad".to_owned())]);
        assert!(calls.get() <= 40, "{} evaluations", calls.get());
        let column = joined(&parts, 1024).unwrap();
        assert_eq!((column.len(), column.null_count()), (1024, 2));
        assert_eq!(column.as_primitive::<arrow_array::types::Int64Type>().value(1022), 1022);
    }
}
