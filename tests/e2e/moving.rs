//! Copies of the vault, end to end: into a sealed file and back, and into another store, also while the program runs.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};
use tidegate::vault::store::embedded::{Embedded, Settings};
use tidegate::vault::store::{Entry, Forget, Spelling, TokenStore};

use super::harness::partner::Partner;
use super::harness::policy::Policy;
use super::harness::upstream::Upstream;
use super::harness::{Ground, Tidegate, until};
use super::postgres::server::Server;
use super::stored::command;

const ORDER: &str = r#"{"id":"<order>","status":"<status>","customer":"<customer>","note":"<note>"}"#;

const ROUTES: &str = r#"
[[inbound]]
match = "GET /v1/orders"
upstream = "orders"
[inbound.response]
subject = "$.customer"
fields = [
  { path = "$.id", is = "id.order", do = "tokenize", store = "vault", as = "uuid" },
  { path = "$.customer", is = "id.customer", do = "tokenize", store = "vault" },
]

[[inbound]]
match = "GET /v1/notes"
upstream = "orders"
[inbound.response]
fields = [
  { path = "$.note", is = "text.note", do = "tokenize", store = "vault" },
  { path = "$.id", is = "id.flow", do = "tokenize", store = "vault", once = true, ttl = "1d" },
]

[[inbound]]
match = "POST /v1/events"
upstream = "orders"
[inbound.request]
reveal = [
  { path = "$.customer", is = "id.customer", plain = "pass" }, { path = "$.note", is = "text.note", plain = "pass" },
  { path = "$.flow", is = "id.flow", plain = "pass" },
]
[inbound.response]
"#;

/// A house with an embedded store, beside another that is a server.
struct House {
    upstream: Upstream,
    tidegate: Tidegate,
    server: Arc<Server>,
}

impl House {
    async fn new() -> Self {
        let upstream = Upstream::json(ORDER).start().await;
        let builder = Tidegate::with(Policy::of("parcelo", ROUTES)).upstream("orders", &upstream);
        let tidegate = builder.set("vault.kind=embedded").start().await;
        let server = Arc::new(tokio::task::spawn_blocking(|| Server::start(&[])).await.unwrap());
        Self { upstream, tidegate, server }
    }

    fn ground(&self) -> &Ground {
        self.tidegate.ground()
    }

    fn partner(&self) -> Partner {
        self.tidegate.partner("parcelo")
    }

    fn at(&self, name: &str) -> PathBuf {
        self.ground().settings_file().with_file_name(name)
    }

    /// Settings like these, with another vault; `--set` for a command.
    fn other(&self, name: &str, vault: &str) -> String {
        let settings = std::fs::read_to_string(self.ground().settings_file()).unwrap();
        std::fs::write(self.at(name), format!("{settings}\n[vault]\n{vault}\n")).unwrap();
        self.at(name).display().to_string()
    }

    fn postgres(&self) -> String {
        self.other("postgres.toml", &format!("kind = \"postgres\"\n[vault.postgres]\nurl = \"{}\"", self.url()))
    }

    fn url(&self) -> String {
        self.server.url("postgres")
    }

    /// For the new store alone.
    fn alone(&self) -> [String; 2] {
        ["vault.kind=postgres".to_owned(), format!("vault.postgres.url={}", self.url())]
    }

    async fn count(&self) -> u64 {
        let server = Arc::clone(&self.server);
        let counted = move || match server.sql("postgres", "SELECT to_regclass('vault_tokens') IS NULL").as_str() {
            "f" => server.sql("postgres", "SELECT count(*) FROM vault_tokens").parse().unwrap(),
            _ => 0,
        };
        tokio::task::spawn_blocking(counted).await.unwrap()
    }

    /// Opens the embedded store of a program that has stopped.
    async fn store(&self) -> Arc<Embedded> {
        let patience = std::time::Duration::from_secs(30);
        let settings = Settings { folder: self.at("vault"), cache_bytes: 1 << 20, patience };
        Arc::new(tokio::task::spawn_blocking(move || Embedded::open(&settings)).await.unwrap().unwrap())
    }

    /// So many entries more, which take time to be copied.
    async fn noise(&self, count: u32) {
        let store = self.store().await;
        let of = |number: u32| {
            let (mut digest, mut token) = ([3; 32], [0; 16]);
            digest[..4].copy_from_slice(&number.to_be_bytes());
            token[..4].copy_from_slice(&number.wrapping_mul(0x9e37_79b9).to_be_bytes());
            token[4..8].copy_from_slice(&number.to_be_bytes());
            let (domain, spelling, sealed) = ([9; 16], Spelling::Opaque, vec![7; 80]);
            Entry { digest, token, domain, epoch: 1, spelling, sealed, subjects: vec![], issued_ms: 1, ends_ms: None }
        };
        for first in (0..count).step_by(4000) {
            let entries: Vec<_> = (first..count.min(first + 4000)).map(of).collect();
            store.put_if_absent(&entries).await.unwrap();
        }
    }

