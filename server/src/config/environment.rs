//! The process's surroundings: its environment and the places a configuration file may stand in. The only reader of both.

use super::{Error, RawConfig, Result};
use std::path::{Path, PathBuf};

/// Where a file is looked for when none is named, first found wins.
const FILE_PLACES: [&str; 2] = ["./cistern.toml", "/etc/cistern/cistern.toml"];
/// The largest configuration file, in bytes.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// What surrounds a process, as far as configuration goes.
#[derive(Debug, Clone)]
pub(crate) struct Surroundings {
    /// Names and values.
    pub(crate) environment: Vec<(String, String)>,
    /// Where a file is looked for when none is named.
    pub(crate) file_places: Vec<PathBuf>,
}

impl Surroundings {
    /// Those of this process. Variables that are not UTF-8 are passed over: no setting is.
    pub(crate) fn of_process() -> Self {
        let texts =
            std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
        Self { environment: texts.collect(), file_places: FILE_PLACES.map(PathBuf::from).to_vec() }
    }

    /// Defaults, file, environment and `flags`, laid over each other in this order. `named_file` must exist.
    pub(crate) fn layers(&self, named_file: Option<&Path>, flags: RawConfig) -> Result<RawConfig> {
        let file = match named_file {
            Some(path) => Some(read(path)?),
            None => self.first_file()?,
        };
        let environment = RawConfig::from_environment(self.environment.iter().cloned())?;
        Ok(RawConfig::defaults().under(file.unwrap_or_default()).under(environment).under(flags))
    }

    fn first_file(&self) -> Result<Option<RawConfig>> {
        for place in &self.file_places {
            if place.try_exists().map_err(|error| unreadable(place, &error.to_string()))? {
                return read(place).map(Some);
            }
        }
        Ok(None)
    }
}

fn read(path: &Path) -> Result<RawConfig> {
    let size = std::fs::metadata(path).map_err(|error| unreadable(path, &error.to_string()))?.len();
    if size > FILE_BYTES_MAX {
        return Err(unreadable(path, "it is larger than 1 MiB"));
    }
    let text = std::fs::read_to_string(path).map_err(|error| unreadable(path, &error.to_string()))?;
    RawConfig::from_toml(&text, &path.display().to_string())
}

fn unreadable(path: &Path, reason: &str) -> Error {
    Error::Read { path: path.display().to_string(), reason: reason.into() }
}
