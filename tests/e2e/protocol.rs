//! HTTP as it is spoken: versions, methods, chunks, codings, large bodies.

use bytes::Bytes;
use http::Version;
use serde_json::{Value, json};

use super::harness::Tidegate;
use super::harness::policy::Policy;
use super::harness::upstream::{Body, Upstream, answer, full, pieces};
use super::samples::{SMALL, SMALL_BODY};

const ROUTES: &str = r#"
[[inbound]]
match = "GET,POST /v1/items"
upstream = "orders"
[inbound.response]
keep = ["$.items[*].open", "$.echo", "$.open"]
"#;

fn in_pieces(text: &str, size: usize) -> Body {
    let parts: Vec<_> = text.as_bytes().chunks(size).map(|part| Ok(Bytes::copy_from_slice(part))).collect();
    pieces(parts)
}

/// A body of about `items` times 60 bytes, of which `{"open":N}` of each item may leave.
fn large(items: usize, secret: &str) -> String {
    let items: Vec<_> =
        (0..items).map(|n| format!("{{\"open\":{n},\"secret\":\"{secret}\",\"more\":[1,2,3]}}")).collect();
    format!("{{\"items\":[{}]}}", items.join(","))
}

fn opened(value: &Value) -> Vec<u64> {
    value["items"].as_array().unwrap().iter().map(|item| item["open"].as_u64().unwrap()).collect()
}

