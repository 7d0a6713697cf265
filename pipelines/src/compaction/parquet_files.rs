//! Parquet files read row group by row group and written as one.
//!
//! ```text
//! footers ─▶ Columns joined, rows, decoded size: nothing is decoded yet, nothing kept of a file but that
//! row group ─▶ batches of some MiB ─▶ conform ─▶ FileWriter ─▶ pieces of the new file, as its row groups end
//!                                         └ where rows are sorted: kept until all are there, SORTED_BYTES_MAX at most
//! ```
//! Decoding and encoding are done off the runtime's threads.

use super::join::{Columns, Range as Integers, conform};
use super::source::{Fault, Reader, Source};
use super::{Pieces, send};
use crate::parquet::{FileFacts, FileWriter, SLICE_ROWS, order};
use crate::{Error, ParquetSpec};
use ::parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder};
use ::parquet::basic::{ConvertedType, Type};
use ::parquet::errors::ParquetError;
use ::parquet::file::metadata::{ColumnChunkMetaData, ParquetMetaDataReader, RowGroupMetaData};
use ::parquet::file::reader::{ChunkReader, Length};
use ::parquet::file::statistics::Statistics;
use arrow_array::{RecordBatch, UInt32Array};
use arrow_schema::{ArrowError, SchemaRef};
use arrow_select::concat::concat_batches;
use arrow_select::interleave::interleave_record_batch;
use bytes::{Buf as _, Bytes};
use cistern_runtime::offload;
use cistern_types::PipelineName;
use std::ops::Range;
use std::sync::Arc;

/// How many bytes at the end of a file are read first: most footers are shorter.
pub(super) const TAIL_BYTES: u64 = 64 << 10;

/// The longest footer that is read, in bytes.
const FOOTER_BYTES_MAX: usize = 16 << 20;

/// About how many bytes are decoded at once.
const DECODED_BYTES: u64 = 8 << 20;

/// The most bytes of rows that are sorted together, decoded.
const SORTED_BYTES_MAX: u64 = 256 << 20;

/// Decoded bytes of rows that are gathered to choose the encodings by, unless `SLICE_ROWS` of them are there before.
const SAMPLE_BYTES: usize = 16 << 20;

/// What the footer of a file says.
#[derive(Debug)]
struct Footer(ArrowReaderMetadata);

/// What the footers of some files say together.
#[derive(Debug, Clone)]
pub(super) struct Plan {
    columns: Columns,
    pub(super) rows: u64,
    decoded_bytes: u64,
}

/// Why files do not become one.
#[derive(Debug)]
pub(super) enum Apart {
    /// Their columns cannot be brought together.
    Columns(String),
    /// They have more rows than can be sorted together.
    TooMuchToSort,
}

impl Plan {
    /// What the footer of a source says, which must be that of a file of the pipeline.
    pub(super) async fn of(
        reader: Reader<'_>,
        pipeline: &PipelineName,
        source: &Source,
        tail: Bytes,
    ) -> Result<Self, Fault> {
        let footer = Footer::read(reader, source, tail).await?;
        let facts =
            FileFacts { pipeline: pipeline.as_str(), first_offset: source.name.first, last_offset: source.name.last };
        if !facts.are_of(footer.0.metadata().file_metadata()) {
            return Err(Fault::foreign());
        }
        let columns = Columns::of(footer.0.schema(), footer.integers()).ok_or_else(Fault::foreign)?;
        let groups = footer.0.metadata().row_groups();
        let rows = groups.iter().map(|group| unsigned(group.num_rows())).sum();
        Ok(Self { columns, rows, decoded_bytes: groups.iter().map(decoded_bytes).sum() })
    }

    /// What it is with another file behind.
    pub(super) fn with(&self, next: &Self, settings: &ParquetSpec) -> Result<Self, Apart> {
        let decoded_bytes = self.decoded_bytes + next.decoded_bytes;
        if !settings.sort_by.is_empty() && decoded_bytes > SORTED_BYTES_MAX {
            return Err(Apart::TooMuchToSort);
        }
        let columns = self.columns.joined(&next.columns).map_err(Apart::Columns)?;
        Ok(Self { columns, rows: self.rows + next.rows, decoded_bytes })
    }
}

