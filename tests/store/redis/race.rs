//! Two processes that want tokens for the same values agree on them.

use std::io::{BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};

use tidegate::vault::store::TokenStore;
use tidegate::vault::store::redis::Redis;

use crate::entries::{number_of, rival, token};

use super::{CLUSTER, new_prefix, settings};
use crate::servers::{DURABLE, Server};

/// What a racer is to do: ports, prefix, its own number, the address of its parent.
const ORDERS: &str = "TIDEGATE_STORE_RACER";
/// Values that are raced for at once.
const BATCH: u64 = 100;

struct Racer {
    process: Child,
    line: BufReader<TcpStream>,
}

impl Racer {
    fn start(ports: &[u16], prefix: &str, number: u64) -> Self {
        let parent = TcpListener::bind("127.0.0.1:0").unwrap();
        let ports: Vec<_> = ports.iter().map(u16::to_string).collect();
        let orders = format!("{} {prefix} {number} {}", ports.join(","), parent.local_addr().unwrap());
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "redis::race::racer", "--nocapture"]).env(ORDERS, orders);
        let process = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn().unwrap();
        Self { process, line: BufReader::new(parent.accept().unwrap().0) }
    }

    fn begin(&mut self, first: u64) {
        self.line.get_mut().write_all(&first.to_le_bytes()).unwrap();
    }

    fn tokens(&mut self) -> Vec<[u8; 16]> {
        let mut tokens = vec![[0; 16]; BATCH as usize];
        self.line.read_exact(tokens.as_flattened_mut()).expect("it races on");
        tokens
    }
}

impl Drop for Racer {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The racer's work. Nothing, where there are no orders.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn racer() {
    let Ok(orders) = std::env::var(ORDERS) else { return };
    let orders: Vec<_> = orders.split(' ').collect();
    let ports: Vec<u16> = orders[0].split(',').map(|port| port.parse().unwrap()).collect();
    let store = Redis::open(settings(&ports, orders[1])).await.unwrap();
    let number = orders[2].parse().unwrap();
    let mut parent = TcpStream::connect(orders[3]).unwrap();
    let mut first = [0; 8];
    while parent.read_exact(&mut first).is_ok() {
        let first = u64::from_le_bytes(first);
        let mut entries: Vec<_> = (first..first + BATCH).map(|value| rival(value, number)).collect();
        // In different order, so that each is first somewhere.
        if number == 1 {
            entries.reverse();
        }
        let mut tokens = store.put_if_absent(&entries).await.unwrap();
        if number == 1 {
            tokens.reverse();
        }
        parent.write_all(tokens.as_flattened()).unwrap();
    }
}

fn race(ports: &[u16], name: &str) {
    let prefix = new_prefix();
    let races = number_of("TIDEGATE_STORE_RACES", 4000);
    let mut racers = [0, 1].map(|number| Racer::start(ports, &prefix, number));
    let (mut won, mut first) = ([0, 0], 0);
    while first < races {
        racers.iter_mut().for_each(|racer| racer.begin(first));
        let [one, other] = racers.each_mut().map(Racer::tokens);
        assert_eq!(one, other, "values from {first}");
        for (value, found) in (first..).zip(one) {
            let winner = [0, 1].into_iter().find(|number| token(value, *number) == found).expect("one of the two");
            won[usize::try_from(winner).unwrap()] += 1;
        }
        first += BATCH;
    }
    println!("{name}: {first} races of two processes: {} won by one, {} by the other", won[0], won[1]);
    assert!(won.iter().all(|won| *won > 0), "both were in the race");
}

#[test]
fn two_processes_agree_on_a_server() {
    let server = Server::start(DURABLE);
    race(&[server.port], "a server by itself");
}

#[test]
fn two_processes_agree_on_a_cluster() {
    let ports: Vec<_> = CLUSTER.nodes.iter().map(|node| node.port).collect();
    race(&ports, "a cluster");
}
