//! Unit tests of the reader, on policies in strings.

use crate::ids::{Normalize, Shape};

use super::rule::{Action, BodyKind, CredentialKind, Locator, Plain};
use super::*;

const HEAD: &str = r#"
[partner]
id = "parcelo"
name = "Parcelo Logistics GmbH"
countries = ["DE"]
purpose = "service.delivery"
hosts = ["Parcelo.internal:443"]
[agreement]
reference = "DSA-2026-014"
expires = 2027-06-30
[identify]
client_certificate = { san = "*.Parcelo.example", ca = "certs/parcelo-ca.pem" }
api_key = { header = "X-Api-Key", sha256 = ["9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"] }
jwt = { issuer = "https://id.parcelo.example", audience = "orders", algorithms = ["ES256"], claims = { azp = "parcelo" }, jwks = "k.json" }
require = ["client_certificate", "api_key"]
[limits]
rate = "200/s"
burst = 400
concurrent = 64
body = "2MiB"
value = "64KiB"
atomic = 4096
"#;

#[track_caller]
fn good(text: &str) -> Policy {
    let (policy, found) = read("p.toml", text);
    policy.unwrap_or_else(|| panic!("{}", found.iter().map(|d| d.render(text, false)).collect::<String>()))
}

/// The complaints, a line each: code, line and column, message.
fn complaints(text: &str) -> Vec<String> {
    let (policy, found) = read("p.toml", text);
    assert!(policy.is_none());
    let line = |d: &Diagnostic| {
        let (line, column) = d.line_column(text);
        format!("{} {line}:{column} {}", d.code, d.message)
    };
    found.iter().map(line).collect()
}

#[test]
fn the_head_of_a_policy_is_read() {
    let policy = good(HEAD);
    assert_eq!(policy.partner.hosts, ["parcelo.internal"]);
    assert_eq!(policy.partner.domain.as_str(), "parcelo");
    assert_eq!(policy.agreement.expires, Some(jiff::civil::date(2027, 6, 30)));
    assert_eq!(policy.identify.require, [CredentialKind::ClientCertificate, CredentialKind::ApiKey]);
    assert_eq!(policy.identify.client_certificate.unwrap().san, "*.parcelo.example");
    assert_eq!(policy.identify.api_key.unwrap().header, "x-api-key");
    assert_eq!(policy.identify.jwt.unwrap().claims["azp"], "parcelo");
    let limits = policy.limits;
    assert_eq!(limits.rate.unwrap().count.get(), 200);
    assert_eq!((limits.body_bytes, limits.atomic_bytes, limits.value_bytes), (Some(2 << 20), 4096, 64 << 10));
    assert_eq!(limits.element_bytes, 1 << 20);
    assert_eq!(policy.digest.len(), 64);
}

#[test]
fn a_date_may_be_a_string() {
    let policy = good(&HEAD.replace("2027-06-30", "\"2027-06-30\""));
    assert_eq!(policy.agreement.expires, Some(jiff::civil::date(2027, 6, 30)));
    for wrong in ["2027-06-30T10:00:00Z", "\"2027-06-30T10:00\"", "\"2027-02-30\"", "1", "2027-02-30"] {
        assert!(read("p", &HEAD.replace("2027-06-30", wrong)).0.is_none(), "{wrong}");
    }
}

#[test]
fn all_complaints_of_a_file_come_at_once() {
    let text = HEAD
        .replace("DE", "UK")
        .replace("reference", "refrence")
        .replace("200/s", "200/d")
        .replace("64\n", "\"many\"\n")
        .replace("ES256", "HS256");
    let lines = complaints(&text);
    let starts: Vec<&str> = lines.iter().map(|line| line.split(' ').next().unwrap()).collect();
    assert_eq!(starts, ["P006", "P003", "P002", "P012", "P006", "P004"], "{lines:#?}");
}

#[test]
fn all_faults_of_the_toml_come_at_once() {
    let lines = complaints("[partner]\nid = = \"a\"\nname = \nid = 1 2\n");
    assert!(lines.len() >= 2 && lines.iter().all(|line| line.starts_with("P001")), "{lines:#?}");
}

#[test]
fn no_key_is_quoted_in_a_complaint_about_its_digest() {
    let text = HEAD.replace("9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08", "hunter2");
    assert_eq!(complaints(&text), ["P022 13:45 `api_key`: `sha256` must be 64 hexadecimal digits"]);
}

