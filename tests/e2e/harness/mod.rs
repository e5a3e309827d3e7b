//! What every end-to-end test stands on: an upstream, the proxy, a partner, in three readable lines.
//!
//! ```ignore
//! let upstream = Upstream::json(ORDER).start().await;
//! let tidegate = Tidegate::with(Policy::of("parcelo", ROUTES)).upstream("orders", &upstream).start().await;
//! let reply = tidegate.partner("parcelo").get("/v1/orders/1").await;
//! ```
//!
//! When a [`Tidegate`] goes, everything that anyone was shown is searched for what was planted in the bodies. A test has to
//! ask for a value to be visible: [`Builder::may_see`].

pub mod canary;
pub mod partner;
pub mod pki;
pub mod policy;
pub mod process;
pub mod trap;
pub mod upstream;

use std::collections::BTreeMap;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use tempfile::TempDir;
use tidegate::app::App;
use tidegate::clock::{Clock, Time};
use tidegate::vault::store::{TokenStore, open};
use tidegate::{config, keys};
use tokio::runtime::Runtime;

use canary::Canaries;
use partner::{Partner, Reply};
use policy::Policy;
use trap::{LOGS, Trap};
use upstream::Upstream;

/// What runs proxies and upstreams: one for all tests, so that a test that ends takes nothing of it along.
pub fn runtime() -> &'static Runtime {
    static RUNTIME: LazyLock<Runtime> =
        LazyLock::new(|| tokio::runtime::Builder::new_multi_thread().worker_threads(4).enable_all().build().unwrap());
    &RUNTIME
}

/// Runs it there, from a test's own runtime.
pub async fn spawn<T: Send + 'static>(future: impl Future<Output = T> + Send + 'static) -> T {
    runtime().spawn(future).await.unwrap()
}

/// Asks again and again until it is so; false if it is not within half a minute.
pub async fn until(mut so: impl AsyncFnMut() -> bool) -> bool {
    let mut tick = tokio::time::interval(Duration::from_millis(5));
    let asked = async {
        while !so().await {
            tick.tick().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), asked).await.is_ok()
}

/// A text that nothing else has.
pub fn unique() -> String {
    let mut bytes = [0_u8; 12];
    getrandom::fill(&mut bytes).unwrap();
    data_encoding::HEXLOWER.encode(&bytes)
}

/// A folder with everything that the program needs to run, and what a test says of it.
pub struct Builder {
    policies: Vec<Policy>,
    upstreams: Vec<(String, Upstream)>,
    partner_apis: Vec<String>,
    set: Vec<String>,
    clock: Clock,
    trap: Trap,
    store: Option<Arc<dyn TokenStore>>,
}

/// A proxy that runs in this process.
pub struct Tidegate {
    app: Option<App>,
    ground: Ground,
    clock: Clock,
}

/// What stays when the proxy has gone: its folder, who was shown what.
pub struct Ground {
    pub folder: TempDir,
    pub trap: Trap,
    /// Planted by the partners and callers.
    pub canaries: Canaries,
    upstreams: Vec<(String, Upstream)>,
    partner_apis: Vec<String>,
    keys: BTreeMap<String, String>,
    log_mark: usize,
    set: Vec<String>,
    disarmed: AtomicBool,
}

impl Tidegate {
    /// With one partner.
    pub fn with(policy: Policy) -> Builder {
        Builder {
            policies: vec![policy],
            upstreams: Vec::new(),
            partner_apis: Vec::new(),
            set: Vec::new(),
            clock: Clock::system(),
            trap: Trap::default(),
            store: None,
        }
    }

    /// A partner, who has its API key by itself.
    pub fn partner(&self, id: &str) -> Partner {
        let app = self.app();
        self.ground.partner(id, app.address("partners").unwrap(), app.address("secure").unwrap())
    }

