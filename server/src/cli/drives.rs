//! `cistern drives`: how the drives are, and having them read and mended.

use super::Format;
use super::answer::{say, say_json, say_table};
use super::progress::Progress;
use crate::client::{Account, Client};
use anyhow::bail;
use clap::{Args, Subcommand};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::fmt;
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

/// How often a pass that runs is looked at.
const POLL_INTERVAL: Duration = Duration::from_millis(500);

#[derive(Debug, Subcommand)]
pub(super) enum DrivesCommand {
    /// Show every drive, whether writes are taken, and what the last passes found
    Status,
    /// Read everything, check it, and mend what is damaged
    Scrub(PassArgs),
    /// Bring back what drives lack that were away or damaged
    Heal(PassArgs),
    /// Put an empty drive, or the one that was there before, in a drive's place, and fill it
    ///
    /// The server goes on meanwhile. When it is stopped, filling goes on at the next start.
    Replace(ReplaceArgs),
}

#[derive(Debug, Args)]
pub(super) struct ReplaceArgs {
    /// The drive whose place it is: its number or its path, as `drives status` shows them
    drive: String,
    /// Where the new drive is [default: where the old one was]
    #[arg(long, value_name = "FOLDER")]
    with: Option<PathBuf>,
    /// Return as soon as it has taken its place
    #[arg(long)]
    no_wait: bool,
}

#[derive(Debug, Args)]
pub(super) struct PassArgs {
    /// Begin it and return at once
    #[arg(long)]
    no_wait: bool,
}

#[derive(Debug, Deserialize)]
struct Storage {
    writable: bool,
    degraded: bool,
    full: bool,
    read_only_reason: Option<String>,
    drives: Vec<Drive>,
    sets: Vec<Set>,
    absent_sets: Vec<AbsentSet>,
}

#[derive(Debug, Deserialize)]
struct AbsentSet {
    number: u8,
    reason: String,
}

#[derive(Debug, Deserialize)]
struct Set {
    number: u8,
    class: String,
    code: String,
    running_pass: Option<Pass>,
    last_scrub: Option<Pass>,
    last_heal: Option<Pass>,
}

#[derive(Debug, Deserialize)]
struct Drive {
    index: usize,
    path: String,
    state: String,
    reason: Option<String>,
    free_bytes: Option<u64>,
}

#[derive(Debug, Deserialize)]
struct Pass {
    kind: String,
    started: String,
    ended: Option<String>,
    #[serde(flatten)]
    found: Found,
}

/// What a pass, or those over several sets, found.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Found {
    verified_bytes: u64,
    total_bytes: u64,
    bad_lanes: u64,
    healed_lanes: u64,
    lost_stripes: u64,
    /// The segment that is being written, when it could not be read.
    unread_segment: Option<u64>,
    clean: bool,
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { verified_bytes, bad_lanes, healed_lanes, lost_stripes, .. } = self;
        write!(
            f,
            "{verified_bytes} bytes read, {bad_lanes} lanes bad, {healed_lanes} mended, {lost_stripes} stripes lost"
        )?;
        match self.unread_segment {
            Some(segment) => write!(f, "; segment {segment}, which is being written, was not read"),
            None => Ok(()),
        }
    }
}

impl Found {
    /// This and what was found elsewhere.
    fn and(self, other: &Self) -> Self {
        Self {
            verified_bytes: self.verified_bytes + other.verified_bytes,
            total_bytes: self.total_bytes + other.total_bytes,
            bad_lanes: self.bad_lanes + other.bad_lanes,
            healed_lanes: self.healed_lanes + other.healed_lanes,
            lost_stripes: self.lost_stripes + other.lost_stripes,
            unread_segment: self.unread_segment.or(other.unread_segment),
            clean: self.clean && other.clean,
        }
    }
}

impl DrivesCommand {
    pub(super) async fn run(self, client: &Client, format: Format) -> anyhow::Result<()> {
        let account = client.account().await?;
        match self {
            Self::Status => status(storage(&account).await?, format),
            Self::Scrub(args) => run_pass(&account, "scrub", &args, format).await,
            Self::Heal(args) => run_pass(&account, "heal", &args, format).await,
            Self::Replace(args) => replace(&account, &args, format).await,
        }
    }
}

