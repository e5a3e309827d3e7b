//! Copies of a store: into a file and back, and into another store while it is used.

use std::collections::HashSet;
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tempfile::TempDir;
use tidegate::keys::Key;
use tidegate::vault::store::embedded::Embedded;
use tidegate::vault::store::memory::Memory;
use tidegate::vault::store::{Answer, Entry, Forget, Forgotten, Page, StoreError, TokenId, TokenStore};
use tidegate::vault::transfer::archive::{self, Writer};
use tidegate::vault::transfer::moving::Moving;
use tidegate::vault::transfer::{Error, Tally, copy, marks, tally, verify};

use crate::conformance::Place;
use crate::entries::{all, digest, entry, rival, subject, token};

fn key(byte: u8) -> Key {
    Key::new([byte; 32])
}

/// In the order of their tokens; some are persons', some end.
fn entries(count: u64) -> Vec<Entry> {
    let of = |number| Entry {
        subjects: (0..number % 4).map(subject).collect(),
        ends_ms: (number % 3 == 0).then_some(number),
        sealed: vec![7; usize::try_from(number % 5000).unwrap()],
        ..entry(number)
    };
    let mut entries: Vec<_> = (0..count).map(of).collect();
    entries.sort_unstable_by_key(|entry| entry.token);
    entries
}

fn write(path: &Path, entries: &[Entry]) -> Tally {
    let (mut writer, last) = Writer::open(path, &key(1)).unwrap();
    assert!(last.is_none());
    entries.chunks(100).for_each(|some| writer.add(some).unwrap());
    writer.finish().unwrap()
}

fn read(path: &Path, with: u8) -> Result<(Vec<Entry>, Tally), archive::Error> {
    let mut all = Vec::new();
    let tally = archive::read(path, &key(with), |entries| {
        all.extend(entries);
        Ok::<_, archive::Error>(())
    })?;
    Ok((all, tally))
}

#[test]
fn an_archive_gives_back_what_was_written_and_nothing_of_it_can_be_seen() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("vault");
    let entries = entries(2500);
    let written = write(&path, &entries);
    let (found, tally) = read(&path, 1).unwrap();
    assert!(found == entries && tally == written && tally.entries == 2500);
    let bytes = fs::read(&path).unwrap();
    for entry in entries.iter().step_by(97) {
        assert!(memchr::memmem::find(&bytes, &entry.digest).is_none(), "digests are sealed, too");
    }
    let empty = folder.path().join("empty");
    assert_eq!(write(&empty, &[]), Tally::default());
    assert!(read(&empty, 1).unwrap().0.is_empty());
}

#[test]
fn an_archive_that_was_changed_cut_or_made_with_other_keys_is_refused() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("vault");
    write(&path, &entries(2500));
    let whole = fs::read(&path).unwrap();
    assert!(matches!(read(&path, 2).unwrap_err(), archive::Error::Foreign));
    let other = folder.path().join("other");
    let refused = |bytes: &[u8]| {
        fs::write(&other, bytes).unwrap();
        read(&other, 1).unwrap_err()
    };
    for at in (0..whole.len()).step_by(9973).chain([0, 20, 32, 33, whole.len() - 1, whole.len() - 60]) {
        let mut changed = whole.clone();
        changed[at] ^= 1;
        refused(&changed);
    }
    for at in (0..whole.len()).step_by(19_937).chain([31, 32, 33, whole.len() - 1]) {
        refused(&whole[..at]);
    }
    refused(&[&whole[..], b"x"].concat());
    // Parts that change places, or stand in another archive.
    let part = |at: usize| 21 + u32::from_be_bytes(whole[at + 1..at + 5].try_into().unwrap()) as usize;
    let (first, second) = (part(32), part(32 + part(32)));
    let swapped =
        [&whole[..32], &whole[32 + first..32 + first + second], &whole[32..32 + first], &whole[32 + first + second..]];
    refused(&swapped.concat());
    let without = [&whole[..32 + first], &whole[32 + first + second..]];
    assert!(matches!(refused(&without.concat()), archive::Error::Damaged(1)));
    let mut moved = whole.clone();
    moved[16] ^= 1;
    assert!(matches!(refused(&moved), archive::Error::Foreign));
}

