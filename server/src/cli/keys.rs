//! `cistern keys`: create, list, revoke.

use super::Format;
use super::answer::{say, say_json, say_table};
use crate::client::{Client, encode_segment};
use cistern_types::BucketName;
use clap::{Subcommand, ValueEnum};
use serde::Deserialize;
use serde_json::{Value, json};

#[derive(Debug, Subcommand)]
pub(super) enum KeysCommand {
    /// Make a key pair; its secret is shown only once
    Create {
        /// Its name, for people
        name: String,
        /// Whose buckets it works on [default: the root owner's]
        #[arg(long)]
        owner: Option<String>,
        /// The only bucket it may touch
        #[arg(long)]
        bucket: Option<BucketName>,
        /// What it allows
        #[arg(long, value_enum, default_value_t = Permission::ReadWrite)]
        permission: Permission,
    },
    /// List keys, without secrets
    List,
    /// Revoke a key
    Revoke {
        /// Its name or access key id
        key: String,
    },
}

/// What a key allows, each step including the one before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Permission {
    /// List and read
    Read,
    /// Also write and delete objects
    ReadWrite,
    /// Also create and delete buckets
    Admin,
}

impl Permission {
    fn api_name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::ReadWrite => "read-write",
            Self::Admin => "admin",
        }
    }
}

#[derive(Debug, Deserialize)]
struct Key {
    name: String,
    access_key_id: String,
    owner_name: String,
    bucket: Option<String>,
    permission: String,
}

impl KeysCommand {
    pub(super) async fn run(self, client: &Client, format: Format) -> anyhow::Result<()> {
        let account = client.account().await?;
        match self {
            Self::Create { name, owner, bucket, permission } => {
                let mut body = json!({ "name": name, "permission": permission.api_name() });
                if let Some(owner) = owner {
                    body["owner"] = owner.into();
                }
                if let Some(bucket) = bucket {
                    body["bucket"] = bucket.as_str().into();
                }
                let made = account.post("/cistern/keys", &body).await?.result;
                if format == Format::Json {
                    return say_json(&made);
                }
                let secret = made["secret_access_key"].as_str().unwrap_or_default().to_owned();
                let key: Key = serde_json::from_value(made)?;
                say(&format!(
                    "Created key \"{}\" of owner {} ({})\naccess key id:     {}\n\
                     secret access key: {secret}  (shown only this once)",
                    key.name, key.owner_name, key.permission, key.access_key_id
                ))
            }
            Self::List => {
                let found = account.get("/cistern/keys", &[]).await?.result;
                if format == Format::Json {
                    return say_json(&found);
                }
                let keys: Vec<Key> = serde_json::from_value(found)?;
                let rows: Vec<[String; 5]> = keys
                    .into_iter()
                    .map(|key| {
                        let bucket = key.bucket.unwrap_or_else(|| "all".into());
                        [key.name, key.access_key_id, key.owner_name, key.permission, bucket]
                    })
                    .collect();
                say_table(["NAME", "ACCESS KEY ID", "OWNER", "PERMISSION", "BUCKET"], &rows)
            }
            Self::Revoke { key } => {
                let path = format!("/cistern/keys/{}", encode_segment(&key));
                let gone: Value = account.delete(&path, &[]).await?.result;
                super::bucket::answer(format, &gone, &format!("Revoked key \"{key}\""))
            }
        }
    }
}
