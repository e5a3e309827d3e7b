//! Closing and reading beside each other.

use std::sync::mpsc::channel;

use tempfile::TempDir;

use super::super::super::Spelling;
use super::*;

fn entry(number: u8) -> Entry {
    Entry {
        digest: [number; 32],
        token: [number; 16],
        domain: [0; 16],
        epoch: 1,
        spelling: Spelling::Opaque,
        sealed: vec![0; 60],
        subjects: vec![],
        issued_ms: 0,
        ends_ms: None,
    }
}

/// With two entries.
fn opened() -> (TempDir, Shared) {
    let folder = TempDir::new().unwrap();
    let tables = Tables::open(folder.path()).unwrap();
    let shared = Shared::new(folder.path().to_owned(), tables, 1 << 20);
    let (told, answer) = oneshot::channel();
    shared.write(vec![(vec![entry(1), entry(2)], told)], vec![]);
    assert_eq!(answer.blocking_recv().unwrap().unwrap(), [[1; 16], [2; 16]]);
    (folder, shared)
}

#[test]
fn what_was_cached_is_not_believed_after_the_tables_closed() {
    let (_folder, shared) = opened();
    let mark = shared.cache.mark();
    assert_eq!(shared.cache.look_up(&entry(1)), Some([1; 16]));
    shared.close("test".into());
    shared.cache.keep_read(mark, Arc::new(entry(2)));
    assert!(shared.cache.look_up(&entry(1)).is_none() && shared.cache.find(&[1; 16]).is_none());
    assert!(shared.cache.find(&[2; 16]).is_none(), "read before they closed");
}

#[test]
fn who_reads_holds_up_nobody() {
    let (_folder, shared) = opened();
    let read = shared.with_tables(|_| Ok(shared.tables.try_write().is_ok()));
    assert!(read.unwrap());
}

#[test]
fn closing_ends_a_walk_and_lets_go_of_the_files() {
    let (folder, shared) = opened();
    let (entered, seen) = channel();
    let (go, wait) = channel();
    std::thread::scope(|scope| {
        let walking = &shared;
        let walk = scope.spawn(move || {
            let wanted = |_| {
                entered.send(()).unwrap();
                wait.recv().unwrap();
                Ok(true)
            };
            walking.with_tables(|tables| tables.walk(None, wanted))
        });
        seen.recv().unwrap();
        let close = scope.spawn(|| {
            shared.close("test".into());
            Tables::open(folder.path()).map(drop)
        });
        // Told to end before it is closed: from then on nobody gets to read.
        while !shared.with_tables(|_| Ok(())).is_err_and(|failure| matches!(failure, Failure::Closed(_))) {
            std::thread::yield_now();
        }
        go.send(()).unwrap();
        assert!(matches!(walk.join().unwrap(), Err(Failure::BrokenOff)));
        close.join().unwrap().unwrap();
    });
}

/// The key of a token, and where it is.
fn key(tables: &Tables, token: &TokenId) -> (u64, Vec<u8>) {
    let slot = tables.row(token).unwrap().unwrap().slot.unwrap();
    (slot, tables.slots.key(slot).unwrap().expose_secret().to_vec())
}

#[test]
fn a_key_whose_overwriting_was_cut_off_is_overwritten_before_the_store_is_used_again() {
    let (folder, shared) = opened();
    let (slot, old) = shared
        .with_tables(|tables| {
            let found = key(tables, &[1; 16]);
            let mut batch = tables.batch();
            batch.remove(&tables.row(&[1; 16])?.unwrap());
            batch.commit().map(|_| found)
        })
        .unwrap();
    shared.close("killed here".into());
    let tables = Tables::open(folder.path()).unwrap();
    assert!(tables.row(&[1; 16]).unwrap().is_none());
    assert_ne!(*tables.slots.key(slot).unwrap().expose_secret(), *old);
    assert!(tables.entry(&[2; 16]).unwrap().is_some());
}

#[test]
fn a_key_whose_bytes_are_damaged_fails_its_entry_alone() {
    let (_folder, shared) = opened();
    let checked = shared.with_tables(|tables| {
        tables.slots.overwrite(&[key(tables, &[1; 16]).0])?;
        assert!(matches!(tables.entry(&[1; 16]), Err(Failure::Damaged)));
        Ok(tables.entry(&[2; 16])?.is_some())
    });
    assert!(checked.unwrap());
}
