//! The same failures over a store in PostgreSQL, on a server that is started for it.

#[path = "../../../../tests/store/postgres/server.rs"]
mod server;

use tokio::runtime::Runtime;

use super::failing::a_store_that_fails;
use super::*;
use crate::vault::store::postgres::address::Address;
use crate::vault::store::postgres::{Postgres, Settings, Tls};
use server::Server;

/// A store that lives in a runtime of its own, whoever asks.
#[derive(Debug)]
struct Apart {
    store: Postgres,
    runtime: Arc<Runtime>,
}

impl Apart {
    fn of(server: &Server, database: &str, runtime: &Arc<Runtime>) -> Arc<dyn TokenStore> {
        server.sql("postgres", &format!("CREATE DATABASE {database}"));
        let settings = Settings {
            address: Address::parse(&server.url(database)).unwrap(),
            password: None,
            tls: Tls::Off,
            connections: 1,
            connect: Duration::from_secs(10),
            time: Duration::from_secs(20),
            patience: Duration::ZERO,
            memo: None,
        };
        let store = runtime.block_on(Postgres::open(&settings)).unwrap();
        Arc::new(Self { store, runtime: Arc::clone(runtime) })
    }

    fn ask<'a, T: Send + 'static>(
        &self,
        ask: impl Future<Output = Result<T, StoreError>> + Send + 'static,
    ) -> Answer<'a, T> {
        let asked = self.runtime.spawn(ask);
        Box::pin(async { asked.await.unwrap() })
    }
}

impl TokenStore for Apart {
    fn put_if_absent<'a>(&'a self, entries: &'a [Entry]) -> Answer<'a, Vec<TokenId>> {
        let (store, entries) = (self.store.clone(), entries.to_vec());
        self.ask(async move { store.put_if_absent(&entries).await })
    }
    fn find<'a>(&'a self, tokens: &'a [TokenId]) -> Answer<'a, Vec<Option<Entry>>> {
        let (store, tokens) = (self.store.clone(), tokens.to_vec());
        self.ask(async move { store.find(&tokens).await })
    }
    fn seek<'a>(&'a self, what: &'a Forget, most: usize) -> Answer<'a, Vec<Forgotten>> {
        let (store, what) = (self.store.clone(), what.clone());
        self.ask(async move { store.seek(&what, most).await })
    }
    fn forget<'a>(&'a self, what: &'a Forget, most: usize) -> Answer<'a, Vec<Forgotten>> {
        let (store, what) = (self.store.clone(), what.clone());
        self.ask(async move { store.forget(&what, most).await })
    }
    fn visit(&self, after: Option<TokenId>, count: usize) -> Answer<'_, Page> {
        let store = self.store.clone();
        self.ask(async move { store.visit(after, count).await })
    }
    fn health(&self) -> Answer<'_, ()> {
        let store = self.store.clone();
        self.ask(async move { store.health().await })
    }
}

#[test]
fn over_postgres_nothing_leaves_either_that_cannot_be_turned_back() {
    let server = Server::start(&[]);
    let runtime = Arc::new(tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap());
    let lines: String = (0..220).map(|n| format!("{{\"n\":{n},\"a\":\"secret {n}\"}}\n")).collect();
    // Each has a database of its own, so that they wait for the disk together.
    std::thread::scope(|scope| {
        for part in 0..8 {
            let store = Apart::of(&server, &format!("part{part}"), &runtime);
            let lines = &lines;
            scope.spawn(move || {
                let watched = Watched { kept: store, lies: part % 2 == 1, ..Watched::default() };
                let house = house_within(&json_routes("ndjson"), watched, Duration::from_secs(20));
                (1..=200).filter(|at| at % 8 == part).for_each(|at| a_store_that_fails(&house, "ndjson", lines, at));
            });
        }
    });
}
