//! Ways in which a body can be wrong, sent by the upstream and by the partner, and what each gets. In none of them does a
//! planted value reach the other side, a log or the disk: the leak trap sees to that.

use std::io::Write;

use async_compression::tokio::write::GzipEncoder;
use bytes::Bytes;
use serde_json::json;
use tokio::io::AsyncWriteExt;

use super::harness::Tidegate;
use super::harness::policy::Policy;
use super::harness::upstream::{Builder, Upstream, answer, full, pieces, stuck_after};
use super::samples::{SMALL, SMALL_BODY};

/// The partner's reply to a body of the upstream: status and code.
async fn outcome(upstream: Builder, routes: &str) -> (u16, String) {
    let upstream = upstream.start().await;
    let policy = Policy::of("parcelo", routes).limits("body = \"64KiB\"");
    let builder = Tidegate::with(policy).upstream("orders", &upstream);
    let builder = builder.set("upstream.orders.response=300ms").set("upstream.orders.idle=300ms");
    let tidegate = builder.start().await;
    let reply = tidegate.partner("parcelo").get("/v1/small").await;
    assert!(reply.complete, "{reply:?}");
    reply.refusal()
}

fn is(status: u16, code: &str) -> (u16, String) {
    (status, code.to_owned())
}

/// As JSON that is announced as such.
fn json_bytes(bytes: impl Into<Bytes>) -> Builder {
    let bytes = bytes.into();
    Upstream::with(move |_, _| answer(200, "application/json", full(bytes.clone())))
}

pub(super) async fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzipEncoder::new(Vec::new());
    encoder.write_all(bytes).await.unwrap();
    encoder.shutdown().await.unwrap();
    encoder.into_inner()
}

fn coded(coding: &'static str, bytes: Vec<u8>) -> Builder {
    Upstream::with(move |_, _| {
        let mut response = answer(200, "application/json", full(bytes.clone()));
        response.headers_mut().insert("content-encoding", coding.parse().unwrap());
        response
    })
}

