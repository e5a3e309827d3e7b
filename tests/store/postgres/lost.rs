//! Databases that come back without what they kept: nothing new is given out in its place.

use tempfile::TempDir;
use tidegate::vault::store::TokenStore;
use tidegate::vault::store::memo::Memo;
use tidegate::vault::store::postgres::{Postgres, Settings};

use super::server::Server;
use super::settings;
use crate::entries::{entry, rival, token};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_comes_back_empty_or_is_another_is_refused() {
    let server = tokio::task::spawn_blocking(|| Server::start(&[])).await.unwrap();
    let folder = TempDir::new().unwrap();
    let sql = |statements: &str| server.sql("postgres", statements);
    sql("CREATE DATABASE vault");
    let remembered = Settings { memo: Some(Memo::new(folder.path())), ..settings(&server.url("vault")) };
    let store = Postgres::open(&remembered).await.unwrap();
    store.put_if_absent(&[entry(1)]).await.unwrap();
    sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'vault'");
    sql("ALTER DATABASE vault RENAME TO kept");
    sql("CREATE DATABASE vault");
    let parts = async |part: &str| {
        sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'tidegate'");
        // The first of these may still find its connection broken.
        assert!(
            crate::until(async || store
                .put_if_absent(&[rival(1, 1)])
                .await
                .is_err_and(|e| e.to_string().contains(part)))
            .await
        );
        let error = Postgres::open(&remembered).await.unwrap_err().to_string();
        assert!(error.contains(part) && error.contains("docs/operations.md"), "{error}");
    };
    parts("the vault's tables are not there any more").await;
    assert_eq!(
        server.sql("vault", "SELECT count(*) FROM pg_class WHERE relname LIKE 'vault_%'"),
        "0",
        "none were made"
    );
    // Somebody who remembers nothing takes it for a new one.
    drop(Postgres::open(&settings(&server.url("vault"))).await.unwrap());
    assert!(crate::until(async || sql("SELECT count(*) FROM pg_stat_activity WHERE datname = 'vault'") == "0").await);
    parts("it has the mark of another vault").await;
    sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'vault'");
    sql("DROP DATABASE vault WITH (FORCE)");
    sql("ALTER DATABASE kept RENAME TO vault");
    assert!(crate::until(async || store.health().await.is_ok()).await);
    assert_eq!(store.put_if_absent(&[rival(1, 1)]).await.unwrap(), [token(1, 0)]);
}