impl Footer {
    async fn read(reader: Reader<'_>, source: &Source, mut tail: Bytes) -> Result<Self, Fault> {
        let size = source.record.size;
        loop {
            let bytes = tail.clone();
            match offload(move || parse(&bytes, size)).await {
                Ok(metadata) => return Ok(Self(metadata)),
                Err(ParquetError::NeedMoreData(bytes)) if bytes > tail.len() && bytes <= FOOTER_BYTES_MAX => {
                    tail = reader.range(source, size.saturating_sub(bytes as u64)..size).await?;
                }
                Err(_) => return Err(Fault::foreign()),
            }
        }
    }

    /// The integers of each column that has some, over all row groups.
    fn integers(&self) -> Vec<Integers> {
        let groups = self.0.metadata().row_groups();
        let of_column = |column: usize| {
            let ranges = groups.iter().filter_map(|group| integers(group.column(column)));
            ranges.reduce(|(min, max), (other_min, other_max)| (min.min(other_min), max.max(other_max)))
        };
        (0..self.0.parquet_schema().num_columns()).map(of_column).collect()
    }

    /// Where the bytes of a row group lie.
    fn bytes_of(&self, group: usize) -> Range<u64> {
        let columns = self.0.metadata().row_group(group).columns().iter();
        let ranges =
            columns.map(ColumnChunkMetaData::byte_range).map(|(start, length)| start..start.saturating_add(length));
        ranges.reduce(|one, other| one.start.min(other.start)..one.end.max(other.end)).unwrap_or(0..0)
    }
}

fn parse(tail: &Bytes, file_bytes: u64) -> Result<ArrowReaderMetadata, ParquetError> {
    let mut reader = ParquetMetaDataReader::new();
    reader.try_parse_sized(tail, file_bytes)?;
    ArrowReaderMetadata::try_new(Arc::new(reader.finish()?), ArrowReaderOptions::new())
}

/// The integers of a column in a row group; those that are not told may be any.
fn integers(column: &ColumnChunkMetaData) -> Integers {
    const ANY: (i128, i128) = (i64::MIN as i128, u64::MAX as i128);
    if column.column_type() != Type::INT64 {
        return None;
    }
    let Some(Statistics::Int64(statistics)) = column.statistics() else { return Some(ANY) };
    let is_unsigned = column.column_descr().converted_type() == ConvertedType::UINT_64;
    let value = |value: i64| if is_unsigned { i128::from(value.cast_unsigned()) } else { i128::from(value) };
    match (statistics.min_opt(), statistics.max_opt()) {
        (Some(min), Some(max)) => Some((value(*min), value(*max))),
        _ if statistics.null_count_opt() == Some(unsigned(column.num_values())) => None,
        _ => Some(ANY),
    }
}

/// About what a row group takes in memory.
fn decoded_bytes(group: &RowGroupMetaData) -> u64 {
    let of_column = |column: &ColumnChunkMetaData| {
        let values = unsigned(column.num_values());
        match column.column_type() {
            Type::BOOLEAN => values.div_ceil(8),
            Type::INT32 | Type::FLOAT => 4 * values,
            Type::INT64 | Type::DOUBLE => 8 * values,
            Type::BYTE_ARRAY => {
                let texts = column.unencoded_byte_array_data_bytes().unwrap_or(column.uncompressed_size());
                4 * values + unsigned(texts)
            }
            Type::INT96 | Type::FIXED_LEN_BYTE_ARRAY => 16 * values,
        }
    };
    group.columns().iter().map(of_column).sum()
}

fn unsigned(count: i64) -> u64 {
    u64::try_from(count).unwrap_or(0)
}

/// Writes one file of all sources; a fault names the source by its number.
pub(super) async fn merge(
    reader: Reader<'_>,
    sources: &[Source],
    plan: &Plan,
    settings: &ParquetSpec,
    pipeline: &PipelineName,
    pieces: &mut Pieces,
) -> Result<(), (usize, Fault)> {
    let mut merging = Merging {
        schema: plan.columns.schema(),
        settings: settings.clone(),
        pipeline: pipeline.clone(),
        first_offset: sources[0].name.first,
        last_offset: sources[sources.len() - 1].name.last,
        rows: plan.rows,
        held: Vec::new(),
        file: None,
    };
    for (number, source) in sources.iter().enumerate() {
        merging = add(reader, source, merging, pieces).await.map_err(|fault| (number, fault))?;
    }
    let other = |error: Error| (0, Fault::Other(error));
    let mut ending = offload(move || merging.end()).await.map_err(other)?;
    loop {
        let (rest, piece) = offload(move || ending.next()).await.map_err(other)?;
        send(pieces, piece).await.map_err(|fault| (0, fault))?;
        match rest {
            Some(rest) => ending = rest,
            None => return Ok(()),
        }
    }
}

