//! What can be wrong with XML and JSON.

use super::words::{DEEP, LONG};
use super::{bytes_damage, odd, pick};
use rand::RngExt as _;
use rand::rngs::StdRng;

/// A piece that is repeated becomes no longer than this: it may be the work of other damage, and long already.
const REPEATED_BYTES_MAX: usize = 4 << 20;

fn again_and_again(piece: &str, times: usize) -> String {
    piece.repeat(times.min(REPEATED_BYTES_MAX / piece.len().max(1)).max(1))
}

/// Damage to XML or JSON.
pub(super) fn document_damage(body: &[u8], random: &mut StdRng) -> Vec<u8> {
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
        1 => with(&again_and_again(&format!("<{root}>"), deep)),
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
            format!("{before}{}{after}", again_and_again(&after[..end], pick(&[2, 100, 5000, 100_000], random)))
                .into_bytes()
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

#[test]
fn damaged_documents_stay_small_enough_to_send() {
    use rand::SeedableRng as _;
    for seed in 0..500 {
        let mut random = StdRng::seed_from_u64(seed);
        let mut document = b"<a><b>c</b></a>".to_vec();
        for _ in 0..3 {
            document = document_damage(&document, &mut random);
            assert!(document.len() < 16 << 20, "seed {seed}: {} bytes", document.len());
            if document.is_empty() {
                break;
            }
        }
    }
}
