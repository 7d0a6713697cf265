//! Who a drive is: `drive.json` in its folder, and the rules by which drives make a set.
//!
//! Drives are known by what they say, never by the order they are given in. Nothing is ever formatted beside a formatted
//! drive, except to finish a first format that was cut off before anything was written. The last field of the file is a
//! checksum of the text before it, so that a flipped bit makes a drive missing instead of another drive.

use crate::config::DriveLogConfig;
use crate::disk::{Claim, Disk};
use crate::error::{Error, Result};
use crate::frame::crc64;
use cistern_types::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::sync::Arc;

/// The file that says who a drive is.
pub(crate) const DRIVE_FILE: &str = "drive.json";
/// 1: no checkpoints. 2: segments may begin with a checkpoint, and what lies before it need not be a chain any more.
const DRIVE_FORMAT_VERSION: u32 = 2;
const CHECKSUM_FIELD: &str = "\"checksum\"";

/// The random name of a set of drives.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct SetId(u128);

impl SetId {
    pub(crate) fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(u128::from_be_bytes(bytes))
    }

    pub(crate) fn to_bytes(self) -> [u8; 16] {
        self.0.to_be_bytes()
    }
}

impl fmt::Display for SetId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Debug for SetId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SetId({self})")
    }
}

/// The content of `drive.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct DriveFile {
    format_version: u32,
    set_id: String,
    drive_id: String,
    index: usize,
    data: usize,
    parity: usize,
    created: Timestamp,
    /// The highest run that began segments on this drive; 0 before the first.
    generation: u64,
    /// Drives that were away when others were written.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    stale_since: BTreeMap<usize, u64>,
}

impl DriveFile {
    fn encode(&self) -> Vec<u8> {
        let mut text = serde_json::to_string_pretty(self).expect("plain fields serialize");
        text.truncate(text.len() - "\n}".len());
        text.push_str(",\n  ");
        let checksum = format!("{CHECKSUM_FIELD}: \"{:016x}\"\n}}\n", crc64(text.as_bytes()));
        text.push_str(&checksum);
        text.into_bytes()
    }

    /// `Err` says what is wrong with the text.
    fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let text = std::str::from_utf8(bytes).map_err(|_| DecodeError::Damaged)?;
        let at = text.rfind(CHECKSUM_FIELD).ok_or(DecodeError::Damaged)?;
        let found = text[at + CHECKSUM_FIELD.len()..].split('"').nth(1).ok_or(DecodeError::Damaged)?;
        if found != format!("{:016x}", crc64(&text.as_bytes()[..at])) {
            return Err(DecodeError::Damaged);
        }
        let version: Version = serde_json::from_str(text).map_err(|_| DecodeError::Damaged)?;
        if version.format_version > DRIVE_FORMAT_VERSION {
            return Err(DecodeError::Newer(version.format_version));
        }
        serde_json::from_str(text).map_err(|_| DecodeError::Damaged)
    }
}

/// The one field that every version has.
#[derive(Deserialize)]
struct Version {
    format_version: u32,
}

#[derive(Debug, PartialEq, Eq)]
enum DecodeError {
    Damaged,
    Newer(u32),
}

/// One place of a set: the drive that is there, or why none is.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) label: String,
    pub(crate) disk: Result<Arc<dyn Disk>, String>,
    file: Option<DriveFile>,
}

/// The drives of a set in the order of their numbers.
#[derive(Debug)]
pub(crate) struct DriveSet {
    pub(crate) id: SetId,
    pub(crate) places: Vec<Place>,
    /// The highest generation any drive has seen.
    pub(crate) generation: u64,
    /// When the oldest of them was formatted.
    pub(crate) created: Timestamp,
    /// Of each drive that may lack what the others hold: the first segment of which it may.
    pub(crate) stale_since: BTreeMap<usize, u64>,
    /// The drives are ours as long as these live.
    pub(crate) claims: Vec<Box<dyn Claim>>,
}

enum Found {
    Formatted(DriveFile),
    Empty,
    /// Not there, or not readable: why.
    Absent(String),
}

/// The set that the first formatted drive among these says it belongs to; `None` when none of them is formatted.
/// Changes nothing and claims nothing, so that a caller can refuse drives before it opens them.
pub fn set_of(drives: &[Arc<dyn Disk>]) -> Option<String> {
    let file = |disk: &Arc<dyn Disk>| DriveFile::decode(&disk.read_file(DRIVE_FILE).ok()?).ok();
    drives.iter().find_map(file).map(|file| file.set_id)
}

