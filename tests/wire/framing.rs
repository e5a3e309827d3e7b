//! Requests whose length could be read in two ways.

use super::far::Says;
use super::rig::{Case, Gets, Reaches, Rig, json};

/// What is sent, and the rows of statuses of which the partner gets one.
type Line = (&'static str, &'static str);

const ANSWER: &str = r#"{"open":"yes","secret":"<secret>"}"#;

/// What may reach the upstream is what [`super::reading`] has: all of it where every status is a 200.
fn cases(lines: &[Line]) -> Vec<Case> {
    let case = |&(sends, rows): &Line| Case {
        name: rows.to_owned(),
        sends: sends.as_bytes().to_vec(),
        says: Says::Each(json(ANSWER)),
        reaches: if rows.split(' ').all(|status| status == "200") { Reaches::All } else { Reaches::OfThose },
        gets: Gets::Rows(rows),
    };
    lines.iter().map(case).collect()
}

/// In order: they have to pass.
const GOOD: &[Line] = &[
    ("@get@connection: close\r\n\r\n", "200"),
    ("@end@", "200"),
    ("\r\n@end@", "200"),
    ("\r\n\r\n@end@", "200"),
    ("@get@\r\n@end@", "200 200"),
    ("@get@\r\n\r\n@end@", "200 200"),
    ("@get@\r\n@get@\r\n@get@\r\n@get@\r\n@end@", "200 200 200 200 200"),
    ("@post@content-length: 7\r\n\r\n{\"n\":1}@end@", "200 200"),
    ("@post@content-length:7\r\n\r\n{\"n\":1}@end@", "200 200"),
    ("@post@content-length: \t 7 \t \r\n\r\n{\"n\":1}@end@", "200 200"),
    ("@post@CONTENT-LENGTH: 7\r\n\r\n{\"n\":1}@end@", "200 200"),
    ("@post@content-length: 0000007\r\n\r\n{\"n\":1}@end@", "200 200"),
    ("@post@transfer-encoding: chunked\r\n\r\n7\r\n{\"n\":1}\r\n0\r\n\r\n@end@", "200 200"),
    ("@post@transfer-encoding: CHUNKED\r\n\r\n7\r\n{\"n\":1}\r\n0\r\n\r\n@end@", "200 200"),
    ("@post@Transfer-Encoding:\tchunked \r\n\r\n7\r\n{\"n\":1}\r\n0\r\n\r\n@end@", "200 200"),
    ("@post@transfer-encoding: chunked\r\n\r\n3\r\n{\"n\r\n4\r\n\":1}\r\n0\r\n\r\n@end@", "200 200"),
    ("@post@transfer-encoding: chunked\r\n\r\n00000007\r\n{\"n\":1}\r\n0000\r\n\r\n@end@", "200 200"),
    ("@post@transfer-encoding: chunked\r\n\r\n7;a\r\n{\"n\":1}\r\n0;b=c\r\n\r\n@end@", "200 200"),
    ("@post@transfer-encoding: chunked\r\n\r\n7;a=\"b;c\"\r\n{\"n\":1}\r\n0\r\n\r\n@end@", "200 200"),
    ("@post@transfer-encoding: chunked\r\n\r\n7\r\n{\"n\":1}\r\n0\r\nx-t: u\r\n\r\n@end@", "200 200"),
    ("@post@transfer-encoding: chunked\r\n\r\n7\r\n{\"n\":1}\r\n0\r\nx-t: u\r\nx-v: w\r\n\r\n@end@", "200 200"),
    ("@post@content-length: 7\r\nx-a:\r\nx-b: \r\n\r\n{\"n\":1}@end@", "200 200"),
    ("@post@content-length: 7\r\nx-obs: \u{e4}\r\n\r\n{\"n\":1}@end@", "200 200"),
    ("GET /v1/items HTTP/1.0\r\n@auth@\r\n", "200"),
    ("GET /v1/items HTTP/1.0\r\n@auth@connection: keep-alive\r\n\r\n@end@", "200 200"),
    ("GET /v1/items HTTP/1.0\r\n@auth@\r\nGET /v1/victim HTTP/1.1\r\n\r\n", "200"),
    ("@get@connection: close\r\n\r\n@get@\r\n", "200"),
    ("@get@connection: Close\r\n\r\n@get@\r\n", "200"),
    ("@get@connection: x, close\r\n\r\n@get@\r\n", "200"),
    ("@get@connection: keep-alive\r\nconnection: close\r\n\r\n@get@\r\n", "200"),
    ("@get@content-length: 0\r\n\r\n@end@", "200 200"),
];

