//! Copies what one store keeps into another, or into a file, and holds the two against each other.
//!
//! Everything can be broken off at any point and begun again: what is there already is not copied again. Not here: how a file
//! looks ([`archive`]), how a store is copied while it is used ([`moving`]), and which store may be copied to ([`marks`]). Start at
//! [`copy`] and [`verify`].

pub mod archive;
pub mod marks;
pub mod moving;

use std::collections::HashSet;
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};

use super::store::{Entry, Forget, Page, StoreError, TokenId, TokenStore, row};

/// Between two looks at what differs.
const PAUSE: Duration = Duration::from_millis(100);
/// Entries that are copied at once.
const PAGE: usize = 500;

/// How many entries there are, and what all of them are together, in whatever order they come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// How many.
    pub entries: u64,
    /// The sum, without carry, of the digests of all.
    pub digest: [u8; 32],
}

/// How far a copy has come.
#[derive(Clone, Copy, Debug)]
pub struct Progress {
    /// Entries that were looked at since the last time.
    pub entries: u64,
    /// Of one: tokens are random and are visited in order, so that the last one tells.
    pub share: f64,
}

/// What two stores hold, entry by entry. Where nothing changes meanwhile, it is the same.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Verified {
    /// The one that was copied.
    pub from: Tally,
    /// The copy.
    pub to: Tally,
    /// Entries that do not read, and so are in no copy.
    pub damaged: u64,
}

/// Why something was not copied, or not all of it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A store did not answer.
    #[error("the store: {0}")]
    Store(#[from] StoreError),
    /// There is something in the store that was not copied to it.
    #[error(
        "the store that is to be copied to keeps tokens already, or is used by itself: it must be an empty one, or the one that an earlier run \
         began to fill"
    )]
    NotEmpty,
    /// It is being filled.
    #[error(
        "this store was being copied to, and the copy is not complete: start the program with the old store and `vault.to` until the log says that \
         the vault is copied and verified, or run `tidegate vault migrate` to its end"
    )]
    Unfinished,
    /// A value has another token in the store.
    #[error("{0} values have another token there already, so that the tokens that were to be copied would be lost")]
    Conflicts(u64),
    /// The two do not hold the same.
    #[error("{missing} entries are missing or are not as they were copied; run it again")]
    Differ {
        /// How many.
        missing: u64,
    },
    /// Some do not read.
    #[error(
        "{0} entries of the store do not read, so that they cannot be copied: restore the store from its newest copy; or, to go on without \
         them, run `tidegate vault export` or `migrate` with `--leave-damaged`"
    )]
    Damaged(u64),
    /// A file.
    #[error(transparent)]
    Archive(#[from] archive::Error),
}

impl Tally {
    /// Counts one in.
    pub fn add(&mut self, entry: &Entry) {
        self.entries += 1;
        let mut entry = entry.clone();
        entry.subjects.sort_unstable();
        let mut hash = Sha256::new_with_prefix(entry.token);
        hash.update((entry.subjects.len() as u64).to_be_bytes());
        hash.update(entry.subjects.as_flattened());
        entry.subjects.clear();
        hash.update(row::encode(&entry, false));
        self.digest.iter_mut().zip(hash.finalize()).for_each(|(byte, other)| *byte ^= other);
    }

    /// Counts another one's in.
    pub fn extend<'a>(&mut self, entries: impl IntoIterator<Item = &'a Entry>) {
        entries.into_iter().for_each(|entry| self.add(entry));
    }
}

/// Whether what is kept is what was to be kept; it may be more persons' by now.
fn covers(kept: &Entry, wanted: &Entry) -> bool {
    let rest = |entry: &Entry| Entry { subjects: Vec::new(), ..entry.clone() };
    let has: HashSet<_> = kept.subjects.iter().collect();
    rest(kept) == rest(wanted) && wanted.subjects.iter().all(|subject| has.contains(subject))
}

fn tokens(entries: &[Entry]) -> Vec<TokenId> {
    entries.iter().map(|entry| entry.token).collect()
}

/// Puts these as they are, where they are not there.
///
/// # Errors
/// [`Error::Conflicts`], and of the store.
pub async fn put(to: &dyn TokenStore, entries: &[Entry]) -> Result<(), Error> {
    if entries.is_empty() {
        return Ok(());
    }
    let won = to.put_if_absent(entries).await?;
    let others = entries.iter().zip(won).filter(|(entry, won)| entry.token != *won).count();
    if others == 0 { Ok(()) } else { Err(Error::Conflicts(others as u64)) }
}

/// Those of these that the store keeps as they are here.
///
/// # Errors
/// Of the store.
pub async fn as_copied<'e>(store: &dyn TokenStore, entries: &'e [Entry]) -> Result<Vec<&'e Entry>, StoreError> {
    let found = store.find(&tokens(entries)).await?;
    let pairs = entries.iter().zip(found);
    Ok(pairs
        .filter(|(entry, found)| found.as_ref().is_some_and(|found| covers(found, entry)))
        .map(|(entry, _)| entry)
        .collect())
}

/// What a store keeps behind a token, without marks; `None`: nothing more.
///
/// # Errors
/// Of the store.
pub async fn page(store: &dyn TokenStore, after: Option<TokenId>) -> Result<Option<(TokenId, Page)>, StoreError> {
    let mut page = store.visit(after, PAGE).await?;
    page.entries.retain(|entry| !marks::is_mark(entry));
    Ok(page.last.map(|last| (last, page)))
}

