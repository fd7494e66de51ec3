//! The rules, one test each.

use std::fs;

use crate::{Source, arrows, files, report, root};

/// Lines of a file, tests included; generated code excepted.
const LONGEST: usize = 700;
/// The vocabulary must stay small enough to read.
const MODEL_LINES: usize = 6_000;
/// Modules that decide: plain functions over data. Each pattern is a path prefix.
const PURE: &[&str] = &[
    "model/src/state",
    "scheduler/src/evaluate",
    "scheduler/src/reconcile",
    "scheduler/src/place",
    "scheduler/src/queue",
    "scheduler/src/jobspec",
    "scheduler/src/validate",
    "scheduler/src/diff",
    "scheduler/src/admission",
    "discovery/src/dns/answer",
    "discovery/src/dns/name",
    "discovery/src/check/verdict",
    "lb/src/tag",
    "lb/src/table",
    "lb/src/pick",
];
const IMPURE_WORDS: &[&str] =
    &["tokio::", "openraft::", "axum::", "hyper::", "sled::", "redb::", "SystemTime::now", "Instant::now"];

fn rust() -> Vec<Source> {
    files(&[".rs"])
}

#[test]
fn files_are_short() {
    let long: Vec<_> = rust()
        .iter()
        .filter(|s| !s.generated() && s.text.lines().count() > LONGEST)
        .map(|s| format!("{} has {} lines; split it by subject", s.path, s.text.lines().count()))
        .collect();
    report("no file is longer than 700 lines", &long);
}

#[test]
fn files_say_what_they_own() {
    let silent: Vec<_> =
        rust().iter().filter(|s| !s.generated() && !s.text.starts_with("//!")).map(|s| s.path.clone()).collect();
    report("every file begins with //!", &silent);
}

#[test]
fn names_say_something() {
    let banned = ["utils", "util", "common", "helpers", "helper", "manager", "misc", "mod"];
    let vague: Vec<_> = rust()
        .iter()
        .filter(|s| s.path.split('/').any(|part| banned.contains(&part.trim_end_matches(".rs"))))
        .map(|s| s.path.clone())
        .collect();
    report("no file or folder is called utils, common, helpers, manager or mod.rs", &vague);
}

#[test]
fn arrows_point_one_way() {
    let allowed = |from: &str| -> &[&str] {
        match from {
            "model" => &[],
            "scheduler" | "discovery" | "lb" => &["model"],
            "agent" => &["model", "scheduler", "discovery", "lb"],
            _ => &["model", "scheduler", "discovery", "lb", "agent"],
        }
    };
    let wrong: Vec<_> = arrows()
        .iter()
        .flat_map(|(from, to)| {
            to.iter().filter(|t| !allowed(from).contains(&t.as_str())).map(move |t| format!("{from} -> {t}"))
        })
        .collect();
    report("arrows between crates follow docs/ARCHITECTURE.md", &wrong);
}

#[test]
fn every_crate_takes_the_workspace_lints() {
    let loose: Vec<_> = arrows()
        .keys()
        .filter(|c| {
            let text = fs::read_to_string(root().join(c).join("Cargo.toml")).expect("each crate has a manifest");
            !text.contains("[lints]\nworkspace = true")
        })
        .cloned()
        .collect();
    report("every crate says [lints] workspace = true", &loose);
}

#[test]
fn deciding_does_no_io() {
    let mut impure = Vec::new();
    for s in rust().iter().filter(|s| !s.is_test() && PURE.iter().any(|p| s.path.starts_with(p))) {
        for (n, line) in s.code().filter(|(_, l)| !l.trim_start().starts_with("//")) {
            for word in IMPURE_WORDS.iter().filter(|w| line.contains(**w)) {
                impure.push(format!("{}:{n} names {word}", s.path));
            }
        }
    }
    report("pure modules name no runtime, no server, no store and no clock", &impure);
}

#[test]
fn the_vocabulary_stays_small() {
    let lines: usize =
        rust().iter().filter(|s| s.path.starts_with("model/src") && !s.is_test()).map(|s| s.text.lines().count()).sum();
    assert!(
        lines <= MODEL_LINES,
        "model has {lines} lines, at most {MODEL_LINES}: move what only one component needs into it"
    );
}

#[test]
fn tasks_are_not_left_to_themselves() {
    let mut open = Vec::new();
    for s in rust().iter().filter(|s| !s.is_test() && !s.generated()) {
        for (n, line) in s.code() {
            if ["todo!(", "unimplemented!(", "FIXME", "XXX:", "HACK"].iter().any(|w| line.contains(w)) {
                open.push(format!("{}:{n} {}", s.path, line.trim()));
            }
        }
    }
    report("no stub and no unowned note is left in the code", &open);
}

#[test]
fn dependencies_are_justified() {
    let manifest = fs::read_to_string(root().join("Cargo.toml")).expect("the workspace has a manifest");
    let adr =
        fs::read_to_string(root().join("docs/adr/001-dependencies.md")).expect("docs/adr/001-dependencies.md exists");
    let deps = manifest.split("[workspace.dependencies]").nth(1).unwrap_or_default();
    let deps = deps.split("\n[").next().unwrap_or_default();
    let own = ["model", "scheduler", "discovery", "lb", "agent"];
    let missing: Vec<_> = deps
        .lines()
        .filter_map(|l| l.split_once('=').map(|(name, _)| name.trim()))
        .filter(|name| !name.starts_with('#') && !own.contains(name) && !adr.contains(&format!("| {name} |")))
        .map(|name| format!("{name}: add a line to docs/adr/001-dependencies.md"))
        .collect();
    report("every dependency is justified in one line", &missing);
}

#[test]
fn documents_link_to_files_that_exist() {
    let mut dead = Vec::new();
    for doc in files(&[".md"]) {
        let dir = root().join(&doc.path).parent().expect("a file has a folder").to_path_buf();
        for target in doc.text.split("](").skip(1).filter_map(|t| t.split(')').next()) {
            let file = target.split('#').next().unwrap_or_default();
            if !file.is_empty() && !file.contains("://") && !dir.join(file).exists() {
                dead.push(format!("{} links to {target}", doc.path));
            }
        }
    }
    report("links between documents lead somewhere", &dead);
}
