//! What came as an event and is none, as it stands in the log: a JSON array in a line of its own, where an event would be an
//! object. It has an offset like an event and ends in a dead-letter object, so that nothing that was taken is lost.
//!
//! ```text
//! ["what is wrong with it", VALUE]      VALUE: its text as a string, or {"base64": …} when it is no text
//! ```

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::value::RawValue;

/// Whether a line of the log is one.
pub(crate) fn is_rejected(line: &[u8]) -> bool {
    line.first() == Some(&b'[')
}

/// The line for `value`, with its newline.
pub(crate) fn write_line(reason: &str, value: &[u8], out: &mut Vec<u8>) {
    let value = match std::str::from_utf8(value) {
        Ok(text) => serde_json::Value::from(text),
        Err(_) => serde_json::json!({ "base64": STANDARD.encode(value) }),
    };
    out.extend_from_slice(serde_json::json!([reason, value]).to_string().as_bytes());
    out.push(b'\n');
}

/// The reason and the value of such a line, as JSON.
pub(crate) fn read_line(line: &[u8]) -> Option<(String, Box<RawValue>)> {
    serde_json::from_slice(line).ok()
}

/// Whether there is one among `chunks`, which hold whole lines.
pub(crate) fn any_in(chunks: &[bytes::Bytes]) -> bool {
    let inside = memchr::memmem::Finder::new(b"\n[");
    chunks.iter().any(|chunk| is_rejected(chunk) || inside.find(chunk).is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_stays_text_and_bytes_are_base64() {
        for (value, expected) in
            [(b"no json\n\"".as_slice(), r#""no json\n\"""#), (b"", r#""""#), (b"\xff\x00", r#"{"base64":"/wA="}"#)]
        {
            let mut line = Vec::new();
            write_line("why \"not\"", value, &mut line);
            assert!(is_rejected(&line) && line.ends_with(b"\n") && !line[..line.len() - 1].contains(&b'\n'));
            let (reason, value) = read_line(&line).unwrap();
            assert_eq!((reason.as_str(), value.get()), ("why \"not\"", expected));
        }
        assert!(!is_rejected(b"{}"));
    }

    #[test]
    fn they_are_found_among_events() {
        let found = |chunks: &[&'static str]| {
            any_in(&chunks.iter().map(|chunk| bytes::Bytes::from_static(chunk.as_bytes())).collect::<Vec<_>>())
        };
        assert!(!found(&["{\"a\":[1]}\n{}\n", "{}\n"]));
        assert!(found(&["{}\n[\"x\",\"\"]\n"]) && found(&["{}\n", "[\"x\",\"\"]\n"]));
    }
}
