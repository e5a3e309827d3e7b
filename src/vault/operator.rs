//! Turns single tokens back for an operator, outside of traffic.
//!
//! Knows nothing of who asks and why: that is settled, and recorded, before anybody comes here (`admin::desk`). Start at
//! [`Vault::turn_back`].

use zeroize::Zeroizing;

use crate::clock::Time;
use crate::ids::{Category, DomainId, Shape};
use crate::keys;

use super::stored::Finder;
use super::stored::ask::{Answer, Ask, Unanswered};
use super::token::{Opened, PSEUDONYM_MARK};
use super::{Opener, Vault};

/// What a token stands for.
pub enum Back {
    /// This: text, or a number as JSON spells it.
    Value(Zeroizing<String>),
    /// Nothing any more: it was erased, or has ended.
    Gone,
    /// Nobody can say, and why.
    Never(&'static str),
    /// It is none of this partner and category, or was changed.
    NotOurs,
}

/// Why nothing was turned back.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The keys cannot be read, or are destroyed.
    #[error(transparent)]
    Keys(#[from] keys::Error),
    /// The store does not answer.
    #[error("the store: {0}")]
    Store(#[from] Unanswered),
}

/// Turns back the tokens of one (domain, category).
pub struct TurnBack {
    opener: Opener,
    finder: Option<Finder>,
}

impl Vault {
    /// What turns tokens of this domain and category back. Blocks; makes no keys: the domain must be there.
    ///
    /// # Errors
    /// The keys cannot be read, or the domain never was.
    pub fn back(&self, domain: &DomainId, category: &Category, shape: Option<Shape>) -> Result<TurnBack, keys::Error> {
        self.keys().known(domain)?;
        Ok(TurnBack { opener: self.opener(domain, category, shape)?, finder: self.finder(domain, category)? })
    }

    /// Turns tokens back, in order.
    ///
    /// # Errors
    /// The store does not answer: then none is.
    pub async fn turn_back(&self, by: &TurnBack, tokens: &[Zeroizing<String>], now: Time) -> Result<Vec<Back>, Error> {
        if tokens.iter().any(|token| by.opener.is_unknown(token)) {
            self.keys().look().await;
        }
        let mut back = Vec::with_capacity(tokens.len());
        for token in tokens {
            back.push(self.one(by, token, now).await?);
        }
        Ok(back)
    }

    async fn one(&self, by: &TurnBack, token: &str, now: Time) -> Result<Back, Error> {
        if let Some(never) = never(token) {
            return Ok(Back::Never(never));
        }
        let genuine = by.finder.as_ref().and_then(|finder| finder.genuine(token));
        if let (Some(genuine), Some(stored)) = (genuine, self.stored()) {
            let answer = stored.resolve(&[Ask::Find(genuine)], now).await?.pop();
            return Ok(match answer {
                Some(Answer::Text(value) | Answer::Number(value)) => Back::Value(value),
                Some(Answer::Gone) => Back::Gone,
                Some(Answer::Token(_)) | None => Back::NotOurs,
            });
        }
        let mut value = Zeroizing::new(Vec::with_capacity(1024));
        Ok(match by.opener.open(token, &mut value) {
            Opened::Text | Opened::Number => match std::str::from_utf8(&value) {
                Ok(value) => Back::Value(Zeroizing::new(value.to_owned())),
                Err(_) => Back::NotOurs,
            },
            Opened::Plain | Opened::Foreign => Back::NotOurs,
        })
    }
}

/// Why a stand-in is never turned back, if it is one of those.
fn never(token: &str) -> Option<&'static str> {
    let mark = token.get(..PSEUDONYM_MARK.len());
    if mark.is_some_and(|mark| mark.eq_ignore_ascii_case(PSEUDONYM_MARK)) {
        return Some("a pseudonym: it is made to be turned back by nobody");
    }
    // The protected header of a JWE in compact form, which begins with `{"`.
    if token.starts_with("eyJ") && token.bytes().filter(|byte| *byte == b'.').count() == 4 {
        return Some("sealed to the partner's own key: only the partner can open it");
    }
    None
}
