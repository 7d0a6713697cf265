//! The rule for documentation: a link to a file of the project leads to a file that is there.

use super::Findings;
use std::path::Path;

pub(super) fn check(root: &Path, path: &Path, text: &str, findings: &mut Findings) {
    let folder = root.join(path.parent().unwrap_or(Path::new("")));
    for target in links(text) {
        let file = target.split('#').next().unwrap_or_default();
        if !file.is_empty() && !folder.join(file).try_exists().unwrap_or(false) {
            findings.broken(path, format!("links to {file}, which is not there"));
        }
    }
}

/// Targets of links that are neither web addresses nor in code blocks.
fn links(text: &str) -> Vec<&str> {
    let mut in_code = false;
    let mut links = Vec::new();
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            in_code = !in_code;
        }
        if in_code {
            continue;
        }
        let targets = line.split("](").skip(1).filter_map(|rest| rest.split(')').next());
        links.extend(targets.filter(|target| !target.contains("://") && !target.starts_with("mailto:")));
    }
    links
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_to_files_are_found_and_web_addresses_and_code_left_out() {
        let text = "See [a](docs/a.md#top), [b](https://example.org) and\n```\n[c](c.md)\n```\n[d](#here)";
        assert_eq!(links(text), ["docs/a.md#top", "#here"]);
    }

    #[test]
    fn a_link_to_nothing_is_found() {
        let root = tempfile::tempdir().unwrap();
        std::fs::write(root.path().join("a.md"), "").unwrap();
        let mut findings = Findings::default();
        check(root.path(), Path::new("README.md"), "[a](a.md) [b](b.md) [here](#here)", &mut findings);
        assert_eq!(findings.broken, ["README.md: links to b.md, which is not there"]);
    }
}
