//! `cistern object`: put, get, list, head, delete. Bodies are streamed; a file that is read is complete or not there.

use super::answer::{say, say_json, say_table};
use super::progress::Progress;
use super::target::{STANDARD, Target};
use super::{Format, Misuse, bucket, complain};
use crate::client::{Client, UploadBody, encode_segment};
use anyhow::Context as _;
use cistern_types::{BucketName, ByteSize, ObjectKey, StorageClass};
use clap::{Args, Subcommand};
use futures::{StreamExt as _, TryStreamExt as _};
use http::header::{CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, HeaderValue};
use serde::Deserialize;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use tokio::io::AsyncWriteExt as _;
use tokio_util::io::ReaderStream;

/// How much of a file is read at once, in bytes.
const READ_BYTES: usize = 256 * 1024;
/// Keys asked for in one page.
const PAGE_KEYS: usize = 1000;

/// `BUCKET/KEY`, as the commands take it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ObjectPath {
    bucket: BucketName,
    key: ObjectKey,
}

impl FromStr for ObjectPath {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (bucket, key) = text.split_once('/').ok_or("use BUCKET/KEY")?;
        let bucket = bucket.parse().map_err(|error: cistern_types::Invalid| error.to_string())?;
        let key: ObjectKey = key.parse().map_err(|error: cistern_types::Invalid| error.to_string())?;
        if matches!(key.as_str(), "." | "..") {
            return Err("the keys . and .. cannot stand in a URL; use an S3 client for them".into());
        }
        Ok(Self { bucket, key })
    }
}

impl ObjectPath {
    /// The path below the account. The key is one segment, so that `//` and `/../` in it survive.
    fn url(&self) -> String {
        format!("/r2/buckets/{}/objects/{}", self.bucket, encode_segment(self.key.as_str()))
    }
}

#[derive(Debug, Subcommand)]
pub(super) enum ObjectCommand {
    /// Store an object
    Put(PutArgs),
    /// Read an object
    Get {
        /// BUCKET/KEY
        path: ObjectPath,
        /// Where to write it [default: stdout]
        #[arg(long, value_name = "FILE")]
        file: Option<PathBuf>,
    },
    /// List objects
    List {
        /// The bucket
        bucket: BucketName,
        /// Only keys that begin with this
        #[arg(long, default_value = "")]
        prefix: String,
        /// Fold keys up to this text after the prefix into one line
        #[arg(long)]
        delimiter: Option<String>,
        /// At most this many
        #[arg(long, value_name = "N")]
        limit: Option<usize>,
    },
    /// Show an object's headers
    Head {
        /// BUCKET/KEY
        path: ObjectPath,
    },
    /// Delete an object
    Delete {
        /// BUCKET/KEY
        path: ObjectPath,
    },
}

#[derive(Debug, Args)]
pub(super) struct PutArgs {
    /// BUCKET/KEY
    path: ObjectPath,
    /// The file to store [default: stdin]
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// Content-Type to store with it
    #[arg(long, value_name = "TYPE")]
    content_type: Option<String>,
    /// Content-Encoding to store with it
    #[arg(long, value_name = "ENCODING")]
    content_encoding: Option<String>,
    /// Content-Disposition to store with it
    #[arg(long, value_name = "DISPOSITION")]
    content_disposition: Option<String>,
    /// Content-Language to store with it
    #[arg(long, value_name = "LANGUAGE")]
    content_language: Option<String>,
    /// Cache-Control to store with it
    #[arg(long, value_name = "CONTROL")]
    cache_control: Option<String>,
    /// Its class: Standard or InfrequentAccess
    #[arg(long, value_name = "CLASS")]
    storage_class: Option<StorageClass>,
}

#[derive(Debug, Deserialize)]
struct Listed {
    key: String,
    size: u64,
    last_modified: String,
    storage_class: String,
}

