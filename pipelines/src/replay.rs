//! Events that are taken into a pipeline once more: those of a dead-letter object, after what kept them out was mended, or
//! those that are still in the log.
//!
//! They are new events with offsets of their own. The same replay done again within an hour, before the pipeline is
//! changed again, adds nothing: each piece of it is a producer's batch that is known again ([`crate::claim`]).

use crate::claim::{Claim, Producer};
use crate::event_log::Append;
use crate::live::Live;
use crate::pipelines::Parts;
use crate::reader::{page_from, read_lines};
use crate::rejected::is_rejected;
use crate::validate::{BodyShape, ValidEvents, validate};
use crate::{Error, Result};
use bytes::{Buf as _, Bytes, BytesMut};
use cistern_types::{BucketName, ObjectKey};
use futures::TryStreamExt as _;
use serde::Deserialize;
use serde_json::value::RawValue;
use std::sync::Arc;

/// How many bytes are taken into the log together, about.
const PIECE_BYTES: usize = 1 << 20;

/// Which events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Replay {
    /// Those of a dead-letter object in the pipeline's bucket.
    DeadLetters {
        /// Its key.
        key: ObjectKey,
    },
    /// Those in the log from one offset up to another, the latter not among them.
    Offsets {
        /// The first.
        from: u64,
        /// The one after the last.
        to: u64,
    },
}

/// What became of a replay.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Replayed {
    /// Events that were taken into the pipeline once more.
    pub events: u64,
    /// Events that the same replay had taken before.
    pub seen: u64,
    /// What is no event, and would only become a dead letter again.
    pub not_events: u64,
}

/// A line of a dead-letter object.
#[derive(Debug, Deserialize)]
struct Letter<'a> {
    #[serde(borrow)]
    event: &'a RawValue,
}

/// Does a replay. What was taken before an error stays taken.
pub(crate) async fn replay(parts: &Parts, live: &Arc<Live>, bucket: &BucketName, replay: &Replay) -> Result<Replayed> {
    let version = live.record().version;
    let mut pieces = Pieces {
        parts,
        live,
        name: String::new(),
        lines: BytesMut::new(),
        count: 0,
        done: 0,
        so_far: Replayed::default(),
    };
    match replay {
        Replay::DeadLetters { key } => {
            let read = parts.objects.get(bucket, key, None).await?;
            // No header may have a line end: these are nobody's idempotency keys.
            pieces.name = format!("\n{version} {bucket} {} {key}", read.record.etag);
            pieces.dead_letters(read.body, key).await?;
        }
        Replay::Offsets { from, to } => {
            pieces.name = format!("\n{version} {from} {to}");
            pieces.offsets(*from, *to).await?;
        }
    }
    pieces.flush().await?;
    Ok(pieces.so_far)
}

/// Events on their way back into the log.
struct Pieces<'a> {
    parts: &'a Parts,
    live: &'a Arc<Live>,
    name: String,
    lines: BytesMut,
    count: u32,
    /// Pieces that are in the log.
    done: u32,
    so_far: Replayed,
}

impl Pieces<'_> {
    async fn dead_letters(&mut self, mut body: cistern_objects::ObjectBody, key: &ObjectKey) -> Result<()> {
        let refuse = |line: u64, reason: String| Error::NotDeadLetters { key: key.clone(), line, reason };
        let line_bytes_max = self.parts.config.event_bytes_max * 2 + PIECE_BYTES;
        let mut unread = BytesMut::new();
        let mut number = 0;
        loop {
            let more = body.try_next().await?;
            let ended = more.is_none();
            unread.extend_from_slice(&more.unwrap_or_default());
            while let Some(end) =
                memchr::memchr(b'\n', &unread).or_else(|| (ended && !unread.is_empty()).then_some(unread.len()))
            {
                number += 1;
                let line = unread.split_to(end);
                if unread.has_remaining() {
                    unread.advance(1);
                }
                let letter: Letter<'_> =
                    serde_json::from_slice(&line).map_err(|error| refuse(number, error.to_string()))?;
                let event = Bytes::copy_from_slice(letter.event.get().as_bytes());
                if !event.starts_with(b"{") {
                    self.so_far.not_events += 1;
                    continue;
                }
                let events = validate(&event, BodyShape::Lines, self.parts.config.event_bytes_max);
                let events = events.map_err(|error| refuse(number, error.to_string()))?;
                self.push(&events.lines).await?;
            }
            if ended {
                return Ok(());
            }
            if unread.len() > line_bytes_max {
                return Err(refuse(number + 1, "it is longer than an event with its reason can be".to_owned()));
            }
        }
    }

    async fn offsets(&mut self, from: u64, to: u64) -> Result<()> {
        let (objects, id) = (&self.parts.objects, self.live.id());
        if from >= to || to > self.live.head_next() {
            return Err(Error::NotInLog { from, to, first: None, end: self.live.head_next() });
        }
        let mut next = from;
        while next < to {
            let page = page_from(objects, id, next).await?;
            let end = self.live.head_next();
            let first = page.front().map_or(end, |(first, _)| *first);
            if first > next {
                return Err(Error::NotInLog { from, to, first: Some(first), end });
            }
            for (first, run) in page {
                let lines = read_lines(objects, &run).await?;
                let wanted = (first..).zip(lines.split_inclusive(|byte| *byte == b'\n'));
                for (_, line) in wanted.filter(|(offset, _)| (next..to).contains(offset)) {
                    if is_rejected(line) {
                        self.so_far.not_events += 1;
                    } else {
                        self.push(line).await?;
                    }
                }
                next = first + u64::from(run.events);
                if next >= to {
                    break;
                }
            }
        }
        Ok(())
    }

    /// Adds an event, with its newline.
    async fn push(&mut self, line: &[u8]) -> Result<()> {
        if self.lines.len() + line.len() > PIECE_BYTES {
            self.flush().await?;
        }
        self.lines.extend_from_slice(line);
        self.count += 1;
        Ok(())
    }

    /// Takes what has gathered into the log.
    async fn flush(&mut self) -> Result<()> {
        if self.count == 0 {
            return Ok(());
        }
        let (lines, count) = (self.lines.split().freeze(), std::mem::take(&mut self.count));
        let producer = Producer::key(&format!("{} {}", self.name, self.done));
        let digest = crc_fast::checksum(crc_fast::CrcAlgorithm::Crc64Nvme, &lines);
        let claim = Some(Claim { producer, epoch: 0, first: 0, count: 1, digest });
        let room = self.parts.log.room(lines.len()).await?;
        let events = ValidEvents { lines, events: count };
        let appended = self.parts.log.append(Arc::clone(self.live), Append { events, shard: 0, claim }, room).await?;
        self.done += 1;
        *(if appended.seen { &mut self.so_far.seen } else { &mut self.so_far.events }) += u64::from(count);
        Ok(())
    }
}
