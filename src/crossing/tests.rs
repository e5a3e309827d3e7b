//! Policies as text, bound to real keys, on bodies and heads.

mod budgets;
mod form;
mod framed;
mod hourly;
mod inside_form;
mod looks;
mod parts;
mod stored;

use std::path::Path;

use ::http::{HeaderMap, HeaderName, HeaderValue, header};

use super::bind::BoundLeg;
use super::head::{HeadCrossing, PathTemplate, ReleasedHead};
use super::*;
use crate::ids::{self, Leg};
use crate::keys::{self, KeyRing};
use crate::policy::compile::{self, CompiledPolicy};
use crate::policy::route::parse_query;
use crate::vault::Vault;

mod inside;

const NOW: Time = Time(1_790_000_000_000);

/// One partner's legs, bound to keys that live as long as this.
struct Bound {
    legs: Vec<Arc<BoundLeg>>,
    paths: Vec<PathTemplate>,
    vault: Vault,
    _keys: tempfile::TempDir,
}

fn policy(routes: &str) -> CompiledPolicy {
    let text = format!(
        "[partner]\nid = \"parcelo\"\nname = \"P\"\ncountries = [\"DE\"]\npurpose = \"service\"\nhosts = [\"p.internal\"]\n\
         [agreement]\nreference = \"A\"\nexpires = 2035-12-31\n[identify]\n\
         api_key = {{ header = \"x-api-key\", sha256 = [\"{}\"] }}\n{routes}",
        "ab".repeat(32)
    );
    let (policy, found) = crate::policy::read("p.toml", &text);
    compile::compile(policy.unwrap_or_else(|| panic!("{found:#?}"))).unwrap()
}

/// Request and response leg of each route, in turn.
fn bind(routes: &str) -> Bound {
    let bound = bind_keys(routes);
    Bound { legs: bind_to(routes, &bound.vault), ..bound }
}

/// Keys and paths, and no legs yet.
fn bind_keys(routes: &str) -> Bound {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keys");
    keys::init(&path).unwrap();
    let vault = Vault::new(Arc::new(KeyRing::open(&path).unwrap()));
    let paths = policy(routes).policy.routes.iter().map(|r| PathTemplate::new(&r.template).unwrap()).collect();
    Bound { legs: Vec::new(), paths, vault, _keys: folder }
}

fn bind_to(routes: &str, vault: &Vault) -> Vec<Arc<BoundLeg>> {
    let CompiledPolicy { policy, routes, .. } = policy(routes);
    let read = |_: &Path| Err("no files here".to_owned());
    let leg = |leg, side| Arc::new(BoundLeg::bind(leg, side, &policy.partner.domain, vault, &read).unwrap());
    routes
        .into_iter()
        .flat_map(|route| [leg(route.request, Leg::Request), leg(route.response, Leg::Response)])
        .collect()
}

/// What comes out of a body that comes in pieces of `step` bytes.
async fn cross_in(leg: &Arc<BoundLeg>, body: &str, step: usize) -> Result<String, Refusal> {
    let mut crossing = Crossing::new(Arc::clone(leg), NOW);
    for chunk in body.as_bytes().chunks(step) {
        crossing.feed(chunk).await?;
    }
    crossing.finish().await?;
    Ok(String::from_utf8(crossing.take().into_bytes().to_vec()).unwrap())
}

async fn cross(leg: &Arc<BoundLeg>, body: &str) -> Result<String, Refusal> {
    let whole = cross_in(leg, body, usize::MAX).await;
    assert_eq!(whole, cross_in(leg, body, 1).await, "however it is cut");
    whole
}

fn text<'a>(json: &'a serde_json::Value, name: &str) -> &'a str {
    json.get(name).and_then(serde_json::Value::as_str).unwrap_or_else(|| panic!("no text {name} in {json}"))
}

