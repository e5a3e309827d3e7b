//! A primary and its standby: nothing is looked up on the standby, and nothing is given out that the standby lacks.

use std::sync::Arc;
use std::time::Duration;

use tidegate::vault::store::TokenStore;
use tidegate::vault::store::postgres::{Postgres, Settings};

use super::server::Server;
use super::{open, settings};
use crate::entries::{entry, rival, subject, token};
use crate::kill::found;

/// A primary whose every commit the standby has to confirm; and a URL of both, the standby first.
struct Pair {
    primary: Server,
    standby: Server,
}

impl Pair {
    fn start() -> Self {
        let primary = Server::start(&[]);
        let standby = Server::standby_of(&primary);
        primary.sql("postgres", "ALTER SYSTEM SET synchronous_standby_names = '*'");
        primary.sql("postgres", "SELECT pg_reload_conf()");
        Self { primary, standby }
    }

    fn url(&self) -> String {
        let folder = |server: &Server| server.path().display().to_string().replace('/', "%2F");
        format!("postgres://tidegate@{},{}/postgres", folder(&self.standby), folder(&self.primary))
    }
}

async fn pair() -> Pair {
    tokio::task::spawn_blocking(Pair::start).await.unwrap()
}

/// With a subject that is the number's, as those who look for acknowledged ones expect.
fn persons(numbers: std::ops::Range<u64>) -> Vec<tidegate::vault::store::Entry> {
    let of = |number| tidegate::vault::store::Entry { subjects: vec![subject(number)], ..entry(number) };
    numbers.map(of).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_standby_is_never_asked_and_goes_on_when_it_is_promoted() {
    let pair = pair().await;
    let alone = Postgres::open(&settings(&pair.standby.url("postgres"))).await.unwrap_err().to_string();
    assert!(alone.contains("it is a standby; name the primary"), "{alone}");
    let store = open(&pair.url()).await;
    // What it gets from now on it keeps, and does not show.
    pair.standby.sql("postgres", "SELECT pg_wal_replay_pause()");
    for numbers in (0..100).map(|round| 20 * round..20 * round + 20) {
        let entries = persons(numbers);
        let tokens = store.put_if_absent(&entries).await.unwrap();
        let fresh = store.find(&tokens).await.unwrap();
        assert!(fresh.iter().all(Option::is_some), "a fresh token is found at once");
    }
    let shown = "SELECT count(*) FROM pg_class WHERE relname = 'vault_tokens'";
    assert!(
        pair.standby.sql("postgres", shown) == "0"
            || pair.standby.sql("postgres", "SELECT count(*) FROM vault_tokens") == "0"
    );

    pair.primary.kill();
    let error = store.find(&[token(0, 0)]).await.unwrap_err();
    assert!(error.away, "{error}");
    pair.standby.sql("postgres", "SELECT pg_wal_replay_resume()");
    pair.standby.promote();
    // The new primary has no standby of its own yet.
    crate::until(async || store.health().await.is_ok()).await;
    found(&store, &(0..2000).collect::<Vec<_>>()).await;
    let entries = persons(2000..2100);
    store.put_if_absent(&entries).await.unwrap();
    found(&store, &(2000..2100).collect::<Vec<_>>()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_that_no_standby_has_is_given_to_nobody() {
    let pair = pair().await;
    let short = Settings { time: Duration::from_millis(500), ..settings(&pair.url()) };
    let store: Arc<dyn TokenStore> = Arc::new(Postgres::open(&short).await.unwrap());
    store.put_if_absent(&persons(0..10)).await.unwrap();
    pair.standby.stop("fast");

    // Its wait is cut off by an operator: it is committed on the primary, and the server warns.
    let patient = open(&pair.url()).await;
    let waiting = tokio::spawn(async move { patient.put_if_absent(&persons(20..21)).await });
    let waits = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep' AND application_name = 'tidegate'";
    let on_primary = |statements: &str| pair.primary.sql("postgres", statements);
    assert!(crate::until(async || on_primary(waits) == "1").await);
    on_primary("SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'");
    let error = waiting.await.unwrap().unwrap_err();
    assert!(error.away && error.to_string().contains("what it acknowledged may not last"), "{error}");
    let seen = "SELECT count(*) FROM vault_tokens WHERE issued_ms = 20";
    assert_eq!(on_primary(seen), "1", "whoever looks sees it");

    // It is known now, and still nobody gets it; nor what was given up for being too slow.
    for number in [20, 21, 21] {
        let error = store.put_if_absent(&[rival(number, 1)]).await.unwrap_err();
        assert!(error.away && error.to_string().contains("no answer within"), "{error}");
    }
    assert!(store.health().await.is_err());
    // Nobody is left waiting there for an answer that nobody wants.
    assert!(crate::until(async || on_primary(waits) == "0").await);

    pair.standby.begin();
    assert!(crate::until(async || store.health().await.is_ok()).await);
    assert_eq!(store.put_if_absent(&[rival(20, 2)]).await.unwrap(), [token(20, 0)]);
    // Refused, and not lost: what was committed in the end is what the value has.
    assert_eq!(store.put_if_absent(&[rival(21, 2)]).await.unwrap(), [token(21, 1)]);
}
