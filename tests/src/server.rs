//! The server process: started in a folder on free ports, waited for by its `ready` line, ended by signal.

use crate::http::{Connection, Response};
use crate::s3::S3;
use crate::sigv4::Keys;
use crate::wait;
use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc;
use std::time::Duration;

/// Longest wait for `ready`: also a full rebuild of a small store must fit, on a busy machine.
const START_LIMIT: Duration = Duration::from_mins(1);
/// The contract's limit of a graceful stop.
pub const STOP_LIMIT: Duration = Duration::from_secs(30);
const SETTINGS_PREFIX: &str = "CISTERN_";

/// How to start a server.
#[derive(Debug, Clone)]
pub struct ServerSpec {
    /// The binary.
    pub binary: PathBuf,
    /// Its data folder.
    pub data_dir: PathBuf,
    /// Environment on top of free ports and the data folder; a name given twice counts as given last.
    pub environment: Vec<(String, String)>,
    /// Arguments after `serve`.
    pub arguments: Vec<String>,
    start_limit: Duration,
}

impl ServerSpec {
    /// A server of the binary under test with its data in `data_dir`, on free ports.
    pub fn new(data_dir: &Path) -> Result<Self> {
        Ok(Self::of_binary(binary_under_test()?, data_dir))
    }

    /// The same with another binary.
    pub fn of_binary(binary: PathBuf, data_dir: &Path) -> Self {
        let listen = |name: &str| (format!("{SETTINGS_PREFIX}{name}__LISTEN"), "127.0.0.1:0".to_owned());
        let mut environment = ["S3", "MANAGEMENT", "INGEST", "KAFKA"].map(listen).to_vec();
        environment.push((format!("{SETTINGS_PREFIX}DATA_DIR"), data_dir.display().to_string()));
        Self { binary, data_dir: data_dir.to_owned(), environment, arguments: Vec::new(), start_limit: START_LIMIT }
    }

    /// With one more setting, named without `CISTERN_`.
    #[must_use]
    pub fn setting(mut self, name: &str, value: &(impl ToString + ?Sized)) -> Self {
        self.environment.push((format!("{SETTINGS_PREFIX}{name}"), value.to_string()));
        self
    }

    /// Given so long to be ready.
    #[must_use]
    pub fn starting_within(self, start_limit: Duration) -> Self {
        Self { start_limit, ..self }
    }

    /// With the server's usual ports instead of free ones.
    #[must_use]
    pub fn on_default_ports(mut self) -> Self {
        self.environment.retain(|(name, _)| !name.ends_with("__LISTEN"));
        self
    }

    /// The command `cistern ARGUMENTS` in this environment and in no other Cistern setting of ours.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.binary);
        command.args(arguments);
        let ours = |name: &OsString| name.to_string_lossy().starts_with(SETTINGS_PREFIX);
        for (name, _) in std::env::vars_os().filter(|(name, _)| ours(name)) {
            command.env_remove(name);
        }
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        if let Some(folder) = self.data_dir.parent() {
            command.current_dir(folder);
        }
        command
    }

    /// Starts the server and waits until it says `ready`.
    pub fn start(&self) -> Result<Server> {
        let log = self.log_file();
        let mut arguments = vec!["serve"];
        arguments.extend(self.arguments.iter().map(String::as_str));
        let mut command = self.command(&arguments);
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(File::options().create(true).append(true).open(&log)?);
        let child = command.spawn().with_context(|| format!("start {}", self.binary.display()))?;
        let mut server = Server { spec: self.clone(), child, endpoints: Endpoints::default(), root: Root::default() };
        server.wait_ready().with_context(|| format!("the server said:\n{}", tail(&log)))?;
        Ok(server)
    }

    /// Runs `cistern serve` where it is expected to refuse: waits until it ends and answers what it said.
    pub fn start_refused(&self) -> Result<Output> {
        let mut arguments = vec!["serve"];
        arguments.extend(self.arguments.iter().map(String::as_str));
        let mut command = self.command(&arguments);
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        let ended = wait::until("the server refuses to start", START_LIMIT, || Ok(child.try_wait()?));
        if ended.is_err() {
            child.kill()?;
        }
        let output = child.wait_with_output()?;
        ended.with_context(|| format!("it did not end; it said:\n{}", String::from_utf8_lossy(&output.stderr)))?;
        Ok(output)
    }

    fn log_file(&self) -> PathBuf {
        self.data_dir.with_extension("log")
    }
}

