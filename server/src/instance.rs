//! The data directory: made on the first start, locked while a server runs, refused when it is of another time or place.
//!
//! ```text
//! DATA_DIR/            mode 0700
//!   instance.toml      format version, instance id, and the set of drives with the rows once there is one
//!   lock               held exclusively while a server runs; holds its process id
//!   credentials.toml   see cistern-access
//!   master-keys.toml   what the keys of encrypted objects are wrapped with, see cistern-objects
//!   endpoints.json     where the listeners are, from ready to a clean stop
//!   view/ view-1/ ...  the rebuildable indexes, one for each set of drives
//!   drives/d1 ...      the default drives
//! ```

use cistern_objects::MasterKeys;
use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{ErrorKind, Read as _, Seek as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// The version of the data directory's layout that this program writes and reads.
const FORMAT_VERSION: u32 = 5;

const INSTANCE_FILE: &str = "instance.toml";
const LOCK_FILE: &str = "lock";
const ENDPOINTS_FILE: &str = "endpoints.json";
const MASTER_KEYS_FILE: &str = "master-keys.toml";

const MASTER_KEYS_HEADER: &str = "\
# Master keys of this Cistern, made on its first start. Keep this file to yourself (mode 0600), and keep a copy: without it
# no object that was encrypted with keys of the store can be read again.
";
/// How much of the file of master keys is read at most; a longer one is refused for what is then missing.
const MASTER_KEYS_BYTES_MAX: usize = 64 << 10;
/// Permission bits that let anyone but the owner at a file.
const MODE_OTHERS: u32 = 0o077;

/// Why a data directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// Another server uses it.
    #[error("the data directory {} is already used by {holder}; stop that server, or set another data_dir", path.display())]
    InUse {
        /// The directory.
        path: PathBuf,
        /// Who uses it.
        holder: String,
    },
    /// A version before the first release wrote it.
    #[error(
        "the data directory {} has format version {found}, which only versions before 0.1.0 wrote and this program does not \
         read; copy its objects over with the program that wrote it, or begin with an empty data directory",
        path.display()
    )]
    OlderFormat {
        /// The directory.
        path: PathBuf,
        /// The version found.
        found: u32,
    },
    /// A newer version wrote it.
    #[error(
        "the data directory {} has format version {found}, this program reads up to {FORMAT_VERSION}; use a newer program",
        path.display()
    )]
    NewerFormat {
        /// The directory.
        path: PathBuf,
        /// The version found.
        found: u32,
    },
    /// It is of another installation than the drives.
    #[error(
        "the data directory {} belongs to the drives of set {expected}, the configured drives are of set {found}; \
         set data_dir and storage.drives of one installation",
        path.display()
    )]
    OtherDrives {
        /// The directory.
        path: PathBuf,
        /// The set it belongs to.
        expected: String,
        /// The set of the drives.
        found: String,
    },
    /// Its drives are gone.
    #[error(
        "the data directory {} belongs to the drives of set {expected}, but the configured drives are empty or not there; \
         mount them, or set data_dir and storage.drives of one installation",
        path.display()
    )]
    DrivesGone {
        /// The directory.
        path: PathBuf,
        /// The set it belongs to.
        expected: String,
    },
    /// Its description cannot be understood.
    #[error("understand {}: {}", path.display(), reason.replace('\n', " "))]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// Others may read the master keys.
    #[error("the master keys in {} may be read by others (mode {mode:03o}); say chmod 600 {}", path.display(), path.display())]
    MasterKeysReadable {
        /// The file.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// The master keys cannot be understood.
    #[error("understand the master keys in {}; put the file back from your copy", path.display())]
    MasterKeys {
        /// The file.
        path: PathBuf,
        /// What is wrong with it, without a key.
        source: cistern_objects::KeyError,
    },
    /// The system refused.
    #[error("{action} {}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// With which path.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
}

type Result<T, E = Error> = std::result::Result<T, E>;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct InstanceFile {
    format_version: u32,
    instance_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    drive_set: Option<String>,
}

/// A data directory that this process holds. Dropping it lets go.
#[derive(Debug)]
pub(crate) struct Instance {
    path: PathBuf,
    file: InstanceFile,
    /// Locked for as long as it is open.
    _lock: File,
}

