//! What can be wrong with a request: before it is signed, so that it gets past the signature, and after.
//!
//! ```text
//! damage/documents.rs  XML, JSON        damage/wire.rs   the bytes once they are signed
//! damage/chunks.rs     aws-chunked      damage/words.rs  odd values, names of headers and queries
//! ```

mod chunks;
mod documents;
mod wire;
mod words;

pub(crate) use chunks::ChunkDamage;

use super::request::Request;
use super::valid::Plain;
use documents::document_damage;
use rand::RngExt as _;
use rand::rngs::StdRng;
use wire::on_the_wire;
use words::{HEADERS, KEYS, LONG, METHODS, ODD_VALUES, QUERIES};

fn pick<T: Copy>(of: &[T], random: &mut StdRng) -> T {
    of[random.random_range(0..of.len())]
}

/// A value that is odd, or long.
fn odd(random: &mut StdRng) -> Vec<u8> {
    match random.random_range(0..12) {
        0 => vec![b'a'; pick(&LONG, random)],
        1 => (0..random.random_range(1..40)).map(|_| random.random_range(b' '..=u8::MAX)).collect(),
        2 => [pick(ODD_VALUES, random), pick(ODD_VALUES, random)].concat(),
        3 => pick(ODD_VALUES, random).repeat(random.random_range(2..200)),
        _ => pick(ODD_VALUES, random).to_vec(),
    }
}

/// Damage to what is signed.
fn before_signing(plain: &mut Plain, random: &mut StdRng) -> ChunkDamage {
    let chunked = format!("{:?}", plain.style).contains("Chunks");
    let document = plain.body.first().is_some_and(|byte| b"<{[".contains(byte));
    let kind = match random.random_range(0..16) {
        0..6 if chunked => {
            let damage = ChunkDamage::any(random);
            plain.what = format!("{} | {damage:?}", plain.what);
            return damage;
        }
        0..8 if document => {
            plain.body = document_damage(&plain.body, random);
            "document"
        }
        4..8 => {
            let name = pick(HEADERS, random);
            plain.headers.push((name.into(), odd(random)));
            "header added"
        }
        8..11 => {
            query_damage(plain, random);
            "query"
        }
        11 | 12 => {
            plain.path = path_damage(&plain.path, random);
            "path"
        }
        13 if !plain.headers.is_empty() => {
            let at = random.random_range(0..plain.headers.len());
            if random.random_bool(0.5) {
                plain.headers.remove(at);
                "header dropped"
            } else {
                let twice = (plain.headers[at].0.clone(), odd(random));
                plain.headers.insert(at, twice);
                "header twice"
            }
        }
        14 => {
            plain.method = pick(METHODS, random).to_owned();
            "method"
        }
        15 => {
            plain.body = if random.random_bool(0.3) { bomb(plain) } else { bytes_damage(&plain.body, random) };
            "body"
        }
        _ => {
            header_value(plain, random);
            "header value"
        }
    };
    plain.what.extend([" | ", kind]);
    ChunkDamage::default()
}

/// Little that becomes much when unpacked.
fn bomb(plain: &Plain) -> Vec<u8> {
    use std::io::Write as _;
    let zeros = vec![b' '; 60_000_000];
    if plain.headers.iter().any(|(_, value)| value == b"zstd") {
        return zstd::encode_all(zeros.as_slice(), 1).unwrap();
    }
    let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packer.write_all(&zeros).unwrap();
    packer.finish().unwrap()
}

fn header_value(plain: &mut Plain, random: &mut StdRng) {
    if plain.headers.is_empty() {
        plain.headers.push((pick(HEADERS, random).into(), odd(random)));
        return;
    }
    let at = random.random_range(0..plain.headers.len());
    let value = &mut plain.headers[at].1;
    *value = if random.random_bool(0.7) { odd(random) } else { bytes_damage(value, random) };
}

fn query_damage(plain: &mut Plain, random: &mut StdRng) {
    match random.random_range(0..5) {
        0 if !plain.query.is_empty() => {
            let at = random.random_range(0..plain.query.len());
            plain.query[at].1 = Some(odd(random)).filter(|_| random.random_bool(0.9));
        }
        1 if !plain.query.is_empty() => {
            let at = random.random_range(0..plain.query.len());
            let twice = plain.query[at].clone();
            plain.query.push(twice);
        }
        2 => plain.query.extend((0..random.random_range(2..400)).map(|number| (vec![b'q'; number % 7], None))),
        _ => plain.query.push((pick(QUERIES, random).into(), Some(odd(random)).filter(|_| random.random_bool(0.5)))),
    }
}

fn path_damage(path: &[u8], random: &mut StdRng) -> Vec<u8> {
    match random.random_range(0..5) {
        0 => [path, &vec![b'k'; pick(&LONG, random)]].concat(),
        1 => bytes_damage(path, random),
        2 => [path, &b"/..".repeat(random.random_range(1..100))].concat(),
        _ => pick(KEYS, random).to_vec(),
    }
}

/// Bytes changed, put in, taken out, cut off.
fn bytes_damage(bytes: &[u8], random: &mut StdRng) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for _ in 0..random.random_range(1..5) {
        let at = random.random_range(0..=bytes.len());
        match random.random_range(0..5) {
            0 | 1 if at < bytes.len() => bytes[at] = random.random(),
            2 => bytes.insert(at, pick(&[0, b'\r', b'\n', b'%', b'"', b'<', b'&', 0xff, b' ', b':'], random)),
            3 if at < bytes.len() => {
                bytes.remove(at);
            }
            4 if random.random_bool(0.3) => bytes.truncate(at),
            _ => {
                let piece = bytes[at..(at + 20).min(bytes.len())].to_vec();
                bytes.splice(at..at, piece);
            }
        }
    }
    bytes
}

/// The next damaged request.
pub(crate) fn damaged(random: &mut StdRng) -> Request {
    let mut plain = super::valid::any(random);
    let (mut chunks, signed_too) = (ChunkDamage::default(), random.random_ratio(3, 5));
    if signed_too {
        for _ in 0..random.random_range(1..3) {
            let damage = before_signing(&mut plain, random);
            if damage.kind > 0 {
                chunks = damage;
            }
        }
    }
    let mut request = super::sign::template(plain, chunks);
    if !signed_too || random.random_ratio(1, 4) {
        for _ in 0..random.random_range(1..3) {
            on_the_wire(&mut request, random);
        }
    }
    request
}
