//! Servers that come back without what they kept: nothing new is given out in its place.

use std::time::Duration;

use tempfile::TempDir;
use tidegate::vault::store::TokenStore;
use tidegate::vault::store::memo::Memo;
use tidegate::vault::store::redis::Redis;
use tidegate::vault::store::redis::settings::Settings;

use crate::entries::{entry, rival, token};
use crate::servers::{Cluster, DURABLE, Server};

use super::settings;

const LOST: &str = "it does not have the mark of this vault any more";

fn brief(port: u16) -> Settings {
    Settings { time: Duration::from_millis(500), ..settings(&[port], "tidegate") }
}

fn remembered(port: u16, folder: &TempDir) -> Settings {
    Settings { memo: Some(Memo::new(folder.path())), ..brief(port) }
}

async fn refuses(store: &Redis, part: &str) {
    let errors = [
        store.put_if_absent(&[rival(1, 1)]).await.map(drop),
        store.find(&[token(1, 0)]).await.map(drop),
        store.health().await,
    ];
    for error in errors.map(Result::unwrap_err) {
        assert!(error.away && error.to_string().contains(part), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_comes_back_empty_is_refused_until_it_has_its_files_again() {
    let (mut server, folder) = (Server::start(DURABLE), TempDir::new().unwrap());
    let store = Redis::open(remembered(server.port, &folder)).await.unwrap();
    store.put_if_absent(&[entry(1)]).await.unwrap();
    server.kill();
    let kept = server.lose();
    server.revive();
    refuses(&store, LOST).await;
    // By a program that starts now as well, as far as it remembers; not by one that knows nothing.
    let error = Redis::open(remembered(server.port, &folder)).await.unwrap_err().to_string();
    assert!(error.contains(LOST) && error.contains("docs/operations.md"), "{error}");
    server.kill();
    server.bring_back(kept);
    server.revive();
    while store.health().await.is_err() {}
    assert_eq!(store.put_if_absent(&[rival(1, 1)]).await.unwrap(), [token(1, 0)]);
    assert!(Redis::open(remembered(server.port, &folder)).await.is_ok());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_emptied_in_the_middle_is_noticed_within_a_second_or_so() {
    let (server, folder) = (Server::start(DURABLE), TempDir::new().unwrap());
    let store = Redis::open(remembered(server.port, &folder)).await.unwrap();
    store.put_if_absent(&[entry(1)]).await.unwrap();
    server.ask(&["FLUSHALL"], "OK");
    let began = std::time::Instant::now();
    while store.health().await.is_ok() {
        assert!(began.elapsed() < Duration::from_secs(5));
    }
    refuses(&store, LOST).await;
    // Another vault in its place is no better.
    Redis::open(brief(server.port)).await.unwrap();
    while !store.health().await.unwrap_err().to_string().contains("the mark of another vault") {
        assert!(began.elapsed() < Duration::from_secs(10));
    }
    let error = Redis::open(remembered(server.port, &folder)).await.unwrap_err().to_string();
    assert!(error.contains("the mark of another vault"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_of_a_cluster_that_comes_back_empty_is_refused_by_all() {
    let cluster = Cluster::start(&[]);
    let ports: Vec<_> = cluster.nodes.iter().map(|node| node.port).collect();
    let open = || Redis::open(Settings { time: Duration::from_secs(2), ..settings(&ports, "tidegate") });
    let store = open().await.unwrap();
    let many: Vec<_> = (0..50).map(entry).collect();
    store.put_if_absent(&many).await.unwrap();
    for node in &cluster.nodes {
        let kept = node.say(&["DBSIZE"]);
        assert!(kept.parse::<u32>().unwrap() > 300, "each has its share of the marks: {kept}");
    }
    cluster.nodes[1].ask(&["FLUSHALL"], "OK");
    let began = std::time::Instant::now();
    while store.health().await.is_ok() {
        assert!(began.elapsed() < Duration::from_secs(5));
    }
    let error = open().await.unwrap_err().to_string();
    assert!(error.contains(LOST), "{error}");
    // As docs/operations.md has it: what is left goes on.
    let first = "tidegate:{3560}m";
    let mark = cluster.nodes.iter().map(|node| node.say(&["GET", first])).find(|mark| mark.starts_with("1 ")).unwrap();
    for node in &cluster.nodes {
        node.say(&["SET", first, &format!("{mark} making")]);
    }
    let store = open().await.unwrap();
    let found = store.find(&many.iter().map(|entry| entry.token).collect::<Vec<_>>()).await.unwrap();
    assert!(found.iter().any(Option::is_some));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn programs_that_start_together_agree_on_a_mark_and_one_that_was_cut_off_is_finished() {
    let server = Server::start(DURABLE);
    for round in 0..5 {
        let prefix = format!("p{round}");
        let opening: Vec<_> = (0..8).map(|_| tokio::spawn(Redis::open(settings(&[server.port], &prefix)))).collect();
        for opened in opening {
            let store = opened.await.unwrap().unwrap();
            store.put_if_absent(&[entry(1)]).await.unwrap();
        }
    }
    // Cut off after the first.
    let key = |name: &str| format!("cut:{{{name}}}m");
    server.ask(&["SET", &key("3560"), "1 0123456789abcdef making"], "OK");
    Redis::open(settings(&[server.port], "cut")).await.unwrap();
    assert_eq!(server.say(&["GET", &key("3560")]), "1 0123456789abcdef");
    server.ask(&["SET", &key("3560"), "2 0123456789abcdef"], "OK");
    let error = Redis::open(settings(&[server.port], "cut")).await.unwrap_err().to_string();
    assert!(error.contains("a newer program made it"), "{error}");
}

#[tokio::test]
async fn a_sentinel_is_told_from_a_server() {
    let primary = Server::start(DURABLE);
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("sentinel.conf");
    std::fs::write(&file, format!("sentinel monitor vault 127.0.0.1 {} 1\n", primary.port)).unwrap();
    let sentinel = Server::start_from(&file, &["--sentinel"]);
    let error = Redis::open(brief(sentinel.port)).await.unwrap_err().to_string();
    assert!(error.contains("it is a Sentinel") && error.contains("`vault.redis.url`"), "{error}");
}
