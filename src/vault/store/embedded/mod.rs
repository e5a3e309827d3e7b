//! The store that is built in: files in a folder, one process at a time, every answer durable.
//!
//! Puts of all callers go through one thread, which makes them durable in groups: while a group is synced, the next one gathers.
//! Reading is done beside it. A cache of entries as they are kept, sealed, answers for what is asked often. When the files
//! cannot be written any more, the store closes, and opens again when they can; until then its answers are errors. Not here: time limits
//! ([`super::guard`]) and how the tables look (`tables`). Start at [`Embedded::open`].

mod batch;
mod cache;
mod group;
pub mod inspect;
mod journals;
mod lock;
mod seek;
mod slots;
mod tables;
mod writer;

use std::fmt;
use std::fs::DirBuilder;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, mpsc, oneshot};

use super::{Answer, Entry, Forget, Forgotten, Page, StoreError, TokenId, TokenStore, check_sizes};
use seek::Sweep;
use tables::Tables;
use writer::{Ask, Shared};

/// How an embedded store is opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Its folder; made if it is not there.
    pub folder: PathBuf,
    /// Memory for entries that are asked for often.
    pub cache_bytes: usize,
    /// How long to wait for another process that has it open: in an upgrade the old one ends its exchanges first.
    pub patience: Duration,
}

/// A store that is open. Clones share it; it closes when the last one is dropped.
#[derive(Clone)]
pub struct Embedded {
    shared: Arc<Shared>,
    asks: mpsc::Sender<Ask>,
    /// Threads that may read at once: a disk that hangs must not take all that the program has for such work.
    readers: Arc<Semaphore>,
    /// Of these, those that may walk through everything.
    walkers: Arc<Semaphore>,
}

/// See [`Embedded`].
const READERS: usize = 16;
const WALKERS: usize = 2;

/// Why a store cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has it.
    #[error(
        "the store `{folder}` is in use by process {process}: stop that one, or give this one a folder of its own; several processes can share a store of another `vault.kind`",
        folder = folder.display()
    )]
    InUse {
        /// Of the store.
        folder: PathBuf,
        /// Its number, or `?`.
        process: String,
    },
    /// Its folder cannot be used.
    #[error("the store's `{path}`: {source}", path = path.display())]
    Folder {
        /// What was opened or made.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Its files cannot be read.
    #[error("the store `{folder}`: {source}", folder = folder.display())]
    Tables {
        /// Of the store.
        folder: PathBuf,
        /// What is wrong.
        source: Trouble,
    },
    /// A write in the middle of its journal does not read.
    #[error(
        "the store's journal `{path}` is damaged in the middle, and nothing was changed. Do not delete or replace the folder: \
         the tokens that were issued are in it, and a backup lacks all that were issued since it was made; copy the folder before \
         anything is tried",
        path = path.display()
    )]
    Journal {
        /// Of the journal.
        path: PathBuf,
    },
    /// Its file of keys is not the one that belongs to its tables.
    #[error("the store's keys `{path}`: {trouble}", path = path.display())]
    Keys {
        /// Of the keys.
        path: PathBuf,
        /// What is wrong.
        trouble: KeysTrouble,
    },
    /// Others may read its file of keys.
    #[error("the store's keys `{path}`: mode {mode:04o} lets others in: `chmod 600` it", path = path.display())]
    Loose {
        /// Of the keys.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// Its disk is too full for its journals to be written anew.
    #[error(
        "the store's `{path}` is written anew when the store is opened: that wants {wanted} bytes of room on its disk, and {there} are there; \
         nothing is lost, make room",
        path = path.display()
    )]
    Room {
        /// Of a journal.
        path: PathBuf,
        /// How many bytes.
        wanted: u64,
        /// How many there are.
        there: u64,
    },
    /// The program is ending.
    #[error("the store: opening it was cut off")]
    CutOff,
    /// It was made by a later program.
    #[error("the store `{folder}` has a form that this program does not know: a newer one made it; run that one", folder = folder.display())]
    Newer {
        /// Of the store.
        folder: PathBuf,
    },
}

/// What is wrong with a store's file of keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeysTrouble {
    /// It is not there.
    #[error(
        "there is no such file, and without it no value of the store can be turned back: put back the newest copy of it"
    )]
    Missing,
    /// It is another store's.
    #[error("it belongs to another store: put back the newest copy of this one's")]
    Foreign,
    /// It was copied before the tables were last written to.
    #[error(
        "it is older than the tables beside it, so that values would be lost that were stored since: put back its newest copy, or tables that are as old"
    )]
    Older,
    /// There are no tables that it could belong to.
    #[error(
        "it has keys of a store whose tables are not here: put back the tables that stood beside it; or, to begin a new store, move it away"
    )]
    Alone,
    /// It does not begin as such a file does.
    #[error("it does not read: put back the newest copy of it, or run the program that made it")]
    Damaged,
}

