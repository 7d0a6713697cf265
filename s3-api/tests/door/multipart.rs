//! Multipart uploads from beginning to end.

use crate::house::{Call, House, house_with, house_with_bucket};
use cistern_s3_api::S3Config;

async fn begin(house: &House, key: &str) -> String {
    house.send(&Call::post(&format!("/photos/{key}?uploads"))).await.expect(200).element("UploadId")
}

async fn part(house: &House, key: &str, upload: &str, number: u32, body: &str) -> String {
    let call = Call::put(&format!("/photos/{key}?partNumber={number}&uploadId={upload}")).body(body.to_owned());
    house.send(&call).await.expect(200).header("etag").to_owned()
}

fn completion(parts: &[(u32, &str)]) -> String {
    let parts = parts.iter().map(|(n, tag)| format!("<Part><PartNumber>{n}</PartNumber><ETag>{tag}</ETag></Part>"));
    format!("<CompleteMultipartUpload>{}</CompleteMultipartUpload>", parts.collect::<String>())
}

#[tokio::test]
async fn parts_become_an_object_and_repeating_the_end_answers_the_same() {
    let house = house_with_bucket().await;
    let call = Call::post("/photos/film?uploads").header("x-amz-meta-a", "1").header("content-type", "video/x");
    let upload = house.send(&call).await.expect(200).element("UploadId");
    let second = part(&house, "film", &upload, 2, "world").await;
    let first = part(&house, "film", &upload, 1, "hello hello ").await;
    let call = Call::post(&format!("/photos/film?uploadId={upload}")).body(completion(&[(1, &first), (2, &second)]));
    for _ in 0..2 {
        let answer = house.send(&call).await.expect(200);
        assert!(answer.element("ETag").contains("-2"), "{}", answer.text());
        assert_eq!((answer.element("Bucket"), answer.element("Key")), ("photos".into(), "film".into()));
        assert_eq!(answer.element("Location"), "http://s3.test:9000/photos/film");
    }
    let answer = house.send(&Call::get("/photos/film")).await.expect(200);
    assert_eq!((answer.text().as_str(), answer.header("content-type")), ("hello hello world", "video/x"));
    assert_eq!(answer.header("x-amz-meta-a"), "1");
    for (number, body, range) in [(1, "hello hello ", "bytes 0-11/17"), (2, "world", "bytes 12-16/17")] {
        let answer = house.send(&Call::get(&format!("/photos/film?partNumber={number}"))).await.expect(206);
        assert_eq!((answer.text().as_str(), answer.header("content-range")), (body, range));
        assert_eq!(answer.header("x-amz-mp-parts-count"), "2");
        let head = house.send(&Call::head(&format!("/photos/film?partNumber={number}"))).await.expect(206);
        assert_eq!(
            (head.header("content-length"), head.header("content-range"), head.header("x-amz-mp-parts-count")),
            (&*body.len().to_string(), range, "2")
        );
    }
    house.check_refused(&Call::get("/photos/film?partNumber=3"), "InvalidPart", 400).await;
    house.check_refused(&Call::get("/photos/film?partNumber=0"), "InvalidArgument", 400).await;
}

#[tokio::test]
async fn a_completion_says_where_the_object_is_as_its_client_sees_it() {
    let config = S3Config { domain: Some("s3.test".into()), ..S3Config::default() };
    let house = house_with(config);
    house.send(&Call::put("/photos")).await.expect(200);
    for (path, host, secure, location) in [
        ("/photos/a b/ä&c", "s3.test:9000", false, "http://s3.test:9000/photos/a%20b/%C3%A4%26c"),
        ("/photos/a b/ä&c", "s3.test:9000", true, "https://s3.test:9000/photos/a%20b/%C3%A4%26c"),
        ("/a b/ä&c", "photos.s3.test:9000", false, "http://photos.s3.test:9000/a%20b/%C3%A4%26c"),
        ("/a b/ä&c", "photos.s3.test:9000", true, "https://photos.s3.test:9000/a%20b/%C3%A4%26c"),
    ] {
        let begun = house.send(&Call::post(path).query("uploads", "").host(host)).await.expect(200);
        let upload = begun.element("UploadId");
        let put = Call::put(path).query("partNumber", "1").query("uploadId", &upload).host(host).body("x");
        let tag = house.send(&put).await.expect(200).header("etag").to_owned();
        let end = Call::post(path).query("uploadId", &upload).host(host).body(completion(&[(1, &tag)]));
        assert_eq!(house.send_over(&end, secure).await.expect(200).element("Location"), location);
    }
}

#[tokio::test]
async fn parts_are_copied_from_objects() {
    let house = house_with_bucket().await;
    house.put("/photos/source", "0123456789abcdef").await;
    let upload = begin(&house, "film").await;
    let copy = |number: u32, range: &str| {
        let path = format!("/photos/film?partNumber={number}&uploadId={upload}");
        let call = Call::put(&path).header("x-amz-copy-source", "photos/source");
        if range.is_empty() { call } else { call.header("x-amz-copy-source-range", range) }
    };
    let mut tags = Vec::new();
    for (number, range) in [(1, "bytes=2-9"), (2, "")] {
        let answer = house.send(&copy(number, range)).await.expect(200);
        tags.push(answer.element("ETag").replace("&quot;", "\""));
    }
    house.check_refused(&copy(3, "bytes=10-99"), "InvalidRange", 416).await;
    house.check_refused(&copy(3, "bytes=-5"), "InvalidArgument", 400).await;
    let call = Call::post(&format!("/photos/film?uploadId={upload}"));
    house.send(&call.body(completion(&[(1, &tags[0]), (2, &tags[1])]))).await.expect(200);
    assert_eq!(house.send(&Call::get("/photos/film")).await.text(), "234567890123456789abcdef");
}