async fn storage(account: &Account<'_>) -> anyhow::Result<Value> {
    Ok(account.get("/cistern/status", &[]).await?.result["storage"].take())
}

fn status(storage: Value, format: Format) -> anyhow::Result<()> {
    if format == Format::Json {
        return say_json(&storage);
    }
    let storage: Storage = serde_json::from_value(storage)?;
    let rows: Vec<[String; 5]> = storage
        .drives
        .into_iter()
        .map(|drive| {
            let free = drive.free_bytes.map_or_else(|| "-".into(), |bytes| bytes.to_string());
            [drive.index.to_string(), drive.state, free, drive.path, drive.reason.unwrap_or_default()]
        })
        .collect();
    say_table(["DRIVE", "STATE", "FREE BYTES", "PATH", "REASON"], &rows)?;
    for set in &storage.sets {
        let Set { number, class, code, running_pass, last_scrub, last_heal } = set;
        say(&format!("set {number}: {class}, {code} drives"))?;
        for pass in [last_scrub, last_heal].into_iter().flatten() {
            say(&format!("  last {}, ended {}: {}", pass.kind, pass.ended.as_deref().unwrap_or("-"), pass.found))?;
        }
        if let Some(Pass { kind, started, found, .. }) = running_pass {
            say(&format!(
                "  running: {kind} since {started}, {} of {} bytes",
                found.verified_bytes, found.total_bytes
            ))?;
        }
    }
    for AbsentSet { number, reason } in &storage.absent_sets {
        say(&format!("set {number} cannot be read until a start with its drives: {reason}"))?;
    }
    if storage.full {
        say("the drives are full: only deletions are taken until there is room")?;
    }
    match (storage.writable, storage.degraded) {
        (true, false) if storage.full => say("all drives live"),
        (true, false) => say("all drives live; reads and writes are taken"),
        (true, true) => say("degraded: reads and writes are taken, with less protection"),
        (false, _) => say(&format!("read-only: {}", storage.read_only_reason.as_deref().unwrap_or("no reason given"))),
    }
}

impl Set {
    /// The pass of a kind that ended last.
    fn last(&self, kind: &str) -> Option<&Pass> {
        let last = if kind == "scrub" { &self.last_scrub } else { &self.last_heal };
        last.as_ref()
    }

    /// When the passes began that are not the one asked for now: the one that ended last and the one that runs.
    fn others(&self, kind: &str) -> [Option<&str>; 2] {
        [self.last(kind), self.running_pass.as_ref()].map(|pass| pass.map(|pass| pass.started.as_str()))
    }
}

/// Whether two paths are written alike but for `./` and slashes.
fn same_path(one: &str, other: &str) -> bool {
    let words = |path| Path::new(path).components().filter(|word| *word != Component::CurDir);
    words(one).eq(words(other))
}

/// Puts a drive in a place and waits until it is filled, with a bar.
async fn replace(account: &Account<'_>, args: &ReplaceArgs, format: Format) -> anyhow::Result<()> {
    let before: Storage = serde_json::from_value(storage(account).await?)?;
    let named = |drive: &&Drive| drive.index.to_string() == args.drive || same_path(&drive.path, &args.drive);
    let Some(place) = before.drives.iter().find(named) else {
        bail!("there is no drive {}; cistern drives status shows their numbers and paths", args.drive);
    };
    let folder = args.with.as_deref().map(std::path::absolute).transpose()?;
    let answer = account
        .post("/cistern/drives/replace", &serde_json::json!({ "drive": place.index, "folder": folder }))
        .await?
        .result;
    let path = answer["path"].as_str().unwrap_or_default();
    if format == Format::Human {
        say(&format!("{path} is drive {} now and is being filled; the server goes on meanwhile", place.index))?;
        if path != place.path {
            say(&format!(
                "before the next start, write {path} for {} in storage.drives of the configuration",
                place.path
            ))?;
        }
    }
    if args.no_wait {
        return if format == Format::Json {
            say_json(&answer)
        } else {
            say("cistern drives status shows how far it is")
        };
    }
    let sets: Vec<u8> = serde_json::from_value(answer["sets"].clone())?;
    wait_for_passes(account, "heal", &before, |set| sets.contains(&set.number), format).await?;
    let now: Storage = serde_json::from_value(storage(account).await?)?;
    match now.drives.iter().find(|drive| drive.index == place.index) {
        Some(drive) if drive.state == "live" => Ok(()),
        Some(drive) => {
            bail!("drive {} is {}: it was not filled whole, the server's log says why", drive.index, drive.state)
        }
        None => bail!("drive {} is gone", place.index),
    }
}

