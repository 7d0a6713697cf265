//! The file of a form: the pieces of the body up to the boundary after it, unchanged and not gathered.
//!
//! Bytes that may be the beginning of a boundary are held back until more has come. They are a piece of the boundary
//! itself, so nothing has to be kept for that but their number.

use super::FORM_BYTES_MAX;
use bytes::Bytes;
use futures::Stream;
use s3s::StdError;
use std::collections::VecDeque;
use std::fmt;
use std::ops::RangeInclusive;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

/// The most bytes after the file: fields that nobody reads, and the end of the form.
const AFTER_FILE_BYTES_MAX: usize = FORM_BYTES_MAX;

/// Why the file of a form could not be read to its end. Nothing of it may be stored.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FormBodyError {
    /// The body ended and the closing boundary was not seen.
    #[error(
        "The body of your POST request is not well-formed multipart/form-data: it ends without a closing boundary."
    )]
    EndedEarly,
    /// The boundary is followed by something else than a line end or two dashes.
    #[error(
        "The body of your POST request is not well-formed multipart/form-data: a boundary is followed by other text."
    )]
    Malformed,
    /// Too much after the file.
    #[error("The body of your POST request has more than {AFTER_FILE_BYTES_MAX} bytes after its file; let it be last.")]
    TooMuchAfterFile,
    /// The file is longer than the policy allows.
    #[error("Your proposed upload exceeds the maximum allowed size of {bytes_max} bytes")]
    TooLarge {
        /// What is allowed.
        bytes_max: u64,
    },
    /// The file is shorter than the policy asks for.
    #[error("Your proposed upload is smaller than the minimum allowed size of {bytes_min} bytes")]
    TooSmall {
        /// What is asked for.
        bytes_min: u64,
    },
    /// The connection failed.
    #[error("read the file of a form")]
    Body(#[source] StdError),
}

/// What follows a delimiter, byte by byte.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum AfterDelimiter {
    #[default]
    Start,
    /// After the first of two dashes.
    Dash,
    /// After blanks, which mean nothing.
    Blank,
    /// After a CR.
    LineEnd,
}

/// What a byte after a delimiter says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// Nothing yet.
    More,
    /// A part follows.
    Part,
    /// That was the last delimiter.
    Close,
}

impl AfterDelimiter {
    /// Takes the next byte; `None` when it may not stand there.
    pub(super) fn push(&mut self, byte: u8) -> Option<Next> {
        *self = match (*self, byte) {
            (Self::Start, b'-') => Self::Dash,
            (Self::Dash, b'-') => return Some(Next::Close),
            (Self::Start | Self::Blank, b' ' | b'\t') => Self::Blank,
            (Self::Start | Self::Blank, b'\r') => Self::LineEnd,
            (Self::LineEnd, b'\n') => return Some(Next::Part),
            _ => return None,
        };
        Some(Next::More)
    }
}

/// Looks for the delimiter in a stream.
struct Search {
    /// Its only CR is its first byte, so a failed match can begin anew at a CR only.
    delimiter: Bytes,
    /// How many bytes of the delimiter the stream ends with, so far.
    matched: usize,
}

impl Search {
    /// Looks at `piece` up to the end of the first delimiter. Answers how much was looked at, and whether it was found.
    fn advance(&mut self, piece: &[u8]) -> (usize, bool) {
        let mut at = 0;
        while at < piece.len() {
            if self.matched == 0 {
                let Some(skipped) = memchr::memchr(b'\r', &piece[at..]) else { return (piece.len(), false) };
                at += skipped;
            }
            if piece[at] != self.delimiter[self.matched] {
                self.matched = 0;
                continue; // the same byte may begin another
            }
            at += 1;
            self.matched += 1;
            if self.matched == self.delimiter.len() {
                return (at, true);
            }
        }
        (at, false)
    }
}

/// Where in the form the next byte stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    File,
    /// After the delimiter that ended the file or a later part.
    Delimiter(AfterDelimiter),
    /// In a part after the file.
    LaterPart,
    /// After the closing delimiter.
    Epilogue,
    /// Nothing more is read.
    Ended,
}

/// The file of a form as a stream. It ends without an error only when the closing boundary was seen.
pub(crate) struct FileBody<S> {
    body: S,
    /// What has come and was not looked at.
    piece: Bytes,
    search: Search,
    /// How many of the bytes held back are not the file's: the line end in front of it.
    foreign: usize,
    at: At,
    out: VecDeque<Bytes>,
    length: u64,
    allowed: RangeInclusive<u64>,
    bytes_after: usize,
}

