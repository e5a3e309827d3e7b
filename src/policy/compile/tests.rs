//! Unit tests of what rules become: ranks, settings, folds.

use super::*;
use crate::policy::read;

const HEAD: &str = r#"
[partner]
id = "p"
name = "P"
countries = ["DE"]
purpose = "test"
hosts = ["p.internal"]
[agreement]
reference = "r"
[identify]
api_key = { header = "x-api-key", sha256 = ["9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"] }
[limits]
value = 100
element = 200
[[inbound]]
match = "POST /a/{id}"
upstream = "u"
"#;

#[track_caller]
fn policy(legs: &str) -> CompiledPolicy {
    let text = format!("{HEAD}{legs}");
    let (policy, found) = read("p", &text);
    let policy = policy.unwrap_or_else(|| panic!("{}", found[0].render(&text, false)));
    compile(policy).unwrap_or_else(|found| panic!("{}", found[0].render(&text, false)))
}

fn selections(leg: &CompiledLeg) -> &[Selection] {
    leg.program.as_ref().unwrap().selections()
}

#[test]
fn strictness_is_the_order_of_the_language() {
    let compiled = policy(
        r#"
[inbound.response]
fields = [
  { path = "$.a", do = "drop" },
  { path = "$.b", do = "null" },
  { path = "$.c", do = "replace", with = 1 },
  { path = "$.d", do = "pseudonymize" },
  { path = "$.e", do = "tokenize" },
  { path = "$.f", do = "encrypt", to = "k" },
  { path = "$.g", do = "generalize", to = "year" },
  { path = "$.h", do = "mask", keep_last = 1 },
  { path = "$.i", do = "keep" },
]
[inbound.request]
reveal = [{ path = "$.j", is = "x" }]
"#,
    );
    let ranks: Vec<u8> = selections(&compiled.routes[0].response).iter().map(|s| s.rank).collect();
    assert!(ranks.is_sorted_by(|a, b| a > b), "{ranks:?}");
    let reveal = selections(&compiled.routes[0].request)[0].rank;
    assert!(ranks[8] < reveal && reveal < ranks[7]);
}

#[test]
fn rules_of_one_kind_share_a_number_only_if_they_leave_the_same() {
    let compiled = policy(
        r#"
[inbound.response]
keep = ["$.k"]
fields = [
  { path = "$.a1", do = "tokenize", is = "x" },
  { path = "$.a2", do = "tokenize", is = "x", reason = "other" },
  { path = "$.a3", do = "tokenize", is = "y" },
  { path = "$.a4", do = "tokenize", is = "x", as = "email" },
  { path = "$.b1", do = "mask", keep_last = 1 },
  { path = "$.b2", do = "mask", keep_last = 1, same_length = true },
  { path = "$.c1", do = "keep", whole = true, reason = "all" },
  { path = "$.d1", do = "pseudonymize" },
  { path = "$.d2", do = "pseudonymize", is = "x" },
]
"#,
    );
    let found = selections(&compiled.routes[0].response);
    let of = |name: &str| found.iter().find(|s| s.path.text() == format!("$.{name}")).unwrap().settings;
    assert_eq!(of("a1"), of("a2"));
    assert_eq!(of("k"), of("c1"));
    for (a, b) in [("a1", "a3"), ("a1", "a4"), ("a3", "a4"), ("b1", "b2"), ("d1", "d2")] {
        assert_ne!(of(a), of(b), "{a} {b}");
    }
}

#[test]
fn names_are_folded_where_the_default_keeps_and_never_to_widen() {
    let compiled = policy(
        r#"
[inbound.request]
keep = ["$.a"]
fields = [{ path = "$.b", do = "drop" }]
reveal = [{ path = "$.c", is = "x" }, { capture = "id", is = "x" }]
[inbound.response]
fields = [{ path = "$.d", do = "drop", must = true }, { header = "x-h", do = "drop" }]
"#,
    );
    let route = &compiled.routes[0];
    let folded: Vec<bool> = selections(&route.request).iter().map(|s| s.folded).collect();
    assert_eq!(folded, [false, true, false]);
    assert!(!selections(&route.response)[0].folded);
    assert_eq!(route.request.askers, [Asker::Rule(0), Asker::Rule(1), Asker::Reveal(0)]);
    assert_eq!(route.request.beside, [Asker::Reveal(1)]);
    assert_eq!(route.response.beside, [Asker::Rule(1)]);
    assert_eq!((route.request.must, route.response.must), (false, true));
    assert!(route.error.is_none() && !compiled.inbound.is_empty() && compiled.outbound.is_empty());
}

#[test]
fn a_leg_without_json_has_no_program_and_the_error_leg_its_own() {
    let compiled = policy("[inbound.request]\nbody = \"none\"\n[inbound.error]\nkeep = [\"$.code\"]\n");
    assert!(compiled.routes[0].request.program.is_none());
    assert_eq!(selections(compiled.routes[0].error.as_ref().unwrap()).len(), 1);
    let upstreams: Vec<&str> = compiled.policy.upstreams().keys().map(|id| id.as_str()).collect();
    assert_eq!(upstreams, ["u"]);
}

/// Whether the set is refused as an oracle.
fn oracle(legs: &str) -> bool {
    let found = crate::policy::lint::lint(&[policy(legs)], jiff::civil::date(2026, 6, 1));
    found.iter().any(|diagnostic| diagnostic.code == codes::ORACLE)
}

#[test]
fn a_revealed_place_that_can_be_read_back_is_an_oracle() {
    let with = |response: &str| {
        let request = "[inbound.request]\nreveal = [{ path = \"$.card\", is = \"card\" }, { header = \"x-who\", is = \"who\" }]\n";
        oracle(&format!("{request}[inbound.response]\n{response}\n"))
    };
    for clear in [
        r#"fields = [{ path = "$.other", do = "keep", is = "card" }]"#,
        r#"keep = ["$.card"]"#,
        r#"keep = ["$.*"]"#,
        r#"default = "keep""#,
        r#"fields = [{ header = "x-who", do = "keep" }]"#,
        r#"headers = ["x-who"]"#,
    ] {
        assert!(with(clear), "{clear}");
    }
    for safe in [
        "",
        r#"keep = ["$.other"]"#,
        r#"fields = [{ path = "$.card", do = "tokenize", is = "card" }]"#,
        r#"keep = ["$.*"]
           fields = [{ path = "$.card", do = "mask", keep_last = 4, is = "card" }]"#,
        r#"fields = [{ path = "$.card", do = "keep", is = "kind-of-card" }]"#,
        r#"default = "keep"
           fields = [{ path = "$.card", do = "drop" }]"#,
        r#"headers = ["x-who"]
           fields = [{ header = "x-who", do = "drop" }]"#,
    ] {
        assert!(!with(safe), "{safe}");
    }
}
