//! What stands beside the body, field by field: none of it tells what the body must not.

use super::far::Says;
use super::rig::{Case, Gets, Reaches, Rig};

const BODY: &str = r#"{"open":"yes","secret":"<secret>"}"#;

/// Fields of an answer that say something of a person, of what is behind us, or of the body as it was: none passes.
const NEVER: &[&str] = &[
    "location: https://inside/<person>",
    "location: /v1/items/<person>",
    "content-location: /v1/items/<person>",
    "link: </v1/items/<person>>; rel=next",
    "refresh: 0; url=/<person>",
    "set-cookie: session=<person>; path=/",
    "set-cookie2: session=<person>",
    "etag: \"<person>\"",
    "etag: W/\"<person>\"",
    "last-modified: Sun, 06 Nov 1994 08:49:37 GMT",
    "content-digest: sha-256=:<person>:",
    "repr-digest: sha-256=:<person>:",
    "digest: sha-256=<person>",
    "content-md5: <person>",
    "content-disposition: attachment; filename=\"<person>.pdf\"",
    "content-range: bytes 0-1/<digits>",
    "accept-ranges: bytes",
    "warning: 199 - \"<person>\"",
    "www-authenticate: Basic realm=\"<person>\"",
    "www-authenticate: Negotiate <person>",
    "proxy-authenticate: Basic realm=\"<person>\"",
    "authentication-info: nextnonce=\"<person>\"",
    "via: 1.1 <person>",
    "server: <person>/1.0",
    "x-powered-by: <person>",
    "x-aspnet-version: <person>",
    "x-request-id: <person>",
    "x-user: <person>",
    "x-debug: <secret>",
    "x-frame-options: <person>",
    "traceparent: 00-<person>-01",
    "tracestate: a=<person>",
    "baggage: user=<person>",
    "server-timing: db;desc=\"<person>\"",
    "timing-allow-origin: https://<person>",
    "age: 7",
    "alt-svc: h3=\"<person>:443\"",
    "access-control-allow-origin: https://<person>",
    "access-control-allow-headers: <person>",
    "access-control-expose-headers: <person>",
    "content-security-policy: report-uri https://<person>",
    "content-security-policy-report-only: default-src <person>",
    "report-to: {\"url\":\"https://<person>\"}",
    "reporting-endpoints: a=\"https://<person>\"",
    "nel: {\"report_to\":\"<person>\"}",
    "permissions-policy: geolocation=(<person>)",
    "referrer-policy: <person>",
    "sourcemap: /<person>.map",
    "x-sourcemap: /<person>.map",
    "strict-transport-security: max-age=7; <person>",
    "clear-site-data: \"<person>\"",
    "p3p: CP=\"<person>\"",
    "content-script-type: <person>",
    "mime-version: <person>",
    "from: <email>",
    "reply-to: <email>",
    "x-accel-redirect: /<person>",
    "x-sendfile: /<person>",
    "x-accel-buffering: no",
    "upgrade: <person>",
    "keep-alive: timeout=<digits>",
    "connection: <person>",
    "trailer: <person>",
    "proxy-connection: <person>",
    "sec-websocket-accept: <person>",
    "public-key-pins: pin-sha256=\"<person>\"",
    "signature: sig1=:<person>:",
    "signature-input: sig1=();keyid=\"<person>\"",
    "tidegate-exchange: <person>",
    "deprecation: <person>",
    "sunset: <person>",
    "idempotency-key: <person>",
    "preference-applied: <person>",
    "ratelimit-limit: <digits>",
    "x-ratelimit-remaining: <digits>",
    "early-data: <person>",
    "delta-base: \"<person>\"",
    "im: <person>",
    "content-type-options: <person>",
    "x-content-type-options: <person>",
    "x-cache: HIT from <person>",
    "x-served-by: <person>",
    "cf-ray: <person>",
    "x-amz-request-id: <person>",
    "grpc-message: <person>",
    "grpc-status: 0",
    "x-long: <person> <person> <person> <person>",
];

