//! Streams without an output of their own: what they are, and their rows.

use super::{SqlPart, sql};
use crate::registry::{OUTPUTS_MAX, StoredStream, Tries, new_token, require_free_name};
use crate::rows::{
    FreeStreamRow, GRAVES, GraveRow, HEADS, HeadRow, OUTPUTS, SQL_PIPELINES, STREAMS, StreamRecord, TokenRow,
};
use crate::{DeclaredSchema, Error, IngestAuth, Origin, PipelineId, Result, StreamSpec};
use cistern_metadata::{Scan, Transaction};
use cistern_objects::Objects;
use cistern_types::{PipelineName, Timestamp};
use std::collections::BTreeSet;
use std::fmt;

/// A stream that shall be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamAsked {
    /// Its name, which pipelines and streams share: the path of its endpoint and a topic of Kafka.
    pub name: PipelineName,
    /// How events come in.
    pub spec: StreamSpec,
    /// The fields its events shall have, for good; none means one column, `value`, that holds the whole event.
    pub schema: Option<DeclaredSchema>,
    /// Whether events come in over HTTP and WebSockets.
    pub http: bool,
    /// Kept and shown; nothing here has such bindings.
    pub worker_binding: bool,
}

/// A stream whose events wait for SQL pipelines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FreeStream {
    /// The id of this life of it.
    pub id: PipelineId,
    /// What was asked of it.
    pub asked: StreamAsked,
    /// When it was made.
    pub created: Timestamp,
    /// When it was changed last.
    pub modified: Timestamp,
    /// Counts the changes, from 1.
    pub version: u32,
}

/// What shall change about a stream; what is `None` stays.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct StreamChange {
    /// Whether events come in over HTTP and WebSockets.
    pub http: Option<bool>,
    /// Who may send.
    pub auth: Option<IngestAuth>,
    /// From which web pages browsers may send.
    pub cors_origins: Option<Vec<Origin>>,
    /// Kept and shown; nothing here has such bindings.
    pub worker_binding: Option<bool>,
}

/// A stream just made or changed.
#[derive(Clone)]
pub struct CreatedStream {
    /// The stream.
    pub stream: FreeStream,
    /// The token to send with, shown here or never; `None` when it is none or another than before. The token of the
    /// management API opens the stream too.
    pub send_token: Option<String>,
}

/// Without the token.
impl fmt::Debug for CreatedStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CreatedStream").field("stream", &self.stream).finish_non_exhaustive()
    }
}

impl FreeStream {
    /// The stream of a record, if it is one.
    pub(super) fn of(record: &StreamRecord) -> Option<Self> {
        let FreeStreamRow { schema, http, worker_binding } = record.free.clone()?;
        let asked = StreamAsked { name: record.name.clone(), spec: record.spec.clone(), schema, http, worker_binding };
        let StreamRecord { id, created, modified, version, .. } = *record;
        Some(Self { id, asked, created, modified, version })
    }
}

/// Makes a stream; the token is answered here and never again.
pub(super) async fn create(objects: &Objects, asked: StreamAsked) -> Result<(StoredStream, Option<String>)> {
    let StreamAsked { name, spec, schema, http, worker_binding } = asked;
    let spec = spec.checked()?;
    let (send_token, token) = new_token(spec.auth).await;
    let (id, now) = (PipelineId::random(), objects.clock().now());
    let free = Some(FreeStreamRow { schema, http, worker_binding });
    let record = StreamRecord { id, name, spec, created: now, modified: now, version: 1, draining: false, token, free };
    let head = HeadRow::empty(now);
    let mut tries = Tries::new();
    loop {
        let mut txn = objects.store().begin().await?;
        require_free_name(&mut txn, &record.name).await?;
        STREAMS.put(&mut txn, &record.name, &record)?;
        HEADS.put(&mut txn, &id, &head)?;
        if tries.commit(txn).await? {
            return Ok((StoredStream { record, head, outputs: Vec::new() }, send_token));
        }
    }
}

/// Changes this life of a stream.
pub(super) async fn change(
    objects: &Objects,
    record: &StreamRecord,
    change: &StreamChange,
) -> Result<(StreamRecord, Option<String>)> {
    let mut made: Option<(Option<String>, Option<TokenRow>)> = None;
    let mut tries = Tries::new();
    loop {
        let mut txn = objects.store().begin().await?;
        let mut record = stored(&mut txn, record).await?;
        if let Some(free) = &mut record.free {
            free.http = change.http.unwrap_or(free.http);
            free.worker_binding = change.worker_binding.unwrap_or(free.worker_binding);
        }
        let mut spec = record.spec.clone();
        spec.auth = change.auth.unwrap_or(spec.auth);
        spec.cors_origins = change.cors_origins.clone().unwrap_or(spec.cors_origins);
        record.spec = spec.checked()?;
        let mut send_token = None;
        if record.spec.auth == IngestAuth::None {
            record.token = None;
        } else if record.token.is_none() {
            if made.is_none() {
                made = Some(new_token(IngestAuth::Token).await);
            }
            (send_token, record.token) = made.clone().unwrap_or_default();
        }
        record.version += 1;
        record.modified = objects.clock().now();
        STREAMS.put(&mut txn, &record.name, &record)?;
        if tries.commit(txn).await? {
            return Ok((record, send_token));
        }
    }
}

/// Removes this life of a stream and the SQL pipelines that read from it, of which the parts are answered. What is left of
/// its log is the keeper's.
pub(super) async fn remove(objects: &Objects, record: &StreamRecord) -> Result<Vec<SqlPart>> {
    let mut tries = Tries::new();
    loop {
        let mut txn = objects.store().begin().await?;
        let StreamRecord { id, name, .. } = stored(&mut txn, record).await?;
        // Reading it makes a flush at this moment lose, or this: never do both happen.
        HEADS.get(&mut txn, &id).await?;
        let outputs = OUTPUTS.scan(&mut txn, &Scan::first(OUTPUTS.prefix_range(&id), OUTPUTS_MAX)).await?;
        let readers: BTreeSet<PipelineName> = outputs.into_iter().filter_map(|(_, output)| output.pipeline).collect();
        let mut gone = Vec::new();
        for reader in readers {
            if let Some(row) = SQL_PIPELINES.get(&mut txn, &reader).await? {
                sql::remove_rows(&mut txn, &reader, &row.parts)?;
                gone.extend(row.parts);
            }
        }
        STREAMS.delete(&mut txn, &name);
        HEADS.delete(&mut txn, &id);
        GRAVES.put(&mut txn, &id, &GraveRow { name })?;
        if tries.commit(txn).await? {
            return Ok(gone);
        }
    }
}

/// The record as it is now, if it still is the same life.
async fn stored(txn: &mut Transaction, record: &StreamRecord) -> Result<StreamRecord> {
    let found = STREAMS.get(txn, &record.name).await?.filter(|found| found.id == record.id);
    found.ok_or_else(|| Error::NoSuchStream { name: record.name.to_string() })
}
