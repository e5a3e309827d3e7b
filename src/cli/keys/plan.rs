//! `tidegate keys plan`: what a rotation or the end of a domain means for each partner.
//!
//! Reads policies and keys, and changes nothing. Start at `Uses::of`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io::Write;
use std::path::Path;

use crate::ids::{DomainId, PartnerId, Shape};
use crate::keys::{Epoch, KeyRing};
use crate::policy::read;
use crate::policy::rule::{Action, Policy};

use super::super::check::gather;
use super::{Place, Stop, parse, words};

/// What is made with the keys of a domain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    /// `tokenize`
    Token,
    /// `tokenize, store = "vault"`
    Stored,
    /// `tokenize, as = "digits"`
    Digits,
    /// `tokenize` in another shape that does not say what it is.
    Shaped,
    /// `pseudonymize`
    Pseudonym,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Token => "tokens",
            Self::Stored => "stored tokens",
            Self::Digits => "digits",
            Self::Shaped => "shaped tokens",
            Self::Pseudonym => "pseudonyms",
        })
    }
}

impl Kind {
    fn of(action: &Action) -> Option<Self> {
        match action {
            Action::Tokenize(Shape::Digits) => Some(Self::Digits),
            Action::Tokenize(shape) if !shape.is_authentic() => Some(Self::Shaped),
            Action::Tokenize(_) => Some(Self::Token),
            Action::Store(_) => Some(Self::Stored),
            Action::Pseudonymize => Some(Self::Pseudonym),
            _ => None,
        }
    }

    fn at_a_rotation(self) -> &'static str {
        match self {
            Self::Token | Self::Stored => {
                "other tokens for the same values: joins with earlier ones break; the old ones are still turned back"
            }
            Self::Digits => "the same digits as before, until the oldest epoch is destroyed",
            Self::Shaped => "the same tokens as before, until the oldest epoch is destroyed",
            Self::Pseudonym => "other pseudonyms for the same values: joins with earlier ones break for good",
        }
    }
}

/// Who uses the domains, and what for.
#[derive(Debug, Default)]
pub(super) struct Uses {
    /// By domain: the partners whose policies name it.
    pub(super) partners: BTreeMap<DomainId, BTreeSet<PartnerId>>,
    /// By domain, partner, category and kind: in how many legs.
    places: BTreeMap<(DomainId, PartnerId, String, Kind), usize>,
}

impl Uses {
    /// Of all policies in a folder.
    pub(super) fn of(folder: &Path, err: &mut dyn Write) -> Result<Self, Stop> {
        let mut uses = Self::default();
        // A folder without policies is not complained of: nobody uses anything.
        if folder.read_dir().is_ok_and(|mut entries| entries.next().is_none()) {
            return Ok(uses);
        }
        let Some(texts) = gather(&[folder.to_owned()], err) else { return Err(Stop::Said(super::Exit::Unusable)) };
        for (name, text) in &texts {
            match read(name, text) {
                (Some(policy), _) => uses.add(&policy),
                (None, _) => {
                    let help = "run `tidegate check`, and mend it first: what it uses is not known";
                    return Err(Stop::Say(format!("{name}: this policy cannot be read: {help}")));
                }
            }
        }
        Ok(uses)
    }

    fn add(&mut self, policy: &Policy) {
        let (domain, partner) = (&policy.partner.domain, &policy.partner.id);
        self.partners.entry(domain.clone()).or_default().insert(partner.clone());
        for on in policy.legs() {
            for deep in on.leg.deep_rules() {
                let Some(kind) = Kind::of(&deep.thing.action) else { continue };
                let category = deep.thing.category.as_ref().map_or("unnamed", |category| category.as_str());
                let key = (domain.clone(), partner.clone(), category.to_owned(), kind);
                *self.places.entry(key).or_default() += 1;
            }
        }
    }

    /// What a domain is used for: partner, category, kind, number of places.
    fn of_domain<'u>(&'u self, domain: &'u DomainId) -> impl Iterator<Item = (&'u PartnerId, &'u str, Kind, usize)> {
        let here = self.places.iter().filter(move |((of, ..), _)| of == domain);
        here.map(|((_, partner, category, kind), places)| (partner, category.as_str(), *kind, *places))
    }

    /// What of a domain cannot be told apart by epochs: the categories of its digits and other tokens that do not say what they are.
    pub(super) fn digits<'u>(&'u self, domain: &'u DomainId) -> BTreeSet<&'u str> {
        self.of_domain(domain)
            .filter(|(_, _, kind, _)| matches!(kind, Kind::Digits | Kind::Shaped))
            .map(|(_, category, ..)| category)
            .collect()
    }
}

/// Runs the command.
pub(super) fn run(names: &[String], place: Place, out: &mut dyn Write, err: &mut dyn Write) -> Result<(), Stop> {
    let found = place.find(None, err)?;
    let Some(policies) = found.policies else {
        return Err(Stop::Say("where are the policies? Say it by `--policies FOLDER` or `--config FILE`".to_owned()));
    };
    let (ring, uses) = (KeyRing::open_source(&found.keys)?, Uses::of(&policies, err)?);
    let mut domains = BTreeSet::new();
    for name in names {
        domains.insert(parse(name)?);
    }
    if names.is_empty() {
        domains.extend(uses.partners.keys().cloned());
        domains.extend(ring.list()?.into_iter().map(|(domain, _)| domain));
    }
    for domain in &domains {
        tell(domain, &ring, &uses, out)?;
    }
    Ok(())
}

fn tell(domain: &DomainId, ring: &KeyRing, uses: &Uses, out: &mut dyn Write) -> Result<(), Stop> {
    let living = ring.state(domain)?.living;
    match living.last() {
        None if ring.state(domain)?.destroyed.is_some() => writeln!(out, "domain `{domain}`: destroyed")?,
        None => writeln!(out, "domain `{domain}`: no secret yet, it is made when its policy is loaded")?,
        Some(last) => {
            let noun = if living.len() == 1 { "epoch" } else { "epochs" };
            let next = last.next().unwrap_or(Epoch::FIRST);
            writeln!(out, "domain `{domain}`: {noun} {}; a rotation begins {next}", words(&living))?;
        }
    }
    match uses.partners.get(domain) {
        None => writeln!(out, "  no policy names it: `tidegate keys destroy {domain}` ends it")?,
        Some(partners) if partners.len() > 1 => {
            let names: Vec<&str> = partners.iter().map(PartnerId::as_str).collect();
            writeln!(out, "  shared by {}: a rotation changes what each of them gets, and alike", names.join(", "))?;
        }
        Some(_) => {}
    }
    for (partner, category, kind, places) in uses.of_domain(domain) {
        let noun = if places == 1 { "place" } else { "places" };
        writeln!(out, "  {partner}: {kind} of {category} at {places} {noun}: {}", kind.at_a_rotation())?;
    }
    Ok(())
}
