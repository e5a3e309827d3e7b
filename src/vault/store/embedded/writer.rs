//! The one thread that changes an embedded store: takes what waits, looks it up, writes it as one batch, tells everyone.
//!
//! After a write that failed nothing is certain about the files but what was acknowledged: the tables are closed, and opened again as
//! after a crash, at most once a second. Start at [`Shared::start`].

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot};

use super::super::{Entry, Forgotten, TokenId};
use super::cache::Cache;
use super::group::Group;
use super::lock::Lock;
use super::seek::Sweep;
use super::tables::Tables;
use super::{Failure, OpenError};

/// Calls that may wait for the thread; the next ones wait for a place.
const QUEUE: usize = 1024;
/// Values in one group, and bytes of them, so that its time and memory are bounded.
const GROUP_VALUES: usize = 8192;
const GROUP_BYTES: usize = 16 << 20;
/// Between two attempts to open the tables again.
const REOPEN: Duration = Duration::from_secs(1);
/// Longest wait for files to be sorted, before a group is refused.
const HELD_UP: Duration = Duration::from_secs(1);

/// What the thread is asked for.
pub(super) enum Ask {
    Put(Vec<Entry>, Told<Vec<TokenId>>),
    Forget(Vec<TokenId>, Told<Vec<Forgotten>>),
    Prove(Told<()>),
}

/// Where the answer goes. Whether somebody still waits for it does not matter.
type Told<T> = oneshot::Sender<Result<T, Failure>>;

/// What the thread and its callers share.
pub(super) struct Shared {
    folder: PathBuf,
    /// Held for moments only, never while files are read, written or opened.
    tables: RwLock<State>,
    pub(super) cache: Cache,
    pub(super) sweep: Mutex<Option<Sweep>>,
}

enum State {
    Open(Arc<Tables>),
    Closed { why: Arc<str>, tried: Instant },
}

impl Shared {
    pub(super) fn new(folder: PathBuf, tables: Tables, cache_bytes: usize) -> Self {
        let cache = Cache::new(cache_bytes);
        Self { folder, tables: RwLock::new(State::Open(Arc::new(tables))), cache, sweep: Mutex::new(None) }
    }

    /// Starts the thread. It ends, closes the tables and then gives the lock back, when nobody can ask any more.
    pub(super) fn start(shared: &Arc<Self>, lock: Lock) -> std::io::Result<mpsc::Sender<Ask>> {
        let (asks, waiting) = mpsc::channel(QUEUE);
        let shared = Arc::clone(shared);
        let serve = move || {
            shared.serve(waiting);
            shared.close("stopped".into());
            drop(lock);
        };
        std::thread::Builder::new().name("vault".to_owned()).spawn(serve)?;
        Ok(asks)
    }

    /// Reads something.
    pub(super) fn with_tables<T>(&self, read: impl FnOnce(&Tables) -> Result<T, Failure>) -> Result<T, Failure> {
        let tables = match &*self.tables.read().unwrap_or_else(PoisonError::into_inner) {
            State::Open(tables) => Arc::clone(tables),
            State::Closed { why, .. } => return Err(Failure::Closed(Arc::clone(why))),
        };
        read(&tables)
    }

    fn serve(&self, mut waiting: mpsc::Receiver<Ask>) {
        let mut next = waiting.blocking_recv();
        while let Some(ask) = next.take() {
            self.reopen();
            match ask {
                Ask::Forget(tokens, told) => {
                    let forgotten = self.change(|tables| self.forget(tables, &tokens));
                    let _ = told.send(forgotten);
                }
                put => next = self.serve_group(put, &mut waiting),
            }
            next = next.or_else(|| waiting.blocking_recv());
        }
    }

    /// Takes in what waits, up to something else than a put, which it gives back; writes it, and answers.
    fn serve_group(&self, first: Ask, waiting: &mut mpsc::Receiver<Ask>) -> Option<Ask> {
        let (mut puts, mut proofs, mut next, mut other) = (Vec::new(), Vec::new(), Some(first), None);
        let (mut values, mut bytes) = (0, 0);
        while let Some(ask) = next {
            match ask {
                Ask::Put(entries, told) => {
                    values += entries.len();
                    bytes += entries.iter().map(|entry| entry.sealed.len()).sum::<usize>();
                    puts.push((entries, told));
                }
                Ask::Prove(told) => proofs.push(told),
                forget @ Ask::Forget(..) => {
                    other = Some(forget);
                    break;
                }
            }
            next = if values < GROUP_VALUES && bytes < GROUP_BYTES { waiting.try_recv().ok() } else { None };
        }
        self.write(puts, proofs);
        other
    }

