//! What would lose tokens is refused, when the store is opened and while it runs, and told so that it can be mended.

use std::time::Duration;

use rustix::process::Signal;
use tempfile::TempDir;
use tidegate::secret::Secret;
use tidegate::vault::store::password::Password;
use tidegate::vault::store::redis::Redis;
use tidegate::vault::store::redis::settings::{Durability, Settings};
use tidegate::vault::store::{Forget, TokenStore};

use crate::entries::{entry, rival, subject, token};
use crate::servers::{Cluster, DURABLE, Server};

use super::settings;

const TIME: Duration = Duration::from_secs(2);

fn brief(ports: &[u16]) -> Settings {
    Settings { time: TIME, ..settings(ports, "tidegate") }
}

async fn refused(settings: Settings, parts: &[&str]) {
    let port = settings.nodes[0].port;
    let error = Redis::open(settings).await.unwrap_err().to_string();
    assert!(parts.iter().all(|part| error.contains(part)), "{error}");
    assert!(error.contains(&format!("`127.0.0.1:{port}`")), "{error}");
}

#[tokio::test]
async fn a_server_that_would_lose_tokens_is_refused_when_the_store_is_opened() {
    let check = async |options: &[&str], parts: &[&str]| {
        let server = Server::start(&[DURABLE, options].concat());
        refused(brief(&[server.port]), parts).await;
    };
    check(&["--appendonly", "no"], &["keeps no log", "`appendonly yes`"]).await;
    // Files that are written now and then are no log.
    check(&["--appendonly", "no", "--save", "1 1"], &["keeps no log"]).await;
    check(&["--appendfsync", "everysec"], &["`appendfsync everysec`", "set `appendfsync always`"]).await;
    check(&["--appendfsync", "no"], &["`appendfsync no`"]).await;
    check(&["--no-appendfsync-on-rewrite", "yes"], &["`no-appendfsync-on-rewrite yes`"]).await;
    check(&["--maxmemory-policy", "allkeys-lru"], &["`maxmemory-policy allkeys-lru`", "noeviction"]).await;
    let server = Server::start_with(&[DURABLE, &["--requirepass", "secret"]].concat(), &["-a", "secret"]);
    refused(brief(&[server.port]), &["`vault.redis.password`", "NOAUTH"]).await;
}

#[tokio::test]
async fn replicas_are_refused_and_a_primary_with_them_until_somebody_has_decided() {
    let primary = Server::start(DURABLE);
    let port = primary.port.to_string();
    let replica = Server::start(&[DURABLE, &["--replicaof", "127.0.0.1", &port]].concat());
    replica.wait_for(&["INFO", "replication"], "master_link_status:up");
    refused(brief(&[replica.port]), &["it is a replica: name its primary"]).await;
    refused(brief(&[primary.port]), &["it has 1 replicas", "`vault.redis.replicas`"]).await;
    refused(Settings { replicas: Some(2), ..brief(&[primary.port]) }, &["it has 1 replicas", "demands 2"]).await;
    for replicas in [0, 1] {
        // The replica stands first, and is passed over.
        let settings = Settings { replicas: Some(replicas), ..brief(&[replica.port, primary.port]) };
        let store = Redis::open(settings).await.unwrap();
        store.put_if_absent(&[rival(1, u64::from(replicas))]).await.unwrap();
    }
}

