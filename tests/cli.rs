//! The real binary in a fresh folder: what a person types, reads and gets as an exit code.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may stop at the first surprise"
)]

use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

fn folder() -> TempDir {
    tempfile::tempdir().unwrap()
}

fn tidegate(folder: &Path, args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidegate"));
    command.args(args).current_dir(folder).stdin(Stdio::null()).env_remove("TIDEGATE_CONFIG");
    command.output().unwrap()
}

/// Runs it; exit code, standard output, standard error.
fn check(folder: &Path, args: &[&str]) -> (i32, String, String) {
    let output = tidegate(folder, args);
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code().expect("an exit, not a signal"), text(output.stdout), text(output.stderr))
}

#[test]
fn help_and_version_go_to_standard_output() {
    let folder = folder();
    let (code, out, err) = check(folder.path(), &["--help"]);
    assert_eq!((code, err.as_str()), (0, ""));
    for command in ["run", "check", "explain", "keys", "demo", "init", "version"] {
        assert!(out.contains(&format!("\n  {command}")), "{out}");
    }
    let (code, out, err) = check(folder.path(), &["version"]);
    assert_eq!((code, err.as_str(), out.trim()), (0, "", concat!("tidegate ", env!("CARGO_PKG_VERSION"))));
}

#[test]
fn nonsense_is_unusable_and_said_on_standard_error() {
    let folder = folder();
    for args in [&["chekc"][..], &[], &["run", "--nonsense"], &["explain"]] {
        let (code, out, err) = check(folder.path(), args);
        assert_eq!((code, out.as_str()), (2, ""), "{args:?}");
        assert!(!err.is_empty(), "{args:?}");
    }
}

#[test]
fn run_without_settings_says_what_is_missing() {
    let folder = folder();
    let (code, out, err) = check(folder.path(), &["run"]);
    assert_eq!((code, out.as_str()), (2, ""));
    assert!(err.contains("tidegate.toml"), "{err}");
}

#[test]
fn run_says_everything_that_is_wrong_with_the_settings_at_once() {
    let folder = folder();
    let text = "[[listener]]\nname = \"partners\"\naddress = \"127.0.0.1\"\nfacing = \"partnr\"\n\n[upstream.orders]\nurl = \"ftp://x\"\n\n[legder]\nfolder = \"x\"\n";
    fs::write(folder.path().join("tidegate.toml"), text).unwrap();
    let (code, _, err) = check(folder.path(), &["run"]);
    assert_eq!(code, 2);
    for place in ["tidegate.toml:3:", "tidegate.toml:4:", "tidegate.toml:7:", "tidegate.toml:9:"] {
        assert!(err.contains(place), "{place} in {err}");
    }
    assert!(err.contains("did you mean `ledger`?"), "{err}");
}

#[test]
fn what_init_writes_passes_check_and_is_never_written_over() {
    let folder = folder();
    let (code, out, err) = check(folder.path(), &["init", "boundary", "--upstream", "http://127.0.0.1:9"]);
    assert_eq!((code, err.as_str()), (0, ""), "{out}");
    let boundary = folder.path().join("boundary");
    let (code, out, err) = check(&boundary, &["check", "--deny-warnings"]);
    assert_eq!(code, 0, "{out}{err}");
    let before = fs::read_to_string(boundary.join("tidegate.toml")).unwrap();
    let (code, _, err) = check(folder.path(), &["init", "boundary"]);
    assert_eq!(code, 2);
    assert!(err.contains("there already"), "{err}");
    assert_eq!(fs::read_to_string(boundary.join("tidegate.toml")).unwrap(), before);
}

