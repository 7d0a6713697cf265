//! The buffers of a column: append, widen, take back.

use super::nulls::Nulls;
use super::number;
use crate::scan::Token;
use crate::schema::{COLUMNS_MAX, Kind, NAME_BYTES_MAX, SchemaField};
use arrow_array::builder::BooleanBufferBuilder;
use std::collections::HashMap;
use std::fmt;

/// How many columns there are, and which event is being added.
#[derive(Debug, Default)]
pub(super) struct Budget {
    pub(super) columns: usize,
    pub(super) name_bytes: usize,
    pub(super) event: u64,
}

impl Budget {
    /// Whether another column with a name this long may come.
    pub(super) fn take(&mut self, name_bytes: usize) -> bool {
        let fits = self.columns < COLUMNS_MAX && self.name_bytes + name_bytes <= NAME_BYTES_MAX;
        if fits {
            self.columns += 1;
            self.name_bytes += name_bytes;
        }
        fits
    }

    fn give_back(&mut self, column: &Column, name_bytes: usize) {
        self.columns -= 1;
        self.name_bytes -= name_bytes;
        match &column.data {
            Data::Struct(fields) => {
                for field in &fields.fields {
                    self.give_back(&field.column, field.name.len());
                }
            }
            Data::List { items, .. } => self.give_back(items, 0),
            _ => {}
        }
    }
}

/// A column, as long as its last value; what is missing at the end is null.
pub(super) struct Column {
    pub(super) data: Data,
    pub(super) rows: usize,
    pub(super) nulls: Nulls,
    /// Whether its kind comes from the pipeline's schema, so that it stays even without a value.
    pub(super) fixed: bool,
    /// The event that made it.
    born: u64,
    /// The last event that made it wider, and what it was before that.
    pub(super) widened: Option<(u64, Narrow)>,
}

/// What a column of numbers was before it grew wider.
#[derive(Debug, Clone, Copy)]
pub(super) enum Narrow {
    Int,
    UInt,
}

/// The values. At null rows stands a zero, an empty text or an empty list.
pub(super) enum Data {
    /// No value yet.
    Unknown,
    Bool(BooleanBufferBuilder),
    Int {
        values: Vec<i64>,
        /// The largest absolute value that was ever in it, at least.
        largest: u64,
        negative: bool,
    },
    UInt(Vec<u64>),
    Float(Vec<f64>),
    Text {
        offsets: Vec<i32>,
        bytes: Vec<u8>,
    },
    /// Any value, as its JSON.
    Json {
        offsets: Vec<i32>,
        bytes: Vec<u8>,
    },
    Struct(FieldColumns),
    List {
        offsets: Vec<i32>,
        items: Box<Column>,
    },
}

impl fmt::Debug for Column {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Column").field("holds", &self.data.holds()).field("rows", &self.len()).finish_non_exhaustive()
    }
}

/// The columns of an object's fields.
#[derive(Debug, Default)]
pub(super) struct FieldColumns {
    pub(super) fields: Vec<FieldColumn>,
    pub(super) by_name: HashMap<Box<[u8]>, usize>,
    /// Which field came after which in the event before; entry 0 is the first one's, entry n + 1 that after field n.
    pub(super) successors: Vec<usize>,
}

#[derive(Debug)]
pub(super) struct FieldColumn {
    pub(super) name: String,
    /// The name as it stands in events, with its quotes.
    pub(super) token: Token,
    pub(super) column: Column,
}

impl Data {
    /// What it holds, for people.
    pub(super) fn holds(&self) -> &'static str {
        match self {
            Self::Unknown => "nothing yet",
            Self::Bool(_) => "booleans",
            Self::Int { .. } => "integers",
            Self::UInt(_) => "unsigned integers",
            Self::Float(_) => "numbers",
            Self::Text { .. } => "strings",
            Self::Json { .. } => "JSON",
            Self::Struct(_) => "objects",
            Self::List { .. } => "arrays",
        }
    }

    pub(super) fn text() -> Self {
        Self::Text { offsets: vec![0], bytes: Vec::new() }
    }

    pub(super) fn int() -> Self {
        Self::Int { values: Vec::new(), largest: 0, negative: false }
    }

    pub(super) fn list(items: Column) -> Self {
        Self::List { offsets: vec![0], items: Box::new(items) }
    }

    /// Appends what stands at null rows.
    fn pad(&mut self, rows: usize) {
        match self {
            Self::Unknown | Self::Struct(_) => {}
            Self::Bool(values) => values.append_n(rows, false),
            Self::Int { values, .. } => values.resize(values.len() + rows, 0),
            Self::UInt(values) => values.resize(values.len() + rows, 0),
            Self::Float(values) => values.resize(values.len() + rows, 0.0),
            Self::Text { offsets, .. } | Self::Json { offsets, .. } | Self::List { offsets, .. } => {
                let last = last_offset(offsets);
                offsets.resize(offsets.len() + rows, last);
            }
        }
    }

    /// Makes room for `more` than `rows` rows, whose texts and items take so many `times` as much as those there are.
    fn expect(&mut self, rows: usize, more: usize, times: f64) {
        match self {
            Self::Unknown => {}
            Self::Bool(values) => values.reserve(more),
            Self::Int { values, .. } => values.reserve(more),
            Self::UInt(values) => values.reserve(more),
            Self::Float(values) => values.reserve(more),
            Self::Text { offsets, bytes } | Self::Json { offsets, bytes } => {
                offsets.reserve(more);
                // short texts are copied in 16 bytes
                bytes.reserve(scaled(bytes.len(), times) + 16);
            }
            Self::Struct(fields) => fields.expect(rows, more, times),
            Self::List { offsets, items } => {
                offsets.reserve(more);
                items.expect(scaled(items.len(), times), times);
            }
        }
    }

    fn truncate(&mut self, rows: usize, budget: &mut Budget) {
        match self {
            Self::Unknown => {}
            Self::Bool(values) => values.truncate(rows),
            Self::Int { values, .. } => values.truncate(rows),
            Self::UInt(values) => values.truncate(rows),
            Self::Float(values) => values.truncate(rows),
            Self::Text { offsets, bytes } | Self::Json { offsets, bytes } => {
                offsets.truncate(rows + 1);
                bytes.truncate(offset_at_end(offsets));
            }
            Self::Struct(fields) => fields.truncate(rows, budget),
            Self::List { offsets, items } => {
                offsets.truncate(rows + 1);
                items.truncate(offset_at_end(offsets), budget);
            }
        }
    }
}

