//! Bodies in every coding: plain, presigned, aws-chunked with and without signatures and trailers; whole and broken.

use crate::house::{Answer, Call, House, house_with_bucket};
use crate::sign::{Keys, Moment, UNSIGNED, unsigned_chunks};

const SIGNED: &str = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD";
const SIGNED_TRAILER: &str = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER";
const UNSIGNED_TRAILER: &str = "STREAMING-UNSIGNED-PAYLOAD-TRAILER";
const CRC32: &str = "x-amz-checksum-crc32";
/// CRC-32 of "hello world".
const HELLO_CRC32: &str = "DUoRhQ==";
const CHUNKS: [&[u8]; 2] = [b"hello ", b"world"];

async fn check_stored(house: &House, path: &str, body: &str) {
    let answer = house.send(&Call::get(path)).await.expect(200);
    assert_eq!(answer.text(), body);
}

fn chunked_call(payload: &str, trailer: Option<&str>) -> Call {
    let call = Call::put("/photos/k").payload(payload).header("content-encoding", "aws-chunked");
    let call = call.header("x-amz-decoded-content-length", "11");
    trailer.map_or(call.clone(), |trailer| call.header("x-amz-trailer", trailer))
}

#[tokio::test]
async fn plain_bodies_arrive_with_and_without_a_hash() {
    let house = house_with_bucket().await;
    house.send(&Call::put("/photos/a").body("hash")).await.expect(200);
    house.send(&Call::put("/photos/b").body("none").payload(UNSIGNED)).await.expect(200);
    house.send(&Call::put("/photos/c").body("presigned").presigned("60")).await.expect(200);
    house.send(&Call::put("/photos/d").body("")).await.expect(200);
    for (path, body) in [("/photos/a", "hash"), ("/photos/b", "none"), ("/photos/c", "presigned"), ("/photos/d", "")] {
        check_stored(&house, path, body).await;
    }
    let presigned = house.send(&Call::get("/photos/a").presigned("60")).await.expect(200);
    assert_eq!(presigned.text(), "hash");
}

#[tokio::test]
async fn digests_in_headers_are_checked_and_checksums_kept() {
    let house = house_with_bucket().await;
    let put = Call::put("/photos/k").body("hello world");
    house.send(&put.clone().header("content-md5", "XrY7u+Ae7tCTyyK7j1rNww==")).await.expect(200);
    for (header, value) in [
        (CRC32, HELLO_CRC32),
        ("x-amz-checksum-crc32c", "yZRlqg=="),
        ("x-amz-checksum-sha1", "Kq5sNclPz7QV2+lfQIuc6R7oRu0="),
        ("x-amz-checksum-sha256", "uU0nuZNNPgilLlLX2n2r+sSE7+N6U4DukIj3rOLvzek="),
    ] {
        let answer = house.send(&put.clone().header(header, value)).await.expect(200);
        assert_eq!((answer.header(header), answer.header("x-amz-checksum-type")), (value, "FULL_OBJECT"));
        for call in [Call::get("/photos/k"), Call::head("/photos/k")] {
            assert_eq!(house.send(&call).await.expect(200).header(header), "", "not asked for");
            let answer = house.send(&call.header("x-amz-checksum-mode", "ENABLED")).await.expect(200);
            assert_eq!(answer.header(header), value);
        }
        let ranged = Call::get("/photos/k").header("x-amz-checksum-mode", "ENABLED").header("range", "bytes=0-1");
        assert_eq!(house.send(&ranged).await.expect(206).header(header), "", "not of this part");
    }
}

#[tokio::test]
async fn signed_chunks_arrive() {
    let house = house_with_bucket().await;
    let body = |moment: &Moment, keys: &Keys, seed: &str| moment.chunked(keys, seed, &CHUNKS, None);
    house.send_chunked(&chunked_call(SIGNED, None), body).await.expect(200);
    let answer = house.send(&Call::get("/photos/k")).await.expect(200);
    assert_eq!((answer.text().as_str(), answer.header("content-encoding")), ("hello world", ""));
}

