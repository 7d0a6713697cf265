//! The loads of objects: small and large ones, lists.

use crate::load::{self, Times};
use crate::meter::Meter;
use crate::report::{Figure, Goal, Line, Report};
use crate::requests::{self, Expected, Request};
use anyhow::{Result, ensure};
use cistern_tests::http::Connection;
use cistern_tests::{Call, Content, Payload, S3, Server};

/// The bucket of all loads.
pub(crate) const BUCKET: &str = "bench";
const SMALL_BYTES: usize = 4096;
const LARGE_BYTES: usize = 1 << 20;
const LISTED_KEYS: usize = 10_000;
const PAGE_KEYS: usize = 1_000;
/// Answered without work, and so many times.
const FLOOR: &str = "/healthz";
const FLOOR_ANSWERS: usize = 80_000;

/// CPU of a mebibyte at 3.5 GB read, and at 0.6 GB written, a CPU second; in microseconds.
const GET_LARGE_MICROS: f64 = 300.0;
const PUT_LARGE_MICROS: f64 = 1_748.0;

/// One load of requests.
struct ObjectLoad {
    name: &'static str,
    clients: usize,
    operations: usize,
    goals: Vec<Goal>,
}

impl ObjectLoad {
    /// Requests prepared beforehand: the client takes as little of the machine as it can.
    fn run<'a>(
        self,
        server: &Server,
        divisor: usize,
        report: &mut Report,
        request: impl Fn(usize) -> (Call<'a>, Expected),
    ) -> Result<()> {
        let operations = (self.operations / divisor).max(self.clients);
        let mut s3 = server.s3()?;
        let prepared = (0..operations).map(|number| {
            let (call, expected) = request(number);
            Request::signed(&mut s3, &call, expected)
        });
        let requests: Vec<Request<'_>> = prepared.collect();
        let line = self.measured(server, operations, |clients| requests::run(server.s3_host(), clients, &requests))?;
        report.add(line);
        Ok(())
    }

    /// Requests of one client whose answers are looked into.
    fn ask(
        self,
        server: &Server,
        report: &mut Report,
        operation: impl Fn(&mut S3, usize) -> Result<()> + Sync,
    ) -> Result<()> {
        let operations = self.operations;
        let line = self.measured(server, operations, |clients| load::run(server, clients, operations, operation))?;
        report.add(line);
        Ok(())
    }

    /// What the server uses while so many clients do it.
    fn measured(self, server: &Server, operations: usize, load: impl FnOnce(usize) -> Result<Times>) -> Result<Line> {
        let meter = Meter::read(server)?;
        let times = load(self.clients)?;
        let used = meter.used(server)?;
        Ok(Line::of_load(self.name, operations, &times, used, self.goals))
    }
}

/// A plain HTTP answer of the same process: what the machine takes for the least that a server can do.
pub(crate) fn floor(server: &Server, divisor: usize, report: &mut Report) -> Result<()> {
    let operations = FLOOR_ANSWERS / divisor;
    let host = server.management_host();
    let length = Connection::open(host)?.send("GET", FLOOR, &[], b"")?.ok()?.body.len();
    let requests: Vec<Request<'_>> =
        (0..operations).map(|_| Request::plain(host, FLOOR, Expected::Body(length))).collect();
    let load =
        ObjectLoad { name: "plain answer, 32 clients", clients: 32, operations: FLOOR_ANSWERS, goals: Vec::new() };
    report.add_plain_answer(load.measured(server, operations, |clients| requests::run(host, clients, &requests))?);
    Ok(())
}

fn small(number: usize) -> String {
    format!("/{BUCKET}/small/{number:06}")
}

fn large(number: usize) -> String {
    format!("/{BUCKET}/large/{number:06}")
}

fn get<'a>(path: &str, bytes: usize) -> (Call<'a>, Expected) {
    (Call::new("GET", path).payload(Payload::Unsigned), Expected::Body(bytes))
}

fn put<'a>(path: &str, body: &'a [u8]) -> (Call<'a>, Expected) {
    (Call::new("PUT", path).payload(Payload::Unsigned).body(body), Expected::Stored)
}

