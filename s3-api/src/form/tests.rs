//! Forms as bytes, cut in every way; and the essence of the form tests of ceph/s3-tests, judged by all the modules.

use super::*;
use crate::error_map::forms::{code_of_field, code_of_form, code_of_form_body, code_of_form_signature, code_of_policy};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use cistern_types::Timestamp;
use futures::executor::block_on;
use futures::stream;
use hmac::digest::KeyInit;
use hmac::{Hmac, Mac};
use proptest::prelude::*;
use std::io;

const CONTENT_TYPE: &str = "multipart/form-data; boundary=bnd";

type Pieces = stream::Iter<std::vec::IntoIter<Result<Bytes, StdError>>>;

/// `body`, cut at these places.
fn cut(body: &[u8], cuts: &[usize]) -> Pieces {
    let mut cuts: Vec<_> = cuts.iter().map(|at| at % (body.len() + 1)).chain([0, body.len()]).collect();
    cuts.sort_unstable();
    let piece = |ends: &[usize]| Ok(Bytes::copy_from_slice(&body[ends[0]..ends[1]]));
    stream::iter(cuts.windows(2).map(piece).collect::<Vec<_>>())
}

fn read(body: &[u8], cuts: &[usize]) -> Result<Form<Pieces>, FormError> {
    block_on(read_form(&HeaderValue::from_static(CONTENT_TYPE), cut(body, cuts)))
}

/// The file's bytes. Nothing follows them, or the error.
fn drain<S>(mut file: FileBody<S>) -> Result<Vec<u8>, FormBodyError>
where
    S: Stream<Item = Result<Bytes, StdError>> + Unpin,
{
    block_on(async {
        let mut bytes = Ok(Vec::new());
        while let Some(piece) = file.next().await {
            match (&mut bytes, piece) {
                (Ok(gathered), Ok(piece)) => gathered.extend_from_slice(&piece),
                (Ok(_), Err(error)) => bytes = Err(error),
                (Err(error), _) => panic!("something follows {error}"),
            }
        }
        assert!(file.next().await.is_none());
        bytes
    })
}

/// Everything a form says: fields and file; or the error's name.
type Said = Result<(Vec<(String, String)>, Vec<u8>), String>;

fn said(body: &[u8], cuts: &[usize]) -> Said {
    let name = |error: &dyn fmt::Debug| format!("{error:?}");
    let form = read(body, cuts).map_err(|error| name(&error))?;
    let file = drain(form.file).map_err(|error| name(&error))?;
    Ok((form.fields.0, file))
}

/// A form with these fields in front of the file, and what is given after its name.
fn form(fields: &[(&str, &str)], file_parameters: &str, file: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    for (name, value) in fields {
        let part = format!("--bnd\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n");
        body.extend_from_slice(part.as_bytes());
    }
    let head = format!("--bnd\r\nContent-Disposition: form-data; name=\"file\"{file_parameters}\r\n\r\n");
    [&body, head.as_bytes(), file, b"\r\n--bnd--\r\n"].concat()
}