#[tokio::test]
async fn chunks_with_a_trailer_arrive_and_keep_its_checksum() {
    let house = house_with_bucket().await;
    let trailer = Some((CRC32, HELLO_CRC32));
    let signed = |moment: &Moment, keys: &Keys, seed: &str| moment.chunked(keys, seed, &CHUNKS, trailer);
    let answer = house.send_chunked(&chunked_call(SIGNED_TRAILER, Some(CRC32)), signed).await.expect(200);
    assert_eq!(answer.header(CRC32), HELLO_CRC32);
    check_stored(&house, "/photos/k", "hello world").await;
    house.send(&Call::delete("/photos/k")).await.expect(204);
    let unsigned = |_: &Moment, _: &Keys, _: &str| unsigned_chunks(&CHUNKS, trailer);
    let answer = house.send_chunked(&chunked_call(UNSIGNED_TRAILER, Some(CRC32)), unsigned).await.expect(200);
    assert_eq!(answer.header(CRC32), HELLO_CRC32);
    check_stored(&house, "/photos/k", "hello world").await;
}

#[tokio::test]
async fn one_unsigned_chunk_of_any_size_arrives() {
    let house = house_with_bucket().await;
    let data = vec![b'x'; 9 << 20];
    let call = Call::put("/photos/k").payload(UNSIGNED_TRAILER).header("x-amz-trailer", CRC32);
    let call = call.header("x-amz-decoded-content-length", &data.len().to_string());
    let sum = {
        use s3s::crypto::Checksum as _;
        base64::Engine::encode(&base64::engine::general_purpose::STANDARD, s3s::crypto::Crc32::checksum(&data))
    };
    let body = |_: &Moment, _: &Keys, _: &str| unsigned_chunks(&[&data], Some((CRC32, &sum)));
    house.send_chunked(&call, body).await.expect(200);
    let answer = house.send(&Call::head("/photos/k")).await.expect(200);
    assert_eq!(answer.header("content-length"), data.len().to_string());
}

/// Sends a body in chunks that is broken by `damage`, and asserts that it is refused and changes nothing.
async fn check_broken(payload: &str, damage: impl Fn(Vec<u8>) -> Vec<u8> + Send + Sync, code: &str, status: u16) {
    let house = house_with_bucket().await;
    house.put("/photos/k", "as it was").await;
    let before = house.state().await;
    let trailer = payload.ends_with("TRAILER").then_some((CRC32, HELLO_CRC32));
    let answer: Answer = house
        .send_chunked(&chunked_call(payload, trailer.map(|(name, _)| name)), |moment, keys, seed| {
            damage(match payload {
                UNSIGNED_TRAILER => unsigned_chunks(&CHUNKS, trailer),
                _ => moment.chunked(keys, seed, &CHUNKS, trailer),
            })
        })
        .await;
    answer.expect_error(code, status);
    assert_eq!(house.state().await, before);
}

fn replaced(body: &[u8], from: &str, to: &str) -> Vec<u8> {
    let text = String::from_utf8(body.to_vec()).unwrap();
    assert!(text.contains(from), "{text} has {from}");
    text.replacen(from, to, 1).into_bytes()
}

#[tokio::test]
async fn a_changed_chunk_or_trailer_is_refused() {
    for payload in [SIGNED, SIGNED_TRAILER] {
        check_broken(payload, |body| replaced(&body, "world", "w0rld"), "SignatureDoesNotMatch", 403).await;
    }
    check_broken(SIGNED_TRAILER, |body| replaced(&body, HELLO_CRC32, "AAAAAA=="), "SignatureDoesNotMatch", 403).await;
    check_broken(UNSIGNED_TRAILER, |body| replaced(&body, "world", "w0rld"), "BadDigest", 400).await;
    check_broken(UNSIGNED_TRAILER, |body| replaced(&body, HELLO_CRC32, "AAAAAA=="), "BadDigest", 400).await;
}

