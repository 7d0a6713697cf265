//! A store with very many small objects: how fast it opens after a kill, what a rebuild of its index costs, what it takes of memory.

use crate::load;
use anyhow::{Context, Result, ensure};
use cistern_tests::{Call, Content, Payload, S3, Server, ServerSpec, process, wait};
use serde::Serialize;
use std::io::Write as _;
use std::time::Duration;

const BUCKET: &str = "scale";
const OBJECT_BYTES: usize = 1024;
const CLIENTS: usize = 32;
/// Their keys are spread over so many folders.
const FOLDERS: usize = 251;
const PAGES: usize = 200;
const PAGE_MICROS: f64 = 2_000.0;
const READ_OBJECTS: usize = 20_000;
/// A rebuild of hundreds of millions of rows would still be under way.
const START_LIMIT: Duration = Duration::from_mins(10);
/// Ready after a kill, whatever the store's size.
const KILLED_SECONDS: f64 = 2.0;
const REBUILD_CPU_SECONDS_PER_MILLION: f64 = 15.0;
const MEBIBYTE: f64 = 1_048_576.0;
const CACHE_BYTES: f64 = 256.0 * MEBIBYTE;
const BYTES_PER_MILLION: f64 = 15.0 * MEBIBYTE;

/// What was measured of one store.
#[derive(Debug, Serialize)]
struct Scale {
    objects: usize,
    put_cpu_micros: f64,
    resident_bytes_after_puts: u64,
    ready_seconds_after_kill: f64,
    cpu_seconds_after_kill: f64,
    rebuild_seconds: f64,
    rebuild_cpu_seconds: f64,
    /// What the index goes on merging once the server is ready.
    tidy_cpu_seconds: f64,
    resident_bytes_after_rebuild: u64,
    resident_bytes_after_reads: u64,
    get_cpu_micros: f64,
    /// A page of 1,000 keys from anywhere, of the bucket and of one folder.
    page_cpu_micros: f64,
    folder_page_cpu_micros: f64,
    /// The page of all folders.
    folders_cpu_micros: f64,
}

/// Fills a store with `objects` and measures; answers the figures as JSON.
pub(crate) fn measure(spec: &ServerSpec, objects: usize) -> Result<String> {
    let spec = spec.clone().starting_within(START_LIMIT);
    let server = spec.start()?;
    server.s3()?.create_bucket(BUCKET)?;
    let body = Content { seed: 3, length: OBJECT_BYTES }.bytes();
    let before = process::cpu_time(server.pid())?;
    load::run(&server, CLIENTS, objects, |s3, number| {
        let answer = s3.send(&Call::new("PUT", &path(number)).payload(Payload::Unsigned).body(&body))?.ok()?;
        ensure!(answer.header("etag").is_some(), "a PUT without an ETag");
        Ok(())
    })?;
    let put_cpu_micros = cpu_micros_since(&server, before, objects)?;
    let resident_bytes_after_puts = process::resident_bytes(server.pid())?;

    let spec = server.kill()?;
    let (server, ready, cpu_seconds_after_kill) = start(&spec)?;
    let ready_seconds_after_kill = ready.as_secs_f64();
    let spec = server.kill()?;
    std::fs::remove_dir_all(spec.data_dir.join("view")).context("remove the view")?;
    let (server, rebuilt, rebuild_cpu_seconds) = start(&spec)?;
    let resident_bytes_after_rebuild = process::resident_bytes(server.pid())?;
    let tidy_cpu_seconds = come_to_rest(&server)?;

    let before = process::cpu_time(server.pid())?;
    let sample = READ_OBJECTS.min(objects);
    load::run(&server, CLIENTS, sample, |s3, number| {
        let scattered = number.wrapping_mul(2_654_435_761) % objects;
        let answer = s3.send(&Call::new("GET", &path(scattered)).payload(Payload::Unsigned))?.ok()?;
        ensure!(answer.body == body, "an object differs");
        Ok(())
    })?;
    let get_cpu_micros = cpu_micros_since(&server, before, sample)?;
    let resident_bytes_after_reads = process::resident_bytes(server.pid())?;
    let [page_cpu_micros, folder_page_cpu_micros, folders_cpu_micros] = pages(&server, objects)?;
    server.stop()?;
    let scale = Scale {
        objects,
        put_cpu_micros,
        resident_bytes_after_puts,
        ready_seconds_after_kill,
        cpu_seconds_after_kill,
        rebuild_seconds: rebuilt.as_secs_f64(),
        rebuild_cpu_seconds,
        tidy_cpu_seconds,
        resident_bytes_after_rebuild,
        resident_bytes_after_reads,
        get_cpu_micros,
        page_cpu_micros,
        folder_page_cpu_micros,
        folders_cpu_micros,
    };
    scale.print()?;
    Ok(serde_json::to_string_pretty(&scale)?)
}

/// Waits until the server does nothing by itself, so that reads are not charged with it; the CPU seconds it used until then.
fn come_to_rest(server: &Server) -> Result<f64> {
    const REST_LIMIT: Duration = Duration::from_mins(2);
    const WINDOW: Duration = Duration::from_millis(500);
    const LITTLE: Duration = Duration::from_millis(10);
    let began = process::cpu_time(server.pid())?;
    let mut before = began;
    wait::until("the server comes to rest", REST_LIMIT, || {
        wait::let_pass(WINDOW);
        let now = process::cpu_time(server.pid())?;
        let used = now.saturating_sub(std::mem::replace(&mut before, now));
        Ok((used <= LITTLE).then_some(()))
    })?;
    Ok(before.saturating_sub(began).as_secs_f64())
}

