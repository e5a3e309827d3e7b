//! Whose a token is that was not turned back.
//!
//! Where a token comes up that a place does not turn back, nobody who sent it is told why, and no time is spent on finding out.
//! Afterwards it is asked here: a token that authenticates itself under another domain or category that the policies use proves
//! that the data has travelled. Start at [`Strays`].

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use crate::ids::DomainId;
use crate::keys::{self, KeyRing};

use super::Opener;
use super::epochs::Family;
use super::token::{self, KEY_ID_LEN};

/// Tokens of one exchange that are kept to be asked about; the others are only counted.
const KEPT_MAX: usize = 8;
/// Longest of them: of a value of some 500 bytes.
const TEXT_MAX: usize = 1024;

/// Tokens that came up where they are not turned back.
#[derive(Clone, Default)]
pub struct Strays(Vec<(Arc<Family>, Box<str>)>);

impl Strays {
    /// Remembers a token that `opener` did not turn back.
    pub fn note(&mut self, opener: &Opener, text: &str) {
        if self.0.len() < KEPT_MAX && text.len() <= TEXT_MAX {
            self.0.push((Arc::clone(opener.family()), text.into()));
        }
    }

    /// Adds those of another part of the exchange.
    pub fn add(&mut self, other: &Self) {
        let room = KEPT_MAX.saturating_sub(self.0.len());
        self.0.extend(other.0.iter().take(room).cloned());
    }

    /// By the domain that issued them, how many; what no key proves is not among them: it was tampered with, is of a domain
    /// or epoch that has ended, of a category that no policy uses any more, or was never ours.
    #[must_use]
    pub fn issuers(&self) -> BTreeMap<DomainId, u64> {
        let mut issuers = BTreeMap::new();
        for (family, text) in &self.0 {
            if let Some(domain) = family.directory().issuer(text) {
                *issuers.entry(domain).or_default() += 1;
            }
        }
        issuers
    }
}

impl fmt::Debug for Strays {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Strays").field("kept", &self.0.len()).finish()
    }
}

/// All that turns sealed tokens back, by the key ids of its epochs.
#[derive(Default)]
pub(super) struct Directory(Mutex<HashMap<[u8; KEY_ID_LEN], Vec<Weak<Family>>>>);

impl Directory {
    /// That of this domain and category: the one that is in use already, if its epochs are those that live now.
    pub(super) fn family(
        self: &Arc<Self>,
        keys: &Arc<KeyRing>,
        domain: &DomainId,
        category: &str,
    ) -> Result<Arc<Family>, keys::Error> {
        let (epochs, living) = (keys.epochs(domain)?, keys.living(domain)?);
        let mut families = self.lock();
        let ids: Vec<_> = epochs.iter().map(|secret| super::key_id(secret)).collect();
        let same = |family: &Arc<Family>| family.is_of(domain, category, &ids);
        let known = ids.first().and_then(|id| families.get(id)?.iter().filter_map(Weak::upgrade).find(same));
        if let Some(family) = known {
            return Ok(family);
        }
        let family = Arc::new(Family::new(&living, domain, category, &epochs, self));
        for id in ids {
            let here = families.entry(id).or_default();
            here.retain(|family| family.strong_count() > 0);
            here.push(Arc::downgrade(&family));
        }
        Ok(family)
    }

    /// The domain that issued this token.
    fn issuer(&self, text: &str) -> Option<DomainId> {
        let claimed: Vec<Weak<Family>> = self.lock().get(&token::key_id_of(text)?)?.clone();
        claimed
            .iter()
            .filter_map(Weak::upgrade)
            .find(|family| family.issued(text))
            .map(|family| family.domain().clone())
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<[u8; KEY_ID_LEN], Vec<Weak<Family>>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Directory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Directory")
    }
}
