//! Servers that die, hang, fill up or hand over under load: what was acknowledged is found, and nothing waits beyond its time.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use tidegate::vault::store::TokenStore;
use tidegate::vault::store::guard::Guard;
use tidegate::vault::store::redis::Redis;
use tidegate::vault::store::redis::settings::Settings;

use crate::entries::{all, entry, number_of, token};
use crate::servers::{DURABLE, Server};

use super::load::Load;
use super::settings;

async fn open(settings: Settings) -> Arc<dyn TokenStore> {
    Arc::new(Redis::open(settings).await.unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_killed_under_load_keeps_what_it_acknowledged() {
    let kills = number_of("TIDEGATE_STORE_KILLS", 20);
    let mut server = Server::start(DURABLE);
    let time = Duration::from_millis(250);
    let store = open(Settings { time, ..settings(&[server.port], "tidegate") }).await;
    let load = Load::start(&store);
    for kill in 0..kills {
        // At a different point of its work each time.
        load.acknowledge(usize::try_from(1 + (kill * 7919) % 500).unwrap()).await;
        server.kill();
        // Some stay down for longer than a call may take.
        while kill % 5 == 0 && load.refused() == 0 {
            tokio::task::yield_now().await;
        }
        server.revive();
    }
    load.acknowledge(100).await;
    let (acknowledged, refused) = load.check().await;
    println!("{kills} kills of the server, {acknowledged} acknowledged tokens, all found; {} refused", refused.len());
    let expected = [
        "connection refused",
        "no answer within",
        "broke off",
        "closed the connection",
        "it is starting",
        "reset by peer",
        "broken pipe",
    ];
    let told = |error: &String| expected.iter().any(|part| error.contains(part));
    assert!(refused.iter().all(told), "{:?}", refused.iter().find(|error| !told(error)));
    // Two rows of one value, or two values of one token, would be seen here.
    let entries = all(&store, 1000).await;
    assert!(entries.len() >= acknowledged);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_restarts_in_time_costs_nothing_but_time() {
    let mut server = Server::start(DURABLE);
    let store = open(settings(&[server.port], "tidegate")).await;
    let load = Load::start(&store);
    for _ in 0..5 {
        load.acknowledge(200).await;
        server.kill();
        server.revive();
    }
    let (_, refused) = load.check().await;
    assert_eq!(refused, [""; 0], "each call had time for another try");
}

#[tokio::test]
async fn a_server_that_hangs_is_given_up_in_time_and_found_again() {
    let server = Server::start(DURABLE);
    let time = Duration::from_millis(300);
    let store = open(Settings { time, ..settings(&[server.port], "tidegate") }).await;
    let guard = Guard::new(Arc::clone(&store), time, Default::default());
    guard.put_if_absent(&[entry(1)]).await.unwrap();
    server.signal(Signal::STOP);
    let began = Instant::now();
    for _ in 0..5 {
        let error = guard.put_if_absent(&[entry(2)]).await.unwrap_err();
        assert!(error.away, "{error}");
    }
    assert!(guard.find(&[token(1, 0)]).await.unwrap_err().to_string().contains("not asked"));
    assert!(began.elapsed() < 10 * time, "{:?}", began.elapsed());
    server.signal(Signal::CONT);
    while guard.health().await.is_err() {
        assert!(began.elapsed() < Duration::from_secs(20));
    }
    assert_eq!(guard.put_if_absent(&[entry(2)]).await.unwrap(), [token(2, 0)]);
    assert!(guard.find(&[token(1, 0)]).await.unwrap()[0].is_some());
}

#[tokio::test]
async fn a_server_that_is_full_or_may_not_write_refuses_what_is_new() {
    let server = Server::start(DURABLE);
    let store = open(settings(&[server.port], "tidegate")).await;
    store.put_if_absent(&[entry(1)]).await.unwrap();
    let check = async |setting: &str, bad: &str, good: &str, part: &str| {
        server.ask(&["CONFIG", "SET", setting, bad], "OK");
        let error = store.put_if_absent(&[entry(2)]).await.unwrap_err();
        assert!(error.away && error.to_string().contains(part), "{error}");
        assert!(store.health().await.unwrap_err().to_string().contains(part));
        server.ask(&["CONFIG", "SET", setting, good], "OK");
        assert_eq!(store.find(&[token(2, 0)]).await.unwrap(), [None], "nothing of it was kept");
    };
    check("maxmemory", "1", "0", "it is full").await;
    check("min-replicas-to-write", "1", "0", "min-replicas-to-write").await;
    assert_eq!(store.put_if_absent(&[entry(1), entry(2)]).await.unwrap(), [token(1, 0), token(2, 0)]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_takes_over_has_what_was_acknowledged() {
    let mut first = Server::start(DURABLE);
    let of_first = ["--replicaof", "127.0.0.1", &first.port.to_string()].map(str::to_owned);
    let second = Server::start(&[DURABLE, &of_first.each_ref().map(String::as_str)].concat());
    second.wait_for(&["INFO", "replication"], "master_link_status:up");
    let replicas = Some(1);
    let store = open(Settings { replicas, ..settings(&[first.port, second.port], "tidegate") }).await;
    let load = Load::start(&store);
    load.acknowledge(500).await;
    first.kill();
    second.ask(&["REPLICAOF", "NO", "ONE"], "OK");
    // It needs a replica of its own, since one is demanded.
    first.revive_with(&["--replicaof", "127.0.0.1", &second.port.to_string()]);
    load.acknowledge(500).await;
    let (acknowledged, refused) = load.check().await;
    println!("{acknowledged} acknowledged tokens, all found; {} refused", refused.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_primary_that_becomes_a_replica_is_left_at_once() {
    let first = Server::start(DURABLE);
    let of_first = ["--replicaof", "127.0.0.1", &first.port.to_string()].map(str::to_owned);
    let second = Server::start(&[DURABLE, &of_first.each_ref().map(String::as_str)].concat());
    second.wait_for(&["INFO", "replication"], "master_link_status:up");
    let replicas = Some(0);
    let store = open(Settings { replicas, ..settings(&[first.port, second.port], "tidegate") }).await;
    store.put_if_absent(&[entry(1)]).await.unwrap();
    second.wait_for(&["DBSIZE"], &first.say(&["DBSIZE"]));
    second.ask(&["REPLICAOF", "NO", "ONE"], "OK");
    // Without a word to those who are connected.
    first.ask(&["REPLICAOF", "127.0.0.1", &second.port.to_string()], "OK");
    let other = open(Settings { replicas, ..settings(&[second.port], "tidegate") }).await;
    other.forget(&tidegate::vault::store::Forget::Tokens(vec![token(1, 0)]), 1).await.unwrap();
    assert_eq!(store.find(&[token(1, 0)]).await.unwrap(), [None], "not from what has become a replica");
    assert_eq!(store.put_if_absent(&[entry(2)]).await.unwrap(), [token(2, 0)]);
    assert!(other.find(&[token(2, 0)]).await.unwrap()[0].is_some());
}
