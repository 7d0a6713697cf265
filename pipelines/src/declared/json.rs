//! A schema as JSON, in the shape of the API for streams, and as it lies in a row.

use super::check::{inside, refuse};
use super::{
    DeclaredField, DeclaredSchema, DeclaredType, DeclaredValue, TimestampFormat, TimestampUnit, UnknownFields,
};
use crate::{Error, Result};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::str::FromStr;

/// What is not said about a timestamp's unit.
const UNIT_DEFAULT: TimestampUnit = TimestampUnit::Millisecond;

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SchemaBody {
    fields: Vec<FieldBody>,
    unknown_fields: Option<UnknownFields>,
    #[serde(skip_serializing_if = "Option::is_none")]
    timestamp_format: Option<String>,
}

/// A field, or the items of a list, whose name means nothing.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct FieldBody {
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    required: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    unit: Option<TimestampUnit>,
    #[serde(skip_serializing_if = "Option::is_none")]
    items: Option<Box<FieldBody>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    fields: Option<Vec<FieldBody>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    precision: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    scale: Option<u8>,
}

/// The schema in a row.
#[derive(Debug, Serialize, Deserialize)]
struct Row<F> {
    fields: F,
    unknown: UnknownFields,
    timestamps: TimestampFormat,
}

impl Serialize for DeclaredSchema {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if !serializer.is_human_readable() {
            let row = Row { fields: &*self.fields, unknown: self.unknown, timestamps: self.timestamps };
            return row.serialize(serializer);
        }
        let body = SchemaBody {
            fields: self.fields.iter().map(field_body).collect(),
            unknown_fields: Some(self.unknown),
            timestamp_format: self.timestamps.name().map(Into::into),
        };
        body.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for DeclaredSchema {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if !deserializer.is_human_readable() {
            let row: Row<Vec<DeclaredField>> = Row::deserialize(deserializer)?;
            return Ok(Self { fields: row.fields.into(), unknown: row.unknown, timestamps: row.timestamps });
        }
        let body = SchemaBody::deserialize(deserializer)?;
        body.into_schema().map_err(D::Error::custom)
    }
}

impl SchemaBody {
    fn into_schema(self) -> Result<DeclaredSchema> {
        let timestamps = self.timestamp_format.as_deref().map(str::parse).transpose()?.unwrap_or_default();
        DeclaredSchema::new(read_fields(self.fields, "")?, self.unknown_fields.unwrap_or_default(), timestamps)
    }
}

fn read_fields(fields: Vec<FieldBody>, path: &str) -> Result<Vec<DeclaredField>> {
    let read = |mut field: FieldBody| {
        let name = field.name.take().ok_or_else(|| refuse(&inside(path, "?"), "give every field a name"))?;
        let value = field.into_value(&inside(path, &name))?;
        Ok(DeclaredField { name, value })
    };
    fields.into_iter().map(read).collect()
}

impl FieldBody {
    fn into_value(mut self, path: &str) -> Result<DeclaredValue> {
        let kind = match self.kind.as_str() {
            "bool" => DeclaredType::Bool,
            "int32" => DeclaredType::Int32,
            "int64" => DeclaredType::Int64,
            "uint32" => DeclaredType::UInt32,
            "uint64" => DeclaredType::UInt64,
            "float32" => DeclaredType::Float32,
            "float64" => DeclaredType::Float64,
            "decimal128" => {
                let precision = self.precision.take();
                let precision = precision.ok_or_else(|| refuse(path, "a decimal128 needs a precision of 1 to 38"))?;
                DeclaredType::Decimal { precision, scale: self.scale.take().unwrap_or(0) }
            }
            "string" => DeclaredType::String,
            "timestamp" => DeclaredType::Timestamp(self.unit.take().unwrap_or(UNIT_DEFAULT)),
            "json" => DeclaredType::Json,
            "bytes" => DeclaredType::Bytes,
            "binary" => DeclaredType::Binary,
            "list" => {
                let items = self
                    .items
                    .take()
                    .ok_or_else(|| refuse(path, "a list needs items, such as {\"type\":\"string\"}"))?;
                DeclaredType::List(Box::new(items.into_value(&format!("{path}[]"))?))
            }
            "struct" => DeclaredType::Struct(read_fields(self.fields.take().unwrap_or_default(), path)?),
            _ => {
                return Err(refuse(
                    path,
                    "the type is not known; use bool, int32, int64, uint32, uint64, float32, float64, decimal128, string, \
                     timestamp, json, bytes, list or struct",
                ));
            }
        };
        self.nothing_left(path)?;
        Ok(DeclaredValue { kind, required: self.required })
    }

    /// Refuses what belongs to other types.
    fn nothing_left(&self, path: &str) -> Result<()> {
        let rule = if self.unit.is_some() {
            "only a timestamp has a unit; leave it out"
        } else if self.items.is_some() {
            "only a list has items; leave them out"
        } else if self.fields.is_some() {
            "only a struct has fields; leave them out"
        } else if self.precision.is_some() || self.scale.is_some() {
            "only a decimal128 has precision and scale; leave them out"
        } else {
            return Ok(());
        };
        Err(refuse(path, rule))
    }
}

fn field_body(field: &DeclaredField) -> FieldBody {
    FieldBody { name: Some(field.name.clone()), ..value_body(&field.value) }
}

fn value_body(value: &DeclaredValue) -> FieldBody {
    let body = FieldBody { kind: value.kind.name().to_owned(), required: value.required, ..FieldBody::default() };
    match &value.kind {
        DeclaredType::Decimal { precision, scale } => {
            FieldBody { precision: Some(*precision), scale: Some(*scale), ..body }
        }
        DeclaredType::Timestamp(unit) => FieldBody { unit: Some(*unit), ..body },
        DeclaredType::List(items) => FieldBody { items: Some(Box::new(value_body(items))), ..body },
        DeclaredType::Struct(fields) => FieldBody { fields: Some(fields.iter().map(field_body).collect()), ..body },
        _ => body,
    }
}

impl fmt::Display for TimestampUnit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Second => "second",
            Self::Millisecond => "millisecond",
            Self::Microsecond => "microsecond",
            Self::Nanosecond => "nanosecond",
        })
    }
}

impl TimestampFormat {
    /// Its name in JSON; none for what holds when nothing is said.
    pub fn name(self) -> Option<&'static str> {
        match self {
            Self::Either => None,
            Self::Rfc3339 => Some("rfc3339"),
            Self::UnixMillis => Some("unix_millis"),
        }
    }
}

impl FromStr for TimestampFormat {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "rfc3339" => Ok(Self::Rfc3339),
            "unix_millis" => Ok(Self::UnixMillis),
            _ => Err(Error::InvalidSetting {
                field: "timestamp format",
                given: text.chars().take(128).collect(),
                rule: "use rfc3339 or unix_millis, or leave it out for both",
            }),
        }
    }
}