impl Instance {
    /// Takes the data directory at `path`, making it when there is none.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let made = DirBuilder::new().recursive(true).mode(0o700).create(path);
        made.map_err(|source| Error::Io { action: "make the data directory", path: path.into(), source })?;
        let lock = take_lock(path)?;
        let described = path.join(INSTANCE_FILE);
        let file = match std::fs::read_to_string(&described) {
            Ok(text) => parse(path, &described, &text)?,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                let instance_id = hex::encode(rand::random::<[u8; 16]>());
                let file = InstanceFile { format_version: FORMAT_VERSION, instance_id, drive_set: None };
                save(&described, &file)?;
                file
            }
            Err(source) => return Err(Error::Io { action: "read", path: described, source }),
        };
        Ok(Self { path: path.into(), file, _lock: lock })
    }

    /// Its random id.
    pub(crate) fn id(&self) -> &str {
        &self.file.instance_id
    }

    /// Where the credentials lie.
    pub(crate) fn credentials_path(&self) -> PathBuf {
        self.path.join("credentials.toml")
    }

    /// Where the master keys lie.
    pub(crate) fn master_keys_path(&self) -> PathBuf {
        self.path.join(MASTER_KEYS_FILE)
    }

    /// The master keys; `None` when there is no file of them. A link to nowhere is an error: what it should lead to is only away.
    pub(crate) fn master_keys(&self) -> Result<Option<MasterKeys>> {
        let path = self.master_keys_path();
        match File::open(&path) {
            Ok(file) => read_master_keys(path, file).map(Some),
            Err(error) if error.kind() == ErrorKind::NotFound && path.symlink_metadata().is_err() => Ok(None),
            Err(source) => Err(Error::Io { action: "read", path, source }),
        }
    }

    /// Writes the master keys of a store that has used none. A crash leaves the whole file, or none.
    pub(crate) fn save_master_keys(&self, made: &MasterKeys) -> Result<()> {
        let path = self.master_keys_path();
        let keys = made.to_text();
        // grown once, so that no copy is left behind
        let mut text = Zeroizing::new(String::with_capacity(MASTER_KEYS_HEADER.len() + keys.len()));
        text.push_str(MASTER_KEYS_HEADER);
        text.push_str(&keys);
        write_whole(&path, text.as_bytes())?;
        tracing::info!("master keys for encryption at rest were made: keep a copy of {}", path.display());
        Ok(())
    }

    /// Where the view of a set lies.
    pub(crate) fn view_path(&self, set: u8) -> PathBuf {
        self.path.join(if set == 0 { "view".to_owned() } else { format!("view-{set}") })
    }

    /// Refuses drives of another set than the one this directory has worked with, `found` being what those with the rows say now.
    ///
    /// Without this, drives that were not mounted would be taken for new ones.
    pub(crate) fn check_drives(&self, found: Option<&str>) -> Result<()> {
        let path = || self.path.clone();
        match (&self.file.drive_set, found) {
            (Some(expected), Some(found)) if expected != found => {
                Err(Error::OtherDrives { path: path(), expected: expected.clone(), found: found.into() })
            }
            (Some(expected), None) => Err(Error::DrivesGone { path: path(), expected: expected.clone() }),
            _ => Ok(()),
        }
    }

    /// Remembers the set with the rows, from now on the only one this directory works with.
    pub(crate) fn bind_drives(&mut self, set: &str) -> Result<()> {
        self.check_drives(Some(set))?;
        if self.file.drive_set.is_none() {
            self.file.drive_set = Some(set.into());
            save(&self.path.join(INSTANCE_FILE), &self.file)?;
        }
        Ok(())
    }

    /// Publishes where the listeners are.
    pub(crate) fn publish_endpoints(&self, endpoints: &serde_json::Value) -> Result<()> {
        write_whole(&self.path.join(ENDPOINTS_FILE), format!("{endpoints}\n").as_bytes())
    }

    /// Takes the endpoints back; also those an earlier process left when it was killed.
    pub(crate) fn withdraw_endpoints(&self) -> Result<()> {
        let path = self.path.join(ENDPOINTS_FILE);
        match std::fs::remove_file(&path) {
            Err(source) if source.kind() != ErrorKind::NotFound => Err(Error::Io { action: "remove", path, source }),
            _ => Ok(()),
        }
    }
}

