//! Ways to be wrong, in one table: who is wrong how, and what status and code that gets. In none of them may a planted value
//! reach the other side, a log or the disk: the leak trap sees to that. `docs/errors.md` has the same table; the test holds the
//! one against the other and prints it (`cargo test --test e2e ways -- --nocapture`).

use std::fmt::Write as _;

use super::bodies::gzip;
use super::harness::Tidegate;
use super::harness::partner::{Partner, Reply};
use super::harness::policy::Policy;
use super::harness::upstream::{Builder, Upstream, answer, full, stuck_after};

const ROUTES: &str = r#"
[[inbound]]
match = "GET /v1/notes"
upstream = "orders"
[inbound.request]
query = ["page"]
[inbound.response]
fields = [
  { path = "$.must", do = "keep", must = true },
  { path = "$.items[?@.kind == 'x'].open", do = "keep" },
  { path = "$.customer", is = "id.customer", do = "tokenize" },
]

[[inbound]]
match = "POST /v1/notes"
upstream = "orders"
[inbound.request]
reveal = [{ path = "$.ref", is = "id.customer" }]
fields = [{ path = "$.must", do = "keep", must = true }, { path = "$.items[?@.kind == 'x'].open", do = "keep" }]
[inbound.response]
fields = [
  { path = "$.must", do = "keep", must = true },
  { path = "$.items[?@.kind == 'x'].open", do = "keep" },
  { path = "$.customer", is = "id.customer", do = "tokenize" },
]

[[inbound]]
match = "GET /v1/notes/{id}"
upstream = "orders"
[inbound.request]
fields = [{ capture = "id", do = "keep" }]
[inbound.response]
keep = ["$.must"]
"#;

const GOOD: &str = r#"{"must":1,"customer":"<customer>","secret":"<secret>"}"#;
const JSON: &str = "application/json";

/// A body that is wrong, whoever sends it.
struct Wrong {
    what: &'static str,
    kind: &'static str,
    coding: &'static str,
    body: Vec<u8>,
    code: &'static str,
    /// From the partner. From the upstream it is 502.
    status: u16,
}

/// In every body stands this, for the canary.
const SECRET: &str = "<secret>";