const VERBS: &str = r#"
[[inbound]]
match = "GET /v1/x"
upstream = "a"
[inbound.response]
fields = [
  { path = "$.keep", do = "keep" },
  { path = "$.mask", do = "mask", keep_last = 2 },
  { path = "$.year", do = "generalize", to = "year" },
  { path = "$.token", is = "id.customer", do = "tokenize" },
  { path = "$.hash", is = "id.customer", do = "pseudonymize" },
  { path = "$.null", do = "null" },
  { path = "$.const", do = "replace", with = "-" },
]
[[inbound]]
match = "POST /v1/x"
upstream = "a"
[inbound.request]
reveal = [
  { path = "$.token", is = "id.customer" },
  { path = "$.other", is = "id.order", plain = "pass" },
]
[inbound.response]
keep = []
"#;

#[tokio::test]
async fn every_verb_leaves_what_the_policy_says_and_nothing_else_leaves() {
    let bound = bind(VERBS);
    let body = r#"{"secret":"s","keep":1.50,"mask":"abcdefgh","year":"1980-05-06","token":"c-1","hash":"c-1","null":7,"const":{"a":1}}"#;
    let out = cross(&bound.legs[1], body).await.unwrap();
    assert!(out.starts_with(r#"{"keep":1.50,"mask":"******gh","year":"1980","token":"tk1_"#), "{out}");
    assert!(out.ends_with(r#","null":null,"const":"-"}"#), "{out}");
    assert!(!out.contains("c-1") && !out.contains("secret"), "{out}");
}

#[tokio::test]
async fn a_token_comes_back_as_what_it_was_number_or_text() {
    let bound = bind(VERBS);
    for value in ["\"c \\\"1\\\" \\u00fc\"", "12", "\"12\""] {
        let out = cross(&bound.legs[1], &format!("{{\"token\":{value}}}")).await.unwrap();
        let sent: serde_json::Value = serde_json::from_str(&out).unwrap();
        assert!(text(&sent, "token").starts_with("tk1_"), "{out}");
        let back = cross(&bound.legs[2], &out).await.unwrap();
        let back: serde_json::Value = serde_json::from_str(&back).unwrap();
        assert_eq!(back["token"], serde_json::from_str::<serde_json::Value>(value).unwrap());
    }
}

#[tokio::test]
async fn what_is_no_token_of_the_place_is_refused_or_stays_a_token() {
    let bound = bind(VERBS);
    let refused = |body: &'static str| async { cross(&bound.legs[2], body).await.unwrap_err() };
    let rule = RuleId::new("token");
    let accepted = Refusal::TokenNotAccepted { leg: Leg::Request, rule };
    for body in
        [r#"{"token":"plain"}"#, r#"{"token":7}"#, r#"{"token":true}"#, r#"{"token":"tk1_aaaaaaaaaaaaaaaaaaaa"}"#]
    {
        assert_eq!(refused(body).await.code(), accepted.code(), "{body}");
    }
    let out = cross(&bound.legs[1], r#"{"token":"c-1"}"#).await.unwrap();
    let token = out.replace("\"token\"", "\"other\"");
    let mut crossing = Crossing::new(Arc::clone(&bound.legs[2]), NOW);
    crossing.feed(token.as_bytes()).await.unwrap();
    crossing.finish().await.unwrap();
    assert_eq!(crossing.foreign(), 1, "a token of another category raises the alarm");
    assert_eq!(crossing.take().as_bytes(), token.as_bytes(), "and stays a token");
    assert_eq!(cross(&bound.legs[2], r#"{"other":"plain"}"#).await.unwrap(), r#"{"other":"plain"}"#);
}

#[tokio::test]
async fn a_boolean_cannot_hide_and_goes() {
    let bound = bind(VERBS);
    let mut crossing = Crossing::new(Arc::clone(&bound.legs[1]), NOW);
    crossing.feed(br#"{"mask":true,"token":false,"keep":true}"#).await.unwrap();
    crossing.finish().await.unwrap();
    assert_eq!(crossing.take().as_bytes(), br#"{"keep":true}"#);
    assert_eq!(crossing.unfit(), 2);
}

#[tokio::test]
async fn a_fault_spends_the_crossing_and_nothing_comes_out_of_it() {
    let bound = bind(VERBS);
    let mut crossing = Crossing::new(Arc::clone(&bound.legs[1]), NOW);
    crossing.feed(br#"{"keep":1,"#).await.unwrap();
    let refusal = crossing.feed(b"x").await.unwrap_err();
    assert!(matches!(refusal, Refusal::BodyMalformed { leg: Leg::Response, .. }), "{refusal:?}");
    assert!(crossing.take().is_empty());
    crossing.feed(b"}").await.unwrap_err();
    crossing.finish().await.unwrap_err();
    assert!(crossing.take().is_empty());
}

#[tokio::test]
async fn the_tally_names_the_rules_that_decided() {
    let bound = bind(VERBS);
    let mut crossing = Crossing::new(Arc::clone(&bound.legs[1]), NOW);
    crossing.feed(br#"{"token":"a","const":1}"#).await.unwrap();
    crossing.finish().await.unwrap();
    let tally = crossing.tally();
    let names: Vec<_> = tally.iter().map(|(id, count)| (id.as_str(), *count)).collect();
    assert_eq!(names, [("token", 1), ("const", 1)]);
}

const BESIDE: &str = r#"
[[inbound]]
match = "GET /v1/orders/{id}/x"
upstream = "a"
[inbound.request]
query = ["expand"]
headers = ["x-keep"]
reveal = [{ capture = "id", is = "id.order", plain = "pass" }, { query = "customer", is = "id.customer" }]
fields = [
  { header = "x-operator", do = "pseudonymize" },
  { header = "x-gone", do = "drop" },
  { query = "note", do = "mask", keep_last = 1 },
  { cookie = "session", do = "keep" },
]
[inbound.response]
keep = ["$.a"]
fields = [
  { header = "location", do = "keep", reason = "a relative path of the order" },
  { header = "x-customer", is = "id.customer", do = "tokenize" },
]

[[outbound]]
match = "GET /people/{id}"
upstream = "a"
[outbound.request]
fields = [{ capture = "id", is = "id.customer", do = "tokenize" }]
"#;

fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in pairs {
        headers.append(HeaderName::from_static(name), HeaderValue::from_str(value).unwrap());
    }
    headers
}

/// Nothing is on the default list here but `accept`.
fn default(name: &HeaderName, value: &HeaderValue) -> Option<HeaderValue> {
    (name == header::ACCEPT).then(|| value.clone())
}

fn head(bound: &Bound, id: &str, query: &str, from: &[(&'static str, &str)]) -> Result<ReleasedHead, Refusal> {
    let mut crossing = HeadCrossing::new(&bound.legs[0], NOW);
    crossing.path(&bound.paths[0], &[("id".to_owned(), id.to_owned())], false)?;
    crossing.query(&parse_query(query).unwrap())?;
    crossing.headers(&headers(from), &[HeaderName::from_static("x-api-key")], default)?;
    crossing.finish()
}

#[test]
fn beside_the_body_only_what_is_listed_passes() {
    let bound = bind(BESIDE);
    let from = [
        ("accept", "a/b"),
        ("x-keep", "1"),
        ("x-gone", "1"),
        ("x-other", "1"),
        ("host", "a"),
        ("x-operator", "anna"),
        ("cookie", "theme=dark; session=abc; x"),
        ("x-api-key", "k"),
    ];
    head(&bound, "o 1/ü", "", &from).unwrap_err();
    let (target, headers) =
        head(&bound, "o 1ü", "expand=a%20b&debug=1&expand=2&note=hello", &from).unwrap().into_parts();
    assert_eq!(target, "/v1/orders/o%201%C3%BC/x?expand=a%20b&expand=2&note=%2A%2A%2A%2A%2A%2Ao");
    let names: Vec<_> = headers.keys().map(HeaderName::as_str).collect();
    assert_eq!(names.len(), 4, "{names:?}");
    assert_eq!(
        (&headers["x-keep"], &headers["accept"], &headers["cookie"]),
        (&"1".parse().unwrap(), &"a/b".parse().unwrap(), &"session=abc".parse().unwrap())
    );
    assert_ne!(headers["x-operator"], "anna");
}

#[test]
fn a_token_in_path_and_query_is_turned_back_for_its_category_only() {
    let bound = bind(BESIDE);
    let domain = ids::DomainId::parse("parcelo").unwrap();
    let issue = |category: &str, value: &str| {
        let category = ids::Category::parse(category).unwrap();
        let mut out = Vec::new();
        let sealer = bound.vault.sealer(&domain, Some(&category), ids::Shape::Opaque).unwrap();
        sealer.issue(crate::vault::token::Value::Text(value), &mut out);
        String::from_utf8(out).unwrap()
    };
    let (order, customer) = (issue("id.order", "o-7"), issue("id.customer", "c&7"));
    let target = head(&bound, &order, &format!("customer={customer}"), &[]).unwrap();
    assert_eq!(target.target(), "/v1/orders/o-7/x?customer=c%267");
    let wrong = head(&bound, "o", &format!("customer={order}"), &[]).unwrap_err();
    assert!(matches!(wrong, Refusal::TokenNotAccepted { leg: Leg::Request, .. }), "{wrong:?}");
    let climbing = head(&bound, &issue("id.order", "../admin"), "", &[]).unwrap_err();
    assert!(matches!(climbing, Refusal::TokenNotAccepted { .. }), "{climbing:?}");
    let foreign = head(&bound, &customer, "", &[]).unwrap();
    assert_eq!((foreign.foreign(), foreign.target()), (1, format!("/v1/orders/{customer}/x").as_str()));
}

#[test]
fn of_a_response_what_no_rule_names_stays() {
    let bound = bind(BESIDE);
    let mut crossing = HeadCrossing::new(&bound.legs[1], NOW);
    let from = headers(&[
        ("x-customer", "c-1"),
        ("x-customer", "c-2"),
        ("location", "/x"),
        ("server", "s"),
        ("set-cookie", "a=b"),
        ("etag", "\"e\""),
        ("content-digest", "sha-256=:AAAA:"),
    ]);
    crossing.headers(&from, &[], default).unwrap();
    let (_, headers) = crossing.finish().unwrap().into_parts();
    assert!(headers.get_all("x-customer").iter().all(|value| value.to_str().unwrap().starts_with("tk1_")));
    assert_eq!((headers.len(), &headers["location"]), (3, &"/x".parse().unwrap()), "{:?}", headers.keys());
}

#[test]
fn outbound_a_capture_leaves_as_its_rule_says() {
    let bound = bind(BESIDE);
    let mut crossing = HeadCrossing::new(&bound.legs[2], NOW);
    crossing.path(&bound.paths[1], &[("id".to_owned(), "c-1".to_owned())], true).unwrap();
    let released = crossing.finish().unwrap();
    assert!(released.target().starts_with("/people/tk1_"), "{}", released.target());
    let mut crossing = HeadCrossing::new(&bound.legs[0], NOW);
    let unruled = PathTemplate::new(&crate::policy::route::Template {
        segments: vec![crate::policy::route::TemplateSegment::Capture("other".to_owned())],
    });
    crossing.path(&unruled.unwrap(), &[("other".to_owned(), "c-1".to_owned())], true).unwrap_err();
}

#[tokio::test]
async fn a_body_that_has_to_match_is_refused_where_it_does_not_and_where_it_is_absent() {
    let routes =
        VERBS.replace("{ path = \"$.keep\", do = \"keep\" }", "{ path = \"$.keep\", do = \"keep\", must = true }");
    let bound = bind(&routes);
    cross(&bound.legs[1], r#"{"keep":1}"#).await.unwrap();
    for body in [r#"{"kept":1}"#, ""] {
        let refusal = cross(&bound.legs[1], body).await.unwrap_err();
        assert!(matches!(refusal, Refusal::RuleUnmatched { leg: Leg::Response, .. }), "{refusal:?}");
    }
}
