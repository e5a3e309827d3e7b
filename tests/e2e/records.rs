//! Bodies of lines (`ndjson`): each record by the rules, as soon as it is whole; a fault cuts behind the last good one.

use bytes::Bytes;
use futures_util::StreamExt;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;

use super::harness::policy::Policy;
use super::harness::upstream::{Body, Builder, Upstream, answer, full, pieces};
use super::harness::{Tidegate, until};

const NDJSON: &str = "application/x-ndjson";

const LINES: &str = r#"
[[inbound]]
match = "GET /v1/lines"
upstream = "orders"
[inbound.response]
body = "ndjson"
keep = ["$.n"]
fields = [{ path = "$.customer", is = "id.customer", do = "tokenize" }]

[[inbound]]
match = "POST /v1/lines"
upstream = "orders"
[inbound.request]
body = "ndjson"
reveal = [{ path = "$.customer", is = "id.customer" }]
[inbound.response]
keep = ["$.ok"]
"#;

/// A body of this template in pieces of `step` bytes.
fn lines(template: &'static str, step: usize) -> Builder {
    Upstream::with(move |_, canaries| {
        let body = canaries.plant(template).into_bytes();
        let cut: Vec<_> = body.chunks(step).map(|chunk| Ok(Bytes::copy_from_slice(chunk))).collect();
        answer(200, NDJSON, pieces(cut))
    })
}

async fn serve(upstream: &Upstream, routes: &str, limits: &str) -> Tidegate {
    let policy = Policy::of("parcelo", routes).limits(limits);
    Tidegate::with(policy).upstream("orders", upstream).start().await
}

#[tokio::test]
async fn each_record_is_a_document_and_what_is_kept_keeps_its_bytes() {
    let body =
        "{ \"n\" : 1.50, \"secret\": \"<secret>\"}\n\n \t\r\n[\"<secret.2>\"]\r\n\"<secret.3>\"\n{\"n\":\"\\u0041\"}";
    let kept = "{ \"n\" : 1.50}\n\n \t\r\n[]\r\nnull\n{\"n\":\"\\u0041\"}";
    for step in [1, 7, 10_000] {
        let upstream = lines(body, step).start().await;
        let tidegate = serve(&upstream, LINES, "").await;
        let reply = tidegate.partner("parcelo").get("/v1/lines").await;
        assert_eq!((reply.status, reply.text(), reply.complete), (200, kept, true), "in pieces of {step}");
        assert_eq!(reply.header("content-type"), NDJSON);
    }
}

#[tokio::test]
async fn a_fault_cuts_behind_the_last_good_record() {
    for fault in
        ["{\"n\":3,\"secret\":\"<secret>\"\n{\"n\":4}\n", "{\"n\":3}\r{\"n\":4}\n", "{\"n\":3} {\"n\":4}\n", "{\"n\":"]
    {
        let body: &'static str = Box::leak(format!("{{\"n\":1}}\n{{\"n\":2}}\n{fault}").into_boxed_str());
        for step in [1, 10, 10_000] {
            let upstream = lines(body, step).start().await;
            let tidegate = serve(&upstream, LINES, "").await;
            let reply = tidegate.partner("parcelo").get("/v1/lines").await;
            let seen = (reply.status, reply.text(), reply.complete);
            assert_eq!(seen, (200, "{\"n\":1}\n{\"n\":2}\n", false), "{fault:?} in pieces of {step}");
        }
    }
}

#[tokio::test]
async fn a_fault_in_the_first_record_is_a_refusal_and_so_is_another_type() {
    let upstream = lines("{\"n\":1,}\n{\"n\":2}\n", 4).start().await;
    let tidegate = serve(&upstream, LINES, "").await;
    let reply = tidegate.partner("parcelo").get("/v1/lines").await;
    assert_eq!(reply.refusal(), (502, "json_syntax".to_owned()));
    let upstream = lines("{\"n\":1}\r{\"n\":2}\n", 4).start().await;
    let tidegate = serve(&upstream, LINES, "").await;
    let reply = tidegate.partner("parcelo").get("/v1/lines").await;
    assert_eq!(reply.refusal(), (502, "line_return".to_owned()));
    let upstream = Upstream::bytes(200, "application/json-seq", "{\"n\":1}").start().await;
    let tidegate = serve(&upstream, LINES, "").await;
    assert_eq!(tidegate.partner("parcelo").get("/v1/lines").await.refusal(), (502, "body_type_wrong".to_owned()));
}

