//! The house rules as a test: reads the sources as text and holds them against tables.
//!
//! Not a parser: comments and the insides of strings are blanked out and the rest is searched. Start at [`LAYERS`] (who may
//! use whom inside) and [`CRATES`] (who may name which foreign crate): moving an arrow is a line in a review.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test may stop at the first surprise"
)]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// The layers of `docs/architecture.md`, lowest first. A module may use those of lower layers.
const LAYERS: &[&[&str]] = &[
    &["ids", "secret", "clock", "verdict"],
    &["policy", "json", "frames"],
    &["vault", "ledger", "keys", "http", "telemetry"],
    &["crossing", "registry"],
    &["proxy", "admin"],
    &["config"],
    &["main", "lib", "cli", "app"],
];

/// Arrows inside a layer.
const ASIDE: &[(&str, &str)] = &[
    ("verdict", "ids"),
    ("policy", "json"),
    ("policy", "frames"),
    ("vault", "keys"),
    ("vault", "http"),
    ("ledger", "keys"),
    ("keys", "http"),
    ("vault", "telemetry"),
    ("ledger", "telemetry"),
    ("keys", "telemetry"),
    ("http", "telemetry"),
    ("registry", "crossing"),
    ("main", "cli"),
    ("cli", "app"),
];

/// Foreign crates that only some places may name, by prefix of the path below `src/`.
const CRATES: &[(&str, &[&str])] = &[
    ("hyper", &["http/", "proxy/", "admin/"]),
    ("hyper_util", &["http/", "proxy/", "admin/"]),
    ("hyper_rustls", &["http/", "proxy/upstream.rs"]),
    ("rustls", &["http/", "proxy/upstream.rs", "vault/store/postgres/tls.rs"]),
    ("tokio_rustls", &["http/", "proxy/upstream.rs", "vault/store/postgres/tls.rs"]),
    ("jsonpath_rust", &["json/path.rs"]),
    ("serde_json_path", &["json/path"]),
    ("governor", &["proxy/limits.rs"]),
    ("rcgen", &["cli/demo", "http/testing"]),
    ("notify", &["registry"]),
    ("prometheus_client", &["telemetry", "admin/"]),
    ("jsonwebtoken", &["registry/"]),
    ("clap", &["cli/"]),
    ("rustix", &["cli/harden", "vault/store/embedded/journals"]),
    ("aes_siv", &["keys/root", "vault/seal"]),
    ("fpe", &["vault/seal"]),
    ("tokio_postgres", &["vault/store/postgres"]),
    ("fjall", &["vault/store/embedded"]),
    ("quick_cache", &["vault/store/embedded"]),
    ("xxhash_rust", &["vault/store/embedded"]),
];

/// Where a test's subject is a peer that is slow, so that it has to be slow. Nowhere else does a test sleep.
const SLOW: &[&str] = &["src/http/body/tests.rs", "src/http/listener/tests.rs"];

/// Refusals that nothing can provoke yet, and why.
const UNPROVOKED: &[(&str, &str)] = &[];

/// The only place for `unsafe`.
const UNSAFE: &str = "src/json/simd/";

/// Longest file, in lines.
const LINES_MAX: usize = 600;

struct Source {
    /// Relative to the repository.
    name: String,
    text: String,
    /// The text with comments and the insides of strings blanked out; same lines.
    code: String,
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries {
        let path = entry.expect("a readable folder").path();
        let name = path.file_name().and_then(|n| n.to_str()).unwrap_or_default();
        if path.is_dir() {
            if !matches!(name, "target" | ".git" | "node_modules" | "corpus" | "artifacts") {
                walk(&path, found);
            }
        } else {
            found.push(path);
        }
    }
}

fn files(folders: &[&str], ending: &str) -> Vec<Source> {
    let mut paths = Vec::new();
    for folder in folders {
        walk(&root().join(folder), &mut paths);
    }
    paths.sort();
    let read = |path: &PathBuf| {
        let name = path.strip_prefix(root()).expect("below the root").to_string_lossy().into_owned();
        let text = fs::read_to_string(path).unwrap_or_default();
        let code = blank(&text);
        Source { name, text, code }
    };
    paths.iter().filter(|p| p.to_string_lossy().ends_with(ending)).map(read).collect()
}