/// A length said in a way that not everybody reads the same: refused, and the connection closed.
const LENGTHS: &[&str] = &[
    "content-length: 7\r\ncontent-length: 7",
    "content-length: 7\r\ncontent-length: 8",
    "content-length: 8\r\ncontent-length: 7",
    "content-length: 7\r\ncontent-length: 0",
    "content-length: 0\r\ncontent-length: 7",
    "content-length: 7\r\nx-a: b\r\ncontent-length: 7",
    "content-length: 7\r\nContent-Length: 7",
    "content-length: 7, 7",
    "content-length: 7,7",
    "content-length: 7, 8",
    "content-length: 7,",
    "content-length: ,7",
    "content-length: 7 7",
    "content-length: 7 0",
    "content-length: +7",
    "content-length: -7",
    "content-length: -0",
    "content-length: 7.0",
    "content-length: 7e0",
    "content-length: 0x7",
    "content-length: 07h",
    "content-length: 1_0",
    "content-length: \"7\"",
    "content-length: '7'",
    "content-length: 7;",
    "content-length: 7;a=b",
    "content-length: (7)",
    "content-length: ",
    "content-length:",
    "content-length: seven",
    "content-length: \u{ff17}",
    "content-length: \u{0667}",
    "content-length: 18446744073709551616",
    "content-length: 18446744073709551623",
    "content-length: 99999999999999999999999999999999",
    "content-length: 7\t8",
    "content-length: \u{b}7",
    "content-length: \u{c}7",
    "content-length: 7\u{b}",
    "content-length: 7\u{0}",
    "content-length: \u{a0}7",
    "content-length : 7",
    "content-length\t: 7",
    " content-length: 7",
    "\tcontent-length: 7",
    "content-length:\r\n 7",
    "content-length: \r\n\t7",
    "content-length: 7\r\n ",
    "content-length: 1\r\n 7",
    "content-length: 7\rx: y",
    "content-length: 7\nx: y",
    "x: y\ncontent-length: 7",
    "x: y\rcontent-length: 7",
    "x: y\r\r\ncontent-length: 7",
    "x: y\n\rcontent-length: 7",
    "content-length\u{0}: 7",
    "content\u{0}-length: 7",
    "(content-length): 7",
    "content-length;: 7",
    "content length: 7",
    "\"content-length\": 7",
    "content-length\u{a0}: 7",
    "content-length=7",
    "content-length 7",
    ": 7",
    ":content-length: 7",
];

