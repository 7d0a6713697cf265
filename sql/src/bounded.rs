//! Functions that make large values of small ones, such as `repeat(x, 1000000000)`: what they will make is reckoned before
//! they run. A row that asks for more than [`VALUE_BYTES_MAX`] fails, and a batch that asks for more than
//! [`CALL_BYTES_MAX`] is evaluated in parts.

use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_array::{Array, ArrayRef};
use arrow_schema::{DataType, FieldRef};
use datafusion_common::{Result, ScalarValue, exec_err};
use datafusion_expr::{
    ColumnarValue, Documentation, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
};
use std::sync::Arc;

/// The largest value that one of these functions makes.
pub const VALUE_BYTES_MAX: u64 = 16 << 20;
/// The most that one call makes for a batch.
const CALL_BYTES_MAX: u64 = 256 << 20;
/// The product of the lengths of two texts that are compared letter by letter.
const DISTANCE_MAX: u64 = 16 << 20;
/// What an element of a list takes at least.
const ELEMENT_BYTES: u64 = 16;

/// How large the values of a function are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Growth {
    /// The first argument as many times as the second says.
    Repeat,
    /// As many letters as the second argument says.
    Pad,
    /// The third argument at every place of the second in the first.
    Replace,
    /// The same by a pattern; the third argument may name parts of what was found.
    RegexReplace,
    /// So many times the first argument.
    Scaled(u64),
    /// All arguments together.
    Sum,
    /// All arguments with the first between them.
    Joined,
    /// A date by the pattern of the second argument.
    Format,
    /// Not bytes but steps: the product of both arguments.
    Distance,
    /// A list of the first argument, as many times as the second says.
    ListRepeat,
    /// A list as long as the second argument says.
    ListResize,
    /// The elements of a list with the second argument between them.
    ListJoined,
    /// A list of numbers from one to another.
    Range,
}

/// The function with its bound.
pub(crate) fn bounded(function: &Arc<ScalarUDF>, growth: Growth) -> Arc<ScalarUDF> {
    Arc::new(ScalarUDF::new_from_impl(Bounded { inner: Arc::clone(function), growth }))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Bounded {
    inner: Arc<ScalarUDF>,
    growth: Growth,
}

impl ScalarUDFImpl for Bounded {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn aliases(&self) -> &[String] {
        self.inner.aliases()
    }

    fn signature(&self) -> &Signature {
        self.inner.signature()
    }

    fn return_type(&self, arg_types: &[DataType]) -> Result<DataType> {
        self.inner.return_type(arg_types)
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        self.inner.return_field_from_args(args)
    }

    fn coerce_types(&self, arg_types: &[DataType]) -> Result<Vec<DataType>> {
        self.inner.coerce_types(arg_types)
    }

    fn documentation(&self) -> Option<&Documentation> {
        self.inner.documentation()
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        check(self.name(), self.growth, &args)?;
        self.inner.invoke_with_args(args)
    }
}

fn check(name: &str, growth: Growth, args: &ScalarFunctionArgs) -> Result<()> {
    let rows = if args.args.iter().all(|arg| matches!(arg, ColumnarValue::Scalar(_))) { 1 } else { args.number_rows };
    if growth == Growth::Sum && memory(&args.args, rows) <= VALUE_BYTES_MAX {
        return Ok(());
    }
    let estimate = Estimate::new(growth, &args.args)?;
    let mut all = 0_u64;
    for row in 0..rows {
        let bytes = estimate.bytes(row);
        if growth == Growth::Distance && bytes > DISTANCE_MAX {
            return exec_err!("{name} compares too long texts: the product of their lengths may be {DISTANCE_MAX}");
        }
        if bytes > VALUE_BYTES_MAX {
            return exec_err!("{name} makes a value of up to {bytes} bytes, at most {VALUE_BYTES_MAX} are possible");
        }
        all = all.saturating_add(bytes);
    }
    if all > CALL_BYTES_MAX && growth != Growth::Distance {
        return exec_err!("{name} makes {all} bytes for {rows} rows, at most {CALL_BYTES_MAX} are possible");
    }
    Ok(())
}

/// What the arguments take, scalars once for each row.
fn memory(args: &[ColumnarValue], rows: usize) -> u64 {
    let bytes = args.iter().map(|arg| match arg {
        ColumnarValue::Array(array) => slice_bytes(array),
        ColumnarValue::Scalar(scalar) => scalar_bytes(scalar).saturating_mul(rows as u64),
    });
    bytes.fold(0, u64::saturating_add)
}

/// What a column takes, without what lies around it in shared buffers.
pub(crate) fn slice_bytes(array: &ArrayRef) -> u64 {
    match array.data_type() {
        DataType::Utf8 => offset_bytes(array.as_string::<i32>().value_offsets()),
        DataType::Binary => offset_bytes(array.as_binary::<i32>().value_offsets()),
        _ => array.to_data().get_slice_memory_size().map_or(u64::MAX, |bytes| bytes as u64),
    }
}

fn offset_bytes(offsets: &[i32]) -> u64 {
    let (first, last) = (offsets.first().copied().unwrap_or(0), offsets.last().copied().unwrap_or(0));
    u64::from(last.abs_diff(first)) + 4 * offsets.len() as u64
}

fn scalar_bytes(scalar: &ScalarValue) -> u64 {
    match scalar {
        ScalarValue::Utf8(text) | ScalarValue::LargeUtf8(text) | ScalarValue::Utf8View(text) => {
            text.as_ref().map_or(0, |text| text.len() as u64)
        }
        other => other.size() as u64,
    }
}

/// A number for each row.
type PerRow<'a> = Box<dyn Fn(usize) -> u64 + 'a>;

struct Estimate<'a> {
    growth: Growth,
    lengths: Vec<PerRow<'a>>,
    numbers: Vec<PerRow<'a>>,
}

