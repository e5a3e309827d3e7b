//! A request that is sent on while it is still being read: what is answered, and what the record says of it.

use bytes::Bytes;
use futures_util::StreamExt;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use serde_json::Value;
use tokio::sync::oneshot;

use super::harness::policy::Policy;
use super::harness::upstream::{Body, Upstream};
use super::harness::{Builder, Tidegate, until};

const ROUTES: &str = r#"
[[outbound]]
match = "POST /items"
upstream = "parcelo-api"
[outbound.request]
keep = ["$.items[*].n"]
[outbound.response]
keep = ["$.open"]
"#;

fn streaming(api: &Upstream) -> Builder {
    let policy = Policy::of("parcelo", ROUTES).partner("hosts = [\"api.parcelo.internal\"]");
    let policy = policy.limits("body = \"64MiB\"\natomic = \"64KiB\"");
    Tidegate::with(policy).partner_api("parcelo-api", api)
}

/// The beginning of a long list.
fn begun(items: usize) -> Bytes {
    let items: Vec<String> = (0..items).map(|n| format!("{{\"n\":{n}}}")).collect();
    format!("{{\"items\":[{}", items.join(",")).into()
}

/// A body that begins, and goes on with what it is then given; while that is nothing, it waits.
fn then(begun: Bytes, rest: oneshot::Receiver<&'static [u8]>) -> Body {
    let begun = futures_util::stream::iter([Ok(Frame::data(begun))]);
    let rest =
        futures_util::stream::once(async move { Ok(Frame::data(Bytes::from_static(rest.await.unwrap_or_default()))) });
    BodyExt::boxed(StreamBody::new(begun.chain(rest)))
}

async fn recorded(tidegate: &Tidegate, exchange: &str, outcome: &str) -> Value {
    let find = || tidegate.record().into_iter().find(|e| e["exchange"] == exchange && e["outcome"] == outcome);
    assert!(until(async || find().is_some()).await, "{:?}", tidegate.record());
    find().unwrap()
}

#[tokio::test]
async fn what_left_before_an_early_answer_is_in_the_record() {
    let api = Upstream::stuck_after("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}");
    let api = api.start().await;
    let tidegate = streaming(&api).start().await;
    let caller = tidegate.caller("api.parcelo.internal").header("content-type", "application/json");
    let (_never, rest) = oneshot::channel();
    let reply = caller.send("POST", "/items", Some(then(begun(20_000), rest))).await;
    assert_eq!(reply.status, 200, "{reply:?}");
    let entry = recorded(&tidegate, reply.header("tidegate-exchange"), "cut").await;
    assert!(entry["bytes_out"].as_u64().unwrap() > 50_000, "{entry}");
    assert!(entry["rules"].to_string().len() > 4, "{entry}");
}

#[tokio::test]
async fn a_partner_that_takes_nothing_of_a_request_is_slow() {
    let api = Upstream::stuck_after("").start().await;
    let tidegate = streaming(&api).set("upstream.parcelo-api.idle=300ms").start().await;
    let caller = tidegate.caller("api.parcelo.internal").header("content-type", "application/json");
    let (_never, rest) = oneshot::channel();
    let reply = caller.send("POST", "/items", Some(then(begun(2_000_000), rest))).await;
    assert_eq!(reply.refusal(), (504, "upstream_slow".to_owned()));
    let entry = recorded(&tidegate, reply.header("tidegate-exchange"), "cut").await;
    assert!(entry["bytes_out"].as_u64().unwrap() > 50_000, "{entry}");
}

#[tokio::test]
async fn a_callers_fault_is_answered_even_where_the_partner_had_begun_to_answer() {
    let begun_answer = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 99\r\n\r\n{";
    for (api, answers) in [(Upstream::stuck_after(begun_answer), true), (Upstream::stuck_after(""), false)] {
        let api = api.start().await;
        let tidegate = streaming(&api).start().await;
        let caller = tidegate.caller("api.parcelo.internal").header("content-type", "application/json");
        let (go_on, rest) = oneshot::channel();
        let answer_begun = async {
            let counted = async || {
                let (_, metrics) = tidegate.admin("/metrics").await;
                metrics
                    .lines()
                    .any(|line| line.contains("upstream") && line.contains("seconds_count{") && line.ends_with(" 1"))
            };
            assert!(!answers || until(counted).await, "{}", tidegate.admin("/metrics").await.1);
            go_on.send(&b"nonsense"[..]).unwrap();
        };
        let (reply, ()) = tokio::join!(caller.send("POST", "/items", Some(then(begun(20_000), rest))), answer_begun);
        let (status, code) = reply.refusal();
        assert!(status == 400 && code.starts_with("json_"), "{status} {code}");
        recorded(&tidegate, reply.header("tidegate-exchange"), "cut").await;
    }
}
