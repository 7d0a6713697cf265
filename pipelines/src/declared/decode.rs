//! One event into the declared columns, straight from its bytes.
//!
//! Fields are expected in the order of the event before: a wrong guess costs a look-up, never a wrong result. An event that
//! does not fit leaves no trace.

use super::column::{Column, Data, FieldColumns, Pieces};
use super::fault::{Decoded, Family, Fault, shown};
use super::rest::{Rest, Strangers};
use super::value::{self, Moment, NoValue, NotInteger};
use super::{DeclaredSchema, TimestampFormat, TimestampUnit, finish};
use crate::columns::{Number, read_number};
use crate::scan::{RawText, Scanner, unescape};
use arrow_array::RecordBatch;
use arrow_schema::ArrowError;
use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use std::borrow::Cow;
use std::str::FromStr;

/// Base64 of the standard alphabet, with or without the `=` at its end.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Columns under construction.
#[derive(Debug)]
pub(super) struct Columns {
    fields: FieldColumns,
    rest: Rest,
    rows: usize,
}

/// An event on its way into the columns.
struct Walk<'a, 'c> {
    event: &'a [u8],
    scanner: Scanner<'a>,
    rest: &'c mut Rest,
}

impl Columns {
    pub(super) fn new(schema: &DeclaredSchema) -> Self {
        Self { fields: FieldColumns::new(schema.fields(), schema), rest: Rest::new(schema.unknown()), rows: 0 }
    }

    /// Adds one event as a row, or says why it cannot be one; then nothing has changed.
    pub(super) fn push(&mut self, event: &[u8]) -> Result<(), String> {
        let mut walk = Walk { event, scanner: Scanner::new(event), rest: &mut self.rest };
        match walk.event(&mut self.fields, self.rows) {
            Ok(()) => {
                self.rows += 1;
                Ok(())
            }
            Err(fault) => {
                self.fields.truncate(self.rows);
                self.rest.truncate(self.rows);
                Err(fault.to_string())
            }
        }
    }

    /// Forgets all rows.
    pub(super) fn clear(&mut self) {
        self.rows = 0;
        self.fields.truncate(0);
        self.rest.truncate(0);
    }

    /// Ends the columns.
    pub(super) fn finish(self, schema: &DeclaredSchema) -> Result<RecordBatch, ArrowError> {
        finish::finish(self.fields, self.rest, schema, self.rows)
    }
}