impl<'a> Estimate<'a> {
    fn new(growth: Growth, args: &'a [ColumnarValue]) -> Result<Self> {
        let counted = matches!(growth, Growth::Repeat | Growth::Pad | Growth::ListRepeat | Growth::ListResize);
        let numbers = match growth {
            Growth::Range => vec![range(args)?],
            _ if counted => args.get(1).map(number).into_iter().collect::<Result<_>>()?,
            _ => Vec::new(),
        };
        let mut lengths: Vec<PerRow<'a>> = args.iter().map(length).collect();
        if growth == Growth::ListJoined
            && let Some(list) = args.first()
        {
            lengths.push(elements(list));
        }
        if growth == Growth::RegexReplace && !args.get(3).is_some_and(everywhere) {
            lengths.truncate(3);
        }
        Ok(Self { growth, lengths, numbers })
    }

    fn length(&self, argument: usize, row: usize) -> u64 {
        self.lengths.get(argument).map_or(0, |length| length(row))
    }

    fn bytes(&self, row: usize) -> u64 {
        let length = |argument| self.length(argument, row);
        let number = || self.numbers.first().map_or(0, |number| number(row));
        let sum = || self.lengths.iter().fold(0_u64, |sum, length| sum.saturating_add(length(row)));
        match self.growth {
            Growth::Repeat => length(0).saturating_mul(number()),
            Growth::Pad => number().saturating_mul(4),
            Growth::Replace => {
                let places = length(0) / length(1).max(1) + 1;
                length(0).saturating_add(places.saturating_mul(length(2)))
            }
            Growth::RegexReplace => {
                let places = if self.lengths.len() > 3 { length(0).saturating_add(1) } else { 1 };
                let named = length(0).saturating_mul(length(2) / 2);
                length(0).saturating_add(places.saturating_mul(length(2))).saturating_add(named)
            }
            Growth::Scaled(times) => length(0).saturating_mul(times),
            Growth::Sum => sum(),
            Growth::Joined => sum().saturating_add(length(0).saturating_mul(self.lengths.len() as u64)),
            Growth::Format => length(1).saturating_mul(16),
            Growth::Distance => length(0).saturating_mul(length(1)),
            Growth::ListRepeat => length(0).max(ELEMENT_BYTES).saturating_mul(number()),
            Growth::ListResize => length(0).saturating_add(length(2).max(ELEMENT_BYTES).saturating_mul(number())),
            Growth::ListJoined => {
                let count = self.lengths.last().map_or(0, |count| count(row));
                let between = length(1).saturating_add(length(2)).saturating_add(2 * ELEMENT_BYTES);
                length(0).saturating_add(count.saturating_mul(between))
            }
            Growth::Range => number().saturating_mul(ELEMENT_BYTES / 2),
        }
    }
}

