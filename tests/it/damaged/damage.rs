//! What can be wrong with a request: before it is signed, so that it gets past the signature, and after.

use super::request::{Lines, Pace, Request};
use super::valid::Plain;
use rand::RngExt as _;
use rand::rngs::StdRng;

const LONG: [usize; 6] = [300, 1025, 5000, 20_000, 140_000, 400_000];
const DEEP: [usize; 4] = [20, 300, 10_000, 200_000];

/// Values that are odd in most places.
const ODD_VALUES: &[&[u8]] = &[
    b"",
    b" ",
    b"-1",
    b"0",
    b"1",
    b"9223372036854775807",
    b"9223372036854775808",
    b"18446744073709551615",
    b"18446744073709551616",
    b"99999999999999999999999999",
    b"1e400",
    b"NaN",
    b"+5",
    b"0x10",
    b"10.5",
    b"true",
    b"TRUE",
    b"null",
    b"None",
    b"*",
    b",",
    b";",
    b"\"",
    b"\"\"",
    b"a,b,,c",
    b"=",
    b"&",
    b"%",
    b"%00",
    b"%zz",
    b"../../etc/passwd",
    b"/",
    b"//",
    b"\xff\xfe",
    b"\xc3\x28",
    b"\xed\xa0\x80",
    b"\xf0\x9f\x98\x80",
    b"\xc3\xbc",
    b"=?UTF-8?B?/w==?=",
    b"=?UTF-8?Q?=FF=?=",
    b"=?utf-8?b?",
    b"\t",
    b"a\tb",
    b"\x7f",
    b"2026-13-45T99:99:99Z",
    b"Thu, 99 Foo 9999 99:99:99 GMT",
    b"0000-00-00T00:00:00Z",
    b"9999-12-31T23:59:59.999999999999Z",
    b"-262144-01-01T00:00:00Z",
    b"+1000000-01-01T00:00:00Z",
    b"bytes=0-",
    b"bytes=-0",
    b"bytes=5-1",
    b"bytes=0-0,2-3,5-9",
    b"bytes=18446744073709551615-",
    b"bytes=-18446744073709551616",
    b"bytes=a-b",
    b"items=0-1",
    b"W/\"a\"",
    b"\"a\", \"b\"",
    b"<script>",
    b"a\xc2\xa0b",
    b"AES256",
    b"aws:kms",
    b"COPY",
    b"REPLACE",
    b"GOVERNANCE",
    b"COMPLIANCE",
    b"public-read-write",
    b"id=\"1\"",
    b"uri=\"http://acs.amazonaws.com/groups/global/AllUsers\"",
    b"STANDARD",
    b"GLACIER",
    b"SHA256",
    b"CRC64NVME",
    b"COMPOSITE",
    b"/fuzz/dir/big",
    b"fuzz/a?versionId=",
    b"/fuzz/%",
    b"/fuzz",
    b"arn:aws:s3:::fuzz/a",
    b"a=1&a=2",
    b"a=%ff",
    b"a",
    b"MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=",
    b"AAAA",
    b"====",
    b"gzip",
    b"chunked",
    b"aws-chunked,gzip",
    b"<<VERSION>>",
    b"<<UPLOAD>>",
];

