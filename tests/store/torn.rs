//! What a power cut and a failed sync leave of an embedded store's journal.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;

use tempfile::TempDir;
use tidegate::vault::store::TokenStore;
use tidegate::vault::store::embedded::{Embedded, OpenError};

use crate::embedded::settings;
use crate::entries::{entry, token};

/// What each batch ends with.
const TRAILER: &[u8] = b"FJL\x03";

struct House(TempDir);

impl House {
    async fn open(&self) -> Result<Arc<dyn TokenStore>, OpenError> {
        let settings = settings(self.0.path());
        let opened = tokio::task::spawn_blocking(move || Embedded::open(&settings)).await.unwrap();
        opened.map(|store| Arc::new(store) as Arc<dyn TokenStore>)
    }

    /// Opens it, puts these, one batch each, and closes it.
    async fn put(&self, numbers: std::ops::Range<u64>) {
        let store = self.open().await.unwrap();
        for number in numbers {
            store.put_if_absent(&[entry(number)]).await.unwrap();
        }
        drop(store);
        let lock = File::open(self.0.path().join("vault/in-use")).unwrap();
        tokio::task::spawn_blocking(move || lock.lock().unwrap()).await.unwrap();
    }

    /// Its only journal.
    fn journal(&self) -> PathBuf {
        let files = fs::read_dir(self.0.path().join("vault/tables")).unwrap().map(|item| item.unwrap().path());
        let journals: Vec<_> = files.filter(|path| path.extension().is_some_and(|end| end == "jnl")).collect();
        assert_eq!(journals.len(), 1);
        journals[0].clone()
    }

    async fn keeps(&self, numbers: std::ops::Range<u64>) {
        let store = self.open().await.unwrap();
        for number in numbers {
            assert_eq!(store.find(&[token(number, 0)]).await.unwrap(), [Some(entry(number))], "{number}");
        }
    }
}

/// Where the batches of a journal end.
fn ends(bytes: &[u8]) -> Vec<usize> {
    memchr::memmem::find_iter(bytes, TRAILER).map(|at| at + TRAILER.len()).collect()
}

#[tokio::test]
async fn what_a_failed_sync_left_in_memory_alone_takes_nothing_with_it() {
    let house = House(TempDir::new().unwrap());
    house.put(0..5).await;
    // The system shows these five, and they are not on the disk: what is written to the same file has them lost below it.
    let file = OpenOptions::new().read(true).write(true).open(house.journal()).unwrap();
    house.put(5..10).await;
    let shown = file.metadata().unwrap().len();
    file.write_all_at(&vec![0; usize::try_from(shown.min(1 << 20)).unwrap()], 0).unwrap();
    house.keeps(0..10).await;
}

#[tokio::test]
async fn a_last_write_that_is_torn_anywhere_costs_no_token_that_was_acknowledged() {
    let house = House(TempDir::new().unwrap());
    house.put(0..6).await;
    let journal = house.journal();
    let whole = fs::read(&journal).unwrap();
    let ends = ends(&whole);
    let [.., before, last] = ends[..] else { panic!("{ends:?}") };
    let holes =
        (before..last).step_by(61).flat_map(|from| [(from, from + 1), (from, last), (from, (from + 64).min(last))]);
    for (from, to) in holes {
        let mut torn = whole.clone();
        torn[from..to].iter_mut().for_each(|byte| *byte ^= 0x55);
        fs::write(&journal, &torn).unwrap();
        house.keeps(0..5).await;
    }
    for cut in (before..last).step_by(37) {
        fs::write(&journal, &whole[..cut]).unwrap();
        house.keeps(0..5).await;
    }
    // Goes on with what was not cut.
    house.put(5..8).await;
    house.keeps(0..8).await;
}

#[tokio::test]
async fn a_write_that_is_damaged_with_others_behind_it_is_told_and_left_as_it_is() {
    let house = House(TempDir::new().unwrap());
    house.put(0..6).await;
    let journal = house.journal();
    let mut bytes = fs::read(&journal).unwrap();
    let middle = ends(&bytes)[2] + 30;
    bytes[middle] ^= 1;
    fs::write(&journal, &bytes).unwrap();
    let error = house.open().await.unwrap_err();
    assert!(matches!(&error, OpenError::Journal { path } if *path == journal), "{error}");
    assert_eq!(fs::read(&journal).unwrap(), bytes);
    bytes[middle] ^= 1;
    fs::write(&journal, &bytes).unwrap();
    house.keeps(0..6).await;
}