/// So many times as much, and a little more.
#[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "an estimate")]
fn scaled(length: usize, times: f64) -> usize {
    (length as f64 * times * 1.02) as usize
}

pub(super) fn last_offset(offsets: &[i32]) -> i32 {
    *offsets.last().expect("offsets begin with a zero that is never taken away")
}

fn offset_at_end(offsets: &[i32]) -> usize {
    usize::try_from(last_offset(offsets)).expect("offsets only grow from zero")
}

impl Column {
    pub(super) fn new(budget: &Budget) -> Self {
        let nulls = Nulls::default();
        Self { data: Data::Unknown, rows: 0, nulls, fixed: false, born: budget.event, widened: None }
    }

    fn of_kind(kind: &Kind, budget: &mut Budget) -> Self {
        let data = match kind {
            Kind::Bool => Data::Bool(BooleanBufferBuilder::new(0)),
            Kind::Int => Data::int(),
            Kind::UInt => Data::UInt(Vec::new()),
            Kind::Float => Data::Float(Vec::new()),
            Kind::Text => Data::text(),
            Kind::Json => Data::Json { offsets: vec![0], bytes: Vec::new() },
            Kind::Struct(fields) => Data::Struct(FieldColumns::from_schema(fields, budget)),
            Kind::List(item) => {
                budget.take(0);
                Data::list(Self::of_kind(item, budget))
            }
        };
        Self { data, fixed: true, ..Self::new(budget) }
    }

    fn is_bare(&self) -> bool {
        match &self.data {
            Data::Unknown => true,
            Data::Struct(fields) => fields.is_bare(),
            Data::List { items, .. } => items.is_bare(),
            _ => false,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.rows
    }

    fn expect(&mut self, more: usize, times: f64) {
        self.data.expect(self.rows, more, times);
    }

    /// Appends nulls until there are `rows` rows.
    #[inline]
    pub(super) fn pad_to(&mut self, rows: usize) {
        if self.rows < rows {
            self.data.pad(rows - self.rows);
            self.nulls.append(self.rows..rows);
            self.rows = rows;
        }
    }

    /// Says that a value has been appended to the data.
    #[inline]
    pub(super) fn appended(&mut self) {
        self.rows += 1;
    }

    /// Whether there is no value in it.
    pub(super) fn is_null(&self) -> bool {
        self.nulls.cover(self.rows)
    }

    /// Gives an unknown column its kind.
    pub(super) fn become_kind(&mut self, mut data: Data) {
        data.pad(self.len());
        self.data = data;
    }

    /// Takes rows back until there are at most `rows`.
    pub(super) fn truncate(&mut self, rows: usize, budget: &mut Budget) {
        if self.rows > rows {
            self.rows = rows;
            self.nulls.truncate(rows);
        }
        self.data.truncate(rows, budget);
        if let Some((_, narrow)) = self.widened.take_if(|(event, _)| *event == budget.event) {
            number::narrow(&mut self.data, narrow);
        }
        if self.is_null() && !self.fixed && !matches!(self.data, Data::Unknown) {
            // Nobody else has given it this kind: the next value may choose another.
            let own = Self { data: std::mem::replace(&mut self.data, Data::Unknown), ..Self::new(budget) };
            budget.give_back(&own, 0);
            budget.columns += 1;
        }
    }
}

impl FieldColumns {
    pub(super) fn from_schema(fields: &[SchemaField], budget: &mut Budget) -> Self {
        let mut columns = Self::default();
        for field in fields {
            budget.take(field.name.len());
            let column = Column::of_kind(&field.kind, budget);
            columns.insert(field.name.clone(), column);
        }
        columns
    }

    /// Whether none of the columns holds a plain value, at any depth.
    pub(super) fn is_bare(&self) -> bool {
        self.fields.iter().all(|field| field.column.is_bare())
    }

    pub(super) fn insert(&mut self, name: String, column: Column) -> usize {
        let index = self.fields.len();
        self.by_name.insert(name.as_bytes().into(), index);
        let token = Token::new(serde_json::Value::from(name.as_str()).to_string().into_bytes());
        self.fields.push(FieldColumn { name, token, column });
        self.successors.resize(index + 2, index + 1);
        index
    }

    /// Makes room in the columns that have a value in each of the last rows: the others may never have so many.
    pub(super) fn expect(&mut self, rows: usize, more: usize, times: f64) {
        for field in self.fields.iter_mut().filter(|field| field.column.len() == rows) {
            field.column.expect(more, times);
        }
    }

    /// Takes rows back, and with them the fields that the event at hand has brought.
    pub(super) fn truncate(&mut self, rows: usize, budget: &mut Budget) {
        while let Some(last) = self.fields.pop_if(|field| field.column.born == budget.event && !field.column.fixed) {
            budget.give_back(&last.column, last.name.len());
            self.by_name.remove(last.name.as_bytes());
        }
        for field in &mut self.fields {
            field.column.truncate(rows, budget);
        }
    }
}
