//! The secret behind an access key id, for `s3s` to check signatures with; and the session tokens of temporary credentials.
//!
//! `s3s` asks for a secret by the id alone, and the secret of temporary credentials follows from their token. So the front opens the token
//! first, and the question is asked within [`in_session`].

use crate::error_map::Refusal;
use crate::query::Query;
use async_trait::async_trait;
use cistern_access::{Access, Identity};
use cistern_types::AccessKeyId;
use http::HeaderName;
use http::header::AUTHORIZATION;
use http::request::Parts;
use s3s::S3Result;
use s3s::auth::{S3Auth, SecretKey};
use std::future::Future;
use std::sync::Arc;

/// The token of temporary credentials.
pub(crate) static SECURITY_TOKEN: HeaderName = HeaderName::from_static("x-amz-security-token");

tokio::task_local! {
    static SESSION: Arc<Identity>;
}

/// Runs `work` so that the pair of `session`, and no other, is known.
pub(crate) async fn in_session<F: Future>(session: Option<Arc<Identity>>, work: F) -> F::Output {
    match session {
        Some(session) => SESSION.scope(session, work).await,
        None => work.await,
    }
}

/// Whose session token a request carries; `None` without one.
pub(crate) async fn session_of(access: &Access, parts: &Parts) -> Result<Option<Arc<Identity>>, Refusal> {
    let query = parts.uri.query().filter(|query| query.contains("X-Amz-")).map(Query::parse).unwrap_or_default();
    let token = parts.headers.get(&SECURITY_TOKEN).map(|value| value.to_str().unwrap_or_default());
    let Some(token) = token.or_else(|| query.only("X-Amz-Security-Token")) else { return Ok(None) };
    let authorization = parts.headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let by_header = authorization.split([',', ' ']).find_map(|field| field.strip_prefix("Credential="));
    let credential = by_header.or_else(|| query.only("X-Amz-Credential")).unwrap_or_default();
    let id = credential.split('/').next().unwrap_or_default();
    open_session(access, id, token).await.map(Some)
}

/// Who signs with the credentials of this id and session token.
pub(crate) async fn open_session(access: &Access, id: &str, token: &str) -> Result<Arc<Identity>, Refusal> {
    let id: AccessKeyId = id.parse().map_err(|_| unknown())?;
    Ok(Arc::new(access.session(&id, token).await?))
}

/// Nobody has this access key id.
pub(crate) fn unknown() -> Refusal {
    Refusal::new(("InvalidAccessKeyId", 403), "The AWS Access Key Id you provided does not exist in our records.")
}

/// Asks `cistern-access`.
#[derive(Debug)]
pub(crate) struct KeyAuth {
    pub(crate) access: Access,
}

#[async_trait]
impl S3Auth for KeyAuth {
    async fn get_secret_key(&self, access_key: &str) -> S3Result<SecretKey> {
        let unknown = || unknown().into_s3();
        if let Ok(session) = SESSION.try_with(Arc::clone) {
            let is_its = session.key.access_key_id.as_str() == access_key;
            return if is_its { Ok(SecretKey::from(session.secret.expose())) } else { Err(unknown()) };
        }
        let id = access_key.parse().map_err(|_| unknown())?;
        match self.access.identity(&id).await {
            Ok(Some(identity)) => Ok(SecretKey::from(identity.secret.expose())),
            Ok(None) => Err(unknown()),
            Err(error) => {
                tracing::error!(%error, "the keys cannot be read");
                Err(Refusal::from(error).into_s3())
            }
        }
    }
}