#[test]
fn rules_beside_the_body_are_read() {
    let text = format!(
        "{HEAD}{}",
        r#"
[[inbound]]
match = "GET,POST,HEAD /v1/orders/{id}"
upstream = "orders"
[inbound.request]
query = ["expand"]
headers = ["X-Keep"]
reveal = [
  { capture = "id", is = "id.order" },
  { header = "x-customer", is = "id.customer", plain = "pass", as = "digits", id = "who" },
]
fields = [{ cookie = "sid", do = "replace", with = "none" }, { query = "q", do = "drop" }]
[inbound.response]
body = "opaque"
reason = "a label as PDF"
fields = [{ header = "Location", do = "tokenize", is = "link", as = "email", reason = "asked for" }]
[[outbound]]
match = "POST /shipments/{ref}"
upstream = "parcelo-api"
[outbound.request]
default_headers = false
fields = [{ capture = "ref", do = "pseudonymize" }, { header = "x-operator", do = "mask", keep_last = 2 }]
"#
    );
    let policy = good(&text);
    let [inbound, outbound] = policy.routes.as_slice() else { panic!() };
    assert_eq!(inbound.methods, ["GET", "POST"]);
    assert_eq!(&*inbound.pattern, "GET,POST,HEAD /v1/orders/{id}");
    assert_eq!(
        (inbound.request.query.join(","), inbound.request.headers.join(",")),
        ("expand".into(), "x-keep".into())
    );
    let reveals = &inbound.request.reveals;
    assert_eq!((reveals[0].id.as_str(), reveals[0].plain), ("capture.id", Plain::Refuse));
    assert_eq!((reveals[1].id.as_str(), reveals[1].plain, reveals[1].shape), ("who", Plain::Pass, Some(Shape::Digits)));
    let Action::Replace { with } = &inbound.request.rules[0].action else { panic!() };
    assert_eq!(&**with, b"\"none\"");
    assert_eq!(inbound.response.body, BodyKind::Opaque { reason: "a label as PDF".into() });
    assert_eq!(inbound.response.rules[0].locator, Locator::Header("location".into()));
    assert_eq!(inbound.response.rules[0].action, Action::Tokenize(Shape::Email));
    assert!(!outbound.request.default_headers);
    assert_eq!(outbound.request.rules[0].place.line, 44);
}

const EXAMPLE: &str = r#"
[[inbound]]
match = "GET /v1/orders/{id}"
upstream = "orders"
[inbound.request]
query  = ["expand"]
reveal = [{ capture = "id", is = "id.order" }]
[inbound.response]
subject = "$.customer.id"
keep    = ["$.items[*]['sku','quantity']", "$.status", "$..*"]
fields  = [
  { path = "$.id",                  is = "id.order",         do = "tokenize" },
  { path = "$.customer.email",      is = "contact.email",    do = "tokenize", as = "email" },
  { path = "$.customer.phone",      is = "contact.phone",    do = "mask", keep_last = 4 },
  { path = "$.customer.birth_date", is = "demo.birth-date",  do = "generalize", to = "year" },
  { path = "$.customer",            do = "encrypt", to = "p.jwk.json", except = ["$.customer.name"] },
  { path = "$.items[*].note",       do = "replace", with = { a = [1] }, must = true },
]
"#;

#[test]
fn rules_have_stable_readable_ids() {
    let policy = good(&format!("{HEAD}{EXAMPLE}"));
    let ids: Vec<&str> = policy.routes[0].response.rules.iter().map(|rule| rule.id.as_str()).collect();
    let rest = ["id", "customer.email", "customer.phone", "customer.birth_date", "customer", "items.note"];
    assert_eq!(ids, ["items.sku+quantity", "status", "keep-1"].iter().chain(&rest).copied().collect::<Vec<_>>());
    let rules = policy.routes[0].response.rules.iter();
    assert!(rules.zip(1..).all(|(rule, _)| rule.place.line > 30), "places");
}

