//! What one side can make us hold, and for how long: places, slow senders, slow receivers.

use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use http::{Request, Response};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;

use super::harness::partner::Partner;
use super::harness::policy::Policy;
use super::harness::upstream::{Body, Upstream, answer, full};
use super::harness::{Tidegate, spawn, until};

const ROUTES: &str = r#"
[[inbound]]
match = "GET,POST /v1/items"
upstream = "orders"
[inbound.request]
keep = ["$.n"]
[inbound.response]
keep = ["$.items[*].n"]
"#;

fn items(count: usize) -> String {
    let items: Vec<String> = (0..count).map(|n| format!("{{\"n\":{n}}}")).collect();
    format!("{{\"items\":[{}]}}", items.join(","))
}

/// One byte now and then, for ever.
fn dripping(begun: &'static [u8]) -> Body {
    let begun = futures_util::stream::iter([Ok(Frame::data(Bytes::from_static(begun)))]);
    let drips = futures_util::stream::unfold((), |()| async {
        let _ = tokio::time::timeout(Duration::from_millis(30), std::future::pending::<()>()).await;
        Some((Ok(Frame::data(Bytes::from_static(b" "))), ()))
    });
    BodyExt::boxed(StreamBody::new(begun.chain(drips)))
}

/// A caller over HTTP/2 who lets us send a byte of each answer, and no more until it reads.
struct Narrow {
    sender: http2::SendRequest<Body>,
    key: String,
}

impl Narrow {
    async fn connect(partner: &Partner) -> Self {
        let (address, key) = (partner.plain_address(), partner.key().to_owned());
        let sender = spawn(async move {
            let stream = TcpStream::connect(address).await.unwrap();
            let mut builder = http2::Builder::new(TokioExecutor::new());
            let (sender, connection) =
                builder.initial_stream_window_size(1).handshake(TokioIo::new(stream)).await.unwrap();
            tokio::spawn(connection);
            sender
        });
        Self { sender: sender.await, key }
    }

    async fn get(&mut self) -> Response<Incoming> {
        let request = Request::get("http://localhost/v1/items").header("x-api-key", &self.key);
        self.sender.send_request(request.body(full("")).unwrap()).await.unwrap()
    }
}

#[tokio::test]
async fn an_answer_that_is_not_taken_keeps_its_places_until_it_is() {
    // Whole and over the window; as a coded one, too.
    for (limits, setting, refused) in
        [("concurrent = 2", "limits.exchanges=100", 429), ("", "limits.exchanges=2", 503), ("", "limits.share=2", 429)]
    {
        let upstream = Upstream::with(|_, _| answer(200, "application/json", full(items(20_000)))).start().await;
        let policy = Policy::of("parcelo", ROUTES).limits(limits);
        let builder = Tidegate::with(policy).upstream("orders", &upstream);
        let tidegate = builder.set("limits.exchanges=100").set("limits.share=100").set(setting).start().await;
        let mut narrow = Narrow::connect(&tidegate.partner("parcelo")).await;
        let unread = [narrow.get().await, narrow.get().await];
        assert_eq!(unread.each_ref().map(|answer| answer.status().as_u16()), [200, 200], "{setting}");
        assert_eq!(narrow.get().await.status(), refused, "{setting}: two are unread");
        drop(unread);
        let again = until(async || narrow.get().await.status() == 200).await;
        assert!(again, "{setting}: places come back");
    }
}

#[tokio::test]
async fn a_partner_without_a_limit_of_its_own_leaves_room_for_others() {
    let upstream = Upstream::stuck_after("").start().await;
    let tidegate = Tidegate::with(Policy::of("parcelo", ROUTES))
        .and(Policy::of("admira", ROUTES))
        .upstream("orders", &upstream)
        .set("limits.exchanges=8")
        .set("limits.share=50")
        .set("upstream.orders.response=1s")
        .start()
        .await;
    let greedy = tidegate.partner("parcelo");
    let replies = futures_util::future::join_all((0..12).map(|_| greedy.get("/v1/items")));
    let (replies, other) = tokio::join!(replies, async {
        let refused = async || tidegate.logs().contains("concurrency_exceeded");
        assert!(until(refused).await, "the greedy one was never refused");
        tidegate.partner("admira").get("/v1/items").await
    });
    let refused = replies.iter().filter(|reply| reply.status == 429).count();
    assert!(refused > 0 && replies.iter().all(|reply| [429, 504].contains(&reply.status)), "{replies:?}");
    assert_eq!(other.refusal(), (504, "upstream_slow".to_owned()), "the other one got through");
}

/// With little time, and either a rate or a whole time that drips cannot keep.
fn hasty(upstream: &Upstream, name: &str, limit: &str) -> super::harness::Builder {
    let policy = Policy::of("parcelo", ROUTES).limits("body = \"64MiB\"\natomic = \"64KiB\"");
    let builder = Tidegate::with(policy).upstream(name, upstream);
    builder.set("limits.idle=300ms").set("limits.keep_alive=300ms").set("upstream.orders.idle=300ms").set(limit)
}

