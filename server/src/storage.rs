//! The drives of a server: opened set by set, shown and exchanged as what people plug in.
//!
//! ```text
//! storage.drives   d1 ... d6 | d7 ... d12           drive 0 .. 11 for people
//! Standard         set 0     | set 1                DRIVE/                     set 0 holds the rows
//! STANDARD_IA      set 16    | set 17, or one wide  DRIVE/infrequent-access/   its own code, segments, compression
//! ```
//! A drive is in one Standard set and in one of Infrequent Access. For people it is one thing: out when either lost it, exchanged in both.

use crate::config::{Code, StorageConfig};
use crate::instance::Instance;
use anyhow::Context as _;
use async_trait::async_trait;
use cistern_admin::{AbsentSet, Storage, StorageStatus};
use cistern_drives::{
    Compaction, Disk, DriveLog, DriveLogConfig, DriveState, DriveStatus, Error, FoundSet, LocalDisk, LogStatus,
    Membership, PassKind, find_set,
};
use cistern_runtime::{Clock, offload};
use cistern_types::StorageClass;
use futures::future::join_all;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Room left on every drive for deletions and compaction, in segments: rows, a checkpoint of them, and what is moved.
const STANDARD_RESERVE_SEGMENTS: u64 = 3;
/// The same where no rows are.
const INFREQUENT_RESERVE_SEGMENTS: u64 = 2;
/// Where a drive keeps what is read rarely.
const INFREQUENT_FOLDER: &str = "infrequent-access";
/// What a set without the rows gets of the memory for the views: it only knows where blobs lie.
const FURTHER_CACHE_SHARE: u64 = 4;

/// The open sets.
#[derive(Debug, Clone)]
pub(crate) struct Sets {
    /// In the order of their numbers; the first holds the rows.
    standard: Vec<DriveLog>,
    infrequent: Vec<DriveLog>,
    /// By the numbers people know them by.
    plugged: Vec<Plugged>,
    /// Sets of which too many drives are missing.
    absent: Vec<AbsentSet>,
    clock: Arc<dyn Clock>,
}

/// A set as it is to be opened.
struct Planned {
    number: u8,
    code: Code,
    folders: Vec<PathBuf>,
    config: DriveLogConfig,
}

impl Planned {
    fn disks(&self) -> Vec<Arc<dyn Disk>> {
        self.folders.iter().map(|folder| Arc::new(LocalDisk::new(folder)) as Arc<dyn Disk>).collect()
    }

    /// The set its drives say they are; refuses those that contradict one another or the plan. Changes nothing.
    fn find(&self) -> cistern_drives::Result<Option<FoundSet>> {
        let found = find_set(&self.disks())?;
        if let Some(found) = &found {
            let number = found.membership.number();
            if number != self.number {
                return Err(Error::OtherNumber { drive: self.first(), found: number, expected: self.number });
            }
        }
        Ok(found)
    }

    /// The label of its first drive.
    fn first(&self) -> String {
        self.folders.first().map(|folder| folder.display().to_string()).unwrap_or_default()
    }

    async fn open(&self, membership: Membership, clock: &Arc<dyn Clock>) -> cistern_drives::Result<DriveLog> {
        let config = DriveLogConfig { membership, ..self.config.clone() };
        DriveLog::open(config, self.disks(), Arc::clone(clock)).await
    }

    fn context(&self) -> String {
        format!("open the drives of set {} ({})", self.number, self.code)
    }
}

/// What the sets of a class need on each drive for deletions and compaction, whatever else fills it.
fn reserve_bytes(config: &StorageConfig, class: StorageClass) -> u64 {
    match class {
        StorageClass::Standard => STANDARD_RESERVE_SEGMENTS * config.segment_size.as_u64(),
        StorageClass::InfrequentAccess => INFREQUENT_RESERVE_SEGMENTS * config.infrequent_access.segment_size.as_u64(),
    }
}

