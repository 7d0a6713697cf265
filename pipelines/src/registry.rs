//! The rows of streams and outputs come and go here: create, list, change, close, remove. No memory of its own.

use crate::rows::{
    GRAVES, GraveRow, HEADS, HeadRow, OUTPUTS, OutputRecord, PROGRESS, PipelineId, ProgressRow, STREAMS, StreamRecord,
    TokenRow,
};
use crate::scram::Verifier;
use crate::{Error, IngestAuth, OutputFormat, PipelineSpec, Result, parquet, transform};
use cistern_metadata::{Commit, Scan, Transaction};
use cistern_objects::Objects;
use cistern_runtime::{Backoff, offload};
use cistern_types::{BucketName, PipelineName};
use sha2::{Digest as _, Sha256};
use std::time::Duration;
use subtle::ConstantTimeEq as _;

/// The most streams there can be: each has a worker and a share of the memory.
pub(crate) const STREAMS_MAX: usize = 1_000;

/// The most outputs a stream can have.
pub(crate) const OUTPUTS_MAX: usize = 20;

/// The most graves that are seen to at a start; what is more is at the next.
const GRAVES_MAX: usize = 2 * STREAMS_MAX * OUTPUTS_MAX;

/// How often a transaction is tried before the caller is told to come back later.
const TRIES_MAX: u32 = 64;

/// Random bytes of a send token.
const TOKEN_BYTES: usize = 24;

/// Counts the tries of one transaction and paces them.
pub(crate) struct Tries {
    made: u32,
    backoff: Backoff,
}

impl Tries {
    pub(crate) fn new() -> Self {
        Self { made: 0, backoff: Backoff::new(Duration::from_millis(1), Duration::from_millis(50)) }
    }

    /// Commits. `false`: it was overtaken, build it again from a new snapshot.
    pub(crate) async fn commit(&mut self, txn: Transaction) -> Result<bool> {
        if let Commit::Committed { .. } = txn.commit().await? {
            return Ok(true);
        }
        self.made += 1;
        if self.made == TRIES_MAX {
            return Err(Error::TooMuchContention { tries: self.made });
        }
        self.backoff.pause().await;
        Ok(false)
    }
}

/// Everything stored about the streams of this installation.
#[derive(Debug)]
pub(crate) struct Stored {
    pub(crate) streams: Vec<StoredStream>,
    pub(crate) graves: Vec<(PipelineId, GraveRow)>,
}

/// A stream, where its log ends, and how far its outputs are.
#[derive(Debug, Clone)]
pub(crate) struct StoredStream {
    pub(crate) record: StreamRecord,
    pub(crate) head: HeadRow,
    pub(crate) outputs: Vec<(OutputRecord, ProgressRow)>,
}

/// Reads all streams.
pub(crate) async fn load(objects: &Objects) -> Result<Stored> {
    let txn = objects.store().read().await?;
    let mut streams = Vec::new();
    for (name, record) in STREAMS.scan_unchecked(&txn, &Scan::first(STREAMS.range(), STREAMS_MAX)).await? {
        let damaged =
            || Error::DamagedLog { name: name.clone(), offset: 0, reason: "rows written together are not all there" };
        let head = HEADS.peek(&txn, &record.id).await?.ok_or_else(damaged)?;
        let mut outputs = Vec::new();
        let range = OUTPUTS.prefix_range(&record.id);
        for ((_, id), output) in OUTPUTS.scan_unchecked(&txn, &Scan::first(range, OUTPUTS_MAX)).await? {
            outputs.push((output, PROGRESS.peek(&txn, &id).await?.ok_or_else(damaged)?));
        }
        streams.push(StoredStream { record, head, outputs });
    }
    let graves = GRAVES.scan_unchecked(&txn, &Scan::first(GRAVES.range(), GRAVES_MAX)).await?;
    Ok(Stored { streams, graves })
}

/// Makes a pipeline; the token is answered here and never again.
pub(crate) async fn create(objects: &Objects, spec: PipelineSpec) -> Result<(StoredStream, Option<String>)> {
    let PipelineSpec { name, stream, output } = checked(spec).await?;
    let (token, token_row) = new_token(stream.auth).await;
    let (id, now) = (PipelineId::random(), objects.clock().now());
    let record = StreamRecord {
        id,
        name: name.clone(),
        spec: stream,
        created: now,
        modified: now,
        version: 1,
        draining: false,
        token: token_row,
        free: None,
    };
    let output = OutputRecord { id, name, spec: output, next: None, pipeline: None };
    let mut tries = Tries::new();
    loop {
        let mut txn = objects.store().begin().await?;
        let name = &record.name;
        require_free_name(&mut txn, name).await?;
        require_bucket(objects, &output.spec.bucket).await?;
        let (head, progress) = (HeadRow::empty(now), ProgressRow::default());
        STREAMS.put(&mut txn, name, &record)?;
        HEADS.put(&mut txn, &id, &head)?;
        OUTPUTS.put(&mut txn, &(id, id), &output)?;
        PROGRESS.put(&mut txn, &id, &progress)?;
        if tries.commit(txn).await? {
            return Ok((StoredStream { record, head, outputs: vec![(output, progress)] }, token));
        }
    }
}

