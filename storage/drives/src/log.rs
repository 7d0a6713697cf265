//! [`DriveLog`]: the handle everybody holds. Opens the set, queues appends in order, shows snapshots and status.
//!
//! `reserve` is where writers wait; `submit` never waits, so that a caller may hold its own lock over validation and submit and
//! know that the order of stamps is the order of its decisions.

use crate::append::{Append, Committed, Pending, Reservation};
use crate::committer::{Committer, InlinePump};
use crate::config::{DriveLogConfig, Threads};
use crate::disk::Disk;
use crate::drives::{Drives, first_segment_of};
use crate::erasure::Erasure;
use crate::error::{Error, ErrorKind, Result};
use crate::identity::{assemble, new_name};
use crate::lanes::LaneWriters;
use crate::passes::PassBook;
use crate::queue::{Entry, Queue, Work};
use crate::read_buffers::ReadBuffers;
use crate::recovery::recover;
use crate::scrub::{Asked, load};
use crate::segment::check_room;
use crate::slow::ReadTimes;
use crate::status::{Counters, DriveState, DriveStatus, LogStatus, SpaceUsage};
use crate::stripe::encoded_bytes;
use crate::upkeep::Upkeep;
use crate::view::{Snapshot, View, ViewSnapshot};
use cistern_runtime::{Clock, offload};
use cistern_types::{Receipt, Timestamp};
use parking_lot::{Condvar, Mutex, RwLock};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, oneshot, watch};

/// What the handle, the committer and the readers share.
#[derive(Debug)]
pub(crate) struct Core {
    pub(crate) config: DriveLogConfig,
    pub(crate) drives: Drives,
    pub(crate) erasure: Erasure,
    pub(crate) view: Arc<dyn View>,
    pub(crate) counters: Counters,
    pub(crate) queue: Mutex<Queue>,
    pub(crate) work: Condvar,
    /// The generation of every segment of the log.
    pub(crate) segments: RwLock<BTreeMap<u64, u64>>,
    /// The segment in which the last whole checkpoint begins; 0 when there is none.
    pub(crate) checkpoint: AtomicU64,
    pub(crate) passes: Mutex<PassBook>,
    pub(crate) asked: Mutex<Asked>,
    pub(crate) pass_wanted: Notify,
    /// Held while a heal writes to an ended segment, and while the files of a retired one are taken away.
    pub(crate) segment_files: Mutex<()>,
    /// The segment that is being written; 0 when the next append begins one.
    pub(crate) active_segment: AtomicU64,
    /// Whether a torn write lies behind the end of the log and no segment says yet that it ends in front of it.
    pub(crate) torn: AtomicBool,
    /// As the compactor saw it last.
    pub(crate) space: Mutex<Option<SpaceUsage>>,
    pub(crate) published: RwLock<Snapshot>,
    pub(crate) applied: watch::Sender<u64>,
    pub(crate) read_times: ReadTimes,
    pub(crate) read_buffers: ReadBuffers,
    pub(crate) room: Arc<Semaphore>,
}

impl Core {
    /// The first segment that a run, or one behind it, has begun.
    pub(crate) fn first_segment_of(&self, run: u64) -> Option<u64> {
        first_segment_of(&self.segments.read(), run)
    }

    /// Why no write is taken, if none is.
    pub(crate) fn read_only_reason(&self) -> Option<String> {
        let damaged = |failure| format!("the view is damaged ({failure}); restart to rebuild it");
        self.drives.read_only_reason().or_else(|| self.view.failure().map(damaged))
    }

    /// What the readers see now.
    pub(crate) fn current_view(&self) -> Arc<dyn ViewSnapshot> {
        Arc::clone(&self.published.read().view)
    }

    /// What the readers see from now on; `None` keeps the rows and moves the stamp.
    pub(crate) fn publish(&self, view: Option<Arc<dyn ViewSnapshot>>, applied: u64) {
        let former = {
            let mut published = self.published.write();
            let next = Snapshot { applied, view: view.unwrap_or_else(|| Arc::clone(&published.view)) };
            std::mem::replace(&mut *published, next)
        };
        // outside the lock: dropping the last handle of a snapshot may make the engine clean up
        drop(former);
        self.applied.send_replace(applied);
    }
}

/// When an append is to be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Urgency {
    Now,
    WithNext,
}

