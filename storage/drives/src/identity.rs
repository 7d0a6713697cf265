//! Who a drive is: `drive.json` in its folder, and the rules by which drives make a set.
//!
//! Drives are known by what they say, never by the order they are given in. Nothing is ever formatted beside a formatted
//! drive, except to finish a first format that was cut off before anything was written. The last field of the file is a
//! checksum of the text before it, so that a flipped bit makes a drive missing instead of another drive.

use crate::LANES_MAX;
use crate::config::{DriveLogConfig, Membership};
use crate::disk::{Claim, Disk};
use crate::error::{Error, Result};
use crate::frame::{crc64, is_countable};
use cistern_types::{BlobId, Timestamp};
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
    /// Which set of the store this is; 0 is the one with the rows.
    #[serde(default, skip_serializing_if = "is_zero")]
    set_number: u8,
    /// The id of the store's set 0, in the others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    home_set: Option<String>,
    /// The highest run that began segments on this drive; 0 before the first.
    generation: u64,
    /// The random names of the last runs that began segments.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    runs: Runs,
    /// Drives that were away when others were written.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    stale_since: BTreeMap<usize, u64>,
    /// How often each drive was away.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    absences: BTreeMap<usize, u64>,
    /// Which drives have taken a place later.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    members: BTreeMap<usize, Member>,
    /// In set 0: the other sets of the store.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    further_sets: BTreeMap<u8, String>,
}

/// Random names of runs, by their numbers. Two copies of a store that were both used have numbers in common and the names not.
type Runs = BTreeMap<u64, String>;

/// So many runs are known by name.
const RUNS_NAMED_MAX: usize = 32;

/// A drive of such a copy, for people.
const USED_APART: &str = "it is of a copy of this store that was used apart from the others";

/// Whether two drives can be of one store: a run that both name has one name.
fn are_of_one_history(one: &Runs, other: &Runs) -> bool {
    one.iter().all(|(number, name)| other.get(number).is_none_or(|known| known == name))
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "as serde calls it")]
fn is_zero(number: &u8) -> bool {
    *number == 0
}

/// The drive that has a place now: any other that says it has it is an old one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Member {
    pub(crate) drive_id: String,
    /// How often the place had been without its drive when this one took it.
    pub(crate) absences: u64,
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
        let file: Self = serde_json::from_str(text).map_err(|_| DecodeError::Damaged)?;
        file.is_sound().then_some(file).ok_or(DecodeError::Damaged)
    }

    fn said(&self) -> Said<'_> {
        let stale_since = self.stale_since.get(&self.index).copied();
        Said { drive_id: &self.drive_id, generation: self.generation, stale_since }
    }

    fn membership(&self) -> Membership {
        match &self.home_set {
            None => Membership::Home,
            Some(home) => Membership::Further { number: self.set_number, home: home.clone() },
        }
    }

    fn is_sound(&self) -> bool {
        let numbers = self.stale_since.values().chain(self.absences.values()).chain([&self.generation]);
        let membership = (self.set_number == 0) == self.home_set.is_none() && self.set_number < BlobId::SETS;
        let shape = membership && self.data > 0 && self.data <= LANES_MAX && self.parity <= LANES_MAX;
        shape && numbers.copied().all(is_countable)
    }
}

/// For fuzzing: what is taken for an identity is written again as the same one.
#[cfg(any(test, feature = "testing"))]
pub(crate) fn check_drive_file(bytes: &[u8]) {
    let read = |text: &[u8]| serde_json::from_slice::<DriveFile>(text).ok();
    assert!(DriveFile::decode(bytes).is_ok() <= read(bytes).is_some());
    // its checksum keeps nearly all others away
    let fits = |file: &DriveFile| file.format_version <= DRIVE_FORMAT_VERSION && file.is_sound();
    if let Some(file) = read(bytes).filter(fits) {
        assert_eq!(DriveFile::decode(&file.encode()), Ok(file));
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
    /// The drive is ours as long as this lives.
    pub(crate) claim: Option<Arc<dyn Claim>>,
}

/// What every live drive says about the set, in its identity.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Marks {
    /// The highest run that began segments.
    pub(crate) generation: u64,
    /// The names of the last of them.
    runs: Runs,
    /// Of each drive that may lack what the others hold: the first segment of which it may.
    pub(crate) stale_since: BTreeMap<usize, u64>,
    /// How often each drive was away: what was begun before may not have reached it.
    pub(crate) absences: BTreeMap<usize, u64>,
    /// Drives that have taken a place of another.
    pub(crate) members: BTreeMap<usize, Member>,
    /// In set 0: the other sets of the store.
    pub(crate) further_sets: BTreeMap<u8, String>,
}

