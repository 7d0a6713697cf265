//! Single values, read exactly from their text: integers, decimals, timestamps.

use super::TimestampUnit;

/// The first second of the year 0, the first RFC 3339 can write.
const SECONDS_MIN: i64 = -62_167_219_200;

/// The last second of the year 9999, the last RFC 3339 can write.
const SECONDS_MAX: i64 = 253_402_300_799;

const NANOS: u32 = 1_000_000_000;

/// Why a number is no integer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NotInteger {
    /// It has a fraction or an exponent.
    Fraction,
    /// It has more than 64 bits.
    TooLarge,
}

/// Why a value is none of the type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NoValue {
    /// It is not written as one.
    Form,
    /// It is too large or too small.
    Range,
    /// It has digits that the type has no place for.
    TooFine,
}

/// Reads a JSON number that is an integer, of up to 64 bits and a sign.
pub(super) fn integer(token: &[u8]) -> Result<i128, NotInteger> {
    let (negative, digits) = match token.strip_prefix(b"-") {
        Some(digits) => (true, digits),
        None => (false, token),
    };
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return Err(NotInteger::Fraction);
    }
    let mut magnitude = 0_u64;
    for digit in digits {
        let next = magnitude.checked_mul(10).and_then(|value| value.checked_add(u64::from(digit - b'0')));
        magnitude = next.ok_or(NotInteger::TooLarge)?;
    }
    let value = i128::from(magnitude);
    Ok(if negative { -value } else { value })
}

/// Reads a decimal number, with or without an exponent: its value times ten to the power of `scale`, if that is an integer
/// of at most `precision` digits.
pub(super) fn decimal(text: &[u8], precision: u8, scale: u8) -> Result<i128, NoValue> {
    let (negative, rest) = match text.strip_prefix(b"-") {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let (mantissa, exponent) = match rest.iter().position(|byte| matches!(byte, b'e' | b'E')) {
        Some(at) => (&rest[..at], exponent(&rest[at + 1..]).ok_or(NoValue::Form)?),
        None => (rest, 0),
    };
    let (whole, fraction) = match mantissa.iter().position(|byte| *byte == b'.') {
        Some(at) => (&mantissa[..at], &mantissa[at + 1..]),
        None => (mantissa, [].as_slice()),
    };
    let digits = |part: &[u8]| !part.is_empty() && part.iter().all(u8::is_ascii_digit);
    if !digits(whole) || (mantissa.len() > whole.len() && !digits(fraction)) {
        return Err(NoValue::Form);
    }
    // The value without the zeros at its end, and how many these are.
    let (mut value, mut zeros) = (0_i128, 0_u32);
    for digit in whole.iter().chain(fraction) {
        if *digit == b'0' {
            zeros = zeros.saturating_add(1);
            continue;
        }
        value = raised(value, i64::from(zeros) + 1)?.checked_add(i128::from(digit - b'0')).ok_or(NoValue::Range)?;
        zeros = 0;
    }
    if value == 0 {
        return Ok(0);
    }
    let places = i64::try_from(fraction.len()).map_err(|_| NoValue::Range)?;
    let shift = i64::from(zeros).saturating_add(exponent).saturating_add(i64::from(scale)) - places;
    if shift < 0 {
        return Err(NoValue::TooFine);
    }
    let value = raised(value, shift)?;
    let fits = 10_i128.checked_pow(u32::from(precision)).is_none_or(|limit| value < limit);
    if !fits {
        return Err(NoValue::Range);
    }
    Ok(if negative { -value } else { value })
}

/// A value times a power of ten.
fn raised(value: i128, power: i64) -> Result<i128, NoValue> {
    if value == 0 {
        return Ok(0);
    }
    let power = u32::try_from(power).ok().and_then(|power| 10_i128.checked_pow(power));
    power.and_then(|power| value.checked_mul(power)).ok_or(NoValue::Range)
}

/// The number after an `e`; one beyond all bounds becomes a bound.
fn exponent(text: &[u8]) -> Option<i64> {
    let (negative, digits) = match text.split_first()? {
        (b'-', digits) => (true, digits),
        (b'+', digits) => (false, digits),
        _ => (false, text),
    };
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let value = digits.iter().fold(0_i64, |value, digit| (value * 10 + i64::from(digit - b'0')).min(1 << 40));
    Some(if negative { -value } else { value })
}

/// A moment, within the years 0 to 9999.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Moment {
    /// Whole seconds since 1970.
    seconds: i64,
    /// From there on, below a second.
    nanos: u32,
    /// Whether it lies beyond that by less than a nanosecond.
    finer: bool,
}

impl TimestampUnit {
    /// How many there are in a second.
    fn per_second(self) -> u32 {
        match self {
            Self::Second => 1,
            Self::Millisecond => 1_000,
            Self::Microsecond => 1_000_000,
            Self::Nanosecond => NANOS,
        }
    }