/// Who writes what is queued.
#[derive(Debug, Clone)]
pub(crate) enum Writer {
    Thread(Arc<Core>),
    Inline(Arc<InlinePump>),
}

impl Writer {
    /// Has everything written that is queued now.
    pub(crate) fn hurry(&self) {
        match self {
            Self::Inline(pump) => pump.run(),
            Self::Thread(core) => {
                let mut queue = core.queue.lock();
                if !queue.urgent && !queue.entries.is_empty() {
                    queue.urgent = true;
                    drop(queue);
                    core.work.notify_one();
                }
            }
        }
    }

    pub(crate) fn is_inline(&self) -> bool {
        matches!(self, Self::Inline(_))
    }
}

struct Inner {
    core: Arc<Core>,
    pump: Option<Arc<InlinePump>>,
    committer: Mutex<Option<JoinHandle<()>>>,
}

/// An open drive log. Cheap to clone; the clones share it. Without [`close`](Self::close), dropping the last clone finishes what is queued and
/// stops the threads; the next open then replays a little more.
#[derive(Clone)]
pub struct DriveLog {
    inner: Arc<Inner>,
}

impl DriveLog {
    /// Opens the set: formats empty drives, recovers, replays into the view, starts the committer and a writer thread for
    /// each drive. `drives` are in any order, as many as the configuration says; a missing one is given as a folder that does not exist.
    pub async fn open(config: DriveLogConfig, drives: Vec<Arc<dyn Disk>>, clock: Arc<dyn Clock>) -> Result<Self> {
        offload(move || Self::open_blocking(config, drives, clock.as_ref(), Threads::PerDrive)).await
    }

    /// The same on the calling thread, and with a choice of who writes.
    pub fn open_blocking(
        config: DriveLogConfig,
        drives: Vec<Arc<dyn Disk>>,
        clock: &dyn Clock,
        threads: Threads,
    ) -> Result<Self> {
        Self::open_with_ids(config, drives, clock, threads, rand::random)
    }

    /// The same with ids of the caller's making, so that tests can write the same bytes twice.
    pub(crate) fn open_with_ids(
        config: DriveLogConfig,
        drives: Vec<Arc<dyn Disk>>,
        clock: &dyn Clock,
        threads: Threads,
        mut random: impl FnMut() -> u128,
    ) -> Result<Self> {
        let set = assemble(&config, drives, clock.now(), &mut random)?;
        let drives = Drives::new(set, &config, new_name(random()));
        let generation = drives.generation() + 1;
        let erasure = Erasure::new(config.data, config.parity);
        let counters = Counters::default();
        let recovered = recover(&config, &drives, &erasure, &counters)?;
        let tail = recovered.tail;
        drives.mark_old_stale(&recovered.segments);
        let published = Snapshot { applied: tail.last_stamp, view: recovered.view.snapshot() };
        let (lanes, write_timeout) = (config.lanes(), config.write_timeout);
        let passes = load(&drives);
        let core = Arc::new(Core {
            room: Arc::new(Semaphore::new(config.queue_bytes_max)),
            config,
            drives,
            erasure,
            view: recovered.view,
            counters,
            queue: Mutex::new(Queue::new(tail.last_stamp + 1)),
            work: Condvar::new(),
            segments: RwLock::new(recovered.segments),
            checkpoint: AtomicU64::new(tail.checkpoint),
            passes: Mutex::new(passes),
            asked: Mutex::default(),
            pass_wanted: Notify::new(),
            segment_files: Mutex::default(),
            active_segment: AtomicU64::new(0),
            torn: AtomicBool::new(recovered.torn),
            space: Mutex::default(),
            published: RwLock::new(published),
            applied: watch::Sender::new(tail.last_stamp),
            read_times: ReadTimes::new(lanes),
            read_buffers: ReadBuffers::default(),
        });
        let no_thread = |source| Error::Drive { drive: "all".into(), action: "start a writer thread".into(), source };
        let writers = LaneWriters::start(threads, lanes, write_timeout).map_err(no_thread)?;
        let mut committer = Committer::new(Arc::clone(&core), writers, tail, generation);
        if recovered.torn && core.drives.read_only_reason().is_none() {
            committer.end_before_torn();
        }
        let (pump, thread) = match threads {
            Threads::Inline => (Some(Arc::new(InlinePump::new(committer))), None),
            Threads::PerDrive => {
                let builder = std::thread::Builder::new().name("committer".into());
                (None, Some(builder.spawn(move || committer.run()).map_err(no_thread)?))
            }
        };
        Ok(Self { inner: Arc::new(Inner { core, pump, committer: Mutex::new(thread) }) })
    }

