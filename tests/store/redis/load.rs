//! Puts under load while something happens to the servers.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use tidegate::vault::store::{Entry, TokenStore};
use tokio::task::JoinHandle;

use crate::entries::{entry, subject, token};
use crate::kill::found;

const TASKS: u64 = 8;

/// Puts that go on until they are told to stop.
pub(crate) struct Load {
    shared: Arc<Shared>,
    tasks: Vec<JoinHandle<()>>,
}

struct Shared {
    store: Arc<dyn TokenStore>,
    next: AtomicU64,
    acknowledged: Mutex<Vec<u64>>,
    refused: Mutex<Vec<String>>,
    stop: AtomicBool,
}

impl Load {
    pub(crate) fn start(store: &Arc<dyn TokenStore>) -> Self {
        let shared = Arc::new(Shared {
            store: Arc::clone(store),
            next: AtomicU64::new(0),
            acknowledged: Mutex::default(),
            refused: Mutex::default(),
            stop: AtomicBool::new(false),
        });
        let tasks = (1..=TASKS).map(|width| tokio::spawn(Arc::clone(&shared).put(width))).collect();
        Self { shared, tasks }
    }

    /// Waits until so many more were acknowledged.
    pub(crate) async fn acknowledge(&self, more: usize) {
        let acknowledged = || self.shared.acknowledged.lock().unwrap().len();
        let goal = acknowledged() + more;
        while acknowledged() < goal {
            tokio::task::yield_now().await;
        }
    }

    /// How many were refused until now.
    pub(crate) fn refused(&self) -> usize {
        self.shared.refused.lock().unwrap().len()
    }

    /// Stops, and looks for all that was acknowledged; gives how many that were, and what was said of the others.
    pub(crate) async fn check(self) -> (usize, Vec<String>) {
        self.shared.stop.store(true, Ordering::SeqCst);
        for task in self.tasks {
            task.await.unwrap();
        }
        let acknowledged = std::mem::take(&mut *self.shared.acknowledged.lock().unwrap());
        found(&self.shared.store, &acknowledged).await;
        (acknowledged.len(), std::mem::take(&mut *self.shared.refused.lock().unwrap()))
    }
}

impl Shared {
    async fn put(self: Arc<Self>, width: u64) {
        while !self.stop.load(Ordering::SeqCst) {
            let first = self.next.fetch_add(width, Ordering::SeqCst);
            let numbers = first..first + width;
            let batch: Vec<_> =
                numbers.clone().map(|number| Entry { subjects: vec![subject(number)], ..entry(number) }).collect();
            match self.store.put_if_absent(&batch).await {
                Ok(tokens) => {
                    assert!(tokens.iter().zip(numbers.clone()).all(|(found, number)| *found == token(number, 0)));
                    self.acknowledged.lock().unwrap().extend(numbers);
                }
                Err(error) => {
                    self.refused.lock().unwrap().push(error.to_string());
                    // Whoever was refused comes again a moment later.
                    tokio::task::yield_now().await;
                }
            }
        }
    }
}
