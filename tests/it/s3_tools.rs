//! More of what people use S3 with, each by a suite of its own on a server of its own: `tests/clients` says what is checked.

use crate::sandbox::Sandbox;
use cistern_tests::clients;

/// Runs a suite of `tests/clients` on a fresh server; all of its checks must pass.
fn all_pass(suite: &str) {
    let sandbox = Sandbox::new();
    let server = sandbox.start();
    clients::suite(&server, suite).unwrap();
}

#[test]
fn s3cmd_syncs_copies_tags_and_sets_buckets_up() {
    all_pass("s3cmd_suite.py");
}

#[test]
fn s5cmd_syncs_copies_pipes_and_keeps_versions() {
    all_pass("s5cmd_suite.py");
}

#[test]
fn rclone_copies_syncs_checks_and_streams() {
    all_pass("rclone_suite.py");
}

#[test]
fn restic_backs_up_prunes_checks_and_restores() {
    all_pass("restic_suite.py");
}

#[test]
fn delta_tables_lose_no_commit_of_racing_writers() {
    all_pass("delta_suite.py");
}

#[test]
fn duckdb_pyarrow_and_polars_write_what_each_of_them_reads() {
    all_pass("parquet_suite.py");
}

#[test]
fn the_sdk_for_javascript_does_what_applications_do() {
    all_pass("js/suite.mjs");
}

#[test]
fn the_client_of_minio_does_what_applications_do() {
    all_pass("minio_suite.py");
}

#[test]
fn obstore_does_what_applications_do() {
    all_pass("obstore_suite.py");
}
