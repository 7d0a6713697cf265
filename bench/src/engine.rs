//! The storage engine alone, in this process, beside a folder an object on the same drives: what a durable PUT costs, what reads cost with all
//! drives and with two gone, how fast a drive is filled again, what compaction takes from writers.

use crate::files::Files;
use crate::load::{self, Times};
use crate::meter::Used;
use crate::report::{Figure, Goal, Line, Report};
use anyhow::{Context, Result, ensure};
use cistern_blobs::{BlobStore as _, Compression, EmbeddedBlobs};
use cistern_drives::{Append, Disk, DriveLog, DriveLogConfig, LocalDisk, PassKind, Rows};
use cistern_runtime::{Clock, Shutdown, Supervisor, SystemClock};
use cistern_tests::{Content, process, wait};
use cistern_types::{BlobId, StorageClass};
use futures::TryStreamExt as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::task::JoinSet;

const DATA: usize = 4;
const PARITY: usize = 2;
const CLIENTS: usize = 32;
const SMALL_BYTES: usize = 4096;
const LARGE_BYTES: usize = 1 << 20;
/// About what an object's row takes.
const ROW_BYTES: usize = 200;
const SMALL_PUTS: usize = 60_000;
const LARGE_PUTS: usize = 400;
const FILE_SMALL_PUTS: usize = 1_500;
const FILE_LARGE_PUTS: usize = 200;
/// How many small blobs are read, again and again.
const READ_BLOBS: usize = 1_000;
const READS: usize = 60_000;
const LARGE_READS: usize = 1_500;
const COMPACTION_ROUNDS: usize = 3;
const COMPACTION_PUTS: usize = 15_000;
const HEAL_LIMIT: Duration = Duration::from_mins(5);

/// Goals of the comparison: as many times the rate, and as small a part of the CPU.
const SMALL_RATE_MIN: f64 = 10.0;
const SMALL_CPU_MIN: f64 = 20.0;
const LARGE_RATE_MIN: f64 = 2.0;
const COMPACTION_P99_MAX: f64 = 2.0;

/// An open set and its blobs.
#[derive(Debug, Clone)]
struct Engine {
    log: DriveLog,
    blobs: EmbeddedBlobs,
}

impl Engine {
    async fn open(folder: &Path, segment_bytes: u64) -> Result<Self> {
        let disk = |number| Arc::new(LocalDisk::new(drive(folder, number))) as Arc<dyn Disk>;
        let config = DriveLogConfig { segment_bytes, ..DriveLogConfig::new(DATA, PARITY, folder.join("view")) };
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let log = DriveLog::open(config, (0..DATA + PARITY).map(disk).collect(), Arc::clone(&clock)).await?;
        Ok(Self { blobs: EmbeddedBlobs::new([log.clone()], Compression::None, clock), log })
    }

    /// A body and a row that names it, as one durable commit, as a PUT of an object makes it.
    async fn put(&self, number: usize, body: bytes::Bytes) -> Result<BlobId> {
        let blob = self.blobs.put(StorageClass::Standard, body).await?;
        let mut rows = Rows::new();
        rows.put(format!("object {number:012}").as_bytes(), &[7; ROW_BYTES]);
        let append = Append { rows: Some(rows), requires: vec![blob.receipt], ..Append::default() };
        let room = self.log.reserve(append.bytes()).await?;
        let pending = self.log.submit(room, append)?;
        pending.await?;
        Ok(blob.id)
    }

    async fn get(&self, id: BlobId, bytes: usize) -> Result<()> {
        let mut pieces = self.blobs.read(id, 0..bytes as u64).await?;
        let mut found = 0;
        while let Some(piece) = pieces.try_next().await? {
            found += piece.len();
        }
        ensure!(found == bytes, "a read of {found} bytes, {bytes} expected");
        Ok(())
    }

    fn meter(&self) -> Result<(Duration, cistern_drives::Stats)> {
        Ok((process::cpu_time(std::process::id())?, self.log.status().counters))
    }

