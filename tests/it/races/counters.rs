//! Clients that count in an object: read, add one, write if nobody else has.

use super::{clients, lost, race, rounds};
use crate::sandbox::server_with_bucket;
use anyhow::Context as _;
use cistern_tests::Call;

const CLIENTS: usize = 8;
/// What each client adds in one game; a soak plays more games.
const INCREMENTS: usize = 50;
const ROUNDS_PER_GAME: u32 = 30;

#[test]
fn a_counter_kept_by_compare_and_swap_counts_every_increment_once() {
    let (_sandbox, server, mut s3) = server_with_bucket("races");
    let mut counting = clients(&server, CLIENTS);
    let games = rounds().div_ceil(ROUNDS_PER_GAME);
    let mut refused = 0;
    for game in 0..games {
        let path = format!("/races/counter-{game}");
        s3.put("races", &format!("counter-{game}"), b"0").unwrap();
        refused += race(&mut counting, game, |_, s3| {
            let (mut done, mut refused) = (0, 0);
            while done < INCREMENTS {
                let read = s3.send(&Call::new("GET", &path))?.ok()?;
                let tag = read.header("etag").context("no tag")?.to_owned();
                let next = (read.text().parse::<u32>()? + 1).to_string();
                let answer = s3.send(&Call::new("PUT", &path).header("if-match", &tag).body(next.as_bytes()))?;
                if answer.status == 200 {
                    done += 1;
                } else {
                    anyhow::ensure!(lost(&answer), "{} {}", answer.status, answer.text());
                    refused += 1;
                }
            }
            Ok(refused)
        })
        .iter()
        .sum::<u32>();
        let end = s3.get("races", &format!("counter-{game}")).unwrap().unwrap();
        assert_eq!(String::from_utf8(end).unwrap(), (CLIENTS * INCREMENTS).to_string(), "game {game}");
    }
    println!("races: {games} counters of {CLIENTS} clients ended at {}, {refused} refused", CLIENTS * INCREMENTS);
}
