//! What can be wrong with the bytes of a request, once it is signed.

use super::words::{HEADERS, LONG, METHODS};
use super::{bytes_damage, odd, pick};
use crate::damaged::request::{Pace, Request};
use rand::RngExt as _;
use rand::rngs::StdRng;

/// Damage to what is on the wire.
pub(super) fn on_the_wire(request: &mut Request, random: &mut StdRng) {
    let wire = &mut request.wire.0;
    let kind = match random.random_range(0..22) {
        0 | 1 => {
            request_line(wire, random);
            "request line"
        }
        2 | 3 => {
            length(wire, random);
            "length"
        }
        4..7 => {
            authorization(wire, random);
            "authorization"
        }
        7 | 8 => {
            header_line(wire, random);
            "header line"
        }
        9..11 => {
            *wire = bytes_damage(wire, random);
            "bytes"
        }
        11 => {
            let end = head_end(wire);
            let head = bytes_damage(&wire[..end], random);
            wire.splice(..end, head);
            "bytes of the head"
        }
        12 => {
            let cut = random.random_range(0..=wire.len());
            wire.truncate(cut);
            "cut short"
        }
        13 | 14 => {
            request.pace = Pace::Slow;
            "slow"
        }
        15 => {
            request.pace = Pace::Cut(random.random_range(0..=1000));
            "closed half way"
        }
        16 => {
            escapes(wire, random);
            "escapes"
        }
        17 if random.random_bool(0.5) => {
            *wire = garbage(random);
            "garbage"
        }
        18 => {
            let next = wire.clone();
            wire.extend(bytes_damage(&next, random));
            "two at once"
        }
        19 => {
            let text = String::from_utf8_lossy(wire).replace("\r\n", pick(&["\n", "\r", "\r\n "], random));
            *wire = text.into_bytes();
            "line ends"
        }
        _ => return,
    };
    request.what.extend([" | ", kind]);
}

fn head_end(wire: &[u8]) -> usize {
    wire.windows(4).position(|window| window == b"\r\n\r\n").map_or(wire.len(), |at| at + 2)
}

fn find(wire: &[u8], text: &[u8]) -> Option<usize> {
    wire.windows(text.len()).position(|window| window == text)
}

fn request_line(wire: &mut Vec<u8>, random: &mut StdRng) {
    let end = wire.iter().position(|byte| *byte == b'\r').unwrap_or(wire.len());
    let line = String::from_utf8_lossy(&wire[..end]).into_owned();
    let mut words = line.split(' ');
    let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let line = match random.random_range(0..16) {
        0 => format!("{} {target} HTTP/1.1", pick(METHODS, random)),
        1 => format!("{method} {target} HTTP/{}", pick(&["1.0", "0.9", "2.0", "3", "9.9", "1.1.1", "", "1,1"], random)),
        2 => format!("{method} {target}"),
        3 => format!("{method}  {target}  HTTP/1.1"),
        4 => format!("{method}\t{target}\tHTTP/1.1"),
        5 => format!("{method} http://<<HOST>>{target} HTTP/1.1"),
        6 => format!("{method} http://user:pass@evil.example:99999{target} HTTP/1.1"),
        7 => format!("{method} * HTTP/1.1"),
        8 => format!("{method} {} HTTP/1.1", target.chars().skip(1).collect::<String>()),
        9 => format!("{method} {target}{} HTTP/1.1", "x".repeat(pick(&LONG, random))),
        10 => format!("{method} {target}#fragment HTTP/1.1"),
        11 => format!("\r\n\r\n{line}"),
        12 => format!("{method} {target}?? HTTP/1.1"),
        13 => format!("{} {target} HTTP/1.1", "M".repeat(pick(&LONG, random))),
        14 => format!("{method} {target}?{} HTTP/1.1", "a=b&".repeat(pick(&[10, 1000, 20_000], random))),
        _ => String::new(),
    };
    wire.splice(..end, line.into_bytes());
}

