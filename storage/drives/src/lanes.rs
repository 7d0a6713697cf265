//! Who writes the lanes: one thread per drive that writes and syncs, or, for tests, the caller itself.
//!
//! A drive's thread gets one frame at a time and gives its buffer back, so that buffers are reused and a queue of one is
//! enough. A slow drive holds its group up; it is not yet taken out for that.

use crate::config::Threads;
use crate::disk::DiskFile;
use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

/// Zeros are written in steps of this.
static ZEROS: [u8; 64 << 10] = [0; 64 << 10];

/// A frame to write to a drive and sync.
#[derive(Debug)]
pub(crate) struct LaneWrite {
    pub(crate) drive: usize,
    pub(crate) lane: usize,
    pub(crate) file: Arc<dyn DiskFile>,
    pub(crate) offset: u64,
    pub(crate) frame: Vec<u8>,
    /// Where to write zeros besides.
    pub(crate) zeros: Option<Range<u64>>,
}

/// The same frame after the attempt.
#[derive(Debug)]
pub(crate) struct LaneDone {
    pub(crate) drive: usize,
    pub(crate) lane: usize,
    pub(crate) frame: Vec<u8>,
    pub(crate) outcome: io::Result<()>,
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

    fn done(self, outcome: io::Result<()>) -> LaneDone {
        LaneDone { drive: self.drive, lane: self.lane, frame: self.frame, outcome }
    }
}

#[derive(Debug)]
pub(crate) enum LaneWriters {
    Inline,
    Threads(Vec<DriveThread>),
}

#[derive(Debug)]
pub(crate) struct DriveThread {
    work: Option<SyncSender<LaneWrite>>,
    done: Receiver<LaneDone>,
    thread: Option<JoinHandle<()>>,
}

impl LaneWriters {
    pub(crate) fn start(threads: Threads, drives: usize) -> io::Result<Self> {
        match threads {
            Threads::Inline => Ok(Self::Inline),
            Threads::PerDrive => Ok(Self::Threads((0..drives).map(DriveThread::start).collect::<io::Result<_>>()?)),
        }
    }

    /// Writes and syncs all, side by side where there are threads.
    pub(crate) fn write(&self, writes: Vec<LaneWrite>) -> Vec<LaneDone> {
        match self {
            // all writes before all syncs, as close as one thread comes to what the threads do
            Self::Inline => {
                let written: Vec<_> = writes.into_iter().map(|write| (write.write(), write)).collect();
                written
                    .into_iter()
                    .map(|(outcome, write)| {
                        let outcome = outcome.and_then(|()| write.file.sync());
                        write.done(outcome)
                    })
                    .collect()
            }
            Self::Threads(threads) => {
                let sent: Vec<_> = writes
                    .into_iter()
                    .map(|write| {
                        let (drive, lane) = (write.drive, write.lane);
                        threads[drive].send(write);
                        (drive, lane)
                    })
                    .collect();
                sent.into_iter().map(|(drive, lane)| threads[drive].receive(drive, lane)).collect()
            }
        }
    }
}

impl DriveThread {
    fn start(drive: usize) -> io::Result<Self> {
        let (work, todo) = sync_channel::<LaneWrite>(1);
        let (finished, done) = sync_channel(1);
        let run = move || {
            for write in todo {
                let outcome = write.write().and_then(|()| write.file.sync());
                if finished.send(write.done(outcome)).is_err() {
                    return;
                }
            }
        };
        let thread = std::thread::Builder::new().name(format!("drive-{drive}")).spawn(run)?;
        Ok(Self { work: Some(work), done, thread: Some(thread) })
    }

    fn send(&self, write: LaneWrite) {
        if let Some(work) = &self.work {
            // a thread that has ended shows in `receive`
            drop(work.send(write));
        }
    }

    fn receive(&self, drive: usize, lane: usize) -> LaneDone {
        self.done.recv().unwrap_or_else(|_| {
            let outcome = Err(io::Error::other("the drive's writer thread has ended"));
            LaneDone { drive, lane, frame: Vec::new(), outcome }
        })
    }
}

impl Drop for DriveThread {
    fn drop(&mut self) {
        self.work = None;
        if let Some(thread) = self.thread.take() {
            // a panic of the thread has been reported by the panic hook
            drop(thread.join());
        }
    }
}
