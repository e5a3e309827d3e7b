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

fn fail_next(shared: &Shared) {
    let told = shared.with_tables(|tables| {
        tables.fail_next.store(true, std::sync::atomic::Ordering::Relaxed);
        Ok(())
    });
    told.unwrap();
}

#[test]
fn what_a_failed_forget_was_about_is_not_answered_from_memory() {
    let (_folder, shared) = opened();
    fail_next(&shared);
    let failed = shared.with_tables(|tables| shared.forget(tables, &[[1; 16]]));
    assert!(failed.is_err());
    // It may be forgotten when the files are read again: a token that is dead then must not be given out.
    assert!(shared.cache.look_up(&entry(1)).is_none() && shared.cache.find(&[1; 16]).is_none());
    assert_eq!(shared.cache.look_up(&entry(2)), Some([2; 16]));
}

#[test]
fn what_a_failed_put_was_about_is_not_answered_from_memory() {
    let (_folder, shared) = opened();
    let more = Entry { subjects: vec![[7; 16]], ..entry(1) };
    fail_next(&shared);
    let failed = shared.with_tables(|tables| {
        let mut group = Group::new(tables, &shared.cache);
        group.put_all(vec![more.clone(), entry(3)])?;
        group.commit()
    });
    assert!(failed.is_err());
    for uncertain in [more, entry(1), entry(3)] {
        assert!(shared.cache.look_up(&uncertain).is_none() && shared.cache.find(&uncertain.token).is_none());
    }
    assert_eq!(shared.cache.look_up(&entry(2)), Some([2; 16]));
}

#[test]
fn a_row_that_does_not_read_keeps_no_other_from_being_forgotten() {
    let (_folder, shared) = opened();
    let person = Entry { subjects: vec![[7; 16]], ..entry(4) };
    let (told, _answer) = oneshot::channel();
    shared.write(vec![(vec![person, Entry { subjects: vec![[7; 16]], ..entry(5) }], told)], vec![]);
    let gone = shared.with_tables(|tables| {
        tables.tokens.insert([4; 16], "no row").map_err(Failure::from)?;
        let page = tables.page(None, 9)?;
        assert_eq!((page.last, page.damaged), (Some([5; 16]), 1));
        assert_eq!(page.entries.iter().map(|entry| entry.token[0]).collect::<Vec<_>>(), [1, 2, 5]);
        let sought = tables.of_subject(&[7; 16], 9)?;
        assert_eq!(sought, [[4; 16], [5; 16]]);
        let gone = shared.forget(tables, &sought)?;
        assert!(tables.of_subject(&[7; 16], 9)?.is_empty(), "nothing is sought again and again");
        Ok(gone)
    });
    assert_eq!(gone.unwrap(), [entry(5).forgotten()]);
}

#[test]
fn a_value_whose_row_was_damaged_and_forgotten_gets_a_token_that_is_kept() {
    let (_folder, shared) = opened();
    let token = shared.with_tables(|tables| {
        tables.tokens.insert([1; 16], "no row").map_err(Failure::from)?;
        shared.forget(tables, &[[1; 16]])?;
        let mut group = Group::new(tables, &shared.cache);
        let (tokens, _) = group.put_all(vec![Entry { token: [9; 16], ..entry(1) }])?;
        group.commit()?;
        assert!(tables.entry(&tokens[0])?.is_some());
        Ok(tokens[0])
    });
    assert_eq!(token.unwrap(), [9; 16]);
}

#[test]
fn who_reads_a_row_that_is_forgotten_meanwhile_finds_nothing_and_no_damage() {
    let (_folder, shared) = opened();
    let read = shared.with_tables(|tables| {
        let row = tables.row(&[1; 16])?.unwrap();
        shared.forget(tables, &[[1; 16]])?;
        tables.read(row)
    });
    assert!(matches!(read, Ok(None)));
}

#[test]
fn a_group_ends_when_it_has_many_bytes() {
    let (_folder, shared) = opened();
    let (asks, mut waiting) = mpsc::channel(9);
    let put = |number| {
        let (told, answer) = oneshot::channel();
        (Ask::Put(vec![Entry { sealed: vec![0; GROUP_BYTES], ..entry(number) }], told), answer)
    };
    let ((first, one), (second, mut other)) = (put(6), put(7));
    asks.try_send(second).unwrap_or_else(|_| panic!("there is room"));
    assert!(shared.serve_group(first, &mut waiting).is_none());
    assert!(one.blocking_recv().unwrap().is_ok());
    assert!(other.try_recv().is_err() && waiting.try_recv().is_ok(), "the second waits for the next group");
}
