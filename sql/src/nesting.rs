//! How deeply expressions may stand in one another. Parser, planner and evaluation call themselves once a level, so this
//! bounds their stack. Before parsing the words are counted, as a chain such as `a + a + a ..` is as deep as it is long and
//! the parser does not bound it.

use crate::{Error, Result};
use datafusion_sql::sqlparser::tokenizer::{Token, TokenWithSpan};

/// Levels of expressions, over all SELECTs of a statement.
pub(crate) const DEPTH_MAX: usize = 100;
/// Levels of calls of functions, over all SELECTs of a statement: the planner's time doubles with each.
pub(crate) const CALLS_DEPTH_MAX: usize = 10;
/// Words between two commas, those of the enclosing brackets included.
pub(crate) const TOKENS_DEEP_MAX: usize = 1_000;
/// Levels that the parser goes down.
pub(crate) const PARSER_DEPTH_MAX: usize = 50;

/// Refuses words that may be deeper than [`TOKENS_DEEP_MAX`].
pub(crate) fn check(tokens: &[TokenWithSpan]) -> Result<()> {
    // Of each open bracket: words since its last comma, and the most between two of its commas.
    let mut enclosing: Vec<(usize, usize)> = Vec::new();
    let (mut here, mut most, mut outside) = (0_usize, 0_usize, 0_usize);
    for token in tokens {
        match token.token {
            Token::Whitespace(_) => {}
            Token::Comma | Token::SemiColon => {
                most = most.max(here);
                here = 0;
            }
            // What the brackets held goes on as part of the chain around them.
            Token::RParen | Token::RBracket | Token::RBrace => {
                let inner = most.max(here);
                let (words, longest) = enclosing.pop().unwrap_or((0, 0));
                outside -= words.min(outside);
                (here, most) = (words + inner, longest);
            }
            Token::LParen | Token::LBracket | Token::LBrace => {
                enclosing.push((here + 1, most));
                outside += here + 1;
                (here, most) = (0, 0);
            }
            _ => here += 1,
        }
        if outside + here > TOKENS_DEEP_MAX {
            return Err(Error::TooDeep);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use datafusion_sql::sqlparser::dialect::PostgreSqlDialect;
    use datafusion_sql::sqlparser::tokenizer::Tokenizer;

    #[test]
    fn what_may_be_deep_is_counted_and_what_is_only_long_is_not() {
        for (text, fits) in [
            ("a + b".to_owned(), true),
            (format!("a{}", " + a".repeat(600)), false),
            (format!("a IN ({}1)", "1, ".repeat(5_000)), true),
            (format!("{}1{}", "f(".repeat(400), ")".repeat(400)), true),
            (format!("{}1{}", "f(".repeat(501), ")".repeat(501)), false),
            (format!("x::INT{}", "[]".repeat(2_000)), false),
            (format!("(({} + a) + a", "a + a) + a".repeat(300)), false),
            (")))),,,;;;".to_owned(), true),
        ] {
            let tokens = Tokenizer::new(&PostgreSqlDialect {}, &text).tokenize_with_location().unwrap();
            assert_eq!(check(&tokens).is_ok(), fits, "{}", text.chars().take(40).collect::<String>());
        }
    }
}
