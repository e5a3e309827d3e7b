//! Slots that move, and primaries that hand over, in a cluster under load.

use std::sync::Arc;

use tidegate::vault::store::TokenStore;
use tidegate::vault::store::redis::Redis;
use tidegate::vault::store::redis::settings::Settings;

use crate::servers::{Cluster, Server};

use super::load::Load;
use super::settings;

/// Moves a slot, key by key, as `redis-cli --cluster reshard` does.
fn move_slot(cluster: &Cluster, slot: u16, from: &Server, to: &Server) {
    let (slot, port) = (slot.to_string(), to.port.to_string());
    let (from_name, to_name) = (from.say(&["CLUSTER", "MYID"]), to.say(&["CLUSTER", "MYID"]));
    to.ask(&["CLUSTER", "SETSLOT", &slot, "IMPORTING", &from_name], "OK");
    from.ask(&["CLUSTER", "SETSLOT", &slot, "MIGRATING", &to_name], "OK");
    loop {
        let keys = from.say(&["CLUSTER", "GETKEYSINSLOT", &slot, "1"]);
        if keys.is_empty() {
            break;
        }
        from.ask(&["MIGRATE", "127.0.0.1", &port, &keys, "0", "5000"], "OK");
    }
    for node in [to, from].into_iter().chain(&cluster.nodes) {
        node.ask(&["CLUSTER", "SETSLOT", &slot, "NODE", &to_name], "OK");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slots_that_move_under_load_lose_nothing() {
    let cluster = Cluster::start(&[]);
    let store: Arc<dyn TokenStore> =
        Arc::new(Redis::open(settings(&[cluster.nodes[1].port], "tidegate")).await.unwrap());
    let load = Load::start(&store);
    load.acknowledge(2000).await;
    // Buckets of rows are in multiples of 16, of pointers in multiples of 4.
    for slot in (0..40).step_by(4) {
        move_slot(&cluster, slot, &cluster.nodes[0], &cluster.nodes[2]);
        load.acknowledge(20).await;
    }
    for slot in (0..40).step_by(8) {
        move_slot(&cluster, slot, &cluster.nodes[2], &cluster.nodes[1]);
    }
    load.acknowledge(500).await;
    let (acknowledged, refused) = load.check().await;
    println!("15 slots moved, {acknowledged} acknowledged tokens, all found");
    assert_eq!(refused, [""; 0], "each was sent on");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_primary_that_hands_over_under_load_loses_nothing() {
    let mut cluster = Cluster::start(&[]);
    let replica = cluster.add_replica();
    let replicas = Some(0);
    let settings = Settings { replicas, ..settings(&[cluster.nodes[1].port], "tidegate") };
    let store: Arc<dyn TokenStore> = Arc::new(Redis::open(settings).await.unwrap());
    let load = Load::start(&store);
    load.acknowledge(1000).await;
    replica.ask(&["CLUSTER", "FAILOVER"], "OK");
    replica.wait_for(&["ROLE"], "master");
    load.acknowledge(1000).await;
    cluster.nodes[0].kill();
    load.acknowledge(1000).await;
    let (_, refused) = load.check().await;
    assert_eq!(refused, [""; 0], "each was sent on");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_is_killed_under_load_keeps_what_it_acknowledged() {
    let mut cluster = Cluster::start(&[]);
    let store: Arc<dyn TokenStore> =
        Arc::new(Redis::open(settings(&[cluster.nodes[1].port], "tidegate")).await.unwrap());
    let load = Load::start(&store);
    for node in [0, 1, 2, 0, 1] {
        load.acknowledge(300).await;
        cluster.nodes[node].kill();
        cluster.nodes[node].revive();
    }
    load.acknowledge(300).await;
    let (acknowledged, refused) = load.check().await;
    println!("5 kills of nodes, {acknowledged} acknowledged tokens, all found; {} refused", refused.len());
}
