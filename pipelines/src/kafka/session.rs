//! Who is logged in on a connection, and what that allows.
//!
//! | logged in as | may write | may read |
//! | --- | --- | --- |
//! | nobody | pipelines without a token | nothing |
//! | a pipeline, by its send token | that pipeline | nothing |
//! | an access key, by its secret | pipelines into buckets of its owner that it may write | those it may read |

use super::Shared;
use super::sasl::{Exchange, Mechanism, Password, SaslError, Step};
use crate::live::Live;
use crate::registry::TokenDigest;
use crate::scram::Verifier;
use crate::{IngestAuth, PipelineId, Result};
use bytes::Bytes;
use cistern_access::{Action, Identity, Reach, allow};
use cistern_runtime::offload;
use cistern_types::{AccessKeyId, BucketName, PipelineName};
use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::{SaslAuthenticateResponse, SaslHandshakeResponse};
use kafka_protocol::protocol::StrBytes;
use std::sync::Arc;

/// The state of a connection's login.
#[derive(Debug, Default)]
pub(super) struct Session {
    who: Who,
    login: Option<Login>,
}

#[derive(Debug, Default, Clone, PartialEq, Eq)]
enum Who {
    #[default]
    Nobody,
    /// By id: another pipeline of the same name later is not meant. The token may be exchanged while the connection lives.
    Pipeline(PipelineId, TokenDigest),
    Key(AccessKeyId),
}

#[derive(Debug)]
struct Login {
    exchange: Exchange,
    /// Whether its messages come inside requests.
    framed: bool,
    /// Whose proof is awaited.
    claimed: Option<Who>,
}

/// What a message of a login led to.
#[derive(Debug)]
pub(super) enum Authenticated {
    /// Logged in, or one step further: what to send.
    Going(Vec<u8>),
    /// Not let in.
    Refused(SaslError),
    /// There is no login that it could belong to.
    OutOfTurn,
    /// It could not be looked up.
    Failed,
}

impl Authenticated {
    /// As an answer to SaslAuthenticate.
    pub(super) fn into_response(self) -> SaslAuthenticateResponse {
        let refused = |error: ResponseError, text: String| {
            SaslAuthenticateResponse::default()
                .with_error_code(error.code())
                .with_error_message(Some(StrBytes::from_string(text)))
        };
        match self {
            Self::Going(bytes) => SaslAuthenticateResponse::default().with_auth_bytes(Bytes::from(bytes)),
            Self::Refused(error) => refused(ResponseError::SaslAuthenticationFailed, error.to_string())
                .with_auth_bytes(Bytes::from(error.to_scram_message())),
            Self::OutOfTurn => refused(ResponseError::IllegalSaslState, "send a SaslHandshake first".to_owned()),
            Self::Failed => refused(ResponseError::UnknownServerError, "try again in a moment".to_owned()),
        }
    }

    /// As a message without a request around it; `None` ends the connection.
    pub(super) fn into_raw(self) -> Option<Vec<u8>> {
        match self {
            Self::Going(bytes) => Some(bytes),
            Self::Refused(_) | Self::OutOfTurn | Self::Failed => None,
        }
    }
}

impl Session {
    /// Whether the next frame is a bare message of SASL.
    pub(super) fn takes_raw_messages(&self) -> bool {
        self.login.as_ref().is_some_and(|login| !login.framed)
    }

    /// Begins a login.
    pub(super) fn begin(&mut self, mechanism: &str, framed: bool) -> SaslHandshakeResponse {
        let offered = Mechanism::ALL.map(|mechanism| StrBytes::from_static_str(mechanism.name())).to_vec();
        let response = SaslHandshakeResponse::default().with_mechanisms(offered);
        let Ok(mechanism) = mechanism.parse() else {
            return response.with_error_code(ResponseError::UnsupportedSaslMechanism.code());
        };
        (self.who, self.login) =
            (Who::Nobody, Some(Login { exchange: Exchange::new(mechanism), framed, claimed: None }));
        response
    }

    /// Takes the next message of a login.
    pub(super) async fn authenticate(&mut self, kafka: &Shared, message: &[u8]) -> Authenticated {
        let Some(Login { exchange, framed, claimed }) = self.login.take() else { return Authenticated::OutOfTurn };
        let step = match exchange.message(message) {
            Ok(step) => step,
            Err(error) => return Authenticated::Refused(error),
        };
        let found = match &step {
            Step::CheckPassword { user, password } => check_password(kafka, user, password).await,
            Step::Done { user, .. } => {
                tracing::debug!(user, "a Kafka client has logged in");
                Ok(claimed)
            }
            Step::NeedVerifier(lookup) => match verifier(kafka, lookup.user()).await {
                Ok(found) => {
                    let (claimed, verifier) = found.unzip();
                    let Step::NeedVerifier(lookup) = step else { return Authenticated::Failed };
                    let (answer, exchange) = lookup.challenge(verifier, &kafka.decoys);
                    self.login = Some(Login { exchange, framed, claimed });
                    return Authenticated::Going(answer);
                }
                Err(error) => Err(error),
            },
        };
        match (found, step) {
            (Ok(Some(who)), step) => {
                self.who = who;
                Authenticated::Going(if let Step::Done { server_final, .. } = step { server_final } else { Vec::new() })
            }
            (Ok(None), _) => Authenticated::Refused(SaslError::InvalidCredentials),
            (Err(error), _) => {
                tracing::warn!(%error, "a login could not be looked up");
                Authenticated::Failed
            }
        }
    }

