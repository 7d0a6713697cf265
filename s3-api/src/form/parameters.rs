//! Headers with parameters, as in `form-data; name="file"; filename="a.txt"`, read as browsers and SDKs write them.

/// The most parameters of a header.
const PARAMETERS_MAX: usize = 16;

/// A header's first word and its parameters.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Parameters<'a> {
    kind: &'a str,
    /// Names are lower-case, none comes twice.
    pairs: Vec<(String, String)>,
}

impl<'a> Parameters<'a> {
    /// Reads a header's value; `None` when it is malformed.
    ///
    /// In quotes a backslash escapes a quote or a backslash only, so that `C:\folder\file` stays what it is. `%22`,
    /// which browsers write for a quote, is left alone: the file may be called that.
    pub(super) fn parse(text: &'a str) -> Option<Self> {
        let (kind, mut rest) = text.split_at(text.find(';').unwrap_or(text.len()));
        let mut pairs: Vec<(String, String)> = Vec::new();
        loop {
            rest = rest.trim_start();
            if rest.is_empty() {
                return Some(Self { kind: kind.trim(), pairs });
            }
            rest = rest.strip_prefix(';')?.trim_start();
            if rest.is_empty() {
                continue;
            }
            let (name, after) = rest.split_once('=')?;
            let (name, after) = (name.trim_end().to_ascii_lowercase(), after.trim_start());
            let is_known = pairs.iter().any(|(own, _)| *own == name);
            if !is_token(&name) || is_known || pairs.len() == PARAMETERS_MAX {
                return None;
            }
            let (value, after) = match after.strip_prefix('"') {
                Some(quoted) => unquote(quoted)?,
                None => bare(after),
            };
            pairs.push((name, value));
            rest = after;
        }
    }

    /// The first word.
    pub(super) fn kind(&self) -> &'a str {
        self.kind
    }

    /// The value of the parameter `name`, which is lower-case.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.pairs.iter().find(|(own, _)| own == name).map(|(_, value)| value.as_str())
    }

    /// The same, from `name*` where that can be read: `UTF-8''%e2%82%ac` (RFC 8187).
    pub(super) fn text(&self, name: &str) -> Option<String> {
        let extended = self.get(&format!("{name}*")).and_then(decode_extended);
        extended.or_else(|| self.get(name).map(str::to_owned))
    }
}

fn is_token(text: &str) -> bool {
    let special = |byte| b"\"(),/:;<=>?@[\\]{}".contains(&byte);
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic() && !special(byte))
}

/// A value without quotes, and what follows it.
fn bare(text: &str) -> (String, &str) {
    let (value, after) = text.split_at(text.find([';', ' ', '\t']).unwrap_or(text.len()));
    (value.to_owned(), after)
}

/// A value whose opening quote is passed, and what follows its closing one.
fn unquote(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut letters = text.char_indices().peekable();
    while let Some((at, letter)) = letters.next() {
        match letter {
            '"' => return Some((value, &text[at + 1..])),
            '\\' => {
                let escaped = letters.next_if(|(_, next)| matches!(next, '"' | '\\'));
                value.push(escaped.map_or('\\', |(_, next)| next));
            }
            _ => value.push(letter),
        }
    }
    None
}

/// `charset'language'percent-coded`, in UTF-8 or Latin-1.
fn decode_extended(text: &str) -> Option<String> {
    let mut parts = text.splitn(3, '\'');
    let (charset, _language, coded) = (parts.next()?, parts.next()?, parts.next()?);
    let bytes = percent_decode(coded)?;
    if charset.eq_ignore_ascii_case("utf-8") {
        String::from_utf8(bytes).ok()
    } else {
        charset.eq_ignore_ascii_case("iso-8859-1").then(|| bytes.into_iter().map(char::from).collect())
    }
}

fn percent_decode(text: &str) -> Option<Vec<u8>> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        let mut digit = || char::from(bytes.next()?).to_digit(16);
        match byte {
            b'%' => decoded.push(u8::try_from(digit()? * 16 + digit()?).ok()?),
            _ => decoded.push(byte),
        }
    }
    Some(decoded)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `file_name` is that of `form-data; name=x; ` and `parameters`; `malformed` when they are.
    #[track_caller]
    fn check(parameters: &str, file_name: Option<&str>) {
        let text = format!("form-data; name=x; {parameters}");
        let read = Parameters::parse(&text).map(|read| read.text("filename"));
        assert_eq!(read.unwrap_or(Some("malformed".into())).as_deref(), file_name, "{text}");
    }

    #[test]
    fn values_come_bare_quoted_and_escaped() {
        check("", None);
        check("filename=a.txt", Some("a.txt"));
        check("FileName = a.txt ; x=y", Some("a.txt"));
        check("filename=\"a;b c.txt\";", Some("a;b c.txt"));
        check("filename=\"a\\\"b\\\\c.txt\"", Some("a\"b\\c.txt"));
        check("filename=\"C:\\temp\\new.txt\"", Some("C:\\temp\\new.txt"));
        check("filename=\"%22a%0A.txt\"", Some("%22a%0A.txt"));
        check("filename=\"ä€.txt\"", Some("ä€.txt"));
        check("filename=\"\"", Some(""));
    }

    #[test]
    fn the_extended_value_wins_where_it_can_be_read() {
        check("filename=\"e.txt\"; filename*=UTF-8''%e2%82%ac.txt", Some("€.txt"));
        check("filename*=utf-8'en'a%20b", Some("a b"));
        check("filename*=ISO-8859-1''%e4.txt", Some("ä.txt"));
        for broken in ["UTF-8''%ff", "UTF-8''%e", "UTF-8''%zz", "KOI8-R''a", "plain"] {
            check(&format!("filename=\"e.txt\"; filename*={broken}"), Some("e.txt"));
        }
    }

    #[test]
    fn malformed_parameters_are_noticed() {
        let many: Vec<_> = (0..PARAMETERS_MAX).map(|n| format!("p{n}=1;")).collect();
        for broken in
            ["filename", "filename=\"a", "filename=\"a\"b", "filename=a b", "=a", "f n=a", "NAME=y", &many.concat()]
        {
            check(broken, Some("malformed"));
        }
    }
}
