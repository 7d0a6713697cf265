//! `cistern_pipelines::fuzz::path` under libFuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| cistern_pipelines::fuzz::path(bytes));
