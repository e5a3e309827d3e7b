//! `tidegate subject erase` and `tidegate forget`: ends stored tokens, and prints what each partner has to be told.
//!
//! An embedded store is one process's at a time, so that the program is stopped first; a shared one is asked beside it. Persons and values are read from
//! standard input, one a line, so that none of them is seen in a list of processes or a shell's history. Start at [`subject`]
//! and [`forget`].

use std::fs::File;
use std::io::{self, BufRead, Write};
use std::os::fd::AsFd;
use std::sync::Arc;

use crate::app::vault::both;
use crate::config;
use crate::ids::{Category, DomainId};
use crate::keys::KeyRing;
use crate::telemetry::Metrics;
use crate::vault::Vault;
use crate::vault::store::{TokenStore, open};
use crate::vault::stored::ask::Stored;
use crate::vault::stored::erase::{Erased, What};

use super::{Exit, SettingsArgs};

/// What `tidegate subject` is asked for.
#[derive(Debug, clap::Args)]
pub struct SubjectArgs {
    #[command(subcommand)]
    command: SubjectCommand,
}

#[derive(Debug, clap::Subcommand)]
enum SubjectCommand {
    /// Forget the persons whose names for the policies' `subject` stand on standard input, one a line
    Erase {
        #[command(flatten)]
        scope: Scope,
    },
}

/// What `tidegate forget` is asked for.
#[derive(Debug, clap::Args)]
pub struct ForgetArgs {
    /// The values that stand on standard input, one a line
    #[arg(long, conflicts_with_all = ["before", "all"], required_unless_present_any = ["before", "all"])]
    values: bool,
    /// Their category
    #[arg(long, value_name = "CATEGORY", requires = "values")]
    is: Option<String>,
    /// All that was issued before this time, of every domain: `2026-01-31T00:00:00Z`
    #[arg(long, value_name = "TIME", conflicts_with_all = ["all", "domains"])]
    before: Option<String>,
    /// All that is stored for these domains
    #[arg(long, requires = "domains")]
    all: bool,
    #[command(flatten)]
    scope: Scope,
}

/// Where to forget.
#[derive(Debug, clap::Args)]
struct Scope {
    /// Of this domain of tokens alone (a partner's id, unless its policy names another)
    #[arg(long = "domain", value_name = "DOMAIN")]
    domains: Vec<String>,
    #[command(flatten)]
    settings: SettingsArgs,
}

/// What the operator has to know of what was forgotten: not for the partner.
const REMAINS: &str = "\
what was forgotten is not found any more, and in an embedded store its keys are overwritten. It stays in copies of the store that
were made before: replace the copy of `value-keys` now, and delete older ones";

/// What to do where it was broken off.
const UNFINISHED: &str = "\
not everything is forgotten: run it again. What was printed is forgotten then, too, and printed once more if it was not yet: send \
what both have printed";

/// Runs `tidegate subject`.
pub fn subject(args: SubjectArgs, out: &mut dyn Write, err: &mut dyn Write) -> Exit {
    let SubjectCommand::Erase { scope } = args.command;
    let run = |out: &mut dyn Write, err: &mut dyn Write| {
        let house = House::open(scope, err)?;
        let persons = lines(&mut io::stdin().lock(), "persons")?;
        let persons: Vec<_> = persons.iter().map(|person| What::Subject(person)).collect();
        house.erase(&persons, out, err)
    };
    end(run(out, err), err)
}

/// Runs `tidegate forget`.
pub fn forget(args: ForgetArgs, out: &mut dyn Write, err: &mut dyn Write) -> Exit {
    let run = |out: &mut dyn Write, err: &mut dyn Write| {
        let category = match args.is.as_deref() {
            Some(is) => Some(Category::parse(is).ok_or_else(|| Stop::Say(format!("`{is}` is no category")))?),
            None => None,
        };
        let before = match args.before.as_deref().map(str::parse::<jiff::Timestamp>) {
            Some(Ok(time)) => Some(u64::try_from(time.as_millisecond()).unwrap_or(0)),
            Some(Err(_)) => return Err(Stop::Say("`--before` wants a time like `2026-01-31T00:00:00Z`".to_owned())),
            None => None,
        };
        let house = House::open(args.scope, err)?;
        if args.values {
            let values = lines(&mut io::stdin().lock(), "values")?;
            let values: Vec<_> = values.iter().map(|value| What::Value(category.as_ref(), value)).collect();
            return house.erase(&values, out, err);
        }
        house.erase(&[before.map_or(What::All, What::IssuedBefore)], out, err)
    };
    end(run(out, err), err)
}