#[test]
fn rules_that_disagree_on_one_place_are_refused() {
    let leg = |fields: &str| {
        format!("{HEAD}[[inbound]]\nmatch = \"GET /\"\nupstream = \"u\"\n[inbound.response]\nfields = [{fields}]\n")
    };
    let clash = |fields: &str| !read("p", &leg(fields)).1.iter().all(|d| d.code != codes::RULES_CLASH);
    let tokenize = |path: &str, is: &str| format!("{{ path = \"{path}\", do = \"tokenize\", is = \"{is}\" }}");
    let two = |a: &str, b: &str| clash(&format!("{}, {}", tokenize(a, "x"), tokenize(b, "y")));
    for (a, b) in [
        ("$.a", "$['a']"),
        ("$.*", "$.a"),
        ("$..a", "$.b.a"),
        ("$..a", "$..b..a"),
        ("$.a", "$.a.b"),
        ("$..*", "$[0]"),
        ("$['a','b']", "$['b','c']"),
        ("$[?@.x].a", "$[?@.x].a"),
    ] {
        assert!(two(a, b) && two(b, a), "{a} {b}");
    }
    for (a, b) in [("$.a", "$.b"), ("$.a.c", "$.a.b"), ("$['a','b']", "$['c','d']"), ("$[?@.x].a", "$[?@.y].a")] {
        assert!(!two(a, b), "{a} {b}");
    }
    let out = r#"{ path = "$.*", do = "tokenize", except = ["$.a"] }, { path = "$.a", do = "tokenize", as = "email" }"#;
    assert!(!clash(out));
    assert!(!clash(&format!("{}, {}", tokenize("$.a", "x"), tokenize("$..a", "x"))));
    assert!(!clash(r#"{ path = "$.a", do = "replace", with = 1 }, { path = "$.a.b", do = "replace", with = 2 }"#));
    assert!(clash(r#"{ path = "$.a", do = "replace", with = 1 }, { path = "$.a", do = "replace", with = 2 }"#));
    assert!(clash(r#"{ header = "x-a", do = "replace", with = "1" }, { header = "X-A", do = "replace", with = "2" }"#));
}

#[test]
fn every_prefix_of_a_policy_is_read_without_a_panic() {
    let text = format!("{HEAD}{EXAMPLE}");
    for end in (0..text.len()).filter(|end| text.is_char_boundary(*end)) {
        for d in read("p", &text[..end]).1 {
            let _ = (d.render(&text[..end], false), d.render("", true), d.line_column(""));
        }
    }
}

proptest::proptest! {
    #[test]
    fn no_damage_to_a_policy_makes_it_panic(at in 0usize..3000, length in 0usize..40, with in "[\\[\\]{}\"'=.,#$*?@a-z0-9 \n\u{e9}-]{0,12}") {
        let mut text = format!("{HEAD}{EXAMPLE}");
        let start = text.floor_char_boundary(at.min(text.len()));
        let end = text.floor_char_boundary((start + length).min(text.len()));
        text.replace_range(start..end, &with);
        let (policy, found) = read("p", &text);
        for diagnostic in &found {
            let _ = diagnostic.render(&text, true);
        }
        if let Some(Err(found)) = policy.map(compile::compile) {
            assert!(!found.is_empty());
        }
    }
}

#[test]
fn a_normalization_is_read_and_belongs_to_what_is_tokenized_or_hashed() {
    let with = |rules: &str| {
        let route = "[[inbound]]\nmatch = \"GET /x\"\nupstream = \"orders\"\n[inbound.response]\nfields = [";
        format!("{HEAD}\n{route}{rules}]\n")
    };
    let policy = good(&with(
        r#"{ path = "$.mail", do = "tokenize", as = "email", normalize = "email" },
           { path = "$.phone", do = "pseudonymize", normalize = "e164" }, { path = "$.name", do = "tokenize" }"#,
    ));
    let rules = &policy.routes[0].response.rules;
    let read: Vec<_> = rules.iter().map(|rule| rule.normalize).collect();
    assert_eq!(read, [Some(Normalize::Email), Some(Normalize::E164), None]);
    for (rules, wanted) in [
        (
            r#"{ path = "$.mail", do = "tokenize", store = "vault" }, { path = "$.mail", do = "tokenize", store = "vault", normalize = "email" }"#,
            "P049 ",
        ),
        (r#"{ path = "$.mail", do = "tokenize", normalize = "mail" }"#, "P006 unknown normalization `mail`"),
        (
            r#"{ path = "$.mail", do = "mask", keep_last = 2, normalize = "email" }"#,
            "P044 `normalize` says nothing to `mask`",
        ),
        (r#"{ path = "$.mail", do = "tokenize", as = "date", normalize = "nfc" }"#, "P064 a token `as = \"date\"`"),
        (r#"{ path = "$.mail", do = "tokenize" }, { path = "$.mail", do = "tokenize", normalize = "email" }"#, "P049 "),
        (
            r#"{ path = "$.mail", do = "pseudonymize" }, { path = "$.mail", do = "pseudonymize", normalize = "email" }"#,
            "P049 ",
        ),
    ] {
        let found = complaints(&with(rules)).join("\n");
        let (code, message) = wanted.split_once(' ').unwrap();
        assert!(found.starts_with(code) && found.contains(message), "{found}");
    }
}
