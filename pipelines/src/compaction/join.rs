//! The columns of several files brought together by the rules that hold within a pipeline: a column that a file does not have
//! is null there, and integers widen to unsigned ones and to doubles where every value stays exact. What else differs cannot be
//! brought together; nothing is changed silently.
//!
//! Above: `parquet_files`, with schemas as files have them and the range of every column of integers from their footers.
//! [`Columns`] is a schema with these ranges; [`conform`] makes rows of one file rows of all.

use crate::columns;
use arrow_array::cast::AsArray as _;
use arrow_array::{Array as _, ArrayRef, ListArray, RecordBatch, StructArray, new_null_array};
use arrow_cast::{CastOptions, cast_with_options};
use arrow_schema::{ArrowError, DataType, Field, FieldRef, Fields, Schema, SchemaRef};
use std::collections::BTreeSet;
use std::sync::Arc;

/// The same with a sign.
const EXACT_MAX: i128 = columns::EXACT_MAX as i128;

/// The least and the greatest integer of a column; `None` when it has none.
pub(super) type Range = Option<(i128, i128)>;

/// The columns of one or more files.
#[derive(Debug, Clone)]
pub(super) struct Columns(Vec<Column>);

#[derive(Debug, Clone)]
struct Column {
    /// Its name, marks and whether it may be null; the type of one with others inside is made of theirs.
    field: FieldRef,
    inside: Inside,
}

#[derive(Debug, Clone)]
enum Inside {
    Values(Range),
    Struct(Vec<Column>),
    List(Box<Column>),
}

impl Columns {
    /// The columns of a file, with the range of each leaf in the order of the leaves. `None` when it has a type that no
    /// pipeline writes, a name twice, or not as many leaves.
    pub(super) fn of(schema: &Schema, leaves: Vec<Range>) -> Option<Self> {
        let mut leaves = leaves.into_iter();
        let columns = columns_of(schema.fields(), &mut leaves)?;
        leaves.next().is_none().then_some(Self(columns))
    }

    /// The columns of these files and further ones, or why that cannot be.
    pub(super) fn joined(&self, other: &Self) -> Result<Self, String> {
        join_all(&self.0, &other.0, "").map(Self)
    }

    pub(super) fn schema(&self) -> SchemaRef {
        Arc::new(Schema::new(fields(&self.0)))
    }
}

fn columns_of(fields: &Fields, leaves: &mut impl Iterator<Item = Range>) -> Option<Vec<Column>> {
    let mut names = BTreeSet::new();
    fields.iter().map(|field| names.insert(field.name()).then(|| Column::of(field, leaves))?).collect()
}

fn fields(columns: &[Column]) -> Fields {
    columns.iter().map(Column::field).collect()
}

fn join_all(before: &[Column], here: &[Column], parent: &str) -> Result<Vec<Column>, String> {
    let named = |columns: &[Column], name: &str| columns.iter().position(|column| column.field.name() == name);
    let mut all = Vec::with_capacity(before.len());
    for column in before {
        all.push(match named(here, column.field.name()) {
            Some(at) => column.joined(&here[at], parent)?,
            None => column.clone().nullable(true),
        });
    }
    let new = here.iter().filter(|column| named(before, column.field.name()).is_none());
    all.extend(new.map(|column| column.clone().nullable(true)));
    Ok(all)
}

impl Column {
    fn of(field: &FieldRef, leaves: &mut impl Iterator<Item = Range>) -> Option<Self> {
        let inside = match field.data_type() {
            DataType::Struct(fields) => Inside::Struct(columns_of(fields, leaves)?),
            DataType::List(item) => Inside::List(Box::new(Self::of(item, leaves)?)),
            other if other.is_nested() => return None,
            _ => Inside::Values(leaves.next()?),
        };
        Some(Self { field: Arc::clone(field), inside })
    }

    fn field(&self) -> FieldRef {
        let data_type = match &self.inside {
            Inside::Values(_) => return Arc::clone(&self.field),
            Inside::Struct(columns) => DataType::Struct(fields(columns)),
            Inside::List(item) => DataType::List(item.field()),
        };
        Arc::new(Field::clone(&self.field).with_data_type(data_type))
    }

