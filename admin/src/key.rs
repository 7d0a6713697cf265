//! `/cistern/keys`: S3 key pairs. The secret of a key is in the answer that made it and nowhere else.

use crate::envelope::Success;
use crate::error::Result;
use crate::request::{UrlPath, read_json};
use crate::state::Admin;
use axum::body::Body;
use axum::extract::State;
use cistern_access::{KeyRecord, KeySpec, Permission};
use cistern_types::BucketName;
use serde::Deserialize;
use serde_json::{Value, json};

/// The key in a path, by name or access key id.
#[derive(Debug, Deserialize)]
pub(crate) struct KeyPath {
    key: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct CreateBody {
    name: String,
    owner: Option<String>,
    bucket: Option<String>,
    permission: Option<String>,
}

pub(crate) async fn list(State(admin): State<Admin>) -> Result<Success> {
    let keys = admin.access.keys().await?;
    Ok(Success::new(keys.iter().map(body).collect::<Vec<_>>()))
}

pub(crate) async fn create(State(admin): State<Admin>, request: Body) -> Result<Success> {
    let wanted: CreateBody = read_json(request).await?;
    let bucket = wanted.bucket.map(|name| name.parse::<BucketName>()).transpose()?;
    let permission = wanted.permission.as_deref().map(str::parse).transpose()?.unwrap_or(Permission::ReadWrite);
    let spec = KeySpec { name: wanted.name, owner: wanted.owner, bucket, permission };
    let made = admin.access.create_key(spec).await?;
    let mut shown = body(&made.record);
    shown["secret_access_key"] = made.secret.expose().into();
    Ok(Success::new(shown))
}

pub(crate) async fn revoke(State(admin): State<Admin>, UrlPath(path): UrlPath<KeyPath>) -> Result<Success> {
    Ok(Success::new(body(&admin.access.revoke(&path.key).await?)))
}

fn body(key: &KeyRecord) -> Value {
    json!({
        "name": key.name,
        "access_key_id": key.access_key_id,
        "owner_id": key.owner_id.to_string(),
        "owner_name": key.owner_name,
        "bucket": key.bucket,
        "permission": key.permission.as_str(),
        "created": key.created.to_string(),
    })
}
