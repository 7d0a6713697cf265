//! Dead letters: events that cannot be rows, each with its offset and the reason, one JSON object a line.

use crate::rejected::{is_rejected, read_line};

/// The dead letters of a batch.
#[derive(Debug, Default)]
pub(crate) struct DeadLetters {
    lines: Vec<u8>,
    count: u64,
}

impl DeadLetters {
    /// Adds an event, which is JSON, and why it cannot be a row.
    pub(crate) fn push(&mut self, offset: u64, reason: &str, event: &[u8]) {
        let reason = serde_json::Value::from(reason);
        self.lines.extend_from_slice(format!("{{\"offset\":{offset},\"reason\":{reason},\"event\":").as_bytes());
        self.lines.extend_from_slice(event);
        self.lines.extend_from_slice(b"}\n");
        self.count += 1;
    }

    /// Takes a line of the log if it is no event but something rejected.
    pub(crate) fn take_rejected(&mut self, offset: u64, line: &[u8]) -> bool {
        if !is_rejected(line) {
            return false;
        }
        match read_line(line) {
            Some((reason, value)) => self.push(offset, &reason, value.get().as_bytes()),
            None => self.push(offset, "the log holds something that is no event", b"null"),
        }
        true
    }

    pub(crate) fn count(&self) -> u64 {
        self.count
    }

    /// The file, if there is any dead letter.
    pub(crate) fn into_file(self) -> Option<Vec<u8>> {
        (self.count > 0).then_some(self.lines)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_is_json_and_keeps_the_event_as_it_came() {
        let mut letters = DeadLetters::default();
        letters.push(7, "field \"a\": no\nway", br#"{"a": 1.0, "a":2}"#);
        letters.push(9, "x", b"{}");
        assert_eq!(letters.count(), 2);
        let file = String::from_utf8(letters.into_file().unwrap()).unwrap();
        let lines: Vec<&str> = file.lines().collect();
        assert_eq!(lines[0], r#"{"offset":7,"reason":"field \"a\": no\nway","event":{"a": 1.0, "a":2}}"#);
        assert_eq!(lines[1], r#"{"offset":9,"reason":"x","event":{}}"#);
        assert!(DeadLetters::default().into_file().is_none());
    }
}
