//! Answers of an upstream that is as hostile as any partner: two readings, too early, too many, of the wrong length.

use super::far::Says;
use super::rig::{Case, Gets, Reaches, Rig};

/// What every good answer here carries, of which the partner gets the first member.
const BODY: &str = r#"{"open":"yes","secret":"<secret>"}"#;

/// What is for nobody's eyes: in the place of it stands another answer, as a smuggler would have it.
const SECOND: &str =
    "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 16\r\n\r\n{\"open\":\"<sly>\"}";

/// Of one answer to one `GET`.
fn case(says: Says, rows: &'static str) -> Case {
    let name = match &says {
        Says::Each(bytes) | Says::Once(bytes) | Says::Early(bytes) | Says::AtHead(bytes, _) => {
            bytes.escape_ascii().to_string()
        }
        Says::Turns(turns) => format!("{} answers", turns.len()),
    };
    Case {
        name: format!("{rows} to {name}"),
        sends: b"@get@connection: close\r\n\r\n".to_vec(),
        says,
        reaches: Reaches::All,
        gets: Gets::Rows(rows),
    }
}

/// An answer with these fields in the place of its length, and this body; the connection is closed behind it, or not.
fn each(lines: &[(&str, &str)], rows: &'static str) -> Vec<Case> {
    let mut all = Vec::new();
    for (fields, body) in lines {
        let answer =
            format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n{fields}\r\n\r\n{body}").into_bytes();
        all.push(case(Says::Once(answer.clone()), rows));
        if !rows.contains("200") {
            all.push(case(Says::Each(answer), rows));
        }
    }
    all
}

/// A length that is one number, or chunks alone.
const GOOD: &[(&str, &str)] = &[
    ("content-length: @length@", BODY),
    ("Content-Length:@length@", BODY),
    ("content-length: 00@length@", BODY),
    ("transfer-encoding: chunked", "10\r\n{\"open\": \"yes\"} \r\n0\r\n\r\n"),
    ("Transfer-Encoding: Chunked", "10\r\n{\"open\": \"yes\"} \r\n0\r\n\r\n"),
    ("transfer-encoding: chunked", "10;<extension>\r\n{\"open\": \"yes\"} \r\n0;<more>\r\n\r\n"),
    ("transfer-encoding: chunked", "10\r\n{\"open\": \"yes\"} \r\n0\r\nx-t: <trailer>\r\n\r\n"),
    ("transfer-encoding: chunked", "8\r\n{\"open\":\r\n8\r\n \"yes\"} \r\n0\r\n\r\n"),
    // To the end of the connection (RFC 9112, section 6.3): whether it is whole, its own grammar tells.
    ("x: <y>", BODY),
    ("connection: close", BODY),
];

/// A length that can be read in two ways, or not at all.
const LENGTHS: &[&str] = &[
    "content-length: 34\r\ncontent-length: 35",
    "content-length: 0\r\ncontent-length: @length@",
    "content-length: @length@\r\ncontent-length: 0",
    "content-length: @length@\r\ncontent-length: @length@",
    "content-length: @length@, @length@",
    "content-length: @length@, 0",
    "content-length: @length@,",
    "content-length: +@length@",
    "content-length: -@length@",
    "content-length: -1",
    "content-length: @length@.0",
    "content-length: 0x22",
    "content-length: ",
    "content-length: x",
    "content-length: @length@ @length@",
    "content-length: @length@;",
    "content-length: \"@length@\"",
    "content-length: 18446744073709551616",
    "content-length: 99999999999999999999999999",
    "content-length : @length@",
    " content-length: @length@",
    "content-length:\r\n @length@",
    "x: y\r\n content-length: @length@",
    "content-length: @length@\0",
    "content-length: @length@\rx: y",
    "x: y\rcontent-length: @length@",
    "content-length: @length@\r\ntransfer-encoding: identity",
    "content-length: @length@\r\ntransfer-encoding: x",
    "content-length: @length@\r\ntransfer-encoding: ",
    "content-length: @length@\r\n bad",
    "content-length: @length@\r\nbad",
    "content-length: @length@\r\n: bad",
    "content-length: @length@\r\nb d: bad",
    "content-length: @length@\r\nb\0d: bad",
    "content-length: @length@\r\nx: b\0d",
    "content-length: @length@\r\nx: \u{7f}",
];

