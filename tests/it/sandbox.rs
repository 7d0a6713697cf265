//! A folder and a server for one test, removed with it.

use cistern_tests::server::tail;
use cistern_tests::{S3, Server, ServerSpec};
use std::fmt::Debug;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use tempfile::TempDir;

/// A folder with room for a data folder and files; outlives the servers started in it. When the test fails, the end of the
/// server's log is shown before all of it goes.
pub(crate) struct Sandbox {
    folder: TempDir,
}

impl Sandbox {
    /// An empty folder.
    pub(crate) fn new() -> Self {
        Self { folder: tempfile::Builder::new().prefix("cistern-it-").tempdir().unwrap() }
    }

    /// The folder.
    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// The server's data folder.
    pub(crate) fn data_dir(&self) -> PathBuf {
        self.path().join("data")
    }

    /// How to start a server here.
    pub(crate) fn spec(&self) -> ServerSpec {
        ServerSpec::new(&self.data_dir()).unwrap()
    }

    /// Starts a server here.
    pub(crate) fn start(&self) -> Server {
        self.spec().start().unwrap()
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the server's log ends:\n{}", tail(&self.data_dir().with_extension("log")));
        }
    }
}

/// A fresh server with one bucket, and a connection to it. The sandbox must be kept as long as the server.
pub(crate) fn server_with_bucket(bucket: &str) -> (Sandbox, Server, S3) {
    let sandbox = Sandbox::new();
    let server = sandbox.start();
    let mut s3 = server.s3().unwrap();
    s3.create_bucket(bucket).unwrap();
    (sandbox, server, s3)
}

/// How much of something `cargo xtask soak` asks for by a variable of the environment, which is a number then.
pub(crate) fn asked<T: FromStr<Err: Debug>>(name: &str) -> Option<T> {
    std::env::var_os(name).map(|text| text.to_str().unwrap().parse().unwrap())
}