fn length(wire: &mut Vec<u8>, random: &mut StdRng) {
    let value = pick(
        &[
            "0",
            "1",
            "-1",
            "5",
            "100000",
            "+5",
            "0x5",
            "5, 5",
            "5, 6",
            "",
            "abc",
            "18446744073709551615",
            "18446744073709551616",
            "9223372036854775807",
            "1e3",
            " 5",
            "99999999999",
        ],
        random,
    );
    let Some(at) = find(wire, b"content-length: ").filter(|_| random.random_bool(0.8)) else {
        insert_line(wire, format!("content-length: {value}\r\n").as_bytes());
        return;
    };
    let end = wire[at..].iter().position(|byte| *byte == b'\r').map_or(wire.len(), |end| at + end);
    let line = match random.random_range(0..5) {
        0 => format!("content-length: {value}\r\ncontent-length: {}", pick(&["0", "5", "7"], random)),
        1 => "transfer-encoding: chunked".to_owned(),
        2 => format!(
            "transfer-encoding: {}\r\ncontent-length: {value}",
            pick(&["chunked", "gzip, chunked", "xchunked", "chunked, identity", "\u{b}chunked"], random)
        ),
        3 => format!("expect: 100-continue\r\ncontent-length: {value}"),
        _ => format!("content-length: {value}"),
    };
    wire.splice(at..end, line.into_bytes());
}

fn insert_line(wire: &mut Vec<u8>, line: &[u8]) {
    let at = wire.iter().position(|byte| *byte == b'\n').map_or(wire.len(), |at| at + 1);
    wire.splice(at..at, line.to_vec());
}

fn authorization(wire: &mut Vec<u8>, random: &mut StdRng) {
    const FIELDS: [&str; 3] = ["Credential=", "SignedHeaders=", "Signature="];
    let Some(at) = find(wire, b"authorization: ") else {
        // presigned and unsigned ones get a second way of signing
        let line = format!(
            "authorization: {}\r\n",
            pick(
                &[
                    "AWS <<KEY>>:c2ln",
                    "Bearer x",
                    "",
                    "AWS4-HMAC-SHA256",
                    "AWS4-HMAC-SHA256 Credential=,SignedHeaders=,Signature=",
                    "Basic YTpi"
                ],
                random
            )
        );
        insert_line(wire, line.as_bytes());
        return;
    };
    let end = wire[at + 15..].iter().position(|byte| *byte == b'\r').map_or(wire.len(), |end| at + 15 + end);
    let value = String::from_utf8_lossy(&wire[at + 15..end]).into_owned();
    let (scheme, fields) = value.split_once(' ').unwrap_or((&value, ""));
    let fields: Vec<&str> = fields.split(',').collect();
    let field = pick(&FIELDS, random);
    let new = match random.random_range(0..18) {
        0 => format!(
            "{scheme} {}",
            fields.iter().filter(|own| !own.starts_with(field)).copied().collect::<Vec<_>>().join(",")
        ),
        1 => format!("{scheme} {}", fields.iter().rev().copied().collect::<Vec<_>>().join(", ")),
        2 => format!("{value},{}", fields[random.random_range(0..fields.len())]),
        3 => value.replace(
            "AWS4-HMAC-SHA256",
            pick(&["AWS4-HMAC-SHA1", "AWS4-ECDSA-P256-SHA256", "aws4-hmac-sha256", "", "AWS"], random),
        ),
        4 => value.replace("/auto/", pick(&["/us-east-1/", "/mars/", "//", "/", "/a/b/c/d/"], random)),
        5 => value.replace("/s3/", pick(&["/ec2/", "/sts/", "//"], random)),
        6 => value.replace("<<DAY>>", pick(&["20000101", "99991231", "", "2026", "abcdefgh"], random)),
        7 => value
            .replace("<<KEY>>", pick(&["", "AKIAIOSFODNN7EXAMPLE", "<<KEY>><<KEY>>", "\u{e9}", "0", "a/b/c"], random)),
        8 => value.replace(
            "<<SIGNATURE>>",
            pick(
                &["", "0", "<<SIGNATURE>>0", "zz", "0000000000000000000000000000000000000000000000000000000000000000"],
                random,
            ),
        ),
        9 => value.replace("<<SIGNATURE>>", &"f".repeat(pick(&LONG, random))),
        10 => value.replace(
            "SignedHeaders=",
            pick(
                &["SignedHeaders=;;;", "SignedHeaders=content-length;", "SignedHeaders=a;b;", "SignedHeaders=HOST;"],
                random,
            ),
        ),
        11 => format!("{value}\r\nauthorization: {value}"),
        12 => format!("{value}\r\nauthorization: AWS <<KEY>>:AAAA"),
        13 => value.replace(',', pick(&[" ", ";", ",,", ", , ", "\t"], random)),
        14 => String::new(),
        15 => String::from_utf8_lossy(&bytes_damage(value.as_bytes(), random)).into_owned(),
        16 => value.replace("aws4_request", "aws5_request"),
        _ => "a".repeat(pick(&LONG, random)),
    };
    wire.splice(at + 15..end, new.into_bytes());
}

