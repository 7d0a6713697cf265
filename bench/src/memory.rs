//! Free memory that the machine has at hand.
//!
//! A hypervisor may take a guest's free memory back, and give it again, cleared, when it is touched: measured in one, a page of
//! 4 KiB then costs 8 to 10 us instead of 2.7, a huge one 5.3 ms instead of 0.27. A load that comes after a pause would count that, by how
//! long the machine has been idle. So another process touches memory before each load of events, and ends.

use anyhow::{Context, Result, ensure};
use std::process::Command;

/// The flag of that process.
pub(crate) const TOUCH: &str = "touch-memory";

/// Touched before a load: more than the server and its clients take for it.
const BYTES: usize = 768 << 20;

/// Has free memory touched.
pub(crate) fn at_hand() -> Result<()> {
    let program = std::env::current_exe().context("find this program")?;
    let status =
        Command::new(program).arg(format!("--{TOUCH}")).status().context("start a process that touches memory")?;
    ensure!(status.success(), "the process that touches memory ended with {status}");
    Ok(())
}

/// Touches memory; it is free again when the process ends.
pub(crate) fn touch() {
    drop(std::hint::black_box(vec![1_u8; BYTES]));
}
