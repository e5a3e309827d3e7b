//! The tables on disk: a log-structured store with a journal, and what is in which of its tables.
//!
//! | table | key | holds |
//! |---|---|---|
//! | `tokens` | token | the entry (see [`super::super::row`]) |
//! | `values` | digest of the value | the token |
//! | `subjects` | subject, token | nothing |
//! | `members` | token, subject | nothing: subjects of a value that so many share that they are not in its entry |
//! | `ends` | when it ends, token | nothing |
//! | `about` | a word | the form of all this; when it was last proven that it can be written |
//!
//! A batch is in the journal and synced before it is applied, so whatever can be read is durable. Start at [`Tables::open`].

use std::ops::Bound;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use fjall::{Database, Keyspace, KeyspaceCreateOptions, OwnedWriteBatch, PersistMode};

use super::super::row::{self, Row};
use super::super::{Entry, SubjectDigest, TokenId, ValueDigest};
use super::{Failure, OpenError, Trouble};

/// Subjects that are kept in the entry itself: more are rare, and each addition writes the entry anew.
pub(super) const INLINE_SUBJECTS: usize = 32;
/// The form of the tables: raised when an older program could not read them.
const FORM: &[u8] = b"1";
/// Unsorted entries in memory, for each table, before they are sorted into a file. They are also what is read from the journal at
/// the next start, so they bound its time.
const MEMTABLE_BYTES: u64 = 16 << 20;
/// The journal, before the tables that hold it up are written to files.
const JOURNAL_BYTES: u64 = 128 << 20;
/// Longest wait for what was read from the journal to be written to files.
const SETTLE: Duration = Duration::from_secs(60);
/// Blocks of files, besides the cache of entries.
const BLOCK_CACHE_BYTES: u64 = 64 << 20;

/// All tables of one folder.
pub(super) struct Tables {
    database: Database,
    tokens: Keyspace,
    values: Keyspace,
    subjects: Keyspace,
    members: Keyspace,
    ends: Keyspace,
    about: Keyspace,
    /// Walks end: the tables are about to be closed.
    broken_off: AtomicBool,
}

impl Tables {
    /// Opens them, and makes them if there are none.
    pub(super) fn open(folder: &Path) -> Result<Self, OpenError> {
        let failed = |error: fjall::Error| OpenError::Tables { folder: folder.to_owned(), source: error.into() };
        let builder = Database::builder(folder).cache_size(BLOCK_CACHE_BYTES).max_journaling_size(JOURNAL_BYTES);
        let database = builder.manual_journal_persist(true).worker_threads(2).open().map_err(failed)?;
        let table = |name| {
            database
                .keyspace(name, || KeyspaceCreateOptions::default().max_memtable_size(MEMTABLE_BYTES))
                .map_err(failed)
        };
        let (tokens, values, subjects) = (table("tokens")?, table("values")?, table("subjects")?);
        let (members, ends, about) = (table("members")?, table("ends")?, table("about")?);
        match about.get("form").map_err(failed)? {
            Some(form) if *form == *FORM => {}
            Some(_) => return Err(OpenError::Newer { folder: folder.to_owned() }),
            None => {
                about.insert("form", FORM).map_err(failed)?;
                database.persist(PersistMode::SyncAll).map_err(failed)?;
            }
        }
        let tables =
            Self { database, tokens, values, subjects, members, ends, about, broken_off: AtomicBool::new(false) };
        tables.settle().map_err(|source| OpenError::Tables { folder: folder.to_owned(), source })?;
        Ok(tables)
    }

