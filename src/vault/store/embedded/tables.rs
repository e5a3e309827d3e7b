//! The tables on disk: a log-structured store with a journal, and what is in which of its tables.
//!
//! | table | key | holds |
//! |---|---|---|
//! | `tokens` | token | the slot of its key, and the entry (see [`super::super::row`]), its value sealed once more, under that key |
//! | `values` | digest of the value | the token |
//! | `subjects` | subject, token | nothing |
//! | `members` | token, subject | nothing: subjects of a value that so many share that they are not in its entry |
//! | `ends` | when it ends, token | nothing |
//! | `slots` | a mark, slot | nothing: its key is to be overwritten, or was and it is free (see [`super::slots`]) |
//! | `about` | a word | the form of all this; what the file of keys is like; when it was last proven that it can be written |
//!
//! A batch is in the journal and synced before it is applied, so whatever can be read is durable. Not here: how changes are
//! written ([`super::batch`]). Start at [`Tables::open`].

use std::ops::Bound;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use fjall::{Database, Keyspace, KeyspaceCreateOptions, PersistMode};

use super::super::super::seal::gcm;
use super::super::row::{self, Row};
use super::super::{Entry, Forgotten, Page, Spelling, SubjectDigest, TokenId, ValueDigest};
use super::batch::{self, Batch, pair, second};
use super::slots::{Age, FREE_MAX, Record, Slot, Slots};
use super::{Failure, KeysTrouble, OpenError, Trouble, journals};

/// Subjects that are kept in the entry itself: more are rare, and each addition writes the entry anew.
pub(super) const INLINE_SUBJECTS: usize = 32;
/// The form of the tables: raised when an older program could not read them.
const FORM: &[u8] = b"2";
/// The form before: entries without a slot. They are given one when the tables are opened.
const FORM_WITHOUT_SLOTS: &[u8] = b"1";
/// While they are given.
const FORM_BETWEEN: &[u8] = b"1, on the way to 2";
/// The file of keys, beside the tables.
pub(super) const KEYS: &str = "value-keys";
/// What a row with a slot begins with; one without begins with its form, which is another number.
const WITH_SLOT: u8 = 2;
/// Rows that are looked at, or given a slot, at once.
const STEP: usize = 4096;
/// Unsorted entries in memory, for each table, before they are sorted into a file. They are also what is read from the journal at
/// the next start, so they bound its time.
const MEMTABLE_BYTES: u64 = 16 << 20;
/// The journal, before the tables that hold it up are written to files.
const JOURNAL_BYTES: u64 = 128 << 20;
/// Files of a table that are not merged yet; with a few more the engine holds up whoever writes.
const RUNS_MAX: usize = 20;
/// Blocks of files, besides the cache of entries.
const BLOCK_CACHE_BYTES: u64 = 64 << 20;

/// All tables of one folder.
pub(super) struct Tables {
    pub(super) database: Database,
    pub(super) tokens: Keyspace,
    pub(super) values: Keyspace,
    pub(super) subjects: Keyspace,
    pub(super) members: Keyspace,
    pub(super) ends: Keyspace,
    pub(super) free: Keyspace,
    pub(super) about: Keyspace,
    pub(super) slots: Slots,
    /// Walks end: the tables are about to be closed.
    broken_off: AtomicBool,
    /// For tests: the next commit fails.
    #[cfg(test)]
    pub(super) fail_next: AtomicBool,
}

/// A row as it is kept.
pub(super) struct Kept {
    /// Its value sealed once more, where there is a slot.
    pub(super) row: Row,
    /// Where its key is; `None` in rows of an older form.
    pub(super) slot: Option<Slot>,
}

