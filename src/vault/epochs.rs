//! The sealed tokens of one (domain, category), whatever the epoch.
//!
//! Issuing uses the newest epoch that was known when the policy was loaded. Opening goes by the key id in the token: it costs
//! one run of the cipher whether the token is ours or a stranger's, and whatever is wrong with it. Start at [`Family`].

use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwap;

use crate::ids::DomainId;
use crate::keys::looks::Living;
use crate::keys::{DomainSecret, Epoch, Epochs, Life};

use super::stored::spelling;
use super::strays::Directory;
use super::token::{self, KEY_ID_LEN, Opened, Sealed};
use super::{key_id, sealed};

/// Sealed tokens of all living epochs.
pub(super) struct Family {
    living: Arc<Living>,
    domain: DomainId,
    category: String,
    /// The epochs that were known when the policy was loaded.
    known: Members,
    /// Those that came up since; empty but for the moments between a rotation and the reload that follows it.
    later: ArcSwap<Members>,
    /// Where all others are found.
    directory: Arc<Directory>,
}

/// The newest first; empty in `later` alone.
#[derive(Default)]
struct Members(Vec<Member>);

struct Member {
    epoch: Epoch,
    key_id: [u8; KEY_ID_LEN],
    life: Life,
    sealed: Sealed,
}

impl Family {
    pub(super) fn new(
        living: &Arc<Living>,
        domain: &DomainId,
        category: &str,
        epochs: &Epochs,
        directory: &Arc<Directory>,
    ) -> Self {
        Self {
            known: Members::new(epochs, category, None),
            living: Arc::clone(living),
            domain: domain.clone(),
            category: category.to_owned(),
            later: ArcSwap::default(),
            directory: Arc::clone(directory),
        }
    }

    /// Whether it is the one of this domain and category, with just these keys.
    pub(super) fn is_of(&self, domain: &DomainId, category: &str, ids: &[[u8; KEY_ID_LEN]]) -> bool {
        let known = self.known.0.iter().map(|member| &member.key_id);
        self.domain == *domain && self.category == category && known.eq(ids)
    }

    pub(super) fn domain(&self) -> &DomainId {
        &self.domain
    }

    pub(super) fn directory(&self) -> &Directory {
        &self.directory
    }

    /// As [`Self::owns`], of the epochs that were known when the policy was loaded; reads nothing.
    pub(super) fn issued(&self, text: &str) -> bool {
        token::looks_sealed(text) && self.known.pick(text).0.is_some_and(|sealed| sealed.owns(text))
    }

    /// What issues; `None`: it is destroyed.
    pub(super) fn newest(&self) -> Option<&Sealed> {
        self.known.0.first().filter(|member| !member.life.has_ended()).map(|member| &member.sealed)
    }

    /// Whether this text is one of these tokens.
    pub(super) fn owns(&self, text: &str) -> bool {
        if !token::looks_sealed(text) {
            return false;
        }
        match self.known.pick(text) {
            (Some(sealed), true) => sealed.owns(text),
            (Some(sealed), false) if sealed.owns(text) => true,
            _ => {
                self.stranger(text).is_some_and(|members| members.pick(text).0.is_some_and(|sealed| sealed.owns(text)))
            }
        }
    }

    /// See [`Sealed::open`].
    pub(super) fn open(&self, text: &str, out: &mut Vec<u8>) -> Opened {
        if !token::looks_sealed(text) {
            return Opened::Plain;
        }
        let (sealed, claimed) = self.known.pick(text);
        // Also for a token that claims to be of none of these: it takes the same way.
        let opened = sealed.map_or(Opened::Foreign, |sealed| sealed.open(text, out));
        if claimed || opened != Opened::Foreign {
            return opened;
        }
        let later = self.stranger(text);
        later.and_then(|members| members.pick(text).0.map(|sealed| sealed.open(text, out))).unwrap_or(opened)
    }

    /// Whether it claims to be of an epoch that nobody here knows, so that it may be worth reading the keys again. It proves
    /// nothing, and damage is no reason.
    pub(super) fn is_unknown(&self, text: &str) -> bool {
        if !token::looks_sealed(text) || self.known.pick(text).1 || !(token::is_whole(text) || spelling::is_whole(text))
        {
            return false;
        }
        let Some(name) = token::key_id_of(text) else { return false };
        !self.stranger(text).is_some_and(|members| members.pick(text).1) && !self.living.has_missed(&name)
    }

    /// Remembers that the keys were read again and the epoch of this token was not there.
    pub(super) fn give_up(&self, text: &str) {
        if let Some(name) = token::key_id_of(text)
            && !self.known.pick(text).1
            && !self.stranger(text).is_some_and(|members| members.pick(text).1)
        {
            self.living.miss(&name);
        }
    }

    /// For a token that claims to be of no epoch that is known: those that came up since, if it claims to be of one of them.
    fn stranger(&self, text: &str) -> Option<Arc<Members>> {
        let later = self.later.load();
        if later.pick(text).1 {
            return Some(Arc::clone(&later));
        }
        let newest = later.newest().or(self.known.newest())?;
        let epochs = self.living.newer(newest)?;
        let members = Arc::new(Members::new(&epochs, &self.category, self.known.newest()));
        self.later.store(Arc::clone(&members));
        members.pick(text).1.then_some(members)
    }
}

impl Members {
    /// Of the epochs after `after`.
    fn new(epochs: &Epochs, category: &str, after: Option<Epoch>) -> Self {
        let newer = epochs.iter().filter(|secret| Some(secret.epoch()) > after);
        let member = |secret: &Arc<DomainSecret>| Member {
            epoch: secret.epoch(),
            key_id: key_id(secret),
            life: secret.life().clone(),
            sealed: sealed(secret, category),
        };
        Self(newer.map(member).collect())
    }

    fn newest(&self) -> Option<Epoch> {
        self.0.first().map(|member| member.epoch)
    }

    /// Those that are not destroyed.
    fn living(&self) -> impl Iterator<Item = &Sealed> {
        self.0.iter().filter(|member| !member.life.has_ended()).map(|member| &member.sealed)
    }

    /// Whose a token claims to be, and `true`; else the first and `false`.
    fn pick(&self, text: &str) -> (Option<&Sealed>, bool) {
        let mut claimed = self.living().filter(|sealed| sealed.claims(text));
        match (claimed.next(), claimed.next()) {
            (Some(only), None) => (Some(only), true),
            // Two epochs share a key id once in 2^25 rotations.
            (Some(first), Some(second)) => {
                let all = [first, second].into_iter().chain(claimed);
                (all.into_iter().find(|sealed| sealed.owns(text)).or(Some(first)), true)
            }
            (None, _) => (self.living().next(), false),
        }
    }
}

impl fmt::Debug for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Family").field("domain", &self.domain).field("category", &self.category).finish_non_exhaustive()
    }
}
