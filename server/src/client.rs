//! A client of the management API, for the commands: finds server and token, reads envelopes, words errors for people.

use crate::config::ClientConfig;
use anyhow::{Context as _, bail};
use bytes::Bytes;
use cistern_access::RootCredentials;
use futures::stream::BoxStream;
use http::header::CONTENT_LENGTH;
use http::{HeaderMap, Method, StatusCode};
use reqwest::{Certificate, Response, Url};
use serde::Deserialize;
use serde_json::Value;
use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

/// How long a server may take to take the connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// The file beside the credentials that says where a local server listens.
const ENDPOINTS_FILE: &str = "endpoints.json";
/// What every path of the API begins with.
const API_PREFIX: &str = "/client/v4";

/// A client of one server.
#[derive(Debug)]
pub(crate) struct Client {
    http: reqwest::Client,
    url: Url,
    token: String,
}

/// A client of one server's account, where all its resources lie.
#[derive(Debug)]
pub(crate) struct Account<'a> {
    client: &'a Client,
    path: String,
}

/// A successful answer.
#[derive(Debug, Deserialize)]
pub(crate) struct Answer {
    /// What was asked for.
    #[serde(default)]
    pub(crate) result: Value,
    /// Paging.
    #[serde(default, rename = "result_info")]
    pub(crate) info: Value,
}

impl Answer {
    /// Where the next page begins.
    pub(crate) fn next_cursor(&self) -> Option<String> {
        self.info["cursor"].as_str().filter(|cursor| !cursor.is_empty()).map(Into::into)
    }
}

/// A body to store.
pub(crate) struct UploadBody {
    /// How long it is, when that is known.
    pub(crate) length: Option<u64>,
    /// Its pieces.
    pub(crate) bytes: BoxStream<'static, std::io::Result<Bytes>>,
}

#[derive(Debug, Deserialize)]
struct Refusal {
    errors: Vec<ApiError>,
}

#[derive(Debug, Deserialize)]
struct ApiError {
    code: u32,
    message: String,
}

/// The certificates of a PEM file.
fn certificates(path: &Path) -> anyhow::Result<Vec<Certificate>> {
    let pem = std::fs::read(path).with_context(|| format!("--api-ca: read {}", path.display()))?;
    let found = Certificate::from_pem_bundle(&pem).ok().filter(|found| !found.is_empty());
    found.with_context(|| format!("--api-ca: {} holds no certificate; use a PEM file", path.display()))
}

impl Client {
    /// A client of the server that `config` names, or of the local one.
    pub(crate) fn new(config: &ClientConfig) -> anyhow::Result<Self> {
        let local_url = || {
            let text = std::fs::read(config.data_dir.join(ENDPOINTS_FILE)).ok()?;
            let endpoints: Value = serde_json::from_slice(&text).ok()?;
            endpoints["management"].as_str().map(Into::into)
        };
        let text = config.api_url.clone().or_else(local_url).unwrap_or_else(|| config.configured_url.clone());
        let wrong = || format!("--api-url {text:?} is not an address; use http://HOST:PORT or https://HOST:PORT");
        let url: Url = text.parse().with_context(wrong)?;
        if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
            bail!(wrong());
        }
        let token = match &config.api_token {
            Some(token) => token.clone(),
            None => local_token(config)?,
        };
        // A store of one's own is not reached through the proxy of the house.
        let mut http = reqwest::Client::builder().no_proxy().connect_timeout(CONNECT_TIMEOUT);
        if let Some(path) = &config.api_ca {
            http = http.tls_certs_merge(certificates(path)?);
        }
        Ok(Self { http: http.build().context("make the HTTP client")?, url, token })
    }

    /// The account of this server.
    pub(crate) async fn account(&self) -> anyhow::Result<Account<'_>> {
        let answer = envelope(self.send(Method::GET, "/accounts", &[], |request| request).await?).await?;
        let id = answer.result[0]["id"].as_str().context("the server names no account; is it a Cistern?")?;
        Ok(Account { client: self, path: format!("/accounts/{id}") })
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        query: &[(&str, String)],
        add: impl FnOnce(reqwest::RequestBuilder) -> reqwest::RequestBuilder,
    ) -> anyhow::Result<Response> {
        let mut url = self.url.clone();
        url.set_path(""); // a base with a path of its own is not ours
        let mut url: Url = format!("{}{API_PREFIX}{path}", url.as_str().trim_end_matches('/')).parse()?;
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        let request = add(self.http.request(method, url).bearer_auth(&self.token));
        let server = self.url.as_str().trim_end_matches('/');
        request.send().await.map_err(|error| unreached(&error, server))
    }
}