    #[expect(clippy::cast_precision_loss, reason = "counts of a bench are far below 2^52")]
    fn used(&self, (cpu, before): (Duration, cistern_drives::Stats)) -> Result<Used> {
        let now = self.log.status().counters;
        Ok(Used {
            cpu: process::cpu_time(std::process::id())?.saturating_sub(cpu),
            syncs: (now.syncs - before.syncs) as f64,
            device_bytes: (now.device_bytes - before.device_bytes) as f64,
            object_bytes: 0.0,
        })
    }

    /// Runs a load of PUTs and answers its line and the blobs.
    async fn puts(
        &self,
        name: &'static str,
        puts: usize,
        bytes: usize,
        goals: Vec<Goal>,
    ) -> Result<(Line, Times, Vec<BlobId>)> {
        let body = bytes::Bytes::from(Content { seed: 1, length: bytes }.bytes());
        let before = self.meter()?;
        let engine = self.clone();
        let put = move |number| {
            let (engine, body) = (engine.clone(), body.clone());
            async move { engine.put(number, body).await }
        };
        let (times, ids) = tasks(CLIENTS, puts, put).await?;
        Ok((Line::of_load(name, puts, &times, self.used(before)?, goals), times, ids))
    }

    /// Reads blobs one after another.
    async fn gets(
        &self,
        name: &'static str,
        ids: &[BlobId],
        reads: usize,
        bytes: usize,
        goals: Vec<Goal>,
    ) -> Result<Line> {
        for id in ids.iter().cycle().take(reads / 10) {
            self.get(*id, bytes).await?; // into the page cache
        }
        let before = self.meter()?;
        let start = wait::now();
        let mut sorted = Vec::with_capacity(reads);
        for id in ids.iter().cycle().take(reads) {
            let begun = wait::now();
            self.get(*id, bytes).await?;
            sorted.push(begun.elapsed());
        }
        sorted.sort_unstable();
        let times = Times { wall: start.elapsed(), sorted };
        Ok(Line::of_load(name, reads, &times, self.used(before)?, goals))
    }
}

fn drive(folder: &Path, number: usize) -> PathBuf {
    folder.join(format!("d{number}"))
}

/// Runs operations numbered from 0, shared among tasks that each do theirs one after another; what they answered, in no order.
async fn tasks<T, F>(
    clients: usize,
    operations: usize,
    operation: impl Fn(usize) -> F + Clone + Send + Sync + 'static,
) -> Result<(Times, Vec<T>)>
where
    T: Send + 'static,
    F: Future<Output = Result<T>> + Send,
{
    let start = wait::now();
    let mut running = JoinSet::new();
    for client in 0..clients {
        let operation = operation.clone();
        running.spawn(async move {
            let mut done = Vec::new();
            for number in (client..operations).step_by(clients) {
                let begun = wait::now();
                let answer = operation(number).await?;
                done.push((begun.elapsed(), answer));
            }
            anyhow::Ok(done)
        });
    }
    let (mut sorted, mut answers) = (Vec::with_capacity(operations), Vec::with_capacity(operations));
    while let Some(client) = running.join_next().await {
        for (took, answer) in client.context("a client ends")?? {
            sorted.push(took);
            answers.push(answer);
        }
    }
    sorted.sort_unstable();
    Ok((Times { wall: start.elapsed(), sorted }, answers))
}

/// Measures everything below `folder`, prints it, and answers it as JSON.
pub(crate) fn measure(folder: &Path, divisor: usize) -> Result<String> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let start = wait::now();
    let mut report = Report::default();
    let said = runtime.block_on(async {
        let mut said = compare(folder, divisor, &mut report).await?;
        said.push(compaction(&folder.join("compacted"), &mut report).await?);
        anyhow::Ok(said)
    })?;
    report.print(start.elapsed())?;
    let mut out = std::io::stdout().lock();
    for line in said {
        writeln!(out, "{line}")?;
    }
    report.json()
}

fn verdict(met: bool) -> &'static str {
    if met { "ok" } else { "MISSED" }
}