    pub(crate) fn core(&self) -> &Arc<Core> {
        &self.inner.core
    }

    /// Waits until an append of `bytes` ([`Append::bytes`]) has room in the queue. Refuses at once when no write can be
    /// taken: [`Error::ReadOnly`], [`Error::Closed`], or when no append may be that large.
    pub async fn reserve(&self, bytes: usize) -> Result<Reservation> {
        let core = self.core();
        if bytes > core.config.group_bytes_max {
            return Err(Error::TooLarge { what: "append", given: bytes, max: core.config.group_bytes_max });
        }
        self.check_writable()?;
        let permits = u32::try_from(bytes.max(1)).expect("a group is below 512 MiB");
        let room = Arc::clone(&core.room);
        if room.available_permits() < permits as usize {
            self.writer().hurry();
        }
        let permit = room.acquire_many_owned(permits).await.map_err(|_| Error::Closed)?;
        Ok(Reservation { bytes, permit })
    }

    /// Refuses with [`Error::ReadOnly`] or [`Error::Closed`] when no write can be taken.
    pub fn check_writable(&self) -> Result<()> {
        let core = self.core();
        {
            let queue = core.queue.lock();
            if queue.closed {
                return Err(Error::Closed);
            }
            if let Some(reason) = &queue.read_only {
                return Err(Error::ReadOnly { reason: reason.clone() });
            }
        }
        core.read_only_reason().map_or(Ok(()), |reason| Err(Error::ReadOnly { reason }))
    }

    /// Once a group found no room, bodies are refused until there is some; rows go on, for deletions are rows.
    fn check_full(&self) -> Result<()> {
        let core = self.core();
        if core.queue.lock().full {
            check_room(&core.drives, core.config.segment_bytes, core.config.left_alone_bytes())?;
            core.queue.lock().full = false;
        }
        Ok(())
    }

    /// Puts the append into the queue and gives it its stamp. Does not wait: the caller may hold a lock around it.
    ///
    /// [`Error::LostPrerequisite`] when a receipt it presents is of an era that a failed group has ended, [`Error::Full`] when it has
    /// chunks and the drives have no room for them.
    pub fn submit(&self, reservation: Reservation, append: Append) -> Result<Pending> {
        self.enqueue(reservation, append, Urgency::Now)
    }

    /// The same for an append that nobody waits for by itself: it is written together with the next one that somebody does
    /// wait for, in one group and with one sync, at the latest when room runs short, its [`Pending`] is polled, or the log is closed.
    pub fn submit_with_next(&self, reservation: Reservation, append: Append) -> Result<Pending> {
        self.enqueue(reservation, append, Urgency::WithNext)
    }

    fn enqueue(&self, reservation: Reservation, mut append: Append, urgency: Urgency) -> Result<Pending> {
        append.validate()?;
        append.rows = append.rows.filter(|rows| !rows.is_empty());
        let core = self.core();
        // with less room than any append may ask for, somebody may be waiting for what this one holds
        let roomy = core.room.available_permits() >= core.config.group_bytes_max;
        let urgency = if roomy { urgency } else { Urgency::Now };
        let Reservation { bytes: reserved, permit } = reservation;
        let bytes = append.bytes();
        if bytes > reserved {
            return Err(Error::TooLarge { what: "append (beyond its reservation)", given: bytes, max: reserved });
        }
        let encoded = encoded_bytes(&append, core.config.data);
        if encoded > core.config.group_bytes_max {
            return Err(Error::TooLarge {
                what: "append with its heads",
                given: encoded,
                max: core.config.group_bytes_max,
            });
        }
        if !append.pieces.is_empty() {
            self.check_full()?;
        }
        let requires = std::mem::take(&mut append.requires);
        self.queue(Work::Append(append), &requires, permit, urgency)
    }