#[tokio::test]
async fn a_record_leaves_before_the_next_one_has_come() {
    // The second record is sent only when the record says that the first has been shared.
    let (go_on, rest) = tokio::sync::watch::channel(false);
    let upstream = Upstream::with(move |_, _| {
        let mut rest = rest.clone();
        let first = futures_util::stream::iter([Ok(Frame::data(Bytes::from_static(b"{\"n\":1}\n")))]);
        let second = futures_util::stream::once(async move {
            rest.wait_for(|go| *go).await.unwrap();
            Ok(Frame::data(Bytes::from_static(b"{\"n\":2}\n")))
        });
        let body: Body = BodyExt::boxed(StreamBody::new(first.chain(second)));
        answer(200, NDJSON, body)
    });
    let upstream = upstream.start().await;
    let tidegate = serve(&upstream, LINES, "").await;
    let partner = tidegate.partner("parcelo");
    let opened = async {
        assert!(until(async || !tidegate.record().is_empty()).await, "nothing was recorded");
        go_on.send(true).unwrap();
    };
    let (reply, ()) = tokio::join!(partner.get("/v1/lines"), opened);
    assert_eq!((reply.text(), reply.complete), ("{\"n\":1}\n{\"n\":2}\n", true));
}

#[tokio::test]
async fn a_record_over_the_atomic_size_streams_and_one_that_must_match_is_refused() {
    let long = format!("{{\"n\":1}}\n{{\"n\":[{}1],\"s\":0}}\n{{\"n\":3}}\n", "1,".repeat(50_000));
    let upstream = Upstream::bytes(200, NDJSON, &long).start().await;
    let routes = LINES.replace("\"$.n\"", "\"$.n\", \"$.n[*]\"");
    let tidegate = serve(&upstream, &routes, "atomic = \"4KiB\"").await;
    let reply = tidegate.partner("parcelo").get("/v1/lines").await;
    assert!(reply.complete && reply.text() == long.replace(",\"s\":0", ""), "{}", reply.body.len());
    let must = routes.replace("fields = [", "fields = [{ path = \"$.n\", do = \"keep\", must = true }, ");
    let tidegate = serve(&upstream, &must, "atomic = \"4KiB\"").await;
    let reply = tidegate.partner("parcelo").get("/v1/lines").await;
    assert_eq!((reply.text(), reply.complete), ("{\"n\":1}\n", false));
}

#[tokio::test]
async fn every_record_must_match_by_itself() {
    let routes = LINES.replace("fields = [", "fields = [{ path = \"$.n\", do = \"keep\", must = true }, ");
    let upstream = lines("{\"n\":1}\n\n{\"m\":1}\n", 100).start().await;
    let tidegate = serve(&upstream, &routes, "").await;
    let reply = tidegate.partner("parcelo").get("/v1/lines").await;
    assert_eq!((reply.text(), reply.complete), ("{\"n\":1}\n\n", false));
}

#[tokio::test]
async fn tokens_of_one_stream_are_turned_back_in_another() {
    let upstream = Upstream::with(|received, canaries| match received.method.as_str() {
        "GET" => {
            let body = canaries.plant("{\"customer\":\"<customer.1>\"}\n{\"customer\":\"<customer.2>\"}\n");
            answer(200, NDJSON, full(body))
        }
        _ => answer(200, "application/json", full("{\"ok\":true}")),
    });
    let upstream = upstream.start().await;
    let tidegate = serve(&upstream, LINES, "").await;
    let partner = tidegate.partner("parcelo").header("content-type", NDJSON);
    let tokens = partner.get("/v1/lines").await;
    assert_eq!(tokens.text().matches("tk1_").count(), 2, "{tokens:?}");
    let reply = partner.send("POST", "/v1/lines", Some(full(tokens.body.clone()))).await;
    assert_eq!(reply.status, 200, "{reply:?}");
    let (one, two) = (upstream.canary("customer.1"), upstream.canary("customer.2"));
    let revealed = format!("{{\"customer\":\"{one}\"}}\n{{\"customer\":\"{two}\"}}\n");
    assert_eq!(upstream.last().body, revealed.as_bytes());
    assert_eq!(upstream.last().headers["content-type"], NDJSON);
    let wrong = partner.send("POST", "/v1/lines", Some(full("{\"customer\":\"plain\"}\n"))).await;
    assert_eq!(wrong.refusal(), (422, "token_not_accepted".to_owned()));
}

#[tokio::test]
async fn the_callers_fault_is_told_with_its_line() {
    let upstream = Upstream::json("{\"ok\":true}").start().await;
    let tidegate = serve(&upstream, LINES, "").await;
    let partner = tidegate.partner("parcelo").header("content-type", NDJSON);
    let reply = partner.send("POST", "/v1/lines", Some(full("\n{\"a\":1,}\n"))).await;
    // The blank line had gone on: the request was broken off, and its cause is told.
    assert_eq!(
        (reply.refusal(), reply.json()["location"].as_str()),
        ((400, "json_syntax".to_owned()), Some("line 2: $"))
    );
}
