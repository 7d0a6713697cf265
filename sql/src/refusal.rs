//! The one file that reads DataFusion's errors: from planning they become errors of this crate, from evaluation reasons.

use crate::Error;
use crate::grammar::shortened;
use datafusion_common::{Column, DataFusionError, SchemaError};

/// The longest reason why a row failed: messages may quote the row's values.
const REASON_BYTES_MAX: usize = 500;
/// What the planner says before such an expression.
const UNKNOWN_SYNTAX: &str = "Unsupported ast node in sqltorel: ";
/// How many columns are suggested.
const SUGGESTIONS_MAX: usize = 3;
/// How alike a suggestion must be, from 0 to 1.
const SUGGESTION_LIKENESS_MIN: f64 = 0.8;

/// What planning found wrong.
pub(crate) fn from(error: &DataFusionError) -> Error {
    match error.find_root() {
        DataFusionError::SchemaError(schema, _) => from_schema(schema),
        DataFusionError::NotImplemented(message) if message.contains(UNKNOWN_SYNTAX) => unknown_syntax(message),
        root => {
            let message = reason(root);
            duplicate(&message).unwrap_or(Error::Invalid { message })
        }
    }
}

/// An expression that the planner has no way for: it shows the whole of it as the parser does.
fn unknown_syntax(message: &str) -> Error {
    let shown = message.rsplit_once(UNKNOWN_SYNTAX).map_or(message, |(_, shown)| shown);
    let name = shown.split(|other: char| !other.is_ascii_alphanumeric()).next().unwrap_or_default();
    let instead = "columns, literals, operators and functions stand in expressions".to_owned();
    Error::Unsupported { clause: name.to_ascii_uppercase(), instead }
}

fn from_schema(error: &SchemaError) -> Error {
    match error {
        SchemaError::FieldNotFound { field, valid_fields } => {
            Error::UnknownColumn { column: field.flat_name(), nearest: nearest(field.name(), valid_fields) }
        }
        SchemaError::AmbiguousReference { field } => Error::DuplicateColumn { column: field.name().to_owned() },
        SchemaError::DuplicateQualifiedField { name, .. } | SchemaError::DuplicateUnqualifiedField { name } => {
            Error::DuplicateColumn { column: name.clone() }
        }
    }
}

/// The most similar names; those that differ in case only come first.
fn nearest(name: &str, valid: &[Column]) -> Vec<String> {
    let lower = name.to_lowercase();
    let mut likely: Vec<(f64, &str)> = valid
        .iter()
        .map(|column| (strsim::jaro_winkler(&lower, &column.name().to_lowercase()), column.name()))
        .filter(|(likeness, _)| *likeness >= SUGGESTION_LIKENESS_MIN)
        .collect();
    likely.sort_by(|one, other| other.0.total_cmp(&one.0));
    likely.into_iter().take(SUGGESTIONS_MAX).map(|(_, name)| name.to_owned()).collect()
}

/// The planner's text about two columns of one name, which is not an error of its own.
fn duplicate(message: &str) -> Option<Error> {
    message.contains("require unique expression names").then(|| {
        let quoted = message.split('"').nth(1).unwrap_or_default();
        let column = quoted.rsplit_once(" AS ").map_or(quoted, |(_, name)| name);
        let column = column.split_once('.').map_or(column, |(_, name)| name);
        Error::DuplicateColumn { column: column.to_owned() }
    })
}

/// What it says, without what it is called and where it came from.
pub(crate) fn reason(error: &DataFusionError) -> String {
    let text = error.strip_backtrace();
    let kinds = ["Arrow error: ", "Error during planning: ", "Execution error: ", "Internal error: "];
    let mut rest = text.as_str();
    while let Some(shorter) = kinds.iter().find_map(|kind| rest.strip_prefix(kind)) {
        rest = shorter;
    }
    shortened(rest.to_owned(), REASON_BYTES_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_differ_in_case_are_suggested_first() {
        let valid = ["merchantId", "merchant", "amount"].map(Column::from_name);
        assert_eq!(nearest("merchantid", &valid), ["merchantId", "merchant"]);
        assert!(nearest("zzz", &valid).is_empty());
    }

    #[test]
    fn reasons_are_short_and_say_what_they_say() {
        let error = DataFusionError::Execution("x".repeat(10_000));
        assert_eq!(reason(&error).len(), REASON_BYTES_MAX);
        assert_eq!(reason(&DataFusionError::Execution("no".into())), "no");
    }
}