impl Tables {
    /// Opens them in the store's folder, and makes them if there are none.
    pub(super) fn open(folder: &Path) -> Result<Self, OpenError> {
        let failed = |error: fjall::Error| OpenError::Tables { folder: folder.to_owned(), source: error.into() };
        let home = folder.join("tables");
        journals::renew(&home)?;
        let builder = Database::builder(home).cache_size(BLOCK_CACHE_BYTES);
        let builder = builder.max_journaling_size(JOURNAL_BYTES).manual_journal_persist(true).worker_threads(2);
        let database = builder.open().map_err(failed)?;
        let table = |name| {
            database
                .keyspace(name, || KeyspaceCreateOptions::default().max_memtable_size(MEMTABLE_BYTES))
                .map_err(failed)
        };
        let (tokens, values, subjects) = (table("tokens")?, table("values")?, table("subjects")?);
        let (members, ends, free, about) = (table("members")?, table("ends")?, table("slots")?, table("about")?);
        let form = about.get("form").map_err(failed)?;
        let is_old = form.as_deref().is_some_and(|form| [FORM_WITHOUT_SLOTS, FORM_BETWEEN].contains(&form));
        if form.as_deref().is_some_and(|form| form != FORM) && !is_old {
            return Err(OpenError::Newer { folder: folder.to_owned() });
        }
        let (slots, age) = open_slots(folder, &database, &about)?;
        let mut tables = Self {
            database,
            tokens,
            values,
            subjects,
            members,
            ends,
            free,
            about,
            slots,
            broken_off: AtomicBool::new(false),
            #[cfg(test)]
            fail_next: AtomicBool::new(false),
        };
        let failed = |source| OpenError::Tables { folder: folder.to_owned(), source };
        tables.finish(age, is_old).map_err(|failure| match failure {
            Failure::Files(trouble) => failed(trouble),
            other => failed(Trouble::from(fjall::Error::Io(std::io::Error::other(other)))),
        })?;
        Ok(tables)
    }

    /// Brings the file of keys to where the tables say it is, and the tables to the newest form.
    fn finish(&mut self, age: Age, is_old: bool) -> Result<(), Failure> {
        if age == Age::Newer {
            self.drop_unreadable()?;
        }
        let mut batch = self.batch();
        batch.tell(self.slots.record_of_change());
        batch.commit()?;
        self.overwrite(&batch::to_overwrite(&self.free)?)?;
        self.slots.begin()?;
        self.slots.give_back(&batch::free(&self.free, FREE_MAX + 1)?);
        if is_old {
            self.give_slots()?;
        }
        self.about.insert("form", FORM)?;
        Ok(self.database.persist(PersistMode::SyncAll)?)
    }

    /// Overwrites the keys of these slots, which nothing uses. The tables have been told.
    pub(super) fn overwrite(&self, slots: &[Slot]) -> Result<(), Failure> {
        self.slots.overwrite(slots)?;
        self.slots.give_back(slots);
        Ok(())
    }

    /// The tables are an older copy than the file of keys. What does not open was forgotten since: so it is, here too.
    fn drop_unreadable(&self) -> Result<(), Failure> {
        let (mut after, mut dropped) = (None, 0);
        loop {
            let (mut batch, mut seen) = (self.batch(), 0);
            let mut last = after;
            self.walk(after, |kept| {
                (last, seen) = (Some(kept.row.entry.token), seen + 1);
                match self.plain(&kept) {
                    Err(Failure::Damaged) => {
                        batch.remove(&self.whole(kept)?);
                        dropped += 1;
                    }
                    other => drop(other?),
                }
                Ok(seen < STEP)
            })?;
            // The tables say that they fit the file when all of it is done.
            batch.commit_untold()?;
            after = last;
            if seen < STEP {
                break;
            }
        }
        tracing::warn!(
            target: "tidegate", dropped,
            "the vault's tables are an older copy than its file of keys: what was forgotten since is forgotten in them, too"
        );
        Ok(())
    }

    /// Gives a slot to each row that has none.
    fn give_slots(&self) -> Result<(), Failure> {
        tracing::warn!(target: "tidegate", "the vault's entries are of an older form: each is sealed anew, once");
        self.about.insert("form", FORM_BETWEEN)?;
        self.database.persist(PersistMode::SyncAll)?;
        let mut after = None;
        loop {
            let (mut batch, mut seen) = (self.batch(), 0);
            let mut last = after;
            self.walk(after, |kept| {
                (last, seen) = (Some(kept.row.entry.token), seen + 1);
                if kept.slot.is_none() {
                    batch.seal(&kept.row.entry, kept.row.spilt)?;
                }
                Ok(seen < STEP)
            })?;
            batch.commit()?;
            after = last;
            if seen < STEP {
                break;
            }
        }
        // What was written before goes with this.
        self.tokens.rotate_memtable_and_wait()?;
        Ok(self.tokens.major_compact()?)
    }

    /// The token of a value.
    pub(super) fn token_of(&self, digest: &ValueDigest) -> Result<Option<TokenId>, Failure> {
        let token = self.values.get(digest)?;
        token.map(|token| TokenId::try_from(&*token).map_err(|_| Failure::Damaged)).transpose()
    }

    /// Whether a token is kept.
    pub(super) fn has(&self, token: &TokenId) -> Result<bool, Failure> {
        Ok(self.tokens.contains_key(token)?)
    }