impl ObjectCommand {
    pub(super) async fn run(self, client: &Client, format: Format) -> anyhow::Result<()> {
        match self {
            Self::Put(arguments) => arguments.run(client, format).await,
            Self::Get { path, file } => get(client, &path, file.as_deref(), format).await,
            Self::List { bucket, prefix, delimiter, limit } => {
                list(client, &bucket, &prefix, delimiter.as_deref(), limit, format).await
            }
            Self::Head { path } => head(client, &path, format).await,
            Self::Delete { path } => {
                let gone = client.account().await?.delete(&path.url(), &[]).await?.result;
                bucket::answer(format, &gone, &format!("Deleted {}/{}", path.bucket, path.key))
            }
        }
    }
}

impl PutArgs {
    fn headers(&self) -> anyhow::Result<HeaderMap> {
        let class = self.storage_class.map(|class| class.api_name().to_owned());
        let given = [
            (CONTENT_TYPE, &self.content_type),
            (CONTENT_ENCODING, &self.content_encoding),
            (CONTENT_DISPOSITION, &self.content_disposition),
            (CONTENT_LANGUAGE, &self.content_language),
            (CACHE_CONTROL, &self.cache_control),
            (HeaderName::from_static("cf-r2-storage-class"), &class),
        ];
        let mut headers = HeaderMap::new();
        for (name, value) in given {
            let Some(value) = value else { continue };
            let value = HeaderValue::from_str(value)
                .map_err(|_| Misuse(format!("--{name} {value:?} cannot stand in a header; use printable text")))?;
            headers.insert(name, value);
        }
        Ok(headers)
    }

    async fn run(self, client: &Client, format: Format) -> anyhow::Result<()> {
        let headers = self.headers()?;
        let account = client.account().await?;
        let (body, progress) = if let Some(file) = self.file.as_deref().filter(|file| *file != Path::new(STANDARD)) {
            let opened = tokio::fs::File::open(file).await.with_context(|| format!("open {}", file.display()))?;
            let about = opened.metadata().await.with_context(|| format!("read {}", file.display()))?;
            anyhow::ensure!(!about.is_dir(), "{} is a folder", file.display());
            let length = about.is_file().then_some(about.len()); // nobody knows how much comes out of a pipe
            let progress = Progress::new("stored", length);
            let bytes = progress.count(ReaderStream::with_capacity(opened, READ_BYTES));
            (UploadBody { length, bytes: bytes.boxed() }, progress)
        } else {
            let progress = Progress::new("stored", None);
            let bytes = progress.count(ReaderStream::with_capacity(tokio::io::stdin(), READ_BYTES));
            (UploadBody { length: None, bytes: bytes.boxed() }, progress)
        };
        let stored = account.put(&self.path.url(), headers, body).await?.result;
        progress.finish();
        let sentence = format!("Stored {}/{}", self.path.bucket, self.path.key);
        bucket::answer(format, &stored, &sentence)
    }
}

async fn get(client: &Client, path: &ObjectPath, file: Option<&Path>, format: Format) -> anyhow::Result<()> {
    let answer = client.account().await?.download(&path.url(), &[]).await?;
    let progress = Progress::new("read", answer.content_length());
    let expected_bytes = answer.content_length();
    let mut bytes = progress.count(answer.bytes_stream().map_err(std::io::Error::other));
    let Some(file) = file.filter(|file| *file != Path::new(STANDARD)) else {
        let mut stdout = tokio::io::stdout();
        while let Some(piece) = bytes.try_next().await.context("read the object")? {
            stdout.write_all(&piece).await.context("write to stdout")?;
        }
        return stdout.flush().await.context("write to stdout");
    };
    let written = async {
        let mut target = Target::open(file).await?;
        let filled = fill(&mut target, &mut bytes, expected_bytes).await;
        if filled.is_err() {
            target.abandon().await;
        }
        filled
    };
    let size = written.await.with_context(|| format!("write {}", file.display()))?;
    progress.finish();
    let sentence = format!("Wrote {} ({})", file.display(), ByteSize::bytes(size));
    bucket::answer(format, &json!({ "file": file, "size": size }), &sentence)
}

