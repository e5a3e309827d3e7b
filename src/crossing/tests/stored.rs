//! Stored tokens: one question a window, in every framing, there and back, and nothing else where the store fails.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::vault::store::memory::Memory;
use crate::vault::store::{Answer, Entry, Forget, Forgotten, Page, StoreError, TokenId, TokenStore};
use crate::vault::stored::ask::Stored;

mod failing;
mod persons;
#[cfg(feature = "postgres")]
mod postgres;

/// Counts what it is asked, and can fail.
#[derive(Debug)]
pub(super) struct Watched {
    kept: Arc<dyn TokenStore>,
    calls: AtomicUsize,
    /// How many were asked in each call.
    sizes: Mutex<Vec<usize>>,
    /// From this call on it answers nothing; 0: never.
    fails_at: AtomicUsize,
    /// It keeps, and says that it did not.
    lies: bool,
    /// It never answers instead of failing.
    silent: bool,
}

impl Default for Watched {
    fn default() -> Self {
        Self {
            kept: Arc::new(Memory::default()),
            calls: AtomicUsize::default(),
            sizes: Mutex::default(),
            fails_at: AtomicUsize::default(),
            lies: false,
            silent: false,
        }
    }
}

impl Watched {
    fn call<'a, T: Send + 'a>(&'a self, size: usize, answer: Answer<'a, T>) -> Answer<'a, T> {
        let call = self.calls.fetch_add(1, Ordering::Relaxed) + 1;
        self.sizes.lock().unwrap().push(size);
        let fails_at = self.fails_at.load(Ordering::Relaxed);
        Box::pin(async move {
            if fails_at == 0 || call < fails_at {
                return answer.await;
            }
            if self.lies {
                let _ = answer.await;
            }
            if self.silent {
                std::future::pending::<()>().await;
            }
            Err(StoreError { act: "test", cause: "no".into(), away: true })
        })
    }
}

impl TokenStore for Watched {
    fn put_if_absent<'a>(&'a self, entries: &'a [Entry]) -> Answer<'a, Vec<TokenId>> {
        self.call(entries.len(), self.kept.put_if_absent(entries))
    }
    fn find<'a>(&'a self, tokens: &'a [TokenId]) -> Answer<'a, Vec<Option<Entry>>> {
        self.call(tokens.len(), self.kept.find(tokens))
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
        self.kept.health()
    }
}

/// Legs over a store; request and response of each route, in turn.
pub(super) struct House {
    pub(super) legs: Vec<Arc<BoundLeg>>,
    store: Arc<Watched>,
    paths: Vec<PathTemplate>,
    _keys: tempfile::TempDir,
}

pub(super) fn house(routes: &str, store: Watched) -> House {
    house_within(routes, store, Duration::from_millis(200))
}

/// A question has so much time.
fn house_within(routes: &str, store: Watched, time: Duration) -> House {
    let Bound { vault, paths, _keys, .. } = bind_keys(routes);
    let store = Arc::new(store);
    let vault = vault.with_store(Stored::new(Arc::clone(&store) as Arc<dyn TokenStore>, time));
    House { legs: bind_to(routes, &vault), store, paths, _keys }
}

/// A leg with `store = "vault"` wherever `STORE` stands, and what turns it back.
pub(super) fn both(kind: &str, fields: &str, reveal: &str, store: &str) -> String {
    format!(
        "[[inbound]]\nmatch = \"POST /{store}\"\nupstream = \"a\"\n[inbound.request]\nbody = \"{kind}\"\nreveal = [{reveal}]\n\
         [inbound.response]\nbody = \"{kind}\"\ndefault = \"keep\"\nfields = [{}]\n",
        fields.replace("STORE", if store == "vault" { "store = \"vault\"" } else { "store = \"none\"" })
    )
}

const FIELDS: &str = r#"
  { path = "$.a", is = "c.a", do = "tokenize", STORE },
  { path = "$.list[*]", is = "c.list", do = "tokenize", STORE },
  { path = "$.mail", is = "c.mail", do = "tokenize", as = "email", STORE },
  { path = "$.mask", do = "mask", keep_last = 1 },
  { path = "$.gone", do = "drop" },
  { path = "$.in", inside = "json", default = "keep", fields = [{ path = "$..x", is = "c.x", do = "tokenize", STORE }] },
  { path = "$.packed", inside = ["base64", "json"], default = "keep", fields = [
    { path = "$.deep", inside = "json", default = "keep", fields = [{ path = "$.x", is = "c.x", do = "tokenize", STORE }] },
  ] },
