//! Rows that do not read: each harms its own value, and no other.

use std::sync::Arc;

use tidegate::vault::store::redis::Redis;
use tidegate::vault::store::{Entry, Forget, TokenStore};

use crate::entries::{entry, read, rival, subject, token};
use crate::servers::{Cluster, DURABLE, Server};

use super::settings;

/// A digest that a command line can say.
const BAD: [u8; 32] = [b'a'; 32];

fn of(number: u64) -> Entry {
    let digest = if number == 0 { BAD } else { entry(number).digest };
    Entry { digest, subjects: vec![subject(1)], ends_ms: Some(number), ..entry(number) }
}

/// Writes this in the place of the row of `BAD`.
fn damage(servers: &[Server], row: &str) {
    for server in servers {
        for key in server.say(&["KEYS", "tidegate:*r"]).lines() {
            if server.say(&["HEXISTS", key, "a".repeat(32).as_str()]) == "1" {
                server.ask(&["HSET", key, "a".repeat(32).as_str(), row], "0");
            }
        }
    }
}

async fn harms_its_own_value_alone(servers: &[Server]) {
    let store: Arc<dyn TokenStore> = Arc::new(Redis::open(settings(&[servers[0].port], "tidegate")).await.unwrap());
    let entries: Vec<_> = (0..3).map(of).collect();
    let mut others: Vec<_> = entries[1..].iter().map(Entry::forgotten).collect();
    others.sort_unstable_by_key(|one| one.token);
    let long = format!("\u{1}\u{1}\u{7f}{}", "x".repeat(80));
    for row in ["x", "", "\u{1}\u{3}\u{1}yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy", &long] {
        for (what, leads_to_it) in [
            (Forget::Subject(subject(1)), true),
            (Forget::EndedBefore(u64::MAX), true),
            (Forget::Values(entries.iter().map(|entry| entry.digest).collect()), true),
            (Forget::Tokens(entries.iter().map(|entry| entry.token).collect()), true),
            (Forget::Domain([0; 16], None), false),
            (Forget::IssuedBefore(u64::MAX), false),
        ] {
            store.put_if_absent(&entries).await.unwrap();
            damage(servers, row);
            for tokens in [vec![token(0, 0)], vec![token(1, 0), token(0, 0)]] {
                let error = store.find(&tokens).await.unwrap_err();
                assert!(!error.away && error.to_string().contains("an entry does not read"), "{error}");
            }
            let again = Entry { digest: BAD, subjects: vec![subject(2)], ..rival(0, 1) };
            let error = store.put_if_absent(&[again]).await.unwrap_err();
            assert!(!error.away && error.to_string().contains("an entry does not read"), "{error}");
            assert_eq!(store.put_if_absent(&[entry(1)]).await.unwrap(), [token(1, 0)]);
            assert!(store.find(&[token(1, 0), token(2, 0)]).await.unwrap().iter().all(Option::is_some));
            assert_eq!(read(&store).await, (2, 1), "{what:?}");

            let told = store.seek(&what, 9).await.unwrap();
            assert!(others.iter().all(|one| told.contains(one)), "{what:?}");
            let mut gone = store.forget(&what, 9).await.unwrap();
            gone.sort_unstable_by_key(|one| one.token);
            assert_eq!(gone, others, "{what:?}");
            // In its place there is a new one; where nothing led to it, it has to be named.
            if !leads_to_it {
                assert!(store.find(&[token(0, 0)]).await.is_err());
                assert_eq!(store.forget(&Forget::Values(vec![BAD]), 9).await.unwrap(), []);
            }
            assert_eq!(
                store.put_if_absent(&entries).await.unwrap(),
                entries.iter().map(|one| one.token).collect::<Vec<_>>()
            );
            assert!(store.find(&[token(0, 0)]).await.unwrap()[0].is_some());
            assert_eq!(store.forget(&Forget::IssuedBefore(u64::MAX), 9).await.unwrap().len(), 3);
            // Of the damaged row's own subjects nothing is left that leads anywhere.
            assert_eq!(store.forget(&Forget::Subject(subject(1)), 1).await.unwrap(), []);
        }
    }
}

#[tokio::test]
async fn a_row_that_does_not_read_harms_its_own_value_alone() {
    harms_its_own_value_alone(&[Server::start(DURABLE)]).await;
}

#[tokio::test]
async fn so_it_is_in_a_cluster() {
    harms_its_own_value_alone(&Cluster::start(&[]).nodes).await;
}