    /// Queues a piece of upkeep.
    pub(crate) async fn upkeep(&self, upkeep: Upkeep) -> Result<Committed> {
        let reservation = self.reserve(upkeep.bytes(self.core().config.group_bytes_max)).await?;
        self.queue(Work::Upkeep(upkeep), &[], reservation.permit, Urgency::Now)?.await
    }

    /// Has `disk` take the place of drive number `drive`: an empty drive, or the one that was there before. It is written from then on,
    /// stale until a heal, which begins by itself, has brought it what it lacks. Goes on where it was when the server is stopped or dies meanwhile.
    ///
    /// [`Error::NotReplaceable`] when it is neither, when the others do not hold everything that is needed to rebuild it, or when there is no
    /// such number. Also works when too few drives are live for writes.
    pub async fn replace_drive(&self, drive: usize, disk: Arc<dyn Disk>, now: Timestamp) -> Result<()> {
        let core = self.core();
        if drive >= core.config.lanes() {
            let reason = format!("the set has drives 0 to {}", core.config.lanes() - 1);
            return Err(Error::NotReplaceable { drive: disk.label(), reason });
        }
        let (seated, answer) = oneshot::channel();
        let permit = Arc::clone(&core.room).acquire_owned().await.map_err(|_| Error::Closed)?;
        let upkeep = Upkeep::Seat { drive, disk, now, seated };
        self.queue(Work::Upkeep(upkeep), &[], permit, Urgency::Now)?.await?;
        answer.await.map_err(|_| Error::Closed)?
    }

    /// Begins a segment, unless the one that is written is empty; its number. All before it have ended.
    pub(crate) async fn begin_segment(&self) -> Result<u64> {
        let (begun, answer) = oneshot::channel();
        self.upkeep(Upkeep::BeginSegment { begun }).await?;
        answer.await.map_err(|_| Error::Closed)
    }

    /// Begins a segment that says that the log ends in front of a torn write, if that could not be done at the start because drives were full
    /// or out. While they still are it is left for later.
    pub(crate) async fn end_before_torn(&self) -> Result<()> {
        if !self.core().torn.load(Ordering::Acquire) || self.check_writable().is_err() {
            return Ok(());
        }
        match self.begin_segment().await {
            Err(error) if error.kind() != ErrorKind::Full => Err(error),
            _ => Ok(()),
        }
    }

    fn queue(
        &self,
        work: Work,
        requires: &[Receipt],
        permit: OwnedSemaphorePermit,
        urgency: Urgency,
    ) -> Result<Pending> {
        let core = self.core();
        let (reply, answer) = oneshot::channel();
        let mut queue = core.queue.lock();
        if queue.closed {
            return Err(Error::Closed);
        }
        if let Some(reason) = &queue.read_only {
            return Err(Error::ReadOnly { reason: reason.clone() });
        }
        let current = queue.era;
        if let Some(required) = requires.iter().filter_map(|receipt| receipt.as_era()).find(|era| *era != current) {
            return Err(Error::LostPrerequisite { required, current });
        }
        let stamp = queue.next_stamp;
        queue.next_stamp += 1;
        queue.entries.push_back(Entry { stamp, work, reply, permit });
        queue.urgent |= urgency == Urgency::Now;
        let enough = queue.entries.len() >= queue.awaited;
        drop(queue);
        if urgency == Urgency::Now && enough {
            core.work.notify_one();
        }
        Ok(Pending { stamp, era: current, reply: answer, urgency, writer: self.writer() })
    }

    fn writer(&self) -> Writer {
        match &self.inner.pump {
            Some(pump) => Writer::Inline(Arc::clone(pump)),
            None => Writer::Thread(Arc::clone(self.core())),
        }
    }

    /// The rows as they are now.
    pub fn snapshot(&self) -> Snapshot {
        self.core().published.read().clone()
    }

    /// The stamp up to which every append is visible (or has failed).
    pub fn applied(&self) -> u64 {
        *self.core().applied.borrow()
    }

    /// Waits until [`applied`](Self::applied) has reached `stamp`.
    pub async fn wait_applied(&self, stamp: u64) -> Result<()> {
        self.writer().hurry();
        let mut applied = self.core().applied.subscribe();
        // the sender lives in the core, which self holds: it cannot be gone
        applied.wait_for(|applied| *applied >= stamp).await.map(|_| ()).map_err(|_| Error::Closed)
    }