/// Where each part of an archive ends, but for the last.
fn ends(whole: &[u8]) -> Vec<usize> {
    let (mut at, mut ends) = (32, Vec::new());
    while at < whole.len() {
        at += 21 + u32::from_be_bytes(whole[at + 1..at + 5].try_into().unwrap()) as usize;
        ends.push(at);
    }
    ends.pop();
    ends
}

#[test]
fn an_archive_that_was_cut_off_anywhere_is_gone_on_with() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("vault");
    let entries = entries(2500);
    let written = write(&path, &entries);
    let whole = fs::read(&path).unwrap();
    for cut in (0..whole.len()).step_by(whole.len() / 23).chain([whole.len() - 1, whole.len()]) {
        fs::write(&path, &whole[..cut]).unwrap();
        let (mut writer, last) = Writer::open(&path, &key(1)).unwrap();
        assert!(cut < 2_000_000 || last.is_some(), "what was whole is kept");
        let rest = last.map_or(0, |last| entries.partition_point(|entry| entry.token <= last));
        writer.add(&entries[rest..]).unwrap();
        assert_eq!(writer.finish().unwrap(), written);
        // What is sealed again in the same place has another key.
        let (again, kept) = (fs::read(&path).unwrap(), ends(&whole).into_iter().rev().find(|end| *end <= cut));
        let kept = kept.filter(|_| last.is_some()).unwrap_or(32);
        assert!(again.len() == whole.len() && (cut < 32 || again[..kept] == whole[..kept] || kept == 32));
        let same = again[kept..].chunks(16).zip(whole[kept..].chunks(16)).filter(|(one, other)| one == other).count();
        assert_eq!(same, 0, "cut at {cut}: no part is sealed as it was");
        assert!(read(&path, 1).unwrap().0 == entries, "cut at {cut}");
    }
    // Not written over: it may be somebody's only one.
    fs::write(&path, &whole).unwrap();
    assert!(matches!(Writer::open(&path, &key(2)).unwrap_err(), archive::Error::Foreign));
    assert_eq!(fs::read(&path).unwrap(), whole);
}

/// What a store does before it puts.
type Before = Box<dyn Fn(&[Entry]) + Send + Sync>;

/// Fails at one call, for good, or does something before it puts.
#[derive(Default)]
struct Rigged {
    kept: Memory,
    /// Of all that share it.
    calls: Arc<AtomicU64>,
    fails_at: Arc<AtomicU64>,
    /// Told with the first page.
    damaged: AtomicU64,
    before: Mutex<Option<Before>>,
}

impl std::fmt::Debug for Rigged {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Rigged")
    }
}

impl Rigged {
    fn call<'a, T: Send + 'a>(&'a self, act: &'static str, answer: Answer<'a, T>) -> Answer<'a, T> {
        let (call, fails_at) = (self.calls.fetch_add(1, Ordering::Relaxed) + 1, self.fails_at.load(Ordering::Relaxed));
        if fails_at == 0 || call < fails_at {
            return answer;
        }
        Box::pin(async move { Err(StoreError { act, cause: "killed".into(), away: true }) })
    }
}

impl TokenStore for Rigged {
    fn put_if_absent<'a>(&'a self, entries: &'a [Entry]) -> Answer<'a, Vec<TokenId>> {
        if let Some(before) = &*self.before.lock().unwrap() {
            before(entries);
        }
        self.call("put_if_absent", self.kept.put_if_absent(entries))
    }
    fn find<'a>(&'a self, tokens: &'a [TokenId]) -> Answer<'a, Vec<Option<Entry>>> {
        self.call("find", self.kept.find(tokens))
    }
    fn seek<'a>(&'a self, what: &'a Forget, most: usize) -> Answer<'a, Vec<Forgotten>> {
        self.call("seek", self.kept.seek(what, most))
    }
    fn forget<'a>(&'a self, what: &'a Forget, most: usize) -> Answer<'a, Vec<Forgotten>> {
        self.call("forget", self.kept.forget(what, most))
    }
    fn visit(&self, after: Option<TokenId>, count: usize) -> Answer<'_, Page> {
        let damaged = if after.is_none() { self.damaged.load(Ordering::Relaxed) } else { 0 };
        let page = async move { Ok(Page { damaged, ..self.kept.visit(after, count).await? }) };
        self.call("visit", Box::pin(page))
    }
    fn health(&self) -> Answer<'_, ()> {
        self.call("health", self.kept.health())
    }
}

