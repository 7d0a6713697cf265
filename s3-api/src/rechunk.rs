//! Keeps the memory of aws-chunked bodies bounded, and notices when they end early.
//!
//! s3s holds a whole chunk before it passes any of it on, and SDKs send multi-gigabyte objects as a single unsigned chunk;
//! it also takes a body that stops between two chunks for complete. So every aws-chunked body passes here first:
//!
//! ```text
//! unsigned  "40000000\r\n" + 1 GiB        ─▶  "8000\r\n" + 32 KiB + "\r\n", as the pieces arrive
//! signed    "10000;chunk-signature=.."    ─▶  unchanged, but refused above SIGNED_CHUNK_BYTES_MAX
//! both      end before the 0 chunk        ─▶  an error
//! ```
//! Of requests that nobody signed s3s leaves the coding as it is, so it is taken off here: the data goes on, the trailers are kept.

use bytes::Bytes;
use futures::Stream;
use http::{HeaderMap, HeaderName, HeaderValue};
use s3s::stream::{ByteStream, DynByteStream, RemainingLength};
use s3s::{Body, StdError};
use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};

/// The largest signed chunk: all of it is in memory while its signature is checked. SDKs send 64 KiB to 1 MiB.
const SIGNED_CHUNK_BYTES_MAX: u64 = 4 << 20;
/// The longest line in front of a chunk.
const CHUNK_LINE_BYTES_MAX: usize = 256;
/// The most that may follow the last chunk where it is read here.
const TRAILER_BYTES_MAX: usize = 8 << 10;

/// Whether every chunk carries a signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ChunkKind {
    Signed,
    Unsigned,
}

/// What followed the last chunk of a body whose coding was taken off, once it has ended.
#[derive(Debug, Clone, Default)]
pub(crate) struct Trailers(Arc<OnceLock<HeaderMap>>);

impl Trailers {
    pub(crate) fn get(&self, name: &str) -> Option<HeaderValue> {
        self.0.get()?.get(name).cloned()
    }
}

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
enum ChunkError {
    #[error("malformed chunk")]
    Malformed,
    #[error("chunk too large: a signed chunk may have {SIGNED_CHUNK_BYTES_MAX} bytes, this one has {bytes}")]
    TooLarge { bytes: u64 },
    #[error("body ended early")]
    EndedEarly,
}

/// Where in the coding the next byte stands.
#[derive(Debug)]
enum At {
    /// In the line that says how long the chunk is.
    Line(Vec<u8>),
    /// In the chunk's data, this many bytes before its end.
    Data(u64),
    /// In the line end after the data; this many of its two bytes have come.
    DataEnd(usize),
    /// After the 0 chunk's line: trailers, if any.
    Trailer,
}

/// What is passed on of a body.
#[derive(Debug)]
enum Output {
    /// All as it came, in chunks that may be held in memory.
    Unchanged,
    /// A chunk for each piece that arrives, and the trailers.
    Pieces,
    /// The data alone. What has been read of its trailers, and where they go once the body has ended.
    Data { read: Vec<u8>, trailers: Trailers },
}

impl From<ChunkKind> for Output {
    fn from(kind: ChunkKind) -> Self {
        match kind {
            ChunkKind::Signed => Self::Unchanged,
            ChunkKind::Unsigned => Self::Pieces,
        }
    }
}

impl Output {
    fn data(trailers: Trailers) -> Self {
        Self::Data { read: Vec::new(), trailers }
    }
}

#[derive(Debug)]
struct Rechunker {
    output: Output,
    at: At,
}

impl Rechunker {
    fn new(output: Output) -> Self {
        Self { output, at: At::Line(Vec::new()) }
    }

