//! Compressed bodies: gzip and zstd, never unpacked further than a body may be large.

use crate::{Error, Result};
use std::io::Read;

/// The largest window a zstd body may ask for, as a power of two: 8 MiB, what every encoder uses up to level 19.
const ZSTD_WINDOW_LOG_MAX: u32 = 23;

/// What a body's bytes are packed with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ContentEncoding {
    /// Nothing.
    Identity,
    /// gzip, one or several members.
    Gzip,
    /// Zstandard, one or several frames.
    Zstd,
}

impl ContentEncoding {
    /// Reads the `Content-Encoding` header.
    pub(crate) fn from_header(value: Option<&str>) -> Result<Self> {
        let value = value.unwrap_or("").trim();
        match value.to_ascii_lowercase().as_str() {
            "" | "identity" => Ok(Self::Identity),
            "gzip" | "x-gzip" => Ok(Self::Gzip),
            "zstd" => Ok(Self::Zstd),
            _ => Err(Error::UnsupportedEncoding { encoding: value.chars().take(64).collect() }),
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Identity => "plain",
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
        }
    }
}

/// Unpacks a body. Memory grows to `limit_bytes` at most, whatever the body claims or unfolds to.
pub(crate) fn decompress(encoding: ContentEncoding, body: Vec<u8>, limit_bytes: usize) -> Result<Vec<u8>> {
    match encoding {
        ContentEncoding::Identity => Ok(body),
        ContentEncoding::Gzip => read_bounded(encoding, flate2::read::MultiGzDecoder::new(&*body), limit_bytes),
        ContentEncoding::Zstd => {
            let broken = |source| Error::BrokenEncoding { encoding: encoding.name(), source };
            let mut decoder = zstd::stream::read::Decoder::with_buffer(&*body).map_err(broken)?;
            decoder.window_log_max(ZSTD_WINDOW_LOG_MAX).map_err(broken)?;
            read_bounded(encoding, decoder, limit_bytes)
        }
    }
}

fn read_bounded(encoding: ContentEncoding, reader: impl Read, limit_bytes: usize) -> Result<Vec<u8>> {
    let mut unpacked = Vec::new();
    let read = reader.take(limit_bytes as u64 + 1).read_to_end(&mut unpacked);
    read.map_err(|source| Error::BrokenEncoding { encoding: encoding.name(), source })?;
    if unpacked.len() > limit_bytes {
        return Err(Error::BodyTooLarge { limit_bytes });
    }
    Ok(unpacked)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn gzip(body: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        encoder.write_all(body).unwrap();
        encoder.finish().unwrap()
    }

    fn zstd(body: &[u8]) -> Vec<u8> {
        zstd::stream::encode_all(body, 3).unwrap()
    }

    #[test]
    fn what_was_packed_comes_back() {
        let body = b"{\"a\":1}\n".repeat(1000);
        assert_eq!(decompress(ContentEncoding::Gzip, gzip(&body), body.len()).unwrap(), body);
        assert_eq!(decompress(ContentEncoding::Zstd, zstd(&body), body.len()).unwrap(), body);
        let two_members = [gzip(b"{}\n"), gzip(b"{}")].concat();
        assert_eq!(decompress(ContentEncoding::Gzip, two_members, 10).unwrap(), b"{}\n{}");
        assert_eq!(decompress(ContentEncoding::Identity, b"{}".to_vec(), 10).unwrap(), b"{}");
    }

    #[test]
    fn a_bomb_is_refused_before_it_fills_memory() {
        let limit_bytes = 1 << 20;
        let zeros = vec![0; 200 << 20];
        for (encoding, bomb) in [(ContentEncoding::Gzip, gzip(&zeros)), (ContentEncoding::Zstd, zstd(&zeros))] {
            assert!(bomb.len() < 300_000, "{} bytes", bomb.len());
            let error = decompress(encoding, bomb, limit_bytes).unwrap_err();
            assert!(matches!(error, Error::BodyTooLarge { .. }), "{error}");
        }
        assert!(decompress(ContentEncoding::Gzip, gzip(&vec![0; limit_bytes]), limit_bytes).is_ok());
        assert!(decompress(ContentEncoding::Gzip, gzip(&vec![0; limit_bytes + 1]), limit_bytes).is_err());
    }

    #[test]
    fn a_zstd_body_cannot_ask_for_a_huge_window() {
        let mut encoder = zstd::stream::Encoder::new(Vec::new(), 3).unwrap();
        encoder.window_log(27).unwrap();
        encoder.long_distance_matching(true).unwrap();
        encoder.write_all(&vec![b'x'; 1 << 20]).unwrap();
        let error = decompress(ContentEncoding::Zstd, encoder.finish().unwrap(), 5 << 20).unwrap_err();
        assert!(matches!(error, Error::BrokenEncoding { encoding: "zstd", .. }), "{error}");
    }

    #[test]
    fn broken_and_cut_bodies_are_refused() {
        let body = b"{\"a\":1}\n".repeat(1000);
        for (encoding, packed) in [(ContentEncoding::Gzip, gzip(&body)), (ContentEncoding::Zstd, zstd(&body))] {
            let cut = &packed[..packed.len() - 5];
            assert!(matches!(decompress(encoding, cut.to_vec(), 1 << 20), Err(Error::BrokenEncoding { .. })));
            assert!(matches!(decompress(encoding, body.clone(), 1 << 20), Err(Error::BrokenEncoding { .. })));
        }
    }

    #[test]
    fn headers_are_read_as_http_means_them() {
        for (header, expected) in [
            (None, ContentEncoding::Identity),
            (Some("identity"), ContentEncoding::Identity),
            (Some("GZip"), ContentEncoding::Gzip),
            (Some(" zstd "), ContentEncoding::Zstd),
        ] {
            assert_eq!(ContentEncoding::from_header(header).unwrap(), expected);
        }
        for header in ["br", "deflate", "gzip, gzip"] {
            assert!(matches!(ContentEncoding::from_header(Some(header)), Err(Error::UnsupportedEncoding { .. })));
        }
    }
}