/// Begins a pass over every set and waits for its end, with a bar; fails when something could not be mended.
async fn run_pass(account: &Account<'_>, kind: &str, args: &PassArgs, format: Format) -> anyhow::Result<()> {
    let before: Storage = serde_json::from_value(storage(account).await?)?;
    account.post(&format!("/cistern/drives/{kind}"), &Value::Null).await?;
    if format == Format::Human {
        for set in &before.sets {
            let Some(running) = &set.running_pass else { continue };
            say(&format!("set {} waits for the {} that runs since {}", set.number, running.kind, running.started))?;
        }
    }
    if args.no_wait {
        if format == Format::Json {
            return say_json(&serde_json::json!({ "requested": kind }));
        }
        return say(&format!("{kind} requested; cistern drives status shows how far it is"));
    }
    wait_for_passes(account, kind, &before, |_| true, format).await
}

/// What the passes over some sets that began since `before` have found so far, and whether all have ended.
fn passes_since(before: &Storage, now: &Storage, kind: &str, wanted: impl Fn(&Set) -> bool) -> (Found, bool) {
    let mut found = Found { clean: true, ..Found::default() };
    let mut all_ended = true;
    for set in now.sets.iter().filter(|set| wanted(set)) {
        let before = before.sets.iter().find(|before| before.number == set.number);
        let others = before.map(|before| before.others(kind)).unwrap_or_default();
        let is_new = |pass: &&Pass| !others.contains(&Some(pass.started.as_str()));
        let ended = set.last(kind).filter(is_new);
        let running = set.running_pass.as_ref().filter(|pass| pass.kind == kind).filter(is_new);
        all_ended &= ended.is_some();
        if let Some(pass) = ended.or(running) {
            found = found.and(&pass.found);
        }
    }
    (found, all_ended)
}

/// Waits for the ends of the passes over some sets that began since `before`.
async fn wait_for_passes(
    account: &Account<'_>,
    kind: &str,
    before: &Storage,
    wanted: impl Fn(&Set) -> bool,
    format: Format,
) -> anyhow::Result<()> {
    let mut progress: Option<Progress> = None;
    let mut shown_tenths = 0;
    let found = loop {
        tokio::time::sleep(POLL_INTERVAL).await;
        let now: Storage = serde_json::from_value(storage(account).await?)?;
        let (found, all_ended) = passes_since(before, &now, kind, &wanted);
        if all_ended {
            break found;
        }
        let Found { verified_bytes, total_bytes, .. } = found;
        if total_bytes == 0 {
            continue;
        }
        let bar = progress.get_or_insert_with(|| Progress::new("read", Some(total_bytes)));
        bar.set(verified_bytes, total_bytes);
        let tenths = verified_bytes * 10 / total_bytes;
        if !bar.is_shown() && format != Format::Json && tenths > shown_tenths {
            shown_tenths = tenths;
            say(&format!("{kind}: {verified_bytes} of {total_bytes} bytes"))?;
        }
    };
    if let Some(bar) = progress {
        bar.finish();
    }
    match format {
        Format::Json => say_json(&serde_json::to_value(&found)?)?,
        Format::Human => say(&format!("{kind} ended: {found}"))?,
    }
    if let Some(segment) = found.unread_segment {
        bail!(
            "segment {segment} could not be read while it is written, and no other could be begun: make room, or bring back drives, and say it again"
        );
    }
    if !found.clean {
        bail!(
            "{} stripes and {} lanes could not be mended; cistern drives status shows which drives are missing",
            found.lost_stripes,
            found.bad_lanes - found.healed_lanes
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::same_path;

    #[test]
    fn a_path_may_be_given_as_people_write_it() {
        for path in ["./data/d1", "data/d1", "data//d1/", "data/./d1"] {
            assert!(same_path("./data/d1", path), "{path}");
        }
        assert!(!same_path("./data/d1", "/data/d1") && !same_path("./data/d1", "data/d2"));
    }
}