impl<'a> Walk<'a, '_> {
    /// Adds the event as row `row`. After a fault some columns may be one row longer.
    fn event(&mut self, fields: &mut FieldColumns, row: usize) -> Decoded {
        self.scanner.skip_space();
        if self.scanner.peek() != Some(b'{') {
            return Err(Fault::malformed());
        }
        self.scanner.step();
        self.rest.begin();
        self.object(fields, row)?;
        self.rest.end(row)
    }

    /// The fields of an object whose brace has been passed.
    fn object(&mut self, columns: &mut FieldColumns, row: usize) -> Decoded {
        let (mut before, mut required) = (0, 0);
        let mut strangers = Strangers::default();
        self.scanner.skip_space();
        if self.scanner.peek() == Some(b'}') {
            self.scanner.step();
        } else {
            loop {
                let guess = columns.successors[before];
                let found = match columns.fields.get(guess) {
                    Some(field) if self.scanner.eat(&field.token) => Some(guess),
                    _ => self.find(columns, &mut strangers)?,
                };
                if let Some(index) = found {
                    columns.successors[before] = index;
                    before = index + 1;
                    let field = &mut columns.fields[index];
                    required += usize::from(field.column.required);
                    self.colon()?;
                    if field.column.rows > row {
                        return Err(Fault::new(Family::ParseFailure, "stands twice in the event").inside(&field.name));
                    }
                    field.column.pad_to(row);
                    let opened = (field.column.nests && self.rest.keeps()).then(|| self.rest.open(&field.opening));
                    if let Err(fault) = self.value(&mut field.column) {
                        return Err(fault.inside(&field.name));
                    }
                    if let Some(opened) = opened {
                        self.rest.close(&opened);
                    }
                }
                if self.ends(b'}')? {
                    break;
                }
                self.scanner.skip_space();
            }
        }
        if required == columns.required {
            return Ok(());
        }
        let missing = columns.fields.iter().find(|field| field.column.required && field.column.rows <= row);
        let fault = Fault::new(Family::MissingField, "it is required");
        Err(missing.map_or_else(Fault::malformed, |field| fault.inside(&field.name)))
    }

    /// The column of the field whose name stands here; when there is none, the whole field is passed and kept aside.
    fn find(&mut self, columns: &FieldColumns, strangers: &mut Strangers<'a>) -> Decoded<Option<usize>> {
        let (raw, name) = match self.scanner.text().ok_or_else(Fault::malformed)? {
            RawText::Plain(name) => (name, Cow::Borrowed(name)),
            RawText::Escaped(raw) => {
                let mut name = Vec::new();
                unescape(raw, &mut name).ok_or_else(Fault::malformed)?;
                (raw, Cow::Owned(name))
            }
        };
        if let Some(index) = columns.by_name.get(&*name) {
            return Ok(Some(*index));
        }
        self.colon()?;
        let value = self.whole_value()?;
        self.rest.add(raw, value, strangers)?;
        Ok(None)
    }

    fn colon(&mut self) -> Decoded {
        self.scanner.skip_space();
        if self.scanner.peek() != Some(b':') {
            return Err(Fault::malformed());
        }
        self.scanner.step();
        Ok(())
    }

    /// Passes what stands between two values; whether it was the end.
    fn ends(&mut self, close: u8) -> Decoded<bool> {
        self.scanner.skip_space();
        match self.scanner.peek() {
            Some(b',') => {
                self.scanner.step();
                Ok(false)
            }
            Some(byte) if byte == close => {
                self.scanner.step();
                Ok(true)
            }
            _ => Err(Fault::malformed()),
        }
    }

    /// Passes a value of any kind and answers its bytes.
    fn whole_value(&mut self) -> Decoded<&'a [u8]> {
        self.scanner.skip_space();
        let start = self.scanner.at();
        self.scanner.skip_value().ok_or_else(Fault::malformed)?;
        self.event.get(start..self.scanner.at()).ok_or_else(Fault::malformed)
    }

    /// Appends the value that stands here to a column that has as many rows as there are before it.
    #[inline]
    fn value(&mut self, column: &mut Column) -> Decoded {
        self.scanner.skip_space();
        let first = self.scanner.peek().ok_or_else(Fault::malformed)?;
        if first == b'n' && self.scanner.eat_word(b"null") {
            if column.required {
                return Err(Fault::new(Family::NullValue, "null, but it is required"));
            }
            column.pad_to(column.rows + 1);
            return Ok(());
        }
        let declared = column.declared;
        match &mut column.data {
            Data::Text(pieces) if first == b'"' => self.text(pieces)?,
            Data::Int64(values) => values.push(self.integer(first, declared)?),
            Data::Float64(values) => values.push(self.double(first, declared)?),
            Data::Timestamp { values, unit, format } => {
                let moment = self.moment(first, *unit, *format)?;
                values.push(moment);
            }
            Data::Bool(values) if first == b't' && self.scanner.eat_word(b"true") => values.append(true),
            Data::Bool(values) if first == b'f' && self.scanner.eat_word(b"false") => values.append(false),
            Data::Int32(values) => values.push(self.integer(first, declared)?),
            Data::UInt32(values) => values.push(self.integer(first, declared)?),
            Data::UInt64(values) => values.push(self.integer(first, declared)?),
            Data::Float32(values) => values.push(self.single(first, declared)?),
            Data::Decimal { values, precision, scale } => values.push(self.decimal(first, *precision, *scale)?),
            Data::Json(pieces) => {
                pieces.bytes.extend_from_slice(self.whole_value()?);
                pieces.end()?;
            }
            Data::Bytes(pieces) if first == b'"' => self.base64(pieces)?,
            Data::Struct(fields) if first == b'{' => {
                let row = column.rows;
                // Said first: a fault inside then finds this row to take back, and with it what it has left in the fields.
                column.rows += 1;
                self.scanner.step();
                return self.object(fields, row);
            }
            Data::List { offsets, items } if first == b'[' => self.list(offsets, items)?,
            _ => return Err(mismatch(first, declared)),
        }
        column.rows += 1;
        Ok(())
    }

    #[inline]
    fn text(&mut self, pieces: &mut Pieces) -> Decoded {
        if let Some((chunk, length)) = self.scanner.short_text() {
            // A copy of a fixed length is a move or two.
            let end = pieces.bytes.len() + length;
            pieces.bytes.extend_from_slice(chunk);
            pieces.bytes.truncate(end);
        } else {
            match self.scanner.text().ok_or_else(Fault::malformed)? {
                RawText::Plain(plain) => pieces.bytes.extend_from_slice(plain),
                RawText::Escaped(raw) => unescape(raw, &mut pieces.bytes).ok_or_else(Fault::malformed)?,
            }
        }
        pieces.end()
    }

    /// What a string holds.
    fn string(&mut self) -> Decoded<Cow<'a, [u8]>> {
        match self.scanner.text().ok_or_else(Fault::malformed)? {
            RawText::Plain(plain) => Ok(Cow::Borrowed(plain)),
            RawText::Escaped(raw) => {
                let mut text = Vec::new();
                unescape(raw, &mut text).ok_or_else(Fault::malformed)?;
                Ok(Cow::Owned(text))
            }
        }
    }

    fn base64(&mut self, pieces: &mut Pieces) -> Decoded {
        let text = self.string()?;
        if let Err(error) = BASE64.decode_vec(&text, &mut pieces.bytes) {
            let what = format!("\"{}\" is not base64: {error}", shown(&text));
            return Err(Fault::new(Family::ParseFailure, what));
        }
        pieces.end()
    }

    fn list(&mut self, offsets: &mut Vec<i32>, items: &mut Column) -> Decoded {
        self.scanner.step();
        self.scanner.skip_space();
        if self.scanner.peek() == Some(b']') {
            self.scanner.step();
        } else {
            let nests = items.nests && self.rest.keeps();
            for index in 0.. {
                let opened = nests.then(|| self.rest.open_item(index));
                self.value(items).map_err(|fault| fault.inside_item(index))?;
                if let Some(opened) = opened {
                    self.rest.close(&opened);
                }
                if self.ends(b']')? {
                    break;
                }
            }
        }
        offsets.push(i32::try_from(items.rows).map_err(|_| Fault::too_much())?);
        Ok(())
    }

    /// Passes a number and answers its bytes.
    fn number(&mut self, first: u8, declared: &'static str) -> Decoded<&'a [u8]> {
        if !matches!(first, b'-' | b'0'..=b'9') {
            return Err(mismatch(first, declared));
        }
        Ok(self.scanner.bare())
    }

    #[inline]
    fn integer<T: TryFrom<i128>>(&mut self, first: u8, declared: &'static str) -> Decoded<T> {
        let value = match self.scanner.short_integer() {
            Some(value) => value.into(),
            None => self.long_integer(first, declared)?,
        };
        T::try_from(value).map_err(|_| out_of_range(&value.to_string(), declared))
    }

    fn long_integer(&mut self, first: u8, declared: &'static str) -> Decoded<i128> {
        let token = self.number(first, declared)?;
        value::integer(token).map_err(|reason| match reason {
            NotInteger::Fraction => {
                let what =
                    format!("{}, a number with a fraction or an exponent, but {declared} is declared", shown(token));
                Fault::new(Family::TypeMismatch, what)
            }
            NotInteger::TooLarge => out_of_range(&shown(token), declared),
        })
    }

    #[inline]
    fn double(&mut self, first: u8, declared: &'static str) -> Decoded<f64> {
        let whole = |value| if value == 0 && first == b'-' { -0.0 } else { rounded(value) };
        if let Some(value) = self.scanner.short_integer() {
            return Ok(whole(value));
        }
        let token = self.number(first, declared)?;
        match read_number(token) {
            Some(Number::Float(value)) => Ok(value),
            Some(Number::Int(value)) => Ok(whole(value)),
            _ => float(token, declared, f64::is_finite),
        }
    }

    fn single(&mut self, first: u8, declared: &'static str) -> Decoded<f32> {
        let token = self.number(first, declared)?;
        float(token, declared, f32::is_finite)
    }

    fn decimal(&mut self, first: u8, precision: u8, scale: u8) -> Decoded<i128> {
        let text = match first {
            b'"' => self.string()?,
            _ => Cow::Borrowed(self.number(first, "decimal128")?),
        };
        value::decimal(&text, precision, scale).map_err(|reason| {
            let text = shown(&text);
            Fault::new(
                Family::ParseFailure,
                match reason {
                    NoValue::Form => format!("\"{text}\" is no decimal number"),
                    NoValue::Range => format!("{text} has more digits than decimal128({precision}, {scale}) holds"),
                    NoValue::TooFine => {
                        format!("{text} has more digits after the point than decimal128({precision}, {scale}) holds")
                    }
                },
            )
        })
    }

    fn moment(&mut self, first: u8, unit: TimestampUnit, format: TimestampFormat) -> Decoded<i64> {
        let start = self.scanner.at();
        let moment = match (first, format) {
            (b'"', TimestampFormat::Either | TimestampFormat::Rfc3339) => Moment::rfc3339(&self.string()?),
            (_, TimestampFormat::Rfc3339) => return Err(mismatch(first, "timestamp as RFC 3339 text")),
            (_, TimestampFormat::UnixMillis) => {
                Moment::after_epoch(self.integer(first, "timestamp in milliseconds")?, TimestampUnit::Millisecond)
            }
            (_, TimestampFormat::Either) => Moment::after_epoch(self.integer(first, "timestamp")?, unit),
        };
        moment.and_then(|moment| moment.in_unit(unit)).map_err(|reason| {
            let text = shown(self.event.get(start..self.scanner.at()).unwrap_or_default());
            Fault::new(
                Family::ParseFailure,
                match reason {
                    NoValue::Form => format!("{text} is no RFC 3339 time such as 2026-05-01T13:00:00Z"),
                    NoValue::Range => format!("{text} is out of range of a timestamp in {unit}s"),
                    NoValue::TooFine => format!("{text} is finer than the {unit} that is declared"),
                },
            )
        })
    }
}