"#;

const REVEAL: &str = r#"
  { path = "$.a", is = "c.a", plain = "pass" },
  { path = "$.list[*]", is = "c.list", plain = "pass" },
  { path = "$.mail", is = "c.mail", plain = "pass" },
"#;

/// Reveals inside strings are rules of their own.
const REVEAL_INSIDE: &str = r#"
fields = [
  { path = "$.in", inside = "json", reveal = [{ path = "$..x", is = "c.x", plain = "pass" }] },
  { path = "$.packed", inside = ["base64", "json"], fields = [
    { path = "$.deep", inside = "json", reveal = [{ path = "$.x", is = "c.x", plain = "pass" }] },
  ] },
]
"#;

fn json_routes(kind: &str) -> String {
    let with_inside = |text: String| text.replace("[inbound.response]", &format!("{REVEAL_INSIDE}[inbound.response]"));
    format!("{}{}", with_inside(both(kind, FIELDS, REVEAL, "vault")), with_inside(both(kind, FIELDS, REVEAL, "none")))
}

/// What comes out of pieces of this size, taken after each.
fn taken(leg: &Arc<BoundLeg>, body: &[u8], step: usize) -> (Vec<u8>, Result<(), Refusal>) {
    let mut crossing = Crossing::new(Arc::clone(leg), NOW);
    crossing.set_apart("in".to_owned(), "out".to_owned());
    let mut out = Vec::new();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let done = runtime.block_on(async {
        for chunk in body.chunks(step.max(1)) {
            let fed = crossing.feed(chunk).await;
            out.extend_from_slice(crossing.take().as_bytes());
            fed?;
        }
        crossing.finish().await
    });
    out.extend_from_slice(crossing.take().as_bytes());
    (out, done)
}

pub(super) fn passed(leg: &Arc<BoundLeg>, body: &[u8], step: usize) -> Vec<u8> {
    let (out, done) = taken(leg, body, step);
    done.unwrap_or_else(|refusal| panic!("{refusal}: {}", String::from_utf8_lossy(body)));
    out
}

/// With `T` for each token, in whatever coding it stands.
pub(super) fn blanked(out: &[u8]) -> String {
    let text = String::from_utf8(out.to_vec()).unwrap();
    let packed = regex::Regex::new("[A-Za-z0-9+/]{70,}={0,2}").unwrap();
    let text = packed.replace_all(&text, |found: &regex::Captures<'_>| {
        let bytes = data_encoding::BASE64.decode(found[0].as_bytes());
        bytes.map_or_else(|_| found[0].to_owned(), |bytes| String::from_utf8(bytes).unwrap())
    });
    let token =
        regex::Regex::new(r"tk1_[a-z2-7]+(@([a-z2-7]+\.)?token\.invalid|%40([a-z2-7]+\.)?token\.invalid)?").unwrap();
    token.replace_all(&text, "T").into_owned()
}

