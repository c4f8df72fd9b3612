//! Every seed and every case of fuzzing holds, without instrumentation: what once crashed is asked again in each run of
//! the tests. `make fuzz` looks for more.

#![allow(clippy::expect_used)] // a panic is how a test fails

use std::collections::BTreeSet;
use std::fs;
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};

use clearway_engine::{list_lines, prefix_lines};

#[path = "../fuzz/src/targets/mod.rs"]
mod targets;

use targets::{run, TARGETS};

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz").join(name)
}

fn names(folder: &Path) -> BTreeSet<String> {
    let entries: Vec<_> = fs::read_dir(folder).map(|entries| entries.flatten().collect()).unwrap_or_default();
    entries.iter().filter_map(|entry| entry.file_name().into_string().ok()).collect()
}

/// (target, name) of what lies in seeds/ or cases/.
fn kept(kind: &str) -> BTreeSet<(String, String)> {
    let folder = folder(kind);
    let of_target = |target: String| {
        let files = names(&folder.join(&target));
        files.into_iter().map(move |name| (target.clone(), name))
    };
    names(&folder).into_iter().flat_map(of_target).collect()
}

#[test]
fn every_seed_and_every_case_holds() {
    let mut broken = Vec::new();
    for kind in ["seeds", "cases"] {
        for (target, name) in kept(kind) {
            let path = folder(kind).join(&target).join(&name);
            let bytes = fs::read(&path).expect("a file that was listed");
            // As it is, and cut: half a message is what a parser sees most.
            for end in [bytes.len(), bytes.len() / 2, bytes.len().saturating_sub(1)] {
                if catch_unwind(|| run(&target, bytes.get(..end).unwrap_or_default())).is_err() {
                    broken.push(format!("{kind}/{target}/{name}, {end} bytes"));
                }
            }
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
}

#[test]
fn every_target_has_a_binary_and_seeds() {
    let known: BTreeSet<String> = TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect();
    let binaries: BTreeSet<String> = names(&folder("fuzz_targets"))
        .iter()
        .filter_map(|name| name.strip_suffix(".rs").map(str::to_owned))
        .collect();
    let seeded: BTreeSet<String> = kept("seeds").into_iter().map(|(target, _)| target).collect();
    assert_eq!((&binaries, &seeded), (&known, &known));
    assert!(kept("cases").iter().all(|(target, _)| known.contains(target)));
}

#[test]
fn every_case_says_in_a_sentence_what_it_was() {
    let page = fs::read_to_string(folder("cases.md")).expect("engine/fuzz/cases.md");
    let told: BTreeSet<(String, String)> = page
        .lines()
        .filter_map(|line| line.strip_prefix("- `")?.split_once("`: "))
        .filter_map(|(case, sentence)| case.split_once('/').filter(|_| sentence.ends_with('.')))
        .map(|(target, name)| (target.to_owned(), name.to_owned()))
        .collect();
    assert_eq!(told, kept("cases"));
}