/// The sets of a class over all drives.
fn plan(config: &StorageConfig, instance: &Instance, class: StorageClass) -> Vec<Planned> {
    use StorageClass::{InfrequentAccess, Standard};
    let infrequent = &config.infrequent_access;
    let (code, segment_size, compaction, neighbour) = match class {
        Standard => (config.code, config.segment_size, Compaction::Usual, InfrequentAccess),
        InfrequentAccess => (infrequent.code, infrequent.segment_size, Compaction::Rare, Standard),
    };
    let folder = |drive: &PathBuf| match class {
        Standard => drive.clone(),
        InfrequentAccess => drive.join(INFREQUENT_FOLDER),
    };
    let planned = |(number, drives): (u8, &[PathBuf])| {
        let share = if number == 0 { 1 } else { FURTHER_CACHE_SHARE };
        let log = DriveLogConfig {
            view: config.view,
            view_cache_bytes: config.view_cache.as_u64() / share,
            accept_loss: config.accept_loss,
            segment_bytes: segment_size.as_u64(),
            free_bytes_reserve: reserve_bytes(config, class),
            neighbours_bytes_reserve: reserve_bytes(config, neighbour),
            compaction,
            ..DriveLogConfig::new(code.data, code.parity, instance.view_path(number))
        };
        Planned { number, code, folders: drives.iter().map(folder).collect(), config: log }
    };
    class.sets().zip(config.drives.chunks(code.drives())).map(planned).collect()
}

impl Sets {
    /// Opens all sets, unless their drives contradict one another, the plan, or what the first set knows of them. Drives that are new become
    /// sets; those of Infrequent Access only while every drive is there, for an absent one could not be told from one that has none. A set
    /// besides the first of which too many drives are missing is left out: what lies in it cannot be read, the rest is served.
    pub(crate) async fn open(
        config: &StorageConfig,
        instance: &mut Instance,
        clock: Arc<dyn Clock>,
    ) -> anyhow::Result<Self> {
        let mut found = Vec::new();
        for class in [StorageClass::Standard, StorageClass::InfrequentAccess] {
            for set in plan(config, instance, class) {
                found.push((set.find().with_context(|| set.context())?, set));
            }
        }
        let (first, planned) = found.remove(0);
        let home = open_home(&planned, first, &found, instance, &clock).await?;
        let mut opening = Opening { known: home.further_sets(), home: &home, clock: &clock, absent: Vec::new() };
        let unplanned = opening.known.keys().find(|known| !found.iter().any(|(_, set)| set.number == **known));
        if let Some(number) = unplanned {
            anyhow::bail!(
                "the store has a set {number}, whose drives are not in storage.drives; name the drives of all its sets, in their order"
            );
        }
        let (standard, infrequent): (Vec<_>, Vec<_>) =
            found.into_iter().partition(|(_, set)| StorageClass::of_set(set.number) == StorageClass::Standard);
        let mut standard = opening.open(standard).await?;
        standard.insert(0, home.clone());
        let (new, there): (Vec<_>, Vec<_>) = infrequent
            .into_iter()
            .partition(|(found, set)| found.is_none() && !opening.known.contains_key(&set.number));
        let mut infrequent = opening.open(there).await?;
        let is_whole = |log: &DriveLog| (0..log.labels().len()).all(|drive| log.is_live(drive));
        if opening.absent.is_empty() && standard.iter().all(is_whole) {
            infrequent.extend(opening.open(new).await?);
        } else if !new.is_empty() {
            tracing::warn!(
                "drives are missing: until a start with all of them, new STANDARD_IA objects lie as STANDARD ones do"
            );
        }
        if config.code.parity == 0 {
            tracing::warn!("no drive may be lost: storage.parity is 0, the data is not protected");
        }
        let absent = opening.absent;
        let plugged = |folder: &PathBuf| Plugged::find(folder.clone(), &standard, &infrequent);
        let plugged = config.drives.iter().map(plugged).collect();
        let sets = Self { standard, infrequent, plugged, absent, clock };
        if sets.status().degraded() {
            tracing::warn!("the storage is degraded: a drive is missing or lacks something, /readyz says which");
        }
        Ok(sets)
    }

    /// The set that holds the rows.
    pub(crate) fn home(&self) -> &DriveLog {
        &self.standard[0]
    }

    /// All sets.
    pub(crate) fn logs(&self) -> impl Iterator<Item = &DriveLog> {
        self.standard.iter().chain(&self.infrequent)
    }

    /// Closes all sets; answers the first error.
    pub(crate) async fn close(&self) -> cistern_drives::Result<()> {
        join_all(self.logs().map(DriveLog::close)).await.into_iter().collect()
    }
}

/// A set as its drives say, and as it is planned.
type Found = (Option<FoundSet>, Planned);

