//! Tokens that come back: to the partner they were issued to, and to nobody else.

use serde_json::json;

use super::harness::policy::Policy;
use super::harness::upstream::{Upstream, full};
use super::harness::{Tidegate, until};
use super::samples::{COURIER, NETWORK, ORDER};

async fn two_partners(upstream: &Upstream) -> Tidegate {
    let builder = Tidegate::with(Policy::of("parcelo", COURIER)).and(Policy::of("admira", NETWORK));
    builder.upstream("orders", upstream).may_see("parcelo", &["status"]).may_see("admira", &["status"]).start().await
}

#[tokio::test]
async fn a_token_in_path_and_body_reaches_the_upstream_as_the_original() {
    let upstream = Upstream::json(ORDER).start().await;
    let tidegate = two_partners(&upstream).await;
    let seen = tidegate.partner("parcelo").get("/v1/orders").await.json();
    let (order, customer) = (seen["id"].as_str().unwrap(), seen["customer"]["id"].as_str().unwrap());
    let body = json!({"event": "delivered", "customer_ref": customer}).to_string();
    let reply = tidegate.partner("parcelo").post(&format!("/v1/orders/{order}/events"), &body).await;
    assert_eq!(reply.status, 200, "{reply:?}");
    let sent = upstream.last();
    assert_eq!(sent.target, format!("/v1/orders/{}/events", upstream.canary("order")));
    assert_eq!(sent.json(), json!({"event": "delivered", "customer_ref": upstream.canary("customer")}));
}