/// The drives of a set in the order of their numbers.
#[derive(Debug)]
pub(crate) struct DriveSet {
    pub(crate) id: SetId,
    pub(crate) places: Vec<Place>,
    pub(crate) marks: Marks,
    /// When the oldest of them was formatted.
    pub(crate) created: Timestamp,
}

enum Found {
    Formatted(Box<DriveFile>),
    Empty,
    /// Not there, or not readable: why.
    Absent(String),
}

impl Found {
    fn file(&self) -> Option<&DriveFile> {
        if let Self::Formatted(file) = self { Some(file) } else { None }
    }
}

/// A set as its drives say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundSet {
    /// Its name.
    pub id: String,
    /// Which of the sets of its store it is.
    pub membership: Membership,
}

/// The set that the formatted drives among these say they belong to; `None` when none of them is formatted. [`Error::OtherSet`] when they say
/// different ones. Changes nothing and claims nothing, so that a caller can refuse drives before it opens them.
pub fn find_set(drives: &[Arc<dyn Disk>]) -> Result<Option<FoundSet>> {
    let mut set: Option<FoundSet> = None;
    for disk in drives {
        let Some(file) = disk.read_file(DRIVE_FILE).ok().and_then(|bytes| DriveFile::decode(&bytes).ok()) else {
            continue;
        };
        match &set {
            Some(set) if set.id != file.set_id => {
                return Err(Error::OtherSet { drive: disk.label(), found: file.set_id, expected: set.id.clone() });
            }
            _ => set = Some(FoundSet { membership: file.membership(), id: file.set_id }),
        }
    }
    Ok(set)
}

