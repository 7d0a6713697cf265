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
    Compaction, Disk, DriveLog, DriveLogConfig, DriveState, DriveStatus, LocalDisk, LogStatus, Membership, PassKind,
};
use cistern_runtime::{Clock, offload};
use cistern_types::StorageClass;
use futures::future::join_all;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Room left on every drive for deletions and compaction, in segments.
const RESERVE_SEGMENTS: u64 = 3;
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

    /// The set its drives say they are.
    fn found(&self) -> Option<String> {
        cistern_drives::set_of(&self.disks())
    }

    async fn open(&self, home: Option<&str>, clock: &Arc<dyn Clock>) -> cistern_drives::Result<DriveLog> {
        let membership = Membership { number: self.number, home: home.map(str::to_owned) };
        let config = DriveLogConfig { membership, ..self.config.clone() };
        DriveLog::open(config, self.disks(), Arc::clone(clock)).await
    }

    fn context(&self) -> String {
        format!("open the drives of set {} ({})", self.number, self.code)
    }
}

/// The sets of a class over all drives.
fn plan(config: &StorageConfig, instance: &Instance, class: StorageClass) -> Vec<Planned> {
    let infrequent = &config.infrequent_access;
    let (code, segment_size, compaction) = match class {
        StorageClass::Standard => (config.code, config.segment_size, Compaction::Usual),
        StorageClass::InfrequentAccess => (infrequent.code, infrequent.segment_size, Compaction::Rare),
    };
    let folder = |drive: &PathBuf| match class {
        StorageClass::Standard => drive.clone(),
        StorageClass::InfrequentAccess => drive.join(INFREQUENT_FOLDER),
    };
    let planned = |(number, drives): (u8, &[PathBuf])| {
        let share = if number == 0 { 1 } else { FURTHER_CACHE_SHARE };
        let log = DriveLogConfig {
            view: config.view,
            view_cache_bytes: config.view_cache.as_u64() / share,
            accept_loss: config.accept_loss,
            segment_bytes: segment_size.as_u64(),
            free_bytes_reserve: RESERVE_SEGMENTS * segment_size.as_u64(),
            compaction,
            ..DriveLogConfig::new(code.data, code.parity, instance.view_path(number))
        };
        Planned { number, code, folders: drives.iter().map(folder).collect(), config: log }
    };
    class.sets().zip(config.drives.chunks(code.drives())).map(planned).collect()
}

impl Sets {
    /// Opens all sets, unless the data directory belongs to others. Drives that are new become sets; those of Infrequent Access only while
    /// every drive is there, for an absent one could not be told from one that has none. A set besides the first of which too many drives are
    /// missing is left out: what lies in it cannot be read, the rest is served.
    pub(crate) async fn open(
        config: &StorageConfig,
        instance: &mut Instance,
        clock: Arc<dyn Clock>,
    ) -> anyhow::Result<Self> {
        let mut standard = plan(config, instance, StorageClass::Standard);
        let infrequent = plan(config, instance, StorageClass::InfrequentAccess);
        for set in standard.iter().chain(&infrequent) {
            instance.check_drives(set.number, set.found().as_deref())?;
        }
        let first = standard.remove(0);
        let home = first.open(None, &clock).await.with_context(|| first.context())?;
        let id = bind(&first, instance)?;
        let mut opening = Opening { home: id, clock: Arc::clone(&clock), instance, absent: Vec::new() };
        let mut logs = vec![home];
        logs.extend(opening.open(standard).await?);
        let (formatted, new): (Vec<_>, Vec<_>) = infrequent.into_iter().partition(|set| set.found().is_some());
        let mut infrequent = opening.open(formatted).await?;
        let is_whole = |log: &DriveLog| log.status().drives.iter().all(|drive| drive.state == DriveState::Live);
        if opening.absent.is_empty() && logs.iter().all(is_whole) {
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
        let plugged = |folder: &PathBuf| Plugged::find(folder.clone(), &logs, &infrequent);
        let plugged = config.drives.iter().map(plugged).collect();
        let sets = Self { plugged, standard: logs, infrequent, absent, clock };
        if sets.status().degraded() {
            tracing::warn!("the storage is degraded: a drive is missing, /readyz says which");
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

/// Notes in the data directory which set the drives of an opened one are; its id.
fn bind(set: &Planned, instance: &mut Instance) -> anyhow::Result<String> {
    let id = set.found().context("the drives have just been opened, yet none says its set")?;
    instance.bind_drives(set.number, &id)?;
    Ok(id)
}

/// What opening further sets needs and finds.
struct Opening<'a> {
    home: String,
    clock: Arc<dyn Clock>,
    instance: &'a mut Instance,
    absent: Vec<AbsentSet>,
}

impl Opening<'_> {
    async fn open(&mut self, planned: Vec<Planned>) -> anyhow::Result<Vec<DriveLog>> {
        let opened = join_all(planned.iter().map(|set| set.open(Some(&self.home), &self.clock))).await;
        let mut logs = Vec::new();
        for (set, opened) in planned.iter().zip(opened) {
            match opened {
                Ok(log) => {
                    bind(set, self.instance)?;
                    logs.push(log);
                }
                Err(error @ cistern_drives::Error::DrivesMissing { .. }) => {
                    tracing::error!(set = set.number, %error, "a set is not there: what lies in it cannot be read");
                    self.absent.push(AbsentSet { number: set.number, reason: error.to_string() });
                }
                Err(error) => return Err(error).with_context(|| set.context()),
            }
        }
        Ok(logs)
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

    async fn replace_drive(&self, drive: usize, folder: &Path) -> Result<Vec<u8>, cistern_drives::Error> {
        let refuse =
            |reason: String| Err(cistern_drives::Error::NotReplaceable { drive: folder.display().to_string(), reason });
        let Some(plugged) = self.plugged.get(drive) else {
            return refuse(format!("the drives are 0 to {}", self.plugged.len() - 1));
        };
        let Some(standard) = plugged.standard else {
            return refuse("too few drives of its set are there; start with more of them first".into());
        };
        let mut taken = Vec::new();
        let warm = &self.standard[standard.set];
        let kept = self.take_place(warm, standard.place, LocalDisk::new(folder), &mut taken).await?;
        if let Some(seat) = plugged.infrequent {
            let disk = LocalDisk::new(folder.join(INFREQUENT_FOLDER));
            // an empty drive has no such folder, nor has one that was away since before there was one
            let made = offload(move || disk.make().map(|()| disk)).await;
            let disk = made.map_err(|source| {
                let (drive, action) = (folder.display().to_string(), format!("make the folder {INFREQUENT_FOLDER}"));
                cistern_drives::Error::Drive { drive, action, source }
            })?;
            self.take_place(&self.infrequent[seat.set], seat.place, disk, &mut taken).await?;
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
    ) -> cistern_drives::Result<Option<cistern_drives::Error>> {
        let keeps = log.labels()[place] == disk.label();
        match log.replace_drive(place, Arc::new(disk), self.clock.now()).await {
            Ok(()) => {
                taken.push(log.number());
                Ok(None)
            }
            Err(error @ cistern_drives::Error::InUse { .. }) if keeps => Ok(Some(error)),
            Err(error) => Err(error),
        }
    }
}