/// Fields that pass, with values that do not fit their grammar.
const UNFIT: &[&str] = &[
    "cache-control: max-age=7, user=<person>",
    "cache-control: private=\"<person>\"",
    "cache-control: <person>",
    "date: <person>",
    "date: Sun, 06 Nov 1994 08:49:37 GMT; <person>",
    "expires: <person>",
    "expires: 0<person>",
    "retry-after: <person>",
    "content-language: <person>, de",
    "content-language: de; <person>",
    "allow: GET, \"<person>\"",
    "vary: accept; <person>",
    "vary: \"<person>\"",
    "content-type: application/json; user=<person>",
    "content-type: application/json; profile=\"<person>\"",
    "content-type: application/json; charset=utf-8; x=<person>",
];

/// What is no type of this route, or two.
const TYPES: &[&str] = &[
    "content-type: text/html",
    "content-type: <person>/json",
    "content-type: application/<person>",
    "content-type: application/json, text/html",
    "content-type: application/json;charset=utf-16",
    "content-type: application/json; charset=latin1",
    "content-type: application/json; charset=utf-8; charset=utf-7",
    "content-type: ",
    "content-type: json",
    "content-type: application/json\r\ncontent-type: application/json",
    "content-type: application/json\r\ncontent-type: text/html",
    "content-type: multipart/byteranges; boundary=x",
    "content-type: application/x-ndjson",
    "content-type: application/octet-stream",
    "content-type: application/json; charset",
    "x: y",
    "content-type: */*",
    "content-type: application/*",
    "content-type: message/http",
    "content-type: application/http",
];

/// A coding that is none, or is not what the bytes are.
const CODINGS: &[&str] = &[
    "content-encoding: gzip",
    "content-encoding: br",
    "content-encoding: zstd",
    "content-encoding: deflate",
    "content-encoding: x",
    "content-encoding: <person>",
    "content-encoding: gzip, gzip",
    "content-encoding: gzip, br, zstd, deflate, gzip",
    "content-encoding: identity, gzip",
    "content-encoding: compress",
    "content-encoding: aes128gcm",
    "content-encoding: gzip\r\ncontent-encoding: br",
    "content-encoding: gzip;q=1",
    "content-encoding: dcb",
    "content-encoding: exi",
    "content-encoding: chunked",
    "content-encoding: \"gzip\"",
];

/// Fields of a request that say something of a person, or of how the partner came to us.
const FROM_PARTNERS: &[&str] = &[
    "cookie: session=<caller>",
    "authorization: Basic <caller>",
    "from: <caller>",
    "referer: https://x/<caller>",
    "origin: https://<caller>",
    "x-user: <caller>",
    "x-forwarded-for: <caller>",
    "forwarded: for=<caller>",
    "via: 1.1 <caller>",
    "traceparent: <caller>",
    "tracestate: a=<caller>",
    "baggage: user=<caller>",
    "content-disposition: form-data; name=<caller>",
    "content-digest: sha-256=:<caller>:",
    "signature: a=:<caller>:",
    "if-none-match: \"<caller>\"",
    "if-match: \"<caller>\"",
    "range: bytes=0-<digits>",
    "priority: u=<caller>",
    "save-data: <caller>",
    "sec-ch-ua: \"<caller>\"",
    "device-memory: <caller>",
    "dnt: <caller>",
    "accept-language: de, <caller>",
    "accept-charset: <caller>",
    "accept-encoding: <caller>",
    "accept: application/json; user=\"<caller>\"",
    "content-language: <caller>",
    "date: <caller>",
    "sec-gpc: <caller>",
    "x-correlation-id: <caller>",
    "x-amzn-trace-id: <caller>",
    "x-b3-traceid: <caller>",
    "content-location: /<caller>",
    "pragma: <caller>",
    "cache-control: <caller>",
    "upgrade-insecure-requests: 1",
    "x-csrf-token: <caller>",
];