    /// The row of a token, with the subjects that are in it.
    pub(super) fn row(&self, token: &TokenId) -> Result<Option<Kept>, Failure> {
        let row = self.tokens.get(token)?;
        row.map(|row| Kept::decode(*token, &row).ok_or(Failure::Damaged)).transpose()
    }

    /// The entry of a token, with all subjects.
    pub(super) fn entry(&self, token: &TokenId) -> Result<Option<Entry>, Failure> {
        self.row(token)?.map_or(Ok(None), |kept| self.read(kept))
    }

    /// The entry of a row. `None`: it was forgotten since the row was read, and its key with it.
    pub(super) fn read(&self, kept: Kept) -> Result<Option<Entry>, Failure> {
        let (token, slot) = (kept.row.entry.token, kept.slot);
        match self.plain(&self.whole(kept)?) {
            // A key is overwritten when its row is gone, never before.
            Err(Failure::Damaged) => match self.row(&token)? {
                None => Ok(None),
                Some(now) if now.slot != slot => self.plain(&self.whole(now)?).map(Some),
                Some(_) => Err(Failure::Damaged),
            },
            other => other.map(Some),
        }
    }

    /// With all subjects.
    pub(super) fn whole(&self, mut kept: Kept) -> Result<Kept, Failure> {
        if kept.row.spilt {
            for pair in self.members.prefix(kept.row.entry.token) {
                kept.row.entry.subjects.push(second(&pair.key()?)?);
            }
        }
        Ok(kept)
    }

    /// The entry as it was put.
    fn plain(&self, kept: &Kept) -> Result<Entry, Failure> {
        let mut entry = kept.row.entry.clone();
        if let Some(slot) = kept.slot
            && !gcm::open(self.slots.key(slot)?.expose_secret(), &entry.token, &mut entry.sealed)
        {
            return Err(Failure::Damaged);
        }
        Ok(entry)
    }

    /// Whether a subject is among those that are not in the entry itself.
    pub(super) fn is_member(&self, token: &TokenId, subject: &SubjectDigest) -> Result<bool, Failure> {
        Ok(self.members.contains_key(pair(token, subject))?)
    }

    /// Entries behind a token, in order, for as long as `wanted` says. Gives the last token that was looked at, and how many entries
    /// were passed over because they do not read.
    pub(super) fn walk(
        &self,
        after: Option<TokenId>,
        mut wanted: impl FnMut(Kept) -> Result<bool, Failure>,
    ) -> Result<(Option<TokenId>, u64), Failure> {
        let (from, mut last, mut damaged) = (after.map_or(Bound::Unbounded, Bound::Excluded), None, 0_u64);
        for kept in self.tokens.range::<TokenId, _>((from, Bound::Unbounded)) {
            if self.is_broken_off() {
                return Err(Failure::BrokenOff);
            }
            let (token, row) = kept.into_inner()?;
            let token = TokenId::try_from(&*token).map_err(|_| Failure::Damaged)?;
            last = Some(token);
            // One that does not read must not keep all others from being seen.
            match Kept::decode(token, &row).map(&mut wanted) {
                Some(Ok(true)) => {}
                Some(Ok(false)) => break,
                Some(Err(Failure::Damaged)) | None => damaged += 1,
                Some(Err(failure)) => return Err(failure),
            }
        }
        if damaged > 0 {
            tracing::error!(target: "tidegate", damaged, "entries of the vault's store do not read: they were passed over");
        }
        Ok((last, damaged))
    }

    /// A commit that fails as one does whose sync fails: in the middle of it.
    #[cfg(test)]
    pub(super) fn fail_if_told(&self) -> Result<(), Failure> {
        let told = self.fail_next.swap(false, Ordering::Relaxed);
        if told { Err(Trouble::from(fjall::Error::Io(std::io::ErrorKind::Other.into())).into()) } else { Ok(()) }
    }

    /// Ends the walks that are under way, with an error.
    pub(super) fn break_off(&self) {
        self.broken_off.store(true, Ordering::Relaxed);
    }

    /// Whether walks end.
    pub(super) fn is_broken_off(&self) -> bool {
        self.broken_off.load(Ordering::Relaxed)
    }

    /// Up to `count` entries behind a token, in order.
    pub(super) fn page(&self, after: Option<TokenId>, count: usize) -> Result<Page, Failure> {
        let mut entries = Vec::new();
        if count == 0 {
            return Ok(Page::default());
        }
        let (last, damaged) = self.walk(after, |kept| {
            entries.extend(self.read(kept)?);
            Ok(entries.len() < count)
        })?;
        Ok(Page { entries, last, damaged })
    }