/// Refuses what cannot be. Planning SQL takes some milliseconds.
async fn checked(spec: PipelineSpec) -> Result<PipelineSpec> {
    let spec = spec.checked()?;
    offload(move || {
        let columns = transform::check(&spec.name, &spec.output)?;
        if let (Some(columns), OutputFormat::Parquet(settings)) = (columns, &spec.output.format) {
            parquet::check_columns(&columns, settings)?;
        }
        Ok(spec)
    })
    .await
}

/// Refuses a name that a stream has, and one stream more than there can be.
pub(crate) async fn require_free_name(txn: &mut Transaction, name: &PipelineName) -> Result<()> {
    if let Some(there) = STREAMS.get(txn, name).await? {
        let name = name.clone();
        return Err(if there.free.is_some() {
            Error::NameTaken { what: "stream", name }
        } else {
            Error::PipelineExists { name }
        });
    }
    let all = STREAMS.scan_unchecked(txn, &Scan::first(STREAMS.range(), STREAMS_MAX)).await?;
    if all.len() == STREAMS_MAX {
        let rule = "there are 1000 pipelines and streams already: delete one first";
        return Err(Error::InvalidSetting { field: "name", given: name.to_string(), rule });
    }
    Ok(())
}

/// A send token where one is needed, and what is stored of it.
pub(crate) async fn new_token(auth: IngestAuth) -> (Option<String>, Option<TokenRow>) {
    if auth == IngestAuth::None {
        return (None, None);
    }
    let token = format!("cst_{}", hex::encode(rand::random::<[u8; TOKEN_BYTES]>()));
    let shown = token.clone();
    // Deriving what SCRAM needs takes some milliseconds.
    let row = offload(move || TokenRow { sha256: sha256(&token), scram: Verifier::new(&token) }).await;
    (Some(shown), Some(row))
}

/// Refuses a bucket that is not there.
pub(crate) async fn require_bucket(objects: &Objects, bucket: &BucketName) -> Result<()> {
    match objects.bucket(bucket).await {
        Ok(_) => Ok(()),
        Err(cistern_objects::Error::NoSuchBucket { bucket }) => Err(Error::NoSuchBucket { bucket }),
        Err(error) => Err(error.into()),
    }
}

/// A pipeline that was changed.
#[derive(Debug)]
pub(crate) struct Changed {
    pub(crate) record: StreamRecord,
    pub(crate) output: OutputRecord,
    /// The send token, where there was none before or a new one was asked for.
    pub(crate) token: Option<String>,
}

/// Changes a pipeline to `spec` if its version is still `version`. How events come in changes at once; what becomes of
/// them once what was batched before is delivered, which its worker sees to.
pub(crate) async fn change(
    objects: &Objects,
    spec: PipelineSpec,
    version: Option<u32>,
    new_token_wanted: bool,
) -> Result<Changed> {
    let PipelineSpec { name, stream, output: asked } = checked(spec).await?;
    let mut made = None;
    let mut tries = Tries::new();
    loop {
        let mut txn = objects.store().begin().await?;
        let mut record = stored(&mut txn, &name).await?;
        let key = (record.id, record.id);
        let output = OUTPUTS.get(&mut txn, &key).await?;
        let mut output = output.ok_or_else(|| Error::NoSuchPipeline { name: name.to_string() })?;
        if record.draining {
            return Err(Error::Draining { name });
        }
        if version.is_some_and(|version| version != record.version) {
            return Err(Error::ChangedMeanwhile { name });
        }
        if stream.shards < record.spec.shards {
            let rule =
                "there may be more of them later, but not fewer: producers may have numbers of their own in each";
            return Err(Error::InvalidSetting { field: "shards", given: stream.shards.to_string(), rule });
        }
        require_bucket(objects, &asked.bucket).await?;
        let mut token = None;
        if stream.auth == IngestAuth::None {
            record.token = None;
        } else if record.token.is_none() || new_token_wanted {
            if made.is_none() {
                made = Some(new_token(stream.auth).await);
            }
            (token, record.token) = made.clone().unwrap_or_default();
        }
        record.spec = stream.clone();
        record.version += 1;
        record.modified = objects.clock().now();
        output.next = (output.spec != asked).then(|| asked.clone());
        STREAMS.put(&mut txn, &name, &record)?;
        OUTPUTS.put(&mut txn, &key, &output)?;
        if tries.commit(txn).await? {
            return Ok(Changed { record, output, token });
        }
    }
}

/// Lets no more events in.
pub(crate) async fn close(objects: &Objects, name: &PipelineName) -> Result<StreamRecord> {
    let mut tries = Tries::new();
    loop {
        let mut txn = objects.store().begin().await?;
        let mut record = stored(&mut txn, name).await?;
        if record.draining {
            return Ok(record);
        }
        record.draining = true;
        STREAMS.put(&mut txn, name, &record)?;
        if let Some(head) = HEADS.get(&mut txn, &record.id).await? {
            HEADS.put(&mut txn, &record.id, &HeadRow { closed: true, ..head })?;
        }
        if tries.commit(txn).await? {
            return Ok(record);
        }
    }
}