    /// The name of a worker on this log.
    pub(crate) fn worker_name(&self, work: &str) -> String {
        match self.number() {
            0 => work.to_owned(),
            number => format!("{work}-{number}"),
        }
    }

    /// Which set of the store it is.
    pub fn number(&self) -> u8 {
        self.core().config.membership.number()
    }

    /// The set's own name.
    pub fn set_id(&self) -> String {
        self.core().drives.set.to_string()
    }

    /// The further sets of the store, number and id, as the drives of this one say; only set 0 knows any.
    pub fn further_sets(&self) -> BTreeMap<u8, String> {
        self.core().drives.further_sets()
    }

    /// Has every live drive say that the store has another set. Blocks; must return before anything is written to that set.
    pub fn add_further_set(&self, number: u8, id: String) {
        self.core().drives.add_further_set(number, id);
    }

    /// Whether a drive is read and written.
    pub fn is_live(&self, drive: usize) -> bool {
        self.core().drives.is_live(drive)
    }

    /// Whether [`replace_drive`](Self::replace_drive) would be refused, as far as can be said without doing it; `disk` is `None` when its
    /// folder is still to be made. Changes nothing, blocks.
    pub fn check_replacement(&self, drive: usize, disk: Option<&dyn Disk>) -> Result<()> {
        self.core().drives.check_newcomer(drive, disk)
    }

    /// The paths of the drives, by number.
    pub fn labels(&self) -> Vec<String> {
        let drives = &self.core().drives;
        (0..drives.count()).map(|drive| drives.label(drive)).collect()
    }

    /// Bytes of bodies that still fit beside what is to be left alone, about; 0 when no body is taken. Asks every drive.
    pub fn room_bytes(&self) -> u64 {
        let core = self.core();
        if self.check_writable().and_then(|()| self.check_full()).is_err() {
            return 0;
        }
        let live = core.drives.live().into_iter();
        let free = live.filter_map(|drive| core.drives.disk(drive)?.free_bytes().ok()).min().unwrap_or_default();
        free.saturating_sub(core.config.left_alone_bytes()).saturating_mul(core.config.data as u64)
    }

    /// How the drives are and what was done since the open.
    pub fn status(&self) -> LogStatus {
        let core = self.core();
        let read_only_reason = core.read_only_reason().or_else(|| core.queue.lock().read_only.clone());
        let drives = core.drives.status();
        let whole = |drive: &DriveStatus| drive.state == DriveState::Live && !drive.stale;
        LogStatus {
            number: core.config.membership.number(),
            data: core.config.data,
            parity: core.config.parity,
            degraded: !drives.iter().all(whole),
            drives,
            passes: core.passes.lock().passes,
            writable: read_only_reason.is_none(),
            read_only_reason,
            full: core.queue.lock().full && self.check_full().is_err(),
            segments: core.segments.read().len(),
            space: *core.space.lock(),
            counters: core.counters.read(),
        }
    }

    /// Writes what is queued, stores how far the view is, stops the threads and gives the drives back. Reads by other clones still work;
    /// writes are refused with [`Error::Closed`].
    pub async fn close(&self) -> Result<()> {
        let inner = Arc::clone(&self.inner);
        offload(move || inner.stop()).await
    }

    /// [`close`](Self::close) on the calling thread.
    pub fn close_blocking(&self) -> Result<()> {
        self.inner.stop()
    }
}

/// Short: what the log holds does not belong into messages.
impl fmt::Debug for DriveLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let core = self.core();
        let mut shown = f.debug_struct("DriveLog");
        shown.field("set", &core.drives.set).field("data", &core.config.data).field("parity", &core.config.parity);
        shown.finish_non_exhaustive()
    }
}

impl Inner {
    fn stop(&self) -> Result<()> {
        self.finish_writing();
        let flushed = self.core.view.flush();
        self.core.drives.release();
        flushed
    }

    fn finish_writing(&self) {
        self.core.queue.lock().closed = true;
        self.core.room.close();
        self.core.work.notify_one();
        if let Some(pump) = &self.pump {
            pump.run();
        }
        if let Some(thread) = self.committer.lock().take() {
            // a panic of the thread has been reported by the panic hook; the queue's waiters see their replies dropped
            drop(thread.join());
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.finish_writing();
        self.core.drives.release();
    }
}
