//! Processes that put under load and are killed: what they acknowledged is found afterwards.
//!
//! The process is this test's own program, started again with one test as its argument: [`child`], which puts without end and tells
//! its parent of everything that was acknowledged. Start at [`killed_under_load`].

use std::io::{BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use tempfile::TempDir;
use tidegate::vault::store::TokenStore;
use tidegate::vault::store::embedded::Embedded;

use crate::entries::{digest, entry, number_of, rival, subject, token};

/// What the child is to do: the kind of store, where it is, the number to begin with, the address of its parent.
const ORDERS: &str = "TIDEGATE_STORE_CHILD";

/// In place of a number: a put was refused.
pub(crate) const REFUSED: u64 = u64::MAX;

/// A process that puts.
pub(crate) struct Program {
    process: Child,
    acknowledged: BufReader<TcpStream>,
}

impl Program {
    pub(crate) fn start(kind: &str, place: &str) -> Self {
        Self::start_at(kind, place, 0)
    }

    pub(crate) fn start_at(kind: &str, place: &str, first: u64) -> Self {
        Self::run(Command::new(std::env::current_exe().unwrap()), kind, place, first)
    }

    pub(crate) fn run(mut command: Command, kind: &str, place: &str, first: u64) -> Self {
        let parent = TcpListener::bind("127.0.0.1:0").unwrap();
        let orders = format!("{kind} {place} {first} {}", parent.local_addr().unwrap());
        command.args(["--exact", "kill::child", "--nocapture"]).env(ORDERS, orders);
        command.stdin(Stdio::null()).stdout(Stdio::null());
        let process = command.spawn().unwrap();
        Self { process, acknowledged: BufReader::new(parent.accept().unwrap().0) }
    }

    pub(crate) fn id(&self) -> u32 {
        self.process.id()
    }

    /// The next `count` numbers that were acknowledged; [`REFUSED`] among them.
    pub(crate) fn acknowledged(&mut self, count: usize) -> Vec<u64> {
        let mut numbers = vec![0; 8 * count];
        self.acknowledged.read_exact(&mut numbers).expect("the process puts");
        decode(&numbers)
    }

    /// Kills it; gives what it had acknowledged besides.
    pub(crate) fn kill(mut self) -> Vec<u64> {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
        let mut numbers = Vec::new();
        // An end in the middle of a number is one that was not told.
        let _ = self.acknowledged.read_to_end(&mut numbers);
        decode(&numbers)
    }
}

fn decode(numbers: &[u8]) -> Vec<u64> {
    numbers.as_chunks().0.iter().map(|number| u64::from_le_bytes(*number)).collect()
}

/// The child's work. Nothing, where there are no orders.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn child() {
    let Ok(orders) = std::env::var(ORDERS) else { return };
    let orders: Vec<_> = orders.split(' ').collect();
    let store = open(orders[0], orders[1]).await;
    let next = Arc::new(AtomicU64::new(orders[2].parse().unwrap()));
    let parent = Arc::new(Mutex::new(TcpStream::connect(orders[3]).unwrap()));
    let work = (0..16).map(|task: u64| {
        let (store, next, parent) = (Arc::clone(&store), Arc::clone(&next), Arc::clone(&parent));
        tokio::spawn(async move {
            loop {
                let first = next.fetch_add(1 + task, Ordering::Relaxed);
                let numbers = first..=first + task;
                let of = |number| tidegate::vault::store::Entry { subjects: vec![subject(number)], ..entry(number) };
                let batch: Vec<_> = numbers.clone().map(of).collect();
                let told: Vec<u8> = match store.put_if_absent(&batch).await {
                    Ok(_) => numbers.flat_map(u64::to_le_bytes).collect(),
                    Err(_) => REFUSED.to_le_bytes().to_vec(),
                };
                if parent.lock().unwrap().write_all(&told).is_err() {
                    return;
                }
            }
        })
    });
    for task in work.collect::<Vec<_>>() {
        task.await.unwrap();
    }
}

async fn open(kind: &str, place: &str) -> Arc<dyn TokenStore> {
    match kind {
        "embedded" => Arc::new(Embedded::open(&crate::embedded::settings(place.as_ref())).unwrap()),
        #[cfg(feature = "postgres")]
        "postgres" => crate::postgres::open(place).await,
        "redis" => crate::redis::open(place).await,
        other => panic!("no such kind: {other}"),
    }
}

/// Kills a process under load again and again, on one store, and looks for all that was ever acknowledged.
async fn killed_under_load(kind: &str, place: &str) {
    let kills = number_of("TIDEGATE_STORE_KILLS", 20);
    let (mut acknowledged, mut first) = (Vec::new(), 0);
    for kill in 0..kills {
        let mut program = Program::start_at(kind, place, first);
        // At a different point of its work each time.
        let count = usize::try_from(1 + (kill * 7919) % 2000).unwrap();
        let mut told = program.acknowledged(count);
        told.extend(program.kill());
        assert!(!told.contains(&REFUSED), "a store that nothing is wrong with refuses nothing");
        // Beyond whatever was on its way.
        first = told.iter().max().unwrap() + 100_000;
        acknowledged.extend(told);
        // All of the newest, and some of all.
        let newest = acknowledged.len().saturating_sub(5000);
        let older = acknowledged[..newest].iter().step_by(31);
        let store = open(kind, place).await;
        found(&store, &older.chain(&acknowledged[newest..]).copied().collect::<Vec<_>>()).await;
    }
    found(&open(kind, place).await, &acknowledged).await;
    println!("{kind}: {kills} kills, {} acknowledged tokens, all found", acknowledged.len());
}

/// That the tokens of these numbers are kept, and their values known.
pub(crate) async fn found(store: &Arc<dyn TokenStore>, numbers: &[u64]) {
    for numbers in numbers.chunks(1000) {
        let tokens: Vec<_> = numbers.iter().map(|number| token(*number, 0)).collect();
        for (number, found) in numbers.iter().zip(store.find(&tokens).await.unwrap()) {
            let found = found.unwrap_or_else(|| panic!("{number} was acknowledged"));
            assert!(found.digest == digest(*number) && found.subjects == [subject(*number)]);
        }
        let again: Vec<_> = numbers.iter().map(|number| rival(*number, 1)).collect();
        assert!(store.put_if_absent(&again).await.unwrap() == tokens);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_embedded_store_whose_process_is_killed_keeps_what_it_acknowledged() {
    let folder = TempDir::new().unwrap();
    killed_under_load("embedded", &folder.path().display().to_string()).await;
}

#[cfg(feature = "postgres")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_is_killed_leaves_in_postgres_what_it_acknowledged() {
    let database = tokio::task::spawn_blocking(crate::postgres::Database::new).await.unwrap();
    killed_under_load("postgres", &database.url()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_is_killed_leaves_in_a_redis_cluster_what_it_acknowledged() {
    let place = tokio::task::spawn_blocking(crate::redis::place_in_cluster).await.unwrap();
    killed_under_load("redis", &place).await;
}
