//! A store in this process's memory: the contract without the durability. For tests and trials; what it keeps ends with the
//! process, and with it every token that was given out, so no setting chooses it.
//!
//! Plain maps under one lock. Start at [`Memory`].

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::{Answer, Entry, Forget, Forgotten, Page, StoreError, TokenId, TokenStore, ValueDigest, check_sizes};

/// See the module.
#[derive(Debug, Default)]
pub struct Memory(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    by_token: BTreeMap<TokenId, Entry>,
    by_digest: HashMap<ValueDigest, TokenId>,
}

impl Memory {
    /// How many entries it keeps.
    #[must_use]
    pub fn len(&self) -> usize {
        self.kept().by_token.len()
    }

    /// None at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        // A panic of another thread under this lock leaves maps that agree: each change is of one entry.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    fn put(&mut self, entry: &Entry) -> Result<TokenId, StoreError> {
        if let Some(token) = self.by_digest.get(&entry.digest).copied() {
            if let Some(known) = self.by_token.get_mut(&token) {
                let new = entry.subjects.iter().filter(|subject| !known.subjects.contains(subject));
                let new: Vec<_> = new.copied().collect();
                known.subjects.extend(new);
            }
            return Ok(token);
        }
        if self.by_token.contains_key(&entry.token) {
            let cause = "the token is another value's".into();
            return Err(StoreError { act: "put_if_absent", cause, away: false });
        }
        self.by_digest.insert(entry.digest, entry.token);
        self.by_token.insert(entry.token, entry.clone());
        Ok(entry.token)
    }

    fn seek(&self, what: &Forget, most: usize) -> Vec<Entry> {
        let meant = |entry: &&Entry| match what {
            Forget::Values(digests) => digests.contains(&entry.digest),
            Forget::Tokens(tokens) => tokens.contains(&entry.token),
            Forget::Subject(subject) => entry.subjects.contains(subject),
            Forget::Domain(domain, epoch) => entry.domain == *domain && epoch.is_none_or(|epoch| entry.epoch == epoch),
            Forget::IssuedBefore(time) => entry.issued_ms < *time,
            Forget::EndedBefore(time) => entry.ends_ms.is_some_and(|ends| ends < *time),
        };
        self.by_token.values().filter(meant).take(most).cloned().collect()
    }

    fn forget(&mut self, what: &Forget, most: usize) -> Vec<Forgotten> {
        let found = self.seek(what, most);
        for entry in &found {
            self.by_token.remove(&entry.token);
            self.by_digest.remove(&entry.digest);
        }
        found.iter().map(Entry::forgotten).collect()
    }
}

impl TokenStore for Memory {
    fn put_if_absent<'a>(&'a self, entries: &'a [Entry]) -> Answer<'a, Vec<TokenId>> {
        Box::pin(async {
            check_sizes(entries)?;
            let mut kept = self.kept();
            entries.iter().map(|entry| kept.put(entry)).collect()
        })
    }

    fn find<'a>(&'a self, tokens: &'a [TokenId]) -> Answer<'a, Vec<Option<Entry>>> {
        Box::pin(async {
            let kept = self.kept();
            Ok(tokens.iter().map(|token| kept.by_token.get(token).cloned()).collect())
        })
    }

    fn seek<'a>(&'a self, what: &'a Forget, most: usize) -> Answer<'a, Vec<Forgotten>> {
        Box::pin(async move { Ok(self.kept().seek(what, most).iter().map(Entry::forgotten).collect()) })
    }

    fn forget<'a>(&'a self, what: &'a Forget, most: usize) -> Answer<'a, Vec<Forgotten>> {
        Box::pin(async move { Ok(self.kept().forget(what, most)) })
    }

