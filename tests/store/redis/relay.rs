//! Connections that break at the n-th answer, for every n up to 200: calls fail or are done again, and what they leave behind agrees.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use tidegate::vault::store::redis::Redis;
use tidegate::vault::store::redis::settings::Settings;
use tidegate::vault::store::{Entry, Forget, TokenStore};

use crate::entries::{all, digest, entry, number_of, rival, subject, token};
use crate::servers::{DURABLE, Server};

use super::{new_prefix, settings};

/// Stands between us and a server. Passes on until the count is at zero; then breaks one connection, with the answer that it has just
/// read thrown away: what was asked has been done.
struct Relay {
    port: u16,
    left: Arc<AtomicI64>,
}

impl Relay {
    fn start(server: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let left = Arc::new(AtomicI64::new(i64::MAX));
        let counter = Arc::clone(&left);
        std::thread::spawn(move || {
            for near in listener.incoming() {
                let (Ok(near), Ok(far)) = (near, TcpStream::connect(("127.0.0.1", server))) else { return };
                let (mut near_too, mut far_too) = (near.try_clone().unwrap(), far.try_clone().unwrap());
                std::thread::spawn(move || {
                    let _ = std::io::copy(&mut near_too, &mut far_too);
                    let _ = far_too.shutdown(Shutdown::Both);
                });
                let left = Arc::clone(&counter);
                std::thread::spawn(move || pass_on(far, near, &left));
            }
        });
        Self { port, left }
    }

    fn break_at(&self, count: i64) {
        self.left.store(count, Ordering::SeqCst);
    }
}

fn pass_on(mut far: TcpStream, mut near: TcpStream, left: &AtomicI64) {
    let mut buffer = vec![0; 1 << 16];
    while let Ok(count @ 1..) = far.read(&mut buffer) {
        if left.fetch_sub(1, Ordering::SeqCst) == 1 || near.write_all(&buffer[..count]).is_err() {
            break;
        }
    }
    let _ = near.shutdown(Shutdown::Both);
    let _ = far.shutdown(Shutdown::Both);
}

fn of(number: u64) -> Entry {
    Entry { subjects: vec![subject(number % 3)], ends_ms: Some(number), ..entry(number) }
}

/// Some of each call; gives the numbers that were acknowledged and those that are certain to be forgotten.
async fn work(store: &Arc<dyn TokenStore>) -> (Vec<u64>, Vec<u64>) {
    let (mut kept, mut gone) = (Vec::new(), Vec::new());
    for first in (0..12).step_by(3) {
        let numbers = first..first + 3;
        if store.put_if_absent(&numbers.clone().map(of).collect::<Vec<_>>()).await.is_ok() {
            kept.extend(numbers);
        }
    }
    let _ = store.find(&[token(1, 0), token(99, 0)]).await;
    let _ = store.visit(None, 3).await;
    for what in [Forget::Subject(subject(1)), Forget::EndedBefore(3)] {
        // Whatever came of it: what was meant is gone, or may be.
        let meant = |number: &u64| match what {
            Forget::Subject(_) => number % 3 == 1,
            _ => *number < 3,
        };
        let done = matches!(store.forget(&what, 100).await, Ok(gone) if gone.len() < 100);
        if done {
            gone.extend((0..12).filter(meant));
        }
        kept.retain(|number| !meant(number));
    }
    (kept, gone)
}

async fn breaks_at(ports: &[u16], relays: &[Relay], count: i64, time: Duration) {
    let prefix = new_prefix();
    let near: Vec<_> = relays.iter().map(|relay| relay.port).collect();
    let store: Arc<dyn TokenStore> =
        Arc::new(Redis::open(Settings { time, ..settings(&near, &prefix) }).await.unwrap());
    relays.iter().for_each(|relay| relay.break_at(count));
    let (kept, gone) = work(&store).await;
    relays.iter().for_each(|relay| relay.break_at(i64::MAX));
    let fresh: Arc<dyn TokenStore> = Arc::new(Redis::open(settings(ports, &prefix)).await.unwrap());
    for number in kept {
        assert_eq!(fresh.find(&[token(number, 0)]).await.unwrap(), [Some(of(number))], "at {count}: {number}");
    }
    for number in gone {
        assert_eq!(fresh.find(&[token(number, 0)]).await.unwrap(), [None], "at {count}: {number}");
    }
    // Whatever is there, a value's token turns back, and a person's are found.
    let won = fresh.put_if_absent(&(0..12).map(|number| rival(number, 1)).collect::<Vec<_>>()).await.unwrap();
    assert!(fresh.find(&won).await.unwrap().iter().all(Option::is_some), "at {count}");
    let entries = all(&fresh, 5).await;
    assert_eq!(entries.len(), 12, "at {count}: no value twice");
    for person in 0..3 {
        let theirs = entries.iter().filter(|entry| entry.subjects.contains(&subject(person))).count();
        assert_eq!(fresh.forget(&Forget::Subject(subject(person)), 100).await.unwrap().len(), theirs, "at {count}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_breaks_at_any_answer_leaves_what_agrees() {
    let server = Server::start(DURABLE);
    let relays = [Relay::start(server.port)];
    for count in 1..=i64::try_from(number_of("TIDEGATE_STORE_BREAKS", 40)).unwrap() {
        // With time for another try, and without.
        let time = if count % 2 == 0 { Duration::from_secs(20) } else { Duration::from_millis(400) };
        breaks_at(&[server.port], &relays, count, time).await;
    }
}

/// Everything that leads to the three values of the next test.
fn all_ways() -> [Forget; 6] {
    [
        Forget::Values((0..3).map(digest).collect()),
        Forget::Tokens((0..3).map(|number| token(number, 0)).collect()),
        Forget::Subject(subject(1)),
        Forget::EndedBefore(u64::MAX),
        Forget::Domain([0; 16], None),
        Forget::IssuedBefore(u64::MAX),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_forgotten_is_told_though_an_answer_is_lost() {
    let server = Server::start(DURABLE);
    let relay = Relay::start(server.port);
    let store = Redis::open(settings(&[relay.port], "tidegate")).await.unwrap();
    let entries: Vec<_> =
        (0..3).map(|number| Entry { subjects: vec![subject(1)], ends_ms: Some(number), ..entry(number) }).collect();
    let mut expected: Vec<_> = entries.iter().map(Entry::forgotten).collect();
    expected.sort_unstable_by_key(|one| one.token);
    for what in all_ways() {
        let mut broken = true;
        let mut count = 0;
        // Until all answers came.
        while broken {
            count += 1;
            store.put_if_absent(&entries).await.unwrap();
            relay.break_at(count);
            let mut told = store.forget(&what, 10).await.unwrap();
            broken = relay.left.load(Ordering::SeqCst) <= 0;
            relay.break_at(i64::MAX);
            told.sort_unstable_by_key(|one| one.token);
            assert_eq!(told, expected, "{what:?}, at {count}");
        }
        assert!(count > 2, "{what:?}: one of them was the answer to the removal");
    }
}
