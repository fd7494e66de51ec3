//! The house rules as a test: what a reviewer would otherwise have to remember.
//!
//! Each rule names the file and what to do about it. Reads the tree, changes nothing.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

mod rules;

/// The workspace's root.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the tests crate lies in the workspace").to_path_buf()
}

/// One source file: its path from the root, and its text.
struct Source {
    path: String,
    text: String,
}

impl Source {
    /// Lines before the unit tests begin.
    fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        self.text.lines().take_while(|l| !l.starts_with("#[cfg(test)]")).enumerate().map(|(n, l)| (n + 1, l))
    }

    fn generated(&self) -> bool {
        self.path.contains("/gen/")
    }

    fn is_test(&self) -> bool {
        let p = &self.path;
        p.starts_with("tests/") || p.contains("/tests/") || p.ends_with("tests.rs") || p.contains("/examples/")
    }
}

fn collect(dir: &Path, out: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(dir) else { return };
    for entry in entries.flatten() {
        let path = entry.path();
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if path.is_dir() && name != "target" && !name.starts_with('.') {
            collect(&path, out);
        } else if path.is_file() {
            out.push(path);
        }
    }
}

/// Every text file of the tree with one of these endings, in path order.
fn files(endings: &[&str]) -> Vec<Source> {
    let root = root();
    let mut paths = Vec::new();
    collect(&root, &mut paths);
    paths.sort();
    paths
        .into_iter()
        .filter(|p| endings.iter().any(|e| p.to_string_lossy().ends_with(e)))
        .filter_map(|p| {
            let path = p.strip_prefix(&root).ok()?.to_string_lossy().into_owned();
            Some(Source { path, text: fs::read_to_string(&p).ok()? })
        })
        .collect()
}

/// The crates of the workspace and the workspace crates each one names in `[dependencies]`.
fn arrows() -> BTreeMap<String, Vec<String>> {
    let crates = ["model", "scheduler", "discovery", "lb", "agent", "tests"];
    let deps_of = |name: &str| {
        let text = fs::read_to_string(root().join(name).join("Cargo.toml")).expect("each crate has a manifest");
        let deps = text.split("[dependencies]").nth(1).unwrap_or_default();
        let deps = deps.split("\n[").next().unwrap_or_default();
        crates
            .iter()
            .filter(|c| deps.lines().any(|l| l.starts_with(&format!("{c}."))))
            .map(|c| (*c).to_owned())
            .collect()
    };
    crates.iter().map(|c| ((*c).to_owned(), deps_of(c))).collect()
}

fn report(rule: &str, broken: &[String]) {
    assert!(broken.is_empty(), "{rule}:\n  {}", broken.join("\n  "));
}