const HEADERS: &[&str] = &[
    "x-amz-acl",
    "x-amz-grant-read",
    "x-amz-grant-full-control",
    "x-amz-copy-source",
    "x-amz-copy-source-range",
    "x-amz-copy-source-if-match",
    "x-amz-copy-source-if-none-match",
    "x-amz-copy-source-if-modified-since",
    "x-amz-copy-source-if-unmodified-since",
    "x-amz-metadata-directive",
    "x-amz-tagging-directive",
    "x-amz-tagging",
    "x-amz-storage-class",
    "x-amz-server-side-encryption",
    "x-amz-server-side-encryption-aws-kms-key-id",
    "x-amz-server-side-encryption-context",
    "x-amz-server-side-encryption-bucket-key-enabled",
    "x-amz-server-side-encryption-customer-algorithm",
    "x-amz-server-side-encryption-customer-key",
    "x-amz-server-side-encryption-customer-key-md5",
    "x-amz-copy-source-server-side-encryption-customer-algorithm",
    "x-amz-copy-source-server-side-encryption-customer-key",
    "x-amz-copy-source-server-side-encryption-customer-key-md5",
    "x-amz-object-lock-mode",
    "x-amz-object-lock-retain-until-date",
    "x-amz-object-lock-legal-hold",
    "x-amz-bypass-governance-retention",
    "x-amz-checksum-algorithm",
    "x-amz-sdk-checksum-algorithm",
    "x-amz-checksum-type",
    "x-amz-checksum-crc32",
    "x-amz-checksum-crc32c",
    "x-amz-checksum-crc64nvme",
    "x-amz-checksum-sha1",
    "x-amz-checksum-sha256",
    "x-amz-checksum-mode",
    "x-amz-object-attributes",
    "x-amz-max-parts",
    "x-amz-part-number-marker",
    "x-amz-mp-object-size",
    "x-amz-expected-bucket-owner",
    "x-amz-source-expected-bucket-owner",
    "x-amz-request-payer",
    "x-amz-website-redirect-location",
    "x-amz-mfa",
    "x-amz-write-offset-bytes",
    "x-amz-decoded-content-length",
    "x-amz-trailer",
    "x-amz-security-token",
    "x-amz-content-sha256",
    "x-amz-date",
    "x-amz-meta-",
    "x-amz-meta-a",
    "x-amz-meta-a b",
    "x-amz-object-ownership",
    "x-amz-bucket-object-lock-enabled",
    "x-amz-optional-object-attributes",
    "x-amz-rename-source",
    "x-amz-transition-default-minimum-object-size",
    "x-amz-missing-meta",
    "x-amz-if-match-size",
    "x-amz-if-match-last-modified-time",
    "cf-create-bucket-if-missing",
    "cf-copy-destination-if-match",
    "cf-copy-destination-if-none-match",
    "cf-copy-destination-if-modified-since",
    "cf-copy-destination-if-unmodified-since",
    "cf-max-buckets",
    "cf-r2-storage-class",
    "cf-r2-jurisdiction",
    "range",
    "if-match",
    "if-none-match",
    "if-modified-since",
    "if-unmodified-since",
    "if-range",
    "content-type",
    "content-md5",
    "content-encoding",
    "content-language",
    "content-disposition",
    "cache-control",
    "expires",
    "date",
    "host",
    "origin",
    "access-control-request-method",
    "access-control-request-headers",
    "referer",
    "user-agent",
    "cookie",
    "accept-encoding",
    "te",
    "connection",
    "upgrade",
    "expect",
    "transfer-encoding",
    "trailer",
    "x-forwarded-for",
    "x-http-method-override",
    "http2-settings",
    "authorization",
    "content-length",
];

const QUERIES: &[&str] = &[
    "abac",
    "accelerate",
    "acl",
    "analytics",
    "append",
    "attributes",
    "cors",
    "delete",
    "encryption",
    "events",
    "intelligent-tiering",
    "inventory",
    "legal-hold",
    "lifecycle",
    "location",
    "logging",
    "metadata",
    "metrics",
    "notification",
    "object-lock",
    "ownershipControls",
    "partNumber",
    "policy",
    "policyStatus",
    "position",
    "publicAccessBlock",
    "renameObject",
    "replication",
    "requestPayment",
    "restore",
    "retention",
    "select",
    "select-type",
    "session",
    "tagging",
    "torrent",
    "uploadId",
    "uploads",
    "versionId",
    "versioning",
    "versions",
    "website",
    "list-type",
    "prefix",
    "delimiter",
    "marker",
    "max-keys",
    "max-uploads",
    "max-parts",
    "max-buckets",
    "key-marker",
    "version-id-marker",
    "upload-id-marker",
    "part-number-marker",
    "continuation-token",
    "start-after",
    "encoding-type",
    "fetch-owner",
    "id",
    "x-id",
    "response-content-type",
    "response-content-disposition",
    "response-expires",
    "response-cache-control",
    "X-Amz-Expires",
    "X-Amz-Date",
    "X-Amz-Credential",
    "X-Amz-Signature",
    "X-Amz-Algorithm",
    "X-Amz-SignedHeaders",
    "X-Amz-Security-Token",
    "Signature",
    "AWSAccessKeyId",
    "Expires",
    "per_page",
    "page",
    "cursor",
    "mode",
    "name_contains",
    "",
    "%",
    "\u{e9}",
];

const METHODS: &[&str] = &[
    "GET",
    "PUT",
    "POST",
    "DELETE",
    "HEAD",
    "OPTIONS",
    "PATCH",
    "TRACE",
    "CONNECT",
    "get",
    "PROPFIND",
    "LOCK",
    "M-SEARCH",
    "PRI",
    "XXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXX",
];