fn header_line(wire: &mut Vec<u8>, random: &mut StdRng) {
    let name = pick(HEADERS, random);
    let value = odd(random);
    let line = match random.random_range(0..12) {
        0 => [b": ", value.as_slice()].concat(),
        1 => format!("{name} : x").into_bytes(),
        2 => name.as_bytes().to_vec(),
        3 => format!(" {name}: folded").into_bytes(),
        4 => "x-\u{e9}: x".as_bytes().to_vec(),
        5 => format!("{}: x", "x-amz-meta-".repeat(pick(&[10, 1000, 20_000], random))).into_bytes(),
        6 => (0..pick(&[50, 99, 150, 3000], random))
            .map(|n| format!("x-amz-meta-{n}: {n}"))
            .collect::<Vec<_>>()
            .join("\r\n")
            .into_bytes(),
        7 => format!("{name}: a\0b").into_bytes(),
        8 => format!("{name}: a\rb").into_bytes(),
        _ => [name.as_bytes(), b": ", &value].concat(),
    };
    insert_line(wire, &[line.as_slice(), b"\r\n"].concat());
}

fn escapes(wire: &mut Vec<u8>, random: &mut StdRng) {
    let end = wire.iter().position(|byte| *byte == b'\r').unwrap_or(wire.len());
    let from = wire[..end].iter().position(|byte| *byte == b' ').map_or(0, |at| at + 1);
    let at = random.random_range(from.min(end)..=end);
    let escape = pick(
        &[
            "%",
            "%2",
            "%zz",
            "%00",
            "%ff",
            "%c0%af",
            "%25",
            "%2525",
            "%u0041",
            "%0d%0a",
            "%2f",
            "%2F..%2f",
            "%E9",
            "%ED%A0%80",
            "\u{e9}",
            "\"",
            "|",
            "^",
            "{",
            "\\",
        ],
        random,
    );
    wire.splice(at..at, escape.bytes());
}

fn garbage(random: &mut StdRng) -> Vec<u8> {
    let noise: Vec<u8> = (0..random.random_range(0..5000)).map(|_| random.random()).collect();
    match random.random_range(0..8) {
        0 => noise,
        1 => [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".as_slice(), &noise].concat(),
        2 => [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0".as_slice(), &frames(random)].concat(),
        3 => b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".repeat(20),
        4 => b"\0".repeat(pick(&LONG, random)),
        5 => b"\r\n".repeat(pick(&LONG, random)),
        6 => b"GET / HTTP/1.1\r\nhost: <<HOST>>\r\nconnection: Upgrade, HTTP2-Settings\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABkAARAAAAAAAIAAAAA\r\n\r\n".to_vec(),
        _ => [b"GET /fuzz/a HTTP/1.1\r\n".as_slice(), &noise].concat(),
    }
}

/// Frames of HTTP/2 with a right length and anything in them.
fn frames(random: &mut StdRng) -> Vec<u8> {
    let mut frames = Vec::new();
    for _ in 0..random.random_range(1..30) {
        let length = random.random_range(0..60_u8);
        frames.extend([0, 0, length, random.random_range(0..12), random.random(), 0, 0, 0, random.random_range(0..6)]);
        frames.extend((0..length).map(|_| random.random::<u8>()));
    }
    frames
}

#[test]
fn a_request_line_that_is_damaged_already_can_be_damaged_again() {
    use rand::SeedableRng as _;
    for seed in 0..200 {
        let mut wire = b"GET \xff/fuzz/a HTTP/1.1\r\nhost: x\r\n\r\n".to_vec();
        request_line(&mut wire, &mut StdRng::seed_from_u64(seed));
    }
}
