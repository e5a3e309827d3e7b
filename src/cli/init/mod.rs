//! `tidegate init`: settings and a first policy for a user's own upstream.
//!
//! Writes into a folder and never over anything that is there. The two texts beside this file are what it writes; a test
//! holds them to be clean. Start at [`run`].

use std::fs;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use data_encoding::HEXLOWER;
use sha2::{Digest, Sha256};

use super::Exit;
use crate::keys;

const SETTINGS: &str = include_str!("tidegate.toml");
const POLICY: &str = include_str!("first-partner.toml");
const CERTS: &str = "# Certificates\n\nPEM files that `tidegate.toml` and the policies name: Tidegate's own certificate and key (the key \
                     readable by its owner only), and the authorities of the partners.\n";
const IGNORE: &str = "/keys/\n/record/\n*.key\n";

/// What the command line says.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Where to write; made if it is not there
    #[arg(value_name = "FOLDER", default_value = ".")]
    folder: PathBuf,
    /// The API that partners will call through Tidegate
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:8000")]
    upstream: String,
}

/// Runs the command.
pub fn run(args: Args, out: &mut dyn Write, err: &mut dyn Write) -> Exit {
    match scaffold(&args) {
        Ok(key) => {
            let _ = tell(&args.folder, &key, out);
            Exit::Clean
        }
        Err(message) => {
            let _ = writeln!(err, "init: {message}");
            Exit::Unusable
        }
    }
}

/// Writes everything; returns the first partner's key.
fn scaffold(args: &Args) -> Result<String, String> {
    let in_folder = |name: &str| args.folder.join(name);
    if args.upstream.contains(['"', '\\', '\n']) || !args.upstream.starts_with("http") {
        return Err(format!("`{}` is not a URL of the form `https://host:port`", args.upstream));
    }
    let mut random = [0; 24];
    getrandom::fill(&mut random).map_err(|error| format!("no randomness: {error}"))?;
    let key = HEXLOWER.encode(&random);
    let digest = HEXLOWER.encode(&Sha256::digest(key.as_bytes()));
    let files = [
        ("tidegate.toml", SETTINGS.replace("@upstream@", &args.upstream)),
        ("policies/first-partner.toml", POLICY.replace("@digest@", &digest)),
        ("certs/README.md", CERTS.to_owned()),
        (".gitignore", IGNORE.to_owned()),
    ];
    // All are looked at before any is written: half a scaffold helps nobody.
    for name in files.iter().map(|(name, _)| *name).chain(["keys"]) {
        if in_folder(name).symlink_metadata().is_ok() {
            return Err(format!("`{}` is there already; nothing was written", in_folder(name).display()));
        }
    }
    for (name, text) in &files {
        let path = in_folder(name);
        write(&path, text).map_err(|error| format!("cannot write `{}`: {error}", path.display()))?;
    }
    keys::init(&in_folder("keys")).map_err(|error| error.to_string())?;
    Ok(key)
}

fn write(path: &Path, text: &str) -> std::io::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    fs::OpenOptions::new().write(true).create_new(true).mode(0o644).open(path)?.write_all(text.as_bytes())
}

fn tell(folder: &Path, key: &str, out: &mut dyn Write) -> std::io::Result<()> {
    let at = folder.display();
    writeln!(out, "written to `{at}`:")?;
    writeln!(out, "  tidegate.toml                how Tidegate runs")?;
    writeln!(out, "  policies/first-partner.toml  what the first partner gets")?;
    writeln!(
        out,
        "  keys/                        what tokens are made with: keep a copy apart, and out of version control"
    )?;
    writeln!(out, "  certs/                       for your certificates\n")?;
    writeln!(out, "the first partner's API key, shown this once: {key}\n")?;
    writeln!(out, "next: edit the two files, then, in `{at}`:")?;
    writeln!(out, "  tidegate check")?;
    writeln!(out, "  tidegate run")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy;

    fn check(folder: &Path, args: &[&str]) -> (Exit, String) {
        let args = args.iter().map(std::ffi::OsString::from);
        let args = ["tidegate", "init"].map(std::ffi::OsString::from).into_iter().chain([folder.into()]).chain(args);
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let exit = super::super::run(args, &mut out, &mut err);
        out.append(&mut err);
        (exit, String::from_utf8(out).unwrap())
    }

    #[test]
    fn the_first_policy_is_clean_and_knows_the_key_that_was_printed() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().join("boundary");
        let (exit, said) = check(&folder, &["--upstream", "https://orders.example:8000"]);
        assert_eq!(exit, Exit::Clean, "{said}");
        let text = fs::read_to_string(folder.join("policies/first-partner.toml")).unwrap();
        let (read, diagnostics) = policy::read("first-partner.toml", &text);
        assert!(diagnostics.is_empty(), "{diagnostics:?}");
        let key =
            said.lines().find_map(|line| line.strip_prefix("the first partner's API key, shown this once: ")).unwrap();
        let known = read.unwrap().identify.api_key.unwrap().sha256;
        assert_eq!(known, [<[u8; 32]>::from(Sha256::digest(key.as_bytes()))]);
        let settings = fs::read_to_string(folder.join("tidegate.toml")).unwrap();
        assert!(settings.contains("url = \"https://orders.example:8000\""));
    }

    #[test]
    fn nothing_that_is_there_is_written_over() {
        for there in ["tidegate.toml", "policies/first-partner.toml", ".gitignore", "keys"] {
            let folder = tempfile::tempdir().unwrap();
            write(&folder.path().join(there), "mine").unwrap();
            let (exit, said) = check(folder.path(), &[]);
            assert_eq!(exit, Exit::Unusable);
            assert!(said.contains(there) && said.contains("there already"), "{said}");
            assert_eq!(fs::read_to_string(folder.path().join(there)).unwrap(), "mine");
        }
    }

    #[test]
    fn an_upstream_that_is_no_url_is_said() {
        let folder = tempfile::tempdir().unwrap();
        for wrong in ["orders", "http://x\"\n[evil]", "ftp://x"] {
            assert_eq!(check(folder.path(), &["--upstream", wrong]).0, Exit::Unusable);
        }
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