/// Opens the set with the rows. It is made anew only where nothing else says that there was one.
async fn open_home(
    planned: &Planned,
    found: Option<FoundSet>,
    further: &[Found],
    instance: &mut Instance,
    clock: &Arc<dyn Clock>,
) -> anyhow::Result<DriveLog> {
    instance.check_drives(found.as_ref().map(|found| found.id.as_str()))?;
    for (other, set) in further {
        let Some(other) = other else { continue };
        let Some(home) = &found else {
            anyhow::bail!(
                "the drives of set 0, {} and those behind it, are empty or not there, while {} belongs to set {} of a store; \
                 mount them, or give empty drives only",
                planned.first(),
                set.first(),
                set.number
            );
        };
        let expected = Membership::Further { number: set.number, home: home.id.clone() };
        other.membership.check(&expected, &set.first())?;
    }
    let home = planned.open(Membership::Home, clock).await.with_context(|| planned.context())?;
    instance.bind_drives(&home.set_id())?;
    Ok(home)
}

/// What opening further sets needs and finds.
struct Opening<'a> {
    home: &'a DriveLog,
    /// The further sets that the first one knows of, number and id.
    known: BTreeMap<u8, String>,
    clock: &'a Arc<dyn Clock>,
    absent: Vec<AbsentSet>,
}

impl Opening<'_> {
    async fn open(&mut self, planned: Vec<Found>) -> anyhow::Result<Vec<DriveLog>> {
        let mut to_open = Vec::new();
        for (found, set) in planned {
            match (self.known.get(&set.number), found) {
                (Some(known), Some(found)) if *known != found.id => {
                    return Err(Error::OtherSet { drive: set.first(), found: found.id, expected: known.clone() })
                        .with_context(|| set.context());
                }
                (Some(_), None) => self.leave_out(&set, "its drives are empty or not there".into()),
                _ => to_open.push(set),
            }
        }
        let membership = |set: &Planned| Membership::Further { number: set.number, home: self.home.set_id() };
        let opened = join_all(to_open.iter().map(|set| set.open(membership(set), self.clock))).await;
        let mut logs = Vec::new();
        for (set, opened) in to_open.iter().zip(opened) {
            match opened {
                Ok(log) => {
                    if !self.known.contains_key(&set.number) {
                        let (home, number, id) = (self.home.clone(), set.number, log.set_id());
                        offload(move || home.add_further_set(number, id)).await;
                    }
                    logs.push(log);
                }
                Err(error @ Error::DrivesMissing { .. }) => self.leave_out(set, error.to_string()),
                Err(error) => return Err(error).with_context(|| set.context()),
            }
        }
        Ok(logs)
    }

    fn leave_out(&mut self, set: &Planned, reason: String) {
        tracing::error!(set = set.number, reason, "a set is not there: what lies in it cannot be read");
        self.absent.push(AbsentSet { number: set.number, reason });
    }
}

/// Where a drive of people is a drive of a set.
#[derive(Debug, Clone, Copy)]
struct Seat {
    /// Which of the open sets of the class.
    set: usize,
    /// Which drive of it.
    place: usize,
}

/// What people call one drive.
#[derive(Debug, Clone)]
struct Plugged {
    /// Where the configuration says it is.
    folder: PathBuf,
    /// `None` when its set is not open.
    standard: Option<Seat>,
    infrequent: Option<Seat>,
}

impl Plugged {
    /// The drive in a folder. Which drive of a set it is, is settled when the set is opened; later it may be exchanged for one elsewhere.
    fn find(folder: PathBuf, standard: &[DriveLog], infrequent: &[DriveLog]) -> Self {
        let find = |logs: &[DriveLog], folder: &Path| {
            let label = folder.display().to_string();
            let seat = |(set, log): (usize, &DriveLog)| {
                let place = log.labels().iter().position(|found| *found == label)?;
                Some(Seat { set, place })
            };
            logs.iter().enumerate().find_map(seat)
        };
        let (standard, infrequent) = (find(standard, &folder), find(infrequent, &folder.join(INFREQUENT_FOLDER)));
        Self { folder, standard, infrequent }
    }

