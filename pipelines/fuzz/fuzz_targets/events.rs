//! `cistern_pipelines::fuzz::events` under libFuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| cistern_pipelines::fuzz::events(bytes));