impl Membership {
    /// Refuses what drives say when it is not what is `expected` of them; `drive` is the label of one.
    pub fn check(&self, expected: &Self, drive: &str) -> Result<()> {
        let drive = drive.to_owned();
        if self.number() != expected.number() {
            return Err(Error::OtherNumber { drive, found: self.number(), expected: expected.number() });
        }
        match (self.home(), expected.home()) {
            (Some(found), Some(expected)) if found != expected => {
                Err(Error::OtherStore { drive, found: found.to_owned(), expected: expected.to_owned() })
            }
            _ => Ok(()),
        }
    }
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
        let (claim, what) = look_at(disk.as_ref())?;
        found.push(what);
        claims.push(claim);
    }
    check_one_set(config, &drives, &found)?;
    set_apart(config, &drives, &mut found)?;
    let formatted: Vec<&DriveFile> = found.iter().filter_map(Found::file).collect();
    let set_id = match formatted.first() {
        Some(file) => {
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
    for ((disk, found), claim) in drives.iter().zip(&found).zip(&mut claims) {
        if matches!(found, Found::Absent(_)) {
            disk.make().map_err(Error::drive(&disk.label(), "make the folder"))?;
            *claim = Some(Arc::from(disk.claim().map_err(Error::drive(&disk.label(), "claim"))?));
        }
    }
    let found = format(config, &drives, found, &set_id, now, &mut random)?;
    join(config, drives, found, claims)
}

const NOT_THERE: &str = "the folder does not exist";
/// What a file system puts into its own root.
const LOST_AND_FOUND: &str = "lost+found";
/// So many names are told of what lies in a folder.
const NAMES_SHOWN_MAX: usize = 3;

/// Claims a drive, if it is there, and reads who it is. A folder that holds what is somebody else's is left as it is.
fn look_at(disk: &dyn Disk) -> Result<(Option<Arc<dyn Claim>>, Found)> {
    if let Some(reason) = content_of_others(disk) {
        return Ok((None, Found::Absent(reason)));
    }
    let claim = match disk.claim() {
        Ok(claim) => Arc::from(claim),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Err(Error::InUse { drive: disk.label() }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok((None, Found::Absent(NOT_THERE.into()))),
        Err(error) => return Ok((None, Found::Absent(error.to_string()))),
    };
    Ok((Some(claim), read_identity(disk)?))
}

fn read_identity(disk: &dyn Disk) -> Result<Found> {
    let absent = |reason: String| Ok(Found::Absent(reason));
    match disk.read_file(DRIVE_FILE) {
        Ok(bytes) => match DriveFile::decode(&bytes) {
            Ok(file) => Ok(Found::Formatted(Box::new(file))),
            Err(DecodeError::Newer(found)) => {
                Err(Error::NewerFormat { drive: disk.label(), found, supported: DRIVE_FORMAT_VERSION })
            }
            Err(DecodeError::Damaged) => absent(format!("{DRIVE_FILE} is damaged")),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Found::Empty),
        Err(error) => absent(error.to_string()),
    }
}

/// What is in a folder that is no drive and not empty, for people: neither to be written to nor of use.
fn content_of_others(disk: &dyn Disk) -> Option<String> {
    let mut names = disk.list().ok()?;
    names.retain(|name| name != LOST_AND_FOUND);
    if names.is_empty() || names.iter().any(|name| name == DRIVE_FILE) {
        return None;
    }
    let more = if names.len() > NAMES_SHOWN_MAX { ", ..." } else { "" };
    names.truncate(NAMES_SHOWN_MAX);
    Some(format!("the folder holds {}{more} but no {DRIVE_FILE}", names.join(", ")))
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
        file.membership().check(&config.membership, &disk.label())?;
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

/// Drives of a copy of the store that was used by itself count as missing beside those that are a store without them. When these are not enough,
/// or those too, nobody but a person knows which are right.
fn set_apart(config: &DriveLogConfig, drives: &[Arc<dyn Disk>], found: &mut [Found]) -> Result<()> {
    let files = || found.iter().filter_map(Found::file);
    let all = files().count();
    let with = |one: &DriveFile| files().filter(|other| are_of_one_history(&one.runs, &other.runs)).count();
    // one that fits all others, because it knows no run, says nothing about them
    let ours = files().filter(|file| with(file) < all).max_by_key(|file| (with(file), file.generation));
    let Some(ours) = ours.map(|file| file.runs.clone()) else { return Ok(()) };
    let is_apart = |found: &Found| found.file().is_some_and(|file| !are_of_one_history(&ours, &file.runs));
    let apart: Vec<usize> = (0..found.len()).filter(|&position| is_apart(&found[position])).collect();
    if all - apart.len() < config.data || apart.len() >= config.data {
        let label = |position: &usize| drives[*position].label();
        return Err(Error::UsedApart { apart: apart.iter().map(label).collect() });
    }
    for position in apart {
        found[position] = Found::Absent(USED_APART.into());
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
        let fresh = FreshDrive {
            set_id: set_id.to_owned(),
            drive_id: new_name(random()),
            index: free.pop().expect("as many free numbers as drives without one"),
            data: config.data,
            parity: config.parity,
            membership: config.membership.clone(),
            now,
        };
        let file = fresh.into_file();
        let action = format!("write {DRIVE_FILE}");
        disk.write_file(DRIVE_FILE, &file.encode()).map_err(Error::drive(&disk.label(), action))?;
        after.push(Found::Formatted(Box::new(file)));
    }
    Ok(after)
}

/// Puts every drive in its place; refuses when too many places stay empty.
fn join(
    config: &DriveLogConfig,
    drives: Vec<Arc<dyn Disk>>,
    found: Vec<Found>,
    claims: Vec<Option<Arc<dyn Claim>>>,
) -> Result<DriveSet> {
    let missing = absent(&drives, &found);
    if missing.len() > config.parity {
        return Err(Error::DrivesMissing { missing, parity: config.parity });
    }
    let mut places: Vec<Option<Place>> = (0..config.lanes()).map(|_| None).collect();
    let mut homeless = Vec::new();
    let (mut set_id, mut created) = (None, None);
    let mut marks = Marks::default();
    for (position, ((disk, found), claim)) in drives.into_iter().zip(found).zip(claims).enumerate() {
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
                marks.add(&file);
                let index = file.index;
                places[index] = Some(Place { label, disk: Ok(disk), file: Some(*file), claim });
            }
            Found::Empty => homeless.push(Place { label, disk: Err("empty".into()), file: None, claim }),
            Found::Absent(reason) => homeless.push(Place { label, disk: Err(reason), file: None, claim }),
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
    Ok(DriveSet { id, places, marks, created })
}

impl Marks {
    /// With what one more drive says. What a drive says that was away itself is old.
    fn add(&mut self, file: &DriveFile) {
        if file.generation > self.generation {
            self.stale_since.clear();
        }
        let known = |drive: &usize| *drive < file.data + file.parity;
        if file.generation >= self.generation {
            for (&drive, &segment) in file.stale_since.iter().filter(|(drive, _)| known(drive)) {
                let since = self.stale_since.entry(drive).or_insert(segment);
                *since = segment.min(*since);
            }
        }
        for (&drive, &times) in file.absences.iter().filter(|(drive, _)| known(drive)) {
            let most = self.absences.entry(drive).or_default();
            *most = times.max(*most);
        }
        for (&drive, member) in file.members.iter().filter(|(drive, _)| known(drive)) {
            let latest = self.members.entry(drive).or_insert_with(|| member.clone());
            if member.absences > latest.absences {
                *latest = member.clone();
            }
        }
        self.further_sets.extend(file.further_sets.clone());
        self.runs.extend(file.runs.clone());
        self.generation = self.generation.max(file.generation);
    }

    /// Notes how a run is called.
    pub(crate) fn name_run(&mut self, generation: u64, name: String) {
        self.runs.insert(generation, name);
        while self.runs.len() > RUNS_NAMED_MAX {
            self.runs.pop_first();
        }
    }

    /// Refuses a drive of a copy of the store that was used by itself.
    pub(crate) fn check_history(&self, label: &str, identity: &Identity) -> Result<()> {
        if are_of_one_history(&self.runs, &identity.0.runs) {
            return Ok(());
        }
        let reason = format!("{USED_APART}; empty it first, or give another one");
        Err(Error::NotReplaceable { drive: label.to_owned(), reason })
    }

    /// Notes that a drive is away once more.
    pub(crate) fn count_absence(&mut self, drive: usize) {
        *self.absences.entry(drive).or_default() += 1;
    }

    /// Notes that a drive has a place from now on.
    pub(crate) fn set_member(&mut self, drive: usize, drive_id: String) {
        let absences = self.absences.get(&drive).copied().unwrap_or_default();
        self.members.insert(drive, Member { drive_id, absences });
    }

    /// Whether another drive has had the place since this one had it.
    pub(crate) fn was_exchanged(&self, drive: usize, drive_id: &str) -> bool {
        self.members.get(&drive).is_some_and(|member| member.drive_id != drive_id)
    }
}

/// What a drive says of itself.
#[derive(Debug)]
pub(crate) struct Identity(Box<DriveFile>);

impl Identity {
    pub(crate) fn said(&self) -> Said<'_> {
        self.0.said()
    }
}

/// The part of an identity that tells how old a drive is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Said<'a> {
    pub(crate) drive_id: &'a str,
    /// The run that it has seen begin segments last.
    pub(crate) generation: u64,
    /// Since when it knew itself to be stale.
    pub(crate) stale_since: Option<u64>,
}

/// A drive that takes a place of an open set.
#[derive(Debug)]
pub(crate) enum Newcomer {
    /// It holds nothing yet.
    Empty(Arc<dyn Claim>),
    /// The drive that had the place before.
    Returned(Arc<dyn Claim>, Identity),
}

/// Claims a drive that shall take place `index`, and makes out whether it may: changes nothing of what it holds.
pub(crate) fn newcomer(disk: &dyn Disk, index: usize, set: SetId) -> Result<Newcomer> {
    let refuse = |reason: String| Err(Error::NotReplaceable { drive: disk.label(), reason });
    match look_at(disk)? {
        (Some(claim), Found::Empty) => Ok(Newcomer::Empty(claim)),
        (Some(claim), Found::Formatted(file)) if file.set_id == set.to_string() && file.index == index => {
            Ok(Newcomer::Returned(claim, Identity(file)))
        }
        (_, Found::Formatted(file)) if file.set_id == set.to_string() => {
            refuse(format!("it is drive {} of this set; give an empty one", file.index))
        }
        (_, Found::Formatted(file)) => {
            refuse(format!("it belongs to the set {}; empty it first, or give another one", file.set_id))
        }
        (_, Found::Absent(reason)) if reason == NOT_THERE => {
            refuse(format!("{NOT_THERE}; mount the new drive there, or make the folder"))
        }
        (_, Found::Absent(reason)) => refuse(format!("{reason}; give an empty one")),
        (None, Found::Empty) => refuse("it cannot be claimed".into()),
    }
}

impl Place {
    /// The place of a newcomer, which says from now on who it is.
    pub(crate) fn take(disk: Arc<dyn Disk>, newcomer: Newcomer, fresh: FreshDrive, marks: &Marks) -> Result<Self> {
        let (claim, file) = match newcomer {
            Newcomer::Returned(claim, Identity(file)) => (claim, *file),
            Newcomer::Empty(claim) => (claim, fresh.into_file()),
        };
        let label = disk.label();
        let place = Self { label, disk: Ok(disk), file: Some(file), claim: Some(claim) };
        if let Some((disk, bytes)) = place.marked(marks) {
            disk.write_file(DRIVE_FILE, &bytes).map_err(Error::drive(&place.label, format!("write {DRIVE_FILE}")))?;
        }
        Ok(place)
    }

    /// What the drive said when it was looked at.
    pub(crate) fn said(&self) -> Option<Said<'_>> {
        self.file.as_ref().map(DriveFile::said)
    }

    /// The drive and its identity with what is known of the set.
    pub(crate) fn marked(&self, marks: &Marks) -> Option<(Arc<dyn Disk>, Vec<u8>)> {
        let (Ok(disk), Some(file)) = (&self.disk, &self.file) else { return None };
        let Marks { generation, runs, stale_since, absences, members, further_sets } = marks.clone();
        let format_version = DRIVE_FORMAT_VERSION;
        let file = file.clone();
        let now = DriveFile { format_version, generation, runs, stale_since, absences, members, further_sets, ..file };
        Some((Arc::clone(disk), now.encode()))
    }
}

/// A random name, of a drive or a run.
pub(crate) fn new_name(random: u128) -> String {
    format!("{random:032x}")
}

/// Who an empty drive becomes.
#[derive(Debug)]
pub(crate) struct FreshDrive {
    pub(crate) set_id: String,
    pub(crate) drive_id: String,
    pub(crate) index: usize,
    pub(crate) data: usize,
    pub(crate) parity: usize,
    pub(crate) membership: Membership,
    pub(crate) now: Timestamp,
}

impl FreshDrive {
    fn into_file(self) -> DriveFile {
        DriveFile {
            format_version: DRIVE_FORMAT_VERSION,
            set_id: self.set_id,
            drive_id: self.drive_id,
            index: self.index,
            data: self.data,
            parity: self.parity,
            created: self.now,
            set_number: self.membership.number(),
            home_set: self.membership.home().map(str::to_owned),
            further_sets: BTreeMap::new(),
            generation: 0,
            runs: Runs::new(),
            stale_since: BTreeMap::new(),
            absences: BTreeMap::new(),
            members: BTreeMap::new(),
        }
    }
}
