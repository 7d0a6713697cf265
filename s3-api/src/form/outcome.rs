//! What a successful upload is answered with: a status, or a redirect to where the form says.

use super::Fields;
use crate::query::encode_part;
use crate::xml_text::escape;
use http::header::{CONTENT_TYPE, ETAG, HeaderName, LOCATION};
use http::{HeaderValue, Response, StatusCode, Uri};

/// What the form asks for in case of success.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SuccessAction<'a> {
    /// 200, 201 or 204.
    Status(StatusCode),
    /// 303 to this URL of `http` or `https`.
    Redirect(&'a str),
}

/// What was stored.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Uploaded<'a> {
    /// Where it is, as the client finds it.
    pub(crate) object_url: &'a str,
    /// The bucket.
    pub(crate) bucket: &'a str,
    /// The key, the file's name put in.
    pub(crate) key: &'a str,
    /// In quotes.
    pub(crate) etag: &'a str,
}

impl<'a> SuccessAction<'a> {
    /// Reads `success_action_redirect`, or `redirect` as it was called once; where that is no URL, it is as if it had
    /// not come. Then `success_action_status`; where that is none of the three, 204.
    pub(crate) fn of(fields: &'a Fields) -> Self {
        let redirect = ["success_action_redirect", "redirect"].iter().find_map(|name| fields.get(name));
        if let Some(url) = redirect.filter(|url| is_web_url(url)) {
            return Self::Redirect(url);
        }
        Self::Status(match fields.get("success_action_status") {
            Some("200") => StatusCode::OK,
            Some("201") => StatusCode::CREATED,
            _ => StatusCode::NO_CONTENT,
        })
    }

    /// The answer to an upload, complete but for the ids. Only 201 has a body.
    pub(crate) fn answer(&self, uploaded: &Uploaded<'_>) -> Response<String> {
        let object_url = || uploaded.object_url.to_owned();
        let (status, location, body) = match *self {
            Self::Redirect(url) => (StatusCode::SEE_OTHER, redirect_location(url, uploaded), String::new()),
            Self::Status(StatusCode::CREATED) => (StatusCode::CREATED, object_url(), post_response(uploaded)),
            Self::Status(status) => (status, object_url(), String::new()),
        };
        let mut answer = Response::new(body);
        *answer.status_mut() = status;
        let mut insert = |name: HeaderName, value: &str| {
            // What cannot be a header's value came from elsewhere than a form; the upload is done without it.
            HeaderValue::from_str(value).ok().and_then(|value| answer.headers_mut().insert(name, value));
        };
        insert(LOCATION, &location);
        insert(ETAG, uploaded.etag);
        if status == StatusCode::CREATED {
            insert(CONTENT_TYPE, "application/xml");
        }
        answer
    }
}

fn is_web_url(text: &str) -> bool {
    let scheme_is = |scheme: &str| text.get(..scheme.len()).is_some_and(|own| own.eq_ignore_ascii_case(scheme));
    let fits_header = text.bytes().all(|byte| byte.is_ascii_graphic());
    fits_header && (scheme_is("http://") || scheme_is("https://")) && text.parse::<Uri>().is_ok()
}

/// `url` with `bucket`, `key` and `etag` added to its query.
fn redirect_location(url: &str, uploaded: &Uploaded<'_>) -> String {
    let (url, fragment) = url.split_at(url.find('#').unwrap_or(url.len()));
    let joint = match url.split_once('?') {
        None => "?",
        Some((_, query)) if query.is_empty() || query.ends_with('&') => "",
        Some(_) => "&",
    };
    let (bucket, key, etag) = (encode_part(uploaded.bucket), encode_part(uploaded.key), encode_part(uploaded.etag));
    format!("{url}{joint}bucket={bucket}&key={key}&etag={etag}{fragment}")
}

