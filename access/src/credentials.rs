//! The credentials of the first start: made at random, kept in one file that only its owner may read.
//!
//! The file is written under another name with mode 0600 from its first byte, synced, and renamed, so that at every
//! moment there is a whole file or none. There is no default password anywhere.

use crate::secret::random_key_id;
use crate::{Error, Result, Secret};
use cistern_types::{AccessKeyId, AccountId};
use serde::{Deserialize, Serialize};
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

/// Letters of a random secret access key, as AWS's have.
const SECRET_LETTERS: usize = 40;
/// Letters of the random API token.
const TOKEN_LETTERS: usize = 40;
/// The shortest secret or token that is accepted from outside, in bytes.
const SECRET_BYTES_MIN: usize = 8;
/// Permission bits that let anyone but the owner at the file.
const MODE_OTHERS: u32 = 0o077;

/// The root key pair, the token of the management API and the id of this installation.
#[derive(Debug, Clone)]
pub struct RootCredentials {
    /// The public half of the root key.
    pub access_key_id: AccessKeyId,
    /// The secret half of the root key.
    pub secret_access_key: Secret,
    /// The token of the management API.
    pub api_token: Secret,
    /// The id of this installation in management API paths.
    pub account_id: AccountId,
}

/// What the configuration sets itself. It replaces what the file says, and is not written to the file.
#[derive(Debug, Clone, Default)]
pub struct RootOverrides {
    /// The public half of the root key.
    pub access_key_id: Option<String>,
    /// The secret half of the root key.
    pub secret_access_key: Option<String>,
    /// The token of the management API.
    pub api_token: Option<String>,
    /// The id of this installation.
    pub account_id: Option<AccountId>,
}

impl RootOverrides {
    /// Refuses values that no credentials can have.
    pub fn check(self) -> Result<()> {
        RootCredentials::random()?.overridden(self).map(drop)
    }
}

/// When the credentials file was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Made {
    /// Just now: this is the first start.
    Now,
    /// At an earlier start.
    Before,
}

/// The file as it is written.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct CredentialsFile {
    account_id: String,
    access_key_id: AccessKeyId,
    secret_access_key: String,
    api_token: String,
}

const FILE_HEADER: &str =
    "# Root credentials of this Cistern, made on its first start. Keep this file to yourself (mode 0600).\n";

impl RootCredentials {
    /// Reads the file at `path`, or makes it with random credentials when there is none; then lays `overrides` over it.
    ///
    /// Refuses a file that others may read. Blocks on disk I/O: call it while starting.
    pub fn load_or_create(path: &Path, overrides: RootOverrides) -> Result<(Self, Made)> {
        let (found, made) = match Self::load(path) {
            Ok(found) => (found, Made::Before),
            Err(Error::ReadCredentials { source, .. }) if source.kind() == ErrorKind::NotFound => {
                let fresh = Self::random()?;
                fresh.save(path).map_err(|source| Error::WriteCredentials { path: path.into(), source })?;
                (fresh, Made::Now)
            }
            Err(error) => return Err(error),
        };
        Ok((found.overridden(overrides)?, made))
    }

    /// Reads the file at `path`. Refuses a file that others may read.
    pub fn load(path: &Path) -> Result<Self> {
        let read_error = |source| Error::ReadCredentials { path: path.into(), source };
        let mode = fs::metadata(path).map_err(read_error)?.permissions().mode() & 0o7777;
        if mode & MODE_OTHERS != 0 {
            return Err(Error::CredentialsReadable { path: path.into(), mode });
        }
        let text = fs::read_to_string(path).map_err(read_error)?;
        let file: CredentialsFile = toml::from_str(&text).map_err(|error| {
            let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
            Error::ParseCredentials { path: path.into(), line: before.matches('\n').count() + 1 }
        })?;
        Ok(Self {
            access_key_id: file.access_key_id,
            secret_access_key: checked("secret access key", file.secret_access_key)?,
            api_token: checked("API token", file.api_token)?,
            account_id: file
                .account_id
                .parse()
                .map_err(|_| Error::Unfit { what: "account id", rule: "use 32 hex digits" })?,
        })
    }

    fn random() -> Result<Self> {
        Ok(Self {
            access_key_id: parse_key_id(&random_key_id())?,
            secret_access_key: Secret::random(SECRET_LETTERS),
            api_token: Secret::random(TOKEN_LETTERS),
            account_id: AccountId::random(),
        })
    }

    fn overridden(self, overrides: RootOverrides) -> Result<Self> {
        let id = overrides.access_key_id.as_deref().map(parse_key_id).transpose()?;
        let secret = overrides.secret_access_key.map(|text| checked("secret access key", text)).transpose()?;
        let token = overrides.api_token.map(|text| checked("API token", text)).transpose()?;
        Ok(Self {
            access_key_id: id.unwrap_or(self.access_key_id),
            secret_access_key: secret.unwrap_or(self.secret_access_key),
            api_token: token.unwrap_or(self.api_token),
            account_id: overrides.account_id.unwrap_or(self.account_id),
        })
    }

