//! The store in PostgreSQL, on a server that is started for it and reached over loopback.

#[path = "../../tests/store/postgres/server.rs"]
mod server;

use std::sync::Arc;
use std::time::Duration;

use tidegate::vault::store::TokenStore;
use tidegate::vault::store::postgres::address::Address;
use tidegate::vault::store::postgres::{Postgres, Settings, Tls};

use super::{Act, BATCH, Plan, fill, load, rate, sync_time};
use server::{Server, free_port};

/// As many as the settings' default.
const CONNECTIONS: usize = 2;

async fn open(server: &Server, port: u16) -> Arc<dyn TokenStore> {
    let connections = std::env::var("TIDEGATE_BENCH_CONNECTIONS").map_or(CONNECTIONS, |text| text.parse().unwrap());
    let settings = Settings {
        address: Address::parse(&format!("postgres://tidegate@127.0.0.1:{port}/postgres")).unwrap(),
        password: None,
        tls: Tls::Off,
        connections,
        connect: Duration::from_secs(10),
        time: Duration::from_secs(20),
        patience: Duration::ZERO,
        memo: None,
    };
    Arc::new(Postgres::open(&settings).await.unwrap_or_else(|error| panic!("{error}\n{}", server.log())))
}

/// What the server's processes have been on a processor that are there now; in steps of 10 ms.
fn server_time(server: &Server) -> Duration {
    let ticks = |stat: String| {
        let fields: Vec<u64> =
            stat.rsplit(')').next().unwrap().split_whitespace().map(|word| word.parse().unwrap_or(0)).collect();
        (fields[1] == u64::from(server.id())).then(|| fields[11] + fields[12])
    };
    let stats = std::fs::read_dir("/proc")
        .unwrap()
        .flatten()
        .filter_map(|entry| std::fs::read_to_string(entry.path().join("stat")).ok());
    Duration::from_millis(10 * stats.filter_map(ticks).sum::<u64>())
}

pub(super) async fn bench(plan: Plan) {
    let port = free_port();
    let server = Server::start(&[
        "listen_addresses=localhost",
        &format!("port={port}"),
        "shared_buffers=512MB",
        "max_wal_size=4GB",
    ]);
    println!("PostgreSQL: {} tokens; a sync of 16 KiB beside: {:?}", plan.tokens, sync_time(server.path()));
    let store = open(&server, port).await;
    let size = || server.sql("postgres", "SELECT pg_database_size('postgres')").parse::<u64>().unwrap();
    let empty = size();
    let took = fill(&store, 0, plan.tokens).await;
    let bytes = (size() - empty) / plan.tokens;
    println!(
        "filled {} a second in batches of {BATCH}; {bytes} bytes a token on the disk, WAL beside",
        rate(plan.tokens, took)
    );
    println!("\n| what | a second | p50 ms | p99 ms | p99.9 ms | CPU µs each |\n|---|---|---|---|---|---|");
    let spread: fn(u64, u64) -> u64 = |n, of| n.wrapping_mul(0x9e37_79b9_7f4a_7c15) % of;
    load("token found", &store, plan.time, Act::Find, spread, plan.tokens).await;
    load("known value", &store, plan.time, Act::Put, spread, plan.tokens).await;
    let before = server_time(&server);
    load("new value", &store, plan.time, Act::Put, |n, of| of + n, u64::MAX / 8).await;
    println!(
        "\nthe server's processes, over the time of the last line: {:?} of processor in {:?}",
        server_time(&server) - before,
        plan.time
    );
}