async fn filled(count: u64) -> Arc<dyn TokenStore> {
    let store = Memory::default();
    store.put_if_absent(&entries(count)).await.unwrap();
    Arc::new(store)
}

#[tokio::test]
async fn a_copy_that_is_broken_off_at_any_call_is_gone_on_with() {
    let (from, mut broken) = (filled(1700).await, 0);
    for fails_at in 1.. {
        let to = Rigged { fails_at: Arc::new(AtomicU64::new(fails_at)), ..Rigged::default() };
        let run = async || {
            marks::begin(&to).await?;
            copy(&*from, &to, &|_| {}).await?;
            let verified = verify(&*from, &to, Duration::ZERO, &|_| {}).await?;
            marks::finish(&to).await?;
            Ok::<_, Error>(verified)
        };
        if run().await.is_ok() {
            break;
        }
        broken += 1;
        to.fails_at.store(0, Ordering::Relaxed);
        let verified = run().await.unwrap();
        assert_eq!((verified.from, verified.from.entries), (verified.to, 1700), "broken off at call {fails_at}");
        assert_eq!(to.kept.len(), 1700);
    }
    assert!(broken > 15, "{broken}");
}

#[tokio::test]
async fn what_is_not_as_it_was_copied_is_found_and_a_store_that_is_in_use_is_not_copied_to() {
    let (from, to) = (filled(1200).await, filled(0).await);
    marks::begin(&*to).await.unwrap();
    copy(&*from, &*to, &|_| {}).await.unwrap();
    for change in [
        |entry: Entry| Entry { sealed: vec![1], ..entry },
        |entry: Entry| Entry { issued_ms: entry.issued_ms + 1, ..entry },
        |entry: Entry| Entry { subjects: vec![], ..entry },
    ] {
        let right = to.find(&[token(777 * 4 % 1200 + 3, 0)]).await.unwrap().remove(0).unwrap();
        let what = Forget::Tokens(vec![right.token]);
        to.forget(&what, 1).await.unwrap();
        assert!(matches!(verify(&*from, &*to, Duration::ZERO, &|_| {}).await, Err(Error::Differ { missing: 1 })));
        to.put_if_absent(&[change(right.clone())]).await.unwrap();
        assert!(matches!(verify(&*from, &*to, Duration::ZERO, &|_| {}).await, Err(Error::Differ { missing: 1 })));
        to.forget(&what, 1).await.unwrap();
        copy(&*from, &*to, &|_| {}).await.unwrap();
    }
    let verified = verify(&*from, &*to, Duration::ZERO, &|_| {}).await.unwrap();
    assert!(verified.from == verified.to && verified.from.entries == 1200);
    // Forgotten between two runs: it does not stay.
    from.forget(&Forget::Values(vec![digest(5)]), 1).await.unwrap();
    let verified = verify(&*from, &*to, Duration::ZERO, &|_| {}).await.unwrap();
    assert!(verified.from == verified.to && verified.from.entries == 1199);
    marks::finish(&*to).await.unwrap();
    assert!(matches!(marks::begin(&*to).await, Err(Error::NotEmpty)));
    // The value has another token there.
    let other = filled(0).await;
    other.put_if_absent(&[rival(9, 1)]).await.unwrap();
    assert!(matches!(copy(&*from, &*other, &|_| {}).await, Err(Error::Conflicts(1))));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_forgotten_while_it_is_copied_does_not_come_back() {
    for live in [false, true] {
        let (from, to) = (Arc::new(Memory::default()), Arc::new(Rigged::default()));
        if !live {
            from.put_if_absent(&entries(1000)).await.unwrap();
        }
        marks::begin(&*to).await.unwrap();
        // In the moment between reading it here and putting it there.
        let (here, there) = (Arc::clone(&from), Arc::clone(&to));
        let forget = move |entries: &[Entry]| {
            let what = Forget::Tokens(entries.iter().take(3).map(|entry| entry.token).collect());
            futures_util::FutureExt::now_or_never(here.forget(&what, 3)).unwrap().unwrap();
            futures_util::FutureExt::now_or_never(there.kept.forget(&what, 3)).unwrap().unwrap();
        };
        *to.before.lock().unwrap() = Some(Box::new(forget));
        if live {
            let moving = Moving::new(from.clone(), to.clone());
            moving.put_if_absent(&entries(20)).await.unwrap();
        } else {
            copy(&*from, &*to, &|_| {}).await.unwrap();
        }
        let kept: Arc<dyn TokenStore> = from;
        let copied: HashSet<TokenId> =
            all(&(to as Arc<dyn TokenStore>), 100).await.iter().map(|one| one.token).collect();
        let kept: HashSet<TokenId> = all(&kept, 100).await.iter().map(|one| one.token).collect();
        assert!(kept.is_subset(&copied));
        assert_eq!(copied.len(), kept.len() + 1, "the mark alone is there besides; live: {live}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_embedded_store_is_moved_to_another_while_it_is_used_and_no_token_is_lost() {
    move_to(crate::embedded::Folder::new().await).await;
}

#[cfg(feature = "postgres")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_embedded_store_is_moved_to_postgresql_while_it_is_used_and_no_token_is_lost() {
    move_to(crate::postgres::Database::new()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_embedded_store_is_moved_to_redis_while_it_is_used_and_no_token_is_lost() {
    move_to(crate::redis::Single::new().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_embedded_store_is_moved_to_a_redis_cluster_while_it_is_used_and_no_token_is_lost() {
    move_to(crate::redis::Own::new().await).await;
}

/// Copies a store there under load: values that are new, known, and forgotten.
async fn move_to(place: impl Place) {
    let folder = crate::embedded::Folder::new().await;
    let (from, to) = (folder.open().await, place.open().await);
    from.put_if_absent(&entries(3000)).await.unwrap();
    let moving = Moving::new(from.clone(), to.clone());
    moving.begin().await.unwrap();
    let (ended, next) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(100_000)));
    let traffic = (0..8_u64).map(|task| {
        let (moving, ended, next) = (moving.clone(), Arc::clone(&ended), Arc::clone(&next));
        tokio::spawn(async move {
            let (mut given, mut gone, mut turn) = (Vec::new(), Vec::new(), task);
            while !ended.load(Ordering::Relaxed) || turn < 40 {
                let (new, known) = (next.fetch_add(1, Ordering::Relaxed), (turn * 37) % 3000);
                let asked = [entry(new), rival(known, 9)];
                given.extend(moving.put_if_absent(&asked).await.unwrap());
                if turn % 3 == 0 {
                    // Some that were copied, some that were not, and some that came meanwhile.
                    let what = Forget::Values(vec![digest((turn * 91 + task) % 3000), digest(new)]);
                    gone.extend(moving.forget(&what, 9).await.unwrap().iter().map(|gone| gone.token));
                }
                turn += 8;
            }
            (given, gone)
        })
    });
    let traffic: Vec<_> = traffic.collect();
    moving.try_follow(&|_| {}).await.unwrap();
    ended.store(true, Ordering::Relaxed);
    let (mut given, mut gone) = (HashSet::new(), HashSet::new());
    for task in traffic {
        let (more, less) = task.await.unwrap();
        given.extend(more);
        gone.extend(less);
    }
    assert!(given.len() > 50 && gone.len() > 20);
    for token in &given {
        let found = [&from, &to].map(|store| async move { store.find(&[*token]).await.unwrap().remove(0) });
        let [ours, theirs] = found;
        let (ours, theirs) = (ours.await, theirs.await);
        assert!(ours == theirs && (ours.is_some() || gone.contains(token)), "a token that was given out");
    }
    for token in &gone {
        assert_eq!(to.find(&[*token]).await.unwrap(), [None], "what was forgotten");
    }
    let verified = verify(&*from, &*to, Duration::ZERO, &|_| {}).await.unwrap();
    assert_eq!(verified.from, verified.to);
    // Taken for use by itself: it holds what was copied, and nothing else.
    marks::take(&*to).await.unwrap();
    assert_eq!(tally(&*to, &|_| {}).await.unwrap(), (verified.to, 0));
}

/// Two stores of which one half of the entries are in both.
async fn half_copied() -> (Arc<Rigged>, Arc<Rigged>, Moving) {
    let from = Arc::new(Rigged::default());
    let to = Rigged { calls: Arc::clone(&from.calls), fails_at: Arc::clone(&from.fails_at), ..Rigged::default() };
    let to = Arc::new(to);
    from.kept.put_if_absent(&entries(100)).await.unwrap();
    to.kept.put_if_absent(&entries(50)).await.unwrap();
    (from.clone(), to.clone(), Moving::new(from, to))
}

#[tokio::test]
async fn what_is_forgotten_while_a_store_is_moved_is_forgotten_in_both_wherever_it_is_broken_off() {
    let (what, mut broken) = (Forget::Subject(subject(1)), 0);
    let expected = entries(100).iter().filter(|entry| entry.subjects.contains(&subject(1))).count();
    for copied_between in [false, true] {
        for fails_at in 1.. {
            let (from, to, moving) = half_copied().await;
            from.fails_at.store(fails_at, Ordering::Relaxed);
            let mut told = HashSet::new();
            // As a command does: what is found is told, and then forgotten.
            let run = async |told: &mut HashSet<TokenId>| {
                let sought = moving.seek(&what, 1000).await?;
                told.extend(sought.iter().map(|one| one.token));
                moving.forget(&Forget::Tokens(sought.iter().map(|one| one.token).collect()), 1000).await
            };
            let whole = run(&mut told).await.is_ok();
            from.fails_at.store(0, Ordering::Relaxed);
            if copied_between {
                copy(&*from, &*to, &|_| {}).await.unwrap();
            }
            if !whole {
                broken += 1;
                run(&mut told).await.unwrap();
            }
            assert_eq!(told.len(), expected, "broken off at call {fails_at}");
            for store in [&from.kept, &to.kept] {
                assert_eq!(store.seek(&what, 1000).await.unwrap(), [], "broken off at call {fails_at}");
            }
            if whole {
                break;
            }
        }
    }
    assert!(broken >= 14, "{broken}");
}

#[tokio::test]
async fn a_store_is_used_by_itself_only_when_all_was_copied_and_is_not_copied_to_any_more_then() {
    let (from, to) = (filled(700).await, filled(0).await);
    let moving = Moving::new(from.clone(), to.clone());
    marks::take(&*to).await.unwrap();
    moving.begin().await.unwrap();
    assert!(matches!(marks::take(&*to).await, Err(Error::Unfinished)));
    copy(&*from, &*to, &|_| {}).await.unwrap();
    assert!(matches!(marks::look(&*to).await, Err(Error::Unfinished)), "not verified yet");
    moving.try_follow(&|_| {}).await.unwrap();
    marks::look(&*to).await.unwrap();
    // One that begins again has to come to the end again.
    moving.begin().await.unwrap();
    assert!(matches!(marks::take(&*to).await, Err(Error::Unfinished)));
    moving.try_follow(&|_| {}).await.unwrap();
    marks::take(&*to).await.unwrap();
    // What comes to it alone is not taken for what was forgotten.
    to.put_if_absent(&[entry(5000)]).await.unwrap();
    assert!(matches!(moving.try_follow(&|_| {}).await, Err(Error::NotEmpty)));
    assert!(matches!(moving.begin().await, Err(Error::NotEmpty)));
    assert_eq!(tally(&*to, &|_| {}).await.unwrap().0.entries, 701);
}

#[tokio::test]
async fn what_another_process_gave_out_from_the_new_store_alone_is_turned_back_and_wins() {
    let (from, to) = (filled(10).await, filled(0).await);
    let moving = Moving::new(from.clone(), to.clone());
    moving.begin().await.unwrap();
    let theirs = rival(100, 1);
    to.put_if_absent(std::slice::from_ref(&theirs)).await.unwrap();
    assert_eq!(moving.find(&[theirs.token]).await.unwrap(), [None], "nobody uses it alone before all is copied");
    to.forget(&Forget::Tokens(vec![theirs.token]), 1).await.unwrap();
    moving.try_follow(&|_| {}).await.unwrap();
    to.put_if_absent(std::slice::from_ref(&theirs)).await.unwrap();
    assert_eq!(moving.put_if_absent(&[entry(101), entry(100)]).await.unwrap(), [token(101, 0), theirs.token]);
    assert_eq!(moving.find(&[theirs.token, token(100, 0)]).await.unwrap(), [Some(theirs.clone()), None]);
    // A value whose token has left from the old one has no other.
    to.forget(&Forget::Values(vec![digest(5)]), 1).await.unwrap();
    to.put_if_absent(&[rival(5, 1)]).await.unwrap();
    let refused = moving.put_if_absent(&[rival(5, 2)]).await.unwrap_err().to_string();
    assert!(refused.contains("another token there already"), "{refused}");
}

#[tokio::test]
async fn entries_that_do_not_read_are_counted_and_no_copy_without_them_is_whole() {
    let (from, to) = (Rigged::default(), filled(0).await);
    from.kept.put_if_absent(&entries(30)).await.unwrap();
    from.damaged.store(3, Ordering::Relaxed);
    let moving = Moving::new(Arc::new(from), to.clone());
    moving.begin().await.unwrap();
    let error = moving.follow(&|_| {}).await.unwrap_err();
    assert!(matches!(error, Error::Damaged(3)), "{error}");
    assert!(matches!(marks::take(&*to).await, Err(Error::Unfinished)));
    assert_eq!(tally(&*to, &|_| {}).await.unwrap().0.entries, 30, "the others are there");
    // A real one.
    let folder = TempDir::new().unwrap();
    let settings = crate::embedded::settings(folder.path());
    let store = open(&settings).await;
    store.put_if_absent(&entries(600)).await.unwrap();
    drop(store);
    let bad = [entries(600)[3].token, entries(600)[599].token];
    crate::embedded::rewrite(&settings, |table| {
        bad.iter().for_each(|token| table("tokens").insert(token, "no row").unwrap());
    });
    let (found, damaged) = tally(&*open(&settings).await, &|_| {}).await.unwrap();
    assert_eq!((found.entries, damaged), (598, 2));
}

async fn open(settings: &tidegate::vault::store::embedded::Settings) -> Arc<dyn TokenStore> {
    let settings = settings.clone();
    Arc::new(tokio::task::spawn_blocking(move || Embedded::open(&settings)).await.unwrap().unwrap())
}
