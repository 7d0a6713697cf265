//! The columns of a pipeline: inferred from its events, kept from batch to batch, and only ever growing wider.
//!
//! A field has the kind of the first value seen in it. From then on it widens where nothing is lost (integer to unsigned
//! integer to double, each only while every value stays exact) and never changes otherwise: events that do not fit are
//! dead letters, or, where a pipeline wants mixed types, the field becomes one of JSON for good. A field of which only `null`, `{}` or `[]` has been seen has no kind yet and is no column.

use crate::declared::json_field;
use arrow_schema::{DataType, Field, Fields, Schema};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// The most columns a pipeline may have, nested ones and the structs and lists around them counted.
pub(crate) const COLUMNS_MAX: usize = 2_000;

/// The longest all field names together may be, in bytes, so that the schema fits one row.
pub(crate) const NAME_BYTES_MAX: usize = 64_000;

/// The columns of a pipeline, in the order they were first seen.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct EventSchema {
    pub(crate) fields: Vec<SchemaField>,
}

/// One column.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SchemaField {
    pub(crate) name: String,
    pub(crate) kind: Kind,
}

/// What a column holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Kind {
    Bool,
    /// Signed 64-bit integers.
    Int,
    /// Unsigned 64-bit integers.
    UInt,
    /// Doubles.
    Float,
    Text,
    Struct(Vec<SchemaField>),
    List(Box<Kind>),
    /// Any value, as its JSON.
    Json,
}

/// One step to a field: its name, and how many lists lie between it and the object or value that is meant.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct PathStep {
    pub(crate) name: String,
    pub(crate) lists: usize,
}

impl PathStep {
    /// The kind inside the lists of this step.
    fn kind_around(&self, item: Kind) -> Kind {
        (0..self.lists).fold(item, |kind, _| Kind::List(Box::new(kind)))
    }
}

impl Kind {
    /// What is in the lists, if it is one.
    fn item_mut(&mut self) -> &mut Self {
        match self {
            Self::List(item) => item.item_mut(),
            kind => kind,
        }
    }

    /// The kind as Arrow and Parquet know it.
    pub(crate) fn data_type(&self) -> DataType {
        match self {
            Self::Bool => DataType::Boolean,
            Self::Int => DataType::Int64,
            Self::UInt => DataType::UInt64,
            Self::Float => DataType::Float64,
            Self::Text | Self::Json => DataType::Utf8,
            Self::Struct(fields) => DataType::Struct(arrow_fields(fields)),
            Self::List(item) => DataType::List(Arc::new(Field::new_list_field(item.data_type(), true))),
        }
    }
}

/// Fields as Arrow knows them; any of them may be null.
pub(crate) fn arrow_fields(fields: &[SchemaField]) -> Fields {
    let arrow_field = |field: &SchemaField| {
        let made = Field::new(&field.name, field.kind.data_type(), true);
        if field.kind == Kind::Json { json_field(made) } else { made }
    };
    fields.iter().map(arrow_field).collect()
}

impl EventSchema {
    /// The schema as Arrow knows it.
    pub(crate) fn arrow(&self) -> Arc<Schema> {
        Arc::new(Schema::new(arrow_fields(&self.fields)))
    }

    /// Makes the field at a path one of JSON, with what is missing around it. Where something else than the objects of the path stands
    /// on the way, that becomes JSON.
    pub(crate) fn make_json(&mut self, path: &[PathStep]) {
        make_json(&mut self.fields, path);
    }

    /// Whether it keeps the limits of a schema.
    pub(crate) fn fits(&self) -> bool {
        let (columns, name_bytes) = fields_size(&self.fields);
        columns <= COLUMNS_MAX && name_bytes <= NAME_BYTES_MAX
    }
}

fn make_json(fields: &mut Vec<SchemaField>, path: &[PathStep]) {
    match path {
        [] => {}
        [last] => field_or_new(fields, &last.name, || Kind::Json).kind = Kind::Json,
        [step, further @ ..] => {
            let field = field_or_new(fields, &step.name, || step.kind_around(Kind::Struct(Vec::new())));
            if let Kind::Struct(inner) = field.kind.item_mut() {
                make_json(inner, further);
            } else {
                field.kind = Kind::Json;
            }
        }
    }
}

/// The field of that name; a new one if there is none.
fn field_or_new<'a>(fields: &'a mut Vec<SchemaField>, name: &str, kind: impl FnOnce() -> Kind) -> &'a mut SchemaField {
    let at = fields.iter().position(|field| field.name == name).unwrap_or_else(|| {
        fields.push(SchemaField { name: name.to_owned(), kind: kind() });
        fields.len() - 1
    });
    &mut fields[at]
}

/// How many columns the fields are, as [`COLUMNS_MAX`] counts them, and the bytes of their names.
fn fields_size(fields: &[SchemaField]) -> (usize, usize) {
    fields.iter().fold((0, 0), |(columns, name_bytes), field| {
        let (inside, names_inside) = size_inside(&field.kind);
        (columns + 1 + inside, name_bytes + field.name.len() + names_inside)
    })
}

/// The same of what is in a column.
fn size_inside(kind: &Kind) -> (usize, usize) {
    match kind {
        Kind::Struct(fields) => fields_size(fields),
        Kind::List(item) => {
            let (inside, name_bytes) = size_inside(item);
            (1 + inside, name_bytes)
        }
        _ => (0, 0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rows::SCHEMAS;
    use cistern_metadata::{MemoryEngine, Store};

    #[tokio::test]
    async fn the_largest_schema_allowed_fits_its_row() {
        let name_bytes = NAME_BYTES_MAX / COLUMNS_MAX;
        let field =
            |n: usize| SchemaField { name: format!("{n:0name_bytes$}"), kind: Kind::List(Box::new(Kind::Text)) };
        let schema = EventSchema { fields: (0..COLUMNS_MAX).map(field).collect() };
        let store = Store::new(Arc::new(MemoryEngine::new()));
        let id = crate::PipelineId::random();
        let mut txn = store.begin().await.unwrap();
        SCHEMAS.put(&mut txn, &id, &schema).unwrap();
        txn.commit().await.unwrap();
        let mut txn = store.begin().await.unwrap();
        assert_eq!(SCHEMAS.get(&mut txn, &id).await.unwrap(), Some(schema));
    }
}
