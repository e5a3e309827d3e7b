//! Which tokens' signatures were found good already: a check of a signature costs as much as the rest of an exchange.
//!
//! Kept with one partner's keys, and gone with them: a reload that takes a key away takes along what it signed. Only what is
//! signed well is kept, and no more than two generations of it. Of a token only its digest is kept; its claims, and so its
//! expiry, are looked at each time. Start at [`Verified`].

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

use sha2::{Digest, Sha256};

/// Tokens in a generation. About 100 KiB, for a partner with as many callers at once.
const GENERATION: usize = 2048;

/// SHA-256 of a token.
pub(super) type TokenDigest = [u8; 32];

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Verified(Mutex<Generations>);

#[derive(Debug, Default)]
struct Generations {
    young: HashSet<TokenDigest>,
    old: HashSet<TokenDigest>,
}

/// What a token is remembered by.
pub(super) fn digest(token: &str) -> TokenDigest {
    Sha256::digest(token.as_bytes()).into()
}

impl Verified {
    /// Whether this token was found good.
    pub(super) fn knows(&self, token: &TokenDigest) -> bool {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if all.young.contains(token) {
            return true;
        }
        let known = all.old.contains(token);
        if known {
            all.remember(*token);
        }
        known
    }

    /// This token was found good.
    pub(super) fn remember(&self, token: TokenDigest) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remember(token);
    }
}

impl Generations {
    fn remember(&mut self, token: TokenDigest) {
        if self.young.len() >= GENERATION {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(token);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_in_use_stays_and_the_whole_is_bounded() {
        let verified = Verified::default();
        let used = digest("used");
        verified.remember(used);
        for n in 0..10 * GENERATION {
            verified.remember(digest(&n.to_string()));
            assert!(verified.knows(&used), "{n}");
        }
        assert!(!verified.knows(&digest("0")) && !verified.knows(&digest("other")));
        let all = verified.0.lock().unwrap();
        assert!(all.young.len() + all.old.len() <= 2 * GENERATION);
    }
}
