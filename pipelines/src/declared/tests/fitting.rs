//! Random schemas, and random events that fit them with the rows they must become.

use crate::declared::{
    DeclaredField, DeclaredSchema, DeclaredType, DeclaredValue, REST, TimestampFormat, TimestampUnit, UnknownFields,
};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use proptest::prelude::*;
use serde_json::{Map, Value, json};
use time::OffsetDateTime;

/// The names fields have, few, so that events of one schema often nearly fit another.
const NAMES: [&str; 5] = ["a", "b", "\u{e4}", "q\"\\", "a longer name than sixteen bytes"];

/// Names nobody declares, as they may stand in an event.
const STRANGERS: [&str; 3] = ["x", "\\u0079", "z\\\"z"];

fn kind() -> impl Strategy<Value = DeclaredType> {
    let unit = prop_oneof![
        Just(TimestampUnit::Second),
        Just(TimestampUnit::Millisecond),
        Just(TimestampUnit::Microsecond),
        Just(TimestampUnit::Nanosecond)
    ];
    let leaf = prop_oneof![
        Just(DeclaredType::Bool),
        Just(DeclaredType::Int32),
        Just(DeclaredType::Int64),
        Just(DeclaredType::UInt32),
        Just(DeclaredType::UInt64),
        Just(DeclaredType::Float32),
        Just(DeclaredType::Float64),
        (1..16_u8, 0..16_u8)
            .prop_map(|(precision, scale)| DeclaredType::Decimal { precision, scale: scale.min(precision) }),
        Just(DeclaredType::String),
        unit.prop_map(DeclaredType::Timestamp),
        Just(DeclaredType::Json),
        Just(DeclaredType::Bytes),
        Just(DeclaredType::Binary),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            value(inner.clone()).prop_map(|items| DeclaredType::List(Box::new(items))),
            fields(inner).prop_map(DeclaredType::Struct)
        ]
    })
}

fn value(kind: impl Strategy<Value = DeclaredType>) -> impl Strategy<Value = DeclaredValue> {
    (kind, any::<bool>()).prop_map(|(kind, required)| DeclaredValue { kind, required })
}

fn fields(kind: impl Strategy<Value = DeclaredType>) -> impl Strategy<Value = Vec<DeclaredField>> {
    let names = prop::sample::subsequence(NAMES.to_vec(), 1..=NAMES.len()).prop_shuffle();
    (names, prop::collection::vec(value(kind), NAMES.len())).prop_map(|(names, values)| {
        let field = |(name, value): (&str, DeclaredValue)| DeclaredField { name: name.to_owned(), value };
        names.into_iter().zip(values).map(field).collect()
    })
}

pub(super) fn any_schema() -> impl Strategy<Value = DeclaredSchema> {
    let unknown = prop_oneof![Just(UnknownFields::Keep), Just(UnknownFields::Drop)];
    let timestamps =
        prop_oneof![Just(TimestampFormat::Either), Just(TimestampFormat::Rfc3339), Just(TimestampFormat::UnixMillis)];
    (fields(kind()), unknown, timestamps)
        .prop_map(|(fields, unknown, timestamps)| DeclaredSchema::new(fields, unknown, timestamps).unwrap())
}

/// Random numbers from a seed.
pub(super) struct Dice(u64);

impl Dice {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn roll(&mut self) -> u64 {
        // SplitMix64.
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, n: usize) -> usize {
        usize::try_from(self.roll() % n as u64).unwrap()
    }

    fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }
}

/// What was made: the JSON, what comes back, and the undeclared fields in it as an object.
struct Made {
    text: String,
    row: Value,
    rest: Option<String>,
}

/// An event, and the row that comes back, nulls left out.
pub(super) fn fitting_event(schema: &DeclaredSchema, dice: &mut Dice) -> (String, Value) {
    let mut made = object(schema.fields(), schema.timestamps(), dice);
    if let Some(rest) = made.rest.filter(|_| schema.unknown() == UnknownFields::Keep) {
        made.row[REST] = rest.into();
    }
    (made.text, made.row)
}

fn object(fields: &[DeclaredField], timestamps: TimestampFormat, dice: &mut Dice) -> Made {
    let (mut members, mut row, mut rest) = (Vec::new(), Map::new(), Vec::new());
    let start = if dice.one_in(3) { dice.below(fields.len()) } else { 0 };
    let mut strangers = STRANGERS.iter();
    for field in fields.iter().cycle().skip(start).take(fields.len()) {
        if dice.one_in(4)
            && let Some(name) = strangers.next()
        {
            let value = ["1", "null", "{\"a\": [\"}\"]}", "\"\\u00e4{\""][dice.below(4)];
            members.push(format!("\"{name}\": {value}"));
            rest.push(format!("\"{name}\":{value}"));
        }
        if !field.value.required && dice.one_in(4) {
            continue;
        }
        let made = fitting(&field.value, timestamps, dice);
        let name = Value::from(field.name.as_str()).to_string();
        members.push(format!("{name}:{}", made.text));
        rest.extend(made.rest.map(|rest| format!("{name}:{rest}")));
        if !made.row.is_null() {
            row.insert(field.name.clone(), made.row);
        }
    }
    let rest = (!rest.is_empty()).then(|| format!("{{{}}}", rest.join(",")));
    Made { text: format!("{{{}}}", members.join(if dice.one_in(2) { "," } else { " , " })), row: row.into(), rest }
}