fn documents() -> impl Strategy<Value = String> {
    let leaf = prop::sample::select(vec![
        "1",
        "-1.50e2",
        "null",
        "true",
        "\"\"",
        "\"a\\u0041b\"",
        "\"anna@mail.example\"",
        "\"same\"",
        "\"\\n\\\"\\ud83d\\ude00\"",
        "[\"same\",\"one\",{\"x\":\"two\"},3]",
        "{}",
        r#""{\"x\":\"same\",\"y\":[{\"x\":7}]}""#,
        r#""{\"x\":\"one\"} ""#,
    ]);
    let packed = [r#"{"deep":"{\"x\":\"far \\u0041way\"}","k":1}"#, r#"{"k":[]}"#]
        .map(|text| format!("\"{}\"", data_encoding::BASE64.encode(text.as_bytes())));
    let name = prop::sample::select(vec!["a", "list", "mail", "mask", "gone", "in", "other", "packed"]);
    let space = prop::sample::select(vec!["", " ", "\t "]);
    let member = (name, space, leaf, prop::sample::select(packed.to_vec())).prop_map(|(name, space, leaf, packed)| {
        let value = match name {
            "packed" => packed.as_str(),
            "in" if leaf.starts_with("\"{") => leaf,
            "in" => r#""[{\"x\":\"same\"}]""#,
            _ => leaf,
        };
        format!("{space}\"{name}\":{space}{value}")
    });
    prop::collection::vec(member, 0..7).prop_map(|members| format!("{{{}}}", members.join(",")))
}

/// As values, so that spelling does not count.
fn parsed(text: &[u8]) -> Vec<serde_json::Value> {
    let lines = text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    let data = lines.map(|line| line.strip_prefix(b"data:").unwrap_or(line));
    data.map(|line| serde_json::from_slice(line).unwrap()).collect()
}

fn one_way_or_the_other(house: &House, body: &str, step: usize) {
    let [back, stored, back_sealed, sealed] = &*house.legs else { panic!() };
    let out = passed(stored, body.as_bytes(), step);
    assert_eq!(blanked(&out), blanked(&passed(sealed, body.as_bytes(), step)), "{body}");
    // The same tokens, however it is cut.
    assert_eq!(out, passed(stored, body.as_bytes(), usize::MAX), "{body}");
    // A masked value would not be taken back.
    let real = |out: Vec<u8>| String::from_utf8(out).unwrap().replace("******", "real").into_bytes();
    let sealed_back = passed(back_sealed, &real(passed(sealed, body.as_bytes(), step)), step);
    let stored_back = passed(back, &real(out), step);
    assert_eq!(parsed(&stored_back), parsed(&sealed_back), "{body}");
}

#[test]
fn a_stored_token_stands_where_a_sealed_one_would_and_is_turned_back() {
    let [json, lines, events] = ["json", "ndjson", "sse"].map(|kind| house(&json_routes(kind), Watched::default()));
    let documents = prop::collection::vec(documents(), 1..4);
    proptest!(ProptestConfig::with_cases(64), |(documents in documents, step in 1_usize..200)| {
        one_way_or_the_other(&json, &documents[0], step);
        one_way_or_the_other(&lines, &format!("{}\n", documents.join("\n")), step);
        let body: String = documents.iter().map(|one| format!("data:{one}\n\n")).collect();
        one_way_or_the_other(&events, &body, step);
    });
}

#[test]
fn a_window_asks_once_for_all_its_values_and_once_for_equal_ones() {
    let house = house(&json_routes("ndjson"), Watched::default());
    let body = "{\"a\":\"one\",\"list\":[\"two\",\"two\",3]}\n{\"a\":\"one\",\"in\":\"{\\\"x\\\":\\\"four\\\"}\"}\n"
        .repeat(20);
    let out = passed(&house.legs[1], body.as_bytes(), usize::MAX);
    assert_eq!(*house.store.sizes.lock().unwrap(), [4]);
    passed(&house.legs[0], &out, usize::MAX);
    assert_eq!(*house.store.sizes.lock().unwrap(), [4, 4]);
    assert_eq!(all(&house).len(), 4);
    // Nothing to ask, nothing asked.
    passed(&house.legs[1], b"{\"b\":1,\"a\":null}\n", 3);
    assert_eq!(house.store.calls.load(Ordering::Relaxed), 2);
}

#[test]
fn forms_and_parts_are_filled_too_as_their_framing_spells_it() {
    let fields = "{ KIND = \"a\", is = \"c.a\", do = \"tokenize\", STORE }, { KIND = \"m\", is = \"c.m\", do = \"tokenize\", as = \"email\", STORE }, \
                  { KIND = \"j\", inside = \"json\", fields = [{ path = \"$.x\", is = \"c.x\", do = \"tokenize\", STORE }] }";
    let reveal = "{ KIND = \"a\", is = \"c.a\", plain = \"pass\" }, { KIND = \"m\", is = \"c.m\" }";
    for kind in ["form", "multipart"] {
        let word = if kind == "form" { "form" } else { "part" };
        let text = |store| both(kind, fields, reveal, store).replace("KIND", word);
        let house = house(&format!("{}{}", text("vault"), text("none")), Watched::default());
        let part = |boundary: &str, name: &str, value: &str| {
            format!("--{boundary}\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
        };
        let body = |boundary: &str| match kind {
            "form" => "a=%C3%A4%26&b=1&m=anna&a=&j=%7B%22x%22:%22y%22%7D".to_owned(),
            _ => {
                let parts = [("a", "ä&"), ("b", "1"), ("m", "anna"), ("a", ""), ("j", "{\"x\":\"y\"}")];
                parts.map(|(name, value)| part(boundary, name, value)).concat() + &format!("--{boundary}--\r\n")
            }
        };
        for step in [1, 5, usize::MAX] {
            let out = passed(&house.legs[1], body("in").as_bytes(), step);
            assert_eq!(blanked(&out), blanked(&passed(&house.legs[3], body("in").as_bytes(), step)), "{kind}");
            let text = String::from_utf8(out).unwrap();
            assert_eq!(text.matches("tk1_").count(), 4, "{text}");
            let back = passed(&house.legs[0], text.replace("--out", "--in").as_bytes(), step);
            let back = String::from_utf8(back).unwrap();
            let wanted = if kind == "form" { "a=%C3%A4%26&b=1&m=anna&a=&j=" } else { "ä&\r\n" };
            assert!(back.contains(wanted) && back.matches("tk1_").count() == 1, "{back}");
        }
    }
}

#[test]
fn what_a_form_cannot_reveal_keeps_its_bytes() {
    let house = house(
        &both(
            "form",
            "{ form = \"a\", is = \"c.a\", do = \"tokenize\", STORE }",
            "{ form = \"a\", is = \"c.a\", plain = \"pass\" }",
            "vault",
        ),
        Watched::default(),
    );
    let out = passed(&house.legs[1], b"a=1", 9);
    forget_all(&house);
    // Spelt as nobody spells it.
    let out = String::from_utf8(out).unwrap().replace("tk1_", "%74k1_");
    assert_eq!(passed(&house.legs[0], out.as_bytes(), 3), out.as_bytes());
}

fn forget_all(house: &House) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(house.store.kept.forget(&Forget::IssuedBefore(u64::MAX), usize::MAX)).unwrap();
}

const SHAPES: &str = r#"
  { path = "$.a", is = "c.a", do = "tokenize", store = "vault" },
  { path = "$.m", is = "c.a", do = "tokenize", store = "vault", as = "email" },
  { path = "$.u", is = "c.a", do = "tokenize", store = "vault", as = "uuid" },
  { path = "$.o", is = "c.a", do = "tokenize", store = "vault", once = true, ttl = "1m" },
"#;

#[tokio::test]
async fn each_shape_is_fixed_in_length_and_says_itself_what_it_is() {
    let reveal = "{ path = \"$.*\", is = \"c.a\" }";
    let house = house(&both("json", SHAPES, reveal, "vault"), Watched::default());
    let cross = async |leg: usize, body: &str| cross_in(&house.legs[leg], body, 7).await;
    for value in ["\"x\"", &format!("\"{}\"", "x".repeat(9000)), "12.50", "\"\""] {
        let body = format!("{{\"a\":{value},\"m\":{value},\"u\":{value},\"o\":{value}}}");
        let out: serde_json::Value = serde_json::from_str(&cross(1, &body).await.unwrap()).unwrap();
        let lengths = ["a", "m", "u", "o"].map(|name| text(&out, name).len());
        assert_eq!(lengths, [38, 52, 36, 38]);
        let again: serde_json::Value = serde_json::from_str(&cross(1, &body).await.unwrap()).unwrap();
        let same = ["a", "m", "u", "o"].map(|name| text(&out, name) == text(&again, name));
        assert_eq!(same, [true, true, true, false], "a token of one flow is new each time");
        let upper = out.to_string().to_uppercase().replace("\"A\"", "\"a\"");
        for body in [out.to_string(), again.to_string(), upper] {
            let back: serde_json::Value = serde_json::from_str(&cross(0, &body).await.unwrap()).unwrap();
            let value: serde_json::Value = serde_json::from_str(value).unwrap();
            assert!(back.as_object().unwrap().values().all(|back| *back == value), "{back}");
        }
        // A token of this category is one already, and not a second time.
        let once = cross(1, &format!("{{\"a\":{}}}", out["a"])).await.unwrap();
        assert_eq!(once, format!("{{\"a\":{}}}", out["a"]));
    }
}

#[tokio::test]
async fn a_token_of_one_flow_ends_and_is_counted_as_gone() {
    let house = house(&both("json", SHAPES, "{ path = \"$.o\", is = \"c.a\" }", "vault"), Watched::default());
    let out = cross_in(&house.legs[1], "{\"o\":\"x\"}", 7).await.unwrap();
    let at = async |millis: u64| {
        let mut crossing = Crossing::new(Arc::clone(&house.legs[0]), Time(NOW.0 + millis));
        crossing.feed(out.as_bytes()).await?;
        crossing.finish().await.map(|()| crossing.gone())
    };
    assert_eq!(at(59_999).await.unwrap(), 0);
    assert_eq!(at(60_000).await.unwrap_err().code(), "token_not_accepted");
    let mut crossing = Crossing::new(Arc::clone(&house.legs[0]), Time(NOW.0 + 60_000));
    crossing.feed(out.as_bytes()).await.unwrap_err();
    assert_eq!((crossing.gone(), crossing.foreign()), (1, 0));
}

#[tokio::test]
async fn what_is_no_token_of_this_category_asks_nothing() {
    let routes = both(
        "json",
        "{ path = \"$.a\", is = \"c.a\", do = \"tokenize\", STORE }, { path = \"$.u\", is = \"c.a\", do = \"tokenize\", as = \"uuid\", STORE }",
        "{ path = \"$.*\", is = \"c.b\", plain = \"pass\" }",
        "vault",
    );
    let house = house(&routes, Watched::default());
    let out = cross_in(&house.legs[1], "{\"a\":\"x\",\"u\":\"x\"}", 9).await.unwrap();
    let asked = house.store.calls.load(Ordering::Relaxed);
    let mut crossing = Crossing::new(Arc::clone(&house.legs[0]), NOW);
    crossing.feed(out.as_bytes()).await.unwrap();
    crossing.finish().await.unwrap();
    assert_eq!(crossing.take().as_bytes(), out.as_bytes());
    // A UUID names no key: of another category it is a UUID like any.
    assert_eq!((crossing.foreign(), crossing.gone()), (1, 0));
    for plain in ["0193bc5e-8a3b-8c4d-9e5f-a0b1c2d3e4f5", "tk1_aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "tk1_ä"] {
        cross_in(&house.legs[0], &format!("{{\"a\":\"{plain}\"}}"), 9).await.unwrap();
    }
    assert_eq!(house.store.calls.load(Ordering::Relaxed), asked);
}

#[tokio::test]
async fn path_query_and_headers_are_crossed_again_with_the_answers() {
    let routes = "[[inbound]]\nmatch = \"GET /v1/{id}/x\"\nupstream = \"a\"\n[inbound.request]\n\
         reveal = [{ capture = \"id\", is = \"c.id\" }, { query = \"q\", is = \"c.id\", plain = \"pass\" }, { header = \"x-id\", is = \"c.id\" }]\n\
         fields = [{ header = \"x-in\", inside = \"json\", reveal = [{ path = \"$.x\", is = \"c.id\" }] }]\n\
         [inbound.response]\nfields = [{ header = \"x-id\", is = \"c.id\", do = \"tokenize\", store = \"vault\" }]\n";
    let house = house(routes, Watched::default());
    let mut from = HeaderMap::new();
    from.append("x-id", HeaderValue::from_static("a bc"));
    from.append("x-id", HeaderValue::from_static("a bc"));
    let none = |_: &HeaderName, _: &HeaderValue| None;
    let mut crossing = HeadCrossing::new(&house.legs[1], NOW);
    crossing.headers(&from, &[], none).unwrap();
    assert!(crossing.waits());
    crossing.resolve().await.unwrap();
    crossing.headers(&from, &[], none).unwrap();
    let (_, issued) = crossing.finish().unwrap().into_parts();
    let tokens: Vec<_> = issued.get_all("x-id").iter().map(|value| value.to_str().unwrap().to_owned()).collect();
    assert!(tokens.len() == 2 && tokens[0].len() == 38 && tokens[0] == tokens[1]);

    let mut from = HeaderMap::new();
    from.append("x-id", HeaderValue::from_str(&tokens[0]).unwrap());
    from.append("x-in", HeaderValue::from_str(&format!("{{\"x\":\"{}\"}}", tokens[0])).unwrap());
    let query = parse_query(&format!("q={}&q=plain", tokens[0])).unwrap();
    let captures = [("id".to_owned(), tokens[0].clone())];
    let mut crossing = HeadCrossing::new(&house.legs[0], NOW);
    let cross = |crossing: &mut HeadCrossing<'_>| {
        crossing.path(&house.paths[0], &captures, false)?;
        crossing.query(&query)?;
        crossing.headers(&from, &[], none)
    };
    cross(&mut crossing).unwrap();
    crossing.resolve().await.unwrap();
    cross(&mut crossing).unwrap();
    let released = crossing.finish().unwrap();
    assert!(
        released.tally().iter().all(|(rule, count)| *count == if rule.as_str() == "query.q" { 2 } else { 1 }),
        "{:?}",
        released.tally()
    );
    assert_eq!(released.target(), "/v1/a%20bc/x?q=a%20bc&q=plain");
    assert_eq!(released.into_parts().1["x-in"], "{\"x\":\"a bc\"}");
    assert_eq!(*house.store.sizes.lock().unwrap(), [1, 1]);

    // What waits cannot be released.
    let mut crossing = HeadCrossing::new(&house.legs[0], NOW);
    cross(&mut crossing).unwrap();
    assert!(crossing.finish().is_err());
}

