//! The S3 door: requests as S3 clients send them, answered from `cistern-objects` and allowed by `cistern-access`.
//!
//! The protocol itself (routing, XML, signatures, chunked bodies) is the `s3s` crate's; this crate stands in front of it
//! where it is too lenient, behind it with the operations, and words every answer and error as S3 does. Nothing is
//! stored here and nothing below knows HTTP.
//!
//! ```text
//! front.rs   request id ─▶ screen.rs refuse what s3s would let pass ─▶ body_idle.rs, rechunk.rs, body_watch.rs: bodies
//!    │       cors.rs: preflights, and the headers of every answer · form.rs, form_upload.rs: browsers' forms
//!    ├─▶    direct.rs: plain, signed requests for an object's bytes or headers, without s3s · signature.rs
//!    ▼
//! s3s        route ─▶ signature (auth.rs) ─▶ access_check.rs ─▶ judge.rs key, policy, owner, access list ─▶ parse
//!    │       lenient.rs: a second pass without the headers that s3s would refuse and S3 passes over · r2.rs: R2's own headers
//!    ▼
//! ops/       one file a group of operations ─▶ objects
//!    ▼
//! error_map.rs  every error of the crates below ─▶ S3 code and status, in one table
//! ```

mod access_check;
mod acl;
mod auth;
mod body_idle;
mod body_stream;
mod body_watch;
mod checksum;
mod config;
mod cors;
mod direct;
mod encoded_words;
mod encryption;
mod error;
mod error_map;
mod facts;
mod form;
mod form_upload;
mod front;
mod headers;
mod host;
mod judge;
mod lenient;
mod lifecycle;
mod metrics;
mod notes;
mod notification;
mod operations;
mod ops;
mod query;
mod r2;
mod rechunk;
mod screen;
mod signature;
mod xml_text;

pub use config::S3Config;
pub use error::{Error, Result};
pub use front::S3Door;
pub use metrics::S3Metrics;
pub use s3s::Body;