/// PUT and GET of small and large objects.
pub(crate) fn objects(server: &Server, divisor: usize, report: &mut Report) -> Result<()> {
    let small_body = Content { seed: 1, length: SMALL_BYTES }.bytes();
    let large_body = Content { seed: 2, length: LARGE_BYTES }.bytes();
    let goals = vec![Goal::at_most(Figure::CpuMicros, 60.0), Goal::at_most(Figure::Syncs, 0.5)];
    ObjectLoad { name: "PUT 4 KiB, 1 client", clients: 1, operations: 2_000, goals: Vec::new() }.run(
        server,
        divisor,
        report,
        |n| put(&format!("/{BUCKET}/alone/{n:06}"), &small_body),
    )?;
    ObjectLoad { name: "PUT 4 KiB, 32 clients", clients: 32, operations: LISTED_KEYS, goals }.run(
        server,
        divisor,
        report,
        |n| put(&small(n), &small_body),
    )?;
    ObjectLoad { name: "PUT 4 KiB signed, 32 clients", clients: 32, operations: 5_000, goals: Vec::new() }.run(
        server,
        divisor,
        report,
        |n| (Call::new("PUT", &format!("/{BUCKET}/signed/{n:06}")).body(&small_body), Expected::Stored),
    )?;
    let written = LISTED_KEYS / divisor;
    let cpu = |micros: f64| vec![Goal::at_most(Figure::CpuMicros, micros)];
    ObjectLoad { name: "GET 4 KiB, 1 client", clients: 1, operations: 5_000, goals: Vec::new() }.run(
        server,
        divisor,
        report,
        |n| get(&small(n % written), SMALL_BYTES),
    )?;
    ObjectLoad { name: "GET 4 KiB, 32 clients", clients: 32, operations: 40_000, goals: cpu(25.0) }.run(
        server,
        divisor,
        report,
        |n| get(&small(n % written), SMALL_BYTES),
    )?;
    ObjectLoad { name: "HEAD, 32 clients", clients: 32, operations: 40_000, goals: cpu(15.0) }.run(
        server,
        divisor,
        report,
        |n| {
            let call = Call::new("HEAD", &small(n % written)).payload(Payload::Unsigned);
            (call, Expected::Announced(SMALL_BYTES))
        },
    )?;
    let large_objects = 400 / divisor;
    ObjectLoad { name: "PUT 1 MiB, 8 clients", clients: 8, operations: 400, goals: cpu(PUT_LARGE_MICROS) }.run(
        server,
        divisor,
        report,
        |n| put(&large(n), &large_body),
    )?;
    ObjectLoad { name: "GET 1 MiB, 8 clients", clients: 8, operations: 2_000, goals: cpu(GET_LARGE_MICROS) }.run(
        server,
        divisor,
        report,
        |n| get(&large(n % large_objects), LARGE_BYTES),
    )
}

/// Pages of a list of 10,000 keys.
pub(crate) fn listing(server: &Server, divisor: usize, report: &mut Report) -> Result<()> {
    let keys = LISTED_KEYS / divisor;
    let page = PAGE_KEYS / divisor;
    let goals = vec![Goal::at_most(Figure::CpuMicros, 2_000.0)];
    ObjectLoad { name: "LIST page of 1,000 keys", clients: 1, operations: 200, goals }.ask(server, report, |s3, n| {
        let after = format!("small/{:06}", n * page % keys);
        let call = Call::new("GET", &format!("/{BUCKET}")).query("list-type", &2).query("prefix", "small/");
        let call = call.query("max-keys", &page).query("start-after", &after);
        let answer = s3.send(&call)?.ok()?;
        let expected = page.min(keys - 1 - n * page % keys);
        let listed = answer.xml_all("Key").len();
        ensure!(listed == expected, "a page of {listed} keys, {expected} expected");
        Ok(())
    })
}

/// Deletes of objects that the loads before have written, one at a time and many in one request.
pub(crate) fn deletes(server: &Server, divisor: usize, report: &mut Report) -> Result<()> {
    let goals = vec![Goal::at_most(Figure::CpuMicros, 50.0)];
    ObjectLoad { name: "DELETE, 32 clients", clients: 32, operations: 5_000, goals }.run(
        server,
        divisor,
        report,
        |n| {
            let path = format!("/{BUCKET}/signed/{n:06}");
            (Call::new("DELETE", &path).payload(Payload::Unsigned), Expected::Body(0))
        },
    )?;
    let many = LISTED_KEYS / PAGE_KEYS;
    let page = PAGE_KEYS / divisor;
    let goals = vec![Goal::at_most(Figure::CpuMicros, 10_000.0)];
    ObjectLoad { name: "DELETE of 1,000 keys", clients: 1, operations: many, goals }.ask(server, report, |s3, n| {
        let keys = (n * page..(n + 1) * page).map(|key| format!("<Object><Key>small/{key:06}</Key></Object>"));
        let body = format!("<Delete>{}</Delete>", keys.collect::<String>());
        let call = Call::new("POST", &format!("/{BUCKET}")).query("delete", "").body(body.as_bytes());
        let answer = s3.send(&call)?.ok()?;
        let deleted = answer.xml_all("Key").len();
        ensure!(deleted == page && !answer.text().contains("<Error>"), "{deleted} of {page} keys deleted");
        Ok(())
    })
}
