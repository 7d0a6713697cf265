//! The loads of objects: small and large ones, lists.

use crate::load;
use crate::meter::Meter;
use crate::report::{Figure, Goal, Line, Report};
use anyhow::{Result, ensure};
use cistern_tests::http::Connection;
use cistern_tests::{Call, Content, Payload, S3, Server};

/// The bucket of all loads.
pub(crate) const BUCKET: &str = "bench";
const SMALL_BYTES: usize = 4096;
const LARGE_BYTES: usize = 1 << 20;
const LISTED_KEYS: usize = 10_000;
const PAGE_KEYS: usize = 1_000;
const FLOOR_ANSWERS: usize = 40_000;

/// CPU of a mebibyte at 3.5 GB read, and at 0.6 GB written, a CPU second; in microseconds.
const GET_LARGE_MICROS: f64 = 300.0;
const PUT_LARGE_MICROS: f64 = 1_748.0;

/// One load of S3 requests.
struct ObjectLoad {
    name: &'static str,
    clients: usize,
    operations: usize,
    goals: Vec<Goal>,
}

impl ObjectLoad {
    fn run(
        self,
        server: &Server,
        divisor: usize,
        report: &mut Report,
        operation: impl Fn(&mut S3, usize) -> Result<()> + Sync,
    ) -> Result<()> {
        let operations = (self.operations / divisor).max(self.clients);
        let meter = Meter::read(server)?;
        let times = load::run(server, self.clients, operations, operation)?;
        let used = meter.used(server)?;
        report.add(Line::of_load(self.name, operations, &times, used, self.goals));
        Ok(())
    }
}

/// A plain HTTP answer of the same process: what the machine takes for the least that a server can do.
pub(crate) fn floor(server: &Server, divisor: usize, report: &mut Report) -> Result<()> {
    let operations = FLOOR_ANSWERS / divisor;
    let meter = Meter::read(server)?;
    let connect = || Connection::open(server.management_host());
    let times = load::run_with(8, operations, connect, |connection, _| {
        connection.send("GET", "/healthz", &[], b"")?.ok().map(drop)
    })?;
    let used = meter.used(server)?;
    report.add_plain_answer(Line::of_load("plain answer, 8 clients", operations, &times, used, Vec::new()));
    Ok(())
}

/// PUT and GET of small and large objects.
pub(crate) fn objects(server: &Server, divisor: usize, report: &mut Report) -> Result<()> {
    let small = Content { seed: 1, length: SMALL_BYTES }.bytes();
    let large = Content { seed: 2, length: LARGE_BYTES }.bytes();
    let put = |s3: &mut S3, path: &str, body: &[u8]| {
        let answer = s3.send(&Call::new("PUT", path).payload(Payload::Unsigned).body(body))?.ok()?;
        ensure!(answer.header("etag").is_some(), "a PUT without an ETag");
        Ok(())
    };
    let get = |s3: &mut S3, path: &str, length: usize| {
        let answer = s3.send(&Call::new("GET", path).payload(Payload::Unsigned))?.ok()?;
        ensure!(answer.body.len() == length, "a GET of {} bytes, {length} expected", answer.body.len());
        Ok(())
    };
    let goals_put = vec![Goal::at_most(Figure::CpuMicros, 60.0), Goal::at_most(Figure::Syncs, 0.5)];
    ObjectLoad { name: "PUT 4 KiB, 1 client", clients: 1, operations: 2_000, goals: Vec::new() }.run(
        server,
        divisor,
        report,
        |s3, n| put(s3, &format!("/{BUCKET}/alone/{n:06}"), &small),
    )?;
    ObjectLoad { name: "PUT 4 KiB, 32 clients", clients: 32, operations: LISTED_KEYS, goals: goals_put }.run(
        server,
        divisor,
        report,
        |s3, n| put(s3, &format!("/{BUCKET}/small/{n:06}"), &small),
    )?;
    ObjectLoad { name: "PUT 4 KiB signed, 32 clients", clients: 32, operations: 5_000, goals: Vec::new() }.run(
        server,
        divisor,
        report,
        |s3, n| s3.put(BUCKET, &format!("signed/{n:06}"), &small),
    )?;
    let written = LISTED_KEYS / divisor;
    let cpu = |micros: f64| vec![Goal::at_most(Figure::CpuMicros, micros)];
    ObjectLoad { name: "GET 4 KiB, 1 client", clients: 1, operations: 5_000, goals: Vec::new() }.run(
        server,
        divisor,
        report,
        |s3, n| get(s3, &format!("/{BUCKET}/small/{:06}", n % written), SMALL_BYTES),
    )?;
    ObjectLoad { name: "GET 4 KiB, 8 clients", clients: 8, operations: 20_000, goals: cpu(25.0) }.run(
        server,
        divisor,
        report,
        |s3, n| get(s3, &format!("/{BUCKET}/small/{:06}", n % written), SMALL_BYTES),
    )?;
    ObjectLoad { name: "HEAD, 8 clients", clients: 8, operations: 20_000, goals: cpu(15.0) }.run(
        server,
        divisor,
        report,
        |s3, n| {
            let path = format!("/{BUCKET}/small/{:06}", n % written);
            s3.send(&Call::new("HEAD", &path).payload(Payload::Unsigned))?.ok().map(drop)
        },
    )?;
    let large_objects = 400 / divisor;
    ObjectLoad { name: "PUT 1 MiB, 8 clients", clients: 8, operations: 400, goals: cpu(PUT_LARGE_MICROS) }.run(
        server,
        divisor,
        report,
        |s3, n| put(s3, &format!("/{BUCKET}/large/{n:06}"), &large),
    )?;
    ObjectLoad { name: "GET 1 MiB, 8 clients", clients: 8, operations: 2_000, goals: cpu(GET_LARGE_MICROS) }.run(
        server,
        divisor,
        report,
        |s3, n| get(s3, &format!("/{BUCKET}/large/{:06}", n % large_objects), LARGE_BYTES),
    )
}

