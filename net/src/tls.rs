//! TLS of a listener: certificate and key from PEM files, read again when they change.

use cistern_runtime::offload;
use parking_lot::Mutex;
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::pem::{Error as PemError, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// How often the files are looked at, at most: a renewed certificate serves after this time without a restart.
const LOOK_INTERVAL: Duration = Duration::from_secs(10);

/// Why a certificate and its key cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read, or holds no PEM of what it should.
    #[error("{path}: {source}; use a PEM file with {expected}")]
    File {
        /// The file.
        path: PathBuf,
        /// What it should hold.
        expected: &'static str,
        /// What is wrong with it.
        source: PemError,
    },
    /// The certificate file holds no certificate.
    #[error("{path} holds no certificate; use a PEM file with the certificate and those that lead to its root")]
    NoCertificate {
        /// The file.
        path: PathBuf,
    },
    /// The two do not belong together, or are of a kind that is not supported.
    #[error("the certificate {certificate} and the key {key} cannot be used together: {source}")]
    Unusable {
        /// The certificate file.
        certificate: PathBuf,
        /// The key file.
        key: PathBuf,
        /// Why not.
        source: rustls::Error,
    },
}

/// A certificate with its key. Clones share it.
#[derive(Debug, Clone)]
pub struct Tls(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    files: Files,
    current: Mutex<Current>,
}

#[derive(Debug, Clone)]
struct Files {
    certificate: PathBuf,
    key: PathBuf,
    /// Protocols offered by ALPN, the preferred first.
    protocols: &'static [&'static [u8]],
}

#[derive(Debug)]
struct Current {
    config: Arc<ServerConfig>,
    /// When the files were changed last, as far as is known.
    changed: Changed,
    looked: Instant,
}

type Changed = [Option<SystemTime>; 2];

impl Tls {
    /// What HTTP listeners offer by ALPN.
    pub const HTTP: &'static [&'static [u8]] = &[b"h2", b"http/1.1"];

    /// Reads both files. `protocols` are offered by ALPN; none offers nothing.
    pub fn load(certificate: &Path, key: &Path, protocols: &'static [&'static [u8]]) -> Result<Self, TlsError> {
        let files = Files { certificate: certificate.to_owned(), key: key.to_owned(), protocols };
        let changed = files.changed();
        let current = Current { config: files.load()?, changed, looked: Instant::now() };
        Ok(Self(Arc::new(Shared { files, current: Mutex::new(current) })))
    }

    /// The handshake of a connection.
    pub(crate) async fn accept(&self, stream: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        self.look().await;
        let config = Arc::clone(&self.0.current.lock().config);
        TlsAcceptor::from(config).accept(stream).await
    }

    /// Takes over changed files. What cannot be used changes nothing.
    async fn look(&self) {
        let known = {
            let mut current = self.0.current.lock();
            if current.looked.elapsed() < LOOK_INTERVAL {
                return;
            }
            current.looked = Instant::now();
            current.changed
        };
        let files = self.0.files.clone();
        let loaded = offload(move || {
            let changed = files.changed();
            (changed != known).then(|| (changed, files.load()))
        })
        .await;
        let Some((changed, loaded)) = loaded else { return };
        let mut current = self.0.current.lock();
        current.changed = changed;
        let certificate = self.0.files.certificate.display();
        match loaded {
            Ok(config) => {
                current.config = config;
                tracing::info!(%certificate, "a changed certificate is in use");
            }
            Err(error) => tracing::error!(%error, "a changed certificate is not usable: the one before stays in use"),
        }
    }
}

impl Files {
    fn changed(&self) -> Changed {
        [&self.certificate, &self.key].map(|path| path.metadata().and_then(|metadata| metadata.modified()).ok())
    }

    fn load(&self) -> Result<Arc<ServerConfig>, TlsError> {
        let refuse = |path: &Path, expected| {
            let path = path.to_owned();
            move |source| TlsError::File { path, expected, source }
        };
        let certificates = CertificateDer::pem_file_iter(&self.certificate)
            .and_then(Iterator::collect::<Result<Vec<_>, _>>)
            .map_err(refuse(&self.certificate, "certificates"))?;
        if certificates.is_empty() {
            return Err(TlsError::NoCertificate { path: self.certificate.clone() });
        }
        let key = PrivateKeyDer::from_pem_file(&self.key).map_err(refuse(&self.key, "the private key"))?;
        let unusable =
            |source| TlsError::Unusable { certificate: self.certificate.clone(), key: self.key.clone(), source };
        let mut config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .and_then(|builder| builder.with_no_client_auth().with_single_cert(certificates, key))
            .map_err(unusable)?;
        config.alpn_protocols = self.protocols.iter().map(|protocol| protocol.to_vec()).collect();
        Ok(Arc::new(config))
    }
}

#[cfg(test)]
mod tests;
