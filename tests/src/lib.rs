//! The real `cistern` binary seen from outside: start it, stop it, sign for it, talk HTTP to it.
//!
//! Used by the end-to-end tests in `it/`, by `cistern-bench` and by `cargo xtask demo`. It knows nothing of the server's
//! code: only the contract (arguments, environment, files, protocols). Everything here blocks; load comes from threads.
//!
//! ```text
//! server.rs    Server: the process, its folder, its addresses and keys; SIGTERM, kill -9
//! http.rs      Connection: HTTP/1.1 on one keep-alive connection, also malformed on purpose
//! sigv4.rs     Keys, Signer: AWS Signature Version 4 in headers and presigned
//! s3.rs        S3, Call: signed S3 requests on one connection; Content: bytes that a seed names
//! ingest.rs    Pipeline: created by the command line, fed over HTTP
//! flights.rs   the sample of 120,000 real events and its sums
//! python.rs    the clients of other people: aws, and scripts with boto3, DuckDB, PyArrow, Polars
//! clients.rs   suites of checks with more clients: s3cmd, s5cmd, rclone, restic, JavaScript, Delta, MinIO, obstore, Kafka's
//! mount.rs     Mount: a small file system in memory as a drive
//! process.rs   memory and CPU time of a process, from /proc
//! wait.rs      the clock, and waiting for a condition with a limit
//! ```

pub mod clients;
pub mod flights;
pub mod http;
pub mod ingest;
pub mod mount;
pub mod process;
pub mod python;
pub mod s3;
pub mod server;
pub mod sigv4;
pub mod wait;

pub use ingest::Pipeline;
pub use mount::Mount;
pub use s3::{Call, Content, S3};
pub use server::{Server, ServerSpec};
pub use sigv4::{Keys, Payload, Signer};

use std::path::PathBuf;

/// The root of the workspace.
pub fn workspace_root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..").components().fold(PathBuf::new(), |mut root, component| {
        if component == std::path::Component::ParentDir {
            root.pop();
        } else {
            root.push(component);
        }
        root
    })
}
