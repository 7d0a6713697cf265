//! Writers of one key that shall not be there yet.

use super::checksum::crc32c;
use super::{clients, lost, race, rounds};
use crate::sandbox::server_with_bucket;
use cistern_tests::{Call, Content, wait};

const WRITERS: usize = 64;
/// Bodies of one stripe and of several.
const LENGTHS: [usize; 4] = [1, 700, 20_000, 300_000];

fn body_of(round: u32, writer: usize) -> Vec<u8> {
    let length = LENGTHS[(writer + round as usize) % LENGTHS.len()];
    let length = if length > 20_000 && !writer.is_multiple_of(8) { 5000 } else { length };
    Content { seed: u64::from(round) * 1000 + writer as u64, length: length + writer }.bytes()
}

#[test]
fn of_many_writers_of_a_new_key_exactly_one_wins_and_its_body_is_what_is_read() {
    let (_sandbox, server, mut s3) = server_with_bucket("races");
    let mut writers = clients(&server, WRITERS);
    let (rounds, start) = (rounds(), wait::now());
    let mut refused = [0_u32; 2];
    for round in 0..rounds {
        let path = format!("/races/{round}");
        let answers = race(&mut writers, round, |writer, s3| {
            let body = body_of(round, writer);
            let call = Call::new("PUT", &path).header("if-none-match", "*");
            s3.send(&call.header("x-amz-checksum-crc32c", &crc32c(&body)).body(&body))
        });
        let winners: Vec<usize> = (0..WRITERS).filter(|writer| answers[*writer].status == 200).collect();
        for (writer, answer) in answers.iter().enumerate().filter(|(_, answer)| answer.status != 200) {
            assert!(lost(answer), "round {round}, writer {writer}: {} {}", answer.status, answer.text());
            refused[usize::from(answer.status == 409)] += 1;
        }
        assert_eq!(winners.len(), 1, "round {round}: writers {winners:?} won");
        let (body, won) = (body_of(round, winners[0]), &answers[winners[0]]);
        let sum = crc32c(&body);
        assert_eq!(won.header("x-amz-checksum-crc32c"), Some(sum.as_str()), "round {round}");
        let read = s3.send(&Call::new("GET", &path).header("x-amz-checksum-mode", "ENABLED")).unwrap().ok().unwrap();
        assert!(read.body == body, "round {round}: the body is not that of the winner, writer {}", winners[0]);
        assert_eq!(read.header("x-amz-checksum-crc32c"), Some(sum.as_str()), "round {round}");
        assert_eq!(read.header("etag"), won.header("etag"), "round {round}");
    }
    assert_eq!(s3.keys("races", "").unwrap().len(), rounds as usize);
    println!(
        "races: {rounds} rounds of {WRITERS} writers of a new key in {:.0} s: one winner each, {} times 412, {} times 409",
        start.elapsed().as_secs_f64(),
        refused[0],
        refused[1]
    );
}
