//! The seam for stored tokens: the contract of a [`TokenStore`].
//!
//! What is fixed is what a store sees (keyed digests and sealed bytes, so it cannot leak a value), and what it promises. A store
//! that cannot keep a promise says so by an error, and the exchange is refused: there is no unprotected value in its place.
//! One store keeps the tokens of all domains. [`memory`] keeps this contract without keeping anything through a restart.
//!
//! That an erased token answers as erased needs no trace of it: a token proves by itself that we issued it, so one that is
//! genuine and not kept has been erased or has ended.

pub mod embedded;
pub mod guard;
pub mod memo;
pub mod memory;
pub mod open;
pub mod password;
#[cfg(feature = "postgres")]
pub mod postgres;
pub mod redis;
pub(in crate::vault) mod row;

use std::fmt;
use std::future::Future;
use std::pin::Pin;

/// A keyed digest of (domain, epoch, category, spelling, value): finds the token that a value has, and says nothing of the value.
/// Random for tokens that are issued anew each time: they are never found again by their value.
pub type ValueDigest = [u8; 32];
/// A keyed digest of (domain, epoch, subject): finds all that is kept of a person, and does not say who it is.
pub type SubjectDigest = [u8; 16];
/// What of a stored token is not its spelling: 90 random bits and the proof that we issued it, in the form of a UUID of version 8.
pub type TokenId = [u8; 16];
/// A digest of the name of a domain (which is no secret): finds all that is kept for a partner, even where its keys are destroyed.
pub type DomainTag = [u8; 16];

/// How a token is spelt outside of the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Spelling {
    /// `tk1_…`
    Opaque,
    /// `tk1_…@token.invalid`
    Mail,
    /// As a UUID.
    Uuid,
}

/// What is kept of one value.
#[derive(Clone, PartialEq, Eq)]
pub struct Entry {
    /// By which the value is found.
    pub digest: ValueDigest,
    /// By which the token is found.
    pub token: TokenId,
    /// For whom it was issued.
    pub domain: DomainTag,
    /// Under which generation of the domain's secret.
    pub epoch: u32,
    /// How the token is spelt.
    pub spelling: Spelling,
    /// The value, sealed under a key of its own. As long as the value and under a hundred bytes more.
    pub sealed: Vec<u8>,
    /// Whose it is, where the policy says so: none, one, or several that share the value.
    pub subjects: Vec<SubjectDigest>,
    /// When it was issued, in milliseconds since 1970.
    pub issued_ms: u64,
    /// When it ends, in milliseconds since 1970, for tokens of one flow.
    pub ends_ms: Option<u64>,
}

/// A token that was forgotten: what the notice to its partner needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Forgotten {
    /// The token.
    pub token: TokenId,
    /// As of the [`Entry`].
    pub domain: DomainTag,
    /// As of the [`Entry`].
    pub epoch: u32,
    /// As of the [`Entry`].
    pub spelling: Spelling,
}

/// Some entries, in the order of their tokens.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// Those that read.
    pub entries: Vec<Entry>,
    /// The last token that was looked at; `None`: there is nothing more.
    pub last: Option<TokenId>,
    /// How many entries were passed over because they do not read.
    pub damaged: u64,
}

/// What to forget.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Forget {
    /// These values.
    Values(Vec<ValueDigest>),
    /// These tokens.
    Tokens(Vec<TokenId>),
    /// Everything that is a person's, also what is another's at the same time.
    Subject(SubjectDigest),
    /// All that was issued for a partner; of one generation of its secret, or of all.
    Domain(DomainTag, Option<u32>),
    /// All that was issued before this time, in milliseconds since 1970.
    IssuedBefore(u64),
    /// All that ended before this time, in milliseconds since 1970.
    EndedBefore(u64),
}

/// Why a store did not answer. Holds nothing of what was asked.
#[derive(Debug, thiserror::Error)]
#[error("{act}: {cause}")]
pub struct StoreError {
    /// What was tried: `put_if_absent`, `find`, …
    pub act: &'static str,
    /// What the store said.
    #[source]
    pub cause: Box<dyn std::error::Error + Send + Sync>,
    /// The store would not have answered anything else either; otherwise this question alone has no answer.
    pub away: bool,
}

