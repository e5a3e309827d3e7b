//! The tasks that serve: each takes what waits, asks the server in one round trip, and tells everyone. Start at [`start_all`].

use std::sync::Arc;

use tokio::sync::{Mutex, mpsc, oneshot};

use super::super::{Entry, TokenId};
use super::Settings;
use super::batch::Won;
use super::connect::Connection;
use super::failure::Failure;
use super::link::Link;

/// Values of one round trip, so that its time is bounded; one call that wants more gets it.
const BATCH_VALUES: usize = 2048;
/// Its sealed bytes.
const BATCH_BYTES: usize = 8 << 20;

/// Where the answer goes. Whether somebody still waits for it does not matter.
type Told<T> = oneshot::Sender<Result<T, Failure>>;

/// What the server is asked for.
pub(super) enum Ask {
    Put(Vec<Entry>, Told<Vec<TokenId>>),
    Find(Vec<TokenId>, Told<Vec<Option<Entry>>>),
    Prove(Told<()>),
}

type Putting = (Vec<Entry>, Told<Vec<TokenId>>);
type Finding = (Vec<TokenId>, Told<Vec<Option<Entry>>>);

/// What goes in one round trip.
#[derive(Default)]
struct Batch {
    puts: Vec<Putting>,
    finds: Vec<Finding>,
    proofs: Vec<Told<()>>,
    values: usize,
    bytes: usize,
}

/// One of the tasks.
struct Worker {
    link: Link,
    waiting: Arc<Mutex<mpsc::Receiver<Ask>>>,
}

/// Starts as many as there are to be connections; they end when nobody can ask any more.
pub(super) fn start_all(first: Link, settings: &Settings, waiting: mpsc::Receiver<Ask>) {
    let waiting = Arc::new(Mutex::new(waiting));
    for _ in 1..settings.connections {
        tokio::spawn(Worker { link: first.another(settings.time), waiting: Arc::clone(&waiting) }.serve());
    }
    tokio::spawn(Worker { link: first, waiting }.serve());
}

impl Worker {
    async fn serve(mut self) {
        while let Some(batch) = self.next().await {
            self.answer(batch).await;
        }
    }

    /// What waits, as far as it goes in one round trip.
    async fn next(&self) -> Option<Batch> {
        let mut waiting = self.waiting.lock().await;
        let mut batch = Batch::default();
        batch.add(waiting.recv().await?);
        while batch.values < BATCH_VALUES && batch.bytes < BATCH_BYTES {
            match waiting.try_recv() {
                Ok(ask) => batch.add(ask),
                Err(_) => break,
            }
        }
        Some(batch)
    }

    async fn answer(&mut self, batch: Batch) {
        let connection = match self.link.take().await {
            Ok(connection) => connection,
            Err(failure) => return batch.refuse(&failure),
        };
        let (put, found, proved) = tokio::join!(
            self.put_all(&connection, batch.puts),
            self.find_all(&connection, batch.finds),
            self.prove(&connection, batch.proofs)
        );
        self.link.give_back(connection, [&put, &found, &proved].into_iter().flatten());
    }

    /// Puts all together; where one of them is at fault, each by itself. What went wrong, at last.
    async fn put_all(&self, connection: &Connection, puts: Vec<Putting>) -> Option<Failure> {
        if puts.is_empty() {
            return None;
        }
        let together = self.link.limited(connection.put(puts.iter().flat_map(|(entries, _)| entries))).await;
        let apart = puts.len() > 1 && together.as_ref().is_err_and(|failure| !failure.is_away());
        let mut failure = together.as_ref().err().cloned();
        for (entries, told) in puts {
            let alone = if apart { Some(self.link.limited(connection.put(entries.iter())).await) } else { None };
            failure = alone.as_ref().and_then(|alone| alone.as_ref().err().cloned()).or(failure);
            let won = alone.as_ref().unwrap_or(&together).as_ref();
            let _ = told.send(won.map_err(Failure::clone).and_then(|won| tokens(&entries, won)));
        }
        failure
    }

    /// As [`Self::put_all`], for what is to be found.
    async fn find_all(&self, connection: &Connection, finds: Vec<Finding>) -> Option<Failure> {
        if finds.is_empty() {
            return None;
        }
        let together = self.link.limited(connection.find(finds.iter().flat_map(|(tokens, _)| tokens))).await;
        let apart = finds.len() > 1 && together.as_ref().is_err_and(|failure| !failure.is_away());
        let mut failure = together.as_ref().err().cloned();
        for (tokens, told) in finds {
            let alone = if apart { Some(self.link.limited(connection.find(tokens.iter())).await) } else { None };
            failure = alone.as_ref().and_then(|alone| alone.as_ref().err().cloned()).or(failure);
            let found = alone.as_ref().unwrap_or(&together).as_ref().map_err(Failure::clone);
            let _ = told.send(found.map(|found| tokens.iter().map(|token| found.get(token).cloned()).collect()));
        }
        failure
    }

    async fn prove(&self, connection: &Connection, proofs: Vec<Told<()>>) -> Option<Failure> {
        if proofs.is_empty() {
            return None;
        }
        let proved = self.link.limited(connection.prove()).await;
        for told in proofs {
            let _ = told.send(proved.clone());
        }
        proved.err()
    }
}

/// What of all that won is of these.
fn tokens(entries: &[Entry], won: &Won) -> Result<Vec<TokenId>, Failure> {
    entries.iter().map(|entry| won.get(&entry.digest).copied()).collect::<Option<_>>().ok_or(Failure::Damaged)
}

impl Batch {
    /// Takes it in, unless nobody waits for it any more.
    fn add(&mut self, ask: Ask) {
        match ask {
            Ask::Put(entries, told) if !told.is_closed() => {
                self.values += entries.len();
                self.bytes += entries.iter().map(|entry| entry.sealed.len()).sum::<usize>();
                self.puts.push((entries, told));
            }
            Ask::Find(tokens, told) if !told.is_closed() => {
                self.values += tokens.len();
                self.finds.push((tokens, told));
            }
            Ask::Prove(told) => self.proofs.push(told),
            Ask::Put(..) | Ask::Find(..) => {}
        }
    }

    fn refuse(self, failure: &Failure) {
        self.puts.into_iter().for_each(|(_, told)| drop(told.send(Err(failure.clone()))));
        self.finds.into_iter().for_each(|(_, told)| drop(told.send(Err(failure.clone()))));
        self.proofs.into_iter().for_each(|told| drop(told.send(Err(failure.clone()))));
    }
}