/// The same of a coding.
const CODINGS: &[&str] = &[
    "transfer-encoding: chunked\r\ncontent-length: 7",
    "content-length: 7\r\ntransfer-encoding: chunked",
    "content-length: 0\r\ntransfer-encoding: chunked",
    "transfer-encoding: chunked\r\ncontent-length: 0",
    "transfer-encoding: chunked\r\ncontent-length: x",
    "content-length: 22\r\ntransfer-encoding: chunked",
    "transfer-encoding: chunked\r\ntransfer-encoding: chunked",
    "transfer-encoding: chunked\r\ntransfer-encoding: identity",
    "transfer-encoding: identity\r\ntransfer-encoding: chunked",
    "transfer-encoding: gzip\r\ntransfer-encoding: chunked",
    "transfer-encoding: chunked\r\nTransfer-Encoding: x",
    "transfer-encoding: gzip, chunked",
    "transfer-encoding: identity, chunked",
    "transfer-encoding: chunked, chunked",
    "transfer-encoding: chunked, identity",
    "transfer-encoding: chunked, gzip",
    "transfer-encoding: x, chunked",
    "transfer-encoding: ,chunked",
    "transfer-encoding: chunked,",
    "transfer-encoding: , chunked",
    "transfer-encoding: chunked;q=1",
    "transfer-encoding: chunked;",
    "transfer-encoding: chunked x",
    "transfer-encoding: x chunked",
    "transfer-encoding: \"chunked\"",
    "transfer-encoding: 'chunked'",
    "transfer-encoding: (x) chunked",
    "transfer-encoding: chunked\\",
    "transfer-encoding: xchunked",
    "transfer-encoding: chunkedx",
    "transfer-encoding: chunke",
    "transfer-encoding: hunked",
    "transfer-encoding: chunk\u{e9}d",
    "transfer-encoding: chun\u{212a}ed",
    "transfer-encoding: identity",
    "transfer-encoding: gzip",
    "transfer-encoding: deflate",
    "transfer-encoding: compress",
    "transfer-encoding: br",
    "transfer-encoding: none",
    "transfer-encoding: false",
    "transfer-encoding: 7",
    "transfer-encoding: ",
    "transfer-encoding:",
    "transfer-encoding: \u{b}chunked",
    "transfer-encoding: \u{c}chunked",
    "transfer-encoding: chunked\u{b}",
    "transfer-encoding: chunked\u{0}",
    "transfer-encoding: \u{0}chunked",
    "transfer-encoding: \u{a0}chunked",
    "transfer-encoding: \u{feff}chunked",
    "transfer-encoding : chunked",
    "transfer-encoding\t: chunked",
    "transfer-encoding\u{b}: chunked",
    "transfer-encoding\u{0}: chunked",
    " transfer-encoding: chunked",
    "\ttransfer-encoding: chunked",
    "transfer-encoding:\r\n chunked",
    "transfer-encoding:\r\n\tchunked",
    "transfer-encoding: \r\n chunked",
    "transfer-encoding: x\r\n chunked",
    "transfer-encoding: chunked\r\n ",
    "transfer-encoding: chunked\r\n , identity",
    "x: y\r\n transfer-encoding: chunked",
    "x: y\ntransfer-encoding: chunked",
    "x: y\rtransfer-encoding: chunked",
    "x: y\r\r\ntransfer-encoding: chunked",
    "transfer-encoding: chunked\rx: y",
    "transfer-encoding: chunked\nx: y",
    "transfer encoding: chunked",
    "(transfer-encoding): chunked",
    "transfer-encoding chunked",
    "transfer-encoding=chunked",
    "content-length: 7\r\ntransfer-encoding : chunked",
    "content-length: 7\r\ntransfer-encoding: identity",
    "content-length: 7\r\ntransfer-encoding: x",
    "content-length: 7\r\ntransfer-encoding: ",
    "content-length: 7\r\n transfer-encoding: chunked",
];

/// A field that means nothing to us, though a careless reader may think otherwise: the request has no body.
const OTHERS: &[&str] = &[
    "content_length: 7",
    "content-lengths: 7",
    "x-content-length: 7",
    "content-length-x: 7",
    "contentlength: 7",
    "http-content-length: 7",
    "transfer_encoding: chunked",
    "x-transfer-encoding: chunked",
    "transfer-encodings: chunked",
    "transferencoding: chunked",
    "te: chunked",
    "x: content-length: 7",
    "x: transfer-encoding: chunked",
    "content-encoding: chunked",
    "trailer: content-length",
    "keep-alive: timeout=7",
    "proxy-connection: close",
    "connection: content-length",
    "connection: transfer-encoding",
    "connection: host",
    "connection: x-api-key",
    "connection: content-type",
    "connection: idempotency-key, close-not",
    "expect: chunked",
];

