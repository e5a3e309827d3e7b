//! Event streams (`sse`): each event at once, by the rules; names, ids and comments only as listed.

use std::time::{Duration, Instant};

use async_compression::tokio::write::GzipDecoder;
use bytes::Bytes;
use futures_util::StreamExt;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;

use super::harness::Tidegate;
use super::harness::policy::Policy;
use super::harness::upstream::{Body, Upstream, answer, full, stuck_after};

const EVENTS: &str = r#"
[[inbound]]
match = "GET /v1/events"
upstream = "orders"
[inbound.request]
headers = ["last-event-id"]
[inbound.response]
body = "sse"
events = ["created", "message"]
keep = ["$.n"]
fields = [{ event = "id", is = "id.event", do = "tokenize" }, { path = "$.mail", do = "mask", keep_last = 1 }]
"#;

const TYPE: &str = "text/event-stream";

/// An upstream whose answer is what the test sends it, as it is sent.
async fn live() -> (Upstream, mpsc::UnboundedSender<&'static str>) {
    let (sender, receiver) = mpsc::unbounded_channel::<&'static str>();
    let receiver = std::sync::Mutex::new(Some(receiver));
    let upstream = Upstream::with(move |_, canaries| {
        let receiver = receiver.lock().unwrap().take().expect("one request");
        let canaries = canaries.clone();
        let pieces = futures_util::stream::unfold(receiver, move |mut receiver| {
            let canaries = canaries.clone();
            async move {
                let text = receiver.recv().await?;
                Some((Ok(Frame::data(Bytes::from(canaries.plant(text)))), receiver))
            }
        });
        let body: Body = BodyExt::boxed(StreamBody::new(SyncStream::new(pieces.boxed())));
        answer(200, TYPE, body)
    });
    (upstream.start().await, sender)
}

/// A stream that is polled by one at a time.
struct SyncStream<S>(std::sync::Mutex<S>);

impl<S> SyncStream<S> {
    fn new(stream: S) -> Self {
        Self(std::sync::Mutex::new(stream))
    }
}