    /// One of our own systems, which calls the partner's API of this authority.
    pub fn caller(&self, authority: &str) -> Partner {
        let inside = self.app().address("inside").unwrap();
        Partner { authority: authority.to_owned(), ..self.ground.partner("caller", inside, inside) }
    }

    /// The running program.
    pub fn app(&self) -> &App {
        self.app.as_ref().expect("a running proxy")
    }

    /// Turns the clock.
    pub fn set_time(&self, time: &str) {
        self.clock.set(parse_time(time));
    }

    /// What was logged since this proxy started (by all proxies of this process).
    pub fn logs(&self) -> String {
        LOGS.since(self.ground.log_mark)
    }

    /// The code that the log gives as the cause of a refusal: a partner is told less of what is our own fault.
    pub async fn cause(&self, reply: &Reply) -> String {
        let mut cause = None;
        until(async || {
            cause = trap::cause(&self.logs(), reply.header("tidegate-exchange"));
            cause.is_some()
        })
        .await;
        cause.expect("a line in the log")
    }

    /// The lines of the record so far.
    pub fn record(&self) -> Vec<serde_json::Value> {
        self.ground.record()
    }

    /// A page of the admin listener: status and text.
    pub async fn admin(&self, target: &str) -> (u16, String) {
        let address = self.app().admin_address().unwrap();
        let admin = Partner { trap: Trap::default(), ..self.ground.partner("admin", address, address) };
        let reply = admin.get(target).await;
        (reply.status, reply.text().to_owned())
    }

    /// Puts another file in place of a partner's policy, and waits for nothing.
    pub fn write_policy(&self, policy: &Policy) {
        self.ground.write_policy(&policy.id, &policy.text());
    }

    /// Reads the policies again.
    pub async fn reload(&self) -> Result<(), String> {
        self.app().reload().await.map_err(|error| error.to_string())
    }

    /// The folder of everything.
    pub fn ground(&self) -> &Ground {
        &self.ground
    }

    /// Stops the proxy in order; true if every exchange ended by itself. The leak trap springs as always.
    pub async fn stop(mut self) -> bool {
        self.halt().await
    }

    /// Starts it once more after [`Tidegate::halt`], with these settings besides; or says why it does not start.
    pub async fn again(&mut self, set: &[String]) -> Result<(), String> {
        let set = [self.ground.set(), set].concat();
        let settings = config::load(&self.ground.settings_file(), std::iter::empty(), &set).unwrap();
        let started = spawn(App::start(settings, self.clock.clone())).await;
        self.app = Some(started.map_err(|error| error.to_string())?);
        Ok(())
    }

    /// As [`Tidegate::stop`]; what it left behind is still there.
    pub async fn halt(&mut self) -> bool {
        let app = self.app.take().unwrap();
        spawn(app.stop()).await
    }
}

impl Drop for Tidegate {
    fn drop(&mut self) {
        if let Some(app) = self.app.take() {
            let admin = app.admin_address();
            // A thread of its own: the test's runtime may have only one, and it is here.
            let metrics = std::thread::spawn(move || {
                runtime().block_on(async move {
                    let metrics = match admin {
                        Some(address) => read_metrics(address).await,
                        None => String::new(),
                    };
                    app.stop().await;
                    metrics
                })
            });
            self.ground.trap.show("metrics", metrics.join().unwrap_or_default().as_bytes());
        }
    }
}

async fn read_metrics(address: std::net::SocketAddr) -> String {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut text = String::new();
    if let Ok(mut stream) = tokio::net::TcpStream::connect(address).await {
        let _ = stream.write_all(b"GET /metrics HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").await;
        let _ = stream.read_to_string(&mut text).await;
    }
    text
}

impl Ground {
    /// Writes everything that the program reads; returns the settings file's path.
    pub fn settings_file(&self) -> PathBuf {
        self.folder.path().join("tidegate.toml")
    }

    /// What `--set` gets.
    pub fn set(&self) -> &[String] {
        &self.set
    }

