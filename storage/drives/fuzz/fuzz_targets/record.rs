//! `cistern_drives::fuzz::record` under libFuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| cistern_drives::fuzz::record(bytes));