/// The same of a coding; the body is in chunks.
const CODINGS: &[&str] = &[
    "transfer-encoding: chunked\r\ncontent-length: 26",
    "content-length: 26\r\ntransfer-encoding: chunked",
    "content-length: 0\r\ntransfer-encoding: chunked",
    "transfer-encoding: chunked\r\ncontent-length: x",
    "transfer-encoding: chunked\r\ntransfer-encoding: chunked",
    "transfer-encoding: identity\r\ntransfer-encoding: chunked",
    "transfer-encoding: chunked\r\ntransfer-encoding: identity",
    "transfer-encoding: gzip, chunked",
    "transfer-encoding: identity, chunked",
    "transfer-encoding: chunked, chunked",
    "transfer-encoding: chunked, identity",
    "transfer-encoding: chunked, gzip",
    "transfer-encoding: x, chunked",
    "transfer-encoding: ,chunked",
    "transfer-encoding: chunked,",
    "transfer-encoding: chunked;q=1",
    "transfer-encoding: \"chunked\"",
    "transfer-encoding: xchunked",
    "transfer-encoding: chunkedx",
    "transfer-encoding: identity",
    "transfer-encoding: gzip",
    "transfer-encoding: ",
    "transfer-encoding: \u{b}chunked",
    "transfer-encoding: chunked\0",
    "transfer-encoding : chunked",
    " transfer-encoding: chunked",
    "\ttransfer-encoding: chunked",
    "transfer-encoding:\r\n chunked",
    "x: y\r\n transfer-encoding: chunked",
    "x: y\rtransfer-encoding: chunked",
    "transfer-encoding chunked",
];

/// Chunks that are none, or not to their end.
const CHUNKS: &[&str] = &[
    " 10\r\n{\"open\": \"yes\"} \r\n0\r\n\r\n",
    "0x10\r\n{\"open\": \"yes\"} \r\n0\r\n\r\n",
    "+10\r\n{\"open\": \"yes\"} \r\n0\r\n\r\n",
    "g\r\n{\"open\": \"yes\"} \r\n0\r\n\r\n",
    "\r\n{\"open\": \"yes\"} \r\n0\r\n\r\n",
    ";x\r\n{\"open\": \"yes\"} \r\n0\r\n\r\n",
    "10\n{\"open\": \"yes\"} \r\n0\r\n\r\n",
    "10\r\n{\"open\": \"yes\"} \n0\r\n\r\n",
    "10\r\n{\"open\": \"yes\"} 0\r\n\r\n",
    "10\r\n{\"open\": \"yes\"} xx0\r\n\r\n",
    "f\r\n{\"open\": \"yes\"} \r\n0\r\n\r\n",
    "11\r\n{\"open\": \"yes\"} \r\n0\r\n\r\n",
    "10;x\n{\"open\": \"yes\"} \r\n0\r\n\r\n",
    "fffffffffffffffff\r\n{\"open\": \"yes\"} \r\n0\r\n\r\n",
    "10\r\n{\"open\": \"yes\"} \r\n",
    "10\r\n{\"open\": \"yes\"} \r\n0",
    "10\r\n{\"open\": \"yes\"} \r\n0\r\n",
    "10\r\n{\"open\"",
    "10",
    "",
    "10\r\n{\"open\": \"yes\"} \r\n0\r\nx y\r\n\r\n",
    "10\r\n{\"open\": \"yes\"} \r\n0\r\nx: y",
    "10\r\n{\"open\": \"yes\"} \r\n-1\r\n\r\n",
];

