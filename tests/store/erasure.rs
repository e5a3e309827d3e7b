//! What an embedded store leaves on the disk of a value that was forgotten: nothing that its key opens.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tempfile::TempDir;
use tidegate::vault::store::embedded::{Embedded, KeysTrouble, OpenError, Settings};
use tidegate::vault::store::{Entry, Forget, TokenStore};

use crate::embedded::{rewrite, settings};
use crate::entries::{all, entry, token};

/// A store in a folder that can be closed, copied and opened.
struct House {
    folder: TempDir,
    settings: Settings,
}

impl House {
    fn new() -> Self {
        let folder = TempDir::new().unwrap();
        let settings = settings(folder.path());
        Self { folder, settings }
    }

    async fn open(&self) -> Arc<dyn TokenStore> {
        Arc::new(self.try_open().await.unwrap())
    }

    async fn try_open(&self) -> Result<Embedded, OpenError> {
        let settings = self.settings.clone();
        tokio::task::spawn_blocking(move || Embedded::open(&settings)).await.unwrap()
    }

    async fn trouble(&self) -> KeysTrouble {
        match self.try_open().await {
            Err(OpenError::Keys { trouble, .. }) => trouble,
            other => panic!("{other:?}"),
        }
    }

    /// Waits until nobody has it open.
    async fn closed(&self) {
        drop(self.open().await);
        let lock = fs::File::open(self.settings.folder.join("in-use")).unwrap();
        tokio::task::spawn_blocking(move || lock.lock().unwrap()).await.unwrap();
    }

    fn keys(&self) -> PathBuf {
        self.settings.folder.join("value-keys")
    }

    /// A copy of a closed store's tables.
    fn copy_tables(&self) -> PathBuf {
        let copy = self.folder.path().join("copy");
        copy_folder(&self.settings.folder.join("tables"), &copy);
        copy
    }

    fn put_back_tables(&self, copy: &Path) {
        fs::remove_dir_all(self.settings.folder.join("tables")).unwrap();
        copy_folder(copy, &self.settings.folder.join("tables"));
    }
}

fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for item in fs::read_dir(from).unwrap() {
        let item = item.unwrap();
        let to = to.join(item.file_name());
        if item.path().is_dir() {
            copy_folder(&item.path(), &to);
        } else {
            fs::copy(item.path(), to).unwrap();
        }
    }
}

fn holds(folder: &Path, wanted: &[u8]) -> bool {
    fs::read_dir(folder).unwrap().any(|item| {
        let path = item.unwrap().path();
        if path.is_dir() {
            return holds(&path, wanted);
        }
        let bytes = fs::read(path).unwrap();
        memchr::memmem::find(&bytes, wanted).is_some()
    })
}

async fn put(store: &Arc<dyn TokenStore>, numbers: impl Iterator<Item = u64>) {
    let entries: Vec<_> = numbers.map(entry).collect();
    store.put_if_absent(&entries).await.unwrap();
}

async fn is_kept(store: &Arc<dyn TokenStore>, number: u64) -> bool {
    let found = store.find(&[token(number, 0)]).await.unwrap().remove(0);
    found.is_some_and(|found| found == entry(number))
}

#[tokio::test]
async fn the_key_of_a_forgotten_value_is_nowhere_on_the_disk_and_all_others_are_as_they_were() {
    let house = House::new();
    let store = house.open().await;
    put(&store, 0..40).await;
    let before = fs::read(house.keys()).unwrap();
    // By value, by token, by age: whichever way.
    store.forget(&Forget::Values(vec![entry(0).digest]), 9).await.unwrap();
    store.forget(&Forget::Tokens(vec![token(1, 0), token(2, 0)]), 9).await.unwrap();
    store.forget(&Forget::IssuedBefore(10), 99).await.unwrap();
    let after = fs::read(house.keys()).unwrap();
    let keys = |bytes: &[u8]| bytes[64..64 + 40 * 32].chunks(32).map(<[u8]>::to_vec).collect::<Vec<_>>();
    let gone: Vec<_> = keys(&before).into_iter().zip(keys(&after)).filter(|(old, new)| old != new).collect();
    assert_eq!(gone.len(), 10, "a key for each that was forgotten");
    for (old, _) in &gone {
        assert!(!holds(&house.settings.folder, old), "on the disk at the moment when it is told that it is forgotten");
    }
    for number in 10..40 {
        assert!(is_kept(&store, number).await);
    }
    // As a store would be without keys: what its callers sealed is nowhere either.
    for number in 0..40 {
        assert!(!holds(&house.settings.folder, &entry(number).sealed));
    }
}