/// Writes all that comes, puts the file in its place and answers how much that was.
async fn fill(
    target: &mut Target,
    bytes: &mut (impl futures::Stream<Item = std::io::Result<bytes::Bytes>> + Unpin),
    expected_bytes: Option<u64>,
) -> std::io::Result<u64> {
    let mut received_bytes = 0;
    while let Some(piece) = bytes.try_next().await? {
        received_bytes += piece.len() as u64;
        target.write(&piece).await?;
    }
    if expected_bytes.is_some_and(|expected| expected != received_bytes) {
        return Err(std::io::Error::other("the connection ended early"));
    }
    target.finish().await?;
    Ok(received_bytes)
}

async fn list(
    client: &Client,
    bucket: &BucketName,
    prefix: &str,
    delimiter: Option<&str>,
    limit: Option<usize>,
    format: Format,
) -> anyhow::Result<()> {
    let account = client.account().await?;
    let url = format!("/r2/buckets/{bucket}/objects");
    let (mut objects, mut prefixes): (Vec<Value>, Vec<String>) = (Vec::new(), Vec::new());
    let mut cursor: Option<String> = None;
    loop {
        let wanted =
            limit.map_or(PAGE_KEYS, |limit| limit.saturating_sub(objects.len() + prefixes.len()).min(PAGE_KEYS));
        if wanted == 0 {
            break;
        }
        let mut query = vec![("prefix", prefix.to_owned()), ("per_page", wanted.to_string())];
        query.extend(delimiter.map(|text| ("delimiter", text.to_owned())));
        query.extend(cursor.map(|cursor| ("cursor", cursor)));
        let mut page = account.get(&url, &query).await?;
        prefixes.append(&mut serde_json::from_value(page.info["delimited"].take()).unwrap_or_default());
        cursor = page.next_cursor();
        objects.append(&mut serde_json::from_value(page.result)?);
        if cursor.is_none() {
            break;
        }
    }
    let truncated = cursor.is_some();
    if format == Format::Json {
        return say_json(&json!({ "objects": objects, "prefixes": prefixes, "truncated": truncated }));
    }
    let mut rows: Vec<[String; 4]> = Vec::with_capacity(prefixes.len() + objects.len());
    rows.extend(prefixes.into_iter().map(|prefix| [prefix, "-".into(), "-".into(), "-".into()]));
    for object in objects {
        let object: Listed = serde_json::from_value(object)?;
        rows.push([object.key, object.size.to_string(), object.last_modified, object.storage_class]);
    }
    say_table(["KEY", "SIZE", "MODIFIED", "STORAGE CLASS"], &rows)?;
    if truncated {
        complain(&format!("there is more: these are the first {}", rows.len()));
    }
    Ok(())
}

async fn head(client: &Client, path: &ObjectPath, format: Format) -> anyhow::Result<()> {
    let headers = client.account().await?.head(&path.url()).await?;
    let shown: Vec<(String, String)> = headers
        .iter()
        .filter(|(name, _)| !matches!(name.as_str(), "date" | "connection"))
        .map(|(name, value)| (name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned()))
        .collect();
    if format == Format::Json {
        return say_json(&shown.into_iter().collect::<std::collections::BTreeMap<_, _>>());
    }
    say(&shown.iter().map(|(name, value)| format!("{name}: {value}")).collect::<Vec<_>>().join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: Option<&str>) {
        let url = text.parse::<ObjectPath>().ok().map(|path| path.url());
        assert_eq!(url.as_deref(), expected, "{text}");
    }

    #[test]
    fn a_key_travels_as_one_segment_of_the_url() {
        check("logs/a", Some("/r2/buckets/logs/objects/a"));
        check("logs/a/b c", Some("/r2/buckets/logs/objects/a%2Fb%20c"));
        check("logs/a/../+/ü%", Some("/r2/buckets/logs/objects/a%2F..%2F%2B%2F%C3%BC%25"));
        check("logs//", Some("/r2/buckets/logs/objects/%2F"));
        for bad in ["logs", "logs/", "/a", "LOGS/a", "logs/..", "logs/."] {
            check(bad, None);
        }
    }
}