/// CPU of each of so many operations since the server had used `before`, in microseconds.
fn cpu_micros_since(server: &Server, before: Duration, operations: usize) -> Result<f64> {
    Ok(process::cpu_time(server.pid())?.saturating_sub(before).as_secs_f64() * 1e6 / number(operations))
}

/// CPU of a page of 1,000 keys from anywhere, of one of a folder's keys, and of that of all folders, in microseconds.
fn pages(server: &Server, objects: usize) -> Result<[f64; 3]> {
    let list = |s3: &mut S3, prefix: &str, delimiter: &str, after: &str| {
        let call = Call::new("GET", &format!("/{BUCKET}")).query("list-type", &2).query("prefix", prefix);
        let call = call.query("delimiter", delimiter).query("start-after", after);
        s3.send(&call)?.ok()
    };
    let scattered = |number: usize| number.wrapping_mul(2_654_435_761) % objects;
    let cost = |what: &dyn Fn(&mut S3, usize) -> Result<usize>| -> Result<f64> {
        let mut s3 = server.s3()?;
        let before = process::cpu_time(server.pid())?;
        let mut listed = 0;
        for number in 0..PAGES {
            listed += what(&mut s3, number)?;
        }
        ensure!(listed > 0, "lists of nothing");
        cpu_micros_since(server, before, PAGES)
    };
    let flat = cost(&|s3, number| {
        let after = key(scattered(number));
        Ok(list(s3, "", "", &after)?.xml_all("Key").len())
    })?;
    let folder = cost(&|s3, number| {
        let after = key(scattered(number) / 2);
        Ok(list(s3, &after[..3], "/", &after)?.xml_all("Key").len())
    })?;
    let folders = cost(&|s3, _| {
        let folders = list(s3, "", "/", "")?.xml_all("Prefix").len();
        ensure!(folders > FOLDERS, "{folders} folders, {FOLDERS} expected");
        Ok(folders)
    })?;
    Ok([flat, folder, folders])
}

fn path(number: usize) -> String {
    format!("/{BUCKET}/{}", key(number))
}

fn key(number: usize) -> String {
    format!("{:02x}/{number:09}", number % FOLDERS)
}

#[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
fn number(count: usize) -> f64 {
    count as f64
}

/// A started server, how long it took until it was ready, and the CPU seconds it used for that.
fn start(spec: &ServerSpec) -> Result<(Server, Duration, f64)> {
    let begun = wait::now();
    let server = spec.start()?;
    let ready = begun.elapsed();
    let cpu = process::cpu_time(server.pid())?.as_secs_f64();
    Ok((server, ready, cpu))
}

impl Scale {
    fn print(&self) -> Result<()> {
        let millions = number(self.objects) / 1e6;
        let memory_goal = CACHE_BYTES + BYTES_PER_MILLION * millions;
        let verdict = |met: bool| if met { "ok" } else { "MISSED" };
        let mebibytes = |bytes: u64| bytes >> 20;
        let rebuild_goal = REBUILD_CPU_SECONDS_PER_MILLION * millions;
        let memory =
            [self.resident_bytes_after_puts, self.resident_bytes_after_rebuild, self.resident_bytes_after_reads];
        #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
        let memory_met = memory.iter().all(|bytes| *bytes as f64 <= memory_goal);
        let mut out = std::io::stdout().lock();
        writeln!(out, "{} objects of {OBJECT_BYTES} bytes, {:.0} us CPU a PUT", self.objects, self.put_cpu_micros)?;
        writeln!(
            out,
            "ready after kill -9     {:>7.2} s, {:.2} s CPU   {} (<= {KILLED_SECONDS} s)",
            self.ready_seconds_after_kill,
            self.cpu_seconds_after_kill,
            verdict(self.ready_seconds_after_kill <= KILLED_SECONDS)
        )?;
        writeln!(
            out,
            "ready without the index {:>7.2} s, {:.2} s CPU   {} (<= {rebuild_goal:.1} s CPU)",
            self.rebuild_seconds,
            self.rebuild_cpu_seconds,
            verdict(self.rebuild_cpu_seconds <= rebuild_goal)
        )?;
        writeln!(out, "at rest after           {:.2} s CPU more", self.tidy_cpu_seconds)?;
        writeln!(
            out,
            "memory after PUTs, rebuild, reads: {}, {}, {} MiB   {} (<= {:.0} MiB)",
            mebibytes(memory[0]),
            mebibytes(memory[1]),
            mebibytes(memory[2]),
            verdict(memory_met),
            memory_goal / MEBIBYTE
        )?;
        writeln!(out, "GET all over it: {:.0} us CPU", self.get_cpu_micros)?;
        for (what, micros) in [
            ("LIST page of 1,000 keys", self.page_cpu_micros),
            ("LIST page of a folder", self.folder_page_cpu_micros),
            ("LIST of all folders", self.folders_cpu_micros),
        ] {
            writeln!(out, "{what:<24}{micros:>7.0} us CPU   {} (<= {PAGE_MICROS} us)", verdict(micros <= PAGE_MICROS))?;
        }
        Ok(())
    }
}