#[tokio::test]
async fn a_store_that_answers_something_else_is_not_believed() {
    let house = house(&json_routes("json"), Watched::default());
    let out = cross_in(&house.legs[1], "{\"a\":\"one\",\"list\":[\"two\"]}", 99).await.unwrap();
    let mut entries = house.store.kept.visit(None, 9).await.unwrap().entries;
    forget_all_of(&house).await;
    // Swapped: each value was sealed for the other token.
    let (first, second) = (entries[0].sealed.clone(), entries[1].sealed.clone());
    (entries[0].sealed, entries[1].sealed) = (second, first);
    house.store.kept.put_if_absent(&entries).await.unwrap();
    assert_eq!(cross_in(&house.legs[0], &out, 99).await.unwrap_err().code(), "vault_unavailable");
    forget_all_of(&house).await;
    // A token that nobody issued.
    entries[0].token = [7; 16];
    entries[1].token = [8; 16];
    house.store.kept.put_if_absent(&entries).await.unwrap();
    let refused = cross_in(&house.legs[1], "{\"a\":\"one\"}", 99).await.unwrap_err();
    assert_eq!(refused.code(), "vault_unavailable");
}

fn all(house: &House) -> Vec<Entry> {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(house.store.kept.visit(None, 99)).unwrap().entries
}

