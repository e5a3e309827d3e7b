//! Changes to the tables that are made at once, or not at all. Start at [`Batch`].

use std::collections::HashSet;

use fjall::{Keyspace, OwnedWriteBatch, PersistMode};

use super::super::super::seal::gcm;
use super::super::{Entry, SubjectDigest, TokenId};
use super::Failure;
use super::slots::{Record, Slot, Taken};
use super::tables::{INLINE_SUBJECTS, Kept, Tables};

/// Where the tables say what the file of keys is like.
pub(super) const RECORD: &str = "slots";
/// Mark of a slot whose key is to be overwritten before anything else is done with it.
const TO_OVERWRITE: u8 = 0;
/// Mark of a slot whose key was overwritten.
const FREE: u8 = 1;

/// See the module.
pub(super) struct Batch<'t> {
    tables: &'t Tables,
    batch: OwnedWriteBatch,
    /// Slots that entries of it were given; those that were used before by themselves, too.
    taken: Vec<Slot>,
    again: HashSet<Slot>,
    /// Slots of entries that it removes.
    left: Vec<Slot>,
}

impl<'t> Batch<'t> {
    pub(super) fn new(tables: &'t Tables) -> Self {
        let batch = tables.database.batch().durability(Some(PersistMode::SyncData));
        Self { tables, batch, taken: Vec::new(), again: HashSet::new(), left: Vec::new() }
    }

    /// A new entry. Its row is in front of what leads to it, so that who follows finds it.
    pub(super) fn add(&mut self, entry: &Entry, spilt: bool) -> Result<(), Failure> {
        self.seal(entry, spilt)?;
        self.batch.insert(&self.tables.values, entry.digest, entry.token);
        if let Some(ends) = entry.ends_ms {
            self.batch.insert(&self.tables.ends, ending(ends, &entry.token), []);
        }
        Ok(())
    }

    /// The row of an entry as it was put, which is given a slot.
    pub(super) fn seal(&mut self, entry: &Entry, spilt: bool) -> Result<(), Failure> {
        let Taken { slot, key, again } = self.tables.slots.take()?;
        self.taken.push(slot);
        if again {
            self.again.insert(slot);
        }
        let mut row = Kept::encode(entry, slot, spilt);
        let mut sealed = row.split_off(row.len() - entry.sealed.len());
        gcm::seal(key.expose_secret(), &entry.token, &mut sealed);
        row.extend(sealed);
        self.batch.insert(&self.tables.tokens, entry.token, row);
        Ok(())
    }

    /// The row of an entry as it is kept.
    pub(super) fn write(&mut self, entry: &Entry, slot: Option<Slot>, spilt: bool) -> Result<(), Failure> {
        let Some(slot) = slot else { return self.seal(entry, spilt) };
        self.batch.insert(&self.tables.tokens, entry.token, Kept::encode(entry, slot, spilt));
        Ok(())
    }

    /// The way from a subject to an entry; `member`: it is not in the entry itself.
    pub(super) fn add_subject(&mut self, token: &TokenId, subject: &SubjectDigest, member: bool) {
        self.batch.insert(&self.tables.subjects, pair(subject, token), []);
        if member {
            self.batch.insert(&self.tables.members, pair(token, subject), []);
        }
    }

    /// Everything of an entry that has all its subjects. Its key is to be overwritten then.
    pub(super) fn remove(&mut self, kept: &Kept) {
        let entry = &kept.row.entry;
        self.batch.remove(&self.tables.values, entry.digest);
        for (at, subject) in entry.subjects.iter().enumerate() {
            self.batch.remove(&self.tables.subjects, pair(subject, &entry.token));
            if at >= INLINE_SUBJECTS {
                self.batch.remove(&self.tables.members, pair(&entry.token, subject));
            }
        }
        if let Some(ends) = entry.ends_ms {
            self.batch.remove(&self.tables.ends, ending(ends, &entry.token));
        }
        self.batch.remove(&self.tables.tokens, entry.token);
        if let Some(slot) = kept.slot {
            self.batch.insert(&self.tables.free, mark(TO_OVERWRITE, slot), []);
            self.left.push(slot);
        }
    }

    /// A row that does not read. It does not say whose digest leads to it, so all are looked at: one that stayed would go on to give
    /// its value a token that nothing keeps.
    pub(super) fn remove_damaged(&mut self, token: &TokenId) -> Result<(), Failure> {
        for pair in self.tables.values.iter() {
            let (digest, known) = pair.into_inner()?;
            if *known == token[..] {
                self.batch.remove(&self.tables.values, digest);
            }
        }
        self.batch.remove(&self.tables.tokens, *token);
        Ok(())
    }

    /// Something that has to be written, so that it is seen that it can be.
    pub(super) fn prove(&mut self) {
        self.batch.insert(&self.tables.about, "proof", []);
    }

    /// What the file of keys is like from now on.
    pub(super) fn tell(&mut self, record: Record) {
        self.batch.insert(&self.tables.about, RECORD, record.encode());
    }

    /// Makes them, durably. Slots whose entries were removed are free only after [`Tables::overwrite`].
    pub(super) fn commit(mut self) -> Result<Vec<Slot>, Failure> {
        if !self.left.is_empty() {
            self.tell(self.tables.slots.record_of_change());
        } else if !self.taken.is_empty() {
            self.tell(self.tables.slots.record());
        }
        self.commit_untold()
    }

    /// The same, and says nothing of the file of keys.
    pub(super) fn commit_untold(mut self) -> Result<Vec<Slot>, Failure> {
        // Each mark once: changes of one batch have no order.
        for slot in self.tables.slots.untold() {
            self.batch.remove(&self.tables.free, mark(TO_OVERWRITE, slot));
            if !self.again.remove(&slot) {
                self.batch.insert(&self.tables.free, mark(FREE, slot), []);
            }
        }
        for slot in &self.again {
            self.batch.remove(&self.tables.free, mark(FREE, *slot));
        }
        #[cfg(test)]
        self.tables.fail_if_told()?;
        self.batch.commit()?;
        Ok(self.left)
    }

    /// Gives back what it took, because it is not committed.
    pub(super) fn drop_taken(self) {
        self.tables.slots.give_back(&self.taken);
    }
}

/// The slots whose keys are to be overwritten.
pub(super) fn to_overwrite(table: &Keyspace) -> Result<Vec<Slot>, Failure> {
    marked(table, TO_OVERWRITE, usize::MAX)
}

/// Some of the slots that are free.
pub(super) fn free(table: &Keyspace, most: usize) -> Result<Vec<Slot>, Failure> {
    marked(table, FREE, most)
}

fn marked(table: &Keyspace, which: u8, most: usize) -> Result<Vec<Slot>, Failure> {
    let slot = |key: &[u8]| key.get(1..)?.try_into().ok().map(u64::from_be_bytes);
    table.prefix([which]).take(most).map(|pair| slot(&pair.key()?).ok_or(Failure::Damaged)).collect()
}

fn mark(which: u8, slot: Slot) -> Vec<u8> {
    [&[which][..], &slot.to_be_bytes()].concat()
}

pub(super) fn pair(first: &[u8], second: &[u8]) -> Vec<u8> {
    [first, second].concat()
}

fn ending(ends_ms: u64, token: &TokenId) -> Vec<u8> {
    // Sixteen bytes in front of the token, as in all pairs.
    [&[0; 8], &ends_ms.to_be_bytes()[..], token].concat()
}

pub(super) fn second(pair: &[u8]) -> Result<[u8; 16], Failure> {
    pair.split_first_chunk::<16>().and_then(|(_, second)| second.try_into().ok()).ok_or(Failure::Damaged)
}
