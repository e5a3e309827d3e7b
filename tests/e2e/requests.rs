//! Ways in which a request can be wrong, and what each gets. Nothing of them reaches the upstream.

use super::harness::Tidegate;
use super::harness::policy::Policy;
use super::harness::upstream::Upstream;
use super::samples::{SMALL, SMALL_BODY};

const ROUTES: &str = r#"
[[inbound]]
match = "GET /v1/orders/{id}"
upstream = "orders"
[inbound.request]
query = ["page"]
[inbound.response]
keep = ["$.open"]

[[inbound]]
match = "POST /v1/orders"
upstream = "orders"
[inbound.response]
keep = ["$.open"]
"#;

#[tokio::test]
async fn an_unmatched_route_is_refused() {
    let upstream = Upstream::json(SMALL_BODY).start().await;
    let tidegate = Tidegate::with(Policy::of("parcelo", ROUTES)).upstream("orders", &upstream).start().await;
    let partner = tidegate.partner("parcelo");
    for target in ["/", "/v1", "/v1/order/1", "/v1/orders/1/items", "/V1/orders/1", "/metrics", "/readyz"] {
        assert_eq!(partner.get(target).await.refusal(), (404, "route_unknown".to_owned()), "{target}");
    }
    assert!(upstream.received().is_empty());
}

#[tokio::test]
async fn a_method_that_the_route_does_not_have_is_refused() {
    let upstream = Upstream::json(SMALL_BODY).start().await;
    let tidegate = Tidegate::with(Policy::of("parcelo", ROUTES)).upstream("orders", &upstream).start().await;
    let partner = tidegate.partner("parcelo");
    for method in ["POST", "DELETE", "PATCH", "get", "OPTIONS", "TRACE", "BREW"] {
        let reply = partner.send(method, "/v1/orders/1", None).await;
        assert_eq!(reply.refusal(), (405, "method_not_allowed".to_owned()), "{method}");
        assert_eq!(reply.header("allow"), "GET, HEAD", "{method}");
    }
    assert!(upstream.received().is_empty());
}

#[tokio::test]
async fn a_path_that_is_not_normal_is_refused_and_not_repaired() {
    let upstream = Upstream::json(SMALL_BODY).start().await;
    let tidegate = Tidegate::with(Policy::of("parcelo", ROUTES)).upstream("orders", &upstream).start().await;
    for path in [
        "/v1/orders/a%2Fb",
        "/v1/orders/a%2fb",
        "/v1/orders/%2e%2e",
        "/v1/orders/..",
        "/v1/./orders/1",
        "//v1/orders/1",
        "/v1/orders//1",
        "/v1/orders/1;x=1",
        "/v1/orders/%00",
        "/v1/orders/%5C",
        "/v1/orders/%25",
        "/v1/orders/%3F",
        "/v1/orders/%ff",
        "/v1/orders/%zz",
        "/v1/orders/%",
    ] {
        let reply = tidegate.partner("parcelo").get(path).await;
        assert_eq!(reply.refusal(), (400, "path_not_normal".to_owned()), "{path}");
    }
    assert!(upstream.received().is_empty());
}

#[tokio::test]
async fn a_query_that_can_be_read_in_two_ways_is_refused() {
    let upstream = Upstream::json(SMALL_BODY).start().await;
    let tidegate = Tidegate::with(Policy::of("parcelo", ROUTES)).upstream("orders", &upstream).start().await;
    for query in ["page=1;x=2", "page=1?x", "page=%zz", "page=%", "page=%ff", "page=\"1\"", "page=1|2", "page={1}"] {
        let request = format!("GET /v1/orders/1?{query} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n@auth@\r\n");
        let reply = tidegate.partner("parcelo").raw(&request).await;
        assert!(reply.starts_with("HTTP/1.1 400"), "{query}: {reply}");
        // What hyper itself cannot read it answers barely.
        assert!(reply.contains("query_malformed") || query.contains(['"', '|', '{']), "{query}: {reply}");
    }
    assert!(upstream.received().is_empty());
}

#[tokio::test]
async fn a_request_that_is_no_proper_http_is_refused() {
    let upstream = Upstream::json(SMALL_BODY).start().await;
    let tidegate = Tidegate::with(Policy::of("parcelo", ROUTES)).upstream("orders", &upstream).start().await;
    for (what, bytes) in [
        ("two hosts", "GET /v1/orders/1 HTTP/1.1\r\nconnection: close\r\nhost: a\r\nhost: b\r\n@auth@\r\n"),
        ("no host", "GET /v1/orders/1 HTTP/1.1\r\nconnection: close\r\n@auth@\r\n"),
        ("a host that is none", "GET /v1/orders/1 HTTP/1.1\r\nconnection: close\r\nhost: a b\r\n@auth@\r\n"),
        (
            "two types",
            "POST /v1/orders HTTP/1.1\r\nconnection: close\r\nhost: a\r\n@auth@content-type: application/json\r\ncontent-type: text/html\r\ncontent-length: 2\r\n\r\n{}",
        ),
    ] {
        let reply = tidegate.partner("parcelo").raw(bytes).await;
        assert!(
            reply.starts_with("HTTP/1.1 400") && reply.contains("request_malformed")
                || what == "two types" && reply.starts_with("HTTP/1.1 415"),
            "{what}: {reply}"
        );
    }
    for (what, bytes) in [
        (
            "two lengths",
            "POST /v1/orders HTTP/1.1\r\nhost: a\r\n@auth@content-length: 2\r\ncontent-length: 3\r\n\r\n{}",
        ),
        ("a space in a name", "GET /v1/orders/1 HTTP/1.1\r\nhost: a\r\n@auth@bad name: x\r\n\r\n"),
        ("no HTTP", "hello\r\n\r\n"),
    ] {
        let reply = tidegate.partner("parcelo").raw(bytes).await;
        assert!(reply.is_empty() || reply.starts_with("HTTP/1.1 4"), "{what}: {reply}");
    }
    assert!(upstream.received().is_empty(), "{:?}", upstream.received());
    // Both a length and chunks.
    let both = "POST /v1/orders HTTP/1.1\r\nhost: a\r\n@auth@content-length: 60\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n\
                GET /v1/orders/2 HTTP/1.1\r\nhost: a\r\n@auth@\r\n";
    let reply = tidegate.partner("parcelo").raw(both).await;
    assert!(reply.starts_with("HTTP/1.1 400") && reply.contains("request_malformed"), "{reply}");
    assert_eq!(reply.matches("HTTP/1.1").count(), 1, "{reply}");
    assert!(upstream.received().is_empty());
    assert!(tidegate.logs().contains("request_malformed"));
}