/// Bytes of texts; of other types what a value takes on average.
fn length(value: &ColumnarValue) -> PerRow<'_> {
    match value {
        ColumnarValue::Scalar(scalar) => {
            let bytes = scalar_bytes(scalar);
            Box::new(move |_| bytes)
        }
        ColumnarValue::Array(array) => match array.data_type() {
            DataType::Utf8 => Box::new(|row| u64::from(array.as_string::<i32>().value_length(row).unsigned_abs())),
            DataType::Binary => Box::new(|row| u64::from(array.as_binary::<i32>().value_length(row).unsigned_abs())),
            DataType::Utf8View => Box::new(|row| array.as_string_view().value(row).len() as u64),
            DataType::BinaryView => Box::new(|row| array.as_binary_view().value(row).len() as u64),
            DataType::LargeBinary => Box::new(|row| array.as_binary::<i64>().value_length(row).unsigned_abs()),
            DataType::LargeUtf8 => Box::new(|row| array.as_string::<i64>().value_length(row).unsigned_abs()),
            _ => {
                let average = slice_bytes(array).div_ceil(array.len().max(1) as u64);
                Box::new(move |_| average)
            }
        },
    }
}

/// How many elements a list has.
fn elements(value: &ColumnarValue) -> PerRow<'_> {
    match value {
        ColumnarValue::Array(array) if matches!(array.data_type(), DataType::List(_)) => {
            Box::new(|row| u64::from(array.as_list::<i32>().value_length(row).unsigned_abs()))
        }
        other => length(other),
    }
}

/// A whole number; 0 where it is less or NULL.
fn number(value: &ColumnarValue) -> Result<PerRow<'_>> {
    let array = value.cast_to(&DataType::Int64, None)?;
    let bound = |number: i64| u64::try_from(number).unwrap_or(0);
    Ok(match array {
        ColumnarValue::Scalar(ScalarValue::Int64(number)) => {
            let number = bound(number.unwrap_or(0));
            Box::new(move |_| number)
        }
        ColumnarValue::Array(array) => {
            let numbers = array.as_primitive::<Int64Type>().clone();
            Box::new(move |row| if numbers.is_null(row) { 0 } else { bound(numbers.value(row)) })
        }
        ColumnarValue::Scalar(_) => return exec_err!("a count is a whole number"),
    })
}

/// How many numbers lie between the ends; of dates nothing is known, so they are refused.
fn range(args: &[ColumnarValue]) -> Result<PerRow<'_>> {
    let signed = |value: &ColumnarValue| -> Result<Box<dyn Fn(usize) -> i64>> {
        let data_type = value.data_type();
        if !data_type.is_integer() && !data_type.is_null() {
            return exec_err!("a range is of whole numbers, not of {data_type}");
        }
        Ok(match value.cast_to(&DataType::Int64, None)? {
            ColumnarValue::Array(array) => {
                let numbers = array.as_primitive::<Int64Type>().clone();
                Box::new(move |row| if numbers.is_null(row) { 0 } else { numbers.value(row) })
            }
            ColumnarValue::Scalar(ScalarValue::Int64(Some(number))) => Box::new(move |_| number),
            ColumnarValue::Scalar(_) => Box::new(|_| 0),
        })
    };
    let ends = args.iter().map(signed).collect::<Result<Vec<_>>>()?;
    Ok(Box::new(move |row| {
        let (begin, end, step) = match ends.as_slice() {
            [end] => (0, end(row), 1),
            [begin, end] => (begin(row), end(row), 1),
            [begin, end, step] => (begin(row), end(row), step(row)),
            _ => (0, 0, 1),
        };
        begin.abs_diff(end) / step.unsigned_abs().max(1)
    }))
}

/// Whether the flags of a pattern say that it is to be replaced everywhere.
fn everywhere(flags: &ColumnarValue) -> bool {
    match flags {
        ColumnarValue::Scalar(scalar) => scalar.try_as_str().flatten().is_some_and(|flags| flags.contains('g')),
        ColumnarValue::Array(_) => true,
    }
}
