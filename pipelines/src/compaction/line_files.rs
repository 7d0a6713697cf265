//! Files of JSON lines unpacked piece by piece and packed as one, in the order of their offsets. No line is read, only counted.

use super::source::{Fault, Reader, Source};
use super::{Pieces, send};
use crate::json_lines::Encoder;
use crate::{Error, JsonCompression};
use bytes::Bytes;
use cistern_runtime::offload;
use flate2::write::MultiGzDecoder;
use futures::TryStreamExt as _;
use std::fmt;
use std::io::{self, Write};
use zstd::stream::{raw, zio};

/// Writes one file of all sources and answers how many lines it has; a fault names the source by its number.
pub(super) async fn merge(
    reader: Reader<'_>,
    sources: &[Source],
    compression: JsonCompression,
    pieces: &mut Pieces,
) -> Result<u64, (usize, Fault)> {
    let failed = |error: io::Error| (0, Fault::Other(Error::Compress(error)));
    let mut lines = Lines { file: Encoder::new(compression).map_err(failed)?, count: 0, is_open: false };
    for (number, source) in sources.iter().enumerate() {
        lines = add(reader, source, compression, lines, pieces).await.map_err(|fault| (number, fault))?;
    }
    let Lines { file, count, .. } = lines;
    let piece = offload(move || file.finish()).await.map_err(failed)?;
    send(pieces, piece).await.map_err(|fault| (0, fault))?;
    Ok(count)
}

async fn add(
    reader: Reader<'_>,
    source: &Source,
    compression: JsonCompression,
    lines: Lines,
    pieces: &mut Pieces,
) -> Result<Lines, Fault> {
    let unfit = |error: io::Error| Fault::Unfit(format!("it cannot be unpacked: {error}"));
    let mut body = reader.body(source).await?;
    let mut unpacking = Unpacking::new(compression, lines).map_err(unfit)?;
    while let Some(packed) = body.try_next().await? {
        let piece;
        (unpacking, piece) = offload(move || unpacking.add(&packed)).await.map_err(unfit)?;
        send(pieces, piece).await?;
    }
    offload(move || unpacking.end()).await.map_err(unfit)
}

/// Lines on their way into the new file.
#[derive(Debug)]
struct Lines {
    file: Encoder,
    count: u64,
    /// Whether the last line has not ended.
    is_open: bool,
}

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes)?;
        if let Some(last) = bytes[..written].last() {
            self.count += memchr::memchr_iter(b'\n', &bytes[..written]).count() as u64;
            self.is_open = *last != b'\n';
        }
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A source on its way to lines.
enum Unpacking {
    Plain(Lines),
    Gzip(Box<MultiGzDecoder<Lines>>),
    Zstd(Box<zio::Writer<Lines, raw::Decoder<'static>>>),
}

impl fmt::Debug for Unpacking {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Unpacking")
    }
}

impl Unpacking {
    fn new(compression: JsonCompression, lines: Lines) -> io::Result<Self> {
        Ok(match compression {
            JsonCompression::None => Self::Plain(lines),
            JsonCompression::Gzip => Self::Gzip(Box::new(MultiGzDecoder::new(lines))),
            JsonCompression::Zstd => Self::Zstd(Box::new(zio::Writer::new(lines, raw::Decoder::new()?))),
        })
    }

    /// Adds packed bytes; answers what of the new file is ready.
    fn add(mut self, packed: &Bytes) -> io::Result<(Self, Vec<u8>)> {
        let lines = match &mut self {
            Self::Plain(lines) => {
                lines.write_all(packed)?;
                lines
            }
            Self::Gzip(decoder) => {
                decoder.write_all(packed)?;
                decoder.get_mut()
            }
            Self::Zstd(decoder) => {
                decoder.write_all(packed)?;
                decoder.writer_mut()
            }
        };
        let ready = lines.file.take();
        Ok((self, ready))
    }

    /// The source has ended: an error when it has not ended well.
    fn end(self) -> io::Result<Lines> {
        let mut lines = match self {
            Self::Plain(lines) => lines,
            Self::Gzip(decoder) => decoder.finish()?,
            Self::Zstd(mut decoder) => {
                decoder.finish()?;
                decoder.into_inner().0
            }
        };
        if lines.is_open {
            lines.write_all(b"\n")?;
        }
        Ok(lines)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json_lines;

    const ALL: [JsonCompression; 3] = [JsonCompression::None, JsonCompression::Gzip, JsonCompression::Zstd];

    fn packed(text: &'static str, compression: JsonCompression) -> Bytes {
        json_lines::write(vec![Bytes::from_static(text.as_bytes())], compression).unwrap().into()
    }

    fn unpacked(file: Vec<u8>, compression: JsonCompression) -> String {
        let lines = Lines { file: Encoder::Plain(Vec::new()), count: 0, is_open: false };
        let (unpacking, text) = Unpacking::new(compression, lines).unwrap().add(&file.into()).unwrap();
        let rest = unpacking.end().unwrap().file.finish().unwrap();
        String::from_utf8([text, rest].concat()).unwrap()
    }

    /// Merges files that come in pieces of so many bytes.
    fn merged(files: &[Bytes], piece_bytes: usize, compression: JsonCompression) -> io::Result<(Vec<u8>, u64)> {
        let mut lines = Lines { file: Encoder::new(compression)?, count: 0, is_open: false };
        let mut merged = Vec::new();
        for file in files {
            let mut unpacking = Unpacking::new(compression, lines)?;
            for piece in file.chunks(piece_bytes) {
                let ready;
                (unpacking, ready) = unpacking.add(&Bytes::copy_from_slice(piece))?;
                merged.extend(ready);
            }
            lines = unpacking.end()?;
        }
        let count = lines.count;
        merged.extend(lines.file.finish()?);
        Ok((merged, count))
    }

    #[test]
    fn lines_follow_one_another_in_every_compression_and_none_runs_into_the_next() {
        for compression in ALL {
            let files = ["{\"a\":1}\n{\"a\":2}\n", "{\"b\":1}", "{\"c\":1}\n"].map(|text| packed(text, compression));
            for piece_bytes in [1, 7, 1000] {
                let (file, count) = merged(&files, piece_bytes, compression).unwrap();
                assert_eq!(unpacked(file, compression), "{\"a\":1}\n{\"a\":2}\n{\"b\":1}\n{\"c\":1}\n");
                assert_eq!(count, 4, "{compression}");
            }
        }
    }

    #[test]
    fn a_file_that_is_cut_or_is_something_else_is_an_error() {
        for compression in [JsonCompression::Gzip, JsonCompression::Zstd] {
            let whole = packed("{\"a\":1}\n", compression);
            for length in 1..whole.len() {
                assert!(
                    merged(&[whole.slice(..length)], 1000, compression).is_err(),
                    "{length} bytes of {compression}"
                );
            }
            assert!(merged(&[Bytes::from_static(b"{\"a\":1}\n")], 1000, compression).is_err());
        }
    }
}