    /// Whether what a partner sends arrives as this canary.
    async fn turns_back(&self, name: &str, token: &Value, canary: &str) -> bool {
        let reply = self.partner().post("/v1/events", &json!({ name: token }).to_string()).await;
        reply.status == 200 && self.upstream.last().json()[name] == self.upstream.canary(canary)
    }
}

/// A command, when nobody has the store any more.
async fn free(ground: &Ground, args: &[&str], input: &str) -> String {
    let mut said = String::new();
    let done = until(async || {
        said = command(ground, args, input);
        !said.contains("is in use by process")
    });
    assert!(done.await, "{said}");
    said
}

/// What a command of `tidegate vault` says; its digest last.
async fn copied(ground: &Ground, args: &[&str], wanted: &str) -> String {
    let said = free(ground, &[&["vault"], args].concat(), "").await;
    assert!(said.contains(wanted), "{said}");
    said.split("digest ").nth(1).unwrap_or_default().chars().take(64).collect()
}

#[tokio::test]
async fn what_is_stored_is_exported_imported_and_migrated_and_nothing_else_is_taken_for_it() {
    let mut house = House::new().await;
    house.partner().get("/v1/orders").await;
    house.partner().get("/v1/notes").await;
    assert!(house.tidegate.halt().await);
    let ground = house.ground();
    let at = |name: &str| house.at(name).display().to_string();
    let (archive, elsewhere) = (at("archive"), format!("vault.folder={}", at("elsewhere")));
    let exported = copied(ground, &["export", &archive], "4 entries in").await;
    copied(ground, &["export", &archive], "is there already").await;
    assert_eq!(copied(ground, &["import", &archive, "--set", &elsewhere], "4 entries of").await, exported);
    assert_eq!(copied(ground, &["import", &archive, "--set", &elsewhere], "4 entries of").await, exported);
    assert_eq!(copied(ground, &["export", &at("again"), "--set", &elsewhere], "4 entries in").await, exported);
    // Cut or changed it is refused, and the store stays as it was.
    let bytes = std::fs::read(&archive).unwrap();
    let untouched = format!("vault.folder={}", at("untouched"));
    let mut changed = bytes.clone();
    changed[bytes.len() / 2] ^= 1;
    for (bad, wanted) in [(&bytes[..bytes.len() - 1], "before its end"), (&changed, "does not open")] {
        std::fs::write(at("bad"), bad).unwrap();
        copied(ground, &["import", &at("bad"), "--set", &untouched], wanted).await;
    }
    let nothing = copied(ground, &["export", &at("nothing"), "--set", &untouched], "0 entries in").await;
    assert_eq!(nothing, "0".repeat(64));
    // Into a store that is empty; another time it is not.
    let other = house.other("other.toml", &format!("folder = \"{}\"", at("third")));
    assert_eq!(copied(ground, &["migrate", "--to", &other], "4 entries are in both stores").await, exported);
    copied(ground, &["migrate", "--to", &other], "keeps tokens already").await;
    // An export that goes on with what is not so any more.
    std::fs::rename(&archive, at("late.part")).unwrap();
    let store = house.store().await;
    assert_eq!(store.forget(&Forget::IssuedBefore(u64::MAX), 1).await.unwrap().len(), 1);
    drop(store);
    copied(ground, &["export", &at("late")], "do not hold the same (4 and 3 entries)").await;
    assert!(!house.at("late").exists());
}

