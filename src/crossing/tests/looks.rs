//! Tokens of an epoch that another process began: they wait for the keys to be read again, wherever they stand.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex};
use std::time::Duration;

use super::*;
use crate::ids::{Category, DomainId, Shape};
use crate::keys::change::After;
use crate::keys::folder::Folder;
use crate::keys::{Epoch, Error, Key, KeySource, Survey};
use crate::vault::store::memory::Memory;
use crate::vault::store::{Spelling, TokenStore};
use crate::vault::stored::ask::{Answer, Ask, Stored, Wanted};
use crate::vault::token::Value;

/// A folder whose readings are counted, and can be held up.
#[derive(Debug)]
struct Gated {
    folder: Folder,
    gate: Arc<Gate>,
}

#[derive(Debug, Default)]
struct Gate {
    readings: AtomicUsize,
    shut: Mutex<bool>,
    opened: Condvar,
}

impl Gate {
    fn shut(&self, shut: bool) {
        *self.shut.lock().unwrap() = shut;
        self.opened.notify_all();
    }
    fn readings(&self) -> usize {
        self.readings.load(Ordering::SeqCst)
    }
}

impl KeySource for Gated {
    fn load(&self, domain: &DomainId, epoch: Epoch) -> Result<Option<Key>, Error> {
        self.folder.load(domain, epoch)
    }
    fn create(&self, domain: &DomainId, after: After, fresh: &Key) -> Result<Key, Error> {
        self.folder.create(domain, after, fresh)
    }
    fn list(&self) -> Result<Vec<(DomainId, Epoch)>, Error> {
        self.folder.list()
    }
    fn survey(&self) -> Result<Survey, Error> {
        self.gate.readings.fetch_add(1, Ordering::SeqCst);
        drop(self.gate.opened.wait_while(self.gate.shut.lock().unwrap(), |shut| *shut).unwrap());
        self.folder.survey()
    }
    fn derived(&self, purpose: &str) -> Key {
        self.folder.derived(purpose)
    }
}

const ROUTES: &str = r#"
[[inbound]]
match = "POST /{id}"
upstream = "a"
[inbound.request]
reveal = [
  { path = "$.a", is = "c.a" }, { path = "$.maybe", is = "c.a", plain = "pass" },
  { capture = "id", is = "c.a" }, { query = "q", is = "c.a" }, { header = "x-a", is = "c.a" },
]
fields = [{ path = "$.in", inside = ["base64", "json"], default = "keep", reveal = [{ path = "$.x", is = "c.a", plain = "pass" }] }]
[inbound.response]
fields = [{ path = "$.a", is = "c.a", do = "tokenize" }, { path = "$.mail", is = "c.a", do = "tokenize", as = "email" },
  { path = "$.kept", is = "c.a", do = "tokenize", store = "vault" }]

[[inbound]]
match = "POST /form"
upstream = "a"
[inbound.request]
body = "form"
reveal = [{ form = "a", is = "c.a" }]
[inbound.response]
body = "ndjson"
fields = [{ path = "$.a", is = "c.a", do = "tokenize" }]
"#;

/// A program that is not told of rotations, and another one that makes them.
struct Pair {
    legs: Vec<Arc<BoundLeg>>,
    paths: Vec<PathTemplate>,
    gate: Arc<Gate>,
    vault: Vault,
    other: Vault,
    _keys: tempfile::TempDir,
}

fn pair() -> Pair {
    let Bound { vault: other, paths, _keys, .. } = bind_keys(ROUTES);
    let gate = Arc::<Gate>::default();
    let source = Gated { folder: Folder::open(&_keys.path().join("keys")).unwrap(), gate: Arc::clone(&gate) };
    let store: Arc<dyn TokenStore> = Arc::new(Memory::default());
    let stored = Stored::new(store, Duration::from_secs(5));
    let ring = KeyRing::beating(Box::new(source), Duration::from_millis(20));
    let vault = Vault::new(Arc::new(ring)).with_store(stored.clone());
    let legs = bind_to(ROUTES, &vault);
    Pair { legs, paths, gate, vault, other: other.with_store(stored), _keys }
}

impl Pair {
    fn names() -> (DomainId, Category) {
        (DomainId::parse("parcelo").unwrap(), Category::parse("c.a").unwrap())
    }

