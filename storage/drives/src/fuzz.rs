//! What fuzzers run: every parser of bytes that lie on drives, and a whole open of a small store with changed bytes. Feature `testing`.
//!
//! None may panic, whatever the bytes; what decodes is encoded again to the same value. Checksums keep nearly all changed bytes away from
//! the parsers, so the inputs' checksums are made good first. `storage/drives/fuzz` drives these with libFuzzer, `cargo xtask fuzz` runs it;
//! its corpora are replayed by the unit tests.

use crate::apply::decode_chunk_row;
use crate::disk::sim::{SimDisk, SimPower};
use crate::frame::{FRAME_ALIGN_BYTES, FRAME_HEADER_BYTES, FrameHeader, SegmentHeader, crc64};
use crate::identity::check_drive_file;
use crate::occupancy::decode_segment_row;
use crate::record::{Head, Kind, body, decode_forget, decode_heads, decode_retire, decode_rows, decode_state, measure};
use crate::view::Watermark;
use crate::{Append, Direction, DriveLog, DriveLogConfig, Effort, PassKind, Rows, Threads, ViewKind};
use cistern_runtime::TestClock;
use cistern_types::Timestamp;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt::Debug;
use std::ops::Bound;
use std::path::Path;
use std::sync::Arc;

/// A fuzz target: takes any bytes and does not panic.
pub type Target = fn(&[u8]);

/// All targets by name, which is also the name of the corpus.
pub const TARGETS: [(&str, Target); 5] =
    [("frame", frame), ("record", record), ("view_row", view_row), ("identity", identity), ("store", store)];

/// Where the checksum of a header lies.
const HEADER_CRC_OFFSET: usize = FRAME_HEADER_BYTES - 8;

/// The headers of frames and segments.
pub fn frame(bytes: &[u8]) {
    let mut header = [0; FRAME_HEADER_BYTES];
    let given = bytes.len().min(FRAME_HEADER_BYTES);
    header[..given].copy_from_slice(&bytes[..given]);
    make_good(&mut header);
    if let Some(frame) = FrameHeader::decode(&header) {
        assert_eq!(FrameHeader::decode(&frame.encode()).as_ref(), Some(&frame));
        assert!(frame.stripe.end() > frame.stripe.offset && frame.stripe.lanes() > 0);
        for lane in 0..frame.stripe.lanes() {
            assert!(frame.stripe.frame_bytes(lane) as u64 <= frame.stripe.stripe_bytes());
        }
    }
    if let Some(segment) = SegmentHeader::decode(&header) {
        assert_eq!(SegmentHeader::decode(&segment.encode()), Some(segment));
    }
}

/// Record tables and the bodies of all kinds. The first byte says how many records there are.
pub fn record(bytes: &[u8]) {
    let Some((&count, payload)) = bytes.split_first() else { return };
    if let Some((count, scan_bytes)) = measure(payload) {
        assert!(count > 0 && scan_bytes <= payload.len());
    }
    for head in decode_heads(payload, count.into()).into_iter().flatten() {
        let start = head.body_offset as usize;
        let Some(found) = payload.get(start..start + head.body_bytes as usize) else { continue };
        let head = Head { body_crc: crc64(found), ..head };
        assert_eq!(body(payload, &head), Some(found));
        record_body(head.kind, found, head.stamp);
    }
    for kind in [Kind::Rows, Kind::Forget, Kind::State, Kind::Retire] {
        record_body(kind, payload, u64::from(count));
    }
}

fn record_body(kind: Kind, body: &[u8], stamp: u64) {
    let entries = match kind {
        Kind::Rows => decode_rows(body, stamp).map(|rows| rows.len()),
        Kind::Forget => decode_forget(body).map(|ids| ids.len()),
        Kind::State => decode_state(body).map(|entries| entries.len()),
        Kind::Retire => decode_retire(body).map(|segments| segments.len()),
        Kind::Piece => None,
    };
    assert!(entries.is_none_or(|entries| entries <= body.len()));
}

/// The rows that the view keeps for the log itself.
pub fn view_row(bytes: &[u8]) {
    same_again(decode_chunk_row(bytes).ok(), |row| decode_chunk_row(row).ok());
    same_again(decode_segment_row(bytes).ok(), |row| decode_segment_row(row).ok());
    let watermark = |bytes: &[u8]| postcard::from_bytes::<Watermark>(bytes).ok();
    same_again(watermark(bytes), watermark);
}

fn same_again<T: Serialize + DeserializeOwned + PartialEq + Debug>(
    decoded: Option<T>,
    decode: impl Fn(&[u8]) -> Option<T>,
) {
    if let Some(value) = decoded {
        let bytes = postcard::to_stdvec(&value).expect("a row that was decoded can be encoded");
        assert_eq!(decode(&bytes), Some(value));
    }
}

/// The identity of a drive.
pub fn identity(bytes: &[u8]) {
    check_drive_file(bytes);
}