/// Chunks that are not to be read: the request is not passed on, and nothing behind it is believed.
const CHUNKS: &[&str] = &[
    "7 \r\n{\"n\":1}\r\n0\r\n\r\n",
    "7\t\r\n{\"n\":1}\r\n0\r\n\r\n",
    " 7\r\n{\"n\":1}\r\n0\r\n\r\n",
    "0x7\r\n{\"n\":1}\r\n0\r\n\r\n",
    "+7\r\n{\"n\":1}\r\n0\r\n\r\n",
    "-7\r\n{\"n\":1}\r\n0\r\n\r\n",
    "7h\r\n{\"n\":1}\r\n0\r\n\r\n",
    "7_\r\n{\"n\":1}\r\n0\r\n\r\n",
    "g\r\n{\"n\":1}\r\n0\r\n\r\n",
    "\r\n{\"n\":1}\r\n0\r\n\r\n",
    ";x\r\n{\"n\":1}\r\n0\r\n\r\n",
    "7\n{\"n\":1}\r\n0\r\n\r\n",
    "7\r{\"n\":1}\r\n0\r\n\r\n",
    "7\r\n{\"n\":1}\n0\r\n\r\n",
    "7\r\n{\"n\":1}\r0\r\n\r\n",
    "7\r\n{\"n\":1}0\r\n\r\n",
    "7\r\n{\"n\":1}xx0\r\n\r\n",
    "7\r\n{\"n\":1}\r\n0\n\r\n",
    "7\r\n{\"n\":1}\r\n0\r\n\n",
    "7\r\n{\"n\":1}\r\n0\r\r\n",
    "6\r\n{\"n\":1}\r\n0\r\n\r\n",
    "8\r\n{\"n\":1}\r\n0\r\n\r\n",
    "7;x\n{\"n\":1}\r\n0\r\n\r\n",
    "7;x\ry\r\n{\"n\":1}\r\n0\r\n\r\n",
    "7;x=\"\n\"\r\n{\"n\":1}\r\n0\r\n\r\n",
    "7;\u{0}\n{\"n\":1}\r\n0\r\n\r\n",
    "10000000000000007\r\n{\"n\":1}\r\n0\r\n\r\n",
    "fffffffffffffffff\r\n{\"n\":1}\r\n0\r\n\r\n",
    "00000000000000000000007\r\n{\"n\":1}\r\n0\r\n\r\n",
    "7\r\n{\"n\":1}\r\n0\r\nx: y\n\r\n",
    "7\r\n{\"n\":1}\r\n0\r\nx: y\rz: a\r\n\r\n",
    "7\r\n{\"n\":1}\r\n0\r\nx y\r\n\r\n",
    "7\r\n{\"n\":1}\r\n0\r\nx : y\r\n\r\n",
    "7\r\n{\"n\":1}\r\n0\r\nx: y\r\n z\r\n\r\n",
    "7\r\n{\"n\":1}\r\n0\r\n: y\r\n\r\n",
    "7\r\n{\"n\":1}\r\n-1\r\n\r\n",
    "7\r\n{\"n\":1}\r\n0\r\nGET /v1/items HTTP/1.1\r\n\r\n",
];

