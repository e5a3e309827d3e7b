//! A key for each entry, in a file that is overwritten in place: what makes a forgotten value unreadable, wherever else its
//! sealed bytes are still written.
//!
//! The file is a head and then keys, one behind the other; a row names the place of its key, its slot. Keys are made and synced in
//! advance, many at a time, so that a new entry waits for no sync but its own. To forget is to write another random key over
//! the old one and to sync that: the slot may be used again at once. Which slots are in use is in the tables. Head and tables
//! both count the times that keys were overwritten, so that a copy of the one is not taken for the other's. Start at [`Slots::open`].

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use zeroize::Zeroizing;

use crate::secret::Secret;

use super::super::super::seal::gcm::KEY_LEN;
use super::{Failure, KeysTrouble, OpenError, Trouble, inspect};

/// The place of a key.
pub(super) type Slot = u64;
/// A key of one entry.
pub(super) type Key = Secret<[u8; KEY_LEN]>;

/// What the file begins with.
const MAGIC: [u8; 16] = *b"tidegate slots 1";
/// Bytes in front of the keys: magic, the store's number, how often keys were overwritten, zeros. No key crosses a sector.
pub(super) const HEAD_LEN: usize = 64;
/// Keys that are made in advance at once: a mebibyte.
const BLOCK: u64 = 32_768;
/// Slots that are kept in memory for use again; more stay in the tables.
pub(super) const FREE_MAX: usize = 65_536;
/// Longest wait for keys that are being made.
const WAIT: Duration = Duration::from_secs(1);

/// What the tables say of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Record {
    /// The same random number in both.
    pub(super) store: [u8; 16],
    /// From here on no slot was ever used.
    pub(super) next: Slot,
    /// How often keys were overwritten.
    pub(super) changes: u64,
    /// The last time may not have come to its end.
    pub(super) pending: bool,
}

/// The file, open.
pub(super) struct Slots {
    file: Arc<File>,
    taking: Mutex<Taking>,
    filler: Option<JoinHandle<()>>,
}

struct Taking {
    record: Record,
    /// Used before and overwritten since.
    free: Vec<Slot>,
    /// There are more of them in the tables.
    more: bool,
    /// Overwritten; the tables do not say so yet.
    untold: Vec<Slot>,
    /// The keys from `record.next` on that were made and not used.
    block: Block,
    ready: Option<Receiver<io::Result<Block>>>,
}

/// A slot for a new entry.
pub(super) struct Taken {
    pub(super) slot: Slot,
    pub(super) key: Key,
    /// It was used before: the tables say that it is free.
    pub(super) again: bool,
}

/// Keys that are on the disk, and the first one's slot.
#[derive(Default)]
struct Block {
    from: Slot,
    keys: Zeroizing<Vec<u8>>,
}

/// How the file stands to the tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Age {
    /// As they say.
    Fits,
    /// Keys were overwritten that the tables still name: they are an older copy.
    Newer,
}

impl Record {
    /// Of no file.
    pub(super) fn new() -> io::Result<Self> {
        let mut store = [0; 16];
        getrandom::fill(&mut store).map_err(io::Error::other)?;
        Ok(Self { store, next: 0, changes: 0, pending: false })
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let numbers = [self.next.to_be_bytes(), self.changes.to_be_bytes()];
        [&self.store[..], numbers.as_flattened(), &[u8::from(self.pending)]].concat()
    }

    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let (store, rest) = bytes.split_first_chunk()?;
        let (next, rest) = rest.split_first_chunk()?;
        let (changes, rest) = rest.split_first_chunk()?;
        let [pending @ 0..=1] = rest else { return None };
        let (next, changes) = (u64::from_be_bytes(*next), u64::from_be_bytes(*changes));
        Some(Self { store: *store, next, changes, pending: *pending == 1 })
    }

    fn head(&self) -> Vec<u8> {
        let mut head = [&MAGIC[..], &self.store, &self.changes.to_be_bytes()].concat();
        head.resize(HEAD_LEN, 0);
        head
    }
}