#[tokio::test]
async fn a_token_of_another_partner_is_not_turned_back() {
    let upstream = Upstream::json(ORDER).start().await;
    let tidegate = two_partners(&upstream).await;
    let courier = tidegate.partner("parcelo").get("/v1/orders").await.json();
    let network = tidegate.partner("admira").get("/v1/orders").await.json();
    let before = upstream.received().len();

    // In the path.
    let stolen = format!("/v1/orders/{}/events", courier["id"].as_str().unwrap());
    let own = format!("/v1/orders/{}/events", network["id"].as_str().unwrap());
    let reply = tidegate.partner("admira").post(&stolen, r#"{"event":"seen"}"#).await;
    assert_eq!(reply.refusal(), (422, "token_not_accepted".to_owned()));
    let exchange = reply.header("tidegate-exchange").to_owned();
    let alarm = |line: &str| line.contains(&exchange) && line.contains("foreign tokens came up");
    assert!(until(async || tidegate.logs().lines().any(alarm)).await, "a refusal is no less of an alarm");
    // In the body.
    let body = json!({"customer_ref": courier["customer"]["id"]}).to_string();
    let reply = tidegate.partner("admira").post(&own, &body).await;
    assert_eq!(reply.refusal(), (422, "token_not_accepted".to_owned()));
    assert_eq!(upstream.received().len(), before, "nothing may have reached the upstream");
    // The alarm: log, metric and record name who sent it and who issued it, and not the token.
    let stolen = |line: &serde_json::Value| line["kind"] == "foreign";
    assert!(until(async || tidegate.record().iter().filter(|line| stolen(line)).count() == 2).await);
    let line = tidegate.record().into_iter().find(stolen).unwrap();
    let text = |member: &str| line[member].as_str().unwrap().to_owned();
    assert_eq!((text("partner"), text("issuer"), text("exchange")), ("admira".into(), "parcelo".into(), exchange));
    assert_eq!((text("route"), line["count"].as_u64()), ("POST /v1/orders/{id}/events".into(), Some(1)));
    let (_, metrics) = tidegate.admin("/metrics").await;
    assert!(metrics.contains("tidegate_foreign_tokens_total{partner=\"admira\",issuer=\"parcelo\"} 2"), "{metrics}");
    let logs = tidegate.logs();
    assert!(logs.contains("tokens of another domain came from this partner"), "{logs}");
    for said in [&logs, &metrics, &line.to_string()] {
        assert!(!said.contains("tk1_"), "{said}");
    }
}

/// An answer that masks, and two ways to write it back.
const PROFILE: &str = r#"
[[inbound]]
match = "GET /v1/profiles/{id}"
upstream = "orders"
[inbound.response]
keep = ["$.city"]
fields = [
  { path = "$.phone", is = "contact.phone", do = "mask", keep_last = 4 },
  { path = "$.cards[*].number", is = "card", do = "mask", keep_first = 1, keep_last = 2, same_length = true },
]

[[inbound]]
match = "PUT /v1/profiles/{profile}"
upstream = "orders"

[[inbound]]
match = "PATCH /v1/profiles/{id}"
upstream = "orders"
[inbound.request]
default = "drop"
keep = ["$.city"]

[[inbound]]
match = "POST /v1/profiles"
upstream = "orders"
"#;

#[tokio::test]
async fn a_masked_value_does_not_come_back_to_overwrite_the_real_one() {
    let upstream =
        Upstream::json(r#"{"city": "Oslo", "phone": "+4740612345", "cards": [{"number": "4111222233334444"}]}"#);
    let upstream = upstream.start().await;
    let tidegate = Tidegate::with(Policy::of("parcelo", PROFILE)).upstream("orders", &upstream).start().await;
    let partner = tidegate.partner("parcelo");
    let seen = partner.get("/v1/profiles/7").await.json();
    assert_eq!(seen, json!({"city": "Oslo", "phone": "******2345", "cards": [{"number": "4*************44"}]}));
    let before = upstream.received().len();
    let typed = partner.clone().header("content-type", "application/json");
    let put = async |body: &str| typed.send("PUT", "/v1/profiles/7", Some(full(body.to_owned()))).await;
    for (member, value) in [
        ("phone", json!("******2345")),
        ("phone", json!("******")),
        ("phone", json!("******2346")),
        ("Phone", json!("******2345")),
        ("phone", json!({"home": ["******2345"]})),
        ("cards", json!([{"number": "4*************44"}])),
        ("cards", json!([{"number": "41"}, {"number": "4*44"}])),
    ] {
        let reply = put(&json!({"city": "Oslo", member: value}).to_string()).await;
        assert_eq!(reply.refusal(), (422, "masked_value_returned".to_owned()), "{member}: {value}");
        assert_eq!(tidegate.cause(&reply).await, "masked_value_returned");
    }
    assert_eq!(upstream.received().len(), before, "nothing may have reached the upstream");
    // What is no mask of that rule, and other places and paths, are left alone, byte for byte.
    for body in [
        r#"{"city":"******2345", "phone": "+4740612346","cards":[{"number":"4111"}]}"#,
        r#"{"phone": "*2345", "cards": [{"number": 4111222233334444}, {"name": "4**44"}]}"#,
        r#"{"phone": {"home": null, "on": true, "more": [1, {}, "2"]}, "note": "******2345"}"#,
    ] {
        assert_eq!(put(body).await.status, 200, "{body}");
        assert!(upstream.last().bytes().ends_with(body.as_bytes()), "{body}");
    }
    let patch = typed.send("PATCH", "/v1/profiles/7", Some(full(r#"{"city":"Oslo","phone":"1"}"#))).await;
    assert_eq!((patch.status, upstream.last().json()), (200, json!({"city": "Oslo"})), "a guard keeps nothing");
    let reply = partner.post("/v1/profiles", r#"{"phone": "******2345"}"#).await;
    assert_eq!(reply.status, 200, "{reply:?}");
}

#[tokio::test]
async fn a_token_of_another_category_is_not_turned_back() {
    let upstream = Upstream::json(ORDER).start().await;
    let tidegate = two_partners(&upstream).await;
    let seen = tidegate.partner("parcelo").get("/v1/orders").await.json();
    let customer = seen["customer"]["id"].as_str().unwrap();
    let reply = tidegate.partner("parcelo").get(&format!("/v1/orders/{customer}")).await;
    assert_eq!(reply.refusal(), (422, "token_not_accepted".to_owned()));
    let other = if customer[20..].starts_with('a') { "b" } else { "a" };
    let forged = format!("{}{other}{}", &customer[..20], &customer[21..]).replacen("tk1_", "TK1_", 1);
    let reply = tidegate.partner("parcelo").get(&format!("/v1/orders/{forged}")).await;
    assert_eq!(reply.refusal(), (422, "token_not_accepted".to_owned()));
    // Counted, and no alarm: it did not leave the partner.
    let own = "tidegate_foreign_tokens_total{partner=\"parcelo\",issuer=\"parcelo\"} 1";
    let unproven = "tidegate_foreign_tokens_total{partner=\"parcelo\",issuer=\"-\"} 1";
    let counted = async || {
        let (_, metrics) = tidegate.admin("/metrics").await;
        metrics.contains(own) && metrics.contains(unproven)
    };
    assert!(until(counted).await, "{}", tidegate.admin("/metrics").await.1);
    assert!(tidegate.record().iter().all(|line| line["kind"] != "foreign"));
}

#[tokio::test]
async fn a_plain_value_where_a_token_belongs_is_refused_and_a_forged_one_too() {
    let upstream = Upstream::json(ORDER).start().await;
    let tidegate = two_partners(&upstream).await;
    let seen = tidegate.partner("parcelo").get("/v1/orders").await.json();
    let token = seen["id"].as_str().unwrap();
    let last = if token.ends_with('a') { 'b' } else { 'a' };
    let forged = format!("{}{last}", &token[..token.len() - 1]);
    let before = upstream.received().len();
    for wrong in ["1001", "tk1_", &forged, &token[..token.len() - 2], &upstream.canary("order")] {
        let reply = tidegate.partner("parcelo").get(&format!("/v1/orders/{wrong}")).await;
        assert_eq!(reply.refusal(), (422, "token_not_accepted".to_owned()), "{wrong}");
    }
    assert_eq!(upstream.received().len(), before);
}

#[tokio::test]
async fn a_partner_that_never_got_a_token_learns_nothing_from_the_answer() {
    let upstream = Upstream::json(ORDER).start().await;
    let tidegate = two_partners(&upstream).await;
    let courier = tidegate.partner("parcelo").get("/v1/orders").await.json();
    let foreign = format!("/v1/orders/{}/events", courier["id"].as_str().unwrap());
    let answers = [&foreign, "/v1/orders/tk1_nonsense/events", "/v1/orders/1001/events"];
    let mut seen = Vec::new();
    for target in answers {
        let reply = tidegate.partner("admira").post(target, "{}").await;
        let mut problem = reply.json();
        problem["exchange"] = json!(null);
        seen.push(problem);
    }
    assert!(seen.windows(2).all(|pair| pair[0] == pair[1]), "{seen:?}");
}

#[tokio::test]
async fn shaped_tokens_leave_in_their_form_and_come_back_where_the_reveal_names_it() {
    const ROUTES: &str = r#"
[[inbound]]
match = "GET /v1/account"
upstream = "orders"
[inbound.response]
fields = [
  { path = "$.order", is = "id.order", do = "tokenize", as = "alnum" },
  { path = "$.card", is = "payment.card", do = "tokenize", as = "card" },
  { path = "$.iban", is = "payment.iban", do = "tokenize", as = "iban" },
  { path = "$.born", is = "demo.birth-date", do = "tokenize", as = "date", reason = "they count days" },
  { path = "$.mails[*]", is = "contact.email", do = "tokenize", normalize = "email" },
  { path = "$.phones[*]", is = "contact.phone", do = "pseudonymize", normalize = "e164" },
]
[[inbound]]
match = "POST /v1/account"
upstream = "orders"
[inbound.request]
reveal = [
  { path = "$.order", is = "id.order", as = "alnum" },
  { path = "$.card", is = "payment.card", as = "card" },
  { path = "$.iban", is = "payment.iban", as = "iban" },
  { path = "$.born", is = "demo.birth-date", as = "date" },
  { path = "$.mail", is = "contact.email" },
]
"#;
    const BODY: &str = r#"{"order":"KD1234567","card":"4111 1111 1111 1111","iban":"DE89 3704 0044 0532 0130 00","born":"1984-02-29",
        "mails":["Anna@Example.org","anna@example.org"],"phones":["+49 151 23456789","+4915123456789","0151 23456789"]}"#;
    let upstream = Upstream::json(BODY).start().await;
    let tidegate = Tidegate::with(Policy::of("parcelo", ROUTES)).upstream("orders", &upstream).start().await;
    let seen = tidegate.partner("parcelo").get("/v1/account").await.json();
    let text = |name: &str| seen[name].as_str().unwrap().to_owned();
    let (order, card, iban, born) = (text("order"), text("card"), text("iban"), text("born"));
    assert!(order.len() == 9 && order.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit()), "{order}");
    assert!(card.len() == 19 && card.split(' ').all(|group| group.len() == 4), "{card}");
    assert!(iban.starts_with("DE") && iban.len() == 27, "{iban}");
    assert!(born.len() == 10 && born != "1984-02-29", "{born}");
    assert_eq!(seen["mails"][0], seen["mails"][1], "two spellings, one token");
    let phones = seen["phones"].as_array().unwrap();
    assert_eq!((phones.len(), &phones[0]), (2, &phones[1]), "and what is of no country goes");

    let body = json!({"order": order, "card": card, "iban": iban, "born": born, "mail": seen["mails"][0]});
    let reply = tidegate.partner("parcelo").post("/v1/account", &body.to_string()).await;
    assert_eq!(reply.status, 200, "{reply:?}");
    let wanted = json!({"order": "KD1234567", "card": "4111 1111 1111 1111", "iban": "DE89 3704 0044 0532 0130 00",
        "born": "1984-02-29", "mail": "anna@example.org"});
    assert_eq!(upstream.last().json(), wanted);

    let before = upstream.received().len();
    for (name, plain) in
        [("card", "4111111111111111"), ("iban", "DE89370400440532013000"), ("order", "KD-7"), ("born", "today")]
    {
        let mut body = body.clone();
        body[name] = plain.into();
        let reply = tidegate.partner("parcelo").post("/v1/account", &body.to_string()).await;
        assert_eq!(reply.refusal(), (422, "token_not_accepted".to_owned()), "{name}");
    }
    assert_eq!(upstream.received().len(), before);
}
