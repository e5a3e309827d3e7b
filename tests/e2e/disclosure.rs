//! What each partner gets of one body.

use http::Response;
use serde_json::json;

use super::harness::Tidegate;
use super::harness::policy::Policy;
use super::harness::upstream::{Upstream, answer, full};
use super::samples::{COURIER, COURIER_SEES, NETWORK, NETWORK_SEES, ORDER, SMALL, SMALL_BODY};

#[tokio::test]
async fn two_partners_get_different_fields_and_different_tokens_of_one_order() {
    let upstream = Upstream::json(ORDER).start().await;
    let tidegate = Tidegate::with(Policy::of("parcelo", COURIER))
        .and(Policy::of("admira", NETWORK))
        .upstream("orders", &upstream)
        .may_see("parcelo", COURIER_SEES)
        .may_see("admira", NETWORK_SEES)
        .start()
        .await;

    let courier = tidegate.partner("parcelo").get("/v1/orders").await.json();
    let network = tidegate.partner("admira").get("/v1/orders").await.json();
    let (courier_order, network_order) = (courier["id"].as_str().unwrap(), network["id"].as_str().unwrap());
    assert!(courier_order.starts_with("tk1_") && network_order.starts_with("tk1_"), "{courier} {network}");
    assert_ne!(courier_order, network_order);
    assert_ne!(courier["customer"]["id"], network["customer"]["id"]);

    let courier = tidegate.partner("parcelo").get(&format!("/v1/orders/{courier_order}")).await.json();
    assert_eq!(upstream.last().target, format!("/v1/orders/{}", upstream.canary("order")));
    let members = |value: &serde_json::Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!(members(&courier), ["customer", "id", "items", "status", "tax", "total"]);
    assert_eq!(members(&courier["customer"]), ["email", "id", "name", "phone"]);
    assert_eq!(members(&courier["items"][1]), ["quantity", "sku"]);
    let email = courier["customer"]["email"].as_str().unwrap();
    assert!(email.contains('@') && email.ends_with("token.invalid"), "{email}");
    let phone = upstream.canary("phone");
    assert_eq!(courier["customer"]["phone"], format!("******{}", &phone[phone.len() - 4..]));

    let network = tidegate.partner("admira").get(&format!("/v1/orders/{network_order}")).await.json();
    assert_eq!(members(&network), ["customer", "id", "items", "placed_on"]);
    assert_eq!(members(&network["customer"]), ["birth_date", "email", "id"]);
    assert_eq!(members(&network["items"][0]), ["category"]);
    assert_eq!(network["customer"]["birth_date"].as_str().unwrap(), &upstream.canary("date")[..4]);
}