fn post_response(uploaded: &Uploaded<'_>) -> String {
    let (location, bucket) = (escape(uploaded.object_url), escape(uploaded.bucket));
    let (key, etag) = (escape(uploaded.key), escape(uploaded.etag));
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<PostResponse><Location>{location}</Location>\
         <Bucket>{bucket}</Bucket><Key>{key}</Key><ETag>{etag}</ETag></PostResponse>"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const UPLOADED: Uploaded<'_> =
        Uploaded { object_url: "http://host:9000/b/a%20b", bucket: "b", key: "a b/ä&<1>.txt", etag: "\"0f\"" };

    #[track_caller]
    fn check_action(fields: &[(&str, &str)], expected: SuccessAction<'_>) {
        assert_eq!(SuccessAction::of(&Fields::of(fields)), expected, "{fields:?}");
    }

    #[test]
    fn a_status_is_one_of_three() {
        let status = |code| SuccessAction::Status(StatusCode::from_u16(code).unwrap());
        check_action(&[], status(204));
        for (given, code) in [("200", 200), ("201", 201), ("204", 204), ("404", 204), ("", 204), ("x", 204)] {
            check_action(&[("success_action_status", given)], status(code));
        }
    }

    #[test]
    fn a_redirect_that_is_a_url_wins() {
        let url = "https://example.com/done?x=1";
        check_action(
            &[("success_action_redirect", url), ("success_action_status", "201")],
            SuccessAction::Redirect(url),
        );
        check_action(&[("redirect", url)], SuccessAction::Redirect(url));
        check_action(
            &[("redirect", "http://old"), ("success_action_redirect", "HTTP://new")],
            SuccessAction::Redirect("HTTP://new"),
        );
        for bad in [
            "",
            "/done",
            "example.com",
            "javascript:alert(1)",
            "http://",
            "http://a b",
            "http://a/ä",
            "http://a\r\nX: y",
        ] {
            let fields = [("success_action_redirect", bad), ("success_action_status", "200")];
            check_action(&fields, SuccessAction::Status(StatusCode::OK));
        }
    }

    #[test]
    fn a_redirect_carries_what_was_stored() {
        let tail = "bucket=b&key=a%20b%2F%C3%A4%26%3C1%3E.txt&etag=%220f%22";
        for (url, location) in [
            ("http://x/y", format!("http://x/y?{tail}")),
            ("http://x/y?z=1", format!("http://x/y?z=1&{tail}")),
            ("http://x/y?", format!("http://x/y?{tail}")),
            ("http://x/y?z&", format!("http://x/y?z&{tail}")),
            ("http://x/y#z", format!("http://x/y?{tail}#z")),
        ] {
            let answer = SuccessAction::Redirect(url).answer(&UPLOADED);
            assert_eq!((answer.status().as_u16(), answer.body().as_str()), (303, ""));
            assert_eq!(answer.headers()["location"], location);
        }
    }

    #[test]
    fn a_status_is_answered_with_location_and_tag_and_201_with_xml() {
        let url = UPLOADED.object_url;
        for code in [200, 201, 204] {
            let answer = SuccessAction::Status(StatusCode::from_u16(code).unwrap()).answer(&UPLOADED);
            assert_eq!(answer.status().as_u16(), code);
            assert_eq!(answer.headers()["location"], url);
            assert_eq!(answer.headers()["etag"], "\"0f\"");
            assert_eq!(answer.headers().contains_key("content-type"), code == 201);
            let xml = format!(
                "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<PostResponse><Location>{url}</Location><Bucket>b</Bucket>\
                 <Key>a b/ä&amp;&lt;1&gt;.txt</Key><ETag>&quot;0f&quot;</ETag></PostResponse>"
            );
            assert_eq!(answer.body(), if code == 201 { &xml } else { "" });
        }
        let odd = Uploaded { object_url: "http://h\n", key: "\u{1}", ..UPLOADED };
        let answer = SuccessAction::Status(StatusCode::CREATED).answer(&odd);
        assert!(!answer.headers().contains_key("location") && answer.body().contains("<Key>&#x1;</Key>"));
    }
}
