//! From a plain request to the template of one that is signed and on the wire.

use super::damage::ChunkDamage;
use super::request::{By, Lines, Pace, Request, Signed, encode};
use super::valid::{Plain, Style, policy};
use crate::races::checksum::crc32c;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use md5::Md5;
use sha2::{Digest as _, Sha256};

/// Headers that no client signs.
const UNSIGNED: [&[u8]; 6] =
    [b"content-length", b"transfer-encoding", b"connection", b"expect", b"upgrade", b"authorization"];
const SIGNATURE_CHARS: usize = 64;
const CHUNK_BYTES: usize = 7;

/// The template of a request; `damage` is done to the framing of its chunks, if it has any.
pub(crate) fn template(mut plain: Plain, damage: ChunkDamage) -> Request {
    digests(&mut plain);
    let mut request = Request {
        what: plain.what.clone(),
        door: plain.door,
        by: if plain.style == Style::Session { By::Session } else { By::Owner },
        signed: Signed::Nothing,
        chunks: Vec::new(),
        trailer: None,
        pace: Pace::Whole,
        declared: Lines::default(),
        wire: Lines::default(),
    };
    let payload = match plain.style {
        Style::Headers | Style::Session => hex::encode(Sha256::digest(&plain.body)),
        Style::Chunks => "STREAMING-AWS4-HMAC-SHA256-PAYLOAD".to_owned(),
        Style::ChunksAndTrailer => "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER".to_owned(),
        Style::PlainChunks => "STREAMING-UNSIGNED-PAYLOAD-TRAILER".to_owned(),
        _ => "UNSIGNED-PAYLOAD".to_owned(),
    };
    let mut body = plain.body.clone();
    let mut length = body.len();
    if matches!(plain.style, Style::Chunks | Style::ChunksAndTrailer | Style::PlainChunks) {
        plain.headers.push((b"x-amz-decoded-content-length".to_vec(), length.to_string().into()));
        plain.headers.push((b"content-encoding".to_vec(), b"aws-chunked".to_vec()));
        if plain.style != Style::Chunks {
            plain.headers.push((b"x-amz-trailer".to_vec(), b"x-amz-checksum-crc32c".to_vec()));
        }
        (body, length) = chunks(&plain, damage, &mut request);
    }
    let mut headers = vec![(b"host".to_vec(), b"<<HOST>>".to_vec())];
    headers.append(&mut plain.headers);
    match plain.style {
        Style::Presigned => presign(&mut plain, &headers, &mut request),
        Style::Nobody => {}
        Style::Form => request.signed = Signed::Form(policy()),
        Style::Token => {
            let token: &[u8] =
                if plain.path.starts_with(b"/client") { b"Bearer <<TOKEN>>" } else { b"Bearer <<SEND>>" };
            headers.push((b"authorization".to_vec(), token.to_vec()));
        }
        _ => sign(&plain, &mut headers, &payload, &mut request),
    }
    let announced = headers.iter().any(|(name, _)| name == b"transfer-encoding" || name == b"content-length");
    if (!body.is_empty() || plain.method == "PUT" || plain.method == "POST") && !announced {
        let named = plain.style == Style::Form || body.windows(2).any(|window| window == b"<<");
        let value = if named && request.chunks.is_empty() && request.trailer.is_none() {
            request.declared = Lines(body.clone());
            "<<LENGTH>>".to_owned()
        } else {
            length.to_string()
        };
        headers.push((b"content-length".to_vec(), value.into_bytes()));
    }
    let mut wire = [plain.method.as_bytes(), b" ", &encode(&plain.path, b"/")].concat();
    for ((name, value), number) in plain.query.iter().zip(0..) {
        wire.push(if number == 0 { b'?' } else { b'&' });
        wire.extend(encode(name, b""));
        if let Some(value) = value {
            wire.push(b'=');
            wire.extend(encode(value, b""));
        }
    }
    wire.extend_from_slice(b" HTTP/1.1\r\n");
    for (name, value) in &headers {
        wire.extend([name.as_slice(), b": ", value, b"\r\n"].concat());
    }
    wire.extend_from_slice(b"\r\n");
    wire.extend(body);
    request.wire = Lines(wire);
    request
}

/// Puts digests of the body where `*` stands for them.
fn digests(plain: &mut Plain) {
    for (name, value) in &mut plain.headers {
        if value == b"*" && name == b"content-md5" {
            *value = BASE64.encode(Md5::digest(&plain.body)).into_bytes();
        } else if value == b"*" && name == b"x-amz-checksum-crc32c" {
            *value = crc32c(&plain.body).into_bytes();
        }
    }
}

