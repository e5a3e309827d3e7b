//! Forgets what is stored, and tells which tokens of which partner that ends.
//!
//! What is to be forgotten is looked for under every epoch that lives: a store finds only keyed digests. Start at [`Vault::erase`].

use std::collections::{BTreeMap, HashMap};

use crate::ids::{Category, DomainId};
use crate::json::text;
use crate::keys::{self, DomainSecret, Epochs};

use super::super::store::{DomainTag, Forget, Forgotten, Spelling, StoreError};
use super::super::token::Value;
use super::super::{Vault, key_id, name};
use super::{Keys, domain_tag, spelling};

/// Entries that are forgotten in one step.
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

/// What was forgotten.
#[derive(Debug, Default)]
pub struct Erased {
    /// The tokens that ended, by domain: what the partner has to delete.
    pub tokens: BTreeMap<DomainId, Vec<String>>,
    /// Those of domains or epochs whose keys are gone: their tokens were dead already, and how they were spelt is not known.
    pub unreadable: u64,
}

/// Why not everything was forgotten; what was until then is forgotten. Done again, it goes on.
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
}

impl Vault {
    /// Forgets this in these domains, durably, and adds what ended to `erased`, which tells it even where an error comes in
    /// between.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn erase(&self, domains: &[DomainId], what: What<'_>, erased: &mut Erased) -> Result<(), Error> {
        let store = self.stored().ok_or(Error::NoStore)?.store();
        let mut known = HashMap::new();
        for domain in domains {
            let epochs = match (self.keys().epochs(domain), what) {
                // What is left of a domain whose keys were destroyed can be cleared away too.
                (Err(_), What::All | What::IssuedBefore(_)) => Epochs::from([]),
                (epochs, _) => epochs?,
            };
            known.insert(domain_tag(domain), epochs);
        }
        for forget in known.iter().flat_map(|(tag, epochs)| wanted(*tag, epochs, what)) {
            loop {
                let step = store.forget(&forget, STEP).await?;
                step.iter().for_each(|gone| erased.add(gone, &known));
                if step.len() < STEP {
                    break;
                }
            }
        }
        Ok(())
    }
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
    let values = [Some(Value::Text(value)), number.as_deref().map(Value::Number)];
    let values = values.into_iter().flatten().map(Value::parts);
    let shapes = [Spelling::Opaque, Spelling::Mail, Spelling::Uuid];
    values
        .flat_map(|(kind, text)| shapes.map(|shape| keys.digests.digest(&[&[shape.code(), kind], text.as_bytes()])))
        .collect()
}

impl Erased {
    fn add(&mut self, gone: &Forgotten, known: &HashMap<DomainTag, Epochs>) {
        let secret = known.get(&gone.domain).and_then(|epochs| epochs.iter().find(|one| one.epoch().0 == gone.epoch));
        let Some(secret) = secret else {
            self.unreadable += 1;
            return;
        };
        let mut text = Vec::new();
        spelling::write(&gone.token, key_id(secret), gone.spelling, &mut text);
        let tokens = self.tokens.entry(secret.domain().clone()).or_default();
        tokens.push(text.into_iter().map(char::from).collect());
    }
}
