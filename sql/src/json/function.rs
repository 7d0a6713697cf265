//! The functions that read JSON, one row at a time. What is not there, or is no JSON, gives NULL.

use super::decimal;
use super::field;
use super::path::JsonPath;
use super::scan::{self, Step};
use arrow_array::builder::{
    BooleanBuilder, Decimal128Builder, Float64Builder, Int64Builder, ListBuilder, StringBuilder,
};
use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_array::{Array, ArrayRef, Int64Array, StringArray};
use arrow_schema::{DataType, Field, FieldRef};
use datafusion_common::{Result, ScalarValue, exec_err, plan_err};
use datafusion_expr::expr::ScalarFunction;
use datafusion_expr::{
    ColumnarValue, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use std::sync::Arc;

/// What a function gives of the value it finds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Kind {
    /// JSON.
    Get,
    /// JSON too, under another name.
    Json,
    /// Text: of a string what it says, else JSON; NULL of `null`.
    Text,
    /// What a string says.
    Str,
    /// A whole number.
    Int,
    /// Any number.
    Float,
    /// A truth.
    Bool,
    /// Whether there is a value.
    Contains,
    /// How many values an array or object has.
    Length,
    /// All that a path finds.
    Extract,
    /// The first that a path finds, when it is a string.
    ExtractString,
    /// A number in text or JSON, for comparisons.
    AsDouble,
    /// The same, exactly.
    AsDecimal,
    /// A truth in text or JSON, for comparisons.
    AsBoolean,
}

impl Kind {
    /// Those that people call.
    pub(super) const PUBLIC: [Self; 11] = [
        Self::Get,
        Self::Json,
        Self::Text,
        Self::Str,
        Self::Int,
        Self::Float,
        Self::Bool,
        Self::Contains,
        Self::Length,
        Self::Extract,
        Self::ExtractString,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Get => "json_get",
            Self::Json => "json_get_json",
            Self::Text => "json_as_text",
            Self::Str => "json_get_str",
            Self::Int => "json_get_int",
            Self::Float => "json_get_float",
            Self::Bool => "json_get_bool",
            Self::Contains => "json_contains",
            Self::Length => "json_length",
            Self::Extract => "extract_json",
            Self::ExtractString => "extract_json_string",
            Self::AsDouble => "json_as_double",
            Self::AsDecimal => "json_as_decimal",
            Self::AsBoolean => "json_as_boolean",
        }
    }

    /// Whether it gives text that may be a number.
    pub(super) fn is_text(self) -> bool {
        matches!(self, Self::Get | Self::Json | Self::Text | Self::Str | Self::ExtractString)
    }

    fn takes_path(self) -> bool {
        matches!(self, Self::Extract | Self::ExtractString)
    }

    fn returns(self) -> DataType {
        match self {
            Self::Get | Self::Json | Self::Text | Self::Str | Self::ExtractString => DataType::Utf8,
            Self::Int | Self::Length => DataType::Int64,
            Self::Float | Self::AsDouble => DataType::Float64,
            Self::Bool | Self::Contains | Self::AsBoolean => DataType::Boolean,
            Self::AsDecimal => DataType::Decimal128(decimal::DIGITS, decimal::SCALE),
            Self::Extract => DataType::List(field(Field::LIST_FIELD_DEFAULT_NAME)),
        }
    }
}

#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct JsonFunction {
    kind: Kind,
    signature: Signature,
}

impl JsonFunction {
    pub(super) fn udf(kind: Kind) -> ScalarUDF {
        ScalarUDF::new_from_impl(Self { kind, signature: Signature::user_defined(Volatility::Immutable) })
    }

    pub(super) fn call(kind: Kind, document: Expr) -> Expr {
        Expr::ScalarFunction(ScalarFunction::new_udf(Arc::new(Self::udf(kind)), vec![document]))
    }

    pub(super) fn kind(&self) -> Kind {
        self.kind
    }
}