/// Claims the drives and makes out who is who; formats them when all are empty.
pub(crate) fn assemble(
    config: &DriveLogConfig,
    drives: Vec<Arc<dyn Disk>>,
    now: Timestamp,
    mut random: impl FnMut() -> u128,
) -> Result<DriveSet> {
    config.validate(drives.len())?;
    let mut found = Vec::with_capacity(drives.len());
    let mut claims = Vec::with_capacity(drives.len());
    for disk in &drives {
        found.push(look_at(disk.as_ref(), &mut claims)?);
    }
    let formatted: Vec<&DriveFile> =
        found.iter().filter_map(|found| if let Found::Formatted(file) = found { Some(file) } else { None }).collect();
    let set_id = match formatted.first() {
        Some(file) => {
            check_one_set(config, &drives, &found)?;
            let untouched = found.iter().all(|found| !matches!(found, Found::Absent(_)))
                && formatted.iter().all(|file| file.generation == 0);
            if !untouched {
                return join(config, drives, found, claims);
            }
            file.set_id.clone()
        }
        None if found.iter().any(|found| matches!(found, Found::Absent(reason) if reason != NOT_THERE)) => {
            return Err(Error::DrivesMissing { missing: absent(&drives, &found), parity: config.parity });
        }
        None => SetId(random()).to_string(),
    };
    for (disk, found) in drives.iter().zip(&found) {
        if matches!(found, Found::Absent(_)) {
            disk.make().map_err(Error::drive(&disk.label(), "make the folder"))?;
            claims.push(disk.claim().map_err(Error::drive(&disk.label(), "claim"))?);
        }
    }
    let found = format(config, &drives, found, &set_id, now, &mut random)?;
    join(config, drives, found, claims)
}

const NOT_THERE: &str = "the folder does not exist";

