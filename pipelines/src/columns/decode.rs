//! One event into the columns, straight from its bytes.

use super::Unfit;
use super::column::{Budget, Column, Data, FieldColumns};
use super::number::{self, Number};
use crate::scan::{RawText, Scanner, unescape};
use crate::schema::{COLUMNS_MAX, NAME_BYTES_MAX, PathStep};

/// So many characters of a name are told to people.
const NAME_SHOWN_MAX: usize = 128;

/// Why an event cannot be a row.
#[derive(Debug, Clone, Copy)]
pub(super) enum Reason {
    /// What was found, what the column holds.
    Conflict(&'static str, &'static str),
    /// Widening the column would change a number.
    NotExact,
    /// The field stands twice in its object.
    Duplicate,
    /// There are too many columns already.
    TooManyColumns,
    /// A column's text or items would pass 2 GiB.
    TooMuch,
    /// The bytes are not valid JSON, which the log should not hold.
    Malformed,
}

/// Why and where an event cannot be a row.
#[derive(Debug)]
pub(super) struct DecodeFault {
    reason: Reason,
    /// The fields around it, the innermost first.
    path: Vec<PathStep>,
    /// Lists that lie between it and the innermost field whose name is not known yet.
    lists: usize,
    /// What else is wrong with the event, where this one does not end it.
    others: Vec<DecodeFault>,
}

type Decoded = Result<(), Box<DecodeFault>>;

impl From<Reason> for Box<DecodeFault> {
    #[cold]
    fn from(reason: Reason) -> Self {
        Self::new(DecodeFault { reason, path: Vec::new(), lists: 0, others: Vec::new() })
    }
}

impl DecodeFault {
    #[cold]
    #[expect(clippy::unnecessary_box_returns, reason = "the box is handed on: results stay one word wide")]
    fn inside(mut self: Box<Self>, name: &str) -> Box<Self> {
        self.each(&mut |fault| {
            let lists = std::mem::take(&mut fault.lists);
            fault.path.push(PathStep { name: name.to_owned(), lists });
        });
        self
    }

    #[cold]
    #[expect(clippy::unnecessary_box_returns, reason = "as above")]
    fn inside_list(mut self: Box<Self>) -> Box<Self> {
        self.each(&mut |fault| fault.lists += 1);
        self
    }

    fn each(&mut self, change: &mut impl FnMut(&mut Self)) {
        change(self);
        self.others.iter_mut().for_each(change);
    }

    /// Whether a field would have to hold more than one type: then the rest of the event is looked at all the same.
    fn is_mixed(&self) -> bool {
        matches!(self.reason, Reason::Conflict(..) | Reason::NotExact)
    }

    /// The fault for people, and the fields of mixed types, if that is all that is wrong.
    pub(super) fn describe(fault: Self) -> Unfit {
        let reason = fault.reason_for_people();
        let mixed = if fault.is_mixed() { fault.into_paths() } else { Vec::new() };
        Unfit { reason, mixed }
    }

    fn into_paths(mut self) -> Vec<Vec<PathStep>> {
        let others = std::mem::take(&mut self.others);
        std::iter::once(self).chain(others).map(|fault| fault.path.into_iter().rev().collect()).collect()
    }

    fn reason_for_people(&self) -> String {
        let names: Vec<String> =
            self.path.iter().rev().map(|step| step.name.chars().take(NAME_SHOWN_MAX).collect()).collect();
        let field = names.join(".");
        match self.reason {
            Reason::Conflict(found, holds) => format!("field {field}: {found}, but the column holds {holds}"),
            Reason::NotExact => {
                format!("field {field}: integers over 2^53 and fractions cannot share a column without loss")
            }
            Reason::Duplicate => format!("field {field}: stands twice in the event"),
            Reason::TooManyColumns => {
                format!(
                    "field {field}: the pipeline has as many columns as it may have, {COLUMNS_MAX} or {NAME_BYTES_MAX} bytes of names"
                )
            }
            Reason::TooMuch => format!("field {field}: more than 2 GiB of values in one batch"),
            Reason::Malformed => "the event is not valid JSON".to_owned(),
        }
    }
}

