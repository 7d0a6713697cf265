//! Small objects of an output become one, on request and step by step: each step merges one group at most.
//!
//! ```text
//! run: names and sizes that follow one another ─▶ source: as the pipeline wrote it? ─▶ join: one schema ─▶ a group
//! group ─▶ parquet_files | line_files: decoded and encoded in pieces ─▶ staged bytes, which nobody sees
//!       ─▶ ONE transaction: the merged object comes, its sources go, if each still is the version that was read,
//!          and the output is there and writes as it did
//! ```
//! A crash before that transaction leaves the sources, and bytes that the sweeper frees; after it nothing of the group is
//! left to do. Nothing is remembered between steps: whoever asks says where to go on. The merged object is named as a batch
//! with these offsets would be, so it may be merged again; no batch will ever have its name, for the first offset of a batch is
//! that of an event which is in no object yet.

mod join;
mod line_files;
mod parquet_files;
mod run;
mod source;

use crate::encode::content_type;
use crate::live::{Live, Output};
use crate::object_name::{self, Named};
use crate::pipelines::Parts;
use crate::registry::{Tries, require_bucket};
use crate::rows::OUTPUTS;
use crate::spec::refuse;
use crate::{Error, OutputFormat, OutputSpec, Result};
use bytes::Bytes;
use cistern_objects::{
    BodyChecks, BodyError, Error as ObjectsError, ObjectHeaders, ObjectRecord, StageSpec, StagedCommit, StagedObject,
};
use cistern_types::{ByteSize, ObjectKey};
use futures::SinkExt as _;
use futures::channel::mpsc;
use parquet_files::{Apart, Plan as ParquetPlan, TAIL_BYTES};
use run::{Listed, Run, Walk};
use source::{Fault, Reader, Source};
use std::collections::BTreeMap;

const TARGET_MIN: ByteSize = ByteSize::bytes(1_000_000);
const TARGET_MAX: ByteSize = ByteSize::bytes(1_000_000_000);

/// How many objects one step looks into before it says where to go on, unless it is in the middle of a run.
const LOOKS_MAX: usize = 200;

/// How many sources that cannot be read one step goes around before it leaves it at that.
const UNFIT_MAX: usize = 8;

/// How many pieces of a merged object may wait to be written.
const PIECES_WAITING: usize = 1;

/// Where the bytes of a merged object go.
type Pieces = mpsc::Sender<std::result::Result<Bytes, BodyError>>;

/// What one step of a compaction is asked to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CompactStep {
    /// What keys begin with; `None` is everywhere below where the output writes now.
    pub prefix: Option<String>,
    /// The size that objects shall come near: those below are merged, as many as have so much together. 1 MB to 1 GB.
    pub target_size: ByteSize,
    /// Where to go on, as the step before said; `None` begins.
    pub cursor: Option<String>,
    /// Whether nothing is done, and only what would be is told.
    pub dry_run: bool,
}

impl CompactStep {
    /// The target size when nobody names another.
    pub const TARGET_SIZE: ByteSize = ByteSize::bytes(128 << 20);
}

impl Default for CompactStep {
    fn default() -> Self {
        Self { prefix: None, target_size: Self::TARGET_SIZE, cursor: None, dry_run: false }
    }
}

/// What a step did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Compacted {
    /// The objects that became one, or would.
    pub merged: Option<Merged>,
    /// Objects that were not merged with those before them for another reason than their size.
    pub left: Vec<LeftAlone>,
    /// Where the next step goes on; `None` when everything has been looked at.
    pub cursor: Option<String>,
}

/// Objects that became one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Merged {
    /// Its key.
    pub key: ObjectKey,
    /// What it was made of, in the order of their offsets.
    pub sources: Vec<ObjectKey>,
    /// Its rows; `None` when nobody has counted, in a dry run over JSON.
    pub rows: Option<u64>,
    /// The bytes of the sources together.
    pub bytes_before: u64,
    /// Its own; `None` in a dry run.
    pub bytes_after: Option<u64>,
    /// Whether it has as many sources as one step takes, so that it may be merged with others in another walk.
    pub is_full: bool,
}

