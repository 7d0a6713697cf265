//! `EmbeddedBlobs`: blobs on this machine's drives, each a run of chunks in the drive log of one set.
//!
//! A chunk is 1 MiB, the last one of a blob is what is left, and says that it is the last: without it a blob is
//! unfinished and cannot be read. In the set that holds the rows the last chunk is handed to the log without waiting, so that it is written
//! and synced in one group with the rows that name the blob: the receipt ties them together. In any other set it is durable before the
//! receipt is given.
//!
//! ```text
//! write ──▶ fill a chunk ──▶ code it ──▶ append (at most 4 on their way) ──▶ ...        rows: commit(receipt)
//! finish ─▶ append the last chunk, requiring those on their way ──▶ receipt ───────────────────▲
//! ```

use crate::coding::{Coding, Compression};
use crate::sets::{BlobSet, HOME, Sets};
use crate::{Blob, BlobReader, BlobStore, BlobWriter, Error, Result};
use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use cistern_drives::{Append, CHUNK_BYTES, DriveLog, FORGET_IDS_MAX, FoundChunk, NewPiece, Pending, Reservation};
use cistern_runtime::{Clock, offload};
use cistern_types::{BlobId, Receipt, StorageClass};
use futures::{StreamExt, stream};
use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;
use std::sync::Arc;

/// Chunks of one writer that are on their way to the drives at most.
const IN_FLIGHT_CHUNKS_MAX: usize = 4;
/// Chunks that one reader fetches ahead at most, the one it waits for included.
const READ_CHUNKS_MAX: usize = 2;

/// Blobs on the drives. Cheap to clone.
#[derive(Debug, Clone)]
pub struct EmbeddedBlobs {
    sets: Arc<Sets>,
    clock: Arc<dyn Clock>,
}

impl EmbeddedBlobs {
    /// The blobs that the sets behind `logs` hold; new ones get their age from `clock`. New blobs of the class Infrequent Access are compressed
    /// as `infrequent` says; those that are there are read whatever it says.
    ///
    /// # Panics
    /// When two sets have the same number, or none is set 0, which holds the rows.
    pub fn new(logs: impl IntoIterator<Item = DriveLog>, infrequent: Compression, clock: Arc<dyn Clock>) -> Self {
        Self { sets: Arc::new(Sets::new(logs, infrequent)), clock }
    }

    /// Refuses at once when the rows could not be written afterwards.
    async fn begin(&self, class: StorageClass, bytes: Option<usize>) -> Result<EmbeddedWriter> {
        self.sets.home().check_writable()?;
        let set = self.sets.choose(class, bytes).await.clone();
        Ok(EmbeddedWriter {
            id: BlobId::new_in(set.log.number(), self.clock.now()),
            set,
            chunk: 0,
            length: 0,
            filling: BytesMut::new(),
            full: None,
            in_flight: VecDeque::new(),
            broken: false,
        })
    }
}

#[async_trait]
impl BlobStore for EmbeddedBlobs {
    async fn writer(&self, class: StorageClass) -> Result<Box<dyn BlobWriter>> {
        Ok(Box::new(self.begin(class, None).await?))
    }

    async fn read(&self, id: BlobId, range: Range<u64>) -> Result<BlobReader> {
        let BlobSet { log, coding } = self.sets.of(id)?;
        match coding {
            Coding::Plain => read_plain(log, id, range),
            Coding::Tagged(_) => read_coded(log, *coding, id, range).await,
        }
    }

    /// Blobs of a set that is not open are unknown here: without claims they are orphans, which are found when it is back.
    async fn delete(&self, ids: &[BlobId]) -> Result<Vec<BlobId>> {
        let mut by_set: BTreeMap<u8, Vec<BlobId>> = BTreeMap::new();
        for id in ids {
            by_set.entry(id.set()).or_default().push(*id);
        }
        let mut left = Vec::new();
        for (set, ids) in by_set {
            let Ok(BlobSet { log, .. }) = self.sets.of(ids[0]) else { continue };
            match forget(log, &ids).await {
                Err(error) if set != HOME => {
                    tracing::debug!(set, blobs = ids.len(), error = %error, "blobs cannot be deleted now");
                    left.extend(ids);
                }
                deleted => deleted?,
            }
        }
        Ok(left)
    }

    async fn list(&self, after: Option<BlobId>, limit: usize) -> Result<Vec<BlobId>> {
        let sets = Arc::clone(&self.sets);
        offload(move || {
            let mut found = Vec::new();
            for set in sets.from(after.map_or(0, |after| after.set())) {
                let after = after.filter(|after| after.set() == set.log.number());
                found.extend(set.log.blobs(after, limit - found.len())?);
            }
            Ok(found)
        })
        .await
    }

    async fn put(&self, class: StorageClass, body: Bytes) -> Result<Blob> {
        let mut writer = self.begin(class, Some(body.len())).await?;
        if body.len() <= writer.chunk_bytes() {
            writer.length = body.len() as u64;
            return writer.append_last(body).await;
        }
        writer.fill(body).await?;
        writer.finish_now().await
    }
}

