//! Servers that could lose a token, or that are not who they should be: refused, with what mends it.

use std::path::{Path, PathBuf};

use tempfile::TempDir;
use tidegate::secret::Secret;
use tidegate::vault::store::TokenStore;
use tidegate::vault::store::password::Password;
use tidegate::vault::store::postgres::address::Address;
use tidegate::vault::store::postgres::{OpenError, Postgres, Settings, Tls};

use super::server::{Server, free_port, give};
use super::{Database, settings};
use crate::conformance::Place;
use crate::entries::{all, entry, subject, token};
use crate::pki::{OURS, STRANGER};

async fn refusal(settings: &Settings) -> String {
    let error: OpenError = Postgres::open(settings).await.map(drop).expect_err("it is refused");
    error.to_string()
}

async fn refused(url: &str, parts: &[&str]) {
    let error = refusal(&settings(url)).await;
    assert!(parts.iter().all(|part| error.contains(part)), "{error}");
}

#[tokio::test]
async fn a_server_that_may_lose_what_it_acknowledged_is_refused() {
    let database = Database::new();
    let alter = |what: &str| database.server.sql("postgres", &format!("ALTER DATABASE {} {what}", database.name));
    for weak in ["off", "local", "remote_write"] {
        alter(&format!("SET synchronous_commit = {weak}"));
        let found = format!("cannot keep tokens: `synchronous_commit` is `{weak}`; set it to `on`");
        refused(&database.url(), &[&found, ".s.PGSQL.5432"]).await;
    }
    for strong in ["on", "remote_apply"] {
        alter(&format!("SET synchronous_commit = {strong}"));
        Postgres::open(&settings(&database.url())).await.unwrap();
    }
    alter("SET default_transaction_read_only = on");
    refused(&database.url(), &["it takes no writes", "`default_transaction_read_only`"]).await;
    alter("RESET default_transaction_read_only");
    let own = |statements: &str| database.server.sql(&database.name, statements);
    own("ALTER TABLE vault_subjects SET UNLOGGED");
    refused(&database.url(), &["its tables are `UNLOGGED`", "SET LOGGED"]).await;
    own("ALTER TABLE vault_subjects SET LOGGED");
    own("INSERT INTO vault_schema (version) VALUES (99)");
    refused(&database.url(), &["a newer program made them; run that one"]).await;
    own("DELETE FROM vault_schema WHERE version = 99");
    Postgres::open(&settings(&database.url())).await.unwrap();
}

#[tokio::test]
async fn what_was_found_holds_for_the_session_whatever_is_set_afterwards() {
    let server = Server::start(&[]);
    let one = Settings { connections: 1, ..settings(&server.url("postgres")) };
    let store = Postgres::open(&one).await.unwrap();
    store.put_if_absent(&[entry(1)]).await.unwrap();
    let set = |setting: &str| {
        server.sql("postgres", &format!("ALTER SYSTEM SET {setting}"));
        server.sql("postgres", "SELECT pg_reload_conf()");
    };
    set("synchronous_commit = off");
    let session =
        "SELECT string_agg(DISTINCT application_name, ',') FROM pg_stat_activity WHERE application_name = 'tidegate'";
    assert_eq!(server.sql("postgres", session), "tidegate");
    store.health().await.unwrap();
    refused(&server.url("postgres"), &["`synchronous_commit` is `off`"]).await;
    set("synchronous_commit = on");
    // A server that takes no writes any more is left, and looked at anew.
    set("default_transaction_read_only = on");
    let error = loop {
        // The sessions hear of it in their own time.
        if let Err(error) = store.put_if_absent(&[entry(2)]).await {
            break error;
        }
        tokio::task::yield_now().await;
    };
    assert!(error.away && error.to_string().contains("read-only transaction"), "{error}");
    let error = store.put_if_absent(&[entry(3)]).await.unwrap_err();
    assert!(error.to_string().contains("it takes no writes"), "{error}");
    set("default_transaction_read_only = off");
    crate::until(async || store.put_if_absent(&[entry(3)]).await.is_ok()).await;
    drop(store);
    let server = Server::start(&["fsync=off"]);
    refused(&server.url("postgres"), &["`fsync` is `off`", "may destroy all of it"]).await;
    server.stop("fast");
    server.set("fsync=on");
    server.set("full_page_writes=off");
    server.begin();
    Postgres::open(&settings(&server.url("postgres"))).await.unwrap();
}

