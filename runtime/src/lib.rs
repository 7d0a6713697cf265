//! Time and background work: the clock everyone asks, the workers everyone runs, the way everything stops.
//!
//! Lowest layer. Library crates never call `tokio::spawn` or read the system time: they take an [`Arc<dyn Clock>`] and
//! hand their background work to the [`Supervisor`] as [`Worker`]s.
//!
//! ```text
//! clock.rs       Clock, SystemClock, TestClock (feature `testing`)
//! supervisor.rs  Worker, Supervisor, WorkerStatus: start, restart after a failure, list, stop
//! shutdown.rs    Shutdown: one signal, many listeners
//! backoff.rs     Backoff: growing, jittered pauses between tries
//! offload.rs     offload: CPU-heavy or blocking work off the runtime's threads
//! ```
//!
//! [`Arc<dyn Clock>`]: Clock

mod backoff;
mod clock;
mod offload;
mod shutdown;
mod supervisor;

pub use backoff::Backoff;
#[cfg(feature = "testing")]
pub use clock::TestClock;
pub use clock::{Clock, SystemClock};
pub use offload::offload;
pub use shutdown::Shutdown;
pub use supervisor::{Supervisor, Work, Worker, WorkerError, WorkerState, WorkerStatus};