/// What RFC 9112 lets a reader take (a bare LF for the end of a line, a space behind a chunk's size): nobody but us reads it, and what
/// leaves is framed anew.
const LENIENT: &[(&str, &str)] = &[
    ("content-length: @length@\nx: y", BODY),
    ("x: y\ncontent-length: @length@", BODY),
    ("x: y\ntransfer-encoding: chunked", "10\r\n{\"open\": \"yes\"} \r\n0\r\n\r\n"),
    ("transfer-encoding: chunked\nx: y", "10\r\n{\"open\": \"yes\"} \r\n0\r\n\r\n"),
    ("transfer-encoding: chunked", "10 \r\n{\"open\": \"yes\"} \r\n0\r\n\r\n"),
];

/// First lines that are none.
const LINES: &[&str] = &[
    "",
    "\r\n",
    "\n",
    " ",
    "OK",
    "200",
    "200 OK",
    "HTTP",
    "HTTP/1.1",
    "HTTP/1.1 ",
    "HTTP/1.1 OK",
    "HTTP/1.1 20",
    "HTTP/1.1 2000 OK",
    "HTTP/1.1 2 OK",
    "HTTP/1.1 20x OK",
    "HTTP/1.1 -200 OK",
    "HTTP/1.1 +20 OK",
    "HTTP/1.1 000 <none>",
    "HTTP/1.1 099 <none>",
    "HTTP/1.1  200 OK",
    "HTTP/1.1\t200 OK",
    "HTTP/1.1 200\tOK",
    "HTTP/1.1 200 O\0K",
    "HTTP/1.1 200 O\rK",
    "HTTP/1.1 200 \u{7f}",
    " HTTP/1.1 200 OK",
    "HTTP/1.2 200 OK",
    "HTTP/2.0 200 OK",
    "HTTP/2 200 OK",
    "HTTP/0.9 200 OK",
    "HTTP/11 200 OK",
    "HTTP/1.1.1 200 OK",
    "http/1.1 200 OK",
    "HTTPS/1.1 200 OK",
    "ICY 200 OK",
    "HTTP/1.1:200 OK",
    "HTTP/1,1 200 OK",
    "<html>",
    "{\"open\":\"<sly>\"}",
    "GET / HTTP/1.1",
    "SSH-2.0-x",
    "220 smtp",
    "+OK",
    "-ERR",
    "\u{15}\u{3}\u{3}",
    "PRI * HTTP/2.0",
    "content-length: 2",
    "HTTP/1.1 999999999999 OK",
];

/// Statuses, and what they are for the partner. A body is with each.
const STATUSES: &[(u16, &str)] = &[
    (101, "502"),
    (206, "502"),
    (304, "502"),
    (204, "204"),
    (205, "205"),
    (201, "201"),
    (202, "202"),
    (203, "203"),
    (400, "400"),
    (401, "401"),
    (403, "403"),
    (404, "404"),
    (405, "405"),
    (407, "407"),
    (408, "408"),
    (409, "409"),
    (410, "410"),
    (411, "411"),
    (412, "412"),
    (413, "413"),
    (416, "416"),
    (417, "417"),
    (418, "418"),
    (421, "421"),
    (422, "422"),
    (426, "426"),
    (428, "428"),
    (429, "429"),
    (431, "431"),
    (451, "451"),
    (500, "500"),
    (501, "501"),
    (502, "502"),
    (503, "503"),
    (504, "504"),
    (505, "505"),
    (511, "511"),
];

#[test]
fn an_answer_in_order_passes() {
    Rig::start(&[]).run("answers in order", &each(GOOD, "200"));
}

#[test]
fn an_answer_that_may_be_read_leniently_is_framed_anew() {
    Rig::start(&[]).run("lenient answers", &each(LENIENT, "200 | 502"));
}

#[test]
fn an_answer_whose_length_is_not_one_number_is_none() {
    let lines: Vec<_> = LENGTHS.iter().map(|fields| (*fields, BODY)).collect();
    Rig::start(&[]).run("lengths of answers", &each(&lines, "502"));
}

