//! Addresses that object_store presigns, used by a client without a key: whole objects, parts, headers that are part of the
//! signature, and what becomes of one that was changed.

use super::{BUCKET, Place};
use cistern_tests::http::{Connection, Response};
use object_store::ObjectStoreExt as _;
use object_store::aws::AmazonS3;
use object_store::multipart::{MultipartStore as _, PartId};
use object_store::path::Path;
use object_store::signer::{HeaderName, HeaderValue, Method, SignedUrlOptions, Signer as _, Url};
use std::time::Duration;

const A_MINUTE: Duration = Duration::from_mins(1);
/// Of `hello`, in base64.
const SHA256: &str = "LPJNul+wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ=";
const CHECKSUM: &str = "x-amz-checksum-sha256";

/// Sends a request to the address with these headers and no other credentials.
fn send(method: &str, url: &Url, headers: &[(&str, &str)], body: &[u8]) -> Response {
    let host = format!("{}:{}", url.host_str().unwrap(), url.port().unwrap());
    let target = format!("{}?{}", url.path(), url.query().unwrap());
    let headers: Vec<_> = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    Connection::open(&host).unwrap().send(method, &target, &headers, body).unwrap()
}

async fn presigned(store: &AmazonS3, path: &Path, options: SignedUrlOptions) -> Url {
    store.signed_url_opts(Method::PUT, path, A_MINUTE, &options).await.unwrap()
}

fn part(number: usize, upload: &str) -> SignedUrlOptions {
    SignedUrlOptions::default().with_query([("uploadId", upload), ("partNumber", &number.to_string())])
}

fn with_header(name: &str, value: &'static str) -> SignedUrlOptions {
    let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
    SignedUrlOptions::default().with_signed_header(name, HeaderValue::from_static(value))
}

#[tokio::test]
async fn addresses_write_and_read_an_object() {
    let place = Place::new();
    let store = place.store();
    let path = Path::from("dir/a b=c/π+.bin");
    let put = store.signed_url(Method::PUT, &path, A_MINUTE).await.unwrap();
    assert_eq!(send("PUT", &put, &[], b"hello").status, 200);
    let get = store.signed_url(Method::GET, &path, A_MINUTE).await.unwrap();
    assert_eq!(send("GET", &get, &[], b"").text(), "hello");
    let name = [("response-content-disposition", "attachment; filename=\"a b.txt\"")];
    let options = SignedUrlOptions::default().with_query(name);
    let get = store.signed_url_opts(Method::GET, &path, A_MINUTE, &options).await.unwrap();
    assert_eq!(send("GET", &get, &[], b"").header("content-disposition"), Some(name[0].1));
    let delete = store.signed_url(Method::DELETE, &path, A_MINUTE).await.unwrap();
    assert_eq!(send("DELETE", &delete, &[], b"").status, 204);
    assert!(store.head(&path).await.is_err());
}

#[tokio::test]
async fn addresses_upload_the_parts_of_an_object() {
    let place = Place::new();
    let store = place.store();
    let path = Path::from("parts of π.bin");
    let upload = store.create_multipart(&path).await.unwrap();
    let bodies = [vec![1; 6 << 20], vec![2; 6 << 20], vec![3; 1 << 20]];
    let mut parts = Vec::new();
    for (body, number) in bodies.iter().zip(1..) {
        let url = presigned(&store, &path, part(number, &upload)).await;
        let answer = send("PUT", &url, &[], body).ok().unwrap();
        parts.push(PartId { content_id: answer.header("etag").unwrap().to_owned() });
    }
    store.complete_multipart(&path, &upload, parts).await.unwrap();
    assert!(store.get(&path).await.unwrap().bytes().await.unwrap() == bodies.concat());
}

#[tokio::test]
async fn a_header_of_the_signature_must_come_as_it_was_signed() {
    let place = Place::new();
    let store = place.store();
    let path = Path::from("a.bin");
    let url = presigned(&store, &path, with_header(CHECKSUM, SHA256)).await;
    for (headers, body, status) in [
        (vec![(CHECKSUM, SHA256)], "hello", 200),
        (vec![(CHECKSUM, SHA256)], "other", 400),
        (vec![], "hello", 403),
        (vec![(CHECKSUM, "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=")], "hello", 403),
        (vec![(CHECKSUM, SHA256), ("x-custom-unsigned", "any")], "hello", 200),
    ] {
        let answer = send("PUT", &url, &headers, body.as_bytes());
        assert_eq!(answer.status, status, "{headers:?} {body}: {}", answer.text());
    }
    let url = presigned(&store, &path, with_header("content-type", "text/plain; charset=utf-8")).await;
    assert_eq!(send("PUT", &url, &[("content-type", "text/html")], b"hello").status, 403);
    assert_eq!(send("PUT", &url, &[("content-type", "text/plain; charset=utf-8")], b"hello").status, 200);
}

#[tokio::test]
async fn an_address_that_was_changed_is_refused() {
    let place = Place::new();
    let store = place.store();
    let path = Path::from("a.bin");
    let upload = store.create_multipart(&path).await.unwrap();
    let url = presigned(&store, &path, part(1, &upload)).await;
    for (from, to) in [("partNumber=1", "partNumber=2"), (upload.as_str(), "other"), ("/a.bin?", "/b.bin?")] {
        let changed: Url = url.as_str().replace(from, to).parse().unwrap();
        assert_ne!(changed, url);
        let answer = send("PUT", &changed, &[], b"hello");
        assert_eq!((answer.status, answer.xml("Code").as_str()), (403, "SignatureDoesNotMatch"), "{from}");
    }
    assert_eq!(send("PUT", &url, &[], b"hello").status, 200);
}

#[tokio::test]
async fn an_address_that_must_create_does_so_once() {
    let place = Place::new();
    let store = place.store();
    let path = Path::from("a.bin");
    let url = presigned(&store, &path, with_header("if-none-match", "*")).await;
    assert_eq!(send("PUT", &url, &[("if-none-match", "*")], b"first").status, 200);
    assert_eq!(send("PUT", &url, &[("if-none-match", "*")], b"second").status, 412);
    assert_eq!(store.get(&path).await.unwrap().bytes().await.unwrap().as_ref(), b"first");
    assert!(url.path().starts_with(&format!("/{BUCKET}/")));
}
