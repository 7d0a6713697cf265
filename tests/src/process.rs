//! Memory and CPU time of a process, from `/proc`.

use anyhow::{Context, Result};
use std::fs;
use std::time::Duration;

/// The kernel's clock ticks a second as `/proc` counts them (`USER_HZ`, the same on every Linux we run on).
const TICKS_PER_SECOND: u64 = 100;

/// CPU time the process has used, user and system, all threads. Exact to 10 ms.
pub fn cpu_time(pid: u32) -> Result<Duration> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).context("read /proc/PID/stat")?;
    let (_, after_name) = stat.rsplit_once(") ").context("stat without a name")?;
    let fields: Vec<&str> = after_name.split(' ').collect();
    let user: u64 = fields.get(11).context("stat without utime")?.parse()?;
    let system: u64 = fields.get(12).context("stat without stime")?.parse()?;
    Ok(Duration::from_millis((user + system) * 1000 / TICKS_PER_SECOND))
}

/// Bytes of memory resident.
pub fn resident_bytes(pid: u32) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).context("read /proc/PID/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("status without VmRSS")?;
    let kibibytes: u64 = line.trim().trim_end_matches(" kB").parse()?;
    Ok(kibibytes * 1024)
}