#[test]
fn an_answer_whose_coding_is_not_chunked_alone_is_none() {
    let lines: Vec<_> = CODINGS.iter().map(|fields| (*fields, "10\r\n{\"open\": \"yes\"} \r\n0\r\n\r\n")).collect();
    Rig::start(&[]).run("codings of answers", &each(&lines, "502"));
}

#[test]
fn an_answer_of_chunks_that_are_none_is_none() {
    let all = CHUNKS.iter().map(|body| {
        let answer =
            format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n{body}");
        case(Says::Once(answer.into_bytes()), "502")
    });
    Rig::start(&[]).run("chunks of answers", &all.collect::<Vec<_>>());
}

#[test]
fn a_first_line_that_is_none_is_no_answer() {
    let mut all = Vec::new();
    for line in LINES {
        for end in ["\r\n", "\n", ""] {
            let answer = format!("{line}{end}content-type: application/json\r\ncontent-length: @length@\r\n\r\n{BODY}");
            all.push(case(Says::Once(answer.into_bytes()), "502"));
        }
    }
    Rig::start(&[]).run("first lines of answers", &all);
}

#[test]
fn a_status_is_ours_to_tell_and_its_reason_too() {
    let mut all = Vec::new();
    for (status, row) in STATUSES {
        for (fields, body) in
            [("content-length: @length@", BODY), ("content-length: 0", ""), ("connection: close", BODY)]
        {
            let typed =
                format!("HTTP/1.1 {status} <reason>\r\ncontent-type: application/json\r\n{fields}\r\n\r\n{body}");
            all.push(case(Says::Once(typed.into_bytes()), row));
        }
    }
    Rig::start(&[]).run("statuses", &all);
}

#[test]
fn an_interim_answer_is_for_us_alone() {
    let good = format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: @length@\r\n\r\n{BODY}");
    let mut all = Vec::new();
    for interim in [
        "HTTP/1.1 100 Continue\r\n\r\n",
        "HTTP/1.1 100 <reason>\r\nx: <y>\r\n\r\n",
        "HTTP/1.1 102 Processing\r\n\r\n",
        "HTTP/1.1 103 Early Hints\r\nlink: </x>; rel=<hint>\r\n\r\n",
        "HTTP/1.1 199 x\r\n\r\n",
        "HTTP/1.1 100 a\r\n\r\nHTTP/1.1 102 b\r\n\r\nHTTP/1.1 103 c\r\n\r\n",
    ] {
        // The length is that of the last body; the interim answers have none.
        let answer = format!("{interim}{}", good.replace("@length@", "@last@"));
        all.push(case(Says::Once(answer.into_bytes()), "200"));
        all.push(case(Says::Once(interim.as_bytes().to_vec()), "502"));
    }
    let many = format!("{}{}", "HTTP/1.1 103 x\r\n\r\n".repeat(20_000), good.replace("@length@", "@last@"));
    all.push(case(Says::Once(many.into_bytes()), "200 | 502"));
    Rig::start(&[]).run("interim answers", &all);
}

#[test]
fn an_answer_too_many_is_for_nobody() {
    let good = format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: @first@\r\n\r\n{BODY}");
    let mut all = Vec::new();
    for behind in [SECOND, "HTTP/1.1 100 Continue\r\n\r\n", "x", "\r\n", "\0", "HTTP/1.1 ", BODY] {
        all.push(case(Says::Each(format!("{good}{behind}").into_bytes()), "200"));
        all.push(case(Says::Once(format!("{good}{behind}").into_bytes()), "200"));
    }
    // Behind an answer that has no body, whatever it says.
    for status in ["204 x", "304 x"] {
        for fields in ["content-length: 0", "content-length: 93", "transfer-encoding: chunked", "x: y"] {
            let answer = format!("HTTP/1.1 {status}\r\n{fields}\r\n\r\n{SECOND}");
            let rows = if status.starts_with("204") { "204 | 502" } else { "502" };
            all.push(case(Says::Each(answer.into_bytes()), rows));
        }
    }
    // If the request is out by then, it is the answer (see `upstream.NAME.keep_alive` in docs/settings.md).
    let second = SECOND.replace("<sly>", "an early one");
    let second = second.replace("content-length: 16", "content-length: @length@");
    for early in [
        second.clone(),
        "HTTP/1.1 200 OK\r\n".to_owned(),
        "x".to_owned(),
        format!("{}{}", second.replace("@length@", "23"), second.replace("@length@", "23")),
    ] {
        let early = case(Says::Early(early.into_bytes()), "502 | 504 | 200");
        all.push(Case { reaches: Reaches::OfThose, ..early });
    }
    let quick: Vec<String> = (0..8).map(|lane| format!("upstream.lane{lane}.response=2s")).collect();
    Rig::start(&quick.iter().map(String::as_str).collect::<Vec<_>>()).run("answers too many", &all);
}

