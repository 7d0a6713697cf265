//! One request on a connection of its own, and what came back.

use super::request::Pace;
use cistern_tests::wait;
use rand::rngs::SmallRng;
use rand::{RngExt as _, SeedableRng as _};
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

/// A server that says nothing for so long waits for more; then it is told that nothing more comes.
const QUIET: Duration = Duration::from_millis(300);
/// From then on it must answer or close within this time.
pub(crate) const LIMIT: Duration = Duration::from_secs(20);
const READ_CHUNK_BYTES: usize = 64 << 10;
const SLOW_PIECES_MAX: usize = 40;
/// No answer to these requests is longer.
const ANSWER_BYTES_MAX: usize = 256 << 20;

/// The first answer of a connection.
#[derive(Debug, Clone, Default)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    /// The first header of that name.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let lines = self.head.lines().filter_map(|line| line.split_once(':'));
        lines.into_iter().find(|(own, _)| own.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
    }

    /// The body as text.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// How an exchange ended.
#[derive(Debug, Clone)]
pub(crate) enum End {
    Answered(Answer),
    /// The server closed without an answer or reset the connection, or the request was cut off on purpose.
    Closed,
    /// Neither an answer nor an end within the limit.
    Silent,
    /// The answer broke off, or is none.
    Broken(String),
    /// Nobody listens.
    NoServer,
}

/// Sends bytes on a new connection and waits for the first answer.
pub(crate) fn exchange(host: &str, bytes: &[u8], pace: Pace) -> End {
    let Ok(mut stream) = TcpStream::connect(host) else { return End::NoServer };
    stream.set_nodelay(true).unwrap();
    stream.set_write_timeout(Some(LIMIT)).unwrap();
    stream.set_read_timeout(Some(QUIET)).unwrap();
    // what cannot be written any more was refused before it was all sent; the answer is read all the same
    match pace {
        Pace::Whole => {
            if let Err(error) = stream.write_all(bytes)
                && matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
            {
                return End::Silent;
            }
        }
        Pace::Slow => send_slowly(&mut stream, bytes),
        Pace::Cut(thousandths) => {
            drop(stream.write_all(&bytes[..bytes.len() * thousandths.min(1000) / 1000]));
            return End::Closed;
        }
    }
    read(&mut stream, bytes)
}

fn send_slowly(stream: &mut TcpStream, bytes: &[u8]) {
    let mut random = SmallRng::seed_from_u64(bytes.len() as u64);
    let piece = (bytes.len() / SLOW_PIECES_MAX).max(1);
    for (piece, number) in bytes.chunks(piece).zip(0..) {
        if stream.write_all(piece).is_err() {
            return;
        }
        if number < SLOW_PIECES_MAX {
            wait::let_pass(Duration::from_micros(random.random_range(0..4000)));
        }
    }
}

fn read(stream: &mut TcpStream, sent: &[u8]) -> End {
    let first_line = sent.split(|byte| *byte == b'\n').find(|line| line.len() > 1).unwrap_or_default();
    let head = first_line.windows(4).any(|word| word == b"HEAD");
    let start = wait::now();
    let (mut told, mut reset) = (false, false);
    let mut got = Vec::new();
    let mut piece = vec![0; READ_CHUNK_BYTES];
    loop {
        match answer_in(&got, head, false) {
            Err(what) => return End::Broken(what),
            Ok(Some(answer)) => return End::Answered(answer),
            Ok(None) => {}
        }
        if got.len() > ANSWER_BYTES_MAX {
            return End::Broken("the answer has no end".to_owned());
        }
        match stream.read(&mut piece) {
            Ok(0) => break,
            Ok(length) => got.extend_from_slice(&piece[..length]),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                if start.elapsed() > LIMIT {
                    return End::Silent;
                }
                if !told {
                    drop(stream.shutdown(Shutdown::Write));
                    told = true;
                }
            }
            Err(_) => {
                reset = true;
                break;
            }
        }
    }
    match answer_in(&got, head, true) {
        Err(what) => End::Broken(what),
        Ok(Some(answer)) => End::Answered(answer),
        Ok(None) if got.is_empty() || !got.starts_with(b"HTTP/1") => End::Closed,
        // told that nothing more comes, hyper gives up an answer that it has begun; where it closes before it has read all that was sent,
        // the kernel resets the connection, and what is on its way is lost
        Ok(None) if told || reset => End::Closed,
        Ok(None) => End::Broken(format!("the answer broke off: {}", String::from_utf8_lossy(&got))),
    }
}

/// The first final answer, once it is whole. What is not HTTP/1 (a frame of HTTP/2) is no answer and no fault.
fn answer_in(got: &[u8], head: bool, ended: bool) -> Result<Option<Answer>, String> {
    let mut rest = got;
    loop {
        let Some(end) = rest.windows(4).position(|window| window == b"\r\n\r\n") else { return Ok(None) };
        if !rest.starts_with(b"HTTP/1") {
            return Ok(None);
        }
        let text = std::str::from_utf8(&rest[..end]).map_err(|_| "the head of the answer is not UTF-8".to_owned())?;
        let status = text.get(9..12).and_then(|status| status.parse().ok());
        let status: u16 = status.ok_or_else(|| format!("no status in {text:?}"))?;
        rest = &rest[end + 4..];
        if (100..200).contains(&status) {
            continue;
        }
        let mut answer = Answer { status, head: text.to_owned(), body: Vec::new() };
        if head || status == 204 || status == 304 {
            return Ok(Some(answer));
        }
        if answer.header("transfer-encoding").is_some() {
            let Some(body) = unchunk(rest)? else { return Ok(None) };
            answer.body = body;
        } else if let Some(length) = answer.header("content-length") {
            let length: usize = length.parse().map_err(|_| format!("content-length in {text:?}"))?;
            let Some(body) = rest.get(..length) else { return Ok(None) };
            answer.body = body.to_vec();
        } else if ended {
            answer.body = rest.to_vec();
        } else {
            return Ok(None);
        }
        return Ok(Some(answer));
    }
}

fn unchunk(mut rest: &[u8]) -> Result<Option<Vec<u8>>, String> {
    let mut body = Vec::new();
    loop {
        let Some(end) = rest.windows(2).position(|window| window == b"\r\n") else { return Ok(None) };
        let size = std::str::from_utf8(&rest[..end]).ok().and_then(|size| usize::from_str_radix(size.trim(), 16).ok());
        let size = size.ok_or_else(|| "a chunk of the answer without a size".to_owned())?;
        rest = &rest[end + 2..];
        if rest.len() < size + 2 {
            return Ok(None);
        }
        body.extend_from_slice(&rest[..size]);
        rest = &rest[size + 2..];
        if size == 0 {
            return Ok(Some(body));
        }
    }
}