#[tokio::test]
async fn a_body_in_chunks_crosses_in_both_directions() {
    let upstream = Upstream::with(|received, _| {
        answer(200, "application/json", in_pieces(&json!({"echo": received.json()["say"], "no": 1}).to_string(), 3))
    })
    .start()
    .await;
    let tidegate = Tidegate::with(Policy::of("parcelo", ROUTES)).upstream("orders", &upstream).start().await;
    for partner in [tidegate.partner("parcelo"), tidegate.partner("parcelo").http2()] {
        let partner = partner.header("content-type", "application/json");
        let reply = partner.send("POST", "/v1/items", Some(in_pieces(r#"{"say": "hello"}"#, 2))).await;
        assert_eq!((reply.status, reply.json()), (200, json!({"echo": "hello"})), "{reply:?}");
        assert_eq!(upstream.last().body, r#"{"say": "hello"}"#);
    }
}

#[tokio::test]
async fn http_2_is_spoken_on_both_sides() {
    let upstream = Upstream::json(SMALL_BODY).start().await;
    let builder = Tidegate::with(Policy::of("parcelo", SMALL)).upstream("orders", &upstream);
    let tidegate = builder.set("upstream.orders.http2=true").start().await;
    let partner = tidegate.partner("parcelo").http2();
    for partner in [partner.clone(), partner.secure()] {
        let mut line = partner.connect().await.unwrap();
        for _ in 0..3 {
            let reply = line.send("GET", "/v1/small", None).await.unwrap();
            assert_eq!((reply.version, reply.json()), (Version::HTTP_2, json!({"open": "yes"})));
        }
    }
}

#[tokio::test]
async fn a_connection_serves_many_exchanges() {
    let upstream = Upstream::json(SMALL_BODY).start().await;
    let tidegate = Tidegate::with(Policy::of("parcelo", SMALL)).upstream("orders", &upstream).start().await;
    let mut line = tidegate.partner("parcelo").connect().await.unwrap();
    let mut exchanges = Vec::new();
    for _ in 0..20 {
        let reply = line.send("GET", "/v1/small", None).await.unwrap();
        assert_eq!(reply.status, 200);
        exchanges.push(reply.header("tidegate-exchange").to_owned());
    }
    exchanges.dedup();
    assert_eq!(exchanges.len(), 20, "every exchange has an id of its own");
}

#[tokio::test]
async fn head_is_served_where_get_is_without_a_body_or_a_length() {
    let upstream = Upstream::json(SMALL_BODY).start().await;
    let tidegate = Tidegate::with(Policy::of("parcelo", SMALL)).upstream("orders", &upstream).start().await;
    let reply = tidegate.partner("parcelo").send("HEAD", "/v1/small", None).await;
    assert_eq!((reply.status, reply.body.len(), reply.header("content-length")), (200, 0, ""), "{reply:?}");
    let record = tidegate.record();
    assert!(record.iter().any(|entry| entry["exchange"] == reply.header("tidegate-exchange")), "{record:?}");
}

#[tokio::test]
async fn an_empty_answer_passes() {
    let upstream = Upstream::with(|_, _| {
        let mut response = answer(204, "application/json", full(""));
        response.headers_mut().remove("content-type");
        response
    })
    .start()
    .await;
    let tidegate = Tidegate::with(Policy::of("parcelo", ROUTES)).upstream("orders", &upstream).start().await;
    let reply = tidegate.partner("parcelo").post("/v1/items", "{}").await;
    assert_eq!((reply.status, reply.body.len()), (204, 0), "{reply:?}");
}

#[tokio::test]
async fn a_large_body_streams_and_loses_only_what_it_has_to() {
    let upstream = Upstream::with(|_, canaries| {
        answer(200, "application/json", in_pieces(&large(60_000, &canaries.value("secret")), 10_007))
    })
    .start()
    .await;
    let policy = Policy::of("parcelo", ROUTES).limits("body = \"64MiB\"\natomic = \"64KiB\"");
    let tidegate = Tidegate::with(policy).upstream("orders", &upstream).start().await;
    for partner in [tidegate.partner("parcelo"), tidegate.partner("parcelo").http2()] {
        let reply = partner.get("/v1/items").await;
        assert!(reply.complete && reply.status == 200);
        assert_eq!(opened(&reply.json()), (0..60_000).collect::<Vec<_>>());
    }
}

#[tokio::test]
async fn a_fault_late_in_a_stream_cuts_it_off_and_the_record_says_so() {
    let upstream = Upstream::with(|_, canaries| {
        let mut body = large(30_000, &canaries.value("secret"));
        body.truncate(body.len() - 2);
        body.push_str("nonsense");
        answer(200, "application/json", in_pieces(&body, 10_007))
    })
    .start()
    .await;
    let policy = Policy::of("parcelo", ROUTES).limits("body = \"64MiB\"\natomic = \"64KiB\"");
    let tidegate = Tidegate::with(policy).upstream("orders", &upstream).start().await;
    for partner in [tidegate.partner("parcelo"), tidegate.partner("parcelo").http2()] {
        let reply = partner.get("/v1/items").await;
        assert_eq!(reply.status, 200);
        assert!(!reply.complete, "the part must not look like the whole");
        let exchange = reply.header("tidegate-exchange").to_owned();
        let closed = super::harness::until(async || {
            tidegate.record().iter().any(|e| e["exchange"] == exchange.as_str() && e["outcome"] == "cut")
        });
        assert!(closed.await, "{:?}", tidegate.record());
    }
}

#[tokio::test]
async fn an_http_1_0_receiver_gets_no_stream_that_could_be_taken_for_the_whole() {
    let upstream = Upstream::with(|_, canaries| {
        answer(200, "application/json", in_pieces(&large(5_000, &canaries.value("secret")), 10_007))
    })
    .start()
    .await;
    let policy = Policy::of("parcelo", ROUTES).limits("body = \"64MiB\"\natomic = \"64KiB\"");
    let tidegate = Tidegate::with(policy).upstream("orders", &upstream).start().await;
    let reply = tidegate.partner("parcelo").raw("GET /v1/items HTTP/1.0\r\nhost: localhost\r\n@auth@\r\n").await;
    assert!(!reply.contains(" 200 "), "{}", &reply[..reply.len().min(500)]);
}

#[tokio::test]
async fn a_partner_that_hangs_up_leaves_a_record_all_the_same() {
    let upstream = Upstream::with(|_, canaries| {
        answer(200, "application/json", in_pieces(&large(60_000, &canaries.value("secret")), 10_007))
    })
    .start()
    .await;
    let policy = Policy::of("parcelo", ROUTES).limits("body = \"64MiB\"\natomic = \"64KiB\"");
    let tidegate = Tidegate::with(policy).upstream("orders", &upstream).start().await;
    let partner = tidegate.partner("parcelo");
    let key = partner.key();
    {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let mut stream = tokio::net::TcpStream::connect(partner.plain_address()).await.unwrap();
        let request = format!("GET /v1/items HTTP/1.1\r\nhost: localhost\r\nx-api-key: {key}\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut first = [0; 100];
        stream.read_exact(&mut first).await.unwrap();
        assert!(first.starts_with(b"HTTP/1.1 200"));
    }
    let closed = super::harness::until(async || tidegate.record().iter().any(|entry| entry["outcome"] == "abandoned"));
    assert!(closed.await, "{:?}", tidegate.record());
}

#[tokio::test]
async fn interim_answers_and_trailers_are_not_carried_over() {
    let upstream = Upstream::raw(
        "HTTP/1.1 103 Early Hints\r\nlink: </x>; rel=<hint>\r\n\r\n\
         HTTP/1.1 200 Wonderful-<reason>\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\ntrailer: x-t\r\n\r\n\
         d;ext=<extension>\r\n{\"open\":\"yes\"\r\n1\r\n}\r\n0\r\nx-t: <trailer>\r\n\r\n",
    )
    .start()
    .await;
    let tidegate = Tidegate::with(Policy::of("parcelo", SMALL)).upstream("orders", &upstream).start().await;
    let request = "GET /v1/small HTTP/1.1\r\nhost: localhost\r\n@auth@te: trailers\r\nconnection: close\r\n\r\n";
    let reply = tidegate.partner("parcelo").raw(request).await;
    assert!(reply.starts_with("HTTP/1.1 200 ") && reply.contains(r#"{"open":"yes"}"#), "{reply}");
    assert!(!reply.contains("103") && !reply.contains("x-t"), "{reply}");
}

#[tokio::test]
async fn a_tag_of_ours_lets_a_partner_ask_whether_anything_changed() {
    let upstream = Upstream::json(SMALL_BODY).start().await;
    let tidegate = Tidegate::with(Policy::of("parcelo", SMALL)).upstream("orders", &upstream).start().await;
    let reply = tidegate.partner("parcelo").get("/v1/small").await;
    let tag = reply.header("etag").to_owned();
    if tag.is_empty() {
        return;
    }
    let again = tidegate.partner("parcelo").header("if-none-match", &tag).get("/v1/small").await;
    assert_eq!((again.status, again.body.len()), (304, 0));
    assert!(!upstream.last().headers.contains_key("if-none-match"));
}