impl ScalarUDFImpl for JsonFunction {
    fn name(&self) -> &'static str {
        self.kind.name()
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arg_types: &[DataType]) -> Result<DataType> {
        Ok(self.kind.returns())
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        if self.kind.takes_path()
            && let Some(Some(path)) = args.scalar_arguments.get(1)
            && let Some(path) = path.try_as_str().flatten()
            && let Err(wrong) = JsonPath::parse(path)
        {
            return plan_err!("{wrong}");
        }
        Ok(match self.kind {
            Kind::Get | Kind::Json => field(self.name()),
            kind => Arc::new(Field::new(self.name(), kind.returns(), true)),
        })
    }

    fn coerce_types(&self, arg_types: &[DataType]) -> Result<Vec<DataType>> {
        let name = self.name();
        let Some((document, steps)) = arg_types.split_first() else {
            return plan_err!("{name} takes JSON and the way to a value in it, as in {name}(value, 'name', 0)");
        };
        if !document.is_string() && !document.is_null() {
            return plan_err!("{name} reads JSON, not {document}");
        }
        if self.kind.takes_path() && !matches!(steps, [path] if path.is_string()) {
            return plan_err!("{name} takes JSON and a path, as in {name}(value, '$.name[0]')");
        }
        let steps = steps.iter().map(|step| match step {
            step if step.is_string() => Ok(DataType::Utf8),
            step if step.is_integer() => Ok(DataType::Int64),
            other => plan_err!("{name} takes names and whole numbers as the way to a value, not {other}"),
        });
        std::iter::once(Ok(DataType::Utf8)).chain(steps).collect()
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let scalar = args.args.iter().all(|arg| matches!(arg, ColumnarValue::Scalar(_)));
        let rows = if scalar { 1 } else { args.number_rows };
        let Some((document, steps)) = args.args.split_first() else {
            return exec_err!("{} takes JSON", self.name());
        };
        let document = document.to_array(rows)?;
        let documents: &StringArray = document.as_string();
        let array = if self.kind.takes_path() {
            extract(self.kind, documents, steps)?
        } else {
            read(self.kind, documents, steps)?
        };
        Ok(if scalar {
            ColumnarValue::Scalar(ScalarValue::try_from_array(&array, 0)?)
        } else {
            ColumnarValue::Array(array)
        })
    }
}

/// A step of the way, the same for all rows or another for each.
enum Steps<'a> {
    Name(&'a str),
    Index(i64),
    Names(&'a StringArray),
    Indexes(&'a Int64Array),
    Nowhere,
}

impl<'a> Steps<'a> {
    fn new(value: &'a ColumnarValue) -> Result<Self> {
        Ok(match value {
            ColumnarValue::Scalar(ScalarValue::Utf8(Some(name))) => Self::Name(name),
            ColumnarValue::Scalar(ScalarValue::Int64(Some(index))) => Self::Index(*index),
            ColumnarValue::Scalar(scalar) if scalar.is_null() => Self::Nowhere,
            ColumnarValue::Array(array) if array.data_type() == &DataType::Utf8 => Self::Names(array.as_string()),
            ColumnarValue::Array(array) if array.data_type() == &DataType::Int64 => {
                Self::Indexes(array.as_primitive::<Int64Type>())
            }
            other => return exec_err!("the way to a value is names and whole numbers, not {}", other.data_type()),
        })
    }

    fn at(&self, row: usize) -> Option<Step<'a>> {
        match self {
            Self::Name(name) => Some(Step::Name(name)),
            Self::Index(index) => Some(Step::Index(*index)),
            Self::Names(names) => names.is_valid(row).then(|| Step::Name(names.value(row))),
            Self::Indexes(indexes) => indexes.is_valid(row).then(|| Step::Index(indexes.value(row))),
            Self::Nowhere => None,
        }
    }
}

/// The raw value of a row.
fn find<'a>(documents: &'a StringArray, steps: &[Steps<'_>], row: usize) -> Option<&'a str> {
    if documents.is_null(row) {
        return None;
    }
    let text = documents.value(row);
    let text = steps.iter().try_fold(text, |text, steps| scan::enter(text, steps.at(row)?))?;
    scan::value(text)
}

fn read(kind: Kind, documents: &StringArray, steps: &[ColumnarValue]) -> Result<ArrayRef> {
    let steps = steps.iter().map(Steps::new).collect::<Result<Vec<_>>>()?;
    let rows = 0..documents.len();
    let found = rows.map(|row| find(documents, &steps, row));
    Ok(match kind {
        Kind::Get | Kind::Json => texts(documents, found.map(|raw| raw.map(Into::into))),
        Kind::Text => texts(documents, found.map(|raw| raw.and_then(as_text))),
        Kind::Str => texts(documents, found.map(|raw| raw.and_then(scan::string))),
        Kind::Int => {
            let mut builder = Int64Builder::with_capacity(documents.len());
            found.for_each(|raw| builder.append_option(raw.and_then(|raw| raw.parse().ok())));
            Arc::new(builder.finish())
        }
        Kind::Float => {
            let mut builder = Float64Builder::with_capacity(documents.len());
            found.for_each(|raw| builder.append_option(raw.and_then(number)));
            Arc::new(builder.finish())
        }
        Kind::Bool => {
            let mut builder = BooleanBuilder::with_capacity(documents.len());
            found.for_each(|raw| builder.append_option(raw.and_then(|raw| raw.parse().ok())));
            Arc::new(builder.finish())
        }
        Kind::Contains => {
            let mut builder = BooleanBuilder::with_capacity(documents.len());
            for (row, raw) in found.enumerate() {
                builder.append_option(documents.is_valid(row).then_some(raw.is_some()));
            }
            Arc::new(builder.finish())
        }
        Kind::Length => {
            let mut builder = Int64Builder::with_capacity(documents.len());
            let length = |raw| scan::values(raw).and_then(|values| i64::try_from(values.count()).ok());
            found.for_each(|raw| builder.append_option(raw.and_then(length)));
            Arc::new(builder.finish())
        }
        Kind::AsDouble | Kind::AsDecimal | Kind::AsBoolean => compared(kind, documents)?,
        Kind::Extract | Kind::ExtractString => return exec_err!("{} takes a path", kind.name()),
    })
}

fn texts<'a>(documents: &StringArray, found: impl Iterator<Item = Option<std::borrow::Cow<'a, str>>>) -> ArrayRef {
    let mut builder = StringBuilder::with_capacity(documents.len(), documents.value_data().len() / 8);
    found.for_each(|text| builder.append_option(text));
    Arc::new(builder.finish())
}

fn as_text(raw: &str) -> Option<std::borrow::Cow<'_, str>> {
    match raw {
        "null" => None,
        _ if raw.starts_with('"') => scan::string(raw),
        _ => Some(raw.into()),
    }
}

