//! Every listener over TLS, with a certificate of an authority that only the tests know: S3, events over HTTP, Kafka, the
//! command line. `tests/clients/tls_suite.py` says what is checked with clients in Python.

use crate::kafka_clients::{drained_with, kcat_ok, kcat_refused, with};
use crate::sandbox::Sandbox;
use cistern_tests::{Server, clients};
use std::path::{Path, PathBuf};
use std::process::Command;

const KEY_KIND: [&str; 5] = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];
const LISTENERS: [&str; 4] = ["S3", "MANAGEMENT", "INGEST", "KAFKA"];

/// Files of an authority and of a certificate for this machine that it signed.
struct Certificates {
    authority: PathBuf,
    certificate: PathBuf,
    key: PathBuf,
}

impl Certificates {
    fn make(folder: &Path) -> Self {
        let file = |name: &str| folder.join(name);
        let (authority, authority_key) = (file("authority.pem"), file("authority-key.pem"));
        let (certificate, key) = (file("certificate.pem"), file("key.pem"));
        let signed = ["-CA".as_ref(), authority.as_os_str(), "-CAkey".as_ref(), authority_key.as_os_str()];
        let extensions = ["basicConstraints=critical,CA:TRUE", "keyUsage=critical,keyCertSign,cRLSign"];
        openssl_makes("/CN=authority of a test", &extensions, &authority, &authority_key, &[]);
        let extensions = ["basicConstraints=critical,CA:FALSE", "subjectAltName=IP:127.0.0.1,DNS:localhost"];
        openssl_makes("/CN=server of a test", &extensions, &certificate, &key, &signed);
        Self { authority, certificate, key }
    }

    fn authority(&self) -> &str {
        self.authority.to_str().unwrap()
    }
}

fn openssl_makes(subject: &str, extensions: &[&str], certificate: &Path, key: &Path, more: &[&std::ffi::OsStr]) {
    let mut command = Command::new("openssl");
    command.args(["req", "-x509", "-days", "2", "-subj", subject]).args(KEY_KIND).args(more);
    command.arg("-out").arg(certificate).arg("-keyout").arg(key);
    for extension in extensions {
        command.args(["-addext", extension]);
    }
    let output = command.output().expect("no openssl: `cargo xtask setup` installs it");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// A server with TLS on all its listeners.
fn started() -> (Sandbox, Certificates, Server) {
    let sandbox = Sandbox::new();
    let certificates = Certificates::make(sandbox.path());
    let spec = LISTENERS.iter().fold(sandbox.spec(), |spec, name| {
        let spec = spec.setting(&format!("{name}__TLS_CERTIFICATE"), &certificates.certificate.display());
        spec.setting(&format!("{name}__TLS_KEY"), &certificates.key.display())
    });
    (sandbox, certificates, spec.start().unwrap())
}

#[test]
fn clients_in_python_send_read_and_refuse_what_they_do_not_know() {
    let (_sandbox, certificates, server) = started();
    let authority = certificates.authority();
    let environment = [("AWS_CA_BUNDLE", authority), ("SSL_CERT_FILE", authority)];
    clients::suite_with(&server, "tls_suite.py", "", &environment).unwrap();
}

#[test]
fn the_command_line_trusts_the_authority_it_is_given() {
    let (_sandbox, certificates, server) = started();
    let refused = server.cli(&["bucket", "list"]).unwrap();
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(!refused.status.success() && said.contains("certificate"), "{said}");
    let authority = certificates.authority();
    server.cli_ok(&["--api-ca", authority, "bucket", "create", "lake"]).unwrap();
    assert!(server.cli_ok(&["--api-ca", authority, "bucket", "list"]).unwrap().contains("lake"));
    let create = ["--api-ca", authority, "pipelines", "create", "clicks", "--destination-bucket=lake"];
    let printed = server.cli_ok(&create).unwrap();
    assert!(printed.contains("security.protocol=SASL_SSL") && printed.contains("https://"), "{printed}");
}

#[test]
fn kcat_sends_over_tls_as_the_command_line_prints_it() {
    let (_sandbox, certificates, server) = started();
    let authority = certificates.authority();
    server.cli_ok(&["--api-ca", authority, "bucket", "create", "lake"]).unwrap();
    let create = ["pipelines", "create", "clicks", "--destination-bucket=lake", "--batch-timeout-secs=3600", "--json"];
    let made = server.cli_ok(&[&["--api-ca", authority][..], &create].concat()).unwrap();
    let made: serde_json::Value = serde_json::from_str(&made).unwrap();
    let login = |protocol: &str, token: &str| {
        let settings = [format!("security.protocol={protocol}"), "sasl.mechanism=PLAIN".to_owned()];
        let user = ["sasl.username=clicks".to_owned(), format!("sasl.password={token}")];
        settings.into_iter().chain(user).flat_map(|setting| ["-X".to_owned(), setting]).collect::<Vec<_>>()
    };
    let token = made["send_token"].as_str().unwrap();
    let trusting = format!("-Xssl.ca.location={authority}");
    let right = login("SASL_SSL", token);
    kcat_ok(&server, &with(&["-P", "-t", "clicks", "-z", "zstd", &trusting], &right), "{\"n\":1}\n{\"n\":2}\n");
    kcat_refused(&server, &with(&["-P", "-t", "clicks"], &right), "{}\n", "certificate verify failed");
    let wrong = login("SASL_SSL", "wrong");
    kcat_refused(&server, &with(&["-P", "-t", "clicks", &trusting], &wrong), "{}\n", "user or password is wrong");
    let without = login("SASL_PLAINTEXT", token);
    kcat_refused(&server, &with(&["-P", "-t", "clicks"], &without), "{}\n", "brokers are down");
    let environment = [("AWS_CA_BUNDLE", authority), ("SSL_CERT_FILE", authority)];
    drained_with(&server, &environment, "clicks", ["{\"n\":1}", "{\"n\":2}"].into_iter(), &[]);
}