    /// Takes a piece of the body and appends what to pass on.
    fn push(&mut self, mut piece: Bytes, out: &mut VecDeque<Bytes>) -> Result<(), ChunkError> {
        if let Output::Unchanged = self.output {
            out.push_back(piece.clone());
        }
        while !piece.is_empty() {
            match &mut self.at {
                At::Trailer => {
                    match &mut self.output {
                        Output::Unchanged => {}
                        Output::Pieces => out.push_back(piece),
                        Output::Data { read, .. } if read.len() + piece.len() > TRAILER_BYTES_MAX => {
                            return Err(ChunkError::Malformed);
                        }
                        Output::Data { read, .. } => read.extend_from_slice(&piece),
                    }
                    return Ok(());
                }
                At::Line(line) => {
                    let end = piece.iter().position(|byte| *byte == b'\n').map_or(piece.len(), |at| at + 1);
                    line.extend_from_slice(&piece.split_to(end));
                    if line.len() > CHUNK_LINE_BYTES_MAX {
                        return Err(ChunkError::Malformed);
                    }
                    if line.ends_with(b"\n") {
                        let bytes = chunk_bytes(line).ok_or(ChunkError::Malformed)?;
                        self.begin_chunk(bytes, out)?;
                    }
                }
                At::Data(remaining) => {
                    let taken = usize::try_from(*remaining).unwrap_or(usize::MAX).min(piece.len());
                    let data = piece.split_to(taken);
                    *remaining -= taken as u64;
                    if *remaining == 0 {
                        self.at = At::DataEnd(0);
                    }
                    match self.output {
                        Output::Unchanged => {}
                        Output::Pieces => {
                            out.extend([format!("{taken:x}\r\n").into(), data, Bytes::from_static(b"\r\n")]);
                        }
                        Output::Data { .. } => out.push_back(data),
                    }
                }
                At::DataEnd(seen) => {
                    if piece.split_to(1)[0] != b"\r\n"[*seen] {
                        return Err(ChunkError::Malformed);
                    }
                    *seen += 1;
                    if *seen == 2 {
                        self.at = At::Line(Vec::new());
                    }
                }
            }
        }
        Ok(())
    }

    fn begin_chunk(&mut self, bytes: u64, out: &mut VecDeque<Bytes>) -> Result<(), ChunkError> {
        match self.output {
            Output::Unchanged if bytes > SIGNED_CHUNK_BYTES_MAX => return Err(ChunkError::TooLarge { bytes }),
            Output::Pieces if bytes == 0 => out.push_back(Bytes::from_static(b"0\r\n")),
            _ => {}
        }
        self.at = if bytes == 0 { At::Trailer } else { At::Data(bytes) };
        Ok(())
    }

    /// Ends the body, if it may end here.
    fn end(&self) -> Result<(), ChunkError> {
        let At::Trailer = self.at else { return Err(ChunkError::EndedEarly) };
        if let Output::Data { read, trailers: Trailers(trailers) } = &self.output {
            trailers.get_or_init(|| trailer_fields(read));
        }
        Ok(())
    }
}

/// The fields after the last chunk, one a line. What is none is no field of theirs: whoever waits for one that does not come says so.
fn trailer_fields(read: &[u8]) -> HeaderMap {
    let lines = read.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
    let field = |line: &[u8]| {
        let colon = memchr::memchr(b':', line)?;
        let name = HeaderName::from_bytes(line[..colon].trim_ascii()).ok()?;
        Some((name, HeaderValue::from_bytes(line[colon + 1..].trim_ascii()).ok()?))
    };
    lines.filter_map(field).collect()
}

/// The length in a chunk's line: `hex [";" anything] CR LF`.
fn chunk_bytes(line: &[u8]) -> Option<u64> {
    let line = line.strip_suffix(b"\r\n")?;
    let digits = line.split(|byte| *byte == b';').next()?;
    if digits.is_empty() || digits.len() > 16 || !digits.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    u64::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

struct RechunkedBody {
    body: Body,
    rechunker: Rechunker,
    out: VecDeque<Bytes>,
    ended: bool,
}

/// `body`, whose coding is aws-chunked, in chunks that may be held in memory.
pub(crate) fn rechunk(body: Body, kind: ChunkKind) -> Body {
    rechunked(body, kind.into())
}

/// The data of `body`, whose coding is aws-chunked without signatures, and its trailers, which are there once it has ended.
pub(crate) fn unchunk(body: Body) -> (Body, Trailers) {
    let trailers = Trailers::default();
    (rechunked(body, Output::data(trailers.clone())), trailers)
}

fn rechunked(body: Body, output: Output) -> Body {
    let rechunker = Rechunker::new(output);
    let body: DynByteStream = Box::pin(RechunkedBody { body, rechunker, out: VecDeque::new(), ended: false });
    Body::from(body)
}

impl Stream for RechunkedBody {
    type Item = Result<Bytes, StdError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        loop {
            if let Some(piece) = this.out.pop_front() {
                return Poll::Ready(Some(Ok(piece)));
            }
            if this.ended {
                return Poll::Ready(None);
            }
            let passed = match ready!(Pin::new(&mut this.body).poll_next(cx)) {
                Some(Ok(piece)) => this.rechunker.push(piece, &mut this.out).map_err(StdError::from),
                Some(Err(error)) => Err(error),
                None => {
                    this.ended = true;
                    this.rechunker.end().map_err(StdError::from)
                }
            };
            if let Err(error) = passed {
                this.ended = true;
                this.out.clear();
                return Poll::Ready(Some(Err(error)));
            }
        }
    }
}