#[test]
fn check_has_its_exit_codes_and_names_file_line_and_column() {
    let folder = folder();
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("policies");
    let good = fs::read_to_string(shipped.join("admira.toml")).unwrap();
    fs::write(folder.path().join("good.toml"), &good).unwrap();
    assert_eq!(check(folder.path(), &["check", "good.toml"]).0, 0);
    // Its one warning is the digest that no key has.
    assert_eq!(check(folder.path(), &["check", "good.toml", "--deny-warnings"]).0, 1);

    fs::write(
        folder.path().join("bad.toml"),
        good.replace("\"pseudonymize\"", "x").replace("do = \"tokenize\"", "do = \"tokenise\""),
    )
    .unwrap();
    let (code, out, err) = check(folder.path(), &["check", "bad.toml"]);
    let said = format!("{out}{err}");
    let line = good.lines().position(|line| line.contains("do = \"tokenize\"")).unwrap() + 1;
    assert_eq!(code, 1, "{said}");
    assert!(said.contains(&format!("bad.toml:{line}:")) && said.contains("`tokenize`"), "{said}");
    assert_eq!(check(folder.path(), &["check", "nowhere.toml"]).0, 2);

    let (_, out, _) = check(folder.path(), &["check", "bad.toml", "--format", "json"]);
    let findings: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(findings[0]["file"], "bad.toml", "{findings}");
}

#[test]
fn explain_shows_what_becomes_of_each_leaf() {
    let folder = folder();
    let policy = Path::new(env!("CARGO_MANIFEST_DIR")).join("policies/parcelo.toml");
    fs::write(
        folder.path().join("order.json"),
        r#"{"id":"o-1","status":"packed","customer":{"name":"Zoë"},"margin":0.3}"#,
    )
    .unwrap();
    let args = ["explain", "--policy", policy.to_str().unwrap(), "--route", "GET /v1/orders/{id}", "order.json"];
    let (code, out, err) = check(folder.path(), &args);
    assert_eq!(code, 0, "{out}{err}");
    let line = |path: &str| out.lines().find(|line| line.contains(path)).unwrap_or_else(|| panic!("{path} in {out}"));
    assert!(line("$['id']").contains("tokenize"), "{out}");
    assert!(line("$['status']").contains("keep"), "{out}");
    assert!(line("$['margin']").contains("drop"), "{out}");
    assert!(out.contains("parcelo.toml:"), "{out}");
}

#[test]
fn keys_are_made_once_and_for_their_owner_only() {
    use std::os::unix::fs::PermissionsExt;
    let folder = folder();
    assert_eq!(check(folder.path(), &["keys", "init", "keys"]).0, 0);
    let mode = fs::metadata(folder.path().join("keys")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
    assert_eq!(check(folder.path(), &["keys", "init", "keys"]).0, 2);
}

#[test]
fn the_demo_shows_an_order_before_and_after() {
    let folder = folder();
    let (code, out, err) = check(folder.path(), &["demo", "--once"]);
    assert_eq!(code, 0, "{out}{err}");
    assert!(!out.contains('\x1b'), "no colours where there is no terminal");
    let gets = |who: &str| out.split(&format!("What {who}")).nth(1).unwrap().to_owned();
    let (parcelo, admira) = (gets("Parcelo gets"), gets("Admira,"));
    let parcelo = parcelo.split("What Admira").next().unwrap();
    assert!(out.contains("-     \"birth_date\": \"1960-01-10\""), "{out}");
    assert!(
        parcelo.contains(r#""name": "Zo\u00eb Lindqvist""#) && parcelo.contains("\"total\": 12345678901234567890.10"),
        "{parcelo}"
    );
    assert!(admira.contains("\"birth_date\": \"60-69\"") && !admira.contains("Lindqvist"), "{admira}");
    for secret in ["cus-10017", "zoe.lindqvist@mail.example", "fraud_score", "1960-01-10"] {
        assert!(!parcelo.contains(secret) && !admira.contains(secret), "{secret} in {parcelo}{admira}");
    }
    // The record is there, and the folder can be used again.
    let record = fs::read_dir(folder.path().join("tidegate-demo/record")).unwrap();
    let lines: String = record.map(|file| fs::read_to_string(file.unwrap().path()).unwrap()).collect();
    assert!(lines.contains("\"partner\":\"parcelo\"") && lines.contains("\"partner\":\"admira\""), "{lines}");
    assert!(!lines.contains("cus-10017") && !lines.contains("ord-2026"), "{lines}");
    assert_eq!(check(folder.path(), &["demo", "--once"]).0, 0);
}
