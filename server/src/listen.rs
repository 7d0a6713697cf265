//! Sockets: bound before anything is opened, so that a port in use is known at once and changes nothing.

use crate::config::Listen;
use std::io::ErrorKind;
use std::net::SocketAddr;
use tokio::net::TcpListener;

/// Why an address cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("{key}: cannot listen on {address}: {reason}")]
pub(crate) struct Error {
    key: &'static str,
    address: SocketAddr,
    reason: String,
}

/// The bound sockets and their addresses in force.
#[derive(Debug)]
pub(crate) struct Sockets {
    /// S3.
    pub(crate) s3: TcpListener,
    /// Management.
    pub(crate) management: TcpListener,
    /// Ingest.
    pub(crate) ingest: TcpListener,
    /// Where they are.
    pub(crate) at: Listen,
}

/// Binds all listeners; warns of those that others can reach, since none of them speaks TLS.
pub(crate) async fn bind(wanted: Listen) -> Result<Sockets, Error> {
    let (s3, s3_at) = bind_one("s3.listen", wanted.s3, "objects").await?;
    let (management, management_at) =
        bind_one("management.listen", wanted.management, "the API token, new secrets and objects").await?;
    let (ingest, ingest_at) = bind_one("ingest.listen", wanted.ingest, "events and send tokens").await?;
    Ok(Sockets { s3, management, ingest, at: Listen { s3: s3_at, management: management_at, ingest: ingest_at } })
}

async fn bind_one(key: &'static str, address: SocketAddr, carries: &str) -> Result<(TcpListener, SocketAddr), Error> {
    let refuse = |error: std::io::Error| {
        let reason = match error.kind() {
            ErrorKind::AddrInUse => {
                "the port is in use; stop what uses it, or set another port (0 takes a free one)".into()
            }
            ErrorKind::AddrNotAvailable => "this machine has no such address; set one it has, or 0.0.0.0".into(),
            ErrorKind::PermissionDenied => "not permitted; set a port from 1024 up".into(),
            _ => error.to_string(),
        };
        Error { key, address, reason }
    };
    let listener = TcpListener::bind(address).await.map_err(refuse)?;
    let bound = listener.local_addr().map_err(refuse)?;
    if !bound.ip().is_loopback() {
        tracing::warn!(
            "{key}: {bound} can be reached from elsewhere, and {carries} travel in clear: there is no TLS on it"
        );
    }
    Ok((listener, bound))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn loopback(s3: u16) -> Listen {
        let free = SocketAddr::from(([127, 0, 0, 1], 0));
        Listen { s3: SocketAddr::from(([127, 0, 0, 1], s3)), management: free, ingest: free }
    }

    #[tokio::test]
    async fn port_0_takes_a_free_one() {
        let sockets = bind(loopback(0)).await.unwrap();
        assert_eq!(sockets.s3.local_addr().unwrap(), sockets.at.s3);
        assert!(sockets.at.s3.port() != 0 && sockets.at.s3 != sockets.at.ingest);
    }

    #[tokio::test]
    async fn a_port_in_use_names_setting_address_and_remedy() {
        let taken = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = taken.local_addr().unwrap().port();
        let error = bind(loopback(port)).await.unwrap_err().to_string();
        let expected = format!("s3.listen: cannot listen on 127.0.0.1:{port}: the port is in use; ");
        assert!(error.starts_with(&expected), "{error}");
    }

    #[tokio::test]
    async fn an_address_of_another_machine_is_refused_in_words() {
        let wanted = Listen { s3: SocketAddr::from(([192, 0, 2, 1], 0)), ..loopback(0) };
        let error = bind(wanted).await.unwrap_err().to_string();
        assert!(error.contains("this machine has no such address"), "{error}");
    }
}
