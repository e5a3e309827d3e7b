//! Rules inside strings: JSON in a string, Base64 of JSON, both ways.

use data_encoding::BASE64;
use serde_json::{Value, json};

use super::harness::Tidegate;
use super::harness::policy::Policy;
use super::harness::upstream::{Upstream, answer, full};

const ROUTES: &str = r#"
[[inbound]]
match = "GET /v1/events"
upstream = "orders"
[inbound.response]
fields = [
  { path = "$.payload", inside = "json", keep = ["$.kind"], fields = [
    { path = "$.email", is = "contact.email", do = "tokenize", as = "email" },
    { path = "$.raw", inside = "base64", keep = ["$.city"] },
  ] },
]
[[inbound]]
match = "POST /v1/events"
upstream = "orders"
[inbound.request]
fields = [{ path = "$.payload", inside = "json", reveal = [{ path = "$.email", is = "contact.email" }] }]
[inbound.response]
keep = ["$.ok"]
"#;

#[tokio::test]
async fn only_what_is_listed_leaves_a_string_and_its_tokens_come_back() {
    let upstream = Upstream::with(|_, canaries| {
        let raw = canaries.plant(r#"{"city":"Oslo","street":"<street>"}"#);
        let payload = canaries.plant(r#"{"kind":"k","email":"<email>","phone":"<phone>","raw":"%"}"#);
        let payload = payload.replace('%', &BASE64.encode(raw.as_bytes()));
        let body = json!({"payload": payload, "note": canaries.plant("<note>")});
        answer(200, "application/json", full(body.to_string()))
    })
    .start()
    .await;
    let tidegate = Tidegate::with(Policy::of("parcelo", ROUTES)).upstream("orders", &upstream).start().await;
    let seen = tidegate.partner("parcelo").get("/v1/events").await.json();
    assert_eq!(seen.as_object().unwrap().len(), 1, "{seen}");
    let inner: Value = serde_json::from_str(seen["payload"].as_str().unwrap()).unwrap();
    assert_eq!(inner.as_object().unwrap().keys().collect::<Vec<_>>(), ["email", "kind", "raw"]);
    assert_eq!(BASE64.decode(inner["raw"].as_str().unwrap().as_bytes()).unwrap(), br#"{"city":"Oslo"}"#);
    let email = inner["email"].as_str().unwrap();
    assert!(email.ends_with("token.invalid"), "{email}");

    let sent = json!({"payload": json!({"email": email, "note": "new"}).to_string()});
    let reply = tidegate.partner("parcelo").post("/v1/events", &sent.to_string()).await;
    assert_eq!(reply.status, 200, "{reply:?}");
    let received = upstream.last().json();
    let received: Value = serde_json::from_str(received["payload"].as_str().unwrap()).unwrap();
    assert_eq!(received, json!({"email": upstream.canary("email"), "note": "new"}));

    let plain = json!({"payload": json!({"email": "plain"}).to_string()});
    let reply = tidegate.partner("parcelo").post("/v1/events", &plain.to_string()).await;
    assert_eq!(reply.refusal(), (422, "token_not_accepted".to_owned()));
    let rules = |line: &Value| line["rules"].as_object().cloned().unwrap_or_default();
    let counted = tidegate.record().iter().map(rules).find(|rules| rules.contains_key("payload.email")).unwrap();
    assert_eq!(counted.get("payload.raw.city"), Some(&json!(1)), "{counted:?}");
}

#[tokio::test]
async fn a_string_that_is_not_what_the_rule_says_refuses_the_exchange() {
    for payload in [r#"{\"kind\":\"<note>\""#, r#"{\"raw\":\"<street>\"}"#, "<phone>"] {
        let upstream = Upstream::bytes(200, "application/json", &format!(r#"{{"payload":"{payload}"}}"#)).start().await;
        let tidegate = Tidegate::with(Policy::of("parcelo", ROUTES)).upstream("orders", &upstream).start().await;
        let reply = tidegate.partner("parcelo").get("/v1/events").await;
        assert_eq!(reply.refusal(), (502, "rule_failed".to_owned()), "{payload}");
    }
}
