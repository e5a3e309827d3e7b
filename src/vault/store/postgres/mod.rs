//! A store in PostgreSQL, shared by any number of processes.
//!
//! Calls that wait are gathered by a few workers, each with a connection of its own, and put into one statement: one round trip for
//! any number of values and any number of exchanges. A server that would not keep what it acknowledges is refused, at each new
//! connection, as is one that takes no writes. Nothing is cached, since others may forget at any time.
//!
//! What became of a call whose connection was lost is not known, and its answer is an error: a token is given out only after
//! the commit that made it durable was acknowledged. Not here: time limits of a call and the breaker ([`super::guard`]).
//! Start at [`Postgres::open`].

pub mod address;
mod batch;
mod connect;
mod erase;
mod failure;
mod fit;
mod link;
mod mark;
mod rows;
mod sql;
mod tls;
mod tries;
mod worker;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, mpsc, oneshot};

use super::memo::Memo;
use super::password::Password;
use super::{Answer, Entry, Forget, Forgotten, Page, StoreError, TokenId, TokenStore, check_sizes};
use address::Address;
use failure::Failure;
use link::Link;
use worker::Ask;

/// Calls that wait for a worker; the next ones wait for a place.
const QUEUE: usize = 1024;
/// Operators' calls go through much: so many times the limit of others, as with the guard.
const LONG: u32 = 60;

/// Which server, and how.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Hosts, user and database.
    pub address: Address,
    /// The user's password, if it has one.
    pub password: Option<Password>,
    /// How the way there is protected.
    pub tls: Tls,
    /// Connections at once, for all but operators' calls, which have another one.
    pub connections: usize,
    /// Longest time until a host is connected to.
    pub connect: Duration,
    /// Longest time for a statement.
    pub time: Duration,
    /// How long to wait at the start for a server that cannot be reached.
    pub patience: Duration,
    /// Where it is remembered which store this is; `None`: nowhere.
    pub memo: Option<Memo>,
}

/// How the way to the server is protected.
#[derive(Clone, Debug)]
pub enum Tls {
    /// Not at all.
    Off,
    /// The server's certificate has to be its host's, and to come from an authority that we believe.
    Verified {
        /// PEM of the authorities; `None`: the system's.
        ca: Option<PathBuf>,
        /// Certificate and key that we show.
        identity: Option<(PathBuf, PathBuf)>,
    },
}

/// Why the store cannot be opened.
#[derive(Debug, thiserror::Error)]
#[error("the vault's PostgreSQL: {0}")]
pub struct OpenError(Failure);

/// A store that is open. Clones share its connections, which end with the last of them.
#[derive(Clone)]
pub struct Postgres {
    asks: mpsc::Sender<Ask>,
    /// For operators' calls.
    aside: Arc<Mutex<Link>>,
}

impl Postgres {
    /// Connects once, makes the tables if there are none, and looks whether the server keeps what it acknowledges.
    ///
    /// # Errors
    /// It cannot be reached, or would not keep it.
    pub async fn open(settings: &Settings) -> Result<Self, OpenError> {
        let settings = Arc::new(settings.clone());
        let mut first = Link::new(Arc::clone(&settings));
        first.wait_for(settings.patience).await.map_err(OpenError)?;
        let aside = first.another(settings.time.saturating_mul(LONG));
        let (asks, waiting) = mpsc::channel(QUEUE);
        worker::start_all(first, &settings, waiting);
        Ok(Self { asks, aside: Arc::new(Mutex::new(aside)) })
    }

    /// Asks the workers, and waits for their answer.
    async fn ask<T>(&self, ask: impl FnOnce(oneshot::Sender<Result<T, Failure>>) -> Ask) -> Result<T, Failure> {
        let (told, answer) = oneshot::channel();
        self.asks.send(ask(told)).await.map_err(|_| Failure::Ended)?;
        answer.await.unwrap_or(Err(Failure::Ended))
    }
}

impl TokenStore for Postgres {
    fn put_if_absent<'a>(&'a self, entries: &'a [Entry]) -> Answer<'a, Vec<TokenId>> {
        Box::pin(async {
            check_sizes(entries)?;
            if entries.is_empty() {
                return Ok(Vec::new());
            }
            self.ask(|told| Ask::Put(entries.to_vec(), told)).await.map_err(|failure| failure.of("put_if_absent"))
        })
    }

    fn find<'a>(&'a self, tokens: &'a [TokenId]) -> Answer<'a, Vec<Option<Entry>>> {
        Box::pin(async {
            if tokens.is_empty() {
                return Ok(Vec::new());
            }
            self.ask(|told| Ask::Find(tokens.to_vec(), told)).await.map_err(|failure| failure.of("find"))
        })
    }

    fn seek<'a>(&'a self, what: &'a Forget, most: usize) -> Answer<'a, Vec<Forgotten>> {
        Box::pin(async move {
            let mut link = self.aside.lock().await;
            erase::seek(&mut link, what, most).await.map_err(|failure| failure.of("seek"))
        })
    }

    fn forget<'a>(&'a self, what: &'a Forget, most: usize) -> Answer<'a, Vec<Forgotten>> {
        Box::pin(async move {
            let mut link = self.aside.lock().await;
            erase::forget(&mut link, what, most).await.map_err(|failure| failure.of("forget"))
        })
    }

    fn visit(&self, after: Option<TokenId>, count: usize) -> Answer<'_, Page> {
        Box::pin(async move {
            let mut link = self.aside.lock().await;
            erase::visit(&mut link, after, count).await.map_err(|failure| failure.of("visit"))
        })
    }

    fn health(&self) -> Answer<'_, ()> {
        Box::pin(async { self.ask(Ask::Prove).await.map_err(|failure| failure.of("health")) })
    }
}

impl OpenError {
    /// Whether it may come right by itself: the server is starting, or changing places with its standby.
    #[must_use]
    pub fn is_passing(&self) -> bool {
        self.0.is_passing()
    }
}

impl fmt::Debug for Postgres {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Postgres").finish_non_exhaustive()
    }
}

impl StoreError {
    fn new(act: &'static str, cause: Failure, away: bool) -> Self {
        Self { act, cause: cause.into(), away }
    }
}
