//! The seam for stored tokens: the contract of a [`TokenStore`].
//!
//! No store is here yet: sealed tokens need none, and it will come with the embedded one. What is fixed is what a store sees
//! (keyed digests and sealed bytes, so it cannot leak a value), and what it promises. A store that cannot keep a promise says so
//! by an error, and the exchange is refused: there is no unprotected value in its place.

use std::fmt;
use std::future::Future;
use std::pin::Pin;

/// A keyed digest of (domain, category, value): finds the token that a value has, and says nothing of the value.
pub type ValueDigest = [u8; 32];
/// A keyed digest of a subject: finds all that is kept of a person, and does not say who it is.
pub type SubjectDigest = [u8; 16];
/// A stored token without its mark: random.
pub type TokenId = [u8; 16];

/// What is kept of one value.
#[derive(Clone, PartialEq, Eq)]
pub struct Entry {
    /// By which the value is found.
    pub digest: ValueDigest,
    /// By which the token is found.
    pub token: TokenId,
    /// The value, sealed under a key of its own.
    pub sealed: Vec<u8>,
    /// Whose it is, where the policy says so.
    pub subject: Option<SubjectDigest>,
    /// When it was issued, in milliseconds since 1970.
    pub issued_ms: u64,
    /// When it ends, in milliseconds since 1970, for tokens of one flow.
    pub ends_ms: Option<u64>,
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entry").field("issued_ms", &self.issued_ms).finish_non_exhaustive()
    }
}

/// What to forget.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Forget {
    /// These values.
    Values(Vec<ValueDigest>),
    /// All of a person.
    Subject(SubjectDigest),
    /// All that was issued or ended before this time, in milliseconds since 1970.
    Before(u64),
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
}

/// An answer that is on its way. Boxed, so that a store can be chosen by settings: one allocation for a window's batch.
pub type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send + 'a>>;

/// Keeps tokens of one domain. Any number of processes may share a store; each of these calls is one round trip.
pub trait TokenStore: Send + Sync + fmt::Debug {
    /// Keeps each entry unless there is one with its digest, and gives for each, in order, the token that won: of two replicas
    /// that race on one value both get the same. **Durable on return**: the token leaves next.
    fn put_if_absent<'a>(&'a self, entries: &'a [Entry]) -> Answer<'a, Vec<TokenId>>;

    /// The entries of these tokens, in order; `None` for one that is not kept. Sees everything that was durable when the call
    /// began: never from a replica that lags.
    fn find<'a>(&'a self, tokens: &'a [TokenId]) -> Answer<'a, Vec<Option<Entry>>>;

    /// Forgets, durably and everywhere that the store itself keeps it, and gives the tokens that are gone.
    fn forget<'a>(&'a self, what: &'a Forget) -> Answer<'a, Vec<TokenId>>;

    /// The entries after `after`, by token, at most `count`; an empty answer is the end. Entries that are put or forgotten
    /// meanwhile may or may not be among them, no other is left out.
    fn visit(&self, after: Option<TokenId>, count: usize) -> Answer<'_, Vec<Entry>>;

    /// Whether the store would now keep an entry durably: it is up, may be written, and is set up as its contract needs.
    fn health(&self) -> Answer<'_, ()>;
}
