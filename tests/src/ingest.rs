//! Pipelines from outside: created by the command line, fed over HTTP, asked how far they are.

use crate::http::{Connection, Response};
use crate::server::Server;
use crate::wait;
use anyhow::{Context, Result, ensure};
use std::time::Duration;

/// A pipeline that was created, and the token that lets one send to it.
#[derive(Debug, Clone)]
pub struct Pipeline {
    /// Its name.
    pub name: String,
    /// Its send token; `None` when it takes events from everyone.
    pub token: Option<String>,
    /// What the command line printed when it was created.
    pub printed: String,
}

impl Pipeline {
    /// Creates a pipeline with `cistern pipelines create` and the flags given.
    pub fn create(server: &Server, name: &str, flags: &[&str]) -> Result<Self> {
        let mut arguments = vec!["pipelines", "create", name];
        arguments.extend(flags);
        let printed = server.cli_ok(&arguments)?;
        let token = send_token(&printed);
        Ok(Self { name: name.to_owned(), token, printed })
    }

    /// Posts a body with further headers, with the send token.
    pub fn post(&self, connection: &mut Connection, headers: &[(&str, &str)], body: &[u8]) -> Result<Response> {
        let token = self.token.as_ref().map(|token| ("authorization".to_owned(), format!("Bearer {token}")));
        let given = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let headers: Vec<_> = token.into_iter().chain(given).collect();
        connection.send("POST", &format!("/{}", self.name), &headers, body)
    }

    /// Posts NDJSON that must be taken; answers how many events the server says it has committed.
    pub fn send(&self, connection: &mut Connection, ndjson: &str) -> Result<u64> {
        let response = self.post(connection, &[("content-type", "application/x-ndjson")], ndjson.as_bytes())?.ok()?;
        response.json()?["result"]["committed"].as_u64().context("the answer does not say how many were committed")
    }

    /// Events that were accepted and are not in an object yet.
    pub fn lag_events(&self, server: &Server) -> Result<u64> {
        let answer = server.api("GET", &format!("/pipelines/{}", self.name), b"")?.ok()?.json()?;
        answer["result"]["status"]["lag_events"].as_u64().with_context(|| format!("no lag_events in {answer}"))
    }

    /// Waits until every accepted event is in an object.
    pub fn wait_written(&self, server: &Server, limit: Duration) -> Result<()> {
        let what = format!("all events of {} are in objects", self.name);
        wait::until(&what, limit, || Ok((self.lag_events(server)? == 0).then_some(())))
    }

    /// Posts all of the NDJSON in bodies that fit the limit, one after another on one connection.
    pub fn send_all(&self, server: &Server, ndjson: &str) -> Result<u64> {
        const BODY_BYTES_MAX: usize = 4_000_000;
        let mut connection = Connection::open(server.ingest_host())?;
        let mut committed = 0;
        for body in crate::flights::bodies(ndjson, BODY_BYTES_MAX) {
            let count = self.send(&mut connection, body)?;
            let sent = body.lines().count() as u64;
            ensure!(count == sent, "{sent} events sent, {count} acknowledged");
            committed += count;
        }
        Ok(committed)
    }
}

/// The token in the ready-to-paste line that `pipelines create` prints.
fn send_token(printed: &str) -> Option<String> {
    let (_, after) = printed.split_once("Bearer ")?;
    let end = after.find(|letter: char| !letter.is_ascii_alphanumeric() && !"-_.".contains(letter));
    Some(after[..end.unwrap_or(after.len())].to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_send_token_is_read_from_the_line_to_paste() {
        let line = r#"curl -H "Authorization: Bearer abC123" http://127.0.0.1:8443/p -d '{}'"#;
        assert_eq!(send_token(line).as_deref(), Some("abC123"));
        assert_eq!(send_token("no token here"), None);
    }
}
