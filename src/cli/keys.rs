//! `tidegate keys`: make and look after the keys.
//!
//! Never prints a key. What it prints of a domain is the key id, which stands in each of its sealed tokens: by it one can tell
//! whose a token is.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::keys::{self, KeyRing};
use crate::vault::Vault;
use crate::vault::token::MARK;

use super::Exit;

/// What the command line says.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Make a folder with a new root key
    Init {
        /// The folder; `keys` in the settings
        #[arg(default_value = "keys")]
        folder: PathBuf,
    },
    /// List the domains of tokens and how their tokens begin
    List {
        /// The folder; `keys` in the settings
        #[arg(default_value = "keys")]
        folder: PathBuf,
    },
}

/// Runs the command.
pub fn run(args: Args, out: &mut dyn Write, err: &mut dyn Write) -> Exit {
    let done = match args.command {
        Command::Init { folder } => keys::init(&folder).map(|()| made(&folder, out)),
        Command::List { folder } => {
            list(&folder).map(|lines| lines.iter().try_for_each(|line| writeln!(out, "{line}")))
        }
    };
    match done {
        Ok(Ok(())) => Exit::Clean,
        // Nobody reads on.
        Ok(Err(_)) => Exit::Unusable,
        Err(error) => {
            let _ = writeln!(err, "{error}");
            Exit::Unusable
        }
    }
}

fn made(folder: &Path, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "made a root key in `{}`", folder.display())?;
    writeln!(
        out,
        "  Keep a backup of this folder elsewhere: without it no token can ever be turned back, and with it anybody can."
    )
}

fn list(folder: &Path) -> Result<Vec<String>, keys::Error> {
    let ring = Arc::new(KeyRing::open(folder)?);
    let (domains, vault) = (ring.list()?, Vault::new(ring));
    let width = domains.iter().map(|(domain, _)| domain.as_str().len()).fold("DOMAIN".len(), usize::max);
    let mut lines = vec![format!("{:width$}  EPOCH  TOKENS BEGIN WITH", "DOMAIN")];
    for (domain, epoch) in domains {
        let id = vault.key_id(&domain)?;
        lines.push(format!("{:width$}  {:<5}  {MARK}{id}", domain.as_str(), epoch.0));
    }
    Ok(lines)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{DomainId, Shape};
    use crate::vault::token::Value;

    fn check(command: Command) -> (Exit, String, String) {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let exit = run(Args { command }, &mut out, &mut err);
        (exit, String::from_utf8(out).unwrap(), String::from_utf8(err).unwrap())
    }

    #[test]
    fn init_makes_keys_once_and_list_names_the_domains_by_their_tokens() {
        let temporary = tempfile::tempdir().unwrap();
        let folder = temporary.path().join("keys");
        let (exit, out, err) = check(Command::Init { folder: folder.clone() });
        assert_eq!((exit, err.as_str()), (Exit::Clean, ""));
        assert!(out.contains("backup"), "{out}");

        let (exit, out, err) = check(Command::Init { folder: folder.clone() });
        assert_eq!((exit, out.as_str()), (Exit::Unusable, ""));
        assert!(err.contains("there is a root key already"), "{err}");

        let vault = Vault::new(Arc::new(KeyRing::open(&folder).unwrap()));
        let mut token = Vec::new();
        let sealer = vault.sealer(&DomainId::parse("parcelo").unwrap(), None, Shape::Opaque).unwrap();
        sealer.issue(Value::Text("anna"), &mut token);
        let begin = std::str::from_utf8(&token[..9]).unwrap();
        let (exit, out, err) = check(Command::List { folder });
        assert_eq!((exit, err.as_str()), (Exit::Clean, ""));
        assert_eq!(out, format!("DOMAIN   EPOCH  TOKENS BEGIN WITH\nparcelo  1      {begin}\n"));
    }

    #[test]
    fn a_folder_that_is_not_there_is_said_on_standard_error() {
        let (exit, out, err) = check(Command::List { folder: PathBuf::from("/nowhere/keys") });
        assert_eq!((exit, out.as_str()), (Exit::Unusable, ""));
        assert!(err.contains("there is no key folder here"), "{err}");
    }
}