/// Behind these there may be no second answer, whatever the first one is.
const HEADS: &[Line] = &[
    ("GET /v1/items HTTP/1.1\n@auth@\r\n@end@", "400 | -"),
    ("GET /v1/items HTTP/1.1\r\n@auth@\n@end@", "400 | -"),
    ("GET /v1/items HTTP/1.1\r\nhost: localhost\nx: y\r\n\r\n@end@", "400 | -"),
    ("\n@end@", "400 | -"),
    ("\r@end@", "400 | -"),
    (" @end@", "400 | -"),
    ("\0@end@", "400 | -"),
    ("\t@end@", "400 | -"),
    ("GET  /v1/items HTTP/1.1\r\n@auth@\r\n@end@", "400 | -"),
    ("GET /v1/items  HTTP/1.1\r\n@auth@\r\n@end@", "400 | -"),
    ("GET\t/v1/items\tHTTP/1.1\r\n@auth@\r\n@end@", "400 | -"),
    ("GET /v1/items HTTP/1.1 \r\n@auth@\r\n@end@", "400 | -"),
    ("GET /v1/items\r\n@auth@\r\n@end@", "400 | -"),
    ("GET /v1/items HTTP/0.9\r\n@auth@\r\n@end@", "400 | -"),
    ("GET /v1/items HTTP/1.2\r\n@auth@\r\n@end@", "400 | -"),
    ("GET /v1/items HTTP/2.0\r\n@auth@\r\n@end@", "400 | -"),
    ("GET /v1/items HTTP/3\r\n@auth@\r\n@end@", "400 | -"),
    ("GET /v1/items http/1.1\r\n@auth@\r\n@end@", "400 | -"),
    ("GET /v1/items HTTP/01.1\r\n@auth@\r\n@end@", "400 | -"),
    ("GET /v1/items HTTP/1.10\r\n@auth@\r\n@end@", "400 | -"),
    ("GET /v1/items HTTP/1,1\r\n@auth@\r\n@end@", "400 | -"),
    ("GET /v1/items ICAP/1.0\r\n@auth@\r\n@end@", "400 | -"),
    ("GET /v1/items HTTP/1.1 x\r\n@auth@\r\n@end@", "400 | -"),
    ("GET /v1/items x HTTP/1.1\r\n@auth@\r\n@end@", "400 | -"),
    (" /v1/items HTTP/1.1\r\n@auth@\r\n@end@", "400 | -"),
    ("/v1/items HTTP/1.1\r\n@auth@\r\n@end@", "400 | -"),
    ("HTTP/1.1 200 OK\r\n@auth@\r\n@end@", "400 | -"),
    ("PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n@end@", "400 | -"),
    ("GET /v1/items HTTP/1.0\r\n@auth@transfer-encoding: chunked\r\n\r\n0\r\n\r\n@end@", "400 | -"),
    (
        "POST /v1/items HTTP/1.0\r\n@auth@content-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n7\r\n{\"n\":1}\r\n0\r\n\r\n",
        "400 | -",
    ),
    ("@get@x: y\r\n z\r\n\r\n@end@", "400 | -"),
    ("@get@x: y\r\n\tz\r\n\r\n@end@", "400 | -"),
    ("GET /v1/items HTTP/1.1\r\n x: y\r\n@auth@\r\n@end@", "400 | -"),
    ("@get@x: \r\n y\r\n\r\n@end@", "400 | -"),
    ("@get@x: y\0\r\n\r\n@end@", "400 | -"),
    ("@get@x: \u{1}\r\n\r\n@end@", "400 | -"),
    ("@get@x: \u{7f}\r\n\r\n@end@", "400 | -"),
    ("@get@x\r\n\r\n@end@", "400 | -"),
    ("@get@: y\r\n\r\n@end@", "400 | -"),
    ("@get@x y: z\r\n\r\n@end@", "400 | -"),
    ("@get@x\u{e4}: z\r\n\r\n@end@", "400 | -"),
    ("@get@{x}: z\r\n\r\n@end@", "400 | -"),
    ("\u{16}\u{3}\u{1}\u{2}\0\u{1}\0@end@", "400 | -"),
    ("SSH-2.0-OpenSSH_9.9\r\n@end@", "400 | -"),
    ("*1\r\n$4\r\nPING\r\n@end@", "400 | -"),
];

