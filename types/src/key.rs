//! `ObjectKey`: the name of an object in its bucket.

use crate::{Invalid, text_word};

/// The key of an object: 1 to 1,024 bytes of UTF-8, compared byte for byte, nothing else assumed (`//`, `..`, a
/// trailing slash and control characters are ordinary).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectKey(Box<str>);

text_word!(ObjectKey);

impl ObjectKey {
    /// The longest key, in bytes of UTF-8.
    pub const BYTES_MAX: usize = 1024;

    fn check(text: &str) -> Result<(), Invalid> {
        if text.is_empty() || text.len() > Self::BYTES_MAX {
            return Err(Invalid::new("object key", text, "use 1 to 1024 bytes of UTF-8"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_counts_bytes_not_characters() {
        assert!("ä".repeat(512).parse::<ObjectKey>().is_ok());
        assert!("ä".repeat(513).parse::<ObjectKey>().is_err());
        assert!("".parse::<ObjectKey>().is_err());
        assert!("a//../\u{1}/".parse::<ObjectKey>().is_ok());
    }
}