#[tokio::test]
async fn a_role_needs_no_more_than_the_documentation_grants() {
    let database = Database::new();
    let url = database.url().replace("tidegate@", "everyday_of_one@");
    let own = |statements: &str| database.server.sql(&database.name, statements);
    own("CREATE ROLE everyday_of_one LOGIN");
    refused(&url, &["permission denied for schema public (42501)", "docs/operations.md"]).await;
    Postgres::open(&settings(&database.url())).await.unwrap();
    refused(&url, &["permission denied for table vault_schema (42501)"]).await;
    let text = include_str!("../../../docs/operations.md");
    let grants: Vec<_> = text.lines().filter(|line| line.starts_with("GRANT ")).collect();
    assert_eq!(grants.len(), 3);
    own(&grants.join(" ").replace("everyday", "everyday_of_one"));
    let store: std::sync::Arc<dyn TokenStore> = super::open(&url).await;
    let person = tidegate::vault::store::Entry { subjects: vec![subject(1)], ..entry(1) };
    store.put_if_absent(&[person]).await.unwrap();
    store.health().await.unwrap();
    assert_eq!(all(&store, 5).await.len(), 1);
    let forget = tidegate::vault::store::Forget::Subject(subject(1));
    assert_eq!(store.forget(&forget, 5).await.unwrap().len(), 1);
}

#[tokio::test]
async fn what_is_not_there_is_said_with_its_name() {
    let database = Database::new();
    refused(&database.server.url("nowhere"), &["\"nowhere\" does not exist", "createdb"]).await;
    let role = database.url().replace("tidegate@", "nobody_of_ours@");
    refused(&role, &["role \"nobody_of_ours\" does not exist"]).await;
    let port = free_port();
    let nobody = format!("postgres://t@127.0.0.1:{port}/v");
    let error = refusal(&settings(&nobody)).await;
    assert!(error.contains(&format!("`127.0.0.1:{port}`: error connecting to server")), "{error}");
    // Of several hosts each is named, with what it lacks.
    let both = refusal(&settings(&format!("postgres://t@127.0.0.1:{port},%2Fnowhere/v"))).await;
    assert!(both.contains("none of its hosts will do") && both.contains("/nowhere/.s.PGSQL.5432"), "{both}");
}

/// A server that is reached over TCP, with a certificate for `localhost`; asks for passwords and certificates as it is told.
struct Guarded {
    server: Server,
    port: u16,
    files: TempDir,
}

impl Guarded {
    fn start(access: &str) -> Self {
        let (port, files) = (free_port(), TempDir::new().unwrap());
        let server = Server::make();
        let shown = OURS.server("localhost");
        for (name, text) in [
            ("server.crt", &shown.certificate),
            ("server.key", &shown.key),
            ("clients.crt", &OURS.certificate),
            ("pg_hba.conf", &format!("local all all trust\n{access}\n")),
        ] {
            write(&server.data().join(name), text);
            give(&server.data().join(name));
        }
        for option in ["listen_addresses=localhost", "ssl=on", "ssl_ca_file=clients.crt", &format!("port={port}")] {
            server.set(option);
        }
        server.begin();
        let guarded = Self { server, port, files };
        guarded.sql("CREATE ROLE guarded LOGIN PASSWORD 'canary-right'");
        guarded.sql("CREATE DATABASE guarded OWNER guarded");
        guarded
    }

    fn sql(&self, statements: &str) {
        self.server.sql("postgres", statements);
    }

    fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.files.path().join(name);
        write(&path, text);
        path
    }

    fn settings(&self, host: &str, ca: &str) -> Settings {
        let address = Address::parse(&format!("postgres://guarded@{host}:{}/guarded", self.port)).unwrap();
        let ca = Some(self.file("ca.pem", ca));
        Settings { address, tls: Tls::Verified { ca, identity: None }, ..settings("postgres://t@a/v") }
    }
}

/// A file for our eyes only.
fn write(path: &Path, text: &str) {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    let mut file = std::fs::File::options().create(true).write(true).truncate(true).mode(0o600).open(path).unwrap();
    file.write_all(text.as_bytes()).unwrap();
}