/// Why it ends early.
enum Stop {
    Said(Exit),
    Say(String),
}

fn end(done: Result<(), Stop>, err: &mut dyn Write) -> Exit {
    match done {
        Ok(()) => Exit::Clean,
        Err(Stop::Said(exit)) => exit,
        Err(Stop::Say(text)) => {
            let _ = writeln!(err, "{text}");
            Exit::Unusable
        }
    }
}

fn say(error: impl std::fmt::Display) -> Stop {
    Stop::Say(error.to_string())
}

/// The lines that say something.
fn lines(input: &mut dyn BufRead, what: &str) -> Result<Vec<String>, Stop> {
    let lines: Result<Vec<String>, _> = input.lines().collect();
    let mut lines = lines.map_err(|error| Stop::Say(format!("standard input: {error}")))?;
    lines.retain(|line| !line.is_empty());
    if lines.is_empty() {
        return Err(Stop::Say(format!("no {what} on standard input: write them there, one a line")));
    }
    Ok(lines)
}

/// Keys and store, and the domains that are meant.
struct House {
    runtime: tokio::runtime::Runtime,
    vault: Vault,
    domains: Vec<DomainId>,
}

impl House {
    fn open(scope: Scope, err: &mut dyn Write) -> Result<Self, Stop> {
        let settings = scope.settings.load(err).map_err(Stop::Said)?;
        let Some(mut chosen) = settings.vault else {
            return Err(Stop::Say("nothing keeps tokens here: there is no `[vault]` in the settings".to_owned()));
        };
        let keys = KeyRing::open_source(&settings.keys).map_err(say)?;
        let mut all: Vec<DomainId> = keys.list().map_err(say)?.into_iter().map(|(domain, _)| domain).collect();
        all.dedup();
        let mut domains = Vec::new();
        for name in &scope.domains {
            // A name that was misspelt would begin a new domain.
            let known = all.iter().find(|domain| domain.as_str() == name);
            domains.push(known.cloned().ok_or_else(|| Stop::Say(format!("there is no domain `{name}`")))?);
        }
        chosen.wait_for_nothing();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(say)?;
        let store: Arc<dyn TokenStore> = match settings.vault_to {
            None => Arc::new(runtime.block_on(open::open(&chosen, Metrics::new().store())).map_err(say)?),
            // What is forgotten while a store is moved is forgotten in both.
            Some(file) => {
                let mut other = config::other_vault(&file).map_err(|error| say(format!("`vault.to`: {error}")))?;
                other.wait_for_nothing();
                Arc::new(runtime.block_on(both(&chosen, &other)).map_err(say)?.0)
            }
        };
        let vault = Vault::new(Arc::new(keys)).with_store(Stored::new(store, chosen.time));
        Ok(Self { runtime, vault, domains: if scope.domains.is_empty() { all } else { domains } })
    }

    /// Prints what ends, and forgets it when that is written.
    fn erase(&self, whats: &[What<'_>], out: &mut dyn Write, err: &mut dyn Write) -> Result<(), Stop> {
        let mut any = false;
        let mut tell = |erased: &Erased| {
            any = true;
            print(erased, out)?;
            settle(out)
        };
        let done = self.runtime.block_on(self.vault.erase(&self.domains, whats, &mut tell));
        if any {
            writeln!(err, "{REMAINS}").map_err(say)?;
        } else if done.is_ok() {
            writeln!(out, "nothing was stored of that").map_err(say)?;
        }
        done.map(drop).map_err(|error| Stop::Say(format!("{error}\n  {UNFINISHED}")))
    }
}

/// Until what was printed is where it outlives this process; on the disk, if it goes to a file.
fn settle(out: &mut dyn Write) -> io::Result<()> {
    out.flush()?;
    let file = File::from(io::stdout().as_fd().try_clone_to_owned()?);
    if file.metadata()?.is_file() { file.sync_all() } else { Ok(()) }
}

/// A notice for each partner, with its own tokens.
fn print(erased: &Erased, out: &mut dyn Write) -> io::Result<()> {
    for (domain, tokens) in &erased.tokens {
        let (count, stand) =
            if tokens.len() == 1 { ("1 token", "stands") } else { (&*format!("{} tokens", tokens.len()), "stand") };
        writeln!(out, "to {domain}: {count} {stand} for nothing any more; delete what you keep under them")?;
        for token in tokens {
            writeln!(out, "{token}")?;
        }
        writeln!(out)?;
    }
    if erased.unreadable > 0 {
        writeln!(
            out,
            "{} more, which do not read, or whose keys are gone: their tokens were dead already",
            erased.unreadable
        )?;
    }
    Ok(())
}
