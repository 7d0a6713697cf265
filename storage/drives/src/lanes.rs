//! Who writes the lanes: one thread per drive that writes and syncs, or, for tests, the caller itself.
//!
//! A drive's thread gets one piece of work at a time, so a queue of one is enough. A drive that does not answer within the write
//! timeout has failed; its thread is left to whatever it waits for, and another takes its place.

use crate::config::Threads;
use crate::disk::{Claim, DiskFile};
use crate::drives::Drives;
use crate::stripe::FrameBuffer;
use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::time::Instant;

/// Zeros are written in steps of this.
static ZEROS: [u8; 64 << 10] = [0; 64 << 10];

/// A frame to write to a drive and sync.
#[derive(Debug)]
pub(crate) struct LaneWrite {
    pub(crate) file: Arc<dyn DiskFile>,
    pub(crate) offset: u64,
    /// Shared, because it is still needed when the drive never gives it back.
    pub(crate) frame: Arc<FrameBuffer>,
    /// Where to write zeros besides.
    pub(crate) zeros: Option<Range<u64>>,
}

impl LaneWrite {
    fn write(&self) -> io::Result<()> {
        self.file.write_at(&self.frame, self.offset)?;
        if let Some(zeros) = &self.zeros {
            let mut at = zeros.start;
            while at < zeros.end {
                let step = (zeros.end - at).min(ZEROS.len() as u64);
                self.file.write_at(&ZEROS[..usize::try_from(step).expect("at most the zeros there are")], at)?;
                at += step;
            }
        }
        Ok(())
    }
}

#[derive(Debug)]
pub(crate) enum LaneWriters {
    Inline,
    Threads { drives: Vec<DriveThread>, timeout: Duration },
}

/// Work that was given to the drives.
#[derive(Debug)]
pub(crate) enum Begun<T> {
    Done(Vec<io::Result<T>>),
    Waiting { answers: Vec<(usize, Receiver<io::Result<T>>)>, deadline: Instant },
}

type Job = Box<dyn FnOnce() + Send>;

#[derive(Debug)]
pub(crate) struct DriveThread {
    drive: usize,
    jobs: Option<SyncSender<Job>>,
    thread: Option<JoinHandle<()>>,
}

impl LaneWriters {
    /// Threads for `drives` drives, each of which must answer within `timeout`.
    pub(crate) fn start(threads: Threads, drives: usize, timeout: Duration) -> io::Result<Self> {
        match threads {
            Threads::Inline => Ok(Self::Inline),
            Threads::PerDrive => {
                let drives = (0..drives).map(DriveThread::start).collect::<io::Result<_>>()?;
                Ok(Self::Threads { drives, timeout })
            }
        }
    }

    /// Begins to write and sync all, side by side where there are threads; each with its drive. What is begun must be finished before
    /// anything else is begun.
    pub(crate) fn begin_write(&mut self, drives: &Drives, writes: Vec<(usize, LaneWrite)>) -> Begun<()> {
        match self {
            // all writes before all syncs, as close as one thread comes to what the threads do
            Self::Inline => {
                let written: Vec<_> = writes.into_iter().map(|(_, write)| (write.write(), write)).collect();
                let sync = |(outcome, write): (io::Result<()>, LaneWrite)| outcome.and_then(|()| write.file.sync());
                Begun::Done(written.into_iter().map(sync).collect())
            }
            Self::Threads { .. } => {
                let job = |write: LaneWrite| move || write.write().and_then(|()| write.file.sync());
                self.begin(drives, writes.into_iter().map(|(drive, write)| (drive, job(write))).collect())
            }
        }
    }

    /// Does a piece of work on each drive's thread, side by side where there are threads; the results in the same order.
    pub(crate) fn run<T: Send + 'static>(
        &mut self,
        set: &Drives,
        work: Vec<(usize, impl FnOnce() -> io::Result<T> + Send + 'static)>,
    ) -> Vec<io::Result<T>> {
        let begun = self.begin(set, work);
        self.finish(begun)
    }

    fn begin<T: Send + 'static>(
        &mut self,
        set: &Drives,
        work: Vec<(usize, impl FnOnce() -> io::Result<T> + Send + 'static)>,
    ) -> Begun<T> {
        let Self::Threads { drives, timeout } = self else {
            return Begun::Done(work.into_iter().map(|(_, work)| work()).collect());
        };
        let send = |(drive, work): (usize, _)| (drive, drives[drive].send(work, set.claim(drive)));
        Begun::Waiting { answers: work.into_iter().map(send).collect(), deadline: Instant::now() + *timeout }
    }

    /// Waits for what was begun; the results in the same order.
    pub(crate) fn finish<T: Send + 'static>(&mut self, begun: Begun<T>) -> Vec<io::Result<T>> {
        let (answers, deadline) = match begun {
            Begun::Done(results) => return results,
            Begun::Waiting { answers, deadline } => (answers, deadline),
        };
        let Self::Threads { drives, timeout } = self else {
            unreachable!("without threads everything is done at once")
        };
        let receive = |(drive, answer): (usize, Receiver<io::Result<T>>)| match answer
            .recv_timeout(deadline.saturating_duration_since(Instant::now()))
        {
            Ok(outcome) => outcome,
            Err(RecvTimeoutError::Disconnected) => Err(io::Error::other("the drive's writer thread has ended")),
            Err(RecvTimeoutError::Timeout) => {
                drives[drive].abandon();
                let text = format!("it did not answer within {} s", timeout.as_secs_f64());
                Err(io::Error::new(io::ErrorKind::TimedOut, text))
            }
        };
        answers.into_iter().map(receive).collect()
    }
}

impl DriveThread {
    fn start(drive: usize) -> io::Result<Self> {
        let (jobs, todo) = sync_channel::<Job>(1);
        let run = move || todo.into_iter().for_each(|job| job());
        let thread = std::thread::Builder::new().name(format!("drive-{drive}")).spawn(run)?;
        Ok(Self { drive, jobs: Some(jobs), thread: Some(thread) })
    }

    /// The claim is held until the work is done: a drive whose thread was left to itself cannot take a place again before.
    fn send<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> io::Result<T> + Send + 'static,
        claim: Option<Arc<dyn Claim>>,
    ) -> Receiver<io::Result<T>> {
        let (finished, answer) = sync_channel(1);
        let job: Job = Box::new(move || {
            let done = work();
            drop(claim);
            // whoever has given up waiting does not want to know
            drop(finished.send(done));
        });
        if let Some(jobs) = &self.jobs {
            // a thread that has ended shows when its answer is waited for
            drop(jobs.send(job));
        }
        answer
    }

    /// Leaves the thread to what it waits for, which may be for ever, and starts another.
    fn abandon(&mut self) {
        self.jobs = None;
        self.thread = None;
        match Self::start(self.drive) {
            Ok(fresh) => *self = fresh,
            Err(error) => tracing::error!(drive = self.drive, error = %error, "no thread for the drive"),
        }
    }
}

impl Drop for DriveThread {
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(thread) = self.thread.take() {
            // a panic of the thread has been reported by the panic hook
            drop(thread.join());
        }
    }
}
