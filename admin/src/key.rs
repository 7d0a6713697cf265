//! `/cistern/keys`: S3 key pairs, and temporary ones under them. The secret of a key is in the answer that made it and nowhere else.

use crate::envelope::Success;
use crate::error::{Error, Result};
use crate::request::{UrlPath, read_json};
use crate::state::Admin;
use axum::body::Body;
use axum::extract::State;
use cistern_access::{KeyRecord, KeyScope, KeySpec, Permission, TemporarySpec};
use cistern_types::BucketName;
use serde::Deserialize;
use serde_json::{Value, json};
use std::time::Duration;

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

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct TemporaryBody {
    bucket: String,
    parent_access_key_id: String,
    permission: String,
    ttl_seconds: u64,
    prefixes: Option<Vec<String>>,
    objects: Option<Vec<String>>,
}

/// `/r2/temp-access-credentials`: credentials that end by themselves, for S3 clients that carry session tokens.
pub(crate) async fn create_temporary(State(admin): State<Admin>, request: Body) -> Result<Success> {
    let wanted: TemporaryBody = read_json(request).await?;
    let scope = match (wanted.prefixes, wanted.objects) {
        (None, None) => None,
        (prefixes, objects) => {
            Some(KeyScope { prefixes: prefixes.unwrap_or_default(), objects: objects.unwrap_or_default() })
        }
    };
    let spec = TemporarySpec {
        parent: wanted.parent_access_key_id.parse()?,
        bucket: Some(wanted.bucket.parse()?),
        permission: permission_of(&wanted.permission)?,
        scope,
        life: Duration::from_secs(wanted.ttl_seconds),
    };
    let made = admin.access.create_temporary(spec).await?;
    Ok(Success::new(json!({
        "accessKeyId": made.access_key_id,
        "secretAccessKey": made.secret.expose(),
        "sessionToken": made.session_token.expose(),
        "expires": made.expires.to_string(),
    })))
}

/// The permission that Cloudflare's words ask for. Reading a bucket's configuration takes no more than reading its objects.
fn permission_of(words: &str) -> Result<Permission> {
    match words {
        "admin-read-write" => Ok(Permission::Admin),
        "object-read-write" => Ok(Permission::ReadWrite),
        "admin-read-only" | "object-read-only" => Ok(Permission::Read),
        _ => Err(Error::Malformed {
            reason: "permission: use admin-read-write, admin-read-only, object-read-write or object-read-only".into(),
        }),
    }
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
