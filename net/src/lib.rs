//! Connections: accepted, bounded, encrypted, served, and let go when the server stops. Every listener of the process is
//! served here, whatever it speaks.
//!
//! ```text
//! accept.rs  Listener, serve: the loop that accepts and bounds; one task a connection
//! tls.rs     Tls: certificate and key from files, read again when they change
//! stream.rs  Stream: a connection's bytes, plain or encrypted
//! http.rs    serve_http: HTTP/1.1 and HTTP/2 over such connections, and what becomes of one that leaves HTTP
//! alarm.rs   ConnectionTimer: what times the heads of a connection
//! idle.rs    IdleLimited: a body that may not pause for long
//! limits.rs  ServeLimits: every bound with its unit
//! ```
//! Nothing here knows what is said over a connection: handlers are handed in.

mod accept;
mod alarm;
mod http;
mod idle;
mod limits;
mod stream;
mod tls;

pub use accept::{Connection, Endpoint, Listener, Served, serve};
pub use http::{AfterUpgrade, Peer, serve_http};
pub use idle::{BodyIdle, IdleLimited};
pub use limits::ServeLimits;
pub use stream::Stream;
pub use tls::{Tls, TlsError};