/// PUTs beside a folder an object, reads, reads without two drives, a drive filled again.
async fn compare(folder: &Path, divisor: usize, report: &mut Report) -> Result<Vec<String>> {
    let on_log = folder.join("log");
    let engine = Engine::open(&on_log, 64 << 20).await?;
    let engine_goal = vec![Goal::at_most(Figure::CpuMicros, 35.0)];
    let (small, _, small_ids) =
        engine.puts("log: PUT 4 KiB, 32 clients", SMALL_PUTS / divisor, SMALL_BYTES, engine_goal).await?;
    let small_ids = &small_ids[..READ_BLOBS.min(small_ids.len())];
    let (large, _, large_ids) =
        engine.puts("log: PUT 1 MiB, 32 clients", LARGE_PUTS / divisor, LARGE_BYTES, Vec::new()).await?;
    let files = Files::new(&folder.join("files"), DATA, PARITY)?;
    let by_file = |name, puts: usize, bytes| files_load(&files, name, puts / divisor, bytes);
    let file_small = by_file("files: PUT 4 KiB, 32 clients", FILE_SMALL_PUTS, SMALL_BYTES)?;
    let file_large = by_file("files: PUT 1 MiB, 32 clients", FILE_LARGE_PUTS, LARGE_BYTES)?;
    let (small_rate, small_cpu) = small.against(&file_small);
    let (large_rate, large_cpu) = large.against(&file_large);
    let said = vec![
        format!(
            "4 KiB PUT beside files: {small_rate:.1} x the rate, {} (>= {SMALL_RATE_MIN}); 1/{small_cpu:.1} of the CPU, {} (<= 1/{SMALL_CPU_MIN})",
            verdict(small_rate >= SMALL_RATE_MIN),
            verdict(small_cpu >= SMALL_CPU_MIN)
        ),
        format!(
            "1 MiB PUT beside files: {large_rate:.1} x the rate, {} (>= {LARGE_RATE_MIN}); 1/{large_cpu:.1} of the CPU",
            verdict(large_rate >= LARGE_RATE_MIN)
        ),
    ];
    for line in [small, large, file_small, file_large] {
        report.add(line);
    }
    let (reads, large_reads) = (READS / divisor, LARGE_READS / divisor);
    let get_goal = vec![Goal::at_most(Figure::CpuMicros, 8.0)];
    report.add(engine.gets("log: GET 4 KiB", small_ids, reads, SMALL_BYTES, get_goal).await?);
    report.add(engine.gets("log: GET 1 MiB", &large_ids, large_reads, LARGE_BYTES, Vec::new()).await?);
    engine.log.close().await?;
    drop(engine);

    for gone in [0, 3] {
        std::fs::remove_dir_all(drive(&on_log, gone))?;
    }
    let engine = Engine::open(&on_log, 64 << 20).await?;
    report.add(engine.gets("log: GET 4 KiB, two drives gone", small_ids, reads / 4, SMALL_BYTES, Vec::new()).await?);
    report.add(
        engine.gets("log: GET 1 MiB, two drives gone", &large_ids, large_reads / 4, LARGE_BYTES, Vec::new()).await?,
    );
    let filled = fill_again(&engine, &on_log, &[0, 3]).await?;
    Ok(said.into_iter().chain([filled]).collect())
}

fn files_load(files: &Files, name: &'static str, puts: usize, bytes: usize) -> Result<Line> {
    let body = Content { seed: 1, length: bytes }.bytes();
    let written = AtomicUsize::new(0);
    let before = process::cpu_time(std::process::id())?;
    let times = load::run_with(
        CLIENTS,
        puts,
        || Ok(()),
        |(), number| {
            written.fetch_add(files.put(&format!("{bytes}-{number}"), &body)?, Ordering::Relaxed);
            Ok(())
        },
    )?;
    let cpu = process::cpu_time(std::process::id())?.saturating_sub(before);
    let count = |count: usize| f64::from(u32::try_from(count).unwrap_or(u32::MAX));
    let used = Used {
        cpu,
        syncs: count(files.syncs_per_put() * puts),
        device_bytes: count(written.load(Ordering::Relaxed)),
        object_bytes: 0.0,
    };
    Ok(Line::of_load(name, puts, &times, used, Vec::new()))
}