async fn forget(log: &DriveLog, ids: &[BlobId]) -> Result<()> {
    for ids in ids.chunks(FORGET_IDS_MAX) {
        let append = Append { forget: ids.to_vec(), ..Append::default() };
        let room = log.reserve(append.bytes()).await?;
        log.submit(room, append)?.await?;
    }
    Ok(())
}

fn check_range(id: BlobId, range: &Range<u64>, length: u64) -> Result<()> {
    let Range { start, end } = *range;
    if start > end || end > length { Err(Error::OutsideBlob { id, start, end, length }) } else { Ok(()) }
}

fn read_plain(log: &DriveLog, id: BlobId, range: Range<u64>) -> Result<BlobReader> {
    let before = |chunk: &FoundChunk| u64::from(chunk.number()) * CHUNK_BYTES as u64;
    // one look-up tells place and length when the range lies in the last chunk, as all of a small blob does
    let first = u32::try_from(range.start / CHUNK_BYTES as u64).ok();
    let last = first.map(|chunk| log.find_chunk(id, chunk)).transpose()?.flatten();
    let last = last.filter(FoundChunk::is_last);
    let length = |last: &FoundChunk| before(last) + u64::from(last.bytes());
    let length = match &last {
        Some(last) => length(last),
        None => length(&log.last_chunk(id)?.ok_or(Error::NoSuchBlob { id })?),
    };
    check_range(id, &range, length)?;
    let log = log.clone();
    if let (Some(last), Some(part)) = (last, parts(range.clone(), CHUNK_BYTES).next()) {
        let read = async move {
            let bytes = log.read_found(last, part.from..part.to).await?;
            bytes.ok_or(Error::NoSuchBlob { id })
        };
        return Ok(stream::once(read).boxed());
    }
    let parts = stream::iter(parts(range, CHUNK_BYTES)).map(move |part| read_part(log.clone(), id, part));
    Ok(parts.buffered(READ_CHUNKS_MAX).boxed())
}

/// Reads a blob whose chunks do not say their length. Its last one is read first, if it is asked for, and kept until its turn comes.
async fn read_coded(log: &DriveLog, coding: Coding, id: BlobId, range: Range<u64>) -> Result<BlobReader> {
    let chunk_bytes = coding.chunk_bytes();
    let last = log.last_chunk(id)?.ok_or(Error::NoSuchBlob { id })?;
    let number = last.number();
    let before = u64::from(number) * chunk_bytes as u64;
    let mut tail = Bytes::new();
    if range.end > before || range.start > range.end {
        tail = read_chunk(log, coding, id, number).await?;
        check_range(id, &range, before + tail.len() as u64)?;
    }
    let log = log.clone();
    let parts = stream::iter(parts(range, chunk_bytes)).map(move |part| {
        let (log, tail) = (log.clone(), tail.clone());
        async move {
            let Part { chunk, from, to } = part;
            let bytes = if chunk == number { tail } else { read_chunk(&log, coding, id, chunk).await? };
            let inside = from as usize <= bytes.len() && to as usize <= bytes.len();
            if inside { Ok(bytes.slice(from as usize..to as usize)) } else { Err(Error::MissingChunk { id, chunk }) }
        }
    });
    Ok(parts.buffered(READ_CHUNKS_MAX).boxed())
}

/// A whole chunk as it was written.
async fn read_chunk(log: &DriveLog, coding: Coding, id: BlobId, chunk: u32) -> Result<Bytes> {
    let Some(stored) = log.read_chunk_range(id, chunk, 0..u32::MAX).await? else {
        return Err(missing(log, id, chunk)?);
    };
    coding.decode(stored).await.map_err(|reason| Error::DamagedChunk { id, chunk, reason })
}

/// Why a chunk is not there: its blob was deleted meanwhile, or it should be.
fn missing(log: &DriveLog, id: BlobId, chunk: u32) -> Result<Error> {
    let whole = log.last_chunk(id)?.is_some();
    Ok(if whole { Error::MissingChunk { id, chunk } } else { Error::NoSuchBlob { id } })
}

/// The bytes of one chunk that a range asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Part {
    chunk: u32,
    from: u32,
    to: u32,
}

async fn read_part(log: DriveLog, id: BlobId, part: Part) -> Result<Bytes> {
    match log.read_chunk_range(id, part.chunk, part.from..part.to).await? {
        Some(bytes) if bytes.len() == (part.to - part.from) as usize => Ok(bytes),
        _ => Err(missing(&log, id, part.chunk)?),
    }
}