async fn add(reader: Reader<'_>, source: &Source, mut merging: Merging, pieces: &mut Pieces) -> Result<Merging, Fault> {
    let size = source.record.size;
    let tail_start = size.saturating_sub(TAIL_BYTES);
    let tail = reader.range(source, tail_start..size).await?;
    let footer = Footer::read(reader, source, tail.clone()).await?;
    for group in 0..footer.0.metadata().num_row_groups() {
        let range = footer.bytes_of(group);
        // Small files are in the tail as a whole.
        let in_tail = (range.start.checked_sub(tail_start)).and_then(|start| usize::try_from(start).ok());
        let bytes = match in_tail {
            Some(start) if start <= tail.len() => tail.slice(start..),
            _ => reader.range(source, range.clone()).await?,
        };
        let chunk = Chunk { start: range.start, bytes, file_bytes: size };
        let metadata = footer.0.clone();
        let piece;
        (merging, piece) = offload(move || merging.add(metadata, group, chunk)).await?;
        send(pieces, piece).await?;
    }
    Ok(merging)
}

/// Some bytes of a file, as if they were all.
#[derive(Debug)]
struct Chunk {
    start: u64,
    bytes: Bytes,
    file_bytes: u64,
}

impl Length for Chunk {
    fn len(&self) -> u64 {
        self.file_bytes
    }
}

impl ChunkReader for Chunk {
    type T = bytes::buf::Reader<Bytes>;

    fn get_read(&self, start: u64) -> Result<Self::T, ParquetError> {
        let at = start.checked_sub(self.start).and_then(|at| usize::try_from(at).ok());
        let at = at.filter(|at| *at <= self.bytes.len());
        at.map(|at| self.bytes.slice(at..).reader()).ok_or_else(|| self.missing(start))
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes, ParquetError> {
        let rest = self.get_read(start)?.into_inner();
        if length <= rest.len() { Ok(rest.slice(..length)) } else { Err(self.missing(start)) }
    }
}

impl Chunk {
    fn missing(&self, start: u64) -> ParquetError {
        ParquetError::EOF(format!("byte {start} is not in the row group from {} on", self.start))
    }
}

/// A file in the making.
#[derive(Debug)]
struct Merging {
    schema: SchemaRef,
    settings: ParquetSpec,
    pipeline: PipelineName,
    first_offset: u64,
    last_offset: u64,
    /// How many rows it will have.
    rows: u64,
    /// Rows that are not written: until there are enough to choose encodings by, or all, where they are sorted.
    held: Vec<RecordBatch>,
    file: Option<FileWriter>,
}

impl Merging {
    /// Adds a row group; answers what of the new file is ready.
    fn add(mut self, metadata: ArrowReaderMetadata, group: usize, chunk: Chunk) -> Result<(Self, Vec<u8>), Fault> {
        let unfit = |error: ArrowError| Fault::Unfit(format!("it cannot be read: {error}"));
        let of_group = metadata.metadata().row_group(group);
        let rows = unsigned(of_group.num_rows()).max(1);
        let at_once = DECODED_BYTES / (decoded_bytes(of_group) / rows).max(1);
        let at_once = usize::try_from(at_once).unwrap_or(SLICE_ROWS).clamp(1, SLICE_ROWS);
        let builder = ParquetRecordBatchReaderBuilder::new_with_metadata(chunk, metadata)
            .with_row_groups(vec![group])
            .with_batch_size(at_once);
        let batches = builder.build().map_err(|error| unfit(error.into()))?;
        for batch in batches {
            let batch = batch.and_then(|batch| conform(&batch, &self.schema)).map_err(unfit)?;
            self.take(batch)?;
        }
        let ready = self.file.as_mut().map(FileWriter::take).unwrap_or_default();
        Ok((self, ready))
    }

