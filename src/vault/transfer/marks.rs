//! What a store says of itself while it is copied to: that a copy was begun, and that it was whole.
//!
//! Both are entries that are nobody's. A store that was begun and is not whole is not used by itself; one that is used by itself is not copied to
//! any more, since what came only there would be taken for what was forgotten. Whoever does the one writes its own mark first and then
//! looks for the other's, so that of two at the same time one sees the other. Start at [`begin`] and [`take`].

use sha2::{Digest, Sha256};

use super::super::store::{DomainTag, Entry, Forget, Spelling, StoreError, TokenId, TokenStore};
use super::Error;

/// The domain of marks. No partner's: those are digests.
const DOMAIN: DomainTag = *b"tidegate/1 moved";
/// It is copied to.
const BEGUN: TokenId = *b"tidegate/1 begun";
/// All was there once.
const WHOLE: TokenId = *b"tidegate/1 whole";

/// Sees that `to` is empty, and marks it; or that it was marked by an earlier run. It counts as not whole from then on.
///
/// # Errors
/// [`Error::NotEmpty`], and of the store.
pub async fn begin(to: &dyn TokenStore) -> Result<(), Error> {
    if !is_begun(to).await? {
        // Somebody else may have begun in between.
        if to.visit(None, 1).await?.last.is_some() && !is_begun(to).await? {
            return Err(Error::NotEmpty);
        }
        put(to, BEGUN).await?;
    }
    remove(to, WHOLE).await?;
    if is_begun(to).await? { Ok(()) } else { Err(Error::NotEmpty) }
}

/// All is there.
///
/// # Errors
/// Of the store.
pub async fn is_whole(to: &dyn TokenStore) -> Result<(), StoreError> {
    put(to, WHOLE).await
}

/// The copy is over; the store is like any other.
///
/// # Errors
/// Of the store.
pub async fn finish(to: &dyn TokenStore) -> Result<(), StoreError> {
    remove(to, WHOLE).await?;
    remove(to, BEGUN).await
}

/// Takes a store for use by itself.
///
/// # Errors
/// [`Error::Unfinished`], and of the store.
pub async fn take(store: &dyn TokenStore) -> Result<(), Error> {
    look(store).await?;
    if is_begun(store).await? {
        remove(store, BEGUN).await?;
        if !has(store, WHOLE).await? {
            return Err(Error::Unfinished);
        }
        remove(store, WHOLE).await?;
    }
    Ok(())
}

/// Sees that a store is not one that is being filled.
///
/// # Errors
/// [`Error::Unfinished`], and of the store.
pub async fn look(store: &dyn TokenStore) -> Result<(), Error> {
    if is_begun(store).await? && !has(store, WHOLE).await? { Err(Error::Unfinished) } else { Ok(()) }
}

/// Whether it may still be copied to.
///
/// # Errors
/// Of the store.
pub async fn is_begun(to: &dyn TokenStore) -> Result<bool, StoreError> {
    has(to, BEGUN).await
}

/// Whether it is an entry of this module.
#[must_use]
pub fn is_mark(entry: &Entry) -> bool {
    entry.domain == DOMAIN
}

async fn has(store: &dyn TokenStore, mark: TokenId) -> Result<bool, StoreError> {
    Ok(store.find(&[mark]).await?.iter().any(Option::is_some))
}

async fn put(store: &dyn TokenStore, mark: TokenId) -> Result<(), StoreError> {
    let entry = Entry {
        digest: Sha256::digest(mark).into(),
        token: mark,
        domain: DOMAIN,
        epoch: 0,
        spelling: Spelling::Opaque,
        sealed: Vec::new(),
        subjects: Vec::new(),
        // After everything that is forgotten by its age.
        issued_ms: u64::try_from(i64::MAX).unwrap_or_default(),
        ends_ms: None,
    };
    store.put_if_absent(&[entry]).await.map(drop)
}

async fn remove(store: &dyn TokenStore, mark: TokenId) -> Result<(), StoreError> {
    store.forget(&Forget::Tokens(vec![mark]), 1).await.map(drop)
}