/// A number of JSON: not what else Rust takes for one, such as `inf`.
fn number(raw: &str) -> Option<f64> {
    raw.starts_with(|first: char| first == '-' || first.is_ascii_digit()).then(|| raw.parse().ok())?
}

/// Text that is a number or a truth, with or without quotes around it.
fn compared(kind: Kind, texts: &StringArray) -> Result<ArrayRef> {
    let values = texts.iter().map(|text| text.map(|text| scan::string(text).unwrap_or(text.into())));
    Ok(match kind {
        Kind::AsDouble => {
            let mut builder = Float64Builder::with_capacity(texts.len());
            values.for_each(|text| builder.append_option(text.and_then(|text| number(text.trim()))));
            Arc::new(builder.finish())
        }
        Kind::AsDecimal => {
            let builder = Decimal128Builder::with_capacity(texts.len());
            let mut builder = builder.with_precision_and_scale(decimal::DIGITS, decimal::SCALE)?;
            let decimal = |text: &str| number(text).map(|_| decimal::decimal(text));
            values.for_each(|text| builder.append_option(text.and_then(|text| decimal(text.trim()))));
            Arc::new(builder.finish())
        }
        _ => {
            let mut builder = BooleanBuilder::with_capacity(texts.len());
            values.for_each(|text| builder.append_option(text.and_then(|text| text.trim().parse().ok())));
            Arc::new(builder.finish())
        }
    })
}

fn extract(kind: Kind, documents: &StringArray, path: &[ColumnarValue]) -> Result<ArrayRef> {
    let fixed = match path {
        [ColumnarValue::Scalar(path)] => path.try_as_str().flatten().map(parse).transpose()?,
        _ => None,
    };
    let paths = match path {
        [ColumnarValue::Array(paths)] => Some(paths.as_string::<i32>()),
        _ => None,
    };
    let find = |row: usize| -> Result<Option<Vec<&str>>> {
        let own = match paths {
            Some(paths) if paths.is_valid(row) => Some(parse(paths.value(row))?),
            _ => None,
        };
        let path = own.as_ref().or(fixed.as_ref());
        Ok(path.filter(|_| documents.is_valid(row)).map(|path| path.find(documents.value(row))))
    };
    if kind == Kind::ExtractString {
        let mut builder = StringBuilder::new();
        for row in 0..documents.len() {
            builder.append_option(find(row)?.and_then(|found| found.first().and_then(|raw| scan::string(raw))));
        }
        return Ok(Arc::new(builder.finish()));
    }
    let mut builder = ListBuilder::new(StringBuilder::new()).with_field(field(Field::LIST_FIELD_DEFAULT_NAME));
    for row in 0..documents.len() {
        builder.append_option(find(row)?.map(|found| found.into_iter().map(Some)));
    }
    Ok(Arc::new(builder.finish()))
}

fn parse(path: &str) -> Result<JsonPath> {
    JsonPath::parse(path).or_else(|wrong| exec_err!("{wrong}"))
}
