//! A store that is copied to another one while it is used.
//!
//! All that is put is put in both, in the old one first, whose token wins; all that is forgotten is forgotten in both. What was there before is
//! copied beside ([`Moving::follow`]). The old one is asked what a token stands for, so that nothing depends on how far the copy has come;
//! once it is verified the program is started on the new one alone. While either is away, what needs a store is refused.
//!
//! What another process has put in the new one alone, because it was started on it already, is taken as it is: its tokens win, and are found there.
//! Start at [`Moving`].

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::super::store::{Answer, Entry, Forget, Forgotten, Page, StoreError, TokenId, TokenStore};
use super::{Error, Progress, Verified, copy, forget, forget_what_is_gone, marks, tokens, verify};

/// How long what is put or forgotten meanwhile may be in one of the two: longer than a call takes.
const PATIENCE: Duration = Duration::from_secs(30);
/// Between two attempts.
const PAUSE: Duration = Duration::from_secs(5);

/// See the module.
#[derive(Clone, Debug)]
pub struct Moving {
    from: Arc<dyn TokenStore>,
    to: Arc<dyn TokenStore>,
    /// All was copied, so that others may use the new one by itself.
    whole: Arc<AtomicBool>,
}

impl Moving {
    /// From one to another.
    #[must_use]
    pub fn new(from: Arc<dyn TokenStore>, to: Arc<dyn TokenStore>) -> Self {
        Self { from, to, whole: Arc::default() }
    }

    /// Sees that the other may be copied to: it is empty, or was filled by an earlier run.
    ///
    /// # Errors
    /// [`Error::NotEmpty`], and of the store.
    pub async fn begin(&self) -> Result<(), Error> {
        marks::begin(&*self.to).await
    }

    /// Copies what was there before, and verifies all of it; goes on until that has been done, or cannot be.
    ///
    /// # Errors
    /// [`Error::Damaged`], [`Error::Conflicts`], [`Error::NotEmpty`]: what no later attempt would mend.
    pub async fn follow(&self, tell: &(dyn Fn(Progress) + Send + Sync)) -> Result<Verified, Error> {
        loop {
            match self.try_follow(tell).await {
                Err(cause @ (Error::Store(_) | Error::Differ { .. })) => {
                    tracing::warn!(target: "tidegate", %cause, "copying the vault to another store was broken off: it is begun again in a moment");
                }
                done => return done,
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// One run of it.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn try_follow(&self, tell: &(dyn Fn(Progress) + Send + Sync)) -> Result<Verified, Error> {
        copy(&*self.from, &*self.to, tell).await?;
        let verified = verify(&*self.from, &*self.to, PATIENCE, tell).await?;
        if verified.damaged > 0 {
            return Err(Error::Damaged(verified.damaged));
        }
        marks::is_whole(&*self.to).await?;
        self.whole.store(true, Ordering::Release);
        Ok(verified)
    }

    async fn put(&self, entries: &[Entry]) -> Result<Vec<TokenId>, StoreError> {
        let mut won = self.from.put_if_absent(entries).await?;
        // Also what was known: it may not have been copied yet, and its token leaves next.
        let kept: Vec<Entry> = self.from.find(&won).await?.into_iter().flatten().collect();
        if kept.is_empty() {
            return Ok(won);
        }
        let there = self.to.put_if_absent(&kept).await?;
        // One that was forgotten in between was perhaps forgotten there before it came.
        forget_what_is_gone(&*self.from, &*self.to, &kept).await?;
        let others = tokens(&kept).into_iter().zip(there).filter(|(here, there)| here != there);
        for (here, there) in others.collect::<Vec<_>>() {
            // A process that uses the new one alone was first. What is ours was given to nobody yet.
            if !entries.iter().any(|entry| entry.token == here) {
                return Err(failed(Error::Conflicts(1)));
            }
            forget(&*self.from, vec![here]).await?;
            won.iter_mut().filter(|token| **token == here).for_each(|token| *token = there);
        }
        Ok(won)
    }

    async fn find(&self, tokens: &[TokenId]) -> Result<Vec<Option<Entry>>, StoreError> {
        let mut found = self.from.find(tokens).await?;
        let missing = tokens.iter().zip(&found).filter(|(_, found)| found.is_none());
        let missing: Vec<TokenId> = missing.map(|(token, _)| *token).collect();
        if missing.is_empty() || !self.whole.load(Ordering::Acquire) {
            return Ok(found);
        }
        let mut there = self.to.find(&missing).await?.into_iter();
        for found in found.iter_mut().filter(|found| found.is_none()) {
            *found = there.next().flatten();
        }
        Ok(found)
    }

    async fn seek(&self, what: &Forget, most: usize) -> Result<Vec<Forgotten>, StoreError> {
        let mut sought = self.from.seek(what, most).await?;
        let known: HashSet<TokenId> = sought.iter().map(|one| one.token).collect();
        let there = self.to.seek(what, most).await?;
        sought.extend(there.into_iter().filter(|one| !known.contains(&one.token)));
        sought.truncate(most);
        Ok(sought)
    }

    /// The old one's last: what is not forgotten there is found again when this is asked once more, and in the new one when that was copied to
    /// in between.
    async fn forget(&self, what: &Forget, most: usize) -> Result<Vec<Forgotten>, StoreError> {
        let sought = self.seek(what, most).await?;
        let tokens: Vec<TokenId> = sought.iter().map(|one| one.token).collect();
        forget(&*self.to, tokens.clone()).await?;
        forget(&*self.from, tokens.clone()).await?;
        forget(&*self.to, tokens).await?;
        Ok(sought)
    }
}

fn failed(error: Error) -> StoreError {
    match error {
        Error::Store(error) => error,
        other => StoreError { act: "put_if_absent", cause: other.into(), away: false },
    }
}

impl TokenStore for Moving {
    fn put_if_absent<'a>(&'a self, entries: &'a [Entry]) -> Answer<'a, Vec<TokenId>> {
        Box::pin(self.put(entries))
    }

    fn find<'a>(&'a self, tokens: &'a [TokenId]) -> Answer<'a, Vec<Option<Entry>>> {
        Box::pin(self.find(tokens))
    }

    fn seek<'a>(&'a self, what: &'a Forget, most: usize) -> Answer<'a, Vec<Forgotten>> {
        Box::pin(self.seek(what, most))
    }

    fn forget<'a>(&'a self, what: &'a Forget, most: usize) -> Answer<'a, Vec<Forgotten>> {
        Box::pin(self.forget(what, most))
    }

    fn visit(&self, after: Option<TokenId>, count: usize) -> Answer<'_, Page> {
        self.from.visit(after, count)
    }

    fn health(&self) -> Answer<'_, ()> {
        Box::pin(async {
            self.from.health().await?;
            self.to.health().await
        })
    }
}
