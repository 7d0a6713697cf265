//! A number of JSON as a decimal that compares as the number itself does.

use arrow_array::types::{Decimal128Type, DecimalType as _};

/// Digits of the decimals.
pub(super) const DIGITS: u8 = Decimal128Type::MAX_PRECISION;
/// Those behind the point.
pub(super) const SCALE: i8 = 9;

const UNIT: i128 = 10_i128.pow(SCALE as u32);
const LARGEST: i128 = 10_i128.pow(DIGITS as u32) - 1;

/// The decimal for a number as JSON writes it. Beside whole numbers it compares as the number: what has more digits behind the point lies
/// between the same two of them, and what is larger than any decimal is the largest.
pub(super) fn decimal(number: &str) -> i128 {
    let (negative, number) = number.strip_prefix('-').map_or((false, number), |number| (true, number));
    let (mantissa, exponent) = number.split_once(['e', 'E']).unwrap_or((number, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = || whole.bytes().chain(fraction.bytes()).map(|digit| i128::from(digit - b'0'));
    let Some(zeros) = digits().position(|digit| digit != 0) else { return 0 };
    // How many digits stand before the point: all of it where the exponent is no number that fits.
    let beyond = if exponent.starts_with('-') { i64::MIN / 2 } else { i64::MAX / 2 };
    let exponent = exponent.parse().unwrap_or(beyond).clamp(i64::MIN / 2, i64::MAX / 2);
    let count = |length: usize| i64::try_from(length).unwrap_or(i64::MAX / 4);
    let before = exponent + count(whole.len()) - count(zeros);
    let magnitude = if before > i64::from(DIGITS) - i64::from(SCALE) {
        LARGEST
    } else {
        let taken = usize::try_from(before + i64::from(SCALE)).unwrap_or(0);
        let mut digits = digits().skip(zeros);
        let value = (0..taken).fold(0, |value, _| value * 10 + digits.next().unwrap_or(0));
        let more = digits.any(|digit| digit != 0) && value % UNIT == 0;
        value + i128::from(more)
    };
    if negative { -magnitude } else { magnitude }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn numbers_without_an_exact_decimal_lie_where_they_belong() {
        let whole = |n: i128| n * UNIT;
        let table = [
            ("0", 0),
            ("-0.0e5", 0),
            ("1.0E+2", whole(100)),
            ("-12.5", -12_500_000_000),
            ("1e-20", 1),
            ("-1e-999999999999999999999", -1),
            ("0.9999999999999", UNIT - 1),
            ("7.00000000000001", whole(7) + 1),
            ("9007199254740993", whole(9_007_199_254_740_993)),
            ("00012", whole(12)),
            ("99999999999999999999999999999", whole(99_999_999_999_999_999_999_999_999_999)),
            ("123456789012345678901234567890.5", LARGEST),
            ("1e300", LARGEST),
            ("-1e999999999999999999999", -LARGEST),
        ];
        for (number, expected) in table {
            assert_eq!(decimal(number), expected, "{number}");
        }
    }

    proptest! {
        #[test]
        fn numbers_compare_with_whole_ones_as_doubles_do(number in -1e15..1e15f64, other in -1_000_000_000_000_000i64..1_000_000_000_000_000) {
            #[expect(clippy::cast_precision_loss, reason = "below 2^53")]
            let as_double = number.partial_cmp(&(other as f64));
            for text in [format!("{number}"), format!("{number:e}")] {
                prop_assert_eq!(Some(decimal(&text).cmp(&(i128::from(other) * UNIT))), as_double, "{}", text);
            }
            prop_assert_eq!(decimal(&other.to_string()), i128::from(other) * UNIT);
        }
    }
}