#[derive(Debug, Default, serde::Deserialize)]
struct Endpoints {
    s3: String,
    management: String,
    ingest: String,
    kafka: String,
}

#[derive(Debug, serde::Deserialize)]
struct Root {
    #[serde(flatten)]
    keys: Keys,
    api_token: String,
    account_id: String,
}

impl Default for Root {
    fn default() -> Self {
        let keys = Keys { access_key_id: String::new(), secret_access_key: String::new() };
        Self { keys, api_token: String::new(), account_id: String::new() }
    }
}

/// A running server. Killed when dropped.
#[derive(Debug)]
pub struct Server {
    spec: ServerSpec,
    child: Child,
    endpoints: Endpoints,
    root: Root,
}

impl Server {
    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// How it was started.
    pub fn spec(&self) -> &ServerSpec {
        &self.spec
    }

    /// How to start it again in the same folder where its clients will look for it.
    pub fn spec_on_its_ports(&self) -> ServerSpec {
        let spec = self.spec.clone();
        let spec = spec.setting("S3__LISTEN", self.s3_host()).setting("MANAGEMENT__LISTEN", self.management_host());
        spec.setting("INGEST__LISTEN", self.ingest_host()).setting("KAFKA__LISTEN", self.kafka_host())
    }

    /// The address of the S3 listener, with `http://`.
    pub fn s3_url(&self) -> &str {
        &self.endpoints.s3
    }

    /// The address of the S3 listener: host and port.
    pub fn s3_host(&self) -> &str {
        host_of(&self.endpoints.s3)
    }

    /// The address of the management listener, with `http://`.
    pub fn management_url(&self) -> &str {
        &self.endpoints.management
    }

    /// The address of the management listener: host and port.
    pub fn management_host(&self) -> &str {
        host_of(&self.endpoints.management)
    }

    /// The address of the ingest listener: host and port.
    pub fn ingest_host(&self) -> &str {
        host_of(&self.endpoints.ingest)
    }

    /// The address of the Kafka listener: host and port.
    pub fn kafka_host(&self) -> &str {
        &self.endpoints.kafka
    }

    /// The root key.
    pub fn root_keys(&self) -> &Keys {
        &self.root.keys
    }

    /// The token of the management API.
    pub fn api_token(&self) -> &str {
        &self.root.api_token
    }

    /// The account's id.
    pub fn account_id(&self) -> &str {
        &self.root.account_id
    }

    /// What it has logged so far.
    pub fn log(&self) -> String {
        fs::read_to_string(self.spec.log_file()).unwrap_or_default()
    }

    /// An S3 connection as root.
    pub fn s3(&self) -> Result<S3> {
        S3::connect(self.s3_host(), &self.root.keys)
    }

    /// A client subcommand against this server, to be run.
    pub fn cli_command(&self, arguments: &[&str]) -> Command {
        let mut command = self.spec.command(arguments);
        for (name, _) in &self.spec.environment {
            command.env_remove(name);
        }
        command.env("CISTERN_API_URL", self.management_url()).env("CISTERN_API_TOKEN", self.api_token());
        command.stdin(Stdio::null());
        command
    }

    /// Runs a client subcommand against this server.
    pub fn cli(&self, arguments: &[&str]) -> Result<Output> {
        self.cli_command(arguments).output().with_context(|| format!("run cistern {}", arguments.join(" ")))
    }

    /// Runs a client subcommand that must succeed; answers its stdout.
    pub fn cli_ok(&self, arguments: &[&str]) -> Result<String> {
        let output = self.cli(arguments)?;
        if !output.status.success() {
            bail!("cistern {} ended with {}: {}", arguments.join(" "), output.status, text(&output.stderr));
        }
        Ok(text(&output.stdout))
    }

