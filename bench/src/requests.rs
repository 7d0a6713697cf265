//! A client that costs little: prepared requests over many connections of one thread, answers read no further than needed
//! to know that they are right. What a client takes of the machine, the server under measurement does not have.

use crate::load::Times;
use anyhow::{Context, Result, ensure};
use cistern_tests::http::request_head;
use cistern_tests::{Call, S3, wait};
use futures::future::try_join_all;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Bytes read at once: a small answer whole, a large one in a few pieces.
const READ_BYTES: usize = 256 << 10;
/// A body up to this goes out with its head.
const SMALL_BODY_BYTES: usize = 16 << 10;
const HEAD_END: &[u8] = b"\r\n\r\n";

/// A request, ready to be sent, and what its answer has to be.
pub(crate) struct Request<'a> {
    /// The head, and the body too where it is small.
    head: Vec<u8>,
    body: &'a [u8],
    /// The length of the answer's body; that of a HEAD is only announced.
    expected: Expected,
}

/// What an answer has to be, beside a success.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Expected {
    /// So many bytes follow.
    Body(usize),
    /// So many bytes are announced, none follow.
    Announced(usize),
    /// An entity tag says what was stored; nothing follows.
    Stored,
}

impl<'a> Request<'a> {
    /// A request without credentials.
    pub(crate) fn plain(host: &str, target: &str, expected: Expected) -> Self {
        Self { head: request_head(host, "GET", target, &[], 0), body: &[], expected }
    }

    /// A request of S3, signed as `s3` does it.
    pub(crate) fn signed(s3: &mut S3, call: &Call<'a>, expected: Expected) -> Self {
        let (mut head, body) = s3.prepare_whole(call);
        if body.len() > SMALL_BODY_BYTES {
            return Self { head, body, expected };
        }
        head.extend_from_slice(body);
        Self { head, body: &[], expected }
    }
}

/// Sends the requests over `clients` connections, each the next one of its share as soon as it has an answer.
pub(crate) fn run(host: &str, clients: usize, requests: &[Request<'_>]) -> Result<Times> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    let start = wait::now();
    let times = runtime.block_on(try_join_all((0..clients).map(|client| async move {
        let mut connection = Connection::open(host).await?;
        let mut times = Vec::with_capacity(requests.len() / clients + 1);
        for request in requests.iter().skip(client).step_by(clients) {
            times.push(connection.answered(request).await?);
        }
        anyhow::Ok(times)
    })))?;
    let mut sorted = times.concat();
    sorted.sort_unstable();
    Ok(Times { wall: start.elapsed(), sorted })
}

struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Connection {
    async fn open(host: &str) -> Result<Self> {
        let stream = TcpStream::connect(host).await.with_context(|| format!("connect to {host}"))?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, buffer: vec![0; READ_BYTES] })
    }

    /// Sends a request and reads its answer; how long that took.
    async fn answered(&mut self, request: &Request<'_>) -> Result<Duration> {
        let begun = wait::now();
        self.stream.write_all(&request.head).await?;
        self.stream.write_all(request.body).await?;
        let (head_bytes, filled) = self.read_head().await?;
        let head = str::from_utf8(&self.buffer[..head_bytes])?;
        ensure!(head.starts_with("HTTP/1.1 2"), "answered {}", String::from_utf8_lossy(&self.buffer[..filled]));
        let announced = content_length(head)?;
        let (expected, follow) = match request.expected {
            Expected::Body(bytes) => (bytes, bytes),
            Expected::Announced(bytes) => (bytes, 0),
            Expected::Stored => (0, 0),
        };
        ensure!(request.expected != Expected::Stored || field(head, "etag").is_some(), "a PUT without an ETag");
        ensure!(announced == expected, "an answer of {announced} bytes, {expected} expected");
        let mut missing = (head_bytes + follow).checked_sub(filled).context("more than the answer")?;
        while missing > 0 {
            let most = missing.min(READ_BYTES);
            let read = self.stream.read(&mut self.buffer[..most]).await?;
            ensure!(read > 0, "the connection ended {missing} bytes before the answer did");
            missing -= read;
        }
        Ok(begun.elapsed())
    }

    /// How many bytes the head has, and how many were read with it.
    async fn read_head(&mut self) -> Result<(usize, usize)> {
        let mut filled = 0;
        loop {
            let read = self.stream.read(&mut self.buffer[filled..]).await?;
            ensure!(read > 0, "the connection ended before an answer");
            filled += read;
            // the head comes in the first kilobytes, whatever follows
            let head = &self.buffer[..filled.min(8 << 10)];
            if let Some(at) = head.windows(HEAD_END.len()).position(|window| window == HEAD_END) {
                return Ok((at + HEAD_END.len(), filled));
            }
        }
    }
}

/// What the head announces, nothing if it does not say.
fn content_length(head: &str) -> Result<usize> {
    field(head, "content-length").map_or(Ok(0), |length| length.parse().context("the length of an answer is a number"))
}

/// The first header of that name.
fn field<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let mut fields = head.lines().filter_map(|line| line.split_once(':'));
    fields.find(|(own, _)| own.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{BufRead as _, BufReader, Write as _};
    use std::net::TcpListener;

    /// Answers each request on its first connection by one of `answers`; gives its address.
    fn server(answers: Vec<&'static str>) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let host = listener.local_addr().unwrap().to_string();
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
            for answer in answers {
                while !lines.next().unwrap().unwrap().is_empty() {}
                stream.write_all(answer.as_bytes()).unwrap();
            }
        });
        host
    }

    fn requests(host: &str, expected: &[Expected]) -> Vec<Request<'static>> {
        expected.iter().map(|expected| Request::plain(host, "/", *expected)).collect()
    }

    #[test]
    fn answers_are_read_whole_and_timed() {
        let body = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";
        let host = server(vec![body, "HTTP/1.1 200 OK\r\ncontent-length: 7\r\n\r\n", "HTTP/1.1 204 No\r\n\r\n"]);
        let requests = requests(&host, &[Expected::Body(5), Expected::Announced(7), Expected::Body(0)]);
        assert_eq!(run(&host, 1, &requests).unwrap().sorted.len(), 3);
    }

    #[test]
    fn wrong_answers_end_the_load() {
        for wrong in ["HTTP/1.1 404 No\r\n\r\n", "HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nhell"] {
            let host = server(vec![wrong]);
            assert!(run(&host, 1, &requests(&host, &[Expected::Body(5)])).is_err());
        }
        let host = server(vec!["HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"]);
        assert!(run(&host, 1, &requests(&host, &[Expected::Stored])).is_err());
    }
}
