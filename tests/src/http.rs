//! HTTP/1.1 on one keep-alive connection, small enough to send wrong things on purpose.
//!
//! Not a general client: no redirects, no TLS, no compression, answers are read whole.

use anyhow::{Context, Result, bail};
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

const ANSWER_TIMEOUT: Duration = Duration::from_mins(1);
const READ_CHUNK_BYTES: usize = 64 * 1024;
const HEAD_BYTES_MAX: usize = 256 * 1024;

/// Header names and values in the order sent.
pub type Headers = Vec<(String, String)>;

/// An answer, read whole.
#[derive(Debug, Clone)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// Headers, names in lower case.
    pub headers: Headers,
    /// The body.
    pub body: Vec<u8>,
}

impl Response {
    /// The first header of that name (lower case).
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(given, _)| given == name).map(|(_, value)| value.as_str())
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The text of the first XML element of that name, `""` when there is none.
    pub fn xml(&self, element: &str) -> String {
        self.xml_all(element).into_iter().next().unwrap_or_default()
    }

    /// The texts of all XML elements of that name.
    pub fn xml_all(&self, element: &str) -> Vec<String> {
        let (open, close) = (format!("<{element}>"), format!("</{element}>"));
        let text = self.text();
        let pieces = text.split(&open).skip(1);
        pieces.filter_map(|piece| piece.split_once(&close)).map(|(value, _)| value.to_owned()).collect()
    }

    /// The body as JSON.
    pub fn json(&self) -> Result<serde_json::Value> {
        serde_json::from_slice(&self.body).with_context(|| format!("answer is not JSON: {}", self.text()))
    }

    /// This answer if its status is 2xx, else an error that shows it.
    pub fn ok(self) -> Result<Self> {
        if !(200..300).contains(&self.status) {
            bail!("answered {}: {}", self.status, self.text());
        }
        Ok(self)
    }
}

/// The head of a request as [`Connection::send`] sends it: `Host` is added, and `Content-Length` unless the headers have
/// one or say that the body is chunked.
pub fn request_head(
    host: &str,
    method: &str,
    target: &str,
    headers: &[(String, String)],
    body_bytes: usize,
) -> Vec<u8> {
    let mut head = format!("{method} {target} HTTP/1.1\r\n");
    let has = |name: &str| headers.iter().any(|(given, _)| given.eq_ignore_ascii_case(name));
    let mut add = |name: &str, value: &str| head.extend([name, ": ", value, "\r\n"]);
    if !has("host") {
        add("host", host);
    }
    for (name, value) in headers {
        add(name, value);
    }
    let takes_body = body_bytes > 0 || matches!(method, "PUT" | "POST");
    if takes_body && !has("content-length") && !has("transfer-encoding") {
        add("content-length", &body_bytes.to_string());
    }
    head.push_str("\r\n");
    head.into_bytes()
}

/// One connection.
#[derive(Debug)]
pub struct Connection {
    host: String,
    stream: TcpStream,
    unread: Vec<u8>,
}