const KEYS: &[&[u8]] = &[
    b"/fuzz/..",
    b"/fuzz/../canary/canary 0",
    b"/fuzz/./a",
    b"/fuzz//",
    b"/fuzz//a",
    b"/fuzz/a/",
    b"/fuzz/\x00",
    b"/fuzz/a\x00b",
    b"/fuzz/\xff",
    b"/fuzz/\xc0\xaf",
    b"/fuzz/\xed\xa0\x80",
    b"/fuzz/%2e%2e",
    b"/fuzz/\r\n",
    b"/fuzz/<&>\"'",
    b"/fuzz/?",
    b"/fuzz/#",
    b"/fuzz/\\",
    b"/fuzz/a b+c",
    b"//",
    b"//fuzz/a",
    b"/FUZZ/a",
    b"/fu",
    b"/fuzz./a",
    b"/.",
    b"/..",
    b"/fuzz\x00/a",
    b"/fuzz/\xef\xbf\xbe\xef\xbf\xbf",
    b"/fuzz/\x01\x02\x1f",
    b"/fuzz/\xe2\x80\xae",
    b"/fuzz/ ",
    b"/-/a",
    b"/fuzz-none/a",
    b"/client/v4",
    b"/clicks/",
    b"/clicks/x",
    b"/canary/canary 0",
    b"/canary",
    b"/events",
    b"*",
];

/// What is done to the framing of chunks.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct ChunkDamage {
    /// Which, 0 for none.
    kind: usize,
    /// To which chunk.
    chunk: usize,
}

