//! HTTP/2 as attackers speak it: pseudo-headers, what would become another request on HTTP/1.1, frames out of order, floods.

use super::frames::{
    ACK, CONTINUATION, DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, PADDED, PING, PRIORITY, PUSH_PROMISE,
    RST_STREAM, SETTINGS, WINDOW_UPDATE, WITH_PRIORITY, block, frame, preface,
};
use super::rig::{Framed, Rig};

type Fields<'a> = Vec<(&'a str, &'a str)>;

/// The fields of a good request; `@key@` and `@nonce@` are the lane's.
const GOOD: &[(&str, &str)] = &[
    (":method", "GET"),
    (":scheme", "http"),
    (":authority", "localhost"),
    (":path", "/v1/items"),
    ("x-api-key", "@key@"),
    ("idempotency-key", "@nonce@"),
];

/// With another value for a field.
fn with<'a>(name: &str, value: &'a str) -> Fields<'a> {
    GOOD.iter().map(|(known, old)| (*known, if *known == name { value } else { *old })).collect()
}

/// Without a field.
fn without(name: &str) -> Fields<'static> {
    GOOD.iter().copied().filter(|(known, _)| *known != name).collect()
}

/// With a field more, in front or at the end.
fn and<'a>(name: &'a str, value: &'a str, first: bool) -> Fields<'a> {
    let mut fields = GOOD.to_vec();
    fields.insert(if first { 0 } else { fields.len() }, (name, value));
    fields
}

/// A request without a body.
fn asks(name: &str, fields: &Fields<'_>, reaches: &[&str], rows: &'static str) -> Framed {
    let fields: Vec<(String, String)> =
        fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    Framed {
        name: name.to_owned(),
        frames: Box::new(move |fill| {
            let filled: Vec<(String, String)> =
                fields.iter().map(|(name, value)| (name.clone(), fill(value))).collect();
            let filled: Fields<'_> = filled.iter().map(|(name, value)| (&**name, &**value)).collect();
            [preface(), frame(HEADERS, END_HEADERS | END_STREAM, 1, &block(&filled))].concat()
        }),
        until: 1,
        reaches: reaches.iter().map(|line| (*line).to_owned()).collect(),
        rows,
    }
}

/// Frames behind the preface, made with the block of a good request.
fn frames(
    name: &str,
    until: u32,
    reaches: &[&str],
    rows: &'static str,
    make: impl Fn(&[u8]) -> Vec<Vec<u8>> + Send + Sync + 'static,
) -> Framed {
    Framed {
        name: name.to_owned(),
        frames: Box::new(move |fill| {
            let filled: Vec<(&str, String)> = GOOD.iter().map(|(name, value)| (*name, fill(value))).collect();
            let filled: Fields<'_> = filled.iter().map(|(name, value)| (*name, &**value)).collect();
            [preface(), make(&block(&filled)).concat()].concat()
        }),
        until,
        reaches: reaches.iter().map(|line| (*line).to_owned()).collect(),
        rows,
    }
}

/// Whatever the refusal is: a status, a reset stream, a closed connection.
const NOT: &str = "400 | 404 | 405 | 431 | reset | closed | 400 reset | reset closed | -";

#[test]
fn pseudo_headers_say_one_thing_each_and_come_first() {
    let mut all = vec![
        asks("good", &GOOD.to_vec(), &["GET /v1/items"], "200"),
        asks(
            "without an authority, but a host",
            &{
                let mut fields = without(":authority");
                fields.push(("host", "localhost"));
                fields
            },
            &["GET /v1/items"],
            "200",
        ),
    ];
    for name in [":method", ":scheme", ":path", ":authority"] {
        all.push(asks(&format!("without {name}"), &without(name), &[], NOT));
        for first in [true, false] {
            for value in ["", "x", "/v1/items", "GET", "localhost", "http"] {
                all.push(asks(&format!("{name} twice: {value}"), &and(name, value, first), &[], NOT));
            }
        }
        let mut late = without(name);
        late.push((name, GOOD.iter().find(|(known, _)| *known == name).unwrap().1));
        all.push(asks(&format!("{name} at the end"), &late, &[], NOT));
        if name != ":scheme" {
            all.push(asks(&format!("{name} empty"), &with(name, ""), &[], NOT));
        }
    }
    for name in [":status", ":protocol", ":x", ":", ":Path", ":path ", " :path", "::path", ":method:"] {
        all.push(asks(&format!("also {name}"), &and(name, "200", true), &[], NOT));
        all.push(asks(&format!("also {name}, at the end"), &and(name, "200", false), &[], NOT));
    }
    Rig::start(&[]).run_frames("h2: pseudo-headers", &all);
}