#[tokio::test]
async fn json_that_is_not_strictly_json_is_refused_as_the_upstreams_fault() {
    let deep = format!("{}1{}", "[".repeat(600), "]".repeat(600));
    let utf16: Vec<u8> = "\u{feff}{\"open\":\"yes\"}".encode_utf16().flat_map(u16::to_le_bytes).collect();
    let wrong: Vec<(&str, Vec<u8>)> = vec![
        ("a trailing comma", br#"{"open":"yes",}"#.to_vec()),
        ("a truncated document", br#"{"open":"yes","secret":"#.to_vec()),
        ("two documents", br#"{"open":"yes"}{"open":"no"}"#.to_vec()),
        ("bytes behind the document", br#"{"open":"yes"} x"#.to_vec()),
        ("a comment", br#"{"open":"yes"/* psst */}"#.to_vec()),
        ("NaN", br#"{"open":NaN}"#.to_vec()),
        ("single quotes", br"{'open':'yes'}".to_vec()),
        ("a byte order mark", b"\xef\xbb\xbf{\"open\":\"yes\"}".to_vec()),
        ("UTF-16", utf16),
        ("invalid UTF-8", b"{\"open\":\"\xff\xfe\"}".to_vec()),
        ("invalid UTF-8 in what is dropped", b"{\"open\":\"yes\",\"secret\":\"\xff\"}".to_vec()),
        ("a lone surrogate", br#"{"open":"\ud800"}"#.to_vec()),
        ("NUL in a name", br#"{"open":"yes","a\u0000b":1}"#.to_vec()),
        ("a control character in a string", b"{\"open\":\"y\nes\"}".to_vec()),
        ("nesting over the limit", deep.into_bytes()),
        ("a number that is none", br#"{"open":01}"#.to_vec()),
        ("HTML under a JSON type", b"<html>yes</html>".to_vec()),
    ];
    for (what, body) in wrong {
        let (status, code) = outcome(json_bytes(body), SMALL).await;
        assert_eq!(status, 502, "{what}: {code}");
        assert!(code.starts_with("json_"), "{what}: {code}");
    }
}

#[tokio::test]
async fn a_media_type_that_is_not_the_routes_is_refused() {
    for kind in ["text/html", "text/plain", "application/x-ndjson", "application/json; charset=latin1", "json", ""] {
        let upstream = Upstream::bytes(200, kind, SMALL_BODY);
        assert_eq!(outcome(upstream, SMALL).await, is(502, "body_type_wrong"), "{kind}");
    }
    let untyped = Upstream::raw("HTTP/1.1 200 OK\r\ncontent-length: 24\r\n\r\n{\"secret\":\"<secret>\"}   ");
    assert_eq!(outcome(untyped, SMALL).await.0, 502);
    let doubled = Upstream::with(|_, canaries| {
        let mut response = answer(200, "application/json", full(canaries.plant(SMALL_BODY)));
        response.headers_mut().append("content-type", "text/html".parse().unwrap());
        response
    });
    assert_eq!(outcome(doubled, SMALL).await, is(502, "body_type_wrong"));
}

#[tokio::test]
async fn a_coding_that_is_unknown_or_a_lie_is_refused() {
    let json = SMALL_BODY.as_bytes();
    let packed = gzip(json).await;
    let cut = packed[..packed.len() - 6].to_vec();
    let twice = gzip(&gzip(&packed).await).await;
    for (what, upstream) in [
        ("unknown", coded("compress", json.to_vec())),
        ("invented", coded("rot13", json.to_vec())),
        ("garbage", coded("gzip", b"this is not gzip at all".to_vec())),
        ("another coding", coded("br", packed.clone())),
        ("three in a chain", coded("gzip, gzip, gzip", twice)),
        ("bytes behind its end", coded("gzip", [packed.clone(), b"tail".to_vec()].concat())),
    ] {
        assert_eq!(outcome(upstream, SMALL).await, is(502, "body_coding_wrong"), "{what}");
    }
    // Its end is missing: the coding is broken, or the body incomplete; never delivered.
    assert_eq!(outcome(coded("gzip", cut), SMALL).await.0, 502);
}

#[tokio::test]
async fn a_coding_that_is_known_is_undone_and_done_again() {
    let upstream = coded("gzip", gzip(SMALL_BODY.replace("<secret>", "s").as_bytes()).await).start().await;
    let tidegate = Tidegate::with(Policy::of("parcelo", SMALL)).upstream("orders", &upstream).start().await;
    let plain = tidegate.partner("parcelo").get("/v1/small").await;
    assert_eq!((plain.header("content-encoding"), plain.json()), ("", json!({"open": "yes"})));
    let old = "GET /v1/small HTTP/1.0\r\nhost: localhost\r\naccept-encoding: gzip\r\n@auth@\r\n";
    let old = tidegate.partner("parcelo").raw(old).await;
    assert!(old.contains(" 200 ") && !old.contains("content-encoding"), "{old}");
    let packed = tidegate.partner("parcelo").header("accept-encoding", "gzip").get("/v1/small").await;
    if packed.header("content-encoding") == "gzip" {
        let mut decoder = async_compression::tokio::write::GzipDecoder::new(Vec::new());
        decoder.write_all(&packed.body).await.unwrap();
        decoder.shutdown().await.unwrap();
        assert_eq!(decoder.into_inner(), plain.body);
    } else {
        assert_eq!(packed.body, plain.body);
    }
}

#[tokio::test]
async fn a_body_over_the_limit_is_refused_packed_or_not() {
    let long = format!("{{\"open\":\"yes\",\"secret\":\"{}\"}}", "x".repeat(70_000));
    assert_eq!(outcome(json_bytes(long.clone()), SMALL).await, is(502, "body_too_large"), "announced");
    let parts: Vec<_> = long.as_bytes().chunks(1000).map(|chunk| Ok(Bytes::copy_from_slice(chunk))).collect();
    let streamed = Upstream::with(move |_, _| answer(200, "application/json", pieces(parts.clone())));
    assert_eq!(outcome(streamed, SMALL).await, is(502, "body_too_large"), "not announced");
    let mut bomb = Vec::new();
    write!(bomb, "{{\"open\":\"yes\",\"secret\":\"{}\"}}", "0".repeat(20_000_000)).unwrap();
    assert_eq!(outcome(coded("gzip", gzip(&bomb).await), SMALL).await, is(502, "body_too_large"), "a bomb");
}

#[tokio::test]
async fn an_upstream_that_breaks_off_delivers_nothing() {
    let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n";
    for (what, bytes) in [
        ("by length", format!("{head}content-length: 500\r\n\r\n{{\"open\":\"yes\",\"secret\":\"<secret>\"}}")),
        ("by chunks", format!("{head}transfer-encoding: chunked\r\n\r\n10\r\n{{\"open\":\"yes\"}}  \r\n")),
        ("in a chunk", format!("{head}transfer-encoding: chunked\r\n\r\nff\r\n{{\"open\":\"yes\"}}")),
    ] {
        assert_eq!(outcome(Upstream::raw(&bytes), SMALL).await, is(502, "body_incomplete"), "{what}");
    }
    let broken = Upstream::with(|_, _| {
        answer(200, "application/json", pieces(vec![Ok(Bytes::from_static(b"{\"open\":\"yes\"}")), Err(())]))
    });
    // The head may not have been flushed when it breaks off: then the answer is none.
    assert_eq!(outcome(broken, SMALL).await.0, 502);
}

#[tokio::test]
async fn an_upstream_that_does_not_speak_http_is_refused() {
    for (what, bytes) in [
        ("another protocol", "SSH-2.0-OpenSSH_9.2 <secret>\r\n"),
        ("nothing", ""),
        ("half a head", "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nx-secret: <secret>"),
        ("a length twice", "HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\n{}<secret>"),
        ("a length that is none", "HTTP/1.1 200 OK\r\ncontent-length: two\r\n\r\n{}<secret>"),
        ("an upgrade", "HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n<secret>"),
    ] {
        assert_eq!(outcome(Upstream::raw(bytes), SMALL).await, is(502, "upstream_malformed"), "{what}");
    }
}

#[tokio::test]
async fn an_upstream_that_is_down_or_slow_is_refused() {
    assert_eq!(outcome(Upstream::gone(), SMALL).await, is(502, "upstream_unreachable"));
    assert_eq!(outcome(Upstream::stuck_after(""), SMALL).await, is(504, "upstream_slow"));
    let stuck = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 99\r\n\r\n{\"open\":\"yes\",";
    assert_eq!(outcome(Upstream::stuck_after(stuck), SMALL).await, is(504, "body_slow"));
}

#[tokio::test]
async fn both_of_two_equal_names_get_the_rule() {
    let body = r#"{"open":"yes","secret":"<secret>","op\u0065n":"too","secret":"<secret.2>"}"#;
    let upstream = Upstream::bytes(200, "application/json", body).start().await;
    let tidegate = Tidegate::with(Policy::of("parcelo", SMALL)).upstream("orders", &upstream).start().await;
    let reply = tidegate.partner("parcelo").get("/v1/small").await;
    assert_eq!(reply.text(), r#"{"open":"yes","op\u0065n":"too"}"#);
}

#[tokio::test]
async fn a_filter_that_reads_two_equal_names_refuses() {
    let routes = SMALL.replace("\"$.open\"", "\"$.items[?@.kind == 'x'].open\"");
    let body = r#"{"items":[{"kind":"x","open":"yes","kind":"y","secret":"<secret>"}]}"#;
    let (status, code) = outcome(Upstream::bytes(200, "application/json", body), &routes).await;
    assert_eq!((status, code.as_str()), (502, "rule_failed"));
}

#[tokio::test]
async fn a_rule_that_must_match_refuses_where_it_does_not() {
    let routes = SMALL.replace(
        "keep = [\"$.open\"]",
        "fields = [{ path = \"$.open\", do = \"keep\" }, { path = \"$.gone\", do = \"drop\", must = true }]",
    );
    let body = Upstream::bytes(200, "application/json", SMALL_BODY);
    assert_eq!(outcome(body, &routes).await, is(502, "rule_unmatched"));
}

/// A route that takes JSON from the partner.
const POST: &str = r#"
[[inbound]]
match = "POST /v1/notes"
upstream = "orders"
[inbound.request]
fields = [{ path = "$.must", do = "keep", must = true }]
[inbound.response]
keep = ["$.open"]
"#;

#[tokio::test]
async fn the_same_faults_of_a_partners_body_are_the_partners() {
    let upstream = Upstream::json(SMALL_BODY).start().await;
    let policy = Policy::of("parcelo", POST).limits("body = \"64KiB\"");
    let tidegate = Tidegate::with(policy).upstream("orders", &upstream).start().await;
    let partner = tidegate.partner("parcelo");
    let send = async |kind: &str, coding: &str, bytes: &[u8]| {
        let mut partner = partner.clone().header("content-type", kind);
        if !coding.is_empty() {
            partner = partner.header("content-encoding", coding);
        }
        partner.send("POST", "/v1/notes", Some(full(bytes.to_vec()))).await.refusal()
    };
    let json = "application/json";
    for wrong in
        [&br#"{"must":1,}"#[..], b"{\"must\":\"\xff\"}", b"\xef\xbb\xbf{\"must\":1}", br#"{"must":1"#, b"nonsense"]
    {
        let (status, code) = send(json, "", wrong).await;
        assert_eq!(status, 400, "{code}");
        assert!(code.starts_with("json_"), "{code}");
    }
    assert_eq!(send("text/plain", "", br#"{"must":1}"#).await, is(415, "body_type_wrong"));
    assert_eq!(send("application/json; charset=utf-16", "", br#"{"must":1}"#).await, is(415, "body_type_wrong"));
    assert_eq!(send(json, "compress", br#"{"must":1}"#).await, is(415, "body_coding_wrong"));
    assert_eq!(send(json, "gzip", b"garbage").await, is(415, "body_coding_wrong"));
    assert_eq!(send(json, "", "1".repeat(70_000).as_bytes()).await, is(413, "body_too_large"));
    assert_eq!(send(json, "", br#"{"other":1}"#).await, is(422, "rule_unmatched"));
    assert!(upstream.received().is_empty(), "nothing may have reached the upstream");
}

#[tokio::test]
async fn a_partner_that_breaks_off_or_dawdles_reaches_nobody() {
    let upstream = Upstream::json(SMALL_BODY).start().await;
    let tidegate = Tidegate::with(Policy::of("parcelo", POST))
        .upstream("orders", &upstream)
        .set("limits.idle=300ms")
        .start()
        .await;
    let head = "POST /v1/notes HTTP/1.1\r\nhost: x\r\n@auth@content-type: application/json\r\n";
    // The socket's writing side is closed behind these bytes.
    let cut = format!("{head}content-length: 99\r\n\r\n{{\"must\":1");
    let reply = tidegate.partner("parcelo").raw_cut(&cut).await;
    assert!(reply.is_empty() || reply.contains("body_incomplete"), "{reply}");
    let dawdler = tidegate.partner("parcelo").header("content-type", "application/json");
    let reply = dawdler.send("POST", "/v1/notes", Some(stuck_after(b"{\"must\":"))).await;
    assert_eq!(reply.refusal(), is(408, "body_slow"));
    assert!(upstream.received().is_empty());
}