/// Puts empty drives in places and waits until they are filled; answers at what rate.
async fn fill_again(engine: &Engine, folder: &Path, drives: &[usize]) -> Result<String> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    for &number in drives {
        std::fs::create_dir(drive(folder, number))?;
        engine.log.replace_drive(number, Arc::new(LocalDisk::new(drive(folder, number))), clock.now()).await?;
    }
    let (start, (cpu, _)) = (wait::now(), engine.meter()?);
    let supervisor = Supervisor::new(Shutdown::new());
    supervisor.start(engine.log.scrubber(Arc::clone(&clock)));
    engine.log.request_pass(PassKind::Heal);
    let healed = wait::until("the drives are filled", HEAL_LIMIT, || {
        Ok(engine.log.passes().last_heal.filter(|_| !engine.log.status().degraded))
    })?;
    let seconds = start.elapsed().as_secs_f64();
    let cpu = process::cpu_time(std::process::id())?.saturating_sub(cpu).as_secs_f64();
    supervisor.shutdown().begin();
    supervisor.stopped(Duration::from_secs(5)).await;
    ensure!(healed.is_clean(), "the heal left something: {healed:?}");
    let mib = f64::from(u32::try_from(healed.verified_bytes >> 20)?);
    engine.log.close().await?;
    Ok(format!(
        "two empty drives filled: {mib:.0} MiB of lanes in {seconds:.1} s, {:.0} MiB/s, {:.2} CPU s a GiB",
        mib / seconds,
        cpu * 1024.0 / mib
    ))
}

/// The p99 of small PUTs without and beside compaction, alternated; the medians are compared.
async fn compaction(folder: &Path, report: &mut Report) -> Result<String> {
    let engine = Engine::open(folder, 8 << 20).await?;
    let puts = COMPACTION_PUTS; // fewer leave too little to do
    let (mut without, mut beside) = (Vec::new(), Vec::new());
    let (_, _, mut doomed) = engine.puts("fill", puts, SMALL_BYTES, Vec::new()).await?;
    for round in 0..COMPACTION_ROUNDS {
        let (line, times, quiet) = engine.puts("log: PUT 4 KiB, no compaction", puts, SMALL_BYTES, Vec::new()).await?;
        without.push(times.percentile(99));
        // what the writers before have left is mostly garbage now
        doomed.extend(quiet);
        let mut kept = 0..;
        let (gone, left): (Vec<BlobId>, Vec<BlobId>) =
            doomed.into_iter().partition(|_| kept.next().is_some_and(|at: usize| !at.is_multiple_of(4)));
        engine.blobs.delete(&gone).await?;
        let supervisor = Supervisor::new(Shutdown::new());
        supervisor.start(engine.log.compactor(Arc::new(SystemClock)));
        let before = engine.log.status().counters;
        let (busy_line, times, busy) =
            engine.puts("log: PUT 4 KiB, beside compaction", puts, SMALL_BYTES, Vec::new()).await?;
        let after = engine.log.status().counters;
        supervisor.shutdown().begin();
        supervisor.stopped(Duration::from_secs(30)).await;
        let worked = (after.moved_bytes - before.moved_bytes)
            + (after.punched_bytes - before.punched_bytes)
            + (after.state_bytes - before.state_bytes);
        ensure!(worked > 0, "compaction had nothing to do in round {round}");
        beside.push(times.percentile(99));
        doomed = left.into_iter().chain(busy).collect();
        if round + 1 == COMPACTION_ROUNDS {
            report.add(line);
            report.add(busy_line);
        }
    }
    without.sort_unstable();
    beside.sort_unstable();
    let (without, beside) = (without[COMPACTION_ROUNDS / 2], beside[COMPACTION_ROUNDS / 2]);
    let times = beside.as_secs_f64() / without.as_secs_f64();
    engine.log.close().await?;
    Ok(format!(
        "p99 of a 4 KiB PUT: {:.1} ms, beside compaction {:.1} ms: {times:.2} x, {} (<= {COMPACTION_P99_MAX})",
        without.as_secs_f64() * 1e3,
        beside.as_secs_f64() * 1e3,
        verdict(times <= COMPACTION_P99_MAX)
    ))
}