impl Slots {
    /// Makes the file, for tables that name no slot yet. One that has keys already belongs to tables that are not there: it stays.
    pub(super) fn make(path: &Path, record: &Record) -> Result<(), OpenError> {
        let failed = |source| OpenError::Folder { path: path.to_owned(), source };
        let file =
            OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path).map_err(failed)?;
        if file.metadata().map_err(failed)?.len() > position(0) {
            return Err(OpenError::Keys { path: path.to_owned(), trouble: KeysTrouble::Alone });
        }
        file.write_all_at(&record.head(), 0).and_then(|()| file.sync_all()).map_err(failed)?;
        let folder = path.parent().ok_or_else(|| failed(io::ErrorKind::NotFound.into()))?;
        File::open(folder).and_then(|folder| folder.sync_all()).map_err(failed)
    }

    /// Opens the file that belongs to these tables, and says how often its keys were overwritten. It is not used yet: see
    /// [`Self::begin`].
    pub(super) fn open(path: &Path, record: Record) -> Result<(Self, Age), OpenError> {
        let trouble = |trouble| OpenError::Keys { path: path.to_owned(), trouble };
        let failed = |source| OpenError::Folder { path: path.to_owned(), source };
        let file = match OpenOptions::new().read(true).write(true).open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(trouble(KeysTrouble::Missing)),
            other => other.map_err(failed)?,
        };
        let mut head = [0; HEAD_LEN];
        match file.read_exact_at(&mut head, 0) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Err(trouble(KeysTrouble::Damaged)),
            other => other.map_err(failed)?,
        }
        inspect::check_mode(path)?;
        let (store, changes) = changes(&head).ok_or_else(|| trouble(KeysTrouble::Damaged))?;
        if store != record.store {
            return Err(trouble(KeysTrouble::Foreign));
        }
        let age = match changes {
            _ if file.metadata().map_err(failed)?.len() < position(record.next) => {
                return Err(trouble(KeysTrouble::Older));
            }
            _ if changes > record.changes => Age::Newer,
            _ if changes == record.changes || record.pending && changes + 1 == record.changes => Age::Fits,
            _ => return Err(trouble(KeysTrouble::Older)),
        };
        // A change that was cut off is made once more under its own number, so that it may be cut off again.
        let record = Record { changes, ..record };
        let taking =
            Taking { record, free: Vec::new(), more: false, untold: Vec::new(), block: Block::default(), ready: None };
        Ok((Self { file: Arc::new(file), taking: Mutex::new(taking), filler: None }, age))
    }

    /// Has keys made from now on. Those that were made before and not used are made anew: whether they are on the disk is not known.
    pub(super) fn begin(&mut self) -> Result<(), Trouble> {
        let next = self.taking().record.next;
        self.file.set_len(position(next)).map_err(broken)?;
        let (filled, ready) = sync_channel(0);
        let file = Arc::clone(&self.file);
        let fill = move || fill(&file, next, &filled);
        self.filler = Some(std::thread::Builder::new().name("vault-keys".to_owned()).spawn(fill).map_err(broken)?);
        self.taking().ready = Some(ready);
        Ok(())
    }

    /// The key in a slot.
    pub(super) fn key(&self, slot: Slot) -> Result<Key, Failure> {
        let mut key = Key::new([0; KEY_LEN]);
        match self.file.read_exact_at(key.expose_secret_mut(), position(slot)) {
            // A row that names a key that was never made.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Err(Failure::Damaged),
            Err(error) => Err(broken(error).into()),
            Ok(()) => Ok(key),
        }
    }

    /// A slot that nothing uses, with its key, which is on the disk. For the thread that makes all changes, as all that follows.
    pub(super) fn take(&self) -> Result<Taken, Failure> {
        let mut taking = self.taking();
        if let Some(slot) = taking.free.pop() {
            return Ok(Taken { slot, key: self.key(slot)?, again: true });
        }
        let slot = taking.record.next;
        let mut key = taking.block.key(slot);
        if key.is_none() {
            taking.block = match taking.ready.as_ref().map(|ready| ready.recv_timeout(WAIT)) {
                Some(Ok(block)) => block.map_err(broken)?,
                Some(Err(RecvTimeoutError::Timeout)) => return Err(Failure::HeldUp),
                Some(Err(RecvTimeoutError::Disconnected)) | None => return Err(Failure::Ended),
            };
            key = taking.block.key(slot);
        }
        taking.record.next += 1;
        Ok(Taken { slot, key: key.ok_or(Failure::Damaged)?, again: false })
    }

    /// What the tables are to say of the file.
    pub(super) fn record(&self) -> Record {
        self.taking().record
    }

    /// The same, before [`Self::overwrite`].
    pub(super) fn record_of_change(&self) -> Record {
        let record = self.record();
        Record { changes: record.changes + 1, pending: true, ..record }
    }

    /// Overwrites the keys of these slots, durably. The tables say already that nothing uses them, and [`Self::record_of_change`].
    pub(super) fn overwrite(&self, slots: &[Slot]) -> Result<(), Trouble> {
        let mut keys = Zeroizing::new(vec![0; KEY_LEN * slots.len()]);
        random(&mut keys).map_err(broken)?;
        for (slot, key) in slots.iter().zip(keys.chunks(KEY_LEN)) {
            self.file.write_all_at(key, position(*slot)).map_err(broken)?;
        }
        let mut taking = self.taking();
        taking.record.changes += 1;
        taking.record.pending = false;
        taking.untold.extend(slots);
        self.file.write_all_at(&taking.record.head(), 0).map_err(broken)?;
        self.file.sync_data().map_err(broken)
    }

    /// What was overwritten since this was last asked: the tables are to be told, with whatever they are told next.
    pub(super) fn untold(&self) -> Vec<Slot> {
        std::mem::take(&mut self.taking().untold)
    }

    /// These may be used again.
    pub(super) fn give_back(&self, slots: &[Slot]) {
        let mut taking = self.taking();
        let room = FREE_MAX.saturating_sub(taking.free.len()).min(slots.len());
        let (now, later) = slots.split_at(room);
        taking.free.extend(now);
        taking.more |= !later.is_empty();
    }

    /// Whether there are slots to use again that are in the tables only; then they are to be given back now.
    pub(super) fn wants_free(&self) -> bool {
        let mut taking = self.taking();
        taking.free.is_empty() && std::mem::take(&mut taking.more)
    }

    fn taking(&self) -> MutexGuard<'_, Taking> {
        self.taking.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Slots {
    fn drop(&mut self) {
        // It ends when nobody wants what it makes; the file may be opened again once it has.
        self.taking().ready = None;
        if let Some(filler) = self.filler.take() {
            let _ = filler.join();
        }
    }
}

