//! `cistern bucket`: create, list, info, delete.

use super::Format;
use super::answer::{say, say_json, say_table};
use crate::client::Client;
use cistern_types::{BucketName, StorageClass};
use clap::Subcommand;
use serde::Deserialize;
use serde_json::{Value, json};

#[derive(Debug, Subcommand)]
pub(super) enum BucketCommand {
    /// Make a bucket
    Create {
        /// Its name
        name: BucketName,
        /// Class of objects that name none: Standard or InfrequentAccess
        #[arg(long, value_name = "CLASS")]
        storage_class: Option<StorageClass>,
        /// Where it should lie; kept and shown, of no effect on one machine
        #[arg(long)]
        location: Option<String>,
    },
    /// List buckets
    List {
        /// Only those whose name contains this
        #[arg(long, value_name = "TEXT")]
        name_contains: Option<String>,
    },
    /// Show a bucket
    Info {
        /// Its name
        name: BucketName,
    },
    /// Delete an empty bucket
    Delete {
        /// Its name
        name: BucketName,
    },
}

#[derive(Debug, Deserialize)]
struct Bucket {
    name: String,
    creation_date: String,
    location: Option<String>,
    storage_class: String,
}

impl BucketCommand {
    pub(super) async fn run(self, client: &Client, format: Format) -> anyhow::Result<()> {
        match self {
            Self::Create { name, storage_class, location } => {
                let mut body = json!({ "name": name });
                if let Some(class) = storage_class {
                    body["storageClass"] = class.api_name().into();
                }
                if let Some(location) = location {
                    body["locationHint"] = location.into();
                }
                let made = client.account().await?.post("/r2/buckets", &body).await?.result;
                answer(format, &made, &format!("Created bucket \"{name}\""))
            }
            Self::List { name_contains } => list(client, name_contains, format).await,
            Self::Info { name } => {
                let found = client.account().await?.get(&format!("/r2/buckets/{name}"), &[]).await?.result;
                if format == Format::Json {
                    return say_json(&found);
                }
                let bucket: Bucket = serde_json::from_value(found)?;
                say(&format!(
                    "name:          {}\ncreated:       {}\nlocation:      {}\nstorage class: {}",
                    bucket.name,
                    bucket.creation_date,
                    bucket.location.as_deref().unwrap_or("-"),
                    bucket.storage_class
                ))
            }
            Self::Delete { name } => {
                let gone = client.account().await?.delete(&format!("/r2/buckets/{name}"), &[]).await?.result;
                answer(format, &gone, &format!("Deleted bucket \"{name}\""))
            }
        }
    }
}

async fn list(client: &Client, name_contains: Option<String>, format: Format) -> anyhow::Result<()> {
    let account = client.account().await?;
    let mut buckets: Vec<Value> = Vec::new();
    let mut cursor = None;
    loop {
        let mut query: Vec<(&str, String)> = Vec::new();
        query.extend(name_contains.clone().map(|text| ("name_contains", text)));
        query.extend(cursor.map(|cursor| ("cursor", cursor)));
        let mut page = account.get("/r2/buckets", &query).await?;
        buckets.append(&mut serde_json::from_value(page.result["buckets"].take())?);
        cursor = page.next_cursor();
        if cursor.is_none() {
            break;
        }
    }
    if format == Format::Json {
        return say_json(&buckets);
    }
    let mut rows = Vec::new();
    for bucket in buckets {
        let bucket: Bucket = serde_json::from_value(bucket)?;
        rows.push([bucket.name, bucket.creation_date, bucket.storage_class]);
    }
    say_table(["NAME", "CREATED", "STORAGE CLASS"], &rows)
}

/// The server's own answer for programs, a sentence for people.
pub(super) fn answer(format: Format, result: &Value, sentence: &str) -> anyhow::Result<()> {
    match format {
        Format::Json => say_json(result),
        Format::Human => say(sentence),
    }
}
