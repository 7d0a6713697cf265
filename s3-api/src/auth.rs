//! The secret behind an access key id, for `s3s` to check signatures with.

use crate::error_map::Refusal;
use async_trait::async_trait;
use cistern_access::Access;
use s3s::S3Result;
use s3s::auth::{S3Auth, SecretKey};

/// Asks `cistern-access`.
#[derive(Debug)]
pub(crate) struct KeyAuth {
    pub(crate) access: Access,
}

#[async_trait]
impl S3Auth for KeyAuth {
    async fn get_secret_key(&self, access_key: &str) -> S3Result<SecretKey> {
        let unknown = || {
            let text = "The AWS Access Key Id you provided does not exist in our records.";
            Refusal::new(("InvalidAccessKeyId", 403), text).into_s3()
        };
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
