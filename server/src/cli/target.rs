//! The file that a download is written to: complete or not there, and otherwise as it was.

use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use tokio::fs::{self, File, OpenOptions};
use tokio::io::AsyncWriteExt as _;

/// What stands for stdin or stdout.
pub(super) const STANDARD: &str = "-";

/// Where the bytes go.
#[derive(Debug)]
pub(super) struct Target {
    open: File,
    /// What is renamed to what when it is complete; `None` where bytes go straight into what is there, a pipe or a device.
    replaces: Option<(PathBuf, PathBuf)>,
}

impl Target {
    /// Opens a file beside the one that is to be made or replaced; a link is followed.
    pub(super) async fn open(file: &Path) -> io::Result<Self> {
        let file = match fs::canonicalize(file).await {
            Ok(real) => real,
            Err(error) if error.kind() == io::ErrorKind::NotFound => file.to_owned(),
            Err(error) => return Err(error),
        };
        let former = fs::metadata(&file).await.ok();
        if former.as_ref().is_some_and(|former| !former.is_file()) {
            return Ok(Self { open: OpenOptions::new().write(true).open(file).await?, replaces: None });
        }
        let mut name = std::ffi::OsString::from(".");
        name.push(file.file_name().ok_or(io::ErrorKind::IsADirectory)?);
        name.push(format!(".{:016x}.unfinished", rand::random::<u64>()));
        let unfinished = file.with_file_name(name);
        let mut options = std::fs::OpenOptions::new();
        options.write(true).create_new(true);
        if former.is_some() {
            options.mode(0o600); // until it is as the former one was
        }
        let open = OpenOptions::from(options).open(&unfinished).await?;
        let target = Self { open, replaces: Some((unfinished, file)) };
        if let Some(former) = former
            && let Err(error) = target.open.set_permissions(former.permissions()).await
        {
            target.abandon().await;
            return Err(error);
        }
        Ok(target)
    }

    /// Writes more.
    pub(super) async fn write(&mut self, piece: &[u8]) -> io::Result<()> {
        self.open.write_all(piece).await
    }

    /// Puts it in its place, durably. What fails is to be abandoned.
    pub(super) async fn finish(&mut self) -> io::Result<()> {
        self.open.flush().await?;
        let Some((unfinished, file)) = &self.replaces else { return Ok(()) };
        self.open.sync_all().await?;
        fs::rename(unfinished, file).await
    }

    /// Takes it away again.
    pub(super) async fn abandon(self) {
        if let Some((unfinished, _)) = self.replaces {
            drop(fs::remove_file(unfinished).await); // nothing more can be done
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

    async fn write(file: &Path, text: &str) {
        let mut target = Target::open(file).await.unwrap();
        target.write(text.as_bytes()).await.unwrap();
        target.finish().await.unwrap();
    }

    #[tokio::test]
    async fn what_cannot_be_put_in_its_place_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("f");
        let mut target = Target::open(&file).await.unwrap();
        std::fs::create_dir(&file).unwrap();
        target.finish().await.unwrap_err();
        target.abandon().await;
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "the folder that came meanwhile");
    }

    #[tokio::test]
    async fn a_file_is_replaced_when_it_is_complete_and_nothing_else_is_touched() {
        let folder = tempfile::tempdir().unwrap();
        let (file, link) = (folder.path().join("f"), folder.path().join("link"));
        std::fs::write(folder.path().join("f.unfinished"), "important").unwrap();
        write(&file, "one").await;
        assert_eq!(std::fs::metadata(&file).unwrap().mode() & 0o200, 0o200);
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
        std::os::unix::fs::symlink(&file, &link).unwrap();
        write(&link, "two").await;
        let mut given_up = Target::open(&file).await.unwrap();
        given_up.write(b"three").await.unwrap();
        given_up.abandon().await;
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "two");
        assert_eq!(std::fs::metadata(&file).unwrap().mode() & 0o777, 0o600);
        assert!(std::fs::symlink_metadata(&link).unwrap().is_symlink());
        let mut names: Vec<_> =
            std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, ["f", "f.unfinished", "link"]);
        write(Path::new("/dev/null"), "nothing").await;
    }
}