fn pairs(fields: &[(&str, &str)]) -> Vec<(String, String)> {
    fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

const WHOLE: &[u8] = b"preamble --bnd\r\n--bn\r\n\
    --bnd \t\r\nContent-Disposition: form-data; name=\"KEY\"; filename=\"x\"\r\nContent-Type: text/plain\r\n\r\n\
    a\r\n--bn\r\r\n-\r\n\
    --bnd\r\ncontent-disposition:form-data;name=acl\r\n\r\n\r\n\
    --bnd\r\nCONTENT-DISPOSITION: FORM-DATA; NAME=file; FILENAME=\"C:\\dir\\a.txt\"\r\nContent-Type: text/x\r\n\
    X-Other: y\r\n\r\n\
    \r\n--bnx\r\n--bn\r\r\n\r\n\
    --bnd\r\nContent-Disposition: form-data; name=\"submit\"\r\n\r\nUpload\r\n\
    --bnd\r\n\r\n--bnd--\r\nend";

#[test]
fn a_form_says_the_same_however_it_is_cut() {
    let fields = pairs(&[("key", "a\r\n--bn\r\r\n-"), ("acl", "")]);
    let file = b"\r\n--bnx\r\n--bn\r\r\n".to_vec();
    let expected: Said = Ok((fields, file));
    for first in 0..=WHOLE.len() {
        assert_eq!(said(WHOLE, &[first]), expected, "cut at {first}");
    }
    assert_eq!(said(WHOLE, &(0..WHOLE.len()).collect::<Vec<_>>()), expected, "byte by byte");
}

#[test]
fn a_form_that_ends_before_its_closing_boundary_is_an_error() {
    let close = WHOLE.len() - b"\r\nend".len();
    for end in 0..=WHOLE.len() {
        assert_eq!(said(&WHOLE[..end], &[]).is_ok(), end >= close, "cut off at {end}");
    }
}

proptest! {
    #[test]
    fn any_file_comes_back_in_any_pieces(
        words in prop::collection::vec(
            prop::sample::select(vec!["\r", "\n", "-", "--", "\r\n--bn", "\r\n--", "bn", "\r\n", "x", "\0"]), 0..24),
        cuts in prop::collection::vec(any::<usize>(), 0..12),
    ) {
        let file = words.concat();
        let body = form(&[("key", "k")], "", file.as_bytes());
        prop_assert_eq!(said(&body, &cuts), Ok((pairs(&[("key", "k")]), file.into_bytes())));
    }

    #[test]
    fn any_bytes_are_read_alike_in_any_pieces_and_nothing_panics(
        words in prop::collection::vec(prop::sample::select(vec![
            "\r\n", "--bnd", "--", "\r", "\n", "Content-Disposition: form-data; name=\"file\"", "; name=a", "\r\n\r\n",
            "Content-Disposition: form-data", "\"", ";", "=", ":", " ", "filename*=UTF-8''%e4", "ä", "${filename}", "x",
        ]), 0..40),
        cuts in prop::collection::vec(any::<usize>(), 0..12),
    ) {
        let body = words.concat();
        for body in [body.clone(), format!("--bnd\r\nContent-Disposition: form-data; name=\"file\"\r\n\r\n{body}")] {
            prop_assert_eq!(said(body.as_bytes(), &cuts), said(body.as_bytes(), &[]));
        }
    }
}

#[test]
fn long_files_pass_as_the_pieces_they_came_in() {
    let file = vec![b'x'; 1 << 20];
    let body = form(&[("key", "k")], "", &file);
    let start = body.len() - file.len() - b"\r\n--bnd--\r\n".len();
    let mut form = read(&body, &[start, start + 1000, start + 70_000]).unwrap();
    let mut next = || block_on(form.file.next()).map(|piece| piece.unwrap().len());
    assert_eq!([next(), next(), next(), next()], [Some(1000), Some(69_000), Some(file.len() - 70_000), None]);
}

#[test]
fn the_length_of_the_file_is_bounded_while_it_is_read() {
    let body = form(&[("key", "k")], "", b"12345");
    let bounded = |bytes: std::ops::RangeInclusive<u64>| {
        (0..body.len()).map(|at| drain(read(&body, &[at]).unwrap().file.bounded(bytes.clone()))).collect::<Vec<_>>()
    };
    for allowed in [0..=5, 5..=5, 5..=u64::MAX] {
        assert!(bounded(allowed).iter().all(|read| read.as_ref().is_ok_and(|file| file == b"12345")));
    }
    for allowed in [0..=4, 0..=0] {
        assert!(bounded(allowed).iter().all(|read| matches!(read, Err(FormBodyError::TooLarge { .. }))));
    }
    assert!(bounded(6..=9).iter().all(|read| matches!(read, Err(FormBodyError::TooSmall { bytes_min: 6 }))));
    #[expect(clippy::reversed_empty_ranges, reason = "what two contradicting conditions make")]
    let contradicting = 9..=3;
    assert!(bounded(contradicting).iter().all(Result::is_err));
}

#[test]
fn a_connection_that_fails_is_told_apart_from_a_form_that_ends() {
    let body = form(&[("key", "k")], "", b"12345");
    let failing = |end: usize| {
        let broken: StdError = io::Error::other("reset").into();
        let pieces = vec![Ok(Bytes::copy_from_slice(&body[..end])), Err(broken)];
        block_on(read_form(&HeaderValue::from_static(CONTENT_TYPE), stream::iter(pieces)))
    };
    assert!(matches!(failing(10), Err(FormError::Body(_))));
    let in_file = body.len() - b"45\r\n--bnd--\r\n".len();
    assert!(matches!(drain(failing(in_file).unwrap().file), Err(FormBodyError::Body(_))));
    assert!(drain(failing(body.len()).unwrap().file).is_ok(), "the form was whole");
}

#[test]
fn what_follows_the_file_is_ignored_within_bounds() {
    let body = form(&[("key", "k")], "", b"1");
    let more = |bytes: usize| {
        let late = format!("\r\n--bnd\r\nContent-Disposition: form-data; name=\"file\"\r\n\r\n{}", "2".repeat(bytes));
        drain(read(&[&body[..body.len() - 11], late.as_bytes(), b"\r\n--bnd--"].concat(), &[]).unwrap().file)
    };
    assert_eq!(more(FORM_BYTES_MAX - 200).unwrap(), b"1");
    assert!(matches!(more(FORM_BYTES_MAX), Err(FormBodyError::TooMuchAfterFile)));
    let epilogue = [body, vec![b'e'; 3 * FORM_BYTES_MAX]].concat();
    assert_eq!(drain(read(&epilogue, &[]).unwrap().file).unwrap(), b"1");
}

#[test]
fn a_part_without_a_body_is_empty() {
    let header = "--bnd\r\nContent-Disposition: form-data; name=";
    let body = format!("{header}a\r\n\r\n--bnd\r\n{}file\r\n\r\n--bnd--", &header[7..]);
    assert_eq!(said(body.as_bytes(), &[]), Ok((pairs(&[("a", "")]), vec![])));
}

/// `refused` is the beginning of the error's debug text.
#[track_caller]
fn check_refused(body: &[u8], refused: &str) {
    let answer = read(body, &[]).map(|form| form.fields.0).map_err(|error| format!("{error:?}"));
    let text = String::from_utf8_lossy(body);
    assert!(answer.as_ref().is_err_and(|error| error.starts_with(refused)), "{answer:?}: {text:.200}");
}

#[test]
fn malformed_forms_are_refused() {
    for header in [
        "",
        "Content-Type: text/plain\r\n",
        "Content-Disposition: form-data\r\n",
        "Content-Disposition: form-data; name=\"\"\r\n",
        "Content-Disposition: form-data; name=\"a\r\n",
        "Content-Disposition: form-data; name=a; name=b\r\n",
        "Content-Disposition: attachment; name=a\r\n",
        "Content-Disposition: form-data; name=a\r\nContent-Disposition: form-data; name=b\r\n",
        "Content-Disposition: form-data; name=a\r\nContent-Transfer-Encoding: base64\r\n",
        "Content-Disposition: form-data;\r\n name=a\r\n",
        "Content-Disposition\r\n",
        &format!("Content-Disposition: form-data; name=a\r\n{}", "A: b\r\n".repeat(PART_HEADER_LINES_MAX)),
        &format!("Content-Disposition: form-data; name={}\r\n", "a".repeat(PART_HEADER_BYTES_MAX)),
    ] {
        check_refused(format!("--bnd\r\n{header}\r\nvalue\r\n--bnd--").as_bytes(), "Malformed");
    }
    check_refused(b"", "Malformed");
    check_refused(b"no boundary", "Malformed");
    check_refused(b"--bndx\r\n", "Malformed");
    check_refused(b"--bnd\n", "Malformed");
    check_refused(b"--bnd-x", "Malformed");
    check_refused(b"--bnd--", "MissingFile");
    check_refused(b"--bnd\r\nContent-Disposition: form-data; name=a\r\n\r\n\xff\r\n--bnd--", "Malformed");
    check_refused(b"--bnd\r\nContent-Disposition: form-data; name=\"\xff\"\r\n\r\n1\r\n--bnd--", "Malformed");
}

#[test]
fn plain_transfer_encodings_are_fine() {
    for encoding in ["binary", "8BIT", "7bit"] {
        let header = format!("Content-Disposition: form-data; name=file\r\nContent-Transfer-Encoding: {encoding}");
        assert!(said(format!("--bnd\r\n{header}\r\n\r\n1\r\n--bnd--").as_bytes(), &[]).is_ok());
    }
}

#[test]
fn what_comes_before_the_file_is_bounded() {
    let value = |bytes| "v".repeat(bytes);
    let with = |fields: &[(&str, &str)]| form(fields, "", b"1");
    assert!(read(&with(&[("a", &value(FIELD_VALUE_BYTES_MAX))]), &[]).is_ok());
    check_refused(&with(&[("a", &value(FIELD_VALUE_BYTES_MAX + 1))]), "FieldsTooLarge");
    check_refused(&with(&[("a", &value(10_000)), ("b", &value(10_400))]), "FieldsTooLarge");
    check_refused(&[b"p".repeat(FORM_BYTES_MAX), with(&[])].concat(), "FieldsTooLarge");
    let names: Vec<_> = (0..=FIELDS_MAX).map(|n| format!("f{n}")).collect();
    let fields: Vec<_> = names.iter().map(|name| (name.as_str(), "")).collect();
    assert_eq!(read(&with(&fields[1..]), &[]).unwrap().fields.iter().count(), FIELDS_MAX);
    check_refused(&with(&fields), "TooManyFields");
    // All 20 KiB may be used: the file begins at the last of them.
    let front = with(&[("a", &value(12_000)), ("b", "")]).len() - b"1\r\n--bnd--\r\n".len();
    let exact = |more: usize| with(&[("a", &value(12_000)), ("b", &value(FORM_BYTES_MAX - front + more))]);
    assert_eq!(said(&exact(0), &[]).unwrap().1, b"1");
    check_refused(&exact(1), "FieldsTooLarge");
}

#[test]
fn a_field_comes_once_in_any_case_but_ignored_ones_do_not_count() {
    check_refused(&form(&[("key", "a"), ("KEY", "b")], "", b""), "FieldTwice { name: \"key\" }");
    let ignored = read(&form(&[("x-ignore-a", "1"), ("X-Ignore-A", "2")], "", b""), &[]).unwrap();
    assert_eq!(ignored.fields.0, pairs(&[("x-ignore-a", "1"), ("x-ignore-a", "2")]));
}

#[test]
fn the_name_of_the_file_is_put_into_fields() {
    let fields = [("key", "u/${filename}/${filename}"), ("x-amz-meta-name", "${filename}"), ("policy", "${filename}")];
    let key = |file_parameters: &str| {
        let form = read(&form(&fields, file_parameters, b""), &[]).unwrap();
        assert_eq!(form.fields.get("policy"), Some("${filename}"));
        let key = form.fields.key().unwrap().to_owned();
        assert_eq!(key, format!("u/{0}/{0}", form.fields.get("x-amz-meta-name").unwrap()));
        key
    };
    assert_eq!(key("; filename=\"a b.txt\""), "u/a b.txt/a b.txt");
    assert_eq!(key("; filename=\"/home/x/a.txt\""), "u/a.txt/a.txt");
    assert_eq!(key("; filename=\"C:\\x\\a.txt\""), "u/a.txt/a.txt");
    assert_eq!(key("; filename*=UTF-8''%e2%82%ac%2fa"), "u/a/a");
    assert_eq!(key("; filename=\"${filename}\""), "u/${filename}/${filename}");
    assert_eq!(key(""), "u//");
    let blown_up = form(&[("key", &"${filename}".repeat(100))], &format!("; filename={}", "n".repeat(1000)), b"");
    check_refused(&blown_up, "FieldsTooLarge");
}

#[test]
fn a_key_is_needed_in_front_of_the_file() {
    assert!(matches!(read(&form(&[], "", b""), &[]).unwrap().fields.key(), Err(FormError::MissingKey)));
    assert!(matches!(read(&form(&[("key", "")], "", b""), &[]).unwrap().fields.key(), Err(FormError::EmptyKey)));
    let nameless = read(&form(&[("key", "${filename}")], "", b""), &[]).unwrap();
    assert!(matches!(nameless.fields.key(), Err(FormError::EmptyKey)));
}

#[test]
fn boundaries_come_bare_and_quoted() {
    let longest = format!("multipart/form-data; boundary={}", "a".repeat(70));
    for (content_type, delimiter) in [
        (CONTENT_TYPE, Some("\r\n--bnd")),
        ("Multipart/Form-Data;charset=utf-8;Boundary=\"b:d d\"", Some("\r\n--b:d d")),
        ("multipart/form-data; boundary=----WebKitFormBoundaryAb12", Some("\r\n------WebKitFormBoundaryAb12")),
        (&longest, Some(&format!("\r\n--{}", "a".repeat(70)))),
        (&format!("{longest}a"), None),
        ("multipart/form-data", None),
        ("multipart/form-data; boundary=", None),
        ("multipart/form-data; boundary=\"a \"", None),
        ("multipart/form-data; boundary=a; boundary=b", None),
        ("multipart/form-data; boundary", None),
    ] {
        let read = delimiter_of(&HeaderValue::from_str(content_type).unwrap());
        assert_eq!(read.ok().as_deref(), delimiter.map(str::as_bytes), "{content_type}");
    }
    for other in ["", "multipart/mixed; boundary=b", "text/plain", "multipart/form-datax; boundary=b"] {
        let read = delimiter_of(&HeaderValue::from_str(other).unwrap());
        assert!(matches!(read, Err(FormError::NotAForm)), "{other}");
    }
}

#[test]
fn values_are_not_in_debug_texts() {
    let fields = Fields::of(&[("x-amz-server-side-encryption-customer-key", "secret")]);
    assert_eq!(format!("{fields:?}"), "[\"x-amz-server-side-encryption-customer-key\"]");
}

// The form tests of ceph/s3-tests, and what a server made of these modules answers to them.

const SECRET: &str = "sk";
const NOW: u64 = 1_777_636_800_000; // 2026-05-01T12:00:00Z
const LATER: &str = "2026-05-01T13:40:00Z";

/// A form as Python's `requests` writes it: every part has a file name, that of its field if it has no other.
fn python_form(fields: &[(&str, &str)], file_name: &str, file: &str) -> Vec<u8> {
    let part = |name: &str, file_name: &str, value: &str| {
        let parameters = format!("form-data; name=\"{name}\"; filename=\"{file_name}\"");
        format!("--bnd\r\nContent-Disposition: {parameters}\r\n\r\n{value}\r\n")
    };
    let mut body: String = fields.iter().map(|(name, value)| part(name, name, value)).collect();
    body += &part("file", file_name, file);
    (body + "--bnd--\r\n").into_bytes()
}

/// Judges a form sent to bucket `b` in the order of the front. Answers code and status, or the status of the success.
fn judge(body: &[u8]) -> String {
    let text = |(code, status): (&str, u16)| format!("{status} {code}");
    let judged = || -> Result<u16, (&'static str, u16)> {
        let form = read(body, &[]).map_err(|error| code_of_form(&error))?;
        let fields = &form.fields;
        fields.key().map_err(|error| code_of_form(&error))?;
        let signature = FormSignature::of(fields).map_err(|error| code_of_form_signature(&error))?;
        put_headers(fields).map_err(|error| code_of_field(&error))?;
        let mut file = form.file;
        if let Some(access_key) = signature.access_key() {
            if access_key != "CK" {
                return Err(("InvalidAccessKeyId", 403));
            }
            if !signature.verify(SECRET) {
                return Err(("SignatureDoesNotMatch", 403));
            }
            let policy = PostPolicy::parse(fields.get("policy").unwrap()).map_err(|error| code_of_policy(&error))?;
            policy.check(Timestamp::from_millis(NOW), "b", fields).map_err(|error| code_of_policy(&error))?;
            file = file.bounded(policy.length_range().unwrap_or(0..=u64::MAX));
        }
        drain(file).map_err(|error| code_of_form_body(&error))?;
        let uploaded = Uploaded { object_url: "http://h/b/k", bucket: "b", key: fields.key().unwrap(), etag: "\"0\"" };
        Ok(SuccessAction::of(fields).answer(&uploaded).status().as_u16())
    };
    judged().map_or_else(text, |status| status.to_string())
}

/// A signed form of s3-tests: the usual fields, changed, and a policy.
struct Case {
    policy: String,
    fields: Vec<(&'static str, String)>,
    file_name: &'static str,
    file: String,
}

impl Case {
    /// The usual policy with these conditions about the key and more.
    fn new(conditions: &str) -> Self {
        Self::with_policy(format!(
            r#"{{"expiration": "{LATER}", "conditions": [{{"bucket": "b"}}, {{"acl": "private"}},
                ["starts-with", "$Content-Type", "text/plain"] {conditions}]}}"#
        ))
    }

    fn with_policy(policy: String) -> Self {
        let encoded = STANDARD.encode(&policy);
        let mut mac = Hmac::<sha1::Sha1>::new_from_slice(SECRET.as_bytes()).unwrap();
        mac.update(encoded.as_bytes());
        let fields = vec![
            ("key", "foo.txt".to_owned()),
            ("AWSAccessKeyId", "CK".to_owned()),
            ("acl", "private".to_owned()),
            ("signature", STANDARD.encode(mac.finalize().into_bytes())),
            ("policy", encoded),
            ("Content-Type", "text/plain".to_owned()),
        ];
        Self { policy, fields, file_name: "file", file: "bar".into() }
    }

    fn set(mut self, name: &'static str, value: &str) -> Self {
        self.fields.retain(|(own, _)| *own != name);
        self.fields.push((name, value.to_owned()));
        self
    }

    fn without(mut self, name: &str) -> Self {
        self.fields.retain(|(own, _)| *own != name);
        self
    }

    fn file(mut self, name: &'static str, file: String) -> Self {
        (self.file_name, self.file) = (name, file);
        self
    }

    #[track_caller]
    fn check(&self, expected: &str) {
        let fields: Vec<_> = self.fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let answer = judge(&python_form(&fields, self.file_name, &self.file));
        assert_eq!(answer, expected, "{} {:?}", self.policy, self.fields);
    }
}

