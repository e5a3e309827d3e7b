//! The embedded store: the contract, and what is its own.

use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tempfile::TempDir;
use tidegate::vault::store::TokenStore;
use tidegate::vault::store::embedded::{Embedded, OpenError, Settings};
use tidegate::vault::store::guard::Guard;

use crate::conformance::Place;
use crate::kill::{Program, REFUSED, found};

/// How the embedded store in a folder is opened.
pub(crate) fn settings(folder: &std::path::Path) -> Settings {
    Settings { folder: folder.join("vault"), cache_bytes: 1 << 20, patience: Duration::from_secs(20) }
}

pub(crate) struct Folder {
    folder: TempDir,
    /// One process opens it once; its handles share it.
    open: Mutex<Option<Embedded>>,
}

impl Place for Folder {
    async fn new() -> Self {
        Self { folder: TempDir::new().unwrap(), open: Mutex::default() }
    }

    async fn open(&self) -> Arc<dyn TokenStore> {
        let open = self.open.lock().unwrap().clone();
        let settings = settings(self.folder.path());
        let store = match open {
            Some(store) => store,
            None => tokio::task::spawn_blocking(move || Embedded::open(&settings).unwrap()).await.unwrap(),
        };
        *self.open.lock().unwrap() = Some(store.clone());
        Arc::new(store)
    }

    async fn restart(&self) {
        *self.open.lock().unwrap() = None;
    }
}

conformance!(Folder, always, lasting);

#[tokio::test]
async fn a_store_that_another_process_has_is_refused_with_its_number() {
    let folder = TempDir::new().unwrap();
    let mut holder = Program::start("embedded", &folder.path().display().to_string());
    holder.acknowledged(1);
    let settings = Settings { patience: Duration::ZERO, ..settings(folder.path()) };
    let error = Embedded::open(&settings).unwrap_err();
    assert!(matches!(error, OpenError::InUse { .. }), "{error}");
    let expected = format!("is in use by process {}: stop that one, or", holder.id());
    assert!(error.to_string().contains(&expected), "{error}");
    holder.kill();
    Embedded::open(&Settings { patience: Duration::from_secs(20), ..settings }).unwrap();
}

/// The most bytes that the process's files may have.
fn limit_files(process: u32, bytes: &str) {
    let limit = Command::new("prlimit").args([&format!("--pid={process}"), &format!("--fsize={bytes}:")]).status();
    assert!(limit.expect("`prlimit`, of util-linux").success());
}

/// Reads what the process tells, until so many of a kind have come; keeps what was acknowledged.
fn read(program: &mut Program, told: &mut Vec<u64>, counts: impl Fn(u64) -> bool, mut count: usize) {
    while count > 0 {
        let number = program.acknowledged(1)[0];
        count -= usize::from(counts(number));
        if number != REFUSED {
            told.push(number);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_whose_files_cannot_be_written_refuses_until_they_can_and_loses_nothing() {
    let folder = TempDir::new().unwrap();
    // The signal is ignored, so that too large a file is an error of the write, as a full disk is.
    let mut shell = Command::new("sh");
    shell.args(["-c", "trap '' XFSZ; exec \"$0\" \"$@\""]).arg(std::env::current_exe().unwrap());
    let mut program = Program::run(shell, "embedded", &folder.path().display().to_string(), 0);
    let mut told = program.acknowledged(300);
    for round in 1..=3 {
        limit_files(program.id(), "4096");
        read(&mut program, &mut told, |number| number == REFUSED, 50);
        limit_files(program.id(), "unlimited");
        read(&mut program, &mut told, |number| number != REFUSED, 300 * round);
    }
    told.extend(program.kill());
    told.retain(|number| *number != REFUSED);
    let store: Arc<dyn TokenStore> = Arc::new(Embedded::open(&settings(folder.path())).unwrap());
    found(&store, &told).await;
}

/// Opens the tables of a store that was closed.
pub(crate) fn rewrite(settings: &Settings, write: impl FnOnce(&dyn Fn(&str) -> fjall::Keyspace)) {
    let database = loop {
        // The thread of the store that was dropped may still be closing it.
        match fjall::Database::builder(settings.folder.join("tables")).open() {
            Err(fjall::Error::Locked) => std::thread::yield_now(),
            other => break other.unwrap(),
        }
    };
    write(&|table| database.keyspace(table, fjall::KeyspaceCreateOptions::default).unwrap());
    database.persist(fjall::PersistMode::SyncAll).unwrap();
}

/// Writes this into a table of a store that was closed.
fn change(settings: &Settings, table: &str, key: impl Into<fjall::Slice>, value: &str) {
    rewrite(settings, |open| open(table).insert(key, value).unwrap());
}

#[tokio::test]
async fn a_damaged_row_fails_those_who_ask_for_it_and_nobody_else() {
    let folder = TempDir::new().unwrap();
    let settings = settings(folder.path());
    drop(Embedded::open(&settings).unwrap());
    change(&settings, "tokens", [7; 16], "no row");
    let store = Arc::new(Embedded::open(&settings).unwrap());
    let guard = Guard::new(store, Duration::from_secs(20), Default::default());
    for _ in 0..20 {
        let error = guard.find(&[[7; 16]]).await.unwrap_err();
        assert!(!error.away && error.to_string().contains("an entry does not read"), "{error}");
    }
    assert!(guard.find(&[[8; 16]]).await.unwrap() == [None]);
}

#[tokio::test]
async fn a_form_of_a_newer_program_is_refused() {
    let folder = TempDir::new().unwrap();
    let settings = settings(folder.path());
    drop(Embedded::open(&settings).unwrap());
    let form = |form: &str| change(&settings, "about", "form", form);
    form("3");
    let error = Embedded::open(&settings).unwrap_err();
    assert!(error.to_string().ends_with("a newer one made it; run that one"), "{error}");
    form("2");
    Embedded::open(&settings).unwrap();
}
