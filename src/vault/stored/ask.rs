//! What one window asks of the store, in one round trip, and what it is answered.
//!
//! Equal values are asked once. An answer that does not come in time, or is not what was sealed for its token, is no answer: the
//! exchange is refused. Start at [`Stored::resolve`].

use std::borrow::Borrow;
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use zeroize::Zeroizing;

use crate::clock::Time;

use super::super::store::{Entry, StoreError, TokenId, TokenStore, ValueDigest};
use super::super::token::Value;
use super::super::{Normal, number};
use super::{Genuine, Issuer, RANDOM_LEN, spelling};

/// A store, and how long it may take.
#[derive(Clone, Debug)]
pub struct Stored {
    store: Arc<dyn TokenStore>,
    limit: Duration,
}

/// One question.
#[derive(Clone)]
pub enum Ask {
    /// Which token does this value have?
    Issue(Wanted),
    /// What does this token stand for?
    Find(Genuine),
}

/// A value that wants a token.
#[derive(Clone)]
pub struct Wanted {
    issuer: Issuer,
    digest: Option<ValueDigest>,
    kind: u8,
    value: Zeroizing<Vec<u8>>,
    subject: Option<Zeroizing<String>>,
}

/// The answer to one question.
pub enum Answer {
    /// The token's text; nothing in it needs an escape.
    Token(Vec<u8>),
    /// A string, unescaped.
    Text(Zeroizing<String>),
    /// A number, as JSON spells it.
    Number(Zeroizing<String>),
    /// It was erased, or has ended.
    Gone,
}

/// The store gave no answer, or none that can be used. Holds nothing of what was asked.
#[derive(Debug, thiserror::Error)]
pub enum Unanswered {
    /// It said no.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// It said nothing.
    #[error("no answer within {0:?}")]
    Slow(Duration),
    /// Another number of answers than questions, a token that we did not issue, or a value that was not sealed for it.
    #[error("{0}: the answer does not fit the question")]
    Wrong(&'static str),
    /// The keys of the domain were destroyed since its policy was loaded.
    #[error("the keys of this domain are destroyed")]
    Destroyed,
    /// The system gives no random bytes.
    #[error("the system gives no random bytes")]
    Randomness,
}

impl Wanted {
    /// For `value`, which [`Issuer::fits`].
    #[must_use]
    pub fn new(issuer: &Issuer, value: Value<'_>) -> Self {
        let normal = Normal::of(issuer.1, value).unwrap_or(Normal::As(value));
        let value = normal.value();
        let (kind, text) = value.parts();
        let value_bytes = Zeroizing::new(text.as_bytes().to_vec());
        Self { issuer: issuer.clone(), digest: issuer.digest(value), kind, value: value_bytes, subject: None }
    }

    /// Says whose it is.
    pub fn belongs_to(&mut self, subject: &str) {
        self.subject = Some(Zeroizing::new(subject.to_owned()));
    }

    fn entry(&self, random: [u8; RANDOM_LEN], digest: ValueDigest, now: Time) -> Entry {
        let issue = &*self.issuer.0;
        let token = issue.keys.token(random);
        let life = issue.once.map(|life| u64::try_from(life.as_millis()).unwrap_or(u64::MAX));
        Entry {
            digest,
            token,
            domain: issue.keys.domain,
            epoch: issue.keys.epoch,
            spelling: issue.spelling,
            sealed: issue.keys.seal(&token, (self.kind, &self.value)),
            subjects: Vec::new(),
            issued_ms: now.0,
            ends_ms: life.map(|life| now.0.saturating_add(life)),
        }
    }
}

impl Stored {
    /// Over this store.
    #[must_use]
    pub fn new(store: Arc<dyn TokenStore>, limit: Duration) -> Self {
        Self { store, limit }
    }

    /// The store itself.
    #[must_use]
    pub fn store(&self) -> &Arc<dyn TokenStore> {
        &self.store
    }

    /// Asks everything at once, and gives the answers in order. On return every token among them is durable.
    ///
    /// # Errors
    /// See [`Unanswered`]; then none of them may be used.
    pub async fn resolve<A: Borrow<Ask>>(&self, asks: &[A], now: Time) -> Result<Vec<Answer>, Unanswered> {
        let both = async { futures_util::future::try_join(self.put(asks, now), self.find(asks)).await };
        let (issued, found) =
            tokio::time::timeout(self.limit, both).await.map_err(|_| Unanswered::Slow(self.limit))??;
        let (mut issued, wrong) = (issued.iter(), || Unanswered::Wrong("find"));
        let answer = |ask: &Ask| match ask {
            Ask::Issue(wanted) => {
                let token = issued.next().ok_or(Unanswered::Wrong("put_if_absent"))?;
                wanted.answer(token)
            }
            Ask::Find(genuine) => match found.get(&genuine.token).ok_or_else(wrong)? {
                Some(entry) => genuine.answer(entry, now).ok_or_else(wrong),
                None => Ok(Answer::Gone),
            },
        };
        asks.iter().map(Borrow::borrow).map(answer).collect()
    }

