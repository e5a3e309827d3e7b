//! Policies as data: every diagnostic code has a file that provokes it, every example of the handbook is read, and docs and
//! code agree on the codes.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may stop at the first surprise"
)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use tidegate::policy::compile::compile;
use tidegate::policy::diagnostic::{Diagnostic, Severity};
use tidegate::policy::{codes, held, lint, read};

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn text(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Everything that is said of these files as one set, on a day in 2026.
fn complaints(files: &[(String, String)]) -> Vec<Diagnostic> {
    let (mut found, mut set) = (Vec::new(), Vec::new());
    for (name, text) in files {
        let (policy, complaints) = read(name, text);
        let failed = complaints.iter().any(|complaint| complaint.severity == Severity::Error);
        assert_eq!(policy.is_none(), failed, "{name}: a policy only if nothing is an error");
        found.extend(complaints);
        match policy.map(compile) {
            Some(Ok(compiled)) => set.push(compiled),
            Some(Err(complaints)) => found.extend(complaints),
            None => {}
        }
    }
    found.extend(lint::lint(&set, jiff::civil::date(2026, 6, 1)));
    found.extend(set.iter().flat_map(held::notes));
    found
}

fn rendered(files: &[(String, String)], found: &[Diagnostic]) -> String {
    let mut out = String::new();
    for diagnostic in found {
        let (_, text) = files.iter().find(|(name, _)| **name == *diagnostic.file).unwrap();
        out.push_str(&diagnostic.render(text, false));
        out.push_str("\n\n");
    }
    out
}

/// The data files: `P017.toml`, with `P017.with.toml` beside it where it takes two.
fn cases() -> Vec<PathBuf> {
    let folder = root().join("tests/diagnostics");
    let mut cases: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    cases.retain(|path| {
        let name = path.file_name().unwrap().to_str().unwrap();
        name.ends_with(".toml") && name.matches('.').count() == 1
    });
    cases.sort();
    cases
}

/// To write the expectations anew after a change of words: `TIDEGATE_WRITE=1 cargo test --test policy`.
#[test]
fn every_code_is_provoked_by_its_file_and_said_as_expected() {
    let mut provoked = BTreeSet::new();
    let mut wrong = Vec::new();
    for case in cases() {
        let stem = case.file_stem().unwrap().to_str().unwrap().to_owned();
        let mut files = vec![(format!("{stem}.toml"), text(&case))];
        let beside = case.with_file_name(format!("{stem}.with.toml"));
        if beside.exists() {
            files.insert(0, ("other.toml".to_owned(), text(&beside)));
        }
        let found = complaints(&files);
        if !(found.iter().any(|diagnostic| diagnostic.code == stem) || beyond(&stem)) {
            wrong.push(format!("{stem} is not provoked"));
        }
        if !found.iter().all(|diagnostic| diagnostic.code == stem || diagnostic.severity == Severity::Note) {
            wrong.push(format!("{stem} provokes others too"));
        }
        provoked.insert(stem.clone());
        let expected = case.with_extension("txt");
        let said = rendered(&files, &found);
        if beyond(&stem) {
            assert_eq!(said, "", "{stem}");
        } else if std::env::var_os("TIDEGATE_WRITE").is_some() {
            fs::write(&expected, &said).unwrap();
        } else if fs::read_to_string(&expected).unwrap_or_default() != said {
            wrong.push(format!("{}:\n{said}", expected.display()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let all: BTreeSet<String> = codes::ALL.iter().map(|(code, _)| (*code).to_owned()).collect();
    assert_eq!(provoked, all);
}

/// Codes that need more than a file of ordinary size: provoked by tests of their own.
fn beyond(code: &str) -> bool {
    [codes::UPSTREAM_UNKNOWN, codes::FILE_UNREADABLE, codes::KEYS_WRONG, codes::STORE_WRONG, codes::TOO_COMPLEX]
        .contains(&code)
}

#[test]
fn paths_that_are_too_complex_together_are_refused() {
    let mut policy = text(&root().join("tests/diagnostics/P050.toml"));
    let rule = policy.lines().find(|line| line.trim_start().starts_with("{ path")).unwrap().to_owned();
    let many: String = (0..1400).map(|_| format!("{rule}\n")).collect();
    policy = policy.replace(&format!("{rule}\n"), &many);
    let found = complaints(&[("P050.toml".to_owned(), policy)]);
    assert!(found.iter().any(|diagnostic| diagnostic.code == codes::TOO_COMPLEX), "{} complaints", found.len());
}

/// The blocks of a page that begin with this fence.
fn blocks(page: &str, fence: &str) -> Vec<(String, String)> {
    let mut blocks = Vec::new();
    let mut lines = page.lines().enumerate();
    while let Some((number, line)) = lines.next() {
        if line == fence {
            let body: Vec<&str> = lines.by_ref().map(|(_, line)| line).take_while(|line| *line != "```").collect();
            blocks.push((format!("line {}", number + 1), body.join("\n")));
        }
    }
    blocks
}

#[test]
fn every_example_of_the_handbook_is_a_policy_without_a_warning() {
    let page = text(&root().join("docs/policy.md"));
    let examples = blocks(&page, "```toml policy");
    assert!(examples.len() >= 2);
    for example in examples {
        let files = [example];
        let mut found = complaints(&files);
        found.retain(|diagnostic| diagnostic.severity != Severity::Note);
        assert!(found.is_empty(), "{}", rendered(&files, &found));
    }
}

#[test]
fn the_shipped_policies_load_together() {
    let files = ["admira", "parcelo"].map(|name| {
        let path = root().join("policies").join(name).with_extension("toml");
        (name.to_owned(), text(&path))
    });
    let mut found = complaints(&files);
    found.retain(|diagnostic| diagnostic.code != codes::PLACEHOLDER && diagnostic.severity != Severity::Note);
    assert!(found.is_empty(), "{}", rendered(&files, &found));
}

#[test]
fn docs_and_code_agree_on_the_codes() {
    let page = text(&root().join("docs/errors.md"));
    let documented: Vec<(&str, &str)> = page
        .lines()
        .filter_map(|line| {
            let mut cells = line.strip_prefix("| P")?.split(" | ");
            let code = line.get(2..6)?;
            let _ = cells.next()?;
            Some((code, cells.next()?))
        })
        .collect();
    assert_eq!(documented, codes::ALL);
}
