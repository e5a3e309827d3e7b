//! The commands: one file each; this one only chooses.
//!
//! A command is an `Args` (what clap reads) and a `run(args, out, err) -> Exit`. It prints to the two writers that it is
//! given and never to the process's own streams, so that a test can read what a person would. Start at [`main`].

use std::ffi::OsString;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::config;

pub mod check;
pub mod demo;
pub mod erase;
pub mod explain;
pub mod harden;
pub mod init;
pub mod keys;
pub mod run;
pub mod token;
pub mod vault;

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Done, nothing to say: 0.
    Clean,
    /// Done, and there is something to mend: 1.
    Findings,
    /// Could not be done: 2.
    Unusable,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        match exit {
            Exit::Clean => Self::from(0),
            Exit::Findings => Self::from(1),
            Exit::Unusable => Self::from(2),
        }
    }
}

/// A default-deny privacy boundary between business systems: each partner gets only what its policy file lists.
#[derive(Debug, Parser)]
#[command(name = "tidegate", version, propagate_version = true, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the proxy until it is told to stop
    Run(run::Args),
    /// Parse, compile and lint the policies
    Check(check::Args),
    /// Show what each leaf of a document becomes, and by which rule
    Explain(explain::Args),
    /// Make and look after the keys
    Keys(keys::Args),
    /// Forget persons in what is stored
    Subject(erase::SubjectArgs),
    /// Forget values, domains or old entries in what is stored
    Forget(erase::ForgetArgs),
    /// Have tokens turned back, as an operator
    Token(token::Args),
    /// Copy what is stored into a sealed file, from one, or into another store
    Vault(vault::Args),
    /// Try it: a sample upstream, two partners and the proxy, all on this machine
    Demo(demo::Args),
    /// Write settings and a first policy for an upstream of yours
    Init(init::Args),
    /// Print the version
    Version,
}

/// Where the settings are: for every command that needs them (`#[command(flatten)]`).
#[derive(Clone, Debug, Args)]
pub struct SettingsArgs {
    /// The settings file
    #[arg(short, long, value_name = "FILE", default_value = "tidegate.toml")]
    pub config: PathBuf,
    /// Set one key over file and environment: `--set ledger.durability=batched`
    #[arg(long, value_name = "KEY=VALUE")]
    pub set: Vec<String>,
}

impl SettingsArgs {
    /// Reads file, environment and `--set`; complaints go to `err`, one in a line, each with its help in the next.
    ///
    /// # Errors
    /// [`Exit::Unusable`], when everything has been said.
    pub fn load(&self, err: &mut dyn Write) -> Result<config::Settings, Exit> {
        // A variable that is not UTF-8 is none of ours.
        let environment = std::env::vars_os().filter_map(|(k, v)| Some((k.into_string().ok()?, v.into_string().ok()?)));
        config::load(&self.config, environment, &self.set).map_err(|complaints| {
            let _ = writeln!(err, "{}", config::render(&complaints).trim_end());
            Exit::Unusable
        })
    }
}

/// Reads the command line and runs what it asks for, printing to the process's streams (coloured where they are terminals;
/// `NO_COLOR` is honoured: a command may always write colours).
#[must_use]
pub fn main(args: impl Iterator<Item = OsString>) -> ExitCode {
    // Before anything is read: a key that is read later is in no core dump.
    harden::no_core();
    run(args, &mut anstream::stdout(), &mut anstream::stderr()).into()
}

/// [`main`], printing to the given writers.
pub fn run(args: impl Iterator<Item = OsString>, out: &mut dyn Write, err: &mut dyn Write) -> Exit {
    let command = match Cli::try_parse_from(args) {
        Ok(cli) => cli.command,
        Err(error) => {
            // Help and version come this way too, and belong on standard output.
            let (writer, exit): (&mut dyn Write, _) =
                if error.use_stderr() { (err, Exit::Unusable) } else { (out, Exit::Clean) };
            let _ = write!(writer, "{}", error.render().ansi());
            return exit;
        }
    };
    match command {
        Command::Run(args) => run::run(args, out, err),
        Command::Check(args) => check::run(args, out, err),
        Command::Explain(args) => explain::run(args, out, err),
        Command::Keys(args) => keys::run(args, out, err),
        Command::Subject(args) => erase::subject(args, out, err),
        Command::Forget(args) => erase::forget(args, out, err),
        Command::Token(args) => token::run(args, out, err),
        Command::Vault(args) => vault::run(args, out, err),
        Command::Demo(args) => demo::run(args, out, err),
        Command::Init(args) => init::run(args, out, err),
        Command::Version => {
            let _ = writeln!(out, "tidegate {}", env!("CARGO_PKG_VERSION"));
            Exit::Clean
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(args: &[&str]) -> (Exit, String, String) {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let exit = run(args.iter().map(OsString::from), &mut out, &mut err);
        (exit, String::from_utf8(out).unwrap(), String::from_utf8(err).unwrap())
    }

    #[test]
    fn the_version_is_printed_on_standard_output() {
        let (exit, out, err) = check(&["tidegate", "version"]);
        assert_eq!((exit, err.as_str()), (Exit::Clean, ""));
        assert_eq!(out.trim(), concat!("tidegate ", env!("CARGO_PKG_VERSION")));
    }

    #[test]
    fn an_unknown_command_is_unusable_and_says_so_on_standard_error() {
        let (exit, out, err) = check(&["tidegate", "chekc"]);
        assert_eq!((exit, out.as_str()), (Exit::Unusable, ""));
        assert!(err.contains("check"), "{err}");
    }
}