fn look_at(disk: &dyn Disk, claims: &mut Vec<Box<dyn Claim>>) -> Result<Found> {
    match disk.claim() {
        Ok(claim) => claims.push(claim),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Err(Error::InUse { drive: disk.label() }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Found::Absent(NOT_THERE.into())),
        Err(error) => return Ok(Found::Absent(error.to_string())),
    }
    match disk.read_file(DRIVE_FILE) {
        Ok(bytes) => match DriveFile::decode(&bytes) {
            Ok(file) => Ok(Found::Formatted(file)),
            Err(DecodeError::Newer(found)) => {
                Err(Error::NewerFormat { drive: disk.label(), found, supported: DRIVE_FORMAT_VERSION })
            }
            Err(DecodeError::Damaged) => Ok(Found::Absent(format!("{DRIVE_FILE} is damaged"))),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => match disk.list() {
            // segments without an identity are somebody's data: neither empty nor usable
            Ok(names) if names.iter().any(|name| name.starts_with("segment-")) => {
                Ok(Found::Absent(format!("it holds segments but no {DRIVE_FILE}")))
            }
            Ok(_) => Ok(Found::Empty),
            Err(error) => Ok(Found::Absent(error.to_string())),
        },
        Err(error) => Ok(Found::Absent(error.to_string())),
    }
}

fn absent(drives: &[Arc<dyn Disk>], found: &[Found]) -> Vec<String> {
    let reason = |(disk, found): (&Arc<dyn Disk>, &Found)| match found {
        Found::Formatted(_) => None,
        Found::Empty => Some(format!("{}: empty", disk.label())),
        Found::Absent(reason) => Some(format!("{}: {reason}", disk.label())),
    };
    drives.iter().zip(found).filter_map(reason).collect()
}

/// Every formatted drive must be of one set, of the configured shape, and there once.
fn check_one_set(config: &DriveLogConfig, drives: &[Arc<dyn Disk>], found: &[Found]) -> Result<()> {
    let mut seen: Vec<(&DriveFile, &Arc<dyn Disk>)> = Vec::new();
    for (disk, found) in drives.iter().zip(found) {
        let Found::Formatted(file) = found else { continue };
        if let Some((first, _)) = seen.first()
            && first.set_id != file.set_id
        {
            let (found, expected) = (file.set_id.clone(), first.set_id.clone());
            return Err(Error::OtherSet { drive: disk.label(), found, expected });
        }
        if (file.data, file.parity) != (config.data, config.parity) || file.index >= config.lanes() {
            return Err(Error::OtherShape {
                drive: disk.label(),
                configured_data: config.data,
                configured_parity: config.parity,
                data: file.data,
                parity: file.parity,
            });
        }
        if let Some((_, twin)) =
            seen.iter().find(|(other, _)| other.index == file.index || other.drive_id == file.drive_id)
        {
            return Err(Error::DuplicateDrive { first: twin.label(), second: disk.label(), index: file.index });
        }
        seen.push((file, disk));
    }
    Ok(())
}

/// Writes an identity to every drive that has none, each taking the lowest free number.
fn format(
    config: &DriveLogConfig,
    drives: &[Arc<dyn Disk>],
    found: Vec<Found>,
    set_id: &str,
    now: Timestamp,
    random: &mut impl FnMut() -> u128,
) -> Result<Vec<Found>> {
    let taken = |index: usize| found.iter().any(|found| matches!(found, Found::Formatted(file) if file.index == index));
    let mut free: Vec<usize> = (0..config.lanes()).filter(|&index| !taken(index)).rev().collect();
    let mut after = Vec::with_capacity(found.len());
    for (disk, found) in drives.iter().zip(found) {
        if let Found::Formatted(file) = found {
            after.push(Found::Formatted(file));
            continue;
        }
        let file = DriveFile {
            format_version: DRIVE_FORMAT_VERSION,
            set_id: set_id.to_owned(),
            drive_id: format!("{:032x}", random()),
            index: free.pop().expect("as many free numbers as drives without one"),
            data: config.data,
            parity: config.parity,
            created: now,
            generation: 0,
            stale_since: BTreeMap::new(),
        };
        let action = format!("write {DRIVE_FILE}");
        disk.write_file(DRIVE_FILE, &file.encode()).map_err(Error::drive(&disk.label(), action))?;
        after.push(Found::Formatted(file));
    }
    Ok(after)
}

/// Puts every drive in its place; refuses when too many places stay empty.
fn join(
    config: &DriveLogConfig,
    drives: Vec<Arc<dyn Disk>>,
    found: Vec<Found>,
    claims: Vec<Box<dyn Claim>>,
) -> Result<DriveSet> {
    let missing = absent(&drives, &found);
    if missing.len() > config.parity {
        return Err(Error::DrivesMissing { missing, parity: config.parity });
    }
    let mut places: Vec<Option<Place>> = (0..config.lanes()).map(|_| None).collect();
    let mut homeless = Vec::new();
    let (mut set_id, mut created) = (None, None);
    let mut generation = 0;
    let mut stale_since = BTreeMap::new();
    for (position, (disk, found)) in drives.into_iter().zip(found).enumerate() {
        let label = disk.label();
        match found {
            Found::Formatted(file) => {
                if file.index != position {
                    tracing::warn!(
                        drive = label,
                        position,
                        index = file.index,
                        "drive given in another place than it has"
                    );
                }
                let id = u128::from_str_radix(&file.set_id, 16).map_err(|_| Error::OtherSet {
                    drive: label.clone(),
                    found: file.set_id.clone(),
                    expected: "32 hex digits".into(),
                })?;
                set_id = Some(SetId(id));
                created = Some(created.map_or(file.created, |oldest: Timestamp| oldest.min(file.created)));
                // what a drive says that was away itself is old
                if file.generation > generation {
                    stale_since.clear();
                }
                if file.generation >= generation {
                    for (&drive, &segment) in file.stale_since.iter().filter(|(drive, _)| **drive < config.lanes()) {
                        let since: &mut u64 = stale_since.entry(drive).or_insert(segment);
                        *since = segment.min(*since);
                    }
                }
                generation = generation.max(file.generation);
                let index = file.index;
                places[index] = Some(Place { label, disk: Ok(disk), file: Some(file) });
            }
            Found::Empty => homeless.push(Place { label, disk: Err("empty".into()), file: None }),
            Found::Absent(reason) => homeless.push(Place { label, disk: Err(reason), file: None }),
        }
    }
    for place in &homeless {
        if let Err(reason) = &place.disk {
            tracing::warn!(drive = place.label, reason, "drive is missing, the set is degraded");
        }
    }
    let mut homeless = homeless.into_iter();
    let fill = |place: Option<Place>| place.or_else(|| homeless.next());
    let places = places.into_iter().map(fill).map(|place| place.expect("one place for each drive")).collect();
    let id = set_id.expect("fewer missing drives than drives");
    let created = created.expect("fewer missing drives than drives");
    Ok(DriveSet { id, places, generation, created, stale_since, claims })
}

impl Place {
    /// Writes that this drive has seen `generation`, and which drives lack something since when.
    pub(crate) fn mark(&self, generation: u64, stale_since: &BTreeMap<usize, u64>) -> io::Result<()> {
        if let (Ok(disk), Some(file)) = (&self.disk, &self.file) {
            let stale_since = stale_since.clone();
            let format_version = DRIVE_FORMAT_VERSION;
            let now = DriveFile { format_version, generation, stale_since, ..file.clone() };
            disk.write_file(DRIVE_FILE, &now.encode())?;
        }
        Ok(())
    }
}
