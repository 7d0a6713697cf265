//! `RowKey`: typed keys as bytes that sort as the keys do.
//!
//! ```text
//! u8..u128      big endian                       [u8; N], ids   the bytes
//! text          UTF-8, 00 written as 00 FF, ended by 00 01
//! (A, B, ..)    one after the other
//! ```
//! No encoding is the beginning of another key's encoding of the same type, hence tuples sort right.

use cistern_types::{
    AccessKeyId, AccountId, BlobId, BucketId, BucketName, ObjectKey, OwnerId, PipelineName, Timestamp, UploadId,
};

const ESCAPE: u8 = 0x00;
const ESCAPED_ZERO: u8 = 0xff;
const END: u8 = 0x01;

/// A key of a table. Keys compare as their encodings do, and an encoding knows where it ends.
pub trait RowKey: Sized + Sync {
    /// Appends the encoding.
    fn encode(&self, out: &mut Vec<u8>);

    /// Reads one key off the front of `bytes`, which becomes the rest.
    fn read(bytes: &mut &[u8]) -> Option<Self>;

    /// Reads a key that is all of `bytes`.
    fn decode(mut bytes: &[u8]) -> Option<Self> {
        Self::read(&mut bytes).filter(|_| bytes.is_empty())
    }
}

/// Appends `text` so that every key whose text begins with it begins with these bytes.
pub(crate) fn encode_text_prefix(text: &str, out: &mut Vec<u8>) {
    out.reserve(text.len() + 2);
    for byte in text.bytes() {
        out.push(byte);
        if byte == ESCAPE {
            out.push(ESCAPED_ZERO);
        }
    }
}

fn encode_text(text: &str, out: &mut Vec<u8>) {
    encode_text_prefix(text, out);
    out.extend_from_slice(&[ESCAPE, END]);
}

fn read_text(bytes: &mut &[u8]) -> Option<String> {
    let mut text = Vec::new();
    loop {
        let zero = bytes.iter().position(|byte| *byte == ESCAPE)?;
        text.extend_from_slice(&bytes[..zero]);
        let mark = *bytes.get(zero + 1)?;
        *bytes = &bytes[zero + 2..];
        match mark {
            ESCAPED_ZERO => text.push(ESCAPE),
            END => return String::from_utf8(text).ok(),
            _ => return None,
        }
    }
}

impl RowKey for String {
    fn encode(&self, out: &mut Vec<u8>) {
        encode_text(self, out);
    }

    fn read(bytes: &mut &[u8]) -> Option<Self> {
        read_text(bytes)
    }
}

macro_rules! text_keys {
    ($($name:ty),*) => {$(
        impl RowKey for $name {
            fn encode(&self, out: &mut Vec<u8>) {
                encode_text(self.as_str(), out);
            }

            fn read(bytes: &mut &[u8]) -> Option<Self> {
                read_text(bytes)?.parse().ok()
            }
        }
    )*};
}
text_keys!(BucketName, ObjectKey, PipelineName, AccessKeyId);

macro_rules! number_keys {
    ($($name:ty),*) => {$(
        impl RowKey for $name {
            fn encode(&self, out: &mut Vec<u8>) {
                out.extend_from_slice(&self.to_be_bytes());
            }

            fn read(bytes: &mut &[u8]) -> Option<Self> {
                let (own, rest) = bytes.split_first_chunk()?;
                *bytes = rest;
                Some(Self::from_be_bytes(*own))
            }
        }
    )*};
}
number_keys!(u8, u16, u32, u64, u128);

impl<const N: usize> RowKey for [u8; N] {
    fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self);
    }

    fn read(bytes: &mut &[u8]) -> Option<Self> {
        let (own, rest) = bytes.split_first_chunk()?;
        *bytes = rest;
        Some(*own)
    }
}

macro_rules! id_keys {
    ($($name:ty),*) => {$(
        impl RowKey for $name {
            fn encode(&self, out: &mut Vec<u8>) {
                out.extend_from_slice(self.as_bytes());
            }

            fn read(bytes: &mut &[u8]) -> Option<Self> {
                RowKey::read(bytes).map(Self::from_bytes)
            }
        }
    )*};
}
id_keys!(BlobId, UploadId, BucketId, OwnerId, AccountId);

impl RowKey for Timestamp {
    fn encode(&self, out: &mut Vec<u8>) {
        self.as_millis().encode(out);
    }

    fn read(bytes: &mut &[u8]) -> Option<Self> {
        u64::read(bytes).map(Self::from_millis)
    }
}

/// The key of a table with one row.
impl RowKey for () {
    fn encode(&self, _: &mut Vec<u8>) {}

    fn read(_: &mut &[u8]) -> Option<Self> {
        Some(())
    }
}

macro_rules! tuple_keys {
    ($($name:ident . $index:tt),*) => {
        impl<$($name: RowKey),*> RowKey for ($($name,)*) {
            fn encode(&self, out: &mut Vec<u8>) {
                $(self.$index.encode(out);)*
            }

            fn read(bytes: &mut &[u8]) -> Option<Self> {
                Some(($($name::read(bytes)?,)*))
            }
        }
    };
}
tuple_keys!(A.0, B.1);
tuple_keys!(A.0, B.1, C.2);
tuple_keys!(A.0, B.1, C.2, D.3);

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn bytes<K: RowKey>(key: &K) -> Vec<u8> {
        let mut out = Vec::new();
        key.encode(&mut out);
        out
    }

    #[track_caller]
    fn check<K: RowKey + Ord + std::fmt::Debug>(a: &K, b: &K) {
        let (encoded_a, encoded_b) = (bytes(a), bytes(b));
        assert_eq!(encoded_a.cmp(&encoded_b), a.cmp(b), "{a:?} {b:?}");
        assert_eq!(K::decode(&encoded_a).as_ref(), Some(a));
    }

    proptest! {
        #[test]
        fn keys_sort_as_they_are_encoded_and_read_back(a: (String, u64, String), b: (String, u64, String)) {
            check(&a, &b);
        }

        #[test]
        fn texts_full_of_zeros_sort_too(a in "[\0\u{1}a\u{ff}]{0,5}", b in "[\0\u{1}a\u{ff}]{0,5}", x: u16, y: u16) {
            check(&(a.clone(), x), &(b.clone(), y));
            let mut prefix = Vec::new();
            encode_text_prefix(&a, &mut prefix);
            prop_assert_eq!(bytes(&b).starts_with(&prefix), b.starts_with(&a));
        }

        #[test]
        fn reading_any_bytes_never_panics(bytes: Vec<u8>) {
            <(ObjectKey, u64)>::decode(&bytes);
            <(BlobId, [u8; 3], String)>::decode(&bytes);
        }
    }

    #[test]
    fn what_is_cut_or_too_long_does_not_decode() {
        let whole = bytes(&("a".to_owned(), 7_u32));
        assert!(<(String, u32)>::decode(&whole).is_some());
        assert!(<(String, u32)>::decode(&whole[..whole.len() - 1]).is_none());
        assert!(String::decode(&whole).is_none());
        assert!(String::decode(b"a\x00\x02").is_none());
        assert!(String::decode(b"a\x00").is_none());
    }
}