/// An object that was left alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeftAlone {
    /// Its key.
    pub key: ObjectKey,
    /// Why.
    pub reason: String,
}

/// Does one step. After an error it is not known whether the sources of the group or the merged object are there; never
/// are both, or neither.
pub(crate) async fn compact(parts: &Parts, live: &Live, output: &Output, step: &CompactStep) -> Result<Compacted> {
    if !(TARGET_MIN..=TARGET_MAX).contains(&step.target_size) {
        return Err(refuse("target size", &step.target_size.to_string(), "use 1MB to 1GB"));
    }
    let record = output.record();
    let (of, spec) = (Named { name: &record.name, id: record.id }, record.asked());
    require_bucket(&parts.objects, &spec.bucket).await?;
    // One at a time: each takes some memory.
    let _turn = parts.merging.lock().await;
    let prefix = step.prefix.clone().unwrap_or_else(|| object_name::rows_root(of, spec));
    let reader = Reader { objects: &parts.objects, bucket: &spec.bucket };
    let walk = Walk { of, prefix: &prefix, target: step.target_size.as_u64() };
    let compaction = Compaction { reader, walk, spec, place: (live.id(), output.id()) };
    compaction.step(step).await
}

/// What is known during a step.
#[derive(Debug)]
struct Compaction<'a> {
    reader: Reader<'a>,
    walk: Walk<'a>,
    spec: &'a OutputSpec,
    /// The row of the output.
    place: (crate::PipelineId, crate::PipelineId),
}

/// Objects that may become one.
#[derive(Debug)]
struct Group {
    sources: Vec<Source>,
    plan: Plan,
    is_full: bool,
}

/// What is known of a group before it is merged.
#[derive(Debug)]
enum Plan {
    Parquet(Box<ParquetPlan>),
    Lines,
}

impl Group {
    fn key(&self) -> ObjectKey {
        self.sources[0].name.through(&self.sources[self.sources.len() - 1].name)
    }

    fn merged(&self) -> Merged {
        let rows = match &self.plan {
            Plan::Parquet(plan) => Some(plan.rows),
            Plan::Lines => None,
        };
        Merged {
            key: self.key(),
            sources: self.sources.iter().map(|source| source.record.key.clone()).collect(),
            rows,
            bytes_before: self.sources.iter().map(|source| source.record.size).sum(),
            bytes_after: None,
            is_full: self.is_full,
        }
    }
}

/// What became of a run.
enum Planned {
    Group(Group),
    /// Nothing comes of it; behind this key others may be.
    Passed(ObjectKey),
}

/// How the transaction was decided.
enum Committed {
    Done(Box<ObjectRecord>),
    /// Something is not as it was.
    Changed(&'static str),
}

impl Compaction<'_> {
    async fn step(&self, step: &CompactStep) -> Result<Compacted> {
        let mut unfit: BTreeMap<ObjectKey, String> = BTreeMap::new();
        loop {
            let mut done = Compacted { cursor: step.cursor.clone(), ..Compacted::default() };
            let Some(group) = self.next_group(&unfit, &mut done).await? else { return Ok(done) };
            if step.dry_run {
                done.merged = Some(group.merged());
                return Ok(done);
            }
            match Box::pin(self.merge(&group, &mut done)).await {
                Ok(()) => return Ok(done),
                Err((number, Fault::Unfit(reason))) => {
                    let key = group.sources[number].record.key.clone();
                    if unfit.len() == UNFIT_MAX {
                        done.cursor = Some(key.to_string());
                        done.left.push(LeftAlone { key, reason });
                        return Ok(done);
                    }
                    unfit.insert(key, reason);
                }
                Err((_, Fault::NotTaken)) => return Err(Error::Stopping),
                Err((_, Fault::Other(error))) => return Err(error),
            }
        }
    }