#[test]
fn what_is_answered_to_head_has_no_body() {
    let mut all = Vec::new();
    for (fields, body) in [
        ("content-length: @length@", ""),
        ("content-length: @length@", BODY),
        ("content-length: 99999", ""),
        ("transfer-encoding: chunked", ""),
        ("transfer-encoding: chunked", "10\r\n{\"open\": \"yes\"} \r\n0\r\n\r\n"),
        ("x: y", BODY),
        ("content-length: 0", SECOND),
    ] {
        for closes in [true, false] {
            let answer =
                format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n{fields}\r\n\r\n{body}").into_bytes();
            let says = if closes { Says::Once(answer) } else { Says::Each(answer) };
            let head = case(says, "200");
            all.push(Case { sends: b"HEAD /v1/items HTTP/1.1\r\n@auth@connection: close\r\n\r\n".to_vec(), ..head });
        }
    }
    Rig::start(&[]).run("answers to HEAD", &all);
}

#[test]
fn an_answer_that_comes_before_the_request_is_whole_is_one_all_the_same() {
    let mut all = Vec::new();
    let good = format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: @length@\r\n\r\n{BODY}");
    for closes in [true, false] {
        for sends in ["@post@content-length: 7\r\nconnection: close\r\n\r\n{\"n\":1}", "@get@connection: close\r\n\r\n"]
        {
            let early = case(Says::AtHead(good.clone().into_bytes(), closes), "200");
            all.push(Case { sends: sends.as_bytes().to_vec(), reaches: Reaches::OfThose, ..early });
        }
    }
    Rig::start(&[]).run("answers to a head", &all);
}

#[test]
fn a_body_that_is_not_of_its_length_is_not_passed_on() {
    let mut all = Vec::new();
    for (length, body) in [
        ("35", "{\"open\":\"yes\"}"),
        ("15", "{\"open\":\"yes\"}"),
        ("1000000", BODY),
        ("1", BODY),
        ("13", "{\"open\":\"yes\"}"),
        ("18446744073709551613", BODY),
    ] {
        let answer =
            format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}");
        all.push(case(Says::Once(answer.into_bytes()), "502"));
    }
    Rig::start(&[]).run("wrong lengths", &all);
}

#[test]
fn a_head_without_bounds_is_no_answer() {
    let mut all = Vec::new();
    for fields in [
        "x: y\r\n".repeat(101),
        "x: y\r\n".repeat(20_000),
        format!("x: {}\r\n", "<y>".repeat(12_000)),
        format!("{}: y\r\n", "x".repeat(200_000)),
        format!("x: {}\r\n", "y".repeat(200_000)),
    ] {
        let answer = format!(
            "HTTP/1.1 200 OK\r\n{fields}content-type: application/json\r\ncontent-length: @length@\r\n\r\n{BODY}"
        );
        all.push(case(Says::Once(answer.into_bytes()), "502"));
    }
    let reason = format!("HTTP/1.1 200 {}\r\ncontent-length: 0\r\n\r\n", "x".repeat(200_000));
    all.push(case(Says::Once(reason.into_bytes()), "502"));
    Rig::start(&[]).run("large heads of answers", &all);
}
