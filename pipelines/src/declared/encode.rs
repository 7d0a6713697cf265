//! The events of a batch held against a declared schema: those that fit, and dead letters.

use super::DeclaredSchema;
use super::decode::Columns;
use crate::batch::Batch;
use crate::dead_letter::DeadLetters;
use arrow_array::RecordBatch;
use arrow_schema::ArrowError;
use bytes::Bytes;

/// Lines are gathered in chunks of at least this size.
const CHUNK_BYTES: usize = 256 << 10;

/// How many events are held against the schema before their columns, which nobody asks for, are thrown away.
const EVENTS_AT_ONCE: usize = 1_024;

/// The events as rows, and the offset of each; those that do not fit are added to the dead letters.
pub(crate) fn numbered_rows(
    batch: &mut Batch,
    schema: &DeclaredSchema,
    dead: &mut DeadLetters,
) -> Result<(RecordBatch, Vec<u64>), ArrowError> {
    let mut columns = Columns::new(schema);
    let mut offsets = Vec::new();
    batch.drain(|offset, event| {
        if dead.take_rejected(offset, event) {
            return;
        }
        match columns.push(event) {
            Ok(()) => offsets.push(offset),
            Err(reason) => dead.push(offset, &reason, event),
        }
    });
    Ok((columns.finish(schema)?, offsets))
}

/// The events that fit as they came, one a line.
pub(crate) fn lines(batch: &mut Batch, schema: &DeclaredSchema) -> (Vec<Bytes>, DeadLetters) {
    let mut columns = Columns::new(schema);
    let mut dead = DeadLetters::default();
    let (mut chunks, mut growing) = (Vec::new(), Vec::new());
    let mut held = 0;
    batch.drain(|offset, event| {
        if dead.take_rejected(offset, event) {
            return;
        }
        match columns.push(event) {
            Ok(()) => {
                growing.extend_from_slice(event);
                growing.push(b'\n');
            }
            Err(reason) => dead.push(offset, &reason, event),
        }
        held += 1;
        if held % EVENTS_AT_ONCE == 0 {
            columns.clear();
        }
        if growing.len() >= CHUNK_BYTES {
            chunks.push(Bytes::from(std::mem::take(&mut growing)));
        }
    });
    if !growing.is_empty() {
        chunks.push(growing.into());
    }
    (chunks, dead)
}
