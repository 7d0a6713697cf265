//! A client that posts events with ids of its own, and its journal of them.

use super::{Beats, Broken};
use cistern_tests::Pipeline;
use cistern_tests::http::Connection;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use std::fmt::Write as _;
use std::ops::Range;

const BODY_EVENTS_MAX: u64 = 60;
const GROUPS: u64 = 5;

#[derive(Debug)]
pub(super) struct Sender {
    pub(super) number: usize,
    random: StdRng,
    next: u64,
    /// Bodies the server acknowledged, as ranges of event numbers.
    pub(super) acknowledged: Vec<Range<u64>>,
    /// Bodies that got no answer.
    pub(super) unanswered: Vec<Range<u64>>,
}

impl Sender {
    pub(super) fn new(number: usize, seed: u64) -> Self {
        let random = StdRng::seed_from_u64(seed);
        Self { number, random, next: 0, acknowledged: Vec::new(), unanswered: Vec::new() }
    }

    /// The ids of a body's events.
    pub(super) fn ids(&self, body: &Range<u64>) -> impl Iterator<Item = String> {
        let number = self.number;
        body.clone().map(move |event| format!("{number}-{event}"))
    }

    /// Posts until the server is gone; answers what a living server refused, which it had no reason to.
    pub(super) fn work(&mut self, host: &str, pipeline: &Pipeline, beat: &Beats) -> Broken {
        let Ok(mut connection) = Connection::open(host) else { return Broken::new() };
        loop {
            let body = self.next..self.next + self.random.random_range(1..=BODY_EVENTS_MAX);
            self.next = body.end;
            let mut events = String::new();
            for (event, id) in body.clone().zip(self.ids(&body)) {
                let group = event % GROUPS;
                writeln!(events, r#"{{"id":"{id}","group":"g{group}","value":{event},"text":"some text"}}"#).unwrap();
            }
            let _ = beat.send(());
            match pipeline.send(&mut connection, &events) {
                Ok(committed) if committed == body.end - body.start => self.acknowledged.push(body),
                Ok(committed) => return vec![format!("{body:?}: {committed} committed")],
                Err(error) => {
                    self.unanswered.push(body.clone());
                    let refused = error.to_string().starts_with("answered");
                    return if refused { vec![format!("events {body:?}: {error:#}")] } else { Broken::new() };
                }
            }
            let _ = beat.send(());
        }
    }
}