    fn write(&self, puts: Vec<(Vec<Entry>, Told<Vec<TokenId>>)>, proofs: Vec<Told<()>>) {
        let mut waiting = Vec::with_capacity(puts.len());
        let mut answered = puts.into_iter();
        let written = self.change(|tables| {
            let mut group = Group::new(tables, &self.cache);
            if !proofs.is_empty() {
                group.prove();
            }
            for (entries, told) in answered.by_ref() {
                match group.put_all(entries) {
                    Ok((tokens, true)) => drop(told.send(Ok(tokens))),
                    Ok((tokens, false)) => waiting.push((tokens, told)),
                    Err(failure) => drop(told.send(Err(failure))),
                }
            }
            if !group.is_empty() {
                keep_up(tables)?;
            }
            group.commit()
        });
        for (tokens, told) in waiting {
            let _ = told.send(written.clone().map(|()| tokens));
        }
        for told in proofs {
            let _ = told.send(written.clone());
        }
        // Those that were not looked at, because there are no tables.
        for (_, told) in answered {
            let _ = told.send(written.clone().map(|()| Vec::new()));
        }
    }

    fn forget(&self, tables: &Tables, tokens: &[TokenId]) -> Result<Vec<Forgotten>, Failure> {
        let mut tokens = tokens.to_vec();
        tokens.sort_unstable();
        tokens.dedup();
        let mut entries = Vec::with_capacity(tokens.len());
        let (mut batch, mut damaged) = (tables.batch(), false);
        for token in &tokens {
            match tables.row(token) {
                Ok(Some(kept)) => {
                    let kept = tables.whole(kept)?;
                    batch.remove(&kept);
                    entries.push(kept.row.entry);
                }
                Ok(None) => {}
                Err(Failure::Damaged) => {
                    tracing::error!(target: "tidegate", "an entry that is to be forgotten does not read: its row is removed, and told to nobody");
                    batch.remove_damaged(token)?;
                    damaged = true;
                }
                Err(failure) => return Err(failure),
            }
        }
        let committed = batch.commit();
        // Whatever came of it: what failed may be in the journal all the same, and be true after the next start.
        self.cache.drop_changed(entries.iter());
        if damaged {
            self.cache.clear();
        }
        let left = committed?;
        // Where this fails they are gone all the same, and their keys are overwritten before the store opens again. Whoever has to tell
        // of them has sought them before.
        if !left.is_empty() {
            tables.overwrite(&left)?;
        }
        Ok(entries.iter().map(Entry::forgotten).collect())
    }

    /// Changes the tables, and closes them if that fails in a way that leaves them uncertain.
    fn change<T>(&self, change: impl FnOnce(&Tables) -> Result<T, Failure>) -> Result<T, Failure> {
        let changed = self.with_tables(change);
        if let Err(Failure::Files(trouble)) = &changed {
            tracing::error!(target: "tidegate", cause = %trouble, "the vault's store is closed: its files cannot be written");
            self.close(trouble.to_string().into());
        }
        changed
    }

    /// Closes the tables, and returns when nobody reads them any more, so that they can be opened again.
    fn close(&self, why: Arc<str>) {
        let _ = self.with_tables(|tables| {
            tables.break_off();
            Ok(())
        });
        let was = self.become_state(State::Closed { why, tried: Instant::now() });
        // After that: who still fills it has a mark from before.
        self.cache.clear();
        let State::Open(mut tables) = was else { return };
        while let Err(shared) = Arc::try_unwrap(tables) {
            tables = shared;
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Puts another state in place, and gives what was there.
    fn become_state(&self, state: State) -> State {
        std::mem::replace(&mut *self.tables.write().unwrap_or_else(PoisonError::into_inner), state)
    }

    /// Opens the tables again, if they are closed and it is time to try. Readers are told meanwhile that they are closed.
    fn reopen(&self) {
        match &*self.tables.read().unwrap_or_else(PoisonError::into_inner) {
            State::Closed { tried, .. } if tried.elapsed() >= REOPEN => {}
            _ => return,
        }
        match Tables::open(&self.folder) {
            Ok(tables) => {
                self.become_state(State::Open(Arc::new(tables)));
                tracing::warn!(target: "tidegate", "the vault's store is open again");
            }
            Err(error) => {
                self.become_state(State::Closed { why: cause(&error).into(), tried: Instant::now() });
            }
        }
    }
}

fn cause(error: &OpenError) -> String {
    match error {
        OpenError::Tables { source, .. } => source.to_string(),
        other => other.to_string(),
    }
}

/// Waits until the files are sorted far enough for a batch not to be held up in the engine, where no limit holds.
fn keep_up(tables: &Tables) -> Result<(), Failure> {
    let began = Instant::now();
    while tables.is_behind() {
        // Fails where the thread that sorts has failed: nothing would end the wait, nor be told.
        tables.check()?;
        if began.elapsed() > HELD_UP {
            return Err(Failure::HeldUp);
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
