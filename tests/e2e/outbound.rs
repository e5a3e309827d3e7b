//! We call the partner's API: it gets what the policy lists, and its tokens are turned back for us.

use serde_json::json;

use super::harness::Tidegate;
use super::harness::policy::Policy;
use super::harness::upstream::{Upstream, answer, full};

const ROUTES: &str = r#"
[[outbound]]
match = "POST /shipments"
upstream = "parcelo-api"
[outbound.request]
keep = ["$.parcel.weight", "$.recipient.name"]
fields = [{ path = "$.customer_ref", is = "id.customer", do = "tokenize" }]
[outbound.response]
reveal = [{ path = "$.customer_ref", is = "id.customer", plain = "pass" }]
"#;

const SHIPMENT: &str = r#"{
  "parcel": {"weight": 1200, "contents": "<contents>"},
  "recipient": {"name": "<name>", "email": "<email>"},
  "customer_ref": "<customer>",
  "internal": {"margin": <digits>}
}"#;

fn policy() -> Policy {
    Policy::of("parcelo", ROUTES).partner("hosts = [\"api.parcelo.internal\"]")
}

#[tokio::test]
async fn a_partner_that_we_call_gets_only_what_is_listed_and_its_tokens_come_back_as_values() {
    let api = Upstream::with(|received, _| {
        let body = json!({"shipment": "S-1", "customer_ref": received.json()["customer_ref"], "note": "plain"});
        answer(201, "application/json", full(body.to_string()))
    })
    .start()
    .await;
    let tidegate = Tidegate::with(policy())
        .partner_api("parcelo-api", &api)
        .may_see("parcelo-api", &["name"])
        .may_see("caller", &["customer"])
        .start()
        .await;
    let caller = tidegate.caller("api.parcelo.internal").header("x-operator", "anna").header("x-request-id", "7");
    let caller = caller.header("accept", "anna kern").header("content-language", "anna kern, 10115 berlin");
    let reply = caller.post("/shipments", SHIPMENT).await;
    assert_eq!(reply.status, 201, "{reply:?}");

    let sent = api.last();
    let value = |label: &str| tidegate.ground().canaries.value(label);
    let token = sent.json()["customer_ref"].clone();
    assert!(token.as_str().unwrap().starts_with("tk1_"), "{sent:?}");
    assert_eq!(
        sent.json(),
        json!({"parcel": {"weight": 1200}, "recipient": {"name": value("name")}, "customer_ref": token})
    );
    for name in ["x-operator", "x-request-id", "accept", "content-language"] {
        assert!(!sent.headers.contains_key(name), "{name}: {sent:?}");
    }
    assert_eq!(reply.json(), json!({"shipment": "S-1", "customer_ref": value("customer"), "note": "plain"}));

    let record = tidegate.record();
    let entry = record.iter().find(|entry| entry["exchange"] == reply.header("tidegate-exchange")).expect("an entry");
    assert_eq!((&entry["partner"], &entry["leg"]), (&json!("parcelo"), &json!("request")));
}

#[tokio::test]
async fn an_authority_that_no_partner_has_is_refused() {
    let api = Upstream::json("{}").start().await;
    let tidegate = Tidegate::with(policy()).partner_api("parcelo-api", &api).start().await;
    for authority in ["api.admira.internal", "localhost", "api.parcelo.internal.example", "api.parcelo.internal:81"] {
        let reply = tidegate.caller(authority).post("/shipments", SHIPMENT).await;
        assert_eq!(reply.status / 100, 4, "{authority}: {reply:?}");
    }
    assert!(api.received().is_empty());
}

#[tokio::test]
async fn routes_of_one_direction_are_not_served_in_the_other() {
    let api = Upstream::json("{}").start().await;
    let tidegate = Tidegate::with(policy()).partner_api("parcelo-api", &api).start().await;
    let partner = tidegate.partner("parcelo").header("host", "api.parcelo.internal");
    assert_eq!(partner.post("/shipments", SHIPMENT).await.status / 100, 4);
    assert!(api.received().is_empty());
}

#[tokio::test]
async fn an_expired_agreement_ends_what_we_send_too() {
    let api = Upstream::json("{}").start().await;
    let expired = policy().agreement("expires = 2026-01-31");
    let tidegate = Tidegate::with(expired).partner_api("parcelo-api", &api).at("2026-06-01T00:00:00Z").start().await;
    let reply = tidegate.caller("api.parcelo.internal").post("/shipments", SHIPMENT).await;
    assert_eq!(reply.refusal(), (403, "agreement_expired".to_owned()));
    assert!(api.received().is_empty());
}
