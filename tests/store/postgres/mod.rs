//! The store in PostgreSQL: the contract, on real servers that these tests start.

mod crash;
mod damaged;
mod failover;
mod lost;
mod refusals;
pub(crate) mod server;

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use tidegate::vault::store::TokenStore;
use tidegate::vault::store::postgres::address::Address;
use tidegate::vault::store::postgres::{Postgres, Settings, Tls};

use crate::conformance::Place;
use server::Server;

/// How the store of a URL is opened.
pub(crate) fn settings(url: &str) -> Settings {
    Settings {
        address: Address::parse(url).unwrap(),
        password: None,
        tls: Tls::Off,
        connections: 4,
        connect: Duration::from_secs(5),
        time: Duration::from_secs(20),
        patience: Duration::ZERO,
        memo: None,
    }
}

pub(crate) async fn open(url: &str) -> Arc<dyn TokenStore> {
    Arc::new(Postgres::open(&settings(url)).await.unwrap())
}

/// One server for all tests that run at the same time.
static SERVER: Mutex<Weak<Server>> = Mutex::new(Weak::new());
static DATABASES: AtomicU32 = AtomicU32::new(0);

/// A database of its own on the common server.
pub(crate) struct Database {
    pub(crate) server: Arc<Server>,
    pub(crate) name: String,
}

impl Database {
    pub(crate) fn new() -> Self {
        let server = {
            let mut server = SERVER.lock().unwrap_or_else(PoisonError::into_inner);
            server.upgrade().unwrap_or_else(|| {
                let started = Arc::new(Server::start(&[]));
                *server = Arc::downgrade(&started);
                started
            })
        };
        let name = format!("d{}", DATABASES.fetch_add(1, Ordering::Relaxed));
        server.sql("postgres", &format!("CREATE DATABASE {name}"));
        Self { server, name }
    }

    pub(crate) fn url(&self) -> String {
        self.server.url(&self.name)
    }
}

impl Place for Database {
    async fn new() -> Self {
        tokio::task::spawn_blocking(Self::new).await.unwrap()
    }

    async fn open(&self) -> Arc<dyn TokenStore> {
        open(&self.url()).await
    }

    async fn restart(&self) {}
}

conformance!(Database, always);

/// On a server that is killed where others are restarted.
mod killed {
    use super::*;

    struct Killed(Server);

    impl Place for Killed {
        async fn new() -> Self {
            Self(tokio::task::spawn_blocking(|| Server::start(&[])).await.unwrap())
        }

        async fn open(&self) -> Arc<dyn TokenStore> {
            open(&self.0.url("postgres")).await
        }

        async fn restart(&self) {
            self.0.kill();
            self.0.begin();
        }
    }

    conformance!(Killed, lasting);
}
