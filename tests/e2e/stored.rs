//! Stored tokens end to end: kept before they leave, turned back, and nothing else where the store fails.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::json;
use tidegate::vault::store::memory::Memory;
use tidegate::vault::store::{Answer, Entry, Forget, Forgotten, Page, StoreError, TokenId, TokenStore};

use super::harness::policy::Policy;
use super::harness::upstream::Upstream;
use super::harness::{Tidegate, until};

const ORDER: &str =
    r#"{"id":"<order>","status":"<status>","customer":{"id":"<customer>","email":"<email>"},"flow":"<flow>"}"#;

const ROUTES: &str = r#"
[[inbound]]
match = "GET /v1/orders/{id}"
upstream = "orders"
[inbound.request]
reveal = [{ capture = "id", is = "id.order" }, { query = "mail", is = "contact.email" }, { header = "x-customer", is = "id.customer" }]
[inbound.response]
subject = "$.customer.id"
keep = ["$.status"]
fields = [
  { path = "$.id", is = "id.order", do = "tokenize", store = "vault", as = "uuid" },
  { path = "$.customer.id", is = "id.customer", do = "tokenize", store = "vault" },
  { path = "$.customer.email", is = "contact.email", do = "tokenize", store = "vault", as = "email" },
  { path = "$.flow", is = "id.flow", do = "tokenize", store = "vault", once = true, ttl = "1m" },
]

[[inbound]]
match = "GET /v1/orders"
upstream = "orders"
[inbound.response]
fields = [{ path = "$.id", is = "id.order", do = "tokenize", store = "vault", as = "uuid" }, { path = "$.customer.email", is = "contact.email", do = "tokenize", store = "vault", as = "email" },
  { path = "$.customer.id", is = "id.customer", do = "tokenize", store = "vault" }]

[[inbound]]
match = "GET /v1/status"
upstream = "orders"
[inbound.response]
keep = ["$.status"]

[[inbound]]
match = "POST /v1/events"
upstream = "orders"
[inbound.request]
reveal = [{ path = "$.customer", is = "id.customer" }, { path = "$.maybe", is = "id.customer", plain = "pass" }]
[inbound.response]
keep = ["$.status"]
"#;

/// A store that can be switched off.
#[derive(Debug, Default)]
struct Switched {
    kept: Memory,
    off: AtomicBool,
}

impl Switched {
    fn answer<'a, T: Send + 'a>(&'a self, answer: Answer<'a, T>) -> Answer<'a, T> {
        if self.off.load(Ordering::Relaxed) {
            return Box::pin(async { Err(StoreError { act: "test", cause: "switched off".into(), away: true }) });
        }
        answer
    }
}

impl TokenStore for Switched {
    fn put_if_absent<'a>(&'a self, entries: &'a [Entry]) -> Answer<'a, Vec<TokenId>> {
        self.answer(self.kept.put_if_absent(entries))
    }
    fn find<'a>(&'a self, tokens: &'a [TokenId]) -> Answer<'a, Vec<Option<Entry>>> {
        self.answer(self.kept.find(tokens))
    }
    fn seek<'a>(&'a self, what: &'a Forget, most: usize) -> Answer<'a, Vec<Forgotten>> {
        self.kept.seek(what, most)
    }
    fn forget<'a>(&'a self, what: &'a Forget, most: usize) -> Answer<'a, Vec<Forgotten>> {
        self.kept.forget(what, most)
    }
    fn visit(&self, after: Option<TokenId>, count: usize) -> Answer<'_, Page> {
        self.kept.visit(after, count)
    }
    fn health(&self) -> Answer<'_, ()> {
        self.answer(self.kept.health())
    }
}

async fn over(store: &Arc<Switched>, upstream: &Upstream) -> Tidegate {
    let builder = Tidegate::with(Policy::of("parcelo", ROUTES)).and(Policy::of("admira", ROUTES));
    let builder = builder.upstream("orders", upstream).may_see("parcelo", &["status"]).may_see("admira", &["status"]);
    builder.keeping(Arc::clone(store) as Arc<dyn TokenStore>).start().await
}

#[tokio::test]
async fn stored_tokens_are_turned_back_in_path_query_header_and_body() {
    let upstream = Upstream::json(ORDER).start().await;
    let builder = || {
        let builder = Tidegate::with(Policy::of("parcelo", ROUTES)).upstream("orders", &upstream);
        builder.may_see("parcelo", &["status"]).set("vault.kind=embedded")
    };
    let tidegate = builder().start().await;
    let partner = tidegate.partner("parcelo");
    let seen = partner.get("/v1/orders").await.json();
    let part = |name: &str| seen["customer"][name].as_str().unwrap();
    let (order, customer, email) = (seen["id"].as_str().unwrap(), part("id"), part("email"));
    assert_eq!((order.len(), customer.len(), email.len()), (36, 38, 52));
    let target = format!("/v1/orders/{order}?mail={email}");
    let again = tidegate.partner("parcelo").header("x-customer", customer).get(&target).await.json();
    assert_eq!((&again["id"], &again["customer"]), (&seen["id"], &seen["customer"]));
    let sent = upstream.last();
    let canary = |name: &str| upstream.canary(name);
    assert_eq!(sent.target, format!("/v1/orders/{}?mail={}", canary("order"), canary("email").replace('@', "%40")));
    assert_eq!(sent.headers["x-customer"].to_str().unwrap(), canary("customer"));
    let body = json!({"customer": customer, "maybe": "plain"}).to_string();
    assert_eq!(partner.post("/v1/events", &body).await.status, 200);
    assert_eq!(upstream.last().json(), json!({"customer": canary("customer"), "maybe": "plain"}));
}