fn take_lock(folder: &Path) -> Result<File> {
    let path = folder.join(LOCK_FILE);
    let io = |action| {
        let path = path.clone();
        move |source| Error::Io { action, path, source }
    };
    let opened = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(&path);
    let mut lock = opened.map_err(io("open"))?;
    if let Err(error) = flock(&lock, FlockOperation::NonBlockingLockExclusive) {
        if error != rustix::io::Errno::WOULDBLOCK {
            return Err(io("lock")(error.into()));
        }
        let mut pid = String::new();
        let known = lock.read_to_string(&mut pid).is_ok() && !pid.trim().is_empty();
        let holder = if known { format!("process {}", pid.trim()) } else { "another process".into() };
        return Err(Error::InUse { path: folder.into(), holder });
    }
    let written = lock
        .set_len(0)
        .and_then(|()| lock.rewind())
        .and_then(|()| lock.write_all(format!("{}\n", std::process::id()).as_bytes()));
    written.map_err(io("write"))?;
    Ok(lock)
}

fn read_master_keys(path: PathBuf, file: File) -> Result<MasterKeys> {
    let read = |file: File| -> std::io::Result<(u32, Zeroizing<String>)> {
        let metadata = file.metadata()?;
        let length = usize::try_from(metadata.len()).unwrap_or(0).min(MASTER_KEYS_BYTES_MAX);
        let mut text = Zeroizing::new(String::with_capacity(length + 1));
        file.take(MASTER_KEYS_BYTES_MAX as u64).read_to_string(&mut text)?;
        Ok((metadata.permissions().mode() & 0o7777, text))
    };
    match read(file) {
        Ok((mode, _)) if mode & MODE_OTHERS != 0 => Err(Error::MasterKeysReadable { path, mode }),
        Ok((_, text)) => text.parse().map_err(|source| Error::MasterKeys { path, source }),
        Err(source) => Err(Error::Io { action: "read", path, source }),
    }
}

fn parse(folder: &Path, path: &Path, text: &str) -> Result<InstanceFile> {
    #[derive(Deserialize)]
    struct Version {
        format_version: u32,
    }
    let damaged = |error: toml::de::Error| Error::Damaged { path: path.into(), reason: error.message().to_owned() };
    let version: Version = toml::from_str(text).map_err(damaged)?;
    if version.format_version > FORMAT_VERSION {
        return Err(Error::NewerFormat { path: folder.into(), found: version.format_version });
    }
    if version.format_version < FORMAT_VERSION {
        return Err(Error::OlderFormat { path: folder.into(), found: version.format_version });
    }
    toml::from_str(text).map_err(damaged)
}

fn save(path: &Path, file: &InstanceFile) -> Result<()> {
    let text = toml::to_string(file).expect("plain fields serialize");
    write_whole(path, format!("# Written by cistern; do not edit.\n{text}").as_bytes())
}