    /// Someone who calls at these addresses.
    pub fn partner(&self, id: &str, plain: std::net::SocketAddr, secure: std::net::SocketAddr) -> Partner {
        let headers = self.keys.get(id).map(|key| ("x-api-key".to_owned(), key.clone()));
        Partner {
            whom: id.to_owned(),
            plain,
            secure,
            trap: self.trap.clone(),
            canaries: self.canaries.clone(),
            authority: "localhost".to_owned(),
            headers: headers.into_iter().collect(),
            tls: false,
            http2: false,
            certificate: None,
        }
    }

    /// Puts a text in place of a partner's policy file, at once.
    pub fn write_policy(&self, id: &str, text: &str) {
        let policies = self.folder.path().join("policies");
        let draft = self.folder.path().join("draft.toml");
        std::fs::write(&draft, text).unwrap();
        std::fs::rename(draft, policies.join(format!("{id}.toml"))).unwrap();
    }

    /// The lines of the record.
    pub fn record(&self) -> Vec<serde_json::Value> {
        let mut lines = Vec::new();
        let mut segments: Vec<_> = files(&self.folder.path().join("record"));
        segments.sort();
        for segment in segments {
            let text = std::fs::read_to_string(segment).unwrap_or_default();
            let whole = text.split_inclusive('\n').filter(|line| line.ends_with('\n'));
            lines.extend(whole.filter_map(|line| serde_json::from_str(line).ok()));
        }
        lines
    }

    /// For the test of the trap itself: what it finds is no failure.
    pub fn disarm(&self) {
        self.disarmed.store(true, Ordering::Relaxed);
    }

    /// Springs the leak trap, but for a test that has failed already.
    fn search(&self) {
        if std::thread::panicking() || self.disarmed.load(Ordering::Relaxed) {
            return;
        }
        let found = self.findings();
        assert!(found.is_empty(), "values leaked:\n  {}", found.join("\n  "));
    }

    /// Where values are that may not be there: a line each, without the value.
    pub fn findings(&self) -> Vec<String> {
        self.trap.show("log", LOGS.since(self.log_mark).as_bytes());
        for part in ["record", "keys", "vault"] {
            self.trap.show_folder(part, &self.folder.path().join(part));
        }
        for (name, upstream) in &self.upstreams {
            if self.partner_apis.contains(name) {
                upstream.received().iter().for_each(|received| self.trap.show(name, &received.bytes()));
            }
        }
        let mut canaries: Vec<_> = self.upstreams.iter().map(|(_, upstream)| upstream.canaries().clone()).collect();
        canaries.push(self.canaries.clone());
        self.trap.spring(&canaries)
    }
}

impl Drop for Ground {
    fn drop(&mut self) {
        self.search();
    }
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten();
    entries.filter_map(Result::ok).map(|entry| entry.path()).filter(|path| path.is_file()).collect()
}

fn parse_time(time: &str) -> Time {
    let time: jiff::Timestamp = time.parse().unwrap();
    Time(u64::try_from(time.as_millisecond()).unwrap())
}

impl Builder {
    /// With a partner more.
    pub fn and(mut self, policy: Policy) -> Self {
        self.policies.push(policy);
        self
    }

    /// One of our own systems, under the name by which routes call it.
    pub fn upstream(mut self, name: &str, upstream: &Upstream) -> Self {
        self.upstreams.push((name.to_owned(), upstream.clone()));
        self
    }

    /// A partner's API: what reaches it has left the house, so the trap looks at it.
    pub fn partner_api(mut self, name: &str, upstream: &Upstream) -> Self {
        self.partner_apis.push(name.to_owned());
        self.upstream(name, upstream)
    }

    /// Lets someone (a partner, `caller`, a partner's API) see what was planted under these labels.
    pub fn may_see(self, whom: &str, labels: &[&str]) -> Self {
        self.trap.allow(whom, labels);
        self
    }