/// Adds an event as row `row`. After a fault some columns may be one row longer.
pub(super) fn event(fields: &mut FieldColumns, event: &[u8], row: usize, budget: &mut Budget) -> Decoded {
    let mut scanner = Scanner::new(event);
    scanner.skip_space();
    if scanner.peek() != Some(b'{') {
        return Err(Reason::Malformed.into());
    }
    scanner.step();
    object(fields, &mut scanner, row, budget)?;
    scanner.skip_space();
    if scanner.peek().is_some() { Err(Reason::Malformed.into()) } else { Ok(()) }
}

/// The fields of an object whose brace has been passed.
fn object(columns: &mut FieldColumns, scanner: &mut Scanner<'_>, row: usize, budget: &mut Budget) -> Decoded {
    let mut before = 0;
    let mut mixed: Option<Box<DecodeFault>> = None;
    scanner.skip_space();
    if scanner.peek() == Some(b'}') {
        scanner.step();
        return Ok(());
    }
    loop {
        let guess = columns.successors.get(before).copied().unwrap_or(0);
        let index = match columns.fields.get(guess) {
            Some(field) if scanner.eat(&field.token) => guess,
            _ => {
                let index = find(columns, scanner, budget)?;
                if let Some(successor) = columns.successors.get_mut(before) {
                    *successor = index;
                }
                index
            }
        };
        before = index + 1;
        scanner.skip_space();
        if scanner.peek() != Some(b':') {
            return Err(Reason::Malformed.into());
        }
        scanner.step();
        let field = &mut columns.fields[index];
        if field.column.len() > row {
            return Err(Box::<DecodeFault>::from(Reason::Duplicate).inside(&field.name));
        }
        field.column.pad_to(row);
        let here = *scanner;
        if let Err(fault) = value(&mut field.column, scanner, budget) {
            note(&mut mixed, fault.inside(&field.name))?;
            *scanner = here;
            scanner.skip_value().ok_or(Reason::Malformed)?;
        }
        scanner.skip_space();
        match scanner.peek() {
            Some(b',') => scanner.step(),
            Some(b'}') => {
                scanner.step();
                return mixed.map_or(Ok(()), Err);
            }
            _ => return Err(Reason::Malformed.into()),
        }
        scanner.skip_space();
    }
}

/// Keeps a fault that does not end the event with those before it; gives any other back.
#[cold]
fn note(mixed: &mut Option<Box<DecodeFault>>, mut fault: Box<DecodeFault>) -> Decoded {
    if !fault.is_mixed() {
        return Err(fault);
    }
    match mixed {
        Some(first) => {
            let others = std::mem::take(&mut fault.others);
            first.others.extend(std::iter::once(*fault).chain(others));
        }
        None => *mixed = Some(fault),
    }
    Ok(())
}

/// The column of the field whose name stands here; a new one if there is none yet.
#[cold]
fn find(columns: &mut FieldColumns, scanner: &mut Scanner<'_>, budget: &mut Budget) -> Result<usize, Box<DecodeFault>> {
    let mut unescaped = Vec::new();
    let name = match scanner.text().ok_or(Reason::Malformed)? {
        RawText::Plain(name) => name,
        RawText::Escaped(raw) => {
            unescape(raw, &mut unescaped).ok_or(Reason::Malformed)?;
            &unescaped
        }
    };
    if let Some(index) = columns.by_name.get(name) {
        return Ok(*index);
    }
    let name = std::str::from_utf8(name).map_err(|_| Reason::Malformed)?;
    if !budget.take(name.len()) {
        return Err(Box::<DecodeFault>::from(Reason::TooManyColumns).inside(name));
    }
    Ok(columns.insert(name.to_owned(), Column::new(budget)))
}

