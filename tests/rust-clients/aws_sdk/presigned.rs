//! Presigned addresses, used by an HTTP client that knows nothing of S3.

use super::{BUCKET, Store};
use aws_sdk_s3::presigning::{PresignedRequest, PresigningConfig};
use cistern_tests::http::{Connection, Response};
use cistern_tests::wait::unix_seconds;
use std::time::{Duration, UNIX_EPOCH};

const KEY: &str = "dir/ü +%41.txt";

fn for_a_minute() -> PresigningConfig {
    PresigningConfig::expires_in(Duration::from_mins(1)).unwrap()
}

/// Sends what was presigned with a body, of whatever length, to the server.
fn send(store: &Store, request: &PresignedRequest, address: &str, body: &[u8]) -> Response {
    let target = address.strip_prefix(store.server.s3_url()).unwrap();
    let headers = request.headers().filter(|(name, _)| !name.eq_ignore_ascii_case("content-length"));
    let headers: Vec<_> = headers.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    let mut connection = Connection::open(store.server.s3_host()).unwrap();
    connection.send(request.method(), target, &headers, body).unwrap()
}

#[tokio::test]
async fn an_address_writes_and_one_reads() {
    let store = Store::with_bucket().await;
    let put = store.client.put_object().bucket(BUCKET).key(KEY).content_type("text/x-test").metadata("word", "kept");
    let put = put.presigned(for_a_minute()).await.unwrap();
    let answer = send(&store, &put, put.uri(), b"over HTTP");
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(store.get(KEY).await, b"over HTTP");
    let head = store.client.head_object().bucket(BUCKET).key(KEY).send().await.unwrap();
    assert_eq!((head.content_type(), head.metadata().unwrap()["word"].as_str()), (Some("text/x-test"), "kept"));

    let get = store.client.get_object().bucket(BUCKET).key(KEY).response_content_type("text/y-test");
    let get = get.presigned(for_a_minute()).await.unwrap();
    let answer = send(&store, &get, get.uri(), b"");
    assert_eq!((answer.status, answer.text().as_str()), (200, "over HTTP"));
    assert_eq!(answer.header("content-type"), Some("text/y-test"));
}

#[tokio::test]
async fn an_address_is_good_for_its_key_its_headers_and_its_time() {
    let store = Store::with_bucket().await;
    store.put("a", b"one").await;
    store.put("b", b"two").await;
    let get = store.client.get_object().bucket(BUCKET).key("a").presigned(for_a_minute()).await.unwrap();
    let other_key = get.uri().replacen("/a?", "/b?", 1);
    assert_ne!(other_key, get.uri());
    let answer = send(&store, &get, &other_key, b"");
    assert_eq!((answer.status, answer.xml("Code").as_str()), (403, "SignatureDoesNotMatch"));

    let put = store.client.put_object().bucket(BUCKET).key("a").content_length(3);
    let put = put.presigned(for_a_minute()).await.unwrap();
    let answer = send(&store, &put, put.uri(), b"1234");
    assert_eq!((answer.status, answer.xml("Code").as_str()), (403, "SignatureDoesNotMatch"), "another length");

    let an_hour_ago = UNIX_EPOCH + Duration::from_secs(u64::try_from(unix_seconds() - 3600).unwrap());
    let expired = PresigningConfig::builder().start_time(an_hour_ago).expires_in(Duration::from_mins(1)).build();
    let get = store.client.get_object().bucket(BUCKET).key("a").presigned(expired.unwrap()).await.unwrap();
    let answer = send(&store, &get, get.uri(), b"");
    assert_eq!((answer.status, answer.xml("Code").as_str()), (403, "AccessDenied"), "{}", answer.text());
    assert_eq!(store.get("a").await, b"one");
}