#[tokio::test]
async fn a_body_that_drips_is_refused_on_either_side() {
    for limit in ["limits.body_time=600ms", "limits.body_rate=100KiB"] {
        let upstream = Upstream::json("{}").start().await;
        let tidegate = hasty(&upstream, "orders", limit).start().await;
        for partner in [tidegate.partner("parcelo"), tidegate.partner("parcelo").http2()] {
            let partner = partner.header("content-type", "application/json");
            let reply = partner.send("POST", "/v1/items", Some(dripping(b"{\"n\":1"))).await;
            assert_eq!(reply.refusal(), (408, "body_slow".to_owned()), "{limit}");
        }
        assert!(upstream.received().is_empty());
        let upstream = Upstream::with(|_, _| answer(200, "application/json", dripping(b"{\"items\":["))).start().await;
        let tidegate = hasty(&upstream, "orders", limit).start().await;
        let reply = tidegate.partner("parcelo").get("/v1/items").await;
        assert_eq!(reply.refusal(), (504, "body_slow".to_owned()), "{limit}");
    }
}

#[tokio::test]
async fn an_answer_that_is_taken_in_drips_is_cut() {
    for limit in ["limits.body_time=600ms", "limits.body_rate=100MiB"] {
        let upstream = Upstream::with(|_, _| answer(200, "application/json", full(items(200_000)))).start().await;
        let tidegate = hasty(&upstream, "orders", limit).start().await;
        let mut narrow = Narrow::connect(&tidegate.partner("parcelo")).await;
        let response = narrow.get().await;
        let exchange = response.headers()["tidegate-exchange"].to_str().unwrap().to_owned();
        let mut body = response.into_body();
        let drips = async {
            while let Some(Ok(_)) = body.frame().await {
                let _ = tokio::time::timeout(Duration::from_millis(20), std::future::pending::<()>()).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), drips).await.expect("cut");
        let told = until(async || {
            tidegate.logs().lines().any(|line| line.contains(&exchange) && line.contains("answer_slow"))
        });
        assert!(told.await, "{limit}");
        let entry = tidegate.record().into_iter().find(|e| e["exchange"] == *exchange && e["outcome"] == "cut");
        assert!(entry.is_some(), "{limit}: {:?}", tidegate.record());
    }
}

#[tokio::test]
async fn a_whole_answer_that_is_not_taken_is_told_of_as_what_became_of_it() {
    for (slow, outcome) in [(true, "cut"), (false, "abandoned")] {
        let upstream = Upstream::with(|_, _| answer(200, "application/json", full(items(20_000)))).start().await;
        let keep_alive = if slow { "300ms" } else { "60s" };
        let tidegate = Tidegate::with(Policy::of("parcelo", ROUTES))
            .upstream("orders", &upstream)
            .set(&format!("limits.keep_alive={keep_alive}"))
            .start()
            .await;
        let mut narrow = Narrow::connect(&tidegate.partner("parcelo")).await;
        let response = narrow.get().await;
        let exchange = response.headers()["tidegate-exchange"].to_str().unwrap().to_owned();
        let _unread = slow.then_some(response);
        let logs = || tidegate.logs().lines().filter(|line| line.contains(&exchange)).collect::<Vec<_>>().join("\n");
        assert!(until(async || logs().contains(&format!("exchange {outcome}"))).await, "{}", logs());
        assert_eq!(logs().contains("answer_slow"), slow, "{}", logs());
        let entries =
            || -> Vec<_> { tidegate.record().into_iter().filter(|entry| entry["exchange"] == *exchange).collect() };
        assert!(until(async || entries().len() == 2).await, "{:?}", entries());
        let [entry, close] = &entries()[..] else { panic!("{:?}", entries()) };
        assert_eq!((&entry["kind"], &entry["outcome"]), (&"exchange".into(), &"delivered".into()));
        assert_eq!((&close["kind"], &close["outcome"]), (&"close".into(), &outcome.into()));
        assert_eq!((&close["status"], &close["rules"]), (&entry["status"], &entry["rules"]));
    }
}

#[tokio::test]
async fn a_whole_answer_that_is_taken_is_told_of_once() {
    let upstream = Upstream::with(|_, _| answer(200, "application/json", full(items(5_000)))).start().await;
    let tidegate = Tidegate::with(Policy::of("parcelo", ROUTES)).upstream("orders", &upstream).start().await;
    let mut exchanges = Vec::new();
    for partner in
        [tidegate.partner("parcelo"), tidegate.partner("parcelo").http2(), tidegate.partner("parcelo").secure()]
    {
        // Each over a connection of its own, which goes when the answer is there.
        for _ in 0..10 {
            let reply = partner.get("/v1/items").await;
            assert_eq!(reply.status, 200);
            exchanges.push(reply.header("tidegate-exchange").to_owned());
        }
    }
    let told = |word: &str| tidegate.record().iter().filter(|entry| entry["kind"] == word).count();
    assert_eq!((told("exchange"), told("close")), (30, 0));
    // Other tests write there, too.
    let logs = tidegate.logs();
    let ours = logs.lines().filter(|line| exchanges.iter().any(|exchange| line.contains(exchange)));
    let lost: Vec<_> = ours.filter(|line| line.contains("abandoned") || line.contains("exchange cut")).collect();
    assert!(lost.is_empty(), "{lost:?}");
}