/// Replaces comments and the insides of strings by spaces, so that what is left is code. Line ends stay.
fn blank(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let at = |i: usize| chars.get(i).copied().unwrap_or('\0');
    let (mut out, mut i) = (String::with_capacity(text.len()), 0);
    let hide = |out: &mut String, c: char| out.push(if c == '\n' { '\n' } else { ' ' });
    while i < chars.len() {
        match (at(i), at(i + 1)) {
            ('/', '/') => {
                while i < chars.len() && at(i) != '\n' {
                    hide(&mut out, at(i));
                    i += 1;
                }
            }
            ('/', '*') => {
                let mut depth = 0;
                while i < chars.len() {
                    if (at(i), at(i + 1)) == ('/', '*') {
                        depth += 1;
                        i += 2;
                    } else if (at(i), at(i + 1)) == ('*', '/') {
                        depth -= 1;
                        i += 2;
                        if depth == 0 {
                            break;
                        }
                    } else {
                        hide(&mut out, at(i));
                        i += 1;
                    }
                }
            }
            ('r', '"' | '#') if !(i > 0 && (at(i - 1).is_alphanumeric() && at(i - 1) != 'b' || at(i - 1) == '_')) => {
                let hashes = (i + 1..).take_while(|&j| at(j) == '#').count();
                if at(i + 1 + hashes) != '"' {
                    out.push('r');
                    i += 1;
                    continue;
                }
                i += hashes + 2;
                out.push('"');
                while i < chars.len() && !(at(i) == '"' && (1..=hashes).all(|h| at(i + h) == '#')) {
                    hide(&mut out, at(i));
                    i += 1;
                }
                i += hashes + 1;
                out.push('"');
            }
            ('"', _) => {
                out.push('"');
                i += 1;
                while i < chars.len() && at(i) != '"' {
                    if at(i) == '\\' {
                        out.push(' ');
                        i += 1;
                    }
                    hide(&mut out, at(i));
                    i += 1;
                }
                out.push('"');
                i += 1;
            }
            ('\'', '\\') => {
                i += 3;
                while i < chars.len() && at(i) != '\'' {
                    i += 1;
                }
                out.push_str("' '");
                i += 1;
            }
            ('\'', _) if at(i + 2) == '\'' => {
                out.push_str("' '");
                i += 3;
            }
            (c, _) => {
                out.push(c);
                i += 1;
            }
        }
    }
    out
}

/// The top module that a source below `src/` belongs to.
fn module_of(name: &str) -> &str {
    let inner = name.strip_prefix("src/").expect("a source of the program");
    inner.split(['/', '.']).next().unwrap_or_default()
}

fn layer_of(module: &str) -> Option<usize> {
    LAYERS.iter().position(|layer| layer.contains(&module))
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Every place where `word` stands by itself, as byte offsets.
fn occurrences<'a>(code: &'a str, word: &'a str) -> impl Iterator<Item = usize> + 'a {
    code.match_indices(word).map(|(at, _)| at).filter(move |&at| {
        let before = code[..at].chars().next_back().is_some_and(is_word);
        let after = code[at + word.len()..].chars().next().is_some_and(is_word);
        !before && !after
    })
}

/// The modules that follow a `crate::` (or the like): one name, or the first names of a group.
fn heads(rest: &str) -> Vec<String> {
    let word = |text: &str| text.chars().take_while(|&c| is_word(c)).collect::<String>();
    let Some(group) = rest.trim_start().strip_prefix('{') else { return vec![word(rest.trim_start())] };
    let (mut depth, mut start, mut found) = (0, true, Vec::new());
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => start = true,
            c if start && is_word(c) => {
                found.push(word(&group[at..]));
                start = false;
            }
            _ => {}
        }
    }
    found
}

fn line_of(code: &str, at: usize) -> usize {
    code[..at].matches('\n').count() + 1
}

fn none(rule: &str, complaints: Vec<String>) {
    assert!(complaints.is_empty(), "{rule}:\n  {}\n", complaints.join("\n  "));
}

