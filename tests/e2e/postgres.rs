//! Stored tokens in PostgreSQL, end to end: through the settings, with nothing in the server's files that anybody could read.

#[path = "../store/postgres/server.rs"]
pub(super) mod server;

use std::path::Path;
use std::sync::Arc;

use memchr::memmem;
use serde_json::json;

use super::harness::policy::Policy;
use super::harness::upstream::Upstream;
use super::harness::{Tidegate, unique, until};
use super::stored::command;
use server::Server;

const ROUTES: &str = r#"
[[inbound]]
match = "GET /v1/list"
upstream = "orders"
[inbound.response]
subject = "$.person"
fields = [
  { path = "$.person", is = "id.person", do = "tokenize", store = "vault" },
  { path = "$.list[*]", is = "contact.email", do = "tokenize", store = "vault", as = "email" },
]

[[inbound]]
match = "POST /v1/list"
upstream = "orders"
[inbound.request]
reveal = [{ path = "$.list[*]", is = "contact.email" }]
[inbound.response]
"#;

/// Values that are planted.
const PLANTED: usize = 10_000;

async fn start() -> Arc<Server> {
    Arc::new(tokio::task::spawn_blocking(|| Server::start(&[])).await.unwrap())
}

/// In how many files of a folder this is.
fn files_with(folder: &Path, part: &[u8]) -> usize {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    entries
        .map(|path| match std::fs::read(&path) {
            Ok(bytes) => usize::from(memmem::find(&bytes, part).is_some()),
            Err(_) => files_with(&path, part),
        })
        .sum()
}

#[tokio::test]
async fn ten_thousand_values_are_kept_turned_back_and_erased_and_none_is_in_the_servers_files() {
    let (server, mark) = (start().await, unique());
    let list: Vec<_> = (0..PLANTED).map(|number| format!("{mark}-{number:05}@example.com")).collect();
    let upstream = Upstream::json(&json!({"person": format!("{mark}-person"), "list": list}).to_string()).start().await;
    let builder = Tidegate::with(Policy::of("parcelo", ROUTES)).upstream("orders", &upstream);
    let url = format!("vault.postgres.url={}", server.url("postgres"));
    let tidegate = builder.set("vault.kind=postgres").set(&url).start().await;
    let partner = tidegate.partner("parcelo");
    let tokens = partner.get("/v1/list").await.json();
    assert_eq!(partner.get("/v1/list").await.json(), tokens, "a value has one token");
    assert_eq!(server.sql("postgres", "SELECT count(*) FROM vault_tokens"), (PLANTED + 1).to_string());
    partner.post("/v1/list", &json!({"list": tokens["list"]}).to_string()).await;
    assert_eq!(upstream.last().json()["list"], json!(list));
    let (status, ready) = tidegate.admin("/readyz").await;
    assert!(status == 200 && ready.contains("vault"), "{ready}");

    server.sql("postgres", "CHECKPOINT");
    let hex: String = mark.bytes().map(|byte| format!("{byte:02x}")).collect();
    let found = [mark.as_bytes(), hex.as_bytes(), tokens["list"][0].as_str().unwrap().as_bytes()];
    assert_eq!(found.map(|part| files_with(&server.data(), part)), [0, 0, 0]);
    // That the search would have found something.
    assert!(files_with(&server.data(), b"vault_tokens") > 0);
    assert!(!server.log().contains(&mark));

    // The program goes on meanwhile.
    let notice = command(tidegate.ground(), &["subject", "erase"], &format!("{mark}-person\n"));
    assert!(notice.starts_with(&format!("to parcelo: {} tokens stand for nothing any more", PLANTED + 1)), "{notice}");
    assert_eq!(server.sql("postgres", "SELECT count(*) FROM vault_tokens"), "0");
    let gone = partner.post("/v1/list", &json!({"list": tokens["list"]}).to_string()).await;
    assert_eq!(gone.refusal().1, "token_not_accepted");
}

#[tokio::test]
async fn while_the_server_is_away_what_needs_it_is_refused_and_then_goes_on() {
    let (server, mark) = (start().await, unique());
    let upstream = Upstream::json(&json!({"person": mark, "list": [mark]}).to_string()).start().await;
    let builder = || {
        let url = format!("vault.postgres.url={}", server.url("postgres"));
        let builder = Tidegate::with(Policy::of("parcelo", ROUTES)).upstream("orders", &upstream);
        builder.set("vault.kind=postgres").set(&url).set("vault.wait=0s")
    };
    let tidegate = builder().start().await;
    let partner = tidegate.partner("parcelo");
    let tokens = partner.get("/v1/list").await.json();
    let stopped = Arc::clone(&server);
    tokio::task::spawn_blocking(move || stopped.stop("fast")).await.unwrap();
    let reply = partner.get("/v1/list").await;
    assert_eq!(reply.refusal(), (503, "temporarily_unavailable".to_owned()));
    assert_eq!(tidegate.cause(&reply).await, "vault_unavailable");
    let refused = builder().try_start().await.map(drop).unwrap_err();
    assert!(
        refused.contains("the vault's PostgreSQL: `") && refused.contains("error connecting to server"),
        "{refused}"
    );
    let begun = Arc::clone(&server);
    tokio::task::spawn_blocking(move || begun.begin()).await.unwrap();
    assert!(until(async || partner.get("/v1/list").await.status == 200).await);
    assert_eq!(partner.get("/v1/list").await.json(), tokens);
}
