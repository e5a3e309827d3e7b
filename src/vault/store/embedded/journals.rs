//! Writes journals anew before the tables are opened, each into a new file that is synced.
//!
//! Where a sync has failed, the system may show what is not on the disk, and say that a second sync of the same file went well: what is
//! read again from such a file and built upon is gone after the next power cut, with all that was written behind it. A copy
//! does not have that past. It holds whole batches only: what a cut left behind the last of them was acknowledged to nobody, because each
//! batch is synced before the next is written. The engine reads such a tail as damage. Start at [`renew`].

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use xxhash_rust::xxh3::Xxh3;

/// What the end of a batch ends with.
const TRAILER: [u8; 4] = *b"FJL\x03";
/// How the parts of a batch begin.
const START: u8 = 1;
const ITEM: u8 = 2;
const END: u8 = 3;
const CLEAR: u8 = 4;

/// Why journals were not renewed.
#[derive(Debug)]
pub(super) enum Failed {
    /// The system said no.
    Io(PathBuf, io::Error),
    /// A batch does not read, and others stand behind it.
    Damaged(PathBuf),
    /// The disk is too full: so many bytes are wanted, and so many are there.
    Room { path: PathBuf, wanted: u64, there: u64 },
}

/// Renews the journals in a folder. Where that ends early, old and new ones stand for the same.
pub(super) fn renew(folder: &Path) -> Result<(), Failed> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |error| Failed::Io(path, error)
    };
    let mut journals = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        listed => listed.map_err(failed(folder))?.collect::<Result<Vec<_>, _>>().map_err(failed(folder))?,
    };
    journals.retain(|item| number(&item.path()).is_some());
    journals.sort_by_key(|item| number(&item.path()));
    // The newest first, so that it is known what stands behind.
    let mut is_last = true;
    for path in journals.iter().rev().map(fs::DirEntry::path) {
        let bytes = fs::read(&path).map_err(failed(&path))?;
        let whole = whole_batches(&bytes);
        let (kept, rest) = bytes.split_at(whole);
        if let Some(end) = rest.iter().rposition(|byte| *byte != 0) {
            let cut = rest.get(..=end).unwrap_or(rest);
            if !is_last || holds_batch(cut) {
                return Err(Failed::Damaged(path));
            }
            tracing::warn!(
                target: "tidegate", bytes = cut.len(),
                "the vault's journal ended in the middle of a write, which was acknowledged to nobody: it is cut off"
            );
        }
        replace(&path, kept).map_err(|error| no_room(&path, kept.len() as u64, error))?;
        is_last &= kept.is_empty();
    }
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(failed(folder))
}

fn number(path: &Path) -> Option<u64> {
    path.file_name()?.to_str()?.strip_suffix(".jnl")?.parse().ok()
}

fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let new = path.with_extension("new");
    let written =
        OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new).and_then(|mut file| {
            file.write_all(bytes)?;
            file.sync_all()
        });
    let replaced = written.and_then(|()| fs::rename(&new, path));
    if replaced.is_err() {
        let _ = fs::remove_file(&new);
    }
    replaced
}

/// Says how much room is wanted, where that is what is wrong.
fn no_room(path: &Path, wanted: u64, error: io::Error) -> Failed {
    let full = [io::ErrorKind::StorageFull, io::ErrorKind::QuotaExceeded].contains(&error.kind());
    match rustix::fs::statvfs(path) {
        Ok(disk) if full => Failed::Room { path: path.to_owned(), wanted, there: disk.f_bavail * disk.f_frsize },
        _ => Failed::Io(path.to_owned(), error),
    }
}

/// How long the batches are that stand whole at the beginning.
fn whole_batches(bytes: &[u8]) -> usize {
    let mut rest = bytes;
    while let Some(behind) = batch(rest) {
        rest = behind;
    }
    bytes.len() - rest.len()
}

/// Whether a whole batch begins anywhere.
fn holds_batch(bytes: &[u8]) -> bool {
    memchr::memchr_iter(START, bytes).any(|at| bytes.get(at..).and_then(batch).is_some())
}

/// What stands behind the batch that `bytes` begin with; `None`: there is no whole one.
fn batch(bytes: &[u8]) -> Option<&[u8]> {
    let (&START, rest) = bytes.split_first()? else { return None };
    let (count, rest) = rest.split_first_chunk()?;
    let items = rest.get(8..)?;
    let mut rest = items;
    for _ in 0..u32::from_le_bytes(*count) {
        rest = item(rest)?;
    }
    let items = items.get(..items.len() - rest.len())?;
    let (&END, rest) = rest.split_first()? else { return None };
    let (sum, rest) = rest.split_first_chunk()?;
    let mut hash = Xxh3::new();
    hash.update(items);
    let rest = rest.strip_prefix(&TRAILER)?;
    (hash.digest() == u64::from_le_bytes(*sum)).then_some(rest)
}