/// Writes a file that is either whole or not there: under another name, synced, renamed, the folder synced.
fn write_whole(path: &Path, bytes: &[u8]) -> Result<()> {
    let write = || {
        let unfinished = path.with_extension("unfinished");
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&unfinished)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        std::fs::rename(&unfinished, path)?;
        File::open(path.parent().unwrap_or(Path::new(".")))?.sync_all()
    };
    write().map_err(|source| Error::Io { action: "write", path: path.into(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(path: &Path) -> String {
        Instance::open(path).expect_err("it should be refused").to_string()
    }

    #[test]
    fn a_new_directory_is_made_for_its_owner_only_and_keeps_its_id() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a/data");
        let id = Instance::open(&path).unwrap().id().to_owned();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o700);
        assert_eq!(Instance::open(&path).unwrap().id(), id);
    }

    #[test]
    fn a_directory_in_use_names_the_process() {
        let folder = tempfile::tempdir().unwrap();
        let first = Instance::open(folder.path()).unwrap();
        let expected = format!("already used by process {}; stop that server", std::process::id());
        let text = refused(folder.path());
        assert!(text.contains(&expected), "{text}");
        drop(first);
        Instance::open(folder.path()).unwrap();
    }

    #[test]
    fn a_newer_or_damaged_directory_is_refused_and_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let described = folder.path().join(INSTANCE_FILE);
        for (text, expected) in [
            ("format_version = 6\nnews = true", "has format version 6, this program reads up to 5"),
            ("format_version = 4", "has format version 4, which only versions before 0.1.0 wrote"),
            ("format_version = 5\nwhat = 1", "unknown field `what`"),
            ("nonsense", "understand "),
        ] {
            std::fs::write(&described, text).unwrap();
            let error = refused(folder.path());
            assert!(error.contains(expected) && !error.contains('\n'), "{error}");
            assert_eq!(std::fs::read_to_string(&described).unwrap(), text);
        }
    }

    #[test]
    fn drives_of_another_set_are_refused_once_one_is_known() {
        let folder = tempfile::tempdir().unwrap();
        let mut instance = Instance::open(folder.path()).unwrap();
        instance.check_drives(None).unwrap();
        instance.check_drives(Some("a")).unwrap();
        instance.bind_drives("a").unwrap();
        drop(instance);
        let mut again = Instance::open(folder.path()).unwrap();
        again.bind_drives("a").unwrap();
        let error = again.bind_drives("b").unwrap_err().to_string();
        assert!(error.contains("belongs to the drives of set a, the configured drives are of set b"), "{error}");
        let error = again.check_drives(None).unwrap_err().to_string();
        assert!(error.contains("the configured drives are empty or not there; mount them"), "{error}");
    }

    #[test]
    fn master_keys_are_for_their_owner_only_and_a_link_to_nowhere_is_not_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let instance = Instance::open(folder.path()).unwrap();
        let path = folder.path().join(MASTER_KEYS_FILE);
        assert!(instance.master_keys().unwrap().is_none());
        std::os::unix::fs::symlink(folder.path().join("away"), &path).unwrap();
        assert!(instance.master_keys().unwrap_err().to_string().contains("read "));
        std::fs::remove_file(&path).unwrap();
        let made = MasterKeys::generate();
        instance.save_master_keys(&made).unwrap();
        assert_eq!(instance.master_keys().unwrap().unwrap().current(), made.current());
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
        let error = instance.master_keys().unwrap_err().to_string();
        assert!(error.contains("master-keys.toml") && error.contains("chmod 600"), "{error}");
    }

    #[test]
    fn damaged_master_keys_are_refused_left_alone_and_not_shown() {
        let folder = tempfile::tempdir().unwrap();
        let instance = Instance::open(folder.path()).unwrap();
        instance.save_master_keys(&MasterKeys::generate()).unwrap();
        let path = folder.path().join(MASTER_KEYS_FILE);
        let whole = std::fs::read_to_string(&path).unwrap();
        let key = whole.split('"').nth(1).unwrap();
        for damaged in [String::new(), whole.replace("current", "curent"), whole.replace(key, &key[1..]), key.into()] {
            std::fs::write(&path, &damaged).unwrap();
            let error = instance.master_keys().unwrap_err();
            let shown = format!("{error} {error:?}");
            assert!(shown.contains("master-keys.toml") && !shown.contains(&key[1..]), "{shown}");
            assert_eq!(std::fs::read_to_string(&path).unwrap(), damaged);
        }
    }

    #[test]
    fn endpoints_are_published_whole_and_withdrawn_even_when_absent() {
        let folder = tempfile::tempdir().unwrap();
        let instance = Instance::open(folder.path()).unwrap();
        instance.withdraw_endpoints().unwrap();
        instance.publish_endpoints(&serde_json::json!({ "s3": "http://127.0.0.1:1" })).unwrap();
        let path = folder.path().join(ENDPOINTS_FILE);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "{\"s3\":\"http://127.0.0.1:1\"}\n");
        instance.withdraw_endpoints().unwrap();
        assert!(!path.try_exists().unwrap());
    }
}