    /// A request to the management API with the root token; `path` begins after `/client/v4/accounts/ID`.
    pub fn api(&self, method: &str, path: &str, body: &[u8]) -> Result<Response> {
        let target = format!("/client/v4/accounts/{}{path}", self.account_id());
        let headers = [("authorization".to_owned(), format!("Bearer {}", self.api_token()))];
        Connection::open(self.management_host())?.send(method, &target, &headers, body)
    }

    /// The samples of `/metrics`, name (with labels) to value.
    pub fn metrics(&self) -> Result<BTreeMap<String, f64>> {
        let page = Connection::open(self.management_host())?.send("GET", "/metrics", &[], b"")?.ok()?.text();
        let samples = page.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.rsplit_once(' '));
        Ok(samples.filter_map(|(name, value)| Some((name.to_owned(), value.parse().ok()?))).collect())
    }

    /// Ends it as a power cut would as far as the process is concerned (SIGKILL) and waits until it is gone.
    pub fn kill(mut self) -> Result<ServerSpec> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(self.spec.clone())
    }

    /// Asks it to end (SIGTERM).
    pub fn terminate(&self) -> Result<()> {
        kill_process(Pid::from_child(&self.child), Signal::TERM).context("send SIGTERM")
    }

    /// Tells it that its terminal was closed (SIGHUP).
    pub fn hang_up(&self) -> Result<()> {
        kill_process(Pid::from_child(&self.child), Signal::HUP).context("send SIGHUP")
    }

    /// Waits until it has ended by itself, at most for `limit`.
    pub fn wait(&mut self, limit: Duration) -> Result<ExitStatus> {
        let child = &mut self.child;
        wait::until("the server ends", limit, || Ok(child.try_wait()?))
    }

    /// Ends it gracefully; an exit code other than 0 is an error.
    pub fn stop(mut self) -> Result<ServerSpec> {
        self.terminate()?;
        let status =
            self.wait(STOP_LIMIT).with_context(|| format!("the server said:\n{}", tail(&self.spec.log_file())))?;
        anyhow::ensure!(status.success(), "the server ended with {status}:\n{}", tail(&self.spec.log_file()));
        Ok(self.spec.clone())
    }

    fn wait_ready(&mut self) -> Result<()> {
        let stdout = self.child.stdout.take().context("no stdout")?;
        let (say, heard) = mpsc::sync_channel(1);
        let reader = std::thread::spawn(move || {
            let mut lines = BufReader::new(stdout);
            let mut line = String::new();
            while lines.read_line(&mut line).is_ok_and(|bytes| bytes > 0) {
                if line.trim() == "ready" {
                    let _ = say.send(());
                }
                line.clear();
            }
            drop(lines.read_to_end(&mut Vec::new()));
        });
        heard.recv_timeout(self.spec.start_limit).context("no `ready` from the server")?;
        drop(reader); // it ends with the server's stdout
        let endpoints = fs::read(self.spec.data_dir.join("endpoints.json")).context("read endpoints.json")?;
        self.endpoints = serde_json::from_slice(&endpoints).context("parse endpoints.json")?;
        let credentials =
            fs::read_to_string(self.spec.data_dir.join("credentials.toml")).context("read credentials.toml")?;
        self.root = toml::from_str(&credentials).context("parse credentials.toml")?;
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// The binary the tests run: `CISTERN_BIN`, else `cistern` in the target folder this program was built into.
pub fn binary_under_test() -> Result<PathBuf> {
    if let Some(named) = std::env::var_os("CISTERN_BIN") {
        return Ok(named.into());
    }
    let this = std::env::current_exe()?;
    let folders = this.ancestors().skip(1).take(2);
    let found = folders.map(|folder| folder.join("cistern")).find(|path| path.is_file());
    found.context("no `cistern` beside the tests: build it with `cargo build -p cistern`, or name it in CISTERN_BIN")
}

fn host_of(url: &str) -> &str {
    url.split_once("://").map_or(url, |(_, host)| host).trim_end_matches('/')
}

/// Bytes a program wrote, as text.
pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The last lines of a log, nothing when there is none.
pub fn tail(log: &Path) -> String {
    const LINES: usize = 30;
    let log = fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = log.lines().collect();
    lines[lines.len().saturating_sub(LINES)..].join("\n")
}
