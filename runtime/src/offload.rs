//! CPU-heavy or blocking work, off the threads that serve connections.

/// Runs `work` on a thread where blocking is allowed and waits for its result. A panic in `work` goes on in the caller.
///
/// Costs a thread hop (some microseconds): worth it from about 64 KiB of hashing or any disk I/O that may wait.
pub async fn offload<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(value) => value,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(_) => std::future::pending().await, // the runtime is going down: nobody will poll us again
        },
    }
}
