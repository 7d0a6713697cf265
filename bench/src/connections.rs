//! What many connections take of the server's memory: a thousand that wait, and 256 at work at once, slow readers and slow
//! writers among them.

use anyhow::{Context, Result, ensure};
use cistern_tests::{Call, Content, Payload, S3, Server, ServerSpec, process, wait};
use serde::Serialize;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

const BUCKET: &str = "connections";
const IDLE: usize = 1_000;
const BUSY: usize = 256;
/// Of the busy ones so many read slowly and as many write slowly.
const SLOW: usize = 32;
const WRITERS_END: usize = 2 * SLOW;
const SMALL_BYTES: usize = 64 << 10;
const LARGE_BYTES: usize = 1 << 20;
/// A slow one passes so much at a time, and then waits.
const SLOW_BYTES: usize = 16 << 10;
const SLOW_PAUSE: Duration = Duration::from_millis(20);
/// The load runs for so long, and for as long again.
const HALF: Duration = Duration::from_secs(15);
const SAMPLE_EVERY: Duration = Duration::from_millis(50);
/// Memory is flat when the second half takes no more than so much of what the first did.
const FLAT: f64 = 1.1;

/// Resident memory of the server, in bytes.
#[derive(Debug, Serialize)]
struct Memory {
    started: u64,
    with_idle_connections: u64,
    /// The most that was seen in the first half of the load, and in the second.
    busy_at_first: u64,
    busy_later: u64,
    requests: u64,
}

/// Loads a server of its own; answers the figures as JSON.
pub(crate) fn measure(spec: &ServerSpec) -> Result<String> {
    let server = spec.start()?;
    let mut s3 = server.s3()?;
    s3.create_bucket(BUCKET)?;
    s3.put(BUCKET, "large", &Content { seed: 5, length: LARGE_BYTES }.bytes())?;
    let started = process::resident_bytes(server.pid())?;
    let idle = (0..IDLE).map(|_| answered_once(&server)).collect::<Result<Vec<S3>>>()?;
    let with_idle_connections = process::resident_bytes(server.pid())?;
    let (enough, requests) = (AtomicBool::new(false), AtomicU64::new(0));
    let (busy_at_first, busy_later) = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..BUSY)
            .map(|client| {
                let (server, enough, requests) = (&server, &enough, &requests);
                scope.spawn(move || -> Result<()> {
                    let mut client = Client::connect(server, client)?;
                    while !enough.load(Ordering::Relaxed) {
                        client.request()?;
                        requests.fetch_add(1, Ordering::Relaxed);
                    }
                    Ok(())
                })
            })
            .collect();
        let halves = highest(&server).and_then(|first| Ok((first, highest(&server)?)));
        enough.store(true, Ordering::Relaxed);
        for client in clients {
            client.join().expect("a client thread does not panic")?;
        }
        halves
    })?;
    drop(idle);
    server.stop()?;
    let requests = requests.into_inner();
    let memory = Memory { started, with_idle_connections, busy_at_first, busy_later, requests };
    memory.print()?;
    Ok(serde_json::to_string_pretty(&memory)?)
}

/// A connection on which one request has been answered.
fn answered_once(server: &Server) -> Result<S3> {
    let mut s3 = server.s3()?;
    s3.send(&Call::new("HEAD", &format!("/{BUCKET}/large")))?.ok()?;
    Ok(s3)
}

/// The most memory the server takes during one half.
fn highest(server: &Server) -> Result<u64> {
    let end = wait::now() + HALF;
    let mut most = 0;
    while wait::now() < end {
        most = most.max(process::resident_bytes(server.pid())?);
        wait::let_pass(SAMPLE_EVERY);
    }
    Ok(most)
}

/// One of the busy ones.
struct Client<'a> {
    server: &'a Server,
    s3: S3,
    number: usize,
    body: Vec<u8>,
}

impl<'a> Client<'a> {
    fn connect(server: &'a Server, number: usize) -> Result<Self> {
        let body = Content { seed: number as u64, length: SMALL_BYTES }.bytes();
        Ok(Self { server, s3: server.s3()?, number, body })
    }

    fn request(&mut self) -> Result<()> {
        match self.number {
            0..SLOW => self.read_slowly(),
            SLOW..WRITERS_END => self.write_slowly(),
            _ => self.write_and_read(),
        }
    }

    fn write_and_read(&mut self) -> Result<()> {
        let path = format!("/{BUCKET}/small-{}", self.number);
        self.s3.send(&Call::new("PUT", &path).payload(Payload::Unsigned).body(&self.body))?.ok()?;
        let answer = self.s3.send(&Call::new("GET", &path).payload(Payload::Unsigned))?.ok()?;
        ensure!(answer.body == self.body, "an object differs");
        Ok(())
    }

    fn read_slowly(&mut self) -> Result<()> {
        let mut stream = self.begin("GET", "large", "")?;
        let (mut piece, mut passed) = (vec![0; SLOW_BYTES], 0);
        loop {
            let read = stream.read(&mut piece)?;
            if read == 0 {
                break;
            }
            passed += read;
            wait::let_pass(SLOW_PAUSE);
        }
        ensure!(passed > LARGE_BYTES, "{passed} bytes of an answer with {LARGE_BYTES} in its body");
        Ok(())
    }

    fn write_slowly(&mut self) -> Result<()> {
        let length = format!("content-length: {LARGE_BYTES}\r\n");
        let mut stream = self.begin("PUT", &format!("slow-{}", self.number), &length)?;
        let piece = vec![7; SLOW_BYTES];
        for _ in 0..LARGE_BYTES / SLOW_BYTES {
            stream.write_all(&piece)?;
            wait::let_pass(SLOW_PAUSE);
        }
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        ensure!(answer.starts_with("HTTP/1.1 200"), "a slow PUT is answered {answer}");
        Ok(())
    }

    /// A connection of its own with the head of a request sent.
    fn begin(&mut self, method: &str, key: &str, more: &str) -> Result<TcpStream> {
        let target = self.s3.presign(method, &format!("/{BUCKET}/{key}"), wait::unix_seconds(), 600);
        let host = self.server.s3_host();
        let mut stream = TcpStream::connect(host).context("connect")?;
        stream.write_all(
            format!("{method} {target} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n{more}\r\n").as_bytes(),
        )?;
        Ok(stream)
    }
}

impl Memory {
    fn print(&self) -> Result<()> {
        let mebibytes = |bytes: u64| bytes >> 20;
        #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
        let flat = self.busy_later as f64 <= FLAT * self.busy_at_first as f64;
        let mut out = std::io::stdout().lock();
        writeln!(
            out,
            "resident: {} MiB with one object, {} MiB with {IDLE} idle connections",
            mebibytes(self.started),
            mebibytes(self.with_idle_connections)
        )?;
        writeln!(
            out,
            "{BUSY} busy ones beside them, {SLOW} slow readers and {SLOW} slow writers among them, {} requests: \
             at most {} MiB in {} s, {} MiB in the next   {} (<= {FLAT} times)",
            self.requests,
            mebibytes(self.busy_at_first),
            HALF.as_secs(),
            mebibytes(self.busy_later),
            if flat { "ok" } else { "MISSED" }
        )?;
        Ok(())
    }
}