async fn wrong_bodies() -> Vec<Wrong> {
    let text = |text: &str| text.replace("S", SECRET).into_bytes();
    let wrong = |what, body, code, status| Wrong { what, kind: JSON, coding: "", body, code, status };
    let typed =
        |what, kind, code| Wrong { what, kind, coding: "", body: text(r#"{"must":1,"s":"S"}"#), code, status: 415 };
    let coded = |what, coding, body| Wrong { what, kind: JSON, coding, body, code: "body_coding_wrong", status: 415 };
    let packed = gzip(&text(r#"{"must":1,"s":"S"}"#)).await;
    let bomb = gzip(format!("{{\"must\":1,\"s\":\"{}\"}}", "0".repeat(20_000_000)).as_bytes()).await;
    let utf16 =
        String::from_utf8(text(r#"{"must":1,"s":"S"}"#)).unwrap().encode_utf16().flat_map(u16::to_le_bytes).collect();
    let filtered = text(r#"{"must":1,"items":[{"kind":"x","open":"S","kind":"y"}]}"#);
    vec![
        wrong("invalid JSON", text(r#"{"must":1,"s":"S",}"#), "json_syntax", 400),
        wrong("trailing bytes", text(r#"{"must":1,"s":"S"} x"#), "json_trailing", 400),
        wrong("an incomplete document", text(r#"{"must":1,"s":"S"#), "json_truncated", 400),
        wrong("UTF-16", utf16, "json_syntax", 400),
        wrong("a byte order mark", [&b"\xef\xbb\xbf"[..], &text(r#"{"must":1,"s":"S"}"#)].concat(), "json_bom", 400),
        wrong("invalid UTF-8", [&b"{\"must\":\"\xff\""[..], &text(r#","s":"S"}"#)].concat(), "json_utf8", 400),
        wrong("a lone surrogate", text(r#"{"must":"\ud800","s":"S"}"#), "json_surrogate", 400),
        wrong("NUL in a name", text(r#"{"must":1,"a\u0000b":"S"}"#), "json_nul_name", 400),
        wrong(
            "deep nesting",
            format!("{{\"must\":{}1{}}}", "[".repeat(600), "]".repeat(600)).into(),
            "json_depth",
            400,
        ),
        wrong("HTML under a JSON type", text("<html>S</html>"), "json_syntax", 400),
        wrong("duplicate names read by a filter", filtered, "rule_failed", 422),
        wrong("a field missing that must be there", text(r#"{"s":"S"}"#), "rule_unmatched", 422),
        wrong("an oversized body", vec![b' '; 70_000], "body_too_large", 413),
        typed("a lying content type", "text/plain", "body_type_wrong"),
        typed("a wrong charset", "application/json; charset=utf-16", "body_type_wrong"),
        coded("gzip of garbage", "gzip", b"this is not gzip at all".to_vec()),
        coded("an unknown coding", "compress", text(r#"{"must":1,"s":"S"}"#)),
        coded("bytes behind the end of a coding", "gzip", [packed, b"tail".to_vec()].concat()),
        Wrong { code: "body_too_large", status: 413, ..coded("a bomb (oversized when decompressed)", "gzip", bomb) },
    ]
}

/// What the partner does wrong beside the body, as a request on the wire; `@auth@` is its credential.
fn wrong_heads() -> Vec<(&'static str, String, u16, &'static str)> {
    let get = |what, target: &str, status, code| (what, head("GET", target, "@auth@"), status, code);
    vec![
        get("a path with `..`", "/v1/notes/..", 400, "path_not_normal"),
        get("`%2f` in a path", "/v1/notes/a%2fb", 400, "path_not_normal"),
        get("an empty segment in a path", "/v1//notes", 400, "path_not_normal"),
        get("a raw `;` in a query", "/v1/notes?page=1;x=2", 400, "query_malformed"),
        get("a bad escape in a query", "/v1/notes?page=%zz", 400, "query_malformed"),
        get("an unknown route", "/v1/other", 404, "route_unknown"),
        ("an unknown method", head("BREW", "/v1/notes", "@auth@"), 405, "method_not_allowed"),
        ("no credential", head("GET", "/v1/notes", ""), 401, "credential_missing"),
        ("a wrong credential", head("GET", "/v1/notes", "x-api-key: guess\r\n"), 401, "credential_wrong"),
        ("a doubled credential", head("GET", "/v1/notes", "@auth@@auth@"), 403, "credentials_disagree"),
        ("two hosts", head("GET", "/v1/notes", "host: other\r\n@auth@"), 400, "request_malformed"),
    ]
}

fn head(method: &str, target: &str, headers: &str) -> String {
    format!("{method} {target} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n{headers}\r\n")
}

/// How an upstream can fail before it has given a body at all.
fn wrong_upstreams() -> Vec<(&'static str, Builder, u16, &'static str)> {
    let cut = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 500\r\n\r\n{\"must\":1,\"s\":\"<secret>\"";
    vec![
        ("upstream: down", Upstream::gone(), 502, "upstream_unreachable"),
        ("upstream: slow", Upstream::stuck_after(""), 504, "upstream_slow"),
        ("upstream: slow in its body", Upstream::stuck_after(cut), 504, "body_slow"),
        ("upstream: truncated", Upstream::raw(cut), 502, "body_incomplete"),
        ("upstream: no HTTP", Upstream::raw("SSH-2.0-OpenSSH_9.2 <secret>\r\n"), 502, "upstream_malformed"),
        ("upstream: a part, unasked", Upstream::bytes(206, JSON, GOOD), 502, "upstream_malformed"),
        ("upstream: an error page", Upstream::bytes(500, "text/html", "<p><secret></p>"), 500, "error_status"),
    ]
}

async fn tidegate(upstream: &Upstream) -> Tidegate {
    let limits = "body = \"64KiB\"";
    let builder = Tidegate::with(Policy::of("parcelo", ROUTES).limits(limits)).and(Policy::of("admira", ROUTES));
    let builder = builder.upstream("orders", upstream).set("limits.idle=300ms");
    builder.set("upstream.orders.response=300ms").set("upstream.orders.idle=300ms").start().await
}

/// The table as it comes about.
#[derive(Default)]
struct Seen {
    table: String,
    wrong: Vec<String>,
    count: usize,
}

impl Seen {
    fn note(&mut self, what: &str, found: (u16, String), wanted: (u16, &str)) {
        self.count += 1;
        writeln!(self.table, "| {what} | {} | `{}` |", found.0, found.1).unwrap();
        if (found.0, found.1.as_str()) != wanted {
            self.wrong.push(format!("{what}: {found:?}, wanted {wanted:?}"));
        }
    }
}

/// Status and code of an answer as it came over the wire.
fn raw_refusal(reply: &str) -> (u16, String) {
    let status = reply.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or_default();
    let code = reply.split("urn:tidegate:problem:").nth(1).and_then(|rest| rest.split('"').next());
    (status, code.unwrap_or("(none)").to_owned())
}

async fn send(partner: &Partner, wrong: &Wrong, canary: &str) -> Reply {
    let mut partner = partner.clone().header("content-type", wrong.kind);
    if !wrong.coding.is_empty() {
        partner = partner.header("content-encoding", wrong.coding);
    }
    partner.send("POST", "/v1/notes", Some(full(planted(&wrong.body, canary)))).await
}

/// With the canary in the place of the secret, where it can be seen in the bytes.
fn planted(body: &[u8], canary: &str) -> Vec<u8> {
    match std::str::from_utf8(body) {
        Ok(text) => text.replace(SECRET, canary).into_bytes(),
        Err(_) => body.to_vec(),
    }
}

async fn of_the_partner(seen: &mut Seen) {
    let upstream = Upstream::bytes(200, JSON, GOOD).start().await;
    let tidegate = tidegate(&upstream).await;
    let partner = tidegate.partner("parcelo");
    let canary = tidegate.ground().canaries.value("sent");
    for wrong in wrong_bodies().await {
        let found = send(&partner, &wrong, &canary).await.refusal();
        seen.note(&format!("partner: {}", wrong.what), found, (wrong.status, wrong.code));
    }
    for (what, request, status, code) in wrong_heads() {
        let found = raw_refusal(&partner.raw(&request).await);
        seen.note(&format!("partner: {what}"), found, (status, code));
    }
    let typed = partner.clone().header("content-type", JSON);
    let slow = typed.send("POST", "/v1/notes", Some(stuck_after(b"{\"must\":"))).await.refusal();
    seen.note("partner: a slow body", slow, (408, "body_slow"));
    let none = upstream.received();
    assert!(none.is_empty(), "nothing may have reached the upstream: {none:?}");
    let other = tidegate.partner("admira").get("/v1/notes").await;
    assert_eq!(other.status, 200, "{other:?}");
    let token = other.json()["customer"].as_str().unwrap().to_owned();
    let body = format!("{{\"must\":1,\"ref\":\"{token}\"}}");
    let foreign = typed.send("POST", "/v1/notes", Some(full(body))).await.refusal();
    seen.note("partner: a token of another partner", foreign, (422, "token_not_accepted"));
    assert_eq!(upstream.received().len(), 1, "the other partner's own");
}

async fn of_the_upstream(seen: &mut Seen) {
    for wrong in wrong_bodies().await {
        let (what, code) = (wrong.what, wrong.code);
        let upstream = Upstream::with(move |_, canaries| {
            let mut response = answer(200, wrong.kind, full(planted(&wrong.body, &canaries.value("secret"))));
            if !wrong.coding.is_empty() {
                response.headers_mut().insert("content-encoding", wrong.coding.parse().unwrap());
            }
            response
        });
        let upstream = upstream.start().await;
        let found = tidegate(&upstream).await.partner("parcelo").get("/v1/notes").await.refusal();
        seen.note(&format!("upstream: {what}"), found, (502, code));
    }
    for (what, upstream, status, code) in wrong_upstreams() {
        let upstream = upstream.start().await;
        let found = tidegate(&upstream).await.partner("parcelo").get("/v1/notes").await.refusal();
        seen.note(what, found, (status, code));
    }
}

#[tokio::test]
async fn every_way_to_be_wrong_gets_its_status_and_gives_nothing_away() {
    let mut seen = Seen::default();
    of_the_partner(&mut seen).await;
    of_the_upstream(&mut seen).await;
    println!(
        "{} ways to be wrong:\n| who is wrong, and how | status | code |\n|---|---|---|\n{}",
        seen.count, seen.table
    );
    assert!(seen.wrong.is_empty(), "{}", seen.wrong.join("\n"));
    assert!(seen.count >= 50, "{}", seen.count);
    let errors = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/errors.md")).unwrap();
    let missing: Vec<_> = seen.table.lines().filter(|line| !errors.contains(line)).collect();
    assert!(missing.is_empty(), "docs/errors.md lacks:\n{}", missing.join("\n"));
}
