//! The real server with the clients that Rust programs use. One test binary, one module a client.
//!
//! ```text
//! aws_sdk.rs             aws-sdk-s3: buckets, objects, lists, parts, checksums, conditions, versions, locks, keys, addresses
//! object_store_suite.rs  object_store, the one of DataFusion and delta-rs: its own integration tests, and what those leave out
//! s3s_suite.rs           s3s-e2e, the end-to-end suite of s3s
//! kafka.rs               rdkafka: producers through kill -9, a reader, what is refused
//! ```
//!
//! `cargo xtask rust-clients` builds the server, names it in `CISTERN_BIN`, builds this package into `target/rust-clients` and
//! runs it. It is a workspace of its own, so `cargo xtask test` does not compile it.

mod aws_sdk;
mod kafka;
mod object_store_suite;
mod s3s_suite;
#[path = "../it/sandbox.rs"]
mod sandbox;