    /// For each value that wants a token, in order, the one that it has.
    async fn put<A: Borrow<Ask>>(&self, asks: &[A], now: Time) -> Result<Vec<TokenId>, Unanswered> {
        let wanted = asks.iter().filter_map(|ask| match ask.borrow() {
            Ask::Issue(wanted) => Some(wanted),
            Ask::Find(_) => None,
        });
        let wanted: Vec<&Wanted> = wanted.collect();
        if wanted.iter().any(|wanted| wanted.issuer.0.keys.life.has_ended()) {
            return Err(Unanswered::Destroyed);
        }
        let batch = Batch::new(wanted.into_iter(), now)?;
        if batch.entries.is_empty() {
            return Ok(Vec::new());
        }
        let tokens = self.store.put_if_absent(&batch.entries).await?;
        if tokens.len() != batch.entries.len() {
            return Err(Unanswered::Wrong("put_if_absent"));
        }
        Ok(batch.places.iter().filter_map(|place| tokens.get(*place)).copied().collect())
    }

    async fn find<A: Borrow<Ask>>(&self, asks: &[A]) -> Result<HashMap<TokenId, Option<Entry>>, Unanswered> {
        let mut found: HashMap<TokenId, Option<Entry>> = HashMap::new();
        for ask in asks {
            if let Ask::Find(genuine) = ask.borrow() {
                found.insert(genuine.token, None);
            }
        }
        let tokens: Vec<TokenId> = found.keys().copied().collect();
        if tokens.is_empty() {
            return Ok(found);
        }
        let entries = self.store.find(&tokens).await?;
        if entries.len() != tokens.len() {
            return Err(Unanswered::Wrong("find"));
        }
        found.extend(tokens.into_iter().zip(entries));
        Ok(found)
    }
}

/// The entries to put, each digest once.
struct Batch {
    entries: Vec<Entry>,
    /// For each value in order, its entry.
    places: Vec<usize>,
}

impl Batch {
    fn new<'a>(wanted: impl Iterator<Item = &'a Wanted>, now: Time) -> Result<Self, Unanswered> {
        let (mut batch, mut known) = (Self { entries: Vec::new(), places: Vec::new() }, HashMap::new());
        for wanted in wanted {
            let place = match wanted.digest.and_then(|digest| known.get(&digest).copied()) {
                Some(place) => place,
                None => {
                    let mut random = [0; RANDOM_LEN + 32];
                    getrandom::fill(&mut random).map_err(|_| Unanswered::Randomness)?;
                    let (token, rest) = random.split_first_chunk().ok_or(Unanswered::Randomness)?;
                    let anew = rest.first_chunk().copied().ok_or(Unanswered::Randomness)?;
                    let entry = wanted.entry(*token, wanted.digest.unwrap_or(anew), now);
                    known.insert(entry.digest, batch.entries.len());
                    batch.entries.push(entry);
                    batch.entries.len() - 1
                }
            };
            batch.places.push(place);
            let subject = wanted.subject.as_ref().map(|subject| wanted.issuer.subject(subject));
            if let (Some(subject), Some(entry)) = (subject, batch.entries.get_mut(place))
                && !entry.subjects.contains(&subject)
            {
                entry.subjects.push(subject);
            }
        }
        Ok(batch)
    }
}

impl Wanted {
    /// The text of the token that won. It may be older than this process, but it is one of ours.
    fn answer(&self, token: &TokenId) -> Result<Answer, Unanswered> {
        let issue = &*self.issuer.0;
        if !issue.keys.issued(token) {
            return Err(Unanswered::Wrong("put_if_absent"));
        }
        let mut text = Vec::with_capacity(64);
        spelling::write(token, issue.keys.key_id, issue.spelling, &mut text);
        Ok(Answer::Token(text))
    }
}

impl Genuine {
    /// What was kept for it. `None`: that is something else.
    fn answer(&self, entry: &Entry, now: Time) -> Option<Answer> {
        if entry.ends_ms.is_some_and(|ends| ends <= now.0) {
            return Some(Answer::Gone);
        }
        if self.keys.life.has_ended() {
            return Some(Answer::Gone);
        }
        let plain = self.keys.open(&self.token, &entry.sealed)?;
        if !plain.number {
            return Some(Answer::Text(plain.value));
        }
        let mut spelt = Zeroizing::new(Vec::new());
        number::spell(&plain.value, &mut spelt);
        Some(Answer::Number(Zeroizing::new(std::str::from_utf8(&spelt).ok()?.to_owned())))
    }
}

impl fmt::Debug for Ask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Issue(_) => "Issue([secret])",
            Self::Find(_) => "Find([secret])",
        })
    }
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Answer([secret])")
    }
}