    /// The unit of the column.
    pub(super) fn stored(self) -> Self {
        match self {
            Self::Second => Self::Millisecond,
            other => other,
        }
    }
}

impl Moment {
    fn new(seconds: i64, nanos: u32, finer: bool) -> Result<Self, NoValue> {
        if !(SECONDS_MIN..=SECONDS_MAX).contains(&seconds) {
            return Err(NoValue::Range);
        }
        Ok(Self { seconds, nanos, finer })
    }

    /// The moment a number of units after 1970 began.
    pub(super) fn after_epoch(units: i128, unit: TimestampUnit) -> Result<Self, NoValue> {
        let units = i64::try_from(units).map_err(|_| NoValue::Range)?;
        let per_second = i64::from(unit.per_second());
        let below = u32::try_from(units.rem_euclid(per_second)).map_err(|_| NoValue::Range)?;
        Self::new(units.div_euclid(per_second), below * (NANOS / unit.per_second()), false)
    }

    /// Reads RFC 3339: `2026-05-01T13:00:00.25+02:00`. The letters may be small, a space may stand for the `T`.
    pub(super) fn rfc3339(text: &[u8]) -> Result<Self, NoValue> {
        read_rfc3339(text).ok_or(NoValue::Form)?
    }

    /// What the column holds for it, exactly or not at all.
    pub(super) fn in_unit(self, unit: TimestampUnit) -> Result<i64, NoValue> {
        if self.finer || !self.nanos.is_multiple_of(NANOS / unit.per_second()) {
            return Err(NoValue::TooFine);
        }
        let stored = unit.stored().per_second();
        let whole = i128::from(self.seconds) * i128::from(stored);
        i64::try_from(whole + i128::from(self.nanos / (NANOS / stored))).map_err(|_| NoValue::Range)
    }
}

/// `None` when it is not written so.
fn read_rfc3339(text: &[u8]) -> Option<Result<Moment, NoValue>> {
    let (head, mut rest) = text.split_at_checked(19)?;
    let two = |at: usize| number(&head[at..at + 2]);
    let (year, month, day) = (number(&head[..4])?, two(5)?, two(8)?);
    let (hour, minute, second) = (two(11)?, two(14)?, two(17)?);
    let marks = [head[4], head[7], head[13], head[16]] == *b"--::" && matches!(head[10], b'T' | b't' | b' ');
    let real = (1..=12).contains(&month) && day >= 1 && day <= days_in_month(year, month);
    if !marks || !real || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let (mut nanos, mut finer) = (0, false);
    if let Some(fraction) = rest.strip_prefix(b".") {
        let digits = fraction.iter().take_while(|byte| byte.is_ascii_digit()).count();
        if digits == 0 {
            return None;
        }
        let mut place = NANOS / 10;
        for digit in &fraction[..digits] {
            nanos += u32::from(digit - b'0') * place;
            finer |= place == 0 && *digit != b'0';
            place /= 10;
        }
        rest = &fraction[digits..];
    }
    let offset = match rest {
        b"Z" | b"z" => 0,
        [sign @ (b'+' | b'-'), zone @ ..] if zone.len() == 5 && zone[2] == b':' => {
            let (hours, minutes) = (number(&zone[..2])?, number(&zone[3..])?);
            if hours > 23 || minutes > 59 {
                return None;
            }
            let offset = (hours * 60 + minutes) * 60;
            if *sign == b'-' { -offset } else { offset }
        }
        _ => return None,
    };
    let seconds = days_since_1970(year, month, day) * 86_400 + hour * 3_600 + minute * 60 + second - offset;
    Some(Moment::new(seconds, nanos, finer))
}

/// The number that a few digits write.
fn number(digits: &[u8]) -> Option<i64> {
    digits.iter().try_fold(0, |value, digit| digit.is_ascii_digit().then(|| value * 10 + i64::from(digit - b'0')))
}

