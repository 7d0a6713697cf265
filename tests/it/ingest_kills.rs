//! Producers that go on while their server is killed and started again: nothing they were told is stored is lost, nothing is
//! stored twice.
//!
//! `CISTERN_INGEST_KILLS` says how many kills there are for each protocol alone and for all together, with a million events at
//! least each time (`cargo xtask soak`); without it all together are killed 20 times.

use crate::sandbox::{Sandbox, asked};
use cistern_tests::{Server, ServerSpec, python, wait};
use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Child, Stdio};
use std::sync::mpsc;
use std::time::Duration;

/// The longest wait for a word, and a part of that for the end.
const WORD_LIMIT: Duration = Duration::from_mins(2);
/// The longest that everything takes to be in objects and counted.
const END_LIMIT: Duration = Duration::from_mins(10);

/// A script that says `acknowledged N` again and again.
struct Producing {
    child: Child,
    lines: mpsc::Receiver<String>,
    said: String,
}

impl Producing {
    fn start(server: &Server, script: &[&str]) -> Self {
        let mut command = python::script_command(server, script[0]).unwrap();
        let mut child = command
            .args(&script[1..])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let (say, lines) = mpsc::channel();
        std::thread::spawn(move || stdout.lines().map_while(Result::ok).try_for_each(|line| say.send(line)));
        Self { child, lines, said: String::new() }
    }

    /// Waits until more is acknowledged than so far.
    fn wait_for_more(&mut self, words: usize) {
        while self.lines.try_recv().is_ok() {}
        for _ in 0..words {
            self.said = self.lines.recv_timeout(WORD_LIMIT).expect("nothing more is acknowledged");
        }
    }

    /// Lets it end; answers its last line.
    fn finish(mut self) -> String {
        drop(self.child.stdin.take());
        let mut stderr = self.child.stderr.take().unwrap();
        let ended = wait::until("the producer ends", END_LIMIT, || Ok(self.child.try_wait()?));
        self.child.kill().unwrap();
        let mut wrong = String::new();
        stderr.read_to_string(&mut wrong).unwrap();
        assert!(ended.unwrap().success(), "after {}:\n{wrong}", self.said);
        self.lines.iter().last().unwrap_or_default()
    }
}

/// Runs a script that says `acknowledged N` again and again, on a server that is ended and started meanwhile; it must pass.
pub(crate) fn passes_over<E: std::fmt::Debug>(script: &[&str], end: impl Fn(Server) -> Result<ServerSpec, E>) {
    passes_over_many(script, 4, 3, end);
}

/// The same with so many ends, each after so many words.
fn passes_over_many<E: std::fmt::Debug>(
    script: &[&str],
    ends: u64,
    words_between: usize,
    end: impl Fn(Server) -> Result<ServerSpec, E>,
) {
    let sandbox = Sandbox::new();
    let mut server = sandbox.start();
    let spec = server.spec_on_its_ports();
    let mut producing = Producing::start(&server, script);
    for _ in 0..ends {
        producing.wait_for_more(words_between);
        end(server).unwrap();
        server = spec.start().unwrap();
    }
    producing.wait_for_more(words_between);
    assert_eq!(producing.finish(), "1 passed, 0 failed");
    drop(server);
}

#[test]
fn all_protocols_at_once_lose_and_double_nothing_over_kills() {
    let (alone, kills, events): (&[&str], u64, u64) = match asked("CISTERN_INGEST_KILLS") {
        Some(kills) => (&["http", "websocket", "kafka"], kills, 1_000_000),
        None => (&[], 20, 120_000),
    };
    for protocols in alone.iter().chain(&["http,websocket,kafka"]) {
        let says_every = (events / (kills + 1)).max(1);
        let script = ["ingest_kills.py", protocols, &events.to_string(), &says_every.to_string()];
        passes_over_many(&script, kills, 1, Server::kill);
        println!("{protocols}: {kills} kills, {events} events or more");
    }
}