#[tokio::test]
async fn an_archive_goes_into_a_store_that_has_other_tokens_and_the_loss_is_told() {
    let mut house = House::new().await;
    house.partner().get("/v1/orders").await;
    assert!(house.tidegate.halt().await);
    let archive = house.at("archive").display().to_string();
    copied(house.ground(), &["export", &archive], "2 entries in").await;
    let elsewhere = format!("vault.folder={}", house.at("elsewhere").display());
    house.tidegate.again(std::slice::from_ref(&elsewhere)).await.unwrap();
    let theirs = house.partner().get("/v1/orders").await.json();
    assert!(house.tidegate.halt().await);
    let wanted = "2 values had another token here already: the archive's tokens of these are not turned back; 0 of 2 entries are here";
    copied(house.ground(), &["import", &archive, "--set", &elsewhere], wanted).await;
    house.tidegate.again(&[elsewhere]).await.unwrap();
    assert!(house.turns_back("customer", &theirs["customer"], "customer").await, "what was there stays");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_is_moved_to_postgresql_under_traffic_and_what_is_erased_meanwhile_is_erased_in_both() {
    const NOISE: u32 = 20_000;
    let mut house = House::new().await;
    let erased = house.partner().get("/v1/orders").await.json();
    let before = house.partner().get("/v1/notes").await.json();
    assert!(house.tidegate.halt().await);
    house.noise(NOISE).await;
    let moving = [format!("vault.to={}", house.postgres())];
    house.tidegate.again(&moving).await.unwrap();
    let mut flows = traffic(&house, async |house| house.count().await > 1000).await;
    assert!(house.tidegate.halt().await);

    // In the middle: the program is stopped, and the person is erased.
    let person = format!("{}\n", house.upstream.canary("customer"));
    let args = ["subject", "erase", "--set", &moving[0]];
    let notice = free(house.ground(), &args, &person).await;
    assert!(notice.starts_with("to parcelo: 2 tokens stand for nothing any more"), "{notice}");
    assert_eq!(house.server.sql("postgres", "SELECT count(*) FROM vault_subjects"), "0");
    let half = house.count().await;
    assert!(half > 1000 && half < u64::from(NOISE), "{half}: in the middle");
    let refused = house.tidegate.again(&house.alone()).await.unwrap_err();
    assert!(refused.contains("the copy is not complete"), "{refused}");

    house.tidegate.again(&moving).await.unwrap();
    let whole = async |house: &House| house.tidegate.logs().contains("the vault is copied and verified");
    flows.extend(traffic(&house, whole).await);
    let after = house.partner().get("/v1/notes").await.json();
    assert!(!house.turns_back("customer", &erased["customer"], "customer").await);
    assert!(house.tidegate.halt().await);

    // On the other store alone.
    house.tidegate.again(&house.alone()).await.unwrap();
    assert_eq!(house.partner().get("/v1/notes").await.json()["note"], before["note"], "a value keeps its token");
    assert!(house.turns_back("note", &before["note"], "note").await);
    assert!(!house.turns_back("customer", &erased["customer"], "customer").await, "erased in both");
    assert!(flows.len() > 10);
    for flow in flows.iter().chain([&before["id"], &after["id"]]) {
        assert!(house.turns_back("flow", flow, "order").await, "a token that was given out");
    }
    // The noise, the note, and the flows, of which one came just now; no mark.
    let wanted = u64::from(NOISE) + 1 + flows.len() as u64 + 3;
    assert_eq!(house.count().await, wanted);
    let refused = {
        assert!(house.tidegate.halt().await);
        house.tidegate.again(&moving).await.unwrap_err()
    };
    assert!(refused.contains("keeps tokens already, or is used by itself"), "{refused}");
}

/// Partners read until something is so; what they were given.
async fn traffic(house: &House, so: impl AsyncFn(&House) -> bool) -> Vec<Value> {
    let ended = Arc::new(AtomicBool::new(false));
    let tasks: Vec<_> = (0..3)
        .map(|_| {
            let (partner, ended) = (house.partner(), Arc::clone(&ended));
            tokio::spawn(async move {
                let mut given = Vec::new();
                while !ended.load(Ordering::Relaxed) {
                    let reply = partner.get("/v1/notes").await;
                    assert_eq!(reply.status, 200, "nothing is refused while the store is moved");
                    given.push(reply.json()["id"].clone());
                }
                given
            })
        })
        .collect();
    let came = until(async || so(house).await).await;
    ended.store(true, Ordering::Relaxed);
    let mut given = Vec::new();
    for task in tasks {
        given.extend(task.await.unwrap());
    }
    assert!(came, "{}", house.tidegate.logs());
    given
}

#[tokio::test]
async fn a_migration_that_is_killed_is_gone_on_with_and_nothing_is_lost() {
    const NOISE: u32 = 60_000;
    let mut house = House::new().await;
    let seen = house.partner().get("/v1/notes").await.json();
    assert!(house.tidegate.halt().await);
    house.noise(NOISE).await;
    let other = house.postgres();
    // When nobody has it any more.
    free(house.ground(), &["forget", "--values"], "nothing\n").await;
    let mut migration = Command::new(env!("CARGO_BIN_EXE_tidegate"));
    migration.args(["vault", "migrate", "--to", &other, "--config"]).arg(house.ground().settings_file());
    migration.args(house.ground().set().iter().flat_map(|set| ["--set", set]));
    migration.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut running = migration.spawn().unwrap();
    if !until(async || house.count().await > 2000).await {
        running.kill().unwrap();
        panic!("{:?}", running.wait_with_output());
    }
    running.kill().unwrap();
    running.wait().unwrap();
    let half = house.count().await;
    assert!(half < u64::from(NOISE), "{half}: killed in the middle");
    let refused = house.tidegate.again(&house.alone()).await.unwrap_err();
    assert!(refused.contains("the copy is not complete"), "{refused}");

    let wanted = format!("{} entries are in both stores", NOISE + 2);
    copied(house.ground(), &["migrate", "--to", &other], &wanted).await;
    house.tidegate.again(&house.alone()).await.unwrap();
    assert!(house.turns_back("note", &seen["note"], "note").await);
    assert!(house.turns_back("flow", &seen["id"], "order").await);
}
