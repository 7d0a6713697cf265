//! Why and where an event does not fit a declared schema.

use std::fmt;

/// The names that errors of this kind have in the metrics of the API.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Family {
    /// A required field is not there.
    MissingField,
    /// The JSON value is of another kind.
    TypeMismatch,
    /// The JSON value is of the right kind but does not write a value of the type.
    ParseFailure,
    /// A required field is null.
    NullValue,
}

/// Why and where an event cannot be a row.
#[derive(Debug)]
pub(super) struct Fault {
    family: Family,
    what: String,
    /// Where, the innermost first.
    path: Vec<Step>,
}

#[derive(Debug)]
enum Step {
    Field(String),
    Item(usize),
}

/// A fault is boxed, so that results stay one word wide.
pub(super) type Decoded<T = ()> = Result<T, Box<Fault>>;

/// How many characters of a name or a value a reason shows.
const SHOWN_CHARS_MAX: usize = 128;

/// Bytes of an event as a reason shows them.
pub(super) fn shown(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let cut = text.chars().nth(SHOWN_CHARS_MAX).is_some();
    let text: String = text.chars().take(SHOWN_CHARS_MAX).collect();
    if cut { text + "..." } else { text }
}

#[expect(clippy::unnecessary_box_returns, reason = "the box is handed on: results stay one word wide")]
impl Fault {
    #[cold]
    pub(super) fn new(family: Family, what: impl Into<String>) -> Box<Self> {
        Box::new(Self { family, what: what.into(), path: Vec::new() })
    }

    /// The bytes are not valid JSON, which the log should not hold.
    #[cold]
    pub(super) fn malformed() -> Box<Self> {
        Self::new(Family::ParseFailure, "the event is not valid JSON")
    }

    /// The values of a column would pass 2 GiB.
    #[cold]
    pub(super) fn too_much() -> Box<Self> {
        Self::new(Family::ParseFailure, "more than 2 GiB of values in one batch")
    }

    /// The same, found inside a field.
    #[cold]
    pub(super) fn inside(mut self: Box<Self>, name: &str) -> Box<Self> {
        self.path.push(Step::Field(shown(name.as_bytes())));
        self
    }

    /// The same, found inside an item of a list.
    #[cold]
    pub(super) fn inside_item(mut self: Box<Self>, index: usize) -> Box<Self> {
        self.path.push(Step::Item(index));
        self
    }
}

/// For people: `type_mismatch: field items[2].count: a string, but int64 is declared`.
impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.family {
            Family::MissingField => "missing_field: ",
            Family::TypeMismatch => "type_mismatch: ",
            Family::ParseFailure => "parse_failure: ",
            Family::NullValue => "null_value: ",
        })?;
        for (number, step) in self.path.iter().rev().enumerate() {
            match step {
                Step::Field(name) if number == 0 => write!(f, "field {name}")?,
                Step::Field(name) => write!(f, ".{name}")?,
                Step::Item(index) => write!(f, "[{index}]")?,
            }
        }
        if !self.path.is_empty() {
            f.write_str(": ")?;
        }
        f.write_str(&self.what)
    }
}
