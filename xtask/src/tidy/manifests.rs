//! Rules for `Cargo.toml`: dependencies between our crates point down, versions stand in one place, the lints are those of
//! the workspace.

use super::Findings;
use anyhow::{Context, Result};
use std::path::Path;
use toml::{Table, Value};

/// Our packages from the lowest to the highest. One may depend on those of a lower rank only, in tests too.
/// The ranks are the layers of ARCHITECTURE.md; `runtime` stands on `types` within L0, `s3-api` and `admin` share L5,
/// and the tools around the server (its tests, the bench, these commands) stand above it.
const RANKS: &[(&str, u8)] = &[
    ("cistern-types", 0),
    ("cistern-runtime", 1),
    ("cistern-net", 2),
    ("cistern-sql", 2),
    ("cistern-drives", 10),
    ("cistern-metadata", 20),
    ("cistern-blobs", 20),
    ("cistern-objects", 30),
    ("cistern-access", 30),
    ("cistern-pipelines", 40),
    ("cistern-s3-api", 50),
    ("cistern-admin", 50),
    ("cistern", 60),
    ("cistern-tests", 70),
    ("cistern-bench", 80),
    ("xtask", 80),
];

const DEPENDENCY_TABLES: [&str; 3] = ["dependencies", "dev-dependencies", "build-dependencies"];

fn rank(package: &str) -> Option<u8> {
    RANKS.iter().find(|(name, _)| *name == package).map(|(_, rank)| *rank)
}

pub(super) fn check(path: &Path, text: &str, findings: &mut Findings) -> Result<()> {
    let manifest: Table = text.parse().with_context(|| format!("parse {}", path.display()))?;
    let Some(package) = manifest.get("package").and_then(|package| package.get("name")).and_then(Value::as_str) else {
        return Ok(()); // the workspace's own
    };
    if manifest.contains_key("workspace") {
        return Ok(()); // a workspace of its own, such as fuzz targets, which nothing depends on
    }
    if manifest.get("lints").and_then(|lints| lints.get("workspace")) != Some(&Value::Boolean(true)) {
        findings.broken(path, "needs `[lints] workspace = true`");
    }
    let Some(own_rank) = rank(package) else {
        findings.broken(path, format!("package {package} has no layer: give it one in xtask/src/tidy/manifests.rs"));
        return Ok(());
    };
    let tables = DEPENDENCY_TABLES.iter().filter_map(|name| manifest.get(*name)?.as_table());
    for (name, dependency) in tables.flatten() {
        if dependency.get("workspace") != Some(&Value::Boolean(true)) {
            findings.broken(path, format!("{name}: its version belongs into [workspace.dependencies] of the root"));
        }
        if let Some(below) = rank(name).filter(|below| *below >= own_rank) {
            let arrow = format!("{package} (rank {own_rank}) -> {name} (rank {below})");
            findings.broken(path, format!("a dependency that does not point down: {arrow}"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn broken(package: &str, rest: &str) -> Vec<String> {
        let mut findings = Findings::default();
        let text = format!("[package]\nname = \"{package}\"\n[lints]\nworkspace = true\n{rest}");
        check(Path::new("Cargo.toml"), &text, &mut findings).unwrap();
        findings.broken
    }

    #[test]
    fn an_arrow_down_is_in_order() {
        assert!(broken("cistern-objects", "[dependencies]\ncistern-types.workspace = true").is_empty());
    }

    #[test]
    fn arrows_up_and_sideways_are_found_in_tests_too() {
        for (package, other) in [
            ("cistern-types", "cistern-objects"),
            ("cistern-blobs", "cistern-metadata"),
            ("cistern-s3-api", "cistern-admin"),
        ] {
            for table in DEPENDENCY_TABLES {
                let found = broken(package, &format!("[{table}]\n{other}.workspace = true"));
                assert_eq!(found.len(), 1, "{package} -> {other} in {table}: {found:?}");
            }
        }
    }

    #[test]
    fn a_version_of_its_own_an_unknown_package_and_missing_lints_are_found() {
        assert_eq!(broken("cistern-types", "[dependencies]\nserde = \"1\"").len(), 1);
        assert_eq!(broken("cistern-novelty", "").len(), 1);
        let mut findings = Findings::default();
        check(Path::new("Cargo.toml"), "[package]\nname = \"cistern-types\"", &mut findings).unwrap();
        assert_eq!(findings.broken.len(), 1);
    }
}
