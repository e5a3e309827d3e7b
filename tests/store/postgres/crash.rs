//! Servers that are killed and restarted under load: what was acknowledged is there, and the store goes on by itself.
//!
//! | variable | means | default |
//! |---|---|---|
//! | `TIDEGATE_POSTGRES_KILLS` | kills of the server | 100 |

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tidegate::vault::store::guard::Guard;
use tidegate::vault::store::postgres::Postgres;
use tidegate::vault::store::{Entry, Forget, TokenStore};
use tokio::task::JoinHandle;

use super::server::Server;
use super::{open, settings};
use crate::entries::{all, entry, number_of, rival, subject, token};
use crate::kill::found;

/// Tasks that put without end, and what came of it.
struct Load {
    /// Those that were acknowledged.
    told: Arc<Mutex<Vec<u64>>>,
    refused: Arc<AtomicU64>,
    over: Arc<AtomicBool>,
    tasks: Vec<JoinHandle<()>>,
}

impl Load {
    fn start(store: &Arc<dyn TokenStore>) -> Self {
        let (told, next) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicU64::new(0)));
        let (refused, over) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let task = |size: u64| {
            let (store, told, next) = (Arc::clone(store), Arc::clone(&told), Arc::clone(&next));
            let (refused, over) = (Arc::clone(&refused), Arc::clone(&over));
            tokio::spawn(async move {
                let mut pause = tokio::time::interval(Duration::from_millis(5));
                while !over.load(Ordering::Relaxed) {
                    let first = next.fetch_add(size, Ordering::Relaxed);
                    let of = |number| Entry { subjects: vec![subject(number)], ..entry(number) };
                    let batch: Vec<_> = (first..first + size).map(of).collect();
                    match store.put_if_absent(&batch).await {
                        Ok(tokens) => {
                            assert!(tokens.iter().zip(&batch).all(|(won, entry)| *won == entry.token));
                            told.lock().unwrap().extend(first..first + size);
                        }
                        Err(error) => {
                            assert!(error.away, "{error}");
                            refused.fetch_add(1, Ordering::Relaxed);
                            // Refused at once while it is away: the server wants the processor to come back.
                            pause.reset();
                            pause.tick().await;
                        }
                    }
                }
            })
        };
        let tasks = (1..=16).map(task).collect();
        Self { told, refused, over, tasks }
    }

    fn count(&self) -> usize {
        self.told.lock().unwrap().len()
    }

    async fn end(self) -> (Vec<u64>, u64) {
        self.over.store(true, Ordering::Relaxed);
        for task in self.tasks {
            task.await.unwrap();
        }
        (std::mem::take(&mut *self.told.lock().unwrap()), self.refused.load(Ordering::Relaxed))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_killed_under_load_keeps_what_it_acknowledged() {
    let server = Arc::new(tokio::task::spawn_blocking(|| Server::start(&[])).await.unwrap());
    let store = open(&server.url("postgres")).await;
    let (load, kills) = (Load::start(&store), number_of("TIDEGATE_POSTGRES_KILLS", 100));
    for kill in 0..kills {
        // At a different point of its work each time; the load goes on meanwhile.
        let count = load.count() + 1 + usize::try_from(kill * 7919 % 200).unwrap();
        assert!(crate::until(async || load.count() >= count).await, "it goes on by itself");
        let server = Arc::clone(&server);
        let restarted = move || {
            server.kill();
            server.begin();
        };
        tokio::task::spawn_blocking(restarted).await.unwrap();
    }
    let (told, refused) = load.end().await;
    assert!(crate::until(async || store.health().await.is_ok()).await);
    found(&store, &told).await;
    println!(
        "postgres: {kills} kills of the server, {} acknowledged tokens, all found; {refused} calls refused",
        told.len()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_restarted_in_order_is_found_again_by_itself() {
    let server = Arc::new(tokio::task::spawn_blocking(|| Server::start(&[])).await.unwrap());
    let postgres = Postgres::open(&settings(&server.url("postgres"))).await.unwrap();
    let store: Arc<dyn TokenStore> =
        Arc::new(Guard::new(Arc::new(postgres), Duration::from_secs(10), Default::default()));
    let load = Load::start(&store);
    for mode in ["fast", "immediate", "fast"] {
        let count = load.count() + 100;
        assert!(crate::until(async || load.count() >= count).await, "it goes on by itself");
        let stopped = Arc::clone(&server);
        tokio::task::spawn_blocking(move || stopped.stop(mode)).await.unwrap();
        // The breaker is open by now, and what is asked is refused at once.
        let breaks = async || {
            let error = store.find(&[token(0, 0)]).await.unwrap_err();
            error.to_string().contains("not asked, because it failed")
        };
        assert!(crate::until(breaks).await);
        let begun = Arc::clone(&server);
        tokio::task::spawn_blocking(move || begun.begin()).await.unwrap();
        // As the program's readiness does.
        assert!(crate::until(async || store.health().await.is_ok()).await);
    }
    let (told, _) = load.end().await;
    found(&store, &told).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_forgotten_while_the_server_restarts_is_told_once_and_whole() {
    let server = Arc::new(tokio::task::spawn_blocking(|| Server::start(&[])).await.unwrap());
    let store = open(&server.url("postgres")).await;
    let entries: Vec<_> = (0..4000).map(entry).collect();
    store.put_if_absent(&entries).await.unwrap();
    let (restarting, steps) = (Arc::clone(&server), Arc::new(AtomicU64::new(0)));
    let done = Arc::clone(&steps);
    let restarts = tokio::task::spawn_blocking(move || {
        let mut seen = 0;
        while seen < 4000 {
            // In the middle of the next step, or close to it.
            while done.load(Ordering::Relaxed) == seen {
                std::thread::yield_now();
            }
            seen = done.load(Ordering::Relaxed);
            restarting.kill();
            restarting.begin();
        }
    });
    let mut gone = HashMap::new();
    let forgets = async || {
        // What is sought only is refused in between; what was on its way to be removed is not.
        let Ok(step) = store.forget(&Forget::IssuedBefore(u64::MAX), 100).await else { return false };
        step.iter().for_each(|one| *gone.entry(one.token).or_insert(0) += 1);
        steps.fetch_add(u64::try_from(step.len()).unwrap(), Ordering::Relaxed);
        step.is_empty()
    };
    assert!(crate::until(forgets).await);
    restarts.await.unwrap();
    assert_eq!((gone.len(), gone.values().copied().max()), (4000, Some(1)));
    assert!(crate::until(async || store.health().await.is_ok()).await);
    assert_eq!(all(&store, 10).await, []);
    assert_eq!(store.put_if_absent(&[rival(1, 1)]).await.unwrap(), [token(1, 1)]);
}