fn days_in_month(year: i64, month: i64) -> i64 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days from 1970-01-01 to a day of the years 0 to 9999, by the Gregorian calendar.
fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    // Years begin in March here, so that the leap day is the last of its year; 400 years have 146,097 days.
    let year = if month <= 2 { year - 1 } else { year };
    let month = (month + 9) % 12;
    let leap_days = year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    year * 365 + leap_days + (153 * month + 2) / 5 + day - 1 - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use time::OffsetDateTime;
    use time::format_description::well_known::Rfc3339;

    #[test]
    fn decimals_are_exact_or_refused() {
        let cases: &[(&str, u8, u8, Result<i128, NoValue>)] = &[
            ("0", 1, 0, Ok(0)),
            ("-0.000", 1, 0, Ok(0)),
            ("1.5", 2, 1, Ok(15)),
            ("1.50", 2, 1, Ok(15)),
            ("-1.5", 4, 2, Ok(-150)),
            ("1.05", 3, 1, Err(NoValue::TooFine)),
            ("99.9", 3, 1, Ok(999)),
            ("100", 3, 1, Err(NoValue::Range)),
            ("1e2", 3, 0, Ok(100)),
            ("1E+2", 3, 0, Ok(100)),
            ("15e-1", 2, 1, Ok(15)),
            ("1e-1", 2, 0, Err(NoValue::TooFine)),
            ("1e999999999999999999", 38, 0, Err(NoValue::Range)),
            ("1e-999999999999999999", 38, 38, Err(NoValue::TooFine)),
            ("0e999999999999999999", 1, 0, Ok(0)),
            ("007.50", 3, 2, Ok(750)),
            ("99999999999999999999999999999999999999", 38, 0, Ok(10_i128.pow(38) - 1)),
            ("-0.99999999999999999999999999999999999999", 38, 38, Ok(1 - 10_i128.pow(38))),
            ("100000000000000000000000000000000000000", 38, 0, Err(NoValue::Range)),
            ("999999999999999999999999999999999999999", 38, 0, Err(NoValue::Range)),
            ("170141183460469231731687303715884105728", 38, 0, Err(NoValue::Range)),
            ("", 3, 0, Err(NoValue::Form)),
            ("-", 3, 0, Err(NoValue::Form)),
            ("+1", 3, 0, Err(NoValue::Form)),
            (".5", 3, 1, Err(NoValue::Form)),
            ("5.", 3, 1, Err(NoValue::Form)),
            ("1e", 3, 1, Err(NoValue::Form)),
            ("1e+", 3, 1, Err(NoValue::Form)),
            ("1,5", 3, 1, Err(NoValue::Form)),
            ("1.5.5", 3, 1, Err(NoValue::Form)),
            (" 1", 3, 1, Err(NoValue::Form)),
            ("NaN", 3, 1, Err(NoValue::Form)),
        ];
        for (text, precision, scale, expected) in cases {
            assert_eq!(decimal(text.as_bytes(), *precision, *scale), *expected, "{text} as ({precision}, {scale})");
        }
        let zeros = format!("1.{}", "0".repeat(10_000));
        assert_eq!(decimal(zeros.as_bytes(), 1, 0), Ok(1));
    }

    #[test]
    fn times_are_rfc_3339() {
        use TimestampUnit::{Microsecond, Millisecond, Nanosecond, Second};
        let cases: &[(&str, TimestampUnit, Result<i64, NoValue>)] = &[
            ("1970-01-01T00:00:00Z", Second, Ok(0)),
            ("1970-01-01T00:00:01Z", Second, Ok(1_000)),
            ("1970-01-01t00:00:00.001z", Millisecond, Ok(1)),
            ("1970-01-01 00:00:00.000001+00:00", Microsecond, Ok(1)),
            ("1970-01-01T00:00:00.000000001-00:00", Nanosecond, Ok(1)),
            ("1970-01-01T01:30:00+01:30", Second, Ok(0)),
            ("1969-12-31T23:00:00-01:00", Second, Ok(0)),
            ("2000-02-29T00:00:00Z", Second, Ok(951_782_400_000)),
            ("1969-12-31T23:59:59.999Z", Millisecond, Ok(-1)),
            ("1970-01-01T00:00:00.5Z", Second, Err(NoValue::TooFine)),
            ("1970-01-01T00:00:00.0010Z", Millisecond, Ok(1)),
            ("1970-01-01T00:00:00.0001Z", Millisecond, Err(NoValue::TooFine)),
            ("1970-01-01T00:00:00.0000000010000Z", Nanosecond, Ok(1)),
            ("1970-01-01T00:00:00.0000000001Z", Nanosecond, Err(NoValue::TooFine)),
            ("0000-01-01T00:00:00Z", Millisecond, Ok(SECONDS_MIN * 1_000)),
            ("9999-12-31T23:59:59.999999Z", Microsecond, Ok(SECONDS_MAX * 1_000_000 + 999_999)),
            ("0000-01-01T00:00:00+00:01", Millisecond, Err(NoValue::Range)),
            ("9999-12-31T23:59:59-00:01", Millisecond, Err(NoValue::Range)),
            ("2262-04-11T23:47:16.854775807Z", Nanosecond, Ok(i64::MAX)),
            ("2262-04-11T23:47:16.854775808Z", Nanosecond, Err(NoValue::Range)),
            ("1677-09-21T00:12:43.145224192Z", Nanosecond, Ok(i64::MIN)),
            ("1677-09-21T00:12:43.145224191Z", Nanosecond, Err(NoValue::Range)),
            ("2026-02-29T00:00:00Z", Second, Err(NoValue::Form)),
            ("1900-02-29T00:00:00Z", Second, Err(NoValue::Form)),
            ("2026-04-31T00:00:00Z", Second, Err(NoValue::Form)),
            ("2026-13-01T00:00:00Z", Second, Err(NoValue::Form)),
            ("2026-00-01T00:00:00Z", Second, Err(NoValue::Form)),
            ("2026-01-00T00:00:00Z", Second, Err(NoValue::Form)),
            ("2026-01-01T24:00:00Z", Second, Err(NoValue::Form)),
            ("2016-12-31T23:59:60Z", Second, Err(NoValue::Form)),
            ("2026-01-01T00:00:00", Second, Err(NoValue::Form)),
            ("2026-01-01T00:00:00.Z", Second, Err(NoValue::Form)),
            ("2026-01-01T00:00:00+0100", Second, Err(NoValue::Form)),
            ("2026-01-01T00:00:00+24:00", Second, Err(NoValue::Form)),
            ("2026-01-01T00:00:00ZZ", Second, Err(NoValue::Form)),
            ("2026-01-01", Second, Err(NoValue::Form)),
            ("+026-01-01T00:00:00Z", Second, Err(NoValue::Form)),
            ("", Second, Err(NoValue::Form)),
        ];
        for (text, unit, expected) in cases {
            let found = Moment::rfc3339(text.as_bytes()).and_then(|moment| moment.in_unit(*unit));
            assert_eq!(found, *expected, "{text} in {unit}");
        }
    }

    #[test]
    fn numbers_of_units_have_the_bounds_of_texts() {
        use TimestampUnit::{Millisecond, Nanosecond, Second};
        let cases: &[(i128, TimestampUnit, TimestampUnit, Result<i64, NoValue>)] = &[
            (-1, Second, Second, Ok(-1_000)),
            (i128::from(SECONDS_MAX), Second, Second, Ok(SECONDS_MAX * 1_000)),
            (i128::from(SECONDS_MAX) + 1, Second, Second, Err(NoValue::Range)),
            (i128::from(SECONDS_MIN), Second, Second, Ok(SECONDS_MIN * 1_000)),
            (i128::from(SECONDS_MIN) - 1, Second, Second, Err(NoValue::Range)),
            (-1, Millisecond, Millisecond, Ok(-1)),
            (1, Millisecond, Nanosecond, Ok(1_000_000)),
            (1, Millisecond, Second, Err(NoValue::TooFine)),
            (i128::from(i64::MAX), Nanosecond, Nanosecond, Ok(i64::MAX)),
            (i128::from(i64::MIN), Nanosecond, Nanosecond, Ok(i64::MIN)),
            (i128::from(u64::MAX), Nanosecond, Nanosecond, Err(NoValue::Range)),
        ];
        for (units, given, unit, expected) in cases {
            let found = Moment::after_epoch(*units, *given).and_then(|moment| moment.in_unit(*unit));
            assert_eq!(found, *expected, "{units} {given} in {unit}");
        }
    }

    proptest! {
        #[test]
        fn times_are_read_as_another_reader_reads_them(
            seconds in SECONDS_MIN..=SECONDS_MAX, micros in 0..1_000_000_i64, offset in -86_340..86_340_i32
        ) {
            let utc = OffsetDateTime::from_unix_timestamp(seconds).unwrap() + time::Duration::microseconds(micros);
            let offset = time::UtcOffset::from_whole_seconds(offset / 60 * 60).unwrap();
            if let Some(there) = utc.checked_to_offset(offset) && (0..=9999).contains(&there.year()) {
                let text = there.format(&Rfc3339).unwrap();
                let found = Moment::rfc3339(text.as_bytes()).and_then(|moment| moment.in_unit(TimestampUnit::Microsecond));
                prop_assert_eq!(found, Ok(seconds * 1_000_000 + micros), "{}", text);
            }
        }

        #[test]
        fn integers_are_read_as_the_standard_library_reads_them(text in "-?(0|[1-9][0-9]{0,22})(\\.0|e1)?") {
            let found = integer(text.as_bytes()).ok();
            let expected = text.parse::<i128>().ok().filter(|value| value.unsigned_abs() <= u128::from(u64::MAX));
            prop_assert_eq!(found, expected, "{}", text);
        }

        #[test]
        fn any_bytes_are_survived(bytes: Vec<u8>, text in "[-+0-9.eETZ: ]{0,30}") {
            for bytes in [bytes.as_slice(), text.as_bytes()] {
                let _ = (integer(bytes), decimal(bytes, 38, 10), Moment::rfc3339(bytes));
            }
        }
    }
}