async fn forget_all_of(house: &House) {
    house.store.kept.forget(&Forget::IssuedBefore(u64::MAX), usize::MAX).await.unwrap();
}

#[test]
fn what_the_store_gives_counts_against_the_growth_of_a_document() {
    let limited = |growth: u64| {
        let routes = both("ndjson", FIELDS, REVEAL, "vault");
        house(&format!("[limits]\ngrowth = {growth}\n{routes}"), Watched::default())
    };
    let line = "{\"a\":\"x\",\"list\":[\"y\"]}\n";
    // 40 for each of two values of three.
    passed(&limited(74).legs[1], line.repeat(3).as_bytes(), 1000);
    for step in [1, 1000] {
        let (out, done) = taken(&limited(73).legs[1], format!("{{}}\n{}", line.repeat(3)).as_bytes(), step);
        assert_eq!(done.unwrap_err().code(), "json_growth");
        assert!(out.is_empty() || out == b"{}\n");
    }
}

#[test]
fn a_stored_token_needs_a_store() {
    let routes = both("json", SHAPES, "{ path = \"$.a\", is = \"c.a\" }", "vault");
    let Bound { vault, .. } = bind_keys(&routes);
    let CompiledPolicy { policy, routes, .. } = policy(&routes);
    let read = |_: &Path| Err("no files here".to_owned());
    let leg = routes.into_iter().next().unwrap().response;
    let bound = BoundLeg::bind(leg, Leg::Response, &policy.partner.domain, &vault, &read);
    assert!(bound.unwrap_err().to_string().contains("rule `a`: `store = \"vault\"` needs a place"));
}
