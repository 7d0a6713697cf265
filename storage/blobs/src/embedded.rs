//! `EmbeddedBlobs`: blobs on this machine's drives, each a run of chunks in the drive log.
//!
//! A chunk is 1 MiB, the last one of a blob is what is left, and says that it is the last: without it a blob is
//! unfinished and cannot be read. The last chunk is handed to the log without waiting, so that it is written and synced in
//! one group with the rows that name the blob: the receipt ties them together.
//!
//! ```text
//! write ──▶ fill a chunk ──▶ append (at most 4 on their way) ──▶ ...        rows: commit(receipt)
//! finish ─▶ append the last chunk, requiring those on their way ──▶ receipt ───────▲
//! ```

use crate::{Blob, BlobReader, BlobStore, BlobWriter, Error, ListedBlob, Result};
use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use cistern_drives::{Append, CHUNK_BYTES, DriveLog, FORGET_IDS_MAX, FoundChunk, NewPiece, Pending, Reservation};
use cistern_runtime::Clock;
use cistern_types::{BlobId, StorageClass};
use futures::{StreamExt, stream};
use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

/// Chunks of one writer that are on their way to the drives at most.
const IN_FLIGHT_CHUNKS_MAX: usize = 4;
/// Chunks that one reader fetches ahead at most, the one it waits for included.
const READ_CHUNKS_MAX: usize = 2;

/// Blobs on the drive log. Cheap to clone.
#[derive(Debug, Clone)]
pub struct EmbeddedBlobs {
    log: DriveLog,
    clock: Arc<dyn Clock>,
}

impl EmbeddedBlobs {
    /// The blobs that `log` holds; new ones get their age from `clock`.
    pub fn new(log: DriveLog, clock: Arc<dyn Clock>) -> Self {
        Self { log, clock }
    }

    fn begin(&self) -> EmbeddedWriter {
        EmbeddedWriter {
            id: BlobId::new(self.clock.now()),
            log: self.log.clone(),
            chunk: 0,
            length: 0,
            filling: BytesMut::new(),
            full: None,
            in_flight: VecDeque::new(),
            broken: false,
        }
    }
}

#[async_trait]
impl BlobStore for EmbeddedBlobs {
    /// Every class lies in the same segments.
    async fn writer(&self, _: StorageClass) -> Result<Box<dyn BlobWriter>> {
        Ok(Box::new(self.begin()))
    }

    async fn read(&self, id: BlobId, range: Range<u64>) -> Result<BlobReader> {
        // one look-up tells place and length when the range lies in the last chunk, as all of a small blob does
        let first = u32::try_from(range.start / CHUNK_BYTES as u64).ok();
        let last = first.map(|chunk| self.log.find_chunk(id, chunk)).transpose()?.flatten();
        let last = last.filter(FoundChunk::is_last);
        let length = match &last {
            Some(last) => range.start / CHUNK_BYTES as u64 * CHUNK_BYTES as u64 + u64::from(last.bytes()),
            None => self.log.blob_length(id)?.ok_or(Error::NoSuchBlob { id })?,
        };
        if range.start > range.end || range.end > length {
            return Err(Error::OutsideBlob { id, start: range.start, end: range.end, length });
        }
        let log = self.log.clone();
        if let (Some(last), Some(part)) = (last, parts(range.clone()).next()) {
            let read = async move {
                let bytes = log.read_found(last, part.from..part.to).await?;
                bytes.ok_or(Error::NoSuchBlob { id })
            };
            return Ok(stream::once(read).boxed());
        }
        let parts = stream::iter(parts(range)).map(move |part| read_part(log.clone(), id, part));
        Ok(parts.buffered(READ_CHUNKS_MAX).boxed())
    }

    async fn delete(&self, ids: &[BlobId]) -> Result<()> {
        for ids in ids.chunks(FORGET_IDS_MAX) {
            let append = Append { forget: ids.to_vec(), ..Append::default() };
            let room = self.log.reserve(append.bytes()).await?;
            let pending = self.log.submit(room, append)?;
            pending.await?;
        }
        Ok(())
    }

    async fn list(&self, after: Option<BlobId>, limit: usize) -> Result<Vec<ListedBlob>> {
        let log = self.log.clone();
        let blobs = cistern_runtime::offload(move || log.blobs(after, limit)).await?;
        Ok(blobs.into_iter().map(|(id, length)| ListedBlob { id, length }).collect())
    }

    async fn put(&self, _: StorageClass, body: Bytes) -> Result<Blob> {
        let mut writer = self.begin();
        if body.len() <= CHUNK_BYTES {
            writer.length = body.len() as u64;
            return writer.append_last(body).await;
        }
        writer.fill(body).await?;
        writer.finish_now().await
    }
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
        _ if log.blob_length(id)?.is_none() => Err(Error::NoSuchBlob { id }), // deleted meanwhile
        _ => Err(Error::MissingChunk { id, chunk: part.chunk }),
    }
}

/// Cuts a range of a blob into the parts that lie in one chunk each.
fn parts(range: Range<u64>) -> impl Iterator<Item = Part> + Send {
    let chunk_bytes = CHUNK_BYTES as u64;
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
    log: DriveLog,
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
    async fn fill(&mut self, mut bytes: Bytes) -> Result<()> {
        self.length += bytes.len() as u64;
        while !bytes.is_empty() {
            if let Some(full) = self.full.take() {
                let pending = self.append(full).await?;
                self.in_flight.push_back(pending);
            }
            if self.filling.is_empty() && bytes.len() >= CHUNK_BYTES {
                self.full = Some(bytes.split_to(CHUNK_BYTES));
                continue;
            }
            if self.chunk > 0 {
                // A blob with a chunk behind it is long: no growing step by step.
                self.filling.reserve(CHUNK_BYTES - self.filling.len());
            }
            let room = CHUNK_BYTES - self.filling.len();
            self.filling.extend_from_slice(&bytes.split_to(room.min(bytes.len())));
            if self.filling.len() == CHUNK_BYTES {
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

    /// Ends the blob. Until the log has written this chunk the blob cannot be read; whether it has, the commit finds out
    /// that presents the receipt.
    async fn append_last(mut self, bytes: Bytes) -> Result<Blob> {
        let (room, append) = self.next_append(bytes, true).await?;
        let pending = self.log.submit_with_next(room, append).map_err(|error| self.lost(error))?;
        Ok(Blob { id: self.id, length: self.length, receipt: pending.receipt() })
    }

    /// Hands a chunk to the log. The log refuses it when one of those on their way before it was lost.
    async fn append(&mut self, bytes: Bytes) -> Result<Pending> {
        let (room, append) = self.next_append(bytes, false).await?;
        self.log.submit(room, append).map_err(|error| self.lost(error))
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
        let piece = NewPiece { blob: self.id, chunk: self.chunk, last, bytes };
        let requires = self.in_flight.iter().map(Pending::receipt).collect();
        let append = Append { pieces: vec![piece], requires, ..Append::default() };
        let room = self.log.reserve(append.bytes()).await?;
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