    /// The commit point is the rename: before it there is no credentials file, after it a whole one.
    fn save(&self, path: &Path) -> io::Result<()> {
        let file = CredentialsFile {
            account_id: self.account_id.to_string(),
            access_key_id: self.access_key_id.clone(),
            secret_access_key: self.secret_access_key.expose().into(),
            api_token: self.api_token.expose().into(),
        };
        let text = toml::to_string(&file).map_err(io::Error::other)?;
        let unfinished = path.with_extension("toml.unfinished");
        match fs::remove_file(&unfinished) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut written = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&unfinished)?;
        written.write_all(FILE_HEADER.as_bytes())?;
        written.write_all(text.as_bytes())?;
        written.sync_all()?;
        fs::rename(&unfinished, path)?;
        let folder = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        File::open(folder)?.sync_all()
    }
}

fn parse_key_id(text: &str) -> Result<AccessKeyId> {
    text.parse()
        .map_err(|_| Error::Unfit { what: "access key id", rule: "use 3 to 128 letters, digits, '_', '-' and '.'" })
}

fn checked(what: &'static str, text: String) -> Result<Secret> {
    if text.len() < SECRET_BYTES_MIN || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(Error::Unfit { what, rule: "use at least 8 visible ASCII characters without spaces" });
    }
    Ok(Secret::new(text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;

    fn folder() -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("credentials.toml");
        (folder, path)
    }

    fn load_or_create(path: &Path) -> Result<(RootCredentials, Made)> {
        RootCredentials::load_or_create(path, RootOverrides::default())
    }

    #[test]
    fn the_first_start_makes_them_and_the_next_finds_them() {
        let (_folder, path) = folder();
        let (first, made) = load_or_create(&path).unwrap();
        assert_eq!(made, Made::Now);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let (second, made) = load_or_create(&path).unwrap();
        assert_eq!(made, Made::Before);
        assert_eq!(second.secret_access_key, first.secret_access_key);
        assert_eq!(second.api_token, first.api_token);
        assert_eq!((second.access_key_id, second.account_id), (first.access_key_id, first.account_id));
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1, "nothing else is left behind");
    }

    #[test]
    fn two_installations_have_nothing_in_common() {
        let ((_a, first), (_b, second)) = (folder(), folder());
        let (first, second) = (load_or_create(&first).unwrap().0, load_or_create(&second).unwrap().0);
        assert_ne!(first.access_key_id, second.access_key_id);
        assert_ne!(first.secret_access_key, second.secret_access_key);
        assert_ne!(first.api_token, second.api_token);
        assert_ne!(first.account_id, second.account_id);
    }

    #[test]
    fn a_file_that_others_may_read_is_refused_with_the_remedy() {
        let (_folder, path) = folder();
        load_or_create(&path).unwrap();
        for mode in [0o644, 0o640, 0o604, 0o620] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            let error = load_or_create(&path).unwrap_err();
            assert!(matches!(error, Error::CredentialsReadable { .. }), "{mode:o}: {error}");
            assert!(error.to_string().contains("chmod 600"), "{error}");
        }
    }

    #[test]
    fn a_damaged_file_is_an_error_and_stays_as_it_is() {
        let (_folder, path) = folder();
        load_or_create(&path).unwrap();
        let whole = fs::read_to_string(&path).unwrap();
        for damaged in ["", "access_key_id = \"CKA\"\n", &whole.replace("api_token", "api_tokn"), &whole[..60]] {
            fs::write(&path, damaged).unwrap();
            let error = load_or_create(&path).expect_err(damaged).to_string();
            assert!(error.contains("line ") && !error.contains("\" = \""), "{error}");
            assert_eq!(fs::read_to_string(&path).unwrap(), damaged);
        }
    }

    #[test]
    fn a_crash_while_writing_leaves_nothing_that_the_next_start_would_use() {
        let (_folder, path) = folder();
        fs::write(path.with_extension("toml.unfinished"), "access_key_id = ").unwrap();
        assert_eq!(load_or_create(&path).unwrap().1, Made::Now);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn overrides_win_but_are_not_written_and_weak_ones_are_refused() {
        let (_folder, path) = folder();
        let overrides = RootOverrides {
            access_key_id: Some("my-key".into()),
            secret_access_key: Some("my-secret-key".into()),
            ..RootOverrides::default()
        };
        let (credentials, _) = RootCredentials::load_or_create(&path, overrides).unwrap();
        assert_eq!(credentials.access_key_id.as_str(), "my-key");
        assert_eq!(credentials.secret_access_key.expose(), "my-secret-key");
        assert!(!fs::read_to_string(&path).unwrap().contains("my-"));
        for weak in ["", "short", "with space in it"] {
            let overrides = RootOverrides { api_token: Some(weak.into()), ..RootOverrides::default() };
            let error = RootCredentials::load_or_create(&path, overrides).unwrap_err();
            assert!(matches!(error, Error::Unfit { what: "API token", .. }), "{error}");
        }
    }

    #[test]
    fn secrets_do_not_show_in_debug_output() {
        let (_folder, path) = folder();
        let (credentials, _) = load_or_create(&path).unwrap();
        let shown = format!("{credentials:?}");
        assert!(!shown.contains(credentials.secret_access_key.expose()), "{shown}");
        assert!(!shown.contains(credentials.api_token.expose()), "{shown}");
    }
}