/// What went wrong in the files. Tells nothing of what they hold.
#[derive(Clone, Debug)]
pub struct Trouble(Arc<fjall::Error>);

/// Why a call failed.
#[derive(Clone, Debug, thiserror::Error)]
enum Failure {
    #[error("{0}")]
    Files(#[from] Trouble),
    #[error("its files are damaged: an entry does not read; restore a backup")]
    Damaged,
    #[error("the token is another value's")]
    TokenTaken,
    #[error("closed, because its files could not be written ({0}); it opens again by itself when they can")]
    Closed(Arc<str>),
    #[error("broken off: its files are being closed")]
    BrokenOff,
    #[error("writing to its files is held up: the disk is too slow for what is asked")]
    HeldUp,
    #[error("its thread has ended")]
    Ended,
}

impl Embedded {
    /// Opens the store, and makes it if there is none. Blocks.
    ///
    /// # Errors
    /// Another process has it, or its files cannot be used.
    pub fn open(settings: &Settings) -> Result<Self, OpenError> {
        make(&settings.folder)?;
        let lock = lock::Lock::take(&settings.folder, settings.patience)?;
        let tables = Tables::open(&settings.folder)?;
        let shared = Arc::new(Shared::new(settings.folder.clone(), tables, settings.cache_bytes));
        let asks = Shared::start(&shared, lock).map_err(|source| {
            let path = settings.folder.clone();
            OpenError::Folder { path, source }
        })?;
        let (readers, walkers) = (Arc::new(Semaphore::new(READERS)), Arc::new(Semaphore::new(WALKERS)));
        Ok(Self { shared, asks, readers, walkers })
    }

    /// Asks the store's thread, and waits for its answer.
    async fn ask<T>(&self, ask: impl FnOnce(oneshot::Sender<Result<T, Failure>>) -> Ask) -> Result<T, Failure> {
        let (told, answer) = oneshot::channel();
        self.asks.send(ask(told)).await.map_err(|_| Failure::Ended)?;
        answer.await.unwrap_or(Err(Failure::Ended))
    }

    /// Reads beside the store's thread, when it is its turn. Whoever waits for that and goes away takes no thread.
    async fn read<T: Send + 'static>(
        &self,
        places: &Arc<Semaphore>,
        read: impl FnOnce(&Shared, &Tables) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, Failure> {
        let place = Arc::clone(places).acquire_owned().await.map_err(|_| Failure::Ended)?;
        let shared = Arc::clone(&self.shared);
        let read = tokio::task::spawn_blocking(move || {
            // Given back when it has read, not when nobody waits for it any more.
            let _place = place;
            shared.with_tables(|tables| read(&shared, tables))
        });
        read.await.unwrap_or(Err(Failure::Ended))
    }

    async fn put(&self, entries: &[Entry]) -> Result<Vec<TokenId>, Failure> {
        let known: Option<Vec<_>> = entries.iter().map(|entry| self.shared.cache.look_up(entry)).collect();
        match known {
            Some(tokens) => Ok(tokens),
            None => self.ask(|told| Ask::Put(entries.to_vec(), told)).await,
        }
    }

    async fn find_all(&self, tokens: &[TokenId]) -> Result<Vec<Option<Entry>>, Failure> {
        let mut found: Vec<_> = tokens.iter().map(|token| self.shared.cache.find(token)).collect();
        let asked = tokens.iter().zip(&found);
        let missing: Vec<TokenId> = asked.filter(|(_, found)| found.is_none()).map(|(token, _)| *token).collect();
        if !missing.is_empty() {
            let mark = self.shared.cache.mark();
            let read = self.read(&self.readers, move |shared, tables| {
                let read = missing.iter().map(|token| Ok(tables.entry(token)?.map(Arc::new)));
                let read = read.collect::<Result<Vec<_>, Failure>>()?;
                for entry in read.iter().flatten() {
                    shared.cache.keep_read(mark, Arc::clone(entry));
                }
                Ok(read)
            });
            let mut read = read.await?.into_iter();
            for found in found.iter_mut().filter(|found| found.is_none()) {
                *found = read.next().flatten();
            }
        }
        Ok(found.into_iter().map(|entry| entry.map(Arc::unwrap_or_clone)).collect())
    }

    /// Up to `most` of what is meant.
    async fn seek_all(&self, what: &Forget, most: usize) -> Result<Vec<Forgotten>, Failure> {
        loop {
            let what = what.clone();
            let seek = move |shared: &Shared, tables: &Tables| {
                let tokens = Sweep::seek(&shared.sweep, tables, &what, most)?;
                let told: Result<Vec<_>, _> =
                    tokens.iter().filter_map(|token| tables.told(token).transpose()).collect();
                Ok((tokens.len(), told?))
            };
            let (sought, told) = self.read(&self.walkers, seek).await?;
            // Fewer would be the end: not where some were forgotten in between.
            if told.len() == sought || sought < most {
                return Ok(told);
            }
        }
    }