#[tokio::test]
async fn a_chunked_body_cut_short_is_refused() {
    for payload in [SIGNED, SIGNED_TRAILER, UNSIGNED_TRAILER] {
        let cut = |at: &'static str| {
            move |body: Vec<u8>| {
                let text = String::from_utf8(body).unwrap();
                text.split(at).next().unwrap().as_bytes().to_vec()
            }
        };
        check_broken(payload, cut("rld"), "IncompleteBody", 400).await;
        let line = if payload == UNSIGNED_TRAILER { "0\r\n" } else { "0;chunk" };
        check_broken(payload, cut(line), "IncompleteBody", 400).await;
    }
    check_broken(
        UNSIGNED_TRAILER,
        |body| replaced(&body, &format!("{CRC32}:{HELLO_CRC32}\r\n"), ""),
        "MalformedTrailerError",
        400,
    )
    .await;
}

#[tokio::test]
async fn broken_chunk_coding_is_refused() {
    for payload in [SIGNED, UNSIGNED_TRAILER] {
        check_broken(payload, |body| replaced(&body, "\r\n5", "\r\nz"), "InvalidRequest", 400).await;
    }
    check_broken(SIGNED, |_| b"500000;chunk-signature=00\r\n".to_vec(), "InvalidRequest", 400).await;
    check_broken(UNSIGNED_TRAILER, |body| replaced(&body, CRC32, "x-else"), "MalformedTrailerError", 400).await;
}

#[tokio::test]
async fn a_chunked_length_that_is_not_the_bodys_is_refused() {
    let house = house_with_bucket().await;
    let before = house.state().await;
    for length in ["10", "12"] {
        let call = Call::put("/photos/k").payload(UNSIGNED_TRAILER).header("x-amz-trailer", CRC32);
        let call = call.header("x-amz-decoded-content-length", length);
        let body = |_: &Moment, _: &Keys, _: &str| unsigned_chunks(&CHUNKS, Some((CRC32, HELLO_CRC32)));
        house.send_chunked(&call, body).await.expect_error("IncompleteBody", 400);
    }
    assert_eq!(house.state().await, before);
}

#[tokio::test]
async fn the_coding_is_taken_off_bodies_that_nobody_signed() {
    let house = house_with_bucket().await;
    let policy = r#"{"Statement":{"Effect":"Allow","Principal":"*","Action":"s3:PutObject","Resource":"arn:aws:s3:::photos/*"}}"#;
    house.send(&Call::put("/photos?policy").body(policy)).await.expect(204);
    let call = |payload: &str, body: &[u8]| {
        let call = Call::put("/photos/k").anonymous().header("content-encoding", "aws-chunked").body(body.to_vec());
        call.header("x-amz-content-sha256", payload).header("x-amz-decoded-content-length", "11")
    };
    let with_trailer = |body: &[u8]| call(UNSIGNED_TRAILER, body).header("x-amz-trailer", CRC32);
    let body = unsigned_chunks(&CHUNKS, Some((CRC32, HELLO_CRC32)));
    for (call, checksum) in [(call(UNSIGNED_TRAILER, &body), ""), (with_trailer(&body), HELLO_CRC32)] {
        let answer = house.send(&call).await.expect(200);
        assert_eq!(answer.header(CRC32), checksum);
        let stored = house.send(&Call::get("/photos/k")).await.expect(200);
        assert_eq!((stored.text().as_str(), stored.header("content-encoding")), ("hello world", ""));
    }
    let other_sum = unsigned_chunks(&CHUNKS, Some((CRC32, "AAAAAA==")));
    house.check_refused(&with_trailer(&other_sum), "BadDigest", 400).await;
    house.check_refused(&with_trailer(&unsigned_chunks(&CHUNKS, None)), "MalformedTrailerError", 400).await;
    house.check_refused(&with_trailer(&body[..12]), "IncompleteBody", 400).await;
    house.check_refused(&with_trailer(b"hello world"), "IncompleteBody", 400).await;
    let shorter = unsigned_chunks(&CHUNKS[..1], Some((CRC32, HELLO_CRC32)));
    house.check_refused(&with_trailer(&shorter), "IncompleteBody", 400).await;
    for payload in [SIGNED, SIGNED_TRAILER] {
        house.check_refused(&call(payload, &body), "InvalidRequest", 400).await;
    }
    let without_length =
        Call::put("/photos/k").anonymous().header("x-amz-content-sha256", UNSIGNED_TRAILER).body(body.clone());
    house.check_refused(&without_length, "MissingContentLength", 411).await;
}
