//! Uploads in parts: checksums of parts and of the whole, listed, copied into, given up.

use super::checksums::{ALGORITHMS, told};
use super::{BUCKET, Store, refusal, refused};
use aws_sdk_s3::operation::upload_part::UploadPartOutput;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{
    ChecksumAlgorithm, ChecksumMode, ChecksumType, CompletedMultipartUpload, CompletedPart, ObjectAttributes,
};
use cistern_tests::Content;

const PART_BYTES: usize = 5 << 20;
const KEY: &str = "dir/in parts ü";

fn content() -> Vec<u8> {
    Content { seed: 6, length: 2 * PART_BYTES + 1000 }.bytes()
}

fn completed(number: i32, part: UploadPartOutput) -> CompletedPart {
    CompletedPart::builder()
        .part_number(number)
        .set_e_tag(part.e_tag)
        .set_checksum_crc32(part.checksum_crc32)
        .set_checksum_crc32_c(part.checksum_crc32_c)
        .set_checksum_crc64_nvme(part.checksum_crc64_nvme)
        .set_checksum_sha1(part.checksum_sha1)
        .set_checksum_sha256(part.checksum_sha256)
        .build()
}

fn list(parts: Vec<CompletedPart>) -> CompletedMultipartUpload {
    CompletedMultipartUpload::builder().set_parts(Some(parts)).build()
}

/// Uploads the content in parts of 5 MiB, with this algorithm or the SDK's own choice.
async fn parts(store: &Store, upload: &str, algorithm: Option<&ChecksumAlgorithm>) -> Vec<CompletedPart> {
    let mut done = Vec::new();
    for (part, number) in content().chunks(PART_BYTES).zip(1..) {
        let put = store.client.upload_part().bucket(BUCKET).key(KEY).upload_id(upload).part_number(number);
        let put = put.body(part.to_vec().into()).set_checksum_algorithm(algorithm.cloned()).send().await.unwrap();
        done.push(completed(number, put));
    }
    done
}

#[tokio::test]
async fn parts_with_checksums_make_an_object_with_one() {
    let store = Store::with_bucket().await;
    let content = content();
    for (algorithm, kind) in [
        (ChecksumAlgorithm::Crc32, ChecksumType::Composite),
        (ChecksumAlgorithm::Crc32C, ChecksumType::Composite),
        (ChecksumAlgorithm::Sha1, ChecksumType::Composite),
        (ChecksumAlgorithm::Sha256, ChecksumType::Composite),
        (ChecksumAlgorithm::Crc32, ChecksumType::FullObject),
        (ChecksumAlgorithm::Crc32C, ChecksumType::FullObject),
        (ChecksumAlgorithm::Crc64Nvme, ChecksumType::FullObject),
    ] {
        let create = store.client.create_multipart_upload().bucket(BUCKET).key(KEY).metadata("word", "kept");
        let create = create.checksum_algorithm(algorithm.clone()).checksum_type(kind.clone()).send().await.unwrap();
        assert_eq!((create.checksum_algorithm(), create.checksum_type()), (Some(&algorithm), Some(&kind)));
        let upload = create.upload_id.unwrap();
        let parts = parts(&store, &upload, Some(&algorithm)).await;
        assert!(parts.iter().all(|part| told!(part, algorithm).is_some()), "{algorithm}");
        let complete = store.client.complete_multipart_upload().bucket(BUCKET).key(KEY).upload_id(upload);
        let complete = complete.checksum_type(kind.clone()).multipart_upload(list(parts)).send().await.unwrap();
        let sum = told!(complete, algorithm).unwrap().to_owned();

        let got = store.client.get_object().bucket(BUCKET).key(KEY).checksum_mode(ChecksumMode::Enabled);
        let got = got.send().await.unwrap();
        assert!(got.e_tag().unwrap().ends_with("-3\""));
        assert_eq!((told!(got, algorithm), got.checksum_type()), (Some(sum.as_str()), Some(&kind)));
        assert_eq!(got.metadata().unwrap()["word"], "kept");
        assert!(got.body.collect().await.unwrap().to_vec() == content, "{algorithm}");
        if kind == ChecksumType::Composite {
            assert!(sum.ends_with("-3"), "{sum}");
        } else {
            let whole = store.client.put_object().bucket(BUCKET).key("whole").checksum_algorithm(algorithm.clone());
            let whole = whole.body(content.clone().into()).send().await.unwrap();
            assert_eq!(told!(whole, algorithm), Some(sum.as_str()), "{algorithm}");
        }
    }
}

#[tokio::test]
async fn an_upload_without_a_wish_takes_what_the_sdk_sends() {
    let store = Store::with_bucket().await;
    let upload = store.client.create_multipart_upload().bucket(BUCKET).key(KEY).send().await.unwrap();
    let upload = upload.upload_id.unwrap();
    let parts = parts(&store, &upload, None).await;
    let complete = store.client.complete_multipart_upload().bucket(BUCKET).key(KEY).upload_id(upload);
    complete.multipart_upload(list(parts)).send().await.unwrap();
    assert!(store.get(KEY).await == content());
}