/// Appends the value that stands here to a column that has as many rows as there are before it.
#[inline]
fn value(column: &mut Column, scanner: &mut Scanner<'_>, budget: &mut Budget) -> Decoded {
    scanner.skip_space();
    if matches!(column.data, Data::Json { .. }) && scanner.peek() != Some(b'n') {
        return json(column, scanner);
    }
    match scanner.peek() {
        Some(b'"') => text(column, scanner),
        Some(b'-' | b'0'..=b'9') => {
            let number = match scanner.short_integer() {
                Some(integer) => Number::Int(integer),
                None => number::read(scanner.bare()).ok_or(Reason::Malformed)?,
            };
            Ok(number::append(column, number, budget.event)?)
        }
        Some(b'n') if scanner.eat_word(b"null") => {
            column.pad_to(column.len() + 1);
            Ok(())
        }
        Some(b't') if scanner.eat_word(b"true") => boolean(column, true),
        Some(b'f') if scanner.eat_word(b"false") => boolean(column, false),
        Some(b'{') => nested(column, scanner, budget),
        Some(b'[') => array(column, scanner, budget),
        _ => Err(Reason::Malformed.into()),
    }
}

#[inline]
fn text(column: &mut Column, scanner: &mut Scanner<'_>) -> Decoded {
    if matches!(column.data, Data::Unknown) {
        column.become_kind(Data::text());
    }
    let Data::Text { offsets, bytes } = &mut column.data else {
        return Err(Reason::Conflict("a string", column.data.holds()).into());
    };
    let start = bytes.len();
    if let Some((chunk, length)) = scanner.short_text() {
        // A copy of a fixed length is a move or two.
        bytes.extend_from_slice(chunk);
        bytes.truncate(start + length);
    } else {
        match scanner.text().ok_or(Reason::Malformed)? {
            RawText::Plain(plain) => bytes.extend_from_slice(plain),
            RawText::Escaped(raw) => {
                if unescape(raw, bytes).is_none() {
                    bytes.truncate(start);
                    return Err(Reason::Malformed.into());
                }
            }
        }
    }
    let Ok(end) = i32::try_from(bytes.len()) else {
        bytes.truncate(start);
        return Err(Reason::TooMuch.into());
    };
    offsets.push(end);
    column.appended();
    Ok(())
}

fn json(column: &mut Column, scanner: &mut Scanner<'_>) -> Decoded {
    let value = scanner.value().ok_or(Reason::Malformed)?;
    if let Data::Json { offsets, bytes } = &mut column.data {
        let end = i32::try_from(bytes.len() + value.len()).map_err(|_| Reason::TooMuch)?;
        bytes.extend_from_slice(value);
        offsets.push(end);
        column.appended();
    }
    Ok(())
}

fn boolean(column: &mut Column, value: bool) -> Decoded {
    if matches!(column.data, Data::Unknown) {
        column.become_kind(Data::Bool(arrow_array::builder::BooleanBufferBuilder::new(0)));
    }
    let Data::Bool(values) = &mut column.data else {
        return Err(Reason::Conflict("a boolean", column.data.holds()).into());
    };
    values.append(value);
    column.appended();
    Ok(())
}

fn nested(column: &mut Column, scanner: &mut Scanner<'_>, budget: &mut Budget) -> Decoded {
    if matches!(column.data, Data::Unknown) {
        column.become_kind(Data::Struct(FieldColumns::default()));
    }
    let row = column.len();
    let Data::Struct(fields) = &mut column.data else {
        return Err(Reason::Conflict("an object", column.data.holds()).into());
    };
    scanner.step();
    // Said first: a fault inside then finds this row to take back, and with it what it has left in the fields.
    column.rows += 1;
    object(fields, scanner, row, budget)
}

fn array(column: &mut Column, scanner: &mut Scanner<'_>, budget: &mut Budget) -> Decoded {
    if matches!(column.data, Data::Unknown) {
        if !budget.take(0) {
            return Err(Reason::TooManyColumns.into());
        }
        column.become_kind(Data::list(Column::new(budget)));
    }
    let Data::List { offsets, items } = &mut column.data else {
        return Err(Reason::Conflict("an array", column.data.holds()).into());
    };
    scanner.step();
    scanner.skip_space();
    if scanner.peek() == Some(b']') {
        scanner.step();
    } else {
        loop {
            value(items, scanner, budget).map_err(DecodeFault::inside_list)?;
            scanner.skip_space();
            match scanner.peek() {
                Some(b',') => scanner.step(),
                Some(b']') => break,
                _ => return Err(Reason::Malformed.into()),
            }
        }
        scanner.step();
    }
    offsets.push(i32::try_from(items.len()).map_err(|_| Reason::TooMuch)?);
    column.appended();
    Ok(())
}