#[tokio::test]
async fn a_wrong_password_is_refused_and_a_changed_one_is_read_again() {
    let guarded = Guarded::start("hostssl all all all scram-sha-256");
    let none = guarded.settings("localhost", &OURS.certificate);
    let with = |password| Settings { password: Some(password), ..none.clone() };
    assert!(refusal(&none).await.contains("password missing"), "{}", refusal(&none).await);
    let wrong = refusal(&with(Password::Here(Secret::new("canary-wrong".to_owned())))).await;
    assert!(wrong.contains("password authentication failed") && wrong.contains("`vault.postgres.password`"), "{wrong}");
    assert!(!wrong.contains("canary"), "{wrong}");
    Postgres::open(&with(Password::Here(Secret::new("canary-right".to_owned())))).await.unwrap();

    let file = guarded.file("password", "canary-right\n");
    let store = Postgres::open(&Settings { connections: 1, ..with(Password::File(file)) }).await.unwrap();
    store.put_if_absent(&[entry(1)]).await.unwrap();
    guarded.sql("ALTER ROLE guarded PASSWORD 'canary-changed'");
    guarded.file("password", "canary-changed\n");
    guarded.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'tidegate'");
    crate::until(async || store.health().await.is_ok()).await;
    assert_eq!(store.find(&[token(1, 0)]).await.unwrap(), [Some(entry(1))]);
}

#[tokio::test]
async fn a_server_whose_certificate_is_not_its_own_is_refused() {
    let guarded = Guarded::start("hostssl all all all trust");
    Postgres::open(&guarded.settings("localhost", &OURS.certificate)).await.unwrap();
    let encrypted = "SELECT count(*) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE ssl AND application_name = 'tidegate'";
    let store = Postgres::open(&guarded.settings("localhost", &OURS.certificate)).await.unwrap();
    assert_eq!(guarded.server.sql("postgres", encrypted), "1");
    drop(store);
    let stranger = refusal(&guarded.settings("localhost", &STRANGER.certificate)).await;
    assert!(stranger.contains("TLS") && stranger.contains("UnknownIssuer"), "{stranger}");
    let other_name = refusal(&guarded.settings("127.0.0.1", &OURS.certificate)).await;
    assert!(other_name.contains("TLS") && other_name.contains("not valid for name"), "{other_name}");
    let system = Settings { tls: Tls::Verified { ca: None, identity: None }, ..guarded.settings("localhost", "") };
    assert!(refusal(&system).await.contains("UnknownIssuer"));
    // In clear it does not let us in.
    let clear = Settings { tls: Tls::Off, ..guarded.settings("localhost", "") };
    assert!(refusal(&clear).await.contains("no encryption"), "{}", refusal(&clear).await);
    guarded.server.stop("fast");
    guarded.server.set("ssl=off");
    guarded.server.begin();
    let without = refusal(&guarded.settings("localhost", &OURS.certificate)).await;
    assert!(without.contains("server does not support TLS"), "{without}");
}

#[tokio::test]
async fn a_certificate_of_ours_lets_us_in() {
    let guarded = Guarded::start("hostssl all all all cert");
    let ours = OURS.client("guarded");
    let (certificate, key) = (guarded.file("us.pem", &ours.certificate), guarded.file("us.key", &ours.key));
    let none = guarded.settings("localhost", &OURS.certificate);
    assert!(refusal(&none).await.contains("certificate"), "{}", refusal(&none).await);
    let Tls::Verified { ca, .. } = none.tls.clone() else { panic!() };
    let shown = Settings { tls: Tls::Verified { ca, identity: Some((certificate, key)) }, ..none };
    Postgres::open(&shown).await.unwrap();
}

#[tokio::test]
async fn a_server_that_comes_up_later_is_waited_for_as_long_as_the_settings_say() {
    let server = std::sync::Arc::new(Server::make());
    let settings = Settings { patience: std::time::Duration::from_secs(30), ..settings(&server.url("postgres")) };
    let opening = tokio::spawn(async move { Postgres::open(&settings).await });
    let begin = std::sync::Arc::clone(&server);
    tokio::task::spawn_blocking(move || begin.begin()).await.unwrap();
    let store = opening.await.unwrap().unwrap();
    store.put_if_absent(&[entry(1)]).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn processes_that_start_together_make_the_tables_once() {
    let database = <Database as Place>::new().await;
    let opening: Vec<_> = (0..16)
        .map(|_| {
            let url = database.url();
            tokio::spawn(async move { super::open(&url).await.health().await })
        })
        .collect();
    for opened in opening {
        opened.await.unwrap().unwrap();
    }
    assert_eq!(database.server.sql(&database.name, "SELECT count(*) FROM vault_schema"), "2");
}
