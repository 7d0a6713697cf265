//! From text to statements: parsed, and checked to be no more than work on single rows. Streams and their columns are
//! not known yet.

use crate::graph::Outline;
use crate::nesting::PARSER_DEPTH_MAX;
use crate::{Error, Result, grammar, nesting, stack};
use datafusion_sql::sqlparser::ast::{Query, Statement as Sql};
use datafusion_sql::sqlparser::dialect::PostgreSqlDialect;
use datafusion_sql::sqlparser::parser::{Parser, ParserError};
use datafusion_sql::sqlparser::tokenizer::{Token, TokenWithSpan, Tokenizer};

/// The longest text.
pub const TEXT_BYTES_MAX: usize = 64 << 10;
/// The most statements in a text.
pub const STATEMENTS_MAX: usize = 20;
/// The most SELECTs in a statement: its own, those of WITH, and subqueries.
pub const SELECTS_MAX: usize = 32;

/// The SQL of a pipeline.
#[derive(Debug, Clone)]
pub struct Script {
    statements: Vec<Statement>,
}

/// One SELECT, and where its rows go.
#[derive(Debug, Clone)]
pub struct Statement {
    sink: Option<String>,
    stream: String,
    text: String,
    pub(crate) query: Box<Query>,
    pub(crate) outline: Vec<Outline>,
}

impl Script {
    /// Reads statements that are separated by `;`. Errors say where the text is wrong, or which clause is not possible.
    pub fn parse(text: &str) -> Result<Self> {
        if text.len() > TEXT_BYTES_MAX {
            return Err(Error::TextTooLong { bytes: text.len() });
        }
        stack::deep(|| Self::read(text))
    }

    fn read(text: &str) -> Result<Self> {
        let dialect = PostgreSqlDialect {};
        let tokens = Tokenizer::new(&dialect, text).tokenize_with_location().map_err(|error| Error::Syntax {
            line: error.location.line,
            column: error.location.column,
            message: error.message,
        })?;
        nesting::check(&tokens)?;
        let texts = pieces(text, &tokens);
        let mut parser =
            Parser::new(&dialect).with_recursion_limit(PARSER_DEPTH_MAX).with_tokens_with_locations(tokens);
        let parsed = parser.parse_statements().map_err(|error| syntax(error, text))?;
        if parsed.is_empty() {
            return Err(Error::Empty);
        }
        if parsed.len() > STATEMENTS_MAX {
            return Err(Error::TooManyStatements { count: parsed.len() });
        }
        if texts.len() != parsed.len() {
            return Err(Error::Evaluation { message: "the statements could not be told apart".to_owned() });
        }
        let statements = parsed.into_iter().zip(texts).map(|(parsed, text)| Statement::check(parsed, text));
        let statements = statements.collect::<Result<Vec<_>>>()?;
        if statements.len() > 1 && statements.iter().any(|statement| statement.sink.is_none()) {
            return Err(Error::SinkMissing);
        }
        Ok(Self { statements })
    }

    /// In the order of the text: at least one.
    pub fn statements(&self) -> &[Statement] {
        &self.statements
    }
}

impl Statement {
    fn check(parsed: Sql, text: &str) -> Result<Self> {
        let (sink, mut query) = match parsed {
            Sql::Query(query) => (None, query),
            Sql::Insert(insert) => grammar::insert(insert)?,
            other => return Err(grammar::unsupported(&grammar::first_word(&other))),
        };
        let checked = grammar::check(&query)?;
        grammar::name_columns(&mut query);
        Ok(Self { sink, stream: checked.stream, text: text.to_owned(), query, outline: checked.outline })
    }

    /// The statement as it was written, without the `;`: a script of its own.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The name behind INSERT INTO, as written; `None` for a bare SELECT, whose sink is the pipeline's own.
    pub fn sink(&self) -> Option<&str> {
        self.sink.as_deref()
    }

    /// The stream behind FROM, as written.
    pub fn stream(&self) -> &str {
        &self.stream
    }
}

/// What stands between the semicolons, where it is more than space and comments.
fn pieces<'a>(text: &'a str, tokens: &[TokenWithSpan]) -> Vec<&'a str> {
    // Lines and columns count from 1, columns in letters.
    let (mut at, mut here) = (0, (1, 1));
    let mut byte_at = |place: (u64, u64)| {
        while let Some(letter) = text[at..].chars().next().filter(|_| here != place) {
            at += letter.len_utf8();
            here = if letter == '\n' { (here.0 + 1, 1) } else { (here.0, here.1 + 1) };
        }
        at
    };
    let mut found = Vec::new();
    let (mut start, mut says) = (0, false);
    for token in tokens {
        match &token.token {
            Token::SemiColon => {
                let end = byte_at((token.span.start.line, token.span.start.column));
                if says {
                    found.push(text[start..end].trim());
                }
                (start, says) = (end + text[end..].chars().next().map_or(0, char::len_utf8), false);
            }
            Token::Whitespace(_) | Token::EOF => {}
            _ => says = true,
        }
    }
    if says {
        found.push(text[start..].trim());
    }
    found
}

/// The parser writes where it stopped at the end of its text, unless that is the end of the SQL.
fn syntax(error: ParserError, sql: &str) -> Error {
    let text = match error {
        ParserError::RecursionLimitExceeded => return Error::TooDeep,
        ParserError::TokenizerError(text) | ParserError::ParserError(text) => text,
    };
    let place = text.rsplit_once(" at Line: ").and_then(|(message, place)| {
        let (line, column) = place.split_once(", Column: ")?;
        Some((message.to_owned(), line.parse().ok()?, column.parse().ok()?))
    });
    let (message, line, column) = place.unwrap_or_else(|| {
        let last = sql.rsplit('\n').next().unwrap_or_default();
        (text, sql.matches('\n').count() as u64 + 1, last.chars().count() as u64 + 1)
    });
    Error::Syntax { line, column, message }
}

#[cfg(test)]
mod tests;
