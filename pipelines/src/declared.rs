//! A schema that is given: the fields a pipeline's events shall have, their types, and what happens to other fields.
//!
//! ```text
//! json: {"fields":[..]} ⇄ DeclaredSchema ─▶ decode: event bytes ─▶ column: growing buffers ─▶ finish: a record batch
//!                                              │ does not fit: a dead letter        └ rest: `_rest`, what is not declared
//! ```
//! The columns are those declared and [`REST`], whatever the events hold. Nothing is converted with loss: an event whose
//! value does not fit its type as it stands is a dead letter whose reason begins with `missing_field`, `type_mismatch`,
//! `parse_failure` or `null_value`. Floating point types alone round, to the nearest value they have.

mod check;
mod column;
mod decode;
mod encode;
mod fault;
mod finish;
mod json;
mod rest;
mod value;

pub(crate) use encode::{lines, numbered_rows};
pub(crate) use finish::{is_json, json as json_field};

use crate::Result;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// The column of the fields that are not declared: one JSON object a row, null where there are none.
pub const REST: &str = "_rest";

/// A schema that was checked. Cheap to copy.
///
/// As JSON it is `{"fields": [..], "unknown_fields": "keep" | "drop", "timestamp_format": "rfc3339" | "unix_millis"}`, the
/// last two optional; each field is `{"name", "type", "required", "unit", "items", "fields", "precision", "scale"}` as the
/// API for streams has them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeclaredSchema {
    fields: Arc<[DeclaredField]>,
    unknown: UnknownFields,
    timestamps: TimestampFormat,
}

/// A field that events shall have.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeclaredField {
    /// Its name, 1 to 255 bytes, without control characters.
    pub name: String,
    /// What it holds.
    pub value: DeclaredValue,
}

/// What a field or the items of a list hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeclaredValue {
    /// Its type.
    pub kind: DeclaredType,
    /// Whether it must be there and not null.
    pub required: bool,
}

/// The type of a value. Enums are stored by their variant's number: new variants go to the end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum DeclaredType {
    /// `true` or `false`.
    Bool,
    /// Integers of 32 bits; a number with a fraction or an exponent is none.
    Int32,
    /// Integers of 64 bits.
    Int64,
    /// Integers of 32 bits, not negative.
    UInt32,
    /// Integers of 64 bits, not negative.
    UInt64,
    /// Single precision, rounded to the nearest.
    Float32,
    /// Double precision, rounded to the nearest.
    Float64,
    /// Decimal numbers, exact; in JSON a number or a string that writes one.
    Decimal {
        /// Digits in all, 1 to 38.
        precision: u8,
        /// Digits after the point, at most `precision`.
        scale: u8,
    },
    /// Text.
    String,
    /// A moment.
    Timestamp(TimestampUnit),
    /// Any value, kept as the JSON text it came as.
    Json,
    /// Bytes; in JSON a string in base64.
    Bytes,
    /// The same as [`Self::Bytes`], shown under the other name the API has for it.
    Binary,
    /// An array.
    List(Box<DeclaredValue>),
    /// An object.
    Struct(Vec<DeclaredField>),
}

/// How fine the timestamps of a field are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TimestampUnit {
    /// Seconds; in the files milliseconds, which are the coarsest Parquet has.
    Second,
    /// Milliseconds.
    Millisecond,
    /// Microseconds.
    Microsecond,
    /// Nanoseconds, from the year 1677 to 2262.
    Nanosecond,
}

/// How events write timestamps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub enum TimestampFormat {
    /// As RFC 3339 text, or as a whole number in the unit of the field.
    #[default]
    Either,
    /// As RFC 3339 text.
    Rfc3339,
    /// As a whole number of milliseconds since 1970, whatever the unit of the field.
    UnixMillis,
}

/// What happens to fields that are not declared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum UnknownFields {
    /// They go to the column [`REST`], in the order they came; those inside structs under the struct's name, those inside
    /// items of lists under the item's number.
    #[default]
    Keep,
    /// They are left out of the columns.
    Drop,
}

impl DeclaredSchema {
    /// A schema of these fields, if it is one: [`crate::Error::InvalidSetting`] says what is wrong and where.
    pub fn new(fields: Vec<DeclaredField>, unknown: UnknownFields, timestamps: TimestampFormat) -> Result<Self> {
        check::fields(&fields)?;
        Ok(Self { fields: fields.into(), unknown, timestamps })
    }

    /// The fields, in the order of the columns.
    pub fn fields(&self) -> &[DeclaredField] {
        &self.fields
    }

    /// What happens to other fields.
    pub fn unknown(&self) -> UnknownFields {
        self.unknown
    }

    /// How events write timestamps.
    pub fn timestamps(&self) -> TimestampFormat {
        self.timestamps
    }

    /// The same fields, other timestamps: streams say how these are written beside their schema.
    #[must_use]
    pub fn with_timestamps(self, timestamps: TimestampFormat) -> Self {
        Self { timestamps, ..self }
    }

    /// The same fields, and other things happen to fields that are not declared.
    #[must_use]
    pub fn with_unknown(self, unknown: UnknownFields) -> Self {
        Self { unknown, ..self }
    }
}

impl DeclaredType {
    /// Its name in JSON.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Bool => "bool",
            Self::Int32 => "int32",
            Self::Int64 => "int64",
            Self::UInt32 => "uint32",
            Self::UInt64 => "uint64",
            Self::Float32 => "float32",
            Self::Float64 => "float64",
            Self::Decimal { .. } => "decimal128",
            Self::String => "string",
            Self::Timestamp(_) => "timestamp",
            Self::Json => "json",
            Self::Bytes => "bytes",
            Self::Binary => "binary",
            Self::List(_) => "list",
            Self::Struct(_) => "struct",
        }
    }
}

#[cfg(test)]
mod tests;
