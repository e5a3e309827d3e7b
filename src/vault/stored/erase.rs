//! Forgets what is stored, and tells which tokens of which partner that ends.
//!
//! What is to be forgotten is looked for under every epoch that lives: a store finds only keyed digests. Start at [`Vault::erase`].

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io;

use crate::ids::{Category, DomainId, Normalize};
use crate::json::text;
use crate::keys::{self, DomainSecret, Epochs};

use super::super::store::{DomainTag, Forget, Forgotten, Spelling, StoreError, TokenStore};
use super::super::token::Value;
use super::super::{Normal, Vault, key_id, name};
use super::{Keys, domain_tag, spelling};

/// Entries that are sought before they are told and forgotten: all of one partner come together, unless there are more.
const SOUGHT: usize = 50_000;
/// Of these, how many are forgotten in one call.
const STEP: usize = 1000;

/// What to forget, of these domains.
#[derive(Clone, Copy)]
pub enum What<'a> {
    /// All of a person.
    Subject(&'a str),
    /// One value of a category (`None`: of rules without one), whether it was a string or a number. Not tokens of one flow: they are found by no
    /// value, and end by themselves.
    Value(Option<&'a Category>, &'a str),
    /// Everything.
    All,
    /// What was issued before this time, in milliseconds since 1970.
    IssuedBefore(u64),
}

/// What ends.
#[derive(Debug, Default)]
pub struct Erased {
    /// Tokens, by domain: what the partner has to delete.
    pub tokens: BTreeMap<DomainId, BTreeSet<String>>,
    /// Those of domains or epochs whose keys are gone, or of entries that do not read: such tokens were dead already, and how they were
    /// spelt is not known.
    pub unreadable: usize,
}

/// Why not everything was forgotten. Done again, it goes on.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No store.
    #[error("nothing keeps tokens here: there is no `[vault]` in the settings")]
    NoStore,
    /// The keys of a domain cannot be read.
    #[error(transparent)]
    Keys(#[from] keys::Error),
    /// The store.
    #[error("the store: {0}")]
    Store(#[from] StoreError),
    /// It could not be told what ends; so that is not forgotten.
    #[error("what ends could not be written: {0}")]
    NotTold(#[from] io::Error),
}

impl Vault {
    /// Forgets all of this in these domains, durably. What ends is told first, and forgotten only once it has been, so that nothing
    /// ends without a notice, whatever breaks this off. Gives how many were forgotten.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn erase(
        &self,
        domains: &[DomainId],
        whats: &[What<'_>],
        tell: &mut dyn FnMut(&Erased) -> io::Result<()>,
    ) -> Result<usize, Error> {
        let store = self.stored().ok_or(Error::NoStore)?.store();
        let known = self.known(domains, whats)?;
        let (mut found, mut count) = (Vec::new(), 0);
        for what in whats {
            // By age alone all domains are meant at once.
            let domains = if matches!(what, What::IssuedBefore(_)) { 1 } else { known.len() };
            for forget in known.iter().take(domains).flat_map(|(tag, epochs)| wanted(*tag, epochs, *what)) {
                loop {
                    let room = SOUGHT - found.len();
                    let sought = store.seek(&forget, room).await?;
                    let last = sought.len() < room;
                    found.extend(sought);
                    if last {
                        break;
                    }
                    count += end(&**store, &known, std::mem::take(&mut found), tell).await?;
                }
            }
        }
        Ok(count + end(&**store, &known, found, tell).await?)
    }

    /// The epochs of these domains that live.
    fn known(&self, domains: &[DomainId], whats: &[What<'_>]) -> Result<Known, Error> {
        // What is left of a domain whose keys were destroyed can be cleared away too.
        let without_keys = whats.iter().all(|what| matches!(what, What::All | What::IssuedBefore(_)));
        let of = |domain| match self.keys().epochs(domain) {
            Err(_) if without_keys => Ok((domain_tag(domain), Epochs::from([]))),
            epochs => Ok((domain_tag(domain), epochs?)),
        };
        domains.iter().map(of).collect()
    }
}

/// The epochs of domains, by their tags.
type Known = HashMap<DomainTag, Epochs>;

/// Tells of these, and then forgets them.
async fn end(
    store: &dyn TokenStore,
    known: &Known,
    mut found: Vec<Forgotten>,
    tell: &mut dyn FnMut(&Erased) -> io::Result<()>,
) -> Result<usize, Error> {
    // One that is two persons' is found twice.
    found.sort_unstable_by_key(|one| one.token);
    found.dedup_by_key(|one| one.token);
    let mut erased = Erased::default();
    found.iter().for_each(|one| erased.add(one, known));
    if !found.is_empty() {
        tell(&erased)?;
    }
    for some in found.chunks(STEP) {
        let tokens = some.iter().map(|one| one.token).collect();
        store.forget(&Forget::Tokens(tokens), some.len()).await?;
    }
    Ok(found.len())
}

/// What the store is asked for.
fn wanted(tag: DomainTag, epochs: &Epochs, what: What<'_>) -> Vec<Forget> {
    match what {
        What::All => vec![Forget::Domain(tag, None)],
        What::IssuedBefore(time) => vec![Forget::IssuedBefore(time)],
        What::Subject(subject) => {
            let keys = epochs.iter().map(|secret| Keys::new(secret, ""));
            keys.flat_map(|keys| {
                spellings(subject)
                    .map(|text| Forget::Subject(keys.subjects.hash(0, text.as_bytes())))
                    .collect::<Vec<_>>()
            })
            .collect()
        }
        What::Value(category, value) => {
            let digests = epochs.iter().flat_map(|secret| digests(secret, category, value)).collect();
            vec![Forget::Values(digests)]
        }
    }
}

/// A text, and the number that it spells, if it does.
fn spellings(text: &str) -> impl Iterator<Item = String> {
    let number = text::canonical_number(text.as_bytes()).filter(|number| *number != text);
    [Some(text.to_owned()), number].into_iter().flatten()
}

fn digests(secret: &DomainSecret, category: Option<&Category>, value: &str) -> Vec<[u8; 32]> {
    let keys = Keys::new(secret, name(category));
    let number = text::canonical_number(value.as_bytes());
    // As it stands, as a number, and in every spelling that a rule may have made of it.
    let normal: Vec<Normal<'_>> =
        Normalize::ALL.iter().filter_map(|(_, how)| Normal::of(Some(*how), Value::Text(value))).collect();
    let values = [Some(Value::Text(value)), number.as_deref().map(Value::Number)];
    let values = values.into_iter().flatten().chain(normal.iter().map(Normal::value)).map(Value::parts);
    let shapes = [Spelling::Opaque, Spelling::Mail, Spelling::Uuid];
    values
        .flat_map(|(kind, text)| shapes.map(|shape| keys.digests.digest(&[&[shape.code(), kind], text.as_bytes()])))
        .collect()
}

impl Erased {
    fn add(&mut self, gone: &Forgotten, known: &Known) {
        let secret = known.get(&gone.domain).and_then(|epochs| epochs.iter().find(|one| one.epoch().0 == gone.epoch));
        let Some(secret) = secret else {
            self.unreadable += 1;
            return;
        };
        let mut text = Vec::new();
        spelling::write(&gone.token, key_id(secret), gone.spelling, &mut text);
        let tokens = self.tokens.entry(secret.domain().clone()).or_default();
        tokens.insert(text.into_iter().map(char::from).collect());
    }
}