impl<S: futures_util::Stream + Unpin> futures_util::Stream for SyncStream<S> {
    type Item = S::Item;
    fn poll_next(
        self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Self::Item>> {
        self.get_mut().0.get_mut().unwrap().poll_next_unpin(cx)
    }
}

/// A partner's connection, read as bytes come.
async fn open(tidegate: &Tidegate, coding: &str) -> TcpStream {
    let partner = tidegate.partner("parcelo");
    let mut stream = TcpStream::connect(partner.plain_address()).await.unwrap();
    let head = format!(
        "GET /v1/events HTTP/1.1\r\nhost: x\r\nx-api-key: {}\r\naccept-encoding: {coding}\r\n\r\n",
        partner.key()
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    stream
}

/// Reads until `done` says so of all that has come.
async fn read_until(stream: &mut TcpStream, so_far: &mut Vec<u8>, done: impl AsyncFn(&[u8]) -> bool) {
    let reading = async {
        while !done(so_far).await {
            assert!(stream.read_buf(so_far).await.unwrap() > 0, "{}", String::from_utf8_lossy(so_far));
        }
    };
    let read = tokio::time::timeout(Duration::from_secs(20), reading).await;
    assert!(read.is_ok(), "{}", String::from_utf8_lossy(so_far));
}

fn has(bytes: &[u8], text: &str) -> bool {
    text.is_empty() || bytes.windows(text.len()).any(|window| window == text.as_bytes())
}

#[tokio::test]
async fn the_head_and_every_event_come_before_there_is_more() {
    let (upstream, send) = live().await;
    let tidegate = Tidegate::with(Policy::of("parcelo", EVENTS)).upstream("orders", &upstream).start().await;
    let mut stream = open(&tidegate, "identity").await;
    let mut seen = Vec::new();
    read_until(&mut stream, &mut seen, async |seen| has(seen, "\r\n\r\n")).await;
    assert!(has(&seen, "200 OK") && has(&seen, TYPE), "{}", String::from_utf8_lossy(&seen));
    for (sent, comes) in [
        (": <secret.1>\n", ":\n"),
        ("data: {\"n\":1,\"no\":\"<secret.2>\"}\n\n", "data: {\"n\":1}\n\n"),
        ("event: <secret.3>\ndata: {\"n\":5}\n\nevent: created\rdata: {\rdata: \"n\":2}\r\r", "data: \"n\":2}\r\r"),
        ("data: {\"n\":", ""),
        ("3}\n", ""),
        ("\n", "data: {\"n\":3}\n\n"),
    ] {
        send.send(sent).unwrap();
        // What is not awaited here is awaited with the next.
        read_until(&mut stream, &mut seen, async |seen| has(seen, comes)).await;
    }
    drop(send);
    read_until(&mut stream, &mut seen, async |seen| seen.ends_with(b"0\r\n\r\n")).await;
    assert!(!has(&seen, "\"n\":5"), "an event of another name");
}

#[tokio::test]
async fn an_event_leaves_a_coding_at_once() {
    let (sender, receiver) = mpsc::unbounded_channel::<Vec<u8>>();
    let receiver = std::sync::Mutex::new(Some(receiver));
    let upstream = Upstream::with(move |_, _| {
        let receiver = receiver.lock().unwrap().take().expect("one request");
        let pieces = futures_util::stream::unfold(receiver, |mut receiver| async move {
            receiver.recv().await.map(|bytes| (Ok(Frame::data(Bytes::from(bytes))), receiver))
        });
        let body: Body = BodyExt::boxed(StreamBody::new(SyncStream::new(pieces.boxed())));
        let mut response = answer(200, TYPE, body);
        response.headers_mut().insert("content-encoding", "gzip".parse().unwrap());
        response
    });
    let upstream = upstream.start().await;
    let tidegate = Tidegate::with(Policy::of("parcelo", EVENTS)).upstream("orders", &upstream).start().await;
    let mut stream = open(&tidegate, "gzip").await;
    let mut encoder = async_compression::tokio::write::GzipEncoder::new(Vec::new());
    encoder.write_all(b"data: {\"n\":1,\"m\":2}\n\n").await.unwrap();
    encoder.flush().await.unwrap();
    sender.send(encoder.get_ref().clone()).unwrap();
    let mut seen = Vec::new();
    read_until(&mut stream, &mut seen, async |seen| {
        let Some(at) = seen.windows(4).position(|window| window == b"\r\n\r\n") else { return false };
        // Chunks: sizes and ends are left out.
        let (mut rest, mut coded) = (&seen[at + 4..], Vec::new());
        while let Some(line) = rest.windows(2).position(|window| window == b"\r\n") {
            let size = usize::from_str_radix(std::str::from_utf8(&rest[..line]).unwrap(), 16).unwrap();
            let Some(chunk) = rest.get(line + 2..line + 2 + size) else { break };
            coded.extend_from_slice(chunk);
            rest = rest.get(line + 4 + size..).unwrap_or_default();
        }
        let mut decoder = GzipDecoder::new(Vec::new());
        let _ = decoder.write_all(&coded).await;
        let _ = decoder.flush().await;
        has(decoder.get_ref(), "data: {\"n\":1}\n\n")
    })
    .await;
}

#[tokio::test]
async fn a_fault_cuts_behind_the_last_good_event_and_ids_are_tokens() {
    let body = "id: <order>\ndata: {\"n\":1,\"mail\":\"<email>\"}\n\ndata: {\"n\":<secret>}\n\ndata: {\"n\":3}\n\n";
    let upstream = Upstream::bytes(200, TYPE, body).start().await;
    let tidegate = Tidegate::with(Policy::of("parcelo", EVENTS)).upstream("orders", &upstream).start().await;
    let reply = tidegate.partner("parcelo").get("/v1/events").await;
    assert_eq!((reply.status, reply.complete), (200, false));
    assert!(reply.text().starts_with("id: tk1_") && reply.text().ends_with("e\"}\n\n"), "{reply:?}");
    assert_eq!(reply.text().matches("data").count(), 1, "{reply:?}");
}

#[tokio::test]
async fn an_event_that_is_too_long_and_a_type_that_is_none_are_refused() {
    let long = format!("data: {{\"n\":1}}\n\ndata: {{\"n\":\"{}\"}}\n\n", "x".repeat(9_000));
    let upstream = Upstream::bytes(200, TYPE, &long).start().await;
    let policy = Policy::of("parcelo", EVENTS).limits("atomic = \"4KiB\"\nbody = \"1KiB\"");
    let tidegate = Tidegate::with(policy).upstream("orders", &upstream).start().await;
    let reply = tidegate.partner("parcelo").get("/v1/events").await;
    assert_eq!((reply.text(), reply.complete), ("data: {\"n\":1}\n\n", false));
    let upstream = Upstream::bytes(200, "text/plain", "data: {}\n\n").start().await;
    let tidegate = Tidegate::with(Policy::of("parcelo", EVENTS)).upstream("orders", &upstream).start().await;
    let reply = tidegate.partner("parcelo").get("/v1/events").await;
    assert_eq!(reply.refusal(), (502, "body_type_wrong".to_owned()));
}

#[tokio::test]
async fn events_that_a_partner_sends_are_revealed_and_pass() {
    const POST: &str = r#"
[[inbound]]
match = "POST /v1/events"
upstream = "orders"
[inbound.request]
body = "sse"
reveal = [{ event = "id", is = "id.event" }]
[inbound.response]
keep = ["$.ok"]
"#;
    let body = "id: <order>\ndata: {\"n\":1}\n\n";
    let upstream = Upstream::with(move |received, canaries| match received.method.as_str() {
        "GET" => answer(200, TYPE, full(canaries.plant(body))),
        _ => answer(200, "application/json", full("{\"ok\":true}")),
    });
    let upstream = upstream.start().await;
    let policy = Policy::of("parcelo", &format!("{EVENTS}{POST}"));
    let tidegate = Tidegate::with(policy).upstream("orders", &upstream).start().await;
    let partner = tidegate.partner("parcelo").header("content-type", TYPE);
    let tokens = partner.get("/v1/events").await;
    assert!(tokens.text().contains("tk1_"), "{tokens:?}");
    assert_eq!(partner.send("POST", "/v1/events", Some(full(tokens.body.clone()))).await.status, 200);
    let sent = format!("id: {}\ndata: {{\"n\":1}}\n\n", upstream.canary("order"));
    assert_eq!(upstream.last().body, sent.as_bytes());
    let wrong = partner.send("POST", "/v1/events", Some(full("id: 7\ndata: 1\n\n"))).await;
    assert_eq!(wrong.refusal(), (422, "token_not_accepted".to_owned()));
}

#[tokio::test]
async fn a_quiet_stream_that_is_given_up_gives_its_place_back() {
    let upstream = Upstream::with(|_, _| answer(200, TYPE, stuck_after(b""))).start().await;
    let tidegate = Tidegate::with(Policy::of("parcelo", EVENTS)).upstream("orders", &upstream);
    let tidegate = tidegate.set("upstream.orders.connections=1").start().await;
    for _ in 0..3 {
        // Who gets no place within the time for a connection is refused, long before the upstream's `idle`.
        let (mut stream, mut seen) = (open(&tidegate, "identity").await, Vec::new());
        read_until(&mut stream, &mut seen, async |seen| has(seen, "\r\n\r\n")).await;
        assert!(has(&seen, "200 OK"), "{}", String::from_utf8_lossy(&seen));
    }
}

/// Not a measurement, only a fence: the first event must not wait for a timer. `docs/performance.md` has the figure.
#[tokio::test]
async fn an_event_is_not_held_back_by_a_timer() {
    let (upstream, send) = live().await;
    let tidegate = Tidegate::with(Policy::of("parcelo", EVENTS)).upstream("orders", &upstream).start().await;
    let mut stream = open(&tidegate, "identity").await;
    let mut seen = Vec::new();
    read_until(&mut stream, &mut seen, async |seen| has(seen, "\r\n\r\n")).await;
    let mut waits = Vec::new();
    for _ in 0..50 {
        seen.clear();
        let start = Instant::now();
        send.send("data: {\"n\":1,\"m\":2}\n\n").unwrap();
        read_until(&mut stream, &mut seen, async |seen| has(seen, "\"n\":1}\n\n")).await;
        waits.push(start.elapsed());
    }
    waits.sort();
    println!("an event from upstream to partner: median {:?}, worst {:?}", waits[25], waits[49]);
    assert!(waits[0] < Duration::from_millis(20), "{waits:?}");
}