/// The conditions most of the tests have besides those on bucket, acl and content type.
const FOO: &str = r#", ["starts-with", "$key", "foo"], ["content-length-range", 0, 1024]"#;

#[test]
fn anonymous_forms_of_s3_tests() {
    let judge = |fields: &[(&str, &str)]| judge(&python_form(fields, "file", "bar"));
    let plain = [("key", "foo.txt"), ("acl", "public-read"), ("Content-Type", "text/plain")];
    assert_eq!(judge(&plain), "204"); // anonymous_request
    let with = |name, value| judge(&[&plain[..], &[(name, value)]].concat());
    assert_eq!(with("success_action_status", "201"), "201"); // set_success_code
    assert_eq!(with("success_action_status", "404"), "204"); // set_invalid_success_code
    assert_eq!(with("tagging", "<Tagging/>"), "204"); // tags_anonymous_request
}

#[test]
fn forms_of_s3_tests_that_are_taken() {
    Case::new(FOO).check("204"); // authenticated_request
    let no_type = r#"{"bucket": "b"}, ["starts-with", "$key", "foo"], {"acl": "private"}"#;
    let no_type = format!(r#"{{"expiration": "{LATER}", "conditions": [{no_type}]}}"#);
    Case::with_policy(no_type).without("Content-Type").check("204"); // authenticated_no_content_type
    let large = r#", ["starts-with", "$key", "foo"], ["content-length-range", 0, 5242880]"#;
    Case::new(large).file("file", "foo".repeat(1 << 20)).check("204"); // upload_larger_than_chunk
    Case::new(FOO).set("key", "${filename}").file("foo.txt", "bar".into()).check("204"); // set_key_from_filename
    Case::new(FOO).set("x-ignore-foo", "bar").check("204"); // ignored_header
    let case = r#"{"bUcKeT": "b"}, ["StArTs-WiTh", "$KeY", "foo"], {"AcL": "private"},
        ["StArTs-WiTh", "$CoNtEnT-TyPe", "text/plain"], ["content-length-range", 0, 1024]"#;
    let case = Case::with_policy(format!(r#"{{"expiration": "{LATER}", "conditions": [{case}]}}"#));
    let policy = case.fields.iter().find(|(name, _)| *name == "policy").unwrap().1.clone();
    let case = case.without("key").without("acl").without("policy");
    // case_insensitive_condition_fields
    case.set("kEy", "foo.txt").set("aCl", "private").set("pOLICy", &policy).check("204");
    let escaped = r#", ["starts-with", "$key", "\\$foo"]"#;
    Case::new(escaped).set("key", r"\$foo.txt").check("204"); // escaped_field_values
    let redirect = format!(r#"{FOO}, ["eq", "$success_action_redirect", "http://h/b"]"#);
    Case::new(&redirect).set("success_action_redirect", "http://h/b").check("303"); // success_redirect_action
    let meta = format!(r#"{FOO}, ["starts-with", "$x-amz-meta-foo", "bar"]"#);
    Case::new(&meta).set("x-amz-meta-foo", "barclamp").check("204"); // user_specified_header
    let chunks = r#", ["starts-with", "$key", "foo"], ["content-length-range", 4194304, 12582912]"#;
    Case::new(chunks).file("file", "x".repeat((4 << 20) + 200)).check("204"); // upload_size_rgw_chunk_size_bug
    let tags = format!(r#"{FOO}, ["starts-with", "$tagging", ""]"#);
    Case::new(&tags).set("tagging", "<Tagging/>").check("204"); // tags_authenticated_request
    // upload_checksum: no condition, the store checks
    Case::new(FOO).set("x-amz-checksum-sha256", "aTL9MeXa").check("204");
    let sse = format!(r#"{FOO}, ["starts-with", "$x-amz-server-side-encryption", ""]"#);
    Case::new(&sse).check("204"); // sse_s3_default: the condition without the field
    let sse_c = format!(r#"{FOO}, ["starts-with", "$x-amz-server-side-encryption-customer-key", ""]"#);
    Case::new(&sse_c).set("x-amz-server-side-encryption-customer-key", "a2V5").check("204"); // encryption_sse_c
}

#[test]
fn forms_of_s3_tests_that_are_not_allowed() {
    Case::new(FOO).set("AWSAccessKeyId", "foo").check("403 InvalidAccessKeyId"); // bad_access_key, invalid_access_key
    let signed = Case::new(FOO);
    let reversed: String = signed.fields[3].1.chars().rev().collect();
    signed.set("signature", &reversed).check("403 SignatureDoesNotMatch"); // invalid_signature
    let no_bucket = r#"["starts-with", "$key", "foo"], {"acl": "private"}, ["starts-with", "$Content-Type", ""]"#;
    let no_bucket = format!(r#"{{"expiration": "{LATER}", "conditions": [{no_bucket}]}}"#);
    Case::with_policy(no_bucket).check("403 AccessDenied"); // missing_policy_condition
    let meta = format!(r#"{FOO}, ["starts-with", "$x-amz-meta-foo", "bar"]"#);
    Case::new(&meta).check("403 AccessDenied"); // request_missing_policy_specified_field
    let empty = format!(r#"{FOO}, ["eq", "$x-amz-meta-foo", ""]"#);
    Case::new(&empty).set("x-amz-meta-foo", "barclamp").check("403 AccessDenied"); // invalid_request_field_value
    Case::new(FOO).set("x-amz-meta-foo", "bar").check("403 AccessDenied"); // a field without a condition
    // expired_policy
    Case::with_policy(Case::new(FOO).policy.replace(LATER, "2026-05-01T10:20:00Z")).check("403 AccessDenied");
    let other = Case::with_policy(Case::new(FOO).policy.replace(r#""b""#, r#""other""#));
    other.set("bucket", "other").check("403 AccessDenied"); // wrong_bucket
}

#[test]
fn forms_of_s3_tests_that_are_malformed() {
    let bad_policy = |from: &str, to: &str| Case::with_policy(Case::new(FOO).policy.replace(from, to));
    bad_policy(LATER, "2026-05-01 13:40:00.123456+00:00").check("400 InvalidPolicyDocument"); // invalid_date_format
    Case::new("").without("key").check("400 InvalidArgument"); // no_key_specified
    Case::new(FOO).without("signature").check("400 InvalidArgument"); // missing_signature
    Case::new(FOO).without("policy").check("400 InvalidArgument");
    Case::new(FOO).without("AWSAccessKeyId").without("signature").check("400 InvalidArgument");
    bad_policy("conditions", "CONDITIONS").check("400 InvalidPolicyDocument"); // condition_is_case_sensitive
    bad_policy("expiration", "EXPIRATION").check("400 InvalidPolicyDocument"); // expires_is_case_sensitive
    // missing_expires_condition
    bad_policy(&format!(r#""expiration": "{LATER}", "#), "").check("400 InvalidPolicyDocument");
    let no_list = format!(r#"{{"expiration": "{LATER}"}}"#);
    Case::with_policy(no_list).check("400 InvalidPolicyDocument"); // missing_conditions_list
    let empty = format!(r#"{{"expiration": "{LATER}", "conditions": [{{}}]}}"#);
    Case::with_policy(empty).check("400 InvalidPolicyDocument"); // empty_conditions
    let length = |operands| Case::new(&FOO.replace("0, 1024", operands));
    length("0, 0").check("400 EntityTooLarge"); // upload_size_limit_exceeded
    length("0").check("400 InvalidPolicyDocument"); // missing_content_length_argument
    length("-1, 0").check("400 InvalidPolicyDocument"); // invalid_content_length_argument
    length("512, 1000").check("400 EntityTooSmall"); // upload_size_below_minimum
}
