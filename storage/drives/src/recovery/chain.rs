//! Which segments belong to the log: the chain that leads from the newest segment's header back to the first.
//!
//! Each header names the segment before it and where that ended. The newest is the one of the highest generation (the run
//! that began it), then the highest number; it also says where the last checkpoint begins, and what lies before that is not
//! followed. Segments before the checkpoint are known by the view. One that neither leads to was never acknowledged anything
//! in, or was retired: it is left over from a crash, or from a drive that was away, and becomes a spare.

use crate::drives::Drives;
use crate::error::{Error, Result};
use crate::frame::{FRAME_HEADER_BYTES, Predecessor, SEGMENT_HEADER_BYTES, SegmentHeader};
use crate::recovery::lanes::frame_header_at;
use crate::segment::{SEGMENT_PREFIX, SPARE_PREFIX, clear_away, numbered, segment_name};
use std::collections::{BTreeMap, BTreeSet};
use std::io;

/// A segment of the log.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) header: SegmentHeader,
    /// Where it ended, as its successor says; `None` for the last.
    pub(super) end: Option<Predecessor>,
}

/// The segments of the log from the first to the last, and what else lies about.
#[derive(Debug)]
pub(super) struct Chain {
    pub(super) links: Vec<Link>,
    /// The highest number of any segment file on any drive, in the chain or not.
    pub(super) highest_id: u64,
    /// Segments with a file on some drive that the chain does not contain, and whether any drive has a header of it.
    unreached: BTreeMap<u64, bool>,
}

/// Reads the header of every segment on every drive and follows them.
pub(super) fn follow(drives: &Drives) -> Result<Chain> {
    let mut seen = BTreeSet::new();
    let mut spares = BTreeSet::new();
    // of each number: the headers by generation
    let mut headers: BTreeMap<u64, BTreeMap<u64, SegmentHeader>> = BTreeMap::new();
    for drive in drives.present() {
        let Some(disk) = drives.disk(drive) else { continue };
        let names = match disk.list() {
            Ok(names) => names,
            Err(error) => {
                drives.take_out(drive, "list the segments", &error);
                continue;
            }
        };
        spares.extend(names.iter().filter_map(|name| numbered(name, SPARE_PREFIX)));
        for id in names.iter().filter_map(|name| numbered(name, SEGMENT_PREFIX)) {
            seen.insert(id);
            if let Some(header) = read_header(drives, drive, id) {
                headers.entry(id).or_default().insert(header.generation, header);
            }
        }
    }
    let newest = headers.values().filter_map(|runs| runs.last_key_value()).map(|(_, header)| *header);
    let mut links = Vec::new();
    let newest = newest.max_by_key(|header| (header.generation, header.segment));
    let checkpoint = newest.map_or(0, |header| header.checkpoint);
    let mut next = newest.map(|header| (header, None));
    while let Some((header, end)) = next {
        links.push(Link { header, end });
        let before = header.predecessor;
        next = if before.segment == 0 || before.segment < checkpoint {
            None
        } else {
            let runs = headers.get(&before.segment).filter(|_| before.segment < header.segment);
            let header = runs.and_then(|runs| runs.range(..=header.generation).next_back()).map(|(_, header)| *header);
            let header = header.ok_or_else(|| Error::Corrupt {
                segment: before.segment,
                offset: 0,
                detail: "no drive has its header".into(),
            })?;
            Some((header, Some(before)))
        };
    }
    links.reverse();
    let in_chain: BTreeSet<u64> = links.iter().map(|link| link.header.segment).collect();
    let unreached = seen.difference(&in_chain).map(|id| (*id, headers.contains_key(id))).collect();
    let highest_id = seen.union(&spares).max().copied().unwrap_or(0);
    Ok(Chain { links, highest_id, unreached })
}

/// The header of a segment as a drive has it, if it has one.
pub(crate) fn read_header(drives: &Drives, drive: usize, segment: u64) -> Option<SegmentHeader> {
    let mut bytes = [0; FRAME_HEADER_BYTES];
    match drives.disk(drive)?.open(&segment_name(segment)).and_then(|file| file.read_at(&mut bytes, 0)) {
        Ok(()) => {}
        Err(error) if matches!(error.kind(), io::ErrorKind::UnexpectedEof | io::ErrorKind::NotFound) => return None,
        Err(error) => {
            tracing::warn!(drive = drives.label(drive), segment, error = %error, "a segment header cannot be read");
            return None;
        }
    }
    SegmentHeader::decode(&bytes).filter(|header| header.set == drives.set && header.segment == segment)
}

impl Chain {
    /// The generation of every segment.
    pub(super) fn segments(&self) -> BTreeMap<u64, u64> {
        self.links.iter().map(|link| (link.header.segment, link.header.generation)).collect()
    }

    /// A header is synced on all drives before a stripe is written: a segment without any header that nevertheless holds
    /// stripes which would continue the log has lost its headers, and must not be cleared away.
    pub(super) fn check_unreached(&self, drives: &Drives, next_sequence: u64) -> Result<()> {
        for (&segment, _) in self.unreached.iter().filter(|(_, has_header)| !**has_header) {
            for drive in drives.present() {
                let frame = frame_header_at(drives, drive, segment, SEGMENT_HEADER_BYTES);
                if frame.is_some_and(|frame| {
                    let stripe = frame.stripe;
                    stripe.set == drives.set && stripe.segment == segment && stripe.sequence >= next_sequence
                }) {
                    return Err(Error::Corrupt { segment, offset: 0, detail: "no drive has its header".into() });
                }
            }
        }
        Ok(())
    }

    /// Makes spares of the segments that are neither in the chain nor known to the view. Failures cost only space.
    pub(super) fn clear_unreached(&self, drives: &Drives, known: &BTreeMap<u64, u64>, segment_bytes: u64) {
        for drive in drives.live() {
            let Some(disk) = drives.disk(drive) else { continue };
            let Ok(names) = disk.list() else { continue };
            let ids = names.iter().filter_map(|name| numbered(name, SEGMENT_PREFIX));
            for id in ids.filter(|id| self.unreached.contains_key(id) && !known.contains_key(id)) {
                if let Err(error) = clear_away(drives, drive, id, segment_bytes) {
                    tracing::warn!(drive = drives.label(drive), segment = id, error = %error, "a left-over segment was not cleared away");
                }
            }
        }
    }
}