/// An answer that passes but for a field.
fn answered(field: &str, rows: &'static str, sends: &str) -> Case {
    let type_line =
        if field.starts_with("content-type:") || field == "x: y" { "" } else { "content-type: application/json\r\n" };
    let answer = format!("HTTP/1.1 200 OK\r\n{type_line}{field}\r\ncontent-length: @length@\r\n\r\n{BODY}");
    Case {
        name: field.to_owned(),
        sends: sends.as_bytes().to_vec(),
        says: Says::Each(answer.into_bytes()),
        reaches: Reaches::All,
        gets: Gets::Rows(rows),
    }
}

const GET: &str = "@get@connection: close\r\n\r\n";

#[test]
fn a_field_of_an_answer_that_is_not_listed_does_not_pass() {
    let mut all: Vec<_> = NEVER.iter().map(|field| answered(field, "200", GET)).collect();
    // Nor where the status is an error, nor in the reason, nor behind the body.
    for field in NEVER {
        let answer = format!(
            "HTTP/1.1 404 <person>\r\ncontent-type: application/json\r\n{field}\r\ncontent-length: @length@\r\n\r\n{BODY}"
        );
        all.push(Case { says: Says::Each(answer.into_bytes()), ..answered(field, "404", GET) });
        let answer = format!(
            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n10\r\n{{\"open\": \"yes\"}} \r\n0\r\n{field}\r\n\r\n"
        );
        all.push(Case { says: Says::Each(answer.into_bytes()), ..answered(field, "200", GET) });
    }
    Rig::start(&[]).run("fields of answers", &all);
}

#[test]
fn a_value_of_an_answer_that_does_not_fit_its_grammar_does_not_pass() {
    let mut all: Vec<_> = UNFIT.iter().map(|field| answered(field, "200", GET)).collect();
    all.extend(
        UNFIT.iter().map(|field| answered(field, "200", "HEAD /v1/items HTTP/1.1\r\n@auth@connection: close\r\n\r\n")),
    );
    Rig::start(&[]).run("values of answers", &all);
}

#[test]
fn a_type_that_is_not_the_routes_does_not_pass() {
    let mut all: Vec<_> = TYPES.iter().map(|field| answered(field, "502", GET)).collect();
    for field in TYPES {
        let sends = format!(
            "POST /v1/items HTTP/1.1\r\n@auth@{field}\r\ncontent-length: 7\r\nconnection: close\r\n\r\n{{\"n\":1}}"
        );
        let case = answered("x-a: b", "415 | 400", &sends);
        all.push(Case { reaches: Reaches::Exactly(Vec::new()), ..case });
    }
    Rig::start(&[]).run("types", &all);
}

#[test]
fn a_coding_that_the_bytes_are_not_in_does_not_pass() {
    let mut all: Vec<_> = CODINGS.iter().map(|field| answered(field, "502", GET)).collect();
    for field in CODINGS {
        let sends = format!("@post@{field}\r\ncontent-length: 7\r\nconnection: close\r\n\r\n{{\"n\":1}}");
        all.push(Case { reaches: Reaches::Exactly(Vec::new()), ..answered("x-a: b", "415 | 400", &sends) });
    }
    Rig::start(&[]).run("codings of bodies", &all);
}

#[test]
fn a_field_of_a_request_that_is_not_listed_does_not_reach_the_upstream() {
    let mut all = Vec::new();
    for field in FROM_PARTNERS {
        let refused = field.starts_with("authorization");
        let rows = if refused { "401 | 403" } else { "200" };
        let mut case = answered("x-a: b", rows, &format!("@get@{field}\r\nconnection: close\r\n\r\n"));
        case.name = (*field).to_owned();
        if refused {
            case.reaches = Reaches::Exactly(Vec::new());
        }
        all.push(case);
    }
    Rig::start(&[]).run("fields of requests", &all);
}