    fn status(&self, index: usize, standard: &[LogStatus], infrequent: &[LogStatus]) -> DriveStatus {
        let of = |sets: &[LogStatus], seat: Option<Seat>| seat.map(|seat| sets[seat.set].drives[seat.place].clone());
        let (warm, cold) = (of(standard, self.standard), of(infrequent, self.infrequent));
        let Some(warm) = warm else {
            let state = DriveState::Missing { reason: "too few drives of its set are there".into() };
            return DriveStatus {
                index,
                label: self.folder.display().to_string(),
                state,
                free_bytes: None,
                stale: false,
            };
        };
        let Some(cold) = cold else { return DriveStatus { index, ..warm } };
        let state = if warm.state == DriveState::Live { cold.state } else { warm.state };
        DriveStatus { index, label: warm.label, state, free_bytes: warm.free_bytes, stale: warm.stale || cold.stale }
    }
}

#[async_trait]
impl Storage for Sets {
    fn status(&self) -> StorageStatus {
        let standard: Vec<LogStatus> = self.standard.iter().map(DriveLog::status).collect();
        let infrequent: Vec<LogStatus> = self.infrequent.iter().map(DriveLog::status).collect();
        let drive = |(index, drive): (usize, &Plugged)| drive.status(index, &standard, &infrequent);
        let drives = self.plugged.iter().enumerate().map(drive).collect();
        StorageStatus { drives, sets: standard.into_iter().chain(infrequent).collect(), absent: self.absent.clone() }
    }

    fn request_pass(&self, kind: PassKind) {
        self.logs().for_each(|log| log.request_pass(kind));
    }

    async fn replace_drive(&self, drive: usize, folder: &Path) -> Result<Vec<u8>, Error> {
        let refuse = |reason: String| Err(Error::NotReplaceable { drive: folder.display().to_string(), reason });
        let Some(plugged) = self.plugged.get(drive) else {
            return refuse(format!("the drives are 0 to {}", self.plugged.len() - 1));
        };
        let Some(standard) = plugged.standard else {
            return refuse("too few drives of its set are there; start with more of them first".into());
        };
        let warm = &self.standard[standard.set];
        let cold = plugged.infrequent.map(|seat| (&self.infrequent[seat.set], seat.place));
        let below = folder.join(INFREQUENT_FOLDER);
        if let Some((log, place)) = cold {
            // both or none
            let (log, below) = (log.clone(), below.clone());
            offload(move || {
                let disk = below.is_dir().then(|| LocalDisk::new(&below));
                let disk = disk.as_ref().map(|disk| disk as &dyn Disk);
                match log.check_replacement(place, disk) {
                    // ours: whether it lives or is to come back is seen when it takes the place
                    Err(Error::InUse { .. }) => Ok(()),
                    checked => checked,
                }
            })
            .await?;
        }
        let mut taken = Vec::new();
        let kept = self.take_place(warm, standard.place, LocalDisk::new(folder), &mut taken).await?;
        if let Some((log, place)) = cold {
            // an empty drive has no such folder, nor has one that was away since before there was one
            let disk = LocalDisk::new(below);
            let made = offload(move || disk.make().map(|()| disk)).await;
            let disk = made.map_err(|source| {
                let (drive, action) = (folder.display().to_string(), format!("make the folder {INFREQUENT_FOLDER}"));
                Error::Drive { drive, action, source }
            })?;
            self.take_place(log, place, disk, &mut taken).await.inspect_err(|error| {
                tracing::warn!(drive, sets = ?taken, %error, "a drive has taken its place in these sets only");
            })?;
        }
        match kept {
            Some(error) if taken.is_empty() => Err(error),
            _ => Ok(taken),
        }
    }
}

impl Sets {
    /// Has a drive take a place of one set. A drive that has it already keeps it, for it may be the other set that has lost it; what is answered
    /// then is what to say if that was not so either.
    async fn take_place(
        &self,
        log: &DriveLog,
        place: usize,
        disk: LocalDisk,
        taken: &mut Vec<u8>,
    ) -> cistern_drives::Result<Option<Error>> {
        let keeps = log.is_live(place) && log.labels()[place] == disk.label();
        match log.replace_drive(place, Arc::new(disk), self.clock.now()).await {
            Ok(()) => {
                taken.push(log.number());
                Ok(None)
            }
            Err(Error::InUse { drive }) if keeps => {
                let reason = "it is live in this place already; name another one with --with".into();
                Ok(Some(Error::NotReplaceable { drive, reason }))
            }
            Err(error) => Err(error),
        }
    }
}