/// Cuts a range of a blob into the parts that lie in one chunk each.
fn parts(range: Range<u64>, chunk_bytes: usize) -> impl Iterator<Item = Part> + Send {
    let chunk_bytes = chunk_bytes as u64;
    let first = range.start / chunk_bytes;
    let end = if range.is_empty() { first } else { range.end.div_ceil(chunk_bytes) };
    let inside = move |offset: u64| u32::try_from(offset).expect("an offset inside a chunk is at most 1 MiB");
    (first..end).map(move |chunk| {
        let start = chunk * chunk_bytes;
        Part {
            chunk: u32::try_from(chunk).expect("a blob has less than 2^32 chunks"),
            from: inside(range.start.saturating_sub(start)),
            to: inside((range.end - start).min(chunk_bytes)),
        }
    })
}

#[derive(Debug)]
struct EmbeddedWriter {
    id: BlobId,
    set: BlobSet,
    /// The number of the next chunk to append.
    chunk: u32,
    /// How many bytes were taken in.
    length: u64,
    /// The beginning of a chunk.
    filling: BytesMut,
    /// A whole chunk, held back until it is known whether it is the last.
    full: Option<Bytes>,
    in_flight: VecDeque<Pending>,
    /// A write failed or was given up half way: what follows would not be the blob.
    broken: bool,
}

impl EmbeddedWriter {
    fn chunk_bytes(&self) -> usize {
        self.set.coding.chunk_bytes()
    }

    async fn fill(&mut self, mut bytes: Bytes) -> Result<()> {
        let chunk_bytes = self.chunk_bytes();
        self.length += bytes.len() as u64;
        while !bytes.is_empty() {
            if let Some(full) = self.full.take() {
                let pending = self.append(full).await?;
                self.in_flight.push_back(pending);
            }
            if self.filling.is_empty() && bytes.len() >= chunk_bytes {
                self.full = Some(bytes.split_to(chunk_bytes));
                continue;
            }
            if self.chunk > 0 {
                // A blob with a chunk behind it is long: no growing step by step.
                self.filling.reserve(chunk_bytes - self.filling.len());
            }
            let room = chunk_bytes - self.filling.len();
            self.filling.extend_from_slice(&bytes.split_to(room.min(bytes.len())));
            if self.filling.len() == chunk_bytes {
                self.full = Some(std::mem::take(&mut self.filling).freeze());
            }
        }
        Ok(())
    }

    async fn finish_now(mut self) -> Result<Blob> {
        let rest = std::mem::take(&mut self.filling).freeze();
        match self.full.take() {
            None => self.append_last(rest).await,
            Some(full) if rest.is_empty() => self.append_last(full).await,
            Some(full) => {
                let pending = self.append(full).await?;
                self.in_flight.push_back(pending);
                self.append_last(rest).await
            }
        }
    }

    /// Ends the blob. Until the log has written this chunk the blob cannot be read; in the set of the rows, whether it has, the commit finds
    /// out that presents the receipt.
    async fn append_last(mut self, bytes: Bytes) -> Result<Blob> {
        let (room, append) = self.next_append(bytes, true).await?;
        let receipt = if self.set.is_home() {
            let pending = self.set.log.submit_with_next(room, append).map_err(|error| self.lost(error))?;
            pending.receipt()
        } else {
            let pending = self.set.log.submit(room, append).map_err(|error| self.lost(error))?;
            pending.await?;
            Receipt::DURABLE
        };
        Ok(Blob { id: self.id, length: self.length, receipt })
    }

    /// Hands a chunk to the log. The log refuses it when one of those on their way before it was lost.
    async fn append(&mut self, bytes: Bytes) -> Result<Pending> {
        let (room, append) = self.next_append(bytes, false).await?;
        self.set.log.submit(room, append).map_err(|error| self.lost(error))
    }

    fn lost(&self, error: cistern_drives::Error) -> Error {
        match error {
            cistern_drives::Error::LostPrerequisite { .. } => Error::LostBytes { id: self.id },
            error => error.into(),
        }
    }

    async fn next_append(&mut self, bytes: Bytes, last: bool) -> Result<(Reservation, Append)> {
        if self.in_flight.len() >= IN_FLIGHT_CHUNKS_MAX
            && let Some(oldest) = self.in_flight.pop_front()
        {
            oldest.await?;
        }
        let bytes = self.set.coding.encode(bytes).await;
        let piece = NewPiece { blob: self.id, chunk: self.chunk, last, bytes };
        let requires = self.in_flight.iter().map(Pending::receipt).collect();
        let append = Append { pieces: vec![piece], requires, ..Append::default() };
        let room = self.set.log.reserve(append.bytes()).await?;
        self.chunk += 1;
        Ok((room, append))
    }
}

#[async_trait]
impl BlobWriter for EmbeddedWriter {
    fn id(&self) -> BlobId {
        self.id
    }

    async fn write(&mut self, bytes: Bytes) -> Result<()> {
        if self.broken {
            return Err(Error::LostBytes { id: self.id });
        }
        self.broken = true; // stays so when this fails or is dropped while it waits
        self.fill(bytes).await?;
        self.broken = false;
        Ok(())
    }

    async fn finish(self: Box<Self>) -> Result<Blob> {
        if self.broken {
            return Err(Error::LostBytes { id: self.id });
        }
        self.finish_now().await
    }
}

#[cfg(test)]
mod tests;