/// Pages of a list of 10,000 keys.
pub(crate) fn listing(server: &Server, divisor: usize, report: &mut Report) -> Result<()> {
    let keys = LISTED_KEYS / divisor;
    let page = PAGE_KEYS / divisor;
    let goals = vec![Goal::at_most(Figure::CpuMicros, 2_000.0)];
    ObjectLoad { name: "LIST page of 1,000 keys", clients: 1, operations: 200, goals }.run(
        server,
        1,
        report,
        |s3, n| {
            let after = format!("small/{:06}", n * page % keys);
            let call = Call::new("GET", &format!("/{BUCKET}")).query("list-type", &2).query("prefix", "small/");
            let call = call.query("max-keys", &page).query("start-after", &after);
            let answer = s3.send(&call)?.ok()?;
            let expected = page.min(keys - 1 - n * page % keys);
            let listed = answer.xml_all("Key").len();
            ensure!(listed == expected, "a page of {listed} keys, {expected} expected");
            Ok(())
        },
    )
}

/// Deletes of objects that the loads before have written, one at a time and many in one request.
pub(crate) fn deletes(server: &Server, divisor: usize, report: &mut Report) -> Result<()> {
    let goals = vec![Goal::at_most(Figure::CpuMicros, 50.0)];
    ObjectLoad { name: "DELETE, 32 clients", clients: 32, operations: 5_000, goals }.run(
        server,
        divisor,
        report,
        |s3, n| {
            let path = format!("/{BUCKET}/signed/{n:06}");
            s3.send(&Call::new("DELETE", &path).payload(Payload::Unsigned))?.ok().map(drop)
        },
    )?;
    let many = LISTED_KEYS / PAGE_KEYS;
    let page = PAGE_KEYS / divisor;
    let goals = vec![Goal::at_most(Figure::CpuMicros, 10_000.0)];
    ObjectLoad { name: "DELETE of 1,000 keys", clients: 1, operations: many, goals }.run(server, 1, report, |s3, n| {
        let keys = (n * page..(n + 1) * page).map(|key| format!("<Object><Key>small/{key:06}</Key></Object>"));
        let body = format!("<Delete>{}</Delete>", keys.collect::<String>());
        let call = Call::new("POST", &format!("/{BUCKET}")).query("delete", "").body(body.as_bytes());
        let answer = s3.send(&call)?.ok()?;
        let deleted = answer.xml_all("Key").len();
        ensure!(deleted == page && !answer.text().contains("<Error>"), "{deleted} of {page} keys deleted");
        Ok(())
    })
}
