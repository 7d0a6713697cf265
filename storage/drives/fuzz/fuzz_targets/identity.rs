//! `cistern_drives::fuzz::identity` under libFuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| cistern_drives::fuzz::identity(bytes));
