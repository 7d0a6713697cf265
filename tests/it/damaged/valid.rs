//! Correct requests of all kinds: what damage is done to. The kinds are in `valid/tables.rs`, here they become requests.

mod tables;

use super::request::Door;
use rand::RngExt as _;
use rand::rngs::StdRng;
use tables::{CHANGES, DOCUMENTS, Entry, INGEST, MANAGEMENT, READS, WRITES};

/// A request before it is signed.
#[derive(Debug, Clone)]
pub(crate) struct Plain {
    pub(crate) what: String,
    pub(crate) door: Door,
    pub(crate) method: String,
    pub(crate) path: Vec<u8>,
    pub(crate) query: Vec<(Vec<u8>, Option<Vec<u8>>)>,
    pub(crate) headers: Vec<(Vec<u8>, Vec<u8>)>,
    pub(crate) body: Vec<u8>,
    pub(crate) style: Style,
    /// The statuses of a correct answer.
    pub(crate) statuses: Vec<u16>,
}

/// How a request says who sends it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Style {
    /// Signed in headers, its body too.
    Headers,
    /// Signed in headers, its body not.
    UnsignedBody,
    /// Signed in headers by a temporary key.
    Session,
    /// Signed in the query.
    Presigned,
    /// Chunks that are signed.
    Chunks,
    /// Chunks that are signed, with a trailer that is too.
    ChunksAndTrailer,
    /// Chunks that are not signed, with a trailer.
    PlainChunks,
    /// By the form it carries.
    Form,
    /// By a token.
    Token,
    /// Not at all.
    Nobody,
}

/// Any correct request.
pub(crate) fn any(random: &mut StdRng) -> Plain {
    match random.random_range(0..20) {
        0..5 => of(pick(WRITES, random), Door::S3, write_style(random)),
        5..9 => of(pick(READS, random), Door::S3, read_style(random)),
        9..11 => of(pick(CHANGES, random), Door::S3, read_style(random)),
        11..14 => of(pick(DOCUMENTS, random), Door::S3, Style::Headers),
        14 => form(),
        15 => preflight(),
        16..18 => of(pick(MANAGEMENT, random), Door::Management, Style::Token),
        _ => of(pick(INGEST, random), Door::Ingest, Style::Token),
    }
}

/// Every kind in every style that fits it.
pub(crate) fn all() -> Vec<Plain> {
    const WRITE: &[Style] = &[
        Style::Headers,
        Style::UnsignedBody,
        Style::Session,
        Style::Presigned,
        Style::Chunks,
        Style::ChunksAndTrailer,
        Style::PlainChunks,
    ];
    const READ: &[Style] = &[Style::Headers, Style::Presigned];
    let tables: [(&[Entry], Door, &[Style]); 6] = [
        (WRITES, Door::S3, WRITE),
        (READS, Door::S3, READ),
        (CHANGES, Door::S3, READ),
        (DOCUMENTS, Door::S3, &[Style::Headers]),
        (MANAGEMENT, Door::Management, &[Style::Token]),
        (INGEST, Door::Ingest, &[Style::Token]),
    ];
    let mut all = vec![form(), preflight()];
    for (table, door, styles) in tables {
        all.extend(table.iter().flat_map(|entry| styles.iter().map(move |style| of(entry, door, *style))));
    }
    all
}

fn pick<'a>(table: &'a [Entry], random: &mut StdRng) -> &'a Entry {
    &table[random.random_range(0..table.len())]
}

fn write_style(random: &mut StdRng) -> Style {
    match random.random_range(0..10) {
        0 | 1 => Style::Headers,
        2 => Style::UnsignedBody,
        3 => Style::Session,
        4 => Style::Presigned,
        5 | 6 => Style::Chunks,
        7 => Style::ChunksAndTrailer,
        _ => Style::PlainChunks,
    }
}

fn read_style(random: &mut StdRng) -> Style {
    match random.random_range(0..8) {
        0 | 1 => Style::Presigned,
        2 => Style::Session,
        3 if random.random_bool(0.3) => Style::Nobody,
        _ => Style::Headers,
    }
}

