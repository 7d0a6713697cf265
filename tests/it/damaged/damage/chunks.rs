//! What can be wrong with the framing of aws-chunked bodies.

use rand::RngExt as _;
use rand::rngs::StdRng;

/// What is done to the framing of chunks.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct ChunkDamage {
    /// Which, 0 for none.
    pub(super) kind: usize,
    /// To which chunk.
    chunk: usize,
}

impl ChunkDamage {
    pub(super) fn any(random: &mut StdRng) -> Self {
        Self { kind: random.random_range(1..26), chunk: random.random_range(0..3) }
    }

    pub(crate) fn size(self, length: usize, number: usize) -> String {
        if number != self.chunk {
            return format!("{length:x}");
        }
        match self.kind {
            1 => format!("{:x}", length + 1),
            2 => format!("{:x}", length.saturating_sub(1)),
            3 => "ffffffffffffffff".into(),
            4 => "10000000000000000".into(),
            5 => "7fffffffffffffff".into(),
            6 => "f".repeat(300),
            7 => "zz".into(),
            8 => String::new(),
            9 => format!("-{length:x}"),
            10 => format!(" {length:x} "),
            11 => format!("0x{length:x}"),
            12 => format!("{}{length:x}", "0".repeat(200)),
            13 => "400001".into(),
            14 => format!("+{length:x}"),
            _ => format!("{length:x}"),
        }
    }

    pub(crate) fn extension(self, number: usize) -> String {
        let own = format!(";chunk-signature=<<CHUNK{number}>>");
        if number != self.chunk {
            return own;
        }
        match self.kind {
            15 => format!(";chunk-signature={}", "0".repeat(64)),
            16 => String::new(),
            17 => ";chunk-signature=".into(),
            18 => format!("{own}{own}"),
            19 => format!(";chunk-signature={}", "\u{e9}".repeat(32)),
            20 => format!("{own};a=b"),
            _ => own,
        }
    }

    pub(crate) fn line_end(self, number: usize) -> &'static [u8] {
        match self.kind {
            21 if number == self.chunk => b"\n",
            22 if number == self.chunk => b"\r",
            _ => b"\r\n",
        }
    }

    pub(crate) fn data_end(self, number: usize) -> &'static [u8] {
        match self.kind {
            23 if number == self.chunk => b"",
            24 if number == self.chunk => b"\r\n\r\n",
            25 if number == self.chunk => b"xx",
            _ => b"\r\n",
        }
    }

    pub(crate) fn trailer(self, crc: &str) -> Vec<u8> {
        match self.kind {
            15 => b"x-amz-checksum-crc32c:AAAAAA==\r\n".to_vec(),
            16 => b"x-amz-checksum-sha256:AAAAAA==\r\n".to_vec(),
            17 => b"x-amz-checksum-crc32c\r\n".to_vec(),
            18 => b"x-amz-checksum-crc32c:\xff\xfe\r\n".to_vec(),
            19 => [b"x-amz-meta-a:".as_slice(), &vec![b'a'; 100_000], b"\r\n"].concat(),
            20 => format!("x-amz-checksum-crc32c:{crc}\r\nx-amz-checksum-crc32c:{crc}\r\n").into_bytes(),
            21 => format!("x-amz-checksum-crc32c:{crc}\n").into_bytes(),
            22 => Vec::new(),
            23 => b"\r\n\r\n\r\n".to_vec(),
            24 => b"a:b\r\n".repeat(5000),
            _ => format!("x-amz-checksum-crc32c:{crc}\r\n").into_bytes(),
        }
    }
}