/// How removing a stream whose events should all be delivered went.
#[derive(Debug)]
pub(crate) enum Removal {
    /// It is gone.
    Removed,
    /// It has events that are not delivered yet: this is where its log ends.
    NotDelivered(HeadRow),
}

/// Removes this life of a stream with its outputs, delivered or not. What is left of its log is the funeral's.
pub(crate) async fn remove(objects: &Objects, record: &StreamRecord) -> Result<()> {
    remove_if(objects, record, |_, _| true).await.map(|_| ())
}

/// Removes this life of a stream if all its events are delivered.
pub(crate) async fn remove_delivered(objects: &Objects, record: &StreamRecord) -> Result<Removal> {
    remove_if(objects, record, |head, progress| head.next == progress.skipped + progress.events).await
}

async fn remove_if(
    objects: &Objects,
    record: &StreamRecord,
    may_go: fn(&HeadRow, &ProgressRow) -> bool,
) -> Result<Removal> {
    let (id, name) = (record.id, &record.name);
    let mut tries = Tries::new();
    loop {
        let mut txn = objects.store().begin().await?;
        if stored(&mut txn, name).await?.id != id {
            return Err(Error::NoSuchPipeline { name: name.to_string() });
        }
        // Reading them makes a flush or a sink commit at this moment lose, or this: never do both happen.
        let head = HEADS.get(&mut txn, &id).await?;
        let outputs = OUTPUTS.scan(&mut txn, &Scan::first(OUTPUTS.prefix_range(&id), OUTPUTS_MAX)).await?;
        for (key @ (_, output), _) in &outputs {
            if let (Some(head), Some(progress)) = (head, PROGRESS.get(&mut txn, output).await?)
                && !may_go(&head, &progress)
            {
                return Ok(Removal::NotDelivered(head));
            }
            OUTPUTS.delete(&mut txn, key);
            PROGRESS.delete(&mut txn, output);
            GRAVES.put(&mut txn, output, &GraveRow { name: name.clone() })?;
        }
        STREAMS.delete(&mut txn, name);
        HEADS.delete(&mut txn, &id);
        GRAVES.put(&mut txn, &id, &GraveRow { name: name.clone() })?;
        if tries.commit(txn).await? {
            return Ok(Removal::Removed);
        }
    }
}

/// Makes what was asked of an output last what it does; everything that was batched before must be delivered. The
/// record as it is then, `None` when the output is gone.
pub(crate) async fn begin_next(
    objects: &Objects,
    stream: PipelineId,
    output: PipelineId,
    epoch: u64,
) -> Result<Option<OutputRecord>> {
    let mut tries = Tries::new();
    loop {
        let mut txn = objects.store().begin().await?;
        let progress = PROGRESS.get(&mut txn, &output).await?;
        let record = OUTPUTS.get(&mut txn, &(stream, output)).await?;
        let (Some(progress), Some(record)) = (progress, record) else { return Ok(None) };
        if progress.epoch != epoch {
            return Err(Error::Superseded { name: record.name });
        }
        let Some(next) = record.next else { return Ok(Some(record)) };
        let record = OutputRecord { spec: next, next: None, ..record };
        OUTPUTS.put(&mut txn, &(stream, output), &record)?;
        if tries.commit(txn).await? {
            return Ok(Some(record));
        }
    }
}

async fn stored(txn: &mut Transaction, name: &PipelineName) -> Result<StreamRecord> {
    let record = STREAMS.get(txn, name).await?;
    record.ok_or_else(|| Error::NoSuchPipeline { name: name.to_string() })
}

/// What a token is known by without being known itself.
#[derive(Clone, PartialEq, Eq)]
pub struct TokenDigest([u8; 32]);

impl TokenDigest {
    /// The digest of a token.
    pub fn of(token: &str) -> Self {
        Self(sha256(token))
    }

    /// That of a stream's own token, if it has one.
    pub(crate) fn of_stream(record: &StreamRecord) -> Option<Self> {
        record.token.as_ref().map(|row| Self(row.sha256))
    }

    /// Whether the token opens the stream, in a time that does not depend on how much of it is right. The token of the
    /// management API, where there is one, opens every stream. To be asked again as long as a connection lives: tokens are exchanged.
    pub(crate) fn opens(&self, record: &StreamRecord, api_token: Option<&Self>) -> bool {
        let own = record.token.as_ref().is_none_or(|row| bool::from(row.sha256.ct_eq(&self.0)));
        own | api_token.is_some_and(|digest| bool::from(digest.0.ct_eq(&self.0)))
    }
}

impl std::fmt::Debug for TokenDigest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TokenDigest")
    }
}

fn sha256(token: &str) -> [u8; 32] {
    Sha256::digest(token.as_bytes()).into()
}