impl ChunkDamage {
    fn any(random: &mut StdRng) -> Self {
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
pub(crate) fn before_signing(plain: &mut Plain, random: &mut StdRng) -> ChunkDamage {
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
        0..4 => {
            header_value(plain, random);
            "header value"
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

/// Damage to XML or JSON.
fn document_damage(body: &[u8], random: &mut StdRng) -> Vec<u8> {
    let text = String::from_utf8_lossy(body).into_owned();
    if !text.starts_with('<') {
        return json_damage(&text, random);
    }
    let deep = pick(&DEEP, random);
    let open_end = text.find(['>', ' ', '/']).unwrap_or(1);
    let root = text[1..open_end].to_owned();
    let values: Vec<usize> = text.match_indices('>').map(|(at, _)| at + 1).filter(|at| *at < text.len()).collect();
    let at = if values.is_empty() { text.len() } else { values[random.random_range(0..values.len())] };
    let (before, after) = text.split_at(at);
    let with = |inserted: &str| format!("{before}{inserted}{after}").into_bytes();
    match random.random_range(0..26) {
        0 => with(&format!("{}{}", "<a>".repeat(deep), "</a>".repeat(deep))),
        1 => with(&format!("<{root}>").repeat(deep)),
        2 => format!("<!DOCTYPE r [<!ENTITY a \"b\">]>{before}&a;{after}").into_bytes(),
        3 => {
            let lines = (1..10).map(|n| format!("<!ENTITY e{n} \"{}\">", format!("&e{};", n - 1).repeat(10)));
            let lines: String = lines.collect();
            format!("<!DOCTYPE r [<!ENTITY e0 \"lol\">{lines}]>{before}&e9;{after}").into_bytes()
        }
        4 => format!("<!DOCTYPE r [<!ENTITY x SYSTEM \"file:///etc/passwd\">]>{before}&x;{after}").into_bytes(),
        5 => with(pick(
            &[
                "&#0;",
                "&#x110000;",
                "&#xD800;",
                "&#99999999999;",
                "&#x;",
                "&;",
                "&amp",
                "&unknown;",
                "&#xFFFE;",
                "&#-1;",
            ],
            random,
        )),
        6 => {
            with(pick(&["<![CDATA[", "<![CDATA[]]>", "<![CDATA[<a>]]>", "<![CDATA[]]]]><![CDATA[>]]>", "]]>"], random))
        }
        7 => with("<![CDATA[x]]>").repeat(1),
        8 => format!("<{root} a=\"{}\">{}", "b".repeat(pick(&LONG, random)), &text[open_end..]).into_bytes(),
        9 => text.as_bytes()[..random.random_range(0..text.len())].to_vec(),
        10 => text.replace(&root, "Other").into_bytes(),
        11 => [b"\xef\xbb\xbf", text.as_bytes()].concat(),
        12 => text.encode_utf16().flat_map(u16::to_le_bytes).collect(),
        13 => with("<?xml version=\"1.0\"?>"),
        14 => format!("<?xml version=\"9.9\" encoding=\"{}\"?>{text}", pick(&["UTF-16", "latin1", "", "x"], random))
            .into_bytes(),
        15 => with(pick(
            &[
                "<!-- ",
                "<!-- a -->",
                "<!-- -- -->",
                "<?",
                "<?pi ?>",
                "<!",
                "</",
                "<",
                ">",
                "<a",
                "<a b",
                "<a b=",
                "<a b='",
                "<:a/>",
                "<a:b/>",
            ],
            random,
        )),
        16 => {
            // one element again and again
            let end = after.find('>').map_or(after.len(), |end| end + 1);
            format!("{before}{}{after}", after[..end].repeat(pick(&[2, 100, 5000, 100_000], random))).into_bytes()
        }
        17 => {
            let end = after.find('<').unwrap_or(after.len());
            let value = odd(random);
            [before.as_bytes(), &value, &after.as_bytes()[end..]].concat()
        }
        18 => Vec::new(),
        19 => format!("<{root}/>").into_bytes(),
        20 => format!("{text}{text}").into_bytes(),
        21 => with(&" ".repeat(pick(&LONG, random))),
        22 => with(&"x".repeat(pick(&LONG, random))),
        23 => format!("<{root} {}>{}", "a=\"1\" ".repeat(pick(&[2, 1000, 30_000], random)), &text[open_end..])
            .into_bytes(),
        24 => text.replace('<', "<x:").replace("<x:/", "</x:").into_bytes(),
        _ => bytes_damage(body, random),
    }
}

fn json_damage(text: &str, random: &mut StdRng) -> Vec<u8> {
    let deep = pick(&DEEP, random);
    let places: Vec<usize> = text.match_indices([':', ',', '[', '{']).map(|(at, _)| at + 1).collect();
    let at = if places.is_empty() { text.len() } else { places[random.random_range(0..places.len())] };
    let (before, after) = text.split_at(at);
    let end = after.find([',', '}', ']']).unwrap_or(after.len());
    let instead = |value: &str| format!("{before}{value}{}", &after[end..]).into_bytes();
    match random.random_range(0..16) {
        0 => instead(&format!("{}{}", "[".repeat(deep), "]".repeat(deep))),
        1 => instead(&"[".repeat(deep)),
        2 => instead(&format!("{}1{}", "{\"a\":".repeat(deep), "}".repeat(deep))),
        3 => instead(pick(
            &[
                "1e400",
                "-1e-400",
                "-",
                "01",
                "1.",
                "NaN",
                "Infinity",
                "99999999999999999999999999999999999999999",
                "-1",
                "0",
            ],
            random,
        )),
        4 => instead(pick(&["\"\\ud800\"", "\"\\u0000\"", "\"\\x\"", "\"", "'a'", "\"\u{0}\"", "\"\n\""], random)),
        5 => instead(pick(&["null", "true", "{}", "[]", "\"\"", "[null]", "{\"\":{}}"], random)),
        6 => instead(&format!("\"{}\"", "a".repeat(pick(&LONG, random)))),
        7 => text.as_bytes()[..random.random_range(0..text.len())].to_vec(),
        8 => format!("{text}{text}").into_bytes(),
        9 => text.replacen('{', "{\"name\":1,\"name\":2,", 1).into_bytes(),
        10 => text.replacen('{', "{\"unknown\":{},", 1).into_bytes(),
        11 => [b"\xef\xbb\xbf", text.as_bytes()].concat(),
        12 => instead(&format!("[{}1]", "1,".repeat(pick(&[100, 100_000], random)))),
        13 => {
            let value = odd(random);
            [before.as_bytes(), b"\"", &value, b"\"", &after.as_bytes()[end..]].concat()
        }
        14 => format!("{{{}}}", (0..5000).map(|n| format!("\"k{n}\":{n}")).collect::<Vec<_>>().join(",")).into_bytes(),
        _ => bytes_damage(text.as_bytes(), random),
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

/// Damage to what is on the wire.
pub(crate) fn on_the_wire(request: &mut Request, random: &mut StdRng) {
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
        8 => format!("{method} {} HTTP/1.1", &target[1.min(target.len())..]),
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

/// A request as a file keeps it, with a name for what was done to it.
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
    request.wire = Lines(std::mem::take(&mut request.wire.0));
    request
}
