//! Uploads of one key that are completed at once.

use super::{clients, code, lost, race, rounds};
use crate::sandbox::Sandbox;
use cistern_tests::http::Response;
use cistern_tests::{Call, Content, S3};
use std::fmt::Write as _;

const UPLOADS: usize = 8;
const PARTS: usize = 3;
const PART_BYTES: usize = 3000;

/// An upload whose parts are there.
struct Upload {
    id: String,
    list: String,
    body: Vec<u8>,
}

impl Upload {
    fn begin(s3: &mut S3, path: &str, seed: u64) -> Self {
        let id = s3.send(&Call::new("POST", path).query("uploads", "")).unwrap().ok().unwrap().xml("UploadId");
        let body = Content { seed, length: PARTS * PART_BYTES - usize::try_from(seed % 100).unwrap() }.bytes();
        let mut list = String::new();
        for (part, number) in body.chunks(PART_BYTES).zip(1..) {
            let call = Call::new("PUT", path).query("partNumber", &number).query("uploadId", &id).body(part);
            let answer = s3.send(&call).unwrap().ok().unwrap();
            let tag = answer.header("etag").unwrap();
            write!(list, "<Part><PartNumber>{number}</PartNumber><ETag>{tag}</ETag></Part>").unwrap();
        }
        Self { id, list: format!("<CompleteMultipartUpload>{list}</CompleteMultipartUpload>"), body }
    }

    fn complete(&self, s3: &mut S3, path: &str) -> anyhow::Result<Response> {
        let call = Call::new("POST", path).query("uploadId", &self.id).header("if-none-match", "*");
        s3.send(&call.body(self.list.as_bytes()))
    }
}

#[test]
fn of_many_uploads_of_a_new_key_exactly_one_is_completed_and_whole() {
    let sandbox = Sandbox::new();
    let server = sandbox.spec().setting("S3__PART_SIZE_MIN", "1KiB").start().unwrap();
    let mut s3 = server.s3().unwrap();
    s3.create_bucket("races").unwrap();
    let mut completing = clients(&server, UPLOADS);
    let rounds = rounds();
    for round in 0..rounds {
        let path = format!("/races/{round}");
        let seed = |number: usize| u64::from(round) * 100 + number as u64;
        let uploads: Vec<Upload> = (0..UPLOADS).map(|number| Upload::begin(&mut s3, &path, seed(number))).collect();
        let answers = race(&mut completing, round, |number, s3| uploads[number].complete(s3, &path));
        let winners: Vec<usize> = (0..UPLOADS).filter(|number| code(&answers[*number]).is_empty()).collect();
        assert_eq!(winners.len(), 1, "round {round}: uploads {winners:?} were completed");
        for (number, answer) in answers.iter().enumerate().filter(|(number, _)| *number != winners[0]) {
            assert!(lost(answer), "round {round}, upload {number}: {} {}", answer.status, answer.text());
        }
        let read = s3.send(&Call::new("GET", &path)).unwrap().ok().unwrap();
        assert!(read.body == uploads[winners[0]].body, "round {round}: the body is not that of upload {}", winners[0]);
        assert_eq!(read.header("etag").unwrap_or_default(), answers[winners[0]].xml("ETag").replace("&quot;", "\""));
        for (number, upload) in uploads.iter().enumerate() {
            let again = upload.complete(&mut s3, &path).unwrap();
            assert!(lost(&again) || number == winners[0] || code(&again) == "NoSuchUpload", "{}", again.text());
            let abort = s3.send(&Call::new("DELETE", &path).query("uploadId", &upload.id)).unwrap();
            assert!(abort.status == 204 || abort.status == 404, "round {round}: {} {}", abort.status, abort.text());
        }
        assert!(s3.get("races", &round.to_string()).unwrap().as_ref() == Some(&uploads[winners[0]].body));
    }
    let left = s3.send(&Call::new("GET", "/races").query("uploads", "")).unwrap().ok().unwrap();
    assert_eq!(left.xml_all("UploadId"), Vec::<String>::new(), "uploads are left");
    println!("races: {rounds} rounds of {UPLOADS} completions of a new key: one each, whole");
}
