//! Small file systems in memory, to be filled up, taken away and exchanged. Mounting needs root, or `sudo` that asks nothing.

use anyhow::{Context, Result, ensure};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A file system in memory at a folder. Unmounted when dropped.
#[derive(Debug)]
pub struct Mount {
    folder: PathBuf,
}

impl Mount {
    /// Mounts an empty one of `bytes` at `folder`, which is made.
    pub fn new(folder: &Path, bytes: u64) -> Result<Self> {
        std::fs::create_dir_all(folder)?;
        let size = format!("size={bytes}");
        as_root(&["mount", "-t", "tmpfs", "-o", &size, "cistern-test", path(folder)?])?;
        Ok(Self { folder: folder.to_owned() })
    }

    /// Where it is.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Forbids or allows writing. Refused by the system while a file is open for writing.
    pub fn set_read_only(&self, read_only: bool) -> Result<()> {
        let mode = if read_only { "remount,ro" } else { "remount,rw" };
        as_root(&["mount", "-o", mode, path(&self.folder)?])
    }

    /// Gives it another size.
    pub fn resize(&self, bytes: u64) -> Result<()> {
        as_root(&["mount", "-o", &format!("remount,size={bytes}"), path(&self.folder)?])
    }

    /// Takes it away with all it holds, also from under a process that has files open on it.
    pub fn vanish(self) -> Result<()> {
        self.unmount()?;
        std::mem::forget(self);
        Ok(())
    }

    fn unmount(&self) -> Result<()> {
        as_root(&["umount", "--lazy", path(&self.folder)?])
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        // one that stays takes memory until the machine stops: no reason to fail a test that has ended
        drop(self.unmount());
    }
}

fn path(folder: &Path) -> Result<&str> {
    folder.to_str().context("a folder whose name is not UTF-8")
}

fn as_root(words: &[&str]) -> Result<()> {
    let is_root = std::fs::metadata("/proc/self")?.uid() == 0;
    let words: Vec<&str> = if is_root { words.to_vec() } else { [&["sudo", "-n"], words].concat() };
    let output = Command::new(words[0]).args(&words[1..]).output().with_context(|| words.join(" "))?;
    ensure!(output.status.success(), "{}: {}", words.join(" "), String::from_utf8_lossy(&output.stderr));
    Ok(())
}