impl ByteStream for RechunkedBody {
    fn remaining_length(&self) -> RemainingLength {
        RemainingLength::unknown()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Feeds `body` in pieces of `step` bytes.
    fn pass(kind: ChunkKind, body: &[u8], step: usize) -> Result<Vec<u8>, ChunkError> {
        run(Rechunker::new(kind.into()), body, step)
    }

    fn run(mut rechunker: Rechunker, body: &[u8], step: usize) -> Result<Vec<u8>, ChunkError> {
        let mut out = VecDeque::new();
        for piece in body.chunks(step) {
            rechunker.push(Bytes::copy_from_slice(piece), &mut out)?;
        }
        rechunker.end()?;
        Ok(out.into_iter().flatten().collect())
    }

    /// The data of a chunked body, and what follows its last chunk.
    fn decode(mut body: &[u8]) -> (Vec<u8>, Vec<u8>) {
        let mut data = Vec::new();
        loop {
            let line = body.iter().position(|byte| *byte == b'\n').unwrap() + 1;
            let bytes = usize::try_from(chunk_bytes(&body[..line]).unwrap()).unwrap();
            body = &body[line..];
            if bytes == 0 {
                return (data, body.to_vec());
            }
            data.extend_from_slice(&body[..bytes]);
            assert_eq!(&body[bytes..bytes + 2], b"\r\n");
            body = &body[bytes + 2..];
        }
    }

    const UNSIGNED: &[u8] = b"b\r\nhello world\r\n3\r\nabc\r\n0\r\nx-amz-checksum-crc32:AAAAAA==\r\n\r\n";

    #[test]
    fn unsigned_chunks_keep_their_data_and_trailer_however_they_are_cut() {
        for step in 1..=UNSIGNED.len() {
            let (data, trailer) = decode(&pass(ChunkKind::Unsigned, UNSIGNED, step).unwrap());
            assert_eq!(data, b"hello worldabc", "step {step}");
            assert_eq!(trailer, b"x-amz-checksum-crc32:AAAAAA==\r\n\r\n", "step {step}");
        }
    }

    #[test]
    fn the_coding_is_taken_off_however_the_body_is_cut() {
        for step in 1..=UNSIGNED.len() {
            let trailers = Trailers::default();
            let rechunker = Rechunker::new(Output::data(trailers.clone()));
            assert_eq!(run(rechunker, UNSIGNED, step).unwrap(), b"hello worldabc", "step {step}");
            assert_eq!(trailers.get("x-amz-checksum-crc32").unwrap(), "AAAAAA==", "step {step}");
            assert_eq!(trailers.get("x-amz-checksum-crc32c"), None);
        }
        let long = [b"0\r\n".as_slice(), &[b'x'; TRAILER_BYTES_MAX + 1]].concat();
        let rechunker = || Rechunker::new(Output::data(Trailers::default()));
        assert_eq!(run(rechunker(), &long, 64), Err(ChunkError::Malformed));
        assert_eq!(run(rechunker(), b"1\r\na\r\n", 64), Err(ChunkError::EndedEarly));
    }

    #[test]
    fn signed_chunks_pass_unchanged() {
        let body = b"5;chunk-signature=aa\r\nhello\r\n0;chunk-signature=bb\r\n\r\n";
        for step in 1..=body.len() {
            assert_eq!(pass(ChunkKind::Signed, body, step).unwrap(), body, "step {step}");
        }
    }

    #[test]
    fn a_body_cut_anywhere_before_its_last_chunk_is_an_error() {
        let last = UNSIGNED.len() - b"x-amz-checksum-crc32:AAAAAA==\r\n\r\n".len();
        for end in 0..last {
            for kind in [ChunkKind::Signed, ChunkKind::Unsigned] {
                assert_eq!(pass(kind, &UNSIGNED[..end], 7), Err(ChunkError::EndedEarly), "cut at {end}");
            }
        }
    }

    #[test]
    fn huge_signed_chunks_and_broken_coding_are_refused() {
        assert_eq!(pass(ChunkKind::Signed, b"400001\r\n", 64), Err(ChunkError::TooLarge { bytes: 0x40_0001 }));
        let long = vec![b'0'; CHUNK_LINE_BYTES_MAX + 1];
        for broken in
            [b"xyz\r\n".as_slice(), b"\r\n", b"5\nhello", b"1\r\nab", b"1\r\na\rb", b"11111111111111111\r\n", &long]
        {
            assert_eq!(pass(ChunkKind::Unsigned, broken, 64), Err(ChunkError::Malformed), "{broken:?}");
        }
    }
}