#[test]
fn a_module_uses_lower_layers_only() {
    let mut complaints = Vec::new();
    for source in files(&["src"], ".rs") {
        let from = module_of(&source.name);
        let Some(from_layer) = layer_of(from) else {
            complaints.push(format!("{}: `{from}` has no layer", source.name));
            continue;
        };
        if from == "lib" {
            continue;
        }
        let depth = source.name.trim_end_matches("/mod.rs").matches('/').count();
        let mut uses = Vec::new();
        let root = if from == "main" { "tidegate" } else { "crate" };
        for at in occurrences(&source.code, root) {
            if let Some(rest) = source.code[at + root.len()..].strip_prefix("::") {
                uses.extend(heads(rest).into_iter().map(|to| (at, to)));
            }
        }
        // As many `super` as the file is deep reach the top, which is written `crate`. (One more inside `mod tests`.)
        let chain = "super::".repeat(depth + 1);
        for (at, _) in source.code.match_indices(&chain) {
            complaints.push(format!("{}:{}: write `crate::`", source.name, line_of(&source.code, at)));
        }
        for (at, to) in uses {
            let aside = from == to || ASIDE.contains(&(from, to.as_str()));
            let lower = layer_of(&to).is_some_and(|to_layer| to_layer < from_layer);
            if !aside && !lower {
                let line = line_of(&source.code, at);
                complaints.push(format!("{}:{line}: `{from}` may not use `{to}`", source.name));
            }
        }
    }
    none("an item imports from lower layers only", complaints);
}

#[test]
fn foreign_crates_are_named_in_their_places_only() {
    let mut complaints = Vec::new();
    for source in files(&["src"], ".rs") {
        let inner = source.name.trim_start_matches("src/");
        for (name, places) in CRATES {
            if places.iter().any(|place| inner.starts_with(place)) {
                continue;
            }
            for at in occurrences(&source.code, name) {
                let used = source.code[at + name.len()..].starts_with("::");
                let inside = source.code[..at].ends_with("crate::") || source.code[..at].ends_with("super::");
                if used && !inside {
                    complaints.push(format!("{}:{}: `{name}`", source.name, line_of(&source.code, at)));
                }
            }
        }
    }
    none("a crate is named where CRATES allows it", complaints);
}

#[test]
fn unsafe_code_is_in_one_module_only() {
    let mut complaints = Vec::new();
    for source in files(&["src", "tests", "benches"], ".rs").iter().filter(|s| !s.name.starts_with(UNSAFE)) {
        for at in occurrences(&source.code, "unsafe").chain(occurrences(&source.code, "unsafe_code")) {
            complaints.push(format!("{}:{}", source.name, line_of(&source.code, at)));
        }
    }
    none("`unsafe` and the lint's exceptions are in one module", complaints);
    for source in files(&[UNSAFE], ".rs") {
        let lines: Vec<&str> = source.text.lines().collect();
        for (number, line) in lines.iter().enumerate() {
            let proven = number > 0 && lines[number - 1].trim_start().starts_with("// SAFETY: ");
            assert!(!line.contains("unsafe {") || proven, "{}:{}: without a proof", source.name, number + 1);
        }
    }
}

#[test]
fn no_file_is_longer_than_600_lines() {
    let long = |source: &Source| source.text.lines().count() > LINES_MAX;
    let sources = files(&["src", "tests", "benches"], ".rs");
    none("a file holds one idea", sources.iter().filter(|s| long(s)).map(|s| s.name.clone()).collect());
}

#[test]
fn nothing_is_re_exported_outside_the_front_door() {
    let mut complaints = Vec::new();
    for source in files(&["src"], ".rs").iter().filter(|s| s.name != "src/lib.rs") {
        for (number, line) in source.code.lines().enumerate() {
            let line = line.trim_start();
            if line.starts_with("pub use") || (line.starts_with("pub(") && line.contains(") use ")) {
                complaints.push(format!("{}:{}", source.name, number + 1));
            }
        }
    }
    none("an item has one path", complaints);
}

#[test]
fn every_file_begins_with_its_module_doc() {
    let sources = files(&["src", "tests", "benches"], ".rs");
    // `x/tests.rs` is the foot of `x.rs`, moved out.
    let bare = sources.iter().filter(|s| !s.name.ends_with("/tests.rs") && !s.text.starts_with("//! "));
    none("a module says what it is", bare.map(|s| s.name.clone()).collect());
}

