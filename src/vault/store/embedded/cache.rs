//! A bounded cache of entries as the store keeps them: sealed. What is in it is durable.
//!
//! It never holds what was forgotten: whoever fills it with something that was read takes a [`Mark`] before reading, and what
//! was read before a change is not taken after it. Start at [`Cache::look_up`].

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use quick_cache::Weighter;
use quick_cache::sync::Cache as Bounded;

use super::super::{Entry, SubjectDigest, TokenId, ValueDigest};

/// By value and by token.
pub(super) struct Cache {
    by_digest: Bounded<ValueDigest, Known, Bytes>,
    by_token: Bounded<TokenId, Arc<Entry>, Bytes>,
    /// Counts changes to what was durable before; its writers hold the lock.
    changes: AtomicU64,
    change: RwLock<()>,
}

/// The token of a value, and some of its subjects, or all.
#[derive(Clone)]
pub(super) struct Known {
    pub(super) token: TokenId,
    subjects: Arc<[SubjectDigest]>,
}

/// A moment before something was read.
#[derive(Clone, Copy)]
pub(super) struct Mark(u64);

#[derive(Clone)]
struct Bytes;

/// What a value with its token takes in memory besides its subjects, and a token with its entry besides the sealed bytes: with
/// their places in the tables.
const KNOWN_BYTES: usize = 120;
const ENTRY_BYTES: usize = 250;

impl Weighter<ValueDigest, Known> for Bytes {
    fn weight(&self, _: &ValueDigest, known: &Known) -> u64 {
        wide(KNOWN_BYTES + 16 * known.subjects.len())
    }
}

impl Weighter<TokenId, Arc<Entry>> for Bytes {
    fn weight(&self, _: &TokenId, entry: &Arc<Entry>) -> u64 {
        wide(ENTRY_BYTES + entry.sealed.len() + 16 * entry.subjects.len())
    }
}

fn wide(bytes: usize) -> u64 {
    u64::try_from(bytes).unwrap_or(u64::MAX)
}

impl Cache {
    /// Of at most so many bytes: a third for values, the rest for tokens.
    pub(super) fn new(bytes: usize) -> Self {
        let (values, tokens) = (bytes / 3, bytes - bytes / 3);
        Self {
            by_digest: Bounded::with_weighter(values / KNOWN_BYTES, wide(values), Bytes),
            by_token: Bounded::with_weighter(tokens / (ENTRY_BYTES + 70), wide(tokens), Bytes),
            changes: AtomicU64::new(0),
            change: RwLock::new(()),
        }
    }

    /// The token of an entry's value, if it is known to have all of the entry's subjects.
    pub(super) fn look_up(&self, entry: &Entry) -> Option<TokenId> {
        let known = self.by_digest.get(&entry.digest)?;
        entry.subjects.iter().all(|subject| known.subjects.contains(subject)).then_some(known.token)
    }

    /// The entry of a token.
    pub(super) fn find(&self, token: &TokenId) -> Option<Arc<Entry>> {
        self.by_token.get(token)
    }

    /// Taken before something is read that is to be kept.
    pub(super) fn mark(&self) -> Mark {
        Mark(self.changes.load(Ordering::Acquire))
    }

    /// Keeps what was read since the mark, unless something changed in between.
    pub(super) fn keep_read(&self, mark: Mark, entry: Arc<Entry>) {
        let _shared = self.change.read().unwrap_or_else(PoisonError::into_inner);
        if self.changes.load(Ordering::Acquire) == mark.0 {
            self.by_token.insert(entry.token, entry);
        }
    }

    /// Keeps what is durable, by value. For the thread that makes all changes: nothing changes meanwhile.
    pub(super) fn keep_known(&self, digest: ValueDigest, token: TokenId, subjects: &[SubjectDigest]) {
        self.by_digest.insert(digest, Known { token, subjects: subjects.into() });
    }

    /// Keeps what has just become durable. For the thread that makes all changes.
    pub(super) fn keep_new(&self, entry: Entry) {
        self.keep_known(entry.digest, entry.token, &entry.subjects);
        self.by_token.insert(entry.token, Arc::new(entry));
    }

    /// Drops these: they have just been forgotten, or changed, or it was tried.
    pub(super) fn drop_changed<'a>(&self, entries: impl Iterator<Item = &'a Entry>) {
        let _alone = self.change.write().unwrap_or_else(PoisonError::into_inner);
        self.changes.fetch_add(1, Ordering::AcqRel);
        for entry in entries {
            self.by_digest.remove(&entry.digest);
            self.by_token.remove(&entry.token);
        }
    }

    /// Drops everything: it is not certain any more what is durable.
    pub(super) fn clear(&self) {
        let _alone = self.change.write().unwrap_or_else(PoisonError::into_inner);
        self.changes.fetch_add(1, Ordering::AcqRel);
        self.by_digest.clear();
        self.by_token.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::Spelling;
    use super::*;

    fn entry(number: u32) -> Entry {
        let (mut token, mut digest) = ([0; 16], [1; 32]);
        token[..4].copy_from_slice(&number.to_be_bytes());
        digest[..4].copy_from_slice(&number.to_be_bytes());
        let (domain, spelling, subjects) = ([0; 16], Spelling::Opaque, vec![[7; 16]]);
        Entry { digest, token, domain, epoch: 1, spelling, sealed: vec![0; 60], subjects, issued_ms: 0, ends_ms: None }
    }

    #[test]
    fn what_was_read_before_a_change_is_not_kept_after_it() {
        let cache = Cache::new(1 << 20);
        let (known, other) = (entry(1), entry(2));
        let mark = cache.mark();
        cache.keep_read(mark, Arc::new(known.clone()));
        cache.keep_known(known.digest, known.token, &known.subjects);
        assert!(cache.find(&known.token).is_some() && cache.look_up(&known) == Some(known.token));
        cache.drop_changed([&known].into_iter());
        assert!(cache.find(&known.token).is_none() && cache.look_up(&known).is_none());
        cache.keep_read(mark, Arc::new(known.clone()));
        cache.keep_read(mark, Arc::new(other.clone()));
        assert!(cache.find(&known.token).is_none() && cache.find(&other.token).is_none());
        cache.keep_read(cache.mark(), Arc::new(other.clone()));
        assert!(cache.find(&other.token).is_some());
    }

    #[test]
    fn a_value_is_known_only_with_all_of_its_subjects() {
        let cache = Cache::new(1 << 20);
        cache.keep_new(entry(1));
        assert!(cache.look_up(&Entry { subjects: vec![], ..entry(1) }).is_some());
        assert!(cache.look_up(&Entry { subjects: vec![[7; 16], [8; 16]], ..entry(1) }).is_none());
    }

    #[test]
    fn it_is_bounded() {
        let cache = Cache::new(1 << 20);
        (0..100_000).for_each(|number| cache.keep_new(entry(number)));
        let kept = (cache.by_digest.len(), cache.by_token.len());
        assert!((1000..3000).contains(&kept.0) && (1000..3000).contains(&kept.1), "{kept:?}");
    }
}