fn fitting(value: &DeclaredValue, timestamps: TimestampFormat, dice: &mut Dice) -> Made {
    if !value.required && dice.one_in(5) {
        return Made { text: "null".to_owned(), row: Value::Null, rest: None };
    }
    match &value.kind {
        DeclaredType::List(items) => list(items, timestamps, dice),
        DeclaredType::Struct(fields) => object(fields, timestamps, dice),
        kind => {
            let (text, row) = leaf(kind, timestamps, dice);
            Made { text, row, rest: None }
        }
    }
}

fn list(items: &DeclaredValue, timestamps: TimestampFormat, dice: &mut Dice) -> Made {
    let (mut texts, mut row, mut rest) = (Vec::new(), Vec::new(), Vec::new());
    for index in 0..dice.below(4) {
        let made = fitting(items, timestamps, dice);
        texts.push(made.text);
        row.push(made.row);
        rest.extend(made.rest.map(|rest| format!("\"{index}\":{rest}")));
    }
    let rest = (!rest.is_empty()).then(|| format!("{{{}}}", rest.join(",")));
    Made { text: format!("[{}]", texts.join(",")), row: row.into(), rest }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_possible_wrap, reason = "bits are bits")]
fn leaf(kind: &DeclaredType, timestamps: TimestampFormat, dice: &mut Dice) -> (String, Value) {
    let bits = dice.roll() >> dice.below(64);
    let plain = |value: Value| (value.to_string(), value);
    match kind {
        DeclaredType::Bool => plain(json!(bits.is_multiple_of(2))),
        DeclaredType::Int32 => plain(json!(bits as i32)),
        DeclaredType::Int64 => plain(json!(bits as i64)),
        DeclaredType::UInt32 => plain(json!(bits as u32)),
        DeclaredType::UInt64 => plain(json!(bits)),
        DeclaredType::Float32 => {
            let value = f64::from(bits as i16) / 4.0;
            (if bits.is_multiple_of(8) { format!("{value:e}") } else { value.to_string() }, json!(value))
        }
        DeclaredType::Float64 => {
            let value = f64::from(bits as i32) / 64.0;
            (if bits.is_multiple_of(8) { format!("{value:e}") } else { value.to_string() }, json!(value))
        }
        DeclaredType::Decimal { precision, scale } => {
            let value = bits % 10_u64.pow(u32::from(*precision));
            let width = usize::from(*scale) + 1;
            let digits = format!("{value:0width$}");
            let (whole, fraction) = digits.split_at(digits.len() - usize::from(*scale));
            let text = if fraction.is_empty() { whole.to_owned() } else { format!("{whole}.{fraction}") };
            let row = serde_json::from_str(&text).unwrap();
            (if dice.one_in(2) { format!("\"{text}\"") } else { text }, row)
        }
        DeclaredType::String => {
            let text = ["", "a", "a\"\\\n\u{e4}\u{1f600}", "a text of more than sixteen bytes"][dice.below(4)];
            (serde_json::to_string(text).unwrap(), json!(text))
        }
        DeclaredType::Timestamp(unit) => timestamp(*unit, timestamps, bits as i64, dice),
        DeclaredType::Json => {
            let text = ["1.50", "{\"b\" :[null ,{}],\"a\":1}", "\"\\u00e4\"", "[]", "false"][dice.below(5)];
            (text.to_owned(), json!(text))
        }
        DeclaredType::Bytes | DeclaredType::Binary => {
            let bytes = &bits.to_le_bytes()[..dice.below(9)];
            (format!("\"{}\"", STANDARD.encode(bytes)), json!(hex::encode(bytes)))
        }
        DeclaredType::List(_) | DeclaredType::Struct(_) => unreachable!("made by their own"),
    }
}

fn timestamp(unit: TimestampUnit, format: TimestampFormat, bits: i64, dice: &mut Dice) -> (String, Value) {
    let digits = match (unit, format) {
        (TimestampUnit::Second, _) => 0,
        (TimestampUnit::Millisecond, _) | (_, TimestampFormat::UnixMillis) => 3,
        (TimestampUnit::Microsecond, _) => 6,
        (TimestampUnit::Nanosecond, _) => 9,
    };
    let seconds = if unit == TimestampUnit::Nanosecond { bits % 9_000_000_000 } else { bits % 62_000_000_000 };
    let nanos = bits.unsigned_abs() % 1_000_000_000 / 10_u64.pow(9 - digits) * 10_u64.pow(9 - digits);
    let at = OffsetDateTime::from_unix_timestamp(seconds).unwrap() + std::time::Duration::from_nanos(nanos);
    // Written as the reader of the file writes it: three digits, or six, or nine, or none.
    let fraction = match nanos {
        0 => String::new(),
        nanos if nanos % 1_000_000 == 0 => format!(".{:03}", nanos / 1_000_000),
        nanos if nanos % 1_000 == 0 => format!(".{:06}", nanos / 1_000),
        nanos => format!(".{nanos:09}"),
    };
    let (date, time) = (at.date(), at.time());
    let (year, month, day) = (date.year(), u8::from(date.month()), date.day());
    let (hour, minute, second) = (time.hour(), time.minute(), time.second());
    let text = format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}{fraction}Z");
    let written = match format {
        TimestampFormat::Rfc3339 => format!("\"{text}\""),
        TimestampFormat::UnixMillis => (at.unix_timestamp_nanos() / 1_000_000).to_string(),
        TimestampFormat::Either if dice.one_in(2) => format!("\"{text}\""),
        TimestampFormat::Either => (at.unix_timestamp_nanos() / 10_i128.pow(9 - digits)).to_string(),
    };
    (written, json!(text))
}