#[tokio::test]
async fn uploads_and_parts_are_listed_in_pages() {
    let house = house_with_bucket().await;
    let mut uploads = Vec::new();
    for key in ["a", "b/1", "b/2", "c"] {
        uploads.push(begin(&house, key).await);
    }
    for number in 1..=3 {
        part(&house, "a", &uploads[0], number, "12345678").await;
    }
    let page = house.send(&Call::get(&format!("/photos/a?uploadId={}&max-parts=2", uploads[0]))).await.expect(200);
    assert_eq!(
        (page.elements("PartNumber"), page.element("IsTruncated")),
        (vec!["1".into(), "2".into()], "true".into())
    );
    let marker = page.element("NextPartNumberMarker");
    let call = Call::get(&format!("/photos/a?uploadId={}", uploads[0])).query("part-number-marker", &marker);
    let page = house.send(&call).await.expect(200);
    assert_eq!((page.elements("PartNumber"), page.element("IsTruncated")), (vec!["3".to_owned()], "false".into()));
    assert_eq!(page.elements("Size"), ["8"]);

    let (mut keys, mut markers) = (Vec::new(), Vec::new());
    loop {
        let call = Call::get("/photos?uploads&max-uploads=1");
        let page = house.send(&markers.iter().fold(call, |c, (n, v): &(&str, String)| c.query(n, v))).await.expect(200);
        keys.extend(page.elements("Key"));
        if page.element("IsTruncated") == "false" {
            break;
        }
        markers = vec![
            ("key-marker", page.element("NextKeyMarker")),
            ("upload-id-marker", page.element("NextUploadIdMarker")),
        ];
    }
    assert_eq!(keys, ["a", "b/1", "b/2", "c"]);
    let malformed = Call::get("/photos?uploads&key-marker=a&upload-id-marker=nonsense");
    house.check_refused(&malformed, "InvalidArgument", 400).await;
    let page = house.send(&Call::get("/photos?uploads&delimiter=/&prefix=b")).await.expect(200);
    assert_eq!(
        (page.elements("Key").len(), page.elements("CommonPrefixes")),
        (0, vec!["<Prefix>b/</Prefix>".to_owned()])
    );
}

#[tokio::test]
async fn an_aborted_upload_is_gone() {
    let house = house_with_bucket().await;
    let upload = begin(&house, "a").await;
    part(&house, "a", &upload, 1, "12345678").await;
    house.send(&Call::delete(&format!("/photos/a?uploadId={upload}"))).await.expect(204);
    house.check_refused(&Call::get(&format!("/photos/a?uploadId={upload}")), "NoSuchUpload", 404).await;
    house.send(&Call::delete("/photos")).await.expect(204);
}

#[tokio::test]
async fn an_upload_with_a_checksum_checks_its_parts_and_answers_the_whole() {
    let house = house_with_bucket().await;
    for (kind, whole) in [("FULL_OBJECT", "Npnarg=="), ("COMPOSITE", "")] {
        let call = Call::post("/photos/film?uploads").header("x-amz-checksum-algorithm", "CRC32");
        let answer = house.send(&call.header("x-amz-checksum-type", kind)).await.expect(200);
        assert_eq!(answer.header("x-amz-checksum-algorithm"), "CRC32");
        let upload = answer.element("UploadId");
        let path = format!("/photos/film?partNumber=1&uploadId={upload}");
        let bad = Call::put(&path).body("hello world").header("x-amz-checksum-crc32", "AAAAAA==");
        house.check_refused(&bad, "BadDigest", 400).await;
        let answer = house.send(&Call::put(&path).body("hello world")).await.expect(200);
        assert_eq!(answer.header("x-amz-checksum-crc32"), "DUoRhQ==");
        let tag = answer.header("etag").to_owned();
        let end = Call::post(&format!("/photos/film?uploadId={upload}"));
        let wrong = completion(&[(1, &tag)]).replace("</ETag>", "</ETag><ChecksumCRC32>AAAAAA==</ChecksumCRC32>");
        house.check_refused(&end.clone().body(wrong), "InvalidPart", 400).await;
        let end = end.body(completion(&[(1, &tag)]));
        house.check_refused(&end.clone().header("x-amz-checksum-crc32", "AAAAAA=="), "BadDigest", 400).await;
        let other = if kind == "COMPOSITE" { "FULL_OBJECT" } else { "COMPOSITE" };
        house.check_refused(&end.clone().header("x-amz-checksum-type", other), "BadDigest", 400).await;
        house.check_refused(&end.clone().header("x-amz-checksum-type", "HALF"), "InvalidRequest", 400).await;
        house.check_refused(&end.clone().header("x-amz-checksum-crc32", "AAAAAA==-1"), "BadDigest", 400).await;
        let answer = house.send(&end.header("x-amz-checksum-type", kind)).await.expect(200);
        let found = answer.element("ChecksumCRC32");
        assert_eq!(answer.element("ChecksumType"), kind);
        assert!(if whole.is_empty() { found.ends_with("-1") } else { found == "DUoRhQ==" }, "{kind} {found}");
    }
}
