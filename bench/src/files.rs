//! What the drive log is held against: a folder and a file for each object on every drive, as other stores of this kind lay objects out.
//!
//! The same code, the same drives, the same guarantee: when a PUT returns, its lanes, their names and the folders they are in have been synced
//! on every drive. A lane and what is known of the object share one file, which is kinder than two. A PUT writes its lanes one after another, which
//! saves it threads: with many PUTs under way the drives are as busy.

use anyhow::{Context, Result};
use rusty_erasure::{Coder, Matrix, coder};
use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};

/// Bytes of what is known of an object, in every lane's file.
const META_BYTES: usize = 256;

/// Drives with a folder an object.
pub(crate) struct Files {
    drives: Vec<PathBuf>,
    data: usize,
    coder: Coder,
}

impl Files {
    /// Makes the drives below `folder`.
    pub(crate) fn new(folder: &Path, data: usize, parity: usize) -> Result<Self> {
        let drives: Vec<PathBuf> = (1..=data + parity).map(|number| folder.join(format!("d{number}/bucket"))).collect();
        for drive in &drives {
            fs::create_dir_all(drive)?;
        }
        let code = Matrix::cauchy(data, parity).ok().and_then(|matrix| coder(matrix).ok());
        Ok(Self { drives, data, coder: code.context("a code of this shape")? })
    }

    /// How many files and folders a PUT syncs.
    pub(crate) fn syncs_per_put(&self) -> usize {
        3 * self.drives.len()
    }

    /// Stores an object, durably on every drive; answers the bytes written.
    pub(crate) fn put(&self, name: &str, body: &[u8]) -> Result<usize> {
        let lane_bytes = body.len().div_ceil(self.data);
        let mut padded = body.to_vec();
        padded.resize(lane_bytes * self.data, 0);
        let data: Vec<&[u8]> = padded.chunks(lane_bytes).collect();
        let mut parity = vec![vec![0; lane_bytes]; self.drives.len() - self.data];
        let mut targets: Vec<&mut [u8]> = parity.iter_mut().map(Vec::as_mut_slice).collect();
        self.coder.encode(&data, &mut targets).ok().context("encode")?;
        let lanes = data.iter().copied().chain(parity.iter().map(Vec::as_slice));
        let mut written = 0;
        for (drive, lane) in self.drives.iter().zip(lanes) {
            written += put_lane(drive, name, lane)?;
        }
        Ok(written)
    }
}

/// A file that is whole or not there, in a folder of its own.
fn put_lane(drive: &Path, name: &str, lane: &[u8]) -> Result<usize> {
    let folder = drive.join(name);
    fs::create_dir(&folder)?;
    let unfinished = folder.join("unfinished");
    let mut file = File::create(&unfinished)?;
    file.write_all(&[1; META_BYTES])?;
    file.write_all(lane)?;
    file.sync_data()?;
    fs::rename(&unfinished, folder.join("object"))?;
    File::open(&folder)?.sync_all()?;
    File::open(drive)?.sync_all()?;
    Ok(META_BYTES + lane.len())
}
