//! One frame of a Kafka connection, made into a request.
//!
//! ```text
//! frame, without its length ─▶ header: key, version, correlation id, client id, tagged fields
//!                           ─▶ walk: the body against its shape, nothing allocated
//!                           ─▶ the message crate: the body as a structure
//! ```
//! Records, names, and other text are slices of the frame: what is kept for long is to be copied, or the frame stays too.
//! The frame's own size is for the caller to bound, before it is read.

mod api;
mod shape;
mod walk;

pub(crate) use api::{ADVERTISED, ApiKey};
pub(crate) use walk::Flaw;

use bytes::{Buf, Bytes};
use kafka_protocol::messages::{
    ApiVersionsRequest, CreateTopicsRequest, DescribeClusterRequest, DescribeConfigsRequest, FetchRequest,
    FindCoordinatorRequest, InitProducerIdRequest, ListOffsetsRequest, MetadataRequest, ProduceRequest,
    SaslAuthenticateRequest, SaslHandshakeRequest,
};
use kafka_protocol::protocol::Decodable;
use walk::{Fault, Walk};

/// A request with its header.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Frame {
    /// What is asked for.
    pub(crate) api: ApiKey,
    /// In which version; the answer has the same.
    pub(crate) version: i16,
    /// What the answer begins with.
    pub(crate) correlation_id: i32,
    /// The name that the client gives itself, of at most [`STRING_BYTES_MAX`] bytes.
    pub(crate) client_id: Option<String>,
    /// The request itself.
    pub(crate) body: Request,
}

/// The body of a request. Fields that its version does not have are at their defaults.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Request {
    /// Record batches to append.
    Produce(ProduceRequest),
    /// Where to read record batches.
    Fetch(FetchRequest),
    /// Times whose offsets are asked for.
    ListOffsets(ListOffsetsRequest),
    /// Topics to describe, or all.
    Metadata(MetadataRequest),
    /// Groups or transactions.
    FindCoordinator(FindCoordinatorRequest),
    /// A SASL mechanism.
    SaslHandshake(SaslHandshakeRequest),
    /// The client's software.
    ApiVersions(ApiVersionsRequest),
    /// Topics to make.
    CreateTopics(CreateTopicsRequest),
    /// A producer that wants an id.
    InitProducerId(InitProducerIdRequest),
    /// Topics and brokers whose settings are asked for.
    DescribeConfigs(DescribeConfigsRequest),
    /// One message of a SASL exchange.
    SaslAuthenticate(SaslAuthenticateRequest),
    /// What of the cluster to describe.
    DescribeCluster(DescribeClusterRequest),
}

/// Why a frame is no request. All but ApiVersions in an [`UnsupportedVersion`](Self::UnsupportedVersion) end the connection.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RequestError {
    /// The bytes are not what the key and the version say.
    #[error("malformed request: {field} at byte {at}: {what}")]
    Malformed {
        /// What is wrong.
        what: Flaw,
        /// The field where it shows.
        field: &'static str,
        /// The byte where it shows, counted from the frame's first.
        at: usize,
    },
    /// A request that is not answered.
    #[error("request {key} in version {version} is not answered; see the answer to ApiVersions for those that are")]
    UnsupportedKey {
        /// Its number.
        key: i16,
        /// Its version.
        version: i16,
        /// What an answer would begin with.
        correlation_id: i32,
        /// The client's name, as far as it can be read.
        client_id: Option<String>,
    },
    /// A version that is not answered. ApiVersions is to be answered with error 35 in version 0.
    #[error("{api} in version {version} is not answered; see the answer to ApiVersions for those that are")]
    UnsupportedVersion {
        /// What is asked for.
        api: ApiKey,
        /// In which version.
        version: i16,
        /// What the answer begins with.
        correlation_id: i32,
        /// The client's name, as far as it can be read.
        client_id: Option<String>,
    },
}

impl From<Fault> for RequestError {
    fn from(Fault { what, field, at }: Fault) -> Self {
        Self::Malformed { what, field, at }
    }
}

/// Reads a frame: the bytes after its length. No panic on any bytes, and memory in proportion to them.
pub(crate) fn decode(mut frame: Bytes) -> Result<Frame, RequestError> {
    let mut walk = Walk::new(&frame);
    let (key, version, correlation_id) = (walk.int16()?, walk.int16()?, walk.int32()?);
    // the name stands here in every version there is, but of later ones nothing is sure
    let client_id = walk.short_string().map(|name| name.map(str::to_owned));
    let Some(api) = ApiKey::from_number(key) else {
        let client_id = client_id.ok().flatten();
        return Err(RequestError::UnsupportedKey { key, version, correlation_id, client_id });
    };
    if !api.serves(version) {
        let client_id = client_id.ok().flatten();
        return Err(RequestError::UnsupportedVersion { api, version, correlation_id, client_id });
    }
    let (client_id, shape) = (client_id?, shape::shape(api));
    if version >= shape.flexible_from {
        walk.tagged(&[], version)?;
    }
    let start = walk.at();
    walk.body(shape, version)?;
    frame.advance(start);
    let body = read(api, version, frame)?;
    Ok(Frame { api, version, correlation_id, client_id, body })
}

/// Has the message crate read a body that was walked.
fn read(api: ApiKey, version: i16, body: Bytes) -> Result<Request, RequestError> {
    Ok(match api {
        ApiKey::Produce => Request::Produce(message(body, version)?),
        ApiKey::Fetch => Request::Fetch(message(body, version)?),
        ApiKey::ListOffsets => Request::ListOffsets(message(body, version)?),
        ApiKey::Metadata => Request::Metadata(message(body, version)?),
        ApiKey::FindCoordinator => Request::FindCoordinator(message(body, version)?),
        ApiKey::SaslHandshake => Request::SaslHandshake(message(body, version)?),
        ApiKey::ApiVersions => Request::ApiVersions(message(body, version)?),
        ApiKey::CreateTopics => Request::CreateTopics(message(body, version)?),
        ApiKey::InitProducerId => Request::InitProducerId(message(body, version)?),
        ApiKey::DescribeConfigs => Request::DescribeConfigs(message(body, version)?),
        ApiKey::SaslAuthenticate => Request::SaslAuthenticate(message(body, version)?),
        ApiKey::DescribeCluster => Request::DescribeCluster(message(body, version)?),
    })
}

fn message<M: Decodable>(mut body: Bytes, version: i16) -> Result<M, RequestError> {
    let length = body.len();
    let unreadable = |left: usize| RequestError::Malformed { what: Flaw::Unreadable, field: "body", at: length - left };
    match M::decode(&mut body, version) {
        Ok(message) => Ok(message), // what may follow has been passed over by the walk already
        Err(_) => Err(unreadable(body.len())),
    }
}

#[cfg(test)]
pub(crate) mod fixture;
#[cfg(test)]
mod memory;
#[cfg(test)]
mod tests;
