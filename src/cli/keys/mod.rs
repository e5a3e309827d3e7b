//! `tidegate keys`: make and look after the keys.
//!
//! Never prints a key. What it prints of a domain is the key id, which stands in each of its sealed tokens: by it one can tell
//! whose a token is, and of which epoch. Start at [`run`]; what a rotation breaks is in [`plan`], the end of a domain in
//! [`destroy`].

pub mod destroy;
pub mod plan;

use std::io::{self, BufRead, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::config;
use crate::ids::DomainId;
use crate::keys::{self, Epoch, KeyRing, source};
use crate::vault::Vault;
use crate::vault::token::MARK;

use super::{Exit, SettingsArgs};

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
        /// The folder [default: the settings', else `keys`]
        folder: Option<PathBuf>,
        #[command(flatten)]
        place: Place,
    },
    /// List the domains of tokens, their epochs and how their tokens begin
    List {
        /// The folder [default: the settings', else `keys`]
        folder: Option<PathBuf>,
        #[command(flatten)]
        place: Place,
    },
    /// Begin a new epoch: new tokens are made with a new key, old ones are still turned back
    Rotate(RotateArgs),
    /// Say what a rotation or the end of a domain means for each partner, and change nothing
    Plan {
        /// Of these domains alone
        #[arg(value_name = "DOMAIN")]
        domains: Vec<String>,
        #[command(flatten)]
        place: Place,
    },
    /// Destroy a domain or its old epochs: their tokens become dead text
    Destroy(destroy::Args),
}

#[derive(Debug, clap::Args)]
struct RotateArgs {
    /// The domains
    #[arg(value_name = "DOMAIN", required_unless_present = "all")]
    domains: Vec<String>,
    /// All domains that live
    #[arg(long, conflicts_with_all = ["domains", "begin_anew"])]
    all: bool,
    /// Domains that were destroyed: with another secret, which turns none of their old tokens back
    #[arg(long)]
    begin_anew: bool,
    #[command(flatten)]
    place: Place,
}

/// Where keys and policies are.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Place {
    /// The key folder, instead of the settings'
    #[arg(long, value_name = "FOLDER")]
    keys: Option<PathBuf>,
    /// The folder of the policies, instead of the settings'
    #[arg(long, value_name = "FOLDER")]
    policies: Option<PathBuf>,
    /// The settings file [default: `tidegate.toml`, if there is one]
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Set one key over file and environment
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
}

/// Where they turned out to be.
struct Found {
    keys: source::Settings,
    /// `None`: nobody said.
    policies: Option<PathBuf>,
}

impl Place {
    /// Looks into the settings only where something is not given.
    fn find(self, folder: Option<PathBuf>, err: &mut dyn Write) -> Result<Found, Exit> {
        let keys = folder.or_else(|| self.keys.clone()).map(|folder| source::Settings::folder(&folder));
        let settings = self.settings(keys.is_some(), err)?;
        Ok(match settings {
            Some(settings) => Found {
                keys: keys.unwrap_or(settings.keys),
                policies: Some(self.policies.unwrap_or(settings.policies)),
            },
            None => Found {
                keys: keys.unwrap_or_else(|| source::Settings::folder(Path::new("keys"))),
                policies: self.policies,
            },
        })
    }

    fn settings(&self, given: bool, err: &mut dyn Write) -> Result<Option<config::Settings>, Exit> {
        let usual = Path::new("tidegate.toml");
        let config = match &self.config {
            Some(config) => config.clone(),
            None if !given && usual.is_file() => usual.to_owned(),
            None => return Ok(None),
        };
        SettingsArgs { config, set: self.set.clone() }.load(err).map(Some)
    }
}

/// Why a command was not done.
enum Stop {
    Keys(keys::Error),
    /// It is said already, or nobody reads on.
    Said(Exit),
    /// A sentence for standard error.
    Say(String),
}

impl From<keys::Error> for Stop {
    fn from(error: keys::Error) -> Self {
        Self::Keys(error)
    }
}

impl From<io::Error> for Stop {
    fn from(_: io::Error) -> Self {
        Self::Said(Exit::Unusable)
    }
}

impl From<Exit> for Stop {
    fn from(exit: Exit) -> Self {
        Self::Said(exit)
    }
}

/// Runs the command.
pub fn run(args: Args, out: &mut dyn Write, err: &mut dyn Write) -> Exit {
    run_with(args, &mut io::stdin().lock(), out, err)
}