#[tokio::test]
async fn what_is_kept_is_kept_byte_for_byte() {
    let upstream = Upstream::json(ORDER).start().await;
    let tidegate = Tidegate::with(Policy::of("parcelo", COURIER).routes(&COURIER.replace(
        "reveal = [{ capture = \"id\", is = \"id.order\" }]\n[inbound.response]\nsubject",
        "[inbound.response]\nsubject",
    )))
    .upstream("orders", &upstream)
    .may_see("parcelo", COURIER_SEES)
    .start()
    .await;
    let reply = tidegate.partner("parcelo").get("/v1/orders/7").await;
    let text = reply.text();
    let name = format!(r#""name": "Zo\u00eb \"Z\" {} \/ \u0041""#, upstream.canary("name"));
    for kept in [r#""total": 12345678901234567890.10"#, r#""tax": 1.50e+2"#, &name] {
        assert!(text.contains(kept), "{kept} in {text}");
    }
    let order =
        ["\"id\"", "\"status\"", "\"total\"", "\"tax\"", "\"customer\"", "\"items\""].map(|name| text.find(name));
    assert!(order.is_sorted() && order.iter().all(Option::is_some), "{order:?} in {text}");
}

#[tokio::test]
async fn a_field_that_the_upstream_adds_reaches_nobody() {
    // The harness adds `added_tomorrow` to every object that an upstream answers with; the trap would see it.
    let upstream = Upstream::json(SMALL_BODY).start().await;
    let tidegate = Tidegate::with(Policy::of("parcelo", SMALL)).upstream("orders", &upstream).start().await;
    let reply = tidegate.partner("parcelo").get("/v1/small").await;
    assert_eq!((reply.status, reply.json()), (200, json!({"open": "yes"})));
    assert!(!upstream.canary("unlisted").is_empty());
}

#[tokio::test]
async fn one_customer_has_one_token_for_one_partner() {
    let upstream = Upstream::json(ORDER).start().await;
    let tidegate = Tidegate::with(Policy::of("parcelo", COURIER)).upstream("orders", &upstream).start().await;
    let first = tidegate.partner("parcelo").get("/v1/orders").await.json();
    let second = tidegate.partner("parcelo").get("/v1/orders").await.json();
    assert_eq!(first["customer"]["id"], second["customer"]["id"]);
}

#[tokio::test]
async fn every_disclosure_is_on_the_record_and_no_value_is() {
    let upstream = Upstream::json(SMALL_BODY).start().await;
    let tidegate = Tidegate::with(Policy::of("parcelo", SMALL)).upstream("orders", &upstream).start().await;
    let reply = tidegate.partner("parcelo").get("/v1/small").await;
    let record = tidegate.record();
    let entry = record.iter().find(|entry| entry["exchange"] == reply.header("tidegate-exchange")).expect("an entry");
    assert_eq!(entry["partner"], "parcelo");
    assert_eq!(entry["route"], "GET /v1/small");
    assert_eq!(entry["leg"], "response");
    assert_eq!(entry["status"], 200);
    assert_eq!(entry["outcome"], "delivered");
    assert_eq!(entry["bytes_out"], reply.body.len());
    assert!(entry["time"].as_str().unwrap().ends_with('Z'), "{entry}");
    assert_eq!(entry["rules"].as_object().unwrap().values().next().unwrap(), 1, "{entry}");
}

#[tokio::test]
async fn headers_pass_by_the_list_only() {
    let upstream = Upstream::with(|_, canaries| {
        let body = canaries.plant(SMALL_BODY);
        let mut response: Response<_> = answer(200, "application/json", full(body));
        for (name, label) in [
            ("x-internal", "x_internal"),
            ("set-cookie", "cookie"),
            ("server", "server"),
            ("location", "location"),
            ("link", "link"),
            ("etag", "etag"),
            ("last-modified", "modified"),
            ("x-kept", "kept"),
        ] {
            response.headers_mut().insert(name, canaries.value(label).parse().unwrap());
        }
        response.headers_mut().insert("cache-control", "max-age=60".parse().unwrap());
        response
    })
    .start()
    .await;
    let routes = SMALL.replace("keep = [\"$.open\"]", "keep = [\"$.open\"]\nheaders = [\"x-kept\"]");
    let tidegate = Tidegate::with(Policy::of("parcelo", &routes))
        .upstream("orders", &upstream)
        .may_see("parcelo", &["kept"])
        .start()
        .await;
    let partner = tidegate.partner("parcelo").header("cookie", "session=1").header("x-forwarded-for", "10.1.2.3");
    let partner = partner.header("referer", "https://parcelo.example/staff").header("accept-language", "de");
    let reply = partner.get("/v1/small?debug=1&expand=x").await;
    assert_eq!(reply.header("x-kept"), upstream.canary("kept"));
    assert_eq!(reply.header("cache-control"), "max-age=60");
    let sent = upstream.last();
    assert_eq!(sent.target, "/v1/small", "query parameters that are not listed are removed");
    for name in ["cookie", "x-forwarded-for", "referer", "x-api-key", "authorization", "via", "forwarded"] {
        assert!(!sent.headers.contains_key(name), "{name} was sent on: {sent:?}");
    }
    assert!(upstream.url().ends_with(sent.headers["host"].to_str().unwrap()), "{sent:?}");
}

#[tokio::test]
async fn an_error_of_the_upstream_gives_away_its_status_only() {
    let upstream = Upstream::bytes(404, "application/json", r#"{"open":"<open>","message":"<secret>"}"#).start().await;
    let tidegate = Tidegate::with(Policy::of("parcelo", SMALL)).upstream("orders", &upstream).start().await;
    let reply = tidegate.partner("parcelo").get("/v1/small").await;
    assert_eq!(reply.status, 404);
    assert_eq!(reply.header("content-type"), "application/problem+json");
    let record = tidegate.record();
    assert!(record.iter().any(|entry| entry["exchange"] == reply.header("tidegate-exchange")), "{record:?}");
}

#[tokio::test]
async fn an_error_leg_has_rules_of_its_own() {
    let upstream = Upstream::bytes(409, "application/json", r#"{"reason":"late","message":"<secret>"}"#).start().await;
    let routes = format!("{SMALL}\n[inbound.error]\nkeep = [\"$.reason\"]\n");
    let tidegate = Tidegate::with(Policy::of("parcelo", &routes)).upstream("orders", &upstream).start().await;
    let reply = tidegate.partner("parcelo").get("/v1/small").await;
    assert_eq!((reply.status, reply.json()), (409, json!({"reason": "late"})));
}