#[tokio::test]
async fn keys_are_used_again_only_after_they_were_overwritten() {
    let house = House::new();
    for round in 0..4_u64 {
        let store = house.open().await;
        let mine = round * 100..round * 100 + 50;
        put(&store, mine.clone()).await;
        let old = fs::read(house.keys()).unwrap();
        assert_eq!(store.forget(&Forget::IssuedBefore(u64::MAX), 100).await.unwrap().len(), 50);
        put(&store, mine.clone().map(|number| number + 50)).await;
        let new = fs::read(house.keys()).unwrap();
        let keys = |bytes: &[u8]| bytes[64..64 + 50 * 32].chunks(32).map(<[u8]>::to_vec).collect::<Vec<_>>();
        assert!(keys(&old).iter().zip(keys(&new)).all(|(old, new)| *old != new), "round {round}: the same fifty slots");
        for number in mine.map(|number| number + 50) {
            assert!(is_kept(&store, number).await);
        }
        assert_eq!(store.forget(&Forget::IssuedBefore(u64::MAX), 100).await.unwrap().len(), 50);
        drop(store);
        house.closed().await;
        assert_eq!(fs::metadata(house.keys()).unwrap().len() % (32 * 32_768), 64 + 50 * 32, "no slot was lost");
    }
}

#[tokio::test]
async fn an_older_copy_of_the_tables_with_the_newest_keys_does_not_bring_back_what_was_forgotten() {
    let house = House::new();
    let store = house.open().await;
    put(&store, 0..20).await;
    drop(store);
    house.closed().await;
    let copy = house.copy_tables();
    let store = house.open().await;
    store.forget(&Forget::IssuedBefore(5), 9).await.unwrap();
    // These take the slots that became free.
    put(&store, 100..110).await;
    drop(store);
    house.closed().await;
    house.put_back_tables(&copy);
    let store = house.open().await;
    for number in 0..20 {
        assert_eq!(is_kept(&store, number).await, number >= 5, "{number}");
    }
    assert_eq!(all(&store, 9).await.len(), 15);
    put(&store, 0..40).await;
    assert_eq!(all(&store, 9).await.len(), 40);
}

#[tokio::test]
async fn a_file_of_keys_that_does_not_belong_to_the_tables_is_refused() {
    let house = House::new();
    let store = house.open().await;
    put(&store, 0..20).await;
    drop(store);
    house.closed().await;
    let old = fs::read(house.keys()).unwrap();
    let store = house.open().await;
    store.forget(&Forget::IssuedBefore(1), 9).await.unwrap();
    put(&store, 20..30).await;
    drop(store);
    house.closed().await;
    let right = fs::read(house.keys()).unwrap();
    for (bytes, expected) in [
        (old, KeysTrouble::Older),
        (right[..64 + 20 * 32].to_vec(), KeysTrouble::Older),
        (right[..63].to_vec(), KeysTrouble::Damaged),
        (vec![0; 4096], KeysTrouble::Damaged),
        ([&right[..16], &[7; 16], &right[32..]].concat(), KeysTrouble::Foreign),
    ] {
        fs::write(house.keys(), bytes).unwrap();
        assert_eq!(house.trouble().await, expected);
    }
    fs::remove_file(house.keys()).unwrap();
    assert_eq!(house.trouble().await, KeysTrouble::Missing);
    fs::write(house.keys(), right).unwrap();
    // As a careless copy would be: others may read it.
    fs::set_permissions(house.keys(), fs::Permissions::from_mode(0o644)).unwrap();
    let refused = house.try_open().await.unwrap_err();
    assert!(matches!(refused, OpenError::Loose { mode: 0o644, .. }), "{refused}");
    fs::set_permissions(house.keys(), fs::Permissions::from_mode(0o600)).unwrap();
    let store = house.open().await;
    for number in 0..30 {
        assert_eq!(is_kept(&store, number).await, number >= 1, "{number}");
    }
}

#[tokio::test]
async fn an_entry_of_the_older_form_is_read_and_given_a_key() {
    let house = House::new();
    drop(house.open().await);
    let old = Entry { subjects: vec![[9; 16]], ..entry(1) };
    rewrite(&house.settings, |table| {
        table("tokens").insert(old.token, old_row(&old)).unwrap();
        table("values").insert(old.digest, old.token).unwrap();
        table("subjects").insert([[9; 16], old.token].concat(), "").unwrap();
        table("about").insert("form", "1").unwrap();
        table("about").remove("slots").unwrap();
    });
    // With keys beside tables that know of none, it is another store's folder that is put together wrongly.
    assert_eq!(house.trouble().await, KeysTrouble::Alone);
    fs::remove_file(house.keys()).unwrap();
    let store = house.open().await;
    assert_eq!(store.find(&[old.token]).await.unwrap(), [Some(old.clone())]);
    put(&store, 2..4).await;
    drop(store);
    house.closed().await;
    let keys = fs::read(house.keys()).unwrap();
    let store = house.open().await;
    assert_eq!(store.forget(&Forget::Subject([9; 16]), 9).await.unwrap(), [old.forgotten()]);
    assert_ne!(fs::read(house.keys()).unwrap()[64..96], keys[64..96]);
    assert!(is_kept(&store, 2).await);
}

/// As it was written before entries had keys.
fn old_row(entry: &Entry) -> Vec<u8> {
    let numbers = [&entry.epoch.to_be_bytes()[..], &entry.issued_ms.to_be_bytes()].concat();
    let subjects = [&[0, 1][..], entry.subjects.as_flattened()].concat();
    [&[1, 0, 0][..], &entry.digest, &entry.domain, &numbers, &subjects, &entry.sealed].concat()
}
