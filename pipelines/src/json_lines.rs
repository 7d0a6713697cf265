//! A batch as JSON lines: the events as they came.

use crate::JsonCompression;
use bytes::Bytes;
use std::fmt;
use std::io::Write;

/// Writes a file of the chunks, which hold one event a line.
pub(crate) fn write(chunks: Vec<Bytes>, compression: JsonCompression) -> std::io::Result<Vec<u8>> {
    if compression == JsonCompression::None {
        return Ok(chunks.concat());
    }
    let mut file = Encoder::new(compression)?;
    for chunk in chunks {
        file.write_all(&chunk)?; // each chunk is freed once it is packed
    }
    file.finish()
}

/// A file that grows.
pub(crate) enum Encoder {
    Plain(Vec<u8>),
    Gzip(flate2::write::GzEncoder<Vec<u8>>),
    Zstd(zstd::stream::write::Encoder<'static, Vec<u8>>),
}

impl Encoder {
    pub(crate) fn new(compression: JsonCompression) -> std::io::Result<Self> {
        Ok(match compression {
            JsonCompression::None => Self::Plain(Vec::new()),
            JsonCompression::Gzip => {
                Self::Gzip(flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default()))
            }
            JsonCompression::Zstd => {
                Self::Zstd(zstd::stream::write::Encoder::new(Vec::new(), zstd::DEFAULT_COMPRESSION_LEVEL)?)
            }
        })
    }

    /// The bytes that follow those taken before, as far as they are known.
    pub(crate) fn take(&mut self) -> Vec<u8> {
        std::mem::take(match self {
            Self::Plain(bytes) => bytes,
            Self::Gzip(encoder) => encoder.get_mut(),
            Self::Zstd(encoder) => encoder.get_mut(),
        })
    }

    /// The last bytes.
    pub(crate) fn finish(self) -> std::io::Result<Vec<u8>> {
        match self {
            Self::Plain(bytes) => Ok(bytes),
            Self::Gzip(encoder) => encoder.finish(),
            Self::Zstd(encoder) => encoder.finish(),
        }
    }
}

impl Write for Encoder {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        match self {
            Self::Plain(file) => file.write(bytes),
            Self::Gzip(encoder) => encoder.write(bytes),
            Self::Zstd(encoder) => encoder.write(bytes),
        }
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(()) // what is not known yet waits for its end
    }
}

impl fmt::Debug for Encoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Encoder")
    }
}
