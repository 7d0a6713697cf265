//! A server without work: at most 64 MiB resident and no CPU that could be measured.

use crate::sandbox::Sandbox;
use cistern_tests::{process, wait};
use std::time::Duration;

const RESIDENT_BYTES_MAX: u64 = 64 << 20;
const WINDOW: Duration = Duration::from_secs(4);
/// The kernel counts CPU in steps of 10 ms; two of them in four seconds are not measurable work.
const CPU_MAX: Duration = Duration::from_millis(20);

#[test]
fn an_idle_server_takes_little_memory_and_no_cpu() {
    let sandbox = Sandbox::new();
    let server = sandbox.start();
    let settled = wait::until("start-up work is over", Duration::from_secs(20), || {
        let before = process::cpu_time(server.pid())?;
        wait::let_pass(Duration::from_millis(500));
        Ok((process::cpu_time(server.pid())? == before).then_some(()))
    });
    settled.unwrap();
    let before = process::cpu_time(server.pid()).unwrap();
    wait::let_pass(WINDOW);
    let cpu = process::cpu_time(server.pid()).unwrap().saturating_sub(before);
    let resident = process::resident_bytes(server.pid()).unwrap();
    println!("idle: {} KiB resident, {cpu:?} CPU in {WINDOW:?}", resident >> 10);
    assert!(resident <= RESIDENT_BYTES_MAX, "{resident} bytes resident");
    assert!(cpu <= CPU_MAX, "{cpu:?} of CPU in {WINDOW:?} without work");
}