    /// The next group, if one is near; notes in `done` what is left alone before it and where to go on behind it.
    async fn next_group(&self, unfit: &BTreeMap<ObjectKey, String>, done: &mut Compacted) -> Result<Option<Group>> {
        let mut looks = 0;
        while looks < LOOKS_MAX {
            let run = self.walk.next_run(self.reader, done.cursor.take()).await?;
            if run.objects.is_empty() {
                done.cursor = run.next;
                return Ok(None);
            }
            match self.plan(run, unfit, &mut looks, &mut done.left).await? {
                Planned::Group(group) => {
                    done.cursor = group.sources.last().map(|source| source.record.key.to_string());
                    return Ok(Some(group));
                }
                Planned::Passed(key) => done.cursor = Some(key.to_string()),
            }
        }
        Ok(None)
    }

    /// As many of the objects from the first on as can become one.
    async fn plan(
        &self,
        run: Run,
        unfit: &BTreeMap<ObjectKey, String>,
        looks: &mut usize,
        left: &mut Vec<LeftAlone>,
    ) -> Result<Planned> {
        let mut so_far: Option<Group> = None;
        let (all, is_full) = (run.objects.len(), run.is_full);
        for Listed { key, name, .. } in run.objects {
            *looks += 1;
            let looked = match unfit.get(&key) {
                Some(reason) => Err(Fault::Unfit(reason.clone())),
                None => Box::pin(self.look((&key, &name))).await,
            };
            let (source, plan) = match looked {
                Ok(found) => found,
                Err(Fault::Unfit(reason)) => {
                    if let Some(group) = so_far.filter(|group| group.sources.len() > 1) {
                        return Ok(Planned::Group(group)); // another step leaves this one alone
                    }
                    left.push(LeftAlone { key: key.clone(), reason });
                    return Ok(Planned::Passed(key));
                }
                Err(Fault::NotTaken) => return Err(Error::Stopping),
                Err(Fault::Other(error)) => return Err(error),
            };
            let Some(mut group) = so_far.take() else {
                so_far = Some(Group { sources: vec![source], plan, is_full: false });
                continue;
            };
            match self.joined(&group.plan, &plan) {
                Ok(plan) => {
                    group.plan = plan;
                    group.sources.push(source);
                    so_far = Some(group);
                }
                Err(apart) => {
                    if let Apart::Columns(reason) = apart {
                        left.push(LeftAlone { key, reason });
                    }
                    so_far = Some(group);
                    break;
                }
            }
        }
        let mut group = so_far.expect("a run has objects, and the first begins it");
        group.is_full = is_full && group.sources.len() == all;
        let before = group.sources[group.sources.len() - 1].record.key.clone();
        Ok(if group.sources.len() > 1 { Planned::Group(group) } else { Planned::Passed(before) })
    }

    async fn look(&self, of: (&ObjectKey, &object_name::RowsName)) -> Result<(Source, Plan), Fault> {
        let content_type = content_type(&self.spec.format);
        match &self.spec.format {
            OutputFormat::Parquet(_) => {
                let (source, tail) = self.reader.look(of, content_type, TAIL_BYTES).await?;
                let plan = ParquetPlan::of(self.reader, self.walk.of.name, &source, tail).await?;
                Ok((source, Plan::Parquet(Box::new(plan))))
            }
            OutputFormat::JsonLines { .. } => {
                let (source, _) = self.reader.look(of, content_type, 1).await?;
                Ok((source, Plan::Lines))
            }
        }
    }

    fn joined(&self, before: &Plan, next: &Plan) -> Result<Plan, Apart> {
        match (&self.spec.format, before, next) {
            (OutputFormat::Parquet(settings), Plan::Parquet(before), Plan::Parquet(next)) => {
                Ok(Plan::Parquet(Box::new(before.with(next, settings)?)))
            }
            _ => Ok(Plan::Lines),
        }
    }

