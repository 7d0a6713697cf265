//! By which value an event is grouped: what stands at the pipeline's JSON key.

use crate::JsonPath;
use crate::rows::KeyId;
use crate::scan::unescape;
use sha2::{Digest as _, Sha256};
use std::borrow::Cow;

/// The value of events that have none: null, nothing there, an empty string, an object or an array. Hive's word for it.
pub(crate) const DEFAULT_PARTITION: &[u8] = b"__HIVE_DEFAULT_PARTITION__";

/// The value of all events where there is no key.
pub(crate) const NO_KEY: &[u8] = b"";

/// The value an event is grouped by: the characters of a string, else the number, `true` or `false` as it stands.
/// Everything is in one group when there is no key.
pub(crate) fn partition_of<'a>(json_key: Option<&JsonPath>, event: &'a [u8]) -> Cow<'a, [u8]> {
    let Some(path) = json_key else {
        return Cow::Borrowed(NO_KEY);
    };
    match path.find(event) {
        Some([b'"', text @ .., b'"']) if text.contains(&b'\\') => {
            let mut unescaped = Vec::with_capacity(text.len());
            match unescape(text, &mut unescaped) {
                Some(()) if !unescaped.is_empty() => Cow::Owned(unescaped),
                _ => Cow::Borrowed(DEFAULT_PARTITION),
            }
        }
        Some([b'"', b'"'] | [b'{' | b'[' | b'n', ..]) | None => Cow::Borrowed(DEFAULT_PARTITION),
        Some([b'"', text @ .., b'"']) => Cow::Borrowed(text),
        Some(bare) => Cow::Borrowed(bare),
    }
}

/// A short name for a value, under which rows know it.
pub(crate) fn key_id(partition: &[u8]) -> KeyId {
    let digest: [u8; 32] = Sha256::digest(partition).into();
    *digest.first_chunk().expect("16 bytes are the beginning of 32")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(event: &str, expected: &str) {
        let path: JsonPath = ".k".parse().unwrap();
        assert_eq!(String::from_utf8_lossy(&partition_of(Some(&path), event.as_bytes())), expected, "{event}");
    }

    #[test]
    fn scalars_are_their_text_and_everything_else_is_the_default() {
        check(r#"{"k":"m_1"}"#, "m_1");
        check(r#"{"k":"a\/\u00e4\n"}"#, "a/ä\n");
        check(r#"{"k":17}"#, "17");
        check(r#"{"k":-1.50}"#, "-1.50");
        check(r#"{"k":true}"#, "true");
        for none in [r#"{"k":null}"#, r#"{"k":""}"#, r#"{"k":{}}"#, r#"{"k":[1]}"#, "{}"] {
            check(none, "__HIVE_DEFAULT_PARTITION__");
        }
        assert_eq!(&*partition_of(None, b"{}"), b"");
    }
}