#[test]
fn nothing_in_a_field_becomes_another_request_on_the_way() {
    let mut all = Vec::new();
    let injected = " HTTP/1.1\r\nhost: localhost\r\n\r\nGET /v1/victim";
    for path in [
        "*",
        "v1/items",
        "/v1/items HTTP/1.1",
        "/v1/items\r\nx: y",
        "/v1/items\n",
        "/v1/items\r",
        "/v1/items\0",
        "/v1/items x",
        "/v1/items\t",
        "//v1/items",
        "/v1/../v1/items",
        "/v1/items/..",
        "/v1/items/%2e%2e",
        "/v1/items;a",
        "/v1%2fitems",
        "/v1/items/%00",
        "/V1/items",
        "http://localhost/v1/items",
        "http://other/v1/items",
        "\\v1\\items",
        "/v1/items/\u{e4}",
        " /v1/items",
        "/v1/items/a b",
        "",
    ] {
        all.push(asks(&format!("path {path:?}"), &with(":path", path), &[], NOT));
    }
    all.push(asks("path with a request", &with(":path", &format!("/v1/items{injected}")), &[], NOT));
    for method in [
        "GET ",
        " GET",
        "GET\r\n",
        "GET\0",
        "G ET",
        "get",
        "PRI",
        "CONNECT",
        "OPTIONS",
        "TRACE",
        "GET /v1/victim HTTP/1.1\r\nhost: x\r\n\r\nGET",
        "GET:",
        "TIDEGATE-UNREADABLE",
    ] {
        all.push(asks(&format!("method {method:?}"), &with(":method", method), &[], NOT));
    }
    for authority in [
        "localhost\r\nx: y",
        "localhost ",
        "user@localhost",
        "localhost/",
        "localhost#",
        "localhost?",
        "localhost,other",
        "local host",
        "localhost\\",
        "localhost\0",
        "http://localhost",
    ] {
        all.push(asks(&format!("authority {authority:?}"), &with(":authority", authority), &[], NOT));
    }
    for host in ["other", "localhost:1", "", "localhost, other", "LOCALHOST.", "localhost\r\n"] {
        all.push(asks(&format!("host {host:?}"), &and("host", host, false), &[], NOT));
    }
    for scheme in ["http://x", "http\r\n", "ht tp"] {
        all.push(asks(&format!("scheme {scheme:?}"), &with(":scheme", scheme), &[], NOT));
    }
    for value in ["a\r\nb: c", "a\nb", "a\rb", "a\0b", "a\r\n\r\nGET / HTTP/1.1", "\r\n", "\u{1}", "\u{7f}"] {
        all.push(asks(&format!("value {value:?}"), &and("x-a", value, false), &[], NOT));
    }
    for name in [
        "X-A",
        "x a",
        "x-a ",
        " x-a",
        "x\r\na",
        "x\0a",
        "x:a",
        "",
        "x\u{e4}",
        "Content-Length",
        "Transfer-Encoding",
        "x-a\t",
        "(x)",
        "x\n",
    ] {
        all.push(asks(&format!("name {name:?}"), &and(name, "1", false), &[], NOT));
    }
    for (name, value) in [
        ("connection", "close"),
        ("connection", "keep-alive"),
        ("keep-alive", "timeout=1"),
        ("proxy-connection", "close"),
        ("transfer-encoding", "chunked"),
        ("transfer-encoding", "identity"),
        ("upgrade", "h2c"),
        ("te", "gzip"),
        ("te", "trailers, gzip"),
        ("te", "chunked"),
    ] {
        all.push(asks(&format!("{name}: {value}"), &and(name, value, false), &[], NOT));
    }
    for value in ["1", "7", "x", "-1", "+0", "0, 0", "18446744073709551616", "0x0", " ", "1e3"] {
        all.push(asks(&format!("a length without a body: {value}"), &and("content-length", value, false), &[], NOT));
    }
    for (name, value) in [
        ("te", "trailers"),
        ("content-length", "0"),
        ("x-transfer-encoding", "chunked"),
        ("http2-settings", "AAMAAABk"),
        ("expect", "100-continue"),
        ("cookie", "a=b"),
        ("x-a", ""),
    ] {
        all.push(asks(&format!("{name}: {value}"), &and(name, value, false), &["GET /v1/items"], "200 | 100 200"));
    }
    Rig::start(&[]).run_frames("h2: what would be something else on HTTP/1.1", &all);
}