impl<S> FileBody<S> {
    /// The file that begins with `piece` and goes on in `body`. The line end in front of it was read, and may be that
    /// of `delimiter`.
    pub(super) fn new(body: S, piece: Bytes, delimiter: Bytes) -> Self {
        let line_end = 2;
        Self {
            body,
            piece,
            search: Search { delimiter, matched: line_end },
            foreign: line_end,
            at: At::File,
            out: VecDeque::new(),
            length: 0,
            allowed: 0..=u64::MAX,
            bytes_after: 0,
        }
    }

    /// The same file, which fails when its length is not in `bytes`: as soon as it is too long, or at its end.
    #[must_use]
    pub(crate) fn bounded(mut self, bytes: RangeInclusive<u64>) -> Self {
        self.allowed = bytes;
        self
    }

    /// Looks at what has come, which is not nothing.
    fn advance(&mut self) -> Result<(), FormBodyError> {
        match self.at {
            At::File => return self.advance_file(),
            At::Delimiter(mut after) => {
                let byte = self.piece.split_to(1)[0];
                self.count_after(1)?;
                self.at = match after.push(byte).ok_or(FormBodyError::Malformed)? {
                    Next::More => At::Delimiter(after),
                    Next::Part => {
                        self.search.matched = 2; // the line end just read may be that of the next delimiter
                        At::LaterPart
                    }
                    Next::Close => At::Epilogue,
                };
            }
            At::LaterPart => {
                let (seen, found) = self.search.advance(&self.piece);
                self.piece = self.piece.split_off(seen);
                self.count_after(seen)?;
                if found {
                    self.at = At::Delimiter(AfterDelimiter::Start);
                }
            }
            At::Epilogue => {
                // The form is whole. Its rest is read so that the connection can be used again, within bounds.
                let bytes = self.piece.len();
                self.piece.clear();
                if self.count_after(bytes).is_err() {
                    self.at = At::Ended;
                }
            }
            At::Ended => self.piece.clear(),
        }
        Ok(())
    }

    fn advance_file(&mut self) -> Result<(), FormBodyError> {
        let held = self.search.matched;
        let (seen, found) = self.search.advance(&self.piece);
        let matched = self.search.matched;
        let piece = self.piece.split_to(seen);
        if matched <= seen {
            // What was held back did not go on as the delimiter: it is the file's.
            self.pass(self.search.delimiter.slice(self.foreign..held))?;
            self.pass(piece.slice(..seen - matched))?;
            self.foreign = 0;
        }
        if found {
            if self.length < *self.allowed.start() {
                return Err(FormBodyError::TooSmall { bytes_min: *self.allowed.start() });
            }
            self.at = At::Delimiter(AfterDelimiter::Start);
        }
        Ok(())
    }

    fn pass(&mut self, piece: Bytes) -> Result<(), FormBodyError> {
        if piece.is_empty() {
            return Ok(());
        }
        self.length = self.length.saturating_add(piece.len() as u64);
        if self.length > *self.allowed.end() {
            return Err(FormBodyError::TooLarge { bytes_max: *self.allowed.end() });
        }
        self.out.push_back(piece);
        Ok(())
    }

    fn count_after(&mut self, bytes: usize) -> Result<(), FormBodyError> {
        self.bytes_after = self.bytes_after.saturating_add(bytes);
        if self.bytes_after > AFTER_FILE_BYTES_MAX { Err(FormBodyError::TooMuchAfterFile) } else { Ok(()) }
    }

    fn fail(&mut self, error: FormBodyError) -> Poll<Option<Result<Bytes, FormBodyError>>> {
        self.at = At::Ended;
        self.out.clear();
        Poll::Ready(Some(Err(error)))
    }
}

impl<S> Stream for FileBody<S>
where
    S: Stream<Item = Result<Bytes, StdError>> + Unpin,
{
    type Item = Result<Bytes, FormBodyError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        loop {
            if let Some(piece) = this.out.pop_front() {
                return Poll::Ready(Some(Ok(piece)));
            }
            if this.at == At::Ended {
                return Poll::Ready(None);
            }
            if !this.piece.is_empty() {
                if let Err(error) = this.advance() {
                    return this.fail(error);
                }
                continue;
            }
            match ready!(Pin::new(&mut this.body).poll_next(cx)) {
                Some(Ok(piece)) => this.piece = piece,
                _ if this.at == At::Epilogue => this.at = At::Ended,
                Some(Err(error)) => return this.fail(FormBodyError::Body(error)),
                None => return this.fail(FormBodyError::EndedEarly),
            }
        }
    }
}

impl<S> fmt::Debug for FileBody<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileBody").field("at", &self.at).field("length", &self.length).finish_non_exhaustive()
    }
}