#[tokio::test]
async fn a_replica_that_must_have_a_token_and_has_not_is_a_refusal() {
    let primary = Server::start(DURABLE);
    let port = primary.port.to_string();
    let replica = Server::start(&[DURABLE, &["--replicaof", "127.0.0.1", &port]].concat());
    replica.wait_for(&["INFO", "replication"], "master_link_status:up");
    let settings = Settings { replicas: Some(1), ..brief(&[primary.port]) };
    let store = Redis::open(settings).await.unwrap();
    store.put_if_absent(&[entry(1)]).await.unwrap();
    assert_eq!(replica.say(&["DBSIZE"]), primary.say(&["DBSIZE"]), "it has it when the token is given");
    replica.signal(Signal::STOP);
    let error = store.put_if_absent(&[entry(2)]).await.unwrap_err();
    assert!(error.away && error.to_string().contains("0 replicas have what was written, and 1 must"), "{error}");
    // A known value may have been written a moment ago by somebody else.
    assert!(store.put_if_absent(&[entry(1)]).await.is_err());
    replica.signal(Signal::CONT);
    primary.wait_for(&["WAIT", "1", "100"], "1");
    assert_eq!(store.put_if_absent(&[entry(2)]).await.unwrap(), [token(2, 0)]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_replica_could_not_confirm_is_not_begun_to_be_forgotten() {
    let primary = Server::start(DURABLE);
    let port = primary.port.to_string();
    let replica = Server::start(&[DURABLE, &["--replicaof", "127.0.0.1", &port]].concat());
    replica.wait_for(&["INFO", "replication"], "master_link_status:up");
    let settings =
        |replicas| Settings { replicas: Some(replicas), time: Duration::from_millis(500), ..brief(&[primary.port]) };
    let store = std::sync::Arc::new(Redis::open(settings(1)).await.unwrap());
    let other = Redis::open(settings(0)).await.unwrap();
    store.put_if_absent(&[entry(1)]).await.unwrap();
    let what = Forget::Values(vec![crate::entries::digest(1)]);
    let asked = std::sync::Arc::clone(&store);
    replica.signal(Signal::STOP);
    let forgetting = tokio::spawn(async move { asked.forget(&what, 9).await });
    // Sought first, which the replica has to confirm as well.
    assert!(forgetting.await.unwrap().is_err());
    assert!(other.find(&[token(1, 0)]).await.unwrap()[0].is_some(), "what cannot be confirmed is not begun");
    replica.signal(Signal::CONT);
    primary.wait_for(&["WAIT", "1", "100"], "1");
    let what = Forget::Values(vec![crate::entries::digest(1)]);
    assert_eq!(store.forget(&what, 9).await.unwrap(), [entry(1).forgotten()]);
}

#[tokio::test]
async fn a_node_of_a_cluster_that_would_lose_tokens_is_refused() {
    let cluster = Cluster::start(&[]);
    cluster.nodes[2].ask(&["CONFIG", "SET", "appendfsync", "everysec"], "OK");
    let error = Redis::open(brief(&[cluster.nodes[0].port])).await.unwrap_err().to_string();
    assert!(error.contains(&format!("`127.0.0.1:{}`: it syncs its log after", cluster.nodes[2].port)), "{error}");
}

#[tokio::test]
async fn a_server_that_is_changed_while_it_is_in_use_is_refused_until_it_is_changed_back() {
    let server = Server::start(DURABLE);
    let store = Redis::open(brief(&[server.port])).await.unwrap();
    for (setting, bad, good) in
        [("appendfsync", "everysec", "always"), ("maxmemory-policy", "allkeys-lfu", "noeviction")]
    {
        store.put_if_absent(&[entry(1)]).await.unwrap();
        server.ask(&["CONFIG", "SET", setting, bad], "OK");
        let began = std::time::Instant::now();
        let error = loop {
            match store.put_if_absent(&[entry(2)]).await {
                Ok(_) => assert!(began.elapsed() < Duration::from_secs(5), "noticed within a second or so"),
                Err(error) => break error.to_string(),
            }
        };
        assert!(error.contains(bad), "{error}");
        assert!(store.health().await.unwrap_err().to_string().contains(bad));
        server.ask(&["CONFIG", "SET", setting, good], "OK");
        // A server that was refused is not asked again at once.
        while store.health().await.is_err() {
            assert!(began.elapsed() < Duration::from_secs(10));
        }
    }
}

#[tokio::test]
async fn a_server_that_comes_back_with_worse_settings_is_refused() {
    let mut server = Server::start(DURABLE);
    let store = Redis::open(brief(&[server.port])).await.unwrap();
    store.put_if_absent(&[entry(1)]).await.unwrap();
    server.kill();
    server.revive_with(&["--appendfsync", "everysec"]);
    let error = store.put_if_absent(&[entry(2)]).await.unwrap_err().to_string();
    assert!(error.contains("`appendfsync everysec`"), "{error}");
    server.kill();
    server.revive_with(&["--appendfsync", "always"]);
    while store.health().await.is_err() {}
    assert!(store.find(&[token(1, 0)]).await.unwrap()[0].is_some());
}

/// The rules of docs/operations.md, and nothing beyond them.
fn rules() -> Vec<String> {
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/operations.md")).unwrap();
    let rules = page.split("ACL SETUSER tidegate on >PASSWORD").nth(1).expect("the rules are in docs/operations.md");
    rules.lines().next().unwrap().split_whitespace().map(str::to_owned).collect()
}

#[tokio::test]
async fn a_user_with_the_rules_of_the_manual_is_enough_and_a_wrong_password_is_told() {
    let server = Server::start(DURABLE);
    let rules = rules();
    let mut command = vec!["ACL", "SETUSER", "tidegate", "on", ">open sesame"];
    command.extend(rules.iter().map(String::as_str));
    server.ask(&command, "OK");
    server.ask(&["ACL", "SETUSER", "default", "off"], "OK");
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("password");
    let write = |text: &str| {
        std::fs::write(&file, text).unwrap();
        std::fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    };
    write("open sesame\n");
    let with =
        |password| Settings { login: Some("tidegate".to_owned()), password: Some(password), ..brief(&[server.port]) };
    let here = |text: &str| Password::Here(Secret::new(text.to_owned()));
    refused(with(here("wrong")), &["WRONGPASS", "`vault.redis.password`"]).await;
    assert!(!format!("{:?}", with(here("open sesame"))).contains("sesame"));
    let store = Redis::open(with(Password::File(file.clone()))).await.unwrap();
    let mixed: Vec<_> = (0..9)
        .map(|number| tidegate::vault::store::Entry { subjects: vec![subject(1)], ends_ms: Some(5), ..entry(number) })
        .collect();
    store.put_if_absent(&mixed).await.unwrap();
    store.find(&[token(1, 0)]).await.unwrap();
    store.visit(None, 5).await.unwrap();
    store.health().await.unwrap();
    for what in [
        Forget::Tokens(vec![token(1, 0)]),
        Forget::Subject(subject(9)),
        Forget::EndedBefore(1),
        Forget::IssuedBefore(1),
        Forget::Domain([0; 16], None),
    ] {
        store.forget(&what, 9).await.unwrap();
    }
}

#[tokio::test]
async fn a_server_that_hides_its_configuration_is_refused_unless_somebody_vouches_for_it() {
    let server = Server::start(&[DURABLE, &["--rename-command", "CONFIG", ""]].concat());
    refused(brief(&[server.port]), &["`CONFIG GET *appendfsync*`", "`vault.redis.durability = \"assured\"`"]).await;
    let assured = Settings { durability: Durability::Assured, ..brief(&[server.port]) };
    Redis::open(assured).await.unwrap().put_if_absent(&[entry(1)]).await.unwrap();
    let unlogged = Server::start(&[DURABLE, &["--rename-command", "CONFIG", "", "--appendonly", "no"]].concat());
    refused(Settings { durability: Durability::Assured, ..brief(&[unlogged.port]) }, &["keeps no log"]).await;
}

#[tokio::test]
async fn waiting_for_the_log_needs_a_server_that_knows_it() {
    let server = Server::start(&[DURABLE, &["--appendfsync", "everysec"]].concat());
    let waited = Settings { durability: Durability::Waited, ..brief(&[server.port]) };
    if server.say(&["COMMAND", "INFO", "WAITAOF"]).contains("waitaof") {
        let store = Redis::open(waited).await.unwrap();
        assert_eq!(store.put_if_absent(&[entry(1)]).await.unwrap(), [token(1, 0)]);
    } else {
        refused(waited, &["does not know WAITAOF"]).await;
    }
}

#[tokio::test]
async fn what_is_no_such_server_is_told() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let serve = std::thread::spawn(move || {
        use std::io::{Read, Write};
        for stream in listener.incoming().take(1) {
            let mut stream = stream.unwrap();
            let _ = stream.read(&mut [0; 10]);
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n");
        }
    });
    let settings = Settings { time: Duration::from_millis(300), ..brief(&[port]) };
    refused(settings, &[]).await;
    serve.join().unwrap();
    let closed = Settings { time: Duration::from_millis(300), ..brief(&[port]) };
    refused(closed, &["connection refused"]).await;
}