    fn visit(&self, after: Option<TokenId>, count: usize) -> Answer<'_, Page> {
        use std::ops::Bound::{Excluded, Unbounded};
        let from = after.map_or(Unbounded, Excluded);
        Box::pin(async move {
            let kept = self.kept();
            let entries: Vec<Entry> =
                kept.by_token.range((from, Unbounded)).take(count).map(|(_, entry)| entry.clone()).collect();
            let last = entries.last().map(|entry| entry.token);
            Ok(Page { entries, last, damaged: 0 })
        })
    }

    fn health(&self) -> Answer<'_, ()> {
        Box::pin(async { Ok(()) })
    }
}

#[cfg(test)]
mod tests {
    use super::super::Spelling;
    use super::*;

    fn entry(number: u8, subjects: &[u8]) -> Entry {
        Entry {
            digest: [number; 32],
            token: [number; 16],
            domain: [number % 2; 16],
            epoch: 1,
            spelling: Spelling::Opaque,
            sealed: vec![number],
            subjects: subjects.iter().map(|subject| [*subject; 16]).collect(),
            issued_ms: u64::from(number),
            ends_ms: (number > 2).then(|| u64::from(number) + 10),
        }
    }

    async fn filled() -> Memory {
        let store = Memory::default();
        store.put_if_absent(&[entry(1, &[7]), entry(2, &[]), entry(3, &[8]), entry(4, &[8])]).await.unwrap();
        store
    }

    /// The numbers of the tokens that go, in steps of one.
    async fn check(what: Forget, expected: &[u8]) {
        let (store, mut gone) = (filled().await, Vec::new());
        loop {
            let step = store.forget(&what, 1).await.unwrap();
            gone.extend(step.iter().filter_map(|forgotten| forgotten.token.first().copied()));
            if step.is_empty() {
                break;
            }
        }
        assert_eq!(gone, expected, "{what:?}");
        for number in 1..=4 {
            let kept = store.find(&[[number; 16]]).await.unwrap().remove(0).is_some();
            assert_eq!(kept, !expected.contains(&number), "{what:?}");
        }
        assert_eq!(store.len(), 4 - expected.len());
    }

    #[tokio::test]
    async fn what_is_forgotten_is_gone_and_nothing_else_is() {
        check(Forget::Values(vec![[1; 32], [9; 32]]), &[1]).await;
        check(Forget::Tokens(vec![[2; 16], [9; 16]]), &[2]).await;
        check(Forget::Subject([8; 16]), &[3, 4]).await;
        check(Forget::Domain([1; 16], None), &[1, 3]).await;
        check(Forget::Domain([1; 16], Some(2)), &[]).await;
        check(Forget::IssuedBefore(3), &[1, 2]).await;
        check(Forget::EndedBefore(14), &[3]).await;
    }

    #[tokio::test]
    async fn the_first_token_of_a_value_wins_and_gets_the_subjects_of_the_second() {
        let store = filled().await;
        let late = Entry { digest: [1; 32], ..entry(9, &[9, 7]) };
        assert_eq!(store.put_if_absent(&[late]).await.unwrap(), [[1; 16]]);
        let found = store.find(&[[1; 16]]).await.unwrap().remove(0).unwrap();
        assert_eq!((found.subjects, found.issued_ms), (vec![[7; 16], [9; 16]], 1));
        assert_eq!(store.forget(&Forget::Subject([9; 16]), 9).await.unwrap(), [entry(1, &[]).forgotten()]);
        assert!(store.put_if_absent(&[Entry { digest: [5; 32], ..entry(2, &[]) }]).await.is_err());
    }

    #[tokio::test]
    async fn a_visit_sees_every_entry_once() {
        let (store, mut seen, mut after) = (filled().await, Vec::new(), None);
        loop {
            let page = store.visit(after, 3).await.unwrap();
            if page.last.is_none() {
                break;
            }
            after = page.last;
            seen.extend(page.entries.iter().map(|entry| entry.issued_ms));
        }
        assert_eq!(seen, [1, 2, 3, 4]);
    }
}