    /// The same, null where there is nothing if it `also` may be.
    fn nullable(mut self, also: bool) -> Self {
        if also && !self.field.is_nullable() {
            self.field = Arc::new(Field::clone(&self.field).with_nullable(true));
        }
        self
    }

    /// `parent` is the path of what both lie in, with a dot.
    fn joined(&self, other: &Self, parent: &str) -> Result<Self, String> {
        let (before, here) = (&self.field, &other.field);
        let path = format!("{parent}{}", before.name());
        let differ = || {
            let marks = if before.data_type() == here.data_type() { ", with other marks" } else { "" };
            format!("column {path}: {} here{marks}, but {} in the files before", here.data_type(), before.data_type())
        };
        if before.metadata() != here.metadata() {
            return Err(differ());
        }
        let (field, inside) = match (&self.inside, &other.inside) {
            (Inside::Struct(one), Inside::Struct(other)) => {
                (Arc::clone(before), Inside::Struct(join_all(one, other, &format!("{path}."))?))
            }
            (Inside::List(one), Inside::List(other)) => {
                (Arc::clone(before), Inside::List(Box::new(one.joined(other, &format!("{path}."))?)))
            }
            (Inside::Values(one), Inside::Values(other)) => {
                let data_type = widened((before.data_type(), *one), (here.data_type(), *other)).ok_or_else(differ)?;
                let field = Field::clone(before).with_data_type(data_type);
                (Arc::new(field), Inside::Values(both(*one, *other)))
            }
            _ => return Err(differ()),
        };
        Ok(Self { field, inside }.nullable(here.is_nullable()))
    }
}

fn both(one: Range, other: Range) -> Range {
    match (one, other) {
        (Some((min, max)), Some((other_min, other_max))) => Some((min.min(other_min), max.max(other_max))),
        (one, other) => one.or(other),
    }
}

/// The type that holds the values of both exactly: the same, or the wider one of two that numbers widen to.
fn widened((one, one_range): (&DataType, Range), (other, other_range): (&DataType, Range)) -> Option<DataType> {
    use DataType::{Float64, Int64, UInt64};
    let within = |range: Range, least, greatest| range.is_none_or(|(min, max)| min >= least && max <= greatest);
    let exact = |range| within(range, -EXACT_MAX, EXACT_MAX);
    match (one, other) {
        (one, other) if one == other => Some(one.clone()),
        (Int64, UInt64) if within(one_range, 0, i128::MAX) => Some(UInt64),
        (UInt64, Int64) if within(other_range, 0, i128::MAX) => Some(UInt64),
        (Int64 | UInt64, Float64) if exact(one_range) => Some(Float64),
        (Float64, Int64 | UInt64) if exact(other_range) => Some(Float64),
        _ => None,
    }
}