/// [`run`], reading answers from `input`.
fn run_with(args: Args, input: &mut dyn BufRead, out: &mut dyn Write, err: &mut dyn Write) -> Exit {
    let done = match args.command {
        Command::Init { folder, place } => init(folder, place, out, err),
        Command::List { folder, place } => list(folder, place, out, err),
        Command::Rotate(args) => rotate(args, out, err),
        Command::Plan { domains, place } => plan::run(&domains, place, out, err),
        Command::Destroy(args) => destroy::run(args, input, out, err),
    };
    match done {
        Ok(()) => Exit::Clean,
        Err(Stop::Said(exit)) => exit,
        Err(Stop::Keys(error)) => say(err, &error.to_string()),
        Err(Stop::Say(text)) => say(err, &text),
    }
}

fn say(err: &mut dyn Write, text: &str) -> Exit {
    let _ = writeln!(err, "{text}");
    Exit::Unusable
}

fn init(folder: Option<PathBuf>, place: Place, out: &mut dyn Write, err: &mut dyn Write) -> Result<(), Stop> {
    let found = place.find(folder, err)?.keys;
    source::init(&found)?;
    let folder = found.folder.display();
    match found.root {
        source::Source::Folder => writeln!(
            out,
            "made a root key in `{folder}`\n  Keep a backup of this folder elsewhere: without it no token can ever be turned back, and with it \
             anybody can."
        )?,
        source::Source::Environment { .. } | source::Source::Transit(_) => writeln!(
            out,
            "made `{folder}` for secrets that are wrapped by the root key elsewhere\n  Keep a backup of this folder and of that root key, apart \
             from each other: without either no token can ever be turned back."
        )?,
    }
    Ok(())
}

fn list(folder: Option<PathBuf>, place: Place, out: &mut dyn Write, err: &mut dyn Write) -> Result<(), Stop> {
    let ring = Arc::new(KeyRing::open_source(&place.find(folder, err)?.keys)?);
    let (domains, destroyed, remains) = (ring.list()?, ring.destroyed()?, ring.remains()?);
    let vault = Vault::new(Arc::clone(&ring));
    let names = domains.iter().chain(&destroyed).map(|(domain, _)| domain.as_str().len());
    let width = names.fold("DOMAIN".len(), usize::max);
    writeln!(out, "{:width$}  EPOCH  TOKENS BEGIN WITH", "DOMAIN")?;
    for (domain, epoch) in &domains {
        let ids = vault.key_ids(domain)?;
        let id = ids.iter().find(|(of, _)| of == epoch).map_or("", |(_, id)| id);
        writeln!(out, "{:width$}  {:<5}  {MARK}{id}", domain.as_str(), epoch.0)?;
    }
    for (domain, state) in &ring.survey()?.domains {
        for epoch in state.missing() {
            let file = format!("restore `{domain}@{epoch}.key` from the backup");
            writeln!(out, "{:width$}  {:<5}  MISSING: {file}", domain.as_str(), epoch.0)?;
        }
    }
    for (domain, through) in &destroyed {
        let left = if remains.iter().any(|(of, _)| of == domain) {
            ", but a secret of it is there again: `tidegate keys destroy` it once more"
        } else {
            ""
        };
        writeln!(out, "{:width$}  {:<5}  destroyed{left}", domain.as_str(), format!("1-{through}"))?;
    }
    Ok(())
}

fn rotate(args: RotateArgs, out: &mut dyn Write, err: &mut dyn Write) -> Result<(), Stop> {
    let ring = KeyRing::open_source(&args.place.find(None, err)?.keys)?;
    let mut domains = if args.all { ring.list()?.into_iter().map(|(domain, _)| domain).collect() } else { Vec::new() };
    for name in &args.domains {
        domains.push(parse(name)?);
    }
    domains.sort();
    domains.dedup();
    for domain in &domains {
        let epoch = ring.rotate(domain, args.begin_anew)?.epoch();
        writeln!(out, "domain `{domain}`: new tokens are of epoch {epoch}")?;
    }
    writeln!(
        out,
        "  Running programs take it by themselves, or at once by SIGHUP. Renew the backup of the keys: the new secrets are not in it."
    )?;
    Ok(())
}

fn parse(name: &str) -> Result<DomainId, Stop> {
    DomainId::parse(name)
        .ok_or_else(|| Stop::Say(format!("`{name}` is no name of a domain: `tidegate keys list` names them")))
}

/// `1`, `1 and 2`, `1, 2 and 3`
fn words(epochs: &[Epoch]) -> String {
    match epochs {
        [] => String::new(),
        [one] => one.to_string(),
        [first @ .., last] => {
            let first: Vec<String> = first.iter().map(ToString::to_string).collect();
            format!("{} and {last}", first.join(", "))
        }
    }
}

#[cfg(test)]
mod tests;
