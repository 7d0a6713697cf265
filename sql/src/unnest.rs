//! UNNEST: one row for each element of a list, none where the list is NULL or empty. The other columns are repeated, which is
//! what is bounded here.

use crate::bounded::slice_bytes;
use crate::run::batch_of;
use crate::{Error, Result, grammar};
use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, ListArray, RecordBatch, UInt32Array};
use arrow_cast::cast;
use arrow_schema::{DataType, SchemaRef};
use arrow_select::take::take;
use datafusion_common::{DataFusionError, Result as PlanResult, exec_err};
use datafusion_expr::logical_plan::Unnest as Plan;
use std::sync::Arc;

/// The most elements of one list.
pub const UNNEST_ELEMENTS_MAX: usize = 100_000;
/// The most rows that one batch becomes.
const ROWS_MAX: usize = 2_000_000;
/// The most bytes that one row becomes.
const ROW_BYTES_MAX: u64 = 64 << 20;
/// The most bytes that one batch becomes.
const BATCH_BYTES_MAX: u64 = 256 << 20;

#[derive(Debug)]
pub(crate) struct Unnest {
    /// The column that holds the lists.
    list: usize,
    list_name: String,
    /// For each column of the result the one it comes from.
    from: Vec<usize>,
    schema: SchemaRef,
}

impl Unnest {
    pub(crate) fn new(plan: &Plan) -> Result<Self> {
        let [(list, unnested)] = plan.list_type_columns.as_slice() else {
            return Err(Error::Unsupported {
                clause: "UNNEST of this".to_owned(),
                instead: "it takes one list, as in UNNEST(list)".to_owned(),
            });
        };
        if unnested.depth != 1 || !plan.struct_type_columns.is_empty() {
            return Err(grammar::unsupported("UNNEST of UNNEST"));
        }
        let name = plan.input.schema().field(*list).name();
        Ok(Self {
            list: *list,
            list_name: name.strip_prefix("__unnest_placeholder").unwrap_or(name).to_owned(),
            from: plan.dependency_indices.clone(),
            schema: Arc::clone(plan.schema.inner()),
        })
    }

    pub(crate) fn list_name(&self) -> &str {
        &self.list_name
    }

    /// The rows, and for each the row of `batch` it comes from.
    pub(crate) fn run(&self, batch: &RecordBatch) -> PlanResult<(RecordBatch, UInt32Array)> {
        let lists = as_lists(batch.column(self.list))?;
        let rows = self.count(batch, &lists)?;
        let mut parents = Vec::with_capacity(rows);
        let mut elements = Vec::with_capacity(rows);
        for (row, parent) in (0..lists.len()).zip(0_u32..) {
            let range = element_range(&lists, row);
            parents.resize(parents.len() + range.len(), parent);
            for element in range {
                elements
                    .push(u32::try_from(element).map_err(|_| DataFusionError::Execution("a list is too long".into()))?);
            }
        }
        let (parents, elements) = (UInt32Array::from(parents), UInt32Array::from(elements));
        let columns = self.from.iter().map(|from| {
            if *from == self.list {
                take(lists.values(), &elements, None)
            } else {
                take(batch.column(*from), &parents, None)
            }
        });
        let columns = columns.collect::<Result<Vec<ArrayRef>, _>>()?;
        Ok((batch_of(Arc::clone(&self.schema), columns, rows)?, parents))
    }

    /// How many rows come of it; an error where there are too many, or too many bytes.
    fn count(&self, batch: &RecordBatch, lists: &ListArray) -> PlanResult<usize> {
        let repeated = self.from.iter().filter(|from| **from != self.list).map(|from| batch.column(*from));
        let repeated: Vec<&ArrayRef> = repeated.collect();
        let average: u64 = repeated.iter().filter(|column| !is_text(column)).map(|column| slice_bytes(column)).sum();
        let average = average.div_ceil(batch.num_rows().max(1) as u64);
        let texts: Vec<&[i32]> =
            repeated.iter().filter(|column| is_text(column)).map(|column| offsets(column)).collect();
        let (mut rows, mut bytes) = (0, 0_u64);
        for row in 0..lists.len() {
            let count = element_range(lists, row).len();
            if count > UNNEST_ELEMENTS_MAX {
                return exec_err!("UNNEST of a list of {count} elements, at most {UNNEST_ELEMENTS_MAX} are possible");
            }
            let text: u64 = texts.iter().map(|offsets| u64::from(offsets[row + 1].abs_diff(offsets[row]))).sum();
            let grown = (text + average).saturating_mul(count as u64);
            if grown > ROW_BYTES_MAX {
                return exec_err!(
                    "UNNEST repeats the other columns to {grown} bytes, at most {ROW_BYTES_MAX} are possible"
                );
            }
            rows += count;
            bytes = bytes.saturating_add(grown);
        }
        if rows > ROWS_MAX || bytes > BATCH_BYTES_MAX {
            return exec_err!("UNNEST makes {rows} rows of {bytes} bytes of a batch");
        }
        Ok(rows)
    }
}

fn is_text(column: &ArrayRef) -> bool {
    matches!(column.data_type(), DataType::Utf8 | DataType::Binary)
}

fn offsets(column: &ArrayRef) -> &[i32] {
    match column.data_type() {
        DataType::Utf8 => column.as_string::<i32>().value_offsets(),
        _ => column.as_binary::<i32>().value_offsets(),
    }
}

fn as_lists(column: &ArrayRef) -> PlanResult<ListArray> {
    match column.data_type() {
        DataType::List(_) => Ok(column.as_list::<i32>().clone()),
        DataType::LargeList(item) | DataType::FixedSizeList(item, _) => {
            Ok(cast(column, &DataType::List(Arc::clone(item)))?.as_list::<i32>().clone())
        }
        other => exec_err!("UNNEST takes a list, not {other}"),
    }
}

/// Where the elements of a row lie; none for NULL, whatever lies there.
fn element_range(lists: &ListArray, row: usize) -> std::ops::Range<usize> {
    if lists.is_null(row) {
        return 0..0;
    }
    let offsets = lists.value_offsets();
    let place = |offset: i32| usize::try_from(offset).unwrap_or(0);
    place(offsets[row])..place(offsets[row + 1])
}