    fn take(&mut self, batch: RecordBatch) -> Result<(), Error> {
        if let Some(file) = &mut self.file {
            return file.write(&batch).map_err(|source| self.failed(source));
        }
        self.held.push(batch);
        let rows = self.held.iter().map(RecordBatch::num_rows).sum::<usize>();
        let bytes = self.held.iter().map(RecordBatch::get_array_memory_size).sum::<usize>();
        if self.settings.sort_by.is_empty() && (rows >= SLICE_ROWS || bytes >= SAMPLE_BYTES) {
            self.file = Some(self.begin()?);
        }
        Ok(())
    }

    /// The file with the rows that are held.
    fn begin(&mut self) -> Result<FileWriter, Error> {
        let mut file = self.open()?;
        for batch in std::mem::take(&mut self.held) {
            file.write(&batch).map_err(|source| self.failed(source))?;
        }
        Ok(file)
    }

    /// The file without rows, its encodings chosen by the first that are held.
    fn open(&self) -> Result<FileWriter, Error> {
        let (mut rows, mut bytes) = (0, 0);
        let first = self.held.iter().take_while(|batch| {
            let enough = rows >= SLICE_ROWS || bytes >= SAMPLE_BYTES;
            rows += batch.num_rows();
            bytes += batch.get_array_memory_size();
            !enough
        });
        let sample = concat_batches(&self.schema, first).map_err(|error| Error::columns(self.rows, error))?;
        let facts = FileFacts {
            pipeline: self.pipeline.as_str(),
            first_offset: self.first_offset,
            last_offset: self.last_offset,
        };
        FileWriter::new(&sample, self.rows, &self.settings, facts).map_err(|source| self.failed(source))
    }

    /// No more rows come.
    fn end(mut self) -> Result<Ending, Error> {
        let failed = |error| Error::columns(self.rows, error);
        let order = if self.file.is_none() { order(&self.held, &self.settings.sort_by).map_err(failed)? } else { None };
        let file = match self.file.take() {
            Some(file) => file,
            None if order.is_some() => self.open()?,
            None => self.begin()?,
        };
        // what is in order comes last, everything else is written
        let batches = std::mem::take(&mut self.held);
        let mut starts = Vec::with_capacity(batches.len());
        let mut rows = 0;
        for batch in &batches {
            starts.push(rows);
            rows += batch.num_rows();
        }
        Ok(Ending { file, batches, starts, order, written: 0, rows: self.rows })
    }

    fn failed(&self, source: ParquetError) -> Error {
        Error::Parquet { rows: usize::try_from(self.rows).unwrap_or(usize::MAX), source }
    }
}

/// The end of a file: the rows that were sorted, and what follows all rows.
#[derive(Debug)]
struct Ending {
    file: FileWriter,
    batches: Vec<RecordBatch>,
    /// The number of the first row of each batch.
    starts: Vec<usize>,
    order: Option<UInt32Array>,
    /// How many rows of those in order are written.
    written: usize,
    rows: u64,
}

impl Ending {
    /// The next bytes, and what comes after them.
    fn next(mut self) -> Result<(Option<Self>, Vec<u8>), Error> {
        let failed = |source| Error::Parquet { rows: usize::try_from(self.rows).unwrap_or(usize::MAX), source };
        let left = self.order.as_ref().map_or(&[][..], |order| &order.values()[self.written..]);
        if left.is_empty() {
            return Ok((None, self.file.finish().map_err(failed)?));
        }
        let place = |row: &u32| {
            let row = *row as usize;
            let batch = self.starts.partition_point(|start| *start <= row) - 1;
            (batch, row - self.starts[batch])
        };
        let places: Vec<(usize, usize)> = left.iter().take(SLICE_ROWS).map(place).collect();
        let batches: Vec<&RecordBatch> = self.batches.iter().collect();
        let sorted = interleave_record_batch(&batches, &places).map_err(|error| Error::columns(self.rows, error))?;
        self.file.write(&sorted).map_err(failed)?;
        self.written += places.len();
        let ready = self.file.take();
        Ok((Some(self), ready))
    }
}
