//! Numbers: reading them exactly, and putting them into a column that may have to grow wider for them.

use super::column::{Column, Data, Narrow};
use super::decode::Reason;

/// Integers up to this are exact as doubles.
pub(crate) const EXACT_MAX: u64 = 1 << 53;

/// Powers of ten that are exact as doubles.
const POWERS: [f64; 16] = [1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15];

/// A JSON number.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Number {
    Int(i64),
    /// Above the range of signed ones.
    UInt(u64),
    Float(f64),
}

/// Reads a number as it stands in valid JSON.
#[inline]
pub(crate) fn read(token: &[u8]) -> Option<Number> {
    let (negative, digits) = match token.strip_prefix(b"-") {
        Some(digits) => (true, digits),
        None => (false, token),
    };
    if digits.len() > 16 {
        return read_slowly(token);
    }
    let mut value = 0_u64;
    let mut point = None;
    for (at, byte) in digits.iter().enumerate() {
        match byte {
            b'0'..=b'9' => value = value * 10 + u64::from(byte - b'0'),
            b'.' if point.is_none() => point = Some(at),
            _ => return read_slowly(token),
        }
    }
    let Some(point) = point else {
        let value = i64::try_from(value).ok()?;
        return (!digits.is_empty()).then_some(Number::Int(if negative { -value } else { value }));
    };
    // Up to 15 digits and a power of ten up to 22 are exact, so that one division rounds as reading it would.
    let value = exact(value) / POWERS.get(digits.len() - 1 - point)?;
    Some(Number::Float(if negative { -value } else { value }))
}

#[expect(clippy::cast_precision_loss, reason = "callers have checked that the value is at most 2^53")]
fn exact(value: u64) -> f64 {
    debug_assert!(value <= EXACT_MAX);
    value as f64
}

#[cold]
fn read_slowly(token: &[u8]) -> Option<Number> {
    let text = std::str::from_utf8(token).ok()?;
    if text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-') {
        return text.parse().map(Number::Int).or_else(|_| text.parse().map(Number::UInt)).ok();
    }
    text.parse().ok().filter(|value: &f64| value.is_finite()).map(Number::Float)
}

/// The integer as a double, if it is one exactly.
fn int_as_float(value: i64) -> Option<f64> {
    (value.unsigned_abs() <= EXACT_MAX).then(|| {
        let magnitude = exact(value.unsigned_abs());
        if value < 0 { -magnitude } else { magnitude }
    })
}

/// Appends a number to a column, which has as many rows as there are before it.
#[inline]
pub(super) fn append(column: &mut Column, number: Number, event: u64) -> Result<(), Reason> {
    if matches!(column.data, Data::Unknown) {
        column.become_kind(match number {
            Number::Int(_) => Data::int(),
            Number::UInt(_) => Data::UInt(Vec::new()),
            Number::Float(_) => Data::Float(Vec::new()),
        });
    }
    match (&mut column.data, number) {
        (Data::Int { values, largest, negative }, Number::Int(value)) => {
            values.push(value);
            *largest = (*largest).max(value.unsigned_abs());
            *negative |= value < 0;
        }
        (Data::Float(values), Number::Float(value)) => values.push(value),
        (Data::UInt(values), Number::UInt(value)) => values.push(value),
        (Data::UInt(values), Number::Int(value)) => {
            values.push(u64::try_from(value).map_err(|_| Reason::Conflict("a negative integer", "unsigned integers"))?);
        }
        (Data::Float(values), Number::Int(value)) => values.push(int_as_float(value).ok_or(Reason::NotExact)?),
        (Data::Float(_), Number::UInt(_)) => return Err(Reason::NotExact),
        (Data::Int { values, largest, .. }, Number::Float(value)) => {
            if *largest > EXACT_MAX {
                return Err(Reason::NotExact);
            }
            let widened = values.iter().map(|value| int_as_float(*value).expect("none is larger than the largest"));
            let mut widened: Vec<f64> = widened.collect();
            widened.push(value);
            widen(column, Data::Float(widened), Narrow::Int, event);
        }
        (Data::Int { values, negative: false, .. }, Number::UInt(value)) => {
            let widened = values.iter().map(|value| value.unsigned_abs());
            let widened = Data::UInt(widened.chain([value]).collect());
            widen(column, widened, Narrow::Int, event);
        }
        (Data::Int { .. }, Number::UInt(_)) => {
            return Err(Reason::Conflict("an integer over 63 bits", "negative integers"));
        }
        (Data::UInt(values), Number::Float(value)) => {
            if values.iter().any(|value| *value > EXACT_MAX) {
                return Err(Reason::NotExact);
            }
            let widened = values.iter().map(|value| exact(*value));
            let widened = Data::Float(widened.chain([value]).collect());
            widen(column, widened, Narrow::UInt, event);
        }
        (other, _) => return Err(Reason::Conflict("a number", other.holds())),
    }
    column.appended();
    Ok(())
}

fn widen(column: &mut Column, data: Data, was: Narrow, event: u64) {
    column.data = data;
    // Widened twice by one event, it was what it was before the first time.
    if column.widened.is_none_or(|(before, _)| before != event) {
        column.widened = Some((event, was));
    }
}

/// Makes a column what it was before it grew wider. The values that needed it have been taken back.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the values were integers of this range")]
pub(super) fn narrow(data: &mut Data, to: Narrow) {
    *data = match (&*data, to) {
        (Data::Float(values), Narrow::UInt) => Data::UInt(values.iter().map(|value| *value as u64).collect()),
        (Data::Float(values), Narrow::Int) => ints(values.iter().map(|value| *value as i64).collect()),
        (Data::UInt(values), Narrow::Int) => ints(values.iter().map(|value| value.cast_signed()).collect()),
        _ => return,
    };
}

fn ints(values: Vec<i64>) -> Data {
    let largest = values.iter().map(|value| value.unsigned_abs()).max().unwrap_or(0);
    let negative = values.iter().any(|value| *value < 0);
    Data::Int { values, largest, negative }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn numbers_are_read_as_the_standard_library_reads_them(
            whole in "-?(0|[1-9][0-9]{0,19})", fraction in "(\\.[0-9]{1,18})?", exponent in "([eE][+-]?[0-9]{1,2})?"
        ) {
            let text = format!("{whole}{fraction}{exponent}");
            let expected = if fraction.is_empty() && exponent.is_empty() {
                text.parse().map(Number::Int).or_else(|_| text.parse().map(Number::UInt)).ok()
            } else {
                Some(Number::Float(text.parse().unwrap()))
            };
            prop_assert_eq!(read(text.as_bytes()), expected, "{}", text);
        }

        #[test]
        fn any_bytes_are_survived(token: Vec<u8>, text in "[-+0-9.eE]{0,20}") {
            let _ = (read(&token), read(text.as_bytes()));
        }
    }
}
