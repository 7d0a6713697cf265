//! Who writes the lanes: one thread per drive that writes and syncs, or, for tests, the caller itself.
//!
//! A drive's thread gets one piece of work at a time, so a queue of one is enough. A drive that does not answer within the write
//! timeout has failed; its thread is left to whatever it waits for, and another takes its place.

use crate::config::Threads;
use crate::disk::{Claim, DiskFile};
use crate::drives::Drives;
use crate::stripe::FrameBuffer;
use parking_lot::{Condvar, Mutex};
use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::time::Instant;

/// So many zeros are written at once at most.
pub(crate) const ZEROS_MAX: usize = 256 << 10;

/// Aligned as drives take them around the page cache.
static ZEROS: Zeros = Zeros([0; ZEROS_MAX]);

#[repr(align(4096))]
struct Zeros([u8; ZEROS_MAX]);

/// A frame to write to a drive and sync.
#[derive(Debug)]
pub(crate) struct LaneWrite {
    pub(crate) file: Arc<dyn DiskFile>,
    pub(crate) offset: u64,
    /// Shared, because it is still needed when the drive never gives it back.
    pub(crate) frame: Arc<FrameBuffer>,
    /// Where to write zeros besides, [`ZEROS_MAX`] at most.
    pub(crate) zeros: Option<Range<u64>>,
}

impl LaneWrite {
    fn write(&self) -> io::Result<()> {
        self.file.write_at(&self.frame, self.offset)?;
        if let Some(zeros) = &self.zeros {
            let bytes = usize::try_from(zeros.end - zeros.start).expect("at most the zeros there are");
            self.file.write_at(&ZEROS.0[..bytes], zeros.start)?;
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
    Waiting { drives: Vec<usize>, answers: Arc<Answers<T>>, deadline: Instant },
}

/// Where the drives' threads leave what came of a piece of work each. Who waits for it is woken once, by the last of them.
#[derive(Debug)]
pub(crate) struct Answers<T> {
    given: Mutex<Given<T>>,
    all: Condvar,
}

#[derive(Debug)]
struct Given<T> {
    /// In the order of the work; empty once nobody waits any more.
    answers: Vec<Option<io::Result<T>>>,
    missing: usize,
}

impl<T> Answers<T> {
    fn new(count: usize) -> Self {
        let answers = std::iter::repeat_with(|| None).take(count).collect();
        Self { given: Mutex::new(Given { answers, missing: count }), all: Condvar::new() }
    }

    fn give(&self, number: usize, outcome: io::Result<T>) {
        let mut given = self.given.lock();
        if let Some(answer) = given.answers.get_mut(number) {
            *answer = Some(outcome);
        }
        given.missing -= 1;
        if given.missing == 0 {
            self.all.notify_one();
        }
    }

    /// Waits for all of them; `None` for one that has not come by the deadline.
    fn take(&self, deadline: Instant) -> Vec<Option<io::Result<T>>> {
        let mut given = self.given.lock();
        while given.missing > 0 && !self.all.wait_until(&mut given, deadline.into_std()).timed_out() {}
        std::mem::take(&mut given.answers)
    }
}

/// An answer that is owed; given when it is dropped.
struct Owed<T> {
    answers: Arc<Answers<T>>,
    number: usize,
    /// `None` as long as the work is not done.
    outcome: Option<io::Result<T>>,
}

impl<T> Owed<T> {
    fn new(answers: &Arc<Answers<T>>, number: usize) -> Self {
        Self { answers: Arc::clone(answers), number, outcome: None }
    }
}

impl<T> Drop for Owed<T> {
    fn drop(&mut self) {
        let ended = || Err(io::Error::other("the drive's writer thread has ended"));
        self.answers.give(self.number, self.outcome.take().unwrap_or_else(ended));
    }
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
        let answers = Arc::new(Answers::new(work.len()));
        let send = |(number, (drive, work)): (usize, (usize, _))| {
            drives[drive].send(work, Owed::new(&answers, number), set.claim(drive));
            drive
        };
        let drives = work.into_iter().enumerate().map(send).collect();
        Begun::Waiting { drives, answers, deadline: Instant::now() + *timeout }
    }

    /// Waits for what was begun; the results in the same order.
    pub(crate) fn finish<T: Send + 'static>(&mut self, begun: Begun<T>) -> Vec<io::Result<T>> {
        let (begun, answers, deadline) = match begun {
            Begun::Done(results) => return results,
            Begun::Waiting { drives, answers, deadline } => (drives, answers, deadline),
        };
        let Self::Threads { drives, timeout } = self else {
            unreachable!("without threads everything is done at once")
        };
        let mut give_up = |drive: usize| {
            drives[drive].abandon();
            let text = format!("it did not answer within {} s", timeout.as_secs_f64());
            Err(io::Error::new(io::ErrorKind::TimedOut, text))
        };
        let answers = begun.into_iter().zip(answers.take(deadline));
        answers.map(|(drive, answer)| answer.unwrap_or_else(|| give_up(drive))).collect()
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
        mut owed: Owed<T>,
        claim: Option<Arc<dyn Claim>>,
    ) {
        let job: Job = Box::new(move || {
            owed.outcome = Some(work());
            drop(claim);
            drop(owed);
        });
        if let Some(jobs) = &self.jobs {
            // a thread that has ended drops what it is sent, and so answers
            drop(jobs.send(job));
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_waits_for_all_is_told_who_has_not_answered_or_has_ended() {
        let answers = Arc::new(Answers::new(3));
        let late = Owed::new(&answers, 1);
        let mut quick = Owed::new(&answers, 2);
        drop(Owed::new(&answers, 0)); // never done
        quick.outcome = Some(Ok(7));
        drop(quick);
        let taken = answers.take(Instant::now());
        assert!(matches!(&taken[..], [Some(Err(_)), None, Some(Ok(7))]), "{taken:?}");
        drop(late); // nobody waits for it
    }

    #[test]
    fn who_waits_is_woken_by_the_last() {
        let answers = Arc::new(Answers::new(20));
        let give = |number| {
            let mut owed = Owed::new(&answers, number);
            let work = move || {
                owed.outcome = Some(Ok(number));
                drop(owed);
            };
            std::thread::spawn(work)
        };
        let threads: Vec<_> = (0..20).map(give).collect();
        let taken = answers.take(Instant::now() + Duration::from_mins(1));
        let numbers: Vec<usize> = taken.into_iter().map(|answer| answer.unwrap().unwrap()).collect();
        assert_eq!(numbers, (0..20).collect::<Vec<usize>>());
        for thread in threads {
            thread.join().unwrap();
        }
    }
}
