//! The Kafka endpoint: a pipeline is a topic, and whatever writes to Kafka writes to it unchanged.
//!
//! ```text
//! connection.rs  frames in, answers out in order; one after another is read while those before wait for the log
//!    ▼
//! request.rs     a frame becomes a checked request (request/), response.rs: an answer becomes a frame
//!    ▼
//! session.rs     who is logged in (sasl.rs), and what that allows
//!    ├─ produce.rs   record batches (record_batch.rs) ─▶ events ─▶ the log, with the producer's sequence numbers
//!    ├─ fetch.rs     events that are still in the log, for readers that follow a pipeline
//!    └─ describe.rs  brokers, topics, producer ids, and everything that is refused
//! errors.rs      every error of this crate as a code of the protocol
//! ```
//! Partitions are shards of a pipeline: each has its own order and its own sequence numbers, and all share the pipeline's
//! offsets, so that those of one shard have gaps. Consumer groups and transactions are refused.

mod connection;
mod describe;
mod errors;
mod fetch;
mod produce;
pub(crate) mod producer_ids;
pub(crate) mod record_batch;
pub(crate) mod request;
mod response;
mod sasl;
mod session;
#[cfg(test)]
mod tests;

use crate::Pipelines;
use crate::pipelines::Parts;
use crate::scram::Decoys;
use cistern_access::Access;
use cistern_net::{Listener, ServeLimits, Served, serve};
use cistern_runtime::Shutdown;
use cistern_types::PipelineName;
use producer_ids::ProducerIds;
use sha2::{Digest as _, Sha256};
use std::sync::Arc;
use tokio::sync::Semaphore;

/// How many logins derive keys at the same time: it takes milliseconds of a processor before the client has shown anything.
const DERIVATIONS_MAX: usize = 2;

/// How many bytes of frames there may be that have not been answered, of all connections with a login together, and of all without.
const FRAMES_BYTES_MAX: usize = 64 << 20;

/// How the endpoint presents itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KafkaConfig {
    /// The id that clients see of the cluster.
    pub cluster_id: String,
    /// Host and port that clients are told to connect to; `None` tells each the address it came to.
    pub advertised: Option<(String, u16)>,
    /// The pipeline whose settings topics get that clients make; `None` lets them make none.
    pub topic_template: Option<PipelineName>,
}

/// The endpoint. Clones share everything.
#[derive(Debug, Clone)]
pub struct KafkaEndpoint(Arc<Shared>);

#[derive(Debug)]
pub(crate) struct Shared {
    parts: Arc<Parts>,
    pipelines: Pipelines,
    access: Access,
    config: KafkaConfig,
    decoys: Decoys,
    derivations: Semaphore,
    /// What frames may take of memory that have not been answered.
    frames: Arc<Semaphore>,
    /// The same for clients that have not logged in.
    strangers_frames: Arc<Semaphore>,
    producer_ids: ProducerIds,
}

impl KafkaEndpoint {
    /// The endpoint of `pipelines`; the keys of `access` may read and write where their buckets let them.
    pub fn new(pipelines: Pipelines, access: Access, config: KafkaConfig) -> Self {
        // The same salts after a restart, known to nobody.
        let secret = access.root().secret.expose().as_bytes();
        let decoys = Decoys::from_key(Sha256::digest([b"cistern kafka decoys v1".as_slice(), secret].concat()).into());
        let (parts, derivations) = (Arc::clone(pipelines.parts()), Semaphore::new(DERIVATIONS_MAX));
        let pool = || Arc::new(Semaphore::new(FRAMES_BYTES_MAX));
        let (frames, strangers_frames, producer_ids) = (pool(), pool(), ProducerIds::default());
        Self(Arc::new(Shared {
            parts,
            pipelines,
            access,
            config,
            decoys,
            derivations,
            frames,
            strangers_frames,
            producer_ids,
        }))
    }

    /// Serves connections until `shutdown` begins; requests that have come are answered still.
    pub async fn serve(self, listener: Listener, limits: &ServeLimits, shutdown: Shutdown) -> Served {
        serve(listener, limits, shutdown, move |connection| {
            connection::serve_connection(Arc::clone(&self.0), connection)
        })
        .await
    }
}
