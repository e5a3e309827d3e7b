//! Puts that are made durable together: each is looked up, what is new is collected, and all of it is one batch.
//!
//! Only the store's own thread makes changes, so nothing changes between looking and writing. Start at [`Group::put`].

use std::collections::HashMap;

use super::super::{Entry, SubjectDigest, TokenId, ValueDigest};
use super::Failure;
use super::batch::Batch;
use super::cache::Cache;
use super::slots::Slot;
use super::tables::{INLINE_SUBJECTS, Kept, Tables};

/// What one batch will hold.
pub(super) struct Group<'t> {
    tables: &'t Tables,
    cache: &'t Cache,
    pending: HashMap<TokenId, Pending>,
    digests: HashMap<ValueDigest, TokenId>,
    prove: bool,
}

/// An entry that is new or gets subjects.
struct Pending {
    /// With the subjects that are kept in it.
    entry: Entry,
    spilt: bool,
    /// Of one that is kept already; its value is sealed as it is kept, then.
    slot: Option<Slot>,
    new: bool,
    /// Its row has to be written.
    rewrite: bool,
    /// Subjects that it did not have; `true`: not in the entry itself.
    added: Vec<(SubjectDigest, bool)>,
}

impl<'t> Group<'t> {
    pub(super) fn new(tables: &'t Tables, cache: &'t Cache) -> Self {
        Self { tables, cache, pending: HashMap::new(), digests: HashMap::new(), prove: false }
    }

    /// Takes each of these in, and gives the tokens that won; `true`: they were durable before, with their subjects. Otherwise
    /// they are after [`Group::commit`].
    pub(super) fn put_all(&mut self, entries: Vec<Entry>) -> Result<(Vec<TokenId>, bool), Failure> {
        let tokens: Vec<TokenId> = entries.into_iter().map(|entry| self.put(entry)).collect::<Result<_, _>>()?;
        let durable = self.pending.is_empty() || !tokens.iter().any(|token| self.pending.contains_key(token));
        Ok((tokens, durable))
    }

    /// Has something written in any case.
    pub(super) fn prove(&mut self) {
        self.prove = true;
    }

    /// Whether there is nothing to write.
    pub(super) fn is_empty(&self) -> bool {
        self.pending.is_empty() && !self.prove
    }

    fn put(&mut self, mut entry: Entry) -> Result<TokenId, Failure> {
        if let Some(token) = self.digests.get(&entry.digest).copied() {
            self.add_subjects(token, &entry.subjects)?;
            return Ok(token);
        }
        if let Some(token) = self.cache.look_up(&entry) {
            return Ok(token);
        }
        if let Some(token) = self.tables.token_of(&entry.digest)? {
            self.add_to_known(token, &entry)?;
            return Ok(token);
        }
        let token = entry.token;
        if self.pending.contains_key(&token) || self.tables.has(&token)? {
            return Err(Failure::TokenTaken);
        }
        let subjects = std::mem::take(&mut entry.subjects);
        self.digests.insert(entry.digest, token);
        let pending = Pending { entry, spilt: false, slot: None, new: true, rewrite: true, added: Vec::new() };
        self.pending.insert(token, pending);
        self.add_subjects(token, &subjects)?;
        Ok(token)
    }

    /// A value that the store has, perhaps not with these subjects.
    fn add_to_known(&mut self, token: TokenId, entry: &Entry) -> Result<(), Failure> {
        if entry.subjects.is_empty() {
            self.cache.keep_known(entry.digest, token, &[]);
            return Ok(());
        }
        if !self.pending.contains_key(&token) {
            let Kept { row, slot } = self.tables.row(&token)?.ok_or(Failure::Damaged)?;
            let (entry, spilt) = (row.entry, row.spilt);
            let known = Pending { entry, spilt, slot, new: false, rewrite: false, added: Vec::new() };
            self.pending.insert(token, known);
        }
        self.add_subjects(token, &entry.subjects)?;
        let unchanged = self.pending.get(&token).is_some_and(|known| known.added.is_empty());
        if let Some(known) = unchanged.then(|| self.pending.remove(&token)).flatten() {
            self.cache.keep_known(entry.digest, token, &known.entry.subjects);
        }
        Ok(())
    }

    fn add_subjects(&mut self, token: TokenId, subjects: &[SubjectDigest]) -> Result<(), Failure> {
        let Some(pending) = self.pending.get_mut(&token) else { return Ok(()) };
        for subject in subjects {
            if pending.entry.subjects.contains(subject) || pending.added.contains(&(*subject, true)) {
                continue;
            }
            if pending.entry.subjects.len() < INLINE_SUBJECTS {
                pending.entry.subjects.push(*subject);
                pending.added.push((*subject, false));
                pending.rewrite = true;
            } else if !(pending.spilt && !pending.new && self.tables.is_member(&token, subject)?) {
                pending.added.push((*subject, true));
                pending.rewrite |= !pending.spilt;
                pending.spilt = true;
            }
        }
        Ok(())
    }

    /// Makes all of it durable, and then known to the cache.
    pub(super) fn commit(self) -> Result<(), Failure> {
        if self.is_empty() {
            return Ok(());
        }
        self.tables.look_for_free()?;
        let mut batch = self.tables.batch();
        if let Err(failure) = self.fill(&mut batch) {
            batch.drop_taken();
            return Err(failure);
        }
        let committed = batch.commit();
        let changed = self.pending.values().filter(|pending| !pending.new).map(|pending| &pending.entry);
        if changed.clone().next().is_some() {
            self.cache.drop_changed(changed);
        }
        committed?;
        for (_, Pending { entry, spilt, .. }) in self.pending.into_iter().filter(|(_, pending)| pending.new) {
            // One with so many subjects is not cached: it would weigh more than it is worth.
            if !spilt {
                self.cache.keep_new(entry);
            }
        }
        Ok(())
    }

    fn fill(&self, batch: &mut Batch<'_>) -> Result<(), Failure> {
        if self.prove {
            batch.prove();
        }
        for (token, pending) in &self.pending {
            if pending.new {
                batch.add(&pending.entry, pending.spilt)?;
            } else if pending.rewrite {
                batch.write(&pending.entry, pending.slot, pending.spilt)?;
            }
            for (subject, member) in &pending.added {
                batch.add_subject(token, subject, *member);
            }
        }
        Ok(())
    }
}