    /// Keeps tokens in this store.
    pub fn keeping(mut self, store: Arc<dyn TokenStore>) -> Self {
        self.store = Some(store);
        self
    }

    /// A setting, as `--set` takes it.
    pub fn set(mut self, setting: &str) -> Self {
        self.set.push(setting.to_owned());
        self
    }

    /// Stops the clock at this time (RFC 3339).
    pub fn at(mut self, time: &str) -> Self {
        self.clock = Clock::manual(parse_time(time));
        self
    }

    /// Writes the folder, and starts nothing: for the program as a process of its own.
    pub fn ground(self) -> Ground {
        let log_mark = LOGS.mark();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path();
        for part in ["policies", "certs", "policies/certs"] {
            std::fs::create_dir(path.join(part)).unwrap();
        }
        let ours = pki::OURS.server("localhost");
        let both = format!("{}{}", pki::PARCELO.certificate, pki::ADMIRA.certificate);
        for (name, text) in [
            ("ours.pem", &ours.certificate),
            ("ours.key", &ours.key),
            ("clients-ca.pem", &both),
            ("parcelo-ca.pem", &pki::PARCELO.certificate),
            ("admira-ca.pem", &pki::ADMIRA.certificate),
            ("jwks.json", &pki::TOKENS.jwks()),
        ] {
            write_private(&path.join("certs").join(name), text);
        }
        keys::init(&path.join("keys")).unwrap();
        let upstreams: String =
            self.upstreams.iter().map(|(n, u)| format!("\n[upstream.{n}]\nurl = \"{}\"\n", u.url())).collect();
        std::fs::write(path.join("tidegate.toml"), format!("{SETTINGS}{upstreams}")).unwrap();
        let mut ground = Ground {
            trap: self.trap,
            canaries: Canaries::default(),
            upstreams: self.upstreams,
            partner_apis: self.partner_apis,
            keys: BTreeMap::new(),
            log_mark,
            set: self.set,
            disarmed: AtomicBool::new(false),
            folder,
        };
        for policy in &self.policies {
            ground.write_policy(&policy.id, &policy.text());
            ground.canaries.guard(&format!("key of {}", policy.id), &policy.key);
            ground.keys.insert(policy.id.clone(), policy.key.clone());
        }
        ground
    }

    /// Writes the folder and starts the proxy; says why it does not start.
    pub async fn try_start(self) -> Result<Tidegate, String> {
        let (clock, store) = (self.clock.clone(), self.store.clone());
        let ground = self.ground();
        let mut settings = config::load(&ground.settings_file(), std::iter::empty(), &ground.set)
            .map_err(|complaints| format!("{complaints:#?}"))?;
        if let Some(store) = store {
            settings.vault = Some(open::Settings { kind: open::Kind::Given(store), time: Duration::from_secs(5) });
        }
        let started = spawn(App::start(settings, clock.clone())).await;
        let app = started.map_err(|error| error.to_string())?;
        Ok(Tidegate { app: Some(app), ground, clock })
    }

    /// Writes the folder and starts the proxy.
    pub async fn start(self) -> Tidegate {
        self.try_start().await.unwrap_or_else(|error| panic!("{error}"))
    }
}

fn write_private(path: &Path, text: &str) {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).unwrap();
    file.write_all(text.as_bytes()).unwrap();
}

/// `tidegate.toml` of the tests: three listeners on free ports.
const SETTINGS: &str = r#"
[[listener]]
name = "partners"
address = "127.0.0.1:0"
facing = "partner"

[[listener]]
name = "secure"
address = "127.0.0.1:0"
facing = "partner"
tls = { certificate = "certs/ours.pem", key = "certs/ours.key", client_ca = "certs/clients-ca.pem" }

[[listener]]
name = "inside"
address = "127.0.0.1:0"
facing = "inside"

[admin]
address = "127.0.0.1:0"

[ledger]
folder = "record"
"#;