#[tokio::test]
async fn while_the_store_is_away_what_needs_it_is_refused_and_the_rest_goes_on() {
    let (store, upstream) = (Arc::new(Switched::default()), Upstream::json(ORDER).start().await);
    let tidegate = over(&store, &upstream).await;
    let partner = tidegate.partner("parcelo");
    let seen = partner.get("/v1/orders").await.json();
    store.off.store(true, Ordering::Relaxed);
    for target in ["/v1/orders".to_owned(), format!("/v1/orders/{}", seen["id"].as_str().unwrap())] {
        let reply = partner.get(&target).await;
        assert_eq!(reply.refusal(), (503, "temporarily_unavailable".to_owned()));
        assert_eq!(tidegate.cause(&reply).await, "vault_unavailable");
    }
    let body = json!({"customer": seen["customer"]["id"]}).to_string();
    let before = upstream.received().len();
    assert_eq!(partner.post("/v1/events", &body).await.refusal().0, 503);
    assert_eq!(upstream.received().len(), before, "nothing reached the upstream");
    assert_eq!(partner.get("/v1/status").await.status, 200);
}

#[tokio::test]
async fn a_token_of_another_partner_asks_nothing_and_one_that_is_gone_answers_the_same() {
    let (store, upstream) = (Arc::new(Switched::default()), Upstream::json(ORDER).start().await);
    let tidegate = over(&store, &upstream).await;
    let (parcelo, admira) = (tidegate.partner("parcelo"), tidegate.partner("admira"));
    let (own, other) = (parcelo.get("/v1/orders").await.json(), admira.get("/v1/orders").await.json());
    let body = |seen: &serde_json::Value| json!({"customer": seen["customer"]["id"]}).to_string();
    store.kept.forget(&Forget::IssuedBefore(u64::MAX), 99).await.unwrap();
    let (gone, foreign) =
        (parcelo.post("/v1/events", &body(&own)).await, parcelo.post("/v1/events", &body(&other)).await);
    let problem = |reply: &super::harness::partner::Reply| {
        let mut problem = reply.json();
        problem["exchange"] = json!(null);
        problem
    };
    assert_eq!((gone.status, problem(&gone)), (422, problem(&foreign)));
    let told =
        |line: &str| line.contains(gone.header("tidegate-exchange")) && line.contains("tokens came up that are gone");
    assert!(until(async || tidegate.logs().lines().any(told)).await);
    // What was erased is a value like any, and its new token another one.
    let again = parcelo.get("/v1/orders").await.json();
    assert_ne!(again["customer"]["id"], own["customer"]["id"]);
}

/// A command of the program on this folder, with lines on its standard input; what it prints.
pub(super) fn command(ground: &super::harness::Ground, args: &[&str], input: &str) -> String {
    use std::io::Write;
    use std::process::{Command, Stdio};
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidegate"));
    command.args(args).arg("--config").arg(ground.settings_file());
    command.args(ground.set().iter().flat_map(|set| ["--set", set]));
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // A command that is refused at once reads nothing.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    let output = child.wait_with_output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    ground.trap.show("commands", &said);
    String::from_utf8(said).unwrap()
}

#[tokio::test]
async fn a_person_is_erased_and_each_partner_told_in_its_own_tokens() {
    let upstream = Upstream::json(ORDER).start().await;
    let builder =
        Tidegate::with(Policy::of("parcelo", ROUTES)).and(Policy::of("admira", ROUTES)).upstream("orders", &upstream);
    let builder = builder.may_see("parcelo", &["status"]).may_see("admira", &["status"]).set("vault.kind=embedded");
    let mut tidegate = builder.start().await;
    let seen = tidegate.partner("parcelo").get("/v1/orders").await.json();
    let target = format!("/v1/orders/{}", seen["id"].as_str().unwrap());
    assert_eq!(tidegate.partner("parcelo").get(&target).await.status, 200);
    tidegate.partner("admira").get("/v1/orders").await;
    let person = format!("{}\n", upstream.canary("customer"));
    let busy = command(tidegate.ground(), &["subject", "erase"], &person);
    assert!(busy.contains("is in use by process"), "{busy}");

    assert!(tidegate.halt().await);
    let ground = tidegate.ground();
    // The store closes when the last task that asked it is gone.
    let nobody = async || command(ground, &["subject", "erase"], "nobody\n") == "nothing was stored of that\n";
    assert!(until(nobody).await);
    let notice = command(ground, &["subject", "erase"], &person);
    assert!(notice.contains("replace the copy of `value-keys` now"), "{notice}");
    // The order, the person, the address and the flow of the answer that names its subject.
    assert!(notice.starts_with("to parcelo: 4 tokens stand for nothing any more"), "{notice}");
    for token in [&seen["id"], &seen["customer"]["id"], &seen["customer"]["email"]] {
        assert!(notice.contains(token.as_str().unwrap()), "{notice}");
    }
    assert!(!notice.contains("admira"), "what no subject was named for is not found: {notice}");
    let rest = command(ground, &["forget", "--all", "--domain", "admira"], "");
    assert!(rest.starts_with("to admira: 3 tokens"), "{rest}");
    assert!(command(ground, &["forget", "--all", "--domain", "admirra"], "").contains("there is no domain"));
}
