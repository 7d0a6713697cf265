//! s3s-e2e, the end-to-end suite of s3s: the program as it comes, on an empty server. It tests STS too, which Cistern has not;
//! temporary credentials come from the management API.

use crate::sandbox::Sandbox;
use cistern_tests::python::with_account;
use serde_json::Value;
use std::path::PathBuf;
use std::process::Command;

/// The one case for which there is nothing to answer with.
const STS: &str = "Advanced/STS/test_assume_role";

/// The program, beside this one in the target folder.
fn program() -> PathBuf {
    let this = std::env::current_exe().unwrap();
    let found = this.ancestors().nth(2).unwrap().join("s3s-e2e");
    assert!(found.is_file(), "no {}: `cargo xtask rust-clients` builds it", found.display());
    found
}

/// Every case of the report with whether it passed.
fn cases(report: &Value) -> Vec<(String, bool)> {
    let mut cases = Vec::new();
    for suite in report["suites"].as_array().unwrap() {
        for fixture in suite["fixtures"].as_array().unwrap() {
            for case in fixture["cases"].as_array().unwrap() {
                let names = [suite, fixture, case].map(|level| level["name"].as_str().unwrap());
                let passed = case["passed"] == true && case["ignored"] == false;
                cases.push((names.join("/"), passed));
            }
        }
    }
    cases
}

#[test]
fn every_case_passes_but_that_of_sts() {
    let sandbox = Sandbox::new();
    let server = sandbox.start();
    let listed = Command::new(program()).arg("--list").output().unwrap();
    let listed = String::from_utf8(listed.stdout).unwrap();
    let listed: Vec<&str> = listed.lines().filter(|line| line.matches('/').count() == 2).collect();
    assert!(listed.len() >= 18 && listed.contains(&STS), "{listed:?}");

    let report = sandbox.path().join("report.json");
    let mut command = with_account(Command::new(program()), &server);
    // that of STS: no address of another service than ours is ever asked
    command.arg("--json").arg(&report).env("AWS_ENDPOINT_URL", server.s3_url()).env("AWS_REGION", "auto");
    let output = command.current_dir(sandbox.path()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    let report = std::fs::read(&report).unwrap_or_else(|error| panic!("no report ({error}):\n{said}"));
    let ran = cases(&serde_json::from_slice(&report).unwrap());
    // a fixture whose set-up fails runs none of its cases and counts as passed
    assert_eq!(ran.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), listed, "not all were run:\n{said}");
    let failed: Vec<&str> = ran.iter().filter(|(_, passed)| !passed).map(|(name, _)| name.as_str()).collect();
    assert_eq!(failed, [STS], "{said}");
}