#[test]
fn frames_out_of_order_end_the_stream_or_the_connection() {
    let head = END_HEADERS | END_STREAM;
    let good = ["GET /v1/items"];
    let all = vec![
        frames("a head in two", 1, &good, "200", |b| {
            vec![frame(HEADERS, END_STREAM, 1, &b[..9]), frame(CONTINUATION, END_HEADERS, 1, &b[9..])]
        }),
        frames("a head in several", 1, &good, "200", |b| {
            let mut all = vec![frame(HEADERS, END_STREAM, 1, &[])];
            all.extend(b.chunks(60).map(|piece| frame(CONTINUATION, 0, 1, piece)));
            all.push(frame(CONTINUATION, END_HEADERS, 1, &[]));
            all
        }),
        frames("padded", 1, &good, "200", move |b| {
            vec![frame(HEADERS, head | PADDED, 1, &[&[3][..], b, &[0; 3]].concat())]
        }),
        frames("with a priority", 1, &good, "200", move |b| {
            vec![frame(HEADERS, head | WITH_PRIORITY, 1, &[&[0, 0, 0, 0, 7][..], b].concat())]
        }),
        frames("an unknown frame", 1, &good, "200", move |b| {
            vec![frame(0x42, 0xff, 0, b"x"), frame(HEADERS, head, 1, b)]
        }),
        frames("an unknown setting", 1, &good, "200", move |b| {
            vec![frame(SETTINGS, 0, 0, &[0xff, 0, 0, 0, 0, 1]), frame(HEADERS, head, 1, b)]
        }),
        frames("two streams", 3, &[], "200 200 | 200", move |b| {
            vec![frame(HEADERS, head, 1, b), frame(HEADERS, head, 3, b)]
        })
        .any_reaches(),
        frames("data for the connection", 9, &[], "closed", |_| vec![frame(DATA, END_STREAM, 0, b"x")]),
        frames("data for a stream that is none", 1, &[], "closed | reset", |_| vec![frame(DATA, END_STREAM, 1, b"x")]),
        frames("a head for the connection", 9, &[], "closed", move |b| vec![frame(HEADERS, head, 0, b)]),
        frames("a head for an even stream", 2, &[], "closed | reset", move |b| vec![frame(HEADERS, head, 2, b)]),
        frames("a stream that is over", 9, &[], "200 closed | closed", move |b| {
            vec![frame(HEADERS, head, 3, b), frame(HEADERS, head, 1, b)]
        })
        .any_reaches(),
        frames("a continuation of nothing", 1, &[], "closed", |b| vec![frame(CONTINUATION, END_HEADERS, 1, b)]),
        frames("a continuation of another", 9, &[], "closed", |b| {
            vec![frame(HEADERS, END_STREAM, 1, &b[..9]), frame(CONTINUATION, END_HEADERS, 3, &b[9..])]
        }),
        frames("a frame inside a head", 9, &[], "closed", |b| {
            vec![
                frame(HEADERS, END_STREAM, 1, &b[..9]),
                frame(PING, 0, 0, &[0; 8]),
                frame(CONTINUATION, END_HEADERS, 1, &b[9..]),
            ]
        }),
        frames("data inside a head", 9, &[], "closed", |b| {
            vec![frame(HEADERS, 0, 1, &b[..9]), frame(DATA, 0, 1, b"x"), frame(CONTINUATION, END_HEADERS, 1, &b[9..])]
        }),
        frames("half a block", 9, &[], "closed", move |b| vec![frame(HEADERS, head, 1, &b[..b.len() - 3])]),
        frames("too much padding", 9, &[], "closed", move |b| {
            vec![frame(HEADERS, head | PADDED, 1, &[&[255][..], &b[..20]].concat())]
        }),
        frames("an index that is none", 9, &[], "closed", move |_| vec![frame(HEADERS, head, 1, &[0x80])]),
        frames("an index beyond the table", 9, &[], "closed", move |_| {
            vec![frame(HEADERS, head, 1, &[0xff, 0x80, 0x01])]
        }),
        frames("a number without an end", 9, &[], "closed", move |_| {
            vec![frame(HEADERS, head, 1, &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff])]
        }),
        frames("a table beyond its size", 9, &[], "closed", move |b| {
            vec![frame(HEADERS, head, 1, &[&[0x3f, 0xff, 0xff, 0xff, 0x7f][..], b].concat())]
        }),
        frames("Huffman's code with a wrong end", 1, &[], "closed | reset", move |_| {
            vec![frame(HEADERS, head, 1, &[0x10, 0x81, 0x00, 0x81, 0x00])]
        }),
        frames("a setting for a stream", 9, &[], "closed", |_| vec![frame(SETTINGS, 0, 1, &[])]),
        frames("settings of five bytes", 9, &[], "closed", |_| vec![frame(SETTINGS, 0, 0, &[0; 5])]),
        frames("an acknowledgement with settings", 9, &[], "closed", |_| vec![frame(SETTINGS, ACK, 0, &[0; 6])]),
        frames("push from a client", 9, &[], "closed", |b| {
            vec![frame(PUSH_PROMISE, END_HEADERS, 1, &[&[0, 0, 0, 2][..], b].concat())]
        }),
        frames("a window of 2^31", 9, &[], "closed", |_| vec![frame(SETTINGS, 0, 0, &[0, 4, 0x80, 0, 0, 0])]),
        frames("a frame size of nothing", 9, &[], "closed", |_| vec![frame(SETTINGS, 0, 0, &[0, 5, 0, 0, 0, 0])]),
        frames("a window grown by nothing", 9, &[], "closed", |_| vec![frame(WINDOW_UPDATE, 0, 0, &[0; 4])]),
        frames("a window grown too far", 9, &[], "closed", |_| {
            vec![frame(WINDOW_UPDATE, 0, 0, &[0x7f, 0xff, 0xff, 0xff])]
        }),
        frames("a window of three bytes", 9, &[], "closed", |_| vec![frame(WINDOW_UPDATE, 0, 0, &[0; 3])]),
        frames("a ping of seven bytes", 9, &[], "closed", |_| vec![frame(PING, 0, 0, &[0; 7])]),
        frames("a ping for a stream", 9, &[], "closed", |_| vec![frame(PING, 0, 1, &[0; 8])]),
        frames("a reset of a stream that is none", 9, &[], "closed", |_| vec![frame(RST_STREAM, 0, 1, &[0, 0, 0, 8])]),
        frames("a reset of three bytes", 9, &[], "closed", |_| vec![frame(RST_STREAM, 0, 1, &[0; 3])]),
        frames("a priority of four bytes", 1, &[], "closed | reset | reset closed", |_| {
            vec![frame(PRIORITY, 0, 1, &[0; 4])]
        }),
        frames("goodbye for a stream", 9, &[], "closed", |_| vec![frame(GOAWAY, 0, 1, &[0; 8])]),
        frames("a frame over the size", 9, &[], "closed", |_| vec![frame(DATA, 0, 1, &[0; 16_385])]),
        frames("data behind the end", 9, &[], "200 closed | closed | 200 reset closed | reset closed", move |b| {
            vec![frame(HEADERS, head, 1, b), frame(DATA, END_STREAM, 1, b"x"), frame(PING, 0, 0, &[0; 7])]
        })
        .any_reaches(),
        frames("no settings", 9, &[], "closed", |_| vec![vec![0; 9 * 5]]),
        frames("HTTP/1.1 behind the preface", 9, &[], "closed", |_| {
            vec![b"GET /v1/items HTTP/1.1\r\nhost: localhost\r\n\r\n".to_vec()]
        }),
    ];
    Rig::start(&[]).run_frames("h2: frames out of order", &all);
}