fn local_token(config: &ClientConfig) -> anyhow::Result<String> {
    let path = config.data_dir.join("credentials.toml");
    match RootCredentials::load(&path) {
        Ok(credentials) => Ok(credentials.api_token.expose().into()),
        Err(cistern_access::Error::ReadCredentials { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {
            bail!(
                "no API token: there is no {} here; give --api-token or CISTERN_API_TOKEN, or the server's data_dir",
                path.display()
            )
        }
        Err(error) => Err(error.into()),
    }
}

/// The root of a request error, in words.
fn unreached(error: &reqwest::Error, server: &str) -> anyhow::Error {
    let mut source: &dyn std::error::Error = error;
    while let Some(below) = source.source() {
        source = below;
    }
    if error.is_connect() || error.is_timeout() {
        return anyhow::anyhow!(
            "cannot reach the server at {server} ({source}); is `cistern serve` running? --api-url names another"
        );
    }
    anyhow::anyhow!("talk to the server at {server}: {source}")
}

/// The result of an answer with an envelope, or the errors in it.
async fn envelope(response: Response) -> anyhow::Result<Answer> {
    let response = refused(response).await?;
    let body = response.bytes().await.context("read the server's answer")?;
    serde_json::from_slice(&body).context("understand the server's answer; is it a Cistern?")
}

/// The same answer when it is a success, else its errors in words.
async fn refused(response: Response) -> anyhow::Result<Response> {
    let status = response.status();
    if status.is_success() {
        return Ok(response);
    }
    let body = response.bytes().await.unwrap_or_default();
    match serde_json::from_slice::<Refusal>(&body) {
        Ok(refusal) if !refusal.errors.is_empty() => {
            let texts: Vec<String> =
                refusal.errors.iter().map(|error| format!("{} (code {})", error.message, error.code)).collect();
            bail!(texts.join("; "))
        }
        _ if status == StatusCode::NOT_FOUND => bail!("there is no such thing (HTTP {status})"),
        _ => bail!("the server answered HTTP {status}; is it a Cistern?"),
    }
}

impl Account<'_> {
    async fn call(&self, method: Method, path: &str, query: &[(&str, String)]) -> anyhow::Result<Answer> {
        envelope(self.client.send(method, &format!("{}{path}", self.path), query, |request| request).await?).await
    }

    /// GET of an envelope.
    pub(crate) async fn get(&self, path: &str, query: &[(&str, String)]) -> anyhow::Result<Answer> {
        self.call(Method::GET, path, query).await
    }

    /// DELETE.
    pub(crate) async fn delete(&self, path: &str, query: &[(&str, String)]) -> anyhow::Result<Answer> {
        self.call(Method::DELETE, path, query).await
    }

    /// POST of JSON.
    pub(crate) async fn post(&self, path: &str, body: &Value) -> anyhow::Result<Answer> {
        self.send_json(Method::POST, path, body).await
    }

    /// PATCH of JSON.
    pub(crate) async fn patch(&self, path: &str, body: &Value) -> anyhow::Result<Answer> {
        self.send_json(Method::PATCH, path, body).await
    }

    async fn send_json(&self, method: Method, path: &str, body: &Value) -> anyhow::Result<Answer> {
        let path = format!("{}{path}", self.path);
        envelope(self.client.send(method, &path, &[], |request| request.json(body)).await?).await
    }

    /// PUT of bytes.
    pub(crate) async fn put(&self, path: &str, headers: HeaderMap, body: UploadBody) -> anyhow::Result<Answer> {
        let path = format!("{}{path}", self.path);
        let add = |request: reqwest::RequestBuilder| {
            let request = request.headers(headers).body(reqwest::Body::wrap_stream(body.bytes));
            match body.length {
                Some(length) => request.header(CONTENT_LENGTH, length),
                None => request,
            }
        };
        envelope(self.client.send(Method::PUT, &path, &[], add).await?).await
    }

    /// GET of bytes.
    pub(crate) async fn download(&self, path: &str, query: &[(&str, String)]) -> anyhow::Result<Response> {
        let path = format!("{}{path}", self.path);
        refused(self.client.send(Method::GET, &path, query, |request| request).await?).await
    }

    /// HEAD.
    pub(crate) async fn head(&self, path: &str) -> anyhow::Result<HeaderMap> {
        let path = format!("{}{path}", self.path);
        let response = self.client.send(Method::HEAD, &path, &[], |request| request).await?;
        if response.status() == StatusCode::NOT_FOUND {
            bail!("the bucket or the key does not exist");
        }
        Ok(refused(response).await?.headers().clone())
    }
}

/// `text` as one segment of a path: everything but unreserved characters is percent-encoded, `/` too.
pub(crate) fn encode_segment(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => encoded.push(char::from(byte)),
            _ => write!(encoded, "%{byte:02X}").expect("writing to a String"),
        }
    }
    encoded
}
