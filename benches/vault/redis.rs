//! The store on Redis or Valkey, on servers that are started for it and reached over loopback: one, or a cluster of three.

#[path = "../../tests/store/servers.rs"]
#[allow(dead_code, reason = "the tests use all of it")]
mod servers;

use std::sync::Arc;
use std::time::Duration;

use tidegate::vault::store::TokenStore;
use tidegate::vault::store::redis::Redis;
use tidegate::vault::store::redis::settings::{Address, Durability, Settings};

use super::{Act, BATCH, Plan, fill, load, rate};
use servers::{Cluster, DURABLE, Server};

async fn open(server: &Server) -> Arc<dyn TokenStore> {
    let settings = Settings {
        nodes: vec![Address { host: "127.0.0.1".to_owned(), port: server.port }],
        tls: None,
        login: None,
        password: None,
        prefix: "tidegate".to_owned(),
        durability: Durability::Always,
        replicas: None,
        time: Duration::from_secs(20),
        patience: Duration::ZERO,
        memo: None,
    };
    Arc::new(Redis::open(settings).await.unwrap())
}

/// A number out of what `INFO` says, of all of them.
fn sum(servers: &[Server], field: &str) -> f64 {
    let of = |server: &Server| {
        let info = server.say(&["INFO", "everything"]);
        let line = info.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':').map(str::to_owned));
        line.unwrap().trim().parse::<f64>().unwrap()
    };
    servers.iter().map(of).sum()
}

pub(super) async fn bench(plan: Plan, cluster: bool) {
    let servers = if cluster { Cluster::start(&[]).nodes } else { vec![Server::start(DURABLE)] };
    println!("Redis, {} of them: {} tokens", servers.len(), plan.tokens);
    let store = open(&servers[0]).await;
    let empty = sum(&servers, "used_memory");
    let took = fill(&store, 0, plan.tokens).await;
    println!(
        "filled {} a second in batches of {BATCH}; {:.0} bytes a token in memory, {:.0} in the log",
        rate(plan.tokens, took),
        (sum(&servers, "used_memory") - empty) / plan.tokens as f64,
        sum(&servers, "aof_current_size") / plan.tokens as f64
    );
    println!("\n| what | a second | p50 ms | p99 ms | p99.9 ms | CPU µs each |\n|---|---|---|---|---|---|");
    let spread: fn(u64, u64) -> u64 = |n, of| n.wrapping_mul(0x9e37_79b9_7f4a_7c15) % of;
    load("token found", &store, plan.time, Act::Find, spread, plan.tokens).await;
    load("known value", &store, plan.time, Act::Put, spread, plan.tokens).await;
    let before = sum(&servers, "used_cpu_user") + sum(&servers, "used_cpu_sys");
    load("new value", &store, plan.time, Act::Put, |n, of| of + n, u64::MAX / 8).await;
    let cpu = sum(&servers, "used_cpu_user") + sum(&servers, "used_cpu_sys") - before;
    println!("\nthe servers, over the time of the last line: {cpu:.1} s of processor in {:?}", plan.time);
}