fn canonical(plain: &Plain, headers: &[(Vec<u8>, Vec<u8>)], payload: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let encoded =
        plain.query.iter().map(|(name, value)| [encode(name, b""), encode(value.as_deref().unwrap_or(b""), b"")]);
    let mut query: Vec<[Vec<u8>; 2]> = encoded.collect();
    query.sort();
    let query: Vec<Vec<u8>> = query.iter().map(|pair| pair.join(&b'=')).collect();
    let mut signed: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
    let lower = headers.iter().map(|(name, value)| (name.to_ascii_lowercase(), value.trim_ascii().to_vec()));
    for (name, value) in lower.filter(|(name, _)| !UNSIGNED.contains(&name.as_slice())) {
        match signed.iter_mut().find(|(own, _)| *own == name) {
            Some((_, values)) => values.extend([b",".as_slice(), &value].concat()),
            None => signed.push((name, value)),
        }
    }
    signed.sort();
    let names = signed.iter().map(|(name, _)| name.as_slice()).collect::<Vec<_>>().join(&b';');
    let path = encode(&plain.path, b"/");
    let mut text = [plain.method.as_bytes(), &path, &query.join(&b'&')].join(&b'\n');
    text.push(b'\n');
    for (name, value) in &signed {
        text.extend([name.as_slice(), b":", value, b"\n"].concat());
    }
    text.extend([b"\n", names.as_slice(), b"\n", payload].concat());
    (text, names)
}

fn sign(plain: &Plain, headers: &mut Vec<(Vec<u8>, Vec<u8>)>, payload: &str, request: &mut Request) {
    headers.push((b"x-amz-content-sha256".to_vec(), payload.into()));
    headers.push((b"x-amz-date".to_vec(), b"<<STAMP>>".to_vec()));
    if plain.style == Style::Session {
        headers.push((b"x-amz-security-token".to_vec(), b"<<SESSION>>".to_vec()));
    }
    let (text, names) = canonical(plain, headers, payload.as_bytes());
    request.signed = Signed::Request(Lines(text));
    let value = [
        b"AWS4-HMAC-SHA256 Credential=<<KEY>>/<<DAY>>/auto/s3/aws4_request,SignedHeaders=".as_slice(),
        &names,
        b",Signature=<<SIGNATURE>>",
    ];
    headers.push((b"authorization".to_vec(), value.concat()));
}

fn presign(plain: &mut Plain, headers: &[(Vec<u8>, Vec<u8>)], request: &mut Request) {
    let (_, names) = canonical(plain, headers, b"");
    for (name, value) in [
        ("X-Amz-Algorithm", b"AWS4-HMAC-SHA256".to_vec()),
        ("X-Amz-Credential", b"<<KEY>>/<<DAY>>/auto/s3/aws4_request".to_vec()),
        ("X-Amz-Date", b"<<STAMP>>".to_vec()),
        ("X-Amz-Expires", b"600".to_vec()),
        ("X-Amz-SignedHeaders", names),
    ] {
        plain.query.push((name.into(), Some(value)));
    }
    let (text, _) = canonical(plain, headers, b"UNSIGNED-PAYLOAD");
    request.signed = Signed::Request(Lines(text));
    plain.query.push((b"X-Amz-Signature".to_vec(), Some(b"<<SIGNATURE>>".to_vec())));
}

/// The body in chunks, and its length once signatures are filled in.
fn chunks(plain: &Plain, damage: ChunkDamage, request: &mut Request) -> (Vec<u8>, usize) {
    let signed = plain.style != Style::PlainChunks;
    let mut body = Vec::new();
    let pieces = plain.body.chunks(CHUNK_BYTES).chain([&[] as &[u8]]);
    let mut signatures = 0;
    for (piece, number) in pieces.zip(0..) {
        let last = piece.is_empty();
        let mut line = damage.size(piece.len(), number);
        if signed {
            request.chunks.push(hex::encode(Sha256::digest(piece)));
            line += &damage.extension(number);
            signatures += line.matches("<<CHUNK").count();
        }
        body.extend_from_slice(line.as_bytes());
        body.extend_from_slice(damage.line_end(number));
        body.extend_from_slice(piece);
        if !last {
            body.extend_from_slice(damage.data_end(number));
        }
    }
    if plain.style == Style::Chunks {
        body.extend_from_slice(b"\r\n");
    } else {
        let text = damage.trailer(&crc32c(&plain.body));
        body.extend_from_slice(&text);
        let first_line: Vec<u8> = text.split(|byte| *byte == b'\r').next().unwrap_or_default().to_vec();
        if signed {
            request.trailer = Some(hex::encode(Sha256::digest([first_line.as_slice(), b"\n"].concat())));
            body.extend_from_slice(b"x-amz-trailer-signature:<<TRAILER>>\r\n");
            signatures += 1;
        }
        body.extend_from_slice(b"\r\n");
    }
    let names: usize = body
        .windows(2)
        .enumerate()
        .filter(|(_, window)| *window == b"<<")
        .filter_map(|(at, _)| super::request::name_length(&body[at..]))
        .sum();
    let length = body.len() - names + signatures * SIGNATURE_CHARS;
    (body, length)
}
