//! What can be wrong with a transform. Every text says what was found and what would be right.

use crate::bounded::VALUE_BYTES_MAX;
use crate::nesting::{CALLS_DEPTH_MAX, DEPTH_MAX, TOKENS_DEEP_MAX};
use crate::plan::OUTPUT_COLUMNS_MAX;
use crate::run::OUTPUT_BYTES_MAX;
use crate::script::{SELECTS_MAX, STATEMENTS_MAX, TEXT_BYTES_MAX};
use arrow_schema::DataType;

/// What a transform may be, for texts of errors.
pub(crate) const SHAPE: &str =
    "a transform is [INSERT INTO sink] [WITH name AS (..)] SELECT columns FROM stream [WHERE condition]";

/// Result with an error of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a text is no transform, or why a batch cannot pass through one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The text is longer than may be.
    #[error("the SQL has {bytes} bytes, at most {TEXT_BYTES_MAX} are possible")]
    TextTooLong {
        /// How long it is.
        bytes: usize,
    },
    /// There is nothing in the text.
    #[error("the SQL has no statement: {SHAPE}")]
    Empty,
    /// More statements than may be.
    #[error("the SQL has {count} statements, at most {STATEMENTS_MAX} are possible")]
    TooManyStatements {
        /// How many there are.
        count: usize,
    },
    /// One statement is a plain SELECT beside others.
    #[error("with several statements each one needs a sink: INSERT INTO sink SELECT ..")]
    SinkMissing,
    /// The text is not SQL.
    #[error("line {line}, column {column}: {message}")]
    Syntax {
        /// From 1.
        line: u64,
        /// From 1.
        column: u64,
        /// What the parser expected.
        message: String,
    },
    /// Expressions stand in one another too deeply.
    #[error(
        "expressions are nested too deeply: a statement may have {DEPTH_MAX} levels, {CALLS_DEPTH_MAX} of them calls of functions, and {TOKENS_DEEP_MAX} words without a comma"
    )]
    TooDeep,
    /// More SELECTs in a statement than may be.
    #[error("a statement has {count} SELECTs, at most {SELECTS_MAX} are possible")]
    TooManySelects {
        /// How many there are.
        count: usize,
    },
    /// SQL that is more than work on single rows.
    #[error("{clause} is not possible: {instead}")]
    Unsupported {
        /// The clause, as it is written in SQL.
        clause: String,
        /// What is possible.
        instead: String,
    },
    /// A statement reads two streams.
    #[error("a statement reads one stream, this one reads {first} and {second}")]
    SeveralStreams {
        /// The one found first.
        first: String,
        /// The other.
        second: String,
    },
    /// A column that is not there.
    #[error("there is no column {column}; {}", known(nearest))]
    UnknownColumn {
        /// As it was written.
        column: String,
        /// The most similar ones first.
        nearest: Vec<String>,
    },
    /// Two columns of the result, or of a subquery, have one name.
    #[error("two columns are called {column}: give one another name, as in `{column} AS other`")]
    DuplicateColumn {
        /// The name.
        column: String,
    },
    /// The result has more columns than may be.
    #[error("the result has {count} columns, at most {OUTPUT_COLUMNS_MAX} are possible")]
    TooManyColumns {
        /// How many.
        count: usize,
    },
    /// Types or functions do not fit.
    #[error("{message}")]
    Invalid {
        /// What does not fit, and what would.
        message: String,
    },
    /// A part without columns fails, and so would every row.
    #[error("{expression} fails for every row: {reason}")]
    AlwaysFails {
        /// The part.
        expression: String,
        /// Why.
        reason: String,
    },
    /// A row of NULLs fails, and so would every other.
    #[error("this fails even for a row of NULLs: {reason}")]
    FailsForNulls {
        /// Why.
        reason: String,
    },
    /// A function is asked for more than a value may have.
    #[error("{expression} makes values of {bytes} bytes, at most {VALUE_BYTES_MAX} are possible")]
    ValueTooLong {
        /// The call.
        expression: String,
        /// What it asks for.
        bytes: u64,
    },
    /// A column of the result has a type that files cannot hold.
    #[error("column {column} has type {data_type}, which cannot be stored: cast it, as in `CAST({column} AS VARCHAR)`")]
    ColumnType {
        /// The column.
        column: String,
        /// Its type.
        data_type: DataType,
    },
    /// A batch has other columns than the transform was planned for.
    #[error("the batch has other columns than the stream had when the transform was planned")]
    OtherSchema,
    /// The result of a batch would be too large; each row by itself is not. A smaller batch will do.
    #[error("the result has more than {OUTPUT_BYTES_MAX} bytes: run the rows in smaller batches")]
    OutputTooLarge,
    /// A batch could not be taken apart or put together.
    #[error("evaluation failed: {message}")]
    Evaluation {
        /// Why.
        message: String,
    },
}

fn known(nearest: &[String]) -> String {
    match nearest {
        [] => "the stream has none that is similar".to_owned(),
        [one] => format!("did you mean {one}?"),
        many => format!("did you mean one of {}?", many.join(", ")),
    }
}