/// A store of the golden files with changed bytes, opened, read, written, verified, compacted and opened again.
///
/// The input is a list of changes: drive, file, two bytes of offset in units of 8, a byte of length and of whether checksums are made
/// good, then so many bytes.
pub fn store(bytes: &[u8]) {
    let power = SimPower::new();
    let disks = golden_disks(&power);
    apply_changes(&disks, bytes);
    for _ in 0..2 {
        let Ok(log) = open(&disks) else { return };
        drop(use_everything(&log));
    }
}

fn golden_disks(power: &Arc<SimPower>) -> Vec<Arc<SimDisk>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/v2");
    let disk = |number: usize| {
        let disk = SimDisk::new(format!("drive{number}"), power);
        let files = std::fs::read_dir(folder.join(format!("drive{number}"))).expect("the golden files are there");
        for file in files.map(|entry| entry.expect("the golden files are there").path()) {
            let name = file.file_name().expect("a file has a name").to_string_lossy().into_owned();
            disk.put(&name, std::fs::read(&file).expect("the golden files can be read"));
        }
        disk
    };
    (0..3).map(disk).collect()
}

fn apply_changes(disks: &[Arc<SimDisk>], mut bytes: &[u8]) {
    while let Some(([drive, file, low, high, length], rest)) = bytes.split_first_chunk::<5>() {
        let disk = &disks[usize::from(*drive) % disks.len()];
        let files = disk.contents();
        let number = usize::from(*file) % files.len();
        let (name, content) = files.into_iter().nth(number).expect("below the number of files");
        let mut content = content;
        let (change, behind) = rest.split_at(usize::from(length >> 1).min(rest.len()));
        bytes = behind;
        let offset = usize::from(u16::from_le_bytes([*low, *high])) * 8;
        let end = (offset + change.len()).min(content.len());
        if offset >= end {
            continue;
        }
        content[offset..end].copy_from_slice(&change[..end - offset]);
        if length & 1 == 1 {
            let align = usize::try_from(FRAME_ALIGN_BYTES).expect("4096");
            make_block_good(&mut content, offset - offset % align);
        }
        disk.put(&name, content);
    }
}

/// Makes the checksums of the frame or segment header at `start` match what is there.
fn make_block_good(content: &mut [u8], start: usize) {
    let Some(block) = content.get(start..) else { return };
    let Some(header) = block.first_chunk::<FRAME_HEADER_BYTES>() else { return };
    let mut header = *header;
    make_good(&mut header);
    if let Some(mut frame) = FrameHeader::decode(&header) {
        let used = frame.stripe.used(frame.lane);
        if let Some(payload) = block.get(FRAME_HEADER_BYTES..FRAME_HEADER_BYTES + used)
            && frame.stripe.coded_bytes <= content.len()
        {
            let mut coded = payload.to_vec();
            coded.resize(frame.stripe.coded_bytes, 0);
            frame.scan_crc = crc64(&coded[..frame.scan_bytes]);
            frame.payload_crc = crc64(&coded);
            header = frame.encode();
        }
    }
    content[start..start + FRAME_HEADER_BYTES].copy_from_slice(&header);
}

fn make_good(header: &mut [u8; FRAME_HEADER_BYTES]) {
    let crc = crc64(&header[..HEADER_CRC_OFFSET]);
    header[HEADER_CRC_OFFSET..].copy_from_slice(&crc.to_le_bytes());
}

fn open(disks: &[Arc<SimDisk>]) -> crate::Result<DriveLog> {
    let config = DriveLogConfig {
        segment_bytes: 24 << 10,
        group_bytes_max: 6 << 10,
        queue_bytes_max: 1 << 20,
        view: ViewKind::Memory,
        free_bytes_reserve: 0,
        ..DriveLogConfig::new(2, 1, "view")
    };
    DriveLog::open_blocking(config, SimDisk::as_disks(disks), &clock(), Threads::Inline)
}

fn clock() -> TestClock {
    TestClock::at(Timestamp::from_millis(1_700_000_000_000))
}

fn use_everything(log: &DriveLog) -> crate::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        log.snapshot().range(Bound::Unbounded, Bound::Unbounded, 1000, Direction::Forward)?;
        for blob in log.blobs(None, 100)? {
            drop(log.read_chunk(blob, 0).await);
        }
        let mut rows = Rows::new();
        rows.put(b"key", b"value");
        let append = Append { rows: Some(rows), ..Append::default() };
        let reservation = log.reserve(append.bytes()).await?;
        log.submit(reservation, append)?.await?;
        log.request_pass(PassKind::Scrub);
        let mut scrubber = log.scrubber(Arc::new(clock()));
        for _ in 0..100 {
            if scrubber.step().await?.is_none() {
                break;
            }
        }
        let mut compactor = log.compactor(Arc::new(clock()));
        compactor.begin_checkpoint().await?;
        for _ in 0..100 {
            if !compactor.step(Effort::Thorough).await? {
                break;
            }
        }
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_corpora_are_taken_without_a_panic() {
        for (name, target) in TARGETS {
            let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(name);
            let mut inputs = 0;
            for entry in std::fs::read_dir(&corpus).unwrap_or_else(|error| panic!("{}: {error}", corpus.display())) {
                target(&std::fs::read(entry.unwrap().path()).unwrap());
                inputs += 1;
            }
            assert!(inputs >= 3, "{name} has {inputs} inputs");
        }
    }
}
