//! The buffers of a declared column: append, take back.

use super::fault::{Decoded, Fault};
use super::{DeclaredField, DeclaredSchema, DeclaredType, DeclaredValue, TimestampFormat, TimestampUnit};
use crate::columns::Nulls;
use crate::scan::Token;
use arrow_array::builder::BooleanBufferBuilder;
use std::collections::HashMap;
use std::fmt;

/// A column, as long as its last value; what is missing at the end is null.
pub(super) struct Column {
    pub(super) data: Data,
    pub(super) rows: usize,
    pub(super) nulls: Nulls,
    pub(super) required: bool,
    /// The name of its type.
    pub(super) declared: &'static str,
    /// Whether objects lie in it whose undeclared fields would be looked for.
    pub(super) nests: bool,
}

/// The values. At null rows stands a zero, an empty text or an empty list.
pub(super) enum Data {
    Bool(BooleanBufferBuilder),
    Int32(Vec<i32>),
    Int64(Vec<i64>),
    UInt32(Vec<u32>),
    UInt64(Vec<u64>),
    Float32(Vec<f32>),
    Float64(Vec<f64>),
    Decimal { values: Vec<i128>, precision: u8, scale: u8 },
    Timestamp { values: Vec<i64>, unit: TimestampUnit, format: TimestampFormat },
    Text(Pieces),
    Json(Pieces),
    Bytes(Pieces),
    Struct(FieldColumns),
    List { offsets: Vec<i32>, items: Box<Column> },
}

/// Texts or byte strings, one after the other.
#[derive(Debug)]
pub(super) struct Pieces {
    pub(super) offsets: Vec<i32>,
    pub(super) bytes: Vec<u8>,
}

impl fmt::Debug for Column {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Column").field("declared", &self.declared).field("rows", &self.rows).finish_non_exhaustive()
    }
}

/// The columns of an object's fields.
#[derive(Debug)]
pub(super) struct FieldColumns {
    pub(super) fields: Vec<FieldColumn>,
    pub(super) by_name: HashMap<Box<[u8]>, usize>,
    /// Which field came after which in the event before; entry 0 is the first one's, entry n + 1 that after field n.
    pub(super) successors: Vec<usize>,
    /// How many of them are required.
    pub(super) required: usize,
}

#[derive(Debug)]
pub(super) struct FieldColumn {
    pub(super) name: String,
    /// The name as it stands in most events, with its quotes.
    pub(super) token: Token,
    /// What the undeclared fields inside it stand behind: its name, a colon and a brace.
    pub(super) opening: Box<[u8]>,
    pub(super) column: Column,
}

impl Default for Pieces {
    fn default() -> Self {
        Self { offsets: vec![0], bytes: Vec::new() }
    }
}

impl Pieces {
    /// Ends the piece that was added to the bytes.
    #[inline]
    pub(super) fn end(&mut self) -> Decoded {
        self.offsets.push(i32::try_from(self.bytes.len()).map_err(|_| Fault::too_much())?);
        Ok(())
    }

    pub(super) fn pad(&mut self, rows: usize) {
        pad_offsets(&mut self.offsets, rows);
    }

    pub(super) fn truncate(&mut self, rows: usize) {
        self.offsets.truncate(rows + 1);
        self.bytes.truncate(end_of(&self.offsets));
    }
}

fn pad_offsets(offsets: &mut Vec<i32>, rows: usize) {
    let last = *offsets.last().expect("offsets begin with a zero that is never taken away");
    offsets.resize(offsets.len() + rows, last);
}

fn end_of(offsets: &[i32]) -> usize {
    let last = *offsets.last().expect("offsets begin with a zero that is never taken away");
    usize::try_from(last).expect("offsets only grow from zero")
}

/// The same to whatever vector of numbers there is.
macro_rules! of_numbers {
    ($data:expr, $values:ident => $change:expr, $($other:tt)+) => {
        match $data {
            Data::Int32($values) => $change,
            Data::Int64($values) | Data::Timestamp { values: $values, .. } => $change,
            Data::UInt32($values) => $change,
            Data::UInt64($values) => $change,
            Data::Float32($values) => $change,
            Data::Float64($values) => $change,
            Data::Decimal { values: $values, .. } => $change,
            $($other)+
        }
    };
}

