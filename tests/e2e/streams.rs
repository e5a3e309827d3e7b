//! A request that is sent on while it is still being read: what is answered, and what the record says of it.

use bytes::Bytes;
use futures_util::StreamExt;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use serde_json::Value;
use tokio::sync::oneshot;

use super::harness::policy::Policy;
use super::harness::upstream::{Body, Upstream, answer, full};
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

/// What the log's line on this exchange says: outcome, code, status.
async fn logged(tidegate: &Tidegate, exchange: &str) -> (String, String, u64) {
    let find = || {
        let logs = tidegate.logs();
        let events = logs.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        events
            .map(|event| event["fields"].clone())
            .find(|fields| fields["exchange"] == exchange && fields["outcome"].is_string())
    };
    assert!(until(async || find().is_some()).await, "{}", tidegate.logs());
    let fields = find().unwrap();
    let text = |name: &str| fields[name].as_str().unwrap_or_default().to_owned();
    (text("outcome"), text("code"), fields["status"].as_u64().unwrap())
}

#[tokio::test]
async fn log_metrics_and_record_tell_one_story_of_a_request_that_streams() {
    // Not reached; heard in full and answered by something that cannot be passed on; heard in part.
    let odd = |_, _: &super::harness::canary::Canaries| answer(206, "application/json", full("{}"));
    for (api, held, outcome, code, status) in [
        (Upstream::gone(), false, "refused", "upstream_unreachable", 502),
        (Upstream::with(odd), false, "delivered", "upstream_malformed", 502),
        (Upstream::stuck_after(""), true, "cut", "upstream_slow", 504),
    ] {
        let api = api.start().await;
        let builder = streaming(&api).set("upstream.parcelo-api.idle=300ms").set("upstream.parcelo-api.response=300ms");
        let tidegate = builder.start().await;
        let caller = tidegate.caller("api.parcelo.internal").header("content-type", "application/json");
        let (go_on, rest) = oneshot::channel();
        let (_held, size) = if held {
            (Some(go_on), 2_000_000)
        } else {
            go_on.send(&b"]}"[..]).unwrap();
            (None, 20_000)
        };
        let reply = caller.send("POST", "/items", Some(then(begun(size), rest))).await;
        assert_eq!(reply.refusal(), (status, code.to_owned()));
        let exchange = reply.header("tidegate-exchange");
        let entry = recorded(&tidegate, exchange, outcome).await;
        assert_eq!(logged(&tidegate, exchange).await, (outcome.to_owned(), code.to_owned(), status.into()), "{entry}");
        let (_, metrics) = tidegate.admin("/metrics").await;
        let counted = format!("outcome=\"{outcome}\",code=\"{code}\"");
        assert!(metrics.lines().any(|line| line.contains(&counted) && line.ends_with(" 1")), "{metrics}");
        let reason = code.trim_start_matches("upstream_");
        let failed = |line: &&str| line.starts_with("tidegate_upstream_failures_total") && line.contains(reason);
        let failures = metrics.lines().find(failed).unwrap_or_default();
        // An answer that is HTTP, and yet none to what we asked, is no failure of the connection.
        assert_eq!(failures.ends_with(" 1"), outcome != "delivered", "{failures}");
    }
}

#[tokio::test]
async fn a_request_that_was_heard_whole_and_is_not_answered_in_time_counts_as_slow() {
    let silent = Upstream::stuck_after("").start().await;
    let tidegate = streaming(&silent).set("upstream.parcelo-api.response=300ms").start().await;
    let caller = tidegate.caller("api.parcelo.internal").header("content-type", "application/json");
    let (go_on, rest) = oneshot::channel();
    go_on.send(&b"]}"[..]).unwrap();
    let reply = caller.send("POST", "/items", Some(then(begun(20_000), rest))).await;
    assert_eq!(reply.refusal(), (504, "upstream_slow".to_owned()));
    let (_, metrics) = tidegate.admin("/metrics").await;
    let slow = metrics.lines().find(|line| line.contains("upstream_failures") && line.contains("slow"));
    assert!(slow.is_some_and(|line| line.ends_with(" 1")), "{slow:?}");
}