    /// What is told of a token that is to be forgotten; `None`: it is not kept.
    pub(super) fn told(&self, token: &TokenId) -> Result<Option<Forgotten>, Failure> {
        match self.row(token) {
            Ok(kept) => Ok(kept.map(|kept| kept.row.entry.forgotten())),
            Err(Failure::Damaged) => {
                Ok(Some(Forgotten { token: *token, domain: [0; 16], epoch: 0, spelling: Spelling::Opaque }))
            }
            Err(failure) => Err(failure),
        }
    }

    /// Up to `most` tokens of a subject.
    pub(super) fn of_subject(&self, subject: &SubjectDigest, most: usize) -> Result<Vec<TokenId>, Failure> {
        self.existing(self.subjects.prefix(subject).map(|pair| second(&pair.key()?)), most)
    }

    /// Up to `most` tokens that ended before a time.
    pub(super) fn ended(&self, before_ms: u64, most: usize) -> Result<Vec<TokenId>, Failure> {
        let until = pair(&[0; 8], &before_ms.to_be_bytes());
        self.existing(self.ends.range(..until).map(|pair| second(&pair.key()?)), most)
    }

    /// The first of these that have a row. Of one that was damaged, what led to it may be left.
    fn existing(
        &self,
        tokens: impl Iterator<Item = Result<TokenId, Failure>>,
        most: usize,
    ) -> Result<Vec<TokenId>, Failure> {
        let kept = tokens.filter_map(|token| match token.and_then(|token| Ok((token, self.has(&token)?))) {
            Ok((token, has)) => has.then_some(Ok(token)),
            Err(failure) => Some(Err(failure)),
        });
        kept.take(most).collect()
    }

    /// Fetches slots to use again, if those in memory are used up. Not while a batch has taken some that are not committed.
    pub(super) fn look_for_free(&self) -> Result<(), Failure> {
        if self.slots.wants_free() {
            self.slots.give_back(&batch::free(&self.free, FREE_MAX + 1)?);
        }
        Ok(())
    }

    /// Changes, to be made at once.
    pub(super) fn batch(&self) -> Batch<'_> {
        Batch::new(self)
    }

    /// Whether sorting into files has fallen so far behind that a batch would be held up.
    pub(super) fn is_behind(&self) -> bool {
        let all = [&self.tokens, &self.values, &self.subjects, &self.members, &self.ends, &self.free, &self.about];
        all.iter().any(|table| table.sealed_memtable_count() >= 3 || table.l0_table_count() >= RUNS_MAX)
    }

    /// Whether they can be written as far as is known: what sorts them works beside, and fails beside.
    pub(super) fn check(&self) -> Result<(), Failure> {
        Ok(self.database.persist(PersistMode::Buffer)?)
    }
}

/// Opens the file of keys that belongs to the tables; for tables that have none, it is made.
fn open_slots(folder: &Path, database: &Database, about: &Keyspace) -> Result<(Slots, Age), OpenError> {
    let failed = |error: fjall::Error| OpenError::Tables { folder: folder.to_owned(), source: error.into() };
    let path = folder.join(KEYS);
    let record = match about.get(batch::RECORD).map_err(failed)? {
        Some(record) => Record::decode(&record)
            .ok_or_else(|| OpenError::Keys { path: path.clone(), trouble: KeysTrouble::Foreign })?,
        None => {
            let record = Record::new().map_err(|source| OpenError::Folder { path: path.clone(), source })?;
            Slots::make(&path, &record)?;
            about.insert(batch::RECORD, record.encode()).map_err(failed)?;
            database.persist(PersistMode::SyncAll).map_err(failed)?;
            record
        }
    };
    Slots::open(&path, record)
}

impl Kept {
    /// The bytes of a row.
    pub(super) fn encode(entry: &Entry, slot: Slot, spilt: bool) -> Vec<u8> {
        let row = row::encode(entry, spilt);
        let mut kept = Vec::with_capacity(9 + row.len() + gcm::TAG_LEN);
        kept.push(WITH_SLOT);
        kept.extend(slot.to_be_bytes());
        kept.extend(row);
        kept
    }

    fn decode(token: TokenId, bytes: &[u8]) -> Option<Self> {
        let Some((&WITH_SLOT, rest)) = bytes.split_first() else {
            return Some(Self { row: row::decode(token, bytes)?, slot: None });
        };
        let (slot, row) = rest.split_first_chunk()?;
        Some(Self { row: row::decode(token, row)?, slot: Some(u64::from_be_bytes(*slot)) })
    }
}