#[test]
fn a_body_is_of_the_length_that_was_said_or_it_is_none() {
    let body = |length: &'static str,
                pieces: &'static [&'static str],
                trailers: &'static [(&'static str, &'static str)],
                reaches: &[&str],
                rows| {
        let fields = [("content-type", "application/json"), ("content-length", length)];
        let fields = fields.into_iter().filter(|(_, value)| !value.is_empty()).collect::<Vec<_>>();
        frames(&format!("{length:?} {pieces:?} {trailers:?}"), 1, reaches, rows, move |_| Vec::new())
            .with_body(fields, pieces, trailers)
    };
    let good = ["POST /v1/items {\"n\":1}"];
    let all = vec![
        body("7", &["{\"n\":1}"], &[], &good, "200"),
        body("", &["{\"n\":1}"], &[], &good, "200"),
        body("", &["{\"n", "\":1}", ""], &[], &good, "200"),
        body("7", &["{\"n\":1}"], &[("x-t", "u")], &good, "200"),
        body("6", &["{\"n\":1}"], &[], &[], NOT),
        body("8", &["{\"n\":1}"], &[], &[], NOT),
        body("0", &["{\"n\":1}"], &[], &[], NOT),
        body("100", &["{\"n\":1}"], &[], &[], NOT),
        body("7", &["{\"n\":1}", "{\"n\":2}"], &[], &[], NOT),
        // Not refused by the library, and dropped with all that is behind a body.
        body("7", &["{\"n\":1}"], &[(":path", "/v1/victim")], &good, "200"),
        body("7", &["{\"n\":1}"], &[(":status", "200")], &good, "200"),
        body("7", &["{\"n\":1}"], &[("X-T", "u")], &[], NOT),
        body("7", &["{\"n\":1}"], &[("x-t", "a\r\nb: c")], &[], NOT),
        body("7", &["{\"n\":1}"], &[("content-length", "8")], &good, "200"),
        body("7", &["{\"n\":1}"], &[("transfer-encoding", "chunked")], &[], NOT),
        body("7, 7", &["{\"n\":1}"], &[], &[], NOT),
        body("x", &["{\"n\":1}"], &[], &[], NOT),
    ];
    Rig::start(&[]).run_frames("h2: bodies", &all);
}