    /// A sealed token of an epoch that was begun just now.
    fn fresh(&self, value: &str) -> String {
        let (domain, category) = Self::names();
        self.other.keys().epochs(&domain).unwrap();
        self.other.keys().rotate(&domain, false).unwrap();
        self.token(value, &category)
    }

    fn token(&self, value: &str, category: &Category) -> String {
        let sealer = self.other.sealer(&Self::names().0, Some(category), Shape::Opaque).unwrap();
        let mut token = Vec::new();
        sealer.issue(Value::Text(value), &mut token);
        String::from_utf8(token).unwrap()
    }

    /// A stored one.
    async fn kept(&self, value: &str) -> String {
        self.fresh("");
        let (domain, category) = Self::names();
        let issuer = self.other.issuer(&domain, Some(&category), Spelling::Opaque, None).unwrap();
        let asks = [Ask::Issue(Wanted::new(&issuer, Value::Text(value)))];
        match self.other.stored().unwrap().resolve(&asks, NOW).await.unwrap().remove(0) {
            Answer::Token(token) => String::from_utf8(token).unwrap(),
            _ => unreachable!(),
        }
    }
}

fn packed(json: &str) -> String {
    data_encoding::BASE64.encode(json.as_bytes())
}

#[tokio::test]
async fn all_tokens_of_a_new_epoch_wait_for_one_reading_and_no_thread_is_blocked() {
    let pair = pair();
    let token = pair.fresh("Anna");
    pair.gate.shut(true);
    let body = format!("{{\"a\":\"{token}\"}}");
    let crossings = futures_util::future::join_all((0..64).map(|_| cross_in(&pair.legs[0], &body, 7)));
    // On the one thread of this test: were it blocked, nobody would open.
    let opening = async {
        while pair.gate.readings() == 0 {
            tokio::task::yield_now().await;
        }
        pair.gate.shut(false);
    };
    let (crossed, ()) = futures_util::future::join(crossings, opening).await;
    for one in crossed {
        assert_eq!(one.unwrap(), r#"{"a":"Anna"}"#);
    }
    assert!(pair.gate.readings() <= 2, "{}", pair.gate.readings());
}

#[tokio::test]
async fn a_token_of_a_new_epoch_is_turned_back_wherever_it_may_stand() {
    let pair = pair();
    for kept in [false, true] {
        let fresh = async || if kept { pair.kept("Anna").await } else { pair.fresh("Anna") };
        let token = fresh().await;
        let inside = packed(&format!("{{\"x\":\"{token}\",\"y\":1}}"));
        let body = format!("{{\"in\":\"{inside}\",\"maybe\":\"{token}\"}}");
        let back = format!("{{\"in\":\"{}\",\"maybe\":\"Anna\"}}", packed(r#"{"x":"Anna","y":1}"#));
        assert_eq!(cross_in(&pair.legs[0], &body, 9).await.unwrap(), back);
        let token = fresh().await;
        assert_eq!(cross_in(&pair.legs[2], &format!("a={token}&b=1"), 9).await.unwrap(), "a=Anna&b=1");

        let (token, other) = (fresh().await, pair.fresh("Ben"));
        let mut head = HeadCrossing::new(&pair.legs[0], NOW);
        let mut headers = HeaderMap::new();
        headers.insert("x-a", HeaderValue::from_str(&other).unwrap());
        let captures = [("id".to_owned(), token.clone())];
        let query = parse_query(&format!("q={token}")).unwrap();
        let cross = |head: &mut HeadCrossing<'_>| {
            head.path(&pair.paths[0], &captures, false)?;
            head.query(&query)?;
            head.headers(&headers, &[], |_, _| None)
        };
        cross(&mut head).unwrap();
        assert!(head.waits());
        head.resolve().await.unwrap();
        cross(&mut head).unwrap();
        let (target, headers) = head.finish().unwrap().into_parts();
        assert_eq!((target.as_str(), headers["x-a"].to_str().unwrap()), ("/Anna?q=Anna", "Ben"));
    }
}

#[tokio::test]
async fn a_token_of_a_new_epoch_is_a_token_already() {
    let pair = pair();
    for kept in [false, true] {
        let token = if kept { pair.kept("Anna").await } else { pair.fresh("Anna") };
        for name in ["a", "mail", "kept"] {
            let body = format!("{{\"{name}\":\"{token}\"}}");
            assert_eq!(cross_in(&pair.legs[1], &body, 9).await.unwrap(), body);
        }
    }
}

#[tokio::test]
async fn a_sealed_token_and_a_stored_one_are_tokens_already_for_each_other() {
    let pair = pair();
    let (_, category) = Pair::names();
    let (sealed, kept) = (pair.token("Anna", &category), pair.kept("Anna").await);
    pair.vault.keys().refresh().unwrap();
    for token in [sealed, kept] {
        for name in ["a", "mail", "kept"] {
            let body = format!("{{\"{name}\":\"{token}\"}}");
            assert_eq!(cross_in(&pair.legs[1], &body, 9).await.unwrap(), body);
        }
    }
    // Of another category it is a value like any other.
    let other = pair.token("Anna", &Category::parse("c.b").unwrap());
    let out = cross_in(&pair.legs[1], &format!("{{\"a\":\"{other}\",\"kept\":\"{other}\"}}"), 99).await.unwrap();
    assert!(!out.contains(&other), "{out}");
}

#[tokio::test]
async fn a_strangers_token_waits_once_is_counted_once_and_stays() {
    let (pair, elsewhere) = (pair(), self::pair());
    let foreign = elsewhere.fresh("Anna");
    let inside = packed(&format!("{{\"x\":\"{foreign}\"}}"));
    let body = format!("{{\"in\":\"{inside}\",\"maybe\":\"{foreign}\"}}");
    for chunk in [usize::MAX, 5] {
        let mut crossing = Crossing::new(Arc::clone(&pair.legs[0]), NOW);
        for chunk in body.as_bytes().chunks(chunk) {
            crossing.feed(chunk).await.unwrap();
        }
        crossing.finish().await.unwrap();
        assert_eq!(crossing.take().as_bytes(), body.as_bytes());
        assert_eq!(crossing.foreign(), 2);
    }
    let refused = cross_in(&pair.legs[0], &format!("{{\"a\":\"{foreign}\"}}"), 99).await.unwrap_err();
    assert_eq!(refused.code(), "token_not_accepted");
    // To tokenize it is one like any other value.
    let out = cross_in(&pair.legs[1], &format!("{{\"a\":\"{foreign}\",\"kept\":\"{foreign}\"}}"), 99).await.unwrap();
    assert!(!out.contains(&foreign) && out.matches("tk1_").count() == 2, "{out}");
}

#[tokio::test]
async fn whoever_sends_ever_new_names_waits_once() {
    let (pair, elsewhere) = (pair(), self::pair());
    let before = pair.gate.readings();
    let mut crossing = Crossing::new(Arc::clone(&pair.legs[0]), NOW);
    crossing.feed(b"{\"b\":[").await.unwrap();
    for _ in 0..20 {
        let foreign = elsewhere.fresh("Anna");
        // Each comes in a piece of its own, at a place that is no reveal's and then at one that is.
        crossing.feed(format!("\"{foreign}\",").as_bytes()).await.unwrap();
    }
    crossing.feed(b"0]").await.unwrap();
    let mut looked = 0;
    for number in 0..20 {
        let foreign = elsewhere.fresh(&number.to_string());
        crossing.feed(format!(",\"maybe\":\"{foreign}\"").as_bytes()).await.unwrap();
        looked += usize::from(crossing.hand.asked() > 0);
    }
    crossing.feed(b"}").await.unwrap();
    crossing.finish().await.unwrap();
    assert_eq!((looked, crossing.foreign()), (0, 20));
    let readings = pair.gate.readings() - before;
    assert!((1..5).contains(&readings), "{readings}");
}

#[tokio::test]
async fn a_reading_that_hangs_refuses_and_goes_on_once_it_is_over() {
    let pair = pair();
    let token = pair.fresh("Anna");
    pair.gate.shut(true);
    let body = format!("{{\"a\":\"{token}\"}}");
    let (one, other) = futures_util::future::join(cross(&pair.legs[0], &body), cross(&pair.legs[0], &body)).await;
    assert_eq!((one.unwrap_err().code(), other.unwrap_err().code()), ("token_not_accepted", "token_not_accepted"));
    assert_eq!(pair.gate.readings(), 1, "one at a time");
    pair.gate.shut(false);
    pair.vault.keys().look().await;
    assert_eq!(cross(&pair.legs[0], &body).await.unwrap(), r#"{"a":"Anna"}"#);
}
