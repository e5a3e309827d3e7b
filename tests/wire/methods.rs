//! Methods, `Expect`, `Upgrade`, and what else could make a connection something other than one request after the other.

use super::far::Says;
use super::rig::{Case, Gets, Reaches, Rig, json};

fn case(sends: &str, reaches: &[&str], rows: &'static str) -> Case {
    Case {
        name: rows.to_owned(),
        sends: sends.as_bytes().to_vec(),
        says: Says::Each(json(r#"{"open":"yes","secret":"<secret>"}"#)),
        reaches: Reaches::Exactly(reaches.iter().map(|line| (*line).to_owned()).collect()),
        gets: Gets::Rows(rows),
    }
}

/// What no route has.
const METHODS: &[&str] = &[
    "OPTIONS",
    "TRACE",
    "PATCH",
    "TRACK",
    "DEBUG",
    "PROPFIND",
    "MKCOL",
    "COPY",
    "MOVE",
    "LOCK",
    "SEARCH",
    "PURGE",
    "BAN",
    "LINK",
    "QUERY",
    "get",
    "Get",
    "gET",
    "post",
    "GETX",
    "XGET",
    "GET-",
    "PRI",
    "SSTP_DUPLEX_POST",
    "RPC_IN_DATA",
    "ACL",
    "BREW",
    "A",
    "!",
    "$",
    "~",
    "TIDEGATE-UNREADABLE",
];

/// Fields that ask for another protocol, or speak to the next hop alone: they change nothing, and none goes on.
const HOPS: &[&str] = &[
    "upgrade: websocket\r\nconnection: upgrade\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\nsec-websocket-version: 13",
    "upgrade: h2c\r\nconnection: upgrade, http2-settings\r\nhttp2-settings: AAMAAABkAAQCAAAAAAIAAAAA",
    "upgrade: tls/1.0\r\nconnection: upgrade",
    "upgrade: x",
    "connection: upgrade",
    "connection: x-api-key",
    "connection: host",
    "connection: content-length",
    "connection: transfer-encoding",
    "connection: idempotency-key",
    "connection: accept, x-forwarded-for",
    "keep-alive: timeout=1, max=1",
    "proxy-connection: keep-alive",
    "proxy-authorization: Basic YTpi",
    "proxy-authenticate: Basic",
    "te: trailers",
    "te: gzip",
    "trailer: content-length",
    "trailer: host",
    "max-forwards: 0",
    "x-forwarded-for: 127.0.0.1",
    "x-forwarded-host: other",
    "x-forwarded-proto: https",
    "x-real-ip: 127.0.0.1",
    "forwarded: for=127.0.0.1;host=other",
    "via: 1.1 other",
    "x-original-url: /admin",
    "x-rewrite-url: /admin",
    "x-http-method-override: DELETE",
    "x-method-override: DELETE",
    "x-http-method: DELETE",
    "range: bytes=0-1",
    "if-range: x",
    "if-match: \"x\"",
    "if-unmodified-since: Sun, 06 Nov 1994 08:49:37 GMT",
    "if-modified-since: Sun, 06 Nov 2094 08:49:37 GMT",
    "if-none-match: \"x\"",
    "cookie: a=b",
    "origin: https://other",
    "access-control-request-method: GET",
    "content-location: /other",
    "expect: nothing",
    "expect: 100-continuee",
    "expect: 200-ok",
    "early-data: 1",
    "http2-settings: AAMAAABkAAQCAAAAAAIAAAAA",
    "alt-used: other",
    "cdn-loop: x",
    "tidegate-exchange: 01M879SWNZF7JZ41V9WQA2RND8",
];

#[test]
fn a_method_that_no_route_has_reaches_nobody() {
    let mut all = Vec::new();
    for method in METHODS {
        all.push(case(
            &format!("{method} /v1/items HTTP/1.1\r\n@auth@connection: close\r\n\r\n"),
            &[],
            "400 | 405 | 404",
        ));
        all.push(case(&format!("{method} * HTTP/1.1\r\n@auth@connection: close\r\n\r\n"), &[], "400 | 404 | 405"));
    }
    for (target, rows) in
        [("localhost:80", "400 | 404 | 405"), ("/v1/items", "400 | 404 | 405"), ("other:443", "400 | 404")]
    {
        all.push(case(&format!("CONNECT {target} HTTP/1.1\r\n@auth@connection: close\r\n\r\n@end@"), &[], rows));
    }
    Rig::start(&[]).run("methods", &all);
}

#[test]
fn what_is_for_the_next_hop_alone_changes_nothing_and_goes_no_further() {
    let mut all = Vec::new();
    for field in HOPS {
        all.push(case(&format!("@get@{field}\r\n\r\n@end@"), &["GET /v1/items", "GET /v1/victim"], "200 200"));
        all.push(case(
            &format!("@post@{field}\r\ncontent-length: 7\r\n\r\n{{\"n\":1}}@end@"),
            &["POST /v1/items {\"n\":1}", "GET /v1/victim"],
            "200 200",
        ));
    }
    Rig::start(&[]).run("fields for the next hop", &all);
}

#[test]
fn an_expectation_is_answered_by_us_and_goes_no_further() {
    let all = [
        case(
            "@post@expect: 100-continue\r\ncontent-length: 7\r\n\r\n{\"n\":1}@end@",
            &["POST /v1/items {\"n\":1}", "GET /v1/victim"],
            "200 200 | 100 200 200",
        ),
        case(
            "@post@Expect: 100-Continue\r\ntransfer-encoding: chunked\r\n\r\n7\r\n{\"n\":1}\r\n0\r\n\r\n@end@",
            &["POST /v1/items {\"n\":1}", "GET /v1/victim"],
            "200 200 | 100 200 200",
        ),
        case("@get@expect: 100-continue\r\n\r\n@end@", &["GET /v1/items", "GET /v1/victim"], "200 200 | 100 200 200"),
        case(
            "@get@expect: 100-continue\r\ncontent-length: 0\r\n\r\n@end@",
            &["GET /v1/items", "GET /v1/victim"],
            "200 200 | 100 200 200",
        ),
        case(
            "POST /v1/unknown HTTP/1.1\r\n@auth@expect: 100-continue\r\ncontent-length: 7\r\nconnection: close\r\n\r\n{\"n\":1}",
            &[],
            "404",
        ),
    ];
    Rig::start(&[]).run("expectations", &all);
}

#[test]
fn requests_behind_each_other_are_answered_in_their_order() {
    let mut all = Vec::new();
    for count in [2, 3, 5, 10, 40] {
        let sends = format!("{}@end@", "@get@\r\n".repeat(count - 1));
        let mut reaches = vec!["GET /v1/items"; count - 1];
        reaches.push("GET /v1/victim");
        let rows: &'static str = vec!["200"; count].join(" ").leak();
        all.push(case(&sends, &reaches, rows));
    }
    for (sends, reaches, rows) in [
        (
            "@get@\r\nGET /v1/unknown HTTP/1.1\r\n@auth@\r\n@end@",
            &["GET /v1/items", "GET /v1/victim"][..],
            "200 404 200",
        ),
        ("@get@\r\nbad\r\n\r\n@end@", &["GET /v1/items"], "200 400"),
        (
            "@get@\r\n@get@\r\nGET /v1/items HTTP/1.1\r\n@auth@x: y\n\r\n@end@",
            &["GET /v1/items", "GET /v1/items"],
            "200 200 400",
        ),
        ("@get@\r\n@post@content-length: 2\r\ncontent-length: 2\r\n\r\n{}@end@", &["GET /v1/items"], "200 400"),
        (
            "@post@content-length: 7\r\n\r\n{\"n\":1}\r\n@end@",
            &["POST /v1/items {\"n\":1}", "GET /v1/victim"],
            "200 200",
        ),
        ("@post@content-length: 6\r\n\r\n{\"n\":1}@end@", &[], "400 400"),
        ("@post@content-length: 2\r\n\r\n{}{}@end@", &["POST /v1/items {}"], "200 400"),
        ("HEAD /v1/items HTTP/1.1\r\n@auth@\r\n@end@", &["HEAD /v1/items", "GET /v1/victim"], "200 200"),
    ] {
        all.push(case(sends, reaches, rows));
    }
    Rig::start(&[]).run("requests behind each other", &all);
}
