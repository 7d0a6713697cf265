//! Whether fields can be a schema: names, counts, nesting, digits of decimals.

use super::{DeclaredField, DeclaredType, DeclaredValue, REST};
use crate::{Error, Result};
use std::collections::HashSet;

/// The most fields a schema may have, nested ones and the items of lists counted.
pub(super) const FIELDS_MAX: usize = 1_000;

/// The longest name, in bytes.
pub(super) const NAME_BYTES_MAX: usize = 255;

/// The longest all names together may be, in bytes, so that the pipeline's row stays in its limit.
pub(super) const NAMES_BYTES_MAX: usize = 32_000;

/// How deep structs and lists may lie in one another; plain fields at the top are level 1.
pub(super) const DEPTH_MAX: usize = 16;

/// The most digits of a decimal.
pub(super) const PRECISION_MAX: u8 = 38;

/// What a schema has used up of its limits.
#[derive(Debug, Default)]
struct Used {
    fields: usize,
    name_bytes: usize,
}

pub(super) fn refuse(path: &str, rule: &'static str) -> Error {
    let given = if path.is_empty() { "at the top".to_owned() } else { path.chars().take(128).collect() };
    Error::InvalidSetting { field: "schema field", given, rule }
}

/// The path of a field inside `path`.
pub(super) fn inside(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

/// Refuses what is no schema.
pub(super) fn fields(fields: &[DeclaredField]) -> Result<()> {
    if fields.iter().any(|field| field.name == REST) {
        return Err(refuse(REST, "the name is taken for the fields that are not declared; choose another"));
    }
    check_fields(fields, "", 1, &mut Used::default())
}

fn check_fields(fields: &[DeclaredField], path: &str, depth: usize, used: &mut Used) -> Result<()> {
    if fields.is_empty() {
        return Err(refuse(path, "name at least one field; use type json for objects of any fields"));
    }
    let mut names = HashSet::new();
    for field in fields {
        let path = inside(path, &field.name);
        if !(1..=NAME_BYTES_MAX).contains(&field.name.len()) || field.name.chars().any(char::is_control) {
            return Err(refuse(&path, "use names of 1 to 255 bytes without control characters"));
        }
        if !names.insert(field.name.as_str()) {
            return Err(refuse(&path, "the name stands twice; use each name once in an object"));
        }
        used.name_bytes += field.name.len();
        check_value(&field.value, &path, depth, used)?;
    }
    Ok(())
}

fn check_value(value: &DeclaredValue, path: &str, depth: usize, used: &mut Used) -> Result<()> {
    used.fields += 1;
    if used.fields > FIELDS_MAX {
        return Err(refuse(path, "use at most 1000 fields, nested ones and the items of lists counted"));
    }
    if used.name_bytes > NAMES_BYTES_MAX {
        return Err(refuse(path, "use shorter names: at most 32000 bytes for all together"));
    }
    if depth > DEPTH_MAX {
        return Err(refuse(path, "nest structs and lists at most 16 levels deep; use type json for what lies deeper"));
    }
    match &value.kind {
        DeclaredType::Decimal { precision, scale } => {
            if !(1..=PRECISION_MAX).contains(precision) || scale > precision {
                return Err(refuse(path, "use a precision of 1 to 38 and a scale of 0 to the precision"));
            }
            Ok(())
        }
        DeclaredType::List(items) => check_value(items, &format!("{path}[]"), depth + 1, used),
        DeclaredType::Struct(fields) => check_fields(fields, path, depth + 1, used),
        _ => Ok(()),
    }
}