/// All that a store keeps, and how many entries of it do not read.
///
/// # Errors
/// Of the store.
pub async fn tally(
    store: &dyn TokenStore,
    tell: &(dyn Fn(Progress) + Send + Sync),
) -> Result<(Tally, u64), StoreError> {
    let (mut after, mut tally, mut damaged) = (None, Tally::default(), 0);
    while let Some((last, page)) = page(store, after).await? {
        tally.extend(&page.entries);
        damaged += page.damaged;
        after = Some(last);
        tell(progress(page.entries.len(), &last));
    }
    Ok((tally, damaged))
}

/// That so many more were done, up to this token.
#[must_use]
pub fn progress(entries: usize, last: &TokenId) -> Progress {
    let [a, b, c, d, ..] = *last;
    let share = f64::from(u32::from_be_bytes([a, b, c, d])) / f64::from(u32::MAX);
    Progress { entries: entries as u64, share }
}

/// Those of these that a store does not keep any more.
async fn gone(from: &dyn TokenStore, entries: &[Entry]) -> Result<Vec<TokenId>, StoreError> {
    let still = from.find(&tokens(entries)).await?;
    Ok(entries.iter().zip(still).filter(|(_, still)| still.is_none()).map(|(entry, _)| entry.token).collect())
}

/// Takes from `to` those of these that `from` does not keep any more: forgotten since they were read there.
async fn forget_what_is_gone(from: &dyn TokenStore, to: &dyn TokenStore, entries: &[Entry]) -> Result<(), StoreError> {
    forget(to, gone(from, entries).await?).await
}

async fn forget(store: &dyn TokenStore, tokens: Vec<TokenId>) -> Result<(), StoreError> {
    if tokens.is_empty() {
        return Ok(());
    }
    let most = tokens.len();
    store.forget(&Forget::Tokens(tokens), most).await.map(drop)
}

/// Copies all that `from` keeps, also while it is used: what is forgotten there meanwhile does not stay in `to`. What is put there meanwhile is
/// [`moving::Moving`]'s to copy.
///
/// # Errors
/// See [`Error`]; then run it again.
pub async fn copy(
    from: &dyn TokenStore,
    to: &dyn TokenStore,
    tell: &(dyn Fn(Progress) + Send + Sync),
) -> Result<(), Error> {
    let mut after = None;
    while let Some((last, page)) = page(from, after).await? {
        put(to, &page.entries).await?;
        forget_what_is_gone(from, to, &page.entries).await?;
        after = Some(last);
        tell(progress(page.entries.len(), &last));
    }
    Ok(())
}

/// Holds both against each other, entry by entry: all that `from` keeps is in `to`, and what it does not keep is taken from there. What is put
/// or forgotten meanwhile is for a moment in one of them: what differs is looked at again for so long.
///
/// # Errors
/// [`Error::Differ`], [`Error::NotEmpty`] where `to` has come into use by itself, and of the stores.
pub async fn verify(
    from: &dyn TokenStore,
    to: &dyn TokenStore,
    patience: Duration,
    tell: &(dyn Fn(Progress) + Send + Sync),
) -> Result<Verified, Error> {
    let mut verified = Verified::default();
    let (mut after, mut doubtful) = (None, Vec::new());
    while let Some((last, page)) = page(from, after).await? {
        let copies = to.find(&tokens(&page.entries)).await?;
        for (entry, copy) in page.entries.into_iter().zip(copies) {
            if copy.is_some_and(|copy| covers(&copy, &entry)) {
                verified.from.add(&entry);
            } else {
                doubtful.push(entry.token);
            }
        }
        verified.damaged += page.damaged;
        after = Some(last);
    }
    settled(from, to, doubtful, patience).await?;
    let mut after = None;
    while let Some((last, page)) = page(to, after).await? {
        let gone = gone(from, &page.entries).await?;
        // Looked at after the page was read: what is in it was put before anybody used the store by itself.
        if !gone.is_empty() && !marks::is_begun(to).await? {
            return Err(Error::NotEmpty);
        }
        let gone_too: HashSet<_> = gone.iter().copied().collect();
        forget(to, gone).await?;
        verified.to.extend(page.entries.iter().filter(|entry| !gone_too.contains(&entry.token)));
        verified.damaged += page.damaged;
        after = Some(last);
        tell(progress(page.entries.len(), &last));
    }
    Ok(verified)
}

/// That each of these is in both, or in neither, within so much time.
async fn settled(
    from: &dyn TokenStore,
    to: &dyn TokenStore,
    mut doubtful: Vec<TokenId>,
    patience: Duration,
) -> Result<(), Error> {
    let began = Instant::now();
    loop {
        let mut still = Vec::new();
        for some in doubtful.chunks(PAGE) {
            let (here, there) = (from.find(some).await?, to.find(some).await?);
            for ((token, here), there) in some.iter().zip(here).zip(there) {
                // What was forgotten since it was visited need not be there.
                if here.is_some_and(|here| !there.is_some_and(|there| covers(&there, &here))) {
                    still.push(*token);
                }
            }
        }
        if still.is_empty() {
            return Ok(());
        }
        if began.elapsed() >= patience {
            return Err(Error::Differ { missing: still.len() as u64 });
        }
        doubtful = still;
        tokio::time::sleep(PAUSE).await;
    }
}