    /// What is to be forgotten is sought beside the store's thread, which then only removes.
    async fn forget_all(&self, what: &Forget, most: usize) -> Result<Vec<Forgotten>, Failure> {
        let mut gone = Vec::new();
        loop {
            let (what, wanted) = (what.clone(), most - gone.len());
            let seek = move |shared: &Shared, tables: &Tables| Sweep::seek(&shared.sweep, tables, &what, wanted);
            let sought = self.read(&self.walkers, seek).await?;
            let last = sought.len() < wanted;
            if !sought.is_empty() {
                gone.extend(self.ask(|told| Ask::Forget(sought, told)).await?);
            }
            if last || gone.len() >= most {
                return Ok(gone);
            }
        }
    }
}

impl TokenStore for Embedded {
    fn put_if_absent<'a>(&'a self, entries: &'a [Entry]) -> Answer<'a, Vec<TokenId>> {
        Box::pin(async {
            check_sizes(entries)?;
            self.put(entries).await.map_err(|failure| failed("put_if_absent", failure))
        })
    }

    fn find<'a>(&'a self, tokens: &'a [TokenId]) -> Answer<'a, Vec<Option<Entry>>> {
        Box::pin(async { self.find_all(tokens).await.map_err(|failure| failed("find", failure)) })
    }

    fn seek<'a>(&'a self, what: &'a Forget, most: usize) -> Answer<'a, Vec<Forgotten>> {
        Box::pin(async move { self.seek_all(what, most).await.map_err(|failure| failed("seek", failure)) })
    }

    fn forget<'a>(&'a self, what: &'a Forget, most: usize) -> Answer<'a, Vec<Forgotten>> {
        Box::pin(async move { self.forget_all(what, most).await.map_err(|failure| failed("forget", failure)) })
    }

    fn visit(&self, after: Option<TokenId>, count: usize) -> Answer<'_, Page> {
        let page = self.read(&self.walkers, move |_, tables| tables.page(after, count));
        Box::pin(async { page.await.map_err(|failure| failed("visit", failure)) })
    }

    fn health(&self) -> Answer<'_, ()> {
        Box::pin(async { self.ask(Ask::Prove).await.map_err(|failure| failed("health", failure)) })
    }
}

impl fmt::Debug for Embedded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Embedded").finish_non_exhaustive()
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &*self.0 {
            fjall::Error::Io(error) => write!(f, "its files: {error}"),
            fjall::Error::Poisoned => f.write_str("an earlier write to its files failed"),
            fjall::Error::Locked => f.write_str("another program has its files open"),
            other => write!(f, "its files: {other:?}"),
        }
    }
}

impl std::error::Error for Trouble {}

impl From<journals::Failed> for OpenError {
    fn from(failed: journals::Failed) -> Self {
        match failed {
            journals::Failed::Io(path, source) => Self::Folder { path, source },
            journals::Failed::Damaged(path) => Self::Journal { path },
            journals::Failed::Room { path, wanted, there } => Self::Room { path, wanted, there },
        }
    }
}

impl From<fjall::Error> for Trouble {
    fn from(error: fjall::Error) -> Self {
        Self(Arc::new(error))
    }
}

impl From<fjall::Error> for Failure {
    fn from(error: fjall::Error) -> Self {
        use fjall::LsmError::{ChecksumMismatch, Decompress, InvalidHeader, InvalidTag, InvalidTrailer};
        match &error {
            // What a read found, not what the disk refused: the rest of the files may be as good as ever.
            fjall::Error::Storage(
                ChecksumMismatch { .. } | Decompress(_) | InvalidHeader(_) | InvalidTag(_) | InvalidTrailer,
            ) => Self::Damaged,
            _ => Self::Files(error.into()),
        }
    }
}

fn failed(act: &'static str, failure: Failure) -> StoreError {
    let away = !matches!(failure, Failure::Damaged | Failure::TokenTaken);
    StoreError { act, cause: failure.into(), away }
}

/// Makes the folder, for our eyes only, in a way that outlives a crash of the machine.
fn make(folder: &Path) -> Result<(), OpenError> {
    let failed = |source| OpenError::Folder { path: folder.to_owned(), source };
    if folder.is_dir() {
        return Ok(());
    }
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder).map_err(failed)?;
    let absolute = std::path::absolute(folder).map_err(failed)?;
    for parent in absolute.ancestors().skip(1) {
        // Some of these may have been made just now; one that cannot be opened was not.
        if let Ok(parent) = std::fs::File::open(parent) {
            parent.sync_all().map_err(failed)?;
        }
    }
    Ok(())
}