    /// Merges a group and notes it in `done`; a fault names the source by its number.
    async fn merge(&self, group: &Group, done: &mut Compacted) -> Result<(), (usize, Fault)> {
        let other = |error: Error| (0, Fault::Other(error));
        let key = group.key();
        let (staged, rows) = self.stage(group, &key).await?;
        match self.commit(group, &key, &staged).await.map_err(other)? {
            Committed::Done(record) => {
                let pipeline = self.walk.of.name;
                tracing::info!(%pipeline, %key, sources = group.sources.len(), rows, bytes = record.size, "merged objects");
                let bytes_after = Some(record.size);
                done.merged = Some(Merged { rows: Some(rows), bytes_after, ..group.merged() });
            }
            Committed::Changed(reason) => {
                self.reader.objects.discard_staged(staged).await;
                let key = group.sources[0].record.key.clone();
                done.left.push(LeftAlone { key, reason: reason.to_owned() });
            }
        }
        Ok(())
    }

    /// Writes the merged object without making it visible; with how many rows it has.
    async fn stage(&self, group: &Group, key: &ObjectKey) -> Result<(StagedObject, u64), (usize, Fault)> {
        let (mut pieces, body) = mpsc::channel(PIECES_WAITING);
        let write = async move {
            let written = self.write(group, &mut pieces).await;
            if written.is_err() {
                // Else the body would seem to have ended well. Who does not listen any more need not hear it.
                drop(pieces.send(Err(BodyError::Incomplete)).await);
            }
            written
        };
        let headers = ObjectHeaders {
            content_type: Some(content_type(&self.spec.format).to_owned()),
            ..ObjectHeaders::default()
        };
        let place = Some((self.spec.bucket.clone(), key.clone()));
        let spec = StageSpec { headers, class: Some(self.spec.class), place };
        let stage = self.reader.objects.stage(spec, BodyChecks::default(), body);
        match futures::join!(write, stage) {
            (Ok(rows), Ok(staged)) => Ok((staged, rows)),
            (Ok(_) | Err((_, Fault::NotTaken)), Err(error)) => Err((0, error.into())),
            (Err(fault), _) => Err(fault),
        }
    }

    async fn write(&self, group: &Group, pieces: &mut Pieces) -> Result<u64, (usize, Fault)> {
        match (&self.spec.format, &group.plan) {
            (OutputFormat::Parquet(settings), Plan::Parquet(plan)) => {
                let name = self.walk.of.name;
                parquet_files::merge(self.reader, &group.sources, plan, settings, name, pieces).await?;
                Ok(plan.rows)
            }
            (OutputFormat::JsonLines { compression }, _) => {
                line_files::merge(self.reader, &group.sources, *compression, pieces).await
            }
            (OutputFormat::Parquet(_), Plan::Lines) => Err((0, Fault::foreign())),
        }
    }

    async fn commit(&self, group: &Group, key: &ObjectKey, staged: &StagedObject) -> Result<Committed> {
        let objects = self.reader.objects;
        let sources: Vec<ObjectRecord> = group.sources.iter().map(|source| source.record.clone()).collect();
        let mut tries = Tries::new();
        loop {
            let mut txn = objects.store().begin().await?;
            let Some(output) = OUTPUTS.get(&mut txn, &self.place).await? else {
                return Err(Error::NoSuchPipeline { name: self.walk.of.name.to_string() });
            };
            if output.asked() != self.spec {
                return Ok(Committed::Changed("the pipeline was changed meanwhile"));
            }
            let commit = StagedCommit { bucket: &self.spec.bucket, key, staged };
            let made = match objects.commit_staged_instead(&mut txn, commit, &sources).await {
                Ok(made) => made,
                Err(ObjectsError::ObjectLocked) => None,
                Err(error) => return Err(error.into()),
            };
            let Some(record) = made else {
                return Ok(Committed::Changed(
                    "it, or one that would be merged with it, was changed or deleted meanwhile",
                ));
            };
            if tries.commit(txn).await? {
                return Ok(Committed::Done(Box::new(record)));
            }
        }
    }
}

/// Hands on what is ready of a merged object.
async fn send(pieces: &mut Pieces, piece: Vec<u8>) -> Result<(), Fault> {
    if piece.is_empty() {
        return Ok(());
    }
    pieces.send(Ok(piece.into())).await.map_err(|_| Fault::NotTaken)
}

#[cfg(test)]
mod tests;
