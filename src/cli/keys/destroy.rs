//! `tidegate keys destroy`: the end of an agreement, or of old epochs.
//!
//! Says first what becomes unreadable and which backups have to go too, and asks for the domain's name. Start at `run`.

use std::io::{BufRead, Write};
use std::path::Path;
use std::sync::Arc;

use crate::ids::{DomainId, PartnerId};
use crate::keys::change::ending;
use crate::keys::{Epoch, KeyRing};
use crate::vault::Vault;
use crate::vault::token::MARK;

use super::plan::Uses;
use super::{Found, Place, Stop, parse, words};

/// What the command line says.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The domain, which `tidegate keys list` names
    domain: String,
    /// Only this epoch and those before it; the domain goes on with its newer ones
    #[arg(long, value_name = "EPOCH")]
    through: Option<u32>,
    /// Do not ask: the domain's name once more
    #[arg(long, value_name = "DOMAIN")]
    yes: Option<String>,
    /// Also where a policy names the domain: nothing is shared with its partners from then on
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    place: Place,
}

/// Runs the command.
pub(super) fn run(args: Args, input: &mut dyn BufRead, out: &mut dyn Write, err: &mut dyn Write) -> Result<(), Stop> {
    let (domain, through) = (parse(&args.domain)?, args.through.map(Epoch));
    let found = args.place.find(None, err)?;
    let vault = Vault::new(Arc::new(KeyRing::open_source(&found.keys)?));
    let ring = vault.keys();
    let uses = match &found.policies {
        Some(policies) => Some(Uses::of(policies, err)?),
        None => None,
    };
    may_end(&domain, through, uses.as_ref(), args.force)?;
    let ending = ending(&ring.state(&domain)?, through);
    foretell(&vault, &domain, &ending, through.is_some(), uses.as_ref(), &found, out)?;
    confirm(&domain, args.yes.as_deref(), input, out)?;
    let ended = ring.destroy(&domain, through, Some(&ending))?;
    writeln!(
        out,
        "destroyed {} of domain `{domain}`",
        if ended.is_empty() { "nothing more".to_owned() } else { epochs(&ended) }
    )?;
    writeln!(
        out,
        "  Running programs let go of it by themselves; send them SIGHUP to have it at once. Now the backups: until they are gone, too, \
         whoever has one can turn the tokens back."
    )?;
    Ok(())
}

/// A domain that a policy names is not taken from under it by mistake.
fn may_end(domain: &DomainId, through: Option<Epoch>, uses: Option<&Uses>, force: bool) -> Result<(), Stop> {
    if through.is_some() || force {
        return Ok(());
    }
    let Some(uses) = uses else {
        return Err(Stop::Say(format!(
            "whether a policy names `{domain}` is not known: say where they are by `--policies FOLDER` or `--config FILE`, or `--force`"
        )));
    };
    let Some(partners) = uses.partners.get(domain) else { return Ok(()) };
    let names: Vec<&str> = partners.iter().map(PartnerId::as_str).collect();
    Err(Stop::Say(format!(
        "the policy of {} names domain `{domain}`: remove the policy first, or `--force`, and nothing is shared with that partner any more",
        names.join(", ")
    )))
}

fn foretell(
    vault: &Vault,
    domain: &DomainId,
    ending: &[Epoch],
    partly: bool,
    uses: Option<&Uses>,
    found: &Found,
    out: &mut dyn Write,
) -> Result<(), Stop> {
    if ending.is_empty() {
        return Ok(());
    }
    writeln!(out, "This destroys {} of domain `{domain}`, for good. Then", epochs(ending))?;
    for (epoch, id) in vault.key_ids(domain)?.iter().filter(|(epoch, _)| ending.contains(epoch)) {
        writeln!(
            out,
            "  - no token that begins with `{MARK}{id}` (epoch {epoch}) is ever turned back, wherever it is kept;"
        )?;
    }
    let digits = uses.map(|uses| uses.digits(domain)).unwrap_or_default();
    match (digits.is_empty(), partly) {
        (false, true) => {
            let categories: Vec<&str> = digits.into_iter().collect();
            writeln!(
                out,
                "  - digits issued so far turn back to WRONG digits, unnoticed, and new ones are others: {};",
                categories.join(", ")
            )?;
        }
        (false, false) => writeln!(out, "  - no digits of it are ever turned back;")?,
        (true, _) => {}
    }
    if !partly {
        writeln!(out, "  - its pseudonyms cannot be made again: nothing joins with them any more;")?;
        writeln!(
            out,
            "  - a policy that names it shares nothing, until `tidegate keys rotate {domain} --begin-anew`."
        )?;
    }
    let files: Vec<String> = ending.iter().map(|epoch| format!("{domain}@{epoch}.key")).collect();
    writeln!(
        out,
        "Backups that have to go too: every copy of {} from `{}`, on other disks, in snapshots",
        files.join(", "),
        show(&found.keys.folder)
    )?;
    writeln!(out, "  and in images of this machine. Whoever keeps one, and the root key, can turn these tokens back.")?;
    Ok(())
}

fn show(path: &Path) -> String {
    path.display().to_string()
}

fn epochs(epochs: &[Epoch]) -> String {
    format!("{} {}", if epochs.len() == 1 { "epoch" } else { "epochs" }, words(epochs))
}

/// The domain's name, given or typed.
fn confirm(domain: &DomainId, yes: Option<&str>, input: &mut dyn BufRead, out: &mut dyn Write) -> Result<(), Stop> {
    let answer = match yes {
        Some(yes) => yes.to_owned(),
        None => {
            write!(out, "Type the domain's name to go on: ")?;
            out.flush()?;
            let mut line = String::new();
            input.read_line(&mut line)?;
            line
        }
    };
    if answer.trim() == domain.as_str() {
        return Ok(());
    }
    Err(Stop::Say(format!("that is not `{domain}`: nothing was changed")))
}
