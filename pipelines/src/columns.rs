//! JSON events become Arrow columns in one pass, without a tree in between.
//!
//! ```text
//! decode: event bytes ─▶ column: growing buffers, null where a field is missing ─▶ finish: arrays and their schema
//! ```
//! Fields are expected in the order of the event before, so that finding a field's column is mostly one comparison of
//! bytes; a wrong guess costs a look-up, never a wrong result. An event that does not fit leaves no trace: what it had
//! appended is taken back, and it becomes a dead letter.

mod column;
mod decode;
mod finish;
mod nulls;
mod number;

pub(crate) use nulls::Nulls;
pub(crate) use number::{EXACT_MAX, Number, read as read_number};

use crate::schema::{EventSchema, PathStep};
use arrow_array::RecordBatch;
use arrow_schema::ArrowError;
use column::{Budget, FieldColumns};
use decode::DecodeFault;

/// Columns under construction.
#[derive(Debug)]
pub(crate) struct Columns {
    fields: FieldColumns,
    rows: usize,
    budget: Budget,
}

/// Columns that are done, and what the pipeline's schema has become.
#[derive(Debug)]
pub(crate) struct Finished {
    pub(crate) schema: EventSchema,
    /// `None` when there is no column: no event had a value.
    pub(crate) batch: Option<RecordBatch>,
}

/// Why an event cannot be a row.
#[derive(Debug)]
pub(crate) struct Unfit {
    pub(crate) reason: String,
    /// The paths of the fields that would have to hold values of more than one type, if that is all that is wrong.
    pub(crate) mixed: Vec<Vec<PathStep>>,
}

impl Columns {
    /// Columns of the kinds that `schema` says, to which events add what it does not have.
    pub(crate) fn new(schema: &EventSchema) -> Self {
        let mut budget = Budget::default();
        let fields = FieldColumns::from_schema(&schema.fields, &mut budget);
        Self { fields, rows: 0, budget }
    }

    /// Adds one event as a row, or says why it cannot be one; then nothing has changed.
    pub(crate) fn push(&mut self, event: &[u8]) -> Result<(), Unfit> {
        self.budget.event += 1;
        let outcome = decode::event(&mut self.fields, event, self.rows, &mut self.budget);
        match outcome {
            Ok(()) => {
                self.rows += 1;
                Ok(())
            }
            Err(fault) => {
                self.fields.truncate(self.rows, &mut self.budget);
                Err(DecodeFault::describe(*fault))
            }
        }
    }

    /// Makes room for what is still to come: `rows`, which take so many `times` as much as those there are.
    pub(crate) fn expect(&mut self, rows: usize, times: f64) {
        self.fields.expect(self.rows, rows, times);
    }

    /// Whether there is no column yet that could hold a value.
    pub(crate) fn is_bare(&self) -> bool {
        self.fields.is_bare()
    }

    /// Ends the columns.
    pub(crate) fn finish(self) -> Result<Finished, ArrowError> {
        finish::finish(self.fields, self.rows)
    }
}

#[cfg(test)]
mod tests;
