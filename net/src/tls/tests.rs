//! Handshakes with certificates made here: renewed, broken, and of clients that do not shake hands.

use super::*;
use crate::{Connection, Listener, ServeLimits, serve_http};
use cistern_runtime::Shutdown;
use http::Response;
use prometheus_client::metrics::gauge::Gauge;
use rcgen::{CertifiedKey, KeyPair, generate_simple_self_signed};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use std::fs;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_rustls::TlsConnector;

/// A folder with a certificate and its key, and the paths of both.
fn folder() -> (TempDir, PathBuf, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let (certificate, key) = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
    renew(&certificate, &key);
    (folder, certificate, key)
}

fn renew(certificate: &Path, key: &Path) -> CertificateDer<'static> {
    let CertifiedKey { cert, signing_key } = generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    fs::write(certificate, cert.pem()).unwrap();
    fs::write(key, signing_key.serialize_pem()).unwrap();
    cert.der().clone()
}

/// A client that trusts one certificate only.
fn connector(trusted: CertificateDer<'static>) -> TlsConnector {
    let mut roots = RootCertStore::empty();
    roots.add(trusted).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    TlsConnector::from(Arc::new(config))
}

async fn listener(tls: &Tls) -> Listener {
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    Listener { socket, tls: Some(tls.clone()), open: Gauge::default() }
}

#[tokio::test]
async fn http_is_spoken_over_tls_and_a_renewed_certificate_serves_without_a_restart() {
    let (_folder, certificate, key) = folder();
    let old = CertificateDer::from_pem_file(&certificate).unwrap();
    let tls = Tls::load(&certificate, &key, &[]).unwrap();
    let listener = listener(&tls).await;
    let address = listener.socket.local_addr().unwrap();
    let shutdown = Shutdown::new();
    let (limits, stop) = (ServeLimits::default(), shutdown.clone());
    let answer = |_| async { Response::new(http_body_util::Full::new(bytes::Bytes::from_static(b"hello"))) };
    let serving = tokio::spawn(async move { serve_http(listener, &limits, stop, answer).await });
    let ask = async |trusted: CertificateDer<'static>| {
        let stream = TcpStream::connect(address).await.unwrap();
        let mut stream = connector(trusted).connect(ServerName::try_from("localhost").unwrap(), stream).await?;
        stream.write_all(b"GET / HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        Ok::<_, io::Error>(answer)
    };
    assert!(ask(old.clone()).await.unwrap().ends_with("hello"));
    // Both are younger than before, also on file systems that count whole seconds.
    let new = renew(&certificate, &key);
    for path in [&certificate, &key] {
        let file = fs::File::options().write(true).open(path).unwrap();
        let written = file.metadata().unwrap().modified().unwrap();
        file.set_modified(written + Duration::from_mins(1)).unwrap();
    }
    assert!(ask(old).await.is_ok(), "the files are looked at every {LOOK_INTERVAL:?} only");
    tls.0.current.lock().looked = Instant::now().checked_sub(LOOK_INTERVAL).unwrap();
    assert!(ask(new.clone()).await.unwrap().ends_with("hello"));
    // A broken file changes nothing.
    fs::write(&key, "nothing").unwrap();
    tls.0.current.lock().looked = Instant::now().checked_sub(LOOK_INTERVAL).unwrap();
    assert!(ask(new).await.unwrap().ends_with("hello"));
    shutdown.begin();
    serving.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn who_does_not_shake_hands_is_let_go() {
    let (_folder, certificate, key) = folder();
    let listener = listener(&Tls::load(&certificate, &key, &[]).unwrap()).await;
    let address = listener.socket.local_addr().unwrap();
    let shutdown = Shutdown::new();
    let (limits, stop) = (ServeLimits::default(), shutdown.clone());
    let handle = |_: Connection| async { unreachable!("nobody shook hands") };
    let serving = tokio::spawn(async move { crate::serve(listener, &limits, stop, handle).await });
    for said in [b"".as_slice(), b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03"] {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(said).await.unwrap();
        let mut rest = Vec::new();
        drop(stream.read_to_end(&mut rest).await); // an alert and the end, or a reset
    }
    shutdown.begin();
    serving.await.unwrap();
}

#[test]
fn files_that_cannot_serve_are_refused_by_name() {
    let (folder, certificate, key) = folder();
    let other = folder.path().join("other.pem");
    fs::write(&other, KeyPair::generate().unwrap().serialize_pem()).unwrap();
    let none = folder.path().join("none.pem");
    for (certificate, key, part) in [
        (&none, &key, "none.pem"),
        (&certificate, &none, "none.pem"),
        (&key, &key, "key.pem holds no certificate"),
        (&certificate, &certificate, "cert.pem: "),
        (&certificate, &other, "cannot be used together"),
    ] {
        let error = Tls::load(certificate, key, &[]).unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
    }
}