    /// Makes durable what was read from the journal. A process that was killed may have written without a sync; and where a
    /// sync failed, the system may show what is not on the disk, and a second sync may succeed for nothing. So all of it is written
    /// anew, into files.
    fn settle(&self) -> Result<(), Trouble> {
        self.database.persist(PersistMode::SyncAll)?;
        let all = [&self.tokens, &self.values, &self.subjects, &self.members, &self.ends];
        for table in all {
            table.rotate_memtable()?;
        }
        let began = Instant::now();
        while all.iter().any(|table| table.sealed_memtable_count() > 0) {
            // Fails where the files cannot be written: nothing would end the wait.
            self.database.persist(PersistMode::Buffer)?;
            if began.elapsed() > SETTLE {
                return Err(Trouble::from(fjall::Error::Io(std::io::ErrorKind::TimedOut.into())));
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(())
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

    /// The entry of a token, with the subjects that are in it.
    pub(super) fn row(&self, token: &TokenId) -> Result<Option<Row>, Failure> {
        let row = self.tokens.get(token)?;
        row.map(|row| row::decode(*token, &row).ok_or(Failure::Damaged)).transpose()
    }

    /// The entry of a token, with all subjects.
    pub(super) fn entry(&self, token: &TokenId) -> Result<Option<Entry>, Failure> {
        self.row(token)?.map(|row| self.whole(row)).transpose()
    }

    fn whole(&self, Row { mut entry, spilt }: Row) -> Result<Entry, Failure> {
        if spilt {
            for pair in self.members.prefix(entry.token) {
                entry.subjects.push(second(&pair.key()?)?);
            }
        }
        Ok(entry)
    }

    /// Whether a subject is among those that are not in the entry itself.
    pub(super) fn is_member(&self, token: &TokenId, subject: &SubjectDigest) -> Result<bool, Failure> {
        Ok(self.members.contains_key(pair(token, subject))?)
    }

    /// Entries behind a token, in order, for as long as `wanted` says.
    pub(super) fn walk(
        &self,
        after: Option<TokenId>,
        mut wanted: impl FnMut(Row) -> Result<bool, Failure>,
    ) -> Result<(), Failure> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        for kept in self.tokens.range::<TokenId, _>((from, Bound::Unbounded)) {
            if self.is_broken_off() {
                return Err(Failure::BrokenOff);
            }
            let (token, row) = kept.into_inner()?;
            let token = TokenId::try_from(&*token).map_err(|_| Failure::Damaged)?;
            if !wanted(row::decode(token, &row).ok_or(Failure::Damaged)?)? {
                break;
            }
        }
        Ok(())
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
    pub(super) fn page(&self, after: Option<TokenId>, count: usize) -> Result<Vec<Entry>, Failure> {
        let mut page = Vec::new();
        if count > 0 {
            self.walk(after, |row| {
                page.push(self.whole(row)?);
                Ok(page.len() < count)
            })?;
        }
        Ok(page)
    }

    /// Up to `most` tokens of a subject.
    pub(super) fn of_subject(&self, subject: &SubjectDigest, most: usize) -> Result<Vec<TokenId>, Failure> {
        self.subjects.prefix(subject).take(most).map(|pair| second(&pair.key()?)).collect()
    }

    /// Up to `most` tokens that ended before a time.
    pub(super) fn ended(&self, before_ms: u64, most: usize) -> Result<Vec<TokenId>, Failure> {
        let until = pair(&[0; 8], &before_ms.to_be_bytes());
        let ended = self.ends.range(..until).take(most);
        ended.map(|pair| second(&pair.key()?)).collect()
    }

    /// Changes, to be made at once.
    pub(super) fn batch(&self) -> Batch<'_> {
        Batch { tables: self, batch: self.database.batch().durability(Some(PersistMode::SyncData)) }
    }

    /// Whether sorting into files has fallen so far behind that a batch would be held up.
    pub(super) fn is_behind(&self) -> bool {
        [&self.tokens, &self.values, &self.subjects].iter().any(|table| table.sealed_memtable_count() >= 3)
    }
}

/// Changes that are made at once, or not at all.
pub(super) struct Batch<'t> {
    tables: &'t Tables,
    batch: OwnedWriteBatch,
}

impl Batch<'_> {
    /// A new entry. Its row is in front of what leads to it, so that who follows finds it.
    pub(super) fn add(&mut self, entry: &Entry, spilt: bool) {
        self.write(entry, spilt);
        self.batch.insert(&self.tables.values, entry.digest, entry.token);
        if let Some(ends) = entry.ends_ms {
            self.batch.insert(&self.tables.ends, ending(ends, &entry.token), []);
        }
    }

    /// The row of an entry.
    pub(super) fn write(&mut self, entry: &Entry, spilt: bool) {
        self.batch.insert(&self.tables.tokens, entry.token, row::encode(entry, spilt));
    }

    /// The way from a subject to an entry; `member`: it is not in the entry itself.
    pub(super) fn add_subject(&mut self, token: &TokenId, subject: &SubjectDigest, member: bool) {
        self.batch.insert(&self.tables.subjects, pair(subject, token), []);
        if member {
            self.batch.insert(&self.tables.members, pair(token, subject), []);
        }
    }

    /// Everything of an entry that has all its subjects.
    pub(super) fn remove(&mut self, entry: &Entry) {
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
    }

    /// Something that has to be written, so that it is seen that it can be.
    pub(super) fn prove(&mut self) {
        self.batch.insert(&self.tables.about, "proof", []);
    }

    /// Makes them, durably.
    pub(super) fn commit(self) -> Result<(), Failure> {
        Ok(self.batch.commit()?)
    }
}

fn pair(first: &[u8], second: &[u8]) -> Vec<u8> {
    [first, second].concat()
}

fn ending(ends_ms: u64, token: &TokenId) -> Vec<u8> {
    // Sixteen bytes in front of the token, as in all pairs.
    [&[0; 8], &ends_ms.to_be_bytes()[..], token].concat()
}

fn second(pair: &[u8]) -> Result<[u8; 16], Failure> {
    pair.split_first_chunk::<16>().and_then(|(_, second)| second.try_into().ok()).ok_or(Failure::Damaged)
}
