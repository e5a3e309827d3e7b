//! The store on Redis: the contract, on a server by itself and on a cluster of three.

mod damaged;
mod faults;
mod load;
mod lost;
mod moves;
mod planted;
mod race;
mod refused;
mod relay;
mod secure;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

use tidegate::vault::store::TokenStore;
use tidegate::vault::store::redis::Redis;
use tidegate::vault::store::redis::settings::{Address, Durability, Settings};

use crate::conformance::Place;
use crate::servers::{Cluster, DURABLE, Server};

/// A store on what listens at these ports.
pub(crate) fn settings(ports: &[u16], prefix: &str) -> Settings {
    Settings {
        nodes: ports.iter().map(|port| Address { host: "127.0.0.1".to_owned(), port: *port }).collect(),
        tls: None,
        login: None,
        password: None,
        prefix: prefix.to_owned(),
        durability: if std::env::var_os("TIDEGATE_STORE_WAITED").is_some() {
            Durability::Waited
        } else {
            Durability::Always
        },
        replicas: None,
        time: Duration::from_secs(20),
        patience: Duration::ZERO,
        memo: None,
    }
}

/// For a store of its own on servers that are shared.
pub(crate) fn new_prefix() -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    format!("test{}", NEXT.fetch_add(1, Ordering::Relaxed))
}

/// Opens the store at `PORT/PREFIX`.
pub(crate) async fn open(place: &str) -> Arc<dyn TokenStore> {
    let (port, prefix) = place.split_once('/').unwrap();
    Arc::new(Redis::open(settings(&[port.parse().unwrap()], prefix)).await.unwrap())
}

/// A store of its own on the cluster that is shared.
pub(crate) fn place_in_cluster() -> String {
    format!("{}/{}", CLUSTER.nodes[0].port, new_prefix())
}

pub(crate) struct Single {
    server: Mutex<Server>,
}

impl Place for Single {
    async fn new() -> Self {
        Self { server: Mutex::new(Server::start(DURABLE)) }
    }

    async fn open(&self) -> Arc<dyn TokenStore> {
        let port = self.server.lock().unwrap().port;
        Arc::new(Redis::open(settings(&[port], "tidegate")).await.unwrap())
    }

    async fn restart(&self) {
        let mut server = self.server.lock().unwrap();
        server.kill();
        server.revive();
    }
}

mod single {
    use super::*;
    conformance!(Single, always, lasting);
}

/// It takes a while to agree, so most tests share one.
static CLUSTER: LazyLock<Cluster> = LazyLock::new(|| Cluster::start(&[]));

struct Shared {
    prefix: String,
}

impl Place for Shared {
    async fn new() -> Self {
        Self { prefix: new_prefix() }
    }

    async fn open(&self) -> Arc<dyn TokenStore> {
        let ports = tokio::task::spawn_blocking(|| CLUSTER.nodes.iter().map(|node| node.port).collect::<Vec<_>>());
        Arc::new(Redis::open(settings(&ports.await.unwrap(), &self.prefix)).await.unwrap())
    }

    async fn restart(&self) {}
}

mod cluster {
    use super::*;
    conformance!(Shared, always);
}

/// A cluster whose nodes can be restarted.
pub(crate) struct Own(Mutex<Cluster>);

impl Place for Own {
    async fn new() -> Self {
        Self(Mutex::new(Cluster::start(&[])))
    }

    async fn open(&self) -> Arc<dyn TokenStore> {
        let port = self.0.lock().unwrap().nodes[0].port;
        Arc::new(Redis::open(settings(&[port], "tidegate")).await.unwrap())
    }

    async fn restart(&self) {
        let mut cluster = self.0.lock().unwrap();
        cluster.nodes.iter_mut().for_each(Server::kill);
        cluster.nodes.iter_mut().for_each(Server::revive);
        cluster.wait();
    }
}

mod cluster_that_restarts {
    use super::*;
    conformance!(Own, lasting);
}