/// What stands behind one change: kind, coding (none), table, lengths of key and value, of the value as it is written; key; value.
fn item(bytes: &[u8]) -> Option<&[u8]> {
    match bytes.split_first()? {
        (&ITEM, rest) => {
            let rest = rest.get(2 + 8..)?;
            let (key, rest) = rest.split_first_chunk()?;
            let (written, rest) = rest.get(4..)?.split_first_chunk()?;
            let length = usize::from(u16::from_le_bytes(*key)).checked_add(u32::from_le_bytes(*written) as usize)?;
            rest.get(length..)
        }
        (&CLEAR, rest) => rest.get(8..),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn batch_of(seed: u8, items: u8) -> Vec<u8> {
        let mut parts = Vec::new();
        for number in 0..items {
            let value = vec![number ^ seed; usize::from(number)];
            parts.extend([ITEM, 0, 0]);
            parts.extend(7_u64.to_le_bytes());
            parts.extend(3_u16.to_le_bytes());
            parts.extend([u32::from(number).to_le_bytes(); 2].as_flattened());
            parts.extend([seed; 3]);
            parts.extend(value);
        }
        let mut hash = Xxh3::new();
        hash.update(&parts);
        let mut batch = [&[START][..], &u32::from(items).to_le_bytes(), &9_u64.to_le_bytes(), &parts, &[END]].concat();
        batch.extend(hash.digest().to_le_bytes());
        batch.extend(TRAILER);
        batch
    }

    #[test]
    fn what_is_cut_or_changed_is_no_batch() {
        let one = batch_of(3, 5);
        assert_eq!(batch(&one), Some(&[][..]));
        assert!((0..one.len()).all(|cut| batch(&one[..cut]).is_none()));
        for at in (0..one.len()).filter(|at| !(5..13).contains(at)) {
            let mut other = one.clone();
            other[at] ^= 0x10;
            // But for the lengths before coding, which nothing reads, and which the sum covers.
            assert!(batch(&other).is_none(), "{at}");
        }
    }

    #[test]
    fn a_tail_that_is_torn_is_cut_and_what_has_others_behind_it_is_not() {
        let folder = tempfile::TempDir::new().unwrap();
        let path = folder.path().join("1.jnl");
        let (first, second) = (batch_of(1, 4), batch_of(2, 6));
        let mut torn = second.clone();
        torn[40] ^= 1;
        let whole = [&first[..], &second].concat();
        for (bytes, expected) in [
            ([&whole[..], &[0; 500]].concat(), Some(&whole)),
            ([&whole[..], &torn, &[0; 500]].concat(), Some(&whole)),
            ([&whole[..], &second[..second.len() - 1]].concat(), Some(&whole)),
            ([&first[..], &torn, &second].concat(), None),
            ([&first[..], &[0; 100], &second].concat(), None),
        ] {
            fs::write(&path, &bytes).unwrap();
            let renewed = renew(folder.path());
            assert_eq!(renewed.is_ok(), expected.is_some());
            assert_eq!(fs::read(&path).unwrap(), *expected.unwrap_or(&bytes));
        }
        // What stands behind may be in the next one.
        fs::write(&path, [&first[..], &torn].concat()).unwrap();
        fs::write(folder.path().join("2.jnl"), &second).unwrap();
        assert!(matches!(renew(folder.path()), Err(Failed::Damaged(damaged)) if damaged == path));
        fs::write(folder.path().join("2.jnl"), [0; 90]).unwrap();
        renew(folder.path()).unwrap();
        assert_eq!(fs::read(&path).unwrap(), first);
    }

    #[test]
    fn a_full_disk_is_told_with_what_is_wanted_and_what_is_there() {
        let folder = tempfile::TempDir::new().unwrap();
        let failed = no_room(folder.path(), 1 << 60, io::ErrorKind::StorageFull.into());
        let Failed::Room { wanted, there, .. } = failed else { panic!("{failed:?}") };
        assert!(wanted == 1 << 60 && there < wanted);
        let told = super::super::OpenError::from(Failed::Room { path: "0.jnl".into(), wanted: 700, there: 30 });
        assert!(told.to_string().contains("that wants 700 bytes of room on its disk, and 30 are there"), "{told}");
        let other = no_room(folder.path(), 1, io::ErrorKind::PermissionDenied.into());
        assert!(matches!(other, Failed::Io(..)));
    }

    proptest! {
        #[test]
        fn other_bytes_are_refused_without_a_panic(bytes: Vec<u8>) {
            let _ = (whole_batches(&bytes), holds_batch(&bytes));
        }
    }
}