#[tokio::test]
async fn a_part_from_a_stream_has_its_checksum_in_a_trailer() {
    let store = Store::with_bucket().await;
    let content = content();
    let file = store.sandbox.path().join("part.bin");
    std::fs::write(&file, &content).unwrap();
    for algorithm in ALGORITHMS {
        let create = store.client.create_multipart_upload().bucket(BUCKET).key(KEY);
        let create = create.checksum_algorithm(algorithm.clone()).send().await.unwrap();
        let upload = create.upload_id.unwrap();
        let mut done = Vec::new();
        for (number, offset) in [(1, 0), (2, PART_BYTES)] {
            let length = if number == 1 { PART_BYTES } else { content.len() - PART_BYTES };
            let read = ByteStream::read_from().path(&file).offset(offset as u64);
            let read = read.length(aws_sdk_s3::primitives::Length::Exact(length as u64)).build().await.unwrap();
            let put = store.client.upload_part().bucket(BUCKET).key(KEY).upload_id(&upload).part_number(number);
            let put = put.checksum_algorithm(algorithm.clone()).body(read).send().await.unwrap();
            done.push(completed(number, put));
        }
        let complete = store.client.complete_multipart_upload().bucket(BUCKET).key(KEY).upload_id(upload);
        complete.multipart_upload(list(done)).send().await.unwrap();
        assert!(store.get(KEY).await == content, "{algorithm}");
    }
}

#[tokio::test]
async fn uploads_and_parts_are_listed_and_given_up() {
    let store = Store::with_bucket().await;
    let create = store.client.create_multipart_upload().bucket(BUCKET).key(KEY);
    let upload = create.checksum_algorithm(ChecksumAlgorithm::Crc32C).send().await.unwrap().upload_id.unwrap();
    let sent = parts(&store, &upload, Some(&ChecksumAlgorithm::Crc32C)).await;
    let uploads = store.client.list_multipart_uploads().bucket(BUCKET).prefix("dir/").send().await.unwrap();
    assert_eq!(uploads.uploads().len(), 1);
    assert_eq!((uploads.uploads()[0].key(), uploads.uploads()[0].upload_id()), (Some(KEY), Some(upload.as_str())));

    let listed = store.client.list_parts().bucket(BUCKET).key(KEY).upload_id(&upload).into_paginator().page_size(2);
    let listed = listed.items().send().collect::<Result<Vec<_>, _>>().await.unwrap();
    let told = listed.iter().map(|part| (part.part_number(), part.e_tag(), part.checksum_crc32_c()));
    let expected = sent.iter().map(|part| (part.part_number(), part.e_tag(), part.checksum_crc32_c()));
    assert_eq!(told.collect::<Vec<_>>(), expected.collect::<Vec<_>>());
    assert_eq!(listed[2].size(), Some(1000));

    store.client.abort_multipart_upload().bucket(BUCKET).key(KEY).upload_id(&upload).send().await.unwrap();
    let complete = store.client.complete_multipart_upload().bucket(BUCKET).key(KEY).upload_id(&upload);
    let complete = complete.multipart_upload(list(sent)).send().await;
    assert_eq!(refused(complete), refusal(404, "NoSuchUpload"));
    let put = store.client.upload_part().bucket(BUCKET).key(KEY).upload_id(&upload).part_number(1).send().await;
    assert_eq!(refused(put), refusal(404, "NoSuchUpload"));
    assert!(store.keys().await.is_empty());
}

#[tokio::test]
async fn an_upload_whose_parts_are_wrong_is_refused_and_can_still_be_completed() {
    let store = Store::with_bucket().await;
    let create = store.client.create_multipart_upload().bucket(BUCKET).key(KEY);
    let upload = create.checksum_algorithm(ChecksumAlgorithm::Sha256).send().await.unwrap().upload_id.unwrap();
    let sent = parts(&store, &upload, Some(&ChecksumAlgorithm::Sha256)).await;
    let complete = |parts: Vec<CompletedPart>| {
        let complete = store.client.complete_multipart_upload().bucket(BUCKET).key(KEY).upload_id(&upload);
        complete.multipart_upload(list(parts)).send()
    };
    let backwards = sent.iter().rev().cloned().collect();
    assert_eq!(refused(complete(backwards).await), refusal(400, "InvalidPartOrder"));
    let mut other_tag = sent.clone();
    other_tag[1] = CompletedPart::builder().part_number(2).set_e_tag(sent[0].e_tag.clone()).build();
    assert_eq!(refused(complete(other_tag).await), refusal(400, "InvalidPart"));
    let mut other_sum = sent.clone();
    let other = CompletedPart::builder().part_number(2).set_e_tag(sent[1].e_tag.clone());
    other_sum[1] = other.set_checksum_sha256(sent[0].checksum_sha256.clone()).build();
    assert_eq!(refused(complete(other_sum).await), refusal(400, "InvalidPart"));
    let unknown = CompletedPart::builder().part_number(4).e_tag("\"00000000000000000000000000000000\"").build();
    let mut more = sent.clone();
    more.push(unknown);
    assert_eq!(refused(complete(more).await), refusal(400, "InvalidPart"));
    assert!(store.keys().await.is_empty());
    complete(sent).await.unwrap();
    assert!(store.get(KEY).await == content());
}