    /// Whether events may be sent to the pipeline.
    pub(super) async fn may_write(&self, kafka: &Shared, live: &Live) -> Result<bool> {
        let record = live.record();
        match &self.who {
            _ if record.spec.auth == IngestAuth::None => Ok(true),
            Who::Nobody => Ok(false),
            Who::Pipeline(id, token) => {
                Ok(*id == record.id && token.opens(&record, kafka.parts.config.api_token.as_ref()))
            }
            Who::Key(id) => key_may(kafka, id, live, Action::WriteObject).await,
        }
    }

    /// Whether its events may be read.
    pub(super) async fn may_read(&self, kafka: &Shared, live: &Live) -> Result<bool> {
        match &self.who {
            Who::Nobody | Who::Pipeline(..) => Ok(false),
            Who::Key(id) => key_may(kafka, id, live, Action::ReadObject).await,
        }
    }

    /// Whether anybody is.
    pub(super) fn is_logged_in(&self) -> bool {
        self.who != Who::Nobody
    }

    /// The access key that is logged in.
    pub(super) fn key(&self) -> Option<&AccessKeyId> {
        match &self.who {
            Who::Key(id) => Some(id),
            Who::Nobody | Who::Pipeline(..) => None,
        }
    }
}

/// Whether a key may do so with everything in all buckets that the stream's events go to. Asked anew for each request:
/// keys are revoked, and buckets change hands.
async fn key_may(kafka: &Shared, id: &AccessKeyId, live: &Live, action: Action) -> Result<bool> {
    let buckets = live.buckets();
    for bucket in &buckets {
        if !key_may_in(kafka, id, bucket, action).await? {
            return Ok(false);
        }
    }
    Ok(!buckets.is_empty())
}

/// Whether a key may do so with everything in a bucket, which must be its owner's.
pub(super) async fn key_may_in(kafka: &Shared, id: &AccessKeyId, name: &BucketName, action: Action) -> Result<bool> {
    let Some(identity) = kafka.access.identity(id).await? else { return Ok(false) };
    match kafka.parts.objects.bucket(name).await {
        Ok(bucket) => {
            let own = bucket.owner == identity.owner_id();
            Ok(own && allow(&identity, action, Some(name), Reach::Whole).is_ok())
        }
        Err(cistern_objects::Error::NoSuchBucket { .. }) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Who may be meant by a user's name: what the password is checked against.
enum User {
    Pipeline(Arc<Live>),
    Key(AccessKeyId, Arc<Identity>),
}

/// A pipeline by its name, or an access key by its id.
async fn find(kafka: &Shared, user: &str) -> Result<Option<User>> {
    if let Ok(name) = user.parse::<PipelineName>()
        && let Ok(live) = kafka.parts.directory.find(&name)
    {
        return Ok(Some(User::Pipeline(live)));
    }
    let Ok(id) = user.parse::<AccessKeyId>() else { return Ok(None) };
    let identity = kafka.access.identity(&id).await?;
    Ok(identity.map(|identity| User::Key(id, identity)))
}

async fn check_password(kafka: &Shared, user: &str, password: &Password) -> Result<Option<Who>> {
    let api_token = kafka.parts.config.api_token.as_ref();
    Ok(match find(kafka, user).await? {
        Some(User::Pipeline(live)) => {
            let token = TokenDigest::of(password.expose());
            token.opens(&live.record(), api_token).then(|| Who::Pipeline(live.id(), token))
        }
        Some(User::Key(id, identity)) => identity.secret.matches(password.expose()).then_some(Who::Key(id)),
        None => None,
    })
}

async fn verifier(kafka: &Shared, user: &str) -> Result<Option<(Who, Verifier)>> {
    Ok(match find(kafka, user).await? {
        Some(User::Pipeline(live)) => {
            let record = live.record();
            let digest = TokenDigest::of_stream(&record);
            digest.zip(record.token.as_ref()).map(|(digest, row)| (Who::Pipeline(live.id(), digest), row.scram.clone()))
        }
        Some(User::Key(id, identity)) => {
            let salt = kafka.decoys.salt(user);
            let Ok(_permit) = kafka.derivations.acquire().await else { return Ok(None) };
            Some((Who::Key(id), offload(move || Verifier::derive(identity.secret.expose(), salt)).await))
        }
        None => None,
    })
}