impl Connection {
    /// Connects to `host`, an address with port.
    pub fn open(host: &str) -> Result<Self> {
        let stream = TcpStream::connect(host).with_context(|| format!("connect to {host}"))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(ANSWER_TIMEOUT))?;
        stream.set_write_timeout(Some(ANSWER_TIMEOUT))?;
        Ok(Self { host: host.to_owned(), stream, unread: Vec::new() })
    }

    /// Sends a request under its [`request_head`] and reads its answer.
    pub fn send(&mut self, method: &str, target: &str, headers: &[(String, String)], body: &[u8]) -> Result<Response> {
        let mut message = request_head(&self.host, method, target, headers, body.len());
        message.extend_from_slice(body);
        match self.stream.write_all(&message) {
            // a server that refuses a body closes its side early; its answer is still to be read
            Err(error) if !matches!(error.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset) => {
                Err(error).context("send the request")
            }
            _ => self.read_response(method),
        }
    }

    /// Sends bytes as they are.
    pub fn send_raw(&mut self, bytes: &[u8]) -> Result<()> {
        self.stream.write_all(bytes).context("send bytes")
    }

    /// Ends our side of the connection: the server sees the end of the body.
    pub fn finish_sending(&self) -> Result<()> {
        self.stream.shutdown(std::net::Shutdown::Write).context("end our side")
    }

    /// Reads one answer to a request of `method`.
    pub fn read_response(&mut self, method: &str) -> Result<Response> {
        loop {
            let head = self.read_head()?;
            let (status, headers) = parse_head(&head)?;
            if (100..200).contains(&status) {
                continue;
            }
            let mut response = Response { status, headers, body: Vec::new() };
            if method != "HEAD" && status != 204 && status != 304 {
                response.body = self.read_body(&response)?;
            }
            return Ok(response);
        }
    }

    fn fill(&mut self) -> Result<usize> {
        let filled = self.unread.len();
        self.unread.resize(filled + READ_CHUNK_BYTES, 0);
        let read = self.stream.read(&mut self.unread[filled..]);
        self.unread.truncate(filled + read.as_ref().map_or(0, |bytes| *bytes));
        read.context("read the answer")
    }

    fn read_head(&mut self) -> Result<String> {
        let mut searched = 0;
        loop {
            let found = self.unread[searched..].windows(4).position(|window| window == b"\r\n\r\n");
            if let Some(at) = found {
                let head: Vec<u8> = self.unread.drain(..searched + at + 4).collect();
                return String::from_utf8(head).context("head of the answer is not text");
            }
            searched = self.unread.len().saturating_sub(3);
            if self.unread.len() > HEAD_BYTES_MAX || self.fill()? == 0 {
                bail!("the connection ended before an answer");
            }
        }
    }

    fn read_body(&mut self, response: &Response) -> Result<Vec<u8>> {
        if response.header("transfer-encoding").is_some_and(|value| value.eq_ignore_ascii_case("chunked")) {
            return self.read_chunks();
        }
        if let Some(length) = response.header("content-length") {
            return self.take(length.parse()?);
        }
        while self.fill()? > 0 {}
        Ok(std::mem::take(&mut self.unread))
    }

    fn read_chunks(&mut self) -> Result<Vec<u8>> {
        let mut body = Vec::new();
        loop {
            let line = self.take_line()?;
            let size = usize::from_str_radix(line.split(';').next().unwrap_or("").trim(), 16)?;
            if size == 0 {
                while !self.take_line()?.is_empty() {}
                return Ok(body);
            }
            body.extend(self.take(size)?);
            self.take_line()?;
        }
    }

    fn take_line(&mut self) -> Result<String> {
        loop {
            if let Some(at) = self.unread.windows(2).position(|window| window == b"\r\n") {
                let line: Vec<u8> = self.unread.drain(..at + 2).collect();
                return Ok(String::from_utf8_lossy(&line[..at]).into_owned());
            }
            if self.fill()? == 0 {
                bail!("the connection ended inside an answer");
            }
        }
    }

    fn take(&mut self, length: usize) -> Result<Vec<u8>> {
        while self.unread.len() < length {
            if self.fill()? == 0 {
                bail!("the connection ended after {} of {length} bytes", self.unread.len());
            }
        }
        let rest = self.unread.split_off(length);
        Ok(std::mem::replace(&mut self.unread, rest))
    }
}

fn parse_head(head: &str) -> Result<(u16, Headers)> {
    let mut lines = head.split("\r\n");
    let status = lines.next().and_then(|line| line.split(' ').nth(1)).context("answer without a status")?.parse()?;
    let headers = lines.filter_map(|line| line.split_once(':'));
    Ok((status, headers.map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned())).collect()))
}

/// Percent-encodes as AWS asks for: everything but unreserved characters, and `/` too unless `keep_slash`.
pub fn percent_encode(text: &str, slash: Slash) -> String {
    let mut encoded = String::with_capacity(text.len() + 16);
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => encoded.push(char::from(byte)),
            b'/' if slash == Slash::Keep => encoded.push('/'),
            _ => {
                encoded.push('%');
                encoded.push_str(&hex::encode_upper([byte]));
            }
        }
    }
    encoded
}

/// Whether [`percent_encode`] leaves `/` alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Slash {
    /// In a path.
    Keep,
    /// In a query.
    Encode,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_gives_status_and_lower_case_names() {
        let (status, headers) = parse_head("HTTP/1.1 404 Not Found\r\nX-Amz-Request-Id: 7\r\n\r\n").unwrap();
        assert_eq!((status, headers), (404, vec![("x-amz-request-id".into(), "7".into())]));
    }

    #[test]
    fn a_path_keeps_its_slashes_and_a_query_does_not() {
        assert_eq!(percent_encode("a/b c+é", Slash::Keep), "a/b%20c%2B%C3%A9");
        assert_eq!(percent_encode("a/b", Slash::Encode), "a%2Fb");
    }
}