#[tokio::test]
async fn a_part_with_a_wrong_checksum_and_one_that_is_too_small_are_refused() {
    let store = Store::with_bucket().await;
    let upload = store.client.create_multipart_upload().bucket(BUCKET).key(KEY).send().await.unwrap();
    let upload = upload.upload_id.unwrap();
    let put = |number| {
        let put = store.client.upload_part().bucket(BUCKET).key(KEY).upload_id(&upload).part_number(number);
        put.body(ByteStream::from_static(b"small"))
    };
    assert_eq!(refused(put(1).checksum_crc32("AAAAAA==").send().await), refusal(400, "BadDigest"));
    let mut done = Vec::new();
    for number in [1, 2] {
        done.push(completed(number, put(number).send().await.unwrap()));
    }
    let complete = store.client.complete_multipart_upload().bucket(BUCKET).key(KEY).upload_id(&upload);
    let complete = complete.multipart_upload(list(done)).send().await;
    assert_eq!(refused(complete), refusal(400, "EntityTooSmall"));
}

#[tokio::test]
async fn parts_are_copied_from_objects_and_told_as_attributes() {
    let store = Store::with_bucket().await;
    let content = content();
    store.put("source", &content).await;
    let create = store.client.create_multipart_upload().bucket(BUCKET).key(KEY);
    let upload = create.checksum_algorithm(ChecksumAlgorithm::Sha256).send().await.unwrap().upload_id.unwrap();
    let mut done = Vec::new();
    for (number, range) in
        [(1, format!("bytes=0-{}", PART_BYTES - 1)), (2, format!("bytes={PART_BYTES}-{}", content.len() - 1))]
    {
        let copy = store.client.upload_part_copy().bucket(BUCKET).key(KEY).upload_id(&upload).part_number(number);
        let copy = copy.copy_source(format!("{BUCKET}/source")).copy_source_range(range).send().await.unwrap();
        let copy = copy.copy_part_result.unwrap();
        let part = CompletedPart::builder().part_number(number).set_e_tag(copy.e_tag);
        done.push(part.set_checksum_sha256(copy.checksum_sha256).build());
    }
    assert!(done.iter().all(|part| part.checksum_sha256().is_some()));
    let complete = store.client.complete_multipart_upload().bucket(BUCKET).key(KEY).upload_id(&upload);
    complete.multipart_upload(list(done.clone())).if_none_match("*").send().await.unwrap();
    assert!(store.get(KEY).await == content);

    let ask = store.client.get_object_attributes().bucket(BUCKET).key(KEY).max_parts(1);
    let ask = ask.object_attributes(ObjectAttributes::ObjectParts).object_attributes(ObjectAttributes::Checksum);
    let told = ask.send().await.unwrap();
    let parts = told.object_parts().unwrap();
    assert_eq!((parts.total_parts_count(), parts.is_truncated(), parts.parts().len()), (Some(2), Some(true), 1));
    assert_eq!(parts.parts()[0].size(), Some(5 << 20));
    assert_eq!(parts.parts()[0].checksum_sha256(), done[0].checksum_sha256());
    let first = store.client.get_object().bucket(BUCKET).key(KEY).part_number(2).send().await.unwrap();
    assert_eq!(first.parts_count(), Some(2));
    assert!(first.body.collect().await.unwrap().to_vec() == content[PART_BYTES..]);
}

#[tokio::test]
async fn an_upload_that_must_create_its_key_finds_that_another_was_first() {
    let store = Store::with_bucket().await;
    let upload = store.client.create_multipart_upload().bucket(BUCKET).key(KEY).send().await.unwrap();
    let upload = upload.upload_id.unwrap();
    let put = store.client.upload_part().bucket(BUCKET).key(KEY).upload_id(&upload).part_number(1);
    let part = completed(1, put.body(ByteStream::from_static(b"late")).send().await.unwrap());
    store.put(KEY, b"first").await;
    let complete = store.client.complete_multipart_upload().bucket(BUCKET).key(KEY).upload_id(&upload);
    let complete = complete.if_none_match("*").multipart_upload(list(vec![part])).send().await;
    assert_eq!(refused(complete), refusal(412, "PreconditionFailed"));
    assert_eq!(store.get(KEY).await, b"first");
}
