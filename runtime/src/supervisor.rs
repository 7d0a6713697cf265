//! Supervised background work: every loop of the process is a [`Worker`] that the [`Supervisor`] starts, lists and stops.

use crate::{Backoff, Shutdown};
use async_trait::async_trait;
use parking_lot::Mutex;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;

/// What one call of [`Worker::work`] left behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Work {
    /// There is more to do at once.
    More,
    /// Nothing to do: wait for work.
    Idle,
    /// The worker's task is over.
    Finished,
}

/// Why a piece of work failed; the supervisor logs it and tries again after a pause.
pub type WorkerError = Box<dyn std::error::Error + Send + Sync>;

/// A loop that runs beside the requests, at its own pace.
///
/// `work` must be safe to repeat: after an error it is called again after a growing pause (0.1 s to 30 s). At shutdown
/// the supervisor does not interrupt `work`: it is expected to end within a second or to watch a [`Shutdown`] itself.
#[async_trait]
pub trait Worker: Send + 'static {
    /// The worker's name in logs, metrics and listings.
    fn name(&self) -> String;

    /// Does one bounded piece of work.
    async fn work(&mut self) -> Result<Work, WorkerError>;

    /// Waits until there may be work. Dropped at shutdown.
    async fn wait_for_work(&mut self);
}

/// Whether a worker runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WorkerState {
    /// It works.
    Busy,
    /// It waits for work.
    Idle,
    /// Its last piece of work failed; it will try again.
    Failing,
    /// It has ended.
    Ended,
}

/// One line of the listing of workers.
#[derive(Debug, Clone)]
pub struct WorkerStatus {
    /// The worker's name.
    pub name: String,
    /// Whether it runs.
    pub state: WorkerState,
    /// How many pieces of work have failed since it started.
    pub failures: u64,
    /// The text of the last failure.
    pub last_error: Option<String>,
}

/// Starts, lists and stops workers. Clones share them.
#[derive(Clone)]
pub struct Supervisor {
    shutdown: Shutdown,
    statuses: Arc<Mutex<Vec<Arc<Mutex<WorkerStatus>>>>>,
    tasks: Arc<Mutex<JoinSet<()>>>,
}

impl Supervisor {
    /// A supervisor whose workers stop when `shutdown` begins.
    pub fn new(shutdown: Shutdown) -> Self {
        Self { shutdown, statuses: Arc::default(), tasks: Arc::default() }
    }

    /// The signal that stops the workers.
    pub fn shutdown(&self) -> &Shutdown {
        &self.shutdown
    }

    /// Starts a worker. Must be called inside a tokio runtime.
    pub fn start(&self, worker: impl Worker) {
        let status = Arc::new(Mutex::new(WorkerStatus {
            name: worker.name(),
            state: WorkerState::Idle,
            failures: 0,
            last_error: None,
        }));
        let mut statuses = self.statuses.lock();
        statuses.retain(|status| status.lock().state != WorkerState::Ended);
        statuses.push(Arc::clone(&status));
        let mut tasks = self.tasks.lock();
        while tasks.try_join_next().is_some() {}
        tasks.spawn(run(worker, self.shutdown.clone(), status));
    }

    /// The workers that run, in the order they were started.
    pub fn workers(&self) -> Vec<WorkerStatus> {
        self.statuses.lock().iter().map(|status| status.lock().clone()).collect()
    }

    /// Waits until every worker has ended (after the shutdown has begun), at most `limit`; answers the names of those
    /// that did not end in time and were aborted.
    pub async fn stopped(&self, limit: Duration) -> Vec<String> {
        let mut tasks = std::mem::take(&mut *self.tasks.lock());
        let all = async { while tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(limit, all).await.is_ok() {
            return Vec::new();
        }
        tasks.abort_all();
        let running = self.workers().into_iter().filter(|status| status.state != WorkerState::Ended);
        running.map(|status| status.name).collect()
    }
}

impl fmt::Debug for Supervisor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Supervisor").field("workers", &self.workers()).finish_non_exhaustive()
    }
}

async fn run(mut worker: impl Worker, shutdown: Shutdown, status: Arc<Mutex<WorkerStatus>>) {
    let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(30));
    while !shutdown.has_begun() {
        status.lock().state = WorkerState::Busy;
        match worker.work().await {
            Ok(Work::Finished) => break,
            Ok(Work::More) => backoff.reset(),
            Ok(Work::Idle) => {
                backoff.reset();
                status.lock().state = WorkerState::Idle;
                tokio::select! {
                    () = worker.wait_for_work() => {}
                    () = shutdown.begun() => {}
                }
            }
            Err(error) => {
                tracing::warn!(worker = worker.name(), error = %error, "background work failed, will try again");
                {
                    let mut status = status.lock();
                    status.state = WorkerState::Failing;
                    status.failures += 1;
                    status.last_error = Some(error.to_string());
                }
                tokio::select! {
                    () = backoff.pause() => {}
                    () = shutdown.begun() => {}
                }
            }
        }
    }
    status.lock().state = WorkerState::Ended;
}

#[cfg(test)]
mod tests {
    use super::*;

    struct FailsTwice {
        calls: u32,
    }

    #[async_trait]
    impl Worker for FailsTwice {
        fn name(&self) -> String {
            "fails-twice".into()
        }

        async fn work(&mut self) -> Result<Work, WorkerError> {
            self.calls += 1;
            match self.calls {
                1 | 2 => Err("no luck".into()),
                3 => Ok(Work::More),
                _ => Ok(Work::Finished),
            }
        }

        async fn wait_for_work(&mut self) {}
    }

    #[tokio::test(start_paused = true)]
    async fn a_failing_worker_is_tried_again_and_its_failures_are_listed() {
        let supervisor = Supervisor::new(Shutdown::new());
        supervisor.start(FailsTwice { calls: 0 });
        assert_eq!(supervisor.stopped(Duration::from_mins(1)).await, Vec::<String>::new());
        let status = &supervisor.workers()[0];
        assert_eq!((status.state, status.failures), (WorkerState::Ended, 2));
        assert_eq!(status.last_error.as_deref(), Some("no luck"));
    }

    struct Waits;

    #[async_trait]
    impl Worker for Waits {
        fn name(&self) -> String {
            "waits".into()
        }

        async fn work(&mut self) -> Result<Work, WorkerError> {
            Ok(Work::Idle)
        }

        async fn wait_for_work(&mut self) {
            std::future::pending::<()>().await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_waiting_worker_ends_at_shutdown() {
        let shutdown = Shutdown::new();
        let supervisor = Supervisor::new(shutdown.clone());
        supervisor.start(Waits);
        tokio::task::yield_now().await;
        shutdown.begin();
        assert!(supervisor.stopped(Duration::from_secs(1)).await.is_empty());
    }
}
