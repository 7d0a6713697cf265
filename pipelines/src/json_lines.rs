//! A batch as JSON lines: the events as they came.

use crate::JsonCompression;
use bytes::Bytes;
use std::io::Write as _;

/// Writes a file of the chunks, which hold one event a line.
pub(crate) fn write(chunks: Vec<Bytes>, compression: JsonCompression) -> std::io::Result<Vec<u8>> {
    match compression {
        JsonCompression::None => Ok(chunks.concat()),
        JsonCompression::Gzip => {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
            for chunk in chunks {
                encoder.write_all(&chunk)?; // each chunk is freed once it is packed
            }
            encoder.finish()
        }
        JsonCompression::Zstd => {
            let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), zstd::DEFAULT_COMPRESSION_LEVEL)?;
            for chunk in chunks {
                encoder.write_all(&chunk)?;
            }
            encoder.finish()
        }
    }
}
