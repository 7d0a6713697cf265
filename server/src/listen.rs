//! Sockets and certificates: taken before anything is opened, so that a port in use is known at once and changes nothing.

use crate::config::{Listen, ListenOn};
use cistern_net::{Listener, Tls, TlsError};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use std::io::ErrorKind;
use std::net::SocketAddr;
use tokio::net::TcpListener;

/// Why a listener cannot be.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// Its address cannot be listened on.
    #[error("{key}: cannot listen on {address}: {reason}")]
    Address {
        /// The setting.
        key: &'static str,
        /// The address.
        address: SocketAddr,
        /// Why not, and what to do.
        reason: String,
    },
    /// Its certificate cannot be used.
    #[error("{key}: no TLS on this listener")]
    Certificate {
        /// The setting of its address.
        key: &'static str,
        /// Why not.
        source: Box<TlsError>,
    },
}

/// The bound listeners.
#[derive(Debug)]
pub(crate) struct Listeners {
    /// S3.
    pub(crate) s3: Listener,
    /// Management.
    pub(crate) management: Listener,
    /// Ingest.
    pub(crate) ingest: Listener,
    /// Kafka.
    pub(crate) kafka: Listener,
    open: Family<OfListener, Gauge>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfListener {
    listener: &'static str,
}

impl Listen {
    /// Refuses certificates that cannot be used.
    pub(crate) fn check_certificates(&self) -> Result<(), Error> {
        for (key, on) in [
            ("s3.listen", &self.s3),
            ("management.listen", &self.management),
            ("ingest.listen", &self.ingest),
            ("kafka.listen", &self.kafka),
        ] {
            certificate(key, on, &[])?;
        }
        Ok(())
    }
}

fn certificate(key: &'static str, on: &ListenOn, protocols: &'static [&'static [u8]]) -> Result<Option<Tls>, Error> {
    let tls = on.tls.as_ref().map(|files| Tls::load(&files.certificate, &files.key, protocols)).transpose();
    tls.map_err(|source| Error::Certificate { key, source: Box::new(source) })
}

impl Listeners {
    /// Binds all of them; warns of those that others can reach in clear.
    pub(crate) async fn bind(wanted: &Listen) -> Result<Self, Error> {
        let open = Family::default();
        let bind = async |name, key, on, carries| {
            let gauge = open.get_or_create_owned(&OfListener { listener: name });
            let protocols = if name == "kafka" { &[] } else { Tls::HTTP };
            bind_one(key, on, protocols, carries, gauge).await
        };
        Ok(Self {
            s3: bind("s3", "s3.listen", &wanted.s3, "objects").await?,
            management: bind(
                "management",
                "management.listen",
                &wanted.management,
                "the API token, new secrets and objects",
            )
            .await?,
            ingest: bind("ingest", "ingest.listen", &wanted.ingest, "events and send tokens").await?,
            kafka: bind("kafka", "kafka.listen", &wanted.kafka, "events and send tokens").await?,
            open,
        })
    }

    /// Shows how many connections each has open.
    pub(crate) fn register_metrics(&self, registry: &mut Registry) {
        registry.register("cistern_connections", "Open connections, by listener", self.open.clone());
    }
}

async fn bind_one(
    key: &'static str,
    on: &ListenOn,
    protocols: &'static [&'static [u8]],
    carries: &str,
    open: Gauge,
) -> Result<Listener, Error> {
    let address = on.address;
    let refuse = |error: std::io::Error| {
        let reason = match error.kind() {
            ErrorKind::AddrInUse => {
                "the port is in use; stop what uses it, or set another port (0 takes a free one)".into()
            }
            ErrorKind::AddrNotAvailable => "this machine has no such address; set one it has, or 0.0.0.0".into(),
            ErrorKind::PermissionDenied => "not permitted; set a port from 1024 up".into(),
            _ => error.to_string(),
        };
        Error::Address { key, address, reason }
    };
    let tls = certificate(key, on, protocols)?;
    let socket = TcpListener::bind(address).await.map_err(refuse)?;
    let bound = socket.local_addr().map_err(refuse)?;
    if tls.is_none() && !bound.ip().is_loopback() {
        tracing::warn!(
            "{key}: {bound} can be reached from elsewhere, and {carries} travel in clear: set a certificate and its key"
        );
    }
    Ok(Listener { socket, tls, open })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn loopback(s3: u16) -> Listen {
        let on = |port| ListenOn { address: SocketAddr::from(([127, 0, 0, 1], port)), tls: None };
        Listen { s3: on(s3), management: on(0), ingest: on(0), kafka: on(0) }
    }

    #[tokio::test]
    async fn port_0_takes_a_free_one() {
        let listeners = Listeners::bind(&loopback(0)).await.unwrap();
        let port = |listener: &Listener| listener.endpoint().unwrap().address.port();
        assert!(port(&listeners.s3) != 0 && port(&listeners.s3) != port(&listeners.ingest));
    }

    #[tokio::test]
    async fn a_port_in_use_names_setting_address_and_remedy() {
        let taken = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = taken.local_addr().unwrap().port();
        let error = Listeners::bind(&loopback(port)).await.unwrap_err().to_string();
        let expected = format!("s3.listen: cannot listen on 127.0.0.1:{port}: the port is in use; ");
        assert!(error.starts_with(&expected), "{error}");
    }

    #[tokio::test]
    async fn an_address_of_another_machine_is_refused_in_words() {
        let mut wanted = loopback(0);
        wanted.s3.address = SocketAddr::from(([192, 0, 2, 1], 0));
        let error = Listeners::bind(&wanted).await.unwrap_err().to_string();
        assert!(error.contains("this machine has no such address"), "{error}");
    }

    #[tokio::test]
    async fn a_certificate_that_is_not_there_names_the_listener() {
        let mut wanted = loopback(0);
        let none = || "/none.pem".into();
        wanted.ingest.tls = Some(crate::config::TlsFiles { certificate: none(), key: none() });
        let error = Listeners::bind(&wanted).await.unwrap_err();
        assert_eq!(error.to_string(), "ingest.listen: no TLS on this listener");
    }
}