#[expect(clippy::cast_precision_loss, reason = "the declared type rounds")]
fn rounded(value: i64) -> f64 {
    value as f64
}

/// A floating point number from its text, rounded as the type does.
fn float<T: FromStr + Copy>(token: &[u8], declared: &'static str, is_finite: impl Fn(T) -> bool) -> Decoded<T> {
    let value: Option<T> = std::str::from_utf8(token).ok().and_then(|text| text.parse().ok());
    let value = value.ok_or_else(Fault::malformed)?;
    if is_finite(value) { Ok(value) } else { Err(out_of_range(&shown(token), declared)) }
}

#[cold]
#[expect(clippy::unnecessary_box_returns, reason = "the box is handed on: results stay one word wide")]
fn out_of_range(value: &str, declared: &str) -> Box<Fault> {
    Fault::new(Family::ParseFailure, format!("{value} is out of range of {declared}"))
}

/// The value that begins with `first` is of another kind.
#[cold]
#[expect(clippy::unnecessary_box_returns, reason = "the box is handed on: results stay one word wide")]
fn mismatch(first: u8, declared: &str) -> Box<Fault> {
    let found = match first {
        b'"' => "a string",
        b'-' | b'0'..=b'9' => "a number",
        b't' | b'f' => "a boolean",
        b'{' => "an object",
        b'[' => "an array",
        _ => return Fault::malformed(),
    };
    Fault::new(Family::TypeMismatch, format!("{found}, but {declared} is declared"))
}