impl Block {
    fn key(&self, slot: Slot) -> Option<Key> {
        let at = usize::try_from(slot.checked_sub(self.from)?).ok()?.checked_mul(KEY_LEN)?;
        let bytes = self.keys.get(at..at.checked_add(KEY_LEN)?)?;
        let mut key = Key::new([0; KEY_LEN]);
        key.expose_secret_mut().copy_from_slice(bytes);
        Some(key)
    }
}

/// Whose the file with this head is, and how often its keys were overwritten; `None`: it is no such file.
pub(super) fn changes(head: &[u8]) -> Option<([u8; 16], u64)> {
    let (store, rest) = head.get(..HEAD_LEN)?.strip_prefix(&MAGIC)?.split_first_chunk()?;
    Some((*store, u64::from_be_bytes(*rest.first_chunk()?)))
}

/// Makes keys, a block at a time, and waits until each is wanted.
fn fill(file: &File, mut from: Slot, filled: &SyncSender<io::Result<Block>>) {
    loop {
        let mut keys = Zeroizing::new(vec![0; KEY_LEN * usize::try_from(BLOCK).unwrap_or_default()]);
        let made = random(&mut keys).and_then(|()| file.write_all_at(&keys, position(from)));
        let made = made.and_then(|()| file.sync_data()).map(|()| Block { from, keys });
        let failed = made.is_err();
        if filled.send(made).is_err() || failed {
            return;
        }
        from += BLOCK;
    }
}

fn random(bytes: &mut [u8]) -> io::Result<()> {
    getrandom::fill(bytes).map_err(io::Error::other)
}

fn position(slot: Slot) -> u64 {
    u64::try_from(HEAD_LEN).unwrap_or_default().saturating_add(slot.saturating_mul(KEY_LEN as u64))
}

fn broken(error: io::Error) -> Trouble {
    fjall::Error::Io(error).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(changes: u64) -> (tempfile::TempDir, std::path::PathBuf, Record) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("value-keys");
        let record = Record { changes, ..Record::new().unwrap() };
        Slots::make(&path, &record).unwrap();
        (folder, path, record)
    }

    #[test]
    fn a_change_may_be_cut_off_any_number_of_times() {
        let (_folder, path, mut record) = made(4);
        for _ in 0..3 {
            let (slots, age) = Slots::open(&path, record).unwrap();
            assert_eq!(age, Age::Fits);
            // The tables are told, and that is all.
            record = slots.record_of_change();
            assert_eq!((record.changes, record.pending), (5, true));
        }
    }

    #[test]
    fn keys_without_their_tables_are_not_made_anew() {
        let (_folder, path, record) = made(0);
        Slots::make(&path, &record).unwrap();
        let (mut slots, _) = Slots::open(&path, record).unwrap();
        slots.begin().unwrap();
        let key = slots.take().unwrap();
        let refused = Slots::make(&path, &Record::new().unwrap()).unwrap_err();
        assert!(matches!(refused, OpenError::Keys { trouble: KeysTrouble::Alone, .. }), "{refused}");
        assert_eq!(slots.key(key.slot).unwrap().expose_secret(), key.key.expose_secret());
    }
}