impl Data {
    fn new(kind: &DeclaredType, schema: &DeclaredSchema) -> Self {
        match kind {
            DeclaredType::Bool => Self::Bool(BooleanBufferBuilder::new(0)),
            DeclaredType::Int32 => Self::Int32(Vec::new()),
            DeclaredType::Int64 => Self::Int64(Vec::new()),
            DeclaredType::UInt32 => Self::UInt32(Vec::new()),
            DeclaredType::UInt64 => Self::UInt64(Vec::new()),
            DeclaredType::Float32 => Self::Float32(Vec::new()),
            DeclaredType::Float64 => Self::Float64(Vec::new()),
            DeclaredType::Decimal { precision, scale } => {
                Self::Decimal { values: Vec::new(), precision: *precision, scale: *scale }
            }
            DeclaredType::Timestamp(unit) => {
                Self::Timestamp { values: Vec::new(), unit: *unit, format: schema.timestamps() }
            }
            DeclaredType::String => Self::Text(Pieces::default()),
            DeclaredType::Json => Self::Json(Pieces::default()),
            DeclaredType::Bytes | DeclaredType::Binary => Self::Bytes(Pieces::default()),
            DeclaredType::Struct(fields) => Self::Struct(FieldColumns::new(fields, schema)),
            DeclaredType::List(items) => Self::List { offsets: vec![0], items: Box::new(Column::new(items, schema)) },
        }
    }

    /// Appends what stands at null rows.
    fn pad(&mut self, rows: usize) {
        of_numbers!(self, values => values.resize(values.len() + rows, Default::default()),
            Self::Bool(values) => values.append_n(rows, false),
            Self::Text(pieces) | Self::Json(pieces) | Self::Bytes(pieces) => pieces.pad(rows),
            Self::Struct(_) => {}
            Self::List { offsets, .. } => pad_offsets(offsets, rows),
        );
    }

    fn truncate(&mut self, rows: usize) {
        of_numbers!(self, values => values.truncate(rows),
            Self::Bool(values) => values.truncate(rows),
            Self::Text(pieces) | Self::Json(pieces) | Self::Bytes(pieces) => pieces.truncate(rows),
            Self::Struct(fields) => fields.truncate(rows),
            Self::List { offsets, items } => {
                offsets.truncate(rows + 1);
                items.truncate(end_of(offsets));
            }
        );
    }
}

impl Column {
    fn new(value: &DeclaredValue, schema: &DeclaredSchema) -> Self {
        let data = Data::new(&value.kind, schema);
        let nests = match &data {
            Data::Struct(_) => true,
            Data::List { items, .. } => items.nests,
            _ => false,
        };
        let (required, declared) = (value.required, value.kind.name());
        Self { data, rows: 0, nulls: Nulls::default(), required, declared, nests }
    }

    /// Appends nulls until there are `rows` rows; to a required column only where the struct around it is null.
    #[inline]
    pub(super) fn pad_to(&mut self, rows: usize) {
        if self.rows < rows {
            self.data.pad(rows - self.rows);
            self.nulls.append(self.rows..rows);
            self.rows = rows;
        }
    }

    /// Takes rows back until there are at most `rows`.
    fn truncate(&mut self, rows: usize) {
        if self.rows > rows {
            self.rows = rows;
            self.nulls.truncate(rows);
        }
        self.data.truncate(rows);
    }
}

impl FieldColumns {
    pub(super) fn new(fields: &[DeclaredField], schema: &DeclaredSchema) -> Self {
        let column = |field: &DeclaredField| {
            let quoted = serde_json::Value::from(field.name.as_str()).to_string();
            FieldColumn {
                name: field.name.clone(),
                opening: format!("{quoted}:{{").into_bytes().into(),
                token: Token::new(quoted.into_bytes()),
                column: Column::new(&field.value, schema),
            }
        };
        Self {
            fields: fields.iter().map(column).collect(),
            by_name: fields.iter().zip(0..).map(|(field, index)| (field.name.as_bytes().into(), index)).collect(),
            successors: (0..=fields.len()).collect(),
            required: fields.iter().filter(|field| field.value.required).count(),
        }
    }

    /// Takes rows back until there are at most `rows`.
    pub(super) fn truncate(&mut self, rows: usize) {
        for field in &mut self.fields {
            field.column.truncate(rows);
        }
    }
}