/// The longest sealed value that a store takes: more than any field is, and little enough for every kind of store.
pub const SEALED_MAX: usize = 16 << 20;

/// An answer that is on its way. Boxed, so that a store can be chosen by settings: one allocation for a window's batch.
pub type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send + 'a>>;

/// Keeps tokens. Any number of processes may share a store; each of these calls is one round trip.
///
/// A caller may drop an answer before it has come: the call then happened or did not, but never by half for one entry.
pub trait TokenStore: Send + Sync + fmt::Debug {
    /// Keeps each entry unless there is one with its digest, and gives for each, in order, the token that won: of two replicas
    /// that race on one value both get the same. Where one is kept already, the new entry's subjects become its subjects too;
    /// nothing else of it changes. No digest and no token comes twice in `entries`; a token that is kept under another
    /// digest (odds of one in 2^30 among a billion tokens) is an error, and so is a sealed value of more than [`SEALED_MAX`]. **Durable on return**, subjects too: the token leaves next.
    fn put_if_absent<'a>(&'a self, entries: &'a [Entry]) -> Answer<'a, Vec<TokenId>>;

    /// The entries of these tokens, in order; `None` for one that is not kept. One that has ended may still be given: its
    /// caller looks at the time. Sees everything that was durable when the call began, and nothing that was forgotten by then:
    /// never from a replica that lags, and from a cache only as far as it hears of what others forget.
    fn find<'a>(&'a self, tokens: &'a [TokenId]) -> Answer<'a, Vec<Option<Entry>>>;

    /// What [`Self::forget`] would forget, at most `most`; fewer is the end. Forgets nothing: so that it can be told before it is gone. One that
    /// does not read is told with zeros for all but its token.
    fn seek<'a>(&'a self, what: &'a Forget, most: usize) -> Answer<'a, Vec<Forgotten>>;

    /// Forgets at most `most` entries, durably: none of them is found again, by any process. Gives their tokens; fewer than
    /// `most` is the end. Whoever wants all asks again and again. A forgotten value that is put again gets its new entry. The
    /// sealed bytes need not be overwritten by then: a store may keep them, out of reach, until it sorts its files. One that does
    /// makes them unreadable by other means if it can ([`embedded`]: a random key for each, which is overwritten), and says in the
    /// documentation what is left.
    fn forget<'a>(&'a self, what: &'a Forget, most: usize) -> Answer<'a, Vec<Forgotten>>;

    /// The entries after `after`, by token, at most `count`. Entries that are put or forgotten meanwhile may or may not be among them; no other
    /// is left out, save those that do not read, which are counted.
    fn visit(&self, after: Option<TokenId>, count: usize) -> Answer<'_, Page>;

    /// Whether the store would now keep an entry durably: it is up, may be written, and is set up as its contract needs.
    fn health(&self) -> Answer<'_, ()>;
}

/// Refuses what is too long for a store.
fn check_sizes(entries: &[Entry]) -> Result<(), StoreError> {
    match entries.iter().map(|entry| entry.sealed.len()).find(|bytes| *bytes > SEALED_MAX) {
        None => Ok(()),
        Some(bytes) => {
            let cause = format!("a sealed value of {bytes} bytes is too long: at most {SEALED_MAX} are kept").into();
            Err(StoreError { act: "put_if_absent", cause, away: false })
        }
    }
}

impl Entry {
    /// What is told of it when it is forgotten.
    #[must_use]
    pub fn forgotten(&self) -> Forgotten {
        Forgotten { token: self.token, domain: self.domain, epoch: self.epoch, spelling: self.spelling }
    }
}

impl Spelling {
    /// A number that stands for it, for good.
    #[must_use]
    pub fn code(self) -> u8 {
        match self {
            Self::Opaque => 0,
            Self::Mail => 1,
            Self::Uuid => 2,
        }
    }

    /// From its number.
    #[must_use]
    pub fn from_code(code: u8) -> Option<Self> {
        [Self::Opaque, Self::Mail, Self::Uuid].into_iter().find(|spelling| spelling.code() == code)
    }
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entry").field("issued_ms", &self.issued_ms).finish_non_exhaustive()
    }
}