/// Requests that stop in the middle: nothing of them is passed on but what had passed.
const CUT: &[&str] = &[
    "G",
    "GET /v1/items HTTP/1.1",
    "GET /v1/items HTTP/1.1\r\n",
    "@get@",
    "@get@\r",
    "@post@content-length: 8\r\n\r\n{\"n\":1}",
    "@post@content-length: 100000000\r\n\r\n{\"n\":1}@end@",
    "@post@content-length: 9223372036854775808\r\n\r\n{\"n\":1}@end@",
    "@post@content-length: 9223372036854775807\r\n\r\n{\"n\":1}@end@",
    "@post@transfer-encoding: chunked\r\n\r\n",
    "@post@transfer-encoding: chunked\r\n\r\n7\r\n{\"n\"",
    "@post@transfer-encoding: chunked\r\n\r\n7\r\n{\"n\":1}",
    "@post@transfer-encoding: chunked\r\n\r\n7\r\n{\"n\":1}\r\n",
    "@post@transfer-encoding: chunked\r\n\r\n7\r\n{\"n\":1}\r\n0",
    "@post@transfer-encoding: chunked\r\n\r\n7\r\n{\"n\":1}\r\n0\r\n",
    "@post@transfer-encoding: chunked\r\n\r\n7\r\n{\"n\":1}\r\n0\r\nx: y",
    "@post@transfer-encoding: chunked\r\n\r\n7\r\n{\"n\":1}\r\n0\r\nx: y\r\n",
    "@post@transfer-encoding: chunked\r\n\r\nfffffff\r\n{\"n\":1}@end@",
    "@post@transfer-encoding: chunked\r\n\r\nfffffffffffffff\r\n{\"n\":1}@end@",
    "@post@transfer-encoding: chunked\r\n\r\n7;xxxxxxxxxxxxxx",
];

fn refused(sends: String) -> Case {
    Case {
        name: "400 | -".to_owned(),
        sends: sends.into_bytes(),
        says: Says::Each(json(ANSWER)),
        reaches: Reaches::Exactly(Vec::new()),
        gets: Gets::Rows("400 | -"),
    }
}

#[test]
fn what_is_in_order_passes_once_each() {
    Rig::start(&[]).run("framing that is in order", &cases(GOOD));
}

#[test]
fn a_length_that_is_not_one_number_is_refused() {
    let mut all = Vec::new();
    for field in LENGTHS {
        all.push(refused(format!("@post@{field}\r\n\r\n{{\"n\":1}}@end@")));
        all.push(refused(format!("GET /v1/items HTTP/1.1\r\n{field}\r\n@auth@\r\n@end@")));
    }
    Rig::start(&[]).run("lengths", &all);
}

#[test]
fn a_coding_that_is_not_chunked_alone_is_refused() {
    let mut all = Vec::new();
    for field in CODINGS {
        all.push(refused(format!("@post@{field}\r\n\r\n7\r\n{{\"n\":1}}\r\n0\r\n\r\n@end@")));
        all.push(refused(format!("GET /v1/items HTTP/1.1\r\n{field}\r\n@auth@\r\n0\r\n\r\n@end@")));
    }
    Rig::start(&[]).run("codings", &all);
}

#[test]
fn a_field_that_only_looks_like_a_length_makes_no_body() {
    let case = |field: &&str| Case {
        name: (*field).to_owned(),
        sends: format!("@get@{field}\r\n\r\n@end@").into_bytes(),
        says: Says::Each(json(ANSWER)),
        reaches: Reaches::All,
        gets: Gets::Rows("200 200"),
    };
    Rig::start(&[]).run("fields that mean nothing", &OTHERS.iter().map(case).collect::<Vec<_>>());
}

#[test]
fn chunks_that_are_none_are_refused() {
    let all: Vec<_> =
        CHUNKS.iter().map(|body| refused(format!("@post@transfer-encoding: chunked\r\n\r\n{body}@end@"))).collect();
    Rig::start(&[]).run("chunks", &all);
}

#[test]
fn a_head_that_is_none_is_refused() {
    Rig::start(&[]).run("heads", &cases(HEADS));
}

#[test]
fn what_stops_in_the_middle_is_not_passed_on() {
    let case = |sends: &&str| Case {
        name: "cut".to_owned(),
        sends: sends.as_bytes().to_vec(),
        says: Says::Each(json(ANSWER)),
        reaches: Reaches::Exactly(Vec::new()),
        gets: Gets::Rows("- | 400 | 413"),
    };
    Rig::start(&[]).run("requests that stop", &CUT.iter().map(case).collect::<Vec<_>>());
}