#[test]
fn a_flood_costs_the_connection_and_nobody_else() {
    let head = END_HEADERS | END_STREAM;
    let any = "closed | 200 closed | reset closed | 200 reset closed | 200 | 431 closed | 431 reset closed | 431";
    let mut all = vec![
        frames("empty continuations", 9, &[], "closed", |b| {
            let mut all = vec![frame(HEADERS, END_STREAM, 1, &b[..9])];
            all.extend(std::iter::repeat_n(frame(CONTINUATION, 0, 1, &[]), 100_000));
            all
        }),
        frames("continuations without an end", 9, &[], any, |b| {
            let more = block(&[("x-a", &"y".repeat(900))]);
            let mut all = vec![frame(HEADERS, END_STREAM, 1, b)];
            all.extend(std::iter::repeat_n(frame(CONTINUATION, 0, 1, &more), 2_000));
            all
        }),
        frames("a head over the limit", 1, &[], "431 | 431 reset | reset | closed | 431 closed", |b| {
            let more = block(&[("x-a", &"y".repeat(15_000))]);
            vec![
                frame(HEADERS, END_STREAM, 1, b),
                frame(CONTINUATION, 0, 1, &more),
                frame(CONTINUATION, 0, 1, &more),
                frame(CONTINUATION, END_HEADERS, 1, &more),
            ]
        }),
        frames("more fields than may be", 1, &[], "431", move |b| {
            vec![frame(HEADERS, head, 1, &[b, &block(&[("x-a", ""); 101])].concat())]
        }),
    ];
    for (name, piece) in [
        ("pings", frame(PING, 0, 0, &[7; 8])),
        ("settings", frame(SETTINGS, 0, 0, &[])),
        ("windows", frame(WINDOW_UPDATE, 0, 0, &[0, 0, 0, 1])),
        ("priorities", frame(PRIORITY, 0, 5, &[0, 0, 0, 0, 7])),
        ("unknown frames", frame(0x42, 0, 0, &[0; 100])),
    ] {
        // Behind it stands a request, which is answered if the connection is still there.
        all.push(
            frames(name, 1, &[], any, move |b| vec![piece.repeat(50_000), frame(HEADERS, head, 1, b)]).any_reaches(),
        );
    }
    let resets = |b: &[u8]| -> Vec<Vec<u8>> {
        (0..2_000)
            .flat_map(|n| {
                [frame(HEADERS, END_HEADERS | END_STREAM, 2 * n + 1, b), frame(RST_STREAM, 0, 2 * n + 1, &[0, 0, 0, 8])]
            })
            .collect()
    };
    all.push(frames("resets", 9_999, &[], any, resets).any_reaches());
    let empty = |b: &[u8]| {
        let mut all = vec![frame(HEADERS, END_HEADERS, 1, b)];
        all.push(frame(DATA, 0, 1, &[]).repeat(50_000));
        all.push(frame(DATA, END_STREAM, 1, &[]));
        all
    };
    all.push(
        frames("empty data", 1, &[], "200 | closed | 415 | 200 closed | 415 closed | reset closed", empty)
            .any_reaches(),
    );
    Rig::start(&[]).run_frames("h2: floods", &all);
}