#[tokio::test]
async fn a_target_with_a_number_sign_is_refused() {
    let upstream = Upstream::json(SMALL_BODY).start().await;
    let tidegate = Tidegate::with(Policy::of("parcelo", ROUTES)).upstream("orders", &upstream).start().await;
    for target in ["/v1/orders/1#x=2", "/v1/orders/1#/../2", "/v1/orders/1?page=3#&page=4"] {
        let request = format!("GET {target} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n@auth@\r\n");
        let reply = tidegate.partner("parcelo").raw(&request).await;
        assert!(reply.starts_with("HTTP/1.1 400") && reply.contains("request_malformed"), "{target}: {reply}");
    }
    assert!(upstream.received().is_empty());
}

#[tokio::test]
async fn a_head_over_the_limit_is_refused() {
    let upstream = Upstream::json(SMALL_BODY).start().await;
    let tidegate = Tidegate::with(Policy::of("parcelo", ROUTES)).upstream("orders", &upstream).start().await;
    let mut many = tidegate.partner("parcelo");
    for n in 0..300 {
        many = many.header(&format!("x-{n}"), "1");
    }
    // HTTP/2 has its own answer to many bytes.
    for partner in [tidegate.partner("parcelo").header("x-long", &"x".repeat(100_000)), many.clone(), many.http2()] {
        assert_eq!(partner.get("/v1/orders/1").await.refusal(), (431, "head_too_large".to_owned()));
    }
    assert!(upstream.received().is_empty());
}

#[tokio::test]
async fn a_partner_over_its_rate_is_refused_until_later() {
    let upstream = Upstream::json(SMALL_BODY).start().await;
    let policy = Policy::of("parcelo", SMALL).limits("rate = \"3/h\"\nburst = 3");
    let tidegate = Tidegate::with(policy.clone()).upstream("orders", &upstream).start().await;
    let partner = tidegate.partner("parcelo");
    for _ in 0..3 {
        assert_eq!(partner.get("/v1/small").await.status, 200);
    }
    let reply = partner.get("/v1/small").await;
    assert_eq!(reply.refusal(), (429, "rate_exceeded".to_owned()));
    let seconds: u64 = reply.header("retry-after").parse().unwrap();
    assert!((1..=1200).contains(&seconds), "{seconds}");
    // A reload does not fill it up again.
    tidegate.reload().await.unwrap();
    assert_eq!(partner.get("/v1/small").await.status, 429);
    assert_eq!(upstream.received().len(), 3);
}

#[tokio::test]
async fn a_partner_with_too_many_exchanges_at_once_is_refused() {
    let upstream = Upstream::stuck_after("").start().await;
    let policy = Policy::of("parcelo", SMALL).limits("concurrent = 1");
    let tidegate =
        Tidegate::with(policy).upstream("orders", &upstream).set("upstream.orders.response=2s").start().await;
    let partner = tidegate.partner("parcelo");
    let (first, second) = tokio::join!(partner.get("/v1/small"), partner.get("/v1/small"));
    let mut refusals = [first.refusal(), second.refusal()];
    refusals.sort();
    assert_eq!(refusals[0], (429, "concurrency_exceeded".to_owned()));
    assert_eq!(refusals[1].1, "upstream_slow");
    let late = if first.status == 429 { first } else { second };
    assert!(!late.header("retry-after").is_empty());
}

#[tokio::test]
async fn a_process_with_too_much_to_do_says_so() {
    let upstream = Upstream::stuck_after("").start().await;
    let tidegate = Tidegate::with(Policy::of("parcelo", SMALL))
        .upstream("orders", &upstream)
        .set("upstream.orders.response=2s")
        .set("limits.exchanges=1")
        .start()
        .await;
    let partner = tidegate.partner("parcelo");
    let (first, second) = tokio::join!(partner.get("/v1/small"), partner.get("/v1/small"));
    let (late, _) = if first.status == 503 { (&first, &second) } else { (&second, &first) };
    assert_eq!(late.refusal(), (503, "temporarily_unavailable".to_owned()));
    assert!(!late.header("retry-after").is_empty());
    assert_eq!(tidegate.cause(late).await, "overloaded");
}