/// Rows of one file as rows of all, whose columns are `schema`.
pub(super) fn conform(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch, ArrowError> {
    if batch.schema().fields() == schema.fields() {
        return RecordBatch::try_new(Arc::clone(schema), batch.columns().to_vec());
    }
    let columns = |field: &FieldRef| match batch.column_by_name(field.name()) {
        Some(column) => conform_column(column, field),
        None => Ok(new_null_array(field.data_type(), batch.num_rows())),
    };
    RecordBatch::try_new(Arc::clone(schema), schema.fields().iter().map(columns).collect::<Result<_, _>>()?)
}

fn conform_column(column: &ArrayRef, field: &Field) -> Result<ArrayRef, ArrowError> {
    if column.data_type() == field.data_type() {
        return Ok(Arc::clone(column));
    }
    match field.data_type() {
        DataType::Struct(fields) => {
            let whole = column.as_struct_opt().ok_or_else(|| other_type(column, field))?;
            let columns = fields.iter().map(|field| match whole.column_by_name(field.name()) {
                Some(column) => conform_column(column, field),
                None => Ok(new_null_array(field.data_type(), whole.len())),
            });
            let columns = columns.collect::<Result<_, _>>()?;
            Ok(Arc::new(StructArray::try_new(fields.clone(), columns, whole.nulls().cloned())?))
        }
        DataType::List(item) => {
            let list = column.as_list_opt::<i32>().ok_or_else(|| other_type(column, field))?;
            let items = conform_column(list.values(), item)?;
            let (offsets, nulls) = (list.offsets().clone(), list.nulls().cloned());
            Ok(Arc::new(ListArray::try_new(Arc::clone(item), offsets, items, nulls)?))
        }
        wider => widen(column, wider),
    }
}

/// The numbers as others that hold them exactly, which the footers have said is possible.
fn widen(column: &ArrayRef, wider: &DataType) -> Result<ArrayRef, ArrowError> {
    let strictly = CastOptions { safe: false, ..CastOptions::default() };
    let widened = cast_with_options(column, wider, &strictly)?;
    let back = cast_with_options(&widened, column.data_type(), &strictly)?;
    if back.to_data() != column.to_data() {
        return Err(ArrowError::CastError(format!("not every {} is a {wider}", column.data_type())));
    }
    Ok(widened)
}

fn other_type(column: &ArrayRef, field: &Field) -> ArrowError {
    ArrowError::SchemaError(format!("field {}: {} instead of {}", field.name(), column.data_type(), field.data_type()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::declared::json_field;
    use arrow_array::types::Int64Type;
    use arrow_array::{Float64Array, Int64Array, PrimitiveArray, StringArray, UInt64Array};

    fn field(name: &str, data_type: DataType) -> Field {
        Field::new(name, data_type, true)
    }

    fn columns(fields: Vec<Field>, leaves: &[Range]) -> Columns {
        Columns::of(&Schema::new(fields), leaves.to_vec()).unwrap()
    }

    fn one(data_type: DataType, range: Range) -> Columns {
        columns(vec![field("a", data_type)], &[range])
    }

    #[track_caller]
    fn check(before: (DataType, Range), here: (DataType, Range), expected: Option<&DataType>) {
        let joined = one(before.0, before.1).joined(&one(here.0, here.1));
        let found = joined.as_ref().ok().map(|joined| joined.schema().field(0).data_type().clone());
        assert_eq!(found.as_ref(), expected, "{joined:?}");
    }

    #[test]
    fn numbers_widen_where_every_value_stays_exact() {
        use DataType::{Float64, Int32, Int64, UInt64, Utf8};
        let (small, negative, large) = (Some((0, 9)), Some((-9, 9)), Some((0, EXACT_MAX + 1)));
        for (before, here, expected) in [
            ((Int64, negative), (Int64, large), Some(Int64)),
            ((Int64, small), (UInt64, large), Some(UInt64)),
            ((Int64, negative), (UInt64, large), None),
            ((UInt64, large), (Int64, None), Some(UInt64)),
            ((Int64, negative), (Float64, None), Some(Float64)),
            ((Int64, large), (Float64, None), None),
            ((Float64, None), (UInt64, large), None),
            ((Float64, None), (UInt64, Some((0, EXACT_MAX))), Some(Float64)),
            ((Int32, small), (Int64, small), None),
            ((Utf8, None), (Int64, None), None),
        ] {
            check(before, here, expected.as_ref());
        }
        // What was joined remembers the values of all.
        let joined = one(Int64, negative).joined(&one(Int64, small)).unwrap();
        assert!(joined.joined(&one(UInt64, large)).is_err());
        assert!(joined.joined(&one(Float64, None)).is_ok());
    }

    #[test]
    fn columns_of_one_file_only_may_be_null_and_come_after_those_before_also_inside_of_others() {
        let inner = |fields: Vec<Field>| field("s", DataType::Struct(fields.into()));
        let items = |fields: Vec<Field>| {
            field("l", DataType::List(Arc::new(Field::new_list_field(DataType::Struct(fields.into()), true))))
        };
        let x = || Field::new("x", DataType::Int64, false);
        let y = || field("y", DataType::Utf8);
        let first = columns(vec![x(), inner(vec![x()]), items(vec![x()])], &[None; 3]);
        let second = columns(vec![inner(vec![y(), x()]), items(vec![y()]), y()], &[None; 4]);
        let joined = first.joined(&second).unwrap().schema();
        let maybe_x = || x().with_nullable(true);
        let expected = [maybe_x(), inner(vec![x(), y()]), items(vec![maybe_x(), y()]), y()];
        assert_eq!(*joined, Schema::new(expected.to_vec()));
    }

    #[test]
    fn other_types_and_marks_are_refused_by_the_path_of_the_column() {
        let text = || field("v", DataType::Utf8);
        let inside = |field: Field| columns(vec![Field::new("s", DataType::Struct(vec![field].into()), true)], &[None]);
        let refused = inside(text()).joined(&inside(json_field(text()))).unwrap_err();
        assert_eq!(refused, "column s.v: Utf8 here, with other marks, but Utf8 in the files before");
        let refused = inside(text()).joined(&inside(field("v", DataType::Boolean))).unwrap_err();
        assert_eq!(refused, "column s.v: Boolean here, but Utf8 in the files before");
        let nested = columns(vec![field("s", DataType::List(Arc::new(text())))], &[None]);
        assert!(inside(text()).joined(&nested).is_err());
    }

    #[test]
    fn what_no_pipeline_writes_has_no_columns() {
        let of = |fields: Vec<Field>, leaves: usize| Columns::of(&Schema::new(fields), vec![None; leaves]);
        let text = || field("v", DataType::Utf8);
        assert!(of(vec![text()], 1).is_some());
        assert!(of(vec![text()], 2).is_none() && of(vec![text()], 0).is_none());
        assert!(of(vec![text(), text()], 2).is_none(), "a name twice");
        assert!(of(vec![field("l", DataType::LargeList(Arc::new(text())))], 1).is_none());
    }

    #[test]
    fn rows_conform_with_nulls_where_nothing_was_and_values_as_they_were() {
        let numbers: ArrayRef = Arc::new(Int64Array::from(vec![Some(1), None, Some(-3)]));
        let inner = StructArray::from(vec![(Arc::new(field("n", DataType::Int64)), Arc::clone(&numbers))]);
        let list = ListArray::from_iter_primitive::<Int64Type, _, _>([Some(vec![Some(7)]), None, Some(vec![None])]);
        let batch = RecordBatch::try_from_iter_with_nullable([
            ("s", Arc::new(inner) as ArrayRef, true),
            ("l", Arc::new(list) as ArrayRef, true),
            ("n", numbers, true),
        ])
        .unwrap();
        let wide = |name: &str| field(name, DataType::Float64);
        let fields = vec![
            wide("n"),
            field("new", DataType::Utf8),
            field("l", DataType::List(Arc::new(Field::new_list_field(DataType::Float64, true)))),
            field("s", DataType::Struct(vec![wide("n"), field("t", DataType::Utf8)].into())),
        ];
        let done = conform(&batch, &Arc::new(Schema::new(fields))).unwrap();
        let expected = Float64Array::from(vec![Some(1.0), None, Some(-3.0)]);
        assert_eq!(done["n"].as_primitive(), &expected);
        assert_eq!(done["new"].as_ref(), &StringArray::from(vec![None::<&str>; 3]));
        assert_eq!(done["s"].as_struct()["n"].as_primitive(), &expected);
        assert_eq!(done["s"].as_struct()["t"].null_count(), 3);
        assert_eq!(done["l"].as_list::<i32>().value(0).as_primitive(), &Float64Array::from(vec![7.0]));
        assert_eq!((done["l"].is_null(1), done["l"].as_list::<i32>().value(2).null_count()), (true, 1));
    }

    #[test]
    fn a_value_that_would_not_stay_exact_is_an_error_and_never_another_value() {
        let of = |array: ArrayRef| RecordBatch::try_from_iter_with_nullable([("n", array, true)]).unwrap();
        let to = |data_type: DataType| Arc::new(Schema::new(vec![field("n", data_type)]));
        let numbers = |value: i64| of(Arc::new(PrimitiveArray::<Int64Type>::from(vec![value])));
        for (batch, wider) in [
            (numbers((1 << 53) + 1), DataType::Float64),
            (numbers(i64::MAX), DataType::Float64),
            (numbers(-1), DataType::UInt64),
            (of(Arc::new(UInt64Array::from(vec![u64::MAX]))), DataType::Float64),
        ] {
            assert!(conform(&batch, &to(wider.clone())).is_err(), "{batch:?} as {wider}");
        }
        assert!(conform(&numbers(1 << 53), &to(DataType::Float64)).is_ok());
    }
}