#[test]
fn no_to_do_is_left_but_the_counted_kinds() {
    let mut counted: BTreeMap<&str, usize> = BTreeMap::new();
    let mut complaints = Vec::new();
    let words = [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X:")];
    for source in files(&["src", "tests", "benches", "scripts", ".ci"], "") {
        for (number, line) in source.text.lines().enumerate() {
            for kind in ["TODO-hardening:", "TODO-coverage:"] {
                *counted.entry(kind).or_default() += line.matches(kind).count();
            }
            let rest = line.replace("TODO-hardening:", "").replace("TODO-coverage:", "");
            if source.name != "tests/tidy.rs" && words.iter().any(|word| rest.contains(word)) {
                complaints.push(format!("{}:{}", source.name, number + 1));
            }
        }
    }
    println!("{counted:?}");
    none("what is to be done is an issue", complaints);
}

#[test]
fn tests_neither_sleep_nor_are_switched_off() {
    let mut complaints = Vec::new();
    for source in files(&["src", "tests"], ".rs") {
        let tests = if SLOW.contains(&source.name.as_str()) {
            source.code.len()
        } else if source.name.starts_with("tests/") || source.name.ends_with("tests.rs") {
            0
        } else {
            source.code.find("#[cfg(test)]\nmod tests {").unwrap_or(source.code.len())
        };
        for word in ["sleep(", "#[ignore", "#[should_panic"] {
            let from = if word == "sleep(" { tests } else { 0 };
            for (at, _) in source.code[from..].match_indices(word) {
                complaints.push(format!("{}:{}: `{word}`", source.name, line_of(&source.code, from + at)));
            }
        }
    }
    none("a test turns the clock and runs always", complaints);
}

#[test]
fn every_kind_of_refusal_has_an_end_to_end_test() {
    let verdict = fs::read_to_string(root().join("src/verdict.rs")).expect("src/verdict.rs");
    let e2e: String = files(&["tests/e2e"], ".rs").into_iter().map(|s| s.text).collect();
    let codes = verdict
        .lines()
        .filter_map(|line| line.trim().strip_prefix("Self::")?.split_once("=> \"")?.1.split('"').next())
        .take_while(|code| *code != "delivered");
    let codes = codes.filter(|code| UNPROVOKED.iter().all(|(unprovoked, _)| unprovoked != code));
    let missing = codes.filter(|code| !e2e.contains(&format!("\"{code}\"")));
    none("a refusal is provoked by a test", missing.map(ToOwned::to_owned).collect());
}

/// The codes that a source gives as `Variant => "code"`, with their variants.
fn codes(file: &str, prefix: &str) -> Vec<(String, String)> {
    let text = fs::read_to_string(root().join(file)).unwrap_or_else(|_| panic!("{file} is missing"));
    let of = |line: &str| {
        let (variant, rest) = line.trim().strip_prefix(prefix)?.split_once(" => \"")?;
        let word = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        let code =
            rest.split('"').next().filter(|code| code.contains('_') || word(code.chars().next().unwrap_or(' ')))?;
        let name: String = variant.chars().take_while(|&c| is_word(c)).collect();
        (code.chars().all(word) && !name.is_empty()).then(|| (name, code.to_owned()))
    };
    text.lines().filter_map(of).take_while(|(_, code)| code != "delivered").collect()
}

#[test]
fn every_refusal_is_in_the_list_of_errors_and_none_is_dead() {
    let errors = fs::read_to_string(root().join("docs/errors.md")).expect("docs/errors.md");
    let refusals = codes("src/verdict.rs", "Self::");
    let faults = [codes("src/json/mod.rs", ""), codes("src/frames/mod.rs", "")].concat();
    assert!(refusals.len() > 25 && faults.len() > 20, "{refusals:?} {faults:?}");
    let listed = errors.split_once("\n## Refusals\n").expect("a section `Refusals`").1;
    let listed = listed.split("\n## Ways").next().unwrap_or_default();
    let first = listed.lines().filter_map(|line| line.strip_prefix("| `")?.split('|').next());
    let listed: Vec<&str> = first.flat_map(|cell| cell.split(',')).map(|code| code.trim_matches([' ', '`'])).collect();
    let known: Vec<&str> = refusals.iter().chain(&faults).map(|(_, code)| code.as_str()).collect();
    let mut complaints: Vec<String> = Vec::new();
    complaints.extend(known.iter().filter(|code| !listed.contains(code)).map(|code| format!("`{code}` is not listed")));
    let answers = ["temporarily_unavailable", "error_status"];
    let strange = listed.iter().filter(|code| !known.contains(code) && !answers.contains(code));
    complaints.extend(strange.map(|code| format!("`{code}` is listed, and no code")));
    let sources = files(&["src"], ".rs");
    let elsewhere = |file: &[&str], word: String| {
        let others = sources.iter().filter(|source| !file.contains(&source.name.as_str()));
        others.flat_map(|source| occurrences(&source.code, &word)).next().is_some()
    };
    for (variant, code) in &refusals {
        let provoked = UNPROVOKED.iter().all(|(unprovoked, _)| unprovoked != code);
        if provoked && !elsewhere(&["src/verdict.rs", "src/proxy/refuse.rs"], format!("Refusal::{variant}")) {
            complaints.push(format!("nothing refuses with `{code}`"));
        }
    }
    for (variant, code) in &faults {
        if !elsewhere(&["src/json/mod.rs", "src/frames/mod.rs"], variant.clone()) {
            complaints.push(format!("nothing finds `{code}`"));
        }
    }
    none("docs/errors.md lists every refusal, and no other", complaints);
}

#[test]
fn what_the_documents_link_to_exists() {
    let mut documents = files(&["docs", "policies", "certs", "scripts", "examples", "deploy"], ".md");
    for name in ["README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md"] {
        let text = fs::read_to_string(root().join(name)).unwrap_or_else(|_| panic!("{name} is missing"));
        documents.push(Source { name: name.to_owned(), code: String::new(), text });
    }
    let mut complaints = Vec::new();
    for document in &documents {
        let folder = root().join(&document.name).parent().expect("a folder").to_owned();
        for (at, _) in document.text.match_indices("](") {
            let target = document.text[at + 2..].split([')', ' ']).next().unwrap_or_default();
            let (path, anchor) = target.split_once('#').unwrap_or((target, ""));
            if target.contains("://") || target.starts_with("mailto:") {
                continue;
            }
            let line = line_of(&document.text, at);
            let file = if path.is_empty() { root().join(&document.name) } else { folder.join(path) };
            if !file.exists() {
                complaints.push(format!("{}:{line}: `{target}` does not exist", document.name));
            } else if !anchor.is_empty() && !has_heading(&fs::read_to_string(&file).unwrap_or_default(), anchor) {
                complaints.push(format!("{}:{line}: `{path}` has no heading `{anchor}`", document.name));
            }
        }
    }
    none("a link leads somewhere", complaints);
}

/// Whether a Markdown text has the heading that GitHub calls `anchor`.
fn has_heading(text: &str, anchor: &str) -> bool {
    let slug = |line: &str| {
        let kept = |c: char| (c.is_alphanumeric() || matches!(c, ' ' | '-' | '_')).then(|| c.to_ascii_lowercase());
        line.trim_start_matches('#').trim().chars().filter_map(kept).collect::<String>().replace(' ', "-")
    };
    text.lines().filter(|line| line.starts_with('#')).any(|line| slug(line) == anchor)
}

#[test]
fn blanking_hides_comments_and_strings_and_keeps_lines() {
    let check = |text: &str, expected: &str| assert_eq!(blank(text), expected, "{text}");
    check("a // b\nc", "a     \nc");
    check("x(\"crate::y\", 'z')", "x(\"        \", ' ')");
    check("r#\"a\"b\"# + '\\'' + 'static", "\"   \" + ' ' + 'static");
    check("/* a /* b */ c */d", &format!("{}d", " ".repeat(9)));
}

#[test]
fn groups_of_imports_are_read_by_their_heads() {
    let check = |text: &str, expected: &[&str]| assert_eq!(heads(text), expected, "{text}");
    check("ids::Leg;", &["ids"]);
    check("{http, ledger::{self, entry}, telemetry};", &["http", "ledger", "telemetry"]);
}