fn of(entry: &Entry, door: Door, style: Style) -> Plain {
    let (method, target) = entry.line.split_once(' ').unwrap();
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let pairs = query.split('&').filter(|pair| !pair.is_empty()).map(|pair| match pair.split_once('=') {
        Some((name, value)) => (name.into(), Some(value.into())),
        None => (pair.into(), None),
    });
    let headers = entry.headers.lines().map(|line| line.split_once(": ").unwrap());
    let mut plain = Plain {
        what: format!("{} {style:?}", entry.line),
        door,
        method: method.to_owned(),
        path: path.into(),
        query: pairs.collect(),
        headers: headers.map(|(name, value)| (name.into(), value.into())).collect(),
        body: entry.body.into(),
        style,
        statuses: entry.statuses.to_vec(),
    };
    if style == Style::Session && !path.starts_with("/fuzz/") {
        plain.style = Style::Headers;
    }
    // a checksum comes in a header or in a trailer
    if matches!(style, Style::ChunksAndTrailer | Style::PlainChunks) {
        plain.headers.retain(|(name, _)| !name.starts_with(b"x-amz-checksum-"));
    }
    // outside its scope a temporary key may do less than its owner
    if plain.style == Style::Session {
        plain.statuses.extend([400, 403]);
    }
    if door == Door::Ingest {
        plain.body = packed(&plain);
    }
    plain
}

/// The body of an event post as its encoding asks for.
fn packed(plain: &Plain) -> Vec<u8> {
    use std::io::Write as _;
    let has =
        |encoding: &[u8]| plain.headers.iter().any(|(name, value)| name == b"content-encoding" && value == encoding);
    if has(b"gzip") {
        let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        packer.write_all(&plain.body).unwrap();
        packer.finish().unwrap()
    } else if has(b"zstd") {
        zstd::encode_all(plain.body.as_slice(), 1).unwrap()
    } else {
        plain.body.clone()
    }
}

const POLICY: &str = r#"{"expiration":"2094-12-01T12:00:00.000Z","conditions":[{"bucket":"fuzz"},["starts-with","$key","form"],
["starts-with","$x-amz-credential",""],["starts-with","$x-amz-date",""],["starts-with","$x-amz-algorithm",""],
["starts-with","$success_action_status",""],["starts-with","$x-amz-meta-note",""],["starts-with","$content-type",""],
["content-length-range",0,1000000]]}"#;

/// The policy of the form, in base64: what its signature is of.
pub(crate) fn policy() -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(POLICY)
}

/// A browser's form.
fn form() -> Plain {
    let fields = [
        ("key", "form/${filename}".to_owned()),
        ("content-type", "text/plain".to_owned()),
        ("x-amz-meta-note", "ü".to_owned()),
        ("success_action_status", "201".to_owned()),
        ("policy", policy()),
        ("x-amz-algorithm", "AWS4-HMAC-SHA256".to_owned()),
        ("x-amz-credential", "<<KEY>>/<<DAY>>/auto/s3/aws4_request".to_owned()),
        ("x-amz-date", "<<STAMP>>".to_owned()),
        ("x-amz-signature", "<<SIGNATURE>>".to_owned()),
    ];
    let mut body = String::new();
    for (name, value) in fields {
        body.extend(["--edge\r\ncontent-disposition: form-data; name=\"", name, "\"\r\n\r\n", &value, "\r\n"]);
    }
    body += "--edge\r\ncontent-disposition: form-data; name=\"file\"; filename=\"a.txt\"\r\ncontent-type: text/plain\r\n\r\nfile\r\n--edge--\r\n";
    Plain {
        what: "POST /fuzz (form)".to_owned(),
        door: Door::S3,
        method: "POST".to_owned(),
        path: b"/fuzz".to_vec(),
        query: Vec::new(),
        headers: vec![(b"content-type".to_vec(), b"multipart/form-data; boundary=edge".to_vec())],
        body: body.into_bytes(),
        style: Style::Form,
        statuses: vec![201],
    }
}

/// What a browser asks before it asks.
fn preflight() -> Plain {
    let headers = [
        ("origin", "https://www.example.com"),
        ("access-control-request-method", "PUT"),
        ("access-control-request-headers", "content-type, x-amz-meta-a"),
    ];
    Plain {
        what: "OPTIONS /fuzz/a".to_owned(),
        door: Door::S3,
        method: "OPTIONS".to_owned(),
        path: b"/fuzz/a".to_vec(),
        query: Vec::new(),
        headers: headers.map(|(name, value)| (name.into(), value.into())).to_vec(),
        body: Vec::new(),
        style: Style::Nobody,
        statuses: vec![200, 403],
    }
}
